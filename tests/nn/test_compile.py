"""Every loss and every layer of `nn` is replayed by `mg.compile`, with the numbers of the engine."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn

K = 3
WEIGHTS = np.array([0.5, 2.0, 1.5])


def numbers(rng: np.random.Generator, m: int) -> Any:
    return rng.normal(size=(m, K))


def labels(rng: np.random.Generator, m: int) -> Any:
    return rng.integers(0, 2, (m, K)).astype(float)


def classes(rng: np.random.Generator, m: int) -> Any:
    return rng.integers(0, K, m)


def some_ignored(rng: np.random.Generator, m: int) -> Any:
    return np.where(rng.random(m) < 0.4, -100, rng.integers(0, K, m))


def shares(rng: np.random.Generator, m: int) -> Any:
    y = rng.random((m, K))
    return y / y.sum(axis=1, keepdims=True)


LOSSES: list[tuple[str, Callable[[], Any], str, Any]] = [
    ("mse", lambda: nn.MSELoss(), "identity", numbers),
    ("mse, sum", lambda: nn.MSELoss(reduction="sum"), "identity", numbers),
    ("half mse, batchmean", lambda: nn.HalfMSELoss(reduction="batchmean"), "identity", numbers),
    ("l1", lambda: nn.L1Loss(), "identity", numbers),
    ("huber", lambda: nn.HuberLoss(delta=0.3), "identity", numbers),
    ("smooth l1", lambda: nn.SmoothL1Loss(beta=0.5), "identity", numbers),
    ("smooth l1, beta 0", lambda: nn.SmoothL1Loss(beta=0.0), "identity", numbers),
    ("bce", lambda: nn.BCELoss(), "sigmoid", labels),
    ("bce, weighted", lambda: nn.BCELoss(WEIGHTS, reduction="sum"), "sigmoid", labels),
    ("bce with logits", lambda: nn.BCEWithLogitsLoss(), "identity", labels),
    ("bce with logits, weighted", lambda: nn.BCEWithLogitsLoss(WEIGHTS, pos_weight=3.0), "identity", labels),
    ("cross entropy of classes", lambda: nn.CrossEntropyLoss(), "identity", classes),
    ("cross entropy, sum", lambda: nn.CrossEntropyLoss(reduction="sum"), "identity", classes),
    ("cross entropy, weighted", lambda: nn.CrossEntropyLoss(WEIGHTS), "identity", some_ignored),
    ("cross entropy, smooth", lambda: nn.CrossEntropyLoss(label_smoothing=0.1), "identity", some_ignored),
    ("cross entropy, both", lambda: nn.CrossEntropyLoss(WEIGHTS, label_smoothing=0.1), "identity", some_ignored),
    ("cross entropy of shares", lambda: nn.CrossEntropyLoss(WEIGHTS, label_smoothing=0.1), "identity", shares),
    ("nll", lambda: nn.NLLLoss(WEIGHTS), "log_softmax", some_ignored),
]
LAYERS: list[tuple[str, Callable[[], list[nn.Module]]]] = [
    *[(name, lambda name=name: [nn.Linear(4, 5, rng=1), nn.layers.ACTIVATIONS[name][0](), nn.Linear(5, K, rng=2)])
      for name in nn.layers.ACTIVATIONS],
    ("log sigmoid", lambda: [nn.Linear(4, K, rng=1), nn.LogSigmoid()]),
    ("no bias", lambda: [nn.Linear(4, K, bias=False, rng=1)]),
    ("softplus, beta", lambda: [nn.Linear(4, K, rng=1), nn.Softplus(beta=2.0)]),
    ("flatten", lambda: [nn.Flatten(), nn.Linear(4, K, rng=1)]),
    ("dropout", lambda: [nn.Linear(4, 6, rng=1), nn.Tanh(), nn.Dropout(0.4, rng=3), nn.Linear(6, K, rng=2)]),
    ("two dropouts", lambda: [nn.Dropout(0.2, rng=4), nn.Linear(4, 6, rng=1), nn.Dropout(0.5, rng=3),
                              nn.Linear(6, K, rng=2)]),
]  # fmt: skip


def trained(make: Callable[[], Any], criterion: Any, batches: list[Any], dtype: Any, compiled: bool) -> Any:
    """Losses and gradients of a step for each batch, and the weights after them."""
    model = make()
    if dtype == np.float32:
        for p in model.parameters():
            p._replace(p._data.astype(dtype))

    def loss_of(x: mg.Tensor, y: Any) -> mg.Tensor:
        return criterion(model(x), y)

    step = mg.compile(loss_of)
    optimizer, seen = nn.optim.SGD(model.parameters(), lr=0.1), []
    for x, y in batches:
        optimizer.zero_grad()
        if compiled:
            loss = step(mg.Tensor(x), mg.Tensor(y))
        else:
            loss = loss_of(mg.Tensor(x), mg.Tensor(y))
            loss.backward()
        seen += [loss._data, *(p.grad.copy() for p in model.parameters())]
        optimizer.step()
    if compiled:
        assert step.why == ""
        assert (step.recordings, step.replays) == (2, len(batches) - 2)
    return [*seen, *(p._data for p in model.parameters())]


def assert_replayed(layers: Callable[[], Any], output: str, criterion: Any, target: Any, dtype: Any) -> None:
    """Changing data, and an uneven last batch that comes again and again."""
    rng = np.random.default_rng(7)
    batches = [(rng.normal(size=(m, 4)).astype(dtype), target(rng, m)) for m in (6, 6, 2, 6, 6, 2)]
    batches = [(x, y.astype(dtype) if y.dtype.kind == "f" else y) for x, y in batches]

    def make() -> nn.Module:
        return nn.Sequential(*layers(), nn.layers.ACTIVATIONS[output][0]())

    found, expected = (trained(make, criterion(), batches, dtype, compiled) for compiled in (True, False))
    tolerance = 1e-12 if dtype == np.float64 else 2e-4
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=tolerance * max(1, np.abs(b).max()), equal_nan=True)


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize(("criterion", "output", "target"), [row[1:] for row in LOSSES], ids=[row[0] for row in LOSSES])
def test_every_loss(criterion: Any, output: str, target: Any, dtype: Any) -> None:
    """Losses, gradients and weights of six steps: two are recorded, four replayed."""
    assert_replayed(
        lambda: [nn.Linear(4, 5, rng=1), nn.Tanh(), nn.Linear(5, K, rng=2)], output, criterion, target, dtype
    )


@pytest.mark.parametrize(
    ("criterion", "output", "target"), [LOSSES[i][1:] for i in (2, 9, 11)], ids=["mse", "bce", "ce"]
)
@pytest.mark.parametrize("layers", [row[1] for row in LAYERS], ids=[row[0] for row in LAYERS])
def test_every_layer(layers: Any, criterion: Any, output: str, target: Any) -> None:
    """The same of each layer; dropout draws the masks that the engine draws."""
    assert_replayed(layers, output, criterion, target, np.float64)


@pytest.mark.parametrize(
    ("criterion", "output", "good", "bad", "message"),
    [
        (nn.CrossEntropyLoss(), "identity", [0, 1, 2], [0, 3, 1], "holds the class 3"),
        (nn.CrossEntropyLoss(WEIGHTS), "identity", [0, 1, 2], [0, 3, 1], "holds the class 3"),
        (nn.NLLLoss(), "log_softmax", [0, 1, 2], [0, -1, 1], "holds the class -1"),
        (nn.BCEWithLogitsLoss(), "identity", np.eye(3), np.eye(3) * 2, "expected labels in"),
        (nn.MSELoss(), "identity", np.eye(3), np.eye(3) * np.nan, "expected finite numbers"),
        (nn.CrossEntropyLoss(), "identity", np.eye(3), -np.eye(3), "other y >= 0"),
    ],
    ids=["classes", "classes, weighted", "nll", "labels", "finite", "shares"],
)
def test_a_wrong_label_is_refused_at_a_replay(criterion: Any, output: str, good: Any, bad: Any, message: str) -> None:
    """As in the engine, and no gradient is stored; after it things go on."""
    model = nn.MLP(4, [K], output=output, rng=0)
    step, x = mg.compile(lambda x, y: criterion(model(x), y)), np.random.default_rng(0).normal(size=(3, 4))
    for _ in range(2):
        step(x, np.array(good))
    assert step.replays == 1
    model.zero_grad()
    array = np.array(good)
    array[...] = bad
    for _ in range(2):
        with pytest.raises(ValueError, match=message):
            step(x, array)
    assert all(p.grad is None for p in model.parameters())
    array[...] = good  # in place: it is looked at again
    step(x, array)
    assert step.replays == 2
    array[...] = bad
    with pytest.raises(ValueError, match=message):
        step(x, array)


def test_a_mask_is_drawn_before_a_label_is_refused() -> None:
    """As in the engine: random numbers go on from the same place after it."""
    x, y = np.ones((3, 4)), np.array([0, 1, 2])
    losses = []
    for change in (lambda f: f, mg.compile):
        model = nn.Sequential(nn.Dropout(0.5, rng=np.random.default_rng(0)), nn.Linear(4, K, rng=1))
        step = change(lambda x, y, model=model: nn.CrossEntropyLoss(WEIGHTS)(model(x), y))
        losses.append([step(x, y).item() for _ in range(3)])
        with pytest.raises(ValueError, match="holds the class 3"):
            step(x, y + 1)
        losses[-1].append(step(x, y).item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-13)


def test_what_a_loss_asks_of_predictions_is_asked_at_replays() -> None:
    """Probabilities and their logarithms, which nothing but a look at what was computed can tell."""
    for criterion, y in ((nn.BCELoss(), np.ones((1, 2))), (nn.NLLLoss(), np.array([1]))):
        w = mg.Tensor([0.5, 0.25], requires_grad=True)
        sign = 1.0 if isinstance(criterion, nn.BCELoss) else -1.0
        step = mg.compile(lambda x, y, w=w, criterion=criterion: criterion(x * w, y))
        good = np.full((1, 2), sign)
        step(good, y)
        step(good, y)
        assert step.replays == 1
        w.grad = None
        with pytest.raises(ValueError, match=r"expected (log-)?probabilities"):
            step(good * (4.0 if sign > 0 else -1.0), y)
        assert w.grad is None


@pytest.mark.parametrize("layers", [LAYERS[1][1], LAYERS[-2][1]], ids=["sigmoid", "dropout"])
@pytest.mark.parametrize(("criterion", "output", "target"), [LOSSES[i][1:] for i in (0, 7, 11, 13, 17)],
                         ids=["mse", "bce", "classes", "weighted", "nll"])  # fmt: skip
def test_fit_replays(layers: Any, criterion: Any, output: str, target: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By itself, with an uneven last batch: the history and the weights of the loop that calls the engine."""
    rng = np.random.default_rng(5)
    X, held_out = rng.normal(size=(23, 4)), rng.normal(size=(9, 4))
    Y, wanted = target(rng, 23), target(rng, 9)
    found = []
    for replaying in (True, False):
        compiled: list[mg.Compiled] = []

        def compile_and_keep(
            function: Any, backend: str | None = None, compiled: list[mg.Compiled] = compiled
        ) -> mg.Compiled:
            compiled.append(mg.Compiled(function, backend))
            return compiled[-1]

        monkeypatch.setattr(mg, "compile", compile_and_keep)
        if not replaying:
            monkeypatch.setattr(nn.train, "_ours", lambda model, loss: False)
        model = nn.Sequential(*layers(), nn.layers.ACTIVATIONS[output][0]())
        optimizer, seen = nn.optim.Adam(model.parameters(), lr=0.01), []
        history = nn.fit(
            model, (X, Y), criterion(), optimizer, 4, (held_out, wanted), progress=False, batch_size=8, rng=1,
            callback=lambda history, seen=seen: seen.append(history.loss[-1]),
        )  # fmt: skip
        found.append([history.loss, history.validation_loss, seen, *(p._data for p in model.parameters())])
        if replaying:
            assert [step.why for step in compiled] == [""]
            assert (compiled[0].recordings, compiled[0].replays) == (2, 10)
        monkeypatch.undo()
    for a, b in zip(*found, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13)


