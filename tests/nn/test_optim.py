"""Optimisers are their recurrences, written out here once more, and torch's."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

import microgrid as mg
import nn

STEPS = 6
GRADIENTS = np.random.default_rng(0).normal(size=(STEPS, 2, 3))
START = np.random.default_rng(1).normal(size=(2, 3))


def sgd(v, gradients, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    """Polyak 1964, Nesterov in the form of Sutskever et al. 2013, number by number."""
    v, u = v.copy(), np.zeros_like(v)
    for t, gradient in enumerate(gradients):
        for i in np.ndindex(v.shape):
            g = (-1 if maximize else 1) * gradient[i] + weight_decay * v[i]
            u[i] = g if t == 0 else momentum * u[i] + (1 - dampening) * g
            v[i] = v[i] - lr * (g + momentum * u[i] if nesterov else u[i] if momentum else g)
    return v


def adam(v, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False):
    """Kingma and Ba 2015, algorithm 1, number by number."""
    v = v.copy()
    for i in np.ndindex(v.shape):
        r = s = largest = 0.0
        for t, gradient in enumerate(gradients, start=1):
            g = (-1 if maximize else 1) * gradient[i] + weight_decay * v[i]
            r = betas[0] * r + (1 - betas[0]) * g
            s = betas[1] * s + (1 - betas[1]) * g * g
            largest = max(largest, s)
            r_hat, s_hat = r / (1 - betas[0] ** t), (largest if amsgrad else s) / (1 - betas[1] ** t)
            v[i] -= lr * r_hat / (math.sqrt(s_hat) + eps)
    return v


SETTINGS = [
    (nn.optim.SGD, sgd, {}),
    (nn.optim.SGD, sgd, {"lr": 0.1}),
    (nn.optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9}),
    (nn.optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "dampening": 0.5}),
    (nn.optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "nesterov": True}),
    (nn.optim.SGD, sgd, {"lr": 0.1, "weight_decay": 0.2}),
    (nn.optim.SGD, sgd, {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.2, "maximize": True}),
    (nn.optim.Adam, adam, {}),
    (nn.optim.Adam, adam, {"lr": 0.1, "betas": (0.7, 0.9), "eps": 1e-3}),
    (nn.optim.Adam, adam, {"lr": 0.1, "betas": (0.0, 0.0), "weight_decay": 0.2}),
    (nn.optim.Adam, adam, {"lr": 0.1, "betas": (0.5, 0.2), "amsgrad": True}),
    (nn.optim.Adam, adam, {"lr": 0.1, "maximize": True}),
]


def names(setting: object) -> str:
    return str(setting) if isinstance(setting, dict) else getattr(setting, "__name__", "")


def driven(make, steps=STEPS, dtype=np.float64, between=None):
    """The parameter after the fixed sequence of gradients."""
    v = mg.Tensor(START.astype(dtype), requires_grad=True)
    optimizer = make([v])
    for gradient in GRADIENTS[:steps]:
        optimizer.zero_grad()
        mg.sum(v * gradient.astype(dtype)).backward()
        optimizer.step()
    return v, optimizer


@pytest.mark.parametrize(("optimizer", "recurrence", "settings"), SETTINGS, ids=names)
def test_steps_are_the_recurrence(optimizer, recurrence, settings) -> None:
    v, _ = driven(lambda params: optimizer(params, **settings))
    np.testing.assert_allclose(v.detach().numpy(), recurrence(START, GRADIENTS, **settings), rtol=1e-13)


@pytest.mark.oracles
@pytest.mark.parametrize(("optimizer", "recurrence", "settings"), SETTINGS, ids=names)
def test_steps_are_torchs(optimizer, recurrence, settings) -> None:
    torch = pytest.importorskip("torch")
    v, _ = driven(lambda params: optimizer(params, **settings))
    twin = torch.tensor(START, requires_grad=True)
    theirs = getattr(torch.optim, optimizer.__name__)([twin], **settings)
    for gradient in GRADIENTS:
        twin.grad = torch.tensor(gradient)
        theirs.step()
    np.testing.assert_allclose(v.detach().numpy(), twin.detach().numpy(), rtol=1e-12)


@pytest.mark.parametrize(("optimizer", "recurrence", "settings"), SETTINGS, ids=names)
def test_a_step_leaves_the_gradient_alone_and_keeps_float32(optimizer, recurrence, settings) -> None:
    v, _ = driven(lambda params: optimizer(params, **settings), dtype=np.float32)
    assert v.dtype == np.float32
    np.testing.assert_array_equal(v.grad, GRADIENTS[-1].astype(np.float32))
    np.testing.assert_allclose(v.detach().numpy(), recurrence(START, GRADIENTS, **settings), rtol=2e-4)


@pytest.mark.parametrize(("optimizer", "recurrence", "settings"), SETTINGS, ids=names)
def test_state_carries_over(optimizer, recurrence, settings) -> None:
    """Three steps, a copy of state and weights, three more: the same as six."""
    v, first = driven(lambda params: optimizer(params, **settings), steps=3)
    w = mg.Tensor(v.detach().numpy(), requires_grad=True)
    second = optimizer([w], lr=123.0)
    second.load_state_dict(first.state_dict())
    for gradient in GRADIENTS[3:]:
        second.zero_grad()
        mg.sum(w * gradient).backward()
        second.step()
        first.zero_grad()  # the first is not the second's: its buffers are copies
    np.testing.assert_allclose(w.detach().numpy(), recurrence(START, GRADIENTS, **settings), rtol=1e-13)


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


def test_a_step_makes_the_old_graph_stale() -> None:
    v = mg.Tensor([1.0], requires_grad=True)
    loss = mg.sum(v * v)
    loss.backward()
    nn.optim.SGD([v], lr=0.1).step()
    with pytest.raises(mg.StaleError):
        loss.backward()


def test_groups_have_their_own_settings_and_may_be_changed() -> None:
    a, b = (mg.Tensor([1.0], requires_grad=True) for _ in "ab")
    optimizer = nn.optim.SGD([{"params": [a]}, {"params": b, "lr": 0.5}], lr=0.1)
    mg.sum(a + b).backward()
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([0.9], [0.5])
    optimizer.param_groups[0]["lr"] = 0.4
    optimizer.step()
    assert (a.tolist(), b.tolist()) == ([0.5], [0.0])
    assert repr(optimizer).startswith("SGD(lr=0.4, momentum=0")


@pytest.mark.parametrize("to_none", [True, False])
def test_zero_grad(to_none: bool) -> None:
    v = mg.Tensor([1.0], requires_grad=True)
    mg.sum(v).backward()
    nn.optim.SGD([v]).zero_grad(*[] if to_none else [False])  # None is the default
    assert v.grad is None if to_none else v.grad.tolist() == [0.0]


def test_a_generator_is_accepted() -> None:
    model = nn.Linear(2, 1, rng=0)
    assert len(nn.optim.Adam(p for p in model.parameters()).param_groups[0]["params"]) == 2


def test_descent_converges_below_2_over_lambda_and_diverges_above() -> None:
    """On lambda/2 v^2 the factor of each step is 1 - lr lambda (overshooting, not over-fitting)."""
    curvature = 4.0
    for lr, converges in ((0.49, True), (0.51, False)):
        v = mg.Tensor([1.0], requires_grad=True)
        optimizer = nn.optim.SGD([v], lr=lr)
        for _ in range(200):
            optimizer.zero_grad()
            mg.sum(curvature / 2 * v * v).backward()
            optimizer.step()
        assert (abs(v.item()) < 1.0) is converges


def leaf() -> mg.Tensor:
    return mg.Tensor([1.0], requires_grad=True)


BAD = [
    (lambda o: o([]), ValueError, "optimizer got an empty parameter list.*test_optim.py"),
    (lambda o: o(iter(())), ValueError, "optimizer got an empty parameter list"),
    (lambda o: o([{"params": []}]), ValueError, "optimizer got an empty parameter list"),
    (lambda o: o(leaf()), TypeError, "should be an iterable of Tensors or dicts, but got Tensor"),
    (lambda o: o(3), TypeError, "should be an iterable of Tensors or dicts, but got int"),
    (lambda o: o(["w"]), TypeError, "can only optimize Tensors, but one of the params is str"),
    (lambda o: o(nn.Linear(1, 1, rng=0).named_parameters()), TypeError, "one of the params is tuple"),
    (lambda o: o([leaf() * 2]), ValueError, "can't optimize a non-leaf Tensor"),
    (lambda o: o([leaf()] * 2), ValueError, "some parameters appear more than once"),
    (lambda o: o([{"params": [leaf()]}, leaf()]), TypeError, "param_group must be a dict, but got Tensor"),
    *[(lambda o, lr=lr: o([leaf()], lr=lr), ValueError, f"Invalid learning rate: {lr}")
      for lr in (-0.1, math.nan, math.inf)],
    *[(lambda o, lr=lr: o([leaf()], lr=lr), TypeError, f"learning rate: expected a number, got {lr!r}")
      for lr in (None, "a", True)],
    (lambda o: o([{"lr": 1}]), ValueError, r"param_group holds 'lr', expected \"params\" among them.*test_optim.py"),
    (lambda o: o([{}]), ValueError, "param_group holds nothing, expected"),
    (lambda o: o([{"params": 3}]), TypeError, "params of a param_group: expected Tensors, got int.*test_optim.py"),
    (lambda o: o([leaf()], weight_decay=-1.0), ValueError, "Invalid weight_decay value: -1.0"),
]  # fmt: skip


@pytest.mark.parametrize("optimizer", [nn.optim.SGD, nn.optim.Adam])
@pytest.mark.parametrize(("make", "error", "message"), BAD)
def test_refusals(optimizer, make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make(optimizer)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.optim.SGD([leaf()], momentum=-0.1), "Invalid momentum value"),
        (lambda: nn.optim.SGD([leaf()], nesterov=True), "Nesterov momentum requires a momentum and zero dampening"),
        (lambda: nn.optim.SGD([leaf()], momentum=0.9, dampening=0.1, nesterov=True), "Nesterov momentum requires"),
        (
            lambda: nn.optim.Adam([leaf()], betas=(0.9, 1.0)),
            r"Invalid beta parameter at index 1: 1.0, expected \[0, 1\)",
        ),
        (lambda: nn.optim.Adam([leaf()], eps=-1e-8), "Invalid epsilon value"),
    ],
)
def test_settings_of_one_kind_are_checked(make, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: nn.optim.Adam([leaf()], betas=0.9), r"betas: expected two numbers, as in \(0.9, 0.999\), got 0.9"),
        (lambda: nn.optim.Adam([leaf()], betas=(0.9,)), r"betas: expected two numbers, .* got \(0.9,\)"),
        (lambda: nn.optim.Adam([leaf()], betas=("a", 0.9)), "beta parameter at index 0: expected a number, got 'a'"),
        (lambda: nn.optim.SGD([leaf()], dampening="a"), "dampening: expected a number, got 'a'"),
    ],
)
def test_settings_of_another_type_are_named(make, message: str) -> None:
    with pytest.raises(TypeError, match=message + ", at test_optim.py"):
        make()


@pytest.mark.parametrize("optimizer", [nn.optim.SGD, nn.optim.Adam])
def test_a_rate_of_0_stands_still(optimizer) -> None:
    """Schedulers reach it, and save it."""
    v, made = driven(lambda params: optimizer(params, lr=0))
    np.testing.assert_array_equal(v.detach().numpy(), START)
    other = optimizer([leaf()], lr=0.5)
    state = made.state_dict()
    other.load_state_dict({**state, "state": {}})
    assert other.param_groups[0]["lr"] == 0
    for lr in (-0.1, math.nan):
        with pytest.raises(ValueError, match=f"Invalid learning rate: {lr}, expected a finite number >= 0"):
            other.load_state_dict({"state": {}, "param_groups": [{**state["param_groups"][0], "lr": lr}]})


GROUP = nn.optim.SGD([leaf()]).state_dict()["param_groups"][0]


@pytest.mark.parametrize(
    ("state", "error", "message"),
    [
        ({}, ValueError, "loaded state dict lacks 'param_groups', 'state', expected what state_dict"),
        ({"state": {}}, ValueError, "loaded state dict lacks 'param_groups'"),
        (None, TypeError, "loaded state dict: expected a dict, got NoneType"),
        ({"state": {}, "param_groups": [3]}, TypeError, "loaded parameter group: expected a dict, got int"),
        (
            {"state": {}, "param_groups": [{**{k: v for k, v in GROUP.items() if k != "lr"}}]},
            ValueError,
            "loaded parameter group lacks 'lr'",
        ),
        ({"state": {0: 3}, "param_groups": [GROUP]}, TypeError, "loaded state of parameter 0: expected a dict"),
    ],
)
def test_a_state_without_its_parts_is_refused(state, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message + r".*, at test_optim.py:\d"):
        nn.optim.SGD([leaf()]).load_state_dict(state)


def test_a_state_that_does_not_fit_changes_nothing() -> None:
    v, optimizer = driven(lambda params: nn.optim.Adam(params, lr=0.1))
    good = optimizer.state_dict()
    before = optimizer.state_dict()
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
