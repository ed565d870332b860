"""Networks of Values: every weight is a node, and so is every multiplication. The surface is micrograd's.

A script written for Karpathy's micrograd (2020) runs on `from nn.scalar import MLP, Layer, Neuron` unchanged, and to
the same numbers, to rounding: a pass may add the shares of a gradient up in another order, and so may neurons that are
`fused`, and arrays. What is more: activations by name, as in `nn.MLP`; one node for each neuron instead of one for each
multiplication (`fused`); `to_array` and `to_scalar`, which turn such a network into an array model and back.

Weights are drawn from U(-1, 1). Without `rng` they come from Python's module `random`, as micrograd's do, so that
`random.seed(1337)` at the top of a script means what it says: the one place where global state is asked.

Examples
--------
Exclusive or, trained by hand:

>>> import microgrid as mg
>>> import nn
>>> data = [((0, 0), 0), ((0, 1), 1), ((1, 0), 1), ((1, 1), 0)]
>>> model = nn.scalar.MLP(2, [4, 1], activation="tanh", rng=0)
>>> for _ in range(100):
...     losses = [mg.binary_cross_entropy_with_logits(model(x), y) for x, y in data]
...     loss = mg.sum(losses) / len(losses)
...     model.zero_grad()
...     loss.backward()
...     for p in model.parameters():
...         p.data -= 1.0 * p.grad
>>> [int(model(x) > 0) for x, _ in data]
[0, 1, 1, 0]

The losses of `nn`, with their checks and reductions, take the outputs stacked into a Tensor:

>>> criterion = nn.BCEWithLogitsLoss()
>>> abs(criterion(mg.stack([model(x) for x, _ in data]), [float(y) for _, y in data]).item()) < 0.1
True

To save such a network save `to_array(model)`, and load it by `to_scalar`.
"""

from __future__ import annotations

import operator
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TypeGuard, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

import microgrid as mg
from microgrid import modes
from nn import layers as arrays
from nn.closed_form import stack
from nn.containers import Sequential
from nn.init import Rng, generator
from nn.module import Called, Module as ArrayModule, Parameter, apart, leaves, walk
from nn.targets import check_count

__microgrid_machinery__ = True

M = TypeVar("M", bound=Called)
T = TypeVar("T")

PLAIN = {mg.Value, float, int}  # what a sample is made of that needs no second look


class Module(Called):
    """Base of the networks of Values: Values and modules that are attributes belong to it, alone or in lists.

    Examples
    --------
    >>> class Line(Module):
    ...     def __init__(self):
    ...         self.slope = mg.Value(2.0)
    ...     def forward(self, x):
    ...         return self.slope * x
    >>> line = Line()
    >>> line(3.0).data, line.parameters()
    (6.0, [Value(data=2.0, grad=0.0)])
    """

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """This module and all below it, each once, as (dotted name, module), parents first."""
        return walk(self, Module, prefix, set())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, mg.Value]]:
        """Values without a history, each once, as (dotted name, Value), in micrograd's order.

        Examples
        --------
        >>> [name for name, _ in Layer(2, 1, rng=0).named_parameters()]
        ['neurons.0.w.0', 'neurons.0.w.1', 'neurons.0.b']
        """
        return ((name, value) for name, value in leaves(self.named_modules(prefix), mg.Value) if value.is_leaf)

    def parameters(self) -> list[mg.Value]:
        """All parameters, in a list: those of `named_parameters`, without the cost of their names."""
        found, met, waiting = list[mg.Value](), set[int](), list[Module]([self])
        while waiting:
            module = waiting.pop()
            if id(module) not in met:
                met.add(id(module))
                below: list[Module] = []
                _sorted_out(vars(module).values(), found, below)
                waiting += reversed(below)
        return [value for value in dict.fromkeys(found) if value.rule is None]

    def zero_grad(self) -> None:
        """Forget the gradients."""
        modes.look("zero_grad()")
        for parameter in self.parameters():
            parameter._grad = None


def _sorted_out(items: Iterable[Any], values: list[mg.Value], modules: list[Module]) -> None:
    """Take the Values and the modules out of these, and out of lists, tuples and dicts among them."""
    for x in items:
        if x.__class__ is mg.Value or isinstance(x, mg.Value):
            values.append(x)
        elif isinstance(x, (list, tuple)):
            _sorted_out(x, values, modules)
        elif isinstance(x, dict):
            _sorted_out(x.values(), values, modules)
        elif isinstance(x, Module):
            modules.append(x)


