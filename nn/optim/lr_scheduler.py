"""Schedulers: the learning rate of an optimiser from epoch to epoch. Names, signatures and values are torch's.

Make one from the optimiser, and call its `step()` after each epoch, when the optimiser has taken its own steps:

>>> import microgrid as mg
>>> import nn
>>> optimizer = nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=1.0)
>>> scheduler = StepLR(optimizer, step_size=2, gamma=0.5)
>>> rates = []
>>> for epoch in range(5):
...     optimizer.step()
...     rates += scheduler.get_last_lr()
...     scheduler.step()
>>> rates
[1.0, 1.0, 0.5, 0.5, 0.25]

Each rate is found from the one before, as in torch: a rate that the user changes in between (`group["lr"] = 0.3`) is
scheduled on from there. `LambdaLR` alone starts from the first rates each time.

Below, eta_t is the rate of epoch t = 0, 1, ..., and eta_0 the rate that the optimiser was made with.
"""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Literal

import microgrid as mg
from nn.optim.optimizer import Optimizer
from nn.optim.settings import Check, integer, listed, number

__microgrid_machinery__ = True

_rate = number("learning rate", 0)


def _measure(value: Any) -> float:
    """What is watched, as a float: of any size, since nan and infinite losses are what a plateau is looked for in."""
    if isinstance(value, mg.Tensor | mg.Value):
        value = value.item()
    try:
        return float(value)
    except (TypeError, ValueError):
        raise TypeError(f"metrics: expected one number, got {value!r}, at {mg.sites.here()}") from None


_STATE: dict[str, Check] = {  # what is asked of a loaded state, beside the settings
    "last_epoch": integer("last_epoch", 0),
    "_step_count": integer("_step_count", 1),
    "base_lrs": listed("base_lrs", _rate),
    "_last_lr": listed("_last_lr", _rate),
    "best": _measure,
    "cooldown_counter": integer("cooldown_counter", 0),
    "num_bad_epochs": integer("num_bad_epochs", 0),
}


