"""Losses have the values of their formulas and the gradients of the notes, and refuse targets that are none."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import microgrid as mg
import nn

RNG = np.random.default_rng(3)
Z = RNG.normal(size=(4, 3)) * 2
A = 1 / (1 + np.exp(-Z))
HARD = RNG.integers(0, 2, (4, 3)).astype(float)
SOFT = RNG.uniform(0, 1, (4, 3))
ONE_HOT = np.eye(3)[[2, 0, 1, 1]]
CLASSES = np.array([2, 0, 1, 1])


def softmax(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def bce(a, y):
    return -(y * np.log(a) + (1 - y) * np.log(1 - a))


def bce_on_logits(z, y):
    return bce(1 / (1 + np.exp(-z)), y)


def squares(x, y):
    return (x - y) ** 2


def half_squares(x, y):
    return (x - y) ** 2 / 2


def distance(x, y):
    return np.sqrt((x - y) ** 2)


def huber(x, y, delta=1.0):
    d = distance(x, y)
    return np.where(d.real <= delta, d**2 / 2, delta * (d - delta / 2))


def log_likelihood(log_a, y):
    return -log_a[range(len(y)), y]


def likelihood(z, y):
    return -np.log(softmax(z)[range(len(y)), y])


def cross_entropy(z, y):
    return -(y * np.log(softmax(z))).sum(axis=1)


P = softmax(Z)

# loss, input, target, the losses by the formula of the book (which takes complex numbers too)
FORMULAS = {
    "BCELoss hard": (nn.BCELoss, A, HARD, bce),
    "BCELoss soft": (nn.BCELoss, A, SOFT, bce),
    "BCEWithLogitsLoss hard": (nn.BCEWithLogitsLoss, Z, HARD, bce_on_logits),
    "BCEWithLogitsLoss soft": (nn.BCEWithLogitsLoss, Z, SOFT, bce_on_logits),
    "MSELoss": (nn.MSELoss, Z, SOFT, squares),
    "HalfMSELoss": (nn.HalfMSELoss, Z, SOFT, half_squares),
    "L1Loss": (nn.L1Loss, Z, SOFT, distance),
    "HuberLoss": (nn.HuberLoss, Z, SOFT, huber),
    "SmoothL1Loss": (nn.SmoothL1Loss, Z, SOFT, huber),
    "NLLLoss": (nn.NLLLoss, np.log(P), CLASSES, log_likelihood),
    "CrossEntropyLoss indices": (nn.CrossEntropyLoss, Z, CLASSES, likelihood),
    "CrossEntropyLoss one-hot": (nn.CrossEntropyLoss, Z, ONE_HOT, cross_entropy),
    "CrossEntropyLoss soft": (nn.CrossEntropyLoss, Z, SOFT, cross_entropy),
}
REDUCED = {
    "mean": lambda c: c.mean(),
    "sum": lambda c: c.sum(),
    "none": lambda c: c,
    "batchmean": lambda c: c.sum() / len(c),
}


@pytest.mark.parametrize("reduction", REDUCED)
@pytest.mark.parametrize("name", FORMULAS)
def test_value_is_the_formula(name: str, reduction: str) -> None:
    loss, x, y, formula = FORMULAS[name]
    value = loss(reduction=reduction)(mg.Tensor(x), y)
    np.testing.assert_allclose(value.numpy(), REDUCED[reduction](formula(x, y)), rtol=1e-13)


@pytest.mark.parametrize("name", FORMULAS)
def test_the_functional_form_is_the_same_and_mean_is_the_default(name: str) -> None:
    loss, x, y, formula = FORMULAS[name]
    mean = formula(x, y).mean()
    functional = {
        nn.BCELoss: nn.binary_cross_entropy,
        nn.BCEWithLogitsLoss: nn.binary_cross_entropy_with_logits,
        nn.MSELoss: nn.mse_loss,
        nn.HalfMSELoss: nn.half_mse_loss,
        nn.L1Loss: nn.l1_loss,
        nn.HuberLoss: nn.huber_loss,
        nn.SmoothL1Loss: nn.smooth_l1_loss,
        nn.NLLLoss: nn.nll_loss,
        nn.CrossEntropyLoss: nn.cross_entropy,
    }[loss]
    assert functional(mg.Tensor(x), y).item() == loss()(mg.Tensor(x), y).item() == pytest.approx(mean, rel=1e-13)
    assert functional(x, mg.Tensor(y)).item() == functional(x, y.tolist()).item() == functional(x, y).item()


@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
@pytest.mark.parametrize("name", FORMULAS)
def test_gradient_is_the_complex_step_of_the_formula(name: str, reduction: str) -> None:
    """Im f(x + ih) / h on the formula above: no rule of the engine's in it."""
    loss, x, y, formula = FORMULAS[name]
    leaf = mg.Tensor(x, requires_grad=True)
    loss(reduction=reduction)(leaf, y).backward()
    expected = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1e-200j
        expected[index] = REDUCED[reduction](formula(moved, y)).imag / 1e-200
    assert np.linalg.norm(leaf.grad - expected) < 1e-13 * np.linalg.norm(expected)


# Weights, classes that do not count, smoothing, other corners

W_K = np.array([0.5, 2.0, 1.5])  # one a class or output
W_MK = RNG.uniform(0.1, 3, (4, 3))
SOME = np.array([2, -100, 1, 1])
FILLED = np.array([2, 0, 1, 1])  # a class where there is none, to be left out
SMOOTH = 0.8 * ONE_HOT + 0.2 / 3


def positives(z, y, p):
    a = 1 / (1 + np.exp(-z))
    return -(p * y * np.log(a) + (1 - y) * np.log(1 - a))


def weighted(z, y):
    """-sum_k w_k y_k ln a_k."""
    return -(W_K * y * np.log(softmax(z))).sum(axis=1)


