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
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, NamedTuple, overload

import numpy as np

from microgrid import rules, saving, sites
from microgrid.graph import Node, check_root, fast_pass, seeded, topological_order
from microgrid.rule import Rule
from microgrid.steps import Applied, Contribution, Names, Step, Told, step_of, stepped

__microgrid_machinery__ = True

KEPT = 4096  # numbers: of an array of more, a tape keeps a summary
VERSION = 1


class Summary(NamedTuple):
    """What a tape keeps of an array of more than 4,096 numbers. Of those that are finite: least, mean, largest."""

    shape: tuple[int, ...]
    dtype: str
    least: float
    mean: float
    largest: float
    not_finite: int

    def __str__(self) -> str:
        extent = f"{self.shape} {self.dtype} in [{self.least:.4g}, {self.largest:.4g}], mean {self.mean:.4g}"
        return extent + (f", {self.not_finite} not finite" if self.not_finite else "")

    @property
    def is_finite(self) -> bool:
        """Whether all numbers are."""
        return not self.not_finite


class Change(NamedTuple):
    """A step that changes the gradient of a node: from `before` (None: none yet) to `after`."""

    index: int  # type: ignore[assignment]  # as of a step
    before: Any
    after: Any
    contribution: Contribution


class Recorded:
    """A node of a tape that was read from a file: what was told of it, and no graph."""

    rule: type[Rule] | None
    inputs: tuple[Any, ...]

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.name: str | None = told["name"]
        self.op: str = told["op"]
        self.rule = getattr(rules, self.op, None) if told["ours"] else None
        self.requires_grad: bool = told["requires_grad"]
        self.site = sites.Site(*told["site"]) if told["site"] else None
        self.value = decoded(told["value"])
        self.parameters: dict[str, Any] = {name: decoded(item) for name, item in told["parameters"].items()}
        self.inputs = ()

    def __repr__(self) -> str:
        return f"<{self.name or self.op or 'leaf'}, read from a file>"