class LRScheduler:
    """Base of the schedulers.

    A subclass defines `next_lr(lr, base_lr)`, the rate of one group, or `get_lr()`, the list of those of all groups.
    Its settings are attributes, and `checks` says what they may be.

    Parameters
    ----------
    optimizer : Optimizer
        Its groups get the entry "initial_lr", the rate of epoch 0.
    last_epoch : int >= -1
        -1 begins. Otherwise the last epoch of a training that is resumed without the scheduler's state; the groups
        must then have their "initial_lr".

    Attributes
    ----------
    last_epoch : int
        How many steps were taken.
    base_lrs : list of float
        The rates of epoch 0, one a group.

    Raises
    ------
    TypeError
        If `optimizer` is none, or a setting is of another type.
    ValueError
        If a setting is out of range, or "initial_lr" is missing.

    Examples
    --------
    >>> import nn
    >>> class Halving(LRScheduler):
    ...     def next_lr(self, lr, base_lr):
    ...         return lr / 2 if self.last_epoch else lr
    >>> optimizer = nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=1.0)
    >>> scheduler = Halving(optimizer)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    checks: ClassVar[Mapping[str, Check]] = {}
    stateless: ClassVar[frozenset[str]] = frozenset({"optimizer"})  # attributes that are no part of the state
    last_epoch: int
    base_lrs: list[float]
    _last_lr: list[float]

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        self._attach(optimizer)
        self.last_epoch = integer("last_epoch", -1)(last_epoch)
        for index, group in enumerate(optimizer.param_groups):
            if last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"param 'initial_lr' is not specified in param_groups[{index}] when resuming scheduler with "
                    f"last_epoch >= 0: load the optimizer's state first, at {mg.sites.here()}"
                )
        self.base_lrs = [_rate(group["initial_lr"]) for group in optimizer.param_groups]
        self._step_count = 0
        self._advance()

    def _attach(self, optimizer: Optimizer) -> None:
        """Take hold of the optimiser, and check the settings."""
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer, at {mg.sites.here()}")
        self.optimizer = optimizer
        vars(self).update({name: check(getattr(self, name)) for name, check in self.checks.items()})

    def step(self) -> None:
        """Set the rates of the next epoch.

        Raises
        ------
        ValueError
            If the optimiser has other groups than when the scheduler was made, or a rate became negative or infinite.

        Warns
        -----
        UserWarning
            If the optimiser has taken no step before: the first rate would be passed over.
        """
        follows = self.optimizer.stepped or type(self.optimizer).step is not Optimizer.step  # another's step tells not
        if self._step_count == 1 and not follows:
            warnings.warn(
                "Detected call of `lr_scheduler.step()` before `optimizer.step()`. You should call them in the "
                "opposite order: `optimizer.step()` before `lr_scheduler.step()`. Failure to do this will result in "
                "skipping the first value of the learning rate schedule.",
                UserWarning,
                stacklevel=2,
            )
        self._advance()

    def _advance(self) -> None:
        groups = self.optimizer.param_groups
        if len(groups) != len(self.base_lrs):
            raise ValueError(
                f"the optimizer has {len(groups)} parameter groups, and had {len(self.base_lrs)} when "
                f"{type(self).__name__} was made: add groups before, at {mg.sites.here()}"
            )
        self.last_epoch += 1
        try:
            rates = [_rate(lr) for lr in self.get_lr()]
        except BaseException:
            self.last_epoch -= 1
            raise
        self._step_count += 1
        for group, lr in zip(groups, rates, strict=True):
            group["lr"] = lr
        self._last_lr = rates

    def get_lr(self) -> list[float]:
        """The rates of the epoch `last_epoch`; called by `step()`. To look at rates, use `get_last_lr()`."""
        return [
            self.next_lr(_rate(group["lr"]), base_lr)
            for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True)
        ]

    def next_lr(self, lr: float, base_lr: float) -> float:
        """The rate of the epoch `last_epoch` of a group: from that of the epoch before, and that of epoch 0."""
        raise NotImplementedError(f"{type(self).__name__} is missing the required method next_lr(lr, base_lr)")

    @property
    def _begins(self) -> bool:
        """Whether this is the call from `__init__`: the rate stands already, that of a resumed training too."""
        return self._step_count == 0

    def get_last_lr(self) -> list[float]:
        """The rates that were set last, one a group."""
        return list(self._last_lr)

    def state_dict(self) -> dict[str, Any]:
        """All but the optimiser, copied; plain numbers, strings and lists.

        The optimiser's own state holds the rates: save and load both.
        """
        return copy.deepcopy({name: value for name, value in vars(self).items() if name not in self.stateless})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Go on where the scheduler stood that gave this state; all is checked before anything is changed.

        Raises
        ------
        TypeError
            If `state_dict` is no mapping, or a part of it is of another type.
        ValueError
            If it is that of another kind of scheduler, or of another number of groups, or out of range.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"loaded scheduler state: expected a dict, got {type(state_dict).__name__}, at {mg.sites.here()}"
            )
        own = vars(self).keys() - self.stateless
        if own != state_dict.keys():
            raise ValueError(
                f"loaded scheduler state holds {sorted(map(str, state_dict))}, expected what state_dict() of "
                f"{type(self).__name__} gives: {sorted(own)}, at {mg.sites.here()}"
            )
        state = copy.deepcopy(dict(state_dict))
        for name, check in {**_STATE, **self.checks}.items():
            if name in state:
                state[name] = check(state[name])
        for name in ("base_lrs", "_last_lr"):
            if name in state and len(state[name]) != len(vars(self)[name]):
                raise ValueError(
                    f"loaded scheduler state holds {len(state[name])} {name}, expected {len(vars(self)[name])}, "
                    f"at {mg.sites.here()}"
                )
        vars(self).update(state)

    def __repr__(self) -> str:
        settings = "".join(f"{name}={getattr(self, name)}, " for name in self.checks)
        return f"{type(self).__name__}({settings}last_epoch={self.last_epoch})"


class LambdaLR(LRScheduler):
    """The first rate times a function of the epoch: eta_t = eta_0 f(t).

    Parameters
    ----------
    optimizer : Optimizer
    lr_lambda : callable, or list of callables
        `f(epoch)` to a factor >= 0; one for all groups, or one a group.
    last_epoch : int >= -1
        As for `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        As for `LRScheduler`; if something cannot be called, or there are not as many as groups.

    Notes
    -----
    Functions are no part of the state: make the scheduler with the same ones, then load.

    Examples
    --------
    >>> import nn
    >>> optimizer = nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=1.0)
    >>> scheduler = LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    stateless: ClassVar[frozenset[str]] = frozenset({"optimizer", "lr_lambdas"})

    def __init__(
        self,
        optimizer: Optimizer,
        lr_lambda: Callable[[int], float] | Sequence[Callable[[int], float]],
        last_epoch: int = -1,
    ) -> None:
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"{type(optimizer).__name__} is not an Optimizer, at {mg.sites.here()}")
        count = len(optimizer.param_groups)
        given: Any = lr_lambda
        self.lr_lambdas: list[Callable[[int], float]] = (
            list(given) if isinstance(given, list | tuple) else [given] * count
        )
        if len(self.lr_lambdas) != count:
            raise ValueError(f"Expected {count} lr_lambdas, but got {len(self.lr_lambdas)}, at {mg.sites.here()}")
        for function in self.lr_lambdas:
            if not callable(function):
                raise TypeError(f"lr_lambda must be called as lr_lambda(epoch), got {function!r}, at {mg.sites.here()}")
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float]:
        """The first rates, each times its function of `last_epoch`."""
        factor = number("value of lr_lambda")
        return [base_lr * factor(f(self.last_epoch)) for f, base_lr in zip(self.lr_lambdas, self.base_lrs, strict=True)]


class StepLR(LRScheduler):
    """The rate times gamma every `step_size` epochs: eta_t = eta_0 gamma^floor(t / step_size).

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int >= 1
    gamma : float >= 0
    last_epoch : int >= -1
        As for `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        As for `LRScheduler`.

    Examples
    --------
    See the top of `nn.optim.lr_scheduler`.
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "step_size": integer("step_size value", 1),
        "gamma": number("gamma value", 0),
    }

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1) -> None:
        self.step_size, self.gamma = step_size, gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        """Times gamma where `step_size` divides the epoch."""
        return lr * self.gamma if self.last_epoch and self.last_epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """The rate times gamma at each milestone; at one that is given twice, times gamma^2.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : iterable of int >= 0
        Epochs.
    gamma : float >= 0
    last_epoch : int >= -1
        As for `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        As for `LRScheduler`.

    Examples
    --------
    >>> import nn
    >>> optimizer = nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=1.0)
    >>> scheduler = MultiStepLR(optimizer, milestones=[1, 3], gamma=0.5)
    >>> rates = []
    >>> for epoch in range(5):
    ...     optimizer.step()
    ...     rates += scheduler.get_last_lr()
    ...     scheduler.step()
    >>> rates
    [1.0, 0.5, 0.5, 0.25, 0.25]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "milestones": listed("milestones", integer("milestone", 0)),
        "gamma": number("gamma value", 0),
    }

    def __init__(
        self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.milestones: list[int] = milestones  # type: ignore[assignment]  # a list once it is checked
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        """Times gamma for each milestone that the epoch is."""
        factor: float = self.gamma ** self.milestones.count(self.last_epoch)
        return lr * factor


def _factor(name: str, allowed: Callable[[float], bool], otherwise: str) -> Check:
    def check(value: Any) -> float:
        factor: float = number(name)(value)
        if not allowed(factor):
            raise ValueError(f"{otherwise}, got {value}, at {mg.sites.here()}")
        return factor

    return check


class LinearLR(LRScheduler):
    """From `start_factor` to `end_factor` of the first rate along a line, over `total_iters` epochs: a warming-up.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float in (0, 1]
    end_factor : float in [0, 1]
    total_iters : int >= 1
        After so many epochs the rate stays.
    last_epoch : int >= -1
        As for `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        As for `LRScheduler`.

    Notes
    -----
    With s and e the factors and T the epochs, eta_t = eta_0 f(t), f(t) = s + (e - s) min(t, T) / T. From one rate to
    the next that is the factor f(t) / f(t - 1).

    Examples
    --------
    >>> import nn
    >>> optimizer = nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=1.0)
    >>> scheduler = LinearLR(optimizer, start_factor=0.5, total_iters=2)
    >>> rates = []
    >>> for epoch in range(4):
    ...     optimizer.step()
    ...     rates += scheduler.get_last_lr()
    ...     scheduler.step()
    >>> rates
    [0.5, 0.75, 1.0, 1.0]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "start_factor": _factor(
            "start_factor value",
            lambda factor: 0 < factor <= 1,
            "Starting multiplicative factor expected to be greater than 0 and less or equal to 1",
        ),
        "end_factor": _factor(
            "end_factor value",
            lambda factor: 0 <= factor <= 1,
            "Ending multiplicative factor expected to be between 0 and 1",
        ),
        "total_iters": integer("total_iters value", 1),
    }

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1 / 3,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor, self.end_factor, self.total_iters = start_factor, end_factor, total_iters
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        """Times f(t) / f(t - 1)."""
        t, T, s, e = self.last_epoch, self.total_iters, self.start_factor, self.end_factor
        if t == 0:
            return lr * s
        if self._begins or t > T:
            return lr
        return lr * (1 + (e - s) / (T * s + (t - 1) * (e - s)))


class ExponentialLR(LRScheduler):
    """The rate times gamma at every epoch: eta_t = eta_0 gamma^t.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float >= 0
    last_epoch : int >= -1
        As for `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        As for `LRScheduler`.

    Examples
    --------
    >>> import nn
    >>> optimizer = nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=1.0)
    >>> scheduler = ExponentialLR(optimizer, gamma=0.5)
    >>> optimizer.step()
    >>> scheduler.step()
    >>> scheduler.get_last_lr()
    [0.5]
    """

    checks: ClassVar[Mapping[str, Check]] = {"gamma": number("gamma value", 0)}

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = gamma
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        """Times gamma."""
        return lr if self._begins else lr * self.gamma


class CosineAnnealingLR(LRScheduler):
    """Down half a cosine from the first rate to `eta_min` in `T_max` epochs, and up again if the training goes on.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int >= 1
        Half a period, in epochs.
    eta_min : float >= 0
        The least rate.
    last_epoch : int >= -1
        As for `LRScheduler`.

    Raises
    ------
    TypeError, ValueError
        As for `LRScheduler`.

    Notes
    -----
    ::

        eta_t = eta_min + (eta_0 - eta_min) (1 + cos(pi t / T_max)) / 2

    From one rate to the next, eta_t - eta_min is multiplied by (1 + cos(pi t / T_max)) / (1 + cos(pi (t - 1) / T_max)),
    apart from the first step up, whose denominator is 0.

    Loshchilov and Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017, equation 5, without the
    restarts.

    Examples
    --------
    >>> import nn
    >>> optimizer = nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=1.0)
    >>> scheduler = CosineAnnealingLR(optimizer, T_max=2)
    >>> rates = []
    >>> for epoch in range(5):
    ...     optimizer.step()
    ...     rates += scheduler.get_last_lr()
    ...     scheduler.step()
    >>> [round(lr, 12) for lr in rates]
    [1.0, 0.5, 0.0, 0.5, 1.0]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "T_max": integer("T_max value", 1),
        "eta_min": number("eta_min value", 0),
    }

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1) -> None:
        self.T_max, self.eta_min = T_max, eta_min
        super().__init__(optimizer, last_epoch)

    def next_lr(self, lr: float, base_lr: float) -> float:
        """Along the cosine, from the present rate."""
        t, T = self.last_epoch, self.T_max
        if self._begins:
            return lr
        if (t - 1) % (2 * T) == T:
            return lr + (base_lr - self.eta_min) * (1 - math.cos(math.pi / T)) / 2
        ratio = (1 + math.cos(math.pi * t / T)) / (1 + math.cos(math.pi * (t - 1) / T))
        return ratio * (lr - self.eta_min) + self.eta_min


