"""The test table: a row for each rule, with the function itself written out by other means.

    m       a library: NumPy, mpmath, SymPy, HIPS autograd         x, y, W, b, xs    the inputs, numbers or arrays of m

A formula here is what the mathematics means, not what `rules.py` says: textbook's forms, without a `wrt_*`, without
a rule, without a comparison, so that it can be differentiated by a complex step too: |x| is (x^2)^(1/2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from microgrid import rules
from microgrid.rule import Rule
from tests.microgrid.families import (
    ADD_ALONG,
    CHOICE,
    CONCATENATE,
    EINSUM,
    INDEX,
    LINEAR,
    MATMUL,
    PRECISION,
    RESHAPE,
    SCATTER,
    SPREAD,
    STACK,
    SUMMED,
    TAKE_ALONG,
    TOGETHER,
    TRANSPOSE,
    Case,
    Family,
    along_axis,
    elementwise,
    reduction,
    several,
)  # fmt: skip

Interval = tuple[float, float]


class Row(NamedTuple):
    rule: type[Rule]
    formula: Callable[..., Any]  # formula(m, *inputs, **parameters)
    family: Family  # what it is tried on
    domain: tuple[Interval, ...]  # of each input; the last one's of all that follow
    kinks: tuple[float, ...] = ()  # where no derivative exists; equal inputs are never tried

    def __repr__(self) -> str:
        return self.rule.__name__


ALL: Interval = (-2.5, 2.5)
POSITIVE: Interval = (0.3, 3.0)


def row(
    rule: type[Rule], family: Family, formula: Callable[..., Any], *domain: Interval, kinks: tuple[float, ...] = ()
) -> Row:
    return Row(rule, formula, family, domain or (ALL,), kinks)


# ---------------------------------------------------------------------------------------- what formulas are written in


def modulus(m: Any, x: Any) -> Any:
    return m.sqrt(x * x)


def length(x: Any, axis: Any) -> int:
    """How many numbers a reduction over axis takes together."""
    chosen = range(x.ndim) if axis is None or not x.ndim else (axis,) if isinstance(axis, int) else axis
    return math.prod(x.shape[a] for a in chosen)


def extreme(m: Any, x: Any, best: Any, axis: Any, keepdims: bool) -> Any:
    """The mean of those numbers that are the best: a sum, so that no number is compared on the way."""
    chosen = np.real(getattr(x, "_value", x)) == best(np.real(getattr(x, "_value", x)), axis=axis, keepdims=True)
    return m.sum(x * chosen, axis=axis, keepdims=keepdims) / np.sum(chosen, axis=axis, keepdims=keepdims)


def deviation(m: Any, x: Any, axis: Any, correction: int, keepdims: bool) -> Any:
    n = length(x, axis)
    middle = m.sum(x, axis=axis, keepdims=True) / n
    return m.sqrt(m.sum((x - middle) ** 2, axis=axis, keepdims=keepdims) / (n - correction))


def sent(m: Any, x: Any, places: Any, shape: tuple[int, ...]) -> Any:
    """Each number of x at its place (counted in rows of the shape), as a product with a matrix of zeros and ones."""
    size = math.prod(shape)
    one_at = np.equal.outer(np.ravel(places), np.arange(size)).astype(float)
    return m.reshape(m.reshape(x, (-1,)) @ one_at if np.size(places) else np.zeros(size), shape)


def numbered(shape: tuple[int, ...]) -> Any:
    return np.arange(math.prod(shape)).reshape(shape)


def chosen(shape: tuple[int, ...], i: Any, axis: int) -> Any:
    return np.take_along_axis(numbered(shape), i, axis)


def spread(m: Any, x: Any, shape: tuple[int, ...]) -> Any:
    return x + np.zeros(shape)


def summed(m: Any, x: Any, shape: tuple[int, ...]) -> Any:
    extra = x.ndim - len(shape)
    x = m.sum(x, axis=tuple(range(extra)))
    return m.sum(x, axis=tuple(a for a, n in enumerate(shape) if n == 1), keepdims=True)


def lower(n: int) -> Any:
    return np.tril(np.ones((n, n)))


def running(m: Any, x: Any, axis: int) -> Any:
    """Running sums, as the product with a triangle of ones."""
    return m.swapaxes(m.swapaxes(x, axis, -1) @ lower(x.shape[axis]).T, axis, -1) if x.ndim else x


def cut(at: Any, axis: int, ndim: int) -> tuple[Any, ...]:
    return (slice(None),) * (axis % ndim) + (at,)


# ------------------------------------------------------------------------------------------------------------ the rows

ROWS = (
    # arithmetic
    row(rules.add,              elementwise(2),     lambda m, x, y: x + y),
    row(rules.subtract,         elementwise(2),     lambda m, x, y: x - y),
    row(rules.multiply,         elementwise(2),     lambda m, x, y: x * y),
    row(rules.divide,           elementwise(2),     lambda m, x, y: x / y,                                  ALL, POSITIVE),
    row(rules.negative,         elementwise(1),     lambda m, x: 0 - x),
    row(rules.positive,         elementwise(1),     lambda m, x: 1 * x),
    row(rules.power,            elementwise(2),     lambda m, x, y: m.exp(y * m.log(x)),                    POSITIVE, (-2, 3)),
    row(rules.square,           elementwise(1),     lambda m, x: x**2),
    # elementary functions of one number
    row(rules.exp,              elementwise(1),     lambda m, x: m.exp(x)),
    row(rules.log,              elementwise(1),     lambda m, x: m.log(x),                                  POSITIVE),
    row(rules.log1p,            elementwise(1),     lambda m, x: m.log(1 + x),                              (-0.7, 3)),
    row(rules.expm1,            elementwise(1),     lambda m, x: m.exp(x) - 1),
    row(rules.sqrt,             elementwise(1),     lambda m, x: m.exp(m.log(x) / 2),                       POSITIVE),
    row(rules.abs,              elementwise(1),     lambda m, x: modulus(m, x),                             kinks=(0,)),
    row(rules.sign,             elementwise(1),     lambda m, x: x / modulus(m, x),                         kinks=(0,)),
    row(rules.sin,              elementwise(1),     lambda m, x: m.sin(x)),
    row(rules.cos,              elementwise(1),     lambda m, x: m.cos(x)),
    row(rules.tan,              elementwise(1),     lambda m, x: m.sin(x) / m.cos(x),                       (-1.2, 1.2)),
    row(rules.tanh,             elementwise(1),     lambda m, x: (m.exp(x) - m.exp(-x)) / (m.exp(x) + m.exp(-x))),
    row(rules.sigmoid,          elementwise(1),     lambda m, x: 1 / (1 + m.exp(-x))),
    row(rules.softplus,         elementwise(1),     lambda m, x: m.log(1 + m.exp(x))),
    row(rules.logsigmoid,       elementwise(1),     lambda m, x: m.log(1 / (1 + m.exp(-x)))),
    # choices and kinks
    row(rules.relu,             elementwise(1),     lambda m, x: (x + modulus(m, x)) / 2,                   kinks=(0,)),
    row(rules.leaky_relu,       elementwise(1, {"negative_slope": 0.01}, {"negative_slope": 0.25}),
        lambda m, x, negative_slope: ((1 + negative_slope) * x + (1 - negative_slope) * modulus(m, x)) / 2,  kinks=(0,)),
    row(rules.maximum,          elementwise(2),     lambda m, x, y: (x + y + modulus(m, x - y)) / 2),
    row(rules.minimum,          elementwise(2),     lambda m, x, y: (x + y - modulus(m, x - y)) / 2),
    row(rules.clip,             elementwise(1, {"min": -0.5, "max": 0.75}, {"min": -2.0, "max": 2.0}),
        lambda m, x, min, max: (min + max + modulus(m, x - min) - modulus(m, x - max)) / 2,                 kinks=(-2, -0.5, 0.75, 2)),
    row(rules.where,            CHOICE,             lambda m, c, x, y: c * x + (1 - c) * y),
    # products
    row(rules.matmul,           MATMUL,             lambda m, x, y: x @ y),
    row(rules.linear,           LINEAR,             lambda m, x, W, b: m.einsum("...i,oi->...o", x, W) + b),
    row(rules.einsum,           EINSUM,             lambda m, *xs, subscripts: m.einsum(subscripts, *xs)),
    row(rules.total,            several([[(3,), (3,)], [(2, 3), (3,), ()], [()], [(0,), (1,)]]),
        lambda m, *xs: sum(xs[1:], xs[0])),
    row(rules.dot,              several([[(3,), (3,)], [(2, 3), (3,), (), (2, 1)], [(0,), (1,)]], even=True),
        lambda m, *xs: sum(x * y for x, y in zip(xs[: len(xs) // 2], xs[len(xs) // 2 :], strict=True))),
    # reductions
    row(rules.sum,              reduction(),        lambda m, x, axis, keepdims: m.sum(x, axis=axis, keepdims=keepdims)),
    row(rules.mean,             reduction(smallest=1),
        lambda m, x, axis, keepdims: m.sum(x, axis=axis, keepdims=keepdims) / length(x, axis)),
    row(rules.max,              reduction(smallest=1),
        lambda m, x, axis, keepdims: extreme(m, x, np.max, axis, keepdims)),
    row(rules.min,              reduction(smallest=1),
        lambda m, x, axis, keepdims: extreme(m, x, np.min, axis, keepdims)),
    row(rules.prod,             reduction(),        lambda m, x, axis, keepdims: m.prod(x, axis=axis, keepdims=keepdims)),
    row(rules.var,              reduction({"correction": 0}, {"correction": 1}, smallest=2),
        lambda m, x, axis, correction, keepdims: deviation(m, x, axis, correction, keepdims) ** 2),
    row(rules.std,              reduction({"correction": 0}, {"correction": 1}, smallest=2),
        lambda m, x, axis, correction, keepdims: deviation(m, x, axis, correction, keepdims)),
    row(rules.norm,             reduction(smallest=1),
        lambda m, x, axis, keepdims: m.sqrt(m.sum(x * x, axis=axis, keepdims=keepdims)),                    kinks=(0,)),
    row(rules.logsumexp,        reduction(smallest=1),
        lambda m, x, axis, keepdims: m.log(m.sum(m.exp(x), axis=axis, keepdims=keepdims))),
    row(rules.softmax,          along_axis(*TOGETHER),
        lambda m, x, axis: m.exp(x) / m.sum(m.exp(x), axis=axis, keepdims=True)),
    row(rules.log_softmax,      along_axis(*TOGETHER),
        lambda m, x, axis: m.log(m.exp(x) / m.sum(m.exp(x), axis=axis, keepdims=True))),
    row(rules.cumsum,           along_axis(Case(((),), {"axis": 0})),
        lambda m, x, axis: running(m, x, axis)),
    # moving numbers about
    row(rules.reshape,          RESHAPE,            lambda m, x, shape: m.reshape(x, shape)),
    row(rules.transpose,        TRANSPOSE,          lambda m, x, axes: m.transpose(x, axes)),
    row(rules.flip,             along_axis(),       lambda m, x, axis: x[cut(slice(None, None, -1), axis, x.ndim)]),
    row(rules.broadcast_to,     SPREAD,             lambda m, x, shape: spread(m, x, shape)),
    row(rules.sum_to,           SUMMED,             lambda m, x, shape: summed(m, x, shape)),
    row(rules.astype,           PRECISION,          lambda m, x, dtype: x),
    row(rules.index,            INDEX,              lambda m, x, at: x[at]),
    row(rules.scatter,          SCATTER,            lambda m, x, at, shape: sent(m, x, numbered(shape)[at], shape)),
    row(rules.take_along_axis,  TAKE_ALONG,         lambda m, x, i, axis: m.reshape(x, (-1,))[chosen(x.shape, i, axis)]),
    row(rules.add_along_axis,   ADD_ALONG,          lambda m, x, i, axis, shape: sent(m, x, chosen(shape, i, axis), shape)),
    row(rules.concatenate,      CONCATENATE,        lambda m, *xs, axis: m.concatenate(xs, axis)),
    row(rules.stack,            STACK,              lambda m, *xs, axis: m.stack(xs, axis)),
    # losses
    row(rules.binary_cross_entropy_with_logits, elementwise(2),
        lambda m, x, y: -y * m.log(1 / (1 + m.exp(-x))) - (1 - y) * m.log(1 / (1 + m.exp(x))),              ALL, (0, 1)),
)  # fmt: skip

ROW_OF = {line.rule: line for line in ROWS}
SCALAR_ROWS = tuple(line for line in ROWS if line.family.scalars)
