"""Which steps of a program are done together: neighbours of one form become one loop, products stand between them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from microgrid.capture.c_steps import Access, Steps, contiguous
from microgrid.capture.tracing import Traced

__microgrid_machinery__ = True

MOST = 48  # steps in one loop: a processor has so many registers


class Part(NamedTuple):
    """A piece of the program that is done at one go: a loop, a product, a join, or a call of NumPy."""

    kind: str
    lines: list[int]
    shape: tuple[int, ...]  # of a loop: its axes longer than 1


def long_axes(shape: Sequence[int]) -> tuple[int, ...]:
    """The lengths of the axes that a loop has to go along."""
    return tuple(n for n in shape if n != 1)


def over(shape: Sequence[int], access: Access, own: Sequence[int]) -> Access:
    """An access to an array of its own shape, broadcast to another, over whose axes longer than 1 it goes."""
    strides = [0] * (len(shape) - len(own)) + [0 if n == 1 else s for n, s in zip(own, access.strides, strict=True)]
    return access._replace(strides=tuple(s for n, s in zip(shape, strides, strict=True) if n != 1))


class Schedule:
    """Which steps are done together, and in which order: all of a loop's form that can be, one after the other."""

    def __init__(self, steps: Steps) -> None:
        self.steps = steps
        self.kind = {line: steps.kind(line) for line in range(len(steps.lines))}
        self.needs = self._needed()
        self.parts = self._parts()
        self.part_of = {line: place for place, part in enumerate(self.parts) for line in part.lines}

    def used(self, line: int) -> list[int]:
        """The lines whose numbers a line reads."""
        given = [self.steps.access[x.line].line for x in self.steps.lines[line].arguments if isinstance(x, Traced)]
        return [x for x in given if self.kind[x] not in ("input", "constant")]

    def _needed(self) -> dict[int, list[int]]:
        waiting, needs = list(self.steps.outputs), dict[int, list[int]]()
        for line in waiting:
            if line not in needs:
                needs[line] = self.used(line)
                waiting += needs[line]
        return dict(sorted(needs.items()))

    def form(self, line: int) -> tuple[int, ...]:
        """The axes that the loop of a line runs over."""
        said = self.steps.lines[line]
        number = said.arguments[0].number if self.kind[line] == "reduction" else self.steps.numbers[line]
        return long_axes(number.shape)

    def _parts(self) -> list[Part]:
        left = {line: len(set(needs)) for line, needs in self.needs.items()}
        users: dict[int, list[int]] = {line: [] for line in self.needs}
        for line, needs in self.needs.items():
            for x in set(needs):
                users[x].append(line)
        ready = [line for line in left if not left[line]]
        found: list[Part] = []
        while ready:
            part = Part(self.kind[ready[0]], [], ())
            if part.kind in ("elementwise", "reduction"):
                part = Part("loop", [], self.form(ready[0]))
            next_line: int | None = ready[0]
            later: list[int] = []  # what waits for the end of this part
            while next_line is not None:
                ready.remove(next_line)
                part.lines.append(next_line)
                for user in users[next_line]:
                    left[user] -= 1
                    if not left[user]:
                        (ready if part.kind == "loop" and self._joins(user, part) else later).append(user)
                ready.sort()
                next_line = self._next(ready, part)
            ready = sorted(ready + later)
            found.append(part)
        return found

    def _next(self, ready: list[int], part: Part) -> int | None:
        if part.kind != "loop" or len(part.lines) >= MOST:
            return None
        return next((line for line in ready if self._joins(line, part)), None)

    def _joins(self, line: int, part: Part) -> bool:
        """Whether a line can be done in a loop: of its form, and of its numbers only those of the same place."""
        if self.kind[line] not in ("elementwise", "reduction") or self.form(line) != part.shape:
            return False
        if self._alone(line) or any(map(self._alone, part.lines)):
            return False
        said = self.steps.lines[line]
        shape = (said.arguments[0].number if self.kind[line] == "reduction" else self.steps.numbers[line]).shape
        for x in said.arguments:
            if isinstance(x, Traced):
                access = over(shape, self.steps.access[x.line], x.shape)
                if access.line in part.lines and (
                    self.kind[access.line] != "elementwise" or access.strides != contiguous(part.shape)
                ):
                    return False
        return True

    def _alone(self, line: int) -> bool:
        return self.kind[line] == "reduction" and self.steps.lines[line].function != "sum"
