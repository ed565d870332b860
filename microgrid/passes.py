"""The backward pass of a graph of Tensors, quicker than the general walk, emitted from the rules.

The pull of a rule, which hands the gradient of a node on to its inputs, is compiled when it is first used. A pass
serves the plain case alone: Tensors, and nothing special going on (no hook, no mode, no data written to). Whatever
else comes up goes to the walk of `graph`, which gives the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any, TypeAlias

import numpy as np

from microgrid import kinds, modes, stale
from microgrid.emitter import ArrayCode, Code, MatrixCode, compiled
from microgrid.graph import Node, Walk, differentiate, held, keep, topological_order
from microgrid.rule import Rule
from microgrid.shapes import filled, unbroadcast
from microgrid.shortcuts import array_code, faces_of_arrays

__microgrid_machinery__ = True

# ------------------------------------------------------------------------------------------------ rule by rule


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


def share_of_arrays(rule: type[Rule], x: str, wrt: Callable[..., Any]) -> str:
    """A derivative of arrays written out; where matrices are multiplied, for matrices and for all that is none."""
    general, matrices = (written_share(rule, x, wrt, code) for code in (ArrayCode, MatrixCode))
    if ".dot(" not in matrices or ".dot(" in general:
        return general
    names = [name for name in ("g", "z", *rule.inputs) if re.search(rf"\b{name}\b", matrices)]
    alike = " and ".join(f"{name}.ndim == 2 and {name}.size > 1" for name in names)
    return f"{matrices} if {alike} else {general}"


# Hands the gradient g of a node on to its inputs: pull(node, g, gradients, waiting). An input that has its first share
# is put among the gradients, and where it was made from others among those that wait, by age. True, and it ends the
# pass, where an input is not a plain one.
Pull: TypeAlias = Callable[[Any, Any, dict[Any, Any], list[tuple[int, Any]]], bool | None]


def pull_of_arrays(rule: type[Rule]) -> Pull:
    """The pull of a rule between Tensors."""
    if not rule.ours or rule.variadic:
        return _pull_by_the_graph
    name = f"backward_of_{rule.__name__}_of_arrays"
    written = {x: share_of_arrays(rule, x, wrt) for x, wrt in zip(rule.inputs, rule.wrt, strict=True) if wrt}
    lines = [
        f"def {name}(node, g, gradients, waiting):",
        *(["    z = node._data"] if any(re.search(r"\bz\b", share) for share in written.values()) else []),
        f"    {', '.join(f'node_{x}' for x in rule.inputs)}, = node._x",
    ]
    for x in rule.inputs:
        lines += [
            f"    if node_{x}.__class__ in faces:",
            f"        {x} = node_{x}._data",
            f"        wants_{x} = node_{x}.requires_grad",
            f"        if node_{x}._extra is not None and marked(node_{x}): return True",
            f"    elif isinstance(node_{x}, Node): return True",
            f"    else: {x}, wants_{x} = node_{x}, False",
        ]
    for x, share in written.items():
        lines += [
            f"    if wants_{x}:",
            f"        share = {share}",
            f"        if share.__class__ is not ndarray or share.dtype is not {x}.dtype: share = node_{x}._fit(share)",
            f"        elif share.shape != {x}.shape: share = unbroadcast(share, {x}.shape)",
            f"        before = gradients.get(node_{x})",
            "        if before is None:",
            f"            gradients[node_{x}] = share",
            f"            if node_{x}.rule is not None: heappush(waiting, (-node_{x}._number, node_{x}))",
            f"        else: gradients[node_{x}] = before + share",
        ]
    scope = {
        "Node": Node, "faces": faces_of_arrays, "marked": marked, "heappush": heappush, "unbroadcast": unbroadcast,
        **array_code(),
    }  # fmt: skip
    return compiled(name, lines, scope | derivatives(rule))


def _pull_by_the_graph(node: Any, g: Any, gradients: dict[Any, Any], waiting: list[tuple[int, Any]]) -> bool | None:
    """The pull of a rule of many inputs, or of the user's."""
    if any(isinstance(x, Node) and (x.__class__ not in faces_of_arrays or marked(x)) for x in node._x):
        return True
    taken = held([node])
    for position, share in differentiate(node, g):
        x = node._x[position]
        before = gradients.get(x)
        if before is not None:
            gradients[x] = before + share
            continue
        gradients[x] = share.copy() if id(share) in taken else share
        if x.rule is not None:
            heappush(waiting, (-x._number, x))
    return None


class _Pulls(dict[Any, Pull]):
    """The pull of each rule, emitted when it is first needed."""

    def __missing__(self, rule: type[Rule]) -> Pull:
        pull = pull_of_arrays(rule)
        if rule.ours:  # a class that a user made and dropped is not kept alive
            self[rule] = pull
        return pull


pulls_of_arrays = _Pulls()


def marked(node: Any) -> bool:
    """Whether it has a hook, or its data was handed out or written to."""
    return node._extra is not None and not node._extra.keys() <= {"name"}


# ------------------------------------------------------------------------------------------------ a whole pass


# What a pull may raise. All else, a signal's, say, is the user's: it ends the pass.
FAULTS = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, stale.StaleError)


def backward_of_arrays(root: Any) -> bool:
    """The backward pass of a graph of Tensors; False, with nothing done, where that is not all there is to it."""
    if modes.special.count or root.rule is None or root._data.size != 1 or marked(root):
        return False
    gradients = {root: filled(root._data.shape, root._data.dtype, 1)}
    left = kinds.quietly(_run_arrays, root, gradients)
    if left:
        order = topological_order(*left)
        with np.errstate(all="ignore"):
            Walk(order, gradients).run()
        keep(order, gradients, None, False)
    return left is not None


def _run_arrays(root: Any, gradients: dict[Any, Any]) -> list[Any] | None:
    """Run the pass; nodes that are left to the general walk, which goes on from there, or None: it is to do it all."""
    waiting = [(-root._number, root)]
    users = False  # whether a rule of the user's takes part: what it does is not to be done twice
    while waiting:
        node = heappop(waiting)[1]  # the newest: all that was made from it has handed on its share
        if not (users or node.rule.ours):
            if node._number <= stale.last.write:
                return None
            users = True
        special = users and (node._number <= stale.last.write or marked(node))
        try:
            special = special or pulls_of_arrays[node.rule](node, gradients[node], gradients, waiting)
        except FAULTS as error:
            if not users:
                return None  # the general walk says what is wrong
            if not getattr(error, "__notes__", None):
                error.add_note(f"while differentiating {node._written()}")
            raise
        if special:
            return [node, *(other for _, other in waiting)] if users else None
    if node._number <= stale.last.write and not users:
        return None  # data was written to since the last, the oldest operation: the general walk looks at each edge
    _keep(gradients)
    return []


def _keep(gradients: dict[Any, Any]) -> None:
    """Store the gradients of a pass: leaves add theirs up, nodes between take the new one."""
    taken: set[int] = set()
    apart = len(set(map(id, gradients.values()))) == len(gradients)
    for node, gradient in gradients.items():
        if node._grad is not None and node.rule is None:
            node._grad = node._fit(node._grad + gradient)
        elif apart and gradient.__class__ is np.ndarray and gradient.base is None:  # its own already
            node._grad = gradient
        else:
            node._grad = node._own(gradient, taken)
