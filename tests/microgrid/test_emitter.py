"""Code is a number: what a formula says of it is that formula, as Python writes it."""

from __future__ import annotations

import gc
import linecache
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from microgrid import rules
from microgrid.emitter import ArrayCode, Code, compiled

NAMES = {"x": 1.75, "y": -0.5, "z": 3.0}
LEAVES = st.sampled_from(sorted(NAMES)).map(lambda name: (Code(name), NAMES[name])) | st.integers(-3, 3).map(
    lambda n: (n, n)
)


def _joined(symbol: str) -> Any:
    """An operator on pairs (code, number): what is written on the left is computed on the right."""
    function = eval(f"lambda a, b: a {symbol} b")
    return lambda one, other: (function(one[0], other[0]), function(one[1], other[1]))


ARITHMETIC = [_joined(symbol) for symbol in ("+", "-", "*")]
FORMULAS = st.recursive(
    LEAVES,
    lambda inner: (
        st.builds(lambda join, one, other: join(one, other), st.sampled_from(ARITHMETIC), inner, inner)
        | inner.map(lambda pair: (-pair[0], -pair[1]))
    ),
    max_leaves=12,
)


@given(FORMULAS)
def test_code_means_what_it_was_written_as(formula: tuple[Any, float]) -> None:
    """Parentheses stand where they must: run, the text gives the number that the same formula of floats gives."""
    code, number = formula
    assert eval(str(code), {}, dict(NAMES)) == number


def test_each_operator_writes_itself() -> None:
    """Arithmetic, comparisons and choices, with the code on either side of a constant."""
    x, y = Code("x"), Code("y")
    written = [
        (x + 1, "x + 1"), (1 + x, "1 + x"), (x - y, "x - y"), (2 - x, "2 - x"), (x * y, "x * y"), (0.5 * x, "0.5 * x"),
        (x / 2, "x / 2"), (2 / x, "2 / x"), (x**y, "x ** y"), (2**x, "2 ** x"), (-x, "-x"), (-(x + y), "-(x + y)"),
        ((x + y) * (x - y), "(x + y) * (x - y)"), (x < y, "x < y"), (x >= 0, "x >= 0"), (x == y, "x == y"),
        (x != 0, "x != 0"),
        ((x >= 0) & (y > 1), "(x >= 0) and (y > 1)"), (rules.exp(-x), "exp((-x))"),
        (rules.where(x > 0, x, 0), "x if (x > 0) else 0.0"),
    ]  # fmt: skip
    for code, text in written:
        assert str(code) == text


def test_arrays_choose_element_by_element() -> None:
    """What is `and` and a conditional expression of floats is `&` and `where` of arrays."""
    x, y = ArrayCode("x"), ArrayCode("y")
    text = str(rules.where((x >= 0) & (y > 1), x * y, 0))
    given = {"x": np.array([1.0, -1.0, 2.0]), "y": np.array([2.0, 3.0, 0.0]), "where": np.where}
    assert eval(text, given).tolist() == [2.0, 0.0, 0.0]


def test_code_is_no_key() -> None:
    """`==` writes code, so a set or a dict of codes would be wrong silently."""
    with pytest.raises(TypeError):
        {Code("x")}


def test_numpy_leaves_code_alone() -> None:
    """A NumPy number on the left of code does not take it for an array."""
    assert isinstance(np.float64(2.0) * Code("x"), Code)
    assert eval(str(np.float64(2.0) * Code("x")), {"np": np}, NAMES) == 3.5


def test_what_is_compiled_can_be_read() -> None:
    """The function's file is one that debuggers and tracebacks find lines in."""
    function = compiled("twice", ["def twice(x):", "    return x + x"], {})
    assert function(2.0) == 4.0
    assert linecache.getline(function.__code__.co_filename, 2) == "    return x + x\n"


@pytest.mark.parametrize("name", ["exp", "log", "sin", "tanh", "sqrt"])
def test_an_elementary_rule_is_a_call(name: str) -> None:
    """By the rule's name: what it is on floats is put into the namespace of what is compiled."""
    code = getattr(rules, name)(Code("x"))
    assert str(code) == f"{name}(x)"
    assert eval(str(code), {name: getattr(math, name)}, NAMES) == getattr(math, name)(1.75)


def test_the_source_of_a_function_goes_after_it_but_not_under_somebody_who_walks_over_the_sources():
    """`linecache.checkcache`, which every pdb calls, fails with a KeyError where one vanishes meanwhile."""
    function = compiled("short_lived", ["def short_lived(): return 1"], {})
    file = function.__code__.co_filename
    del function
    gc.collect()
    assert file in linecache.cache
    compiled("the_next", ["def the_next(): return 2"], {})
    assert file not in linecache.cache
