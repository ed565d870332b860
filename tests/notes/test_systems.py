"""The systems that the notes describe, S1 to S25: each works, and is held against something that is not microgrid.

Oracles: loops of mpmath's numbers, complex steps and central differences of the plain code below, SymPy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies

import microgrid as mg
import nn
from nn import closed_form, index_form

SEEDS = strategies.integers(0, 2**32 - 1)


# Plain code, for real and complex numbers: row layout, weights W1, b1, W2, b2, ...


def sigma(Z: Any) -> Any:
    return 1 / (1 + np.exp(-Z))


def forward(weights: list[Any], X: Any, g: Callable[[Any], Any] = sigma, last: Callable[[Any], Any] = sigma) -> Any:
    A = X
    for i in range(0, len(weights), 2):
        A = (last if i + 2 == len(weights) else g)(A @ weights[i].T + weights[i + 1])
    return A


def bce(weights: list[Any], X: Any, Y: Any) -> Any:
    A = forward(weights, X)
    return -(Y * np.log(A) + (1 - Y) * np.log(1 - A)).sum(axis=1).mean()


def half_squares(weights: list[Any], X: Any, Y: Any) -> Any:
    return ((forward(weights, X) - Y) ** 2).sum(axis=1).mean() / 2


def complex_step(cost: Callable[..., Any], weights: list[Any], *rest: Any) -> list[Any]:
    gradients = [np.empty(w.shape) for w in weights]
    for w, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            moved = [np.array(array, complex) for array in weights]
            moved[w][index] += 1e-200j
            gradient[index] = cost(moved, *rest).imag / 1e-200
    return gradients


def differences(cost: Callable[..., Any], weights: list[Any], *rest: Any) -> list[Any]:
    gradients = [np.empty(w.shape) for w in weights]
    h = np.finfo(float).eps ** (1 / 3)
    for w, gradient in enumerate(gradients):
        for index in np.ndindex(gradient.shape):
            above, below = [np.array(a) for a in weights], [np.array(a) for a in weights]
            above[w][index] += h
            below[w][index] -= h
            gradient[index] = (cost(above, *rest) - cost(below, *rest)) / (2 * h)
    return gradients


def distance(a: Any, b: Any) -> float:
    """Norm-wise, relative."""
    a, b = np.asarray(a), np.asarray(b)
    assert a.shape == b.shape
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def network(nin: int, nouts: list[int], m: int, seed: int = 7, **options: Any) -> tuple[nn.MLP, Any, Any]:
    """A model with biases that are not 0, its samples, and labels: soft ones, and a hard row."""
    rng = np.random.default_rng(seed)
    model = nn.MLP(nin, nouts, rng=rng, **options)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.8, rng)
    Y = rng.uniform(size=(m, nouts[-1]))
    Y[0] = Y[0] > 0.5
    return model, rng.normal(size=(m, nin)), Y


def weights_of(model: nn.Module) -> list[Any]:
    return list(model.state_dict().values())


def nodes_of(model: nn.Sequential, X: Any) -> list[mg.Tensor]:
    """Z[1], A[1], Z[2], ...: what each module gives."""
    nodes = [mg.Tensor(X)]
    for module in model:
        nodes.append(module(nodes[-1]))
    return nodes[1:]


# depth 1, 2, 3 and 5; the square one has as many samples as units
NETS = [(3, [2], 5), (4, [3, 2], 5), (3, [3, 3, 3], 3), (3, [4, 2, 5, 3, 2], 6)]
nets = pytest.mark.parametrize("net", NETS, ids=str)


@nets
def test_S01_sigmoid_layer_forward(net: Any) -> None:
    """Sigmoid neuron/layer forward: z = w a + b, a = sigma(z), vectors and batches."""
    import mpmath

    model, X, _ = network(*net, output="sigmoid")
    W, b = closed_form.weights([layer for layer in model.layers if isinstance(layer, nn.Linear)])
    Z, A = closed_form.forward(X.T, W, b)
    assert [z.shape for z in Z] == [(n, net[2]) for n in net[1]]
    assert [a.shape for a in A] == [(n, net[2]) for n in (net[0], *net[1])]
    given = model(mg.Tensor(X))  # (m, n_L)
    with mpmath.workdps(50):
        for i, x in enumerate(X):
            a = [mpmath.mpf(v) for v in x]
            for W_l, b_l in zip(W, b, strict=True):
                z = [
                    mpmath.fsum(mpmath.mpf(w) * v for w, v in zip(row, a, strict=True)) + b_lj[0]
                    for row, b_lj in zip(W_l, b_l, strict=True)
                ]
                a = [1 / (1 + mpmath.exp(-v)) for v in z]
            exact = [float(v) for v in a]
            np.testing.assert_allclose(A[-1][:, i], exact, rtol=1e-14)
            np.testing.assert_allclose(given.detach().numpy()[i], exact, rtol=1e-14)
            np.testing.assert_allclose(model(mg.Tensor(x)).detach().numpy(), exact, rtol=1e-14)  # a vector


@nets
def test_S02_sigmoid_mlp_by_the_shortcut(net: Any) -> None:
    """Sigmoid MLP, any depth, BCE, gradients by the shortcut delta = A - Y and W^T delta A(1-A)."""
    model, X, Y = network(*net)
    exact = complex_step(bce, weights_of(model), X, Y)
    differ = differences(bce, weights_of(model), X, Y)
    closed = closed_form.gradients(model, X, Y)
    nn.BCEWithLogitsLoss(reduction="batchmean")(model(mg.Tensor(X)), Y).backward()
    for (name, parameter), e, d in zip(model.named_parameters(), exact, differ, strict=True):
        assert distance(closed[name], e) < 1e-13
        assert distance(parameter.grad, e) < 1e-13
        assert distance(d, e) < 1e-7


@nets
def test_S03_the_full_chain(net: Any) -> None:
    """The same by the full chain C<-A<-Z, no shortcut (autograd): A.grad and Z.grad can be read, Z.grad = (A-Y)/m."""
    model, X, Y = network(*net, output="sigmoid")
    nodes = nodes_of(model.layers, X)
    Z, A = nodes[0::2], nodes[1::2]
    nn.BCELoss(reduction="batchmean")(A[-1], Y).backward()
    m, a = net[2], A[-1].detach().numpy()
    assert distance(A[-1].grad, -(Y / a - (1 - Y) / (1 - a)) / m) < 1e-13
    assert distance(Z[-1].grad, (a - Y) / m) < 1e-13
    for i, layer in enumerate(list(model.layers)[2::2]):  # row layout
        assert distance(A[i].grad, Z[i + 1].grad @ layer.weight.detach().numpy()) < 1e-13
        a = A[i].detach().numpy()
        assert distance(Z[i].grad, A[i].grad * a * (1 - a)) < 1e-13


@nets
def test_S04_comparison_of_autograd_and_A_minus_Y(net: Any) -> None:
    """Comparison "autograd versus A - Y" report: a table of the maximal error per layer."""
    model, X, Y = network(*net)
    report = nn.compare(model, X, Y)
    assert [row["layer"] for row in report.layers()] == [f"layers.{2 * i}" for i in range(len(net[1]))]
    for row in report.layers():
        assert max(row["chain"], row["fused"], row["complex"]) < 1e-12
        assert 0 < row["differences"] < 1e-7
        assert f"worst of {row['layer']}" in str(report)


@pytest.mark.parametrize("y", [0.0, 0.3, 1.0])
def test_S04_the_limits_of_the_chain_are_shown(y: float) -> None:
    """From z = 36.7368 = 53 ln 2 on, and below -709.78, the chain is not finite for any Y.

    A - Y stays finite, right to the last digit of 1 (which 1 - A loses); the loss on logits, to its own last digit.
    """
    cliff = 53 * math.log(2)
    for z, finite in [(-1000, False), (-709.79, False), (-709.77, True), (36.7, True), (cliff + 1e-4, False)]:
        model = nn.MLP(1, [1], rng=0)
        model.load_state_dict({"layers.0.weight": [[0.0]], "layers.0.bias": [z]})
        report = nn.compare(model, [[1.0]], [[y]])
        assert report.not_finite == ([] if finite else ["chain"])
        assert ("NOT FINITE: chain" in str(report)) is not finite

        Z = model(mg.Tensor([[1.0]]))
        nn.BCELoss()(mg.sigmoid(Z), [[y]]).backward()
        assert np.isfinite(Z.grad).all() == finite
        e = math.exp(-abs(z))
        at_z, at_minus_z = (1 / (1 + e), e / (1 + e)) if z > 0 else (e / (1 + e), 1 / (1 + e))
        exact = (1 - y) * at_z - y * at_minus_z  # A - Y without a difference of near numbers
        model.zero_grad()
        nn.BCEWithLogitsLoss()(model(mg.Tensor([[1.0]])), [[y]]).backward()
        assert model.layers[0].bias.grad.item() == pytest.approx(exact, rel=1e-15, abs=1e-307)
        closed = closed_form.gradients(model, [[1.0]], [[y]])["layers.0.bias"].item()
        assert abs(closed - exact) < 1.2e-16


def test_S05_chain_viewer() -> None:
    """Computation-graph chain viewer C<-A[L]<-Z[L]<-..., with W, b entering Z: a net of 2 layers, in that order."""
    drawn = str(nn.chain(nn.MLP(3, [4, 2], output="sigmoid", rng=0))).splitlines()
    (line,) = [i for i, text in enumerate(drawn) if text.startswith("C")]
    assert "".join(drawn[line].split()) == "C<-A[2]<-Z[2]<-A[1]<-Z[1]<-X"
    assert drawn[line - 2].split() == ["W[2]", "W[1]"]
    assert drawn[line + 2].split() == ["b[2]", "b[1]"]
    for letter, row in [("W", line - 2), ("b", line + 2)]:
        for number in "12":  # beside the Z that it enters
            assert abs(drawn[row].index(f"{letter}[{number}]") - drawn[line].index(f"Z[{number}]")) <= 3


@nets
def test_S06_mean_square_error(net: Any) -> None:
    """Sigmoid network with mean square error, C = 1/(2n) sum norm^2, delta by (6)-(10); (8) as corrected."""
    model, X, Y = network(*net, output="sigmoid")
    loss = nn.HalfMSELoss(reduction="batchmean")
    nodes = nodes_of(model.layers, X)
    cost = loss(nodes[-1], Y)
    n = net[2]
    norms = [np.linalg.norm(y - a) for y, a in zip(Y, nodes[-1].detach().numpy(), strict=True)]
    assert cost.item() == pytest.approx(sum(norm**2 for norm in norms) / (2 * n), rel=1e-14)  # (5)
    cost.backward()
    W = weights_of(model)[::2]
    A, Z_grad = [X.T, *[a.detach().numpy().T for a in nodes[1::2]]], [z.grad.T for z in nodes[0::2]]
    delta = (A[-1] - Y.T) * A[-1] * (1 - A[-1])  # (6) with (7)
    exact = complex_step(half_squares, weights_of(model), X, Y)
    closed = list(closed_form.gradients(model, X, Y, loss).values())
    for i in reversed(range(len(W))):
        assert distance(n * Z_grad[i], delta) < 1e-12
        assert distance(exact[2 * i + 1], delta.sum(axis=1) / n) < 1e-12  # (9)
        assert distance(exact[2 * i], delta @ A[i].T / n) < 1e-12  # (10)
        assert max(distance(closed[2 * i], exact[2 * i]), distance(closed[2 * i + 1], exact[2 * i + 1])) < 1e-12
        if i:
            gradient = W[i].T @ delta  # (8): the gradient by a^l, without sigma'
            slope = A[i] * (1 - A[i])
            assert distance(n * nodes[2 * i - 1].grad.T, gradient) < 1e-12
            assert distance(gradient * slope * slope, n * Z_grad[i - 1]) > 0.5  # as written: sigma' twice
            delta = gradient * slope


def test_S07_derivation_of_the_cross_entropys_derivative() -> None:
    """Cross-entropy on one output, step-by-step derivation C'(b) = a - y: each line true in SymPy and numerically."""
    import sympy

    w, x, b, y = sympy.symbols("w x b y", real=True)
    a = 1 / (1 + sympy.exp(-(w * x + b)))
    E, G = sympy.log(a), sympy.log(1 - a)
    D = y * E + (1 - y) * G
    C = -D
    slope = sympy.diff(a, b)
    numbers = {w: 0.7, x: -1.3, b: 0.4, y: 0.3}
    lines = {  # the left is differentiated, the right is what the note writes
        "sigma' = a (1 - a)": (slope, a * (1 - a)),
        "C' = -D'": (sympy.diff(C, b), -sympy.diff(D, b)),
        "D' = y E' + (1-y) G'": (sympy.diff(D, b), y * sympy.diff(E, b) + (1 - y) * sympy.diff(G, b)),
        "E' = (1/a) sigma'": (sympy.diff(E, b), 1 / a * slope),
        "E' = 1 - a": (sympy.diff(E, b), 1 - a),
        "G' = 1/(1-a) * -sigma'": (sympy.diff(G, b), 1 / (1 - a) * -slope),
        "G' = -a": (sympy.diff(G, b), -a),
        "D' = y (1-a) + (1-y)(-a)": (sympy.diff(D, b), y * (1 - a) + (1 - y) * -a),
        "D' = y - a": (sympy.diff(D, b), y - a),
        "C'(b) = a - y": (sympy.diff(C, b), a - y),
        "C'(w) = x (a - y)": (sympy.diff(C, w), x * (a - y)),
    }
    for line, (left, right) in lines.items():
        assert sympy.simplify(left - right) == 0, line
        assert float(left.subs(numbers)) == pytest.approx(float(right.subs(numbers)), rel=1e-12), line
    assert sympy.simplify(sympy.diff(C, b) - (y - a)) != 0  # and the test can fail

    values = {s: mg.Value(v, name=str(s)) for s, v in numbers.items()}
    A = mg.sigmoid(values[w] * values[x] + values[b])
    (-(values[y] * mg.log(A) + (1 - values[y]) * mg.log(1 - A))).backward()
    assert values[b].grad == pytest.approx(float((a - y).subs(numbers)), rel=1e-14)
    assert values[w].grad == pytest.approx(float((x * (a - y)).subs(numbers)), rel=1e-14)

    symbols = [mg.Value(s) for s in (w, x, b)]  # the engine's own derivative, as an expression
    A = mg.sigmoid(symbols[0] * symbols[1] + symbols[2])
    derivative = mg.grad(-(y * mg.log(A) + (1 - y) * mg.log(1 - A)), symbols[2])[0]
    assert sympy.simplify(derivative - (a - y)) == 0


