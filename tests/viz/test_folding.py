"""Folding: what is drawn as one node, in which order, in words; that it always fits; that nothing is lost."""

from fractions import Fraction

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


def test_constants_are_printed_inside_what_uses_them() -> None:
    x, c = mg.Value(2.0, name="x"), mg.Tensor([1.0], name="c")
    y = x * c + mg.Tensor([0.25, 0.5])
    graph = viz.graph(y, detail="constants")
    assert [node.title for node in graph.nodes] == ["x", "• * c", "y = • + [0.2500, 0.5000]"]
    assert graph.folded == ("2 constants inside what uses them",)
    consistent(graph, 5)


def test_data_that_cannot_be_printed_are_drawn() -> None:
    """A module that is one node would hide what it was computed from."""
    model = nn.MLP(3, [4, 4, 1], rng=0)
    loss = (model(mg.Tensor(np.ones((5, 3)), name="X")) * mg.Tensor([[2.0]], name="scale")).sum()
    graph = viz.graph(loss, params=model, max_nodes=6)
    assert graph.nodes[0].name == "X"
    assert graph.edges[0].source == "n0"
    assert graph.folded[0] == "1 constant inside what uses it"
    assert [node.title for node in graph.nodes if "scale" in node.title] == ["• * scale"]


def test_a_sum_of_products_is_one_node() -> None:
    w, x = [mg.Value(1.0 + k) for k in range(3)], [mg.Value(0.5 * k) for k in range(3)]
    total = mg.Value(0.25) + w[0] * x[0] + w[1] * x[1] + w[2] * x[2]
    graph = viz.graph(mg.tanh(total) * 2.0, detail="sums")
    (found,) = [node for node in graph.nodes if "products" in node.operation]
    assert (found.operation, found.count, found.data) == ("sum of 3 products + 1 term", 6, f"{total.data:.4f}")
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


def alike(*nodes: mg.Node, **options: object) -> int:
    """How many of several nodes the picture of their sum draws."""
    graph = viz.graph(mg.stack(list(nodes)).sum(), detail="samples", **options)  # type: ignore[arg-type]
    return sum(1 for node in graph.nodes if node.operation and node.operation not in ("stack axis=0", "sum"))


def test_what_is_computed_differently_is_not_alike() -> None:
    """Parameters of operations, exponents, positions, inner structures."""
    w, T = mg.Value(2.0), mg.Tensor(np.arange(4.0).reshape(2, 2), requires_grad=True)
    assert alike(w**2, w**3) == alike(w**2, 2**w) == 2
    assert alike(w**2, w**2) == 1
    assert alike(mg.maximum(w, 0.0), mg.maximum(w, 1.0)) == 2
    assert alike(T.sum(axis=0), T.sum(axis=1)) == 2
    assert alike(T.sum(axis=0), T.sum(axis=0)) == 1
    assert alike(T[0], T[1]) == alike(T[[0, 1], [0, 0]], T[[0, 1], [1, 0]]) == 2
    assert alike(w - 3, 3 - w) == alike(w / 3, 3 / w) == alike(w - T, T - w) == 2
    a, b = mg.Value(3.0), mg.Value(4.0)
    assert alike(mg.tanh(a - w * b), mg.tanh(a + w * b)) == 4
    assert alike(mg.tanh(a - w * b), mg.tanh(a - w * b)) == 2
    square = mg.tanh(w * 2.0 + 1.0)
    assert alike(square * square, square * mg.tanh(w * 3.0 - 1.0)) == 6


def test_data_are_alike_where_they_stand_in_the_same_place() -> None:
    """a - b, though both are data that only this reads: a is not b."""
    w = {"w": mg.Value(1.0)}
    root = mg.sum([w["w"] * (mg.Value(a) - mg.Value(b)) for a, b in ((1.0, 2.0), (3.0, 4.0))])
    graph = viz.graph(root, params=w, detail="samples")
    assert [(node.kind, node.data) for node in graph.nodes if node.kind == "input"] == [
        ("input", "[1.0000, 3.0000]"), ("input", "[2.0000, 4.0000]"),
    ]  # fmt: skip


def test_samples_in_other_calls_are_not_alike() -> None:
    model = nn.Sequential(nn.Tanh(), nn.Tanh())
    x = mg.Tensor([[1.0, 2.0]], requires_grad=True)
    with_model = viz.graph((model[0](x) + model[1](x)).sum(), params=model, detail="samples")
    assert [node.title for node in with_model.nodes if "tanh" in node.title] == ["0 = tanh", "1 = tanh"]


