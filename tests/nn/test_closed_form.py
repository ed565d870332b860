"""Every row of the table against differentiation of its cost as the notes write it; the recursion in both layouts."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
from nn import closed_form, layers, losses
from nn.losses import HalfMSELoss

# The mathematics once more, in the test's own words, on real and complex numbers: g by rows, a cost a sample.
G = {
    "sigmoid": lambda Z: 1 / (1 + np.exp(-Z)),
    "tanh": lambda Z: (np.exp(Z) - np.exp(-Z)) / (np.exp(Z) + np.exp(-Z)),
    "relu": lambda Z: Z * (Z.real > 0),
    "leaky relu": lambda Z: Z * np.where(Z.real > 0, 1, 0.01),
    "identity": lambda Z: Z,
    "softplus": lambda Z: np.log(1 + np.exp(Z)),
    "log sigmoid": lambda Z: -np.log(1 + np.exp(-Z)),
    "softmax": lambda Z: np.exp(Z) / np.exp(Z).sum(axis=1, keepdims=True),
}
COSTS = {
    "binary cross-entropy": lambda A, Y: -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum(axis=1),
    "half squares": lambda A, Y: ((A - Y) ** 2).sum(axis=1) / 2,
    "squares": lambda A, Y: ((A - Y) ** 2).sum(axis=1),
    "log-likelihood": lambda A, y: -np.log(A[range(len(y)), y]),
    "cross-entropy": lambda A, Y: -(Y * np.log(A)).sum(axis=1),
}
NOTES = [  # the rows of the notes' table
    ("sigmoid", "binary cross-entropy"),
    ("sigmoid", "half squares"),
    ("sigmoid", "squares"),
    ("identity", "squares"),
    ("identity", "half squares"),
    ("softmax", "log-likelihood"),
    ("softmax", "cross-entropy"),
    ("softmax", "half squares"),
    ("softmax", "squares"),  # twice the last
    ("tanh", "half squares"),  # and any other g with squares
    ("leaky relu", "squares"),
    ("softplus", "squares"),
]
HIDDEN = [name for name in G if name != "softmax"]
# inputs, layers, samples; the square one catches `delta W^T` for `W^T delta`
SHAPES = [(4, [2], 5), (4, [3, 2], 5), (3, [3, 3, 3], 3), (2, [4, 3, 2], 7), (3, [4, 2, 5, 3, 2], 6)]


def plain_cost(weights: list[Any], X: Any, Y: Any, hidden: list[str], output: str, cost: str) -> Any:
    """The test's own forward pass in row layout, for real and complex weights W1, b1, W2, b2, ..."""
    A = X
    for W, b, g in zip(weights[::2], weights[1::2], [*hidden, output], strict=True):
        A = G[g](A @ W.T + b)
    return COSTS[cost](A, Y).mean()


def complex_steps(weights: list[Any], *rest: Any) -> list[Any]:
    gradients = [np.empty(w.shape) for w in weights]
    for w, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            moved = [array.astype(complex) for array in weights]
            moved[w][index] += 1e-200j
            gradient[index] = plain_cost(moved, *rest).imag / 1e-200
    return gradients


def distance(a: Any, b: Any) -> float:
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def targets(cost: str, m: int, K: int, rng: np.random.Generator) -> Any:
    """Labels that belong to the cost: soft, unnormalised, of either sign for squares."""
    if cost == "log-likelihood":
        return rng.integers(0, K, m)
    return rng.normal(size=(m, K)) if "squares" in cost else rng.uniform(size=(m, K))


def network(shape: Any, rng: np.random.Generator) -> tuple[list[Any], Any]:
    nin, nouts, m = shape
    sizes = [nin, *nouts]
    weights: list[Any] = []
    for fan_in, fan_out in itertools.pairwise(sizes):
        weights += [rng.normal(size=(fan_out, fan_in)), rng.normal(size=fan_out)]
    return weights, rng.normal(size=(m, nin))


