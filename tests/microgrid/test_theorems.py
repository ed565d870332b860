"""The theorems of back-propagation, proved of the engine's own gradients on symbols: nothing here is "close to".

Each theorem is proved, and each with one sign, factor or index changed is refuted at a point where it fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import sympy

import microgrid as mg
from microgrid import rules
from tests.microgrid.table import SCALAR_ROWS, Row

Matrix = list[list[Any]]


def proved(lhs: Any, rhs: Any, assumptions: Any = ()) -> None:
    found = mg.prove(lhs, rhs, assumptions, timeout=60)
    assert found, found


def refuted(lhs: Any, rhs: Any, assumptions: Any = ()) -> None:
    """The point that is given is one: the sides, by SymPy's own digits, differ there."""
    found = mg.prove(lhs, rhs, assumptions, timeout=60)
    assert found.verdict == "refuted", found
    for part in found.entry:
        lhs, rhs = lhs[part], rhs[part]
    left, right = (sympy.sympify(getattr(e, "data", e)).evalf(40, subs=found.point) for e in (lhs, rhs))
    assert abs(left - right) > 1e-30


def bce(A: Sequence[Any], Y: Sequence[Any]) -> Any:
    losses = [-(y * mg.log(a) + (1 - y) * mg.log(1 - a)) for a, y in zip(A, Y, strict=True)]
    return sum(losses[1:], losses[0])


def softmax(Z: Sequence[Any]) -> list[Any]:
    E = [mg.exp(z) for z in Z]
    return [e / sum(E[1:], E[0]) for e in E]


def half_squares(A: Sequence[Any], Y: Sequence[Any]) -> Any:
    return sum(((a - y) ** 2 for a, y in zip(A, Y, strict=True)), mg.Value(sympy.Integer(0))) / 2


def log_likelihood(A: Sequence[Any], Y: Sequence[Any]) -> Any:
    return -sum((y * mg.log(a) for a, y in zip(A, Y, strict=True)), mg.Value(sympy.Integer(0)))


def sigmoids(Z: Sequence[Any]) -> list[Any]:
    return [mg.sigmoid(z) for z in Z]


# --------------------------------------------------------------------------------------------- the output layer

OUTPUTS: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any], bool]] = {
    # output, cost, delta of (A, Y), and whether the labels must sum to 1
    "sigmoid, BCE": (sigmoids, bce, lambda A, Y: [a - y for a, y in zip(A, Y, strict=True)], False),
    "sigmoid, half squares": (
        sigmoids, half_squares, lambda A, Y: [(a - y) * a * (1 - a) for a, y in zip(A, Y, strict=True)], False
    ),
    "identity, half squares": (list, half_squares, lambda A, Y: [a - y for a, y in zip(A, Y, strict=True)], False),
    "identity, squares": (
        list, lambda A, Y: 2 * half_squares(A, Y), lambda A, Y: [2 * (a - y) for a, y in zip(A, Y, strict=True)], False
    ),
    "softmax, log-likelihood": (
        softmax, log_likelihood, lambda A, Y: [a - y for a, y in zip(A, Y, strict=True)], True
    ),
    "softmax, log-likelihood, any labels": (
        softmax, log_likelihood, lambda A, Y: [a * sum(Y) - y for a, y in zip(A, Y, strict=True)], False
    ),
    "softmax, half squares": (
        softmax, half_squares,
        lambda A, Y: [a * ((a - y) - sum(c * (c - t) for c, t in zip(A, Y, strict=True)))
                      for a, y in zip(A, Y, strict=True)], False
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "K"), [(name, K) for name in OUTPUTS for K in (1, 2, 3) if K > 1 or not name.startswith("softmax")]
)
def test_the_delta_of_an_output_layer(name: str, K: int) -> None:
    """dC/dZ by the chain of the engine's rules is the closed form, for any labels, soft ones too."""
    output, cost, delta, sums_to_1 = OUTPUTS[name]
    Z, Y = mg.symbols(f"z1:{K + 1}"), mg.symbols(f"y1:{K + 1}", positive=True)
    A = output(Z)
    closed = [d.data for d in delta(A, Y)]
    gradients = list(mg.grad(cost(A, Y), Z))
    labels = (sum(Y[1:], Y[0]), 1) if sums_to_1 else ()
    proved(gradients, closed, labels)
    refuted(gradients, [-d for d in closed], labels)
    refuted(gradients, [2 * d for d in closed[:-1]] + [3 * closed[-1]], labels)
    refuted(gradients, [d + 2 * y.data for d, y in zip(closed, Y, strict=True)], labels)
    if K > 1:
        refuted(gradients, closed[1:] + closed[:1], labels)
        if sums_to_1:
            refuted(gradients, closed)


