"""Layers: the modules that networks are stacked from."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import DTypeLike, NDArray

import microgrid as mg
from microgrid.capture.prepared import prepared
from nn import init as initialisers
from nn.containers import Sequential
from nn.init import Rng
from nn.module import Module, Parameter
from nn.targets import check_count, integer, real

if TYPE_CHECKING:
    from nn import scalar

__microgrid_machinery__ = True

Init: TypeAlias = Callable[..., object]  # init(weight, rng=rng)
Activation: TypeAlias = str | Module | Callable[[], Module]  # its name, itself, or what makes one: a class, say


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
        init: Init = initialisers.xavier_uniform_,
        dtype: DTypeLike = np.float64,
    ) -> None:
        self.in_features = check_count("Linear", "in_features", in_features)
        self.out_features = check_count("Linear", "out_features", out_features)
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
        return mg.sigmoid(_node(input))


class Tanh(Module):
    """A = tanh(Z), elementwise.

    Examples
    --------
    >>> Tanh()(mg.Tensor([0.0])).tolist()
    [0.0]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values in [-1, 1]."""
        return mg.tanh(_node(input))


def _check_inplace(name: str, inplace: object) -> None:
    """What torch would write over the input changes nothing here: no node is ever written to, and the numbers agree."""
    if not isinstance(inplace, bool):
        raise TypeError(f"{name}: inplace must be True or False, got {inplace!r}, at {mg.sites.here()}")


class ReLU(Module):
    """A = max(Z, 0), elementwise; the gradient at 0 is 0.

    Parameters
    ----------
    inplace : bool
        Taken as torch takes it, and without effect: a node is never written to.

    Raises
    ------
    TypeError
        If it is no boolean.

    Examples
    --------
    >>> ReLU()(mg.Tensor([-1.0, 2.0])).tolist()
    [0.0, 2.0]
    """

    def __init__(self, inplace: bool = False) -> None:
        _check_inplace("ReLU", inplace)

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values >= 0."""
        return mg.relu(_node(input))


class LeakyReLU(Module):
    """A = Z above 0, negative_slope Z elsewhere.

    Parameters
    ----------
    negative_slope : float
        0 is the plain relu, 1 the identity. The gradient at 0 is this slope.
    inplace : bool
        Without effect; see `ReLU`.

    Raises
    ------
    TypeError, ValueError
        If the slope is no finite number, or `inplace` no boolean.

    Notes
    -----
    Maas, Hannun and Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013. A unit that is
    off still learns.

    Examples
    --------
    >>> LeakyReLU(0.1)(mg.Tensor([-1.0, 2.0])).tolist()
    [-0.1, 2.0]
    """

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        _check_inplace("LeakyReLU", inplace)
        self.negative_slope = real("LeakyReLU", "negative_slope", negative_slope)

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape."""
        return mg.leaky_relu(_node(input), self.negative_slope)

    def extra_repr(self) -> str:
        """The slope."""
        return f"negative_slope={self.negative_slope}"


class Softplus(Module):
    """A = ln(1 + e^(beta Z)) / beta, a relu with a rounded corner.

    Parameters
    ----------
    beta : float > 0
        The larger, the sharper the corner.
    threshold : float >= 20
        Where beta z is above it torch gives z itself, to spare an exponential. Here the function is exact everywhere:
        a threshold from 20 on, where the two are the same but for 2e-9, is taken and without effect.

    Raises
    ------
    TypeError, ValueError
        If beta is no finite number above 0, or the threshold one below 20, which would be another function.

    Notes
    -----
    Dugas, Bengio, Bélisle, Nadeau and Garcia, "Incorporating second-order functional knowledge for better option
    pricing", NIPS 2000. Exact everywhere.

    Examples
    --------
    >>> Softplus()(mg.Tensor([0.0, 1000.0])).tolist()
    [0.6931471805599453, 1000.0]
    """

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        if real("Softplus", "threshold", threshold) < 20:
            raise ValueError(
                f"Softplus: threshold={threshold} cuts the function off where it is not yet z, expected 20 or more "
                f"(without effect: it is exact everywhere), at {mg.sites.here()}"
            )
        self.beta = real("Softplus", "beta", beta)
        if self.beta <= 0:
            raise ValueError(f"Softplus: beta must be above 0, got {beta}, at {mg.sites.here()}")

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values >= 0."""
        input = _node(input)
        return mg.softplus(input) if self.beta == 1 else mg.softplus(input * self.beta) / self.beta

    def extra_repr(self) -> str:
        """How sharp the corner is."""
        return f"beta={self.beta}"


