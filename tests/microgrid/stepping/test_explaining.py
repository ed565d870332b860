"""`explain` and `why`: backward passes in words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg

HERE = Path(__file__).name


def leaf(number, name="x"):
    return mg.Value(number, name=name)


def vector(*numbers, name="t"):
    return mg.Tensor(numbers, requires_grad=True, name=name)


# ---------------------------------------------------------------------------------------------------- the chain rule


def test_the_chain_rule_with_its_numbers():
    """Each product that is written is true, and each leaf's sum is its gradient, to the digits shown."""
    w, x, b = leaf(2.0, "w"), leaf(-3.0), leaf(0.5, "b")
    z = w * x + b
    a = mg.sigmoid(z) * w + z
    a.name = "a"
    text = str(mg.explain(a))
    products = re.findall(r" = ([-+.e\d]+) \* ([-+.e\d]+) = ([-+.e\d]+)", text)
    assert len(products) == sum(len(step.contributions) for step in mg.steps(a))
    for node in (w, x, b):
        node.zero_grad()
    for upstream, local, value in products:
        assert float(value) == pytest.approx(float(upstream) * float(local), rel=1e-5)
    a.backward()
    sums = dict(re.findall(r"^    da/d(\w+) = .*?(\S+)$", text.partition("So, in sum:")[2], re.MULTILINE))
    assert sums.keys() == {"w", "x", "b"}
    for node in (w, x, b):
        assert float(sums[node.name]) == pytest.approx(node.grad, rel=1e-5)
    assert f"{HERE}:" in text
    assert "mg.sigmoid(z) * w + z" in text
    assert "g * (z * (1 - z))" in text


def test_arrays_in_words():
    """Of arrays: the rule's words, the axes summed over, shapes; at the end each leaf's nodes."""
    x = mg.Tensor(np.ones((5, 3)))
    W, b = mg.Tensor(np.ones((2, 3)), requires_grad=True, name="W"), vector(0.0, 0.0, name="b")
    loss = (mg.linear(x, W, b) * b).mean()
    text = str(mg.explain(loss))
    for words in (
        "g.T @ x: (2, 3)", "g, summed over axis 0, so far", "g * x, summed over axis 0: (2,)",
        "g / n, the same for all of", "dL/dW = [%3]: (2, 3)", "dL/db = [%4] + [%3]: (2,)",
    ):  # fmt: skip
        assert words in text, words


def test_explain_stores_nothing():
    """No gradient is stored; hooks are shown; a tape can be explained."""
    x = leaf(3.0)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    text = str(mg.explain(y * 1))
    assert "dx = 20 = 21, as its hooks leave it" in text
    assert (x.grad, y.grad) == (0.0, 0.0)
    z = y * 1
    assert str(mg.explain(mg.record(z))) == str(mg.explain(z))
    assert "no gradient to hand on" in str(mg.explain(x.detach()))
    with pytest.raises(TypeError, match=f"explain: expected a Value or a Tensor, got float, at {HERE}"):
        mg.explain(3.0)


def test_many_contributions():
    """A leaf used often is summed up in short."""
    x = leaf(1.0)
    text = str(mg.explain(mg.dot([x] * 20, [1.0] * 20)))
    assert "1 + 1 + 1 + 1 + 1 + 1 + 1 + 1 + ... = 20 (20 contributions)" in text


def test_how_they_show():
    """One line for a debugger, the whole text for print and a notebook."""
    found = mg.explain(leaf(1.0) * 2)
    assert "\n" not in repr(found)
    assert len(repr(found)) <= 80

    class Printer:
        def text(self, text):
            self.shown = text

    printer = Printer()
    found._repr_pretty_(printer, False)
    assert printer.shown == str(found) == found.text


# -------------------------------------------------------------------------------------------- what became of a gradient


def at(node):
    return f"{HERE}:{node.site.line}"


def zero_of(make, *numbers):
    """why() of the first of some Values, and the node that should be named."""
    xs = [leaf(number, name) for number, name in zip(numbers, "xyz", strict=False)]
    middle = make(*xs)
    root = middle * 3
    root.backward()
    return str(mg.why(xs[0], root)), middle, xs[0]


