"""`viz.page`: a backward pass as one file of HTML, to be stepped through in a browser, without network or server.

The page is whole before its script runs: it shows the first step. The script (stepper.js) writes texts into it, and
never markup. What may run or load in it is the page's own script and styles alone, by their hashes: its policy says so.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from html import escape
from importlib import resources
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import microgrid as mg
from viz import files, hypertext, svg
from viz.drawing import MAX_NODES
from viz.stepping.recording import Named, of_tape, recorded
from viz.stepping.scenes import Changes, Excerpt, Mark, Row, Scene, Teller, number_text, told
from viz.stepping.stage import Stage, staged, text_at
from viz.words import counted, given, visible

__microgrid_machinery__ = True

MOST_STEPS = 2000  # of a longer pass the page shows so many: nobody steps through more, and a browser has to hold them
SUFFIXES = (".html", ".htm")
COLUMNS = ("input", "slot", "formula", "local", "contribution", "gradient before", "→ after")
KEYS = (("← →", "a step"), ("Home End", "first, last"), ("+ − 0", "zoom, fit"), ("Shift ← ↑ → ↓", "pan"))


class Page:
    """A backward pass as a page; `viz.page` makes it, and notebooks show it.

    Attributes
    ----------
    html : str
        The whole file.
    steps : int
        That it shows.
    title : str
    """

    def __init__(self, html: str, steps: int, title: str) -> None:
        self.html, self.steps, self.title = html, steps, title

    def save(self, path: str | PathLike[str]) -> Path:
        """Write the page to a file, whole or not at all; folders are made.

        Raises
        ------
        ValueError
            If the name does not end in `.html` or `.htm`.
        OSError
            If the file cannot be written.
        """
        return files.write(_checked(path), self.html.encode("utf-8"))

    def __repr__(self) -> str:
        return f"<Page: {self.title}, {counted(self.steps, 'step')}>"

    def _repr_html_(self) -> str:
        size = 'width="100%" height="720"'
        return f'<iframe srcdoc="{escape(self.html)}" title="{_e(self.title)}" {size}></iframe>'


def page(
    loss: mg.Node | mg.Tape,
    path: str | PathLike[str] | None = None,
    *,
    gradient: Any = None,
    params: Any = None,
    max_nodes: int = MAX_NODES,
    title: str | None = None,
) -> Page:
    """A backward pass as a page to be stepped through: graph, source, contributions and gradients of each step.

    The pass is run to be looked at: no gradient is stored. Names are those of the model's parameters and of your
    variables. The page is one file that needs no network; the step stands in its address, as `steps.html#12`.

    Parameters
    ----------
    loss : Value, Tensor or Tape
        A tape, as `mg.record` gives it or `mg.Tape.load` reads it, is shown as it is.
    path : str or path, optional
        Where to write it, as `steps.html`; see `Page.save`.
    gradient : number or array of the loss's shape, optional
        As for `backward`.
    params : Module, or mapping of str to node, optional
        Names, as for `viz.graph`; by default the models among your variables.
    max_nodes : int >= 1
        The picture folds what has more, as `viz.graph` does; the steps of folded nodes are shown at the fold.
    title : str, optional
        By default `Backward pass from C`.

    Returns
    -------
    Page

    Raises
    ------
    TypeError
        If `loss` is neither a node nor a tape, `params` names nothing, or `title` is no string.
    ValueError
        If there is no step, `max_nodes` is below 1, the suffix is another than `.html`; and as `backward`.
    StaleError
        As `backward`.
    OSError
        If the file cannot be written; one that stood there is then as it was.

    Notes
    -----
    Of a pass of more than 2,000 steps the page shows the first 2,000, and says so.

    Examples
    --------
    >>> x, w = mg.Value(2.0, name="x"), mg.Value(-0.5, name="w")
    >>> a = mg.sigmoid(w * x)
    >>> a.name = "a"
    >>> page(a)
    <Page: Backward pass from a, 2 steps>
    >>> w.grad  # nothing was stored
    0.0
    """
    if not isinstance(loss, (mg.Node, mg.Tape)):
        raise TypeError(f"page: expected a Value, a Tensor or a Tape, got {given(loss)}, at {mg.sites.here()}")
    if not isinstance(max_nodes, int) or isinstance(max_nodes, bool) or max_nodes < 1:
        raise ValueError(f"page: max_nodes={max_nodes!r}, expected an integer >= 1, at {mg.sites.here()}")
    if title is not None and not isinstance(title, str):
        raise TypeError(f"page: title: expected a string, got {given(title)}, at {mg.sites.here()}")
    if isinstance(loss, mg.Tape) and gradient is not None:
        raise ValueError(f"page: a tape has the gradient that it was recorded with, at {mg.sites.here()}")
    if path is not None:
        _checked(path)
    frame = mg.sites.user_frame(sys._getframe(1))
    if isinstance(loss, mg.Tape):
        recording = of_tape(loss, frame)
        models = Named(params, recording.variables).of_models()
    else:
        recording = recorded(loss, gradient, params, frame, stores=False)
        if recording.error is not None:
            raise recording.error
        models = recording.models
    made = written(recording.tape, models, max_nodes, title)
    if path is not None:
        made.save(path)
    return made


def _checked(path: str | PathLike[str]) -> Path:
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise ValueError(f"page: {path.name!r} ends in none of {', '.join(SUFFIXES)}, at {mg.sites.here()}")
    return path


def written(tape: mg.Tape, models: Any, max_nodes: int = MAX_NODES, title: str | None = None) -> Page:
    """The page of a tape; see `page`."""
    if not len(tape):
        raise ValueError(
            f"page: {visible(tape.labels[tape.root])} was made by no operation: there is no step to show, "
            f"at {mg.sites.here()}"
        )
    teller = Teller(tape, MOST_STEPS)
    scenes, changes = list(teller.scenes()), teller.changes()
    stage = staged(tape, models, changes, teller.steps, max_nodes)
    heading = visible(title) if title else f"Backward pass from {teller.root}"
    ledger = _ledger(tape, teller, changes, stage)
    return Page(_html(heading, tape, teller, scenes, stage, ledger), len(scenes), heading)


class Entry(NamedTuple):
    """A line of the list of gradients."""

    label: str
    place: str  # the node's in the picture
    grad: Changes
    goto: int
    leaf: bool


def _ledger(tape: mg.Tape, teller: Teller, changes: Any, stage: Stage) -> list[Entry]:
    """Every node that a gradient reaches: leaves first, in their order, then the operations, newest first."""
    own = {step.node: step.index + 1 for step in teller.steps}
    entries = []
    for node, numbers in changes.items():
        if not numbers:
            continue
        grad = told(numbers, number_text)
        goto = own.get(node) or min(grad[-1][0], len(teller.steps))
        entries.append(Entry(visible(tape.labels[node]), stage.place[node], grad, goto, not node.inputs))
    return [e for e in entries if e.leaf] + [e for e in reversed(entries) if not e.leaf]


# ---------------------------------------------------------------------------------------------------- as HTML


@cache
def _asset(name: str) -> str:
    return resources.files("viz.stepping").joinpath(name).read_text(encoding="utf-8")


def _html(
    title: str, tape: mg.Tape, teller: Teller, scenes: Sequence[Scene], stage: Stage, ledger: Sequence[Entry]
) -> str:
    style, script = svg.STYLE + "\n" + _asset("stepper.css"), _asset("stepper.js")
    policy = hypertext.policy(script, style)
    count, total = len(scenes), len(tape)
    cap = f"The pass has {total:,} steps; this page shows the first {count:,}. viz.debug(loss) walks over all of them."
    notes = f'<p class="cap">{cap}</p>\n' * (count < total)
    single = f"This is the first of {counted(count, 'step')}: with JavaScript, the page steps through them."
    notes += f'<noscript><p class="cap">{single}</p></noscript>'
    first = scenes[0]
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{_e(title)}</title>
<style>{style}</style>
</head>
<body>
<header>
<h1>{_e(title)}</h1>
<nav id="controls" aria-label="Steps" hidden>
<button type="button" id="first" title="Home">First</button>
<button type="button" id="back" title="Left arrow">Back</button>
<button type="button" id="step" class="main" title="Right arrow">Step</button>
<button type="button" id="last" title="End">Last</button>
<input type="range" id="slider" min="1" max="{count}" step="1" value="1" aria-label="Step" autocomplete="off">
<output id="place" for="slider"><b>1</b> of {count:,}</output>
</nav>
</header>
{notes}
<p id="sentence" role="status" aria-live="polite" aria-atomic="true">{_e(first.sentence)}</p>
<main>
<section id="graph" aria-labelledby="graph-title">
<h2 id="graph-title">Graph</h2>
<div id="zoom" role="group" aria-label="Zoom" hidden>
<button type="button" id="out" aria-label="Zoom out" title="Minus">−</button>
<button type="button" id="in" aria-label="Zoom in" title="Plus">+</button>
<button type="button" id="fit" aria-label="Fit the graph" title="0">Fit</button>
</div>
<div id="viewport">{stage.drawing}</div>
</section>
<section id="scene" aria-labelledby="title">
<div class="scroll" id="told" tabindex="0" role="region" aria-labelledby="title">
<h2 id="title">{_e(first.title)}</h2>
<p id="about"><span id="rule">{_e(first.rule)}</span><span id="where">{_e(first.where)}</span></p>
<dl id="given" aria-label="What the letters stand for">{_given(first)}</dl>
<table id="contributions">
<caption>Contributions to the gradients of its inputs</caption>
<thead><tr>{"".join(f'<th scope="col">{column}</th>' for column in COLUMNS)}</tr></thead>
<tbody id="rows">{"".join(map(_row, first.rows))}</tbody>
</table>
<p id="more">{_e(first.more)}</p>
</div>
</section>
<section id="source" aria-labelledby="source-title">
<h2 id="source-title">Source</h2>
<div class="scroll" id="lines" tabindex="0" role="region" aria-labelledby="source-title">
{_source(teller.source.excerpts, first)}
</div>
</section>
<section id="gradients" aria-labelledby="gradients-title">
<h2 id="gradients-title">Gradients so far</h2>
<div class="scroll" id="ledger" tabindex="0" role="region" aria-labelledby="gradients-title">
<table>
<thead><tr><th scope="col">node</th><th scope="col">d{_e(teller.root)}/d(node)</th></tr></thead>
<tbody id="entries">
{_entries(ledger)}
</tbody>
</table>
</div>
</section>
</main>
<footer hidden>{" ".join(f"<span><kbd>{keys}</kbd> {what}</span>" for keys, what in KEYS)}</footer>
<script type="application/json" id="data">{_data(scenes, stage, ledger)}</script>
<script>{script}</script>
</body>
</html>
"""


