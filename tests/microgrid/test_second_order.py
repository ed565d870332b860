"""Derivatives of derivatives: each `wrt_*` is itself made of rules, so it can be differentiated like any function."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
from microgrid import rules
from tests.microgrid.checking import (
    DIFFERENCED,
    EXACT,
    close,
    complex_step,
    formula_of,
    gradients,
    mp_derivative,
    numbers,
    scalar_inputs,
    varied,
    weights,
)
from tests.microgrid.families import Case
from tests.microgrid.table import ROW_OF, ROWS, SCALAR_ROWS, Row


def check_second_order(row: Row, case: Case, seed: int = 0) -> None:
    """With s = sum_i <v_i, dL/dx_i> and L = <g, z>: ds/dg = J v is exact by a complex step, ds/dx = H v by differences.

    The gradients that are differenced are the formula's, by complex steps: no rule takes part on that side.
    """
    xs, positions = numbers(row, case, seed), varied(case)
    nodes = [mg.Tensor(x, requires_grad=True) if i in positions else x for i, x in enumerate(xs)]
    z = row.rule(*nodes, **case.parameters)
    f = formula_of(row, case)
    g = mg.Tensor(weights(z.shape, seed, z.dtype), requires_grad=True)
    variables = [nodes[position] for position in positions]
    first = mg.grad(z, variables, grad_outputs=g, create_graph=True)
    for gradient, variable in zip(first, variables, strict=True):
        assert gradient.shape == variable.shape
        assert gradient.dtype == variable.dtype
    v = [weights(x.shape, seed + 1) if i in positions else None for i, x in enumerate(xs)]
    s = mg.sum([mg.sum(gradient * v[position]) for gradient, position in zip(first, positions, strict=True)])
    along, *second = mg.grad(s, [g, *variables], allow_unused=True)
    single = z.dtype == np.float32

    stepped = complex_step(f, xs, v)
    close(along, stepped, 1e-5 if single else EXACT, f"{row}{case}: ds/dg")
    h = np.finfo(float).eps ** (1 / 3)
    up = gradients(
        complex_step, f, [x if d is None else x + h * d for x, d in zip(xs, v, strict=True)], g._data, positions
    )
    down = gradients(
        complex_step, f, [x if d is None else x - h * d for x, d in zip(xs, v, strict=True)], g._data, positions
    )
    for position, given_share, above, below in zip(positions, second, up, down, strict=True):
        expected = (above - below) / (2 * h)
        share = np.zeros(expected.shape) if given_share is None else given_share
        close(share, expected, 20 * DIFFERENCED, f"{row}{case}: ds/dx of input {position}")


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_arrays(row: Row) -> None:
    """The double-backward pass gives J v and H v for each rule, with broadcasting, 0-d and empty arrays."""
    for seed, case in enumerate(row.family.fixed):
        check_second_order(row, case, seed)


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_arrays_of_any_shape(row: Row) -> None:
    """So it does for whatever shapes, axes and places hypothesis thinks of."""

    @settings(max_examples=12)
    @given(row.family.drawn, st.integers(0, 1000))
    def holds(case: Case, seed: int) -> None:
        check_second_order(row, case, seed)

    holds()


@pytest.mark.parametrize("row", SCALAR_ROWS, ids=repr)
def test_floats(row: Row) -> None:
    """All second derivatives of a function of floats, the mixed ones too, are mpmath's at 50 digits to 1e-12."""
    for seed in range(2):
        case, xs = scalar_inputs(row, seed)
        positions = varied(case)
        nodes: list[Any] = [mg.Value(float(x)) if i in positions else bool(x) for i, x in enumerate(xs)]
        variables = [nodes[position] for position in positions]
        first = mg.grad(row.rule(*nodes, **case.parameters), variables, create_graph=True)
        for i, gradient in enumerate(first):
            if not gradient.requires_grad:  # it is a constant
                second: tuple[Any, ...] = (None,) * len(variables)
            else:
                second = mg.grad(gradient, variables, allow_unused=True)
            for j, share in enumerate(second):
                orders = [(k == i) + (k == j) for k in range(len(variables))]
                close(share or 0.0, mp_derivative(row, case, xs, orders), EXACT, f"{row}: d2z/dx{i}dx{j}")


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
@pytest.mark.parametrize("cube", [lambda x: x**3, lambda x: x * x * x, lambda x: mg.square(x) * x])
def test_four_derivatives_of_a_cube(make: Any, cube: Any) -> None:
    """x^3 at 2 has the derivatives 12, 12, 6, 0, 0: what does not depend on x any more has the derivative 0."""
    x = make(2.0)
    z, found = cube(x), []
    for _ in range(5):
        (z,) = mg.grad(z, x, create_graph=True)
        found.append(z.item())
    assert found == [12, 12, 6, 0, 0]
    assert float(mg.grad(z, x)[0]) == 0


