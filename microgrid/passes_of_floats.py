"""The backward pass of a graph of Values, quicker than the general walk, emitted from the rules.

It serves the plain case alone: Values of floats, and nothing special going on (no hook, no mode, no data written to).
Whatever else comes up goes to the walk of `graph`, which gives the same bits.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from microgrid import kinds, modes, stale
from microgrid.emitter import Code, compiled
from microgrid.graph import Node, _passes as passes, age, differentiate, topological_order
from microgrid.passes import derivatives, marked, written_share
from microgrid.rule import Rule
from microgrid.shortcuts import ByLength, float_code

__microgrid_machinery__ = True

INLINE = 16  # rules whose pull stands in the loop itself; those of the others are called


def backward_of_floats(root: Any) -> bool:
    """The backward pass of a graph of Values; False, with nothing done, where that is not all there is to it."""
    nothing = float("-0.0")  # the neutral number of addition: -0.0 + x is x, to the sign of a zero
    reached = _reached(root, nothing)
    if reached is None:
        return False
    operations, leaves, before = reached
    root._share = 1.0
    try:
        pulls.run(operations)
    except BaseException:
        for node in operations:
            node._grad = None
        for node, gradient in before:
            node._grad = gradient
        raise
    for node in leaves:
        node._grad = node._share if node._grad is None else node._grad + node._share
    return True


def _reached(root: Any, nothing: float) -> tuple[list[Any], list[Any], list[tuple[Any, Any]]] | None:
    """The operations that a gradient flows to from the root, newest first, the leaves, and gradients of before.

    A node that was reached is known by its share, which is `nothing`: an object of this pass alone. None, where the
    general walk is needed: where a mode is on, where a node has a hook or was handed out or written to, where one is
    no Value of a float, or a rule has constant inputs.
    """
    if modes.special.count or root.rule is None:
        return None
    Value = kinds.float_kind.face
    operations: list[Any] = []
    leaves: list[Any] = []
    before: list[tuple[Any, Any]] = []
    waiting = [root]
    root._share = nothing
    while waiting:
        node = waiting.pop()  # the newest first: what was made together lies together in memory
        if node._extra is not None and marked(node):
            return None
        if node.rule is None:
            if node.requires_grad:
                leaves.append(node)
            continue
        if not node.requires_grad:
            continue
        operations.append(node)
        if node._grad is not None:
            before.append((node, node._grad))
        x, y = node._x, node._y
        if y.__class__ is dict:
            if node.rule.constant:
                return None
            for y in x:
                if y.__class__ is Value:
                    if y._share is not nothing:
                        y._share = nothing
                        waiting.append(y)
                elif y.__class__ is not float and isinstance(y, Node):
                    return None
            continue
        # the same for both inputs of the short form, written out: every scalar node passes here
        if x.__class__ is Value:
            if x._share is not nothing:
                x._share = nothing
                waiting.append(x)
        elif x.__class__ is not float and isinstance(x, Node):
            return None
        if y.__class__ is Value:
            if y._share is not nothing:
                y._share = nothing
                waiting.append(y)
        elif y.__class__ is not float and isinstance(y, Node):
            return None
    operations.sort(key=age, reverse=True)
    if operations[-1]._number <= stale.last.write:
        return None  # data was written to since the oldest operation: the general walk looks at each edge
    return operations, leaves, before


def ordered(root: Any) -> list[Node]:
    """What `topological_order` gives, in half the time: a node that was found is known by its share, as above."""
    found, made, leaves = object(), list[Node](), list[Node]()
    with passes.lock:
        if passes.nested:  # a rule of the user's asks, and the shares are those of the pass that called it
            return topological_order(root)
        root._share = found
        waiting = [root]
        while waiting:
            node = waiting.pop()
            (leaves if node.rule is None else made).append(node)
            y = node._y
            for x in node._x if y.__class__ is dict else (node._x,) if y is None else (node._x, y):
                if isinstance(x, Node) and x._share is not found:
                    x._share = found
                    waiting.append(x)
    made.sort(key=age)
    leaves.sort(key=age)
    return leaves + made


# ------------------------------------------------------------------------------------------------ rule by rule
# A pull hands the gradient g of one node on to the `_share` of its inputs.


class _Pulls(dict[Any, Callable[[Any, float], None]]):
    """The pulls that are called, each emitted when it is first needed, and the loop that has others in it."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[type[Rule]] = []
        self.loop: Callable[[list[Any]], None] | None = None

    def __missing__(self, rule: type[Rule]) -> Callable[[Any, float], None]:
        if not rule.ours or (rule.variadic and rule.parameters):
            return _pull_by_the_graph  # a user's may print, count, stop in a debugger, look at types, bear any name
        self[rule] = pull = _pull_of_many(rule) if rule.variadic else _pull(rule)
        if not rule.variadic and len(self.inline) < INLINE and "wrt_" not in " ".join(_shares(rule).values()):
            self.inline.append(rule)
            self.loop = None
        return pull

    def run(self, operations: list[Any]) -> None:
        """The whole pass."""
        if self.loop is None:
            self.loop = _loop(sorted(self.inline, key=_place))
        self.loop(operations)


