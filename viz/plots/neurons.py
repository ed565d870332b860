"""The classic picture of a network: units are circles, weights are lines."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from viz.plots.figures import BLUE, INK, QUIET, VERMILLION, drawing, figure_of, plain, shades
from viz.plots.units import Column, columns
from viz.words import counted

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__microgrid_machinery__ = True

# Inches: the figure is as large as the network, so that numbers fit into the circles
RADIUS, STEP, GAP = 0.21, 0.54, 0.62
LEFT_OVER = 10  # so many units of a layer that is too large are drawn
THINNEST, THICKEST = 0.35, 4.5  # points, of a line
LETTER, LEGEND = 0.075, 6.2  # inches: of a name's letter, of the legend in one row
SIGNS: dict[bool, tuple[str, Any]] = {True: (BLUE, "-"), False: (VERMILLION, (0, (5, 2.5)))}  # above zero, below zero

Array = NDArray[Any]
Place = tuple[float, float]


def network(
    model: Any,
    x: Any = None,
    *,
    inputs: Sequence[str] | None = None,
    outputs: Sequence[str] | None = None,
    max_units: int = 16,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw a network as units and weights.

    A line is a weight: the wider, the larger; solid and blue above zero, dashed and vermillion below, none at zero. A
    square with a 1 in it sends the biases. For one sample the activations stand in the units.

    Parameters
    ----------
    model : nn.MLP, Sequential, Linear, or nn.scalar's MLP, Layer or Neuron, or micrograd's
        A stack of linear layers with activations between them; neither run nor changed: a copy is, in evaluation mode.
    x : array_like of shape (n,), optional
        One sample, whose activations are written into the units.
    inputs, outputs : sequence of str, optional
        Names, one a unit; otherwise x1, x2, ... and a1, a2, ..., or z1, z2, ... where nothing follows the last weights.
    max_units : int >= 2
        Of a larger layer the first and the last units are drawn, and the picture says how many more there are.
    title : str, optional
        Otherwise the sizes of the layers, and how many parameters.
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure, if not given.

    Returns
    -------
    matplotlib.figure.Figure
        `viz.save` writes it; a notebook shows it.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError
        If the model is nothing of the kind, or x holds no numbers.
    ValueError
        If the model is no stack of layers, a number is not finite, or x or the names are too few or too many.

    Notes
    -----
    Width grows in proportion to |w| from 0.35 points; w_max, the largest |w| of all weights and biases of the model,
    has 4.5 points, fewer where columns of more than 8 units make lines many.

    Examples
    --------
    >>> import nn
    >>> figure = network(nn.MLP(2, [3, 1], rng=0), [0.5, -1.0])
    >>> figure.axes[0].get_title()
    'A 2-3-1 network: 13 parameters'
    """
    if isinstance(max_units, bool) or not isinstance(max_units, Integral) or max_units < 2:
        raise ValueError(f"network: max_units must be an integer of 2 or more, got {max_units!r}, at {mg.sites.here()}")
    found = columns(model, x)
    names_in = _names("inputs", inputs, found[0].size, "x")
    names_out = _names("outputs", outputs, found[-1].size, "a" if found[-1].function else "z")
    rows = [_rows(column.size, int(max_units)) for column in found]
    most = max(map(len, rows))
    height = max(max(ys.values()) for ys in rows) * 2
    across = 1.6 + 0.1 * min(most, 16)  # wider where there are more lines
    left, right = (LETTER * max(map(_length, names)) + 0.3 for names in (names_in, names_out))
    middle, half = across * (len(found) - 1) / 2, max(across * (len(found) - 1) / 2 + max(left, right) + RADIUS, 2.0)
    room = (middle - half, middle + half)
    legend = 0.35 if room[1] - room[0] > LEGEND else 0.6  # one row of it, or two
    floor, ceiling = -height / 2 - STEP - 1.0 - legend, height / 2 + RADIUS + 0.1
    with drawing("network", ax, room[1] - room[0], ceiling - floor + 0.5, to_scale=True) as axes:
        axes.set(
            xlim=room, ylim=(floor, ceiling), aspect="equal", anchor="N"
        )  # so that layouts know where the title is
        axes.set_axis_off()
        scale = _scale(axes) if ax is not None else 1.0
        pen = _Pen(_largest(found), THICKEST * min(1.0, 8 / most) ** 0.8)
        columns_of_units = [[(across * i, y) for y in ys.values()] for i, ys in enumerate(rows)]
        for i, column in enumerate(found[1:], start=1):
            bias = (across * (i - 1) + 0.6, min(rows[i - 1].values()) - STEP)
            _lines(axes, column, [*columns_of_units[i - 1], bias], columns_of_units[i], rows[i - 1], rows[i], pen)
            if column.bias is not None:
                _bias(axes, bias, column.bias, scale)
        peak = max((float(abs(c.activations).max()) for c in found if c.activations is not None), default=0.0)
        for column, ys, places in zip(found, rows, columns_of_units, strict=True):
            _units(axes, column, ys, places, peak, scale)
        for names, ys, places, side in (
            (names_in, rows[0], columns_of_units[0], -1), (names_out, rows[-1], columns_of_units[-1], 1),
        ):  # fmt: skip
            for unit, place in zip(ys, places, strict=True):
                _name(axes, names[unit], place, side, 10 * scale)
        _captions(axes, found, across, floor + legend + 0.65, scale)
        _legend(axes, found, pen, scale)
        axes.set_title(_title(found) if title is None else title)
        return figure_of(axes)


