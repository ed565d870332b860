"""The shortcut dC/dZ = A - Y: derived by the chain rule, proved for all numbers at once, then measured.

Nothing here is written down as known: a network runs on symbols as it runs on floats, by the same rules, and its
gradient is an expression. That this is A - Y is an identity, which `mg.prove` proves, or refutes at a point. Run it by
`python -m demos.proof`.
"""

from collections.abc import Callable
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import microgrid as mg
import nn
from demos._drawing import BLUE, GREEN, INK, VERMILLION, picture

SAMPLES, OUTPUTS, INPUTS = 2, 3, 2

WAYS = {
    "chain": "autograd by the chain C <- A <- Z",
    "fused": "autograd of the loss on logits",
    "differences": "central differences of the cost, which end at about 1e-9",
    "complex": "a complex step of the cost",
}

Row = list[Any]  # of Values of symbols
Matrix = list[Row]


class Result(NamedTuple):
    """What the demo found: the derivation, what was proved and refuted by its words, and the measured comparison."""

    derivation: mg.Derivation
    proofs: dict[str, mg.Proof]
    comparison: nn.Comparison
    files: list[Path]


def main(out: str | PathLike[str] = "out") -> Result:
    """Derive, prove and measure."""
    print("1. derived, C <- A <- Z <- W, for one output\n")
    derivation = derived()
    print(derivation)

    print("\n2. proved, for all real numbers at once: labels may be hard or soft\n")
    proofs = {words: proof() for words, proof in STATEMENTS.items()}
    for words, proof in proofs.items():
        print(f"  {words:72} {proof.verdict}")
        if proof.sides:
            at = ", ".join(f"{symbol} = {number}" for symbol, number in proof.point.items())
            print(f"      at {at}: the gradient is {proof.sides[0]:.4g}, and not {proof.sides[1]:.4g}")

    print(
        "\n3. measured, on a network of 3-5-2 units, seven samples, soft labels: largest relative error against A - Y\n"
    )
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(7, 3)), rng.uniform(size=(7, 2))
    comparison = nn.compare(nn.MLP(3, [5, 2], activation=nn.Sigmoid(), rng=0), X, Y)
    for way, errors in comparison.errors.items():
        print(f"  {WAYS[way]:72} {max(errors.values()):.1e}")
    files = picture(Path(out) / "proof", 11, 6.6, lambda figure: draw(figure, derivation))
    return Result(derivation, proofs, comparison, files)


def derived() -> mg.Derivation:
    """The chain rule from the cost of one output down to its weight."""
    W, X, b, Y = mg.symbols("W X b Y")
    Z = W * X + b
    A = mg.sigmoid(Z)
    C = -(Y * mg.log(A) + (1 - Y) * mg.log(1 - A))
    Z.name, A.name, C.name = "Z", "A", "C"
    return mg.derive(C, W)


# ------------------------------------------------------------------------------------------- what is to be proved


def one_output(sign: int = 1) -> mg.Proof:
    """dC/dz = a - y; with the sign -1, a + y."""
    z, y = mg.symbols("z y")
    a = mg.sigmoid(z)
    C = -(y * mg.log(a) + (1 - y) * mg.log(1 - a))
    (gradient,) = mg.grad(C, [z])
    return mg.prove(gradient, a - sign * y)


def slip_in_the_cost() -> mg.Proof:
    """dC/dz = a - y, of a cost in which one sign is wrong."""
    z, y = mg.symbols("z y")
    a = mg.sigmoid(z)
    C = -(y * mg.log(a) - (1 - y) * mg.log(1 - a))
    (gradient,) = mg.grad(C, [z])
    return mg.prove(gradient, a - y)


def fused() -> mg.Proof:
    """The loss on logits, whose form has no cliff, is the one that the notes write: ln(1 + e^z) - y z."""
    z, y = mg.symbols("z y")
    a = mg.sigmoid(z)
    return mg.prove(mg.binary_cross_entropy_with_logits(z, y), -(y * mg.log(a) + (1 - y) * mg.log(1 - a)))


def several_outputs(weights: bool = False) -> mg.Proof:
    """m dC/dZ = A - Y, of the mean over samples of the sum over outputs; or m dC/dW = (A - Y)^T X."""
    X, Y = matrix("x", SAMPLES, INPUTS), matrix("y", SAMPLES, OUTPUTS)
    W, b = matrix("w", OUTPUTS, INPUTS), matrix("b", 1, OUTPUTS)[0]
    Z = [[mg.dot(x, w) + b_j for w, b_j in zip(W, b, strict=True)] for x in X]  # (SAMPLES, OUTPUTS)
    A = [[mg.sigmoid(z) for z in row] for row in Z]
    C = -mg.sum([y * mg.log(a) + (1 - y) * mg.log(1 - a) for a, y in pairs(A, Y)]) / SAMPLES
    delta = [[a - y for a, y in zip(*rows, strict=True)] for rows in zip(A, Y, strict=True)]
    if not weights:
        return mg.prove(gradient(C, Z, SAMPLES), delta)
    product = [[mg.sum([delta[i][j] * X[i][k] for i in range(SAMPLES)]) for k in range(INPUTS)] for j in range(OUTPUTS)]
    return mg.prove(gradient(C, W, SAMPLES), product)


