"""The loop trains, stops where it should, and never costs the user the weights."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn

RNG = np.random.default_rng(0)
X = RNG.normal(size=(11, 2))
Y = (X[:, :1] * X[:, 1:] > 0).astype(float)
LOSS = nn.BCEWithLogitsLoss(reduction="batchmean")


def net(seed: int = 0) -> nn.MLP:
    return nn.MLP(2, [5, 1], rng=seed)


def sgd(model: nn.Module, lr: float = 0.5) -> nn.optim.SGD:
    return nn.optim.SGD(model.parameters(), lr=lr)


def fit(
    model: nn.Module, data: Any = (X, Y), loss: Any = LOSS, optimizer: Any = None, epochs: Any = 5, **settings: Any
) -> Any:
    return nn.fit(model, data, loss, optimizer or sgd(model), epochs, **{"progress": False, **settings})


def same(a: dict[str, Any], b: dict[str, Any]) -> bool:
    return all((a[name] == b[name]).all() for name in a)


# What it does


def test_a_full_batch_is_the_loop_written_out() -> None:
    """Find the loss, reverse, step, repeat: the same weights to the bit."""
    model, by_hand = net(), net()
    history = fit(model, epochs=7)
    optimizer, losses = sgd(by_hand), []
    for _ in range(7):
        optimizer.zero_grad()
        loss = LOSS(by_hand(mg.Tensor(X)), Y)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert same(model.state_dict(), by_hand.state_dict())
    np.testing.assert_allclose(history.loss, losses, rtol=1e-15 * 8)
    assert history.epoch == list(range(1, 8))
    assert (history.interrupted, history.stopped_early, history.best_epoch) == (False, False, None)


def test_the_loss_falls_at_every_step_for_a_small_rate() -> None:
    losses = fit(net(), epochs=200, optimizer=None).loss
    assert (np.diff(losses) < 0).all()


@pytest.mark.parametrize("batch_size", [None, 1, 4, 11, 50])
def test_every_sample_is_seen_once_an_epoch(batch_size: int | None) -> None:
    seen: list[float] = []

    class Watched(nn.MLP):
        def forward(self, x: mg.Tensor) -> mg.Tensor:
            seen.extend(x.tolist())
            return super().forward(x)

    fit(Watched(2, [3, 1], rng=0), epochs=2, batch_size=batch_size, rng=0)
    assert sorted(seen[:11]) == sorted(seen[11:]) == sorted(X.tolist())
    shuffled = batch_size in (1, 4)
    assert (seen[:11] != X.tolist()) is shuffled
    assert (seen[:11] != seen[11:]) is shuffled


@pytest.mark.parametrize("reduction", ["mean", "batchmean", "sum"])
def test_an_uneven_last_batch_is_weighted_by_its_size(reduction: str) -> None:
    """With weights that do not move, the epoch's loss is the loss of all the data: 11 = 4 + 4 + 3."""
    model = nn.MLP(2, [5, 2], rng=0)
    labels = np.concatenate([Y, 1 - 0.3 * Y], axis=1)
    loss = nn.BCEWithLogitsLoss(reduction=reduction)
    history = fit(model, (X, labels), loss, sgd(model, lr=1e-300), epochs=3, batch_size=4, rng=0)
    whole = loss(model(mg.Tensor(X)), labels).item()
    assert history.loss == pytest.approx([whole] * 3, rel=1e-13)


def test_a_seed_repeats_and_global_state_is_not_touched() -> None:
    before = repr(np.random.get_state())  # noqa: NPY002  (it is what must not move)
    models = [net(), net(), net()]
    for model, seed in zip(models, (3, 3, 4), strict=True):
        fit(model, batch_size=3, rng=seed)
    first, again, other = (model.state_dict() for model in models)
    assert same(first, again)
    assert not same(first, other)
    assert repr(np.random.get_state()) == before  # noqa: NPY002


