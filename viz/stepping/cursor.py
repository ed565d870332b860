"""A place in a tape, and the moves over it: what the terminal, the page and the editor share.

A cursor stands before a step, or after the last. The whole tape is there: a move back is as quick as one forward.

>>> import microgrid as mg
>>> from viz.stepping.cursor import Cursor
>>> x = mg.Value(3.0, name="x")
>>> cursor = Cursor(mg.record(mg.exp(x * x) + x))
>>> cursor.add("op:exp").number
1
>>> cursor.run().notes, cursor.step.label
(('breakpoint 1, op:exp',), '%2')
>>> cursor.watch("x").number
2
>>> cursor.run().notes
('watch 2: x.grad 1 -> 48619.5',)
>>> cursor.run(-1).reason, cursor.index
('watch', 2)
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache, cached_property
from types import CodeType
from typing import Any, Literal, NamedTuple, TypeAlias

import microgrid as mg
from microgrid.stepping.steps import Applied, brief
from viz.words import visible

__microgrid_machinery__ = True

Reason: TypeAlias = Literal["start", "step", "breakpoint", "watch", "error", "end"]


class Halt(NamedTuple):
    """Where a move has come to rest, and why: a line for each point that stopped it."""

    reason: Reason
    notes: tuple[str, ...] = ()
    points: tuple[Point, ...] = ()


class Point:
    """A breakpoint, or a watch on a gradient.

    Attributes
    ----------
    number : int >= 1
    spec : str
        What it was set on, as the user wrote it.
    watched : str or None
        Label of the node whose gradient is watched; None for a breakpoint.
    temporary : bool
        Gone when it has stopped once.
    ignored : int >= 0
        So many times more it will not stop.
    hits : int
    """

    def __init__(self, number: int, spec: str, watched: str | None = None, temporary: bool = False) -> None:
        self.number, self.spec, self.watched, self.temporary = number, spec, watched, temporary
        self.ignored = self.hits = 0
        self.steps: Mapping[int, Any] = {}  # where it can stop; of a watch, to (before, after)
        self.condition = ""
        self._code: CodeType | None = None

    def only_if(self, condition: str) -> None:
        """Have it stop only where a Python expression is true; always, for an empty one.

        Raises
        ------
        ValueError
            If it is no expression.
        """
        self._code = compiled(condition) if condition.strip() else None
        self.condition = condition.strip()

    def holds(self, scope: Callable[[], dict[str, Any]]) -> tuple[bool, str]:
        """Whether it stops here, and what to say of that; one whose condition raises does, as in pdb."""
        note = ""
        if self._code is not None:
            try:
                if not eval(self._code, scope()):
                    return False, ""
            except (Exception, SystemExit) as error:
                note = f"; its condition `{self.condition}` raised {type(error).__name__}: {one_line(str(error))}"
        self.hits += 1
        if self.ignored and not note:
            self.ignored -= 1
            return False, ""
        return True, note

    def __str__(self) -> str:
        kind = "watch" if self.watched is not None else "tbreak" if self.temporary else "break"
        text = f"{kind:6} {visible(self.spec)}"
        text += f" if {self.condition}" if self.condition else ""
        text += f", {self.ignored} more to ignore" if self.ignored else ""
        return text + (f", hit {self.hits} time{'s' * (self.hits > 1)}" if self.hits else "")


class Gradients(Mapping[str, Any]):
    """The gradients as they stand before a step, by label; found when first asked for."""

    def __init__(self, tape: mg.Tape, index: int) -> None:
        self._tape, self._index = tape, index

    @cached_property
    def _found(self) -> dict[str, Any]:
        return self._tape.before(self._index)

    def __getitem__(self, label: str) -> Any:
        return self._found[label]

    def __iter__(self) -> Iterator[str]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return repr(self._found)


class Cursor:
    """A place in a tape.

    Parameters
    ----------
    tape : Tape
    blocks : sequence of tuple, one for each step, optional
        The calls of modules in which the node was made, outermost first; by default what `step.module` tells.
    variables : mapping of str to object, optional
        The user's, for expressions.
    held : mapping of str to number or array, optional
        What leaves had in `.grad` before the pass, which adds to it; by label.
    error : Exception, optional
        What the pass raised in the last step of the tape.

    Attributes
    ----------
    index : int from 0 to len(tape)
        The step it stands before; len(tape) after the last.
    points : list of Point
    """

    def __init__(
        self, tape: mg.Tape, blocks: Sequence[tuple[Any, ...]] | None = None,
        variables: Mapping[str, Any] | None = None, held: Mapping[str, Any] | None = None,
        error: Exception | None = None,
    ) -> None:  # fmt: skip
        self.points: list[Point] = []
        self._numbers = 0
        self.load(tape, blocks, variables, held, error)

    def load(
        self, tape: mg.Tape, blocks: Sequence[tuple[Any, ...]] | None = None,
        variables: Mapping[str, Any] | None = None, held: Mapping[str, Any] | None = None,
        error: Exception | None = None,
    ) -> list[str]:  # fmt: skip
        """Go to the beginning of another tape, with the same points; what to say of those that mean nothing there."""
        self.tape, self.index, self.variables, self.held = tape, 0, variables or {}, held or {}
        self.error = error
        self.blocks = blocks if blocks is not None else [_parts(step.module) for step in tape]
        lost = []
        for point in self.points:
            try:
                point.steps = self._watched(point.spec) if point.watched is not None else self.find(point.spec)
            except ValueError as error:
                point.steps = {}
                lost.append(f"{'watch' if point.watched else 'breakpoint'} {point.number}: {error}")
        return lost

    # ------------------------------------------------------------------ where it is

    @property
    def step(self) -> mg.Step | None:
        """The step that it stands before; None after the last."""
        return self.tape[self.index] if self.index < len(self.tape) else None

    @property
    def root(self) -> str:
        """What is differentiated, as in dC/dw: its name, or L."""
        label = self.tape.labels[self.tape.root]
        return "L" if label.startswith("%") else label

    def scope(self, step: mg.Step | None = None) -> dict[str, Any]:
        """The variables of an expression: the user's, and before them step, node, g, z, the rule's inputs, tape, grads.

        Parameters
        ----------
        step : Step, optional
            By default the one that the cursor stands before.
        """
        step = self.step if step is None else step
        index = step.index if step is not None else self.index
        names = {"mg": mg, **self.variables, "tape": self.tape, "grads": Gradients(self.tape, index), "step": step}
        if step is not None:
            met = step.applied
            names.update(node=step.node, g=met.g, z=met.z)
            if step.rule is not None:
                letters = step.rule.inputs
                names.update({letters[0]: met.inputs} if step.rule.variadic else zip(letters, met.inputs, strict=True))
        return names

    # ------------------------------------------------------------------ moves

    def run(self, direction: Literal[1, -1] = 1, until: Callable[[], bool] = lambda: False) -> Halt:
        """Go on, or back, until something is so, a point stops it, or the tape ends.

        Raises
        ------
        ValueError
            At the end of the tape.
        """
        edge = len(self.tape) if direction > 0 else 0
        if self.index == edge:
            raise ValueError("this is the end of the pass" if direction > 0 else "this is the first step")
        while True:
            crossed = self.index if direction > 0 else self.index - 1
            self.index += direction
            halt = self._stopped(crossed, direction)
            if halt is not None:
                return halt
            if self.index == edge:
                return Halt("end" if direction > 0 else "start")
            if until():
                return Halt("step")

    def arrive(self) -> Halt:
        """At the beginning of a tape: whether a breakpoint stands at its first step. Where a pass raised, there."""
        if self.error is not None:
            self.index = len(self.tape) - 1
            return Halt("error", (self.raised,))
        return self._stopped(-1, 1) or Halt("start")

    @property
    def raised(self) -> str:
        """What the pass raised, in words, with its notes."""
        notes = getattr(self.error, "__notes__", ())
        told = [f"{type(self.error).__name__}: {self.error}".removesuffix(": "), *notes]
        return f"this raised {one_line(', '.join(told))}"

    def steps(self, count: int) -> Halt:
        """So many steps on; back, if it is negative."""
        target = self.index + count
        return self.run(1 if count > 0 else -1, lambda: self.index == target)

    def over(self, direction: Literal[1, -1] = 1) -> Halt:
        """Over the rest of a module's call, or over one node where there is none; back, to where such a call begins."""
        block = self._block(direction)
        return self.run(direction, lambda: not block or self._block(direction)[: len(block)] != block)

    def out(self) -> Halt:
        """Out of the call in which this module was called; to the end, where there is none."""
        outer = self._block(1)[:-1]
        return self.run(1, lambda: bool(outer) and self._block(1)[: len(outer)] != outer)

    def _block(self, direction: int) -> tuple[Any, ...]:
        """The calls around the step that a move crosses next."""
        ahead = self.index if direction > 0 else self.index - 1
        return self.blocks[ahead] if 0 <= ahead < len(self.blocks) else ()

    def until(self, target: str) -> Halt:
        """Forward to the next step that a spec, or a step's number, names."""
        steps = self._targets(target)
        if max(steps) <= self.index:
            raise ValueError(
                f"step {max(steps) + 1} is {'here' if max(steps) == self.index else 'behind: `jump` goes there'}"
            )
        return self.run(1, lambda: self.index in steps)

    def jump(self, target: str) -> Halt:
        """Straight to a step by its number, or to the first that a spec names; no point stops it."""
        self.index = min(self._targets(target))
        return Halt("step" if self.index else "start")

    def _targets(self, target: str) -> set[int]:
        found = {self.place(target)} if target.lstrip("+-").isdecimal() else set(self.find(target))
        if not found:
            raise ValueError("every gradient of this pass is finite")
        return found

    def place(self, number: str) -> int:
        """The index of a step's number, which counts from 1; -1 is the last.

        Raises
        ------
        ValueError
        """
        total = len(self.tape)
        given = int(number)
        if not 1 <= given <= total and not -total <= given <= -1:
            raise ValueError(f"there is no step {number}: the pass has steps 1 to {total}")
        return given - 1 if given > 0 else total + given

    def _stopped(self, crossed: int, direction: int) -> Halt | None:
        """What a move has met: changes that the step made which was crossed, and breakpoints where it has come to."""
        reason: Reason = "watch"
        notes, met = [], []
        for point in list(self.points):
            place = crossed if point.watched is not None else self.index
            if place not in point.steps:
                continue
            stops, note = point.holds(lambda place=place: self.scope(self.tape[place]))  # type: ignore[misc]
            if not stops:
                continue
            met.append(point)
            if point.watched is None:
                reason = "breakpoint"
                notes.append(f"breakpoint {point.number}, {visible(point.spec)}{note}")
            else:
                back = " (undone)" if direction < 0 else ""
                changed = self._changed(point.watched, point.steps[place][::direction])
                notes.append(f"watch {point.number}: {changed}{back}{note}")
            if point.temporary:
                self.points.remove(point)
        return Halt(reason, tuple(notes), tuple(met)) if met else None

    def _changed(self, label: str, numbers: Sequence[Any]) -> str:
        """From what to what a gradient goes; of a leaf that had one, both the share of this pass and the sum."""
        path = " -> ".join("none" if x is None else brief(x) for x in numbers)
        name = visible(label)
        if label not in self.held:
            return f"{name}.grad {path}"
        sums = " -> ".join(brief(self.added_up(label, x)) for x in numbers)
        return f"d{visible(self.root)}/d{name} {path} in this pass, {name}.grad {sums} with earlier ones"

    def added_up(self, label: str, gradient: Any) -> Any:
        """What stands in a leaf's `.grad`, when this pass has given it so much."""
        held = self.held[label]
        return held if gradient is None or isinstance(gradient, mg.Summary) else held + gradient

    # ------------------------------------------------------------------ points

    def add(self, spec: str, condition: str = "", temporary: bool = False) -> Point:
        """A breakpoint.

        Parameters
        ----------
        spec : str
            See `find`.
        condition : str, optional
            A Python expression, over what `scope` gives.
        temporary : bool, optional

        Raises
        ------
        ValueError
            If nothing answers to the spec, or the condition is no expression.
        """
        steps = self.find(spec)
        return self._numbered(Point(self._numbers + 1, spec.strip(), None, temporary), steps, condition)

    def watch(self, name: str, condition: str = "") -> Point:
        """A watch: it stops whenever the gradient of a node changes.

        Raises
        ------
        ValueError
            If no node has that name, or no step changes its gradient.
        """
        steps = self._watched(name)
        return self._numbered(Point(self._numbers + 1, name.strip(), name.strip()), steps, condition)

    def _numbered(self, point: Point, steps: Mapping[int, Any], condition: str) -> Point:
        point.only_if(condition)
        point.steps = steps
        self._numbers += 1
        self.points.append(point)
        return point

    def point(self, number: str) -> Point:
        """The point of a number.

        Raises
        ------
        ValueError
        """
        found = next((point for point in self.points if str(point.number) == number.strip()), None)
        if found is None:
            known = ", ".join(str(point.number) for point in self.points)
            raise ValueError(
                f"there is no breakpoint {number.strip() or '(which?)'}" + (f", only {known}" if known else "")
            )
        return found

    def _watched(self, name: str) -> dict[int, tuple[Any, Any]]:
        node = self.node(name)
        changes = self.tape.changes(node)
        if not changes:
            raise ValueError(f"no step changes the gradient of {visible(name)}")
        found: dict[int, tuple[Any, Any]] = {}
        for change in changes:  # x * x changes x twice in one step
            first = found.get(change.index, (change.before, None))[0]
            found[change.index] = first, change.after
        return found

    # ------------------------------------------------------------------ what users call things

    def node(self, name: str) -> Any:
        """The node of a name.

        Raises
        ------
        ValueError
            With the names that come close.
        """
        name = name.strip()
        nodes = {label: node for node, label in self.tape.labels.items()}
        if name in nodes:
            return nodes[name]
        if not name:
            raise ValueError("which node? Give its name, or its number as in %7")
        close = (
            difflib.get_close_matches(name, nodes, 3) or [label for label in nodes if not label.startswith("%")][-8:]
        )
        raise ValueError(
            f"no node is called {visible(name)}" + (f"; there is {', '.join(map(visible, close))}" if close else "")
        )

    def find(self, spec: str) -> dict[int, None]:
        """The steps that a spec names.

        Parameters
        ----------
        spec : str
            A node's name or `%7`; `op:sigmoid`; `line 5`, or `5`; `net.py:5`; `module:layers.0`, with what is below it;
            `nonfinite`.

        Returns
        -------
        dict of int to None
            Their indices, in order; of `nonfinite` perhaps none.

        Raises
        ------
        ValueError
            If there is none.
        """
        spec = spec.strip()
        kind, colon, rest = spec.rpartition(":") if not spec.startswith(("op:", "module:")) else spec.partition(":")
        if spec in self.tape.labels.values():
            found = [step.index for step in self.tape if step.label == spec]
            if not found:
                raise ValueError(
                    f"{visible(spec)} has no step of its own; `watch {visible(spec)}` stops where its gradient changes"
                )
        elif spec == "nonfinite":
            found = [step.index for step in self.tape if not step.is_finite]  # none here, but perhaps in the next pass
        elif kind == "op":
            found = [step.index for step in self.tape if step.op == rest]
            self._answered(
                found, f"no step of this pass is of the operation {visible(rest)}", {step.op for step in self.tape}
            )
        elif kind == "module":
            found = [step.index for step in self.tape if f"{step.module}.".startswith(f"{rest}.") and step.module]
            self._answered(
                found, f"no step was made in a module {visible(rest)}", {step.module for step in self.tape} - {""}
            )
        elif (words := spec.split())[:1] == ["line"] or spec.isdecimal():
            if not words[-1].isdecimal() or len(words) > 2:
                raise ValueError(f"expected a number of a line, got {visible(spec)}")
            found = self._on_line(None, int(words[-1]))
        elif colon and rest.isdecimal():
            found = self._on_line(kind, int(rest))
        else:
            self.node(spec)  # which says what there is
            found = []
        return dict.fromkeys(found)

    def specs(self) -> list[str]:
        """The specs of operations, modules and lines that name steps."""
        sites = [step.source for step in self.tape if step.source is not None]
        found = ["nonfinite", *(f"op:{step.op}" for step in self.tape)]
        found += [f"module:{step.module}" for step in self.tape if step.module]
        found += [f"line {site.line}" for site in sites]
        found += [f"{os.path.basename(site.file)}:{site.line}" for site in sites]
        return list(dict.fromkeys(found))

    def _answered(self, found: list[int], otherwise: str, known: set[str]) -> None:
        if not found:
            raise ValueError(otherwise + (f"; there is {', '.join(map(visible, sorted(known)))}" if known else ""))

    def _on_line(self, file: str | None, line: int) -> list[int]:
        """Steps of nodes that a line has made; if none begins there, of those whose expression goes over it.

        Without a file, in that of the current step, or else of the first.
        """
        sites = [(step.index, step.source) for step in self.tape if step.source is not None]
        if file is None:
            here = self.step.source if self.step else None
            file = here.file if here else sites[0][1].file if sites else ""
        there = [(index, site) for index, site in sites if same_file(site.file, file)]
        found = [index for index, site in there if site.line == line]
        found = found or [index for index, site in there if site.line <= line <= (site.end_line or site.line)]
        if not found:
            lines = sorted({site.line for _, site in there})
            known = (
                f"; lines with steps: {', '.join(map(str, lines[:12]))}{', ...' * (len(lines) > 12)}" if lines else ""
            )
            raise ValueError(f"no step of this pass was made at {visible(os.path.basename(file))}:{line}{known}")
        return found


