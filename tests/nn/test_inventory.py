"""What a model is made of: every number counted once, every shape found, and nothing changed by looking."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import microgrid as mg
import nn
import nn.scalar

sizes = st.lists(st.integers(1, 7), min_size=2, max_size=5)


@given(sizes)
def test_one_weight_a_link_and_one_bias_a_unit_that_is_no_input(n: list[int]) -> None:
    """sum n_l (n_{l-1} + 1) (S24, note 004), on arrays as on numbers."""
    count = sum(n_l * (before + 1) for before, n_l in pairwise(n))
    report = nn.summary(nn.MLP(n[0], n[1:], rng=0))
    assert report.total == report.trainable == count == nn.summary(nn.scalar.MLP(n[0], n[1:])).total
    layers = [layer for layer in report.layers if layer.kind == "Linear"]
    assert [layer.parameters for layer in layers] == [
        {"weight": (n_l, before), "bias": (n_l,)} for before, n_l in pairwise(n)
    ]
    assert [layer.output for layer in layers] == [(n_l,) for n_l in n[1:]]


def test_the_table() -> None:
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 8, rng=0), nn.ReLU(), nn.Dropout(0.2, rng=1), nn.Linear(8, 10, rng=2)
    )
    assert str(nn.summary(model, (8, 8))).splitlines() == [
        "layer  kind     output  parameters            count",
        "0      Flatten  64                                0",
        "1      Linear   8       weight 8x64, bias 8     520",
        "2      ReLU     8                                 0",
        "3      Dropout  8                                 0",
        "4      Linear   10      weight 10x8, bias 10     90",
        "",
        "610 parameters, all trainable",
    ]
    assert [layer.output for layer in nn.summary(model).layers] == [None] * 5  # nothing tells what is flattened
    assert str(nn.summary(model)).splitlines()[1] == "0      Flatten  -                                 0"


def test_rows_are_the_table_as_data() -> None:
    (row,) = nn.summary(nn.Linear(2, 3, rng=0)).rows()
    assert row == {
        "layer": "",
        "kind": "Linear",
        "output": (3,),
        "parameters": {"weight": (3, 2), "bias": (3,)},
        "frozen": (),
        "shared": (),
        "count": 9,
        "trainable": 9,
    }
    assert repr(nn.summary(nn.MLP(2, [3, 1], rng=0))) == "Summary(3 layers, total=13, trainable=13)"
    assert str(nn.summary(nn.Linear(1000, 1200, rng=0))).splitlines()[-1] == "1,201,200 parameters, all trainable"


def test_frozen_and_shared_parameters() -> None:
    """A parameter counts where it stands first; one that is frozen is no trainable one."""
    net = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Linear(3, 3, rng=1))
    net[1].bias = net[0].bias
    net[1].weight.requires_grad_(False)
    report = nn.summary(net)
    assert [(layer.count, layer.trainable, layer.frozen, layer.shared) for layer in report.layers] == [
        (12, 12, (), ()),
        (9, 0, ("weight",), ("bias",)),
    ]
    assert "weight 3x3 (frozen), bias 3 (shared)" in str(report)
    assert str(report).endswith("21 parameters, 12 trainable")


def test_a_layer_that_stands_twice_is_listed_twice_and_counted_once() -> None:
    class Widen(nn.Module):
        """Gives another shape each time."""

        def __init__(self) -> None:
            self.scale = nn.Parameter(2.0)

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            return mg.concatenate([x, x * self.scale], axis=1)

    twice = Widen()
    report = nn.summary(nn.Sequential(twice, nn.Sigmoid(), twice), 2)
    assert [(layer.layer, layer.output, layer.count) for layer in report.layers] == [
        ("0", (4,), 1),
        ("1", (4,), 0),
        ("2", (8,), 0),
    ]
    assert report.total == 1


class Residual(nn.Module):
    """A module of the user's: a parameter of its own beside the layers, a list, a branch that is not taken."""

    def __init__(self) -> None:
        self.first = nn.Linear(4, 4, rng=0)
        self.blocks = [nn.MLP(4, [3, 4], rng=1)]
        self.unused = nn.Tanh()
        self.scale = nn.Parameter(2.0)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return x + self.blocks[0](self.first(x)) * self.scale


