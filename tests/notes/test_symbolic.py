"""The same text on SymPy's symbols: what `demos.notes.symbolic` hands to a proof is what the note says."""

from __future__ import annotations

import doctest
import importlib
from typing import Any

import pytest

from demos.notes.claim import Claim, claims
from demos.notes.formulas import Equation
from demos.notes.symbolic import algebraic, cut, differences, pairs
from demos.notes.ways import Symbols
from demos.notes.worlds import world

pytestmark = pytest.mark.slow  # with the others of its kind more than `make test` has time for

sympy = pytest.importorskip("sympy")
mpmath = pytest.importorskip("mpmath")

ALGEBRA = [claim for claim in claims().values() if algebraic(claim)]
QUICK = {"neuron", "chain", "001 derivation", "001 softmax"}


def at_the_point(formula: str, claim: Claim) -> float:
    """The greatest |left - right| in 40 digits, at the numbers of the small world; inf where the sides do not fit."""
    greatest = 0.0
    try:
        for pair in pairs(formula, claim):
            point = pair.symbols.numbers()
            wanted = differences(pair)
            with mpmath.workdps(40):
                function = sympy.lambdify(list(point), wanted, modules="mpmath", cse=True)
                values = function(*(mpmath.mpf(str(number)) for number in point.values()))
                greatest = max(greatest, *(float(abs(value)) for value in values))
    except (ValueError, IndexError):
        return float("inf")
    return greatest


@pytest.mark.parametrize(
    "claim",
    [pytest.param(c, id=c.id, marks=[] if c.world in QUICK else pytest.mark.slow) for c in ALGEBRA],
)
def test_in_symbols_too_the_corrected_form_holds_and_the_wrong_one_does_not(claim: Claim) -> None:
    assert at_the_point(claim.corrected, claim) < 1e-35
    if claim.verdict == "wrong":
        assert at_the_point(claim.written, claim) > 1e-3


def test_what_is_no_algebra_is_behaviour_counts_and_words() -> None:
    others = {claim.id for claim in claims().values() if not algebraic(claim) and not claim.wording}
    assert others == {"001.33", "002.23", "004.3", "004.9", "004.11", "004.12", "004.13"}


def test_no_float_gets_into_an_expression() -> None:
    """A proof is of exact expressions: 1/2 is a fraction, m an integer."""
    for claim in ALGEBRA:
        if claim.world in QUICK:
            for pair in pairs(claim.corrected, claim):
                assert not any(sympy.sympify(entry).atoms(sympy.Float) for entry in differences(pair))


def test_what_lies_below_an_equation_is_cut_off() -> None:
    of = world("network", small=True)

    def cut_of(text: str, **layer: int) -> tuple[str, ...]:
        return cut(Equation.of(text), of, layer)

    assert cut_of("d(C, W[l]) = delta[l] @ A[l-1].T / m", l=2) == ("A[1]",)
    assert cut_of("d(C, W[l]) = delta[l] @ A[l-1].T / m", l=1) == ()  # A[0] is given
    assert cut_of("delta[L-1] = W[L].T @ delta[L] * A[L-1] * (1 - A[L-1])") == ()
    assert cut_of("d(S, A[L]) = -(Y / A[L] - (1 - Y) / (1 - A[L]))") == ("A[2]",)


@pytest.mark.parametrize("module", ["checking", "formulas", "proving", "symbolic"])
def test_the_examples_run(module: str) -> None:
    failed, tried = doctest.testmod(importlib.import_module(f"demos.notes.{module}"))
    assert tried
    assert not failed


def test_symbols_are_named_after_their_entries() -> None:
    letters = Symbols(world("network", small=True)).letters
    assert [str(symbol) for symbol in letters["W[1]"].flat] == ["W1_0_0", "W1_0_1", "W1_1_0", "W1_1_1"]
    neuron = Symbols(world("neuron", small=True))
    assert str(neuron.letters["w"][()]) == "w"
    assert _value(neuron.derivative("C", "b")[()], neuron) == pytest.approx(
        float(neuron.number(0)) + _value(sum(neuron.letters["q"] - neuron.letters["y"]) / 2, neuron), rel=1e-14
    )


def _value(expression: Any, way: Symbols) -> float:
    return float(expression.subs({symbol: mpmath.mpf(str(n)) for symbol, n in way.numbers().items()}))
