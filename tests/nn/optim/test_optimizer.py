"""What all optimisers share: groups, settings, states, steps and refusals."""

from __future__ import annotations

import itertools
import math
import re
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn

ALL = [nn.optim.SGD, nn.optim.Adam, nn.optim.AdamW, nn.optim.RMSprop, nn.optim.Adagrad]
every_optimizer = pytest.mark.parametrize("optimizer", ALL)


def leaf(data: Any = (1.0,)) -> mg.Tensor:
    return mg.Tensor(data, requires_grad=True)


# Steps


def test_all_parameters_move_at_once_and_those_without_gradient_stay() -> None:
    model = nn.MLP(3, [4, 2], rng=0)
    frozen = model.layers[2].bias
    frozen.requires_grad_(False)
    before = model.state_dict()
    loss = nn.BCEWithLogitsLoss()(model(mg.Tensor(np.eye(3))), np.ones((3, 2)))
    loss.backward()
    gradients = {name: p.grad for name, p in model.named_parameters()}
    nn.optim.SGD(model.parameters(), lr=0.5).step()
    for name, after in model.state_dict().items():
        expected = before[name] - 0.5 * gradients[name] if gradients[name] is not None else before[name]
        np.testing.assert_array_equal(after, expected)
    assert gradients["layers.2.bias"] is None


@every_optimizer
def test_a_parameter_without_gradient_is_not_decayed_and_counts_no_step(optimizer) -> None:
    v, w = leaf(), leaf()
    made = optimizer([v, w], lr=0.1, weight_decay=0.5)
    v.grad = np.ones(1)
    made.step()
    assert w.tolist() == [1.0]
    assert 1 not in made.state_dict()["state"]


@pytest.mark.parametrize(
    ("optimizer", "settings"),
    [(o, {}) for o in ALL] + [(o, {"momentum": 0.9}) for o in (nn.optim.SGD, nn.optim.RMSprop)],
)
def test_arrays_that_were_handed_out_stay_as_they_are(optimizer, settings: dict[str, Any]) -> None:
    """A step gives a parameter a new array: views in graphs and in users' hands keep the old numbers."""
    v = leaf([1.0, 2.0])
    made = optimizer([v], lr=0.1, **settings)
    v.grad = np.array([1.0, -1.0])
    for _ in range(3):  # along the same gradient, which is nobody's buffer
        before = v.data
        kept = before.copy()
        made.step()
        assert np.array_equal(before, kept)
        assert v._data is not before
        assert v.grad.tolist() == [1.0, -1.0]
        assert not any(np.shares_memory(v._data, array) for array in made.state[v].values() if np.ndim(array))


def test_a_step_makes_the_old_graph_stale() -> None:
    v = leaf()
    loss = mg.sum(v * v)
    loss.backward()
    nn.optim.SGD([v], lr=0.1).step()
    with pytest.raises(mg.StaleError):
        loss.backward()


@every_optimizer
def test_a_gradient_that_has_a_graph_is_stepped_along(optimizer) -> None:
    """After backward(create_graph=True), as for a gradient penalty, a gradient is a node; the step takes its array."""
    v, w = leaf([1.0, 2.0]), leaf([1.0, 2.0])
    for parameter, create_graph in ((v, True), (w, False)):
        mg.sum(parameter**3).backward(create_graph=create_graph)
        optimizer([parameter], lr=0.1, weight_decay=0.1, maximize=True).step()
        assert type(parameter._data) is np.ndarray
    assert v.tolist() == w.tolist()
    v.grad = None  # the circle that create_graph made


def test_a_closure_is_called_with_gradients_enabled_and_gives_the_loss() -> None:
    v = leaf([3.0])
    optimizer = nn.optim.SGD([v], lr=0.25)

    def closure() -> mg.Tensor:
        optimizer.zero_grad()
        loss = mg.sum(v * v)
        loss.backward()
        return loss

    with mg.no_grad():
        loss = optimizer.step(closure)
    assert (loss.item(), v.tolist()) == (9.0, [1.5])
    assert optimizer.step() is None


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(to_none: bool) -> None:
    v = leaf()
    mg.sum(v).backward()
    nn.optim.SGD([v]).zero_grad(*[] if to_none else [False])  # None is the default
    assert v.grad is None if to_none else v.grad.tolist() == [0.0]


