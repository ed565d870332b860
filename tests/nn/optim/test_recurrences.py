"""Each optimiser is its recurrence, written out here once more in Python's own floats, and torch's."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn

STEPS = 25
SHAPES = [(2, 3), (), (1,)]
RNG = np.random.default_rng(0)
STARTS = [RNG.normal(size=shape) for shape in SHAPES]
GRADIENTS = [[RNG.normal(size=shape) for shape in SHAPES] for _ in range(STEPS)]


# One entry v of a parameter, and the gradients that come one after the other


def sgd(v, gradients, lr=1e-3, momentum=0.0, dampening=0.0, weight_decay=0.0, nesterov=False, maximize=False):
    """Polyak 1964, Nesterov in the form of Sutskever et al. 2013."""
    u = 0.0
    for t, gradient in enumerate(gradients):
        g = (-1 if maximize else 1) * gradient + weight_decay * v
        u = g if t == 0 else momentum * u + (1 - dampening) * g
        v = v - lr * (g + momentum * u if nesterov else u if momentum else g)
    return v


def adam(v, gradients, lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, amsgrad=False, maximize=False,
         decoupled_weight_decay=False):  # fmt: skip
    """Kingma and Ba 2015, algorithm 1; Loshchilov and Hutter 2019, algorithm 2, with both decays."""
    r = s = largest = 0.0
    for t, gradient in enumerate(gradients, start=1):
        g = -gradient if maximize else gradient
        if decoupled_weight_decay:
            v = v - lr * weight_decay * v
        else:
            g = g + weight_decay * v
        r = betas[0] * r + (1 - betas[0]) * g
        s = betas[1] * s + (1 - betas[1]) * g**2
        largest = max(largest, s)
        r_hat, s_hat = r / (1 - betas[0] ** t), (largest if amsgrad else s) / (1 - betas[1] ** t)
        v = v - lr * r_hat / (math.sqrt(s_hat) + eps)
    return v


def adamw(v, gradients, weight_decay=1e-2, **settings):
    return adam(v, gradients, weight_decay=weight_decay, decoupled_weight_decay=True, **settings)


def rmsprop(v, gradients, lr=1e-2, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0, centered=False,
            maximize=False):  # fmt: skip
    """Tieleman and Hinton 2012, lecture 6e; Graves 2013, equations 38 to 41."""
    s = r = u = 0.0
    for gradient in gradients:
        g = (-1 if maximize else 1) * gradient + weight_decay * v
        s = alpha * s + (1 - alpha) * g**2
        r = alpha * r + (1 - alpha) * g
        u = momentum * u + g / (math.sqrt(s - r**2 if centered else s) + eps)
        v = v - lr * u
    return v


def adagrad(v, gradients, lr=1e-2, lr_decay=0.0, weight_decay=0.0, initial_accumulator_value=0.0, eps=1e-10,
            maximize=False):  # fmt: skip
    """Duchi, Hazan and Singer 2011."""
    s = initial_accumulator_value
    for t, gradient in enumerate(gradients):
        g = (-1 if maximize else 1) * gradient + weight_decay * v
        s = s + g**2
        v = v - lr / (1 + t * lr_decay) * g / (math.sqrt(s) + eps)
    return v


RECURRENCES = {"SGD": sgd, "Adam": adam, "AdamW": adamw, "RMSprop": rmsprop, "Adagrad": adagrad}
OPTIONS: dict[str, dict[str, list[Any]]] = {
    "SGD": {
        "lr": [0.1],
        "momentum": [0.0, 0.9],
        "dampening": [0.0, 0.5],
        "weight_decay": [0.0, 0.2],
        "nesterov": [False, True],
        "maximize": [False, True],
    },
    "Adam": {
        "lr": [0.1],
        "betas": [(0.9, 0.999), (0.5, 0.2), (0.0, 0.0)],
        "eps": [1e-3],
        "weight_decay": [0.0, 0.2],
        "amsgrad": [False, True],
        "maximize": [False, True],
        "decoupled_weight_decay": [False, True],
    },
    "AdamW": {
        "lr": [0.1],
        "betas": [(0.7, 0.9)],
        "weight_decay": [0.0, 0.2],
        "amsgrad": [False, True],
        "maximize": [False, True],
    },
    "RMSprop": {
        "lr": [0.05],
        "alpha": [0.5, 0.9],
        "eps": [1e-3],
        "weight_decay": [0.0, 0.2],
        "momentum": [0.0, 0.7],
        "centered": [False, True],
        "maximize": [False, True],
    },
    "Adagrad": {
        "lr": [0.1],
        "lr_decay": [0.0, 0.3],
        "weight_decay": [0.0, 0.2],
        "initial_accumulator_value": [0.0, 0.5],
        "eps": [1e-3],
        "maximize": [False, True],
    },
}


def allowed(settings: dict[str, Any]) -> bool:
    return not settings.get("nesterov") or (settings["momentum"] > 0 and settings["dampening"] == 0)


CASES: list[tuple[str, dict[str, Any]]] = [
    (name, settings)
    for name, options in OPTIONS.items()
    for settings in [{}, *(dict(zip(options, row, strict=True)) for row in itertools.product(*options.values()))]
    if allowed(settings)
]
IDS = [f"{name}-{','.join(f'{k}={v}' for k, v in settings.items()) or 'defaults'}" for name, settings in CASES]
every_case = pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)


def driven(name: str, settings: dict[str, Any], dtype: type = np.float64) -> tuple[list[mg.Tensor], nn.optim.Optimizer]:
    """The parameters after all gradients."""
    parameters = [mg.Tensor(start.astype(dtype), requires_grad=True) for start in STARTS]
    optimizer = getattr(nn.optim, name)(parameters, **settings)
    step_through(optimizer, parameters, GRADIENTS)
    return parameters, optimizer


def step_through(optimizer: nn.optim.Optimizer, parameters: list[mg.Tensor], gradients: list[list[Any]]) -> None:
    for row in gradients:
        optimizer.zero_grad()
        for parameter, gradient in zip(parameters, row, strict=True):
            mg.sum(parameter * gradient.astype(parameter.dtype)).backward()
        optimizer.step()


def written_out(name: str, settings: dict[str, Any]) -> list[np.ndarray]:
    ends = [np.empty(shape) for shape in SHAPES]
    for k, end in enumerate(ends):
        for i in np.ndindex(end.shape):
            end[i] = RECURRENCES[name](float(STARTS[k][i]), [float(row[k][i]) for row in GRADIENTS], **settings)
    return ends


@every_case
def test_25_steps_are_the_recurrence(name: str, settings: dict[str, Any]) -> None:
    parameters, _ = driven(name, settings)
    for parameter, end in zip(parameters, written_out(name, settings), strict=True):
        np.testing.assert_allclose(parameter.detach().numpy(), end, rtol=1e-11, atol=1e-13)


@every_case
def test_float32_stays_float32_and_follows(name: str, settings: dict[str, Any]) -> None:
    """Parameters, what is remembered of them, and parameters without axes; the gradients are left alone."""
    parameters, optimizer = driven(name, settings, np.float32)
    for parameter, end, gradient in zip(parameters, written_out(name, settings), GRADIENTS[-1], strict=True):
        assert type(parameter._data) is np.ndarray
        assert parameter.dtype == np.float32
        assert np.linalg.norm(parameter.detach().numpy() - end) <= 2e-4 * np.linalg.norm(end)
        assert np.array_equal(parameter.grad, gradient.astype(np.float32))
        arrays = [value for key, value in optimizer.state[parameter].items() if key != "step"]
        assert all(type(array) is np.ndarray and array.dtype == np.float32 for array in arrays)


@pytest.mark.oracles
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@every_case
def test_25_steps_are_torchs(name: str, settings: dict[str, Any], dtype: type) -> None:
    torch = pytest.importorskip("torch")
    parameters, _ = driven(name, settings, dtype)
    twins = [torch.tensor(start.astype(dtype), requires_grad=True) for start in STARTS]
    theirs = getattr(torch.optim, name)(twins, **settings)
    for row in GRADIENTS:
        for twin, gradient in zip(twins, row, strict=True):
            twin.grad = torch.tensor(gradient.astype(dtype))
        theirs.step()
    rtol = 1e-11 if dtype is np.float64 else 1e-4
    for parameter, twin in zip(parameters, twins, strict=True):
        end = twin.detach().numpy()
        assert np.linalg.norm(parameter.detach().numpy() - end) <= rtol * np.linalg.norm(end)


@every_case
def test_a_loaded_state_continues_to_the_bit(name: str, settings: dict[str, Any]) -> None:
    """Ten steps, state and weights into an optimiser of other settings, the rest: the same bits as all at once."""
    parameters, _ = driven(name, settings)
    first = [mg.Tensor(start, requires_grad=True) for start in STARTS]
    begun = getattr(nn.optim, name)(first, **settings)
    step_through(begun, first, GRADIENTS[:10])
    second = [mg.Tensor(parameter.detach().numpy(), requires_grad=True) for parameter in first]
    resumed = getattr(nn.optim, name)(second, lr=123.0, weight_decay=0.9)
    resumed.load_state_dict(begun.state_dict())
    step_through(begun, first, GRADIENTS[10:12])  # what the one does now is nothing to the other: states are copies
    step_through(resumed, second, GRADIENTS[10:])
    for parameter, other in zip(parameters, second, strict=True):
        assert parameter._data.tobytes() == other._data.tobytes()


@pytest.mark.oracles
@pytest.mark.parametrize("name", OPTIONS)
def test_signatures_defaults_and_states_are_torchs(name: str) -> None:
    """All arguments that mean something here, of the same defaults; those by position in the same order."""
    torch = pytest.importorskip("torch")
    import inspect

    kernels = {"foreach", "fused", "capturable", "differentiable"}
    ours = inspect.signature(getattr(nn.optim, name)).parameters
    theirs = inspect.signature(getattr(torch.optim, name)).parameters
    assert {k: p.default for k, p in ours.items()} == {k: p.default for k, p in theirs.items() if k not in kernels}
    positional = [k for k, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == [k for k in theirs if k in positional]
    on = {k: v for k, v in {"momentum": 0.9, "centered": True, "amsgrad": True}.items() if k in ours}
    twins = [torch.zeros(2, requires_grad=True)]
    other = getattr(torch.optim, name)(twins, **on)
    twins[0].grad = torch.ones(2)
    other.step()
    _, optimizer = driven(name, on)
    state, torch_state = optimizer.state_dict(), other.state_dict()
    assert state["state"][0].keys() == torch_state["state"][0].keys()
    assert state["param_groups"][0].keys() == torch_state["param_groups"][0].keys() - kernels


def test_kernels_of_torch_are_no_arguments() -> None:
    for name in OPTIONS:
        with pytest.raises(TypeError, match="unexpected keyword argument 'foreach'"):
            getattr(nn.optim, name)([mg.Tensor(1.0, requires_grad=True)], foreach=True)


def test_decoupled_decay_shrinks_by_a_factor_whatever_the_gradient_was() -> None:
    """Without gradient v shrinks by 1 - lr lambda a step; Adam's decay, divided by its own size, moves by lr."""
    ends = {}
    for name in ("Adam", "AdamW"):
        v = mg.Tensor([10.0], requires_grad=True)
        optimizer = getattr(nn.optim, name)([v], lr=0.1, weight_decay=0.5)
        for _ in range(20):
            v.grad = np.zeros(1)
            optimizer.step()
        ends[name] = v.item()
    assert math.isclose(ends["AdamW"], 10 * (1 - 0.1 * 0.5) ** 20, rel_tol=1e-12)
    assert math.isclose(ends["Adam"], 10 - 20 * 0.1, rel_tol=2e-2)


