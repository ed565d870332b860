"""Programs written out in NumPy: straight-line code, in memory that is laid out beforehand.

A call of NumPy costs as much as a thousand additions, so there are few of them, and each is the quickest of its kind:
results go where they belong by their place, windows on memory are made once, plain numbers are arrays already, sums are
products with ones, which BLAS does.
"""

from __future__ import annotations

import functools
import re
import textwrap
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from microgrid.capture.arena import Arena, aligned
from microgrid.capture.tracing import FUNCTIONS, UFUNCS, VIEWS, Program, Traced
from microgrid.emitter import compiled
from microgrid.kinds import _basic

__microgrid_machinery__ = True

EXACT = 4096  # numbers in a row: more are added up by halves, as NumPy does, which loses fewer digits
SHORT = 32  # numbers in a row: so few are brought into columns first
OPERATORS = {"add": " + ", "subtract": " - ", "multiply": " * ", "divide": " / "}
SPOKEN: dict[float, str] = {0: "zero", 1: "one", 2: "two"}
LETTERS = str.maketrans({"-": "m", ".": "_", "+": "p"})
WINDOWS = VIEWS - {"einsum"}  # what nothing but the shape decides about
# calls with the place of the result: {0}, {1} the arguments, {out}, and words
INTO = {
    "sum": "add.reduce({0}, {axis}, None, {out}, {keepdims})",
    "accumulate": "add.accumulate({0}, {axis}, None, {out})",
    "gather": "{0}.take({1}, None, {out}, 'clip')",
    "copy": "copyto({out}, {0})",
    "bincount": "copyto({out}, bincount({at}, {0}, {count}))",
    "concatenate": "concatenate(({all},), {axis}, {out})",
}


def written(program: Program, outputs: Sequence[Traced], name: str) -> tuple[Callable[..., Any], str]:
    """The program as a function of its inputs, and its source.

    The arrays of the outputs are nobody else's; all others stand in memory that each run uses again.
    """
    return ArrayWriter(program, outputs).function(name)


