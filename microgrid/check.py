"""gradcheck: hold the gradients of a function against differences of the function itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from microgrid import modes, sites
from microgrid.derivatives import grad
from microgrid.graph import Node
from microgrid.tensor import Tensor
from microgrid.value import Value

__microgrid_machinery__ = True


class GradcheckError(AssertionError):
    """A gradient that differences of the function contradict."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Node | Sequence[Node],
    *,
    eps: float | None = None,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    raise_exception: bool = True,
) -> bool:
    """Check the gradient of every element of what a function returns with respect to every element of its inputs.

    Parameters
    ----------
    func : callable
        Takes the inputs, returns a Value or a Tensor, or a sequence of them. It must give the same each time.
    inputs : node or sequence of nodes
        Values, and Tensors of float64. Those that require a gradient are checked.
    eps : float > 0, optional
        The step; by default 6e-6 max(1, |x|), the cube root of the precision.
    atol, rtol : float >= 0, optional
        |gradient - difference| <= atol + rtol |difference| passes. The defaults reject a rule that is off by 0.1 %.
    raise_exception : bool, optional
        False: return False in place of raising.

    Returns
    -------
    bool

    Raises
    ------
    GradcheckError
        Names the input, the element, the gradient and the differences. At a kink (where the differences of either
        side disagree however small the step) any gradient between the two sides passes, and one outside is wrong.
    ValueError
        If an input is of lower precision than float64, if none requires a gradient, or a returned one does not.

    Examples
    --------
    >>> import microgrid as mg
    >>> mg.gradcheck(lambda x, y: x * mg.sin(y), [mg.Value(2.0), mg.Value(1.0)])
    True
    """
    if not callable(func) or not isinstance(inputs, (Node, list, tuple)):
        raise TypeError(
            "gradcheck(func, inputs): expected a function and a node or a list of nodes, got "
            f"{type(func).__name__} and {type(inputs).__name__}, at {sites.here()}"
        )
    given = [inputs] if isinstance(inputs, Node) else list(inputs)
    data = [_float64(x, position) for position, x in enumerate(given)]
    checked = [position for position, x in enumerate(given) if x.requires_grad]
    if not checked:
        raise ValueError(f"gradcheck: no input requires a gradient, at {sites.here()}")
    try:
        _check(func, given, data, checked, eps, atol, rtol)
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def _check(
    func: Callable[..., Any], given: list[Any], data: list[Any], checked: list[int], eps: float | None, atol: float,
    rtol: float,
) -> None:  # fmt: skip
    def values(arrays: list[Any]) -> list[Any]:
        with modes.no_grad():
            return [np.array(z._data) for z in _outputs(func(*map(_like, given, arrays)))]

    base = values(data)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(base, values(data), strict=True)):
        raise GradcheckError(f"gradcheck: the function gives another value when called again, at {sites.here()}")
    jacobians = list(_jacobians(func, given, data, checked))
    for column, position in enumerate(checked):
        x = data[position]
        for place in np.ndindex(x.shape):
            h = eps if eps is not None else np.finfo(float).eps ** (1 / 3) * max(1.0, abs(float(x[place])))

            def at(step: float, position: int = position, place: tuple[int, ...] = place) -> list[Any]:
                moved = [a.copy() for a in data]
                moved[position][place] += step
                return values(moved)

            for output, (up, down) in enumerate(zip(at(h), at(-h), strict=True)):
                gradient = jacobians[output][column][(..., *place)]
                with np.errstate(all="ignore"):
                    difference = (up - down) / (2 * h)
                    wrong = ~(np.abs(gradient - difference) <= atol + rtol * np.abs(difference))
                for row in np.argwhere(wrong):
                    where = tuple(row)
                    message = _verdict(at, base, output, where, h, float(gradient[where]), atol, rtol)
                    if message:
                        what = given[position].name or f"input {position}"
                        element = f"[{', '.join(map(str, place))}]" if place else ""
                        target = f"output {output}{[int(i) for i in where] if where else ''}"
                        raise GradcheckError(f"gradcheck: d({target})/d({what}{element}): {message}, at {sites.here()}")


def _verdict(
    at: Callable[[float], list[Any]], base: list[Any], output: int, where: tuple[int, ...], h: float, gradient: float,
    atol: float, rtol: float,
) -> str | None:  # fmt: skip
    """What is wrong with a gradient that the central difference contradicts; None at a kink that allows it."""

    def sides(step: float) -> tuple[float, float]:
        here = float(base[output][where])
        with np.errstate(all="ignore"):
            return (here - float(at(-step)[output][where])) / step, (float(at(step)[output][where]) - here) / step

    left, right = sides(h)
    near_left, near_right = sides(h / 64)
    gap, near_gap = abs(right - left), abs(near_right - near_left)
    if near_gap > 8 * gap:
        return f"the function jumps here: no derivative; the gradient is {gradient:.10g}"
    if near_gap > gap / 8 and near_gap > 100 * (atol + rtol * max(abs(left), abs(right))):  # it does not shrink with h
        low, high = sorted((near_left, near_right))
        slack = atol + rtol * max(abs(low), abs(high)) + 1e-3 * near_gap
        if low - slack <= gradient <= high + slack:
            return None
        return f"at a kink, with {low:.10g} on one side and {high:.10g} on the other: the gradient is {gradient:.10g}"
    return f"the gradient is {gradient:.10g}, the central difference {(left + right) / 2:.10g}"


def _jacobians(func: Callable[..., Any], given: list[Any], data: list[Any], checked: list[int]) -> Iterator[list[Any]]:
    """For each output, for each checked input, the array of gradients, shaped (*output, *input)."""
    nodes = [_like(x, a, x.requires_grad) for x, a in zip(given, data, strict=True)]
    targets = [nodes[position] for position in checked]
    with modes.enable_grad():
        outputs = _outputs(func(*nodes))
    for z in outputs:
        shape = np.shape(z._data)
        found = [np.zeros((*shape, *np.shape(x._data))) for x in targets]
        if not z.requires_grad:
            raise ValueError(f"gradcheck: what the function returns requires no gradient, at {sites.here()}")
        for place in np.ndindex(shape):
            seed = np.zeros(shape)
            seed[place] = 1
            gradients = grad(z, targets, seed if shape else None, allow_unused=True)
            for array, gradient in zip(found, gradients, strict=True):
                array[place] = 0 if gradient is None else gradient
        yield found


def _outputs(returned: Any) -> list[Node]:
    listed = list(returned) if isinstance(returned, (list, tuple)) else [returned]
    for z in listed:
        if not isinstance(z, Node):
            raise TypeError(
                f"gradcheck: the function returned {type(z).__name__}, expected a Value or a Tensor, at {sites.here()}"
            )
    return listed


def _like(x: Node, array: Any, requires_grad: bool = False) -> Node:
    node: Node = Value(float(array)) if isinstance(x, Value) else Tensor(array)
    if x.name is not None:
        node.name = x.name
    return node.requires_grad_(requires_grad)


def _float64(x: Any, position: int) -> Any:
    if not isinstance(x, Node):
        given = type(x).__name__
        raise TypeError(f"gradcheck: input {position}: expected a Value or a Tensor, got {given}, at {sites.here()}")
    if isinstance(x, Tensor) and x.requires_grad and x.dtype != np.float64:
        raise ValueError(
            f"gradcheck: input {position} is {x.dtype}: differences need float64: use .astype(float), at {sites.here()}"
        )
    return np.array(x._data) if isinstance(x, Tensor) else np.array(x._data, dtype=float)