def test_validation_and_metric_are_measured_after_each_epoch_in_evaluation_mode() -> None:
    modes: list[bool] = []

    class Watched(nn.MLP):
        def forward(self, x: mg.Tensor) -> mg.Tensor:
            modes.append((self.training, mg.is_grad_enabled()))
            return super().forward(x)

    model = Watched(2, [3, 1], rng=0)
    held_out = (X[:4] + 0.1, Y[:4])
    at_ends: list[tuple[float, float]] = []

    def look(history: nn.History) -> None:
        output = nn.MLP.forward(model, mg.Tensor(held_out[0]))
        at_ends.append((LOSS(output, held_out[1]).item(), nn.metrics.accuracy(output, held_out[1], threshold=0.0)))

    measured: list[int] = []

    def measure(output: Any, target: Any) -> float:
        measured.append(1)
        return nn.metrics.accuracy(output, target, threshold=0.0)

    model.eval()
    history = fit(
        model, epochs=3, validation=held_out, callback=look,
        metric=measure,
    )  # fmt: skip
    assert list(zip(history.validation_loss, history.metric, strict=True)) == at_ends
    assert modes == [(False, False), *[(True, True), (False, False)] * 3]
    assert len(measured) == 3
    assert not any(module.training for module in model.modules())


def test_modes_are_restored_one_by_one_also_after_an_error() -> None:
    model = nn.Sequential(net(), nn.Sigmoid())
    model[1].eval()
    for epochs in (1, "many"):
        with pytest.raises((ZeroDivisionError, TypeError)):
            fit(model, loss=nn.BCELoss(), epochs=epochs, callback=lambda history: 1 / 0)
        assert (model.training, model[0].training, model[1].training) == (True, True, False)


def test_tensors_lists_integers_and_float32_are_taken() -> None:
    expected = net()
    fit(expected)
    for data in ((mg.Tensor(X), mg.Tensor(Y)), (X.tolist(), Y.tolist()), [X, Y.astype(int)], (X, Y.astype(bool))):
        model = net()
        fit(model, data)
        assert same(model.state_dict(), expected.state_dict())
    model = nn.MLP(2, [5, 1], rng=0, dtype=np.float32)
    fit(model)
    assert {p.dtype for p in model.parameters()} == {np.dtype(np.float32)}
    classes = nn.MLP(2, [5, 2], rng=0)
    assert len(fit(classes, (X, Y[:, 0].astype(int)), nn.CrossEntropyLoss())) == 5


def test_the_data_of_the_user_are_not_changed() -> None:
    x, y = mg.Tensor(X, requires_grad=True), Y.copy()
    fit(net(), (x, y), batch_size=3, rng=0)
    assert x.grad is None
    assert (y == Y).all()


# Early stopping


def scripted(losses: list[float]) -> tuple[nn.Module, Any]:
    """A model whose weight counts the steps, and a loss that follows the script on the held-out sample."""
    model = nn.Linear(1, 1, bias=False, init=lambda weight, rng: nn.init.zeros_(weight))

    def loss(output: mg.Tensor, target: Any) -> mg.Tensor:
        if mg.is_grad_enabled():
            return -mg.sum(output)  # gradient -1: each step of lr 1 adds 1
        return mg.Tensor(losses[round(output.item())])

    return model, loss


ONE = (np.ones((1, 1)), np.ones((1, 1)))


@pytest.mark.parametrize(
    ("losses", "patience", "epochs", "stopped", "best"),
    [
        ([9, 5, 4, 6, 7, 3, 1, 1], 2, 7, 4, 2),  # two epochs without a new least: stop, and go back to epoch 2
        ([9, 5, 4, 6, 7, 3, 1, 1], 3, 7, 7, 6),  # more patience finds the later one; a tie is no new least
        ([9, 5, 4, 3, 6, 7, 8, 8], 9, 5, 5, 3),  # out of epochs: the best weights all the same
        ([9, 5, 5, 5, 5, 5, 5, 5], 1, 7, 2, 1),
    ],
)
def test_early_stopping_restores_the_best_weights(losses, patience, epochs, stopped, best) -> None:
    model, loss = scripted(losses)
    history = fit(model, ONE, loss, sgd(model, lr=1.0), epochs, validation=ONE, patience=patience)
    assert history.epoch == list(range(1, stopped + 1))
    assert history.validation_loss == losses[1 : stopped + 1]
    assert model.weight.item() == history.best_epoch == best
    assert history.stopped_early is (stopped < epochs)


def test_without_validation_the_training_loss_after_the_epoch_decides() -> None:
    """The weights that are kept are those whose loss was the least, not those of a step later."""
    model = net()
    states: list[Any] = []
    losses: list[float] = []

    def keep(history: nn.History) -> None:
        states.append(model.state_dict())
        losses.append(LOSS(model(mg.Tensor(X)), Y).item())

    history = fit(model, optimizer=sgd(model, lr=30.0), epochs=40, patience=4, callback=keep, batch_size=4, rng=0)
    best = int(np.argmin(losses))
    assert history.best_epoch == best + 1
    assert same(model.state_dict(), states[best])
    assert history.validation_loss == []


