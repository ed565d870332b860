"""The one style of all plots, the figure they are drawn on, and how it is saved.

matplotlib (extra `plots`) is loaded only when something is plotted, and pyplot, whose global state is the user's, not
at all. The colours are those of Okabe and Ito, "Color Universal Design" (2008), which the colour-blind tell apart. They
fill and line; text is `INK` on white or on a `tint`, or `QUIET` on white, with a contrast of at least 7:1 (WCAG 2.1).
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from io import BytesIO
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeGuard, cast

import microgrid as mg
from viz.files import write
from viz.words import clipped, visible

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__microgrid_machinery__ = True

BLUE, VERMILLION, GREEN, ORANGE, PURPLE, SKY = "#0072b2", "#d55e00", "#009e73", "#e69f00", "#cc79a7", "#56b4e9"
COLORS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
MARKERS = ("o", "s", "^", "D", "v", "P")  # beside the colours, for those who see none
STROKES: tuple[Any, ...] = ("-", "--", "-.", ":", (0, (6, 1.5, 1.5, 1.5, 1.5, 1.5)), (0, (10, 2)))
INK, QUIET, ALARM = "#1a1a1a", "#4d4d4d", "#8c0019"  # text, less important text, what is wrong
GREY, PALE = "#8c8c8c", "#e3e3e3"  # axes, grids
DEEPEST = 0.5  # of the way from white to a colour: INK on it has a contrast above 7:1

STYLE: dict[str, Any] = {
    "font.size": 10.5,
    "text.color": INK,
    "axes.titlesize": 12,
    "axes.titlepad": 10,
    "axes.titlecolor": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": GREY,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.unicode_minus": True,
    "grid.color": PALE,
    "grid.linewidth": 0.7,
    "xtick.color": GREY,
    "ytick.color": GREY,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "lines.linewidth": 2.0,
    "lines.scale_dashes": False,
    "legend.frameon": False,
    "legend.handlelength": 2.6,
    "figure.constrained_layout.w_pad": 0.08,
    "figure.constrained_layout.h_pad": 0.08,
    "svg.hashsalt": "microgrid",  # ids from a fixed salt and, below, no date: the same bytes on every run
    "svg.fonttype": "path",  # text looks alike everywhere, whatever fonts are there
}
UNDATED: dict[str, dict[str, Any]] = {
    ".svg": {"Date": None}, ".png": {"Software": None}, ".pdf": {"CreationDate": None}
}  # fmt: skip
DPI = 160
SIDES: tuple[Literal["left", "center", "right"], ...] = ("left", "center", "right")  # of a title


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's settings are ours inside, whatever the user's are, and the user's again afterwards."""
    import matplotlib

    # Not style.context(..., after_reset=True): that reads all style files of the machine.
    defaults = {key: value for key, value in matplotlib.rcParamsDefault.items() if not key.startswith("backend")}
    settings: dict[Any, Any] = {**defaults, **STYLE}
    with matplotlib.rc_context(settings):
        yield


def drawing(
    who: str, ax: Axes | None, width: float, height: float, *, to_scale: bool = False
) -> AbstractContextManager[Axes]:
    """The axes to draw in, in the one style: the user's, or those of a new figure of so many inches.

    They get what titles and labels leave of it; `to_scale`, all but half an inch for the title.
    """
    require(who)
    if ax is not None and not hasattr(ax, "transData"):
        raise TypeError(f"{who}: ax must be matplotlib's Axes, got {type(ax).__name__}, at {mg.sites.here()}")
    return _axes(ax, width, height, to_scale)


@contextmanager
def _axes(ax: Axes | None, width: float, height: float, to_scale: bool) -> Iterator[Axes]:
    with style():
        if ax is not None:
            yield ax
        elif to_scale:
            yield new(width, height, layout=None).add_axes((0.0, 0.0, 1.0, 1 - 0.5 / height))
        else:
            yield new(width, height).add_subplot()


def new(width: float, height: float, layout: Literal["constrained"] | None = "constrained") -> Figure:
    """An empty figure of so many inches, which belongs to nobody else."""
    from viz.plots.shown import Shown

    return Shown(figsize=(width, height), layout=layout)


