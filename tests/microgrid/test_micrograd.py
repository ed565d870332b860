"""micrograd's public surface works unchanged on Value (decision 14)."""

import random

import numpy as np
import pytest

import microgrid as mg
from microgrid import Value


def readme(kind):
    """The example of micrograd's README, written as it stands there."""
    a = kind(-4.0)
    b = kind(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + (b + a).relu()
    d += 3 * d + (b - a).relu()
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return a, b, g


def test_the_readme():
    """micrograd's README: 24.7041, 138.8338, 645.5773."""
    a, b, g = readme(Value)
    assert f"{g.data:.4f}" == "24.7041"
    g.backward()
    assert f"{a.grad:.4f}" == "138.8338"
    assert f"{b.grad:.4f}" == "645.5773"


def sanity(kind, relu):
    x = kind(-4.0)
    z = 2 * x + 2 + x
    q = relu(z) + z * x
    h = relu(z * z)
    y = h + q + q * x
    return x, y


def more(kind, relu):
    a = kind(-4.0)
    b = kind(2.0)
    c = a + b
    d = a * b + b**3
    c += c + 1
    c += 1 + c + (-a)
    d += d * 2 + relu(b + a)
    d += 3 * d + relu(b - a)
    e = c - d
    f = e**2
    g = f / 2.0
    g += 10.0 / f
    return a, b, g


def test_sanity_check_by_hand():
    """micrograd's test_sanity_check: z = 3x + 2 = -10, y = z^2 + (zx)(1 + x) at x = -4, so y = -20 and dy/dx = 46."""
    x, y = sanity(Value, Value.relu)
    y.backward()
    z, dz = -10.0, 3.0
    by_hand = 2 * z * dz + dz * (x.data + x.data**2) + z * (1 + 2 * x.data)  # relu(z) = 0 for z < 0
    assert y.data == z * z + z * x.data * (1 + x.data) == -20.0
    assert x.grad == by_hand == 46.0


def test_more_ops_by_hand():
    """micrograd's test_more_ops: c = -1, d = 8 + relu's, and the chain rule worked out on paper."""
    a, b, g = more(Value, Value.relu)
    g.backward()
    # a = -4, b = 2: c = 4(a + b) + 3 - a = -1; d = 12(a b + b^3) + 4 relu(a + b) + relu(b - a) = 6; e = -7, f = 49
    e = -7.0
    dg_de = (0.5 - 10.0 / 49**2) * 2 * e
    dc_da, dc_db = 4 - 1, 4
    dd_da, dd_db = 12 * 2.0 - 1, 12 * (-4.0 + 3 * 4.0) + 1
    assert g.data == pytest.approx(49 / 2 + 10 / 49, rel=1e-15)
    assert a.grad == pytest.approx(dg_de * (dc_da - dd_da), rel=1e-14)
    assert b.grad == pytest.approx(dg_de * (dc_db - dd_db), rel=1e-14)


@pytest.mark.oracles
@pytest.mark.parametrize("expression", [sanity, more])
def test_micrograds_own_tests(expression):
    """micrograd's two tests, against torch in double precision, exactly as there."""
    torch = pytest.importorskip("torch")
    *ours, z = expression(Value, Value.relu)
    *theirs, w = expression(lambda x: torch.tensor([x], dtype=torch.float64, requires_grad=True), torch.relu)
    z.backward()
    w.backward()
    assert abs(z.data - w.item()) < 1e-6
    for mine, other in zip(ours, theirs, strict=True):
        assert abs(mine.grad - other.grad.item()) < 1e-6


def test_micrograd_itself_gives_the_same():
    """The installed micrograd, run on the same lines, gives the same numbers to the last bits."""
    engine = pytest.importorskip("micrograd.engine")
    for program in (readme, lambda kind: sanity(kind, kind.relu), lambda kind: more(kind, kind.relu)):
        *ours, z = program(Value)
        *theirs, w = program(engine.Value)
        z.backward()
        w.backward()
        assert z.data == pytest.approx(w.data, rel=1e-14)
        assert [x.grad for x in ours] == pytest.approx([x.grad for x in theirs], rel=1e-13)


def test_the_names_learners_type():
    """Value(data), .data, .grad, ._prev, ._op, .relu(), .backward(), and the representation."""
    a, b = Value(2.0), Value(-3.0)
    c = a * b
    d = c + 4
    e = d.relu()
    e.backward()
    assert (c.data, d.data, e.data) == (-6.0, -2.0, 0.0)
    assert set(c._prev) == {a, b}
    assert set(d._prev) == {c}
    assert set(e._prev) == {d}
    assert a._prev == ()
    assert a._op == ""
    assert all(isinstance(node._op, str) and node._op for node in (c, d, e))
    assert [node._op for node in (a + b, a * b, a**2, a.relu())] == ["+", "*", "**2", "ReLU"]  # micrograd's words
    assert (a.grad, e.grad) == (0.0, 1.0)
    assert repr(Value(2.0)) == "Value(data=2.0, grad=0.0)"
    assert repr(Value(2)) == "Value(data=2.0, grad=0.0)"
    assert repr(e) == "Value(data=0.0, grad=1.0)"
    a.grad = 5
    assert a.grad == 5.0
    a.data += 1
    assert a.data == 3.0


def test_trace_as_in_the_notebook():
    """The notebook's trace() builds sets of nodes and edges from ._prev; it works, on any graph."""
    _, _, root = readme(Value)
    nodes, edges = set(), set()

    def build(v):
        if v not in nodes:
            nodes.add(v)
            for child in v._prev:
                edges.add((child, v))
                build(child)

    build(root)
    assert nodes == set(mg.topological_order(root))
    assert f"{root.data:.4f} {root.grad:.4f}" == "24.7041 0.0000"
    assert "%.4f" % root.data == "24.7041"  # noqa: UP031 (the notebook's own spelling)


class Neuron:
    """micrograd.nn.Neuron, line for line."""

    def __init__(self, nin, nonlin=True):
        self.w = [Value(random.uniform(-1, 1)) for _ in range(nin)]
        self.b = Value(0)
        self.nonlin = nonlin

    def __call__(self, x):
        act = sum((wi * xi for wi, xi in zip(self.w, x, strict=True)), self.b)
        return act.relu() if self.nonlin else act

    def parameters(self):
        return [*self.w, self.b]


def test_the_demo_notebook():
    """micrograd's demo.ipynb: max-margin loss on NumPy data, labels as NumPy integers, regularisation, SGD."""
    random.seed(1337)
    rng = np.random.default_rng(1337)
    X = np.concatenate([rng.normal(-1, 0.4, (15, 2)), rng.normal(1, 0.4, (15, 2))])
    y = np.repeat([-1, 1], 15)
    hidden, last = [Neuron(2) for _ in range(4)], Neuron(4, nonlin=False)
    parameters = [p for n in (*hidden, last) for p in n.parameters()]

    def loss():
        inputs = [list(map(Value, xrow)) for xrow in X]
        scores = [last([n(row) for n in hidden]) for row in inputs]
        losses = [(1 + -yi * scorei).relu() for yi, scorei in zip(y, scores, strict=True)]
        data_loss = sum(losses) * (1.0 / len(losses))
        reg_loss = 1e-4 * sum(p * p for p in parameters)
        accuracy = [(yi > 0) == (scorei.data > 0) for yi, scorei in zip(y, scores, strict=True)]
        return data_loss + reg_loss, sum(accuracy) / len(accuracy)

    found = []
    for k in range(12):
        total_loss, acc = loss()
        assert type(total_loss) is Value
        for p in parameters:
            p.grad = 0
        total_loss.backward()
        learning_rate = 1.0 - 0.9 * k / 100
        for p in parameters:
            p.data -= learning_rate * 0.3 * p.grad
        found.append(total_loss.data)
    assert found[-1] < 0.3 * found[0]
    assert acc == 1.0


def test_value_of_value_is_refused():
    """Value(Value(2)) and Value("a") are errors; micrograd nests and concatenates."""
    for bad in (Value(2.0), "a", None, [1.0], 1j):
        with pytest.raises(TypeError, match="expected a number"):
            Value(bad)