# loss, its settings, input, target, the losses by formula, and how much each is in the mean
SETTINGS = {
    "BCELoss weight": (nn.BCELoss, {"weight": W_MK}, A, SOFT, lambda a, y: W_MK * bce(a, y), 1),
    "BCELoss one an output": (nn.BCELoss, {"weight": W_K}, A, HARD, lambda a, y: W_K * bce(a, y), 1),
    "logits weight": (nn.BCEWithLogitsLoss, {"weight": W_K}, Z, SOFT, lambda z, y: W_K * bce_on_logits(z, y), 1),
    "logits pos_weight": (nn.BCEWithLogitsLoss, {"pos_weight": W_K}, Z, SOFT, lambda z, y: positives(z, y, W_K), 1),
    "logits one pos_weight": (nn.BCEWithLogitsLoss, {"pos_weight": 3}, Z, HARD, lambda z, y: positives(z, y, 3), 1),
    "logits both": (
        nn.BCEWithLogitsLoss,
        {"weight": W_MK, "pos_weight": W_K},
        Z,
        SOFT,
        lambda z, y: W_MK * positives(z, y, W_K),
        1,
    ),
    "indices weight": (
        nn.CrossEntropyLoss,
        {"weight": W_K},
        Z,
        CLASSES,
        lambda z, y: weighted(z, ONE_HOT),
        W_K[CLASSES],
    ),
    "indices ignored": (
        nn.CrossEntropyLoss,
        {},
        Z,
        SOME,
        lambda z, y: (y >= 0) * likelihood(z, FILLED),
        SOME >= 0,
    ),
    "another ignored": (
        nn.CrossEntropyLoss,
        {"ignore_index": 1},
        Z,
        CLASSES,
        lambda z, y: (y != 1) * likelihood(z, y),
        CLASSES != 1,
    ),
    "indices smoothed": (
        nn.CrossEntropyLoss,
        {"label_smoothing": 0.2},
        Z,
        CLASSES,
        lambda z, y: cross_entropy(z, SMOOTH),
        1,
    ),
    "indices, everything": (
        nn.CrossEntropyLoss,
        {"weight": W_K, "label_smoothing": 0.2},
        Z,
        SOME,
        lambda z, y: (y >= 0) * weighted(z, SMOOTH),
        W_K[FILLED] * (SOME >= 0),
    ),
    "soft weight": (nn.CrossEntropyLoss, {"weight": W_K}, Z, SOFT, weighted, 1),
    "soft smoothed": (
        nn.CrossEntropyLoss,
        {"weight": W_K, "label_smoothing": 0.2},
        Z,
        SOFT,
        lambda z, y: weighted(z, 0.8 * y + 0.2 / 3),
        1,
    ),
    "NLLLoss weight": (
        nn.NLLLoss,
        {"weight": W_K},
        np.log(P),
        CLASSES,
        lambda log_a, y: W_K[y] * log_likelihood(log_a, y),
        W_K[CLASSES],
    ),
    "NLLLoss ignored": (
        nn.NLLLoss,
        {"weight": W_K},
        np.log(P),
        SOME,
        lambda log_a, y: (y >= 0) * W_K[FILLED] * log_likelihood(log_a, FILLED),
        W_K[FILLED] * (SOME >= 0),
    ),
    "HuberLoss delta": (nn.HuberLoss, {"delta": 0.5}, Z, SOFT, lambda x, y: huber(x, y, 0.5), 1),
    "SmoothL1Loss beta": (nn.SmoothL1Loss, {"beta": 2.5}, Z, SOFT, lambda x, y: huber(x, y, 2.5) / 2.5, 1),
    "SmoothL1Loss 0": (nn.SmoothL1Loss, {"beta": 0}, Z, SOFT, distance, 1),
}


def reduced(reduction: str, losses, counts):
    return (
        losses.sum() / np.broadcast_to(counts, losses.shape).sum()
        if reduction == "mean"
        else REDUCED[reduction](losses)
    )


@pytest.mark.parametrize("reduction", REDUCED)
@pytest.mark.parametrize("name", SETTINGS)
def test_settings_do_what_their_formula_says(name: str, reduction: str) -> None:
    """Values, of the class and of the function, and the complex step of the formula: torch's mean among them."""
    loss, settings, x, y, formula, counts = SETTINGS[name]
    made = loss(**settings, reduction=reduction)
    leaf = mg.Tensor(x, requires_grad=True)
    value = made(leaf, y)
    np.testing.assert_allclose(value.detach().numpy(), reduced(reduction, formula(x, y), counts), rtol=1e-12)
    functional = {
        nn.BCELoss: nn.binary_cross_entropy,
        nn.BCEWithLogitsLoss: nn.binary_cross_entropy_with_logits,
        nn.CrossEntropyLoss: nn.cross_entropy,
        nn.NLLLoss: nn.nll_loss,
        nn.HuberLoss: nn.huber_loss,
        nn.SmoothL1Loss: nn.smooth_l1_loss,
    }[loss]
    assert functional(leaf, y, **settings, reduction=reduction).tolist() == value.tolist()
    if reduction == "none":
        return
    value.backward()
    expected = np.empty_like(x)
    for index in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[index] += 1e-200j
        expected[index] = reduced(reduction, formula(moved, y), counts).imag / 1e-200
    assert np.linalg.norm(leaf.grad - expected) < 1e-13 * np.linalg.norm(expected)


def test_weights_keep_float32_and_are_the_losses_own() -> None:
    """Cast to the input's precision; copied, so that what the user writes later changes nothing; torch's position."""
    weight = np.array([1.0, 2.0, 3.0])
    z = mg.Tensor(Z.astype(np.float32), requires_grad=True)
    for loss, y in (
        (nn.CrossEntropyLoss(weight), SOME),
        (nn.CrossEntropyLoss(weight, label_smoothing=0.1), SOFT),
        (nn.BCEWithLogitsLoss(weight, pos_weight=weight), HARD),
    ):
        before = loss(z, y)
        weight[0] = 100.0
        assert loss(z, y).item() == before.item()
        weight[0] = 1.0
        before.backward()
        assert before.dtype == z.grad.dtype == np.float32
    assert nn.BCELoss(weight)(A, HARD).item() == nn.binary_cross_entropy(A, HARD, mg.Tensor(weight)).item()
    assert repr(nn.CrossEntropyLoss([1, 2])) == (
        "CrossEntropyLoss(weight=[1.0, 2.0], reduction='mean', ignore_index=-100, label_smoothing=0.0)"
    )


