"""Value: one number with its history; what goes in, what comes out, and what it costs."""

import copy
import gc
import math
import operator
import struct
import sys
import tracemalloc
import warnings
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg

HERE = Path(__file__).name
FLOATS = st.floats(allow_nan=True, allow_infinity=True)


def assert_names_this_line(error):
    """The message carries the line of this file that was being executed."""
    lines = [entry.lineno + 1 for entry in error.traceback if Path(entry.path).name == HERE]
    assert f"{HERE}:{lines[-1]}" in str(error.value)


def bits(x):
    return struct.pack("d", x) if not math.isnan(x) else "nan"


# ------------------------------------------------------------------------------------ making one


@pytest.mark.parametrize(
    "given", [2, 2.0, True, np.float64(2), np.float32(2), np.int64(2), np.bool_(True), np.array(2.0), np.array(2)]
)
def test_what_a_value_is_made_of(given):
    """Any real number becomes a Python float; a Value requires a gradient and starts with grad 0.0."""
    x = mg.Value(given)
    assert type(x) is mg.Value
    assert type(x.data) is float
    assert x.data == float(given)
    assert type(x.grad) is float
    assert (x.grad, x.requires_grad, x.name, x.is_leaf) == (0.0, True, None, True)
    x.data = given
    x.grad = given
    assert (type(x.data), type(x.grad)) == (float, float)


@pytest.mark.parametrize(
    "bad",
    [
        "a",
        "2",
        b"2",
        None,
        [1.0],
        (1.0,),
        {},
        1j,
        np.complex128(1),
        np.ones(1),
        np.ones((2, 2)),
        object(),
        mg.Value(1.0),
        mg.Tensor(1.0),
        np.array("a"),
        float,
        lambda: 1,
    ],
)
def test_what_it_is_not_made_of(bad):
    """Bad input: a TypeError that says what was given, what was expected and where; also on assignment."""
    x = mg.Value(1.0)
    attempts = [lambda: mg.Value(bad), lambda: setattr(x, "data", bad)]
    if bad is not None:
        attempts.append(lambda: setattr(x, "grad", bad))
    for attempt in attempts:
        with pytest.raises(TypeError, match=r"expected a (real )?number") as error:
            attempt()
        assert_names_this_line(error)
    assert (x.data, x.grad) == (1.0, 0.0)


def test_names():
    """A name is a string or None, shown in messages; a slot that does not exist is an AttributeError."""
    x = mg.Value(1.0, name="weight")
    assert x.name == "weight"
    assert mg.Value(1.0, "bias").name == "bias"
    with pytest.raises(TypeError, match="name: expected a string, got int") as error:
        mg.Value(1.0, name=3)
    assert_names_this_line(error)
    with pytest.raises(AttributeError):
        x.dtaa = 5
    with pytest.raises(AttributeError):
        mg.Tensor([1.0]).requires_gard = True


def test_subclasses():
    """Users subclass the faces with arguments and attributes of their own; the fast paths take them as they come."""

    class Scalar(mg.Value):
        def __init__(self, data, tag="none"):
            super().__init__(data)
            self.tag = tag

    class Array(mg.Tensor):
        pass

    s = Scalar(2.0, tag="speed")
    y = s * s + 3 * s - mg.exp(s) / s
    y.backward()
    twin = mg.Value(2.0)
    (twin * twin + 3 * twin - mg.exp(twin) / twin).backward()
    assert (s.grad, s.tag) == (twin.grad, "speed")
    t = Array([2.0], requires_grad=True)
    (t * t).sum().backward()
    assert t.grad.tolist() == [4.0]


# ------------------------------------------------------------------------------------ operators


BINARY = {"add": operator.add, "subtract": operator.sub, "multiply": operator.mul, "divide": operator.truediv}


def ieee(operation, a, b):
    with np.errstate(all="ignore"):
        return float(operation(np.float64(a), np.float64(b)))


@given(FLOATS, FLOATS, st.sampled_from(sorted(BINARY)))
@settings(max_examples=120)
def test_operators_are_ieee(a, b, name):
    """Decision 10: the four operations on all floats are IEEE's to the bit, on either side; passes never raise."""
    operation = BINARY[name]
    expected = bits(ieee(operation, a, b))
    for x, y in ((mg.Value(a), mg.Value(b)), (mg.Value(a), b), (a, mg.Value(b))):
        z = operation(x, y)
        assert bits(z.data) == expected
        z.backward()
        assert all(type(v.grad) is float for v in (x, y) if isinstance(v, mg.Value))


