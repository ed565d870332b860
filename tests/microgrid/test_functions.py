"""What users call: the table of hard points on every face and precision, errors that say what, where and how."""

import math
import warnings
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg

HERE = Path(__file__).name
nan, inf = math.nan, math.inf


def assert_names_this_line(error):
    """The message carries the line of this file that was being executed."""
    lines = [entry.lineno + 1 for entry in error.traceback if Path(entry.path).name == HERE]
    assert f"{HERE}:{lines[-1]}" in str(error.value)


# ------------------------------------------------------------------------------------ the table of hard points


def like(x, number):
    """A constant of the shape and precision of x."""
    return number if isinstance(x, mg.Value) else np.full(x.shape, number, x.dtype)


# name, function, inputs, value, gradients: torch 2.13's, written out; torch's own spelling last, where it differs
SCALAR = [
    ("x**-1 at 0", lambda m, x: x**-1, (0.0,), inf, (-inf,)),
    ("1/x at 0", lambda m, x: 1 / x, (0.0,), inf, (-inf,)),
    ("1/x at -0", lambda m, x: 1 / x, (-0.0,), -inf, (-inf,)),
    ("x/y at (0, 0)", lambda m, x, y: x / y, (0.0, 0.0), nan, (inf, nan)),
    ("x**0 at 0", lambda m, x: x**0, (0.0,), 1.0, (0.0,)),
    ("x**0.5 at 0", lambda m, x: x**0.5, (0.0,), 0.0, (inf,)),
    ("x**1 at 0", lambda m, x: x**1, (0.0,), 0.0, (1.0,)),
    ("x**2 at 0", lambda m, x: x**2, (0.0,), 0.0, (0.0,)),
    ("sqrt at 0", lambda m, x: m.sqrt(x), (0.0,), 0.0, (inf,)),
    ("sqrt at -1", lambda m, x: m.sqrt(x), (-1.0,), nan, (nan,)),
    ("x**y at (0, 0)", lambda m, x, y: x**y, (0.0, 0.0), 1.0, (0.0, 0.0)),
    ("x**y at (-2, 3)", lambda m, x, y: x**y, (-2.0, 3.0), -8.0, (12.0, nan)),
    ("x**y at (0, 2)", lambda m, x, y: x**y, (0.0, 2.0), 0.0, (0.0, 0.0)),
    ("x**y at (0, -1)", lambda m, x, y: x**y, (0.0, -1.0), inf, (-inf, -inf)),
    ("(-2)**2, a constant exponent", lambda m, x: x**2, (-2.0,), 4.0, (-4.0,)),
    ("0**y at 0", lambda m, y: 0**y, (0.0,), 1.0, (0.0,)),
    ("2**y at 3", lambda m, y: 2**y, (3.0,), 8.0, (5.545177444479562,)),
    ("(-8)**(1/3)", lambda m, x: x ** (1 / 3), (-8.0,), nan, (nan,)),
    ("relu at 0", lambda m, x: m.relu(x), (0.0,), 0.0, (0.0,)),
    ("relu at -0", lambda m, x: m.relu(x), (-0.0,), 0.0, (0.0,)),
    ("relu at nan", lambda m, x: m.relu(x), (nan,), nan, (1.0,)),
    ("relu at inf", lambda m, x: m.relu(x), (inf,), inf, (1.0,)),
    ("abs at 0", lambda m, x: m.abs(x), (0.0,), 0.0, (0.0,)),
    ("sign at 2", lambda m, x: m.sign(x), (2.0,), 1.0, (0.0,)),
    ("maximum(1, 1)", lambda m, x, y: m.maximum(x, y), (1.0, 1.0), 1.0, (0.5, 0.5)),
    ("minimum(1, 1)", lambda m, x, y: m.minimum(x, y), (1.0, 1.0), 1.0, (0.5, 0.5)),
    ("maximum(1, 2)", lambda m, x, y: m.maximum(x, y), (1.0, 2.0), 2.0, (0.0, 1.0)),
    ("clip at the lower bound", lambda m, x: m.clip(x, 0.0), (0.0,), 0.0, (1.0,)),
    ("clip at the upper bound", lambda m, x: m.clip(x, 0.0, 1.0), (1.0,), 1.0, (1.0,)),
    ("clip beyond", lambda m, x: m.clip(x, 0.0, 1.0), (1.5,), 1.0, (0.0,)),
    ("log at 0", lambda m, x: m.log(x), (0.0,), -inf, (inf,)),
    ("log at -1", lambda m, x: m.log(x), (-1.0,), nan, (-1.0,)),
    ("log1p at -1", lambda m, x: m.log1p(x), (-1.0,), -inf, (inf,)),
    ("exp(1000)", lambda m, x: m.exp(x), (1000.0,), inf, (inf,)),
    ("exp(-1000)", lambda m, x: m.exp(x), (-1000.0,), 0.0, (0.0,)),
    ("expm1(1000)", lambda m, x: m.expm1(x), (1000.0,), inf, (inf,)),
    ("sin(inf)", lambda m, x: m.sin(x), (inf,), nan, (nan,)),
    ("cos(-inf)", lambda m, x: m.cos(x), (-inf,), nan, (nan,)),
    ("tan(inf)", lambda m, x: m.tan(x), (inf,), nan, (nan,)),
    ("tanh(1000)", lambda m, x: m.tanh(x), (1000.0,), 1.0, (0.0,)),
    ("sigmoid(1000)", lambda m, x: m.sigmoid(x), (1000.0,), 1.0, (0.0,)),
    ("sigmoid(-1000)", lambda m, x: m.sigmoid(x), (-1000.0,), 0.0, (0.0,)),
    ("where(x > 0, sqrt(x), 0) at -1", lambda m, x: m.where(x > 0, m.sqrt(x), 0.0 * x), (-1.0,), -0.0, (nan,)),
    ("overflow of a product", lambda m, x: x * x, (1e38**5,), inf, (2e190,)),
    ("overflow of a square", lambda m, x: x**2, (1e200,), inf, (2e200,)),
    ("overflow of a sum", lambda m, x: x + x, (1.5e308,), inf, (2.0,)),
    ("inf - inf", lambda m, x, y: x - y, (inf, inf), nan, (1.0, -1.0)),
    ("0 inf", lambda m, x, y: x * y, (0.0, inf), nan, (inf, 0.0)),
]
OURS = [
    ("leaky_relu at 0", lambda m, x: m.leaky_relu(x), (0.0,), 0.0, (0.01,)),
    ("softplus(1000)", lambda m, x: m.softplus(x), (1000.0,), 1000.0, (1.0,)),
    ("softplus(-1000)", lambda m, x: m.softplus(x), (-1000.0,), 0.0, (0.0,)),
    ("logsigmoid(-1000)", lambda m, x: m.logsigmoid(x), (-1000.0,), -1000.0, (1.0,)),
    ("logsigmoid(1000)", lambda m, x: m.logsigmoid(x), (1000.0,), 0.0, (0.0,)),
    ("bce(-1000, 1)", lambda m, x: m.binary_cross_entropy_with_logits(x, like(x, 1.0)), (-1000.0,), 1000.0, (-1.0,)),
    ("bce(1000, 0)", lambda m, x: m.binary_cross_entropy_with_logits(x, like(x, 0.0)), (1000.0,), 1000.0, (1.0,)),
    ("bce(0, 0)", lambda m, x: m.binary_cross_entropy_with_logits(x, like(x, 0.0)), (0.0,), 0.6931471805599453, (0.5,)),
    ("bce(inf, 1)", lambda m, x: m.binary_cross_entropy_with_logits(x, like(x, 1.0)), (inf,), nan, (0.0,)),
]  # fmt: skip
ARRAY = [
    ("max([2, 2, 1])", lambda m, x: m.max(x), [2.0, 2.0, 1.0], 2.0, [0.5, 0.5, 0.0]),
    ("min([2, 1, 1])", lambda m, x: m.min(x), [2.0, 1.0, 1.0], 1.0, [0.0, 0.5, 0.5]),
    ("norm at 0", lambda m, x: m.norm(x), [0.0, 0.0], 0.0, [0.0, 0.0]),
    ("norm of (3, 4)", lambda m, x: m.norm(x), [3.0, 4.0], 5.0, [0.6, 0.8]),
    ("prod with one zero", lambda m, x: m.prod(x), [0.0, 2.0, 3.0], 0.0, [6.0, 0.0, 0.0]),
    ("prod with two zeros", lambda m, x: m.prod(x), [0.0, 0.0, 3.0], 0.0, [0.0, 0.0, 0.0]),
    ("std of one", lambda m, x: m.std(x), [1.0], nan, [nan]),
    ("std of equals", lambda m, x: m.std(x), [1.0, 1.0], 0.0, [0.0, 0.0]),
    ("where leaks", lambda m, x: m.where(x > 0, m.sqrt(x), m.sqrt(x) * 0).sum(), [-1.0, 4.0], nan, [nan, 0.25]),
    ("logsumexp([-inf, -inf])", lambda m, x: m.logsumexp(x, 0), [-inf, -inf], -inf, [nan, nan]),
    ("logsumexp([1000, 1000])", lambda m, x: m.logsumexp(x, 0), [1000.0, 1000.0], 1000.6931471805599, [0.5, 0.5]),
    ("softmax([-inf, 0])", lambda m, x: m.softmax(x, 0).sum(), [-inf, 0.0], 1.0, [0.0, 0.0]),
    ("mean of nothing", lambda m, x: m.mean(x), [], nan, []),
    ("sum of nothing", lambda m, x: m.sum(x), [], 0.0, []),
    ("prod of nothing", lambda m, x: m.prod(x), [], 1.0, []),
]


