"""The fast paths are derived, not written: to the bit they give what the rules give on the general walk."""

from __future__ import annotations

import gc
import inspect
import linecache
import math
import struct
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
from microgrid import kinds, modes, rules, shortcuts
from microgrid.passes_of_floats import ordered
from microgrid.rule import NO_SHORTCUTS
from tests.microgrid.checking import numbers
from tests.microgrid.table import ROWS, Row

INF, NAN = float("inf"), float("nan")
Operation = Callable[[Any, Any, Any], Any]


@contextmanager
def the_general_walk() -> Iterator[None]:
    """Every backward pass goes by `graph.walk`."""
    with pytest.MonkeyPatch.context() as patch:
        for face in (mg.Value, mg.Tensor):
            patch.setattr(face, "_fast_backward", lambda self: False)
        yield


def bits(x: Any) -> Any:
    """The very number; one nan is like another, for its sign and payload are the processor's choice."""
    if isinstance(x, np.ndarray):
        return x.dtype.str, x.shape, [bits(float(number)) for number in x.ravel()]
    if x is None:
        return None
    assert type(x) is float, f"{type(x)}: {x}"
    return b"nan" if x != x else struct.pack("<d", x)


def assert_same(fast: Sequence[Any], plain: Sequence[Any]) -> None:
    """Data and gradients of two lists of nodes are the same to the bit."""
    for place, (one, other) in enumerate(zip(fast, plain, strict=True)):
        assert one.rule is other.rule
        assert bits(one._data) == bits(other._data), f"node {place}, {one._op}: {one._data} and {other._data}"
        assert bits(one._grad) == bits(other._grad), (
            f"gradient of node {place}, {one._op}: {one._grad} and {other._grad}"
        )


# ------------------------------------------------------------------------------------------------------- operators

BINARY: dict[str, tuple[Operation, Any]] = {
    "+": (lambda x, y, c: x + y, rules.add),
    "-": (lambda x, y, c: x - y, rules.subtract),
    "*": (lambda x, y, c: x * y, rules.multiply),
    "/": (lambda x, y, c: x / y, rules.divide),
    "**": (lambda x, y, c: x**y, rules.power),
}
UNARY = {
    "negative": lambda x: -x, "abs": abs, **{name: (lambda x, name=name: getattr(x, name)()) for name in
    ("exp", "log", "sqrt", "sin", "cos", "tan", "tanh", "sigmoid", "relu", "softplus", "square", "log1p", "expm1")},
}  # fmt: skip
BY_THE_RULE: dict[str, Operation] = {  # no operator stands for them: one way to write them
    "sign": lambda x, y, c: rules.sign(x),
    "logsigmoid": lambda x, y, c: rules.logsigmoid(x),
    "leaky_relu": lambda x, y, c: rules.leaky_relu(x, negative_slope=0.25),
    "clip": lambda x, y, c: rules.clip(x, min=-1.0, max=2.0),
    "maximum": lambda x, y, c: rules.maximum(x, y),
    "maximum of a constant": lambda x, y, c: rules.maximum(c, x),
    "minimum": lambda x, y, c: rules.minimum(x, y),
    "total": lambda x, y, c: rules.total(x, c, y, x),
    "dot": lambda x, y, c: rules.dot(x, y, c, y, x, x),
    "loss": lambda x, y, c: rules.binary_cross_entropy_with_logits(x, y),
}

FAST: dict[str, Operation] = {  # as a user writes it
    **{symbol: operation for symbol, (operation, _) in BINARY.items()},
    **{f"x {symbol} c": lambda x, y, c, f=operation: f(x, c, None) for symbol, (operation, _) in BINARY.items()},
    **{f"c {symbol} x": lambda x, y, c, f=operation: f(c, x, None) for symbol, (operation, _) in BINARY.items()},
    **{name: lambda x, y, c, f=function: f(x) for name, function in UNARY.items()},
    **BY_THE_RULE,
}
PLAIN: dict[str, Operation] = {  # by the rule itself, which knows no fast path
    **{symbol: lambda x, y, c, r=rule: r(x, y) for symbol, (_, rule) in BINARY.items()},
    **{f"x {symbol} c": lambda x, y, c, r=rule: r(x, c) for symbol, (_, rule) in BINARY.items()},
    **{f"c {symbol} x": lambda x, y, c, r=rule: r(c, x) for symbol, (_, rule) in BINARY.items()},
    **{name: lambda x, y, c, name=name: getattr(rules, name)(x) for name in UNARY},
    **BY_THE_RULE,
}

