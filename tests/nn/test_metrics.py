"""Accuracy counts, and the ROC AUC is the chance that a positive scores above a negative."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import microgrid as mg
from nn import metrics

PAIRS = st.lists(st.tuples(st.integers(-3, 3), st.integers(0, 1)), min_size=2, max_size=30)


@given(PAIRS)
def test_roc_auc_is_the_share_of_ordered_pairs(pairs: list[tuple[int, int]]) -> None:
    """Counted over all pairs, a tie as half; few distinct scores, so that there are ties."""
    positive = [score for score, label in pairs if label]
    negative = [score for score, label in pairs if not label]
    scores, labels = np.array(pairs).T
    if not positive or not negative:
        with pytest.raises(ValueError, match="expected the labels 0 and 1, both of them"):
            metrics.roc_auc(scores, labels)
        return
    won = sum((p > n) + 0.5 * (p == n) for p in positive for n in negative)
    auc = metrics.roc_auc(scores, labels)
    assert auc == pytest.approx(won / len(positive) / len(negative), abs=1e-12)
    assert metrics.roc_auc(-scores, labels) == pytest.approx(1 - auc, abs=1e-12)
    assert metrics.roc_auc(np.exp(scores / 2), labels) == pytest.approx(auc, abs=1e-12)


@pytest.mark.oracles
def test_roc_auc_is_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(0, 20, 300) / 7, rng.integers(0, 2, 300)
    assert metrics.roc_auc(scores, labels) == pytest.approx(sklearn.roc_auc_score(labels, scores), rel=1e-12)


def test_accuracy_of_probabilities_logits_and_classes() -> None:
    assert metrics.accuracy([[0.9], [0.4], [0.5]], [[1], [1], [0]]) == pytest.approx(2 / 3)
    assert metrics.accuracy([[0.9], [-0.4], [0.1]], [[1], [0], [0]], threshold=0.0) == pytest.approx(2 / 3)
    assert metrics.accuracy(np.array([[0.9, 0.1], [0.2, 0.7]]), [[1, 0], [1, 1]]) == 0.75
    assert metrics.accuracy([[2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]], [0, 1, 2]) == pytest.approx(2 / 3)
    assert metrics.accuracy([[2.0, 1.0], [0.0, 1.0], [1.0, 0.0]], [0, 1, 1]) == pytest.approx(2 / 3)


@pytest.mark.parametrize("logits", [[2.0, 0.3], [-0.1, 0.3], [math.inf, 0.0]])
def test_logits_are_not_measured_at_one_half_without_a_word(logits: list[float]) -> None:
    """0.3 is a yes of logits and a no of probabilities; a threshold that is given is taken as it is."""
    with pytest.raises(ValueError, match=r"no probability.*for logits say threshold=0.0, at test_metrics.py"):
        metrics.accuracy(logits, [1, 1])
    assert metrics.accuracy(logits, [logits[0] > 0, 1], threshold=0.0) in (0.5, 1.0)
    assert metrics.accuracy(logits, [logits[0] > 0.5, 0], threshold=0.5) == 1.0
    assert metrics.accuracy([[-3.0, 5.0]], [1]) == 1.0  # the largest of many needs no threshold
    assert metrics.accuracy([0, 1], [0, 1]) == metrics.accuracy([0.0, 1.0], [0, 1]) == 1.0


def test_tensors_are_taken_with_their_graph() -> None:
    scores = mg.Tensor([[0.9], [0.2]], requires_grad=True) * 1.0
    assert metrics.accuracy(scores, mg.Tensor([[1.0], [0.0]])) == metrics.roc_auc(scores, [[1], [0]]) == 1.0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: metrics.accuracy([[0.9], [0.2]], [1, 0]),
            ValueError,
            r"input has shape \(2, 1\), target has shape \(2,\)",
        ),
        (lambda: metrics.accuracy([], []), ValueError, "the input is empty"),
        (lambda: metrics.accuracy([math.nan], [1]), ValueError, "the input holds nan"),
        (lambda: metrics.accuracy(["a"], [1]), TypeError, "input must be an array of real numbers"),
        (lambda: metrics.roc_auc([[0.9], [0.2]], [1, 0]), ValueError, r"expected equal shapes.*test_metrics.py"),
        (lambda: metrics.roc_auc([0.9, math.nan], [1, 0]), ValueError, "the input holds nan"),
        (
            lambda: metrics.roc_auc([0.9, 0.1], [1, 2]),
            ValueError,
            r"expected the labels 0 and 1, both of them, got \[1 2\]",
        ),
        (lambda: metrics.roc_auc([0.9, 0.1], ["y", "n"]), TypeError, "target must be an array of real numbers"),
    ],
)
def test_refusals(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