def test_an_interrupted_fit_goes_on() -> None:
    """Ctrl-C between two steps leaves nothing behind that the next fit meets."""
    X, Y = np.random.default_rng(0).normal(size=(12, 4)), np.arange(12) % K
    model, calls = nn.MLP(4, [K], rng=0), []

    def stop(history: nn.History) -> None:
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt

    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    first = nn.fit(model, (X, Y), nn.CrossEntropyLoss(), optimizer, 5, progress=False, callback=stop)
    second = nn.fit(model, (X, Y), nn.CrossEntropyLoss(), optimizer, 3, progress=False)
    other = nn.MLP(4, [K], rng=0)
    whole = nn.fit(other, (X, Y), nn.CrossEntropyLoss(), nn.optim.SGD(other.parameters(), lr=0.1), 5, progress=False)
    assert first.interrupted
    np.testing.assert_allclose(first.loss + second.loss, whole.loss, rtol=1e-13)


def test_forward_hooks_are_called_each_time() -> None:
    """Also one that comes late, to a module that had another before."""
    model, met = nn.MLP(4, [K], rng=0), []
    model.register_forward_hook(lambda *given: None).remove()
    step, x = mg.compile(lambda x: mg.sum(model(x) ** 2)), np.ones((2, 4))
    step(x)
    step(x)
    assert step.replays == 1
    hook = model.layers[0].register_forward_hook(lambda *given: met.append(1))
    other = model.register_forward_hook(lambda *given: met.append(2))
    step(x)
    step(x)
    assert met == [1, 2, 1, 2]
    assert step.why == "it changes what stands around it"
    hook.remove()
    other.remove()
    step(x)
    step(x)
    assert met == [1, 2, 1, 2]
    assert step.replays == 2


