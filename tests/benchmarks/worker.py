"""One engine in a process of its own, started by run.py: worker.py WORKLOAD ENGINE [--no-sites] [--no-collector].

It first says what it lacks (null: nothing), then reads commands line by line; each answer is a line of JSON.
"""

import gc
import json
import sys
import time
import tracemalloc

import numpy as np

ROUND = 0.02  # seconds: a round repeats short steps until it lasts about this long


def check(training) -> dict:
    """Losses of three steps, and the gradients of the first, for comparison with the other engines."""
    losses = [training.step()]
    gradients = np.concatenate([np.ravel(g) for g in training.gradients()]).tolist()
    return {"losses": [*losses, training.step(), training.step()], "gradients": gradients}


def seconds_per_step(step, steps: int) -> float:
    if not gc.isenabled():
        gc.collect()  # what the collector would have cost is what is left out here
    start = time.perf_counter()
    for _ in range(steps):
        step()
    return (time.perf_counter() - start) / steps


def bytes_per_node(training) -> float:
    training.graph()  # caches are filled
    gc.collect()
    tracemalloc.start()
    root = training.graph()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    return size / training.count(root)


def main(workload: str, engine: str, *options: str) -> None:
    import arrays
    import scalars

    try:
        training = (scalars if workload.startswith("S") else arrays).training(workload, engine)
    except ModuleNotFoundError as missing:
        print(json.dumps(missing.name))
        return
    print("null", flush=True)
    if "--no-sites" in options:
        import microgrid

        microgrid.record_sites(False)
    if "--no-collector" in options:
        gc.disable()

    steps = 1
    for command in map(str.strip, sys.stdin):
        if command == "check":
            answer = check(training)
            steps = max(1, round(ROUND / seconds_per_step(training.step, 1)))
        elif command == "round":
            answer = seconds_per_step(training.step, steps)
        elif command == "memory":
            answer = bytes_per_node(training)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