# Data sets, loaders, schedulers


class Pairs(nn.data.Dataset):
    """Sample by sample: nothing is known of it but its length (S23, a data set of pairs)."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: Any) -> Any:
        return X[index], Y[index]


@pytest.mark.parametrize("batch_size", [None, 4, 50])
def test_the_same_data_in_whatever_form_train_the_same_to_the_bit(batch_size: int | None) -> None:
    forms: list[Any] = [
        (X, Y),
        nn.data.TensorDataset(X, Y),
        nn.data.Subset(nn.data.TensorDataset(X, Y), range(11)),
        Pairs(),
    ]
    states, histories = [], []
    for data in forms:
        model = net()
        histories.append(fit(model, data, batch_size=batch_size, rng=5, validation=data, epochs=4))
        states.append(model.state_dict())
    if batch_size == 4:  # the loaders' own batches and generator
        for data in (Pairs(), nn.data.TensorDataset(X, Y), list(zip(X, Y, strict=True))):
            model = net()
            loader = nn.data.DataLoader(data, 4, shuffle=True, rng=5)
            held_out = nn.data.DataLoader(data, 11, shuffle=True, drop_last=True, rng=0)
            histories.append(fit(model, loader, validation=held_out, epochs=4))
            states.append(model.state_dict())
    if batch_size == 50:  # more than there are: a data set without arrays is shuffled nevertheless
        del states[-1], histories[-1]
    assert all(same(state, states[0]) for state in states)
    for history in histories:
        assert history.loss == histories[0].loss
        assert history.validation_loss == histories[0].validation_loss


def test_evaluation_sees_every_sample_in_order_and_leaves_the_loaders_generator_alone() -> None:
    """Validation in uneven batches, shuffled and cut: its loss and metric are those of all the data."""
    model, seen = net(), []
    loader = nn.data.DataLoader(Pairs(), 4, shuffle=True, drop_last=True, rng=0)
    before = loader.rng.bit_generator.state

    def metric(output: Any, target: Any) -> float:
        seen.append((output, target))
        return 0.5

    history = fit(model, (X, Y), validation=loader, metric=metric, epochs=1)
    assert loader.rng.bit_generator.state == before
    assert (loader.shuffle, loader.drop_last) == (True, True)
    ((output, target),) = seen
    assert (target == Y).all()
    np.testing.assert_allclose(output, model(X).detach().numpy(), rtol=1e-12)
    assert history.validation_loss == pytest.approx([LOSS(model(X), Y).item()], rel=1e-13)


def test_a_loader_that_drops_the_last_batch_trains_on_the_others() -> None:
    model, by_hand = net(), net()
    history = fit(model, nn.data.DataLoader(Pairs(), 4, drop_last=True), epochs=1)
    losses = []
    for start in (0, 4):
        losses += fit(by_hand, (X[start : start + 4], Y[start : start + 4]), epochs=1).loss
    assert same(model.state_dict(), by_hand.state_dict())
    assert history.loss == [pytest.approx(sum(losses) / 2, rel=1e-15)]


def test_a_scheduler_steps_after_each_epoch_before_the_callback() -> None:
    model, rates, calls = net(), [], []
    optimizer = sgd(model, lr=1.0)

    class Halving:
        def __init__(self) -> None:
            self.optimizer = optimizer

        def step(self, epoch: Any = None) -> None:
            calls.append(epoch)
            optimizer.param_groups[0]["lr"] /= 2

    settings: dict[str, Any] = {"scheduler": Halving(), "epochs": 3, "batch_size": 4, "rng": 0}
    fit(model, optimizer=optimizer, callback=lambda history: rates.append(optimizer.param_groups[0]["lr"]), **settings)
    assert calls == [None] * 3
    assert rates == [0.5, 0.25, 0.125]


def test_torchs_names_schedule() -> None:
    model = net()
    optimizer = sgd(model, lr=1.0)
    fit(model, optimizer=optimizer, scheduler=nn.optim.lr_scheduler.StepLR(optimizer, 2, gamma=0.1), epochs=5)
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.01)
    optimizer = sgd(model, lr=1.0)
    plateau = nn.optim.lr_scheduler.ReduceLROnPlateau(
        optimizer, factor=0.5, patience=0, threshold=1e9, threshold_mode="abs"
    )
    fit(model, optimizer=optimizer, scheduler=plateau, epochs=4)  # the first is a new best, the others are not
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.125)


@pytest.mark.parametrize("validated", [False, True])
def test_a_scheduler_that_needs_the_loss_is_given_the_one_that_patience_looks_at(validated: bool) -> None:
    class Watching:
        def __init__(self) -> None:
            self.seen: list[float] = []

        def step(self, metrics: float, epoch: int | None = None) -> None:
            self.seen.append(metrics)

    scheduler = Watching()
    history = fit(net(), scheduler=scheduler, epochs=3, validation=(X[:4], Y[:4]) if validated else None)
    assert scheduler.seen == (history.validation_loss if validated else history.loss)
    assert scheduler.seen != (history.loss if validated else history.validation_loss)


def lazy(make: Any) -> Any:
    """A data set whose sample 7 is made by `make`."""

    class Spoilt(Pairs):
        def __getitem__(self, index: Any) -> Any:
            return make() if index == 7 else super().__getitem__(index)

    return Spoilt()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fit(net(), nn.data.DataLoader(Pairs()), batch_size=4, rng=0),
            ValueError,
            "batch_size and rng given, but data is a DataLoader, which has its own",
        ),
        (lambda: fit(net(), nn.data.TensorDataset(X)), TypeError, r"data must be a pair \(X, Y\), got tuple"),
        (lambda: fit(net(), nn.data.TensorDataset(X, 3 * Y)), ValueError, r"labels in \[0, 1\]"),
        (lambda: fit(net(), nn.data.TensorDataset(NAN, Y)), ValueError, "X of data holds nan"),
        (lambda: fit(net(), list(zip(X, Y, strict=True))), TypeError, r"nn.data.DataLoader\(pairs\)"),
        (lambda: fit(net(), {"X": X, "Y": Y}), TypeError, r"data must be a pair \(X, Y\), got dict"),
        (lambda: fit(net(), np.rec.array([(1.0, 2.0)])), TypeError, r"data must be a pair \(X, Y\), got recarray"),
        (lambda: fit(net(), nn.data.Subset(Pairs(), [])), ValueError, "empty"),
        (lambda: fit(net(), lazy(lambda: X[0])), ValueError, "the same fields, got tuple of 2 and ndarray"),
        (
            lambda: fit(net(), nn.data.DataLoader(lazy(lambda: (NAN[3], Y[0])), 4)),
            ValueError,
            r"X of a batch of data holds nan at index \(3, 1\)",
        ),
        (lambda: fit(net(), lazy(lambda: (X[0], Y[0] + 3))), ValueError, r"labels in \[0, 1\]"),
        (lambda: fit(net(), validation=lazy(lambda: (X[0], Y[0] + 3))), ValueError, r"labels in \[0, 1\]"),
        (lambda: fit(net(), nn.data.DataLoader(X)), TypeError, r"a batch of data must be a pair \(X, Y\), got Tensor"),
        (lambda: fit(net(), scheduler=3), TypeError, "scheduler must be one of nn.optim.lr_scheduler.*got 3"),
        (
            lambda: fit(model := net(), scheduler=sgd(model)),
            TypeError,
            "scheduler must be one of nn.optim.lr_scheduler",
        ),
        (
            lambda: fit(net(), scheduler=nn.optim.lr_scheduler.StepLR(sgd(net()), 1)),
            ValueError,
            "the scheduler was made with another optimizer",
        ),
    ],
)
def test_refusals_of_data_sets_and_schedulers(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="(?s)" + message + r".*test_train.py:\d"):
        call()


# Interruption


@pytest.mark.parametrize("patience", [None, 10])
def test_ctrl_c_keeps_what_was_learnt_and_returns_the_history(patience: int | None) -> None:
    model, expected = net(), net()
    fit(expected, epochs=3)

    def interrupt(history: nn.History) -> None:
        if len(history) == 3:
            raise KeyboardInterrupt

    history = fit(model, epochs=100, callback=interrupt, patience=patience)
    assert history.interrupted
    assert len(history) == 3
    assert same(model.state_dict(), expected.state_dict())
    assert "interrupted" in repr(history)


def test_ctrl_c_within_an_epoch_keeps_the_steps_made_and_the_finished_epochs() -> None:
    model, calls = net(), []

    def loss(output: mg.Tensor, target: Any) -> mg.Tensor:
        calls.append(1)
        if len(calls) == 5:  # three batches an epoch: the second of the second
            raise KeyboardInterrupt
        return LOSS(output, target)

    before = model.state_dict()
    history = fit(model, loss=loss, batch_size=4, rng=0, epochs=9)
    assert (history.epoch, len(history.loss), history.interrupted) == ([1], 1, True)
    assert not same(model.state_dict(), before)


# Not finite


def test_a_loss_that_is_not_finite_stops_with_the_weights_of_before_that_step() -> None:
    model, states = net(), []

    def loss(output: mg.Tensor, target: Any) -> mg.Tensor:
        states.append(model.state_dict())
        return LOSS(output, target) * (math.nan if len(states) == 5 else 1.0)

    with pytest.raises(
        FloatingPointError, match=r"epoch 2, step 2: the loss is nan.*lower the learning rate.*test_train.py:"
    ):
        fit(model, loss=loss, batch_size=4, rng=0)
    assert same(model.state_dict(), states[-1])
    assert not same(states[-1], states[-2])
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


def test_a_gradient_that_is_not_finite_stops_before_it_ruins_the_weights() -> None:
    """sqrt at 0: the loss is 0 and its gradient inf."""
    model = net()
    before = model.state_dict()
    with pytest.raises(FloatingPointError, match=r"epoch 1, step 1: the gradient of layers.0.weight is not finite"):
        fit(model, loss=lambda output, target: mg.sqrt(mg.sum(output) * 0.0))
    assert same(model.state_dict(), before)


def test_gradients_whose_square_overflows_are_no_fault() -> None:
    model = net()
    fit(model, loss=lambda output, target: mg.sum(output) * 1e200, optimizer=sgd(model, lr=1e-200))
    assert all(np.isfinite(array).all() for array in model.state_dict().values())


@pytest.mark.parametrize("loss", [nn.BCELoss(), nn.binary_cross_entropy], ids=["class", "function"])
def test_bce_on_saturated_probabilities_is_sent_to_the_loss_on_logits(loss: Any) -> None:
    model = nn.MLP(2, [5, 1], output="sigmoid", rng=0)
    nn.init.constant_(model.layers[2].bias, 50.0)
    before = model.state_dict()
    with pytest.raises(
        FloatingPointError, match=r"epoch 1, step 1: the loss is (nan|inf).*identity output.*BCEWithLogitsLoss"
    ):
        fit(model, loss=loss)
    assert same(model.state_dict(), before)


def test_a_held_out_loss_that_is_not_finite_stops_too() -> None:
    model, loss = scripted([1.0, 1.0, math.inf, 1.0])
    with pytest.raises(FloatingPointError, match="epoch 2, after its last step: the loss is inf"):
        fit(model, ONE, loss, sgd(model, lr=1.0), validation=ONE)
    assert model.weight.item() == 2.0


# Bad input, always before the first step


NAN = X.copy()
NAN[3, 1] = math.nan

BAD_DATA = [
    ((X[:0], Y[:0]), ValueError, r"X of data is empty, of shape \(0, 2\)"),
    (([], []), ValueError, "X of data is empty"),
    (
        (X, Y[:-1]),
        ValueError,
        r"data has 11 samples in X \(shape \(11, 2\)\) and 10 in Y \(shape \(10, 1\)\), expected as many",
    ),
    ((X.astype(str), Y), TypeError, "X of data must be an array of real numbers, got dtype <U"),
    ((X, [["a"]] * 11), TypeError, "Y of data must be an array of real numbers"),
    ((NAN, Y), ValueError, r"X of data holds nan at index \(3, 1\), expected finite numbers"),
    ((X, np.full((11, 1), np.inf)), ValueError, r"Y of data holds inf at index \(0, 0\)"),
    ((X, 3 * Y), ValueError, r"target holds 3.0 at index .*expected labels in \[0, 1\]"),
    ((X, Y[:, 0]), ValueError, r"input has shape \(11, 1\), target has shape \(11,\).*target.reshape\(11, 1\)"),
    ((X[:, :1], Y), ValueError, "linear"),
    ((1.0, 2.0), ValueError, "X of data is one number"),
    (X, TypeError, r"data must be a pair \(X, Y\), got ndarray"),
    ((X, Y, Y), TypeError, r"data must be a pair \(X, Y\), got tuple"),
    (None, TypeError, r"data must be a pair \(X, Y\), got NoneType"),
]


@pytest.mark.parametrize("role", ["data", "validation"])
@pytest.mark.parametrize(("data", "error", "message"), BAD_DATA)
def test_bad_data_are_refused_before_the_first_step(role: str, data: Any, error: type[Exception], message: str) -> None:
    if data is None and role == "validation":
        data = "none"
        message = r"validation must be a pair \(X, Y\), got str"
    model = net()
    before = model.state_dict()
    with pytest.raises(error, match="(?s)" + message.replace("data", role)):
        fit(model, **{role: data})
    assert same(model.state_dict(), before)


def test_a_bad_label_in_the_last_batch_is_found_before_the_first_step() -> None:
    model, labels = net(), Y.copy()
    before = model.state_dict()
    labels[-1] = 1.5
    with pytest.raises(ValueError, match=r"BCEWithLogitsLoss: target holds 1.5 at index \(10, 0\)"):
        fit(model, (X, labels), batch_size=1, rng=0)
    assert same(model.state_dict(), before)


def frozen() -> nn.MLP:
    model = net()
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    return model


class Own(nn.Loss):
    """A loss of the user's."""