@pytest.mark.parametrize(("output", "cost"), NOTES)
def test_delta_is_the_derivative_of_the_samples_cost_at_50_digits(output: str, cost: str) -> None:
    """delta[L] of each row is mpmath's derivative of the cost, as the notes write it, by each z."""
    import mpmath

    rng = np.random.default_rng(3)
    Z, K = rng.normal(size=(3, 4)), 4
    Y = targets(cost, 3, K, rng)
    pair = closed_form.pair_of(output, cost)
    delta = pair.delta(pair.output.g(Z.T), Y.T).T
    elementwise = {
        "sigmoid": lambda z: 1 / (1 + mpmath.exp(-z)),
        "identity": lambda z: z,
        "tanh": mpmath.tanh,
        "leaky relu": lambda z: z if z > 0 else mpmath.mpf(0.01) * z,
        "softplus": lambda z: mpmath.log(1 + mpmath.exp(z)),
    }

    def value(z: list[Any], y: Any) -> Any:
        if output == "softmax":
            total = mpmath.fsum(mpmath.exp(x) for x in z)
            a = [mpmath.exp(x) / total for x in z]
        else:
            a = [elementwise[output](x) for x in z]
        if cost == "log-likelihood":
            return -mpmath.log(a[y])
        ln = mpmath.log
        terms = {
            "binary cross-entropy": lambda a, y: -(y * ln(a) + (1 - y) * ln(1 - a)),
            "half squares": lambda a, y: (a - y) ** 2 / 2,
            "squares": lambda a, y: (a - y) ** 2,
            "cross-entropy": lambda a, y: -y * ln(a),
        }[cost]
        return mpmath.fsum(terms(p, q) for p, q in zip(a, y, strict=True))

    with mpmath.workdps(50):
        labels = Y.tolist() if cost == "log-likelihood" else [[mpmath.mpf(q) for q in y] for y in Y.tolist()]
        for i, k in np.ndindex(3, K):
            y = labels[i]
            z = [mpmath.mpf(float(x)) for x in Z[i]]
            exact = mpmath.diff(lambda x, k=k, z=z, y=y: value([*z[:k], x, *z[k + 1 :]], y), z[k])
            assert delta[i, k] == pytest.approx(float(exact), rel=1e-12, abs=1e-14)
        costs = [value([mpmath.mpf(x) for x in z], y) for z, y in zip(Z.tolist(), labels, strict=True)]
        mean = mpmath.fsum(costs) / 3
        assert closed_form.cost(Z.T, Y.T, pair) == pytest.approx(float(mean), rel=1e-14)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(("output", "cost"), NOTES)
def test_each_row_at_any_depth_in_both_layouts_is_the_complex_step(output: str, cost: str, shape: Any) -> None:
    """A different g in each hidden layer."""
    rng = np.random.default_rng(11)
    weights, X = network(shape, rng)
    L = len(shape[1])
    hidden = [HIDDEN[(i + len(cost)) % len(HIDDEN)] for i in range(L - 1)]
    Y = targets(cost, shape[2], shape[1][-1], rng)
    exact = complex_steps(weights, X, Y, hidden, output, cost)
    pair = closed_form.pair_of(output, cost)

    W, b = weights[::2], [b[:, None] for b in weights[1::2]]
    Z, A = closed_form.forward(X.T, W, b, hidden, pair)
    deltas, dW, db = closed_form.backward(A, Y.T, W, hidden, pair)
    assert [a.shape for a in A] == [(n, shape[2]) for n in (shape[0], *shape[1])]
    assert closed_form.cost(Z[-1], Y.T, pair) == pytest.approx(
        plain_cost(weights, X, Y, hidden, output, cost), rel=1e-13
    )
    for i in range(L):
        assert distance(dW[i], exact[2 * i]) < 1e-12
        assert distance(db[i][:, 0], exact[2 * i + 1]) < 1e-12

    W, b = [w.T for w in W], [b.T for b in b]
    Z_rows, A_rows = closed_form.forward_rows(X, W, b, hidden, pair)
    deltas_rows, dW_rows, db_rows = closed_form.backward_rows(A_rows, Y, W, hidden, pair)
    for i in range(L):
        assert Z_rows[i].shape == A_rows[i + 1].shape == deltas_rows[i].shape == Z[i].T.shape
        assert distance(deltas_rows[i], deltas[i].T) < 1e-12
        assert distance(dW_rows[i], exact[2 * i].T) < 1e-12
        assert db_rows[i].shape == (1, shape[1][i])
        assert distance(db_rows[i][0], exact[2 * i + 1]) < 1e-12


