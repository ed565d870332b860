"""The notes' recursion against autograd, the complex step and loops written out; and the wrong forms of the notes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
from nn import closed_form


def cost(weights: list[Any], X: Any, Y: Any) -> Any:
    """The test's own plain forward pass in row layout, for real and complex weights W1, b1, W2, b2, ..."""
    A = X
    for W, b in zip(weights[::2], weights[1::2], strict=True):
        A = 1 / (1 + np.exp(-(A @ W.T + b)))
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum() / len(X)


def complex_steps(weights: list[Any], X: Any, Y: Any) -> list[Any]:
    gradients = [np.empty_like(w) for w in weights]
    for w, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            moved = [array.astype(complex) for array in weights]
            moved[w][index] += 1e-200j
            gradient[index] = cost(moved, X, Y).imag / 1e-200
    return gradients


def distance(a: Any, b: Any) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def test_closed_form_is_the_complex_step_and_autograd(case: Any) -> None:
    """delta = A - Y and W^T delta A (1 - A) are the derivative of the cost, for every depth and for soft labels."""
    closed = closed_form.gradients(case.model, case.X, case.Y)
    expected = complex_steps(list(case.model.state_dict().values()), case.X, case.Y)
    nn.BCEWithLogitsLoss(reduction="batchmean")(case.model(mg.Tensor(case.X)), case.Y).backward()
    for (name, parameter), exact in zip(case.model.named_parameters(), expected, strict=True):
        assert closed[name].shape == parameter.shape
        assert distance(closed[name], exact) < 1e-13
        assert distance(parameter.grad, exact) < 1e-13


def test_matrix_form_is_the_index_form(case: Any) -> None:
    """dC/dW_jk = mean_i delta_ji a_ki and dC/db_j = mean_i delta_ji, summed in loops (note 002)."""
    W, b = closed_form.weights(closed_form.sigmoid_layers(case.model))
    _, A = closed_form.forward(case.X.T, W, b)
    deltas, dW, db = closed_form.backward(A, case.Y.T, W)
    for i, delta in enumerate(deltas):
        for j in range(delta.shape[0]):
            assert db[i][j, 0] == pytest.approx(sum(delta[j, s] for s in range(case.m)) / case.m, rel=1e-12, abs=1e-15)
            for k in range(A[i].shape[0]):
                loop = sum(delta[j, s] * A[i][k, s] for s in range(case.m)) / case.m
                assert dW[i][j, k] == pytest.approx(loop, rel=1e-12, abs=1e-15)


def test_delta_is_m_times_the_gradient_at_every_Z(case: Any) -> None:
    """Autograd leaves delta / m at each Z node and (W^T delta) / m at each A node."""
    W, b = closed_form.weights(closed_form.sigmoid_layers(case.model))
    _, A = closed_form.forward(case.X.T, W, b)
    deltas, _, _ = closed_form.backward(A, case.Y.T, W)
    nodes, node = [], mg.Tensor(case.X)
    for module in [*case.model.layers, nn.Sigmoid()]:
        node = module(node)
        nodes.append(node)
    nn.BCELoss(reduction="batchmean")(nodes[-1], case.Y).backward()
    for i, delta in enumerate(deltas):
        assert distance(nodes[2 * i].grad, delta.T / case.m) < 1e-12
        if i + 1 < len(deltas):
            assert distance(nodes[2 * i + 1].grad, (W[i + 1].T @ deltas[i + 1]).T / case.m) < 1e-12


def test_the_row_layout_order_in_column_layout_runs_on_the_square_net_and_is_wrong() -> None:
    """`delta W^T`, as note 000 writes it: only the true oracle can tell, shapes cannot."""
    rng = np.random.default_rng(2)
    W, b = [rng.normal(size=(3, 3)) for _ in range(3)], [rng.normal(size=(3, 1)) for _ in range(3)]
    X, Y = rng.normal(size=(3, 3)), rng.uniform(size=(3, 3))
    _, A = closed_form.forward(X, W, b)
    deltas, _, _ = closed_form.backward(A, Y, W)
    assert distance(deltas[2] @ W[2].T * A[2] * (1 - A[2]), deltas[1]) > 0.1


def test_batch_gradient_is_the_mean_of_the_samples(case: Any) -> None:
    """And an uneven split counts by its size: the mean of batch means is another number."""
    whole = closed_form.gradients(case.model, case.X, case.Y)
    singles = [closed_form.gradients(case.model, case.X[i : i + 1], case.Y[i : i + 1]) for i in range(case.m)]
    parts = [closed_form.gradients(case.model, case.X[s], case.Y[s]) for s in (slice(0, 2), slice(2, None))]
    for name, gradient in whole.items():
        assert distance(sum(single[name] for single in singles) / case.m, gradient) < 1e-13
        weighted = (2 * parts[0][name] + (case.m - 2) * parts[1][name]) / case.m
        assert distance(weighted, gradient) < 1e-13
        if case.m != 4:
            assert distance((parts[0][name] + parts[1][name]) / 2, gradient) > 1e-3


