"""What a rule is: one operation, its value and, beside it, its derivative with respect to each input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any

from microgrid import anomaly, kinds

__microgrid_machinery__ = True

VARIADIC = 0x04  # the code flag of a function that takes *args
SUSPENDED = 0x20 | 0x80 | 0x200  # of a generator, of a coroutine, of both: calling one gives no number


class _None(dict[type, None]):
    def __missing__(self, number: type) -> None:
        return None


NO_SHORTCUTS = _None()


class Rule:
    """One operation. Write its value and its derivatives; call it to apply it.

    A rule is pure mathematics and knows nothing of graphs, shapes or kinds of number::

        class multiply(Rule):
            def value(x, y):        return x * y
            def wrt_x(g, z, x, y):  return g * y
            def wrt_y(g, z, x, y):  return g * x

    `x, y` are the inputs, `z` the value, `g` = dL/dz the gradient from above, and `wrt_x` returns this
    input's share of dL/dx in any shape that broadcasts to, or was broadcast from, the shape of x. What has
    no derivative is keyword-only and goes to every function of the rule, or, if it is an array, is an input
    named in `constant`. A rule of any number of inputs has `value(*xs)` and one `wrt_xs` that returns all
    shares. An elementary rule has no `value`: each kind of number supplies it (see `kinds`).

    A rule is never instantiated: `multiply(a, b)` is a b, for floats, arrays, graph nodes or symbols.

    Raises
    ------
    TypeError
        When the class is made: a `wrt_*` is missing, is one too many, or takes other arguments than
        `(g, z, *inputs, *, parameters)`; `constant` is no tuple of names of inputs; a function is `async`, or yields.
    """

    constant: tuple[str, ...] = ()
    inputs: tuple[str, ...]  # ("x", "y"), or ("xs",) of a variadic rule
    parameters: frozenset[str]  # names of the keyword-only arguments
    variadic: bool
    ours: bool  # of the table in rules.py, and so mathematics and nothing else
    wrt: tuple[Callable[..., Any] | None, ...]  # one for each input; None where it has no derivative
    value: Callable[..., Any] | None = None
    # by the class of the first input, a fast path, see `shortcuts`; it gives NotImplemented where it does not apply
    shortcuts: Mapping[type, Callable[..., Any] | None] = NO_SHORTCUTS

    def __new__(cls, /, *inputs: Any, **parameters: Any) -> Any:
        try:
            shortcut = cls.shortcuts[inputs[0].__class__] if inputs else None
            if shortcut is not None:
                z = shortcut(*inputs, **parameters) if parameters else shortcut(*inputs)
                if z is not NotImplemented:
                    return z
            return kinds.highest(inputs).apply(cls, inputs, parameters)
        except (TypeError, ValueError, IndexError) as error:
            if cls.ours:
                raise anomaly.explained(error, cls, inputs, parameters) from None
            raise anomaly.explained(error, cls, inputs, parameters) from error  # of a user's rule, with the line in it

    def __init_subclass__(cls) -> None:
        members = {name: getattr(member, "__func__", member) for name, member in vars(cls).items()}  # or staticmethods
        functions = {name: member for name, member in members.items() if isinstance(member, FunctionType)}
        cls.ours = cls.__module__ == "microgrid.rules"
        derivatives = {name: f for name, f in functions.items() if name.startswith("wrt_")}
        signatures = {name: _signature(f) for name, f in functions.items()}
        if "value" in functions:
            cls.inputs, cls.parameters, cls.variadic = signatures["value"]
        elif derivatives:
            names, cls.parameters, cls.variadic = signatures[next(iter(derivatives))]
            cls.inputs = names[2:]
        else:
            raise TypeError(f"rule {cls.__name__}: no value and no wrt_*: what does it do?")

        if "self" in cls.inputs:
            raise TypeError(f"rule {cls.__name__}: its functions are plain mathematics and take no self")
        for name, function in functions.items():
            if (name == "value" or name in derivatives) and function.__code__.co_flags & SUSPENDED:
                raise TypeError(f"rule {cls.__name__}: {name} is async or yields: its functions return numbers")
        _check_constant(cls)
        needed = {f"wrt_{name}" for name in cls.inputs if name not in cls.constant}
        if needed - set(derivatives):
            missing = ", ".join(sorted(needed - set(derivatives)))
            raise TypeError(
                f"rule {cls.__name__}: {missing} is missing; what has no derivative stands after a star, "
                "or, if it is an array, is named in `constant`"
            )
        if set(derivatives) - needed:
            extra = ", ".join(sorted(set(derivatives) - needed))
            raise TypeError(f"rule {cls.__name__}: {extra} matches no input of {cls.inputs}")
        expected = (("g", "z", *cls.inputs), cls.parameters, cls.variadic)
        for name in derivatives:
            if signatures[name] != expected:
                raise TypeError(
                    f"rule {cls.__name__}: {name} takes {_written(*signatures[name])}, expected {_written(*expected)}"
                )
        if cls.value is None and not kinds.is_elementary(cls):
            raise TypeError(f"rule {cls.__name__}: it has no `value`, and no kind of number has one by this name")
        cls.wrt = tuple(derivatives.get(f"wrt_{name}") for name in cls.inputs)


def _check_constant(rule: type[Rule]) -> None:
    given = rule.constant
    if not isinstance(given, (tuple, list)) or not all(isinstance(name, str) for name in given):
        comma = f": a tuple of one has a comma, ({given!r},)" if isinstance(given, str) else ""
        raise TypeError(f"rule {rule.__name__}: constant = {given!r:.60}: expected a tuple of names of inputs{comma}")
    unknown = [name for name in given if name not in rule.inputs]
    if unknown:
        raise TypeError(f"rule {rule.__name__}: constant: {unknown[0]!r} is no input of {rule.inputs}")
    rule.constant = tuple(given)


def _signature(function: FunctionType) -> tuple[tuple[str, ...], frozenset[str], bool]:
    """Names of the positional arguments (with those of *args last), of the keyword-only ones, and whether *args."""
    code = function.__code__
    names = code.co_varnames
    positional, keywords = code.co_argcount, code.co_kwonlyargcount
    variadic = bool(code.co_flags & VARIADIC)
    rest = (names[positional + keywords],) if variadic else ()
    return names[:positional] + rest, frozenset(names[positional : positional + keywords]), variadic


def _written(names: tuple[str, ...], parameters: frozenset[str], variadic: bool) -> str:
    stars = "*" if variadic else ""
    listed = [*names[:-1], stars + names[-1]] if names else []
    if parameters and not variadic:
        listed.append("*")
    return f"({', '.join(listed + sorted(parameters))})"