@pytest.mark.parametrize(
    ("make", "numbers", "words"),
    [
        (mg.sigmoid, [800.0], "sigmoid is saturated, its value being 1"),
        (mg.sigmoid, [-800.0], "sigmoid is saturated, its value being 0"),
        (mg.tanh, [50.0], "tanh is saturated, its value being 1"),
        (mg.relu, [-2.0], "relu is dead, its input being -2 <= 0"),
        (lambda x, y: x * y, [2.0, 0.0], "multiplied by 0"),
        (lambda x: x * 0, [2.0], "multiplied by 0"),
        (lambda x, y: mg.dot([x], [y]), [2.0, 0.0], "multiplied by 0"),
        (lambda x, y: mg.where(False, x, y), [2.0, 1.0], "where chooses the other"),
        (lambda x: mg.clip(x, -1, 1), [2.0], "clip holds it at a bound, its input being 2"),
        (lambda x, y: mg.maximum(x, y), [1.0, 2.0], "maximum chooses the other"),
        (lambda x, y: mg.minimum(x, y), [2.0, 1.0], "minimum chooses the other"),
        (abs, [0.0], "kink at 0"),
        (mg.sign, [3.0], "sign is flat"),
        (lambda x: x**0, [3.0], "the power is flat there: 3 ** 0"),
        (lambda x: x**2, [0.0], "the power is flat there: 0 ** 2"),
        (mg.square, [0.0], "a square is flat at 0"),
        (mg.exp, [-1000.0], "exp hands 0 on"),
    ],
)
def test_why_a_gradient_is_0(make, numbers, words):
    """The rule that hands 0 on is named, and its line."""
    text, middle, x = zero_of(make, *numbers)
    assert x.grad == 0
    assert text.startswith(("x.grad is 0:\n", "x.grad is -0:\n"))
    assert words in text
    assert at(middle) in text
    assert text.count("\n") == 1


def test_why_far_from_it():
    """The node that stopped it is named, not the one next to the leaf; both ways where there are two."""
    x = leaf(-2.0)
    near = mg.sin(x)
    stop = mg.relu(near * 2)
    other = mg.tanh(near * 1000)
    root = stop * 5 + other
    text = str(mg.why(x, root))
    assert "relu is dead" in text
    assert at(stop) in text
    assert "tanh is saturated, its value being -1" in text
    assert "multiply" not in text
    assert text.startswith(("x.grad would be 0 after", "x.grad would be -0 after"))


def test_contributions_that_cancel():
    x = leaf(2.0)
    text = str(mg.why(x, x * 3 - x * 3))
    assert "the 2 contributions to x cancel: " in text
    assert "3 - 3" in text or "-3 + 3" in text
    t = vector(1.0, 2.0)
    text = str(mg.why(t, (t * np.array([1.0, 2.0]) - t).sum()))
    assert "with 1 of 2 0" in text
    assert "cancel in 1 of 2 elements" in text


def test_underflow_and_a_zero_given():
    x = leaf(1e-200)
    assert "underflow: 1e-200 * 1e-200" in str(mg.why(x, (x * x) * mg.Value(1e-200)))
    tiny = x * x
    assert "multiplied by 0" in str(mg.why(x, x * tiny.data))


@pytest.mark.parametrize(
    ("make", "number", "gradient", "words"),
    [
        (mg.log, 0.0, np.inf, "log at 0"),
        (lambda x: 1 / x, 0.0, -np.inf, "division by 0"),
        (mg.sqrt, 0.0, np.inf, "sqrt at 0"),
        (lambda x: x**0.5, 0.0, np.inf, "a power of 0"),
        (lambda x: mg.sqrt(x) * 0, 0.0, np.nan, "0 * inf: the gradient from above is 0, and sqrt at 0"),
        (lambda x: mg.where(False, mg.sqrt(x), 1.0), 0.0, np.nan, "0 * inf"),
        (lambda x: mg.exp(x), 1000.0, np.inf, "already inf in the forward pass"),
        (lambda x: mg.log(x - 5) * x, 1.0, np.nan, "already nan in the forward pass"),
        (lambda x: x * x, np.nan, np.nan, "x is nan to begin with"),
        (lambda x: (x * 1e200) * 1e200, 1e-300, np.inf, "overflow"),
    ],
)
def test_why_a_gradient_is_not_finite(make, number, gradient, words):
    """The rule where it began is named, and its line; also if the numbers were bad already."""
    x = leaf(number)
    root = make(x)
    root.backward()
    assert np.array_equal(x.grad, gradient, equal_nan=True)
    text = str(mg.why(x, root))
    assert text.startswith(f"x.grad is {gradient:g}:\n")
    assert words in text
    assert at(root) in text


