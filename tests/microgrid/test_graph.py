"""The graph and the one walk: identity, order, lifetime, ownership of gradients, hooks, copies (decisions 1 to 6)."""

import copy
import gc
import pickle
import sys
import threading
import weakref
from collections import Counter
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg

HERE = Path(__file__).name


def assert_names_this_line(error):
    """The message carries the line of this file that was being executed."""
    lines = [entry.lineno + 1 for entry in error.traceback if Path(entry.path).name == HERE]
    assert f"{HERE}:{lines[-1]}" in str(error.value)


@contextmanager
def collector_off():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def alive(kind):
    return sum(issubclass(type(x), kind) for x in gc.get_objects())  # isinstance would wake lazy objects of others


def vector(*numbers, **keywords):
    return mg.Tensor(numbers, requires_grad=True, **keywords)


# ------------------------------------------------------------------------------------ 1: a node is itself


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_equal_numbers_are_different_nodes(make):
    """Decision 1: hash is by identity, so leaves of equal value stay apart in sets, dicts and graphs."""
    a, b = make(2.0), make(2.0)
    assert hash(a) != hash(b)
    assert len({a, b}) == 2
    assert {a: "a", b: "b"}[a] == "a"
    (a * b + a).backward()
    assert (float(a.grad), float(b.grad)) == (3.0, 2.0)
    assert len(mg.topological_order(a * b)) == 3


def test_the_engine_never_asks_whether_nodes_are_equal(monkeypatch):
    """Decision 1: neither order, backward, grad nor hooks compare nodes by ==."""

    def refuse(self, other):
        raise AssertionError("nodes were compared")

    monkeypatch.setattr(mg.Value, "__eq__", refuse)
    monkeypatch.setattr(mg.Tensor, "__eq__", refuse)
    for x in (mg.Value(2.0), vector(2.0)):
        y = (x * x + x).sum() if isinstance(x, mg.Tensor) else x * x + x
        x.register_hook(lambda g: None)
        y.backward()
        y.backward(inputs=[x])
        mg.grad(y, [x, x])
        mg.grad(y, x, create_graph=True)


# ------------------------------------------------------------------------------------ 2: inputs and order


def test_a_plus_a_has_two_edges():
    """Decision 2: inputs are an ordered tuple, so a + a has two edges and gradient 2."""
    a = mg.Value(3.0)
    b = a + a
    assert b.inputs == (a, a)
    assert len(b.inputs) == 2
    assert b._prev == (a, a)
    b.backward()
    assert a.grad == 2.0
    t = vector(1.0, 2.0)
    u = t + t
    assert len(u.inputs) == 2
    assert u.inputs[0] is u.inputs[1] is t
    u.backward(np.ones(2))
    assert t.grad.tolist() == [2.0, 2.0]


def test_inputs_keep_constants_in_their_places():
    """Decision 2: a constant operand stands in `inputs` where it was written, and is no node of the order."""
    x = mg.Value(3.0)
    assert (2 - x).inputs == (2, x)
    assert (x - 2.5).inputs == (x, 2.5)
    assert mg.topological_order(2 - x)[0] is x
    assert len(mg.topological_order(2 - x)) == 2


OPERATIONS = st.sampled_from(["add", "subtract", "multiply", "tanh", "sin", "relu"])


@st.composite
def scalar_dags(draw):
    """A list of leaf numbers and of operations (name, position, position) on what stands before."""
    leaves = draw(st.lists(st.floats(-2, 2), min_size=1, max_size=3))
    steps = []
    for size in range(len(leaves), len(leaves) + draw(st.integers(1, 14))):
        place = st.integers(0, size - 1)
        steps.append((draw(OPERATIONS), draw(place), draw(place)))
    return leaves, steps


def build(leaves, steps):
    nodes = list(leaves)
    for name, i, j in steps:
        function = getattr(mg, name)
        nodes.append(function(nodes[i], nodes[j]) if name in ("add", "subtract", "multiply") else function(nodes[i]))
    return nodes


def dual(numbers, steps, seed):
    """d(last)/d(leaf number `seed`), by forward mode on pairs (value, derivative): the test's own calculus."""
    pairs = [(x, float(i == seed)) for i, x in enumerate(numbers)]
    rules = {
        "add": lambda x, y: (x[0] + y[0], x[1] + y[1]),
        "subtract": lambda x, y: (x[0] - y[0], x[1] - y[1]),
        "multiply": lambda x, y: (x[0] * y[0], x[1] * y[0] + x[0] * y[1]),
        "tanh": lambda x, y: (np.tanh(x[0]), x[1] / np.cosh(x[0]) ** 2),
        "sin": lambda x, y: (np.sin(x[0]), x[1] * np.cos(x[0])),
        "relu": lambda x, y: (max(x[0], 0.0), x[1] * (x[0] > 0)),
    }
    for name, i, j in steps:
        pairs.append(rules[name](pairs[i], pairs[j]))
    return pairs[-1][1]


@given(scalar_dags())
@settings(max_examples=60)
def test_reverse_mode_is_forward_mode(dag):
    """On random graphs with reuse the gradients of Value and of 0-d Tensor equal those of dual numbers."""
    numbers, steps = dag
    expected = [dual(numbers, steps, i) for i in range(len(numbers))]
    for make in (mg.Value, lambda x: mg.Tensor(x, requires_grad=True)):
        leaves = [make(x) for x in numbers]
        root = build(leaves, steps)[-1]
        root.backward()
        found = [0.0 if leaf.grad is None else float(leaf.grad) for leaf in leaves]
        assert found == pytest.approx(expected, rel=1e-9, abs=1e-9)
        for gradient, leaf in zip(expected, leaves, strict=True):
            (one,) = mg.grad(root, leaf, allow_unused=True)
            assert (0.0 if one is None else float(one)) == pytest.approx(gradient, rel=1e-9, abs=1e-9)


