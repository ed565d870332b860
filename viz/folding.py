"""Big graphs made small enough to read: nodes that belong together are drawn as one, and the picture says so.

The steps are taken in the order of `STEPS` until the picture fits: constants are printed inside what uses them; sums of
products become one node; samples that are alike, one sample; then the modules, innermost first, one node each, and
those of them that repeat, one; last, what always fits. What has few nodes, but in too long a row, has its modules
folded alone. Each step partitions the parts that the one before left, in time linear in their number.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Hashable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

import microgrid as mg
from viz.names import Call, common
from viz.words import SHOWN_CONSTANTS, counted, fault

__microgrid_machinery__ = True

STEPS = ("constants", "sums", "samples", "modules")  # names of `detail`
SUMS = frozenset({"add", "subtract", "negative", "total"})
PRODUCTS = frozenset({"multiply", "dot"})
EXACT = frozenset({"power", "maximum", "minimum", "clip"})  # whose constants say what is computed; others' are data
SHORTEST = 4  # nodes in a row that are worth an ellipsis
DENSEST, FEW = 2.5, 40  # edges for each node that still can be told apart; edges that always can
ROWS, SHORT = 5, 30  # how many rows the nodes should make at least; nodes in a row that are never too many
KINDS = 3  # of modules, which are named where they are folded
TURNS = 4  # modules that may alternate in a row that repeats
PARALLEL = 4  # edges between two nodes that are drawn one by one even in a thicket

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
    label : str
        Its name in the model or of the user's, a variable's perhaps; empty if it has none.
    chosen : bool
        Whether the user gave the node itself that name.
    form : hashable
        Of several nodes, in which way they read each other and their inputs.
    module : Call or None
        The call that it is, all of it.
    owner : str or None
        Of a parameter, the path of the module that it belongs to.
    leaf, free, root, pinned : bool
        Whether it has no history; and no gradient either; is what the picture is of; must be drawn.
    """

    __slots__ = (
        "call", "chosen", "copies", "count", "form", "free", "inputs", "label", "leaf", "module", "name", "owner",
        "pinned", "root", "times", "tops", "weights", "words",
    )  # fmt: skip

    def __init__(self, node: mg.Node, inputs: list[int], call: Call | None, root: bool, label: str = "") -> None:
        self.tops: tuple[mg.Node, ...] = (node,)
        self.inputs = inputs
        self.weights: list[int] | None = None
        self.call = call
        self.count = self.copies = self.times = 1
        self.name = self.words = ""
        self.label, self.chosen = label, False
        self.form: Hashable = None
        self.module: Call | None = None
        self.owner: str | None = None
        self.leaf = node.rule is None
        self.free = self.leaf and not node.requires_grad
        self.root = root
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
        self.hidden: set[mg.Node] = set()  # constants that are printed inside what uses them
        self.folded: list[str] = []

    def fits(self, limit: int) -> bool:
        """Whether it can be read as it is: not too many nodes, and no thicket of edges."""
        edges = sum(len(part.inputs) for part in self.parts)
        return len(self.parts) <= limit and edges <= max(FEW, DENSEST * len(self.parts))

    def is_long(self, limit: int) -> bool:
        """Whether it is a row of nodes that runs out of the screen."""
        return max(_depths(self.parts)) >= _longest(limit)

    def fold(self, keys: Sequence[Key], said: Callable[[int], str], finish: Callable[[Part, list[Part]], None]) -> None:
        """Draw parts of the same key as one; None stays alone. `finish` says what such a part is; `said`, in all."""
        if len(set(keys) - {None}) == len(keys) - keys.count(None):
            return  # each key once
        merged = _partitioned(self.parts, keys)
        groups = [members for members in merged if len(members) > 1]
        if groups:
            self.parts = _joined(self.parts, merged, finish)
            words = said(len(groups))
            self.folded += [words] * (words not in self.folded)


