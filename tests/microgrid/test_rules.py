"""Each rule's value and derivatives are those of the function that its row of the table writes out."""

from __future__ import annotations

import inspect
import sys
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import example, given, settings, strategies as st

import microgrid as mg
from microgrid import rules
from microgrid.rule import Rule
from tests.microgrid.checking import EXACT, check, check_floats, close, numbers, scalar_inputs, varied
from tests.microgrid.table import ROWS, SCALAR_ROWS, Row

RULES = [rule for _, rule in inspect.getmembers(rules, inspect.isclass) if issubclass(rule, Rule) and rule is not Rule]


def test_each_rule_has_one_row() -> None:
    """A rule without a row in the table fails here, and so does a row whose rule is gone."""
    assert sorted(row.rule.__name__ for row in ROWS) == sorted(rule.__name__ for rule in RULES)


def test_each_row_has_its_edges() -> None:
    """Each rule is tried on an empty array and on one without axes, but those that need an axis, or two numbers."""
    empty, without_axes = (
        {
            row.rule.__name__
            for row in ROWS
            if any(found(x) for case in row.family.fixed for x in case.inputs if isinstance(x, tuple))
        }
        for found in (lambda shape: 0 in shape, lambda shape: shape == ())
    )
    names = {row.rule.__name__ for row in ROWS}
    assert names - empty == set()
    assert names - without_axes == {
        "matmul",
        "linear",
        "flip",
        "take_along_axis",
        "add_along_axis",
        "concatenate",
        "var",
        "std",
    }


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_arrays(row: Row, dtype: Any) -> None:
    """On arrays (0-d, empty and broadcast ones too) in both precisions: value, gradients, their shapes and types."""
    for seed, case in enumerate(row.family.fixed):
        check(row, case, seed, dtype)


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_arrays_of_any_shape(row: Row) -> None:
    """So it is for whatever shapes, axes and places hypothesis thinks of."""

    @settings(max_examples=30)
    @given(row.family.drawn, st.integers(0, 1000))
    def holds(case: Any, seed: int) -> None:
        check(row, case, seed)

    holds()


@pytest.mark.parametrize("row", SCALAR_ROWS, ids=repr)
def test_floats(row: Row) -> None:
    """On floats: value and gradients to 1e-12 of mpmath's derivatives at 50 digits and of complex steps."""
    for seed in range(6):
        check_floats(row, seed)


@pytest.mark.parametrize("row", SCALAR_ROWS, ids=repr)
def test_against_symbolic_derivatives(row: Row) -> None:
    """The gradients are SymPy's derivatives of the formula, evaluated at 30 digits."""
    case, _ = scalar_inputs(row, 0)
    positions = varied(case)
    symbols = sympy.symbols(f"x:{len(case.inputs)}", real=True)
    inputs = [symbols[i] if i in positions else int(x) for i, x in enumerate(case.inputs)]
    formula = row.formula(sympy, *inputs, **case.parameters)
    for seed in range(3):
        xs = numbers(row, case, seed)
        nodes = [mg.Value(float(x)) if i in positions else bool(x) for i, x in enumerate(xs)]
        at = {symbols[i]: sympy.Float(float(xs[i]), 30) for i in positions}
        given = mg.grad(row.rule(*nodes, **case.parameters), [nodes[i] for i in positions])
        for i, gradient in zip(positions, given, strict=True):
            close(gradient, float(formula.diff(symbols[i]).evalf(30, subs=at)), EXACT, f"{row}: input {i}")


@pytest.mark.parametrize("row", SCALAR_ROWS, ids=repr)
def test_floats_and_arrays_agree(row: Row) -> None:
    """A Value and a Tensor of no axes have the same value and gradients to the last few bits."""
    case, _ = scalar_inputs(row, 0)
    for seed in range(4):
        xs, positions = numbers(row, case, seed), varied(case)
        values = [mg.Value(float(x)) if i in positions else x for i, x in enumerate(xs)]
        tensors = [mg.Tensor(x, requires_grad=True) if i in positions else x for i, x in enumerate(xs)]
        z, t = (row.rule(*nodes, **case.parameters) for nodes in (values, tensors))
        close(z.data, t._data, 4e-15)
        for value, tensor in zip(
            mg.grad(z, [values[i] for i in positions]), mg.grad(t, [tensors[i] for i in positions]), strict=True
        ):
            close(value, tensor, 4e-15)


