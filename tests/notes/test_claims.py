# ruff: noqa: E741 -- l is the notes' letter for a layer
"""Every claim of the five notes: what is right holds, what is wrong fails as written and holds as corrected."""

from __future__ import annotations

import math
import re
from collections import Counter

import numpy as np
import pytest

from demos.notes.checking import checked_by, failures, measure, names
from demos.notes.claim import Claim, claims, records
from demos.notes.formulas import evaluate
from demos.notes.ways import Autograd, Differences, Digits, Float64, way
from demos.notes.worlds import NAMES, world
from tests.notes.mutants import mutants

CLAIMS = list(claims().values())
EVALUATED = [claim for claim in CLAIMS if not claim.wording]


def each(of: list[Claim]) -> pytest.MarkDecorator:
    """A test for each of these claims, named by its id, which shows the note's line when it fails."""
    return pytest.mark.parametrize("claim", of, ids=lambda claim: claim.id)


# --------------------------------------------------------------------------------------------- nothing is left out


def test_every_record_has_its_claim_and_no_claim_is_without_record() -> None:
    assert list(claims()) == list(records())
    assert len(CLAIMS) == 136
    assert Counter(claim.verdict for claim in CLAIMS) == {"right": 65, "assumes": 36, "wrong": 35}


@each(CLAIMS)
def test_a_claim_is_a_formula_or_wording_and_says_why(claim: Claim) -> None:
    """Only what its record, too, settled by reading may go without a formula; every fault and assumption is named."""
    assert claim.wording == (claim.record.checked_by == "reading")
    assert claim.quote or claim.record.lines == "(absent)"
    assert bool(claim.assumes) == (claim.verdict == "assumes")
    assert claim.why or claim.verdict == "right"
    if claim.verdict == "wrong":
        assert claim.written != claim.corrected or claim.wording


# --------------------------------------------------------------------------------------------------- the verdicts


@each(EVALUATED)
def test_what_is_right_or_corrected_holds(claim: Claim) -> None:
    """In float64 against 60 digits, the engine's backward pass and differences; and in 60 digits throughout."""
    assert not failures(claim.corrected, claim), f"{claim.record.lines}: {claim.quote}"


@each([claim for claim in EVALUATED if claim.verdict == "right"])
def test_what_is_right_holds_as_written(claim: Claim) -> None:
    assert not failures(claim.written, claim), f"{claim.record.lines}: {claim.quote}"


@each([claim for claim in EVALUATED if claim.record.fails is not None])
def test_the_literal_reading_fails_where_the_record_says_so(claim: Claim) -> None:
    """By an error of the record's size (its data are not ours), or by the very shapes that it names."""
    recorded, measured = claim.record.written_error, measure(claim.written, claim)
    if isinstance(recorded, str):
        assert measured.shapes == recorded
        assert measured.error == math.inf
    elif claim.record.fails:
        assert 0.05 < measured.error < math.inf
        assert 0.1 < measured.error / recorded < 3
    else:
        assert measured.within(claim.tolerance)


@each([claim for claim in EVALUATED if claim.verdict == "wrong" and claim.written])
def test_what_is_wrong_fails_by_every_oracle(claim: Claim) -> None:
    against = failures(claim.written, claim)
    assert {"60 digits", "60 digits throughout"} <= set(against)
    assert ("autograd" in against) == ("autograd" in checked_by(claim))
    assert min(failed.error for failed in against.values()) > 0.05


EXACTLY = ["000.16", "000.17", "001.4", "001.5", "001.9", "001.14", "004.8", "004.22", "004.24", "004.38"]


@each([claims()[id] for id in EXACTLY])
def test_errors_that_do_not_depend_on_the_data_are_those_on_record(claim: Claim) -> None:
    """A lost sign is 2, a lost 1/m is m - 1, a filled zero block is 1."""
    assert measure(claim.written, claim).error == pytest.approx(claim.record.written_error, rel=1e-12)


# -------------------------------------------------------------------------------------------- the checks can fail


@each(EVALUATED)
def test_one_sign_factor_or_index_changed_fails(claim: Claim) -> None:
    changes = list(mutants(claim.corrected))
    assert changes
    survivors = [done for done, formula in changes if _holds(formula, claim)]
    assert not survivors