def test_softmax_of_a_class() -> None:
    """C = -ln a_y: dC/dz_y = a_y - 1, and a_k for the others; with f = the sum of the others' e^z, -f / (e^z + f)."""
    Z = mg.symbols("z1:4")
    A = softmax(Z)
    gradients = list(mg.grad(-mg.log(A[1]), Z))
    proved(gradients, [A[0], A[1] - 1, A[2]])
    f = mg.exp(Z[0]) + mg.exp(Z[2])
    proved(gradients[1], -f / (mg.exp(Z[1]) + f))
    refuted(gradients, [A[0] - 1, A[1], A[2]])


def test_two_classes_are_a_sigmoid() -> None:
    """Softmax of (0, z) with log-likelihood is sigmoid(z) with binary cross-entropy, in value and gradient."""
    z, y = mg.symbols("z y", positive=True)
    A = softmax([z * 0, z])
    by_softmax, by_sigmoid = log_likelihood(A, [1 - y, y]), bce([mg.sigmoid(z)], [y])
    proved(by_softmax, by_sigmoid)
    proved(mg.grad(by_softmax, z)[0], mg.grad(by_sigmoid, z)[0])


# ------------------------------------------------------------------------------- the derivation of C'(b), line by line


def test_every_line_of_the_derivation_of_dC_db() -> None:
    """C = -D, D = y E + (1 - y) G, E = ln sigma(wa + b), G = ln(1 - sigma(wa + b)): E' = 1 - a, G' = -a, C' = a - y."""
    w, x, b, y = mg.symbols("w x b y")
    a = mg.sigmoid(w * x + b)
    E, G = mg.log(a), mg.log(1 - a)
    D = y * E + (1 - y) * G
    C = -D
    dE, dG, dD, dC = (mg.grad(part, b)[0] for part in (E, G, D, C))
    (slope,) = mg.grad(mg.sigmoid(w * x + b), b)
    a, y_ = a.data, y.data
    lines = [
        (C, -(y * E + (1 - y) * G)), (slope, a * (1 - a)),
        (dC, -dD), (dD, y_ * dE + (1 - y_) * dG), (dE, 1 / a * slope), (dE, 1 - a),
        (dG, 1 / (1 - a) * -slope), (dG, -a), (dD, y_ * (1 - a) + (1 - y_) * -a), (dD, y_ - y_ * a - a + y_ * a),
        (dD, y_ - a), (dC, a - y_), (mg.grad(C, w)[0], x.data * (a - y_)),
    ]  # fmt: skip
    proved([left for left, _ in lines], [right for _, right in lines])
    slips = [
        (dE, 1 / a * -slope), (dE, 1 + a), (dG, 1 / (1 - a) * slope), (dG, a), (dD, y_ * (1 - a) + (1 - y_) * a),
        (dD, y_ + a), (dC, y_ - a), (dC, 2 * a - y_), (mg.grad(C, w)[0], a - y_), (slope, a * (1 + a)),
    ]  # fmt: skip
    for left, right in slips:
        refuted(left, right)


# --------------------------------------------------------------------------------------------- deeper networks


class Net:
    """A sigmoid network of symbols, n units in each layer, and its cross-entropy; weights W[l][i][j] to unit i."""

    def __init__(self, depth: int, n: int = 2) -> None:
        X, self.Y = mg.symbols(f"x1:{n + 1}"), mg.symbols(f"y1:{n + 1}")
        self.W: list[Matrix] = []
        self.b: list[Sequence[Any]] = []
        self.Z: list[list[Any]] = []
        self.A: list[list[Any]] = [list(X)]
        for layer in range(1, depth + 1):
            flat = mg.symbols(f"w{layer}_1:{n + 1}(1:{n + 1})")
            self.W.append([list(flat[i * n : (i + 1) * n]) for i in range(n)])
            self.b.append(mg.symbols(f"b{layer}_1:{n + 1}"))
            self.Z.append(
                [
                    sum((w * a for w, a in zip(row, self.A[-1], strict=True)), b)
                    for row, b in zip(self.W[-1], self.b[-1], strict=True)
                ]
            )
            self.A.append(sigmoids(self.Z[-1]))
        bce(self.A[-1], self.Y).backward()

    def delta(self, layer: int, transposed: bool = True, slope: Callable[[Any], Any] = lambda a: a * (1 - a)) -> Any:
        """The closed form: A - Y at the end, W^T delta * A (1 - A) before it."""
        A = [a.data for a in self.A[layer + 1]]
        if layer == len(self.W) - 1:
            return [a - y.data for a, y in zip(A, self.Y, strict=True)]
        after, W, n = self.delta(layer + 1), self.W[layer + 1], len(A)
        pulled = [sum((W[i][j] if transposed else W[j][i]).data * after[i] for i in range(n)) for j in range(n)]
        return [p * slope(a) for p, a in zip(pulled, A, strict=True)]


