"""Losses as functions: (input, target) to a number. Names, argument order and values are torch's.

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

Weights are constants; what they multiply, the sum and the mean are taken of. One mean is torch's own: where class
indices are weighted or ignored it is sum w_y c / sum w_y over the samples that count.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import microgrid as mg
from microgrid.capture.prepared import checked, prepared
from microgrid.modes import record, special
from nn.targets import (
    Array,
    Data,
    check_amounts,
    check_classes,
    check_finite,
    check_labels,
    check_shape,
    check_weights,
    integer,
    numeric,
    once_per_array,
    real,
)

__microgrid_machinery__ = True

IGNORED = -100  # torch's mark of a sample without a class


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


def binary_cross_entropy(
    input: Data, target: Data, weight: Data | None = None, *, reduction: str = "mean"
) -> mg.Tensor:
    """-[y ln a + (1 - y) ln(1 - a)], composed of the primitives as the notes write it.

    Parameters
    ----------
    input : Tensor of any shape
        Probabilities a in [0, 1], as a sigmoid gives them.
    target : Tensor or array_like of the same shape
        Labels y in [0, 1]; hard or soft.
    weight : array_like, optional
        Factors on the losses, of a shape that broadcasts to theirs. The mean is still over all of them.
    reduction : {"mean", "sum", "none", "batchmean"}

    Returns
    -------
    Tensor of shape (), or of the shape of `input` for "none"

    Raises
    ------
    ValueError
        If the shapes differ (no target is broadcast), are empty, a label or a probability lies outside [0, 1], a
        label or a weight is nan, or the weights do not broadcast.
    TypeError
        If input, target or weight are not numbers, or a weight requires a gradient.

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
    name = "binary_cross_entropy"
    input, labels = _pair(name, input, target, check_labels)
    checked(_check_probabilities, input)
    losses = -(labels * mg.log(input) + (1 - labels) * mg.log(1 - input))
    return _reduce(losses if weight is None else _weighted(name, losses, weight), reduction)