def test_probabilities_or_logits_at_the_end_are_the_same_network(case: Any) -> None:
    with_sigmoid = nn.Sequential(case.model, nn.Sigmoid())
    closed = closed_form.gradients(case.model, case.X, case.Y)
    for name, gradient in closed_form.gradients(with_sigmoid, case.X, case.Y).items():
        np.testing.assert_array_equal(gradient, closed[name.removeprefix("0.")])


def test_layers_without_bias_and_layers_in_two_places() -> None:
    """A shared layer gathers both contributions, under its one name."""
    rng = np.random.default_rng(4)
    shared, last = nn.Linear(3, 3, bias=False, rng=0), nn.Linear(3, 2, rng=1)
    model = nn.Sequential(shared, nn.Sigmoid(), shared, nn.Sigmoid(), last)
    X, Y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
    closed = closed_form.gradients(model, X, Y)
    assert list(closed) == ["0.weight", "4.weight", "4.bias"]
    nn.BCEWithLogitsLoss(reduction="batchmean")(model(mg.Tensor(X)), Y).backward()
    for name, parameter in model.named_parameters():
        assert distance(closed[name], parameter.grad) < 1e-13


def test_sigma_and_cost_at_the_ends() -> None:
    """No overflow, no warning, and the closed form stays finite where the chain is nan."""
    assert closed_form.sigma(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]
    assert closed_form.cost(np.array([[1000.0, -1000.0]]), np.array([[0.0, 0.0]])) == 500.0


def test_zero_input_without_bias_gives_one_half() -> None:
    _, A = closed_form.forward(np.zeros((3, 2)), [np.ones((4, 3))], [np.zeros((4, 1))])
    assert (A[-1] == 0.5).all()


@pytest.mark.parametrize(
    ("model", "X", "Y", "message"),
    [
        (nn.MLP(2, [3, 1], activation="relu", rng=0), (4, 2), (4, 1), "sigmoid networks.*got Linear, ReLU, Linear"),
        (nn.MLP(2, [3, 1], output="softmax", rng=0), (4, 2), (4, 1), "got Linear, Sigmoid, Linear, Softmax"),
        (nn.Sequential(nn.Sigmoid()), (4, 2), (4, 2), "got Sigmoid"),
        (nn.Sequential(), (4, 2), (4, 2), "got nothing"),
        (nn.Sequential(nn.Linear(2, 2, rng=0), nn.Linear(2, 1, rng=0)), (4, 2), (4, 1), "got Linear, Linear"),
        (nn.MLP(2, [3, 1], rng=0), (4, 3), (4, 1), r"X has shape \(4, 3\).*expected \(m, 2\) and \(m, 1\)"),
        (nn.MLP(2, [3, 1], rng=0), (4, 2), (4,), r"Y has shape \(4,\)"),
        (nn.MLP(2, [3, 1], rng=0), (4, 2), (3, 1), r"Y has shape \(3, 1\)"),
        (nn.MLP(2, [3, 1], rng=0), (2,), (1,), r"X has shape \(2,\)"),
    ],
)
def test_refusals(model: Any, X: Any, Y: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        closed_form.gradients(model, np.zeros(X), np.zeros(Y))


@pytest.mark.parametrize(
    ("X", "Y", "error", "message"),
    [
        (np.eye(2), [[0], [2]], ValueError, r"Y holds 2 at index \(1, 0\), expected labels in \[0, 1\]"),
        (np.eye(2), [[0], [np.nan]], ValueError, r"Y holds nan at index \(1, 0\), expected finite numbers"),
        ([[1.0, np.nan]], [[0]], ValueError, r"X holds nan at index \(0, 1\), expected finite numbers"),
        ([["a", "b"]], [[0]], TypeError, "X must be an array of real numbers, got dtype <U1"),
        (np.eye(2), [["a"], ["b"]], TypeError, "Y must be an array of real numbers"),
        (np.zeros((0, 2)), np.zeros((0, 1)), ValueError, r"X has shape \(0, 2\).*for m >= 1 samples"),
        ([], [], ValueError, r"X has shape \(0,\)"),
        (1.0, 1.0, ValueError, r"X has shape \(\)"),
        ([[1.0], [1.0, 2.0]], [[0], [1]], ValueError, "X is no regular array"),
    ],
)
def test_bad_data(X: Any, Y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="closed_form.gradients: " + message + r".*, at test_closed_form.py:\d"):
        closed_form.gradients(nn.MLP(2, [3, 1], rng=0), X, Y)


def test_tensors_integers_and_booleans_are_taken(case: Any) -> None:
    X, Y = np.rint(case.X).astype(int), case.Y > 0.5
    expected = closed_form.gradients(case.model, X.astype(float), Y.astype(float))
    for given in (
        closed_form.gradients(case.model, X, Y),
        closed_form.gradients(case.model, mg.Tensor(X), mg.Tensor(Y)),
    ):
        for name, gradient in given.items():
            np.testing.assert_allclose(gradient, expected[name], rtol=1e-13, atol=1e-16)
