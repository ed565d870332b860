"""Names: the parameter's path, else the user's name, else the user's variable; and the calls of modules."""

import numpy as np
import pytest

import microgrid as mg
import nn
import viz
from viz import names


def titles(*roots: mg.Node, **options: object) -> list[str]:
    return [node.title for node in viz.graph(*roots, **options).nodes]  # type: ignore[arg-type]


def test_names_are_paths_in_the_model_else_the_users_else_variables_else_numbers() -> None:
    model = nn.MLP(2, [2, 1], rng=0)
    model.layers[0].weight.name = "overruled by its path"
    X = mg.Tensor([[1.0, 2.0]], name="X")
    loss = nn.BCEWithLogitsLoss()(model(X), np.ones((1, 1)))
    loss.name = "C"  # goes before the variable
    paths = {name for name, _ in model.named_parameters()}
    graph = viz.graph(loss, params=model)
    assert {node.title for node in graph.nodes if node.kind == "parameter"} == paths
    assert {"X", "C = mean"} <= set(titles(loss, params=model))
    mapped = titles(loss, params={"mapped": model.layers[0].bias})
    assert {"X", "mapped", "overruled by its path"} <= set(mapped)
    assert sum(title.startswith("%") for title in mapped) == 2  # the two parameters that nobody named


GLOBAL = mg.Value(7.0)


def test_variables_of_the_caller_and_of_its_module_are_names() -> None:
    w, x = mg.Value(2.0), [mg.Value(3.0), mg.Value(4.0)]
    held = {"bias": mg.Value(1.0)}
    z = w * x[1] + held["bias"] + GLOBAL
    drawn = [node.title for node in viz.graph(z).nodes]
    assert drawn == ["GLOBAL", "w", "x[1]", "held['bias']", "*", "+", "z = +"]


def test_a_variable_goes_before_a_place_in_a_list_and_the_first_before_the_second() -> None:
    found = names.variables({"pairs": [GLOBAL], "second": GLOBAL, "third": GLOBAL})
    assert found == {GLOBAL: "second"}


def test_the_shells_variables_and_what_is_no_node_are_passed_over() -> None:
    class Odd:
        @property
        def __class__(self) -> type:
            raise RuntimeError("nobody is to ask")

    scope = {"_": GLOBAL, "_3": [GLOBAL], "odd": Odd(), 5: GLOBAL, "nested": [[GLOBAL]]}
    assert names.variables(scope) == {}


def test_params_without_names_are_refused() -> None:
    for params in ([1], 3, "x", object()):
        with pytest.raises(TypeError, match=r"params: expected a model or a mapping .* at test_names\.py:\d+"):
            viz.graph(mg.Value(1.0), params=params)


def test_with_a_model_its_parameters_are_parameters_and_other_leaves_are_inputs() -> None:
    model, x = nn.scalar.Neuron(1, rng=0), mg.Value(1.0)
    kinds = {node.title: node.kind for node in viz.graph(model([x]), params=model).nodes}
    assert (kinds["w.0"], kinds["b"], kinds["x"]) == ("parameter", "parameter", "input")
    assert {node.kind for node in viz.graph(x * 2.0).nodes} == {"parameter", "root"}


# ------------------------------------------------------------------------------------------------ clusters


def test_there_is_one_cluster_for_each_call_of_a_module() -> None:
    """Nested as the calls were; parameters in the cluster that reads them; the input outside."""
    model = nn.scalar.MLP(2, [2, 1], rng=0)
    x = [mg.Value(1.0), mg.Value(2.0)]
    graph = viz.graph(model(x), params=model)
    paths = {cluster.id: cluster.path for cluster in graph.clusters}
    assert sorted(paths.values()) == sorted(["", "layers.0", "layers.0.neurons.0", "layers.0.neurons.1", "layers.1",
                                             "layers.1.neurons.0"])  # fmt: skip
    parents = {paths[cluster.id]: paths.get(cluster.parent) for cluster in graph.clusters}
    assert parents["layers.0.neurons.1"] == "layers.0"
    assert (parents["layers.0"], parents[""]) == ("", None)
    for node in graph.nodes:
        if node.kind == "parameter":
            assert node.name.startswith(paths[node.cluster] + ".")
        if node.kind == "input":
            assert node.cluster == ""


def test_two_calls_are_two_clusters_and_shared_parameters_stand_around_them() -> None:
    model = nn.scalar.Layer(1, 2, rng=0)
    first, second = model([1.0]), model([2.0])
    graph = viz.graph(mg.sum([*first, *second]), params=model)
    assert [cluster.path for cluster in graph.clusters].count("neurons.0") == 2
    assert {node.cluster for node in graph.nodes if node.kind == "parameter"} == {""}