@every_optimizer
def test_a_rate_of_0_stands_still(optimizer) -> None:
    """Schedulers reach it, and save it."""
    v = leaf([1.0, 2.0])
    made = optimizer([v], lr=0, weight_decay=0.1)
    v.grad = np.ones(2)
    made.step()
    assert v.tolist() == [1.0, 2.0]
    other = optimizer([leaf()], lr=0.5)
    other.load_state_dict({**made.state_dict(), "state": {}})
    assert other.param_groups[0]["lr"] == 0


def test_descent_converges_below_2_over_lambda_and_diverges_above() -> None:
    """On lambda/2 v^2 the factor of each step is 1 - lr lambda (overshooting, not over-fitting)."""
    curvature = 4.0
    for lr, converges in ((0.49, True), (0.51, False)):
        v = leaf()
        optimizer = nn.optim.SGD([v], lr=lr)
        for _ in range(200):
            optimizer.zero_grad()
            mg.sum(curvature / 2 * v * v).backward()
            optimizer.step()
        assert (abs(v.item()) < 1.0) is converges


@every_optimizer
@pytest.mark.parametrize("kind", [np.float64, np.float32, np.int64])
def test_settings_of_numpys_kinds_are_numbers_like_others(optimizer, kind: type) -> None:
    """np.logspace gives rates of float64, which would make float64 parameters of float32 ones."""
    ends = []
    for lr in (kind(1), 1.0):
        v = leaf(np.array([1.0, 2.0], np.float32))
        made = optimizer([v], lr=0.5)
        made.param_groups[0]["lr"] = lr  # as schedulers of one's own do
        for _ in range(3):
            v.grad = np.array([0.3, -0.7], np.float32)
            made.step()
        assert v.dtype == np.float32
        ends.append(v.tolist())
    assert ends[0] == ends[1]


# Groups


def test_groups_have_their_own_settings_and_may_be_changed() -> None:
    a, b = leaf(), leaf()
    optimizer = nn.optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    mg.sum(a + b).backward()
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([0.9], [0.5])
    optimizer.param_groups[0]["lr"] = 0.4
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([0.5], [0.0])
    assert repr(optimizer).startswith("SGD(lr=0.4, momentum=0")


@every_optimizer
def test_a_group_may_come_later(optimizer) -> None:
    """It has the defaults for what it does not say, keeps what else it says, and its dict is left alone."""
    a, b = leaf(), leaf()
    made = optimizer([a], lr=0.1)
    given = {"params": (p for p in [b]), "weight_decay": 0.5, "part": "head"}
    made.add_param_group(given)
    group = made.param_groups[1]
    assert (group["lr"], group["weight_decay"], group["part"]) == (0.1, 0.5, "head")
    assert group["params"] == [b]
    assert "lr" not in given
    for refused, error in (({"params": [a]}, ValueError), ({"params": [leaf()], "lr": -1}, ValueError), (3, TypeError)):
        with pytest.raises(error):
            made.add_param_group(refused)
    assert len(made.param_groups) == 2


def test_a_generator_is_accepted() -> None:
    model = nn.Linear(2, 1, rng=0)
    assert len(nn.optim.Adam(p for p in model.parameters()).param_groups[0]["params"]) == 2


def test_names_are_kept_beside_the_parameters() -> None:
    """model.named_parameters(), as in torch since 2.6; in groups too; a loaded state without names leaves them."""
    model = nn.Linear(2, 1, rng=0)
    optimizer = nn.optim.SGD(model.named_parameters(), lr=0.1)
    assert optimizer.param_groups[0]["params"] == [model.weight, model.bias]
    assert optimizer.state_dict()["param_groups"][0]["param_names"] == ["weight", "bias"]
    assert "names" not in repr(optimizer)
    optimizer.add_param_group({"params": [("extra", leaf())]})
    assert optimizer.param_groups[1]["param_names"] == ["extra"]
    nameless = nn.optim.SGD([{"params": list(model.parameters())}, {"params": [leaf()]}], lr=0.2)
    optimizer.load_state_dict(nameless.state_dict())
    assert optimizer.param_groups[1]["param_names"] == ["extra"]
    assert optimizer.param_groups[1]["lr"] == 0.2
    with pytest.raises(ValueError, match="all optimizer param groups should be with/without names"):
        optimizer.add_param_group({"params": [leaf()]})
    with pytest.raises(ValueError, match="Some param names are missing"):
        nn.optim.SGD([("w", leaf()), leaf()])


# Optimisers of one's own