def test_S08_softmax_output_layer() -> None:
    """Softmax output layer: columns sum to 1; shifted; z = 1000 finite."""
    import mpmath

    Z = np.random.default_rng(0).normal(size=(4, 5)) * 3  # (K, m)
    A = closed_form.softmax(Z)
    np.testing.assert_allclose(A.sum(axis=0), 1, rtol=1e-15)
    np.testing.assert_allclose(closed_form.softmax(Z + 50), A, rtol=1e-13)
    np.testing.assert_allclose(nn.Softmax()(mg.Tensor(Z.T)).detach().numpy().T, A, rtol=1e-14)
    with mpmath.workdps(50):
        for i, j in np.ndindex(Z.shape):
            exact = mpmath.exp(Z[i, j]) / mpmath.fsum(mpmath.exp(z) for z in Z[:, j])
            assert A[i, j] == pytest.approx(float(exact), rel=1e-14)
    for softmax in (closed_form.softmax, lambda Z: nn.Softmax(axis=0)(mg.Tensor(Z)).detach().numpy()):
        assert softmax(np.array([[1000.0, -1000.0], [0.0, -1000.0]])).tolist() == [[1.0, 0.5], [0.0, 0.5]]


def test_S09_softmax_with_log_likelihood() -> None:
    """Softmax classifier with log-likelihood, C = -ln a_y, from class index: the gradient is a_y - 1 at y, else a_k."""
    model, X, _ = network(3, [4, 3], 5)
    y = np.array([0, 2, 1, 1, 0])

    def cost(weights: list[Any], X: Any) -> Any:
        Z = forward(weights, X, last=lambda Z: Z)
        return -np.log(np.exp(Z[range(5), y]) / np.exp(Z).sum(axis=1)).mean()

    exact = complex_step(cost, weights_of(model), X)
    hidden = forward(weights_of(model)[:2], X)
    Z = model(mg.Tensor(X))
    loss = nn.CrossEntropyLoss()(Z, y)
    loss.backward()
    assert loss.item() == pytest.approx(cost(weights_of(model), X), rel=1e-14)
    a = np.exp(Z.detach().numpy()) / np.exp(Z.detach().numpy()).sum(axis=1, keepdims=True)
    for i, k in np.ndindex(5, 3):
        expected = a[i, k] - 1 if k == y[i] else a[i, k]  # C'(b_y), C'(b_k)
        assert 5 * Z.grad[i, k] == pytest.approx(expected, rel=1e-12)
    onehot = np.eye(3)[y]
    assert distance(exact[2], (a - onehot).T @ hidden / 5) < 1e-13  # C'(w_jk) = a_k (a_j - y_j)
    closed = closed_form.gradients(model, X, y, nn.CrossEntropyLoss())
    for (name, parameter), e in zip(model.named_parameters(), exact, strict=True):
        assert distance(parameter.grad, e) < 1e-13
        assert distance(closed[name], e) < 1e-13