def test_any_model_with_named_modules_and_calls_has_clusters() -> None:
    class Part:
        def __init__(self) -> None:
            self.numbers: list[tuple[int, int]] = []

        def calls(self) -> list[tuple[int, int]]:
            return self.numbers

        def __call__(self, x: mg.Value) -> mg.Value:
            begun = mg.Value(0.0)._number
            y = mg.tanh(x * 2.0)
            self.numbers.append((begun, mg.Value(0.0)._number))
            return y

    class Whole:
        part = Part()

        def named_parameters(self) -> list[tuple[str, mg.Value]]:
            return []

        def named_modules(self) -> list[tuple[str, object]]:
            return [("part", self.part), ("odd", object())]

    model = Whole()
    graph = viz.graph(model.part(mg.Value(1.0)) + 1.0, params=model)
    assert [cluster.title for cluster in graph.clusters] == ["part  Part"] or graph.clusters[0].path == "part"
    assert [bool(node.cluster) for node in graph.nodes] == [False, True, True, False]


def test_innermost_against_its_definition() -> None:
    """The call (begun, ended) of the smallest extent with begun < number < ended."""
    model = nn.scalar.MLP(2, [3, 2, 1], rng=0)
    root = mg.sum([model([mg.exp(mg.Value(1.0)), 2.0]), model([3.0, 4.0])])  # exp is made just before a call begins
    order = mg.topological_order(root)
    calls = names.calls(model, None)
    made = names.innermost(order, calls)
    for node in order:
        around = [call for call in calls if call.begun < node._number < call.ended and node.rule]
        assert made.get(node) is min(around, key=lambda call: call.ended - call.begun, default=None)


def test_titles_of_modules_are_short() -> None:
    """`Linear(30, 16)` where the whole repr is long; the class where that is long, too, or of several lines."""
    model = nn.Sequential(nn.Linear(30, 16, rng=0), nn.Tanh(), nn.Linear(16, 1, bias=False, rng=0))
    graph = viz.graph(model(mg.Tensor(np.ones((2, 30)))).sum(), params=model)
    assert [cluster.title for cluster in graph.clusters] == [
        "Sequential",
        "0  Linear(30, 16)",
        "2  Linear(16, 1, False)",
    ]


def test_titles_that_would_be_cut_are_shorter() -> None:
    net = nn.scalar.MLP(2, [2, 1], rng=0)
    graph = viz.graph(net([1.0, 2.0]), params=net)
    titles = [cluster.title for cluster in graph.clusters]
    assert titles[:3] == ["MLP", "layers.0  Layer", "layers.0.neurons.0  ReLUNeuron(2)"]


def test_a_call_of_one_node_needs_no_box_and_gives_it_its_path() -> None:
    """Unless it has a name."""
    model = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Tanh())
    x = mg.Tensor([[1.0, 2.0]])
    assert "1 = tanh" in [node.title for node in viz.graph(model(x).sum(), params=model).nodes]
    y = model(x)
    assert "y = tanh" in [node.title for node in viz.graph(y.sum(), params=model).nodes]


def test_calls_that_are_forgotten_are_no_boxes_and_the_picture_says_so(monkeypatch) -> None:
    """Neither is what was made in them put into an outer box: only whole truths are drawn."""
    monkeypatch.setattr("nn.module.CALLS", 4)
    model = nn.Sequential(nn.Linear(1, 1, rng=0), nn.Tanh())
    X = mg.Tensor([[1.0]])
    old = model(X)
    for _ in range(20):
        model(X)
    new = model(X)
    for root, boxes in ((old, 0), (new, 2)):
        graph = viz.graph(root.sum(), params=model)
        assert len(graph.clusters) == boxes
        assert graph.caption == ("" if boxes else graph.remarks[0])
    graph = viz.graph(old.sum(), params=model)
    assert graph.remarks == ("2 nodes older than the calls that the model remembers stand in no box",)
    assert all(graph.caption in text for text in (graph.svg(), graph.text(), graph.html()))

    class Twice(nn.Module):
        def __init__(self) -> None:
            self.step = nn.Linear(1, 1, rng=0)

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            for _ in range(10):
                x = self.step(x)
            return x

    twice = Twice()
    graph = viz.graph(twice(X).sum(), params=twice)
    known = [node for node in graph.nodes if node.cluster]
    assert all(cluster.path == "step" for cluster in graph.clusters)
    assert 4 <= sum(node.operation == "linear" for node in graph.nodes if node in known or node.name == "step") <= 8
    assert len(graph.remarks) == 1
