"""The cliff at z = 36.7, over which the chain rule falls, and the fused loss does not.

Three ways lead to dC/dZ, which in exact arithmetic are one: the chain C <- A <- Z, the shortcut A - Y, and the loss
that takes the logits Z themselves. In floating point A = 1 / (1 + e^-Z) rounds to 1 where e^-Z is at most 2^-53, half
the distance from 1 to the next number, that is from Z = 53 ln 2 on; and to 0 where e^-Z overflows, below -ln(1.8e308).
Beyond either the chain multiplies infinity, or 0 / 0, by A (1 - A) = 0, and A - Y for Y = 1 has lost its digits on the
way. Run it by `python -m demos.cliff`.
"""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
import nn
from demos._drawing import BLUE, GREEN, GREY, PALE, QUIET, VERMILLION, picture

Array = NDArray[Any]
WAYS = {"chain": "the chain rule, by BCELoss", "closed": "A - Y", "fused": "fused, by BCEWithLogitsLoss"}


class Result(NamedTuple):
    """What the demo found.

    `edges` has, for each dtype, the least and the largest z at which the chain is finite; `errors` the largest relative
    errors of each way for -700 <= z <= 36, and `beyond` those for 37 <= z <= 700, where y = 0 and where y = 1.
    """

    edges: dict[str, tuple[float, float]]
    errors: dict[str, tuple[float, float]]
    beyond: dict[str, tuple[float, float]]
    files: list[Path]


def main(out: str | PathLike[str] = "out") -> Result:
    """Find the edges of the cliff by bisection, measure the errors on both sides, and draw them."""
    edges = {}
    print("the chain gives a number for z from         to; further out A rounds to 0, or to 1")
    for dtype in (np.float64, np.float32):
        limits = np.finfo(dtype)
        low, high = (float(edge(chain_is_finite, dtype(0), dtype(end))) for end in (-1000, 1000))
        edges[limits.dtype.name] = low, high
        print(f"  {limits.dtype.name}   {low:9.4f} = -ln({limits.max:.1e})   {high:.4f} = {limits.nmant + 1} ln 2")

    errors, beyond = {}, {}
    print("\nlargest relative error for           -700 <= z <= 36   37 <= z <= 700")
    near, far = np.linspace(-700, 36, 7361), np.linspace(37, 700, 6631)
    for way, label in WAYS.items():
        errors[way] = largest_error(way, 0.0, near), largest_error(way, 1.0, near)
        beyond[way] = largest_error(way, 0.0, far), largest_error(way, 1.0, far)
        for y in (0, 1):
            print(f"  y = {y}, {label:28} {errors[way][y]:14.1e} {beyond[way][y]:16.1e}")
    files = picture(Path(out) / "cliff", 11, 7.4, draw)
    return Result(edges, errors, beyond, files)


def gradient(way: str, y: float, z: Array) -> Array:
    """dC/dz at each z, for the label y, in one of the three ways."""
    Z = mg.Tensor(z, requires_grad=True)
    Y = np.full_like(z, y)
    A = mg.sigmoid(Z)
    if way == "closed":
        return np.asarray(A.detach().numpy() - Y)
    C = nn.BCELoss(reduction="sum")(A, Y) if way == "chain" else nn.BCEWithLogitsLoss(reduction="sum")(Z, Y)
    C.backward()
    return np.asarray(Z.grad)


def chain_is_finite(z: Any) -> bool:
    """Whether the chain gives a number at z, for both labels."""
    return all(np.isfinite(gradient("chain", y, np.array([z]))).all() for y in (0.0, 1.0))


def edge(holds: Callable[[Any], bool], inside: Any, outside: Any) -> Any:
    """The last number at which it holds, on the way from one where it does to one where it does not."""
    while (middle := (inside + outside) / 2) not in (inside, outside):  # until they are neighbours
        if holds(middle):
            inside = middle
        else:
            outside = middle
    return inside


