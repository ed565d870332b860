"""Stale data: a gradient is never computed from other numbers than the value was computed from.

Two exact checks, and neither costs a field of a node:

- *whole writes* (`x.data = ...`): a leaf that is written to takes a new creation number, so a consumer that is
  older than its input was computed from what the input was before;
- *element writes* (`x.data[0] = ...`): only who holds an array can write into it, so a node is marked when its
  array is handed out, and marked nodes alone are fingerprinted: when handed out, when used, and when a gradient
  arrives. Writes through pointers that other languages hold are not found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np

if TYPE_CHECKING:
    from microgrid.graph import Node

__microgrid_machinery__ = True


class StaleError(RuntimeError):
    """Data was written to between its use and the backward pass that needs it."""


class _Last:
    """The number taken at the last whole write anywhere: what is younger cannot be stale by one."""

    __slots__ = ("write",)

    def __init__(self) -> None:
        self.write = 0


last = _Last()


def written(node: Node, number: int) -> None:
    """The node's data was replaced or written into, just now."""
    last.write = number
    if node.rule is None:
        node._number = number
    else:
        node._note("written", number)  # its creation number stays: the order of the graph depends on it


def fingerprint(array: Any) -> int:
    """A hash of the contents."""
    return hash((array.shape, array.dtype.str, array.tobytes()))


def hand_out(node: Node) -> Any:
    """The node's array, for the user to keep: an array that nothing else shares, from now on watched."""
    if node._extra is None or "handed" not in node._extra:
        node._data = node._data.copy()  # views of the old array, held by other nodes, stay as they are
        node._note("handed", fingerprint(node._data))
    return node._data


def taken_back(node: Node) -> None:
    """The node has a new array that nobody else holds."""
    if node._extra is not None:
        node._extra.pop("handed", None)


def used(node: Node, inputs: Sequence[Any]) -> None:
    """A node was made from inputs of which some may have been handed out: remember what they were."""
    for position, x in enumerate(inputs):
        extra = getattr(x, "_extra", None)
        if extra is not None and "handed" in extra:
            if isinstance(node._data, np.ndarray) and (node._data.base is not None or node._data is x._data):
                node._data = node._data.copy()  # not a view of what the user holds
            if node.rule is not None:
                if node._extra is None or "seen" not in node._extra:
                    node._note("seen", {})
                assert node._extra is not None
                node._extra["seen"][position] = fingerprint(x._data)


def check(node: Node, inputs: Sequence[Any]) -> None:
    """Raise if the node is not what its rule gives of these, its inputs, any more."""
    made = node._number
    for position, x in enumerate(inputs):
        if getattr(x, "_number", 0) > made:
            _refuse(x, node)
        marks = getattr(x, "_extra", None)
        if marks is not None:
            if marks.get("written", 0) > made:
                _refuse(x, node)
            if "handed" in marks:
                seen = (node._extra or {}).get("seen", {}).get(position, marks["handed"])
                if fingerprint(x._data) != seen:
                    _refuse(x, node)
    own = node._extra
    if own is None:
        return
    if "written" in own or ("handed" in own and fingerprint(node._data) != own["handed"]):
        raise StaleError(
            f"{node._described()} was written to after it was computed: its value is no longer what it was made "
            "from, so it has no gradient to hand on; compute it again, or write to a .detach() of it"
        )


def _refuse(x: Node, consumer: Node) -> NoReturn:
    raise StaleError(
        f"one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"{x._described()} was written to after {consumer._described()} used it; "
        "compute the loss again before backward()"
    )
