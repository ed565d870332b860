"""functional_call: a module as a function of its parameters."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn

X = np.array([[0.5, -1.0], [1.5, 0.25], [-0.75, 2.0]])
Y = np.array([[1.0], [0.0], [0.3]])


def small() -> nn.MLP:
    return nn.MLP(2, [3, 1], rng=0)


def others(model: nn.Module, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=p.shape) for name, p in model.named_parameters()}


def test_it_is_the_module_with_other_numbers():
    """The same output as after load_state_dict of what is given; the module itself is as it was."""
    model, given = small(), others(small())
    before = model.state_dict()
    found = nn.functional_call(model, given, mg.Tensor(X))
    assert all(np.array_equal(model.state_dict()[name], array) for name, array in before.items())
    own = dict(model.named_parameters())
    loaded = small()
    loaded.load_state_dict(given)
    np.testing.assert_array_equal(found._data, loaded(mg.Tensor(X))._data)
    assert all(p is own[name] for name, p in model.named_parameters())


@pytest.mark.parametrize("face", ["tensor", "parameter", "node"])
def test_gradients_reach_what_is_given(face):
    """Those of a given leaf, Parameter or node; the module's own parameters take none, but for those not given."""
    model = small()
    leaf = mg.Tensor(np.ones((3, 2)), requires_grad=True)
    given = {"tensor": leaf, "parameter": nn.Parameter(np.ones((3, 2))), "node": leaf * 2}[face]
    name = next(name for name, p in model.named_parameters() if p.shape == (3, 2))
    nn.functional_call(model, {name: given}, (mg.Tensor(X),)).sum().backward()
    assert (leaf if face == "node" else given).grad is not None
    own = dict(model.named_parameters())
    assert own[name].grad is None
    assert all(p.grad is not None for other, p in own.items() if other != name)


def test_names_and_faults():
    """strict refuses missing and unexpected names; without it they are the module's own, and passed over."""
    layer = nn.Linear(2, 2, rng=0)
    x = mg.Tensor(X)
    nn.functional_call(layer, {"foo": X}, x)
    for given, word in [({"foo": X}, "foo"), ({"weight": np.ones((2, 2))}, "bias")]:
        with pytest.raises(ValueError, match=rf"Error\(s\) in reparametrizing for Linear.*{word}.*test_functional"):
            nn.functional_call(layer, given, x, strict=True)
    with pytest.raises(ValueError, match="appeared in multiple dictionaries"):
        nn.functional_call(layer, [{"bias": np.ones(2)}, {"bias": np.ones(2)}], x)
    with pytest.raises(ValueError, match=r"size mismatch for bias: expected shape \(2,\), got \(1,\)"):
        nn.functional_call(layer, {"bias": np.ones(1)}, x)
    with pytest.raises(TypeError, match="Expected parameter_and_buffer_dicts to be a dict"):
        nn.functional_call(layer, 3, x)
    with pytest.raises(TypeError, match="expected a Module, got function"):
        nn.functional_call(lambda x: x, {}, x)
    two = nn.functional_call(layer, [{"bias": np.ones(2)}, {"weight": np.zeros((2, 2))}], x)
    assert two.tolist() == np.ones((3, 2)).tolist()


class Tied(nn.Module):
    def __init__(self) -> None:
        self.weight = nn.Parameter([2.0])
        self.again = [self.weight]
        self.child = nn.Linear(1, 1, rng=0)
        self.twice = self.child
        self.count = 0
        self.act = self.activation
        self.table = {"scale": nn.Parameter([1.0]), "words": ["a"]}

    def activation(self, x: Any) -> Any:
        return x * self.weight

    def forward(self, x: Any, *, power: int = 1) -> Any:
        self.count += 1
        self.seen = self.child
        penalty = sum((p**2).sum() for p in self.parameters())
        return (self.act(x) * self.again[0] + self.twice(x) * self.table["scale"]).sum() ** power + penalty


def test_shared_parameters_modules_and_methods():
    """A shared parameter is given once for all its places; bound methods and parameters() see what is given."""
    module = Tied()
    x = mg.Tensor([[1.0], [2.0]])
    given = {"weight": mg.Tensor([3.0], requires_grad=True), "child.weight": [[0.0]], "table.scale": [5.0]}
    found = nn.functional_call(module, given, x, {"power": 2})
    assert found.item() == (9.0 * 3.0) ** 2 + 9.0 + 0.0 + 25.0
    (by_weight,) = mg.grad(found, given["weight"])
    assert by_weight[0] == 2 * 27 * 18 + 6.0
    assert module.count == 1  # what forward assigns is the module's
    assert module.seen is module.child
    assert len(module.calls()) == 1
    w = mg.Tensor([1.0])
    nn.functional_call(module, {"weight": w, "again.0": w}, x)
    with pytest.raises(ValueError, match=r"weight and again\.0 are one parameter"):
        nn.functional_call(module, {"weight": [1.0], "again.0": mg.Tensor([1.0])}, x)


def test_an_exception_leaves_the_module_as_it_was():
    """forward fails: the parameters are the module's own, as at every moment."""
    model = small()
    own = [id(p) for p in model.parameters()]
    with pytest.raises(ValueError, match="linear"):
        nn.functional_call(model, others(model), mg.Tensor(np.ones((3, 5))))
    assert [id(p) for p in model.parameters()] == own