def test_nodes_that_the_user_named_are_not_taken_for_alike() -> None:
    """A name of the node's own; two variables; but a loop's variable holds the last sample, and a list all of them."""
    w = mg.Value(2.0, name="w")
    named = [w * 3.0, w * 4.0, w * 5.0]
    named[1].name = "special"
    titles = [node.title for node in viz.graph(mg.sum(named), detail="samples").nodes]
    assert titles == ["w", "named[…] = • * …", "special = • * 4", "total"]
    p, q = w * 3.0, w * 4.0
    titles = [node.title for node in viz.graph(mg.sin(p) + mg.sin(q), detail="samples").nodes]
    assert titles == ["w", "p = • * 3", "q = • * 4", "sin", "sin", "+"]
    total = mg.Value(0.0, name="start")
    for k in range(5):
        z = mg.tanh(w * k)
        total = total + z
    titles = [node.title for node in viz.graph(total, detail="samples").nodes]
    assert titles == ["w", "start", "• * …", "z = tanh", "total = sum of 6 terms"]


def test_constants_that_differ_late_are_said_to_differ() -> None:
    w = mg.Value(2.0)
    graph = viz.graph(mg.sum([mg.tanh(w * (2.0 if k < 150 else 3.0)) for k in range(160)]), detail="samples")
    assert graph.nodes[1].operation == "• * …"


def operation(root: mg.Node) -> str:
    return viz.graph(root, detail="sums").nodes[-1].operation


def test_terms_are_counted_as_they_are_written() -> None:
    a, b, c, d = (mg.Value(1.0 + k) for k in range(4))
    assert operation(a - b * c + d) == "sum of 3 terms"
    assert operation((a + b) - (c + d)) == "sum of 4 terms"
    assert operation(mg.sum([a, b, c, d]) + a) == "sum of 5 terms"
    assert operation(-(a + b)) == "sum of 2 terms"
    assert operation(a * b + c * d) == "sum of 2 products"
    assert operation(a * b + c * d + a + b + c) == "sum of 2 products + 3 terms"
    assert operation(mg.dot([a, b], [c, d]) + a) == "sum of 2 products + 1 term"
    assert operation(a * b + 1) == "sum of 2 terms"
    assert operation(-(a * b)) == "negative"  # one term is no sum


def test_a_sum_that_is_added_to_itself_is_a_node_of_its_own() -> None:
    """16 a is not a sum of 5 terms."""
    x = mg.Value(1.0)
    for _ in range(4):
        x = x + x
    assert [node.operation for node in viz.graph(x, detail="sums").nodes] == ["", "+", "+", "+", "+"]


def test_constants_that_are_not_finite_are_drawn() -> None:
    """A nan is looked for, and so it must be seen where it came from."""
    w, bad, good = mg.Value(2.0), mg.Tensor([1.0, np.nan], name="bad"), mg.Tensor([1.0, 2.0], name="good")
    graph = viz.graph((bad * w * good).sum(), detail="constants")
    assert [(node.name, node.fault) for node in graph.nodes if node.kind == "input"] == [
        ("bad", "data 1 of 2 not finite")
    ]


@pytest.mark.parametrize("sizes", [(10, 16, 16, 1), (2, 8, 8, 1), (3, 30, 1)])
@pytest.mark.parametrize("samples", [1, 12])
def test_no_picture_is_a_thicket(sizes, samples) -> None:
    """Edges can be told apart: 2.5 for each node at most, or few at all."""
    root, model = batch(samples, sizes)
    graph = viz.graph(root, params=model)
    assert len(graph.edges) <= max(40, 2.5 * len(graph.nodes))
    assert all("bands" not in words and "depth" not in words for words in graph.folded)
    consistent(graph, len(mg.topological_order(root)))


def test_many_edges_between_two_nodes_are_one() -> None:
    a = mg.Value(1.0)
    graph = viz.graph(mg.sum([a] * 300))
    assert [(edge.source, edge.target, edge.count) for edge in graph.edges] == [("n0", "n1", 300)]
    assert graph.folded == ("edges between the same two nodes drawn once",)
    assert len(viz.graph(mg.sum([a] * 300), detail="full").edges) == 300
    pair = mg.tanh(a * 2.0) * mg.tanh(a * 3.0)  # of which one reads both
    assert [(edge.target, edge.count) for edge in viz.graph(pair, detail="samples").edges][-1] == ("n3", 2)
    s = a * 2.0 + a * 3.0
    assert [edge.position for edge in viz.graph(s * s, detail="sums").edges if edge.target == "n2"] == [0, 1]