def same(found, expected, tolerance):
    found, expected = np.asarray(found, float), np.asarray(expected, float)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=0, equal_nan=True)
    return True


@pytest.mark.parametrize(("name", "function", "inputs", "value", "gradients"), SCALAR + OURS)
def test_hard_points_of_values(name, function, inputs, value, gradients):
    """Decision 10: a Value gives torch's numbers, as floats, without an error or a warning."""
    xs = [mg.Value(x) for x in inputs]
    z = function(mg, *xs)
    assert type(z) is mg.Value
    assert type(z.data) is float
    z.backward()
    assert all(type(x.grad) is float for x in xs)
    assert same(z.data, value, 1e-15)
    assert same([x.grad for x in xs], gradients, 1e-15)
    assert same([float(g) for g in mg.grad(z, xs)], gradients, 1e-15)


def in_both_precisions(rows):
    """Each row with "float64", and with "float32" unless the point lies beyond it."""
    fits = [row for row in rows if not any(1e38 < abs(x) < inf for x in row[2])]
    return [("float64", *row) for row in rows] + [("float32", *row) for row in fits]


@pytest.mark.parametrize(
    ("dtype", "name", "function", "inputs", "value", "gradients"), in_both_precisions(SCALAR + OURS)
)
@pytest.mark.parametrize("shape", [(), (2, 1)])
def test_hard_points_of_tensors(dtype, name, function, inputs, value, gradients, shape):
    """Decisions 10 and 11: a Tensor gives the same numbers in float64 and float32, and keeps its precision."""
    xs = [mg.Tensor(np.full(shape, x, dtype), requires_grad=True) for x in inputs]
    z = function(mg, *xs)
    assert type(z.detach().numpy()) is np.ndarray
    z.backward(np.ones(shape))
    tolerance = 1e-15 if dtype == "float64" else 3e-7
    assert z.dtype == dtype
    assert all(x.grad.dtype == dtype for x in xs)
    assert same(z.tolist(), np.full(shape, value), tolerance)
    for x, gradient in zip(xs, gradients, strict=True):
        assert same(x.grad, np.full(shape, gradient), tolerance)


