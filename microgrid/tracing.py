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
from microgrid.emitter import compiled
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
    "logical_or": np.logical_or,
}  # fmt: skip
# what may be, at one run or another, a window on the memory of its argument
# what may be, at one run or another, a window on the memory of its argument
VIEWS = {"reshape", "transpose", "index", "matrix_transpose", "broadcast_to", "sum_to", "flip", "einsum"}


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
    mT = property(lambda self: self.program.call("matrix_transpose", self))

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

    def __getitem__(self, at: Any) -> Traced:
        return self.program.call("index", self, at=at)

    def __neg__(self) -> Traced:
        return self.program.call("negative", self)

    def __bool__(self) -> bool:
        raise TypeError("what decides must be written as where(condition, x, y)")


def _operator(function: str, swapped: bool = False) -> Callable[[Traced, Any], Any]:
    def operator(self: Traced, other: Any) -> Any:
        return self.program.call(function, *((other, self) if swapped else (self, other)))

    return operator


for _name, _function in {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide", "pow": "power",
                         "matmul": "matmul"}.items():  # fmt: skip
    setattr(Traced, f"__{_name}__", _operator(_function))
    setattr(Traced, f"__r{_name}__", _operator(_function, swapped=True))
for _name, _function in {"lt": "less", "le": "less_equal", "gt": "greater", "ge": "greater_equal", "eq": "equal",
                         "ne": "not_equal", "and": "logical_and", "or": "logical_or"}.items():  # fmt: skip
    setattr(Traced, f"__{_name}__", _operator(_function))


def _program(inputs: Iterable[Any]) -> Program:
    return next(x.program for x in inputs if isinstance(x, Traced))


class _TracedKind(kinds.Kind):
    """Traced arrays: an elementary rule is a line, any other is made of lines."""

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
        program = _program(inputs)
        if rule.__name__ == "sigmoid":  # as kinds has it for arrays, in its single steps, which other lines may share
            return program.call("divide", 1, program.call("add", program.call("exp", -inputs[0]), 1))
        if rule.ours and rule.__name__ == "abs":
            return program.call("absolute", *inputs)
        if rule.ours and rule.__name__ in FUNCTIONS:
            return program.call(rule.__name__, *inputs, **parameters)
        if rule.value is None:
            raise TypeError("cannot be captured")
        return rule.value(*inputs, **parameters)


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
    "matrix_transpose": lambda x: x.mT,
    "index": lambda x, *, at: x[at],
    "astype": lambda x, *, dtype: x.astype(dtype),
    "ones": np.ones,
    "full": lambda shape, number, *, dtype: np.full(shape, number, dtype),
}  # fmt: skip

traced_kind = _TracedKind("a traced array", 60, {}, one=lambda x: x.program.call("ones", x.shape, x.dtype))
kinds.register(traced_kind, [Traced])


# ---------------------------------------------------------------------------------------------------- writing out


def written(program: Program, outputs: Sequence[Traced], name: str) -> tuple[Callable[..., Any], str]:
    """The program as a function of its inputs, and its source.

    The arrays of the outputs are made anew at each run; all others live in buffers that are made once.
    """
    return _Writer(program, outputs).function(name)


