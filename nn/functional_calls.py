"""A module as a function of its parameters: for transforms (`mg.hessian`, `mg.hvp`, ...) over what a model learns."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from types import MethodType
from typing import Any

import numpy as np

import microgrid as mg
from microgrid import nested
from nn.module import Module, Parameter

__microgrid_machinery__ = True


def functional_call(
    module: Module,
    parameter_and_buffer_dicts: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    args: Any = None,
    kwargs: Mapping[str, Any] | None = None,
    *,
    strict: bool = False,
) -> Any:
    """Call a module with other parameters than its own, as torch.func.functional_call.

    Parameters
    ----------
    module : Module
    parameter_and_buffer_dicts : mapping of str to Tensor or array, or a sequence of such mappings
        Parameters by their names in `named_parameters()`, buffers by theirs in `named_buffers()`, of the same shapes.
        One that is shared is given under any of its names. What is not named is the module's own.
    args : tuple, or the one argument, optional
    kwargs : mapping of str to argument, optional
    strict : bool
        Refuse missing and unexpected names.

    Returns
    -------
    What the module returns.

    Raises
    ------
    TypeError, ValueError
        If names do not fit (under `strict`), a name stands in two mappings, a shape differs, or one shared parameter is
        given two values.

    Notes
    -----
    A twin of the module is called, which shares all but what is given: the module itself, which other threads may use
    at the time, never holds that. Attributes that `forward` assigns are assigned to the module, but for the buffers
    that were given; a function kept as an attribute that refers to the module by itself (a lambda over `self`) still
    sees the module's own.

    Examples
    --------
    >>> import nn
    >>> model = nn.Linear(2, 1, rng=0)
    >>> nn.functional_call(model, {"weight": [[1.0, 10.0]]}, mg.Tensor([[3.0, 4.0]])).tolist()
    [[43.0]]
    >>> parameters = {name: p.detach() for name, p in model.named_parameters()}
    >>> loss = lambda p: nn.functional_call(model, p, mg.Tensor([[3.0, 4.0]])).sum()
    >>> mg.grad(loss)(parameters)["weight"].tolist()
    [[3.0, 4.0]]
    """
    if not isinstance(module, Module):
        raise TypeError(f"functional_call: expected a Module, got {type(module).__name__}, at {mg.sites.here()}")
    given = _merged(parameter_and_buffer_dicts)
    buffers = dict(module.named_buffers(remove_duplicate=False))
    own: dict[str, mg.Tensor] = {**dict(module.named_parameters(remove_duplicate=False)), **buffers}
    if strict:
        missing, unexpected = [name for name in own if name not in given], [name for name in given if name not in own]
        if missing or unexpected:
            faults = f"Missing key(s): {missing}. " * bool(missing) + f"Unexpected key(s): {unexpected}." * bool(
                unexpected
            )
            raise ValueError(
                f"Error(s) in reparametrizing for {type(module).__name__}: {faults.strip()}, at {mg.sites.here()}"
            )
    parameters: dict[int, mg.Tensor] = {}  # and buffers, by the id of those they stand for
    first: dict[int, str] = {}
    for name in [name for name in given if name in own]:
        known = first.setdefault(id(own[name]), name)
        if given[known] is not given[name]:
            raise ValueError(
                f"functional_call: {known} and {name} are one {'buffer' if name in buffers else 'parameter'}, "
                f"given two values, at {mg.sites.here()}"
            )
        parameters[id(own[name])] = (_buffer if name in buffers else _parameter)(name, given[name], own[name])
    twins = _Twins(parameters)
    arguments = () if args is None else args if isinstance(args, tuple) else (args,)
    try:
        return twins.of(module)(*arguments, **(kwargs or {}))
    finally:
        twins.write_back()


def _merged(dicts: Any) -> dict[str, Any]:
    listed = [dicts] if isinstance(dicts, Mapping) else dicts
    if not isinstance(listed, (list, tuple)) or not all(isinstance(one, Mapping) for one in listed):
        raise TypeError(
            "Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
            f"{type(dicts).__name__}, at {mg.sites.here()}"
        )
    names = [name for one in listed for name in one]
    twice = sorted({str(name) for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{twice} appeared in multiple dictionaries; behavior of functional call is ambiguous, at {mg.sites.here()}"
        )
    return {name: x for one in listed for name, x in one.items()}


class _Twins:
    """Modules as the given ones, with other parameters in their places."""

    def __init__(self, given: dict[int, mg.Tensor]) -> None:
        self.given = given  # by the id of what they stand for
        self.twins: dict[int, Module] = {}
        self.pairs: list[tuple[Module, Module, dict[str, Any]]] = []  # a module, its twin, what the twin was given

    def of(self, item: Any) -> Any:
        """What stands for an attribute: itself, where nothing in it is another."""
        if isinstance(item, mg.Tensor):
            return self.given.get(id(item), item)
        if isinstance(item, Module):
            return self.twins[id(item)] if id(item) in self.twins else self._made(item)
        if isinstance(item, MethodType) and isinstance(item.__self__, Module):
            return MethodType(item.__func__, self.of(item.__self__))
        if isinstance(item, (list, tuple, dict)):
            parts = [part for _, part in nested.leaves(item)]
            others = [self.of(part) for part in parts]
            return item if all(map(operator.is_, parts, others)) else nested.rebuilt(item, others)
        return item

    def _made(self, module: Module) -> Module:
        twin: Module = object.__new__(type(module))
        self.twins[id(module)] = twin
        vars(twin).update({name: self.of(item) for name, item in vars(module).items()})
        self.pairs.append((module, twin, dict(vars(twin))))
        return twin

    def write_back(self) -> None:
        """Assign to the modules what was assigned to their twins."""
        modules = {id(twin): module for module, twin, _ in self.pairs}
        for module, twin, before in self.pairs:
            for name, item in vars(twin).items():
                if name in module._buffers and id(vars(module)[name]) in self.given:
                    continue  # what is made of a given buffer is lost, as torch has it
                if name not in before or item is not before[name]:
                    vars(module)[name] = modules.get(id(item), item)


def _buffer(name: str, given: Any, own: mg.Tensor) -> mg.Tensor:
    node = given if isinstance(given, mg.Tensor) else mg.Tensor(np.asarray(given, own.dtype))
    _check_shape(name, node, own)
    return node


def _check_shape(name: str, made: mg.Tensor, own: mg.Tensor) -> None:
    if made.shape != own.shape:
        raise ValueError(
            f"functional_call: size mismatch for {name}: expected shape {own.shape}, got {made.shape}, "
            f"at {mg.sites.here()}"
        )


def _parameter(name: str, given: Any, own: mg.Tensor) -> Parameter:
    """What is given, as a parameter, since a module may look for those it has; a node's gradient goes back to it."""
    if isinstance(given, mg.Node):
        node = given if isinstance(given, mg.Tensor) else mg.broadcast_to(given, ())
        made: Any = node if isinstance(node, Parameter) else mg.positive(node)
        made.__class__ = Parameter
    else:
        made = Parameter(np.asarray(given, own.dtype if isinstance(given, (list, float, int)) else None), False)
    _check_shape(name, made, own)
    if made.name is None and made is not given:
        made.name = own.name
    return made  # type: ignore[no-any-return]