@given(st.floats(-700, 700), st.sampled_from([0.0, 0.25, 1.0]), st.sampled_from([1e-3, 1.0, 7.5, 1e3]))
def test_pos_weight_keeps_the_digits_at_both_ends(z: float, y: float, p: float) -> None:
    """p y ln(1 + e^-z) + (1 - y) ln(1 + e^z) and its derivative, to 400 digits."""
    mpmath = pytest.importorskip("mpmath")
    leaf = mg.Tensor([z], requires_grad=True)
    loss = nn.binary_cross_entropy_with_logits(leaf, [y], pos_weight=p)
    loss.backward()
    with mpmath.workdps(400):
        e = mpmath.exp(mpmath.mpf(z))
        exact = p * y * mpmath.log(1 + 1 / e) + (1 - y) * mpmath.log(1 + e)
        slope = (1 - y) * e / (1 + e) - p * y / (1 + e)
        assert abs(loss.item() - exact) <= 1e-15 * exact
        assert abs(leaf.grad.item() - slope) <= 1e-15 * ((1 - y) * e / (1 + e) + p * y / (1 + e))


def test_pos_weight_1_is_the_plain_loss() -> None:
    plain, weighted = (nn.BCEWithLogitsLoss(pos_weight=p, reduction="none")(Z, SOFT).numpy() for p in (None, 1))
    np.testing.assert_allclose(weighted, plain, rtol=1e-15)
    z = mg.Tensor(Z, requires_grad=True)
    assert nn.BCEWithLogitsLoss(reduction="none")(z, SOFT).inputs[0] is z  # one node, which nothing slows


def test_the_fused_gradient_at_0_is_half_minus_y() -> None:
    """No kink comes from max and |z|, with a weight on the positives as without: (1 - y)/2 - p y/2."""
    for p in (None, 1.0, 3.0):
        for y in (0.0, 0.25, 1.0):
            leaf = mg.Tensor([0.0], requires_grad=True)
            nn.binary_cross_entropy_with_logits(leaf, [y], pos_weight=p).backward()
            assert leaf.grad.item() == (1 - y) / 2 - (p or 1.0) * y / 2


def test_samples_that_do_not_count_change_nothing() -> None:
    """The mean is that of the others, their own gradient is 0, whatever stands there; nan if there are no others."""
    kept = SOME >= 0
    z = np.where(kept[:, None], Z, 1e300)
    leaf, other = mg.Tensor(z, requires_grad=True), mg.Tensor(Z[kept], requires_grad=True)
    all_four, three = nn.cross_entropy(leaf, SOME), nn.cross_entropy(other, SOME[kept])
    all_four.backward()
    three.backward()
    assert all_four.item() == pytest.approx(three.item(), rel=1e-15)
    assert (leaf.grad[~kept] == 0).all()
    np.testing.assert_allclose(leaf.grad[kept], other.grad, rtol=1e-15)
    assert math.isnan(nn.cross_entropy(Z, [-100] * 4).item())
    assert nn.cross_entropy(Z, [-100] * 4, reduction="sum").item() == 0
    assert nn.cross_entropy(Z[0], -100, reduction="none").item() == 0


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"])
def test_class_indices_of_every_integer_type(dtype: str) -> None:
    expected = nn.cross_entropy(Z, CLASSES, W_K).item()
    assert nn.cross_entropy(Z, CLASSES.astype(dtype), W_K).item() == expected
    assert nn.nll_loss(mg.log_softmax(mg.Tensor(Z)), CLASSES.astype(dtype), W_K).item() == expected


@pytest.mark.parametrize("soft", [False, True])
def test_further_axes_are_further_samples(soft: bool) -> None:
    """(m, K, d) has the losses and the mean of (m d, K), weighted, smoothed and with some left out."""
    z = RNG.normal(size=(4, 3, 5))
    y = RNG.uniform(0, 1, z.shape) if soft else RNG.integers(0, 3, (4, 5))
    rows = np.moveaxis(y, 1, -1).reshape(-1, 3) if soft else y.ravel()
    settings: dict[str, Any] = {"weight": W_K, "label_smoothing": 0.2} | ({} if soft else {"ignore_index": 1})
    flat = np.moveaxis(z, 1, -1).reshape(-1, 3)
    for reduction in ("none", "mean"):
        value = nn.cross_entropy(z, y, **settings, reduction=reduction).numpy()
        expected = nn.cross_entropy(flat, rows, **settings, reduction=reduction).numpy()
        np.testing.assert_allclose(value.ravel(), expected.ravel(), rtol=1e-13)


def test_cross_entropy_is_nll_of_log_softmax() -> None:
    for y, settings in ((CLASSES, {}), (SOME, {"weight": W_K}), (CLASSES, {"ignore_index": 1})):
        z, other = mg.Tensor(Z, requires_grad=True), mg.Tensor(Z, requires_grad=True)
        one = nn.CrossEntropyLoss(**settings)(z, y)
        two = nn.NLLLoss(**settings)(nn.LogSoftmax(axis=1)(other), y)
        one.backward()
        two.backward()
        assert one.item() == two.item()
        assert z.grad.tolist() == other.grad.tolist()


# The closed forms, delta = m dC/dZ by "batchmean", row for row