def test_what_is_expanded_is_drawn_in_every_sample_that_fits() -> None:
    """Five samples of a neuron are drawn; of twenty, what is alike."""
    for samples, drawn in ((5, 5), (20, 1)):
        root, model = batch(samples, (2, 2, 1))
        graph = viz.graph(root, params=model, max_nodes=60, expand=lambda path: path == "layers.0.neurons.0")
        boxes = {cluster.id for cluster in graph.clusters if cluster.path == "layers.0.neurons.0"}
        products = [node for node in graph.nodes if node.cluster in boxes and node.operation == "*"]
        assert len(products) == 2 * drawn
        assert all(node.note == (f"× {samples} alike" if drawn == 1 else "") for node in products)
        assert len(graph.nodes) <= 60
        consistent(graph, len(mg.topological_order(root)))


def test_what_is_expanded_shows_its_data() -> None:
    """As nodes, also where other constants are printed inside what reads them."""
    model = nn.MLP(2, [2, 1], rng=0)
    loss = (model(mg.Tensor([[1.0, 2.0]], name="X")) - mg.Tensor([[3.0]], name="Y")).sum()
    graph = viz.graph(loss, params=model, detail="constants", expand=lambda path: path == "layers.0")
    assert [node.name for node in graph.nodes if node.kind == "input"] == ["X"]
    graph = viz.graph(loss, params=model, detail="constants")
    assert not [node for node in graph.nodes if node.kind == "input"]


@pytest.mark.parametrize(("count", "words"), [
    (1, "each Plus0 one node"), (2, "each Plus0 and Plus1 one node"), (3, "each Plus0, Plus1 and Plus2 one node"),
    (4, "each Plus0, Plus1, Plus2, … one node"),
])  # fmt: skip
def test_kinds_of_modules_are_all_named_or_said_to_be_more(count, words) -> None:
    def forward(self: nn.Module, x: mg.Tensor) -> mg.Tensor:
        return mg.exp(mg.tanh(x))

    kinds = [type(f"Plus{k}", (nn.Module,), {"forward": forward}) for k in range(count)]
    model = nn.Sequential(*(kind() for kind in kinds))
    graph = viz.graph(model(mg.Tensor(1.0, requires_grad=True)), params=model, max_nodes=count + 1)
    assert graph.folded[0] == words


def test_parameters_and_data_are_never_one_node_that_bears_the_marks_of_either() -> None:
    weights, data = ([mg.Value(float(k)) for k in range(100)] for _ in range(2))
    root = mg.tanh(mg.sum([w * x for w, x in zip(weights, data, strict=True)]))
    graph = viz.graph(root, params={f"w{k}": w for k, w in enumerate(weights)}, max_nodes=6)
    assert [(node.kind, node.note) for node in graph.nodes[:2]] in (
        [("parameter", "× 100"), ("input", "× 100")],
        [("input", "× 100"), ("parameter", "× 100")],
    )


def test_nodes_of_several_lines_are_not_said_to_be_made_at_one() -> None:
    x = mg.Value(0.5, name="x")
    same = [mg.sin(x * k) for k in range(30)]
    others = [mg.sin(x * k) for k in range(30)]
    (sine,) = [node for node in viz.graph(mg.sum(same), max_nodes=5).nodes if node.operation == "sin"]
    assert sine.site == str(same[0].site)
    (sine,) = [node for node in viz.graph(mg.sum(same + others), max_nodes=5).nodes if node.operation == "sin"]
    assert (sine.note, sine.site) == ("× 60 alike", "")


def test_a_pass_that_reached_some_of_what_is_alike_is_not_said_to_have_reached_none() -> None:
    w = mg.Value(2.0, name="w")
    losses = [mg.tanh(w * x) for x in np.linspace(-1, 1, 60).tolist()]
    total = mg.sum(losses)
    losses[0].backward()
    (tanh,) = [node for node in viz.graph(total, params={"w": w}, max_nodes=10).nodes if node.operation == "tanh"]
    assert (tanh.note, tanh.grad) == ("× 60 alike", "1.0000 in 1 of 60")
    total.backward()
    (tanh,) = [node for node in viz.graph(total, params={"w": w}, max_nodes=10).nodes if node.operation == "tanh"]
    assert tanh.grad == "mean 1.0000 ± 0.0000"


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
    assert [node.note for node in graph.nodes if node.name not in ("", "X")] == ["× 12"]


