"""Four hidden neurons learn exclusive or; the loop on Values takes the steps of gradient descent."""

import numpy as np
import pytest

import nn
from demos import xor

X, Y = np.array([[0.0, 0], [0, 1], [1, 0], [1, 1]]), np.array([[0.0], [1], [1], [0]])


def test_it_learns_the_table(shown) -> None:
    result, printed, _ = shown("xor")
    np.testing.assert_allclose(result.outputs, Y[:, 0], atol=0.02)
    assert result.losses[-1] < 0.01 < np.log(2) < result.losses[0]
    assert [line.split()[3] for line in printed.splitlines() if "should be" in line] == [
        f"{a:.4f}" for a in result.outputs
    ]


def descended(model: nn.MLP, steps: int) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities after, and losses during, gradient descent at the rate 1, by the closed form in NumPy."""
    W1, b1, W2, b2 = (p.detach().numpy().copy() for p in model.parameters())
    losses = []
    for _ in range(steps):
        A1 = np.tanh(X @ W1.T + b1)
        Z = A1 @ W2.T + b2
        losses.append(np.mean(np.logaddexp(0, Z) - Y * Z))
        delta2 = (1 / (1 + np.exp(-Z)) - Y) / 4
        delta1 = delta2 @ W2 * (1 - A1**2)
        W2, b2 = W2 - delta2.T @ A1, b2 - delta2.sum(axis=0)
        W1, b1 = W1 - delta1.T @ X, b1 - delta1.sum(axis=0)
    return 1 / (1 + np.exp(-(np.tanh(X @ W1.T + b1) @ W2.T + b2))), np.array(losses)


def test_its_steps_are_those_of_gradient_descent(shown) -> None:
    """The loop over Values, and matrices with A - Y carried back by hand, come to the same numbers."""
    outputs, losses = descended(nn.to_array(nn.scalar.MLP(2, [4, 1], activation="tanh", rng=0)), steps=400)
    np.testing.assert_allclose(shown("xor").result.losses, losses, rtol=1e-9)
    np.testing.assert_allclose(shown("xor").result.outputs, outputs[:, 0], rtol=1e-8)


@pytest.mark.parametrize("seeds", [range(10), pytest.param(range(10, 100), marks=pytest.mark.slow)])
def test_every_seed_learns_it(seeds) -> None:
    """Seeds 0 to 99, as the docstring says."""
    for seed in seeds:
        outputs, _ = descended(nn.to_array(nn.scalar.MLP(2, [4, 1], activation="tanh", rng=seed)), steps=400)
        assert ((outputs > 0.5) == Y).all(), seed


@pytest.mark.parametrize("seed", range(3))
def test_one_neuron_cannot(seed) -> None:
    """Without a hidden layer the best is ln 2, at w = b = 0: its gradient is 0 there, and the cost convex."""
    model = nn.MLP(2, [1], rng=seed)
    optimizer = nn.optim.SGD(model.parameters(), lr=1.0)
    history = nn.fit(model, (X, Y), nn.BCEWithLogitsLoss(), optimizer, epochs=300, progress=False)
    assert min(history.loss) >= np.log(2)
    assert history.loss[-1] == pytest.approx(np.log(2), abs=1e-6)


def test_fewer_steps_learn_less(tmp_path, capsys) -> None:
    result = xor.main(tmp_path, steps=3)
    assert len(result.losses) == 3
    assert max(abs(result.outputs - Y[:, 0])) > 0.3
