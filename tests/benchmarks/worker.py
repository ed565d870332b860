"""One engine in a process of its own, started by measuring.py.

    worker.py ENGINE [--no-sites] [--no-collector] [--processor=NUMBER]

It reads commands, a line each, and answers each with a line of JSON:

    check WORKLOAD  make ready for it; what was found in three steps, or {"absent": why it cannot make them}
    round SECONDS   repeat steps for about so long: seconds a step, by the clock and of all processors together
    memory          bytes a node of the graph of a step

What an engine prints goes to the errors, out of the way.
"""

import gc
import json
import os
import sys
import time
import tracemalloc
from typing import Any

import numpy as np
from training import Training, UnableError


def training_of(workload: str, engine: str) -> Training:
    import arrays
    import chains
    import operations
    import scalars

    for family in (arrays, scalars, chains, operations):
        if family.has(workload):
            return family.training(workload, engine)
    raise ValueError(f"unknown workload {workload!r}")


def flat(parameters: list[Any]) -> np.ndarray:
    parts = [np.asarray(part) for part in parameters]
    if any(part.dtype != float for part in parts):
        raise UnableError(f"it works in {parts[0].dtype}, not in float64")
    return np.concatenate([np.ravel(part) for part in parts])


def all_processors() -> float:
    """Seconds that this process has taken, and the compilers that it called."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return time.process_time()
    usages = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def check(training: Training) -> dict[str, Any]:
    """Losses of three steps, and what the first changed (the learning rate times the gradients), to be compared."""
    before = flat(training.parameters()).copy()
    begun = all_processors()
    losses = [training.read(training.step())]
    seconds = all_processors() - begun
    change = before - flat(training.parameters())
    losses += [training.read(training.step()) for _ in range(2)]
    if why := training.why():
        raise UnableError(f"it is not replayed: {why}")
    return {"losses": losses, "change": change.tolist(), "first": seconds}


def seconds_a_step(training: Training, steps: int) -> tuple[float, float]:
    """By the clock on the wall, and of all processors together."""
    if not gc.isenabled():
        gc.collect()  # what the collector would have cost is what is left out here
    step, calls = training.step, steps
    if training.hundred is not None:
        step, calls = training.hundred, -(-steps // 100)
        steps = 100 * calls
    wall, processors = time.perf_counter(), time.process_time()
    for _ in range(calls):
        loss = step()
    training.read(loss)  # waits for engines that only say that they will
    return (time.perf_counter() - wall) / steps, (time.process_time() - processors) / steps


def steps_within(training: Training, seconds: float) -> int:
    """How many steps last about so long; found by making ever more of them, until half of it has passed."""
    steps = 1
    while (lasted := steps * seconds_a_step(training, steps)[0]) < seconds / 2:
        steps = max(2 * steps, round(steps * seconds / 2 / lasted))
    return max(1, round(steps * seconds / lasted))


def bytes_a_node(training: Training) -> float:
    training.graph()  # caches are filled
    gc.collect()
    tracemalloc.start()
    root = training.graph()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / training.count(root)


def checked(workload: str, engine: str, options: tuple[str, ...]) -> tuple[Training | None, dict[str, Any]]:
    try:
        training = training_of(workload, engine)
        if "--no-sites" in options:
            import microgrid

            microgrid.record_sites(False)
        if "--no-collector" in options:
            gc.disable()
        return training, check(training)
    except ModuleNotFoundError as missing:
        if (missing.name or "").startswith(("microgrid", "nn")):
            raise
        return None, {"absent": f"{missing.name} is not installed"}
    except (UnableError, RuntimeWarning) as reason:  # a warning that was made an error: another backend was used
        return None, {"absent": str(reason)}


def main(engine: str, *options: str) -> None:
    for option in options:
        if option.startswith("--processor="):
            os.sched_setaffinity(0, {int(option.partition("=")[2])})
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    training, steps = None, 0
    for line in sys.stdin:
        command, _, argument = line.strip().partition(" ")
        if command == "check":
            training, answer = checked(argument, engine, options)
            steps = 0
        elif command == "round":
            steps = steps or steps_within(training, float(argument))
            answer = seconds_a_step(training, steps)
        elif command == "memory":
            answer = bytes_a_node(training)
        print(json.dumps(answer), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])
