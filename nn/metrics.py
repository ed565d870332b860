"""Measures of a prediction: (input, target), as the losses take them; plain arrays in, a float out."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from nn.targets import Data, numeric

__microgrid_machinery__ = True


def accuracy(input: Data, target: Data, *, threshold: float | None = None) -> float:
    """Share of the right answers.

    Parameters
    ----------
    input : Tensor or array_like
        Scores. A score above the threshold answers 1.
    target : Tensor or array_like
        Either of the shape of `input`, holding 0 and 1; or class indices of shape (m,) for scores of shape (m, K),
        whose largest is the answer.
    threshold : float, optional
        0 for logits. If not given it is 0.5, which is for probabilities: scores outside [0, 1] are then refused. Logits
        that happen to lie within [0, 1] cannot be told from probabilities: for logits always say `threshold=0.0`.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        If the shapes do not fit, nothing is given, or nan is; if a score is no probability, and there is no threshold.
    TypeError
        If they are not numbers.

    Examples
    --------
    >>> accuracy([[0.9], [0.2], [0.6]], [[1], [0], [0]])
    0.6666666666666666
    >>> accuracy([[2.2], [-1.4], [0.4]], [[1], [0], [0]], threshold=0.0)
    0.6666666666666666
    >>> accuracy([[2.0, 1.0], [0.0, 3.0]], [0, 1])
    1.0
    """
    scores, labels = numeric("accuracy", "input", input), numeric("accuracy", "target", target)
    if not labels.size or np.isnan(scores).any():
        fault = "holds nan" if labels.size else "is empty"
        raise ValueError(f"accuracy: the input {fault}, at {mg.sites.here()}")
    if scores.shape == labels.shape:
        return float(((scores > _threshold(scores, threshold)) == (labels != 0)).mean())
    if scores.ndim == 2 and labels.shape == scores.shape[:1] and scores.shape[1] > 1:
        return float((scores.argmax(axis=1) == labels).mean())
    raise ValueError(
        f"accuracy: input has shape {scores.shape}, target has shape {labels.shape}, expected equal shapes, "
        f"or (m, K) and (m,), at {mg.sites.here()}"
    )


def _threshold(scores: NDArray[Any], given: float | None) -> float:
    if given is not None:
        return given
    outside = scores[(scores < 0) | (scores > 1)]
    if outside.size:
        raise ValueError(
            f"accuracy: input holds {outside[0]}, which is no probability, and the threshold of probabilities is 0.5; "
            f"for logits say threshold=0.0, at {mg.sites.here()}"
        )
    return 0.5


def roc_auc(input: Data, target: Data) -> float:
    """Area under the ROC curve: the chance that a positive scores above a negative, a tie counting half.

    Parameters
    ----------
    input : Tensor or array_like of any shape
        Scores; probabilities and logits give the same.
    target : Tensor or array_like of the same shape
        0 and 1, both present.

    Returns
    -------
    float in [0, 1]

    Raises
    ------
    ValueError
        If the shapes differ, a label is neither 0 nor 1, one of them is missing, or a score is nan.
    TypeError
        If they are not numbers.

    Notes
    -----
    (R_1 - n_1 (n_1 + 1) / 2) / (n_1 n_0), where R_1 is the sum of the ranks of the n_1 positives, ties averaged: Mann
    and Whitney 1947.

    Examples
    --------
    >>> roc_auc([0.1, 0.4, 0.35, 0.8], [0, 0, 1, 1])
    0.75
    """
    scores, labels = numeric("roc_auc", "input", input), numeric("roc_auc", "target", target)
    if scores.shape != labels.shape:
        raise ValueError(
            f"roc_auc: input has shape {scores.shape}, target has shape {labels.shape}, expected equal shapes, "
            f"at {mg.sites.here()}"
        )
    if np.isnan(scores).any():
        raise ValueError(f"roc_auc: the input holds nan, at {mg.sites.here()}")
    kinds = np.unique(labels)
    if kinds.tolist() != [0, 1]:
        raise ValueError(f"roc_auc: expected the labels 0 and 1, both of them, got {kinds[:5]}, at {mg.sites.here()}")
    positive = labels.ravel() == 1
    n_1 = int(positive.sum())
    n_0 = labels.size - n_1
    R_1 = float(_ranks(scores.ravel())[positive].sum())
    return (R_1 - n_1 * (n_1 + 1) / 2) / (n_1 * n_0)


def _ranks(scores: NDArray[Any]) -> NDArray[np.float64]:
    """1 for the smallest; equal scores share the mean of their ranks."""
    _, place, count = np.unique(scores, return_inverse=True, return_counts=True)
    mean_rank = np.cumsum(count) - (count - 1) / 2
    return np.asarray(mean_rank[place])
