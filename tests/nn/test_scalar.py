"""Networks of Values: micrograd's scripts run unchanged and to the same numbers; one model, of Values or of arrays."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import random
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
from nn import scalar

# ---------------------------------------------------------------------------------------------- micrograd's surface

# What a user of micrograd wrote, with micrograd's imports. Only these lines may change.
IMPORTS = {
    "from micrograd.engine import Value": "from microgrid import Value",
    "from micrograd.nn import Neuron, Layer, MLP": "from nn.scalar import Neuron, Layer, MLP",
}

SCRIPT = """
import math
import random

from micrograd.engine import Value
from micrograd.nn import Neuron, Layer, MLP

random.seed(1337)

# two moons, one upside down beside the other
points, labels = [], []
for i in range(14):
    t = math.pi * (i // 2) / 6
    noise = (random.gauss(0, 0.1), random.gauss(0, 0.1))
    if i % 2:
        point = (1 - math.cos(t) + noise[0], 0.5 - math.sin(t) + noise[1])
    else:
        point = (math.cos(t) + noise[0], math.sin(t) + noise[1])
    points.append(point)
    labels.append(1 if i % 2 else -1)

model = MLP(2, [6, 6, 1])
print(model)
print("number of parameters", len(model.parameters()))


def loss():
    scores = list(map(model, [list(map(Value, point)) for point in points]))

    # the hinge of a support vector machine
    losses = [(1 + -label * score).relu() for label, score in zip(labels, scores)]
    data_loss = sum(losses) * (1.0 / len(losses))

    # L2 regularisation
    alpha = 1e-4
    penalty = alpha * sum((p * p for p in model.parameters()))
    right = [(label > 0) == (score.data > 0) for label, score in zip(labels, scores)]
    return data_loss + penalty, sum(right) / len(right)


history = []
for k in range(20):
    total, accuracy = loss()
    model.zero_grad()
    total.backward()
    learning_rate = 1.0 - 0.9 * k / 100
    for p in model.parameters():
        p.data -= learning_rate * p.grad
    history.append((total.data, accuracy))
    print(f"step {k} loss {total.data:.6f}, accuracy {accuracy * 100}%")

neuron, layer = Neuron(3), Layer(2, 2, nonlin=False)
alone = neuron([1.0, -2.0, 3.0])
several = layer([0.5, 0.25])
"""


def run(script: str) -> dict[str, object]:
    names: dict[str, object] = {"__name__": "script"}
    exec(compile(script, "script.py", "exec"), names)
    return names


def test_a_script_for_micrograd_runs_unchanged_but_for_its_imports(capsys: pytest.CaptureFixture[str]) -> None:
    """The same printed lines, weights, losses, gradients and random numbers as under micrograd."""
    pytest.importorskip("micrograd")
    ported = SCRIPT
    for theirs, ours in IMPORTS.items():
        assert ported.count(theirs) == 1
        ported = ported.replace(theirs, ours)
    assert "micrograd" not in ported

    theirs = run(SCRIPT)
    printed = capsys.readouterr().out
    state = random.getstate()
    ours = run(ported)
    assert capsys.readouterr().out == printed
    assert random.getstate() == state
    assert isinstance(ours["model"], scalar.MLP)
    assert not isinstance(theirs["model"], scalar.MLP)

    losses, accuracies = zip(*ours["history"], strict=True)
    expected, reached = zip(*theirs["history"], strict=True)
    assert len(losses) == 20
    assert losses[-1] < 0.5 * losses[0]  # it does train
    assert losses == pytest.approx(expected, rel=1e-9)
    assert accuracies == reached
    for mine, other in zip(ours["model"].parameters(), theirs["model"].parameters(), strict=True):
        assert mine.data == pytest.approx(other.data, rel=1e-9)
        assert mine.grad == pytest.approx(other.grad, rel=1e-9, abs=1e-15)
    assert ours["alone"].data == theirs["alone"].data
    assert [z.data for z in ours["several"]] == [z.data for z in theirs["several"]]


def test_the_surface_is_micrograds() -> None:
    """The names, the lists, the representations and the draws, one by one."""
    engine = pytest.importorskip("micrograd.nn")
    made = []
    for library in (engine, scalar):
        random.seed(7)
        n, line = library.Neuron(2), library.Neuron(2, nonlin=False)
        layer, net = library.Layer(2, 3), library.MLP(3, [4, 1])
        assert isinstance(n.parameters(), list)
        assert n.parameters() == [*n.w, n.b]
        assert layer.parameters() == [p for neuron in layer.neurons for p in neuron.parameters()]
        assert net.parameters() == [p for below in net.layers for p in below.parameters()]
        assert (n.nonlin, line.nonlin) == (True, False)
        assert isinstance(net([1.0, 2.0, 3.0]), type(n.b))  # one output is a Value, not a list
        assert [type(out) for out in layer([1.0, 2.0])] == [type(n.b)] * 3
        made.append(([repr(x) for x in (n, line, layer, net)], [p.data for p in net.parameters()]))
    assert made[0] == made[1]
    assert made[1][0][:2] == ["ReLUNeuron(2)", "LinearNeuron(2)"]
    assert made[1][0][2] == "Layer of [ReLUNeuron(2), ReLUNeuron(2), ReLUNeuron(2)]"
    assert made[1][0][3].startswith("MLP of [Layer of [ReLUNeuron(3), ")


def test_zero_grad_and_subclasses_as_in_micrograd() -> None:
    """A module of one's own: attributes are found, micrograd's way of overriding works, zero_grad() clears."""

    class Found(scalar.Module):
        def __init__(self) -> None:
            self.parts = {"n": scalar.Neuron(1, rng=0)}
            self.scale = mg.Value(2.0)

        def forward(self, x: float) -> mg.Value:
            self.last = self.scale * self.parts["n"](x)  # a result that is kept is no parameter
            return self.last

    class Overridden(scalar.Module):
        def __init__(self) -> None:
            self.hidden = [[scalar.Neuron(1, rng=0)]]

        def __call__(self, x: float) -> mg.Value:
            return self.hidden[0][0](x)

        def parameters(self) -> list[mg.Value]:
            return self.hidden[0][0].w

    found, overridden = Found(), Overridden()
    for model in (found, overridden):
        model(1.0).backward()
        (model(1.0) * 1.0).backward()
    assert [name for name, _ in found.named_parameters("net")] == ["net.scale", "net.parts.n.w.0", "net.parts.n.b"]
    assert any(p.grad != 0 for p in found.parameters())
    found.zero_grad()
    assert [p.grad for p in found.parameters()] == [0.0] * 3
    b = overridden.hidden[0][0].b
    before = b.grad
    overridden.zero_grad()
    assert (overridden.parameters()[0].grad, b.grad) == (0.0, before)
    with pytest.raises(NotImplementedError, match='missing the required "forward"'):
        scalar.Module()(1.0)


def test_parameters_are_the_named_ones() -> None:
    """In the same order, each once, wherever they hang: in nested lists, dicts, or a shared module."""

    class Own(mg.Value):
        __slots__ = ()

    class Odd(scalar.Module):
        def __init__(self) -> None:
            self.late = [[scalar.Layer(1, 2, rng=0)], {"x": mg.Value(1.0), "y": (Own(2.0), scalar.Neuron(1, rng=1))}]
            self.w = mg.Value(3.0)
            self.again = [self.late[0][0], self.w, "text", None, 1.5]
            self.computed = self.w * 2
            self.me = self

    for model in (Odd(), scalar.MLP(2, [3, 1], rng=0), scalar.MLP(2, [3, 2], output="softmax", rng=0), scalar.Module()):
        found = model.parameters()
        assert list(map(id, found)) == [id(value) for _, value in model.named_parameters()]
    w = mg.Value(1.0)
    model = Odd()
    model.w = w
    (w * 3).backward()
    assert w.grad == 3.0
    model.zero_grad()
    assert [parameter.grad for parameter in model.parameters()] == [0.0] * 10
    step = mg.compile(lambda: [model.zero_grad(), w * 1.0][1])
    step()
    assert "zero_grad()" in step.why


# ------------------------------------------------------------------------------------------------------- randomness


def test_randomness_is_pythons_only_without_rng() -> None:
    """A seed, a generator: NumPy's U(-1, 1), in the order of the parameters; Python's state is left alone then."""
    state = random.getstate()
    drawn = [w.data for n in scalar.Layer(2, 2, rng=5).neurons for w in n.w]
    assert drawn == np.random.default_rng(5).uniform(-1, 1, 4).tolist()
    rng = np.random.default_rng(5)
    assert [w.data for _ in range(2) for w in scalar.Neuron(2, rng=rng).w] == drawn
    assert random.getstate() == state
    weights = [[p.data for p in scalar.MLP(2, [3, 1], rng=seed).parameters()] for seed in (0, 0, 1)]
    assert weights[0] == weights[1] != weights[2]
    assert len(set(weights[0])) == 9 + 1  # nine weights, all different, and the zeros of the biases
    scalar.Neuron(2)
    assert random.getstate() != state
    with pytest.raises(TypeError, match=r"rng: expected a numpy.random.Generator.*test_scalar.py"):
        scalar.MLP(2, [1], rng="0")


# ----------------------------------------------------------------------------------------------- a neuron, computed


G = {
    "identity": lambda z: z,
    "relu": lambda z: max(z, 0.0),
    "leaky_relu": lambda z: z if z > 0 else 0.01 * z,
    "sigmoid": lambda z: 1 / (1 + math.exp(-z)),
    "tanh": math.tanh,
    "softplus": lambda z: math.log(1 + math.exp(z)),
}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("name", G)
def test_a_neuron_is_g_of_w_x_plus_b(name: str, fused: bool) -> None:
    """The value by hand; the gradients by central differences of the same formula in plain Python."""
    n = scalar.Neuron(3, activation=name, fused=fused, rng=3)
    n.b.data = 0.3
    x = [0.5, -1.0, 2.0]

    def by_hand(parameters: list[float]) -> float:
        return G[name](sum(w * xi for w, xi in zip(parameters, x, strict=False)) + parameters[-1])

    at = [p.data for p in n.parameters()]
    a = n(x)
    a.backward()
    assert a.data == pytest.approx(by_hand(at), rel=1e-14)
    h = 1e-5
    for i, p in enumerate(n.parameters()):
        moved = [[v + (step if j == i else 0.0) for j, v in enumerate(at)] for step in (h, -h)]
        assert p.grad == pytest.approx((by_hand(moved[0]) - by_hand(moved[1])) / (2 * h), rel=1e-6, abs=1e-9)


def test_every_activation_of_the_array_networks_is_tried() -> None:
    assert {*G, "softmax", "log_softmax"} == set(nn.layers.ACTIVATIONS)


def test_fused_is_the_same_to_the_bit_in_fewer_nodes() -> None:
    """One node a neuron's z; one for each multiplication and addition otherwise. The switch may be thrown later."""
    net = scalar.MLP(4, [5, 3], activation="tanh", rng=1)
    x = [0.1, -0.2, 0.3, 0.4]
    found = []
    for fused in (False, True):
        for layer in net.layers:
            for n in layer.neurons:
                n.fused = fused
        net.zero_grad()
        outs = net(x)
        loss = mg.sum(outs)
        loss.backward()
        made = [node for node in mg.topological_order(loss) if node.rule is not None]
        found.append(([out.data for out in outs], [p.grad for p in net.parameters()], len(made)))
    assert found[0][:2] == found[1][:2]
    assert found[0][2] == 2 * (5 * 4 + 3 * 5) + 5 + 1
    assert found[1][2] == (5 + 3) + 5 + 1
    rules = {node.rule.__name__ for node in mg.topological_order(loss) if node.rule}
    assert rules == {"dot", "tanh", "total"}


@pytest.mark.parametrize("fused", [False, True])
def test_without_a_bias(fused: bool) -> None:
    n = scalar.Neuron(2, nonlin=False, bias=False, fused=fused, rng=0)
    assert n.b is None
    assert n.parameters() == n.w
    assert n([3.0, -1.0]).data == 3.0 * n.w[0].data - n.w[1].data


def test_inputs_may_be_any_numbers_of_one_sample() -> None:
    """Lists, tuples, NumPy rows, generators, Values, Tensors without losing their gradient, a lone number for one."""
    net = scalar.MLP(2, [3, 1], rng=0)
    expected = net([1.0, 2.0]).data
    row = np.array([[1.0, 2.0]])[0]
    values = [mg.Value(1.0), mg.Value(2.0)]
    for x in ((1, 2), row, row.astype(np.float32), row.astype(int), iter([1.0, 2.0]), map(float, "12"), values):
        assert net(x).data == expected
    net(values).backward()
    tensor = mg.Tensor([1.0, 2.0], requires_grad=True)
    out = net(tensor)
    out.backward()
    assert out.item() == pytest.approx(expected, rel=1e-14)
    assert tensor.grad == pytest.approx([v.grad for v in values], rel=1e-14)
    one = scalar.MLP(1, [1, 1], activation="tanh", rng=0)  # in micrograd a hidden layer of one neuron is a TypeError
    assert one(0.5).data == one([0.5]).data == one(mg.Value(0.5)).data == one(np.float64(0.5)).data


def test_other_numbers_flow_through() -> None:
    """Fractions stay exact: the net is its formula."""
    n = scalar.Neuron(2, nonlin=False, rng=0)
    n.w, n.b = [mg.Value(Fraction(1, 3)), mg.Value(Fraction(1, 7))], mg.Value(Fraction(1))
    z = n([Fraction(3), Fraction(7)])
    z.backward()
    assert (z.data, n.w[1].grad) == (Fraction(3), Fraction(7))


def test_softmax_and_its_logarithm_are_of_the_layer() -> None:
    """They sum to 1, stay finite at z = 1000, and ln softmax = log_softmax; the Jacobian is diag(a) - a a^T."""
    rows = {}
    for name in ("softmax", "log_softmax"):
        layer = scalar.Layer(2, 3, activation=name, rng=0)
        rows[name] = [out.data for out in layer([0.5, -0.5])]
        for n, w in zip(layer.neurons, (1000.0, 0.0, -1000.0), strict=True):
            n.w[0].data = w
        assert all(math.isfinite(out.data) for out in layer([1.0, 0.0]))
    assert sum(rows["softmax"]) == pytest.approx(1.0, rel=1e-15)
    assert [math.log(a) for a in rows["softmax"]] == pytest.approx(rows["log_softmax"], rel=1e-14)
    zs = [mg.Value(z) for z in (0.3, -1.2, 2.0)]
    a = scalar.softmax(zs)
    for k in range(3):
        row = mg.grad(a[k], zs)
        expected = [a[k].data * ((j == k) - a[j].data) for j in range(3)]
        assert row == pytest.approx(expected, rel=1e-13, abs=1e-16)
    assert repr(scalar.Layer(1, 2, activation="softmax", rng=0)).endswith("LinearNeuron(1)], Softmax(axis=-1)")
    assert scalar.MLP(2, [3, 1], output="softmax", rng=0)([1.0, 2.0]).data == 1.0


# ------------------------------------------------------------------------------------------ what drawings ask of it


def test_nodes_of_an_activation_of_ones_own_stand_on_its_lines() -> None:
    """Its sites are its own, from the first call on; those of the network are the line that called the network."""

    class Twice(nn.Module):
        def forward(self, z: Any) -> Any:
            return mg.tanh(z) * 2.0 + abs(z)

    inside = Twice.forward.__code__.co_firstlineno + 1
    for fused in (False, True):
        model = scalar.MLP(2, [3, 1], activation=Twice, rng=0, fused=fused)
        for _ in range(2):
            order = mg.topological_order(model([1.0, 2.0]))
            here = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
            sites = [(node.rule.__name__, node.site.line) for node in order if node.rule and node.site]
            own = [line for rule, line in sites if rule in ("tanh", "abs")]
            assert own == [inside] * 6
            assert {line for rule, line in sites if rule == "dot" or line != inside} == {here}
            assert {line for rule, line in sites if rule == "multiply" and line == inside} == {inside}


def test_names_and_calls_say_where_each_node_belongs() -> None:
    """A node made in a neuron's call has a creation number within that call, and within those around it."""
    net = scalar.MLP(2, [2, 1], rng=0)
    assert [name for name, _ in net.named_modules()] == [
        "", "layers.0", "layers.0.neurons.0", "layers.0.neurons.1", "layers.1", "layers.1.neurons.0",
    ]  # fmt: skip
    assert [name for name, _ in net.named_parameters()][:4] == [
        "layers.0.neurons.0.w.0", "layers.0.neurons.0.w.1", "layers.0.neurons.0.b", "layers.0.neurons.1.w.0",
    ]  # fmt: skip
    assert net.calls() == []
    net([1.0, 2.0])
    out = net([1.0, 2.0])
    modules = dict(net.named_modules())
    (begun, ended) = modules["layers.1.neurons.0"].calls()[-1]
    assert begun < out._number < ended
    for outer, inner in (("", "layers.1"), ("layers.1", "layers.1.neurons.0"), ("", "layers.0.neurons.1")):
        for around, call in zip(modules[outer].calls(), modules[inner].calls(), strict=True):
            assert around[0] < call[0] < call[1] < around[1]
    tied = scalar.Neuron(1, rng=0)
    layer = scalar.Layer(1, 2, rng=0)
    layer.neurons = [tied, tied]
    assert len(layer.parameters()) == 2
    layer.neurons = [tied, scalar.Neuron(1, rng=0)]
    layer.neurons[1].b = tied.b
    assert layer.parameters() == [*tied.w, tied.b, *layer.neurons[1].w]


def test_models_copy_and_pickle() -> None:
    net = scalar.MLP(2, [2, 1], activation=nn.LeakyReLU(0.2), rng=0)
    before = net([1.0, -2.0]).data
    for other in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        assert other([1.0, -2.0]).data == before
        assert len(other.calls()) == 1
        other.layers[0].neurons[0].w[0].data += 1.0
        assert net([1.0, -2.0]).data == before


# ---------------------------------------------------------------------------------------- the same model of arrays

SHAPES = {"one neuron": (3, [1]), "4-3-2": (4, [3, 2]), "square": (3, [3, 3, 3]), "through one": (2, [3, 1, 2])}
OUTPUTS = ["identity", "sigmoid", "tanh", "relu", "softmax", "log_softmax"]


def filled(model: nn.Module, seed: int = 7) -> nn.Module:
    rng = np.random.default_rng(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, 0.0, 0.8, rng)
    return model


def both(array: nn.Module, values: scalar.MLP) -> None:
    """Losses and gradients of both: half squares, outputs summed, samples averaged."""
    weight = next(iter(array.parameters()))
    nin, nout = weight.shape[1], list(array.parameters())[-1].shape[0]
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(5, nin)), rng.uniform(size=(5, nout))
    loss = nn.MSELoss(reduction="batchmean")(array(mg.Tensor(X)), Y)
    array.zero_grad()
    loss.backward()
    terms = []
    for x, y in zip(X, Y, strict=True):
        out = values(x)
        terms += [(a - float(t)) ** 2 for a, t in zip(out if isinstance(out, list) else [out], y, strict=True)]
    total = mg.sum(terms) / len(X)
    values.zero_grad()
    total.backward()
    assert total.data == pytest.approx(loss.item(), rel=1e-12)
    dense = [layer for layer in array.modules() if isinstance(layer, nn.Linear)]
    for layer, row in zip(dense, values.layers, strict=True):
        dW = np.array([[w.grad for w in n.w] for n in row.neurons])
        np.testing.assert_allclose(dW, layer.weight.grad, rtol=1e-12, atol=1e-14)
        if layer.bias is not None:
            db = np.array([n.b.grad for n in row.neurons])
            np.testing.assert_allclose(db, layer.bias.grad, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("activation", list(G))
@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_of_arrays_turns_into_one_of_values(shape: str, activation: str, fused: bool) -> None:
    """Equal losses and gradients to 1e-12; back again, the same arrays to the bit."""
    nin, nouts = SHAPES[shape]
    array = filled(nn.MLP(nin, nouts, activation=activation, rng=0))
    values = nn.to_scalar(array, fused=fused)
    assert all(n.fused is fused for layer in values.layers for n in layer.neurons)
    both(array, values)
    again = nn.to_array(values)
    assert repr(again) == repr(array)
    assert again.state_dict().keys() == array.state_dict().keys()
    for name, weight in again.state_dict().items():
        assert (weight == array.state_dict()[name]).all()


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("shape", SHAPES)
def test_a_network_of_values_turns_into_one_of_arrays(shape: str, output: str) -> None:
    nin, nouts = SHAPES[shape]
    values = scalar.MLP(nin, nouts, activation="sigmoid", output=output, rng=4)
    for i, p in enumerate(values.parameters()):
        p.data += 0.01 * i  # biases too
    array = values.to_array()
    both(array, values)
    again = nn.to_scalar(array)
    assert repr(again) == repr(values)
    assert [(n, p.data) for n, p in again.named_parameters()] == [(n, p.data) for n, p in values.named_parameters()]
    single = nn.to_array(values, np.float32)
    assert {p.dtype for p in single.parameters()} == {np.dtype(np.float32)}


def test_stacks_slopes_missing_biases_and_frozen_weights_survive() -> None:
    stack = nn.Sequential(
        nn.Linear(3, 4, bias=False, rng=0), nn.LeakyReLU(0.3),
        nn.Sequential(nn.Linear(4, 2, rng=1), nn.Identity(), nn.Softmax()),
    )  # fmt: skip
    stack[0].weight.requires_grad_(False)
    stack[2][0].bias.requires_grad_(False)
    values = nn.to_scalar(stack)
    x = [0.5, -1.0, 0.25]
    assert [a.data for a in values(x)] == pytest.approx(stack(mg.Tensor(x)).tolist(), rel=1e-14)
    assert values.layers[0].neurons[0].b is None
    assert [p.requires_grad for p in values.parameters()] == [False] * 12 + ([True] * 4 + [False]) * 2
    back = nn.to_array(values)
    assert [p.requires_grad for p in back.parameters()] == [False, True, False]
    assert "negative_slope=0.3" in repr(back)
    assert nn.to_array(scalar.Layer(2, 3, rng=0)).layers[0].weight.shape == (3, 2)
    assert len(nn.to_scalar(nn.Linear(2, 1, rng=0)).layers) == 1
    values.layers[0].neurons[0].w[0].data = 9.0  # copies: no weight is shared
    assert 9.0 not in stack[0].weight.numpy()


class Doubled(nn.MLP):
    def forward(self, input: mg.Tensor) -> mg.Tensor:
        return 2 * super().forward(input)


class Negated(scalar.Neuron):
    def __call__(self, x: object) -> object:
        return -super().__call__(x)


def own_neuron() -> scalar.MLP:
    net = scalar.MLP(1, [1], rng=0)
    net.layers[0].neurons = [Negated(1, rng=0)]
    return net


def changed(change: object) -> scalar.MLP:
    net = scalar.MLP(2, [2, 1], rng=0)
    change(net.layers[0].neurons[0])
    return net


SHARED = nn.Linear(2, 2, rng=0)


@pytest.mark.parametrize(
    ("convert", "error", "message"),
    [
        (lambda: nn.to_scalar(scalar.MLP(2, [1], rng=0)), TypeError, "to_scalar: expected an nn.MLP or nn.Sequential"),
        (lambda: nn.to_scalar(nn.Sequential(SHARED, nn.Tanh(), SHARED)), ValueError, "stands in two places"),
        (lambda: nn.to_scalar(nn.Sequential(SHARED, nn.Tanh(), nn.Tanh())), ValueError, "has no place there"),
        (lambda: nn.to_scalar(nn.Sequential(nn.Tanh(), SHARED)), ValueError, "has no place there"),
        (lambda: nn.to_scalar(nn.Sequential(SHARED, nn.Dropout())), ValueError, r"Dropout\(p=0.5.*has no place there"),
        (lambda: nn.to_scalar(Doubled(2, [1], rng=0)), ValueError, "has no place there"),
        (lambda: nn.to_scalar(nn.Sequential()), ValueError, "holds no Linear layer"),
        (lambda: nn.to_array(nn.MLP(2, [1], rng=0)), TypeError, "to_array: expected an nn.scalar.MLP or Layer"),
        (lambda: nn.to_array(own_neuron()), TypeError, "to_array: expected an nn.scalar.MLP or Layer"),
        (lambda: nn.to_array(changed(lambda n: setattr(n, "nonlin", False))), ValueError, "differ in activation"),
        (lambda: nn.to_array(changed(lambda n: n.w.pop())), ValueError, "differ in the number of inputs"),
        (lambda: nn.to_array(changed(lambda n: setattr(n, "b", None))), ValueError, "differ in bias"),
        (lambda: nn.to_array(changed(lambda n: n.b.requires_grad_(False))), ValueError, "what requires a gradient"),
        (
            lambda: nn.to_array(changed(lambda n: n.w.__setitem__(0, mg.Value(Fraction(1, 3))))),
            TypeError,
            "holds no float",
        ),
        (lambda: scalar.Neuron(0), ValueError, "Neuron: nin must be at least 1, got 0"),
        (lambda: scalar.Neuron(2.0), TypeError, "Neuron: nin must be an integer"),
        (lambda: scalar.Neuron(2, activation="sigmod"), ValueError, "'sigmod' is not one of .*sigmoid"),
        (lambda: scalar.Neuron(2, activation=3), TypeError, "activation"),
        (lambda: scalar.Neuron(2, activation=nn.Softmax()), ValueError, r"Softmax is of a whole layer"),
        (lambda: scalar.Layer(2, 0), ValueError, "Layer: nout must be at least 1"),
        (lambda: scalar.MLP(2, []), ValueError, "nouts is empty"),
        (lambda: scalar.MLP(2, 3), TypeError, r"nouts must be the sizes of the layers, as in \[16, 1\], got 3"),
        (lambda: scalar.MLP(2, "31"), TypeError, "nouts must be the sizes"),
        (lambda: scalar.MLP(2, [3, 1], ["relu", "relu"]), ValueError, "expected 1, one for each hidden layer"),
        (lambda: scalar.Neuron(2)([1.0]), ValueError, r"ReLUNeuron\(2\): got 1 inputs, expected 2"),
        (lambda: scalar.MLP(2, [3, 1])([1.0, 2.0, 3.0]), ValueError, "got 3 inputs, expected 2"),
        (lambda: scalar.MLP(2, [3, 1])(np.ones((2, 2))), ValueError, r"array of shape \(2, 2\), expected one sample"),
        (lambda: scalar.MLP(2, [3, 1])(mg.Tensor(np.ones((2, 2)))), ValueError, "expected one sample of 2 numbers"),
        (lambda: scalar.MLP(2, [3, 1])([[1.0, 2.0], [3.0, 4.0]]), TypeError, "expected numbers or Values"),
        (lambda: scalar.MLP(2, [3, 1])("ab"), TypeError, "expected numbers or Values"),
        (lambda: scalar.MLP(2, [3, 1])({1.0, 2.0}), TypeError, "expected numbers or Values"),
        (lambda: nn.to_array(scalar.MLP(2, [1], rng=0), int), TypeError, "floating point dtype.*give dtype=float"),
        (lambda: nn.to_array(object()), TypeError, "to_array: expected an nn.scalar.MLP or Layer"),
    ],
)
def test_what_is_refused(convert: object, error: type[Exception], message: str) -> None:
    """By its name, with what was expected, at the user's line."""
    with pytest.raises(error, match=rf"(?s){message}.*, at test_scalar\.py:\d+"):
        convert()


def test_each_network_turns_into_the_other_by_its_own_method() -> None:
    """`model.to_scalar().to_array()` is the model, to the bit."""
    model = nn.MLP(2, [3, 1], rng=0)
    back = model.to_scalar(fused=True).to_array()
    for (name, p), (other, q) in zip(model.named_parameters(), back.named_parameters(), strict=True):
        assert (name, p.tolist()) == (other, q.tolist())


def test_every_stack_and_every_layer_turns_into_the_other_by_its_method() -> None:
    net = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Tanh(), nn.Linear(3, 1, rng=1))
    x = [0.5, -1.0]
    assert net.to_scalar()(x).data == pytest.approx(net(mg.Tensor(x)).item(), rel=1e-14)
    assert net.to_scalar(fused=True)(x).data == pytest.approx(net(mg.Tensor(x)).item(), rel=1e-14)
    layer = nn.scalar.Layer(2, 3, activation="tanh", rng=0)
    assert layer.to_array(np.float32).layers[0].weight.dtype == np.float32
    assert layer.to_array()(mg.Tensor(x)).tolist() == pytest.approx([a.data for a in layer(x)], rel=1e-14)


