"""The check: each formula of the notes, as written and as corrected, against what is known from elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from demos.notes.claim import Claim
from demos.notes.formulas import Namespace, Sides, equations, evaluate, namespace, sides
from demos.notes.ways import Autograd, Differences, Digits, Float64, Kind, Way, way

TRUTHS: tuple[type[Way], ...] = (Digits, Autograd, Differences)
# how far each may itself be from the truth, beyond the claim's own tolerance
TOLERANCE: dict[Kind, float] = {Digits: 0.0, Autograd: 1e-13, Differences: 1e-7}


@dataclass(frozen=True)
class Measured:
    """How far a formula is from the truth.

    Attributes
    ----------
    error : float
        The greatest difference over the greatest number; inf for a false statement, or where there is no comparison.
    shapes : str or None
        How the shapes differ, where they do. A literal reading may be compared all the same, as NumPy would; what is
        to hold must have the shape of what it is said of.
    """

    error: float
    shapes: str | None = None

    def within(self, tolerance: float) -> bool:
        """Whether the formula holds, in value and shape."""
        return self.shapes is None and self.error <= tolerance

    def __str__(self) -> str:
        if self.error == float("inf"):
            return self.shapes or "false"
        return f"error {self.error:.2g}"


@cache
def names(kind: Kind, world: str) -> Namespace:
    """The letters of a world in one way; made once."""
    return namespace(way(kind, world))


def measure(formula: str, claim: Claim, truth: Kind = Digits, numbers: Kind = Float64) -> Measured:
    """The error of a formula that is said in the world of a claim.

    Parameters
    ----------
    formula : str
        `claim.written`, `claim.corrected`, or another.
    claim : Claim
        Gives the world and the layers.
    truth : Way, optional
        What the left sides are found by.
    numbers : Way, optional
        What the right sides are computed on.
    """
    right = names(numbers, claim.world)
    if " = " not in formula:
        return Measured(0.0 if all(evaluate(part, right) for part in formula.split("; ")) else float("inf"))
    try:
        both: Sides = sides(formula, names(truth, claim.world), right, claim.over)
    except (ValueError, IndexError) as error:  # shapes that NumPy cannot multiply, an entry that is not there
        return Measured(float("inf"), str(error))
    return Measured(both.error, both.shapes)


def failures(formula: str, claim: Claim) -> dict[str, Measured]:
    """By which oracles the formula does not hold: its numbers in float64 against each, and in 60 digits.

    Examples
    --------
    >>> from demos.notes.claim import claims
    >>> claim = claims()["004.22"]
    >>> sorted(failures(claim.written, claim)), failures(claim.corrected, claim)
    (['60 digits', '60 digits throughout', 'autograd', 'differences'], {})
    """
    if " = " not in formula:
        found = {"float64": (measure(formula, claim), 0.0)}
    else:
        found = {
            kind.name: (measure(formula, claim, truth=kind), claim.tolerance + TOLERANCE[kind])
            for kind in TRUTHS
            if kind is Digits or differentiates(formula)
        }
        found["60 digits throughout"] = measure(formula, claim, numbers=Digits), 1e-30
    return {by: measured for by, (measured, tolerance) in found.items() if not measured.within(tolerance)}


def differentiates(formula: str) -> bool:
    """Whether a left side is a derivative or what follows from one: then there are oracles beside 60 digits."""
    words = ("d(", "delta[", "after(", "along(")
    return any(word in equation.left for equation in equations(formula) for word in words)


def checked_by(claim: Claim) -> str:
    """How this claim is checked here."""
    if claim.wording:
        return "reading"
    if claim.statement:
        return "behaviour"
    if "count(" in claim.corrected or "shape(" in claim.corrected:
        return "count"
    if not differentiates(claim.corrected):
        return "60 digits"
    return ", ".join(kind.name for kind in TRUTHS)