def test_a_row_that_runs_out_of_the_screen_is_folded_though_its_nodes_are_few() -> None:
    """By its modules, as far as it takes, but for the model itself; and not where the user asked for so many nodes."""
    model = nn.MLP(4, [8] * 16 + [1], activation="tanh", rng=0)
    loss = model(mg.Tensor(np.ones((5, 4)), name="X")).sum()
    nodes = len(mg.topological_order(loss))
    graph = viz.graph(loss, params=model)
    assert nodes < 150
    assert [node.note for node in graph.nodes if node.name == "layers.2 … 31"] == ["× 15"]
    assert [cluster.title for cluster in graph.clusters] == ["MLP"]
    consistent(graph, nodes)
    assert not viz.graph(loss, params=model, max_nodes=200).folded
    assert not viz.graph(loss, params=model, detail="full").folded
    loss.backward()
    labelled = viz.graph(loss, params=model, labels="contribution")
    assert len(labelled.nodes) == nodes
    assert sum(edge.label != "" for edge in labelled.edges) == len(labelled.edges) - 1  # X needs none

    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Tanh(), nn.Linear(2, 2, rng=0))

        def forward(self, X: mg.Tensor) -> mg.Tensor:
            return mg.tanh(X + self.first(X))

    row = nn.Sequential(*(Twice() for _ in range(8)))
    graph = viz.graph(row(mg.Tensor(np.ones((3, 2)), name="X")).sum(), params=row)
    assert {node.operation for node in graph.nodes} == {"", "Sequential", "+", "tanh", "sum"}  # which was enough
    assert sum(cluster.title.endswith("Twice") for cluster in graph.clusters) == 8


def test_a_row_without_modules_in_it_stays() -> None:
    x = mg.Value(0.5, name="x")
    for _ in range(100):
        x = mg.tanh(x)
    assert not viz.graph(x).folded
    cell = nn.Linear(2, 2, rng=0)
    h = mg.Tensor(np.zeros((1, 2)), name="h")
    for _ in range(30):
        h = mg.tanh(cell(h))
    assert not viz.graph(h.sum(), params=cell).folded


def test_modules_that_repeat_in_turns_are_one_node() -> None:
    """Linear, tanh, Linear, tanh, ...: from the first that is a module of its own."""
    model = nn.MLP(2, [3] * 30 + [1], activation="tanh", rng=0)
    loss = model(mg.Tensor(np.ones((2, 2)), name="X")).sum()
    graph = viz.graph(loss, params=model, max_nodes=20)
    assert [(node.title, node.note) for node in graph.nodes[1:-1]] == [
        ("layers.0 = Linear(2, 3)", "3 nodes"),
        ("layers.1 = tanh", ""),
        ("layers.2 … 59 = Linear(3, 3), tanh", "× 29"),
        ("layers.60 = Linear(3, 1)", "3 nodes"),
    ]
    assert {node.cluster for node in graph.nodes[1:-1]} == {"c0"}
    consistent(graph, len(mg.topological_order(loss)))
    kept = viz.graph(loss, params=model, max_nodes=20, expand=lambda path: path == "layers.40")
    assert [node.note for node in kept.nodes if "…" in node.name] == ["× 19", "× 9"]
    consistent(kept, len(mg.topological_order(loss)))
    tanhs = nn.Sequential(*(nn.Tanh() for _ in range(30)), nn.Linear(2, 1, rng=0))
    root = tanhs(mg.Tensor(np.ones((2, 2)), requires_grad=True)).sum()
    graph = viz.graph(root, params=tanhs, max_nodes=9)
    assert ("0 … 29 = tanh", "× 30", "c0") in [(node.title, node.note, node.cluster) for node in graph.nodes]
    odd = nn.Sequential(*(q for k in range(9) for q in (nn.Tanh(), nn.Softmax(axis=1) if k % 2 else nn.Sigmoid())))
    graph = viz.graph(odd(mg.Tensor(np.ones((2, 2)), requires_grad=True)).sum(), params=odd, max_nodes=9)
    assert [(n.title, n.note) for n in graph.nodes if n.note] == [("0 … 15 = tanh, sigmoid, tanh, softmax", "× 4")]


