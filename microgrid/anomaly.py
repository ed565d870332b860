"""Messages for what went wrong in an operation: an input that does not fit, or the first number that is not finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from microgrid import sites

if TYPE_CHECKING:
    from microgrid.graph import Node
    from microgrid.rule import Rule

__microgrid_machinery__ = True


CLIFF = (
    "; where the argument is a sigmoid that has rounded to 0 or 1, take the loss on logits, which is finite everywhere "
    "(binary_cross_entropy_with_logits, nn.BCEWithLogitsLoss)"
)

FUNCTIONS = {"total": "sum"}  # what users call a rule by, where it is not the rule's own name


class AnomalyError(FloatingPointError):
    """The first number that is not finite, under `detect_anomaly`."""


def explained(error: Exception, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Exception:
    """An error of Python's, NumPy's or ours as the user's: the operation, the shapes, the reason, the line."""
    # where one rule calls another, the outer one is what the user called
    reason: str = getattr(error, "reason", str(error))
    if "truth value of an array" in reason:
        reason = "an array has no one truth value: write mg.where(condition, x, y) in place of `if`"
    shapes = [np.shape(getattr(x, "_data", x)) for x in inputs if not isinstance(x, (str, list, tuple))]
    given = ", ".join(map(str, shapes)) if any(shapes) else ""
    if rule.__name__ == "matmul" and len(shapes) == 2 and not reason.startswith("expected"):
        given, reason = f"{shapes[0]} @ {shapes[1]}", _about_matmul(*shapes) or reason
    elif rule.__name__ == "linear" and len(shapes) == 3:
        given = f"x {shapes[0]}, weight {shapes[1]}, bias {shapes[2]}"
        if shapes[0] and len(shapes[1]) == 2 and shapes[0][-1] != shapes[1][1]:
            reason = f"x has {shapes[0][-1]} features, the weight takes {shapes[1][1]}"
    words = [f"{name}={item}" for name, item in parameters.items() if item is not None]
    what = ": ".join([_called(rule), *filter(None, [", ".join(filter(None, [given, *words]))]), reason.strip()])
    kind = next(k for k in (ValueError, IndexError, TypeError) if isinstance(error, k))
    new = kind(what if ", at " in what else f"{what}, at {sites.here()}")
    vars(new)["reason"] = reason
    return new


def _called(rule: type[Rule]) -> str:
    return FUNCTIONS.get(rule.__name__, rule.__name__) if rule.ours else rule.__name__


def _about_matmul(x: tuple[int, ...], y: tuple[int, ...]) -> str:
    if not (x and y):
        return "an operand is a single number: multiply by * instead"
    inner = y[max(len(y) - 2, 0)]
    return f"inner sizes {x[-1]} and {inner} differ" if x[-1] != inner else ""


def _found(x: Any, watch: tuple[bool, bool]) -> str | None:
    """What is not finite in x: "nan", "inf", "-inf"; None where nothing is, or where nobody asks."""
    nan, inf = watch
    try:
        array = np.asarray(x, dtype=float) if not isinstance(x, np.ndarray) else x
    except (TypeError, ValueError):
        return None  # a symbol
    if array.dtype.kind not in "fc":
        return None
    bad = (np.isnan(array) & nan) | (np.isinf(array) & inf)
    if not bad.any():
        return None
    where = np.argwhere(bad)[0]
    text = str(float(array[tuple(where)]))
    return text if not array.ndim else f"{text} at {[int(i) for i in where]} of shape {array.shape}"


def check_value(rule: type[Rule], numbers: Sequence[Any], z: Any, watch: tuple[bool, bool]) -> None:
    """Raise if an operation gave a number that is not finite.

    Raises
    ------
    AnomalyError
    """
    if (found := _found(z, watch)) is None:
        return
    advice = CLIFF if rule.__name__ == "log" and found.startswith("-inf") else ""
    raise AnomalyError(f"{_called(rule)} gave {found} of inputs {_summaries(numbers)}{advice}, at {sites.here()}")


def check_share(node: Node, position: int, g: Any, share: Any, watch: tuple[bool, bool]) -> None:
    """Raise if a backward step gave a number that is not finite.

    Raises
    ------
    AnomalyError
    """
    if (found := _found(getattr(share, "_data", share), watch)) is None:
        return
    assert node.rule is not None
    name = node.rule.inputs[0] + f"[{position}]" if node.rule.variadic else node.rule.inputs[position]
    advice = CLIFF if node.rule.__name__ == "log" and "inf" in found else ""
    if found.startswith("nan") and not np.all(np.asarray(getattr(g, "_data", g), dtype=float)):
        advice = (
            "; the gradient from above has a 0 where the local derivative is not finite, as when where(c, f(x), 0) "
            "meets an x outside the domain of f: write f(where(c, x, safe)), with a safe x inside the domain"
        )
    numbers = [getattr(x, "_data", x) for x in node.inputs]
    raise AnomalyError(
        f"backward of {node._described()}: d/d{name} gave {found}, of gradient {_summaries([getattr(g, '_data', g)])} "
        f"and inputs {_summaries(numbers)}{advice}"
    )


def _summaries(numbers: Sequence[Any]) -> str:
    return ", ".join(_summary(x) for x in numbers)


def _summary(x: Any) -> str:
    if not isinstance(x, np.ndarray) or x.size <= 6:
        return str(x.tolist() if isinstance(x, (np.ndarray, np.generic)) else x)
    finite = x[np.isfinite(x)] if x.dtype.kind == "f" else x
    low, high = (finite.min(), finite.max()) if finite.size else (math.nan, math.nan)
    return f"array {x.shape} {x.dtype} in [{low:.4g}, {high:.4g}], {x.size - finite.size} not finite"
