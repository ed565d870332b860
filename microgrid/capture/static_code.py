"""A program of arrays as a function of plain numbers, for graphs of Values: `array_code`, with lists in and out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from microgrid import kinds
from microgrid.capture.arena import aligned
from microgrid.capture.array_code import ArrayWriter
from microgrid.capture.tracing import FUNCTIONS, Program, Traced
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


def written_in_buffers(
    program: Program, outputs: Sequence[Traced], finite: Sequence[Traced], name: str
) -> tuple[Callable[..., tuple[Any, ...]], str]:
    """The program, whose inputs are `leaves` and `numbers`, as a function of these two lists of plain numbers.

    It gives the two outputs, a value and a vector, as plain numbers too, and raises an ArithmeticError if one of
    `finite` is not.
    """
    return _ListWriter(program, outputs, finite).function(name)


class _ListWriter(ArrayWriter):
    def _handed_out(self) -> dict[int, str]:
        return {}  # but as lists

    def function(self, title: str) -> tuple[Callable[..., tuple[Any, ...]], str]:
        """See `written_in_buffers`."""
        self.scope |= {"isfinite": np.isfinite, "copyto": np.copyto, "inf": np.inf}
        lines = [f"def {title}(leaves, numbers):", *self.body()]
        value, gradient = map(self.name, self.outputs)
        lines.append(f"    return {value}.item(), {gradient}.tolist()")
        function = compiled(title, lines, self.scope)
        return (lambda *numbers: kinds.quietly(function, *numbers)), "\n".join(lines) + "\n"

    def statements(self, line: int) -> list[str]:
        """With what comes in, and what has to be finite; and a square root of -inf is what Python says that it is."""
        said, number = self.program.lines[line], self.program.numbers[line]
        if said.function == "input":
            self.arrays[line] = self.lent[line] = aligned(number.shape, number.dtype)
            given = "leaves" if said.arguments[0] == "leaves" else f"{said.arguments[0]}[:{number.size}]"
            return [f"{self.name(line)}[:] = {given}"]
        text = super().statements(line)
        if self.is_root(line):
            x = self.text(said.arguments[0])
            text.append(f"copyto({self.name(line)}, inf, where={x} == -inf)")
        if line in self.watched:
            text.append(f"if not isfinite({self.name(line)}).all(): raise ArithmeticError")
        return text

    def is_root(self, line: int) -> bool:
        """Whether it is an array to the power of 1/2, of which NumPy takes the square root."""
        function, arguments, _, _ = self.program.lines[line]
        return function == "power" and isinstance(arguments[1], float) and arguments[1] == 0.5

    def buffer(self, line: int, arguments: Iterable[Any]) -> list[str]:
        """Not over what `statements` looks at once more."""
        return super().buffer(line, () if self.is_root(line) else arguments)

    def product_with_ones(self, line: int) -> str:
        """Never: sums are added up as NumPy does it."""
        return ""