OTHER = sgd(net())


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: fit(net(), optimizer=OTHER),
            ValueError,
            "nothing to train: the optimizer holds none of the model's parameters",
        ),
        (lambda: fit(nn.Sigmoid(), optimizer=OTHER), ValueError, "nothing to train: the model has no parameters"),
        (lambda: fit(frozen()), ValueError, "nothing to train: the model has no parameters that require a gradient"),
        (
            lambda: fit(lambda x: x, optimizer=OTHER),
            TypeError,
            "expected a Module and an Optimizer, got function and SGD",
        ),
        (lambda: nn.fit(net(), (X, Y), OTHER, LOSS, 3), TypeError, "got MLP and BCEWithLogitsLoss"),
        (lambda: fit(net(), loss="bce"), TypeError, r"loss must be called as loss\(output, target\).*got 'bce'"),
        (
            lambda: fit(net(), loss=nn.BCEWithLogitsLoss),
            TypeError,
            r"loss is the class nn.BCEWithLogitsLoss, expected an instance; make one: nn.BCEWithLogitsLoss\(\)",
        ),
        (lambda: fit(net(), loss=Own), TypeError, r"make one: Own\(\)"),
        (lambda: fit(net(), loss=lambda Z, Y: 1.0), TypeError, "the loss gave 1.0 of type float, expected a Tensor"),
        (
            lambda: fit(net(), loss=lambda Z, Y: 1.0, validation=(X, Y)),
            TypeError,
            "the loss gave 1.0 of type float, expected a Tensor",
        ),
        (lambda: fit(net(), metric=3), TypeError, r"metric must be called as metric\(output, target\), got 3"),
        (lambda: fit(net(), metric=lambda Z, Y: None), TypeError, "the metric gave None, expected a number"),
        (lambda: fit(net(), callback=3), TypeError, r"callback must be called as callback\(history\), got 3"),
        (lambda: fit(net(), rng="a"), TypeError, "rng: expected a numpy.random.Generator, .* got 'a'"),
        (lambda: fit(frozen()), ValueError, r"parameter.requires_grad_\(\) thaws a frozen one"),
        (lambda: mg.no_grad()(fit)(net()), ValueError, r"called inside mg.no_grad\(\)"),
        (lambda: fit(net(), epochs=0), ValueError, "epochs must be at least 1, got 0"),
        (lambda: fit(net(), epochs=2.5), TypeError, "epochs must be an integer, got 2.5"),
        (lambda: fit(net(), epochs=True), TypeError, "epochs must be an integer, got True"),
        (lambda: fit(net(), patience=0), ValueError, "patience must be at least 1"),
        (lambda: fit(net(), batch_size=-4), ValueError, "batch_size must be at least 1, got -4"),
        (lambda: fit(net(), batch_size="all"), TypeError, "batch_size must be an integer, got 'all'"),
        (
            lambda: fit(net(), loss=nn.MSELoss(reduction="none")),
            ValueError,
            r"the loss has shape \(11, 1\), expected one number",
        ),
    ],
)
def test_refusals(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message + r".*test_train.py:\d"):
        call()


