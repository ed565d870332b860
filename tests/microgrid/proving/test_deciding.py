"""Proved, refuted at a point where the sides really differ, or undecided: under assumptions of each kind."""

from __future__ import annotations

import contextlib
from itertools import islice
from typing import Any

import mpmath
import pytest
import sympy
from hypothesis import given, settings, strategies as st
from sympy import Abs, Eq, Max, Min, Rational, exp, log, pi, sin, sqrt, tan

from microgrid.proving.deciding import Decision, Domain, decide
from microgrid.proving.intervals import UndefinedError, UnsureError, enclosure

x, y = sympy.symbols("x y", real=True)
p = sympy.Symbol("p", positive=True)
n = sympy.Symbol("n", integer=True)
plain = sympy.Symbol("plain")
ys = sympy.symbols("y1:4", positive=True)
labels = sympy.symbols("l1:13", positive=True)
zs = sympy.symbols("z1:4", real=True)
softmax = [exp(z) / sum(map(exp, zs)) for z in zs]
C = -sum(t * log(a) for t, a in zip(ys, softmax, strict=True))

CASES: list[tuple[str, Any, Any, list[Any]]] = [
    ("proved", sqrt(x**2), x, [x > 0]), ("proved", sqrt(x**2), x, [x >= 0]), ("proved", sqrt(x**2), -x, [x < 0]),
    ("refuted", sqrt(x**2), x, []), ("refuted", sqrt(plain**2), plain, []), ("proved", sqrt(plain**2), Abs(plain), []),
    ("proved", log(x**2), 2 * log(x), [x > 0]), ("undecided", log(x**2), 2 * log(x), []),
    ("proved", exp(log(x)), x, []), ("proved", x / x, sympy.Integer(1), []),
    ("proved", (x**2 - 1) / (x - 1), x + 1, []),
    ("proved", log(1 - x) - log(x), log(1 / x - 1), [x > 0, x < 1]),
    ("proved", log(3 - x) + log(x - 1), log((3 - x) * (x - 1)), [x > 1, x < 3]),
    ("proved", log(2 - x), log((2 - x) ** 2) / 2, [x < 2]),
    ("proved", Abs(x - 1) + Abs(x - 3), sympy.Integer(2), [x > 1, x < 3]),
    ("proved", sympy.diff(C, zs[0]), softmax[0] - ys[0], [Eq(sum(ys), 1)]),
    ("refuted", sympy.diff(C, zs[0]), softmax[0] - ys[0], []),
    ("proved", sympy.diff(C, zs[0]), softmax[0] * sum(ys) - ys[0], []),
    ("proved", x * y, 1 - x**2, [Eq(y, 1 / x - x)]), ("proved", p + x, 1 + x, [Eq(p, 1)]),
    ("proved", x + y, sympy.Integer(3), [Eq(x - y, 1), Eq(2 * y, 2)]),
    ("refuted", exp(pi * sqrt(163)), sympy.Integer(262537412640768744), []),
    ("refuted", x, x + Rational(1, 10**12), []), ("refuted", exp(x), exp(x) + x / 10**90, []),
    ("refuted", tan(x + y), (tan(x) + tan(y)) / (1 + tan(x) * tan(y)), []),
    ("refuted", (-1) ** n, sympy.Integer(1), []), ("proved", sympy.cos(2 * pi * n), sympy.Integer(1), []),
    ("refuted", Max(x, 0), x, []), ("proved", Max(p, 0), p, []), ("proved", Max(x, y) + Min(x, y), x + y, []),
    ("proved", Max(x, y), (x + y + Abs(x - y)) / 2, []), ("refuted", Max(x, y), (x + y - Abs(x - y)) / 2, []),
    ("proved", Abs(x * y), Abs(x) * Abs(y), []), ("proved", Abs(x / y), Abs(x) / Abs(y), []),
    ("refuted", Abs(x + y), Abs(x) + Abs(y), []), ("undecided", sympy.sign(x) ** 2, sympy.Integer(1), []),
    ("proved", Abs(1 - x), 1 - x, [x >= 0, x <= 1]), ("proved", Abs(1 - x), 1 - x, [x > 0, x <= 1]),
    ("proved", Abs(1 - x), 1 - x, [x >= 0, x < 1]), ("refuted", Abs(1 - x), 1 - x, [x >= 0, x <= 2]),
    ("proved", x, sympy.Integer(1), [x >= 1, x <= 1]), ("refuted", Abs(1 - 2 * x), 1 - 2 * x, [x > 0, x <= 1]),
    ("proved", x * sum(labels), x, [Eq(sum(labels), 1)]), ("refuted", x * sum(labels[1:]), x, [Eq(sum(labels), 1)]),
    ("refuted", sympy.atan(x), x, []), ("refuted", sympy.sign(x), x / p, []),
    ("refuted", sympy.Piecewise((x, x > 0), (0, True)), x, []),
    ("undecided", log(-1 - x**2) + 1, log(-1 - x**2) + 1, []),
    ("undecided", 1 / (sin(x) ** 2 + sympy.cos(x) ** 2 - 1), 2 / (2 * sin(x) ** 2 + 2 * sympy.cos(x) ** 2 - 2), []),
    ("undecided", sympy.Function("f")(x), sympy.Function("f")(x) + 1, []),
    ("undecided", x, x, [Eq(x**2, 2)]),
    ("refuted", x * y, sympy.Integer(0), [x > y]), ("refuted", x, Abs(x), [x < -2, x > -3]),
]  # fmt: skip


