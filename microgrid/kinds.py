"""The kinds of number that a rule may run on, and what the elementary rules mean on each.

A kind evaluates rules: `sigmoid` of a float is one formula, of an array another, of a graph node a new node.
Of several arguments the highest kind decides::

    float < array < fraction < mpmath number < symbol < code < node

Two kinds stand here, floats and arrays; others join by `register` where they are defined.
"""

from __future__ import annotations

import contextvars
import math
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from microgrid import sites
from microgrid.shapes import unbroadcast

if TYPE_CHECKING:
    from microgrid.rule import Rule

__microgrid_machinery__ = True


class Kind:
    """A kind of number.

    Parameters
    ----------
    rank : int
        Of several arguments, the kind of the highest rank evaluates the rule.
    elementary : dict of str to callable
        What the rules without a `value` of their own are on this kind, by the rule's name. They come before
        a rule's own `value` where a kind has a better way.
    one : callable
        The number one, shaped as the number given: the seed of a backward pass.

    Attributes
    ----------
    face : type of Node
        The class of the nodes that hold such numbers.
    """

    face: Any = None
    # what the derivatives of a rule are called with: g, z and the inputs as numbers of this kind, and the parameters
    arguments: Any = staticmethod(list)
    parameters: Any = staticmethod(dict)

    def __init__(
        self, name: str, rank: int, elementary: dict[str, Callable[..., Any]], one: Callable[[Any], Any]
    ) -> None:
        self.name, self.rank, self.elementary, self.one = name, rank, elementary, one

    def function(self, rule: type[Rule]) -> Callable[..., Any]:
        """What the rule is on this kind.

        Raises
        ------
        TypeError
            Where the rule has no meaning for this kind of number.
        """
        function = self.own(rule) or rule.value
        if function is None:
            raise TypeError(f"has no meaning for {self.name}")
        return function

    def own(self, rule: type[Rule]) -> Callable[..., Any] | None:
        """This kind's way of an elementary rule; never in place of the value that a user's rule brings."""
        return self.elementary.get(rule.__name__) if rule.value is None or rule.ours else None

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
        """The value of the rule."""
        z = self.function(rule)(*inputs, **parameters)
        return self.one(z) * z if isinstance(z, (int, float)) else z  # a constant of the rule's, as our own number

    def again(self, wrt: Any, arguments: Sequence[Any], parameters: dict[str, Any]) -> Any:
        """The share where `wrt` of the numbers as they stand raised an ArithmeticError or left the real line."""
        return wrt(*arguments, **parameters)

    def __repr__(self) -> str:
        return f"<kind: {self.name}>"


class FloatKind(Kind):
    """Python floats. A rule runs as it stands; where Python raises or leaves the real line, as IEEE 754 says."""

    def function(self, rule: type[Rule]) -> Callable[..., Any]:
        # a rule of arrays (stack, broadcast_to) takes floats as arrays without axes
        return self.own(rule) or rule.value or array_kind.function(rule)

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
        try:
            z = self.function(rule)(*inputs, **parameters)
        except (ArithmeticError, TypeError, ValueError) as error:
            if complex in map(type, inputs):
                raise TypeError("expected real numbers, got a complex one") from error
            if isinstance(error, TypeError):
                raise
            return ieee(rule, inputs, parameters)
        if z.__class__ is float:
            return z
        if z.__class__ is complex and complex not in map(type, inputs):
            return ieee(rule, inputs, parameters)
        return float(z) if isinstance(z, int) else z

    def arguments(self, arguments: list[Any]) -> list[Any]:
        for place, x in enumerate(arguments):
            if not isinstance(x, (float, int)):
                arguments[place] = float(x)  # a fraction that went into a float counts as a float
        return arguments

    def again(self, wrt: Any, arguments: Sequence[Any], parameters: dict[str, Any]) -> Any:
        return ieee(wrt, arguments, parameters)


def ieee(function: Callable[..., Any], numbers: Sequence[Any], parameters: dict[str, Any]) -> Any:
    """The same function on np.float64: 1/0 is inf, log(-1) is nan, nothing is raised and nothing complex.

    Examples
    --------
    >>> ieee(lambda x, y: x / y, (1.0, 0.0), {}), ieee(lambda x: x ** 0.5, (-8.0,), {})
    (inf, nan)
    """
    with np.errstate(all="ignore"):
        z = function(*(np.float64(as_float(x)) if isinstance(x, (float, int)) else x for x in numbers), **parameters)
    return [float(share) for share in z] if isinstance(z, (list, tuple)) else float(z)


