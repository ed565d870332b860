"""Chains and paths of a tape: what the paths carry adds up to the gradient, and a wrong rule is found out."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

import microgrid as mg
from viz.stepping.chains import chain, differences, paths, products


@given(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.sampled_from("+*s")), min_size=1, max_size=7))
def test_the_paths_add_up_to_the_gradient(plan):
    """Over every graph of sums, products and sines: as many paths as a count by the matrix of edges, and their sum."""
    x = mg.Value(0.7, name="x")
    nodes = [x]
    for i, j, op in plan:
        a, b = nodes[i % len(nodes)], nodes[j % len(nodes)]
        nodes.append(a + b if op == "+" else a * b if op == "*" else mg.sin(a))
    tape = mg.record(nodes[-1])
    found = paths(tape, x, most=10_000)

    place = {node: i for i, node in enumerate(tape.labels)}
    edges = np.zeros((len(place), len(place)))
    for node in place:
        for y in node.inputs:
            edges[place[node], place[y]] += 1
    walks = np.linalg.inv(np.eye(len(place)) - edges)  # I + E + E^2 + ...: walks of every length
    assert found.count == round(walks[place[nodes[-1]], place[x]])
    assert len(found.shown) == found.count
    if nodes[-1] is not x:
        assert math.isclose(sum(p.value for p in found.shown), found.gradient, rel_tol=1e-9, abs_tol=1e-12)
        for path in found.shown:
            product = math.prod(link.contribution.local for link in path.links)
            assert math.isclose(path.value, product, rel_tol=1e-9, abs_tol=1e-300)


def test_the_paths_of_arrays_add_up_too():
    """Broadcasting on one path, a matrix product on the other."""
    W = mg.Tensor(np.arange(6.0).reshape(2, 3) / 6, requires_grad=True, name="W")
    x = mg.Tensor(np.ones((4, 3)))
    h = mg.tanh(x @ W.T)
    loss = mg.sum(h * h) + mg.sum(W[0] * mg.sin(W))
    tape = mg.record(loss)
    found = paths(tape, W)
    assert found.count == len(found.shown) == 4
    np.testing.assert_allclose(sum(p.value for p in found.shown), W.grad, rtol=1e-12)


def test_very_many_paths_are_counted_and_some_are_listed():
    x = mg.Value(1.0, name="x")
    y = x
    for _ in range(60):
        y = y + y
    found = paths(mg.record(y), x)
    assert found.count == 2**60
    assert len(found.shown) == 20
    assert found.gradient == 2.0**60


def test_a_deep_chain_needs_no_recursion():
    x = mg.Value(1.0, name="x")
    y = x
    for _ in range(5000):
        y = -y
    tape = mg.record(y)
    assert len(paths(tape, x).shown[0].links) == 5000
    assert len(chain(tape, tape[-1])) == 4999


def test_the_chain_takes_the_consumer_that_gives_most():
    x = mg.Value(2.0, name="x")
    y = mg.sin(x)
    L = 10 * y + 0.1 * y
    tape = mg.record(L)
    links = chain(tape, tape.step_of(y))
    assert [link.step.op for link in links] == ["add", "multiply"]
    assert links[-1].contribution.value == 10
    assert products(tape, links) == [1, 10]


def test_the_root_has_no_chain_and_one_path():
    x = mg.Value(2.0)
    L = x * 3
    tape = mg.record(L)
    assert chain(tape, tape[0]) == []
    assert paths(tape, L) == (((((), 1.0)),), 1, 1.0)


def test_a_node_that_the_pass_does_not_reach_has_no_path():
    x, y = mg.Value(2.0), mg.Value(3.0).requires_grad_(False)
    found = paths(mg.record(x * y), y)
    assert (found.count, found.shown, found.gradient) == (0, (), None)


@pytest.mark.parametrize("op", [mg.sigmoid, mg.tanh, mg.exp, mg.log, mg.sqrt, lambda x: x**3, lambda x: 1 / x, abs])
def test_right_rules_agree_with_differences(op):
    for x in (mg.Value(0.7), mg.Tensor([[0.7, 1.3], [0.2, 2.0]], requires_grad=True)):
        y = op(x)
        tape = mg.record(y, None if isinstance(x, mg.Value) else np.array([[1.0, -2.0], [0.5, 3.0]]))
        assert all(difference.agrees for difference in differences(tape[0]))


def test_single_precision_is_not_accused():
    W = mg.Tensor(np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4), requires_grad=True)
    loss = mg.mean(mg.sigmoid(mg.Tensor(np.ones((5, 4), np.float32)) @ W.T))
    for step in mg.record(loss):
        assert all(difference.agrees for difference in differences(step))


@pytest.mark.parametrize("factor", [1.001, -1, 0])
def test_wrong_rules_do_not(factor):
    class Cube(mg.Rule):
        def value(x):
            return x * x * x

        def wrt_x(g, z, x):
            return g * (3 * x * x) * factor

    x = mg.Value(1.5)
    (found,) = differences(mg.record(mg.apply(Cube, x))[0])
    assert not found.agrees
    assert math.isclose(found.found, 6.75, rel_tol=1e-8)
    (found,) = differences(mg.record(mg.sum(mg.apply(Cube, mg.Tensor([1.5, 0.0, 1.0], requires_grad=True))))[1])
    assert not found.agrees
    assert found.elements == 3


@pytest.mark.parametrize("op", [mg.sin, mg.log, mg.sqrt, mg.exp, mg.relu, mg.abs, lambda x: 1 / x])
@pytest.mark.parametrize("x", [1e-300, 1e-9, 1e-5, 300.0, 1e5])
def test_right_rules_are_not_accused_near_zero_or_far_from_it(op, x):
    """The logarithm of a small probability, a sine of a large angle: where nothing can be taken, that is said."""
    (found,) = differences(mg.record(op(mg.Value(x)))[0])
    assert found.agrees or not (found.is_taken or math.isfinite(found.told))


def test_at_a_pole_there_is_no_difference():
    for op in (mg.log, mg.sqrt, lambda x: 1 / x):
        (found,) = differences(mg.record(op(mg.Value(0.0)))[0])
        assert not found.is_taken


def test_a_kink_is_called_a_kink():
    (found,) = differences(mg.record(mg.relu(mg.Value(0.0)))[0])
    assert not found.agrees
    assert found.at_a_kink
    assert (found.left, found.right, found.told) == (0, 1, 0)


def test_symbols_and_statistics_cannot_be_moved():
    pytest.importorskip("sympy")
    (x,) = mg.symbols("x") if isinstance(mg.symbols("x"), tuple) else (mg.symbols("x"),)
    with pytest.raises(ValueError, match="differences need numbers"):
        differences(mg.record(mg.sin(x))[0])
    large = mg.Tensor(np.ones(5000), requires_grad=True)
    with pytest.raises(ValueError, match="statistics"):
        differences(mg.record(mg.sum(mg.sin(large)))[1])
