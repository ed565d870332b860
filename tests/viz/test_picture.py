"""What is drawn: names, numbers, edges, in words."""

import math
from fractions import Fraction

import numpy as np
import pytest

import microgrid as mg
import nn
import viz
from viz.picture import clipped, described


def test_a_plus_a_has_two_edges() -> None:
    a = mg.Value(2.0)
    edges = viz.graph(a + a).edges
    assert [(edge.source, edge.target, edge.position) for edge in edges] == [("n0", "n1", 0), ("n0", "n1", 1)]


def test_ids_count_in_topological_order() -> None:
    """A node's inputs have smaller numbers than it has."""
    a, b = mg.Value(2.0), mg.Value(3.0)
    c = a * b
    picture = viz.graph((c + a) * mg.exp(c - b))
    assert [node.id for node in picture.nodes] == [f"n{i}" for i in range(len(picture.nodes))]
    assert all(int(edge.source[1:]) < int(edge.target[1:]) for edge in picture.edges)


def test_a_shared_node_is_drawn_once() -> None:
    """sixty doublings are 61 nodes, not 2^60."""
    y = mg.Value(1.0)
    for _ in range(60):
        y = y + y
    picture = viz.graph(y)
    assert (len(picture.nodes), len(picture.edges)) == (61, 120)


def test_no_gradient_is_not_a_gradient_of_zero() -> None:
    x, unused = mg.Value(3.0), mg.Value(4.0)
    y = x * 0 + unused
    assert [node.grad for node in viz.graph(y).nodes] == ["-", "-", "-", "-"]
    (x * 0).backward()
    assert [node.grad for node in viz.graph(y).nodes] == ["0.0000", "-", "-", "-"]
    t = mg.Tensor([1.0, 2.0], requires_grad=True)
    assert viz.graph(t.sum()).nodes[0].grad == "-"
    (t * 0).sum().backward()
    assert viz.graph(t.sum()).nodes[0].grad == "[0.0000, 0.0000]"


def test_the_gradient_of_a_recorded_pass_is_drawn_as_its_number() -> None:
    x = mg.Value(3.0)
    (x * x).backward(create_graph=True)
    assert viz.graph(x * x).nodes[0].grad == "6.0000"
    x.zero_grad()


def test_kinds() -> None:
    """Leaves with and without a gradient, operations, the root; a leaf that is the root is a leaf."""
    X, w = mg.Tensor([1.0, 2.0]), mg.Tensor([3.0, 4.0], requires_grad=True)
    assert [node.kind for node in viz.graph((X * w).sum()).nodes] == ["constant", "parameter", "operation", "root"]
    assert [node.kind for node in viz.graph(w).nodes] == ["parameter"]


def test_names_are_paths_in_the_model_else_the_users_else_numbers() -> None:
    model = nn.MLP(2, [2, 1], rng=0)
    model.layers[0].weight.name = "overruled by its path"
    X = mg.Tensor([[1.0, 2.0]], name="X")
    loss = nn.BCEWithLogitsLoss()(model(X), np.ones((1, 1)))
    loss.name = "loss"
    paths = {name for name, _ in model.named_parameters()}
    assert {node.title for node in viz.graph(loss, params=model).nodes if node.kind == "parameter"} == paths
    titles = [node.title for node in viz.graph(loss, params={"mapped": model.layers[0].bias}).nodes]
    assert {"X", "mapped", "overruled by its path", "loss = mean"} <= set(titles)
    assert sum(title.startswith("%") for title in titles) == 2  # the two parameters that nobody named


@pytest.mark.parametrize(
    ("make", "operation"),
    [
        (lambda x: x + x, "+"),
        (lambda x: x**2, "• ** 2"),
        (lambda x: 1 - x, "1 - •"),
        (lambda x: x / 0.1, "• / 0.1"),
        (lambda x: -x, "negative"),
        (mg.tanh, "tanh"),
        (lambda x: mg.maximum(x, 0.5), "maximum(•, 0.5)"),
        (lambda x: mg.Tensor([1.0, 2.0]) * x, "*"),
        (lambda x: x * np.array([1.0, 2.0]), "• * [1.0000, 2.0000]"),
        (lambda x: x * np.ones((3, 4)), "• * array(3,4)"),
        (lambda x: mg.leaky_relu(x, 0.2), "leaky_relu negative_slope=0.2"),
    ],
)
def test_constants_stand_in_their_consumer(make, operation) -> None:
    assert viz.graph(make(mg.Value(3.0))).nodes[-1].operation == operation