@given(scalar_dags())
@settings(max_examples=60)
def test_topological_order(dag):
    """Decision 2: every reached node once, after its inputs, in the same order for the same program."""
    numbers, steps = dag
    orders = []
    for _ in range(2):
        nodes = build([mg.Value(x) for x in numbers], steps)
        order = mg.topological_order(nodes[-1])
        place = {node: i for i, node in enumerate(order)}
        assert len(place) == len(order)
        assert order[-1] is nodes[-1]
        for node in order:
            assert all(place[x] < place[node] for x in node.inputs if isinstance(x, mg.Node))
        orders.append([next(i for i, n in enumerate(nodes) if n is node) for node in order])
    assert orders[0] == orders[1]


def test_order_holds_after_a_leaf_was_written_to():
    """A leaf that was written to is young, and still comes before what is computed from it."""
    x, c = mg.Value(1.0), mg.Value(2.0)
    old = c * 2
    x.data = 5.0
    y = x * old
    x.data = 6.0
    z = x + x
    order = mg.topological_order(y + z)
    assert all(order.index(i) < order.index(n) for n in order for i in n._prev)


def chain(start, length):
    y = start
    for _ in range(length):
        y = y + 0.5
    return y


def live_through_a_chain(x, length):
    y = chain(x, length)
    y.backward()
    assert float(x.grad) == 1.0
    assert len(mg.topological_order(y)) == length + 1
    (gradient,) = mg.grad(y, x)
    assert float(gradient) == 1.0
    before = alive(type(x))
    del y
    assert alive(type(x)) == before - length


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_a_chain_of_100_000_nodes(make):
    """Decision 2: forward, backward, order, grad and del of a deep chain, without recursion, with the collector off."""
    with collector_off():
        live_through_a_chain(make(1.0), 10**5)


@pytest.mark.slow
@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_a_chain_of_a_million_nodes(make):
    """Decision 2: the same with 1,000,000 nodes."""
    with collector_off():
        live_through_a_chain(make(1.0), 10**6)


def test_second_order_through_a_deep_chain():
    """Passes that record themselves are iterative too."""
    x = mg.Value(1.0)
    y = x * x
    for _ in range(3000):
        y = y * 1.0
    (first,) = mg.grad(y, x, create_graph=True)
    (second,) = mg.grad(first, x)
    assert (first.data, second) == (2.0, 2.0)


# ------------------------------------------------------------------------------------ 3: no reference cycles


def losses():
    """Every kind of pass that stores no recorded gradients, as functions that leave nothing behind."""

    def value():
        x = mg.Value(2.0, name="x")
        return x, mg.dot([x, x * 2], [x, 3.0]) + mg.exp(x) / x - mg.relu(x) ** 2 + mg.sum([x, x])

    def tensor():
        w = mg.Tensor(np.arange(6.0).reshape(2, 3) / 7, requires_grad=True, name="w")
        x = np.ones((4, 3))
        y = mg.linear(x, w, mg.Tensor(np.ones(2), requires_grad=True)).sigmoid()
        return w, y.mean() + mg.stack([w[0], w[1]]).prod() + mg.einsum("ij->j", w).std() + w.T.logsumexp()

    def backward(x, y):
        y.backward()
        y.backward()

    def inputs(x, y):
        y.backward(inputs=[x])

    def grad(x, y):
        mg.grad(y, x)

    def second_order(x, y):
        (first,) = mg.grad(y, x, create_graph=True)
        mg.grad((first * first).sum() if isinstance(first, mg.Tensor) else first * first, x)

    def create_graph_and_zero(x, y):
        y.backward(create_graph=True, inputs=[x])
        x.zero_grad()

    def hooked(x, y):
        x.register_hook(lambda g: g * 2)
        y.register_hook(print).remove()
        y.backward()

    def handed_out(x, y):
        x.data, y.data
        y.backward()

    def anomaly(x, y):
        with mg.detect_anomaly():
            y.backward()

    passes = [backward, inputs, grad, second_order, create_graph_and_zero, hooked, handed_out, anomaly]
    return [pytest.param(f, p, id=f"{f.__name__}-{p.__name__}") for f in (value, tensor) for p in passes]


@pytest.mark.parametrize(("make", "run"), losses())
def test_dropping_the_loss_frees_the_graph(make, run):
    """Decision 3: with the collector off, no node outlives its last name, and the collector then finds nothing."""

    def once():
        x, y = make()
        run(x, y)

    once()  # emitted code and caches are made at the first call
    with collector_off():
        before = alive(mg.Node)
        once()
        assert alive(mg.Node) == before
        assert gc.collect() == 0


def test_interior_tensors_die_with_the_loss():
    """Decision 3: an interior Tensor (weakly referenced) dies at once when the loss is dropped, after backward."""
    with collector_off():
        w = vector(1.0, 2.0)
        hidden = (w * 2).exp()
        seen = weakref.ref(hidden)
        loss = hidden.sum()
        del hidden
        loss.backward()
        assert seen() is not None
        del loss
        assert seen() is None


