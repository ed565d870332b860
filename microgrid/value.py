"""Value: the scalar face of a node. One number, its history, its gradient."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from microgrid import functions, kinds, modes, numpy_protocol, rules, sites, stale
from microgrid.graph import NO_PARAMETERS, Node, next_number, node_kind
from microgrid.passes_of_floats import backward_of_floats
from microgrid.rule import Rule
from microgrid.shortcuts import fast, reflected, shorten

__microgrid_machinery__ = True

special, last = modes.special, stale.last  # asked at each look at a number, and at each write


class Value(Node):
    """A number that records what is computed from it.

    Parameters
    ----------
    data : number
        A float; an int becomes one. Other kinds of number (Fraction, mpmath's, SymPy's) stay what they are.
    name : str, optional
        What pictures and messages call it.

    Attributes
    ----------
    data : float
        The number. Writing to it makes stale what was computed from it before.
    grad : float
        d(root)/d(this) of the last pass; 0.0 before any. Leaves add up over passes, until `zero_grad()`.

    Examples
    --------
    >>> x = Value(3.0)
    >>> y = x * x + 2 * x
    >>> y.backward()
    >>> y.data, x.grad
    (15.0, 8.0)
    """

    __slots__ = ()
    general: ClassVar[type[GeneralValue]]  # the face of other kinds of number

    def __init__(self, data: Any, name: str | None = None) -> None:
        if data.__class__ is not float:
            data = _number(data, "Value")
            if data.__class__ is not float and self.__class__ is Value:
                self.__class__ = GeneralValue
        self._begin(data, True, None, (), NO_PARAMETERS)
        if name is not None:
            self.name = name

    # ------------------------------------------------------------------ the record

    # A shortcut records one or two inputs without a tuple, as `_x` and `_y`, of which `_y` is None for one: half the
    # objects that the garbage collector has to look at. Else they are the inputs and the parameters.

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What the rule was applied to, in order."""
        x, y = self._x, self._y
        return x if y.__class__ is dict else (x,) if y is None else (x, y)

    @inputs.setter
    def inputs(self, inputs: tuple[Any, ...]) -> None:
        self._x, self._y = inputs, self.parameters

    @property
    def parameters(self) -> dict[str, Any]:
        """The keyword arguments of the rule."""
        return self._y if self._y.__class__ is dict else NO_PARAMETERS

    @parameters.setter
    def parameters(self, parameters: dict[str, Any]) -> None:
        self._x, self._y = self.inputs, parameters

    # ------------------------------------------------------------------ data

    @property
    def data(self) -> Any:
        """The number."""
        if special.count:
            modes.look("data")
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        if data.__class__ is float and self.rule is None and not special.count:
            self._data = data
            self._number = last.write = next_number()  # as stale.written does, without a call
        else:
            self._write(data)

    def _write(self, data: Any) -> None:
        modes.look("writing data")  # first: of a stand-in it would be an error, which the user may catch
        number = data if data.__class__ is float else _number(data, "Value.data")
        if number.__class__ is not float and not isinstance(self, GeneralValue):
            kind = type(number).__name__
            raise TypeError(f"Value.data: this Value holds a float, got a {kind}: make a new Value, at {sites.here()}")
        self._data = number
        self._renew()

    @property
    def grad(self) -> Any:
        """The gradient; 0.0 where no pass has reached this node."""
        if special.count:
            modes.look("grad")
        return 0.0 if self._grad is None else self._grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        if special.count:
            modes.look("writing a gradient")
        self._grad = grad if grad.__class__ is float or grad is None else _number(grad, "Value.grad")

    def item(self) -> Any:
        """The number, as torch says it."""
        modes.look("item()")
        return self._data

    tolist = item

    def numpy(self) -> Any:
        """The number as an array without axes.

        Raises
        ------
        TypeError
            If it requires a gradient.
        """
        modes.look("numpy()")
        return self.__array__()

    def detach(self) -> Value:
        """The same number without its history; it requires no gradient."""
        modes.look("detach()")
        return type(self)._new(self._data, False)

    # ------------------------------------------------------------------ operators: each is its rule

    @fast(rules.add)
    def __add__(self, other: Any) -> Any:
        return rules.add(self, other) if _operand(other) else NotImplemented

    @fast(rules.add, reflected)
    def __radd__(self, other: Any) -> Any:
        return rules.add(other, self) if _operand(other) else NotImplemented

    @fast(rules.subtract)
    def __sub__(self, other: Any) -> Any:
        return rules.subtract(self, other) if _operand(other) else NotImplemented

    @fast(rules.subtract, reflected)
    def __rsub__(self, other: Any) -> Any:
        return rules.subtract(other, self) if _operand(other) else NotImplemented

    @fast(rules.multiply)
    def __mul__(self, other: Any) -> Any:
        return rules.multiply(self, other) if _operand(other) else NotImplemented

    @fast(rules.multiply, reflected)
    def __rmul__(self, other: Any) -> Any:
        return rules.multiply(other, self) if _operand(other) else NotImplemented

    @fast(rules.divide)
    def __truediv__(self, other: Any) -> Any:
        return rules.divide(self, other) if _operand(other) else NotImplemented

    @fast(rules.divide, reflected)
    def __rtruediv__(self, other: Any) -> Any:
        return rules.divide(other, self) if _operand(other) else NotImplemented

    @fast(rules.power)
    def __pow__(self, other: Any) -> Any:
        return rules.power(self, other) if _operand(other) else NotImplemented

    @fast(rules.power, reflected)
    def __rpow__(self, other: Any) -> Any:
        return rules.power(other, self) if _operand(other) else NotImplemented

    @fast(rules.negative)
    def __neg__(self) -> Value:
        return rules.negative(self)

    def __pos__(self) -> Value:
        return self

    @fast(rules.abs)
    def __abs__(self) -> Value:
        return rules.abs(self)

    # ------------------------------------------------------------------ functions, as methods

    exp, log, sqrt = fast(rules.exp)(functions.exp), fast(rules.log)(functions.log), fast(rules.sqrt)(functions.sqrt)
    sin, cos, tan = fast(rules.sin)(functions.sin), fast(rules.cos)(functions.cos), fast(rules.tan)(functions.tan)
    tanh, sigmoid = fast(rules.tanh)(functions.tanh), fast(rules.sigmoid)(functions.sigmoid)
    relu, softplus = fast(rules.relu)(functions.relu), fast(rules.softplus)(functions.softplus)
    square, abs = fast(rules.square)(functions.square), fast(rules.abs)(functions.abs)
    log1p, expm1 = fast(rules.log1p)(functions.log1p), fast(rules.expm1)(functions.expm1)
    pow = __pow__
    clip, clamp, leaky_relu = functions.clip, functions.clip, functions.leaky_relu
    logsigmoid, maximum, minimum = functions.logsigmoid, functions.maximum, functions.minimum

    def _compared(self, compare: Callable[[Any, Any], Any], other: Any) -> Any:
        modes.look("a comparison")
        return compare(self._data, _data(other)) if _operand(other) else NotImplemented

    def __bool__(self) -> bool:
        modes.look("bool()")
        return bool(self._data)

    def __float__(self) -> float:
        modes.look("float()")
        sites.warn_of_leaving(self, "float")
        return float(self._data)

    def __int__(self) -> int:
        modes.look("int()")
        sites.warn_of_leaving(self, "int")
        return int(self._data)

    def _sympy_(self) -> Any:
        # SymPy would take float(value) and so drop it out of the graph; refused, it leaves the operation to us
        from sympy import SympifyError

        raise SympifyError(self)

    def __format__(self, spec: str) -> str:
        modes.look("format()")
        return format(self._data, spec) if spec else str(self)

    def __repr__(self) -> str:
        modes.look("repr()")
        text = f"Value(data={self._data}, grad={_shown(self._grad)})"
        return text if len(text) <= 80 else text[:76] + "...)"

    # ------------------------------------------------------------------ NumPy

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        modes.look("an array")
        if self.requires_grad:
            raise TypeError(
                "Can't make a NumPy array of a Value that requires a gradient: it would drop out of the graph; "
                f"use .data, or mg.stack of Values, at {sites.here()}"
            )
        return np.asarray(self._data, dtype)

    __array_ufunc__ = numpy_protocol.on_ufunc
    __array_function__ = numpy_protocol.on_function

    # ------------------------------------------------------------------ what the graph asks

    def __init_subclass__(cls, **keywords: Any) -> None:
        super().__init_subclass__(**keywords)
        if sites.MARK not in sys._getframe(1).f_globals:
            sites.users_faces.add(cls)

    def _wrap(self, number: Any) -> Value:
        return Value._new(number, False) if isinstance(number, float) else GeneralValue._new(number, False)

    def _seed(self, gradient: Any) -> Any:
        if gradient is None:
            return kinds.kind_of(self._data).one(self._data)
        return _number(gradient, "backward: gradient")

    def _fit(self, share: Any) -> Any:
        if isinstance(share, Node):
            return rules.sum(share, axis=None, keepdims=False) if isinstance(share._data, np.ndarray) else share
        if share.__class__ is float:
            return share
        if isinstance(share, np.ndarray):
            return float(share.sum())
        if share is None:
            raise TypeError("a derivative is None: does the function lack a `return`?")
        if isinstance(self._data, float) and isinstance(share, (int, np.generic)):
            return float(share)
        kinds.kind_of(share)  # or it is no number, and this says so
        return share

    @staticmethod
    def _held(number: Any) -> tuple[Any, bool]:
        if number.__class__ is complex:
            raise TypeError("expected real numbers, got a complex one")
        return number, True

    def _own(self, gradient: Any, taken: set[int]) -> Any:
        return gradient

    def _tied(self, gradient: Node) -> Any:
        # by a choice that never falls on it
        return gradient if gradient.requires_grad else rules.where(True, gradient, self)

    def _fast_backward(self) -> bool:
        return backward_of_floats(self)


