"""detect_anomaly: the first number that is not finite, forward or backward, named with all that helps."""

import threading
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg

HERE = Path(__file__).name


def assert_names_this_line(error):
    """The message carries the line of this file that was being executed."""
    lines = [entry.lineno + 1 for entry in error.traceback if Path(entry.path).name == HERE]
    assert f"{HERE}:{lines[-1]}" in str(error.value)


def leaf(*numbers):
    return mg.Tensor(numbers, requires_grad=True)


FORWARD = {
    "log of 0": (lambda: mg.log(mg.Value(0.0)), ["log", "-inf", "0.0"]),
    "log of -1": (lambda: mg.log(mg.Value(-1.0)), ["log", "nan", "-1.0"]),
    "1/0": (lambda: 1 / mg.Value(0.0), ["divide", "inf", "1", "0.0"]),
    "an operator's overflow": (lambda: mg.Value(1e200) * mg.Value(1e200), ["multiply", "inf", "1e+200"]),
    "a power": (lambda: mg.Value(-8.0) ** (1 / 3), ["power", "nan", "-8.0"]),
    "exp": (lambda: mg.Value(1000.0).exp(), ["exp", "inf", "1000.0"]),
    "one of an array": (lambda: mg.log(leaf(1.0, 0.0, 2.0)), ["log", "-inf", "[1]", "(3,)", "[1.0, 0.0, 2.0]"]),
    "a large array": (lambda: mg.sqrt(mg.Tensor(np.full((4, 5), -1.0))), ["sqrt", "nan", "[0, 0]", "(4, 5)"]),
    "a product": (lambda: leaf(1e300, 1.0) @ np.array([1e300, 1.0]), ["matmul", "inf"]),
    "inf - inf": (lambda: mg.logsumexp(leaf(np.inf, -np.inf) - np.array([np.inf, 0.0])), ["subtract", "nan"]),
    "of no gradient": (lambda: mg.exp(mg.Tensor([1000.0])), ["exp", "inf"]),
    "NumPy's function": (lambda: np.log(leaf(0.0)), ["log", "-inf"]),
    "float32": (lambda: mg.exp(mg.Tensor([100.0], dtype=np.float32)), ["exp", "inf", "100.0"]),
}


@pytest.mark.parametrize("name", FORWARD)
def test_forward(name):
    """The first operation that gives nan or inf raises, naming itself, the number, the inputs' values and the line."""
    bad, words = FORWARD[name]
    bad()  # without the mode it is an IEEE result
    with pytest.raises(mg.AnomalyError) as error, mg.detect_anomaly():
        bad()
    assert_names_this_line(error)
    text = str(error.value)
    assert all(word in text for word in words), text
    assert isinstance(error.value, FloatingPointError)
    bad()


BACKWARD = {
    "sqrt at 0": (lambda: mg.sqrt(mg.Value(0.0)) * 2, ["sqrt", "inf", "d/dx"]),
    "sqrt at 0, arrays": (lambda: mg.sqrt(leaf(4.0, 0.0)).sum(), ["sqrt", "inf", "[1]", "(2,)"]),
    "x**y at (-2, 3)": (lambda: mg.Value(-2.0) ** mg.Value(3.0), ["power", "nan", "d/dy"]),
}


@pytest.mark.parametrize("name", BACKWARD)
def test_backward(name):
    """A derivative that is not finite raises in the pass, naming rule, input, values and the forward line."""
    build, words = BACKWARD[name]
    root = build()
    root.backward()
    root = build()
    with pytest.raises(mg.AnomalyError) as error, mg.detect_anomaly():
        root.backward()
    text = str(error.value)
    assert all(word in text for word in words), text
    assert "backward of" in text
    assert HERE in text  # the line that made the node
    with pytest.raises(mg.AnomalyError), mg.detect_anomaly():
        mg.grad(root, [n for n in mg.topological_order(root) if n.is_leaf], create_graph=True)


def test_the_line_in_backward_is_the_forward_line():
    """The message points at the line that made the culprit, not at backward()."""
    x = mg.Value(0.0)
    y = mg.sqrt(x)
    z = y * 3
    with pytest.raises(mg.AnomalyError) as error, mg.detect_anomaly():
        z.backward()
    assert f"{HERE}:{y.site.line}" in str(error.value)
    assert "sqrt" in str(error.value)
    assert x.grad == 0.0  # nothing was stored


def test_the_first_culprit_is_named():
    """The first operation in time, and the first step of the pass, not the last."""
    with pytest.raises(mg.AnomalyError, match=r"^log gave"), mg.detect_anomaly():
        mg.exp(mg.log(mg.Value(0.0)) * 0)
    x = mg.Value(0.0)
    y = mg.sqrt(mg.sqrt(x) * 1.0)
    with pytest.raises(mg.AnomalyError) as error, mg.detect_anomaly():
        y.backward()
    assert f"d/dx gave inf, of gradient {1.0}" in str(error.value)