@given(FLOATS, FLOATS)
@settings(max_examples=120)
def test_powers_are_ieee(a, b):
    """Decision 10: x ** y of all floats is a float as C's pow gives it, never complex, never an exception."""
    expected = ieee(operator.pow, a, b)
    for x, y in ((mg.Value(a), mg.Value(b)), (mg.Value(a), b), (a, mg.Value(b))):
        z = x**y
        assert type(z.data) is float
        assert z.data == pytest.approx(expected, rel=1e-15, nan_ok=True)
        z.backward()
        gradients = mg.grad(z, [v for v in (x, y) if isinstance(v, mg.Value)])
        stored = [v.grad for v in (x, y) if isinstance(v, mg.Value)]
        assert [bits(g) for g in gradients] == [bits(g) for g in stored]


@given(
    FLOATS,
    st.sampled_from(
        [
            "exp",
            "log",
            "log1p",
            "expm1",
            "sqrt",
            "abs",
            "sign",
            "sin",
            "cos",
            "tan",
            "tanh",
            "square",
            "sigmoid",
            "relu",
            "softplus",
            "logsigmoid",
            "leaky_relu",
            "negative",
        ]
    ),
)
@settings(max_examples=200)
def test_functions_never_raise(a, name):
    """Decision 10: every elementary function of every float gives a float and a float gradient, equal to Tensor's."""
    x, t = mg.Value(a), mg.Tensor(a, requires_grad=True)
    z, u = getattr(mg, name)(x), getattr(mg, name)(t)
    z.backward()
    u.backward()
    assert (type(z.data), type(x.grad)) == (float, float)
    assert z.data == pytest.approx(u.item(), rel=1e-14, abs=1e-300, nan_ok=True)
    assert x.grad == pytest.approx(float(t.grad), rel=1e-12, abs=1e-300, nan_ok=True)
    assert bits(mg.grad(z, x)[0]) == bits(x.grad)


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_augmented_assignment_rebinds(make):
    """Decision 15: on Values, and on nodes with history, += binds the name to a new node; the old one stays."""
    x = make(2.0) * 1
    y = x
    y += 1
    y -= 0.5
    y *= 3
    y /= 2
    assert float(y.data) == 3.75
    assert float(x.data) == 2.0
    assert y is not x
    (dx,) = mg.grad(y, x)
    assert float(dx) == 1.5
    v = mg.Value(2.0)
    w = v
    w += 1
    assert (v.data, w.data) == (2.0, 3.0)


def test_native_operations_make_one_node():
    """-x, x - y, x / y and their reflections are one node each, not compositions."""
    x, y = mg.Value(2.0), mg.Value(3.0)
    for z, name in (
        (-x, "negative"),
        (x - y, "subtract"),
        (1 - x, "subtract"),
        (x / y, "divide"),
        (1 / x, "divide"),
        (2**x, "power"),
        (abs(x), "abs"),
        (x.relu(), "relu"),
        (mg.softplus(x), "softplus"),
    ):
        assert z.rule.__name__ == name
        assert len(mg.topological_order(z)) == 1 + len(z._prev)
    assert +x is x


def test_sum_of_values_begins_with_zero():
    """Python's sum(values) works, since 0 + Value is a Value."""
    values = [mg.Value(float(i)) for i in range(4)]
    total = sum(values)
    assert type(total) is mg.Value
    total.backward()
    assert (total.data, [v.grad for v in values]) == (6.0, [1.0] * 4)


def test_float_int_bool_format():
    """A Value shows its number: float, int, bool, format, f-strings."""
    x = mg.Value(2.5)
    plain = x.detach()
    assert (float(plain), int(plain), bool(x), bool(mg.Value(0.0))) == (2.5, 2, True, False)
    assert f"{x:.3f} {x}" == "2.500 Value(data=2.5, grad=0.0)"
    assert x.item() == 2.5
    assert max([mg.Value(1.0), mg.Value(3.0), mg.Value(2.0)]).data == 3.0
    assert sorted([mg.Value(2.0), mg.Value(1.0)])[0].data == 1.0


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
@pytest.mark.parametrize("leave", [float, int, math.exp, math.sqrt])
def test_leaving_the_graph_is_not_silent(make, leave):
    """Decision 15: float(x), and so math.exp(x), warns at this line, names what to write, and gives the number."""
    x = make(2.0)
    with pytest.warns(UserWarning, match=r"mg\.exp.*\.item\(\)") as caught:
        assert leave(x) == leave(2.0)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert leave(x.detach()) == leave(2.0)
        with mg.no_grad():
            assert leave(make(1.0) + 1.0) == leave(2.0)


