"""A program of arrays in the single steps that C can take, and how each finds its numbers.

Whatever is a softmax or a sum over what was broadcast becomes its parts here; whatever only looks at memory in another
way (reshape, transpose, slices) becomes an `Access`: where the first number lies, and how far it is to the next along
each axis. What is left is `elementwise`, `reduction`, `product`, `join`, or a call of NumPy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgrid.capture.tracing import FUNCTIONS, Program, Traced
from microgrid.kinds import _basic
from microgrid.shapes import axes_of, pieces, slots

__microgrid_machinery__ = True

TYPES = {"f8": "double", "f4": "float", "i8": "int64_t", "i4": "int32_t", "b1": "uint8_t"}  # in memory
ORDERED = ("less", "less_equal", "greater", "greater_equal", "equal", "not_equal")
LOGICAL = ("logical_and", "logical_or")
ARITHMETIC = ("add", "subtract", "multiply", "negative", "square")  # of whole numbers too
REAL = (
    "divide", "power", "exp", "log", "log1p", "expm1", "sqrt", "absolute", "sin", "cos", "tan", "tanh", "maximum",
    "minimum", "sign", "reciprocal",
)  # fmt: skip
ELEMENTWISE = {*ORDERED, *LOGICAL, *ARITHMETIC, *REAL, "where", "astype", "copy"}
REDUCTIONS = {"sum", "max", "min", "prod"}
LOOKS = {"reshape", "transpose", "index", "flip", "broadcast_to"}  # at the memory of their argument
SMALL, LARGE = 1 << 15, 1 << 27  # multiplications up to which a product is never a BLAS's, and from which on always


class CannotWriteError(Exception):
    """Why a program is not written in C."""


class Access(NamedTuple):
    """Numbers in the memory of a line: all distances are in numbers, not bytes."""

    line: int
    start: int
    strides: tuple[int, ...]  # by axis


def contiguous(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides of an array whose numbers lie side by side."""
    return tuple(math.prod(shape[axis + 1 :]) for axis in range(len(shape)))


def code_of(dtype: Any) -> str:
    """A type's kind and size, "f8" for float64; empty for what C does not get to see."""
    code = f"{dtype.kind}{dtype.itemsize}"
    return code if code in TYPES and dtype.isnative else ""


