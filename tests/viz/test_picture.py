"""What is to be drawn, as pure data."""

import dataclasses

import pytest

import microgrid as mg
import nn
import viz
from viz.picture import Cluster, Node, Picture


def node(**said: str) -> Node:
    plain = {"id": "n7", "kind": "operation", "name": "", "operation": "", "data": "1.0000", "grad": "-", "form": "",
             "fault": "", "site": ""}  # fmt: skip
    return Node(**(plain | said))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "operation", "label", "title"),
    [
        ("", "", "%7", "%7"),
        ("w", "", "w", "w"),
        ("", "+", "%7", "+"),
        ("z", "w @ •", "z", "z = w @ •"),
        ("n" * 100, "exp", "n" * 47 + "…", "n" * 47 + "… = exp"),
    ],
)
def test_labels_and_titles(name, operation, label, title) -> None:
    drawn = node(name=name, operation=operation)
    assert (drawn.label, drawn.title) == (label, title)


def test_members_come_after_the_cluster_they_stand_in() -> None:
    clusters = (Cluster("c0", "", "MLP", ""), Cluster("c1", "a", "a", "c0"), Cluster("c2", "b", "b", "c0"))
    nodes = tuple(node(id=f"n{k}", cluster=c) for k, c in enumerate(("", "c1", "c2", "c0", "c1")))
    walk = [(depth, member.id) for depth, member in Picture(nodes, (), clusters).within()]
    assert walk == [(0, "c0"), (1, "c1"), (2, "n1"), (2, "n4"), (1, "c2"), (2, "n2"), (1, "n3"), (0, "n0")]


def test_a_graph_can_be_changed_by_making_another() -> None:
    """Pure data: dataclasses.replace gives a Graph that draws itself."""
    graph = viz.graph(mg.Value(2.0, name="x"))
    renamed = dataclasses.replace(graph, nodes=(dataclasses.replace(graph.nodes[0], name="renamed"),))
    assert isinstance(renamed, viz.Graph)
    assert ">renamed</text>" in renamed.svg()


def test_the_caption_counts_nodes() -> None:
    model = nn.scalar.MLP(2, [8, 1], rng=0)
    root = model([1.0, 2.0])
    graph = viz.graph(root, params=model, max_nodes=6)
    assert graph.caption.startswith(f"{len(mg.topological_order(root))} nodes drawn as {len(graph.nodes)}: ")
    assert viz.graph(root, params=model).caption == ""