@pytest.mark.parametrize(("name", "function", "numbers", "value", "gradient"), ARRAY)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_hard_points_of_reductions(name, function, numbers, value, gradient, dtype):
    """Decisions 10 and 11: reductions at ties, zeros, infinities and of nothing."""
    x = mg.Tensor(numbers, requires_grad=True, dtype=dtype)
    z = function(mg, x)
    z.backward()
    tolerance = 1e-15 if dtype == np.float64 else 3e-7
    if "1000" in name:
        tolerance *= 100  # e^(x - z) inherits the rounding of z = 1000.69, in torch too
    assert (z.dtype, x.grad.dtype, z.shape) == (dtype, dtype, ())
    assert same(z.item(), value, tolerance)
    assert same(x.grad, gradient, tolerance)


@pytest.mark.oracles
@pytest.mark.parametrize(("dtype", "name", "function", "inputs", "value", "gradients"), in_both_precisions(SCALAR))
def test_the_table_is_torchs(dtype, name, function, inputs, value, gradients):
    """The numbers written out above are what torch itself gives, in both precisions."""
    torch = pytest.importorskip("torch")
    xs = [torch.tensor(x, dtype=getattr(torch, dtype), requires_grad=True) for x in inputs]
    z = function(torch, *xs)
    z.backward()
    tolerance = 1e-15 if dtype == "float64" else 3e-7
    assert same(z.item(), value, tolerance)
    assert same([x.grad.item() for x in xs], gradients, tolerance)


@pytest.mark.oracles
def test_the_activations_are_torchs():
    """Hard points of functions that torch keeps under torch.nn.functional, and of reductions."""
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    names = {"leaky_relu": F.leaky_relu, "softplus": F.softplus, "logsigmoid": F.logsigmoid}
    for name, theirs in names.items():
        for point in (0.0, 1000.0, -1000.0, 1.5, -1.5):
            x, t = mg.Value(point), torch.tensor(point, dtype=torch.float64, requires_grad=True)
            z, u = getattr(mg, name)(x), theirs(t)
            z.backward(), u.backward()
            assert same([z.data, x.grad], [u.item(), t.grad.item()], 1e-15), (name, point)
    reductions = {"max": torch.amax, "min": torch.amin, "norm": torch.linalg.vector_norm, "prod": torch.prod,
                  "std": torch.std, "logsumexp": lambda x: torch.logsumexp(x, 0), "sum": torch.sum}  # fmt: skip
    for name, theirs in reductions.items():
        for point in ([2.0, 2.0, 1.0], [0.0, 0.0, 0.0], [0.0, 2.0, 3.0], [1000.0, 1000.0, -1000.0]):
            x, t = mg.Tensor(point, requires_grad=True), torch.tensor(point, dtype=torch.float64, requires_grad=True)
            z, u = getattr(mg, name)(x), theirs(t)
            z.backward(), u.backward()
            assert same(z.item(), u.item(), 1e-14), (name, point)
            assert same(x.grad, t.grad.numpy(), 1e-14), (name, point)
    for point, target in [(-1000.0, 1.0), (0.0, 0.0), (1000.0, 0.3), (inf, 1.0), (37.0, 1.0), (-37.0, 0.0)]:
        x, t = mg.Value(point), torch.tensor(point, dtype=torch.float64, requires_grad=True)
        z = mg.binary_cross_entropy_with_logits(x, target)
        u = F.binary_cross_entropy_with_logits(t, torch.tensor(target, dtype=torch.float64))
        z.backward(), u.backward()
        assert z.data == pytest.approx(u.item(), rel=1e-12, nan_ok=True)
        assert x.grad == pytest.approx(t.grad.item(), rel=1e-9, abs=1e-15), (point, target)


