"""Layers compute their formula, are stacked in order, and refuse what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

import microgrid as mg
import nn

RNG = np.random.default_rng(1)


def test_linear_is_x_wt_plus_b_in_one_node() -> None:
    layer = nn.Linear(3, 2, rng=0)
    nn.init.normal_(layer.bias, rng=1)
    X = RNG.normal(size=(5, 3))
    z = layer(mg.Tensor(X))
    np.testing.assert_allclose(
        z.detach().numpy(), X @ layer.weight.detach().numpy().T + layer.bias.detach().numpy(), rtol=1e-14
    )
    assert z.rule.__name__ == "linear"
    assert z.inputs[1:] == (layer.weight, layer.bias)
    assert layer(mg.Tensor(np.ones((4, 5, 3)))).shape == (4, 5, 2)


def test_linear_without_bias() -> None:
    layer = nn.Linear(3, 2, bias=False, rng=0)
    X = RNG.normal(size=(5, 3))
    np.testing.assert_allclose(layer(mg.Tensor(X)).detach().numpy(), X @ layer.weight.detach().numpy().T, rtol=1e-14)
    assert layer.bias is None
    assert repr(layer) == "Linear(in_features=3, out_features=2, bias=False)"


def test_linear_takes_an_initialiser_and_starts_its_bias_at_0() -> None:
    layer = nn.Linear(3, 2, init=lambda weight, rng: nn.init.constant_(weight, 5.0))
    assert layer.weight.tolist() == [[5.0] * 3] * 2
    assert layer.bias.tolist() == [0.0, 0.0]


def test_float32_stays_float32_through_value_and_gradient() -> None:
    model = nn.MLP(3, [4, 2], rng=0, dtype=np.float32)
    loss = nn.BCEWithLogitsLoss()(model(mg.Tensor(np.ones((5, 3), np.float32))), np.ones((5, 2)))
    loss.backward()
    assert loss.dtype == np.float32
    assert {p.grad.dtype for p in model.parameters()} == {np.dtype(np.float32)}


FORMULAS = {
    nn.Sigmoid: lambda z: 1 / (1 + np.exp(-z)),
    nn.Tanh: lambda z: (np.exp(z) - np.exp(-z)) / (np.exp(z) + np.exp(-z)),
    nn.ReLU: lambda z: z * (z > 0),
    nn.Softmax: lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True),
    nn.Identity: lambda z: z,
}


@pytest.mark.parametrize("activation", FORMULAS)
def test_activations(activation: type[nn.Module]) -> None:
    Z = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(activation()(mg.Tensor(Z)).numpy(), FORMULAS[activation](Z), rtol=1e-14)


def test_softmax_axis() -> None:
    Z = mg.Tensor(RNG.normal(size=(4, 3)))
    np.testing.assert_allclose(nn.Softmax(axis=0)(Z).numpy().sum(axis=0), 1.0, rtol=1e-15)
    assert nn.Softmax()(mg.Tensor([1.0, 1.0])).tolist() == [0.5, 0.5]  # the last axis by default
    for axis in (0, 1):
        assert nn.Softmax(dim=axis)(Z).tolist() == nn.Softmax(axis)(Z).tolist()  # torch's word
    assert nn.Softmax(dim=0)(Z).tolist() != nn.Softmax()(Z).tolist()


def test_sequential_is_a_list_of_modules() -> None:
    a, s, b = nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.Linear(3, 1, rng=1)
    net = nn.Sequential(a, s, b)
    assert (len(net), net[0], net[-1], list(net)) == (3, a, b, [a, s, b])
    assert isinstance(net[1:], nn.Sequential)
    assert list(net[1:]) == [s, b]
    assert [name for name, _ in net.named_parameters()] == ["0.weight", "0.bias", "2.weight", "2.bias"]
    X = mg.Tensor(RNG.normal(size=(4, 2)))
    assert net(X).tolist() == b(s(a(X))).tolist()
    net[-1] = tail = nn.Linear(3, 5, rng=2)
    assert list(net) == [a, s, tail]
    assert list(net.append(s)) == [a, s, tail, s]
    with pytest.raises(IndexError):
        net[4]
    with pytest.raises(IndexError):
        net[4] = s


def test_a_module_that_stands_twice_is_applied_twice() -> None:
    twice = nn.Linear(2, 2, rng=0)
    net = nn.Sequential(twice, nn.Sigmoid(), twice)
    X = mg.Tensor(RNG.normal(size=(4, 2)))
    assert net(X).tolist() == twice(mg.sigmoid(twice(X))).tolist()
    assert len(net) == 3
    assert len(list(net.parameters())) == 2


@pytest.mark.parametrize("wrong", [nn.Sigmoid, [nn.Sigmoid()], "sigmoid"])
def test_sequential_refuses_what_is_no_module(wrong: object) -> None:
    with pytest.raises(TypeError, match=r"Sequential: expected modules, got .* instances one by one"):
        nn.Sequential(wrong)


def test_mlp_is_linear_activation_linear() -> None:
    model = nn.MLP(2, [4, 3, 1], activation="tanh", output="sigmoid", rng=0)
    kinds = [type(module) for module in model.layers]
    assert kinds == [nn.Linear, nn.Tanh, nn.Linear, nn.Tanh, nn.Linear, nn.Sigmoid]
    assert [p.shape for p in model.parameters()] == [(4, 2), (4,), (3, 4), (3,), (1, 3), (1,)]
    X = mg.Tensor(RNG.normal(size=(5, 2)))
    A = X
    for module in model.layers:
        A = module(A)
    assert model(X).tolist() == A.tolist()


def test_sizes_may_be_an_array() -> None:
    given, listed = (nn.MLP(3, nouts, rng=0).state_dict() for nouts in (np.array([2, 1]), [2, 1]))
    assert list(given) == list(listed)
    assert all((given[name] == listed[name]).all() for name in listed)


def test_parameter_inventory() -> None:
    """One weight per link, one bias per unit that is no input (note 004)."""
    nin, nouts = 5, [7, 4, 2]
    sizes = [nin, *nouts]
    count = sum(n * (before + 1) for before, n in zip(sizes, nouts, strict=False))
    assert sum(p.size for p in nn.MLP(nin, nouts, rng=0).parameters()) == count


def test_relu_nets_start_by_he_and_sigmoid_nets_by_glorot() -> None:
    bound = {
        name: abs(nn.MLP(300, [200, 1], activation=name, rng=0).layers[0].weight.detach().numpy()).max()
        for name in ("relu", "sigmoid", "tanh")
    }
    assert bound["relu"] == pytest.approx((6 / 300) ** 0.5, rel=0.01)
    assert bound["sigmoid"] == bound["tanh"] == pytest.approx((6 / 500) ** 0.5, rel=0.01)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: nn.Linear(0, 2), ValueError, "in_features must be at least 1, got 0"),
        (lambda: nn.Linear(2, -1), ValueError, "out_features must be at least 1, got -1"),
        (lambda: nn.Linear(2.5, 1), TypeError, "in_features must be an integer, got 2.5"),
        (lambda: nn.Linear("2", 1), TypeError, "in_features must be an integer, got '2'"),
        (lambda: nn.MLP(2, []), ValueError, "nouts is empty"),
        (lambda: nn.MLP(2, 1), TypeError, r"MLP: nouts must be the sizes of the layers, as in \[16, 1\], got 1"),
        (lambda: nn.MLP(2, [3, 0]), ValueError, "out_features must be at least 1"),
        (lambda: nn.MLP(2, [1], activation="swish"), ValueError, "activation 'swish' is not one of identity, sigmoid"),
        (lambda: nn.MLP(2, [1], output="logit"), ValueError, "MLP: output 'logit' is not one of identity"),
        (
            lambda: nn.MLP(2, [1], activation="softmax"),
            ValueError,
            "activation 'softmax' is not one of identity, sigmoid, tanh, relu, at test_layers.py",
        ),
        *[
            (
                lambda given=given: nn.MLP(2, [1], activation=given),
                TypeError,
                'activation is .*: write activation="relu"',
            )
            for given in (nn.ReLU(), nn.ReLU, mg.relu)
        ],
        (lambda: nn.MLP(2, [1], output=nn.Softmax()), TypeError, 'output is given by its name.*write output="softmax"'),
        (
            lambda: nn.MLP(2, [1], activation=np.cosh),
            TypeError,
            "expected one of 'identity', 'sigmoid', 'tanh', 'relu'",
        ),
        (lambda: nn.MLP(3, [True]), TypeError, "out_features must be an integer, got True.*test_layers.py"),
        (lambda: nn.Linear(np.True_, 1), TypeError, "in_features must be an integer, got np.True_"),
        (lambda: nn.MLP(3, np.array([2.0, 1.0])), TypeError, "out_features must be an integer"),
        (lambda: nn.MLP(3, np.array([[2, 1]])), TypeError, "nouts must be the sizes of the layers"),
        (lambda: nn.MLP(3, np.array(2)), TypeError, "nouts must be the sizes of the layers"),
        (lambda: nn.MLP(3, b"ab"), TypeError, "nouts must be the sizes of the layers"),
        (lambda: nn.MLP(3, [1], rng="a"), TypeError, "rng: expected a numpy.random.Generator.*got 'a', at test_layers"),
        (lambda: nn.MLP(3, [1], rng=-1), ValueError, "rng: expected .* an integer >= 0 or None, got -1"),
        (lambda: nn.Linear(3, 1, rng="a"), TypeError, "rng: expected .* got 'a', at test_layers.py"),
        (lambda: nn.Softmax(0, dim=1), TypeError, "axis=0 and dim=1 are one thing"),
        (lambda: nn.MLP(2, [3], rng=0)(mg.Tensor([[1.0, 2.0, 3.0]])), ValueError, r"linear.*\(1, 3\).*test_layers.py"),
    ],
)
def test_refusals(make, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.oracles
def test_torch_computes_the_same_from_the_same_state() -> None:
    """Names and shapes are those of torch's own stack, so a state moves over as it is."""
    torch = pytest.importorskip("torch")
    model = nn.MLP(4, [5, 3], rng=0)
    twin = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Sigmoid(), torch.nn.Linear(5, 3)).double()
    twin.load_state_dict({name: torch.tensor(array) for name, array in model.layers.state_dict().items()})
    X = RNG.normal(size=(6, 4))
    np.testing.assert_allclose(model(mg.Tensor(X)).detach().numpy(), twin(torch.tensor(X)).detach().numpy(), rtol=1e-13)
    assert repr(model.layers) == repr(twin)