def test_S10_binary_classifier_of_one_output() -> None:
    """Single-output binary classifier (logistic neuron) with mean BCE: dC/dw = mean((q-y)x), dC/db = mean(q-y)."""
    model, X, _ = network(3, [1], 6, output="sigmoid")
    y = np.array([[0], [1], [1], [0], [1], [0.0]])
    q = model(mg.Tensor(X))
    nn.BCELoss()(q, y).backward()
    exact = complex_step(bce, weights_of(model), X, y)
    w, b = model.parameters()
    assert distance(w.grad, exact[0]) < 1e-14
    assert distance(((q.detach().numpy() - y) * X).mean(axis=0)[None], exact[0]) < 1e-14
    assert distance(b.grad, exact[1]) < 1e-14
    assert distance((q.detach().numpy() - y).mean(axis=0), exact[1]) < 1e-14
    assert (
        distance((q.detach().numpy() * (1 - y)).mean(axis=0), exact[1]) > 0.1
    )  # as the note ends: mean of a_1 (1 - y)

    neuron = nn.scalar.Neuron(3, activation="sigmoid", rng=0)  # the same, number by number
    for value, number in zip(neuron.parameters(), [*w.detach().numpy()[0], b.detach().numpy()[0]], strict=True):
        value.data = float(number)
    costs = []
    for x, target in zip(X, y, strict=True):
        a = neuron(list(x))
        costs.append(-(float(target[0]) * mg.log(a) + (1 - float(target[0])) * mg.log(1 - a)))
    (sum(costs, start=mg.Value(0.0)) / len(costs)).backward()
    assert distance([v.grad for v in neuron.parameters()], [*exact[0][0], exact[1][0]]) < 1e-13


