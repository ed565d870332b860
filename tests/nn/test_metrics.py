"""Accuracy counts, and the ROC AUC is the chance that a positive scores above a negative."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import microgrid as mg
import nn
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


def test_labels_may_be_booleans_or_whole_floats() -> None:
    assert metrics.accuracy([0.9, 0.2], [True, True]) == metrics.accuracy([0.9, 0.2], [1.0, 1.0]) == 0.5
    assert metrics.accuracy([[0.9, 0.2], [0.1, 0.3]], [0.0, 1.0]) == 1.0


def test_tensors_are_taken_with_their_graph() -> None:
    scores = mg.Tensor([[0.9], [0.2]], requires_grad=True) * 1.0
    assert metrics.accuracy(scores, mg.Tensor([[1.0], [0.0]])) == metrics.roc_auc(scores, [[1], [0]]) == 1.0


# The confusion matrix and what is read off it


LABELS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=30)


@given(LABELS)
def test_the_confusion_matrix_counts(pairs: list[tuple[int, int]]) -> None:
    answers, labels = np.array(pairs).T
    matrix = metrics.confusion_matrix(answers, labels, num_classes=4)
    assert matrix.tolist() == [[pairs.count((answer, label)) for answer in range(4)] for label in range(4)]
    K = max(max(pair) for pair in pairs) + 1
    assert metrics.confusion_matrix(answers, labels).tolist() == matrix[:K, :K].tolist()
    assert metrics.accuracy(np.eye(4)[answers], labels) == pytest.approx(np.trace(matrix) / len(pairs))
    assert (metrics.confusion_matrix(np.eye(4)[answers], labels) == matrix).all()
    for k in range(4):
        found, answered, there = (
            sum(pair == (k, k) for pair in pairs), sum(a == k for a, _ in pairs), sum(b == k for _, b in pairs)
        )  # fmt: skip
        for measure, part, whole in (
            (metrics.precision, found, answered), (metrics.recall, found, there),
            (metrics.f1, 2 * found, answered + there),
        ):  # fmt: skip
            assert measure(matrix)[k] == (part / whole if whole else pytest.approx(math.nan, nan_ok=True))


def test_answers_of_any_type_and_shape() -> None:
    expected = [[1, 0], [1, 2]]
    for answers, labels in (
        ([True, False, True, False], [1, 1, 1, 0]),
        (np.array([[1.0], [0.0], [1.0], [0.0]]), [[1], [1], [1], [0]]),
        (mg.Tensor([[0.2, 0.8], [0.6, 0.4], [0.0, 1.0], [3.0, 2.0]]), mg.Tensor([1, 1, 1, 0])),
        (np.array([1, 0, 1, 0], dtype=np.uint8), np.array([1, 1, 1, 0], dtype=bool)),
    ):
        assert metrics.confusion_matrix(answers, labels).tolist() == expected
    assert metrics.confusion_matrix([0], [0], num_classes=3).shape == (3, 3)


# The logarithmic loss


def test_the_log_loss_is_the_formula() -> None:
    """-mean ln of what was given to the right answer, exact at both ends."""
    P, Y = np.array([0.9, 0.2, 0.5, 1.0, 0.0]), np.array([1, 0, 1, 1, 0])
    assert metrics.log_loss(P, Y) == pytest.approx(-(math.log(0.9) + math.log(0.8) + math.log(0.5)) / 5, rel=1e-15)
    assert metrics.log_loss([1.0], [1]) == 0.0
    assert math.copysign(1, metrics.log_loss([1.0, 0.0], [1, 0])) == 1.0
    assert math.copysign(1, metrics.log_loss([[1.0, 0.0]], [0])) == 1.0
    assert metrics.log_loss([0.0], [1]) == math.inf
    assert metrics.log_loss([1.0], [0]) == math.inf
    assert metrics.log_loss([1e-300], [1]) == pytest.approx(300 * math.log(10), rel=1e-15)
    assert metrics.log_loss([1e-20], [0]) == 1e-20  # not 0, as -log(1 - p) would be
    assert metrics.log_loss([0.3], [0.3]) == pytest.approx(-0.3 * math.log(0.3) - 0.7 * math.log(0.7), rel=1e-15)
    matrix = np.array([[0.5, 0.25, 0.25], [0.0, 1.0, 0.0]])
    assert metrics.log_loss(matrix, [2, 1]) == math.log(4) / 2
    assert metrics.log_loss(matrix, [2, 0]) == math.inf
    assert metrics.log_loss(matrix.astype(np.float32), np.array([2, 1], np.uint8)) == math.log(4) / 2
    assert metrics.log_loss(np.float32([[1 / 3, 2 / 3]]), [1]) == pytest.approx(math.log(1.5), rel=1e-7)


@given(st.lists(st.tuples(st.floats(-30, 30), st.integers(0, 1)), min_size=1, max_size=20))
def test_the_log_loss_is_the_cross_entropy_that_was_trained_on(pairs: list[tuple[float, int]]) -> None:
    Z, Y = np.array([z for z, _ in pairs])[:, None], np.array([[y] for _, y in pairs])
    A = mg.sigmoid(mg.Tensor(Z))
    assert metrics.log_loss(A, Y) == pytest.approx(
        nn.binary_cross_entropy_with_logits(Z, Y).item(), rel=1e-3, abs=1e-12
    )
    two = np.concatenate([np.zeros_like(Z), Z], axis=1)
    P = mg.softmax(mg.Tensor(two), axis=1)
    assert metrics.log_loss(P, Y[:, 0]) == pytest.approx(nn.cross_entropy(two, Y[:, 0]).item(), rel=1e-9, abs=1e-12)


@pytest.mark.oracles
def test_confusion_matrix_and_what_follows_and_log_loss_are_scikit_learns() -> None:
    sklearn = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    for K in (2, 3, 7):
        answers, labels = rng.integers(0, K, 200), rng.integers(0, K, 200)
        matrix = metrics.confusion_matrix(answers, labels)
        assert (matrix == sklearn.confusion_matrix(labels, answers)).all()
        for ours, theirs in ((metrics.precision, "precision"), (metrics.recall, "recall"), (metrics.f1, "f1")):
            expected = getattr(sklearn, f"{theirs}_score")(labels, answers, average=None)
            np.testing.assert_allclose(ours(matrix), expected, rtol=1e-14)
        P = rng.dirichlet(np.ones(K), 200)
        assert metrics.log_loss(P, labels) == pytest.approx(sklearn.log_loss(labels, P), rel=1e-12)
    P = rng.uniform(size=200)
    assert metrics.log_loss(P, labels > 3) == pytest.approx(sklearn.log_loss(labels > 3, P), rel=1e-12)
    assert metrics.log_loss([1.0, 0.5], [0, 1]) == math.inf > sklearn.log_loss([0, 1], [1.0, 0.5])  # it clips


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: metrics.accuracy([[0.9], [0.2]], [1, 0]),
            ValueError,
            r"input has shape \(2, 1\), target has shape \(2,\)",
        ),
        (lambda: metrics.accuracy([], []), ValueError, "the input is empty"),
        (lambda: metrics.accuracy([0.9, 0.8], [-1, 1]), ValueError, r"target holds -1 at index \(0,\), expected 0"),
        (lambda: metrics.accuracy([0.9, 0.8], [1, 2]), ValueError, r"target holds 2 at index \(1,\), expected 0"),
        (lambda: metrics.accuracy([0.9, 0.8], [0.3, 1]), ValueError, "target holds 0.3 .*target > 0.5"),
        (lambda: metrics.accuracy([0.9, 0.8], [1, math.nan]), ValueError, "target holds nan at index"),
        (lambda: metrics.accuracy([[0.9, 0.8]], [2]), ValueError, r"target holds 2 at index \(0,\), .* 0 to 1, at"),
        (lambda: metrics.accuracy([[0.9, 0.8]], [0.5]), ValueError, "target holds 0.5 at index .*expected classes 0"),
        (lambda: metrics.accuracy([[0.9, 0.8]], [-1]), ValueError, "target holds -1 at index .*expected classes 0"),
        (lambda: metrics.accuracy([0.9], [1], threshold=math.nan), ValueError, "threshold must be finite, got nan"),
        (lambda: metrics.accuracy([0.9], [1], threshold="a"), TypeError, "threshold must be a number, got 'a'"),
        (lambda: metrics.accuracy(np.ma.array([0.9], mask=[1]), [1]), TypeError, "input is a masked array"),
        (lambda: metrics.accuracy([math.nan], [1]), ValueError, "the input holds nan"),
        (lambda: metrics.accuracy(["a"], [1]), TypeError, "input must be an array of real numbers"),
        (lambda: metrics.roc_auc([[0.9], [0.2]], [1, 0]), ValueError, r"expected equal shapes.*test_metrics.py"),
        (lambda: metrics.roc_auc([0.9, math.nan], [1, 0]), ValueError, "the input holds nan"),
        (
            lambda: metrics.roc_auc([0.9, 0.1], [1, 2]),
            ValueError,
            r"expected the labels 0 and 1, both of them, got \[1 2\]",
        ),
        (lambda: metrics.confusion_matrix([0, 1], [0]), ValueError, r"input has shape \(2,\), target has shape \(1,\)"),
        (lambda: metrics.confusion_matrix([], []), ValueError, "equal shapes that are not empty"),
        (lambda: metrics.confusion_matrix([0.7], [1]), ValueError, r"input holds 0.7 at index \(0,\).*P > 0.5"),
        (lambda: metrics.confusion_matrix([-1], [1]), ValueError, "input holds -1 at index .*expected classes 0, 1, "),
        (lambda: metrics.confusion_matrix([math.nan], [1]), ValueError, "input holds nan"),
        (lambda: metrics.confusion_matrix([math.inf], [1]), ValueError, "input holds inf"),
        (lambda: metrics.confusion_matrix([[math.nan, 1.0]], [1]), ValueError, "the input holds nan"),
        (
            lambda: metrics.confusion_matrix([1], [3], 3),
            ValueError,
            "target holds 3 at index .*expected classes 0 to 2",
        ),
        (lambda: metrics.confusion_matrix([1], [1], 0), ValueError, "num_classes must be at least 1"),
        (lambda: metrics.confusion_matrix(["a"], [1]), TypeError, "input must be an array of real numbers"),
        (lambda: metrics.precision([1, 2]), ValueError, r"precision: expected a confusion matrix.*got shape \(2,\)"),
        (lambda: metrics.recall([[1, 2]]), ValueError, r"recall: expected a confusion matrix.*got shape \(1, 2\)"),
        (lambda: metrics.f1([[1, -2], [0, 1]]), ValueError, "f1: expected a confusion matrix"),
        (
            lambda: metrics.log_loss([2.0], [1]),
            ValueError,
            "input holds 2.0 at index .*for logits use nn.binary_cross_",
        ),
        (lambda: metrics.log_loss([math.nan], [1]), ValueError, "the input holds nan"),
        (lambda: metrics.log_loss([], []), ValueError, "the input is empty"),
        (lambda: metrics.log_loss([0.5], [2]), ValueError, r"target holds 2 at index .*labels in \[0, 1\]"),
        (lambda: metrics.log_loss([[0.5, 0.4]], [1]), ValueError, "row 0 of the input adds up to 0.9, expected 1"),
        (lambda: metrics.log_loss([[0.5, 0.5]], [2]), ValueError, "target holds 2 at index .*expected classes 0 to 1"),
        (lambda: metrics.log_loss([[0.5, 0.5]], [1.0]), ValueError, r"dtype float64, expected .*integers \(m,\)"),
        (lambda: metrics.log_loss([0.5, 0.5], [1]), ValueError, r"input has shape \(2,\), target has shape \(1,\)"),
        (lambda: metrics.roc_auc([0.9, 0.1], ["y", "n"]), TypeError, "target must be an array of real numbers"),
    ],
)
def test_refusals(call, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
