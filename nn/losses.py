"""Losses as modules: each keeps its settings and calls the function of its name in `nn.loss_functions`."""

from __future__ import annotations

import numpy as np

import microgrid as mg
from nn.loss_functions import (
    IGNORED,
    REDUCTIONS,
    binary_cross_entropy,
    binary_cross_entropy_with_logits,
    check_beta,
    check_delta,
    check_reduction,
    check_smoothing,
    counted,
    cross_entropy,
    half_mse_loss,
    huber_loss,
    l1_loss,
    mse_loss,
    nll_loss,
    smooth_l1_loss,
    weights_of,
)
from nn.module import Module
from nn.targets import Array, Data, check_finite, check_labels, integer

__microgrid_machinery__ = True

__all__ = [
    "IGNORED", "REDUCTIONS", "BCELoss", "BCEWithLogitsLoss", "ClassLoss", "CrossEntropyLoss", "HalfMSELoss",
    "HuberLoss", "L1Loss", "Loss", "MSELoss", "NLLLoss", "SmoothL1Loss", "WeightedLoss", "as_written",
    "binary_cross_entropy", "binary_cross_entropy_with_logits", "cross_entropy", "half_mse_loss", "huber_loss",
    "l1_loss", "mse_loss", "nll_loss", "smooth_l1_loss",
]  # fmt: skip


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
        check_reduction(reduction)
        self.reduction = reduction

    def check_target(self, target: Array) -> None:
        """Raise ValueError where the loss would refuse a value of the target."""
        check_finite(type(self).__name__, target)

    def count(self, target: Array) -> float:
        """How much a batch counts in the mean over several batches: what its own mean is divided by, as a rule m.

        The loss of the data is sum n_i c_i / sum n_i for batches of losses c_i and counts n_i.
        """
        return len(target)

    def extra_repr(self) -> str:
        """The settings, but for weights that are not given."""
        shown = {name: value for name, value in vars(self).items() if name in SETTINGS and value is not None}
        arrays = {name: value.tolist() for name, value in shown.items() if isinstance(value, np.ndarray)}
        return ", ".join(f"{name}={value!r}" for name, value in {**shown, **arrays}.items())


# What a loss is made with, as far as it has it
SETTINGS = ("weight", "pos_weight", "ignore_index", "label_smoothing", "delta", "beta", "reduction")


class WeightedLoss(Loss):
    """Base of the losses that take weights, first and by position, as torch's do.

    Raises
    ------
    ValueError
        For an unknown reduction, or weights that are not finite.
    TypeError
        If weights are not numbers or require a gradient; if predictions and targets, or a reduction without its
        keyword, are given to the class.
    """

    def __init__(self, weight: Data | None = None, *misplaced: object, reduction: str = "mean") -> None:
        wrong = (weight, *misplaced) if misplaced or isinstance(weight, str) else ()
        self.weight = None if wrong else _kept(self, "weight", weight)
        super().__init__(*wrong, reduction=reduction)


class ClassLoss(WeightedLoss):
    """Base of the losses of classes: one weight a class, and an index that marks what does not count.

    Raises
    ------
    ValueError
        If the weights are not one a class; else as `WeightedLoss`.
    TypeError
        If the index is no integer; else as `WeightedLoss`.
    """

    def __init__(
        self, weight: Data | None = None, *misplaced: object, ignore_index: int = IGNORED, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, *misplaced, reduction=reduction)
        _check_one_a_class(self)
        self.ignore_index = integer(as_written(type(self)), "ignore_index", ignore_index)

    def count(self, target: Array) -> float:
        """Of class indices the sum of w_y over the samples that count, where the reduction is the mean."""
        by_index = target.dtype.kind in "iu" and self.reduction == "mean"
        return counted(target, self.weight, self.ignore_index) if by_index else super().count(target)


class BCELoss(WeightedLoss):
    """Binary cross-entropy of probabilities, see `binary_cross_entropy`: the formula of the notes, with its cliff.

    Where the sigmoid rounds to 0 or 1 it gives inf or nan; torch clamps there and stops learning.
    For training prefer `BCEWithLogitsLoss`.

    Parameters
    ----------
    weight : array_like, optional
        Factors on the losses, broadcast to their shape: one an output, for instance.
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> BCELoss(reduction="sum")(mg.Tensor([[0.5], [0.5]]), [[1], [0]]).item()
    1.3862943611198906
    """

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Probabilities and labels of one shape to the loss."""
        return binary_cross_entropy(input, target, self.weight, reduction=self.reduction)

    def check_target(self, target: Array) -> None:
        """Labels in [0, 1]."""
        check_labels(type(self).__name__, target)


class BCEWithLogitsLoss(WeightedLoss):
    """Binary cross-entropy on logits, see `binary_cross_entropy_with_logits`: one node, finite for every finite logit.

    Parameters
    ----------
    weight : array_like, optional
        Factors on the losses, broadcast to their shape.
    pos_weight : array_like, optional
        A factor on what label 1 says; one number, or one an output.
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> BCEWithLogitsLoss()(mg.Tensor([[0.0]]), [[1]]).item()
    0.6931471805599453
    >>> BCEWithLogitsLoss(pos_weight=3.0)(mg.Tensor([[0.0]]), [[1]]).item()
    2.0794415416798357
    """

    def __init__(
        self,
        weight: Data | None = None,
        *misplaced: object,
        pos_weight: Data | None = None,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, *misplaced, reduction=reduction)
        self.pos_weight = _kept(self, "pos_weight", pos_weight)

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Logits and labels of one shape to the loss."""
        return binary_cross_entropy_with_logits(
            input, target, self.weight, pos_weight=self.pos_weight, reduction=self.reduction
        )

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


