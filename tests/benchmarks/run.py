"""How fast is the engine, beside its peers? Ratios only: a time by itself says more about the machine.

    python tests/benchmarks/run.py [--quick] [S1a S1b S3 T1 T4 memory import]

Each engine works in a process of its own, with BLAS on one thread. First all must agree in loss and gradients; then
rounds are interleaved in random order, and the median counts. Fresh processes repeat it all (identical code can differ
between two processes as buffers come to lie); the median of their ratios is shown, with the smallest and largest.
Peers that are not installed are named as absent.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

HERE = Path(__file__).parent
ENVIRONMENT = os.environ | {
    "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parents[1]), os.environ.get("PYTHONPATH")])),
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "PYTHONDONTWRITEBYTECODE": "",  # an import is timed as it is every time but the first
}


class Entrant(NamedTuple):
    label: str
    engine: str
    options: tuple[str, ...] = ()
    against: str = ""  # the label whose time is 1; the first one's if empty


SCALARS = [
    Entrant("micrograd", "micrograd"),
    Entrant("microgrid, sites off", "microgrid", ("--no-sites",)),
    Entrant("microgrid", "microgrid"),
    Entrant("microgrid, a node a neuron", "microgrid_dot"),
    Entrant("torch, scalars", "torch"),
    Entrant("micrograd, collector off", "micrograd", ("--no-collector",), "micrograd, collector off"),
    Entrant(
        "microgrid, sites and collector off",
        "microgrid",
        ("--no-sites", "--no-collector"),
        "micrograd, collector off",
    ),
]
ARRAYS = [
    Entrant("closed-form NumPy", "closed_form"),
    Entrant("microgrid, sites off", "microgrid", ("--no-sites",)),
    Entrant("microgrid", "microgrid"),
    Entrant("microgrid, compiled", "microgrid_compiled"),
    Entrant("torch, eager", "torch"),
]
WORKLOADS = {
    "S1a": ("scalars 2-16-16-1, relu, hinge, 100 samples: times as fast as micrograd", SCALARS),
    "S1b": ("scalars 2-16-16-1, sigmoid, BCE, 100 samples: times as fast as micrograd", SCALARS),
    "S3": ("scalars 2-4-1, sigmoid, BCE, one sample: times as fast as micrograd", SCALARS),
    "T1": ("arrays 2-16-16-1, sigmoid, BCE, batch 100: time over that of the closed form", ARRAYS),
    "T4": ("arrays 30-16-1, sigmoid, BCE, batch 569: time over that of the closed form", ARRAYS),
}


class Worker:
    """The process of one entrant."""

    def __init__(self, workload: str, entrant: Entrant) -> None:
        command = [sys.executable, str(HERE / "worker.py"), workload, entrant.engine, *entrant.options]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=ENVIRONMENT, stdin=pipe, stdout=pipe, text=True, cwd=HERE)
        self.entrant = entrant
        self.lacks = self.answer()  # the package that is not installed, or None

    def answer(self) -> Any:
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.entrant.label}: the process failed, see above")
        return json.loads(line)

    def ask(self, command: str) -> Any:
        print(command, file=self.process.stdin, flush=True)
        return self.answer()

    def close(self) -> None:
        self.process.communicate()


def disagreement(ours: list[float], theirs: list[float]) -> float:
    """Norm of the difference over the norm of the reference."""
    square = sum((a - b) ** 2 for a, b in zip(ours, theirs, strict=True))
    return (square / sum(b**2 for b in theirs)) ** 0.5


def agreeing(workers: list[Worker]) -> list[Worker]:
    """Those that are there, all of which agree with the first in losses and gradients to 1e-6."""
    for worker in workers:
        if worker.lacks:
            worker.close()
    answers = [(worker, worker.ask("check")) for worker in workers if not worker.lacks]
    reference = answers[0][1]
    for worker, answer in answers:
        for what in ("losses", "gradients"):
            error = disagreement(answer[what], reference[what])
            if not error < 1e-6:
                raise SystemExit(f"{worker.entrant.label}: {what} are off by {error:.1e}, nothing is timed")
    return [worker for worker, _ in answers]


def medians(workload: str, entrants: list[Entrant], rounds: int) -> dict[str, float]:
    """Seconds a step of each entrant that is installed, from one set of fresh processes."""
    workers = agreeing([Worker(workload, entrant) for entrant in entrants])
    times: dict[str, list[float]] = {worker.entrant.label: [] for worker in workers}
    for _ in range(rounds):
        for worker in random.sample(workers, len(workers)):
            times[worker.entrant.label].append(worker.ask("round"))
    for worker in workers:
        worker.close()
    return {label: statistics.median(seconds) for label, seconds in times.items()}


def show_times(workload: str, rounds: int, processes: int) -> None:
    title, entrants = WORKLOADS[workload]
    print(f"\n{workload}  {title}", flush=True)
    runs = [medians(workload, entrants, rounds) for _ in range(processes)]
    for entrant in entrants:
        if entrant.label not in runs[0]:
            print(f"  {entrant.label:36} absent")
            continue
        against = entrant.against or entrants[0].label
        if against not in runs[0]:
            print(f"  {entrant.label:36} {against} is absent, so there is no ratio")
            continue
        ratios = sorted(run[entrant.label] / run[against] for run in runs)
        if workload.startswith("S"):
            ratios = sorted(1 / ratio for ratio in ratios)
        seconds = statistics.median(run[entrant.label] for run in runs)
        spread = f"{ratios[0]:.2f} .. {ratios[-1]:.2f}" if processes > 1 else ""
        print(f"  {entrant.label:36} {seconds * 1e6:12.1f} us {statistics.median(ratios):9.2f}   {spread}")


def show_memory() -> None:
    print("\nmemory  bytes a node of the graph of S1b, by tracemalloc", flush=True)
    for entrant in SCALARS[:3]:
        worker = Worker("S1b", entrant)
        print(f"  {entrant.label:36} {'absent' if worker.lacks else round(worker.ask('memory')):>12}")
        worker.close()


def show_import(processes: int) -> None:
    print(f"\nimport  milliseconds, median of {processes} fresh processes", flush=True)
    code = (
        "from time import perf_counter as now; a = now(); import numpy; b = now(); import microgrid; c = now(); "
        "print(b - a, c - b)"
    )
    command = [sys.executable, "-c", code]
    _, *lines = (subprocess.check_output(command, env=ENVIRONMENT, text=True, cwd=HERE) for _ in range(1 + processes))
    for label, seconds in zip(["numpy", "microgrid, on top"], zip(*map(str.split, lines), strict=True), strict=True):
        print(f"  {label:36} {statistics.median(map(float, seconds)) * 1e3:12.1f}")


def main() -> None:
    names = [*WORKLOADS, "memory", "import"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"of {' '.join(names)}; all if left out")
    parser.add_argument("--quick", action="store_true", help="three rounds of one set of processes: a glance")
    options = parser.parse_args()
    unknown = set(options.what) - set(names)
    if unknown:
        parser.error(f"unknown: {' '.join(sorted(unknown))}; there are {' '.join(names)}")

    rounds, processes = (3, 1) if options.quick else (15, 3)
    for name in options.what or names:
        if name == "memory":
            show_memory()
        elif name == "import":
            show_import(3 if options.quick else 15)
        else:
            show_times(name, rounds, processes)


if __name__ == "__main__":
    main()
