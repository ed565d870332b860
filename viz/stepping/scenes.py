"""What a page shows of a tape, as pure data in words: one scene for each step, the user's source, and the gradients.

States count from 1: state k is the pass when k steps are done. A text that changes is a list of the states in which
it does, each with the text from there on; before the first it is `-`.
"""

from __future__ import annotations

import linecache
import os
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

import microgrid as mg
from microgrid.sites import Site
from microgrid.stepping.steps import brief, shape
from microgrid.stepping.tape_files import Recorded
from viz.words import clipped, counted, visible

__microgrid_machinery__ = True

AROUND = 2  # lines of source before and after those that made a node
BRIDGED = 4  # so many lines between two excerpts are shown rather than left out
ROWS = 60  # contributions of one step that are shown; a sum may have thousands
SPOKEN = 3  # likewise, in the sentence that is read out
LONG = 160  # letters of a number: an exact fraction has no end
MATRIX, INLINE = 24, 6  # numbers of an array that are shown one by one; likewise, in a line
GIVEN = 8  # likewise, inputs of the rule

Changes = list[tuple[int, str]]  # from which state on, which text


def is_node(x: Any) -> bool:
    """Whether an input of a rule is a node, of a graph or told of by a file, and no constant."""
    return isinstance(x, (mg.Node, Recorded))


class Mark(NamedTuple):
    """A piece of a line: begin and end count units of UTF-16, as JavaScript does."""

    line: str
    begin: int
    end: int


class Row(NamedTuple):
    """A contribution in words."""

    input: str
    slot: str
    formula: str
    local: str
    value: str
    before: str
    after: str


class Given(NamedTuple):
    """What a letter of the rule stands for, and its number."""

    letter: str
    what: str
    number: str


class Scene(NamedTuple):
    """One step.

    Attributes
    ----------
    label : str
        The node's.
    title, rule, where : str
        The node as its line has it; what its rule computes; file, line and module.
    sentence : str
        All of it as it is read out.
    marks : list of Mark
    given : list of Given
    rows : list of Row
    more : str
        How many contributions are not shown; empty if all are.
    """

    label: str
    title: str
    rule: str
    where: str
    sentence: str
    marks: list[Mark]
    given: list[Given]
    rows: list[Row]
    more: str


class Excerpt(NamedTuple):
    """Lines of a file: id, number and text of each; None where some were left out."""

    file: str
    lines: list[tuple[str, int, str] | None]


class Source:
    """The user's lines that made the nodes.

    Parameters
    ----------
    sites : iterable of Site
        In the order in which files are to be shown.
    """

    def __init__(self, sites: Iterable[Site]) -> None:
        wanted: dict[str, set[int]] = {}
        for site in sites:
            wanted.setdefault(site.file, set()).update(range(site.line, (site.end_line or site.line) + 1))
        self._texts = {file: [line.rstrip("\r\n") for line in linecache.getlines(file)] for file in wanted}
        found = [file for file, lines in self._texts.items() if lines]
        self._places = {file: place for place, file in enumerate(found)}
        titles = _short(found)
        self.excerpts = [Excerpt(titles[file], self._lines(file, wanted[file])) for file in found]

    def _lines(self, file: str, wanted: set[int]) -> list[tuple[str, int, str] | None]:
        texts = self._texts[file]
        near = {n for line in wanted for n in range(line - AROUND, line + AROUND + 1) if 1 <= n <= len(texts)}
        lines: list[tuple[str, int, str] | None] = []
        last = None
        for number in sorted(near):
            if last is not None and number - last > BRIDGED + 1:
                lines.append(None)
            elif last is not None:
                lines += [self._line(file, n) for n in range(last + 1, number)]
            lines.append(self._line(file, number))
            last = number
        return lines

    def _line(self, file: str, number: int) -> tuple[str, int, str]:
        return self._id(file, number), number, _as_shown(self._texts[file][number - 1])

    def _id(self, file: str, number: int) -> str:
        return f"line-{self._places[file]}-{number}"

    def marks(self, site: Site | None) -> list[Mark]:
        """The expression of a site, line by line; nothing where the source is not to be had."""
        if site is None or site.file not in self._places:
            return []
        texts = self._texts[site.file]
        last = site.end_line or site.line
        marks = []
        for number in range(site.line, min(last, len(texts)) + 1):
            line = texts[number - 1].encode("utf-8", "surrogatepass")
            begin, end = len(line) - len(line.lstrip()), len(line.rstrip())
            if site.column is not None and site.end_column is not None:
                begin = site.column if number == site.line else begin
                end = site.end_column if number == last else end
            if begin < end:
                marks.append(Mark(self._id(site.file, number), _units(line[:begin]), _units(line[:end])))
        return marks