class Own(nn.optim.Optimizer):
    """Whatever it is told."""

    def __init__(self, params, lr=0.5, move=lambda v, g: v - g) -> None:
        super().__init__(params, {"lr": lr, "move": move})

    def update(self, v, g, state, settings):
        state["seen"] = state.get("seen", 0) + 1
        return settings["move"](v, g)


def test_an_optimizer_of_ones_own_is_its_update() -> None:
    v = leaf(np.array([1.0, 2.0], np.float32))
    own = Own([v], move=lambda v, g: v.astype(float) - 2 * g)
    for _ in range(2):
        v.grad = np.ones(2)
        own.step()
    assert (v.tolist(), v.dtype, own.state[v]) == ([-3.0, -2.0], np.float32, {"seen": 2})
    again = Own([v])
    again.load_state_dict(own.state_dict())
    assert again.state[v] == {"seen": 2}
    own.param_groups[0]["move"] = lambda v, g: np.sum(v)
    with pytest.raises(ValueError, match=r"Own.update gave an array of shape \(\) for a parameter of shape \(2,\)"):
        own.step()
    bare = nn.optim.Optimizer([v], {"lr": 0.1})
    with pytest.raises(NotImplementedError, match="Optimizer is missing the required method update"):
        bare.step()


# Refusals

BAD = [
    (lambda o: o([]), ValueError, "optimizer got an empty parameter list.*test_optimizer.py"),
    (lambda o: o(iter(())), ValueError, "optimizer got an empty parameter list"),
    (lambda o: o([{"params": []}]), ValueError, "optimizer got an empty parameter list"),
    (lambda o: o(leaf()), TypeError, "should be an iterable of Tensors or dicts, but got Tensor"),
    (lambda o: o({"params": [leaf()]}), TypeError, "should be an iterable of Tensors or dicts, but got dict"),
    (lambda o: o(3), TypeError, "should be an iterable of Tensors or dicts, but got int"),
    (lambda o: o(["w"]), TypeError, "can only optimize Tensors, but one of the params is str"),
    (lambda o: o([(1, leaf())]), TypeError, "one of the params is tuple"),
    (lambda o: o([leaf() * 2]), ValueError, "can't optimize a non-leaf Tensor"),
    (lambda o: o([leaf()] * 2), ValueError, "some parameters appear more than once"),
    (lambda o: o([{"params": [leaf()]}, leaf()]), TypeError, "param_group must be a dict, but got Tensor"),
    (lambda o: o([{"params": {leaf(), leaf()}}]), TypeError, "the ordering of tensors in sets will change"),
    *[(lambda o, lr=lr: o([leaf()], lr=lr), ValueError, f"Invalid learning rate: {lr}, expected a finite number >= 0")
      for lr in (-0.1, math.nan, math.inf, 10**400)],
    *[(lambda o, lr=lr: o([leaf()], lr=lr), TypeError, f"learning rate: expected a number, got {re.escape(repr(lr))}")
      for lr in (None, "a", True, 1j)],
    (lambda o: o([{"lr": 1}]), ValueError, "param_group holds 'lr', expected \"params\" among them.*test_optimizer.py"),
    (lambda o: o([{}]), ValueError, "param_group holds nothing, expected"),
    (lambda o: o([{"params": 3}]), TypeError, "params of a param_group: expected Tensors, got int.*test_optimizer.py"),
    (lambda o: o([{"params": "w"}]), TypeError, "params of a param_group: expected Tensors, got str"),
    (lambda o: o([leaf()], weight_decay=-1.0), ValueError, "Invalid weight_decay value: -1.0"),
    (lambda o: o([leaf()], maximize=1), TypeError, "maximize: expected True or False, got 1"),
    (lambda o: o([{"params": leaf(), "lr": -1}]), ValueError, "Invalid learning rate: -1"),
]  # fmt: skip


