"""A compiled loss is the loss: the same numbers, replayed, or the function itself where that is not sure."""

from __future__ import annotations

import gc
import itertools
import linecache
import pickle
import random
import threading
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
import nn
from microgrid.stale import StaleError
from tests.microgrid.checking import numbers
from tests.microgrid.table import ROWS, Row

HERE = Path(__file__).name


def leaf(shape: Any = (3, 2), seed: int = 0, **keywords: Any) -> mg.Tensor:
    return mg.Tensor(np.random.default_rng(seed).normal(size=shape), requires_grad=True, **keywords)


def eager(function: Any, args: Any, leaves: Any) -> list[Any]:
    """The loss, and the gradients of one plain pass."""
    for x in leaves:
        x.grad = None
    loss = function(*args)
    loss.backward()
    return [loss.item(), *(None if x.grad is None else x.grad.copy() for x in leaves)]


def replayed(step: Any, args: Any, leaves: Any) -> list[Any]:
    for x in leaves:
        x.grad = None
    before = step.replays
    loss = step(*args)
    assert step.replays == before + 1, step.why
    assert not loss.requires_grad
    return [loss.item(), *(None if x.grad is None else x.grad.copy() for x in leaves)]


def assert_close(found: list[Any], expected: list[Any], tolerance: float = 1e-13) -> None:
    for a, b in zip(found, expected, strict=True):
        assert (a is None) == (b is None)
        if b is not None:
            scale = np.max(np.abs(np.asarray(b)[np.isfinite(b)]), initial=0.0)
            np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * scale, equal_nan=True)


# ------------------------------------------------------------------------------------------------------ the numbers


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_every_rule_is_replayed(row: Row) -> None:
    """Loss and gradients of each rule, on other numbers than those that were recorded, and accumulated."""
    for seed, case in enumerate(row.family.fixed):
        given_ = numbers(row, case, seed)
        nodes = [
            mg.Tensor(x, requires_grad=True) if isinstance(what, tuple) else x
            for x, what in zip(given_, case.inputs, strict=True)
        ]
        leaves = [x for x in nodes if isinstance(x, mg.Tensor)]

        def loss(*xs: Any, nodes: Any = nodes, case: Any = case) -> Any:
            left = iter(xs)
            z = row.rule(*[next(left) if isinstance(x, mg.Tensor) else x for x in nodes], **case.parameters)
            return mg.sum(z * z + 2 * z)

        step = mg.compile(loss)
        step(*leaves)
        assert step.why == ""
        for x, other in zip(
            leaves, [x for x in numbers(row, case, seed + 50) if isinstance(x, np.ndarray)], strict=False
        ):
            x._replace(np.array(other, x.dtype) if other.shape == x.shape else x._data)
        expected = eager(loss, leaves, leaves)
        assert_close(replayed(step, leaves, leaves), expected)
        step(*leaves)  # gradients add up
        for x, gradient in zip(leaves, expected[1:], strict=True):
            if gradient is not None:
                np.testing.assert_allclose(x.grad, 2 * gradient, rtol=1e-12, atol=1e-12)


NETS = {
    "sigmoid, bce": ("sigmoid", 1, nn.BCEWithLogitsLoss(reduction="batchmean")),
    "tanh, mse": ("tanh", 3, nn.MSELoss()),
    "relu, half squares": ("relu", 2, nn.HalfMSELoss(reduction="sum")),
    "leaky relu, log-likelihood of probabilities": ("leaky_relu", 4, nn.CrossEntropyLoss()),
    "softplus, bce of three labels": ("softplus", 3, nn.BCEWithLogitsLoss()),
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", NETS)
def test_networks_train_the_same(name: str, dtype: Any) -> None:
    """Ten steps of descent, replayed and eager: the same losses and weights; an uneven last batch is recorded too."""
    activation, outputs, criterion = NETS[name]
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(23, 4)).astype(dtype), rng.uniform(0, 1, (23, outputs)).astype(dtype)
    Y /= Y.sum(axis=1, keepdims=True)
    models = [nn.MLP(4, [5, 5, outputs], activation, rng=1, dtype=dtype) for _ in range(2)]
    step = mg.compile(lambda x, y: criterion(models[0](x), y))
    losses: list[list[float]] = [[], []]
    for _ in range(5):
        for start in (0, 16):
            x, y = X[start : start + 16], Y[start : start + 16]
            losses[0].append(step(x, y).item())
            loss = criterion(models[1](mg.Tensor(x)), y)
            loss.backward()
            losses[1].append(loss.item())
            for model in models:
                nn.optim.SGD(model.parameters(), lr=0.05).step()
                model.zero_grad()
    assert step.why == ""
    assert (step.recordings, step.replays) == (2, 8)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(*losses, rtol=tolerance)
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        assert p.dtype == dtype
        np.testing.assert_allclose(p.tolist(), q.tolist(), rtol=tolerance, atol=tolerance)


