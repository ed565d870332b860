"""Arrays that write down what is computed from them: the rules run on them, and come out as straight-line code.

A traced array carries its numbers, so that shapes and types need no theory, and a place in a program. What is computed
twice is written once; what nobody needs is not written at all; and an array that is needed no longer lends its memory
to the next. Nothing is rearranged: each number is computed from the same numbers by the same operations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgrid import kinds
from microgrid.rule import Rule

__microgrid_machinery__ = True


class Line(NamedTuple):
    """One line of a program: `target = function(*arguments, **words)`."""

    function: str
    arguments: tuple[Any, ...]
    words: tuple[tuple[str, Any], ...]
    comment: str


UFUNCS: dict[str, Any] = {
    "add": np.add, "subtract": np.subtract, "multiply": np.multiply, "divide": np.divide, "power": np.power,
    "negative": np.negative, "exp": np.exp, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "sqrt": np.sqrt,
    "absolute": np.abs, "sin": np.sin, "cos": np.cos, "tan": np.tan, "tanh": np.tanh, "maximum": np.maximum,
    "minimum": np.minimum, "less": np.less, "less_equal": np.less_equal, "greater": np.greater,
    "greater_equal": np.greater_equal, "equal": np.equal, "not_equal": np.not_equal, "logical_and": np.logical_and,
    "logical_or": np.logical_or, "square": np.square, "reciprocal": np.reciprocal,
}  # fmt: skip
# what may be, at one run or another, a window on the memory of its argument
VIEWS = {"reshape", "transpose", "index", "broadcast_to", "sum_to", "flip", "einsum", "window"}


class Program:
    """A list of lines, each written once however often it is asked for."""

    def __init__(self) -> None:
        self.lines: list[Line] = []
        self.numbers: list[Any] = []  # by line: what it gave in the recording
        self.inputs: list[str] = []
        self.comment = ""
        self._known: dict[Any, Traced] = {}

    def input(self, name: str, number: Any) -> Traced:
        """An array that comes from outside at each run."""
        self.inputs.append(name)
        return self._line("input", (name,), (), number)

    def call(self, function: str, *arguments: Any, **words: Any) -> Traced:
        """The line that calls a function of arrays, and what it gives."""
        key = (function, tuple(map(_key, arguments)), tuple((name, _key(word)) for name, word in words.items()))
        if key not in self._known:
            given = [x.number if isinstance(x, Traced) else x for x in arguments]
            number = np.asarray(FUNCTIONS[function](*given, **words))
            self._known[key] = self._line(function, arguments, tuple(words.items()), number)
        return self._known[key]

    def _line(
        self, function: str, arguments: tuple[Any, ...], words: tuple[tuple[str, Any], ...], number: Any
    ) -> Traced:
        self.lines.append(Line(function, arguments, words, self.comment))
        self.numbers.append(number)
        return Traced(self, len(self.lines) - 1)


def _key(x: Any) -> Any:
    """What tells two arguments apart: numbers by their type and bits, arrays by identity."""
    if isinstance(x, Traced):
        return "line", x.line
    if isinstance(x, (tuple, list)):
        return tuple(map(_key, x))
    if isinstance(x, slice):
        return "slice", _key(x.start), _key(x.stop), _key(x.step)
    if isinstance(x, float):
        return "float", x.hex()
    return (type(x), x) if isinstance(x, (int, str, type(None), np.dtype)) else id(x)


POWERS = {1: "", 2: "square", 0.5: "sqrt", -1: "reciprocal"}


class Traced:
    """An array of a program, with the methods and operators that rules use."""

    __slots__ = ("line", "program")
    __array_ufunc__ = None
    __hash__ = None  # type: ignore[assignment]  # == is a line of the program

    def __init__(self, program: Program, line: int) -> None:
        self.program, self.line = program, line

    @property
    def number(self) -> Any:
        """What it was in the recording."""
        return self.program.numbers[self.line]

    shape = property(lambda self: self.number.shape)
    dtype = property(lambda self: self.number.dtype)
    ndim = property(lambda self: self.number.ndim)
    size = property(lambda self: self.number.size)
    T = property(lambda self: self.transpose(range(self.ndim)[::-1]))
    mT = property(lambda self: self.transpose((*range(self.ndim - 2), self.ndim - 1, self.ndim - 2)))

    def reshape(self, shape: Any) -> Traced:
        """The numbers in another shape."""
        return self if tuple(shape) == self.shape else self.program.call("reshape", self, shape=tuple(shape))

    def transpose(self, axes: Any) -> Traced:
        """The axes in another order."""
        return (
            self if tuple(axes) == tuple(range(self.ndim)) else self.program.call("transpose", self, axes=tuple(axes))
        )

    def sum(self, axis: Any = None, keepdims: bool = False) -> Traced:
        """The sum over axes."""
        return self.program.call("sum", self, axis=axis, keepdims=keepdims)

    def astype(self, dtype: Any) -> Traced:
        """Another precision."""
        return self.program.call("astype", self, dtype=np.dtype(dtype))

    def __pow__(self, exponent: Any) -> Traced:
        if self.dtype.kind == "f" and isinstance(exponent, (int, float)) and exponent in POWERS:
            name = POWERS[exponent]  # as NumPy's operator ** has it, which the engine uses
            return self.program.call(name, self) if name else self
        return self.program.call("power", self, exponent)

    def __and__(self, other: Any) -> Any:
        return False if other is False else self.program.call("logical_and", self, other)

    __rand__ = __and__

    def __getitem__(self, at: Any) -> Traced:
        return self.program.call("index", self, at=at)

    def __neg__(self) -> Traced:
        said = self.program.lines[self.line]
        if said.function == "negative":
            negated: Traced = said.arguments[0]
            return negated  # -(-x) is x, to the bit
        return self.program.call("negative", self)

    def __bool__(self) -> bool:
        raise TypeError("what decides must be written as where(condition, x, y)")


def _operator(function: str, swapped: bool = False) -> Callable[[Traced, Any], Any]:
    def operator(self: Traced, other: Any) -> Any:
        return self.program.call(function, *((other, self) if swapped else (self, other)))

    return operator


for _name, _function in {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power",
                         "matmul": "matmul"}.items():  # fmt: skip
    if _name != "pow":
        setattr(Traced, f"__{_name}__", _operator(_function))
    setattr(Traced, f"__r{_name}__", _operator(_function, swapped=True))
for _name, _function in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
                         "ne": "not_equal", "or": "logical_or"}.items():  # fmt: skip
    setattr(Traced, f"__{_name}__", _operator(_function))


def _program(inputs: Iterable[Any]) -> Program:
    return next(x.program for x in inputs if isinstance(x, Traced))


class _TracedKind(kinds.Kind):
    """Traced arrays: an elementary rule is a line, any other is made of lines."""

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
        program = _program(inputs)
        if rule.__name__ == "sigmoid":  # as kinds has it for arrays, in its single steps, which other lines may share
            return program.call("divide", 1, program.call("add", program.call("exp", -inputs[0]), 1))
        if rule.__name__ == "where" and inputs[0] is False and isinstance(inputs[2], Traced):
            return inputs[2]  # what is chosen nowhere
        if rule.__name__ == "log_softmax":
            d = _below_0(program, *inputs, **parameters)
            return d - program.call("log", program.call("exp", d).sum(parameters["axis"], keepdims=True))
        if rule.__name__ == "softmax":
            e: Any = program.call("exp", _below_0(program, *inputs, **parameters))
            return e / e.sum(parameters["axis"], keepdims=True)
        if rule.ours and rule.__name__ == "abs":
            return program.call("absolute", *inputs)
        if rule.ours and rule.__name__ in FUNCTIONS:
            return program.call(rule.__name__, *inputs, **parameters)
        if rule.value is None:
            raise TypeError("cannot be captured")
        return rule.value(*inputs, **parameters)


def _below_0(program: Program, x: Any, *, axis: int) -> Any:
    return x - program.call("max", x, axis=axis, keepdims=True, initial=-np.inf)


FUNCTIONS: dict[str, Any] = {
    **{
        name: function
        for name, function in kinds.array_kind.elementary.items()
        if name not in ("abs", "sigmoid")
    },
    **UFUNCS,
    "matmul": np.matmul,
    "reshape": lambda x, *, shape: x.reshape(shape),
    "transpose": lambda x, *, axes: x.transpose(axes),
    "index": lambda x, *, at: x[at],
    "astype": lambda x, *, dtype: x.astype(dtype),
    "ones": np.ones,
    "full": lambda shape, number, *, dtype: np.full(shape, number, dtype),
}  # fmt: skip

traced_kind = _TracedKind("a traced array", 60, {}, one=lambda x: x.program.call("ones", x.shape, x.dtype))
kinds.register(traced_kind, [Traced])
