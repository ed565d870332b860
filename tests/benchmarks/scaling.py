"""How the cost of a step grows: with depth, width, batch and parameters; what it holds in memory; whether it leaks.

    python tests/benchmarks/scaling.py [--quick]

Processor time of one step of a sigmoid network, eager and compiled, while one size grows and the others stay; and two
exponents of each, slopes on logarithmic axes. The first, over all sizes, is below 1 where small work is hidden under
the fixed cost of calls; the second, over the largest sizes, is that of the work itself. Beside time stands the work
in multiplications and additions: by that, the second exponents are to be 1, or a little more where the largest arrays
no longer fit the caches (nanoseconds a unit of work then grow once, and stay).
"""

import argparse
import gc
import os
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is loaded; a thread more would change the exponent
os.environ.setdefault("OMP_NUM_THREADS", "1")
sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np
from arrays import microgrid, microgrid_compiled
from problems import Problem, first_layers
from training import Training

ENGINES: dict[str, Callable[[Problem], Training]] = {"eager": microgrid, "compiled": microgrid_compiled}
LARGEST = 4  # sizes over which the second exponent is fitted


class Net(NamedTuple):
    batch: int
    sizes: tuple[int, ...]

    @property
    def parameters(self) -> int:
        return sum((n_in + 1) * n_out for n_in, n_out in pairwise(self.sizes))

    @property
    def work(self) -> int:
        """Multiplications of the products, forward and for both derivatives, and numbers passed by elsewhere."""
        products = sum(n_in * n_out for n_in, n_out in pairwise(self.sizes))
        return 3 * self.batch * products + 10 * self.batch * sum(self.sizes[1:]) + 5 * self.parameters

    @property
    def arrays(self) -> int:
        """Bytes of a step's arrays: data, parameters, and of each layer Z and A; and the gradients of all but data."""
        data, results = self.sizes[0] + self.sizes[-1], 4 * sum(self.sizes[1:])
        return 8 * (2 * self.parameters + self.batch * (data + results))

    def problem(self) -> Problem:
        rng = np.random.default_rng(6)
        X = rng.normal(size=(self.batch, self.sizes[0]))
        Y = (rng.random((self.batch, self.sizes[-1])) < 0.5).astype(float)
        return Problem(X, Y, first_layers(*self.sizes))


def doubling(first: int, last: int) -> Iterator[int]:
    while first <= last:
        yield first
        first *= 2


FAMILIES: dict[str, list[Net]] = {
    "depth": [Net(128, (64,) * (depth + 1)) for depth in doubling(1, 128)],
    "width": [Net(64, (width, width, width)) for width in doubling(8, 1024)],
    "batch": [Net(batch, (32, 32, 32)) for batch in doubling(8, 8192)],
    "parameters": [Net(16, (n, 512, 16)) for n in doubling(2, 4096)],  # of the first layer alone
}
BY = {
    "depth": lambda net: len(net.sizes) - 1,
    "width": lambda net: net.sizes[0],
    "batch": lambda net: net.batch,
    "parameters": lambda net: net.parameters,
}


def seconds(step: Callable[[], Any], rounds: int) -> float:
    """Processor time of a step: the smallest of several rounds, what disturbs only adds."""
    step(), step()
    repeats, best = 1, float("inf")
    while True:
        begun = time.process_time()
        for _ in range(repeats):
            step()
        lasted = time.process_time() - begun
        best = min(best, lasted / repeats)
        if lasted > 0.004:
            rounds -= 1
            if rounds <= 0:
                return best
        else:
            repeats *= 2


def exponent(x: list[float], y: list[float]) -> float:
    """The slope of log y by log x."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def held(make: Callable[[Problem], Training], problem: Problem) -> int:
    """The most bytes that training holds at any time of a step, data, parameters and buffers included."""
    tracemalloc.start()
    training = make(problem._replace(X=problem.X.copy(), Y=problem.Y.copy()))
    for _ in range(3):
        training.step()
    gc.collect()
    tracemalloc.reset_peak()
    training.step()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def show_times(name: str, nets: list[Net], rounds: int) -> None:
    by = BY[name]
    print(f"\n{name:>10} {'work':>12} {'eager, us':>12} {'compiled, us':>13} {'ns a unit of work':>19}")
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    for net in nets:
        for engine, make in ENGINES.items():
            times[engine].append(seconds(make(net.problem()).step, rounds))
        eager, compiled = (times[engine][-1] for engine in ENGINES)
        per = f"{eager / net.work * 1e9:9.3f} {compiled / net.work * 1e9:9.3f}"
        print(f"{by(net):>10,} {net.work:>12,} {eager * 1e6:12.1f} {compiled * 1e6:13.1f} {per}", flush=True)
    for what, of in ((f"by {name}", by), ("by work", lambda net: net.work)):
        x = [float(of(net)) for net in nets]
        slopes = [
            f"{engine} {exponent(x, y):.2f}, {exponent(x[-LARGEST:], y[-LARGEST:]):.2f} at the large end"
            for engine, y in times.items()
        ]
        print(f"  exponent {what:14} {';  '.join(slopes)}")


def show_memory(nets: list[Net]) -> None:
    print("\nmemory  the most that a step holds, over the bytes of its arrays")
    print(f"{'batch':>10} {'arrays, kB':>12} {'eager':>12} {'compiled':>13}")
    for make in ENGINES.values():
        held(make, nets[0].problem())  # caches are filled
    for net in nets:
        peaks = [held(make, net.problem()) / net.arrays for make in ENGINES.values()]
        print(f"{net.batch:>10,} {net.arrays / 1e3:12.1f} {peaks[0]:12.2f} {peaks[1]:13.2f}", flush=True)


def growth(make: Callable[[Problem], Training], steps: int) -> tuple[int, int]:
    """Containers, and blocks of memory of any kind, of which there are more after so many steps of a small network."""
    training = make(Net(4, (2, 3, 1)).problem())
    for _ in range(2_000):  # until all that is remembered of the last calls is full
        training.step()
    gc.collect()
    containers, blocks = len(gc.get_objects()), sys.getallocatedblocks()
    for _ in range(steps):
        training.step()
    gc.collect()
    return len(gc.get_objects()) - containers, sys.getallocatedblocks() - blocks


def show_leaks(steps: int) -> None:
    print(f"\nleaks  what there is more of after {steps:,} steps of a small network")
    for engine, make in ENGINES.items():
        containers, blocks = growth(make, steps)
        print(f"{engine:>10} {containers:12} objects {blocks:12} blocks of memory", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="the smaller sizes, once: a glance")
    quick = parser.parse_args().quick
    for name, nets in FAMILIES.items():
        show_times(name, nets[:LARGEST] if quick else nets, rounds=1 if quick else 7)
    show_memory(FAMILIES["batch"][:LARGEST] if quick else FAMILIES["batch"])
    show_leaks(1_000 if quick else 100_000)


if __name__ == "__main__":
    main()
