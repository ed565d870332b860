"""What all optimisers share: groups of parameters, their settings, what is remembered of each, and the step."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeAlias, TypeVar

import numpy as np

import microgrid as mg
from microgrid import modes
from microgrid.kinds import quietly
from nn.module import clear_gradients
from nn.optim.row import Row
from nn.optim.settings import Check, flag, integer, number
from nn.targets import Array

__microgrid_machinery__ = True

Group: TypeAlias = dict[str, Any]
State: TypeAlias = dict[str, Any]
Params: TypeAlias = Iterable[mg.Tensor] | Iterable[tuple[str, mg.Tensor]] | Iterable[Group]
Loss = TypeVar("Loss")


class Optimizer:
    """Base of the optimisers: groups of parameters with their settings, and what is remembered of each parameter.

    A subclass defines `update(v, g, state, settings)`, the recurrence, and says in `checks` what its settings may be.

    Parameters
    ----------
    params : iterable of Tensor, of (str, Tensor), or of dict
        Leaf tensors, for instance `model.parameters()` or `model.named_parameters()`; or groups such as
        `{"params": [w, b], "lr": 0.1}` whose settings override the defaults.
    defaults : dict
        Settings of the groups that do not bring their own. Three mean the same to every optimiser:

        lr : float >= 0
            The learning rate, eta in the notes.
        weight_decay : float >= 0
            lambda: the gradient of lambda/2 |v|^2 is added to that of the loss, unless the optimiser says otherwise.
        maximize : bool
            Climb: the gradient of the loss is taken with the opposite sign.

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
        For anything but tensors, or a setting of another type. torch's switches for its kernels (`foreach`, `fused`,
        `capturable`, `differentiable`) have no meaning here and are no arguments.

    Examples
    --------
    An optimiser is its recurrence:

    >>> class SignDescent(Optimizer):
    ...     def __init__(self, params, lr=0.01):
    ...         super().__init__(params, {"lr": lr})
    ...     def update(self, v, g, state, settings):
    ...         return v - settings["lr"] * np.sign(g)
    >>> v = mg.Tensor([1.0, -3.0], requires_grad=True)
    >>> descent = SignDescent([v], lr=0.25)
    >>> mg.sum(v * v).backward()
    >>> descent.step()
    >>> v.tolist()
    [0.75, -2.75]
    """

    checks: ClassVar[Mapping[str, Check]] = {
        "lr": number("learning rate", 0),
        "weight_decay": number("weight_decay value", 0),
        "maximize": flag("maximize"),
    }
    remembers: ClassVar[tuple[str, ...] | None] = None  # what a state always has: a step count, arrays; None: unknown
    elementwise: ClassVar[bool] = False  # whether each number moves by itself, so that parameters may be moved together
    stepped = False  # whether a step was made; the schedulers ask

    def __init_subclass__(cls) -> None:
        if not vars(cls).keys().isdisjoint(("update", "decay")) and "elementwise" not in vars(cls):
            cls.elementwise = False  # what a subclass changes in the recurrence it must say itself

    def __init__(self, params: Params, defaults: Group) -> None:
        if isinstance(params, mg.Tensor | str | Mapping) or not isinstance(params, Iterable):
            raise TypeError(
                "params argument given to the optimizer should be an iterable of Tensors or dicts, "
                f"but got {type(params).__name__}, at {mg.sites.here()}"
            )
        self.defaults = defaults
        self.param_groups: list[Group] = []
        self.state: defaultdict[mg.Tensor, State] = defaultdict(dict)
        self._met: dict[int, tuple[Group, Group]] = {}  # by the group's place: what it was when checked, and that
        self._rows: dict[int, Row] = {}  # by the group's place
        self._memory: Callable[[], Any] | None = None  # for the next row, while a row is moved
        self._factor: tuple[float, Any] = (1.0, np.ones(()))
        given: list[Any] = list(params)
        if not given:
            raise ValueError(f"optimizer got an empty parameter list, at {mg.sites.here()}")
        for group in given if isinstance(given[0], dict) else [{"params": given}]:
            self.add_param_group(group)

    def add_param_group(self, param_group: Group) -> None:
        """Take in one more group; what it does not set comes from the defaults.

        Parameters
        ----------
        param_group : dict
            `params`, a Tensor or an iterable as for the optimiser itself, and settings. Other entries are kept as they
            are. The dict itself is left alone.

        Raises
        ------
        ValueError, TypeError
            As for the optimiser itself; it then has the groups that it had.
        """
        if not isinstance(param_group, dict):
            raise TypeError(f"param_group must be a dict, but got {type(param_group).__name__}, at {mg.sites.here()}")
        if "params" not in param_group:
            raise ValueError(
                f'param_group holds {", ".join(map(repr, param_group)) or "nothing"}, expected "params" among them: '
                f"the tensors of the group, at {mg.sites.here()}"
            )
        group = {**self.defaults, **param_group, **_listed(param_group["params"])}
        if any(("param_names" in group) != ("param_names" in other) for other in self.param_groups):
            raise ValueError(f"all optimizer param groups should be with/without names, at {mg.sites.here()}")
        self.settings(group)
        taken = {id(p) for p in self._parameters()}
        for parameter in group["params"]:
            _check_parameter(parameter, taken)
            taken.add(id(parameter))
        self.param_groups.append(group)

    def settings(self, group: Group) -> Group:
        """The settings of a group, each checked and as a plain number; asked for at each step, since they may change.

        Raises
        ------
        ValueError
            If one is out of range.
        TypeError
            If one is of another type.
        """
        checks = self.checks
        return {name: checks[name](value) if name in checks else value for name, value in group.items()}

    def step(self, closure: Callable[[], Loss] | None = None) -> Loss | None:
        """Move every parameter that has a gradient.

        Parameters
        ----------
        closure : callable, optional
            Called first, with gradients enabled: forgets the gradients, computes the loss, calls `backward` on it and
            returns it.

        Returns
        -------
        What the closure returned, or None

        Raises
        ------
        ValueError, TypeError
            If a setting was changed to one out of range or of another type; nothing has moved then.
        """
        if modes.special.count:
            modes.look("a step of an optimizer")
        loss = None
        if closure is not None:
            with mg.enable_grad():
                loss = closure()
        self.stepped = True
        # IEEE's numbers in silence, as everywhere; `nn.fit` and `detect_anomaly` look
        quietly(self._move, [self._settings(place, group) for place, group in enumerate(self.param_groups)])
        return loss

    def _settings(self, place: int, group: Group) -> Group:
        """The settings of a group, checked where they are not those of the last step."""
        met = self._met.get(place)
        if met is not None and met[0] == group:
            return met[1]
        settings = self.settings(group)
        if not any(isinstance(value, list) for name, value in group.items() if name != "params"):
            self._met[place] = dict(group), settings  # what is no list cannot change unseen
        return settings

    def _move(self, groups: list[Group]) -> None:
        for place, settings in enumerate(groups):
            if self.elementwise and self._moved_in_a_row(place, settings):
                continue
            for parameter in settings["params"]:
                if parameter._grad is not None:
                    g = gradient(parameter)
                    parameter._replace(self._moved(parameter._data, g, self.state[parameter], settings))

    def _moved_in_a_row(self, place: int, settings: Group) -> bool:
        """Move the parameters of a group together; False, with nothing done, where they are moved one by one."""
        row, parameters = self._rows.get(place), settings["params"]
        if row is None or not row.is_of(parameters):
            row = self._rows[place] = Row(parameters)
        g = row.gather(self.state)
        if g is None:
            return False
        self._memory = row.memory
        try:
            row.hand_out(self._moved(row.numbers, g, row.state, settings), self.state)
        finally:
            self._memory = None
        return True

    def _moved(self, v: Any, g: Any, state: State, settings: Group) -> Any:
        """The next array of a parameter, of the shape and dtype that it has."""
        start = v
        if settings.get("maximize"):
            g = -g
        if settings.get("weight_decay"):
            start, g = self.decay(v, g, settings)
        following = self.update(start, g, state, settings)
        if type(following) is not np.ndarray or following.dtype is not v.dtype:
            following = np.asarray(following, v.dtype)  # NumPy makes scalars of arrays without axes
        if following.shape != v.shape:
            raise ValueError(
                f"{type(self).__name__}.update gave an array of shape {following.shape} for a parameter of shape "
                f"{v.shape}, at {mg.sites.here()}"
            )
        return following

    def decay(self, v: Any, g: Any, settings: Group) -> tuple[Any, Any]:
        """Weight decay, before the recurrence: g + lambda v."""
        return v, g + settings["weight_decay"] * v

    def update(self, v: Any, g: Any, state: State, settings: Group) -> Any:
        """The recurrence: the next array of a parameter; subclasses define it.

        Parameters
        ----------
        v, g : ndarray of the parameter's shape (NumPy scalars for shape ())
            The parameter and its gradient. Neither is written to: graphs may hold views of the one, users the other.
        state : dict
            What the recurrence left there for this parameter; empty at first. Its arrays may be written to.
        settings : dict
            Those of the parameter's group, checked.
        """
        raise NotImplementedError(f"{type(self).__name__} is missing the required method update(v, g, state, settings)")

    def less(self, v: Any, factor: float, g: Any) -> Any:
        """The next array of a parameter: v - factor g."""
        if not g.ndim:
            return v - factor * g
        if self._factor[0] is not factor or self._factor[1].dtype is not g.dtype:
            self._factor = factor, np.asarray(factor, g.dtype)  # which NumPy need not make of it at each step
        change = np.multiply(g, self._factor[1], None if self._memory is None else self._memory())
        return np.subtract(v, change, change)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or, with False, fill them with zeros in place)."""
        for group in self.param_groups:
            clear_gradients(group["params"], set_to_none)

    def state_dict(self) -> dict[str, Any]:
        """Settings and state, copied, with parameters replaced by their position.

        Returns
        -------
        dict
            `state` by position, `param_groups` with positions as `params`: torch's layout.

        Examples
        --------
        >>> import nn
        >>> nn.optim.SGD([mg.Tensor([1.0], requires_grad=True)], lr=0.5).state_dict()["param_groups"][0]["params"]
        [0]
        """
        position = {p: i for i, p in enumerate(self._parameters())}
        groups = [{**group, "params": [position[p] for p in group["params"]]} for group in self.param_groups]
        state = {position[p]: remembered for p, remembered in self.state.items() if remembered}
        return copy.deepcopy({"state": state, "param_groups": groups})

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over settings and state of an optimiser with groups of the same sizes; it then goes on to the bit.

        All is checked before anything is changed.

        Parameters
        ----------
        state_dict : mapping
            As `state_dict()` gives it. Arrays are copied and cast to their parameter's dtype.

        Raises
        ------
        ValueError
            If something is missing, or if the number of groups or of parameters, their places, or a remembered shape
            differs.
        TypeError
            If `state_dict` or a part of it is of another type.
        """
        _check_keys("loaded state dict", state_dict, {"param_groups", "state"})
        groups, state = state_dict["param_groups"], state_dict["state"]
        _check_keys("loaded state", state, ())
        if not isinstance(groups, list | tuple):
            raise TypeError(f"loaded param_groups: expected a list, got {type(groups).__name__}, at {mg.sites.here()}")
        if len(groups) != len(self.param_groups):
            raise ValueError(
                "loaded state dict has a different number of parameter groups: "
                f"{len(groups)}, expected {len(self.param_groups)}, at {mg.sites.here()}"
            )
        for own, loaded in zip(self.param_groups, groups, strict=True):
            self._check_group(own, loaded)
        parameters = self._parameters()
        remembered = {
            _at(position, parameters): self._fitted(position, state[position], parameters) for position in state
        }
        for own, loaded in zip(self.param_groups, copy.deepcopy(groups), strict=True):
            names = {name: own[name] for name in ("param_names",) if name in own}
            taken_over = {**names, **loaded, "params": own["params"]}
            own.clear()  # the dict stays the same, since users may hold it
            own.update(taken_over)
        self.state = defaultdict(dict, remembered)

    def _check_group(self, own: Group, loaded: Any) -> None:
        _check_keys("loaded parameter group", loaded, {*self.defaults, "params"})
        if not isinstance(loaded["params"], list | tuple) or len(own["params"]) != len(loaded["params"]):
            raise ValueError(
                "loaded state dict contains a parameter group that doesn't match the size of optimizer's group: "
                f"params are {loaded['params']!r}, expected {len(own['params'])} of them, at {mg.sites.here()}"
            )
        places = {id(parameter): place for place, parameter in enumerate(self._parameters())}
        expected = [places[id(parameter)] for parameter in own["params"]]
        if list(loaded["params"]) != expected or not all(type(place) is int for place in loaded["params"]):
            raise ValueError(
                f"loaded state dict contains a parameter group of the parameters {loaded['params']!r:.60}, expected "
                f"{expected!r:.60}: state is kept by the place of a parameter, at {mg.sites.here()}"
            )
        self.settings(loaded)

    def _fitted(self, position: int, remembered: Any, parameters: list[mg.Tensor]) -> State:
        """A loaded state of one parameter, copied."""
        what = f"loaded state of parameter {position}"
        _check_keys(what, remembered, self.remembers or () if remembered else ())
        if self.remembers is None:
            return copy.deepcopy(dict(remembered))
        parameter = parameters[position]
        state: State = {}
        for name, value in remembered.items():
            if name == "step":
                state[name] = integer(f"step of {what}", 0)(value)
                continue
            if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf":
                raise TypeError(f"{name} of {what}: expected an array of numbers, got {value!r}, at {mg.sites.here()}")
            if value.shape != parameter.shape:
                raise ValueError(
                    f"loaded state dict holds {name} of shape {value.shape} for parameter {position}, "
                    f"expected {parameter.shape}, at {mg.sites.here()}"
                )
            state[name] = np.array(value, parameter.dtype)
        return state

    def _parameters(self) -> list[mg.Tensor]:
        return [parameter for group in self.param_groups for parameter in group["params"]]

    def __repr__(self) -> str:
        settings = [
            ", ".join(f"{k}={v}" for k, v in g.items() if k not in ("params", "param_names")) for g in self.param_groups
        ]
        return f"{type(self).__name__}({'; '.join(settings)})"


# What recurrences are written with


def gradient(parameter: mg.Tensor) -> Any:
    """The array of a gradient, or None: after `backward(create_graph=True)` a node holds it."""
    g = parameter._grad
    return g if type(g) is np.ndarray or g is None else g._data


def remembered(state: State, v: Any, *names: str, start: float = 0.0) -> list[Array]:
    """The arrays of these names in a state, in the shape and dtype of v; full of `start` when first asked for."""
    for name in names:
        if name not in state:
            state[name] = np.full_like(v, start)
    return [state[name] for name in names]


def counted(state: State) -> int:
    """The number of this step, from 1."""
    t: int = state.get("step", 0) + 1
    state["step"] = t
    return t


# Checks


def _listed(params: object) -> Group:
    """The entries `params` and, if they were given, `param_names` of a group."""
    if isinstance(params, set | frozenset):
        raise TypeError(
            "optimizer parameters need to be organized in ordered collections, but the ordering of tensors in sets "
            f"will change between runs. Please use a list instead, at {mg.sites.here()}"
        )
    if not isinstance(params, Iterable) or isinstance(params, str):
        raise TypeError(f"params of a param_group: expected Tensors, got {type(params).__name__}, at {mg.sites.here()}")
    given = [params] if isinstance(params, mg.Tensor) else list(params)
    if not given:
        raise ValueError(f"optimizer got an empty parameter list, at {mg.sites.here()}")
    named = [isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], str) for item in given]
    if all(named):
        return {"params": [parameter for _, parameter in given], "param_names": [name for name, _ in given]}
    if any(named):
        raise ValueError(
            f"all optimizer params should be with/without names. Some param names are missing, at {mg.sites.here()}"
        )
    return {"params": given}


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


def _at(position: object, parameters: list[mg.Tensor]) -> mg.Tensor:
    if not isinstance(position, int) or position not in range(len(parameters)):
        raise ValueError(
            f"loaded state dict holds state of parameter {position!r}, expected 0 to {len(parameters) - 1}, "
            f"at {mg.sites.here()}"
        )
    return parameters[position]
