"""Tapes: all steps of one backward pass, to be looked at in any order, kept in a file, and read again.

>>> import microgrid as mg
>>> x = mg.Value(3.0, name="x")
>>> tape = mg.record(x * x + 2 * x)
>>> len(tape), tape[-1].label
(3, '%1')
>>> [(change.index, change.before, change.after) for change in tape.changes(x)]
[(1, None, 2.0), (2, 2.0, 5.0), (2, 5.0, 8.0)]
>>> tape.before(2)["x"]
2.0
"""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, SupportsIndex, TypeAlias, overload

import numpy as np

from microgrid import sites
from microgrid.graph import Node, Share, Walk, check_root, fast_pass, keep as store, seeded, topological_order
from microgrid.stepping import tape_files
from microgrid.stepping.steps import Applied, Contribution, Names, Step, Summary, brief, one_line, reached, step_of

__microgrid_machinery__ = True

KEPT = 4096  # numbers: of an array of more, a tape keeps a summary


class Change(NamedTuple):
    """A step that changes the gradient of a node: from `before` (None: none yet) to `after`."""

    index: int  # type: ignore[assignment]  # as of a step
    before: Any
    after: Any
    contribution: Contribution

    def __repr__(self) -> str:
        return one_line(f"<step {self.index}: {brief(self.before)} -> {brief(self.after)}>")


class Tape(Sequence[Step]):
    """The steps of a backward pass, newest node first; `record` makes one. It changes no more, whatever the graph does.

    Attributes
    ----------
    root : Node
        What was differentiated.
    seed : number or array
        The gradient that the pass began with.
    labels : dict of Node to str
        What each node of the graph is called, inputs before their consumers.
    values : dict of Node to number, array or Summary
        What each node held when the pass ran.
    """

    def __init__(
        self, root: Any, seed: Any, labels: Mapping[Any, str], values: Mapping[Any, Any], length: int,
        steps: Callable[[], Iterable[Step]], hooked: Mapping[Any, Any],
    ) -> None:  # fmt: skip
        self.root, self.seed, self.labels, self.values = root, seed, labels, values
        self._length, self._made, self._hooked = length, steps, hooked

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(self._made())

    @cached_property
    def _nodes(self) -> dict[str, Any]:
        """The nodes by their labels, and by those names that are no labels."""
        nodes = {node.name: node for node in reversed(list(self.labels)) if node.name}
        return nodes | {label: node for node, label in self.labels.items()}

    def __len__(self) -> int:
        return self._length

    @overload
    def __getitem__(self, index: SupportsIndex) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Step]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> Step | Sequence[Step]:
        if isinstance(index, slice):
            return self._steps[index]
        return self._steps[self._place(index)]

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    def __repr__(self) -> str:
        return one_line(f"<Tape of {len(self)} steps from {self.labels[self.root]}>")

    def before(self, index: SupportsIndex) -> dict[str, Any]:
        """The gradients of this pass as they stand before a step (or, for `len(tape)`, at the end), by label.

        Parameters
        ----------
        index : int from -len(tape) to len(tape)

        Raises
        ------
        IndexError
        """
        end = len(self) if index == len(self) else self._place(index)
        gradients = {self.labels[self.root]: self.seed}
        for step in self._steps[:end]:
            gradients[step.label] = step.upstream  # as its hooks left it
            for contribution in step.contributions:
                gradients[contribution.label] = contribution.after
        if end < len(self):
            gradients[self._steps[end].label] = self._steps[end].upstream
        else:
            gradients.update({self.labels[node]: gradient for node, gradient in self._hooked.items()})
        return gradients

    def changes(self, node: Any) -> list[Change]:
        """Every step that changes a node's gradient, in order.

        Parameters
        ----------
        node : Node or str
            The node, its name, or its label, as `%7`.

        Raises
        ------
        KeyError
            If it is no node of the graph.
        """
        return list(self._changes.get(self.node(node), ()))

    @cached_property
    def _changes(self) -> dict[Any, list[Change]]:
        """For each node every change of its gradient."""
        found: dict[Any, list[Change]] = {}
        for step in self._steps:
            for c in step.contributions:
                found.setdefault(c.input, []).append(Change(step.index, c.before, c.after, c))
        return found

    def step_of(self, node: Any) -> Step | None:
        """The step in which a node hands its gradient on; None for a leaf, and where the pass did not reach it."""
        node = self.node(node)
        return next((step for step in self._steps if step.node is node), None)

    def node(self, given: Any) -> Any:
        """A node of the graph, by itself, its label or its name.

        Raises
        ------
        KeyError
        """
        if isinstance(given, str) and given in self._nodes:
            return self._nodes[given]
        if isinstance(given, (Node, tape_files.Recorded)) and given in self.labels:
            return given
        known = ", ".join(list(self.labels.values())[-8:])
        what = repr(given) if isinstance(given, str) else f"this {type(given).__name__}"
        raise KeyError(f"{what} is no node of this graph, which has {known}, at {sites.here()}")

    def _place(self, index: SupportsIndex) -> int:
        try:
            place = operator.index(index)
        except TypeError:
            raise TypeError(f"a step's index: expected an int, got {index!r:.40}, at {sites.here()}") from None
        if not -len(self) <= place < len(self):
            raise IndexError(f"step {place} of a tape of {len(self)} steps, at {sites.here()}")
        return place % len(self)

    # ------------------------------------------------------------------ files

    def to_dict(self) -> dict[str, Any]:
        """The tape in numbers, words, lists and dicts, as `save` writes it."""
        return tape_files.told(self.root, self.seed, self.labels, self.values, self._steps, self._hooked)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tape to a file, as JSON; whatever happens, the file is the old one or the new one.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        import json  # here, since few programs need them

        from microgrid import saving

        saving.write(path, json.dumps(self.to_dict(), allow_nan=False).encode())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Tape:
        """Read a tape that `save` wrote. Its nodes are told of, and belong to no graph.

        Raises
        ------
        ValueError
            If the file holds no tape, or a broken one.
        OSError
            If it cannot be read.
        """
        with open(os.fspath(path), "rb") as file:  # of a number it would read an open file
            content = file.read()
        try:
            root, seed, labels, values, steps, hooked = tape_files.read(content)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)} is no tape of microgrid's: {error}, at {sites.here()}") from None
        return cls(root, seed, labels, values, len(steps), lambda: steps, hooked)


