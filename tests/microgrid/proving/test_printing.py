"""Formulas: what is printed is the function that was computed, with no bracket too few."""

from __future__ import annotations

import tracemalloc
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings, strategies as st

import microgrid as mg

w, x, b = mg.Value(0.5, name="w"), mg.Value(2.0, name="x"), mg.Value(1.0, name="b")
TABLE: list[tuple[Any, str, str]] = [
    (mg.sigmoid(w * x + b), "sigmoid(w*x + b)", r"\sigma\left(w x + b\right)"),
    (w - (x - b), "w - (x - b)", r"w - \left(x - b\right)"),
    (w / (x / b), "w/(x/b)", r"\frac{w}{\frac{x}{b}}"),
    (w * (x / b), "w*(x/b)", r"w \frac{x}{b}"),
    ((w + x) * b, "(w + x)*b", r"\left(w + x\right) b"),
    (-(w + x), "-(w + x)", r"-\left(w + x\right)"),
    ((-w) ** 2, "(-w)**2", r"\left(-w\right)^{2}"),
    (-(w**2), "-w**2", r"-w^{2}"),
    ((w**x) ** b, "(w**x)**b", r"\left(w^{x}\right)^{b}"),
    (w ** (x + b), "w**(x + b)", r"w^{x + b}"),
    (2 * w, "2*w", "2 w"),
    ((w / x) ** 2, "(w/x)**2", r"\left(\frac{w}{x}\right)^{2}"),
    (w + -3.5, "w + (-3.5)", r"w + \left(-3.5\right)"),
    (mg.log(mg.exp(w)), "log(exp(w))", r"\ln\left(e^{w}\right)"),
    (mg.sqrt(abs(w)), "sqrt(abs(w))", r"\sqrt{\left|w\right|}"),
    (mg.leaky_relu(w), "leaky_relu(w, negative_slope=0.01)", r"\operatorname{leaky\_relu}(w, negative\_slope=0.01)"),
    (mg.maximum(w, 0), "maximum(w, 0)", r"\max\left(w, 0\right)"),
    (mg.square(w + x), "(w + x)**2", r"\left(w + x\right)^{2}"),
    (mg.symbols("t") ** 2 / 3, "t**2/3", r"\frac{t^{2}}{3}"),
    (sympy.log(sympy.Symbol("u")), "log(u)", r"\ln{\left(u \right)}"),
    (Fraction(-1, 3), "-1/3", r"-\frac{1}{3}"), (Fraction(4), "4", "4"), (np.float64(2.5), "2.5", "2.5"),
    (np.int64(3), "3", "3"), (mpmath.mpf("0.5"), "0.5", "0.5"),
    (mg.sum(mg.Tensor([1.0, 2.0], requires_grad=True)), "sum(array(2))", r"\operatorname{sum}(array(2))"),
    (3.0, "3", "3"), (2, "2", "2"), (mg.Value(0.5), "0.5", "0.5"),
]  # fmt: skip


@pytest.mark.parametrize(("node", "text", "latex"), TABLE, ids=[row[1] for row in TABLE])
def test_formulas(node: Any, text: str, latex: str) -> None:
    assert (mg.formula(node), mg.latex(node)) == (text, latex)


def test_names_in_latex() -> None:
    """Greek letters, indices and words."""
    for name, expected in {
        "delta2": r"\delta_{2}", "W_1": "W_{1}", "z": "z", "loss": r"\mathrm{loss}", "w11": "w_{11}", "eta": r"\eta",
    }.items():  # fmt: skip
        assert mg.latex(mg.Value(1.0, name=name)) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a b", r"\mathrm{a\ b}"), ("x%y", r"\mathrm{x\%y}"), ("x#", r"\mathrm{x\#}"), ("a&b", r"\mathrm{a\&b}"),
        ("$x$", r"\mathrm{\$x\$}"), ("A^{[1]}", r"\mathrm{A\wedge{}\{[1]\}}"), ("x~", r"\mathrm{x\sim{}}"),
        (r"\input{f}", r"\mathrm{\backslash{}input\{f\}}"), ("_", r"\mathrm{\_}"), ("w_1_2", "w_{1,2}"),
        ("x__1", r"\mathrm{x\_\_1}"), ("delta_l", r"\delta_{l}"),
    ],
)  # fmt: skip
def test_names_are_escaped_and_the_same_everywhere(name: str, expected: str) -> None:
    """A name is text, not LaTeX: in a graph, in an expression of symbols and in a derivation."""
    v = mg.Value(0.5, name=name)
    assert mg.latex(v) == mg.latex(sympy.Symbol(name, real=True)) == expected
    assert rf"\frac{{d C}}{{d {expected}}}" in mg.derive(mg.sin(v), v).latex()


def test_deep_graphs_take_no_memory_of_their_square() -> None:
    """Refused at once, or written with the pieces alone that are still needed."""
    z = deep = mg.Value(0.5, name="x")
    for _ in range(10_000):
        z = z + w
    for _ in range(100_001):
        deep = deep + w
    for print_it in (mg.formula, mg.latex):
        tracemalloc.start()
        try:
            assert len(print_it(z)) == 40_001
            with pytest.raises(ValueError, match=r"longer than 100000 letters, at test_printing\.py"):
                print_it(deep)
            assert tracemalloc.get_traced_memory()[1] < 60_000_000
        finally:
            tracemalloc.stop()


def test_arrays_print_by_their_names() -> None:
    X, W = mg.Tensor([[1.0, 2.0]]), mg.Tensor([[1.0], [2.0]], requires_grad=True)
    X.name, W.name = "X", "W"
    assert mg.formula(mg.sigmoid(W * 2)) == "sigmoid(W*2)"
    assert "W" in mg.latex(X @ W)


ATOMS = st.sampled_from(["w", "x", "b", "2", "0.5"])


@settings(max_examples=80, deadline=None)
@given(
    st.recursive(
        ATOMS,
        lambda inner: st.one_of(
            st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "**"]), inner).map(
                lambda e: f"({e[0]} {e[1]} {e[2]})"
            ),
            inner.map(lambda e: f"(-{e})"),
            inner.map(lambda e: f"exp({e})"),
        ),
        max_leaves=7,
    )
)
def test_the_text_is_the_graph(source: str) -> None:
    """Python reads the text back as the same computation: the same number to the bit."""
    names = {"w": w, "x": x, "b": b, "exp": mg.exp}
    node = eval(source, names)
    if not isinstance(node, mg.Value):
        return
    again = eval(mg.formula(node), names)
    assert repr(getattr(again, "data", again)) == repr(node.data)


def test_what_has_no_formula() -> None:
    with pytest.raises(TypeError, match=r"formula: expected .* got str, at test_printing\.py"):
        mg.formula("x")
    with pytest.raises(TypeError, match=r"latex: expected .* got bool"):
        mg.latex(True)
    z = w
    for _ in range(40):
        z = z * z
    with pytest.raises(ValueError, match="longer than 100000 letters"):
        mg.formula(z)