class Neuron(Module):
    """a = g(w1 x1 + ... + wn xn + b), by default of g = relu.

    Parameters
    ----------
    nin : int >= 1
        Inputs.
    nonlin : bool
        False leaves g out.
    activation : str, class, Module or callable
        g, elementwise: "relu", "sigmoid", "tanh", "leaky_relu", ..., or as for `nn.MLP`.
    bias : bool
        False leaves b out.
    fused : bool
        Compute z = w x + b in one node, not in one for each multiplication and addition. The numbers are the same to
        rounding; it is faster and the graph smaller. May be set at any time.
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for Python's module `random`.

    Attributes
    ----------
    w : list of Value
    b : Value, or None
    nonlin, fused : bool
    activation : Module

    Raises
    ------
    TypeError
        If a size is no integer, or the activation none of the above; when called, for anything but numbers.
    ValueError
        If a size is below 1, for an unknown activation, or one of a whole layer; when called, for a number of inputs
        other than `nin`.

    Notes
    -----
    Products are added to b from the left, as in micrograd. There, surplus inputs or weights are passed over in silence.

    Examples
    --------
    >>> n = Neuron(2, activation="sigmoid", rng=0)
    >>> n
    SigmoidNeuron(2)
    >>> n.w[0].data, n.w[1].data, n.b.data = 1.0, -1.0, 0.5
    >>> n([0.25, 0.75]).data
    0.5
    """

    def __init__(
        self,
        nin: int,
        nonlin: bool = True,
        *,
        activation: arrays.Activation = "relu",
        bias: bool = True,
        fused: bool = False,
        rng: Rng = None,
    ) -> None:
        check_count("Neuron", "nin", nin)
        uniform = random.uniform if rng is None else generator(rng).uniform
        self.w = [mg.Value(uniform(-1, 1)) for _ in range(nin)]
        self.b = mg.Value(0.0) if bias else None
        self.nonlin = nonlin
        self.activation = arrays.activation_of("Neuron: activation", activation)
        self.fused = fused
        if type(self.activation) in OF_LAYERS:
            raise ValueError(
                f"Neuron: {type(self.activation).__name__} is of a whole layer, "
                f"as in nn.scalar.Layer({nin}, 3, activation={activation!r}), at {mg.sites.here()}"
            )

    def forward(self, x: Any) -> Any:
        """n numbers or Values to one Value; of one input also the bare number."""
        xs = self._inputs(x)
        if not self.fused:
            z = sum(map(operator.mul, self.w, xs), 0.0 if self.b is None else self.b)
        elif self.b is None:
            z = mg.dot(self.w, xs)
        else:
            z = mg.dot([self.b, *self.w], [1.0, *xs])
        if not self.nonlin:
            return z
        g = self.activation  # of a user's own the nodes are made on the user's lines
        return g.forward(z) if g.__class__.forward is g._ours else g(z)

    def _inputs(self, x: Any) -> list[Any]:
        if x.__class__ is list and len(x) == len(self.w) and x[0].__class__ in PLAIN:
            return x
        shape = np.shape(x) if isinstance(x, np.ndarray | np.generic) else getattr(x, "shape", None)
        if shape is not None and len(shape) > 1:
            raise ValueError(
                f"{self!r}: got an array of shape {shape}, expected one sample of {len(self.w)} numbers: "
                f"[model(x) for x in X] runs on its rows, at {mg.sites.here()}"
            )
        if isinstance(x, np.ndarray):
            x = x.tolist()  # Python's floats, on which a Value is quick
        xs = apart(list, x) if isinstance(x, Iterable) and shape != () else [x]
        if isinstance(x, str | dict | set) or (xs and isinstance(xs[0], list | tuple | str | np.ndarray)):
            raise TypeError(f"{self!r}: got {x!r:.60}, expected numbers or Values, at {mg.sites.here()}")
        if len(xs) != len(self.w):
            raise ValueError(f"{self!r}: got {len(xs)} inputs, expected {len(self.w)}, at {mg.sites.here()}")
        return xs

    def __repr__(self) -> str:
        function = _activation_of(self)
        name = "Linear" if isinstance(function, arrays.Identity) else type(function).__name__
        return f"{name}Neuron({len(self.w)})"