def test_S11_loss_report() -> None:
    """Loss report: mean BCE over n samples; it equals the logits form, and is positive."""
    import mpmath

    model, X, _ = network(3, [4, 1], 7)
    y = np.random.default_rng(1).integers(0, 2, (7, 1)).astype(float)
    Z = model(mg.Tensor(X))
    reported = nn.BCELoss()(mg.sigmoid(Z), y).item()
    with mpmath.workdps(50):
        q = [1 / (1 + mpmath.exp(-z)) for z in Z.detach().numpy()[:, 0]]
        terms = [t * mpmath.log(a) + (1 - t) * mpmath.log(1 - a) for a, t in zip(q, y[:, 0], strict=True)]
        exact = float(-mpmath.fsum(terms) / 7)
    assert exact > 0  # the note's last line lacks this minus
    assert reported == pytest.approx(exact, rel=1e-14)
    assert nn.BCEWithLogitsLoss()(Z, y).item() == pytest.approx(exact, rel=1e-14)
    optimizer = nn.optim.SGD(model.parameters(), lr=1e-300)  # the weights stay: what is reported is this loss,
    for batch_size in (7, 3):  # over all samples, in uneven batches too
        history = nn.fit(
            model, (X, y), nn.BCEWithLogitsLoss(), optimizer, epochs=1, batch_size=batch_size, rng=0, progress=False
        )
        assert history.loss == pytest.approx([exact], rel=1e-14)


def test_S12_identity_output_with_squared_error() -> None:
    """Identity-output network (g^L(z) = z) with squared error: the output's gradient is 2(xhat - y)."""
    model, X, _ = network(3, [4, 2], 5, activation="tanh")
    Y = np.random.default_rng(2).normal(size=(5, 2))
    xhat = model(mg.Tensor(X))
    loss = nn.MSELoss(reduction="sum")
    loss(xhat, Y).backward()
    assert distance(xhat.grad, 2 * (xhat.detach().numpy() - Y)) < 1e-15
    assert distance(xhat.grad, 2 * (xhat.detach().numpy() - Y) ** 2) > 0.1  # as the note writes it
    exact = complex_step(lambda w: ((forward(w, X, np.tanh, lambda Z: Z) - Y) ** 2).sum(), weights_of(model))
    for g, e in zip(closed_form.gradients(model, X, Y, loss).values(), exact, strict=True):
        assert distance(g, e) < 1e-13


