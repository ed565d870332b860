"""Both sides of a claim as SymPy's expressions, for a proof or a refutation.

The small worlds of worlds.py are run on symbols, and the left sides differentiated by `sympy.diff`. What lies below
the lowest layer that an equation speaks of has no part in it: there the activations that enter are symbols too, so the
expressions are of one or two layers only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from demos.notes.claim import Claim
from demos.notes.formulas import Equation, Namespace, equations, layers, namespace, sides
from demos.notes.ways import SymbolicKind, Symbols
from demos.notes.worlds import World, world


class Pair(NamedTuple):
    """One equation for one layer and one choice of free indices, in symbols.

    Attributes
    ----------
    left, right : ndarray of object, or a SymPy expression
        Of one shape where the equation can hold at all.
    symbols : Symbols
        The way they were made: `symbols.numbers()` gives a point (symbol to 60-digit number) to evaluate them at, and
        `symbols.assumptions()` what is known of the letters that are symbols though they are computed.
    equation : Equation
    layer : dict of str to int
        The layer that it is said of, where it is said of several.
    """

    left: Any
    right: Any
    symbols: Symbols
    equation: Equation
    layer: dict[str, int]


def algebraic(claim: Claim) -> bool:
    """Whether a claim is algebra: equations between expressions, not behaviour, counts, shapes or differences."""
    counted = any(word in claim.corrected for word in ("count(", "shape(", "cost("))
    return not (claim.wording or claim.statement or counted)


def pairs(formula: str, claim: Claim, truth: SymbolicKind = Symbols) -> Iterator[Pair]:
    """The sides of a formula that is said in the world of a claim.

    Parameters
    ----------
    formula : str
    claim : Claim
    truth : Symbols or SymbolicAutograd, optional
        What the derivatives of the left sides are found by.

    Raises
    ------
    ValueError, IndexError, KeyError
        Where a side cannot be computed at all: shapes that do not multiply, an entry or a layer that is not there.

    Examples
    --------
    >>> from demos.notes.claim import claims
    >>> import sympy
    >>> claim = claims()["001.16"]
    >>> for pair in pairs(claim.corrected, claim):
    ...     print(pair.equation, "|", sympy.simplify(differences(pair)[0]))
    d(E, b) = 1 / a * sigma_prime(z) = 1 - a | 0
    d(E, b) = 1 / a * sigma_prime(z) = 1 - a | 0
    """
    of = world(claim.world, small=True)
    for equation in equations(formula):
        for layer in layers(claim.over, {"L": of.constants.get("L")}):
            symbols, names = _names(Symbols, claim.world, cut(equation, of, layer))
            _, known = _names(truth, claim.world, symbols.cut)
            over = "".join(f"{letter} in {at}..{at}" for letter, at in layer.items())
            for left, right in sides(str(equation), known, names, over).pairs:
                yield Pair(left, right, symbols, equation, layer)


def differences(pair: Pair) -> list[Any]:
    """Left minus right, entry by entry: all 0 where the equation holds. A side of fewer axes is repeated."""
    return list(np.asarray(pair.left - pair.right, dtype=object).flat)


def cut(equation: Equation, of: World, layer: dict[str, int]) -> tuple[str, ...]:
    """The activations that enter the lowest layer of which an equation speaks, where they are computed ones."""
    at = {"L": of.constants.get("L"), **layer}
    lowest = []
    for side in (equation.left, *equation.members):
        for node in ast.walk(ast.parse(side, mode="eval")):
            if isinstance(node, ast.Name) and node.id in of.above:
                lowest.append(of.layers[-1])  # made of the sums of the last layer, and not of its activations
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                name = node.value.id
                if name in of.layered or name in ("delta", "f"):
                    if any(isinstance(n, ast.Name) and n.id not in at for n in ast.walk(node.slice)):
                        return ()  # summed over layers: all of them have a part in it
                    index = eval(ast.unparse(node.slice), dict(at))
                    lowest.append(index + 1 if name in "Aa" else index)
    activation = next((letter for letter in of.layered if letter in "Aa"), "")
    return (f"{activation}[{min(lowest) - 1}]",) if lowest and min(lowest) > of.layers[0] else ()


@cache
def _names(kind: SymbolicKind, name: str, fixed: tuple[str, ...]) -> tuple[Symbols, Namespace]:
    symbols = kind(world(name, small=True), fixed)
    return symbols, namespace(symbols)