def figure_of(ax: Axes) -> Figure:
    """The figure that axes are part of, directly or in a subfigure."""
    from matplotlib.figure import Figure

    part: Any = ax.get_figure()
    while not isinstance(part, Figure):
        part = part.get_figure()
    return part


def dress(ax: Axes, *, grid: str = "") -> None:
    """Axes in the one style, also those that the user made in another: no box, quiet ticks, a grid along x, y, both."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set_color(GREY)
    ax.tick_params(which="both", color=GREY, labelcolor=INK)  # ticks are made late, outside of our settings
    ax.set_axisbelow(True)
    if grid:
        ax.grid(True, which="major", axis=cast(Any, grid), color=PALE, linewidth=0.7)


def legend_below(ax: Axes, entries: list[Any], *, own: bool) -> None:
    """What is what, under the picture: of the whole figure where it is our own, else of the axes alone."""
    look: dict[str, Any] = {
        "ncols": min(len(entries), 4 if own else 2), "columnspacing": 1.4, "handlelength": 1.6, "handletextpad": 0.5,
        "labelcolor": INK, "frameon": False,
    }  # fmt: skip
    if own:
        figure_of(ax).legend(handles=entries, loc="outside lower center", **look)
    else:
        ax.legend(handles=entries, loc="upper center", bbox_to_anchor=(0.5, -0.18), fontsize=9, **look)


def plain(text: str) -> str:
    r"""A user's name as it is: no formula between dollars, and none that a legend leaves out, as it does `_x`.

    Examples
    --------
    >>> print(plain("a$b$"))
    a\$b\$
    """
    name = clipped(visible(text)).replace("$", r"\$")
    return f"\N{WORD JOINER}{name}" if name.startswith("_") else name  # of no width


def tint(color: str, strength: float = 1.0) -> tuple[float, float, float]:
    """A colour mixed with white, for what stands under text: strength 0 is white, 1 the deepest."""
    share = DEEPEST * strength
    red, green, blue = (1 - share + share * int(color[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def shades(below: str = VERMILLION, above: str = BLUE) -> Any:
    """A colour map from one tint over white to another."""
    from matplotlib.colors import LinearSegmentedColormap

    return LinearSegmentedColormap.from_list("shades", [tint(below), (1.0, 1.0, 1.0), tint(above)])


def save(figure: Figure, path: str | PathLike[str]) -> Path:
    """Write a figure, as `viz.save` does; `.svg`, `.png` or `.pdf`, the same bytes for the same figure."""
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix not in UNDATED:
        raise ValueError(f"save: {path.name!r} ends in none of {', '.join(UNDATED)}, at {mg.sites.here()}")
    return write(path, rendered(figure, suffix))


def rendered(figure: Figure, suffix: str) -> bytes:
    """The bytes of the file."""
    buffer = BytesIO()
    title = " · ".join(
        filter(None, (ax.get_title(loc=side) for ax in figure.axes for side in SIDES))
    )  # what a screen reader says
    with style(), _unmoved(figure):
        figure.savefig(buffer, format=suffix[1:], dpi=DPI, metadata={"Title": title or "figure", **UNDATED[suffix]})
    return buffer.getvalue()


@contextmanager
def _unmoved(figure: Figure) -> Iterator[None]:
    """Axes stand afterwards where they stood: the layout starts from there, and would end elsewhere the second time."""
    places = [(ax, ax.get_position(original=True).frozen(), ax.get_in_layout()) for ax in figure.axes]
    yield
    for ax, place, in_layout in places:
        ax.set_position(place)
        ax.set_in_layout(in_layout)  # which a position that is set would end


def is_figure(thing: object) -> TypeGuard[Figure]:
    """Whether it is matplotlib's; without loading matplotlib to say no."""
    loaded = sys.modules.get("matplotlib.figure")
    return loaded is not None and isinstance(thing, loaded.Figure)


def require(who: str) -> None:
    """Say what to install where matplotlib is missing."""
    try:
        importlib.import_module("matplotlib")
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"viz.{who} draws with matplotlib, which is not installed: pip install 'microgrid[plots]'",
            name="matplotlib",
        ) from error