@every_optimizer
@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_refusals(optimizer, make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(optimizer)


BETAS = r"betas: expected two numbers, as in \(0.9, 0.999\), got"
SETTINGS = [
    ("SGD", {"momentum": -0.1}, ValueError, "Invalid momentum value: -0.1"),
    ("SGD", {"nesterov": True}, ValueError, "Nesterov momentum requires a momentum and zero dampening"),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "nesterov": True}, ValueError, "Nesterov momentum requires"),
    ("SGD", {"dampening": "a"}, TypeError, "dampening: expected a number, got 'a'"),
    ("SGD", {"dampening": -math.inf}, ValueError, "Invalid dampening: -inf, expected a finite number,"),
    ("Adam", {"betas": (0.9, 1.0)}, ValueError, r"Invalid beta parameter at index 1: 1.0, expected \[0, 1\)"),
    ("Adam", {"betas": (-0.1, 0.9)}, ValueError, "Invalid beta parameter at index 0: -0.1"),
    ("Adam", {"betas": 0.9}, TypeError, f"{BETAS} 0.9"),
    ("Adam", {"betas": (0.9,)}, TypeError, rf"{BETAS} \(0.9,\)"),
    ("Adam", {"betas": ("a", 0.9)}, TypeError, "beta parameter at index 0: expected a number, got 'a'"),
    ("Adam", {"eps": -1e-8}, ValueError, "Invalid epsilon value: -1e-08"),
    ("Adam", {"amsgrad": 0.01}, TypeError, "amsgrad: expected True or False, got 0.01"),
    ("AdamW", {"eps": math.nan}, ValueError, "Invalid epsilon value: nan"),
    ("RMSprop", {"alpha": 1.0}, ValueError, r"Invalid alpha value: 1.0, expected \[0, 1\)"),
    ("RMSprop", {"momentum": -1}, ValueError, "Invalid momentum value: -1"),
    ("RMSprop", {"centered": "no"}, TypeError, "centered: expected True or False, got 'no'"),
    ("Adagrad", {"lr_decay": -1}, ValueError, "Invalid lr_decay value: -1"),
    ("Adagrad", {"initial_accumulator_value": -1}, ValueError, "Invalid initial_accumulator_value value: -1"),
]


@pytest.mark.parametrize(("name", "settings", "error", "message"), SETTINGS)
def test_settings_are_checked_before_the_first_step(name, settings, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message + ".*at test_optimizer.py"):
        getattr(nn.optim, name)([leaf()], **settings)


@every_optimizer
def test_a_setting_that_became_bad_is_refused_before_anything_moves(optimizer) -> None:
    a, b = leaf(), leaf()
    made = optimizer([{"params": a}, {"params": b}], lr=0.1)
    mg.sum(a + b).backward()
    made.param_groups[1]["lr"] = math.nan
    with pytest.raises(ValueError, match=r"Invalid learning rate: nan, .*at test_optimizer.py"):
        made.step()
    assert a.tolist() == b.tolist() == [1.0]
    assert made.state_dict()["state"] == {}


# States


def stepped(optimizer=nn.optim.Adam, **settings: Any) -> tuple[mg.Tensor, nn.optim.Optimizer]:
    v = leaf(np.arange(6.0).reshape(2, 3))
    made = optimizer([v], **{"lr": 0.1, **settings})
    for scale in (1.0, 2.0):
        v.grad = scale * np.ones((2, 3))
        made.step()
    return v, made


GROUP = nn.optim.Adam([leaf()]).state_dict()["param_groups"][0]
MOMENTS = {"step": 1, "exp_avg": np.zeros(1), "exp_avg_sq": np.zeros(1)}


def without(entries: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: value for name, value in entries.items() if name not in names}


