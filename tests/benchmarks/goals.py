"""What we set out to reach, and what was: each goal is a number of the results, with its bounds."""

from collections.abc import Callable
from typing import Any, NamedTuple

Results = dict[str, Any]
OFF, ON, COMPILED, IN_C = "microgrid, sites off", "microgrid", "microgrid, compiled", "microgrid, compiled, C"
PYTHON, LEVELS = "microgrid, compiled, Python", "microgrid, compiled, levels"


class Goal(NamedTuple):
    what: str
    reached: Callable[[Results], float | None]  # None where it was not measured, or somebody is absent
    must: float
    stretch: float | None = None
    more: bool = False  # the more, the better

    def verdict(self, reached: float | None) -> str:
        """In words, with what is missing to the must."""
        if reached is None:
            return "not measured"
        if self.stretch is not None and self._holds(reached, self.stretch):
            return "stretch met"
        if self._holds(reached, self.must):
            return "met"
        times = self.must / reached if self.more else reached / self.must
        return f"missed by a factor {times:.2f}"

    def _holds(self, reached: float, bound: float) -> bool:
        return reached >= bound if self.more else reached <= bound


def ratio(workload: str, label: str) -> Callable[[Results], float | None]:
    """Of an entrant to whom its workload is measured against."""
    return lambda results: _row(results, workload, label).get("ratio")


def between(workload: str, label: str, other: str) -> Callable[[Results], float | None]:
    """The time of one entrant over that of another."""

    def reached(results: Results) -> float | None:
        ours, theirs = (_row(results, workload, name).get("processors") for name in (label, other))
        return ours / theirs if ours and theirs else None

    return reached


def alike(variant: str, label: str) -> Callable[[Results], float | None]:
    """What a variant of T1 needs of its own closed form's time, over what T1 does: 1 where it gains as much."""

    def reached(results: Results) -> float | None:
        theirs, plain = (_row(results, name, label).get("ratio") for name in (variant, "T1"))
        return theirs / plain if theirs and plain else None

    return reached


def number(*path: Any) -> Callable[[Results], float | None]:
    """What stands in the results at this place."""

    def reached(results: Results) -> float | None:
        found: Any = results
        for key in path:
            found = found.get(key, {}) if isinstance(found, dict) else {}
        return found if isinstance(found, float) else None

    return reached


def one_addition(results: Results) -> float | None:
    for row in results.get("operations", []):
        if (row["operation"], row["size"]) == ("add", 1) and isinstance(row["torch, eager"], float):
            return float(row["microgrid"] / row["torch, eager"])
    return None


def dearest_capture(*workloads: str) -> Callable[[Results], float | None]:
    """Seconds of the first step in NumPy, of whichever takes longest; a C compiler's time apart."""

    def reached(results: Results) -> float | None:
        seconds = [
            found
            for workload in workloads
            for label, found in results.get("captures", {}).get(workload, {}).items()
            if label == COMPILED and isinstance(found, float)
        ]
        return max(seconds, default=None)

    return reached


def _row(results: Results, workload: str, label: str) -> dict[str, Any]:
    rows = results.get("workloads", {}).get(workload, {}).get("entrants", [])
    return next((row for row in rows if row["label"] == label), {})


def for_nets(what: str, label: str, musts: tuple[float, ...], stretches: tuple[float, ...]) -> list[Goal]:
    return [
        Goal(f"{what}, {name}, time over the closed form's", ratio(name, label), must, stretch)
        for name, must, stretch in zip(("T1", "T4", "T2", "T3"), musts, stretches, strict=True)
    ]


GOALS = [
    Goal("scalars, eager, S1a, against micrograd", ratio("S1a", OFF), 8, 12, more=True),
    Goal("scalars, eager, S1b, against micrograd", ratio("S1b", OFF), 12, 20, more=True),
    *(
        Goal(
            f"the same, {name}, collector off on both sides",
            ratio(name, f"{ON}, sites and collector off"),
            1.6,
            2.5,
            True,
        )
        for name in ("S1a", "S1b")
    ),
    *(
        Goal(f"source sites on, {name}, time over that with them off", between(name, ON, OFF), 1.25, 1.1)
        for name in ("S1a", "S1b")
    ),
    *(
        Goal(f"one node a neuron, {name}, against micrograd", ratio(name, "microgrid, a node a neuron"), 100, 150, True)
        for name in ("S1a", "S1b")
    ),
    Goal("one sample, S3, eager, against micrograd", ratio("S3", OFF), 5, 10, more=True),
    Goal("one sample, S3, replayed, against micrograd", ratio("S3", PYTHON), 40, 50, more=True),
    Goal("bytes a node, with sites", number("memory", ON), 200, 150),
    Goal("chain of 1,000,000 nodes, time over torch's", ratio("S2-deep", ON), 1 / 5, 1 / 8),
    *for_nets("arrays, eager", ON, (1.30, 1.20, 1.15, 0.90), (1.15, 1.05, 1.0, 0.75)),
    *for_nets("arrays, compiled", COMPILED, (0.60, 0.70, 0.82, 0.80), (0.50, 0.58, 0.76, 0.72)),
    *(
        Goal(f"arrays, compiled, {name}, time over jax.jit's", between(name, COMPILED, "jax.jit, a call a step"), 1.0)
        for name in ("T1", "T4", "T2", "T3")
    ),
    *for_nets("arrays, compiled, C", IN_C, (0.30, 0.50, 0.80, 0.80), (0.18, 0.40, 0.70, 0.68)),
    *(
        Goal(
            f"arrays, compiled, C, {name}, time over lax.scan's",
            between(name, IN_C, "jax lax.scan, 100 steps a call"),
            1.0,
        )
        for name in ("T1", "T4", "T2")
    ),
    *(
        Goal(f"{name} gains like T1, {label.removeprefix('microgrid, ')}, ratio over ratio", alike(name, label), 1.2)
        for label in (COMPILED, IN_C)
        for name in ("T1-tanh", "T1-deeper", "T1-mse", "T1-batches")
    ),
    *(
        Goal(f"scalars, compiled, {label}, {name}, against micrograd", ratio(name, engine), must, stretch, True)
        for label, engine, must, stretch in (("Python", PYTHON, 200, 400), ("levels", LEVELS, 700, 1500))
        for name in ("S1a", "S1b")
    ),
    Goal("a capture of T1 to T4, seconds", dearest_capture("T1", "T2", "T3", "T4"), 0.05),
    Goal("a capture of S1b by levels, seconds", number("captures", "S1b", LEVELS), 1.0),
    Goal("add and its backward on one number, time over torch's", one_addition, 1 / 4, 1 / 6),
    Goal("import, seconds on top of NumPy's", number("imports", "microgrid, on top of numpy"), 0.010),
]
