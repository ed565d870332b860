"""A target is looked at once, and arrays are not kept alive for it."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest

from nn import targets


def test_a_check_runs_once_for_each_array_and_count() -> None:
    looked: list[object] = []
    check = targets.once_per_array(lambda name, array, *rest: looked.append(rest))
    first, second = np.zeros(3), np.zeros(3)
    for array in (first, first, second, first):
        check("x", array)
    assert len(looked) == 2
    check("x", first, 5)
    check("x", first, 5)
    check("x", first, 6)
    assert looked[2:] == [(5,), (6,)]


def test_a_refused_array_is_refused_again() -> None:
    wrong = np.array([0.0, 2.0])
    for _ in range(2):
        with pytest.raises(ValueError, match=r"target holds 2\.0"):
            targets.check_labels("loss", wrong)


def test_the_memory_keeps_no_array_and_takes_no_new_array_for_an_old_one() -> None:
    array = np.zeros(3)
    targets.check_labels("loss", array)
    alive = weakref.ref(array)
    del array
    gc.collect()
    assert alive() is None
    for _ in range(50):  # some of them get the memory, and so the id, of a passed one
        targets.check_labels("loss", np.zeros(3))
        with pytest.raises(ValueError, match=r"target holds 2\.0"):
            targets.check_labels("loss", np.full(3, 2.0))