class GeneralValue(Value):
    """A Value whose number is not a float: a Fraction, mpmath's mpf, a SymPy expression. No fast path touches it."""

    __slots__ = ()

    def _fast_backward(self) -> bool:
        return False

    # ------------------------------------------------------------------ what one number has no meaning for

    def _none(self, operation: str, advice: str = "") -> TypeError:
        what = f"{kinds.kind_of(self._data).name}, {self._data!s:.60}"
        return TypeError(f"{operation}: has no meaning for {what}{advice}, at {sites.here()}")

    def _refused(self, operation: str, other: Any) -> Any:
        if isinstance(other, Node) and not isinstance(other, Value):
            return NotImplemented  # a Tensor says for itself what is wrong
        raise self._none(operation)

    def __getitem__(self, at: Any) -> Any:
        raise self._none("indexing", ": it is one number")

    def __len__(self) -> int:
        raise self._none("len", ": it is one number")

    def __iter__(self) -> Any:
        raise self._none("iterating", ": it is one number")

    def __round__(self, digits: Any = None) -> Any:
        raise self._none("round")

    def __matmul__(self, other: Any) -> Any:
        return self._refused("@", other)

    def __floordiv__(self, other: Any) -> Any:
        return self._refused("//", other)

    def __mod__(self, other: Any) -> Any:
        return self._refused("%", other)

    __rmatmul__, __rfloordiv__, __rmod__ = __matmul__, __floordiv__, __mod__

    def _converted(self, convert: Callable[[Any], Any], operation: str) -> Any:
        try:
            return convert(self._data)
        except (TypeError, ValueError):
            advice = ": give its symbols numbers first, .data.subs({symbol: number})"
            raise self._none(operation, advice if hasattr(self._data, "subs") else "") from None

    def __float__(self) -> float:
        number: float = self._converted(float, "float")
        sites.warn_of_leaving(self, "float")
        return number

    def __int__(self) -> int:
        number: int = self._converted(int, "int")
        sites.warn_of_leaving(self, "int")
        return number

    def __format__(self, spec: str) -> str:
        text: str = self._converted(lambda number: format(number, spec), f"format {spec!r}") if spec else str(self)
        return text