def sketch(
    order: Sequence[mg.Node], roots: Iterable[mg.Node], made: Mapping[mg.Node, Call], called: Mapping[mg.Node, str],
    paths: Mapping[mg.Node, str], chosen: Collection[mg.Node] = (),
) -> Sketch:  # fmt: skip
    """Each node a part of its own, and each parameter in the call that alone reads it."""
    place = {node: i for i, node in enumerate(order)}
    modules = {call.path for inner in set(made.values()) for call in inner.around()}
    tops = set(roots)
    parts = [
        Part(
            node, [place[x] for x in node.inputs if isinstance(x, mg.Node)], made.get(node), node in tops,
            called.get(node, ""),
        )
        for node in order
    ]  # fmt: skip
    for part in parts:
        part.chosen = part.tops[0] in chosen
        if part.leaf and (path := paths.get(part.tops[0])) is not None:
            part.owner = _owner(path, modules)
    _settle(parts)
    return Sketch(parts)


def _owner(path: str, modules: Collection[str]) -> str:
    """The module that a parameter belongs to, of those that were called."""
    while path not in modules and path:
        path = path.rpartition(".")[0]
    return path


def fold(
    drawn: Sketch, limit: int, detail: str, parameters: Callable[[mg.Node], bool], *, apart: bool = False,
    long: bool = False,
) -> bool:  # fmt: skip
    """Fold what `detail` says, and more until it can be read, with `limit` parts at most.

    `parameters` says which leaves are learned, and so are never taken for alike; with `apart`, no more is what must be
    drawn; with `long`, no row is too long. Returned is whether the steps of `STEPS` were enough.
    """
    steps: dict[str, list[Callable[[Sketch], None]]] = {
        "constants": [_constants],
        "sums": [_sums],
        "samples": [partial(_samples, parameters=parameters, apart=apart)],
        "modules": [],
    }
    deepest = max((part.call.depth for part in drawn.parts if part.call), default=-1)
    shorten: list[Callable[[Sketch], None]] = []
    for level in range(deepest, -1, -1):
        whole = partial(_modules, level=level)
        steps["modules"] += [whole, _side_by_side, _in_a_row]
        shorten += [whole, _in_a_row] if level and not long else []  # the model itself stays open
    wanted = -1 if detail == "auto" else STEPS.index(detail)
    for i, name in enumerate(STEPS):
        for step in steps[name]:
            if i <= wanted or not drawn.fits(limit) or (step in shorten and drawn.is_long(limit)):
                step(drawn)
                _settle(drawn.parts)
    if drawn.fits(limit):
        return True
    for last in (_parallel, _chains, _ranks):
        if not drawn.fits(limit):
            last(drawn)
    bands = limit
    while not drawn.fits(limit) and bands:
        _bands(drawn, bands)
        bands //= 2
    return False


# ---------------------------------------------------------------------------------------------------- the steps


def _constants(drawn: Sketch) -> None:
    """Finite leaves that need no gradient, and are short enough, are printed inside what reads them."""
    parts = drawn.parts
    shown = {x for part in parts if part.pinned for x in part.inputs}
    gone = {i for i, part in enumerate(parts) if part.free and not part.root and i not in shown}
    gone -= {i for i in gone if np.size(parts[i].tops[0]._data) > SHOWN_CONSTANTS or fault(parts[i].tops[0]._data)}
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
    drawn.folded.append(f"{counted(len(gone), 'constant')} inside what uses {'it' if len(gone) == 1 else 'them'}")


def _sums(drawn: Sketch) -> None:
    """Additions, and the products that go into them alone and once: one node."""
    parts, readers = drawn.parts, _readers(drawn.parts)
    uses = Counter(x for part in parts for x in part.inputs)
    top: dict[int, int] = {}
    for i in range(len(parts) - 1, -1, -1):
        part = parts[i]
        if part.pinned or part.rule not in SUMS | PRODUCTS:
            continue
        top[i] = i
        if uses[i] == 1 and not part.root and not part.label:
            (reader,) = readers[i]
            if reader in top and parts[reader].rule in SUMS and parts[reader].call is part.call:
                top[i] = top[reader]

    groups: dict[int, list[int]] = {}
    for i, first in sorted(top.items()):
        groups.setdefault(first, []).append(i)
    words = {first: _terms([parts[i] for i in places]) for first, places in groups.items() if len(places) > 1}

    def finish(whole: Part, members: list[Part]) -> None:
        whole.words, whole.form = _terms(members), _form(members, drawn.hidden)

    keys = [("sum", top[i]) if words.get(top.get(i, -1)) else None for i in range(len(parts))]
    drawn.fold(keys, lambda n: f"{counted(n, 'sum')} of products or terms, one node each", finish)


