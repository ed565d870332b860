"""Tensor: an array with its history; what goes in, precision, faces mixed, writing in place (decisions 11 and 15)."""

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


# ------------------------------------------------------------------------------------ making one


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (1.0, np.float64),
        (1, np.int64),
        (True, bool),
        ([1.0, 2.0], np.float64),
        ([1, 2], np.int64),
        ([[1, 2.5]], np.float64),
        ([], np.float64),
        (np.float32([1, 2]), np.float32),
        (np.float16([1]), np.float16),
        (np.int32([1]), np.int32),
        (np.array(3.0), np.float64),
        ([True, False], bool),
        (range(3), np.int64),
        (np.float32(1), np.float32),
        ([np.float32(1), np.float32(2)], np.float32),
    ],
)
def test_dtypes(given, dtype):
    """Decision 11: Python floats become float64, arrays keep their type, integers and booleans stay what they are."""
    t = mg.Tensor(given)
    assert t.dtype == dtype
    assert t.shape == np.shape(given)
    assert type(t.data) is np.ndarray
    assert (t.requires_grad, t.grad, t.is_leaf) == (False, None, True)
    assert t.tolist() == np.asarray(given).tolist()


def test_dtype_is_an_argument():
    """dtype converts, silently even where numbers overflow: IEEE."""
    assert mg.Tensor([1, 2], dtype=float).dtype == np.float64
    assert mg.Tensor([1.0], dtype=np.float32).dtype == np.float32
    assert mg.Tensor([1, 2], dtype="float32", requires_grad=True).requires_grad
    assert mg.Tensor([1e300], dtype=np.float32).tolist() == [np.inf]
    t = mg.Tensor([1.0], dtype=np.float32)
    t.data = [1e300]
    assert t.tolist() == [np.inf]
    assert mg.Tensor([1e300]).astype(np.float32).tolist() == [np.inf]


@pytest.mark.parametrize(
    "bad",
    [
        "a",
        ["a"],
        [["a", "b"]],
        None,
        [None],
        1j,
        [1j],
        {1.0},
        {"a": 1.0},
        object(),
        [object()],
        np.array([object()]),
        np.array(["a"]),
        np.datetime64("2020"),
        b"a",
        (i for i in range(2)),
        [1.0, "a"],
    ],
)
def test_what_it_is_not_made_of(bad):
    """Bad input: strings, objects, complex numbers, generators: an error that says what and where."""
    t = mg.Tensor([1.0])
    for attempt in (lambda: mg.Tensor(bad), lambda: setattr(t, "data", bad)):
        with pytest.raises((TypeError, ValueError)) as error:
            attempt()
        assert_names_this_line(error)
        assert "number" in str(error.value) or "shape" in str(error.value)
    assert t.tolist() == [1.0]


@pytest.mark.parametrize("bad", [[None], ["1.5"], [b"1"], [1j], [object()], [np.datetime64("2020")]])
def test_a_dtype_makes_no_number_of_what_is_none(bad):
    """Bad input: also with a dtype asked for, or the leaf's, None and text are no numbers (to NumPy None is nan)."""
    t = leaf(1.0)
    for attempt in (
        lambda: mg.Tensor(bad, dtype=float),
        lambda: setattr(t, "data", bad),
        lambda: setattr(t, "grad", bad),
        lambda: (t * 2).backward(bad),
    ):
        with pytest.raises((TypeError, ValueError)) as error:
            attempt()
        assert_names_this_line(error)
    assert (t.tolist(), t.grad) == ([1.0], None)


def test_ragged_lists_and_wrong_dtypes():
    """Bad input: rows of different lengths are a ValueError; dtypes that are no numbers a TypeError."""
    with pytest.raises(ValueError, match="inhomogeneous") as error:
        mg.Tensor([[1.0, 2.0], [3.0]])
    assert_names_this_line(error)
    for dtype in (object, complex, str, "datetime64[s]", "nonsense"):
        with pytest.raises((TypeError, ValueError)) as error:
            mg.Tensor([1], dtype=dtype)
        assert_names_this_line(error)


def test_nodes_are_no_data():
    """A Tensor of nodes would lose their history: the message names mg.stack and detach()."""
    x, t = mg.Value(1.0), leaf()
    for bad in (x, t, [x, x], [[x], [1.0]], (t, t)):
        with pytest.raises(TypeError, match="stack") as error:
            mg.Tensor(bad)
        assert_names_this_line(error)


