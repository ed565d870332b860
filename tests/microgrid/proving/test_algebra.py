"""What the algebra takes for zero is zero: identities of each function, near misses, and identities made at random."""

from __future__ import annotations

from typing import Any

import pytest
import sympy
from hypothesis import assume, given, settings, strategies as st
from sympy import Abs, Rational, cos, cosh, exp, log, pi, sec, sin, sinh, sqrt, tan, tanh

from microgrid.proving.algebra import UndefinedError, tidied, vanishes
from microgrid.proving.deciding import decide

x, y, w, b = sympy.symbols("x y w b", real=True)
p, q = sympy.symbols("p q", positive=True)
n = sympy.Symbol("n", integer=True)


def sigma(z: Any) -> Any:
    return 1 / (1 + exp(-z))


ZEROS = {
    "sigmoid' = sigmoid (1 - sigmoid)": sympy.diff(sigma(x), x) - sigma(x) * (1 - sigma(x)),
    "tanh x = 2 sigmoid 2x - 1": tanh(x) - (2 * sigma(2 * x) - 1),
    "e^(x + y)": exp(x + y) - exp(x) * exp(y),
    "e^(x + 1)": exp(x + 1) - sympy.E * exp(x),
    "thirds and halves": exp(x / 3) * exp(x / 2 + y) - exp(5 * x / 6) * exp(y),
    "half of what came before": exp(exp(x) / 2) ** 2 * exp(exp(x) + y) - exp(2 * exp(x)) * exp(y),
    "ln of products": log(p * q) - log(p) - log(q),
    "ln of quotients": log(p / q) + log(q) - log(p),
    "ln of integers": log(6 * p) - log(2) - log(3) - log(p),
    "ln of a square": log((x + y) ** 2) - 2 * log(Abs(x + y)),
    "ln of a reciprocal": log(1 / x**3) + 3 * log(x),
    "ln of roots": log(sqrt(1 + exp(x))) - log(1 + exp(x)) / 2,
    "ln sigmoid": log(sigma(x)) + log(1 + exp(-x)),
    "ln(1 - sigmoid)": log(1 - sigma(x)) + log(1 + exp(x)),
    "two softplus": log(1 + exp(x)) - x - log(1 + exp(-x)),
    "e^(log_softmax)": exp(y * x - 3 * log(exp(x) + exp(y))) - exp(y * x) / (exp(x) + exp(y)) ** 3,
    "powers by ln": p**y * p ** (1 - y) - p,
    "powers of two": 2**x * 2**y - 2 ** (x + y),
    "e^(x ln 2)": exp(x * log(2)) - 2**x,
    "sin(x + y)": sin(x + y) - sin(x) * cos(y) - cos(x) * sin(y),
    "cos(x - y)": cos(x - y) - cos(x) * cos(y) - sin(x) * sin(y),
    "tan(x + y)": tan(x + y) - (tan(x) + tan(y)) / (1 - tan(x) * tan(y)),
    "sin 3x": sin(3 * x) - 3 * sin(x) + 4 * sin(x) ** 3,
    "sec^2 - tan^2": sec(x) ** 2 - 1 - tan(x) ** 2,
    "a sine in a sine": sin(sin(x) / 2) ** 2 * 2 - 1 + cos(sin(x)),
    "cosh^2 - sinh^2": cosh(x) ** 2 - sinh(x) ** 2 - 1,
    "roots of a square": sqrt(x**2 + 2 * x + 1) - Abs(x + 1),
    "cube roots": 1 / (sympy.cbrt(1 + p) - 1) - (sympy.cbrt(1 + p) ** 2 + sympy.cbrt(1 + p) + 1) / p,
    "rationalised": 1 / (sqrt(x) + sqrt(y)) - (sqrt(x) - sqrt(y)) / (x - y),
    "Max is symmetric": sympy.Max(x * (1 + y), y) - sympy.Max(y, x + x * y),
    "a net in a net": sigma(sigma(w * x + b) * y) * (1 + exp(-y / (1 + exp(-b - w * x)))) - 1,
    "exponents over one denominator": exp(y * (b * exp(x) + b + w) / (1 + exp(x)))
    - exp(b * y) * exp(w * y / (1 + exp(x))),
}  # fmt: skip

