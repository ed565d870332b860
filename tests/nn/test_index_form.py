"""The loops of the index form are the matrices of the closed form and the gradients of autograd (S15)."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest

import microgrid as mg
import nn
from nn import index_form

COSTS = {
    "binary cross-entropy": (nn.BCELoss(reduction="batchmean"), "sigmoid"),
    "squares": (nn.MSELoss(reduction="batchmean"), None),
    "half squares": (nn.HalfMSELoss(reduction="batchmean"), None),
}
NETS = {"one neuron": (3, [1], 4), "4-3-2": (4, [3, 2], 5), "square": (3, [3, 3, 3], 3), "deep": (2, [4, 2, 3, 2], 6)}


def network(shape: str, activation: str, output: str) -> tuple[nn.MLP, np.ndarray, np.ndarray]:
    nin, nouts, m = NETS[shape]
    rng = np.random.default_rng(11)
    model = nn.MLP(nin, nouts, activation=activation, output=output, rng=rng)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.8, rng)
    return model, rng.normal(size=(m, nin)), rng.uniform(size=(m, nouts[-1]))


def close(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    assert found.keys() == expected.keys()
    for name, gradient in expected.items():
        assert found[name].shape == gradient.shape
        np.testing.assert_allclose(found[name], gradient, rtol=1e-11, atol=1e-14)


def autograd(model: nn.Module, X: np.ndarray, Y: np.ndarray, loss: nn.Loss) -> dict[str, np.ndarray]:
    model.zero_grad()
    loss(model(mg.Tensor(X)), Y).backward()
    return {name: p.grad for name, p in model.named_parameters()}


@pytest.mark.parametrize("shape", NETS)
def test_loops_are_the_matrices_and_autograd_for_sigmoid_and_bce(shape: str) -> None:
    """loops = matrix form = autograd; the same for logits with the fused loss; A - Y where the notes have it."""
    model, X, Y = network(shape, "sigmoid", "sigmoid")
    found = index_form.gradients(model, X, Y)
    close(found, nn.closed_form.gradients(model, X, Y))
    close(found, autograd(model, X, Y, nn.BCELoss(reduction="batchmean")))
    logits, _, _ = network(shape, "sigmoid", "identity")
    close(index_form.gradients(logits, X, Y), found)
    close(index_form.gradients(logits, X, Y, nn.BCEWithLogitsLoss()), autograd(logits, X, Y, nn.BCEWithLogitsLoss()))


@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "relu", "leaky_relu", "softplus", "identity"])
@pytest.mark.parametrize("cost", COSTS)
def test_any_activation_and_cost(activation: str, cost: str) -> None:
    """Against autograd, through four layers; the output's g is the hidden one's where the cost allows it."""
    loss, output = COSTS[cost]
    model, X, Y = network("deep", activation, output or activation)
    close(index_form.gradients(model, X, Y, loss), autograd(model, X, Y, loss))


def test_reductions_slopes_a_missing_bias_and_a_layer_in_two_places() -> None:
    tied = nn.Linear(3, 3, rng=1)
    model = nn.Sequential(
        nn.Linear(2, 3, bias=False, rng=0), nn.LeakyReLU(0.3), tied, nn.LogSigmoid(),
        nn.Sequential(tied, nn.Softplus(2.0)),
    )  # fmt: skip
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(4, 2)), rng.normal(size=(4, 3))
    for reduction in ("mean", "sum", "batchmean"):
        loss = nn.MSELoss(reduction=reduction)
        found = index_form.gradients(model, X, Y, loss)
        assert list(found) == ["0.weight", "2.weight", "2.bias"]
        close(found, autograd(model, X, Y, loss))


def test_the_derivatives_of_one_datapoint_are_those_of_the_cost() -> None:
    """dC/da_n of the input, dC/dW_mn and dC/db_m of every layer: central differences of C, written out once more."""
    W = [[[0.5, -0.25, 1.0], [0.75, 0.1, -0.6]], [[0.3, -0.8], [1.1, 0.2], [-0.4, 0.9]]]
    b = [[0.1, -0.2], [0.3, 0.0, -0.5]]
    x, y = [0.5, -1.5, 2.0], [1.0, 0.0, 0.25]

    def C() -> float:
        h = [math.tanh(sum(w * v for w, v in zip(row, x, strict=True)) + c) for row, c in zip(W[0], b[0], strict=True)]
        z = [sum(w * v for w, v in zip(row, h, strict=True)) + c for row, c in zip(W[1], b[1], strict=True)]
        a = [1 / (1 + math.exp(-t)) for t in z]
        return sum((p - t) ** 2 for p, t in zip(a, y, strict=True))

    def difference(numbers: list[float], i: int) -> float:
        kept, h = numbers[i], 1e-5
        numbers[i] = kept + h
        above = C()
        numbers[i] = kept - h
        below = C()
        numbers[i] = kept
        return (above - below) / (2 * h)

    g = [index_form.TANH, index_form.SIGMOID]
    z, a = index_form.forward(x, W, b, g)
    cost = index_form.SQUARES
    assert sum(map(cost.c, a[-1], y)) == pytest.approx(C(), rel=1e-14)
    assert [len(each) for each in z] == [2, 3]
    assert [len(each) for each in a] == [3, 2, 3]
    dC_da, dC_dW, dC_db = index_form.backward(z, a, y, W, g, cost)
    assert dC_da[0] == pytest.approx([difference(x, n) for n in range(3)], rel=1e-7)
    assert dC_da[2] == pytest.approx([2 * (p - t) for p, t in zip(a[2], y, strict=True)])
    for layer in range(2):
        assert dC_db[layer] == pytest.approx([difference(b[layer], m) for m in range(len(b[layer]))], rel=1e-7)
        for row, weights in zip(dC_dW[layer], W[layer], strict=True):
            assert row == pytest.approx([difference(weights, n) for n in range(len(weights))], rel=1e-7)


@pytest.mark.parametrize("cost", index_form.COSTS)
def test_each_cost_has_its_derivative(cost: str) -> None:
    """c' by central differences of c; binary cross-entropy is -[y ln a + (1 - y) ln(1 - a)]."""
    c, c_prime = index_form.COSTS[cost]
    for a, y in ((0.3, 1.0), (0.9, 0.25), (0.5, 0.0)):
        assert c_prime(a, y) == pytest.approx((c(a + 1e-6, y) - c(a - 1e-6, y)) / 2e-6, rel=1e-7, abs=1e-9)
    assert index_form.BINARY_CROSS_ENTROPY.c(0.25, 1.0) == math.log(4)
    assert (index_form.SQUARES.c(3.0, 1.0), index_form.HALF_SQUARES.c(3.0, 1.0)) == (4.0, 2.0)