def _units(text: bytes) -> int:
    """Units of UTF-16, of which JavaScript's strings consist, in a text of UTF-8."""
    return len(text.decode("utf-8", "replace").encode("utf-16-le")) // 2


def _as_shown(line: str) -> str:
    """A line of source that can stand in a page: as `visible`, but that tabs stay."""
    return "\t".join(map(visible, line.split("\t")))


def _short(files: Sequence[str]) -> dict[str, str]:
    """Names of files: their last parts, as many as it takes to tell them apart."""
    titles: dict[str, str] = {}
    for file in files:
        parts = file.replace(os.sep, "/").split("/")
        others = [other.replace(os.sep, "/").split("/") for other in files if other != file]
        count = 1
        while count < len(parts) and any(other[-count:] == parts[-count:] for other in others):
            count += 1
        titles[file] = visible("/".join(parts[-count:]))
    return titles


# ---------------------------------------------------------------------------------------------------- steps in words


class Teller:
    """Says what the steps of a tape do.

    Parameters
    ----------
    tape : Tape
    limit : int
        Steps that are told of.
    """

    def __init__(self, tape: mg.Tape, limit: int) -> None:
        self.tape, self.steps = tape, tape[:limit]
        made = [node.site for node in tape.labels]
        self.source = Source(site for site in made if site is not None)
        root = visible(tape.labels[tape.root])
        self.root = "L" if root.startswith("%") else root

    def scenes(self) -> Iterator[Scene]:
        """The steps, one by one."""
        return map(self._scene, self.steps)

    def _scene(self, step: mg.Step) -> Scene:
        site = step.source
        label = visible(step.label)
        made = visible(clipped(site.expression)) if site is not None else ""
        title = f"{label} = {made}" if made and made != label else f"{label} = {visible(step.op)}"
        places = [visible(str(site))] if site is not None else []
        places += [f"in {visible(step.module)}"] if step.module else []
        places += ["not finite"] * (not step.is_finite)
        rows = [_row(c) for c in step.contributions[:ROWS]]
        left = len(step.contributions) - len(rows)
        return Scene(
            label=label,
            title=title,
            rule=_rule(step),
            where=", ".join(places),
            sentence=self._sentence(step),
            marks=self.source.marks(site),
            given=self._given(step),
            rows=rows,
            more=f"and {counted(left, 'more contribution')}" if left else "",
        )

    def _sentence(self, step: mg.Step) -> str:
        label = visible(step.label)
        parts = [
            f"Step {step.index + 1:,} of {step.total:,}: {label}, {visible(step.op)}.",
            f"Its gradient d{self.root}/d{label} is complete, {spoken(step.upstream)}.",
        ]
        parts += [
            f"{visible(c.label)} receives {spoken(c.value)}"
            + ("." if c.before is None else f", and now has {spoken(c.after)}.")
            for c in step.contributions[:SPOKEN]
        ]
        left = len(step.contributions) - SPOKEN
        parts += [f"So do {left:,} more inputs."] * (left > 0)
        parts += ["Not all of this is finite."] * (not step.is_finite)
        return " ".join(parts)

    def _given(self, step: mg.Step) -> list[Given]:
        """g, z and the inputs, in the letters of the rule."""
        met = step.applied
        given = [
            Given("g", f"d{self.root}/d{visible(step.label)}", cell_text(met.g)),
            Given("z", visible(step.label), cell_text(met.z)),
        ]
        slots = {c.position: c.slot for c in step.contributions}
        rule = step.rule
        for place, (x, number) in enumerate(zip(step.inputs, met.inputs, strict=True)):
            if place == GIVEN:
                given.append(Given("...", f"{len(met.inputs) - GIVEN:,} more", ""))
                break
            letter = slots.get(place, "")
            if rule is not None:
                letter = f"{rule.inputs[0]}[{place}]" if rule.variadic else rule.inputs[place]
            what = visible(self.tape.labels[x]) if is_node(x) else "a constant"
            given.append(Given(visible(letter), what, cell_text(number)))
        return given

    # ------------------------------------------------------------------ gradients over the states

    def changes(self) -> dict[Any, list[tuple[int, Any]]]:
        """For each node of the graph in its order, the states from which on its gradient is another.

        State k is what `tape.before(k)` says.
        """
        found: dict[Any, list[tuple[int, Any]]] = {node: [] for node in self.tape.labels}
        found[self.tape.root].append((0, self.tape.seed))
        for step in self.steps:
            _note(found[step.node], step.index, step.upstream)  # as its hooks left it
            for c in step.contributions:
                _note(found[c.input], step.index + 1, c.after)
        if len(self.steps) == len(self.tape):
            for node, gradient in self.tape.before(len(self.tape)).items():
                _note(found[self.tape.node(node)], len(self.tape), gradient)
        return found