# What it shows


def test_the_bar_shows_loss_and_metric(capsys: pytest.CaptureFixture[str]) -> None:
    fit(net(), epochs=3, progress=True, validation=(X, Y), metric=lambda output, target: 0.5)
    shown = capsys.readouterr()
    assert "3/3" in shown.err
    assert "loss=0." in shown.err
    assert "validation=0." in shown.err
    assert "metric=0.5" in shown.err
    assert shown.out == ""
    fit(net(), epochs=3)
    assert capsys.readouterr().err == ""
    nn.fit(model := net(), (X, Y), LOSS, sgd(model), 3)
    assert "3/3" in capsys.readouterr().err  # by default


def test_without_tqdm_the_error_names_it_and_no_bar_needs_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)
    model = net()
    before = model.state_dict()
    with pytest.raises(ModuleNotFoundError, match=r"nn\.fit draws its bar with tqdm, .*: pip install tqdm"):
        fit(model, progress=True)
    assert same(model.state_dict(), before)
    assert len(fit(model)) == 5


def test_history_is_rows_and_one_line() -> None:
    history = fit(net(), epochs=3, validation=(X, Y), patience=5, metric=lambda output, target: 0.25)
    rows = history.rows()
    assert [row["epoch"] for row in rows] == [1, 2, 3]
    assert rows[1] == {
        "epoch": 2, "loss": history.loss[1], "validation_loss": history.validation_loss[1], "metric": 0.25
    }  # fmt: skip
    assert list(fit(net(), epochs=1).rows()[0]) == ["epoch", "loss"]
    assert repr(history).startswith("History(3 epochs, loss 0.")
    assert "best 3" in repr(history)
    assert len(repr(history)) < 120
    assert nn.History().rows() == []
    assert copy.deepcopy(history) == history