def test_errors_leave_no_cycle():
    """Decision 3: a refused operation or pass holds neither its nodes nor its frames."""

    def once():
        x = vector(1.0, 2.0)
        for bad in (lambda: (x * 2).backward(), lambda: x @ np.ones(3), lambda: x.reshape(5), lambda: mg.exp("a")):
            try:
                bad()
            except (TypeError, ValueError):
                pass
            else:
                raise AssertionError("no error")

    once()
    with collector_off():
        once()
        assert gc.collect() == 0


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_the_cycle_of_create_graph_is_broken_by_zero_grad(make):
    """Decision 3: backward(create_graph=True) ties a leaf to its gradient, and no other node; zero_grad() unties."""

    def once(zero):
        x = make(2.0)
        y = x * x
        z = y * x
        z.backward(create_graph=True)
        assert y._grad is None
        assert z._grad is None
        assert float(x.grad.item()) == 12.0
        (second,) = mg.grad(x.grad, x)
        assert float(second) == 12.0
        del second
        if zero:
            x.zero_grad()

    once(True)
    with collector_off():
        before = alive(mg.Node)
        once(True)
        assert alive(mg.Node) == before
        once(False)
        assert alive(mg.Node) > before  # the documented cycle
        assert gc.collect() > 0
        assert alive(mg.Node) == before


def test_third_derivatives():
    """mg.grad(create_graph=True) again and again: x^3 at 2 gives 12, 12, 6, 0."""
    x = mg.Value(2.0)
    y, found = x**3, []
    for _ in range(4):
        (y,) = mg.grad(y, x, create_graph=True)
        found.append(y.data)
        if not y.requires_grad:
            break
    assert found[:3] == [12.0, 12.0, 6.0]
    assert found[3:] in ([], [0.0])


# ------------------------------------------------------------------------------------ 4: backward


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
@pytest.mark.parametrize("cube", [lambda x: x**3, lambda x: x * x * x], ids=["power", "products"])
def test_backward_twice(make, cube):
    """Decision 4: leaves accumulate (27, then 54), nodes between are computed afresh in each pass."""
    x = make(3.0)
    y = cube(x)
    y.backward()
    assert float(x.grad) == 27.0
    y.backward()
    assert float(x.grad) == 54.0
    assert float(y.grad) == 1.0
    x.zero_grad()
    y.backward(retain_graph=True)
    assert float(x.grad) == 27.0


def test_interior_gradients_are_those_of_the_last_pass():
    """Decision 4: an interior node holds the gradient of the pass just made, not a sum of passes."""
    x = mg.Value(3.0)
    y = x * 2
    a, b = y * 5, y * 7
    a.backward()
    assert y.grad == 5.0
    b.backward()
    assert (y.grad, x.grad) == (7.0, 24.0)


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_exponentially_many_paths(make):
    """y = y + y, 60 times over, has 2^60 paths, one walk and the exact gradient."""
    x = make(1.0)
    y = x
    for _ in range(60):
        y = y + y
    y.backward()
    assert float(x.grad) == float(y.data) == 2.0**60


def test_the_diamond():
    """A reused interior node hands on its whole gradient once (a + a, then b + b)."""
    a = mg.Value(3.0)
    b = a + a
    c = b + b
    d = c * b
    d.backward()
    assert (a.grad, b.grad, c.grad) == (48.0, 24.0, 6.0)
    x = mg.Value(3.0)
    (x * x + x).backward()
    assert x.grad == 7.0


def test_a_sum_of_many_is_one_node_and_linear_work():
    """sum and dot of Values are one node each; a node used many times costs one visit."""
    values = [mg.Value(float(i)) for i in range(50)]
    total = mg.sum(values)
    assert len(mg.topological_order(total)) == 51
    product = mg.dot(values, values)
    assert len(mg.topological_order(product)) == 51
    product.backward()
    assert [v.grad for v in values] == [2.0 * i for i in range(50)]


