"""S2: graphs of one operation many times over, which test order, depth and width, and nothing else.

A chain z = z x, n times from z = 1, whose derivative is n x^(n-1); and the sum of n numbers, each of them a leaf.
A step is forward and backward; what it changes are the gradients.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from training import Training, UnableError

SIZES = {"S2-chain": 100_000, "S2-deep": 1_000_000, "S2-sum": 100_000}


class Engine(NamedTuple):
    leaf: Callable[[float], Any]
    total: Callable[[list[Any]], Any]  # of a list of numbers
    no_gradient: float | None = 0.0
    count: Callable[[Any], int] = NotImplemented


def micrograd() -> Engine:
    from micrograd.engine import Value

    return Engine(Value, sum)


def microgrid() -> Engine:
    import microgrid as mg

    return Engine(mg.Value, mg.sum)


def torch() -> Engine:
    import torch

    def leaf(x: float) -> Any:
        return torch.tensor(x, dtype=torch.float64, requires_grad=True)

    return Engine(leaf, lambda leaves: torch.stack(leaves).sum(), no_gradient=None)


ENGINES = {"micrograd": micrograd, "microgrid": microgrid, "torch": torch}


def by_hand(workload: str) -> Training:
    """The same loops on Python's floats, with no engine."""
    n, numbers = SIZES[workload], first_numbers(workload)
    gradients = [0.0] * len(numbers)

    def chain() -> float:
        (x,), z, values = numbers, 1.0, []
        for _ in range(n):
            values.append(z)
            z = z * x
        g, gradient = 1.0, 0.0
        for before in reversed(values):
            gradient += g * before
            g = g * x
        gradients[:] = [gradient]
        return z

    def wide() -> float:
        z = 0.0
        for x in numbers:
            z += x
        gradients[:] = [1.0] * n
        return z

    return Training(wide if workload == "S2-sum" else chain, lambda: [gradients])


def first_numbers(workload: str) -> list[float]:
    n = SIZES[workload]
    return np.random.default_rng(4).normal(size=n).tolist() if workload == "S2-sum" else [1 - 0.1 / n]


def has(workload: str) -> bool:
    return workload in SIZES


def training(workload: str, engine_name: str) -> Training:
    if engine_name == "by_hand":
        return by_hand(workload)
    n, engine = SIZES[workload], ENGINES[engine_name]()
    leaves = [engine.leaf(x) for x in first_numbers(workload)]

    def graph() -> Any:
        if workload == "S2-sum":
            return engine.total(leaves)
        (x,) = leaves
        z = engine.leaf(1.0)
        for _ in range(n):
            z = z * x
        return z

    def step() -> Any:
        for x in leaves:
            x.grad = engine.no_gradient
        z = graph()
        try:
            z.backward()
        except RecursionError:
            raise UnableError(f"its backward pass is recursive, and {n:,} nodes are too deep for it") from None
        return z.data

    return Training(step, lambda: [[float(x.grad or 0) for x in leaves]], graph=graph)
