"""Fast paths, emitted from the rules: the operators of Value, and the backward pass of graphs of one face.

Each is compiled when it is first used, and leaves nothing to decide. It serves the plain case alone: floats, or
arrays, and nothing special going on (no hook, no mode, no data written to). Whatever else comes up goes to the
general machinery of `graph`, which gives the same bits.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np

from microgrid import kinds, modes, sites, stale
from microgrid.emitter import ArrayCode, Code, code_kind, compiled
from microgrid.graph import NO_PARAMETERS, Node, age, differentiate, held, next_number
from microgrid.rule import Rule

__microgrid_machinery__ = True

F = TypeVar("F", bound=Callable[..., Any])


# ---------------------------------------------------------------------------------------- operators of floats


def reflected(inputs: Sequence[str]) -> list[str]:
    """The operands of a reflected operator: the other one comes first."""
    return list(reversed(inputs))


def fast(rule: type[Rule], order: Callable[[Sequence[str]], Sequence[str]] = list) -> Callable[[F], F]:
    """Put an operator emitted from the rule in the place of a method of Value, at its first call.

    The method as written stays what the operator means, and what runs where the fast path does not apply.
    """

    def decorate(plain: F) -> F:
        @functools.wraps(plain)
        def first(*operands: Any) -> Any:
            face = kinds.float_kind.face
            emitted = functools.wraps(plain)(emit_operator(rule, plain, order))
            for name in [name for name, member in vars(face).items() if member is first]:
                setattr(face, name, emitted)
            return emitted(*operands)

        return first  # type: ignore[return-value]

    return decorate


def emit_operator(
    rule: type[Rule], plain: Callable[..., Any] | None, order: Callable[[Sequence[str]], Sequence[str]]
) -> Callable[..., Any]:
    """An operator of Value: the value of the rule, and the node that records it; elsewhere what is plain, if any."""
    # a name for each, since debuggers find the source by it
    name = (
        f"{rule.__name__}_of_floats" + ("" if order is list else f"_{order.__name__}") + ("" if plain else "_applied")
    )
    number = order(rule.inputs)[0]  # what self stands for; the other operand may be a constant
    other = next(iter(order(rule.inputs)[1:]), None)
    given = "self, other" if other else "self"
    inputs = {number: "self", other: "other"}
    elsewhere = f"plain({given})" if plain else "NotImplemented"
    expression = str(code_kind.apply(rule, [Code(x) for x in rule.inputs], {}))
    lines = [
        f"def {name}({given}):",
        f"    if special.count or self.__class__ is not Value: return {elsewhere}",
        f"    {number} = self._data",
    ]
    if other:
        lines += [
            "    kind = other.__class__",
            f"    if kind is Value: {other} = other._data",
            f"    elif kind is float or kind is int: {other} = other",
            f"    else: return {elsewhere}",
            f"    if not self.requires_grad and (kind is not Value or not other.requires_grad): return {elsewhere}",
        ]
    else:
        lines += [f"    if not self.requires_grad: return {elsewhere}"]
    lines += [
        f"    try: z = {expression}",
        f"    except (ArithmeticError, ValueError): return {elsewhere}",
        *([f"    if z.__class__ is not float: return {elsewhere}"] if "**" in expression else []),
        f"    inputs = ({', '.join(inputs[x] for x in rule.inputs)},)",
        *_RECORD,
    ]
    return compiled(name, lines, _of_floats() | {"plain": plain, "rule": rule})


def shorten(table: Iterable[type[Rule]]) -> None:
    """Give each rule that is applied to floats alone a shortcut, emitted at its first call."""
    for rule in table:
        if not (rule.parameters or rule.constant) and (rule.variadic or len(rule.inputs) < 3):
            rule.shortcut = functools.partial(_first_call, rule)


def _first_call(rule: type[Rule], *inputs: Any) -> Any:
    try:
        emitted = emit_joining(rule) if rule.variadic else emit_operator(rule, None, list)
    except (AttributeError, TypeError):  # a rule of arrays alone, such as matmul, has none
        rule.shortcut = None
        return NotImplemented
    rule.shortcut = emitted
    return emitted(*inputs)


def emit_joining(rule: type[Rule]) -> Callable[..., Any]:
    """A rule of many Values and numbers: its value, and the node that records it."""
    name = f"{rule.__name__}_of_floats"
    lines = [
        f"def {name}(*inputs):",
        "    if special.count: return NotImplemented",
        "    numbers, recorded = [], False",
        "    for x in inputs:",
        "        kind = x.__class__",
        "        if kind is Value:",
        "            numbers.append(x._data)",
        "            recorded = recorded or x.requires_grad",
        "        elif kind is float or kind is int: numbers.append(x)",
        "        else: return NotImplemented",
        "    if not recorded: return NotImplemented",
        "    try: z = value(*numbers)",
        "    except (ArithmeticError, ValueError): return NotImplemented",
        *_RECORD,
    ]
    return compiled(name, lines, _of_floats() | {"value": rule.value, "rule": rule})


# the node of an emitted operator
_RECORD = [
    "    node = new(Value)",
    "    node._data = z",
    "    node._grad = node._share = None",
    "    node._number = next_number()",
    "    node._extra = None",
    "    node.inputs = inputs",
    "    node.parameters = NO_PARAMETERS",
    "    node.requires_grad = True",
    "    node.rule = rule",
    "    if sites.on:",
    "        frame = getframe(1)",
    "        if MARK in frame.f_globals: frame = user_frame(frame)",
    "        node._code = frame.f_code",
    "        node._instruction = frame.f_lasti",
    "    else:",
    "        node._code = None",
    "        node._instruction = 0",
    "    return node",
]


@functools.cache
def _of_floats() -> dict[str, Any]:
    """What code of floats may call."""
    return {
        **kinds.float_kind.elementary,
        "Value": kinds.float_kind.face, "new": object.__new__, "next_number": next_number, "special": modes.special,
        "sites": sites.switch, "getframe": sys._getframe, "user_frame": sites.user_frame, "MARK": sites.MARK,
        "exactly": _exactly, "NO_PARAMETERS": NO_PARAMETERS,
    }  # fmt: skip


# ---------------------------------------------------------------------------------------- backward, rule by rule
# A pull hands the gradient of one node, which stands in its `_share`, on to the `_share` of its inputs.


def pull_of_floats(rule: type[Rule]) -> Callable[[Any], None]:
    """The pull of a rule between Values; each input's share is a float already."""
    if not rule.ours or (rule.variadic and rule.parameters):
        return _pull_by_the_graph  # a user's rule may print, count, stop in a debugger, look at types, bear any name
    if rule.variadic:
        return _pull_of_many_floats(rule)
    name = f"backward_of_{rule.__name__}"
    shares = {x: _share(rule, x, wrt, Code) for x, wrt in zip(rule.inputs, rule.wrt, strict=True) if wrt}
    text = " ".join(shares.values())
    lines = [f"def {name}(node):", "    g = node._share"]
    lines += [f"    {', '.join(f'node_{x}' for x in rule.inputs)}, = node.inputs"]
    if _mentions(text, "z"):
        lines += ["    z = node._data"]
    for x in rule.inputs:
        lines += [f"    is_{x} = node_{x}.__class__ is Value"]
        if _mentions(text, x):
            lines += [f"    {x} = node_{x}._data if is_{x} else node_{x}"]
    for x, share in shares.items():
        exact = f"exactly(node, wrt_{x})"
        lines += [
            f"    if is_{x} and node_{x}.requires_grad:",
            f"        try: share = {share}",
            f"        except (ArithmeticError, ValueError): share = {exact}",
            *([f"        if share.__class__ is complex: share = {exact}"] if "**" in share else []),
            f"        node_{x}._share += " + (f"node_{x}._fit(share)" if "wrt_" in share else "share"),
        ]
    return compiled(name, lines, _of_floats() | _derivatives(rule))