# ------------------------------------------------------------------------------------------------- closed forms


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_ties_share_equally(dtype: Any) -> None:
    """Of n equal largest (smallest) numbers each takes 1/n of the gradient, along each axis by itself."""
    x = mg.Tensor([[2, 2, 1], [3, 0, 0]], requires_grad=True, dtype=dtype)
    for function, expected in ((mg.max, [[0.5, 0.5, 0], [1, 0, 0]]), (mg.min, [[0, 0, 1], [0, 0.5, 0.5]])):
        (gradient,) = mg.grad(function(x, axis=1), x, grad_outputs=np.ones(2))
        assert gradient.tolist() == expected
    (gradient,) = mg.grad(mg.max(mg.Tensor(np.full((2, 2), 7.0)) * 0 + x[:, :2] * 0), x)
    assert gradient.tolist() == [[0, 0, 0], [0, 0, 0]]


@pytest.mark.parametrize("function", [mg.maximum, mg.minimum])
def test_each_input_takes_half_at_a_tie(function: Any) -> None:
    for make in (mg.Value, lambda x: mg.Tensor(x, requires_grad=True)):
        x, y = make(1.0), make(1.0)
        assert [float(share) for share in mg.grad(function(x, y), (x, y))] == [0.5, 0.5]


@pytest.mark.parametrize(
    ("numbers", "expected"),
    [
        ([2, 3, 4], [12, 8, 6]),
        ([2, 0, 4], [0, 8, 0]),
        ([0, 3, 0], [0, 0, 0]),
        ([0], [1]),
        ([5, 1e-300, 2], [2e-300, 10, 5e-300]),
    ],
)
def test_the_share_of_a_factor_is_the_product_of_the_others(numbers: list[float], expected: list[float]) -> None:
    """Without a division: exact with one zero, and with two."""
    x = mg.Tensor(numbers, requires_grad=True, dtype=float)
    assert mg.grad(mg.prod(x), x)[0].tolist() == expected


@given(st.lists(st.sampled_from((-2.0, -1.0, 0.0, 1.0, 2.0, 4.0)), max_size=12))
def test_products_of_others(factors: list[float]) -> None:
    """Exact for small whole numbers, however many and wherever the zeros."""
    x = mg.Tensor(np.array(factors), requires_grad=True)
    expected = [np.prod(factors[:i] + factors[i + 1 :]) for i in range(len(factors))]
    assert mg.grad(mg.prod(x), x)[0].tolist() == expected


@given(st.lists(st.integers(-3, 2), max_size=9), st.integers(0, 99))
def test_gradients_of_places_named_twice_add_up(places: list[int], seed: int) -> None:
    """d(sum g x[i])/dx_k is the sum of the g at all places where i = k."""
    x = mg.Tensor(np.arange(3.0), requires_grad=True)
    g = np.random.default_rng(seed).integers(-9, 9, len(places)).astype(float)
    expected = [sum(share for i, share in zip(places, g, strict=True) if i % 3 == k) for k in range(3)]
    assert mg.grad(x[places], x, grad_outputs=g)[0].tolist() == expected
    assert mg.grad(mg.take_along_axis(x, np.array(places, int), 0), x, grad_outputs=g)[0].tolist() == expected


@pytest.mark.parametrize("n", [1, 2, 5])
def test_the_deviation_of_equal_numbers_has_gradient_0(n: int) -> None:
    x = mg.Tensor(np.full(n, 3.0), requires_grad=True)
    assert mg.grad(mg.std(x, correction=0), x)[0].tolist() == [0] * n
    assert mg.grad(mg.norm(x * 0), x)[0].tolist() == [0] * n


@given(st.floats(-700, 700), st.sampled_from((0.0, 1.0)))
def test_the_loss_on_logits_keeps_its_digits(x: float, y: float) -> None:
    """For hard labels value and gradient are right to a few ulp over |x| <= 700, where s(x) - y has no digit left."""
    with mpmath.workdps(400):
        s = 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
        loss, slope = -mpmath.log(s if y else 1 - s), s - int(y)
        for node in (mg.Value(x), mg.Tensor(x, requires_grad=True)):
            z = mg.binary_cross_entropy_with_logits(node, y)
            assert abs(z.item() - loss) <= 8e-16 * loss
            assert abs(float(mg.grad(z, node)[0]) - slope) <= 8e-16 * abs(slope)


