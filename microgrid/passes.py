"""The backward pass of a graph of Tensors, quicker than the general walk, emitted from the rules.

The pull of a rule, which hands the gradient of a node on to its inputs, is compiled when it is first used. A pass
serves the plain case alone: Tensors, and nothing special going on (no hook, no mode, no data written to). Whatever
else comes up goes to the walk of `graph`, which gives the same bits.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from microgrid import kinds, modes, stale
from microgrid.emitter import ArrayCode, Code, compiled
from microgrid.graph import Node, age, differentiate, held
from microgrid.rule import Rule
from microgrid.shapes import filled
from microgrid.shortcuts import array_code

__microgrid_machinery__ = True

# ------------------------------------------------------------------------------------------------ rule by rule
# A pull hands the gradient of one node, which stands in its `_share`, on to the `_share` of its inputs.


def derivatives(rule: type[Rule]) -> dict[str, Any]:
    """What code that calls the derivatives of a rule needs."""
    return {f"wrt_{x}": wrt for x, wrt in zip(rule.inputs, rule.wrt, strict=True)}


def written_share(rule: type[Rule], x: str, wrt: Callable[..., Any], code: type[Code]) -> str:
    """A derivative written out, where it is arithmetic; a call of it, where it is more than that."""
    arguments = ["g", "z", *rule.inputs]
    if rule.parameters:
        return f"wrt_{x}({', '.join(arguments)}, **node.parameters)"
    try:
        return str(wrt(*map(code, arguments)))
    except (AttributeError, TypeError):  # it asks for a shape or a matrix product: then it wants arrays
        return f"wrt_{x}({', '.join(arguments)})"


def _pull_by_the_graph(node: Any) -> None:
    for position, share in differentiate(node, node._share, None, False):
        x = node.inputs[position]
        x._share = share if x._share.__class__ is _Nothing else x._share + share


def pull_of_arrays(rule: type[Rule]) -> Callable[[Any], None]:
    """The pull of a rule between Tensors."""
    if not rule.ours or rule.variadic:
        return _pull_by_the_graph
    name = f"backward_of_{rule.__name__}_of_arrays"
    lines = [
        f"def {name}(node):",
        "    g, z = node._share, node._data",
        f"    {', '.join(f'node_{x}' for x in rule.inputs)}, = node.inputs",
    ]
    for x in rule.inputs:
        lines += [f"    is_{x} = isinstance(node_{x}, Node)", f"    {x} = node_{x}._data if is_{x} else node_{x}"]
    for x, wrt in zip(rule.inputs, rule.wrt, strict=True):
        if wrt is not None:
            lines += [
                f"    if is_{x} and node_{x}.requires_grad:",
                f"        share = {written_share(rule, x, wrt, ArrayCode)}",
                f"        if share.__class__ is not ndarray or share.shape != {x}.shape or "
                f"share.dtype is not {x}.dtype: share = node_{x}._fit(share)",
                f"        before = node_{x}._share",
                f"        node_{x}._share = share if before.__class__ is Nothing else before + share",
            ]
    scope = {"Node": Node, "Nothing": _Nothing, **array_code()}
    return compiled(name, lines, scope | derivatives(rule))


class _Pulls(dict[Any, Callable[[Any], None]]):
    """The pull of each rule, emitted when it is first needed."""

    def __init__(self, emit: Callable[[type[Rule]], Callable[[Any], None]]) -> None:
        super().__init__()
        self.emit = emit

    def __missing__(self, rule: type[Rule]) -> Callable[[Any], None]:
        pull = self.emit(rule)
        if rule.ours:  # a class that a user made and dropped is not kept alive
            self[rule] = pull
        return pull


pulls_of_arrays = _Pulls(pull_of_arrays)


# ------------------------------------------------------------------------------------------------ a whole pass


faces_of_arrays: set[Any] = set()  # Tensor and its subclasses


class _Nothing:
    """The gradient of an array before its first share."""


def backward_of_arrays(root: Any) -> bool:
    """The backward pass of a graph of Tensors; False, with nothing done, where that is not all there is to it."""
    graph = _reached(root, faces_of_arrays, _Nothing(), others=True) if root._data.size == 1 else None
    if graph is None:
        return False
    kinds.quietly(_run_arrays, graph, filled(root._data.shape, root._data.dtype, 1))
    return True


def _run_arrays(graph: _Graph, seed: Any) -> None:
    _run(graph, seed, pulls_of_arrays)
    taken = held(graph.operations)
    for node in graph.operations:
        share, node._share = node._share, None
        if share.__class__ is np.ndarray and share.base is None and id(share) not in taken:  # its own already
            taken.add(id(share))
            node._grad = share
        else:
            node._grad = None if share.__class__ is _Nothing else node._own(share, taken)
    for node in graph.leaves:
        share, node._share = node._share, None
        before = node._grad
        if before is not None:
            node._grad = before if share.__class__ is _Nothing else node._fit(before + share)
        elif share.__class__ is np.ndarray and share.base is None and id(share) not in taken:
            taken.add(id(share))
            node._grad = share
        elif share.__class__ is not _Nothing:
            node._grad = node._own(share, taken)


class _Graph(NamedTuple):
    """What a gradient flows to."""

    operations: list[Any]  # newest first
    leaves: list[Any]


def _reached(root: Any, faces: set[Any], nothing: Any, others: bool) -> _Graph | None:
    """What a gradient flows to from the root.

    A node that was reached is known by its share, which is `nothing`: an object of this pass alone. None, where the
    general walk is needed: where a mode is on, where a node has a hook or was handed out or written to, where one that
    requires a gradient is not of these faces, or where there is another or a rule has constant inputs (unless `others`
    are allowed).
    """
    if modes.special.count or root.rule is None or marked(root):
        return None
    operations: list[Any] = []  # list[Any]() would take longer than a small pass
    leaves: list[Any] = []
    waiting = [root]
    root._share = nothing
    while waiting:
        node = waiting.pop()  # the newest first: what was made together lies together in memory
        operations.append(node)
        if not others and node.rule.constant:
            return None
        for x in node.inputs:
            if x.__class__ in faces:
                if x._share is nothing:
                    continue
                if x._extra is not None and marked(x):
                    return None
                if x.requires_grad:
                    x._share = nothing
                    (leaves if x.rule is None else waiting).append(x)
            elif isinstance(x, Node) and (x.requires_grad or not others or marked(x)):
                return None
    operations.sort(key=age, reverse=True)
    if operations[-1]._number <= stale.last.write:
        return None  # data was written to since the oldest operation: the general walk looks at each edge
    return _Graph(operations, leaves)


def _run(graph: _Graph, seed: Any, pulls: dict[Any, Callable[[Any], None]]) -> None:
    """Hand the seed down."""
    node = graph.operations[0]
    node._share = seed
    try:
        for node in graph.operations:
            pulls[node.rule](node)
    except BaseException as error:
        if not getattr(error, "__notes__", None):
            error.add_note(f"while differentiating {node._written()}")
        raise


def marked(node: Any) -> bool:
    """Whether it has a hook, or its data was handed out or written to."""
    return node._extra is not None and not node._extra.keys() <= {"name"}
