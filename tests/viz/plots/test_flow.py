"""The sizes of gradients as they are: distributions against NumPy's, and in words what a logarithm cannot show."""

import numpy as np
import pytest
from hypothesis import example, given, settings, strategies as st
from hypothesis.extra.numpy import arrays
from matplotlib.colors import to_hex

import microgrid as mg
import nn
import viz
from viz.plots.figures import ALARM, INK
from viz.plots.flow import flows


def after_backward(sizes=(5, 3, 1), activation="tanh") -> nn.MLP:
    model = nn.MLP(4, list(sizes), activation=activation, rng=0)
    X = np.random.default_rng(0).normal(size=(6, 4))
    nn.MSELoss()(model(mg.Tensor(X)), np.ones((6, sizes[-1]))).backward()
    return model


def with_gradients(*gradients) -> nn.Sequential:
    """Layers whose weights have these gradients; None is none."""
    layers = [nn.Linear(np.size(g) or 1, 1, False, rng=0) for g in gradients]
    for layer, g in zip(layers, gradients, strict=True):
        layer.weight._grad = None if g is None else np.atleast_2d(np.array(g, dtype=float))
    return nn.Sequential(*layers)


def labels(figure) -> list[str]:
    return [label.get_text() for label in figure.axes[0].get_yticklabels()]


def test_boxes_and_lines_are_quantiles() -> None:
    """Of the logarithms of |g|, for each parameter."""
    model = after_backward()
    figure = viz.gradients(model)
    boxes = {bars[0].get_gid(): bars[0] for bars in figure.axes[0].containers}
    segments = {c.get_gid(): c.get_segments()[0] for c in figure.axes[0].collections if c.get_gid()}
    for name, parameter in model.named_parameters():
        sizes = np.log(abs(parameter.grad))
        low, q1, middle, q3, high = np.exp(np.percentile(sizes, (0, 25, 50, 75, 100)))
        np.testing.assert_allclose((boxes[f"box {name}"].get_x(), boxes[f"box {name}"].get_width()), (q1, q3 - q1))
        np.testing.assert_allclose(segments[f"range {name}"][:, 0], (low, high))
        np.testing.assert_allclose(segments[f"median {name}"][:, 0], middle)
    assert figure.axes[0].get_xscale() == "log"
    left, right = figure.axes[0].get_xlim()
    everything = np.concatenate([abs(p.grad).ravel() for p in model.parameters()])
    assert left < everything.min() <= everything.max() < right


def test_rows_are_parameters_the_first_on_top() -> None:
    figure = viz.gradients(after_backward())
    assert labels(figure) == [
        "layers.0.weight\n20 numbers", "layers.0.bias\n5 numbers", "layers.2.weight\n15 numbers",
        "layers.2.bias\n3 numbers", "layers.4.weight\n3 numbers", "layers.4.bias\n1 number",
    ]  # fmt: skip
    low, high = figure.axes[0].get_ylim()
    assert low > high


def test_vanishing_and_exploding_show() -> None:
    """The line through the medians leans to the left towards the first layer of sigmoids, else to the right."""
    vanishing = after_backward([8] * 6 + [1], "sigmoid")
    exploding = with_gradients(*([10.0**-i, 2 * 10.0**-i] for i in range(7)))
    for model, sign in ((vanishing, 1), (exploding, -1)):
        figure = viz.gradients(model)
        (trend,) = [line for line in figure.axes[0].lines if line.get_gid() == "trend"]
        x, y = trend.get_data()
        assert len(x) == 7
        assert np.corrcoef(np.log(x), y)[0, 1] * sign > 0.9
    first, last = (np.median(abs(vanishing.layers[i].weight.grad)) for i in (0, 12))
    assert first < 1e-4 * last
    title = viz.gradients(vanishing).axes[0].get_title(loc="left")
    assert title.startswith("Median |gradient| of the weights: ")