def test_nothing_warns_even_where_numpy_is_told_to_raise():
    """Decision 10: the user's np.errstate neither turns our IEEE results into errors nor is changed by us."""
    with np.errstate(all="raise"):
        x = mg.Tensor([0.0, -1.0, 1e308], requires_grad=True)
        (1 / x + mg.log(x) + x * x + mg.exp(x)).sum().backward()
        assert x.grad is not None
        v = mg.Value(0.0)
        (1 / v + mg.log(v)).backward()
        with pytest.raises(FloatingPointError):
            np.array([1.0]) / np.array([0.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y = mg.Tensor([0.0], requires_grad=True)
        for sign in (1, -1):
            (sign / y).sum().backward()  # inf, then -inf, into one leaf
        assert math.isnan(y.grad[0])


HUGE = 10**400


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_huge_integers_are_infinite(make):
    """Decision 10: an integer beyond the largest float is inf, with its sign; nothing raises OverflowError."""
    assert float((make(2.0) * HUGE).data) == inf
    assert float((make(2.0) * -HUGE).data) == -inf
    assert float((HUGE - make(2.0)).data) == inf
    assert float((make(2.0) / HUGE).data) == 0.0
    assert float((HUGE / make(2.0)).data) == inf
    assert float((make(1.5) ** HUGE).data) == inf
    assert float(make(HUGE).data) == inf
    assert float(make(-HUGE).data) == -inf
    x = make(2.0)
    (x * HUGE).backward()
    assert float(x.grad) == inf
    assert make(1.0) < HUGE
    y = make(1.0)
    (y * (2**53 + 1)).backward()
    assert float(y.grad) == 2.0**53


# ------------------------------------------------------------------------------------ one function, every number


UNARY = ["negative", "square", "exp", "log", "log1p", "expm1", "sqrt", "abs", "sign", "sin", "cos", "tan", "tanh",
         "sigmoid", "logsigmoid", "softplus", "relu", "leaky_relu"]  # fmt: skip
BINARY = ["add", "subtract", "multiply", "divide", "power", "maximum", "minimum"]
REDUCTIONS = ["sum", "mean", "max", "min", "prod", "var", "std", "logsumexp", "norm"]
MOVES = {
    "reshape": lambda m, x: m.reshape(x, 6), "transpose": lambda m, x: m.transpose(x),
    "permute": lambda m, x: m.permute(x, 1, 0), "swapaxes": lambda m, x: m.swapaxes(x, 0, 1),
    "expand_dims": lambda m, x: m.expand_dims(x, 1), "squeeze": lambda m, x: m.squeeze(x),
    "broadcast_to": lambda m, x: m.broadcast_to(x, (4, 2, 3)), "flip": lambda m, x: m.flip(x, 1),
    "cumsum": lambda m, x: m.cumsum(x, 1), "softmax": lambda m, x: m.softmax(x, 1),
    "log_softmax": lambda m, x: m.log_softmax(x, 1), "concatenate": lambda m, x: m.concatenate([x, x], 1),
    "stack": lambda m, x: m.stack([x, x], 1), "split": lambda m, x: m.split(x, 1)[0],
    "matmul": lambda m, x: m.matmul(x, np.ones((3, 2), x.dtype)), "einsum": lambda m, x: m.einsum("ij->j", x),
    "linear": lambda m, x: m.linear(x, np.ones((4, 3), x.dtype), np.ones(4, x.dtype)),
    "linear without bias": lambda m, x: m.linear(x, np.ones((4, 3), x.dtype)),
    "index": lambda m, x: m.index(x, 0), "clip": lambda m, x: m.clip(x, 0.5, 1.5),
    "where": lambda m, x: m.where(np.array([True, False, True]), x, 0),
    "take_along_axis": lambda m, x: m.take_along_axis(x, np.array([[0], [1]]), 1),
    "bce": lambda m, x: m.binary_cross_entropy_with_logits(x, np.ones((2, 3), x.dtype)),
}  # fmt: skip


@pytest.mark.parametrize("name", UNARY)
def test_functions_of_every_kind_of_number(name):
    """A function takes floats, ints, NumPy scalars, arrays, Values and Tensors, and gives the same numbers."""
    function = getattr(mg, name)
    expected = function(0.75)
    assert type(expected) is float
    assert type(function(mg.Value(0.75)).data) is float
    assert function(mg.Value(0.75)).data == expected
    assert isinstance(function(1), float)
    for given in (np.float64(0.75), np.array(0.75), np.array([0.75, 0.75])):
        assert not isinstance(function(given), mg.Node)
        np.testing.assert_allclose(function(given), expected, rtol=1e-15)
    assert isinstance(function(mg.Tensor([0.75])), mg.Tensor)
    np.testing.assert_allclose(function(mg.Tensor([0.75])).tolist(), [expected], rtol=1e-15)
    np.testing.assert_allclose(function([0.75]), [expected], rtol=1e-15)


@pytest.mark.parametrize("shape", [(2, 3), (), (0, 3)])
@pytest.mark.parametrize("name", UNARY)
def test_float32_is_kept_by_functions(name, shape):
    """Decision 11: value and gradient of float32 are float32, in every shape, also with Python's constants about."""
    x = mg.Tensor(np.full(shape, 0.75), requires_grad=True, dtype=np.float32)
    y = getattr(mg, name)(x)
    z = 2.5 * y + 1
    z.backward(np.ones(shape))
    assert (y.dtype, z.dtype, x.grad.dtype, y.grad.dtype) == (np.float32,) * 4
    assert x.grad.shape == shape


@pytest.mark.parametrize("name", BINARY)
@pytest.mark.parametrize("other", [2, 2.0, True, np.float32(2), "0-d", "row", "value"])
def test_float32_is_kept_by_operations(name, other):
    """Decision 11: float32 with Python numbers, Values and float32 arrays stays float32 on either side."""
    other = (
        {"0-d": np.array(2, np.float32), "row": np.full(3, 2, np.float32), "value": mg.Value(2.0)}.get(other, other)
        if isinstance(other, str)
        else other
    )
    function = getattr(mg, name)
    for swapped in (False, True):
        x = mg.Tensor(np.full((2, 3), 0.75), requires_grad=True, dtype=np.float32)
        y = function(other, x) if swapped else function(x, other)
        assert y.dtype == np.float32
        y.sum().backward()
        assert x.grad.dtype == np.float32
    if isinstance(other, mg.Value):
        assert type(other.grad) is float


@pytest.mark.parametrize("shape", [(2, 3), (1, 1), ()])
@pytest.mark.parametrize("name", REDUCTIONS)
def test_float32_is_kept_by_reductions(name, shape):
    """Decision 11: reductions of float32 are float32 arrays, 0-d ones too."""
    x = mg.Tensor(np.full(shape, 0.75), requires_grad=True, dtype=np.float32)
    y = getattr(mg, name)(x)
    assert y.dtype == np.float32
    assert type(y.detach().numpy()) is np.ndarray
    y.backward()
    assert x.grad.dtype == np.float32
    assert x.grad.shape == shape
    if shape == (2, 3):
        for axis, keepdims in ((0, False), (1, True), ((0, 1), True), (-1, False)):
            z = getattr(mg, name)(x, axis=axis, keepdims=keepdims)
            plain = np.zeros(shape).sum(axis=axis, keepdims=keepdims)
            assert (z.dtype, z.shape) == (np.float32, plain.shape)


@pytest.mark.parametrize("name", MOVES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_dtype_is_kept_by_moves_and_products(name, dtype):
    """Decision 11: what moves, joins and multiplies keeps the precision of value and gradient."""
    x = mg.Tensor(np.arange(6.0).reshape(2, 3), requires_grad=True, dtype=dtype)
    y = MOVES[name](mg, x)
    assert y.dtype == dtype
    y.sum().backward()
    assert x.grad.dtype == dtype
    plain = MOVES[name](mg, x.detach().numpy())
    assert isinstance(plain, np.ndarray)
    assert plain.dtype == dtype
    np.testing.assert_array_equal(plain, y.detach().numpy())


def test_no_object_arrays():
    """Decision 11: no function of ours makes an array of objects; symbols and fractions enter through Value."""
    for bad in (
        lambda: mg.exp(np.array([object()])),
        lambda: mg.exp(mg.Tensor([1.0])) * np.array([None]),
        lambda: mg.add(np.array(["a"]), mg.Tensor([1.0])),
        lambda: mg.stack([mg.Tensor([1.0]), None]),
    ):
        with pytest.raises((TypeError, ValueError)) as error:
            bad()
        assert_names_this_line(error)


def test_stack_of_values_is_a_tensor():
    """A vector of Values becomes a Tensor, through which each gets its gradient."""
    values = [mg.Value(1.0), mg.Value(2.0), mg.Value(3.0)]
    t = mg.stack(values)
    assert (t.shape, t.dtype) == ((3,), np.float64)
    (t * np.array([1.0, 10.0, 100.0])).sum().backward()
    assert [v.grad for v in values] == [1.0, 10.0, 100.0]
    assert all(type(v.grad) is float for v in values)


@pytest.mark.parametrize(
    ("function", "value", "gradients"),
    [
        (mg.mean, 2.0, [1 / 3] * 3),
        (mg.max, 3.0, [0.0, 0.0, 1.0]),
        (mg.prod, 6.0, [6.0, 3.0, 2.0]),
        (lambda xs: mg.sum(xs, axis=0), 6.0, [1.0] * 3),
        (lambda xs: mg.matmul(xs, [1.0, 10.0, 100.0]), 321.0, [1.0, 10.0, 100.0]),
        (lambda xs: mg.dot(iter(xs), iter([1.0, 10.0, 100.0])), 321.0, [1.0, 10.0, 100.0]),
        (lambda xs: mg.softmax(xs).sum(), 1.0, [0.0] * 3),
        (lambda xs: mg.norm(xs[:2]), 5**0.5, [1 / 5**0.5, 2 / 5**0.5, 0.0]),
    ],
)
def test_lists_of_values_are_vectors(function, value, gradients):
    """A list of Values serves wherever an array does."""
    xs = [mg.Value(1.0), mg.Value(2.0), mg.Value(3.0)]
    z = function(xs)
    z.backward()
    assert z.item() == pytest.approx(value)
    assert [x.grad for x in xs] == pytest.approx(gradients, abs=1e-16)


def test_repeated_indices_add_up():
    """The gradient of x[[0, 0, 1]] counts place 0 twice; so do take_along_axis and boolean masks."""
    x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    x[[0, 0, 1]].sum().backward()
    assert x.grad.tolist() == [2.0, 1.0, 0.0]
    x.zero_grad()
    x[np.array([0, 0, -3]), None].sum().backward()
    assert x.grad.tolist() == [3.0, 0.0, 0.0]
    x.zero_grad()
    mg.take_along_axis(x, np.array([2, 2]), 0).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 2.0]
    x.zero_grad()
    x[np.array([True, False, True])].sum().backward()
    assert x.grad.tolist() == [1.0, 0.0, 1.0]
    x.zero_grad()
    x[mg.Tensor([1, 1])].sum().backward()
    assert x.grad.tolist() == [0.0, 2.0, 0.0]


class branching(mg.Rule):  # noqa: N801 (a rule is a function)
    """z = x^2, with a derivative that asks what it is given, as users' rules do."""

    def value(x):
        return x * x

    def wrt_x(g, z, x):
        if isinstance(x, float):
            return g * (2 * x if x > 0 else x + x)
        return g * (2 * x) if isinstance(x, (np.ndarray, np.generic, mg.Node)) else g * 777


class counting(mg.Rule):  # noqa: N801 (a rule is a function)
    """z = 3 x, which keeps count of its passes."""

    passes = 0

    def value(x):
        return 3 * x

    def wrt_x(g, z, x):
        counting.passes += 1
        return g * 3


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor([x], requires_grad=True)], ids=["Value", "Tensor"])
def test_rules_of_users(make):
    """A rule of the user's own may look at types, branch, print and count: each pass calls it, on numbers."""
    for point in (3.0, -3.0):
        x = make(point)
        for _ in range(2):
            mg.apply(branching, x).backward()
        assert np.ravel(x.grad)[0] == 4 * point
        (found,) = mg.grad(mg.apply(branching, x), x)
        assert np.ravel(found)[0] == 2 * point
    before = counting.passes
    for _ in range(3):
        mg.apply(counting, x).backward()
    assert counting.passes == before + 3


