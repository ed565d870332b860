"""Layers compute their formula, are stacked in order, and refuse what does not fit."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
import nn
from nn.layers import ACTIVATIONS

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
    nn.LeakyReLU: lambda z: z * np.where(z > 0, 1, 0.01),
    nn.Softplus: lambda z: np.log(1 + np.exp(z)),
    nn.LogSigmoid: lambda z: np.log(1 / (1 + np.exp(-z))),
    nn.LogSoftmax: lambda z: z - np.log(np.exp(z).sum(axis=-1, keepdims=True)),
}


@pytest.mark.parametrize("activation", FORMULAS)
def test_activations(activation: type[nn.Module]) -> None:
    Z = RNG.normal(size=(4, 3))
    np.testing.assert_allclose(activation()(mg.Tensor(Z)).numpy(), FORMULAS[activation](Z), rtol=1e-14)


@pytest.mark.parametrize("activation", [each for each in FORMULAS if each not in (nn.ReLU, nn.LeakyReLU)])
def test_gradients_of_activations_are_the_complex_step_of_their_formulas(activation: type[nn.Module]) -> None:
    """Of a weighted sum of the outputs, so that softmax too has a gradient."""
    Z, weights = RNG.normal(size=(2, 3)), RNG.normal(size=(2, 3))
    z = mg.Tensor(Z, requires_grad=True)
    mg.sum(activation()(z) * weights).backward()
    for index in np.ndindex(Z.shape):
        moved = Z.astype(complex)
        moved[index] += 1e-200j
        expected = (FORMULAS[activation](moved) * weights).sum().imag / 1e-200
        assert z.grad[index] == pytest.approx(expected, rel=1e-12, abs=1e-15)


def test_settings_of_activations() -> None:
    z = mg.Tensor([-2.0, 0.0, 3.0], requires_grad=True)
    leaky = nn.LeakyReLU(0.25)(z)
    leaky.sum().backward()
    assert leaky.tolist() == [-0.5, 0.0, 3.0]
    assert z.grad.tolist() == [0.25, 0.25, 1.0]  # at the kink the slope of the left side, as in torch
    np.testing.assert_allclose(nn.Softplus(beta=2)(z).detach().numpy(), np.log1p(np.exp(2 * z.data)) / 2, rtol=1e-14)
    assert nn.Softplus(3.0)(mg.Tensor([-1000.0, 1000.0])).tolist() == [0.0, 1000.0]
    assert nn.LogSoftmax(dim=0)(mg.Tensor([[0.0], [1000.0]])).tolist() == [[-1000.0], [0.0]]
    shown = [nn.LeakyReLU(), nn.Softplus(), nn.LogSigmoid(), nn.LogSoftmax(), nn.Dropout(), nn.Flatten()]
    assert list(map(repr, shown)) == [
        "LeakyReLU(negative_slope=0.01)",
        "Softplus(beta=1.0)",
        "LogSigmoid()",
        "LogSoftmax(axis=-1)",
        "Dropout(p=0.5)",
        "Flatten(start_dim=1, end_dim=-1)",
    ]


# Dropout


def test_dropout_zeroes_or_scales_and_keeps_the_mean() -> None:
    """Each number is 0 with probability p, else x / (1 - p); 100,000 draws have a standard error of 0.15 %."""
    x = RNG.uniform(1, 2, 100_000)
    out = nn.Dropout(0.2, rng=0)(mg.Tensor(x)).numpy()
    assert set(np.round(out / x, 12)) == {0.0, 1.25}
    assert (out == 0).mean() == pytest.approx(0.2, abs=0.006)
    assert out.mean() == pytest.approx(x.mean(), rel=0.01)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_mask_is_a_constant_of_the_graph(dtype: Any) -> None:
    """One multiplication by an array, in the input's precision; the gradient is that array."""
    x = mg.Tensor(RNG.normal(size=(4, 3)).astype(dtype), requires_grad=True)
    out = nn.Dropout(0.5, rng=1)(x)
    given, mask = out.inputs
    assert out.rule.__name__ == "multiply"
    assert given is x
    assert not isinstance(mask, mg.Node)
    assert set(np.unique(mask)) == {0.0, 2.0}
    out.sum().backward()
    assert (x.grad == mask).all()
    assert x.grad.dtype == out.dtype == mask.dtype == dtype