def _place(rule: type[Rule]) -> int:
    """Where the rule stands in the table, which begins with the most common."""
    return min(wrt.__code__.co_firstlineno for wrt in rule.wrt if wrt)


def _loop(rules: list[type[Rule]]) -> Callable[[list[Any]], None]:
    """The pass over all operations, in which the pulls of these rules are written out."""
    scope = float_code() | {f"rule_{rule.__name__}": rule for rule in rules}
    bound = ["Value", *(name for name in scope if name.startswith("rule_"))]
    lines = [
        f"def backward_of_floats(operations, {', '.join(f'{name}={name}' for name in bound)}):",
        "    node = None",
        "    try:",
        "        for node in operations:",
        "            node._grad = g = node._share",
        "            rule = node.rule",
    ]
    for place, rule in enumerate(rules):
        lines += [f"            {'elif' if place else 'if'} rule is rule_{rule.__name__}:"]
        lines += ["                " + line for line in _pull_written_out(rule)]
    lines += [
        "            else: pulls[rule](node, g)" if rules else "            pulls[rule](node, g)",
        "    except BaseException as error:",
        "        failed(node, error)",
        "        raise",
    ]
    return compiled("backward_of_floats", lines, scope | {"pulls": pulls, "failed": _failed, "exactly": _exactly})


def _pull(rule: type[Rule]) -> Callable[[Any, float], None]:
    name = f"backward_of_{rule.__name__}"
    lines = [f"def {name}(node, g):", *("    " + line for line in _pull_written_out(rule))]
    return compiled(name, lines, float_code() | derivatives(rule) | {"rule": rule, "exactly": _exactly})


def _pull_written_out(rule: type[Rule]) -> list[str]:
    """The pull of a rule of one input, two, or more."""
    nodes = [f"node_{x}" for x in rule.inputs]
    lines = [f"{', '.join(nodes)}, = node.inputs"]
    if len(nodes) < 3:
        short = [f"{node} = node.{slot}" for node, slot in zip(nodes, ("_x", "_y"), strict=False)]
        lines = ["if node._y.__class__ is dict: " + lines[0], "else: " + "; ".join(short)]
    exact = {x: f"exactly(node, g, rule.wrt[{place}])" for place, x in enumerate(rule.inputs)}
    return lines + _handed_on(rule.inputs, _shares(rule), exact)


def _shares(rule: type[Rule]) -> dict[str, str]:
    """The derivatives with respect to each input, written out where they can be."""
    return {x: written_share(rule, x, wrt, Code) for x, wrt in zip(rule.inputs, rule.wrt, strict=True) if wrt}


def _pull_of_many(rule: type[Rule]) -> Callable[[Any, float], None]:
    name = f"backward_of_{rule.__name__}"
    lines = [f"def {name}(node, g): by_length[len(node._x)](node, g)"]
    return compiled(name, lines, {"by_length": ByLength(lambda n: _pull_of(rule, n), _pull_of_any(rule))})


