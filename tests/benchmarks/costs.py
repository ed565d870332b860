"""What is not a step: each rule by itself, bytes a node, an import, the first call of what compiles."""

import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from entrants import SCALARS, WORKLOADS, Entrant
from measuring import STARTING, Worker, environment, in_turns, one_processor, why_not
from operations import OPERATIONS, SIZES

# ------------------------------------------------------------------------------------------------------ operations

OPERATION_ENTRANTS = [
    Entrant("microgrid", "microgrid"),
    Entrant("the rule alone", "rule_alone"),
    Entrant("torch, eager", "torch"),
]
QUICK_OPERATIONS = ("add", "multiply", "exp", "sigmoid", "relu", "matmul", "sum")


def operations(quick: bool) -> list[dict[str, Any]]:
    """Seconds of the processor for each rule forward and backward, a row for each size of each."""
    options = one_processor()
    workers = [Worker(entrant, options=options) for entrant in OPERATION_ENTRANTS]
    try:
        names = QUICK_OPERATIONS if quick else OPERATIONS
        return [{"operation": name, "size": size} | operation(name, size, workers) for name in names for size in SIZES]
    finally:
        for worker in workers:
            worker.close()


def operation(name: str, size: int, workers: list[Worker]) -> dict[str, Any]:
    """By label, seconds; or why this engine is not timed."""
    row: dict[str, Any] = {}
    reference, racing = None, []
    for worker in workers:
        found = None if worker.absent else worker.ask(f"check {name}/{size}", STARTING)
        if found is None or "absent" in found:
            row[worker.entrant.label] = worker.absent or found["absent"]
            continue
        reference = reference or found
        row[worker.entrant.label] = why_not(found, reference)
        if not row[worker.entrant.label]:
            racing.append(worker)
    times = in_turns(racing, 5, seconds=0.005)
    return row | {label: statistics.median(processor for _, processor in pairs) for label, pairs in times.items()}


# --------------------------------------------------------------------------------------------- what nodes take


def memory(quick: bool) -> dict[str, Any]:
    """Bytes a node of the graph of S1b, by tracemalloc; or why not."""
    found: dict[str, Any] = {}
    for entrant in SCALARS[2:3] if quick else SCALARS[:3]:
        worker = Worker(entrant)
        answer = worker.ask("check S1b", STARTING)
        reason = worker.absent or answer.get("absent")
        found[entrant.label] = reason or worker.ask("memory") or worker.absent
        worker.close()
    return found


# ------------------------------------------------------------------------------------------- what imports take

IMPORTS = {
    "numpy": "numpy",
    "microgrid, on top of numpy": "microgrid",
    "micrograd": "micrograd.engine",
    "HIPS autograd, on top of numpy": "autograd",
    "torch, on top of numpy": "torch",
    "jax, on top of numpy": "jax",
    "tinygrad, on top of numpy": "tinygrad",
}


def imports(times: int) -> dict[str, Any]:
    """Seconds of the processor, the medians of fresh processes that have been started once before."""
    found: dict[str, Any] = {}
    for label, module in IMPORTS.items():
        before = "import numpy; " if "on top" in label else ""
        code = f"{before}from time import process_time as now; begun = now(); import {module}; print(now() - begun)"
        command = [sys.executable, "-c", code]
        try:
            _, *outputs = [
                subprocess.run(command, env=environment(), capture_output=True, text=True, check=True, timeout=STARTING)
                for _ in range(1 + times)
            ]
            found[label] = statistics.median(float(run.stdout) for run in outputs)
        except subprocess.CalledProcessError as error:
            found[label] = error.stderr.strip().splitlines()[-1]
        except subprocess.TimeoutExpired:
            found[label] = f"it hangs: no answer within {STARTING:.0f} s"
    return found


# --------------------------------------------------------------------------------------------------------- captures

CAPTURED = ("T1", "T2", "T3", "T4", "S1b")


def captures(quick: bool) -> dict[str, dict[str, Any]]:
    """Seconds of the processor for the first step of what is compiled or recorded, with nothing cached from before."""
    found: dict[str, dict[str, Any]] = {}
    for name in ("T1", "S1b") if quick else CAPTURED:
        found[name] = {}
        for entrant in WORKLOADS[name].entrants:
            if not entrant.captures or (quick and entrant.slow):
                continue
            with tempfile.TemporaryDirectory() as cache:
                worker = Worker(entrant, TORCHINDUCTOR_CACHE_DIR=cache, MICROGRID_CACHE=str(Path(cache, "microgrid")))
                answer = worker.ask(f"check {name}", STARTING)
                found[name][entrant.label] = worker.absent or answer.get("absent") or answer["first"]
                worker.close()
    return found
