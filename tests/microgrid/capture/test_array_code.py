"""Programs written in NumPy give what the functions of their lines give, to the bit, run after run."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
from microgrid.capture.array_code import written
from microgrid.capture.tracing import UFUNCS, Program, Traced

SPECIAL = [0.0, -0.0, 1.5, -2.5, np.inf, -np.inf, np.nan, 5e-324, -1e-310, 1e300, -1e300, 3.0]


def runs(make: Callable[[Program, Traced], list[Traced]], *arrays: Any) -> str:
    """The source of a program of one input, whose outputs at each of these arrays are those of its lines."""
    program = Program()
    with np.errstate(all="ignore"):
        outputs = make(program, program.input("x", arrays[0]))
        function, source = written(program, outputs, "replay")
        for x in (*arrays, *arrays):
            found = function(x)
            again = Program()
            expected = make(again, again.input("x", x))
            assert len(found) == len(expected)
            for a, b in zip(found, expected, strict=True):
                assert (a.shape, a.dtype) == (b.shape, b.dtype)
                assert bits(a) == bits(b.number), source
    return source


def bits(x: Any) -> bytes:
    """The numbers to the bit, but nan for nan."""
    return np.where(np.isnan(x), np.nan, x).tobytes()


def special(dtype: Any = np.float64, seed: int = 0) -> Any:
    with np.errstate(all="ignore"):
        return np.random.default_rng(seed).permutation(np.array(SPECIAL).astype(dtype)).reshape(3, 4)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("plain", [0, 0.0, -0.0, 2.0])
@pytest.mark.parametrize("turned", [False, True])
def test_a_choice_is_made_number_by_number(plain: Any, turned: bool, dtype: Any) -> None:
    """Of what is not chosen nothing stays, not even nan; what is chosen stays to the bit, -0 and inf too."""

    def make(program: Program, x: Traced) -> list[Traced]:
        c, y = program.call("less", x, 1.0), program.call("negative", x)
        first = program.call("where", c, *((y, plain) if turned else (plain, y)))
        other = program.call("where", c, *((plain, first) if turned else (first, plain)))
        of_input = program.call("where", c, *((x, plain) if turned else (plain, x)))
        return [program.call("multiply", other, 2.0), program.call("multiply", of_input, 1.0), first]

    source = runs(make, special(dtype), special(dtype, 1))
    assert ("bitwise_and" in source) == (str(plain) != "-0.0" and plain == 0)
    assert source.count("less(") == 1


def test_a_choice_by_what_comes_from_outside() -> None:
    def make(program: Program, x: Traced) -> list[Traced]:
        y = program.call("multiply", program.call("astype", x, dtype=np.dtype(float)), 3.0)
        return [program.call("add", program.call("where", x, 0, y), 1.0)]

    runs(make, np.array([True, False, True]), np.array([False, False, True]))


PLACES = {
    "one a row": (np.array([[2], [0], [3]]), 1),
    "the last axis": (np.array([[2], [0], [3]]), -1),
    "from the end": (np.array([[-1], [0], [-4]]), 1),
    "several a row": (np.array([[2, 1], [0, 3], [3, 2]]), 1),
    "a place twice": (np.array([[2, 2], [0, 3], [3, 3]]), 1),
    "of columns": (np.array([[2, 0, 1, 1]]), 0),
    "stretched": (np.array([[2]]), 1),
}


@pytest.mark.parametrize("case", PLACES)
def test_places_in_rows(case: str) -> None:
    i, axis = PLACES[case]

    def make(program: Program, x: Traced) -> list[Traced]:
        y = program.call("negative", x)
        taken = program.call("take_along_axis", y, i, axis=axis)
        z = program.call("add_along_axis", taken, i, axis=axis, shape=(3, 4))
        return [program.call("square", taken), z, program.call("multiply", z, 2.0)]

    source = runs(make, special(), special(seed=1), np.zeros((3, 4)))
    assert ("along_axis" in source) == (case in ("several a row", "a place twice", "of columns", "stretched"))


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("function", ["max", "min"])
@pytest.mark.parametrize("shape", [(40, 3), (32, 32), (31, 3), (40, 33), (40, 1), (3, 0), (0, 3)])
def test_the_greatest_of_each_row(shape: tuple[int, int], function: str, dtype: Any) -> None:
    """As NumPy finds it, with nan where there is one."""

    def make(program: Program, x: Traced) -> list[Traced]:
        y, words = program.call("negative", x), {"initial": -np.inf if function == "max" else np.inf}
        found = [program.call(function, z, axis=axis, keepdims=kept, **words)
                 for z in (x, y, y.T) for axis in (0, 1, -1) for kept in (True, False)]  # fmt: skip
        return [*found, program.call("subtract", y, found[8])]

    def numbers(seed: int) -> Any:
        x = np.random.default_rng(seed).normal(size=shape).astype(dtype)
        x[2:4, 1:2] = np.nan if seed else np.inf
        return x

    runs(make, numbers(0), numbers(1))


def test_a_place_out_of_the_row_is_none() -> None:
    program = Program()
    x, i = program.input("x", np.ones((2, 3))), program.input("i", np.array([[0], [2]]))
    taken = program.call("take_along_axis", x, i, axis=1)
    function, _ = written(program, [taken], "replay")
    assert function(np.arange(6.0).reshape(2, 3), np.array([[1], [2]]))[0].tolist() == [[1.0], [5.0]]
    with pytest.raises(IndexError):
        function(np.ones((2, 3)), np.array([[0], [3]]))


@pytest.mark.parametrize("function", ["maximum", "minimum", "add", "divide"])
@pytest.mark.parametrize("plain", [0, -0.0, 1.5, np.nan, np.inf])
def test_plain_numbers(function: str, plain: float) -> None:
    def make(program: Program, x: Traced) -> list[Traced]:
        y = program.call(function, x, plain)
        total = program.call(function, program.call("sum", x, axis=None, keepdims=False), plain)
        return [program.call(function, plain, y), program.call(function, y, y), program.call("add", total, 1.0)]

    runs(make, np.arange(4.0), np.array([2.0, -0.0, 0.0, -3.0]))


@pytest.mark.parametrize(("whole", "broken"), [(3, 3.5), (1, 1.5), (-2, -2.5)])
def test_plain_numbers_of_all_shapes_are_told_apart(whole: int, broken: float) -> None:
    """3 as an array of shape (5,) or (5, 3), and 3.5 as one of shape () or (3,)."""

    def make(program: Program, x: Traced) -> list[Traced]:
        row = x[0]
        return [
            *(program.call("maximum", y, plain) for y in (x, row, x[:, 0]) for plain in (whole, broken)),
            *(program.call("multiply", y, plain) for y in (x, row) for plain in (whole, broken)),
        ]

    runs(make, special().reshape(4, 3)[[0, 1, 2, 3, 0]], np.full((5, 3), whole + 0.25))


@pytest.mark.parametrize(
    "shapes", [((1, 1), (1, 4)), ((4, 1), (1, 1)), ((1,), (1, 4)), ((4, 1), (1,)), ((4, 1), (1, 4))]
)
@pytest.mark.parametrize(("first", "second"), [(0.0, np.inf), (np.nan, 0.0), (0.0, np.nan), (2.0, -3.0)])
def test_a_product_with_one_number_leaves_nothing_out(shapes: Any, first: float, second: float) -> None:
    """0 times inf is nan, which `ndarray.dot` passes over where one of the two is a single number."""

    def make(program: Program, x: Traced) -> list[Traced]:
        a, b = (
            program.call("multiply", program.call("broadcast_to", x[i], shape=s), 1.0) for i, s in enumerate(shapes)
        )
        return [program.call("matmul", a, b), program.call("negative", program.call("matmul", a, b))]

    runs(make, np.array([1.0, 1.0]), np.array([first, second]))


@pytest.mark.parametrize("shape", [(1,), (1, 1), ()])
@pytest.mark.parametrize("function", sorted({*UFUNCS} & {"add", "subtract", "multiply", "maximum", "less"}))
def test_an_array_of_one_number_is_stretched(shape: tuple[int, ...], function: str) -> None:
    """Whether it comes from outside, is computed, or is all that there is; and where it has more axes than the rest."""

    def make(program: Program, x: Traced) -> list[Traced]:
        one, row = x.reshape(shape), program.call("multiply", x, np.arange(3.0))
        inside = program.call("negative", one)
        found = [program.call(function, a, b) for a in (one, inside) for b in (row, row.reshape((3, 1)), one)]
        found.append(program.call(function, row, x))
        return [program.call("multiply", z, 1.0) for z in found]

    runs(make, np.array([2.0]), np.array([-1.0]))


def test_windows_see_what_stands_there_now() -> None:
    """A window that is made once, a copy that is made at each run, and memory that is lent on in between."""

    def make(program: Program, x: Traced) -> list[Traced]:
        y = program.call("multiply", x, 2.0)
        turned = y.T
        flat, rows = turned.reshape((12,)), y.reshape((2, 6))
        parts = [y[1:], y[0], turned[::-1], program.call("flip", y, axis=0)]
        late = program.call("add", program.call("negative", program.call("exp", y)), 1.0)
        found = [program.call("negative", z) for z in (turned, flat, rows, *parts, late)]
        wide = program.call("broadcast_to", y.reshape((1, 3, 4)), shape=(2, 3, 4))
        total = program.call("sum", turned, axis=None, keepdims=False)  # of whole numbers: exact in any order
        return [*found, program.call("multiply", wide, 1.0), turned, flat, late.T, total]

    runs(make, np.arange(12.0).reshape(3, 4), np.arange(12.0, 0.0, -1.0).reshape(3, 4))


def test_one_number_as_an_array() -> None:
    def make(program: Program, x: Traced) -> list[Traced]:
        total = program.call("divide", program.call("max", x, axis=None, keepdims=False, initial=-np.inf), 3.0)
        wide = program.call("broadcast_to", total, shape=(2, 2))
        grown = program.call("sum_to", total, shape=(4,))
        return [program.call("negative", wide), program.call("add", grown, x), wide, grown]

    runs(make, np.arange(4.0), np.array([np.nan, 1.0, 2.0, 3.0]))


def test_what_is_handed_out_is_not_written_again() -> None:
    program = Program()
    x = program.input("x", np.ones(3))
    y = program.call("exp", x)
    function, _ = written(program, [y, program.call("add", y, 1.0)], "replay")
    first = function(np.zeros(3))
    for _ in range(5):
        function(np.ones(3))
    assert [a.tolist() for a in first] == [[1.0] * 3, [2.0] * 3]


@pytest.mark.parametrize("made_of", ["arrays", "Values"])
def test_the_code_says_what_it_finds_ready(made_of: str) -> None:
    """A name that nothing in the code assigns is an argument, a function, a number in words, or in the first lines."""
    if made_of == "arrays":
        model, criterion = nn.MLP(2, [4, 1], rng=0), nn.BCEWithLogitsLoss()
        step: Any = mg.compile(lambda x, y: criterion(model(x), y) * 2.5)
        given: Any = (np.ones((8, 2)), np.ones((8, 1)))
    else:
        ws = [mg.Value(0.1 * i) for i in range(30)]
        step = mg.compile(
            lambda xs: mg.sum([mg.tanh(w * x) for w, x in zip(ws, xs, strict=True)]) ** 2, backend="numpy"
        )
        given = ([0.1 * i for i in range(30)],)
    for _ in range(3):
        step(*given)
    assert step.why == ""
    tree = ast.parse(step.source)
    nodes = [node for node in ast.walk(tree) if isinstance(node, ast.Name)]
    made = {node.id for node in nodes if isinstance(node.ctx, ast.Store)}
    made |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    ready = set(re.findall(r"\w+", "\n".join(re.findall(r"# (?:constants|memory|windows|v\d).*", step.source))))
    unsaid = {node.id for node in nodes if not hasattr(np, node.id)} - made - ready
    assert {name for name in unsaid if re.search(r"\d", name)} <= {"ones_8", "zero_of_8_1"}
    assert "# memory: v" in step.source
