"""Is this number what that one is? Expressions at a point, enclosed by intervals: what lies apart is certainly unequal.

Real arithmetic throughout: a logarithm of a negative number is no number here, as it is nan in the engine.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import sympy
from mpmath import iv, mp

__microgrid_machinery__ = True

Point = Mapping[Any, Any]


class UndefinedError(ValueError):
    """At this point the expression is certainly no real number."""


class UnsureError(ValueError):
    """The precision does not suffice to tell, or a function is unknown here."""


def enclosure(expression: Any, point: Point, digits: int) -> Any:
    """An interval that certainly contains the value of the expression at a rational point.

    Parameters
    ----------
    expression : SymPy expression
    point : dict of Symbol to Rational
    digits : int
        Decimal digits to compute with.

    Raises
    ------
    UndefinedError, UnsureError

    Examples
    --------
    >>> x = sympy.Symbol("x")
    >>> value = enclosure(sympy.exp(x), {x: sympy.Rational(1, 2)}, 20)
    >>> 1.6487 < value.a < value.b < 1.6488
    True
    """
    before = iv.dps
    iv.dps = digits
    try:
        return _Evaluation(point)(expression)
    except ArithmeticError as error:  # of numbers beyond all bounds
        raise UnsureError(str(error)) from None
    finally:
        iv.dps = before


class _Evaluation:
    """One expression at one point; parts that occur twice are evaluated once."""

    def __init__(self, point: Point) -> None:
        self._known: dict[Any, Any] = {}
        self._point = point

    def __call__(self, e: Any) -> Any:
        if e not in self._known:
            self._known[e] = self._value(e)
        return self._known[e]

    def _value(self, e: Any) -> Any:
        if isinstance(e, sympy.Symbol):
            if e not in self._point:
                raise UnsureError(f"{e} has no value")
            return self(self._point[e])
        if isinstance(e, sympy.Rational):
            return iv.mpf(int(e.p)) / iv.mpf(int(e.q))
        if e is sympy.pi:
            return +iv.pi
        if e in (sympy.I, sympy.zoo, sympy.nan, sympy.oo, -sympy.oo):
            raise UndefinedError(str(e))
        if isinstance(e, sympy.Pow) and not isinstance(e, sympy.exp):
            return self._power(e.base, e.exp)
        if isinstance(e, sympy.Piecewise):
            return self._choice(e)
        if e is sympy.E:
            return iv.exp(iv.mpf(1))
        function = FUNCTIONS.get(e.func)
        if function is None:
            raise UnsureError(f"{e.func.__name__} has no value")
        return function(*[self(a) for a in e.args])

    def _power(self, base: Any, exponent: Any) -> Any:
        x, exponent = self(base), exponent.xreplace(self._point)
        if exponent.is_Integer:
            n = int(exponent)
            return x**n if n >= 0 else _divided(iv.mpf(1), x**-n)
        y = self(exponent)
        if x.a > 0:
            return iv.exp(y * iv.log(x))
        if x.a == x.b == 0 and y.a > 0:
            return iv.mpf(0)
        if x.b < 0 and exponent.is_Rational:
            raise UndefinedError(f"a root of {base}")
        raise UnsureError(f"a power of {base}")

    def _choice(self, e: Any) -> Any:
        for value, condition in e.args:
            holds = self._holds(condition)
            if holds is None:
                raise UnsureError(f"{condition}")
            if holds:
                return self(value)
        raise UndefinedError(f"{e}")

    def _holds(self, condition: Any) -> bool | None:
        """Whether a condition certainly holds, or certainly does not; None where that cannot be told."""
        if condition in (sympy.true, sympy.false):
            return bool(condition)
        if not isinstance(condition, sympy.core.relational.Relational):
            return None
        difference = self(condition.lhs) - self(condition.rhs)
        below, above, same = difference.b < 0, difference.a > 0, difference.a == difference.b == 0
        if not (below or above or same):
            return None
        return bool(condition.func(sympy.Integer(above - below), 0))


def _divided(x: Any, y: Any) -> Any:
    if y.a == y.b == 0:
        raise UndefinedError("a division by zero")
    if y.a <= 0 <= y.b:
        raise UnsureError("a division by what may be zero")
    return x / y


def _log(x: Any, *base: Any) -> Any:
    if base:
        return _divided(_log(x), _log(*base))
    if x.b <= 0:
        raise UndefinedError("the logarithm of what is not positive")
    if x.a <= 0:
        raise UnsureError("the logarithm of what may not be positive")
    return iv.log(x)


def _abs(x: Any) -> Any:
    return x if x.a >= 0 else -x if x.b <= 0 else iv.mpf([0, max(-x.a, x.b)])


def _sign(x: Any) -> Any:
    if x.a > 0 or x.b < 0 or x.a == x.b == 0:
        return iv.mpf(int(x.a > 0) - int(x.b < 0))
    raise UnsureError("the sign of what may be zero")


def _sum(*xs: Any) -> Any:
    return sum(xs, iv.mpf(0))


def _product(*xs: Any) -> Any:
    z = iv.mpf(1)
    for x in xs:
        z = z * x
    return z


def _rising(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """A rising function of mpmath's, which is right to a few units in the last place, at the ends of an interval."""

    def enclosed(x: Any) -> Any:
        with mp.workdps(iv.dps + 10):
            low, high = (function(mp.make_mpf(end)) for end in x._mpi_)
            margin = mp.mpf(10) ** -iv.dps
            return iv.mpf([low - margin * abs(low), high + margin * abs(high)])

    return enclosed


def _tanh(x: Any) -> Any:
    return 1 - 2 / (iv.exp(2 * x) + 1)


FUNCTIONS: dict[Any, Callable[..., Any]] = {
    sympy.Add: _sum, sympy.Mul: _product, sympy.exp: iv.exp, sympy.log: _log, sympy.Abs: _abs, sympy.sign: _sign,
    sympy.sin: iv.sin, sympy.cos: iv.cos, sympy.tan: lambda x: _divided(iv.sin(x), iv.cos(x)),
    sympy.cot: lambda x: _divided(iv.cos(x), iv.sin(x)), sympy.sec: lambda x: _divided(iv.mpf(1), iv.cos(x)),
    sympy.csc: lambda x: _divided(iv.mpf(1), iv.sin(x)), sympy.tanh: _tanh,
    sympy.sinh: lambda x: (iv.exp(x) - iv.exp(-x)) / 2, sympy.cosh: lambda x: (iv.exp(x) + iv.exp(-x)) / 2,
    sympy.coth: lambda x: _divided(iv.mpf(1), _tanh(x)),
    sympy.atan: _rising(mp.atan), sympy.asinh: _rising(mp.asinh), sympy.erf: _rising(mp.erf),
    sympy.Max: lambda *xs: iv.mpf([max(x.a for x in xs), max(x.b for x in xs)]),
    sympy.Min: lambda *xs: iv.mpf([min(x.a for x in xs), min(x.b for x in xs)]),
}  # fmt: skip