def softmax(one_hot: bool = True) -> mg.Proof:
    """dC/dz = a - y of softmax with C = -sum y ln a, where the labels of a sample have the sum 1."""
    z, y = list(mg.symbols(f"z1:{OUTPUTS + 1}")), list(mg.symbols(f"y1:{OUTPUTS + 1}"))
    powers = [mg.exp(z_j) for z_j in z]
    a = [power / mg.sum(powers) for power in powers]
    C = -mg.sum([y_j * mg.log(a_j) for a_j, y_j in zip(a, y, strict=True)])
    assumptions = [(sum(y), 1)] if one_hot else []
    return mg.prove(gradient(C, [z]), [[a_j - y_j for a_j, y_j in zip(a, y, strict=True)]], assumptions)


def squares() -> mg.Proof:
    """dC/dz = a - y of a sigmoid with half squares, which it is not: there sigma' stays."""
    z, y = mg.symbols("z y")
    a = mg.sigmoid(z)
    (gradient,) = mg.grad((a - y) ** 2 / 2, [z])
    return mg.prove(gradient, a - y)


def matrix(letter: str, rows: int, columns: int) -> Matrix:
    """A matrix of symbols: x11, x12, ..."""
    symbols = list(mg.symbols(f"{letter}1:{rows + 1}(1:{columns + 1})"))
    return [symbols[i * columns : (i + 1) * columns] for i in range(rows)]


def pairs(A: Matrix, Y: Matrix) -> list[tuple[Any, Any]]:
    """The entries of two matrices at the same places."""
    return [pair for rows in zip(A, Y, strict=True) for pair in zip(*rows, strict=True)]


def gradient(C: mg.Value, of: Matrix, factor: int = 1) -> Matrix:
    """The gradient by each entry of a matrix, in its rows, times a number."""
    entries = iter(mg.grad(C, [entry for row in of for entry in row]))
    return [[factor * next(entries) for _ in row] for row in of]


STATEMENTS: dict[str, Callable[[], mg.Proof]] = {
    "one output: dC/dz = a - y": one_output,
    "one sign changed: dC/dz = a + y": lambda: one_output(-1),
    "one sign changed in C = -(y ln a - (1 - y) ln(1 - a)): dC/dz = a - y": slip_in_the_cost,
    "of half squares, C = (a - y)^2 / 2: dC/dz = a - y": squares,
    "the loss on logits, which is finite everywhere, is the same cost": fused,
    f"{SAMPLES} samples of {OUTPUTS} outputs: m dC/dZ = A - Y": several_outputs,
    "down to the weights: m dC/dW = (A - Y)^T X": lambda: several_outputs(weights=True),
    "softmax with C = -sum y ln a: dC/dz = a - y, if the y have the sum 1": softmax,
    "the same for any y": lambda: softmax(one_hot=False),
}


# --------------------------------------------------------------------------------------------------- the picture


def draw(figure: Any, derivation: mg.Derivation) -> None:
    """The derivation as one writes it, and below it the two factors and their product."""
    above, below = figure.subfigures(2, 1, height_ratios=(1, 1.7))
    colors = (VERMILLION, BLUE, INK)
    links = derivation.links
    above.suptitle("The chain rule, link by link", fontsize=12)
    for k, (link, color) in enumerate(zip(links, colors, strict=True)):
        text = typeset(link.above, link.below, link.local)
        above.text((k + 0.5) / len(links), 0.6, text, ha="center", va="center", color=color, size=15)
    result = f"{typeset('C', 'Z', links[1].total)}     and     {typeset('C', 'W', derivation.result)}"
    result += f"     ({derivation.proof.verdict})"
    above.text(0.5, 0.17, result, ha="center", va="center", size=15)

    z = np.linspace(-8, 8, 321)
    for y, axes in enumerate(below.subplots(1, 2, sharey=True)):
        A = mg.Tensor(mg.sigmoid(z), requires_grad=True)
        nn.binary_cross_entropy(A, np.full_like(z, y), reduction="sum").backward()
        assert A.grad is not None
        a = A.detach().numpy()
        axes.semilogy(z, abs(A.grad), "--", color=VERMILLION, label="$|dC/dA|$")
        axes.semilogy(z, a * (1 - a), "-.", color=BLUE, label="$dA/dZ = A(1 - A)$")
        axes.semilogy(
            z, abs(A.grad * a * (1 - a)), color=GREEN, linewidth=4, alpha=0.6, label="their product, $|A - Y|$"
        )
        axes.set(title=f"$Y = {y}$: one factor grows as the other falls", xlabel="logit $Z$", ylim=(1e-4, 1e4))
        axes.grid(True)
    axes.legend(loc="upper right")


def typeset(above: Any, below: Any, derivative: Any) -> str:
    """An equation in matplotlib's TeX, with fractions as large as they are on a board."""
    right = mg.latex(derivative).replace(r"\frac", r"\dfrac")
    return rf"$\dfrac{{d{above}}}{{d{below}}} = {right}$"


if __name__ == "__main__":
    main()
