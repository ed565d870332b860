"""Gradient descent, with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

import microgrid as mg
from nn.optim.optimizer import Group, Optimizer, Params, State
from nn.optim.settings import Check, flag, number

__microgrid_machinery__ = True


class SGD(Optimizer):
    """Gradient descent: v' = v - lr g, with momentum if asked for.

    Parameters
    ----------
    params, lr, weight_decay, maximize
        As for every `Optimizer`.
    momentum : float >= 0
        mu below.
    dampening : float
        tau below.
    nesterov : bool
        Look ahead along the momentum; needs one, and no dampening.

    Raises
    ------
    ValueError, TypeError
        As for every `Optimizer`.

    Notes
    -----
    ::

        g <- dC/dv + lambda v
        u <- g at the first step, then mu u + (1 - tau) g       if mu > 0
        g <- g + mu u  if nesterov else  u
        v <- v - lr g

    Momentum: Polyak 1964; its modern form and Nesterov's: Sutskever, Martens, Dahl and Hinton 2013. As in torch the
    rate stands outside the momentum: lr u, where those authors sum lr g.

    Examples
    --------
    >>> v = mg.Tensor([1.0], requires_grad=True)
    >>> descent = SGD([v], lr=0.25)
    >>> mg.sum(v * v).backward()
    >>> descent.step()
    >>> v.tolist()
    [0.5]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **Optimizer.checks,
        "momentum": number("momentum value", 0),
        "dampening": number("dampening"),
        "nesterov": flag("nesterov"),
    }
    elementwise: ClassVar[bool] = True
    remembers: ClassVar[tuple[str, ...] | None] = ()

    def __init__(
        self,
        params: Params,
        lr: float = 1e-3,
        momentum: float = 0,
        dampening: float = 0,
        weight_decay: float = 0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "momentum": momentum, "dampening": dampening, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "nesterov": nesterov, "maximize": maximize})

    def settings(self, group: Group) -> Group:
        """The settings of a group, checked, each and with the others."""
        settings = super().settings(group)
        if settings["nesterov"] and (settings["momentum"] == 0 or settings["dampening"] != 0):
            raise ValueError(f"Nesterov momentum requires a momentum and zero dampening, at {mg.sites.here()}")
        return settings

    def update(self, v: Any, g: Any, state: State, settings: Group) -> Any:
        """The recurrence in the notes of the class."""
        if mu := settings["momentum"]:
            u = state.get("momentum_buffer")
            if u is None:
                u = state["momentum_buffer"] = np.array(g)  # a copy
            else:
                u *= mu
                u += (1 - settings["dampening"]) * g
            g = g + mu * u if settings["nesterov"] else u
        return self.less(v, settings["lr"], g)