def _by_hand(model: nn.Module, loss: Any, optimizer: Any, epochs: int, X: Any, Y: Any) -> list[float]:
    losses = []
    for _ in range(epochs):
        cost = loss(model(mg.Tensor(X)), Y)
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
        losses.append(cost.item())
    return losses


@pytest.mark.parametrize("p", [0.0, 0.4])
def test_fit_is_the_loop_written_out(p: float) -> None:
    """With dropout too: recording a step draws nothing, and steps that are replayed give the same numbers."""
    X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.random.default_rng(1).integers(0, 2, (20, 1)).astype(float)
    found = []
    for way in ("fit", "loop"):
        model = nn.Sequential(nn.Linear(3, 8, rng=0), nn.Sigmoid(), nn.Dropout(p, rng=3), nn.Linear(8, 1, rng=1))
        optimizer = nn.optim.Adam(model.parameters(), lr=0.05)
        if way == "fit":
            history = nn.fit(model, (X, Y), nn.BCEWithLogitsLoss(), optimizer, epochs=6, progress=False)
            found.append(history.loss)
        else:
            found.append(_by_hand(model, nn.BCEWithLogitsLoss(), optimizer, 6, X, Y))
    np.testing.assert_allclose(*found, rtol=1e-12)


class OwnModel(nn.Module):
    """A model that is not of `nn`."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1, rng=0)

    def forward(self, x: Any) -> Any:
        return self.layer(x)


@pytest.mark.parametrize("backend", [None, "numpy", pytest.param("c", marks=pytest.mark.compiler)])
def test_a_backend_that_is_asked_for(backend: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same weights; the steps of one's own model are replayed where one says so, and only then."""
    monkeypatch.setenv("MICROGRID_CACHE", str(tmp_path / "cache"))
    made, compile_ = [], mg.compile
    monkeypatch.setattr(mg, "compile", lambda f, **words: made.append(compile_(f, **words)) or made[-1])
    model, by_hand = OwnModel(), OwnModel()
    history = fit(model, epochs=30, backend=backend)
    np.testing.assert_allclose(history.loss, _by_hand(by_hand, LOSS, sgd(by_hand), 30, X, Y), rtol=1e-12)
    for p, q in zip(model.parameters(), by_hand.parameters(), strict=True):
        np.testing.assert_allclose(p.tolist(), q.tolist(), rtol=1e-12)
    assert [step.replays for step in made] == ([] if backend is None else [29])
    assert all(("void run_0" in step.source) == (backend == "c") for step in made)
    with pytest.raises(ValueError, match=r"backend: expected one of .* got 'fortran', at test_train.py"):
        fit(model, backend="fortran")