ROWS = {
    "sigmoid, BCE": (mg.sigmoid, nn.BCELoss, SOFT, A - SOFT),
    "sigmoid, BCE on logits": (None, nn.BCEWithLogitsLoss, SOFT, A - SOFT),
    "sigmoid, half squares": (mg.sigmoid, nn.HalfMSELoss, SOFT, (A - SOFT) * A * (1 - A)),
    "sigmoid, squares": (mg.sigmoid, nn.MSELoss, SOFT, 2 * (A - SOFT) * A * (1 - A)),
    "identity, squares": (None, nn.MSELoss, SOFT, 2 * (Z - SOFT)),
    "identity, half squares": (None, nn.HalfMSELoss, SOFT, Z - SOFT),
    "softmax, -ln a_y": (None, nn.CrossEntropyLoss, CLASSES, P - ONE_HOT),
    "log-softmax, -ln a_y": (nn.LogSoftmax(), nn.NLLLoss, CLASSES, P - ONE_HOT),
    "softmax, -sum y ln a": (None, nn.CrossEntropyLoss, SOFT, P * SOFT.sum(axis=1, keepdims=True) - SOFT),
    "softmax, half squares": (
        mg.softmax,
        nn.HalfMSELoss,
        SOFT,
        P * ((P - SOFT) - (P * (P - SOFT)).sum(axis=1, keepdims=True)),
    ),
    "smoothed": (None, lambda **words: nn.CrossEntropyLoss(label_smoothing=0.2, **words), CLASSES, P - SMOOTH),
}


@pytest.mark.parametrize("row", ROWS)
def test_delta_is_that_of_the_table(row: str) -> None:
    output, loss, y, delta = ROWS[row]
    z = mg.Tensor(Z, requires_grad=True)
    loss(reduction="batchmean")(z if output is None else output(z), y).backward()
    np.testing.assert_allclose(z.grad * len(Z), delta, rtol=1e-12, atol=1e-15)


def test_half_squares_are_the_notes_mean_square_error() -> None:
    """C = 1/(2n) sum over samples of ||y - a||^2; the mean over all elements is 1/K of it."""
    C = sum(np.linalg.norm(y - a) ** 2 for y, a in zip(SOFT, A, strict=True)) / (2 * len(A))
    assert nn.half_mse_loss(A, SOFT, reduction="batchmean").item() == pytest.approx(C, rel=1e-14)
    assert nn.half_mse_loss(A, SOFT).item() == pytest.approx(C / 3, rel=1e-14)


def test_huber_has_no_kink_and_no_gradient_above_delta() -> None:
    x = mg.Tensor([-1e300, -0.5, 0.0, 0.5, 0.50000001, math.inf], requires_grad=True)
    nn.huber_loss(x, np.zeros(6), delta=0.5, reduction="sum").backward()
    assert x.grad.tolist() == [-0.5, -0.5, 0.0, 0.5, 0.5, 0.5]


# A - Y


def test_dC_dZ_is_A_minus_Y_over_m(case: Any) -> None:
    """Through the chain C <- A <- Z as through the logits, at the Z node itself, by "batchmean"."""
    X = mg.Tensor(case.X)
    for on_logits in (False, True):
        Z = case.model(X)
        A = mg.sigmoid(Z)
        C = (
            nn.BCEWithLogitsLoss(reduction="batchmean")(Z, case.Y)
            if on_logits
            else nn.BCELoss(reduction="batchmean")(A, case.Y)
        )
        C.backward()
        a = 1 / (1 + np.exp(-Z.detach().numpy()))
        np.testing.assert_allclose(Z.grad, (a - case.Y) / case.m, rtol=1e-12, atol=1e-16)
        if not on_logits:
            np.testing.assert_allclose(A.grad, (a - case.Y) / (a * (1 - a)) / case.m, rtol=1e-12)


def test_A_minus_Y_scales_with_the_reduction() -> None:
    """(A - Y) times 1/(m K), 1 and 1/m: the factors that books confuse."""
    for reduction, factor in (("mean", 1 / 12), ("sum", 1.0), ("batchmean", 1 / 4)):
        z = mg.Tensor(Z, requires_grad=True)
        nn.BCEWithLogitsLoss(reduction=reduction)(z, SOFT).backward()
        np.testing.assert_allclose(z.grad, (A - SOFT) * factor, rtol=1e-13, atol=1e-16)


def test_softmax_gradient_is_a_sum_y_minus_y() -> None:
    """a - y where y sums to 1, and a sum(y) - y in general."""
    for y in (ONE_HOT, SOFT):
        z = mg.Tensor(Z, requires_grad=True)
        nn.CrossEntropyLoss(reduction="sum")(z, y).backward()
        np.testing.assert_allclose(z.grad, P * y.sum(axis=1, keepdims=True) - y, rtol=1e-12, atol=1e-15)


def test_probabilities_may_be_any_y_that_are_not_negative() -> None:
    """-sum y ln a, with the gradient a sum(y) - y: counts are as good as probabilities."""
    z, y = mg.Tensor([[0.5, -1.0, 2.0]], requires_grad=True), np.array([[2.0, 0.0, 7.5]])
    a = np.exp(z.detach().numpy()) / np.exp(z.detach().numpy()).sum()
    loss = nn.CrossEntropyLoss()(z, y)
    loss.backward()
    assert loss.item() == pytest.approx(-(y * np.log(a)).sum(), rel=1e-15)
    np.testing.assert_allclose(z.grad, a * y.sum() - y, rtol=1e-14)


@pytest.mark.oracles
def test_torch_takes_counts_too() -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    z, y, w = rng.normal(size=(5, 3)), rng.uniform(0, 9, (5, 3)), rng.uniform(size=3)
    for smoothing in (0.0, 0.2):
        ours = nn.cross_entropy(mg.Tensor(z), y, w, label_smoothing=smoothing).item()
        theirs = torch.nn.functional.cross_entropy(
            torch.tensor(z), torch.tensor(y), torch.tensor(w), label_smoothing=smoothing
        )
        assert ours == pytest.approx(theirs.item(), rel=1e-14)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.NLLLoss])
def test_what_a_batch_counts_is_what_its_mean_is_divided_by(loss: Any) -> None:
    z, y = mg.log_softmax(mg.Tensor(np.arange(12.0).reshape(4, 3) % 5)), np.array([0, 2, 2, -100])
    for weight in (None, [1.0, 2.0, 5.0]):
        total = loss(weight, reduction="sum")(z, y).item()
        assert total / loss(weight).count(y) == pytest.approx(loss(weight)(z, y).item(), rel=1e-15)
    assert loss([1.0, 2.0, 5.0]).count(y) == 11.0
    assert loss(ignore_index=2).count(y) == 2.0
    assert loss([1.0, 2.0, 5.0], reduction="sum").count(y) == loss(reduction="batchmean").count(y) == 4
    assert nn.CrossEntropyLoss([1.0, 2.0]).count(np.ones((4, 2))) == 4
    assert nn.MSELoss().count(np.ones((4, 2))) == 4


