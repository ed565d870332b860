"""`prove`: an identity is proved, refuted at a point, or left undecided within a time limit; never guessed.

    >>> import microgrid as mg
    >>> z, y = mg.symbols("z y")
    >>> a = mg.sigmoid(z)
    >>> C = -(y * mg.log(a) + (1 - y) * mg.log(1 - a))
    >>> C.backward()
    >>> mg.prove(z.grad, a - y)
    proved
    >>> mg.prove(z.grad, y - a).verdict
    'refuted'

What is claimed: the two sides are equal at every point of the assumptions at which both are real numbers. See
`deciding` for what counts as a proof and as a refutation.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from microgrid import sites
from microgrid.graph import Node
from microgrid.proving.exact import TOO_DEEP, libraries, needs_sympy, parts, rational

__microgrid_machinery__ = True


class Proof(NamedTuple):
    """What `prove` found. As a bool it is True for a proof, and for nothing else.

    Attributes
    ----------
    verdict : {"proved", "refuted", "undecided"}
    reason : str
        Why it is undecided.
    point : dict of Symbol to Rational
        Where it is refuted: there both sides are numbers, and certainly differ.
    entry : tuple of int
        Of matrices, the place of the entry that is refuted or undecided; () of single expressions.
    sides : tuple of two floats, or None
        The values of lhs and rhs at that point.
    """

    verdict: str
    reason: str
    point: dict[Any, Any]
    entry: tuple[int, ...]
    sides: tuple[float, float] | None

    def __bool__(self) -> bool:
        return self.verdict == "proved"

    def __str__(self) -> str:
        at = ", ".join(f"{symbol} = {number}" for symbol, number in self.point.items())
        words = [self.verdict]
        if self.entry:
            words.append(f"in entry {list(self.entry)}")
        if at or self.sides:
            words.append(f"at {at}" if at else "for these constants")
        if self.sides is not None:
            left, right = self.sides
            short, long = (f"{left:.6g}", f"{right:.6g}"), (repr(left), repr(right))
            shown = short if short[0] != short[1] else long
            if left == right:
                return f"{' '.join(words)}: the sides differ, though both are near {left!r}"
            return f"{' '.join(words)}: left side {shown[0]}, right side {shown[1]}"
        return " ".join(words) + (f": {self.reason}" if self.reason else "")

    def __repr__(self) -> str:
        return str(self)


def prove(lhs: Any, rhs: Any, assumptions: Any = (), *, timeout: float = 10.0) -> Proof:
    """Decide whether lhs = rhs, as an identity in their symbols.

    Parameters
    ----------
    lhs, rhs : Value, SymPy expression, number, or nested lists (arrays, matrices) of these, of one shape
        Symbols are real numbers. A float means the decimal that Python prints for it: 0.1 is 1/10.
    assumptions : relation, pair, or sequence of these
        What holds beyond the symbols' own assumptions (`mg.symbols("p", positive=True)`): SymPy's relations, which
        comparing gives (`y > 0`, `y < 1`), and pairs `(y1 + y2, 1)` for equations, since `==` compares objects.
        Proofs use equations that one symbol solves linearly, and bounds by numbers; other relations only choose the
        points at which a counter-example is looked for.
    timeout : float > 0
        Seconds. The work is done in another process, which is ended at the limit.

    Returns
    -------
    Proof
        True where it is "proved"; "refuted" comes with a point at which the sides differ. "undecided" is neither.

    Raises
    ------
    TypeError
        For what is no expression, or has symbols that are not real.
    ValueError
        For shapes that differ, assumptions that contradict each other, two symbols of one name of which different
        things are assumed, numbers that are not finite, a timeout <= 0.
    ImportError
        Without SymPy.

    Notes
    -----
    Functions are replaced by independent symbols, innermost first, and the difference is brought over a common
    denominator: a numerator of zero is a proof. Absolute values and the larger of two are among these functions; of
    signs, and of functions of the user's own, little is known. Otherwise both sides are evaluated by interval
    arithmetic at rational points, always the same ones. An identity holds where both sides are real numbers:
    (x^2 - 1)/(x - 1) is x + 1.
    Where one of them is no real number over a whole region, as 2 ln x beside ln x^2 for x < 0, it is undecided unless
    assumptions keep out of it.

    Examples
    --------
    >>> import microgrid as mg
    >>> x, = mg.symbols("x,")
    >>> mg.prove(mg.sqrt(x * x), x)
    refuted at x = -3: left side 3, right side -3
    >>> mg.prove(mg.sqrt(x * x), x, x > 0)
    proved
    """
    needs_sympy("prove")
    limit = limit_of(timeout, "prove")
    try:
        left, right = _entries(lhs, "lhs"), _entries(rhs, "rhs")
        relations = [_relation(a) for a in _listed(assumptions)]
        _check_symbols([*left.flat, *right.flat, *relations])
    except RecursionError:
        return Proof("undecided", TOO_DEEP, {}, (), None)
    if left.shape != right.shape:
        raise ValueError(f"prove: lhs has shape {left.shape}, rhs {right.shape}, at {sites.here()}")
    from microgrid.proving import background, deciding

    equations = list(zip(left.flat, right.flat, strict=True))
    try:
        decision = background.call(deciding.decide, equations, relations, timeout=limit)
    except background.OutOfTimeError:
        return Proof("undecided", f"no decision within {limit:g} s", {}, (), None)
    except RecursionError:
        return Proof("undecided", TOO_DEEP, {}, (), None)
    except background.FailedError as error:
        return Proof("undecided", f"the search failed: {error}", {}, (), None)
    except ValueError as error:
        raise ValueError(f"prove: {error}, at {sites.here()}") from None
    proved = decision.verdict == "proved"
    place = () if proved else tuple(map(int, np.unravel_index(decision.entry, left.shape)))
    return Proof(decision.verdict, decision.reason, decision.point, place, decision.sides)


def limit_of(timeout: Any, function: str) -> float:
    """A time limit in seconds."""
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(f"{function}: timeout: expected seconds, got {type(timeout).__name__}, at {sites.here()}")
    if not timeout > 0:
        raise ValueError(f"{function}: timeout: expected seconds > 0, got {timeout}, at {sites.here()}")
    return float(timeout)


# --------------------------------------------------------------------------------------------- what is to be proved


def _entries(side: Any, name: str) -> Any:
    """An array of expressions, without axes where it is a single one."""
    nested = _nested(side, name)
    shape = []
    inner = nested
    while isinstance(inner, list):
        shape.append(len(inner))
        inner = inner[0] if inner else None
    flat = list(_flattened(nested, shape, name))
    array = np.empty(tuple(shape), object)
    for place, entry in zip(np.ndindex(*shape), flat, strict=True):
        array[place] = entry
    return array


def _nested(side: Any, name: str) -> Any:
    side = getattr(side, "_data", side) if isinstance(side, Node) else side
    if isinstance(side, np.ndarray) or (hasattr(side, "is_Matrix") and side.is_Matrix and hasattr(side, "tolist")):
        side = side.tolist()
    if isinstance(side, (list, tuple)):
        return [_nested(entry, name) for entry in side]
    return expression_of(side, f"prove: {name}")


def _flattened(nested: Any, shape: list[int], name: str) -> Iterator[Any]:
    if isinstance(nested, list) != bool(shape) or (shape and len(nested) != shape[0]):
        raise ValueError(f"prove: {name}: rows of different lengths, at {sites.here()}")
    if not shape:
        yield nested
    else:
        for entry in nested:
            yield from _flattened(entry, shape[1:], name)


def expression_of(x: Any, what: str) -> Any:
    """A number, a SymPy expression or a Value of one as an exact SymPy expression.

    Raises
    ------
    TypeError, ValueError
    """
    import sympy

    x = x._data if isinstance(x, Node) else x
    if isinstance(x, np.generic):
        x = x.item()
    if isinstance(x, (int, float, Fraction)) and not isinstance(x, bool):
        if isinstance(x, float) and not math.isfinite(x):
            raise ValueError(f"{what}: expected a finite number, got {x}, at {sites.here()}")
        return rational(x)
    if "mpmath" in libraries(type(x)):
        x = sympy.sympify(x)
    if isinstance(x, sympy.Expr) and not getattr(x, "is_Matrix", False):
        return rational(x)
    given = f"{type(x).__name__}: {x!r:.60}"
    raise TypeError(f"{what}: expected a Value, a SymPy expression or a number, got {given}, at {sites.here()}")


def _listed(assumptions: Any) -> list[Any]:
    import sympy

    if isinstance(assumptions, (sympy.Basic, bool)):
        return [assumptions]
    if _is_pair(assumptions):
        return [assumptions]
    if isinstance(assumptions, Iterable) and not isinstance(assumptions, (str, Node)):
        return list(assumptions)
    raise TypeError(f"prove: assumptions: expected relations, got {type(assumptions).__name__}, at {sites.here()}")


def _is_pair(x: Any) -> bool:
    import sympy
    from sympy.logic.boolalg import BooleanAtom, BooleanFunction

    relations = (bool, sympy.core.relational.Relational, BooleanAtom, BooleanFunction)  # a Symbol is a Boolean too
    return (
        isinstance(x, tuple)
        and len(x) == 2
        and all(isinstance(part, (Node, sympy.Expr, int, float, Fraction)) for part in x)
        and not any(isinstance(part, relations) for part in x)
    )


def _relation(assumption: Any) -> Any:
    import sympy

    if _is_pair(assumption):
        left, right = (expression_of(part, "prove: assumptions") for part in assumption)
        return sympy.Eq(left, right, evaluate=False)  # which could take any time
    if isinstance(assumption, bool):
        raise TypeError(
            f"prove: assumptions: got {assumption}, as `==` of two expressions gives: an equation is written as a "
            f"pair, (y1 + y2, 1), at {sites.here()}"
        )
    if isinstance(assumption, sympy.core.relational.Relational) or assumption in (sympy.true, sympy.false):
        return rational(assumption)
    raise TypeError(
        f"prove: assumptions: expected relations such as x > 0, or pairs, got {type(assumption).__name__}: "
        f"{assumption!r:.60}, at {sites.here()}"
    )


def _check_symbols(expressions: Iterable[Any]) -> None:
    """Refuse symbols that stand for no real number, and two that cannot be told apart by their names."""
    import sympy

    seen: dict[int, Any] = {}
    named: dict[str, Any] = {}
    for expression in expressions:
        for e in parts(expression, seen):
            seen[id(e)] = e
            if not isinstance(e, sympy.Symbol):
                continue
            if e.is_real is False or not e.is_commutative:
                raise TypeError(f"prove: the symbol {e} stands for no real number, at {sites.here()}")
            other = named.setdefault(e.name, e)
            if other != e and not isinstance(e, sympy.Dummy) and not isinstance(other, sympy.Dummy):
                raise ValueError(
                    f"prove: two symbols are called {e.name}, of which different things are assumed "
                    f"({_assumed(other)}; {_assumed(e)}): make the symbol once, or give what else holds among the "
                    f"assumptions, at {sites.here()}"
                )


def _assumed(symbol: Any) -> str:
    """What was said of a symbol when it was made."""
    return ", ".join(f"{word}={holds}" for word, holds in sorted(symbol._assumptions_orig.items())) or "nothing"