def _terms(members: Sequence[Part]) -> str:
    """`sum of 3 products + 1 term`, of additions and the products in them; nothing where one term is all."""
    terms: dict[mg.Node, int] = {}
    products = 0
    for member in members:
        node = member.tops[0]
        own = len(node.inputs) // 2 if member.rule == "dot" else 1
        if member.rule in PRODUCTS:
            products += own
        terms[node] = own if member.rule in PRODUCTS else sum(
            terms.get(x, 1) if isinstance(x, mg.Node) else 1 for x in node.inputs
        )  # fmt: skip
    total = terms[members[-1].tops[0]]
    if products < 2:
        return f"sum of {total:,} terms" if total > 1 else ""
    others = f" + {counted(total - products, 'term')}" if total > products else ""
    return f"sum of {counted(products, 'product')}{others}"


def _form(members: Sequence[Part], hidden: Collection[mg.Node]) -> Hashable:
    """How nodes read each other, what is outside, in the order in which it is first read, and constants."""
    place: dict[mg.Node, Hashable] = {member.tops[0]: i for i, member in enumerate(members)}
    form: list[Hashable] = []
    outside = 0
    for member in members:
        form.append(member.rule)
        for x in member.tops[0].inputs:
            if not isinstance(x, mg.Node) or x in hidden:
                form.append("constant")
                continue
            if x not in place:
                outside += 1
                place[x] = -outside
            form.append(place[x])
    return tuple(form)


def _samples(drawn: Sketch, parameters: Callable[[mg.Node], bool], apart: bool) -> None:
    """Nodes that were computed in the same way from the same parameters, though from other data: one node.

    Names tell nodes apart: those that the user gave to nodes, and two variables that hold one each. One variable alone
    is a loop's, which holds the last sample; and elements of one list are samples.
    """
    parts = drawn.parts
    alone = {i for i, part in enumerate(parts) if part.root or (apart and part.pinned)}
    alone |= {i for i, part in enumerate(parts) if part.leaf and parameters(part.tops[0])}
    sign = _signs(drawn, alone)
    variables: dict[int, set[str]] = {}
    held = {i: part.label for i, part in enumerate(parts) if part.label and not part.chosen and part.label[-1] != "]"}
    for i, label in held.items():
        variables.setdefault(sign[i], set()).add(label)
    told = {i for i in held if len(variables[sign[i]]) > 1}
    sign = _signs(drawn, alone | told) if told - alone else sign
    most = max(Counter(sign).values(), default=0)

    def finish(whole: Part, members: list[Part]) -> None:
        first = members[0]
        whole.words, whole.form = first.words, first.form
        whole.copies = sum(member.copies for member in members)
        whole.name = whole.label = _shared({member.label for member in members} - {""})

    drawn.fold(
        [None if part.root else ("like", s) for part, s in zip(parts, sign, strict=True)],
        lambda _: f"samples that are alike, up to {most:,}, drawn once",
        finish,
    )


def _shared(labels: set[str]) -> str:
    """The name of nodes that are alike: the one that some have, or of the list that they stand in, `losses[…]`."""
    if len(labels) > 1:
        labels = {f"{label.rpartition('[')[0]}[…]" if label.endswith("]") else label for label in labels}
    return labels.pop() if len(labels) == 1 else ""