class _Writer:
    """Straight-line code: which lines are needed, until when each array is, and in whose memory it stands."""

    def __init__(self, program: Program, outputs: Sequence[Traced]) -> None:
        self.program = program
        self.outputs = [x.line for x in outputs]
        self.constant = self._constants()
        self.needed = self._needed()
        self.owner = self._owners()
        self.last = self._last_uses()
        self.scope: dict[str, Any] = {"dot": np.dot}
        self.free: dict[tuple[Any, ...], list[str]] = {}
        self.buffer_of: dict[int, str] = {}

    def _constants(self) -> set[int]:
        """The lines that no input goes into: they are computed once, now."""
        constant = set()
        for line, said in enumerate(self.program.lines):
            traced = [x.line for x in said.arguments if isinstance(x, Traced)]
            if said.function != "input" and all(x in constant for x in traced):
                constant.add(line)
        return constant

    def _needed(self) -> list[int]:
        lines, waiting, found = self.program.lines, list(self.outputs), set(self.outputs)
        for line in waiting:
            if line in self.constant:
                continue
            for x in lines[line].arguments:
                if isinstance(x, Traced) and x.line not in found:
                    found.add(x.line)
                    waiting.append(x.line)
        return sorted(found)

    def _owners(self) -> dict[int, int]:
        """By line: the line whose memory it looks into; itself, where it has its own."""
        owner: dict[int, int] = {}
        for line in self.needed:
            first = self.program.lines[line].arguments[:1]
            views = line not in self.constant and self.program.lines[line].function in VIEWS
            if self.program.lines[line].function == "sum_to" and self.program.numbers[line].size < first[0].size:
                views = False
            owner[line] = owner[first[0].line] if views else line
        return owner

    def _last_uses(self) -> dict[int, int]:
        last: dict[int, int] = {}
        for line in self.needed:
            for x in () if line in self.constant else self.program.lines[line].arguments:
                if isinstance(x, Traced):
                    last[self.owner[x.line]] = line
        for line in self.outputs:
            last[self.owner[line]] = len(self.program.lines)
        return last

    def function(self, name: str) -> tuple[Callable[..., Any], str]:
        lines = [f"def {name}({', '.join(self.program.inputs)}):"]
        comment = ""
        for line in self.needed:
            said = self.program.lines[line]
            if said.function == "input" or line in self.constant:
                continue
            note = f"  # {said.comment}" if said.comment != comment else ""
            comment = said.comment
            lines.append(f"    {self.name(line)} = {self.expression(line)}{note}")
            self.release(line)
        lines.append(f"    return {', '.join(map(self.result, range(len(self.outputs))))},")
        return compiled(name, lines, self.scope), "\n".join(lines) + "\n"

    def result(self, place: int) -> str:
        """An output as an array of its own."""
        line = self.outputs[place]
        name, said = self.name(line), self.program.lines[line]
        shared = line in self.outputs[:place] or self.owner[line] != line or line in self.constant
        if shared or said.function == "input":
            return f"{name}.copy()"
        if not self.program.numbers[line].ndim:
            self.scope["asarray"] = np.asarray
            return f"asarray({name})"
        return name

    def name(self, line: int) -> str:
        said = self.program.lines[line]
        if line in self.constant:
            self.scope[f"k{line}"] = self.program.numbers[line]
            return f"k{line}"
        return str(said.arguments[0]) if said.function == "input" else f"v{line}"

    def text(self, x: Any) -> str:
        if isinstance(x, Traced):
            return self.name(x.line)
        if x is None or isinstance(x, (bool, int, str)) or (isinstance(x, float) and x == x and abs(x) < float("inf")):
            return repr(x)
        if isinstance(x, tuple):
            return f"({', '.join(map(self.text, x))}{',' if len(x) == 1 else ''})"
        name = f"c{len(self.scope)}"
        self.scope[name] = x
        return name

    def expression(self, line: int) -> str:
        function, arguments, words, _ = self.program.lines[line]
        number = self.program.numbers[line]
        given, named = [self.text(x) for x in arguments], {word: self.text(x) for word, x in words}
        if function in UFUNCS and number.ndim:
            self.scope[function] = UFUNCS[function]
            into = self.buffer(line, arguments)
            if into and function in ("maximum", "minimum"):  # which do not take it by its place
                into = [f"out={into[0]}"]
            return f"{function}({', '.join(given + into)})"
        if function == "matmul" and number.ndim == 2 and all(np.ndim(_number(x)) == 2 for x in arguments):
            return f"dot({', '.join([*given, *self.buffer(line, ())])})"
        if function == "sum_to" and number.ndim == 1 and _number(arguments[0]).ndim == 2 and number.size > 1:
            rows = _number(arguments[0]).shape[0]
            ones = f"ones_{rows}_{number.dtype}"
            self.scope[ones] = np.ones(rows, number.dtype)
            return f"dot({ones}, {', '.join([*given, *self.buffer(line, ())])})"
        if function == "reshape":
            return f"{given[0]}.reshape({named['shape']})"
        if function == "transpose":
            return f"{given[0]}.T" if named["axes"] == "(1, 0)" else f"{given[0]}.transpose({named['axes']})"
        if function == "index":
            return f"{given[0]}[{named['at']}]"
        self.scope[f"{function}_"] = FUNCTIONS[function]
        return f"{function}_({', '.join(given + [f'{word}={text}' for word, text in named.items()])})"

    def buffer(self, line: int, arguments: tuple[Any, ...]) -> list[str]:
        """Where the result goes: nowhere (a new array) for an output, else into memory that is free by then."""
        if self.owner[line] in {self.owner[output] for output in self.outputs}:
            return []
        number = self.program.numbers[line]
        if self.owner[line] not in self.last:
            return []
        key = (number.shape, number.dtype.str)
        for x in arguments:  # in place, where an argument of the same form is needed no longer
            if (
                isinstance(x, Traced)
                and x.line in self.buffer_of
                and self.last.get(x.line) == line
                and (x.number.shape, x.number.dtype.str) == key
            ):
                self.buffer_of[line] = self.buffer_of.pop(x.line)
                return [self.buffer_of[line]]
        names = self.free.setdefault(key, [])
        if names:
            self.buffer_of[line] = names.pop()
        else:
            name = f"b{len(self.scope)}"
            self.scope[name] = np.empty(number.shape, number.dtype)
            self.buffer_of[line] = name
        return [self.buffer_of[line]]

    def release(self, line: int) -> None:
        """Give back the memory of arrays whose last use this line was."""
        for x in self.program.lines[line].arguments:
            if isinstance(x, Traced) and self.last.get(self.owner[x.line]) == line:
                owner = self.owner[x.line]
                name = self.buffer_of.pop(owner, None)
                if name is not None:
                    number = self.program.numbers[owner]
                    self.free.setdefault((number.shape, number.dtype.str), []).append(name)


def _number(x: Any) -> Any:
    return x.number if isinstance(x, Traced) else x
