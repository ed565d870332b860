"""Ranks: each node after its inputs, edges bent where they pass one, clusters one behind the other where they can."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

__microgrid_machinery__ = True

LEAF = 0.001  # weight of a leaf among the neighbours of what reads it


class Grid:
    """Items in ranks: the nodes, then the bends of edges that pass a rank.

    rank, cluster, breadth are by item; before and after hold an item's neighbours in the ranks beside it; rows holds
    the items of each rank, in order; chain the items of each edge.
    """

    def __init__(
        self, sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]], cluster: list[int],
        around: list[int],
    ) -> None:  # fmt: skip
        self.sizes, self.edges, self.around = sizes, edges, around
        self.count = len(sizes)
        self.rank = ranks_of(self.count, edges, cluster, around)
        self.cluster = cluster
        self.breadth = [across for _, across in sizes]
        self.before: list[list[int]] = [[] for _ in sizes]
        self.after: list[list[int]] = [[] for _ in sizes]
        self.ancestors = self._ancestors()
        self.span = self._spans()
        self.bends: dict[tuple[int, int, int], int] = {}
        self.links: set[tuple[int, int]] = set()
        self.chain = [self._chain(u, v) for u, v in edges]
        self._fill()
        self.ordered = sorted(self.links)
        self.rows: list[list[int]] = [[] for _ in range(max(self.rank, default=0) + 1)]
        # A leaf of one reader goes where that goes, and does not pull it off its way.
        self.weight = [LEAF if not b and len(a) == 1 else 1.0 for b, a in zip(self.before, self.after, strict=True)]
        self.bary = [0.0] * len(self.rank)
        self.sibling = list(range(len(around)))  # the order of clusters, across

    def _ancestors(self) -> list[tuple[int, ...]]:
        """Each cluster with those around it, outermost first."""
        found: list[tuple[int, ...]] = []
        for c, outer in enumerate(self.around):
            found.append((*(found[outer] if outer >= 0 else ()), c))
        return found

    def within(self, item: int) -> tuple[int, ...]:
        """The clusters around an item, outermost first."""
        c = self.cluster[item]
        return self.ancestors[c] if c >= 0 else ()

    def _spans(self) -> list[tuple[int, int]]:
        """First and last rank of each cluster."""
        spans: list[list[int]] = [[] for _ in self.around]
        for item in range(self.count):
            r = self.rank[item]
            for c in self.within(item):
                span = spans[c]
                if span:
                    span[:] = min(span[0], r), max(span[1], r)
                else:
                    span[:] = r, r
        return [(span[0], span[1]) if span else (0, -1) for span in spans]

    def _add(self, rank: int, cluster: int) -> int:
        self.rank.append(rank)
        self.cluster.append(cluster)
        self.breadth.append(0.0)
        self.before.append([])
        self.after.append([])
        return len(self.rank) - 1

    def _chain(self, u: int, v: int) -> list[int]:
        """The items of an edge: its source, a bend in each rank between, its target."""
        items = [u]
        outer, inner = self.within(u), self.within(v)
        shared = 0
        while shared < min(len(outer), len(inner)) and outer[shared] == inner[shared]:
            shared += 1
        for r in range(self.rank[u] + 1, self.rank[v]):
            # Within the source's clusters until they end, and in the target's as soon as they begin.
            c = next((c for c in reversed(outer[shared:]) if self.span[c][1] >= r), None)
            if c is None:
                c = next((c for c in reversed(inner[shared:]) if self.span[c][0] <= r), None)
            if c is None:
                c = outer[shared - 1] if shared else -1
            key = (u, r, c)
            if key not in self.bends:
                self.bends[key] = self._add(r, c)
            items.append(self.bends[key])
        items.append(v)
        for link in pairwise(items):
            if link not in self.links:
                self.links.add(link)
                self.after[link[0]].append(link[1])
                self.before[link[1]].append(link[0])
        return items

    def _fill(self) -> None:
        """A place for each cluster in every rank that it spans, so that nothing else comes to lie in it."""
        present = {(c, self.rank[item]) for item in range(len(self.rank)) for c in self.within(item)}
        for c in range(len(self.around) - 1, -1, -1):
            for r in range(self.span[c][0], self.span[c][1] + 1):
                if (c, r) not in present:
                    self._add(r, c)
                    present.update((outer, r) for outer in self.ancestors[c])


def ranks_of(count: int, edges: Sequence[tuple[int, int]], cluster: Sequence[int], around: Sequence[int]) -> list[int]:
    """Longest paths from the leaves; then what has more readers than inputs moves up to them.

    What a cluster reads lies before all of it, and what reads it behind, so that clusters in a chain stand in a row;
    unless it both reads and is read.
    """
    links = list(dict.fromkeys(edges))
    order, after = bordered(count, links, cluster, around)
    if len(order) < len(after):  # something outside lies between two parts of a cluster
        order, after = bordered(count, links, [-1] * count, [])
    rank = [0] * len(after)
    for v in order:
        for w, distance in after[v]:
            rank[w] = max(rank[w], rank[v] + distance)
    before: list[list[int]] = [[] for _ in range(count)]
    for u, v in links:
        before[v].append(u)
    for v in reversed(order):
        if v < count:
            steps = [rank[w] - distance for w, distance in after[v] if distance]
            ends = [rank[w] for w, distance in after[v] if not distance]  # the cluster's end
            readers = sum(1 for w, distance in after[v] if distance and w < count)
            leaves = sum(1 for u in before[v] if not before[u] and len(after[u]) <= 2)  # which come along
            if steps and readers >= len(before[v]) - leaves:
                rank[v] = max(rank[v], min(steps + ends))
    first = min(rank[:count], default=0)
    return [r - first for r in rank[:count]]


def bordered(
    count: int, links: Sequence[tuple[int, int]], cluster: Sequence[int], around: Sequence[int]
) -> tuple[list[int], list[list[tuple[int, int]]]]:
    """Nodes and the borders of clusters, what comes after each, and how far at least; and an order that agrees.

    Cluster c begins at `count + 2 c` and ends at the next.
    """
    total = count + 2 * len(around)
    after: list[list[tuple[int, int]]] = [[] for _ in range(total)]
    waits = [0] * total

    def follow(u: int, v: int, distance: int) -> None:
        after[u].append((v, distance))
        waits[v] += 1

    paths: list[tuple[int, ...]] = []
    for c, outer in enumerate(around):
        paths.append((*(paths[outer] if outer >= 0 else ()), c))
        if outer >= 0:
            follow(count + 2 * outer, count + 2 * c, 0)
            follow(count + 2 * c + 1, count + 2 * outer + 1, 0)
    for v, c in enumerate(cluster):
        if c >= 0:
            follow(count + 2 * c, v, 0)
            follow(v, count + 2 * c + 1, 0)
    for u, v in links:
        ours, theirs = (paths[cluster[x]] if cluster[x] >= 0 else () for x in (u, v))
        shared = 0
        while shared < min(len(ours), len(theirs)) and ours[shared] == theirs[shared]:
            shared += 1
        source = count + 2 * ours[shared] + 1 if len(ours) > shared else u
        target = count + 2 * theirs[shared] if len(theirs) > shared else v
        follow(source, target, 1)
        if (source, target) != (u, v):
            follow(u, v, 1)
    order = [v for v in range(total) if not waits[v]]
    for v in order:
        for w, _ in after[v]:
            waits[w] -= 1
            if not waits[w]:
                order.append(w)
    return order, after
