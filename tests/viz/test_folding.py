"""Folding: what is drawn as one node, in which order, in words; that it always fits; that nothing is lost."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
import nn
import viz


def batch(samples: int, sizes: tuple[int, ...] = (2, 4, 4, 1), *, decay: bool = False) -> tuple[mg.Value, object]:
    """Micrograd's demo: a scalar network on a batch, hinge losses, their mean."""
    rng = np.random.default_rng(0)
    model = nn.scalar.MLP(sizes[0], list(sizes[1:]), rng=0)
    scores = [model([mg.Value(x) for x in row]) for row in rng.normal(size=(samples, sizes[0])).tolist()]
    losses = [(1.0 + -y * score).relu() for y, score in zip([1.0, -1.0] * samples, scores, strict=False)]
    total = sum(losses, mg.Value(0.0)) * (1.0 / samples)
    if decay:
        total = total + 1e-4 * sum((p * p for p in model.parameters()), mg.Value(0.0))
    return total, model


def consistent(graph: viz.Graph, nodes: int) -> None:
    """Every node is counted once; edges go forward; what is folded is said."""
    assert sum(node.count for node in graph.nodes) == nodes
    assert all(int(edge.source[1:]) < int(edge.target[1:]) for edge in graph.edges)
    assert bool(graph.folded) == (len(graph.nodes) < nodes)
    if graph.folded:
        assert graph.caption.startswith(f"{nodes:,} nodes drawn as {len(graph.nodes):,}: ")
        for written in (graph.svg(), graph.html(), graph.text()):
            assert f"{nodes:,} nodes drawn as" in written


def test_what_fits_is_not_folded() -> None:
    root, model = batch(1, (2, 3, 1))
    graph = viz.graph(root, params=model)
    assert (graph.folded, graph.caption) == ((), "")
    assert len(graph.nodes) == len(mg.topological_order(root))


