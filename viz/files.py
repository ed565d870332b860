"""Pictures on disk, whole or not at all; and the program `dot`, which may be missing, fail, or hang."""

from __future__ import annotations

import math
import os
import re
import subprocess
from numbers import Real
from pathlib import Path
from typing import Any

import graphviz

import microgrid as mg
from microgrid import saving
from viz.words import given

__microgrid_machinery__ = True

LONGEST = 1e6  # seconds; more than that no system can wait for

TEXT = (".dot", ".gv")
LAID_OUT = {"svg": ("-Tsvg",), "png": ("-Tpng", "-Gdpi=160"), "pdf": ("-Tpdf",)}  # arguments of the program dot
# How such a file begins, and what stands near its end: else dot was cut short, or is something else.
WHOLE = {"svg": (b"<?xml", b"</svg>"), "png": (b"\x89PNG\r\n\x1a\n", b"IEND"), "pdf": (b"%PDF-", b"%%EOF")}
DATE = re.compile(rb"(/CreationDate \(D:)\d{14}")  # in a PDF, of this moment: as long, and the same each time


class DotError(RuntimeError):
    """The program `dot` is missing, failed, or took too long."""


def write(path: Path, content: bytes) -> Path:
    """Put a file there in one move, in a folder that is made if need be; see `microgrid.saving`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise type(error)(
            error.errno, f"{error.strerror}; nothing was written, at {mg.sites.here()}", str(error.filename)
        ) from error
    saving.write(path, content)
    return path


def path_of(path: Any) -> Path:
    """The path that a user gave.

    Raises
    ------
    TypeError, ValueError
        If it is none, or no system has such a file.
    """
    try:
        text = os.fsdecode(path)
    except TypeError:
        raise TypeError(f"save: expected a path, got {given(path)}, at {mg.sites.here()}") from None
    if "\0" in text or not text:
        raise ValueError(f"save: expected the path of a file, got {given(path)}, at {mg.sites.here()}")
    return Path(text)


def seconds(timeout: Any) -> float:
    """The time that dot may take.

    Raises
    ------
    TypeError, ValueError
        If it is no number, or not above 0.
    """
    if not isinstance(timeout, Real) or isinstance(timeout, bool):
        raise TypeError(f"timeout: expected a number of seconds, got {given(timeout)}, at {mg.sites.here()}")
    if not 0 < float(timeout) < math.inf:
        raise ValueError(f"timeout: expected seconds above 0, got {timeout!r}, at {mg.sites.here()}")
    return min(float(timeout), LONGEST)


def save_digraph(digraph: graphviz.Digraph, path: Path, timeout: Any = 30.0) -> Path:
    """Write a Digraph as text, or as `dot` lays it out; see `viz.save`."""
    limit = seconds(timeout)
    suffix = path.suffix.lower()
    if suffix not in TEXT and suffix[1:] not in LAID_OUT:
        choices = ", ".join((*TEXT, *(f".{form}" for form in LAID_OUT)))
        raise ValueError(f"save: {path.name!r} ends in none of {choices}, at {mg.sites.here()}")
    if suffix in TEXT:
        return write(path, digraph.source.encode("utf-8"))
    return write(path, laid_out(digraph.source, suffix[1:], limit))


def laid_out(source: str, form: str, timeout: Any) -> bytes:
    """What `dot` makes of the text; names of users and files never reach a shell or a command line.

    Raises
    ------
    DotError
        If `dot` is missing, fails, takes longer, or gives something else.
    """
    try:
        return _laid_out(source, form, seconds(timeout))
    except DotError as error:
        raise DotError(f"{error}, at {mg.sites.here()}") from None


def _laid_out(source: str, form: str, timeout: float) -> bytes:
    command = ["dot", *LAID_OUT[form]]
    try:
        run = subprocess.run(command, input=source.encode("utf-8"), capture_output=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise DotError(
            "the program dot (Graphviz) is not installed, or not on PATH: install Graphviz (apt install graphviz, "
            "brew install graphviz, or https://graphviz.org/download), or take what needs no program: "
            'viz.graph(root).save("graph.svg"), or .html, .dot, .txt'
        ) from None
    except OSError as error:
        raise DotError(f"the program dot (Graphviz) could not be run: {error}") from None
    except subprocess.TimeoutExpired:
        raise DotError(
            f"dot did not finish within {timeout:g} s: draw a part of the graph (max_nodes=), take .svg or .html of "
            "viz.graph(root), which need no program, or give more time (timeout=)"
        ) from None
    said = run.stderr.decode(errors="replace").strip()
    if run.returncode < 0:
        raise DotError(f"dot was killed by signal {-run.returncode} {said}".rstrip())
    if run.returncode:
        raise DotError(f"dot failed: {said or f'it ended with {run.returncode} and said nothing'}")
    if not run.stdout:
        raise DotError(f"dot gave nothing, is it too old? {said}".rstrip())
    begin, end = WHOLE[form]
    if not run.stdout.startswith(begin) or end not in run.stdout[-64:]:
        raise DotError(f"what dot gave is no {form.upper()}, is it the dot of Graphviz? {said}".rstrip())
    return DATE.sub(rb"\g<1>19700101000000", run.stdout) if form == "pdf" else run.stdout