class Steps(Program):
    """The same program in single steps, with the access to each line's numbers.

    Attributes
    ----------
    access : dict of int to Access
        By line; lines that only look have no numbers of their own.
    outputs, forms : list
        By output, the line whose numbers it is, and its shape.
    """

    def __init__(self, program: Program, outputs: Sequence[Traced], blas: bool) -> None:
        super().__init__()
        self.access: dict[int, Access] = {}
        self.literals: dict[int, Any] = {}  # constants that are one number everywhere
        self.blas = blas
        self._constants: dict[int, Traced] = {}
        self._of: dict[int, Traced] = {}
        with np.errstate(all="ignore"):
            self._translate(program, [x.line for x in outputs])
        self.comment = "the outputs"
        self.outputs: list[int] = []
        self.forms: list[tuple[int, ...]] = [x.number.shape for x in outputs]
        for output in outputs:
            self.outputs.append(self._owned(self._of[output.line]))

    def _owned(self, x: Traced) -> int:
        """A line whose numbers, as they lie in memory, are an output: the line itself, what it looks at, or a copy."""
        if not code_of(x.dtype):
            raise CannotWriteError(f"an output is of type {x.dtype}")
        access = self.access[x.line]
        whole = self._side_by_side(x) and not access.start and x.size == self.numbers[access.line].size
        taken = access.line in self.outputs or self.kind(access.line) in ("input", "constant", "numpy")
        return access.line if whole and not taken else self.copy(x).line

    # ------------------------------------------------------------------------------------------------ translation

    def _translate(self, program: Program, outputs: Sequence[int]) -> None:
        needed = set(outputs)
        for line in range(len(program.lines) - 1, -1, -1):
            if line in needed:
                needed.update(x.line for x in program.lines[line].arguments if isinstance(x, Traced))
        for line, said in enumerate(program.lines):
            if said.function == "input":
                self._of[line] = self.input(said.arguments[0], program.numbers[line])
                self.access[self._of[line].line] = self._own(self._of[line].line)
            elif line in needed:
                self.comment = said.comment
                given = [x for x in said.arguments if isinstance(x, Traced)]
                if all(self.kind(self._of[x.line].line) == "constant" for x in given):
                    self._of[line] = self.constant(program.numbers[line])
                else:
                    arguments = [self._argument(x) for x in said.arguments]
                    self._of[line] = self.simple(said.function, arguments, dict(said.words))

    def _argument(self, x: Any) -> Any:
        if isinstance(x, Traced):
            return self._of[x.line]
        if isinstance(x, np.generic):
            return self.constant(np.asarray(x))
        return self.constant(x) if isinstance(x, np.ndarray) else x

    def constant(self, number: Any) -> Traced:
        """An array that is the same at each run."""
        if id(number) not in self._constants:
            traced = self.line("constant", (number,), (), number)
            if number.size and number.tobytes() == number.ravel()[:1].tobytes() * number.size:
                self.literals[traced.line] = number.ravel()[0].item()
            self._constants[id(number)] = traced
        return self._constants[id(number)]

    def simple(self, function: str, arguments: Sequence[Any], words: dict[str, Any]) -> Traced:
        """A call, in the steps that it is made of."""
        if function in SIMPLER:
            return SIMPLER[function](self, *arguments, **words)
        return self.call(function, *arguments, **words)

    def call(self, function: str, *arguments: Any, **words: Any) -> Traced:
        """One step, with its access."""
        if function == "reshape" and not self._side_by_side(arguments[0]):
            arguments = (self.copy(arguments[0]),)
        known = len(self.lines)
        traced = super().call(function, *arguments, **words)
        if traced.line >= known:
            self.access[traced.line] = self._access(traced.line)
        return traced

    def line(self, function: str, arguments: Any, words: Any, number: Any) -> Traced:
        """A line that no other is taken for."""
        traced = self._line(function, arguments, words, number)
        self.access[traced.line] = self._own(traced.line)
        return traced

    def copy(self, x: Traced) -> Traced:
        """The same numbers side by side in memory of their own."""
        return self.line("copy", (x,), (), x.number)

    # ---------------------------------------------------------------------------------------------------- access

    def _own(self, line: int) -> Access:
        return Access(line, 0, contiguous(self.numbers[line].shape))

    def _side_by_side(self, x: Traced) -> bool:
        steps = contiguous(x.shape)
        return all(n == 1 or s == t for n, s, t in zip(x.shape, self.access[x.line].strides, steps, strict=True))

    def _access(self, line: int) -> Access:
        said = self.lines[line]
        if self.kind(line) != "look":
            return self._own(line)
        x, words = said.arguments[0], dict(said.words)
        seen = self.access[x.line]
        if said.function == "reshape":  # `call` has seen to it that all lies side by side
            return Access(seen.line, seen.start, contiguous(self.numbers[line].shape))
        if said.function == "index":
            return self.within(seen, x.shape, lambda view: view[_open(words["at"])])
        return self.within(seen, x.shape, lambda view: FUNCTIONS[said.function](view, **words))

    @staticmethod
    def within(seen: Access, shape: Sequence[int], look: Callable[[Any], Any]) -> Access:
        """What a look at numbers so accessed accesses, as NumPy says: of bytes with these strides, never read."""
        room = np.zeros(1, np.int8)
        before = np.lib.stride_tricks.as_strided(room, shape, seen.strides)
        after = look(before)
        return Access(seen.line, seen.start + _address(after) - _address(before), after.strides)

    # ------------------------------------------------------------------------------------------------------ kinds

    def kind(self, line: int) -> str:
        """How a line comes about: by a loop, a product, NumPy, ..."""
        said = self.lines[line]
        function, words = said.function, dict(said.words)
        if function in ("input", "constant"):
            return function
        if function in LOOKS:
            return "look" if function != "index" or _basic(words["at"]) else "numpy"
        codes = [code_of(x.dtype) for x in said.arguments if isinstance(x, Traced)]
        code = code_of(self.numbers[line].dtype)
        if not code or not all(codes):
            return "numpy"
        if function in ELEMENTWISE:
            return "elementwise" if self._has_c(function, code, codes) else "numpy"
        if function in REDUCTIONS:
            empty = not said.arguments[0].size
            return (
                "reduction"
                if (code[0] == "f" and codes == [code] and not empty) or (function == "sum" and code == "i8")
                else "numpy"
            )
        if (
            function == "matmul"
            and all(x.ndim == 2 for x in said.arguments)
            and code[0] == "f"
            and {code} == set(codes)
        ):
            size = math.prod(self.numbers[line].shape) * said.arguments[0].shape[1]
            return "product" if self.blas or size <= 1 << 20 else "numpy"
        if function in ("concatenate", "stack") and {code} == set(codes) and len(codes) == len(said.arguments):
            return "join"
        return "join" if function == "scatter" and _basic(words["at"]) and codes == [code] else "numpy"

    @staticmethod
    def _has_c(function: str, code: str, codes: Sequence[str]) -> bool:
        if function in ORDERED or function in LOGICAL:
            return True
        if function == "astype":
            return code[0] == "f" or codes[0][0] != "f"
        if function in ("where", "copy"):
            return True
        return code[0] == "f" or (code[0] == "i" and function in ARITHMETIC)


def _open(at: Any) -> tuple[Any, ...]:
    """The same index, by which even a single number is a window on the memory."""
    at = at if isinstance(at, tuple) else (at,)
    return at if Ellipsis in at else (*at, Ellipsis)


def _address(x: Any) -> int:
    address: int = x.__array_interface__["data"][0]
    return address


# ------------------------------------------------------------------------------- what is made of simpler steps


def _real(p: Steps, x: Traced) -> Any:
    return x if x.dtype.kind == "f" else p.call("astype", x, dtype=np.dtype(float))


