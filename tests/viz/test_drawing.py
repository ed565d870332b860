"""From a root to a Graph: nodes, edges, labels, what is refused, what a notebook shows."""

import copy
import json
import math
import warnings

import numpy as np
import pytest

import microgrid as mg
import nn
import viz


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


def test_several_roots() -> None:
    a = mg.Value(2.0)
    b, c = a * 2.0, mg.exp(a)
    assert [node.kind for node in viz.graph(b, c).nodes] == ["parameter", "root", "root"]
    assert [node.kind for node in viz.graph(b, mg.exp(b)).nodes] == ["parameter", "root", "root"]


def test_values_and_tensors_in_one_graph() -> None:
    v, t = mg.Value(2.0), mg.Tensor([1.0, 2.0], requires_grad=True)
    assert [node.form for node in viz.graph((v * t).sum()).nodes] == ["", "(2,) float64", "(2,) float64", "() float64"]


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
    assert [node.kind for node in viz.graph((X * w).sum()).nodes] == ["input", "parameter", "operation", "root"]
    assert [node.kind for node in viz.graph(w).nodes] == ["parameter"]


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
    assert viz.graph(mg.Value(1.0)).nodes[0].site.startswith("test_drawing.py:")
    with mg.record_sites(False):
        x = mg.Value(1.0)
    assert viz.graph(x).nodes[0].site == ""


def test_drawing_changes_nothing() -> None:
    """No node is marked as handed out, no gradient made: a backward pass after drawing is as before."""
    t = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = (t * t).sum()
    for labels in (None, "local", "contribution"):
        viz.graph(y, labels=labels).svg()
    viz.draw_dot(y)
    assert (t._extra, t._grad, y._extra) == (None, None, None)
    y.backward()
    assert t.grad.tolist() == [2.0, 4.0]


# ------------------------------------------------------------------------------------------------ labels


def test_edges_bear_the_local_derivative_or_the_contribution() -> None:
    """C = 3 a b: dz/da = b, dC/dz = 3, and what z hands to a is their product."""
    a, b = mg.Value(2.0), mg.Value(-5.0)
    C = 3.0 * (a * b)
    assert [edge.label for edge in viz.graph(C).edges] == ["", "", ""]
    assert [edge.label for edge in viz.graph(C, labels="local").edges] == ["-5.0000", "2.0000", "3.0000"]
    assert [edge.label for edge in viz.graph(C, labels="contribution").edges] == ["", "", ""]  # no pass has been
    C.backward()
    assert [edge.label for edge in viz.graph(C, labels="contribution").edges] == ["-15.0000", "6.0000", "3.0000"]


def test_labels_need_the_numbers_as_they_were() -> None:
    """After a step of an optimiser a derivative would be of other numbers; the graph without labels is drawn."""
    w, x = mg.Value(2.0), mg.Value(3.0)
    y = w * x
    w.data = 5.0
    assert len(viz.graph(y).nodes) == 3
    with pytest.raises(mg.StaleError, match=r"labels='local' needs the numbers as they were.*, at test_drawing\.py"):
        viz.graph(y, labels="local")


def test_arrays_have_contributions_and_no_local_derivative() -> None:
    t = mg.Tensor([1.0, 2.0], requires_grad=True)
    y = (t * t).sum()
    y.backward()
    assert [edge.label for edge in viz.graph(y, labels="local").edges] == ["", "", "[1.0000, 1.0000]"]
    assert viz.graph(y, labels="contribution").edges[0].label == "[1.0000, 2.0000]"


def test_labels_stand_in_every_form() -> None:
    a = mg.Value(2.5)
    graph = viz.graph(mg.exp(a) * 1.25, labels="local")
    for written in (graph.svg(), graph.dot(), graph.dot(style="micrograd"), graph.html(), graph.text(), graph.json()):
        assert "1.2500" in written
    assert "1.2500" in graph.mermaid()


# ------------------------------------------------------------------------------------------------ what is refused