def lines_of(y: mg.Value) -> set[str]:
    return {x.site.text.partition("  # ")[2] for x in mg.topological_order(y) if x.rule and x.site}


class Reading:
    """A sample that is computed when it is asked for."""

    def __init__(self, *xs: mg.Value) -> None:
        self.xs = xs

    def __iter__(self) -> Any:
        for x in self.xs:
            yield mg.clip(x, -1, 1)  # the sample


@pytest.mark.parametrize("fused", [False, True])
def test_what_a_sample_computes_of_itself_has_its_own_lines(fused: bool) -> None:
    sample = Reading(mg.Value(0.5), mg.Value(-0.5))
    model = scalar.MLP(2, [2, 1], rng=0, fused=fused)
    assert lines_of(model(sample)) == {"the sample", ""}
    assert lines_of(model(iter(sample))) == {"the sample", ""}


def test_an_activation_with_a_forward_of_the_users_has_its_own_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    ours = nn.Tanh.forward
    monkeypatch.setattr(nn.Tanh, "forward", lambda module, x: ours(module, mg.leaky_relu(x)))  # the patch
    y = scalar.Neuron(2, activation="tanh", rng=0)([1.0, 2.0])  # the call
    assert lines_of(y) == {"the patch", "the call"}
    assert y.site is not None
    assert all("the patch" in x.site.text for x in (y, *y._prev) if x.site)


def test_what_an_operator_of_the_users_computes_has_its_own_lines() -> None:
    class Clipped(mg.Value):
        def __mul__(self, other: Any) -> Any:
            return mg.clip(super().__mul__(other), -1, 1)  # the operator

        __rmul__ = __mul__

    try:
        y = scalar.Neuron(2, rng=0)([Clipped(1.0), Clipped(2.0)])  # the call
    finally:
        mg.sites.users_faces.discard(Clipped)
    ops = [(x._op, x.site.text.partition("  # ")[2]) for x in mg.topological_order(y) if x.rule and x.site]
    assert ops == [*[("*", "the operator"), ("clip", "the operator"), ("+", "the call")] * 2, ("ReLU", "the call")]


def test_a_subclass_of_value_takes_keywords_for_its_other_bases() -> None:
    class Base:
        def __init_subclass__(cls, unit: str = "", **keywords: Any) -> None:
            super().__init_subclass__(**keywords)
            cls.unit = unit

    class Metres(Base, mg.Value, unit="m"):
        pass

    class Feet(mg.Value, Base, unit="ft"):
        pass

    mg.sites.users_faces.difference_update((Metres, Feet))
    assert (Metres.unit, Feet.unit) == ("m", "ft")
