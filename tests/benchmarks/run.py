"""Times of microgrid beside its peers, as ratios, and the goals beside what was reached.

    python tests/benchmarks/run.py [--quick] [WHAT ...]
    python tests/benchmarks/run.py --markdown          the README's table, of the last run

Each engine runs in a process of its own; all agree in losses and gradients before anything is timed, and take turns in
shuffled rounds. A ratio is the median over several sets of fresh processes, followed by the smallest and the largest.
All are bound to one processor, and ratios are of its time: on a machine where nothing else runs that is the time on the
wall, which stands beside it, and where others are at work it is still fair. The part `threads` leaves each engine its
own choice of threads, and compares the time on the wall. Peers that are not installed, fail or hang are named with the
reason. Results go to out/bench.json and out/bench.png; where WHAT is named, the rest of the last run stays.
"""

import argparse
import importlib.metadata
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import costs
import report
from entrants import WORKLOADS
from goals import GOALS, Results
from measuring import measured

OUT = Path(__file__).parents[2] / "out"
PACKAGES = ("numpy", "torch", "jax", "numba", "autograd", "tinygrad", "scikit-learn", "micrograd")
COSTS: dict[str, tuple[Callable[[bool], Any], Callable[[Any], str]]] = {
    "operations": (costs.operations, report.operations),
    "captures": (costs.captures, report.captures),
    "memory": (costs.memory, report.memory),
    "imports": (lambda quick: costs.imports(1 if quick else 15), report.imports),
}


def machine() -> dict[str, Any]:
    """Where and with what this was measured."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {
        "when": time.strftime("%Y-%m-%d %H:%M"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processors": os.cpu_count(),
        "load at the beginning": load,  # above a half of one, others were at work: see the spread of the ratios
        "versions": versions,
    }


def run(parts: list[str], quick: bool, results: Results, file: Path) -> None:
    """Measure these parts one by one, and show and keep each as soon as it is there."""
    rounds, processes = (3, 1) if quick else (15, 3)
    for part in parts:
        if part in WORKLOADS:
            found = measured(part, WORKLOADS[part], rounds, processes, quick)
            results.setdefault("workloads", {})[part] = found
            print(report.races(part, found), flush=True)
        elif part == "threads":
            for name in [name for name, workload in WORKLOADS.items() if workload.threads]:
                found = measured(name, WORKLOADS[name], rounds, 1, quick, threads=None)
                results.setdefault("threads", {})[name] = found
                print(report.races(f"{name}, default threads", found), flush=True)
        else:
            measure, show = COSTS[part]
            results[part] = measure(quick)
            print(show(results[part]), flush=True)
        write(results, file)


def write(results: Results, file: Path) -> None:
    """The results, with each goal's bounds and verdict, as JSON."""
    goals = {}
    for goal in GOALS:
        reached = goal.reached(results)
        bounds = {"must": goal.must, "stretch": goal.stretch}
        goals[goal.what] = bounds | {"reached": reached, "verdict": goal.verdict(reached)}
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(results | {"goals": goals}, indent=1), "utf-8")


def last_run(file: Path) -> Results:
    return json.loads(file.read_text("utf-8")) if file.is_file() else {}


def failures(results: Results) -> list[str]:
    """Entrants of ours that failed or were wrong: a peer may be missing, we may not."""
    return [
        f"{name}: {row['label']}: {row['absent']}"
        for part in ("workloads", "threads")
        for name, result in results.get(part, {}).items()
        for row in result["entrants"]
        if row.get("failed") and row["label"].startswith("microgrid")
    ]


def main() -> None:
    every = [*WORKLOADS, "threads", *COSTS]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", nargs="*", metavar="WHAT", help=f"of {' '.join(every)}; all if left out")
    parser.add_argument("--quick", action="store_true", help="fewer parts, three rounds of one set of processes")
    parser.add_argument("--markdown", action="store_true", help="print the README's table from the last run and stop")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where bench.json and bench.png go")
    options = parser.parse_args()
    if unknown := set(options.what) - set(every):
        parser.error(f"unknown: {' '.join(sorted(unknown))}; there are {' '.join(every)}")

    file = options.out / "bench.json"
    if options.markdown:
        if not file.is_file():
            parser.error(f"there is no {file}: run without --markdown first")
        print(report.markdown(last_run(file)))
        return

    results = (last_run(file) if options.what else {}) | {"machine": machine(), "quick": options.quick}
    quick_parts = [part for part in every if part != "threads" and (part in COSTS or WORKLOADS[part].quick)]
    run(options.what or (quick_parts if options.quick else every), options.quick, results, file)
    print(report.goals(results))
    try:
        report.picture(results, options.out / "bench.png")
        print(f"\nwritten: {file} and {options.out / 'bench.png'}")
    except ModuleNotFoundError as missing:
        print(f"\nwritten: {file}; no picture, since {missing.name} is not installed")
    if wrong := failures(results):
        sys.exit("\n".join(["", "of microgrid itself:", *wrong]))


if __name__ == "__main__":
    main()
