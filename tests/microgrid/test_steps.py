"""Steps: the real backward pass, one operation at a time."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg

HERE = Path(__file__).name


def leaf(*numbers, **keywords):
    return mg.Tensor(numbers or (0.5, 1.5), requires_grad=True, **keywords)


def net():
    w, x, b = mg.Value(2.0, name="w"), mg.Value(-3.0, name="x"), mg.Value(0.5, name="b")
    return (w, x, b), mg.tanh(w * x + b) * w + mg.relu(b) ** 2


def arrays():
    x = mg.Tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True)
    w = mg.Tensor(np.ones((4, 3)) / 3, requires_grad=True)
    b = mg.Tensor(np.zeros(4), requires_grad=True)
    z = mg.linear(x, w, b).sigmoid()
    return (x, w, b), (z * z + mg.concatenate([z[:, :2], z[:, 2:]], axis=1)).mean() + x[[0, 0]].max() + w.logsumexp()


def mixed():
    v, t = mg.Value(2.0), leaf()
    return (v, t), (mg.stack([v, v * v]) * t).prod() + mg.dot([v, v], [v, 3.0])


def bits(gradient):
    return np.asarray(gradient).tobytes()


@pytest.mark.parametrize("build", [net, arrays, mixed])
def test_steps_are_backward(build):
    """steps and backward are one walk: all gradients are equal to the bit, also accumulated ones."""
    leaves, root = build()
    twins, twin = build()
    for _ in range(2):
        root.backward()
        assert len(list(mg.steps(twin))) == sum(node.rule is not None for node in mg.topological_order(twin))
        for node, other in zip(mg.topological_order(root), mg.topological_order(twin), strict=True):
            assert bits(node.grad) == bits(other.grad)
    assert all(x._grad is not None for x in (*leaves, *twins))


@pytest.mark.parametrize("build", [net, arrays, mixed])
def test_contributions_add_up(build):
    """after == before + value, exactly; an input's last `after` and a node's upstream are their gradients."""
    leaves, root = build()
    last, steps = {}, list(mg.steps(root))
    for step in steps:
        assert bits(step.upstream) == bits(step.node.grad)
        for c in step.contributions:
            assert bits(c.after) == bits(c.value if c.before is None else c.before + c.value)
            assert c.before is None if c.input not in last else bits(c.before) == bits(last[c.input])
            last[c.input] = c.after
    for node, after in last.items():
        assert bits(after) == bits(node.grad)
    assert set(leaves) <= set(last)


def test_what_a_step_tells():
    """index, total, node, name, op, rule, source, contributions with their slots, in the order of the walk."""
    x, y = mg.Value(3.0, name="x"), mg.Value(4.0, name="y")
    h = x * y
    h.name = "h"
    z = h - x
    first, second = mg.steps(z)
    assert (first.index, first.total, first.op, first.name, first.upstream) == (0, 2, "subtract", None, 1.0)
    assert (second.index, second.total, second.op, second.name, second.upstream) == (1, 2, "multiply", "h", 1.0)
    assert first.node is z
    assert second.rule is mg.rules.multiply
    assert second.source.line == h.site.line
    assert [(c.input, c.slot, c.value, c.before, c.after) for c in first.contributions] == [
        (h, "x", 1.0, None, 1.0), (x, "y", -1.0, None, -1.0),
    ]  # fmt: skip
    assert [(c.input, c.slot, c.value, c.before, c.after) for c in second.contributions] == [
        (x, "x", 4.0, -1.0, 3.0), (y, "y", 3.0, None, 3.0),
    ]  # fmt: skip
    assert "2/2" in str(second)
    assert "h = x * y  [multiply]" in str(second)
    assert f"{HERE}:{h.site.line}" in str(second)


def test_slots_of_a_variadic_rule():
    """The inputs of dot and stack are numbered; a node given twice has two contributions."""
    x, y = mg.Value(3.0), mg.Value(4.0)
    (step,) = mg.steps(mg.dot([x, y], [x, 2.0]))
    assert [(c.input, c.slot, c.value) for c in step.contributions] == [
        (x, "xs[0]", 3.0),
        (y, "xs[1]", 2.0),
        (x, "xs[2]", 3.0),
    ]
    assert x.grad == 6.0


def test_a_pass_that_is_stopped_stores_nothing():
    """A stepped pass that is not run to its end leaves every gradient as it was."""
    (w, x, _), root = net()
    root.backward()
    before = (w.grad, x.grad)
    it = mg.steps(root)
    next(it)
    next(it)
    it.close()
    assert (w.grad, x.grad) == before


def test_nothing_is_held_between_steps():
    """Between two steps no mode, no errstate and no lock is held: other passes run and record meanwhile."""
    _, root = net()
    errors = np.geterr()
    it = mg.steps(root)
    for _ in it:
        assert np.geterr() == errors
        assert mg.is_grad_enabled()
        x = mg.Value(2.0)
        (x * x).backward()
        assert x.grad == 4.0
    (_, root) = arrays()
    for _ in mg.steps(root):
        with pytest.raises(FloatingPointError), np.errstate(divide="raise"):
            np.ones(1) / np.zeros(1)


def test_a_gradient_given_and_bad_roots():
    """steps takes a gradient as backward does, and refuses what backward refuses, at the call."""
    x = leaf()
    list(mg.steps(x * 2, [1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]
    for call in (
        lambda: mg.steps(x * 2),
        lambda: mg.steps(x.detach()),
        lambda: mg.steps(3.0),
        lambda: mg.steps(x * 2, [1.0]),
    ):
        with pytest.raises((TypeError, ValueError)) as error:
            call()
        assert HERE in str(error.value)


def test_steps_refuse_stale_data():
    """A stepped pass is as careful with stale data as backward()."""
    x = leaf()
    y = (x * x).sum()
    x.data[0] = 9.0
    with pytest.raises(mg.StaleError):
        list(mg.steps(y))
    assert x.grad is None


def test_hooks_act_in_steps():
    """A hook's replacement is what the step shows as upstream and hands on."""
    x = mg.Value(3.0)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    steps = list(mg.steps(y * 1))
    assert steps[1].upstream == 10.0
    assert x.grad == 20.0


@given(st.lists(st.sampled_from(["add", "multiply", "tanh", "sin", "divide", "power"]), min_size=1, max_size=8),
       st.lists(st.floats(-3, 3), min_size=2, max_size=2))  # fmt: skip
@settings(max_examples=40)
def test_steps_of_random_chains_equal_backward(names, numbers):
    """Whatever the operations and numbers, nan and inf included, stepped and plain gradients are equal to the bit."""

    def build():
        a, b = mg.Value(numbers[0]), mg.Value(numbers[1])
        z = a
        for name in names:
            function = getattr(mg, name)
            z = function(z) if name in ("tanh", "sin") else function(z, b)
        return a, b, z

    a, b, z = build()
    c, d, y = build()
    if z.rule is None:
        return
    z.backward()
    list(mg.steps(y))
    for left, right in ((a, c), (b, d), (z, y)):
        assert bits(left.grad) == bits(right.grad) or (np.isnan(left.grad) and np.isnan(right.grad))


def test_a_deep_chain():
    """Stepping is iterative: 20,000 operations."""
    x = mg.Value(1.0)
    y = x
    for _ in range(20_000):
        y = y + 0.5
    assert sum(1 for _ in mg.steps(y)) == 20_000
    assert x.grad == 1.0