def test_a_row_ends_where_its_module_ends_and_where_something_else_reads_or_looks() -> None:
    X = mg.Tensor(np.ones((2, 2)), name="X")

    def linears(count: int) -> nn.Sequential:
        return nn.Sequential(*(nn.Linear(2, 2, rng=0) for _ in range(count)))

    def rows(model: nn.Module, *roots: mg.Node, most: int) -> list[tuple[str, str]]:
        graph = viz.graph(*roots, params=model, max_nodes=most)
        consistent(graph, len(mg.topological_order(*roots)))
        return [(node.name, node.note) for node in graph.nodes if node.note[:1] == "×"]

    nested = nn.Sequential(linears(3), linears(3))
    assert rows(nested, nested(X).sum(), most=4) == [("0.0 … 2", "× 3"), ("1.0 … 2", "× 3")]

    class Skipping(nn.Module):
        def __init__(self) -> None:
            self.parts = [nn.Linear(2, 2, rng=0) for _ in range(5)]

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            first = self.parts[1](self.parts[0](x))
            return first + self.parts[4](self.parts[3](self.parts[2](first)))

    skipping = Skipping()
    assert rows(skipping, skipping(X).sum(), most=6) == [("parts.0 … 1", "× 2"), ("parts.2 … 4", "× 3")]
    flat = linears(6)
    middle = flat[1](flat[0](X))
    end = middle
    for layer in (flat[2], flat[3], flat[4], flat[5]):
        end = layer(end)
    names = [name for name, _ in rows(flat, middle, end.sum(), most=6)]
    assert names == ["0 … 1", "2 … 5"]  # the root shows what it is


def test_how_many_are_alike_is_said_where_all_are_as_many() -> None:
    def notes(samples: tuple[int, int], most: int) -> list[str]:
        weights = {"w0": mg.Value(1.0), "w1": mg.Value(2.0)}
        roots = [mg.tanh(w * k) for w, n in zip(weights.values(), samples, strict=True) for k in range(n)]
        graph = viz.graph(mg.exp(mg.stack(roots)).sum(), params=weights, max_nodes=most)
        return [node.note for node in graph.nodes if node.operation == "tanh" or node.operation.endswith("nodes")]

    assert notes((3, 3), 7) == ["× 2, × 3 alike"]
    assert notes((4, 3), 7) == ["× 7"]
    assert notes((3, 3), 3) == ["", ""]  # the number of nodes is in the title


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


def test_neighbouring_depths_make_a_row_that_stays_on_the_screen() -> None:
    """Where nothing else helps: of 2,000 residual steps about 30 nodes, or a fifth of what the user allows."""
    x = mg.Value(0.5, name="x")
    for _ in range(2000):
        x = mg.tanh(x) * x + x
    for limit, most in ((150, 31), (500, 101), (10, 10)):
        graph = viz.graph(x, max_nodes=limit)
        assert most // 2 < len(graph.nodes) <= most
        consistent(graph, len(mg.topological_order(x)))


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


def test_arrays_of_several_shapes_are_not_shown_as_one_of_them() -> None:
    """Two calls of a network, at last as one node: its four parameters are one, of 21 numbers in all."""
    model = nn.MLP(3, [4, 1], rng=0)
    rng = np.random.default_rng(0)
    A, B = (mg.Tensor(rng.normal(size=(5, 3)), name=name) for name in "AB")
    graph = viz.graph(((model(A) - model(B)) ** 2).sum(), params=model, max_nodes=8)
    (leaves,) = [node for node in graph.nodes if node.kind == "parameter"]
    numbers = np.concatenate([p.detach().numpy().ravel() for p in model.parameters()])
    assert numbers.size == 21
    assert (leaves.form, leaves.note) == ("4 arrays", "× 4")
    assert leaves.data == f"mean {numbers.mean():.4f} ± {numbers.std():.4f}"
    (data,) = [node for node in graph.nodes if node.kind == "input"]
    assert data.form == "2 × (5, 3) float64"
    thirds = [mg.Value(Fraction(k, 3)) for k in range(1, 9)]
    graph = viz.graph(mg.sum(thirds), max_nodes=2)
    assert graph.nodes[0].data == "…"  # eight fractions


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
