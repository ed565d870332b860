"""Initial weights, each with its paper. Names, argument order and values are torch's; randomness is an argument.

Which one? A layer keeps the variance of what flows through it, forward and backward, if its weights have the right
variance; that depends on the activation's slope where it works:

- sigmoid, tanh, softmax, identity: `xavier_uniform_`. Glorot and Bengio derive 2/(fan_in + fan_out), the compromise
  between the two directions, for activations near linear around 0. With it |z| stays of order 1, where the slope of the
  sigmoid is near its largest, 1/4, and no unit starts saturated.
- relu: `kaiming_uniform_`. Half of the units are off, which halves the variance, so He et al. double it: 2/fan_in;
  leaky_relu, of slope s below 0: 2/((1 + s^2) fan_in).
- softplus: `xavier_uniform_`. Its mean square, 0.9 for z of variance 1, needs no doubling.
- Biases start at 0: the random weights already tell the units apart.

A tensor that takes new values takes a new array; graphs that were made before keep the old one.
"""

from __future__ import annotations

import math
from typing import TypeAlias, TypeVar

import numpy as np

import microgrid as mg

__microgrid_machinery__ = True

Rng: TypeAlias = np.random.Generator | int | None
Filled = TypeVar("Filled", bound=mg.Tensor)


def generator(rng: Rng) -> np.random.Generator:
    """The generator itself, one from a seed, or one of fresh entropy for None.

    Raises
    ------
    TypeError, ValueError
        For anything else.

    Examples
    --------
    >>> int(generator(0).integers(100)) == int(generator(0).integers(100))
    True
    """
    try:
        return np.random.default_rng(rng)
    except (TypeError, ValueError) as error:
        raise type(error)(
            f"rng: expected a numpy.random.Generator, an integer >= 0 or None, got {rng!r}, at {mg.sites.here()}"
        ) from None


def constant_(tensor: Filled, val: float) -> Filled:
    """Fill with `val`; the tensor takes new values and is returned.

    Examples
    --------
    >>> constant_(mg.Tensor([0.0, 0.0]), 3.0).tolist()
    [3.0, 3.0]
    """
    tensor._replace(np.full(tensor.shape, val, tensor.dtype))
    return tensor


def zeros_(tensor: Filled) -> Filled:
    """Fill with 0; the tensor takes new values and is returned."""
    return constant_(tensor, 0.0)


def ones_(tensor: Filled) -> Filled:
    """Fill with 1; the tensor takes new values and is returned."""
    return constant_(tensor, 1.0)


def uniform_(tensor: Filled, a: float = 0.0, b: float = 1.0, rng: Rng = None) -> Filled:
    """Fill with draws from U(a, b); the tensor takes new values and is returned.

    Parameters
    ----------
    tensor : Tensor of any shape
    a, b : float
        The bounds, a <= b.
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for fresh entropy.

    Raises
    ------
    ValueError
        If a > b or a bound is not finite.

    Examples
    --------
    >>> bool(abs(uniform_(mg.Tensor([0.0] * 1000), -2, 2, rng=0).numpy()).max() <= 2)
    True
    """
    if not (math.isfinite(a) and math.isfinite(b) and a <= b):
        raise ValueError(f"uniform_: expected finite bounds a <= b, got a={a}, b={b}, at {mg.sites.here()}")
    tensor._replace(generator(rng).uniform(a, b, tensor.shape).astype(tensor.dtype))
    return tensor


