"""Shapes: broadcasting and its adjoint, axis arguments, and the slices of joined arrays.

What is here works through methods that ndarray and Tensor share (`reshape`, `sum`, indexing), so that rules
may use it on numbers and on nodes alike.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

__microgrid_machinery__ = True

Shape: TypeAlias = tuple[int, ...]
Axis: TypeAlias = int | tuple[int, ...] | None


def axes_of(ndim: int, axis: Axis) -> tuple[int, ...]:
    """The axes meant, as a tuple of numbers in 0..ndim-1, in the order given.

    Examples
    --------
    >>> axes_of(3, None), axes_of(3, -1), axes_of(3, (2, 0))
    ((0, 1, 2), (2,), (2, 0))
    """
    if axis is None or not ndim:  # a number without axes may be reduced over axis 0, as in NumPy and torch
        return tuple(range(ndim))
    return tuple(a % ndim for a in ((axis,) if isinstance(axis, int) else axis))


def count(x: Any, axis: Axis) -> int:
    """How many numbers of x each number of a reduction over axis was made from."""
    return x.size if axis is None else math.prod(x.shape[a] for a in axes_of(x.ndim, axis))


def freedom(x: Any, axis: Axis, correction: float) -> float:
    """The degrees of freedom of a variance over axis: the count less the correction, and not below 0."""
    return max(count(x, axis) - correction, 0)


def kept(g: Any, x: Any, axis: Axis) -> Any:
    """A reduction g of x over axis, with the axes that it lost put back as axes of length 1 (all of them: as none)."""
    if axis is None:
        return g
    gone = axes_of(x.ndim, axis)
    return g.reshape(tuple(1 if a in gone else n for a, n in enumerate(x.shape)))


def ties(equal: Any, axis: Axis) -> Any:
    """Each True's part where all that are True along axis share 1 equally."""
    return equal / equal.sum(axis=axis, keepdims=True)


def last(x: Any, axis: Axis) -> tuple[int, ...]:
    """The order of axes that moves those of a reduction to the end."""
    moved = axes_of(x.ndim, axis)
    return tuple(a for a in range(x.ndim) if a not in moved) + moved


def inverse(axes: Sequence[int]) -> tuple[int, ...]:
    """The permutation that undoes a permutation of axes."""
    return tuple(sorted(range(len(axes)), key=axes.__getitem__))


def ones(x: Any) -> Any:
    """A constant array of ones, shaped and typed as x."""
    return np.ones(x.shape, x.dtype)


def matrices(g: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """The gradient and the operands of x @ y with every vector written as the matrix it stands for."""
    if y.ndim == 1:
        g, y = g.reshape((*g.shape, 1)), y.reshape((*y.shape, 1))
    if x.ndim == 1:
        g, x = g.reshape((*g.shape[:-1], 1, g.shape[-1])), x.reshape((1, *x.shape))
    return g, x, y


def rows(x: Any) -> Any:
    """All vectors along the last axis of x as the rows of one matrix."""
    return x if x.ndim == 2 else x.reshape((math.prod(x.shape[:-1]), x.shape[-1]))


def pieces(xs: Sequence[Any], axis: int) -> list[tuple[slice, ...]]:
    """Where each array stands in their concatenation along axis."""
    axis, start, places = axis % xs[0].ndim, 0, []
    for x in xs:
        places.append((slice(None),) * axis + (slice(start, start + x.shape[axis]),))
        start += x.shape[axis]
    return places


def slots(xs: Sequence[Any], axis: int) -> list[tuple[slice | int, ...]]:
    """Where each array stands in their stack along a new axis."""
    ndim = getattr(xs[0], "ndim", 0) + 1
    return [(slice(None),) * (axis % ndim) + (i,) for i in range(len(xs))]


def einsum_adjoints(einsum: Callable[..., Any], g: Any, xs: Sequence[Any], subscripts: str) -> list[Any]:
    """The share of each operand of an einsum: the einsum of g with the others, indexed as that operand.

    An index that stands in one operand alone was summed over by itself: its share is the same at each place
    of that axis, so the operand is multiplied in again as ones.
    """
    terms, result = subscripts.split("->")
    operands = terms.split(",")
    shares = []
    for i, (x, own) in enumerate(zip(xs, operands, strict=True)):
        others = [(term, other) for j, (term, other) in enumerate(zip(operands, xs, strict=True)) if j != i]
        named = result + "".join(term for term, _ in others)
        alone = "".join(letter for letter in own if letter not in named)
        spread = [(alone, np.ones([x.shape[own.index(a)] for a in alone], x.dtype))] if alone else []
        written = ",".join([result, *(term for term, _ in others + spread)])
        shares.append(einsum(g, *(y for _, y in others + spread), subscripts=f"{written}->{own}"))
    return shares


def unbroadcast(x: Any, shape: Shape) -> Any:
    """x, which broadcasting made from an array of the given shape or which broadcasts to it, fitted to that shape.

    Raises
    ------
    ValueError
        Where no broadcasting connects the two shapes.

    Examples
    --------
    >>> unbroadcast(np.ones((4, 3)), (3,)).tolist()
    [4.0, 4.0, 4.0]
    """
    extra = x.ndim - len(shape)
    if extra > 0:
        x = _summed(x, extra)
    if x.shape == shape:
        return x
    shrunk = tuple(a for a, n in enumerate(shape[len(shape) - x.ndim :]) if n == 1 and x.shape[a] != 1)
    if shrunk:
        x = x.sum(axis=shrunk, keepdims=True)
        if x.shape == shape:
            return x
    return filled(shape, x.dtype, x)


def filled(shape: Shape, dtype: Any, x: Any) -> Any:
    """A new array of a number, or of an array repeated."""
    spread = np.empty(shape, dtype)  # np.full and np.broadcast_to take several times as long
    spread[...] = x
    return spread


_row_of_ones = functools.lru_cache(maxsize=16)(np.ones)


def _summed(x: Any, axes: int) -> Any:
    """The sum over the first axes."""
    # a row of ones through BLAS is several times quicker than NumPy's sum over the samples of a batch
    if axes == 1 and x.ndim == 2 and x.dtype.kind == "f" and len(x):
        return _row_of_ones(len(x), x.dtype).dot(x)
    return np.asarray(np.add.reduce(x, tuple(range(axes))))  # of all axes it is a scalar
