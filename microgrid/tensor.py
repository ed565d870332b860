"""Tensor: the array face of a node. An ndarray, its history, its gradient."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any, Self

import numpy as np

from microgrid import functions, kinds, modes, numpy_protocol, rules, sites, stale
from microgrid.graph import NO_PARAMETERS, Node, node_kind
from microgrid.passes import backward_of_arrays
from microgrid.shapes import Shape, filled, unbroadcast
from microgrid.shortcuts import faces_of_arrays

__microgrid_machinery__ = True

REAL = "fiub"  # NumPy's letters for floats, integers signed and unsigned, and booleans


class Tensor(Node):
    """An array that records what is computed from it.

    torch's function `torch.tensor(data)` is this class, `mg.Tensor(data)`; `mg.tensor` is the module that it stands in.

    Parameters
    ----------
    data : array_like of numbers
        Copied. Python's numbers become float64 if they are floats; integers and booleans keep their type.
    requires_grad : bool, optional
        Whether backward passes reach it.
    dtype : data type, optional
        float64 by default for floats; float32 is kept through values and gradients.
    name : str, optional
        What pictures and messages call it.

    Attributes
    ----------
    data : ndarray
        The array itself: written to, it makes stale what was computed from it before.
    grad : ndarray or None
        d(root)/d(this) of the last pass, an array of its own; None before any. Leaves add up over passes.

    Raises
    ------
    TypeError
        For strings, objects and complex numbers; for integers with requires_grad.

    Examples
    --------
    >>> W = Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    >>> (W @ np.ones(2)).sum().backward()
    >>> W.grad.tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """

    __slots__ = ("__weakref__",)
    inputs, parameters = vars(Node)["_x"], vars(Node)["_y"]  # of a Tensor the record as it stands

    def __init__(self, data: Any, requires_grad: bool = False, dtype: Any = None, name: str | None = None) -> None:
        self._begin(_array(data, dtype, type(self).__name__), False, None, (), NO_PARAMETERS)
        if not isinstance(requires_grad, (bool, np.bool)):
            raise TypeError(
                f"{type(self).__name__}: requires_grad: expected True or False, got {requires_grad!r} "
                f"(several numbers are one list), at {sites.here()}"
            )
        if requires_grad:
            self.requires_grad_(True)
        if name is not None:
            self.name = name

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether backward passes reach this leaf; returns it.

        Raises
        ------
        TypeError
            For integers and booleans.
        ValueError
            If the node has a history: use `detach()`.
        """
        if requires_grad and self._data.dtype.kind != "f":
            raise TypeError(
                f"Only Tensors of floating point dtype can require gradients, got {self._data.dtype}: "
                f"give dtype=float, at {sites.here()}"
            )
        return super().requires_grad_(requires_grad)

    # ------------------------------------------------------------------ data

    @property
    def data(self) -> Any:
        """The array itself, to read or to write to.

        After `t.data = ...`, `t -= ...` or a step of an optimiser, t holds another array, and one taken before is no
        longer its own.
        """
        if modes.special.count:
            modes.look("data")
        return stale.hand_out(self)

    @data.setter
    def data(self, data: Any) -> None:
        array = _array(data, self._data.dtype, "data")
        if array.shape != self._data.shape:
            raise ValueError(
                f"data: expected an array of shape {self._data.shape}, got {array.shape}, at {sites.here()}"
            )
        self._replace(array)

    def _replace(self, array: Any) -> None:
        """Hold another array, of the same shape and type, that nobody else will write to."""
        if modes.special.count:
            modes.look("a write to data")
        self._data = array
        stale.taken_back(self)
        self._renew()

    @property
    def grad(self) -> Any:
        """The gradient: an array of this node's own, or None where no pass has reached it."""
        if modes.special.count:
            modes.look("grad")
        return self._grad

    @grad.setter
    def grad(self, grad: Any) -> None:
        if modes.special.count:
            modes.look("writing a gradient")
        self._grad = None if grad is None else self._fitted(grad, "grad")

    def numpy(self) -> Any:
        """The array itself.

        Raises
        ------
        TypeError
            If it requires a gradient: what NumPy does with it would drop out of the graph.
        """
        modes.look("numpy()")
        if self.requires_grad:
            raise TypeError(
                "Can't call numpy() on Tensor that requires grad. "
                f"Use tensor.detach().numpy() instead, at {sites.here()}"
            )
        return stale.hand_out(self)

    def detach(self) -> Tensor:
        """A copy without the history; it requires no gradient."""
        return Tensor._new(self._data.copy(), False)

    def clone(self) -> Tensor:
        """A copy through which gradients flow."""
        copied: Tensor = rules.reshape(self, shape=self.shape)
        copied._data = self._data.copy()
        return copied

    def item(self) -> Any:
        """The one number, as Python's.

        Raises
        ------
        ValueError
            If there are several or none.
        """
        modes.look("item()")
        if self._data.size != 1:
            raise ValueError(
                f"item: a Tensor with {self._data.size} elements cannot be converted to Scalar, at {sites.here()}"
            )
        return self._data.item()

    def tolist(self) -> Any:
        """The numbers as nested lists of Python's."""
        modes.look("tolist()")
        return self._data.tolist()

    # ------------------------------------------------------------------ shape

    @property
    def shape(self) -> Shape:
        """The length of each axis."""
        return self._data.shape

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """The number of elements."""
        return self._data.size

    @property
    def dtype(self) -> Any:
        """The type of the elements."""
        return self._data.dtype

    @property
    def T(self) -> Tensor:
        """The axes in reverse order."""
        return functions.transpose(self)

    @property
    def mT(self) -> Tensor:
        """Each matrix transposed: the last two axes swapped."""
        return functions.swapaxes(self, -1, -2)

    def __len__(self) -> int:
        if not self._data.ndim:
            raise TypeError(f"len() of a 0-d Tensor, at {sites.here()}")
        return len(self._data)

    def __iter__(self) -> Iterator[Tensor]:
        return (self[i] for i in range(len(self)))

    # ------------------------------------------------------------------ operators: each is its rule

    def __add__(self, other: Any) -> Tensor:
        return rules.add(self, other) if _operand(other) else NotImplemented

    def __radd__(self, other: Any) -> Tensor:
        return rules.add(other, self) if _operand(other) else NotImplemented

    def __sub__(self, other: Any) -> Tensor:
        return rules.subtract(self, other) if _operand(other) else NotImplemented

    def __rsub__(self, other: Any) -> Tensor:
        return rules.subtract(other, self) if _operand(other) else NotImplemented

    def __mul__(self, other: Any) -> Tensor:
        return rules.multiply(self, other) if _operand(other) else NotImplemented

    def __rmul__(self, other: Any) -> Tensor:
        return rules.multiply(other, self) if _operand(other) else NotImplemented

    def __truediv__(self, other: Any) -> Tensor:
        return rules.divide(self, other) if _operand(other) else NotImplemented

    def __rtruediv__(self, other: Any) -> Tensor:
        return rules.divide(other, self) if _operand(other) else NotImplemented

    def __pow__(self, other: Any) -> Tensor:
        return rules.power(self, other) if _operand(other) else NotImplemented

    def __rpow__(self, other: Any) -> Tensor:
        return rules.power(other, self) if _operand(other) else NotImplemented

    def __matmul__(self, other: Any) -> Tensor:
        return functions.matmul(self, other)

    def __rmatmul__(self, other: Any) -> Tensor:
        return functions.matmul(other, self)

    def __neg__(self) -> Tensor:
        return rules.negative(self)

    def __pos__(self) -> Tensor:
        return self

    def __abs__(self) -> Tensor:
        return rules.abs(self)

    def __iadd__(self, other: Any) -> Tensor:
        return self._in_place("+=", np.add, rules.add, other)

    def __isub__(self, other: Any) -> Tensor:
        return self._in_place("-=", np.subtract, rules.subtract, other)

    def __imul__(self, other: Any) -> Tensor:
        return self._in_place("*=", np.multiply, rules.multiply, other)

    def __ipow__(self, other: Any) -> Tensor:
        return self._in_place("**=", np.power, rules.power, other)

    def __itruediv__(self, other: Any) -> Tensor:
        return self._in_place("/=", np.true_divide, rules.divide, other)

    def _in_place(self, operator: str, ufunc: Any, rule: Any, other: Any) -> Tensor:
        """A leaf that requires a gradient is written to, under no_grad; any other name is bound to the new node."""
        if not (self.requires_grad and self.rule is None):
            return rule(self, other)
        if modes.is_grad_enabled():
            raise ValueError(
                f"{operator}: a leaf that requires grad is being used in an in-place operation: "
                f"put it under `with mg.no_grad():`, at {sites.here()}"
            )
        # a new array in place of the old one, which views and older graphs may hold
        new = kinds.quietly(ufunc, self._data, _data(other))
        self._replace(self._fitted(new, operator))
        return self

    # ------------------------------------------------------------------ functions, as methods

    exp, log, log1p, expm1, sqrt = functions.exp, functions.log, functions.log1p, functions.expm1, functions.sqrt
    square, abs, sin, cos, tan = functions.square, functions.abs, functions.sin, functions.cos, functions.tan
    tanh, sigmoid, relu, softplus = functions.tanh, functions.sigmoid, functions.relu, functions.softplus
    softmax, log_softmax, logsumexp = functions.softmax, functions.log_softmax, functions.logsumexp
    sum, mean, max, min, prod = functions.sum, functions.mean, functions.max, functions.min, functions.prod
    var, std, norm, cumsum = functions.var, functions.std, functions.norm, functions.cumsum
    clip, clamp, leaky_relu, logsigmoid = functions.clip, functions.clip, functions.leaky_relu, functions.logsigmoid
    maximum, minimum, take_along_axis = functions.maximum, functions.minimum, functions.take_along_axis
    pow, matmul = functions.power, functions.matmul
    reshape, view, transpose, permute = functions.reshape, functions.reshape, functions.transpose, functions.permute
    swapaxes, squeeze, expand_dims = functions.swapaxes, functions.squeeze, functions.expand_dims
    unsqueeze, broadcast_to = functions.expand_dims, functions.broadcast_to
    split, astype, to = functions.split, functions.astype, functions.astype

    def expand(self, *sizes: Any) -> Tensor:
        """Repeated to a shape, as torch's: -1 leaves an axis as long as it is."""
        shape = sizes[0] if len(sizes) == 1 and not isinstance(sizes[0], int) else sizes
        kept = len(shape) - self.ndim  # so many axes are new
        return functions.broadcast_to(
            self, tuple(self.shape[i - kept] if n == -1 and i >= kept >= 0 else n for i, n in enumerate(shape))
        )

    def flip(self, *axes: Any) -> Tensor:
        """Backwards along one axis or several."""
        return functions.flip(self, axes[0] if len(axes) == 1 else axes)

    def flatten(self) -> Tensor:
        """All numbers along one axis."""
        return functions.reshape(self, -1)

    def numel(self) -> int:
        """The number of elements."""
        return self.size

    @functions.torch_words
    def argmax(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """Where the largest stands, as an integer array; it has no gradient."""
        modes.look("argmax()")
        return functions.argmax(self, axis, keepdims)

    @functions.torch_words
    def argmin(self, axis: int | None = None, keepdims: bool = False) -> Any:
        """Where the smallest stands, as an integer array; it has no gradient."""
        modes.look("argmin()")
        return functions.argmin(self, axis, keepdims)

    # ------------------------------------------------------------------ indexing

    def __getitem__(self, at: Any) -> Tensor:
        return functions.index(self, at)

    def __setitem__(self, at: Any, value: Any) -> None:
        raise TypeError(
            "a Tensor does not take `t[i] = v`: it would drop out of the graph. Write mg.where(condition, v, t), "
            f"or t.data[i] = v to change the numbers themselves, at {sites.here()}"
        )

    def _compared(self, compare: Callable[[Any, Any], Any], other: Any) -> Any:
        modes.look("a comparison")
        return compare(self._data, _data(other)) if _operand(other) else NotImplemented

    def __bool__(self) -> bool:
        modes.look("bool()")
        if self._data.size != 1:
            raise ValueError(
                f"Boolean value of Tensor with {self._data.size} elements is ambiguous: "
                f"compare its .data with .any() or .all(), at {sites.here()}"
            )
        return bool(self._data)

    def __float__(self) -> float:
        modes.look("float()")
        number = float(self.item())
        sites.warn_of_leaving(self, "float")
        return number

    def __int__(self) -> int:
        modes.look("int()")
        number = int(self.item())
        sites.warn_of_leaving(self, "int")
        return number

    def __format__(self, spec: str) -> str:
        modes.look("format()")
        return format(self.item(), spec) if spec else str(self)

    def __repr__(self) -> str:
        modes.look("repr()")
        shown = np.array2string(self._data, precision=4, threshold=6, edgeitems=2, separator=", ", max_line_width=10**6)
        text = " ".join(shown.split())
        extra = f", shape={self.shape}" if len(text) > 40 else ""
        extra += f", dtype={self.dtype}" if self.dtype != np.float64 else ""
        extra += f", rule={self.rule.__name__}" if self.rule else ", requires_grad=True" if self.requires_grad else ""
        room = 80 - len("Tensor()") - len(extra)
        return f"Tensor({text if len(text) <= room else text[: room - 3] + '...'}{extra})"

    # ------------------------------------------------------------------ NumPy

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        modes.look("an array")
        if self.requires_grad:
            raise TypeError(
                "Can't make a NumPy array of a Tensor that requires grad: it would drop out of the graph. "
                f"Use .detach().numpy(), or microgrid's function of the same name, at {sites.here()}"
            )
        return np.array(self._data, dtype)

    __array_ufunc__ = numpy_protocol.on_ufunc
    __array_function__ = numpy_protocol.on_function

    # ------------------------------------------------------------------ what the graph asks

    @staticmethod
    def _held(number: Any) -> tuple[Any, bool]:
        if number.__class__ is not np.ndarray:
            number = np.asarray(number)  # NumPy gives its scalars where an array has no axes left
        kind = number.dtype.kind
        if kind not in REAL:
            given = type(number.flat[0]).__name__ if kind == "O" and number.size else number.dtype
            raise TypeError(
                f"expected real numbers, got {given}: Tensors hold floats, integers and booleans; "
                "a vector of other numbers is a list of Values"
            )
        return number, kind == "f"

    def _wrap(self, number: Any) -> Tensor:
        return Tensor._new(number, False)

    def _seed(self, gradient: Any) -> Any:
        if gradient is not None:
            return self._fitted(gradient, "backward: gradient")
        if self._data.size != 1:
            raise ValueError(
                f"grad can be implicitly created only for scalar outputs: this one has shape {self.shape}; "
                f"give backward() a gradient of that shape, or take .sum() first, at {sites.here()}"
            )
        return np.ones_like(self._data)

    def _fitted(self, given: Any, what: str) -> Any:
        """A copy of an array that must have this node's shape."""
        array = _array(_data(given), self._data.dtype, what)
        if array.shape != self.shape:
            raise ValueError(f"{what}: expected an array of shape {self.shape}, got {array.shape}, at {sites.here()}")
        return array

    def _fit(self, share: Any) -> Any:
        data = self._data
        if share.__class__ is not np.ndarray:
            if isinstance(share, Node):
                return self._fit_node(share)
            if share is None:
                raise TypeError("a derivative is None: does the function lack a `return`?")
            if isinstance(share, float) and data.ndim:  # the same everywhere
                return filled(data.shape, data.dtype, share)
            share = np.asarray(share, data.dtype)
        if share.shape != data.shape:
            share = unbroadcast(share, data.shape)
        if share.dtype == data.dtype:
            return share
        if share.dtype.kind not in REAL:
            raise TypeError(f"expected real numbers, got an array of {share.dtype}")
        return share.astype(data.dtype)

    def _fit_node(self, share: Node) -> Node:
        given = np.shape(share._data)
        if given != self.shape:
            fits = len(given) <= self.ndim and all(
                n in (1, ours) for n, ours in zip(given[::-1], self.shape[::-1], strict=False)
            )
            share = (rules.broadcast_to if fits else rules.sum_to)(share, shape=self.shape)
        return share if share._data.dtype == self.dtype else rules.astype(share, dtype=self.dtype)

    def __init_subclass__(cls) -> None:
        faces_of_arrays.add(cls)
        if sites.MARK not in sys._getframe(1).f_globals:
            sites.users_faces.add(cls)

    def _tied(self, gradient: Node) -> Any:
        # by a choice that never falls on it
        return gradient if gradient.requires_grad else rules.where(True, gradient, self)

    def _fast_backward(self) -> bool:
        return backward_of_arrays(self)

    def _own(self, gradient: Any, taken: set[int]) -> Any:
        if gradient.__class__ is not np.ndarray or gradient.base is not None or id(gradient) in taken:
            gradient = np.array(gradient)
        taken.add(id(gradient))
        return gradient


def _array(data: Any, dtype: Any, what: str) -> Any:
    """An array of one's own, of numbers.

    Raises
    ------
    TypeError
        For strings, objects, complex numbers and nodes.
    ValueError
        For ragged lists.
    """
    if isinstance(data, Node) or (isinstance(data, (list, tuple)) and _holds_node(data)):
        raise TypeError(
            f"{what}: expected numbers, got nodes, whose history would be lost: join them by mg.stack, "
            f"or .detach() them, at {sites.here()}"
        )
    if isinstance(data, np.ma.MaskedArray):
        raise TypeError(f"{what}: expected an array, got a masked one: fill it first, .filled(0), at {sites.here()}")
    try:
        array = np.array(_data(data))
        wanted = array.dtype if dtype is None else np.dtype(dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{what}: expected an array of numbers: {error}, at {sites.here()}") from None
    if array.dtype.kind not in REAL or wanted.kind not in REAL:
        given = f"{type(data).__name__} of {array.dtype}" if wanted.kind in REAL else f"dtype {wanted}"
        raise TypeError(f"{what}: expected real numbers, got {given}: {str(data)[:40]}, at {sites.here()}")
    return kinds.quietly(array.astype, wanted, copy=False)


def _holds_node(data: Any) -> bool:
    return any(isinstance(x, Node) or (isinstance(x, (list, tuple)) and _holds_node(x)) for x in data)


def _operand(other: Any) -> bool:
    if isinstance(other, (Node, float, int, np.ndarray, np.generic)):
        return True
    try:
        kinds.kind_of(other)
    except TypeError:
        return False
    return True


def _data(other: Any) -> Any:
    if isinstance(other, int) and not -(2**63) <= other < 2**63:
        return kinds.as_float(other)  # beyond NumPy's integers
    return other._data if isinstance(other, Node) else other


kinds.array_kind.face = Tensor
faces_of_arrays.add(Tensor)
kinds.register(node_kind, [Tensor])