def _holds(formula: str, claim: Claim) -> bool:
    try:
        return measure(formula, claim).within(1e-6)
    except KeyError:  # a layer that is not there
        return False


def test_there_are_many_such_changes() -> None:
    kinds = Counter(done.partition(":")[0] for claim in EVALUATED for done, _ in mutants(claim.corrected))
    assert set(kinds) == {"sign", "factor", "index", "order", "transpose", "denied"}
    assert kinds["sign"] > 150
    assert min(kinds["factor"], kinds["index"]) > 500


# ------------------------------------------------------------------------------- the oracles agree with each other

SCALAR_COSTS = [name for name in NAMES if "C" in way(Float64, name).letters]


@pytest.mark.parametrize("name", SCALAR_COSTS)
def test_four_ways_to_every_gradient_agree(name: str) -> None:
    """60 digits, the complex step, the backward pass and differences, by every letter that C depends on."""
    exact = way(Digits, name)
    for letter in exact.letters:
        if letter in ("C", "S", "onehot"):
            continue
        truth = exact.derivative("C", letter).astype(float)
        scale = max(np.abs(truth).max(), 1e-3)
        for kind, tolerance in ((Float64, 1e-13), (Autograd, 1e-13), (Differences, 1e-7)):
            error = np.abs(way(kind, name).derivative("C", letter) - truth).max()
            assert error <= tolerance * scale, f"dC/d{letter} by {kind.name}"


@pytest.mark.parametrize("name", ["network", "square", "001 squares", "002 batch"])
def test_the_loops_are_the_matrix_form(name: str) -> None:
    """The worlds' scalar loops against NumPy's products."""
    of, names_of = world(name), names(Float64, name)
    letters = way(Float64, name)
    W, b, z, a = next(names for names in ("WbZA", "Wbza", "wbza") if set(names) == of.layered)
    for l in of.layers:
        Z = letters.value(f"{W}[{l}]") @ letters.value(f"{a}[{l - 1}]") + letters.value(f"{b}[{l}]")
        np.testing.assert_allclose(letters.value(f"{z}[{l}]"), Z, rtol=1e-13, atol=1e-15)
        sigma = names_of["sigma"] if of.activations[l] == "sigmoid" else (lambda x: x)
        np.testing.assert_allclose(letters.value(f"{a}[{l}]"), sigma(Z), rtol=1e-13)


def test_a_fixed_letter_stays_and_what_follows_follows() -> None:
    letters = way(Float64, "chain")
    moved = letters.run({"a[2]": np.array(0.5, dtype=object)})
    assert moved["a[1]"] == letters.letters["a[1]"]
    assert moved["a[2]"][()] == 0.5
    assert moved["C"] != letters.letters["C"]


def test_the_users_precision_stays_what_it_is() -> None:
    import mpmath

    before = mpmath.mp.dps
    measure("d(C, w) = 1 / n * sum((q - y) * x)", claims()["004.35"], numbers=Digits)
    assert mpmath.mp.dps == before


# -------------------------------------------------------------------------------- the lines that teach, one by one


def test_the_wrong_order_runs_on_square_layers_and_nowhere_else() -> None:
    """000.12: with m = n, delta W^T has a shape that fits, and a value that does not."""
    claim = claims()["000.12"]
    assert measure(claim.written, claim).shapes is None
    assert measure(claim.written, claim).error > 0.5
    with pytest.raises(ValueError, match="mismatch"):
        evaluate("delta[L] @ W[L].T * (A[L-1] * (1 - A[L-1]))", names(Float64, "network"))


def test_fractions_in_a_formula_are_exact() -> None:
    """1 / 3 is the number of its kind, right to its own last digit, and no float that became one."""
    third = evaluate("1 / 3", names(Digits, "chain"))
    assert abs(3 * third - 1) < 1e-59


def test_every_quote_is_short_enough_to_be_read() -> None:
    assert all(len(claim.quote) <= 160 for claim in CLAIMS)
    assert not [claim.id for claim in CLAIMS if re.search(r"\s$", claim.quote)]
