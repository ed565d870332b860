"""A picture of the graph of a tape in which the node of one step is marked."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import microgrid as mg
from viz import drawing, files
from viz.stepping.recording import Recording

__microgrid_machinery__ = True

MOST = 600  # nodes: a picture of more is folded, and its nodes are then no longer those of the steps
THICK = "<style>.microgrid #{} .box{{stroke-width:4}}</style>"


def picture(recording: Recording, step: mg.Step | None) -> drawing.Graph:
    """The graph, with a note on the node of a step.

    Raises
    ------
    ValueError
        If the tape was read from a file, and so has no graph.
    """
    tape = recording.tape
    if not isinstance(tape.root, mg.Node):
        raise ValueError("a tape that was read from a file has no graph to draw")
    many = len(tape.labels) > MOST
    graph = drawing._graph(
        (tape.root,), recording.models, "auto" if many else "full", drawing.MAX_NODES, None, None, recording.variables
    )
    if step is None or many:
        return graph
    here = _id(recording, step)
    note = f"step {step.index + 1} of {step.total}"
    return replace(graph, nodes=tuple(replace(node, note=note) if node.id == here else node for node in graph.nodes))


def save(recording: Recording, step: mg.Step | None, path: str) -> Path:
    """Write that picture; what it is, the suffix says.

    Raises
    ------
    ValueError, OSError, DotError
        As `Graph.save`; ValueError also where there is no graph.
    """
    if Path(path).suffix.lower() not in drawing.SUFFIXES:
        raise ValueError(f"{Path(path).name!r} ends in none of {', '.join(drawing.SUFFIXES)}")
    graph = picture(recording, step)
    if Path(path).suffix.lower() != ".svg" or step is None or len(recording.tape.labels) > MOST:
        return graph.save(path)
    drawn = graph.svg().replace("\n<rect", f"\n{THICK.format(_id(recording, step))}\n<rect", 1)
    return files.write(Path(path), drawn.encode())


def _id(recording: Recording, step: mg.Step) -> str:
    """What the picture calls the step's node: by its place in the order, as a full picture does."""
    return f"n{list(recording.tape.labels.values()).index(step.label)}"
