"""What a claim of a note is, and the record that goes with it.

The formulas stand in note_000.py to note_004.py. The verdict on each, the LaTeX and more is its record in
`demos/data/notes/claims.json`, which was made without this code: the checks hold the formula against it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Literal

RECORDS = Path(__file__).parent.parent / "data" / "notes" / "claims.json"

Verdict = Literal["right", "assumes", "wrong"]


@dataclass(frozen=True)
class Record:
    """One entry of claims.json: a claim in LaTeX, what was found of it, and how.

    Attributes
    ----------
    id : str
        The note's number and the claim's: "004.22".
    seed : str
        The file of the note.
    lines : str
    claim_latex, corrected_latex : str
    verdict : {"right", "assumes", "wrong"}
    checked_by : str
    max_error : float or None
        Of the corrected form in float64, against 60 digits.
    written_error : float, str or None
        Of what is written, where it was evaluated: a relative error, or how the shapes differ.
    """

    id: str
    seed: str
    lines: str
    claim_latex: str
    verdict: Verdict
    corrected_latex: str
    checked_by: str
    max_error: float | None
    written_error: float | str | None

    @property
    def fails(self) -> bool | None:
        """Whether what is written, read to the letter, was found not to hold; None where it was not evaluated."""
        if isinstance(self.written_error, float):
            return self.written_error > 0.05
        return True if self.written_error else None


@cache
def records() -> dict[str, Record]:
    """All records, by id, in the order of the notes."""
    return {entry["id"]: Record(**entry) for entry in json.loads(RECORDS.read_text(encoding="utf-8"))}


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One line of a note, as code: see formulas.py for its language.

    Attributes
    ----------
    id : str
    quote : str
        The note's own words.
    written : str
        What the line says, read to the letter; empty where there is nothing to evaluate.
    corrected : str
        What holds; by default what is written.
    why : str
        What went wrong, in one sentence; or, of a line of words, what it says.
    assumes : str
        Under which assumption the line holds.
    world : str
        The computation that it is said of: a name of worlds.py.
    over : str
        The layers that it is said of: "l in 1..L-1".
    tolerance : float
        How far from the truth the corrected form may be, in float64.
    """

    id: str
    quote: str
    written: str = ""
    corrected: str = ""
    why: str = ""
    assumes: str = ""
    world: str = "network"
    over: str = ""
    tolerance: float = 2e-14

    def __post_init__(self) -> None:
        object.__setattr__(self, "corrected", self.corrected or self.written)

    @property
    def record(self) -> Record:
        return records()[self.id]

    @property
    def verdict(self) -> Verdict:
        return self.record.verdict

    @property
    def wording(self) -> bool:
        """Whether there is nothing to evaluate: definitions, names, remarks."""
        return not self.corrected

    @property
    def statement(self) -> bool:
        """Whether it says how something behaves, and not what it equals."""
        return not self.wording and " = " not in self.corrected

    def again(self, id: str, quote: str, *, world: str | None = None) -> Claim:  # noqa: A002 -- the record's own name
        """The same claim where another note makes it too."""
        return replace(self, id=id, quote=quote, world=world or self.world)


@cache
def claims() -> dict[str, Claim]:
    """All claims of the five notes, by id, in the order of the records."""
    from demos.notes import note_000, note_001, note_002, note_003, note_004

    found = [c for note in (note_000, note_001, note_002, note_003, note_004) for c in note.CLAIMS]
    return {claim.id: claim for claim in found}
