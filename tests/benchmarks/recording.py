"""What it costs to record a backward pass: beside the plain one, with every step made, and stepped line by line.

    python tests/benchmarks/recording.py [--quick]

Ratios to the plain pass, the medians of several rounds; 3,000 steps of Values, and of Tensors of ten numbers.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import microgrid as mg

WAYS: dict[str, Callable[[Any], Any]] = {
    "recorded": mg.record,
    "recorded and looked at": lambda root: list(mg.record(root)),
    "steps": lambda root: list(mg.steps(root)),
    "on the user's lines": lambda root: root.backward(step=True),
}


def graph(face: str, rounds: int) -> Any:
    """A chain of three operations a round."""
    if face == "Value":
        x, y = mg.Value(0.5), mg.Value(-0.25)
    else:
        x, y = (mg.Tensor(np.linspace(0, end, 10), requires_grad=True) for end in (0.5, -0.25))
    z = x
    for _ in range(rounds):
        z = mg.tanh(z * y + x)
    return z if face == "Value" else z.sum()


def seconds(way: Callable[[Any], Any], face: str, rounds: int) -> float:
    root = graph(face, rounds)
    begun = time.perf_counter()
    way(root)
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true", help="few rounds: a glance")
    times, rounds = (2, 50) if parser.parse_args().quick else (15, 1000)
    for face in ("Value", "Tensor"):
        plain = statistics.median(seconds(lambda root: root.backward(), face, rounds) for _ in range(times))
        for name, way in WAYS.items():
            ratio = statistics.median(seconds(way, face, rounds) for _ in range(times)) / plain
            print(f"  {face:6}  {name:24} {ratio:6.1f} x the plain pass")


if __name__ == "__main__":
    main()
