"""Fast paths, emitted from the rules: code as one more kind of number.

`multiply.value(Code("x"), Code("y"))` is `Code("x * y")`. From such text the operators of Value and the backward
pass of a graph of floats are compiled, each when it is first used: the same mathematics with nothing left to
decide. They serve the plain case alone (floats, nothing special going on); whatever else comes up goes to the
general machinery, which gives the same bits.
"""

from __future__ import annotations

import functools
import linecache
import re
import sys
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any, TypeVar

from microgrid import kinds, modes, sites, stale
from microgrid.graph import NO_PARAMETERS, Node, differentiate, next_number
from microgrid.rule import Rule

__microgrid_machinery__ = True

F = TypeVar("F", bound=Callable[..., Any])


# ---------------------------------------------------------------------------------------- code as a number


class Code:
    """A Python expression that behaves as the number it would give.

    Examples
    --------
    >>> g, z = Code("g"), Code("z")
    >>> print(g * (z * (1 - z)))
    g * (z * (1 - z))
    """

    __slots__ = ("text",)
    __array_ufunc__ = None

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text[1:-1] if _enclosed(self.text) else self.text

    def __neg__(self) -> Code:
        return Code(f"(-{self.text})")

    def __invert__(self) -> Code:
        return Code(f"(not {self.text})")

    __hash__ = None  # type: ignore[assignment]  # == writes code, so code is no key


def _enclosed(text: str) -> bool:
    """Whether the first parenthesis closes at the very end."""
    if not text.startswith("("):
        return False
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place == len(text) - 1
    return False


def _text(x: Any) -> str:
    return x.text if isinstance(x, Code) else repr(x)


def _written(symbol: str, swapped: bool = False) -> Callable[[Code, Any], Code]:
    def operator(self: Code, other: Any) -> Code:
        left, right = (_text(other), self.text) if swapped else (self.text, _text(other))
        return Code(f"({left} {symbol} {right})")

    return operator