@pytest.mark.parametrize(
    ("make", "number", "words"),
    [
        (mg.sqrt, -1.0, "outside the domain: sqrt of -1 is no real number"),
        (lambda x: x ** (1 / 3), -8.0, "outside the domain: (-8) ** 0.333333 is no real number"),
        (lambda x: (-2.0) ** x, 3.0, "outside the domain: (-2) ** y is real for whole y alone"),
        (lambda x: mg.log(x) ** 2, -1.0, "(outside the domain: log of -1 is no real number)"),
        (lambda x: mg.log1p(x * 3) ** 2, -1.0, "(outside the domain: log1p of -3 is no real number)"),
    ],
)
def test_outside_the_domain(make, number, words):
    """Where a rule has no real value that is said, and no overflow is made up."""
    for x in (leaf(number), vector(number, number)):
        root = make(x)
        text = str(mg.why(x, root if isinstance(x, mg.Value) else root.sum()))
        assert words in text
        assert "overflow" not in text
        assert at(root) in text
    x = vector(-1.0, 0.0, 4.0)
    text = str(mg.why(x, mg.sqrt(x).sum()))
    assert "outside the domain: sqrt of -1 is no real number; sqrt at 0" in text
    assert "(in 2 of 3 elements)" in text


def test_hooks_that_changed_it():
    """The hook that made a gradient what it is, bad or good, on the node itself or on the way to it; not one aside."""
    for number, words in ((0.0, "x.grad is 0:"), (np.nan, "x.grad is nan:"), (5.0, "x.grad is 5, and")):
        for of in ("x", "h"):
            x = leaf(1.0)
            h = x * 1
            h.name = "h"
            (x if of == "x" else h).register_hook(lambda g, number=number: number)
            aside = x * 0 + 1
            aside.register_hook(lambda g: g * 7)
            root = h * 3 + aside * 0
            root.backward()
            text = str(mg.why(x, root))
            assert text.startswith(words)
            assert f"a hook of {of} turned 3 into {number:g}" in text
    x = leaf(1.0)
    root = x * 0
    x.register_hook(lambda g: g * 2)  # what was 0 before its hook is 0 for the old reason
    assert "multiplied by 0" in str(mg.why(x, root))


def test_gradients_of_several_passes():
    """What a leaf has added up, and what this pass gives of it, are told apart by name."""
    x = leaf(2.0)
    root = x * x
    root.name = "L"
    for _ in range(3):
        root.backward()
    text = str(mg.why(x, root))
    assert text == (
        "x.grad is 12, which passes have added up since zero_grad(); L.backward() gives 4, the sum of 2 contributions: "
        "nothing is wrong with that"
    )
    (x * np.nan).backward()
    text = str(mg.why(x, root))
    assert text.startswith("x.grad is nan, which passes have added up since zero_grad(); L.backward() gives 4")
    assert text.endswith("that is finite, an earlier pass was not")
    y = leaf(0.0)
    zero = y * y
    zero.name = "L"
    (y * 3).backward()
    zero.backward()
    text = str(mg.why(y, zero))
    assert text.startswith("x.grad is 3, which passes have added up since zero_grad(); L.backward() gives 0:\n")
    assert "multiplied by 0" in text


def test_sums_that_are_not_finite():
    """Finite contributions whose sum overflows; infinities of both signs."""
    x = leaf(1.0)
    assert "the 2 contributions to x overflow: 1e+308 + 1e+308" in str(mg.why(x, x * 1e308 + x * 1e308))
    text = str(mg.why(x, (x * 1e200) * 1e200 - (x * 1e200) * 1e200))
    assert "the contributions to x are inf and -inf, and their sum is nan" in text


