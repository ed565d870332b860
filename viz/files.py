"""Pictures on disk: whole or not at all."""

from __future__ import annotations

import secrets
import subprocess
from os import PathLike
from pathlib import Path
from typing import Any

import graphviz

import microgrid as mg
from viz.dot import draw_dot

__microgrid_machinery__ = True

TEXT = (".dot", ".gv")
LAID_OUT = {".svg": ("-Tsvg",), ".png": ("-Tpng", "-Gdpi=160"), ".pdf": ("-Tpdf",)}  # arguments of the program dot


class DotError(RuntimeError):
    """The program `dot` is missing, failed, or took too long."""


def save(picture: graphviz.Digraph | mg.Node, path: str | PathLike[str], *, timeout: float = 30.0) -> Path:
    """Write a picture; what it is, the suffix says.

    A file that stands there is replaced when the new one is complete, and left as it is if anything fails.

    Parameters
    ----------
    picture : graphviz.Digraph, Value or Tensor
        What `draw_dot` gives, or the root of the graph itself.
    path : str or path
        `.dot` and `.gv` are the text and need no program; `.svg`, `.png` and `.pdf` are laid out by the program `dot`.
        Folders are made.
    timeout : float > 0
        Seconds that `dot` may take.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    DotError
        If `dot` is not installed, fails, or takes longer.
    ValueError
        For another suffix.
    TypeError
        If `picture` is something else.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(mg.Value(1.0, name="x") * 2, Path(folder, "product.dot"))
    ...     path.read_text(encoding="utf-8").startswith("digraph")
    True
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in (*TEXT, *LAID_OUT):
        raise ValueError(f"save: {path.name!r} ends in none of {', '.join((*TEXT, *LAID_OUT))}, at {mg.sites.here()}")
    if isinstance(picture, mg.Node):
        picture = draw_dot(picture)
    if not isinstance(picture, graphviz.Digraph):
        raise TypeError(f"save: expected a Digraph or a node, got {type(picture).__name__}, at {mg.sites.here()}")
    text = picture.source.encode("utf-8")
    return write(path, text if suffix in TEXT else _laid_out(text, LAID_OUT[suffix], timeout))


def write(path: Path, content: bytes) -> Path:
    """Put a file there in one move, so that nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")  # in the same folder: a move within one disk
    try:
        draft.write_bytes(content)
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
    return path


def _laid_out(text: bytes, arguments: tuple[str, ...], timeout: float) -> bytes:
    """What `dot` makes of the text; names of users and files never reach a shell or a command line."""
    try:
        run: Any = subprocess.run(["dot", *arguments], input=text, capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise DotError(
            "the program dot (Graphviz) is not installed, or not on PATH: install Graphviz (apt install graphviz, "
            "brew install graphviz, or https://graphviz.org/download), or save as .dot, which needs no program"
        ) from None
    except subprocess.TimeoutExpired:
        raise DotError(
            f"dot did not finish within {timeout:g} s: draw a part of the graph, save it as .dot, or give more time"
        ) from None
    if run.returncode:
        raise DotError(f"dot failed: {run.stderr.decode(errors='replace').strip()}")
    return bytes(run.stdout)
