"""What is read off a model for the picture of its neurons, and what is no stack of layers."""

import numpy as np
import pytest

import microgrid as mg
import nn
from viz.plots.units import columns

X = np.array([0.5, -1.0, 2.0])


def test_the_columns_are_the_models_arrays_and_activations() -> None:
    """By hand: a1 = tanh(W1 x + b1), a2 = softmax(W2 a1 + b2)."""
    model = nn.MLP(3, [4, 2], activation="tanh", output="softmax", rng=0)
    rng = np.random.default_rng(1)
    for parameter in model.parameters():
        parameter._replace(rng.normal(size=parameter.shape))
    W1, b1, W2, b2 = (p.detach().numpy() for p in model.parameters())
    inputs, hidden, outputs = columns(model, X)
    a1 = np.tanh(W1 @ X + b1)
    z2 = W2 @ a1 + b2
    assert [column.function for column in (inputs, hidden, outputs)] == ["", "Tanh", "Softmax"]
    np.testing.assert_array_equal(hidden.weight, W1)
    np.testing.assert_array_equal(outputs.bias, b2)
    np.testing.assert_array_equal(inputs.activations, X)
    np.testing.assert_allclose(hidden.activations, a1)
    np.testing.assert_allclose(outputs.activations, np.exp(z2) / np.exp(z2).sum())


def test_values_and_arrays_are_one_network() -> None:
    arrays = nn.MLP(3, [4, 2], activation="sigmoid", rng=0)
    for one, other in zip(columns(arrays, X), columns(nn.scalar.to_scalar(arrays), X), strict=True):
        assert (one.size, one.function) == (other.size, other.function)
        np.testing.assert_allclose(one.activations, other.activations)
        if one.weight is not None:
            np.testing.assert_array_equal(one.weight, other.weight)
            np.testing.assert_array_equal(one.bias, other.bias)


def test_micrograds_networks_are_known() -> None:
    engine = pytest.importorskip("micrograd.nn")
    inputs, hidden, outputs = columns(engine.MLP(2, [3, 1]), [1.0, 2.0])
    assert (inputs.size, hidden.size, outputs.size) == (2, 3, 1)
    assert (hidden.function, outputs.function) == ("ReLU", "")


def test_sequential_with_all_that_may_stand_in_it() -> None:
    """Dropout is off in a picture; one activation may stand in two places; a layer may have no bias."""
    g = nn.Tanh()
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(4, 3, rng=0), nn.Dropout(0.5), g, nn.Linear(3, 2, False, rng=0), g, nn.Identity()
    )
    inputs, hidden, outputs = columns(model)
    assert [column.function for column in (inputs, hidden, outputs)] == ["Flatten", "Tanh", "Tanh"]
    assert outputs.bias is None
    assert [column.activations for column in (inputs, hidden, outputs)] == [None] * 3
    assert columns(nn.Linear(2, 1, rng=0))[1].function == ""


class Functional(nn.Module):
    """Its activation is called, and is no module."""

    def __init__(self) -> None:
        self.first, self.second = nn.Linear(3, 3, rng=0), nn.Linear(3, 1, rng=1)

    def forward(self, x):
        return self.second(mg.tanh(self.first(x)))


class Scaled(nn.Module):
    def __init__(self) -> None:
        self.scale = nn.Parameter([1.0, 2.0, 3.0])
        self.line = nn.Linear(3, 1, rng=0)

    def forward(self, x):
        return self.line(x * self.scale)


class Gain(nn.Module):
    def __init__(self) -> None:
        self.gain = nn.Parameter([2.0])

    def forward(self, x):
        return x * self.gain


def uneven() -> nn.scalar.Layer:
    layer = nn.scalar.Layer(3, 2, rng=0)
    layer.neurons[1].w.pop()
    return layer


def symbolic() -> nn.scalar.Layer:
    sympy = pytest.importorskip("sympy")
    layer = nn.scalar.Layer(1, 1, rng=0)
    layer.neurons[0].w[0] = mg.Value(sympy.Symbol("w"))
    return layer


def broken(number: float) -> nn.MLP:
    model = nn.MLP(3, [2, 1], rng=0)
    model.layers[2].weight._replace(np.array([[1.0, number]]))
    return model


@pytest.mark.parametrize(
    ("make", "x", "error", "text"),
    [
        (lambda: 3, None, TypeError, "expected a model of layers, such as nn.MLP or nn.Sequential, got int 3"),
        (lambda: nn.Tanh(), None, ValueError, "holds no layer with weights"),
        (Functional, None, ValueError, "Functional is no stack of layers: it gives something else than its 2 modules"),
        (Scaled, None, ValueError, "Scaled is no stack of layers"),
        (lambda: nn.Sequential(nn.Linear(3, 1, rng=0), Gain()), None, ValueError, "1 is Gain with the parameters gain"),
        (lambda: nn.Sequential(nn.Linear(3, 2, rng=0), nn.Linear(3, 1, rng=0)), None, ValueError,
         "0 gives 2 numbers and 1 takes 3: the model is no stack of layers"),
        (uneven, None, ValueError, "the neurons of layer take 3, 2 inputs"),
        (symbolic, None, TypeError, "layer holds .*Value.*, expected numbers"),
        (lambda: broken(np.nan), None, ValueError, r"the weight of layers\.2: 1 of 2 numbers are not finite"),
        (lambda: broken(1.0), [1.0, 2.0], ValueError, r"x has shape \(2,\), expected \(3,\), one sample such as"),
        (lambda: broken(1.0), [1.0, np.inf, 0.0], ValueError, "x: 1 of 3 numbers are not finite"),
        (lambda: broken(1.0), "abc", TypeError, "x must be one sample of numbers, got str 'abc'"),
    ],
)  # fmt: skip
def test_what_cannot_be_drawn_is_refused(make, x, error, text) -> None:
    with pytest.raises(error, match=rf"network: .*{text}.*, at test_units\.py:\d+"):
        columns(make(), x)


def test_activations_that_overflow_are_refused() -> None:
    model = nn.Sequential(nn.Linear(1, 1, rng=0), nn.Linear(1, 1, rng=0))
    for parameter in model.parameters():
        parameter._replace(np.full(parameter.shape, 1e200))
    columns(model)[1]  # without a sample there is none
    with pytest.raises(ValueError, match="the activations after 1: 1 of 1 numbers are not finite"):
        columns(model, [1.0])
