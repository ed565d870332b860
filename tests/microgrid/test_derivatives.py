"""mg.grad: gradients as a function, of any order, that stores nothing."""

import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg

HERE = Path(__file__).name


def assert_names_this_line(error):
    """The message carries the line of this file that was being executed."""
    lines = [entry.lineno + 1 for entry in error.traceback if Path(entry.path).name == HERE]
    assert f"{HERE}:{lines[-1]}" in str(error.value)


def leaf(*numbers, **keywords):
    return mg.Tensor(numbers or (0.5, 1.5), requires_grad=True, **keywords)


def test_it_stores_nothing():
    """mg.grad leaves every .grad as it was, and gives a float for a Value, an array for a Tensor."""
    x, t = mg.Value(3.0), leaf()
    y = (t * x).sum()
    found = mg.grad(y, [x, t])
    assert type(found) is tuple
    assert type(found[0]) is float
    assert type(found[1]) is np.ndarray
    assert found[0] == 2.0
    assert found[1].tolist() == [3.0, 3.0]
    assert (x._grad, t._grad, y._grad) == (None, None, None)
    y.backward()
    mg.grad(y, [x, t])
    assert x.grad == 2.0


def test_interior_inputs():
    """Gradients with respect to nodes between, the root itself and one input named twice."""
    x = mg.Value(3.0)
    h = x * x
    y = h * x
    assert mg.grad(y, [h, x, y, x]) == (3.0, 27.0, 1.0, 27.0)
    assert mg.grad(y, h) == (3.0,)
    assert mg.grad(y, (x,)) == (27.0,)


def test_several_outputs():
    """Gradients of several outputs add up, each weighted by its own grad_output."""
    x, t = mg.Value(2.0), leaf(1.0, 2.0)
    a, b = x * x, x * t
    assert mg.grad([a, a], x) == (8.0,)
    gx, gt = mg.grad([a, b], [x, t], [10.0, np.array([1.0, 100.0])])
    assert gx == 40.0 + 1.0 + 200.0
    assert gt.tolist() == [2.0, 200.0]
    assert mg.grad([a, b], x, [None, np.ones(2)]) == (7.0,)
    assert mg.grad(a, x, 3.0) == (12.0,)
    assert mg.grad(b, t, [1.0, 10.0])[0].tolist() == [2.0, 20.0]


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda x, y: mg.grad(y, mg.Value(1.0)), ["not have been used", "allow_unused=True"]),
        (lambda x, y: mg.grad(y, x.detach()), ["does not require a gradient"]),
        (lambda x, y: mg.grad(y, 3.0), ["float"]),
        (lambda x, y: mg.grad(y, [3.0]), ["float"]),
        (lambda x, y: mg.grad(3.0, x), ["float"]),
        (lambda x, y: mg.grad("y", x), ["str"]),
        (lambda x, y: mg.grad([], x), ["outputs"]),
        (lambda x, y: mg.grad(y, []), ["inputs"]),
        (lambda x, y: mg.grad([y, y], x, [1.0]), ["2 outputs", "1 grad_outputs"]),
        (lambda x, y: mg.grad(y, x, "a"), ["str"]),
        (lambda x, y: mg.grad(y, x, np.ones(2)), ["(2,)"]),
        (lambda x, y: mg.grad(leaf() * 2, x), ["implicitly created"]),
        (lambda x, y: mg.grad(y.detach(), x), ["does not require grad"]),
    ],
)
def test_bad_calls(call, words):
    """Bad input: a TypeError or ValueError that says what was given and where."""
    x = mg.Value(2.0)
    y = x * x
    with pytest.raises((TypeError, ValueError)) as error:
        call(x, y)
    assert_names_this_line(error)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_unused_inputs():
    """allow_unused gives None where the output does not depend on the input."""
    x, unused = mg.Value(2.0), leaf()
    assert mg.grad(x * x, [unused, x], allow_unused=True) == (None, 4.0)


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_x_cubed(make):
    """x^3 at 2 gives 12, 12, 6 and then 0, on both faces."""
    x = make(2.0)
    (a,) = mg.grad(x**3, x, create_graph=True)
    (b,) = mg.grad(a, x, create_graph=True)
    (c,) = mg.grad(b, x, create_graph=True)
    assert (a.item(), b.item(), c.item()) == (12.0, 12.0, 6.0)
    (d,) = mg.grad(c, x, allow_unused=True) if c.requires_grad else (0.0,)
    assert (0.0 if d is None else float(d)) == 0.0