def given(state: Any = (), groups: Any = (GROUP,)) -> dict[str, Any]:
    return {"state": dict(state) if state == () else state, "param_groups": list(groups)}


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({}, ValueError, "loaded state dict lacks 'param_groups', 'state', expected what state_dict"),
        ({"state": {}}, ValueError, "loaded state dict lacks 'param_groups'"),
        (None, TypeError, "loaded state dict: expected a dict, got NoneType"),
        ({"state": {}, "param_groups": 3}, TypeError, "loaded param_groups: expected a list, got int"),
        (given(groups=[3]), TypeError, "loaded parameter group: expected a dict, got int"),
        (given(groups=[without(GROUP, "lr")]), ValueError, "loaded parameter group lacks 'lr'"),
        (given(groups=[{**GROUP, "params": 0}]), ValueError, "doesn't match the size of optimizer's group"),
        (given(groups=nn.optim.SGD([leaf()]).state_dict()["param_groups"]), ValueError, "lacks 'amsgrad', 'betas'"),
        (given([1]), TypeError, "loaded state: expected a dict, got list"),
        (given({0: 3}), TypeError, "loaded state of parameter 0: expected a dict"),
        (given({"0": MOMENTS}), ValueError, "holds state of parameter '0', expected 0 to 0"),
        (given({0: without(MOMENTS, "exp_avg")}), ValueError, "loaded state of parameter 0 lacks 'exp_avg'"),
        (given({0: {**MOMENTS, "step": -1}}), ValueError, "Invalid step of loaded state of parameter 0: -1"),
        (given({0: {**MOMENTS, "step": 1.5}}), TypeError, "step of loaded state of parameter 0: expected an integer"),
        (given({0: {**MOMENTS, "exp_avg": "x"}}), TypeError, "exp_avg of .* 0: expected an array of numbers, got 'x'"),
        (given({0: {**MOMENTS, "exp_avg": np.array(["x"])}}), TypeError, "exp_avg of .*expected an array of numbers"),
    ],
)
def test_a_state_without_its_parts_is_refused(state, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message + r".*, at test_optimizer.py:\d"):
        nn.optim.Adam([leaf()]).load_state_dict(state)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    v, optimizer = stepped()
    good, before = optimizer.state_dict(), optimizer.state_dict()
    bad_shape = {**good, "state": {0: {"step": 1, "exp_avg": np.zeros(5), "exp_avg_sq": np.zeros(5)}}}
    one_more = {**good, "param_groups": [{**good["param_groups"][0], "params": [0, 1]}]}
    unknown = {**good, "state": {7: good["state"][0]}}
    bad_lr = {**good, "param_groups": [{**good["param_groups"][0], "lr": -1.0}]}
    for state, message in (
        (bad_shape, r"exp_avg of shape \(5,\) for parameter 0, expected \(2, 3\)"),
        ({**good, "param_groups": good["param_groups"] * 2}, "different number of parameter groups"),
        (one_more, "doesn't match the size of optimizer's group"),
        (unknown, "holds state of parameter 7, expected 0 to 0"),
        (bad_lr, "Invalid learning rate: -1.0"),
    ):
        with pytest.raises(ValueError, match=message):
            optimizer.load_state_dict(state)
        after = optimizer.state_dict()
        assert after["param_groups"] == before["param_groups"]
        assert all((after["state"][0][k] == before["state"][0][k]).all() for k in ("exp_avg", "exp_avg_sq"))
    for remembered, kept in itertools.product(optimizer.state[v].values(), good["state"][0].values()):
        assert not (isinstance(kept, np.ndarray) and np.shares_memory(remembered, kept))


def test_a_state_is_a_copy_of_what_is_remembered() -> None:
    """Nothing stands for a parameter of which nothing is."""
    v, optimizer = stepped()
    optimizer.state_dict()["state"][0]["exp_avg"][...] = 7
    assert (optimizer.state[v]["exp_avg"] != 7).all()
    assert stepped(nn.optim.SGD)[1].state_dict()["state"] == {}


def test_a_loaded_state_is_copied_cast_and_taken_over_by_the_groups_that_are_there() -> None:
    """A float64 state in a float32 model; entries such as "initial_lr" come and go with what is loaded, as in torch."""
    _, optimizer = stepped(betas=[0.9, 0.999])
    state = optimizer.state_dict()
    w = leaf(np.zeros((2, 3), np.float32))
    other = nn.optim.Adam([{"params": [w], "initial_lr": 3.0}], lr=0.5)
    held = other.param_groups[0]
    other.load_state_dict(state)
    assert held is other.param_groups[0]
    assert (held["lr"], "initial_lr" in held, held["params"]) == (0.1, False, [w])
    assert other.state[w]["exp_avg"].dtype == np.float32
    state["state"][0]["exp_avg"][...] = 7
    state["param_groups"][0]["betas"].clear()
    assert (other.state[w]["exp_avg"] != 7).all()
    w.grad = np.ones((2, 3))
    other.step()
    assert other.state[w]["step"] == 3


@pytest.mark.parametrize(
    ("optimizer", "option", "name"),
    [
        (nn.optim.SGD, {"momentum": 0.9}, "momentum_buffer"),
        (nn.optim.Adam, {"amsgrad": True}, "max_exp_avg_sq"),
        (nn.optim.RMSprop, {"centered": True}, "grad_avg"),
        (nn.optim.RMSprop, {"momentum": 0.5}, "momentum_buffer"),
    ],
)
def test_an_option_may_be_turned_on_between_steps(optimizer, option: dict[str, Any], name: str) -> None:
    """What it needs to remember begins then."""
    v, made = stepped(optimizer)
    assert name not in made.state[v]
    made.param_groups[0].update(option)
    made.step()
    assert made.state[v][name].shape == v.shape
