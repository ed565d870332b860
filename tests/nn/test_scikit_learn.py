"""One step of scikit-learn's MLPClassifier and one of ours: equal weights."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
import pytest

import nn

pytestmark = pytest.mark.oracles

m, ALPHA, RATE = 40, 0.01, 0.05
rng = np.random.default_rng(0)
X = rng.normal(size=(m, 4))
Y = (X[:, 0] + X[:, 1] > 0).astype(int)


def theirs(steps: int, rate: float = RATE, **settings: Any) -> list[Any]:
    """The weights after so many full-batch steps from the start that seed 0 draws: W^T of each layer, then b."""
    neural_network = pytest.importorskip("sklearn.neural_network")
    classifier = neural_network.MLPClassifier(
        (5,), activation="logistic", alpha=ALPHA, batch_size=m, learning_rate_init=rate, shuffle=False, random_state=0,
        **settings,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for _ in range(steps):
            classifier.partial_fit(X, Y, classes=[0, 1])
    return [*(W.T for W in classifier.coefs_), *classifier.intercepts_]


def ours(steps: int, make: Any) -> list[Any]:
    """The same by `nn.fit`, from their start (a step of rate 1e-300 leaves it as it is)."""
    model = nn.MLP(4, [5, 1], rng=0)
    W1, b1, W2, b2 = model.parameters()
    for parameter, start in zip((W1, W2, b1, b2), theirs(1, 1e-300, solver="sgd"), strict=True):
        parameter.data = start
    # Their L2 term is alpha / (2 m) |W|^2, divided by the samples as the loss is, and the biases are without it.
    optimizer = make([{"params": [W1, W2], "weight_decay": ALPHA / m}, {"params": [b1, b2]}])
    nn.fit(model, (X, Y[:, None]), nn.BCEWithLogitsLoss(), optimizer, steps, progress=False)
    return [parameter.detach().numpy() for parameter in (W1, W2, b1, b2)]


def distance(a: list[Any], b: list[Any]) -> float:
    return max(float(abs(u - v).max()) for u, v in zip(a, b, strict=True))


@pytest.mark.parametrize("steps", [1, 3])
@pytest.mark.parametrize(("momentum", "nesterov"), [(0.0, False), (0.9, False), (0.9, True)])
def test_a_step_of_sgd_gives_equal_weights(momentum: float, nesterov: bool, steps: int) -> None:
    """To 1e-10, plain, with momentum, and with Nesterov's; and a step it is: without it the weights are far apart."""
    expected = theirs(steps, solver="sgd", momentum=momentum, nesterovs_momentum=nesterov)
    found = ours(steps, lambda groups: nn.optim.SGD(groups, lr=RATE, momentum=momentum, nesterov=nesterov))
    assert distance(found, expected) < 1e-10
    assert distance(found, theirs(1, 1e-300, solver="sgd")) > 1e-3


def test_a_step_of_adam_gives_equal_weights_for_their_epsilon() -> None:
    """They take the short form of Kingma and Ba 2015 (end of section 2), in which epsilon stands before the correction.

    lr sqrt(1 - beta2^t) / (1 - beta1^t) * r / (sqrt(s) + eps_hat) is algorithm 1, which is ours and torch's, with
    eps = eps_hat / sqrt(1 - beta2^t): at the first step 32 times theirs. Where a gradient is as small as epsilon that
    shows: with epsilon alone the weights are 2e-4 apart. The L2 term is the same as for sgd.
    """
    epsilon = 1e-8
    expected = theirs(1, solver="adam", epsilon=epsilon)
    short = ours(1, lambda groups: nn.optim.Adam(groups, lr=RATE, eps=epsilon / math.sqrt(1 - 0.999)))
    assert distance(short, expected) < 1e-10
    assert 1e-5 < distance(ours(1, lambda groups: nn.optim.Adam(groups, lr=RATE, eps=epsilon)), expected) < 1e-3