def _pull_of(rule: type[Rule], length: int) -> Callable[[Any, float], None]:
    """The pull of a rule of so many inputs: no loop is left."""
    name = f"backward_of_{rule.__name__}_of_{length}"
    xs = [f"x{place}" for place in range(length)]
    assert rule.wrt[0] is not None
    shares = map(str, rule.wrt[0](*map(Code, ["g", "z", *xs])))
    exact = {x: f"exactly(node, g, rule.wrt[0])[{place}]" for place, x in enumerate(xs)}
    lines = [f"{', '.join(f'node_{x}' for x in xs)}, = node._x"]
    lines += _handed_on(xs, dict(zip(xs, shares, strict=True)), exact)
    lines = [f"def {name}(node, g, Value=Value):", *("    " + line for line in lines)]
    return compiled(name, lines, float_code() | {"rule": rule, "exactly": _exactly})


def _pull_of_any(rule: type[Rule]) -> Callable[[Any, float], None]:
    """The pull of a rule of any number of inputs."""
    name = f"backward_of_{rule.__name__}_of_any"
    lines = [
        f"def {name}(node, g):",
        "    inputs = node._x",
        "    numbers = [x._data if x.__class__ is Value else x for x in inputs]",
        "    try: shares = wrt(g, node._data, *numbers)",
        "    except (ArithmeticError, ValueError): shares = exactly(node, g, wrt)",
        "    for x, share in zip(inputs, shares):",
        "        if x.__class__ is Value and x.requires_grad: x._share += share",
    ]
    return compiled(name, lines, float_code() | {"exactly": _exactly, "wrt": rule.wrt[0]})


def _handed_on(inputs: Sequence[str], shares: dict[str, str], exact: dict[str, str]) -> list[str]:
    """Each share, added to its input, given the nodes of the inputs; in `exact`, what to call where that raises."""
    needed = set(re.findall(r"\w+", " ".join(shares.values())))
    lines = ["z = node._data"] * ("z" in needed)
    for x in inputs:  # what is no Value is a constant, and its node None
        if x in needed:
            lines += [f"if node_{x}.__class__ is Value: {x} = node_{x}._data", f"else: {x} = node_{x}; node_{x} = None"]
    for x, share in shares.items():
        products = re.fullmatch(r"[\w -]+(\* [\w -]+)*", share) is not None
        wanted = "" if products else f" and node_{x}.requires_grad"  # of products it would take longer to ask
        lines += [(f"if node_{x} is not None" if x in needed else f"if node_{x}.__class__ is Value") + wanted + ":"]
        if re.fullmatch(r"-?\w+", share):  # nothing to go wrong
            lines += [f"    node_{x}._share += {share}"]
        elif products:
            lines += [
                f"    try: node_{x}._share += {share}",
                f"    except (ArithmeticError, ValueError): node_{x}._share += {exact[x]}",
            ]
        else:
            lines += [
                f"    try: share = {share}",
                f"    except (ArithmeticError, ValueError): share = {exact[x]}",
                *([f"    if share.__class__ is complex: share = {exact[x]}"] if "**" in share else []),
                f"    node_{x}._share += " + (f"node_{x}._fit(share)" if "wrt_" in share else "share"),
            ]
    return lines


def _exactly(node: Any, g: float, wrt: Callable[..., Any]) -> Any:
    """A derivative where Python's arithmetic raises or leaves the real line: as IEEE 754 says."""
    numbers = (x._data if isinstance(x, Node) else x for x in node.inputs)
    return kinds.ieee(wrt, (g, node._data, *numbers), node.parameters)


def _pull_by_the_graph(node: Any, g: float) -> None:
    for position, share in differentiate(node, g, None, False):
        node.inputs[position]._share += share


def _failed(node: Any, error: BaseException) -> None:
    """Have the error say where."""
    if node is not None and not getattr(error, "__notes__", None):
        error.add_note(f"while differentiating {node._written()}")


pulls = _Pulls()