# ------------------------------------------------------------------------------------ errors (decision 12)


def matrix():
    return mg.Tensor(np.ones((2, 3)), requires_grad=True)


def column():
    """So long that no memory holds what it broadcasts to with another: shapes are looked at before the work."""
    return mg.Tensor(np.zeros((10**6, 1)), requires_grad=True)


WRONG_SHAPES = {
    "matmul": (lambda: matrix() @ matrix(), ["matmul", "(2, 3) @ (2, 3)", "inner sizes 3 and 2 differ"]),
    "matmul of vectors": (lambda: matrix() @ np.ones(2), ["matmul", "(2, 3) @ (2,)", "inner sizes 3 and 2 differ"]),
    "matmul of a number": (lambda: matrix() @ 2.0, ["matmul", "(2, 3)", "()"]),
    "rmatmul": (lambda: np.ones((4, 4)) @ matrix(), ["matmul", "(4, 4) @ (2, 3)", "inner sizes 4 and 2 differ"]),
    "add": (lambda: matrix() + np.ones(4), ["add", "(2, 3)", "(4,)"]),
    "array on the left": (lambda: np.ones(4) - matrix(), ["subtract", "(4,)", "(2, 3)"]),
    "power": (lambda: matrix() ** np.ones((5, 1, 1, 2)), ["power", "(2, 3)", "(5, 1, 1, 2)"]),
    "maximum": (lambda: mg.maximum(matrix(), np.ones(2)), ["maximum", "(2, 3)", "(2,)"]),
    "where": (lambda: mg.where(matrix() > 0, matrix(), np.ones(4)), ["where", "(2, 3)", "(4,)"]),
    "linear": (lambda: mg.linear(matrix(), np.ones((2, 2)), np.ones(2)), ["linear", "3 features", "takes 2"]),
    "linear's bias": (lambda: mg.linear(matrix(), np.ones((2, 3)), np.ones(3)), ["linear", "(3,)", "(2, 3)"]),
    "reshape": (lambda: matrix().reshape(4), ["reshape", "(2, 3)", "(4,)"]),
    "broadcast_to": (lambda: mg.broadcast_to(matrix(), (2, 2)), ["broadcast_to", "(2, 3)", "(2, 2)"]),
    "concatenate": (lambda: mg.concatenate([matrix(), np.ones(3)]), ["concatenate", "(2, 3)", "(3,)"]),
    "stack": (lambda: mg.stack([matrix(), np.ones(3)]), ["stack", "(2, 3)", "(3,)"]),
    "einsum": (lambda: mg.einsum("ij,jk->ik", matrix(), matrix()), ["einsum", "(2, 3)", "ij,jk->ik"]),
    "einsum's axes": (lambda: mg.einsum("ijk->i", matrix()), ["einsum", "ijk", "(2, 3)"]),
    "einsum's operands": (lambda: mg.einsum("ij,jk->ik", matrix()), ["einsum", "2 operands, got 1"]),
    "einsum repeats": (lambda: mg.einsum("ii->i", np.ones((2, 2))), ["einsum", "repeats an index"]),
    "squeeze": (lambda: matrix().squeeze(0), ["squeeze", "(2, 3)", "axis=0"]),
    "permute": (lambda: matrix().permute(0, 0), ["permute", "(0, 0)"]),
    "swapaxes": (lambda: matrix().swapaxes(0, 5), ["swapaxes", "(2, 3)", "5"]),
    "expand_dims": (lambda: matrix().expand_dims(7), ["expand_dims", "7"]),
    "sum": (lambda: matrix().sum(5), ["sum", "(2, 3)", "5"]),
    "mean": (lambda: matrix().mean((0, 0)), ["mean", "(2, 3)", "(0, 0)"]),
    "max of nothing": (lambda: mg.max(mg.Tensor(np.zeros((0, 3))), axis=0), ["max", "(0, 3)"]),
    "logsumexp": (lambda: matrix().logsumexp(2), ["logsumexp", "(2, 3)", "2"]),
    "softmax": (lambda: matrix().softmax(2), ["softmax", "(2, 3)", "2"]),
    "var": (lambda: matrix().var(2), ["var", "(2, 3)", "2"]),
    "split": (lambda: matrix().split([1, 5]), ["split", "[1, 5]", "2"]),
    "split by nothing": (lambda: matrix().split(0), ["split", "0"]),
    "take_along_axis": (lambda: mg.take_along_axis(matrix(), np.array([0]), 0), ["take_along_axis", "(2, 3)", "(1,)"]),
    "dot": (lambda: mg.dot([mg.Value(1.0)], [1.0, 2.0]), ["dot", "1 and 2"]),
    "dot of nothing": (lambda: mg.dot([], []), ["dot", "0 and 0"]),
    "concatenate nothing": (lambda: mg.concatenate([]), ["concatenate", "none"]),
    "index": (lambda: matrix()[5], ["index", "(2, 3)", "5"]),
    "too many indices": (lambda: matrix()[0, 0, 0], ["index", "(2, 3)"]),
    "a mask of another shape": (lambda: matrix()[np.array([True, False, True])], ["index", "(2, 3)"]),
    "bce": (lambda: mg.binary_cross_entropy_with_logits(matrix(), np.ones((2, 4))),
            ["binary_cross_entropy_with_logits", "(2, 3)", "(2, 4)"]),
    "bce must not broadcast": (lambda: mg.binary_cross_entropy_with_logits(matrix(), np.ones((2, 1))),
                               ["binary_cross_entropy_with_logits", "(2, 3)", "(2, 1)"]),
    "bce of a column and a row": (lambda: mg.binary_cross_entropy_with_logits(column(), mg.Tensor(np.zeros(10**6))),
                                  ["binary_cross_entropy_with_logits", "(1000000, 1)", "(1000000,)"]),
    "a bias of columns": (lambda: mg.linear(column(), mg.Tensor([[1.0], [2.0]]), mg.Tensor(np.zeros((10**6, 1, 1)))),
                          ["linear", "(2, 1)", "(2,)", "(1000000, 1, 1)"]),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG_SHAPES)
