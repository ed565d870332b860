"""Pictures as SVG, laid out by `viz.layout`: no program, no font and no script is needed, and the bytes are the same.

Kinds differ in shape as well as in colour, texts contrast with what they stand on by 7 : 1 and more, in light and in
dark surroundings. Widths come from a table; `textLength` holds every text to its place whatever font draws it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

from viz.glyphs import FAMILY, width
from viz.layout import PORT, Layout, Pass, Rectangle, layout
from viz.picture import Cluster, Edge, Node, Picture
from viz.spacing import Padding
from viz.words import counted, visible

__microgrid_machinery__ = True

SIZE, LINE = 11.0, 14.5  # of the font, and from one line to the next
SMALL = 9.5
MARGIN = 14.0
LONG = 200  # letters of a caption for which the picture is not made broader
PAD_X, PAD_Y = 9.0, 6.5  # inside a box
BAR, FOLD = 4.0, 8.0  # the bar of a parameter, the corner of an input
TITLE = 18.0  # height of a cluster's title
ARROW = 6.0
XML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})


class Palette(NamedTuple):
    """Colours; of each kind what fills its box, and what draws its outline."""

    paper: str
    ink: str
    edge: str
    group: str
    frame: str
    alarm: str
    kinds: dict[str, tuple[str, str]]


LIGHT = Palette(
    paper="#ffffff", ink="#1b1f24", edge="#4d535b", group="#f5f6f8", frame="#a9b0b9", alarm="#9c0d22",
    kinds={
        "parameter": ("#fff4d6", "#6b4700"), "input": ("#eef0f2", "#4a5058"),
        "operation": ("#e8f0fd", "#1f478c"), "root": ("#e2f4e4", "#145723"),
    },
)  # fmt: skip
DARK = Palette(
    paper="#14171b", ink="#f1f3f5", edge="#b4bac2", group="#1b1f25", frame="#565e69", alarm="#ffb3bc",
    kinds={
        "parameter": ("#3a2f10", "#f2c55c"), "input": ("#2b3036", "#c0c6ce"),
        "operation": ("#1b2a48", "#a3c3ff"), "root": ("#15331c", "#8fd99c"),
    },
)  # fmt: skip


def escaped(text: str) -> str:
    """Text as an element of XML or HTML holds it. Attributes never hold a text of the user's."""
    return visible(text).translate(XML)


def written(picture: Picture, rankdir: str = "LR") -> str:
    """The picture as an SVG document, in which `n3` is the id of node 3, and `c0` of the first cluster.

    Examples
    --------
    >>> import microgrid as mg
    >>> import viz
    >>> drawing = written(viz.graph(mg.Value(2.0, name="x") * 3))
    >>> drawing.count('class="node')
    2
    """
    return "\n".join(_Drawing(picture, rankdir).lines()) + "\n"


class Label(NamedTuple):
    """What a box says, measured."""

    title: list[tuple[str, bool]]  # pieces and whether they are bold
    rows: list[tuple[str, str]]  # a word on the left, a number on the right
    width: float
    height: float

    def grown(self, width: float, height: float) -> Label:
        """The same, at least as large as that."""
        return self._replace(width=max(self.width, width), height=max(self.height, height))


def label(node: Node) -> Label:
    """Lines of a box, and how large they make it."""
    title = [(visible(node.label), True)] if node.name or not node.operation else []
    if node.operation:
        title.append(((" = " if title else "") + visible(node.operation), not title))
    rows = [("", visible(node.form))] if node.form else []
    rows += [("data", visible(node.data)), ("grad", visible(node.grad))]
    rows += [(visible(node.fault), "")] if node.fault else []
    rows += [("", visible(node.note))] if node.note else []
    wide = [sum(width(text, SIZE, bold) for text, bold in title)]
    wide += [width(word, SIZE, word not in ("data", "grad")) + width(text, SIZE) + (8 if word and text else 0)
             for word, text in rows]  # fmt: skip
    extra = {"parameter": BAR, "input": FOLD}.get(node.kind, 0.0)
    return Label(title, rows, round(max(wide) + 2 * PAD_X + extra, 1), LINE * (1 + len(rows)) + 2 * PAD_Y - 2)


