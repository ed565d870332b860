"""In symbols: what holds is proved by `mg.prove`; what is wrong is refuted, and what holds with one thing changed."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

import microgrid as mg
from demos.notes import proving
from demos.notes.__main__ import main
from demos.notes.claim import Claim, claims
from demos.notes.formulas import Equation
from demos.notes.printing import entry
from demos.notes.proving import Found, plainest, proof, told
from demos.notes.symbolic import algebraic, cut
from demos.notes.ways import SymbolicAutograd, Symbols
from demos.notes.worlds import NAMES, world
from tests.notes.mutants import mutants

sympy = pytest.importorskip("sympy")
mpmath = pytest.importorskip("mpmath")

ALGEBRA = [claim for claim in claims().values() if algebraic(claim)]
ONCE = list({(claim.corrected, claim.world, claim.over): claim for claim in ALGEBRA}.values())
QUICK = {"neuron", "001 derivation", "001 softmax", "001 one output", "002 autoencoder"}

FEW, SMALL = {"001 derivation", "bowl"}, {"neuron", "chain", "002 sample", "001 sample"}


def each(of: Iterable[Claim], quick: set[str]) -> pytest.MarkDecorator:
    """A test for each of these claims, the slow ones marked."""
    marks = {True: [], False: [pytest.mark.slow]}
    return pytest.mark.parametrize(
        "claim", [pytest.param(c, id=c.id, marks=marks[c.world in quick or c.id in quick]) for c in of]
    )


def value(expression: Any, point: dict[Any, Any]) -> Any:
    """An expression at a point, by mpmath's own arithmetic."""
    with mpmath.workdps(30):
        numbers = [mpmath.mpf(int(x.p)) / int(x.q) for x in map(sympy.Rational, point.values())]
        return mpmath.re(sympy.lambdify(list(point), expression, modules="mpmath")(*numbers))


# ------------------------------------------------------------------------------------------------- the verdicts


@each(ALGEBRA, QUICK)
def test_what_is_right_or_corrected_is_proved(claim: Claim) -> None:
    """Against derivatives by SymPy."""
    assert told(proof(claim.corrected, claim)) == "proved"


@each(ALGEBRA, {"001 derivation", "001.27", "004.22", "004.34"})
def test_what_is_right_or_corrected_is_what_the_engine_gives(claim: Claim) -> None:
    """Against the derivatives that microgrid's own backward pass gives on symbols."""
    assert told(proof(claim.corrected, claim, truth=SymbolicAutograd)) == "proved"


@each([claim for claim in ALGEBRA if claim.written], QUICK | {"000.12", "000.18", "004.38"})
def test_what_is_written_is_proved_or_refuted_as_its_record_says(claim: Claim) -> None:
    """Every line that is wrong is refuted; one that holds under an assumption where the record has it fail."""
    fails = claim.verdict == "wrong" or (claim.verdict == "assumes" and claim.record.fails)
    assert proof(claim.written, claim).verdict == ("refuted" if fails else "proved")


@each(ONCE, {"001.16", "001.19", "001.30", "004.22", "000.14", "000.18"})
def test_one_sign_factor_or_index_changed_is_refuted(claim: Claim) -> None:
    chosen = list(mutants(claim.corrected))[:: 1 if "EXHAUSTIVE" in os.environ else 4]  # all of them take minutes
    changed = {done: proof(formula, claim).verdict for done, formula in chosen}
    assert changed
    assert not [done for done, verdict in changed.items() if verdict != "refuted"]


def test_there_is_much_to_prove() -> None:
    """Over 100 claims are algebra, and over 1300 ways to change them are tried in the whole suite."""
    assert len(ALGEBRA) > 100
    kinds = Counter(done.partition(":")[0] for claim in ONCE for done, _ in mutants(claim.corrected))
    assert set(kinds) == {"sign", "factor", "index", "order", "transpose"}
    assert sum(kinds.values()) > 1300
    wrong = [claim for claim in ALGEBRA if claim.verdict == "wrong" and claim.written]
    assert len(wrong) > 25


# --------------------------------------------------------------------------------------- a refutation is what it says


@each([claim for claim in ALGEBRA if claim.verdict == "wrong" and claim.written], QUICK)
def test_the_plainest_point_refutes_too(claim: Claim) -> None:
    """At the point that is told mpmath, too, finds the two sides apart, and the letters are what they can be."""
    found = proof(claim.written, claim)
    if not found.point:
        assert "shape" in found.reason or "no such thing" in found.reason
        return
    point, sides = plainest(found)
    assert sum(number in (0, 1, sympy.Rational(1, 2)) for number in point.values()) >= len(point) / 2
    left, right = value(found.left, point), value(found.right, point)
    assert abs(left - right) > 1e-6
    assert sides == pytest.approx((float(left), float(right)), rel=1e-9)
    for bound in found.assumptions:
        assert isinstance(bound, tuple) or bound.xreplace({**found.point, **point}) == True  # noqa: E712 -- SymPy's


def test_points_are_told_in_few_words() -> None:
    claim = claims()["004.22"]
    assert told(proof(claim.written, claim)) == "refuted where all numbers are 0: it is 1, not -1"
    shapes = claims()["004.21"]
    assert told(proof(shapes.written, shapes)) == "refuted: shape () in place of (2,)"
    square = claims()["004.23"]
    assert told(proof(square.written, square)) == "refuted at w = x_0 = 1, b = 0: it is 0.1966, not 0.5344"
    order = claims()["000.12"]
    assert told(proof(order.written, order)).startswith("refuted at W2_1_0 = 1, all others 0: it is ")