def test_wrong_shapes(name):
    """Decision 12: a ValueError (IndexError for indices) with the operation, the shapes and the user's line."""
    bad, words = WRONG_SHAPES[name]
    with pytest.raises((ValueError, IndexError)) as error:
        bad()
    assert_names_this_line(error)
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "gufunc" not in text
    assert "lambda" not in text


WRONG_TYPES = {
    "exp of text": (lambda: mg.exp("a"), ["exp", "str"]),
    "exp of None": (lambda: mg.exp(None), ["exp", "NoneType"]),
    "exp of a complex number": (lambda: mg.exp(1j), ["exp", "complex"]),
    "sum of a complex number": (lambda: mg.sum(1j, axis=1), ["sum", "complex"]),
    "log of a complex number": (lambda: mg.log(0j), ["log", "complex"]),
    "add of text": (lambda: mg.add(mg.Value(1.0), "a"), ["add", "str"]),
    "matmul of text": (lambda: matrix() @ "a", ["matmul", "str"]),
    "matmul of None": (lambda: None @ matrix(), ["matmul", "NoneType"]),
    "sum of text": (lambda: mg.sum("a"), ["sum"]),
    "sum with text": (lambda: mg.sum([mg.Value(1.0), "a"]), ["str"]),
    "axis of text": (lambda: matrix().sum("a"), ["sum", "axis", "'a'"]),
    "axis of float": (lambda: matrix().sum(1.0), ["sum", "axis", "1.0"]),
    "stack of text": (lambda: mg.stack(["a"]), ["stack", "str"]),
    "concatenate of text": (lambda: mg.concatenate(["a", matrix()]), ["concatenate", "str"]),
    "reshape to text": (lambda: matrix().reshape("a"), ["reshape", "'a'"]),
    "clip to text": (lambda: matrix().clip("a"), ["clip", "'a'"]),
    "index by float": (lambda: matrix()[1.5], ["index", "1.5"]),
    "index by text": (lambda: matrix()["a"], ["index", "a"]),
    "take floats": (lambda: mg.take_along_axis(matrix(), np.array([[0.5]]), 0), ["take_along_axis", "float64"]),
    "clip to nothing": (lambda: matrix().clip(), ["clip", "min", "max"]),
}


