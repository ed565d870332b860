"""Nested containers: dicts, lists, tuples and named tuples, to any depth, and what stands at their ends.

A container is taken apart into its leaves and put together again from others, in the order in which it lists them.
Everything that is no such container is a leaf.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from microgrid import sites

__microgrid_machinery__ = True


def leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf with its place, written as one would reach it.

    Examples
    --------
    >>> list(leaves({"W": [1.0, 2.0], "b": (3.0,)}, "params"))
    [("params['W'][0]", 1.0), ("params['W'][1]", 2.0), ("params['b'][0]", 3.0)]
    """
    if isinstance(tree, dict):
        for key, item in tree.items():
            yield from leaves(item, f"{path}[{key!r}]")
    elif isinstance(tree, (list, tuple)):
        names = getattr(tree, "_fields", None)
        for place, item in enumerate(tree):
            yield from leaves(item, f"{path}.{names[place]}" if names else f"{path}[{place}]")
    else:
        yield path, tree


def rebuilt(tree: Any, items: Iterable[Any]) -> Any:
    """A container as the given one, with other leaves.

    Examples
    --------
    >>> rebuilt({"W": [1.0, 2.0], "b": (3.0,)}, "xyz")
    {'W': ['x', 'y'], 'b': ('z',)}
    """
    return _rebuilt(tree, iter(items))


def _rebuilt(tree: Any, items: Iterator[Any]) -> Any:
    if isinstance(tree, dict):
        new = copy.copy(tree)  # an OrderedDict stays one
        for key, item in tree.items():
            new[key] = _rebuilt(item, items)
        return new
    if isinstance(tree, (list, tuple)):
        parts = [_rebuilt(item, items) for item in tree]
        if isinstance(tree, list):
            return parts
        return type(tree)._make(parts) if hasattr(tree, "_make") else tuple(parts)
    return next(items)


def matched(tree: Any, other: Any, what: str) -> Iterator[tuple[str, Any]]:
    """What stands in `other` at the places of the leaves of `tree`, with the place.

    Raises
    ------
    TypeError
        Where a container stands in the one and something else in the other.
    ValueError
        Where they have not the same keys, or not the same length.
    """
    if isinstance(tree, dict):
        if not isinstance(other, dict):
            raise TypeError(f"{what}: expected a dict, got {type(other).__name__}, at {sites.here()}")
        if tree.keys() != other.keys():
            raise ValueError(f"{what}: expected the keys {list(tree)}, got {list(other)}, at {sites.here()}")
        for key, item in tree.items():
            yield from matched(item, other[key], f"{what}[{key!r}]")
    elif isinstance(tree, (list, tuple)):
        if not isinstance(other, (list, tuple)):
            kind = type(tree).__name__
            raise TypeError(f"{what}: expected a {kind}, got {type(other).__name__}, at {sites.here()}")
        if len(tree) != len(other):
            raise ValueError(f"{what}: expected {len(tree)} items, got {len(other)}, at {sites.here()}")
        for place, (item, others) in enumerate(zip(tree, other, strict=True)):
            yield from matched(item, others, f"{what}[{place}]")
    else:
        yield what, other