def test_the_row_layout_order_in_column_layout_runs_on_the_square_net_and_is_wrong() -> None:
    """`delta W^T`, as note 000 writes it: only the true oracle can tell, shapes cannot."""
    rng = np.random.default_rng(2)
    W, b = [rng.normal(size=(3, 3)) for _ in range(3)], [rng.normal(size=(3, 1)) for _ in range(3)]
    X, Y = rng.normal(size=(3, 3)), rng.uniform(size=(3, 3))
    _, A = closed_form.forward(X, W, b)
    deltas, _, _ = closed_form.backward(A, Y, W)
    assert distance(deltas[2] @ W[2].T * A[2] * (1 - A[2]), deltas[1]) > 0.1


MODELS = {  # output module of the model, loss: the row that they belong to
    ("identity", None): ("sigmoid", "binary cross-entropy"),
    ("sigmoid", None): ("sigmoid", "binary cross-entropy"),
    ("identity", nn.BCEWithLogitsLoss): ("sigmoid", "binary cross-entropy"),
    ("sigmoid", nn.BCELoss): ("sigmoid", "binary cross-entropy"),
    ("sigmoid", HalfMSELoss): ("sigmoid", "half squares"),
    ("sigmoid", nn.MSELoss): ("sigmoid", "squares"),
    ("identity", nn.MSELoss): ("identity", "squares"),
    ("identity", HalfMSELoss): ("identity", "half squares"),
    ("identity", nn.CrossEntropyLoss): ("softmax", "cross-entropy"),
    ("softmax", None): ("softmax", "cross-entropy"),
    ("softmax", HalfMSELoss): ("softmax", "half squares"),
    ("softmax", nn.MSELoss): ("softmax", "squares"),
    ("tanh", nn.MSELoss): ("tanh", "squares"),
    ("relu", HalfMSELoss): ("relu", "half squares"),
}


@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum"])
@pytest.mark.parametrize(("output", "loss"), MODELS)
def test_the_row_is_read_off_model_and_loss_and_its_reduction(output: str, loss: Any, reduction: str) -> None:
    """The mean over all m K elements is 1/K of the notes' cost, the sum m times; class costs have one a sample."""
    model = nn.MLP(4, [3, 3, 2], "tanh", output, rng=1)
    rng = np.random.default_rng(9)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.8, rng)
    X, Y = rng.normal(size=(5, 4)), rng.uniform(size=(5, 2))
    row = MODELS[output, loss]
    exact = complex_steps(list(model.state_dict().values()), X, Y, ["tanh", "tanh"], *row)
    factor = {"batchmean": 1, "mean": 1 if row[1] == "cross-entropy" else 1 / 2, "sum": 5}[reduction]
    made = loss and loss(reduction=reduction)
    found = closed_form.gradients(model, X, Y, made)
    for g, e in zip(found.values(), exact, strict=True):
        assert distance(g, e * (factor if made else 1)) < 1e-12
    if made:
        made(model(mg.Tensor(X)), Y).backward()
        for name, parameter in model.named_parameters():
            assert found[name].shape == parameter.shape
            assert distance(parameter.grad, found[name]) < 1e-12
    assert closed_form.read("", model, made, Y).pair.name == " + ".join(row)


@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum"])
@pytest.mark.parametrize("ending", ["logits", "softmax", "log softmax"])
def test_class_indices_one_hot_rows_and_logits_or_probabilities_are_one_row(ending: str, reduction: str) -> None:
    rng = np.random.default_rng(5)
    logits = nn.MLP(4, [3, 3], rng=1)
    ends = {"logits": nn.Identity, "softmax": nn.Softmax, "log softmax": layers.LogSoftmax}
    model = nn.Sequential(logits, ends[ending]())
    X, y = rng.normal(size=(5, 4)), rng.integers(0, 3, 5)
    exact = complex_steps(list(logits.state_dict().values()), X, y, ["sigmoid"], "softmax", "log-likelihood")
    with_loss = {"logits": nn.CrossEntropyLoss, "log softmax": losses.NLLLoss}
    loss = with_loss[ending](reduction=reduction) if ending in with_loss else None
    factor = 5 if reduction == "sum" and loss else 1
    for g, e in zip(closed_form.gradients(model, X, y, loss).values(), exact, strict=True):
        assert distance(g, factor * e) < 1e-12
    if ending == "logits":
        for g, e in zip(closed_form.gradients(model, X, np.eye(3)[y], loss).values(), exact, strict=True):
            assert distance(g, factor * e) < 1e-12


