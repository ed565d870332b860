"""A network as columns of units: what the classic picture of neurons shows, read off a model.

Models are known by what they have, not by their class: modules by `named_modules()`, a linear layer by its `weight`,
a layer of Values by its `neurons` (`nn.scalar`, and Karpathy's micrograd). That a model *is* its layers one after
another is not believed but tried: a copy of it is run beside them.
"""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from viz.words import given

__microgrid_machinery__ = True

Array = NDArray[Any]


@dataclass(frozen=True)
class Column:
    """The units of one layer, or the inputs.

    Attributes
    ----------
    name : str
        Of the layer in the model; empty for the inputs.
    size : int
    weight : ndarray of shape (size, size of the column before), or None for the inputs
    bias : ndarray of shape (size,), or None where there is none
    function : str
        What follows the weights, such as "Tanh"; empty for nothing.
    activations : ndarray of shape (size,), or None where no sample was given
    """

    name: str
    size: int
    weight: Array | None
    bias: Array | None
    function: str
    activations: Array | None


class Part(NamedTuple):
    """A module that is applied to what the one before gave: of a linear layer, with its weights."""

    name: str
    apply: Callable[[Any], Any]
    weight: Array | None
    bias: Array | None
    function: str


def columns(model: Any, x: Any = None) -> list[Column]:
    """The columns of a stack of layers, inputs first.

    Parameters
    ----------
    model : nn.MLP, Sequential, Linear, nn.scalar.MLP, Layer, Neuron, ...
        Neither run nor changed: a copy is.
    x : array_like of shape (n,) or (1, n), optional
        One sample, for the activations.

    Returns
    -------
    list of Column

    Raises
    ------
    TypeError
        If the model is nothing of the kind, or x holds no numbers.
    ValueError
        If it is no stack of layers, x is no sample for it, or a number is not finite.
    """
    network = copy.deepcopy(model)  # running it may draw random numbers, and counts as a call
    if callable(getattr(network, "eval", None)):
        network.eval()
    scalar = _scalar_layers(network)
    parts = list(map(_of_neurons, *zip(*scalar, strict=True))) if scalar else _modules(network, model)
    _check_chain(parts)
    first, size = next((i, part.weight.shape[1]) for i, part in enumerate(parts) if part.weight is not None)
    sample = np.cos(np.arange(1.0, size + 1)) if x is None else _sample(x, size)
    outputs = _run(network, parts, sample, as_list=bool(scalar))
    found = [Column("", size, None, None, ", ".join(part.function for part in parts[:first]), sample)]
    for part, output in zip(parts[first:], outputs[first:], strict=True):
        if part.weight is not None:
            found.append(Column(part.name, len(part.weight), part.weight, part.bias, part.function, output))
        else:
            last = found.pop()
            function = ", ".join(filter(None, (last.function, part.function)))
            found.append(Column(last.name, last.size, last.weight, last.bias, function, output))
    if x is None:
        return [replace(column, activations=None) for column in found]
    for part, output in zip(parts, outputs, strict=True):
        _finite(f"the activations after {part.name}", output)
    return found


# ------------------------------------------------------------------------------------------------- of arrays


def _modules(network: Any, model: Any) -> list[Part]:
    """The modules that hold no others, in their order."""
    try:
        named = list(network.named_modules(remove_duplicate=False))  # one activation may stand in several places
    except (AttributeError, TypeError):
        raise TypeError(
            f"network: expected a model of layers, such as nn.MLP or nn.Sequential, got {given(model)}, "
            f"at {mg.sites.here()}"
        ) from None
    holders = {name.rpartition(".")[0] for name, _ in named if name}
    parts = [_of_arrays(name or "the model", module) for name, module in named if name not in holders]
    if all(part.weight is None for part in parts):
        raise ValueError(f"network: {given(model)} holds no layer with weights, at {mg.sites.here()}")
    return parts


def _of_arrays(name: str, module: Any) -> Part:
    kind = type(module).__name__
    own = {path for path, _ in module.named_parameters()}
    if not own:
        return Part(name, module, None, None, "" if kind in ("Identity", "Dropout") else kind)  # as in evaluation
    weight: Any = getattr(getattr(module, "weight", None), "_data", None)
    if not own <= {"weight", "bias"} or np.ndim(weight) != 2:
        raise ValueError(
            f"network: {name} is {kind} with the parameters {', '.join(sorted(own))}, no linear layer: "
            f"the picture is of a stack of linear layers and activations, at {mg.sites.here()}"
        )
    bias = None if getattr(module, "bias", None) is None else module.bias._data
    return Part(name, module, *_both(name, weight, bias), "")


# ------------------------------------------------------------------------------------------------- of Values


