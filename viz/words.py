"""Numbers and names as they are read in a picture: one formatter for every number, and no character that can harm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

import microgrid as mg

__microgrid_machinery__ = True

SHOWN_ELEMENTS = 6  # so many numbers of an array are printed one by one
SHOWN_CONSTANTS = 3  # likewise, of an array inside an operation
SHOWN_CHARACTERS = 48

# Control characters and the halves of surrogate pairs cannot stand in XML, and NUL ends a C string: each becomes a
# picture of itself, or the replacement character. So does what reverses or embeds the text around it.
VISIBLE = {
    **{code: chr(0x2400 + code) for code in range(0x20)},
    0x7F: "␡",
    **dict.fromkeys([*range(0x80, 0xA0), *range(0xD800, 0xE000), 0xFFFE, 0xFFFF], "\ufffd"),
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
    """What a user gave, for messages."""
    return f"{type(thing).__name__} {clipped(repr(thing))}"


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
    """A number, a few numbers, or the mean and the standard deviation of many.

    Examples
    --------
    >>> described(0.25), described(1e-7), described(np.array([1.0, 2.0])), described(np.arange(9.0))
    ('0.2500', '1.000e-07', '[1.0000, 2.0000]', 'mean 4.0000 ± 2.5820')
    """
    if not isinstance(numbers, np.ndarray):
        return clipped(number(numbers))
    if numbers.size > SHOWN_ELEMENTS:
        with np.errstate(all="ignore"):
            spread = 0.0 if (numbers == numbers.flat[0]).all() else numbers.std()  # which is rounded, of equal numbers
            return f"mean {number(numbers.mean())} ± {number(spread)}"
    return _listed(numbers.tolist())


def _listed(item: Any) -> str:
    return f"[{', '.join(map(_listed, item))}]" if isinstance(item, list) else number(item)


def constant(x: Any) -> str:
    """A constant as it was written (`2`, not `2.0000`), or an array in brief."""
    if isinstance(x, np.ndarray):
        return f"array{x.shape}".replace(" ", "") if x.size > SHOWN_CONSTANTS else described(x)
    return f"{x:g}" if isinstance(x, float) else clipped(str(x))


def fault(numbers: Any) -> str:
    """Whether, or how many of them, are not finite; empty if all are."""
    if numbers is None or not isinstance(numbers, (float, np.ndarray)):
        return ""
    bad = int(np.size(numbers) - np.isfinite(numbers).sum())
    return "" if not bad else "not finite" if np.size(numbers) == 1 else f"{bad} of {np.size(numbers)} not finite"


def together(numbers: Sequence[Any]) -> Any:
    """What several nodes hold, as one array where that can be; of other kinds the first. None where one holds none."""
    if any(x is None for x in numbers):
        return None
    if len(numbers) == 1:
        return numbers[0]
    first = numbers[0]
    if all(type(x) is float for x in numbers):
        return np.array(numbers)
    if isinstance(first, np.ndarray) and all(isinstance(x, np.ndarray) and x.shape == first.shape for x in numbers):
        return np.stack(numbers)
    return first


def held(node: mg.Node) -> tuple[Any, Any]:
    """Data and gradient of a node as numbers; a gradient of None where no pass has been.

    `.data` would mark the node as handed out, and a Value's `.grad` is 0.0 before any pass.
    """
    grad = node._grad
    return node._data, grad._data if isinstance(grad, mg.Node) else grad