def test_S13_autoencoder() -> None:
    """Autoencoder reading: C = (xhat - x)^2, target = input: a 3-2-3 net trains; its gradients equal autograd's.

    What it can reach is known: with linear units the least error is the third principal component's share.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 3)) + 0.05 * rng.normal(size=(40, 3)) + [1, -2, 0.5]
    loss = nn.MSELoss(reduction="batchmean")
    curved = nn.MLP(3, [2, 3], rng=1)  # sigmoid inside
    exact = complex_step(
        lambda w: ((forward(w, X, sigma, lambda Z: Z) - X) ** 2).sum(axis=1).mean(), weights_of(curved)
    )
    loss(curved(mg.Tensor(X)), X).backward()
    closed = closed_form.gradients(curved, X, X, loss)
    for (name, parameter), e in zip(curved.named_parameters(), exact, strict=True):
        assert distance(parameter.grad, e) < 1e-12
        assert distance(closed[name], e) < 1e-12

    least = np.linalg.svd(X - X.mean(axis=0))[1][2] ** 2 / 40
    linear = nn.MLP(3, [2, 3], activation="identity", rng=1)
    optimizer = nn.optim.Adam(linear.parameters(), lr=0.05)
    history = nn.fit(linear, (X, X), loss, optimizer, epochs=1000, batch_size=40, rng=0, progress=False)
    assert history.loss[0] > 1000 * least
    assert least * (1 - 1e-9) < history.loss[-1] < 1.05 * least


def test_S14_a_composed_function_with_any_activation() -> None:
    """Network as composed function f^L(...f^0(x)) with any activation g per layer: a stack of layers."""
    model, X, Y = network(3, [4, 3, 5, 2], 4, activation=["tanh", "softplus", "relu"], output="sigmoid")
    g = [np.tanh, lambda Z: np.log(1 + np.exp(Z)), lambda Z: Z * (Z.real > 0), sigma]

    def f(weights: list[Any], A: Any) -> Any:
        for i, g_l in enumerate(g):
            A = g_l(A @ weights[2 * i].T + weights[2 * i + 1])
        return A

    assert distance(model(mg.Tensor(X)).detach().numpy(), f(weights_of(model), X)) < 1e-14
    loss = nn.HalfMSELoss(reduction="batchmean")
    exact = complex_step(lambda w: ((f(w, X) - Y) ** 2).sum() / 8, weights_of(model))
    loss(model(mg.Tensor(X)), Y).backward()
    closed = closed_form.gradients(model, X, Y, loss)
    for (name, parameter), e in zip(model.named_parameters(), exact, strict=True):
        assert distance(parameter.grad, e) < 1e-13
        assert distance(closed[name], e) < 1e-13


@nets
@pytest.mark.parametrize("activation", ["sigmoid", "tanh"])
@pytest.mark.parametrize("cost", ["binary cross-entropy", "squares", "half squares"])
def test_S15_index_form(net: Any, activation: str, cost: str) -> None:
    """Index-form backprop dC/da, dC/dW, dC/db (sums over m, single datapoint): loops = matrix form = autograd."""
    model, X, Y = network(*net, activation=activation, output="sigmoid")
    kinds = {"binary cross-entropy": nn.BCELoss, "squares": nn.MSELoss, "half squares": nn.HalfMSELoss}
    loss = kinds[cost](reduction="batchmean")
    loops = index_form.gradients(model, X, Y, loss)
    matrices = closed_form.gradients(model, X, Y, loss)
    loss(model(mg.Tensor(X)), Y).backward()
    for name, parameter in model.named_parameters():
        assert distance(loops[name], matrices[name]) < 1e-12
        assert distance(loops[name], parameter.grad) < 1e-12


@nets
@pytest.mark.parametrize("cost", [nn.CrossEntropyLoss, nn.MSELoss, nn.HalfMSELoss])
def test_S15_index_form_of_softmax(net: Any, cost: Any) -> None:
    """dC/dz_k = sum_j dC/da_j a_j (d_jk - a_k): loops = matrix form = autograd, for every row of softmax."""
    logits = cost is nn.CrossEntropyLoss
    model, X, Y = network(*net, output="identity" if logits else "softmax")
    loss = cost(reduction="batchmean")
    for targets in (Y, np.arange(len(X)) % Y.shape[1]) if logits else (Y,):
        loops = index_form.gradients(model, X, targets, loss)
        matrices = closed_form.gradients(model, X, targets, loss)
        model.zero_grad()
        loss(model(mg.Tensor(X)), targets).backward()
        for name, parameter in model.named_parameters():
            assert distance(loops[name], matrices[name]) < 1e-12
            assert distance(loops[name], parameter.grad) < 1e-12


def test_S15_index_form_of_a_single_datapoint() -> None:
    """dC/da_n = sum_m dC/da_m g'(z_m) W_mn at every layer is what autograd leaves at the nodes."""
    model, X, Y = network(3, [4, 2], 1, output="sigmoid")
    nodes = [mg.Tensor(X, requires_grad=True)]
    for module in model.layers:
        nodes.append(module(nodes[-1]))
    nn.MSELoss(reduction="sum")(nodes[-1], Y).backward()
    W, b = [w.tolist() for w in weights_of(model)[::2]], [v.tolist() for v in weights_of(model)[1::2]]
    z, a = index_form.forward(X[0].tolist(), W, b, [index_form.SIGMOID] * 2)
    dC_da, dC_dW, dC_db = index_form.backward(z, a, Y[0].tolist(), W, [index_form.SIGMOID] * 2, index_form.SQUARES)
    for i, node in enumerate([nodes[0], nodes[2], nodes[4]]):
        assert distance(dC_da[i], node.grad[0]) < 1e-13
    exact = complex_step(lambda w: ((forward(w, X) - Y) ** 2).sum(), weights_of(model))
    for i in range(2):
        assert distance(dC_dW[i], exact[2 * i]) < 1e-13
        assert distance(dC_db[i], exact[2 * i + 1]) < 1e-13


