"""How large the gradients of a model are, parameter by parameter: whether they vanish or explode on their way back."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from viz.plots.figures import (
    ALARM,
    BLUE,
    GREY,
    INK,
    ORANGE,
    QUIET,
    drawing,
    dress,
    figure_of,
    legend_below,
    plain,
    tint,
)
from viz.words import counted, given

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__microgrid_machinery__ = True

# Values of a layer are drawn together: layers.0.neurons.3.w.1 belongs to layers.0.w
NUMBERED = re.compile(r"(?<![^.])neurons\.\d+\.|\.\d+$")


@dataclass(frozen=True)
class Flow:
    """The gradient of one parameter, or of the Values of a layer that belong together.

    Attributes
    ----------
    name : str
    size : int
        Numbers in it.
    is_weight : bool
        Whether it is a matrix, or `w`; not a bias.
    sizes : ndarray
        |g| of those that are finite and not 0, sorted.
    zeros, bad, missing : int
        Numbers whose gradient is exactly 0, not finite, or not there.
    frozen : bool
        Whether it requires no gradient.
    ratio : float
        norm of the gradient / norm of the numbers; nan where that is none.
    """

    name: str
    size: int
    is_weight: bool
    sizes: NDArray[Any]
    zeros: int
    bad: int
    missing: int
    frozen: bool
    ratio: float

    @property
    def words(self) -> str:
        """What a box cannot show."""
        if self.missing == self.size:
            return "frozen" if self.frozen else "no gradient"
        if self.size == 1:
            return "is 0" * self.zeros + "not finite" * self.bad
        counts = ((self.zeros, "are 0"), (self.bad, "not finite"), (self.missing, "without gradient"))
        said = [f"{'all' if n == self.size else f'{n:,} of'} {self.size:,} {what}" for n, what in counts if n]
        return ", ".join(said)


def flows(model: Any) -> list[Flow]:
    """The gradients of a model as they are now, in the order of its parameters."""
    try:
        named = list(model.named_parameters())
    except (AttributeError, TypeError):
        raise TypeError(
            f"gradients: expected a model with named_parameters(), got {given(model)}, at {mg.sites.here()}"
        ) from None
    if not named:
        raise ValueError(f"gradients: the model has no parameters, at {mg.sites.here()}")
    if all(parameter._grad is None for _, parameter in named):
        raise ValueError(
            f"gradients: there are no gradients yet: call loss.backward() first, and draw before zero_grad(), "
            f"at {mg.sites.here()}"
        )
    groups: dict[str, list[Any]] = {}
    for name, parameter in named:
        single = not isinstance(parameter._data, np.ndarray)
        groups.setdefault(NUMBERED.sub("", name) if single else name, []).append(parameter)
    return [_flow(name, parameters) for name, parameters in groups.items()]


def _flow(name: str, parameters: Sequence[Any]) -> Flow:
    missing = sum(np.size(p._data) for p in parameters if p._grad is None)
    reached = [p for p in parameters if p._grad is not None]
    g = _joined(name, [p._grad._data if isinstance(p._grad, mg.Node) else p._grad for p in reached])
    w = _joined(name, [p._data for p in reached])
    with np.errstate(all="ignore"):
        sizes = np.abs(g)
        finite = np.isfinite(sizes)
        ratio = _norm(sizes) / _norm(w) if w.any() and finite.all() else np.nan
    return Flow(
        name=name,
        size=sum(np.size(p._data) for p in parameters),
        is_weight=np.ndim(parameters[0]._data) > 1 or name.rpartition(".")[2] in ("w", "weight"),
        sizes=np.sort(sizes[finite & (sizes > 0)]),
        zeros=int((sizes == 0).sum()),
        bad=int((~finite).sum()),
        missing=missing,
        frozen=not any(p.requires_grad for p in parameters),
        ratio=float(ratio) if np.isfinite(ratio) else np.nan,
    )


def _joined(name: str, arrays: Sequence[Any]) -> NDArray[np.float64]:
    try:
        return np.concatenate([np.ravel(np.asarray(array, dtype=float)) for array in [[], *arrays]])
    except (TypeError, ValueError):
        raise TypeError(f"gradients: {name} holds something else than numbers, at {mg.sites.here()}") from None


def _norm(numbers: NDArray[Any]) -> float:
    """Of the largest taken out, so that squares of large or small numbers neither overflow nor vanish."""
    largest = float(np.abs(numbers).max())
    return largest * float(np.linalg.norm(numbers / largest)) if 0 < largest < np.inf else largest


def gradients(model: Any, *, title: str | None = None, ax: Axes | None = None) -> Figure:
    """Draw how large the gradients are, parameter by parameter, after a backward pass.

    On the left |dC/dp| of all numbers of a parameter, on a logarithmic axis: the box holds the middle half, the stroke
    in it is the median, and the line reaches from the smallest to the largest. A line joins the medians of the weights:
    leaning to the left towards the first layer it is a gradient that vanishes on its way back, to the right one that
    explodes. What has no logarithm is said in words: gradients of 0, not finite, or not there. On the right the norm
    of the gradient as a share of the norm of the parameter.

    Parameters
    ----------
    model : Module, or any object with `named_parameters()`, such as a model of `nn.scalar`
        After `loss.backward()`, and before `zero_grad()`. The Values of one layer are drawn together.
    title : str, optional
        Otherwise the medians of the first and of the last weights, where there is room for them.
    ax : matplotlib.axes.Axes, optional
        Where to draw the left part, alone; a new figure with both, if not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError
        If the model has no `named_parameters`, or they hold no numbers.
    ValueError
        If it has no parameters, or no backward pass has reached one.

    Notes
    -----
    That gradients vanish: Hochreiter 1991; Bengio, Simard and Frasconi, "Learning long-term dependencies with gradient
    descent is difficult", IEEE Transactions on Neural Networks 5, 1994. As norms by layer: Glorot and Bengio,
    "Understanding the difficulty of training deep feedforward neural networks", AISTATS 2010.

    Examples
    --------
    >>> import nn
    >>> model = nn.MLP(2, [3, 1], rng=0)
    >>> nn.BCEWithLogitsLoss()(model(mg.Tensor([[1.0, -1.0]])), [[1.0]]).backward()
    >>> figure = gradients(model)
    >>> [label.get_text().splitlines()[0] for label in figure.axes[0].get_yticklabels()]
    ['layers.0.weight', 'layers.0.bias', 'layers.2.weight', 'layers.2.bias']
    """
    found = flows(model)
    height = 1.5 + 0.46 * len(found)
    with drawing("gradients", ax, 8.6, height) as axes:
        _distributions(axes, found)
        if ax is None:
            grid = axes.get_gridspec()
            assert grid is not None
            halves = grid[0].subgridspec(1, 2, width_ratios=(2.2, 1), wspace=0.06)
            axes.set_subplotspec(halves[0])
            _ratios(figure_of(axes).add_subplot(halves[1]), found)
        legend_below(axes, _entries(found), own=ax is None)
        said = _title(found) if ax is None else "Gradients, parameter by parameter"
        axes.set_title(said if title is None else title, loc="left" if ax is None else "center")
        return figure_of(axes)


def _distributions(axes: Axes, found: Sequence[Flow]) -> None:
    rows = range(len(found))
    for row, flow in zip(rows, found, strict=True):
        if len(flow.sizes):
            sizes = np.clip(flow.sizes, 1e-300, 1e300)  # matplotlib's logarithms overflow beyond
            low, q1, middle, q3, high = np.exp(np.quantile(np.log(sizes), (0, 0.25, 0.5, 0.75, 1)))
            color = BLUE if flow.is_weight else ORANGE
            axes.hlines(row, low, high, color=color, linewidth=1.4, zorder=2, gid=f"range {flow.name}")
            axes.barh(
                row, q3 - q1, left=q1, height=0.5, color=tint(color), edgecolor=color, linewidth=1.4, zorder=3,
                gid=f"box {flow.name}",
            )  # fmt: skip
            axes.vlines(middle, row - 0.25, row + 0.25, color=INK, linewidth=2.2, zorder=4, gid=f"median {flow.name}")
    through = [(float(_median(flow)), row) for row, flow in zip(rows, found, strict=True) if _counts(flow)]
    if len(through) > 1:
        axes.plot(*zip(*through, strict=True), color=GREY, linewidth=1.2, linestyle=(0, (2, 2)), zorder=1, gid="trend")
    _decades(axes, np.concatenate([flow.sizes for flow in found]))
    axes.set_ylim(len(found) - 0.4, -0.6)  # the first layer on top
    axes.set_xlabel("|gradient| of each number")
    axes.set_yticks(list(rows), [_label(flow) for flow in found])
    axes.tick_params(axis="y", length=0)
    dress(axes, grid="x")
    for label, flow in zip(axes.get_yticklabels(), found, strict=True):
        label.set(fontsize=9.5, linespacing=1.25)
        if flow.bad or (flow.missing and not flow.frozen) or flow.zeros == flow.size:
            label.set(color=ALARM, weight="bold")
    axes.spines["left"].set_visible(False)


def _ratios(axes: Axes, found: Sequence[Flow]) -> None:
    """The norm of each gradient as a share of that of its parameter."""
    shown = [(flow.ratio, row, flow.is_weight) for row, flow in enumerate(found) if flow.ratio > 0]
    for ratio, row, is_weight in shown:
        axes.plot(
            ratio, row, "o" if is_weight else "D", color=BLUE if is_weight else ORANGE, markersize=6.5,
            markeredgecolor=INK, markeredgewidth=0.8,
        )  # fmt: skip
    _decades(axes, np.array([ratio for ratio, _, _ in shown]))
    axes.set_ylim(len(found) - 0.4, -0.6)
    axes.set_yticks(range(len(found)), [""] * len(found))
    axes.set_xlabel("‖gradient‖ / ‖parameter‖")
    dress(axes, grid="both")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)
    for row, flow in enumerate(found):
        if not flow.ratio > 0:
            why = "parameter 0" if flow.missing < flow.size and not flow.bad and flow.zeros < flow.size else "–"
            axes.text(
                0.5, row, why, transform=axes.get_yaxis_transform(), ha="center", va="center", fontsize=9, color=QUIET,
                bbox={"facecolor": "white", "edgecolor": "none", "pad": 1.5},
            )  # fmt: skip


def _decades(axes: Axes, numbers: NDArray[Any]) -> None:
    """A logarithmic axis over whole powers of ten, each of which it names, or every few of them; 10^300 is its end."""
    from matplotlib.ticker import NullFormatter

    ends = np.log10([numbers.min(), numbers.max()]) if len(numbers) else np.array([-1.0, 0.0])
    low, high = np.clip([np.floor(ends[0] - 0.1), np.ceil(ends[1] + 0.1)], (-300, -299), (299, 300))
    axes.set_autoscalex_on(False)  # whose margins would overflow
    axes.set_xscale("log")
    axes.set_xlim(10**low, 10**high)
    axes.xaxis.set_minor_formatter(NullFormatter())


def _label(flow: Flow) -> str:
    return f"{plain(flow.name)}\n{flow.words or counted(flow.size, 'number')}"


def _counts(flow: Flow) -> bool:
    """Whether it is a point of the way back."""
    return flow.is_weight and len(flow.sizes) > 0


def _median(flow: Flow) -> float:
    """As the axis has it: the middle of the logarithms."""
    return float(np.exp(np.median(np.log(np.clip(flow.sizes, 1e-300, 1e300)))))


def _title(found: Sequence[Flow]) -> str:
    medians = [_median(flow) for flow in found if _counts(flow)]
    if len(medians) < 2:
        return "Gradients, parameter by parameter"
    first, last = medians[0], medians[-1]
    return f"Median |gradient| of the weights: {last:.2g} in the last layer, {first:.2g} in the first"


def _entries(found: Sequence[Flow]) -> list[Any]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    kinds = {True: ("weights", BLUE), False: ("biases", ORANGE)}
    present = sorted({flow.is_weight for flow in found}, reverse=True)
    entries: list[Any] = [
        Patch(facecolor=tint(color), edgecolor=color, label=f"{word}: the middle half")
        for word, color in (kinds[is_weight] for is_weight in present)
    ]
    entries.append(Line2D([], [], color=GREY, linewidth=1.4, label="smallest to largest"))
    look: dict[str, Any] = {"marker": "|", "markeredgecolor": INK, "markersize": 11, "markeredgewidth": 2.2}
    entries.append(Line2D([], [], color=GREY, linestyle=(0, (2, 2)), label="medians", **look))
    return entries