class HalfMSELoss(Loss):
    """Half the squared error, see `half_mse_loss`: 1/(2n) sum ||a - y||^2 by "batchmean", with the gradient a - y.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> HalfMSELoss(reduction="batchmean")(mg.Tensor([[1.0, 2.0]]), [[0.0, 4.0]]).item()
    2.5
    """

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Predictions and targets of one shape to the loss."""
        return half_mse_loss(input, target, reduction=self.reduction)


class L1Loss(Loss):
    """Absolute error, see `l1_loss`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> L1Loss()(mg.Tensor([1.0, 2.0]), [0.0, 4.0]).item()
    1.5
    """

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Predictions and targets of one shape to the loss."""
        return l1_loss(input, target, reduction=self.reduction)


class HuberLoss(Loss):
    """Half squares near the target, straight beyond delta, see `huber_loss`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}
    delta : float > 0

    Examples
    --------
    >>> HuberLoss(delta=2.0)(mg.Tensor([5.0]), [0.0]).item()
    8.0
    """

    def __init__(self, reduction: str = "mean", delta: float = 1.0, *misplaced: object) -> None:
        wrong = (reduction, delta, *misplaced) if misplaced or not isinstance(reduction, str) else ()
        super().__init__(*wrong, reduction=reduction)
        check_delta(delta)
        self.delta = delta

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Predictions and targets of one shape to the loss."""
        return huber_loss(input, target, delta=self.delta, reduction=self.reduction)


class SmoothL1Loss(Loss):
    """Absolute error with a rounded corner, see `smooth_l1_loss`.

    Parameters
    ----------
    reduction : {"mean", "sum", "none", "batchmean"}
    beta : float >= 0

    Examples
    --------
    >>> SmoothL1Loss(beta=2.0)(mg.Tensor([5.0]), [0.0]).item()
    4.0
    """

    def __init__(self, *misplaced: object, reduction: str = "mean", beta: float = 1.0) -> None:
        super().__init__(*misplaced, reduction=reduction)
        check_beta(beta)
        self.beta = beta

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Predictions and targets of one shape to the loss."""
        return smooth_l1_loss(input, target, beta=self.beta, reduction=self.reduction)


class CrossEntropyLoss(ClassLoss):
    """Softmax and log-likelihood on logits, see `cross_entropy`.

    Parameters
    ----------
    weight : array_like of shape (K,), optional
        One factor a class.
    ignore_index : int
        In place of a class: this sample does not count.
    label_smoothing : float in [0, 1]
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> CrossEntropyLoss()(mg.Tensor([[0.0, 0.0]]), [1]).item()
    0.6931471805599453
    """

    def __init__(
        self,
        weight: Data | None = None,
        *misplaced: object,
        ignore_index: int = IGNORED,
        label_smoothing: float = 0.0,
        reduction: str = "mean",
    ) -> None:
        super().__init__(weight, *misplaced, ignore_index=ignore_index, reduction=reduction)
        check_smoothing(label_smoothing)
        self.label_smoothing = label_smoothing

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Logits, and class indices or probabilities, to the loss."""
        return cross_entropy(
            input,
            target,
            self.weight,
            ignore_index=self.ignore_index,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
        )


class NLLLoss(ClassLoss):
    """Log-likelihood on log-probabilities, see `nll_loss`; after `LogSoftmax` it is `CrossEntropyLoss`.

    Parameters
    ----------
    weight : array_like of shape (K,), optional
        One factor a class.
    ignore_index : int
        In place of a class: this sample does not count.
    reduction : {"mean", "sum", "none", "batchmean"}

    Examples
    --------
    >>> NLLLoss()(mg.log(mg.Tensor([[0.25, 0.75]])), [0]).item()
    1.3862943611198906
    """

    def forward(self, input: Data, target: Data) -> mg.Tensor:
        """Log-probabilities and class indices to the loss."""
        return nll_loss(input, target, self.weight, ignore_index=self.ignore_index, reduction=self.reduction)


def as_written(kind: type) -> str:
    """What a user writes for a class: `nn.MSELoss` for ours, the bare name for one of theirs."""
    return f"nn.{kind.__name__}" if kind.__module__.startswith("nn.") else kind.__name__


def _misplaced(kind: type, given: tuple[object, ...]) -> str:
    name = as_written(kind)
    if isinstance(given[0], str):
        return f'{name}: got {given[0]!r}, expected {name}(reduction="{given[0]}"), at {mg.sites.here()}'
    kinds = ", ".join(type(item).__name__ for item in given)
    return f"{name} is made first and then called: got {kinds}, expected {name}()(input, target), at {mg.sites.here()}"


def _kept(loss: Loss, role: str, given: Data | None) -> Array | None:
    """The weights of a loss that is made: its own copy, locked, so that it is looked at once."""
    if given is None:
        return None
    weights = weights_of(as_written(type(loss)), role, given, np.float64).copy()
    weights.setflags(write=False)
    return weights


def _check_one_a_class(loss: WeightedLoss) -> None:
    if loss.weight is not None and loss.weight.ndim != 1:
        name = as_written(type(loss))
        raise ValueError(
            f"{name}: weight has shape {loss.weight.shape}, expected (K,), one a class; predictions and targets belong "
            f"into the call, {name}()(input, target), at {mg.sites.here()}"
        )