def record(root: Node, gradient: Any = None, *, params: Any = None, keep: Literal["some", "all"] = "some") -> Tape:
    """Run the backward pass of `root.backward(gradient)`, and remember each of its steps.

    Parameters
    ----------
    root : Value or Tensor
    gradient : optional
        As for `backward`.
    params : Module, or mapping of str to node, optional
        Names: of a model's parameters and modules (whatever has `named_parameters()`), or of nodes.
    keep : {"some", "all"}
        Of an array of more than 4,096 numbers keep a `Summary`, or every number.

    Returns
    -------
    Tape

    Raises
    ------
    ValueError, StaleError
        As `backward`.

    Notes
    -----
    The pass is the real one: it stores the same gradients, to the bit.
    """
    check_root(root, "record")
    if keep not in ("some", "all"):
        raise ValueError(f"record: keep: expected 'some' or 'all', got {keep!r}, at {sites.here()}")
    return _recorded(root, gradient, params, KEPT if keep == "some" else math.inf, stored=True)


def as_far_as_it_goes(
    root: Node, gradient: Any, params: Any, keep: Literal["some", "all"], stored: bool
) -> tuple[Tape, Exception | None]:
    """The tape of a pass; of one that raises, that of its steps until then, of which the last hands nothing on.

    And what it raised. Gradients are stored if `stored` and nothing was raised.

    Raises
    ------
    ValueError
        If nothing can be differentiated there.
    """
    check_root(root, "backward")
    errors: list[Exception] = []
    tape = _recorded(root, gradient, params, KEPT if keep == "some" else math.inf, stored, errors)
    return tape, errors[0] if errors else None


def looked_at(root: Node, gradient: Any = None, params: Any = None) -> Tape:
    """The tape, with every number, of a pass that stores no gradient and raises at none that is not finite."""
    return _recorded(root, gradient, params, math.inf, stored=False)