def test_the_loops_run_on_exact_numbers() -> None:
    """With g and the cost of fractions, so are the derivatives: 2 (a - y) x = 2 (1/2 - 1) 1/3."""
    g, cost = [index_form.IDENTITY], index_form.SQUARES
    W, b = [[[Fraction(3, 2)]]], [[Fraction(0)]]
    z, a = index_form.forward([Fraction(1, 3)], W, b, g)
    _, dC_dW, _ = index_form.backward(z, a, [Fraction(1)], W, g, cost)
    assert dC_dW == [[[Fraction(-1, 3)]]]


def test_the_step_averages_over_the_datapoints() -> None:
    """W <- W - rho 1/D sum_d dC_d/dW (002, lines 57-67): one step of SGD on the mean of the costs."""
    model, X, Y = network("4-3-2", "sigmoid", "sigmoid")
    W, b = nn.closed_form.weights([layer for layer in model.layers if isinstance(layer, nn.Linear)])
    W, b = [w.tolist() for w in W], [[m for (m,) in c.tolist()] for c in b]
    g, cost = [index_form.SIGMOID] * 2, index_form.BINARY_CROSS_ENTROPY
    each = []
    for x, y in zip(X.tolist(), Y.tolist(), strict=True):
        z, a = index_form.forward(x, W, b, g)
        each.append(list(index_form.backward(z, a, y, W, g, cost)[1:]))
    dW, db = index_form.average(each)
    W, b = index_form.update(W, dW, 0.5), index_form.update(b, db, 0.5)
    autograd(model, X, Y, nn.BCELoss(reduction="batchmean"))
    nn.optim.SGD(model.parameters(), lr=0.5).step()
    for layer, W_l, b_l in zip((model.layers[0], model.layers[2]), W, b, strict=True):
        np.testing.assert_allclose(W_l, layer.weight.detach().numpy(), rtol=1e-12)
        np.testing.assert_allclose(b_l, layer.bias.detach().numpy(), rtol=1e-12)


def test_sigma_is_right_far_out() -> None:
    assert (index_form.sigma(-1000.0), index_form.sigma(1000.0)) == (0.0, 1.0)
    assert index_form.sigma(-700.0) == pytest.approx(math.exp(-700), rel=1e-15)