GeneralValue.__name__ = Value.__name__  # what Python's own messages call it


def _number(data: Any, what: str) -> Any:
    """The number to hold: a float, or a number of another kind.

    Raises
    ------
    TypeError
        For strings, complex numbers, nodes, arrays of more than one element and the like.
    """
    if isinstance(data, Node):
        raise TypeError(f"{what}: expected a number, got a {type(data).__name__}: take its .data, at {sites.here()}")
    if isinstance(data, np.ndarray) and data.ndim:
        raise TypeError(f"{what}: expected a number, got an array of shape {data.shape}: use Tensor, at {sites.here()}")
    if isinstance(data, (np.ndarray, np.generic)):
        data = data.item()
    if isinstance(data, complex):
        raise TypeError(f"{what}: expected a number, a real one, got {data!r}, at {sites.here()}")
    try:
        return data if kinds.kind_of(data).rank > 1 else kinds.as_float(data)
    except TypeError as error:
        given = f"{type(data).__name__}: {data!r:.60}"
        raise TypeError(f"{what}: expected a number, got {given}, at {sites.here()}") from error


def _operand(other: Any) -> bool:
    return isinstance(other, (Value, float, int, np.generic, np.ndarray)) or _known(other)


def _known(other: Any) -> bool:
    try:
        kind = kinds.kind_of(other)
    except TypeError:
        return False
    return kind is not node_kind and type(other) is not complex  # a Tensor's own operators come first


def _data(other: Any) -> Any:
    if isinstance(other, np.generic):
        return other.item()  # so that comparing gives Python's bool
    return other._data if isinstance(other, Node) else other


def _shown(grad: Any) -> Any:
    return 0.0 if grad is None else grad._data if isinstance(grad, Node) else grad


Value.general = GeneralValue
kinds.float_kind.face = Value
shorten(rule for rule in vars(rules).values() if isinstance(rule, type) and issubclass(rule, Rule) and rule is not Rule)
kinds.register(node_kind, [Value])
