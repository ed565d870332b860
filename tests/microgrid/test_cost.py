"""What higher derivatives cost those who take none: nothing.

Python calls and bytes of one plain backward pass of a fixed graph, counted before there was any transform of functions;
a pass may have become cheaper since. (What the general walk costs, `test_value` counts.)
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from typing import Any, NamedTuple

import pytest

import microgrid as mg

ROUNDS = 500  # of three operations


class Cost(NamedTuple):
    calls: int
    bytes: float  # a node, kept after the pass


BEFORE = {"Value": Cost(1513, 25), "Tensor": Cost(4524, 105)}


def graph(face: str) -> Any:
    x, y = (mg.Value(number) if face == "Value" else mg.Tensor(number, requires_grad=True) for number in (0.5, -0.25))
    z = x
    for _ in range(ROUNDS):
        z = mg.tanh(z * y + x)
    return z


def calls(root: Any) -> int:
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        root.backward()
    finally:
        sys.setprofile(before)
    return count


def kept(root: Any) -> int:
    gc.collect()
    tracemalloc.start()
    try:
        root.backward()
        return tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("face", BEFORE)
def test_backward_costs_what_it_did(face: str) -> None:
    """No more Python calls, and no more bytes a node."""
    graph(face).backward()  # what is emitted at a first call is there
    gc.collect()
    gc.disable()
    try:
        assert calls(graph(face)) <= BEFORE[face].calls
        assert kept(graph(face)) / (3 * ROUNDS) <= BEFORE[face].bytes
    finally:
        gc.enable()