def test_two_class_softmax_on_0_z_is_sigmoid_of_z() -> None:
    z = RNG.normal(size=6)
    y = np.array([0, 1, 1, 0, 1, 0])
    softmax = nn.cross_entropy(np.stack([0 * z, z], axis=1), y)
    assert softmax.item() == pytest.approx(nn.binary_cross_entropy_with_logits(z, y).item(), rel=1e-14)


@given(st.floats(0, 1))
def test_soft_labels_have_their_minimum_at_a_equal_y(y: float) -> None:
    """There the loss is the entropy of y, not 0, and the gradient is 0."""
    if not 1e-9 < y < 1 - 1e-9:
        return
    z = mg.Tensor([math.log(y / (1 - y))], requires_grad=True)
    loss = nn.binary_cross_entropy_with_logits(z, [y])
    loss.backward()
    assert loss.item() == pytest.approx(-y * math.log(y) - (1 - y) * math.log1p(-y), rel=1e-7, abs=1e-12)
    assert abs(z.grad.item()) < 1e-15


@given(st.floats(-700, 700), st.sampled_from([0.0, 0.25, 1.0]))
def test_the_loss_on_logits_is_finite_everywhere_and_keeps_its_digits(z: float, y: float) -> None:
    """max(z, 0) - y z + log1p(e^-|z|), in Python's own floats."""
    leaf = mg.Tensor([z], requires_grad=True)
    loss = nn.binary_cross_entropy_with_logits(leaf, [y])
    loss.backward()
    assert loss.item() == pytest.approx((max(z, 0.0) - y * z) + math.log1p(math.exp(-abs(z))), rel=1e-14)
    # (1 - y) sigma(z) - y sigma(-z), which loses nothing to 1 - A
    stable = (1 - y) / (1 + math.exp(-z)) - y / (1 + math.exp(z))
    assert leaf.grad.item() == pytest.approx(stable, rel=1e-13, abs=1e-16 if 0 < y < 1 else 0)


# The cliff


@pytest.mark.parametrize("y", [0.0, 0.5, 1.0])
def test_the_chain_falls_off_the_cliff_at_53_ln_2(y: float) -> None:
    """From z = 53 ln 2 = 36.7368 A rounds to 1, and C <- A <- Z is not finite, for every label; below it is."""
    for z, finite in ((36.73, True), (36.74, False), (800.0, False)):
        leaf = mg.Tensor([z], requires_grad=True)
        nn.binary_cross_entropy(mg.sigmoid(leaf), [y]).backward()
        assert bool(np.isfinite(leaf.grad).all()) is finite
        other = mg.Tensor([z], requires_grad=True)
        nn.binary_cross_entropy_with_logits(other, [y]).backward()
        assert other.grad.item() == pytest.approx(1 / (1 + math.exp(-z)) - y, abs=1e-15)


def test_BCELoss_gives_what_the_formula_gives_where_torch_clamps() -> None:
    """0 and 1 are probabilities: inf for a wholly wrong answer, and 0 ln 0 = nan for a wholly right one."""
    assert nn.binary_cross_entropy([0.0, 1.0], [1.0, 0.0], reduction="none").tolist() == [math.inf, math.inf]
    assert np.isnan(nn.binary_cross_entropy([0.0, 1.0], [0.0, 1.0], reduction="none").numpy()).all()


def test_a_wholly_wrong_sample_is_still_taught_on_logits() -> None:
    """Clamping gives it gradient 0: it would never learn."""
    leaf = mg.Tensor([-1000.0, 1000.0], requires_grad=True)
    nn.BCEWithLogitsLoss(reduction="sum")(leaf, [1.0, 0.0]).backward()
    assert leaf.grad.tolist() == [-1.0, 1.0]


# Targets


def test_integer_and_bool_labels_and_both_float_types_are_taken() -> None:
    expected = nn.binary_cross_entropy_with_logits(Z, HARD).item()
    for labels in (HARD.astype(int), HARD.astype(bool), HARD.astype(np.float32), HARD.tolist()):
        assert nn.binary_cross_entropy_with_logits(Z, labels).item() == expected
    half = mg.Tensor(Z.astype(np.float32), requires_grad=True)
    for loss in (nn.BCEWithLogitsLoss(), nn.MSELoss(), nn.CrossEntropyLoss()):
        assert loss(half, HARD).dtype == np.float32


WHOLE = ["float64", "float32", "int64", "uint8", "bool"]


@pytest.mark.parametrize("target", WHOLE)
@pytest.mark.parametrize("input", WHOLE)
@pytest.mark.parametrize("tensors", [(True, True), (True, False), (False, True), (False, False)], ids=str)
def test_integers_and_booleans_count_as_floats(input: str, target: str, tensors: tuple[bool, bool]) -> None:
    """0 and 1 of every type, as Tensors and as arrays, give what the floats give; so does 0.5 against integers."""
    x, y = np.array([[1, 0, 0], [1, 1, 0]]), np.array([[0, 1, 0], [1, 0, 0]])
    half = np.full((2, 3), 0.5)

    def made(array: Any, dtype: str, tensor: bool) -> Any:
        return mg.Tensor(array.astype(dtype)) if tensor else array.astype(dtype)

    for loss in (nn.BCELoss, nn.BCEWithLogitsLoss, nn.MSELoss):
        for inputs, labels in ((x, y), (x, half), (half, y)):
            if (inputs is half and input[0] != "f") or (labels is half and target[0] != "f"):
                continue
            expected = loss(reduction="none")(inputs.astype(float), labels.astype(float)).numpy()
            losses = loss(reduction="none")(made(inputs, input, tensors[0]), made(labels, target, tensors[1]))
            np.testing.assert_allclose(losses.numpy(), expected, rtol=1e-6)
            if input != "float32":
                assert losses.dtype == np.float64
    classes = np.array([2, 1])
    scores = made(x, input, tensors[0])
    expected = nn.cross_entropy(x.astype(float), classes).item()
    if target[0] in "iu":
        assert nn.cross_entropy(scores, made(classes, target, tensors[1])).item() == pytest.approx(expected, rel=1e-6)
    if target[0] == "f":
        probabilities = made(np.eye(3)[classes], target, tensors[1])
        assert nn.cross_entropy(scores, probabilities).item() == pytest.approx(expected, rel=1e-6)