HARD = [0.0, -0.0, 1.0, -1.0, 2.0, 0.5, -3.0, 1e-300, 5e-324, 1e200, -1e200, 700.0, -800.0, INF, -INF, NAN]
NUMBERS = st.sampled_from(HARD) | st.floats(-4, 4)
CONSTANTS = st.sampled_from([0, 1, 2, -1, 3, -2, True, *HARD]) | st.floats(-4, 4)
PLACES = st.integers(0, 11)


def build(operations: dict[str, Operation], leaves: Sequence[float], program: Any) -> list[mg.Value]:
    """The nodes of a program: each step applies an operation to two nodes before it, and a constant."""
    nodes: list[Any] = [mg.Value(x) for x in leaves]
    for name, i, j, c in program:
        nodes.append(operations[name](nodes[i % len(nodes)], nodes[-1 - j % len(nodes)], c))
    return nodes


LEAVES = st.lists(NUMBERS, min_size=1, max_size=3)
PROGRAMS = st.lists(st.tuples(st.sampled_from(sorted(FAST)), PLACES, PLACES, CONSTANTS), min_size=1, max_size=12)


@settings(max_examples=600)
@given(LEAVES, PROGRAMS)
def test_any_graph_of_floats(leaves: list[float], program: Any) -> None:
    """Operators and backward, fast and plain, over every scalar rule, at infinities, nan, and zeros of both signs."""
    fast, plain = build(FAST, leaves, program), build(PLAIN, leaves, program)
    assert fast[-1]._fast_backward(), "the fast path gave up"
    with the_general_walk():
        plain[-1].backward()
    assert_same(fast, plain)
    assert fast[-1]._fast_backward()  # leaves add up over passes, nodes between do not
    with the_general_walk():
        plain[-1].backward()
    assert_same(fast, plain)


@pytest.mark.parametrize("name", sorted(FAST))
def test_each_operation_at_hard_points(name: str) -> None:
    """So it is for each operation by itself, at all pairs of hard numbers and constants."""
    for x in HARD:
        for y in HARD:
            fast, plain = (build(operations, [x, y], [(name, 0, 0, y)]) for operations in (FAST, PLAIN))
            assert fast[-1]._fast_backward()
            with the_general_walk():
                plain[-1].backward()
            assert_same(fast, plain)


@settings(max_examples=200)
@given(LEAVES, PROGRAMS)
def test_any_recorded_pass_over_floats(leaves: list[float], program: Any) -> None:
    """With create_graph the gradients are nodes that hold the same numbers."""
    nodes = build(FAST, leaves, program)
    inputs = nodes[: len(leaves)]
    plain, recorded = (mg.grad(nodes[-1], inputs, create_graph=create, allow_unused=True) for create in (False, True))
    for number, node in zip(plain, recorded, strict=True):
        assert (number is None) is (node is None)
        if node is not None:
            np.testing.assert_allclose(node._data, number, rtol=1e-13)


OPERATORS = sorted(
    name for name, member in vars(mg.Value).items() if inspect.isfunction(member) and hasattr(member, "__wrapped__")
)


def test_the_operators_of_value_are_emitted() -> None:
    """All arithmetic, reflected too, and the elementary functions have a fast path."""
    arithmetic = {f"__{r}{name}__" for name in ("add", "sub", "mul", "truediv", "pow") for r in ("", "r")}
    assert set(OPERATORS) >= arithmetic | {"__neg__", "__abs__", "pow", *UNARY} - {"negative"}