def test_threads_do_not_meet():
    """Calls of one module with different parameters, in threads that wait for one another inside forward."""
    barrier = threading.Barrier(3, timeout=30)

    class Waiting(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter(1.0)

        def forward(self, x: Any) -> Any:
            barrier.wait()
            return x * self.scale

    module, found = Waiting(), {}

    def call(scale: float) -> None:
        found[scale] = nn.functional_call(module, {"scale": scale}, mg.Tensor(1.0)).item()

    threads = [threading.Thread(target=call, args=(scale,)) for scale in (2.0, 3.0)]
    for thread in threads:
        thread.start()
    assert module(mg.Tensor(1.0)).item() == 1.0
    for thread in threads:
        thread.join()
    assert found == {2.0: 2.0, 3.0: 3.0}


def loss_of(model: nn.Module) -> Any:
    return lambda p: nn.BCEWithLogitsLoss()(nn.functional_call(model, p, mg.Tensor(X)), mg.Tensor(Y))


def flat(tree: dict[str, Any]) -> Any:
    return np.concatenate([np.ravel(getattr(x, "_data", x)) for x in tree.values()])


def test_transforms_over_named_parameters():
    """The gradient is backward()'s; the Hessian that of differences of it; hvp is the Hessian times the vector."""
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Tanh(), nn.Linear(2, 1, rng=1))
    named = dict(model.named_parameters())
    point = {name: p._data.copy() for name, p in named.items()}
    loss = loss_of(model)
    value, gradient = mg.value_and_grad(loss)(point)
    nn.BCEWithLogitsLoss()(model(mg.Tensor(X)), mg.Tensor(Y)).backward()
    np.testing.assert_allclose(flat(gradient), np.concatenate([p.grad.ravel() for p in model.parameters()]), rtol=1e-13)
    assert value == pytest.approx(loss(named).item(), rel=1e-15)

    blocks = mg.hessian(loss)(point)
    hessian = np.block([[blocks[a][b].reshape(point[a].size, point[b].size) for b in point] for a in point])
    h, columns = 1e-5, []
    for name in point:
        for place in np.ndindex(point[name].shape):
            sides = []
            for step in (h, -h):
                moved = {other: array.copy() for other, array in point.items()}
                moved[name][place] += step
                sides.append(flat(mg.grad(loss)(moved)))
            columns.append((sides[0] - sides[1]) / (2 * h))
    np.testing.assert_allclose(hessian, np.stack(columns, 1), atol=1e-9)
    direction = others(model)
    _, product = mg.hvp(loss, point, direction)
    np.testing.assert_allclose(flat(product), hessian @ flat(direction), rtol=1e-12)


def test_parameters_give_nodes_and_under_no_grad_none_that_record():
    """Given the Parameters themselves, results are nodes in the graph; nothing is stored in `.grad`."""
    model = small()
    named = dict(model.named_parameters())
    gradient = mg.grad(loss_of(model))(named)
    assert all(isinstance(g, mg.Tensor) and g.requires_grad for g in gradient.values())
    with mg.no_grad():
        plain = mg.grad(loss_of(model))(named)
    assert not any(g.requires_grad for g in plain.values())
    np.testing.assert_allclose(flat(plain), flat(gradient), rtol=1e-14)
    assert all(p.grad is None for p in named.values())


@pytest.mark.oracles
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_it_is_torch_s():
    """Values and Hessian over named parameters are torch.func's."""
    torch = pytest.importorskip("torch")
    ours = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Tanh(), nn.Linear(2, 1, rng=1))
    theirs = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Tanh(), torch.nn.Linear(2, 1)).double()
    point = others(ours)
    given = {name: torch.tensor(array) for name, array in point.items()}

    def loss(p: Any) -> Any:
        z = torch.func.functional_call(theirs, p, (torch.tensor(X),))
        return torch.nn.functional.binary_cross_entropy_with_logits(z, torch.tensor(Y))

    expected = torch.func.hessian(loss)(given)
    found = mg.hessian(loss_of(ours))(point)
    for a in point:
        for b in point:
            np.testing.assert_allclose(found[a][b], expected[a][b].numpy(), rtol=1e-12, atol=1e-15)


class Centred(nn.Module):
    """Subtracts a running mean, which each call moves."""

    def __init__(self) -> None:
        self.register_buffer("mean", mg.Tensor([1.0, 2.0]))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        self.mean = 0.5 * (self.mean + x.mean(axis=0))
        return x - self.mean


def test_buffers_are_given_as_parameters_are():
    """And what a call makes of a given one is lost, where the module's own is kept."""
    x = np.array([[1.0, 2.0], [3.0, 4.0]])
    model = nn.Sequential(Centred())
    found = nn.functional_call(model, {"0.mean": [4.0, 5.0]}, mg.Tensor(x), strict=True)
    np.testing.assert_array_equal(found.numpy(), x - [3.0, 4.0])
    assert model.state_dict()["0.mean"].tolist() == [1.0, 2.0]
    nn.functional_call(model, {}, mg.Tensor(x))
    assert model.state_dict()["0.mean"].tolist() == [1.5, 2.5]
    with pytest.raises(ValueError, match=r"size mismatch for 0.mean: expected shape \(2,\), got \(3,\)"):
        nn.functional_call(model, {"0.mean": np.ones(3)}, mg.Tensor(x))
    with pytest.raises(ValueError, match="Missing key"):
        nn.functional_call(model, {}, mg.Tensor(x), strict=True)
