"""Seven ways to one Hessian agree: three orders of forward and reverse, differences, complex step, mpmath, SymPy.

The last three differentiate the test's own plain code, and no rule takes part. Tolerances, relative to the norm of the
Hessian: 1e-13 among the ways of the engine and against those three (rounding of some hundred operations), 1e-9 for
central differences of gradients (h = 6e-6, whose truncation is h^2).
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
import sympy

import microgrid as mg

EXACT, DIFFERENCED = 1e-13, 1e-9


class Problem(NamedTuple):
    function: Callable[[Any], Any]  # of a vector of microgrid's
    plain: Callable[[Any, Any], Any]  # (library, numbers): the same in the library's words, number by number
    gradient: Callable[[Any], Any]  # by hand, of an array, complex or not
    point: Any


# ------------------------------------------------------------------------- a scalar function of three variables


def three(x: Any) -> Any:
    return mg.exp(x[0] * x[1]) * mg.sin(x[2]) + x[0] ** 3 / (1 + x[1] ** 2) + mg.tanh(x[1] * x[2])


def three_plain(m: Any, x: Any) -> Any:
    return m.exp(x[0] * x[1]) * m.sin(x[2]) + x[0] ** 3 / (1 + x[1] ** 2) + m.tanh(x[1] * x[2])


def three_gradient(v: Any) -> Any:
    x, y, z = v
    e, t, q = np.exp(x * y), np.tanh(y * z), 1 + y * y
    return np.array(
        [
            y * e * np.sin(z) + 3 * x * x / q,
            x * e * np.sin(z) - 2 * y * x**3 / q**2 + z * (1 - t * t),
            e * np.cos(z) + y * (1 - t * t),
        ]
    )


# ------------------------------------------- a sigmoid network, 2-2-1, and its binary cross-entropy over two samples

X = np.array([[0.5, -1.0], [1.5, 0.25]])
Y = np.array([1.0, 0.3])  # one hard label, one soft


def net(p: Any) -> Any:
    """W1 = p[:4], b1 = p[4:6], W2 = p[6:8], b2 = p[8]; the mean over the samples of the textbook's loss."""
    hidden = mg.sigmoid(X @ mg.reshape(p[:4], 2, 2).T + p[4:6])
    a = mg.sigmoid(hidden @ p[6:8] + p[8])
    return -mg.mean(Y * mg.log(a) + (1 - Y) * mg.log(1 - a))


def net_plain(m: Any, p: Any) -> Any:
    total = 0
    for (x1, x2), y in zip(X.tolist(), Y.tolist(), strict=True):
        h1 = 1 / (1 + m.exp(-(p[0] * x1 + p[1] * x2 + p[4])))
        h2 = 1 / (1 + m.exp(-(p[2] * x1 + p[3] * x2 + p[5])))
        a = 1 / (1 + m.exp(-(p[6] * h1 + p[7] * h2 + p[8])))
        total = total - (y * m.log(a) + (1 - y) * m.log(1 - a))
    return total / 2


def net_gradient(p: Any) -> Any:
    """The notes' closed form: delta2 = (A - Y) / m, delta1 = delta2 W2 * A1 (1 - A1)."""
    W1, b1, W2, b2 = p[:4].reshape(2, 2), p[4:6], p[6:8], p[8]
    hidden = 1 / (1 + np.exp(-(X @ W1.T + b1)))
    delta2 = (1 / (1 + np.exp(-(hidden @ W2 + b2))) - Y) / len(Y)
    delta1 = np.outer(delta2, W2) * hidden * (1 - hidden)
    return np.concatenate([(delta1.T @ X).ravel(), delta1.sum(0), hidden.T @ delta2, [delta2.sum()]])


PROBLEMS = {
    "three variables": Problem(three, three_plain, three_gradient, np.array([0.5, -1.25, 2.0])),
    "network": Problem(net, net_plain, net_gradient, np.array([0.3, -0.8, 1.1, 0.4, 0.2, -0.5, 1.4, -0.9, 0.1])),
}


# ------------------------------------------------------------------------------------------------ the seven ways


def forward_over_reverse(problem: Problem) -> Any:
    gradient, units = mg.grad(problem.function), np.eye(len(problem.point))
    return np.stack([mg.jvp(gradient, (problem.point,), (e,))[1] for e in units], 1)


def reverse_over_reverse(problem: Problem) -> Any:
    x = mg.Tensor(problem.point, requires_grad=True)
    (gradient,) = mg.grad(problem.function(x), x, create_graph=True)
    return np.stack([mg.grad(gradient, x, e)[0] for e in np.eye(len(problem.point))])


def reverse_over_forward(problem: Problem) -> Any:
    along = lambda e: lambda x: mg.jvp(problem.function, (x,), (e,))[1]
    return np.stack([mg.grad(along(e))(problem.point) for e in np.eye(len(problem.point))])


