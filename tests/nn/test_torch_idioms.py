"""What torch's users type: it does what they mean, or the error says why not."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
import nn.functional as F  # noqa: N812 - as torch's users write it
from nn.data import DataLoader

X = np.array([[1.0, -2.0], [0.5, 3.0]])


def test_a_parameter_of_a_leaf_tensor_is_a_copy() -> None:
    tensor = mg.Tensor([1.0, 2.0])
    parameter = nn.Parameter(tensor)
    assert (type(parameter), parameter.requires_grad, parameter.tolist()) == (nn.Parameter, True, [1.0, 2.0])
    parameter.data[0] = 5.0
    assert tensor.tolist() == [1.0, 2.0]
    assert nn.Parameter(mg.Tensor(np.float32([1])), False).dtype == np.float32
    with pytest.raises(ValueError, match=r"Parameter: the tensor has a history .*tensor.detach\(\), at test_torch_id"):
        nn.Parameter(mg.Tensor([1.0], requires_grad=True) * 2)
    with pytest.raises(TypeError, match="Only Tensors of floating point dtype can require gradients"):
        nn.Parameter(mg.Tensor([1, 2]))


@pytest.mark.parametrize(
    ("made", "plain"),
    [
        (nn.ReLU(inplace=True), nn.ReLU()),
        (nn.ReLU(True), nn.ReLU()),
        (nn.LeakyReLU(0.2, inplace=True), nn.LeakyReLU(0.2)),
        (nn.LeakyReLU(0.2, True), nn.LeakyReLU(0.2)),
        (nn.Softplus(1, 20), nn.Softplus()),
        (nn.Softplus(2.0, threshold=50), nn.Softplus(2.0)),
        (nn.Dropout(0.5, True, rng=0), nn.Dropout(0.5, rng=0)),
        (nn.Dropout(0.5, False, rng=0), nn.Dropout(0.5, rng=0)),
    ],
)
def test_arguments_without_effect_are_taken(made: nn.Module, plain: nn.Module) -> None:
    leaf = mg.Tensor(X)
    assert made(leaf).tolist() == plain(mg.Tensor(X)).tolist()
    assert leaf.tolist() == X.tolist()  # inplace or not


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.ReLU(0.1), TypeError, "ReLU: inplace must be True or False, got 0.1"),
        (lambda: nn.LeakyReLU(0.1, 2), TypeError, "LeakyReLU: inplace must be True or False, got 2"),
        (lambda: nn.Dropout(0.5, 3), TypeError, "Dropout: inplace must be True or False, got 3"),
        (lambda: nn.Softplus(1.0, 5.0), ValueError, "threshold=5.0 cuts the function off .*expected 20 or more"),
        (lambda: DataLoader([1.0], num_workers=2), ValueError, "num_workers=2: samples are fetched in this process"),
        (lambda: DataLoader([1.0], num_workers="a"), TypeError, "num_workers must be an integer, got 'a'"),
        (lambda: DataLoader([1.0], rng=0, generator=0), TypeError, "rng and generator are one thing: give one"),
        (lambda: nn.HuberLoss("none", -1.0), ValueError, "does not support non-positive values for delta"),
        (lambda: nn.HuberLoss("most"), ValueError, "'most' is not a valid value for reduction"),
        (lambda: nn.HuberLoss(mg.Tensor([1.0]), [1.0]), TypeError, "HuberLoss is made first and then called"),
        (lambda: nn.Linear(2, 2).register_forward_hook(3), TypeError, "register_forward_hook: expected a function"),
        (lambda: mg.argmax(X, dim=2), ValueError, "argmax: axis 2 is out of range"),
    ],
)  # fmt: skip
def test_what_would_be_something_else_is_refused_with_its_reason(
    call: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=rf"{message}.*, at test_torch_idioms\.py:\d+$"):
        call()


def test_loaders_and_losses_take_torchs_words() -> None:
    loader = DataLoader(range(6), 2, shuffle=True, generator=np.random.default_rng(3), num_workers=0)
    again = DataLoader(range(6), 2, shuffle=True, rng=3)
    assert [batch.tolist() for batch in loader] == [batch.tolist() for batch in again]
    assert [batch.tolist() for batch in DataLoader(range(3), 2, shuffle=None)] == [[0, 1], [2]]
    assert nn.HuberLoss("sum", 2.0)(mg.Tensor([5.0, 5.0]), [0.0, 0.0]).item() == 16.0


def test_where_the_largest_and_the_smallest_stand() -> None:
    t = mg.Tensor(X)
    for found in (t.argmax(dim=1), mg.argmax(t, dim=1), mg.argmax(X, 1), t.argmax(axis=1), t.argmax(1)):
        assert np.asarray(found).tolist() == [0, 1]
    assert (t.argmin(dim=0, keepdim=True).tolist(), mg.argmin(t, 0, keepdims=True).tolist()) == ([[1, 0]], [[1, 0]])
    assert (mg.argmax(t), mg.argmin(t), t.argmax()) == (3, 1, 3)


ACTIVATIONS = [nn.Sigmoid, nn.Tanh, nn.ReLU, nn.LeakyReLU, nn.Softplus, nn.LogSigmoid, nn.Softmax, nn.LogSoftmax]


@pytest.mark.parametrize("kind", [*ACTIVATIONS, nn.Identity, lambda: nn.Dropout(0.5, rng=0)])
def test_lists_and_arrays_become_tensors_as_in_linear(kind: Any) -> None:
    expected = kind()(mg.Tensor(X))
    for given in (X, X.tolist(), [X[0], X[1]]):
        found = kind()(given)
        assert isinstance(found, mg.Tensor)
        assert found.tolist() == expected.tolist()
    assert isinstance(kind()(1.5), mg.Tensor)


@pytest.mark.parametrize("kind", ACTIVATIONS[:6])
def test_values_stay_values(kind: Any) -> None:
    assert isinstance(kind()(mg.Value(0.5)), mg.Value)


def test_a_hook_sees_every_call_and_may_replace_what_comes_out() -> None:
    layer, seen = nn.Linear(2, 2, rng=0), []
    plain = layer(X).tolist()
    first = layer.register_forward_hook(lambda module, inputs, output: seen.append((module, inputs, output.tolist())))
    second = layer.register_forward_hook(lambda module, inputs, output: output * 2)
    net = nn.Sequential(layer, nn.Identity())
    assert net(X).tolist() == (2 * np.array(plain)).tolist()
    assert seen[0][0] is layer
    assert seen[0][1][0] is X
    assert seen[0][2] == plain
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other(X).tolist() == plain  # copies have none
    nn.chain(net)
    nn.summary(net)
    assert len(seen) == 1
    second.remove()
    second.remove()
    assert net(X).tolist() == plain
    first.remove()
    net(X)
    assert len(seen) == 2
    handle = layer.register_forward_hook(nn.Identity())
    assert [name for name, _ in layer.named_modules()] == [""]  # a hook is no part of the module
    handle.remove()
    neuron = nn.scalar.Neuron(2, rng=0)
    neuron.register_forward_hook(lambda module, inputs, output: seen.append(output))
    assert neuron([1.0, 2.0]) is seen[-1]


def test_a_hook_sees_every_step_of_a_training() -> None:
    """Where steps would be replayed, it is called all the same: from the start, or put there on the way, or again."""
    model, seen = nn.MLP(2, [3, 1], rng=0), []
    twin = nn.MLP(2, [3, 1], rng=0)
    handles = []

    def watch(history: nn.History) -> None:
        if len(history) in (3, 7):
            handles.append(model.layers[0].register_forward_hook(lambda *call: seen.append(len(history))))
        if len(history) == 5:
            handles[0].remove()

    for net, callback in ((model, watch), (twin, None)):
        optimizer = nn.optim.SGD(net.parameters(), lr=0.1)
        nn.fit(net, (X, [[1.0], [0.0]]), nn.BCEWithLogitsLoss(), optimizer, 10, progress=False, callback=callback)
    assert seen == [3, 4, 7, 8, 9]
    for one, other in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(one.detach().numpy(), other.detach().numpy(), rtol=1e-13)


def test_buffers_are_state_without_gradients() -> None:
    class Centred(nn.Module):
        def __init__(self) -> None:
            self.register_buffer("mean", mg.Tensor([1.0, 2.0]))
            self.register_buffer("seen", mg.Tensor(0), persistent=False)
            self.register_buffer("later", None)
            self.scale = nn.Parameter([1.0, 1.0])

        def forward(self, x: Any) -> Any:
            self.mean = 0.5 * self.mean + 0.5 * mg.mean(x, axis=0)
            return (x - self.mean) * self.scale

    net = nn.Sequential(Centred(), nn.Linear(2, 1, rng=0))
    assert [name for name, _ in net.named_buffers()] == ["0.mean", "0.seen"]
    assert [name for name, _ in net.named_parameters()] == ["0.scale", "1.weight", "1.bias"]
    assert list(net.state_dict()) == ["0.scale", "0.mean", "1.weight", "1.bias"]
    net(mg.Tensor(X, requires_grad=True))
    state = net.state_dict()
    assert state["0.mean"].tolist() == ((np.array([1, 2]) + X.mean(axis=0)) / 2).tolist()
    for other in (nn.Sequential(Centred(), nn.Linear(2, 1, rng=5)), copy.deepcopy(nn.Sequential(Centred(), net[1]))):
        other.load_state_dict(state)
        assert other[0].mean.tolist() == state["0.mean"].tolist()
    net.load_state_dict({**state, "0.mean": [7.0, 8.0]})  # the buffer has a history here
    assert net[0].mean.tolist() == [7.0, 8.0]
    assert len(list(net[0].buffers())) == 2
    with pytest.raises(ValueError, match=r"Missing key\(s\) in state_dict: \"0.mean\""):
        net.load_state_dict({name: array for name, array in state.items() if name != "0.mean"})
    for wrong, error in ((("mean", 3), TypeError), ((3, None), TypeError), (("forward", None), KeyError),
                         (("a.b", None), KeyError), (("", None), KeyError)):  # fmt: skip
        with pytest.raises(error, match=r", at test_torch_idioms.py"):
            net[0].register_buffer(*wrong)
    with pytest.raises(TypeError, match=r"cannot assign 'int' as buffer 'mean' .*, at test_torch_idioms.py"):
        net[0].mean = 3


def test_a_buffer_is_saved_with_the_training(tmp_path: Any) -> None:
    models = []
    for start in (1.0, 2.0):
        model = nn.Linear(1, 1, rng=0)
        model.register_buffer("steps", mg.Tensor(start))
        models.append(model)
    nn.save(tmp_path / "model.npz", models[0])
    nn.load(tmp_path / "model.npz", models[1])
    assert models[1].steps.item() == 1.0


def test_freezing_thawing_children_and_apply() -> None:
    shared = nn.Tanh()
    net = nn.Sequential(nn.Linear(2, 2, rng=0), shared, shared)
    assert net.requires_grad_(False) is net
    assert not any(p.requires_grad for p in net.parameters())
    assert all(p.requires_grad for p in net.requires_grad_().parameters())
    assert [name for name, _ in net.named_children()] == ["0", "1"]

    def fill(module: nn.Module) -> None:
        if isinstance(module, nn.Linear):
            nn.init.ones_(module.weight)

    assert net.apply(fill) is net
    assert net[0].weight.tolist() == [[1.0, 1.0], [1.0, 1.0]]
    net.add_module("extra", nn.ReLU())
    assert net[-1] is net.extra


@pytest.mark.oracles
def test_functions_are_torchs() -> None:
    T = pytest.importorskip("torch")
    t, z, x, k = T.nn.functional, T.tensor(X), mg.Tensor(X), np.array([1, 0])
    p, w, b = np.clip(X, 0.2, 0.8), np.array([[1.0, 2.0]]), np.array([0.5])
    for ours, theirs in (
        (F.relu(x), t.relu(z)), (F.leaky_relu(x, 0.2), t.leaky_relu(z, 0.2)), (F.sigmoid(x), t.sigmoid(z)),
        (F.tanh(x), t.tanh(z)), (F.softplus(x, 2.0), t.softplus(z, 2.0)), (F.logsigmoid(x), t.logsigmoid(z)),
        (F.softmax(x, dim=0), t.softmax(z, dim=0)), (F.log_softmax(x, dim=1), t.log_softmax(z, dim=1)),
        (F.linear(x, mg.Tensor(w), mg.Tensor(b)), t.linear(z, T.tensor(w), T.tensor(b))),
        (F.cross_entropy(x, k), t.cross_entropy(z, T.tensor(k))),
        (F.nll_loss(F.log_softmax(x, dim=1), k), t.nll_loss(t.log_softmax(z, dim=1), T.tensor(k))),
        (F.mse_loss(x, p), t.mse_loss(z, T.tensor(p))), (F.l1_loss(x, p), t.l1_loss(z, T.tensor(p))),
        (F.huber_loss(x, p, delta=0.5), t.huber_loss(z, T.tensor(p), delta=0.5)),
        (F.smooth_l1_loss(x, p, beta=0.5), t.smooth_l1_loss(z, T.tensor(p), beta=0.5)),
        (F.binary_cross_entropy(mg.Tensor(p), 1 - p), t.binary_cross_entropy(T.tensor(p), T.tensor(1 - p))),
        (F.binary_cross_entropy_with_logits(x, p), t.binary_cross_entropy_with_logits(z, T.tensor(p))),
        (F.dropout(x, 0.5, training=False), t.dropout(z, 0.5, training=False)),
    ):  # fmt: skip
        np.testing.assert_allclose(ours.detach().numpy(), theirs.numpy(), rtol=1e-12)


def test_functions_have_their_names_in_one_place() -> None:
    assert nn.functional is F
    assert F.relu is mg.relu
    assert F.cross_entropy is nn.cross_entropy is nn.losses.cross_entropy
    dropped = F.dropout(mg.Tensor(np.ones(1000)), 0.25, rng=0).numpy()
    assert set(dropped.tolist()) == {0.0, 1 / 0.75}
    assert F.dropout([1.0, 2.0], rng=7).tolist() == nn.Dropout(rng=7)([1.0, 2.0]).tolist()
    with pytest.raises(ValueError, match="dropout probability has to be between 0 and 1"):
        F.dropout(X, 2.0)
