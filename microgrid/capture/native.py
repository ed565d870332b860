"""The C backend of `compile`: a program of arrays as one call of compiled code.

It needs a C compiler when something is compiled for the first time, and nothing but the standard library: no headers of
Python or NumPy, no linking. Arrays are passed as a tuple; the C reads the address of their numbers from them after
checking that each is the array it was compiled for. Where it is not, the array is copied into one that is.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microgrid.capture import array_code
from microgrid.capture.arena import Arena
from microgrid.capture.c_code import Code, Layout, Segment
from microgrid.capture.c_library import NoCompilerError, load, warn
from microgrid.capture.c_steps import TYPES, CannotWriteError, Steps, code_of
from microgrid.capture.tracing import FUNCTIONS, Program, Traced
from microgrid.emitter import compiled

__microgrid_machinery__ = True


def written(program: Program, outputs: Sequence[Traced], name: str) -> tuple[Callable[..., Any], str]:
    """The program as a function of its inputs, and its source in C; by NumPy where that cannot be, after one warning.

    The arrays of the outputs are nobody else's; all others stand in one block of memory, so that one thread at a time
    may run it.
    """
    found = blas()
    try:
        steps = Steps(program, outputs, found is not None)
        code = Code(steps, layout(), found[2] if found else "int")
        library = load(code.text)
        _set_up(library)
        return _function(steps, code, library, name), code.source
    except NoCompilerError as error:
        warn(str(error))
    except CannotWriteError as error:
        warn(f"it cannot be written in C: {error}")
    except Exception as error:  # no gap of ours takes down what NumPy can do
        warn(f"it cannot be written in C: {type(error).__name__}: {error}")
    return array_code.written(program, outputs, name)


def _function(steps: Steps, code: Code, library: ctypes.CDLL, name: str) -> Callable[..., Any]:
    """Python around the C: it makes the arrays of the outputs, calls the segments, and NumPy between them."""
    room = _aligned(code.room)
    scope: dict[str, Any] = {"empty": np.empty, "room": room, "own": _own, "fitting": _fitting}
    inputs = ", ".join(steps.inputs)
    lines = [f"def {name}({inputs}):", *_made(steps, scope)]
    numbers = [steps.numbers[line] for line, said in enumerate(steps.lines) if said.function == "input"]
    scope["forms"] = [(number.shape, number.dtype) for number in numbers]
    for segment in code.run:
        if isinstance(segment, Segment):
            scope[f"call_{segment.number}"] = _entrance(segment, library)
            given = "".join(f"{x}, " for x in segment.given)
            lines.append(f"    if call_{segment.number}(({given})):")
            lines.append(f"        return {name}(*fitting(({inputs}{',' * bool(inputs)}), forms))")
            for x in segment.given:
                if x.startswith("k") and x not in steps.inputs:
                    scope[x] = np.require(steps.numbers[int(x[1:])], None, ["C", "A"])
        else:
            scope[f"type{segment}"] = _plain(steps.numbers[segment].dtype)
            lines.append(f"    v{segment} = own({_call(steps, code, segment, scope)}, type{segment})")
    lines.append(f"    return {''.join(f'o{place}, ' for place in range(len(steps.outputs)))}")
    return compiled(name, lines, scope)


def _made(steps: Steps, scope: dict[str, Any]) -> list[str]:
    """The arrays of the outputs: those of one type are parts of one array, which serves again when nobody holds it."""
    lines, alike = [], dict[Any, list[int]]()
    for place, (line, shape) in enumerate(zip(steps.outputs, steps.forms, strict=True)):
        dtype = steps.numbers[line].dtype
        if shape:
            alike.setdefault(dtype, []).append(place)
        else:
            scope[f"t{place}"] = dtype
            lines.append(f"    o{place} = empty((), t{place})")
    for dtype, places in alike.items():
        new = f"new{places[0]}"
        scope[new] = Arena([steps.forms[place] for place in places], dtype)
        lines.append(f"    {''.join(f'o{place}, ' for place in places)}= {new}().parts")
    return lines


def _aligned(size: int) -> Any:
    """Memory that begins where a line of the cache does."""
    room = np.empty(size + 64, np.uint8)
    start = -room.__array_interface__["data"][0] % 64
    return room[start : start + size]


def _own(x: Any, dtype: Any) -> Any:
    """What NumPy gave, as an array of its own: it may be a window on memory that is used again."""
    own = np.empty(np.shape(x), dtype)  # np.array would leave one of two equal types, long and long long, as it is
    own[...] = x
    return own


def _fitting(arrays: Sequence[Any], forms: Sequence[tuple[tuple[int, ...], Any]]) -> list[Any]:
    """Arrays of any layout as those that the code was written for.

    Raises
    ------
    ValueError
        Where one has another shape or type.
    """
    fitted = []
    for x, (shape, dtype) in zip(arrays, forms, strict=True):
        x = np.asarray(x)
        if x.shape != shape or x.dtype != dtype:
            raise ValueError(f"compiled for an array of shape {shape} and type {dtype}, got {x.shape} and {x.dtype}")
        fitted.append(_own(x, _plain(dtype)))
    return fitted


def _plain(dtype: Any) -> Any:
    """The one of several equal types that C knows: long, say, where long long is as long."""
    return np.dtype(code_of(dtype) or dtype)


def _call(steps: Steps, code: Code, line: int, scope: dict[str, Any]) -> str:
    """What NumPy does, in Python."""

    def text(x: Any) -> str:
        if not isinstance(x, Traced):
            return constant(x)
        if code.schedule.kind[x.line] == "look":
            return called(x.line)
        name = code.name(x.line)
        if name == "room":
            number, start = steps.numbers[x.line], code.start[x.line]
            name = f"b{x.line}"
            scope[name] = scope["room"][start : start + number.nbytes].view(number.dtype).reshape(number.shape)
        elif name.startswith("k"):
            scope[name] = steps.numbers[x.line]
        elif x.line in steps.outputs and steps.forms[steps.outputs.index(x.line)] != x.shape:
            return f"{name}.reshape({x.shape})"  # it is handed out in another shape
        return name

    def constant(x: Any) -> str:
        name = f"c{len(scope)}"
        scope[name] = x
        return name

    def called(line: int) -> str:
        said = steps.lines[line]
        if said.function == "copy":
            return text(said.arguments[0])
        scope[f"{said.function}_"] = FUNCTIONS[said.function]
        words = [f"{word}={constant(x)}" for word, x in said.words]
        return f"{said.function}_({', '.join([*map(text, said.arguments), *words])})"

    return called(line)


# --------------------------------------------------------------------------------------- what the C has to be told


def _entrance(segment: Segment, library: ctypes.CDLL) -> Callable[[tuple[Any, ...]], int]:
    """Calls a segment with a tuple of arrays; gives 0, or not, where one of them is not as it should be."""
    if layout() is not None:
        function = getattr(library, f"call_{segment.number}")
        function.argtypes, function.restype = [ctypes.py_object], ctypes.c_int
        return function  # type: ignore[no-any-return]
    run = getattr(library, f"run_{segment.number}")
    run.restype = None
    addresses = (ctypes.c_void_p * len(segment.given))()

    def entrance(arrays: tuple[Any, ...]) -> int:
        for place, (code, shape) in segment.checked.items():
            x = arrays[place]
            if (
                type(x) is not np.ndarray
                or x.shape != shape
                or x.dtype != code
                or not (x.flags.c_contiguous and x.flags.aligned)
            ):
                return place + 1
        for place, x in enumerate(arrays):
            addresses[place] = x.__array_interface__["data"][0]
        run(addresses)
        return 0

    return entrance


@functools.cache
def layout() -> Layout | None:
    """Where this Python and this NumPy keep what C reads of a tuple and of an array; None where that cannot be told.

    The fields of an array have stood in one order since NumPy 1.7; each is held here against what Python says of it.
    """
    if sys.implementation.name != "cpython" or ctypes.sizeof(ctypes.c_void_p) != 8 or ctypes.sizeof(ctypes.c_long) != 8:
        return None
    data = object.__basicsize__
    found = Layout(tuple.__basicsize__, data - 8, data)

    def word(address: int) -> int:
        return ctypes.c_uint64.from_address(address).value

    def half(address: int) -> int:
        return ctypes.c_int32.from_address(address).value

    whole = np.arange(12.0).reshape(3, 4)
    for x in (
        whole,
        whole.T,
        np.zeros((), np.float32),
        np.ones((2, 0, 3), np.int64),
        np.frombuffer(bytes(9), np.uint8)[1:],
    ):
        if x.__class__.__basicsize__ < data + 52:
            return None
        at = id(x) + data
        sizes = word(at + 16)
        held = (id(x), word(at), half(at + 8), word(at + 40), half(at + 48) & 0x101)
        flags = (1 if x.flags.c_contiguous else 0) | (0x100 if x.flags.aligned else 0)
        true = (_first(x, found.items), x.__array_interface__["data"][0], x.ndim, id(x.dtype), flags)
        if held != true or word(id(x) + found.kind) != id(np.ndarray):
            return None
        if x.ndim and [word(sizes + 8 * axis) for axis in range(x.ndim)] != list(x.shape):
            return None
    return found


def _first(x: Any, items: int) -> int:
    """What stands where the first item of a tuple should."""
    holder = (x,)
    return ctypes.c_uint64.from_address(id(holder) + items).value


@functools.cache
def blas() -> tuple[int, int, str] | None:
    """The addresses of NumPy's own products of matrices, for float64 and float32, and C's name of its whole numbers.

    They are looked for in the libraries that NumPy itself has loaded, and tried once. None where they are not found:
    large products are then left to `numpy.dot`.
    """
    try:
        library = _numpy()
    except (ImportError, OSError, AttributeError, TypeError):
        return None
    for name, integer in (
        ("scipy_cblas_{}gemm64_", "int64_t"), ("cblas_{}gemm64_", "int64_t"), ("scipy_cblas_{}gemm", "int"),
        ("cblas_{}gemm", "int"),
    ):  # fmt: skip
        try:
            found = [getattr(library, name.format(letter)) for letter in "ds"]
        except AttributeError:
            continue
        if _multiplies(found[0], ctypes.c_int64 if integer == "int64_t" else ctypes.c_int):
            d, s = (ctypes.cast(function, ctypes.c_void_p).value for function in found)
            return d or 0, s or 0, integer
    return None


def _numpy() -> ctypes.CDLL:
    """NumPy's own library; what is looked for in it is found in those that it needs, too."""
    return ctypes.CDLL(importlib.import_module("numpy._core._multiarray_umath").__file__)