def _sum(p: Steps, x: Traced, *, axis: Any = None, keepdims: bool = False) -> Traced:
    axes = axes_of(x.ndim, axis)
    if x.dtype.kind == "f" and all(x.shape[a] == 1 for a in axes):
        x = p.call("add", x, 0)  # NumPy begins at 0, so that a sum of -0 is 0
        return x.reshape([n for a, n in enumerate(x.shape) if keepdims or a not in axes])
    return p.call("sum", x, axis=axis, keepdims=keepdims)


def _sum_to(p: Steps, x: Traced, *, shape: tuple[int, ...]) -> Traced:
    extra = x.ndim - len(shape)
    own = x.shape[max(extra, 0) :]
    shrunk = [a + max(extra, 0) for a, n in enumerate(shape[-len(own) :] if own else ()) if n == 1 and own[a] != 1]
    axes = (*range(extra), *shrunk)
    if axes:
        x = _sum(p, x, axis=axes, keepdims=True)
        x = x.reshape(x.shape[max(extra, 0) :])
    return x if x.shape == tuple(shape) else p.call("broadcast_to", x, shape=tuple(shape))


def _matmul(p: Steps, x: Any, y: Any) -> Traced:
    shape = np.matmul(x.number, y.number).shape
    if x.ndim == 1 or y.ndim == 1 or (x.ndim > 2 and y.ndim == 2):
        rows = x.reshape((math.prod(x.shape[:-1]), x.shape[-1])) if y.ndim <= 2 else x
        columns = y.reshape((y.shape[0], 1)) if y.ndim == 1 else y
        if rows.ndim == columns.ndim == 2:
            return _product(p, rows, columns).reshape(shape)
    return _product(p, x, y) if x.ndim == y.ndim == 2 else p.call("matmul", x, y)


def _product(p: Steps, x: Traced, y: Traced) -> Traced:
    if x.shape[0] * x.shape[1] * y.shape[1] > SMALL:  # a BLAS wants one axis of each side by side
        x, y = (z if blas_strides(p.access[z.line], z.shape) else p.copy(z) for z in (x, y))
    return p.call("matmul", x, y)


def blas_strides(access: Access, shape: Sequence[int]) -> tuple[bool, int] | None:
    """Whether a BLAS has to take a matrix as transposed, and the step between its rows (columns); None: it cannot."""
    (rows, columns), (down, along) = shape, access.strides
    if (along == 1 or columns == 1) and (down >= columns or rows == 1):
        return False, max(down, columns, 1)
    if (down == 1 or rows == 1) and (along >= rows or columns == 1):
        return True, max(along, rows, 1)
    return None


def _below_0(p: Steps, x: Any, axis: int) -> Any:
    x = _real(p, x)
    return x - p.call("max", x, axis=axis, keepdims=True, initial=-math.inf)


def _softmax(p: Steps, x: Traced, *, axis: int) -> Any:
    e: Any = p.call("exp", _below_0(p, x, axis))
    return e / _sum(p, e, axis=axis, keepdims=True)


def _log_softmax(p: Steps, x: Traced, *, axis: int) -> Any:
    d = _below_0(p, x, axis)
    return d - p.call("log", _sum(p, p.call("exp", d), axis=axis, keepdims=True))


def _logsumexp(p: Steps, x: Traced, *, axis: Any, keepdims: bool) -> Any:
    x = _real(p, x)
    top = p.call("max", x, axis=axis, keepdims=True, initial=-math.inf)
    shift = p.call("where", p.call("less", p.call("absolute", top), math.inf), top, 0)
    summed: Any = _sum(p, p.call("exp", p.call("subtract", x, shift)), axis=axis, keepdims=True)
    z = p.call("add", p.call("log", summed), shift)
    axes = axes_of(x.ndim, axis)
    return z if keepdims else z.reshape([n for a, n in enumerate(z.shape) if a not in axes])


def _transpose(p: Steps, x: Traced, **words: Any) -> Traced:
    axes = words.get("axes", (*range(x.ndim - 2), x.ndim - 1, x.ndim - 2))
    return p.call("transpose", x, axes=tuple(axes))


SIMPLER: dict[str, Callable[..., Traced]] = {
    "sum": _sum, "sum_to": _sum_to, "matmul": _matmul, "softmax": _softmax, "log_softmax": _log_softmax,
    "logsumexp": _logsumexp,
}  # fmt: skip


def parts(p: Steps, line: int) -> list[tuple[Access, Traced]]:
    """Of a `join`: each argument and where it goes."""
    said, words = p.lines[line], dict(p.lines[line].words)
    xs: Sequence[Traced] = said.arguments
    places: Any = (
        [words["at"]]
        if said.function == "scatter"
        else (pieces(xs, words["axis"]) if said.function == "concatenate" else slots(xs, words["axis"]))
    )
    shape = p.numbers[line].shape
    return [
        (Steps.within(p.access[line], shape, lambda view, at=at: view[_open(at)]), x)  # type: ignore[misc]
        for at, x in zip(places, xs, strict=True)
    ]
