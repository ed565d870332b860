"""Modules: things with parameters that can be called. The names and texts are torch's."""

from __future__ import annotations

import functools
import sys
from array import array as packed
from collections import UserDict
from collections.abc import Callable, Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

import microgrid as mg
from microgrid import modes
from microgrid.graph import next_number
from microgrid.sites import MARK, caller, user_frame, users_faces
from nn.targets import too_large

__microgrid_machinery__ = True

Kind = TypeVar("Kind")

getframe = sys._getframe
CALLS = 1024  # so many calls, the last ones, a module remembers at least, and twice as many at most


class Parameter(mg.Tensor):
    """A leaf tensor that a model learns.

    A `Parameter` that is an attribute of a `Module` (or stands in a list, tuple or dict that is) belongs
    to it: `parameters()`, `state_dict()` and the optimisers find it there.

    Parameters
    ----------
    data : array_like of floats, or a leaf Tensor, any shape
        Copied.
    requires_grad : bool
        False freezes it: kept in the state, never trained.
    name : str, optional
        Shown in drawings.

    Raises
    ------
    TypeError
        If the data are no numbers, or integers that are to be trained.
    ValueError
        If a Tensor has a history.

    Examples
    --------
    >>> Parameter([[1.0, 2.0]]).shape
    (1, 2)
    """

    __slots__ = ()

    def __init__(self, data: ArrayLike | mg.Tensor, requires_grad: bool = True, name: str | None = None) -> None:
        if isinstance(data, mg.Tensor):
            if not data.is_leaf:
                raise ValueError(
                    f"Parameter: the tensor has a history ({data._op}), and a parameter is a leaf: give "
                    f"tensor.detach(), at {mg.sites.here()}"
                )
            data = data._data
        super().__init__(data, requires_grad=requires_grad, name=name)


class IncompatibleKeys(NamedTuple):
    """What `load_state_dict(..., strict=False)` passed over."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def apart(users: Callable[..., Any], /, *inputs: Any, **named: Any) -> Any:
    """Call what is the user's from what is ours: it has lines of its own."""
    before, caller.frame = caller.frame, None
    try:
        return users(*inputs, **named)
    finally:
        caller.frame = before


def _called_apart(users: Callable[..., Any]) -> Callable[..., Any]:
    """A user's own `__call__`, as what a module of ours may call."""
    return functools.wraps(users)(lambda *inputs, **named: apart(users, *inputs, **named))


