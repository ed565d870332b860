"""Graphs in DOT, the language of Graphviz. The text needs no program; laying it out does (`dot`, see `viz.save`)."""

from __future__ import annotations

from typing import Any

import graphviz

import microgrid as mg
from viz.picture import Graph, Kind, Node, clipped, graph

__microgrid_machinery__ = True

RANKDIRS = ("LR", "TB", "RL", "BT")
FONT = "Helvetica,Arial,sans-serif"

# Each kind has a shape of its own beside its colours; dark text on these has a contrast above 12:1.
LOOKS: dict[Kind, dict[str, str]] = {
    "parameter": {"shape": "box", "style": "filled", "fillcolor": "#fff3d1", "color": "#8a5a00"},
    "constant": {"shape": "note", "style": "filled", "fillcolor": "#f1f1f1", "color": "#555555"},
    "operation": {"shape": "box", "style": "filled,rounded", "fillcolor": "#e6effc", "color": "#27549b"},
    "root": {"shape": "box", "style": "filled,rounded", "fillcolor": "#e0f3e2", "color": "#1c6b2a", "peripheries": "2"},
}
ALARM = {"color": "#b00020", "penwidth": "3"}

# Control characters and the halves of surrogate pairs cannot stand in XML, and NUL ends a C string: each becomes a
# picture of itself, or the replacement character.
VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "␡",
    **dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], "\ufffd"),
}
# In HTML-like labels too dot puts the node's id for `\N`, and one backslash for two.
HTML = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\\": "\\\\"})
RECORD = str.maketrans({**{sign: f"\\{sign}" for sign in '\\{}|<>"'}, "&": "&amp;"})  # `&` would begin an entity
PLAIN = str.maketrans({"\\": "\\\\", '"': '\\"', "&": "&amp;"})


def draw_dot(
    root: mg.Node,
    format: str = "svg",  # noqa: A002 - micrograd's name
    rankdir: str = "LR",
    *,
    params: Any = None,
    style: str | None = None,
    max_nodes: int = 2000,
) -> graphviz.Digraph:
    """The graph that `root` was computed by, as a `graphviz.Digraph`, which notebooks show.

    A box is a node: its name and operation, its data, and its grad, which is `-` where no backward pass has been.
    Leaves that a gradient is found for are boxes with sharp corners, constant arrays sheets with a folded one,
    operations rounded boxes, the root a double one. Numbers that are not finite are said to be so in a thick border.

    Parameters
    ----------
    root : Value or Tensor
    format : str
        What `render()` of the Digraph writes: "svg", "png", "pdf", ...
    rankdir : {"LR", "TB", "RL", "BT"}
        From left to right, from top to bottom, ...
    params : Module or mapping of str to node, optional
        Names the leaves; see `viz.graph`.
    style : {None, "micrograd"}
        "micrograd" draws as micrograd does: records of data and grad, and a circle for each operation.
    max_nodes : int >= 1
        A graph of more nodes is refused.

    Returns
    -------
    graphviz.Digraph
        Its `source` is the text, the same on every run.

    Raises
    ------
    TypeError
        If `root` is no node.
    ValueError
        If there are more than `max_nodes` nodes; for an unknown format, rankdir or style.

    Notes
    -----
    Name, order and defaults of the first arguments are those of Karpathy's micrograd (2020).

    Examples
    --------
    >>> import microgrid as mg
    >>> a, b = mg.Value(2.0, name="a"), mg.Value(-3.0, name="b")
    >>> print(draw_dot(a * b, style="micrograd").source.expandtabs(4), end="")
    digraph {
        graph [rankdir=LR]
        n0 [label="{ a | data 2.0000 | grad - }" shape=record]
        n1 [label="{ b | data -3.0000 | grad - }" shape=record]
        n2 [label="{ data -6.0000 | grad - }" shape=record]
        n2_op [label="*"]
        n2_op -> n2
        n0 -> n2_op
        n1 -> n2_op
    }
    """
    if not isinstance(format, str) or format.lower() not in graphviz.FORMATS:
        raise ValueError(
            f"draw_dot: format={format!r} is none that Graphviz writes (svg, png, pdf, ...), at {mg.sites.here()}"
        )
    if rankdir not in RANKDIRS:
        raise ValueError(f"draw_dot: rankdir={rankdir!r} is none of {', '.join(RANKDIRS)}, at {mg.sites.here()}")
    if style not in WRITERS:
        raise ValueError(f"draw_dot: style={style!r} is neither None nor 'micrograd', at {mg.sites.here()}")
    picture = graph(root, params=params, max_nodes=max_nodes)
    digraph = graphviz.Digraph(format=format, graph_attr={"rankdir": rankdir})
    WRITERS[style](picture, digraph)
    return digraph


def _boxes(picture: Graph, digraph: graphviz.Digraph) -> None:
    """One box a node."""
    digraph.attr("graph", nodesep="0.18", ranksep="0.45", ordering="in")
    digraph.attr("node", fontname=FONT, fontsize="11", fontcolor="#1a1a1a", margin="0.07,0.04", height="0")
    digraph.attr("edge", color="#444444", arrowsize="0.7")
    for node in picture.nodes:
        look = LOOKS[node.kind] | (ALARM if node.fault else {})
        digraph.node(node.id, _table(node), tooltip=_plain(node.site or node.title), **look)
    for edge in picture.edges:
        digraph.edge(edge.source, edge.target)


def _table(node: Node) -> str:
    """An HTML-like label: the title, then a row for each line, numbers flush right."""
    rows = [_wide(f"<B>{_html(node.title)}</B>")]
    rows += [_wide(_html(node.form))] if node.form else []
    rows += [
        f'<TR><TD ALIGN="LEFT">{what}&#160;</TD><TD ALIGN="RIGHT">{_html(text)}</TD></TR>'
        for what, text in (("data", node.data), ("grad", node.grad))
    ]
    rows += [_wide(f'<FONT COLOR="#8c0019"><B>{_html(node.fault)}</B></FONT>')] if node.fault else []
    return f'<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">{"".join(rows)}</TABLE>>'


def _wide(cell: str) -> str:
    return f'<TR><TD COLSPAN="2">{cell}</TD></TR>'


def _circles(picture: Graph, digraph: graphviz.Digraph) -> None:
    """Micrograd's picture: a record of data and grad for each node, a circle for each operation."""
    for node in picture.nodes:
        fields = [_record(clipped(node.name))] if node.name else []
        fields += [_record(node.form)] if node.form else []
        fields += [f"data {_record(node.data)}", f"grad {_record(node.grad)}"]
        fields += [_record(node.fault)] if node.fault else []
        digraph.node(node.id, f"{{ {' | '.join(fields)} }}", shape="record")
        if node.operation:
            digraph.node(f"{node.id}_op", _plain(node.operation))
            digraph.edge(f"{node.id}_op", node.id)
    for edge in picture.edges:
        digraph.edge(edge.source, f"{edge.target}_op")


WRITERS = {None: _boxes, "micrograd": _circles}


def _html(text: str) -> str:
    return _visible(text).translate(HTML)


def _record(text: str) -> str:
    return _visible(text).translate(RECORD)


def _plain(text: str) -> str:
    # graphviz takes text between < and > for HTML, unless it is told.
    escaped: str = graphviz.nohtml(_visible(text).translate(PLAIN))
    return escaped


def _visible(text: str) -> str:
    return text.translate(VISIBLE)
