"""Where boxes and edges go: a layered layout, after Sugiyama, Tagawa and Toda (1981), in plain Python.

Nodes stand in ranks, each after its inputs. An edge that passes ranks takes a place in each (a *bend*); edges of one
source share theirs. Sweeps of barycentres, then exchanges of neighbours, order each rank so that few edges cross; a
cluster's members stay together in every rank, and two clusters lie in one order wherever they meet. Then places are
moved towards their neighbours as far as distances allow.

Coordinates are *along* the ranks (from inputs to results) and *across* them; the writers turn them. Nothing is random
and nothing recursive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from viz.ordering import ordered
from viz.ranks import Grid
from viz.spacing import Padding, across

__microgrid_machinery__ = True

NARROW, BROAD = 30.0, 90.0  # gaps between ranks: the steeper the edges, the broader
PORT = 11.0  # between two arrows that arrive at one box
PADDING = Padding(10.0, 10.0, 24.0, 10.0)


class Rectangle(NamedTuple):
    """A box: where it begins and ends."""

    along: float
    across: float
    along_end: float
    across_end: float


class Pass(NamedTuple):
    """A straight piece of an edge, along the ranks; between two pieces it curves."""

    begin: float
    end: float
    across: float


@dataclass(frozen=True)
class Layout:
    """What lies where.

    Attributes
    ----------
    nodes : list of Rectangle
    routes : list of list of Pass
        For each edge, from the end of its source to the beginning of its target.
    clusters : list of Rectangle
    length, breadth : float
        Of the whole.
    crossings : int
        Of edges between neighbouring ranks.
    """

    nodes: list[Rectangle]
    routes: list[list[Pass]]
    clusters: list[Rectangle]
    length: float
    breadth: float
    crossings: int


def layout(
    sizes: Sequence[tuple[float, float]],
    edges: Sequence[tuple[int, int]],
    cluster: Sequence[int] = (),
    around: Sequence[int] = (),
    padding: Padding = PADDING,
    room: Sequence[float] = (),
    port: float = PORT,
) -> Layout:
    """Place boxes so that each edge goes forward.

    Parameters
    ----------
    sizes : sequence of (along, across)
        Of the nodes, each of which comes after those it has edges from.
    edges : sequence of (source, target)
    cluster : sequence of int
        Innermost cluster of each node; -1 for none.
    around : sequence of int
        The cluster around each cluster, which comes before it; -1 for none.
    padding : Padding
    room : sequence of float
        How far each edge is to be straight before its target: for a label.
    port : float
        Between two arrows that arrive at one box, if it is broad enough.
    """
    grid = Grid(sizes, edges, list(cluster) or [-1] * len(sizes), list(around))
    crossings = ordered(grid)
    return _placed(grid, across(grid, padding), padding, crossings, list(room) or [0.0] * len(edges), port)


def _placed(grid: Grid, y: list[float], padding: Padding, crossings: int, room: Sequence[float], port: float) -> Layout:
    """Coordinates from zero on: ranks get their widths, clusters their borders, edges their routes."""
    arrivals = _arrivals(grid, y, port)
    nested = _nested(grid)
    begin, end = _columns(grid, y, padding, room, nested)
    clusters = _borders(grid, y, begin, end, padding, nested)
    boxes = []
    for item, (length, breadth) in enumerate(grid.sizes):
        middle = (begin[grid.rank[item]] + end[grid.rank[item]]) / 2
        boxes.append(Rectangle(middle - length / 2, y[item] - breadth / 2, middle + length / 2, y[item] + breadth / 2))
    routes = []
    for e, items in enumerate(grid.chain):
        u, v = items[0], items[-1]
        route = [Pass(boxes[u].along_end, end[grid.rank[u]], y[u])]
        route += [Pass(begin[grid.rank[x]], end[grid.rank[x]], y[x]) for x in items[1:-1]]
        route.append(Pass(begin[grid.rank[v]] - room[e], boxes[v].along, arrivals[e]))
        routes.append(route)
    solid = [*boxes, *clusters] or [Rectangle(0.0, 0.0, 0.0, 0.0)]
    left, up = min(r.along for r in solid), min([*(r.across for r in solid), *y])
    right, down = max(r.along_end for r in solid), max([*(r.across_end for r in solid), *y])

    def moved(r: Rectangle) -> Rectangle:
        return Rectangle(r.along - left, r.across - up, r.along_end - left, r.across_end - up)

    return Layout(
        [moved(box) for box in boxes],
        [[Pass(p.begin - left, p.end - left, p.across - up) for p in route] for route in routes],
        [moved(box) for box in clusters],
        right - left,
        down - up,
        crossings,
    )


def _arrivals(grid: Grid, y: list[float], port: float) -> list[float]:
    """Where each edge arrives at its target: in the order in which they come, apart if there is room."""
    into: list[list[int]] = [[] for _ in range(grid.count)]
    for e, items in enumerate(grid.chain):
        into[items[-1]].append(e)
    places = [0.0] * len(grid.chain)
    for v, arriving in enumerate(into):
        arriving.sort(key=lambda e: (y[grid.chain[e][-2]], e))
        step = min(port, 0.8 * grid.breadth[v] / max(1, len(arriving) - 1))
        for i, e in enumerate(arriving):
            places[e] = y[v] + (i - (len(arriving) - 1) / 2) * step
    return places


def _columns(
    grid: Grid, y: list[float], padding: Padding, room: Sequence[float], nested: list[tuple[int, int]]
) -> tuple[list[float], list[float]]:
    """Where each rank begins and ends, along."""
    ranks = len(grid.rows)
    widest, rise, asked = [0.0] * ranks, [0.0] * ranks, [0.0] * ranks
    for item, (length, _) in enumerate(grid.sizes):
        widest[grid.rank[item]] = max(widest[grid.rank[item]], length)
    for u, v in grid.links:
        rise[grid.rank[v]] = max(rise[grid.rank[v]], abs(y[u] - y[v]))
    for e, (_, v) in enumerate(grid.edges):
        asked[grid.rank[v]] = max(asked[grid.rank[v]], room[e])
    opening, closing = [0] * (ranks + 1), [0] * (ranks + 1)
    for (first, last), (begins, ends) in zip(grid.span, nested, strict=True):
        opening[first], closing[last] = max(opening[first], begins), max(closing[last], ends)
    begin, end, at = [], [], 0.0
    for r in range(ranks):
        if r:
            at += min(BROAD, NARROW + rise[r] * 0.16) + asked[r]
            at += closing[r - 1] * padding.after + opening[r] * padding.before
        begin.append(at)
        at += widest[r]
        end.append(at)
    return begin, end


def _nested(grid: Grid) -> list[tuple[int, int]]:
    """How many borders begin together with each cluster's, itself among them, and how many end."""
    begins, ends = [1] * len(grid.around), [1] * len(grid.around)
    for c in range(len(grid.around) - 1, -1, -1):
        outer = grid.around[c]
        if outer >= 0 and grid.span[outer][0] == grid.span[c][0]:
            begins[outer] = max(begins[outer], begins[c] + 1)
        if outer >= 0 and grid.span[outer][1] == grid.span[c][1]:
            ends[outer] = max(ends[outer], ends[c] + 1)
    return list(zip(begins, ends, strict=True))


def _borders(
    grid: Grid, y: list[float], begin: list[float], end: list[float], padding: Padding, nested: list[tuple[int, int]]
) -> list[Rectangle]:
    """A rectangle around what each cluster holds, inner ones first."""
    extent = [(float("inf"), float("-inf"))] * len(grid.around)

    def hold(c: int, low: float, high: float) -> None:
        if c >= 0:
            extent[c] = min(extent[c][0], low), max(extent[c][1], high)

    for item in range(len(grid.rank)):
        hold(grid.cluster[item], y[item] - grid.breadth[item] / 2, y[item] + grid.breadth[item] / 2)
    boxes = []
    for c in range(len(grid.around) - 1, -1, -1):
        low, high = extent[c][0] - padding.above, extent[c][1] + padding.below
        hold(grid.around[c], low, high)
        first, last = grid.span[c]
        begins, ends = nested[c]
        boxes.append(Rectangle(begin[first] - begins * padding.before, low, end[last] + ends * padding.after, high))
    return boxes[::-1]