def binary_cross_entropy_with_logits(
    input: Data,
    target: Data,
    weight: Data | None = None,
    *,
    pos_weight: Data | None = None,
    reduction: str = "mean",
) -> mg.Tensor:
    """Binary cross-entropy of a = sigmoid(z) on z itself: max(z, 0) - y z + ln(1 + e^-|z|).

    Parameters
    ----------
    input : Tensor of any shape
        Logits z: natural log-odds.
    target : Tensor or array_like of the same shape
        Labels y in [0, 1]; hard or soft.
    weight : array_like, optional
        Factors on the losses, of a shape that broadcasts to theirs. The mean is still over all of them.
    pos_weight : array_like, optional
        The factor p on what label 1 says, -p y ln a - (1 - y) ln(1 - a), of a shape that broadcasts to that of
        `input`: one number, or one an output. (samples with 0) / (samples with 1) evens out a rare class.
    reduction : {"mean", "sum", "none", "batchmean"}

    Returns
    -------
    Tensor of shape (), or of the shape of `input` for "none"

    Raises
    ------
    ValueError
        If the shapes differ (no target is broadcast), are empty, a label is nan or outside [0, 1], a weight is nan
        or infinite, or the weights do not broadcast.
    TypeError
        If input, target or weights are not numbers, or a weight requires a gradient.

    Notes
    -----
    One fused node, finite for every finite z, with the gradient a - y: (A - Y)/m by "batchmean". The loss keeps
    3e-16 relative for |z| <= 708.

    With `pos_weight` it is (1 - y) softplus(z) - p y logsigmoid(z), of two smooth nodes: no term is negative, so that
    none cancels the other, and the gradient (1 - y) sigma(z) - p y sigma(-z) keeps its digits at both ends as well.

    Examples
    --------
    >>> binary_cross_entropy_with_logits(mg.Tensor([-1000.0]), [1.0]).item()
    1000.0
    """
    name = "binary_cross_entropy_with_logits"
    input, labels = _pair(name, input, target, check_labels)
    if pos_weight is None:
        losses = mg.binary_cross_entropy_with_logits(input, labels)
    else:
        p = _spread(name, "pos_weight", pos_weight, input)
        losses = (1 - labels) * mg.softplus(input) - p * labels * mg.logsigmoid(input)
    return _reduce(losses if weight is None else _weighted(name, losses, weight), reduction)


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
    The gradient of each square is 2 (x - y); books that write half squares have x - y: `half_mse_loss`.

    Examples
    --------
    >>> mse_loss(mg.Tensor([[1.0, 2.0]]), [[0.0, 4.0]], reduction="batchmean").item()
    5.0
    """
    input, wanted = _pair("mse_loss", input, target, check_finite)
    return _reduce(mg.square(input - wanted), reduction)


def half_mse_loss(input: Data, target: Data, *, reduction: str = "mean") -> mg.Tensor:
    """(x - y)^2 / 2, the half squares of the books, whose gradient is x - y.

    Parameters, errors and result are those of `mse_loss`.

    Notes
    -----
    By "batchmean" this is C = 1/(2n) sum ||a - y||^2, the mean square error of Nielsen, *Neural Networks and Deep
    Learning* (2015), chapter 1, equation 6, with dC/dA = (A - Y) / n.

    Examples
    --------
    >>> half_mse_loss(mg.Tensor([[1.0, 2.0], [0.0, 0.0]]), [[0.0, 4.0], [0.0, 0.0]], reduction="batchmean").item()
    1.25
    """
    input, wanted = _pair("half_mse_loss", input, target, check_finite)
    return _reduce(mg.square(input - wanted) / 2, reduction)


def l1_loss(input: Data, target: Data, *, reduction: str = "mean") -> mg.Tensor:
    """|x - y|; gradient 0 where they are equal.

    Parameters, errors and result are those of `mse_loss`.

    Examples
    --------
    >>> l1_loss(mg.Tensor([1.0, 2.0]), [0.0, 4.0]).item()
    1.5
    """
    input, wanted = _pair("l1_loss", input, target, check_finite)
    return _reduce(mg.abs(input - wanted), reduction)


def huber_loss(input: Data, target: Data, *, delta: float = 1.0, reduction: str = "mean") -> mg.Tensor:
    """d^2 / 2 while d = |x - y| is at most delta, and delta (d - delta / 2) beyond: half squares with straight ends.

    Parameters
    ----------
    input : Tensor of any shape
    target : Tensor or array_like of the same shape
        Any finite numbers.
    delta : float > 0
        Where the parabola turns into its tangents; no gradient is larger.
    reduction : {"mean", "sum", "none", "batchmean"}

    Returns
    -------
    Tensor of shape (), or of the shape of `input` for "none"

    Raises
    ------
    ValueError
        If the shapes differ (nothing is broadcast), are empty, the target holds nan or inf, or delta is not positive.
    TypeError
        If input, target or delta are not numbers.

    Notes
    -----
    Huber, "Robust estimation of a location parameter", 1964. Both pieces are c (d - c / 2) with c = min(d, delta).

    Examples
    --------
    >>> huber_loss(mg.Tensor([1.0, 5.0]), [0.0, 0.0], reduction="none").tolist()
    [0.5, 4.5]
    """
    check_delta(delta)
    input, wanted = _pair("huber_loss", input, target, check_finite)
    return _reduce(_huber(mg.abs(input - wanted), delta), reduction)


def smooth_l1_loss(input: Data, target: Data, *, beta: float = 1.0, reduction: str = "mean") -> mg.Tensor:
    """d^2 / (2 beta) while d = |x - y| is at most beta, and d - beta / 2 beyond: |d| with a rounded corner.

    Parameters
    ----------
    input : Tensor of any shape
    target : Tensor or array_like of the same shape
        Any finite numbers.
    beta : float >= 0
        The radius of the corner; 0 is the plain |x - y|. The loss is Huber's, divided by beta.
    reduction : {"mean", "sum", "none", "batchmean"}

    Returns
    -------
    Tensor of shape (), or of the shape of `input` for "none"

    Raises
    ------
    ValueError
        If the shapes differ (nothing is broadcast), are empty, the target holds nan or inf, or beta is negative.
    TypeError
        If input, target or beta are not numbers.

    Notes
    -----
    Girshick, "Fast R-CNN", ICCV 2015, equation 3.

    Examples
    --------
    >>> smooth_l1_loss(mg.Tensor([1.0, 5.0]), [0.0, 0.0], beta=2.0, reduction="none").tolist()
    [0.25, 4.0]
    """
    check_beta(beta)
    input, wanted = _pair("smooth_l1_loss", input, target, check_finite)
    d = mg.abs(input - wanted)
    return _reduce(_huber(d, beta) / beta if beta else d, reduction)


def cross_entropy(
    input: Data,
    target: Data,
    weight: Data | None = None,
    *,
    ignore_index: int = IGNORED,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
) -> mg.Tensor:
    """-ln a_y for a = softmax(z), or -sum_k y_k ln a_k for probabilities y; one loss a sample.

    Parameters
    ----------
    input : Tensor of shape (m, K), (K,) or (m, K, ...)
        Logits z; the classes are axis 1 (axis 0 of a single sample).
    target : Tensor or array_like
        Integers 0 ... K - 1 of the shape of `input` without the class axis; or probabilities, floats of the very shape
        of `input`: any finite y >= 0 (counts, say), since nothing asks that they sum to 1.
    weight : array_like of shape (K,), optional
        A factor w_k on what class k contributes. With class indices "mean" is then sum w_y c / sum w_y.
    ignore_index : int
        Samples with this in place of a class have loss and gradient 0 and do not count in the mean, which is nan
        if there are no others. For class indices alone.
    label_smoothing : float in [0, 1]
        Mix the targets with the uniform distribution: (1 - s) y + s / K (Szegedy et al., CVPR 2016, section 7).
    reduction : {"mean", "sum", "none", "batchmean"}
        Over samples: "mean" and "batchmean" agree for input of shape (m, K) where nothing is weighted or ignored.

    Returns
    -------
    Tensor of shape (), or of the shape of `input` without the class axis for "none"

    Raises
    ------
    ValueError
        If the shapes do not fit, are empty, a class does not exist, a probability is nan, infinite or below 0, there is
        not one finite weight a class, the smoothing is outside [0, 1], or a class to ignore is given for probabilities.
    TypeError
        If input, target or weight are not numbers, or class indices are no integers.

    Notes
    -----
    The gradient at z is a - e_y for indices and a sum(y) - y for probabilities: a - y where they sum to 1.

    Examples
    --------
    >>> cross_entropy(mg.Tensor([[0.0, 0.0], [1000.0, 0.0]]), [1, 1], reduction="none").tolist()
    [0.6931471805599453, 1000.0]
    >>> cross_entropy(mg.Tensor([[0.0, 0.0], [1000.0, 0.0]]), [1, -100]).item()
    0.6931471805599453
    """
    name = "cross_entropy"
    check_smoothing(label_smoothing)
    input, axis = _scores(name, input)
    labels = numeric(name, "target", target)
    if labels.shape != input.shape or labels.dtype.kind != "f":
        _check_indices(name, input, labels, target, axis, ignore_index, " or probabilities (floats)")
        log_a, given = mg.log_softmax(input, axis=axis), _source(target, labels)
        return _likelihood(name, log_a, given, axis, weight, ignore_index, label_smoothing, reduction)
    if integer(name, "ignore_index", ignore_index) >= 0:
        raise ValueError(f"{name}: ignore_index is not supported for floating point target, at {mg.sites.here()}")
    _, y = _pair(name, input, target, check_amounts)
    if label_smoothing:
        y = (1 - label_smoothing) * y + label_smoothing / input.shape[axis]
    if weight is not None:
        y = _along(_class_weights(name, weight, input, axis), input.ndim, axis) * y
    return _reduce(-mg.sum(y * mg.log_softmax(input, axis=axis), axis=axis), reduction)


def nll_loss(
    input: Data, target: Data, weight: Data | None = None, *, ignore_index: int = IGNORED, reduction: str = "mean"
) -> mg.Tensor:
    """-l_y for log-probabilities l, as `LogSoftmax` gives them; one loss a sample.

    Parameters
    ----------
    input : Tensor of shape (m, K), (K,) or (m, K, ...)
        Log-probabilities; the classes are axis 1 (axis 0 of a single sample).
    target : Tensor or array_like of int
        Classes 0 ... K - 1, of the shape of `input` without the class axis.
    weight, ignore_index, reduction
        As those of `cross_entropy`, which is this loss of log_softmax(z).

    Returns
    -------
    Tensor of shape (), or of the shape of `input` without the class axis for "none"

    Raises
    ------
    ValueError
        As those of `cross_entropy`, and if the input holds numbers above 0, logits or probabilities, which torch takes.
    TypeError
        If input, target or weight are not numbers, or class indices are no integers.

    Examples
    --------
    >>> nll_loss(mg.log_softmax(mg.Tensor([[0.0, 0.0]])), [1]).item()
    0.6931471805599453
    """
    name = "nll_loss"
    input, axis = _scores(name, input)
    labels = numeric(name, "target", target)
    _check_indices(name, input, labels, target, axis, ignore_index)
    checked(_check_logarithms, input, name=name)
    return _likelihood(name, input, _source(target, labels), axis, weight, ignore_index, 0.0, reduction)


def check_reduction(reduction: str) -> Callable[[mg.Tensor], mg.Tensor]:
    """What a reduction does, by its name."""
    try:
        return REDUCTIONS[reduction]
    except (KeyError, TypeError):
        expected = ", ".join(map(repr, REDUCTIONS))
        raise ValueError(
            f"{reduction!r} is not a valid value for reduction, expected one of {expected}, at {mg.sites.here()}"
        ) from None


def _reduce(losses: mg.Tensor, reduction: str, counts: Array | None = None) -> mg.Tensor:
    """The losses reduced; `counts` says how much each is in the mean, where they are not all one."""
    if counts is not None and reduction == "mean":
        mean: mg.Tensor = mg.sum(losses) / counts.sum()
        return mean
    return check_reduction(reduction)(losses)


def _likelihood(
    name: str,
    log_a: mg.Tensor,
    labels: Data,
    axis: int,
    weight: Data | None,
    ignore_index: int,
    smoothing: float,
    reduction: str,
) -> mg.Tensor:
    """-ln a_y by class index: smoothed, weighted by the class, and 0 for the samples that do not count."""
    # a record is made of the general form, since other labels may come
    every = record() is None and not prepared(_ignored, labels, ignore_index=ignore_index).any()
    places = prepared(_places, labels, axis=axis, ignore_index=ignore_index)
    losses = -mg.squeeze(mg.take_along_axis(log_a, places, axis=axis), axis=axis)
    w, counts = None, None
    if weight is not None:
        w = _class_weights(name, weight, log_a, axis)
        counts = prepared(_counts, labels, w, ignore_index=ignore_index, dtype=log_a.dtype)
        losses = counts * losses
    if smoothing:
        spread = log_a if w is None else _along(w, log_a.ndim, axis) * log_a
        losses = (1 - smoothing) * losses - (smoothing / log_a.shape[axis]) * mg.sum(spread, axis=axis)
    if not every:
        losses = mg.where(prepared(_ignored, labels, ignore_index=ignore_index), 0.0, losses)
        counts = prepared(_counts, labels, w, ignore_index=ignore_index, dtype=log_a.dtype)
    return _reduce(losses, reduction, counts)


def _ignored(labels: Array, ignore_index: int) -> Array:
    """Which samples do not count."""
    ignored: Array = labels == ignore_index
    return ignored


def _places(labels: Array, axis: int, ignore_index: int) -> Array:
    """The class of each sample, along the axis of the classes; any one for samples that do not count."""
    return np.expand_dims(np.where(labels == ignore_index, 0, labels), axis)


def _counts(labels: Array, weight: Array | None, ignore_index: int, dtype: Any) -> Array:
    """How much each sample is in the mean: the weight of its class, or 1; 0 where it does not count."""
    ignored = labels == ignore_index
    counts: Array = np.where(ignored, 0, 1 if weight is None else weight[np.where(ignored, 0, labels)]).astype(dtype)
    return counts


def counted(labels: Array, weight: Array | None, ignore_index: int) -> float:
    """What the mean over class indices is divided by: the sum of w_y over the samples that count."""
    kept = labels[labels != ignore_index]
    if weight is None or ((kept < 0) | (kept >= len(weight))).any():  # what is no class the loss itself refuses
        return float(kept.size)
    return float(weight[kept].sum())


def _tensor(name: str, input: Data) -> mg.Tensor:
    """The input as a Tensor of floats; integers and booleans, which have no gradient, become float64."""
    if isinstance(input, mg.Tensor) and input.dtype.kind == "f":
        return input
    array = numeric(name, "input", input)
    return mg.Tensor(array if array.dtype.kind == "f" else array.astype(float))


def _pair(name: str, input: Any, target: Any, check: once_per_array) -> tuple[mg.Tensor, Any]:
    """Input and target, checked: a Tensor of floats with its graph, or an array cast to the dtype of the input."""
    if input.__class__ is target.__class__ is mg.Tensor and not special.count:
        x, y = input._data, target._data
        if check.passed(y) and x.shape == y.shape and y.size and x.dtype.kind == y.dtype.kind == "f":
            return input, target  # as in most steps
    input = _tensor(name, input)
    labels = numeric(name, "target", target)
    check_shape(name, input, labels)
    given = _source(target, labels)
    checked(_check_target, given, name=name, check=check)
    if isinstance(target, mg.Tensor) and labels.dtype.kind == "f":
        return input, target
    return input, prepared(_as_type, given, dtype=input.dtype)


def _source(target: Data, labels: Array) -> Data:
    """The target as what a record knows again: the Tensor itself, where it is one."""
    return target if isinstance(target, mg.Tensor) else labels


def _check_target(target: Array, name: str, check: Callable[..., None], rest: tuple[int, ...] = ()) -> None:
    check(name, target, *rest)


def _as_type(array: Array, dtype: Any) -> Array:
    return array.astype(dtype, copy=False)


def _check_logarithms(input: Array, name: str) -> None:
    # Of K probabilities given in their place one is at least 1/K; a rounding error is less.
    if input.max() > 1e-4:
        raise ValueError(
            f"{name}: input holds {input.max()}, expected log-probabilities, none above 0: put LogSoftmax before "
            f"it, or use CrossEntropyLoss on logits, at {mg.sites.here()}"
        )


def _check_probabilities(input: Array) -> None:
    # nan passes: it is the network's doing, and nn.fit and detect_anomaly say where it came from.
    low, high = input.min(), input.max()
    if low < 0 or high > 1:
        raise ValueError(
            f"binary_cross_entropy: input holds {low if low < 0 else high}, expected probabilities in [0, 1]; "
            f"for logits use BCEWithLogitsLoss, at {mg.sites.here()}"
        )


def _scores(name: str, input: Data) -> tuple[mg.Tensor, int]:
    """The input of a loss of classes, and their axis."""
    input = _tensor(name, input)
    if not input.ndim:
        raise ValueError(f"{name}: input has shape (), expected (m, K) or (K,), at {mg.sites.here()}")
    axis = min(1, input.ndim - 1)
    if not input.shape[axis]:
        raise ValueError(f"{name}: input of shape {input.shape} holds no class, at {mg.sites.here()}")
    return input, axis


def _check_indices(
    name: str, input: mg.Tensor, labels: Array, target: Data, axis: int, ignore_index: int, otherwise: str = ""
) -> None:
    expected = input.shape[:axis] + input.shape[axis + 1 :]
    if labels.shape != expected:
        otherwise += f" of shape {input.shape}" if otherwise else ""
        cast = "" if labels.dtype.kind in "iu" else ".astype(int)"
        remedy = f" (target.reshape{expected}{cast})" if labels.size == math.prod(expected) else ""
        if remedy and cast:
            remedy += "; of a table nn.data.read_csv(..., categorical=name) gives such indices"
        raise ValueError(
            f"{name}: input has shape {input.shape}, target has shape {labels.shape}, expected class indices of shape "
            f"{expected}{otherwise}{remedy}, at {mg.sites.here()}"
        )
    if labels.dtype.kind not in "iu":
        raise TypeError(
            f"{name}: class indices must be integers, got {labels.dtype} (target.astype(int)), at {mg.sites.here()}"
        )
    if not labels.size:
        raise ValueError(f"{name}: input of shape {input.shape} holds no sample, at {mg.sites.here()}")
    rest = input.shape[axis], integer(name, "ignore_index", ignore_index)
    checked(_check_target, _source(target, labels), name=name, check=check_classes, rest=rest)


def check_smoothing(label_smoothing: float) -> None:
    """A share of the uniform distribution."""
    if not 0 <= real("cross_entropy", "label_smoothing", label_smoothing) <= 1:
        raise ValueError(f"label_smoothing must be between 0.0 and 1.0. Got: {label_smoothing}, at {mg.sites.here()}")


# Weights


def weights_of(name: str, role: str, given: Data, dtype: Any) -> Array:
    """Weights as an array of finite numbers, in this precision."""
    if isinstance(given, mg.Tensor) and given.requires_grad:
        raise TypeError(
            f"{name}: {role} is a constant of the loss, and this one requires a gradient: give {role}.detach(), "
            f"at {mg.sites.here()}"
        )
    weights = numeric(name, role, given)
    check_weights(name, weights, role)
    cast: Array = prepared(_as_type, _source(given, weights), dtype=dtype)
    return cast


def _spread(name: str, role: str, given: Data, losses: mg.Tensor) -> Array:
    """Weights that broadcast to the shape of the losses."""
    weights = weights_of(name, role, given, losses.dtype)
    try:
        fits = np.broadcast_shapes(weights.shape, losses.shape) == losses.shape
    except ValueError:
        fits = False
    if not fits:
        raise ValueError(
            f"{name}: {role} has shape {weights.shape}, expected one that broadcasts to {losses.shape}, "
            f"at {mg.sites.here()}"
        )
    return weights


def _weighted(name: str, losses: mg.Tensor, weight: Data) -> mg.Tensor:
    return losses * _spread(name, "weight", weight, losses)


def _class_weights(name: str, given: Data, input: mg.Tensor, axis: int) -> Array:
    """One weight a class."""
    weights = weights_of(name, "weight", given, input.dtype)
    if weights.shape != (input.shape[axis],):
        raise ValueError(
            f"{name}: weight tensor should be defined either for all {input.shape[axis]} classes or no classes but got "
            f"weight tensor of shape: {list(weights.shape)}, at {mg.sites.here()}"
        )
    return weights


def _along(weights: Array, ndim: int, axis: int) -> Array:
    """A vector along one axis of several."""
    return weights.reshape([-1 if a == axis else 1 for a in range(ndim)])


# Distances


def _huber(d: mg.Tensor, delta: float) -> mg.Tensor:
    c = mg.clip(d, max=delta)
    loss: mg.Tensor = c * (d - c / 2)
    return loss


def check_delta(delta: float) -> None:
    """A radius above 0."""
    if real("huber_loss", "delta", delta) <= 0:
        raise ValueError(
            f"huber_loss does not support non-positive values for delta, got {delta}, at {mg.sites.here()}"
        )


def check_beta(beta: float) -> None:
    """A radius, or 0."""
    if real("smooth_l1_loss", "beta", beta) < 0:
        raise ValueError(f"smooth_l1_loss does not support negative values for beta, got {beta}, at {mg.sites.here()}")
