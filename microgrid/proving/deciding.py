"""Is lhs = rhs at every point of the assumptions where both are real numbers? Proved, refuted at a point, or undecided.

A proof is a zero found by algebra (see `algebra`) and a point at which both sides certainly are numbers, so that it is
no proof about nothing. A refutation is a rational point that satisfies the assumptions and at which intervals (see
`intervals`) hold the two sides apart. All of it is deterministic, and has no time limit: `proofs` sets one.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any, NamedTuple

import sympy

from microgrid.proving import algebra, intervals

__microgrid_machinery__ = True

FEW, MANY = 6, 40  # points looked at before the algebra, and after it
DIGITS = (30, 120, 500)
SIGNS = ("positive", "negative", "nonnegative", "nonpositive", "nonzero")
NUMERATORS, DENOMINATORS = range(1, 12), (2, 3, 5, 7)


class Decision(NamedTuple):
    """What was found, and where."""

    verdict: str  # proved, refuted, undecided
    reason: str = ""
    entry: int = 0  # which of several equations
    point: dict[Any, Any] = {}  # noqa: RUF012  (never written to)
    sides: tuple[float, float] | None = None


def decide(equations: Sequence[tuple[Any, Any]], assumptions: Sequence[Any]) -> Decision:
    """Decide several equations, which hold if all of them do.

    Parameters
    ----------
    equations : sequence of pairs of SymPy expressions
    assumptions : sequence of SymPy relations

    Returns
    -------
    Decision

    Raises
    ------
    ValueError
        Where the assumptions contradict each other.

    Examples
    --------
    >>> x = sympy.Symbol("x", real=True)
    >>> decide([(sympy.exp(x) * sympy.exp(-2 * x), sympy.exp(-x))], []).verdict
    'proved'
    >>> decide([(x**2, x)], []).verdict, decide([(abs(x), x)], [x > 0]).verdict
    ('refuted', 'proved')
    """
    symbols = set().union(*(e.free_symbols for pair in equations for e in pair), *(a.free_symbols for a in assumptions))
    domain, field = Domain(symbols, assumptions), algebra.Field()
    open_question = None
    for entry, (lhs, rhs) in enumerate(equations):
        decision = _decide(lhs, rhs, domain, field)._replace(entry=entry)
        if decision.verdict == "refuted":
            return decision
        if decision.verdict == "undecided":
            open_question = open_question or decision
    return open_question or Decision("proved")


def _decide(lhs: Any, rhs: Any, domain: Domain, field: algebra.Field) -> Decision:
    points = domain.points()
    first = list(islice(points, FEW))
    for point in first:
        if sides := _apart(lhs, rhs, point, DIGITS[:1]):
            return Decision("refuted", point=point, sides=sides)
    zero, reason = _proof(lhs, rhs, domain, field)
    met, half_met = False, None
    for point in chain(first, islice(points, MANY)):
        if sides := _apart(lhs, rhs, point, DIGITS[:1] if zero else DIGITS):
            return Decision("refuted", point=point, sides=sides)
        defined = [_defined(e, point) for e in (lhs, rhs)]
        met = met or defined == [True, True]
        if half_met is None and True in defined and False in defined:
            half_met = ("left" if defined[0] else "right"), point
        if zero and met:
            return Decision("proved")
    if not met:
        reason = "no point was found at which the assumptions hold and both sides certainly are real numbers"
    elif half_met is not None:
        return Decision("undecided", f"only the {half_met[0]} side is a real number", point=half_met[1])
    return Decision("undecided", reason)


def _proof(lhs: Any, rhs: Any, domain: Domain, field: algebra.Field) -> tuple[bool, str]:
    """Whether algebra finds the difference to be zero; if not, why."""
    try:
        if field.vanishes(domain.inside(lhs) - domain.inside(rhs)):
            return True, ""
    except (ArithmeticError, AttributeError, NotImplementedError, RecursionError, TypeError, ValueError) as error:
        return False, f"the algebra stopped: {type(error).__name__}: {error}"
    return False, "neither a proof was found nor a point at which the sides differ"


def _apart(lhs: Any, rhs: Any, point: Any, precisions: Sequence[int]) -> tuple[float, float] | None:
    """The two sides at a point, if they certainly differ there."""
    for digits in precisions:
        try:
            x, y = (intervals.enclosure(e, point, digits) for e in (lhs, rhs))
        except intervals.UndefinedError:
            return None
        except intervals.UnsureError:
            continue
        if x.b < y.a or y.b < x.a:
            return float(x.mid), float(y.mid)
    return None


def _defined(e: Any, point: Any) -> bool | None:
    """Whether an expression certainly is a real number at a point, or certainly is none; None: not known."""
    try:
        intervals.enclosure(e, point, DIGITS[0])
    except intervals.UndefinedError:
        return False
    except intervals.UnsureError:
        return None
    return True


class Domain:
    """The points at which assumptions hold, mapped from independent symbols without bounds.

    An equation is solved for a symbol that it holds linearly. A symbol above a is a + u, where u is positive; below b,
    b - u; between a and b, a + (b - a)/(1 + u); from a to b with both ends, a + (b - a)(1 + t)^2/(2 (1 + t^2)). Other
    relations choose the points to look at, and help no proof.
    """

    def __init__(self, symbols: set[Any], assumptions: Sequence[Any]) -> None:
        self._symbols = sorted(symbols, key=lambda s: s.sort_key())
        self._assumptions = list(assumptions)
        self._inside: list[tuple[Any, Any]] = []  # substitutions, one after the other
        rest = []
        for relation in assumptions:
            relation = self._substituted(relation)
            if relation == sympy.false:
                raise ValueError("the assumptions contradict each other")
            if not (isinstance(relation, sympy.Eq) and self._solve(relation.lhs - relation.rhs)):
                rest.append(relation)
        solved = {s for s, _ in self._inside}
        self._solved = bool(solved)
        for s in self._symbols:
            if s not in solved:
                self._bound(s, [self._substituted(r) for r in rest])

    def inside(self, expression: Any) -> Any:
        """The expression in terms of the independent symbols."""
        for s, x in self._inside:
            expression = expression.xreplace({s: x})
        return expression

    def _substituted(self, relation: Any) -> Any:
        for s, x in self._inside:
            relation = relation.subs(s, x)
        return relation

    def _solve(self, zero: Any) -> bool:
        # a symbol with the fewest assumptions: those of the one that is solved for are lost to a proof
        for s in sorted(zero.free_symbols, key=lambda s: (len(s.assumptions0), s.sort_key())):
            a = sympy.diff(zero, s)
            if a.is_Rational and a != 0:
                self._inside.append((s, sympy.expand(s - zero / a)))
                return True
        return False

    def _bound(self, s: Any, relations: Sequence[Any]) -> None:
        """Replace a symbol that numbers bound by an unbounded one."""
        low, high = _bounds(s, relations)
        if low is not None and high is not None and (low[0] > high[0] or (low[0] == high[0] and low[1] | high[1])):
            raise ValueError(f"the assumptions contradict each other: {s} > {low[0]} and {s} < {high[0]}")
        if _special(s):
            x = s
        elif low and high and low[1] and high[1]:
            x = low[0] + (high[0] - low[0]) / (1 + sympy.Dummy(s.name, positive=True))
        elif low and high and low[1]:
            x = low[0] + (high[0] - low[0]) / (1 + sympy.Dummy(s.name, nonnegative=True))
        elif low and high and high[1]:
            x = high[0] - (high[0] - low[0]) / (1 + sympy.Dummy(s.name, nonnegative=True))
        elif low and high:  # (1 + t)^2 / (2 (1 + t^2)) goes from 0, at t = -1, to 1, at t = 1
            t = sympy.Dummy(s.name, real=True)
            x = low[0] + (high[0] - low[0]) * (1 + t) ** 2 / (2 * (1 + t**2))
        elif low:
            x = low[0] + sympy.Dummy(s.name, **{"positive" if low[1] else "nonnegative": True})
        elif high:
            x = high[0] - sympy.Dummy(s.name, **{"positive" if high[1] else "nonnegative": True})
        else:
            x = sympy.Dummy(s.name, real=True)
        if x != s:
            self._inside.append((s, x))

    def points(self) -> Iterator[dict[Any, Any]]:
        """Rational points that satisfy the assumptions, always the same ones; finitely many."""
        chance, scale = random.Random(7), random.Random(8)
        images = {s: self.inside(s) for s in self._symbols}
        free = sorted(set().union(*(x.free_symbols for x in images.values())), key=lambda s: s.sort_key())
        for _ in range(50 * (FEW + MANY) if free else 1):
            at = {u: _drawn(u, chance) for u in free}
            if self._solved:  # of many positive numbers that add up to one, each is small
                small = scale.choice((1, len(free), 4 * len(free)))
                at = {u: x / small if u.is_nonnegative and not u.is_integer else x for u, x in at.items()}
            point = {s: x.xreplace(at) for s, x in images.items()}
            fits = all(_admitted(s, x) for s, x in point.items())
            if fits and all(relation.subs(point) == sympy.true for relation in self._assumptions):
                yield point


def _bounds(s: Any, relations: Sequence[Any]) -> tuple[tuple[Any, bool] | None, tuple[Any, bool] | None]:
    """The greatest lower and the least upper bound by numbers, each with whether it is excluded."""
    low = (sympy.Integer(0), bool(s.is_positive)) if s.is_nonnegative else None
    high = (sympy.Integer(0), bool(s.is_negative)) if s.is_nonpositive else None
    for relation in relations:
        if not isinstance(relation, (sympy.Gt, sympy.Ge, sympy.Lt, sympy.Le)) or relation.free_symbols != {s}:
            continue
        above = relation.gts - relation.lts  # a s + b > 0
        a = sympy.diff(above, s)
        if not (a.is_Rational and a != 0):
            continue
        bound = (sympy.expand(s - above / a), isinstance(relation, (sympy.Gt, sympy.Lt)))
        if bound[0].is_Rational and a > 0:
            low = max(low or bound, bound)
        elif bound[0].is_Rational:
            high = min(high or bound, bound, key=lambda b: (b[0], not b[1]))
    return low, high


def _special(s: Any) -> bool:
    """Whether a symbol is known to be more than a real number on one side of 0: a whole number, say."""
    signs = {word: True for word in SIGNS if s.assumptions0.get(word)}
    plain = sympy.Symbol(s.name, real=True, **signs).assumptions0
    return any(plain.get(word) is not holds for word, holds in s.assumptions0.items())


def _drawn(u: Any, chance: random.Random) -> Any:
    if u.is_integer:
        return sympy.Integer(chance.randint(-12, 12))
    x = sympy.Rational(chance.choice(NUMERATORS), chance.choice(DENOMINATORS)) / chance.choice((1, 1, 4))
    if u.is_nonnegative:
        return x
    return -x if u.is_nonpositive or chance.random() < 0.5 else x


def _admitted(s: Any, x: Any) -> bool:
    """Whether the number x is what the assumptions on the symbol say."""
    return all(getattr(x, f"is_{word}", None) is holds for word, holds in s.assumptions0.items())