def test_dropout_is_the_identity_in_evaluation_and_at_p_0() -> None:
    x = mg.Tensor([1.0, 2.0])
    layer = nn.Dropout(0.9, rng=0)
    before = layer.rng.bit_generator.state
    assert layer.eval()(x) is x
    assert nn.Dropout(0.0)(x) is x
    assert layer.rng.bit_generator.state == before
    assert layer.train()(x).tolist() != [1.0, 2.0]


def test_dropout_of_1_leaves_nothing() -> None:
    x = mg.Tensor([1.0, -2.0], requires_grad=True)
    out = nn.Dropout(1.0)(x)
    out.sum().backward()
    assert out.tolist() == x.grad.tolist() == [0.0, 0.0]


def test_masks_repeat_from_the_seed_and_go_on_in_copies() -> None:
    """Another mask in each call; the same ones again from the same seed, from a deep copy and from a pickle."""
    x = mg.Tensor(np.ones(64))
    layer, again = nn.Dropout(rng=3), nn.Dropout(rng=3)
    first = layer(x).tolist()
    assert again(x).tolist() == first
    copies = [copy.deepcopy(layer), pickle.loads(pickle.dumps(layer)), again]
    second = layer(x).tolist()
    assert second != first
    assert [other(x).tolist() for other in copies] == [second] * 3
    assert nn.Dropout()(x).tolist() != nn.Dropout()(x).tolist()
    rng = np.random.default_rng(0)
    assert nn.Dropout(rng=rng).rng is rng


def test_dropout_draws_from_no_global_state() -> None:
    np.random.seed(0)  # noqa: NPY002  (what must not matter)
    before = np.random.get_state()[1].tolist()  # noqa: NPY002
    nn.Dropout()(mg.Tensor(np.ones(10)))
    assert np.random.get_state()[1].tolist() == before  # noqa: NPY002


# Flatten


@given(st.lists(st.integers(0, 3), min_size=1, max_size=4), st.data())
def test_flatten_joins_axes_and_keeps_the_order(shape: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(shape) - 1))
    end = data.draw(st.integers(start, len(shape) - 1))
    x = mg.Tensor(np.arange(float(np.prod(shape))).reshape(shape), requires_grad=True)
    joined = [*shape[:start], int(np.prod(shape[start : end + 1])), *shape[end + 1 :]]
    for first, last in ((start, end), (start - len(shape), end - len(shape))):
        flat = nn.Flatten(first, last)(x)
        assert list(flat.shape) == joined
        assert flat.detach().numpy().ravel().tolist() == x.detach().numpy().ravel().tolist()
    flat.sum().backward()
    assert (x.grad == 1).all()


def test_layers_take_what_a_tensor_is_made_of() -> None:
    assert nn.Flatten()([[[1.0], [2.0]]]).tolist() == [[1.0, 2.0]]
    assert nn.Dropout(0.5).eval()(np.ones(2)).tolist() == [1.0, 1.0]
    assert nn.Dropout(1)([1, 2]).tolist() == [0.0, 0.0]


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


def test_each_hidden_layer_may_have_its_own_activation() -> None:
    """By name, class, function or instance; the output's apart. Names of parameters and draws stay the same."""
    leaky = nn.LeakyReLU(0.2)
    kinds = [nn.Linear, nn.ReLU, nn.Linear, nn.Tanh, nn.Linear, nn.LeakyReLU, nn.Linear, nn.Softplus, nn.Linear]
    given = ["relu", nn.Tanh, leaky, lambda: nn.Softplus(2)]
    model = nn.MLP(2, [5, 4, 3, 2, 3], activation=given, output="log_softmax", rng=0)
    assert [type(module) for module in model.layers] == [*kinds, nn.LogSoftmax]
    assert model.layers[5] is leaky
    assert model.layers[7].beta == 2
    np.testing.assert_allclose(mg.exp(model(mg.Tensor(RNG.normal(size=(4, 2))))).sum(axis=1).tolist(), 1.0, rtol=1e-14)
    same = [
        nn.MLP(2, [3, 1], each, rng=0) for each in ("tanh", nn.Tanh, nn.Tanh(), [nn.Tanh], ("tanh",), lambda: nn.Tanh())
    ]
    states = [{name: array.tolist() for name, array in model.state_dict().items()} for model in same]
    assert states == [states[0]] * 6
    assert len({repr(model) for model in same}) == 1


