"""What a setting may be: a check gives it back as a plain number, or raises in torch's words with the user's line.

Plain, because a NumPy scalar such as `np.logspace(-4, -1)[0]` would turn float32 parameters into float64 ones.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from typing import Any, TypeAlias

import numpy as np

import microgrid as mg

__microgrid_machinery__ = True

Check: TypeAlias = Callable[[Any], Any]

LARGEST = sys.float_info.max


def number(name: str, low: float = -LARGEST, below: float = math.inf) -> Check:
    """A check for finite numbers in [low, below), called `name` in messages.

    Examples
    --------
    >>> number("learning rate", 0)(np.float32(0.5))
    0.5
    """
    if below < math.inf:
        wanted = f"[{low}, {below})"
    else:
        wanted = f"a finite number >= {low}" if low > -LARGEST else "a finite number"

    def check(value: Any) -> float:
        kind = type(value)
        if (kind is float or kind is int) and low <= value < below and value <= LARGEST:
            return value  # type: ignore[no-any-return]  # nearly always, and at every step
        if isinstance(value, np.integer | np.floating):
            value = float(value)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise TypeError(f"{name}: expected a number, got {value!r}, at {mg.sites.here()}")
        if not (low <= value < below and value <= LARGEST):
            raise ValueError(f"Invalid {name}: {value}, expected {wanted}, at {mg.sites.here()}")
        return float(value)

    return check


COUNTABLE = 2**53  # beyond it the floats that powers and rates are found with do not tell one step from the next


def integer(name: str, low: int) -> Check:
    """A check for integers from `low` to 2^53."""

    def check(value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int | np.integer):
            raise TypeError(f"{name}: expected an integer, got {value!r}, at {mg.sites.here()}")
        if value < low:
            raise ValueError(f"Invalid {name}: {value}, expected an integer >= {low}, at {mg.sites.here()}")
        if value > COUNTABLE:
            raise ValueError(
                f"Invalid {name}: a number of {int(value).bit_length()} bits, expected an integer <= 2^53, "
                f"at {mg.sites.here()}"
            )
        return int(value)

    return check


def flag(name: str) -> Check:
    """A check for True and False: a number in a flag's place is a slip in the order of the arguments."""

    def check(value: Any) -> bool:
        if value is True or value is False:
            return value
        if not isinstance(value, np.bool_):
            raise TypeError(f"{name}: expected True or False, got {value!r}, at {mg.sites.here()}")
        return bool(value)

    return check


def listed(name: str, each: Check) -> Check:
    """A check for lists (or other iterables) of what `each` checks."""

    def check(value: Any) -> list[Any]:
        if not isinstance(value, Iterable) or isinstance(value, str | mg.Tensor):
            raise TypeError(f"{name}: expected a list of numbers, got {value!r}, at {mg.sites.here()}")
        return [each(item) for item in value]

    return check


def betas(value: Any) -> tuple[float, float]:
    """The check of Adam's pair."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        raise TypeError(f"betas: expected two numbers, as in (0.9, 0.999), got {value!r}, at {mg.sites.here()}")
    return _beta0(value[0]), _beta1(value[1])


_beta0, _beta1 = (number(f"beta parameter at index {index}", 0, 1) for index in (0, 1))
