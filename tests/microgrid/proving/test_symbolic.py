"""Symbols through the engine, and the expression that a graph of numbers is."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import mpmath
import pytest
import sympy

import microgrid as mg
from microgrid.proving.exact import parts, rational


def test_names_as_sympy_has_them() -> None:
    """One name a Value, several a tuple; ranges too. Each holds a real symbol and bears its name."""
    x = mg.symbols("x")
    assert isinstance(x, mg.Value)
    assert (x.data, x.name, x.requires_grad, x.grad) == (sympy.Symbol("x", real=True), "x", True, 0.0)
    assert [v.name for v in mg.symbols("w b")] == ["w", "b"]
    assert [v.name for v in mg.symbols("w:3")] == ["w0", "w1", "w2"]
    assert [v.name for v in mg.symbols("w1:3(1:3)")] == ["w11", "w12", "w21", "w22"]
    assert mg.symbols("p", positive=True).data.is_positive
    assert not mg.symbols("x", requires_grad=False).requires_grad


@pytest.mark.parametrize(
    ("names", "words", "kind", "text"),
    [
        ("x", {"real": False}, ValueError, "are real"),
        ("x", {"commutative": False}, ValueError, "are real"),
        ("x", {"positiv": True}, TypeError, "positiv=True is no assumption"),
        ("x", {"positive": 1}, TypeError, "positive=1 is no assumption"),
        ("x", {"positive": True, "negative": True}, ValueError, "symbols: 'x'"),
        ("x", {"imaginary": True}, ValueError, "symbols: 'x'"),
        ("", {}, ValueError, "symbols: ''"),
    ],
    ids=str,
)
def test_names_and_assumptions_that_make_no_symbol(names: Any, words: Any, kind: Any, text: str) -> None:
    with pytest.raises(kind, match=text + r".*, at test_symbolic\.py"):
        mg.symbols(names, **words)


def test_numbers_among_symbols_stay_exact() -> None:
    """An int is an integer, a float the decimal that it prints as, in values, gradients and parameters."""
    x = mg.symbols("x", positive=True)
    half, tenth = x * 0.5, 0.1 * x * mg.Value(2.0)
    assert (half.data, tenth.data) == (x.data / 2, x.data / 5)
    assert mg.grad(x**2 * 0.1 + x * Fraction(1, 3), x) == (x.data / 5 + sympy.Rational(1, 3),)
    assert mg.leaky_relu(mg.symbols("n", negative=True)).data == sympy.Symbol("n", negative=True) / 100
    assert not (x * 0.1 + mg.exp(x * 0.25)).data.has(sympy.Float)
    (seeded,) = mg.grad(x * x, x, grad_outputs=sympy.Rational(1, 3))
    assert seeded == 2 * x.data / 3


@pytest.mark.parametrize(
    ("operation", "text"),
    [
        (lambda v: mg.relu(v), r"relu: has no meaning for a symbol of which it is not known whether x \+ 1 <= 0"),
        (lambda v: mg.maximum(v, 2), r"maximum: .*symbol.*x \+ 1 >= 2"),
        (lambda v: mg.clip(v, 0, 1), r"clip: .*symbol.*x \+ 1"),
        (lambda v: mg.index(v, 0), r".*: has no meaning for a symbol"),
        (lambda v: mg.matmul(v, v), r"matmul"),
        (lambda v: mg.stack([v, v]), r"stack: .*has no meaning for a symbol"),
        (lambda v: mg.sum(v), r".*: has no meaning for a symbol"),
        (lambda v: mg.softmax(v), r".*: has no meaning for a symbol"),
        (lambda v: mg.reshape(v, (1,)), r".*: has no meaning for a symbol"),
        (lambda v: v * mg.Tensor([1.0, 2.0]), r"multiply: .*a symbol and a Tensor do not mix"),
        (lambda v: mg.Tensor([v.data]), r"Tensor: expected real numbers, got dtype object"),
        (lambda v: v[0], r"indexing: has no meaning for a symbol, x \+ 1: it is one number"),
        (lambda v: v @ v, r"@: has no meaning for a symbol, x \+ 1"),
        (lambda v: 2 @ v, r"@: has no meaning for a symbol, x \+ 1"),
        (lambda v: v // 2, r"//: has no meaning for a symbol, x \+ 1"),
        (lambda v: v % 2, r"%: has no meaning for a symbol, x \+ 1"),
        (lambda v: round(v), r"round: has no meaning for a symbol, x \+ 1"),
        (lambda v: len(v), r"len: has no meaning for a symbol, x \+ 1"),
        (lambda v: [*v], r"iterating: has no meaning for a symbol, x \+ 1"),
        (lambda v: float(v), r"float: has no meaning for a symbol, x \+ 1: give its symbols numbers first"),
        (lambda v: int(v), r"int: has no meaning for a symbol, x \+ 1"),
        (lambda v: f"{v:.2f}", r"format '.2f': has no meaning for a symbol, x \+ 1"),
        (lambda v: mg.maximum(v, mg.symbols("y")), r"maximum: .*\(x \+ y \+ abs\(x - y\)\)/2"),
        (lambda v: mg.gradcheck(mg.sin, v), r"gradcheck: input 0 is a symbol, x \+ 1: differences need floats"),
        (lambda v: mg.Value(Fraction(1, 2)) * mg.Tensor([1.0]), r"multiply: .*a fraction and a Tensor do not mix"),
    ],
)
def test_operations_without_a_meaning_for_symbols(operation: Any, text: str) -> None:
    """A TypeError names both the operation and what it was given."""
    with pytest.raises(TypeError, match=text) as caught:
        operation(mg.symbols("x") + 1)
    assert "GeneralValue" not in str(caught.value)
    assert "test_symbolic.py:" in str(caught.value)


def test_exact_numbers_have_no_infinity() -> None:
    """The error names the operation, its numbers and the line; numbers that convert do so."""
    half = mg.Value(Fraction(1, 2)).requires_grad_(False)
    with pytest.raises(ZeroDivisionError, match=r"divide: 1/2, 0: .*a fraction has no infinity.*at test_symbolic\.py"):
        half / 0
    with pytest.raises(ZeroDivisionError, match=r"divide: 0\.5, 0: .*an mpmath number"):
        mg.Value(mpmath.mpf("0.5")) / 0
    assert (float(half), int(half), f"{mg.Value(mpmath.mpf('0.5')):}") == (0.5, 0, "Value(data=0.5, grad=0.0)")


def test_a_users_rule_on_symbols() -> None:
    """An own rule runs on symbols; what goes wrong in it is its own error."""

    class cube(mg.Rule):  # noqa: N801
        def value(x: Any) -> Any:
            return x * x * x

        def wrt_x(g: Any, z: Any, x: Any) -> Any:
            return g * (3 * x * x)

    class broken(mg.Rule):  # noqa: N801
        def value(x: Any) -> Any:
            return x.shape

        def wrt_x(g: Any, z: Any, x: Any) -> Any:
            return g

    x = mg.symbols("x")
    assert mg.grad(mg.apply(cube, x), x) == (3 * x.data**2,)
    with pytest.raises(AttributeError, match="shape"):
        mg.apply(broken, x)


# --------------------------------------------------------------------------------------------- graphs as expressions


def test_a_graph_of_floats_is_an_expression() -> None:
    """Named leaves are symbols, others their numbers; its derivative is the gradient of the graph, as a formula."""
    w, x = mg.Value(0.7, name="w"), mg.Value(2.0, name="x")
    loss = (mg.sigmoid(w * x + 0.5) - 1) ** 2 / 2
    e = mg.expression(loss)
    ws, xs = sympy.symbols("w x", real=True)
    assert mg.prove(e, (1 / (1 + sympy.exp(-(ws * xs + sympy.Rational(1, 2)))) - 1) ** 2 / 2)
    loss.backward()
    assert abs(float(e.diff(ws).subs({ws: 0.7, xs: 2})) - w.grad) < 1e-15
    assert mg.expression(w) == ws
    assert mg.expression(mg.Value(0.5)) == sympy.Rational(1, 2)
    assert mg.expression(mg.Value(Fraction(1, 3)) * 3) == 1
    assert mg.expression(mg.symbols("s") * 2) == 2 * sympy.Symbol("s", real=True)
    assert mg.expression(mg.Value(mpmath.mpf("0.25")) + w) == ws + sympy.Rational(1, 4)


def test_stable_forms_are_replayed_as_the_textbooks() -> None:
    z = mg.Value(3.0, name="z")
    assert mg.prove(mg.expression(mg.softplus(z)), mg.log(1 + mg.exp(mg.symbols("z"))))


def test_a_deep_graph() -> None:
    """Replaying is no recursion."""
    x = mg.Value(1.0, name="x")
    z = x
    for _ in range(3000):
        z = z + x
    assert mg.expression(z) == 3001 * sympy.Symbol("x", real=True)


def test_graphs_that_are_no_expression() -> None:
    """Errors: another type, arrays, a choice, and two leaves of one name."""
    w = mg.Value(0.5, name="w")
    with pytest.raises(TypeError, match=r"expression: expected a Value, got float, at test_symbolic"):
        mg.expression(0.5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="is a Tensor: a symbol stands for one number"):
        mg.expression(mg.Tensor([1.0], requires_grad=True).sum())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="relu: has no meaning for a symbol of which it is not known whether w <= 0"):
        mg.expression(mg.relu(w))
    with pytest.raises(ValueError, match="have the same name"):
        mg.expression(w * mg.Value(2.0, name="w"))
    assert mg.expression(w * w) == sympy.Symbol("w", real=True) ** 2


def shared(rounds: int) -> tuple[mg.Value, mg.Value]:
    """A graph of few nodes whose expression, written out, doubles with each round."""
    v = mg.Value(0.5, name="v")
    s = v
    for _ in range(rounds):
        s = s * mg.sigmoid(s)
    return v, s


def test_an_expression_that_is_too_large() -> None:
    """28 nodes are some ten thousands of parts, 80 would be 10^12: refused before SymPy begins to count them."""
    assert mg.expression(shared(10)[1]).has(sympy.exp)
    with pytest.raises(ValueError, match=r"expression: multiply made at .* more than 300000 parts.*test_symbolic"):
        mg.expression(shared(40)[1])


def test_floats_in_shared_parts_are_replaced_once() -> None:
    """The parts of an expression are looked at once each, though written out they were 2^200."""
    x = sympy.Symbol("x", real=True)
    e = x + 0.5
    for _ in range(200):
        e = sympy.Add(e, sympy.Mul(e, e, evaluate=False), evaluate=False)
    assert not any(isinstance(part, sympy.Float) for part in parts(rational(sympy.sin(x) + 0.25)))
    assert len(list(parts(e))) == 403
    assert not any(isinstance(part, sympy.Float) for part in parts(rational(e)))
