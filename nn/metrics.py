"""Measures of a prediction: (input, target), as the losses take them; plain arrays in, numbers out."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from nn.targets import Array, Data, check_count, check_labels, first, numeric, real

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
        If the shapes do not fit, nothing is given, or nan is; if a label is neither 0 nor 1, or no class of the scores;
        if a score is no probability, and there is no threshold; if the threshold is not finite.
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
        _check_yes_or_no(labels)
        return float(((scores > _threshold(scores, threshold)) == labels).mean())
    if scores.ndim == 2 and labels.shape == scores.shape[:1] and scores.shape[1] > 1:
        _check_classes("accuracy", "target", labels, scores.shape[1] - 1)
        return float((scores.argmax(axis=1) == labels).mean())
    raise ValueError(
        f"accuracy: input has shape {scores.shape}, target has shape {labels.shape}, expected equal shapes, "
        f"or (m, K) and (m,), at {mg.sites.here()}"
    )


def _check_yes_or_no(labels: Array) -> None:
    wrong = ~((labels == 0) | (labels == 1))
    if wrong.any():
        raise ValueError(
            f"accuracy: target holds {labels[first(wrong)]} at index {first(wrong)}, expected 0 and 1 (of labels -1 "
            f"and 1: target > 0; of soft ones: target > 0.5; of classes: scores of shape (m, K)), at {mg.sites.here()}"
        )


def _threshold(scores: NDArray[Any], given: float | None) -> float:
    if given is not None:
        return real("accuracy", "threshold", given)
    outside = scores[(scores < 0) | (scores > 1)]
    if outside.size:
        raise ValueError(
            f"accuracy: input holds {outside[0]}, which is no probability, and the threshold of probabilities is 0.5; "
            f"for logits say threshold=0.0, at {mg.sites.here()}"
        )
    return 0.5


def confusion_matrix(input: Data, target: Data, num_classes: int | None = None) -> NDArray[np.int64]:
    """How often each class was answered for each: rows are the targets, columns the answers.

    Parameters
    ----------
    input : Tensor or array_like
        The answered classes, of the shape of `target`; or scores of shape (m, K), K > 1, whose largest is the answer.
    target : Tensor or array_like
        The right classes, 0 ... K - 1: of shape (m,) for scores.
    num_classes : int >= 1, optional
        K; if not given, the columns of the scores, or the largest class that occurs, plus one.

    Returns
    -------
    ndarray of shape (K, K)
        As scikit-learn's.

    Raises
    ------
    ValueError
        If the shapes do not fit, nothing is given, or something is no class.
    TypeError
        If they are not numbers.

    Examples
    --------
    >>> confusion_matrix([0, 1, 1, 2], [0, 0, 1, 2]).tolist()
    [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    >>> P = np.array([[0.9], [0.4], [0.7]])
    >>> confusion_matrix(P > 0.5, [[1], [1], [0]]).tolist()
    [[0, 1], [1, 1]]
    """
    answers, labels = numeric("confusion_matrix", "input", input), numeric("confusion_matrix", "target", target)
    if answers.ndim == 2 and answers.shape[1] > 1 and labels.shape == answers.shape[:1]:
        if np.isnan(answers).any():
            raise ValueError(f"confusion_matrix: the input holds nan, at {mg.sites.here()}")
        num_classes = answers.shape[1] if num_classes is None else num_classes
        answers = answers.argmax(axis=1)
    if answers.shape != labels.shape or not labels.size:
        raise ValueError(
            f"confusion_matrix: input has shape {answers.shape}, target has shape {labels.shape}, expected equal "
            f"shapes that are not empty, or scores (m, K) and (m,), at {mg.sites.here()}"
        )
    if num_classes is not None:
        check_count("confusion_matrix", "num_classes", num_classes)
    top = math.inf if num_classes is None else num_classes - 1
    _check_classes("confusion_matrix", "input", answers, top)
    _check_classes("confusion_matrix", "target", labels, top)
    rows, columns = labels.ravel().astype(np.int64), answers.ravel().astype(np.int64)
    K = int(max(rows.max(), columns.max())) + 1 if num_classes is None else num_classes
    return np.bincount(rows * K + columns, minlength=K * K).reshape(K, K)


def precision(matrix: Data) -> NDArray[np.float64]:
    """Of the answers of each class, the share that is right: nan for a class that was never answered.

    Parameters
    ----------
    matrix : array_like of shape (K, K)
        A confusion matrix.

    Returns
    -------
    ndarray of shape (K,)
        One number a class: of two classes, the second is what is called the precision; `np.nanmean` of them is the
        "macro" mean.

    Examples
    --------
    >>> precision([[3, 1], [2, 4]]).tolist()
    [0.6, 0.8]
    """
    counts = _confusion("precision", matrix)
    return _share(np.diag(counts), counts.sum(axis=0))


def recall(matrix: Data) -> NDArray[np.float64]:
    """Of the samples of each class, the share that was found: nan for a class without samples; as for `precision`.

    Examples
    --------
    >>> recall([[3, 1], [2, 3]]).tolist()
    [0.75, 0.6]
    """
    counts = _confusion("recall", matrix)
    return _share(np.diag(counts), counts.sum(axis=1))


def f1(matrix: Data) -> NDArray[np.float64]:
    """The harmonic mean of precision and recall of each class, 2 n_kk / (n_k. + n_.k); as for `precision`.

    Examples
    --------
    >>> f1([[3, 1], [1, 4]]).tolist()
    [0.75, 0.8]
    """
    counts = _confusion("f1", matrix)
    return _share(2 * np.diag(counts), counts.sum(axis=0) + counts.sum(axis=1))


def log_loss(input: Data, target: Data) -> float:
    """Mean of -ln of the probability that was given to what is right: the cross-entropy of a finished model.

    Parameters
    ----------
    input : Tensor or array_like
        Probabilities.
    target : Tensor or array_like
        Either of the shape of `input`, labels y in [0, 1]: each entry is a yes-or-no question, and the mean is over
        all entries; or class indices of shape (m,) for probabilities of shape (m, K), whose rows add up to 1.

    Returns
    -------
    float in [0, inf]
        Exact: inf where what is right was given the probability 0. scikit-learn moves probabilities away from 0 and 1
        by the rounding unit, so that its loss is at most about 36 there.

    Raises
    ------
    ValueError
        If the shapes do not fit, nothing is given, nan is, a number is no probability, a row does not add up to 1, or
        a label is none.
    TypeError
        If they are not numbers.

    Notes
    -----
    -[y ln p + (1 - y) ln(1 - p)] with 0 ln 0 = 0, or -ln p_y. For logits, `nn.binary_cross_entropy_with_logits` and
    `nn.cross_entropy` keep more digits.

    Examples
    --------
    >>> log_loss([0.5, 0.75], [1, 1]) == (math.log(2) + math.log(4 / 3)) / 2
    True
    >>> log_loss([[0.5, 0.25, 0.25]], [0]) == math.log(2)
    True
    """
    P, labels = numeric("log_loss", "input", input), numeric("log_loss", "target", target)
    if not labels.size or np.isnan(P).any():
        raise ValueError(f"log_loss: the input {'holds nan' if labels.size else 'is empty'}, at {mg.sites.here()}")
    wrong = (P < 0) | (P > 1)
    if wrong.any():
        raise ValueError(
            f"log_loss: input holds {P[first(wrong)]} at index {first(wrong)}, expected probabilities; for logits use "
            f"nn.binary_cross_entropy_with_logits or nn.cross_entropy, at {mg.sites.here()}"
        )
    rounding = np.finfo(P.dtype if P.dtype.kind == "f" else float).eps ** 0.5
    P = P.astype(float)
    if P.shape == labels.shape:
        check_labels("log_loss", labels)
        Y = labels.astype(float)
        with np.errstate(divide="ignore", invalid="ignore"):
            losses = np.where(Y > 0, -Y * np.log(P), 0.0) + np.where(Y < 1, -(1 - Y) * np.log1p(-P), 0.0)
        return float(losses.mean())
    if P.ndim != 2 or labels.shape != P.shape[:1] or labels.dtype.kind not in "iu":
        raise ValueError(
            f"log_loss: input has shape {P.shape}, target has shape {labels.shape} and dtype {labels.dtype}, expected "
            f"equal shapes, or (m, K) and integers (m,), at {mg.sites.here()}"
        )
    _check_classes("log_loss", "target", labels, P.shape[1] - 1)
    sums = P.sum(axis=1)
    if (abs(sums - 1) > rounding).any():
        worst = int(abs(sums - 1).argmax())
        raise ValueError(
            f"log_loss: row {worst} of the input adds up to {sums[worst]}, expected 1, at {mg.sites.here()}"
        )
    with np.errstate(divide="ignore"):
        return float(-np.log(P[np.arange(len(P)), labels]).mean()) + 0.0  # never -0.0


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


def _check_classes(name: str, role: str, array: Array, top: float) -> None:
    wrong = ~((array >= 0) & (array <= top) & (array == np.floor(array)) & np.isfinite(array))
    if wrong.any():
        expected = "0, 1, ..." if top == math.inf else f"0 to {top}"
        hint = " (of probabilities make answers first: P > 0.5)" if role == "input" else ""
        raise ValueError(
            f"{name}: {role} holds {array[first(wrong)]} at index {first(wrong)}, expected classes {expected}"
            f"{hint}, at {mg.sites.here()}"
        )


def _confusion(name: str, matrix: Data) -> Array:
    counts = numeric(name, "matrix", matrix)
    if counts.ndim != 2 or counts.shape[0] != counts.shape[1] or (counts < 0).any():
        raise ValueError(
            f"{name}: expected a confusion matrix, counts of shape (K, K), got shape {counts.shape}; "
            f"nn.metrics.confusion_matrix(input, target) makes one, at {mg.sites.here()}"
        )
    return counts


def _share(part: Array, whole: Array) -> NDArray[np.float64]:
    share = np.full(len(whole), math.nan)
    np.divide(part, whole, out=share, where=whole > 0)
    return share