@nets
def test_S16_batch_gradient_descent(net: Any) -> None:
    """Batch gradient descent, learning rate rho: one batch step is that of the mean of D single-sample gradients."""
    model, X, Y = network(*net)
    rho, D, before = 0.3, net[2], weights_of(model)
    singles = [complex_step(bce, before, X[d : d + 1], Y[d : d + 1]) for d in range(D)]
    optimizer = nn.optim.SGD(model.parameters(), lr=rho)
    nn.BCEWithLogitsLoss(reduction="batchmean")(model(mg.Tensor(X)), Y).backward()
    optimizer.step()
    for i, (old, new) in enumerate(zip(before, weights_of(model), strict=True)):
        assert distance(new, old - rho / D * sum(single[i] for single in singles)) < 1e-14


def test_S16_uneven_batches_count_by_their_size() -> None:
    """The mean of the means of two batches, 3 + 2 samples, is another number; weighted by size it is the gradient."""
    model, X, Y = network(3, [4, 2], 5)
    whole = closed_form.gradients(model, X, Y)
    three, two = (closed_form.gradients(model, X[s], Y[s]) for s in (slice(0, 3), slice(3, 5)))
    for name, gradient in whole.items():
        assert distance((3 * three[name] + 2 * two[name]) / 5, gradient) < 1e-14
        assert distance((three[name] + two[name]) / 2, gradient) > 1e-2


def test_S17_general_update() -> None:
    """General update v' = v - eta dC/dv for every weight and bias: all of them by gradients at the old point."""
    model, X, Y = network(3, [4, 2], 5)
    eta, before = 0.7, weights_of(model)
    exact = complex_step(bce, before, X, Y)
    nn.BCEWithLogitsLoss(reduction="batchmean")(model(mg.Tensor(X)), Y).backward()
    nn.optim.SGD(model.parameters(), lr=eta).step()
    for v, g, new in zip(before, exact, weights_of(model), strict=True):
        assert distance(new, v - eta * g) < 1e-14

    one_by_one = [v.copy() for v in before]  # not simultaneous: each moves before the next is differentiated
    for i in range(len(one_by_one)):
        one_by_one[i] -= eta * complex_step(bce, one_by_one, X, Y)[i]
    assert max(distance(a, b) for a, b in zip(one_by_one, weights_of(model), strict=True)) > 1e-2


@nets
def test_S18_vectorised_backprop(net: Any) -> None:
    """Vectorised backprop (matrix product, no loops), b summed over samples: dW = delta A^T/m, db = sum/m, as loops."""
    model, X, Y = network(*net)
    W, b = closed_form.weights([layer for layer in model.layers if isinstance(layer, nn.Linear)])
    _, A = closed_form.forward(X.T, W, b)
    deltas, dW, db = closed_form.backward(A, Y.T, W)
    m = net[2]
    exact = complex_step(bce, weights_of(model), X, Y)
    for i, delta in enumerate(deltas):
        loops_W, loops_b = np.zeros(W[i].shape), np.zeros(b[i].shape)
        for s, j in itertools.product(range(m), range(len(delta))):
            loops_b[j, 0] += delta[j, s] / m
            for k in range(len(A[i])):
                loops_W[j, k] += delta[j, s] * A[i][k, s] / m
        assert distance(dW[i], loops_W) < 1e-13
        assert distance(db[i], loops_b) < 1e-13
        assert distance(dW[i], exact[2 * i]) < 1e-13
        assert distance(db[i][:, 0], exact[2 * i + 1]) < 1e-13
        assert distance(delta @ A[i].T, exact[2 * i]) > 0.5  # without 1/m, beside a db with it


@nets
def test_S19_slope_finder(net: Any) -> None:
    """Slope finder: gradient vector of all parameters; each entry is the slope of the loss along its parameter."""
    model, X, Y = network(*net)
    loss = nn.BCEWithLogitsLoss(reduction="batchmean")
    gradients = mg.grad(loss(model(mg.Tensor(X)), Y), list(model.parameters()))
    vector = nn.parameters_to_vector(gradients).detach().numpy()
    exact = np.concatenate([g.ravel() for g in complex_step(bce, weights_of(model), X, Y)])
    assert distance(vector, exact) < 1e-13
    assert distance(np.concatenate([g.ravel() for g in differences(bce, weights_of(model), X, Y)]), vector) < 1e-7

    v, h = nn.parameters_to_vector(model.parameters()).detach().numpy(), 6e-6
    slopes = []
    for e in np.eye(len(v)):  # the loss itself, a little further along each parameter
        found = []
        for moved in (v + h * e, v - h * e):
            nn.vector_to_parameters(moved, model.parameters())
            found.append(loss(model(mg.Tensor(X)), Y).item())
        slopes.append((found[0] - found[1]) / (2 * h))
    assert distance(slopes, vector) < 1e-7


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_S20_find_loss_reverse_repeat(seed: int) -> None:
    """Training loop "find loss, reverse, repeat": BCE falls monotonically for small eta.

    For a logistic neuron C'' <= L = the largest eigenvalue of mean(x x^T) / 4, so that for eta < 2/L each step gains
    eta (1 - eta L/2) |grad C|^2 at least (descent lemma: Nesterov 2004, eq. 1.2.12).
    """
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(8, 3)), rng.integers(0, 2, (8, 1)).astype(float)
    extended = np.hstack([X, np.ones((8, 1))])
    L = np.linalg.eigvalsh(extended.T @ extended / 8)[-1] / 4
    eta = rng.uniform(0.1, 1.9) / L
    model = nn.MLP(3, [1], rng=rng)
    loss, optimizer = nn.BCEWithLogitsLoss(), nn.optim.SGD(model.parameters(), lr=eta)
    losses, gains = [], []
    for _ in range(25):
        cost = loss(model(mg.Tensor(X)), Y)
        optimizer.zero_grad()
        cost.backward()
        losses.append(cost.item())
        squared = sum(float((p.grad**2).sum()) for p in model.parameters())
        gains.append(eta * (1 - eta * L / 2) * squared)
        optimizer.step()
    for before, after, gain in zip(losses, losses[1:], gains, strict=False):
        assert after <= before - gain + 1e-14
    assert losses[-1] < losses[0]


