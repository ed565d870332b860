"""A program of arrays written out with all its memory laid out beforehand: what is left for each run are the calls.

Every array, and every window on one, is made once. So views cost nothing, and each line is a call that writes its
result where it belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgrid import kinds
from microgrid.capture.tracing import FUNCTIONS, UFUNCS, Program, Traced
from microgrid.emitter import compiled

__microgrid_machinery__ = True


class Window(NamedTuple):
    """Even steps through an array's numbers, in C order: where it begins, its shape, and the step along each axis."""

    begin: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


def window(x: Any, *, place: Window) -> Any:
    """A view of an array whose numbers lie one after another."""
    flat = np.ascontiguousarray(x).reshape(-1)
    strides = [stride * flat.itemsize for stride in place.strides]
    return np.lib.stride_tricks.as_strided(flat[place.begin :], place.shape, strides)


FUNCTIONS.update(
    {
        "window": window,
        "gather": lambda x, at: x.reshape(-1)[at],
        "bincount": lambda x, *, at, count: np.bincount(at, x, count),
        "accumulate": lambda x, *, axis: np.add.accumulate(x, axis),
        "copy": lambda x: x.copy(),
        "array": np.array,
    }
)
VIEWS: dict[str, Callable[..., Any]] = {
    name: FUNCTIONS[name] for name in ("window", "index", "transpose", "matrix_transpose", "broadcast_to")
}
# calls with the place of the result: {0}, {1} the arguments, {out}, and words
INTO = {
    "sum": "add.reduce({0}, {axis}, None, {out}, {keepdims})",
    "accumulate": "add.accumulate({0}, {axis}, None, {out})",
    "gather": "{0}.take({1}, None, {out}, 'clip')",
    "copy": "copyto({out}, {0})",
    "reshape": "copyto({out}.reshape({0}.shape), {0})",
    "matmul": "dot({0}, {1}, {out})",
    "bincount": "copyto({out}, bincount({at}, {0}, {count}))",
    "where": "copyto({out}, {2}); copyto({out}, {1}, where={0})",
}
ALIGNMENT = 64  # bytes: what vector instructions like


def written_in_buffers(
    program: Program, outputs: Sequence[Traced], finite: Sequence[Traced], name: str
) -> tuple[Callable[..., tuple[Any, ...]], str]:
    """The program, whose inputs are `leaves` and `numbers`, as a function of these two lists of plain numbers.

    It gives the two outputs, a value and a vector, as plain numbers too, and raises an ArithmeticError if one of
    `finite` is not.
    """
    return _Writer(program, outputs, finite).function(name)