def _note(changes: list[tuple[int, Any]], state: int, gradient: Any) -> None:
    """Write down what a gradient is from a state on."""
    if changes and changes[-1][1] is gradient:
        return
    if changes and changes[-1][0] == state:
        changes.pop()
    changes.append((state, gradient))


def told(changes: Iterable[tuple[int, Any]], say: Any) -> Changes:
    """Changes of numbers as changes of texts, those apart that do not show."""
    texts: Changes = []
    for state, number in changes:
        text = say(number)
        if not texts or texts[-1][1] != text:
            texts.append((state, text))
    return texts


def _row(c: mg.Contribution) -> Row:
    local = c.local
    return Row(
        input=visible(c.label),
        slot=visible(c.slot),
        formula=visible(c.formula),
        local="" if local is None else number_text(local),
        value=cell_text(c.value),
        before=cell_text(c.before),
        after=cell_text(c.after),
    )


def _rule(step: mg.Step) -> str:
    """Its name, and its formula where the class has one."""
    words = (step.rule.__doc__ or "").strip().partition("\n")[0] if step.rule is not None else ""
    return visible(f"{step.op}: {words}" if words else step.op)


def number_text(x: Any) -> str:
    """A number or an array in a line; as the terminal says it, but that rows of little arrays have their brackets.

    Examples
    --------
    >>> number_text(-0.0), number_text(np.array([[1.0], [0.25]])), number_text(np.ones((3, 4)))
    ('0', '[1] [0.25]', '(3, 4) in [1, 1]')
    """
    if _is_little(x, INLINE):
        return " ".join(f"[{' '.join(row)}]" for row in _rows(x))
    text = visible(brief(x + 0.0 if isinstance(x, float) else x))  # no sign before a zero
    return text if len(text) <= LONG else text[: LONG - 1] + "…"


def cell_text(x: Any) -> str:
    """The same, but an array row by row if that is little.

    Examples
    --------
    >>> print(cell_text(np.array([[1.0, -0.25], [0.0, 12.5]])))
    [1 -0.25]
    [0  12.5]
    """
    if not _is_little(x, MATRIX):
        return number_text(x)
    rows = _rows(x)
    wide = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(f"[{' '.join(n.rjust(w) for n, w in zip(row, wide, strict=True))}]" for row in rows)


def _is_little(x: Any, most: int) -> bool:
    return isinstance(x, np.ndarray) and x.ndim in (1, 2) and 0 < x.size <= most


def _rows(x: np.ndarray[Any, Any]) -> list[list[str]]:
    return [[f"{n + 0.0:.4g}" if isinstance(n, float) else str(n) for n in row] for row in np.atleast_2d(x).tolist()]


def spoken(x: Any) -> str:
    """A number as it is read out; of an array its shape."""
    return f"an array of shape {shape(x)}" if shape(x) else number_text(x)