class _Drawing:
    """A picture, its layout, and the way it is turned."""

    def __init__(self, picture: Picture, rankdir: str) -> None:
        self.picture = picture
        self.upright = rankdir in ("TB", "BT")
        self.reversed = rankdir in ("RL", "BT")
        self.inner = {node.id for node in picture.nodes if node.cluster}
        self.labels = [label(node) for node in picture.nodes]
        longest = max((width(visible(edge.label), SMALL) for edge in picture.edges), default=0.0)
        self.port = PORT if not longest else longest + 10 if self.upright else LINE
        self.layout = self._laid_out()
        length, breadth = self.layout.length, self.layout.breadth
        caption = width(picture.caption, SMALL) if len(picture.caption) < LONG else 0.0
        self.width = max(breadth if self.upright else length, caption) + 2 * MARGIN
        self.height = (length if self.upright else breadth) + 2 * MARGIN + (LINE if picture.caption else 0)

    def _laid_out(self) -> Layout:
        place = {node.id: i for i, node in enumerate(self.picture.nodes)}
        inside = {cluster.id: i for i, cluster in enumerate(self.picture.clusters)}
        arriving = self.picture.inputs()
        for i, node in enumerate(self.picture.nodes):  # with labels on edges boxes make room for those that arrive
            room, box = self.port * len(arriving[node.id]) if self.port > PORT else 0.0, self.labels[i]
            self.labels[i] = box.grown(room, 0.0) if self.upright else box.grown(0.0, room)
        sizes = [(x.height, x.width) if self.upright else (x.width, x.height) for x in self.labels]
        padding = Padding(10.0, 10.0, TITLE + 4, 10.0)
        if self.upright:
            padding = Padding(TITLE + 4, 10.0, 10.0, 10.0)
        if self.upright and self.reversed:
            padding = Padding(10.0, TITLE + 4, 10.0, 10.0)
        return layout(
            sizes,
            [(place[edge.source], place[edge.target]) for edge in self.picture.edges],
            [inside.get(node.cluster, -1) for node in self.picture.nodes],
            [inside.get(cluster.parent, -1) for cluster in self.picture.clusters],
            padding,
            [self._room(edge.label) for edge in self.picture.edges],
            self.port,
        )

    def _room(self, text: str) -> float:
        return 0.0 if not text else LINE + ARROW if self.upright else width(visible(text), SMALL) + ARROW + 4

    # ------------------------------------------------------------------ turning

    def at(self, along: float, across: float) -> tuple[float, float]:
        """A point of the layout as x and y."""
        along = self.layout.length - along if self.reversed else along
        x, y = (across, along) if self.upright else (along, across)
        return x + MARGIN, y + MARGIN

    def box(self, r: Rectangle) -> tuple[float, float, float, float]:
        """x, y, width and height."""
        (x, y), (x_end, y_end) = self.at(r.along, r.across), self.at(r.along_end, r.across_end)
        return min(x, x_end), min(y, y_end), abs(x_end - x), abs(y_end - y)

    # ------------------------------------------------------------------ writing

    def lines(self) -> Iterator[str]:
        """The document, line by line."""
        nodes, edges = counted(len(self.picture.nodes), "node"), counted(len(self.picture.edges), "edge")
        wide, high = _n(self.width), _n(self.height)
        yield (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}" viewBox="0 0 {wide} {high}" '
            'class="microgrid" xml:space="preserve" role="img" '
            f'aria-label="Computation graph of {nodes} and {edges}">'
        )
        roots = ", ".join(node.title for node in self.picture.nodes if node.kind == "root")
        yield f"<title>{escaped(f'Computation graph of {roots}' if roots else 'Computation graph')}</title>"
        yield f"<desc>{escaped(described(self.picture))}</desc>"
        yield f"<metadata>{escaped(json.dumps(self.picture.to_dict(), separators=(',', ':')))}</metadata>"
        yield f"<style>{STYLE}</style>"
        yield f'<rect class="paper" width="{wide}" height="{high}"/>'
        for cluster, place in zip(self.picture.clusters, self.layout.clusters, strict=True):
            yield self._frame(cluster, place)
        for edge, route in zip(self.picture.edges, self.layout.routes, strict=True):
            yield self._edge(edge, route)
        for cluster, place in zip(self.picture.clusters, self.layout.clusters, strict=True):
            yield self._heading(cluster, place)
        for edge, route in zip(self.picture.edges, self.layout.routes, strict=True):
            if edge.label:  # over all edges
                yield self._weight(edge, route[-1])
        for node, text, place in zip(self.picture.nodes, self.labels, self.layout.nodes, strict=True):
            yield from self._node(node, text, place)
        if self.picture.caption:
            caption = _cut(visible(self.picture.caption), SMALL, self.width - 2 * MARGIN)
            yield _text(MARGIN, self.height - MARGIN + 4, caption, SMALL, "caption")
        yield "</svg>"

    def _frame(self, cluster: Cluster, place: Rectangle) -> str:
        x, y, wide, high = map(_n, self.box(place))
        return f'<rect class="group" id="{cluster.id}" x="{x}" y="{y}" width="{wide}" height="{high}" rx="8"/>'

    def _heading(self, cluster: Cluster, place: Rectangle) -> str:
        x, y, wide, _ = self.box(place)
        return _text(x + 9, y + 14, _cut(visible(cluster.title), SMALL, wide - 18), SMALL, "frame")

    def _edge(self, edge: Edge, route: list[Pass]) -> str:
        """A curve that stays in the gaps between ranks, and straight where it passes one; an arrow."""
        route = [*route[:-1], route[-1]._replace(end=route[-1].end - ARROW)]
        if route[-1].begin > route[-1].end:
            route[-1] = route[-1]._replace(begin=route[-1].end)
        path = ["M" + self._point(route[0].begin, route[0].across)]
        for a, b in pairwise(route):
            middle = (a.end + b.begin) / 2
            if a.end - a.begin > 0.05:
                path.append("L" + self._point(a.end, a.across))
            path.append(
                f"C{self._point(middle, a.across)} {self._point(middle, b.across)} {self._point(b.begin, b.across)}"
            )
        last = route[-1]
        if last.end - last.begin > 0.05:
            path.append("L" + self._point(last.end, last.across))
        tip, wing = last.end + ARROW, ARROW * 0.42
        head = " ".join(
            self._point(along, last.across + aside)
            for along, aside in ((tip, 0), (tip - ARROW - 1, wing), (tip - ARROW - 1, -wing))
        )
        return f'<g class="edge {edge.source} {edge.target}"><path d="{"".join(path)}"/><polygon points="{head}"/></g>'

    def _weight(self, edge: Edge, last: Pass) -> str:
        """The label of an edge, before its arrow, on what is under it."""
        text = visible(edge.label)
        x, y = self.at(last.end - ARROW - (3 if self.upright else 1), last.across)
        long = 0.0 if self.reversed else width(text, SMALL)
        x, y = (x + 4, y + (7 if self.reversed else 0)) if self.upright else (x - long, y - 2.5)
        written = _text(x, y, text, SMALL, "weight inner" if edge.target in self.inner else "weight")
        return f'<g class="edge {edge.source} {edge.target}">{written}</g>'

    def _point(self, along: float, across: float) -> str:
        x, y = self.at(along, across)
        return f"{_n(x)},{_n(y)}"

    def _node(self, node: Node, text: Label, place: Rectangle) -> Iterator[str]:
        x, y, wide, high = self.box(place)
        alarm = " alarm" if node.fault else ""
        yield f'<g class="node {node.kind}{alarm}" id="{node.id}">'
        yield f"<title>{escaped(hint(node))}</title>"
        yield from _outline(node, x, y, wide, high)
        left, right = x + PAD_X, x + wide - PAD_X
        if node.kind == "parameter":
            left += BAR
        if node.kind == "input":
            right -= FOLD / 2
        baseline = y + (high - LINE * (1 + len(text.rows)) + 2) / 2 + 10
        at = (left + right) / 2 - sum(width(piece, SIZE, bold) for piece, bold in text.title) / 2
        for piece, bold in text.title:
            yield _text(at, baseline, piece, SIZE, "name" if bold else "", bold)
            at += width(piece, SIZE, bold)
        for word, value in text.rows:
            baseline += LINE
            if word and value:
                yield _text(left, baseline, word, SIZE, "word")
                yield _text(right - width(value, SIZE), baseline, value, SIZE)
            else:
                bold = bool(word)
                shown = word or value
                yield _text((left + right - width(shown, SIZE, bold)) / 2, baseline, shown, SIZE,
                            "fault" if bold else "", bold)  # fmt: skip
        yield "</g>"


