"""The pictures of the demos, in the style of viz: saved as SVG and as PNG, the same bytes on every run."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import viz
from viz.plots.figures import BLUE, GREEN, GREY, INK, PALE, QUIET, VERMILLION, new, shades, style

__all__ = ["BLUE", "GREEN", "GREY", "INK", "PALE", "QUIET", "VERMILLION", "picture", "shades"]


def picture(stem: Path, width: float, height: float, draw: Callable[[Any], object]) -> list[Path]:
    """Draw on a figure of that size, in inches, and save it twice; without matplotlib, say so."""
    try:
        import matplotlib  # noqa: F401 - only to see whether it is there
    except ModuleNotFoundError as missing:
        print(f'\n(no picture: {missing}: pip install "microgrid[plots]")')
        return []
    with style():
        figure = new(width, height)
        draw(figure)
    files = [viz.save(figure, stem.with_suffix(suffix)) for suffix in (".svg", ".png")]
    print(f"\n{' and '.join(map(str, files))}: the picture")
    return files