def normal_(tensor: Filled, mean: float = 0.0, std: float = 1.0, rng: Rng = None) -> Filled:
    """Fill with draws from N(mean, std^2); the tensor takes new values and is returned.

    Parameters
    ----------
    tensor : Tensor of any shape
    mean : float
    std : float >= 0
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for fresh entropy.

    Raises
    ------
    ValueError
        If `std` is negative or nan.

    Examples
    --------
    >>> normal_(mg.Tensor([0.0, 0.0]), mean=5, std=0, rng=0).tolist()
    [5.0, 5.0]
    """
    if not std >= 0:
        raise ValueError(f"normal_: expected std >= 0, got {std}, at {mg.sites.here()}")
    tensor._replace(generator(rng).normal(mean, std, tensor.shape).astype(tensor.dtype))
    return tensor


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Recommended factor on the standard deviation for an activation, as in torch.

    Parameters
    ----------
    nonlinearity : {"linear", "identity", "sigmoid", "tanh", "relu", "leaky_relu"}
    param : float, optional
        The negative slope of leaky_relu, 0.01 if not given.

    Returns
    -------
    float
        1, 1, 1, 5/3, sqrt(2) and sqrt(2 / (1 + param^2)).

    Raises
    ------
    ValueError
        For another name.

    Examples
    --------
    >>> calculate_gain("tanh")
    1.6666666666666667
    """
    slope = 0.01 if param is None else param
    gains = {
        "linear": 1.0,
        "identity": 1.0,
        "sigmoid": 1.0,
        "tanh": 5 / 3,
        "relu": math.sqrt(2),
        "leaky_relu": math.sqrt(2 / (1 + slope**2)),
    }
    if nonlinearity not in gains:
        raise ValueError(
            f"Unsupported nonlinearity {nonlinearity!r}, expected one of {', '.join(gains)}, at {mg.sites.here()}"
        )
    return gains[nonlinearity]


def xavier_uniform_(tensor: Filled, gain: float = 1.0, rng: Rng = None) -> Filled:
    """Fill with U(-a, a), a = gain sqrt(6 / (fan_in + fan_out)); the tensor takes new values and is returned.

    Parameters
    ----------
    tensor : Tensor of shape (fan_out, fan_in)
        Further axes, if any, count as receptive field: both fans are multiplied by their sizes.
    gain : float
        See `calculate_gain`.
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for fresh entropy.

    Raises
    ------
    ValueError
        For fewer than two axes.

    Notes
    -----
    The variance is 2 gain^2 / (fan_in + fan_out). Glorot and Bengio, "Understanding the difficulty of training deep
    feedforward neural networks", AISTATS 2010, equation 16.

    Examples
    --------
    >>> W = xavier_uniform_(mg.Tensor([[0.0] * 4] * 2), rng=0)
    >>> bool((abs(W.numpy()) <= 1.0).all())
    True
    """
    bound = gain * math.sqrt(6 / sum(_fans(tensor)))
    return uniform_(tensor, -bound, bound, rng)


def xavier_normal_(tensor: Filled, gain: float = 1.0, rng: Rng = None) -> Filled:
    """Fill with N(0, s^2), s = gain sqrt(2 / (fan_in + fan_out)); the tensor takes new values and is returned.

    Parameters, errors and paper are those of `xavier_uniform_` (equation 12 of the paper).

    Examples
    --------
    >>> xavier_normal_(mg.Tensor([[0.0] * 4] * 2), rng=0).shape
    (2, 4)
    """
    return normal_(tensor, 0.0, gain * math.sqrt(2 / sum(_fans(tensor))), rng)


def kaiming_uniform_(
    tensor: Filled, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Rng = None
) -> Filled:
    """Fill with U(-bound, bound), bound = gain sqrt(3 / fan); the tensor takes new values and is returned.

    Parameters
    ----------
    tensor : Tensor of shape (fan_out, fan_in)
        Further axes, if any, count as receptive field: both fans are multiplied by their sizes.
    a : float
        Negative slope of the rectifier that follows; 0 is the plain relu. Used with "leaky_relu" only.
    mode : {"fan_in", "fan_out"}
        Keep the variance of the forward or of the backward pass.
    nonlinearity : str
        See `calculate_gain`.
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for fresh entropy.

    Raises
    ------
    ValueError
        For fewer than two axes, another mode or another nonlinearity.

    Notes
    -----
    The variance is gain^2 / fan: 2 / fan_in for relu. He, Zhang, Ren and Sun, "Delving deep into rectifiers", ICCV
    2015, equations 10 and 15.

    Examples
    --------
    >>> W = kaiming_uniform_(mg.Tensor([[0.0] * 6] * 2), nonlinearity="relu", rng=0)
    >>> bool((abs(W.numpy()) <= 1.0).all())
    True
    """
    bound = math.sqrt(3) * _kaiming_std(tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound, rng)


def kaiming_normal_(
    tensor: Filled, a: float = 0, mode: str = "fan_in", nonlinearity: str = "leaky_relu", rng: Rng = None
) -> Filled:
    """Fill with N(0, s^2), s = gain / sqrt(fan); the tensor takes new values and is returned.

    Parameters, errors and paper are those of `kaiming_uniform_`.

    Examples
    --------
    >>> kaiming_normal_(mg.Tensor([[0.0] * 6] * 2), rng=0).shape
    (2, 6)
    """
    return normal_(tensor, 0.0, _kaiming_std(tensor, a, mode, nonlinearity), rng)


def lecun_normal_(tensor: Filled, rng: Rng = None) -> Filled:
    """Fill with N(0, 1 / fan_in); the tensor takes new values and is returned.

    Parameters
    ----------
    tensor : Tensor of shape (fan_out, fan_in)
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for fresh entropy.

    Raises
    ------
    ValueError
        For fewer than two axes.

    Notes
    -----
    With inputs of variance 1, z has variance 1. LeCun, Bottou, Orr and Müller, "Efficient BackProp", 1998, equation 16.

    Examples
    --------
    >>> lecun_normal_(mg.Tensor([[0.0] * 6] * 2), rng=0).shape
    (2, 6)
    """
    return normal_(tensor, 0.0, 1 / math.sqrt(_fans(tensor)[0]), rng)


def _kaiming_std(tensor: mg.Tensor, a: float, mode: str, nonlinearity: str) -> float:
    modes = dict(zip(("fan_in", "fan_out"), _fans(tensor), strict=True))
    if mode not in modes:
        raise ValueError(f"Mode {mode!r} not supported, expected fan_in or fan_out, at {mg.sites.here()}")
    return calculate_gain(nonlinearity, a) / math.sqrt(modes[mode])


def _fans(tensor: mg.Tensor) -> tuple[int, int]:
    """How many numbers enter each output, and how many outputs each number enters."""
    if tensor.ndim < 2:
        raise ValueError(
            "Fan in and fan out can not be computed for tensor with fewer than 2 dimensions: "
            f"got shape {tensor.shape}, at {mg.sites.here()}"
        )
    fan_out, fan_in, *field = tensor.shape
    area = math.prod(field)
    return fan_in * area, fan_out * area