@pytest.mark.parametrize("given", [[1, 2], 1, [True], np.int8([1]), np.uint8([3]), np.zeros(0, int)])
def test_integers_take_no_gradient(given):
    """Decision 11: integers and booleans with requires_grad are an error, however they are asked to."""
    t = mg.Tensor(given)
    for attempt in (lambda: mg.Tensor(given, requires_grad=True), lambda: t.requires_grad_()):
        with pytest.raises(TypeError, match="floating point dtype can require gradients, got") as error:
            attempt()
        assert_names_this_line(error)
    assert not t.requires_grad
    assert not (t * 2).requires_grad
    assert not (t + mg.Tensor([1])).requires_grad


def test_integers_beside_floats():
    """An integer Tensor as a factor is a constant; the gradient of the float factor is float64 or float32 as it was."""
    labels = mg.Tensor([1, 0])
    for dtype in (np.float64, np.float32):
        x = leaf(dtype=dtype)
        (x * labels).sum().backward()
        assert x.grad.dtype == dtype
        assert x.grad.tolist() == [1.0, 0.0]
    assert labels.grad is None
    assert (leaf(dtype=np.float32) * 2).dtype == np.float32


def test_float32_with_float64():
    """Where float32 meets a float64 array the result is float64, and each gradient comes back in its own precision."""
    a, b = leaf(dtype=np.float32), leaf(2.0, 3.0)
    z = (a * b).sum()
    assert z.dtype == np.float64
    z.backward()
    assert (a.grad.dtype, b.grad.dtype) == (np.float32, np.float64)
    c = leaf(dtype=np.float16)
    (c * c).sum().backward()
    assert c.grad.dtype == np.float16


# ------------------------------------------------------------------------------------ 0-d and empty


def test_zero_d_data_stays_an_ndarray():
    """Decision 11: whatever the operation, a 0-d Tensor holds an ndarray of no axes."""
    for dtype in (np.float64, np.float32):
        x = mg.Tensor(2.0, requires_grad=True, dtype=dtype)
        t = leaf(dtype=dtype)
        for z in (
            x,
            x * 2,
            2 - x,
            x * x,
            -x,
            abs(x),
            mg.exp(x),
            x.relu(),
            x**2,
            x**x,
            t.sum(),
            t.max(),
            t.mean(),
            t @ t,
            t[0],
            t.std(),
            t.norm(),
            t.logsumexp(),
            t.prod(),
            t.var(),
            mg.einsum("i,i->", t, t),
            mg.maximum(x, x),
            mg.where(True, x, x),
            x.detach(),
            x.clone(),
            x.reshape(()),
            t[:1].squeeze(),
            x.sum(),
            mg.clip(x, 0, 1),
            mg.sigmoid(x),
            x.astype(np.float32),
        ):
            assert type(z._data) is np.ndarray
            assert z.shape == ()
            assert z.dtype in (dtype, np.float32)
            z.detach().numpy()[...] = 5.0


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), (2, 0, 4)])
def test_empty_arrays(shape):
    """Arrays without elements go through values and gradients and keep their shapes."""
    x = mg.Tensor(np.zeros(shape), requires_grad=True)
    y = mg.exp(x * 2 + 1).sum() + x.reshape(-1).sum() + mg.concatenate([x, x]).prod() + x.T.sum() + x.norm()
    y.backward()
    assert x.grad.shape == shape
    assert y.item() == 1.0
    z = mg.Tensor(np.zeros((0, 3)), requires_grad=True) @ np.ones((3, 2))
    z.sum().backward()
    assert z.shape == (0, 2)


# ------------------------------------------------------------------------------------ both faces in one graph


def test_a_value_with_a_tensor_is_a_tensor():
    """Decision 11: in either order, for every operator; the Value's gradient is a float, the Tensor's an array."""
    for swapped in (False, True):
        for name in ("add", "subtract", "multiply", "divide", "power", "maximum", "minimum"):
            v, t = mg.Value(2.0), leaf()
            z = getattr(mg, name)(*((t, v) if swapped else (v, t)))
            assert type(z) is mg.Tensor
            z.sum().backward()
            assert type(v.grad) is float
            assert t.grad.shape == (2,)
    v, t = mg.Value(2.0), leaf()
    assert type(v * t) is type(t * v) is type(v**t) is type(t**v) is mg.Tensor
    (v * t - t / v).sum().backward()
    assert v.grad == pytest.approx(2.0 + 2.0 / 4)


