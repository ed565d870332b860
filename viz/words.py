"""Numbers and names as they are read in a picture: one formatter for every number, and no character that can harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

import microgrid as mg

__microgrid_machinery__ = True

SHOWN_ELEMENTS = 6  # so many numbers of an array are printed one by one
SHOWN_CONSTANTS = 3  # likewise, of an array inside an operation
SHOWN_CHARACTERS = 48

# Control characters, the halves of surrogate pairs and what Unicode says is no character cannot stand in XML or HTML,
# and NUL ends a C string: each becomes a picture of itself, or the replacement character. So does what reverses or
# embeds the text around it.
VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "␡",
    **dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), *range(0xFDD0, 0xFDF0)], "\ufffd"),
    **dict.fromkeys([plane + last for plane in range(0, 0x110000, 0x10000) for last in (0xFFFE, 0xFFFF)], "\ufffd"),
    **dict.fromkeys([0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A)], "\ufffd"),
}


def visible(text: str) -> str:
    r"""The text, with a picture in place of what no file of text can hold.

    Examples
    --------
    >>> visible("a\nb"), visible("\ud800")
    ('a␊b', '�')
    """
    return text.translate(VISIBLE)


def clipped(text: str) -> str:
    """At most 48 characters, an ellipsis for the rest."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def given(thing: Any) -> str:
    """What a user gave, for messages, on one line."""
    try:
        return f"{type(thing).__name__} {clipped(' '.join(repr(thing).split()))}"
    except Exception:  # of an object half made, say
        return type(thing).__name__


def counted(count: int, what: str) -> str:
    """A count and its noun.

    Examples
    --------
    >>> counted(1, "node"), counted(1200, "node")
    ('1 node', '1,200 nodes')
    """
    return f"{count:,} {what}{'' if count == 1 else 's'}"


# ---------------------------------------------------------------------------------------------------- numbers


def number(x: Any) -> str:
    """One number: four decimals where that says something, else powers of ten.

    0.0000 is 0 itself, of either sign, and nothing that was rounded to it.

    Examples
    --------
    >>> [number(x) for x in (2.5, 0.0, -0.0, 3e-5, 1e6, float("inf"), float("nan"), 7, True)]
    ['2.5000', '0.0000', '0.0000', '3.000e-05', '1.000e+06', 'inf', 'nan', '7', 'True']
    """
    if not isinstance(x, (float, np.floating)):  # integers; Fraction, mpmath's and SymPy's know how to print themselves
        return str(x)
    x = float(x) + 0.0  # which makes a plain zero of -0.0
    return f"{x:.4f}" if x == 0 or 1e-3 <= abs(x) < 1e5 or x - x != 0 else f"{x:.3e}"


def described(numbers: Any) -> str:
    """A number, a few numbers, or the mean and the standard deviation of many, of those that are finite.

    Examples
    --------
    >>> described(0.25), described(1e-7), described(np.array([1.0, 2.0])), described(np.arange(9.0))
    ('0.2500', '1.000e-07', '[1.0000, 2.0000]', 'mean 4.0000 ± 2.5820')
    >>> described(np.array([1.0, float("nan")] * 9))
    'mean 1.0000 ± 0.0000 of 9 finite'
    """
    if not isinstance(numbers, np.ndarray):
        return clipped(number(numbers))
    if numbers.size <= SHOWN_ELEMENTS:
        return _listed(numbers.tolist())
    finite = numbers[np.isfinite(numbers)]
    some = f" of {finite.size:,} finite" if finite.size < numbers.size else ""
    return f"{_spread(finite)}{some}" if finite.size else "none finite"


def _spread(numbers: NDArray[Any]) -> str:
    """Mean and standard deviation, which neither overflow nor, of equal numbers, are rounded."""
    numbers = numbers.astype(float)
    first = float(numbers.flat[0])
    if (numbers == first).all():
        return f"mean {number(first)} ± {number(0.0)}"
    exponent = int(np.frexp(np.abs(numbers).max())[1])
    small = np.ldexp(numbers, -exponent)  # exact, but for what is nothing beside the largest
    with np.errstate(over="ignore"):  # rounded above the largest number
        mean, spread = np.ldexp([small.mean(), small.std()], exponent)
    return f"mean {number(mean)} ± {number(spread)}"


def _listed(item: Any) -> str:
    return f"[{', '.join(map(_listed, item))}]" if isinstance(item, list) else number(item)


def constant(x: Any) -> str:
    """A constant of an operation: a number as elsewhere, without zeros at its end (`2`, `0.1`); an array in brief.

    Examples
    --------
    >>> constant(2.0), constant(0.123456), constant(1e-7), constant(np.ones((3, 4)))
    ('2', '0.1235', '1e-07', 'array(3,4)')
    """
    if isinstance(x, np.ndarray):
        if x.size <= SHOWN_CONSTANTS:
            return described(x)
        return f"array{x.shape}".replace(" ", "") + (" not finite" if fault(x) else "")
    if not isinstance(x, (float, np.floating)):
        return clipped(number(x))
    digits, *power = number(x).split("e")
    return "e".join([digits.rstrip("0").rstrip(".") if "." in digits else digits, *power])


def fault(numbers: Any) -> str:
    """Whether, or how many of them, are not finite; empty if all are."""
    if numbers is None or not isinstance(numbers, (float, np.ndarray)):
        return ""
    bad = int(np.size(numbers) - np.isfinite(numbers).sum())
    return "" if not bad else "not finite" if np.size(numbers) == 1 else f"{bad} of {np.size(numbers)} not finite"


def together(numbers: Sequence[Any]) -> Any:
    """What several nodes hold, as one array; where that cannot be, one for all or an ellipsis. None of none.

    Examples
    --------
    >>> together([1.0, 2.0]), together([np.zeros(1), np.ones((1, 2))])
    (array([1., 2.]), array([0., 1., 1.]))
    """
    if len(numbers) < 2:
        return numbers[0] if numbers else None
    first = numbers[0]
    if all(type(x) is float for x in numbers):
        return np.array(numbers)
    if all(isinstance(x, (float, np.ndarray)) for x in numbers):
        alike = len({np.shape(x) for x in numbers}) == 1
        return np.stack(numbers) if alike else np.concatenate([np.ravel(x) for x in numbers])
    return "…" if any(isinstance(x, np.ndarray) or x != first for x in numbers) else first


def held(node: mg.Node) -> tuple[Any, Any]:
    """Data and gradient of a node as numbers; a gradient of None where no pass has been.

    `.data` would mark the node as handed out, and a Value's `.grad` is 0.0 before any pass.
    """
    grad = node._grad
    return node._data, grad._data if isinstance(grad, mg.Node) else grad
