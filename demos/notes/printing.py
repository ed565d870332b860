"""The table of the notes' claims as text, and one claim at length."""

from __future__ import annotations

import textwrap
from collections import Counter
from collections.abc import Iterable, Iterator

from demos.notes.checking import checked_by, failures, measure
from demos.notes.claim import Claim
from demos.notes.formulas import equations, written
from demos.notes.proving import proof, told
from demos.notes.symbolic import algebraic
from demos.notes.worlds import world

WIDTH = 100
VERDICTS = {"right": "right", "assumes": "under an assumption", "wrong": "wrong"}
LEGEND = """\
dC/dW is found by computing again with one number moved, in 60 digits. delta[l] is dS/dZ[l], where
S is the cost summed over the samples, and C = S / m their mean. An error is the greatest difference
over the greatest number, in float64 against 60 digits. `chain` multiplies Jacobians, `diag` makes
one and `diagonal` takes its diagonal; kron(i, j) is 1 for i = j, else 0; `sum_i` sums over samples,
which stand in columns; along(C, W, b) is dC/dt where all of W and b grow as 1 + t."""
SYMBOLS = """
What is algebra is proved in symbols, or refuted at a point: for layers of two units, two samples
and three classes, and all numbers that may stand there."""


def table(claims: Iterable[Claim], prove: bool = False) -> Iterator[str]:
    """The claims one after the other, note by note, and what they come to.

    Parameters
    ----------
    claims : iterable of Claim
    prove : bool, optional
        Also prove or refute what is algebra: up to half a minute a claim.
    """
    listed = list(claims)
    note = ""
    for claim in listed:
        if claim.id[:3] != note:
            note = claim.id[:3]
            yield from ("", f"{f'NOTE {note}':<33}{'where':<21} checked by", "")
        yield from entry(claim, prove)
        yield ""
    yield summary(listed)
    if prove:
        yield symbolic_summary(listed)


def entry(claim: Claim, prove: bool = False) -> Iterator[str]:
    """One claim in a few lines: verdict, quote, formulas with their errors, and why."""
    head = f"{claim.id:8}{VERDICTS[claim.verdict]}"
    lines = claim.record.lines
    where = lines if lines.startswith("(") else f"line{'s' * (not lines.split(' ')[0].isdigit())} {lines}"
    yield f"{head:<33}{where:<21} {checked_by(claim)}"
    if claim.quote:
        yield from _paragraph("note", " | ".join(line.strip() for line in claim.quote.splitlines() if line.strip()))
    same = claim.written == claim.corrected
    if claim.written:
        yield from _formula("holds" if same else "written", claim.written, claim, prove)
    if claim.corrected and not same:
        yield from _formula("corrected" if claim.verdict == "wrong" else "holds", claim.corrected, claim, prove)
    if claim.assumes:
        yield from _paragraph("assuming", claim.assumes)
    if claim.why:
        yield from _paragraph("says" if claim.wording and claim.verdict == "right" else "why", claim.why)


def at_length(claim: Claim, prove: bool = False) -> Iterator[str]:
    """One claim with everything that is known of it: the LaTeX, the computation, each oracle."""
    record = claim.record
    yield from entry(claim, prove)
    yield ""
    yield f"{'LaTeX':>11}  {record.claim_latex}"  # whole, to be copied
    if record.corrected_latex != record.claim_latex:
        yield f"{'':>11}  {record.corrected_latex}"
    if claim.corrected:
        over = f", for {claim.over}" if claim.over else ""
        yield from _paragraph("computed", f"{world(claim.world).words}{over}")
        for name, formula in _both(claim):
            against = failures(formula, claim)
            said = "; ".join(f"{by}: {error}" for by, error in against.items())
            yield from _paragraph(name, f"fails, by {said}" if against else "holds by every oracle")
    found = f"{record.checked_by}: corrected {_found(record.max_error)}, written {_found(record.written_error)}"
    yield from _paragraph("on record", found)


def summary(claims: Iterable[Claim]) -> str:
    """How many of each verdict: `65 right, 36 under an assumption, 35 wrong`."""
    counts: Counter[str] = Counter(claim.verdict for claim in claims)
    return ", ".join(f"{counts[verdict]} {words}" for verdict, words in VERDICTS.items() if counts[verdict])


def symbolic_summary(claims: Iterable[Claim]) -> str:
    """What the proofs came to: `in symbols: 118 formulas proved, 39 refuted`."""
    formulas = [(formula, claim) for claim in claims if algebraic(claim) for _, formula in _both(claim)]
    counts: Counter[str] = Counter(proof(formula, claim).verdict for formula, claim in formulas)
    words = [f"{counts[word]} {word}" for word in ("proved", "refuted", "undecided") if counts[word]]
    return f"in symbols: {', '.join(words) or 'nothing to prove'}"


def _both(claim: Claim) -> list[tuple[str, str]]:
    """The formulas of a claim, by name."""
    if claim.written in ("", claim.corrected):
        return [("checked", claim.corrected)]
    return [("written", claim.written), ("corrected", claim.corrected)]


def _formula(name: str, formula: str, claim: Claim, prove: bool) -> Iterator[str]:
    """A formula, one equation a line, and its error at the end of the first; below it the proof."""
    error = measure(formula, claim)
    error_told = "true" if " = " not in formula and not error.error else str(error)
    for part in _wrapped(formula):
        yield f"{name:>11}  {part:<{WIDTH - 13 - 20}}{error_told:>20}".rstrip()
        name = error_told = ""
    if prove and algebraic(claim):
        found = proof(formula, claim)
        of = f", for {written(found.equation.left)}" if found.equation and len(equations(formula)) > 1 else ""
        yield from _paragraph("in symbols", told(found) + of)


def _wrapped(formula: str) -> Iterator[str]:
    """A formula in lines: one for each equation, and for each further member of it."""
    width = WIDTH - 13 - 20
    for equation in equations(formula):
        for i, part in enumerate(written(str(equation)).split(" = ")[1:] or [""]):
            left = written(equation.left)
            text = left if not part else f"{left} = {part}" if not i else f"{'':4}= {part}"
            yield from textwrap.wrap(text, width, subsequent_indent=" " * 4)


def _paragraph(name: str, text: str) -> Iterator[str]:
    for line in textwrap.wrap(text, WIDTH - 13):
        yield f"{name:>11}  {line}"
        name = ""


def _found(error: float | str | None) -> str:
    return "-" if error is None else error if isinstance(error, str) else f"{error:.2g}"