def _choice(role: str, *choices: str) -> Check:
    def check(value: Any) -> Any:
        if value not in choices:
            raise ValueError(f"{role} {value} is unknown! Expected {' or '.join(choices)}, at {mg.sites.here()}")
        return value

    return check


def _floor(value: Any) -> list[float] | float:
    each = number("min_lr value", 0)
    floor: list[float] | float = listed("min_lr", each)(value) if isinstance(value, list | tuple) else each(value)
    return floor


class ReduceLROnPlateau(LRScheduler):
    """The rate times `factor` when what is watched has not become better for more than `patience` epochs.

    Its step takes what is watched: `scheduler.step(validation_loss)`.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether less is better (a loss), or more (an accuracy).
    factor : float in [0, 1)
    patience : int >= 0
        So many epochs without a better number are borne; at the next one the rate falls.
    threshold : float >= 0
        By how much a better number is better.
    threshold_mode : {"rel", "abs"}
        "rel": below best (1 - threshold), or above best (1 + threshold). "abs": below best - threshold, or above
        best + threshold.
    cooldown : int >= 0
        Epochs after a fall in which none counts as a bad one.
    min_lr : float >= 0, or list of them
        The least rate; of all groups, or one a group.
    eps : float >= 0
        A fall by no more than this is not made.

    Attributes
    ----------
    best : float
        The best number so far.
    num_bad_epochs, cooldown_counter : int
        Epochs since then; epochs of the cooldown that are left.

    Raises
    ------
    TypeError, ValueError
        As for `LRScheduler`.

    Notes
    -----
    nan is never better, so that epochs with a nan loss count as bad. "rel" is meant for positive numbers.

    Examples
    --------
    >>> import nn
    >>> optimizer = nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=1.0)
    >>> scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=1)
    >>> rates = []
    >>> for loss in (3.0, 2.0, 2.0, 2.0, 1.0):
    ...     scheduler.step(loss)
    ...     rates += scheduler.get_last_lr()
    >>> rates
    [1.0, 1.0, 1.0, 0.5, 0.5]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "mode": _choice("mode", "min", "max"),
        "factor": _factor("factor value", lambda factor: 0 <= factor < 1, "Factor should be < 1.0, and at least 0"),
        "patience": integer("patience value", 0),
        "threshold": number("threshold value", 0),
        "threshold_mode": _choice("threshold mode", "rel", "abs"),
        "cooldown": integer("cooldown value", 0),
        "min_lr": _floor,
        "eps": number("epsilon value", 0),
    }

    def __init__(
        self,
        optimizer: Optimizer,
        mode: Literal["min", "max"] = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: Literal["rel", "abs"] = "rel",
        cooldown: int = 0,
        min_lr: list[float] | float = 0,
        eps: float = 1e-8,
    ) -> None:
        self.mode, self.threshold, self.threshold_mode = mode, threshold, threshold_mode
        self.factor, self.min_lr, self.eps = factor, min_lr, eps
        self.patience, self.cooldown = patience, cooldown
        self._attach(optimizer)
        self._floors()
        self.best = math.inf if mode == "min" else -math.inf
        self.last_epoch = self.num_bad_epochs = self.cooldown_counter = 0
        self._last_lr = [_rate(group["lr"]) for group in optimizer.param_groups]

    def step(self, metrics: float | mg.Tensor | mg.Value) -> None:  # type: ignore[override]  # torch's, too
        """Look at the number of the epoch that has ended, and let the rates fall if it is time.

        Parameters
        ----------
        metrics : float
            What is watched, after this epoch.

        Raises
        ------
        TypeError
            If it is no number.
        """
        current, floors = _measure(metrics), self._floors()
        self.last_epoch += 1
        if self._is_better(current):
            self.best, self.num_bad_epochs = current, 0
        else:
            self.num_bad_epochs += 1
        if self.in_cooldown:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        groups = self.optimizer.param_groups
        if self.num_bad_epochs > self.patience:
            for group, floor in zip(groups, floors, strict=True):
                lr = _rate(group["lr"])
                lower = max(lr * self.factor, floor)
                if lr - lower > self.eps:
                    group["lr"] = lower
            self.cooldown_counter, self.num_bad_epochs = self.cooldown, 0
        self._last_lr = [_rate(group["lr"]) for group in groups]

    @property
    def in_cooldown(self) -> bool:
        """Whether the last fall is so recent that no epoch counts as bad."""
        return self.cooldown_counter > 0

    def _is_better(self, current: float) -> bool:
        sign = -1 if self.mode == "min" else 1
        if self.threshold_mode == "rel":
            bar = self.best * (1 + sign * self.threshold)
        else:
            bar = self.best + sign * self.threshold
        return current < bar if self.mode == "min" else current > bar

    def _floors(self) -> list[float]:
        """The least rate of each group."""
        count = len(self.optimizer.param_groups)
        floors = self.min_lr if isinstance(self.min_lr, list | tuple) else [self.min_lr] * count
        if len(floors) != count:
            raise ValueError(f"expected {count} min_lrs, got {len(floors)}, at {mg.sites.here()}")
        return list(floors)