def test_what_a_callback_changes_counts() -> None:
    """A slope, a layer and a reduction changed between epochs: the next epoch is trained with them."""
    X, Y = np.random.default_rng(0).normal(size=(20, 3)), np.random.default_rng(1).integers(0, 2, (20, 1)).astype(float)
    found = []
    for loss_type in (nn.BCEWithLogitsLoss, type("Own", (nn.BCEWithLogitsLoss,), {})):  # replayed, and never
        model = nn.Sequential(nn.Linear(3, 4, rng=0), nn.LeakyReLU(0.1), nn.Linear(4, 1, rng=1))
        loss = loss_type()

        def change(history: nn.History, model: Any = model, loss: Any = loss) -> None:
            if len(history) == 2:
                model[1].negative_slope = 0.9
            if len(history) == 4:
                loss.reduction = "sum"
            if len(history) == 6:
                model[2].bias = None

        optimizer = nn.optim.SGD(model.parameters(), lr=0.05)
        found.append(nn.fit(model, (X, Y), loss, optimizer, epochs=8, progress=False, callback=change).loss)
    np.testing.assert_allclose(*found, rtol=1e-12)


# What counts in a batch

Z3 = RNG.normal(size=(10, 3))
CLASSES = np.array([-100, -100, 0, 1, 2, 2, 1, -100, 0, 2])


