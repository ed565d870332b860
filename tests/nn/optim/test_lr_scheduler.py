"""Schedulers are their formulas, written out here once more, and torch's trajectories."""

from __future__ import annotations

import copy
import json
import math
import pickle
import warnings
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
from nn.optim import lr_scheduler

EPOCHS = 30
RATES = (0.8, 0.1)


def leaf() -> mg.Tensor:
    return mg.Tensor([1.0], requires_grad=True)


def sgd(*rates: float) -> nn.optim.SGD:
    return nn.optim.SGD([{"params": [leaf()], "lr": lr} for lr in rates or RATES])


def fraction(epoch: int) -> float:
    return 1 / (1 + epoch)


# name, arguments, the rate of epoch t from that of epoch 0
FORMULAS: list[tuple[str, dict[str, Any], Any]] = [
    ("StepLR", {"step_size": 4}, lambda lr, t: lr * 0.1 ** (t // 4)),
    ("StepLR", {"step_size": 1, "gamma": 0.9}, lambda lr, t: lr * 0.9**t),
    ("StepLR", {"step_size": 7, "gamma": 1.5}, lambda lr, t: lr * 1.5 ** (t // 7)),
    ("MultiStepLR", {"milestones": [3, 4, 4, 20]}, lambda lr, t: lr * 0.1 ** sum(t >= m for m in (3, 4, 4, 20))),
    ("MultiStepLR", {"milestones": [], "gamma": 0.5}, lambda lr, t: lr),
    ("ExponentialLR", {"gamma": 0.9}, lambda lr, t: lr * 0.9**t),
    ("ExponentialLR", {"gamma": 1}, lambda lr, t: lr),
    ("LinearLR", {}, lambda lr, t: lr * (1 / 3 + 2 / 3 * min(t, 5) / 5)),
    ("LinearLR", {"start_factor": 1.0, "end_factor": 0.0, "total_iters": 9}, lambda lr, t: lr * (1 - min(t, 9) / 9)),
    ("LinearLR", {"start_factor": 0.5, "total_iters": 1}, lambda lr, t: lr * (1.0 if t else 0.5)),
    *[("CosineAnnealingLR", {"T_max": T, "eta_min": low},
       lambda lr, t, T=T, low=low: low + (lr - low) * (1 + math.cos(math.pi * t / T)) / 2)
      for T, low in ((1, 0.0), (2, 0.01), (5, 0.0), (7, 0.05), (100, 0.2))],
    ("LambdaLR", {"lr_lambda": fraction}, lambda lr, t: lr / (1 + t)),
]  # fmt: skip
every_formula = pytest.mark.parametrize(
    ("name", "arguments", "formula"),
    FORMULAS,
    ids=[f"{name}-{', '.join(arguments)}-{i}" for i, (name, arguments, _) in enumerate(FORMULAS)],
)


def rates_of(optimizer: Any) -> list[float]:
    return [float(group["lr"]) for group in optimizer.param_groups]


def run(optimizer: Any, scheduler: Any, epochs: int = EPOCHS, changes: dict[int, float] | None = None) -> np.ndarray:
    """The rates of each epoch; some are changed by the user on the way."""
    rates = []
    for epoch in range(epochs):
        rates.append(rates_of(optimizer))
        assert rates[-1] == scheduler.get_last_lr()
        if epoch in (changes or {}):
            optimizer.param_groups[0]["lr"] = (changes or {})[epoch]
        optimizer.step()
        scheduler.step()
    return np.array(rates)


@every_formula
def test_the_rates_are_the_formula_in_every_group(name: str, arguments: dict[str, Any], formula: Any) -> None:
    optimizer = sgd()
    rates = run(optimizer, getattr(lr_scheduler, name)(optimizer, **arguments))
    np.testing.assert_allclose(rates, [[formula(lr, t) for lr in RATES] for t in range(EPOCHS)], rtol=1e-11, atol=1e-15)
    assert [group["initial_lr"] for group in optimizer.param_groups] == list(RATES)
    assert (rates >= 0).all()


def torchs(name: str, arguments: dict[str, Any], **entries: Any) -> tuple[Any, Any]:
    torch = pytest.importorskip("torch")
    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": lr, **entries} for lr in RATES]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    return optimizer, getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments)


@pytest.mark.oracles
@every_formula
@pytest.mark.parametrize("changes", [{}, {3: 0.5}, {0: 0.3, 11: 0.7}], ids=str)
def test_the_rates_are_torchs_also_when_the_user_changes_them(
    name: str, arguments: dict[str, Any], formula: Any, changes: dict[int, float]
) -> None:
    """The next rate is found from the present one (but for LambdaLR), whoever set it."""
    optimizer = sgd()
    scheduler = getattr(lr_scheduler, name)(optimizer, **arguments)
    theirs = run(*torchs(name, arguments), changes=changes)
    if (theirs < 0).any():  # a changed rate below eta_min is thrown below 0 on the way up: refused here
        with pytest.raises(ValueError, match="Invalid learning rate: -"):
            run(optimizer, scheduler, changes=changes)
    else:
        np.testing.assert_allclose(run(optimizer, scheduler, changes=changes), theirs, rtol=1e-12, atol=1e-16)


@pytest.mark.oracles
@every_formula
def test_resuming_from_last_epoch_is_torchs(name: str, arguments: dict[str, Any], formula: Any) -> None:
    for last_epoch in (0, 3, 4, 6):
        resumed = {**arguments, "last_epoch": last_epoch}
        optimizer = sgd()
        for group in optimizer.param_groups:
            group["initial_lr"] = 0.9
        rates = run(optimizer, getattr(lr_scheduler, name)(optimizer, **resumed))
        np.testing.assert_allclose(rates, run(*torchs(name, resumed, initial_lr=0.9)), rtol=1e-12, atol=1e-16)


def test_a_changed_rate_is_scheduled_on_from_there() -> None:
    optimizer = sgd(1.0)
    scheduler = lr_scheduler.StepLR(optimizer, step_size=2, gamma=0.5)
    rates = run(optimizer, scheduler, 6, {2: 0.25})
    assert rates.ravel().tolist() == [1.0, 1.0, 0.5, 0.25, 0.125, 0.125]


def test_a_second_scheduler_knows_the_first_rate() -> None:
    """The optimiser's "initial_lr" stays that of the first scheduler, as in torch."""
    optimizer = sgd(1.0)
    run(optimizer, lr_scheduler.ExponentialLR(optimizer, 0.5), 3)
    assert lr_scheduler.ExponentialLR(optimizer, 0.5).base_lrs == [1.0]
    assert rates_of(optimizer) == [0.125]


def test_lambdas_may_be_one_a_group() -> None:
    optimizer = sgd()
    scheduler = lr_scheduler.LambdaLR(optimizer, [fraction, lambda epoch: 2.0**-epoch])
    assert run(optimizer, scheduler, 3)[2].tolist() == [RATES[0] * (1 / 3), RATES[1] / 4]


# Plateaus

LOSSES = [
    5.0,
    4.0,
    4.0,
    4.1,
    3.9999,
    4.0,
    4.0,
    3.0,
    3.0,
    3.0,
    3.0,
    math.nan,
    3.0,
    3.0,
    -1.0,
    -1.0,
    -1.0,
    -1.0,
    -1.5,
    -1.5,
]
PLATEAUS: list[dict[str, Any]] = [
    {},
    {"patience": 0},
    {"patience": 1, "factor": 0.5},
    {"patience": 1, "mode": "max"},
    {"patience": 1, "threshold": 0.3},
    {"patience": 1, "threshold": 0.3, "threshold_mode": "abs"},
    {"patience": 1, "threshold": 0.3, "threshold_mode": "abs", "mode": "max"},
    {"patience": 0, "factor": 0.5, "cooldown": 2},
    {"patience": 1, "factor": 0.5, "cooldown": 1, "min_lr": 0.15},
    {"patience": 0, "factor": 0.5, "min_lr": [0.3, 0.0]},
    {"patience": 0, "factor": 0.5, "eps": 0.05},
    {"patience": 0, "factor": 0.0},
]


BETTER = {
    ("min", "rel"): lambda loss, best, threshold: loss < best * (1 - threshold),
    ("max", "rel"): lambda loss, best, threshold: loss > best * (1 + threshold),
    ("min", "abs"): lambda loss, best, threshold: loss < best - threshold,
    ("max", "abs"): lambda loss, best, threshold: loss > best + threshold,
}


def plateau(lr: float, losses: list[float], group: int, mode="min", factor=0.1, patience=10, threshold=1e-4,
            threshold_mode="rel", cooldown=0, min_lr=0.0, eps=1e-8) -> list[float]:  # fmt: skip
    """The rates of one group: bad epochs are counted, unless in the `cooldown` epochs after a fall."""
    floor = min_lr[group] if isinstance(min_lr, list) else min_lr
    best, bad, cooling, rates = {"min": math.inf, "max": -math.inf}[mode], 0, 0, []
    for loss in losses:
        bad += 1
        if BETTER[mode, threshold_mode](loss, best, threshold):
            best, bad = loss, 0
        if cooling:
            cooling, bad = cooling - 1, 0
        if bad > patience:
            lower = max(lr * factor, floor)
            lr = lower if lr - lower > eps else lr
            cooling, bad = cooldown, 0
        rates.append(lr)
    return rates


def watch(scheduler: Any, losses: list[float]) -> np.ndarray:
    rates = []
    for loss in losses:
        scheduler.step(loss)
        assert scheduler.get_last_lr() == rates_of(scheduler.optimizer)
        rates.append(scheduler.get_last_lr())
    return np.array(rates)


@pytest.mark.parametrize("arguments", PLATEAUS, ids=str)
def test_the_rates_fall_on_a_plateau(arguments: dict[str, Any]) -> None:
    rates = watch(lr_scheduler.ReduceLROnPlateau(sgd(), **arguments), LOSSES)
    for k, lr in enumerate(RATES):
        np.testing.assert_allclose(rates[:, k], plateau(lr, LOSSES, k, **arguments), rtol=1e-14)
    assert (rates[-1] < RATES).any() or arguments == {}


@pytest.mark.oracles
@pytest.mark.parametrize("arguments", PLATEAUS, ids=str)
def test_the_rates_on_a_plateau_are_torchs(arguments: dict[str, Any]) -> None:
    for losses in (LOSSES, LOSSES[::-1], [math.inf, math.nan, *LOSSES * 2]):
        _, theirs = torchs("ReduceLROnPlateau", arguments)
        ours = lr_scheduler.ReduceLROnPlateau(sgd(), **arguments)
        np.testing.assert_allclose(watch(ours, losses), watch(theirs, losses), rtol=1e-14)
        for name in ("best", "num_bad_epochs", "cooldown_counter", "last_epoch"):
            np.testing.assert_equal(getattr(ours, name), getattr(theirs, name))


def test_what_is_watched_may_be_any_one_number() -> None:
    scheduler = lr_scheduler.ReduceLROnPlateau(sgd())
    for loss in (3, np.float32(2), np.array(1.5), mg.Tensor([1.0], requires_grad=True) * 1, mg.Value(0.5) * 1):
        scheduler.step(loss)
        assert scheduler.best == float(loss.item() if hasattr(loss, "item") else loss)
    for bad in ("a lot", None, [1.0]):
        with pytest.raises(TypeError, match=r"metrics: expected one number, got .*at test_lr_scheduler.py:\d"):
            scheduler.step(bad)
    assert scheduler.last_epoch == 5


def test_a_group_may_join_a_plateau_unless_each_has_its_least_rate() -> None:
    optimizer = sgd(1.0)
    one, each = (lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=low) for low in (0.2, [0.2]))
    optimizer.add_param_group({"params": leaf(), "lr": 4.0})
    watch(one, [1.0, 1.0])
    assert rates_of(optimizer) == [0.2, 0.4]
    with pytest.raises(ValueError, match="expected 2 min_lrs, got 1, at test_lr_scheduler"):
        each.step(1.0)


# States


@pytest.mark.parametrize(
    "name", ["StepLR", "MultiStepLR", "ExponentialLR", "LinearLR", "CosineAnnealingLR", "LambdaLR"]
)
def test_a_loaded_state_continues_to_the_bit(name: str) -> None:
    """Through JSON, as checkpoints do, into a scheduler of other settings."""
    arguments, other = {
        "StepLR": ({"step_size": 3, "gamma": 0.7}, {"step_size": 9}),
        "MultiStepLR": ({"milestones": iter([8, 5]), "gamma": 0.7}, {"milestones": [1]}),
        "ExponentialLR": ({"gamma": np.float64(0.77)}, {"gamma": 0.1}),
        "LinearLR": ({"total_iters": np.int64(9)}, {}),
        "CosineAnnealingLR": ({"T_max": 5, "eta_min": 0.01}, {"T_max": 1}),
        "LambdaLR": ({"lr_lambda": fraction}, {"lr_lambda": fraction}),
    }[name]
    optimizer = sgd()
    scheduler = getattr(lr_scheduler, name)(optimizer, **arguments)
    run(optimizer, scheduler, 7)
    states = json.loads(json.dumps([optimizer.state_dict(), scheduler.state_dict()]))
    resumed = sgd(5.0, 6.0)
    again = getattr(lr_scheduler, name)(resumed, **other)
    resumed.load_state_dict(states[0])
    again.load_state_dict(states[1])
    np.testing.assert_array_equal(run(resumed, again, 9), run(optimizer, scheduler, 9))
    assert repr(again) == repr(scheduler)


def test_a_loaded_plateau_continues_to_the_bit() -> None:
    scheduler = lr_scheduler.ReduceLROnPlateau(sgd(), patience=1, factor=0.3, cooldown=1, mode="max", min_lr=[0.1, 0.0])
    watch(scheduler, LOSSES[:6])
    states = json.loads(json.dumps([scheduler.optimizer.state_dict(), scheduler.state_dict()]))
    again = lr_scheduler.ReduceLROnPlateau(sgd())
    again.optimizer.load_state_dict(states[0])
    again.load_state_dict(states[1])
    np.testing.assert_array_equal(watch(again, LOSSES[6:]), watch(scheduler, LOSSES[6:]))


def test_a_state_is_a_copy() -> None:
    scheduler = lr_scheduler.MultiStepLR(sgd(), [3])
    scheduler.state_dict()["milestones"].append(1)
    scheduler.get_last_lr().append(1)
    assert (scheduler.milestones, len(scheduler.get_last_lr())) == ([3], 2)


def test_schedulers_copy_and_pickle_with_their_optimizer() -> None:
    optimizer = sgd()
    scheduler = lr_scheduler.StepLR(optimizer, 2)
    for twins in (copy.deepcopy, lambda pair: pickle.loads(pickle.dumps(pair))):
        its_optimizer, its_scheduler = twins((optimizer, scheduler))
        assert its_scheduler.optimizer is its_optimizer
        run(its_optimizer, its_scheduler, 5)
    assert scheduler.last_epoch == 0


STATE = lr_scheduler.StepLR(sgd(), 2).state_dict()


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        (3, TypeError, "loaded scheduler state: expected a dict, got int"),
        ({}, ValueError, r"loaded scheduler state holds \[\], expected what state_dict\(\) of StepLR gives"),
        ({**STATE, "optimizer": 3}, ValueError, "loaded scheduler state holds .*'optimizer'"),
        (lr_scheduler.ExponentialLR(sgd(), 0.9).state_dict(), ValueError, "expected what state_dict.. of StepLR gives"),
        ({**STATE, "step_size": 0}, ValueError, "Invalid step_size value: 0, expected an integer >= 1"),
        ({**STATE, "gamma": "a"}, TypeError, "gamma value: expected a number, got 'a'"),
        ({**STATE, "last_epoch": 1.5}, TypeError, "last_epoch: expected an integer, got 1.5"),
        ({**STATE, "base_lrs": 3}, TypeError, "base_lrs: expected a list of numbers, got 3"),
        ({**STATE, "base_lrs": [math.nan, 1.0]}, ValueError, "Invalid learning rate: nan"),
        ({**STATE, "base_lrs": [1.0]}, ValueError, "loaded scheduler state holds 1 base_lrs, expected 2"),
    ],
)
def test_a_state_that_does_not_fit_changes_nothing(state: Any, error: type[Exception], message: str) -> None:
    scheduler = lr_scheduler.StepLR(sgd(), 2)
    with pytest.raises(error, match=message + r".*at test_lr_scheduler.py:\d"):
        scheduler.load_state_dict(state)
    assert scheduler.state_dict() == STATE


# Order, groups, schedulers of one's own, refusals


def test_a_schedule_that_would_skip_its_first_rate_warns() -> None:
    """As in torch; a step of the optimiser before, or a state that was loaded, and there is nothing to say."""
    optimizer = sgd()
    with pytest.warns(UserWarning, match="Detected call of `lr_scheduler.step") as caught:
        lr_scheduler.ExponentialLR(optimizer, 0.5).step()
    assert caught[0].filename == __file__

    state = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.step()
    state.step()
    resumed = lr_scheduler.ExponentialLR(sgd(), 0.5)
    resumed.load_state_dict(state.state_dict())
    resumed.step()

    class Stepping(nn.optim.SGD):
        def step(self, closure=None):  # of its own: whether it was called is not known
            return None

    lr_scheduler.ExponentialLR(Stepping([leaf()]), 0.5).step()


def test_groups_are_added_before() -> None:
    optimizer = sgd()
    scheduler = lr_scheduler.ExponentialLR(optimizer, 0.5)
    optimizer.add_param_group({"params": leaf()})
    optimizer.step()
    with pytest.raises(ValueError, match="the optimizer has 3 parameter groups, and had 2 when ExponentialLR was made"):
        scheduler.step()


def test_a_rate_that_is_none_changes_nothing() -> None:
    optimizer = sgd()
    scheduler = lr_scheduler.LambdaLR(optimizer, [lambda epoch: 0.5, lambda epoch: 1 - 2 * epoch])
    optimizer.step()
    before = rates_of(optimizer)
    with pytest.raises(ValueError, match=r"Invalid learning rate: -0\.1, expected a finite number >= 0, at test_lr"):
        scheduler.step()
    assert rates_of(optimizer) == before == scheduler.get_last_lr()
    assert scheduler.last_epoch == 0


class Inverse(lr_scheduler.LRScheduler):
    """Written as for torch: attributes first, then get_lr."""

    def __init__(self, optimizer, power, last_epoch=-1):
        self.power = power
        super().__init__(optimizer, last_epoch)

    def get_lr(self):
        return [lr * (1 + self.last_epoch) ** -self.power for lr in self.base_lrs]


def test_a_scheduler_of_ones_own_is_its_get_lr() -> None:
    optimizer = sgd(1.0)
    scheduler = Inverse(optimizer, 2)
    assert run(optimizer, scheduler, 3).ravel().tolist() == [1.0, 1 / 4, 1 / 9]
    again = Inverse(sgd(1.0), 7)
    again.load_state_dict(scheduler.state_dict())
    assert (again.power, again.last_epoch) == (2, 3)
    with pytest.raises(NotImplementedError, match="LRScheduler is missing the required method next_lr"):
        lr_scheduler.LRScheduler(optimizer)


BAD: list[tuple[str, tuple[Any, ...], dict[str, Any], type[Exception], str]] = [
    ("StepLR", (0,), {}, ValueError, "Invalid step_size value: 0, expected an integer >= 1"),
    ("StepLR", (2.0,), {}, TypeError, "step_size value: expected an integer, got 2.0"),
    ("StepLR", (2, -0.1), {}, ValueError, "Invalid gamma value: -0.1"),
    ("StepLR", (2,), {"last_epoch": -2}, ValueError, "Invalid last_epoch: -2, expected an integer >= -1"),
    (
        "StepLR",
        (2,),
        {"last_epoch": 3},
        ValueError,
        r"'initial_lr' is not specified in param_groups\[0\] when resuming",
    ),
    ("MultiStepLR", (3,), {}, TypeError, "milestones: expected a list of numbers, got 3"),
    ("MultiStepLR", ([0.5],), {}, TypeError, "milestone: expected an integer, got 0.5"),
    ("ExponentialLR", (math.nan,), {}, ValueError, "Invalid gamma value: nan"),
    ("CosineAnnealingLR", (0,), {}, ValueError, "Invalid T_max value: 0"),
    ("CosineAnnealingLR", (True,), {}, TypeError, "T_max value: expected an integer, got True"),
    ("CosineAnnealingLR", (3, -1.0), {}, ValueError, "Invalid eta_min value: -1.0"),
    (
        "LinearLR",
        (0,),
        {},
        ValueError,
        "Starting multiplicative factor expected to be greater than 0 and less or equal",
    ),
    ("LinearLR", (0.5, 1.5), {}, ValueError, "Ending multiplicative factor expected to be between 0 and 1, got 1.5"),
    ("LinearLR", (0.5, 1.0, 0), {}, ValueError, "Invalid total_iters value: 0"),
    ("LambdaLR", ([fraction],), {}, ValueError, "Expected 2 lr_lambdas, but got 1"),
    ("LambdaLR", (0.9,), {}, TypeError, r"lr_lambda must be called as lr_lambda\(epoch\), got 0.9"),
    ("LambdaLR", (lambda epoch: "a",), {}, TypeError, "value of lr_lambda: expected a number, got 'a'"),
    ("ReduceLROnPlateau", (), {"mode": "least"}, ValueError, "mode least is unknown! Expected min or max"),
    ("ReduceLROnPlateau", (), {"threshold_mode": 1}, ValueError, "threshold mode 1 is unknown!"),
    ("ReduceLROnPlateau", (), {"factor": 1.0}, ValueError, "Factor should be < 1.0"),
    ("ReduceLROnPlateau", (), {"factor": -0.1}, ValueError, "Factor should be < 1.0, and at least 0, got -0.1"),
    ("ReduceLROnPlateau", (), {"patience": -1}, ValueError, "Invalid patience value: -1"),
    ("ReduceLROnPlateau", (), {"cooldown": 0.5}, TypeError, "cooldown value: expected an integer"),
    ("ReduceLROnPlateau", (), {"min_lr": [0.1]}, ValueError, "expected 2 min_lrs, got 1"),
    ("ReduceLROnPlateau", (), {"min_lr": "low"}, TypeError, "min_lr value: expected a number, got 'low'"),
    ("ReduceLROnPlateau", (), {"eps": -1}, ValueError, "Invalid epsilon value: -1"),
    ("ReduceLROnPlateau", (), {"threshold": math.inf}, ValueError, "Invalid threshold value: inf"),
]


@pytest.mark.parametrize(("name", "arguments", "named", "error", "message"), BAD)
def test_refusals(name: str, arguments: Any, named: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"(?:{message}).*at test_lr_scheduler.py"):
        getattr(lr_scheduler, name)(sgd(), *arguments, **named)


@pytest.mark.parametrize("name", ["StepLR", "LambdaLR", "ReduceLROnPlateau"])
def test_an_optimizer_is_needed(name: str) -> None:
    with pytest.raises(TypeError, match=r"Linear is not an Optimizer, at test_lr_scheduler.py:\d"):
        getattr(lr_scheduler, name)(nn.Linear(1, 1, rng=0), *[fraction if name == "LambdaLR" else 2] * (name[0] != "R"))


@pytest.mark.oracles
def test_signatures_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    import inspect

    for name in {name for name, *_ in FORMULAS} | {"LRScheduler", "ReduceLROnPlateau"}:
        ours, theirs = (
            {k: p.default for k, p in inspect.signature(getattr(module, name)).parameters.items()}
            for module in (lr_scheduler, torch.optim.lr_scheduler)
        )
        assert list(ours.items()) == list(theirs.items()), name


def test_nothing_warns_in_the_usual_order() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        optimizer = nn.optim.Adam(nn.Linear(2, 1, rng=0).parameters(), lr=0.1)
        run(optimizer, lr_scheduler.CosineAnnealingLR(optimizer, 10))