def test_the_steps_come_in_their_order() -> None:
    """Each is taken when those before it did not do."""
    root, model = batch(4)
    nodes = len(mg.topological_order(root))
    before: tuple[str, ...] = ()
    for limit in (nodes, nodes // 2, 120, 60, 30, 12, 8, 5, 1):
        graph = viz.graph(root, params=model, max_nodes=limit)
        assert len(graph.nodes) <= limit
        assert graph.folded[: len(before)] == before
        consistent(graph, nodes)
        before = graph.folded
    words = "; ".join(before)
    order = ["sums of products", "samples that are alike", "each Neuron", "modules that repeat", "each MLP"]
    assert [word for word in order if word in words] == order
    assert sorted(order, key=words.index) == order


def test_constants_are_printed_where_they_are_used() -> None:
    x, c = mg.Value(2.0, name="x"), mg.Tensor([1.0], name="c")
    y = x * c + mg.Tensor([0.25, 0.5])
    graph = viz.graph(y, detail="constants")
    assert [node.title for node in graph.nodes] == ["x", "• * c", "y = • + [0.2500, 0.5000]"]
    assert graph.folded == ("2 constants printed where used",)
    consistent(graph, 5)


def test_a_sum_of_products_is_one_node() -> None:
    w, x = [mg.Value(1.0 + k) for k in range(3)], [mg.Value(0.5 * k) for k in range(3)]
    total = mg.Value(0.25) + w[0] * x[0] + w[1] * x[1] + w[2] * x[2]
    graph = viz.graph(mg.tanh(total) * 2.0, detail="sums")
    (found,) = [node for node in graph.nodes if "products" in node.operation]
    assert (found.operation, found.count, found.data) == ("sum of 3 products", 6, f"{total.data:.4f}")
    assert sum(edge.target == found.id for edge in graph.edges) == 7
    consistent(graph, 15)


def test_a_sum_that_has_a_name_or_is_read_elsewhere_stays_a_node() -> None:
    a, b = mg.Value(1.0), mg.Value(2.0)
    inner = a * b
    outer = inner + a
    assert "sum of 2 terms" not in [n.operation for n in viz.graph(mg.exp(outer) * inner, detail="sums").nodes]
    inner = outer = mg.Value(1.0)
    z = a * b
    assert "z = *" in [node.title for node in viz.graph(mg.exp(z + a), detail="sums").nodes]


def test_samples_that_are_alike_are_one_sample() -> None:
    """Eight samples of one neuron, from the same parameters; the numbers are the mean and spread of all."""
    rng = np.random.default_rng(0)
    w, X = mg.Value(0.5), rng.normal(size=8)
    outputs = [mg.tanh(w * x) for x in X.tolist()]  # that the constants differ is said
    graph = viz.graph(mg.sum(outputs), detail="samples")
    titles = {node.operation: node for node in graph.nodes}
    assert [node.note for node in graph.nodes] == ["", "× 8 alike", "× 8 alike", ""]
    values = np.array([y.data for y in outputs])
    assert [node.operation for node in graph.nodes] == ["", "• * …", "tanh", "total"]
    assert titles["tanh"].data == f"mean {values.mean():.4f} ± {values.std():.4f}"
    assert graph.edges[-1].count == 8
    assert "samples that are alike, up to 8, drawn once" in graph.folded


def test_nodes_of_different_parameters_are_never_alike() -> None:
    x = mg.Value(2.0)
    weights = {f"w{k}": mg.Value(1.0 + k) for k in range(6)}
    root = mg.sum([mg.tanh(w * x) for w in weights.values()])
    graph = viz.graph(root, params=weights, detail="samples")
    assert sum(node.operation == "tanh" for node in graph.nodes) == 6


def test_nor_are_weights_that_nobody_named() -> None:
    x = mg.Value(2.0)
    root = mg.sum([mg.tanh(mg.Value(1.0 + k) * x) for k in range(6)])
    assert sum(node.operation == "tanh" for node in viz.graph(root, detail="samples").nodes) == 6


def test_data_that_are_read_differently_are_not_alike() -> None:
    """x[0] is multiplied by w[0], and x[1] by w[1], in every sample."""
    w = {"w0": mg.Value(1.0), "w1": mg.Value(2.0)}
    samples = [[mg.Value(0.1 * k), mg.Value(0.2 * k)] for k in range(5)]
    root = mg.sum([mg.tanh(w["w0"] * a) * mg.exp(w["w1"] * b) for a, b in samples])
    del samples
    graph = viz.graph(root, params=w, detail="samples")
    assert [node.note for node in graph.nodes if node.kind == "input"] == ["× 5 alike", "× 5 alike"]


def test_a_module_is_one_node_of_its_name() -> None:
    model = nn.MLP(3, [4, 2], rng=0)
    X = mg.Tensor(np.ones((5, 3)), name="X")
    graph = viz.graph(model(X).sum(), params=model, max_nodes=6)
    titles = [node.title for node in graph.nodes]
    assert "layers.0 = Linear(3, 4)" in titles or any(title.startswith("layers.0 = Linear") for title in titles)
    assert not [node for node in graph.nodes if node.kind == "parameter"]
    assert len(graph.nodes) <= 6


def test_modules_that_repeat_are_one_node() -> None:
    root, model = batch(1, (2, 12, 1))
    graph = viz.graph(root, params=model, max_nodes=10)
    (layer,) = [node for node in graph.nodes if node.name.startswith("layers.0.neurons")]
    assert (layer.name, layer.operation, layer.note) == ("layers.0.neurons.0 … 11", "ReLUNeuron(2)", "× 12")


def test_modules_in_a_row_that_repeat_are_one_node() -> None:
    model = nn.Sequential(*(nn.Sequential(nn.Linear(3, 3, rng=0), nn.Tanh()) for _ in range(12)))
    graph = viz.graph(model(mg.Tensor(np.ones((2, 3)), name="X")).sum(), params=model, max_nodes=4)
    assert [node.note for node in graph.nodes if node.name] == ["× 12"]


def test_expand_overrules_folding() -> None:
    root, model = batch(20)
    folded = viz.graph(root, params=model, max_nodes=40)
    assert "each Neuron one node" in folded.folded
    graph = viz.graph(root, params=model, max_nodes=40, expand=lambda path: path == "layers.1.neurons.2")
    inside = [node for node in graph.nodes if node.name.startswith("layers.1.neurons.2.")]
    assert [node.name.rpartition("neurons.2.")[2] for node in inside] == ["w.0", "w.1", "w.2", "w.3", "b"]
    (cluster,) = [cluster for cluster in graph.clusters if cluster.path == "layers.1.neurons.2"]
    assert {node.cluster for node in inside} == {cluster.id}
    assert sum(node.operation == "*" and node.cluster == cluster.id for node in graph.nodes) == 4
    assert not [node for node in graph.nodes if node.name.startswith("layers.1.neurons.0.")]
    consistent(graph, len(mg.topological_order(root)))


def test_weight_decay_does_not_pull_parameters_out_of_their_modules() -> None:
    root, model = batch(3, decay=True)
    graph = viz.graph(root, params=model, max_nodes=30)
    assert not [node for node in graph.nodes if node.kind == "parameter"]
    consistent(graph, len(mg.topological_order(root)))


def test_a_module_that_reads_what_its_own_parameter_went_into_is_no_circle() -> None:
    """As one node with its parameter it would have to stand before and after what is computed between."""
    model = nn.scalar.MLP(1, [1, 1], rng=0)
    first, second = (layer.neurons[0] for layer in model.layers)
    root = second([first([mg.tanh(first.w[0])])])
    graph = viz.graph(root, params=model, detail="modules")
    consistent(graph, len(mg.topological_order(root)))
    titles = [node.title for node in graph.nodes]
    assert "tanh" in [node.operation for node in graph.nodes]
    assert "layers.0.neurons.0.w.0" in titles
    assert [title for title in titles if "LinearNeuron" in title]


def test_full_detail_draws_every_node() -> None:
    root, model = batch(8)
    graph = viz.graph(root, params=model, detail="full", max_nodes=5)
    assert len(graph.nodes) == len(mg.topological_order(root))
    assert not graph.folded


def test_a_long_chain_is_cut_short() -> None:
    x = mg.Value(0.5, name="x")
    for _ in range(5000):
        x = mg.tanh(x)
    graph = viz.graph(x)
    assert [node.operation for node in graph.nodes] == ["", "tanh", "… 4,998 more", "tanh"]
    consistent(graph, 5001)


@pytest.mark.slow
def test_a_chain_of_a_million_nodes() -> None:
    """Nothing is recursive."""
    x = mg.Value(0.5)
    for _ in range(10**6):
        x = mg.tanh(x)
    graph = viz.graph(x)
    assert len(graph.nodes) == 4
    assert "999,998 more" in graph.svg()


@pytest.mark.slow
def test_a_batch_of_a_hundred_on_a_scalar_network() -> None:
    """About 10^5 nodes; whoever runs it sees how quick it is."""
    root, model = batch(100, (2, 16, 16, 1), decay=True)
    nodes = len(mg.topological_order(root))
    assert nodes > 60_000
    graph = viz.graph(root, params=model)
    assert 5 < len(graph.nodes) <= 150
    assert any("× 100 alike" in node.note for node in graph.nodes)
    consistent(graph, nodes)


def test_a_picture_of_10000_nodes_unfolded_is_still_drawn() -> None:
    x = mg.Value(0.0)
    for _ in range(3000):
        x = x + 1
    graph = viz.graph(x, detail="full")
    assert graph.svg().count('class="node') == 3001
    assert graph.dot().count("->") == 3000


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.sampled_from("+*tn")), max_size=60),
       st.integers(1, 20), st.sampled_from(["auto", "constants", "sums", "samples", "modules"]))  # fmt: skip
def test_any_graph_fits_any_limit(made, limit, detail) -> None:
    """Whatever is folded: the limit holds, each node counts once, and there is no circle."""
    nodes = [mg.Value(1.0), mg.Value(2.0), mg.Tensor(3.0)]
    for a, b, operation in made:
        x, y = nodes[a % len(nodes)], nodes[b % len(nodes)]
        nodes.append({"+": lambda x=x, y=y: x + y, "*": lambda x=x, y=y: x * y, "t": lambda x=x: mg.tanh(x),
                      "n": lambda x=x: -x}[operation]())  # fmt: skip
    roots = nodes[-2:]
    graph = viz.graph(*roots, max_nodes=limit, detail=detail)
    assert len(graph.nodes) <= limit
    order = mg.topological_order(*roots)
    assert sum(node.count for node in graph.nodes) == len(order)
    assert all(int(edge.source[1:]) < int(edge.target[1:]) for edge in graph.edges)
    graph.svg()
