"""NumPy on both faces: what we have records, what we have not refuses, and nothing drops out silently (decision 15)."""

import operator
import re
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg

HERE = Path(__file__).name


def assert_names_this_line(error):
    """The message carries the line of this file that was being executed."""
    lines = [entry.lineno + 1 for entry in error.traceback if Path(entry.path).name == HERE]
    assert f"{HERE}:{lines[-1]}" in str(error.value)


def leaf(*numbers, **keywords):
    return mg.Tensor(numbers or (0.5, 1.5), requires_grad=True, **keywords)


SCALARS = [np.float64(2), np.float32(2), np.float16(2), np.int64(2), np.int8(2), np.uint8(2), np.bool_(True),
           np.array(2.0), np.array(2), np.array(2, np.float32)]  # fmt: skip
SCALAR_NAMES = [f"{type(s).__name__}-{s.dtype}" for s in SCALARS]
ARITHMETIC = [operator.add, operator.sub, operator.mul, operator.truediv, operator.pow]
COMPARISONS = [operator.eq, operator.ne, operator.lt, operator.le, operator.gt, operator.ge]


@pytest.mark.parametrize("scalar", SCALARS[:7], ids=SCALAR_NAMES[:7])
@pytest.mark.parametrize("operation", ARITHMETIC)
def test_numpy_scalars_with_values(scalar, operation):
    """Every NumPy scalar on either side of a Value gives a Value, exact in double precision."""
    for swapped in (False, True):
        x = mg.Value(1 / 3)
        plain = float(scalar)
        z = operation(scalar, x) if swapped else operation(x, scalar)
        expected = operation(plain, 1 / 3) if swapped else operation(1 / 3, plain)
        assert type(z) is mg.Value
        assert type(z.data) is float
        assert z.data == expected
        z.backward()
        y = mg.Value(1 / 3)
        (operation(plain, y) if swapped else operation(y, plain)).backward()
        assert x.grad == y.grad
        assert type(x.grad) is float


@pytest.mark.parametrize("scalar", SCALARS, ids=SCALAR_NAMES)
@pytest.mark.parametrize("operation", ARITHMETIC)
def test_numpy_scalars_with_tensors(scalar, operation):
    """Every NumPy scalar on either side of a Tensor gives a recorded Tensor."""
    for swapped in (False, True):
        x = leaf()
        z = operation(scalar, x) if swapped else operation(x, scalar)
        plain = (
            operation(float(scalar), np.array([0.5, 1.5]))
            if swapped
            else operation(np.array([0.5, 1.5]), float(scalar))
        )
        assert type(z) is mg.Tensor
        assert z.dtype == np.float64
        np.testing.assert_allclose(z.tolist(), plain, rtol=1e-15)
        z.sum().backward()
        assert x.grad.shape == (2,)


@pytest.mark.parametrize(
    "array", [np.array(2.0), np.array([2.0, 3.0]), np.array([2, 3]), np.array([[2.0], [3.0]]), np.float32([2, 3])]
)
@pytest.mark.parametrize("operation", ARITHMETIC)
@pytest.mark.parametrize("make", [lambda: mg.Value(0.5), leaf, lambda: mg.Tensor(0.5, requires_grad=True)],
                         ids=["Value", "Tensor", "0-d"])  # fmt: skip
def test_arrays_on_either_side(array, operation, make):
    """Decision 15: ndarray * node and node * ndarray are one Tensor, never an array of objects."""
    for swapped in (False, True):
        x = make()
        inner = np.asarray(x._data)
        z = operation(array, x) if swapped else operation(x, array)
        plain = operation(array, inner) if swapped else operation(inner, array)
        assert type(z) is mg.Tensor
        assert z.requires_grad
        assert z.dtype.kind == "f"
        np.testing.assert_allclose(z.detach().numpy(), plain, rtol=1e-6)
        z.sum().backward()
        assert np.shape(x.grad) == inner.shape


