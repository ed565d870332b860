"""Optimisers: the gradient step v' = v - lr dC/dv and its descendants. Names, signatures and values are torch's."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

import numpy as np

import microgrid as mg
from nn.module import clear_gradients
from nn.targets import Array

__microgrid_machinery__ = True

Group: TypeAlias = dict[str, Any]


class Optimizer:
    """Base of the optimisers: groups of parameters with their settings, and what is remembered of each parameter.

    A subclass defines `update(parameter, group)`, which returns the parameter's next array and leaves the present one
    alone: graphs may hold views of it.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
        Leaf tensors, for instance `model.parameters()`; or groups such as `{"params": [w, b], "lr": 0.1}` whose
        settings override the defaults.
    defaults : dict
        Settings of the groups that do not bring their own.

    Attributes
    ----------
    param_groups : list of dict
        `params` and the settings of each group. May be changed between steps (`group["lr"] *= 0.9`).
    state : dict of Tensor to dict
        What each parameter carries from step to step; filled by the first step.

    Raises
    ------
    ValueError
        For no parameters, a parameter twice, one with a history, a group without "params", or a setting out of range.
    TypeError
        For anything but tensors, or a setting of another type.
    """

    def __init__(self, params: Iterable[mg.Tensor] | Iterable[Group], defaults: Group) -> None:
        if isinstance(params, mg.Tensor | str) or not isinstance(params, Iterable):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}, at {mg.sites.here()}"
            )
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: dict[mg.Tensor, dict[str, Any]] = {}
        given: list[Any] = list(params)
        if not given:
            raise ValueError(f"optimizer got an empty parameter list, at {mg.sites.here()}")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Take in one more group; what it does not set comes from the defaults."""
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}, at {mg.sites.here()}")
        if "params" not in param_group:
            raise ValueError(
                f'param_group holds {", ".join(map(repr, param_group)) or "nothing"}, expected "params" among them: '
                f"the tensors of the group, at {mg.sites.here()}"
            )
        params = param_group["params"]
        if not isinstance(params, Iterable):
            raise TypeError(
                f"params of a param_group: expected Tensors, got {type(params).__name__}, at {mg.sites.here()}"
            )
        group = {**self.defaults, **param_group, "params": [params] if isinstance(params, mg.Tensor) else list(params)}
        if not group["params"]:
            raise ValueError(f"optimizer got an empty parameter list, at {mg.sites.here()}")
        self.check_settings(group)
        taken = {id(p) for g in self.param_groups for p in g["params"]}
        for parameter in group["params"]:
            _check_parameter(parameter, taken)
            taken.add(id(parameter))
        self.param_groups.append(group)

    def check_settings(self, group: Group) -> None:
        """Raise ValueError where a setting is out of range, TypeError where it is no number."""
        _at_least_zero("learning rate", group["lr"])
        _at_least_zero("weight_decay value", group["weight_decay"])

    def update(self, parameter: mg.Tensor, group: Group) -> Array:
        """The next array of a parameter that has a gradient; subclasses define it."""
        raise NotImplementedError

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter._grad is not None:
                    parameter._replace(self.update(parameter, group))

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or, with False, fill them with zeros in place)."""
        for group in self.param_groups:
            clear_gradients(group["params"], set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Settings and state, copied, with parameters replaced by their position.

        Returns
        -------
        dict
            `state` by position, `param_groups` with positions as `params`.
        """
        position = {p: i for i, p in enumerate(self._parameters())}
        groups = [{**group, "params": [position[p] for p in group["params"]]} for group in self.param_groups]
        state = {position[p]: remembered for p, remembered in self.state.items()}
        return copy.deepcopy({"state": state, "param_groups": groups})

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take over settings and state of an optimiser with groups of the same sizes.

        All is checked before anything is changed.

        Raises
        ------
        ValueError
            If something is missing, or if the number of groups or of parameters, or a remembered shape, differs.
        TypeError
            If `state_dict` is no mapping.
        """
        _check_keys("loaded state dict", state_dict, {"param_groups", "state"})
        groups, state = copy.deepcopy((state_dict["param_groups"], state_dict["state"]))
        if len(groups) != len(self.param_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: "
                f"{len(groups)}, expected {len(self.param_groups)}, at {mg.sites.here()}"
            )
        for own, loaded in zip(self.param_groups, groups, strict=True):
            _check_keys("loaded parameter group", loaded, own.keys())
            if len(own["params"]) != len(loaded["params"]):
                raise ValueError(
                    "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                    f"{len(loaded['params'])}, expected {len(own['params'])}, at {mg.sites.here()}"
                )
            self.check_settings(loaded)
        parameters = self._parameters()
        for position, remembered in state.items():
            _check_remembered(position, remembered, parameters)
        for own, loaded in zip(self.param_groups, groups, strict=True):
            own.update({**loaded, "params": own["params"]})
        self.state = {parameters[position]: remembered for position, remembered in state.items()}

    def _parameters(self) -> list[mg.Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def __repr__(self) -> str:
        settings = [", ".join(f"{k}={v}" for k, v in g.items() if k != "params") for g in self.param_groups]
        return f"{type(self).__name__}({'; '.join(settings)})"


class SGD(Optimizer):
    """Gradient descent: v' = v - lr g, with momentum if asked for.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float >= 0
        The learning rate, eta in the notes.
    momentum : float >= 0
        mu below.
    dampening : float
        tau below.
    weight_decay : float >= 0
        lambda below: the gradient of lambda/2 |v|^2 is added.
    nesterov : bool
        Look ahead along the momentum.
    maximize : bool
        Climb.

    Raises
    ------
    ValueError
        For no parameters, a parameter twice, one with a history, or a setting out of range.
    TypeError
        For anything but tensors.

    Notes
    -----
    ::

        g <- dC/dv + lambda v
        u <- g at the first step, then mu u + (1 - tau) g       if mu > 0
        g <- g + mu u  if nesterov else  u
        v <- v - lr g

    Momentum: Polyak 1964; its modern form and Nesterov's: Sutskever, Martens, Dahl and Hinton 2013.

    Examples
    --------
    >>> v = mg.Tensor([1.0], requires_grad=True)
    >>> descent = SGD([v], lr=0.25)
    >>> mg.sum(v * v).backward()
    >>> descent.step()
    >>> v.tolist()
    [0.5]
    """

    def __init__(
        self,
        params: Iterable[mg.Tensor] | Iterable[Group],
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

    def check_settings(self, group: Group) -> None:
        """Raise ValueError where a setting is out of range, TypeError where it is no number."""
        super().check_settings(group)
        _at_least_zero("momentum value", group["momentum"])
        _check_number("dampening", group["dampening"])
        if group["nesterov"] and (group["momentum"] <= 0 or group["dampening"] != 0):
            raise ValueError(f"Nesterov momentum requires a momentum and zero dampening, at {mg.sites.here()}")

    def update(self, parameter: mg.Tensor, group: Group) -> Array:
        """The recurrence in the notes of the class."""
        v, g = parameter._data, _gradient(parameter, group)
        if mu := group["momentum"]:
            remembered = self.state.setdefault(parameter, {})
            u = remembered.get("momentum_buffer")
            if u is None:
                u = remembered["momentum_buffer"] = g.copy()
            else:
                u *= mu
                u += (1 - group["dampening"]) * g
            g = g + mu * u if group["nesterov"] else u
        return v - group["lr"] * g  # type: ignore[no-any-return]


class Adam(Optimizer):
    """Adaptive moments: each entry is scaled by the running size of its gradient.

    Parameters
    ----------
    params : iterable of Tensor, or of dict
    lr : float >= 0
        About the length of a step, in each entry.
    betas : (float, float), each in [0, 1)
        How much of the running means of g and g^2 stays.
    eps : float >= 0
        Keeps the quotient finite.
    weight_decay : float >= 0
        lambda below: the gradient of lambda/2 |v|^2 is added.
    amsgrad : bool
        Divide by the largest s so far (Reddi, Kale and Kumar 2018).
    maximize : bool
        Climb.

    Raises
    ------
    ValueError
        For no parameters, a parameter twice, one with a history, or a setting out of range.
    TypeError
        For anything but tensors.

    Notes
    -----
    At step t, with r = s = 0 at first::

        g <- dC/dv + lambda v
        r <- beta1 r + (1 - beta1) g
        s <- beta2 s + (1 - beta2) g^2
        v <- v - lr / (1 - beta1^t) * r / (sqrt(s / (1 - beta2^t)) + eps)

    Kingma and Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1.

    Examples
    --------
    >>> v = mg.Tensor([1.0], requires_grad=True)
    >>> adam = Adam([v], lr=0.25, eps=0)
    >>> mg.sum(v * v).backward()
    >>> adam.step()
    >>> v.tolist()
    [0.75]
    """

    def __init__(
        self,
        params: Iterable[mg.Tensor] | Iterable[Group],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
    ) -> None:
        settings = {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        super().__init__(params, {**settings, "amsgrad": amsgrad, "maximize": maximize})

    def check_settings(self, group: Group) -> None:
        """Raise ValueError where a setting is out of range, TypeError where it is no number or pair."""
        super().check_settings(group)
        _at_least_zero("epsilon value", group["eps"])
        if not isinstance(group["betas"], tuple | list) or len(group["betas"]) != 2:
            raise TypeError(
                f"betas: expected two numbers, as in (0.9, 0.999), got {group['betas']!r}, at {mg.sites.here()}"
            )
        for index, beta in enumerate(group["betas"]):
            _check_number(f"beta parameter at index {index}", beta)
            if not 0 <= beta < 1:
                raise ValueError(
                    f"Invalid beta parameter at index {index}: {beta}, expected [0, 1), at {mg.sites.here()}"
                )

    def update(self, parameter: mg.Tensor, group: Group) -> Array:
        """The recurrence in the notes of the class."""
        v, g = parameter._data, _gradient(parameter, group)
        beta1, beta2 = group["betas"]
        remembered = self.state.get(parameter)
        if remembered is None:
            names = ["exp_avg", "exp_avg_sq"] + ["max_exp_avg_sq"] * group["amsgrad"]
            remembered = self.state[parameter] = {"step": 0, **{name: np.zeros_like(v) for name in names}}
        t = remembered["step"] = remembered["step"] + 1
        r, s = remembered["exp_avg"], remembered["exp_avg_sq"]
        r += (1 - beta1) * (g - r)
        s *= beta2
        s += (1 - beta2) * g * g
        if group["amsgrad"]:
            s = np.maximum(remembered["max_exp_avg_sq"], s, out=remembered["max_exp_avg_sq"])
        size = np.sqrt(s)
        size /= math.sqrt(1 - beta2**t)
        size += group["eps"]
        return v - group["lr"] / (1 - beta1**t) * r / size  # type: ignore[no-any-return]


def _gradient(parameter: mg.Tensor, group: Group) -> Any:
    """g of the recurrences; the stored gradient itself, not to be written to, where nothing is added."""
    g = parameter._grad
    if group["maximize"]:
        g = -g
    if decay := group["weight_decay"]:
        g = g + decay * parameter._data
    return g


def _check_parameter(parameter: object, taken: set[int]) -> None:
    if not isinstance(parameter, mg.Tensor):
        raise TypeError(
            f"optimizer can only optimize Tensors, but one of the params is {type(parameter).__name__}, "
            f"at {mg.sites.here()}"
        )
    if not parameter.is_leaf:
        raise ValueError(f"can't optimize a non-leaf Tensor, at {mg.sites.here()}")
    if id(parameter) in taken:
        raise ValueError(f"some parameters appear more than once, at {mg.sites.here()}")


def _check_keys(what: str, given: object, expected: Iterable[str]) -> None:
    if not isinstance(given, Mapping):
        raise TypeError(f"{what}: expected a dict, got {type(given).__name__}, at {mg.sites.here()}")
    missing = [key for key in sorted(expected) if key not in given]
    if missing:
        raise ValueError(
            f"{what} lacks {', '.join(map(repr, missing))}, expected what state_dict() of such an optimizer gives, "
            f"at {mg.sites.here()}"
        )


def _check_remembered(position: int, remembered: dict[str, Any], parameters: list[mg.Tensor]) -> None:
    if position not in range(len(parameters)):
        raise ValueError(
            f"loaded state dict holds state of parameter {position}, expected 0 to {len(parameters) - 1}, "
            f"at {mg.sites.here()}"
        )
    _check_keys(f"loaded state of parameter {position}", remembered, ())
    shape = parameters[position].shape
    for name, array in remembered.items():
        if isinstance(array, np.ndarray) and array.shape != shape:
            raise ValueError(
                f"loaded state dict holds {name} of shape {array.shape} for parameter {position}, expected {shape}, "
                f"at {mg.sites.here()}"
            )


def _at_least_zero(name: str, value: float) -> None:
    _check_number(name, value)
    if not (value >= 0 and math.isfinite(value)):
        raise ValueError(f"Invalid {name}: {value}, expected a finite number >= 0, at {mg.sites.here()}")


def _check_number(name: str, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int | float | np.number):
        raise TypeError(f"{name}: expected a number, got {value!r}, at {mg.sites.here()}")
