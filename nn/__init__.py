"""Neural networks on microgrid: modules, losses, optimisers, a training loop, and the notes' closed forms beside them.

Names, argument orders and defaults are torch's. Data are rows: one sample a row.

Examples
--------
>>> import numpy as np
>>> import nn
>>> X = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]])
>>> Y = np.array([[0.0], [1.0], [1.0], [0.0]])  # exclusive or
>>> model = nn.MLP(2, [8, 1], rng=0)
>>> optimizer = nn.optim.Adam(model.parameters(), lr=0.1)
>>> history = nn.fit(model, (X, Y), nn.BCEWithLogitsLoss(), optimizer, epochs=300, progress=False)
>>> nn.metrics.accuracy(model(X), Y, threshold=0.0)
1.0
>>> nn.compare(model, X, Y).worst < 1e-10  # autograd is A - Y
True
"""

from nn import closed_form, data, init, losses, metrics, optim
from nn.comparison import Comparison, compare
from nn.layers import MLP, Identity, Linear, ReLU, Sequential, Sigmoid, Softmax, Tanh
from nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    Loss,
    MSELoss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    mse_loss,
)
from nn.module import Module, Parameter
from nn.train import History, fit

__microgrid_machinery__ = True

__all__ = [
    "MLP",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Comparison",
    "CrossEntropyLoss",
    "History",
    "Identity",
    "Linear",
    "Loss",
    "MSELoss",
    "Module",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "Softmax",
    "Tanh",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "closed_form",
    "compare",
    "cross_entropy",
    "data",
    "fit",
    "init",
    "losses",
    "metrics",
    "mse_loss",
    "optim",
]
