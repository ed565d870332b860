"""Files written whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__microgrid_machinery__ = True


def write(path: str | os.PathLike[str], content: bytes) -> Path:
    """Put a file there in one move: whatever happens, it is the old one or the new one, and never half of it.

    The content goes to a new file beside it, down to the disk, and takes the name by a rename.

    Raises
    ------
    OSError
        If it cannot be written; the old file is as it was.
    """
    path = Path(path)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # in the same folder: a move within one disk
    try:
        with open(draft, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path