class Layer(Module):
    """Neurons side by side, on the same inputs.

    Parameters
    ----------
    nin, nout : int >= 1
        Inputs and neurons.
    nonlin, bias, fused, rng
        As for `Neuron`.
    activation : str, class, Module or callable
        As for `Neuron`; or "softmax" and "log_softmax", which are of all neurons together.

    Attributes
    ----------
    neurons : list of Neuron
    activation : Module or None
        Softmax or LogSoftmax where the layer has it; the neurons are linear then.

    Raises
    ------
    TypeError, ValueError
        As for `Neuron`.

    Notes
    -----
    A layer of one neuron gives its Value, not a list, as in micrograd.

    Examples
    --------
    >>> layer = Layer(2, 3, activation="tanh", rng=0)
    >>> layer
    Layer of [TanhNeuron(2), TanhNeuron(2), TanhNeuron(2)]
    >>> len(layer([1.0, 2.0]))
    3
    """

    def __init__(
        self,
        nin: int,
        nout: int,
        nonlin: bool = True,
        *,
        activation: arrays.Activation = "relu",
        bias: bool = True,
        fused: bool = False,
        rng: Rng = None,
    ) -> None:
        check_count("Layer", "nout", nout)
        rng = rng if rng is None else generator(rng)
        function = arrays.activation_of("Layer: output", activation)
        self.activation = function if nonlin and type(function) in OF_LAYERS else None
        own: dict[str, Any] = {"nonlin": False} if self.activation else {"nonlin": nonlin, "activation": function}
        self.neurons = [Neuron(nin, **own, bias=bias, fused=fused, rng=rng) for _ in range(nout)]

    def forward(self, x: Any) -> Any:
        """n numbers or Values to a list of Values, or to the one Value."""
        x = apart(list, x) if isinstance(x, Iterator) else x  # each neuron reads it
        out = [neuron(x) for neuron in self.neurons]
        if self.activation is not None:
            out = OF_LAYERS[type(self.activation)](out)
        return out[0] if len(out) == 1 else out

    def to_array(self, dtype: DTypeLike = np.float64) -> arrays.MLP:
        """The same layer of arrays; see `nn.to_array`."""
        return to_array(self, dtype)

    def __repr__(self) -> str:
        function = f", {self.activation!r}" if self.activation else ""
        return f"Layer of [{', '.join(map(repr, self.neurons))}]{function}"


class MLP(Module):
    """Multi-layer perceptron of Values: relu between the layers and a linear output, unless told otherwise.

    Parameters
    ----------
    nin : int >= 1
        Inputs.
    nouts : sequence or array of int >= 1
        Neurons of each layer; the last is the number of outputs.
    activation : str, class, Module, callable, or a sequence of these
        Of every layer but the last: "relu", "sigmoid", "tanh", ..., as for `nn.MLP`.
    output : str, class, Module or callable
        Of the last; also "softmax" and "log_softmax".
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for Python's module `random`.
    fused : bool
        One node for each neuron's w x + b; see `Neuron`.

    Attributes
    ----------
    layers : list of Layer

    Raises
    ------
    TypeError
        If `nouts` is no sequence of integers, or an activation is none of the above.
    ValueError
        For no layers, a size below 1, an unknown activation, or another number of them than of hidden layers.

    Examples
    --------
    >>> model = MLP(3, [4, 1], rng=0)
    >>> model
    MLP of [Layer of [ReLUNeuron(3), ReLUNeuron(3), ReLUNeuron(3), ReLUNeuron(3)], Layer of [LinearNeuron(4)]]
    >>> len(model.parameters())
    21
    >>> len(mg.topological_order(model([1.0, 2.0, 3.0])))
    57
    >>> len(mg.topological_order(MLP(3, [4, 1], fused=True, rng=0)([1.0, 2.0, 3.0])))
    30
    """

    def __init__(
        self,
        nin: int,
        nouts: Sequence[int] | NDArray[np.integer[Any]],
        activation: arrays.Activation = "relu",
        output: arrays.Activation = "identity",
        rng: Rng = None,
        *,
        fused: bool = False,
    ) -> None:
        if isinstance(nouts, str) or not isinstance(nouts, Sequence | np.ndarray):
            raise TypeError(
                f"MLP: nouts must be the sizes of the layers, as in [16, 1], got {nouts!r}, at {mg.sites.here()}"
            )
        sizes = list(nouts)
        if not sizes:
            raise ValueError(f"MLP: nouts is empty, expected at least one layer, at {mg.sites.here()}")
        rng = rng if rng is None else generator(rng)
        functions = [*arrays.between(activation, len(sizes) - 1), arrays.activation_of("MLP: output", output)]
        self.layers = [
            Layer(fan_in, fan_out, not isinstance(g, arrays.Identity), activation=g, fused=fused, rng=rng)
            for fan_in, fan_out, g in zip([nin, *sizes], sizes, functions, strict=False)
        ]

    def forward(self, x: Any) -> Any:
        """One sample, nin numbers or Values, to a list of Values, or to the one Value."""
        for layer in self.layers:
            x = layer(x)
        return x

    def to_array(self, dtype: DTypeLike = np.float64) -> arrays.MLP:
        """The same network of arrays; see `to_array`."""
        return to_array(self, dtype)

    def __repr__(self) -> str:
        return f"MLP of [{', '.join(map(repr, self.layers))}]"