def _e(text: str) -> str:
    """Text as HTML holds it, in an element or an attribute."""
    return escape(visible(text))


def _source(excerpts: Iterable[Excerpt], first: Scene) -> str:
    marks = {mark.line: mark for mark in first.marks}
    pieces = []
    for excerpt in excerpts:
        pieces.append(f"<h3>{_e(excerpt.file)}</h3>\n<ol>")
        for line in excerpt.lines:
            if line is None:
                pieces.append('<li class="gap">...</li>')
                continue
            identifier, number, text = line
            mark = marks.get(identifier)
            here = ' class="here"' if mark else ""
            begin = f'<li id="{identifier}"{here}><span class="number">{number}</span>'
            pieces.append(f"{begin}<code>{_marked(text, mark)}</code></li>")
        pieces.append("</ol>")
    return "\n".join(pieces) if pieces else "<p>The source of these nodes is not to be had here.</p>"


def _marked(text: str, mark: Mark | None) -> str:
    if mark is None:
        return _code(text)
    units = text.encode("utf-16-le")
    before, inside, after = (
        part.decode("utf-16-le")
        for part in (units[: 2 * mark.begin], units[2 * mark.begin : 2 * mark.end], units[2 * mark.end :])
    )
    return f"{_code(before)}<mark>{_code(inside)}</mark>{_code(after)}"


