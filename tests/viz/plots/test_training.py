"""Loss curves: the numbers of the history, the best epoch, and in words what a line cannot show."""

import numpy as np
import pytest

import nn
import viz
from viz.plots.figures import ALARM

HISTORY = nn.History(
    epoch=[1, 2, 3], loss=[1.0, 0.1, 0.02], validation_loss=[1.1, 0.3, 0.4], metric=[0.5, 0.8, 0.9], best_epoch=2
)


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].get_legend().get_texts()]


def test_a_history_is_drawn() -> None:
    """The losses above, the metric below, the best epoch marked in both, by its place and in words."""
    figure = viz.curves(HISTORY, title="A < B", ylabel="cross-entropy", metric="accuracy")
    above, below = figure.axes
    training, validation, line, best = above.lines
    np.testing.assert_array_equal(training.get_xydata(), [(1, 1.0), (2, 0.1), (3, 0.02)])
    np.testing.assert_array_equal(validation.get_xydata(), [(1, 1.1), (2, 0.3), (3, 0.4)])
    assert list(line.get_xdata()) == [2, 2]
    assert best.get_xydata().tolist() == [[2, 0.3]]
    np.testing.assert_array_equal(below.lines[0].get_ydata(), HISTORY.metric)
    assert below.lines[-1].get_xydata().tolist() == [[2, 0.8]]
    assert legend(figure) == ["training", "validation", "best epoch, 2"]
    assert (above.get_title(), above.get_ylabel(), below.get_ylabel(), below.get_xlabel()) == (
        "A < B", "cross-entropy", "accuracy", "epoch",
    )  # fmt: skip


def test_curves_differ_without_colour() -> None:
    figure = viz.curves({f"run {i}": [3.0, 2.0 - i / 10] for i in range(6)})
    assert len({line.get_linestyle() + str(line._dash_pattern) for line in figure.axes[0].lines}) == 6
    assert len({line.get_color() for line in figure.axes[0].lines}) == 6
    assert legend(figure) == [f"run {i}" for i in range(6)]


@pytest.mark.parametrize(
    ("losses", "log", "scale"),
    [
        ([1.0, 0.5], None, "linear"),
        ([1.0, 0.05], None, "log"),
        ([1.0, 0.0], None, "linear"),
        ([1.0, -9.0], None, "linear"),
        ([1.0, 0.05], False, "linear"),
        ([1.0, 0.9], True, "log"),
    ],
)
def test_the_axis_is_logarithmic_where_that_shows_more(losses, log, scale) -> None:
    assert viz.curves({"loss": losses}, log=log).axes[0].get_yscale() == scale


def test_numbers_that_are_not_finite_are_said() -> None:
    figure = viz.curves({"a": [1.0, np.inf, np.nan], "b": [1.0, 2.0, 3.0]})
    assert legend(figure) == ["a (not finite in 2 epochs, first in 2)", "b"]
    assert figure.axes[0].get_legend().get_texts()[0].get_color() == ALARM


def test_what_fit_returns(capsys) -> None:
    """Interrupted histories, too, one of whose lists is an entry short; an epoch of one is a point."""
    cut = nn.History(epoch=[1, 2], loss=[3.0, 2.0], validation_loss=[3.0])
    assert [len(line.get_xdata()) for line in viz.curves(cut).axes[0].lines] == [2, 1]
    late = nn.History(epoch=[5, 6], loss=[3.0, 2.0])
    assert list(viz.curves(late).axes[0].lines[0].get_xdata()) == [5, 6]
    assert viz.curves(nn.History(epoch=[1], loss=[3.0])).axes[0].lines[0].get_marker() == "o"
    assert len(viz.curves(late).axes) == 1


def test_names_are_shown_as_they_are() -> None:
    assert legend(viz.curves({"$x$": [1.0], "_b\n": [2.0]})) == [r"\$x\$", "\N{WORD JOINER}_b␊"]


def test_the_losses_of_a_loop_of_ones_own_are_a_history() -> None:
    for losses in ([1.0, 0.5, 0.25], (1.0, 0.5, 0.25), np.array([1.0, 0.5, 0.25])):
        (line,) = viz.curves(losses).axes[0].get_lines()
        assert line.get_xydata().tolist() == [[1, 1.0], [2, 0.5], [3, 0.25]]


@pytest.mark.parametrize(
    ("history", "options", "error", "text"),
    [
        (nn.History(), {}, ValueError, "the history is empty"),
        ({}, {}, ValueError, "the history is empty"),
        ({"a": [], "b": [np.nan]}, {}, ValueError, "the history is empty"),
        (3.0, {}, TypeError, "expected the History of nn.fit, losses, or a mapping from names to losses, got float"),
        ([[1.0], [2.0]], {}, TypeError, "'loss' must be a sequence of numbers, got list"),
        ([], {}, ValueError, "the history is empty"),
        ({"a": ["x", "y"]}, {}, TypeError, "'a' must be a sequence of numbers, got list"),
        ({"a": 3.0}, {}, TypeError, "'a' must be a sequence of numbers, got float"),
        ({"a": [[1.0], [2.0]]}, {}, TypeError, "'a' must be a sequence of numbers"),
        ({"a": [1.0, 0.0]}, {"log": True}, ValueError, "log=True, but the smallest number is 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(history, options, error, text) -> None:
    with pytest.raises(error, match=rf"^curves: .*{text}.*, at test_training\.py:\d+"):
        viz.curves(history, **options)
