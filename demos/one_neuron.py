"""One neuron by hand: every factor of dC/dw in numbers, beside autograd; then two in a row.

The notes' letters: inputs x and labels y of n samples, z = w x + b, q = sigmoid(z), and the cost is the mean binary
cross-entropy. What is left of the product of the three is dC/dw = mean((q - y) x). Run it by
`python -m demos.one_neuron`.
"""

from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from demos._drawing import BLUE, INK, QUIET, VERMILLION, picture

Array = NDArray[Any]

X, Y = [0.5, 1.5, -1.0, 2.0], [0.0, 1.0, 0.0, 1.0]
W, B = -0.8, 0.4


class Link(NamedTuple):
    """A link of the chain: its name, its value, and dC/d(it), by hand and by autograd."""

    name: str
    value: float
    by_hand: float
    by_autograd: float


class Result(NamedTuple):
    """What the demo found: the neuron's dC/dw and dC/db, each by hand and by autograd; the chain; the picture."""

    w_slope: tuple[float, float]
    b_slope: tuple[float, float]
    chain: list[Link]
    files: list[Path]


def main(out: str | PathLike[str] = "out") -> Result:
    """Work out both examples."""
    w_slope, b_slope = neuron()
    chain = two_in_a_row()
    files = picture(Path(out) / "one_neuron", 11, 7.4, lambda figure: draw(figure, w_slope[0], chain))
    return Result(w_slope, b_slope, chain, files)


def cost(w: Any, b: Any) -> Any:
    """C = -mean(y ln q + (1 - y) ln(1 - q))."""
    qs = [mg.sigmoid(w * x + b) for x in X]
    return sum(-(y * mg.log(q) + (1 - y) * mg.log(1 - q)) for q, y in zip(qs, Y, strict=True)) / len(X)


def neuron() -> tuple[tuple[float, float], tuple[float, float]]:
    """dC/dw and dC/db of one neuron on four samples."""
    x, y = np.array(X), np.array(Y)
    z = W * x + B
    q = 1 / (1 + np.exp(-z))
    dC_dq = -(y / q - (1 - y) / (1 - q))  # of each sample's own cost; the mean is taken at the end
    dq_dz = q * (1 - q)
    dz_dw = x
    products = dC_dq * dq_dz * dz_dw

    w, b = mg.Value(W), mg.Value(B)
    cost(w, b).backward()

    print(f"one neuron, w = {W}, b = {B}\n")
    print("    x   y        z        q     dC/dq  *  dq/dz  *  dz/dw  =  product  =  (q - y) x")
    for row in zip(x, y, z, q, dC_dq, dq_dz, dz_dw, products, (q - y) * x, strict=True):
        print("{:5.1f} {:3.0f} {:8.4f} {:8.4f}  {:8.4f}  {:8.4f}  {:7.1f}  {:11.4f}  {:11.4f}".format(*row))
    for name, mean, slope in (("w", products.mean(), w.grad), ("b", (dC_dq * dq_dz).mean(), b.grad)):
        print(f"dC/d{name}, the mean over the samples  {mean:.15f}\n      by autograd               {slope:.15f}")
    return (float(products.mean()), w.grad), (float((dC_dq * dq_dz).mean()), b.grad)