@pytest.mark.parametrize("make", [mg.Value, lambda x: leaf(x, 4.0)], ids=["Value", "Tensor"])
def test_the_where_leak_is_recognised(make):
    """where(x > 0, sqrt(x), 0) is recognised, and the form advised is safe."""
    x = make(0.0)
    y = mg.where(x > 0, mg.sqrt(x), 0.0)
    with pytest.raises(mg.AnomalyError) as error, mg.detect_anomaly():
        (y.sum() if isinstance(y, mg.Tensor) else y).backward()
    text = str(error.value)
    assert "sqrt" in text
    assert "where(c, f(x), 0)" in text
    assert "f(where(c, x, safe))" in text
    x = make(0.0)
    with mg.detect_anomaly():
        y = mg.where(x > 0, mg.sqrt(mg.where(x > 0, x, 1.0)), 0.0)
        (y.sum() if isinstance(y, mg.Tensor) else y).backward()
    assert np.ravel(x.grad)[0] == 0.0


def test_the_where_leak_at_minus_one():
    """Where the forward value is nan already, the forward check names it; of an older graph the leak shows."""
    x = leaf(-1.0, 4.0)
    with pytest.raises(mg.AnomalyError, match=r"^sqrt gave nan"), mg.detect_anomaly():
        mg.where(x > 0, mg.sqrt(x), 0)
    y = mg.where(x > 0, mg.sqrt(x), 0).sum()
    y.backward()
    assert np.isnan(x.grad[0])
    assert x.grad[1] == 0.25
    with pytest.raises(mg.AnomalyError, match="where"), mg.detect_anomaly():
        y.backward()


def test_log_of_a_saturated_sigmoid_is_advised():
    """The cliff of binary cross-entropy composed by hand: the message names the loss on logits."""
    with pytest.raises(mg.AnomalyError, match="binary_cross_entropy_with_logits"), mg.detect_anomaly():
        mg.log(1 - mg.sigmoid(mg.Value(40.0)))


def test_flags():
    """check_nan and check_inf choose what is watched."""
    with mg.detect_anomaly(check_inf=False):
        assert mg.log(mg.Value(0.0)).data == -np.inf
        with pytest.raises(mg.AnomalyError):
            mg.log(mg.Value(-1.0))
    with mg.detect_anomaly(check_nan=False):
        assert np.isnan(mg.log(mg.Value(-1.0)).data)
        with pytest.raises(mg.AnomalyError):
            mg.log(mg.Value(0.0))
    with mg.detect_anomaly(False, False):
        mg.log(mg.Value(0.0)), mg.log(mg.Value(-1.0))


def test_only_in_its_own_context():
    """It ends with its block, also by its own exception, and does not reach other threads."""
    seen = []
    with mg.detect_anomaly():
        thread = threading.Thread(target=lambda: seen.append(mg.log(mg.Value(0.0)).data))
        thread.start()
        thread.join()
        with pytest.raises(mg.AnomalyError):
            1 / mg.Value(0.0)
    assert seen == [-np.inf]
    assert (1 / mg.Value(0.0)).data == np.inf
    x = mg.Value(0.0)
    mg.sqrt(x).backward()
    assert x.grad == np.inf


def test_finite_work_is_untouched():
    """Under the mode gradients of a finite computation are the same to the bit; integers are no anomaly."""

    def run():
        w = mg.Tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True)
        x = mg.Value(0.3)
        y = (mg.tanh(w @ np.ones(3)) * x).sum() + w[np.array([0, 1]), mg.Tensor([0, 1])].prod() + w.clip(0).norm()
        y.backward()
        mg.Tensor([1, 2]) * 3
        return y.item(), w.grad.tobytes(), x.grad

    plain = run()
    with mg.detect_anomaly():
        assert run() == plain


def test_data_that_comes_in_bad_is_blamed_on_the_first_operation():
    """A leaf may hold nan; the first operation that passes it on is named."""
    with mg.detect_anomaly():
        x = mg.Tensor([np.nan, 1.0], requires_grad=True)
        with pytest.raises(mg.AnomalyError, match=r"multiply gave nan at \[0\]"):
            x * 2


def test_a_seed_that_is_not_finite():
    """A gradient given that is not finite shows at the first step."""
    x = leaf(1.0, 2.0)
    with pytest.raises(mg.AnomalyError, match="inf"), mg.detect_anomaly():
        (x * 2).backward([np.inf, 1.0])


def test_messages_are_short():
    """However large the arrays, the message stays readable."""
    with pytest.raises(mg.AnomalyError) as error, mg.detect_anomaly():
        mg.log(mg.Tensor(np.zeros((100, 100)), requires_grad=True))
    assert len(str(error.value)) < 500


@pytest.mark.parametrize(
    ("xs", "reason"),
    [
        ([mg.Value(1.0), "a"], "expected a Value, a Tensor, a number or an array, got str: 'a'"),
        ([mg.Value(1.0), 1j], "expected real numbers, got a complex one"),
        ([mg.Value(Fraction(1, 2)), np.ones(2)], r"\(\), \(2,\): a fraction and a Tensor do not mix: make it a float"),
        ([mg.Tensor([1.0, 2.0]), np.ones(3)], r"\(2,\), \(3,\): operands could not be broadcast together"),
    ],
)
def test_a_sum_of_a_list_is_named_as_it_was_called(xs, reason):
    """The error names mg.sum, which the user has called, and not the rule behind it."""
    with pytest.raises((TypeError, ValueError), match=f"^sum: {reason}.*{HERE}:"):
        mg.sum(xs)
    with pytest.raises(mg.AnomalyError, match=r"^sum gave inf"), mg.detect_anomaly():
        mg.sum([mg.Value(1e308), mg.Value(1e308)])
