"""A confusion matrix shows its counts; the shade is the share of the row."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
import nn
import viz
from viz.plots.figures import BLUE, VERMILLION, tint


def cells(figure) -> dict[tuple[int, int], str]:
    """Row and column of each number."""
    drawn = [text for text in figure.axes[0].texts if not hasattr(text, "xyann")]
    return {(round(y), round(x)): text.get_text() for text in drawn for x, y in [text.get_position()]}


def shades(figure) -> np.ndarray:
    return np.asarray(figure.axes[0].images[0].get_array())


def margin(figure) -> list[str]:
    return [text.get_text() for text in figure.axes[0].texts if hasattr(text, "xyann")]


@settings(max_examples=8)
@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_every_cell_holds_its_count(pairs) -> None:
    """Of a matrix, of classes, and of scores."""
    answers, target = (np.array(column) for column in zip(*pairs, strict=True))
    counts = np.zeros((4, 4), dtype=int)
    for answer, true in pairs:
        counts[true, answer] += 1
    for figure in (viz.confusion(counts), viz.confusion(np.eye(4)[answers] + 0.5, target)):
        assert cells(figure) == {(k, j): f"{count}" if count else "·" for (k, j), count in np.ndenumerate(counts)}
        right = int(np.trace(counts))
        assert figure.axes[0].get_title().startswith(f"{right} of {len(pairs)} right")


def test_shades_are_shares_of_the_row() -> None:
    """Rows of 4 and 100 are alike; right is blue, wrong vermillion, and nothing white; a larger share is darker."""
    figure = viz.confusion([[1, 3, 0], [25, 75, 0], [0, 0, 0]])
    drawn = shades(figure)
    np.testing.assert_allclose(drawn[0, 0], tint(BLUE, 0.5))
    np.testing.assert_allclose(drawn[1, 0], tint(VERMILLION, 0.5))
    np.testing.assert_array_equal(drawn[0, 2], (1, 1, 1))
    np.testing.assert_array_equal(drawn[2], np.ones((3, 3)))
    assert drawn[0, 1].sum() < drawn[1, 0].sum()
    assert margin(figure) == ["25 %", "75 %", "none", "found"]


def test_nn_counts_alike() -> None:
    rng = np.random.default_rng(0)
    Z, target = rng.normal(size=(30, 5)), rng.integers(0, 5, 30)
    expected = cells(viz.confusion(nn.metrics.confusion_matrix(Z, target)))
    assert cells(viz.confusion(Z, target)) == cells(viz.confusion(mg.Tensor(Z), target[:, np.newaxis])) == expected
    assert cells(viz.confusion(Z.argmax(axis=1), target.tolist())) == expected


def test_labels_and_names() -> None:
    figure = viz.confusion([[1234, 0], [1, 1]], classes=["$a$", "b\n"], title="Title")
    ax = figure.axes[0]
    assert cells(figure)[0, 0] == "1,234"
    for labels in (ax.get_xticklabels(), ax.get_yticklabels()):
        assert [label.get_text() for label in labels] == [r"\$a\$", "b␊"]
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_title()) == ("answered", "true class", "Title")
    assert viz.confusion([[5, 1], [0, 4]]).axes[0].get_title() == "9 of 10 right (90.0 %)"
    assert ax.get_xlim() == (-0.5, 1.5)
    assert ax.get_ylim() == (1.5, -0.5)  # the first class on top


def test_of_binary_answers_there_are_two_classes_even_if_one_alone_occurs() -> None:
    assert len(cells(viz.confusion(np.zeros((5, 1)), np.zeros((5, 1))))) == 4
    assert len(cells(viz.confusion(np.zeros(5) > 0.5, np.ones(5)))) == 4


def test_many_classes() -> None:
    assert len(cells(viz.confusion(np.eye(30, dtype=int), classes=[f"class {k}" for k in range(30)]))) == 900


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        (([[1, 2, 3], [4, 5, 6]],), ValueError, r"the matrix has shape \(2, 3\), expected \(K, K\)"),
        (([0, 1, 1],), ValueError, r"of answers and true classes write confusion\(input, target\)"),
        (([],), ValueError, r"the matrix has shape \(0,\)"),
        (([[0.5, 0.5], [0.1, 0.9]],), ValueError, "must hold counts, integers of 0 or more, not shares"),
        (([[1, -1], [0, 1]],), ValueError, "must hold counts"),
        (([[np.nan, 1], [0, 1]],), ValueError, "must hold counts"),
        (([[0, 0], [0, 0]],), ValueError, "the matrix counts nothing"),
        (("ab",), TypeError, "the matrix must be numbers, got str 'ab'"),
        (([0, 1], [0, 1, 1]), ValueError, r"input has shape \(2,\), target has shape \(3,\)"),
        (([], []), ValueError, "expected equal shapes that are not empty"),
        (([0.3, 0.7], [0, 1]), ValueError, r"input holds 0\.3, which is no class.*give \(P > 0\.5\)"),
        (([0, 1], [0, -1]), ValueError, "target holds -1, which is no class"),
        (
            ([[1.0, 2.0], [3.0, 4.0]], [0, 2]),
            ValueError,
            "target holds 2, which is no class: expected integers from 0 to 1",
        ),
        (([[1.0, np.nan]], [0]), ValueError, "the scores hold nan"),
        (([0, 1], ["a", "b"]), TypeError, "target must be numbers"),
    ],
)
def test_what_cannot_be_drawn_is_refused(arguments, error, text) -> None:
    with pytest.raises(error, match=rf"^confusion: .*{text}.*, at test_counts\.py:\d+"):
        viz.confusion(*arguments)


def test_names_must_be_as_many_as_classes() -> None:
    with pytest.raises(ValueError, match="confusion: 1 names of classes, expected 2, at test_counts"):
        viz.confusion([[1, 0], [0, 1]], classes=["a"])