@pytest.mark.parametrize(
    "module",
    [
        nn.Sigmoid,
        nn.Tanh,
        nn.ReLU,
        nn.Identity,
        layers.LeakyReLU,
        layers.Softplus,
        layers.LogSigmoid,
        lambda: layers.Softplus(2.5),
    ],
)
def test_every_elementwise_activation_of_nn_is_read(module: Any) -> None:
    rng = np.random.default_rng(6)
    model = nn.Sequential(nn.Linear(3, 4, rng=0), module(), nn.Linear(4, 2, rng=1))
    X, Y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
    nn.BCEWithLogitsLoss(reduction="batchmean")(model(mg.Tensor(X)), Y).backward()
    found = closed_form.gradients(model, X, Y)
    for name, parameter in model.named_parameters():
        assert distance(found[name], parameter.grad) < 1e-13


def test_a_leaky_relu_keeps_its_slope_and_dropout_is_nothing_in_eval() -> None:
    rng = np.random.default_rng(6)
    X, Y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
    model = nn.Sequential(
        nn.Linear(3, 4, rng=0), layers.LeakyReLU(0.3), layers.Dropout(0.5, rng=0), nn.Linear(4, 2, rng=1), nn.Identity()
    )
    with pytest.raises(ValueError, match=r"got Linear, LeakyReLU, Dropout, Linear; model.eval\(\) puts Dropout"):
        closed_form.gradients(model, X, Y)
    model.eval()
    nn.BCEWithLogitsLoss(reduction="batchmean")(model(mg.Tensor(X)), Y).backward()
    found = closed_form.gradients(model, X, Y)
    for name, parameter in model.named_parameters():
        assert distance(found[name], parameter.grad) < 1e-13
    with pytest.raises(ValueError, match=r"needs a slope >= 0, got -0\.5"):
        closed_form.gradients(nn.Sequential(nn.Linear(3, 4), layers.LeakyReLU(-0.5), nn.Linear(4, 2)), X, Y)


def test_layers_without_bias_and_layers_in_two_places() -> None:
    """A shared layer gathers both contributions, under its one name; two Linear layers have the identity between."""
    rng = np.random.default_rng(4)
    shared, last = nn.Linear(3, 3, bias=False, rng=0), nn.Linear(3, 2, rng=1)
    model = nn.Sequential(shared, nn.Sigmoid(), shared, shared, nn.Sigmoid(), last)
    X, Y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2))
    closed = closed_form.gradients(model, X, Y)
    assert list(closed) == ["0.weight", "5.weight", "5.bias"]
    nn.BCEWithLogitsLoss(reduction="batchmean")(model(mg.Tensor(X)), Y).backward()
    for name, parameter in model.named_parameters():
        assert distance(closed[name], parameter.grad) < 1e-13


def test_canonical_links_have_one_delta() -> None:
    """(sigmoid, BCE), (softmax, log-likelihood) and (identity, half squares): C = F(z) - y^T z, grad F = a."""
    rng = np.random.default_rng(8)
    A, y = rng.uniform(size=(3, 5)), rng.integers(0, 3, 5)
    Y = closed_form.one_hot(y, 3)
    deltas = [
        closed_form.pair_of(output, cost).delta(A / A.sum(axis=0), y if cost == "log-likelihood" else Y)
        for output, cost in [NOTES[0], NOTES[4], NOTES[5], NOTES[6]]
    ]
    for delta in deltas:
        np.testing.assert_allclose(delta, A / A.sum(axis=0) - Y, atol=1e-16)


def test_unnormalised_targets_weigh_the_softmax() -> None:
    """A sum(Y) - Y, and not A - Y, where sum(Y) is not 1; its entries sum to 0 all the same."""
    pair = closed_form.pair_of("softmax", "cross-entropy")
    A, Y = np.array([[0.25], [0.75]]), np.array([[2.0], [1.0]])
    assert pair.delta(A, Y).tolist() == [[-1.25], [1.25]]