@pytest.mark.parametrize("depth", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_the_delta_of_every_layer(depth: int) -> None:
    """delta^l = W^T delta^(l+1) * A (1 - A); dC/dW = delta A^T, dC/db = delta: all of it by the engine's chain."""
    net = Net(depth)
    for layer in range(depth):
        gradients = [z.grad for z in net.Z[layer]]
        proved(gradients, net.delta(layer))
        proved([b.grad for b in net.b[layer]], gradients)
        proved(
            [[w.grad for w in row] for row in net.W[layer]],
            [[d * a.data for a in net.A[layer]] for d in gradients],
        )
        if layer < depth - 1:
            refuted(
                gradients, net.delta(layer, transposed=False)
            )  # W in place of W^T: the sizes agree, the numbers do not
            refuted(gradients, net.delta(layer, slope=lambda a: a))  # sigma' forgotten
            refuted(gradients, net.delta(layer, slope=lambda a: (a * (1 - a)) ** 2))  # sigma' twice
            refuted(gradients, net.delta(layer)[::-1])  # the units exchanged
        refuted(
            [[w.grad for w in row] for row in net.W[layer]], [[d * a.data for d in gradients] for a in net.A[layer]]
        )


def test_the_delta_of_the_first_of_three_layers() -> None:
    """delta^1 = W2^T (W3^T (A - Y) * A2 (1 - A2)) * A1 (1 - A1)."""
    net = Net(3)
    proved(net.Z[0][0].grad, net.delta(0)[0])
    refuted(net.Z[0][0].grad, net.delta(0)[1])


# --------------------------------------------------------------------------------------------- every elementary rule

KINKED = ("relu", "leaky_relu", "maximum", "minimum", "clip", "where", "total", "dot", "sign", "abs")
SMOOTH = [row for row in SCALAR_ROWS if row.rule.__name__ not in KINKED]


@pytest.mark.parametrize("row", SMOOTH, ids=repr)
def test_a_rule_is_the_derivative_of_the_formula(row: Row) -> None:
    """Each share is SymPy's derivative of the test table's formula; off by a factor or a sign it is refuted."""
    values = mg.symbols(f"x:{row.family.scalars}", positive=True)
    symbols = [value.data for value in values]
    z, formula = row.rule(*values), row.formula(sympy, *symbols)
    shares = list(mg.grad(z, values))
    derivatives = [sympy.diff(formula, s) for s in symbols]
    proved([z, *shares], [formula, *derivatives])
    refuted(shares, [-d for d in derivatives])
    refuted(shares, [d * sympy.Rational(1001, 1000) for d in derivatives])


@pytest.mark.parametrize("sign", ["positive", "negative"])
@pytest.mark.parametrize(
    "rule", [rules.softplus, rules.logsigmoid, rules.binary_cross_entropy_with_logits], ids=lambda rule: rule.__name__
)
def test_a_stable_form_is_the_textbooks(rule: Any, sign: str) -> None:
    """What rules.py computes, made of max and |x| so that nothing overflows, once for z > 0 and once for z < 0."""
    row = next(row for row in SCALAR_ROWS if row.rule is rule)
    inputs = [sympy.Symbol("z", **{sign: True}), sympy.Symbol("y", real=True)][: row.family.scalars]
    textbook = row.formula(sympy, *inputs)
    proved(rule.value(*inputs), textbook)
    refuted(rule.value(*inputs), -textbook)
    z, g = mg.Value(inputs[0]), sympy.Symbol("g", real=True)
    (share,) = mg.grad(rule(z, *inputs[1:]), z, grad_outputs=g)
    proved(share, g * sympy.diff(textbook, inputs[0]))


def test_a_shift_leaves_logsumexp_as_it_is() -> None:
    """ln sum e^(z - c) + c is ln sum e^z for every c, the largest z among them: the shift that keeps it finite."""
    *Z, c = mg.symbols("z1:4 c")
    plain = mg.log(sum((mg.exp(z) for z in Z[1:]), mg.exp(Z[0])))
    shifted = mg.log(sum((mg.exp(z - c) for z in Z[1:]), mg.exp(Z[0] - c))) + c
    proved(shifted, plain)
    proved(list(mg.grad(shifted, [*Z, c])), [*softmax(Z), 0])
    refuted(shifted - 2 * c, plain)
    proved(softmax([z - c for z in Z]), softmax(Z))


@pytest.mark.parametrize(
    ("words", "relu", "leaky", "modulus"),
    [({"positive": True}, 1, 1, 1), ({"negative": True}, 0, sympy.Rational(1, 100), -1)],
    ids=["positive", "negative"],
)
def test_choices_that_a_sign_decides(words: dict[str, bool], relu: Any, leaky: Any, modulus: Any) -> None:
    """relu, leaky relu, |x|, maximum and clip of a symbol with a sign are one branch, and so is their gradient."""
    (x,) = mg.symbols("x,", **words)
    for function, slope in (
        (mg.relu, relu), (mg.leaky_relu, leaky), (mg.abs, modulus), (lambda v: mg.maximum(v, 0), relu),
        (lambda v: v - mg.minimum(v, 0), relu),
    ):  # fmt: skip
        z = function(x)
        proved(z, slope * x.data)
        proved(mg.grad(z, x)[0], slope)
