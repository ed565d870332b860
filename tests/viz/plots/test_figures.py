"""The one style: what may be read on what, whose settings are touched, and the same bytes on every run."""

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgb
from matplotlib.figure import Figure

import microgrid as mg
import nn
import viz
from viz.plots import figures

pytestmark = pytest.mark.slow  # with the others of its kind more than `make test` has time for

ROOT = Path(__file__).parents[3]

DRAWN = """
import numpy as np, microgrid as mg, nn, viz
model = nn.MLP(2, [4, 3], activation="tanh", rng=0)
X, Y = np.random.default_rng(0).normal(size=(20, 2)), np.arange(20) % 3
nn.CrossEntropyLoss()(model(mg.Tensor(X)), Y).backward()
history = nn.History(epoch=[1, 2], loss=[1.0, 0.05], validation_loss=[1.0, 0.5], metric=[0.5, 0.6], best_epoch=2)
PLOTS = {
    "network": lambda: viz.network(model, X[0]),
    "boundary": lambda: viz.boundary(lambda P: P @ [1.0, 2.0], X, Y > 0, title="A plane"),
    "gradients": lambda: viz.gradients(model),
    "confusion": lambda: viz.confusion([[3, 1], [1, 4]]),
    "curves": lambda: viz.curves(history),
}
"""
names: dict = {}
exec(DRAWN, names)
PLOTS = names["PLOTS"]


def luminance(color: object) -> float:
    """Relative luminance, WCAG 2.1."""
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(color)]
    return float(np.dot((0.2126, 0.7152, 0.0722), linear))


def contrast(one: object, other: object) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_text_has_a_contrast_of_seven_to_one_on_all_that_stands_under_it() -> None:
    assert all(contrast(color, "white") >= 7 for color in (figures.INK, figures.QUIET, figures.ALARM))
    for color in figures.COLORS:
        assert all(contrast(figures.INK, figures.tint(color, share)) >= 7 for share in np.linspace(0, 1, 11))
    assert all(contrast(figures.INK, figures.shades()(share)[:3]) >= 7 for share in np.linspace(0, 1, 11))


@pytest.mark.parametrize("plot", PLOTS)
def test_all_text_of_all_plots_is_ink_quiet_or_alarm(plot) -> None:
    figure = PLOTS[plot]()
    figure.draw_without_rendering()
    texts = [text for text in figure.findobj(matplotlib.text.Text) if text.get_text().strip()]
    assert len(texts) > 5
    assert {to_hex(text.get_color()) for text in texts} <= {figures.INK, figures.QUIET, figures.ALARM}


@pytest.fixture(scope="module")
def pictures() -> dict[str, str]:
    """Each plot as SVG, as a notebook shows it."""
    return {name: plot()._repr_svg_() for name, plot in PLOTS.items()}


@pytest.mark.parametrize("plot", PLOTS)
def test_a_figure_of_its_own_which_is_nobody_elses(plot, pictures) -> None:
    """No pyplot; the user's settings neither change the picture nor are changed."""
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9, "text.color": "red"}):
        mine = dict(matplotlib.rcParams)
        figure = PLOTS[plot]()
        assert figure._repr_svg_() == pictures[plot]
        assert dict(matplotlib.rcParams) == mine
    assert isinstance(figure, Figure)
    assert not hasattr(figure, "number")  # which pyplot would give it


