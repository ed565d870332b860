"""gradcheck and gradgradcheck: they accept right rules, reject wrong ones, and tell a kink from a mistake."""

import math
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg
from microgrid import rules
from tests.microgrid.checking import numbers, varied
from tests.microgrid.table import ROWS

HERE = Path(__file__).name


def leaf(*numbers):
    return mg.Tensor(numbers or (0.5, 1.5), requires_grad=True)


def scaled(factor):
    class off(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * x * x

        def wrt_x(g, z, x):
            return g * (3 * x * x) * factor

    return lambda x: mg.apply(off, x)


RIGHT = {
    "cube": (lambda x: x**3, [mg.Value(1.3)]),
    "two values": (lambda x, y: x * mg.sin(y) + mg.exp(x / y), [mg.Value(2.0), mg.Value(1.0)]),
    "arrays": (lambda x, y: mg.tanh(x @ y.T).mean(), [mg.Tensor(np.arange(6.0).reshape(2, 3) / 6, requires_grad=True),
                                                      mg.Tensor(np.ones((4, 3)) / 3, requires_grad=True)]),
    "array output": (lambda x: mg.exp(x), [leaf()]),
    "several outputs": (lambda x: (x * 2, mg.log(x).sum()), [leaf()]),
    "faces mixed": (lambda v, t: (v * t).prod(), [mg.Value(2.0), leaf()]),
    "0-d": (lambda t: t * t, [mg.Tensor(3.0, requires_grad=True)]),
    "empty": (lambda t: t.sum(), [mg.Tensor(np.zeros((0, 3)), requires_grad=True)]),
    "a constant beside": (lambda x, c: (x * c).sum(), [leaf(), mg.Tensor([2.0, 3.0])]),
    "large numbers": (lambda x: x * x, [mg.Value(1e6)]),
    "small numbers": (lambda x: mg.sin(x), [mg.Value(1e-9)]),
    "unused": (lambda x, y: x * 2, [mg.Value(1.0), mg.Value(1.0)]),
    "relu away from the kink": (mg.relu, [mg.Value(-0.5)]),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_accepts_what_is_right(name):
    """A right gradient passes, for Values, Tensors, several inputs and outputs, empty and 0-d shapes."""
    function, inputs = RIGHT[name]
    before = [(x._data if isinstance(x, mg.Value) else x.tolist(), x._grad) for x in inputs]
    assert mg.gradcheck(function, inputs) is True
    assert [(x._data if isinstance(x, mg.Value) else x.tolist(), x._grad) for x in inputs] == before


@pytest.mark.parametrize("factor", [1.001, 0.999, -1.0, 0.0, 2.0, math.nan, math.inf])
@pytest.mark.parametrize("make", [lambda: mg.Value(1.3), lambda: leaf(0.4, 1.3, -2.0)], ids=["Value", "Tensor"])
def test_rejects_what_is_wrong(make, factor):
    """A rule that is off by 0.1 % or more, by sign, by a zero or by nan is rejected, with the numbers and the line."""
    function = scaled(factor)
    with pytest.raises(mg.GradcheckError) as error:
        mg.gradcheck(function, [make()])
    text = str(error.value)
    assert "input 0" in text
    assert "difference" in text
    assert HERE in text
    assert "kink" not in text
    assert mg.gradcheck(function, make(), raise_exception=False) is False
    assert mg.gradcheck(scaled(1.0), make())


def test_rejects_one_wrong_element():
    """One wrong element in an array is found and named."""

    class one_wrong(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * x

        def wrt_x(g, z, x):
            return g * 2 * x * np.array([[1.0, 1.0], [1.0, 1.001]])

    x = mg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True, name="weights")
    with pytest.raises(mg.GradcheckError, match=r"weights\[1, 1\]"):
        mg.gradcheck(lambda t: mg.apply(one_wrong, t), x)


def kinked(slope):
    class kink(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * (x > 0)

        def wrt_x(g, z, x):
            return g * np.where(x == 0, slope, x > 0) if isinstance(x, np.ndarray) else g * (slope if x == 0 else x > 0)

    return lambda x: mg.apply(kink, x)


def test_a_kink_is_told_from_a_mistake():
    """At a kink every gradient between the two sides passes, one outside is wrong and called so."""
    for make in (lambda: mg.Value(0.0), lambda: leaf(0.0, 1.0)):
        for slope in (0.0, 0.5, 1.0):
            assert mg.gradcheck(kinked(slope), make())
        for slope in (-0.1, 1.1, 2.0):
            with pytest.raises(mg.GradcheckError, match="kink") as error:
                mg.gradcheck(kinked(slope), make())
            assert "0" in str(error.value)
            assert "1" in str(error.value)


@pytest.mark.parametrize("function", [mg.relu, mg.abs, lambda x: mg.maximum(x, 0.0), lambda x: mg.clip(x, 0.0, 1.0),
                                      mg.leaky_relu, lambda x: mg.maximum(x, x * 2)])  # fmt: skip
def test_our_own_kinks_pass(function):
    """The conventions at kinks are subgradients: each passes at its kink, on both faces."""
    assert mg.gradcheck(function, [mg.Value(0.0)])
    assert mg.gradcheck(function, [leaf(0.0, 0.5, -0.5)])


def test_curvature_is_no_kink():
    """A strongly curved function with a wrong gradient is a mistake, not a kink."""

    class steep(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return 1e4 * x * x

        def wrt_x(g, z, x):
            return g * (2e4 * x + 0.05)

    with pytest.raises(mg.GradcheckError, match="central difference"):
        mg.gradcheck(lambda x: mg.apply(steep, x), mg.Value(0.0))


def test_a_jump_is_named():
    """A step function has no derivative at its step."""

    class step(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return 1.0 if x > 0 else 0.0

        def wrt_x(g, z, x):
            return g * 0

    with pytest.raises(mg.GradcheckError, match="jump"):
        mg.gradcheck(lambda x: mg.apply(step, x), mg.Value(0.0))
    assert mg.gradcheck(lambda x: mg.apply(step, x), mg.Value(1.0))


def test_functions_with_a_memory_are_refused():
    """A function that gives another value when called again cannot be checked, and says so."""
    count = iter(range(100))
    with pytest.raises(mg.GradcheckError, match="another value"):
        mg.gradcheck(lambda x: x * next(count), mg.Value(1.0))


@pytest.mark.parametrize(
    ("function", "inputs", "words"),
    [
        (lambda x: x, [mg.Tensor([1.0], requires_grad=True, dtype=np.float32)], ["float32", "float64"]),
        (lambda x: x, [mg.Tensor([1.0])], ["requires a gradient"]),
        (lambda x: x, [1.0], ["input 0", "float"]),
        (lambda x: x, [np.ones(2)], ["input 0", "ndarray"]),
        (lambda x: 3.0, [mg.Value(1.0)], ["returned float"]),
        (lambda x: x.detach(), [mg.Value(1.0)], ["requires no gradient"]),
        (lambda x: x, [], ["input"]),
    ],
)
def test_bad_calls(function, inputs, words):
    """Bad input: a TypeError or ValueError that says what was given and where."""
    with pytest.raises((TypeError, ValueError)) as error:
        mg.gradcheck(function, inputs)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert HERE in str(error.value)


def test_an_error_of_the_function_passes_through():
    """What the function itself raises is not swallowed, even without raise_exception."""
    with pytest.raises(KeyError):
        mg.gradcheck(lambda x: {}[1], mg.Value(1.0), raise_exception=False)


def test_tolerances():
    """atol and rtol are what they say; eps is the step."""
    assert mg.gradcheck(scaled(1.01), mg.Value(1.3), rtol=0.05)
    assert not mg.gradcheck(scaled(1.01), mg.Value(1.3), rtol=0.005, raise_exception=False)
    assert mg.gradcheck(scaled(1.0), mg.Value(1.3), eps=1e-4)


def test_it_works_inside_no_grad_and_leaves_modes():
    """Under no_grad the check records by itself; the mode stays as it was."""
    with mg.no_grad():
        assert mg.gradcheck(lambda x: x * x, mg.Value(2.0))
        assert not mg.is_grad_enabled()
    assert mg.is_grad_enabled()


# ----------------------------------------------------------------------------------- random directions, second order


def function_of(row, case, xs):
    """The rule as a function of the inputs that have a derivative."""
    positions = varied(case)

    def function(*given):
        inputs = list(xs)
        for position, x in zip(positions, given, strict=True):
            inputs[position] = x
        return row.rule(*inputs, **case.parameters)

    return function


def first_of_some_size(row):
    return next(c for c in row.family.fixed if all(np.prod(x) > 1 for x in c.inputs if isinstance(x, tuple)))


def spoilt(wrt, change):
    """A derivative of which one share (the last, of many) is changed."""

    def of_one(*arguments, **parameters):
        share = wrt(*arguments, **parameters)
        return [*share[:-1], change(share[-1])] if isinstance(share, list) else change(share)

    return of_one


def off_by_a_thousandth(share):
    return share * 1.001


def off_in_its_own_derivative(share):
    """The right number, of which the derivative is off by 0.1 %."""
    return share + (share - share.detach()) * 0.001 if isinstance(share, mg.Node) else share


NOT_IN_SINGLE = [row for row in ROWS if row.rule is not rules.astype]  # differences in single precision show nothing


@pytest.mark.parametrize("row", NOT_IN_SINGLE, ids=repr)
def test_each_rule_to_second_order(monkeypatch, row):
    """Each rule passes both checks in both modes; each of its derivatives, off by 0.1 %, fails the first.

    One that is right, but whose own derivative is off by 0.1 %, passes the first and fails the second.
    """
    case = first_of_some_size(row)
    xs = numbers(row, case)
    function, nodes = function_of(row, case, xs), [mg.Tensor(xs[i], requires_grad=True) for i in varied(case)]
    for fast in (False, True):
        assert mg.gradcheck(function, nodes, fast_mode=fast)
        assert mg.gradgradcheck(function, nodes, fast_mode=fast)
    for position, wrt in enumerate(row.rule.wrt):
        if wrt is None or row.rule is rules.sign:  # whose share is 0
            continue
        for change, first in ((off_by_a_thousandth, False), (off_in_its_own_derivative, True)):
            with monkeypatch.context() as patch:
                changed = list(row.rule.wrt)
                changed[position] = spoilt(wrt, change)
                patch.setattr(row.rule, "wrt", tuple(changed))
                for fast in (False, True):
                    assert mg.gradcheck(function, nodes, fast_mode=fast, raise_exception=False) is first, change
                    if first:
                        assert not mg.gradgradcheck(function, nodes, fast_mode=fast, raise_exception=False), change


@pytest.mark.parametrize("name", RIGHT)
def test_second_order_and_random_directions_accept_what_is_right(name):
    """So do Values, several inputs and outputs, empty and 0-d shapes, constants beside."""
    function, inputs = RIGHT[name]
    assert mg.gradcheck(function, inputs, fast_mode=True)
    assert mg.gradgradcheck(function, inputs)
    assert mg.gradgradcheck(function, inputs, fast_mode=True)


def test_grad_outputs_may_be_given():
    """grad_outputs are where the gradients are looked at; as many as outputs, of their shapes."""
    two = lambda x: (x * x, mg.sum(x * x * x))
    x = leaf()
    assert mg.gradgradcheck(two, x, [np.ones(2), 3.0])
    assert mg.gradgradcheck(lambda x: x * x, mg.Value(2.0), mg.Value(3.0))
    with pytest.raises(ValueError, match="2 outputs, but 1 grad_outputs"):
        mg.gradgradcheck(two, x, [np.ones(2)])
    with pytest.raises(ValueError, match=r"shape \(2,\), got \(3,\)"):
        mg.gradgradcheck(lambda x: x * x, x, np.ones(3))


def test_fast_mode_says_what_it_found():
    """The message names the input and the output; the directions are the seed's, and their number does not grow."""
    with pytest.raises(mg.GradcheckError, match=r"d\(output 0\)/d\(input 0\): the gradient is"):
        mg.gradcheck(scaled(1.001), leaf(1.0, 2.0, 3.0), fast_mode=True, rng=3)
    with pytest.raises(mg.GradcheckError, match="gradgradcheck: "):
        mg.gradgradcheck(lambda x: mg.apply(wrong_second, x), leaf(1.0, 2.0), fast_mode=True)
    count = []
    mg.gradcheck(lambda x: (count.append(1), x * x)[1], leaf(*np.linspace(1, 2, 50)), fast_mode=True)
    assert len(count) == 5  # twice for its memory, once for the gradient, up and down


class wrong_second(mg.Rule):  # noqa: N801 (a rule is a function)
    """A square that hides x from its own derivative."""

    def value(x):
        return x * x

    def wrt_x(g, z, x):
        return g * (2 * (x.detach() if isinstance(x, mg.Node) else x))


def test_a_derivative_that_hides_its_input_is_found():
    """A wrt_* that detaches x is right to first order and wrong to second."""
    for x in (mg.Value(1.5), leaf()):
        assert mg.gradcheck(lambda x: mg.apply(wrong_second, x), x)
        with pytest.raises(mg.GradcheckError, match=r"d\(output 0.*\)/d\(input 0"):
            mg.gradgradcheck(lambda x: mg.apply(wrong_second, x), x)
    with pytest.raises(mg.GradcheckError, match=r"d\(output 0.*\)/d\(grad_outputs\[0\]"):
        mg.gradgradcheck(lambda x: mg.apply(squared_g, x), mg.Value(1.0), 0.5)


class squared_g(mg.Rule):  # noqa: N801 (a rule is a function)
    """Not linear in g where it is recorded."""

    def value(x):
        return x * 1

    def wrt_x(g, z, x):
        return g + (g - g.detach()) * 0.001 if isinstance(g, mg.Node) else g


def test_kinks_in_fast_mode():
    """At a kink a gradient between the sides along the direction passes, one outside does not."""
    assert mg.gradcheck(kinked(0.5), leaf(0.0, 1.0), fast_mode=True)
    with pytest.raises(mg.GradcheckError, match="kink"):
        mg.gradcheck(kinked(2.0), leaf(0.0), fast_mode=True)


@pytest.mark.parametrize(
    ("function", "inputs", "words"),
    [
        (lambda x: x, [mg.Tensor([1.0], requires_grad=True, dtype=np.float32)], ["gradgradcheck", "float32"]),
        (lambda x: x, [mg.Tensor([1.0])], ["gradgradcheck", "requires a gradient"]),
        (lambda x: x, [1.0], ["gradgradcheck", "input 0", "float"]),
        (lambda x: 3.0, [mg.Value(1.0)], ["gradgradcheck", "returned float"]),
        ("x", [mg.Value(1.0)], ["gradgradcheck", "str"]),
    ],
)
def test_bad_calls_of_gradgradcheck(function, inputs, words):
    """Bad input: a TypeError or ValueError that says what was given and where."""
    with pytest.raises((TypeError, ValueError)) as error:
        mg.gradgradcheck(function, inputs)
    assert all(word in str(error.value) for word in words), str(error.value)
    assert HERE in str(error.value)


def nonlinear(wrt):
    class bent(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * x

        wrt_x = wrt

    return bent


NONLINEAR = {
    "ignores g": lambda g, z, x: 2 * x,
    "squares g": lambda g, z, x: g * g * 2 * x,
    "takes |g|": lambda g, z, x: abs(g) * 2 * x,
    "adds to g": lambda g, z, x: (g + 1) * x,
}


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("make", [mg.Value, lambda x: leaf(x, 2 * x)], ids=["Value", "Tensor"])
@pytest.mark.parametrize("wrt", NONLINEAR.values(), ids=NONLINEAR)
def test_a_derivative_that_is_not_linear_in_g_does_not_pass(wrt, make, fast):
    """Each of these is right where g = 1, as it is in the gradient of x^2 alone, and wrong within a larger formula."""
    rule = nonlinear(wrt)
    for check in (mg.gradcheck, mg.gradgradcheck):
        with pytest.raises(mg.GradcheckError, match=check.__name__):
            check(lambda x: mg.apply(rule, x), make(0.75), fast_mode=fast)
        assert not check(lambda x: mg.apply(rule, x), make(0.75), fast_mode=fast, raise_exception=False)


@pytest.mark.parametrize("wrt", NONLINEAR.values(), ids=NONLINEAR)
def test_forward_mode_refuses_a_derivative_that_is_not_linear_in_g(wrt):
    """The forward mode is the derivative of the share by g: no number is made of one that has another."""
    rule = nonlinear(wrt)
    with pytest.raises(ValueError, match=f"not linear in g.*{HERE}"):
        mg.jvp(lambda x: mg.apply(rule, x), (3.0,), (1.0,))
