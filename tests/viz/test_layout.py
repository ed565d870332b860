"""The layout: edges go forward and around boxes, boxes and clusters do not overlap, nothing depends on luck."""

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from viz.layout import PADDING, Layout, Rectangle, layout

SIZE = (60.0, 30.0)


@st.composite
def graphs(draw):
    """Nodes of various sizes, edges forward, clusters nested in clusters."""
    count = draw(st.integers(1, 24))
    sizes = [(float(draw(st.integers(20, 120))), float(draw(st.integers(15, 60)))) for _ in range(count)]
    edges = [(draw(st.integers(0, v - 1)), v) for v in range(1, count) for _ in range(draw(st.integers(0, 3)))]
    clusters = draw(st.integers(0, 5))
    around = [draw(st.integers(-1, c - 1)) for c in range(clusters)]
    cluster = [draw(st.integers(-1, clusters - 1)) for _ in range(count)]
    return sizes, edges, cluster, around


def overlap(a: Rectangle, b: Rectangle, apart: float = 0.0) -> bool:
    return (
        a.along < b.along_end + apart
        and b.along < a.along_end + apart
        and a.across < b.across_end + apart
        and b.across < a.across_end + apart
    )


def inside(a: Rectangle, b: Rectangle) -> bool:
    slack = 1e-6
    return (
        a.along >= b.along - slack
        and a.along_end <= b.along_end + slack
        and a.across >= b.across - slack
        and a.across_end <= b.across_end + slack
    )


def check(drawn: Layout, sizes, edges, cluster, around) -> None:
    nodes, clusters = drawn.nodes, drawn.clusters
    for box, (length, breadth) in zip(nodes, sizes, strict=True):
        assert box.along_end - box.along == pytest.approx(length)
        assert box.across_end - box.across == pytest.approx(breadth)
        assert inside(box, Rectangle(0.0, 0.0, drawn.length, drawn.breadth))
    for i, a in enumerate(nodes):
        assert not any(overlap(a, b, 5.0) for b in nodes[:i])
    around_of = []
    for outer in around:
        around_of.append({outer, *(around_of[outer] if outer >= 0 else ())} - {-1})
    used = [any(c == k or k in around_of[c] for c in cluster if c >= 0) for k in range(len(around))]
    for k, box in enumerate(clusters):
        if not used[k]:
            continue
        for i, c in enumerate(cluster):
            within = c >= 0 and (c == k or k in around_of[c])
            assert inside(nodes[i], box) if within else not overlap(nodes[i], box)
        for j in range(k):
            if used[j]:
                assert inside(box, clusters[j]) if j in around_of[k] else not overlap(box, clusters[j])
    for (u, v), route in zip(edges, drawn.routes, strict=True):
        assert route[0].begin == pytest.approx(nodes[u].along_end)
        assert route[-1].end == pytest.approx(nodes[v].along)
        assert nodes[v].across <= route[-1].across <= nodes[v].across_end
        ends = [x for piece in route for x in (piece.begin, piece.end)]
        assert all(a <= b + 1e-6 for a, b in pairwise(ends))  # forward
        for piece in route:  # straight pieces pass no box; curves lie between the ranks, where there are none
            line = Rectangle(piece.begin, piece.across - 0.5, piece.end, piece.across + 0.5)
            assert not [i for i, box in enumerate(nodes) if i not in (u, v) and overlap(line, box)]
        for a, b in pairwise(route):
            gap = Rectangle(a.end + 1e-6, min(a.across, b.across), b.begin - 1e-6, max(a.across, b.across))
            assert not [box for box in nodes if overlap(gap, box)]


@settings(max_examples=150)
@given(graphs())
def test_nothing_overlaps_and_edges_pass_no_box(drawn) -> None:
    """For any graph and any clusters, also such as no calls of modules could be."""
    check(layout(*drawn), *drawn)


@given(graphs())
@settings(max_examples=20)
def test_it_is_the_same_every_time(drawn) -> None:
    assert layout(*drawn) == layout(*drawn)


def test_nothing_is_a_picture_of_no_size() -> None:
    drawn = layout([], [])
    assert (drawn.nodes, drawn.routes, drawn.length, drawn.breadth) == ([], [], 0.0, 0.0)


def test_a_chain_is_a_straight_line() -> None:
    """A leaf beside it does not bend it."""
    drawn = layout([SIZE] * 6, [(0, 1), (1, 2), (2, 3), (3, 5), (4, 3)])
    middles = {round((box.across + box.across_end) / 2, 1) for box in drawn.nodes[:4]}
    assert len(middles) == 1


def test_a_binary_tree_has_no_crossings() -> None:
    """The leaves come in an order that says nothing about the tree."""
    leaves = list(range(16))
    np.random.default_rng(3).shuffle(leaves)
    edges, layer, number = [], leaves, 16
    while len(layer) > 1:
        above = []
        for a, b in zip(layer[::2], layer[1::2], strict=True):
            edges += [(a, number), (b, number)]
            above.append(number)
            number += 1
        layer = above
    assert layout([SIZE] * number, edges).crossings == 0


def test_two_crossing_edges_are_uncrossed() -> None:
    assert layout([SIZE] * 4, [(0, 3), (1, 2)]).crossings == 0
    assert layout([SIZE] * 4, [(0, 2), (0, 3), (1, 2), (1, 3)]).crossings == 1  # which nobody can


def test_clusters_in_a_chain_stand_in_a_row() -> None:
    """What reads a cluster lies behind all of it, though one of its own leaves could stand beside."""
    edges = [(0, 2), (1, 2), (2, 4), (3, 4)]  # leaves 0 and 1 to 2; 2 and the leaf 3 to 4
    drawn = layout([SIZE] * 5, edges, [0, 0, 0, 1, 1], [-1, -1])
    assert drawn.clusters[0].along_end < drawn.clusters[1].along


def test_clusters_leave_room_for_their_titles() -> None:
    drawn = layout([SIZE], [], [0], [-1])
    assert drawn.nodes[0].across - drawn.clusters[0].across == PADDING.above


def test_labels_find_room() -> None:
    plain, labelled = (layout([SIZE] * 2, [(0, 1)], room=room) for room in ([0.0], [50.0]))
    assert labelled.length - plain.length == pytest.approx(50.0)
    last = labelled.routes[0][-1]
    assert last.end - last.begin == pytest.approx(50.0)


def test_arrows_that_arrive_at_one_box_arrive_apart() -> None:
    drawn = layout([SIZE] * 4, [(0, 3), (1, 3), (2, 3), (0, 3)])
    arrivals = sorted(route[-1].across for route in drawn.routes)
    assert min(np.diff(arrivals)) > 5.0


def test_a_long_chain_and_a_broad_rank() -> None:
    """Nothing is recursive, and nothing is quadratic in the ranks."""
    count = 20_000
    assert layout([SIZE] * count, [(k, k + 1) for k in range(count - 1)]).length > count * 60
    assert layout([SIZE] * 2001, [(k, 2000) for k in range(2000)]).crossings == 0
