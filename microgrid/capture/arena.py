"""Memory for what is handed out again and again: arrays that nobody holds any more serve once more.

An array that was handed out is never written to while anyone can see it: who holds it, or a view of it, is counted by
Python itself. So the gradients of a training loop, which are forgotten before each step, always lie in the same place.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from operator import is_
from typing import Any
from weakref import ref

import numpy as np

__microgrid_machinery__ = True

LINE = 64  # bytes that a processor loads at once: arrays that begin with one are quicker
POOL = 3
counts: Any = getattr(sys, "getrefcount", None)
if not getattr(sys, "_is_gil_enabled", lambda: True)():
    counts = None  # without the lock of the interpreter the counts are not exact


def aligned(shape: Sequence[int], dtype: Any) -> Any:
    """An array without values, that begins where a line of the processor's cache begins."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    raw = np.empty(size + LINE, np.uint8)
    start = -raw.ctypes.data % LINE
    return raw[start : start + size].view(dtype).reshape(shape)


class Flat:
    """Arrays of one dtype, one after the other in one.

    Attributes
    ----------
    whole : ndarray of shape (n,)
    parts : tuple of ndarray
        In C order, next to each other.
    """

    __slots__ = ("__weakref__", "parts", "whole")

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> None:
        sizes = [math.prod(shape) for shape in shapes]
        self.whole = aligned((sum(sizes),), dtype)
        parts, start = [], 0
        for shape, size in zip(shapes, sizes, strict=True):
            parts.append(self.whole[start : start + size].reshape(shape))
            start += size
        self.parts = tuple(parts)
        owner, flats = id(self.whole.base), _flats
        flats[owner] = ref(self, lambda gone: flats.pop(owner) if flats.get(owner) is gone else None)


_flats: dict[int, ref[Flat]] = {}  # by the owner of their memory


def flat_of(arrays: Sequence[Any]) -> Any:
    """The array that consists of exactly these arrays, in this order; None if there is none.

    Examples
    --------
    >>> a, b = Flat([(2,), (3, 1)], float).parts
    >>> flat_of([a, b]) is None  # the array that they are parts of is gone
    True
    >>> flat = Flat([(2,), (3, 1)], float)
    >>> flat_of(flat.parts) is flat.whole, flat_of(flat.parts[:1]) is None
    (True, True)
    """
    known = _flats.get(id(getattr(arrays[0], "base", None)))
    flat = None if known is None else known()
    if flat is None or len(arrays) != len(flat.parts) or not all(map(is_, arrays, flat.parts)):
        return None
    return flat.whole


class Arena:
    """Sets of arrays of the same shapes, each handed out while nobody holds an array of it.

    Parameters
    ----------
    shapes : sequence of tuple of int
    dtype : dtype

    Examples
    --------
    >>> arena = Arena([(2,), (3, 1)], float)
    >>> flat = arena()
    >>> a, b = flat.parts
    >>> arena() is flat  # a and b are held
    False
    >>> del a, b
    >>> arena() is flat
    True
    """

    def __init__(self, shapes: Sequence[tuple[int, ...]], dtype: Any) -> None:
        self.shapes, self.dtype = shapes, dtype
        self._pool: list[tuple[Flat, tuple[Any, ...], int]] = []

    def __call__(self) -> Flat:
        """A set that nobody else holds; what stands in it is of no meaning."""
        for flat, arrays, free in self._pool:
            if sum(map(counts, arrays)) == free:
                return flat
        flat = Flat(self.shapes, self.dtype)
        if counts is not None and len(self._pool) < POOL:
            arrays = (*flat.parts, flat.whole, flat.whole.base)  # a view of a part has the last one as its base
            self._pool.append((flat, arrays, sum(map(counts, arrays))))
        return flat