def _threads() -> int:
    """How many threads NumPy's products may use, as OpenBLAS says now; else the number of processors."""
    for name in ("scipy_openblas_get_num_threads64_", "openblas_get_num_threads64_", "scipy_openblas_get_num_threads",
                 "openblas_get_num_threads"):  # fmt: skip
        with contextlib.suppress(ImportError, OSError, AttributeError):
            return int(getattr(_numpy(), name)())
    return os.cpu_count() or 1


def _multiplies(gemm: Any, integer: Any) -> bool:
    x, y, z = np.arange(6.0).reshape(2, 3), np.arange(12.0).reshape(3, 4), np.zeros((2, 4))
    given = [(integer(n), ctypes.c_void_p(a.ctypes.data)) for a, n in ((x, 3), (y, 4), (z, 4))]
    gemm.restype = None
    gemm(
        101, 111, 111, integer(2), integer(4), integer(3), ctypes.c_double(1), given[0][1], given[0][0], given[1][1],
        given[1][0], ctypes.c_double(0), given[2][1], given[2][0],
    )  # fmt: skip
    return bool((z == x @ y).all())


def _set_up(library: ctypes.CDLL) -> None:
    found = blas() or (0, 0, "")
    types = [id(np.dtype(code)) for code in TYPES]
    given = (ctypes.c_void_p * 9)(found[0], found[1], id(np.ndarray), *types, _threads())
    library.setup.restype = None
    library.setup(given)