def _derivatives(rule: type[Rule]) -> dict[str, Any]:
    return {f"wrt_{x}": wrt for x, wrt in zip(rule.inputs, rule.wrt, strict=True)}


def _share(rule: type[Rule], x: str, wrt: Callable[..., Any], code: type[Code]) -> str:
    """A derivative written out, where it is arithmetic; a call of it, where it is more than that."""
    arguments = ["g", "z", *rule.inputs]
    if rule.parameters:
        return f"wrt_{x}({', '.join(arguments)}, **node.parameters)"
    try:
        return str(wrt(*map(code, arguments)))
    except (AttributeError, TypeError):  # it asks for a shape or a matrix product: then it wants arrays
        return f"wrt_{x}({', '.join(arguments)})"


def _exactly(node: Any, wrt: Callable[..., Any]) -> Any:
    """A derivative where Python's arithmetic raises or leaves the real line: as IEEE 754 says."""
    numbers = (x._data if isinstance(x, Node) else x for x in node.inputs)
    return kinds.ieee(wrt, (node._share, node._data, *numbers), node.parameters)


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None


def _pull_of_many_floats(rule: type[Rule]) -> Callable[[Any], None]:
    name = f"backward_of_{rule.__name__}"
    lines = [
        f"def {name}(node):",
        "    numbers = [x._data if x.__class__ is Value else x for x in node.inputs]",
        "    try: shares = wrt(node._share, node._data, *numbers)",
        "    except (ArithmeticError, ValueError): shares = exactly(node, wrt)",
        "    for x, share in zip(node.inputs, shares):",
        "        if x.__class__ is Value and x.requires_grad: x._share += share",
    ]
    return compiled(name, lines, _of_floats() | {"wrt": rule.wrt[0]})


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
    lines += [f"    {x} = node_{x}._data if isinstance(node_{x}, Node) else node_{x}" for x in rule.inputs]
    for x, wrt in zip(rule.inputs, rule.wrt, strict=True):
        if wrt is not None:
            lines += [
                f"    if isinstance(node_{x}, Node) and node_{x}.requires_grad:",
                f"        share = {_share(rule, x, wrt, ArrayCode)}",
                f"        if share.__class__ is not ndarray or share.shape != {x}.shape or share.dtype != {x}.dtype:",
                f"            share = node_{x}._fit(share)",
                f"        before = node_{x}._share",
                f"        node_{x}._share = share if before.__class__ is Nothing else before + share",
            ]
    scope = {"Node": Node, "Nothing": _Nothing, "ndarray": np.ndarray, **kinds.array_kind.elementary}
    return compiled(name, lines, scope | _derivatives(rule))


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


