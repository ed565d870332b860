"""What users call: the operations, on Values, Tensors, plain numbers and arrays alike, and compositions of them."""

from __future__ import annotations

import builtins
import functools
import itertools
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from microgrid import kinds, rules, sites
from microgrid.capture.prepared import prepared
from microgrid.graph import Node
from microgrid.rule import Rule
from microgrid.shapes import Axis, Shape
from microgrid.shortcuts import joined

__microgrid_machinery__ = True

X = TypeVar("X")
F = TypeVar("F", bound=Callable[..., Any])

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"  # the indices of einsum


def apply(rule: type[Rule], /, *inputs: Any, **parameters: Any) -> Any:
    """Apply a rule, your own for example, to Values, Tensors or numbers.

    Examples
    --------
    >>> import microgrid as mg
    >>> class cube(mg.Rule):
    ...     def value(x):        return x * x * x
    ...     def wrt_x(g, z, x):  return g * (3 * x * x)
    >>> x = mg.Value(2.0)
    >>> mg.apply(cube, x).backward()
    >>> x.grad
    12.0
    """
    return rule(*inputs, **parameters)


def torch_words(function: F) -> F:
    """Let a function take `dim` and `keepdim` for `axis` and `keepdims`."""

    @functools.wraps(function)
    def renamed(*args: Any, **keywords: Any) -> Any:
        if not keywords:
            return function(*args)
        for word, ours in (("dim", "axis"), ("keepdim", "keepdims")):
            if word in keywords and ours not in keywords:
                keywords[ours] = keywords.pop(word)
        return function(*args, **keywords)

    return renamed  # type: ignore[return-value]


# ---------------------------------------------------------------------------------------- arithmetic


def add(x: Any, y: Any) -> Any:
    """x + y."""
    return rules.add(_lifted(x), _lifted(y))


def subtract(x: Any, y: Any) -> Any:
    """x - y."""
    return rules.subtract(_lifted(x), _lifted(y))


def multiply(x: Any, y: Any) -> Any:
    """x y, element by element."""
    return rules.multiply(_lifted(x), _lifted(y))


def divide(x: Any, y: Any) -> Any:
    """x / y; 1/0 is inf and 0/0 is nan."""
    return rules.divide(_lifted(x), _lifted(y))


def negative(x: X) -> X:
    """-x."""
    return _of_one(rules.negative, x)


def positive(x: X) -> X:
    """x itself, as a node of its own: its gradient is that of this use of x alone."""
    return _of_one(rules.positive, x)


def power(x: Any, y: Any) -> Any:
    """x to the power y; nan where that is not real. A constant exponent takes no logarithm."""
    return rules.power(_lifted(x), _lifted(y))


def square(x: X) -> X:
    """x^2."""
    return _of_one(rules.square, x)


def exp(x: X) -> X:
    """e^x; inf from 709.79 on.

    Examples
    --------
    >>> exp(0.0)
    1.0
    """
    return _of_one(rules.exp, x)


def log(x: X) -> X:
    """Natural logarithm; -inf at 0, nan below."""
    return _of_one(rules.log, x)


def log1p(x: X) -> X:
    """ln(1 + x), exact near 0."""
    return _of_one(rules.log1p, x)


def expm1(x: X) -> X:
    """e^x - 1, exact near 0."""
    return _of_one(rules.expm1, x)


def sqrt(x: X) -> X:
    """Square root; nan below 0, and gradient inf at 0."""
    return _of_one(rules.sqrt, x)


def abs(x: X) -> X:
    """|x|; gradient 0 at 0."""
    return _of_one(rules.abs, x)


def sign(x: X) -> X:
    """-1, 0 or 1; gradient 0."""
    return _of_one(rules.sign, x)


def sin(x: X) -> X:
    """Sine of x in radians."""
    return _of_one(rules.sin, x)


def cos(x: X) -> X:
    """Cosine of x in radians."""
    return _of_one(rules.cos, x)


def tan(x: X) -> X:
    """Tangent of x in radians."""
    return _of_one(rules.tan, x)


def tanh(x: X) -> X:
    """Hyperbolic tangent."""
    return _of_one(rules.tanh, x)


