"""Big graphs made small enough to read: nodes that belong together are drawn as one, and the picture says so.

The steps are taken in the order of `STEPS` until the picture fits: constants are printed where they are used; sums of
products become one node; samples that are alike, one sample; then the modules, innermost first, one node each, and
those of them that repeat, one; last, what always fits. Each step partitions the parts that the one before left, in
time linear in their number.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping, Sequence
from functools import partial

import numpy as np

import microgrid as mg
from viz.names import Call, common
from viz.words import counted

__microgrid_machinery__ = True

STEPS = ("constants", "sums", "samples", "modules")  # names of `detail`
TERMS = frozenset({"add", "subtract", "negative", "total", "multiply", "dot"})
SUMS = frozenset({"add", "subtract", "negative", "total"})
PRODUCTS = frozenset({"multiply", "dot"})
SHORTEST = 4  # nodes in a row that are worth an ellipsis

Key = Hashable | None


class Part:
    """What becomes one drawn node: a node of the graph, or several that belong together.

    Attributes
    ----------
    tops : tuple of Node
        Those that the rest of the picture reads: their numbers are shown.
    inputs : list of int
        Places of the parts it reads, in the order of the node's inputs; of several nodes together, each once.
    weights : list of int, or None
        Of several nodes together, how many edges each input stands for.
    call : Call or None
        The innermost call of a module that it was made in.
    count, copies, times : int
        Nodes of the graph; samples that are alike; modules that repeat.
    name, words : str
        What it is called, and what it does, where the node itself does not say it.
    module : Call or None
        The call that it is, all of it.
    owner : str or None
        Of a parameter, the path of the module that it belongs to.
    leaf, free, root, named, pinned : bool
        Whether it has no history; and no gradient either; is what the picture is of; has a name; must be drawn.
    """

    __slots__ = (
        "call", "copies", "count", "free", "inputs", "leaf", "module", "name", "named", "owner", "pinned", "root",
        "times", "tops", "weights", "words",
    )  # fmt: skip

    def __init__(self, node: mg.Node, inputs: list[int], call: Call | None, root: bool, named: bool) -> None:
        self.tops: tuple[mg.Node, ...] = (node,)
        self.inputs = inputs
        self.weights: list[int] | None = None
        self.call = call
        self.count = self.copies = self.times = 1
        self.name = self.words = ""
        self.module: Call | None = None
        self.owner: str | None = None
        self.leaf = node.rule is None
        self.free = self.leaf and not node.requires_grad
        self.root, self.named = root, named
        self.pinned = call is not None and call.expanded

    @property
    def rule(self) -> str:
        """Name of the rule, where it is one node or nodes alike; empty for a leaf."""
        rule = None if self.words or self.module else self.tops[0].rule
        return rule.__name__ if rule else ""


class Sketch:
    """The parts, each after those it reads, and what was folded so far."""

    def __init__(self, parts: list[Part]) -> None:
        self.parts = parts
        self.hidden: set[mg.Node] = set()  # constants that are printed where they are used
        self.folded: list[str] = []

    def fits(self, limit: int) -> bool:
        """Whether it may be drawn as it is; a picture that is folded may not be a thicket of edges, either."""
        thicket = bool(self.folded) and sum(len(part.inputs) for part in self.parts) > 2 * limit
        return len(self.parts) <= limit and not thicket

    def fold(self, keys: Sequence[Key], said: Callable[[int], str], finish: Callable[[Part, list[Part]], None]) -> None:
        """Draw parts of the same key as one; None stays alone. `finish` says what such a part is; `said`, in all."""
        if len(set(keys) - {None}) == len(keys) - keys.count(None):
            return  # each key once
        merged = _partitioned(self.parts, keys)
        groups = [members for members in merged if len(members) > 1]
        if groups:
            self.parts = _joined(self.parts, merged, finish)
            self.folded.append(said(len(groups)))


def sketch(
    order: Sequence[mg.Node], roots: Iterable[mg.Node], made: Mapping[mg.Node, Call], named: Iterable[mg.Node],
    paths: Mapping[mg.Node, str],
) -> Sketch:  # fmt: skip
    """Each node a part of its own, and each parameter in the call that alone reads it."""
    place = {node: i for i, node in enumerate(order)}
    modules = {call.path for inner in set(made.values()) for call in inner.around()}
    tops, names = set(roots), set(named)
    parts = [
        Part(
            node, [place[x] for x in node.inputs if isinstance(x, mg.Node)], made.get(node), node in tops, node in names
        )
        for node in order
    ]
    for part in parts:
        if part.leaf and (path := paths.get(part.tops[0])) is not None:
            part.owner = _owner(path, modules)
    _settle(parts)
    return Sketch(parts)


def _owner(path: str, modules: Collection[str]) -> str:
    """The module that a parameter belongs to, of those that were called."""
    while path not in modules and path:
        path = path.rpartition(".")[0]
    return path


def fold(drawn: Sketch, limit: int, detail: str, parameters: Callable[[mg.Node], bool]) -> None:
    """Fold what `detail` says, and more until there are `limit` parts at most.

    `parameters` says which leaves are learned, and so are never taken for alike.
    """
    steps: dict[str, list[Callable[[Sketch], None]]] = {
        "constants": [_constants],
        "sums": [_sums],
        "samples": [partial(_samples, parameters=parameters)],
        "modules": [],
    }
    deepest = max((part.call.depth for part in drawn.parts if part.call), default=-1)
    for level in range(deepest, -1, -1):
        steps["modules"] += [partial(_modules, level=level), _side_by_side, _in_a_row]
    wanted = -1 if detail == "auto" else STEPS.index(detail)
    for i, name in enumerate(STEPS):
        for step in steps[name]:
            if i > wanted and drawn.fits(limit):
                return
            step(drawn)
            _settle(drawn.parts)
    for last in (_chains, _ranks, partial(_bands, limit=limit)):
        if len(drawn.parts) > limit:
            last(drawn)


# ---------------------------------------------------------------------------------------------------- the steps


def _constants(drawn: Sketch) -> None:
    """Leaves that need no gradient are printed inside what reads them."""
    parts = drawn.parts
    gone = {i for i, part in enumerate(parts) if part.free and not part.root and not part.pinned}
    if not gone:
        return
    place: dict[int, int] = {}
    kept: list[Part] = []
    for i, part in enumerate(parts):
        if i in gone:
            drawn.hidden.add(part.tops[0])
            continue
        for x in part.inputs:
            if x in gone:  # the first to read it counts it
                part.count += parts[x].count
                parts[x].count = 0
        part.inputs = [place[x] for x in part.inputs if x not in gone]
        place[i] = len(kept)
        kept.append(part)
    drawn.parts = kept
    drawn.folded.append(f"{counted(len(gone), 'constant')} printed where used")


def _sums(drawn: Sketch) -> None:
    """Additions, and the products that go into them alone: one node."""
    readers = _readers(drawn.parts)
    top: dict[int, int] = {}
    for i in range(len(drawn.parts) - 1, -1, -1):
        part = drawn.parts[i]
        if part.rule not in TERMS or part.pinned:
            continue
        top[i] = i
        if len(readers[i]) == 1 and not part.root and not part.named:
            (reader,) = readers[i]
            other = drawn.parts[reader]
            if reader in top and other.rule in SUMS and other.call is part.call:
                top[i] = top[reader]

    def finish(whole: Part, members: list[Part]) -> None:
        rules = Counter(member.rule for member in members)
        products = sum(rules[name] for name in PRODUCTS)
        whole.words = f"sum of {counted(products, 'product')}" if products > 1 else f"sum of {len(members) + 1} terms"

    keys = [("sum", top[i]) if i in top else None for i in range(len(drawn.parts))]
    drawn.fold(keys, lambda n: f"{counted(n, 'sum')} of products or terms, one node each", finish)


def _samples(drawn: Sketch, parameters: Callable[[mg.Node], bool]) -> None:
    """Nodes that were computed in the same way from the same parameters, though from other data: one node."""
    signs: dict[Hashable, int] = {}
    sign: list[int] = []

    def signed(key: Hashable) -> int:
        return signs.setdefault(key, len(signs))

    for i, part in enumerate(drawn.parts):
        node = part.tops[0]
        shape = node._data.shape if isinstance(node._data, np.ndarray) else None
        if part.root or (part.leaf and parameters(node)):
            sign.append(signed(("alone", i)))
        elif part.leaf:
            sign.append(signed(("leaf", shape, part.named and not part.free and i)))
        else:
            own = part.words or part.rule, part.count, tuple(node.parameters), part.module and part.module.path
            sign.append(signed((own, shape, *(sign[x] for x in part.inputs), *(part.weights or ()))))
    readers = _readers(drawn.parts)
    for i, part in enumerate(drawn.parts):  # data are alike where they are read alike: x[0] is not x[1]
        if part.leaf and not parameters(part.tops[0]) and not part.root:
            sign[i] = signed(("read", sign[i], frozenset(sign[x] for x in readers[i])))
    most = max(Counter(sign).values(), default=0)

    def finish(whole: Part, members: list[Part]) -> None:
        first = members[0]
        whole.words, whole.name, whole.module, whole.times = first.words, first.name, first.module, first.times
        whole.copies = sum(member.copies for member in members)

    drawn.fold(
        [None if part.root else ("like", s) for part, s in zip(drawn.parts, sign, strict=True)],
        lambda _: f"samples that are alike, up to {most:,}, drawn once",
        finish,
    )


def _modules(drawn: Sketch, level: int) -> None:
    """Each call of a module that is nested so deep: one node."""
    calls: dict[Hashable, Call] = {}
    keys: list[Key] = []
    for part in drawn.parts:
        chain = list(part.call.around()) if part.call else []
        call = chain[-1 - level] if len(chain) > level else None
        folds = call is not None and not call.kept and not part.pinned
        keys.append(("call", id(call)) if folds else None)
        if call is not None and folds:
            calls[keys[-1]] = call
    kinds = dict.fromkeys(call.kind for call in calls.values())

    def finish(whole: Part, members: list[Part]) -> None:
        call = next(c for member in members if member.call for c in member.call.around() if c.depth == level)
        whole.module, whole.call = call, call.parent
        whole.name, whole.words = call.path, call.text

    drawn.fold(keys, lambda _: f"each {' and '.join(list(kinds)[:3])} one node", finish)


def _side_by_side(drawn: Sketch) -> None:
    """Modules of one kind that read the same: one node, "× 16"."""
    readers = _readers(drawn.parts)
    keys: list[Key] = [
        None
        if part.module is None or part.root or part.pinned or part.module.kept
        else (
            "beside",
            part.module.text,
            id(part.call),
            tuple(sorted(set(part.inputs))),
            tuple(sorted(set(readers[i]))),
        )
        for i, part in enumerate(drawn.parts)
    ]
    drawn.fold(keys, lambda _: "modules that repeat, drawn once", _repeated)


def _in_a_row(drawn: Sketch) -> None:
    """Modules of one kind, each of which reads the one before alone: one node, "× 12"."""
    parts, readers = drawn.parts, _readers(drawn.parts)
    first = list(range(len(parts)))
    for i, part in enumerate(parts):
        if part.module is None or part.pinned or part.module.kept or len(set(part.inputs)) != 1:
            continue
        before = part.inputs[0]
        other = parts[before]
        alike = other.module is not None and other.module.text == part.module.text and other.call is part.call
        if alike and readers[before] == [i] and not other.root:
            first[i] = first[before]
    keys = [("row", first[i], part.module.text) if part.module else None for i, part in enumerate(parts)]
    drawn.fold(keys, lambda _: "modules in a row that repeat, drawn once", _repeated)


def _repeated(whole: Part, members: list[Part]) -> None:
    first, last = members[0], members[-1]
    whole.module, whole.call, whole.words = first.module, first.call, first.words
    whole.times = sum(member.times for member in members)
    begin, end = first.name.split(" … ")[0], last.name.split(" … ")[-1]
    whole.name = first.name if begin == end else f"{begin} … {end.rpartition('.')[2]}"


def _chains(drawn: Sketch) -> None:
    """Nodes in a row, each of which reads the one before and leaves alone: an ellipsis."""
    parts, readers = drawn.parts, _readers(drawn.parts)
    link: dict[int, int] = {}  # each node in a row, and the one before it
    for i, part in enumerate(parts):
        history = {x for x in part.inputs if not parts[x].leaf}
        if len(history) == 1 and not part.pinned:
            (before,) = history
            if len(readers[before]) == 1 and not parts[before].pinned and parts[before].call is part.call:
                link[i] = before
    keys: list[Key] = [None] * len(parts)
    followed = set(link.values())
    for end in sorted(link.keys() - followed):
        row = [end]
        while row[-1] in link:
            row.append(link[row[-1]])
        if len(row) >= SHORTEST + 2:
            for i in row[1:-1]:
                keys[i] = ("chain", end)
    for i, part in enumerate(parts):
        read = {keys[x] for x in readers[i]}
        if part.leaf and not part.root and len(read) == 1:
            (keys[i],) = read

    def finish(whole: Part, members: list[Part]) -> None:
        whole.words = f"… {sum(member.count for member in members):,} more"

    drawn.fold(keys, lambda n: f"{counted(n, 'chain')} of nodes cut short", finish)


def _ranks(drawn: Sketch) -> None:
    """Equal operations at equal distance from the leaves: one node."""
    depth = _depths(drawn.parts)
    keys: list[Key] = [
        None if part.root or part.pinned else ("rank", depth[i], part.leaf, part.free, part.rule or part.words)
        for i, part in enumerate(drawn.parts)
    ]

    def finish(whole: Part, members: list[Part]) -> None:
        whole.times = sum(member.times for member in members)
        whole.words = members[0].words or members[0].rule or "leaves"
        whole.call = None

    drawn.fold(keys, lambda _: "equal operations at equal depth drawn once", finish)


def _bands(drawn: Sketch, limit: int) -> None:
    """All nodes of some depths: one node. Whatever the graph is, this fits."""
    parts, depth, readers = drawn.parts, _depths(drawn.parts), _readers(drawn.parts)
    alone = {i for i, part in enumerate(parts) if part.pinned or (part.root and not readers[i])}
    if len(alone) >= limit:
        alone = {i for i in alone if parts[i].pinned}
    cuts = sorted({depth[i] for i in alone if readers[i]})
    bands, deepest = max(1, limit - len(alone)), max(depth) + 1
    keys: list[Key] = [
        None if i in alone else ("band", depth[i] * bands // deepest, int(np.searchsorted(cuts, depth[i])))
        for i in range(len(parts))
    ]

    def finish(whole: Part, members: list[Part]) -> None:
        whole.words = counted(sum(member.count for member in members), "node")
        whole.call = None

    drawn.fold(keys, lambda _: "nodes of neighbouring depths drawn as one", finish)


# ---------------------------------------------------------------------------------------------------- partitions


def _readers(parts: Sequence[Part]) -> list[list[int]]:
    """The parts that read each part, each once, in order."""
    readers: list[list[int]] = [[] for _ in parts]
    for i, part in enumerate(parts):
        for x in part.inputs:
            if not readers[x] or readers[x][-1] != i:
                readers[x].append(i)
    return readers


def _depths(parts: Sequence[Part]) -> list[int]:
    """Edges on the longest way to each part from a leaf."""
    depth: list[int] = []
    for part in parts:
        depth.append(1 + max((depth[x] for x in part.inputs), default=-1))
    return depth


def _settle(parts: Sequence[Part]) -> None:
    """A parameter stands in the innermost call around all that read it within its own module, or else anywhere."""
    around: dict[int, Call | None] = {}
    outside: dict[int, Call | None] = {}
    for part in parts:
        for x in part.inputs:
            if parts[x].owner is not None:
                own = part.call is not None and any(call.path == parts[x].owner for call in part.call.around())
                found = around if own else outside
                found[x] = common(found[x], part.call) if x in found else part.call
    for x, call in (outside | around).items():
        parts[x].call = call


def _partitioned(parts: Sequence[Part], keys: Sequence[Key]) -> list[list[int]]:
    """Places of the parts by key, in an order in which each group comes after those it reads.

    A group that would have to stand both before and after another is not made: its members stay alone.
    """
    groups: dict[Hashable, list[int]] = {}
    for i, key in enumerate(keys):
        groups.setdefault(i if key is None else key, []).append(i)
    members = list(groups.values())
    while True:
        group = [0] * len(parts)
        for g, places in enumerate(members):
            for i in places:
                group[i] = g
        readers: list[set[int]] = [set() for _ in members]
        waits = [0] * len(members)
        for i, part in enumerate(parts):
            g = group[i]
            for x in part.inputs:
                if group[x] != g and g not in readers[group[x]]:
                    readers[group[x]].add(g)
                    waits[g] += 1
        ready = [(places[0], g) for g, places in enumerate(members) if not waits[g]]
        heapq.heapify(ready)
        order: list[list[int]] = []
        while ready:
            _, g = heapq.heappop(ready)
            order.append(members[g])
            for reader in readers[g]:
                waits[reader] -= 1
                if not waits[reader]:
                    heapq.heappush(ready, (members[reader][0], reader))
        if len(order) == len(members):
            return order
        circular = _circular(readers, {g for g, n in enumerate(waits) if n})
        split = [[[i] for i in places] if g in circular else [places] for g, places in enumerate(members)]
        members = [places for parted in split for places in parted]


def _circular(readers: Sequence[Collection[int]], stuck: set[int]) -> set[int]:
    """Those of the groups that cannot be ordered which lie on circles, or between them: not what only follows them."""
    reading: dict[int, list[int]] = {g: [] for g in stuck}
    counts = dict.fromkeys(stuck, 0)
    for g in stuck:
        for reader in readers[g]:  # which is stuck, too
            counts[g] += 1
            reading[reader].append(g)
    free = [g for g in sorted(stuck) if not counts[g]]
    for g in free:
        for read in reading[g]:
            counts[read] -= 1
            if not counts[read]:
                free.append(read)
    return stuck - set(free)


def _joined(parts: list[Part], order: list[list[int]], finish: Callable[[Part, list[Part]], None]) -> list[Part]:
    """The parts of each group as one."""
    group = {i: g for g, places in enumerate(order) for i in places}
    read = {x for i, part in enumerate(parts) for x in part.inputs if group[x] != group[i]}
    joined = []
    for g, places in enumerate(order):
        whole = parts[places[0]]
        if len(places) > 1:
            members = [parts[i] for i in places]
            whole = _whole(members, [m for i, m in zip(places, members, strict=True) if i in read or m.root])
            _read_once(whole, members, group, g)
            finish(whole, members)
        elif whole.weights or any(len(order[group[x]]) > 1 for x in whole.inputs):
            _read_once(whole, [whole], group, g)
        else:
            whole.inputs = [group[x] for x in whole.inputs]
        joined.append(whole)
    return joined


def _read_once(whole: Part, members: list[Part], group: dict[int, int], own: int) -> None:
    """Give a part each group that its members read, once, with the number of edges."""
    edges: Counter[int] = Counter()
    for member in members:
        for x, weight in zip(member.inputs, member.weights or [1] * len(member.inputs), strict=True):
            if group[x] != own:
                edges[group[x]] += weight
    whole.inputs, whole.weights = list(edges), list(edges.values())


def _whole(members: list[Part], tops: list[Part]) -> Part:
    """Several parts as one, whose inputs are still to be found."""
    last = members[-1]
    whole = Part(last.tops[0], [], members[0].call, any(m.root for m in members), False)
    shown = [part for part in tops if not part.leaf] or tops or [last]
    whole.tops = tuple(node for part in shown for node in part.tops)
    whole.count = sum(member.count for member in members)
    whole.copies = max([m.copies for m in members if not m.leaf], default=members[0].copies)
    whole.leaf = all(member.leaf for member in members)
    whole.free = all(member.free for member in members)
    whole.named = any(member.named for member in members)
    whole.pinned = any(member.pinned for member in members)
    return whole
