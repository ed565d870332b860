"""The picture of neurons says what the weights are: width by size, dash and colour by sign, numbers in the units."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.colors import to_hex
from matplotlib.patches import Circle, Rectangle

import nn
import viz
from viz.plots.figures import BLUE, VERMILLION
from viz.plots.neurons import brief


def lines(figure, layer: str) -> LineCollection:
    (found,) = [c for c in figure.axes[0].collections if c.get_gid() == f"weights of {layer}"]
    return found


def texts(figure) -> list[str]:
    legend = figure.axes[0].get_legend()
    return [text.get_text() for text in (*figure.axes[0].texts, *legend.get_texts())]


def units(figure) -> list[Circle]:
    return [patch for patch in figure.axes[0].patches if isinstance(patch, Circle)]


def model_of(weight, bias=None) -> nn.Linear:
    weight = np.atleast_2d(np.array(weight, dtype=float))
    model = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, rng=0)
    model.weight._replace(weight)
    if bias is not None:
        model.bias._replace(np.array(bias, dtype=float))
    return model


weights = st.lists(st.floats(-1e3, 1e3, allow_subnormal=False), min_size=1, max_size=8)


@settings(max_examples=25)
@given(weights)
def test_width_grows_with_the_size_and_sign_is_dash_and_colour(row) -> None:
    """And a weight of 0 has no line. Each line is found by where it begins: at its input."""
    figure = viz.network(model_of(row))
    drawn = lines(figure, "the model")
    heights = sorted({circle.center[1] for circle in units(figure) if circle.center[0] == 0}, reverse=True)
    assert len(heights) == len(row)
    found = {}
    for segment, width, color, dash in zip(
        drawn.get_segments(), drawn.get_linewidths(), drawn.get_colors(), drawn.get_linestyles(), strict=True
    ):
        w = row[int(np.argmin(np.abs(np.array(heights) - segment[0][1])))]
        found[w] = width
        assert (width == 0) == (w == 0)
        if w:
            assert to_hex(color) == (BLUE if w > 0 else VERMILLION)
            assert (dash[1] is None) == (w > 0)
    order = sorted(found, key=abs)
    assert all(found[a] <= found[b] for a, b in itertools.pairwise(order))
    assert all(np.diff(drawn.get_linewidths()) >= 0)  # the widest on top


def test_a_line_joins_the_units_of_its_weight() -> None:
    """W[i, j] goes from input j to unit i, b[i] from below, in a layer that is not square: one number at a time."""
    for i, j in np.ndindex(2, 4):
        numbers = np.zeros((2, 4))
        numbers[i, j] = -1.0
        drawn = lines(viz.network(model_of(numbers[:, :3], numbers[:, 3])), "the model")
        ((start, end),) = [s for s, width in zip(drawn.get_segments(), drawn.get_linewidths(), strict=True) if width]
        ys = [sorted({s[k][1] for s in drawn.get_segments()}, reverse=True) for k in (0, 1)]
        assert (ys[1].index(end[1]), ys[0].index(start[1])) == (i, j)


def test_all_weights_of_a_model_have_one_scale() -> None:
    """And their biases: of two layers, the layer with the smaller ones has the thinner lines."""
    figure = viz.network(nn.Sequential(model_of([[1.0]], [4.0]), model_of([[2.0]], [-3.0])))
    first, second = (lines(figure, layer).get_linewidths() for layer in "01")
    assert first[0] < second[0] < second[1] < first[1]
    assert "widest: $|w|$ = 4.00" in texts(figure)


def test_activations_stand_in_the_units() -> None:
    model = nn.MLP(2, [3, 1], activation="tanh", rng=0)
    figure = viz.network(model, [0.25, -7.0])
    written = texts(figure)
    hidden = np.tanh(model.layers[0].weight.detach().numpy() @ [0.25, -7.0])
    assert {"0.25", "\N{MINUS SIGN}7.00", *(brief(a) for a in hidden)} <= set(written)
    white = (1.0, 1.0, 1.0, 1.0)
    assert len(units(figure)) == 6
    assert [circle.get_facecolor() for circle in units(viz.network(model))] == [white] * 6
    assert units(figure)[1].get_facecolor() != white
    assert "0.25" not in texts(viz.network(model))


def test_biases_are_a_unit_of_their_own() -> None:
    def squares(figure) -> int:
        return sum(isinstance(patch, Rectangle) for patch in figure.axes[0].patches)

    without, zero, with_biases = (viz.network(model_of([[1.0, 2.0]], b)) for b in (None, [0.0], [0.5]))
    assert [squares(figure) for figure in (without, zero, with_biases)] == [0, 1, 1]
    assert [len(lines(figure, "the model").get_segments()) for figure in (without, zero, with_biases)] == [2, 3, 3]
    assert ["biases all 0" in texts(figure) for figure in (without, zero, with_biases)] == [False, True, False]
    assert ["1 × bias" in texts(figure) for figure in (without, zero, with_biases)] == [False, True, True]


@pytest.mark.parametrize(
    ("size", "shown", "more"), [(16, 16, None), (17, 10, "⋮\n7 more"), (1010, 10, "⋮\n1,000 more")]
)
def test_a_large_layer_says_how_many_are_not_drawn(size, shown, more) -> None:
    figure = viz.network(model_of(np.ones((1, size))), np.arange(size))
    assert len(units(figure)) == shown + 1
    assert [text for text in texts(figure) if "more" in text] == ([more] if more else [])
    assert {f"$x_{{{i}}}$" for i in (1, 5, size - 4, size)} <= set(texts(figure))
    assert {"0", brief(size - 1.0)} <= set(texts(figure))


def test_names_and_captions() -> None:
    model = nn.MLP(2, [3, 1], activation="tanh", output="sigmoid", rng=0)
    figure = viz.network(model, inputs=["$income$", "a\nb"], outputs=["ill?"])
    assert {r"\$income\$", "a␊b", "ill?", "inputs", "layer 1", "3 units\nTanh", "1 unit\nSigmoid"} <= set(texts(figure))
    assert "$a$" in texts(viz.network(model))
    assert "ab" in texts(viz.network(nn.MLP(2, [1], rng=0), outputs="ab"))  # one name, no list of letters
    assert {"$z_{1}$", "$z_{2}$", "2 units\nlinear"} <= set(texts(viz.network(nn.MLP(1, [2], rng=0))))
    assert figure.axes[0].get_title() == "A 2-3-1 network: 13 parameters"
    assert viz.network(model, title="").axes[0].get_title() == ""


def test_nothing_is_drawn_outside_and_numbers_lie_in_their_circles() -> None:
    """Measured on the page: all text within the figure, each activation within its circle."""
    model = nn.MLP(2, [3, 1], activation="tanh", rng=0)
    figure = viz.network(model, [-99.9, 1e-5], inputs=["a name of a feature, so long that it is"] * 2)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    axes, renderer = figure.axes[0], canvas.get_renderer()
    circles = {circle.center: circle.get_window_extent(renderer) for circle in units(figure)}
    inside = 0
    for text in (*axes.texts, *axes.get_legend().get_texts(), axes.title):
        box = text.get_window_extent(renderer)
        assert figure.bbox.x0 <= box.x0 < box.x1 <= figure.bbox.x1, text
        assert figure.bbox.y0 <= box.y0 < box.y1 <= figure.bbox.y1, text
        circle = circles.get(text.get_position())
        if circle is not None:
            inside += 1
            assert circle.x0 < box.x0 < box.x1 < circle.x1, text
    assert inside == 6


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"inputs": ["a"]}, "1 names of inputs, expected 2"),
        ({"outputs": ["a", "b"]}, "2 names of outputs, expected 1"),
        ({"max_units": 1}, "max_units must be an integer of 2 or more, got 1"),
        ({"max_units": 2.5}, "max_units must be an integer of 2 or more, got 2.5"),
    ],
)
def test_wrong_arguments(arguments, text) -> None:
    with pytest.raises(ValueError, match=rf"network: {text}, at test_neurons\.py:\d+"):
        viz.network(nn.MLP(2, [1], rng=0), **arguments)


@pytest.mark.parametrize("layout", [None, "tight", "constrained"])
def test_the_title_lies_in_the_figure_that_axes_are_of(layout) -> None:
    """However the user has it laid out, at the first drawing and at the second."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout=layout)
    left, right = figure.subplots(1, 2)
    viz.network(nn.MLP(2, [4, 1], rng=0), [1.0, 2.0], ax=left)
    viz.curves({"loss": [1.0, 0.5, 0.2]}, ax=right)
    for _ in range(2):
        figure.draw_without_rendering()
        assert left.title.get_window_extent().y1 <= figure.bbox.y1


def test_a_neuron_alone_is_a_network() -> None:
    """Of nn.scalar, and one of another kind with w and b."""
    neuron = nn.scalar.Neuron(3, rng=0)
    figure = viz.network(neuron, [1.0, 2.0, 3.0], max_units=np.int64(4))  # type: ignore[arg-type]
    assert figure.axes[0].get_title() == "A 3-1 network: 4 parameters"
    output = f"{abs(neuron([1.0, 2.0, 3.0]).data):.2f}".replace("0.00", "0")
    assert output in {text.replace("\N{MINUS SIGN}", "") for text in texts(figure)}


def test_weights_that_are_all_zero() -> None:
    figure = viz.network(model_of(np.zeros((2, 2))))
    assert lines(figure, "the model").get_linewidths().tolist() == [0] * 4
    assert "all weights are 0" in texts(figure)