def _signs(drawn: Sketch, alone: Collection[int]) -> list[int]:
    """A number for each part, the same for parts that are alike."""
    signs: dict[Hashable, int] = {}
    sign: list[int] = []
    of: dict[mg.Node, int] = {}  # the same by what is read of a part

    def signed(key: Hashable) -> int:
        return signs.setdefault(key, len(signs))

    for i, part in enumerate(drawn.parts):
        node = part.tops[0]
        shape = node._data.shape if isinstance(node._data, np.ndarray) else None
        own = shape, part.chosen and part.label, part.call and part.call.path
        if i in alone:
            sign.append(signed(("alone", i)))
        elif part.leaf:
            sign.append(signed(("leaf", own)))
        elif part.words:
            sign.append(signed((part.form, own, *(sign[x] for x in part.inputs))))
        else:
            sign.append(signed((part.rule, own, _exact(node.parameters), *_operands(node, of, drawn.hidden))))
        of[node] = sign[i]
    read: dict[mg.Node, set[tuple[int, int]]] = {}
    for i, part in enumerate(drawn.parts):
        inputs = [drawn.parts[x].tops[0] for x in part.inputs] if part.words else part.tops[0].inputs
        for position, x in enumerate(inputs):
            if isinstance(x, mg.Node):
                read.setdefault(x, set()).add((sign[i], position))
    for i, part in enumerate(drawn.parts):  # data are alike where they are read alike: x[0] is not x[1]
        if part.leaf and i not in alone:
            sign[i] = signed(("read", sign[i], frozenset(read.get(part.tops[0], ()))))
    return sign


def _operands(node: mg.Node, sign: Mapping[mg.Node, int], hidden: Collection[mg.Node]) -> Iterator[Hashable]:
    """What a node reads, position by position: what constants are matters only where they are no data."""
    assert node.rule is not None
    exact = node.rule.__name__ in EXACT
    for x in node.inputs:
        if isinstance(x, mg.Node) and x not in hidden:
            yield sign[x]
        else:
            yield "constant", exact and _exact(x._data if isinstance(x, mg.Node) else x)


def _exact(x: Any) -> Hashable:
    """A constant or parameter so that equal ones are equal, nan and arrays too."""
    if isinstance(x, np.ndarray):
        return x.shape, x.dtype.str, x.tobytes()
    if isinstance(x, Mapping):
        return tuple((key, _exact(item)) for key, item in x.items())
    return tuple(map(_exact, x)) if isinstance(x, (tuple, list)) else (type(x), repr(x))


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

    drawn.fold(keys, lambda _: f"each {_listed(list(kinds))} one node", finish)


def _listed(kinds: Sequence[str]) -> str:
    """`Linear, Tanh and MLP`; of more than three, an ellipsis for the rest."""
    if len(kinds) > KINDS:
        return ", ".join([*kinds[:KINDS], "…"])
    return " and ".join(filter(None, [", ".join(kinds[:-1]), kinds[-1]]))


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
    """Modules of one kind, or of a few in turn, each of which reads the one before alone: one node, "× 12"."""
    parts, readers = drawn.parts, _readers(drawn.parts)
    lonely = Counter(id(part.call) for part in parts if part.call)
    units = [_unit(part, lonely) for part in parts]
    after: dict[int, int] = {}
    for i, (part, unit) in enumerate(zip(parts, units, strict=True)):
        if unit and len(set(part.inputs)) == 1 and not parts[part.inputs[0]].root:
            other = units[part.inputs[0]]
            if other and other.around == unit.around and readers[part.inputs[0]] == [i]:
                after[part.inputs[0]] = i
    keys: list[Key] = [None] * len(parts)
    for begin in sorted(after.keys() - set(after.values())):
        row = [begin]
        while row[-1] in after:
            row.append(after[row[-1]])
        for start, length in _repeats([unit for i in row if (unit := units[i])]):
            for i in row[start : start + length]:
                keys[i] = ("row", row[start])
    drawn.fold(keys, lambda _: "modules in a row that repeat, drawn once", _repeated)


class _Unit(NamedTuple):
    """A module that is drawn as one node."""

    text: str
    folded: bool  # of several nodes
    around: int  # the identity of the call that it was called in


def _unit(part: Part, lonely: Mapping[int, int]) -> _Unit | None:
    """The module that a part is; None for anything else."""
    if part.pinned:
        return None
    if part.module:
        return _Unit(part.module.text, True, id(part.call))
    if part.call and lonely[id(part.call)] == 1 and part.rule:
        return _Unit(part.rule, False, id(part.call.parent))
    return None


