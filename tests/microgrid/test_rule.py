"""A rule that is not whole is refused when its class is made, not at the first gradient that it gets wrong."""

from __future__ import annotations

from typing import Any

import pytest

import microgrid as mg
from microgrid.rule import Rule


def declare(constant: tuple[str, ...] = (), **functions: Any) -> type[Rule]:
    return type("declared", (Rule,), {"constant": constant, **functions})


def value(x, y):  # type: ignore[no-untyped-def]
    return x * y


def by_x(g, z, x, y):  # type: ignore[no-untyped-def]
    return g * y


def by_y(g, z, x, y):  # type: ignore[no-untyped-def]
    return g * x


async def later(x, y):  # type: ignore[no-untyped-def]
    return x * y


def yielding(x, y):  # type: ignore[no-untyped-def]
    yield x * y


async def later_by_x(g, z, x, y):  # type: ignore[no-untyped-def]
    yield g * y


def yielding_by_x(g, z, x, y):  # type: ignore[no-untyped-def]
    yield g * y


WHOLE = {"value": value, "wrt_x": by_x, "wrt_y": by_y}
MANY = lambda *xs: xs[0]


@pytest.mark.parametrize(
    ("functions", "message"),
    [
        ({}, "no value and no wrt"),
        ({"value": value}, "wrt_x, wrt_y is missing"),
        ({"value": value, "wrt_x": by_x}, "wrt_y is missing"),
        ({"wrt_x": by_x}, "wrt_y is missing"),
        (WHOLE | {"wrt_w": by_y}, "wrt_w matches no input"),
        (WHOLE | {"constant": ("y",)}, "wrt_y matches no input"),
        (WHOLE | {"wrt_y": lambda g, z, x: g}, r"wrt_y takes \(g, z, x\), expected \(g, z, x, y\)"),
        (WHOLE | {"wrt_y": lambda z, g, x, y: g}, r"wrt_y takes \(z, g, x, y\)"),
        (WHOLE | {"wrt_y": lambda g, z, y, x: g}, r"wrt_y takes \(g, z, y, x\)"),
        (WHOLE | {"wrt_y": lambda g, z, x, y, *, axis: g}, r"wrt_y takes \(g, z, x, y, \*, axis\)"),
        ({"value": lambda x, *, axis: x, "wrt_x": lambda g, z, x: g}, r"takes .*, expected \(g, z, x, \*, axis\)"),
        ({"value": MANY, "wrt_xs": lambda g, z, xs: [g]}, r"wrt_xs takes \(g, z, xs\), expected \(g, z, \*xs\)"),
        ({"value": MANY, "wrt_x": lambda g, z, *xs: [g]}, "wrt_xs is missing"),
        ({"value": value, "wrt_x": by_x, "constant": ("y")}, r"expected a tuple of names .* comma, \('y',\)"),
        ({"value": lambda mask, a: a, "constant": ("mask")}, r"constant = 'mask': expected a tuple"),
        (WHOLE | {"constant": ("z",)}, "constant: 'z' is no input of"),
        (WHOLE | {"constant": (0,)}, "expected a tuple of names of inputs"),
        (WHOLE | {"constant": None}, "expected a tuple of names of inputs"),
        (WHOLE | {"value": later}, "value is async or yields"),
        (WHOLE | {"value": yielding}, "value is async or yields"),
        (WHOLE | {"wrt_x": later_by_x}, "wrt_x is async or yields"),
        (WHOLE | {"wrt_x": yielding_by_x}, "wrt_x is async or yields"),
    ],
)  # fmt: skip
def test_what_is_missing_too_much_or_of_another_arity_is_refused(functions: dict[str, Any], message: str) -> None:
    """A TypeError names the rule and the function, and says what was expected."""
    with pytest.raises(TypeError, match=f"rule declared: .*{message}"):
        declare(**functions)


def test_a_whole_rule_is_accepted() -> None:
    """Its inputs, parameters and derivatives are read from the functions."""
    rule = declare(value=value, wrt_x=by_x, wrt_y=by_y)
    assert (rule.inputs, rule.parameters, rule.variadic, rule.wrt) == (("x", "y"), frozenset(), False, (by_x, by_y))
    scaled = declare(constant=("c",), value=lambda c, x, *, k: c * x * k, wrt_x=lambda g, z, c, x, *, k: g * c * k)
    assert (scaled.inputs, scaled.parameters) == (("c", "x"), frozenset({"k"}))
    assert scaled.wrt[0] is None
    together = declare(value=lambda *xs: sum(xs), wrt_xs=lambda g, z, *xs: [g] * len(xs))
    assert (together.inputs, together.variadic) == (("xs",), True)


def test_users_declare_their_own() -> None:
    """`mg.apply` runs a rule of the user's on floats, arrays, Values and Tensors, to second order."""

    class cube(mg.Rule):  # noqa: N801
        def value(x):
            return x * x * x

        def wrt_x(g, z, x):
            return g * (3 * x * x)

    assert mg.apply(cube, 2.0) == 8.0
    for x in (mg.Value(2.0), mg.Tensor(2.0, requires_grad=True)):
        z = mg.apply(cube, x)
        (first,) = mg.grad(z, x, create_graph=True)
        (second,) = mg.grad(first, x)
        assert (z.item(), first.item(), float(second)) == (8.0, 12.0, 12.0)


def test_a_rule_is_never_instantiated() -> None:
    """Calling a rule applies it."""
    rule = declare(value=value, wrt_x=by_x, wrt_y=by_y)
    assert rule(2.0, 3.0) == 6.0
    assert not isinstance(rule(2.0, 3.0), Rule)


def test_a_learners_rules() -> None:
    """Static methods are taken as they are; self, a missing value and a missing return each have their message."""

    class halves(mg.Rule):  # noqa: N801 (a rule is a function)
        @staticmethod
        def value(x):
            return x / 2

        @staticmethod
        def wrt_x(g, z, x):
            return g / 2

    x = mg.Value(3.0)
    mg.apply(halves, x).backward()
    assert x.grad == 0.5

    with pytest.raises(TypeError, match="take no self"):

        class methods(mg.Rule):  # noqa: N801 (a rule is a function)
            def value(self, x):
                return x

            def wrt_x(self, g, z, x):
                return g

    with pytest.raises(TypeError, match="no `value`"):

        class nameless(mg.Rule):  # noqa: N801 (a rule is a function)
            def wrt_x(g, z, x):
                return g

    class forgets(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            x * 2

        def wrt_x(g, z, x):
            return g

    class forgets_too(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * 2

        def wrt_x(g, z, x):
            g * 2

    for make in (mg.Value, lambda number: mg.Tensor(number, requires_grad=True)):
        with pytest.raises(TypeError, match=r"forgets: its value is None.*return.*test_rule\.py"):
            mg.apply(forgets, make(1.0))
        with pytest.raises(TypeError, match=r"derivative is None.*return"):
            mg.apply(forgets_too, make(1.0)).backward()
