"""The gradient over its root mean square."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from nn.optim.optimizer import Group, Optimizer, Params, State, counted, remembered
from nn.optim.settings import Check, flag, number

__microgrid_machinery__ = True


class RMSprop(Optimizer):
    """Each entry of the gradient is divided by the root of its running mean square.

    Parameters
    ----------
    params, lr, weight_decay, maximize
        As for every `Optimizer`.
    alpha : float in [0, 1)
        How much of the running means stays.
    eps : float >= 0
        Keeps the quotient finite.
    momentum : float >= 0
        mu below.
    centered : bool
        Divide by the standard deviation in place of the root mean square (Graves 2013).

    Raises
    ------
    ValueError, TypeError
        As for every `Optimizer`.

    Notes
    -----
    With s = r = u = 0 at first::

        g <- dC/dv + lambda v
        s <- alpha s + (1 - alpha) g^2
        r <- alpha r + (1 - alpha) g            if centered, and then s - r^2 for s below
        g <- g / (sqrt(s) + eps)
        u <- mu u + g                           if mu > 0, and then u for g below
        v <- v - lr g

    Tieleman and Hinton, "Neural networks for machine learning", Coursera 2012, lecture 6e. Centred: Graves, "Generating
    sequences with recurrent neural networks", 2013, equations 38 to 41, with eps outside the root, as in torch. s - r^2
    is a variance: where rounding makes it negative it is 0 here, and nan in torch.

    Examples
    --------
    >>> import microgrid as mg
    >>> v = mg.Tensor([1.0], requires_grad=True)
    >>> rmsprop = RMSprop([v], lr=0.25, alpha=0.75, eps=0)
    >>> mg.sum(v * v).backward()
    >>> rmsprop.step()
    >>> v.tolist()
    [0.5]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **Optimizer.checks,
        "alpha": number("alpha value", 0, 1),
        "eps": number("epsilon value", 0),
        "momentum": number("momentum value", 0),
        "centered": flag("centered"),
    }
    elementwise: ClassVar[bool] = True
    remembers: ClassVar[tuple[str, ...] | None] = ("step", "square_avg")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum: float = 0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "alpha": alpha, "eps": eps, "centered": centered}
        super().__init__(params, {**settings, "weight_decay": weight_decay, "maximize": maximize})

    def update(self, v: Any, g: Any, state: State, settings: Group) -> Any:
        """The recurrence in the notes of the class."""
        alpha = settings["alpha"]
        counted(state)
        (s,) = remembered(state, v, "square_avg")
        s *= alpha
        s += (1 - alpha) * g * g
        if settings["centered"]:
            (r,) = remembered(state, v, "grad_avg")
            r += (1 - alpha) * (g - r)
            s = np.maximum(s - r * r, 0)
        size = np.sqrt(s)
        size += settings["eps"]
        g = g / size
        if mu := settings["momentum"]:
            (u,) = remembered(state, v, "momentum_buffer")
            u *= mu
            u += g
            g = u
        return v - settings["lr"] * g
