"""What higher derivatives cost those who take none: nothing.

Python calls and bytes of one plain backward pass of a fixed graph, counted before there was any transform of functions;
a pass may have become cheaper since. And calls of the general walk, which serves all that is not plain: other numbers,
chosen inputs, gradients as nodes.
"""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable
from fractions import Fraction
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


def calls(run: Callable[[], Any]) -> int:
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    gc.collect()
    gc.disable()  # what it would call belongs to other tests
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
        gc.enable()
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
    assert calls(graph(face).backward) <= BEFORE[face].calls
    assert kept(graph(face)) / (3 * ROUNDS) <= BEFORE[face].bytes


def chain(x: Any) -> tuple[Any, Any]:
    """600 operations of one number."""
    z = x
    for _ in range(300):
        z = z * x + x
    return z, x


GENERAL: dict[str, tuple[Callable[[], tuple[Any, Any]], Callable[[Any, Any], Any], int]] = {
    "fractions": (lambda: chain(mg.Value(Fraction(1, 2))), lambda z, x: z.backward(), 15030),
    "chosen inputs": (lambda: chain(mg.Value(0.5)), lambda z, x: z.backward(inputs=[x]), 8430),
    "a gradient given": (lambda: chain(mg.Value(0.5)), lambda z, x: z.backward(2.0), 7829),
    "a hook": (lambda: chain(hooked(mg.Value(0.5))), lambda z, x: z.backward(), 7834),
    "grad": (lambda: chain(mg.Value(0.5)), lambda z, x: mg.grad(z, x), 8428),
    "create_graph": (lambda: chain(mg.Value(0.5)), lambda z, x: mg.grad(z, x, create_graph=True), 35431),
    "tensors": (lambda: chain(mg.Tensor(0.5, requires_grad=True)), lambda z, x: z.backward(inputs=[x]), 7232),
}


def hooked(x: Any) -> Any:
    x.register_hook(lambda g: None)
    return x


@pytest.mark.parametrize(("make", "run", "before"), GENERAL.values(), ids=GENERAL)
def test_the_general_walk_costs_what_it_did(make: Any, run: Any, before: int) -> None:
    """No more Python calls either, of a pass of 600 operations."""
    run(*make())
    z, x = make()
    assert calls(lambda: run(z, x)) <= before