_TWO_SIDED = {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**", "and": "and", "or": "or"}
_COMPARISONS = {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}
for _name, _symbol in _TWO_SIDED.items():
    setattr(Code, f"__{_name}__", _written(_symbol))
    setattr(Code, f"__r{_name}__", _written(_symbol, swapped=True))
for _name, _symbol in _COMPARISONS.items():
    setattr(Code, f"__{_name}__", _written(_symbol))


class _CodeKind(kinds.Kind):
    """Code for floats: an elementary rule is a call of what it is on floats."""

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Code:
        if rule.__name__ == "where":
            c, x, y = inputs
            return Code(f"({_branch(x)} if {_text(c)} else {_branch(y)})")
        if rule.value is not None:
            return rule.value(*inputs, **parameters)  # type: ignore[no-any-return]
        return Code(f"{rule.__name__}({', '.join(map(_text, inputs))})")


def _branch(x: Any) -> str:
    return _text(float(x) if isinstance(x, int) else x)  # where(c, 0, x) is a float either way


code_kind = _CodeKind("code", 50, {}, one=lambda x: Code("1.0"))
kinds.register(code_kind, [Code])


# ---------------------------------------------------------------------------------------- compiling


@functools.cache
def _namespace() -> dict[str, Any]:
    """What emitted code may call."""
    return {
        **kinds.float_kind.elementary,
        "Value": kinds.float_kind.face,
        "new": object.__new__,
        "next_number": next_number,
        "special": modes.special,
        "sites": sites.switch,
        "getframe": sys._getframe,
        "user_frame": sites.user_frame,
        "ieee": kinds.ieee,
        "NO_PARAMETERS": NO_PARAMETERS,
        "MARK": sites.MARK,
        sites.MARK: True,
        "__name__": __name__,
    }


def _compiled(name: str, source: str, **extra: Any) -> Callable[..., Any]:
    """The function of this name that the source defines; debuggers find the source as that of any file."""
    file = f"<microgrid {name}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    namespace = _namespace() | extra
    exec(compile(source, file, "exec"), namespace)
    function: Callable[..., Any] = namespace[name]
    return function


def _mentions(text: str, name: str) -> bool:
    return re.search(rf"\b{name}\b", text) is not None


# ---------------------------------------------------------------------------------------- forward


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
    rule: type[Rule], plain: Callable[..., Any], order: Callable[[Sequence[str]], Sequence[str]]
) -> Callable[..., Any]:
    """An operator of Value: the value of the rule, and the node that records it."""
    name = f"{rule.__name__}_of_floats"
    number = order(rule.inputs)[0]  # what self stands for; the other operand may be a constant
    other = next(iter(order(rule.inputs)[1:]), None)
    given = "self, other" if other else "self"
    inputs = {number: "self", other: "other"}
    expression = str(rule(*map(Code, rule.inputs)))
    lines = [
        f"def {name}({given}):",
        f"    if special.count or self.__class__ is not Value: return plain({given})",
        f"    {number} = self._data",
    ]
    if other:
        lines += [
            "    kind = other.__class__",
            f"    if kind is Value: {other} = other._data",
            f"    elif kind is float or kind is int: {other} = other",
            f"    else: return plain({given})",
            "    if not self.requires_grad and (kind is not Value or not other.requires_grad):"
            f" return plain({given})",
        ]
    else:
        lines += [f"    if not self.requires_grad: return plain({given})"]
    lines += [
        f"    try: z = {expression}",
        f"    except (ArithmeticError, ValueError): return plain({given})",
        *([f"    if z.__class__ is not float: return plain({given})"] if "**" in expression else []),
        "    node = new(Value)",
        "    node._data = z",
        "    node._grad = None",
        "    node._number = next_number()",
        "    node._extra = None",
        f"    node.inputs = ({', '.join(inputs[x] for x in rule.inputs)},)",
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
    return _compiled(name, "\n".join(lines) + "\n", plain=plain, rule=rule)


# ---------------------------------------------------------------------------------------- backward


def emit_pull(rule: type[Rule]) -> Callable[[Any], None]:
    """A function that hands the gradient of a node of floats on to its inputs."""
    if rule.variadic and not rule.parameters:
        return _emit_variadic_pull(rule)
    if rule.parameters or rule.constant:
        return _general_pull
    name = f"backward_of_{rule.__name__}"
    arguments = ["g", "z", *rule.inputs]
    shares = {x: str(wrt(*map(Code, arguments))) for x, wrt in zip(rule.inputs, rule.wrt, strict=True) if wrt}
    text = " ".join(shares.values())
    fallible = any(mark in text for mark in ("/", "**", "("))
    lines = [f"def {name}(node):", "    g = node._grad"]
    lines += [f"    {', '.join(f'node_{x}' for x in rule.inputs)}, = node.inputs"]
    if fallible or _mentions(text, "z"):
        lines += ["    z = node._data"]
    for x in rule.inputs:
        lines += [f"    is_{x} = node_{x}.__class__ is Value"]
        if fallible or _mentions(text, x):
            lines += [f"    {x} = node_{x}._data if is_{x} else node_{x}"]
    for x, share in shares.items():
        exact = f"ieee(wrt_{x}, ({', '.join(arguments)}), NO_PARAMETERS)"
        lines += [f"    if is_{x} and node_{x}.requires_grad:"]
        if not fallible:
            lines += [f"        node_{x}._grad += {share}"]
            continue
        lines += [
            f"        try: share = {share}",
            f"        except (ArithmeticError, ValueError): share = {exact}",
            *([f"        if share.__class__ is complex: share = {exact}"] if "**" in share else []),
            f"        node_{x}._grad += share",
        ]
    wrts = {f"wrt_{x}": wrt for x, wrt in zip(rule.inputs, rule.wrt, strict=True)}
    return _compiled(name, "\n".join(lines) + "\n", **wrts)


def _emit_variadic_pull(rule: type[Rule]) -> Callable[[Any], None]:
    name = f"backward_of_{rule.__name__}"
    source = f"""\
def {name}(node):
    inputs = node.inputs
    numbers = [x._data if x.__class__ is Value else x for x in inputs]
    try: shares = wrt(node._grad, node._data, *numbers)
    except (ArithmeticError, ValueError): shares = ieee(wrt, (node._grad, node._data, *numbers), NO_PARAMETERS)
    for x, share in zip(inputs, shares):
        if x.__class__ is Value and x.requires_grad: x._grad += share
"""
    return _compiled(name, source, wrt=rule.wrt[0])


def _general_pull(node: Any) -> None:
    for position, share in differentiate(node, node._grad, None, False):
        node.inputs[position]._grad += share


class _Pulls(dict[Any, Callable[[Any], None]]):
    """The backward function of each rule, emitted when it is first needed."""

    def __missing__(self, rule: type[Rule]) -> Callable[[Any], None]:
        pull = self[rule] = emit_pull(rule)
        return pull


pulls = _Pulls()
_age = attrgetter("_number")


def fast_backward(root: Any) -> bool:
    """The backward pass of a graph of floats; False, with nothing done, where that is not all there is to it."""
    reached = _reached(root)
    if reached is None:
        return False
    order, leaves = reached
    order.sort(key=_age, reverse=True)
    if order[-1]._number < stale.last.write:
        return False  # written to since its oldest operation: the general walk looks at each edge
    before = [leaf._grad for leaf in leaves]
    for node in order:
        node._grad = -0.0  # the neutral number of addition: -0.0 + x is x, to the sign of a zero
    for leaf in leaves:
        leaf._grad = -0.0
    root._grad = 1.0
    try:
        for node in order:
            pulls[node.rule](node)
    except BaseException:
        for leaf, grad in zip(leaves, before, strict=True):
            leaf._grad = grad
        raise
    for leaf, grad in zip(leaves, before, strict=True):
        if grad is not None:
            leaf._grad = grad + leaf._grad
    return True


def _reached(root: Any) -> tuple[list[Any], list[Any]] | None:
    """The operations and the leaves that a gradient flows to; None where one of them needs the general walk."""
    Value = kinds.float_kind.face
    if modes.special.count or root.rule is None or root.__class__ is not Value:
        return None
    found = {root._number}
    operations, leaves = [root], list[Any]()
    for node in operations:
        if node._extra is not None and (len(node._extra) > 1 or "name" not in node._extra):
            return None
        for x in node.inputs:
            if x.__class__ is Value:
                if x.requires_grad:
                    number = x._number
                    if number not in found:
                        found.add(number)
                        (operations if x.rule is not None else leaves).append(x)
            elif isinstance(x, Node):
                return None
    if any(leaf._extra is not None and "hooks" in leaf._extra for leaf in leaves):
        return None
    return operations, leaves
