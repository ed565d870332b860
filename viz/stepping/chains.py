"""What lies between the root of a tape and a node: the chain, the paths, and the rule here held against differences.

>>> import microgrid as mg
>>> from viz.stepping.chains import chain, paths
>>> x = mg.Value(3.0, name="x")
>>> tape = mg.record(mg.exp(x * 2) * x)
>>> [[link.contribution.label for link in path.links] for path in paths(tape, x).shown]
[['%2', '%1', 'x'], ['x']]
>>> found = paths(tape, x)
>>> sum(path.value for path in found.shown) == found.gradient
True
>>> [link.step.op for link in chain(tape, tape[2])]
['multiply', 'exp']
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

import microgrid as mg
from viz.stepping.cursor import computable

__microgrid_machinery__ = True

UNKNOWN = "the tape keeps statistics of the arrays here, not their numbers, or was read from a file without this rule"
MOVED = 64  # elements of an array that are moved for differences
H = float(np.finfo(float).eps ** (1 / 3))  # where truncation and rounding of a central difference are even


class Link(NamedTuple):
    """A step, and what it hands to the next node of a chain."""

    step: mg.Step
    contribution: mg.Contribution


class Path(NamedTuple):
    """A way from the root to a node, and what of the node's gradient comes by it (None: the tape has no numbers)."""

    links: tuple[Link, ...]
    value: Any


class Paths(NamedTuple):
    """The ways to a node: some of them, how many there are, and the gradient that all of them together give."""

    shown: tuple[Path, ...]
    count: int  # type: ignore[assignment]  # no sequence to be counted in
    gradient: Any


def size(x: Any) -> float:
    """How large a contribution is, nan larger than all."""
    try:
        length = float(np.linalg.norm(x)) if isinstance(x, np.ndarray) else abs(float(getattr(x, "mean", x)))
    except (TypeError, ValueError):  # symbols
        return 0.0
    return math.inf if math.isnan(length) else length


def chain(tape: mg.Tape, step: mg.Step) -> list[Link]:
    """How the gradient comes from the root to a step's node: at each, by the consumer that gives most.

    Returns
    -------
    list of Link
        From the root; the step itself is not in it.
    """
    givers: dict[Any, Link] = {}
    for earlier in tape[: step.index]:
        for contribution in earlier.contributions:
            best = givers.get(contribution.input)
            if best is None or size(contribution.value) > size(best.contribution.value):
                givers[contribution.input] = Link(earlier, contribution)
    links: list[Link] = []
    node = step.node
    while node in givers:
        links.append(givers[node])
        node = givers[node].step.node
    return links[::-1]


def products(tape: mg.Tape, links: list[Link]) -> list[Any]:
    """The product of the local derivatives, from the root's gradient down, after each link; None for arrays."""
    found, product = [], None if isinstance(tape.seed, (np.ndarray, mg.Summary)) else tape.seed
    for link in links:
        local = link.contribution.local
        product = None if product is None or local is None else product * local
        found.append(product)
    return found


def paths(tape: mg.Tape, node: Any, most: int = 20) -> Paths:
    """Every way by which the root's gradient comes to a node.

    Parameters
    ----------
    tape : Tape
    node : node of the tape's graph
    most : int >= 0
        So many are listed, those by the newest nodes first; there can be very many.
    """
    counts: dict[Any, int] = {tape.root: 1}
    for step in tape:
        for contribution in step.contributions:
            counts[contribution.input] = counts.get(contribution.input, 0) + counts.get(step.node, 0)
    changes = tape.changes(node)
    gradient = changes[-1].after if changes else tape.seed if node is tape.root else None
    shown: list[Path] = []
    for links in _ways(tape, node):
        if len(shown) == most:
            break
        shown.append(Path(links, _carried(tape.seed, links)))
    return Paths(tuple(shown), counts.get(node, 0), gradient)


def _ways(tape: mg.Tape, node: Any) -> Iterator[tuple[Link, ...]]:
    """Each path from the root to the node; only nodes that lead there are visited."""
    steps = {step.node: step for step in tape}
    leads = {node}
    for step in reversed(tape):
        if any(c.input in leads for c in step.contributions):
            leads.add(step.node)
    if tape.root not in leads:
        return

    def onward(at: Any) -> Iterator[Link]:
        if at is not node and at in steps:
            yield from (Link(steps[at], c) for c in steps[at].contributions if c.input in leads)

    links: list[Link] = []
    waiting = [onward(tape.root)]
    if tape.root is node:
        yield ()
    while waiting:
        link = next(waiting[-1], None)
        if link is None:
            waiting.pop()
            if links:
                links.pop()
            continue
        links.append(link)
        if link.contribution.input is node:
            yield tuple(links)
        waiting.append(onward(link.contribution.input))


def _carried(seed: Any, links: tuple[Link, ...]) -> Any:
    """A gradient taken along one path alone: each derivative is linear in what comes from above."""
    value = seed
    with np.errstate(all="ignore"):
        for step, contribution in links:
            met = computable(step)
            if met is None or isinstance(value, mg.Summary):
                return None
            value = _fitted(met.share(contribution.position, value), contribution)
    return value