def test_identity_adds_no_layer_however_it_is_given() -> None:
    for way in ("identity", nn.Identity, nn.Identity(), ["identity"]):
        assert len(nn.MLP(2, [3, 1], way, rng=0).layers) == 2


def test_an_instance_is_used_wherever_it_is_needed() -> None:
    """So one Dropout goes on drawing from one generator: its masks differ from layer to layer."""
    drop = nn.Dropout(0.5, rng=0)
    model = nn.MLP(64, [64, 64, 1], activation=drop, rng=0)
    assert model.layers[1] is model.layers[3] is drop
    assert nn.MLP(2, [1], activation=[], rng=0)(mg.Tensor([[1.0, 2.0]])).shape == (1, 1)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_every_name_makes_its_layer_and_trains(name: str) -> None:
    hidden = name if name not in ("softmax", "log_softmax") else "tanh"
    model = nn.MLP(3, [4, 2], activation=hidden, output=name, rng=0)
    mg.sum(mg.square(model(mg.Tensor(RNG.normal(size=(5, 3)))))).backward()
    assert all(np.isfinite(p.grad).all() and p.grad.any() for p in model.parameters())


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


def test_leaky_nets_start_by_he_for_their_slope() -> None:
    """Variance 2 / ((1 + s^2) fan_in): He et al. 2015, equation 15."""
    for way, slope in (("leaky_relu", 0.01), (nn.LeakyReLU(1.0), 1.0), (lambda: nn.LeakyReLU(0.5), 0.5)):
        weight = nn.MLP(300, [200, 1], activation=way, rng=0).layers[0].weight.detach().numpy()
        assert abs(weight).max() == pytest.approx((6 / (1 + slope**2) / 300) ** 0.5, rel=0.01)


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
            "activation 'softmax' is not one of identity, sigmoid, tanh, relu, leaky_relu, softplus, at test_layers.py",
        ),
        (lambda: nn.MLP(2, [1], activation=mg.relu), TypeError, 'got <function relu.*: write activation="relu", at'),
        (lambda: nn.MLP(2, [1], output=mg.softmax), TypeError, 'got <function softmax.*: write output="softmax", at'),
        (lambda: nn.MLP(2, [1], activation=dict), TypeError, r"activation <class 'dict'> made \{\}, expected a Module"),
        (lambda: nn.MLP(2, [1], activation=None), TypeError, "a name, a Module, or makes one without .*got None"),
        (lambda: nn.MLP(2, [1], activation=nn.Linear), TypeError, "makes one without arguments.*in_features"),
        (
            lambda: nn.MLP(2, [4, 3, 1], activation=["relu"]),
            ValueError,
            r"activation lists 1, expected 2, one for each hidden layer \(the last layer's is output=\)",
        ),
        (lambda: nn.MLP(2, [3, 1], activation=["swish"]), ValueError, "activation 'swish' is not one of"),
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
        (lambda: nn.LogSoftmax(0, dim=1), TypeError, "LogSoftmax: axis=0 and dim=1 are one thing.*test_layers.py"),
        (
            lambda: nn.LeakyReLU("a"),
            TypeError,
            "LeakyReLU: negative_slope must be a number, got 'a', at test_layers.py",
        ),
        (lambda: nn.LeakyReLU(np.nan), ValueError, "negative_slope must be finite"),
        (lambda: nn.Softplus(0), ValueError, "Softplus: beta must be above 0, got 0, at test_layers.py"),
        (lambda: nn.Softplus(None), TypeError, "beta must be a number, got None"),
        (
            lambda: nn.Dropout(1.5),
            ValueError,
            "dropout probability has to be between 0 and 1, but got 1.5, at test_layers.py",
        ),
        (lambda: nn.Dropout(-0.1), ValueError, "has to be between 0 and 1"),
        (lambda: nn.Dropout(np.nan), ValueError, "Dropout: p must be finite"),
        (lambda: nn.Dropout(True), TypeError, "Dropout: p must be a number, got True"),
        (lambda: nn.Dropout(rng="a"), TypeError, "rng: expected a numpy.random.Generator.*test_layers.py"),
        (lambda: nn.Dropout()(["a"]), TypeError, "test_layers.py"),
        (lambda: nn.Flatten(1.0), TypeError, "Flatten: start_dim must be an integer, got 1.0, at test_layers.py"),
        (
            lambda: nn.Flatten()(mg.Tensor([1.0])),
            ValueError,
            r"dimension out of range: input of shape \(1,\) has no axes",
        ),
        (
            lambda: nn.Flatten(2, 1)(mg.Tensor([[[1.0]]])),
            ValueError,
            "start_dim cannot come after end_dim.*test_layers",
        ),
        (lambda: nn.Softmax("a"), TypeError, "Softmax: axis must be an integer, got 'a', at test_layers.py"),
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
    output, expected = model(mg.Tensor(X)), twin(torch.tensor(X))
    np.testing.assert_allclose(output.detach().numpy(), expected.detach().numpy(), rtol=1e-13)
    assert repr(model.layers) == repr(twin)
    mg.sum(mg.square(output)).backward()
    (expected**2).sum().backward()
    for ours, theirs in zip(model.parameters(), twin.parameters(), strict=True):
        np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-12, atol=1e-14)