@pytest.mark.parametrize("array", [np.ones((2, 2)), [[1.0, 1.0], [1.0, 1.0]]])
def test_matmul_on_either_side(array):
    """array @ Tensor and Tensor @ array record."""
    for swapped in (False, True):
        x = leaf()
        z = array @ x if swapped else x @ array
        assert z.requires_grad
        z.sum().backward()
        assert x.grad.tolist() == [2.0, 2.0]


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize("other", [1.5, 1, True, *SCALARS[:7], mg.Value(1.5)], ids=str)
def test_comparisons_of_values(comparison, other):
    """Decision 1: all six comparisons of a Value with numbers on either side give a bool, of the data.

    With a NumPy scalar on the left NumPy answers, and boxes the bool as its own.
    """
    x = mg.Value(1.5)
    number = other.data if isinstance(other, mg.Value) else float(other)
    assert comparison(x, other) is comparison(1.5, number)
    found = comparison(other, x)
    assert type(found) in ((bool, np.bool_) if isinstance(other, (np.generic, np.ndarray)) else (bool,))
    assert bool(found) is comparison(number, 1.5)


@pytest.mark.parametrize("comparison", COMPARISONS)
@pytest.mark.parametrize(
    "other",
    [
        1.5,
        1,
        np.float64(1.5),
        np.float32(1.5),
        np.int64(1),
        np.array(1.5),
        np.array([1.5, 0.5]),
        mg.Value(1.5),
        mg.Tensor([1.5, 0.5]),
    ],
    ids=str,
)
def test_comparisons_of_tensors(comparison, other):
    """Decision 1: all six comparisons of a Tensor on either side give an ndarray of bool, of the data."""
    x, inner = leaf(), np.array([0.5, 1.5])
    plain = other._data if isinstance(other, mg.Node) else other
    for found, expected in (
        (comparison(x, other), comparison(inner, plain)),
        (comparison(other, x), comparison(plain, inner)),
    ):
        assert type(found) is np.ndarray
        assert found.dtype == bool
        assert found.tolist() == expected.tolist()


def test_comparisons_with_what_is_no_number():
    """== with a stranger is False, != is True, the others are a TypeError; None and text never raise on ==."""
    for x in (mg.Value(1.0), mg.Tensor(1.0)):
        for other in (None, "a", object(), {}):
            assert (x == other) is False
            assert (x != other) is True
            assert (other == x) is False
            with pytest.raises(TypeError):
                operator.lt(x, other)
    assert x not in [None, "a"]


def test_a_list_of_nodes_can_be_searched_by_identity():
    """`in` on a list works for Values, because == gives one bool."""
    a, b = mg.Value(1.0), mg.Value(2.0)
    assert a in [b, a]
    assert mg.Value(3.0) not in [a, b]


# ------------------------------------------------------------------------------------ ufuncs and functions


UFUNCS = [
    "exp",
    "log",
    "log1p",
    "expm1",
    "sqrt",
    "sin",
    "cos",
    "tan",
    "tanh",
    "abs",
    "fabs",
    "sign",
    "negative",
    "positive",
    "square",
]


@pytest.mark.parametrize("name", UFUNCS)
def test_ufuncs_of_one(name):
    """np.exp(t) and its like record on both faces, with NumPy's numbers and our gradient."""
    ufunc = getattr(np, name)
    ours = {"fabs": mg.abs, "positive": lambda x: x * 1}.get(name) or getattr(mg, name)
    x, y = leaf(), leaf()
    z = ufunc(x)
    assert type(z) is mg.Tensor
    assert z.tolist() == pytest.approx(ufunc(np.array([0.5, 1.5])).tolist(), rel=1e-15)
    z.sum().backward()
    ours(y).sum().backward()
    assert x.grad.tolist() == y.grad.tolist()
    v = mg.Value(0.5)
    z = ufunc(v)
    assert type(z) is mg.Value
    z.backward()
    assert v.grad == pytest.approx(x.grad[0], rel=1e-15)


@pytest.mark.parametrize(
    "name", ["add", "subtract", "multiply", "divide", "true_divide", "power", "float_power", "maximum", "minimum"]
)
def test_ufuncs_of_two(name):
    """np.add(a, t), np.add(t, a) and np.add(t, t) record."""
    ufunc, a = getattr(np, name), np.array([2.0, 3.0])
    for left, right in ((leaf(), a), (a, leaf()), (leaf(), leaf(2.0, 3.0)), (leaf(), mg.Value(2.0)), (leaf(), 2.0)):
        z = ufunc(left, right)
        assert type(z) is mg.Tensor
        assert z.requires_grad
        plain = [np.asarray(v._data) if isinstance(v, mg.Node) else v for v in (left, right)]
        np.testing.assert_allclose(z.tolist(), ufunc(*plain), rtol=1e-15)


