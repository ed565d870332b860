"""Graphs as DOT text: golden, and as dot takes it."""

import re
import xml.etree.ElementTree as ET
from pathlib import Path

import graphviz
import numpy as np
import pytest

import microgrid as mg
import nn
import viz

BOXES = """\
digraph {
    graph [rankdir=LR]
    graph [nodesep=0.18 ordering=in ranksep=0.45]
    node [fontcolor="#1b1f24" fontname="Helvetica,Arial,sans-serif" fontsize=11 height=0 margin="0.07,0.04"]
    edge [arrowsize=0.7 color="#4d535b" fontcolor="#1b1f24" fontname="Helvetica,Arial,sans-serif" fontsize=9.5]
    n0 [label=<TABLE a 2.0000 6.0000> color="#6b4700" fillcolor="#fff4d6" shape=box style=filled tooltip=a]
    n1 [label=<TABLE + 4.0000 3.0000> color="#1f478c" fillcolor="#e8f0fd" shape=box style="filled,rounded" tooltip="+"]
    n2 [label=<TABLE c = • * 3 12.0000 1.0000> color="#145723" fillcolor="#e2f4e4" peripheries=2 shape=box \
style="filled,rounded" tooltip="c = • * 3"]
    n0 -> n1
    n0 -> n1
    n1 -> n2
}
"""

BOX = """<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">\
<TR><TD COLSPAN="2"><B>a</B></TD></TR>\
<TR><TD ALIGN="LEFT">data&#160;</TD><TD ALIGN="RIGHT">2.0000</TD></TR>\
<TR><TD ALIGN="LEFT">grad&#160;</TD><TD ALIGN="RIGHT">-</TD></TR></TABLE>>"""

CIRCLES = """\
digraph {
    graph [rankdir=TB]
    n0 [label="{ a | data 2.0000 | grad 6.0000 }" shape=record]
    n1 [label="{ data 4.0000 | grad 3.0000 }" shape=record]
    n1_op [label="+"]
    n1_op -> n1
    n2 [label="{ c | data 12.0000 | grad 1.0000 }" shape=record]
    n2_op [label="• * 3"]
    n2_op -> n2
    n0 -> n1_op
    n0 -> n1_op
    n1 -> n2_op
}
"""


def small() -> mg.Value:
    with mg.record_sites(False):
        a = mg.Value(2.0, name="a")
        c = (a + a) * 3
    c.name = "c"
    c.backward()
    return c


def test_golden_boxes() -> None:
    def brief(label: re.Match[str]) -> str:
        title, _, data, _, grad = ET.fromstring(label[0][1:-1]).itertext()
        return f"<TABLE {title} {data} {grad}>"

    source = viz.draw_dot(small()).source.expandtabs(4)
    assert re.sub(r"<<TABLE.*?</TABLE>>", brief, source) == BOXES


def test_golden_label() -> None:
    assert BOX in viz.draw_dot(mg.Value(2.0, name="a")).source


def test_golden_circles() -> None:
    assert viz.draw_dot(small(), rankdir="TB", style="micrograd").source.expandtabs(4) == CIRCLES


def test_it_is_what_micrograd_users_get() -> None:
    """draw_dot(root, format, rankdir) by position, a graphviz.Digraph of that format."""
    digraph = viz.draw_dot(mg.Value(1.0), "png", "TB")
    assert isinstance(digraph, graphviz.Digraph)
    assert (digraph.format, digraph.graph_attr["rankdir"]) == ("png", "TB")


def test_kinds_differ_in_shape_and_not_in_colour_alone() -> None:
    X, w = mg.Tensor([1.0, 2.0]), mg.Tensor([3.0, 4.0], requires_grad=True)
    source = viz.draw_dot((X * w).sum()).source
    looks = re.findall(r"shape=\w+|style=\S+|peripheries=\d", source)
    assert looks == [
        "shape=note", "style=filled", "shape=box", "style=filled", "shape=box", 'style="filled,rounded"',
        "peripheries=2", "shape=box", 'style="filled,rounded"',
    ]  # fmt: skip


@pytest.mark.parametrize("style", [None, "micrograd"])
def test_faults_are_said_in_words(style) -> None:
    """A border may be missed, a word not."""
    source = viz.draw_dot(mg.log(mg.Value(0.0)), style=style).source
    assert "data not finite" in source
    assert (style is None) == ("penwidth=3" in source)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rankdir": "left"}, "rankdir='left' is none of LR, TB"),
        ({"style": "baroque"}, "style='baroque' is neither None nor 'micrograd'"),
        ({"format": "zzz"}, r"draw_dot: format='zzz' is none that Graphviz writes .*, at test_dot.py:"),
        ({"format": None}, "draw_dot: format=None is none that"),
    ],
)
def test_unknown_choices_are_refused(arguments, text) -> None:
    with pytest.raises(ValueError, match=text):
        viz.draw_dot(mg.Value(1.0), **arguments)


def laid_out(digraph: graphviz.Digraph, path: Path) -> list[str]:
    """What is written in the SVG that `dot` makes, text by text."""
    viz.save(digraph, path)
    tree = ET.parse(path)
    texts = tree.iter("{http://www.w3.org/2000/svg}text")
    return [" ".join("".join(text.itertext()).split()) for text in texts]  # dot writes no-break spaces


@pytest.mark.dot
def test_the_picture_shows_tensors(tmp_path: Path) -> None:
    w = mg.Tensor(np.ones((2, 3)), requires_grad=True, name="w")
    texts = laid_out(viz.draw_dot((w * 2).sum()), tmp_path / "w.svg")
    assert {"w", "(2, 3) float64", "• * 2", "sum", "12.0000", "-"} <= set(texts)


def test_clusters_are_subgraphs_around_their_nodes() -> None:
    """Braces match, each node stands in the innermost cluster around it, and dot draws their titles."""
    model = nn.scalar.MLP(1, [2, 1], rng=0)
    graph = viz.graph(model([mg.Value(1.0)]), params=model)
    depth, stack, found = 0, [""], {}
    for line in map(str.strip, graph.dot().splitlines()):
        if opened := re.match(r"subgraph cluster_(c\d+) {", line):
            stack.append(opened[1])
        elif line == "}" and len(stack) > 1:
            stack.pop()
        elif node := re.match(r"(n\d+) \[", line):
            found[node[1]] = stack[-1]
        depth += line.count("{") - line.count("}")
    assert depth == 0
    assert found == {node.id: node.cluster for node in graph.nodes}
    assert {cluster.path for cluster in graph.clusters} >= {"layers.0.neurons.1", "layers.1"}


@pytest.mark.dot
def test_dot_takes_clusters_captions_and_labels(tmp_path: Path) -> None:
    model = nn.scalar.MLP(2, [8, 2, 1], rng=0)
    root = model([mg.Value(1.0), mg.Value(2.0)])
    picture = viz.draw_dot(root, params=model, max_nodes=30, labels="local")
    texts = " ".join(laid_out(picture, tmp_path / "x.svg"))
    assert "nodes drawn as" in texts
    assert "layers.2.neurons.0" in texts