def test_two_class_softmax_is_the_sigmoid() -> None:
    """On logits (0, z): the same cost, and delta_1 = sigma(z) - y."""
    z, y = np.linspace(-30, 30, 13), np.arange(13) % 2
    Z = np.stack([np.zeros(13), z])
    pair = closed_form.pair_of("softmax", "log-likelihood")
    assert closed_form.cost(Z, y, pair) == pytest.approx(closed_form.cost(z[None], y[None]), rel=1e-15)
    np.testing.assert_allclose(
        pair.delta(pair.output.g(Z), y)[1], closed_form.BCE.delta(closed_form.sigma(z), y), rtol=1e-9, atol=1e-16
    )


@pytest.mark.parametrize("pair", closed_form.PAIRS, ids=lambda pair: pair.name)
def test_large_logits_are_finite(pair: Any) -> None:
    """No overflow and no warning at |z| = 1000, where the chains give nan."""
    Z = np.array([[1000.0, -1000.0], [-1000.0, 1000.0]])
    Y = np.array([0, 0]) if pair.cost == "log-likelihood" else np.array([[1.0, 1.0], [0.0, 0.0]])
    A = pair.output.g(Z)
    assert np.isfinite(pair.delta(A, Y)).all()
    assert np.isfinite(closed_form.cost(Z, Y, pair))


def test_sigma_and_cost_at_the_ends() -> None:
    assert closed_form.sigma(np.array([-1000.0, 0.0, 1000.0])).tolist() == [0.0, 0.5, 1.0]
    assert closed_form.cost(np.array([[1000.0, -1000.0]]), np.array([[0.0, 0.0]])) == 500.0
    pair = closed_form.pair_of("softmax", "log-likelihood")
    assert closed_form.cost(np.array([[1000.0], [0.0]]), np.array([1]), pair) == 1000.0


@pytest.mark.parametrize("g", HIDDEN)
def test_nan_and_infinity_are_not_hidden(g: str) -> None:
    """As the engine has them."""
    Z = np.array([np.nan, np.inf, -np.inf])
    words = {"relu": mg.relu, "leaky relu": mg.leaky_relu, "log sigmoid": mg.logsigmoid, "identity": lambda z: z}
    with np.errstate(invalid="ignore"):
        found = closed_form.ACTIVATIONS[g].g(Z)
    np.testing.assert_array_equal(found, words.get(g, getattr(mg, g, None))(mg.Tensor(Z)).numpy())


@pytest.mark.parametrize("pair", closed_form.PAIRS, ids=lambda pair: pair.name)
@pytest.mark.parametrize("hidden", HIDDEN)
def test_float32_stays(pair: Any, hidden: str) -> None:
    rng = np.random.default_rng(0)
    W = [rng.normal(size=(3, 3)).astype(np.float32) for _ in range(2)]
    b = [np.zeros((3, 1), np.float32)] * 2
    X = rng.normal(size=(3, 4)).astype(np.float32)
    Y = np.array([0, 1, 2, 0]) if pair.cost == "log-likelihood" else X * 0
    _, A = closed_form.forward(X, W, b, hidden, pair)
    arrays = [*A, *itertools.chain(*closed_form.backward(A, Y, W, hidden, pair))]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_a_float32_model_has_float32_gradients() -> None:
    model = nn.MLP(2, [3, 2], rng=0, dtype=np.float32)
    assert {g.dtype for g in closed_form.gradients(model, np.eye(2), np.eye(2)).values()} == {np.dtype(np.float32)}
    assert {g.dtype for g in closed_form.gradients(model, np.eye(2), [0, 1], nn.CrossEntropyLoss()).values()} == {
        np.dtype(np.float32)
    }


# Errors