def test_adamw_decouples_the_settings_of_adam_too() -> None:
    """Loaded settings of Adam say "coupled"; the class decides."""
    v, w = (mg.Tensor([10.0], requires_grad=True) for _ in "vw")
    adam, loaded = nn.optim.Adam([v], lr=0.1, weight_decay=0.5), nn.optim.AdamW([w])
    loaded.load_state_dict(adam.state_dict())
    w.grad = np.zeros(1)
    loaded.step()
    assert w.item() == 10 * (1 - 0.1 * 0.5)


def test_a_variance_that_rounding_makes_negative_is_0() -> None:
    """Centered RMSprop under a constant gradient: s - r^2 is a rounding error of either sign, and torch gives nan."""
    for g in np.random.default_rng(0).uniform(0.1, 10, 20):
        v = mg.Tensor([0.0], requires_grad=True)
        optimizer = nn.optim.RMSprop([v], alpha=0.1, centered=True)
        for _ in range(60):
            v.grad = np.array([g])
            optimizer.step()
            assert np.isfinite(v._data).all()


@pytest.mark.parametrize("name", OPTIONS)
def test_not_finite_gradients_pass_in_silence(name: str) -> None:
    """As IEEE has it, and torch: no warning; `nn.fit` and `detect_anomaly` are there to look."""
    v = mg.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    optimizer = getattr(nn.optim, name)([v], lr=0.1)
    for _ in range(2):
        v.grad = np.array([np.inf, np.nan, 1.0])
        optimizer.step()
    assert np.isnan(v._data[1])
    assert np.isfinite(v._data[2])
