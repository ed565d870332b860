"""The recursions take arrays of the shapes of the notes, and nothing else: no silent broadcasting, in either layout."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from nn import closed_form

SOFTMAX = closed_form.pair_of("softmax", "log-likelihood")
rng = np.random.default_rng(0)
X = rng.normal(size=(4, 3))  # n_0 = 4 numbers, m = 3 samples
W = [rng.normal(size=(5, 4)), rng.normal(size=(2, 5))]
b = [rng.normal(size=(5, 1)), rng.normal(size=(2, 1))]
Y = rng.uniform(size=(2, 3))
Z, A = closed_form.forward(X, W, b)


def zeros(*shape: int) -> Any:
    return np.zeros(shape)


# Each call of the column layout, and what its error says of the shapes in that layout; "->" stands before a wish
FAULTS: dict[str, tuple[Callable[[Any, Any], object], str, type[Exception]]] = {
    "W too narrow": (lambda f, T: f.forward(T(X), [T(zeros(5, 3)), T(W[1])], [*map(T, b)]),
                     "W[0] has shape (5, 3), and X gives 4 numbers a sample, expected (5, 4)", ValueError),
    "W after W": (lambda f, T: f.forward(T(X), [T(W[0]), T(zeros(2, 4))], [*map(T, b)]),
                  "W[1] has shape (2, 4), and W[0] gives 5 numbers a sample, expected (2, 5)", ValueError),
    "b of one number": (lambda f, T: f.forward(T(X), [*map(T, W)], [T(zeros(1, 1)), T(b[1])]),
                        "b[0] has shape (1, 1), expected (5, 1)", ValueError),
    "b of each sample": (lambda f, T: f.forward(T(X), [*map(T, W)], [T(b[0]), T(zeros(2, 3))]),
                         "b[1] has shape (2, 3), expected (2, 1)", ValueError),
    "Y of one output": (lambda f, T: f.backward([*map(T, A)], T(zeros(1, 3)), [*map(T, W)]),
                        "Y has shape (1, 3), expected (2, 3)", ValueError),
    "Y of one sample": (lambda f, T: f.backward([*map(T, A)], T(zeros(2, 1)), [*map(T, W)]),
                        "Y has shape (2, 1), expected (2, 3)", ValueError),
    "A of one sample": (lambda f, T: f.backward([T(A[0]), T(zeros(5, 1)), T(A[2])], T(Y), [*map(T, W)]),
                        "A[1] has shape (5, 1), expected (5, 3)", ValueError),
    "A of another layer": (lambda f, T: f.backward([T(A[0]), T(A[1]), T(zeros(1, 3))], T(Y), [*map(T, W)]),
                           "A[2] has shape (1, 3), expected (2, 3)", ValueError),
    "no sample": (lambda f, T: f.forward(T(zeros(4, 0)), [*map(T, W)], [*map(T, b)]),
                  "X of shape (4, 0) holds no sample", ValueError),
}  # fmt: skip


@pytest.mark.parametrize("layout", ["columns", "rows"])
@pytest.mark.parametrize("fault", FAULTS)
def test_shapes_that_do_not_fit_are_named_in_either_layout(fault: str, layout: str) -> None:
    call, message, error = FAULTS[fault]

    class Rows:
        forward, backward = staticmethod(closed_form.forward_rows), staticmethod(closed_form.backward_rows)

    if layout == "rows":
        message = re.sub(r"\((\d+), (\d+)\)", r"(\2, \1)", message)
    with pytest.raises(error, match=rf"{re.escape(message)}, at test_layouts\.py:\d+$"):
        call(Rows if layout == "rows" else closed_form, (lambda a: a.T) if layout == "rows" else lambda a: a)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: closed_form.forward(X, W, [b[0], zeros(2)]), ValueError, r"b\[1\] has shape \(2,\)"),
        (lambda: closed_form.forward(X, W, b[:1]), ValueError, "2 matrices W and 1 b, expected one of each"),
        (lambda: closed_form.forward(X[:, 0], W, b), ValueError, r"X has shape \(4,\), expected two axes"),
        (lambda: closed_form.forward([[1.0]], W, b), TypeError, "X must be an ndarray, got list"),
        (lambda: closed_form.backward(A[:2], Y, W), ValueError, "2 arrays A and 2 matrices W, expected A.0. = X and"),
        (lambda: closed_form.backward([zeros(2, 0), zeros(1, 0)], zeros(1, 0), [zeros(1, 2)]), ValueError, "no s"),
        (lambda: closed_form.backward(A, Y, [W[0], W[1].T]), ValueError, r"W\[1\] has shape \(5, 2\), and W"),
        (lambda: closed_form.backward(A, Y[0], W), ValueError, r"Y has shape \(3,\), expected two axes"),
        (lambda: closed_form.backward(A, Y, W, pair=SOFTMAX), ValueError, r"Y has shape \(2, 3\), expected \(3,\)"),
        (lambda: closed_form.backward(A, np.ones(3), W, pair=SOFTMAX), TypeError, "class indices must be integers"),
        (lambda: closed_form.backward(A, np.array([0, 1, 2]), W, pair=SOFTMAX), ValueError, "Y holds the class 2, exp"),
        (lambda: closed_form.backward(A, np.array([0, 1, -1]), W, pair=SOFTMAX), ValueError, "Y holds the class -1"),
        (lambda: closed_form.cost(Z[-1], Y[:1]), ValueError, r"cost: Y has shape \(1, 3\), expected \(2, 3\)"),
        (lambda: closed_form.cost(zeros(2, 0), zeros(2, 0)), ValueError, r"Z of shape \(2, 0\) holds no sample"),
        (lambda: closed_form.cost(Z[-1], np.array([0, 1, 2]), SOFTMAX), ValueError, "Y holds the class 2"),
    ],
)  # fmt: skip
def test_what_else_is_refused(call: Callable[[], object], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"{message}.*, at test_layouts\.py:\d+$"):
        call()


def test_what_fits_is_computed_as_before() -> None:
    """Column and row layout of one network are each other's transpose."""
    Z_rows, A_rows = closed_form.forward_rows(X.T, [w.T for w in W], [c.T for c in b])
    np.testing.assert_allclose(Z_rows[-1].T, W[1] @ (1 / (1 + np.exp(-(W[0] @ X + b[0])))) + b[1], rtol=1e-13)
    for column, row in zip(
        closed_form.backward(A, Y, W), closed_form.backward_rows(A_rows, Y.T, [w.T for w in W]), strict=True
    ):
        for one, other in zip(column, row, strict=True):
            np.testing.assert_allclose(one, other.T, rtol=1e-13)