@pytest.mark.parametrize("root", [3.0, None, "x", [mg.Value(1.0)]])
def test_what_is_no_node_is_refused(root) -> None:
    for draw in (viz.graph, viz.draw_dot, viz.trace):
        with pytest.raises(TypeError, match=r"a picture shows a Value or Tensor .* at test_drawing\.py"):
            draw(root)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"detail": "little"}, ValueError, "detail='little' is none of auto, full"),
        ({"max_nodes": 0}, ValueError, "max_nodes=0, expected an integer >= 1"),
        ({"max_nodes": 2.5}, ValueError, "max_nodes=2.5"),
        ({"max_nodes": True}, ValueError, "max_nodes=True"),
        ({"labels": "grad"}, ValueError, "labels='grad' is none of None, 'local', 'contribution'"),
        ({"labels": np.array([1, 2])}, ValueError, r"labels=array\(\[1, 2\]\) is none of None"),
        ({"detail": np.array(["auto", "full"])}, ValueError, r"detail=array\(.*\) is none of auto"),
        ({"max_nodes": 2.0}, ValueError, "max_nodes=2.0, expected an integer >= 1"),
        ({"max_nodes": np.int64(0)}, ValueError, "max_nodes=.*0.*, expected an integer >= 1"),
        (
            {"params": {"a": [1.0]}},
            TypeError,
            r"expected a Value or Tensor for each name, got list \[1\.0\] for str 'a'",
        ),
        ({"params": {"a": 3}}, TypeError, "expected a Value or Tensor for each name, got int 3 for str 'a'"),
        ({"expand": "layers.0"}, TypeError, "expand: expected a function of a module's path, got str"),
    ],
)
def test_options_that_are_none_are_refused(options, error, text) -> None:
    with pytest.raises(error, match=text + r".*, at test_drawing\.py:\d+"):
        viz.graph(mg.Value(1.0), **options)


def test_integers_of_numpy_are_integers() -> None:
    x = mg.Value(1.0)
    y = mg.exp(x)
    assert viz.graph(y, max_nodes=np.int64(1)) == viz.graph(y, max_nodes=1)  # type: ignore[arg-type]


def test_what_fails_in_the_users_code_is_said_to() -> None:
    """`expand` is the user's; a repr that fails is passed over, in messages too."""

    class Wordless(nn.Module):
        def __init__(self) -> None:
            self.w = nn.Parameter([1.0])

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            return mg.exp(self.w * x)

        def __repr__(self) -> str:
            raise RuntimeError("no words")

    model = Wordless()
    root = model(mg.Tensor([2.0])).sum()
    assert [cluster.title for cluster in viz.graph(root, params=model).clusters] == ["Wordless"]
    with pytest.raises(ValueError, match=r"expand: .*'' is to be drawn.*ZeroDivisionError.*, at test_drawing\.py"):
        viz.graph(root, params=model, expand=lambda path: 1 / 0)
    with pytest.raises(TypeError, match=r"got Wordless, at test_drawing\.py"):
        viz.graph(model)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"got MLP MLP\( \(layers\): Sequential\( .*, at test_drawing\.py"):
        viz.graph(nn.MLP(2, [1], rng=0))  # type: ignore[arg-type]


def test_no_root_no_picture() -> None:
    with pytest.raises(ValueError, match="graph: nothing to draw"):
        viz.graph()


@pytest.mark.parametrize("method", ["svg", "html", "dot", "mermaid"])
def test_an_unknown_direction_is_refused(method) -> None:
    with pytest.raises(ValueError, match=r"rankdir='left' is none of LR, TB, RL, BT, at test_drawing\.py"):
        getattr(viz.graph(mg.Value(1.0)), method)("left")


def test_an_unknown_engine_is_refused() -> None:
    with pytest.raises(ValueError, match="engine='neato' is neither None nor 'dot'"):
        viz.graph(mg.Value(1.0)).svg(engine="neato")


def test_without_dot_the_engine_is_viz_itself_and_says_so(monkeypatch) -> None:
    graph = viz.graph(mg.Value(1.0))
    monkeypatch.setenv("PATH", "")
    with pytest.warns(UserWarning, match=r"dot \(Graphviz\) is not installed.*viz places the nodes instead"):
        assert graph.svg(engine="dot") == graph.svg()


# ------------------------------------------------------------------------------------------------ the value


def test_a_graph_is_plain_data() -> None:
    a = mg.Value(2.0, name="a")
    graph = viz.graph(a * a)
    again = viz.graph(a * a)
    assert json.loads(graph.json()) == graph.to_dict()
    assert graph.to_dict()["nodes"][0]["name"] == "a"
    assert {**graph.nodes[0].__dict__, "site": ""} == {**again.nodes[0].__dict__, "site": ""}
    with pytest.raises(AttributeError):
        graph.nodes = ()  # type: ignore[misc]
    assert repr(graph) == "<Graph of 2 nodes, 2 edges>"


