"""Layers and losses as functions, under the names of torch.nn.functional: `import nn.functional as F`.

Those without parameters are microgrid's own (`F.relu` is `mg.relu`), and the losses are those of `nn.loss_functions`.

Examples
--------
>>> import nn.functional as F
>>> F.softmax(mg.Tensor([[1000.0, 1000.0]]), dim=1).tolist()
[[0.5, 0.5]]
>>> F.cross_entropy(mg.Tensor([[0.0, 0.0]]), [1]).item()
0.6931471805599453
"""

from __future__ import annotations

from typing import Any

import microgrid as mg
from microgrid import (
    leaky_relu,
    linear,
    log_softmax,
    logsigmoid,
    relu,
    sigmoid,
    softmax,
    tanh,
)
from nn.init import Rng
from nn.layers import Dropout, Softplus
from nn.loss_functions import (
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

__microgrid_machinery__ = True

__all__ = [
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "dropout", "half_mse_loss",
    "huber_loss", "l1_loss", "leaky_relu", "linear", "log_softmax", "logsigmoid", "mse_loss", "nll_loss", "relu",
    "sigmoid", "smooth_l1_loss", "softmax", "softplus", "tanh",
]  # fmt: skip


def dropout(input: Any, p: float = 0.5, training: bool = True, inplace: bool = False, *, rng: Rng = None) -> mg.Tensor:
    """Zero each number with probability p and divide the others by 1 - p, as `nn.Dropout` does.

    Parameters
    ----------
    input : Tensor of any shape
    p : float in [0, 1]
    training : bool
        False gives the input back: pass `self.training` of the module that calls this.
    inplace : bool
        Without effect.
    rng : numpy.random.Generator, int or None
        Draws the mask; a seed draws the same one each time.

    Returns
    -------
    Tensor of the shape of `input`

    Raises
    ------
    ValueError, TypeError
        As for `nn.Dropout`.

    Examples
    --------
    >>> dropout([1.0, 1.0, 1.0, 1.0], rng=0).tolist()
    [2.0, 0.0, 0.0, 0.0]
    """
    layer = Dropout(p, inplace, rng=rng)
    layer.training = training
    return layer.forward(input)


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """ln(1 + e^(beta z)) / beta; arguments and errors as for `nn.Softplus`.

    Examples
    --------
    >>> softplus(mg.Tensor([0.0])).tolist()
    [0.6931471805599453]
    """
    return Softplus(beta, threshold).forward(input)
