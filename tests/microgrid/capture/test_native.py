"""The C backend gives what the engine gives: to the last ulps, nan for nan, whatever the arrays look like."""

from __future__ import annotations

import ctypes
import math
import operator
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import microgrid as mg
import nn
from microgrid.capture import c_library, native
from microgrid.capture.c_code import Code, Segment
from microgrid.capture.c_library import CompilerWarning
from microgrid.capture.c_numbers import FUNCTIONS, HEADER
from microgrid.capture.c_steps import Steps
from microgrid.capture.tracing import Program, Traced
from tests.microgrid.checking import numbers
from tests.microgrid.table import ROWS

pytestmark = pytest.mark.compiler

HARD = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 5e-324, 2.2e-308, 1e300, -1e300, -1.0, 0.5, 40.0, -745.0, 710.0])


@pytest.fixture(autouse=True, scope="module")
def _cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A cache of the module's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MICROGRID_CACHE", str(tmp_path_factory.mktemp("cache") / "objects"))
        patch.delenv("CC", raising=False)
        yield


def assert_same(found: Any, expected: Any, tolerance: float) -> None:
    """Of one type and form; nan for nan, inf for inf; else close, measured by the largest number of the array."""
    assert (found is None) == (expected is None)
    if expected is None:
        return
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(np.isfinite(found), finite)
    np.testing.assert_array_equal(found[~finite], expected[~finite])
    if tolerance == np.inf:
        return
    scale = np.max(np.abs(expected[finite]), initial=0.0)
    np.testing.assert_allclose(found[finite], expected[finite], rtol=tolerance, atol=tolerance * scale)


def of(loss: Any, args: Any, leaves: Any, backward: bool) -> list[Any]:
    for x in leaves:
        x.grad = None
    value = loss(*args)
    if backward:
        value.backward()
    return [value._data.copy(), *(None if x.grad is None else x.grad.copy() for x in leaves)]


def written_in_c(step: Any) -> bool:
    return "void run_0" in step.source


def assert_replays(step: Any, loss: Any, args: Any, leaves: Any, tolerance: float = 1e-13) -> None:
    """The next call of the step is a replay, and gives what the loss and its backward pass give."""
    expected = of(loss, args, leaves, backward=True)
    before = step.replays
    found = of(step, args, leaves, backward=False)
    assert step.replays == before + 1, step.why
    assert written_in_c(step)
    for x, y in zip(found, expected, strict=True):
        assert_same(x, y, tolerance)


def leaf(shape: Any = (3, 2), seed: int = 0, dtype: Any = np.float64) -> mg.Tensor:
    return mg.Tensor(np.random.default_rng(seed).normal(size=shape).astype(dtype), requires_grad=True)


