"""Confusion matrices: which class was taken for which, and how often."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from viz.plots.figures import BLUE, INK, QUIET, VERMILLION, drawing, figure_of, plain, tint
from viz.words import given

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__microgrid_machinery__ = True

Counts = NDArray[np.int64]


def confusion(
    input: Any,  # noqa: A002 - torch's name, as in nn.metrics.confusion_matrix
    target: Any = None,
    *,
    classes: Sequence[str] | None = None,
    title: str | None = None,
    ax: Axes | None = None,
) -> Figure:
    """Draw which class was taken for which: a row for each true class, a column for each answer.

    A cell holds its count. Its shade is the share of its row: blue on the diagonal, where the answer is right,
    vermillion elsewhere. On the right margin stands the share of each class that was found.

    Parameters
    ----------
    input : array_like
        A matrix of counts, of shape (K, K), as `nn.metrics.confusion_matrix` gives it; or, with a target, the answered
        classes, of the shape of the target, or scores of shape (m, K), whose largest is the answer.
    target : array_like of shape (m,) or (m, 1), optional
        The true classes, 0 ... K - 1.
    classes : sequence of str, optional
        Their names.
    title : str, optional
        Otherwise how many of how many are right.
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
        If data are no numbers.
    ValueError
        If shapes do not fit, nothing is given, counts are negative or no integers, or something is no class.

    Examples
    --------
    >>> confusion([[5, 1], [0, 4]], classes=["ill", "well"]).axes[0].get_title()
    '9 of 10 right (90.0 %)'
    >>> figure = confusion([0, 1, 1, 2], [0, 0, 1, 2])
    """
    counts = _matrix(input) if target is None else _counted(input, target)
    K = len(counts)
    names = [str(k) for k in range(K)] if classes is None else [plain(str(name)) for name in classes]
    if len(names) != K:
        raise ValueError(f"confusion: {len(names)} names of classes, expected {K}, at {mg.sites.here()}")
    total = counts.sum(axis=1)
    shares = counts / np.maximum(total, 1)[:, np.newaxis]
    longest = max(map(len, names))
    side = 1.6 + K * (0.62 if K < 6 else 0.5) + 0.05 * longest
    with drawing("confusion", ax, side + 1.0 + 0.05 * longest, side + 0.35) as axes:
        colors = [[tint(BLUE if k == j else VERMILLION, share**0.5) for j, share in enumerate(row)]
                  for k, row in enumerate(shares)]  # fmt: skip
        axes.imshow(np.array(colors), gid="shares")  # square roots: so that one of a hundred shows
        size = 10.5 if K <= 12 else max(5.0, 126 / K)
        for (k, j), count in np.ndenumerate(counts):
            axes.text(
                j, k, f"{count:,}" if count else "·", ha="center", va="center_baseline", fontsize=size,
                weight="bold" if k == j else "normal", color=INK if count else QUIET,
            )  # fmt: skip
        margin: dict[str, Any] = {"textcoords": "offset points", "fontsize": min(size, 9.5), "color": QUIET}
        for k in range(K):
            found = _percent(shares[k, k]) if total[k] else "none"
            axes.annotate(found, (K - 0.5, k), xytext=(7, 0), va="center_baseline", **margin)
        axes.annotate("found", (K - 0.5, -0.5), xytext=(7, 4), va="bottom", **margin)
        _frame(axes, names, longest)
        right, everything = int(np.trace(counts)), int(counts.sum())
        said = f"{right:,} of {everything:,} right ({_percent(right / everything, 1)})"
        axes.set_title(said if title is None else title)
        return figure_of(axes)


def _percent(share: float, digits: int = 0) -> str:
    return f"{100 * share:.{digits}f} %"


def _frame(axes: Axes, names: Sequence[str], longest: int) -> None:
    """Names along both sides, and white lines between the cells."""
    K = len(names)
    axes.set_xticks(range(K), list(names), rotation=90 if longest > 4 and longest * K > 40 else 0)
    axes.set_yticks(range(K), list(names))
    axes.set_xticks(np.arange(K + 1) - 0.5, minor=True)
    axes.set_yticks(np.arange(K + 1) - 0.5, minor=True)
    axes.grid(True, which="minor", color="white", linewidth=1.5)
    axes.grid(False, which="major")
    axes.tick_params(which="both", length=0, labelcolor=INK)
    axes.spines[:].set_visible(False)
    axes.set(xlabel="answered", ylabel="true class")


def _numbers(what: str, data: Any) -> NDArray[np.float64]:
    try:
        return np.array(data._data if isinstance(data, mg.Node) else data, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"confusion: {what} must be numbers, got {given(data)}, at {mg.sites.here()}") from None


def _matrix(input: Any) -> Counts:  # noqa: A002
    matrix = _numbers("the matrix", input)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not matrix.size:
        raise ValueError(
            f"confusion: the matrix has shape {matrix.shape}, expected (K, K); of answers and true classes write "
            f"confusion(input, target), at {mg.sites.here()}"
        )
    if not (np.isfinite(matrix).all() and (matrix >= 0).all() and (matrix == np.rint(matrix)).all()):
        raise ValueError(
            f"confusion: the matrix must hold counts, integers of 0 or more, not shares, at {mg.sites.here()}"
        )
    if not matrix.any():
        raise ValueError(f"confusion: the matrix counts nothing, at {mg.sites.here()}")
    return matrix.astype(np.int64)


def _counted(input: Any, target: Any) -> Counts:  # noqa: A002
    """The matrix of answers and true classes."""
    answers, labels = _numbers("input", input), _numbers("target", target)
    K = 0
    if answers.ndim == 2 and answers.shape[1] > 1 and labels.shape in ((len(answers),), (len(answers), 1)):
        if np.isnan(answers).any():
            raise ValueError(f"confusion: the scores hold nan, at {mg.sites.here()}")
        K = answers.shape[1]
        answers = answers.argmax(axis=1).astype(float).reshape(labels.shape)
    if answers.shape != labels.shape or not labels.size:
        raise ValueError(
            f"confusion: input has shape {answers.shape}, target has shape {labels.shape}, expected equal shapes that "
            f"are not empty, or scores (m, K) and (m,), at {mg.sites.here()}"
        )
    top = K - 1 if K else np.inf
    for what, numbers in (("input", answers), ("target", labels)):
        odd = numbers[~(np.isfinite(numbers) & (numbers >= 0) & (numbers == np.rint(numbers)) & (numbers <= top))]
        if odd.size:
            raise ValueError(
                f"confusion: {what} holds {odd.flat[0]:g}, which is no class: expected integers from 0"
                f"{f' to {K - 1}' if K else ''}; of probabilities give (P > 0.5), at {mg.sites.here()}"
            )
    rows, columns = labels.ravel().astype(np.int64), answers.ravel().astype(np.int64)
    K = K or int(max(rows.max(), columns.max(), 1)) + 1
    counts: Counts = np.bincount(rows * K + columns, minlength=K * K).reshape(K, K).astype(np.int64)
    return counts