@pytest.mark.parametrize("plot", ["network", "boundary", "gradients", "confusion", "curves"])
def test_axes_may_be_given(plot) -> None:
    """Those alone are drawn in; the figure that they belong to comes back, also out of a subfigure."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subfigures(1, 2)
    ax, other = left.subplots(), right.subplots()
    given = {
        "network": lambda: viz.network(names["model"], ax=ax),
        "boundary": lambda: viz.boundary(names["model"], names["X"], names["Y"], ax=ax),
        "gradients": lambda: viz.gradients(names["model"], ax=ax),
        "confusion": lambda: viz.confusion([[1, 2], [3, 4]], ax=ax),
        "curves": lambda: viz.curves(names["history"], ax=ax),
    }[plot]()
    assert given is figure
    assert not other.has_data()
    assert ax.has_data() or ax.patches
    figure.draw_without_rendering()
    with pytest.raises(TypeError, match="confusion: ax must be matplotlib's Axes, got Figure, at test_figures"):
        viz.confusion([[1]], ax=figure)


# ------------------------------------------------------------------------------------------------------- saving


@pytest.mark.parametrize("plot", PLOTS)
def test_saving_twice_gives_the_same_bytes(tmp_path, plot, pictures) -> None:
    """Of one figure, though its layout is found anew each time."""
    figure = PLOTS[plot]()
    first, second = (viz.save(figure, tmp_path / "x.svg").read_text(encoding="utf-8") for _ in range(2))
    assert first == second == pictures[plot]


@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("PNG", b"\x89PNG"), ("pdf", b"%PDF")])
def test_the_suffix_says_what_it_is(tmp_path, suffix, magic) -> None:
    first, second = (viz.save(PLOTS["curves"](), tmp_path / "new" / f"{name}.{suffix}") for name in "ab")
    assert first.read_bytes() == second.read_bytes()
    assert first.read_bytes().startswith(magic)


@pytest.mark.slow
def test_the_same_bytes_in_another_process(tmp_path, pictures) -> None:
    """With another seed of hashes."""
    code = f"{DRAWN}\nfor name, plot in PLOTS.items(): viz.save(plot(), name + '.svg')"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "4"}
    subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, env=environment, check=True)
    for name, picture in pictures.items():
        assert (tmp_path / f"{name}.svg").read_text(encoding="utf-8") == picture, name


def test_the_picture_bears_its_title(tmp_path) -> None:
    """For who does not see it."""
    path = viz.save(viz.confusion([[3, 1], [0, 4]], title="A < B"), tmp_path / "x.svg")
    assert ET.parse(path).getroot().findtext("{http://www.w3.org/2000/svg}title") == "A < B"


def test_what_cannot_be_saved_leaves_the_old_file(tmp_path, monkeypatch) -> None:
    path = tmp_path / "x.svg"
    path.write_text("old")
    with pytest.raises(ValueError, match=r"'x\.jpeg' ends in none of \.svg, \.png, \.pdf, at test_figures\.py"):
        viz.save(PLOTS["curves"](), tmp_path / "x.jpeg")

    def fails(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(Figure, "savefig", fails)
    with pytest.raises(OSError, match="No space left"):
        viz.save(PLOTS["curves"](), path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


# -------------------------------------------------------------------------------------------- without matplotlib


@pytest.mark.parametrize("plot", PLOTS)
def test_without_matplotlib_the_extra_is_named(monkeypatch, plot) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ModuleNotFoundError, match=rf"viz\.{plot} .* not installed: pip install 'microgrid\[plots\]'"):
        PLOTS[plot]()


def test_viz_loads_matplotlib_only_to_plot() -> None:
    """And to refuse what is no figure it need not, either."""
    code = (
        "import sys, viz\ntry: viz.save(1, 'x.svg')\nexcept TypeError: pass\n"
        "print('matplotlib' in sys.modules, 'nn' in sys.modules)\n"
        "viz.curves({'a': [1.0]})\nprint('matplotlib.pyplot' in sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["False", "False", "False"]


def test_drawing_changes_no_node() -> None:
    """A backward pass after drawing is as before: nothing was handed out, no mode and no count of calls changed."""
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Dropout(0.5, rng=1), nn.Linear(3, 2, rng=2))
    X, Y = np.ones((4, 2)), np.arange(4) % 2
    loss = nn.CrossEntropyLoss()(model(mg.Tensor(X)), Y)
    state, calls = model[1].rng.bit_generator.state, model.calls()
    viz.network(model, X[0])
    viz.boundary(model, X, Y)
    assert model.training
    assert (model[1].rng.bit_generator.state, model.calls()) == (state, calls)
    assert all(p._extra is None and p._grad is None for p in model.parameters())
    loss.backward()
    viz.gradients(model)
    assert all(p._extra is None for p in model.parameters())
