"""Broadcasting and its adjoint, axes, and the slices of joined arrays."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings, strategies as st

import microgrid as mg
from microgrid import rules, shapes
from tests.microgrid.checking import EXACT, close
from tests.microgrid.families import CONTRACTIONS, axes, broadcast_shapes, contraction, shapes as any_shape

SEEDS = st.integers(0, 2**16)


def normal(shape: tuple[int, ...], seed: int, dtype: Any = float) -> Any:
    return np.asarray(np.random.default_rng(seed).normal(size=shape)).astype(dtype)


# ------------------------------------------------------------------------------------------------ un-broadcasting


@given(broadcast_shapes(2), SEEDS)
def test_unbroadcast_is_the_adjoint_of_broadcasting(two: tuple[tuple[int, ...], ...], seed: int) -> None:
    """<broadcast x, g> = <x, unbroadcast g> for all x and g."""
    small, large = two[0], np.broadcast_shapes(*two)
    x, g = normal(small, seed), normal(large, seed + 1)
    back = shapes.unbroadcast(g, small)
    assert back.shape == small
    close((np.broadcast_to(x, large) * g).sum(), (x * back).sum(), EXACT)


@given(broadcast_shapes(2), SEEDS)
def test_unbroadcast_spreads_what_is_smaller(two: tuple[tuple[int, ...], ...], seed: int) -> None:
    """What broadcasts to the shape is broadcast to it, and what has it stays as it is."""
    small, large = two[0], np.broadcast_shapes(*two)
    x = normal(small, seed)
    assert np.array_equal(shapes.unbroadcast(x, large), np.broadcast_to(x, large))
    assert np.array_equal(shapes.unbroadcast(x, small), x)


@given(any_shape(), any_shape(), SEEDS)
def test_unbroadcast_refuses_shapes_that_do_not_broadcast(a: tuple[int, ...], b: tuple[int, ...], seed: int) -> None:
    """Where neither shape was broadcast from the other, nothing is fitted silently."""

    def spreads(small: tuple[int, ...], large: tuple[int, ...]) -> bool:
        pairs = zip(small[::-1], large[::-1], strict=False)
        return len(small) <= len(large) and all(m in (1, n) for m, n in pairs)

    pairs = list(zip(a[::-1], b[::-1], strict=False))
    assume(any(m != n and 1 not in (m, n) for m, n in pairs))
    assert not spreads(a, b)
    with pytest.raises(ValueError):
        shapes.unbroadcast(normal(a, seed), b)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("large", "small"),
    [
        ((5, 3), (3,)),
        ((5, 3), ()),
        ((5, 3), (1, 3)),
        ((5, 3), (5, 1)),
        ((2, 5, 3), (3,)),
        ((0, 3), (3,)),
        ((4, 0), (0,)),
    ],
)
def test_unbroadcast_keeps_the_precision(large: Any, small: Any, dtype: Any) -> None:
    assert shapes.unbroadcast(np.ones(large, dtype), small).dtype == dtype


def test_a_sum_over_samples_lets_no_nan_through_from_a_neighbour() -> None:
    """The sum over rows goes through a matrix product: nan and inf stay in their own column."""
    x = np.array([[1.0, np.nan, np.inf], [2.0, 1.0, 1.0]])
    np.testing.assert_equal(shapes.unbroadcast(x, (3,)), [3.0, np.nan, np.inf])


@given(broadcast_shapes(2), SEEDS, st.booleans())
def test_a_gradient_has_the_shape_of_what_was_broadcast(
    two: tuple[tuple[int, ...], ...], seed: int, recorded: bool
) -> None:
    """x + y, whatever was repeated, first order and second: both gradients have their input's shape."""
    x, y = (mg.Tensor(normal(shape, seed), requires_grad=True) for shape in two)
    z = x * y
    for node, share in zip(
        (x, y), mg.grad(z, (x, y), grad_outputs=np.ones(z.shape), create_graph=recorded), strict=True
    ):
        assert share.shape == node.shape


# ----------------------------------------------------------------------------------------------------------- axes


@given(st.data(), any_shape())
def test_axes_are_those_of_numpy(data: st.DataObject, shape: tuple[int, ...]) -> None:
    """`count` numbers go into each of a reduction; `kept` puts its axes back as those of length 1."""
    axis = data.draw(axes(len(shape)))
    x = np.ones(shape)
    reduced, in_place = x.sum(axis=axis), x.sum(axis=axis, keepdims=True)
    kept = shapes.kept(np.asarray(reduced), x, axis)
    assert kept.shape == (() if axis is None else in_place.shape)  # no axes at all broadcast as well
    assert (in_place == shapes.count(x, axis)).all()
    chosen = shapes.axes_of(len(shape), axis)
    assert len(set(chosen)) == len(chosen)
    assert all(0 <= a < len(shape) for a in chosen)


@given(st.data(), any_shape(), SEEDS)
def test_ties_are_shares_of_one(data: st.DataObject, shape: tuple[int, ...], seed: int) -> None:
    """Among the Trues along an axis each has an equal part, and together they have 1."""
    axis = data.draw(axes(len(shape)))
    assume(shapes.count(np.empty(shape), axis))
    x = np.random.default_rng(seed).integers(0, 2, shape)
    parts = np.asarray(shapes.ties(x == x.max(axis=axis, keepdims=True), axis))
    np.testing.assert_allclose(parts.sum(axis=axis), 1)
    assert ((parts > 0) == (x == x.max(axis=axis, keepdims=True))).all()