def test_arrays():
    """How many elements, and which rule; index, max, relu, log."""
    t = vector(-1.0, 0.0, 2.0)
    cases = {
        "relu is dead": (t.relu().sum(), "with 2 of 3 0", "(in 2 of 3 elements)"),
        "the index does not choose it": (t[0] * 2, "with 2 of 3 0", "(in 2 of 3 elements)"),
        "max chooses another": (t.max(), "with 2 of 3 0", "(in 2 of 3 elements)"),
        "log at 0": (t.log().sum(), "with 1 of 3 not finite", "(in 1 of 3 elements)"),
        "multiplied by 0": ((t * np.array([0.0, 1.0, 0.0])).sum(), "with 2 of 3 0", "(in 2 of 3 elements)"),
    }
    for words, (root, count, share) in cases.items():
        text = str(mg.why(t, root))
        assert words in text
        assert count in text
        assert share in text
    u = vector(-1.0, 2.0, 3.0)
    text = str(mg.why(u, (u.relu() * np.array([1.0, 0.0, 1.0])).sum()))  # each element by what stopped it
    assert "relu is dead, its input being [-1. 2. 3.] <= 0 (in 1 of 3 elements)" in text
    assert "it is multiplied by 0 (in 1 of 3 elements)" in text
    root = t * t  # no single number: as if its elements were summed up
    assert "relu is dead" in str(mg.why(t, root.relu() * 0 + t.relu()))


def test_constants():
    """Detached, made under no_grad, made without requires_grad: what the line tells, and which line."""
    x = leaf(2.0)
    d = x.detach()
    assert str(mg.why(d)).startswith(
        "(x.detach()).grad is 0: no gradient is asked of it:\n  it was detached: x.detach()"
    )
    assert at(d) in str(mg.why(d))
    with mg.no_grad():
        q = x * 2
    assert f"x * 2 at {at(q)} was computed under no_grad()" in str(mg.why(q))
    c = mg.Tensor([1.0, 2.0])
    assert "was made without requires_grad=True" in str(mg.why(c))
    assert "no gradient to hand on" not in str(mg.why(x, x * 2))
    text = str(mg.why(x, q))
    assert "has none to hand on" in text
    assert at(q) in text


def test_outside_the_graph():
    """A node that the root was not computed from, and where the graph ends instead."""
    x = leaf(2.0)
    h = x * 3
    d = h.detach()
    root = d * leaf(5.0, "v")
    text = str(mg.why(x, root))
    assert "it is no part of the graph" in text
    assert f"the graph ends at (h.detach()), which was detached at {at(d)}" in text
    later = leaf(1.0, "later")
    assert "which is older: it was made, or written to, later" in str(mg.why(later, root))


def test_reached_by_no_gradient():
    """A node of the graph whose consumers have no derivative in it."""
    c, x = leaf(1.0, "c"), leaf(2.0)
    root = mg.rules.where(c, x, 3.0)
    text = str(mg.why(c, root))
    assert "where has no derivative in c" in text
    assert at(root) in text


def test_nothing_wrong():
    """A gradient that is as it should be is said to be so; and one that no pass has computed."""
    x = leaf(2.0)
    root = x * x
    assert "no backward pass has reached it" in str(mg.why(x))
    assert "no backward pass has been run since; %1.backward() would give 4" in str(mg.why(x, root))
    assert x.grad == 0.0
    root.backward()
    assert str(mg.why(x, root)) == (
        "x.grad is 4, and %1.backward() gives 4, the sum of 2 contributions: nothing is wrong with that"
    )
    assert "as backward passes since zero_grad() have left it: nothing is wrong" in str(mg.why(x))
    assert "nothing is wrong with that" in str(mg.why(root, root))
    t = vector(1.0, 2.0)
    assert str(mg.why(t)).startswith("t.grad is None: no backward pass")
    z = leaf(0.0, "z")
    (z * 0).backward()
    assert "to find out why, name what was differentiated" in str(mg.why(z))
    bad = leaf(np.nan)
    (bad * bad).backward()
    assert "x itself is nan" in str(mg.why(bad))


def test_other_numbers_and_modes():
    """Fractions and symbols have reasons too; anomaly detection does not stand in the way."""
    from fractions import Fraction

    u = mg.Value(Fraction(0), name="u")
    assert "a square is flat" in str(mg.why(u, mg.square(u)))
    s = mg.symbols("s")
    assert "multiplied by 0" in str(mg.why(s, s * 0)) or "nothing is wrong" in str(mg.why(s, s * 2))
    x = leaf(0.0)
    root = mg.sqrt(x)
    with mg.detect_anomaly():
        assert "sqrt at 0" in str(mg.why(x, root))


def test_bad_input():
    for call in (lambda: mg.why(3.0), lambda: mg.why(leaf(1.0), "loss")):
        with pytest.raises(TypeError, match=f"why: expected a Value or a Tensor, got .*, at {HERE}"):
            call()
