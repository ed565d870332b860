"""What is asked of data and settings; of a loss's target at each step, or once for an array that cannot be written to.

A target that cannot be written to, read-only as `nn.fit` makes it or a Tensor's own array, is remembered (by identity,
weakly) when it has passed: the second step pays a dictionary look-up.
"""

from __future__ import annotations

import functools
import math
import sys
import weakref
from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

import microgrid as mg
from microgrid.capture.prepared import locked

__microgrid_machinery__ = True

Array: TypeAlias = NDArray[Any]
Data: TypeAlias = mg.Tensor | ArrayLike


class once_per_array:  # noqa: N801  # a decorator
    """Make `check(name, array, *rest)` run once for each read-only array and `rest`."""

    def __init__(self, check: Callable[..., None]) -> None:
        functools.update_wrapper(self, check)
        self.check = check
        self.seen: dict[tuple[int | str, ...], weakref.ref[Array]] = {}

    def __call__(self, name: str, array: Array, *rest: int | str) -> None:
        if not self.passed(array, *rest):
            self.check(name, array, *rest)
            if array.base is None and not array.flags.writeable:
                key = (id(array), *rest)
                self.seen[key] = weakref.ref(array, lambda _: self.seen.pop(key, None))

    def passed(self, array: Array, *rest: int | str) -> bool:
        """Whether it is known to pass."""
        seen = self.seen.get((id(array), *rest))
        return seen is not None and seen() is array


def refuse_infinite(name: str, role: str, array: Array) -> None:
    """Any real numbers, none of them nan or infinite."""
    finite = np.isfinite(array)
    if not finite.all():
        where = first(~finite)
        raise ValueError(
            f"{name}: {role} holds {array[where]} at index {where}, expected finite numbers, at {mg.sites.here()}"
        )


def refuse_no_labels(name: str, role: str, array: Array) -> None:
    """Labels of binary cross-entropy: numbers in [0, 1]."""
    refuse_infinite(name, role, array)
    outside = (array < 0) | (array > 1)
    if outside.any():
        where = first(outside)
        raise ValueError(
            f"{name}: {role} holds {array[where]} at index {where}, expected labels in [0, 1], at {mg.sites.here()}"
        )


@once_per_array
def check_finite(name: str, array: Array) -> None:
    """A target of finite numbers."""
    refuse_infinite(name, "target", array)


@once_per_array
def check_labels(name: str, array: Array) -> None:
    """A target of labels in [0, 1]."""
    refuse_no_labels(name, "target", array)


@once_per_array
def check_amounts(name: str, array: Array) -> None:
    """A target of finite numbers y >= 0: probabilities, or counts."""
    refuse_infinite(name, "target", array)
    if (array < 0).any():
        where = first(array < 0)
        raise ValueError(
            f"{name}: target holds {array[where]} at index {where}, expected probabilities or other y >= 0, "
            f"at {mg.sites.here()}"
        )


@once_per_array
def check_weights(name: str, array: Array, role: str) -> None:
    """Weights of a loss: finite numbers, of either sign."""
    refuse_infinite(name, role, array)


@once_per_array
def check_classes(name: str, array: Array, count: int, ignore_index: int) -> None:
    """Class indices 0 ... count - 1, and `ignore_index` for what does not count."""
    outside = ((array < 0) | (array >= count)) & (array != ignore_index)
    if outside.any():
        where = first(outside)
        raise ValueError(
            f"{name}: target holds the class {array[where]} at index {where}, expected 0 to {count - 1} "
            f"(the input has {count} columns), at {mg.sites.here()}"
        )


def numeric(name: str, role: str, data: Data) -> Array:
    """The data as an array of real numbers, the same object if it is one already.

    Raises
    ------
    TypeError
        For strings, objects, complex numbers and masked arrays.
    ValueError
        For rows of unequal length.
    """
    try:
        array = locked(data) if isinstance(data, mg.Tensor) else np.asarray(refuse_mask(name, role, data))
    except ValueError as error:
        raise ValueError(f"{name}: {role} is no regular array: {error}, at {mg.sites.here()}") from None
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"{name}: {role} must be an array of real numbers, got dtype {array.dtype}, at {mg.sites.here()}"
        )
    return array


def refuse_mask(name: str, role: str, data: Any) -> Any:
    """The data; a masked array, whose mask would be lost without a word, is refused."""
    masked = sys.modules.get("numpy.ma")  # nobody has made one where it was never imported
    if masked is not None and isinstance(data, masked.MaskedArray):
        raise TypeError(
            f"{name}: {role} is a masked array, and what it masks would be used: fill or leave out what is masked "
            f"(data.filled(value), data.compressed()), at {mg.sites.here()}"
        )
    return data


def too_large(array: Array, dtype: Any) -> Any:
    """The first finite number that would be infinite in this dtype, None if there is none."""
    if array.dtype.kind != "f" or np.dtype(dtype).itemsize >= array.dtype.itemsize:
        return None
    with np.errstate(invalid="ignore"):
        beyond = np.isfinite(array) & (abs(array) > np.finfo(dtype).max)
    return array[first(beyond)] if beyond.any() else None


def cast(name: str, role: str, array: Array, dtype: Any) -> Array:
    """The array in another dtype; the same object if it has it.

    Raises
    ------
    ValueError
        If a number is too large for it.
    """
    number = too_large(array, dtype)
    if number is not None:
        raise ValueError(
            f"{name}: {role} holds {number}, which is too large for {np.dtype(dtype)}, the dtype of the model: scale "
            f"the data, or make the model with dtype=float, at {mg.sites.here()}"
        )
    return array.astype(dtype, copy=False)


def check_shape(name: str, input: mg.Tensor, target: Array) -> None:
    """Equal shapes: broadcasting (n, 1) against (n,) would silently compare every sample with every other."""
    if target.shape != input.shape:
        remedy = f"target.reshape{input.shape}" if target.size == input.size else "nothing is broadcast"
        raise ValueError(
            f"{name}: input has shape {input.shape}, target has shape {target.shape}, expected equal shapes "
            f"({remedy}), at {mg.sites.here()}"
        )
    if not target.size:
        raise ValueError(f"{name}: input and target of shape {target.shape} are empty, at {mg.sites.here()}")


def integer(name: str, role: str, number: object) -> int:
    """An integer of Python's or NumPy's, as Python's; no boolean."""
    if not isinstance(number, int | np.integer) or isinstance(number, bool):
        raise TypeError(f"{name}: {role} must be an integer, got {number!r}, at {mg.sites.here()}")
    return int(number)


def check_count(name: str, role: str, number: object) -> int:
    """An integer of at least 1."""
    count = integer(name, role, number)
    if count < 1:
        raise ValueError(f"{name}: {role} must be at least 1, got {number}, at {mg.sites.here()}")
    return count


def real(name: str, role: str, number: object) -> float:
    """A finite number, as a float; no boolean."""
    if not isinstance(number, int | float | np.integer | np.floating) or isinstance(number, bool):
        raise TypeError(f"{name}: {role} must be a number, got {number!r}, at {mg.sites.here()}")
    if not math.isfinite(number):
        raise ValueError(f"{name}: {role} must be finite, got {number}, at {mg.sites.here()}")
    return float(number)


def first(mask: Array) -> tuple[int, ...]:
    """The index of the first True."""
    return tuple(int(i) for i in np.argwhere(mask)[0])
