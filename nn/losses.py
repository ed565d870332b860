"""Losses: (input, target) to a number. Names, argument order and values are torch's.

The reductions differ by factors of 1/m and 1/K between books; each loss names its own:

==============  ==================================================  =========================
reduction       value, for losses c of shape (m, K)                 gradient at Z (sigmoid, BCE)
==============  ==================================================  =========================
``mean``        sum c / (m K), torch's default                      (A - Y) / (m K)
``sum``         sum c                                               A - Y
``none``        c                                                   (A - Y) times what comes from above
``batchmean``   sum c / m: over outputs the sum, over samples the   (A - Y) / m, as in the notes
                mean
==============  ==================================================  =========================
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import microgrid as mg
from nn.module import Module
from nn.targets import Array, Data, check_classes, check_finite, check_labels, check_shape, numeric

__microgrid_machinery__ = True


def _batchmean(losses: mg.Tensor) -> mg.Tensor:
    if not losses.ndim:
        raise ValueError(f"reduction='batchmean' needs samples, and there is no batch axis, at {mg.sites.here()}")
    m = losses.shape[0]
    # One node where there is one output
    reduced: mg.Tensor = mg.mean(losses) if losses.size == m else mg.sum(losses) / m
    return reduced


REDUCTIONS: dict[str, Callable[[mg.Tensor], mg.Tensor]] = {
    "mean": mg.mean,
    "sum": mg.sum,
    "none": lambda losses: losses,
    "batchmean": _batchmean,
}


def binary_cross_entropy(input: Data, target: Data, *, reduction: str = "mean") -> mg.Tensor:
    """-[y ln a + (1 - y) ln(1 - a)], composed of the primitives as the notes write it.

    Parameters
    ----------
    input : Tensor of any shape
        Probabilities a in [0, 1], as a sigmoid gives them.
    target : Tensor or array_like of the same shape
        Labels y in [0, 1]; hard or soft.
    reduction : {"mean", "sum", "none", "batchmean"}

    Returns
    -------
    Tensor of shape (), or of the shape of `input` for "none"

    Raises
    ------
    ValueError
        If the shapes differ (nothing is broadcast), are empty, a label or a probability lies outside [0, 1], or a
        label is nan.
    TypeError
        If input or target are not numbers.

    Notes
    -----
    Equals torch where 1e-12 < a < 1 - 1e-12. Beyond, torch clamps the logarithm at -100, and a wholly wrong sample
    teaches it nothing more. Here the formula stands as written: it gives inf and nan where a rounds to 0 or 1, from
    z = 36.7368 on in float64 (53 ln 2). That cliff is one of the formula, not of the engine;
    `binary_cross_entropy_with_logits` has none.

    Soft labels have their minimum at a = y, where the loss is the entropy of y, not 0.

    Examples
    --------
    >>> binary_cross_entropy(mg.Tensor([0.5]), [1.0]).item()
    0.6931471805599453
    """
    input, labels = _pair("binary_cross_entropy", input, target, check_labels)
    _check_probabilities(input)
    losses = -(labels * mg.log(input) + (1 - labels) * mg.log(1 - input))
    return _reduce(losses, reduction)


def binary_cross_entropy_with_logits(input: Data, target: Data, *, reduction: str = "mean") -> mg.Tensor:
    """Binary cross-entropy of a = sigmoid(z) on z itself: max(z, 0) - y z + ln(1 + e^-|z|).

    Parameters
    ----------
    input : Tensor of any shape
        Logits z: natural log-odds.
    target : Tensor or array_like of the same shape
        Labels y in [0, 1]; hard or soft.
    reduction : {"mean", "sum", "none", "batchmean"}

    Returns
    -------
    Tensor of shape (), or of the shape of `input` for "none"

    Raises
    ------
    ValueError
        If the shapes differ (nothing is broadcast), are empty, or a label is nan or outside [0, 1].
    TypeError
        If input or target are not numbers.

    Notes
    -----
    One fused node, finite for every finite z, with the gradient a - y: (A - Y)/m by "batchmean". The loss keeps
    3e-16 relative for |z| <= 708.

    Examples
    --------
    >>> binary_cross_entropy_with_logits(mg.Tensor([-1000.0]), [1.0]).item()
    1000.0
    """
    input, labels = _pair("binary_cross_entropy_with_logits", input, target, check_labels)
    return _reduce(mg.binary_cross_entropy_with_logits(input, labels), reduction)


def mse_loss(input: Data, target: Data, *, reduction: str = "mean") -> mg.Tensor:
    """(x - y)^2.

    Parameters
    ----------
    input : Tensor of any shape
    target : Tensor or array_like of the same shape
        Any finite numbers.
    reduction : {"mean", "sum", "none", "batchmean"}

    Returns
    -------
    Tensor of shape (), or of the shape of `input` for "none"

    Raises
    ------
    ValueError
        If the shapes differ (nothing is broadcast), are empty, or the target holds nan or inf.
    TypeError
        If input or target are not numbers.

    Notes
    -----
    The gradient of each square is 2 (x - y); books that write half squares have x - y.

    Examples
    --------
    >>> mse_loss(mg.Tensor([[1.0, 2.0]]), [[0.0, 4.0]], reduction="batchmean").item()
    5.0
    """
    input, wanted = _pair("mse_loss", input, target, check_finite)
    return _reduce(mg.square(input - wanted), reduction)


def cross_entropy(input: Data, target: Data, *, reduction: str = "mean") -> mg.Tensor:
    """-ln a_y for a = softmax(z), or -sum_k y_k ln a_k for probabilities y; one loss a sample.

    Parameters
    ----------
    input : Tensor of shape (m, K), (K,) or (m, K, ...)
        Logits z; the classes are axis 1 (axis 0 of a single sample).
    target : Tensor or array_like
        Integers 0 ... K - 1 of the shape of `input` without the class axis, or probabilities in [0, 1] of the very
        shape of `input`.
    reduction : {"mean", "sum", "none", "batchmean"}
        Over samples: "mean" and "batchmean" agree for input of shape (m, K).

    Returns
    -------
    Tensor of shape (), or of the shape of `input` without the class axis for "none"

    Raises
    ------
    ValueError
        If the shapes do not fit, are empty, a class does not exist, or a probability is nan or outside [0, 1].
    TypeError
        If input or target are not numbers, or class indices are no integers.

    Notes
    -----
    The gradient at z is a - e_y for indices and a sum(y) - y for probabilities: a - y where they sum to 1, which is
    not asked for.

    Examples
    --------
    >>> cross_entropy(mg.Tensor([[0.0, 0.0], [1000.0, 0.0]]), [1, 1], reduction="none").tolist()
    [0.6931471805599453, 1000.0]
    """
    name = "cross_entropy"
    input = _tensor(name, input)
    if not input.ndim:
        raise ValueError(f"{name}: input has shape (), expected (m, K) or (K,), at {mg.sites.here()}")
    axis = min(1, input.ndim - 1)
    labels = numeric(name, "target", target)
    log_a = mg.log_softmax(input, axis=axis)
    if labels.shape == input.shape and labels.dtype.kind == "f":
        _, y = _pair(name, input, target, check_labels)
        return _reduce(-mg.sum(y * log_a, axis=axis), reduction)
    _check_indices(name, input, labels, axis)
    log_a_y = mg.take_along_axis(log_a, np.expand_dims(labels, axis), axis=axis)
    return _reduce(-mg.squeeze(log_a_y, axis=axis), reduction)


class Loss(Module):
    """Base of the losses: a reduction, and a check of the whole target that `nn.fit` runs before the first step.

    Raises
    ------
    ValueError
        For an unknown reduction.
    TypeError
        If predictions and targets, or a reduction without its keyword, are given to the class.
    """

    def __init__(self, *misplaced: object, reduction: str = "mean") -> None:
        if misplaced:
            raise TypeError(_misplaced(type(self), misplaced))
        _reducer(reduction)
        self.reduction = reduction

    def check_target(self, target: Array) -> None:
        """Raise ValueError where the loss would refuse a value of the target."""
        check_finite(type(self).__name__, target)

    def extra_repr(self) -> str:
        """The reduction."""
        return f"reduction={self.reduction!r}"


class BCELoss(Loss):
    """Binary cross-entropy of probabilities, see `binary_cross_entropy`: the formula of the notes, with its cliff.

    Where the sigmoid rounds to 0 or 1 it gives inf or nan; torch clamps there and stops learning.
    For training prefer `BCEWithLogitsLoss`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> BCELoss(reduction="sum")(mg.Tensor([[0.5], [0.5]]), [[1], [0]]).item()
    1.3862943611198906
    """

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Probabilities and labels of one shape to the loss."""
        return binary_cross_entropy(input, target, reduction=self.reduction)

    def check_target(self, target: Array) -> None:
        """Labels in [0, 1]."""
        check_labels(type(self).__name__, target)


