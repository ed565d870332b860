"""Beside `dot`: the program that compares the drawings runs, and ours have no more crossings, all in all."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

import viz

PROGRAM = Path(__file__).parents[1] / "benchmarks" / "drawing.py"


@pytest.fixture
def drawing() -> ModuleType:
    spec = importlib.util.spec_from_file_location("drawing_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_crossings_are_counted(drawing: ModuleType) -> None:
    """Two straight lines that cross, two that do not, two that have an end in common."""
    a, b = ("n0", "n3", [(0.0, 0.0), (1.0, 1.0)]), ("n1", "n2", [(0.0, 1.0), (1.0, 0.0)])
    c, d = ("n1", "n2", [(0.0, 2.0), (1.0, 1.5)]), ("n0", "n2", [(0.0, 1.0), (1.0, 0.0)])
    assert [drawing.crossings([a, other]) for other in (b, c, d)] == [1, 0, 0]


def test_ten_graphs_have_few_crossings(drawing: ModuleType) -> None:
    """As many as were counted when this was written, or fewer: the layout is deterministic."""
    found = {name: drawing.crossings(drawing.ours(viz.graph(make(), detail="full"))[0]) for name, make in
             drawing.TEN.items()}  # fmt: skip
    assert [found[name] for name in ("neuron", "polynomial", "MLP of arrays")] == [0, 0, 0]
    assert sum(found.values()) <= 180


@pytest.mark.slow
@pytest.mark.dot
def test_no_more_crossings_than_dot(drawing: ModuleType) -> None:
    graphs = [viz.graph(make(), detail="full") for make in drawing.TEN.values()]
    ours, dots = (sum(drawing.crossings(draw(graph)[0]) for graph in graphs) for draw in (drawing.ours, drawing.dots))
    assert ours <= dots


@pytest.mark.slow
@pytest.mark.dot
def test_the_program_prints_its_tables(drawing: ModuleType, capsys: pytest.CaptureFixture[str]) -> None:
    drawing.main(quick=True)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 + 2 + 2 + 10 + 1