def _fitted(share: Any, contribution: mg.Contribution) -> Any:
    """A share in the shape and precision of its input; of a tape that was read from a file there is no node to ask."""
    if isinstance(contribution.input, mg.Node):
        return contribution.input._fit(share)
    like = contribution.value
    if not isinstance(like, np.ndarray):
        return share
    share = np.asarray(share)
    if share.size > like.size:
        share = share.sum(contribution.reduced).reshape(like.shape)
    return np.broadcast_to(share, like.shape).astype(like.dtype)


class Difference(NamedTuple):
    """A derivative of a rule beside differences of its value, at the element where they differ most.

    Attributes
    ----------
    contribution : Contribution
    place : tuple of int
        The element; () of a number.
    told, found : float
        The share of the rule, and of the central difference.
    left, right : float
        Of the differences to either side.
    slack : float
        What rounding and truncation may take.
    moved, elements : int
        How many elements were moved, of how many.
    """

    contribution: mg.Contribution
    place: tuple[int, ...]
    told: float
    found: float
    left: float
    right: float
    slack: float
    moved: int
    elements: int

    @property
    def agrees(self) -> bool:
        """Whether the rule is right here, as far as differences can tell."""
        same = self.told == self.found or (math.isnan(self.told) and math.isnan(self.found))
        return same or abs(self.told - self.found) <= self.slack

    @property
    def is_taken(self) -> bool:
        """Whether there is a difference at all: the value is finite here and to either side."""
        return math.isfinite(self.left) and math.isfinite(self.right)

    @property
    def is_smooth(self) -> bool:
        """Whether both sides say the same: then moving by less shows nothing but rounding."""
        return abs(self.right - self.left) <= 1e-3 * (abs(self.right) + abs(self.left))

    @property
    def at_a_kink(self) -> bool:
        """Whether the two sides differ, and the rule takes one of them or something between."""
        low, high = sorted((self.left, self.right))
        return not self.agrees and low - self.slack <= self.told <= high + self.slack


def differences(step: mg.Step) -> list[Difference]:
    """Hold each derivative of a step's rule against differences of its value, where the step met it.

    Raises
    ------
    ValueError
        If the tape has no numbers there, or they are symbols.
    """
    met = computable(step)
    if met is None or (rule := met.rule) is None:
        raise ValueError(UNKNOWN)
    try:
        inputs = [_wide(x) for x in met.inputs]
        upstream = _wide(met.g)
    except (TypeError, ValueError):
        raise ValueError("these are symbols: differences need numbers") from None

    def weighted(position: int, moved: Any) -> float:
        given = [moved if i == position else x for i, x in enumerate(inputs)]
        with np.errstate(all="ignore"):
            return float(np.sum(upstream * np.asarray(rule(*given, **met.parameters))))

    return [_worst(weighted, inputs[c.position], c, upstream, met) for c in step.contributions if np.size(c.value)]


def _wide(x: Any) -> Any:
    """In double precision, whatever it was in; integers and flags as they are."""
    if isinstance(x, np.ndarray):
        return x.astype(float) if x.dtype.kind == "f" else x
    return x if x is None or isinstance(x, (bool, int)) else float(x)


def _worst(weighted: Any, x: Any, contribution: mg.Contribution, upstream: Any, met: Any) -> Difference:
    """Of the elements of one input, that whose differences are furthest from the rule."""
    single = not isinstance(x, np.ndarray)
    shape, elements = np.shape(x), int(np.size(x))
    moved = np.unique(np.linspace(0, elements - 1, min(elements, MOVED)).astype(int))
    here = weighted(contribution.position, x)
    narrow = getattr(met.z, "dtype", None) == np.float32
    spread = float(np.sum(np.abs(upstream * np.asarray(met.z, dtype=float))))

    def difference(place: tuple[int, ...], at: float, h: float) -> Difference:
        around = []
        for signed in (-h, h):
            nudged: Any = at + signed
            if not single:
                nudged = x.copy()
                nudged[place] = at + signed
            around.append(weighted(contribution.position, nudged))
        told = float(contribution.value[place] if not single else contribution.value)
        central = (around[1] - around[0]) / (2 * h)
        scale = abs(here) + spread + abs(central)
        slack = (1e-4 if narrow else 1e-6) * (abs(central) + abs(told)) + 8 * H * H * scale
        slack = slack if math.isfinite(slack) else 0.0
        left, right = (here - around[0]) / h, (around[1] - here) / h
        return Difference(contribution, place, told, central, left, right, slack, len(moved), elements)

    found = []
    for flat in moved:
        place = tuple(int(i) for i in np.unravel_index(flat, shape))
        at = float(x[place]) if not single else float(x)
        tried: list[Difference] = []
        for h in _widths(at):
            tried.append(difference(place, at, h))
            if tried[-1].agrees or tried[-1].is_smooth:
                break
        found.append(min(tried, key=_how_far))
    return max(found, key=_how_far)


def _widths(at: float) -> list[float]:
    """How far a number is moved: as is usual, and then by less, for a logarithm near 0 or a sine far from it."""
    widths = [H * max(1.0, abs(at)), H * abs(at), H * math.sqrt(abs(at))]
    return [h for h in dict.fromkeys(widths) if at - h < at < at + h] or widths[:1]


def _how_far(d: Difference) -> tuple[bool, float]:
    return not d.agrees, size(d.told - d.found)