def _code(text: str) -> str:
    return "\t".join(map(_e, text.split("\t")))


def _given(scene: Scene) -> str:
    return "".join(
        f"<div><dt>{_e(g.letter)}</dt><dd><span>{_e(g.what)}</span> <b>{_e(g.number)}</b></dd></div>"
        for g in scene.given
    )


def _row(row: Row) -> str:
    return f'<tr><th scope="row">{_e(row.input)}</th>' + "".join(f"<td>{_e(cell)}</td>" for cell in row[1:]) + "</tr>"


def _entries(ledger: Iterable[Entry]) -> str:
    return "\n".join(
        f'<tr><th scope="row"><button type="button">{_e(entry.label)}</button></th>'
        f"<td>{_e(text_at(entry.grad, 1))}</td></tr>"
        for entry in ledger
    )


def _data(scenes: Sequence[Scene], stage: Stage, ledger: Sequence[Entry]) -> str:
    """What the script shows, as JSON in ASCII in which no tag can end or begin."""
    data = {
        "scenes": [
            {
                "title": scene.title,
                "rule": scene.rule,
                "where": scene.where,
                "sentence": scene.sentence,
                "marks": scene.marks,
                "given": scene.given,
                "rows": scene.rows,
                "more": scene.more,
            }
            for scene in scenes
        ],
        "actors": {
            identifier: {"grad": actor.grad, "steps": actor.steps, "goto": actor.goto}
            for identifier, actor in stage.actors.items()
        },
        "fed": stage.fed,
        "ledger": [[entry.place, entry.grad, entry.goto] for entry in ledger],
    }
    text = json.dumps(data, separators=(",", ":"))
    for letter in "<>&":
        text = text.replace(letter, f"\\u{ord(letter):04x}")
    return text