def test_trace_is_micrograds() -> None:
    """Sets of nodes and of pairs; a shared input makes one pair; the order is the same on every run."""
    a, b = mg.Value(2.0), mg.Value(3.0)
    c = a * b
    d = c + c
    nodes, edges = viz.trace(d)
    assert isinstance(nodes, set)
    assert isinstance(edges, set)
    assert (len(nodes), len(edges)) == (4, 3)
    assert (a, c) in edges
    assert list(nodes) == [a, b, c, d]
    assert all(x in nodes for x in (a, b, c, d))
    assert mg.Value(2.0) not in nodes  # by identity, though it is equal to a
    assert [(x.data, y.data) for x, y in edges] == [(2.0, 6.0), (3.0, 6.0), (6.0, 12.0)]
    other = mg.Value(9.0)
    nodes.add(other)
    nodes.discard(a)
    assert list(nodes) == [b, c, d, other]
    assert nodes | {a} == {a, b, c, d, other}
    assert list(copy.copy(nodes)) == list(nodes)


# ------------------------------------------------------------------------------------------------ notebooks


def test_a_notebook_shows_graphs_and_nodes_with_a_history() -> None:
    y = mg.exp(mg.Value(1.0))
    for shown in (y, viz.graph(y)):
        bundle = shown._repr_mimebundle_(include=None, exclude=None)
        assert list(bundle) == ["image/svg+xml", "text/html", "text/plain"]
        assert bundle["image/svg+xml"] in bundle["text/html"]
    assert y._repr_mimebundle_()["text/plain"] == repr(y)
    assert mg.Value(1.0)._repr_mimebundle_() == {"text/plain": "Value(data=1.0, grad=0.0)"}  # nothing to be drawn
    assert list(mg.Tensor([1.0, 2.0])._repr_mimebundle_()) == ["text/plain"]


def test_a_notebook_never_meets_an_error(monkeypatch) -> None:
    y = mg.exp(mg.Value(1.0))
    graph = viz.graph(y)

    def broken(*_: object) -> str:
        raise RuntimeError("not in front of the user")

    monkeypatch.setattr("viz.svg.written", broken)
    assert graph._repr_mimebundle_() == {"text/plain": repr(graph)}
    monkeypatch.setattr("viz.drawing._graph", broken)
    assert y._repr_mimebundle_() == {"text/plain": repr(y)}


def test_the_engine_knows_no_notebook_until_viz_is_imported() -> None:
    import subprocess
    import sys

    program = "import microgrid as mg; print(hasattr(mg.Node, '_repr_mimebundle_'))"
    assert (
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout == "False\n"
    )


# ------------------------------------------------------------------------------------------------ the notes


def test_the_chain_of_the_notes_is_drawn_in_its_order() -> None:
    """S5: C <- A[2] <- Z[2] <- A[1] <- Z[1] <- X, with W and b entering each Z."""
    rng = np.random.default_rng(0)
    X = mg.Tensor(rng.normal(size=(4, 3)), name="X")
    W = {1: mg.Tensor(rng.normal(size=(2, 3)), True), 2: mg.Tensor(rng.normal(size=(1, 2)), True)}
    b = {1: mg.Tensor(np.zeros(2), True), 2: mg.Tensor(np.zeros(1), True)}
    A, Z = {0: X}, {}
    for k in (1, 2):
        Z[k] = mg.linear(A[k - 1], W[k], b[k])
        A[k] = mg.sigmoid(Z[k])
    C = nn.BCELoss()(A[2], np.ones((4, 1)))
    C.name = "C"
    graph = viz.graph(C)
    chain = graph.text().splitlines()[0]
    assert chain.startswith("C <- ")
    assert chain.endswith(" <- A[2] <- Z[2] <- A[1] <- Z[1] <- X")
    names = {node.id: node.name for node in graph.nodes}
    for k in (1, 2):
        into = [names[edge.source] for edge in graph.edges if names[edge.target] == f"Z[{k}]"]
        assert into == [names_of_input(k), f"W[{k}]", f"b[{k}]"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        graph.svg()


def names_of_input(layer: int) -> str:
    return "X" if layer == 1 else f"A[{layer - 1}]"


def test_a_picture_of_old_and_new_numbers_says_so() -> None:
    """After an optimizer's step the weights are new, and what was computed from them is not."""
    w = mg.Tensor([1.0, 2.0], requires_grad=True, name="w")
    loss = ((w * w).sum() * 2.0).log()
    loss.backward()
    assert viz.graph(loss).caption == ""
    nn.optim.SGD([w], lr=0.1).step()
    graph = viz.graph(loss)
    assert graph.remarks == ("Computed before an optimizer or the user wrote new numbers: 1 node",)
    assert all(graph.caption in text for text in (graph.svg(), graph.text(), graph.html()))
    assert viz.graph((w * w).sum()).caption == ""
    x = mg.Value(2.0)
    y = x * x
    x.data = 3.0
    assert len(viz.graph(y).remarks) == 1
    t = mg.Tensor([1.0], requires_grad=True)
    u = t * t
    t.data[0] = 5.0
    assert len(viz.graph(u).remarks) == 1