def softmax(zs: Sequence[Any]) -> list[Any]:
    """a_k = e^(z_k - c) / sum_j e^(z_j - c), spelt out in Values; c, the largest z, is a constant that cancels.

    Examples
    --------
    >>> [a.data for a in softmax([mg.Value(1000.0), mg.Value(1000.0)])]
    [0.5, 0.5]
    """
    c = _largest(zs)
    powers = [mg.exp(z - c) for z in zs]
    total = mg.sum(powers)
    return [power / total for power in powers]


def log_softmax(zs: Sequence[Any]) -> list[Any]:
    """ln a_k = (z_k - c) - ln sum_j e^(z_j - c), spelt out in Values.

    Examples
    --------
    >>> [a.data for a in log_softmax([mg.Value(1000.0), mg.Value(0.0)])]
    [0.0, -1000.0]
    """
    c = _largest(zs)
    shifted = [z - c for z in zs]
    total = mg.log(mg.sum([mg.exp(z) for z in shifted]))
    return [z - total for z in shifted]


def _largest(zs: Sequence[Any]) -> Any:
    numbers = [z.data for z in zs]
    return max(numbers) if all(isinstance(z, float) for z in numbers) else 0  # only floats overflow


ACTIVATIONS = (*(kind for kind, _ in arrays.ACTIVATIONS.values()), arrays.LogSigmoid)

# Those that need all numbers of a layer at once
OF_LAYERS: dict[type[ArrayModule], Callable[[Sequence[Any]], list[Any]]] = {
    arrays.Softmax: softmax,
    arrays.LogSoftmax: log_softmax,
}


# ------------------------------------------------------------------------------------ one network, of Values or arrays


def to_scalar(model: ArrayModule, *, fused: bool = False) -> MLP:
    """The same network of Values: equal outputs, losses and gradients, to rounding.

    Parameters
    ----------
    model : nn.MLP, Sequential or Linear
        Linear layers, each followed by an activation or by none.
    fused : bool
        One node for each neuron's w x + b, instead of one for each multiplication and addition; see `Neuron`.

    Returns
    -------
    nn.scalar.MLP
        With copies of the weights; what is frozen stays frozen.

    Raises
    ------
    TypeError
        If the model is no module of arrays.
    ValueError
        If it holds anything else, or one layer in two places.

    Examples
    --------
    >>> import nn
    >>> model = nn.MLP(2, [3, 1], activation="tanh", rng=0)
    >>> to_scalar(model)
    MLP of [Layer of [TanhNeuron(2), TanhNeuron(2), TanhNeuron(2)], Layer of [LinearNeuron(3)]]
    >>> abs(to_scalar(model)([0.5, -1.0]).data - model(mg.Tensor([0.5, -1.0])).item()) < 1e-15
    True
    """
    network = MLP.__new__(MLP)
    network.layers = [_layer_of(linear, activation, fused) for linear, activation in _pairs(model)]
    return network


def to_array(model: Module, dtype: DTypeLike = np.float64) -> arrays.MLP:
    """The same network of arrays, one node for each layer: equal outputs, losses and gradients, to rounding.

    Parameters
    ----------
    model : nn.scalar.MLP or Layer
    dtype : float64 or float32

    Returns
    -------
    nn.MLP
        With copies of the weights, `layers.0.weight` of shape (nout, nin) and so on; what is frozen stays frozen.

    Raises
    ------
    TypeError
        If the model is something else, or holds numbers that are no floats.
    ValueError
        If the neurons of one layer differ in activation, bias or in what is frozen.

    Examples
    --------
    >>> model = to_array(MLP(2, [3, 1], activation="sigmoid", rng=0))
    >>> {name: p.shape for name, p in model.named_parameters()}
    {'layers.0.weight': (3, 2), 'layers.0.bias': (3,), 'layers.2.weight': (1, 3), 'layers.2.bias': (1,)}
    """
    layers: list[Any] = model.layers if _unchanged(model, MLP) else [model]
    modules: list[ArrayModule] = []
    for layer in layers:
        if not (_unchanged(layer, Layer) and all(_unchanged(neuron, Neuron) for neuron in layer.neurons)):
            raise TypeError(f"to_array: expected an nn.scalar.MLP or Layer, got {layer!r:.60}, at {mg.sites.here()}")
        modules.append(_linear_of(layer, dtype))
        function = layer.activation or _one(layer, "activation", [_activation_of(neuron) for neuron in layer.neurons])
        if not isinstance(function, arrays.Identity):
            modules.append(function)
    network = arrays.MLP.__new__(arrays.MLP)
    network.layers = Sequential(*modules)
    return network