def test_norms_beside_the_norms_of_the_parameters() -> None:
    """And a parameter of norm 0, as a fresh bias is, has no such ratio, which is said."""
    model = after_backward()
    right = viz.gradients(model).axes[1]
    shown = {int(line.get_ydata()[0]): line.get_xdata()[0] for line in right.lines}
    for row, parameter in enumerate(model.parameters()):
        if parameter.ndim == 2:
            g, w = parameter.grad, parameter.detach().numpy()
            assert shown[row] == pytest.approx(np.linalg.norm(g) / np.linalg.norm(w))
        else:
            assert row not in shown
    assert [text.get_text() for text in right.texts] == ["parameter 0"] * 3


@settings(max_examples=8)
@given(arrays(np.float64, (3, 4), elements=st.sampled_from([0.0, 1.0, -2.0, np.nan, np.inf, 1e-320, 1e308])))
@example(np.full((3, 4), 1e-320))
@example(np.full((3, 4), 1e308))
def test_every_number_is_counted_once(g) -> None:
    """In the box, as a zero, or as not finite; and any numbers can be drawn."""
    model = nn.Linear(4, 3, False, rng=0)
    model.weight._grad = g
    (flow,) = flows(model)
    assert len(flow.sizes) + flow.zeros + flow.bad == flow.size == 12
    assert flow.zeros == np.count_nonzero(g == 0)
    assert flow.bad == np.count_nonzero(~np.isfinite(g))
    np.testing.assert_array_equal(flow.sizes, np.sort(abs(g[np.isfinite(g) & (g != 0)])))
    viz.gradients(model)


def test_what_has_no_logarithm_is_said() -> None:
    model = with_gradients([1.0, 2.0], [0.0, 0.0, 3.0], [0.0, 0.0], [np.nan, np.inf, 1.0, 0.0], None, None)
    model[5].weight.requires_grad_(False)
    figure = viz.gradients(model)
    words = [label.split("\n")[1] for label in labels(figure)]
    assert words == [
        "2 numbers",
        "2 of 3 are 0",
        "all 2 are 0",
        "1 of 4 are 0, 2 of 4 not finite",
        "no gradient",
        "frozen",
    ]
    colors = [to_hex(label.get_color()) for label in figure.axes[0].get_yticklabels()]
    assert colors == [INK, INK, ALARM, ALARM, ALARM, INK]


def test_gradients_that_are_all_zero_are_a_picture_too() -> None:
    assert labels(viz.gradients(with_gradients([0.0])))[0].endswith("is 0")
    assert labels(viz.gradients(with_gradients([1.0], [np.nan])))[1].endswith("\nnot finite")


def test_the_values_of_a_layer_are_drawn_together() -> None:
    """As the same network of arrays is."""
    arrays_ = nn.MLP(2, [3, 1], activation="tanh", rng=0)
    values = nn.scalar.to_scalar(arrays_)
    arrays_(mg.Tensor([[1.0, -2.0]])).sum().backward()
    values([1.0, -2.0]).backward()
    found = {flow.name: flow for flow in flows(values)}
    assert list(found) == ["layers.0.w", "layers.0.b", "layers.1.w", "layers.1.b"]
    for flow, other in zip(found.values(), flows(arrays_), strict=True):
        np.testing.assert_allclose(flow.sizes, other.sizes)
        np.testing.assert_allclose(flow.ratio, other.ratio)
        assert flow.is_weight == other.is_weight


def test_gradients_that_are_nodes() -> None:
    """After backward(create_graph=True)."""
    model = nn.Linear(2, 1, False, rng=0)
    model(mg.Tensor([[1.0, -3.0]])).sum().backward(create_graph=True)
    assert flows(model)[0].sizes.tolist() == [1.0, 3.0]
    model.zero_grad()


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: [1], TypeError, r"expected a model with named_parameters\(\), got list"),
        (nn.Tanh, ValueError, "the model has no parameters"),
        (lambda: nn.Linear(2, 1, rng=0), ValueError, r"no gradients yet: call loss\.backward\(\) first"),
    ],
)
def test_what_cannot_be_drawn_is_refused(make, error, text) -> None:
    with pytest.raises(error, match=rf"^gradients: .*{text}.*, at test_flow\.py:\d+"):
        viz.gradients(make())