class _Writer:
    def __init__(self, program: Program, outputs: Sequence[Traced], finite: Sequence[Traced]) -> None:
        self.program = program
        self.outputs, self.finite = [x.line for x in outputs], {x.line for x in finite}
        self.arrays: dict[int, Any] = {}  # by line
        self.owner: dict[int, int] = {}  # by line: the line whose memory it looks into
        self.scope: dict[str, Any] = {
            **UFUNCS, "add": np.add, "copyto": np.copyto, "dot": np.dot, "bincount": np.bincount,
            "concatenate": np.concatenate, "isfinite": np.isfinite, "inf": np.inf,
        }  # fmt: skip
        self.free: dict[int, list[Any]] = {}
        self.memory: dict[int, Any] = {}  # by owner: its bytes
        self.needed = self._needed()

    def _needed(self) -> list[int]:
        waiting = [*self.outputs, *self.finite]
        found = set(waiting)
        for line in waiting:
            for x in self._traced(line):
                if x not in found:
                    found.add(x)
                    waiting.append(x)
        return sorted(found)

    def _traced(self, line: int) -> list[int]:
        return [x.line for x in self.program.lines[line].arguments if isinstance(x, Traced)]

    # ------------------------------------------------------------------ memory

    def _plan(self) -> None:
        """Which lines look into the memory of another, or are constant; until when each memory is needed."""
        self.constant = set[int]()
        for line in self.needed:
            said = self.program.lines[line]
            traced = self._traced(line)
            self.owner[line] = line
            if said.function != "input" and all(x in self.constant for x in traced):
                self.constant.add(line)
            elif said.function in VIEWS or (said.function == "reshape" and self._lies_together(traced[0])):
                self.owner[line] = self.owner[traced[0]]
        self.last: dict[int, int] = {}
        for line in self.needed:
            for x in self._traced(line):
                self.last[self.owner[x]] = line
        for line in self.outputs:
            self.last[self.owner[line]] = len(self.program.lines)

    def _lies_together(self, line: int) -> bool:
        """Whether an array's numbers lie one after another: made in its own memory, or a shape of such."""
        said = self.program.lines[line]
        return said.function not in VIEWS and (said.function != "reshape" or self._lies_together(self._traced(line)[0]))

    def _made(self, shape: tuple[int, ...], dtype: Any) -> tuple[Any, Any]:
        """An array, and the bytes that it lies in."""
        size = max(int(np.prod(shape)) * dtype.itemsize, 1)
        free = self.free.setdefault(size, [])
        if free:
            memory = free.pop()
        else:
            memory = np.zeros(size + ALIGNMENT, np.uint8)
            begin = -memory.ctypes.data % ALIGNMENT
            memory = memory[begin : begin + size]
        return memory[: int(np.prod(shape)) * dtype.itemsize].view(dtype).reshape(shape), memory

    def _release(self, line: int) -> None:
        for x in {self.owner[x] for x in self._traced(line)}:
            if self.last[x] == line and x in self.memory:
                memory = self.memory.pop(x)
                self.free.setdefault(memory.size, []).append(memory)

    def _in_place(self, line: int) -> int | None:
        """An argument that is needed no longer, and in whose memory the result may stand."""
        said, number = self.program.lines[line], self.program.numbers[line]
        if said.function not in UFUNCS or said.function == "power":
            return None
        for x in self._traced(line):
            alone = [self.owner[y] for y in self._traced(line)].count(self.owner[x]) == 1
            alike = self.arrays[x].shape == number.shape and self.arrays[x].dtype == number.dtype
            if (
                self.owner[x] in self.memory
                and self.last[self.owner[x]] == line
                and alone
                and alike
                and self._lies_together(x)
            ):
                return x
        return None

    # ------------------------------------------------------------------ lines

    def function(self, name: str) -> tuple[Callable[..., tuple[Any, ...]], str]:
        """See `written_in_buffers`."""
        self._plan()
        lines = [f"def {name}(leaves, numbers):"]
        comment = ""
        for line in self.needed:
            said = self.program.lines[line]
            text = self._line(line)
            if text:
                note = f"  # {said.comment}" if said.comment != comment else ""
                comment = said.comment
                lines += [f"    {part}{note if k == 0 else ''}" for k, part in enumerate(text)]
            if line in self.finite:
                lines.append(f"    if not isfinite({self._name(line)}).all(): raise ArithmeticError")
            if line not in self.constant:
                self._release(line)
        value, gradient = self.outputs
        lines.append(f"    return {self._name(value)}.item(), {self._name(gradient)}.tolist()")
        function = compiled(name, lines, self.scope)
        return (lambda *numbers: kinds.quietly(function, *numbers)), "\n".join(lines) + "\n"

    def _name(self, line: int) -> str:
        self.scope[f"v{line}"] = self.arrays[line]
        return f"v{line}"

    def _line(self, line: int) -> list[str]:
        """What the line does at each run; nothing where its array is there already."""
        said, number = self.program.lines[line], self.program.numbers[line]
        words = dict(said.words)
        if line in self.constant:
            self.arrays[line] = np.ascontiguousarray(number).reshape(number.shape)
            return []
        if said.function == "input":
            self.arrays[line], self.memory[line] = self._made(number.shape, number.dtype)
            text = str(said.arguments[0])
            return [f"{self._name(line)}[:] = {text}" + ("" if text == "leaves" else f"[:{number.size}]")]
        if self.owner[line] != line:
            self.arrays[line] = FUNCTIONS[said.function](self.arrays[self._traced(line)[0]], **words)
            return []
        place = self._in_place(line)
        if place is None:
            self.arrays[line], self.memory[line] = self._made(number.shape, number.dtype)
        else:
            self.memory[line] = self.memory.pop(self.owner[place])
            self.arrays[line] = self.arrays[place]
        out = self._name(line)
        given = [self._argument(x) for x in said.arguments]
        if said.function in UFUNCS:
            into = f"out={out}" if said.function in ("maximum", "minimum") else out
            call = f"{said.function}({', '.join([*given, into])})"
            if said.function != "power" or not isinstance(said.arguments[1], float) or said.arguments[1] != 0.5:
                return [call]
            return [call, f"copyto({out}, inf, where={given[0]} == -inf)"]  # where NumPy takes a square root
        if said.function == "concatenate":
            return [f"concatenate(({', '.join(given)},), {words['axis']}, {out})"]
        if said.function == "where" and np.asarray(_number(said.arguments[0])).dtype != bool:
            given[0] = f"({given[0]} != 0)"
        named = {word: self._argument(x) for word, x in words.items()}
        if said.function in INTO:
            return INTO[said.function].format(*given, out=out, **named).split("; ")
        self.scope[f"{said.function}_"] = FUNCTIONS[said.function]
        call = ", ".join([*given, *(f"{word}={text}" for word, text in named.items())])
        return [f"copyto({out}, {said.function}_({call}))"]

    def _argument(self, x: Any) -> str:
        if isinstance(x, Traced):
            return self._name(x.line)
        if x is None or isinstance(x, (bool, int, str)) or (isinstance(x, float) and np.isfinite(x)):
            return repr(x)
        if isinstance(x, tuple) and all(isinstance(y, int) for y in x):
            return repr(x)
        name = f"c{len(self.scope)}"
        self.scope[name] = x
        return name


def _number(x: Any) -> Any:
    return x.number if isinstance(x, Traced) else x
