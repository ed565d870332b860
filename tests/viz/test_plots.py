"""Loss curves, and what is said without matplotlib."""

import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest

import nn
import viz

ROOT = Path(__file__).parent.parent.parent
HISTORY = nn.History(
    epoch=[1, 2, 3], loss=[1.0, 0.1, 0.02], validation_loss=[1.1, 0.3, 0.4], metric=[0.5, 0.8, 0.9], best_epoch=2
)


def texts(path: Path) -> list[str]:
    return ["".join(text.itertext()) for text in ET.parse(path).iter("{http://www.w3.org/2000/svg}text")]


def test_a_history_is_drawn(tmp_path) -> None:
    path = viz.curves(HISTORY, tmp_path / "new" / "loss.svg", title="A < B", ylabel="cross-entropy")
    assert {"A < B", "epoch", "cross-entropy", "training", "validation", "best epoch, 2", "0.1"} <= set(texts(path))


def test_named_curves_are_drawn(tmp_path) -> None:
    assert {"SGD", "Adam"} <= set(
        texts(viz.curves({"SGD": np.array([2.0, 0.0]), "Adam": [1.0, -1.0]}, tmp_path / "x.svg"))
    )


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_same_bytes_on_every_run(tmp_path, suffix) -> None:
    first, second = (viz.curves(HISTORY, tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize(("history", "name", "text"), [(nn.History(), "x.svg", "empty"), (HISTORY, "x.doc", "ends in")])
def test_what_cannot_be_drawn_is_refused(tmp_path, history, name, text) -> None:
    with pytest.raises(ValueError, match=text):
        viz.curves(history, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=r"not installed: pip install 'microgrid\[plots\]'"):
        viz.curves(HISTORY, tmp_path / "loss.svg")
    assert list(tmp_path.iterdir()) == []


def test_viz_loads_matplotlib_only_to_plot() -> None:
    code = "import sys, viz; print('matplotlib' in sys.modules, 'nn' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "False"]
