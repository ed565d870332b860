"""A tree of plain Python values and arrays as one file, without pickle: what checkpoints are written in.

The file is a .npz: a zip archive, nothing in it compressed, of the arrays `0.npy`, `1.npy`, ... and `header.json`,
which holds the tree, with dtype, shape and SHA-256 of each array. `np.load` opens it, and
`unzip -p file header.json` shows what it holds.

Reading trusts nothing. What stands uncompressed cannot be larger than the file, so no claim of a hostile header makes
memory be taken; nothing in it is ever executed; and what comes back is what was written, or an error: CRC-32 by the zip
for the header, SHA-256 for the arrays.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
import os
import stat
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

import microgrid as mg
from nn.targets import Array

__microgrid_machinery__ = True

FORMAT, VERSION = "microgrid checkpoint", 1
HEADER = "header.json"
KINDS = "biufcU"  # NumPy's letters for numbers and text; objects ("O") would be pickles
LONGEST = 2**13  # bits: what Python reads from text again without being asked for more (4300 digits), and some to spare
MADE = (1980, 1, 1, 0, 0, 0)  # the date of each member, so that equal content gives equal bytes


class CheckpointError(ValueError):
    """A file that is no checkpoint, is damaged, or does not fit; nothing was changed."""


# A tree to bytes


def pack(tree: Any) -> bytes:
    """The file's bytes.

    Parameters
    ----------
    tree : dict, list, tuple, str, int, float, bool, None, ndarray or NumPy scalar, nested
        Keys of dicts are str or int.

    Raises
    ------
    TypeError
        For anything else, naming where it stands.

    Examples
    --------
    >>> unpack(pack({"lr": 0.1, "betas": (0.9, 0.999), 0: np.arange(3)}))
    {'lr': 0.1, 'betas': (0.9, 0.999), 0: array([0, 1, 2])}
    """
    arrays: list[Array] = []
    try:
        content = _encoded(tree, "", arrays)
        members = [_npy(array) for array in arrays]
        entries = [
            {"dtype": array.dtype.str, "shape": array.shape, "sha256": _sha256(member)}
            for array, member in zip(arrays, members, strict=True)
        ]
        header = {"format": FORMAT, "version": VERSION, "arrays": entries, "content": content}
        text = json.dumps(header, indent=1, allow_nan=False)
    except RecursionError:
        raise TypeError(f"nn.save: a value holds itself, or is nested too deeply, at {mg.sites.here()}") from None
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(zipfile.ZipInfo(HEADER, MADE), text)
        for index, member in enumerate(members):
            archive.writestr(zipfile.ZipInfo(f"{index}.npy", MADE), member)
    return buffer.getvalue()


def _encoded(value: Any, where: str, arrays: list[Array]) -> Any:
    """The value as JSON. What JSON has not is a dict of one entry, which says what it is."""
    if type(value) is np.ndarray or isinstance(value, np.generic):
        if value.dtype.kind not in KINDS:
            raise _not_saved(where, f"an array of dtype {value.dtype}")
        arrays.append(np.asarray(value, value.dtype.newbyteorder("<"), order="C"))
        return {"array" if type(value) is np.ndarray else "scalar": len(arrays) - 1}
    if isinstance(value, float) and not math.isfinite(value):
        return {"float": str(value)}
    if isinstance(value, int) and value.bit_length() > LONGEST:
        raise _not_saved(where, f"an integer of {value.bit_length()} bits, expected at most {LONGEST}")
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, tuple | list):
        items = [_encoded(item, f"{where}[{index}]", arrays) for index, item in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str | int):
                raise _not_saved(where, f"a key {key!r}, which is neither str nor int")
        return {"dict": [[key, _encoded(item, f"{where}[{key!r}]", arrays)] for key, item in value.items()]}
    raise _not_saved(where, f"a {type(value).__name__}")


def _not_saved(where: str, what: str) -> TypeError:
    return TypeError(
        f"nn.save: {where or 'the content'} is or holds {what}; a checkpoint keeps numbers, text, None, lists, tuples, "
        f"dicts and arrays of numbers (of a Tensor: tensor.detach().numpy()), at {mg.sites.here()}"
    )


def _npy(array: Array) -> bytes:
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, version=(1, 0), allow_pickle=False)
    return buffer.getvalue()


def _sha256(member: bytes) -> str:
    return hashlib.sha256(member).hexdigest()


# Bytes to a tree


def unpack(file: bytes) -> Any:
    """The tree that was packed.

    Raises
    ------
    CheckpointError
        For bytes of another origin, or damaged ones.
    """
    if not file.startswith(b"PK\x03\x04"):
        raise CheckpointError(_what_it_is(file))
    try:
        members = _members(file)
        header = _header(members)
        arrays = [_array(members[f"{index}.npy"], entry) for index, entry in enumerate(header["arrays"])]
        return _decoded(header["content"], arrays)
    except CheckpointError:
        raise
    except Exception as error:  # zipfile, json and NumPy have a dozen ways to say that bytes are not what they seem
        raise CheckpointError(f"it is damaged ({type(error).__name__}: {error})") from error


def _what_it_is(file: bytes) -> str:
    begin = file[:64].lstrip().lower()
    if not file:
        return "the file is empty"
    if file[:1] == b"\x80" and file[1:2] in (b"\2", b"\3", b"\4", b"\5"):
        return "it is a pickle, which could execute anything and is not opened"
    if begin.startswith((b"<!doctype", b"<html", b"<?xml")):
        return "it is a page of HTML or XML, perhaps an error message that was saved by a download"
    if file.startswith(b"\x93NUMPY"):
        return "it is a single array (.npy)"
    if file.startswith(b"\x1f\x8b"):
        return "it is compressed by gzip"
    return "it is no zip archive, as a checkpoint is"


def _members(file: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(file)) as archive:
        members = archive.infolist()
        names = [member.filename for member in members]
        if any(name.endswith("data.pkl") for name in names):
            raise CheckpointError(
                "it is a checkpoint of torch, which holds a pickle and is not opened; read it with torch, then "
                "model.load_state_dict({name: tensor.numpy() for name, tensor in state_dict.items()})"
            )
        if HEADER not in names:
            raise CheckpointError(f"it is a zip archive (a .npz of NumPy's?) without the {HEADER} of a checkpoint")
        if len(set(names)) < len(names):
            raise CheckpointError("it holds two members of one name")
        if any(member.compress_type != zipfile.ZIP_STORED or member.flag_bits & 1 for member in members):
            raise CheckpointError("it holds compressed or encrypted members, which a checkpoint never does")
        if sum(member.file_size for member in members) > len(file):
            raise CheckpointError("its members claim more bytes than the file has")
        return {member.filename: archive.read(member) for member in members}


def _header(members: dict[str, bytes]) -> dict[str, Any]:
    header = json.loads(members[HEADER].decode("ascii"), parse_constant=_no_number)
    if header["format"] != FORMAT or type(header["version"]) is not int:
        raise CheckpointError(f"its {HEADER} is not that of a checkpoint")
    if header["version"] != VERSION:
        raise CheckpointError(f"its format has version {header['version']}, and this microgrid reads version {VERSION}")
    expected = {HEADER, *(f"{index}.npy" for index in range(len(header["arrays"])))}
    if expected != members.keys():
        raise CheckpointError(f"it lacks, or has too many: {', '.join(sorted(expected ^ members.keys()))}")
    return header  # type: ignore[no-any-return]


def _no_number(text: str) -> float:
    raise CheckpointError(f"its {HEADER} holds {text}")


def _array(member: bytes, entry: dict[str, Any]) -> Array:
    if _sha256(member) != entry["sha256"]:
        raise CheckpointError("an array differs from its checksum")
    stream = io.BytesIO(member)
    version = np.lib.format.read_magic(stream)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(stream)
    body = member[stream.tell() :]
    if dtype.kind not in KINDS or dtype.byteorder == ">":
        raise CheckpointError(f"it holds an array of dtype {dtype.str}, as no checkpoint does; it is not opened")
    if (version, fortran, dtype.str, list(shape)) != ((1, 0), False, entry["dtype"], entry["shape"]):
        raise CheckpointError("an array is not of the dtype and shape that the header says")
    if math.prod(shape) * dtype.itemsize != len(body):
        raise CheckpointError(f"an array of shape {shape} has {len(body)} bytes")
    if dtype.kind == "U" and (np.frombuffer(body, "<u4") > sys.maxunicode).any():
        raise CheckpointError("an array of text holds what is no character")
    return np.ndarray(shape, dtype, body).astype(dtype.newbyteorder("="))  # a copy, which can be written to


def _decoded(value: Any, arrays: list[Array]) -> Any:
    if isinstance(value, list):
        return [_decoded(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, inner),) = value.items()
    match kind:
        case "array":
            return arrays[inner]
        case "scalar":
            return arrays[inner][()]
        case "float":
            return {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[inner]
        case "tuple":
            return tuple(_decoded(item, arrays) for item in inner)
        case "dict":
            return {key: _decoded(item, arrays) for key, item in inner}
    raise CheckpointError(f"its {HEADER} holds an unknown kind of value, {kind!r}")


# Bytes in a file


def read(path: str | os.PathLike[str]) -> bytes:
    """What stands in a file.

    Raises
    ------
    OSError
        If it cannot be read.
    CheckpointError
        If it is no file but a device, say.
    """
    mode = os.stat(path).st_mode
    if not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):  # of a directory Python says it best
        raise CheckpointError("it is no regular file")
    return Path(path).read_bytes()
