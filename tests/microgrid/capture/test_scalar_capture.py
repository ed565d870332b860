"""A compiled loss of Values is the loss: replayed as Python or by levels in NumPy, or else the function itself."""

from __future__ import annotations

import contextlib
import gc
import math
import random
import threading
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings, strategies as st

import microgrid as mg
import nn
from microgrid.capture.stand_ins import FEW, reader_of
from microgrid.graph import node_kind
from tests.microgrid.checking import numbers
from tests.microgrid.table import ROWS, Row

HERE = Path(__file__).name
BACKENDS = ("python", "numpy")


def values(*numbers: float) -> list[mg.Value]:
    return [mg.Value(x) for x in numbers]


def eager(function: Any, args: Any, leaves: Any) -> list[float]:
    """The loss, and the gradients of one plain pass."""
    for x in leaves:
        x.grad = None
    loss = function(*args)
    loss.backward()
    return [loss.item(), *(x.grad for x in leaves)]


def replayed(step: Any, args: Any, leaves: Any) -> list[float]:
    for x in leaves:
        x.grad = None
    before = step.replays
    loss = step(*args)
    assert step.replays == before + 1, step.why
    assert type(loss) is mg.Value
    assert not loss.requires_grad
    return [loss.item(), *(x.grad for x in leaves)]


def assert_close(found: list[float], expected: list[float], tolerance: float = 1e-13) -> None:
    scale = max((abs(x) for x in expected if math.isfinite(x)), default=0.0)
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


# ------------------------------------------------------------------------------------------------------ the numbers

OPERATIONS: dict[str, Any] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "subtract": lambda x, y: y - x,
    "divide": lambda x, y: x / (y * y + 1),
    "tanh": lambda x, y: mg.tanh(x),
    "sigmoid": lambda x, y: mg.sigmoid(x * y),
    "relu": lambda x, y: mg.relu(x - y),
    "leaky": lambda x, y: mg.leaky_relu(x, 0.25),
    "softplus": lambda x, y: mg.softplus(x),
    "maximum": lambda x, y: mg.maximum(x, y),
    "square": lambda x, y: x**2,
    "cube": lambda x, y: (x * 0.25) ** 3,
    "log": lambda x, y: mg.log(x * x + 0.5),
    "clip": lambda x, y: mg.clip(x, -0.5, 0.5),
    "where": lambda x, y: mg.where(True, x, y) - mg.where(False, x, y),
    "sum": lambda x, y: mg.sum([x, y, 2.0, x, mg.Value(1.0)]),
    "dot": lambda x, y: mg.dot([x, y, 0.5], [y, 3, x]),
    "chain": lambda x, y: 1 + x + y + 0.5 + x,
    "same": lambda x, y: x + x,
    "bce": lambda x, y: mg.binary_cross_entropy_with_logits(x, 0.25),
    "no gradient": lambda x, y: quiet(x) + y,
    "constant": lambda x, y: mg.Value(0.5) * x,
}


def quiet(x: Any) -> Any:
    with mg.no_grad():
        return x * x


