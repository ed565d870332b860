"""Engines side by side: a process each, equality before time, and rounds in shuffled turns."""

import contextlib
import json
import os
import queue
import random
import statistics
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from typing import Any, NamedTuple

from entrants import Entrant, Workload

HERE = Path(__file__).parent
STARTING, ANSWERING = 300.0, 120.0  # seconds after which an engine is taken to hang; some compile for long at first
ROUND = 0.02  # seconds: a round repeats short steps until it lasts about this long
TOLERANCE = 1e-6  # of losses and gradients, relative to their norm

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1",
}


def environment(threads: int | None = 1) -> dict[str, str]:
    """Of a process; with None, engines take as many threads as they like."""
    common = {
        "PYTHONPATH": os.pathsep.join(filter(None, [str(HERE.parents[1]), os.environ.get("PYTHONPATH")])),
        "PYTHONDONTWRITEBYTECODE": "",  # an import is timed as it is every time but the first
        "JAX_PLATFORMS": "cpu",
        "TORCHINDUCTOR_COMPILE_THREADS": "1",  # no processes of its own, which would outlive it
    }
    given = {"DEV": "CPU"} | {name: value for name, value in os.environ.items() if name not in ONE_THREAD}  # tinygrad's
    return given | common | (ONE_THREAD if threads == 1 else {})


def one_processor() -> tuple[str, ...]:
    """The option that binds a worker to a processor, where the system can: threads of its own are then none."""
    if not hasattr(os, "sched_setaffinity"):
        return ()
    return (f"--processor={random.choice(sorted(os.sched_getaffinity(0)))}",)


# ------------------------------------------------------------------------------------------------------ a process


class Worker:
    """The process of one entrant. `absent` says why it is out of the race; empty while it is in."""

    def __init__(
        self, entrant: Entrant, threads: int | None = 1, options: tuple[str, ...] = (), **variables: str
    ) -> None:
        self.entrant, self.absent, self.failed = entrant, "", False
        self.errors = tempfile.TemporaryFile("w+", errors="replace")  # noqa: SIM115  (until `close`)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "worker.py"), entrant.engine, *entrant.options, *options],
            env=environment(threads) | variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            text=True,
            cwd=HERE,
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line)
        self.lines.put("")  # it has ended

    def tell(self, command: str) -> None:
        with contextlib.suppress(BrokenPipeError):  # it has ended: its answer says why
            print(command, file=self.process.stdin, flush=True)

    def answer(self, patience: float = ANSWERING) -> Any:
        """What it says next; where it fails or hangs, None, and it is out."""
        try:
            line = self.lines.get(timeout=patience)
        except queue.Empty:
            return self.leave(f"it hangs: no answer within {patience:.0f} s")
        if not line:
            self.process.wait()
            return self.leave(f"it failed: {self._last_error()}")
        return json.loads(line)

    def ask(self, command: str, patience: float = ANSWERING) -> Any:
        self.tell(command)
        return self.answer(patience)

    def _last_error(self) -> str:
        self.errors.seek(0)
        lines = [line.strip() for line in self.errors if line.strip()]
        return lines[-1] if lines else f"exit status {self.process.returncode}"

    def leave(self, reason: str, failed: bool = True) -> None:
        self.absent, self.failed = reason, failed
        self.process.kill()

    def close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            if self.process.stdin:
                self.process.stdin.close()
        try:
            self.process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.listener.join(timeout=10)
        self.errors.close()


# ---------------------------------------------------------------------------------------------------------- a race


def disagreement(ours: list[float], theirs: list[float]) -> float:
    """Norm of the difference over the norm of the reference; inf where there are not as many numbers."""
    if len(ours) != len(theirs):
        return float("inf")
    square, size = sum((a - b) ** 2 for a, b in zip(ours, theirs, strict=True)), sum(b**2 for b in theirs)
    return (square / size) ** 0.5 if size else square**0.5


def why_not(found: Any, reference: Any) -> str:
    """What is wrong with the numbers that an engine found; empty where they are those of the reference."""
    for what, name in (("losses", "losses"), ("change", "gradients")):
        error = disagreement(found[what], reference[what])
        if not error < TOLERANCE:  # nan is not
            return f"its {name} are off by {error:.1e}: it is not timed"
    return ""


