"""The order of each rank: sweeps of barycentres and exchanges of neighbours, so that few edges cross.

Members of a cluster stay together in every rank, and two clusters lie in one order wherever they meet.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections.abc import Sequence

from viz.ranks import Grid

__microgrid_machinery__ = True

PATIENCE = 8  # sweeps in a row that may take no crossing away
WORK = 400_000  # steps of sweeping that a picture is worth


def ordered(grid: Grid) -> int:
    """Fill the rows so that few edges cross; how many do. The better of two beginnings is taken."""
    links = max(1, sum(map(len, grid.after)))
    sweeps = max(2, min(32, WORK // (links * 12)))
    least, rows, siblings = -1, grid.rows, grid.sibling
    for upwards in (False, True):
        _begin(grid, upwards)
        since = 0
        for sweep in range(sweeps + 1):
            crossed = _crossings(grid)
            since += 1
            if least < 0 or crossed < least:
                least, rows, siblings, since = crossed, [row[:] for row in grid.rows], grid.sibling[:], 0
            if not least or since > PATIENCE:
                break
            _sweep(grid, forward=(sweep % 2 == 0) != upwards)
            _exchange(grid, 3)
    grid.rows, grid.sibling = rows, siblings
    _exchange(grid, 8)
    return _crossings(grid)


def _begin(grid: Grid, upwards: bool) -> None:
    """The order in which a walk from the results back to the leaves, by position of the inputs, comes by."""
    grid.rows = [[] for _ in grid.rows]
    seen = [False] * len(grid.rank)
    number = 0
    for start in sorted(range(len(grid.rank)), key=lambda item: -grid.rank[item]):
        if seen[start] or (grid.after[start] and start < grid.count):
            continue
        waiting = [start]
        while waiting:
            item = waiting.pop()
            if seen[item]:
                continue
            seen[item] = True
            grid.bary[item] = number
            number += 1
            waiting += [x for x in (grid.before[item] if upwards else reversed(grid.before[item])) if not seen[x]]
    for item, r in enumerate(grid.rank):
        grid.rows[r].append(item)
    _rank_clusters(grid, grid.bary)
    for r in range(len(grid.rows)):
        _sort(grid, r)


def _sweep(grid: Grid, forward: bool) -> None:
    """Sort each rank by the mean places of its neighbours in the one before (or after)."""
    beside = grid.before if forward else grid.after
    place = [0.0] * len(grid.rank)
    for row in grid.rows:
        for i, item in enumerate(row):
            place[item] = i - (len(row) - 1) / 2
    for r in range(len(grid.rows)) if forward else range(len(grid.rows) - 1, -1, -1):
        row = grid.rows[r]
        for item in row:
            near = beside[item]
            grid.bary[item] = sum([place[x] for x in near]) / len(near) if near else place[item]
        _sort(grid, r)
        for i, item in enumerate(grid.rows[r]):
            place[item] = i - (len(row) - 1) / 2
    if grid.around:
        _rank_clusters(grid, place)
        for r in range(len(grid.rows)):
            for i, item in enumerate(grid.rows[r]):
                grid.bary[item] = i
            _sort(grid, r)


def _rank_clusters(grid: Grid, place: Sequence[float]) -> None:
    """Order clusters by the mean place of what stands in them."""
    total, count = [0.0] * len(grid.around), [0] * len(grid.around)
    for item in range(grid.count):
        for c in grid.within(item):
            total[c] += place[item]
            count[c] += 1
    means = [t / n if n else 0.0 for t, n in zip(total, count, strict=True)]
    for position, c in enumerate(sorted(range(len(means)), key=lambda c: (means[c], c))):
        grid.sibling[c] = position


def _sort(grid: Grid, r: int) -> None:
    """Sort a rank by its barycentres: members of a cluster together, clusters in their own order."""
    row, bary = grid.rows[r], grid.bary
    if not grid.around:
        row.sort(key=bary.__getitem__)
        return
    sums: dict[int, tuple[float, int]] = {}
    for item in row:
        for c in grid.within(item):
            total, count = sums.get(c, (0.0, 0))
            sums[c] = (total + bary[item], count + 1)
    siblings: dict[int, list[int]] = {}
    for c in sums:
        siblings.setdefault(grid.around[c], []).append(c)
    key: dict[int, float] = {}
    for children in siblings.values():  # the clusters share their places out among them
        places = sorted(sums[c][0] / sums[c][1] for c in children)
        key.update(zip(sorted(children, key=grid.sibling.__getitem__), places, strict=True))
    position = {item: i for i, item in enumerate(row)}
    row.sort(
        key=lambda item: (
            *((key[c], 1, grid.sibling[c]) for c in grid.within(item)), (bary[item], 0, position[item]),
        )
    )  # fmt: skip


def _exchange(grid: Grid, rounds: int) -> None:
    """Exchange neighbours where that takes crossings away."""
    if sum(map(len, grid.after)) > WORK // 8:
        return
    place = [0] * len(grid.rank)
    for row in grid.rows:
        for i, item in enumerate(row):
            place[item] = i
    for _ in range(rounds):
        better = False
        for row in grid.rows:
            for i in range(len(row) - 1):
                a, b = row[i], row[i + 1]
                if grid.cluster[a] != grid.cluster[b]:
                    continue
                gain = 0
                for beside in (grid.before, grid.after):
                    if beside[a] and beside[b]:
                        left, right = [place[x] for x in beside[a]], [place[x] for x in beside[b]]
                        for x in left:
                            for y in right:
                                gain += (x > y) - (x < y)
                if gain > 0:
                    row[i], row[i + 1] = b, a
                    place[a], place[b] = i + 1, i
                    better = True
        if not better:
            return


def _crossings(grid: Grid) -> int:
    """How many pairs of links between neighbouring ranks cross."""
    place = [0] * len(grid.rank)
    for row in grid.rows:
        for i, item in enumerate(row):
            place[item] = i
    crossed = 0
    for row in grid.rows:
        ends: list[int] = []
        for item in row:
            reached = sorted([place[x] for x in grid.after[item]])
            for x in reached:
                crossed += len(ends) - bisect_right(ends, x)
            for x in reached:
                insort(ends, x)
    return crossed