class Tape(Sequence[Step]):
    """The steps of a backward pass, newest node first; `record` makes one. It changes no more, whatever the graph does.

    Attributes
    ----------
    root : Node
        What was differentiated.
    labels : dict of Node to str
        What each node of the graph is called, inputs before their consumers.
    modules : dict of str to str
        The module in whose call a node was made, by the node's label.
    """

    def __init__(self, root: Any, seed: Any, steps: Callable[[], Iterable[Step]], labels: Mapping[Any, str]) -> None:
        self.root, self.seed, self.labels = root, seed, labels
        self._made = steps

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        return tuple(self._made())

    @cached_property
    def _nodes(self) -> dict[str, Any]:
        return {label: node for node, label in self.labels.items()}

    def __len__(self) -> int:
        return len(self._steps)

    @overload
    def __getitem__(self, index: int) -> Step: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Step]: ...
    def __getitem__(self, index: int | slice) -> Step | Sequence[Step]:
        if isinstance(index, slice):
            return self._steps[index]
        return self._steps[self._place(index)]

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    def __repr__(self) -> str:
        return f"<Tape of {len(self)} steps from {self.labels[self.root]}>"

    def before(self, index: int) -> dict[str, Any]:
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
        node = self.node(node)
        return [
            Change(step.index, c.before, c.after, c)
            for step in self._steps
            for c in step.contributions
            if c.input is node
        ]

    def step_of(self, node: Any) -> Step | None:
        """The step in which a node hands its gradient on; None for a leaf, and where the pass did not reach it."""
        node = self.node(node)
        return next((step for step in self._steps if step.node is node), None)

    def node(self, given: Any) -> Any:
        """A node of the graph, by itself or by its label.

        Raises
        ------
        KeyError
        """
        if isinstance(given, str) and given in self._nodes:
            return self._nodes[given]
        if not isinstance(given, str) and given in self.labels:
            return given
        known = ", ".join(list(self._nodes)[-8:])
        what = repr(given) if isinstance(given, str) else f"a {type(given).__name__} that"
        raise KeyError(f"{what} is no node of this graph, which has {known}, at {sites.here()}")

    def _place(self, index: int) -> int:
        if not -len(self) <= index < len(self):
            raise IndexError(f"step {index} of a tape of {len(self)} steps, at {sites.here()}")
        return index % len(self)

    # ------------------------------------------------------------------ files

    def to_dict(self) -> dict[str, Any]:
        """The tape in numbers, words, lists and dicts, as `save` writes it."""
        places = {node: place for place, node in enumerate(self.labels)}
        return {
            "format": "microgrid tape",
            "version": VERSION,
            "root": places[self.root],
            "seed": encoded(self.seed),
            "nodes": [_node_told(node, label, places) for node, label in self.labels.items()],
            "steps": [
                {
                    "node": places[step.node],
                    "module": step.module,
                    "upstream": encoded(step.upstream),
                    "contributions": [_contribution_told(c) for c in step.contributions],
                }
                for step in self._steps
            ],
        }

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the tape to a file, as JSON; whatever happens, the file is the old one or the new one.

        Raises
        ------
        OSError
            If the file cannot be written.
        """
        import json  # here, since few programs need it

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
        import json

        try:
            with open(path, encoding="utf-8") as file:
                return cls._from_dict(json.load(file))
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
            reason = f"{type(error).__name__}: {error}" if not isinstance(error, ValueError) else str(error)
            raise ValueError(f"{os.fspath(path)} is no tape of microgrid's: {reason}, at {sites.here()}") from None

    @classmethod
    def _from_dict(cls, told: Any) -> Tape:
        if not isinstance(told, dict) or told.get("format") != "microgrid tape":
            raise ValueError("it does not say so")
        if told["version"] != VERSION:
            raise ValueError(f"it is of version {told['version']}, and this microgrid reads version {VERSION}")
        nodes = [Recorded(node) for node in told["nodes"]]
        for node, of in zip(nodes, told["nodes"], strict=True):
            node.inputs = tuple(nodes[x["node"]] if _is_node(x) else decoded(x) for x in of["inputs"])
        labels = {node: str(of["label"]) for node, of in zip(nodes, told["nodes"], strict=True)}
        total = len(told["steps"])
        steps = []
        for index, of in enumerate(told["steps"]):
            node, upstream = nodes[of["node"]], decoded(of["upstream"])
            contributions = tuple(_contribution(node, labels, given) for given in of["contributions"])
            steps.append(Step(index, total, node, labels[node], of["module"], upstream, contributions))
        return cls(nodes[told["root"]], decoded(told["seed"]), lambda: steps, labels)


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
    limit = KEPT if keep == "some" else math.inf
    order = topological_order(root)
    names = Names(order, params)
    seed = seeded(root, gradient, create_graph=False)
    if gradient is None and isinstance(seed, float):
        numbers = [node._data for node in order]  # before hooks could change them
        if fast_pass(root):
            return Tape(root, seed, lambda: _replayed(order, numbers, seed, names), names.labels)
    steps = [_kept(step, limit) for step in stepped(order, {root: seed}, names)]
    return Tape(root, _snapshot(seed, limit), lambda: steps, names.labels)


def _replayed(order: list[Node], numbers: list[Any], seed: float, names: Names) -> Iterator[Step]:
    """The steps of a pass over floats that has been run, from the numbers that it met; made when first looked at."""
    of = dict(zip(order, numbers, strict=True))
    gradients = {order[-1]: seed}
    reached = [node for node in reversed(order) if node.rule is not None and node.requires_grad]
    for index, node in enumerate(reached):
        rule, upstream = node.rule, gradients[node]
        assert rule is not None
        inputs = tuple([of[x] if isinstance(x, Node) else x for x in node.inputs])
        applied = Applied(rule, upstream, of[node], inputs, node.parameters)
        shares = []
        for position, x in enumerate(node.inputs):
            if isinstance(x, Node) and x.requires_grad and rule.wrt[0 if rule.variadic else position]:
                share, before = float(applied.share(position, upstream)), gradients.get(x)
                gradients[x] = after = share if before is None else before + share
                shares.append((position, share, before, after))
        yield step_of(node, applied, shares, names, index, len(reached))


def _kept(step: Step, limit: float) -> Step:
    """The step with arrays of its own, that nobody writes to."""
    if not isinstance(step.upstream, np.ndarray) and not isinstance(step.node._data, np.ndarray):
        return step  # floats and their like never change
    upstream, applied = _snapshot(step.upstream, limit), None
    if step.contributions and isinstance(met := step.contributions[0].applied, Applied):
        z, *inputs = [_snapshot(x, limit) for x in (met.z, *met.inputs)]
        if not any(isinstance(x, Summary) for x in (upstream, z, *inputs)):
            applied = Applied(met.rule, upstream, z, tuple(inputs), met.parameters)
    contributions = tuple(
        c._replace(
            value=_snapshot(c.value, limit),
            before=_snapshot(c.before, limit),
            after=_snapshot(c.after, limit),
            applied=applied or Told(c.local, c.reduced, c.formula),
        )
        for c in step.contributions
    )
    return step._replace(upstream=upstream, contributions=contributions)


def _snapshot(x: Any, limit: float) -> Any:
    if not isinstance(x, np.ndarray):
        return x
    if x.size <= limit:
        copied = x.copy()
        copied.setflags(write=False)
        return copied
    ok = x[np.isfinite(x)] if x.dtype.kind == "f" else x
    low, mean, high = (float(f(ok)) for f in (np.min, np.mean, np.max)) if ok.size else (math.nan,) * 3
    return Summary(x.shape, str(x.dtype), low, mean, high, x.size - ok.size)


# --------------------------------------------------------------------------------------- numbers as JSON and back


def encoded(x: Any) -> Any:
    """A number, array, or parameter of a rule in what JSON has; everything else as its text."""
    if x is None or isinstance(x, (bool, str)) or (isinstance(x, (int, float)) and math.isfinite(x)):
        return x
    if isinstance(x, float):
        return {"float": str(x)}
    if isinstance(x, np.ndarray) and x.dtype.kind in "fiub":
        flat = [encoded(number) for number in x.ravel().tolist()]
        return {"array": flat, "shape": list(x.shape), "dtype": x.dtype.str}
    if isinstance(x, Summary):
        return {"summary": [encoded(field) for field in x]}
    if type(x).__name__ == "Fraction":
        return {"fraction": str(x)}
    if isinstance(x, (tuple, list)):
        return {"tuple": [encoded(item) for item in x]}
    if isinstance(x, slice):
        return {"slice": [encoded(item) for item in (x.start, x.stop, x.step)]}
    return {"text": str(x)}


def decoded(x: Any) -> Any:
    """What `encoded` was given.

    Raises
    ------
    ValueError
        If it is nothing that `encoded` gives.
    """
    if not isinstance(x, dict):
        if isinstance(x, list):
            raise ValueError("a list stands where a number should")
        return x
    (kind, given), *rest = x.items()
    if kind == "array":
        array = np.array([decoded(number) for number in given], np.dtype(x["dtype"])).reshape(x["shape"])
        array.setflags(write=False)
        return array
    if rest or kind not in _DECODERS:
        raise ValueError(f"{kind!r} is no kind of number")
    return _DECODERS[kind](given)


def _fraction(text: str) -> Any:
    from fractions import Fraction

    return Fraction(text)


_DECODERS: dict[str, Any] = {
    "float": lambda text: {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}[text],
    "summary": lambda fields: Summary(*(tuple(decoded(fields[0])), *map(decoded, fields[1:]))),
    "fraction": _fraction,
    "tuple": lambda items: tuple(map(decoded, items)),
    "slice": lambda items: slice(*map(decoded, items)),
    "text": str,
}


def _node_told(node: Any, label: str, places: Mapping[Any, int]) -> dict[str, Any]:
    value = node.value if isinstance(node, Recorded) else _snapshot(node._data, KEPT)
    return {
        "label": label,
        "name": node.name,
        "op": node.op if isinstance(node, Recorded) else node.rule.__name__ if node.rule else "",
        "ours": node.rule is not None and node.rule.ours,
        "requires_grad": node.requires_grad,
        "site": list(node.site) if node.site else None,
        "value": encoded(value),
        "parameters": {name: encoded(item) for name, item in node.parameters.items()},
        "inputs": [
            {"node": places[x]} if isinstance(x, (Node, Recorded)) else encoded(_snapshot(x, KEPT)) for x in node.inputs
        ],
    }


def _contribution_told(c: Contribution) -> dict[str, Any]:
    return {
        "position": c.position,
        "slot": c.slot,
        **{name: encoded(getattr(c, name)) for name in ("value", "before", "after", "local")},
        "reduced": list(c.reduced),
        "formula": c.formula,
    }


def _contribution(node: Recorded, labels: Mapping[Any, str], of: Mapping[str, Any]) -> Contribution:
    x = node.inputs[of["position"]]
    told = Told(decoded(of["local"]), tuple(of["reduced"]), str(of["formula"]))
    value, before, after = (decoded(of[name]) for name in ("value", "before", "after"))
    return Contribution(x, labels[x], str(of["slot"]), value, before, after, of["position"], told)


def _is_node(x: Any) -> bool:
    return isinstance(x, dict) and "node" in x
