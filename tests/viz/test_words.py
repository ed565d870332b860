"""Numbers and names in words."""

import math
from fractions import Fraction

import numpy as np
import pytest

from viz.words import clipped, constant, described, together, visible


@pytest.mark.parametrize(
    ("numbers", "text"),
    [
        (1.0, "1.0000"),
        (-0.5, "-0.5000"),
        (99999.0, "99999.0000"),
        (1e5, "1.000e+05"),
        (-1e-9, "-1.000e-09"),
        (-0.0, "0.0000"),
        (math.inf, "inf"),
        (-math.inf, "-inf"),
        (math.nan, "nan"),
        (Fraction(1, 3), "1/3"),
        (np.float32(0.5), "0.5000"),
        (np.array(2.0), "2.0000"),
        (np.array([[1, 2], [3, 4]]), "[[1, 2], [3, 4]]"),
        (np.zeros((0, 3)), "[]"),
        (np.ones(7), "mean 1.0000 ± 0.0000"),
        (np.full(7, 0.05), "mean 0.0500 ± 0.0000"),
        (np.array([math.inf] * 7), "none finite"),
        (np.array([math.inf, 1.0, 3.0, math.nan] * 2), "mean 2.0000 ± 1.0000 of 4 finite"),
        (np.array([1e308, -1e308] * 5), "mean 0.0000 ± 1.000e+308"),
        (np.array([1e308, 1.7e308] * 5), "mean 1.350e+308 ± 3.500e+307"),
        (np.array([1e-310, 3e-310] * 5), "mean 2.000e-310 ± 1.000e-310"),
        (np.array([True, False] * 5), "mean 0.5000 ± 0.5000"),
    ],
)
def test_one_formatter_for_every_number(numbers, text) -> None:
    assert described(numbers) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (2.0, "2"),
        (0.1, "0.1"),
        (100.0, "100"),
        (0.123456, "0.1235"),  # as every other number
        (1234567.0, "1.235e+06"),
        (1e-7, "1e-07"),
        (math.inf, "inf"),
        (np.array([1.0, math.nan] * 3), "array(6,) not finite"),
        (True, "True"),
        (np.ones(3), "[1.0000, 1.0000, 1.0000]"),
        (np.ones((2, 2)), "array(2,2)"),
    ],
)
def test_constants_stand_as_they_were_written(number, text) -> None:
    assert constant(number) == text


def test_what_is_long_is_clipped() -> None:
    assert clipped("x" * 48) == "x" * 48
    assert clipped("x" * 49) == "x" * 47 + "…"
    assert len(constant(10**100)) == 48


def test_what_no_file_can_hold_is_shown_as_a_picture_of_itself() -> None:
    """Controls, DEL, halves of surrogate pairs, what is no character; and what would turn the text around it."""
    assert visible("a\0\t\n\x7f") == "a␀␉␊␡"
    assert visible("\x85\ud800\ufffe\u202e\u2067") == "\ufffd" * 5
    assert visible("\ufdd0\ufdef\uffff\U0001fffe\U0010ffff") == "\ufffd" * 5
    assert visible("שלום é 𝒙 日本") == "שלום é 𝒙 日本"


def test_numbers_of_several_nodes_are_one_array_where_they_can_be() -> None:
    assert together([1.0, 2.0]).tolist() == [1.0, 2.0]
    assert together([np.ones(2), np.zeros(2)]).shape == (2, 2)
    assert together([np.ones(2), np.zeros((1, 3)), 2.0]).tolist() == [1.0, 1.0, 0.0, 0.0, 0.0, 2.0]
    assert together([Fraction(1, 2), 0.5]) == Fraction(1, 2)
    assert together([Fraction(1, 2), 1.0]) == together([np.ones(2), Fraction(1)]) == "…"
    assert together([None]) is together([]) is None
