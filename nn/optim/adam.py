"""Adaptive moments: Adam, and AdamW with its decay beside the moments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from nn.optim.optimizer import Group, Optimizer, Params, State, counted, remembered
from nn.optim.settings import Check, betas as check_betas, flag, number

__microgrid_machinery__ = True


class Adam(Optimizer):
    """Adaptive moments: each entry is scaled by the running size of its gradient.

    Parameters
    ----------
    params, weight_decay, maximize
        As for every `Optimizer`.
    lr : float >= 0
        About the length of a step, in each entry.
    betas : (float, float), each in [0, 1)
        How much of the running means of g and g^2 stays.
    eps : float >= 0
        Keeps the quotient finite.
    amsgrad : bool
        Divide by the largest s so far (Reddi, Kale and Kumar 2018).
    decoupled_weight_decay : bool
        Decay as `AdamW` does.

    Raises
    ------
    ValueError, TypeError
        As for every `Optimizer`.

    Notes
    -----
    At step t, with r = s = 0 at first::

        g <- dC/dv + lambda v
        r <- beta1 r + (1 - beta1) g
        s <- beta2 s + (1 - beta2) g^2
        v <- v - lr / (1 - beta1^t) * r / (sqrt(s / (1 - beta2^t)) + eps)

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1. As in torch the largest s of
    `amsgrad` is found before the correction by 1 - beta2^t.

    Examples
    --------
    >>> import microgrid as mg
    >>> v = mg.Tensor([1.0], requires_grad=True)
    >>> adam = Adam([v], lr=0.25, eps=0)
    >>> mg.sum(v * v).backward()
    >>> adam.step()
    >>> v.tolist()
    [0.75]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **Optimizer.checks,
        "betas": check_betas,
        "eps": number("epsilon value", 0),
        "amsgrad": flag("amsgrad"),
        "decoupled_weight_decay": flag("decoupled_weight_decay"),
    }
    elementwise: ClassVar[bool] = True
    remembers: ClassVar[tuple[str, ...] | None] = ("step", "exp_avg", "exp_avg_sq")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay, "amsgrad": amsgrad}
        super().__init__(params, {**settings, "maximize": maximize, "decoupled_weight_decay": decoupled_weight_decay})

    def decay(self, v: Any, g: Any, settings: Group) -> tuple[Any, Any]:
        """Weight decay, before the recurrence: of the gradient, or of the parameter itself."""
        if settings["decoupled_weight_decay"]:
            return v * (1 - settings["lr"] * settings["weight_decay"]), g
        return super().decay(v, g, settings)

    def update(self, v: Any, g: Any, state: State, settings: Group) -> Any:
        """The recurrence in the notes of the class."""
        beta1, beta2 = settings["betas"]
        t = counted(state)
        r, s = remembered(state, v, "exp_avg", "exp_avg_sq")
        r += (1 - beta1) * (g - r)
        s *= beta2
        s += (1 - beta2) * g * g
        if settings["amsgrad"]:
            (largest,) = remembered(state, v, "max_exp_avg_sq")
            s = np.maximum(largest, s, out=largest)
        size = np.sqrt(s)
        size /= math.sqrt(1 - beta2**t)
        size += settings["eps"]
        return v - settings["lr"] / (1 - beta1**t) * r / size


class AdamW(Adam):
    """Adam whose weight decay stands beside the moments: it is not divided by the size of the gradient.

    Parameters
    ----------
    params, lr, betas, eps, amsgrad, maximize
        As for `Adam`.
    weight_decay : float >= 0
        lambda below. Not 0 by default.

    Raises
    ------
    ValueError, TypeError
        As for every `Optimizer`.

    Notes
    -----
    ::

        v <- (1 - lr lambda) v
        v <- the step of Adam, with g = dC/dv

    Loshchilov and Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2; as in torch lambda is
    multiplied by lr, where the paper has a schedule of its own.

    Examples
    --------
    >>> import microgrid as mg
    >>> v = mg.Tensor([1.0], requires_grad=True)
    >>> adamw = AdamW([v], lr=0.25, eps=0, weight_decay=0.5)
    >>> mg.sum(v * v).backward()
    >>> adamw.step()
    >>> v.tolist()
    [0.625]
    """

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay, amsgrad, maximize=maximize, decoupled_weight_decay=True)

    def settings(self, group: Group) -> Group:
        """The settings of a group, checked; decoupled even where a loaded group comes from Adam."""
        return super().settings({**group, "decoupled_weight_decay": True})
