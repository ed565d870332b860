"""What is read back is what was written, or an error; nothing is executed; a file is written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import json
import math
import os
import pickle
import stat
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as arrays

from microgrid import saving
from nn import archive
from nn.archive import CheckpointError, pack, unpack

ROOT = Path(__file__).parent.parent.parent

NUMBERS = st.none() | st.booleans() | st.integers() | st.integers(2**100, 2**130) | st.floats() | st.text(max_size=8)
ARRAYS = arrays.arrays(
    st.sampled_from(["<f4", ">f4", "<f8", ">f8", "<i2", ">i8", "|u1", "|b1", "<c16", "<f2", "<U3"]),
    arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
)
SCALARS = st.floats(width=32).map(np.float32) | st.floats().map(np.float64) | st.booleans().map(np.bool_)
TREES = st.recursive(
    NUMBERS | ARRAYS | SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3)
    ),
    max_leaves=8,
)
TREE = {"weights": np.arange(3.0), "state": {0: (1, 2.5)}, "inf": math.inf}
FILE = pack(TREE)


def same(a: Any, b: Any) -> bool:
    """Equal to the bit, types and byte order of the machine included."""
    if isinstance(b, np.ndarray | np.generic):
        native = b.dtype.newbyteorder("=")
        return (
            type(a) is type(b)
            and a.dtype == native
            and a.shape == b.shape
            and a.tobytes() == b.astype(native).tobytes()
        )
    if isinstance(b, list | tuple):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(b, dict):
        return type(a) is dict and list(a) == list(b) and all(same(a[key], b[key]) for key in b)
    return type(a) is type(b) and (a == b or (a != a and b != b)) and str(a) == str(b)  # -0.0 is not 0.0


@given(TREES)
def test_what_is_read_is_what_was_written(tree: Any) -> None:
    found = unpack(pack(tree))
    assert same(found, tree)
    assert pack(found) == pack(tree)  # equal content, equal bytes


def test_an_array_read_is_ones_own_and_can_be_written_to() -> None:
    array = unpack(FILE)["weights"]
    array += 1
    assert array.flags.owndata
    assert pack(np.asfortranarray(np.eye(3))) == pack(np.eye(3))
    assert pack(np.arange(6.0)[::2]) == pack(np.array([0.0, 2.0, 4.0]))


def test_it_is_an_npz_that_numpy_opens_and_people_can_read(tmp_path: Path) -> None:
    (path := tmp_path / "tree.npz").write_bytes(FILE)
    with zipfile.ZipFile(path) as file:  # equal content gives equal bytes, today and tomorrow
        assert {member.date_time for member in file.infolist()} == {(1980, 1, 1, 0, 0, 0)}
    with np.load(path, allow_pickle=False) as file:
        assert file["0"].tolist() == [0.0, 1.0, 2.0]
        header = json.loads(file["header.json"])
    assert (header["format"], header["version"]) == ("microgrid checkpoint", 1)
    assert header["arrays"][0]["shape"] == [3]


CYCLE: list[Any] = []
CYCLE.append(CYCLE)


@pytest.mark.parametrize(
    ("tree", "message"),
    [
        ({"a": [1, object()]}, r"nn.save: \['a'\]\[1\] is or holds a object"),
        ({"a": {1.5: 2}}, r"\['a'\] is or holds a key 1.5, which is neither str nor int"),
        (np.array([None]), "the content is or holds an array of dtype object"),
        (np.array([(1, 2.0)], dtype="i4,f8"), "an array of dtype"),
        (np.ma.masked_array([1.0], [True]), "a MaskedArray"),
        (np.datetime64("2020-01-01"), "an array of dtype datetime64"),
        (1j, "holds a complex"),
        ({"n": [10**5000]}, r"\['n'\]\[0\] is or holds an integer of 16610 bits, expected at most 8192"),
        ({1, 2}, "holds a set"),
        (b"bytes", "holds a bytes"),
        (print, "holds a builtin_function_or_method"),
        (CYCLE, "a value holds itself"),
    ],
)
def test_what_is_not_kept_is_refused_by_its_place(tree: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message + ".*test_archive.py"):
        pack(tree)


# Damage


def test_text_that_is_none_is_refused() -> None:
    """A code point above 0x10FFFF would raise wherever the text is looked at, long after it was read."""
    good = np.array(["ab", "c"])
    member = archive._npy(good)
    file = pack({"names": good})
    for bad in (0x110000, 0x7FFFFFFF, 0xFFFFFFFF):
        forged = member[:-4] + bad.to_bytes(4, "little")
        members = {name: zipfile.ZipFile(io.BytesIO(file)).read(name) for name in ("header.json", "0.npy")}
        old, new = (hashlib.sha256(m).hexdigest().encode() for m in (member, forged))
        checked = zipped([("header.json", members["header.json"].replace(old, new)), ("0.npy", forged)])
        with pytest.raises(CheckpointError, match="an array of text holds what is no character"):
            unpack(checked)
    assert unpack(file)["names"].tolist() == ["ab", "c"]
    assert unpack(pack(2**8191)) == 2**8191


def test_truncated_at_any_byte() -> None:
    for length in range(len(FILE)):
        with pytest.raises(CheckpointError):
            unpack(FILE[:length])


def test_any_bit_flipped_is_an_error_or_changes_nothing() -> None:
    """All bits: the dates and attributes of the zip archive mean nothing, the rest is found out."""
    refused = 0
    for bit in range(8 * len(FILE)):
        damaged = bytearray(FILE)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            assert same(unpack(bytes(damaged)), TREE), bit
        except CheckpointError:
            refused += 1
    assert 0.8 < refused / (8 * len(FILE)) < 1


@given(st.lists(st.tuples(st.integers(0, len(FILE) - 1), st.integers(0, 255)), min_size=1, max_size=9), st.data())
@settings(max_examples=300)
def test_bytes_overwritten_cut_out_or_doubled(changes: list[tuple[int, int]], data: st.DataObject) -> None:
    damaged = bytearray(FILE)
    for place, byte in changes:
        damaged[place] = byte
    start = data.draw(st.integers(0, len(damaged)))
    end = data.draw(st.integers(start, len(damaged)))
    damaged[start:end] = damaged[start:end] * data.draw(st.sampled_from([0, 1, 1, 2]))
    with contextlib.suppress(CheckpointError):
        assert same(unpack(bytes(damaged)), TREE)


# Foreign and hostile files


class Evil:
    """A pickle that leaves a trace if it is opened."""

    trace = "executed"

    def __reduce__(self) -> Any:
        return (os.mkdir, (self.trace,))


def npz(**named: Any) -> bytes:
    buffer = io.BytesIO()
    np.savez(buffer, **named)
    return buffer.getvalue()


def zipped(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as file:
        for name, content in members:
            file.writestr(name, content)
    return buffer.getvalue()


def npy(array: Any, claimed: str | None = None) -> bytes:
    """The bytes of a .npy; `claimed` is a dict to stand in its header."""
    buffer = io.BytesIO()
    np.lib.format.write_array(buffer, array, allow_pickle=True)
    if claimed is None:
        return buffer.getvalue()
    text = claimed.encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text + array.tobytes()


def forged(content: Any = None, members: Any = (), entries: Any = None, **changed: Any) -> bytes:
    """A file with correct checksums, and what is given in it."""
    made = [
        {"dtype": "<f8", "shape": [3], "sha256": hashlib.sha256(member).hexdigest()} for member in members
    ] if entries is None else entries  # fmt: skip
    header = {"format": "microgrid checkpoint", "version": 1, "arrays": made, "content": content, **changed}
    return zipped([("header.json", json.dumps(header).encode()), *((f"{i}.npy", it) for i, it in enumerate(members))])


GOOD = npy(np.arange(3.0))
HUGE = "{'descr': '<f8', 'fortran_order': False, 'shape': (1000000000000,), }"
SHA = hashlib.sha256


def entry(member: bytes, dtype: str = "<f8", shape: Any = (3,)) -> Any:
    return [{"dtype": dtype, "shape": list(shape), "sha256": SHA(member).hexdigest()}]


ENDLESS = npy(np.zeros(0), HUGE.replace("1000000000000", f"0, {10**30}"))
HUGE_MEMBER = npy(np.arange(3.0), HUGE)
OBJECTS = npy(np.array([Evil()], dtype=object))
BIG = npy(np.arange(3.0, dtype=">f8"))
BOMB = b"\0" * 10**6

FOREIGN = {
    "empty": (b"", "the file is empty"),
    "text": (b"hello", "it is no zip archive"),
    "HTML": (b"\n<!DOCTYPE html><html>404</html>", "a page of HTML"),
    "pickle": (pickle.dumps(Evil()), "it is a pickle.*not opened"),
    "npy": (npy(np.eye(2)), "a single array"),
    "gzip": (b"\x1f\x8b\x08\0", "compressed by gzip"),
    "npz": (npz(a=np.eye(2)), "without the header.json"),
    "npz of objects": (npz(a=np.array([Evil()], dtype=object)), "without the header.json"),
    "torch": (zipped([("model/data.pkl", pickle.dumps(Evil())), ("model/version", b"3")]), "torch.*load_state_dict"),
    "empty zip": (zipped([]), "no zip archive"),
}

HOSTILE = {
    "objects": (forged({"array": 0}, [OBJECTS], entry(OBJECTS, "|O", (1,))), r"dtype \|O, as no checkpoint does"),
    "10^12 numbers": (forged({"array": 0}, [HUGE_MEMBER], entry(HUGE_MEMBER, "<f8", [10**12])), "has 24 bytes"),
    "10^12 in the header alone": (forged({"array": 0}, [GOOD], entry(GOOD, "<f8", [10**12])), "not of the dtype and"),
    "overflowing shape": (forged({"array": 0}, [ENDLESS], entry(ENDLESS, "<f8", [0, 10**30])), "damaged"),
    "another dtype": (forged({"array": 0}, [GOOD], entry(GOOD, "<i8")), "not of the dtype and shape"),
    "big endian": (forged({"array": 0}, [BIG], entry(BIG, ">f8")), "dtype >f8"),
    "wrong checksum": (forged({"array": 0}, [GOOD], entry(b"")), "differs from its checksum"),
    "two of one name": (None, "two members of one name"),
    "a path": (zipped([("header.json", b"{}"), ("../../evil.npy", GOOD)]), "damaged"),
    "a path beside": (zipped([("header.json", json.dumps({"format": "microgrid checkpoint", "version": 1, "arrays": [],
                              "content": 0}).encode()), ("../../evil.npy", GOOD)]), "has too many: ../../evil.npy"),
    "compressed": (zipped([("header.json", b"{}"), ("0.npy", BOMB)], zipfile.ZIP_DEFLATED), "compressed"),
    "another format": (forged(0, format="other"), "not that of a checkpoint"),
    "a later version": (forged(0, version=2), "has version 2, and this microgrid reads version 1"),
    "no version": (forged(0, version="one"), "not that of a checkpoint"),
    "a list": (zipped([("header.json", b"[]")]), "damaged"),
    "nan": (zipped([("header.json", b'{"format": NaN}')]), "holds NaN"),
    "no text": (zipped([("header.json", b"\xff\xfe")]), "damaged"),
    "deep": (zipped([("header.json", b"[" * 10**5)]), "damaged"),
    "no array": (forged({"array": 0}), "damaged"),
    "negative": (forged({"array": "x"}), "damaged"),
    "unknown kind": (forged({"eval": "1"}), "unknown kind of value, 'eval'"),
    "two kinds": (forged({"tuple": [], "dict": []}), "damaged"),
    "no float": (forged({"float": "1e5"}), "damaged"),
    "unhashable key": (forged({"dict": [[[1], 2]]}), "damaged"),
    "long number": (zipped([("header.json", b"1" * 5000)]), "damaged"),
    "arrays no list": (forged(0, entries=3), "damaged"),
}  # fmt: skip


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    yield
    assert not (tmp_path / Evil.trace).exists()


@pytest.mark.usefixtures("elsewhere")
@pytest.mark.parametrize("case", {**FOREIGN, **HOSTILE})
def test_foreign_and_hostile_files_are_named_and_not_opened(case: str) -> None:
    file, message = {**FOREIGN, **HOSTILE}[case]
    if file is None:
        with pytest.warns(UserWarning, match="Duplicate name"):
            file = zipped([("header.json", b"{}"), ("0.npy", GOOD), ("0.npy", GOOD)])
    with pytest.raises(CheckpointError, match=message):
        unpack(file)


def test_members_that_overlap_cannot_add_up_to_more_than_the_file() -> None:
    """A zip bomb of stored members: every entry of the directory points to the same bytes."""
    big = zipped([("header.json", b"{}"), ("0.npy", BOMB)])
    with zipfile.ZipFile(io.BytesIO(big)) as file:
        member, directory = file.getinfo("0.npy"), file.start_dir
    record = big[big.index(b"PK\x01\x02", directory + 4) : big.index(b"PK\x05\x06", directory)]
    assert member.filename.encode() in record
    records = b"".join(record.replace(b"0.npy", f"{i}.npy".encode()) for i in range(9))
    header_record = big[directory : big.index(b"PK\x01\x02", directory + 4)]
    end = bytearray(big[big.index(b"PK\x05\x06", directory) :])
    end[8:12] = (10).to_bytes(2, "little") * 2
    end[12:16] = len(header_record + records).to_bytes(4, "little")
    with pytest.raises(CheckpointError, match="claim more bytes than the file has"):
        unpack(big[:directory] + header_record + records + bytes(end))


# The file


def test_written_whole_with_the_mode_of_the_old_file_or_of_a_new_one(tmp_path: Path) -> None:
    path = tmp_path / "file.npz"
    saving.write(path, b"one")
    (plain := tmp_path / "plain").touch()
    assert path.read_bytes() == b"one"
    assert path.stat().st_mode == plain.stat().st_mode
    path.chmod(0o640)
    saving.write(str(path), b"two")
    assert path.read_bytes() == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert sorted(it.name for it in tmp_path.iterdir()) == ["file.npz", "plain"]
    assert archive.read(path) == b"two"


def test_a_link_stays_and_what_it_points_to_is_replaced(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (link := tmp_path / "latest.npz").symlink_to(tmp_path / "deep" / "real.npz")
    for content in (b"one", b"two"):  # at first it points to nothing
        saving.write(link, content)
        assert link.is_symlink()
        assert (tmp_path / "deep" / "real.npz").read_bytes() == content
    assert [it.name for it in (tmp_path / "deep").iterdir()] == ["real.npz"]


def test_long_and_foreign_names(tmp_path: Path) -> None:
    for name in ("x" * 250, "ü" * 120, "a b'c\n.npz"):
        saving.write(tmp_path / name, b"one")
        assert (tmp_path / name).read_bytes() == b"one"


def failing(number: int) -> Any:
    def fail(*given: Any, **named: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return fail


class HalfWritten(io.FileIO):
    """A file on a disk that is full after a few bytes."""

    def write(self, content: Any) -> int:
        super().write(bytes(content)[:5])
        return failing(errno.ENOSPC)()


@pytest.mark.parametrize("step", ["open", "write", "fsync", "chmod", "replace"])
@pytest.mark.parametrize("old", [None, b"old"])
def test_a_failure_at_any_step_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, old: bytes | None
) -> None:
    path = tmp_path / "file.npz"
    if old:
        path.write_bytes(old)
    if step == "chmod" and not old:
        return
    match step:
        case "open":
            monkeypatch.setattr(saving, "open", failing(errno.ENOSPC), raising=False)
        case "write":
            monkeypatch.setattr(saving, "open", HalfWritten, raising=False)
        case _:
            monkeypatch.setattr(saving.os, step, failing(errno.ENOSPC))
    with pytest.raises(
        OSError, match=r"No space left on device; nothing was written, .*test_archive.py.*file.npz"
    ) as error:
        saving.write(path, b"new content")
    assert error.value.errno == errno.ENOSPC
    monkeypatch.undo()
    assert [(it.name, it.read_bytes()) for it in tmp_path.iterdir()] == ([("file.npz", old)] if old else [])


def test_ctrl_c_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*given: Any) -> Any:
        raise KeyboardInterrupt

    (path := tmp_path / "file.npz").write_bytes(b"old")
    monkeypatch.setattr(saving.os, "fsync", interrupt)
    with pytest.raises(KeyboardInterrupt):
        saving.write(path, b"new")
    assert [(it.name, it.read_bytes()) for it in tmp_path.iterdir()] == [("file.npz", b"old")]


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing was written.*none/file.npz"):
        saving.write(tmp_path / "none" / "file.npz", b"")
    with pytest.raises(IsADirectoryError, match="nothing was written"):
        saving.write(tmp_path, b"")
    with pytest.raises(IsADirectoryError):
        archive.read(tmp_path)
    with pytest.raises(FileNotFoundError):
        archive.read(tmp_path / "none")
    os.mkfifo(fifo := tmp_path / "fifo")
    with pytest.raises(OSError, match="it is no regular file"):
        saving.write(fifo, b"")
    with pytest.raises(CheckpointError, match="it is no regular file"):
        archive.read(fifo)  # and does not wait for a writer
    assert [it.name for it in tmp_path.iterdir()] == ["fifo"]


def test_the_disk_has_the_content_before_the_name_and_the_name_at_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    fsync, replace = os.fsync, os.replace

    def synced(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        size = os.fstat(descriptor).st_size
        done.append("sync folder" if folder else f"sync {size} bytes")
        fsync(descriptor)

    def replaced(old: Any, new: Any) -> None:
        done.append("replace")
        replace(old, new)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", replaced)
    saving.write(tmp_path / "file.npz", b"content")
    assert done == ["sync 7 bytes", "replace", "sync folder"]


def test_a_folder_that_cannot_be_synced_is_no_fault_but_a_broken_disk_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fsync = os.fsync
    for number in (errno.EINVAL, errno.EIO):

        def synced(descriptor: int, number: int = number) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                failing(number)()
            fsync(descriptor)

        monkeypatch.setattr(os, "fsync", synced)
        if number == errno.EIO:
            with pytest.raises(OSError, match="Input/output"):
                saving.write(tmp_path / "file.npz", b"two")
        else:
            saving.write(tmp_path / "file.npz", b"one")


KILLED = """
import os, signal, sys
from microgrid import saving
from nn import archive

