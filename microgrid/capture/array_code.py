"""Programs written out in NumPy: straight-line code, in buffers that are made once and lent on.

A call of NumPy costs as much as a thousand additions, so there are few of them, and each is the quickest of its kind:
results go into buffers by their place, plain numbers are arrays already, sums are products with ones, which BLAS does.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microgrid.capture.arena import Arena, aligned
from microgrid.capture.tracing import FUNCTIONS, UFUNCS, VIEWS, Program, Traced
from microgrid.emitter import compiled

__microgrid_machinery__ = True

EXACT = 4096  # numbers in a row: more are added up by halves, as NumPy does, which loses fewer digits
OPERATORS = {"add": " + ", "subtract": " - ", "multiply": " * ", "divide": " / "}
SPOKEN: dict[float, str] = {0: "zero", 1: "one", 2: "two"}
LETTERS = str.maketrans({"-": "m", ".": "_", "+": "p"})


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
        self.scope: dict[str, Any] = {}
        self.free: dict[tuple[Any, ...], list[str]] = {}
        self.buffer_of: dict[int, str] = {}
        self.given = self._handed_out()

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

    def _handed_out(self) -> dict[int, str]:
        """The arrays that are handed out, by line: parts of one array for each type, which is new at each run."""
        given: dict[int, str] = {}
        places = [place for place, line in enumerate(self.outputs) if self.program.numbers[line].ndim]
        for place in places:
            given.setdefault(self.outputs[place], f"g{place}")
        self.parts: dict[str, list[int]] = {}  # by dtype
        for place in places:
            self.parts.setdefault(str(self.program.numbers[self.outputs[place]].dtype), []).append(place)
        for dtype, alike in self.parts.items():
            shapes = [self.program.numbers[self.outputs[place]].shape for place in alike]
            self.scope[f"new{_suffix(dtype)}"] = Arena(shapes, np.dtype(dtype))
        return given

    # ------------------------------------------------------------------ text

    def function(self, title: str) -> tuple[Callable[..., Any], str]:
        """The code, and what it is."""
        lines = [f"def {title}({', '.join(self.program.inputs)}):"]
        for dtype, places in self.parts.items():
            lines.append(f"    {''.join(f'g{place}, ' for place in places)}= new{_suffix(dtype)}().parts")
        comment = ""
        for line in self.needed:
            said = self.program.lines[line]
            if said.function == "input" or line in self.constant or line in self.inlined:
                continue
            if said.comment != comment:
                comment = said.comment
                lines.append(f"    # {comment}")
            masked = self.masked(line)
            if masked:
                lines.append(f"    {masked}")
            result = self.buffer_of[line] if masked else self.expression(line)
            lines.append(f"    {self.name(line)} = {result}")
            self.release(line)
        names = []
        for place, line in enumerate(self.outputs):
            name, part = self.name(line), f"g{place}"
            if not self.program.numbers[line].ndim:
                self.scope["array"] = np.array
                part = f"array({name})"
            elif line not in self.into or self.given[line] != part:
                self.scope["copyto"] = np.copyto
                lines.append(f"    copyto({part}, {name})")
            names.append(part)
        lines.append(f"    return {', '.join(names)},")
        return compiled(title, lines, self.scope), "\n".join(lines) + "\n"

    @functools.cached_property
    def into(self) -> set[int]:
        """The lines that were written into the array that is handed out."""
        return set()

    @functools.cached_property
    def inlined(self) -> set[int]:
        """Transposed matrices that stand in the one product that needs them."""
        uses: dict[int, list[int]] = {}
        for line in self.needed:
            for x in () if line in self.constant else self.program.lines[line].arguments:
                if isinstance(x, Traced):
                    uses.setdefault(x.line, []).append(line)
        lines = self.program.lines
        return {
            line
            for line in self.needed
            if lines[line].function == "transpose"
            and line not in self.constant
            and line not in self.outputs
            and len(uses[line]) == 1
            and lines[uses[line][0]].function == "matmul"
        }

    def name(self, line: int) -> str:
        said = self.program.lines[line]
        if line in self.constant:
            self.scope[f"k{line}"] = self.program.numbers[line]
            return f"k{line}"
        if line in self.inlined:
            return self.expression(line)
        return str(said.arguments[0]) if said.function == "input" else f"v{line}"

    def text(self, x: Any) -> str:
        if isinstance(x, Traced):
            return self.name(x.line)
        if x is None or isinstance(x, (bool, int, str)) or (isinstance(x, float) and x == x and abs(x) < float("inf")):
            return repr(x)
        if isinstance(x, tuple):
            return f"({', '.join(map(self.text, x))}{',' if len(x) == 1 else ''})"
        return self.constant_named("c", x)

    def constant_named(self, letter: str, x: Any) -> str:
        name = f"{letter}{len(self.scope)}"
        self.scope[name] = x
        return name

    def operand(self, x: Any, dtype: Any) -> str:
        """An argument of a ufunc: a plain number as an array, which NumPy need not make of it each time."""
        if isinstance(x, (bool, int, float)) and dtype.kind == "f":
            word = SPOKEN.get(x, f"n_{x!r}".translate(LETTERS)) if str(x) != "-0.0" else "minus_zero"
            name = word + _suffix(dtype)
            self.scope[name] = np.asarray(x, dtype)
            return name
        return self.text(x)

    def expression(self, line: int) -> str:
        function, arguments, words, _ = self.program.lines[line]
        number = self.program.numbers[line]
        if function in UFUNCS:
            return self.elementwise(line) if number.ndim else self.scalar(line)
        summed = function in ("sum", "sum_to") and self.product_with_ones(line)
        if summed:
            return summed
        given, named = [self.text(x) for x in arguments], {word: self.text(x) for word, x in words}
        if function == "matmul" and number.ndim == 2 and all(np.ndim(_number(x)) == 2 for x in arguments):
            # the method: NumPy's function asks first whether an argument overrides it
            return f"{given[0]}.dot({', '.join([given[1], *self.buffer(line, ())])})"
        if function == "reshape":
            return f"{given[0]}.reshape({named['shape']})"
        if function == "transpose":
            return f"{given[0]}.T" if named["axes"] == "(1, 0)" else f"{given[0]}.transpose({named['axes']})"
        if function == "index":
            return f"{given[0]}[{named['at']}]"
        if function in ("max", "min") and number.ndim and arguments[0].size:
            self.scope[f"{function}imum"] = UFUNCS[f"{function}imum"]
            into = [*self.buffer(line, ()), "None"][0]
            return f"{function}imum.reduce({given[0]}, {named['axis']}, None, {into}, {named['keepdims']})"
        self.scope[f"{function}_"] = FUNCTIONS[function]
        return f"{function}_({', '.join(given + [f'{word}={text}' for word, text in named.items()])})"

    def elementwise(self, line: int) -> str:
        function, arguments, _, _ = self.program.lines[line]
        arrays = [x for x in arguments if isinstance(x, Traced)]
        dtype = np.result_type(*[x.dtype for x in arrays])
        self.scope[function] = UFUNCS[function]
        given = [self.operand(x, dtype) for x in arguments]
        into = self.buffer(line, arguments)
        if into and function in ("maximum", "minimum"):  # which do not take it by its place
            into = [f"out={into[0]}"]
        return f"{function}({', '.join(given + into)})"

    def scalar(self, line: int) -> str:
        """A ufunc of single numbers, as Python's operator: NumPy's scalars are quicker so."""
        function, arguments, _, _ = self.program.lines[line]
        given = [self.text(x) for x in arguments]
        if function in OPERATORS:
            return OPERATORS[function].join(f"({x})" if x.startswith("-") else x for x in given)
        self.scope[function] = UFUNCS[function]
        return f"{function}({', '.join(given)})"

    def masked(self, line: int) -> str:
        """A choice between a number and an array that is needed no longer, as a write into it; empty elsewhere."""
        function, arguments, _, _ = self.program.lines[line]
        if function != "where" or line in self.given:
            return ""
        (c, x, y), number = arguments, self.program.numbers[line]
        if not (isinstance(c, Traced) and isinstance(y, Traced) and isinstance(x, (int, float))):
            return ""
        alike = c.shape == y.shape == number.shape and c.dtype == np.bool and y.dtype == number.dtype
        if not alike or y.line not in self.buffer_of or self.last.get(y.line) != line:
            return ""
        self.buffer_of[line] = self.buffer_of.pop(y.line)
        self.scope["putmask"] = np.putmask
        return f"putmask({self.buffer_of[line]}, {self.text(c)}, {self.operand(x, y.dtype)})"

    def product_with_ones(self, line: int) -> str:
        """A sum as a product with ones, which BLAS is quick at; empty where it is none, or would be less exact."""
        function, (x, *_), words, _ = self.program.lines[line]
        named, number, before = dict(words), self.program.numbers[line], x.number
        if before.dtype.kind != "f" or not before.size or number.dtype != before.dtype:
            return ""
        axis = named.get("axis", 0)
        if function == "sum_to":
            columns = before.shape[-1:]
            if before.ndim != 2 or number.size == before.size or number.shape not in (columns, (1, *columns)):
                return ""
            axis = 0
        elif isinstance(axis, tuple):
            if len(axis) != 1:
                return ""
            axis = axis[0]
        if axis is None:
            if before.size > EXACT or not before.ndim or named.get("keepdims"):
                return ""
            row = self.text(x) if before.ndim == 1 else f"{self.text(x)}.reshape({before.size})"
            return f"{self.ones((before.size,), before.dtype)}.dot({row})"
        if before.ndim != 2 or (before.shape[axis] > EXACT and function == "sum"):
            return ""
        n, (into, *_) = before.shape[axis], [*self.buffer(line, ()), ""]
        shape = {1: (n,), 2: (1, n) if axis % 2 == 0 else (n, 1)}[number.ndim]
        ones = self.ones(shape, before.dtype)
        first, second = (ones, self.text(x)) if axis % 2 == 0 else (self.text(x), ones)
        return f"{first}.dot({second}{', ' if into else ''}{into})"

    def ones(self, shape: tuple[int, ...], dtype: Any) -> str:
        name = f"ones_{'_'.join(map(str, shape))}{_suffix(dtype)}"
        self.scope[name] = np.ones(shape, dtype)
        return name

    # ------------------------------------------------------------------ memory

    def buffer(self, line: int, arguments: tuple[Any, ...]) -> list[str]:
        """Where the result goes: what is handed out, or memory that is free by then; nowhere, it is a new array."""
        number = self.program.numbers[line]
        if line in self.given:
            self.into.add(line)
            return [self.given[line]]
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
            self.buffer_of[line] = self.constant_named("b", aligned(number.shape, number.dtype))
        return [self.buffer_of[line]]

    def release(self, line: int) -> None:
        """Give back the memory of arrays whose last use this line was."""
        for x in self.program.lines[line].arguments:
            if not isinstance(x, Traced):
                continue
            if x.line in self.inlined:
                self.release_after(x.line, line)
            self.release_one(x, line)

    def release_after(self, inlined: int, line: int) -> None:
        (x,) = (x for x in self.program.lines[inlined].arguments if isinstance(x, Traced))
        self.release_one(x, line)

    def release_one(self, x: Traced, line: int) -> None:
        if self.last.get(self.owner[x.line]) == line:
            owner = self.owner[x.line]
            name = self.buffer_of.pop(owner, None)
            if name is not None:
                number = self.program.numbers[owner]
                self.free.setdefault((number.shape, number.dtype.str), []).append(name)


def _suffix(dtype: Any) -> str:
    return "" if str(dtype) == "float64" else f"_{dtype}"


def _number(x: Any) -> Any:
    return x.number if isinstance(x, Traced) else x