@pytest.mark.oracles
@settings(max_examples=25)
@given(st.data())
def test_torch_gives_the_same_activations(data: st.DataObject) -> None:
    """Values and gradients, over random shapes and settings."""
    torch = pytest.importorskip("torch")
    shape = data.draw(st.lists(st.integers(1, 4), min_size=2, max_size=4))
    slope, beta = data.draw(st.sampled_from([0.0, 0.01, 0.3, -0.5])), data.draw(st.sampled_from([0.5, 1.0, 3.0]))
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    start = data.draw(st.integers(0, len(shape) - 1))
    x = np.random.default_rng(data.draw(st.integers(0, 2**16))).normal(size=shape) * 3
    pairs = [
        (nn.Sigmoid(), torch.nn.Sigmoid()),
        (nn.Tanh(), torch.nn.Tanh()),
        (nn.ReLU(), torch.nn.ReLU()),
        (nn.Identity(), torch.nn.Identity()),
        (nn.LeakyReLU(slope), torch.nn.LeakyReLU(slope)),
        (nn.Softplus(beta), torch.nn.Softplus(beta, threshold=50)),  # torch's is the identity from there on
        (nn.LogSigmoid(), torch.nn.LogSigmoid()),
        (nn.Softmax(dim=axis), torch.nn.Softmax(dim=axis)),
        (nn.LogSoftmax(dim=axis), torch.nn.LogSoftmax(dim=axis)),
        (nn.Flatten(start), torch.nn.Flatten(start)),
        (nn.Dropout(0.0), torch.nn.Dropout(0.0)),
        (nn.Dropout(1.0), torch.nn.Dropout(1.0)),
        (nn.Dropout(0.5).eval(), torch.nn.Dropout(0.5).eval()),
    ]
    for our_layer, their_layer in pairs:
        ours, theirs = mg.Tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        out, expected = our_layer(ours), their_layer(theirs)
        np.testing.assert_allclose(out.detach().numpy(), expected.detach().numpy(), rtol=1e-12, atol=1e-15)
        weights = np.cos(np.arange(out.size)).reshape(out.shape)
        (out * weights).sum().backward()
        (expected * torch.tensor(weights)).sum().backward()
        np.testing.assert_allclose(ours.grad, theirs.grad.numpy(), rtol=1e-11, atol=1e-14)