def two_in_a_row() -> list[Link]:
    """dC/dw2 through a3, z3, a2, z2, where a2 = sigmoid(w2 x + b2) enters z3 = w3 a2 + b3, on one sample."""
    x, y = 1.5, 1.0
    w2, b2, w3, b3 = mg.Value(0.7), mg.Value(-0.2), mg.Value(-1.2), mg.Value(0.5)
    z2 = w2 * x + b2
    a2 = mg.sigmoid(z2)
    z3 = w3 * a2 + b3
    a3 = mg.sigmoid(z3)
    C = -(y * mg.log(a3) + (1 - y) * mg.log(1 - a3))
    C.backward()

    factors = (
        ("C", C, "", 1.0),
        ("a3", a3, "dC/da3  = -y/a3 + (1-y)/(1-a3)", -y / a3.data + (1 - y) / (1 - a3.data)),
        ("z3", z3, "da3/dz3 = a3 (1 - a3)", a3.data * (1 - a3.data)),
        ("a2", a2, "dz3/da2 = w3", w3.data),
        ("z2", z2, "da2/dz2 = a2 (1 - a2)", a2.data * (1 - a2.data)),
        ("w2", w2, "dz2/dw2 = x", x),
    )
    print("\ntwo in a row: dC/dw2 = dC/da3 da3/dz3 dz3/da2 da2/dz2 dz2/dw2\n")
    print(f"{'factor':45}   product so far   by autograd")
    chain, product = [], 1.0
    for name, node, words, factor in factors:
        product *= factor
        chain.append(Link(name, node.data, product, node.grad))
        if words:
            print(f"{words:33} {factor:11.6f}   dC/d{name} = {product:9.6f}   {node.grad:11.6f}")
    return chain


def draw(figure: Any, slope: float, chain: list[Link]) -> None:
    """The cost over w with its slope, and the chain with values above and gradients below."""
    above, below = figure.subplots(2, 1, height_ratios=(1.35, 1))
    w = np.linspace(-3, 4, 141)
    C = [cost(float(number), B) for number in w]
    above.plot(w, C, color=BLUE, label="the cost $C$, at $b = 0.4$")
    here = cost(W, B)
    tangent = np.array([W - 0.9, W + 0.9])
    above.plot(
        tangent,
        here + slope * (tangent - W),
        linestyle=(0, (7, 3)),
        color=VERMILLION,
        label="the slope that the chain gives",
    )
    above.plot(W, here, "o", color=VERMILLION, markersize=8)
    above.annotate(
        rf"$\partial C/\partial w = \overline{{(q - y)\, x}} = {slope:.4f}$", (W, here), (18, 8),
        textcoords="offset points", fontsize=12,
    )  # fmt: skip
    above.set(
        title="One neuron: what $\\partial C/\\partial w$ says", xlabel="weight $w$", ylabel="cross-entropy $C$ (nats)"
    )
    above.set(xlim=(-3, 4), ylim=(0, None))
    above.legend()

    below.set_axis_off()
    below.set(xlim=(-0.75, 5.35), ylim=(-1.1, 0.95), title="Two neurons in a row: values to the right, gradients back")
    letters = ("$w_2$", "$z_2$", "$a_2$", "$z_3$", "$a_3$", "$C$")
    for place, (letter, link) in enumerate(zip(letters, reversed(chain), strict=True)):
        below.plot(place, 0, "o", color="white", markersize=38, markeredgecolor=INK, markeredgewidth=1.3)
        below.text(place, 0, letter, ha="center", va="center_baseline", fontsize=16)
        below.text(place, 0.6, f"${link.value:.4f}$", ha="center", color=BLUE, fontsize=12)
        below.text(place, -0.8, f"${link.by_hand:.4f}$", ha="center", color=VERMILLION, fontsize=12)
    below.text(-0.45, 0.6, "value", ha="right", color=BLUE)
    below.text(-0.45, -0.8, "gradient", ha="right", color=VERMILLION)
    factors = ("x", "a_2(1-a_2)", "w_3", "a_3(1-a_3)", r"\left(\frac{1-y}{1-a_3} - \frac{y}{a_3}\right)")
    for place, factor in enumerate(factors):
        for height, style, color in ((0.1, "-|>", BLUE), (-0.1, "<|-", VERMILLION)):
            arrow = {"arrowstyle": style, "color": color, "linewidth": 1.5}
            below.annotate("", (place + 0.75, height), (place + 0.25, height), arrowprops=arrow)
        below.text(place + 0.5, -0.42, rf"$\times\, {factor}$", ha="center", va="center", fontsize=11.5, color=QUIET)


if __name__ == "__main__":
    main()
