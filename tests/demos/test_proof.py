"""The shortcut is derived, proved and measured; and what is not so is refuted."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("sympy")

import demos.proof as demo
import microgrid as mg

pytestmark = pytest.mark.slow  # with the others of its kind more than `make test` has time for


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[demo.Result, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = demo.main(tmp_path_factory.mktemp("proof"))
    return result, printed.getvalue()


def test_the_derivation_ends_in_the_shortcut(run) -> None:
    """Three links, C <- A <- Z <- W; with the second the derivative is A - Y, with the last X (A - Y)."""
    derivation = run[0].derivation
    assert [str(link.below) for link in derivation.links] == ["A", "Z", "W"]
    A, Y, X = mg.symbols("A Y X")
    assert derivation.proof
    assert mg.prove(derivation.links[1].total, A - Y)
    assert mg.prove(derivation.result, X * (A - Y))
    assert "dC/dZ = A - Y" in run[1]


def test_what_holds_is_proved_and_what_does_not_is_refuted(run) -> None:
    verdicts = [proof.verdict for proof in run[0].proofs.values()]
    assert verdicts == ["proved", "refuted", "refuted", "refuted", "proved", "proved", "proved", "proved", "refuted"]
    assert run[1].count("      at ") == 4


@pytest.mark.parametrize("words", [words for words in demo.STATEMENTS if "one output" in words or "squares" in words])
def test_a_point_of_refutation_is_one(words: str, run) -> None:
    """The sides that are told are those of the formulas in floats."""
    proof = run[0].proofs[words]
    if proof:
        return
    y, z = (float(number) for number in proof.point.values())
    a = 1 / (1 + np.exp(-z))
    assert proof.sides == pytest.approx(((a - y) * a * (1 - a), a - y), rel=1e-12)


def test_the_picture_is_drawn(run) -> None:
    pytest.importorskip("matplotlib")
    assert [file.name for file in run[0].files] == ["proof.svg", "proof.png"]


def test_it_is_measured_too(run) -> None:
    comparison = run[0].comparison
    assert comparison.worst < 1e-14
    assert comparison.worst_differences < 1e-7


@pytest.mark.slow
def test_the_picture_and_the_text_are_the_same_on_each_run(run, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        again = demo.main(tmp_path)
    assert [file.read_bytes() for file in again.files] == [file.read_bytes() for file in run[0].files]
    # but for the folder
    assert printed.getvalue().replace(str(tmp_path), "") == run[1].replace(str(run[0].files[0].parent), "")
