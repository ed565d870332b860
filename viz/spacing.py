"""Where the items of each rank lie: near their neighbours, in order, apart, and clear of clusters they are not in."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

from viz.ordering import WORK
from viz.ranks import Grid

__microgrid_machinery__ = True

APART, BESIDE_BEND, BENDS = 14.0, 9.0, 7.0  # between two boxes, a box and a bend, two bends
BOX, BEND, TOP, BOTTOM = range(4)  # what lies in a rank
SIDES = (1, 1, 2, 2, 2, 2)  # to how many sides the sweeps look, by turns


class Padding(NamedTuple):
    """Space inside the border of a cluster: before and after its members, along the ranks and across them."""

    before: float
    after: float
    above: float
    below: float


def across(grid: Grid, padding: Padding) -> list[float]:
    """Where each item lies across the ranks: near its neighbours, in order, and apart.

    Rank after rank, forwards and backwards, each item goes to the mean of its neighbours in the rank before; in the
    end, between those on both sides. What is wanted is then pushed apart from above and from below: both keep the
    distances, and so does their mean.
    """
    order, above, below = _constraints(grid, padding)
    infinite = [float("-inf")] * (len(above) - len(grid.rank))
    rows = [_Row(row, grid, padding) for row in grid.rows]
    trunks = _trunks(grid)

    def apart(wanted: list[float]) -> list[float]:
        low = _pushed(order, above, wanted + infinite)
        high = _pushed(order[::-1], below, [-w for w in wanted] + infinite)
        return [(a - b) / 2 for a, b in zip(low[: len(wanted)], high[: len(wanted)], strict=True)]

    y = best = apart(_stacked(grid))
    least = _bent(grid, best)
    turns = max(4, min(60, WORK // (10 * len(y) + 1)))
    for turn in range(turns):
        y = apart(_wanted(grid, rows, trunks, y, turn % 2 == 0, SIDES[turn % len(SIDES)]))
        bent = _bent(grid, y)
        if bent < least:
            best, least = y, bent
    return best


def _bent(grid: Grid, y: list[float]) -> float:
    """How far edges go across, all in all."""
    return sum([min(grid.weight[u], grid.weight[v]) * abs(y[u] - y[v]) for u, v in grid.ordered])


class _Row:
    """A rank, and how far apart its items are at least."""

    def __init__(self, row: list[int], grid: Grid, padding: Padding) -> None:
        self.items = row
        self.apart: list[float] = []
        distance, half, kind = 0.0, 0.0, -1
        for thing, kind_of, half_of in _things(grid, row):
            if kind >= 0:
                distance += half + half_of + _apart(kind, kind_of, padding)
            half, kind = half_of, kind_of
            if thing < len(grid.rank):
                self.apart.append(distance)
                distance = 0.0

    def place(self, wanted: list[float], weight: Sequence[float]) -> None:
        """Move what is wanted for its items until they are apart: the least weighted squares, by pooling neighbours."""
        blocks: list[tuple[float, float, int]] = []  # mean, weight and number of items that touch
        offset, offsets = 0.0, []
        for item, distance in zip(self.items, self.apart, strict=True):
            offset += distance
            offsets.append(offset)
            mean, mass, count = wanted[item] - offset, weight[item], 1
            while blocks and blocks[-1][0] > mean:
                other, more, items = blocks.pop()
                mean = (mean * mass + other * more) / (mass + more)
                mass, count = mass + more, count + items
            blocks.append((mean, mass, count))
        means = [mean for mean, _, count in blocks for _ in range(count)]
        for item, mean, offset in zip(self.items, means, offsets, strict=True):
            wanted[item] = mean + offset


def _wanted(
    grid: Grid, rows: Sequence[_Row], trunks: list[list[int]], y: list[float], forward: bool, sides: int
) -> list[float]:
    """Where items would like to lie, one rank after the other, looking to one side or to both."""
    wanted = y[:]
    first, second = (grid.before, grid.after) if forward else (grid.after, grid.before)
    for row in rows if forward else rows[::-1]:
        for item in row.items:
            near = first[item]
            far = second[item] if sides == 2 or not near else ()
            means = [_mean(wanted, side, grid.weight) for side in (near, far) if side]
            if means:
                wanted[item] = sum(means) / len(means)
        row.place(wanted, grid.weight)
    for bends in trunks:
        level = sum([wanted[x] for x in bends]) / len(bends)
        for x in bends:
            wanted[x] = level
    return wanted


def _mean(y: list[float], items: Sequence[int], weight: Sequence[float]) -> float:
    if len(items) == 1:
        return y[items[0]]
    return sum([y[x] * weight[x] for x in items]) / sum([weight[x] for x in items])


def _stacked(grid: Grid) -> list[float]:
    """Each rank around zero, to begin with."""
    y = [0.0] * len(grid.rank)
    for row in grid.rows:
        at = -sum([grid.breadth[item] + APART for item in row]) / 2
        for item in row:
            y[item] = at + grid.breadth[item] / 2
            at += grid.breadth[item] + APART
    return y


def _trunks(grid: Grid) -> list[list[int]]:
    """The bends that lie on one straight line: those of one source, rank by rank, in one cluster."""
    lines: dict[tuple[int, int], list[int]] = {}
    for (u, _, c), bend in grid.bends.items():
        lines.setdefault((u, c), []).append(bend)
    return list(lines.values())


def _constraints(
    grid: Grid, padding: Padding
) -> tuple[list[int], list[list[tuple[int, float]]], list[list[tuple[int, float]]]]:
    """What lies above what, and how far: over items, then the upper and the lower border of each cluster.

    Returns the variables in an order that agrees, and for each those directly above and below it with distances.
    """
    variables = len(grid.rank) + 2 * len(grid.around)
    above: list[list[tuple[int, float]]] = [[] for _ in range(variables)]
    below: list[list[tuple[int, float]]] = [[] for _ in range(variables)]
    for row in grid.rows:
        things = list(_things(grid, row))
        for (a, kind_a, half_a), (b, kind_b, half_b) in pairwise(things):
            distance = half_a + half_b + _apart(kind_a, kind_b, padding)
            above[b].append((a, distance))
            below[a].append((b, distance))
    waits = [len(things) for things in above]
    order = [thing for thing, n in enumerate(waits) if not n]
    for thing in order:
        for other, _ in below[thing]:
            waits[other] -= 1
            if not waits[other]:
                order.append(other)
    return order, above, below


def _things(grid: Grid, row: list[int]) -> Iterator[tuple[int, int, float]]:
    """What a rank holds from above to below: items, and borders of clusters as they begin and end."""
    items, open_clusters = len(grid.rank), tuple[int, ...]()
    for item in (*row, -1):
        inside = grid.within(item) if item >= 0 else ()
        shared = 0
        while shared < min(len(inside), len(open_clusters)) and inside[shared] == open_clusters[shared]:
            shared += 1
        for c in reversed(open_clusters[shared:]):
            yield items + 2 * c + 1, BOTTOM, 0.0
        for c in inside[shared:]:
            yield items + 2 * c, TOP, 0.0
        open_clusters = inside
        if item >= 0:
            yield item, BOX if item < grid.count else BEND, grid.breadth[item] / 2


def _apart(a: int, b: int, padding: Padding) -> float:
    """How far two neighbours keep apart."""
    if a == TOP:
        return padding.above
    if b == BOTTOM:
        return padding.below
    bends = (a == BEND) + (b == BEND)
    return (APART, BESIDE_BEND, BENDS)[bends]


def _pushed(order: Sequence[int], before: Sequence[Sequence[tuple[int, float]]], wanted: list[float]) -> list[float]:
    """The least places, none below what is wanted, that keep the distances."""
    y = wanted
    for thing in order:
        for other, distance in before[thing]:
            if y[other] + distance > y[thing]:
                y[thing] = y[other] + distance
    return y