def test_numbers_out_of_domain_are_those_of_the_engine() -> None:
    """nan for nan and inf for inf, and nothing warns."""
    x = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)

    def loss(x: Any) -> Any:
        return mg.sum(mg.log(x) * mg.sqrt(x) / x + mg.sigmoid(x) ** 0.5)

    step = mg.compile(loss)
    step(x)
    for data in ([0.0, -1.0, 5.0], [np.inf, np.nan, 1e-320], [-800.0, 800.0, -np.inf]):
        x._replace(np.array(data))
        assert_close(replayed(step, [x], [x]), eager(loss, [x], [x]))


OPERATIONS = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "subtract": lambda x, y: y - x,
    "tanh": lambda x, y: mg.tanh(x),
    "sigmoid": lambda x, y: mg.sigmoid(x * y),
    "matmul": lambda x, y: x @ y.T @ x,
    "transpose": lambda x, y: (x.T * y.T).T,
    "row": lambda x, y: x[1:2] + y,
    "mean": lambda x, y: x.mean(axis=0) * y,
    "softmax": lambda x, y: mg.softmax(x, axis=1),
    "reshape": lambda x, y: x.reshape(2, 3).T + y,
    "flip": lambda x, y: mg.flip(x, axis=0) - y,
    "maximum": lambda x, y: mg.maximum(x, y),
    "same twice": lambda x, y: x + x,
    "concatenate": lambda x, y: mg.concatenate([x, y])[1:4],
}


