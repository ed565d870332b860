"""`python -m demos.notes`: the table, a part of it, one claim at length."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from demos.notes.__main__ import main
from demos.notes.claim import claims
from demos.notes.formulas import Equation, written
from demos.notes.printing import WIDTH

ROOT = Path(__file__).parent.parent.parent


def test_the_table_has_every_claim_and_says_why_of_each_that_needs_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert "65 right, 36 under an assumption, 35 wrong" in printed
    for claim in claims().values():
        assert f"\n{claim.id:8}" in printed
        assert claim.why.split(" ")[0] in printed
    # no number stands there that was not measured just now: what is wrong shows an error, what holds a small one
    assert printed.count("error 2\n") == 4
    assert max(len(line) for line in printed.splitlines()) <= WIDTH


def test_only_the_wrong_ones(capsys: pytest.CaptureFixture[str]) -> None:
    main(["--wrong"])
    printed = capsys.readouterr().out
    assert printed.rstrip().endswith("35 wrong")
    assert "under an assumption" not in printed


def test_one_claim_at_length(capsys: pytest.CaptureFixture[str]) -> None:
    main(["004.22"])
    printed = capsys.readouterr().out
    assert r"-\frac1n\left(\frac yq-\frac{1-y}{1-q}\right)" in printed
    assert "dC/dq = 1 / n * (y / q - (1 - y) / (1 - q))" in printed
    assert "fails, by 60 digits: error 2; autograd: error 2; differences: error 2" in printed
    assert "holds by every oracle" in printed
    assert "the minus that line 90 takes out of the bracket is lost" in printed


@pytest.mark.parametrize("id", list(claims()))
def test_each_claim_can_be_shown_at_length(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    main([id])
    assert capsys.readouterr().out.startswith(id)


def test_one_note(capsys: pytest.CaptureFixture[str]) -> None:
    main(["002", "--wrong"])
    assert capsys.readouterr().out.rstrip().endswith("6 wrong")


@pytest.mark.parametrize("id", ["004.99", "4.22", "wrong", "00"])
def test_an_unknown_claim_is_named(id: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([id])
    assert f"no claim '{id}': there are 000.1 to 004.41, and notes 000 to 004" in capsys.readouterr().err


def test_without_mpmath_the_extra_is_named(tmp_path: Path) -> None:
    (tmp_path / "mpmath.py").write_text("raise ModuleNotFoundError(\"No module named 'mpmath'\", name='mpmath')")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    command = [sys.executable, "-m", "demos.notes", "004.22"]
    run = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert run.returncode == 1
    assert 'pip install "microgrid[proofs]"' in run.stderr
    assert "Traceback" not in run.stderr


def test_a_reader_that_stops_reading_is_no_error() -> None:
    command = f"{sys.executable} -m demos.notes 000 | head -1"
    run = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("formula", "printed"),
    [
        ("d(C, W[L]) = delta[L] @ A[L-1].T", "dC/dW[L] = delta[L] @ A[L-1].T"),
        ("d(C, W[l][m, n]) = a", "dC/dW[l][m, n] = a"),
        ("D * d(C, a[L-2]) = 2 * (xhat - y)", "D * dC/da[L-2] = 2 * (xhat - y)"),
        ("x / d(a, b)", "x / (da/db)"),
        ("rounded(C, W)", "rounded(C, W)"),
        ("chain(d(C, q), d(q, z))", "chain(dC/dq, dq/dz)"),
    ],
)
def test_derivatives_are_printed_as_quotients(formula: str, printed: str) -> None:
    assert written(formula) == printed


def test_an_equation_is_read_and_written() -> None:
    text = "d(C, b[k]) = a[k] = c where k != y"
    assert str(Equation.of(text)) == text