def test_non_scalar_backward_needs_a_gradient():
    """Decision 4: several numbers without a gradient given are an error with torch's words, the shape and the line."""
    x = vector(1.0, 2.0)
    with pytest.raises(ValueError, match="grad can be implicitly created only for scalar outputs") as error:
        (x * 2).backward()
    assert "(2,)" in str(error.value)
    assert_names_this_line(error)
    (x * 2).backward(np.array([1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]
    with pytest.raises(ValueError, match="implicitly created"):
        mg.grad(x * 2, x)
    with pytest.raises(ValueError, match="implicitly created"):
        mg.Tensor(np.zeros((0,)), requires_grad=True).backward()


@pytest.mark.parametrize("one", [1.0, [1.0], [[1.0]]])
def test_a_single_number_of_any_shape_is_a_scalar(one):
    """As in torch, one element in any shape needs no gradient given."""
    x = mg.Tensor(one, requires_grad=True)
    y = x * 3
    y.backward()
    assert x.grad.shape == x.shape
    assert x.grad.sum() == 3.0


def test_backward_where_nothing_requires_a_gradient():
    """Decision 4: torch's words, and what the node is."""
    match = "element 0 of tensors does not require grad and does not have a grad_fn"
    for root in (mg.Tensor(1.0), mg.Tensor(1.0) * 2, mg.Value(1.0).detach(), mg.Value(1.0).detach() * 2):
        with pytest.raises(ValueError, match=match) as error:
            root.backward()
        assert_names_this_line(error)
    with mg.no_grad():
        root = mg.Value(1.0) * 2
    with pytest.raises(ValueError, match=match):
        root.backward()
    with pytest.raises(ValueError, match=match):
        mg.grad(mg.Tensor(1.0), vector(1.0))


def test_backward_of_a_leaf():
    """d x / d x = 1, added to what is there."""
    for x in (mg.Value(3.0), mg.Tensor(3.0, requires_grad=True)):
        x.backward()
        x.backward()
        assert float(x.grad) == 2.0


@pytest.mark.parametrize(
    ("gradient", "kind"),
    [(np.ones(3), ValueError), (np.ones((1, 2)), ValueError), (1.0, ValueError), ("a", (TypeError, ValueError)),
     (mg.Tensor([1.0, 2.0, 3.0]), ValueError), ([[1.0], [2.0]], ValueError)],
)  # fmt: skip
def test_a_gradient_of_another_shape_is_refused(gradient, kind):
    """Bad input: the gradient given must have the root's shape; it never broadcasts silently."""
    x = vector(1.0, 2.0)
    with pytest.raises(kind) as error:
        (x * 2).backward(gradient)
    assert_names_this_line(error)
    if kind is ValueError:
        assert "(2,)" in str(error.value)
    assert x.grad is None


@pytest.mark.parametrize("seed", [[1.0, 10.0], (1, 10), np.array([1, 10]), np.float32([1, 10]), mg.Tensor([1.0, 10.0])])
def test_seeds_of_every_kind(seed):
    """A list, a tuple, integers, float32 and (torch's idiom) a Tensor serve as the gradient given."""
    x = vector(1.0, 2.0)
    y = x * 2
    y.backward(seed)
    assert isinstance(x.grad, np.ndarray)
    assert x.grad.tolist() == [2.0, 20.0]
    assert x.grad.dtype == np.float64
    (found,) = mg.grad(y, x, seed)
    assert isinstance(found, np.ndarray)
    assert found.tolist() == [2.0, 20.0]


@pytest.mark.parametrize("seed", [2, 2.0, np.float64(2), np.float32(2), np.array(2.0), mg.Value(2.0)])
def test_seeds_of_a_value(seed):
    """The gradient given to a Value is a number, and its .grad stays one."""
    x = mg.Value(3.0)
    (x * x).backward(seed)
    assert type(x.grad) is float
    assert x.grad == 12.0
    for bad in ("a", [1.0], np.ones(2), None, 1j):
        if bad is not None:
            with pytest.raises(TypeError) as error:
                (x * x).backward(bad)
            assert_names_this_line(error)


def test_chosen_inputs_alone():
    """Decision 4: a pass for chosen inputs gives a gradient to these alone, leaves and interior nodes alike."""
    x, y = mg.Value(2.0), mg.Value(5.0)
    h = x * y
    z = h * x
    z.backward(inputs=[y])
    assert (x.grad, y.grad, h.grad, z.grad) == (0.0, 4.0, 0.0, 0.0)
    z.backward(inputs=h)
    assert (x.grad, y.grad, h.grad) == (0.0, 4.0, 2.0)
    t, u = vector(1.0, 2.0), vector(3.0, 4.0)
    (t * u).sum().backward(inputs=[u])
    assert t.grad is None
    assert u.grad.tolist() == [1.0, 2.0]


def test_rules_of_unwanted_inputs_do_not_run():
    """A pass for chosen inputs, or for those that require a gradient, runs no other derivative."""
    ran = []

    class probe(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x, y):
            return x * y

        def wrt_x(g, z, x, y):
            if isinstance(g, np.ndarray):  # and not the code of a fast path that is being emitted
                ran.append("x")
            return g * y

        def wrt_y(g, z, x, y):
            if isinstance(g, np.ndarray):
                ran.append("y")
            return g * x

    x, y = vector(1.0), vector(2.0)
    mg.grad(mg.apply(probe, x, y), y)
    assert ran == ["y"]
    mg.grad(mg.apply(probe, x, 2.0), x)
    assert ran == ["y", "x"]
    mg.grad(mg.apply(probe, mg.Tensor([1.0]), y), y)
    assert ran == ["y", "x", "y"]


@pytest.mark.parametrize("inputs", [[], 3, "x", [3.0], [mg.Tensor(1.0)], None])
def test_bad_inputs_of_a_pass(inputs):
    """Bad input: no inputs, no nodes, or nodes that require no gradient, say what was expected and where."""
    x = mg.Value(2.0)
    y = x * x
    if inputs is None:
        y.backward(inputs=None)
        assert x.grad == 4.0
        return
    with pytest.raises((TypeError, ValueError)) as error:
        y.backward(inputs=inputs)
    assert_names_this_line(error)
    assert "inputs" in str(error.value)
    assert x.grad == 0.0


# ------------------------------------------------------------------------------------ 4: gradients are owned


def rules_of_two():
    """Scalar functions of two (2, 3) Tensors that pass every sharing rule: views, sums, joins, products."""
    return {
        "add": lambda x, y: (x + y).sum(),
        "add itself": lambda x, y: (x + x + y).sum(),
        "subtract": lambda x, y: (x - y).sum(),
        "positive": lambda x, y: (+x + y).sum(),
        "multiply": lambda x, y: (x * y).sum(),
        "divide": lambda x, y: (x / y).sum(),
        "power": lambda x, y: (x**y).sum(),
        "broadcast": lambda x, y: (x[0] + y).sum(),
        "matmul": lambda x, y: (x @ y.T).sum(),
        "linear": lambda x, y: mg.linear(x, y, y[:, 0]).sum(),
        "exp": lambda x, y: (x.exp() + y.log()).sum(),
        "maximum": lambda x, y: mg.maximum(x, y).sum() + mg.minimum(x, x).sum(),
        "where": lambda x, y: mg.where(np.array([True, False, True]), x, y).sum(),
        "relu": lambda x, y: (mg.relu(x) + mg.leaky_relu(y) + mg.clip(x, 0, 1)).sum(),
        "reductions": lambda x, y: x.mean() + y.max() + x.min(0).sum() + y.prod() + x.std() + y.var() + x.norm(),
        "logsumexp": lambda x, y: x.logsumexp() + y.softmax().sum() + x.log_softmax()[0, 0] + x.cumsum(1).sum(),
        "reshape": lambda x, y: (x.reshape(6) + y.reshape(-1)).sum(),
        "views": lambda x, y: (x.T + y.transpose() + x.swapaxes(0, 1)).sum() + x[None].squeeze().flip(0).sum(),
        "view as root": lambda x, y: (x * y)[0, 0],
        "index": lambda x, y: x[0].sum() + y[[0, 0, 1]].sum() + x[:, 1].sum() + x[y > 0].sum(),
        "joins": lambda x, y: mg.concatenate([x, y, x]).sum() + mg.stack([x, x, y]).sum() + x.split(1)[1].sum(),
        "broadcast_to": lambda x, y: mg.broadcast_to(x, (4, 2, 3)).sum() + mg.expand_dims(y, 0).sum(),
        "einsum": lambda x, y: mg.einsum("ij,kj->ik", x, y).sum() + mg.einsum("ij->ji", x).sum(),
        "take": lambda x, y: mg.take_along_axis(x, np.array([[0, 0], [2, 1]]), 1).sum() + y.sum(),
        "bce": lambda x, y: mg.binary_cross_entropy_with_logits(x, y).sum(),
        "astype": lambda x, y: x.astype(np.float32).sum() + y.sum(),
        "clone": lambda x, y: (x.clone() + y.clone()).sum(),
        "two faces": lambda x, y: (
            (x * mg.Value(2.0) + mg.stack([mg.Value(1.0), mg.Value(2.0), mg.Value(3.0)])).sum() + y.sum()
        ),
    }


def arrays_of(order):
    """Every array that belongs to some node of the order, with a name: datas, gradients, constants."""
    named = {}
    for i, node in enumerate(order):
        named[i, "data"] = node._data
        named[i, "grad"] = node._grad
        for j, x in enumerate(node.inputs):
            if isinstance(x, np.ndarray):
                named[i, j] = x
    return {key: x for key, x in named.items() if isinstance(x, np.ndarray)}


def write_into_every_gradient(order):
    for i, node in enumerate(order):
        if not isinstance(node._grad, np.ndarray):
            continue
        assert node._grad.flags.writeable
        assert node._grad.flags.owndata
        assert (node._grad.dtype, node._grad.shape) == (node._data.dtype, node._data.shape)
        named = arrays_of(order)
        before = {key: x.tobytes() for key, x in named.items() if key != (i, "grad")}
        node._grad[...] = -12345 - i
        assert before == {key: x.tobytes() for key, x in named.items() if key != (i, "grad")}


@pytest.mark.parametrize("name", rules_of_two())
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradients_are_owned(name, dtype):
    """Decision 4: write into every .grad after backward, and no other gradient, value, constant or view changes."""
    x = mg.Tensor([[0.5, 1.5, 2.5], [3.5, 4.5, 5.5]], requires_grad=True, dtype=dtype)
    y = mg.Tensor([[1.0, 2.0, 0.5], [0.25, 3.0, 1.25]], requires_grad=True, dtype=dtype)
    root = rules_of_two()[name](x, y)
    order = mg.topological_order(root)
    for _ in range(2):
        root.backward()
        for node in (x, y):
            assert type(node.grad) is np.ndarray
        write_into_every_gradient(order)
    found = [*mg.grad(root, [x, y, root]), *mg.grad(root, [x, y])]
    for i, gradient in enumerate(found):
        assert type(gradient) is np.ndarray
        assert gradient.flags.writeable
        assert not any(np.shares_memory(gradient, other) for other in found[:i])
        assert not any(np.shares_memory(gradient, other) for other in arrays_of(order).values())


def test_a_seed_and_a_gradient_share_nothing():
    """Decision 4: what the user gave as gradient, and what he reads, are different arrays, on every node."""
    for build in (lambda x: x, lambda x: x + 0, lambda x: x.reshape(2), lambda x: x[:], lambda x: x.T):
        x, seed = vector(1.0, 2.0), np.array([1.0, 10.0])
        y = build(x)
        y.backward(seed)
        seed[:] = 99
        y.grad[:] = 77 if y is not x else y.grad
        assert x.grad.tolist() == [1.0, 10.0]
        (found,) = mg.grad(build(x), x, seed)
        seed[:] = 55
        assert found.tolist() == [99.0, 99.0]
    assigned = np.ones(2)
    x.grad = assigned
    assigned[:] = 5
    assert x.grad.tolist() == [1.0, 1.0]


def test_a_gradient_read_before_stays_what_it_was_or_is_the_one_that_grows():
    """A later pass never changes an interior gradient that the user kept."""
    x = vector(1.0, 2.0)
    y = x * 2
    z = (y * y).sum()
    z.backward()
    kept = y.grad
    (y * 5).sum().backward()
    assert kept.tolist() == [4.0, 8.0]
    assert y.grad.tolist() == [5.0, 5.0]


def test_gradients_of_zero_d_tensors_are_arrays():
    """Decisions 4 and 11: the gradient of a 0-d Tensor is an ndarray, after one pass, two passes, and from mg.grad."""
    for dtype in (np.float64, np.float32):
        x = mg.Tensor(2.0, requires_grad=True, dtype=dtype)
        y = x * x
        z = y * y
        for _ in range(2):
            z.backward()
            for node in (x, y, z):
                assert type(node.grad) is np.ndarray
                assert node.grad.dtype == dtype
                assert node.grad.shape == ()
        (found,) = mg.grad(z, x)
        assert type(found) is np.ndarray
        x.grad[...] = 7
        assert float(x.grad) == 7.0


# ------------------------------------------------------------------------------------ 16: one pass, two ways


LEAVES = {
    "matrix": np.array([[0.5, -1.5, 2.0], [0.0, 3.0, -0.25]]),
    "row": np.array([1.0, -2.0, 0.5]),
    "column": np.array([[2.0], [-1.0]]),
    "one": np.array(1.5),
}
MOVES = {
    "add": lambda x, y: x + y,
    "subtract": lambda x, y: x - y,
    "multiply": lambda x, y: x * y,
    "divide": lambda x, y: x / y,
    "maximum": mg.maximum,
    "where": lambda x, y: mg.where(x > y, x, y * 2),
    "tanh": lambda x, y: mg.tanh(x),
    "relu": lambda x, y: mg.relu(y),
    "power": lambda x, y: x**2,
    "mean": lambda x, y: x.mean() + y,
    "sum": lambda x, y: (x + y).sum(axis=0) if (x + y).ndim else x,
    "row": lambda x, y: x[0] if x.ndim == 2 else x * y,
    "turn": lambda x, y: (x.T @ x).sum() * y if x.ndim == 2 else x,
    "join": lambda x, y: mg.concatenate([x, x]).max() - y if x.ndim else y,
    "flat": lambda x, y: mg.stack([x, x]).reshape(-1).norm() * y,
}


@st.composite
def array_programs(draw):
    size, steps = len(LEAVES), []
    for _ in range(draw(st.integers(1, 7))):
        steps.append(
            (draw(st.sampled_from(sorted(MOVES))), draw(st.integers(0, size - 1)), draw(st.integers(0, size - 1)))
        )
        size += 1
    return (
        steps,
        draw(st.sampled_from([np.float64, np.float32])),
        draw(st.sets(st.sampled_from(sorted(LEAVES)), max_size=2)),
    )


@given(array_programs())
@settings(max_examples=100)
def test_every_way_to_make_a_pass_gives_the_same_bits(program):
    """Decision 16: backward(), once and again, with inputs=, with a hook, stepped, and mg.grad agree to the bit."""
    steps, dtype, frozen = program

    def run(make_pass):
        leaves = {name: mg.Tensor(x, requires_grad=name not in frozen, dtype=dtype) for name, x in LEAVES.items()}
        nodes = list(leaves.values())
        for name, i, j in steps:
            nodes.append(MOVES[name](nodes[i], nodes[j]))
        root = nodes[-1].sum()
        if not root.requires_grad:
            return None
        wanted = [x for x in leaves.values() if x.requires_grad]
        found = make_pass(root, wanted)
        found = [x.grad for x in wanted] if found is None else found
        assert all(g is None or (g.dtype, g.shape) == (x.dtype, x.shape) for g, x in zip(found, wanted, strict=True))
        return [None if g is None else (g + 0).tobytes() for g in found]

    def hooked(root, wanted):
        wanted[-1].register_hook(lambda g: None)
        root.backward()

    def twice(root, wanted):
        root.backward()
        for x in wanted:
            x.zero_grad()
        root.backward()

    expected = run(lambda root, wanted: mg.grad(root, wanted, allow_unused=True))
    for make_pass in (
        lambda root, wanted: root.backward(),
        lambda root, wanted: root.backward(inputs=wanted),
        lambda root, wanted: [None for step in mg.steps(root) if step is None] or None,
        hooked,
        twice,
    ):
        assert run(make_pass) == expected


# ------------------------------------------------------------------------------------ 5: un-broadcasting


def test_unbroadcast_once_on_the_edge():
    """Decision 5: a share is summed over what broadcasting repeated, whatever combination of axes."""
    x = mg.Tensor(np.ones((3, 1)), requires_grad=True)
    y = mg.Tensor(np.ones((2, 1, 4)), requires_grad=True)
    (x * y).backward(np.ones((2, 3, 4)))
    assert x.grad.tolist() == [[8.0]] * 3
    assert y.grad.tolist() == [[[3.0] * 4]] * 2
    v = mg.Value(2.0)
    (v * mg.Tensor(np.ones((2, 3)))).sum().backward()
    assert v.grad == 6.0


def wrong_share(shape):
    class mistaken(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * 2

        def wrt_x(g, z, x):
            return np.ones(shape)

    return mistaken


@pytest.mark.parametrize("shape", [(5,), (3, 2), (2, 5)])
def test_a_share_of_a_wrong_shape_is_refused(shape):
    """Decision 5: after un-broadcasting the shape is checked, with both shapes and the operation in the message."""
    x = mg.Tensor(np.ones((2, 3)), requires_grad=True)
    y = mg.apply(wrong_share(shape), x).sum()
    with pytest.raises(ValueError) as error:
        y.backward()
    text = str(error.value).replace(" ", "") + "".join(getattr(error.value, "__notes__", []))
    assert str(shape).replace(" ", "") in text
    assert "(2,3)" in text
    assert "mistaken" in text
    assert x.grad is None


def test_a_pass_that_fails_changes_no_gradient():
    """A derivative that raises half-way leaves every leaf's gradient as it was: on both faces."""

    class fails(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * 2

        def wrt_x(g, z, x):
            raise KeyError("mine")

    for make in (mg.Value, lambda x: mg.Tensor(x, requires_grad=True)):
        x, y = make(2.0), make(3.0)
        (x * y).backward()
        loss = mg.apply(fails, x) * y
        with pytest.raises(KeyError, match="mine") as error:
            loss.backward()
        assert (float(x.grad), float(y.grad)) == (3.0, 2.0)
        assert any("fails" in note for note in getattr(error.value, "__notes__", [])) or isinstance(x, mg.Value)
        (x * y).backward()
        assert (float(x.grad), float(y.grad)) == (6.0, 4.0)


# ------------------------------------------------------------------------------------ 6: .grad before a pass


def test_grad_before_any_pass():
    """Decision 6: Value starts at 0.0, Tensor at None; whether a pass reached a node is known all the same."""
    x, t = mg.Value(1.0), vector(1.0)
    assert x.grad == 0.0
    assert type(x.grad) is float
    assert t.grad is None
    assert x._grad is None
    (x * 0.0).backward()
    assert x.grad == 0.0
    assert x._grad is not None  # reached, with gradient zero
    x.zero_grad()
    assert x._grad is None
    unreached = x * 3
    (x * 2).backward()
    assert unreached._grad is None


# ------------------------------------------------------------------------------------ hooks


def scaled(factor):
    return lambda g: g * factor


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_hooks(make):
    """Hooks on leaves and between see the whole gradient, once a pass, in order of registration; one may replace it."""
    x = make(3.0)
    y = x * x
    z = y * 2 + y
    seen = []
    first = y.register_hook(lambda g: seen.append(("y", float(g))))
    y.register_hook(scaled(10))
    y.register_hook(lambda g: seen.append(("y after", float(g))))
    x.register_hook(lambda g: seen.append(("x", float(g))))
    z.backward()
    assert seen == [("y", 3.0), ("y after", 30.0), ("x", 180.0)]
    assert (float(y.grad), float(x.grad)) == (30.0, 180.0)
    first.remove()
    first.remove()
    seen.clear()
    z.backward()
    assert seen == [("y after", 30.0), ("x", 180.0)]
    assert float(x.grad) == 360.0
    assert [float(g) for g in mg.grad(z, [x, y])] == [180.0, 30.0]


def test_hooks_can_be_taken_off_while_they_run():
    """A hook that removes itself runs once, and the others run all the same."""
    x, seen = mg.Value(3.0), []

    def once(g):
        seen.append("once")
        handle.remove()

    handle = x.register_hook(once)
    x.register_hook(lambda g: seen.append("always"))
    for _ in range(2):
        (x * 2).backward()
    assert seen == ["once", "always", "always"]


def test_a_hook_sees_what_flows_in_a_recorded_pass():
    """With create_graph a hook gets a node, and what it returns is differentiated."""
    x = mg.Value(3.0)
    y = x * x
    y.register_hook(lambda g: g * 2)
    (first,) = mg.grad(y * 1, x, create_graph=True)
    assert first.data == 12.0
    (second,) = mg.grad(first, x)
    assert second == 4.0


def test_a_hook_that_writes_into_its_gradient_changes_no_data():
    """Whatever a hook does to what it is given, values and constants stay what they are."""
    x, c = vector(1.0, 2.0), np.ones(2)
    y = x + c
    z = y * c

    def spoil(g):
        if g.flags.writeable:
            g[...] = 99

    y.register_hook(spoil)
    z.sum().backward()
    assert c.tolist() == [1.0, 1.0]
    assert x.detach().tolist() == [1.0, 2.0]
    assert z.detach().tolist() == [2.0, 3.0]


def test_what_hooks_hold_is_not_the_gradient():
    """Decision 4: neither the array that a hook kept nor the one that it returned is any node's .grad."""
    for build in (lambda x: x, lambda x: x * 1, lambda x: x.reshape(2)):
        x, kept, mine = vector(1.0, 2.0), [], np.array([5.0, 6.0])
        y = build(x)
        y.register_hook(kept.append)
        (y * 1).sum().backward()
        if kept[0].flags.writeable:
            kept[0][...] = 99
        assert x.grad.tolist() == y.grad.tolist() == [1.0, 1.0]
        x, y = (t := vector(1.0, 2.0)), build(t)
        y.register_hook(lambda g, mine=mine: mine)
        (y * 1).sum().backward()
        mine[:] = 7
        assert x.grad.tolist() == y.grad.tolist() == [5.0, 6.0]


def test_what_a_hook_returns_is_a_number_of_the_node():
    """A replacement is converted to the node's kind and precision; what is no number is refused."""
    for replacement in (5, 5.0, np.float32(5), np.array(5.0), mg.Value(5.0)):
        x = mg.Value(1.0)
        y = x * 2
        y.register_hook(lambda g, replacement=replacement: replacement)
        y.backward()
        assert (x.grad, y.grad) == (10.0, 5.0)
        assert type(x.grad) is type(y.grad) is float
    for replacement in ([5, 6], (5, 6), np.float32([5, 6]), mg.Tensor([5.0, 6.0])):
        t = vector(1.0, 2.0)
        t.register_hook(lambda g, replacement=replacement: replacement)
        (t * 1).sum().backward()
        assert t.grad.tolist() == [5.0, 6.0]
        assert t.grad.dtype == np.float64
    two = lambda x: vector(x, x)
    for make, bad in ((mg.Value, "a"), (mg.Value, np.ones(2)), (two, "a"), (two, [None, 1]), (two, np.ones(3))):
        x = make(1.0)
        x.register_hook(lambda g, bad=bad: bad)
        with pytest.raises((TypeError, ValueError)):
            (x * 2).backward(None if isinstance(x, mg.Value) else np.ones(2))
        assert x._grad is None


def test_bad_hooks():
    """Bad input: a hook that cannot be called, or that never would be."""
    x = mg.Value(1.0)
    with pytest.raises(TypeError, match="register_hook: expected a function, got int") as error:
        x.register_hook(3)
    assert_names_this_line(error)
    with pytest.raises(ValueError, match="requires no gradient") as error:
        mg.Tensor(1.0).register_hook(print)
    assert_names_this_line(error)


def test_a_replacement_of_another_shape_is_refused():
    """A hook's replacement must fit the node."""
    x = vector(1.0, 2.0)
    y = x * 2
    y.register_hook(lambda g: np.ones(5))
    with pytest.raises(ValueError):
        y.sum().backward()
    assert x.grad is None


# ------------------------------------------------------------------------------------ 2: copies of leaves


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_leaves_copy_and_pickle(duplicate):
    """Decision 2: a leaf copies and pickles with data, gradient, name and requires_grad; the copy shares nothing."""
    x = mg.Value(3.0, name="x")
    (x * x).backward()
    y = duplicate(x)
    assert type(y) is mg.Value
    assert (y.data, y.grad, y.name, y.requires_grad, y.rule) == (3.0, 6.0, "x", True, None)
    assert hash(x) != hash(y)
    for requires_grad in (True, False):
        t = mg.Tensor(np.arange(6, dtype=np.float32).reshape(2, 3), requires_grad=requires_grad, name="w")
        if requires_grad:
            (t * t).sum().backward()
        u = duplicate(t)
        assert (u.name, u.requires_grad, u.dtype, u.shape) == ("w", requires_grad, np.float32, (2, 3))
        assert u.tolist() == t.tolist()
        if requires_grad:
            assert u.grad.tolist() == t.grad.tolist()
            u.grad[:] = 0
            assert t.grad.any()
        u._data[:] = 9
        assert t.tolist() == [[0, 1, 2], [3, 4, 5]]


def test_deepcopy_keeps_what_is_shared_shared():
    """A model that holds one leaf twice holds one copy twice, and the copy trains on its own."""
    x = mg.Value(2.0)
    a, b = copy.deepcopy([x, x])
    assert a is b
    assert a is not x
    (a * a).backward()
    assert (a.grad, x.grad) == (4.0, 0.0)


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, pickle.dumps])
@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_nodes_with_a_history_refuse_to_be_copied(duplicate, make):
    """Decision 2: a copy of a node with history raises and names detach() (micrograd's copies lose their gradients)."""
    node = make(3.0) * 2
    with pytest.raises(TypeError, match=r"detach\(\)") as error:
        duplicate(node)
    assert "multiply" in str(error.value)
    assert_names_this_line(error)
    assert duplicate(node.detach()) is not None
    if duplicate is not copy.copy:
        with pytest.raises(TypeError, match=r"detach\(\)"):
            duplicate([node])


# ------------------------------------------------------------------------------------ threads


@pytest.mark.parametrize("make", [mg.Value, lambda x: mg.Tensor(x, requires_grad=True)], ids=["Value", "Tensor"])
def test_threads_that_share_a_leaf(make):
    """Passes of many threads into one leaf, through one shared interior node, add up exactly."""
    x = make(1.0)
    shared = x * 2

    def work():
        y = shared
        for _ in range(20):
            y = y + shared
        for _ in range(200):
            y.backward()

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)
    assert float(x.grad) == 4 * 200 * 21 * 2.0


def test_a_pass_within_a_pass():
    """A hook may run a backward pass of its own."""
    x, w = mg.Value(2.0), mg.Value(5.0)
    y = x * x
    y.register_hook(lambda g: (w * 3).backward())
    y.backward()
    assert (x.grad, w.grad) == (4.0, 3.0)


# ------------------------------------------------------------------------------------ what a node tells


def test_what_a_node_tells():
    """rule, inputs, parameters, name, is_leaf and one-line representations of at most 80 characters."""
    x = mg.Tensor(np.ones((2, 3)), requires_grad=True, name="x")
    y = x.sum(axis=1, keepdims=True)
    assert (x.rule, x.inputs, x.parameters, x.is_leaf, x._op) == (None, (), {}, True, "")
    assert y.rule.__name__ == y._op == "sum"
    assert dict(y.parameters) == {"axis": 1, "keepdims": True}
    assert not y.is_leaf
    assert Counter(map(id, y.inputs)) == Counter([id(x)])
    y.name = "row sums"
    assert y.name == "row sums"
    with pytest.raises(TypeError, match="name: expected a string, got int") as error:
        y.name = 3
    assert_names_this_line(error)
    rng = np.random.default_rng(0)
    shown = [x, y, mg.Value(1e-300) * 1e300, mg.Value(-1.2345678901234567e-300), mg.Value(float("nan")),
             mg.Tensor(rng.normal(size=(30, 40)) * 1e100, dtype=np.float32), mg.Tensor(np.zeros((0, 3))),
             mg.Tensor(3, name="n"), mg.Tensor(rng.normal(size=(2, 2, 2)), requires_grad=True).softmax()]  # fmt: skip
    for node in shown:
        assert len(repr(node)) <= 80
        assert "\n" not in repr(node)


def test_requires_grad():
    """requires_grad_ returns the leaf, freezes and unfreezes it; a node with history is told to detach()."""
    x = mg.Value(2.0)
    assert x.requires_grad_(False) is x
    y = mg.Value(3.0)
    (x * y).backward()
    assert (x.grad, y.grad) == (0.0, 2.0)
    x.requires_grad_()
    (x * y).backward()
    assert x.grad == 3.0
    with pytest.raises(ValueError, match=r"detach\(\)") as error:
        (x * y).requires_grad_(False)
    assert_names_this_line(error)


def test_detach_cuts_the_graph():
    """detach() shares no history and no memory; what is computed from it requires no gradient."""
    x = mg.Value(2.0)
    assert not (x.detach() * 3).requires_grad
    (x * x.detach()).backward()
    assert x.grad == 2.0
    t = vector(1.0, 2.0)
    d = t.detach()
    d.numpy()[0] = 9
    assert t.tolist() == [1.0, 2.0]
