"""The plane as the model sees it: the line is where it says one half, shades and points are what it says."""

import numpy as np
import pytest

import microgrid as mg
import nn
import viz
from viz.plots import regions

rng = np.random.default_rng(0)
X = rng.normal(size=(40, 2))
Y = (X[:, 0] * X[:, 1] > 0).astype(int)


def trained(K: int = 1) -> nn.MLP:
    model = nn.MLP(2, [8, K], activation="tanh", rng=0)
    loss, target = (nn.BCEWithLogitsLoss(), Y[:, np.newaxis]) if K == 1 else (nn.CrossEntropyLoss(), np.arange(40) % K)
    nn.fit(model, (X, target), loss, nn.optim.Adam(model.parameters(), lr=0.05), epochs=60, progress=False)
    return model


def logits(model, points):
    with mg.no_grad():
        return model(mg.Tensor(points)).numpy()


def lines(figure, gid: str = "decision") -> list[np.ndarray]:
    """The points that the lines of that name go through."""
    return [path.vertices for c in figure.axes[0].collections if c.get_gid() == gid for path in c.get_paths()]


def image(figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


@pytest.mark.parametrize("threshold", [0.5, 0.2])
def test_the_line_is_where_the_model_says_so(threshold) -> None:
    """And the thin ones where it says 1/10 and 9/10. Between grid points a line is straight."""
    model = trained()
    figure = viz.boundary(model, X, Y, threshold=threshold)
    (vertices,) = (np.concatenate(lines(figure)),)
    assert len(vertices) > 100
    np.testing.assert_allclose(1 / (1 + np.exp(-logits(model, vertices))), threshold, atol=2e-3)
    margins = 1 / (1 + np.exp(-logits(model, np.concatenate(lines(figure, "margin")))))
    assert np.minimum(abs(margins - 0.1), abs(margins - 0.9)).max() < 2e-3
    assert f"probability {threshold:g}" in legend(figure)


def test_of_several_classes_the_line_is_where_the_first_two_are_equal() -> None:
    model = trained(3)
    vertices = np.concatenate(lines(viz.boundary(model, X, np.arange(40) % 3)))
    z = np.sort(logits(model, vertices), axis=1)
    top = np.exp(z - z[:, -1:])
    assert len(vertices) > 100
    # Where three meet, the leader's lead is bent within a cell, and the line cuts the corner.
    assert np.quantile(top[:, -1] - top[:, -2], 0.98) < 5e-3
    assert (top[:, -1] - top[:, -2]).max() < 0.1


def test_the_shade_is_the_probability_there() -> None:
    """At the corners and the middle of the picture, whose extent is that of the data and 15 % on each side."""
    model = trained()
    figure = viz.boundary(model, X, Y)
    shades = image(figure)
    left, right, low, high = figure.axes[0].images[0].get_extent()
    span = np.ptp(X, axis=0)
    np.testing.assert_allclose((left, low), X.min(axis=0) - 0.15 * span)
    np.testing.assert_allclose((right, high), X.max(axis=0) + 0.15 * span)
    for row, column, point in ((0, 0, (left, low)), (-1, 0, (left, high)), (0, -1, (right, low)),
                               (100, 100, ((left + right) / 2, (low + high) / 2))):  # fmt: skip
        z = logits(model, np.array([point]))[0, 0]
        assert shades[row, column] == pytest.approx(1 / (1 + np.exp(-z)))


def test_all_ways_to_give_one_model_give_one_picture() -> None:
    """As logits, as probabilities, of one output and of two, of arrays and of Values, as a module and as a function."""
    model = trained()

    def a(points):
        return 1 / (1 + np.exp(-logits(model, points)))

    sigmoid = nn.Sequential(*model.layers, nn.Sigmoid())
    of_two = [
        lambda points: np.concatenate([0 * logits(model, points), logits(model, points)], axis=1),
        lambda points: np.concatenate([1 - a(points), a(points)], axis=1),
        lambda points: np.log(np.concatenate([1 - a(points), a(points)], axis=1)),  # LogSoftmax
    ]
    expected = image(viz.boundary(model, X, Y))
    for other in (sigmoid, nn.scalar.to_scalar(model), lambda points: logits(model, points)[:, 0], *of_two,
                  lambda points: model(mg.Tensor(points))):  # fmt: skip
        np.testing.assert_allclose(image(viz.boundary(other, X, Y)), expected, atol=1e-9)
    np.testing.assert_allclose(image(viz.boundary(a, X, Y, output="probability")), expected, atol=1e-9)
    of_three = trained(3)
    probable = nn.Sequential(*of_three.layers, nn.Softmax())
    labels = np.arange(40) % 3
    np.testing.assert_allclose(image(viz.boundary(probable, X, labels)), image(viz.boundary(of_three, X, labels)))


def test_a_network_that_is_asked_one_by_one() -> None:
    """Of Values that make no array, on a coarser grid."""

    class OneByOne(nn.scalar.Layer):
        to_array = None

    layer = OneByOne(2, 1, nonlin=False, rng=0)
    figure = viz.boundary(layer, X, Y)
    assert image(figure).shape == (regions.COARSE, regions.COARSE)
    z = [layer(point).data for point in np.concatenate(lines(figure)).tolist()]
    np.testing.assert_allclose(z, 0, atol=1e-9)  # a plane: exact
    assert all(parameter.grad == 0 for parameter in layer.parameters())


def wrong(figure) -> int:
    return sum(len(line.get_xdata()) for line in figure.axes[0].lines if line.get_gid() == "wrong")


def test_points_on_the_wrong_side_have_a_ring() -> None:
    """As many as the accuracy says; and labels may be written in several ways."""
    model = trained()
    expected = 40 - round(40 * nn.metrics.accuracy(logits(model, X), Y[:, np.newaxis], threshold=0.0))
    for labels in (Y, Y[:, np.newaxis], Y == 1, 2 * Y - 1, np.eye(2)[Y], Y.tolist(), mg.Tensor(Y.astype(float))):
        assert wrong(viz.boundary(model, X, labels)) == expected
    assert wrong(viz.boundary(model, X, 1 - Y)) == 40 - expected
    assert "on the wrong side" in legend(viz.boundary(model, X, 1 - Y))
    sure = np.where(logits(model, X)[:, 0] > np.log(9), 1, 0)
    figure = viz.boundary(model, X, sure, threshold=0.9)
    assert wrong(figure) == 0
    assert "on the wrong side" not in legend(figure)


def test_classes_and_features_have_names() -> None:
    figure = viz.boundary(trained(), X, Y, classes=["$well$", "ill"], features=("height", "age"), title="Two")
    assert {r"\$well\$", "ill"} <= set(legend(figure))
    ax, bar = figure.axes
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("height", "age", "Two")
    assert bar.get_ylabel() == "probability of ill"


def test_where_no_line_crosses_the_picture_it_is_said_whose_side_this_is() -> None:
    for z, name in ((5.0, "class 1"), (-5.0, "class 0")):
        figure = viz.boundary(lambda points, z=z: np.full(len(points), z), X, Y)
        assert not lines(figure)
        assert f"all of this is {name}" in legend(figure)
    figure = viz.boundary(lambda points: np.tile([-9.0, 0.0, 9.0], (len(points), 1)), X, Y)
    assert "all of this is class 2" in legend(figure)


def test_saturated_probabilities_and_infinite_logits_have_a_line() -> None:
    """A step from 0 to 1 is found between the two grid points where it happens."""
    for model in (
        lambda p: np.where(p[:, 0] > 0.3, np.inf, -np.inf),
        lambda p: np.stack([p[:, 0] <= 0.3, p[:, 0] > 0.3], 1),
    ):
        vertices = np.concatenate(lines(viz.boundary(model, X, Y)))
        assert abs(vertices[:, 0] - 0.3).max() < np.ptp(X[:, 0]) * 1.3 / 200


def test_a_single_point_has_room_around_it() -> None:
    figure = viz.boundary(lambda p: p[:, 0], [[1.0, 1.0]], [1])
    left, right, low, high = figure.axes[0].images[0].get_extent()
    assert left < 1 < right
    assert low < 1 < high


def test_more_classes_than_colours_differ_in_their_markers() -> None:
    figure = viz.boundary(lambda p: np.arange(12) * p[:, :1], X, np.arange(40) % 12)
    looks = {(line.get_marker(), line.get_color()) for line in figure.axes[0].lines if not line.get_gid()}
    assert len(looks) == 12


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ({"model": 3}, TypeError, "expected a model or a function, got int 3"),
        ({"X": np.ones((5, 3))}, ValueError, r"X has shape \(5, 3\), expected \(m, 2\), two features"),
        ({"X": np.ones((0, 2)), "Y": []}, ValueError, r"X has shape \(0, 2\)"),
        ({"X": "ab"}, TypeError, "X must be numbers, got str 'ab'"),
        ({"X": [[np.nan, 1.0]], "Y": [1]}, ValueError, "X: 1 of 2 numbers are not finite"),
        ({"Y": Y[:5]}, ValueError, r"Y has shape \(5,\), expected \(40,\), \(40, 1\) or one-hot \(40, 2\)"),
        ({"Y": Y + 1}, ValueError, r"Y holds 2, expected the classes 0 to 1 \(or -1 and 1\)"),
        ({"Y": Y + 0.5}, ValueError, r"Y holds 0\.5|Y holds 1\.5"),
        ({"model": lambda p: p @ np.ones((2, 3)), "Y": Y - 1}, ValueError, "Y holds -1, expected the classes 0 to 2"),
        ({"classes": ["a"]}, ValueError, "1 names of classes, expected 2"),
        ({"features": "abc"}, ValueError, "features must be two names"),
        ({"threshold": 1.0}, ValueError, "threshold and margins are probabilities between 0 and 1"),
        ({"margins": [0.0]}, ValueError, "threshold and margins are probabilities between 0 and 1"),
        ({"pad": -1.0}, ValueError, "pad must be a number of 0 or more"),
        ({"output": "logits"}, ValueError, "output='logits' is neither 'logit' nor 'probability'"),
        ({"output": "probability"}, ValueError, "output='probability', but the model gives numbers from -"),
        ({"model": lambda p: abs(p) / 9, "output": "probability"}, ValueError, "whose rows do not sum to 1"),
        (
            {"model": lambda p: 0 * p[:, 0]},
            ValueError,
            "which may be logits or probabilities: say output='probability'",
        ),
        ({"model": lambda p: p[:5]}, ValueError, r"for 40401 points the model gave shape \(5, 2\)"),
        ({"model": lambda p: p[:, :0]}, ValueError, r"the model gave shape \(40401, 0\)"),
        ({"model": lambda p: np.log(p[:, 0])}, ValueError, "the model gave nan at"),
        ({"model": lambda p: None}, (TypeError, ValueError), "the model gave"),
        ({"model": lambda p: ["a"] * len(p)}, TypeError, "the model gave list"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, error, text) -> None:
    given = {"model": lambda p: p[:, 0], "X": X, "Y": Y, **arguments}
    with pytest.raises(error, match=rf"^boundary: .*({text}).*, at test_regions\.py:\d+"):
        viz.boundary(**given)