class BCEWithLogitsLoss(Loss):
    """Binary cross-entropy on logits, see `binary_cross_entropy_with_logits`: one node, finite for every finite logit.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> BCEWithLogitsLoss()(mg.Tensor([[0.0]]), [[1]]).item()
    0.6931471805599453
    """

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Logits and labels of one shape to the loss."""
        return binary_cross_entropy_with_logits(input, target, reduction=self.reduction)

    def check_target(self, target: Array) -> None:
        """Labels in [0, 1]."""
        check_labels(type(self).__name__, target)


class MSELoss(Loss):
    """Squared error, see `mse_loss`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> MSELoss()(mg.Tensor([1.0, 2.0]), [0.0, 4.0]).item()
    2.5
    """

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Predictions and targets of one shape to the loss."""
        return mse_loss(input, target, reduction=self.reduction)


class CrossEntropyLoss(Loss):
    """Softmax and log-likelihood on logits, see `cross_entropy`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> CrossEntropyLoss()(mg.Tensor([[0.0, 0.0]]), [1]).item()
    0.6931471805599453
    """

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Logits, and class indices or probabilities, to the loss."""
        return cross_entropy(input, target, reduction=self.reduction)


def as_written(kind: type) -> str:
    """What a user writes for a class: `nn.MSELoss` for ours, the bare name for one of theirs."""
    return f"nn.{kind.__name__}" if kind.__module__.startswith("nn.") else kind.__name__


def _misplaced(kind: type, given: tuple[object, ...]) -> str:
    name = as_written(kind)
    if isinstance(given[0], str):
        return f'{name}: got {given[0]!r}, expected {name}(reduction="{given[0]}"), at {mg.sites.here()}'
    kinds = ", ".join(type(item).__name__ for item in given)
    return f"{name} is made first and then called: got {kinds}, expected {name}()(input, target), at {mg.sites.here()}"


def _reducer(reduction: str) -> Callable[[mg.Tensor], mg.Tensor]:
    if not isinstance(reduction, str) or reduction not in REDUCTIONS:
        expected = ", ".join(map(repr, REDUCTIONS))
        raise ValueError(
            f"{reduction!r} is not a valid value for reduction, expected one of {expected}, at {mg.sites.here()}"
        )
    return REDUCTIONS[reduction]


def _reduce(losses: mg.Tensor, reduction: str) -> mg.Tensor:
    return _reducer(reduction)(losses)


def _tensor(name: str, input: Data) -> mg.Tensor:
    """The input as a Tensor of floats; integers and booleans, which have no gradient, become float64."""
    if isinstance(input, mg.Tensor) and input.dtype.kind == "f":
        return input
    array = numeric(name, "input", input)
    return mg.Tensor(array if array.dtype.kind == "f" else array.astype(float))


def _pair(name: str, input: Data, target: Data, check: Callable[[str, Array], None]) -> tuple[mg.Tensor, Any]:
    """Input and target, checked: a Tensor of floats with its graph, or an array cast to the dtype of the input."""
    input = _tensor(name, input)
    labels = numeric(name, "target", target)
    check_shape(name, input, labels)
    check(name, labels)
    if isinstance(target, mg.Tensor) and labels.dtype.kind == "f":
        return input, target
    return input, labels.astype(input.dtype, copy=False)


def _check_probabilities(input: mg.Tensor) -> None:
    # nan passes: it is the network's doing, and nn.fit and detect_anomaly say where it came from.
    low, high = input._data.min(), input._data.max()
    if low < 0 or high > 1:
        raise ValueError(
            f"binary_cross_entropy: input holds {low if low < 0 else high}, expected probabilities in [0, 1]; "
            f"for logits use BCEWithLogitsLoss, at {mg.sites.here()}"
        )


def _check_indices(name: str, input: mg.Tensor, labels: Array, axis: int) -> None:
    expected = input.shape[:axis] + input.shape[axis + 1 :]
    if labels.shape != expected:
        raise ValueError(
            f"{name}: input has shape {input.shape}, target has shape {labels.shape}, expected class indices of shape "
            f"{expected} or probabilities (floats) of shape {input.shape}, at {mg.sites.here()}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: class indices must be integers, got {labels.dtype} (target.astype(int)), at {mg.sites.here()}"
        )
    if not labels.size:
        raise ValueError(f"{name}: input of shape {input.shape} holds no sample, at {mg.sites.here()}")
    check_classes(name, labels, input.shape[axis])