def test_other_numbers_stay_what_they_are():
    """A Fraction enters a graph as itself, and its gradient is exact."""
    x = mg.Value(Fraction(1, 3))
    y = x * x + x / 3 - 1
    y.backward()
    assert y.data == Fraction(1, 9) + Fraction(1, 9) - 1
    assert x.grad == Fraction(1)
    assert type(x.grad) is Fraction
    assert copy.deepcopy(x).data == Fraction(1, 3)


# ------------------------------------------------------------------------------------ costs are counted


def program(x, y, rounds):
    """Four operations a round."""
    z = x
    for _ in range(rounds):
        z = z * y + x - y / 2
    return z


def python_calls(function):
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count - 1  # the function itself


def measured(make, rounds=200):
    x, y = make(0.5), make(0.25)
    program(x, y, 3).backward()
    kept = []
    forward = python_calls(lambda: kept.append(program(x, y, rounds)))
    backward = python_calls(lambda: kept[0].backward())
    walk = python_calls(lambda: mg.grad(kept[0], x))
    return [count / (4 * rounds) for count in (forward, backward, walk)]


def test_python_calls_a_node_of_values():
    """One Python call an operation forward, one backward (and 20 a pass), 9.3 in the general walk."""
    forward, backward, walk = measured(mg.Value)
    assert forward <= 1 + 5 / 800
    assert backward <= 1 + 20 / 800
    assert walk <= 9.3


def test_python_calls_a_node_of_tensors():
    """On small arrays 17 Python calls an operation forward, 2 backward, 8.3 in the general walk."""
    forward, backward, walk = measured(lambda x: mg.Tensor([x], requires_grad=True))
    assert forward <= 17 + 5 / 800
    assert backward <= 2 + 30 / 800
    assert walk <= 8.3


def test_calls_are_linear_in_the_number_of_inputs():
    """Stacking, summing and dotting n Values costs calls in proportion to n."""

    def cost(n, join):
        values = [mg.Value(1.0) for _ in range(n)]
        kept = []
        forward = python_calls(lambda: kept.append(join(values)))
        return forward + python_calls(lambda: (kept[0].sum() if isinstance(kept[0], mg.Tensor) else kept[0]).backward())

    for join in (mg.stack, mg.sum, lambda v: mg.dot(v, v)):
        cost(10, join)
        assert cost(400, join) <= 2.1 * cost(200, join)


def bytes_a_node(make, rounds=4000):
    x, y = make(0.5), make(0.25)
    program(x, y, 3).backward()
    gc.collect()
    tracemalloc.start()
    try:
        start = tracemalloc.get_traced_memory()[0]
        z = program(x, y, rounds)
        made = tracemalloc.get_traced_memory()[0]
        z.backward()
        passed = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    return (made - start) / (4 * rounds), (passed - made) / (4 * rounds)


def test_bytes_a_node():
    """An operation on Values keeps at most 229 bytes, and 25 more for its gradient."""
    made, passed = bytes_a_node(mg.Value)
    assert made <= 229
    assert passed <= 25


def test_bytes_a_node_of_tensors():
    """An operation on Tensors of one number keeps at most 405 bytes, and 121 more for its gradient."""
    made, passed = bytes_a_node(lambda x: mg.Tensor([x], requires_grad=True))
    assert made <= 405
    assert passed <= 121


def test_no_node_without_a_gradient():
    """What requires no gradient keeps no inputs: a long computation on constants holds nothing but its result."""
    with mg.no_grad():
        y = mg.Value(1.0)
        for _ in range(100):
            y = y * 1.01
    assert (y.inputs, y.rule) == ((), None)
    t = mg.Tensor([1.0])
    for _ in range(100):
        t = t * 1.01
    assert (t.inputs, t.rule, t.requires_grad) == ((), None, False)
