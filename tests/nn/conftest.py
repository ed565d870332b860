"""The networks that the formulas are tried on, of such shapes that no wrong order or factor goes unseen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

import nn

# inputs, sizes of the layers, samples, soft labels. The square one catches `delta W^T` for `W^T delta`.
NETS = {
    "one neuron": (3, [1], 5, False),
    "4-3-2": (4, [3, 2], 5, False),
    "square 3-3-3": (3, [3, 3, 3], 3, True),
    "2-4-3-2 soft": (2, [4, 3, 2], 7, True),
    "depth 5": (3, [4, 2, 5, 3, 2], 6, False),
}


@dataclass
class Case:
    model: nn.MLP
    X: Any
    Y: Any

    @property
    def m(self) -> int:
        return len(self.X)


@pytest.fixture(params=NETS, ids=str)
def case(request: pytest.FixtureRequest) -> Case:
    """A sigmoid network with non-zero biases, its samples and its labels."""
    nin, nouts, m, soft = NETS[request.param]
    rng = np.random.default_rng(7)
    model = nn.MLP(nin, nouts, rng=rng)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.8, rng)
    Y = rng.uniform(0, 1, (m, nouts[-1])) if soft else rng.integers(0, 2, (m, nouts[-1])).astype(float)
    return Case(model, rng.normal(size=(m, nin)), Y)