def _unchanged(module: object, kind: type[M]) -> TypeGuard[M]:
    """Whether it computes what the class does, and no subclass says otherwise."""
    if not isinstance(module, kind):
        return False
    return type(module).forward is kind.forward and type(module).__call__ is kind.__call__


def _pairs(model: ArrayModule) -> list[tuple[arrays.Linear, ArrayModule]]:
    """The Linear layers of a stack, each with the activation that follows; errors as `to_scalar` documents them."""
    if not isinstance(model, ArrayModule):
        raise TypeError(f"to_scalar: expected an nn.MLP or nn.Sequential, got {model!r:.60}, at {mg.sites.here()}")
    found: list[tuple[arrays.Linear, ArrayModule]] = []
    for module in stack(model):
        if _unchanged(module, arrays.Linear):
            if any(module is linear for linear, _ in found):
                raise ValueError(f"to_scalar: {module!r} stands in two places, at {mg.sites.here()}")
            found.append((module, arrays.Identity()))
        elif found and isinstance(found[-1][1], arrays.Identity) and type(module) in ACTIVATIONS:
            found[-1] = (found[-1][0], module)
        else:
            raise ValueError(
                f"to_scalar: {module!r:.60} has no place there, expected Linear layers, each followed by one of "
                f"{', '.join(kind.__name__ for kind in ACTIVATIONS)}, or by none, at {mg.sites.here()}"
            )
    if not found:
        raise ValueError(f"to_scalar: the model holds no Linear layer, at {mg.sites.here()}")
    return found


def _layer_of(linear: arrays.Linear, activation: ArrayModule, fused: bool) -> Layer:
    nout, nin = linear.weight.shape
    nonlin = not isinstance(activation, arrays.Identity)
    layer = Layer(nin, nout, nonlin, activation=activation, bias=linear.bias is not None, fused=fused, rng=0)
    for neuron, row in zip(layer.neurons, linear.weight._data.tolist(), strict=True):
        neuron.w = [mg.Value(w).requires_grad_(linear.weight.requires_grad) for w in row]
    if linear.bias is not None:
        for neuron, b in zip(layer.neurons, linear.bias._data.tolist(), strict=True):
            neuron.b = mg.Value(b).requires_grad_(linear.bias.requires_grad)
    return layer


def _linear_of(layer: Layer, dtype: DTypeLike) -> arrays.Linear:
    neurons = layer.neurons
    nin = _one(layer, "the number of inputs", [len(neuron.w) for neuron in neurons])
    bias = _one(layer, "bias", [neuron.b is not None for neuron in neurons])
    linear = arrays.Linear(nin, len(neurons), bias, rng=0)
    linear.weight = _parameter(layer, [neuron.w for neuron in neurons], dtype)
    if bias:
        linear.bias = _parameter(layer, [[neuron.b] for neuron in neurons], dtype)
        linear.bias._replace(linear.bias._data[:, 0])
    return linear


def _parameter(layer: Layer, rows: list[list[Any]], dtype: DTypeLike) -> Parameter:
    values = [value for row in rows for value in row]
    for value in values:
        if not isinstance(value._data, float):
            raise TypeError(f"to_array: {value!r} holds no float, which arrays are made of, at {mg.sites.here()}")
    frozen = not _one(layer, "what requires a gradient", [value.requires_grad for value in values])
    return Parameter(np.array([[value._data for value in row] for row in rows], dtype), requires_grad=not frozen)


def _activation_of(neuron: Neuron) -> ArrayModule:
    return neuron.activation if neuron.nonlin else arrays.Identity()


def _one(layer: Layer, what: str, things: list[T]) -> T:
    """What all neurons of a layer have in common."""
    if len(set(map(repr, things))) > 1:
        raise ValueError(f"to_array: the neurons of {layer!r:.80} differ in {what}, at {mg.sites.here()}")
    return things[0]
