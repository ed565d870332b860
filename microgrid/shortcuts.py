"""Shortcuts: quick ways to record an operation, emitted from the rules.

Each is compiled when it is first used, and leaves nothing to decide. It serves the plain case alone: floats, or
arrays, and nothing special going on (no mode, no data handed out). Whatever else comes up goes to the general
machinery of `graph`, which gives the same bits.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np

from microgrid import kinds, modes, sites
from microgrid.emitter import ArrayCode, Code, code_kind, compiled
from microgrid.graph import NO_PARAMETERS, Node, next_number
from microgrid.rule import Rule

__microgrid_machinery__ = True

F = TypeVar("F", bound=Callable[..., Any])


# ---------------------------------------------------------------------------------------- operators of floats

faces_of_arrays: set[type] = set()  # Tensor and its subclasses
stand_ins: set[type] = set()  # what stands for a plain number while a function is recorded; its `number` is that number


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
        f"    if self.__class__ is not Value or (special.count and not only_recording()): return {elsewhere}",
        f"    {number} = self._data",
    ]
    if other:
        lines += [
            "    kind = other.__class__",
            f"    if kind is Value: {other} = other._data",
            f"    elif kind is float or kind is int: {other} = other",
            f"    elif kind in stand_ins and special.count and other.number.__class__ in PLAIN: {other} = other.number",
            f"    else: return {elsewhere}",
            f"    if not self.requires_grad and (kind is not Value or not other.requires_grad): return {elsewhere}",
        ]
    else:
        lines += [f"    if not self.requires_grad: return {elsewhere}"]
    lines += [
        f"    try: z = {expression}",
        f"    except (ArithmeticError, ValueError): return {elsewhere}",
        *([f"    if z.__class__ is not float: return {elsewhere}"] if "**" in expression else []),
        *recorded(
            "Value",
            inputs[rule.inputs[0]],
            inputs[rule.inputs[1]] if other else "None",
            0 if plain else 1,  # in what applies the rule
        ),
    ]
    return compiled(name, lines, float_code() | {"plain": plain, "rule": rule})


def shorten(table: Iterable[type[Rule]]) -> None:
    """Give each rule the shortcuts that can be emitted for it."""
    for rule in table:
        rule.shortcuts = _Shortcuts(rule)


class _Shortcuts(dict[type, Any]):
    """The fast paths of one rule by the class of its first input, each emitted at its first call."""

    def __init__(self, rule: type[Rule]) -> None:
        super().__init__(dict.fromkeys((float, int, np.float64)))
        self.rule = rule

    def __missing__(self, number: type) -> Callable[..., Any] | None:
        rule, emit = self.rule, None
        if number is kinds.float_kind.face and not (rule.parameters or rule.constant):
            emit = emit_joining if rule.variadic else emit_applied if len(rule.inputs) < 3 else None
        elif issubclass(number, kinds.array_kind.face) and not rule.variadic:
            emit = emit_of_arrays
        elif number is np.ndarray and not rule.variadic:
            emit = emit_within
        try:
            emitted = emit and emit(rule)
        except (AttributeError, TypeError):  # a rule of arrays alone, such as matmul, has none of floats
            emitted = None
        if emit or issubclass(number, Node):
            self[number] = emitted
        return emitted


def emit_applied(rule: type[Rule]) -> Callable[..., Any]:
    """A rule of one or two Values and numbers."""
    return emit_operator(rule, None, list)


def emit_of_arrays(rule: type[Rule]) -> Callable[..., Any]:
    """A rule of Tensors, arrays and numbers: its value, and the node that records it."""
    name, numbers = f"{rule.__name__}_of_arrays", list(rule.inputs)
    nodes = [f"node_{x}" for x in numbers]
    lines = [
        f"def {name}({', '.join(nodes + ['*'] * bool(rule.parameters) + sorted(rule.parameters))}):",
        "    if special.count: return NotImplemented",
        "    recorded = False",
    ]
    for x, node in zip(numbers, nodes, strict=True):
        lines += [
            f"    if {node}.__class__ in faces:",
            f"        if {node}._extra is not None and 'handed' in {node}._extra: return NotImplemented",
            f"        {x} = {node}._data",
            *([] if x in rule.constant else [f"        if {node}.requires_grad: recorded = True"]),
            f"    elif {node}.__class__ is float or {node}.__class__ is int: {x} = {node}",
            "    else: return NotImplemented",
        ]
    for parameter in sorted(rule.parameters):
        lines += [f"    if {parameter}.__class__ not in SIMPLE: return NotImplemented"]
    words = [f"{parameter}={parameter}" for parameter in sorted(rule.parameters)]
    call = ", ".join(["value", *numbers, *words])
    lines += [
        "    if not recorded: return NotImplemented",
        "    run = quiet.run",
        "    if run is just: return NotImplemented",
        "    quiet.run = just",
        f"    try: z = run({call})",
        "    except OverflowError: return NotImplemented",
        "    finally: quiet.run = run",
        "    if z.__class__ is not ndarray: z = asarray(z)",
        "    if z.dtype.kind != 'f': return NotImplemented",
        f"    inputs = ({', '.join(nodes)},)",
        *recorded(
            "Tensor",
            "inputs",
            f"dict({', '.join(words)})" if words else "NO_PARAMETERS",
            within_modules=True,
        ),
    ]
    scope = {
        **float_code(), "Tensor": kinds.array_kind.face, "faces": faces_of_arrays,
        "SIMPLE": {int, bool, float, type(None)}, "rule": rule,
        "quiet": kinds._quiet, "just": kinds._just, "ndarray": np.ndarray, "asarray": np.asarray,
        "value": written_out(rule),
    }  # fmt: skip
    return compiled(name, lines, scope)


def emit_within(rule: type[Rule]) -> Callable[..., Any]:
    """A rule of arrays and numbers within a rule: its value, and nothing to look after."""
    name = f"{rule.__name__}_within"
    numbers, words = list(rule.inputs), sorted(rule.parameters)
    plain = [f"{x}.__class__ not in PLAIN" for x in numbers[1:]]
    lines = [
        f"def {name}({', '.join(numbers + ['*'] * bool(words) + words)}):",
        f"    if {' or '.join(['quiet.run is not just', *plain])}: return NotImplemented",
        f"    return value({', '.join(numbers + [f'{word}={word}' for word in words])})",
    ]
    scope = {"quiet": kinds._quiet, "just": kinds._just, "PLAIN": {np.ndarray, float, int}, "value": written_out(rule)}
    return compiled(name, lines, scope)


def written_out(rule: type[Rule]) -> Callable[..., Any]:
    """The value of a rule of arrays, with the rules that it is made of written out where it is arithmetic."""
    function = kinds.array_kind.function(rule)
    if function is not rule.value:
        return function
    try:
        expression = str(function(*map(ArrayCode, rule.inputs)))
    except (AttributeError, TypeError):  # it asks for a shape, a matrix product or a parameter
        return function
    name = f"{rule.__name__}_written_out"
    lines = [f"def {name}({', '.join(rule.inputs)}): return {expression}"]
    return compiled(name, lines, array_code())


def emit_joining(rule: type[Rule]) -> Callable[..., Any]:
    """A rule of many Values and numbers: its value, and the node that records it, two calls within `dot` or a rule."""
    return joining[rule]


def joined(rule: type[Rule], inputs: tuple[Any, ...]) -> Any:
    """`rule(*inputs)` of a rule of many inputs, without handing them from call to call."""
    z = joining[rule][len(inputs)](inputs)
    return rule(*inputs) if z is NotImplemented else z


class _Joining(dict[Any, "ByLength"]):
    """The code of each rule of many inputs."""

    def __missing__(self, rule: type[Rule]) -> ByLength:
        self[rule] = emitted = ByLength(lambda length: emit_joining_of(rule, length), emit_joining_any(rule))
        return emitted


joining = _Joining()


class ByLength(dict[int, Callable[..., Any]]):
    """Code of a rule of many inputs by their number: that for any number, or what is emitted after some calls."""

    OFTEN, MOST = 8, 128  # calls after which it is emitted; inputs up to which it is

    def __init__(self, emit: Callable[[int], Callable[..., Any]], general: Callable[..., Any]) -> None:
        super().__init__()
        self.emit, self.general, self.calls = emit, general, dict[int, int]()

    def __missing__(self, length: int) -> Callable[..., Any]:
        self.calls[length] = calls = self.calls.get(length, 0) + 1 if length <= self.MOST else 0
        if calls < self.OFTEN:
            return self.general
        self[length] = emitted = self.emit(length)
        return emitted

    def __call__(self, *inputs: Any) -> Any:
        return self[len(inputs)](inputs)


def emit_joining_of(rule: type[Rule], length: int) -> Callable[..., Any]:
    """The same for so many inputs: no loop is left."""
    name = f"{rule.__name__}_of_{length}_floats"
    xs = [f"x{place}" for place in range(length)]
    assert rule.value is not None
    expression = str(rule.value(*map(Code, xs)))
    lines = [
        f"def {name}(inputs, Value=Value):",
        "    if special.count and not only_recording(): return NotImplemented",
        f"    {', '.join(xs)}, = inputs",
        "    recorded = x0.__class__ is Value and x0.requires_grad",
        "    if not (recorded or any(x.__class__ is Value and x.requires_grad for x in inputs)): return NotImplemented",
    ]
    for x in xs:
        lines += [
            f"    if {x}.__class__ is Value: {x} = {x}._data",
            f"    elif {x}.__class__ is not float and {x}.__class__ is not int:",
            f"        if not ({x}.__class__ in stand_ins and special.count): return NotImplemented",
            f"        {x} = {x}.number",
            f"        if {x}.__class__ not in PLAIN: return NotImplemented",
        ]
    lines += [
        f"    try: z = {expression}",
        "    except (ArithmeticError, ValueError): return NotImplemented",
        "    if z.__class__ is not float: return NotImplemented",
        *recorded("Value", "inputs", "NO_PARAMETERS", 2),
    ]
    return compiled(name, lines, float_code() | {"rule": rule})


def emit_joining_any(rule: type[Rule]) -> Callable[..., Any]:
    """The same for any number of inputs."""
    name = f"{rule.__name__}_of_any_floats"
    lines = [
        f"def {name}(inputs):",
        "    if special.count and not only_recording(): return NotImplemented",
        "    numbers, recorded = [], False",
        "    for x in inputs:",
        "        kind = x.__class__",
        "        if kind is Value:",
        "            numbers.append(x._data)",
        "            recorded = recorded or x.requires_grad",
        "        elif kind is float or kind is int: numbers.append(x)",
        "        elif kind in stand_ins and special.count and x.number.__class__ in PLAIN: numbers.append(x.number)",
        "        else: return NotImplemented",
        "    if not recorded: return NotImplemented",
        "    try: z = value(*numbers)",
        "    except (ArithmeticError, ValueError): return NotImplemented",
        *recorded("Value", "inputs", "NO_PARAMETERS", 2),
    ]
    return compiled(name, lines, float_code() | {"value": rule.value, "rule": rule})


def recorded(face: str, x: str, y: str, within: int = 0, within_modules: bool = False) -> list[str]:
    """The node of an emitted operator, so many calls of ours within, or nearly always within modules; see `Node`."""
    indent = "    " * within_modules
    outwards = "        if MARK in frame.f_globals: frame = frame.f_back or frame"
    return [
        f"    node = new({face})",
        "    node._data = z",
        "    node._grad = node._share = node._extra = None",
        "    node._number = next_number()",
        f"    node._x = {x}",
        f"    node._y = {y}",
        "    node.requires_grad = True",
        "    node.rule = rule",
        "    if sites.on:",
        *(["        frame = caller.frame", "        if frame is None:"] if within_modules else []),
        f"{indent}        frame = getframe({max(within, 1)})",
        *([outwards, outwards] if within else []),  # quicker than the search for the user's frame
        f"{indent}        if MARK in frame.f_globals: frame = caller.frame or user_frame(frame)",
        "        node._code = frame.f_code",
        "        node._instruction = frame.f_lasti",
        "    else:",
        "        node._code = None",
        "        node._instruction = 0",
        "    return node",
    ]


@functools.cache
def float_code() -> dict[str, Any]:
    """What code of floats may call."""
    return {
        **kinds.float_kind.elementary,
        "Value": kinds.float_kind.face, "new": object.__new__, "next_number": next_number, "special": modes.special,
        "sites": sites.switch, "getframe": sys._getframe, "user_frame": sites.user_frame, "caller": sites.caller,
        "MARK": sites.MARK, "NO_PARAMETERS": NO_PARAMETERS, "only_recording": modes.only_recording,
        "stand_ins": stand_ins, "PLAIN": {float, int},
    }  # fmt: skip


def array_code() -> dict[str, Any]:
    """What code of arrays may call."""
    return {**kinds.array_kind.elementary, "ndarray": np.ndarray}