# ---------------------------------------------------------------------------------------- activations


def sigmoid(x: X) -> X:
    """1 / (1 + e^-x): 0 and 1 at the ends, without overflow or warning.

    Examples
    --------
    >>> sigmoid(0.0), sigmoid(-1000.0)
    (0.5, 0.0)
    """
    return _of_one(rules.sigmoid, x)


def logsigmoid(x: X) -> X:
    """ln sigmoid(x), finite wherever x is."""
    return _of_one(rules.logsigmoid, x)


def softplus(x: X) -> X:
    """ln(1 + e^x), without overflow (Dugas et al., 2000)."""
    return _of_one(rules.softplus, x)


def relu(x: X) -> X:
    """max(x, 0); gradient 0 at 0 and 1 at nan, as in torch."""
    return _of_one(rules.relu, x)


def leaky_relu(x: X, negative_slope: float = 0.01) -> X:
    """x above 0, negative_slope x elsewhere (Maas, Hannun & Ng, 2013)."""
    try:
        slope = float(negative_slope)
    except (TypeError, ValueError):
        raise TypeError(
            f"leaky_relu: negative_slope: expected a number, got {negative_slope!r}, at {sites.here()}"
        ) from None
    return rules.leaky_relu(_lifted(x), negative_slope=slope)


@torch_words
def softmax(x: X, axis: int = -1) -> X:
    """e^x / sum e^x along axis, shifted by the largest x so that nothing overflows.

    Examples
    --------
    >>> softmax(np.array([1000.0, 1000.0])).tolist()
    [0.5, 0.5]
    """
    return rules.softmax(_array(x, "softmax"), axis=_integer_axis(axis, "softmax"))


@torch_words
def log_softmax(x: X, axis: int = -1) -> X:
    """x - ln sum e^x along axis, shifted by the largest x; finite where softmax rounds to 0."""
    return rules.log_softmax(_array(x, "log_softmax"), axis=_integer_axis(axis, "log_softmax"))


# ---------------------------------------------------------------------------------------- choices


def maximum(x: Any, y: Any) -> Any:
    """The larger, element by element; nan wins; at a tie each takes half of the gradient."""
    return rules.maximum(_lifted(x), _lifted(y))


def minimum(x: Any, y: Any) -> Any:
    """The smaller, element by element; nan wins; at a tie each takes half of the gradient."""
    return rules.minimum(_lifted(x), _lifted(y))


def clip(x: X, min: float | None = None, max: float | None = None) -> X:
    """x held between min and max; gradient 1 at a bound, 0 beyond.

    Raises
    ------
    ValueError
        If neither bound is given.
    """
    if min is None and max is None:
        raise ValueError(f"clip: at least one of min and max must be given, at {sites.here()}")
    try:
        low, high = -np.inf if min is None else float(min), np.inf if max is None else float(max)
    except (TypeError, ValueError):
        raise TypeError(f"clip: expected numbers as bounds, got {min!r} and {max!r}, at {sites.here()}") from None
    return rules.clip(_lifted(x), min=low, max=high)


def where(condition: Any, x: Any, y: Any) -> Any:
    """x where the condition holds, else y.

    The gradient of what is not selected is multiplied by 0, and 0 * inf is nan: write `sqrt(where(x > 0, x, 1))`
    inside, not `where(x > 0, sqrt(x), 0)` alone, where x may leave the domain. `detect_anomaly` recognises it.

    Parameters
    ----------
    condition : bool or array of bool
    x, y : number, array, Value or Tensor
        Shapes broadcast together with the condition's.
    """
    condition = _lifted(condition)
    if isinstance(condition, Node):
        condition = prepared(_holds, condition)
    return rules.where(condition, _lifted(x), _lifted(y))


# ---------------------------------------------------------------------------------------- products


def matmul(x: Any, y: Any) -> Any:
    """The matrix product, of vectors, matrices and stacks of matrices, as NumPy's and torch's.

    Parameters
    ----------
    x : array of shape (n,), (m, n) or (..., m, n)
    y : array of shape (n,), (n, p) or (..., n, p)

    Raises
    ------
    ValueError
        Where the inner sizes differ, or an operand is a single number.
    """
    return rules.matmul(_lifted(x), _lifted(y))