@pytest.mark.parametrize("y", [0.0, 1.0, 2.0, -1.0, 0.5])
@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_the_second_derivatives_of_a_power(make: Any, y: float) -> None:
    """Those of x^y at x = 2, at whole exponents too, where a rule may guard against 0: mpmath's, and symmetric."""
    nodes = [make(2.0), make(y)]
    first = mg.grad(nodes[0] ** nodes[1], nodes, create_graph=True)
    xs = [np.array(2.0), np.array(y)]
    for i, gradient in enumerate(first):
        for j, share in enumerate(mg.grad(gradient, nodes)):
            exact = mp_derivative(ROW_OF[rules.power], Case(((), ())), xs, [(k == i) + (k == j) for k in range(2)])
            close(share, exact, EXACT, f"d2z/dx{i}dx{j}")


SMOOTH_AT_0 = [
    rule.__name__
    for rule in (
        rules.exp,
        rules.expm1,
        rules.sin,
        rules.cos,
        rules.tan,
        rules.tanh,
        rules.sigmoid,
        rules.softplus,
        rules.logsigmoid,
        rules.log1p,
        rules.square,
    )
]
ZEROS = [0.0, -0.0, Fraction(0), mpmath.mpf(0), np.zeros(3), np.zeros(2, np.float32)]


@pytest.mark.parametrize("zero", ZEROS, ids=repr)
@pytest.mark.parametrize("power", range(5))
def test_all_derivatives_of_a_power_at_0(power: int, zero: Any) -> None:
    """x^n at 0: the n-th derivative is n!, all others are 0, on every kind of number and in its own kind."""
    x = mg.Tensor(zero, requires_grad=True) if isinstance(zero, np.ndarray) else mg.Value(zero)
    z = x**power
    for order in range(1, 6):
        (z,) = mg.grad(mg.sum(z) if isinstance(z, mg.Tensor) else z, x, create_graph=True)
        number = z.numpy() if isinstance(z, mg.Tensor) and not z.requires_grad else z.data
        assert np.all(number == (math.factorial(power) if order == power else 0))
        assert type(number) is type(zero)
        assert getattr(number, "dtype", None) == getattr(zero, "dtype", None)


def test_second_derivatives_of_a_polynomial_at_0() -> None:
    """1 + 2x + 3x^2, written as a sum of powers, has the second derivative 6 everywhere."""

    def polynomial(x: Any) -> Any:
        return sum(c * x**k for k, c in enumerate([1, 2, 3]))

    slopes = mg.hessian(polynomial)
    assert slopes(0.0) == 6.0
    assert slopes(Fraction(0)) == slopes(mpmath.mpf(0)) == 6
    assert mg.hessian(lambda x: polynomial(x).sum())(np.array([0.0, 1.0])).tolist() == [[6.0, 0.0], [0.0, 6.0]]


def test_derivatives_of_fractions_are_exact() -> None:
    """The third derivative of 1/x at 1/3 is -6 * 81, in fractions."""
    x = mg.Value(Fraction(1, 3))
    z = 1 / x
    for _ in range(3):
        (z,) = mg.grad(z, x, create_graph=True)
    assert z.data == Fraction(-486)
    assert isinstance(z.data, Fraction)


@pytest.mark.parametrize("order", [1, 2, 3, 4, 5])
@pytest.mark.parametrize(
    ("name", "at"),
    [(name, 0.7) for name in ("log", "sqrt")] + [(name, at) for name in SMOOTH_AT_0 for at in (0.7, 0.0)],
)
def test_higher_derivatives(name: str, at: float, order: int) -> None:
    """To the fifth order each is mpmath's, at 0 too."""
    row = next(row for row in ROWS if row.rule.__name__ == name)
    x = mg.Value(at)
    z = row.rule(x)
    for _ in range(order):
        (z,) = mg.grad(z, x, create_graph=True)
    close(z.data, mp_derivative(row, Case(((),)), [np.array(at)], [order]), EXACT)


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
@pytest.mark.parametrize("cube", [lambda x: x**3, lambda x: x * x * x, lambda x: mg.square(x) * x])
def test_four_derivatives_of_a_cube_by_backward(make: Any, cube: Any) -> None:
    """So does backward(create_graph=True), whose gradients are nodes; each pass begins with no gradient there."""
    x = make(2.0)
    z, found = cube(x), []
    for _ in range(5):
        x.zero_grad()
        z.backward(create_graph=True)
        z = x.grad
        found.append(z.item())
    assert found == [12, 12, 6, 0, 0]
    x.zero_grad()  # or x and its gradient hold each other