def _repeats(units: Sequence[_Unit]) -> Iterator[tuple[int, int]]:
    """Where the same few units follow each other again and again, and for how long; rather from a module on."""

    def longest(start: int) -> int:
        lengths = [0]
        for period in range(1, TURNS + 1):
            end = start + period
            while end < len(units) and units[end].text == units[end - period].text:
                end += 1
            times = (end - start) // period
            lengths.append(period * times if times > 1 else 0)
        return max(lengths)

    start = 0
    while start < len(units):
        length = longest(start)
        if length and not units[start].folded:
            later = [
                i for i in range(start, min(start + TURNS, len(units))) if units[i].folded and longest(i) >= length
            ]
            start = later[0] if later else start
        if length:
            yield start, length
        start += length or 1


def _repeated(whole: Part, members: list[Part]) -> None:
    first, last = members[0], members[-1]
    words = [member.words or member.rule for member in members]
    turns = next(n for n in range(1, len(words) + 1) if words == words[:n] * (len(words) // n))
    whole.module, whole.call = first.module or last.module, first.call
    whole.words = ", ".join(words[:turns])
    whole.times = sum(member.times for member in members) // turns
    names = [member.name or (member.call.path if member.call else "") for member in (first, last)]
    begin, end = names[0].split(" … ")[0], names[1].split(" … ")[-1]
    whole.name = names[0] if begin == end else f"{begin} … {end.rpartition('.')[2]}"


def _parallel(drawn: Sketch) -> None:
    """Edges from one node to another: one edge, "× 300"."""
    many = 0
    for part in drawn.parts:
        if part.weights is None and len(part.inputs) > PARALLEL and len(set(part.inputs)) < len(part.inputs):
            edges = Counter(part.inputs)
            part.inputs, part.weights = list(edges), list(edges.values())
            many += 1
    if many:
        drawn.folded.append("edges between the same two nodes drawn once")


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
        None
        if part.root or part.pinned
        else ("rank", depth[i], part.leaf, part.free, part.owner is None, part.rule or part.words)
        for i, part in enumerate(drawn.parts)
    ]

    def finish(whole: Part, members: list[Part]) -> None:
        copies = {member.copies for member in members}
        whole.copies = copies.pop() if len(copies) == 1 else 1
        whole.times = sum(member.times * member.copies for member in members) // whole.copies
        whole.words = members[0].words or members[0].rule or "leaves"
        whole.call = None

    drawn.fold(keys, lambda _: "equal operations at equal depth drawn once", finish)


def _bands(drawn: Sketch, limit: int) -> None:
    """All nodes of some depths: one node. Whatever the graph is, it comes to no more than `limit`."""
    parts, depth, readers = drawn.parts, _depths(drawn.parts), _readers(drawn.parts)
    alone = {i for i, part in enumerate(parts) if part.pinned or (part.root and not readers[i])}
    if len(alone) >= limit:
        alone = {i for i in alone if parts[i].pinned}
    cuts = sorted({depth[i] for i in alone if readers[i]})
    bands, deepest = max(1, min(limit - len(alone), _longest(limit))), max(depth) + 1
    keys: list[Key] = [
        None if i in alone else ("band", depth[i] * bands // deepest, int(np.searchsorted(cuts, depth[i])))
        for i in range(len(parts))
    ]

    def finish(whole: Part, members: list[Part]) -> None:
        whole.words = counted(sum(member.count for member in members), "node")
        whole.call, whole.copies = None, 1

    drawn.fold(keys, lambda _: "nodes of neighbouring depths drawn as one", finish)


# ---------------------------------------------------------------------------------------------------- partitions


def _longest(limit: int) -> int:
    """How many nodes in a row a picture of so many may have."""
    return max(SHORT, limit // ROWS)


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
        elif whole.weights or len({group[x] for x in whole.inputs}) < len(set(whole.inputs)):  # it reads several of one
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
    whole = Part(last.tops[0], [], members[0].call, any(m.root for m in members))
    shown = [part for part in tops if not part.leaf] or tops or [last]
    whole.tops = tuple(node for part in shown for node in part.tops)
    whole.count = sum(member.count for member in members)
    whole.copies = max([m.copies for m in members if not m.leaf], default=members[0].copies)
    whole.leaf = all(member.leaf for member in members)
    whole.free = all(member.free for member in members)
    whole.label = members[-1].label
    whole.pinned = any(member.pinned for member in members)
    return whole