def test_parameters_of_an_operation_are_named() -> None:
    t = mg.Tensor(np.ones((2, 3)), requires_grad=True)
    assert viz.graph(t.sum(axis=0)).nodes[-1].operation == "sum axis=0"
    assert viz.graph(t.sum()).nodes[-1].operation == "sum"
    assert viz.graph(t.reshape(3, 2)).nodes[-1].operation == "reshape shape=(3, 2)"


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (1.0, "1.0000"),
        (-0.5, "-0.5000"),
        (99999.0, "99999.0000"),
        (1e5, "1.000e+05"),
        (-1e-9, "-1.000e-09"),
        (-0.0, "0.0000"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (Fraction(1, 3), "1/3"),
        (np.float32(0.5), "0.5000"),
        (np.array(2.0), "2.0000"),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        (np.zeros((0, 3)), "[]"),
        (np.ones(7), "mean 1.0000 ± 0.0000"),
        (np.array([math.inf] * 7), "mean inf ± nan"),
    ],
)
def test_one_formatter_for_every_number(numbers, text) -> None:
    assert described(numbers) == text


def test_what_is_long_is_clipped() -> None:
    assert clipped("x" * 48) == "x" * 48
    assert clipped("x" * 49) == "x" * 47 + "…"
    long = mg.exp(mg.Value(1.0))
    long.name = "n" * 100
    assert viz.graph(long).nodes[-1].title == "n" * 47 + "… = exp"


def test_arrays_say_their_shape_and_dtype() -> None:
    assert viz.graph(mg.Tensor(np.ones((2, 9)), dtype=np.float32)).nodes[0].form == "(2, 9) float32"
    assert viz.graph(mg.Value(1.0)).nodes[0].form == ""


def test_numbers_that_are_not_finite_are_said_to_be_so() -> None:
    x = mg.Value(0.0)
    y = mg.log(x)
    y.backward()
    assert [node.fault for node in viz.graph(y).nodes] == ["grad not finite", "data not finite"]
    t = mg.Tensor([1.0, math.nan, math.inf, 2.0])
    assert viz.graph(t).nodes[0].fault == "data 2 of 4 not finite"
    assert viz.graph(mg.Tensor([1, 2])).nodes[0].fault == ""


def test_the_site_is_the_users_line_and_may_be_missing() -> None:
    assert viz.graph(mg.Value(1.0)).nodes[0].site.startswith("test_picture.py:")
    with mg.record_sites(False):
        x = mg.Value(1.0)
    assert viz.graph(x).nodes[0].site == ""


def test_drawing_changes_nothing() -> None:
    """No node is marked as handed out, no gradient made: a backward pass after drawing is as before."""
    t = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = (t * t).sum()
    viz.draw_dot(y)
    assert (t._extra, t._grad, y._extra) == (None, None, None)
    y.backward()
    assert t.grad.tolist() == [2.0, 4.0]


def chain(length: int) -> mg.Value:
    x = mg.Value(0.0)
    for _ in range(length):
        x = x + 1
    return x


def test_a_graph_too_big_to_read_is_refused_with_advice() -> None:
    root = chain(2000)  # and a leaf
    with pytest.raises(ValueError, match=r"2001 nodes, and max_nodes=2000: draw a part .* at test_picture\.py:\d+"):
        viz.graph(root)
    assert len(viz.graph(root, max_nodes=2001).nodes) == 2001


@pytest.mark.parametrize("length", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_long_chain_needs_no_recursion(length) -> None:
    source = viz.draw_dot(chain(length), max_nodes=10**6).source
    assert source.count("->") == length


@pytest.mark.parametrize("root", [3.0, None, "x", [mg.Value(1.0)]])
def test_what_is_no_node_is_refused(root) -> None:
    with pytest.raises(TypeError, match=r"a picture shows a Value or Tensor .* at test_picture\.py"):
        viz.graph(root)


def test_params_without_names_are_refused() -> None:
    with pytest.raises(TypeError, match="params: expected a model or a mapping of names to nodes, got list"):
        viz.graph(mg.Value(1.0), params=[1])
