"""A backward pass recorded for a debugger: with the names that the user's variables give, and the calls of modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from copy import copy
from types import FrameType
from typing import Any, NamedTuple

import numpy as np

import microgrid as mg
from microgrid.stepping.tape import as_far_as_it_goes
from viz import names

__microgrid_machinery__ = True

EVERYTHING = 10_000_000  # numbers: of a graph with more, large arrays are kept as statistics


class Recording(NamedTuple):
    """A tape, and what a debugger knows beside it.

    Attributes
    ----------
    tape : Tape
    blocks : list of tuple
        For each step the calls of modules in which its node was made, outermost first.
    variables : dict
        The user's.
    held : dict of str to number or array
        What leaves had in `.grad` already, by label: the pass adds to it.
    error : Exception or None
        What the pass raised, in its last step.
    models : Named
        The parameters and modules of the models, for pictures.
    """

    tape: mg.Tape
    blocks: list[tuple[Any, ...]]
    variables: dict[str, Any]
    held: Mapping[str, Any] = {}
    error: Exception | None = None
    models: Any = None


class Named:
    """Parameters and modules by name, as `mg.record` asks for them: a model's, and those of the user's variables."""

    def __init__(self, params: Any, variables: Mapping[str, Any]) -> None:
        self._models = {"": params} if params is not None else models(variables)
        learning = [name for name, model in self._models.items() if names.paths(model)]
        self._bare = learning[0] if len(learning) == 1 else None  # the one model needs no name in its paths
        self._variables: Mapping[str, Any] | None = variables

    def of_models(self) -> Named:
        """The same without the variables' names."""
        other = copy(self)
        other._variables = None
        return other

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """A path in a model, else the node's own name, else the user's variable."""
        found: dict[Any, str] = {}
        for name, model in self._models.items():
            for node, path in names.paths(model).items():
                found.setdefault(node, self._below(name, path))
        if self._variables is not None:
            for node, variable in names.variables(self._variables).items():
                found.setdefault(node, node.name or variable)
        return ((path, node) for node, path in found.items())

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """Each module with its path; a single model has none of its own."""
        for name, model in self._models.items():
            for path, module in getattr(model, "named_modules", list)():
                yield self._below(name, path), module

    def _below(self, model: str, path: str) -> str:
        return path if model == self._bare else ".".join(filter(None, [model, path]))


def models(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The models that the user's variables hold, those that are part of another apart."""
    found = {
        name: x
        for name, x in variables.items()
        if name[:1] != "_" and not isinstance(x, type)
        and all(callable(getattr(type(x), needed, None)) for needed in ("named_parameters", "named_modules"))
    }  # fmt: skip
    parts = {id(part) for model in found.values() for path, part in model.named_modules() if path}
    unique: dict[int, str] = {}
    for name, model in found.items():
        if id(model) not in parts:
            unique.setdefault(id(model), name)
    return {name: found[name] for name in unique.values()}


def recorded(root: mg.Node, gradient: Any, params: Any, frame: FrameType | None, stores: bool = True) -> Recording:
    """Run the backward pass from a root, for a debugger.

    Parameters
    ----------
    root, gradient
        As for `mg.record`.
    params : model or mapping, optional
        As for `mg.record`; without it, what the frame's variables hold.
    frame : frame, optional
        Of the user who asks.
    stores : bool
        Whether gradients are to be stored, as `backward` does.

    Raises
    ------
    ValueError, StaleError
        As `backward`.
    """
    variables = _variables(frame)
    named = Named(params, variables)
    order = mg.topological_order(root) if isinstance(root, mg.Node) else []
    before = [node._grad for node in order]
    many = sum(int(np.size(node._data)) for node in order if isinstance(node._data, np.ndarray)) > EVERYTHING
    tape, error = as_far_as_it_goes(root, gradient, named, "some" if many else "all", stores)
    innermost = names.innermost(order, [call for call in names.calls(named, None) if call.path])
    blocks = [_around(innermost.get(step.node)) for step in tape]
    held = {
        tape.labels[node]: getattr(grad, "_data", grad)
        for node, grad in zip(order, before, strict=True)
        if stores and node.rule is None and grad is not None and np.any(getattr(grad, "_data", grad) != 0)
    }
    return Recording(tape, blocks, variables, held, error, named.of_models())


def of_tape(tape: mg.Tape, frame: FrameType | None) -> Recording:
    """A tape that was recorded before, or read from a file."""
    blocks = [tuple(step.module.split(".")) if step.module else () for step in tape]
    return Recording(tape, blocks, _variables(frame))


def _variables(frame: FrameType | None) -> dict[str, Any]:
    """The variables of a frame: its own, and after them its module's."""
    if frame is None:
        return {}
    found = dict(frame.f_locals)
    for name, x in frame.f_globals.items():
        found.setdefault(name, x)
    return found


def _around(call: Any) -> tuple[Any, ...]:
    return () if call is None else tuple(outer.begun for outer in call.around())[::-1]