@pytest.mark.oracles
def test_integers_against_floats_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    theirs = torch.nn.MSELoss()(torch.tensor([1, 0]), torch.tensor([0.5, 0.5]))
    assert nn.MSELoss()(mg.Tensor([1, 0]), [0.5, 0.5]).item() == theirs.item() == 0.25


def test_a_target_with_a_gradient_keeps_it() -> None:
    y = mg.Tensor([0.25], requires_grad=True)
    nn.mse_loss(mg.Tensor([1.0]), y).backward()
    assert y.grad.tolist() == [-1.5]


@pytest.mark.parametrize("loss", [nn.BCELoss(), nn.BCEWithLogitsLoss(), nn.MSELoss()], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        (
            [1.0, 0.0],
            ValueError,
            r"input has shape \(2, 1\), target has shape \(2,\).*target.reshape\(2, 1\).*test_losses.py:",
        ),
        ([[1.0, 0.0]], ValueError, r"target has shape \(1, 2\), expected equal shapes"),
        ([[1.0]], ValueError, r"target has shape \(1, 1\).*nothing is broadcast"),
        (1.0, ValueError, r"target has shape \(\)"),
        ([[1.0], [math.nan]], ValueError, r"target holds nan at index \(1, 0\), expected finite numbers"),
        ([[math.inf], [0.0]], ValueError, r"target holds inf at index \(0, 0\)"),
        ([["yes"], ["no"]], TypeError, "target must be an array of real numbers, got dtype <U3"),
        ([[None], [1]], TypeError, "got dtype object"),
        ([[1j], [1]], TypeError, "got dtype complex128"),
        ([[1.0], [1.0, 2.0]], ValueError, "target is no regular array"),
    ],
)
def test_bad_targets(loss: nn.Loss, target: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        loss(mg.Tensor([[0.5], [0.5]]), target)


@pytest.mark.parametrize("loss", [nn.BCELoss(), nn.BCEWithLogitsLoss()], ids=lambda x: type(x).__name__)
@pytest.mark.parametrize("label", [-0.1, 1.5, 2])
def test_labels_outside_0_1_are_named(loss: nn.Loss, label: float) -> None:
    with pytest.raises(ValueError, match=rf"target holds {label} at index \(1, 0\), expected labels in \[0, 1\]"):
        loss(mg.Tensor([[0.5], [0.5]]), [[1], [label]])


def test_logits_given_to_BCELoss_are_pointed_to_the_right_loss() -> None:
    for value in (-0.5, 1.5):
        with pytest.raises(
            ValueError, match=rf"input holds {value}, expected probabilities in \[0, 1\]; .*BCEWithLogitsLoss"
        ):
            nn.BCELoss()(mg.Tensor([0.5, value]), [1.0, 0.0])


@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ([0, 3], ValueError, r"holds the class 3 at index \(1,\), expected 0 to 2 \(the input has 3 columns\)"),
        ([0, -1], ValueError, r"holds the class -1 at index \(1,\)"),
        ([0.0, 1.0], TypeError, r"class indices must be integers, got float64 \(target.astype\(int\)\)"),
        ([[0], [1]], ValueError, r"target has shape \(2, 1\), expected class indices of shape \(2,\) or probabilities"),
        ([[0, 1, 0], [1, 0, 0]], ValueError, r"expected class indices of shape \(2,\) or probabilities \(floats\)"),
        ([[0.5, 0.5, -0.5], [1.0, 0.0, 0.0]], ValueError, r"target holds -0.5 at index \(0, 2\), .* other y >= 0"),
        ([[0.5, 0.5, np.nan], [1.0, 0.0, 0.0]], ValueError, r"target holds nan at index \(0, 2\)"),
        ([[0.5, 0.5, np.inf], [1.0, 0.0, 0.0]], ValueError, r"target holds inf at index \(0, 2\)"),
        ([[0.0], [1.0]], ValueError, r"\(target.reshape\(2,\).astype\(int\)\); .*read_csv\(..., categorical"),
        (["cat", "dog"], TypeError, "target must be an array of real numbers"),
    ],
)
def test_bad_classes(target: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        nn.CrossEntropyLoss()(mg.Tensor([[0.0, 1.0, 2.0], [0.0, 1.0, 2.0]]), target)


def test_cross_entropy_takes_single_samples_and_further_axes() -> None:
    one = nn.cross_entropy(Z[0], 2)
    assert one.item() == pytest.approx(-np.log(P[0, 2]), rel=1e-14)
    stacked = np.stack([Z, 2 * Z], axis=2)
    labels = np.array([[2, 0], [0, 1], [1, 1], [1, 2]])
    losses = nn.cross_entropy(stacked, labels, reduction="none")
    assert losses.shape == (4, 2)
    np.testing.assert_allclose(
        losses.numpy()[:, 0], nn.cross_entropy(Z, labels[:, 0], reduction="none").numpy(), rtol=1e-14
    )
    with pytest.raises(ValueError, match=r"input has shape \(\), expected \(m, K\) or \(K,\)"):
        nn.cross_entropy(1.0, 0)


def test_a_large_shift_of_the_logits_changes_nothing() -> None:
    for shift in (0.0, 1e3, -1e3):
        leaf = mg.Tensor(np.array([[0.0, 1.0, 3.0]]) + shift, requires_grad=True)
        loss = nn.cross_entropy(leaf, [1])
        loss.backward()
        a = np.exp([0.0, 1.0, 3.0]) / np.exp([0.0, 1.0, 3.0]).sum()
        assert loss.item() == pytest.approx(-math.log(a[1]), rel=1e-15)
        np.testing.assert_allclose(leaf.grad, [a - [0, 1, 0]], rtol=1e-14)


def test_empty_data_and_other_inputs_are_refused() -> None:
    empty = np.zeros((0, 2))
    for loss in (nn.BCELoss(), nn.BCEWithLogitsLoss(), nn.MSELoss()):
        with pytest.raises(ValueError, match=r"input and target of shape \(0, 2\) are empty"):
            loss(mg.Tensor(empty), empty)
    with pytest.raises(ValueError, match="holds no sample"):
        nn.CrossEntropyLoss()(mg.Tensor(empty), np.zeros(0, int))
    with pytest.raises(TypeError, match="mse_loss: input must be an array of real numbers, got dtype <U1"):
        nn.mse_loss(["a"], [1.0])


class Own(nn.Loss):
    """A loss of the user's."""


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.MSELoss(mg.Tensor(Z), Z), r"got Tensor, ndarray, expected nn\.MSELoss\(\)\(input, target\)"),
        (
            lambda: nn.CrossEntropyLoss(Z, CLASSES),
            r"got ndarray, ndarray, expected nn\.CrossEntropyLoss\(\)\(input, target\)",
        ),
        (lambda: nn.BCELoss(mg.Tensor(A), HARD), r"got Tensor, ndarray, expected nn\.BCELoss\(\)\(input, target\)"),
        (lambda: nn.BCELoss("sum"), r'got \'sum\', expected nn\.BCELoss\(reduction="sum"\)'),
        (lambda: Own("sum"), r'expected Own\(reduction="sum"\)'),
    ],
)
def test_what_belongs_to_the_call_is_sent_there(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message + r", at test_losses.py:\d"):
        make()


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (
            lambda: nn.CrossEntropyLoss(Z),
            ValueError,
            r"weight has shape \(4, 3\), expected \(K,\), one a class; .*call",
        ),
        (lambda: nn.NLLLoss(1.0), ValueError, r"nn.NLLLoss: weight has shape \(\), expected \(K,\)"),
        (
            lambda: nn.CrossEntropyLoss([1.0, 2.0])(Z, CLASSES),
            ValueError,
            r"should be defined either for all 3 classes or no classes but got weight tensor of shape: \[2\]",
        ),
        (lambda: nn.cross_entropy(Z, SOFT, [[1.0] * 3]), ValueError, r"weight tensor of shape: \[1, 3\]"),
        (lambda: nn.BCELoss([math.nan]), ValueError, r"nn.BCELoss: weight holds nan at index \(0,\)"),
        (lambda: nn.BCEWithLogitsLoss(pos_weight=[math.inf]), ValueError, "pos_weight holds inf"),
        (lambda: nn.BCELoss(["a"]), TypeError, "weight must be an array of real numbers"),
        (
            lambda: nn.BCEWithLogitsLoss(pos_weight=mg.Tensor([1.0], requires_grad=True)),
            TypeError,
            r"pos_weight is a constant of the loss.*pos_weight.detach\(\)",
        ),
        (
            lambda: nn.binary_cross_entropy(A, HARD, [1.0, 2.0]),
            ValueError,
            r"weight has shape \(2,\), expected one that broadcasts to \(4, 3\)",
        ),
        (lambda: nn.binary_cross_entropy(A, HARD, np.ones((2, 4, 3))), ValueError, r"weight has shape \(2, 4, 3\)"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=1.5), ValueError, r"must be between 0.0 and 1.0. Got: 1.5"),
        (lambda: nn.CrossEntropyLoss(label_smoothing=math.nan), ValueError, "label_smoothing must be finite"),
        (lambda: nn.cross_entropy(Z, CLASSES, label_smoothing="a"), TypeError, "label_smoothing must be a number"),
        (lambda: nn.CrossEntropyLoss(ignore_index=1.5), TypeError, "ignore_index must be an integer, got 1.5"),
        (lambda: nn.NLLLoss(ignore_index=True), TypeError, "ignore_index must be an integer, got True"),
        (
            lambda: nn.cross_entropy(Z, SOFT, ignore_index=0),
            ValueError,
            "ignore_index is not supported for floating point target",
        ),
        (lambda: nn.cross_entropy(Z, [0, 1, 2, -1]), ValueError, "holds the class -1"),
        (lambda: nn.cross_entropy(Z, [0, 1, 2, -100], ignore_index=-1), ValueError, "holds the class -100"),
        (lambda: nn.cross_entropy(Z, CLASSES[:, None]), ValueError, r"\(target.reshape\(4,\)\)"),
        (
            lambda: nn.nll_loss(P, CLASSES),
            ValueError,
            "expected log-probabilities, none above 0: put LogSoftmax before",
        ),
        (lambda: nn.nll_loss(np.log(P), SOFT), ValueError, r"expected class indices of shape \(4,\)"),
        (
            lambda: nn.nll_loss(np.log(P), CLASSES.astype(float)),
            TypeError,
            "class indices must be integers, got float64",
        ),
        (lambda: nn.nll_loss(0.0, 0), ValueError, r"input has shape \(\), expected \(m, K\)"),
        (lambda: nn.cross_entropy(np.zeros((2, 0)), [-100, -100]), ValueError, r"shape \(2, 0\) holds no class"),
        (lambda: nn.nll_loss(np.zeros(0), -100), ValueError, r"shape \(0,\) holds no class"),
        (lambda: nn.HuberLoss(delta=0), ValueError, "huber_loss does not support non-positive values for delta, got 0"),
        (lambda: nn.huber_loss(Z, Z, delta=True), TypeError, "delta must be a number"),
        (lambda: nn.SmoothL1Loss(beta=-1), ValueError, "smooth_l1_loss does not support negative values for beta"),
        (lambda: nn.smooth_l1_loss(Z, Z, beta=math.inf), ValueError, "beta must be finite"),
    ],
)
def test_settings_are_checked(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message + r".*, at test_losses.py:\d"):
        make()