@pytest.mark.parametrize("name", OPERATORS)
def test_the_fast_operator_runs(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """On floats the general machinery is not called; the emitted operator is made once."""
    x, y = mg.Value(0.75), mg.Value(0.5)
    binary = len(inspect.signature(getattr(mg.Value, name)).parameters) == 2
    operands = (x, y) if binary else (x,)
    getattr(mg.Value, name)(*operands)
    emitted = getattr(mg.Value, name)
    assert emitted.__code__.co_filename.startswith("<microgrid ")
    getattr(mg.Value, name)(*operands)
    assert getattr(mg.Value, name) is emitted

    def forbidden(*operands: Any) -> Any:
        raise AssertionError("the general machinery was called")

    monkeypatch.setitem(emitted.__globals__, "plain", forbidden)
    for operand in (y, 2.0, 3) if binary else (None,):
        here = inspect.currentframe().f_lineno + 1  # type: ignore[union-attr]
        node = emitted(x, operand) if binary else emitted(x)
        assert node.rule is not None
        assert type(node._data) is float
        assert any(given is x for given in node.inputs)
        assert node.requires_grad
        assert node.site.line == here


def test_debuggers_find_the_source_of_what_runs() -> None:
    """The lines that Python holds for each emitted operator are those that it was compiled from."""
    x = mg.Value(0.75)
    for name in OPERATORS:
        getattr(mg.Value, name)(*[x] * (2 if _is_binary(name) else 1))
    for name in OPERATORS:
        code = getattr(mg.Value, name).__code__
        scope: dict[str, Any] = {}
        exec(compile("".join(linecache.getlines(code.co_filename)), code.co_filename, "exec"), scope)
        again = scope[code.co_name].__code__
        assert (again.co_code, again.co_varnames, again.co_names) == (code.co_code, code.co_varnames, code.co_names), (
            name
        )


@pytest.mark.parametrize("name", OPERATORS)
def test_the_fast_operator_gives_way(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Without recording, without a gradient to come, in a subclass: the general machinery answers."""
    called = []

    class Other(mg.Value):
        __slots__ = ()

    getattr(mg.Value, name)(*[mg.Value(0.5)] * (2 if _is_binary(name) else 1))
    emitted = getattr(mg.Value, name)
    plain = emitted.__globals__["plain"]
    monkeypatch.setitem(emitted.__globals__, "plain", lambda *operands: called.append(1) or plain(*operands))
    for x in (Other(0.5), mg.Value(0.5).detach()):
        emitted(*[x] * (2 if _is_binary(name) else 1))
    with mg.no_grad():
        emitted(*[mg.Value(0.5)] * (2 if _is_binary(name) else 1))
    assert len(called) == 3


def _is_binary(name: str) -> bool:
    return len(inspect.signature(getattr(mg.Value, name)).parameters) == 2


# --------------------------------------------------------------------------------------------------- general walk


def graph_of_all() -> tuple[mg.Value, mg.Value, mg.Value]:
    x, y = mg.Value(0.5), mg.Value(-2.0)
    return x, y, mg.tanh(x * y + x) * (y**2 + x) - y


def test_where_goes_by_either_walk() -> None:
    """A rule with a constant input among Values: the same gradients, whichever walk it takes."""
    grads = []
    for context in (the_general_walk, mg.enable_grad):
        x, y = mg.Value(0.5), mg.Value(-0.0)
        z = mg.where(True, x * y, y) + mg.where(False, x, y * 3)
        with context():
            z.backward()
        grads.append([bits(x.grad), bits(y.grad)])
    assert grads[0] == grads[1]


@pytest.mark.parametrize("special", ["hook", "inputs", "gradient", "create_graph", "no fast path", "fast"])
def test_every_way_through_gives_the_same_bits(special: str) -> None:
    """A hook, chosen inputs, a seed, a recorded pass: each takes the general walk and ends at the same numbers."""
    x, y, z = graph_of_all()
    if special == "hook":
        x.register_hook(lambda gradient: None)
    if special == "no fast path":
        with the_general_walk():
            z.backward()
    elif special == "fast":
        assert z._fast_backward()
    else:
        keywords: dict[str, Any] = {
            "inputs": {"inputs": (x, y)},
            "gradient": {"gradient": 1.0},
            "create_graph": {"create_graph": True},
        }.get(special, {})
        z.backward(**keywords)
    given = [getattr(node.grad, "data", node.grad) for node in (x, y)]
    x, y, z = graph_of_all()
    assert [bits(g) for g in given] == [bits(g) for g in mg.grad(z, (x, y))]


def test_the_fast_walk_gives_way_to_a_hook() -> None:
    """A hook anywhere below is called, and nothing is stored by the walk that gave up."""
    x, _, z = graph_of_all()
    seen: list[float] = []
    x.register_hook(seen.append)
    assert not z._fast_backward()
    assert [node._grad for node in mg.topological_order(z)] == [None] * len(mg.topological_order(z))
    z.backward()
    assert seen == [x.grad]


def test_a_pass_that_fails_leaves_the_gradients_of_before() -> None:
    """A stale node stops the pass: no gradient is half-summed, and none is an object of the machinery."""
    for make in (mg.Value, lambda x: mg.Tensor(x, requires_grad=True)):
        x, y = make(2.0), make(3.0)
        z = (x * y) * x
        z.backward()
        before = [bits(float(node.grad)) for node in (x, y)]
        y.data = 5.0
        with pytest.raises(mg.StaleError):
            z.backward()
        assert [bits(float(node.grad)) for node in (x, y)] == before
        for node in mg.topological_order(z):
            assert node._grad is None or isinstance(node._grad, (float, np.ndarray))


# ------------------------------------------------------------------------------------------------------- arrays

ARRAY_OPERATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    **{symbol: operation for symbol, (operation, _) in BINARY.items()},
    **{f"x {symbol} c": lambda x, y, c, f=operation: f(x, c, None) for symbol, (operation, _) in BINARY.items()},
    **{f"c {symbol} x": lambda x, y, c, f=operation: f(c, x, None) for symbol, (operation, _) in BINARY.items()},
    **{name: lambda x, y, c, f=function: f(x) for name, function in UNARY.items()},
    **BY_THE_RULE,
    "where": lambda x, y, c: mg.where(y._data > 0, x, y),
    "sum": lambda x, y, c: x.sum(-1, keepdims=True),
    "mean": lambda x, y, c: x.mean(0, keepdims=True),
    "max": lambda x, y, c: x.max(-1, keepdims=True),
    "prod": lambda x, y, c: x.prod(keepdims=True) if x.ndim else x,
    "std": lambda x, y, c: x.std(0, correction=0, keepdims=True),
    "norm": lambda x, y, c: x.norm(axis=-1, keepdims=True),
    "logsumexp": lambda x, y, c: x.logsumexp(-1, keepdims=True),
    "softmax": lambda x, y, c: x.softmax(-1),
    "log_softmax": lambda x, y, c: x.log_softmax(-1),
    "cumsum": lambda x, y, c: x.cumsum(0),
    "index": lambda x, y, c: x[..., ::-1] if x.ndim else x[None],
    "places": lambda x, y, c: x[np.zeros(3, int)] if x.shape == (3,) else x * x,
    "concatenate": lambda x, y, c: mg.concatenate([x, y[:1]])[:-1] if x.shape == y.shape == (3,) else x,
    "matmul": lambda x, y, c: x @ np.eye(3) if x.shape[-1:] == (3,) else x + 0,
    "gram": lambda x, y, c: (x @ y.T).sum() if x.shape == y.shape == (2, 3) else x * 1,
    "clone": lambda x, y, c: x.reshape(-1).reshape(x.shape),
}


def build_arrays(shapes: Any, program: Any, seed: int) -> list[mg.Tensor]:
    rng = np.random.default_rng(seed)
    nodes: list[Any] = []
    for shape, dtype, hard in shapes:
        with np.errstate(over="ignore"):
            x = np.asarray(rng.choice(HARD, shape) if hard else rng.normal(size=shape)).astype(dtype)
        nodes.append(mg.Tensor(x, requires_grad=True))
    for name, i, j, c in program:
        nodes.append(ARRAY_OPERATIONS[name](nodes[i % len(nodes)], nodes[-1 - j % len(nodes)], c))
    nodes.append(nodes[-1].sum())
    return nodes


SHAPES = st.tuples(st.sampled_from([(), (3,), (2, 3), (1, 3), (2, 1)]), st.sampled_from(("f4", "f8")), st.booleans())
ARRAYS = st.lists(SHAPES, min_size=1, max_size=3)
ARRAY_PROGRAMS = st.lists(
    st.tuples(st.sampled_from(sorted(ARRAY_OPERATIONS)), PLACES, PLACES, CONSTANTS), min_size=1, max_size=8
)


@settings(max_examples=400)
@given(ARRAYS, ARRAY_PROGRAMS, st.integers(0, 99))
def test_any_graph_of_arrays(shapes: Any, program: Any, seed: int) -> None:
    """The fast backward of Tensors: every rule, broadcasting, mixed precisions, hard numbers, to the bit."""
    fast, plain = build_arrays(shapes, program, seed), build_arrays(shapes, program, seed)
    assert fast[-1]._fast_backward(), "the fast path gave up"
    with the_general_walk():
        plain[-1].backward()
    assert_same(fast, plain)
    fast[-1].backward()
    with the_general_walk():
        plain[-1].backward()
    assert_same(fast, plain)


@settings(max_examples=150)
@given(ARRAYS, ARRAY_PROGRAMS, st.integers(0, 99))
def test_any_recorded_pass_over_arrays(shapes: Any, program: Any, seed: int) -> None:
    """With create_graph the gradients hold the same numbers, in the same shapes and precisions, and run back again."""
    nodes = build_arrays(shapes, program, seed)
    inputs = nodes[: len(shapes)]
    plain, recorded = (mg.grad(nodes[-1], inputs, create_graph=create, allow_unused=True) for create in (False, True))
    for array, node in zip(plain, recorded, strict=True):
        assert (array is None) is (node is None)
        if node is not None:
            assert (node.shape, node.dtype) == (array.shape, array.dtype)
            np.testing.assert_allclose(node._data, array, rtol=1e-5 if array.dtype == np.float32 else 1e-11, atol=1e-30)
    again = mg.sum([mg.sum(node) for node in recorded if node is not None])
    if again.requires_grad:
        again.backward()


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_each_rule_of_arrays(row: Row) -> None:
    """So it is for each rule by itself on all cases of its row: gradients to the bit, each an array of its own."""
    for seed, case in enumerate(row.family.fixed):
        built = []
        for _ in range(2):
            xs = numbers(row, case, seed)
            nodes = [
                mg.Tensor(x, requires_grad=True) if isinstance(given, tuple) else x
                for x, given in zip(xs, case.inputs, strict=True)
            ]
            z = row.rule(*nodes, **case.parameters)
            tensors = [node for node in nodes if isinstance(node, mg.Tensor)]
            built.append([*tensors, z, mg.sum(z * np.linspace(0.5, 1.5, z.size).reshape(z.shape))])
        fast, plain = built
        assert fast[-1]._fast_backward()
        with the_general_walk():
            plain[-1].backward()
        assert_same(fast, plain)
        for node in fast:
            node._grad[...] = 7.0
        for one, other in zip(fast, plain, strict=True):
            assert bits(one._data) == bits(other._data)


@pytest.mark.parametrize("call", [lambda x: mg.sigmoid(x), lambda x: mg.add(x, 1), lambda x: mg.dot([x, x], [2, x])])
def test_functions_of_values_take_the_shortcut(call: Any, monkeypatch: Any) -> None:
    """mg.sigmoid(v), mg.add(v, 1) and mg.dot of Values never reach the general way of recording, and give its bits."""
    x = mg.Value(0.7)
    call(x)  # emitted by now
    with monkeypatch.context() as patched:
        patched.setattr(type(kinds.kind_of(x)), "apply", lambda *arguments: pytest.fail("recorded by the general way"))
        z = call(x)
    with mg.detect_anomaly():  # a mode: no shortcut
        general = call(x)
    assert z.item().hex() == general.item().hex()
    assert (z.rule, z.inputs) == (general.rule, general.inputs)
    assert Path(z.site.file) == Path(__file__)


def test_a_first_call_meets_another(monkeypatch: Any) -> None:
    """While one thread emits a rule, another that applies it finds a shortcut and gets the value, to the bit."""
    emit, met = shortcuts.emit_operator, []

    def interrupted(rule: Any, *rest: Any) -> Any:
        met.append(rule.shortcuts)
        if len(met) == 1:
            other = threading.Thread(target=lambda: met.append(rule(mg.Value(0.5)).item()))
            other.start()
            other.join()
        return emit(rule, *rest)

    monkeypatch.setattr(shortcuts, "emit_operator", interrupted)
    shortcuts.shorten([rules.tanh])
    z = rules.tanh(mg.Value(0.5))
    assert None not in met
    assert met[-1] == z.item() == math.tanh(0.5)


def test_users_rules_are_not_kept_alive() -> None:
    """A rule that a user made, used and dropped is freed: neither values nor passes hold it."""

    def once() -> weakref.ref[type]:
        class twice(mg.Rule):  # noqa: N801 (a rule is a function)
            def value(x):
                return x * 2

            def wrt_x(g, z, x):
                return g * 2

        for x in (mg.Value(1.0), mg.Tensor(1.0, requires_grad=True)):
            mg.apply(twice, x).backward()
        return weakref.ref(twice)

    kept = once()
    gc.collect()
    assert kept() is None


@contextmanager
def the_general_recording() -> Iterator[None]:
    """Every operation is recorded by `graph`, and no shortcut runs: not those within a rule either."""
    with pytest.MonkeyPatch.context() as patch:
        for rule in vars(rules).values():
            if isinstance(rule, type) and issubclass(rule, mg.Rule):
                patch.setattr(rule, "shortcuts", NO_SHORTCUTS)
        yield


HARD_ARRAYS = [
    np.array(HARD),
    np.array(HARD)[::-1],
    np.clip(HARD, -3e38, 3e38).astype(np.float32),
    np.array(3.0),
    np.zeros((0, 2)),
]


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_each_rule_of_arrays_is_recorded_as_the_graph_records_it(row: Row) -> None:
    """A shortcut gives the value to the bit, and the same node: rule, inputs, parameters, line."""
    for seed, case in enumerate(row.family.fixed):
        xs = numbers(row, case, seed)
        nodes = [
            mg.Tensor(x, requires_grad=True) if isinstance(given, tuple) else x
            for x, given in zip(xs, case.inputs, strict=True)
        ]
        nodes_of_numbers = [mg.Tensor(x) if isinstance(x, np.ndarray) and x.dtype.kind == "f" else x for x in xs]
        made = []
        for way in (nullcontext, the_general_recording):
            with way():
                made.append((row.rule(*nodes, **case.parameters), row.rule(*nodes_of_numbers, **case.parameters)))
        (z, constant), (general, general_constant) = made
        assert bits(z._data) == bits(general._data)
        assert bits(constant._data) == bits(general_constant._data)
        assert (z.rule, z.requires_grad) == (general.rule, general.requires_grad)
        assert repr(sorted(z.parameters.items())) == repr(sorted(general.parameters.items()))
        assert (constant.rule, constant.inputs) == (None, ())
        for x, other in zip(z.inputs, general.inputs, strict=True):
            assert x is other if isinstance(x, mg.Node) else np.array_equal(x, other)
        assert Path(z.site.file) == Path(__file__)
        if isinstance(nodes[0], mg.Tensor) and not row.rule.variadic:
            assert row.rule.shortcuts[mg.Tensor] is not None


@pytest.mark.parametrize("name", sorted(BY_THE_RULE.keys() | UNARY.keys() | BINARY.keys()))
def test_operations_of_arrays_at_hard_points(name: str) -> None:
    """Infinities, nan, zeros of both signs, float32, numbers as operands: the same bits, and nothing warns."""
    operation = FAST[name]
    for x in HARD_ARRAYS:
        for c in (2, -0.5, x.copy()):
            nodes = [mg.Tensor(x, requires_grad=True), mg.Tensor(x[..., ::-1] if x.ndim else x, requires_grad=True)]
            fast = operation(*nodes, c)
            with the_general_recording():
                general = operation(*nodes, c)
            assert (fast.rule, fast.dtype) == (general.rule, general.dtype)
            assert bits(fast._data) == bits(general._data)


def test_shortcuts_of_arrays_keep_off_what_is_special(monkeypatch: Any) -> None:
    """An array that was handed out, a mode, a Value among the inputs, nothing to record: the general way."""
    t, plain = mg.Tensor([1.0, 2.0], requires_grad=True), mg.Tensor([1.0, 2.0])
    mg.sigmoid(t)
    met: list[Any] = []
    apply = type(kinds.kind_of(t)).apply
    monkeypatch.setattr(type(kinds.kind_of(t)), "apply", lambda *given: met.append(given[1]) or apply(*given))
    mg.sigmoid(t)
    assert met == []
    handed = mg.Tensor([1.0, 2.0], requires_grad=True)
    handed.data[0] = 3.0
    z = mg.sigmoid(handed)
    handed.data[0] = 4.0
    with pytest.raises(mg.StaleError):
        z.sum().backward()
    mg.add(t, mg.Value(1.0))
    mg.sigmoid(plain)
    with mg.no_grad():
        mg.sigmoid(t)
    assert met == [rules.sigmoid, rules.add, rules.sigmoid, rules.sigmoid]


# ------------------------------------------------------------------------------------- rules of many inputs of floats


@pytest.mark.parametrize("length", [1, 2, 3, 20, 64, 65, 300])
@pytest.mark.parametrize("function", [mg.dot, lambda xs, ys: mg.sum([*xs, *ys])], ids=["dot", "sum"])
def test_many_inputs(function: Callable[[Any, Any], Any], length: int) -> None:
    """Of any number of inputs, before and after code is emitted for that number: the bits of the general walk."""
    rng = np.random.default_rng(length)
    for turn in range(12):
        built = []
        seed = rng.integers(1 << 30)
        for way in (nullcontext, the_general_recording):
            draw = np.random.default_rng(seed)
            xs, ys = ([_operand(draw, turn) for _ in range(length)] for _ in range(2))
            xs[0] = mg.Value(0.5)  # at least one that is recorded
            draw.shuffle(xs)
            with way():
                z = function(xs, ys)
            built.append([*(x for x in (*xs, *ys) if isinstance(x, mg.Value)), z])
        fast, plain = built
        assert fast[-1]._fast_backward()
        with the_general_walk():
            plain[-1].backward()
        assert_same(fast, plain)


def _operand(draw: np.random.Generator, turn: int) -> Any:
    """A Value, one that requires no gradient, or a constant; in the later turns at hard points too."""
    number = float(draw.choice(HARD)) if turn > 9 and draw.random() < 0.2 else float(draw.normal())
    choice = draw.random()
    if choice < 0.5:
        return mg.Value(number)
    if choice < 0.7:
        return mg.Value(number).detach()
    return number if choice < 0.9 else int(draw.integers(-3, 4))


def test_many_inputs_that_overflow() -> None:
    """An int beyond all floats goes by the general walk, forward and backward, and so do numbers of other kinds."""
    xs = [mg.Value(2.0), mg.Value(3.0)]
    for _ in range(20):
        assert mg.dot(xs, [1, 10**400]).item() == INF
        z = mg.dot(xs, [Fraction(1, 2), 1])
        assert z.item() == 4.0
    mg.dot(xs, [1.0, 10**400]).backward()
    assert (xs[0].grad, xs[1].grad) == (1.0, INF)


def test_an_emitted_dot_keeps_the_users_line() -> None:
    """The site of a node of many inputs is the line of the call, whichever code made it."""
    xs = [mg.Value(float(i)) for i in range(5)]
    sites = {mg.dot(xs, xs).site.line for _ in range(20)}
    here = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    assert sites == {here}


def test_the_order_by_marks_is_the_topological_order() -> None:
    """The quick order is that of `topological_order`: of short records and long ones, and of Tensors."""
    x, y, frozen = mg.Value(2.0), mg.Value(3.0), mg.Value(5.0).detach()
    shared = x * y + frozen
    with modes.recording(), mg.enable_grad():
        still = frozen * 2.0  # remembered though it has no gradient
    tensor = mg.stack([x, shared]) @ mg.Tensor([1.0, 2.0], requires_grad=True)
    for root in (x, shared, -shared, mg.dot([x, shared, 1.0], [2.0, y, shared]), shared * still, tensor, 1 / tensor):
        for _ in range(2):  # the marks of one pass are nothing to the next
            assert list(map(id, ordered(root))) == list(map(id, mg.topological_order(root)))


# ---------------------------------------------------------------------------------------------------- the short record


def test_the_short_record_reads_as_the_long_one() -> None:
    """An operator of Values records its inputs without a tuple; what is read of the node is the same."""
    x, y = mg.Value(2.0), mg.Value(3.0)
    for make in (lambda: x * y, lambda: x - 1, lambda: 2 / x, lambda: x.exp(), lambda: mg.dot([x], [y])):
        short = make()
        with the_general_recording(), mg.detect_anomaly():
            long = make()
        assert long._y.__class__ is dict
        for node in (short, long):
            assert (node.inputs, node.parameters) == (long.inputs, {})
        short.inputs = long.inputs
        assert short.inputs == long.inputs
        short.parameters = {"axis": 0}
        assert (short.inputs, short.parameters) == (long.inputs, {"axis": 0})


def chained(x: mg.Value, rounds: int) -> mg.Value:
    """Two operations a round."""
    z = x
    for _ in range(rounds):
        z = z * x + x
    return z


def test_a_node_is_one_object_for_the_collector() -> None:
    """Of at most 180 bytes, with its number and its line (28 more where the line is far down a long function)."""
    x = mg.Value(0.5)
    chained(x, 10)
    gc.collect()
    gc.disable()
    tracemalloc.start()
    try:
        before, size = len(gc.get_objects()), tracemalloc.get_traced_memory()[0]
        z = chained(x, 500)
        size = tracemalloc.get_traced_memory()[0] - size
        tracked = len(gc.get_objects()) - before
    finally:
        tracemalloc.stop()
        gc.enable()
    assert z.site is not None
    assert tracked <= 1010
    assert size / 1000 <= 180


# ------------------------------------------------------------------------------------- what the user's rules do


@pytest.mark.parametrize("below", ["plain", "hook", "handed out", "a Value", "written to", "two of them"])
def test_what_a_users_rule_does_in_a_pass_is_done_once(below: str) -> None:
    """Where a fast pass has to give way, it does so before a rule of the user's has run."""
    seen: list[str] = []

    class noted(mg.Rule):  # noqa: N801
        def value(x):  # type: ignore[no-untyped-def]
            return x * 1.0

        def wrt_x(g, z, x):  # type: ignore[no-untyped-def]
            seen.append("wrt_x")
            return g

    x, v = mg.Tensor([1.0, 2.0], requires_grad=True), mg.Value(3.0)
    h = x * 2
    y = mg.apply(noted, mg.stack([v, v]) + h if below == "a Value" else h)
    if below == "two of them":
        y = mg.apply(noted, y)
    loss = mg.sum(y * y)
    if below == "hook":
        h.register_hook(lambda g: None)
    if below == "handed out":
        assert x.data[0] == 1.0
    if below == "written to":
        x.data = [5.0, 6.0]
        with pytest.raises(mg.StaleError):
            loss.backward()
    else:
        loss.backward()
        assert x.grad.tolist() == [2 * 2 * (2 * a + 3 * (below == "a Value")) for a in (1.0, 2.0)]
    assert seen == ["wrt_x"] * (2 if below == "two of them" else 1)


@pytest.mark.parametrize("wrong", ["raises", "shape"])
def test_an_error_of_a_users_rule_comes_once_and_leaves_the_gradients(wrong: str) -> None:
    seen: list[str] = []

    class failing(mg.Rule):  # noqa: N801
        def value(x):  # type: ignore[no-untyped-def]
            return x * 1.0

        def wrt_x(g, z, x):  # type: ignore[no-untyped-def]
            seen.append("wrt_x")
            if wrong == "raises":
                raise RuntimeError("mine")
            return g[:1, None] * np.ones((1, 7))

    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    loss = mg.sum(mg.apply(failing, x * 2))
    with pytest.raises((RuntimeError, ValueError), match=r"mine|shape") as caught:
        loss.backward()
    assert seen == ["wrt_x"]
    assert x.grad is None
    assert loss.grad is None
    assert any("while differentiating" in note for note in caught.value.__notes__)


@pytest.mark.parametrize("what", ["hands out", "writes", "hooks"])
def test_a_users_rule_that_marks_a_node_in_the_midst_of_a_pass_runs_once(what: str) -> None:
    """The general walk goes on from there, and what was done stays done."""
    seen: list[str] = []
    leaf, other = mg.Tensor([1.0, 2.0], requires_grad=True), mg.Tensor([0.0])

    class busy(mg.Rule):  # noqa: N801
        def value(x):  # type: ignore[no-untyped-def]
            return x * 1.0

        def wrt_x(g, z, x):  # type: ignore[no-untyped-def]
            seen.append("wrt_x")
            if what == "hands out":
                assert leaf.data[0] == 1.0
            elif what == "writes":
                other.data = [len(seen)]
            else:
                h.register_hook(lambda gradient: gradient * 10.0)
            return g

    h = leaf * 2
    mg.sum(mg.apply(busy, h * h) + h).backward()
    assert seen == ["wrt_x"]
    assert leaf.grad.tolist() == [(8 * a + 2) * (10 if what == "hooks" else 1) for a in (1.0, 2.0)]


def test_what_a_signal_raises_ends_a_pass() -> None:
    """A time limit is the user's: it is not taken for something that the pass has met, and the pass not run again."""
    late = iter([True])

    def tracer(frame, event, argument):  # type: ignore[no-untyped-def]
        if frame.f_code.co_name == "backward_of_exp_of_arrays" and next(late, False):
            raise TimeoutError("late")

    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    loss = mg.sum(mg.exp(x))
    loss.backward()
    before = sys.getprofile()
    sys.setprofile(tracer)
    try:
        with pytest.raises(TimeoutError, match="late"):
            loss.backward()
    finally:
        sys.setprofile(before)
    assert x.grad.tolist() == np.exp([1.0, 2.0]).tolist()


@pytest.mark.parametrize("number", [0.0, np.inf, np.nan])
@pytest.mark.parametrize("product", [lambda x, w: x @ w.T, lambda x, w: mg.linear(x, w, np.zeros(len(w)))])
def test_a_product_with_one_number_leaves_nothing_out(number: float, product: Any) -> None:
    """0 inf is nan, whatever the shapes: NumPy's `dot` skips zeros where an operand holds one number."""
    for x, w in (([[number]], [[np.inf], [1.0], [0.0]]), ([[np.inf], [1.0], [0.0]], [[number]])):
        a, b = (mg.Tensor(given, requires_grad=True) for given in (x, w))
        z = product(a, b)
        mg.sum(z).backward()
        ones = np.ones((len(x), len(w)))
        with np.errstate(invalid="ignore"):
            np.testing.assert_array_equal(z._data, np.multiply(np.asarray(x), np.asarray(w).T))
            np.testing.assert_array_equal(a.grad, np.matmul(ones, np.asarray(w)))
            np.testing.assert_array_equal(b.grad, np.matmul(ones.T, np.asarray(x)))
