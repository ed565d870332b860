"""Five notes on back-propagation, checked formula by formula: what holds, what does not, and why."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from demos.notes.claim import claims
from demos.notes.printing import LEGEND, SYMBOLS, at_length, table


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, a part of it, or one claim at length."""
    parser = argparse.ArgumentParser(prog="python -m demos.notes", description=__doc__)
    parser.add_argument("id", nargs="*", help="show these claims at length: 004.22; or those of a note: 004")
    parser.add_argument("--wrong", action="store_true", help="only what is wrong")
    parser.add_argument("--prove", action="store_true", help="also prove or refute what is algebra (minutes, for all)")
    given = parser.parse_args(arguments)

    known = claims()
    notes = {name.partition(".")[0] for name in known}
    for name in given.id:
        if name not in known and name not in notes:
            parser.error(
                f"no claim {name!r}: there are {min(known)} to {list(known)[-1]}, and notes 000 to {max(notes)}"
            )
    chosen = [c for c in known.values() if not given.id or c.id in given.id or c.id.partition(".")[0] in given.id]
    chosen = [claim for claim in chosen if claim.verdict == "wrong" or not given.wrong]
    at_once = not given.id or notes & set(given.id)
    try:
        if at_once:
            print(LEGEND + SYMBOLS * given.prove)
        singly = ("\n".join(at_length(claim, given.prove)) for claim in chosen)
        for text in table(chosen, given.prove) if at_once else singly:
            print(text, flush=given.prove)  # a proof may take its time
        sys.stdout.flush()
    except ModuleNotFoundError as missing:
        print(missing, file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has seen enough: `python -m demos.notes | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


if __name__ == "__main__":
    sys.exit(main())