# ------------------------------------------------------------------------------------ writing


@pytest.mark.parametrize("operator", ["+=", "-=", "*=", "/="])
def test_in_place_on_a_leaf(operator):
    """Decision 15: a write into a leaf that requires a gradient is torch's error, and under no_grad done."""
    p = leaf(1.0, 2.0)
    namespace = {"p": p, "mg": mg}
    with pytest.raises(ValueError, match="leaf that requires grad is being used in an in-place operation") as error:
        exec(compile(f"p {operator} 2.0", __file__, "exec"), namespace)
    assert "no_grad" in str(error.value)
    assert operator in str(error.value)
    with mg.no_grad():
        exec(f"p {operator} 2.0", namespace)
    assert namespace["p"] is p
    assert p.tolist() == {"+=": [3.0, 4.0], "-=": [-1.0, 0.0], "*=": [2.0, 4.0], "/=": [0.5, 1.0]}[operator]
    assert (p.requires_grad, p.is_leaf) == (True, True)


def test_in_place_keeps_shape_and_precision():
    """p += something of a larger shape is an error and changes nothing; float32 stays float32."""
    p = leaf(1.0, 2.0, dtype=np.float32)
    with mg.no_grad():
        p -= 0.5 * np.ones(2)
        assert p.dtype == np.float32
        with pytest.raises(ValueError) as error:
            p += np.ones((3, 2))
        assert "(3" in str(error.value)
        with pytest.raises((TypeError, ValueError)):
            p += "a"
        with pytest.raises((TypeError, ValueError)):
            p += 1j
        p *= 1e38
        p *= 1e38  # overflows in silence
    assert p.shape == (2,)


def test_in_place_elsewhere_rebinds():
    """Decision 15: on a node with history, or one that requires no gradient, += binds the name to a new node."""
    x = leaf()
    y = x * 2
    old = y
    y += 1
    assert y is not old
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]
    constant = mg.Tensor([1.0, 2.0])
    again = constant
    constant += x
    assert again.tolist() == [1.0, 2.0]
    assert constant.requires_grad


def test_setitem_is_refused():
    """Decision 15: t[i] = v is a TypeError that names where() and .data."""
    for t in (leaf(), mg.Tensor([1.0, 2.0]), leaf() * 2):
        with pytest.raises(TypeError) as error:
            t[0] = 5.0
        assert_names_this_line(error)
        assert "where" in str(error.value)
        assert ".data" in str(error.value)
        with pytest.raises(TypeError):
            t[t > 1] += 1.0


@pytest.mark.parametrize("attribute", ["data", "grad"])
def test_assignment_keeps_the_shape(attribute):
    """Bad input: data and grad of another shape do not broadcast; the message has both shapes and the line."""
    t = leaf()
    for bad in (np.ones(3), 1.0, np.ones((1, 2)), [[1.0], [2.0]]):
        with pytest.raises(ValueError, match=r"\(2,\)") as error:
            setattr(t, attribute, bad)
        assert str(np.shape(bad)) in str(error.value)
        assert_names_this_line(error)
    setattr(t, attribute, [3, 4])
    assert getattr(t, attribute).dtype == np.float64
    t.grad = mg.Tensor([1.0, 2.0])
    assert type(t.grad) is np.ndarray
    t.grad = None
    assert t.grad is None


def test_requires_grad_is_kept_through_data():
    """Assigning data keeps requires_grad, precision and identity."""
    t = leaf(dtype=np.float32)
    t.data = np.array([5.0, 6.0])
    assert (t.dtype, t.requires_grad, t.tolist()) == (np.float32, True, [5.0, 6.0])


# ------------------------------------------------------------------------------------ reading


