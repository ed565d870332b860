"""Pictures in DOT, the language of Graphviz. The text needs no program; laying it out does (`dot`, see `viz.files`)."""

from __future__ import annotations

from typing import Any

import graphviz

import microgrid as mg
from viz.picture import Cluster, Kind, Node, Picture
from viz.words import clipped, visible

__microgrid_machinery__ = True

RANKDIRS = ("LR", "TB", "RL", "BT")
FONT = "Helvetica,Arial,sans-serif"

# Each kind has a shape of its own beside its colours; dark text on these has a contrast above 12:1.
LOOKS: dict[Kind, dict[str, str]] = {
    "parameter": {"shape": "box", "style": "filled", "fillcolor": "#fff4d6", "color": "#6b4700"},
    "input": {"shape": "note", "style": "filled", "fillcolor": "#eef0f2", "color": "#4a5058"},
    "operation": {"shape": "box", "style": "filled,rounded", "fillcolor": "#e8f0fd", "color": "#1f478c"},
    "root": {"shape": "box", "style": "filled,rounded", "fillcolor": "#e2f4e4", "color": "#145723", "peripheries": "2"},
}
ALARM = {"color": "#9c0d22", "penwidth": "3"}

# In HTML-like labels too dot puts the node's id for `\N`, and one backslash for two; a lone `]` is an error to it.
HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\\": "\\\\", "]": "&#93;"})
RECORD = str.maketrans({**{sign: f"\\{sign}" for sign in '\\{}|<>"'}, "&": "&amp;"})  # `&` would begin an entity
PLAIN = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})


def direction(rankdir: Any) -> str:
    """The direction that was asked for.

    Raises
    ------
    ValueError
        If it is none.
    """
    if not isinstance(rankdir, str) or rankdir not in RANKDIRS:
        raise ValueError(f"rankdir={rankdir!r} is none of {', '.join(RANKDIRS)}, at {mg.sites.here()}")
    return str(rankdir)


def digraph(picture: Picture, rankdir: str, style: str | None, format: str = "svg") -> graphviz.Digraph:  # noqa: A002
    """The picture as a Digraph, in boxes, or in micrograd's records and circles.

    Raises
    ------
    ValueError
        For another style.
    """
    if not (style is None or (isinstance(style, str) and style in WRITERS)):
        raise ValueError(f"style={style!r} is neither None nor 'micrograd', at {mg.sites.here()}")
    drawn = graphviz.Digraph(format=format, graph_attr={"rankdir": rankdir})
    if picture.caption:
        drawn.attr("graph", label=_plain(picture.caption), fontname=FONT, fontsize="9.5", labeljust="l")
    WRITERS[style](picture, drawn)
    return drawn


def _boxes(picture: Picture, drawn: graphviz.Digraph) -> None:
    """One box a node."""
    drawn.attr("graph", nodesep="0.18", ranksep="0.45", ordering="in")
    drawn.attr("node", fontname=FONT, fontsize="11", fontcolor="#1b1f24", margin="0.07,0.04", height="0")
    drawn.attr("edge", color="#4d535b", arrowsize="0.7", fontname=FONT, fontsize="9.5", fontcolor="#1b1f24")
    depth = 0
    for deep, member in picture.within():
        for level in range(depth, deep, -1):
            drawn.body.append("\t" * level + "}\n")
        depth = deep
        if isinstance(member, Cluster):
            drawn.body.append("\t" * (deep + 1) + f"subgraph cluster_{member.id} {{\n")
            _frame(member, drawn, "\t" * (deep + 2))
            depth = deep + 1
        else:
            look = LOOKS[member.kind] | (ALARM if member.fault else {})
            drawn.node(member.id, _table(member), tooltip=_plain(member.site or member.title), **look)
    for level in range(depth, 0, -1):
        drawn.body.append("\t" * level + "}\n")
    for edge in picture.edges:
        text = _plain(edge.label) if edge.label else None
        drawn.edge(edge.source, edge.target, label=text)


def _frame(cluster: Cluster, drawn: graphviz.Digraph, indent: str) -> None:
    title = graphviz.quoting.quote(_plain(cluster.title))
    look = f'color="#a9b0b9" fillcolor="#f5f6f8" fontname="{FONT}" fontsize=9.5 label={title} labeljust=l'
    drawn.body.append(f'{indent}graph [{look} style="filled,rounded"]\n')


def _table(node: Node) -> str:
    """An HTML-like label: the title, then a row for each line, numbers flush right."""
    rows = [_wide(f"<B>{_html(node.title)}</B>")]
    rows += [_wide(_html(node.form))] if node.form else []
    rows += [
        f'<TR><TD ALIGN="LEFT">{what}&#160;</TD><TD ALIGN="RIGHT">{_html(text)}</TD></TR>'
        for what, text in (("data", node.data), ("grad", node.grad))
    ]
    rows += [_wide(f'<FONT COLOR="#9c0d22"><B>{_html(node.fault)}</B></FONT>')] if node.fault else []
    rows += [_wide(_html(node.note))] if node.note else []
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{"".join(rows)}</TABLE>>'


def _wide(cell: str) -> str:
    return f'<TR><TD COLSPAN="2">{cell}</TD></TR>'


def _circles(picture: Picture, drawn: graphviz.Digraph) -> None:
    """Micrograd's picture: a record of data and grad for each node, a circle for each operation."""
    for node in picture.nodes:
        fields = [_record(clipped(node.name))] if node.name else []
        fields += [_record(node.form)] if node.form else []
        fields += [f"data {_record(node.data)}", f"grad {_record(node.grad)}"]
        fields += [_record(text) for text in (node.fault, node.note) if text]
        drawn.node(node.id, f"{{ {' | '.join(fields)} }}", shape="record")
        if node.operation:
            drawn.node(f"{node.id}_op", _plain(node.operation))
            drawn.edge(f"{node.id}_op", node.id)
    operations = {node.id for node in picture.nodes if node.operation}
    for edge in picture.edges:
        text = _plain(edge.label) if edge.label else None
        target = f"{edge.target}_op" if edge.target in operations else edge.target
        drawn.edge(edge.source, target, label=text)


WRITERS = {None: _boxes, "micrograd": _circles}


def _html(text: str) -> str:
    return visible(text).translate(HTML)


def _record(text: str) -> str:
    return visible(text).translate(RECORD)


def _plain(text: str) -> str:
    # graphviz takes text between < and > for HTML, unless it is told.
    escaped: str = graphviz.nohtml(visible(text).translate(PLAIN))
    return escaped
