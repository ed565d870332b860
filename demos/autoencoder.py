"""The 3-2-3 autoencoder of the notes: three numbers go through two, which turn out to be known ones.

The notes' autoencoder has its input as its target, the identity as its output function, and the cost C = (x^ - x)^2.
Here its hidden layer is linear as well. Then the two numbers are coordinates in the plane that lies closest to the
data, that of the first two principal components, and the cost that remains is the third eigenvalue of the covariance
(Baldi and Hornik, "Neural networks and principal component analysis", Neural Networks 2, 1989). Run it by
`python -m demos.autoencoder`.
"""

from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
import nn
from demos._drawing import BLUE, GREEN, GREY, INK, QUIET, VERMILLION, picture

DATA = Path(__file__).parent / "data" / "iris.csv"
Array = NDArray[Any]


class Result(NamedTuple):
    """What the demo found.

    The last cost and the third eigenvalue; the sine of the largest angle between the plane learnt and that of the
    principal components; the largest difference between autograd and the closed form from delta = 2 (x^ - x); the
    picture.
    """

    cost: float
    eigenvalue: float
    sine: float
    difference: float
    files: list[Path]


def main(out: str | PathLike[str] = "out", seed: int = 0, epochs: int = 1000) -> Result:
    """Train it on three measurements of 150 iris flowers, and hold it against the principal components.

    Notes
    -----
    MEASURE
    """
    table = nn.data.read_csv(DATA, target="species")
    (X,) = nn.data.standardize(
        table.X[:, :3]
    )  # (150, 3): sepal length and width, petal length; the species it never sees
    model = nn.MLP(3, [2, 3], activation="identity", rng=seed)
    loss = nn.MSELoss(reduction="batchmean")  # C = sum over the three numbers of (x^ - x)^2, mean over the flowers
    loss(model(mg.Tensor(X)), X).backward()
    closed = nn.closed_form.gradients(model, X, X, loss)  # the notes' backpropagation, from delta = 2 (x^ - x)
    difference = max(float(abs(p.grad - closed[name]).max()) for name, p in model.named_parameters())
    print(f"autograd and delta = 2 (x^ - x), carried back by hand, differ by {difference:.0e}\n")

    optimizer = nn.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    history = nn.fit(model, (X, X), loss, optimizer, epochs=epochs, progress=False)

    eigenvalues, components = np.linalg.eigh(np.cov(X.T, bias=True))  # in ascending order; components in columns
    W1, b1, W2, _ = (p.detach().numpy() for p in model.parameters())
    plane, _ = np.linalg.qr(W2)  # (3, 2): x^ = W2 h + b2 runs over the plane that W2's columns span
    sine = float(np.linalg.norm(components[:, 0] @ plane))  # how far the third component's axis leans into it
    with mg.no_grad():
        cost = loss(model(mg.Tensor(X)), X).item()
    print(f"cost in epoch 1                     {history.loss[0]:.10f}")
    print(f"cost after epoch {epochs:<19}{cost:.10f}")
    print(f"third eigenvalue of the covariance  {eigenvalues[0]:.10f}")
    print(f"angle between the two planes        {np.degrees(np.arcsin(sine)):.1e} degrees")
    species = [table.classes["species"][index] for index in table.Y]
    H = X @ W1.T + b1  # (150, 2), the two numbers
    axes = W1 @ components[:, :0:-1] * np.sqrt(eigenvalues[:0:-1])  # (2, 2): where the components lie among them
    files = picture(
        Path(out) / "autoencoder", 11, 4.8,
        lambda figure: draw(figure, history.loss, eigenvalues[0], H, axes, species),
    )  # fmt: skip
    return Result(cost, float(eigenvalues[0]), sine, difference, files)


def draw(figure: Any, losses: list[float], floor: float, H: Array, components: Array, species: list[str]) -> None:
    """The cost on its way to the eigenvalue, and the plane of the two numbers, with the principal components in it."""
    left, right = figure.subplots(1, 2, width_ratios=(1, 1.1))
    losses = losses[:200]
    left.semilogy(range(1, len(losses) + 1), losses, color=BLUE)
    left.axhline(floor, color=GREY, linewidth=1.5, linestyle=":")
    left.text(
        len(losses),
        0.92 * floor,
        rf"third eigenvalue of the covariance, {floor:.4f}",
        color=QUIET,
        ha="right",
        va="top",
    )
    left.set(title="Learning to give back the input", xlabel="epoch", ylabel=r"$C$, the mean of $\|\hat x - x\|^2$")
    left.set(ylim=(floor / 2, 1.5 * max(losses)), yticks=(0.1, 1), yticklabels=("0.1", "1"))

    for name, marker, color in zip(dict.fromkeys(species), "os^", (BLUE, VERMILLION, GREEN), strict=True):
        h1, h2 = H[[kind == name for kind in species]].T
        right.plot(h1, h2, marker, color=color, markersize=6.5, markeredgecolor="white", label=name)
    for name, axis in zip(("1st", "2nd"), components.T, strict=True):
        right.annotate("", 2 * axis, -2 * axis, arrowprops={"arrowstyle": "<|-|>", "color": INK, "linewidth": 1.5})
        right.annotate(
            f"{name} component", 2 * axis, 8 * np.sign(axis), textcoords="offset points",
            ha="left" if axis[0] > 0 else "right", va="center",
        )  # fmt: skip
    right.set(title="150 irises by the two numbers in the middle", xlabel="$h_1$", ylabel="$h_2$")
    right.margins(0.15)
    figure.legend(title="species (not shown to it)", loc="outside right center", handletextpad=0.2)


if __name__ == "__main__":
    main()