def test_dC_dz_of_softmax_and_log_likelihood_is_a_sum_y_minus_y() -> None:
    """sum_j -y_j/a_j a_j (d_jk - a_k) = a_k sum_j y_j - y_k, for e_y, probabilities and counts; a_j' by differences."""
    z = [0.5, -1.25, 2.0]
    a = index_form.softmax(z)
    assert a == pytest.approx([math.exp(v) / sum(map(math.exp, z)) for v in z], rel=1e-15)
    assert index_form.softmax([1000.0, -1000.0]) == [1.0, 0.0]
    for k in range(3):
        above, below = ([v + h * (k == i) for i, v in enumerate(z)] for h in (1e-6, -1e-6))
        for j in range(3):
            slope = (index_form.softmax(above)[j] - index_form.softmax(below)[j]) / 2e-6
            assert index_form.SOFTMAX.g_prime(a, j, k) == pytest.approx(slope, abs=1e-9)
    for y in ([0.0, 1.0, 0.0], [0.25, 0.25, 0.5], [3.0, 0.0, 4.5]):
        W = [[[1.0 if n == m else 0.0 for n in range(3)] for m in range(3)]]
        found = index_form.backward([z], [z, a], y, W, [index_form.SOFTMAX], index_form.LOG_LIKELIHOOD)
        assert found[2][0] == pytest.approx([a_k * sum(y) - y_k for a_k, y_k in zip(a, y, strict=True)], abs=1e-15)


SOFTMAX_ROWS = {
    "logits, classes": ("identity", nn.CrossEntropyLoss, "classes"),
    "logits, probabilities": ("identity", nn.CrossEntropyLoss, "probabilities"),
    "logits, counts": ("identity", nn.CrossEntropyLoss, "counts"),
    "log softmax, classes": ("log_softmax", nn.NLLLoss, "classes"),
    "softmax, classes": ("softmax", None, "classes"),
    "softmax, counts": ("softmax", None, "counts"),
    "softmax, squares": ("softmax", nn.MSELoss, "probabilities"),
    "softmax, half squares": ("softmax", nn.HalfMSELoss, "probabilities"),
}


@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
@pytest.mark.parametrize("shape", NETS)
@pytest.mark.parametrize("row", SOFTMAX_ROWS)
def test_loops_are_the_matrices_and_autograd_for_softmax(row: str, shape: str, reduction: str) -> None:
    output, kind, targets = SOFTMAX_ROWS[row]
    model, X, Y = network(shape, "tanh", output)
    Y = {"classes": np.arange(len(X)) % Y.shape[1], "counts": 5 * Y}.get(targets, Y / Y.sum(axis=1, keepdims=True))
    loss = kind and kind(reduction=reduction)
    found = index_form.gradients(model, X, Y, loss)
    close(found, nn.closed_form.gradients(model, X, Y, loss))
    if loss is not None:
        close(found, autograd(model, X, Y, loss))


def far() -> nn.MLP:
    model = nn.MLP(2, [2], output="log_softmax", rng=0)
    model.layers[0].weight.data = np.eye(2)
    return model


FAR = far()
SIGMOID_NET = nn.MLP(2, [2], output="sigmoid", rng=0)
ONE = [[[0.5, 1.0]]]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: index_form.gradients(FAR, [[1e4, -1e4]], [1], nn.NLLLoss()), r"divides by a, .*closed_form"),
        (lambda: index_form.gradients(nn.MLP(2, [2]), [[1, 2]], [2], nn.CrossEntropyLoss()), "holds the class 2"),
        (lambda: index_form.gradients(SIGMOID_NET, [[1.0]], [[1, 0]]), r"X has shape \(1, 1\)"),
        (lambda: index_form.gradients(SIGMOID_NET, [[1e4, 1e4]], [[1, 0]]), r"divides by a \(1 - a\).*closed_form"),
        (lambda: index_form.gradients(nn.Sequential(nn.Flatten()), [[1.0]], [[1.0]]), "got Flatten"),
        (lambda: index_form.forward([1.0], ONE, [[0.0]], [index_form.TANH]), r"in layer 0, W has rows of \[2\]"),
        (lambda: index_form.forward([1.0, 2.0], ONE, [[0.0, 1.0]], [index_form.TANH]), "b has 2, expected rows of 2"),
        (lambda: index_form.forward([1.0, 2.0], ONE, [], [index_form.TANH]), "1 matrices W, 0 vectors b and 1"),
        (
            lambda: index_form.backward([[0.5]], [[1.0, 0.0], [0.5]], [1.0, 2.0], ONE, [index_form.IDENTITY],
                                        index_form.SQUARES),
            "1 outputs and 2 targets",
        ),
    ],
)  # fmt: skip
def test_what_is_refused(call: object, message: str) -> None:
    with pytest.raises(ValueError, match=rf"(?s){message}.*, at test_index_form\.py:\d+|(?s:{message}.*\nat test_)"):
        call()
