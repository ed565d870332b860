"""Two networks, each with its backward pass as a page to be stepped through in a browser.

Run it by `python -m demos.page`; it writes into `out/`. Open a page, and press the right arrow.
"""

from os import PathLike
from pathlib import Path
from typing import NamedTuple

import numpy as np

import microgrid as mg
import viz


class Result(NamedTuple):
    """The pages, and the tapes that they show."""

    pages: dict[Path, viz.Page]
    tapes: list[mg.Tape]


def main(out: str | PathLike[str] = "out") -> Result:
    """Write the pages into the folder `out`."""
    tapes = [neurons(), arrays()]
    pages = {}
    for name, tape in zip(("neurons", "arrays"), tapes, strict=True):
        path = Path(out) / f"steps-{name}.html"
        pages[path] = page = viz.page(tape, path)
        print(f"{path}: {page.title}, {page.steps} steps; {path.name}#{page.steps // 2} is the middle")
    return Result(pages, tapes)


def neurons() -> mg.Tape:
    """Two inputs, two hidden neurons and an output, written out: every number is a node."""
    x1, x2, y = 0.5, -1.0, 1.0  # a sample, and what the output should be

    w11, w12, b1 = mg.Value(0.1), mg.Value(-0.4), mg.Value(0.2)
    w21, w22, b2 = mg.Value(0.7), mg.Value(0.3), mg.Value(-0.1)
    v1, v2, c = mg.Value(0.6), mg.Value(-0.5), mg.Value(0.05)

    z1 = w11 * x1 + w12 * x2 + b1
    z2 = w21 * x1 + w22 * x2 + b2
    a1 = mg.sigmoid(z1)
    a2 = mg.sigmoid(z2)
    z = v1 * a1 + v2 * a2 + c
    a = mg.sigmoid(z)
    C = -(y * mg.log(a) + (1 - y) * mg.log(1 - a))  # binary cross-entropy

    return mg.record(C, params={name: node for name, node in locals().items() if isinstance(node, mg.Node)})


def arrays() -> mg.Tape:
    """The same in arrays, of a batch of four samples: every layer is a few nodes."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(4, 2)), np.array([[0.0], [1.0], [1.0], [0.0]])

    W1, b1 = mg.Tensor(rng.normal(size=(2, 2)), requires_grad=True), mg.Tensor(np.zeros(2), requires_grad=True)
    W2, b2 = mg.Tensor(rng.normal(size=(1, 2)), requires_grad=True), mg.Tensor(np.zeros(1), requires_grad=True)

    Z1 = X @ W1.T + b1
    A1 = mg.sigmoid(Z1)
    Z2 = A1 @ W2.T + b2
    A2 = mg.sigmoid(Z2)
    C = -(Y * mg.log(A2) + (1 - Y) * mg.log(1 - A2)).mean()

    return mg.record(C, params={name: node for name, node in locals().items() if isinstance(node, mg.Node)})


if __name__ == "__main__":
    main()