def largest_error(way: str, y: float, z: Array) -> float:
    """The largest relative error; nan where a gradient is nan."""
    return float(relative_error(way, y, z).max())


def relative_error(way: str, y: float, z: Array) -> Array:
    """Against sigmoid(z), or for y = 1 against -sigmoid(-z): no difference of neighbours, and longer numbers."""
    sign = np.longdouble(1 - 2 * y)
    exact = sign / (1 + np.exp(-sign * z.astype(np.longdouble)))
    return np.asarray(abs(gradient(way, y, z) - exact) / abs(exact), float)


def draw(figure: Any) -> None:
    """The three gradients from -800 to 800, for both labels, and their errors near the upper edge."""
    panels = figure.subplot_mosaic([["y = 0", "y = 1"], ["errors", "errors"]], height_ratios=(1, 1.15))
    low, high = (edge(chain_is_finite, 0.0, end) for end in (-1000.0, 1000.0))
    looks = {
        "fused": {"color": GREEN, "linewidth": 7, "alpha": 0.4, "solid_capstyle": "butt"},
        "closed": {"color": BLUE, "linewidth": 2.8, "linestyle": (0, (11, 5))},
        "chain": {"color": VERMILLION, "linewidth": 1.6},
    }
    z = np.union1d(np.linspace(-800, 800, 1601), [*np.linspace(-10, 10, 201), low, high])
    for y in (0.0, 1.0):
        axes = panels[f"y = {y:g}"]
        for way, look in looks.items():
            axes.plot(z, gradient(way, y, z), label=WAYS[way], **look)
        axes.plot([low, high], gradient("chain", y, np.array([low, high])), "o", color=VERMILLION)
        axes.axvspan(-800, low, color=PALE, alpha=0.6, linewidth=0)
        axes.axvspan(high, 800, color=PALE, alpha=0.6, linewidth=0)
        axes.text(low + 15, 0.5 - y, f"$\\leftarrow$ chain: nan\n     below {low:.2f}", va="center", color=VERMILLION)
        axes.text(high + 15, 0.5 - y, f"chain: nan above {high:.2f}", va="center", color=VERMILLION)
        axes.set(title=f"The gradient for $y = {y:g}$", xlabel="logit $z$", ylabel=r"$\partial C/\partial z$")
        axes.set(xlim=(-800, 800), yticks=(-y, 0.5 - y, 1 - y))

    axes = panels["errors"]
    z = np.linspace(-5, 45, 5000, endpoint=False)
    parts = z.reshape(200, 25)
    for way, look in looks.items():
        largest = relative_error(way, 1.0, z).reshape(parts.shape).max(axis=1)
        axes.semilogy(parts.mean(axis=1), largest, **look)
    axes.text(18.5, 1e-10, "grows as $2^{-53} / e^{-z}$", color=QUIET)
    axes.axvspan(high, 45, color=PALE, alpha=0.6, linewidth=0)
    axes.text((high + 45) / 2, 1e-8, "chain: nan\n$A - Y = 0$", ha="center", va="center", color=VERMILLION)
    axes.annotate(
        rf"$z = 53\,\ln 2 = {high:.4f}$: $A$ rounds to 1", (high, 1e-13), (high - 1.2, 1e-13), ha="right", va="center",
        arrowprops={"arrowstyle": "-|>", "color": GREY},
    )  # fmt: skip
    axes.set(
        title="The digits of $1 - A$, known to $2^{-53}$, run out on the way ($y = 1$)", xlabel="logit $z$",
        ylabel="relative error of the gradient", xlim=(-5, 45), ylim=(1e-17, 10),
        yticks=[1e-16, 1e-12, 1e-8, 1e-4, 1],
    )  # fmt: skip
    figure.legend(*panels["y = 0"].get_legend_handles_labels(), loc="outside lower center", ncols=3)


if __name__ == "__main__":
    main()
