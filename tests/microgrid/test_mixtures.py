"""Inputs of different kinds in one rule: Values with Tensors, single with double precision, whole numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import microgrid as mg
from microgrid import rules
from tests.microgrid.checking import EXACT, SINGLE, close, complex_step, formula_of, gradients, numbers, weights
from tests.microgrid.families import Case
from tests.microgrid.table import ROW_OF, ROWS, Row

OF_TWO = [row for row in ROWS if row.family.scalars == 2 and row.rule is not rules.where]
MANY = [row for row in ROWS if len(row.rule.inputs) > 1 or row.rule.variadic]


@pytest.mark.parametrize("value_first", [True, False])
@pytest.mark.parametrize("row", OF_TWO, ids=repr)
def test_a_value_with_a_tensor(row: Row, value_first: bool) -> None:
    """The result is a Tensor; the Value's gradient is a float, the sum over all places; second order the same."""
    case = Case(((), (2, 3)) if value_first else ((2, 3), ()))
    xs = numbers(row, case)
    nodes: list[Any] = [mg.Tensor(x, requires_grad=True) if x.ndim else mg.Value(float(x)) for x in xs]
    z = row.rule(*nodes)
    assert isinstance(z, mg.Tensor)
    g = weights((2, 3), 0)
    expected = gradients(complex_step, formula_of(row, case), xs, g, (0, 1))
    for given in (mg.grad(z, nodes, grad_outputs=g), mg.grad(z, nodes, grad_outputs=g, create_graph=True)):
        for node, gradient, exact in zip(nodes, given, expected, strict=True):
            assert type(gradient) is float or not isinstance(node, mg.Value) or isinstance(gradient, mg.Node)
            close(np.asarray(getattr(gradient, "_data", gradient)), exact, EXACT)
    s, tensors = mg.sum([mg.sum(share) for share in given]), [mg.Tensor(x, requires_grad=True) for x in xs]
    t = mg.sum([mg.sum(share) for share in mg.grad(row.rule(*tensors), tensors, grad_outputs=g, create_graph=True)])
    if s.requires_grad:
        for one, other in zip(
            mg.grad(s, nodes, allow_unused=True), mg.grad(t, tensors, allow_unused=True), strict=True
        ):
            close(0.0 if one is None else one, np.zeros(()) if other is None else other, EXACT)


@pytest.mark.parametrize("row", MANY, ids=repr)
def test_single_with_double_precision(row: Row) -> None:
    """The value is in double precision, each gradient in its input's own, recorded or not."""
    for case in row.family.fixed:
        shaped = [i for i, x in enumerate(case.inputs) if isinstance(x, tuple)]
        if len(shaped) < 2:
            continue
        xs = numbers(row, case, 0, np.float32)
        dtypes = {position: (np.float32, np.float64)[place % 2] for place, position in enumerate(shaped)}
        nodes = [mg.Tensor(x, True, dtypes[i]) if i in dtypes else x for i, x in enumerate(xs)]
        variables = [nodes[i] for i in shaped]
        z = row.rule(*nodes, **case.parameters)
        assert z.dtype == np.float64
        g = weights(z.shape, 0)
        plain = [x.astype(float) if i in dtypes else x for i, x in enumerate(xs)]
        expected = gradients(complex_step, formula_of(row, case), plain, g, shaped)
        for given in (mg.grad(z, variables, grad_outputs=g), mg.grad(z, variables, grad_outputs=g, create_graph=True)):
            for node, gradient, exact in zip(variables, given, expected, strict=True):
                assert gradient.dtype == node.dtype
                close(getattr(gradient, "_data", gradient), exact, SINGLE, f"{row}{case}")


@pytest.mark.parametrize(
    "row", [row for row in OF_TWO if row.rule is not rules.binary_cross_entropy_with_logits], ids=repr
)
@pytest.mark.parametrize("position", [0, 1])
def test_whole_numbers_as_constants(row: Row, position: int) -> None:
    """An int, or an array of integers, on either side: the same numbers as its floats give."""
    x = mg.Tensor([0.75, 1.25, 2.5], requires_grad=True)
    for whole in (2, np.array([1, 2, 3]), np.int64(2), np.array([True, False, True])):
        floats = np.asarray(whole, float)
        given, expected = (row.rule(*((x, other) if position == 0 else (other, x))) for other in (whole, floats))
        np.testing.assert_allclose(given._data, expected._data, rtol=1e-14)
        np.testing.assert_allclose(*(mg.grad(z, x, grad_outputs=np.ones(3))[0] for z in (given, expected)), rtol=1e-14)