@pytest.mark.parametrize("reduction", ["mean", "sum", "batchmean"])
@pytest.mark.parametrize("weight", [None, [1.0, 10.0, 0.1]], ids=["plain", "weighted"])
def test_the_loss_of_batches_is_that_of_the_data(weight: Any, reduction: str) -> None:
    """With lr = 0 the model stands still: training in batches, by array and by loader, and validation by loader.

    One number for all of them, where batches differ in what is ignored and in the weights of their classes.
    """
    loss, loader = nn.CrossEntropyLoss(weight, reduction=reduction), nn.data.DataLoader
    model = nn.MLP(3, [3], rng=0)
    whole = loss(model(Z3), CLASSES).item()
    pairs = nn.data.TensorDataset(Z3, CLASSES)
    for data, settings in (
        ((Z3, CLASSES), {}),
        ((Z3, CLASSES), {"batch_size": 3, "rng": 0}),
        (loader(pairs, 3, shuffle=True, rng=0), {}),
    ):
        history = fit(model, data, loss, sgd(model, 0.0), 2, validation=loader(pairs, 4), **settings)
        assert history.loss == pytest.approx([whole, whole], rel=1e-14)
        assert history.validation_loss == pytest.approx([whole, whole], rel=1e-14)


def test_a_batch_in_which_nothing_counts_is_passed_over() -> None:
    """Its mean is 0/0; the others train as if it were not there."""
    pairs, found = nn.data.TensorDataset(Z3, CLASSES), []
    for data in (nn.data.DataLoader(pairs, 2), nn.data.DataLoader(nn.data.Subset(pairs, range(2, 10)), 2)):
        model = nn.MLP(3, [3], rng=0)
        found.append(fit(model, data, nn.CrossEntropyLoss(), nn.optim.Adam(model.parameters()), 3).loss)
        found.append(nn.parameters_to_vector(model.parameters()).tolist())
    assert found[:2] == found[2:]
    for weight, classes in ((None, np.full(10, -100)), ([0.0, 1.0, 1.0], np.zeros(10, int))):
        with pytest.raises(ValueError, match=r"gave no batch in which anything counts .*, at test_train.py"):
            fit(nn.MLP(3, [3], rng=0), (Z3, classes), nn.CrossEntropyLoss(weight))


def test_a_class_that_does_not_exist_is_still_the_losses_error() -> None:
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=f"holds the class {wrong}"):
            fit(nn.MLP(3, [3], rng=0), (Z3, np.full(10, wrong)), nn.CrossEntropyLoss([1.0, 2.0, 3.0]))


def test_patience_and_schedulers_read_the_loss_of_the_data() -> None:
    """The validation loss by a loader is that of the arrays, and so are the best epoch and the rates."""
    loss, found = nn.CrossEntropyLoss([1.0, 30.0, 0.1]), []
    pairs = nn.data.DataLoader(nn.data.TensorDataset(Z3, CLASSES), 2)
    for validation in ((Z3, CLASSES), pairs):
        model = nn.MLP(3, [4, 3], rng=0)
        optimizer = sgd(model, 3.0)
        plateau = nn.optim.lr_scheduler.ReduceLROnPlateau(optimizer, patience=0)
        history = fit(
            model, (Z3[::-1], CLASSES), loss, optimizer, 30, validation=validation, patience=8, scheduler=plateau
        )
        found.append((history.best_epoch, len(history), plateau.get_last_lr(), plateau.num_bad_epochs))
    assert found[0] == found[1]
