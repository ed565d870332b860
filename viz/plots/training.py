"""Curves of a training: how the loss fell, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from viz.plots.figures import ALARM, COLORS, INK, QUIET, STROKES, drawing, dress, figure_of, plain
from viz.words import counted, given

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__microgrid_machinery__ = True

LOSSES = {"loss": "training", "validation_loss": "validation"}


@dataclass(frozen=True)
class Curve:
    """Numbers by epoch: `x` and `y` of shape (n,), not finite ones among them."""

    label: str
    x: NDArray[np.float64]
    y: NDArray[np.float64]

    @property
    def finite(self) -> NDArray[np.float64]:
        return self.y[np.isfinite(self.y)]

    @property
    def words(self) -> str:
        """Its label, and what a line cannot show."""
        bad = self.x[~np.isfinite(self.y)]
        return self.label + (f" (not finite in {counted(len(bad), 'epoch')}, first in {bad[0]:g})" if len(bad) else "")


def curves(
    history: Any,
    *,
    title: str = "",
    ylabel: str = "loss",
    metric: str = "metric",
    log: bool | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw the losses of a training over its epochs.

    The best epoch, whose weights the model has, is marked. Where the history has a metric, too, that is drawn below.

    Parameters
    ----------
    history : History, sequence of float, or mapping of str to sequence of float
        What `nn.fit` returns (whatever has `loss` and, perhaps, `epoch`, `validation_loss`, `metric`, `best_epoch`); or
        the losses of a loop of your own, or several by name, an epoch an entry.
    title, ylabel : str
    metric : str
        What the metric is.
    log : bool, optional
        Whether the axis of the losses is logarithmic; if not given, it is where all are above 0 and reach over a factor
        of ten.
    ax : matplotlib.axes.Axes, optional
        Where to draw the losses, alone; a new figure, if not given.

    Returns
    -------
    matplotlib.figure.Figure
        `viz.save(figure, "loss.svg")` writes it.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError
        If the history is none of these, or holds something else than numbers.
    ValueError
        If there is nothing to draw, or a logarithmic axis is asked for, and not all numbers are above 0.

    Examples
    --------
    >>> figure = curves({"SGD": [1.0, 0.5, 0.4], "Adam": [1.0, 0.3, 0.2]})
    >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    ['SGD', 'Adam']
    """
    losses, measures = _read(history, metric)
    if not any(len(curve.finite) for curve in losses):
        raise ValueError(f"curves: the history is empty: nothing to draw, at {mg.sites.here()}")
    numbers = np.concatenate([curve.finite for curve in losses])
    if log and numbers.min() <= 0:
        raise ValueError(
            f"curves: log=True, but the smallest number is {numbers.min():g}: a logarithmic axis needs numbers above 0"
            f", at {mg.sites.here()}"
        )
    if log is None:
        log = bool(numbers.min() > 0 and numbers.max() > 10 * numbers.min())
    both = bool(measures) and ax is None
    with drawing("curves", ax, 6.4, 5.4 if both else 4.0) as axes:
        panels = [axes]
        if both:
            grid = axes.get_gridspec()
            assert grid is not None
            halves = grid[0].subgridspec(2, 1, height_ratios=(2, 1))
            axes.set_subplotspec(halves[0])
            panels.append(figure_of(axes).add_subplot(halves[1], sharex=axes))
        best = getattr(history, "best_epoch", None)
        for panel, drawn, label in zip(panels, (losses, measures), (ylabel, metric), strict=False):
            _draw(panel, drawn, best, label)
        if log:
            _logarithmic(axes, numbers)
        panels[0].tick_params(labelbottom=not both)
        panels[-1].set_xlabel("epoch")
        axes.set_title(title)
        return figure_of(axes)


def _read(history: Any, metric: str) -> tuple[list[Curve], list[Curve]]:
    """The curves of the losses, and of the metric."""
    if isinstance(history, (list, tuple, np.ndarray)):
        history = {"loss": history}
    if isinstance(history, Mapping):
        named = [_curve(str(label), column, ()) for label, column in history.items()]
        return [curve for curve in named if len(curve.y)], []
    if not hasattr(history, "loss"):
        raise TypeError(
            f"curves: expected the History of nn.fit, losses, or a mapping from names to losses, got {given(history)}, "
            f"at {mg.sites.here()}"
        )
    epochs = getattr(history, "epoch", ())
    columns = {label: getattr(history, name, []) for name, label in LOSSES.items()}
    losses = [_curve(label, column, epochs) for label, column in columns.items()]
    measures = [_curve(metric, getattr(history, "metric", []), epochs)]
    return [curve for curve in losses if len(curve.y)], [curve for curve in measures if len(curve.y)]


def _curve(label: str, column: Any, epochs: Sequence[int]) -> Curve:
    try:
        y = np.array(column, dtype=float)
    except (TypeError, ValueError):
        y = np.zeros((0, 0))
    if y.ndim != 1:
        raise TypeError(f"curves: {label!r} must be a sequence of numbers, got {given(column)}, at {mg.sites.here()}")
    x = epochs if len(epochs) >= len(y) else range(1, len(y) + 1)  # Ctrl-C may have cut one list short
    return Curve(plain(label), np.array(x, dtype=float)[: len(y)], y)


def _draw(axes: Axes, drawn: Sequence[Curve], best: int | None, ylabel: str) -> None:
    from matplotlib.ticker import MaxNLocator

    for number, curve in enumerate(drawn):
        axes.plot(
            curve.x, np.where(np.isfinite(curve.y), curve.y, np.nan), label=curve.words,
            color=COLORS[number % len(COLORS)], linestyle=STROKES[number % len(STROKES)],
            marker="o" if len(curve.y) == 1 else "", linewidth=2.0,
        )  # fmt: skip
    if best is not None:
        axes.axvline(best, color=QUIET, linewidth=1, linestyle=(0, (1, 2)), zorder=1)
        judge = drawn[-1]  # of the validation, where there is one
        at = judge.x == best
        label = f"best epoch, {best}"
        axes.plot(
            judge.x[at], judge.y[at], "o", markersize=8, markerfacecolor="white", markeredgecolor=INK,
            markeredgewidth=1.8, label=label, zorder=5, linestyle="", gid="best",
        )  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(8, integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylabel(ylabel)
    dress(axes, grid="both")
    if len(drawn) > 1 or any(curve.label != ylabel or len(curve.finite) < len(curve.y) for curve in drawn):
        legend = axes.legend(frameon=False, handlelength=2.6)
        for text, curve in zip(legend.get_texts(), drawn, strict=False):
            text.set_color(INK if len(curve.finite) == len(curve.y) else ALARM)


def _logarithmic(axes: Axes, numbers: NDArray[np.float64]) -> None:
    from matplotlib.ticker import LogLocator, NullFormatter

    axes.set_yscale("log")
    if numbers.max() < 1e4 * numbers.min():
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