def test_reductions_are_checked() -> None:
    with pytest.raises(ValueError, match=r"\['sum'\] is not a valid value for reduction.*at test_losses.py"):
        nn.MSELoss(reduction=["sum"])
    for make in (lambda: nn.MSELoss(reduction="avg"), lambda: nn.mse_loss(Z, Z, reduction="avg")):
        with pytest.raises(
            ValueError, match="'avg' is not a valid value for reduction, expected one of 'mean', 'sum', 'none'"
        ):
            make()
    with pytest.raises(ValueError, match="there is no batch axis"):
        nn.mse_loss(mg.Tensor(1.0), 2.0, reduction="batchmean")
    assert repr(nn.BCELoss()) == "BCELoss(reduction='mean')"


# torch


@pytest.mark.oracles
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", [name for name in FORMULAS if name != "HalfMSELoss"])  # torch has none
def test_torch_gives_the_same_value_and_gradient(name: str, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    loss, x, y, _ = FORMULAS[name]
    ours, theirs = mg.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    value = loss(reduction=reduction)(ours, y)
    expected = getattr(torch.nn, loss.__name__)(reduction=reduction)(theirs, torch.tensor(y))
    np.testing.assert_allclose(value.detach().numpy(), expected.detach().numpy(), rtol=1e-13)
    mg.sum(value).backward()
    expected.sum().backward()
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.oracles
@pytest.mark.parametrize("z", [-1000.0, -40.0, 0.0, 36.8, 1000.0])
@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
def test_torch_agrees_on_logits_everywhere(z: float, y: float) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = mg.Tensor([z], requires_grad=True), torch.tensor([z], dtype=torch.float64, requires_grad=True)
    value = nn.BCEWithLogitsLoss()(ours, [y])
    expected = torch.nn.BCEWithLogitsLoss()(theirs, torch.tensor([y], dtype=torch.float64))
    value.backward()
    expected.backward()
    assert value.item() == pytest.approx(expected.item(), rel=1e-14)
    # torch's own A - Y is 0 from z = 36.8 on, where 1 - A still has the digits
    assert ours.grad.item() == pytest.approx(theirs.grad.item(), rel=1e-12, abs=2e-16)


@pytest.mark.oracles
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("name", SETTINGS)
def test_torch_gives_the_same_with_settings(name: str, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    loss, settings, x, y, _, _ = SETTINGS[name]
    words = {
        key: torch.tensor(word, dtype=torch.float64) if "weight" in key else word for key, word in settings.items()
    }
    ours, theirs = mg.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
    value = loss(**settings, reduction=reduction)(ours, y)
    expected = getattr(torch.nn, loss.__name__)(**words, reduction=reduction)(theirs, torch.tensor(y))
    np.testing.assert_allclose(value.detach().numpy(), expected.detach().numpy(), rtol=1e-13)
    mg.sum(value).backward()
    expected.sum().backward()
    np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.oracles
@given(st.data())
def test_torch_gives_the_same_cross_entropy_for_every_shape_and_setting(data: st.DataObject) -> None:
    """(K,), (m, K), (m, K, d) and (m, K, d, e); indices, some ignored, or probabilities; weights; smoothing."""
    torch = pytest.importorskip("torch")
    K = data.draw(st.integers(1, 4))
    batch = data.draw(st.lists(st.integers(1, 3), max_size=3))
    shape = (*batch[:1], K, *batch[1:])
    rng = np.random.default_rng(data.draw(st.integers(0, 2**16)))
    z = rng.normal(size=shape) * 5
    settings: dict[str, Any] = {
        "reduction": data.draw(st.sampled_from(["mean", "sum", "none"])),
        "label_smoothing": data.draw(st.sampled_from([0.0, 0.3, 1.0])),
    }
    if data.draw(st.booleans()):
        settings["weight"] = rng.uniform(0, 2, K)
    if data.draw(st.booleans()):
        y: Any = rng.uniform(0, 1, shape)
    else:
        settings["ignore_index"] = data.draw(st.sampled_from([-100, 0, -1]))
        y = np.where(rng.random(batch) < 0.2, settings["ignore_index"], rng.integers(0, K, batch))
    words = {key: torch.tensor(word) if key == "weight" else word for key, word in settings.items()}
    ours, theirs = mg.Tensor(z, requires_grad=True), torch.tensor(z, requires_grad=True)
    value = nn.cross_entropy(ours, y, **settings)
    expected = torch.nn.functional.cross_entropy(theirs, torch.tensor(y), **words)
    np.testing.assert_allclose(value.detach().numpy(), expected.detach().numpy(), rtol=1e-11, atol=1e-12)
    mg.sum(value).backward()
    expected.sum().backward()
    if np.isfinite(expected.detach().numpy()).all():  # of nothing the mean is nan, and so is torch's; gradients differ
        np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-10, atol=1e-12)


@pytest.mark.oracles
@pytest.mark.parametrize("z", [-1000.0, -30.0, 0.0, 30.0, 1000.0])
@pytest.mark.parametrize("p", [0.0, 0.25, 7.5])
def test_torch_agrees_on_pos_weight_at_the_ends(z: float, p: float) -> None:
    """To 1e-12 of 1: torch's own formula cancels at z = -30, y = 0, where it gives 9.4e-14 with two digits."""
    torch = pytest.importorskip("torch")
    for y in (0.0, 0.3, 1.0):
        ours, theirs = mg.Tensor([z], requires_grad=True), torch.tensor([z], dtype=torch.float64, requires_grad=True)
        value = nn.BCEWithLogitsLoss(pos_weight=p)(ours, [y])
        expected = torch.nn.BCEWithLogitsLoss(pos_weight=torch.tensor(p, dtype=torch.float64))(
            theirs, torch.tensor([y], dtype=torch.float64)
        )
        value.backward()
        expected.backward()
        assert value.item() == pytest.approx(expected.item(), rel=1e-12, abs=1e-12)
        assert ours.grad.item() == pytest.approx(theirs.grad.item(), rel=1e-12, abs=1e-12)
