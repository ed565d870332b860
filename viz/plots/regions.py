"""What a model says of a plane of two features, and where it changes its mind."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from viz.plots import figures
from viz.plots.figures import BLUE, COLORS, INK, MARKERS, QUIET, VERMILLION, drawing, figure_of, plain
from viz.words import given

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__microgrid_machinery__ = True

Array = NDArray[np.float64]
Output = Literal["logit", "probability"]

FINE, COARSE = 201, 61  # points of the grid along each feature: for a model that takes them all at once, or one by one


class _Plane(NamedTuple):
    """The grid, and what the model gives on it."""

    across: Array  # (nx,)
    up: Array  # (ny,)
    scores: Array  # (ny, nx, K)

    @property
    def extent(self) -> tuple[float, float, float, float]:
        return float(self.across[0]), float(self.across[-1]), float(self.up[0]), float(self.up[-1])


def boundary(
    model: Any,
    X: Any,
    Y: Any,
    *,
    output: Output | None = None,
    threshold: float = 0.5,
    margins: Sequence[float] = (0.1, 0.9),
    classes: Sequence[str] | None = None,
    features: Sequence[str] = ("$x_1$", "$x_2$"),
    pad: float = 0.15,
    title: str = "",
    ax: Axes | None = None,
) -> Figure:
    """Draw what a model makes of the plane: the probability as a shade, the decision as a line, the data as points.

    Of two classes the shade is the probability of class 1. Of several each has a region of its colour, the deeper the
    more probable. Points on the wrong side have a ring.

    Parameters
    ----------
    model : Module, nn.scalar.MLP or callable
        Two features to one logit or probability, or to one for each class: a module (a copy of it runs, in evaluation
        mode), or a function of an ndarray of shape (m, 2) to (m,), (m, 1) or (m, K), such as `predict_proba`.
    X : array_like of shape (m, 2)
    Y : array_like of shape (m,) or (m, 1)
        Classes: 0 and 1, or -1 and 1, of two; 0 ... K - 1 of more; or of shape (m, K), one-hot.
    output : {"logit", "probability"}, optional
        What the model gives. If not given the numbers tell: some outside of [0, 1] are logits, rows of a sum of 1 are
        probabilities; a single output within [0, 1] is a probability if the model ends in a Sigmoid, and must be said
        to be one if it does not.
    threshold : float in (0, 1)
        Of two classes: the probability where the line is drawn.
    margins : sequence of float in (0, 1)
        Of two classes: probabilities where thin lines are drawn; () for none.
    classes : sequence of str, optional
        Their names.
    features : two str
        Names of the axes.
    pad : float >= 0
        Room around the data, as a share of their extent.
    title : str
    ax : matplotlib.axes.Axes, optional
        Where to draw; a new figure, if not given.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    TypeError
        If the model cannot be called, or data are no numbers.
    ValueError
        If shapes do not fit, labels are none of the above, a number is not finite, or what the model gives is not
        said to be logits or probabilities and could be either.

    Notes
    -----
    Lines are found on logits, which are straighter than probabilities: z = ln(t / (1 - t)) for a threshold t, and
    z_k = max_{j != k} z_j between several classes. The grid has 201 x 201 points, 61 x 61 where a network of Values is
    asked one by one.

    Examples
    --------
    >>> X, Y = np.array([[0.0, 0.0], [1.0, 1.0]]), [0, 1]
    >>> figure = boundary(lambda X: X @ [4.0, 4.0] - 4.0, X, Y, title="A line")
    >>> [ax.get_title() for ax in figure.axes][0]
    'A line'
    """
    points = _points(X)
    if not 0 < threshold < 1 or not all(0 < p < 1 for p in margins):
        raise ValueError(
            f"boundary: threshold and margins are probabilities between 0 and 1, got {threshold!r} and "
            f"{tuple(margins)!r}, at {mg.sites.here()}"
        )
    if not (np.isfinite(pad) and pad >= 0):
        raise ValueError(f"boundary: pad must be a number of 0 or more, got {pad!r}, at {mg.sites.here()}")
    if len(features) != 2:
        raise ValueError(f"boundary: features must be two names, got {features!r}, at {mg.sites.here()}")
    plane, own = _evaluated(model, points, pad)
    logits, own_logits = _logits(model, plane.scores, own, output)
    K = logits.shape[-1]
    labels = _labels(Y, len(points), K)
    names = _class_names(classes, K)
    with drawing("boundary", ax, 6.4, 5.2) as axes:
        if K == 2:
            z = logits[..., 1] - logits[..., 0]
            answers = (own_logits[:, 1] - own_logits[:, 0] > _logit(threshold)).astype(int)
            _two(axes, plane, z, threshold, margins, names)
        else:
            answers = own_logits.argmax(axis=-1)
            _several(axes, plane, logits)
        _scatter(axes, points, labels, answers, names)
        entries = _entries(axes, logits, threshold, bool((answers != labels).any()), names)
        figures.legend_below(axes, entries, own=ax is None)
        axes.set(xlabel=features[0], ylabel=features[1], title=title, xlim=plane.extent[:2], ylim=plane.extent[2:])
        figures.dress(axes)
        return figure_of(axes)


# ------------------------------------------------------------------------------------------------------ the data


def _numbers(what: str, data: Any) -> Array:
    try:
        numbers = np.array(data._data if isinstance(data, mg.Node) else data, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"boundary: {what} must be numbers, got {given(data)}, at {mg.sites.here()}") from None
    if not np.isfinite(numbers).all():
        bad = int((~np.isfinite(numbers)).sum())
        raise ValueError(f"boundary: {what}: {bad} of {numbers.size} numbers are not finite, at {mg.sites.here()}")
    return numbers


def _points(X: Any) -> Array:
    points = _numbers("X", X)
    if points.ndim != 2 or points.shape[1] != 2 or not len(points):
        raise ValueError(f"boundary: X has shape {points.shape}, expected (m, 2), two features, at {mg.sites.here()}")
    return points


def _labels(Y: Any, m: int, K: int) -> NDArray[np.int64]:
    """The class of each point, 0 ... K - 1."""
    labels = _numbers("Y", Y)
    if labels.shape == (m, K) and K > 1 and np.isin(labels, (0, 1)).all() and (labels.sum(axis=1) == 1).all():
        chosen: NDArray[np.int64] = labels.argmax(axis=1)
        return chosen
    if labels.shape not in ((m,), (m, 1)):
        raise ValueError(
            f"boundary: Y has shape {labels.shape}, expected ({m},), ({m}, 1) or one-hot ({m}, {K}), "
            f"at {mg.sites.here()}"
        )
    labels = labels.reshape(m)
    if K == 2 and (labels == -1).any() and np.isin(labels, (-1, 1)).all():
        return (labels > 0).astype(np.int64)
    if not np.isin(labels, np.arange(K)).all():
        odd = next(label for label in labels if label not in range(K))
        raise ValueError(
            f"boundary: Y holds {odd:g}, expected the classes 0 to {K - 1}{' (or -1 and 1)' if K == 2 else ''}, "
            f"at {mg.sites.here()}"
        )
    return labels.astype(np.int64)


def _class_names(classes: Sequence[str] | None, K: int) -> list[str]:
    names = [f"class {k}" for k in range(K)] if classes is None else [plain(str(name)) for name in classes]
    if len(names) != K:
        raise ValueError(f"boundary: {len(names)} names of classes, expected {K}, at {mg.sites.here()}")
    return names


# ----------------------------------------------------------------------------------------------------- the model


def _evaluated(model: Any, points: Array, pad: float) -> tuple[_Plane, Array]:
    """What the model gives on a grid around the points, and at the points themselves: (m, K)."""
    if not callable(model):
        raise TypeError(f"boundary: expected a model or a function, got {given(model)}, at {mg.sites.here()}")
    run, size = _runner(model)
    low, high = points.min(axis=0), points.max(axis=0)
    room = pad * np.where(high > low, high - low, 1.0) + 0.5 * (high == low)
    across, up = (np.linspace(*ends, size) for ends in zip(low - room, high + room, strict=True))
    grid = np.stack(np.meshgrid(across, up), axis=-1).reshape(-1, 2)
    with mg.no_grad(), np.errstate(all="ignore"):
        scores, own = _outputs(run, grid), _outputs(run, points)
    return _Plane(across, up, scores.reshape(size, size, -1)), own


def _runner(model: Any) -> tuple[Any, int]:
    """The model as a function of an array of points, and how fine a grid to ask it for."""
    if not hasattr(model, "parameters"):
        return model, FINE
    network = copy.deepcopy(model)  # running it may draw random numbers, and counts as a call
    if callable(getattr(network, "to_array", None)):
        network = network.to_array()
    if callable(getattr(network, "eval", None)):
        network.eval()
    if callable(getattr(network, "state_dict", None)):
        return lambda points: network(mg.Tensor(points)), FINE
    return lambda points: [network(list(map(float, point))) for point in points], COARSE


def _outputs(run: Any, points: Array) -> Array:
    given_back = run(points)
    try:
        numbers = np.array(_plain(given_back), dtype=float)
    except (TypeError, ValueError):
        raise TypeError(
            f"boundary: the model gave {given(given_back)}, expected numbers, at {mg.sites.here()}"
        ) from None
    m = len(points)
    if numbers.shape == (m,):
        numbers = numbers[:, np.newaxis]
    if numbers.ndim != 2 or len(numbers) != m or not numbers.shape[1]:
        raise ValueError(
            f"boundary: for {m} points the model gave shape {numbers.shape}, expected ({m},), ({m}, 1) or ({m}, K), "
            f"at {mg.sites.here()}"
        )
    if np.isnan(numbers).any():
        raise ValueError(
            f"boundary: the model gave nan at {int(np.isnan(numbers).any(axis=1).sum())} of {m} points, "
            f"at {mg.sites.here()}"
        )
    return numbers


def _plain(output: Any) -> Any:
    """Tensors as arrays, lists of Values as lists of numbers."""
    if isinstance(output, mg.Node):
        return output._data
    if isinstance(output, list | tuple):
        return list(map(_plain, output))
    return getattr(output, "data", output) if not isinstance(output, np.ndarray) else output


def _logits(model: Any, scores: Array, own: Array, output: Output | None) -> tuple[Array, Array]:
    """(..., K) of K >= 2 classes on the grid and at the points, from whatever the model gives."""
    kind = _kind(model, np.concatenate([scores.reshape(-1, scores.shape[-1]), own]), output)
    single = scores.shape[-1] == 1
    found = []
    for numbers in (scores, own):
        with np.errstate(divide="ignore"):
            if kind == "probability":
                both = np.concatenate([1 - numbers, numbers], axis=-1) if single else numbers
                z = np.log(both)
            else:
                z = np.concatenate([0 * np.clip(numbers, -1, 1), numbers], axis=-1) if single else numbers
        found.append(np.clip(z, -750.0, 750.0))  # e^-750 is 0
    return found[0], found[1]


def _kind(model: Any, rows: Array, output: Output | None) -> Output:
    within = bool(((rows >= 0) & (rows <= 1)).all())
    sums = rows.shape[1] > 1 and np.allclose(rows.sum(axis=1), 1, atol=1e-5)
    if output not in (None, "logit", "probability"):
        raise ValueError(f"boundary: output={output!r} is neither 'logit' nor 'probability', at {mg.sites.here()}")
    if output == "probability" and not (within and (sums or rows.shape[1] == 1)):
        span = f"{rows.min():.3g} to {rows.max():.3g}"
        raise ValueError(
            f"boundary: output='probability', but the model gives numbers from {span}"
            f"{'' if rows.shape[1] == 1 else ', whose rows do not sum to 1'}, at {mg.sites.here()}"
        )
    if output is not None:
        return output
    if not within:
        return "logit"
    if sums or _ends_in_sigmoid(model):
        return "probability"
    raise ValueError(
        "boundary: the model gives numbers between 0 and 1, which may be logits or probabilities: say "
        f"output='probability' or output='logit', at {mg.sites.here()}"
    )


def _ends_in_sigmoid(model: Any) -> bool:
    if not hasattr(model, "named_modules"):
        return False
    last = list(model.named_modules())[-1][1]
    return "Sigmoid" in (type(last).__name__, type(getattr(last, "activation", None)).__name__)


def _logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


# --------------------------------------------------------------------------------------------------- the picture


def _two(axes: Axes, plane: _Plane, z: Array, threshold: float, margins: Sequence[float], names: Sequence[str]) -> None:
    """The probability of class 1, and the lines where it is the threshold and the margins."""
    with np.errstate(over="ignore"):
        probability = 1 / (1 + np.exp(-z))
    image = axes.imshow(
        probability, cmap=figures.shades(BLUE, VERMILLION), vmin=0, vmax=1, origin="lower", extent=plane.extent,
        aspect="auto", interpolation="bilinear", zorder=0, gid="probability",
    )  # fmt: skip
    lines = [(threshold, 2.0, "-", INK, "decision"), *((p, 0.9, (0, (5, 3)), QUIET, "margin") for p in margins)]
    for p, width, dash, color, name in lines:
        if z.min() < _logit(p) < z.max():
            axes.contour(
                plane.across, plane.up, z, levels=[_logit(p)], colors=color, linewidths=width, linestyles=[dash],
                zorder=2,
            ).set_gid(name)  # fmt: skip
    bar = figure_of(axes).colorbar(image, ax=axes, label=f"probability of {names[1]}", aspect=28, pad=0.02)
    bar.ax.hlines([threshold, *margins], 0, 1, colors=INK, linewidths=[1.6] + [0.8] * len(margins))
    bar.set_ticks(sorted({0.0, 1.0, threshold, *margins}))
    bar.ax.tick_params(color=figures.GREY, labelcolor=INK)
    bar.outline.set_edgecolor(figures.GREY)


def _several(axes: Axes, plane: _Plane, logits: Array) -> None:
    """A region for each class, and the lines where the most probable one changes."""
    K = logits.shape[-1]
    shifted = np.exp(logits - logits.max(axis=-1, keepdims=True))
    best, surest = logits.argmax(axis=-1), 1 / shifted.sum(axis=-1)
    sureness = (surest - 1 / K) / (1 - 1 / K)
    tints = np.array([figures.tint(COLORS[k % len(COLORS)]) for k in range(K)])[best]
    image = 1 - (0.25 + 0.75 * sureness)[..., np.newaxis] * (1 - tints)
    axes.imshow(image, origin="lower", extent=plane.extent, aspect="auto", zorder=0, gid="regions")
    for k in range(K):
        lead = logits[..., k] - np.delete(logits, k, axis=-1).max(axis=-1)
        if lead.min() < 0 < lead.max():
            axes.contour(
                plane.across, plane.up, lead, levels=[0], colors=INK, linewidths=1.6, linestyles="-", zorder=2
            ).set_gid("decision")


def _scatter(axes: Axes, points: Array, labels: NDArray[np.int64], answers: NDArray[Any], names: Sequence[str]) -> None:
    for k, name in enumerate(names):
        right, wrong = (points[(labels == k) & ((answers == k) == flag)] for flag in (True, False))
        marker = MARKERS[(k + k // len(COLORS)) % len(MARKERS)]  # no two classes with both in common, up to 36
        look: dict[str, Any] = {"linestyle": "", "marker": marker, "color": COLORS[k % len(COLORS)]}
        axes.plot(*right.T, markersize=6, markeredgecolor="white", markeredgewidth=0.7, zorder=3, label=name, **look)
        axes.plot(*wrong.T, markersize=7.5, markeredgecolor=INK, markeredgewidth=1.8, zorder=4, gid="wrong", **look)


def _entries(axes: Axes, logits: Array, threshold: float, mistakes: bool, names: Sequence[str]) -> list[Any]:
    """What is what, and what is not to be seen: where no line crosses the picture it is said which side this is."""
    from matplotlib.lines import Line2D

    handles, _ = axes.get_legend_handles_labels()
    entries: list[Any] = list(handles)
    if mistakes:
        look: dict[str, Any] = {"marker": "o", "markersize": 7.5, "markerfacecolor": "white", "markeredgecolor": INK}
        entries.append(Line2D([], [], linestyle="", markeredgewidth=1.8, label="on the wrong side", **look))
    if any(artist.get_gid() == "decision" for artist in axes.collections):
        label = f"probability {threshold:g}" if len(names) == 2 else "boundary"
        entries.append(Line2D([], [], color=INK, linewidth=2, label=label))
    else:
        middle = logits.reshape(-1, logits.shape[-1])[len(logits) // 2]
        answer = int(middle[1] - middle[0] > _logit(threshold)) if len(names) == 2 else int(middle.argmax())
        entries.append(Line2D([], [], linestyle="", label=f"all of this is {names[answer]}"))
    return entries