@given(st.floats(-740, 740))
@example(-710.0)
def test_the_functions_of_a_logit_keep_their_digits(x: float) -> None:
    """sigmoid, softplus and logsigmoid are right to a few ulp, relatively, on floats and arrays, down to 2.3e-308."""
    with mpmath.workdps(700):
        s = 1 / (1 + mpmath.exp(-mpmath.mpf(x)))
        exact = {mg.sigmoid: s, mg.softplus: -mpmath.log(1 - s), mg.logsigmoid: mpmath.log(s)}
        for function, expected in exact.items():
            for given_number in (x, np.array(x)):
                error = abs(float(function(given_number)) - expected)
                # below z = -709.78, where e^-z overflows, a sigmoid of arrays is 0: less than any normal number
                assert error <= max(8e-16 * abs(expected), sys.float_info.min), f"{function.__name__}({x})"


@given(st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=5))
def test_the_log_of_a_sum_never_overflows(numbers: list[float]) -> None:
    """max x <= logsumexp(x) <= max x + ln n, and its gradient is a softmax: not negative, with sum 1."""
    x = mg.Tensor(numbers, requires_grad=True)
    z = mg.logsumexp(x)
    top = max(numbers)
    assert top <= z.item() <= np.nextafter(top + np.log(len(numbers)), np.inf) + 1e-15
    (gradient,) = mg.grad(z, x)
    assert (gradient >= 0).all()
    if abs(top) < 1e3:  # beyond, an ulp of the value is more than 1e-13 of the gradient
        close(gradient.sum(), 1.0, 1e-12)


@pytest.mark.parametrize(
    "function", [mg.mean, mg.sum, mg.max, mg.min, mg.prod, mg.std, mg.norm, mg.logsumexp, mg.softmax]
)
@pytest.mark.parametrize("axis", [0, -1])
def test_a_number_without_axes_may_be_reduced_over_one(function: Any, axis: int) -> None:
    """A 0-d Tensor takes axis 0 and -1, as in NumPy and torch."""
    x = mg.Tensor(2.0, requires_grad=True)
    keywords = {"correction": 0} if function is mg.std else {}
    z = function(x, axis=axis, **keywords)
    assert z.shape == ()
    assert mg.grad(z, x)[0].shape == ()


@pytest.mark.parametrize(
    "function",
    [
        mg.exp,
        mg.log,
        mg.sqrt,
        mg.sin,
        mg.tanh,
        mg.sigmoid,
        mg.softplus,
        mg.logsigmoid,
        mg.logsumexp,
        mg.softmax,
        mg.mean,
        mg.std,
        mg.norm,
    ],
)
def test_whole_numbers_give_floats(function: Any) -> None:
    """A function of arrays of integers is that of the same floats."""
    close(function(np.array([1, 2, 4])), function(np.array([1.0, 2.0, 4.0])), 0)
    close(function(mg.Tensor([1, 2, 4]))._data, function(np.array([1.0, 2.0, 4.0])), 0)


@pytest.mark.parametrize("function", [mg.max, mg.min, mg.norm, mg.std, mg.mean, mg.logsumexp, mg.prod, mg.cumsum])
@pytest.mark.parametrize("create_graph", [False, True])
def test_out_of_domain_nothing_warns(function: Any, create_graph: bool) -> None:
    """nan, inf and empty arrays pass through value and gradient in silence (warnings are errors here)."""
    for given_numbers in ([np.nan, 1.0], [np.inf, -np.inf], [-np.inf, -np.inf], [0.0, 0.0], [1.0]):
        x = mg.Tensor(given_numbers, requires_grad=True)
        z = function(x)
        mg.grad(z, x, grad_outputs=np.ones(z.shape), create_graph=create_graph)


@pytest.mark.parametrize(
    "function",
    [
        mg.abs,
        mg.sign,
        mg.relu,
        mg.maximum,
        mg.minimum,
        mg.clip,
        mg.leaky_relu,
        mg.sigmoid,
        mg.softplus,
        mg.tanh,
        mg.sqrt,
        mg.log,
        mg.exp,
        mg.log1p,
        mg.expm1,
        mg.square,
        mg.tan,
    ],
)
@pytest.mark.parametrize("x", [np.nan, np.inf, -np.inf, 0.0, -0.0, -3.0, 1e200, 5e-324, 1000.0, -1000.0])
def test_floats_and_arrays_agree_out_of_domain(function: Any, x: float) -> None:
    """At nan, infinities, zeros of both signs and huge numbers a Value is what a Tensor is."""
    extra = {mg.maximum: (1.0,), mg.minimum: (1.0,), mg.clip: (-1.0, 1.0)}.get(function, ())
    value, tensor = mg.Value(x), mg.Tensor(x, requires_grad=True)
    v, t = function(value, *extra), function(tensor, *extra)
    np.testing.assert_allclose(v.data, t._data, rtol=4e-16)
    np.testing.assert_allclose(mg.grad(v, value)[0], mg.grad(t, tensor)[0], rtol=4e-16)