def linear(x: Any, weight: Any, bias: Any = None) -> Any:
    """x W^T + b, in one node.

    Parameters
    ----------
    x : array of shape (..., n_in)
    weight : array of shape (n_out, n_in)
    bias : array of shape (n_out,), optional
    """
    if bias is None:
        return rules.matmul(_lifted(x), transpose(weight))
    try:  # what follows says what is wrong
        if bias._data.shape == weight._data.shape[:1]:  # first: another one could be spread over all the memory
            z = rules.linear.shortcuts[x.__class__](x, weight, bias)  # type: ignore[misc]  # of None a TypeError
            if z is not NotImplemented:
                return z
    except (AttributeError, TypeError, ValueError):
        pass
    x, weight, bias = _array(x, "linear"), _array(weight, "linear"), _array(bias, "linear")
    if bias.shape != weight.shape[:1]:
        raise ValueError(
            f"linear: weight {weight.shape} takes a bias of shape {weight.shape[:1]}, got {bias.shape}, "
            f"at {sites.here()}"
        )
    return rules.linear(x, weight, bias)


def dot(xs: Any, ys: Any) -> Any:
    """x1 y1 + ... + xn yn, in one node: of two sequences of Values and numbers, or of two vectors.

    Examples
    --------
    >>> import microgrid as mg
    >>> w = [mg.Value(2.0), mg.Value(-1.0)]
    >>> mg.dot(w, [3.0, 4.0]).data
    2.0
    """
    if not xs.__class__ is ys.__class__ is list:
        if isinstance(xs, (Node, np.ndarray)) or isinstance(ys, (Node, np.ndarray)):
            return matmul(xs, ys)
        try:
            xs, ys = tuple(xs), tuple(ys)
        except TypeError:
            given = f"{type(xs).__name__} and {type(ys).__name__}"
            raise TypeError(f"dot: expected two sequences, got {given}, at {sites.here()}") from None
    if len(xs) != len(ys) or not xs:
        raise ValueError(f"dot: expected two sequences of one length, got {len(xs)} and {len(ys)}, at {sites.here()}")
    return joined(rules.dot, (*xs, *ys))


def einsum(subscripts: str, *xs: Any) -> Any:
    """Einstein's summation, as NumPy's, with `...`; an index may not repeat within one operand.

    Examples
    --------
    >>> einsum("ij,jk->ik", np.eye(2), np.ones((2, 3))).shape
    (2, 3)
    """
    if not isinstance(subscripts, str):
        raise TypeError(f"einsum: subscripts come first, as a string, got {subscripts!r:.40}, at {sites.here()}")
    operands = [_lifted(x) for x in xs]
    return rules.einsum(*operands, subscripts=_explicit(subscripts, operands))


def _explicit(subscripts: str, xs: Sequence[Any]) -> str:
    """The subscripts with their result written out and every ellipsis as letters."""
    terms, arrow, result = subscripts.replace(" ", "").partition("->")
    operands = terms.split(",")
    if len(operands) != len(xs):
        raise ValueError(f"einsum: {subscripts!r} names {len(operands)} operands, got {len(xs)}, at {sites.here()}")
    free = [letter for letter in LETTERS if letter not in subscripts]
    widest = ""
    for i, (term, x) in enumerate(zip(operands, xs, strict=True)):
        letters = term.replace("...", "")
        if len(set(letters)) != len(letters):
            raise ValueError(
                f"einsum: {subscripts!r} repeats an index within operand {i} ({term!r}): take the diagonal by "
                f"indexing, x[i, i], first, at {sites.here()}"
            )
        extra = np.ndim(getattr(x, "_data", x)) - len(letters)
        if extra < 0 or (extra and "..." not in term):
            shape = np.shape(getattr(x, "_data", x))
            raise ValueError(f"einsum: {term!r} does not fit operand {i} of shape {shape}, at {sites.here()}")
        spread = "".join(free[:extra][::-1])  # axes of an ellipsis are matched from the last
        operands[i] = term.replace("...", spread)
        widest = builtins.max(widest, spread, key=len)
    if not arrow:
        letters = terms.replace(",", "").replace("...", "")
        result = "..." + "".join(sorted(a for a in set(letters) if letters.count(a) == 1))
    return ",".join(operands) + "->" + result.replace("...", widest)