def test_values_become_a_tensor() -> None:
    """Values stacked (and nested lists of them) hand each its own share; constants among them take none."""
    x, y = mg.Value(2.0), mg.Value(-3.0)
    z = mg.stack([x, y, 4.0, x])
    (z * np.array([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert (x.grad, y.grad) == (1001.0, 10.0)
    w = mg.multiply([[x, 1.0], [y, x]], np.array([[1.0, 2.0], [3.0, 4.0]]))
    assert w.shape == (2, 2)
    assert mg.grad(w.sum(), (x, y)) == (5.0, 3.0)


def test_sums_and_products_of_many_values_are_one_node() -> None:
    """`sum` and `dot` of Values and numbers: every share, also of a Value that stands there several times."""
    x, y = mg.Value(2.0), mg.Value(-3.0)
    z = mg.sum([x, 1.0, y, x, 5])
    assert (z.data, len(z.inputs), mg.grad(z, (x, y))) == (7.0, 5, (2.0, 1.0))
    z = mg.dot([x, y, x], [x, 2.0, y])
    assert (z.data, len(z.inputs), mg.grad(z, (x, y))) == (4.0 - 6.0 - 6.0, 6, (2 * 2.0 - 3.0, 2.0 + 2.0))
    (first,) = mg.grad(z, x, create_graph=True)
    assert mg.grad(first, (x, y)) == (2.0, 1.0)


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk", ((2, 3), (3, 2))), ("...ij,...jk->...ik", ((4, 2, 3), (3, 2))),
        ("...ij,...jk", ((2, 1, 2, 3), (3, 3, 2))), ("...i,...i", ((2, 3), (3,))), ("i...->...", ((2, 3),)),
        ("...", ((2, 3),)),
        ("ba", ((2, 3),)), ("i , j -> j i", ((2,), (3,))), ("...,i", ((2,), (3,))),
    ],
)  # fmt: skip
def test_einsum_as_numpy_writes_it(subscripts: str, shapes: Any) -> None:
    """With `...`, with spaces and without a result written out, the value is NumPy's and the gradients are its own."""
    row = ROW_OF[rules.einsum]
    xs = numbers(row, Case(shapes))
    nodes = [mg.Tensor(x, requires_grad=True) for x in xs]
    z = mg.einsum(subscripts, *nodes)
    close(z._data, np.einsum(subscripts, *xs), EXACT)
    g = weights(z.shape, 0)
    exact = gradients(complex_step, lambda *moved: np.einsum(subscripts, *moved), xs, g, range(len(xs)))
    for gradient, expected in zip(mg.grad(z, nodes, grad_outputs=g), exact, strict=True):
        close(gradient, expected, EXACT)


def test_strided_and_reversed_arrays() -> None:
    """Rules of arrays do not care how an array lies in memory."""
    base = np.arange(1.0, 25.0).reshape(4, 6)
    for view in (base.T, base[::-1, ::2], np.asfortranarray(base), np.broadcast_to(base[0], (3, 6))):
        for row in ROWS:
            if row.family.scalars == 1 or row.rule.__name__ in ("sum", "max", "norm", "std", "prod", "logsumexp"):
                parameters = (
                    {"axis": 0, "keepdims": False, "correction": 1}
                    if not row.family.scalars
                    else dict(row.family.fixed[0].parameters)
                )
                chosen = {name: parameters[name] for name in row.rule.parameters}
                x, y = (mg.Tensor(array, requires_grad=True) for array in (view / 24, np.array(view / 24, order="C")))
                pair = [
                    (z._data, mg.grad(z, node, grad_outputs=np.ones(z.shape))[0])
                    for node in (x, y)
                    for z in [row.rule(node, **chosen)]
                ]
                close(pair[0][0], pair[1][0], EXACT)
                close(pair[0][1], pair[1][1], EXACT)