# --------------------------------------------------------------------------------------------------------- the rules


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("chunk", range(0, len(ROWS), 8))
def test_every_rule(chunk: int, dtype: Any) -> None:
    """All cases of some rules at once: each gradient is the engine's, also at zeros of both signs, inf, nan, ..."""
    terms: list[Any] = []
    leaves: list[Any] = []
    drawn: list[Any] = []
    for row in ROWS[chunk : chunk + 8]:
        for seed, case in enumerate(row.family.fixed):
            nodes: list[Any] = []
            for x, what, other in zip(
                numbers(row, case, seed), case.inputs, numbers(row, case, seed + 50), strict=True
            ):
                nodes.append(mg.Tensor(np.asarray(x, dtype), requires_grad=True) if isinstance(what, tuple) else x)
                if isinstance(what, tuple):
                    leaves.append(nodes[-1])
                    drawn.append(np.asarray(other, dtype))
            terms.append((row.rule, nodes, case.parameters))

    def loss() -> Any:
        parts = []
        for rule, nodes, parameters in terms:
            z = rule(*nodes, **parameters)
            parts.append(mg.sum(z * z + 2 * z))
        return mg.sum(mg.stack([x.astype(np.float64) for x in parts]))

    step = mg.compile(loss, backend="c")
    step()
    rng = np.random.default_rng(chunk)
    tolerance = 1e-12 if dtype == np.float64 else 3e-6
    for x, other in zip(leaves, drawn, strict=True):
        x._replace(other)
    assert_replays(step, loss, [], leaves, tolerance)
    for _ in range(3):
        with np.errstate(over="ignore"):
            for x in leaves:
                x._replace(np.asarray(rng.choice(HARD, size=x.shape).astype(dtype)))
        assert_replays(step, loss, [], leaves, np.inf)  # a sum of 1e300, 1 and -1e300 depends on its order


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_signs_of_zeros_and_what_is_no_number(dtype: Any) -> None:
    """Element by element as NumPy has it, to the sign of a zero, of every function of one number and of two."""
    program = Program()
    x, y = (program.input(name, np.ones(3 * len(HARD), dtype)) for name in "xy")
    ones = (
        "negative",
        "exp",
        "log",
        "log1p",
        "expm1",
        "sqrt",
        "absolute",
        "sin",
        "cos",
        "tan",
        "tanh",
        "square",
        "sign",
        "reciprocal",
    )
    twos = ("add", "subtract", "multiply", "divide", "maximum", "minimum", "power", "less", "less_equal", "greater",
            "greater_equal", "equal", "not_equal")  # fmt: skip
    calls = [(name, (x,)) for name in ones] + [(name, (x, y)) for name in twos]
    calls += [(name, (x, c)) for name in ("power",) for c in (2, 0.5, -1, 0, 1, 3)]
    below = program.call("less", x, y)
    calls += [(name, (x, 0)) for name in ("maximum", "minimum", "divide")] + [("where", (below, x, y))]
    with np.errstate(all="ignore"):
        outputs = [program.call(name, *arguments) for name, arguments in calls]
    calls.append(("power", (x, program.input("e", np.asarray(2, dtype)))))
    outputs.append(program.call("power", *calls[-1][1]))
    function, source = native.written(program, outputs, "replay")
    assert "void run_0" in source
    with np.errstate(over="ignore"):
        hard = HARD.astype(dtype)
    given = [np.concatenate([np.roll(hard, shift) for shift in shifts]) for shifts in ((0, 0, 0), (0, 3, 5))]
    ulps = 4 if dtype == np.float64 else 2
    with np.errstate(all="ignore"):
        found = function(*given, np.asarray(0.5, dtype))
        for (name, arguments), z in zip(calls, found, strict=True):
            numbers_of = {x.line: given[0], y.line: given[1], below.line: given[0] < given[1]}
            numbers_of[calls[-1][1][1].line] = np.asarray(0.5, dtype)
            values = [numbers_of[a.line] if isinstance(a, Traced) else a for a in arguments]
            function_of = operator.pow if name == "power" else native.FUNCTIONS[name]  # `**` is what the engine takes
            expected = np.asarray(function_of(*values))
            assert z.dtype == expected.dtype, name
            exact = (z == expected) & (np.signbit(z) == np.signbit(expected)) if z.dtype.kind == "f" else z == expected
            near = np.abs(z - expected) <= ulps * np.spacing(np.abs(expected)) if z.dtype.kind == "f" else exact
            right = exact | (near & (z != 0)) | (np.isnan(z) & np.isnan(expected))
            assert right.all(), (name, arguments, given[0][~right], given[1][~right], z[~right], expected[~right])


