"""NumPy's ufuncs and functions on nodes: those we have record, the others refuse: nothing drops out of a graph."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from microgrid import functions, sites
from microgrid.graph import Node
from microgrid.shapes import axes_of

__microgrid_machinery__ = True

COMPARISONS: dict[Any, Callable[..., Any]] = {
    np.equal: operator.eq, np.not_equal: operator.ne, np.less: operator.lt, np.less_equal: operator.le,
    np.greater: operator.gt, np.greater_equal: operator.ge,
}  # fmt: skip

UFUNCS: dict[Any, Callable[..., Any]] = {
    np.add: functions.add, np.subtract: functions.subtract, np.multiply: functions.multiply,
    np.true_divide: functions.divide, np.negative: functions.negative, np.positive: operator.pos,
    np.power: functions.power, np.float_power: functions.power, np.square: functions.square, np.exp: functions.exp,
    np.log: functions.log, np.log1p: functions.log1p, np.expm1: functions.expm1, np.sqrt: functions.sqrt,
    np.absolute: functions.abs, np.fabs: functions.abs, np.sign: functions.sign, np.sin: functions.sin,
    np.cos: functions.cos, np.tan: functions.tan, np.tanh: functions.tanh, np.maximum: functions.maximum,
    np.minimum: functions.minimum, np.matmul: functions.matmul,
}  # fmt: skip

FUNCTIONS: dict[Any, Callable[..., Any]] = {
    np.sum: functions.sum, np.mean: functions.mean, np.max: functions.max, np.min: functions.min,
    np.amax: functions.max, np.amin: functions.min, np.prod: functions.prod, np.clip: functions.clip,
    np.var: lambda x, axis=None, ddof=0, keepdims=False: functions.var(x, axis, ddof, keepdims),
    np.std: lambda x, axis=None, ddof=0, keepdims=False: functions.std(x, axis, ddof, keepdims),
    np.linalg.norm: lambda x, ord=None, axis=None, keepdims=False: (
        functions.norm(x, None, axis, keepdims) if ord is None else _refuse("linalg.norm with ord")
    ),
    np.where: lambda condition, x, y: functions.where(condition, x, y), np.reshape: functions.reshape,
    np.transpose: lambda x, axes=None: functions.transpose(x, axes), np.swapaxes: functions.swapaxes,
    np.expand_dims: functions.expand_dims, np.squeeze: functions.squeeze, np.broadcast_to: functions.broadcast_to,
    np.ravel: lambda x: functions.reshape(x, -1), np.concatenate: functions.concatenate, np.stack: functions.stack,
    np.flip: lambda m, axis=None: functions.flip(m, axes_of(m.ndim, axis)), np.einsum: functions.einsum,
    np.cumsum: lambda a, axis=None: functions.cumsum(functions.reshape(a, -1) if axis is None else a, axis or 0),
    np.take_along_axis: functions.take_along_axis,
    np.dot: lambda x, y: functions.matmul(x, y) if np.ndim(y) <= 2 else _refuse("dot of more than two axes"),
    np.shape: lambda x: np.shape(x._data), np.ndim: lambda x: np.ndim(x._data), np.size: lambda x: np.size(x._data),
}  # fmt: skip

REDUCTIONS = {np.add: functions.sum, np.multiply: functions.prod, np.maximum: functions.max, np.minimum: functions.min}


def on_ufunc(self: Any, ufunc: np.ufunc, method: str, *inputs: Any, **keywords: Any) -> Any:
    """What `np.exp(t)` and `array * t` come to: `__array_ufunc__` of Value and Tensor.

    Raises
    ------
    TypeError
        For a ufunc that has no rule, and for `out=`, `where=`, `dtype=`.
    """
    if keywords.get("out") is not None:
        raise TypeError(
            f"np.{ufunc.__name__}: cannot write a node into an array (out=, or array += node): it would drop out of "
            f"the graph; write a = a + node, at {sites.here()}"
        )
    if method == "__call__" and not keywords:
        if ufunc in COMPARISONS:
            return COMPARISONS[ufunc](*map(_number, inputs))
        if ufunc in UFUNCS:
            return UFUNCS[ufunc](*inputs)
    if method == "reduce" and ufunc in REDUCTIONS and set(keywords) <= {"axis", "keepdims"}:
        return REDUCTIONS[ufunc](inputs[0], keywords.get("axis", 0), keywords.get("keepdims", False))
    name = ufunc.__name__ + ("" if method == "__call__" else f".{method}")
    return _refuse(name + (f" with {', '.join(keywords)}" if keywords else ""))


def on_function(self: Any, function: Any, types: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
    """What `np.sum(t)` and `np.concatenate([t, u])` come to: `__array_function__` of Value and Tensor.

    Raises
    ------
    TypeError
        For a function that we have no counterpart of, or not with these arguments.
    """
    ours = FUNCTIONS.get(function)
    if ours is None:
        _refuse(getattr(function, "__name__", str(function)))
    try:
        return ours(*args, **keywords)
    except TypeError as error:
        if "argument" in str(error):
            raise TypeError(f"np.{function.__name__} on a Tensor: {error}, at {sites.here()}") from None
        raise


def _number(x: Any) -> Any:
    return x._data if isinstance(x, Node) else x.item() if isinstance(x, np.generic) else x


def _refuse(name: str) -> NoReturn:
    raise TypeError(
        f"np.{name}: has no rule, so its result would drop out of the graph: use .detach().numpy() for plain numbers, "
        f"or microgrid's functions, at {sites.here()}"
    )
