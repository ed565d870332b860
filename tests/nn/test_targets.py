"""A target that cannot be written to is looked at once, and arrays are not kept alive for it."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from nn import targets


def locked(*numbers: float) -> np.ndarray:
    array = np.array(numbers)
    array.setflags(write=False)
    return array


def test_a_check_runs_once_for_each_locked_array_and_count() -> None:
    looked: list[object] = []
    check = targets.once_per_array(lambda name, array, *rest: looked.append(rest))
    first, second = locked(0.0, 0.0, 0.0), locked(0, 0, 0)
    for array in (first, first, second, first):
        check("x", array)
    assert len(looked) == 2
    check("x", first, 5)
    check("x", first, 5)
    check("x", first, 6)
    assert looked[2:] == [(5,), (6,)]


def test_what_can_be_written_to_is_looked_at_again() -> None:
    """Also through a locked view of it."""
    labels = np.zeros(3)
    view = labels.view()
    view.setflags(write=False)
    for array in (labels, view):
        labels[1] = 1.0
        targets.check_labels("loss", array)
        labels[1] = 2.0
        with pytest.raises(ValueError, match=r"target holds 2\.0 at index \(1,\)"):
            targets.check_labels("loss", array)


def test_a_refused_array_is_refused_again() -> None:
    wrong = locked(0.0, 2.0)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"target holds 2\.0"):
            targets.check_labels("loss", wrong)


def test_the_memory_keeps_no_array_and_takes_no_new_array_for_an_old_one() -> None:
    array = locked(0.0, 0.0, 0.0)
    targets.check_labels("loss", array)
    alive = weakref.ref(array)
    del array
    gc.collect()
    assert alive() is None
    for _ in range(50):  # some of them get the memory, and so the id, of a passed one
        targets.check_labels("loss", locked(0.0, 0.0, 0.0))
        with pytest.raises(ValueError, match=r"target holds 2\.0"):
            targets.check_labels("loss", locked(2.0, 2.0, 2.0))


def test_weights_are_looked_at_once_under_their_name() -> None:
    weights = locked(1.0, -2.0)
    targets.check_weights("loss", weights, "weight")
    with pytest.raises(ValueError, match=r"loss: pos_weight holds inf at index \(0,\), expected finite numbers"):
        targets.check_weights("loss", locked(np.inf), "pos_weight")


def test_classes_are_0_to_K_minus_1_or_the_one_to_ignore() -> None:
    labels = np.array([0, 2, -100])
    targets.check_classes("loss", labels, 3, -100)
    with pytest.raises(ValueError, match=r"holds the class -100 at index \(2,\), expected 0 to 2"):
        targets.check_classes("loss", labels, 3, -1)


@pytest.mark.parametrize("number", [2, np.int8(2), np.uint64(2)])
def test_integers_are_pythons_and_numpys(number: object) -> None:
    assert type(targets.integer("x", "n", number)) is int
    assert targets.check_count("x", "n", number) == 2
    assert type(targets.real("x", "p", number)) is float


@pytest.mark.parametrize("number", [True, np.True_, 2.0, "2", None])
def test_what_is_no_integer(number: object) -> None:
    with pytest.raises(TypeError, match=r"x: n must be an integer, got .*, at test_targets.py"):
        targets.check_count("x", "n", number)


def test_what_is_no_finite_number() -> None:
    for number in (True, np.True_, "2", None, 1j):
        with pytest.raises(TypeError, match=r"x: p must be a number, got .*, at test_targets.py"):
            targets.real("x", "p", number)
    for number in (float("nan"), float("inf")):
        with pytest.raises(ValueError, match=r"x: p must be finite"):
            targets.real("x", "p", number)
