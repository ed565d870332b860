"""Layers: the modules that networks are stacked from."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Self, overload

import numpy as np
from numpy.typing import DTypeLike, NDArray

import microgrid as mg
from nn import init as initialisers
from nn.init import Rng
from nn.module import Module, Parameter

__microgrid_machinery__ = True


class Linear(Module):
    """Z = X W^T + b, in row layout: one sample a row.

    Parameters
    ----------
    in_features, out_features : int >= 1
    bias : bool
        False leaves b out.
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for fresh entropy (each run differs). Never global state.
    init : callable
        `init(weight, rng=rng)` gives the weight its first values; see `nn.init`. The bias starts at 0.
    dtype : float64 or float32

    Attributes
    ----------
    weight : Parameter of shape (out_features, in_features)
    bias : Parameter of shape (out_features,), or None

    Raises
    ------
    ValueError
        If a size is below 1.
    TypeError
        If a size is no integer.

    Notes
    -----
    The layer is one node of the graph. The notes write the same in column layout, Z = W A + b 1^T.
    torch draws weight and bias from U(-1/sqrt(in_features), 1/sqrt(in_features)); the default here is the initialiser
    that was derived for the purpose (Glorot and Bengio 2010).

    Examples
    --------
    >>> layer = Linear(3, 2, rng=0)
    >>> layer
    Linear(in_features=3, out_features=2, bias=True)
    >>> layer(mg.Tensor([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    weight: Parameter
    bias: Parameter | None

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        rng: Rng = None,
        init: Callable[..., object] = initialisers.xavier_uniform_,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.in_features = _size("Linear: in_features", in_features)
        self.out_features = _size("Linear: out_features", out_features)
        self.weight = Parameter(np.zeros((self.out_features, self.in_features), dtype))
        self.bias = Parameter(np.zeros(self.out_features, dtype)) if bias else None
        init(self.weight, rng=rng)

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """(..., in_features) to (..., out_features)."""
        z: mg.Tensor = mg.linear(input, self.weight, self.bias)
        return z

    def extra_repr(self) -> str:
        """As torch prints it."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"


class Sigmoid(Module):
    """A = 1 / (1 + e^-Z), elementwise.

    Examples
    --------
    >>> Sigmoid()(mg.Tensor([0.0])).tolist()
    [0.5]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values in [0, 1]."""
        return mg.sigmoid(input)


class Tanh(Module):
    """A = tanh(Z), elementwise.

    Examples
    --------
    >>> Tanh()(mg.Tensor([0.0])).tolist()
    [0.0]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values in [-1, 1]."""
        return mg.tanh(input)


class ReLU(Module):
    """A = max(Z, 0), elementwise; the gradient at 0 is 0.

    Examples
    --------
    >>> ReLU()(mg.Tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values >= 0."""
        return mg.relu(input)


class Softmax(Module):
    """a_k = e^(z_k) / sum_j e^(z_j) along one axis.

    For training leave it out and use `CrossEntropyLoss`, which takes the logits.

    Parameters
    ----------
    axis : int
        The axis whose entries sum to 1; the last, if not given.
    dim : int
        torch's word for the same.

    Raises
    ------
    TypeError
        If both are given.

    Examples
    --------
    >>> Softmax()(mg.Tensor([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """

    def __init__(self, axis: int | None = None, *, dim: int | None = None) -> None:
        if axis is not None and dim is not None:
            raise TypeError(f"Softmax: axis={axis} and dim={dim} are one thing: give one, at {mg.sites.here()}")
        given = dim if axis is None else axis
        self.axis = -1 if given is None else given

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values in [0, 1]."""
        return mg.softmax(input, axis=self.axis)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class Identity(Module):
    """A = Z.

    Examples
    --------
    >>> Identity()(mg.Tensor([3.0])).tolist()
    [3.0]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """The input itself."""
        return input


class Sequential(Module):
    """Modules one after another: f^L(... f^1(x)).

    Parameters
    ----------
    *modules : Module
        In the order in which they are applied. They are named "0", "1", ...

    Raises
    ------
    TypeError
        If one is no Module.

    Examples
    --------
    >>> net = Sequential(Linear(2, 3, rng=0), Sigmoid(), Linear(3, 1, rng=1))
    >>> net(mg.Tensor([[1.0, 2.0]])).shape
    (1, 1)
    >>> len(net), net[1], net[:2][0] is net[0]
    (3, Sigmoid(), True)
    """

    def __init__(self, *modules: Module) -> None:
        for module in modules:
            self.append(module)

    def append(self, module: Module) -> Self:
        """Put one more module at the end; returns the Sequential."""
        setattr(self, str(len(self)), _module(module))
        return self

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """What the first module takes, to what the last gives."""
        for module in vars(self).values():
            if isinstance(module, Module):
                input = module(input)
        return input

    def __iter__(self) -> Iterator[Module]:
        # Not children(): a module that stands in two places is applied twice.
        return (module for module in vars(self).values() if isinstance(module, Module))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> Sequential: ...
    def __getitem__(self, index: int | slice) -> Module | Sequential:
        stack = list(self)
        return Sequential(*stack[index]) if isinstance(index, slice) else stack[index]

    def __setitem__(self, index: int, module: Module) -> None:
        setattr(self, str(range(len(self))[index]), _module(module))


class MLP(Module):
    """Multi-layer perceptron: Linear layers with an activation between them.

    Parameters
    ----------
    nin : int >= 1
        Inputs.
    nouts : sequence or array of int >= 1
        Units of each layer; the last is the number of outputs.
    activation : {"sigmoid", "tanh", "relu", "identity"}
        After every layer but the last.
    output : {"identity", "sigmoid", "tanh", "relu", "softmax"}
        After the last. "identity" gives logits, for `BCEWithLogitsLoss` or `CrossEntropyLoss`; "sigmoid" gives
        probabilities, for `BCELoss`.
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for fresh entropy (each run differs). Never global state.
    dtype : float64 or float32

    Attributes
    ----------
    layers : Sequential
        Linear, activation, Linear, ..., so that parameters are called `layers.0.weight`, `layers.2.weight`, ... as in
        the same stack of torch's.

    Raises
    ------
    ValueError
        For an unknown activation, no layers, or a size below 1.
    TypeError
        If `nouts` is no sequence of integers, or an activation is not given by its name.

    Notes
    -----
    Weights start by He et al. (2015) where relu follows, by Glorot and Bengio (2010) elsewhere, biases at 0;
    `nn.init` says why. For an activation of each layer's own use `Sequential`.

    Examples
    --------
    >>> model = MLP(2, [3, 1], rng=0)
    >>> model
    MLP(
      (layers): Sequential(
        (0): Linear(in_features=2, out_features=3, bias=True)
        (1): Sigmoid()
        (2): Linear(in_features=3, out_features=1, bias=True)
      )
    )
    >>> sum(p.size for p in model.parameters())
    13
    """

    def __init__(
        self,
        nin: int,
        nouts: Sequence[int] | NDArray[np.integer[Any]],
        activation: str = "sigmoid",
        output: str = "identity",
        rng: Rng = None,
        *,
        dtype: DTypeLike = np.float64,
    ) -> None:
        if isinstance(nouts, np.ndarray) and nouts.ndim == 1:
            nouts = list(nouts)
        if isinstance(nouts, str | bytes) or not isinstance(nouts, Sequence):
            raise TypeError(
                f"MLP: nouts must be the sizes of the layers, as in [16, 1], got {nouts!r}, at {mg.sites.here()}"
            )
        if not nouts:
            raise ValueError(f"MLP: nouts is empty, expected at least one layer, at {mg.sites.here()}")
        # A wrong name is one, even where a single layer does not use it.
        between, last = _activation("activation", activation), _activation("output", output)
        rng = initialisers.generator(rng)
        stack: list[Module] = []
        for depth, (fan_in, fan_out) in enumerate(zip([nin, *nouts], nouts, strict=False), start=1):
            function, init = last if depth == len(nouts) else between
            stack.append(Linear(fan_in, fan_out, rng=rng, init=init, dtype=dtype))
            if function is not Identity:
                stack.append(function())
        self.layers = Sequential(*stack)

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """(..., nin) to (..., nouts[-1])."""
        return self.layers.forward(input)


# Each activation with the initialiser of the layer before it
ACTIVATIONS: dict[str, tuple[Callable[[], Module], Callable[..., Any]]] = {
    "identity": (Identity, initialisers.xavier_uniform_),
    "sigmoid":  (Sigmoid,  initialisers.xavier_uniform_),
    "tanh":     (Tanh,     initialisers.xavier_uniform_),
    "softmax":  (Softmax,  initialisers.xavier_uniform_),
    "relu":     (ReLU,     initialisers.kaiming_uniform_),  # its defaults are those of the plain relu
}  # fmt: skip


def _activation(role: str, name: str) -> tuple[Callable[[], Module], Callable[..., Any]]:
    known = [known for known in ACTIVATIONS if known != "softmax" or role == "output"]
    if not isinstance(name, str):
        word = getattr(name, "__name__", type(name).__name__).lower()  # of a function or class, or of an instance
        remedy = f'write {role}="{word}"' if word in known else f"expected one of {', '.join(map(repr, known))}"
        raise TypeError(f"MLP: {role} is given by its name, got {name!r}: {remedy}, at {mg.sites.here()}")
    if name not in known:
        raise ValueError(f"MLP: {role} {name!r} is not one of {', '.join(known)}, at {mg.sites.here()}")
    return ACTIVATIONS[name]


def _module(module: Module) -> Module:
    if isinstance(module, Module):
        return module
    raise TypeError(
        f"Sequential: expected modules, got {module!r}; "
        f"write nn.Sequential(nn.Linear(2, 3), nn.Sigmoid()), instances one by one, at {mg.sites.here()}"
    )


def _size(name: str, value: int) -> int:
    try:
        if isinstance(value, bool | np.bool):
            raise TypeError
        size = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}, at {mg.sites.here()}") from None
    if size < 1:
        raise ValueError(f"{name} must be at least 1, got {size}, at {mg.sites.here()}")
    return size
