"""Pictures on disk, whole or not at all; and the program `dot`, which may be missing, fail, or hang."""

from __future__ import annotations

import subprocess
from pathlib import Path

import graphviz

import microgrid as mg
from microgrid import saving

__microgrid_machinery__ = True

TEXT = (".dot", ".gv")
LAID_OUT = {"svg": ("-Tsvg",), "png": ("-Tpng", "-Gdpi=160"), "pdf": ("-Tpdf",)}  # arguments of the program dot


class DotError(RuntimeError):
    """The program `dot` is missing, failed, or took too long."""


def write(path: Path, content: bytes) -> Path:
    """Put a file there in one move, in a folder that is made if need be; see `microgrid.saving`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    saving.write(path, content)
    return path


def save_digraph(digraph: graphviz.Digraph, path: Path, timeout: float = 30.0) -> Path:
    """Write a Digraph as text, or as `dot` lays it out; see `viz.save`."""
    suffix = path.suffix.lower()
    if suffix not in TEXT and suffix[1:] not in LAID_OUT:
        choices = ", ".join((*TEXT, *(f".{form}" for form in LAID_OUT)))
        raise ValueError(f"save: {path.name!r} ends in none of {choices}, at {mg.sites.here()}")
    if suffix in TEXT:
        return write(path, digraph.source.encode("utf-8"))
    return write(path, laid_out(digraph.source, suffix[1:], timeout))


def laid_out(source: str, form: str, timeout: float) -> bytes:
    """What `dot` makes of the text; names of users and files never reach a shell or a command line."""
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
    return run.stdout