def by_cauchy(f: Any, order: int, radius: float = 0.005, points: int = 32) -> float:
    """The derivative of an analytic function at 0: its mean over a small circle, turned (Lyness and Moler, 1967)."""
    turns = np.exp(2j * np.pi * np.arange(points) / points)
    mean = np.mean([f(radius * turn) * turn**-order for turn in turns])
    return float(np.real(mean)) * math.factorial(order) / radius**order


@pytest.mark.parametrize("order", [3, 4])
@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_each_rule_to_higher_orders(row: Row, order: int) -> None:
    """d^n/dt^n of <u, z(x + t v)^2> along a line, by n nested gradients, is that of the formula by Cauchy's integral.

    The circle has radius 0.005, so that rounding counts 24 eps / r^4 = 1e-5 at the fourth order, and 1e-8 at the third.
    """
    case = next(c for c in row.family.fixed if all(np.prod(x) > 1 for x in c.inputs if isinstance(x, tuple)))
    if row.rule is rules.astype:
        case = case._replace(parameters={"dtype": np.dtype("f8")})  # single precision has no digits left
    xs, positions = numbers(row, case), varied(case)
    v = {position: weights(np.shape(xs[position]), 1) for position in positions}
    f = formula_of(row, case)
    u = weights(np.shape(f(*xs)), 2)

    def along(t: Any) -> Any:
        return [x + t * v[i] if i in v else x for i, x in enumerate(xs)]

    def ours(t: Any) -> Any:
        z = row.rule(*along(t), **case.parameters)
        return mg.sum(u * z * z)

    derivative = ours
    for _ in range(order):
        derivative = mg.grad(derivative)
    exact = by_cauchy(lambda t: np.sum(u * f(*along(t)) ** 2), order)
    scale = abs(exact) + float(np.abs(u * f(*xs) ** 2).sum())
    assert abs(derivative(0.0) - exact) <= {3: 1e-7, 4: 1e-4}[order] * scale


def test_a_third_derivative_through_broadcasting() -> None:
    """L = sum_ij (x_i y_j)^3 with x (3, 1), y (2,): d3L/dx_i^3 = 6 sum_j y_j^3, and d3L/dx_i^2 dy_j = 18 x_i y_j^2."""
    x = mg.Tensor([[1.0], [2.0], [-1.0]], requires_grad=True)
    y = mg.Tensor([0.5, 3.0], requires_grad=True)
    (first,) = mg.grad(((x * y) ** 3).sum(), x, create_graph=True)
    (second,) = mg.grad(first.sum(), x, create_graph=True)
    by_x, by_y = mg.grad(second.sum(), (x, y))
    close(by_x, np.full((3, 1), 6 * (0.5**3 + 3.0**3)), EXACT)
    close(by_y, 18 * 2.0 * np.array([0.5, 3.0]) ** 2, EXACT)


def test_the_gradient_of_a_gradient_keeps_its_precision() -> None:
    """In float32 the second derivatives of every rule are float32 too, and agree with float64's."""
    for row in ROWS:
        case = next(case for case in row.family.fixed if all(np.prod(x) for x in case.inputs if isinstance(x, tuple)))
        seconds = []
        for dtype in (np.float32, np.float64):
            xs, positions = numbers(row, case, 0, np.float32), varied(case)
            nodes = [mg.Tensor(x, True, dtype) if i in positions else x for i, x in enumerate(xs)]
            variables = [nodes[i] for i in positions]
            z = row.rule(*nodes, **case.parameters)
            first = mg.grad(z, variables, grad_outputs=weights(z.shape, 0, z.dtype), create_graph=True)
            recorded = [gradient.sum() for gradient in first if gradient.requires_grad]
            if not recorded:
                continue
            second = mg.grad(mg.sum(recorded), variables, allow_unused=True)
            assert {share.dtype for share in second if share is not None} <= {np.dtype(dtype)}, row
            seconds.append(
                [np.zeros(x.shape) if share is None else share for share, x in zip(second, variables, strict=True)]
            )
        for single, double in zip(*seconds, strict=True) if seconds else ():
            close(single, double, 1e-4, row.rule.__name__)


def test_second_order_reaches_values_through_tensors() -> None:
    """A Value that scales a Tensor: L = sum (a x)^2 has d2L/da2 = 2 sum x^2 and d2L/dadx = 4 a x."""
    a, x = mg.Value(1.5), mg.Tensor([1.0, -2.0, 3.0], requires_grad=True)
    (first,) = mg.grad(mg.sum((a * x) ** 2), a, create_graph=True)
    by_a, by_x = mg.grad(first, (a, x))
    close(by_a, 2 * 14.0, EXACT)
    close(by_x, 4 * 1.5 * np.array([1.0, -2.0, 3.0]), EXACT)