def test_any_module_is_listed_and_run_where_its_size_is_given() -> None:
    expected = [
        ("", "Residual", (4,), 1),
        ("first", "Linear", (4,), 20),
        ("blocks.0.layers.0", "Linear", (3,), 15),
        ("blocks.0.layers.1", "Sigmoid", (3,), 0),
        ("blocks.0.layers.2", "Linear", (4,), 16),
        ("unused", "Tanh", None, 0),
    ]
    report = nn.summary(Residual(), 4)
    assert [(layer.layer, layer.kind, layer.output, layer.count) for layer in report.layers] == expected
    assert {layer.output for layer in nn.summary(Residual()).layers} == {None}
    assert "scale 1" in str(report)


def test_looking_changes_nothing() -> None:
    """Modes, calls, masks to come, gradients: all on a copy."""
    net = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Dropout(rng=0))
    net[1].eval()
    net(mg.Tensor(np.ones((2, 3)))).sum().backward()
    before = copy.deepcopy(net)
    calls = net.calls()
    nn.summary(net, 3)
    assert net.calls() == calls
    assert (net.training, net[1].training) == (True, False)
    assert net[1].rng.bit_generator.state == before[1].rng.bit_generator.state
    assert "forward" not in vars(net[0])
    assert net[0].weight.grad.tolist() == before[0].weight.grad.tolist()


def test_float32_models_are_run_in_float32() -> None:
    class Strict(nn.MLP):
        """Refuses another precision."""

        def forward(self, input: mg.Tensor) -> mg.Tensor:
            assert input.dtype == np.float32
            return super().forward(input)

    assert nn.summary(Strict(2, [3, 1], rng=0, dtype=np.float32), 2).layers[-1].output == (1,)


def test_models_of_numbers_are_listed_by_layer() -> None:
    report = nn.summary(nn.scalar.MLP(3, [4, 4, 1]))
    assert [(layer.layer, layer.kind, layer.parameters, layer.count) for layer in report.layers] == [
        ("layers.0", "Layer", {"Values": (16,)}, 16),
        ("layers.1", "Layer", {"Values": (20,)}, 20),
        ("layers.2", "Layer", {"Values": (5,)}, 5),
    ]
    assert str(nn.summary(nn.scalar.Neuron(2))).splitlines()[1:] == [
        "-      Neuron  -       Values 3        3",
        "",
        "3 parameters, all trainable",
    ]


def test_named_parameters_is_all_that_is_asked_of_a_model() -> None:
    class Plain:
        """No module at all."""

        def named_parameters(self) -> Any:
            return iter([("slope", mg.Tensor([1.0, 2.0], requires_grad=True)), ("intercept", mg.Value(1.0))])

    (layer,) = nn.summary(Plain()).layers
    assert (layer.kind, layer.parameters, layer.count) == ("Plain", {"slope": (2,), "Values": (1,)}, 3)


def test_a_stack_whose_sizes_do_not_fit_is_listed_as_far_as_it_runs() -> None:
    """The size was not given, so that nothing is refused."""
    report = nn.summary(nn.Sequential(nn.Linear(2, 3, rng=0), nn.Linear(4, 1, rng=0)))
    assert [layer.output for layer in report.layers] == [(3,), None]
    assert nn.summary(nn.Sequential()).total == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.summary(nn.MLP), TypeError, r"expected a model, with named_parameters\(\), got <class"),
        (lambda: nn.summary([1, 2]), TypeError, r"got \[1, 2\]"),
        (
            lambda: nn.summary(nn.MLP(2, [1], rng=0), 3),
            ValueError,
            r"does not take samples of shape \(3,\): linear: x \(1, 3\)",
        ),
        (lambda: nn.summary(Residual(), 0), ValueError, "input_size must be at least 1, got 0"),
        (lambda: nn.summary(Residual(), "4"), TypeError, "input_size must be an integer, got '4'"),
        (lambda: nn.summary(Residual(), (2, 1.5)), TypeError, "input_size must be an integer, got 1.5"),
    ],
)
def test_what_is_no_model_or_no_size(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message + r".*, at test_inventory.py:\d"):
        call()


def test_an_error_of_the_model_says_its_line_once() -> None:
    with pytest.raises(ValueError, match="does not take samples of shape") as caught:
        nn.summary(nn.MLP(2, [1]), 3)
    assert str(caught.value).count("test_inventory.py") == 1