@nets
def test_S20_deep_networks_fall_too(net: Any) -> None:
    model, X, Y = network(*net)
    history = nn.fit(
        model, (X, Y), nn.BCEWithLogitsLoss(), nn.optim.SGD(model.parameters(), lr=0.05), epochs=60,
        batch_size=net[2], rng=0, progress=False,
    )  # fmt: skip
    assert (np.diff(history.loss) < 0).all()


@given(SEEDS)
@settings(max_examples=15, deadline=None)
def test_S21_learning_rates_below_and_above_two_over_lambda(seed: int) -> None:
    """Learning-rate behaviour: small steps avoid overshooting (note says over-fitting): eta < 2/lambda, and above.

    On a quadratic cost with Hessian H the distance from the minimum along an eigenvector q of eigenvalue lambda is
    multiplied by 1 - eta lambda in each step: smaller, or larger with every step in turn to the other side.
    """
    rng = np.random.default_rng(seed)
    X, Y = rng.normal(size=(12, 3)), rng.normal(size=(12, 1))
    extended = np.hstack([X, np.ones((12, 1))])
    eigenvalues, Q = np.linalg.eigh(extended.T @ extended / 12)
    best = np.linalg.lstsq(extended, Y, rcond=None)[0][:, 0]
    start = nn.MLP(3, [1], rng=rng)
    nn.vector_to_parameters(best + Q.sum(axis=1), start.parameters())  # at distance 1 along each q
    loss = nn.HalfMSELoss(reduction="batchmean")

    def descend(eta: float, steps: int) -> tuple[list[float], Any]:
        model = nn.MLP(3, [1], rng=0)
        model.load_state_dict(start.state_dict())
        optimizer, losses = nn.optim.SGD(model.parameters(), lr=eta), []
        for _ in range(steps):
            cost = loss(model(mg.Tensor(X)), Y)
            losses.append(cost.item())
            optimizer.zero_grad()
            cost.backward()
            optimizer.step()
        return losses, Q.T @ (nn.parameters_to_vector(model.parameters()).detach().numpy() - best)

    for part in (0.5, 0.95):
        losses, distances = descend(part * 2 / eigenvalues[-1], 40)
        np.testing.assert_allclose(distances, (1 - part * 2 / eigenvalues[-1] * eigenvalues) ** 40, atol=1e-10)
        assert (np.diff(losses) < 1e-14 * losses[0]).all()  # but for rounding, once they have arrived
        assert losses[-1] < losses[0]
    _, distances = descend(1.05 * 2 / eigenvalues[-1], 40)
    assert distances[-1] == pytest.approx(1.1**40, rel=1e-9)  # 45 times as far, and on
    losses, _ = descend(1.05 * 2 / eigenvalues[-1], 200)
    assert losses[-1] > 1e6 * losses[0]


def test_S21_the_largest_curvature_is_found_by_autograd() -> None:
    """lambda of the last test as users get it: the Hessian of the cost, by differentiating twice."""
    rng = np.random.default_rng(1)
    X, Y = rng.normal(size=(12, 3)), rng.normal(size=(12, 1))
    w = mg.Tensor(rng.normal(size=(1, 3)), requires_grad=True)
    loss = nn.HalfMSELoss(reduction="batchmean")
    (slope,) = mg.grad(loss(mg.linear(mg.Tensor(X), w), Y), [w], create_graph=True)
    hessian = [mg.grad(slope[0, k], [w])[0][0] for k in range(3)]
    assert distance(hessian, X.T @ X / 12) < 1e-14


def test_S22_scalar_chain_of_several_layers() -> None:
    """Multi-layer scalar chain dC/dw_2 through a_3, z_3, a_2, z_2, as corrected."""
    import mpmath

    numbers = {"a1": 0.6, "w2": -0.7, "b2": 0.2, "w3": 1.4, "b3": -0.3, "y": 0.8}
    v = {name: mg.Value(number, name=name) for name, number in numbers.items()}
    z2 = v["w2"] * v["a1"] + v["b2"]
    a2 = mg.sigmoid(z2)
    z3 = v["w3"] * a2 + v["b3"]
    a3 = mg.sigmoid(z3)
    C = -(v["y"] * mg.log(a3) + (1 - v["y"]) * mg.log(1 - a3))
    C.backward()

    def cost(w2: Any) -> Any:
        s = lambda z: 1 / (1 + mpmath.exp(-z))
        q = s(numbers["w3"] * s(w2 * numbers["a1"] + numbers["b2"]) + numbers["b3"])
        return -(numbers["y"] * mpmath.log(q) + (1 - numbers["y"]) * mpmath.log(1 - q))

    with mpmath.workdps(50):
        exact = float(mpmath.diff(cost, mpmath.mpf(numbers["w2"])))
    q, y = a3.data, numbers["y"]
    dC_da3 = -(y / q - (1 - y) / (1 - q))
    da3_dz3, dz3_da2, da2_dz2, dz2_dw2 = q * (1 - q), numbers["w3"], a2.data * (1 - a2.data), numbers["a1"]
    assert a3.grad == pytest.approx(dC_da3, rel=1e-14)
    assert z3.grad == pytest.approx(q - y, rel=1e-14)  # dC/dz, which the note takes for dC/da_3
    assert a2.grad == pytest.approx((q - y) * numbers["w3"], rel=1e-14)
    assert v["w2"].grad == pytest.approx(dC_da3 * da3_dz3 * dz3_da2 * da2_dz2 * dz2_dw2, rel=1e-14)
    assert v["w2"].grad == pytest.approx(exact, rel=1e-13)
    repeated = dC_da3 * da3_dz3 * dz2_dw2 * dz2_dw2  # as written: one factor twice, a_2 and z_2 left out
    assert abs(repeated - exact) > 0.1 * abs(exact)