# ---------------------------------------------------------------------------------------------------- places


def _rows(size: int, most: int) -> dict[int, float]:
    """Unit by unit, its height; around 0, with a gap in the middle where units are left out."""
    if size <= most:
        return {unit: STEP * ((size - 1) / 2 - unit) for unit in range(size)}
    most = min(most, LEFT_OVER)
    above, below = (most + 1) // 2, most // 2
    top = (STEP * (most - 2) + 2 * GAP) / 2
    upper = {unit: top - STEP * unit for unit in range(above)}
    lower = {size - below + i: -top + STEP * (below - 1 - i) for i in range(below)}
    return upper | lower


def _scale(axes: Axes) -> float:
    """How much smaller than life the network is drawn in axes that are given."""
    box = axes.get_window_extent()
    dpi = figure_of(axes).dpi
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    return float(np.clip(min(box.width / dpi / (x1 - x0), box.height / dpi / (y1 - y0)), 0.35, 1.0))


# ---------------------------------------------------------------------------------------------------- lines


def _largest(found: Sequence[Column]) -> float:
    arrays = [array for column in found for array in (column.weight, column.bias) if array is not None]
    return max(float(abs(array).max()) for array in arrays)


class _Pen(NamedTuple):
    """How wide the line of a weight is."""

    largest: float  # |w|
    thickest: float  # points

    def width(self, w: Array) -> Array:
        """Points: 0 at zero, and growing with |w| from the thinnest to the thickest."""
        size = np.abs(w) / (self.largest or 1.0)
        wide: Array = np.where(size > 0, THINNEST + (self.thickest - THINNEST) * size, 0.0)
        return wide


def _lines(
    axes: Axes,
    column: Column,
    sources: Sequence[Place],  # the units before, and what sends the biases
    targets: Sequence[Place],
    units_before: dict[int, float],
    units: dict[int, float],
    pen: _Pen,
) -> None:
    """The weights and biases of the drawn units of one layer, the largest on top."""
    from matplotlib.collections import LineCollection

    assert column.weight is not None
    drawn = column.weight[np.ix_(list(units), list(units_before))]  # (targets, sources)
    if column.bias is not None:
        drawn = np.column_stack([drawn, column.bias[list(units)]])
    order = np.argsort(abs(drawn), axis=None, kind="stable")
    weights = drawn.ravel()[order]
    ends = [divmod(int(i), drawn.shape[1]) for i in order]
    lines = LineCollection(
        [[sources[source], targets[target]] for target, source in ends],
        linewidths=pen.width(weights),
        colors=[SIGNS[bool(w > 0)][0] for w in weights],
        linestyles=[SIGNS[bool(w > 0)][1] for w in weights],
        gid=f"weights of {column.name}",
        zorder=1,
    )
    axes.add_collection(lines, autolim=False)


def _bias(axes: Axes, place: Place, bias: Array, scale: float) -> None:
    """The square that sends the biases; where all are 0, and so no line leaves it, it says that."""
    from matplotlib.patches import Rectangle

    side = 1.3 * RADIUS
    corner = place[0] - side / 2, place[1] - side / 2
    axes.add_patch(
        Rectangle(corner, side, side, facecolor="white", edgecolor=QUIET, linewidth=1.1, zorder=2, gid="bias")
    )
    axes.text(*place, "1", ha="center", va="center_baseline", fontsize=8.5 * scale, color=QUIET, zorder=3)
    if not bias.any():
        axes.text(
            place[0] + side, place[1], "biases all 0", va="center_baseline", fontsize=8.5 * scale, color=QUIET
        )  # fmt: skip


# ---------------------------------------------------------------------------------------------------- units