# ---------------------------------------------------------------------------------------- reductions


@torch_words
def sum(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The sum of x over axis (all axes by default); of a sequence of Values, their sum in one node.

    Examples
    --------
    >>> import microgrid as mg
    >>> mg.sum([mg.Value(1.0), mg.Value(2.0), 3.0]).data
    6.0
    """
    whole = axis is None and not keepdims
    if whole and isinstance(x, (list, tuple)) and x and (isinstance(x[0], Node) or _holds_values(x)):
        return joined(rules.total, tuple(x))
    return _reduced(rules.sum, x, axis, keepdims)


@torch_words
def mean(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The mean of x over axis; nan of nothing."""
    return _reduced(rules.mean, x, axis, keepdims)


@torch_words
def max(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The largest of x over axis; ties share the gradient equally."""
    return _reduced(rules.max, x, axis, keepdims)


@torch_words
def min(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The smallest of x over axis; ties share the gradient equally."""
    return _reduced(rules.min, x, axis, keepdims)


@torch_words
def prod(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """The product of x over axis; gradients are products of the others, exact at zeros."""
    return _reduced(rules.prod, x, axis, keepdims)


@torch_words
def var(x: Any, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Any:
    """sum (x - mean)^2 / (n - correction) over axis, with Bessel's correction 1 by default, as in torch."""
    return rules.var(_array(x, "var"), axis=_axis(axis, "var"), correction=correction, keepdims=bool(keepdims))


@torch_words
def std(x: Any, axis: Axis = None, correction: float = 1, keepdims: bool = False) -> Any:
    """The square root of the variance; gradient 0 where all are equal, as in torch."""
    return rules.std(_array(x, "std"), axis=_axis(axis, "std"), correction=correction, keepdims=bool(keepdims))


@torch_words
def norm(x: Any, ord: float | None = None, axis: Axis = None, keepdims: bool = False) -> Any:
    """The Euclidean norm, (sum x^2)^(1/2), over axis; gradient 0 at 0.

    Raises
    ------
    ValueError
        For an `ord` other than 2: write mg.sum(mg.abs(x)) and the like.
    """
    if ord not in (None, 2):
        raise ValueError(f"norm: only the Euclidean norm, ord=2, has a rule, got ord={ord!r}, at {sites.here()}")
    return _reduced(rules.norm, x, axis, keepdims)


@torch_words
def logsumexp(x: Any, axis: Axis = None, keepdims: bool = False) -> Any:
    """ln sum e^x over axis, shifted by the largest x so that nothing overflows."""
    return _reduced(rules.logsumexp, x, axis, keepdims)


@torch_words
def cumsum(x: Any, axis: int = 0) -> Any:
    """Running sums along axis."""
    return rules.cumsum(_array(x, "cumsum"), axis=_integer_axis(axis, "cumsum"))


@torch_words
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the largest stands, along axis or among all: an integer array, which has no gradient.

    Examples
    --------
    >>> argmax([[1.0, 3.0], [4.0, 2.0]], axis=1).tolist()
    [1, 0]
    """
    return _position("argmax", x, axis, keepdims)


@torch_words
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> Any:
    """Where the smallest stands, as `argmax`."""
    return _position("argmin", x, axis, keepdims)


def _position(name: str, x: Any, axis: int | None, keepdims: bool) -> Any:
    x = _array(x, name)
    where = None if axis is None else _place_of(x, axis, name)
    try:
        return getattr(np, name)(getattr(x, "_data", x), axis=where, keepdims=bool(keepdims))
    except ValueError as error:
        raise ValueError(f"{name}: {x.shape}, axis={axis}: {error}, at {sites.here()}") from None


# ---------------------------------------------------------------------------------------- shapes


def reshape(x: Any, *shape: Any) -> Any:
    """The same numbers in another shape; one length may be -1."""
    return rules.reshape(_array(x, "reshape"), shape=_shape(shape, "reshape"))


def transpose(x: Any, *axes: Any) -> Any:
    """Two axes swapped, `transpose(x, 0, 1)`, as in torch; all reversed where none is named; a tuple permutes."""
    x = _array(x, "transpose")
    if len(axes) == 2:
        return swapaxes(x, *axes)
    order = axes[0] if axes and axes[0] is not None else range(x.ndim)[::-1]
    return permute(x, order)


def permute(x: Any, *axes: Any) -> Any:
    """The axes in another order, each named once."""
    x = _array(x, "permute")
    order = _shape(axes, "permute")
    if sorted(a % x.ndim if x.ndim else a for a in order) != list(range(x.ndim)):
        raise ValueError(f"permute: expected each of {x.ndim} axes once, got {order}, at {sites.here()}")
    return rules.transpose(x, axes=tuple(a % x.ndim for a in order))


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """Two axes swapped."""
    x = _array(x, "swapaxes")
    order = list(range(x.ndim))
    first, second = _place_of(x, axis1, "swapaxes"), _place_of(x, axis2, "swapaxes")
    order[first], order[second] = order[second], order[first]
    return rules.transpose(x, axes=tuple(order))


def expand_dims(x: Any, axis: int | tuple[int, ...]) -> Any:
    """New axes of length 1, at these places of the result."""
    x = _array(x, "expand_dims")
    try:
        shape = np.expand_dims(np.broadcast_to(0, x.shape), axis).shape
    except (TypeError, ValueError) as error:
        raise type(error)(f"expand_dims: {x.shape}, axis={axis}: {error}, at {sites.here()}") from None
    return rules.reshape(x, shape=shape)


@torch_words
def squeeze(x: Any, axis: Axis = None) -> Any:
    """Without the axes of length 1: all, or those named.

    Raises
    ------
    ValueError
        Where a named axis is longer.
    """
    x = _array(x, "squeeze")
    try:
        shape = np.squeeze(np.broadcast_to(0, x.shape), axis).shape
    except ValueError as error:
        raise ValueError(f"squeeze: {x.shape}, axis={axis}: {error}, at {sites.here()}") from None
    return rules.reshape(x, shape=shape)


def broadcast_to(x: Any, shape: Shape) -> Any:
    """x repeated to a shape, by NumPy's broadcasting."""
    return rules.broadcast_to(_array(x, "broadcast_to"), shape=_shape((shape,), "broadcast_to"))


@torch_words
def flip(x: Any, axis: int | tuple[int, ...] = 0) -> Any:
    """x backwards along one axis or several."""
    x = _array(x, "flip")
    for a in axis if isinstance(axis, (list, tuple)) else (axis,):
        x = rules.flip(x, axis=_integer_axis(a, "flip"))
    return x


def astype(x: Any, dtype: Any) -> Any:
    """x in another precision; the gradient comes back in x's own."""
    try:
        precision = np.dtype(dtype)
    except TypeError as error:
        raise TypeError(f"astype: {error}, at {sites.here()}") from None
    return rules.astype(_array(x, "astype"), dtype=precision)


def index(x: Any, at: Any) -> Any:
    """x[at]: integers, slices, None, `...`, lists, arrays of integers or of booleans; gradients of repeats add up."""
    places = tuple(map(_place, at)) if isinstance(at, tuple) else _place(at)
    return rules.index(_array(x, "index"), at=places)


def _place(at: Any) -> Any:
    """One index as the graph keeps it: arrays are copied, so that nobody writes to them later."""
    if isinstance(at, Node):
        return at._data.copy() if isinstance(at._data, np.ndarray) else at._data
    if isinstance(at, np.ndarray):
        return at.copy()
    return np.array(at, dtype=None if at else int) if isinstance(at, list) else at


@torch_words
def take_along_axis(x: Any, indices: Any, axis: int) -> Any:
    """The elements of x at indices along axis, as NumPy's function and torch's `gather`.

    Parameters
    ----------
    x : array
    indices : array of int, of as many axes as x
    axis : int
    """
    axis = _integer_axis(axis, "take_along_axis")
    return rules.take_along_axis(_array(x, "take_along_axis"), _integers(indices), axis=axis)


@torch_words
def concatenate(xs: Sequence[Any], axis: int = 0) -> Any:
    """Arrays end to end along an axis that they have."""
    listed = _several(xs, "concatenate")
    return rules.concatenate(*listed, axis=_integer_axis(axis, "concatenate"))


@torch_words
def stack(xs: Sequence[Any], axis: int = 0) -> Any:
    """Arrays of one shape side by side along a new axis; Values become a Tensor."""
    listed = _several(xs, "stack")
    return rules.stack(*listed, axis=_integer_axis(axis, "stack"))


@torch_words
def split(x: Any, split_size_or_sections: int | Sequence[int], axis: int = 0) -> tuple[Any, ...]:
    """Consecutive pieces of x along axis, as torch's: of one size (the last may be smaller), or of these sizes."""
    x = _array(x, "split")
    axis = _place_of(x, axis, "split")
    n = x.shape[axis]
    sizes = _sizes(split_size_or_sections, n)
    if builtins.sum(sizes) != n:
        raise ValueError(f"split: sizes {sizes} do not add up to {n}, the length of axis {axis}, at {sites.here()}")
    ends = list(itertools.accumulate(sizes))
    before = (slice(None),) * axis
    return tuple(index(x, (*before, slice(end - size, end))) for size, end in zip(sizes, ends, strict=True))


def _sizes(given: Any, n: int) -> list[int]:
    """The sizes of the pieces of n: those given, or as many of one size as there are, and the rest."""
    try:
        if isinstance(given, (list, tuple)):
            sizes, least = [_integer(size) for size in given], 0
        else:
            size, least = _integer(given), 1
            sizes = [size] * (n // size) + [n % size] * (n % size > 0) if size > 0 else [size]
    except TypeError:
        raise TypeError(f"split: expected a size or a list of sizes, got {given!r}, at {sites.here()}") from None
    if any(size < least for size in sizes):
        raise ValueError(f"split: expected sizes of at least {least}, got {given}, at {sites.here()}")
    return sizes


# ---------------------------------------------------------------------------------------- losses


def binary_cross_entropy_with_logits(input: Any, target: Any) -> Any:
    """-y ln s(x) - (1 - y) ln(1 - s(x)), s = sigmoid, element by element and not reduced, in one node.

    Parameters
    ----------
    input : array of any shape
        Logits x: natural log-odds.
    target : array of the same shape, in [0, 1]

    Raises
    ------
    ValueError
        Where the shapes differ.

    Notes
    -----
    max(x, 0) - y x + ln(1 + e^-|x|), right to a few ulp for |x| <= 708; the gradient is (1 - y) s(x) - y s(-x),
    which is s(x) - y without the cancellation at y = 1.
    """
    try:  # what follows says what is wrong
        if target._data.shape == input._data.shape:  # first, as in `linear`
            z = rules.binary_cross_entropy_with_logits.shortcuts[input.__class__](input, target)  # type: ignore[misc]
            if z is not NotImplemented:
                return z
    except (AttributeError, TypeError, ValueError):
        pass
    x, y = _lifted(input), _lifted(target)
    given, expected = np.shape(getattr(y, "_data", y)), np.shape(getattr(x, "_data", x))
    if given != expected:
        raise ValueError(
            f"binary_cross_entropy_with_logits: target {given} must have the shape of the input, {expected}, "
            f"at {sites.here()}"
        )
    return rules.binary_cross_entropy_with_logits(x, y)


# ---------------------------------------------------------------------------------------- arguments


def _of_one(rule: type[Rule], x: Any) -> Any:
    """`rule(x)`, elementwise; of a node straight by the rule's shortcut, if there is one."""
    if isinstance(x, Node):
        shortcut = rule.shortcuts[x.__class__]
        if shortcut is not None:
            try:
                z = shortcut(x)
                if z is not NotImplemented:
                    return z
            except (TypeError, ValueError):  # the rule itself says what is wrong
                pass
    else:
        x = _lifted(x)
    return rule(x)


def _reduced(rule: type[Rule], x: Any, axis: Any, keepdims: bool) -> Any:
    """A rule that leaves one number of all those along an axis, or along several."""
    if axis is None and isinstance(x, Node) and x._data.__class__ is np.ndarray:
        try:
            z = rule.shortcuts[x.__class__](x, axis=None, keepdims=bool(keepdims))  # type: ignore[misc]
            if z is not NotImplemented:
                return z
        except (TypeError, ValueError):  # the rule itself says what is wrong
            pass
    name = rule.__name__
    return rule(_array(x, name), axis=_axis(axis, name), keepdims=bool(keepdims))


def _lifted(x: Any) -> Any:
    """x, or the array that a list stands for."""
    if not isinstance(x, (list, tuple)):
        if x.__class__ is np.ndarray and x.dtype.kind not in "fiub":
            raise TypeError(f"expected an array of real numbers, got {x.dtype}, at {sites.here()}")
        return x
    if _holds_values(x):
        return stack([_lifted(row) for row in x])
    try:
        array = np.array(x)
    except ValueError as error:
        raise ValueError(f"expected an array of numbers: {error}, at {sites.here()}") from None
    return array if array.dtype.kind in "fb" else array.astype(float) if array.dtype.kind in "iu" else x


def _array(x: Any, what: str) -> Any:
    """x with a shape: a plain number becomes an array."""
    if isinstance(x, Node) and x._data.__class__ is np.ndarray:
        return x
    x = _lifted(x)
    if isinstance(x, (float, int)) and not isinstance(x, np.generic):
        return np.asarray(float(x))
    if isinstance(x, Node) and isinstance(x._data, np.ndarray):
        return x
    if isinstance(x, Node):
        if (kind := kinds.kind_of(x._data)) is not kinds.float_kind:
            raise TypeError(f"{what}: has no meaning for {kind.name}, at {sites.here()}")
        return rules.broadcast_to(x, shape=())  # a Value as a Tensor of no axes
    if isinstance(x, np.generic):
        return np.asarray(x)
    try:
        kinds.kind_of(x)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None
    return x


def _holds_values(xs: Sequence[Any]) -> bool:
    return any(isinstance(x, Node) or (isinstance(x, (list, tuple)) and _holds_values(x)) for x in xs)


def _several(xs: Any, what: str) -> list[Any]:
    try:
        listed = [_lifted(x) for x in xs]
    except TypeError:
        raise TypeError(f"{what}: expected a sequence, got {type(xs).__name__}, at {sites.here()}") from None
    if not listed:
        raise ValueError(f"{what}: expected at least one array, got none, at {sites.here()}")
    return listed


def _axis(axis: Any, what: str) -> Axis:
    if axis is None:
        return None
    try:
        return tuple(map(_integer, axis)) if isinstance(axis, (tuple, list)) else _integer(axis)
    except TypeError:
        raise TypeError(
            f"{what}: axis: expected an integer, a tuple of integers or None, got {axis!r}, at {sites.here()}"
        ) from None


def _integer_axis(axis: Any, what: str) -> int:
    try:
        return _integer(axis)
    except TypeError:
        raise TypeError(f"{what}: axis: expected an integer, got {axis!r}, at {sites.here()}") from None


def _place_of(x: Any, axis: Any, what: str) -> int:
    """One axis of x, counted from 0."""
    axis = _integer_axis(axis, what)
    if not -x.ndim <= axis < x.ndim:
        raise ValueError(f"{what}: axis {axis} is out of range for shape {x.shape}, at {sites.here()}")
    return axis % x.ndim


def _integer(x: Any) -> int:
    if isinstance(x, bool) or not isinstance(x, (int, np.integer)):
        raise TypeError
    return int(x)


def _shape(given: tuple[Any, ...], what: str) -> Shape:
    """(2, 3) from `2, 3` and from `(2, 3)`."""
    listed = given[0] if len(given) == 1 and not isinstance(given[0], (int, np.integer)) else given
    try:
        return tuple(map(_integer, listed))
    except TypeError:
        raise TypeError(f"{what}: expected integers, got {given!r}, at {sites.here()}") from None


def _holds(condition: Any) -> Any:
    return condition != 0


def _integers(indices: Any) -> Any:
    array = prepared(np.asarray, indices if isinstance(indices, (Node, np.ndarray)) else np.asarray(indices))
    if array.dtype.kind not in "iu":
        raise TypeError(f"take_along_axis: indices: expected integers, got {array.dtype}, at {sites.here()}")
    return array