FUNCTIONS = {
    "sum": lambda m, x: m.sum(x),
    "sum axis": lambda m, x: m.sum(x, axis=0),
    "sum keepdims": lambda m, x: m.sum(x, 1, keepdims=True),
    "mean": lambda m, x: m.mean(x, axis=(0, 1)),
    "max": lambda m, x: m.max(x),
    "min": lambda m, x: m.min(x, axis=-1),
    "amax": lambda m, x: m.amax(x, 0),
    "prod": lambda m, x: m.prod(x),
    "var": lambda m, x: m.var(x),
    "std": lambda m, x: m.std(x, axis=0),
    "var ddof": lambda m, x: m.var(x, axis=0, ddof=1),
    "norm": lambda m, x: m.linalg.norm(x),
    "clip": lambda m, x: m.clip(x, 1.0, 3.0),
    "concatenate": lambda m, x: m.concatenate([x, x], axis=1),
    "concatenate arrays": lambda m, x: m.concatenate([np.ones((2, 3)), x]),
    "stack": lambda m, x: m.stack([x, x]),
    "where": lambda m, x: m.where(np.array([True, False, True]), x, 0.0),
    "reshape": lambda m, x: m.reshape(x, (3, 2)),
    "transpose": lambda m, x: m.transpose(x),
    "swapaxes": lambda m, x: m.swapaxes(x, 0, 1),
    "expand_dims": lambda m, x: m.expand_dims(x, 0),
    "squeeze": lambda m, x: m.squeeze(x),
    "ravel": lambda m, x: m.ravel(x),
    "broadcast_to": lambda m, x: m.broadcast_to(x, (4, 2, 3)),
    "flip": lambda m, x: m.flip(x, 0),
    "flip all": lambda m, x: m.flip(x),
    "cumsum": lambda m, x: m.cumsum(x, 1),
    "cumsum all": lambda m, x: m.cumsum(x),
    "einsum": lambda m, x: m.einsum("ij,ij->i", x, x),
    "dot": lambda m, x: m.dot(x, np.ones((3, 2))),
    "matmul": lambda m, x: m.matmul(x, np.ones(3)),
    "take_along_axis": lambda m, x: m.take_along_axis(x, np.array([[0], [1]]), 1),
    "add.reduce": lambda m, x: m.add.reduce(x),
    "maximum.reduce": lambda m, x: m.maximum.reduce(x, axis=1),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_record(name):
    """Decision 15: NumPy's functions on a Tensor give NumPy's numbers, recorded, with a gradient of x's shape."""
    inner = np.array([[1.0, 2.0, 3.5], [4.0, 0.5, 6.0]])
    x = mg.Tensor(inner, requires_grad=True)
    z = FUNCTIONS[name](np, x)
    assert type(z) is mg.Tensor
    assert z.requires_grad
    np.testing.assert_allclose(z.tolist(), FUNCTIONS[name](np, inner), rtol=1e-14)
    z.sum().backward()
    assert x.grad.shape == (2, 3)
    assert x.grad.any()


UNKNOWN = {
    "arctan2": lambda t: np.arctan2(t, t),
    "floor": np.floor,
    "sinh": np.sinh,
    "cbrt": np.cbrt,
    "logaddexp": lambda t: np.logaddexp(t, 1.0),
    "mod": lambda t: np.mod(t, 2),
    "heaviside": lambda t: np.heaviside(t, 0.0),
    "outer": lambda t: np.outer(t, t),
    "sort": np.sort,
    "median": np.median,
    "allclose": lambda t: np.allclose(t, t),
    "zeros_like": np.zeros_like,
    "round": np.round,
    "trace": np.trace,
    "add.outer": lambda t: np.add.outer(t, t),
    "multiply.accumulate": np.multiply.accumulate,
    "add.at": lambda t: np.add.at(t, [0], 1.0),
    "sum out": lambda t: np.sum(t, out=np.zeros(())),
    "sum dtype": lambda t: np.sum(t, dtype=np.float32),
    "sum where": lambda t: np.sum(t, where=np.array([True, False])),
    "exp out": lambda t: np.exp(t, out=np.zeros(2)),
    "exp where": lambda t: np.exp(t, where=np.array([True, False])),
    "exp dtype": lambda t: np.exp(t, dtype=np.float32),
    "norm ord": lambda t: np.linalg.norm(t, ord=1),
    "isnan": np.isnan,
    "interp": lambda t: np.interp(t, [0.0, 1.0], [0.0, 1.0]),
    "copyto": lambda t: np.copyto(np.zeros(2), t),
    "nan_to_num": np.nan_to_num,
    "fft": np.fft.fft,
    "vectorised array": np.array,
    "asarray": np.asarray,
    "asarray of a list": lambda t: np.asarray([t, t]),
    "list of elements": lambda t: np.array([t[0], t[1]]),
    "full": lambda t: np.full(2, t[0]),
    "object array": lambda t: np.array([t], dtype=object),
    "linspace": lambda t: np.linspace(t[0], 1),
}


@pytest.mark.parametrize("name", UNKNOWN)
def test_what_has_no_rule_refuses(name):
    """Decision 15: everything else in NumPy is a TypeError that says what to write, at the user's line."""
    x = leaf()
    with pytest.raises(TypeError) as error:
        UNKNOWN[name](x)
    assert_names_this_line(error)
    assert "lambda" not in str(error.value)
    assert re.search(r"detach|argument|a \+ node|stack|\.data", str(error.value)), str(error.value)
    assert x.tolist() == [0.5, 1.5]


@pytest.mark.parametrize("function", [np.sum, np.mean, np.max, np.prod, lambda x: np.stack([x, x]).sum() / 2,
                                      lambda x: np.where(True, x, 0.0)])  # fmt: skip
def test_functions_of_values_record(function):
    """Decision 15: NumPy's functions on a Value record too."""
    x = mg.Value(2.0)
    z = function(x)
    assert z.requires_grad
    z.backward()
    assert x.grad == 1.0
    assert type(x.grad) is float


@pytest.mark.parametrize("function", [np.floor, np.arctan, np.median, np.array, np.asarray, np.isnan,
                                      lambda x: np.array([x, x]), lambda x: np.add(x, 1, out=np.zeros(())),
                                      lambda x: np.full(3, x)])  # fmt: skip
def test_values_refuse_too(function):
    """Decision 15: on a Value likewise; never a number without its history, never an array of objects."""
    with pytest.raises(TypeError) as error:
        function(mg.Value(1.0))
    assert_names_this_line(error)


def test_array_plus_equals_node():
    """`a += t` for an ndarray a is a TypeError, and a keeps its numbers."""
    a = np.ones(2)
    for node in (leaf(), mg.Value(1.0), mg.Tensor([1.0, 1.0])):
        with pytest.raises(TypeError, match=r"a = a \+ node") as error:
            a += node
        assert_names_this_line(error)
        with pytest.raises(TypeError):
            a *= node
    with pytest.raises(TypeError):
        a[:] = leaf()
    with pytest.raises(TypeError):
        a[:1] = mg.Value(2.0)
    assert a.tolist() == [1.0, 1.0]


def test_arrays_of_tensors_without_gradient():
    """np.asarray of a Tensor that requires no gradient is its numbers, as a copy; a detached one too."""
    t = mg.Tensor([1.0, 2.0])
    a = np.asarray(t)
    assert a.tolist() == [1.0, 2.0]
    assert np.asarray(t, dtype=np.float32).dtype == np.float32
    assert np.array(leaf().detach()).tolist() == [0.5, 1.5]
    with pytest.raises(TypeError, match="detach") as error:
        leaf().numpy()
    assert_names_this_line(error)
    with pytest.raises(TypeError, match="detach"):
        (leaf() * 2).numpy()
    with mg.no_grad():
        assert (leaf() * 2).numpy().tolist() == [1.0, 3.0]


def test_the_ufuncs_of_arrays_are_left_alone():
    """Importing and using microgrid changes nothing for plain arrays."""
    assert type(np.exp(np.ones(2))) is np.ndarray
    assert np.concatenate([np.ones(1), np.ones(1)]).tolist() == [1.0, 1.0]
