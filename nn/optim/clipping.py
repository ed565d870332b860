"""Gradients cut to a size, between `backward()` and the step of an optimiser."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable
from typing import Any

import numpy as np

import microgrid as mg
from nn.optim.optimizer import gradient
from nn.optim.settings import number
from nn.targets import Array

__microgrid_machinery__ = True


def clip_grad_norm_(
    parameters: mg.Tensor | Iterable[mg.Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> float:
    """Scale all gradients by one factor, so that together, as one vector, they are no longer than `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float >= 0
        May be infinite: then the length is only measured.
    norm_type : float > 0, or inf
        p of the norm (sum |g|^p)^(1/p); inf for the largest |g|.
    error_if_nonfinite : bool
        Raise where the norm is nan or infinite, before anything is changed. Otherwise nan makes all gradients nan, and
        an infinite one the others 0.

    Returns
    -------
    float
        The norm before; 0.0 where there is no gradient.

    Raises
    ------
    RuntimeError
        If the norm is not finite and `error_if_nonfinite` is set.
    TypeError, ValueError
        If something is no Tensor, or a number is out of range.

    Warns
    -----
    UserWarning
        If `parameters` is a generator that gives nothing: it has been run through before.

    Notes
    -----
    The factor is max_norm / (norm + 1e-6), as in torch, where that is below 1. Squares do not overflow: the norm is
    found from gradients divided by their largest entry.

    Pascanu, Mikolov and Bengio, "On the difficulty of training recurrent neural networks", ICML 2013, algorithm 1.

    Examples
    --------
    >>> v = mg.Tensor([3.0, 4.0], requires_grad=True)
    >>> mg.sum(v * v / 2).backward()
    >>> clip_grad_norm_([v], max_norm=0.5)
    5.0
    >>> v.grad.round(6).tolist()
    [0.3, 0.4]
    """
    p = _order(norm_type)
    limit = math.inf if isinstance(max_norm, float) and max_norm == math.inf else number("max_norm", 0)(max_norm)
    clipped = _with_gradients("clip_grad_norm_", parameters)
    with np.errstate(all="ignore"):
        total = _norm(np.array([_norm(gradient(parameter), p) for parameter in clipped]), p)
        if error_if_nonfinite and not math.isfinite(total):
            raise RuntimeError(
                f"The total norm of order {p} for gradients from `parameters` is non-finite, so it cannot be clipped. "
                "To disable this error and scale the gradients by the non-finite norm anyway, set "
                f"`error_if_nonfinite=False`, at {mg.sites.here()}"
            )
        if not total + 1e-6 <= limit:  # so also for nan
            for parameter in clipped:
                _write(parameter, gradient(parameter) * (limit / (total + 1e-6)))
    return total


def clip_grad_value_(parameters: mg.Tensor | Iterable[mg.Tensor], clip_value: float) -> None:
    """Cut each entry of the gradients to [-clip_value, clip_value].

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    clip_value : float >= 0

    Raises
    ------
    TypeError, ValueError
        If something is no Tensor, or `clip_value` is out of range.

    Examples
    --------
    >>> v = mg.Tensor([3.0, -0.5], requires_grad=True)
    >>> mg.sum(v * v / 2).backward()
    >>> clip_grad_value_([v], 1.0)
    >>> v.grad.tolist()
    [1.0, -0.5]
    """
    limit = number("clip_value", 0)(clip_value)
    for parameter in _with_gradients("clip_grad_value_", parameters):
        _write(parameter, np.clip(gradient(parameter), -limit, limit))


def _with_gradients(name: str, parameters: Any) -> list[mg.Tensor]:
    """The parameters that have a gradient, each once: one that is given twice has one gradient."""
    if not isinstance(parameters, mg.Tensor | Iterable) or isinstance(parameters, str):
        raise TypeError(f"{name}: expected Tensors, got {type(parameters).__name__}, at {mg.sites.here()}")
    given = [parameters] if isinstance(parameters, mg.Tensor) else list(parameters)
    if not given and hasattr(parameters, "__next__"):
        warnings.warn("`parameters` is an empty generator, no gradient clipping will occur.", UserWarning, stacklevel=3)
    for parameter in given:
        if not isinstance(parameter, mg.Tensor):
            raise TypeError(
                f"{name}: expected Tensors, but one of the parameters is {type(parameter).__name__}, "
                f"at {mg.sites.here()}"
            )
    return [parameter for parameter in dict.fromkeys(given) if parameter._grad is not None]


def _order(norm_type: Any) -> float:
    if isinstance(norm_type, float | str) and norm_type in (math.inf, "inf"):
        return math.inf
    p: float = number("norm_type", 0)(norm_type)
    if p == 0:
        raise ValueError(f"Invalid norm_type: {norm_type}, expected a number > 0 or inf, at {mg.sites.here()}")
    return p


def _norm(array: Array, p: float) -> float:
    size = np.abs(array)
    largest = float(size.max(initial=0.0))
    if p == math.inf or largest == 0 or not math.isfinite(largest):
        return largest
    return float(largest * np.sum((size / largest) ** p) ** (1 / p))


def _write(parameter: mg.Tensor, array: Any) -> None:
    """Give the gradient new numbers: in place, since its array is the parameter's own, unless a node holds it."""
    g = parameter._grad
    if isinstance(g, mg.Tensor):
        parameter._grad = np.asarray(array)
    else:
        g[...] = array