def _units(
    axes: Axes, column: Column, ys: dict[int, float], places: Sequence[Place], peak: float, scale: float
) -> None:
    """The circles of one column, with the activations in them, and how many are left out."""
    from matplotlib.patches import Circle

    colors = shades()
    for unit, place in zip(ys, places, strict=True):
        a = None if column.activations is None else float(column.activations[unit])
        fill = "white" if a is None else colors(0.5 + 0.5 * a / (peak or 1.0))
        axes.add_patch(Circle(place, RADIUS, facecolor=fill, edgecolor=INK, linewidth=1.1, zorder=2, gid="unit"))
        if a is not None:
            axes.text(*place, brief(a), ha="center", va="center_baseline", fontsize=8 * scale, zorder=3)
    if len(ys) < column.size:
        middle = list(ys.values())[(len(ys) + 1) // 2 - 1] - GAP
        axes.text(
            places[0][0], middle, f"⋮\n{column.size - len(ys):,} more", ha="center", va="center",
            fontsize=8.5 * scale, linespacing=1.0, zorder=3, bbox={"facecolor": "white", "edgecolor": "none", "pad": 1},
        )  # fmt: skip


def brief(a: float) -> str:
    """A number of five characters or so, which fit into a circle.

    Examples
    --------
    >>> [brief(a) for a in (0.0, -0.5, 0.0012, 12.34, -123.4, 123456.0)]
    ['0', '−0.50', '1e−3', '12.3', '−123', '1e5']
    """
    size = abs(a)
    if a == 0:
        return "0"
    if 0.005 <= size < 9999.5:
        text = f"{a:.{2 if size < 9.995 else 1 if size < 99.95 else 0}f}"
    else:
        mantissa, _, exponent = f"{a:.0e}".partition("e")
        text = f"{mantissa}e{int(exponent)}"
    return text.replace("-", "\N{MINUS SIGN}")


# ---------------------------------------------------------------------------------------------------- words


def _names(what: str, chosen: Sequence[str] | None, size: int, letter: str) -> list[str]:
    if chosen is None:
        return [f"${letter}_{{{i}}}$" if size > 1 else f"${letter}$" for i in range(1, size + 1)]
    names = [chosen] if isinstance(chosen, str) else [str(name) for name in chosen]
    if len(names) != size:
        raise ValueError(f"network: {len(names)} names of {what}, expected {size}, at {mg.sites.here()}")
    return [plain(name) for name in names]


def _length(name: str) -> int:
    return 2 if name.startswith("$") else len(name)


def _name(axes: Axes, name: str, place: Place, side: int, size: float) -> None:
    axes.annotate(
        name, (place[0] + side * RADIUS, place[1]), xytext=(side * 5, 0), textcoords="offset points",
        ha="right" if side < 0 else "left", va="center", fontsize=size,
    )  # fmt: skip


def _captions(axes: Axes, found: Sequence[Column], across: float, y: float, scale: float) -> None:
    for i, column in enumerate(found):
        name = "inputs" if i == 0 else "outputs" if i == len(found) - 1 else f"layer {i}"
        size = counted(column.size, "unit") if i else f"{column.size:,}"
        function = column.function or ("\N{NO-BREAK SPACE}" if i == 0 else "linear")
        axes.text(across * i, y, name, ha="center", va="top", fontsize=10 * scale, weight="bold")
        axes.text(across * i, y - 0.2, f"{size}\n{function}", ha="center", va="top", fontsize=9 * scale, color=QUIET)


def _legend(axes: Axes, found: Sequence[Column], pen: _Pen, scale: float) -> None:
    from matplotlib.lines import Line2D

    entries = [
        Line2D([], [], color=color, linestyle=dash, linewidth=2.5, label=f"weight {word} 0")
        for (color, dash), word in zip(SIGNS.values(), ("above", "below"), strict=True)
    ]
    entries.append(
        Line2D([], [], color=QUIET, linewidth=pen.thickest, label=f"widest: $|w|$ = {brief(pen.largest)}")
        if pen.largest else Line2D([], [], linewidth=0, label="all weights are 0")
    )  # fmt: skip
    if any(column.bias is not None for column in found):
        square: dict[str, Any] = {"marker": "s", "markerfacecolor": "white", "markeredgecolor": QUIET, "markersize": 9}
        entries.append(Line2D([], [], linewidth=0, label="1 × bias", **square))
    ncols = 4 if np.ptp(axes.get_xlim()) > LEGEND else 2
    axes.legend(
        handles=entries, loc="lower center", bbox_to_anchor=(0.5, 0.0), ncols=ncols,
        fontsize=9 * max(scale, 0.7), columnspacing=1.6, borderaxespad=0.4, labelcolor=INK,
    )  # fmt: skip


def _title(found: Sequence[Column]) -> str:
    count = sum(array.size for column in found for array in (column.weight, column.bias) if array is not None)
    return f"A {'-'.join(str(column.size) for column in found)} network: {counted(count, 'parameter')}"
