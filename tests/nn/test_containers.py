"""Containers hold modules in order or by name, under torch's names, and change as lists and dicts do."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn


def kinds(container: Any) -> list[str]:
    return [type(module).__name__ for module in container]


@pytest.mark.parametrize("make", [nn.ModuleList, lambda modules: nn.Sequential(*modules)], ids=["list", "sequential"])
def test_a_row_of_modules_changes_as_a_list_does(make: Any) -> None:
    row = make([nn.Linear(2, 2, rng=0), nn.Tanh()])
    assert kinds(row.append(nn.ReLU()).extend([nn.Sigmoid(), nn.Identity()])) == [
        "Linear", "Tanh", "ReLU", "Sigmoid", "Identity"
    ]  # fmt: skip
    assert kinds(row.insert(1, nn.Softplus())) == ["Linear", "Softplus", "Tanh", "ReLU", "Sigmoid", "Identity"]
    del row[1], row[-2:]
    assert kinds(row) == ["Linear", "Tanh", "ReLU"]
    row[-1] = nn.LeakyReLU()
    assert (len(row), kinds(row[1:]), type(row[1:])) == (3, ["Tanh", "LeakyReLU"], type(row))
    assert row[np.int64(0)] is row[-3]
    assert [name for name, _ in row.named_parameters()] == ["0.weight", "0.bias"]
    for index, error in ((3, IndexError), (-4, IndexError), ("0", TypeError), (None, TypeError)):
        with pytest.raises(error, match=r"index .* of 3 modules, expected .*, at test_containers.py"):
            row[index]


def test_lists_and_dicts_of_modules_belong_to_the_module_that_holds_them() -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList(nn.Linear(2, 2, rng=i) for i in range(2))
            self.heads = nn.ModuleDict({"a": nn.Linear(2, 1, rng=3)})

        def forward(self, x: Any) -> Any:
            for layer in self.layers:
                x = mg.tanh(layer(x))
            return self.heads["a"](x)

    net = Net()
    assert list(net.state_dict()) == [
        "layers.0.weight", "layers.0.bias", "layers.1.weight", "layers.1.bias", "heads.a.weight", "heads.a.bias"
    ]  # fmt: skip
    net(np.eye(2)).sum().backward()
    assert all(parameter.grad is not None for parameter in net.parameters())
    assert repr(net.heads) == "ModuleDict(\n  (a): Linear(in_features=2, out_features=1, bias=True)\n)"


def test_modules_by_name_change_as_a_dict_does() -> None:
    heads = nn.ModuleDict({"a": nn.Tanh(), "b": nn.ReLU()})
    heads["c"] = nn.Sigmoid()
    heads.update({"a": nn.Identity()})
    assert (list(heads), kinds(heads.values()), len(heads)) == (["a", "b", "c"], ["Identity", "ReLU", "Sigmoid"], 3)
    assert dict(heads.items())["b"] is heads["b"]
    del heads["b"]
    assert list(heads.keys()) == ["a", "c"]
    assert "b" not in heads
    assert len(nn.ModuleDict()) == 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.ModuleList(nn.Tanh()), TypeError, r"ModuleList: expected several modules, got Tanh\(\)"),
        (lambda: nn.ModuleList(3), TypeError, "ModuleList: expected several modules, got 3"),
        (lambda: nn.ModuleList([nn.Tanh]), TypeError, r"ModuleList: expected modules, got <class .*List\(\[nn"),
        (lambda: nn.Sequential([nn.Tanh()]), TypeError, r"expected modules, got \[Tanh\(\)\]; write nn.Seq"),
        (lambda: nn.ModuleDict([nn.Tanh()]), TypeError, "ModuleDict: expected a dict of modules, got list"),
        (lambda: nn.ModuleDict({"a": 3}), TypeError, "ModuleDict: expected text and a module, got 'a': 3"),
        (lambda: nn.ModuleDict({1: nn.Tanh()}), TypeError, "ModuleDict: expected text and a module, got 1"),
        (lambda: nn.ModuleDict({"keys": nn.Tanh()}), KeyError, "ModuleDict: 'keys' is taken"),
        (lambda: nn.ModuleDict({"a.b": nn.Tanh()}), KeyError, "ModuleDict: 'a.b' is taken, or no name"),
        (lambda: nn.ModuleDict({})["x"], KeyError, "ModuleDict: no module 'x', only none"),
    ],
)  # fmt: skip
def test_what_is_no_module_is_named(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"{message}.*, at test_containers.py"):
        call()


@pytest.mark.oracles
def test_the_names_are_torchs() -> None:
    torch = pytest.importorskip("torch")
    ours = nn.ModuleDict({"a": nn.ModuleList([nn.Linear(2, 3), nn.Sequential(nn.Tanh(), nn.Linear(3, 1))])})
    t = torch.nn
    theirs = t.ModuleDict({"a": t.ModuleList([t.Linear(2, 3), t.Sequential(t.Tanh(), t.Linear(3, 1))])})
    assert list(ours.state_dict()) == list(theirs.state_dict())
    assert [name for name, _ in ours.named_children()] == [name for name, _ in theirs.named_children()]
    seen: list[list[str]] = [[], []]
    ours.apply(lambda module: seen[0].append(type(module).__name__))
    theirs.apply(lambda module: seen[1].append(type(module).__name__))
    assert seen[0] == seen[1]