@pytest.mark.parametrize(
    ("output", "loss", "message"),
    [
        ("sigmoid", nn.BCEWithLogitsLoss(), r"sigmoid \+ nn.BCEWithLogitsLoss is no row"),
        ("identity", nn.BCELoss(), r"identity \+ nn.BCELoss is no row"),
        ("softmax", nn.CrossEntropyLoss(), r"softmax \+ nn.CrossEntropyLoss is no row"),
        ("tanh", None, r"tanh \+ no loss is no row"),
        ("identity", losses.NLLLoss(), r"identity \+ nn.NLLLoss is no row"),
        ("identity", losses.L1Loss(), r"identity \+ nn.L1Loss is no row"),
        ("log softmax", nn.MSELoss(), r"log softmax \+ squares is no row"),
    ],
)
def test_a_wrong_pairing_is_answered_by_the_table(output: str, loss: Any, message: str) -> None:
    model: Any = nn.MLP(2, [2], output="identity" if output == "log softmax" else output, rng=0)
    if output == "log softmax":
        model = nn.Sequential(model, layers.LogSoftmax())
    with pytest.raises(ValueError, match=message) as caught:
        closed_form.gradients(model, np.eye(2), np.eye(2), loss)
    text = str(caught.value)
    assert closed_form.table() in text
    assert all(pair.name in text and pair.formula in text and pair.modules in text for pair in closed_form.PAIRS)
    assert "test_closed_form.py:" in text


def test_the_table_lists_each_row_of_the_notes() -> None:
    assert [(pair.output.name, pair.cost) for pair in closed_form.PAIRS] == NOTES[:9]
    assert len(closed_form.table().splitlines()) == 12


class BCELoss(nn.BCELoss):  # a user's, of the same name
    pass