@pytest.mark.parametrize(
    ("formula", "reason"),
    [
        ("Z[L] = Z[L+1]", "no such thing: Z[3]"),
        ("Z[L] = A[L][5]", "no such thing: index 5 is out of bounds"),
        ("Z[L] = W[L] @ Y[0] @ A[L] @ Y.reshape(4)", "no such thing: matmul"),
        ("Z[L] = Y[0]", "shape (2,) in place of (2, 2)"),
    ],
)
def test_what_cannot_be_formed_is_refuted_by_that(formula: str, reason: str) -> None:
    found = proof(formula, Claim(id="", quote="", world="network"))
    assert found.verdict == "refuted"
    assert found.reason.startswith(reason)
    assert told(found) == f"refuted: {found.reason}"


def test_a_slip_in_a_formula_is_no_refutation() -> None:
    """A name that nobody knows is our own mistake, not the note's."""
    with pytest.raises(NameError):
        proof("Z[L] = nonsense", Claim(id="", quote="", world="network"))


def test_no_decision_in_time_is_undecided() -> None:
    """And is told so: it is no proof, and no refutation."""
    claim = claims()["004.35"]
    found = proof(claim.corrected, claim, timeout=1e-6)
    assert (found.verdict, told(found)) == ("undecided", "undecided: no decision within 1e-06 s")
    assert proof(f"{claim.corrected}; C = 2 * C", claim, timeout=60).verdict == "refuted"


# ------------------------------------------------------------------------------------ what the proofs take as known


def test_letters_that_are_cut_are_what_their_layer_can_give() -> None:
    """A sigmoid gives numbers between 0 and 1, softmax such with the sum 1, the identity any."""
    sigmoid = Symbols(world("network", small=True), ["A[1]"])
    assert len(sigmoid.assumptions()) == 2 * sigmoid.letters["A[1]"].size
    softmax = Symbols(world("001 softmax", small=True), ["a[2]"])
    (total, one) = softmax.assumptions()[-1]
    assert (total, one) == (sum(softmax.letters["a[2]"]), 1)
    assert Symbols(world("002 sample", small=True), ["a[2]"]).assumptions() == []
    assert Symbols(world("neuron", small=True)).assumptions() == []


def test_letters_above_the_last_sums_are_not_parted_from_them() -> None:
    """Softmax's s and x_y are made of z^L, so a^L, which they give, is no letter of its own beside them."""
    of = world("001 softmax", small=True)
    assert cut(Equation.of("a[L][y] = x[y] / s"), of, {}) == ("a[1]",)
    assert cut(Equation.of("C = -ln(a[L][y])"), of, {}) == ("a[2]",)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] * (n not in FEW)) for n in NAMES if n in QUICK | FEW | SMALL]
)
def test_the_engine_and_sympy_differentiate_alike(name: str) -> None:
    """By every letter that is given, of C: two programs, one expression."""
    by_sympy, by_engine = Symbols(world(name, small=True)), SymbolicAutograd(world(name, small=True))
    for letter in by_sympy.given:
        known, found = by_sympy.derivative("C", letter), by_engine.derivative("C", letter)
        assert known.shape == found.shape
        assert mg.prove(known, found, timeout=60)


# ------------------------------------------------------------------------------------------------------- the table


def test_the_table_says_what_is_proved(capsys: pytest.CaptureFixture[str]) -> None:
    main(["004.22", "--prove"])
    printed = capsys.readouterr().out
    assert "in symbols  refuted where all numbers are 0: it is 1, not -1" in printed
    assert "in symbols  proved" in printed
    main(["004.22"])
    assert "in symbols" not in capsys.readouterr().out
    main(["001.15", "001.16", "--prove"])
    assert capsys.readouterr().out.count("in symbols  proved") == 2


def test_of_several_equations_the_one_that_is_refuted_is_named() -> None:
    several = replace(claims()["001.16"], written="d(E, b) = 1 - a; d(G, b) = a")
    assert ", for dG/db" in " ".join("\n".join(entry(several, prove=True)).split())


def test_the_words_are_those_of_the_proof(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """No verdict is stored anywhere: where `prove` knows nothing, the table does not either."""
    monkeypatch.setattr(mg, "prove", lambda *_, **__: mg.Proof("undecided", "nobody was asked", {}, (), None))
    proving._proof.cache_clear()
    main(["004.22", "--prove"])
    proving._proof.cache_clear()
    printed = capsys.readouterr().out
    assert printed.count("in symbols  undecided: nobody was asked") == 2
    assert "proved" not in printed


@pytest.mark.slow
def test_the_whole_table_leaves_nothing_undecided(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--prove"])
    printed = capsys.readouterr().out
    last = printed.rstrip().splitlines()[-1]
    refuted = sum(
        claim.verdict == "wrong" or (claim.verdict == "assumes" and bool(claim.record.fails))
        for claim in ALGEBRA
        if claim.written not in ("", claim.corrected)
    )
    formulas = sum(1 + (claim.written not in ("", claim.corrected)) for claim in ALGEBRA)
    assert last == f"in symbols: {formulas - refuted} proved, {refuted} refuted"


def test_a_claim_that_is_no_algebra_has_no_proof(capsys: pytest.CaptureFixture[str]) -> None:
    main(["004.12", "--prove"])
    assert "in symbols" not in capsys.readouterr().out


def test_a_formula_is_proved_only_by_all_its_equations() -> None:
    claim = claims()["001.16"]
    assert proof(claim.corrected, claim) == Found("proved")
    assert proof(f"{claim.corrected}; d(E, b) = a", claim).verdict == "refuted"
    assert proof(f"d(E, b) = a; {claim.corrected}", claim).verdict == "refuted"