step, moment, path = sys.argv[1:]

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def deadly(function):
    def call(*given, **named):
        if moment == "before":
            die()
        result = function(*given, **named)
        die()
    return call

class File:
    def __init__(self, *given):
        self.file = open(*given)
    def __enter__(self):
        return self
    def __exit__(self, *given):
        self.file.close()
    def write(self, content):
        if moment == "before":
            die()
        self.file.write(content if moment == "after" else content[: len(content) // 2])
        self.file.flush()
        die()

count = 0
def sync_folder(descriptor):
    global count
    count += 1
    if count == 2:
        deadly(fsync)(descriptor)
    fsync(descriptor)

fsync = os.fsync
if step == "write":
    saving.open = File
elif step == "sync folder":
    os.fsync = sync_folder
else:
    setattr(os, step, deadly(getattr(os, step)))
saving.write(path, archive.pack("new"))
"""
STEPS = [
    ("write", "midway"),
    *((s, m) for s in ("write", "fsync", "chmod", "replace", "sync folder") for m in ("before", "after")),
]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="SIGKILL")
def test_killed_at_each_step_the_old_or_the_new_file_loads(tmp_path: Path) -> None:
    """Until the rename the old one, from then on the new one; what is left behind harms nobody."""
    found, left_behind = {}, set()
    for step, moment in STEPS:
        folder = tmp_path / f"{step} {moment}"
        folder.mkdir()
        saving.write(path := folder / "file.npz", pack("old"))
        command = [sys.executable, "-c", KILLED, step, moment, str(path)]
        assert subprocess.run(command, cwd=ROOT, check=False).returncode == -9
        found[step, moment] = unpack(archive.read(path))
        left_behind |= {it.name[:10] for it in folder.iterdir() if it != path}
        saving.write(path, pack("newer"))
        assert unpack(archive.read(path)) == "newer"
    replaced = STEPS.index(("replace", "after"))
    assert found == {at: "old" if index < replaced else "new" for index, at in enumerate(STEPS)}
    assert left_behind == {".file.npz."}