class LogSigmoid(Module):
    """A = ln(1 / (1 + e^-Z)), elementwise; finite wherever Z is.

    Examples
    --------
    >>> LogSigmoid()(mg.Tensor([0.0, -1000.0])).tolist()
    [-0.6931471805599453, -1000.0]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values <= 0."""
        return mg.logsigmoid(_node(input))


class _AlongAxis(Module):
    """What softmax and its logarithm share: the axis whose entries belong together."""

    def __init__(self, axis: int | None = None, *, dim: int | None = None) -> None:
        name = type(self).__name__
        if axis is not None and dim is not None:
            raise TypeError(f"{name}: axis={axis} and dim={dim} are one thing: give one, at {mg.sites.here()}")
        given = dim if axis is None else axis
        self.axis = -1 if given is None else integer(name, "axis", given)

    def extra_repr(self) -> str:
        """The axis."""
        return f"axis={self.axis}"


class Softmax(_AlongAxis):
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
        If both are given, or no integer.

    Examples
    --------
    >>> Softmax()(mg.Tensor([[1000.0, 1000.0]])).tolist()
    [[0.5, 0.5]]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values in [0, 1]."""
        return mg.softmax(_node(input), axis=self.axis)


class LogSoftmax(_AlongAxis):
    """ln a_k = z_k - ln sum_j e^(z_j) along one axis, for `NLLLoss`; finite where softmax rounds to 0.

    Parameters and errors are those of `Softmax`.

    Examples
    --------
    >>> LogSoftmax()(mg.Tensor([[0.0, 1000.0]])).tolist()
    [[-1000.0, 0.0]]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape, values <= 0."""
        return mg.log_softmax(_node(input), axis=self.axis)


class Identity(Module):
    """A = Z.

    Examples
    --------
    >>> Identity()(mg.Tensor([3.0])).tolist()
    [3.0]
    """

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """The input itself."""
        return _node(input)


class Dropout(Module):
    """Zero each number with probability p while training, and divide the others by 1 - p; nothing in evaluation.

    Parameters
    ----------
    p : float in [0, 1]
        1 leaves nothing.
    inplace : bool
        Without effect; see `ReLU`.
    rng : numpy.random.Generator, int or None
        Draws the masks. A generator (which advances), a seed, or None for fresh entropy. Never global state.

    Attributes
    ----------
    rng : numpy.random.Generator
        Copied, pickled and saved with its state, so that what is resumed draws the same masks.

    Raises
    ------
    ValueError
        If p is outside [0, 1].
    TypeError
        If p is no number.

    Notes
    -----
    The division keeps the expectation, so that evaluation needs no factor ("inverted" dropout). In the graph the mask
    is a constant that the input is multiplied by. Srivastava, Hinton, Krizhevsky, Sutskever and Salakhutdinov,
    "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15, 2014.

    Examples
    --------
    >>> layer = Dropout(0.5, rng=0)
    >>> layer(mg.Tensor([1.0, 1.0, 1.0, 1.0])).tolist()
    [2.0, 0.0, 0.0, 0.0]
    >>> layer.eval()(mg.Tensor([1.0, 1.0])).tolist()
    [1.0, 1.0]
    """

    def __init__(self, p: float = 0.5, inplace: bool = False, *, rng: Rng = None) -> None:
        _check_inplace("Dropout", inplace)
        self.p = real("Dropout", "p", p)
        if not 0 <= self.p <= 1:
            raise ValueError(f"dropout probability has to be between 0 and 1, but got {self.p}, at {mg.sites.here()}")
        self.rng = initialisers.generator(rng)

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """Any shape to the same shape."""
        input = _tensor(input)
        if not self.training or self.p == 0:
            return input
        dtype = np.result_type(input.dtype, np.float32)
        kept: mg.Tensor = input * prepared(_mask, rng=self.rng, shape=input.shape, p=self.p, dtype=dtype)
        return kept

    def extra_repr(self) -> str:
        """The probability."""
        return f"p={self.p}"


def _mask(rng: np.random.Generator, shape: tuple[int, ...], p: float, dtype: Any) -> NDArray[Any]:
    """What dropout multiplies by: drawn anew at each call, and at each replay of one."""
    kept = rng.random(shape) >= p
    scale = 1 / (1 - p) if p < 1 else 0.0
    mask: NDArray[Any] = (kept * scale).astype(dtype)
    return mask


class Flatten(Module):
    """The axes start_dim to end_dim as one: images to rows, before a Linear.

    Parameters
    ----------
    start_dim, end_dim : int
        First and last of the axes, counted from the end if negative. By default all but the first, that of the samples.

    Raises
    ------
    TypeError
        If one is no integer.
    ValueError
        When called: if the input has no such axes, or they are in the wrong order.

    Examples
    --------
    >>> Flatten()(mg.Tensor(np.zeros((5, 8, 8)))).shape
    (5, 64)
    """

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        self.start_dim = integer("Flatten", "start_dim", start_dim)
        self.end_dim = integer("Flatten", "end_dim", end_dim)

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """(m, ...) to (m, n), by default."""
        input = _tensor(input)
        shape = input.shape
        axes = range(len(shape))
        try:
            start, end = axes[self.start_dim], axes[self.end_dim]
        except IndexError:
            raise ValueError(
                f"Flatten: dimension out of range: input of shape {shape} has no axes {self.start_dim} to "
                f"{self.end_dim}, at {mg.sites.here()}"
            ) from None
        if start > end:
            raise ValueError(
                f"flatten() has invalid args: start_dim cannot come after end_dim, for shape {shape} axes "
                f"{start} and {end}, at {mg.sites.here()}"
            )
        # The product, not -1: an empty input has none to infer it from.
        flat: mg.Tensor = mg.reshape(input, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))
        return flat

    def extra_repr(self) -> str:
        """As torch prints it."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class MLP(Module):
    """Multi-layer perceptron: Linear layers with an activation between them.

    Parameters
    ----------
    nin : int >= 1
        Inputs.
    nouts : sequence or array of int >= 1
        Units of each layer; the last is the number of outputs.
    activation : str, class, Module, callable, or a sequence of these
        After every layer but the last; of a sequence, one for each of them. A name ("sigmoid", "tanh", "relu",
        "leaky_relu", "softplus", "identity"), a class (`nn.Tanh`), a function without arguments that makes a Module,
        or a Module (`nn.LeakyReLU(0.2)`), the same one wherever it is used.
    output : str, class, Module or callable
        After the last; also "softmax" and "log_softmax". "identity" gives logits, for `BCEWithLogitsLoss` or
        `CrossEntropyLoss`; "sigmoid" gives probabilities, for `BCELoss`; "log_softmax" is for `NLLLoss`.
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
        For an unknown activation, another number of them than of hidden layers, no layers, or a size below 1.
    TypeError
        If `nouts` is no sequence of integers, or an activation is none of the above.

    Notes
    -----
    Weights start by He et al. (2015) where a relu follows, leaky or not, by Glorot and Bengio (2010) elsewhere, biases
    at 0; `nn.init` says why.

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
    >>> [type(layer).__name__ for layer in MLP(2, [4, 3, 1], ["relu", Tanh], output="sigmoid", rng=0).layers]
    ['Linear', 'ReLU', 'Linear', 'Tanh', 'Linear', 'Sigmoid']
    """

    def __init__(
        self,
        nin: int,
        nouts: Sequence[int] | NDArray[np.integer[Any]],
        activation: Activation | Sequence[Activation] = "sigmoid",
        output: Activation = "identity",
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
        activations = [*between(activation, len(nouts) - 1), activation_of("MLP: output", output)]
        rng = initialisers.generator(rng)
        stack: list[Module] = []
        for fan_in, fan_out, function in zip([nin, *nouts], nouts, activations, strict=False):
            stack.append(Linear(fan_in, fan_out, rng=rng, init=_init_before(function), dtype=dtype))
            if not isinstance(function, Identity):
                stack.append(function)
        self.layers = Sequential(*stack)

    def forward(self, input: mg.Tensor) -> mg.Tensor:
        """(..., nin) to (..., nouts[-1])."""
        return self.layers.forward(input)

    def to_scalar(self, *, fused: bool = False) -> scalar.MLP:
        """The same network made of Values; see `nn.to_scalar`."""
        from nn.scalar import to_scalar  # here, since it is built on this module

        return to_scalar(self, fused=fused)


def glorot(activation: Module) -> Init:
    """Weights before an activation that is near linear around 0."""
    return initialisers.xavier_uniform_


def he(activation: Module) -> Init:
    """Weights before a rectifier, of its slope below 0."""
    return functools.partial(initialisers.kaiming_uniform_, a=getattr(activation, "negative_slope", 0.0))


# Each activation with the initialiser of the layer before it
ACTIVATIONS: dict[str, tuple[type[Module], Callable[[Module], Init]]] = {
    "identity":    (Identity,   glorot),
    "sigmoid":     (Sigmoid,    glorot),
    "tanh":        (Tanh,       glorot),
    "relu":        (ReLU,       he),
    "leaky_relu":  (LeakyReLU,  he),
    "softplus":    (Softplus,   glorot),
    "softmax":     (Softmax,    glorot),
    "log_softmax": (LogSoftmax, glorot),
}  # fmt: skip
FOR_OUTPUTS = ("softmax", "log_softmax")


def _init_before(activation: Module) -> Init:
    family = next((family for kind, family in ACTIVATIONS.values() if isinstance(activation, kind)), glorot)
    return family(activation)


def between(activation: Activation | Sequence[Activation], hidden: int) -> list[Module]:
    """The activations of the hidden layers."""
    if isinstance(activation, list | tuple):
        if len(activation) != hidden:
            raise ValueError(
                f"MLP: activation lists {len(activation)}, expected {hidden}, one for each hidden layer "
                f"(the last layer's is output=), at {mg.sites.here()}"
            )
        return [activation_of("MLP: activation", each) for each in activation]
    one: Any = activation
    activation_of("MLP: activation", one)  # a wrong name is one, even where a single layer does not use it
    return [activation_of("MLP: activation", one) for _ in range(hidden)]


def activation_of(role: str, given: Activation) -> Module:
    """The module that plays the role, as in "MLP: output", from whatever says which."""
    argument = role.rpartition(" ")[2]
    known = [name for name in ACTIVATIONS if name not in FOR_OUTPUTS or argument == "output"]
    if isinstance(given, str):
        if given not in known:
            raise ValueError(f"{role} {given!r} is not one of {', '.join(known)}, at {mg.sites.here()}")
        return ACTIVATIONS[given][0]()
    if isinstance(given, Module):
        return given
    try:
        made: object = given()
    except TypeError as error:  # mg.relu, say, or what cannot be called
        word = getattr(given, "__name__", "")
        remedy = f'write {argument}="{word}"' if word in known else f"expected one of {', '.join(map(repr, known))}"
        raise TypeError(
            f"{role} is a name, a Module, or makes one without arguments, got {given!r} ({error}): {remedy}, "
            f"at {mg.sites.here()}"
        ) from error
    if not isinstance(made, Module):
        raise TypeError(f"{role} {given!r} made {made!r}, expected a Module, at {mg.sites.here()}")
    return made


PLAIN = (list, tuple, np.ndarray, np.generic, int, float)


def _node(input: Any) -> mg.Tensor:
    """Lists, arrays and numbers as a Tensor, as Linear takes them; Tensors and Values as they are."""
    return mg.Tensor(input) if isinstance(input, PLAIN) else input


def _tensor(input: Any) -> mg.Tensor:
    return input if isinstance(input, mg.Tensor) else mg.Tensor(input)