@pytest.mark.parametrize("instructions", ["all", pytest.param("few", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("name", "ulps"), [("exp", 1), ("expm1", 1.75), ("log", 1), ("log1p", 1), ("tanh", 2.5)])
def test_functions_of_our_own_are_right_to_the_last_digit(
    name: str, ulps: float, instructions: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Against mpmath, over the whole range, near 0, near 1, and where the exponent of the result changes."""
    if instructions == "few":  # and so without FMA
        monkeypatch.setattr(c_library, "NATIVE", ())
        monkeypatch.setattr(c_library, "WIDE", ())
    many = 300 if instructions == "all" else 3000
    text = (
        HEADER + FUNCTIONS + f"void run(double *x, long n) {{ for (long i = 0; i < n; i++) x[i] = {name}_(x[i]); }}\n"
    )
    run = c_library.load(text).run
    rng = np.random.default_rng(0)
    small, signs = np.exp(rng.uniform(-40, 0, many)), rng.choice((-1, 1), many)
    halves = np.arange(-40, 41) / 2 * math.log(2)
    points = [small * signs, rng.uniform(-1, 1, many), rng.uniform(-40, 40, many), halves, np.nextafter(halves, 1e9)]
    if name in ("exp", "expm1"):
        points.append(rng.uniform(-745.2, 709.7, many))
    if name in ("log", "log1p"):
        points = [np.abs(x) for x in points] + [np.exp(rng.uniform(-744, 709, many)), rng.uniform(0.6, 1.6, many)]
    if name == "log1p":
        points += [-np.exp(-np.exp(rng.uniform(-9, 5, many))), rng.uniform(-1, 0, many)]
    x = np.concatenate(points)
    x = x[x != (0 if name == "log" else np.inf)]
    z = x.copy()
    run(ctypes.c_void_p(z.ctypes.data), ctypes.c_long(z.size))
    with mpmath.workprec(120):
        for given_, found in zip(x.tolist(), z.tolist(), strict=True):
            true = getattr(mpmath, name)(mpmath.mpf(given_))
            assert abs(found - true) <= ulps * np.spacing(abs(float(true))), (given_, found)


# -------------------------------------------------------------------------------------------------- whole networks

NETS: dict[str, Any] = {
    "sigmoid, bce": ("sigmoid", 1, nn.BCEWithLogitsLoss(reduction="batchmean")),
    "tanh, mse": ("tanh", 3, nn.MSELoss()),
    "relu, log-likelihood of probabilities": ("relu", 4, nn.CrossEntropyLoss()),
    "softplus, half squares": ("softplus", 2, nn.HalfMSELoss(reduction="sum")),
    "leaky relu, bce of three": ("leaky_relu", 3, nn.BCEWithLogitsLoss()),
}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("name", NETS)
def test_networks_train_the_same(name: str, dtype: Any) -> None:
    """Ten steps of descent, in C and by the engine, with an uneven last batch: the same losses and weights."""
    activation, outputs, criterion = NETS[name]
    rng = np.random.default_rng(3)
    X, Y = rng.normal(size=(23, 4)).astype(dtype), rng.uniform(0, 1, (23, outputs)).astype(dtype)
    Y /= Y.sum(axis=1, keepdims=True)
    models = [nn.MLP(4, [5, 9, outputs], activation, rng=1, dtype=dtype) for _ in range(2)]
    step = mg.compile(lambda x, y: criterion(models[0](x), y), backend="c")
    losses: list[list[float]] = [[], []]
    for _ in range(5):
        for start in (0, 16):
            x, y = X[start : start + 16], Y[start : start + 16]
            losses[0].append(step(x, y).item())
            loss = criterion(models[1](mg.Tensor(x)), mg.Tensor(y))
            loss.backward()
            losses[1].append(loss.item())
            for model in models:
                nn.optim.SGD(model.parameters(), lr=0.05).step()
                model.zero_grad()
    assert (step.why, step.recordings, step.replays) == ("", 2, 8)
    assert written_in_c(step)
    tolerance = 1e-12 if dtype == np.float64 else 1e-4
    np.testing.assert_allclose(*losses, rtol=tolerance)
    for p, q in zip(*(model.parameters() for model in models), strict=True):
        assert p.dtype == dtype
        np.testing.assert_allclose(p.tolist(), q.tolist(), rtol=tolerance, atol=tolerance)


OPERATIONS: dict[str, Any] = {
    "add": lambda x, y: x + y,
    "multiply": lambda x, y: x * y,
    "subtract": lambda x, y: y - x,
    "tanh": lambda x, y: mg.tanh(x),
    "sigmoid": lambda x, y: mg.sigmoid(x * y),
    "matmul": lambda x, y: 0.1 * x @ y.T @ x,
    "einsum": lambda x, y: mg.einsum("ij,kj->ik", x, 0.1 * y) @ x,
    "transpose": lambda x, y: (x.T * y.T).T,
    "row": lambda x, y: x[1:2] + y,
    "column": lambda x, y: x[:, 0:1] * y[::-1],
    "number": lambda x, y: x[1, 0] + y,
    "mean": lambda x, y: x.mean(axis=0) * y,
    "max": lambda x, y: x.max(axis=1, keepdims=True) * y,
    "softmax": lambda x, y: mg.softmax(x, axis=1),
    "log_softmax": lambda x, y: mg.log_softmax(x * y, axis=0),
    "reshape": lambda x, y: x.T.reshape(2, 3).T + y,
    "flip": lambda x, y: mg.flip(x, axis=0) - y,
    "maximum": lambda x, y: mg.maximum(x, y),
    "relu": lambda x, y: mg.relu(x) + y,
    "same twice": lambda x, y: x + x,
    "concatenate": lambda x, y: mg.concatenate([x, y])[1:4],
}


@pytest.mark.slow
@settings(max_examples=40)
@given(
    st.lists(
        st.tuples(st.sampled_from(sorted(OPERATIONS)), st.integers(0, 9), st.integers(0, 9)), min_size=2, max_size=16
    )
)
def test_any_program(program: Any) -> None:
    """Whatever is computed of two arrays: fused, in memory that is lent on, between calls of NumPy."""
    x, y = leaf(seed=1), leaf(seed=2)

    def loss(x: Any, y: Any) -> Any:
        nodes = [x, y]
        for name, i, j in program:
            nodes.append(OPERATIONS[name](nodes[i % len(nodes)], nodes[-1 - j % len(nodes)]))
        return mg.sum(mg.tanh(nodes[-1]) * nodes[len(nodes) // 2]) + nodes[2].sum()

    step = mg.compile(loss, backend="c")
    step(x, y)
    assume("other numbers" not in step.why)  # what is left of a difference of nearly equal numbers is rounding
    for seed in (3, 4):
        for place, t in enumerate((x, y)):
            t._replace(np.random.default_rng([seed, place]).normal(size=t.shape))
        assert_replays(step, loss, (x, y), (x, y), 1e-10)


# ------------------------------------------------------------------------------------------------------- products


def products(shapes: Any, dtype: Any) -> tuple[Program, list[Any], list[Any]]:
    """A program of products of matrices, laid out in all ways: as they are, transposed, and every other row."""
    program, outputs, given_ = Program(), [], []
    rng = np.random.default_rng(1)
    for place, (m, n, k) in enumerate(shapes):
        forms = [((m, k), (k, n)), ((k, m), (k, n)), ((m, k), (n, k)), ((k, m), (n, k)), ((2 * m, k), (k, 2 * n))]
        for form, (left, right) in enumerate(forms):
            arrays = [rng.normal(size=left).astype(dtype), rng.normal(size=right).astype(dtype)]
            x, y = (program.input(f"{'xy'[i]}{place}_{form}", array) for i, array in enumerate(arrays))
            given_ += arrays
            x = x.T if form in (1, 3) else x[::2] if form == 4 else x
            y = y.T if form in (2, 3) else y[:, ::-2] if form == 4 else y
            outputs.append(x @ y)
    return program, outputs, given_


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
def test_products_of_all_sizes(dtype: Any) -> None:
    """Of every width below and above a vector of the processor, and of none."""
    shapes = [(1, 1, 1), (9, 17, 3), (20, 16, 2), (5, 31, 300), (4, 0, 3), (0, 2, 2), (3, 2, 0)]
    program, outputs, given_ = products(shapes, dtype)
    function, source = native.written(program, outputs, "replay")
    assert "void run_0" in source
    for z, output in zip(function(*given_), outputs, strict=True):
        assert_same(z, output.number, 1e-14 if dtype == np.float64 else 1e-5)


@pytest.mark.parametrize("columns", [1, 7, 8, 9, 16])
def test_a_factor_is_read_in_place_where_its_rows_are_whole_vectors(columns: int) -> None:
    """Else a vector would read beyond the last row, and it is copied with zeros after each."""
    program = Program()
    x, y = program.input("x", np.ones((3, 5))), program.input("y", np.ones((5, columns)))
    source = Code(Steps(program, [x @ y], True), native.layout(), "int").source
    assert ("packed_double(" in source) == (columns % 8 != 0)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("instructions", ["all", "few"])
def test_large_products(dtype: Any, instructions: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that C may do, and those that it leaves to NumPy's BLAS; on a processor without wide vectors, too."""
    if instructions == "few":
        monkeypatch.setattr(c_library, "NATIVE", ())
        monkeypatch.setattr(c_library, "WIDE", ())
    program, outputs, given_ = products([(70, 65, 130), (129, 300, 257)], dtype)
    x, y = (np.random.default_rng(2).normal(size=(513, 513)).astype(dtype) for _ in range(2))
    outputs.append(program.input("x", x) @ program.input("y", y).T)
    assert native.blas() is not None
    function, source = native.written(program, outputs, "replay")
    assert "gemm_" in source
    for z, output in zip(function(*given_, x, y), outputs, strict=True):
        assert_same(z, output.number, 1e-13 if dtype == np.float64 else 1e-4)


@pytest.mark.slow
def test_without_a_blas(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where NumPy's is not found, NumPy itself does the large products, between segments of C."""
    monkeypatch.setattr(native, "blas", lambda: None)
    program = Program()
    x = np.random.default_rng(2).normal(size=(128, 128))
    traced = program.input("x", x)
    z = program.call("tanh", (traced * 0.25) @ traced.T)
    function, source = native.written(program, [z, z.sum(axis=0)], "replay")
    assert "void run_2" in source
    expected = np.tanh(x * 0.25 @ x.T)
    assert_same(function(x)[0], expected, 1e-13)
    assert_same(function(x)[1], expected.sum(axis=0), 1e-13)


# --------------------------------------------------------------------------------------------- arrays of all kinds


def program_of_all() -> tuple[Program, list[Traced]]:
    program = Program()
    x = program.input("x", np.ones((3, 4)))
    i = program.input("i", np.zeros((3, 1), np.int64))
    taken = program.call("take_along_axis", program.call("exp", x), i, axis=1)
    return program, [taken + x, program.call("less", x, taken).sum(axis=0), x.T, x, x, taken + x]


@pytest.mark.parametrize("reads", ["C", "Python"])
def test_arrays_of_any_layout(reads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Transposed, with steps, not aligned, read-only, of a subclass: they are copied first."""
    if reads == "Python":
        monkeypatch.setattr(native, "layout", lambda: None)
    function, source = native.written(*program_of_all(), "replay")
    assert ("call_0" in source) == (reads == "C")
    plain = np.random.default_rng(0).normal(size=(3, 4))
    room = np.empty(3 * 4 * 8 + 1, np.uint8)
    unaligned = room[1:].view(np.float64).reshape(3, 4)
    unaligned[...] = plain
    locked = plain.copy()
    locked.flags.writeable = False
    i = np.array([[1], [0], [3]])
    taken = np.take_along_axis(np.exp(plain), i, 1)
    expected = [taken + plain, (plain < taken).sum(axis=0), plain.T, plain, plain, taken + plain]
    kinds = (plain, np.asfortranarray(plain), np.repeat(plain, 2, axis=1)[:, ::2], unaligned, locked, plain.tolist(),
             plain.view(type("Sub", (np.ndarray,), {})), plain[::-1, ::-1].copy()[::-1, ::-1])  # fmt: skip
    for x in kinds:
        for index in (i, np.asfortranarray(np.repeat(i, 2, axis=1))[:, :1], i.astype(np.longlong)):
            found = function(x, index)
            for z, y in zip(found, expected, strict=True):
                assert type(z) is np.ndarray
                assert_same(z, y, 1e-15)
                assert not any(np.shares_memory(z, other) for other in (x, index, *found) if other is not z)
                assert z.flags.writeable
    for wrong in (
        plain[:2],
        plain.astype(np.float32),
        plain.astype(">f8"),
        plain[0],
        np.ones((3, 4, 1)),
        np.float64(1),
        None,
    ):
        if isinstance(wrong, np.ndarray) and wrong.dtype == plain.dtype.newbyteorder(">"):
            continue
        with pytest.raises(ValueError, match="compiled for an array of shape"):
            function(wrong, i)
    with pytest.raises(IndexError):
        function(plain, i + 4)


def test_what_has_no_form_in_c(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types that C does not get to see are NumPy's; where all of it is, so is the source, and a warning says why."""
    monkeypatch.setattr(c_library, "_warned", set())
    program = Program()
    x = program.input("x", np.ones(3, np.float16))
    with pytest.warns(CompilerWarning, match="cannot be written in C: an output is of type float16; NumPy is used"):
        function, source = native.written(program, [x * x], "replay")
    assert "def replay" in source
    np.testing.assert_array_equal(function(np.full(3, 2, np.float16))[0], np.full(3, 4, np.float16))
    program = Program()
    x = program.input("x", np.ones(3, ">f8"))
    function, source = native.written(program, [x.astype(np.float64) * 2.0], "replay")
    np.testing.assert_array_equal(function(np.arange(3).astype(">f8"))[0], [0, 2, 4])


def test_a_gap_of_ours_is_one_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever goes wrong where the C is written: NumPy does the work, and the reason is named once."""
    monkeypatch.setattr(c_library, "_warned", set())

    def fails(*_: Any) -> None:
        raise KeyError("cosine")

    monkeypatch.setattr(native, "Code", fails)
    w = leaf()
    step = mg.compile(lambda x: mg.sum(mg.tanh(x * w)), backend="c")
    with pytest.warns(CompilerWarning, match="KeyError: 'cosine'; NumPy is used, at test_native"):
        step(np.ones((3, 2)))
    step(np.ones((4, 3, 2)))  # no second warning: warnings are errors here
    step(np.ones((3, 2)))
    assert (step.why, step.replays, step.recordings) == ("", 1, 2)
    assert "def replay" in step.source


def test_what_multiplies_errors_is_left_to_numpy() -> None:
    """Where the last bits of a function decide: they are NumPy's in the engine, so NumPy replays it."""
    x = mg.Tensor(np.linspace(0, 3, 1000), requires_grad=True)
    same = np.exp(x._data)
    step = mg.compile(lambda scale: mg.sum((mg.exp(x) - same) ** 2 * scale + x), backend="c")
    for _ in range(2):
        x.grad = None
        assert step(np.full(1000, 1e40)).item() == pytest.approx(1500.0)
        np.testing.assert_array_equal(x.grad, np.ones(1000))
    assert (step.why, step.replays) == ("", 1)
    assert "def replay" in step.source


def test_numpy_reads_an_output_in_its_own_shape() -> None:
    """What is handed out reshaped is, between the segments, still what it was."""
    program = Program()
    e = program.call("exp", program.input("x", np.ones((2, 3))))
    taken = program.call("take_along_axis", e, np.array([[2], [0]]), axis=1)
    function, source = native.written(program, [e.reshape((6,)), taken], "replay")
    assert "void run_0" in source
    x = np.arange(6.0).reshape(2, 3)
    flat, picked = function(x)
    assert_same(flat, np.exp(x).reshape(6), 1e-15)
    assert_same(picked, np.exp(x[[0, 1], [2, 0]]).reshape(2, 1), 1e-15)


def test_two_names_of_one_type() -> None:
    """long long is not long to NumPy, but to C: as an argument, and as what NumPy gives between segments."""
    program = Program()
    n = program.input("n", np.ones((2, 3), np.longlong))
    taken = program.call("take_along_axis", n, np.array([[2], [0]]), axis=1)
    outputs = [n * 2.0, taken * 3.0]
    function, source = native.written(program, outputs, "replay")
    assert "void run_" in source
    for given_ in (np.arange(6, dtype=np.longlong).reshape(2, 3), np.arange(6).reshape(2, 3)):
        doubled, picked = function(given_)
        np.testing.assert_array_equal(doubled, given_ * 2.0)
        np.testing.assert_array_equal(picked, [[6.0], [9.0]])


def test_plain_numbers_that_are_true_and_that_are_long() -> None:
    """2 is as true as 1, and whole numbers have 64 bits."""
    program = Program()
    n = program.input("n", np.ones(3, np.int64))
    calls = [("logical_and", (n, 2)), ("logical_and", (n, 0.0)), ("logical_or", (n, 0.5)), ("less", (n, 2**40)),
             ("add", (n, 2**40))]  # fmt: skip
    function, source = native.written(program, [program.call(name, *given_) for name, given_ in calls], "replay")
    assert "void run_0" in source
    x = np.array([0, 2**41, -3])
    expected = [[False, True, True], [False] * 3, [True] * 3, [True, False, True], [2**40, 3 * 2**40, 2**40 - 3]]
    for z, y in zip(function(x), expected, strict=True):
        np.testing.assert_array_equal(z, y)


def test_labels_masks_and_empty_arrays() -> None:
    """Whole numbers, truth values, arrays without numbers, numbers without axes, and -1 for axes."""
    program = Program()
    n = program.input("n", np.ones((2, 3), np.int64))
    small = program.input("s", np.ones((2, 3), np.int32))
    mask = program.input("m", np.ones((2, 3), bool))
    empty = program.input("e", np.ones((0, 3)))
    zero = program.input("z", np.ones(()))
    outputs = [
        n * small - 2, program.call("equal", n, 1), program.call("where", mask, n, small), mask.sum(axis=-1),
        mask.astype(np.float64) * zero, n / small, program.call("logical_or", mask, n), n.astype(bool),
        mask.astype(np.int64), empty * 2.0, empty.sum(axis=0), empty.sum(), zero + 1, n.sum(), program.call("exp", n),
        mask * 2.0, -n, program.call("concatenate", empty, n * 1.0, axis=0), program.call("less", small, 2.5), mask * n,
        program.call("maximum", n, small), zero.reshape((1, 1)).sum(axis=0),
    ]  # fmt: skip
    function, source = native.written(program, outputs, "replay")
    assert "void run_0" in source
    given_ = [np.array([[1, -2, 3], [2**40, 0, 1]]), np.array([[3, 1, -7], [1, 9, 2]], np.int32),
              np.array([[True, False, True], [False, False, True]]), np.ones((0, 3)), np.asarray(-0.0)]  # fmt: skip
    again = Program()
    # the same lines, told to NumPy, of the new numbers
    traced = [again.input(name, array) for name, array in zip("nsmez", given_, strict=True)]
    place = dict(zip([x.line for x in (n, small, mask, empty, zero)], traced, strict=True))
    with np.errstate(all="ignore"):
        for line, said in enumerate(program.lines):
            if said.function != "input":
                arguments = [place[x.line] if isinstance(x, Traced) else x for x in said.arguments]
                place[line] = again.call(said.function, *arguments, **dict(said.words))
        for z, output in zip(function(*given_), outputs, strict=True):
            expected = place[output.line].number
            assert_same(z, expected, 1e-15)
            if expected.dtype.kind == "f":
                np.testing.assert_array_equal(np.signbit(z), np.signbit(expected))


def test_long_sums_lose_no_digits() -> None:
    program = Program()
    x = np.random.default_rng(0).uniform(size=1_000_003)
    traced = program.input("x", x)
    function, _ = native.written(program, [traced.sum(), (traced * traced).sum()], "replay")
    for z, terms in zip(function(x), (x, x * x), strict=True):
        assert abs(z - math.fsum(terms)) <= 8 * np.spacing(z)


def test_sums_of_many_rows_lose_no_digits() -> None:
    """Also where each row meets another array, so that the rows are no one long row; in any number of axes."""
    for shape in ((1_000_003, 3), (300, 400, 3), (1025, 2)):
        program, rng = Program(), np.random.default_rng(0)
        x, b = rng.uniform(size=shape).astype(np.float32), rng.uniform(size=shape[-1]).astype(np.float32)
        traced = program.input("x", x) + program.input("b", b)
        function, _ = native.written(program, [traced.sum(), traced.sum(axis=0)], "replay")
        total, rows = function(x, b)
        assert abs(total - math.fsum((x + b).ravel().tolist())) <= 8 * np.spacing(total)
        assert_same(rows, (x + b).sum(axis=0), 1e-4)


def test_what_is_returned_is_new_each_time() -> None:
    """Outputs share no memory with each other, with the arguments, or with what comes next."""
    x, y = leaf(), leaf(seed=1)
    step = mg.compile(lambda x, y: mg.sum(x + y) + mg.sum(x * 2.0), backend="c")
    step(x, y)
    held = [x._data, y._data]
    for _ in range(5):
        x.grad = y.grad = None
        loss = step(x, y)
        arrays = [x.grad, y.grad, loss._data]
        held += arrays
        assert all(array.flags.writeable for array in arrays)
        assert sum(np.shares_memory(array, other) for array in arrays for other in held) == len(arrays)
        assert (x.grad == 3).all()
        assert (y.grad == 1).all()
        for array in arrays:
            array[...] = 99.0


# ------------------------------------------------------------------------------------------------------ the source


def test_the_source_names_the_users_lines() -> None:
    """As comments, which end where they should, whatever a Tensor is called; another line is no other object."""
    w = mg.Tensor([1.0, 2.0], requires_grad=True)
    step = mg.compile(lambda x: mg.sum(mg.tanh(x * w)), backend="c")
    step(np.ones(2))
    assert f"at {Path(__file__).name}:" in step.source
    for comment in ("*/ #error \\", "a\n#error\n", "b??/", "\u2028#error \\ ", "\r#error", "// #error"):
        program = Program()
        program.comment = comment
        z = program.call("tanh", program.input("x", np.ones(2)))
        function, source = native.written(program, [z], "replay")
        assert all(line.lstrip().startswith("//") for line in source.splitlines() if "#error" in line)
        assert function(np.ones(2))[0][0] == pytest.approx(math.tanh(1), rel=1e-15)
    program = Program()
    program.comment = "one"
    z = program.call("tanh", program.input("x", np.ones(2)))
    texts = []
    for comment in ("one", "another"):
        program.lines[:] = [line._replace(comment=comment) for line in program.lines]
        code = Code(Steps(program, [z], True), native.layout(), "int")
        assert f"    // {comment}\n    loop_0(" in code.source
        texts.append(code.text)
    assert texts[0] == texts[1]


@pytest.mark.slow
def test_threads_do_not_share_memory() -> None:
    """One object serves two programs that are alike, each with memory of its own."""

    def made() -> Any:
        program = Program()
        x = program.input("x", np.ones((50, 40)))
        return native.written(program, [program.call("tanh", program.call("exp", x) @ x.T).sum(axis=0)], "replay")[0]

    wrong: list[float] = []

    def run(seed: int) -> None:
        function, x = made(), np.random.default_rng(seed).normal(size=(50, 40))
        expected = np.tanh(np.exp(x) @ x.T).sum(axis=0)
        for _ in range(300):
            error = np.max(np.abs(function(x)[0] - expected))
            if error > 1e-12:
                wrong.append(error)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_segments_around_numpy() -> None:
    """What C cannot do stands between its segments, and reads and gives arrays of its own."""
    x = leaf((4, 3))
    i = np.array([[0], [2], [1], [1]])

    def loss(x: Any) -> Any:
        z = mg.exp(x * 0.5)
        picked = mg.take_along_axis(z, i, axis=1)
        again = mg.einsum("ij,kj->ik", z, mg.flip(z, axis=0))
        return mg.sum(mg.log(picked) * picked) + mg.sum(mg.tanh(again[:, 1:3].T))

    step = mg.compile(loss, backend="c")
    step(x)
    for seed in range(3):
        x._replace(np.random.default_rng(seed).normal(size=(4, 3)))
        assert_replays(step, loss, [x], [x])
    assert step.source.count("void run_") == 4


def test_a_loop_is_one_pass() -> None:
    """A layer's activation, what its derivative needs, and the sum of its gradient: one loop."""
    program = Program()
    x, b, g = (program.input(name, np.ones(shape)) for name, shape in (("x", (8, 4)), ("b", (4,)), ("g", (8, 4))))
    a = program.call("tanh", x + b)
    delta = g * (1 - a * a)
    steps = Steps(program, [a, delta, delta.sum(axis=0)], True)
    code = Code(steps, native.layout(), "int")
    (segment,) = code.run
    assert isinstance(segment, Segment)
    assert [call.split("(")[0] for call in segment.calls] == ["loop_0"]
    assert code.room == 0


def test_a_loop_reads_only_what_it_has_computed() -> None:
    """A transpose of what a loop computes has its form, too, but needs numbers of places still to come."""
    program = Program()
    x = np.random.default_rng(0).normal(size=(5, 5))
    e = program.call("exp", program.input("x", x))
    function, source = native.written(program, [e + e.T, program.call("tanh", e)[::-1] * e], "replay")
    assert source.count("APART void loop") == 2
    expected = np.exp(x)
    assert_same(function(x)[0], expected + expected.T, 1e-15)
    assert_same(function(x)[1], np.tanh(expected)[::-1] * expected, 1e-15)


def test_layers_of_one_size_are_one_function() -> None:
    """A deep network is not much more work for the compiler than a flat one."""
    program = Program()
    a = program.input("x", np.ones((20, 8)))
    for layer in range(30):
        a = program.call(
            "tanh", a @ program.input(f"w{layer}", np.ones((8, 8))).T + program.input(f"b{layer}", np.ones(8))
        )
    code = Code(Steps(program, [a], True), native.layout(), "int")
    assert code.source.count("APART void loop") == 1
    assert code.source.count("APART void product") == 1
    assert code.source.count("    loop_") == 30