@pytest.mark.parametrize(("verdict", "lhs", "rhs", "assumptions"), CASES, ids=lambda part: str(part)[:40])
def test_verdicts(verdict: str, lhs: Any, rhs: Any, assumptions: list[Any]) -> None:
    """Each with its verdict; a refutation's point meets the assumptions, and 60 other digits say that it is one."""
    decision = decide([(lhs, rhs)], assumptions)
    assert decision.verdict == verdict, decision
    if verdict == "refuted":
        at = decision.point
        assert all(a.subs(at) == sympy.true for a in assumptions)
        with mpmath.workdps(120):
            assert abs((lhs - rhs).evalf(110, subs=at)) > mpmath.mpf(10) ** -95
    if verdict == "undecided":
        assert decision.reason


def test_the_same_every_time() -> None:
    """No chance that is not seeded: the point is always the same."""
    assert len({str(decide([(x**2, x)], [])) for _ in range(3)}) == 1


def test_of_several_equations() -> None:
    """All must hold; the first that is refuted is named, before one that is undecided."""
    good, bad, unknown = (x, x), (x, -x), (sympy.Function("f")(x), sympy.Integer(0))
    assert decide([good, good], []) == Decision("proved")
    assert decide([good, unknown, bad], []).entry == 2
    assert decide([good, unknown], []).entry == 1
    assert decide([], []).verdict == "proved"


@pytest.mark.parametrize(
    "assumptions", [[x > 1, x < 0], [x > 1, x <= 1], [Eq(p, -1), p > 0], [Eq(x, 1), Eq(x, 2)], [sympy.false]], ids=str
)
def test_assumptions_that_contradict_each_other(assumptions: list[Any]) -> None:
    """Nothing follows from them: an error, or no point is found, but never a proof."""
    with contextlib.suppress(ValueError):
        assert decide([(x, x)], assumptions).verdict == "undecided"


ASSUMED = st.fixed_dictionaries(
    {}, optional={word: st.just(True) for word in ("positive", "integer", "nonzero", "odd")}
)


@settings(max_examples=30, deadline=None)
@given(ASSUMED, st.integers(-3, 3), st.integers(-3, 3))
def test_points_satisfy_the_assumptions(words: dict[str, bool], low: int, high: int) -> None:
    """Whatever is assumed, each point that is looked at is a number of that sort."""
    s = sympy.Symbol("s", real=True, **words)
    relations = [relation for relation in (s >= low, s < high) if relation not in (sympy.true, sympy.false)]
    try:
        points = list(islice(Domain({s, x}, [*relations, x > s]).points(), 10))
    except ValueError:
        return
    for point in points:
        number = point[s]
        assert all(relation.subs(point) == sympy.true for relation in relations)
        assert point[x] > number
        assert number.is_rational
        assert all(getattr(number, f"is_{word}") for word in words)


# ------------------------------------------------------------------------------------------------------ intervals

FUNCTIONS = [
    exp(x) / (1 + exp(x)), log(2 + x**2), sin(x) + tan(x) + sympy.cot(x), sqrt(3 + x) ** 3,
    sympy.tanh(x) + sympy.cosh(x),
    sympy.atan(x) + sympy.erf(x) + sympy.asinh(x), Abs(x) + Max(x, 1) - Min(x, 0), (2 + x**2) ** x, sympy.sec(x) + pi,
    sympy.E**x + sympy.sinh(x) + sympy.csc(x) + sympy.coth(x), sympy.Piecewise((x, x < 1), (x**2, True)), sympy.sign(x),
]  # fmt: skip


@given(st.sampled_from(FUNCTIONS), st.fractions(-3, 3, max_denominator=50).filter(bool))
def test_an_enclosure_holds_the_value(e: Any, number: Any) -> None:
    """The number that SymPy finds with 40 digits lies in the interval found with 25, which is narrow."""
    at = {x: Rational(number.numerator, number.denominator)}
    interval = enclosure(e, at, 25)
    with mpmath.workdps(40):
        value = mpmath.mpf(str(e.evalf(40, subs=at)))
        low, high = map(mpmath.mp.make_mpf, interval._mpi_)  # its ends, not rounded
        slack = mpmath.mpf(10) ** -38 * (1 + abs(value))  # of SymPy's last digits
        assert low - slack <= value <= high + slack
        assert high - low < mpmath.mpf(10) ** -15 * (1 + abs(value))


def test_what_is_no_number_at_a_point() -> None:
    """Certainly none, as nan in the engine; or not certainly one."""
    half = {x: Rational(1, 2)}
    for e in (log(x - 1), sqrt(x - 1), 1 / (2 * x - 1), (x - 1) ** Rational(1, 3), sympy.I + x, sympy.zoo + x):
        with pytest.raises(UndefinedError):
            enclosure(e, half, 30)
    third = {x: Rational(1, 3)}
    for e in (1 / (3 * x - 1), log(3 * x - 1), sympy.gamma(x), y + x, sympy.sign(3 * x - 1), (3 * x - 1) ** pi):
        with pytest.raises((UnsureError, UndefinedError)):
            enclosure(e, third, 30)