def test_S23_dataset_of_pairs() -> None:
    """Dataset of pairs (x^i, y^i), min over W,b of mean C: a dataset object, and the objective is the mean."""
    model, X, Y = network(3, [4, 2], 5)
    dataset = nn.data.TensorDataset(X, Y)
    loss = nn.BCEWithLogitsLoss(reduction="batchmean")
    pairs = [dataset[i] for i in range(len(dataset))]
    objective = float(np.mean([loss(model(x.reshape((1, 3))), y.reshape((1, 2))).item() for x, y in pairs]))
    assert objective == pytest.approx(bce(weights_of(model), X, Y), rel=1e-14)
    loader = nn.data.DataLoader(dataset, batch_size=2, shuffle=True, rng=0)
    batches = [(len(x), loss(model(x), y).item()) for x, y in loader]
    assert sorted(n for n, _ in batches) == [1, 2, 2]
    assert sum(n * c for n, c in batches) / 5 == pytest.approx(objective, rel=1e-14)
    optimizer = nn.optim.SGD(model.parameters(), lr=1.0)
    history = nn.fit(model, dataset, loss, optimizer, epochs=50, batch_size=5, rng=0, progress=False)
    assert history.loss[0] == pytest.approx(objective, rel=1e-14)
    assert history.loss[-1] < objective


@given(strategies.lists(strategies.integers(1, 6), min_size=2, max_size=5))
@settings(max_examples=25, deadline=None)
def test_S24_parameter_inventory(sizes: list[int]) -> None:
    """Parameter inventory: one weight per link, one bias per non-input node: sum n_l (n_{l-1} + 1)."""
    model = nn.MLP(sizes[0], sizes[1:], output="sigmoid", rng=0)
    links = [(i, j) for fan_in, fan_out in itertools.pairwise(sizes) for i in range(fan_in) for j in range(fan_out)]
    assert nn.summary(model).total == len(links) + sum(sizes[1:])
    assert len(nn.parameters_to_vector(model.parameters())) == len(links) + sum(sizes[1:])

    zero = np.zeros((2, sizes[0]))  # why biases: without one, nothing in gives 1/2 out of every unit
    for i, (fan_in, fan_out) in enumerate(itertools.pairwise(sizes)):
        without = nn.Sequential(nn.Linear(fan_in, fan_out, bias=False, rng=i), nn.Sigmoid())
        nothing = mg.Tensor(np.zeros((2, fan_in)))
        assert (without(nothing).detach().numpy() == 0.5).all()
    nn.init.constant_(model.layers[0].bias, 1.0)
    assert (nodes_of(model.layers, zero)[1].detach().numpy() > 0.7).all()


@pytest.mark.parametrize(
    ("K", "labels"),
    [(1, "hard"), (1, "soft"), (3, "hard"), (3, "soft")],
    ids=["binary", "binary soft", "multi-label", "multi-label soft"],
)
def test_S25_vector_outputs(K: int, labels: str) -> None:
    """Vector outputs: binary (K=1), multi-label (K>1 sigmoids), soft targets y in [0,1]: all have A - Y."""
    model, X, Y = network(3, [4, K], 5)
    Y = Y if labels == "soft" else np.rint(Y)
    exact = complex_step(bce, weights_of(model), X, Y)
    Z = model(mg.Tensor(X))
    nn.BCEWithLogitsLoss(reduction="batchmean")(Z, Y).backward()
    assert distance(Z.grad, (sigma(Z.detach().numpy()) - Y) / 5) < 1e-14
    for parameter, e in zip(model.parameters(), exact, strict=True):
        assert distance(parameter.grad, e) < 1e-13
    assert nn.compare(model, X, Y).worst < 1e-12


@pytest.mark.parametrize("y", [0.01, 0.3, 0.5, 0.9])
def test_S25_soft_labels_have_the_floor_H(y: float) -> None:
    """The least BCE of a soft label is its entropy H(y), at a = y, where the gradient is 0: not a loss of 0."""
    import mpmath

    with mpmath.workdps(30):
        H = float(-y * mpmath.log(y) - (1 - y) * mpmath.log(1 - y))
        z = mg.Tensor([[float(mpmath.log(mpmath.mpf(y) / (1 - mpmath.mpf(y))))]], requires_grad=True)
    loss = nn.BCEWithLogitsLoss()(z, [[y]])
    loss.backward()
    assert loss.item() == pytest.approx(H, rel=1e-15)
    assert abs(z.grad[0, 0]) < 1.2e-16
    for step in (-1e-3, 1e-3):
        assert nn.BCEWithLogitsLoss()(mg.Tensor(z.detach().numpy() + step), [[y]]).item() > H
    if y == 0.3:
        assert abs(H - 0.610864302054895) < 2e-15