@settings(max_examples=25, deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=14
    ),
    st.integers(1, 4),
    st.sampled_from(BACKENDS),
)
def test_any_program(program: Any, samples: int, backend: str) -> None:
    """Whatever is computed of leaves and of the numbers given, for each sample: loss and gradients are right."""
    leaves = values(0.3, -0.7, 1.1)

    def loss(rows: Any, scale: Any) -> Any:
        losses = []
        for row in rows:
            nodes = [*leaves, *row, scale]
            for name, i, j in program:
                nodes.append(OPERATIONS[name](nodes[-1 - i % len(nodes)], nodes[j % len(nodes)]))
            losses.append(nodes[-1] * leaves[0] + nodes[len(nodes) // 2])
        return sum(losses) * 0.5

    def data(seed: int) -> Any:
        rng = np.random.default_rng(seed)
        return rng.normal(size=(samples, 2)).tolist(), float(rng.normal())

    step = mg.compile(loss, backend=backend)
    step(*data(0))
    assert not step.why, step.why
    for seed in (1, 2):
        for x, number in zip(leaves, np.random.default_rng(seed + 9).normal(size=3).tolist(), strict=True):
            x.data = number
        assert_close(replayed(step, data(seed), leaves), eager(loss, data(seed), leaves), 1e-12)
    assert step.recordings == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_networks_train_the_same(backend: str) -> None:
    """Ten steps of descent of a network of Values, replayed and eager, in batches of two sizes: the same weights."""
    rng = np.random.default_rng(0)
    X, Y = rng.normal(size=(7, 3)).tolist(), rng.integers(0, 2, 7).tolist()
    for activation, fused in (("tanh", False), ("relu", True), ("sigmoid", False)):
        models = [nn.scalar.MLP(3, [4, 3, 1], activation, rng=1, fused=fused) for _ in range(2)]

        def loss_of(xs: Any, ys: Any, model: Any) -> Any:
            losses = [mg.binary_cross_entropy_with_logits(model(x), y) for x, y in zip(xs, ys, strict=True)]
            return mg.sum(losses) / len(losses) + 1e-3 * sum(p * p for p in model.parameters())

        step = mg.compile(lambda xs, ys, model=models[0], loss_of=loss_of: loss_of(xs, ys, model), backend=backend)
        for _ in range(5):
            for part in (slice(0, 4), slice(4, 7)):
                losses = []
                for k, model in enumerate(models):
                    model.zero_grad()
                    if k == 0:
                        losses.append(step(X[part], Y[part]).item())
                    else:
                        loss = loss_of(X[part], Y[part], model)
                        loss.backward()
                        losses.append(loss.item())
                    for p in model.parameters():
                        p.data -= 0.1 * p.grad
                assert_close(losses[:1], losses[1:], 1e-12)
        assert step.why == ""
        assert (step.recordings, step.replays) == (2, 8)
        for p, q in zip(*(model.parameters() for model in models), strict=True):
            assert p.data == pytest.approx(q.data, rel=1e-11, abs=1e-13)


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_out_of_domain_are_those_of_the_engine(backend: str) -> None:
    """nan for nan and inf for inf, in every rule of floats; and nothing warns or raises."""
    leaves = values(1.5, 0.5)
    functions = [
        lambda x, y: x / y, lambda x, y: x**y, lambda x, y: x**-1 * y, lambda x, y: x**0.5 + y,
        lambda x, y: mg.log(x) * y, lambda x, y: mg.sqrt(x) + mg.exp(y),
        lambda x, y: mg.sigmoid(x) + mg.softplus(y), lambda x, y: mg.relu(x) * y,
        lambda x, y: mg.maximum(x, y) + mg.minimum(x, y), lambda x, y: mg.abs(x) + mg.clip(y, -1, 1),
        lambda x, y: mg.log1p(x) + mg.expm1(y), lambda x, y: mg.binary_cross_entropy_with_logits(x, y),
        lambda x, y: mg.sin(x) + mg.cos(y) * mg.tan(x), lambda x, y: x * 2.0**y - mg.tanh(y),
    ]  # fmt: skip
    hard = (0.0, -0.0, -1.0, 2.0, math.inf, -math.inf, math.nan, 1e200, -1e200, 1e-320, 800.0, -800.0)
    for function in functions:
        step = mg.compile(lambda function=function: function(*leaves), backend=backend)
        step()
        assert step.why == ""
        for i, a in enumerate(hard):
            for b in (a, hard[(i * 5 + 3) % len(hard)]):
                leaves[0].data, leaves[1].data = a, b
                expected = eager(step.function, (), leaves)
                for x in leaves:
                    x.grad = None
                assert_close([step().item(), *(x.grad for x in leaves)], expected)
        leaves[0].data, leaves[1].data = 1.5, 0.5
        assert step.recordings == 1


@pytest.mark.parametrize("row", [row for row in ROWS if row.rule.ours and not row.rule.parameters], ids=repr)
@pytest.mark.parametrize("backend", BACKENDS)
def test_every_rule_of_floats_is_replayed(row: Row, backend: str) -> None:
    """Loss and gradients of each rule that Values can be given, on other numbers than those recorded."""
    case = row.family.fixed[0]
    leaves = [
        mg.Value(abs(float(np.ravel(x)[0])) + 0.3) for x in numbers(row, case, 0) if not isinstance(x, (bool, np.bool_))
    ]

    def loss() -> Any:
        z = row.rule(*leaves)
        return z * z + 2 * z

    try:
        eager(loss, (), leaves)
    except (AttributeError, TypeError, ValueError, IndexError):
        pytest.skip("a rule of arrays")
    step = mg.compile(loss, backend=backend)
    if not isinstance(loss(), mg.Value):
        pytest.skip("a rule that makes arrays")
    step()
    assert step.why == ""
    for x in leaves:
        x.data = x.data * 0.7
    assert_close(replayed(step, (), leaves), eager(loss, (), leaves))


def test_backends_and_sources() -> None:
    """A small graph is written in Python, a wide one by levels; both can be read, with the user's lines."""
    w = values(0.5, -0.25)
    small = mg.compile(lambda x: mg.tanh(w[0] * x + w[1]))
    small(0.3)
    assert "tanh(((w0 * x0) + w1))" in small.source
    inner = mg.compile(lambda x: mg.exp(mg.tanh(w[0] * x)))
    inner(0.3)
    code = [line.partition("#")[0] for line in inner.source.splitlines()]
    assert sum(line.count("tanh(") for line in code) == 1  # the derivative takes the value's
    assert HERE in small.source
    wide = mg.compile(lambda xs: sum(mg.tanh(w[0] * x + w[1]) for x in xs))
    data = np.linspace(-1, 1, 600).tolist()
    wide(data)
    assert "tanh(v" in wide.source
    assert wide.source.count("\n") < 40
    assert_close(replayed(wide, (data,), w), eager(wide.function, (data,), w))
    for step in (small, wide):
        compile(step.source, "x", "exec")
    with pytest.raises(ValueError, match="backend"):
        mg.compile(lambda: w[0], backend="fortran")


def running_sums(w: Any, xs: Any) -> Any:
    z, squares = w[0], []
    for x in xs:
        z = z + w[1] * x
        squares.append(z * z)
    return mg.sum(squares)


def partly_without_gradient(w: Any, xs: Any) -> Any:
    def added(z: Any, x: Any) -> Any:
        return z + x

    z = w[0]
    for k, x in enumerate(xs):
        if k == 1:
            with mg.no_grad():
                z = added(z, w[1] * x)
        else:
            z = added(z, w[1] * x)
    return z * w[2]


def one_weight_for_all(w: Any, xs: Any) -> Any:
    return mg.sum([mg.tanh(mg.sum([mg.tanh(v * x) * w[2] for x in xs])) for v in w])


def forward_and_backward(w: Any, xs: Any) -> Any:
    h = [mg.tanh(w[0] * x) for x in xs]
    products = [a * b for a, b in zip(h, reversed(h), strict=True)]
    return mg.sum([a - b for a, b in zip(products, products[1:] + products[:1], strict=True)] + [a * a for a in h])


def tree(w: Any, xs: Any) -> Any:
    level = [w[k % 3] * x for k, x in enumerate(xs)]
    while len(level) > 1:
        level = [mg.maximum(a, b) + 0.1 * a for a, b in zip(level[::2], level[1::2], strict=True)]
    return level[0]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    "function", [running_sums, partly_without_gradient, one_weight_for_all, forward_and_backward, tree]
)
def test_shapes_of_graphs(function: Any, backend: str) -> None:
    """Sums that are used on their way, or end a gradient; inputs repeated on all axes, or met in another order."""
    w = values(0.5, -0.25, 1.5)
    step = mg.compile(lambda xs: function(w, xs), backend=backend)
    for seed in range(3):
        xs = np.random.default_rng(seed).normal(size=8).tolist()
        for x in w:
            x.grad = None
        found = [step(xs).item(), *(x.grad for x in w)]
        assert_close(found, eager(step.function, (xs,), w))
    assert (step.why, step.recordings, step.replays) == ("", 1, 2)


@pytest.mark.parametrize("length", [500, pytest.param(50_000, marks=pytest.mark.slow)])
def test_deep_and_wide_graphs(length: int) -> None:
    """A long chain is replayed in Python, without recursion; a long sum by levels."""
    w = mg.Value(0.999)

    def chain() -> Any:
        z = w * 1.0
        for _ in range(length):
            z = z * w + 0.001
        return z

    def wide() -> Any:
        z = w * 0.0
        for k in range(length):
            z = z + w * float(k)
        return z

    for function, written in ((chain, "v"), (wide, "add.accumulate")):
        w.data = 0.999
        step = mg.compile(function)
        step()
        assert step.why == ""
        assert written in step.source
        w.data = 0.998
        assert_close(replayed(step, (), [w]), eager(function, (), [w]), 1e-12)
    levels = mg.compile(chain, backend="numpy")
    levels()
    levels()
    assert levels.replays == (length < 1000)
    assert ("too many" in levels.why) == (length > 1000)


def test_samples_become_rows() -> None:
    """The samples of a batch are computed together: as many calls for 50 as for 20, and one product for each layer."""
    model = nn.scalar.MLP(2, [4, 4, 1], "tanh", rng=0)
    lines = []
    for samples in (20, 50):
        X = np.random.default_rng(0).normal(size=(samples, 2)).tolist()
        step = mg.compile(lambda X: mg.sum([model(x) for x in X]), backend="numpy")
        step(X)
        lines.append(step.source.count("\n"))
        assert step.source.count("dot(") == 3  # back to the weights, and to the inputs of the second layer
        parameters = model.parameters()
        X = (np.array(X) * 0.5).tolist()
        assert_close(replayed(step, (X,), parameters), eager(step.function, (X,), parameters))
    assert lines[0] == lines[1]


def test_a_rule_of_the_users_is_called() -> None:
    """Its functions may do anything, so Python calls them as they are; by levels they would be given arrays."""

    class Bend(mg.Rule):
        def value(x):
            return math.exp(x) if x < 0 else 1 + x

        def wrt_x(g, z, x):
            return g * z if x < 0 else g

    w = mg.Value(0.5)
    step = mg.compile(lambda x: mg.apply(Bend, w * x))
    for x in (1.0, -1.0, 2.0, -3.0):
        w.grad = None
        found = [step(x).item(), w.grad]
        assert_close(found, eager(step.function, (x,), [w]))
    assert (step.recordings, step.replays) == (1, 3)
    levels = mg.compile(lambda x: mg.apply(Bend, w * x), backend="numpy")
    assert levels(1.0).item() == 1.5
    assert "Bend is a user's rule" in levels.why


# ------------------------------------------------------------------------------- what a record depends on, and what not


def test_numbers_of_arguments_are_inputs() -> None:
    """Top-level numbers, lists, tuples, dicts and arrays of them: other numbers need no other record."""
    w = mg.Value(2.0)

    def loss(x: Any, rows: Any, named: Any, array: Any, *, scale: Any) -> Any:
        return w * x + sum(w * a * b for a, b in rows) + named["y"] * w + sum(w * z for z in array.tolist()) * scale

    step = mg.compile(loss)
    rng = np.random.default_rng(0)
    for k in range(4):
        args = (float(k), [(1, 2.0), (3.0, k)], {"y": k + 0.5}, rng.normal(size=3))
        w.grad = None
        found = step(*args, scale=k * 2)
        expected = loss(*args, scale=k * 2)
        g = w.grad
        w.grad = None
        expected.backward()
        assert_close([found.item(), g], [expected.item(), w.grad])
    assert (step.recordings, step.replays, step.why) == (1, 3, "")
    step(1.0, [(1, 2.0)], {"y": 1.5}, rng.normal(size=3), scale=1)  # another form
    assert step.recordings == 2


def test_numbers_that_are_looked_at_belong_to_the_record() -> None:
    """A branch, a count, an index taken from a number of an argument: another number, another record."""
    w = values(2.0, 3.0)

    def loss(x: Any, n: Any, label: Any) -> Any:
        z = w[label] * x
        for _ in range(n):
            z = z * 0.5
        return z if x > 0 else -z

    step = mg.compile(loss)
    for args in ((1.0, 2, 0), (1.0, 2, 0), (1.0, 3, 0), (1.0, 2, 1), (-1.0, 2, 1), (1.0, 2, 0), (1, 2, 0), (1.0, 2, 0)):
        for x in w:
            x.grad = None
        found = [step(*args).item(), *(x.grad for x in w)]
        assert_close(found, eager(loss, args, w))
    assert step.replays >= 2
    assert step.why == ""


def test_what_changes_with_each_call_is_called_at_last() -> None:
    """Records that are never replayed are not made for ever, and it says so."""
    w = mg.Value(2.0)
    step = mg.compile(lambda n: sum(w * k for k in range(n)))
    for n in range(1, 40):
        assert step(n).item() == 2.0 * n * (n - 1) / 2
    assert step.recordings < 20
    assert "replayed" in step.why


def test_what_stands_around_is_never_stale() -> None:
    """Numbers, lists, dicts, arrays and attributes around the function, changed in place or replaced."""
    w, scale, listed, table, array = mg.Value(2.0), 3.0, [1.0, 2.0], {"a": [4.0]}, np.array([5.0, 6.0])

    class Options:
        power = 2

    options = Options()

    def loss(x: Any) -> Any:
        z = sum(w * a for a in listed) * scale + table["a"][0] * w + float(array[1]) * w**options.power
        return z * x

    step = mg.compile(loss)

    def check() -> None:
        for x in (1.5, 2.5):
            w.grad = None
            found = [step(x).item(), w.grad]
            assert_close(found, eager(loss, (x,), [w]))

    check()
    scale = 4.0
    check()
    listed[0] = 7.0
    check()
    listed.append(8.0)
    check()
    table["a"][0] = -1.0
    check()
    array[1] = 0.5
    check()
    options.power = 3
    check()
    Options.power = 4
    del options.power
    check()
    w.data = 0.25
    check()
    assert step.why == ""
    assert step.replays >= 9


def test_values_as_arguments() -> None:
    """Their gradients come to them; one given twice, or standing around too, gets both shares; a frozen one none."""
    w, a, b = values(2.0, 3.0, 5.0)

    def loss(x: Any, y: Any) -> Any:
        return x * y * w + x

    step = mg.compile(loss)
    for x, y in ((a, b), (b, a), (a, a), (b, b), (w, a), (a, w), (w, w), (a, b)):
        for z in (w, a, b):
            z.grad = None
        found = [step(x, y).item(), w.grad, a.grad, b.grad]
        assert_close(found, eager(loss, (x, y), [w, a, b]))
    assert step.recordings == 2  # of two Values, and of one given twice
    b.requires_grad_(False)
    w.requires_grad_(False)
    a.grad = b.grad = None
    step(a, b)
    step(a, b)
    assert (a.grad, b.grad) == (22.0, 0.0)


def looks_at_data(x: Any) -> Any:
    return x * 2 if x.data > 0 else x


def compares(x: Any) -> Any:
    return x * 2 if x > 0 else x


def floats(x: Any) -> Any:
    return x * float(x.detach())


def largest(x: Any) -> Any:
    return max(x * 2, x * 3) * x


def draws(x: Any) -> Any:
    return x * random.random()


def counts(x: Any, calls: list[int] = [0]) -> Any:  # noqa: B006
    calls[0] += 1
    return x * calls[0]


def writes(x: Any) -> Any:
    x.data = 3.0
    return x * 1.0


def detaches(x: Any) -> Any:
    return (x * x).detach() * x


def copies(x: Any) -> Any:
    import copy

    return copy.copy(x) * x


def differentiates(x: Any) -> Any:
    y = x * x
    (g,) = mg.grad(y, [x])
    return g * x


def hooks(x: Any) -> Any:
    y = x * 2
    y.register_hook(lambda g: g * 10)
    return y


def mixes(x: Any) -> Any:
    return mg.sum(mg.stack([x, x * 2])) * x


def alternates(x: Any, calls: list[int] = [0]) -> Any:  # noqa: B006
    calls[0] += 1
    return x * x if calls[0] % 2 else mg.sigmoid(x)


def forgets(x: Any) -> Any:
    x.zero_grad()
    return x * x


def passes(x: Any) -> Any:
    y = x * x
    y.backward()
    return y


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize(
    ("function", "why"),
    [
        (looks_at_data, "looks at a number: data at"), (compares, "looks at a number: a comparison at"),
        (floats, "looks at a number"), (largest, "looks at a number: a comparison at"),
        (draws, "draws random numbers"), (counts, "changes what stands around"), (writes, "writing data at"),
        (detaches, "looks at a number: detach"),
        (copies, "looks at a number"), (differentiates, "looks at a number"), (hooks, "hook"),
        (alternates, "changes what stands around"), (forgets, "zero_grad() at"), (passes, "backward() at"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)  # fmt: skip
def test_what_cannot_be_recorded_is_called_each_time(function: Any, why: str, backend: str) -> None:
    """And says why, with the user's line where there is one; the numbers are those of the engine."""
    x = mg.Value(1.25)
    step = mg.compile(lambda: function(x), backend=backend)
    for number in (1.25, 0.5, -2.0):
        x.data = number
        if function in (draws, counts, alternates, writes):
            step()
            continue
        x.grad = None
        found = [step().item(), x.grad]
        assert found == eager(function, (x,), [x])
    assert why in step.why
    assert step.replays == 0
    if "looks" in why:
        assert HERE in step.why


def test_other_kinds_of_number_and_tensors_stay_with_the_engine() -> None:
    """Fractions, 50 digits, symbols, and graphs that mix Values with Tensors; the why names the line."""
    x = mg.Value(Fraction(1, 3))
    step = mg.compile(lambda: x * x)
    for _ in range(3):
        x.zero_grad()
        assert step().data == Fraction(1, 9)
        assert x.grad == Fraction(2, 3)
    assert "Fraction" in step.why
    y = mg.Value(2.0)
    mixed = mg.compile(lambda: mixes(y))
    for _ in range(3):
        y.zero_grad()
        assert mixed().item() == 12.0
    assert mixed.why
    assert mixed.replays == 0


def test_modes_hooks_and_debuggers_go_by_the_engine() -> None:
    """detect_anomaly raises, no_grad refuses, a hook on a leaf is called, kept gradients of graphs are no matter."""
    x = mg.Value(2.0)
    step = mg.compile(lambda: mg.log(x) * x)
    step()
    step()
    assert step.replays == 1
    x.data = 0.0
    with mg.detect_anomaly(), pytest.raises(mg.AnomalyError):
        step()
    with mg.no_grad(), pytest.raises(ValueError, match="does not require grad"):
        step()
    x.data = 2.0
    met = []
    hook = x.register_hook(met.append)
    step()
    step()
    hook.remove()
    assert len(met) == 2
    x.name = "x"
    before = step.replays
    step()
    assert step.replays == before + 1
    x.requires_grad_(False)
    with pytest.raises(ValueError, match="does not require grad"):
        step()


def test_gradients_add_up_and_writes_are_seen() -> None:
    """As `backward` does: a second step adds; a parameter that was written to is read anew."""
    w, frozen = mg.Value(3.0), mg.Value(2.0)
    frozen.requires_grad_(False)
    step = mg.compile(lambda: w**3 * frozen)
    for _ in range(3):
        step()
    assert (w.grad, frozen.grad) == (3 * 54.0, 0.0)
    w.data += 1.0
    frozen.data = 1.0
    w.grad = None
    assert step().item() == 64.0
    assert w.grad == 48.0
    frozen.requires_grad_()
    w.grad = None
    step()
    step()
    assert (w.grad, frozen.grad) == (96.0, 128.0)


def test_errors_of_the_function_are_its_own() -> None:
    """An error of the function is raised as it is, at records and at replays; nothing is left half done."""
    w = mg.Value(2.0)

    def loss(x: Any) -> Any:
        return w / (1 / x)

    step = mg.compile(loss)
    assert step(4.0).item() == 8.0
    assert step(2.0).item() == 4.0
    before = w.grad
    with pytest.raises(ZeroDivisionError):
        step(0.0)
    assert w.grad == before
    wide = mg.compile(lambda xs: sum(w / (1 / x) for x in xs), backend="numpy")
    wide([1.0, 2.0, 4.0])
    assert wide([1.0, 2.0, 5.0]).item() == 16.0
    with pytest.raises(ZeroDivisionError):
        wide([1.0, 0.0, 2.0])
    with pytest.raises(TypeError, match=f"gave str.*{HERE}"):
        mg.compile(lambda xs: "loss")([1.0])


@pytest.mark.parametrize("backend", BACKENDS)
def test_nothing_of_a_record_keeps_a_graph(backend: str) -> None:
    """Neither Values of the recording nor stand-ins live on; a replay's loss has no history."""
    w = mg.Value(2.0)
    step = mg.compile(lambda xs: sum(mg.tanh(w * x) for x in xs), backend=backend)
    gc.collect()
    before = sum(type(x) is mg.Value for x in gc.get_objects())
    for k in range(3):
        assert step([1.0 + k, 2.0]).inputs == ()
    assert sum(type(x) is mg.Value for x in gc.get_objects()) == before


def test_arguments_that_are_changed_or_too_large() -> None:
    """A function that writes into its arguments, and ints that are no floats, are not replayed."""
    w = mg.Value(2.0)

    def takes(xs: Any) -> Any:
        return w * xs.pop()

    step = mg.compile(takes)
    for _ in range(3):
        xs = [1.0, 2.0, 3.0]
        assert step(xs).item() == 6.0
        assert xs == [1.0, 2.0]
    assert "changes its arguments" in step.why

    def overwrites(xs: Any) -> Any:
        xs[0] = 5.0
        return w * xs[0] * xs[1]

    step = mg.compile(overwrites)
    for first in (7.0, 8.0, 9.0, 10.0):
        xs = [first, 2.0]
        assert step(xs).item() == 20.0
        assert xs == [5.0, 2.0]
    difference = mg.compile(lambda a, b: w * (a - b))
    difference(3, 1)
    assert difference(2**60 + 1, 2**60).item() == 2.0
    assert difference.replays == 0


def test_a_record_is_tried_on_other_numbers() -> None:
    """What a record has missed, here a number that leaves a Value in secret, shows at the first replay."""
    w = mg.Value(2.0)
    step = mg.compile(lambda: w * w._data)
    for number in (2.0, 3.0, 4.0):
        w.data = number
        w.grad = None
        assert step().item() == number * number
        assert w.grad == number
    assert "other numbers than the engine" in step.why


def test_shortcuts_record_as_they_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded call takes the shortcuts that the plain one takes: none of its nodes is made the general way."""
    w, v = values(2.0, -1.0)

    def loss(x: Any, y: Any) -> Any:
        z = 3 - x * w + mg.dot([w, v, x], [x, 1.5, w]) / y
        return mg.sum([mg.sigmoid(z), v.tanh() * x, y, -w]) ** 2

    mg.compile(loss)(0.5, 2.0)  # each shortcut is emitted
    step, general = mg.compile(loss), []
    monkeypatch.setattr(type(node_kind), "apply", lambda *given: general.append(given))
    first = step(0.5, 2.0)
    assert not general
    monkeypatch.undo()
    for x, y in ((0.5, 2.0), (0.25, -1.0), (1.0, 3.0)):
        assert_close(replayed(step, (x, y), (w, v)), eager(loss, (x, y), (w, v)))
    assert first.item() == loss(0.5, 2.0).item()


def test_modes_within_a_recorded_function() -> None:
    """no_grad within it holds in the record, and detect_anomaly watches it."""
    w = mg.Value(2.0)

    def scaled(x: Any) -> Any:
        with mg.no_grad():
            size = w * x
        return w * x + size * w

    step = mg.compile(scaled)
    for x in (1.0, 3.0, 5.0):
        w.grad = None
        assert step(x).item() == 2 * x + 4 * x
        assert w.grad == x + 2 * x

    def watched(x: Any) -> Any:
        with mg.detect_anomaly():
            return mg.log(w * x)

    step = mg.compile(watched)
    for x in (1.0, 3.0):
        assert step(x).item() == math.log(2 * x)
    with pytest.raises(mg.AnomalyError):
        step(0.0)


def test_a_replay_that_is_tried_first_looks_at_all_that_a_record_depends_on() -> None:
    """Forms of arguments, plain numbers looked at, what stands around the function, and the leaves."""
    w, factor = mg.Value(2.0), [1.0]

    def loss(xs: Any, y: Any) -> Any:
        total = sum(w * x for x in xs) * factor[0]
        return total - y if y > 0 else total * y

    step = mg.compile(loss)

    def check(xs: Any, y: Any) -> None:
        w.grad = None
        found = [step(xs, y).item(), w.grad]
        assert_close(found, eager(loss, (xs, y), [w]))

    def settled() -> None:
        for number in (1.0, 2.0, 3.0):
            w.data = number
            check([0.5, number], 4.0)
        before = step.replays
        check([0.5, 7.0], 4.0)
        assert step.replays == before + 1
        assert step._scalars._last is not None

    settled()
    for xs in ((0.5, 7.0), [1, 7.0], [0.5], [0.5, 7.0, 1.0], [True, 7.0], [np.float64(0.5), 7.0], [2**60 + 1, 7.0]):
        check(xs, 4.0)
    for y in (-4.0, 5.0, 4):
        check([0.5, 7.0], y)
    settled()
    factor[0] = 3.0
    check([0.5, 7.0], 4.0)
    settled()
    met: list[float] = []
    hook = w.register_hook(met.append)
    check([0.5, 7.0], 4.0)
    hook.remove()
    assert met
    settled()
    w.requires_grad_(False)
    with pytest.raises(ValueError, match="does not require grad"):
        step([0.5, 7.0], 4.0)


def test_threads_share_a_compiled_function() -> None:
    """Its buffers serve one call at a time."""
    w = mg.Value(0.5)
    step = mg.compile(lambda xs: sum(mg.tanh(w * x) for x in xs), backend="numpy")
    wrong: list[float] = []

    def work(seed: int) -> None:
        for k in range(50):
            xs = [seed + k * 0.01, seed - k * 0.02]
            expected = sum(math.tanh(0.5 * x) for x in xs)
            if abs(step(xs).item() - expected) > 1e-12:
                wrong.append(expected)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert step.recordings == 1


NESTED = (1.0, [2, [3.0, 4]])
NOT_NESTED: list[Any] = [
    (1, [2, [3.0, 4]]), (1.0, (2, [3.0, 4])), (1.0, [2, [3.0]]), (1.0, [2, [3.0, 2**53 + 1]]), (1.0, [True, [3.0, 4]]),
    (1.0, 2), (1.0,), (1.0, [2, [3.0, 4]], 5.0),
]  # fmt: skip
FLAT = ((1.0, 2.0), [])
NOT_FLAT: list[Any] = [((1.0, 2.0), [1.0]), ([1.0, 2.0], []), ((1.0, np.float64(2.0)), [])]


@pytest.mark.parametrize(
    ("args", "flat", "others"), [(NESTED, [1.0, 2, 3.0, 4], NOT_NESTED), (FLAT, [1.0, 2.0], NOT_FLAT)]
)
def test_arguments_of_one_form_are_read_by_code(args: Any, flat: Any, others: Any) -> None:
    """The numbers in order, of arguments of that form alone; no code for what is more than a few numbers in lists."""
    read = reader_of(args)
    assert read is not None
    assert repr(read(args)) == repr(flat)
    assert [read(other) for other in others] == [None] * len(others)
    for more in ("text", mg.Value(1.0), np.zeros(2), None, [0.0] * (FEW + 1), {"x": 1.0}):
        assert reader_of((*args, more)) is None


def test_hundreds_of_numbers_of_which_the_last_are_not_used():
    """A star among more than 255 names is no Python."""
    w = mg.Value(2.0)
    step = mg.compile(lambda xs: sum(w * x for x in xs[:280]), backend="python")
    for scale in (1.0, 2.0, 3.0):
        w.grad = 0.0
        loss = step([scale * k for k in range(300)])
        assert (loss.data, w.grad) == (2 * scale * 39060.0, scale * 39060.0)
    assert step.replays >= 1
    assert not step.why


def counting() -> Any:
    calls = [0]

    def loss(x: Any, w: Any) -> Any:
        calls[0] += 1
        return w * x[0] * (1.0 if calls[0] < 7 else 2.0)

    return loss


def tossing() -> Any:
    coin = random.Random(0)
    return lambda x, w: w * x[0] * (1.0 if coin.random() < 0.5 else 2.0)


def telling_integers() -> Any:
    return lambda x, w: w * (2.0 if isinstance(x[0], int) else 1.0)


def wrapping_around() -> Any:
    return lambda x, w: w * (x[0] + x[0])  # NumPy's bytes: 100 + 100 is -56


def on_other_lines() -> Any:
    return lambda x, w: w * 0.0 + (w + x[0]) + (w - 1.0)  # a sum that is 0.0 is a sum


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize(
    ("make", "arguments"),
    [
        (counting, [[float(i)] for i in range(14)]),
        (tossing, [[float(i)] for i in range(14)]),
        (telling_integers, [[1.0], [2.0], [3.0], [1], [2], [1.0]]),
        (wrapping_around, [np.array([i], np.int8) for i in (1, 2, 3, 100, 4)]),
        (on_other_lines, [[0.0], [1.0], [0.0], [2.0]]),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)
@pytest.mark.parametrize("backend", BACKENDS)
def test_no_number_but_the_engines(make: Any, arguments: list[Any], backend: str) -> None:
    """Whatever a function counts, draws, or asks of its arguments: loss and gradient of the plain calls."""
    found = []
    for compiled in (False, True):
        w, seen = mg.Value(1.0), []
        step = mg.compile(make(), backend=backend) if compiled else make()
        for x in arguments:
            w.grad = None
            loss = step(x, w)
            if not compiled:
                loss.backward()
            seen.append((loss.item(), w.grad))
        found.append(seen)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_a_write_that_fails_of_a_stand_in_alone_is_in_no_record() -> None:
    """A function that catches errors, and writes an argument to data: the data it reads is what it wrote."""
    p, w = mg.Value(1.0), mg.Value(2.0)

    def loss(x: float) -> Any:
        with contextlib.suppress(TypeError):
            p.data = x
        return w * x * p

    step = mg.compile(loss)
    assert [step(x).item() for x in (1.0, 2.0, 3.0, 4.0)] == [2.0, 8.0, 18.0, 32.0]
    assert "writing data" in step.why


def test_a_derivative_may_call_a_compiled_function_of_the_same_leaves() -> None:
    """The shares that a pass has gathered so far stay what they are."""
    w = mg.Value(2.0)
    step = mg.compile(lambda x: w * w * x)

    class Calling(mg.Rule):
        def value(x):
            return x * 1.0

        def wrt_x(g, z, x):
            step(x)
            return g

    for calls in range(4):  # recorded in the first, replayed in the others
        w.grad = None
        (Calling(w * 3.0) + w).backward()
        assert w.grad == (3.0 + 1.0) + 2 * 2.0 * 6.0
        assert step.replays == calls


def test_a_leaf_whose_hook_was_removed_is_recorded() -> None:
    w = mg.Value(2.0)
    w.register_hook(lambda g: g).remove()
    step = mg.compile(lambda x: w * x)
    assert [step(x).item() for x in (1.0, 2.0, 3.0)] == [2.0, 4.0, 6.0]
    assert step.replays == 2


@pytest.mark.parametrize("backend", BACKENDS)
def test_numbers_that_are_watched_inside_are_watched_at_each_call(backend: str) -> None:
    w = mg.Value(2.0)

    def loss() -> Any:
        with mg.detect_anomaly():
            y = w * w
        return y * 3.0

    step = mg.compile(loss, backend=backend)
    assert [step().item() for _ in range(3)] == [12.0] * 3
    assert "detect_anomaly()" in step.why
    w.data = 1e200
    with pytest.raises(mg.AnomalyError, match="multiply gave inf"):
        step()


def test_a_record_warns_of_nothing_that_the_plain_call_did_not_warn_of() -> None:
    """NumPy's numbers as arguments: divided by zero they are inf, as Python's are."""
    w = mg.Value(2.0)
    step = mg.compile(lambda x: w / x)
    assert [step(x).item() for x in (np.float32(0), np.int64(0), np.float32(0))] == [math.inf] * 3
    assert step.why == ""


def test_a_number_of_numpys_that_is_no_pythons_is_named() -> None:
    w = mg.Value(2.0)
    step = mg.compile(lambda x: w * x * x + x**2)
    assert step(np.float32(0.5)).item() == 0.75
    assert step.why == "a float32 takes part in it"
