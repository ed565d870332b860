"""What a function does with data besides mathematics: masks that are drawn, labels that become places, checks.

The engine calls it at once. A record (`mg.compile`) keeps it, and does it anew at each replay, on the arrays of that
replay: so it may depend on arguments and on what stands around the function, but not on what the function computes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from microgrid import kinds, modes
from microgrid.graph import Node, noted
from microgrid.rule import Rule

__microgrid_machinery__ = True


class prepare(Rule):  # noqa: N801  # as all rules are called
    """z = an array that some function made of the arrays xs; it has no derivative."""

    constant = ("xs",)

    def value(*xs, function, words):  # type: ignore[no-untyped-def]
        return function(*xs, **dict(words))


class Check(NamedTuple):
    """A function that raises where arrays are not as they should be, and what it was called with."""

    function: Callable[..., Any]
    inputs: tuple[Any, ...]
    words: tuple[tuple[str, Any], ...]

    def run(self, *arrays: Any) -> None:
        """Check these arrays."""
        self.function(*arrays, **dict(self.words))


def prepared(function: Callable[..., Any], *inputs: Any, **words: Any) -> Any:
    """The array `function(*arrays, **words)`, through which no gradient flows; made anew at each replay.

    Parameters
    ----------
    function : callable
        A function of a module, not one made on the spot: a record is valid where it is the same one again.
    *inputs : Tensor, ndarray or plain constant
        Tensors are passed as their arrays.
    **words
        Plain constants, and generators of random numbers.

    Returns
    -------
    ndarray, or while a record is made a Tensor that stands for it

    Examples
    --------
    >>> prepared(np.expand_dims, np.array([1, 2]), 1).tolist()
    [[1], [2]]
    """
    going_on = modes.record() if modes.special.count else None
    own = words if going_on is None else {name: going_on.own(x) for name, x in words.items()}
    array = function(*map(_held, inputs), **own)
    if going_on is not None:
        parameters = {"function": function, "words": tuple(words.items())}
        return noted(kinds.array_kind.face, np.asarray(array), False, prepare, inputs, parameters)
    return array


def checked(function: Callable[..., Any], *inputs: Any, **words: Any) -> None:
    """Call `function(*arrays, **words)`, which raises where something is wrong with them; at each replay as well."""
    function(*map(locked, inputs), **words)
    if modes.special.count and (going_on := modes.record()) is not None:
        going_on.checks.append(Check(function, inputs, tuple(words.items())))


def locked(x: Any) -> Any:
    """The array of a Tensor; read-only unless the user has it: nobody else writes to it, and users are given a copy."""
    if not isinstance(x, Node):
        return x
    if isinstance(x._data, np.ndarray) and x._data.flags.writeable and (not x._extra or "handed" not in x._extra):
        x._data.setflags(write=False)
    return x._data


def _held(x: Any) -> Any:
    return x._data if isinstance(x, Node) else x