@pytest.mark.parametrize("name", WRONG_TYPES)
def test_wrong_types(name):
    """Decision 12: what is no number is named by its type, with the operation and the user's line."""
    bad, words = WRONG_TYPES[name]
    with pytest.raises((TypeError, ValueError, IndexError)) as error:
        bad()
    assert_names_this_line(error)
    text = str(error.value)
    assert all(word in text for word in words), text


@pytest.mark.parametrize("bad", [lambda: mg.Value(1.0) + "a", lambda: "a" + mg.Value(1.0), lambda: None * matrix(),
                                 lambda: matrix() - None, lambda: 1j / mg.Value(1.0), lambda: mg.Value(1.0) < "a",
                                 lambda: matrix() - [1.0, 2.0, 3.0]])  # fmt: skip
def test_operators_leave_other_types_to_python(bad):
    """With what is no number an operator returns NotImplemented, and Python raises its TypeError (never "ab")."""
    with pytest.raises(TypeError):
        bad()


def test_errors_leave_the_graph_as_it_was():
    """A refused operation makes no node and changes none."""
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = x * 2
    with pytest.raises(ValueError):
        y + np.ones(3)
    y.sum().backward()
    assert x.grad.tolist() == [2.0, 2.0]


def test_the_line_is_the_users_in_a_call_of_many_lines():
    """Decision 12: the line in the message is one of the statement that failed."""
    with pytest.raises(ValueError) as error:
        mg.concatenate(
            [matrix(), np.ones(3)],
            axis=0,
        )
    assert_names_this_line(error)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: mg.matmul(np.ones((2, 3)), np.ones((2, 3))), ["matmul: (2, 3) @ (2, 3)", "inner sizes 3 and 2"]),
        (lambda: mg.add(np.ones(2), np.ones(3)), ["add: (2,), (3,)"]),
        (lambda: mg.reshape(np.ones(6), 4), ["reshape: (6,)"]),
        (lambda: mg.sum(np.ones(2), axis=4), ["sum: (2,)", "axis=4"]),
        (lambda: mg.matmul(2.0, 3.0), ["matmul", "single number"]),
        (lambda: mg.exp(np.array([1j])), ["real numbers", "complex128"]),
        (lambda: matrix() * 1j, ["multiply", "complex128"]),
        (lambda: mg.where(True, matrix(), 1j), ["where", "complex128"]),
        (lambda: matrix().astype("S3"), ["astype", "S3"]),
        (lambda: mg.split(matrix(), 2, 9), ["split", "axis 9"]),
        (lambda: mg.split(matrix(), "a"), ["split", "'a'"]),
        (lambda: mg.split(matrix(), [4, -1, 0], 1), ["split", "at least 0"]),
        (lambda: mg.stack(3), ["stack", "int"]),
        (lambda: mg.dot(3, 4), ["dot", "int"]),
        (lambda: mg.leaky_relu(matrix(), "a"), ["leaky_relu", "'a'"]),
        (lambda: matrix().swapaxes("a", 1), ["swapaxes", "'a'"]),
        (lambda: mg.einsum(3, matrix()), ["einsum", "string"]),
        (lambda: matrix().argmax(axis=5), ["argmax", "axis 5"]),
        (lambda: matrix().norm(1), ["norm", "ord=1"]),
    ],
)
def test_plain_arrays_and_odd_arguments(call, words):
    """Bad input: plain arrays too are refused by the operation's name, with shapes and this file's line."""
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert_names_this_line(error)
    assert all(word in str(error.value) for word in words), str(error.value)


