"""The work itself, the same numbers for every engine: data, first weights, learning rate."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

BREAST_CANCER = Path(__file__).parents[2] / "demos" / "data" / "breast_cancer.csv"


class Problem(NamedTuple):
    X: np.ndarray  # (m, n) features
    Y: np.ndarray  # (m, 1) labels 0 or 1
    layers: list[tuple[np.ndarray, np.ndarray]]  # W (out, in) and b (out,) of each
    lr: float


def moons(samples: int = 100) -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(0, np.pi, samples // 2)
    outer = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    X = np.concatenate([outer, inner]) + np.random.default_rng(1).normal(0, 0.1, (samples, 2))
    return X, np.repeat([[0.0], [1.0]], samples // 2, axis=0)


def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    table = np.loadtxt(BREAST_CANCER, delimiter=",", skiprows=1)
    X, Y = table[:, :-1], table[:, -1:]
    return (X - X.mean(axis=0)) / X.std(axis=0), Y


def first_layers(*sizes: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(2)
    return [
        (rng.uniform(-1, 1, (n_out, n_in)) * np.sqrt(3 / n_in), rng.uniform(-0.1, 0.1, n_out))
        for n_in, n_out in pairwise(sizes)
    ]


def problem(workload: str) -> Problem:
    if workload in ("S1a", "S1b", "T1"):
        return Problem(*moons(), first_layers(2, 16, 16, 1), lr=0.05)
    if workload == "S3":
        X, Y = moons()
        return Problem(X[:1], Y[:1], first_layers(2, 4, 1), lr=0.05)
    if workload == "T4":
        return Problem(*breast_cancer(), first_layers(30, 16, 1), lr=0.05)
    raise ValueError(f"unknown workload {workload!r}")