class ArrayWriter:
    """Straight-line code: which lines are needed, until when each array is, and in whose memory it stands.

    Parameters
    ----------
    program : Program
    outputs, watched : sequence of Traced
        What is handed out, and what is needed for something else.
    """

    def __init__(self, program: Program, outputs: Sequence[Traced], watched: Sequence[Traced] = ()) -> None:
        self.program = program
        self.outputs = [x.line for x in outputs]
        self.watched = {x.line for x in watched}
        self.constant = self._constants()
        self.needed = self._needed()
        self.owner = self._owners()
        self.last = self._last_uses()
        self.scope: dict[str, Any] = {}
        self.arrays: dict[int, Any] = {}  # by line: where it stands at each run, if that is known
        self.lent: dict[int, Any] = {}  # by owner: the array that is lent to it
        self.free: dict[int, list[Any]] = {}  # by their bytes: arrays that are lent to nobody
        self.into: set[int] = set()  # the lines that were written into what is handed out
        self.kept: dict[Any, str] = {}  # by a condition, and whether it is turned round: its bits
        self.given = self._handed_out()

    def traced(self, line: int) -> list[int]:
        """The lines that a line is computed from."""
        if line in self.constant:
            return []
        return [x.line for x in self.program.lines[line].arguments if isinstance(x, Traced)]

    def _constants(self) -> set[int]:
        """The lines that no input goes into: they are computed once, now."""
        constant = set()
        for line, said in enumerate(self.program.lines):
            traced = [x.line for x in said.arguments if isinstance(x, Traced)]
            if said.function != "input" and all(x in constant for x in traced):
                constant.add(line)
        return constant

    def _needed(self) -> list[int]:
        waiting = [*self.outputs, *self.watched]
        found = set(waiting)
        for line in waiting:
            for x in self.traced(line):
                if x not in found:
                    found.add(x)
                    waiting.append(x)
        return sorted(found)

    def _owners(self) -> dict[int, int]:
        """By line: the line whose memory it looks into; itself, where it has its own."""
        owner: dict[int, int] = {}
        for line in self.needed:
            views = line not in self.constant and self.program.lines[line].function in VIEWS
            if views and self.program.lines[line].function == "sum_to":
                views = self.program.numbers[line].size >= self.program.numbers[self.traced(line)[0]].size
            if views and self.spreads(line):
                views = False
            owner[line] = owner[self.traced(line)[0]] if views else line
        return owner

    def spreads(self, line: int) -> bool:
        """Whether it is an array of one number, which `broadcast_to` takes long to make a window of."""
        said, number = self.program.lines[line], self.program.numbers[line]
        return said.function in ("sum_to", "broadcast_to") and number.ndim > 0 == np.ndim(_number(said.arguments[0]))

    def _last_uses(self) -> dict[int, int]:
        last: dict[int, int] = {}
        for line in self.needed:
            last.update(dict.fromkeys((self.owner[x] for x in self.traced(line)), line))
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
        lines += self.body()
        names = []
        for place, line in enumerate(self.outputs):
            name, part = self.name(line), f"g{place}"
            if not self.program.numbers[line].ndim:
                self.scope["array"] = np.array
                part = f"array({name})"
            elif name != part:
                self.scope["copyto"] = np.copyto
                lines.append(f"    copyto({part}, {name})")
            names.append(part)
        lines.append(f"    return {', '.join(names)},")
        return compiled(title, lines, self.scope), "\n".join(lines) + "\n"

    def body(self) -> list[str]:
        """All lines, each below the user's, and before them in words what they find ready."""
        lines = self._code()
        return [*self._beforehand("\n".join(lines)), *lines]

    def _beforehand(self, code: str) -> list[str]:
        """The constants, the memory by its shape, and the windows on memory that some code names."""
        constants, memory, windows = [], dict[tuple[int, ...], list[str]](), []
        names = [name for name in re.findall(r"\b[ckvn]_?\d\w*", code) if isinstance(self.scope.get(name), np.ndarray)]
        for name in dict.fromkeys(names):
            x, line = self.scope[name], int(name[1:]) if name[1:].isdigit() else None
            if name.startswith(("c", "k", "n")):
                constants.append(f"{name} = {x.item()}" if x.size == 1 else f"{name} of {x.shape}")
            elif line is not None and self.owner[line] == line:
                memory.setdefault(x.shape, []).append(name)
            else:
                of = name.partition("_")[0] if line is None else f"v{self.owner[line]}"
                windows.append(f"{name} on {of}")
        ready = {
            "constants": constants,
            "memory": [f"{', '.join(alike)} of {shape}" for shape, alike in memory.items()],
            "windows": windows,
        }
        texts = [f"{kind}: {'; '.join(items)}" for kind, items in ready.items() if items]
        return [f"    # {line}" for text in texts for line in textwrap.wrap(text, 100)]

    def _code(self) -> list[str]:
        lines, comment = [], ""
        for line in self.needed:
            text = self.statements(line)
            said = self.program.lines[line].comment
            if text and said != comment:
                comment = said
                lines.append(f"    # {comment}")
            lines += [f"    {statement}" for statement in text]
            self.release(line)
        return lines

    def statements(self, line: int) -> list[str]:
        """What one line does at each run; nothing where its array is there already."""
        said = self.program.lines[line]
        if said.function == "input" or line in self.constant or line in self.inlined or self.looked_at(line):
            return []
        for write in (self.chosen, self.spread, self.put_in_rows, self.greatest_of_rows):
            if several := write(line):
                return several
        text = self.taken_from_rows(line) or self.expression(line)
        return [text if line in self.arrays or line in self.into else f"v{line} = {text}"]

    @functools.cached_property
    def inlined(self) -> set[int]:
        """Transposed matrices from outside that stand in the one product that needs them."""
        uses: dict[int, list[int]] = {line: [] for line in self.needed}
        for line in self.needed:
            for x in self.traced(line):
                uses[x].append(line)
        lines = self.program.lines
        return {
            line
            for line in self.needed
            if lines[line].function == "transpose"
            and line not in self.constant
            and line not in self.outputs
            and len(uses[line]) == 1
            and lines[uses[line][0]].function == "matmul"
            and lines[self.traced(line)[0]].function == "input"
        }

    def name(self, line: int) -> str:
        said = self.program.lines[line]
        if line in self.constant:
            number = self.program.numbers[line]
            self.scope[f"k{line}"] = np.ascontiguousarray(number).reshape(number.shape)
            return f"k{line}"
        if line in self.inlined:
            return self.expression(line)
        if line in self.into:
            return self.given[line]
        if line in self.arrays:
            self.scope[f"v{line}"] = self.arrays[line]
        return str(said.arguments[0]) if said.function == "input" and line not in self.arrays else f"v{line}"

    def seen(self, line: int, name: str, method: str, argument: Any) -> str:
        """A window on a line's memory: made once, where that is known."""
        if line in self.arrays:
            view = getattr(self.arrays[line], method)(argument)
            if np.may_share_memory(view, self.arrays[line]):  # otherwise it is a copy
                self.scope[f"v{line}_{name}"] = view
                return f"v{line}_{name}"
        return f"{self.name(line)}.{method}({self.text(argument)})"

    def text(self, x: Any) -> str:
        if isinstance(x, Traced):
            return self.name(x.line)
        if x is None or isinstance(x, (bool, int, str)) or (isinstance(x, float) and x == x and abs(x) < float("inf")):
            return repr(x)
        if type(x) is tuple:
            return f"({', '.join(map(self.text, x))}{',' if len(x) == 1 else ''})"
        return self.constant_named("c", x)

    def constant_named(self, letter: str, x: Any) -> str:
        name = f"{letter}{len(self.scope)}"
        self.scope[name] = x
        return name

    def operand(self, x: Any, dtype: Any, function: str, shape: tuple[int, ...]) -> str:
        """An argument of a ufunc: a plain number as an array, which NumPy need not make of it each time."""
        if isinstance(x, (bool, int, float)) and dtype.kind == "f":
            word = SPOKEN.get(x, f"n_{x!r}".translate(LETTERS)) if str(x) != "-0.0" else "minus_zero"
            name = word + _suffix(dtype)
            if shape and function in ("maximum", "minimum"):  # which are quick with arrays of one shape alone
                name += f"_of_{'_'.join(map(str, shape))}"
            else:
                shape = ()
            self.scope[name] = np.full(shape, x, dtype)
            return name
        if isinstance(x, Traced) and x.size == 1 and x.ndim and shape and np.prod(shape) > 1:
            return self.seen(x.line, "only", "reshape", ())  # which NumPy need not stretch
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
        if function == "matmul" and number.ndim and all(x.ndim in (1, 2) and x.size > 1 for x in arguments):
            # the method: the function asks first whether an argument overrides it; of one number it leaves out 0 inf
            return f"{given[0]}.dot({', '.join([given[1], *self.buffer(line, ())])})"
        if function in INTO and number.ndim:
            self.scope |= {name: getattr(np, name) for name in ("add", "copyto", "bincount", "concatenate")}
            return INTO[function].format(*given, **named, all=", ".join(given), out=self.buffer(line, ())[0])
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
        shape, dtype = self.program.numbers[line].shape, np.result_type(*[x.dtype for x in arrays])
        whole = shape if any(x.shape == shape for x in arrays) else ()
        self.scope[function] = UFUNCS[function]
        given = [self.operand(x, dtype, function, whole) for x in arguments]
        return f"{function}({', '.join(given + [self.as_out(function, x) for x in self.buffer(line, arguments)])})"

    @staticmethod
    def as_out(function: str, name: str) -> str:
        """Where the result goes, as an argument: not all take it by its place."""
        return f"out={name}" if function in ("maximum", "minimum") else name

    def scalar(self, line: int) -> str:
        """A ufunc of single numbers, as Python's operator: NumPy's scalars are quicker so."""
        function, arguments, _, _ = self.program.lines[line]
        given = [self.constant_named("c", x.number[()]) if isinstance(x, Traced) and x.line in self.constant
                 else self.text(x) for x in arguments]  # fmt: skip
        if function in OPERATORS:
            return OPERATORS[function].join(f"({x})" if x.startswith("-") else x for x in given)
        self.scope[function] = UFUNCS[function]
        return f"{function}({', '.join(given)})"

    # ------------------------------------------------------------------ choices

    def chosen(self, line: int) -> list[str]:
        """A choice between a number and an array: a write into the latter, or, of 0, an `and` of bits; else nothing."""
        function, arguments, _, _ = self.program.lines[line]
        if function != "where":
            return []
        (c, x, y), number = arguments, self.program.numbers[line]
        turned = isinstance(x, Traced)
        plain, array = (y, x) if turned else (x, y)
        if not (isinstance(c, Traced) and isinstance(array, Traced) and type(plain) in (int, float)):
            return []
        if not (c.shape == array.shape == number.shape and c.dtype == np.bool and array.dtype == number.dtype):
            return []
        if plain == 0 and str(plain) != "-0.0" and number.dtype.char in BITS and c.line in self.arrays:
            return self.bits_chosen(line, c, array, turned)
        if turned or line in self.given or array.line not in self.lent or self.last.get(array.line) != line:
            return []
        self.buffer(line, [array])
        self.scope["putmask"] = np.putmask
        return [f"putmask({self.name(line)}, {self.text(c)}, {self.operand(plain, number.dtype, '', ())})"]

    def bits_chosen(self, line: int, c: Traced, x: Traced, turned: bool) -> list[str]:
        """The array with 0 where it is not chosen: NumPy's own choices are ten times as slow where they alternate."""
        bits, lines = BITS[x.dtype.char], list[str]()
        key = (c.line, turned, bits)
        if key not in self.kept:  # -1, all bits, where the array is chosen
            short, self.kept[key] = f"short{c.line}", f"keep{c.line}" + "_turned" * turned
            self.scope |= {short: aligned(c.shape, np.int8), self.kept[key]: aligned(c.shape, bits)}
            self.scope |= {"copyto": np.copyto, "negative": np.negative, "subtract": np.subtract}
            self.scope["one_int8"] = np.ones((), np.int8)
            given = self.seen(c.line, "int8", "view", "i1")
            lines.append(f"negative({given}, {short})" if turned else f"subtract({given}, one_int8, {short})")
            lines.append(f"copyto({self.kept[key]}, {short})")
        given = self.seen(x.line, "bits", "view", bits)
        self.buffer(line, [x])
        self.scope["bitwise_and"] = np.bitwise_and
        return [*lines, f"bitwise_and({given}, {self.kept[key]}, {self.seen(line, 'bits', 'view', bits)})"]

    def spread(self, line: int) -> list[str]:
        """One number as an array; nothing where it is anything else."""
        if not self.spreads(line):
            return []
        self.scope["copyto"] = np.copyto
        return [f"copyto({self.buffer(line, ())[0]}, {self.text(self.program.lines[line].arguments[0])})"]

    def taken_from_rows(self, line: int) -> str:
        """Numbers of each row of a matrix, that of its label, say; empty where it is anything else."""
        function, arguments, _, _ = self.program.lines[line]
        if function != "take_along_axis" or not self.of_rows(line, arguments[0].shape):
            return ""
        return f"{self.text(arguments[0])}[{self.rows(line)}, {self.text(arguments[1])}]"

    def put_in_rows(self, line: int) -> list[str]:
        """One number for each row of a matrix, put into it at its place; nothing where it is anything else."""
        function, arguments, words, _ = self.program.lines[line]
        if function != "add_along_axis" or not self.of_rows(line, dict(words)["shape"]):
            return []
        (x, i), number = arguments, self.program.numbers[line]
        if np.shape(_number(x)) != np.shape(_number(i)) or np.shape(_number(i))[1] != 1:
            return []
        self.scope["add"] = np.add
        zero, (out, *_) = self.operand(0, number.dtype, "add", ()), self.buffer(line, ())
        # 0 + x, as they are added up elsewhere: -0 becomes 0
        return [f"{out}.fill(0)", f"{out}[{self.rows(line)}, {self.text(i)}] = add({self.text(x)}, {zero})"]

    def greatest_of_rows(self, line: int) -> list[str]:
        """The greatest (least) of each short row, which NumPy is quick to find among long ones; or nothing."""
        function, (x, *_), words, _ = self.program.lines[line]
        if function not in ("max", "min") or x.ndim != 2 or dict(words)["axis"] not in (1, -1):
            return []
        count, length = x.shape
        if not 0 < length <= SHORT <= count:
            return []
        self.scope |= {"copyto": np.copyto, f"{function}imum": UFUNCS[f"{function}imum"]}
        self.scope[f"turned{line}"] = aligned((length, count), x.dtype)
        given = self.seen(x.line, "turned", "transpose", (1, 0))
        self.buffer(line, ())
        out = self.seen(line, "row", "reshape", count)
        return [f"copyto(turned{line}, {given})", f"{function}imum.reduce(turned{line}, 0, None, {out})"]

    def of_rows(self, line: int, shape: tuple[int, ...]) -> bool:
        """Whether a line is about places in the rows of a matrix, so many in each."""
        said = self.program.lines[line]
        i = np.shape(_number(said.arguments[1]))
        return len(shape) == len(i) == 2 and dict(said.words)["axis"] in (1, -1) and i[0] == shape[0]

    def rows(self, line: int) -> str:
        """The rows that go with places in them."""
        count = len(_number(self.program.lines[line].arguments[1]))
        self.scope[f"rows_{count}"] = np.arange(count).reshape(count, 1)
        return f"rows_{count}"

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
            row = self.text(x) if before.ndim == 1 else self.seen(x.line, "row", "reshape", before.size)
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

    def looked_at(self, line: int) -> bool:
        """Whether it is a window on memory that is known, and needs no code."""
        said, words = self.program.lines[line], dict(self.program.lines[line].words)
        if said.function not in WINDOWS or self.owner[line] == line or self.traced(line)[0] not in self.arrays:
            return False
        if said.function == "index" and not _basic(words["at"]):
            return False
        array = self.arrays[self.traced(line)[0]]
        view = FUNCTIONS[said.function](array, **words)
        if not np.may_share_memory(view, array):
            return False
        self.arrays[line] = view
        return True

    def buffer(self, line: int, arguments: Iterable[Any]) -> list[str]:
        """Where the result goes: what is handed out, or memory that is free by then; nowhere, it is a new array."""
        number = self.program.numbers[line]
        if line in self.given:
            self.into.add(line)
            return [self.given[line]]
        if self.owner[line] not in self.last:
            return []
        for x in arguments:  # in place, where an argument of the same form is needed no longer
            if not isinstance(x, Traced) or x.line not in self.lent or self.last[x.line] != line:
                continue
            if _form(self.lent[x.line]) == _form(number):
                self.lent[line] = self.lent.pop(x.line)
                break
        else:
            free = self.free.get(number.nbytes)
            self.lent[line] = _reshaped(free.pop(), number) if free else aligned(number.shape, number.dtype)
        self.arrays[line] = self.lent[line]
        return [self.name(line)]

    def release(self, line: int) -> None:
        """Give back the memory of arrays whose last use this line was."""
        for owner in {self.owner[x] for x in self.traced(line)}:
            if self.last[owner] == line and owner in self.lent:
                array = self.lent.pop(owner)
                self.free.setdefault(array.nbytes, []).append(array)


BITS = {"d": "i8", "f": "i4"}  # by a float's type: whole numbers with as many bits


def _suffix(dtype: Any) -> str:
    return "" if str(dtype) == "float64" else f"_{dtype}"


def _reshaped(array: Any, like: Any) -> Any:
    """The same memory as an array of another form."""
    return array.reshape(-1).view(np.uint8).view(like.dtype).reshape(like.shape)


def _form(array: Any) -> Any:
    return array.shape, array.dtype.str


def _number(x: Any) -> Any:
    return x.number if isinstance(x, Traced) else x