@cache
def same_file(file: str, given: str) -> bool:
    """Whether a path, or the end of one, names a file."""
    file, given = (os.path.normcase(os.path.normpath(name)) for name in (file, given))
    return file == given or file.endswith(os.sep + given) or os.path.realpath(file) == os.path.realpath(given)


def compiled(expression: str) -> CodeType:
    """A Python expression.

    Raises
    ------
    ValueError
        If it is none.
    """
    try:
        return compile(expression.strip(), "<debugger>", "eval")
    except (SyntaxError, ValueError) as error:
        raise ValueError(f"{visible(expression.strip())!s} is no expression: {getattr(error, 'msg', error)}") from None


def computable(step: mg.Step) -> Applied | None:
    """The numbers of a step; None where the tape keeps only statistics of them, or a file does not know the rule."""
    met = step.applied
    known = met.rule is not None and not any(isinstance(x, mg.Summary) for x in (met.g, met.z, *met.inputs))
    return met if known else None


def one_line(text: str) -> str:
    """The text without line breaks or characters that could move the cursor of a terminal."""
    return visible(" ".join(text.split()))


def _parts(path: str) -> tuple[str, ...]:
    """The modules around a module, and it: `a.b` is in `a`."""
    parts = path.split(".") if path else []
    return tuple(".".join(parts[: i + 1]) for i in range(len(parts)))