class Called:
    """What is called like a function, and remembers when: modules of Tensors and, in `nn.scalar`, of Values.

    Subclasses define `forward`.
    """

    _ours: Any  # the `forward` of a class of ours, which calls what is ours alone, but for other modules; else None
    _calls: packed[int] | None = None  # where each call began and ended, one after another
    _forgotten: bool = False  # whether there were more
    # no dict, which members would be looked for in
    _hooks: UserDict[int, Callable[[Any, tuple[Any, ...], Any], Any]] | None = None

    def forward(self, *inputs: Any, **named: Any) -> Any:
        """Compute the output. Every subclass defines it; call the module, not this."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        cls._ours = staticmethod(cls.forward)
        if MARK not in getframe(1).f_globals:  # where the class stands: what it inherits may call what it defines
            cls._ours = None
            if "__call__" in vars(cls):
                type.__setattr__(cls, "__call__", _called_apart(vars(cls)["__call__"]))

    def __setattr__(self, name: str, value: object) -> None:
        if name == "forward":  # the user's, for this one alone
            object.__setattr__(self, "_ours", None)
        object.__setattr__(self, name, value)

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        begun = next_number()
        before = caller.frame
        if (self.__class__.forward is self._ours) is (before is not None):
            output = self.forward(*inputs, **named) if named else self.forward(*inputs)
        else:  # the user calls what is ours, or is called from it
            caller.frame = user_frame(getframe(1)) if before is None and not users_faces else None
            try:
                output = self.forward(*inputs, **named)
            finally:
                caller.frame = before
        if self._hooks is not None:
            output = self._hooked(inputs, output)
        calls = self._calls
        if calls is None:
            calls = packed("q")
            object.__setattr__(self, "_calls", calls)
        calls.extend((begun, next_number()))
        if len(calls) >= 4 * CALLS:
            del calls[: 2 * CALLS]
            object.__setattr__(self, "_forgotten", True)
        return output

    def _hooked(self, inputs: tuple[Any, ...], output: Any) -> Any:
        """What the hooks make of an output."""
        assert self._hooks is not None
        if self._hooks and modes.record() is not None:  # a hook sees every call, so none may be replayed
            modes.look(f"a forward hook of {type(self).__name__}")
            return output
        for hook in list(self._hooks.values()):
            replaced = apart(hook, self, inputs, output)
            output = output if replaced is None else replaced
        return output

    def calls(self) -> list[tuple[int, int]]:
        """The last calls: a node was made in the call (begun, ended) if its creation number lies between the two.

        The last 1,024 are there, if there were as many; see `calls_since` for what is older.
        """
        calls = self._calls or ()
        return list(zip(calls[::2], calls[1::2], strict=True))

    def calls_since(self) -> int:
        """The creation number from which on `calls` knows of all calls: 0 where none is forgotten."""
        return int(self._calls[0]) if self._calls and self._forgotten else 0

    def register_forward_hook(self, hook: Callable[[Any, tuple[Any, ...], Any], Any]) -> mg.Hook:
        """Have `hook(module, inputs, output)` called after each call of the module.

        What it returns, unless None, takes the output's place. Copies and pickles of a module have no hooks.

        Returns
        -------
        Hook
            Its `remove()` takes the hook off again.

        Raises
        ------
        TypeError
            If it cannot be called.

        Examples
        --------
        >>> import nn
        >>> layer, seen = nn.Linear(2, 3, rng=0), []
        >>> handle = layer.register_forward_hook(lambda module, inputs, output: seen.append(output.shape))
        >>> _ = layer(mg.Tensor([[1.0, 2.0]]))
        >>> handle.remove()
        >>> _ = layer(mg.Tensor([[1.0, 2.0]]))
        >>> seen
        [(1, 3)]
        """
        if not callable(hook):
            raise TypeError(
                f"register_forward_hook: expected a function, got {type(hook).__name__}, at {mg.sites.here()}"
            )
        if self._hooks is None:
            object.__setattr__(self, "_hooks", UserDict())
        return mg.Hook(self._hooks, hook)  # type: ignore[arg-type]  # all that it asks of a dict

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name not in ("_calls", "_forgotten", "_hooks")}


class Module(Called):
    """Base of everything with parameters.

    Assign parameters and modules as attributes in `__init__`, write `forward`, and call the module.
    Attributes *are* the registry: there is no second list to keep in step, and no `super().__init__()`
    to forget. Lists, tuples and dicts are looked into (`self.layers = [a, b]` gives `layers.0.weight`).

    Attributes
    ----------
    training : bool
        True between `train()` and `eval()`; for layers that behave differently when they are used.

    Examples
    --------
    >>> class Line(Module):
    ...     def __init__(self) -> None:
    ...         self.slope = Parameter(2.0)
    ...     def forward(self, x):
    ...         return self.slope * x
    >>> line = Line()
    >>> line(mg.Tensor([1.0, 2.0])).tolist()
    [2.0, 4.0]
    >>> [name for name, _ in line.named_parameters()]
    ['slope']
    """

    training: bool = True
    _buffers: Mapping[str, bool] = MappingProxyType({})  # by name: whether the state holds it

    def __setattr__(self, name: str, value: object) -> None:
        # `self.weight = self.weight - lr * grad` would silently put a plain tensor where the optimiser saw a parameter.
        if isinstance(self.__dict__.get(name), Parameter) and not isinstance(value, Parameter | None):
            raise TypeError(
                f"cannot assign '{type(value).__name__}' as parameter '{name}' (nn.Parameter or None expected), "
                f"at {mg.sites.here()}"
            )
        if name in self._buffers and not isinstance(value, mg.Tensor | None):
            raise TypeError(
                f"cannot assign '{type(value).__name__}' as buffer '{name}' (Tensor or None expected), "
                f"at {mg.sites.here()}"
            )
        super().__setattr__(name, value)

    # What belongs to it

    def register_buffer(self, name: str, tensor: mg.Tensor | None, persistent: bool = True) -> None:
        """Give the module a tensor that is no parameter, but part of its state: a running mean, say, or a mask.

        It is an attribute like any other, and a Tensor that is assigned to it later is the buffer from then on.

        Parameters
        ----------
        name : str
        tensor : Tensor or None
        persistent : bool
            Whether `state_dict` holds it.

        Raises
        ------
        TypeError
            If it is no Tensor, or the name no text.
        KeyError
            If the module has an attribute of that name, or the name is empty or has a dot.

        Examples
        --------
        >>> module = Module()
        >>> module.register_buffer("mean", mg.Tensor([0.0, 0.0]))
        >>> module.state_dict()
        {'mean': array([0., 0.])}
        """
        if not isinstance(name, str):
            raise TypeError(f"buffer name should be a string. Got {type(name).__name__}, at {mg.sites.here()}")
        if not isinstance(tensor, mg.Tensor | None):
            raise TypeError(
                f"cannot assign '{type(tensor).__name__}' object to buffer '{name}' (Tensor or None required), "
                f"at {mg.sites.here()}"
            )
        if not name or "." in name or (hasattr(self, name) and name not in self._buffers):
            why = "already exists" if name and "." not in name else "is no name for an attribute"
            raise KeyError(f"register_buffer: {name!r} {why}, at {mg.sites.here()}")
        object.__setattr__(self, "_buffers", {**self._buffers, name: persistent})
        setattr(self, name, tensor)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, mg.Tensor]]:
        """Buffers as (dotted name, tensor), as `named_parameters` gives parameters."""
        seen: set[int] = set()
        for path, module in self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]:
            for name in module._buffers:
                buffer = vars(module)[name]
                if buffer is not None and not (remove_duplicate and id(buffer) in seen):
                    seen.add(id(buffer))
                    yield _joined(path, name), buffer

    def buffers(self, recurse: bool = True) -> Iterator[mg.Tensor]:
        """All buffers, each once."""
        return (buffer for _, buffer in self.named_buffers(recurse=recurse))

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Direct sub-modules as (name, module), each once."""
        seen: set[int] = set()
        for name, child in members(self, Module):
            if id(child) not in seen:
                seen.add(id(child))
                yield name, child

    def children(self) -> Iterator[Module]:
        """Direct sub-modules, each once."""
        return (child for _, child in self.named_children())

    def add_module(self, name: str, module: Module | None) -> None:
        """The same as `setattr(self, name, module)`, for names that are made up."""
        setattr(self, name, module)

    def apply(self, fn: Callable[[Module], object]) -> Self:
        """Call a function with every module below, and with this one last: to initialise, say; returns the module.

        Examples
        --------
        >>> import nn
        >>> kinds = []
        >>> _ = nn.Sequential(nn.Linear(2, 1), nn.Tanh()).apply(lambda module: kinds.append(type(module).__name__))
        >>> kinds
        ['Linear', 'Tanh', 'Sequential']
        """
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def named_modules(self, prefix: str = "", remove_duplicate: bool = True) -> Iterator[tuple[str, Module]]:
        """This module and all below it as (dotted name, module), parents first.

        Parameters
        ----------
        prefix : str
            Stands before every name.
        remove_duplicate : bool
            Give a module that is used in several places once, under its first name.
        """
        yield from walk(self, Module, prefix, set() if remove_duplicate else None)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """Parameters as (dotted name, parameter), a module's own first, in the order of assignment.

        Parameters
        ----------
        prefix : str
            Stands before every name.
        recurse : bool
            Include those of the modules below.
        remove_duplicate : bool
            Give a parameter that is shared between places once, under its first name.

        Examples
        --------
        >>> import nn
        >>> [(name, p.shape) for name, p in nn.Linear(3, 2, rng=0).named_parameters("out")]
        [('out.weight', (2, 3)), ('out.bias', (2,))]
        """
        modules = self.named_modules(prefix, remove_duplicate) if recurse else [(prefix, self)]
        return leaves(modules, Parameter, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, each once."""
        return (parameter for _, parameter in self.named_parameters(recurse=recurse))

    # Modes and gradients

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Thaw all parameters, or with False freeze them; returns the module.

        Examples
        --------
        >>> import nn
        >>> [p.requires_grad for p in nn.Linear(2, 1).requires_grad_(False).parameters()]
        [False, False]
        """
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def train(self, mode: bool = True) -> Self:
        """Set `training` here and below; returns the module."""
        if not isinstance(mode, bool):
            raise ValueError(f"training mode is expected to be boolean, got {mode!r}, at {mg.sites.here()}")
        for module in self.modules():
            module.training = mode
        return self

    def eval(self) -> Self:
        """The same as `train(False)`."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients (or, with False, fill them with zeros in place)."""
        clear_gradients(self.parameters(), set_to_none)

    # State

    def state_dict(self) -> dict[str, NDArray[Any]]:
        """Copies of all parameters and buffers by name; a shared one stands under each of its names.

        Returns
        -------
        dict of str to ndarray
            Changing them changes nothing in the model.

        Examples
        --------
        >>> import nn
        >>> {name: array.shape for name, array in nn.Linear(3, 2, rng=0).state_dict().items()}
        {'weight': (2, 3), 'bias': (2,)}
        """
        return {name: tensor._data.copy() for name, tensor in self._named_state()}

    def _named_state(self) -> Iterator[tuple[str, mg.Tensor]]:
        """Parameters, and the buffers that are kept, module by module."""
        for path, module in self.named_modules(remove_duplicate=False):
            yield from leaves([(path, module)], Parameter, remove_duplicate=False)
            for name, buffer in module.named_buffers(recurse=False, remove_duplicate=False):
                if module._buffers[name]:
                    yield _joined(path, name), buffer

    def load_state_dict(self, state_dict: Mapping[str, ArrayLike], strict: bool = True) -> IncompatibleKeys:
        """Give the parameters and buffers of the same names new values.

        All names, shapes and types are checked before the first is changed: after an error the model is as it was.

        Parameters
        ----------
        state_dict : mapping of str to array_like
            As `state_dict()` gives it. Cast to each parameter's dtype.
        strict : bool
            Refuse missing and unexpected names. With False they are passed over and returned.

        Returns
        -------
        IncompatibleKeys
            `missing_keys` and `unexpected_keys`.

        Raises
        ------
        TypeError
            If `state_dict` is no mapping.
        ValueError
            If names are missing or unexpected, a shape differs, or an array holds no real numbers, or one that is too
            large for the parameter's dtype; all of them named.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f"Expected state_dict to be dict-like, got {type(state_dict).__name__}, at {mg.sites.here()}"
            )
        own = dict(self._named_state())
        missing = [name for name in own if name not in state_dict]
        unexpected = [name for name in state_dict if name not in own]
        arrays, faults = _fitting(own, state_dict)
        if strict and missing:
            faults.insert(0, f"Missing key(s) in state_dict: {_quoted(missing)}. ")
        if strict and unexpected:
            faults.insert(0, f"Unexpected key(s) in state_dict: {_quoted(unexpected)}. ")
        if faults:
            listed = "\n\t".join(faults)
            raise ValueError(
                f"Error(s) in loading state_dict for {type(self).__name__}, at {mg.sites.here()}:\n\t{listed}"
            )
        for name, array in arrays.items():
            if own[name].is_leaf:
                own[name]._replace(np.array(array, own[name].dtype))
            else:  # a buffer that was computed: the graph keeps the old one
                path, _, last = name.rpartition(".")
                setattr(dict(self.named_modules(remove_duplicate=False))[path], last, mg.Tensor(array))
        return IncompatibleKeys(missing, unexpected)

    # Printing

    def extra_repr(self) -> str:
        """What stands between the brackets of the repr; subclasses fill it."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        lines = [f"({name}): " + repr(child).replace("\n", "\n  ") for name, child in members(self, Module)]
        if not lines:
            return f"{type(self).__name__}({extra})"
        return "\n  ".join([f"{type(self).__name__}(", *([extra] if extra else []), *lines]) + "\n)"


def clear_gradients(parameters: Iterator[Parameter] | list[mg.Tensor], set_to_none: bool) -> None:
    """Drop each gradient, or zero it in place; the one meaning of `zero_grad` for modules and optimisers."""
    modes.look("zero_grad()")
    for parameter in parameters:
        if set_to_none:
            parameter._grad = None
        elif isinstance(parameter._grad, mg.Node):  # recorded, by backward(create_graph=True)
            parameter._grad = np.zeros_like(parameter._data)
        elif parameter._grad is not None:
            parameter._grad[...] = 0


def members(owner: object, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """Attributes of the kind, and what lists, tuples and dicts among the attributes hold of it, with dotted names."""
    for name, value in vars(owner).items():
        yield from _find(name, value, kind)


def walk(module: Kind, kind: type[Kind], path: str, seen: set[int] | None) -> Iterator[tuple[str, Kind]]:
    """A module and all of its kind below it as (dotted name, module), parents first; each once, if `seen` is a set."""
    if seen is not None:
        if id(module) in seen:
            return
        seen.add(id(module))
    yield path, module
    for name, child in members(module, kind):
        yield from walk(child, kind, _joined(path, name), seen)


def leaves(
    modules: Iterable[tuple[str, object]], kind: type[Kind], remove_duplicate: bool = True
) -> Iterator[tuple[str, Kind]]:
    """What the modules hold of the kind as (dotted name, leaf), in the order of assignment; each once, if asked."""
    seen: set[int] = set()
    for path, module in modules:
        for name, leaf in members(module, kind):
            if not remove_duplicate or id(leaf) not in seen:
                seen.add(id(leaf))
                yield _joined(path, name), leaf


def _joined(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _find(name: str, value: object, kind: type[Kind]) -> Iterator[tuple[str, Kind]]:
    """`value` itself where it is of the kind, or what a list, tuple or dict holds of it, with dotted names."""
    if isinstance(value, kind):
        yield name, value
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from _find(f"{name}.{index}", item, kind)
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from _find(f"{name}.{key}", item, kind)


def _fitting(own: Mapping[str, mg.Tensor], given: Mapping[str, ArrayLike]) -> tuple[dict[str, NDArray[Any]], list[str]]:
    """The given arrays that belong somewhere, and a sentence for each that does not fit there."""
    arrays: dict[str, NDArray[Any]] = {}
    faults: list[str] = []
    for name in own.keys() & given.keys():
        item = given[name]
        try:
            array = item._data if isinstance(item, mg.Tensor) else np.asarray(item)
        except ValueError as error:  # rows of unequal length
            faults.append(f"{name}: no regular array: {error}")
            continue
        shape = own[name].shape
        if array.dtype.kind not in "biuf":
            faults.append(f"{name}: expected real numbers, got an array of dtype {array.dtype}.")
        elif array.shape != shape:
            faults.append(
                f"size mismatch for {name}: copying a param with shape {array.shape} from checkpoint, "
                f"the shape in current model is {shape}."
            )
        elif (number := too_large(array, own[name].dtype)) is not None:
            faults.append(f"{name}: holds {number}, which is too large for {own[name].dtype}.")
        arrays[name] = array
    return arrays, sorted(faults)


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