def _scalar_layers(network: Any) -> list[tuple[str, Any]]:
    """Names and layers of a network of Values; none if it is something else. A neuron is a layer of itself."""
    if hasattr(network, "w") and hasattr(network, "b"):
        return [("the neuron", network)]
    if hasattr(network, "neurons"):
        return [("layer", network)]
    layers = getattr(network, "layers", None)
    if isinstance(layers, list | tuple) and layers and all(hasattr(layer, "neurons") for layer in layers):
        return [(f"layers.{i}", layer) for i, layer in enumerate(layers)]
    return []


def _of_neurons(name: str, layer: Any) -> Part:
    neurons = getattr(layer, "neurons", [layer])
    rows = [[_number(name, w) for w in neuron.w] for neuron in neurons]
    if not rows or len(set(map(len, rows))) > 1:
        raise ValueError(
            f"network: the neurons of {name} take {', '.join(str(len(row)) for row in rows) or 'no'} inputs, "
            f"expected one number of them, at {mg.sites.here()}"
        )
    offsets = [getattr(neuron, "b", None) for neuron in neurons]
    bias = None if all(b is None for b in offsets) else [0.0 if b is None else _number(name, b) for b in offsets]
    functions = [_function(neuron) for neuron in neurons]
    if hasattr(layer, "neurons") and getattr(layer, "activation", None) is not None:
        functions = [type(layer.activation).__name__]
    return Part(name, layer, *_both(name, rows, bias), " or ".join(dict.fromkeys(functions)))


def _function(neuron: Any) -> str:
    if not getattr(neuron, "nonlin", True):
        return ""
    kind = type(neuron.activation).__name__ if hasattr(neuron, "activation") else "ReLU"  # micrograd's neurons know one
    return "" if kind == "Identity" else kind


def _number(name: str, value: Any) -> float:
    try:
        return float(getattr(value, "_data", getattr(value, "data", value)))
    except (TypeError, ValueError):
        raise TypeError(f"network: {name} holds {given(value)}, expected numbers, at {mg.sites.here()}") from None


# ---------------------------------------------------------------------------------------------------- checks


def _both(name: str, weight: Any, bias: Any) -> tuple[Array, Array | None]:
    W = np.array(weight, dtype=float)
    _finite(f"the weight of {name}", W)
    if bias is None:
        return W, None
    b = np.array(bias, dtype=float)
    _finite(f"the bias of {name}", b)
    return W, b


def _finite(what: str, numbers: Array) -> None:
    bad = int(numbers.size - np.isfinite(numbers).sum())
    if bad:
        raise ValueError(f"network: {what}: {bad} of {numbers.size} numbers are not finite, at {mg.sites.here()}")


def _check_chain(parts: Sequence[Part]) -> None:
    shapes = [(part.name, *part.weight.shape) for part in parts if part.weight is not None]
    for (before, gives, _), (after, _, takes) in itertools.pairwise(shapes):
        if gives != takes:
            raise ValueError(
                f"network: {before} gives {gives} numbers and {after} takes {takes}: the model is no stack of layers, "
                f"at {mg.sites.here()}"
            )


def _sample(x: Any, size: int) -> Array:
    try:
        numbers = np.array(x._data if isinstance(x, mg.Node) else x, dtype=float)
    except (TypeError, ValueError):
        raise TypeError(f"network: x must be one sample of numbers, got {given(x)}, at {mg.sites.here()}") from None
    if numbers.shape not in ((size,), (1, size)):
        raise ValueError(
            f"network: x has shape {numbers.shape}, expected ({size},), one sample such as X[0], at {mg.sites.here()}"
        )
    _finite("x", numbers)
    return numbers.reshape(size)


def _run(network: Any, parts: Sequence[Part], sample: Array, *, as_list: bool) -> list[Array]:
    """What each part gives for one sample; they must come to what the network itself gives."""
    start: Any = sample.tolist() if as_list else mg.Tensor(sample[np.newaxis])
    outputs: list[Array] = []
    with mg.no_grad(), np.errstate(all="ignore"):
        value = start
        for part in parts:
            value = part.apply(value)
            outputs.append(_flat(value))
        whole = _flat(network(start))
    single = any(array.dtype == np.float32 for array in outputs)
    if not _alike(outputs[-1], whole, 1e-4 if single else 1e-8):
        raise ValueError(
            f"network: {type(network).__name__} is no stack of layers: it gives something else than its "
            f"{len(parts)} modules one after another; activations that are called as functions must be modules "
            f"(nn.Tanh()), at {mg.sites.here()}"
        )
    return outputs


def _flat(value: Any) -> Array:
    """One sample's numbers, of a Tensor, a Value or a list of Values."""
    if isinstance(value, list | tuple):
        return np.array([_number("the output", each) for each in value])
    if isinstance(value, mg.Tensor):
        return np.ravel(value._data)
    return np.array([_number("the output", value)])


def _alike(one: Array, other: Array, tolerance: float) -> bool:
    return one.shape == other.shape and np.allclose(one, other, rtol=tolerance, atol=tolerance, equal_nan=True)