@settings(max_examples=150)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=14
    )
)
def test_any_program(program: Any) -> None:
    """Whatever is computed of two arrays, no buffer that is lent on spoils a number: loss and gradients are right."""
    x, y = leaf(seed=1), leaf(seed=2)

    def loss(x: Any, y: Any) -> Any:
        nodes = [x, y]
        for name, i, j in program:
            nodes.append(OPERATIONS[name](nodes[i % len(nodes)], nodes[-1 - j % len(nodes)]))
        return mg.sum(nodes[-1] * nodes[len(nodes) // 2]) + nodes[2].sum()

    step = mg.compile(loss)
    step(x, y)
    assert step.why == ""
    for seed in (3, 4):
        for place, t in enumerate((x, y)):
            t._replace(np.random.default_rng([seed, place]).normal(size=t.shape))
        assert_close(replayed(step, (x, y), (x, y)), eager(loss, (x, y), (x, y)), 1e-11)


def test_gradients_are_owned() -> None:
    """Each gradient is a new array of the leaf's own: writing into one changes no other, nor the next replay."""
    x, y = leaf(), leaf(seed=1)
    step = mg.compile(lambda x, y: mg.sum(x + y) + mg.sum(x * 2.0))
    step(x, y)
    for _ in range(3):
        x.grad = y.grad = None
        loss = step(x, y)
        arrays = [x.grad, y.grad, loss._data]
        assert all(array.flags.writeable for array in arrays)
        assert not any(np.shares_memory(a, b) for a in arrays for b in arrays if a is not b)
        assert (x.grad == 3).all()
        assert (y.grad == 1).all()
        for array in arrays:
            array[...] = 99.0
    assert step.replays == 3


def test_what_was_made_read_only_is_left_alone() -> None:
    """A gradient by its user, a loss with axes by one that takes it as labels: each call is right all the same."""
    w = leaf((3,))
    step = mg.compile(lambda x: mg.sum(w * x, keepdims=True))
    for k in range(6):
        w.grad = None
        loss = step(np.full(3, float(k)))
        assert np.array_equal(w.grad, [k, k, k])
        assert loss.item() == pytest.approx(k * w.detach().numpy().sum())
        if k % 2:
            w.grad.flags.writeable = False
        else:
            loss._data.flags.writeable = False
        del loss
    assert step.replays > 1


# ------------------------------------------------------------------------------- what a record depends on, and what not


def test_what_stands_around_a_function_is_read_anew() -> None:
    """Tensors and arrays around the function by reference; plain numbers, shapes, types and modes are recorded anew."""
    weights, scale = np.array([1.0, 2.0]), 2.0
    w = mg.Tensor([1.0, -1.0], requires_grad=True)
    model = nn.Sequential(nn.Dropout(0.0), nn.Identity())

    def loss(x: Any, power: int = 2) -> Any:
        return mg.sum(model(x * w * weights) ** power) * scale

    step, x = mg.compile(loss), np.array([3.0, 4.0])
    step(x)
    assert_close(replayed(step, [x], [w]), eager(loss, [x], [w]))
    weights[0] = 5.0
    w.data = [2.0, 2.0]
    assert_close(replayed(step, [x], [w]), eager(loss, [x], [w]))
    assert step.recordings == 1
    scale = 3.0
    assert step(x).item() == loss(mg.Tensor(x)).item()
    assert step(x, power=3).item() == loss(mg.Tensor(x), 3).item()
    assert step(np.ones((5, 2))).item() == loss(mg.Tensor(np.ones((5, 2)))).item()
    assert step(x.astype(np.float32)).item() == loss(mg.Tensor(x.astype(np.float32))).item()
    assert step.recordings == 5
    model.eval()
    step(x)
    assert step.recordings == 6
    w.requires_grad_(False)
    with pytest.raises(ValueError, match="does not require grad"):
        step(x)


GLOBAL = 1.0


def test_globals_and_numbers_of_called_functions_belong_to_the_record() -> None:
    """A number that a function called from the function reads is seen as well."""
    x = leaf((2,))

    def inner(x: Any) -> Any:
        return x * GLOBAL

    step = mg.compile(lambda x: mg.sum(inner(x)))
    step(x)
    try:
        globals()["GLOBAL"] = 4.0
        x.grad = None
        step(x)
        assert x.grad.tolist() == [4.0, 4.0]
    finally:
        globals()["GLOBAL"] = 1.0


def looks_at_a_number(x: Any) -> Any:
    return mg.sum(x) if x.sum().item() > 0 else -mg.sum(x)


def compares(x: Any) -> Any:
    return mg.sum(mg.where(x > 0, x, 0.0))


def draws(x: Any) -> Any:
    return mg.sum(x * np.random.default_rng().normal(size=x.shape))


def makes_an_array(x: Any) -> Any:
    return mg.sum(x * np.arange(6.0).reshape(3, 2))


def counts(x: Any, calls: list[int] = [0]) -> Any:  # noqa: B006
    calls[0] += 1
    return mg.sum(x) * calls[0]


def writes(x: Any) -> Any:
    x.data = x._data * 1.0
    return mg.sum(x)


def detaches(x: Any) -> Any:
    return mg.sum(x * x.detach())


def returns_early(x: Any, calls: list[int] = [0]) -> Any:  # noqa: B006
    calls[0] += 1
    return mg.sum(x) if calls[0] % 2 else mg.sum(mg.sigmoid(x))


def with_a_hook(x: Any) -> Any:
    y = x * 2.0
    y.register_hook(lambda g: g * 10)
    return mg.sum(y)


@pytest.mark.parametrize(
    ("function", "why"),
    [
        (looks_at_a_number, "looks at a number: item() at"), (compares, "looks at a number: a comparison at"),
        (draws, "default_rng"), (makes_an_array, "makes an array"), (counts, "changes what stands around"),
        (writes, "a write to data"), (detaches, "makes an array"), (returns_early, "changes what stands around"),
        (with_a_hook, "hook"),
    ],
    ids=lambda x: getattr(x, "__name__", ""),
)  # fmt: skip
def test_what_cannot_be_recorded_is_called_each_time(function: Any, why: str) -> None:
    """And says why, with the user's line where there is one; the numbers are those of the engine."""
    step = mg.compile(function)
    for seed in range(3):
        x, twin = leaf(seed=seed), leaf(seed=seed)
        if function in (counts, draws, returns_early):
            step(x)
            continue
        loss = function(twin)
        loss.backward()
        assert step(x).item() == loss.item()
        assert x.grad.tolist() == twin.grad.tolist()
    assert why in step.why
    assert step.replays == 0
    if "looks" in why:
        assert HERE in step.why


def coin() -> Any:
    rng = np.random.default_rng(0)
    return lambda x, w: mg.sum(x * w) if rng.random() < 0.5 else mg.sum(x * w) * 3.0


def pythons_coin() -> Any:
    coins = random.Random(1)
    return lambda x, w: mg.sum(x * w) * (1.0 if coins.random() < 0.5 else 3.0)


def global_coin() -> Any:
    np.random.seed(1)  # noqa: NPY002
    return lambda x, w: mg.sum(x * w) * (1.0 if np.random.rand() < 0.5 else 3.0)  # noqa: NPY002


def cycle() -> Any:
    scales = itertools.cycle([1.0] * 7 + [2.0])
    return lambda x, w: mg.sum(x * w) * next(scales)


def warm_up() -> Any:
    calls = [0]

    def loss(x: Any, w: Any) -> Any:
        calls[0] += 1
        return mg.sum(x * w) * min(1.0, calls[0] / 5)

    return loss


def warm_up_in_another_form() -> Any:
    calls = [0]

    def loss(x: Any, w: Any) -> Any:
        calls[0] += len(x) == 2
        return mg.sum(x * w) * (1.0 + calls[0])

    return loss


def running_mean() -> Any:
    mean = np.zeros(10**4)

    def loss(x: Any, w: Any) -> Any:
        mean[...] = 0.9 * mean + 1.0
        return mg.sum(x * w) * float(mean[0])

    return loss


def deviation() -> Any:
    return lambda x, w: mg.sum(w * x.std())  # NumPy's, not that of Tensors


def transposed() -> Any:
    return lambda x, w: mg.sum(mg.matmul(w, x.transpose(1, 0)))


def rounded() -> Any:
    return lambda x, w: mg.sum(np.round(x) * w)


def either_class() -> Any:
    return lambda x, w: mg.sum(x * w) * (2.0 if isinstance(x, np.ndarray) else 1.0)


@pytest.mark.parametrize(
    "make",
    [coin, pythons_coin, global_coin, cycle, warm_up, warm_up_in_another_form, running_mean, deviation, transposed,
     rounded, either_class],
    ids=lambda make: make.__name__,
)  # fmt: skip
def test_no_number_but_the_engines(make: Any) -> None:
    """Whatever a function draws, counts or does otherwise with arrays: loss and gradients of the plain calls."""
    found = []
    for compiled in (False, True):
        w, seen = leaf((3,)), list[Any]()
        step = mg.compile(make()) if compiled else make()
        for i in range(24):
            w.grad = None
            x = np.random.default_rng(i).normal(size=(3 if i < 5 or i % 2 else 2, 3))
            loss = step(x, w)
            if not compiled:
                loss.backward()
            seen += [loss.item(), w.grad.copy()]
        found.append(seen)
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_history_from_outside_stays_with_the_engine() -> None:
    """What was computed before the call is not computed anew: a write to its leaf makes it stale, and that shows."""
    w = leaf((3,))
    h = w * 2.0
    step = mg.compile(lambda x: mg.sum(x * h))
    for _ in range(3):
        step(np.ones(3))
    assert "goes on from what was computed before" in step.why
    w.data = np.ones(3)
    with pytest.raises(StaleError):
        step(np.ones(3))


def test_dropout_draws_at_each_replay() -> None:
    """The masks of the engine, from the same state of the generator; and none in evaluation."""
    losses = []
    for compiled in (True, False):
        model = nn.Sequential(nn.Linear(4, 4, rng=0), nn.Dropout(0.5, rng=0))

        def loss(x: Any, model: Any = model) -> Any:
            return mg.sum(model(x) ** 2)

        step = mg.compile(loss)
        x = mg.Tensor(np.ones((2, 4)))
        losses.append([(step(x) if compiled else loss(x)).item() for _ in range(6)])
        assert step.replays == (5 if compiled else 0)
    np.testing.assert_allclose(*losses, rtol=1e-14)
    assert len(set(losses[0])) > 3
    model.eval()
    np.testing.assert_allclose([step(x).item() for _ in range(4)], loss(x).item(), rtol=1e-14)
    assert step.replays == 3


def test_modes_hooks_and_debuggers_go_by_the_engine() -> None:
    """detect_anomaly raises, no_grad refuses, a hook on a leaf is called, and a debugger sees every node."""
    x = leaf()
    step = mg.compile(lambda x: mg.sum(mg.log(x * x)))
    step(x)
    step(x)
    assert step.replays == 1
    with mg.detect_anomaly(), pytest.raises(mg.AnomalyError):
        step(mg.Tensor(np.zeros((3, 2)), requires_grad=True))
    with mg.no_grad(), pytest.raises(ValueError, match="does not require grad"):
        step(x)
    met = []
    hook = x.register_hook(lambda g: met.append(1))
    step(x)
    hook.remove()
    assert met == [1]


def test_bad_functions_and_arguments() -> None:
    """A clear error, or the plain call."""
    x = leaf()
    with pytest.raises(TypeError, match=rf"compile: expected a function, got int, at {HERE}"):
        mg.compile(3)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=rf"gave NoneType, expected a Tensor or a Value, at {HERE}"):
        mg.compile(lambda x: None)(x)
    with pytest.raises(TypeError, match="gave float"):
        mg.compile(lambda x: 1.0)(x)
    with pytest.raises(ValueError, match="grad can be implicitly created only for scalar outputs"):
        mg.compile(lambda x: x * 2)(x)
    with pytest.raises(ValueError, match="does not require grad"):
        mg.compile(lambda x: mg.sum(x))(x.detach())
    with pytest.raises(ZeroDivisionError):
        mg.compile(lambda x: 1 / 0)(x)
    step = mg.compile(lambda x, options: mg.sum(x) * options["scale"])
    assert step(x, {"scale": 2.0}).item() == 2 * x.sum().item()
    assert "dict" in step.why
    history = mg.compile(lambda x: mg.sum(x))
    x.grad = None
    history(x * 2)
    assert "history" in history.why
    assert (x.grad == 2).all()


def test_shapes_that_change_each_call_are_bounded() -> None:
    """Only so many records are kept."""
    w = leaf((1,))
    step = mg.compile(lambda x: mg.sum(x * w))
    for n in range(1, 60):
        assert step(np.ones(n)).item() == pytest.approx(n * w.item())
    assert len(step._known) <= 16


# --------------------------------------------------------------------------------------------------------- as a tool


def test_the_source_can_be_read() -> None:
    """It names the user's lines, and debuggers and tracebacks find it."""
    x = leaf()
    step = mg.compile(lambda x: mg.sum(mg.sigmoid(x)))
    step(x)
    assert HERE in step.source
    assert "# mg.sum(mg.sigmoid(x)) at" in step.source
    assert "exp(" in step.source
    assert step.source.count("exp(") == 1  # the value's, which the derivative shares
    assert repr(step) == "<compiled <lambda>: 0 replays, 1 recordings>"
    compile(step.source, "x", "exec")
    assert any("".join(entry[2]) == step.source for name, entry in linecache.cache.items() if "replay" in name)


def test_threads_share_a_compiled_function() -> None:
    """Its buffers serve one call at a time."""
    step = mg.compile(lambda x: mg.sum(mg.exp(mg.sin(x) * mg.cos(x))))
    wrong = []

    def work(seed: int) -> None:
        x = leaf((50, 50), seed)
        expected = eager(step.function, [x], [x])
        for _ in range(20):
            x.grad = None
            if step(x).item() != pytest.approx(expected[0], rel=1e-13) or not np.allclose(x.grad, expected[1]):
                wrong.append(seed)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_compiled_function_keeps_no_graph() -> None:
    """What was recorded is freed by reference counts; arguments are not kept."""
    x = leaf()
    step = mg.compile(lambda x, y: mg.sum(x * y))
    y = mg.Tensor(np.ones((3, 2)))
    step(x, y)
    kept = weakref.ref(y._data)
    gc.disable()
    try:
        del y
        gc.collect()
        assert kept() is None
    finally:
        gc.enable()


def test_recording_draws_nothing() -> None:
    """Generators go on as in the engine: one of the user's, and the global ones of NumPy and Python."""
    rng = np.random.default_rng(0)
    for draw in (lambda: rng.normal(), lambda: np.random.normal(), lambda: random.random()):  # noqa: NPY002

        def loss(x: Any, draw: Any = draw) -> Any:
            return mg.sum(x * draw())

        found = []
        for function in (mg.compile(loss), loss):
            rng.bit_generator.state = np.random.default_rng(5).bit_generator.state
            np.random.seed(5)  # noqa: NPY002
            random.seed(5)
            found.append([function(mg.Tensor([1.0], requires_grad=True)).item() for _ in range(4)])
        assert found[0] == found[1]


CHANGES = {
    "a number": lambda model: setattr(model[1], "negative_slope", 0.5),
    "a module": lambda model: setattr(model, "extra", nn.Tanh()),
    "a parameter": lambda model: setattr(model[0], "weight", nn.Parameter(np.ones((3, 2)))),
    "no bias": lambda model: setattr(model[0], "bias", None),
    "a method": lambda model: setattr(model[0], "forward", lambda x: mg.linear(x, model[0].weight) * 3.0),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_module_that_is_changed_is_recorded_anew(name: str) -> None:
    class Model(nn.Sequential):
        extra: Any = None

        def forward(self, input: Any) -> Any:
            z = super().forward(input)
            return self.extra(z) if self.extra else z

    model = Model(nn.Linear(2, 3, rng=0), nn.LeakyReLU(0.1))
    step, x = mg.compile(lambda x: mg.sum(model(x) ** 2)), np.random.default_rng(0).normal(size=(4, 2))
    step(x)
    step(x)
    assert step.replays == 1
    CHANGES[name](model)
    assert step(x).item() == mg.sum(model(mg.Tensor(x)) ** 2).item()
    step(x)
    assert step.replays == 2


def test_one_tensor_in_two_places_is_two_arguments() -> None:
    """Given twice at first, or standing around the function as well: later calls with others are right."""
    x, y, w = leaf(), leaf(seed=1), leaf(seed=2)

    def loss(a: Any, b: Any) -> Any:
        return mg.sum(a * b * b + w * a)

    step = mg.compile(loss)
    assert step(x, x).item() == loss(x, x).item()
    assert_close(replayed(step, (x, y), (x, y, w)), eager(loss, (x, y), (x, y, w)))
    assert_close(replayed(step, (x, x), (x, w)), eager(loss, (x, x), (x, w)))
    step = mg.compile(loss)
    step(w, y)
    assert_close(replayed(step, (x, y), (x, y, w)), eager(loss, (x, y), (x, y, w)))
    assert_close(replayed(step, (w, y), (w, y)), eager(loss, (w, y), (w, y)))


def test_both_zeros_and_both_precisions() -> None:
    """0.0 and -0.0 are two numbers around a record; float32 and float64 meet in one program."""
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    step = mg.compile(lambda x, c: mg.sum(x / c))
    assert [step(x, c).item() for c in (0.0, -0.0, 0.0)] == [np.inf, -np.inf, np.inf]
    b, c = leaf((3,), dtype=np.float32), leaf((3,), seed=1)
    a = np.random.default_rng(2).normal(size=(4, 3))

    def mixed(a: Any) -> Any:
        return mg.sum((a.astype(np.float32) + b) ** 2) + mg.sum(mg.tanh(a + c))

    step = mg.compile(mixed)
    step(mg.Tensor(a))
    assert_close(replayed(step, [mg.Tensor(a)], [b, c]), eager(mixed, [mg.Tensor(a)], [b, c]), 1e-6)


# ---------------------------------------------------------------------------------------------- how it is called


def test_as_a_decorator_and_as_a_method() -> None:
    """With and without its keyword; and a method is bound to its object."""
    x = leaf()

    @mg.compile
    def plain(x: Any) -> Any:
        return mg.sum(x * x)

    @mg.compile(backend="numpy")
    def named(x: Any) -> Any:
        """The sum of squares."""
        return mg.sum(x * x)

    class Model:
        scale = 3.0

        @mg.compile
        def loss(self, x: Any) -> Any:
            return mg.sum(x * x) * self.scale

    assert plain(x).item() == named(x).item() == pytest.approx(Model().loss(x).item() / 3)
    assert named.__doc__ == "The sum of squares."
    assert replayed(plain, [x], [x])
    with pytest.raises(ValueError, match=rf"compile: backend: expected one of 'numpy'.* got 'fortran', at {HERE}"):
        mg.compile(lambda x: x, backend="fortran")


def test_what_writes_is_done_once() -> None:
    """The call that is recorded ends before it writes: data, gradients of a pass inside, another compiled function."""
    p, x = mg.Tensor([1.0, 2.0], requires_grad=True), mg.Tensor([3.0, 4.0])
    inner = mg.compile(lambda x: mg.sum(p * x))

    def halves(x: Any) -> Any:
        p.data = p._data / 2
        return mg.sum(p * x)

    def halves_in_place(x: Any) -> Any:
        with mg.no_grad():
            p.__imul__(0.5)
        return mg.sum(p * x)

    def goes_back(x: Any) -> Any:
        mg.sum(p * x).backward()
        return mg.sum(p * x)

    def calls_another(x: Any) -> Any:
        inner(x)
        return mg.sum(p * x)

    for function in (halves, halves_in_place, goes_back, calls_another):
        seen = []
        for step in (function, mg.compile(function)):
            p._replace(np.array([1.0, 2.0]))
            p.grad = None
            for _ in range(3):
                loss = step(x)
                if step is function:
                    loss.backward()
            seen.append((p.tolist(), p.grad.tolist(), loss.item()))
        assert seen[0] == seen[1], function.__name__
        assert "looks at a number" in step.why


def test_recordings_in_vain_come_to_an_end() -> None:
    """Where each call is of another form, or something around is another, the function is soon called as it is."""
    w = leaf((1,))
    step = mg.compile(lambda x: mg.sum(x * w))
    for n in range(1, 200):
        assert step(np.ones(n)).item() == pytest.approx(n * w.item())
    assert step.recordings < 20
    assert "of another form" in step.why
    for _ in range(300):
        step(np.ones(7))
    assert step.replays > 40
    assert step.why == ""

    scale = 0.0

    def scaled(x: Any) -> Any:
        return mg.sum(x * w) * scale

    step = mg.compile(scaled)
    for n in range(1, 200):
        scale = float(n)
        assert step(np.ones(2)).item() == pytest.approx(2 * n * w.item())
    assert step.recordings < 20
    assert "around it" in step.why


def test_a_hook_is_called_and_then_no_more() -> None:
    """While a leaf has a hook the engine runs; afterwards the old record serves again."""
    x, met = leaf(), []
    step = mg.compile(lambda x: mg.sum(x * x))
    step(x)
    step(x)
    hook = x.register_hook(lambda g: met.append(1))
    step(x)
    step(x)
    hook.remove()
    step(x)
    assert met == [1, 1]
    assert (step.recordings, step.replays) == (1, 2)


def test_a_function_that_calls_itself() -> None:
    """Recursion is the function's own affair: through its plain name it is recorded, compiled it runs the engine."""
    w = mg.Tensor([0.5, -0.5], requires_grad=True)

    def power(x: Any, n: int) -> Any:
        return x if n == 0 else power(x, n - 1) * w

    step, x = mg.compile(lambda x: mg.sum(power(x, 5))), np.array([1.0, 2.0])
    step(x)
    assert_close(replayed(step, [x], [w]), eager(lambda x: mg.sum(power(mg.Tensor(x), 5)), [x], [w]))


def test_an_error_in_the_middle() -> None:
    """It reaches the user, no gradient is stored, and the next call is right."""
    w, fails = leaf((2,)), [False]

    def loss(x: Any, fails: list[bool] = fails) -> Any:
        y = x * w
        if fails[0]:
            raise KeyError("mine")
        return mg.sum(y)

    step, x = mg.compile(loss), np.ones(2)
    for failing in (True, False, False, True, False):
        fails[0], w.grad = failing, None
        if failing:
            with pytest.raises(KeyError, match="mine"):
                step(x)
            assert w.grad is None
        else:
            assert step(x).item() == pytest.approx(w._data.sum())
            assert w.grad.tolist() == [1.0, 1.0]


ARRAYS = {
    "not contiguous": lambda rng: rng.normal(size=(4, 6))[:, ::2],
    "by columns": lambda rng: np.asfortranarray(rng.normal(size=(4, 3))),
    "backwards": lambda rng: rng.normal(size=(4, 3))[::-1, ::-1],
    "integers": lambda rng: rng.integers(-3, 3, (4, 3)),
    "booleans": lambda rng: rng.random((4, 3)) < 0.5,
    "float32": lambda rng: rng.normal(size=(4, 3)).astype(np.float32),
    "other byte order": lambda rng: rng.normal(size=(4, 3)).astype(">f8"),
    "one row": lambda rng: rng.normal(size=(1, 3)),
    "no row": lambda rng: rng.normal(size=(0, 3)),
    "read-only": lambda rng: np.broadcast_to(rng.normal(size=(1, 3)), (4, 3)),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_any_form(name: str) -> None:
    w, b, rng = leaf((2, 3)), leaf((2,), 1), np.random.default_rng(0)

    def loss(x: Any) -> Any:
        return mg.mean(mg.tanh(mg.linear(x, w, b)) ** 2)

    step = mg.compile(loss)
    step(ARRAYS[name](rng))
    for _ in range(2):
        x = ARRAYS[name](rng)
        assert_close(replayed(step, [x], [w, b]), eager(loss, [mg.Tensor(x)], [w, b]))


def test_gradients_serve_an_optimiser_as_one_array() -> None:
    """They lie side by side; who keeps one keeps its numbers, and memory is used again only when nobody does."""
    model, rng = nn.MLP(3, [4, 2], rng=0), np.random.default_rng(0)
    step = mg.compile(lambda x: mg.mean(model(x) ** 2))
    parameters = list(model.parameters())
    optimizer = nn.optim.SGD(parameters, lr=0.1)
    kept = []
    for _ in range(6):
        optimizer.zero_grad()
        step(rng.normal(size=(5, 3)))
        assert len({id(p.grad.base) for p in parameters}) == 1
        kept.append((parameters[0].grad, parameters[0].grad.copy(), parameters[1]._data, parameters[1]._data.copy()))
        optimizer.step()
    for grad, grad_then, data, data_then in kept:
        assert (grad == grad_then).all()
        assert (data == data_then).all()
    kept.clear()
    del grad, data
    places = set()
    for _ in range(6):
        optimizer.zero_grad()
        step(rng.normal(size=(5, 3)))
        places.add(parameters[0].grad.__array_interface__["data"][0])
    assert len(places) <= 3


# ----------------------------------------------------------------------------------- what comes back, and what does not


def test_modes_that_take_turns_are_each_recorded_once() -> None:
    model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.Dropout(0.5, rng=1), nn.Linear(4, 1, rng=2))
    step = mg.compile(lambda x: mg.mean(model(x) ** 2))
    x = np.ones((2, 3))
    evaluated = set()
    for call in range(20):
        model.train(call % 2 == 0)
        loss = step(x).item()
        if call % 2:
            evaluated.add(loss)
    assert (step.recordings, step.replays, step.why) == (2, 18, "")
    assert len(evaluated) == 1


def test_surroundings_that_come_back_are_known_again() -> None:
    w, settings = mg.Tensor([2.0], requires_grad=True), {"rate": 1.0}
    step = mg.compile(lambda x: mg.sum(w * x) * settings["rate"])
    for rate in [1.0, 2.0, 3.0] * 4:
        settings["rate"] = rate
        assert step(np.ones(1)).item() == 2.0 * rate
    assert (step.recordings, step.replays) == (3, 9)


@pytest.mark.parametrize("number", [1.5, float("nan"), 10**20, "mean", True])
def test_a_number_of_the_same_value_is_the_same_number(number: Any) -> None:
    w, settings = mg.Tensor([2.0], requires_grad=True), {"number": number}
    step = mg.compile(lambda x: mg.sum(w * x) * (3.0 if settings["number"] == number else 5.0))
    for _ in range(5):
        settings["number"] = pickle.loads(pickle.dumps(number))
        step(np.ones(1))
    assert (step.recordings, step.replays) == (1, 4)


@pytest.mark.parametrize(("one", "other"), [(0.0, -0.0), (1, 1.0), (1, True)])
def test_numbers_that_are_equal_and_not_the_same_are_told_apart(one: Any, other: Any) -> None:
    w, settings = mg.Tensor([2.0], requires_grad=True), {"number": one}
    step = mg.compile(lambda x: mg.sum(w * x) * (2.0 if repr(settings["number"]) == repr(one) else 3.0))
    for number in [one, one, other, other]:
        settings["number"] = number
        assert step(np.ones(1)).item() == (4.0 if repr(number) == repr(one) else 6.0)


def test_more_forms_than_are_kept_are_not_recorded_for_ever() -> None:
    w = mg.Tensor([2.0], requires_grad=True)
    step = mg.compile(lambda x: mg.sum(w * x))
    for call in range(400):
        n = 1 + call % 20
        assert step(np.ones(n)).item() == 2.0 * n
    assert step.recordings < 40
    assert "not worth it" in step.why or "of no use" in step.why or not step.why