pulls_of_floats = _Pulls(pull_of_floats)
pulls_of_arrays = _Pulls(pull_of_arrays)


# ---------------------------------------------------------------------------------------- backward, a whole pass


class _Nothing:
    """The gradient of an array before its first share."""


def backward_of_floats(root: Any) -> bool:
    """The backward pass of a graph of Values; False, with nothing done, where that is not all there is to it."""
    nothing = float("-0.0")  # the neutral number of addition: -0.0 + x is x, to the sign of a zero
    graph = _reached(root, kinds.float_kind.face, nothing, others=False)
    if graph is None:
        return False
    _run(graph, 1.0, pulls_of_floats)
    for node in graph.operations:
        node._grad = node._share
    for node in graph.leaves:
        before = node._grad
        node._grad = node._share if before is None else before + node._share
    return True


def backward_of_arrays(root: Any) -> bool:
    """The backward pass of a graph of Tensors; False, with nothing done, where that is not all there is to it."""
    graph = _reached(root, kinds.array_kind.face, _Nothing(), others=True)
    if graph is None:
        return False
    kinds.quietly(_run_arrays, graph, np.ones_like(root._data))
    return True


def _run_arrays(graph: _Graph, seed: Any) -> None:
    _run(graph, seed, pulls_of_arrays)
    taken = held([*graph.operations, *graph.leaves])
    for node in graph.operations:
        share, node._share = node._share, None
        node._grad = None if share.__class__ is _Nothing else node._own(share, taken)
    for node in graph.leaves:
        share, node._share = node._share, None
        if share.__class__ is not _Nothing:
            before = node._grad
            node._grad = node._own(share, taken) if before is None else node._fit(before + share)


class _Graph(NamedTuple):
    """What a gradient flows to."""

    operations: list[Any]  # newest first
    leaves: list[Any]


def _reached(root: Any, face: Any, nothing: Any, others: bool) -> _Graph | None:
    """What a gradient flows to from the root.

    A node that was reached is known by its share, which is `nothing`: an object of this pass alone. None, where the
    general walk is needed: where a mode is on, where a node has a hook or was handed out or written to, where one that
    requires a gradient is not of this face, or of a subclass (where `others` are not allowed), or a rule has constant
    inputs (likewise).
    """
    if modes.special.count or root.rule is None or _marked(root):
        return None
    operations, leaves, waiting = list[Any](), list[Any](), [root]
    root._share = nothing
    while waiting:
        node = waiting.pop()  # the newest first: what was made together lies together in memory
        operations.append(node)
        if node.rule.constant and not others:
            return None
        for x in node.inputs:
            if x.__class__ is face:
                if x._share is nothing:
                    continue
            elif not isinstance(x, Node) or x._share is nothing:
                continue
            elif not (others and isinstance(x, face)) and (x.requires_grad or not others):
                return None
            if x._extra is not None and _marked(x):
                return None
            if x.requires_grad:
                (leaves if x.rule is None else waiting).append(x)
                x._share = nothing
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
        error.add_note(f"while differentiating {node._described()}")
        raise


def _marked(node: Any) -> bool:
    """Whether it has a hook, or its data was handed out or written to."""
    return node._extra is not None and not node._extra.keys() <= {"name"}