def _outline(node: Node, x: float, y: float, wide: float, high: float) -> Iterator[str]:
    """The shape of a kind; of several nodes, a second sheet shows behind it."""
    rounded = {"operation": 7, "root": 7}.get(node.kind, 0)
    size = f'width="{_n(wide)}" height="{_n(high)}" rx="{rounded}"'
    if node.note:
        yield f'<rect class="sheet" x="{_n(x + 3)}" y="{_n(y + 3)}" {size}/>'
    if node.kind == "input":
        fold_x, fold_y = x + wide - FOLD, y + FOLD
        yield (
            f'<path class="box" d="M{_n(x)},{_n(y)}H{_n(fold_x)}L{_n(x + wide)},{_n(fold_y)}V{_n(y + high)}H{_n(x)}Z"/>'
            f'<path class="line" d="M{_n(fold_x)},{_n(y)}V{_n(fold_y)}H{_n(x + wide)}"/>'
        )
        return
    yield f'<rect class="box" x="{_n(x)}" y="{_n(y)}" {size}/>'
    if node.kind == "root":
        yield (
            f'<rect class="line" x="{_n(x + 2.5)}" y="{_n(y + 2.5)}" width="{_n(wide - 5)}" height="{_n(high - 5)}" '
            f'rx="{rounded - 2}"/>'
        )
    if node.kind == "parameter":
        yield f'<rect class="bar" x="{_n(x)}" y="{_n(y)}" width="{_n(BAR)}" height="{_n(high)}"/>'