def test_torchs_words_for_shapes():
    """expand, flip, clamp, flatten, numel, dim= and keepdim= mean what they mean in torch."""
    t = mg.Tensor([[1.0, 2.0, 3.0]], requires_grad=True)
    assert t.expand(2, 3).shape == t.expand(2, -1).shape == (2, 3)
    assert mg.Tensor([1.0, 2.0]).expand(3, -1).shape == (3, 2)
    assert t.flip(0, 1).tolist() == t.flip((0, 1)).tolist() == [[3.0, 2.0, 1.0]]
    assert t.clamp(min=2).tolist() == [[2.0, 2.0, 3.0]]
    assert (t.flatten().shape, t.numel()) == ((3,), 3)
    assert t.sum(dim=1, keepdim=True).tolist() == [[6.0]]
    assert mg.softmax(t, dim=0).tolist() == [[1.0, 1.0, 1.0]]
    with pytest.raises(TypeError):
        t.sum(dim=1, axis=1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mg.exp(1j), "exp: expected real numbers"),
        (lambda: mg.exp([[1.0], [1.0, 2.0]]), "expected an array of numbers"),
        (lambda: mg.add([1.0], "a"), "add: (1,): expected a Value"),
        (lambda: mg.rules.exp(mg.Value(1.0), mg.Value(2.0)), "exp: "),
        (lambda: mg.apply(mg.rules.exp, mg.Value(1.0), base=2), "exp: base=2"),
        (lambda: matrix().expand(3), "broadcast_to: (2, 3)"),
        (lambda: matrix().astype("nonsense"), "astype: "),
    ],
)
def test_each_name_stands_once(call, message):
    """Bad input: the message begins with the operation, said once, and ends with this file's line."""
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert_names_this_line(error)
    assert str(error.value).startswith(message)
    assert str(error.value).count(message) == 1