NO_ZEROS = {
    "sqrt x^2": sqrt(x**2) - x,
    "ln of a product of unknown signs": log(x * y) - log(x) - log(y),
    "ln x^2": log(x**2) - 2 * log(x),
    "ln of a product of two negatives": log(p * x * y) - log(p) - log(-x) - log(-y),
    "ln |x|": log(Abs(x)) - log(x),
    "roots of a product of unknown signs": sqrt(x * y) - sqrt(x) * sqrt(y),
    "sixth root of a square": x ** Rational(1, 3) - (x**2) ** Rational(1, 6),
    "tan(x + y), one sign": tan(x + y) - (tan(x) + tan(y)) / (1 + tan(x) * tan(y)),
    "nearly an integer": exp(pi * sqrt(163)) - 262537412640768744,
    "|sin x|": Abs(sin(x)) - sin(x),
    "|tan x|": sqrt(tan(x) ** 2) * cos(x) - sin(x),
    "cube root of a cube": (x**3) ** Rational(1, 3) - x,
    "a cube root for a square root": sympy.cbrt(1 + p) - sqrt(1 + p),
    "off by 1e-12": sigma(x) - sigma(x) * (1 + Rational(1, 10**12)),
    "(-1)^n": (-1) ** n - 1,
}  # fmt: skip


@pytest.mark.parametrize("expression", ZEROS.values(), ids=ZEROS)
def test_zeros_are_found(expression: Any) -> None:
    assert expression == 0 or vanishes(expression)


@pytest.mark.parametrize("expression", NO_ZEROS.values(), ids=NO_ZEROS)
def test_what_is_no_zero_is_not_taken_for_one(expression: Any) -> None:
    assert not vanishes(expression)


@pytest.mark.parametrize("expression", [sympy.I * x, sympy.zoo, sympy.oo + x, 1 / (sin(x) ** 2 + cos(x) ** 2 - 1)])
def test_what_is_nowhere_a_real_number(expression: Any) -> None:
    """An expression that divides by zero everywhere equals nothing, itself included."""
    with pytest.raises(UndefinedError):
        vanishes(expression)


def test_short_forms() -> None:
    """The notes' step: -(Y/A - (1 - Y)/(1 - A)) A (1 - A) is A - Y; functions stand in their places again."""
    A, Y = sympy.symbols("A Y", real=True)
    assert tidied(-(Y / A - (1 - Y) / (1 - A)) * A * (1 - A)) == A - Y
    assert tidied(exp(x) * exp(-2 * x) + sqrt(x) * 0) == exp(-x)
    messy = (exp(2 * x) - 1) / (exp(x) - 1) + log(p) - log(p**2) / 2 + sqrt(p) ** 3 / p - sqrt(p)
    assert tidied(messy) == exp(x) + 1
    assert tidied(tanh(x) / tanh(x) + sin(x)) == 1 + sin(x)


# --------------------------------------------------------------------------------------------- identities at random

LEAVES = st.sampled_from([x, y, p, q, sympy.Integer(2), Rational(-1, 3)])


def grown(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    pairs = st.tuples(inner, inner)
    return st.one_of(
        pairs.map(lambda e: e[0] + e[1]),
        pairs.map(lambda e: e[0] * e[1]),
        pairs.map(lambda e: e[0] / (1 + e[1] ** 2)),
        inner.map(sigma),
        inner.map(tanh),
        inner.map(lambda e: log(1 + exp(e))),
    )


EXPRESSIONS = st.recursive(LEAVES, grown, max_leaves=5)


def rewritten(e: Any, choices: list[int]) -> Any:
    """The same function, written otherwise: each step is an identity of the reals."""
    if not e.args:
        return e
    e = e.func(*[rewritten(a, choices) for a in e.args])
    step = choices.pop() if choices else 0
    if step == 1:
        return e.expand()
    if step == 2:
        return sympy.together(e)
    if step == 3:
        return (e * (1 + p) - e * p * sympy.exp(y) / sympy.exp(y)).subs({}) if e.is_Add else e
    if step == 4 and isinstance(e, tanh):
        return (exp(e.args[0]) - exp(-e.args[0])) / (exp(e.args[0]) + exp(-e.args[0]))
    if step == 5 and isinstance(e, log):
        return -log(1 / e.args[0])
    return e


@settings(max_examples=40, deadline=None)
@given(EXPRESSIONS, st.lists(st.integers(0, 5), min_size=4, max_size=12))
def test_rewritten_is_never_refuted(e: Any, choices: list[int]) -> None:
    """An expression and the same one rewritten by identities are equal: proved, or else undecided."""
    assume(not e.has(sympy.zoo, sympy.nan))
    assert decide([(e, rewritten(e, list(choices)))], []).verdict != "refuted"


@settings(max_examples=40, deadline=None)
@given(EXPRESSIONS, st.sampled_from([Rational(1, 10**12), -x * y / 10**6, p, exp(-p) / 1000]), st.integers(0, 5))
def test_perturbed_is_never_proved(e: Any, by: Any, step: int) -> None:
    """An expression and the same one off by what is not zero, however little, are refuted, and never proved."""
    assume(not e.has(sympy.zoo, sympy.nan))
    decision = decide([(e, rewritten(e, [step] * 6) + by)], [])
    assert decision.verdict == "refuted"