def differences_of_gradients(problem: Problem) -> Any:
    gradient, h = mg.grad(problem.function), np.finfo(float).eps ** (1 / 3)
    x = problem.point
    return np.stack([(gradient(x + h * e) - gradient(x - h * e)) / (2 * h) for e in np.eye(len(x))], 1)


def complex_step(problem: Problem) -> Any:
    x = problem.point.astype(complex)
    return np.stack([np.imag(problem.gradient(x + 1e-200j * e)) / 1e-200 for e in np.eye(len(x))], 1)


def by_mpmath(problem: Problem) -> Any:
    n = len(problem.point)
    with mpmath.workdps(40):
        at = tuple(map(mpmath.mpf, problem.point.tolist()))
        f = lambda *x: problem.plain(mpmath, x)
        found = np.zeros((n, n))
        for i in range(n):
            for j in range(i + 1):
                orders = tuple((k == i) + (k == j) for k in range(n))
                found[i, j] = found[j, i] = mpmath.diff(f, at, orders)
    return found


def by_sympy(problem: Problem) -> Any:
    x = sympy.symbols(f"x:{len(problem.point)}")
    expression = problem.plain(sympy, x)
    first = [sympy.diff(expression, a) for a in x]
    places = np.tril_indices(len(x))
    second = [sympy.diff(first[i], x[j]) for i, j in zip(*places, strict=True)]
    found = np.zeros((len(x), len(x)))
    found[places] = sympy.lambdify([x], second, "math", cse=True)(problem.point.tolist())
    return np.tril(found) + np.tril(found, -1).T


def by_hessian(problem: Problem) -> Any:
    return mg.hessian(problem.function)(problem.point)


def by_hvp(problem: Problem) -> Any:
    return np.stack([mg.hvp(problem.function, problem.point, e)[1] for e in np.eye(len(problem.point))])


WAYS: dict[str, tuple[Callable[[Problem], Any], float]] = {
    "forward over reverse": (forward_over_reverse, EXACT),
    "reverse over reverse": (reverse_over_reverse, EXACT),
    "reverse over forward": (reverse_over_forward, EXACT),
    "differences of gradients": (differences_of_gradients, DIFFERENCED),
    "complex step": (complex_step, EXACT),
    "mpmath": (by_mpmath, EXACT),
    "SymPy": (by_sympy, EXACT),
    "mg.hessian": (by_hessian, EXACT),
    "mg.hvp": (by_hvp, EXACT),
}


@functools.cache
def exact(name: str) -> Any:
    """What all are held against: mpmath's, at 40 digits."""
    return by_mpmath(PROBLEMS[name])


SLOW = {("network", "SymPy")}  # 45 expressions


@pytest.mark.parametrize(
    ("name", "way"),
    [
        pytest.param(name, way, marks=[pytest.mark.slow] if (name, way) in SLOW else [])
        for name in PROBLEMS
        for way in WAYS
    ],
)
def test_all_ways_agree(name: str, way: str) -> None:
    """Each way gives mpmath's Hessian, which is symmetric and no zero matrix."""
    run, tolerance = WAYS[way]
    expected, found = exact(name), run(PROBLEMS[name])
    size = np.linalg.norm(expected)
    assert size > 0.1
    assert np.linalg.norm(found - expected) <= tolerance * size
    assert np.linalg.norm(found - found.T) <= 2 * tolerance * size


@pytest.mark.parametrize("name", PROBLEMS)
def test_fifty_digits_of_the_engine(name: str) -> None:
    """The engine's own rules on mpmath's numbers, through Values: what float64 loses of each entry is rounding."""
    problem = PROBLEMS[name]
    library = type("m", (), {rule: staticmethod(getattr(mg, rule)) for rule in ("exp", "sin", "tanh", "log")})
    with mpmath.workdps(40):
        numbers = [mpmath.mpf(x) for x in problem.point.tolist()]
        found = mg.hessian(lambda x: problem.plain(library, x))(numbers)
        found = np.array([[float(entry) for entry in row] for row in found])
    np.testing.assert_allclose(found, exact(name), rtol=1e-15)


def test_a_wrong_second_derivative_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """tanh with a second derivative off by 1e-6 disagrees."""
    (wrt,) = mg.rules.tanh.wrt

    def off(g: Any, z: Any, x: Any) -> Any:
        share = wrt(g, z, x)
        return share + (share - share.detach()) * 1e-6 if isinstance(share, mg.Node) else share

    monkeypatch.setattr(mg.rules.tanh, "wrt", (off,))
    with pytest.raises(AssertionError):
        test_all_ways_agree("three variables", "reverse over reverse")
