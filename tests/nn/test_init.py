"""Initialisers have the variance of their paper, advance the generator they are given, and touch no global state."""

from __future__ import annotations

import math

import numpy as np
import pytest

import microgrid as mg
import nn
from nn import init

FAN_OUT, FAN_IN = 150, 250

# initialiser, standard deviation by its paper, largest magnitude for the uniform ones
SPREAD = {
    "xavier_uniform_": (lambda t, rng: init.xavier_uniform_(t, rng=rng), math.sqrt(2 / 400), math.sqrt(6 / 400)),
    "xavier gain": (lambda t, rng: init.xavier_uniform_(t, 4.0, rng), 4 * math.sqrt(2 / 400), 4 * math.sqrt(6 / 400)),
    "xavier_normal_": (lambda t, rng: init.xavier_normal_(t, rng=rng), math.sqrt(2 / 400), None),
    "kaiming_uniform_": (lambda t, rng: init.kaiming_uniform_(t, rng=rng), math.sqrt(2 / 250), math.sqrt(6 / 250)),
    "kaiming_normal_": (lambda t, rng: init.kaiming_normal_(t, nonlinearity="relu", rng=rng), math.sqrt(2 / 250), None),
    "kaiming out": (lambda t, rng: init.kaiming_normal_(t, mode="fan_out", rng=rng), math.sqrt(2 / 150), None),
    "kaiming leaky": (lambda t, rng: init.kaiming_normal_(t, 0.5, rng=rng), math.sqrt(2 / 1.25 / 250), None),
    "lecun_normal_": (lambda t, rng: init.lecun_normal_(t, rng), math.sqrt(1 / 250), None),
    "normal_": (lambda t, rng: init.normal_(t, 0.0, 0.3, rng), 0.3, None),
    "uniform_": (lambda t, rng: init.uniform_(t, -1.0, 1.0, rng), math.sqrt(1 / 3), 1.0),
}


@pytest.mark.parametrize("name", SPREAD)
def test_spread_is_the_papers(name: str) -> None:
    """Within 2 %, and 37,500 draws have a standard error of 0.4 %; centred; in place; for a seed the same again."""
    fill, std, bound = SPREAD[name]
    tensor = nn.Parameter(np.zeros((FAN_OUT, FAN_IN)))
    assert fill(tensor, 3) is tensor
    values = tensor.detach().numpy()
    assert values.std() == pytest.approx(std, rel=0.02)
    assert abs(values.mean()) < 4 * std / math.sqrt(values.size)
    if bound is not None:
        assert 0.99 * bound < abs(values).max() <= bound
    again = fill(mg.Tensor(np.zeros((FAN_OUT, FAN_IN))), np.random.default_rng(3))
    assert (again.numpy() == values).all()


def test_constants() -> None:
    tensor = mg.Tensor(np.zeros((2, 2)))
    assert init.ones_(tensor).tolist() == [[1.0, 1.0], [1.0, 1.0]]
    assert init.constant_(tensor, -2.5).tolist() == [[-2.5, -2.5], [-2.5, -2.5]]
    assert init.zeros_(tensor).tolist() == [[0.0, 0.0], [0.0, 0.0]]


def test_defaults_are_torchs() -> None:
    """U(0, 1), N(0, 1), a negative slope of 0.01; and a deviation of 0 is one."""
    uniform = init.uniform_(mg.Tensor(np.zeros(10_000)), rng=0).numpy()
    assert (uniform.min(), uniform.max()) == pytest.approx((0, 1), abs=1e-3)
    normal = init.normal_(mg.Tensor(np.zeros(10_000)), rng=0).numpy()
    assert (normal.mean(), normal.std()) == pytest.approx((0, 1), abs=0.03)
    gains = {"linear": 1, "identity": 1, "sigmoid": 1, "tanh": 5 / 3, "relu": 2**0.5, "leaky_relu": (2 / 1.0001) ** 0.5}
    assert {name: init.calculate_gain(name) for name in gains} == pytest.approx(gains, rel=1e-15)
    assert init.uniform_(mg.Tensor([0.0]), 2.0, 2.0).tolist() == [2.0]
    assert init.normal_(mg.Tensor([0.0, 0.0]), 3.0, 0.0).tolist() == [3.0, 3.0]


def test_receptive_fields_multiply_the_fans() -> None:
    values = init.lecun_normal_(mg.Tensor(np.zeros((40, 30, 5, 5))), rng=0).numpy()
    assert values.std() == pytest.approx(1 / math.sqrt(30 * 25), rel=0.02)
    values = init.kaiming_normal_(mg.Tensor(np.zeros((40, 30, 5, 5))), mode="fan_out", rng=0).numpy()
    assert values.std() == pytest.approx(math.sqrt(2 / (40 * 25)), rel=0.02)


def test_a_generator_advances_and_a_seed_repeats() -> None:
    rng = np.random.default_rng(0)
    first, second = nn.Linear(2, 2, rng=rng), nn.Linear(2, 2, rng=rng)
    assert first.weight.tolist() != second.weight.tolist()
    assert nn.Linear(2, 2, rng=5).weight.tolist() == nn.Linear(2, 2, rng=5).weight.tolist()
    assert nn.Linear(2, 2).weight.tolist() != nn.Linear(2, 2).weight.tolist()


def test_global_random_state_is_neither_read_nor_written() -> None:
    before = repr(np.random.get_state())  # noqa: NPY002  (it is what must not move)
    nn.MLP(3, [4, 2])
    assert repr(np.random.get_state()) == before  # noqa: NPY002


def test_dtype_is_kept() -> None:
    assert init.normal_(mg.Tensor(np.zeros(3, np.float32)), rng=0).dtype == np.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda t: init.xavier_uniform_(t), "Fan in and fan out can not be computed for tensor with fewer than 2 dim"),
        (lambda t: init.lecun_normal_(t), r"got shape \(3,\)"),
        (lambda t: init.uniform_(t, 2.0, 1.0), "expected finite bounds a <= b, got a=2.0, b=1.0"),
        (lambda t: init.uniform_(t, 0.0, math.inf), "finite bounds"),
        (lambda t: init.normal_(t, 0.0, -1.0), "expected std >= 0, got -1.0"),
        (lambda t: init.calculate_gain("swish"), "Unsupported nonlinearity 'swish'"),
        (lambda t: init.kaiming_normal_(mg.Tensor(np.zeros((2, 2))), mode="out"), "Mode 'out' not supported"),
    ],
)
def test_refusals(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(mg.Tensor(np.zeros(3)))


@pytest.mark.oracles
@pytest.mark.parametrize("name", ["linear", "sigmoid", "tanh", "relu", "leaky_relu"])
def test_gains_are_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    assert init.calculate_gain(name) == pytest.approx(torch.nn.init.calculate_gain(name), rel=1e-15)


def test_rng_is_named_where_it_is_none() -> None:
    for fill in (init.uniform_, init.normal_):
        with pytest.raises(TypeError, match=r"rng: expected a numpy.random.Generator, .* got 'a', at test_init.py"):
            fill(mg.Tensor(np.zeros(3)), rng="a")


def test_new_values_are_a_new_array() -> None:
    """What is shared with the old one stays: a tensor is not filled in place."""
    tensor = mg.Tensor(np.zeros(3))
    old = tensor.numpy()
    assert init.ones_(tensor) is tensor
    assert (tensor.tolist(), old.tolist()) == ([1.0] * 3, [0.0] * 3)
