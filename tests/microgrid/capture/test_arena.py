"""Memory that is handed out again is memory that nobody can see any more."""

from __future__ import annotations

import gc
from typing import Any

import numpy as np
import pytest

from microgrid.capture.arena import LINE, POOL, Arena, Flat, aligned, flat_of

SHAPES = [(2, 3), (3,), (), (0, 4), (1, 1)]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.int64])
@pytest.mark.parametrize("shape", SHAPES)
def test_aligned(shape: Any, dtype: Any) -> None:
    array = aligned(shape, dtype)
    assert (array.shape, array.dtype) == (shape, np.dtype(dtype))
    assert array.size == 0 or array.ctypes.data % LINE == 0
    assert array.flags.writeable
    assert array.flags.c_contiguous


def test_parts_lie_side_by_side() -> None:
    flat = Flat(SHAPES, np.float64)
    flat.whole[:] = range(flat.whole.size)
    assert [part.shape for part in flat.parts] == SHAPES
    assert np.concatenate(flat.parts, None).tolist() == flat.whole.tolist()
    assert flat_of(flat.parts) is flat.whole
    for others in (flat.parts[::-1], flat.parts[:-1], [*flat.parts, flat.parts[0]], [part[...] for part in flat.parts]):
        assert flat_of(others) is None
    assert flat_of([np.zeros(3)]) is None
    assert flat_of([None]) is None


HOLDERS = {
    "a part": lambda flat: flat.parts[0],
    "a view of a part": lambda flat: flat.parts[0][1:],
    "a view of a view": lambda flat: flat.parts[0].T[1:][:, :1],
    "the whole": lambda flat: flat.whole,
    "a view of the whole": lambda flat: flat.whole[2:4],
    "a buffer": lambda flat: memoryview(flat.parts[1]),
    "an iterator": lambda flat: iter(flat.parts[1]),
    "a list of parts": lambda flat: list(flat.parts),
    "another type's view": lambda flat: flat.parts[1].view(np.int64),
    "a closure": lambda flat: (lambda part: lambda: part)(flat.parts[1]),
}


@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_held_is_not_handed_out(name: str) -> None:
    """However it is held; and it is handed out again when it is let go."""
    arena = Arena([(2, 3), (3,)], np.float64)
    first = arena()
    assert arena() is first
    held = HOLDERS[name](first)
    other = arena()
    assert other is not first
    assert not np.shares_memory(other.whole, first.whole)
    gc.collect()
    assert arena() is not first
    del held
    assert arena() in (first, other)
    kept = other.parts[0]
    assert arena() is first
    del kept


def test_the_pool_is_bounded() -> None:
    arena = Arena([(2,)], np.float64)
    parts = [arena().parts[0] for _ in range(3 * POOL)]
    assert len({part.ctypes.data for part in parts}) == 3 * POOL
    assert len(arena._pool) == POOL
