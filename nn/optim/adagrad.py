"""The gradient over the root of the sum of its squares."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from nn.optim.optimizer import Group, Optimizer, Params, State, counted, remembered
from nn.optim.settings import Check, number

__microgrid_machinery__ = True


class Adagrad(Optimizer):
    """Each entry has a rate of its own, which falls with all that its gradient has been: rare features keep theirs.

    Parameters
    ----------
    params, lr, weight_decay, maximize
        As for every `Optimizer`.
    lr_decay : float >= 0
        delta below.
    initial_accumulator_value : float >= 0
        s before the first step.
    eps : float >= 0
        Keeps the quotient finite.

    Raises
    ------
    ValueError, TypeError
        As for every `Optimizer`.

    Notes
    -----
    At step t = 1, 2, ...::

        g <- dC/dv + lambda v
        s <- s + g^2
        v <- v - lr / (1 + (t - 1) delta) * g / (sqrt(s) + eps)

    Duchi, Hazan and Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 2011,
    in its diagonal form.

    Examples
    --------
    >>> import microgrid as mg
    >>> v = mg.Tensor([1.0], requires_grad=True)
    >>> adagrad = Adagrad([v], lr=0.25, eps=0)
    >>> mg.sum(v * v).backward()
    >>> adagrad.step()
    >>> v.tolist()
    [0.75]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        **Optimizer.checks,
        "lr_decay": number("lr_decay value", 0),
        "initial_accumulator_value": number("initial_accumulator_value value", 0),
        "eps": number("epsilon value", 0),
    }
    elementwise: ClassVar[bool] = True
    remembers: ClassVar[tuple[str, ...] | None] = ("step", "sum")

    def __init__(
        self,
        params: Params,
        lr: float = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "lr_decay": lr_decay, "eps": eps, "weight_decay": weight_decay}
        super().__init__(
            params, {**settings, "initial_accumulator_value": initial_accumulator_value, "maximize": maximize}
        )

    def update(self, v: Any, g: Any, state: State, settings: Group) -> Any:
        """The recurrence in the notes of the class."""
        t = counted(state)
        (s,) = remembered(state, v, "sum", start=settings["initial_accumulator_value"])
        s += g * g
        size = np.sqrt(s)
        size += settings["eps"]
        return v - settings["lr"] / (1 + (t - 1) * settings["lr_decay"]) * g / size