FUNCTIONS = {
    "exp": (mg.exp, math.exp),
    "sin": (mg.sin, lambda x: -math.sin(x)),
    "log": (mg.log, lambda x: -1 / x**2),
    "tanh": (mg.tanh, lambda x: -2 * math.tanh(x) / math.cosh(x) ** 2),
    "sqrt": (mg.sqrt, lambda x: -0.25 * x**-1.5),
    "sigmoid": (mg.sigmoid, lambda x: math.exp(-x) * (math.exp(-x) - 1) / (1 + math.exp(-x)) ** 3),
    "1/x": (lambda x: 1 / x, lambda x: 2 / x**3),
    "x**2.5": (lambda x: x**2.5, lambda x: 3.75 * x**0.5),
    "2**x": (lambda x: 2**x, lambda x: 2**x * math.log(2) ** 2),
    "x**x": (lambda x: x**x, lambda x: x**x * ((math.log(x) + 1) ** 2 + 1 / x)),
    "relu": (mg.relu, lambda x: 0.0),
    "abs": (mg.abs, lambda x: 0.0),
    "x": (lambda x: x * 1, lambda x: 0.0),
    "softplus": (mg.softplus, lambda x: 1 / (2 + math.exp(x) + math.exp(-x))),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_second_derivatives(name):
    """The second derivative of both faces is the closed form's."""
    function, second = FUNCTIONS[name]
    for make in (mg.Value, lambda x: mg.Tensor([x], requires_grad=True)):
        x = make(0.7)
        (first,) = mg.grad(function(x), x, create_graph=True)
        if not first.requires_grad:
            assert second(0.7) == 0.0
            continue
        (found,) = mg.grad(first, x, allow_unused=True)
        assert (0.0 if found is None else float(np.ravel(found)[0])) == pytest.approx(second(0.7), rel=1e-13)


@given(st.lists(st.floats(0.2, 2.0), min_size=2, max_size=4), st.integers(0, 2**16))
@settings(max_examples=25)
def test_second_order_through_both_faces(numbers, seed):
    """Decision 11: a Value and a Tensor in one graph; mixed second derivatives are the closed form, both ways."""
    v, t = mg.Value(numbers[0]), mg.Tensor(numbers[1:], requires_grad=True)
    z = (mg.exp(v * t) * t).sum()
    assert isinstance(z, mg.Tensor)
    array = np.array(numbers[1:])
    (dv,) = mg.grad(z, v, create_graph=True)
    (dt,) = mg.grad(z, t, create_graph=True)
    (mixed,) = mg.grad(dv, t)
    (mixed_too,) = mg.grad(dt.sum(), v)
    closed = (array**2 * v.data + 2 * array) * np.exp(v.data * array)
    np.testing.assert_allclose(mixed, closed, rtol=1e-12)
    assert type(mixed_too) is float
    assert mixed_too == pytest.approx(closed.sum(), rel=1e-12)


def test_second_order_with_broadcasting():
    """Un-broadcasting is recorded: the Hessian of a function of a row and a column is that of differences."""
    x, y = mg.Tensor(np.array([[0.5], [1.5]]), requires_grad=True), leaf(1.0, 2.0, 3.0)
    z = (x**2 * y**3 + mg.sin(x * y)).sum()
    gx, gy = mg.grad(z, [x, y], create_graph=True)
    (cross,) = mg.grad(gx[0, 0], y)
    a, b = 0.5, np.array([1.0, 2.0, 3.0])
    np.testing.assert_allclose(cross, 6 * a * b**2 + np.cos(a * b) - a * b * np.sin(a * b), rtol=1e-13)
    (cross,) = mg.grad(gy[2], x)
    a, b = np.array([[0.5], [1.5]]), 3.0
    np.testing.assert_allclose(cross, 6 * a * b**2 + np.cos(a * b) - a * b * np.sin(a * b), rtol=1e-13)


def test_create_graph_gives_nodes_of_the_right_shape_and_precision():
    """With create_graph the gradient of a Value is one number, that of a float32 Tensor a float32 Tensor."""
    v, t = mg.Value(2.0), leaf(dtype=np.float32)
    gv, gt = mg.grad((v * t * t).sum(), [v, t], create_graph=True)
    assert gv.item() == 2.5
    assert isinstance(mg.grad(v * v, v, create_graph=True)[0], mg.Value)
    assert isinstance(gt, mg.Tensor)
    assert gt.dtype == np.float32
    assert gt.shape == (2,)
    (second,) = mg.grad(gt.sum(), t)
    assert second.dtype == np.float32


def test_a_gradient_penalty_trains():
    """The gradient may stand in a loss: the derivative of |d/dx w x^2|^2 by w."""
    w, x = mg.Value(3.0), mg.Value(2.0)
    (g,) = mg.grad(w * x * x, x, create_graph=True)
    penalty = g * g
    penalty.backward()
    assert w.grad == 2 * (2 * 3.0 * 2.0) * (2 * 2.0)
    assert x.grad == 2 * (2 * 3.0 * 2.0) * (2 * 3.0)


def test_backward_with_create_graph():
    """backward(create_graph=True) leaves nodes in leaves' .grad, which accumulate and can be differentiated."""
    x = mg.Value(2.0)
    (x**3).backward(create_graph=True)
    assert isinstance(x.grad, mg.Value)
    (second,) = mg.grad(x.grad, x)
    assert second == 12.0
    (x**3).backward(create_graph=True)
    assert x.grad.data == 24.0
    x.zero_grad()
    assert x.grad == 0.0


def test_hooks_and_grad_outputs_as_nodes():
    """A grad_output that is a node is differentiated through (a vector-Jacobian product of second order)."""
    x, v = leaf(1.0, 2.0), leaf(3.0, 4.0)
    (product,) = mg.grad(x * x, x, v, create_graph=True)
    assert product.tolist() == [6.0, 16.0]
    (by_v,) = mg.grad(product.sum(), v)
    assert by_v.tolist() == [2.0, 4.0]


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_zeros_for_what_is_not_used(make):
    """materialize_grads gives zeros, as torch's; with create_graph, constant nodes."""
    x, unused = make(2.0), make(5.0)
    found = mg.grad(x * x, [x, unused], materialize_grads=True)
    assert [float(g) for g in found] == [4.0, 0.0]
    assert type(found[0]) is type(found[1])
    by_x, zero = mg.grad(x * x, [x, unused], create_graph=True, materialize_grads=True)
    assert (zero.item(), type(zero)) == (0.0, type(unused))
    assert [float(g) for g in mg.grad(by_x, [x, unused], materialize_grads=True)] == [2.0, 0.0]
    with pytest.raises(ValueError, match="allow_unused to be True or not given"):
        mg.grad(x * x, x, allow_unused=False, materialize_grads=True)


def test_a_constant_gradient_can_be_differentiated_by_its_input_alone():
    """d(3x)/dx = 3 has derivative 0 by x, at infinities too, and none by what it never met."""
    for x in (mg.Value(2.0), mg.Value(math.inf), leaf(1.0, math.nan)):
        z = x * 3
        (first,) = mg.grad(z.sum() if isinstance(x, mg.Tensor) else z, x, create_graph=True)
        assert np.all(np.asarray(first._data) == 3.0)
        (second,) = mg.grad(first, x, np.ones(2) if isinstance(x, mg.Tensor) else None)
        assert np.all(np.asarray(second) == 0.0)
        with pytest.raises(ValueError, match="not have been used"):
            mg.grad(first, mg.Value(1.0), np.ones(2) if isinstance(x, mg.Tensor) else None)


def test_the_gradient_of_a_function():
    """mg.grad(f) is the function that gives the gradient: argnums second, or by name."""
    f = lambda x, y: x * y**2
    assert mg.grad(f)(3.0, 2.0) == 4.0
    assert mg.grad(f, 1)(3.0, 2.0) == mg.grad(f, argnums=1)(3.0, 2.0) == 12.0
    assert mg.grad(f, (0, 1))(3.0, 2.0) == mg.grad(f, argnums=(0, 1))(3.0, 2.0) == (4.0, 12.0)
    with pytest.raises(TypeError, match=r"write mg\.grad\(func\)\(x\)") as error:
        mg.grad(f, [mg.Value(1.0), mg.Value(2.0)])
    assert_names_this_line(error)
    with pytest.raises(TypeError, match="grad: inputs: expected Values and Tensors, got int"):
        mg.grad(mg.Value(1.0) * 2)
