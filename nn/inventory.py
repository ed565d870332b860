"""What a model is made of: its layers, the shapes that flow through it, and how many numbers it learns."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import microgrid as mg
from nn.containers import Sequential
from nn.layers import MLP, Linear
from nn.module import Module
from nn.targets import check_count

__microgrid_machinery__ = True

Shape = tuple[int, ...]


@dataclass(frozen=True)
class Layer:
    """One line of a `Summary`.

    Attributes
    ----------
    layer : str
        Its dotted name in the model; empty for the model itself.
    kind : str
        Its class.
    output : tuple of int, or None
        Shape of what it gives for one sample; None where that is not known, or no array.
    parameters : dict of str to tuple of int
        Shape of each parameter of its own; single numbers together, as "Values".
    frozen, shared : tuple of str
        Those that require no gradient; those that were counted further up already.
    count, trainable : int
        Numbers in them, and in those that require a gradient, without the shared ones.
    """

    layer: str
    kind: str
    output: Shape | None
    parameters: dict[str, Shape]
    frozen: tuple[str, ...]
    shared: tuple[str, ...]
    count: int
    trainable: int

    def cells(self) -> tuple[str, ...]:
        """Its line in the table."""
        notes = dict.fromkeys(self.shared, " (shared)") | dict.fromkeys(self.frozen, " (frozen)")
        parameters = [f"{name} {_by(shape)}{notes.get(name, '')}" for name, shape in self.parameters.items()]
        output = "-" if self.output is None else _by(self.output)
        return self.layer or "-", self.kind, output, ", ".join(parameters), f"{self.count:,}"


@dataclass(frozen=True, repr=False)
class Summary:
    """What `summary` found; `print` it.

    Attributes
    ----------
    layers : list of Layer
        In the order in which they stand in the model.
    """

    layers: list[Layer]

    @property
    def total(self) -> int:
        """How many numbers the model has, shared ones once."""
        return sum(layer.count for layer in self.layers)

    @property
    def trainable(self) -> int:
        """How many of them require a gradient."""
        return sum(layer.trainable for layer in self.layers)

    def rows(self) -> list[dict[str, Any]]:
        """One dict a layer, for a table."""
        return [asdict(layer) for layer in self.layers]

    def __repr__(self) -> str:
        return f"Summary({len(self.layers)} layers, total={self.total}, trainable={self.trainable})"

    def __str__(self) -> str:
        head = ("layer", "kind", "output", "parameters", "count")
        cells = [head, *(layer.cells() for layer in self.layers)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        form = "  ".join(f"{{:{width}}}" for width in widths[:-1]) + f"  {{:>{widths[-1]}}}"
        lines = [form.format(*row) for row in cells]
        kept = "all trainable" if self.trainable == self.total else f"{self.trainable:,} trainable"
        return "\n".join([*lines, "", f"{self.total:,} parameters, {kept}"])


def summary(model: Any, input_size: int | Sequence[int] | None = None) -> Summary:
    """The layers of a model with their output shapes, parameter shapes and counts.

    Parameters
    ----------
    model : Module, or any object with `named_parameters()`, such as a model of `nn.scalar`
        Neither run nor changed: shapes are found on a copy, in evaluation mode.
    input_size : int >= 1 or sequence of int, optional
        Shape of one sample, as in 784 or (28, 28). Where the model is a stack that begins with a Linear it need not be
        given; where it is not known, the output shapes are not either. Models of Values have none.

    Returns
    -------
    Summary
        To print, or as `.rows()`; `.total` and `.trainable` count parameters.

    Raises
    ------
    TypeError
        If the model has no `named_parameters`, or the size is no integers.
    ValueError
        If the model does not take samples of this size, or a size is below 1.

    Notes
    -----
    A fully connected network has one weight a link and one bias a unit that is no input: sum n_l (n_{l-1} + 1).
    Single numbers (Values) are listed with the layer that holds them, not one by one.

    Examples
    --------
    >>> import nn
    >>> print(nn.summary(nn.MLP(2, [3, 1], rng=0)))
    layer     kind     output  parameters          count
    layers.0  Linear   3       weight 3x2, bias 3      9
    layers.1  Sigmoid  3                               0
    layers.2  Linear   1       weight 1x3, bias 1      4
    <BLANKLINE>
    13 parameters, all trainable
    """
    if isinstance(model, type) or not hasattr(model, "named_parameters"):
        raise TypeError(
            f"nn.summary: expected a model, with named_parameters(), got {model!r:.60}, at {mg.sites.here()}"
        )
    places = {"remove_duplicate": False} if isinstance(model, Module) else {}
    modules = dict(model.named_modules(**places)) if hasattr(model, "named_modules") else {"": model}
    outputs = _outputs(model, input_size) if isinstance(model, Module) else {}
    parents = {name[:end] for name in modules for end in _dots(name)}
    # Of a model of numbers each neuron is a module: its line is the layer
    lines = [name for name in modules if isinstance(model, Module) or name in parents or not name]
    owned: dict[str, dict[str, Any]] = {name: {} for name in lines}
    for path, parameter in model.named_parameters(**places):
        owner = next(path[:end] for end in _dots(path) if path[:end] in owned)
        owned[owner][path[len(owner) :].removeprefix(".")] = parameter
    containers = {name[:end] for name in lines for end in _dots(name)}
    seen: set[int] = set()
    return Summary(
        [
            _layer(name, modules[name], outputs.get(name), parameters, seen)
            for name, parameters in owned.items()
            if parameters or name not in containers
        ]
    )


def _layer(name: str, module: object, output: Shape | None, parameters: dict[str, Any], seen: set[int]) -> Layer:
    """The line of one module; `seen` takes what it counts."""
    new = {key: parameter for key, parameter in parameters.items() if id(parameter) not in seen}
    seen.update(map(id, new.values()))
    arrays = {key: parameter.shape for key, parameter in parameters.items() if isinstance(parameter, mg.Tensor)}
    numbers = {"Values": (len(parameters) - len(arrays),)} if len(arrays) < len(parameters) else {}
    return Layer(
        name,
        type(module).__name__,
        output,
        {**arrays, **numbers},
        frozen=tuple(key for key in arrays if not parameters[key].requires_grad),
        shared=tuple(key for key in arrays if key not in new),
        count=sum(np.size(parameter._data) for parameter in new.values()),
        trainable=sum(np.size(parameter._data) for parameter in new.values() if parameter.requires_grad),
    )


def _outputs(model: Module, input_size: int | Sequence[int] | None) -> dict[str, Shape]:
    """What each module gives for one sample of this size."""
    size = _told(model) if input_size is None else _size(input_size)
    found: dict[str, Shape] = {}
    if size is not None:
        try:
            _run(copy.deepcopy(model).eval(), size, found)
        except Exception as error:  # of the user's own code, perhaps; a size that was only guessed is no reason to fail
            if input_size is not None:
                site = f", at {mg.sites.here()}"  # the cause may say it already
                raise ValueError(
                    f"nn.summary: the model does not take samples of shape {size}: {str(error).replace(site, '')}{site}"
                ) from error
    return found


def _run(model: Module, size: Shape, found: dict[str, Shape]) -> None:
    """Run the model on a sample of zeros; each of its modules notes what it gives."""
    names: dict[Module, list[str]] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        names.setdefault(module, []).append(name)
    for module, places in names.items():
        module.forward = _watched(module.forward, places, found)  # type: ignore[method-assign]
    dtype = next((parameter.dtype for parameter in model.parameters()), np.float64)
    with mg.no_grad():
        model(mg.Tensor(np.zeros((1, *size), dtype)))


def _watched(forward: Callable[..., Any], places: list[str], found: dict[str, Shape]) -> Callable[..., Any]:
    """The same function, which notes the shape of its output under the next of its places."""

    def watched(*inputs: Any, **named: Any) -> Any:
        output = forward(*inputs, **named)
        if places and isinstance(output, mg.Tensor):
            found[places.pop(0)] = output.shape[1:] if output.shape[:1] == (1,) else output.shape
        return output

    return watched


def _told(model: Module) -> Shape | None:
    """The size of a sample, where the first layer tells it."""
    while isinstance(model, MLP | Sequential):
        model = next(iter(model.layers if isinstance(model, MLP) else model), Module())
    return (model.in_features,) if isinstance(model, Linear) else None


def _size(input_size: int | Sequence[int]) -> Shape:
    sizes = input_size if isinstance(input_size, list | tuple) else [input_size]
    return tuple(check_count("nn.summary", "input_size", size) for size in sizes)


def _dots(path: str) -> list[int]:
    """Where a dotted name may be cut: after each part from the last but one back, and at 0 for the empty name."""
    return [end for end in reversed(range(len(path))) if path[end] == "."] + [0] * bool(path)


def _by(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "1"
