"""Learning rates that overshoot: above 2 / lambda gradient descent climbs.

lambda is the largest eigenvalue of the Hessian. On a bowl C = v^T H v / 2 a step multiplies the part of v along its
eigenvector by 1 - eta lambda, which is between -1 and 1 for eta < 2 / lambda, and beyond -1 above. A sigmoid neuron's
cost is no such bowl, but looks like one near its minimum: there, too, a rate above 2 / lambda drives the steps away,
into a cycle around the minimum. (One of the notes has small rates against over-fitting; they are against this.) Run it
by `python -m demos.learning_rates`.
"""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
import nn
from demos._drawing import BLUE, GREEN, GREY, INK, VERMILLION, picture

Array = NDArray[Any]
Cost = Callable[[Any], mg.Tensor]

SHARES = (0.5, 0.95, 1.05)  # the learning rates tried, as shares of 2 / lambda
LOOKS = ((GREEN, "^", (0, (7, 2, 2, 2))), (BLUE, "o", "-"), (VERMILLION, "s", (0, (7, 3))))

H = np.array([[1.0, 1.0], [1.0, 3.0]])  # the bowl: its eigenvalues are 2 - sqrt 2 and 2 + sqrt 2
x = np.array([0.0, 1.0, 2.0, 3.0, 4.0])  # the neuron's data: no threshold parts these labels,
y = np.array([0.0, 1.0, 0.0, 1.0, 1.0])  # so that the minimum is at a finite w and b


class Result(NamedTuple):
    """What the demo found: lambda, and by the shares of 2 / lambda the heights above the minimum, a step an entry."""

    bowl_eigenvalue: float
    bowl: dict[float, list[float]]
    neuron_eigenvalue: float
    neuron: dict[float, list[float]]
    files: list[Path]


def main(out: str | PathLike[str] = "out") -> Result:
    """Descend on the bowl and on the neuron's cost, at three rates each."""
    print("a bowl")
    bowl_eigenvalue = curvature(bowl, np.zeros(2))
    paths = descents(bowl, np.array([-1.8, 1.2]), bowl_eigenvalue, steps=60)
    bowl_heights = heights(bowl, paths, np.zeros(2))

    print("\none sigmoid neuron, five samples, from close to its minimum")
    bottom = minimum(neuron, np.zeros(2))
    neuron_eigenvalue = curvature(neuron, bottom)
    neuron_paths = descents(neuron, bottom + np.array([0.1, -0.1]), neuron_eigenvalue, steps=200)
    neuron_heights = heights(neuron, neuron_paths, bottom)
    files = picture(
        Path(out) / "learning_rates", 11, 7.6, lambda figure: draw(figure, paths, bowl_heights, neuron_heights)
    )
    return Result(bowl_eigenvalue, bowl_heights, neuron_eigenvalue, neuron_heights, files)


def bowl(v: Any) -> mg.Tensor:
    """C = v^T H v / 2."""
    cost: mg.Tensor = mg.sum(v * (H @ v)) / 2
    return cost


def neuron(v: Any) -> mg.Tensor:
    """The mean binary cross-entropy of a = sigmoid(w x + b), with v = (w, b)."""
    return nn.binary_cross_entropy_with_logits(v[0] * x + v[1], y)


def curvature(cost: Cost, v: Array) -> float:
    """lambda: the largest eigenvalue of the cost's Hessian at v."""
    return float(np.linalg.eigvalsh(mg.hessian(cost)(v))[-1])


def minimum(cost: Cost, v: Array) -> Array:
    """Where the gradient is 0, by Newton's method."""
    gradient, hessian = mg.value_and_grad(cost), mg.hessian(cost)
    for _ in range(10):
        v = v - np.linalg.solve(hessian(v), gradient(v)[1])
    return v


def descents(cost: Cost, start: Array, eigenvalue: float, steps: int) -> dict[float, Array]:
    """The points that gradient descent passes, of shape (steps + 1, 2), by the share of 2 / lambda that eta is."""
    paths = {}
    print(f"lambda = {eigenvalue:.4f}, 2 / lambda = {2 / eigenvalue:.4f}")
    for share in SHARES:
        v = mg.Tensor(start, requires_grad=True)
        optimizer = nn.optim.SGD([v], lr=share * 2 / eigenvalue)
        path = [start]
        for _ in range(steps):
            optimizer.zero_grad()
            cost(v).backward()
            optimizer.step()
            path.append(v.detach().numpy())
        paths[share] = np.array(path)
        first, last = cost(start).item(), cost(path[-1]).item()
        print(f"  eta = {share:.2f} x 2 / lambda = {share * 2 / eigenvalue:.4f}: C from {first:.4f} to {last:.4g}")
    return paths


def heights(cost: Cost, paths: dict[float, Array], bottom: Array) -> dict[float, list[float]]:
    """How far the cost is above its minimum, step by step."""
    lowest = cost(bottom).item()
    return {share: [cost(v).item() - lowest for v in path] for share, path in paths.items()}


def draw(
    figure: Any, paths: dict[float, Array], bowl_heights: dict[float, list[float]],
    neuron_heights: dict[float, list[float]],
) -> None:  # fmt: skip
    """The first steps in the bowl, seen from above, and below them the costs over the steps."""
    names = [rf"$\eta = {share:.2f} \cdot 2/\lambda$" for share in SHARES]
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.15))
    ticks = np.linspace(-2.2, 2.2, 221)
    v1, v2 = np.meshgrid(ticks, ticks[35:-35])  # (151, 221) each
    C = (H[0, 0] * v1**2 + 2 * H[0, 1] * v1 * v2 + H[1, 1] * v2**2) / 2
    rings = above.subplots(1, 3, sharey=True)
    for axes, path, name, (color, marker, _) in zip(rings, paths.values(), names, LOOKS, strict=True):
        axes.contour(v1, v2, C, levels=0.08 * np.arange(1, 9) ** 2, colors=GREY, linewidths=0.6)
        axes.plot(*path[:11].T, marker=marker, color=color, markersize=5, linewidth=1.4)
        axes.plot(0, 0, "+", color=INK, markersize=11, markeredgewidth=1.8)
        axes.set(title=name, xlabel="$v_1$", aspect="equal")
    rings[0].set_ylabel("$v_2$")
    above.suptitle("Ten steps in a bowl, seen from above", fontsize=12)

    left, right = below.subplots(1, 2)
    for axes, costs, title in ((left, bowl_heights, "The bowl"), (right, neuron_heights, "One sigmoid neuron")):
        for curve, name, (color, _, line) in zip(costs.values(), names, LOOKS, strict=True):
            axes.semilogy(np.maximum(curve[:61], 1e-18), linestyle=line, color=color, label=name)
        axes.set(title=title, xlabel="step of gradient descent", ylabel="cost above its minimum")
        axes.set(xlim=(0, 60), ylim=(1e-7, None))
        axes.grid(True)
    right.text(30, 3e-2, "a cycle of two, around the minimum", color=VERMILLION, ha="center")
    right.set(ylim=(1e-7, 0.1))
    below.legend(*left.get_legend_handles_labels(), loc="outside lower center", ncols=3)


if __name__ == "__main__":
    main()