def as_float(x: Any) -> float:
    """A number as a float; an int beyond all floats is inf, as IEEE 754 rounds it."""
    try:
        return float(x)
    except OverflowError:
        return math.inf if x > 0 else -math.inf


class ArrayKind(Kind):
    """NumPy arrays and NumPy's scalars: evaluated without NumPy's floating-point warnings."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self._functions: dict[type[Rule], Callable[..., Any]] = {}

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
        function = self._functions.get(rule)
        if function is None:
            function = self.function(rule)
            if rule.ours:  # a class that a user made and dropped is not kept alive
                self._functions[rule] = function
        if _quiet.run is _just:  # a rule within a rule
            return function(*inputs, **parameters)
        return quietly(function, *inputs, **parameters)


class _Quiet(threading.local):
    """Each thread's own context in which NumPy's floating-point warnings are off."""

    def __init__(self) -> None:
        context = contextvars.copy_context()
        context.run(np.seterr, all="ignore")
        self.run: Callable[..., Any] = context.run


def _just(function: Callable[..., Any], /, *args: Any, **parameters: Any) -> Any:
    return function(*args, **parameters)


_quiet = _Quiet()


def quietly(function: Callable[..., Any], /, *args: Any, **parameters: Any) -> Any:
    """Call a function of arrays without NumPy's floating-point warnings, at a fifth of the cost of `np.errstate`.

    Values out of domain are inf and nan here as in IEEE 754; `detect_anomaly` is what raises on them.
    """
    run, _quiet.run = _quiet.run, _just  # what is called from within is quiet already
    try:
        return run(function, *args, **parameters)
    finally:
        _quiet.run = run


# ------------------------------------------------------------------------------------------------- registry

finders: list[Callable[[type], bool]] = []  # asked once for a type that nobody knows; they may register it
_kind_of: dict[type, Kind] = {}
_registered: list[tuple[type, Kind]] = []


def register(kind: Kind, types: Iterable[type]) -> None:
    """Have numbers of these types (and of subclasses) evaluated by the kind."""
    _registered.extend((number, kind) for number in types)
    _kind_of.clear()


def kind_of(x: Any) -> Kind:
    """The kind of a number.

    Raises
    ------
    TypeError
        Where x is no number that a rule can run on.
    """
    kind = _kind_of.get(x.__class__) or _looked_up(type(x))
    if kind is None and any(find(type(x)) for find in finders):
        kind = _looked_up(type(x))
    if kind is None:
        raise TypeError(
            f"expected a Value, a Tensor, a number or an array, got {type(x).__name__}: {_short(x)}, at {sites.here()}"
        )
    return kind


def _looked_up(number: type) -> Kind | None:
    for base in number.__mro__:
        for registered, kind in _registered:
            if base is registered:
                _kind_of[number] = kind
                return kind
    return None


def is_elementary(rule: type[Rule]) -> bool:
    """Whether kinds of number have a value for a rule that has none of its own."""
    return rule.__name__ in float_kind.elementary or rule.__name__ in array_kind.elementary


def highest(inputs: Sequence[Any]) -> Kind:
    """The kind that evaluates a rule of these inputs."""
    best = float_kind
    for x in inputs:
        kind = _kind_of.get(x.__class__) or kind_of(x)
        if kind is not best and kind.rank > best.rank:
            best = kind
    return best


def _short(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 60 else text[:57] + "..."


# ----------------------------------------------------------------------------------- floats, by the math module


def _sigmoid(x: float) -> float:
    # two branches: math.exp raises above 709.78, and each branch is exact where it is used
    if x >= 0:
        return 1 / (1 + math.exp(-x))
    e = math.exp(x)
    return e / (1 + e)


def _sign(x: float) -> float:
    return float((x > 0) - (x < 0))  # 0 at nan, as torch's


def _maximum(x: float, y: float) -> float:
    return x if x >= y or x != x else y  # nan wins on either side


def _minimum(x: float, y: float) -> float:
    return x if x <= y or x != x else y


def _where(c: Any, x: Any, y: Any) -> Any:
    return x if c else y


float_kind: Kind = FloatKind(
    "a float",
    0,
    {
        "exp": math.exp, "log": math.log, "log1p": math.log1p, "expm1": math.expm1, "sqrt": math.sqrt,
        "abs": math.fabs, "sign": _sign, "sin": math.sin, "cos": math.cos, "tan": math.tan, "tanh": math.tanh,
        "sigmoid": _sigmoid, "maximum": _maximum, "minimum": _minimum, "where": _where,
    },
    one=lambda x: 1.0,
)  # fmt: skip


# ------------------------------------------------------------------------------------------ arrays, by NumPy


def _array_sigmoid(x: Any) -> Any:
    # 1 / (1 + e^-x) in place: right to one ulp where e^-x is finite, and 0 where it overflows
    e = np.exp(np.negative(x))
    if e.__class__ is not np.ndarray:
        return 1 / (1 + e)
    np.add(e, 1.0, e)
    return np.reciprocal(e, e)


def _array_where(c: Any, x: Any, y: Any) -> Any:
    z = np.where(c, x, y)
    return z if z.ndim else z[()]  # of scalars a scalar, as NumPy's other functions


def _logsumexp(x: Any, *, axis: Any, keepdims: bool) -> Any:
    x = x if x.dtype.kind == "f" else x.astype(float)
    top = x.max(axis=axis, keepdims=True, initial=-np.inf)
    shift = np.where(np.isfinite(top), top, 0)  # log(sum(exp([-inf, -inf]))) is -inf, not nan
    z = np.log(np.exp(x - shift).sum(axis=axis, keepdims=True)) + shift
    return z if keepdims else z.squeeze(axis)


def _softmax(x: Any, *, axis: int) -> Any:
    e = np.exp(_below_0(x, axis))
    return e / e.sum(axis=axis, keepdims=True)


def _log_softmax(x: Any, *, axis: int) -> Any:
    d = _below_0(x, axis)
    return d - np.log(np.exp(d).sum(axis=axis, keepdims=True))


def _below_0(x: Any, axis: int) -> Any:
    x = x if x.dtype.kind == "f" else x.astype(float)
    return x - x.max(axis=axis, keepdims=True, initial=-np.inf)


def _scatter(x: Any, *, at: Any, shape: tuple[int, ...]) -> Any:
    z = np.zeros(shape, x.dtype)
    if _basic(at):
        z[at] = x
    else:
        np.add.at(z, at, x)  # places named twice add up
    return z


def _basic(at: Any) -> bool:
    return all(
        i is None or i is Ellipsis or (isinstance(i, (int, slice)) and not isinstance(i, bool))
        for i in (at if isinstance(at, tuple) else (at,))
    )


def _add_along_axis(x: Any, i: Any, *, axis: int, shape: tuple[int, ...]) -> Any:
    z = np.zeros(shape, x.dtype)
    places = list(np.ogrid[tuple(map(slice, shape))])  # i may broadcast against z along the other axes
    places[axis] = i
    np.add.at(z, tuple(places), x)
    return z


array_kind: Kind = ArrayKind(
    "an array",
    1,
    {
        "exp": np.exp, "log": np.log, "log1p": np.log1p, "expm1": np.expm1, "sqrt": np.sqrt, "abs": np.abs,
        "sin": np.sin, "cos": np.cos, "tan": np.tan, "tanh": np.tanh,
        "sign": lambda x: np.asarray(x > 0, x.dtype) - (x < 0),  # 0 at nan, as torch's
        "sigmoid": _array_sigmoid,
        "maximum": np.maximum, "minimum": np.minimum, "where": _array_where,
        "sum": np.add.reduce, "max": np.maximum.reduce, "min": np.minimum.reduce, "prod": np.multiply.reduce,
        "logsumexp": _logsumexp, "softmax": _softmax, "log_softmax": _log_softmax,
        "flip": lambda x, *, axis: np.flip(x, axis) if x.ndim else x,
        "cumsum": lambda x, *, axis: np.cumsum(x, axis).reshape(x.shape),
        "broadcast_to": lambda x, *, shape: np.broadcast_to(x, shape),
        "sum_to": lambda x, *, shape: unbroadcast(x, shape),
        "scatter": _scatter, "take_along_axis": np.take_along_axis, "add_along_axis": _add_along_axis,
        "concatenate": lambda *xs, axis: np.concatenate(xs, axis),
        "stack": lambda *xs, axis: np.stack(xs, axis),
        "einsum": lambda *xs, subscripts: np.einsum(subscripts, *xs),
    },
    one=lambda x: np.ones_like(x),
)  # fmt: skip

register(float_kind, [float, int, bool, complex])  # a derivative may pass through a complex number, and is run again
register(array_kind, [np.ndarray, np.generic])