@pytest.mark.parametrize(
    ("loss", "Y", "error", "message"),
    [
        (
            nn.BCEWithLogitsLoss,
            np.eye(2),
            TypeError,
            r"expected a loss of nn, got .*: write .*nn.BCEWithLogitsLoss\(\)",
        ),
        ("bce", np.eye(2), TypeError, "expected a loss of nn, got 'bce'"),
        (BCELoss(), np.eye(2), ValueError, r"identity \+ BCELoss is no row"),
        (nn.BCEWithLogitsLoss(pos_weight=[2.0, 1.0]), np.eye(2), ValueError, "have no pos_weight"),
        (nn.CrossEntropyLoss(weight=[2.0, 1.0]), [0, 1], ValueError, "have no weight"),
        (nn.CrossEntropyLoss(label_smoothing=0.1), [0, 1], ValueError, "have no label_smoothing"),
        (nn.CrossEntropyLoss(ignore_index=1), [0, 1], ValueError, "ignore no index"),
        (nn.MSELoss(reduction="none"), np.eye(2), ValueError, "'none' leaves no single cost"),
        (nn.CrossEntropyLoss(), [0, 2], ValueError, "Y holds the class 2, expected 0 to 1"),
        (nn.CrossEntropyLoss(), [0, -1], ValueError, "Y holds the class -1"),
        (nn.CrossEntropyLoss(), [0.0, 1.0], TypeError, "class indices must be integers, got float64"),
        (nn.CrossEntropyLoss(), [[0], [1]], ValueError, r"Y has shape \(2, 1\), expected \(m, 2\) and \(m, 2\)"),
        (nn.CrossEntropyLoss(), [0, 1, 1], ValueError, r"Y has shape \(3,\), expected \(m, 2\) and \(m,\) of class"),
        (nn.CrossEntropyLoss(), [[1, 0], [-1, 0]], ValueError, "Y holds -1, expected probabilities"),
        (nn.MSELoss(), [[1, 0], [np.inf, 0]], ValueError, "Y holds inf at"),
    ],
)
def test_losses_and_targets_that_do_not_belong(loss: Any, Y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?s){message}.*at test_closed_form.py"):
        closed_form.gradients(nn.MLP(2, [2], rng=0), np.eye(2), Y, loss)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: closed_form.pair_of("swish", "squares"), "'swish' is no activation, expected one of sigmoid, tanh"),
        (lambda: closed_form.pair_of("sigmoid", "hinge"), r"sigmoid \+ hinge is no row"),
        (lambda: closed_form.forward(np.eye(2), [np.eye(2)] * 3, [0] * 3, ["tanh"]), "2 hidden layers and 1 activ"),
        (
            lambda: closed_form.forward(np.eye(2), [np.eye(2)] * 2, [0] * 2, "softmax"),
            "softmax is no activation of a h",
        ),
    ],
)
def test_unknown_names(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


@pytest.mark.parametrize(
    ("model", "X", "Y", "message"),
    [
        (nn.Sequential(nn.Sigmoid()), (4, 2), (4, 2), "got Sigmoid"),
        (nn.Sequential(), (4, 2), (4, 2), "got nothing"),
        (nn.Sequential(nn.Linear(2, 2), nn.Sigmoid(), nn.Tanh()), (4, 2), (4, 2), "got Linear, Sigmoid, Tanh"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.Softmax(), nn.Linear(2, 2)),
            (4, 2),
            (4, 2),
            "softmax is no activation of a",
        ),
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
    ("model", "message"),
    [
        (nn.MLP, "expected an nn.MLP or nn.Sequential, got <class"),
        (lambda x: x, "expected an nn.MLP or nn.Sequential, got <function"),
        (nn.scalar.MLP(2, [1]), r"nn.to_array makes arrays of a model of Values"),
    ],
)
def test_what_is_no_module(model: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"(?s)closed_form.gradients: .*{message}.*at test_closed_form.py"):
        closed_form.gradients(model, np.eye(2), np.eye(2)[:, :1])


class Doubled(nn.Linear):
    def forward(self, input: mg.Tensor) -> mg.Tensor:
        return 2 * super().forward(input)


class Residual(nn.Sequential):
    def forward(self, input: mg.Tensor) -> mg.Tensor:
        return input + super().forward(input)


class Scaled(nn.MLP):
    def __init__(self) -> None:
        super().__init__(2, [2], rng=0)
        self.scale = nn.Parameter(1.0)


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (Doubled(2, 2, rng=0), "got Doubled"),
        (Residual(nn.Linear(2, 2, rng=0)), "got Residual"),
        (Scaled(), "got Linear"),
        (
            nn.Sequential(nn.Linear(2, 2), nn.Softmax(axis=0)),
            r"softmax over the outputs, axis -1, got Softmax\(axis=0\)",
        ),
    ],
)
def test_what_computes_something_else_is_not_taken_for_a_plain_network(model: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        closed_form.gradients(model, np.eye(2), np.eye(2))


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


@pytest.mark.oracles
@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize(
    ("output", "loss", "name", "factor"),
    [
        ("sigmoid", nn.BCELoss, "BCELoss", 1),
        ("identity", nn.BCEWithLogitsLoss, "BCEWithLogitsLoss", 1),
        ("sigmoid", HalfMSELoss, "MSELoss", 0.5),
        ("sigmoid", nn.MSELoss, "MSELoss", 1),
        ("identity", nn.MSELoss, "MSELoss", 1),
        ("identity", HalfMSELoss, "MSELoss", 0.5),
        ("identity", nn.CrossEntropyLoss, "CrossEntropyLoss", 1),
        ("log_softmax", losses.NLLLoss, "NLLLoss", 1),
        ("softmax", HalfMSELoss, "MSELoss", 0.5),
        ("tanh", nn.MSELoss, "MSELoss", 1),
    ],
)
def test_torch_finds_the_same(output: str, loss: Any, name: str, factor: float, reduction: str) -> None:
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    model = nn.MLP(3, [4, 3], "tanh", output, rng=0)
    X, Y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    if "NLL" in name:
        Y = rng.integers(0, 3, 5)
    weights = [torch.tensor(w, requires_grad=True) for w in model.state_dict().values()]
    hidden = torch.tanh(torch.tensor(X) @ weights[0].T + weights[1])
    last = {
        "sigmoid": torch.sigmoid, "identity": lambda z: z, "tanh": torch.tanh,
        "softmax": lambda z: torch.softmax(z, 1), "log_softmax": lambda z: torch.log_softmax(z, 1),
    }[output]  # fmt: skip
    cost = getattr(torch.nn, name)(reduction=reduction)(last(hidden @ weights[2].T + weights[3]), torch.tensor(Y))
    (factor * cost).backward()
    found = closed_form.gradients(model, X, Y, loss(reduction=reduction))
    for gradient, weight in zip(found.values(), weights, strict=True):
        assert distance(gradient, weight.grad.numpy()) < 1e-13