@given(st.data(), any_shape())
def test_permutations_are_undone(data: st.DataObject, shape: tuple[int, ...]) -> None:
    """`inverse` undoes an order of axes, and `last` moves those of a reduction to the end, the others in order."""
    order = tuple(data.draw(st.permutations(range(len(shape)))))
    x = np.arange(math.prod(shape)).reshape(shape)
    assert np.array_equal(x.transpose(order).transpose(shapes.inverse(order)), x)
    axis = data.draw(axes(len(shape)))
    moved = shapes.axes_of(len(shape), axis)
    assert sorted(shapes.last(x, axis)) == list(range(len(shape)))
    assert shapes.last(x, axis)[len(shape) - len(moved) :] == moved
    assert list(shapes.last(x, axis)[: len(shape) - len(moved)]) == sorted(set(range(len(shape))) - set(moved))


# --------------------------------------------------------------------------------------------------- joined arrays


@given(st.data(), any_shape(least=1), SEEDS)
def test_pieces_find_what_was_concatenated(data: st.DataObject, shape: tuple[int, ...], seed: int) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    lengths = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    xs = [normal((*shape[: axis % len(shape)], n, *shape[axis % len(shape) + 1 :]), seed + n) for n in lengths]
    z = np.concatenate(xs, axis)
    for x, at in zip(xs, shapes.pieces(xs, axis), strict=True):
        assert np.array_equal(z[at], x)


@given(st.data(), any_shape(), st.integers(1, 4))
def test_slots_find_what_was_stacked(data: st.DataObject, shape: tuple[int, ...], n: int) -> None:
    axis = data.draw(st.integers(-len(shape) - 1, len(shape)))
    xs = [normal(shape, seed) for seed in range(n)]
    z = np.stack(xs, axis)
    for x, at in zip(xs, shapes.slots(xs, axis), strict=True):
        assert np.array_equal(z[at], x)


# --------------------------------------------------------------------------------------------------------- einsum


@settings(max_examples=60)
@given(st.sampled_from(CONTRACTIONS), st.lists(st.integers(0, 3), min_size=5, max_size=5), SEEDS)
def test_the_shares_of_an_einsum_are_its_adjoints(subscripts: str, lengths: list[int], seed: int) -> None:
    """An einsum is linear in each operand x: <g, einsum(..., x, ...)> = <x, share of x>, for all g and x."""
    case = contraction(subscripts, lengths)
    xs = [normal(shape, seed + i) for i, shape in enumerate(case.inputs)]
    z = np.asarray(np.einsum(subscripts, *xs))
    g = normal(z.shape, seed + 9)
    for x, share in zip(xs, shapes.einsum_adjoints(rules.einsum, g, xs, subscripts), strict=True):
        assert share.shape == x.shape
        close((x * share).sum(), (g * z).sum(), EXACT)


# --------------------------------------------------------------------------------------- what the rules themselves use


@given(st.data(), any_shape(), SEEDS)
def test_products_of_the_others(data: st.DataObject, shape: tuple[int, ...], seed: int) -> None:
    """For each number the product of the others along the axes, also where some are 0."""
    axis = data.draw(axes(len(shape)))
    x = np.random.default_rng(seed).integers(-2, 3, shape).astype(float)
    chosen = shapes.axes_of(len(shape), axis)
    expected = np.empty(shape)
    for place in np.ndindex(shape):
        row = [place[a] if a not in chosen else slice(None) for a in range(len(shape))]
        along = np.array(x[tuple(row)])
        along[tuple(place[a] for a in sorted(chosen))] = 1
        expected[place] = along.prod()
    assert np.array_equal(np.asarray(rules.others(x, axis)), expected)


@given(st.integers(0, 3), st.integers(0, 17), SEEDS)
def test_products_before(rows: int, n: int, seed: int) -> None:
    """In each row the product of all that stands before, 1 for the first; by doubling, at every length."""
    x = np.random.default_rng(seed).integers(-1, 3, (rows, n)).astype(float)
    expected = np.array([[row[:i].prod() for i in range(n)] for row in x]).reshape(rows, n)
    assert np.array_equal(rules.products_before(x), expected)


@given(broadcast_shapes(2), st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), SEEDS)
def test_operands_written_as_matrices(batch: Any, m: int, n: int, p: int, seed: int) -> None:
    """A vector x is a row and a vector y a column: the product of the matrices is x @ y with those axes put back."""
    for x_shape, y_shape in [
        ((*batch[0], m, n), (*batch[1], n, p)),
        ((n,), (*batch[1], n, p)),
        ((*batch[0], m, n), (n,)),
        ((n,), (n,)),
    ]:
        x, y = normal(x_shape, seed), normal(y_shape, seed + 1)
        z = np.asarray(x @ y)
        g, X, Y = shapes.matrices(z, x, y)
        close(X @ Y, g, EXACT)
