"""How a step of a tape reads in a terminal: the steps around it, the source, and the arithmetic."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

import microgrid as mg
from microgrid.stepping.steps import brief
from viz.stepping.cursor import Cursor, one_line
from viz.stepping.screen import Screen, clip, columns, excerpt, fill
from viz.words import visible

__microgrid_machinery__ = True

AROUND = 2  # steps shown before the current one, and after it
ROWS = 8  # contributions of one step that are shown


class View:
    """A tape, as it is shown on a screen.

    Parameters
    ----------
    screen : Screen
    cursor : Cursor
        Tells the tape, what is differentiated, as in dC/dw, and what leaves had before.
    """

    def __init__(self, screen: Screen, cursor: Cursor) -> None:
        self.screen, self.cursor, self.tape, self.root = screen, cursor, cursor.tape, cursor.root
        tape = cursor.tape
        self._complete = {c.label: step.index for step in tape for c in step.contributions}  # by which step
        self._operations = min(14, max(9, *(len(visible(step.op)) for step in tape), 0))

    def stop(self, step: mg.Step | None) -> None:
        """Two steps before, the current one, two after, the source, and the arithmetic; None: the end of the pass."""
        self.screen.print()
        if step is None:
            self.end()
            return
        around = self.tape[max(0, step.index - AROUND) : step.index + AROUND + 1]
        gradients = self.tape.before(step.index)
        rows = [(other, self.so_far(other.label, step.index, gradients)) for other in around]
        self.table(rows, step.index, self.d("node"), self.place(step))
        self.about(step)

    def so_far(self, label: str, index: int, gradients: Mapping[str, Any]) -> str:
        """A node's gradient as it stands before a step, and whether more will come."""
        if label not in gradients:
            return "-"
        return in_short(gradients[label]) + (" so far" if self._complete.get(label, -1) >= index else "")

    def place(self, step: mg.Step) -> str:
        """Which step it is, where it was made, and in which module."""
        place = [f"step {step.index + 1} of {step.total}"]
        place += [_where(step)] if step.source else []
        place += [f"module {visible(step.module)}"] if step.module else []
        return ", ".join(place)

    def about(self, step: mg.Step) -> None:
        """The source of a step, and its arithmetic."""
        if step.source is not None:
            lines = list(excerpt(step.source, self.screen))
            for line in [*([""] if lines else []), *lines]:
                self.screen.print(line)
        self.screen.print()
        self._arithmetic(step)

    def table(self, rows: Sequence[tuple[mg.Step, str]], current: int, header: str, title: str) -> None:
        """A line for each step: mark, number, what it is, operation, and a number."""
        number = max(len(str(len(self.tape))), 2)
        last = min(26, self.screen.width // 3, max(18, *(columns(text) + 1 for _, text in rows)))
        ops = min(self._operations, self.screen.width // 4)
        room = self.screen.width - number - ops - last - 10
        if columns(title) > 6 + number + room:
            self.screen.wrapped(title, "", "bold")
            title = ""
        names = f"{fill('operation', ops)}   {clip(header, max(last - 1, 4))}"
        self.screen.print(
            f"{self.screen.paint(fill(title, 6 + number + room), 'bold')}  {self.screen.paint(names, 'dim')}"
        )
        for step, text in rows:
            here = step.index == current
            marked = "->" if here else "  "
            what = fill(self._written(step), room)
            signed = text if text[:1] == "-" and text != "-" else f" {text}"
            line = f"{marked} {step.index + 1:{number}}  {what}  {fill(visible(step.op), ops)}  {clip(signed, last)}"
            self.screen.print(self.screen.paint(line.rstrip(), "bold") if here else line.rstrip())

    def _written(self, step: mg.Step) -> str:
        """The node and its expression: `z = w * x + b`."""
        label, site = visible(step.label), step.source
        if site is None:
            return label
        text = one_line(site.expression)
        return " = ".join(filter(None, [label, text])) if site.column is not None else f"{label}: {text}"

    def d(self, label: str) -> str:
        """The gradient's name: dC/dw."""
        return f"d{visible(self.root)}/d{visible(label)}"

    def _arithmetic(self, step: mg.Step) -> None:
        """What the rule is, what it met, and what each input's gradient gets."""
        self.screen.print(f"  {self._met(step)}")
        rows = [self._row(c, step) for c in step.contributions[:ROWS]]
        widths = [max(columns(row[i]) for row in rows) for i in range(2)] if rows else []
        for target, formula, numbers, now in rows:
            line = f"  {fill(target, widths[0])}  +=  {fill(formula, widths[1])}{numbers}"
            if columns(line + now) <= self.screen.width:
                self.screen.print((line + now).rstrip())
            else:
                self.screen.print(clip(f"  {target}  +=  {formula}", self.screen.width))
                self.screen.print(clip(f"      {numbers}{now}".rstrip(), self.screen.width))
        if len(step.contributions) > ROWS:
            self.screen.print(f"  ... and {len(step.contributions) - ROWS:,} more: p step.contributions")
        if not rows and self.cursor.error is not None:
            self.screen.print("  here the pass ended, before anything was handed on")
        elif not rows:
            self.screen.print("  nothing it was made from takes a gradient from it")

    def _row(self, c: mg.Contribution, step: mg.Step) -> tuple[str, str, str, str]:
        numbers = f"  =  {number(c.value)}"
        if (local := c.local) is not None and c.formula not in ("g", "-g"):
            numbers = f"  =  {brief(step.upstream)} * {bracketed(local)}{numbers}"
        now = f"    ({number(c.before)} -> {number(c.after)})" if c.before is not None else ""
        return self.d(c.label), c.formula or "...", numbers, now

    def _met(self, step: mg.Step) -> str:
        """`multiply: z = x y,  with x = w = 0.5,  y = 2,  g = dC/dz = -1.5`, as far as it fits."""
        rule = step.rule
        words = ((rule and rule.__doc__) or "").strip().partition("\n")[0].partition(";")[0]  # its own, none inherited
        met = step.applied
        parts = []
        if rule is not None:
            labels = self.tape.labels
            for position, x in enumerate(step.inputs[:ROWS]):
                name = f"{rule.inputs[0]}[{position}]" if rule.variadic else rule.inputs[position]
                is_node = isinstance(x, mg.Node) or hasattr(x, "requires_grad")
                own = [visible(labels[x])] if is_node and x in labels else []
                parts.append(" = ".join([name, *own, number(met.inputs[position])]))
        parts += ["..."] * (len(step.inputs) > ROWS)
        parts += [
            f"z = {visible(step.label)} = {number(met.z)}",
            f"g = {self.d(step.label)} = {number(step.upstream)}",
        ]
        head = clip(visible(step.op) + (f": {words}" if words else ""), self.screen.width - 2)
        line = f"{head}   where {',  '.join(parts)}"
        if columns(line) + 2 <= self.screen.width:
            return line
        lines = [head]
        for part in parts:
            if lines[-1] != head and columns(lines[-1] + part) + 5 <= self.screen.width:
                lines[-1] += f",  {part}"
            else:
                lines.append(f"    {clip(part, self.screen.width - 6)}")
        return "\n  ".join(lines)

    def end(self) -> None:
        """The gradients that the pass has found."""
        if self.cursor.error is not None:
            self.screen.wrapped(f"the pass went no further: {visible(self.cursor.raised)}", "", "bold")
            return
        self.screen.wrapped(f"end of the pass: every gradient of {visible(self.root)} is complete", "", "bold")
        made = {step.node for step in self.tape}
        gradients = self.tape.before(len(self.tape))
        leaves = [label for node, label in self.tape.labels.items() if node not in made and label in gradients]
        self.gradients([(label, number(gradients[label]) + self._sum(label, gradients)) for label in leaves], most=20)

    def _sum(self, label: str, gradients: Mapping[str, Any]) -> str:
        """What a leaf's `.grad` is now, if earlier passes left something there."""
        if label not in self.cursor.held:
            return ""
        total = self.cursor.added_up(label, gradients[label])
        return f"    with earlier passes {visible(label)}.grad = {number(total)}"

    def gradients(self, rows: Sequence[tuple[str, str]], most: int) -> None:
        """Labels and gradients, a line each."""
        shown = rows[:most]
        width = min(40, self.screen.width // 2, max((columns(self.d(label)) for label, _ in shown), default=0))
        for label, number in shown:
            self.screen.print(f"  {fill(self.d(label), width)} = {clip(number, self.screen.width - width - 5)}")
        if len(rows) > most:
            self.screen.print(f"  ... and {len(rows) - most:,} more: grads all")


def _where(step: mg.Step) -> str:
    site = step.source
    assert site is not None
    function = "" if site.function == "<module>" else f" in {visible(site.function)}"
    return f"{visible(str(site))}{function}"


def number(x: Any) -> str:
    """A number or array in brief, an array with its shape."""
    shape = getattr(x, "shape", None)
    if shape == ():
        return brief(x.item())
    return f"{shape} {brief(x)}" if shape and str(shape) not in brief(x) else brief(x)


def in_short(x: Any) -> str:
    """A number, or an array by its shape and its largest magnitude."""
    if isinstance(x, mg.Summary):
        return f"{x.shape} within {max(abs(x.least), abs(x.largest)):.4g}"
    if isinstance(x, np.ndarray) and x.size > 1:
        return f"{x.shape} within {float(np.max(np.abs(x))):.4g}"
    return number(x)


def bracketed(x: Any) -> str:
    """A factor, in brackets if it begins with a sign or is a sum."""
    text = brief(x)
    return f"({text})" if text[:1] == "-" or " " in text else text
