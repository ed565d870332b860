"""Curves of a training, by matplotlib (extra `plots`), which is loaded only when something is plotted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import Any

import microgrid as mg
from viz.files import write

__microgrid_machinery__ = True

CURVES = {"loss": "training", "validation_loss": "validation"}
STYLES = ("-", "--", "-.", ":")  # told apart without colour, too


def curves(history: Any, path: str | PathLike[str], *, title: str = "", ylabel: str = "loss") -> Path:
    """Draw the losses of a training over its epochs.

    Parameters
    ----------
    history : History, or mapping of str to sequence of float
        What `nn.fit` returns (whatever has `loss` and, perhaps, `epoch`, `validation_loss`, `best_epoch`), or curves
        by name, an epoch an entry.
    path : str or path
        Ends in `.svg`, `.png` or `.pdf`. An old file is replaced when the new one is complete.
    title, ylabel : str

    Returns
    -------
    pathlib.Path
        The file, with the same bytes for the same history.

    Raises
    ------
    ModuleNotFoundError
        If matplotlib is not installed.
    ValueError
        If there is nothing to draw, or for another suffix.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     curves({"SGD": [1.0, 0.5, 0.4], "Adam": [1.0, 0.3, 0.2]}, f"{folder}/losses.svg").name
    'losses.svg'
    """
    path = Path(path)
    drawn = _curves(history)
    if not any(map(len, drawn.values())):
        raise ValueError(f"curves: the history is empty: nothing to draw, at {mg.sites.here()}")
    if path.suffix.lower() not in (".svg", ".png", ".pdf"):
        raise ValueError(f"curves: {path.name!r} ends in none of .svg, .png, .pdf, at {mg.sites.here()}")
    try:
        import matplotlib
        from matplotlib.figure import Figure  # not pyplot, whose global state would be the user's
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "viz.curves draws with matplotlib, which is not installed: pip install 'microgrid[plots]'",
            name="matplotlib",
        ) from error
    figure = Figure(figsize=(6.4, 4.0), layout="constrained")
    _draw(figure.add_subplot(), drawn, getattr(history, "best_epoch", None), title, ylabel)
    buffer = BytesIO()
    # Ids from a fixed salt and no date: the same bytes on every run.
    with matplotlib.rc_context({"svg.hashsalt": "microgrid", "svg.fonttype": "none"}):
        dated = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
        suffix = path.suffix.lower()
        figure.savefig(buffer, format=suffix[1:], dpi=160, metadata=dated.get(suffix))
    return write(path, buffer.getvalue())


def _curves(history: Any) -> dict[str, Sequence[float]]:
    if isinstance(history, Mapping):
        return dict(history)
    return {label: column for name, label in CURVES.items() if (column := getattr(history, name, []))}


def _draw(axes: Any, drawn: dict[str, Sequence[float]], best: int | None, title: str, ylabel: str) -> None:
    from matplotlib.ticker import LogLocator, MaxNLocator

    for number, (label, column) in enumerate(drawn.items()):
        epochs = range(1, len(column) + 1)
        axes.plot(epochs, column, STYLES[number % len(STYLES)], label=label, color=f"C{number}", linewidth=1.8)
    if best is not None:
        axes.axvline(best, color="0.35", linewidth=1, linestyle=":", label=f"best epoch, {best}")
    numbers = [y for column in drawn.values() for y in column]
    if min(numbers) > 0 and max(numbers) > 10 * min(numbers):
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.yaxis.set_major_formatter("{x:g}")
        axes.yaxis.set_minor_formatter("")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="epoch", ylabel=ylabel, title=title)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, which="both", color="0.9", linewidth=0.6)
    axes.legend(frameon=False)
