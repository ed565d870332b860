"""matplotlib's figure, which notebooks show. Imported where a figure is made: it needs matplotlib."""

from __future__ import annotations

from matplotlib.figure import Figure

from viz.plots import figures

__microgrid_machinery__ = True


class Shown(Figure):
    """A figure that shows itself as SVG in a notebook, without pyplot or a magic command."""

    def _repr_svg_(self) -> str:
        return figures.rendered(self, ".svg").decode("utf-8")
