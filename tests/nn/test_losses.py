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
        ([[0.5, 0.5, 1.5], [1.0, 0.0, 0.0]], ValueError, r"target holds 1.5 at index \(0, 2\)"),
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
        (lambda: nn.CrossEntropyLoss(Z), r"got ndarray, expected nn\.CrossEntropyLoss\(\)\(input, target\)"),
        (lambda: nn.BCELoss("sum"), r'got \'sum\', expected nn\.BCELoss\(reduction="sum"\)'),
        (lambda: Own("sum"), r'expected Own\(reduction="sum"\)'),
    ],
)
def test_what_belongs_to_the_call_is_sent_there(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message + r", at test_losses.py:\d"):
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
@pytest.mark.parametrize("name", FORMULAS)
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
