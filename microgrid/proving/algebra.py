"""Is an expression zero? Its functions are replaced by independent symbols, innermost first; what is left is algebra.

e^x becomes a positive symbol E, e^-x is 1/E and ln(E/(1 + E)) is x - ln(1 + E); a root R of u keeps R^2 = u, a sine
becomes 2t/(1 + t^2), any other function a symbol of its own. Each replacement is true of real numbers wherever the
expression is one, so that a zero found so *is* a proof. Not to find a zero is no proof of anything.

SymPy is imported by this module: only what already works with symbols imports it.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from typing import Any

import sympy
from sympy.core.function import Application
from sympy.functions.elementary.hyperbolic import HyperbolicFunction

__microgrid_machinery__ = True

ARITHMETIC = (sympy.Add, sympy.Mul)
EXPONENTIAL = (sympy.exp, type(sympy.E))
CIRCULAR = (sympy.sin, sympy.cos, sympy.tan, sympy.cot, sympy.sec, sympy.csc)
LATTICE = (sympy.Max, sympy.Min)
NOT_REAL = (sympy.zoo, sympy.nan, sympy.oo, -sympy.oo, sympy.I)


class UndefinedError(ValueError):
    """An expression is no real number, wherever it is looked at."""


def vanishes(expression: Any) -> bool:
    """Whether the expression is found to be 0 wherever it is a real number; False means that no proof was found.

    Examples
    --------
    >>> x = sympy.Symbol("x", real=True)
    >>> s = 1 / (1 + sympy.exp(-x))
    >>> vanishes(sympy.diff(s, x) - s * (1 - s)), vanishes(s - s**2)
    (True, False)
    """
    return Field().vanishes(expression)


def tidied(expression: Any) -> Any:
    """The same in a shorter form, where the algebra finds one; `vanishes` of the difference is True.

    Examples
    --------
    >>> A, Y, X = sympy.symbols("A Y X", real=True)
    >>> tidied(-(Y / A - (1 - Y) / (1 - A)) * A * (1 - A) * X)
    X*(A - Y)
    """
    field = Field()
    x = field.rational(expression)
    above, below = sympy.fraction(x)
    forms = [x, sympy.factor(x)]
    for s in sorted(expression.free_symbols - below.free_symbols, key=lambda s: s.sort_key()):  # by powers of s
        powers = sympy.Poly(above, s).terms()
        forms.append(sum((sympy.factor(sympy.cancel(c / below)) * s ** m[0] for m, c in powers), sympy.Integer(0)))
    named = [form for form in map(field.restored, forms) if vanishes(form - expression)]
    return min([*named, expression], key=lambda form: (sympy.count_ops(form), str(form)))


def tidied_apart(expression: Any) -> Any:
    """The same in a shorter form, found as if its functions were independent symbols: quick, and true of any functions.

    Examples
    --------
    >>> A, Z = sympy.symbols("A Z", real=True)
    >>> tidied_apart(sympy.sin(Z) / A - sympy.sin(Z) * (1 - A) / A)
    sin(Z)
    """
    symbols = {f: sympy.Dummy(f"f{i}", real=True, positive=f.is_positive) for i, f in enumerate(_outermost(expression))}
    found = tidied(expression.xreplace(symbols)).xreplace({symbol: f for f, symbol in symbols.items()})
    return min(found, expression, key=lambda form: (sympy.count_ops(form), str(form)))


def related(expression: Any) -> bool:
    """Whether two functions in an expression have a symbol in common, so that they may be more than independent."""
    seen: set[Any] = set()
    for f in _outermost(expression):
        if seen & f.free_symbols:
            return True
        seen |= f.free_symbols
    return False


def _outermost(expression: Any) -> list[Any]:
    """The functions in an expression that stand within no other."""
    found: dict[Any, None] = {}
    waiting, seen = [expression], {expression}
    for e in waiting:
        if isinstance(e, ARITHMETIC) or (isinstance(e, sympy.Pow) and e.exp.is_Integer):
            waiting.extend(a for a in e.args if a not in seen)
            seen.update(e.args)
        elif not isinstance(e, (sympy.Symbol, sympy.Rational)):
            found[e] = None
    return list(found)


class Field:
    """Rational functions of symbols, some of which stand for exponentials, logarithms, roots and other functions."""

    def __init__(self) -> None:
        self.exponentials = Span(positive=True)  # E stands for e^argument; and a polynomial p for e^(ln p)
        self.angles = Span(real=True)  # t stands for the tangent of half the argument
        self.roots: dict[Any, tuple[int, Any]] = {}  # R: 2 and u, where R^2 = u; or of another degree
        self.symbols: dict[Any, Any] = {}  # a function of canonical arguments: its symbol
        self._canonical: dict[Any, Any] = {}
        self._replacements: dict[Any, Any] = {}

    def vanishes(self, expression: Any) -> bool:
        """Whether the expression is found to be 0; see the function of this name."""
        return bool(self.numerator(self.rational(expression)) == 0)

    def rational(self, expression: Any) -> Any:
        """The expression as a rational function of symbols, with a common denominator and in lowest terms."""
        if expression.has(*NOT_REAL):
            raise UndefinedError("it is no real number")
        expression = expression.replace(lambda e: isinstance(e, HyperbolicFunction), lambda e: e.rewrite(sympy.exp))
        while ready := self._innermost(expression):
            arguments = {e: tuple(map(self.canonical, _arguments(e))) for e in ready if e not in self._replacements}
            # what spans the exponents and angles is chosen for all of them together
            self.exponentials.reach(a[0] for e, a in arguments.items() if isinstance(e, EXPONENTIAL))
            self.angles.reach(a[0] for e, a in arguments.items() if isinstance(e, CIRCULAR))
            self._replacements |= {e: self._replaced(e, a) for e, a in arguments.items()}
            expression = expression.xreplace({e: self._replacements[e] for e in ready})
        return self.canonical(expression)

    def canonical(self, x: Any) -> Any:
        """A rational function in lowest terms."""
        if x not in self._canonical:
            self._canonical[x] = sympy.cancel(sympy.together(x))
        if self._canonical[x].has(*NOT_REAL):
            raise UndefinedError("it divides by zero")
        return self._canonical[x]

    def restored(self, x: Any) -> Any:
        """The functions that the symbols stand for, in their places again."""
        meanings = {symbol: _meaning(key) for key, symbol in self.symbols.items()}
        meanings |= {E: sympy.exp(argument) for E, argument in self.exponentials.made.items()}
        meanings |= {t: sympy.tan(argument / 2) for t, argument in self.angles.made.items()}
        while x.free_symbols & meanings.keys():
            x = x.xreplace(meanings)
        return x

    def numerator(self, x: Any) -> Any:
        """The numerator, with every R^2 replaced by what R is the root of."""
        above = sympy.expand(sympy.numer(sympy.together(x)))
        for root, (degree, x) in reversed(self.roots.items()):  # the newest first: x may hold older ones
            if above.has(root):
                over, under = sympy.fraction(x)
                above = sympy.prem(above, under * root**degree - over, root)
        return sympy.expand(above)

    # ------------------------------------------------------------------ one function at a time

    def _innermost(self, expression: Any) -> list[Any]:
        """The functions in the expression whose arguments hold none, the simplest first."""
        found: dict[Any, bool] = {}  # whether a part of the expression is free of functions

        def free(e: Any) -> bool:
            if e not in found:
                if isinstance(e, (sympy.Symbol, sympy.Rational)):
                    found[e] = True
                elif _opaque(e):
                    found[e] = False
                    ready.append(e)
                else:
                    inner = [free(a) for a in e.args]  # all of them: each may hold some
                    found[e] = all(inner) and (
                        isinstance(e, ARITHMETIC) or (isinstance(e, sympy.Pow) and e.exp.is_Integer)
                    )
                    if all(inner) and not found[e]:
                        ready.append(e)
            return found[e]

        ready: list[Any] = []
        free(expression)
        return sorted(ready, key=lambda e: (sympy.count_ops(e), e.sort_key()))

    def _replaced(self, e: Any, arguments: tuple[Any, ...]) -> Any:
        """A function of canonical arguments, as a rational function of symbols."""
        if isinstance(e, EXPONENTIAL):
            return self._exponential(arguments[0])
        if isinstance(e, sympy.log) and len(arguments) == 1:
            return self._logarithm(arguments[0])
        if isinstance(e, sympy.Pow):
            return self._power(*arguments)
        if isinstance(e, CIRCULAR):
            return self._circular(e.func, arguments[0])
        if isinstance(e, sympy.Abs):
            return self._modulus(arguments[0])
        if isinstance(e, LATTICE) and len(arguments) == 2:
            x, y = arguments
            apart = self._modulus(self.canonical(x - y))
            return (x + y + (apart if isinstance(e, sympy.Max) else -apart)) / 2
        key = e if _opaque(e) else (e.func, frozenset(arguments) if isinstance(e, LATTICE) else arguments)
        return self._symbol(key, real=True, positive=e.is_positive or None)

    def _symbol(self, key: Any, **assumptions: Any) -> Any:
        if key not in self.symbols:
            self.symbols[key] = sympy.Dummy(f"f{len(self.symbols)}", **assumptions)
        return self.symbols[key]

    def _exponential(self, x: Any) -> Any:
        z = sympy.Integer(1)
        for E, n in self.exponentials.combination(x):
            z *= self._power(E, n)
        return z

    def _logarithm(self, x: Any) -> Any:
        total, unknown = sympy.Integer(0), []
        argument_of = dict(self.exponentials.items())
        for f, n in _factors(x):
            if f in argument_of:
                total += n * argument_of[f]
            elif f in self.roots and f.is_positive:
                degree, power = self.roots[f]
                total += n * self._logarithm(power) / degree
            elif f.is_positive:
                logarithm = self._symbol((sympy.log, f), real=True)
                self.exponentials.give(f, logarithm)
                total += n * logarithm
            else:
                unknown.append((f, n))  # their product is positive where x has a logarithm, as the other factors are
        if len(unknown) == 1:
            ((f, n),) = unknown
            return total + n * self._symbol((sympy.log, f if n % 2 else self._modulus(f)), real=True)
        rest = self.canonical(sympy.prod([f**n for f, n in unknown]))
        return total + self._symbol((sympy.log, rest), real=True) if unknown else total

    def _power(self, x: Any, y: Any) -> Any:
        if y.is_Integer:
            return x**y
        if y.is_Rational:
            return self._fractional(x, y)
        if not x.is_positive:
            return self._symbol((sympy.Pow, x, y), real=True)
        exponent = self.canonical(y * self._logarithm(x))
        self.exponentials.reach([exponent])
        return self._exponential(exponent)

    def _fractional(self, x: Any, y: Any) -> Any:
        z, unknown = sympy.Integer(1), []
        for f, n in _factors(x):
            if f.is_positive:
                z *= self._root(f, y.q, positive=True) ** (n * y.p)
            else:
                unknown.append((f, n))
        if all((n * y).is_Integer for _, n in unknown):  # (f^2)^(1/2) = |f|; and where f^3 has a root, f = |f|
            return z * sympy.prod([self._modulus(f) ** (n * y) for f, n in unknown])
        rest = self.canonical(sympy.prod([f**n for f, n in unknown]))
        return z * self._root(rest, y.q, nonnegative=True) ** y.p

    def _root(self, x: Any, degree: int, **assumptions: Any) -> Any:
        root = self._symbol(("root", x, degree), **assumptions)
        self.roots.setdefault(root, (degree, x))
        return root

    def _modulus(self, x: Any) -> Any:
        if x.is_nonnegative:
            return x
        if x.is_nonpositive:
            return -x
        factors = _factors(x)
        if len(factors) > 1 or factors[0][1] != 1:  # |x y| = |x| |y|
            return sympy.prod([self._modulus(f) ** n for f, n in factors])
        if sympy.numer(x).could_extract_minus_sign():
            x = self.canonical(-x)
        modulus = self._symbol((sympy.Abs, x), nonnegative=True)
        self.roots.setdefault(modulus, (2, x**2))
        return modulus

    def _circular(self, function: Any, x: Any) -> Any:
        combination = self.angles.combination(x)
        if any(not n.is_Integer for _, n in combination):
            return self._symbol((function, x), real=True)
        s, c = sympy.Integer(0), sympy.Integer(1)
        for t, n in combination:
            sine, cosine = (1 if n > 0 else -1) * 2 * t / (1 + t**2), (1 - t**2) / (1 + t**2)
            for _ in range(abs(int(n))):
                s, c = s * cosine + c * sine, c * cosine - s * sine
        of = {sympy.sin: (s, 1), sympy.cos: (c, 1), sympy.tan: (s, c), sympy.cot: (c, s), sympy.sec: (1, c)}
        above, below = of.get(function, (1, s))
        return self.canonical(above / below)


def _meaning(key: Any) -> Any:
    """The function that a symbol stands for, of the key of `Field.symbols`."""
    if not isinstance(key, tuple):
        return key
    if key[0] == "root":
        return key[1] ** sympy.Rational(1, key[2])
    function, *arguments = key
    return function(*(arguments[0] if isinstance(arguments[0], (tuple, frozenset)) else arguments))


def _arguments(e: Any) -> Sequence[Any]:
    if isinstance(e, EXPONENTIAL):
        return (sympy.Integer(1) if e is sympy.E else e.exp,)
    return () if _opaque(e) else e.args


def _opaque(e: Any) -> bool:
    """Whether nothing inside is looked at: constants, choices, and what binds a symbol."""
    if isinstance(e, (*ARITHMETIC, *EXPONENTIAL, sympy.Pow, sympy.Symbol, sympy.Rational)):
        return False
    return isinstance(e, sympy.Piecewise) or not isinstance(e, Application)


def _factors(x: Any) -> list[tuple[Any, int]]:
    """The factors of a rational function with their powers, those that are known to be negative taken in pairs."""
    factors: list[tuple[Any, int]] = []
    sign = 1
    for part, side in zip(sympy.fraction(sympy.together(x)), (1, -1), strict=True):
        content, found = sympy.factor_list(part)
        if content < 0:
            content, sign = -content, -sign
        for number, at in ((content.p, side), (content.q, -side)):
            factors.extend((sympy.Integer(p), at * n) for p, n in sympy.factorint(number).items())
        for f, n in found:
            if f.is_negative:
                f, sign = sympy.expand(-f), sign * (-1) ** n
            factors.append((f, side * n))
    return factors if sign > 0 else [*factors, (sympy.Integer(-1), 1)]


class Span:
    """Symbols that stand for a function of arguments, so chosen that all others are whole combinations of those.

    The arguments x + y, x and 2 y need two symbols, for x and y.
    """

    def __init__(self, **assumptions: bool) -> None:
        self._assumptions = assumptions
        self.made: dict[Any, Any] = {}  # the symbols that were made here, with their arguments
        self._arguments: list[Any] = []
        self._symbols: list[Any] = []
        self._known: dict[Any, list[tuple[Any, Any]]] = {}

    def items(self) -> Iterable[tuple[Any, Any]]:
        """Pairs of a symbol and its argument."""
        return zip(self._symbols, self._arguments, strict=True)

    def give(self, symbol: Any, argument: Any) -> None:
        """Have this symbol for an argument, unless it stands for it already."""
        if symbol not in self._symbols:
            self._symbols.append(symbol)
            self._arguments.append(argument)

    def reach(self, arguments: Iterable[Any]) -> None:
        """Have symbols for these arguments."""
        old = len(self._arguments)
        wanted = list(dict.fromkeys(x for x in arguments if x not in self._known))
        coordinates = _coordinates([*self._arguments, *wanted])
        solver = Solver(coordinates[:old])
        new: list[Any] = []
        for x, vector in zip(wanted, coordinates[old:], strict=True):
            if solver.solution(vector) is None:
                solver.add(vector)
                new.append(x)
        solutions = [solver.solution(vector) or [] for vector in coordinates[old:]]
        parts = [math.lcm(*(c.denominator for c in column)) for column in zip(*solutions, strict=True)]
        for x, n in zip(new, parts[old:], strict=True):  # each new symbol stands for its argument divided by n
            symbol = sympy.Dummy(f"e{len(self._symbols)}", **self._assumptions)
            self.made[symbol] = x / n
            self.give(symbol, x / n)
        whole = [1] * old + parts[old:]
        for x, solution in zip(wanted, solutions, strict=True):
            counts = [sympy.Rational(n * c.numerator, c.denominator) for n, c in zip(whole, solution, strict=True)]
            self._known[x] = [(s, c) for s, c in zip(self._symbols, counts, strict=True) if c]

    def combination(self, x: Any) -> list[tuple[Any, Any]]:
        """Pairs of a symbol and how often its argument is contained in x, which was reached."""
        return self._known[x]


Vector = dict[Any, Fraction]


def _coordinates(xs: Sequence[Any]) -> list[Vector]:
    """Rational functions as vectors: the coefficients of their numerators over one common denominator."""
    if not xs:
        return []
    parts = [sympy.fraction(x) for x in xs]  # in lowest terms
    denominator = sympy.Integer(1)
    for below in {below for _, below in parts}:
        denominator = sympy.lcm(denominator, below)
    symbols = sorted(set().union(*(x.free_symbols for x in xs), denominator.free_symbols), key=lambda s: s.sort_key())
    if not symbols:
        return [{(): Fraction(int(x.p), int(x.q))} for x in xs]
    vectors = []
    for above, below in parts:
        more = 1 if below == denominator else sympy.cancel(denominator / below)
        poly = sympy.Poly(above * more, *symbols, domain="QQ")
        vectors.append({m: Fraction(int(c.p), int(c.q)) for m, c in poly.terms() if c})
    return vectors


class Solver:
    """Vectors, none of which is a combination of those before it; others are written in terms of them."""

    def __init__(self, vectors: Iterable[Vector]) -> None:
        self._rows: list[tuple[Any, Vector, list[Fraction]]] = []  # pivot, reduced vector, what it is made of
        for vector in vectors:
            self.add(vector)

    def _reduced(self, vector: Vector) -> tuple[Vector, list[Fraction]]:
        rest, made = dict(vector), [Fraction(0)] * len(self._rows)
        for pivot, row, combination in self._rows:
            c = rest.get(pivot, Fraction(0)) / row[pivot]
            if c:
                rest = {m: d for m in rest.keys() | row.keys() if (d := rest.get(m, Fraction(0)) - c * row.get(m, 0))}
                for i, part in enumerate(combination):
                    made[i] += c * part
        return rest, made

    def add(self, vector: Vector) -> None:
        """Take one more vector, which must be no combination of the others."""
        rest, made = self._reduced(vector)
        assert rest
        self._rows.append((min(rest), rest, [*(-c for c in made), Fraction(1)]))

    def solution(self, vector: Vector) -> list[Fraction] | None:
        """How often each vector is contained in this one; None where it is no combination of them."""
        rest, made = self._reduced(vector)
        return None if rest else made