def agreeing(workers: list[Worker], workload: str) -> list[Worker]:
    """Those that agree in losses and gradients with the first that there is; the others leave, and say why."""
    for worker in workers:
        worker.tell(f"check {workload}")
    reference = None
    for worker in workers:
        found = worker.answer(STARTING)
        if found is None:
            continue
        if "absent" in found:
            worker.leave(found["absent"], failed=False)
            continue
        reference = reference or found
        if wrong := why_not(found, reference):
            worker.leave(wrong)
    return [worker for worker in workers if not worker.absent]


class Times(NamedTuple):
    """Medians of one set of fresh processes, seconds a step; and who is absent, why, and whether that is a failure.

    Ratios are those of `bare`: of the processor's time where one thread is bound to one processor, which is what the
    clock would show if nothing else ran; of the clock's where threads run at the same time.
    """

    wall: dict[str, float]
    processors: dict[str, float]
    absent: dict[str, tuple[str, bool]]
    one_thread: bool = True

    @property
    def bare(self) -> dict[str, float]:
        return self.processors if self.one_thread else self.wall


def in_turns(workers: list[Worker], rounds: int, seconds: float = ROUND) -> dict[str, list[tuple[float, float]]]:
    """Seconds a step of each round of each, the rounds shuffled; who drops out of the race has none."""
    times: dict[str, list[tuple[float, float]]] = {worker.entrant.label: [] for worker in workers}
    for _ in range(rounds):
        for worker in random.sample(workers, len(workers)):
            if not worker.absent and (answer := worker.ask(f"round {seconds}")) is not None:
                times[worker.entrant.label].append(answer)
    return {worker.entrant.label: times[worker.entrant.label] for worker in workers if not worker.absent}


def race(name: str, entrants: list[Entrant], rounds: int, threads: int | None = 1) -> Times:
    options = one_processor() if threads == 1 else ()
    workers = [Worker(entrant, threads, options) for entrant in entrants]
    try:
        times = in_turns(agreeing(workers, name), rounds)
    finally:
        for worker in workers:
            worker.close()
    wall, processors = (
        {label: statistics.median(pair[which] for pair in pairs) for label, pairs in times.items()} for which in (0, 1)
    )
    absent = {worker.entrant.label: (worker.absent, worker.failed) for worker in workers if worker.absent}
    return Times(wall, processors, absent, threads == 1)


def measured(name: str, workload: Workload, rounds: int, processes: int, quick: bool, threads: int | None = 1) -> Any:
    """A row for each entrant of a workload: medians, and the range of the ratios over several sets of processes."""
    entrants = [entrant for entrant in workload.entrants if not (quick and entrant.slow)]
    runs = [race(name, entrants, min(rounds, workload.rounds), threads) for _ in range(processes)]
    rows = [row(entrant, workload, runs) if entrant in entrants else left_out(entrant) for entrant in workload.entrants]
    return {"title": workload.title, "against": workload.against, "speed": workload.speed, "entrants": rows}


def left_out(entrant: Entrant) -> dict[str, Any]:
    return {"label": entrant.label, "absent": "it compiles for long, and is left out of a quick run"}


def row(entrant: Entrant, workload: Workload, runs: list[Times]) -> dict[str, Any]:
    label, against = entrant.label, entrant.against or workload.against
    for run in runs:
        if label in run.absent:
            reason, failed = run.absent[label]
            return {"label": label, "absent": reason, "failed": failed}
    found: dict[str, Any] = {
        "label": label,
        "wall": statistics.median(run.wall[label] for run in runs),
        "processors": statistics.median(run.processors[label] for run in runs),
    }
    ratios = sorted(run.bare[label] / run.bare[against] for run in runs if against in run.bare)
    if workload.speed:
        ratios = sorted(1 / ratio for ratio in ratios)
    return found | ({"ratio": statistics.median(ratios), "low": ratios[0], "high": ratios[-1]} if ratios else {})