def test_a_compiled_function_is_copied_without_its_records() -> None:
    """With the model that it belongs to: the copy trains the copy."""

    class Model(nn.Module):
        def __init__(self) -> None:
            self.layer = nn.Linear(4, K, rng=0)
            self.step = mg.compile(self.loss)

        def loss(self, x: Any) -> Any:
            return mg.sum(self.layer(x) ** 2)

    model, x = Model(), np.ones((2, 4))
    model.step(x)
    twin = copy.deepcopy(model)
    for each in (model, twin):
        each.zero_grad()
        assert each.step(x).item() == pytest.approx(each.loss(mg.Tensor(x)).item())
        assert each.layer.weight.grad is not None
    assert (model.step.replays, twin.step.replays) == (1, 0)
    assert model.layer.weight.grad is not twin.layer.weight.grad


def test_a_whole_step_inside_the_function_is_done_once_a_call() -> None:
    """An optimiser's step, `zero_grad`, a gradient that is read or written: as in the function itself."""
    x = np.ones((2, 4))
    model = nn.MLP(4, [K], rng=0)
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)

    def zeroes(x: Any) -> Any:
        model.zero_grad()
        return mg.sum(model(x) ** 2)

    def steps(x: Any) -> Any:
        optimizer.step()
        optimizer.zero_grad()
        return mg.sum(model(x) ** 2)

    def reads(x: Any) -> Any:
        bias = model.layers[0].bias
        return mg.sum(model(x) ** 2) * (1.0 if bias.grad is None else 1.0 + float(np.abs(bias.grad).sum()))

    def weighs(x: Any) -> Any:
        bias = model.layers[0].bias
        return mg.sum(model(x) ** 2) + (0.0 if bias.grad is None else mg.sum(bias * bias.grad))

    start = model.state_dict()
    for function in (zeroes, steps, reads, weighs):
        seen = []
        for step in (function, mg.compile(function)):
            model.load_state_dict(start)
            model.zero_grad()
            for _ in range(4):
                loss = step(mg.Tensor(x))
                if step is function:
                    loss.backward()
            seen.append([loss.item(), *(p.grad.copy() for p in model.parameters()), *model.state_dict().values()])
        for a, b in zip(*seen, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12, err_msg=function.__name__)
        assert "looks at a number" in step.why