def _text(x: float, y: float, text: str, size: float, kind: str = "", bold: bool = False) -> str:
    """A text that begins at x, exactly as wide as the table says."""
    length = width(text, size, bold)
    held = f' textLength="{_n(length)}" lengthAdjust="spacingAndGlyphs"' if length else ""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{_n(x)}" y="{_n(y)}"{held}>{escaped(text)}</text>'


def _cut(text: str, size: float, room: float) -> str:
    """As much of a text as there is room for."""
    if width(text, size) <= room:
        return text
    while text and width(text + "…", size) > room:
        text = text[:-1]
    return text and text + "…"


def _n(x: float) -> str:
    """A coordinate, to a tenth."""
    text = f"{x:.1f}"
    return "0" if text == "-0.0" else text.removesuffix(".0")


def hint(node: Node) -> str:
    """All that is known of a node, in one line; shown when pointing at it."""
    parts = [node.title, node.form, f"data {node.data}", f"grad {node.grad}", node.fault, node.note, node.site]
    return ", ".join(filter(None, parts))


def described(picture: Picture) -> str:
    """What the picture shows, for those who hear it."""
    kinds = [node.kind for node in picture.nodes]
    counts = [counted(kinds.count(kind), kind) for kind in dict.fromkeys(kinds)]
    return f"{counted(len(kinds), 'node')} ({', '.join(counts)}). {picture.caption}".strip()


def _rules(palette: Palette) -> str:
    """The style sheet of one palette. All selectors begin with the class of the picture: pages hold other things."""
    rules = [
        f".microgrid .paper{{fill:{palette.paper}}}",
        f".microgrid text{{fill:{palette.ink}}}",
        f".microgrid .edge path{{stroke:{palette.edge}}}",
        f".microgrid .edge polygon{{fill:{palette.edge}}}",
        f".microgrid .group{{fill:{palette.group};stroke:{palette.frame}}}",
        f".microgrid .frame{{stroke:{palette.group}}}",
        f".microgrid .weight{{stroke:{palette.paper}}}",
        f".microgrid .inner{{stroke:{palette.group}}}",
    ]
    for kind, (fill, line) in palette.kinds.items():
        rules.append(f".microgrid .{kind} .box,.microgrid .{kind} .sheet{{fill:{fill};stroke:{line}}}")
        rules.append(f".microgrid .{kind} .line{{stroke:{line}}}")
        rules.append(f".microgrid .{kind} .bar{{fill:{line}}}")
    rules.append(f".microgrid .alarm .box{{stroke:{palette.alarm}}}")
    rules.append(f".microgrid .fault{{fill:{palette.alarm}}}")
    return "".join(rules)


STYLE = (
    f".microgrid text{{font-family:{FAMILY};font-size:{SIZE:g}px;white-space:pre}}"
    ".microgrid .name,.microgrid .fault{font-weight:bold}"
    f".microgrid .frame,.microgrid .caption,.microgrid .weight{{font-size:{SMALL:g}px}}"
    ".microgrid .frame,.microgrid .weight{paint-order:stroke;stroke-width:3}"  # a halo, where an edge passes
    ".microgrid .edge path,.microgrid .line{fill:none}"
    ".microgrid .box,.microgrid .line,.microgrid .sheet,.microgrid .edge path{stroke-width:1.1}"
    ".microgrid .alarm .box{stroke-width:3}"
    f"{_rules(LIGHT)}@media(prefers-color-scheme:dark){{{_rules(DARK)}}}"
)
