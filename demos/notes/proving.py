"""The proof: each formula of the notes that is algebra, proved or refuted in symbols by `mg.prove`.

The sides are those of symbolic.py: layers of two units and two samples, every number a symbol. What is proved so holds
for all numbers, at these sizes; what is refuted is refuted at a point, or because a side cannot be formed at all.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache
from math import nan
from typing import Any, Literal, NamedTuple

import numpy as np

import microgrid as mg
from demos.notes.claim import Claim
from demos.notes.formulas import Equation, equations
from demos.notes.symbolic import Pair, pairs
from demos.notes.ways import SymbolicKind, Symbols

SECONDS = 120.0  # for one equation in one layer; a few are enough for all but 004.10, which takes 15

FEW = 3  # numbers that are 0 are named up to so many

Word = Literal["proved", "refuted", "undecided"]


class Found(NamedTuple):
    """What `proof` found.

    Attributes
    ----------
    verdict : {"proved", "refuted", "undecided"}
    reason : str
        Why it is undecided; or which shapes refute it.
    equation : Equation or None
        The first one that is not proved.
    left, right : SymPy expressions
        Where numbers refute it: the first entries that differ.
    point : dict of Symbol to Rational
        Where they do.
    assumptions : list
        What is known of the symbols.
    """

    verdict: Word
    reason: str = ""
    equation: Equation | None = None
    left: Any = None
    right: Any = None
    point: dict[Any, Any] = {}  # noqa: RUF012 -- never written to
    assumptions: list[Any] = []  # noqa: RUF012 -- likewise


def proof(formula: str, claim: Claim, *, truth: SymbolicKind = Symbols, timeout: float = SECONDS) -> Found:
    """Whether a formula, said in the world of a claim, is an identity.

    Parameters
    ----------
    formula : str
        `claim.written`, `claim.corrected`, or another.
    claim : Claim
        One that is `algebraic`.
    truth : Symbols or SymbolicAutograd, optional
        What the left sides are differentiated by: SymPy, or microgrid.
    timeout : float > 0
        Seconds for each equation, layer and choice of indices.

    Examples
    --------
    >>> from demos.notes.claim import claims
    >>> claim = claims()["001.16"]
    >>> proof(claim.corrected, claim).verdict, proof("d(E, b) = 1 + a", claim).verdict
    ('proved', 'refuted')
    """
    place = Claim(id="", quote="", world=claim.world, over=claim.over)
    open_question = None
    for equation in equations(formula):
        for member in equation.members:
            found = _proof(replace(equation, members=(member,)), place, truth, timeout)
            if found.verdict == "refuted":
                return found
            if found.verdict == "undecided":
                open_question = open_question or found
    return open_question or Found("proved")


@cache  # the notes say one thing several times
def _proof(equation: Equation, place: Claim, truth: SymbolicKind, timeout: float) -> Found:
    """One side of one equation, in all layers and for all values of its free indices."""
    open_question = None
    sides = pairs(str(equation), place, truth)
    while True:
        try:
            pair = next(sides, None)
        except (ValueError, IndexError) as error:  # shapes that do not multiply, an entry that is not there
            return Found("refuted", f"no such thing: {error}", equation)
        except KeyError as error:  # a layer
            return Found("refuted", f"no such thing: {error.args[0]}", equation)
        if pair is None:
            return open_question or Found("proved")
        found = _decided(pair, timeout)
        if found.verdict == "refuted":
            return found
        if found.verdict == "undecided":
            open_question = open_question or found


def _decided(pair: Pair, timeout: float) -> Found:
    """One equation, in one layer, at one choice of its free indices."""
    left, right = (np.asarray(side, dtype=object) for side in (pair.left, pair.right))
    if left.shape != right.shape:
        return Found("refuted", f"shape {right.shape} in place of {left.shape}", pair.equation)
    known = pair.symbols.assumptions()
    decision = mg.prove(left, right, known, timeout=timeout)
    if decision.verdict == "refuted":
        sides = left[decision.entry], right[decision.entry]
        return Found("refuted", "", pair.equation, *sides, decision.point, known)
    return Found("proved") if decision else Found("undecided", decision.reason, pair.equation)


def told(found: Found) -> str:
    """What was found, in words: of numbers that refute, the plainest.

    Examples
    --------
    >>> from demos.notes.claim import claims
    >>> claim = claims()["001.16"]
    >>> told(proof("d(E, b) = 1 - a = 2 * a", claim))
    'refuted at a0 = b = w = 0: it is 0.5, not 1'
    """
    if not found.point:
        return f"{found.verdict}{': ' * bool(found.reason)}{found.reason}"
    point, (left, right) = plainest(found)
    by_number: dict[Any, list[str]] = {}
    for symbol, number in point.items():
        by_number.setdefault(number, []).append(str(symbol))
    zeros = by_number.pop(0, [])
    groups = [f"{' = '.join(names)} = {number}" for number, names in by_number.items()]
    if len(zeros) > FEW:
        groups.append("all others 0")
    elif zeros:
        groups.append(f"{' = '.join(zeros)} = 0")
    where = f"at {', '.join(groups)}" if by_number or len(zeros) <= FEW else "where all numbers are 0"
    return f"refuted {where}: it is {left:.4g}, not {right:.4g}"


def plainest(found: Found) -> tuple[dict[Any, Any], tuple[float, float]]:
    """The point of a refutation with as many 0 in it, then 1, then 1/2, as refute it still; and both sides there.

    Only the symbols that have a part in it are given.
    """
    at, sides = dict(found.point), _apart(found, found.point) or (nan, nan)
    taking_part = [symbol for symbol in at if symbol in found.left.free_symbols | found.right.free_symbols]
    for number in (0, 1, Fraction(1, 2)):
        for symbol in taking_part:
            if at[symbol] != 0 and (number == 0 or at[symbol] != 1):
                trial = {**at, symbol: mg.expression(mg.Value(number))}
                if differing := _apart(found, trial):
                    at, sides = trial, differing
    return {symbol: at[symbol] for symbol in taking_part}, sides


def _apart(found: Found, point: dict[Any, Any]) -> tuple[float, float] | None:
    """Both sides at a point, where the assumptions hold and the sides certainly differ."""
    for known in found.assumptions:
        x, y = known if isinstance(known, tuple) else (known, True)
        if x.xreplace(point) != y:
            return None
    try:
        return mg.prove(found.left.xreplace(point), found.right.xreplace(point)).sides
    except (TypeError, ValueError):  # a side that is no number there
        return None
