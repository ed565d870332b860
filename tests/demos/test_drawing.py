"""Every demo draws its picture, prints what a terminal can show, and does both alike on every run."""

import os
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

import demos.__main__ as listing
from demos import _drawing, cliff

pytestmark = pytest.mark.slow  # with the others of its kind more than `make test` has time for

ROOT = Path(__file__).parents[2]
DEMOS = ["autoencoder", "cliff", "digits", "learning_rates", "moons", "one_neuron", "xor"]


@pytest.mark.parametrize("name", DEMOS)
def test_it_draws_and_prints(name, shown) -> None:
    """An SVG and a PNG into out/, named after the demo; its lines fit a terminal, of any encoding."""
    result, printed, folder = shown(name)
    assert result.files == [Path("out", f"{name}{suffix}") for suffix in (".svg", ".png")]
    svg, png = ((folder / path).read_bytes() for path in result.files)
    assert ElementTree.fromstring(svg).tag.endswith("svg")
    assert b"<text" not in svg  # curves, which need no font
    assert png.startswith(b"\x89PNG")
    assert len(png) > 20_000
    assert sorted(path.name for path in (folder / "out").iterdir()) == sorted(path.name for path in result.files)
    assert f"out{os.sep}{name}.png: the picture" in printed
    assert printed.isascii()
    assert 4 <= len(printed.splitlines()) <= 25
    assert max(map(len, printed.splitlines())) <= 100


def test_they_are_listed() -> None:
    assert set(DEMOS) <= set(listing.summaries())


@pytest.mark.slow
@pytest.mark.parametrize("name", DEMOS)
def test_the_same_on_every_run(name, shown, tmp_path) -> None:
    """As a command in two processes with other hashes: the same lines and the same bytes, and no warning."""
    result, printed, _ = shown(name)
    folders = [tmp_path / seed for seed in ("7", "8")]
    for folder in folders:
        folder.mkdir()
        environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": folder.name, "PYTHONIOENCODING": "ascii"}
        run = subprocess.run(
            [sys.executable, "-W", "error", "-m", f"demos.{name}"], cwd=folder, env=environment, check=True,
            capture_output=True, text=True,
        )  # fmt: skip
        assert (run.stdout, run.stderr) == (printed, "")
    for path in result.files:
        assert (folders[0] / path).read_bytes() == (folders[1] / path).read_bytes()


def test_without_matplotlib_it_says_so_and_shows_the_rest(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = cliff.main(tmp_path / "out")
    assert result.files == []
    assert not (tmp_path / "out").exists()
    assert result.edges["float64"][1] < 37
    assert 'pip install "microgrid[plots]"' in capsys.readouterr().out


def test_the_users_own_style_is_left_alone_and_has_no_say(tmp_path, capsys) -> None:
    """Whatever rcParams say: the same picture, and the same rcParams afterwards."""
    import matplotlib

    def draw(figure) -> None:
        figure.subplots().plot([1, 2], [3, 4])

    plain = _drawing.picture(tmp_path / "plain", 3, 2, draw)
    with matplotlib.rc_context({"lines.linewidth": 9, "font.size": 30, "axes.facecolor": "black"}):
        styled = _drawing.picture(tmp_path / "styled", 3, 2, draw)
        assert matplotlib.rcParams["lines.linewidth"] == 9
    assert [path.read_bytes() for path in styled] == [path.read_bytes() for path in plain]
