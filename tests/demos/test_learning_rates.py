"""Gradient descent converges for eta < 2 / lambda and diverges for eta > 2 / lambda."""

import numpy as np
import pytest

from demos import learning_rates as demo

pytestmark = pytest.mark.slow  # with the others of its kind more than `make test` has time for


def test_the_eigenvalue_of_the_bowl(shown) -> None:
    assert shown("learning_rates").result.bowl_eigenvalue == pytest.approx(2 + np.sqrt(2), rel=1e-14)


@pytest.mark.parametrize("share", demo.SHARES)
def test_the_bowl_is_descended_as_the_formula_says(share, shown) -> None:
    """C_t = sum_i lambda_i c_i^2 (1 - eta lambda_i)^(2t) / 2, with c_i the start's parts along the eigenvectors."""
    result = shown("learning_rates").result
    eigenvalues, vectors = np.linalg.eigh(demo.H)
    c = vectors.T @ [-1.8, 1.2]
    t = np.arange(61)[:, np.newaxis]
    factors = 1 - share * 2 / eigenvalues[1] * eigenvalues
    expected = (eigenvalues * c**2 * factors ** (2 * t)).sum(axis=1) / 2
    np.testing.assert_allclose(result.bowl[share], expected, rtol=1e-9)


def test_it_converges_below_and_diverges_above(shown) -> None:
    result = shown("learning_rates").result
    for heights in (result.bowl, result.neuron):
        for share, curve in heights.items():
            if share < 1:
                assert curve[-1] < 1e-5 * curve[0]
            else:
                assert min(curve[20:]) > 3 * curve[0]
    assert result.bowl[1.05][-1] > 1e4


def test_the_neuron_ends_in_a_cycle_of_two(shown) -> None:
    """Above 2 / lambda: C_t = C_(t+2), and not C_(t+1), when it has settled."""
    curve = shown("learning_rates").result.neuron[1.05]
    np.testing.assert_allclose(curve[-20:-2], curve[-18:], rtol=1e-6)
    assert abs(curve[-1] / curve[-2] - 1) > 0.1


def test_the_neuron_by_hand(shown) -> None:
    """Minimum, Hessian mean(q (1 - q) [x^2 x; x 1]) and every step, from dC/dw = mean((q - y) x) in plain NumPy."""
    result = shown("learning_rates").result
    x, y = demo.x, demo.y

    def q(v: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-(v[0] * x + v[1])))

    def gradient(v: np.ndarray) -> np.ndarray:
        return np.array([np.mean((q(v) - y) * x), np.mean(q(v) - y)])

    def cost(v: np.ndarray) -> float:
        return float(-np.mean(y * np.log(q(v)) + (1 - y) * np.log(1 - q(v))))

    bottom = demo.minimum(demo.neuron, np.zeros(2))
    np.testing.assert_allclose(gradient(bottom), 0, atol=1e-15)
    spread = q(bottom) * (1 - q(bottom))
    hessian = [[np.mean(spread * x * x), np.mean(spread * x)], [np.mean(spread * x), np.mean(spread)]]
    assert result.neuron_eigenvalue == pytest.approx(max(np.linalg.eigvalsh(hessian)), rel=1e-12)
    for share, curve in result.neuron.items():
        v = bottom + np.array([0.1, -0.1])
        for height in curve[:60]:
            assert height == pytest.approx(cost(v) - cost(bottom), rel=1e-6, abs=1e-14)
            v = v - share * 2 / result.neuron_eigenvalue * gradient(v)
