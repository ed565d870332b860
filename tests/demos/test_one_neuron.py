"""The factors of the notes, multiplied by hand, are what autograd and a complex step find."""

import numpy as np
import pytest

from demos import one_neuron as demo

TINY = 1e-200  # the imaginary step: exact to rounding, since nothing is subtracted


def cost(q: complex, y: float) -> complex:
    return -(y * np.log(q) + (1 - y) * np.log(1 - q))


def sigmoid(z: complex) -> complex:
    return 1 / (1 + np.exp(-z))


def test_one_neuron(shown) -> None:
    """dC/dw = mean((q - y) x) and dC/db = mean(q - y)."""
    result = shown("one_neuron").result
    x, y = np.array(demo.X), np.array(demo.Y)
    q = sigmoid(demo.W * x + demo.B)
    by_step = [
        np.mean(cost(sigmoid((demo.W + dw) * x + demo.B + db), y)).imag / TINY
        for dw, db in ((1j * TINY, 0), (0, 1j * TINY))
    ]
    for found, formula, step in zip(
        (result.w_slope, result.b_slope), (np.mean((q - y) * x), np.mean(q - y)), by_step, strict=True
    ):
        assert found == pytest.approx((step, step), rel=1e-14)
        assert found[0] == pytest.approx(formula, rel=1e-14)


def test_two_in_a_row(shown) -> None:
    """Each product of the chain is the gradient there: dC/dw2 = dC/da3 da3/dz3 dz3/da2 da2/dz2 dz2/dw2."""
    x, y, b2, w3, b3 = 1.5, 1.0, -0.2, -1.2, 0.5
    rest = {
        "C": lambda C: C,
        "a3": lambda a3: cost(a3, y),
        "z3": lambda z3: cost(sigmoid(z3), y),
        "a2": lambda a2: cost(sigmoid(w3 * a2 + b3), y),
        "z2": lambda z2: cost(sigmoid(w3 * sigmoid(z2) + b3), y),
        "w2": lambda w2: cost(sigmoid(w3 * sigmoid(w2 * x + b2) + b3), y),
    }
    chain = shown("one_neuron").result.chain
    assert [link.name for link in chain] == list(rest)
    for link in chain:
        step = rest[link.name](link.value + 1j * TINY).imag / TINY
        assert link.by_hand == pytest.approx(step, rel=1e-14), link.name
        assert link.by_autograd == pytest.approx(step, rel=1e-14), link.name
        assert rest[link.name](link.value) == pytest.approx(chain[0].value, rel=1e-14), link.name


def test_the_numbers_are_printed(shown) -> None:
    """Each sample's product beside (q - y) x, and both ways beside each other, to the last digit but rounding."""
    result, printed, _ = shown("one_neuron")
    rows = [line.split() for line in printed.splitlines() if line.count(".") == 8]
    assert len(rows) == len(demo.X)
    assert all(row[-1] == row[-2] for row in rows)
    assert printed.count(f"{result.w_slope[0]:.15f}"[:15]) == 2
    assert printed.count(f"{result.chain[-1].by_hand:.6f}") == 2


def test_the_curve_in_the_picture_is_the_cost() -> None:
    """On floats too, and least where the slope is 0."""
    q = sigmoid(demo.W * np.array(demo.X) + demo.B)
    assert demo.cost(demo.W, demo.B) == pytest.approx(np.mean(cost(q, np.array(demo.Y))), rel=1e-14)
