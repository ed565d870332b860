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

import typing

from microgrid import late
from nn import functional, init, losses, optim
from nn.containers import ModuleDict, ModuleList, Sequential
from nn.layers import (
    MLP,
    Dropout,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HalfMSELoss,
    HuberLoss,
    L1Loss,
    Loss,
    MSELoss,
    NLLLoss,
    SmoothL1Loss,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    cross_entropy,
    half_mse_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
)
from nn.module import Module, Parameter
from nn.optim.clipping import clip_grad_norm_, clip_grad_value_

__microgrid_machinery__ = True

if typing.TYPE_CHECKING:
    from nn import checkpoint, closed_form, data, index_form, metrics, scalar
    from nn.archive import CheckpointError
    from nn.chains import Chain, chain
    from nn.checkpoint import Checkpoint, load, save
    from nn.comparison import Comparison, compare
    from nn.functional_calls import functional_call
    from nn.inventory import Summary, summary
    from nn.scalar import to_array, to_scalar
    from nn.train import History, fit
    from nn.vector import parameters_to_vector, vector_to_parameters
else:
    __getattr__, __dir__ = late.attributes(
        __name__,
        {
            "archive": "CheckpointError",
            "chains": "Chain chain",
            "checkpoint": "Checkpoint load save",
            "closed_form": "",
            "comparison": "Comparison compare",
            "data": "",
            "functional_calls": "functional_call",
            "index_form": "",
            "inventory": "Summary summary",
            "metrics": "",
            "scalar": "to_array to_scalar",
            "train": "History fit",
            "vector": "parameters_to_vector vector_to_parameters",
        },
    )

__all__ = [
    "MLP",
    "BCELoss",
    "BCEWithLogitsLoss",
    "Chain",
    "Checkpoint",
    "CheckpointError",
    "Comparison",
    "CrossEntropyLoss",
    "Dropout",
    "Flatten",
    "HalfMSELoss",
    "History",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "LeakyReLU",
    "Linear",
    "LogSigmoid",
    "LogSoftmax",
    "Loss",
    "MSELoss",
    "Module",
    "ModuleDict",
    "ModuleList",
    "NLLLoss",
    "Parameter",
    "ReLU",
    "Sequential",
    "Sigmoid",
    "SmoothL1Loss",
    "Softmax",
    "Softplus",
    "Summary",
    "Tanh",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "chain",
    "checkpoint",
    "clip_grad_norm_",
    "clip_grad_value_",
    "closed_form",
    "compare",
    "cross_entropy",
    "data",
    "fit",
    "functional",
    "functional_call",
    "half_mse_loss",
    "huber_loss",
    "index_form",
    "init",
    "l1_loss",
    "load",
    "losses",
    "metrics",
    "mse_loss",
    "nll_loss",
    "optim",
    "parameters_to_vector",
    "save",
    "scalar",
    "smooth_l1_loss",
    "summary",
    "to_array",
    "to_scalar",
    "vector_to_parameters",
]