def _recorded(
    root: Node, gradient: Any, params: Any, limit: float, stored: bool, errors: list[Exception] | None = None
) -> Tape:
    """A tape; with a list of errors, what a pass raises goes there, and the tape ends at the node where it was."""
    order = topological_order(root)
    names = Names(order, params)
    seed = seeded(root, gradient, create_graph=False)
    values = {node: _snapshot(node._data, limit) for node in order}  # before hooks could change them
    walk = Walk(order, {root: seed})
    nodes = reached(walk)
    hooked: dict[Node, Any] = {}
    rows: Callable[[], Iterable[_Row]] | None = None
    if stored and gradient is None and isinstance(seed, float) and all(node.rule.ours for node in nodes if node.rule):
        wanted = {node for node in order if node.requires_grad}
        if fast_pass(root):
            rows = lambda: _replayed(nodes, wanted, values, seed)  # noqa: E731
    if rows is None:
        if not stored and errors is None:
            walk.watch = None
        kept: list[_Row] = []
        try:
            hooked = _walked(walk, limit, kept)
        except Exception as error:
            if errors is None:
                raise
            within: Any = error.__traceback__  # this frame, then that of `_walked`
            errors.append(error.with_traceback(within.tb_next.tb_next))
            node = nodes[min(len(kept), len(nodes) - 1)]  # a hook of a leaf raises after the last
            nodes = nodes[: len(kept) + 1]
            if len(kept) < len(nodes):
                kept.append((node, _snapshot(walk.gradients[node], limit), []))
        if stored and not errors:
            store(order, walk.gradients, None, False)
        rows = lambda: kept  # noqa: E731

    def steps() -> Iterator[Step]:  # when they are first looked at
        for index, (node, g, shares) in enumerate(rows()):
            numbers = tuple([values[x] if isinstance(x, Node) else _snapshot(x, limit) for x in node.inputs])
            applied = Applied(node.rule, g, values[node], numbers, node.parameters)
            yield step_of(node, applied, shares, names, index, len(nodes))

    return Tape(root, _snapshot(seed, limit), names.labels, values, len(nodes), steps, hooked)


_Row: TypeAlias = tuple[Node, Any, list[Share]]  # a node, its gradient, and what it handed on


def _replayed(nodes: list[Node], wanted: set[Node], values: dict[Node, Any], seed: float) -> Iterator[_Row]:
    """The rows of a pass over floats that has been run, from the numbers that it met."""
    gradients = {nodes[0]: seed}
    for node in nodes:
        rule, g = node.rule, gradients[node]
        assert rule is not None
        numbers = tuple([values[x] if isinstance(x, Node) else x for x in node.inputs])
        applied = Applied(rule, g, values[node], numbers, node.parameters)
        shares = []
        for position, x in enumerate(node.inputs):
            if isinstance(x, Node) and x in wanted and rule.wrt[0 if rule.variadic else position]:
                share, before = float(applied.share(position, g)), gradients.get(x)
                gradients[x] = after = share if before is None else before + share
                shares.append((position, share, before, after))
        yield node, g, shares


def _walked(walk: Walk, limit: float, rows: list[_Row]) -> dict[Node, Any]:
    """Run a walk: its rows in arrays of the tape's own, each copied once; what hooks made of leaves' gradients."""
    latest = {node: (gradient, _snapshot(gradient, limit)) for node, gradient in walk.gradients.items()}
    hooked = {}
    with np.errstate(all="ignore"):
        for node, g, shares in walk:
            met, kept = latest[node]
            if met is not g:  # a hook has replaced it
                kept = _snapshot(g, limit)
            if node.rule is None:
                if met is not g:
                    hooked[node] = kept
                continue
            row = []
            for position, share, before, after in shares:
                x = node.inputs[position]
                was = latest[x][1] if before is not None else None
                part = kept if share is g else _snapshot(share, limit)
                latest[x] = (after, part if after is share else _snapshot(after, limit))
                row.append((position, part, was, latest[x][1]))
            rows.append((node, kept, row))
    return hooked


def _snapshot(x: Any, limit: float) -> Any:
    """A number as it is; an array as one that nobody writes to, or what is kept of it."""
    if not isinstance(x, np.ndarray):
        return x
    if x.size <= limit:
        copied = x.copy()
        copied.setflags(write=False)
        return copied
    ok = x[np.isfinite(x)] if x.dtype.kind == "f" else x
    with np.errstate(all="ignore"):
        low, mean, high = (float(f(ok)) for f in (np.min, np.mean, np.max)) if ok.size else (math.nan,) * 3
    return Summary(x.shape, x.dtype.str, low, mean, high, x.size - ok.size)