def test_getting_numbers_out():
    """item, tolist, numpy, detach, float, int, bool, format, len, iteration."""
    t = mg.Tensor([[1.0, 2.0], [3.0, 4.0]])
    assert t.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert [row.tolist() for row in t] == t.tolist()
    assert (len(t), t.size, t.ndim, t.shape, t.T.shape) == (2, 4, 2, (2, 2), (2, 2))
    one = mg.Tensor([[2.5]])
    assert (one.item(), float(one), int(one), bool(one), f"{one:.2f}") == (2.5, 2.5, 2, True, "2.50")
    assert type(one.item()) is float
    assert type(mg.Tensor([3]).item()) is int
    x = leaf()
    (next(iter(x)) * 3).backward()
    assert x.grad.tolist() == [3.0, 0.0]


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: leaf().item(), ValueError, "2 elements cannot be converted to Scalar"),
        (lambda: float(leaf()), (TypeError, ValueError), "cannot be converted"),
        (lambda: mg.Tensor([]).item(), ValueError, "0 elements"),
        (lambda: bool(leaf()), ValueError, "ambiguous"),
        (lambda: bool(mg.Tensor([])), ValueError, "ambiguous"),
        (lambda: 1 if leaf() else 2, ValueError, "ambiguous"),
        (lambda: len(mg.Tensor(1.0)), TypeError, "0-d"),
        (lambda: list(mg.Tensor(1.0)), TypeError, "0-d"),
        (lambda: leaf().numpy(), TypeError, r"detach\(\).numpy\(\)"),
        (lambda: (leaf() * 2).numpy(), TypeError, r"detach\(\).numpy\(\)"),
        (lambda: np.array(leaf()), TypeError, r"detach\(\).numpy\(\)"),
    ],
)
def test_what_has_no_answer(call, kind, words):
    """Bad questions get torch's words and the line."""
    with pytest.raises(kind, match=words) as error:
        call()
    assert_names_this_line(error)


def test_torchs_method_names():
    """The methods that torch's users type are there, with torch's argument orders."""
    t = mg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True)
    assert t.view(3, 2).shape == (3, 2)
    assert t.reshape((6,)).shape == t.reshape(-1).shape == (6,)
    assert t.transpose(0, 1).shape == t.permute(1, 0).shape == t.T.shape == t.mT.shape == (3, 2)
    assert t.unsqueeze(0).shape == (1, 2, 3)
    assert t.unsqueeze(0).squeeze(0).shape == (2, 3)
    assert t.sum(0).shape == (3,)
    assert t.mean(1, True).shape == (2, 1)
    assert t.max().item() == 5.0
    assert t.argmax() == 5
    assert t.argmax(1).tolist() == [2, 2]
    assert t.argmin() == 0
    assert t.clone().requires_grad
    assert not t.detach().requires_grad
    assert t.matmul(t.T).shape == (2, 2)
    assert t.pow(2).sum().item() == 55.0
    assert t.split(2, 1)[1].shape == (2, 1)
    assert t.to(np.float32).dtype == np.float32
    assert t.var().item() == pytest.approx(np.arange(6.0).var(ddof=1))
    assert t.softmax(1).sum().item() == pytest.approx(2.0)
    t.sum().backward(retain_graph=True)
    assert t.grad.tolist() == np.ones((2, 3)).tolist()
    t.zero_grad()
    assert t.grad is None


def test_reduction_methods_equal_numpy():
    """Reductions agree with NumPy over every axis and with keepdims, on a Tensor of three axes."""
    array = np.random.default_rng(0).normal(size=(2, 3, 4))
    t = mg.Tensor(array, requires_grad=True)
    for name in ("sum", "mean", "max", "min", "prod"):
        for axis in (None, 0, 1, -1, (0, 2), (-1, 0)):
            for keepdims in (False, True):
                z = getattr(t, name)(axis=axis, keepdims=keepdims)
                expected = getattr(array, name)(axis=axis, keepdims=keepdims)
                assert z.shape == np.shape(expected)
                np.testing.assert_allclose(z.detach().numpy(), expected, rtol=1e-13)
                z.backward(np.ones(z.shape))
    assert t.grad.shape == array.shape


def test_construction_copies():
    """Decision 4: Tensor(array) copies, as torch.tensor does; astype and detach do too."""
    a = np.ones(2)
    t = mg.Tensor(a)
    a[0] = 9
    assert t.tolist() == [1.0, 1.0]
    assert not np.shares_memory(t.detach()._data, t._data)
    assert not np.shares_memory(t.clone()._data, t._data)
    assert not np.shares_memory(t.data, a)
