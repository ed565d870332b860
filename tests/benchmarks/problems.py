"""The work itself, the same numbers for every engine: data, first weights, learning rate, what is computed."""

from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np

DATA = Path(__file__).parents[2] / "demos" / "data"

Layers = list[tuple[np.ndarray, np.ndarray]]  # W (out, in) and b (out,) of each


class Problem(NamedTuple):
    X: np.ndarray  # (m, n) features
    Y: np.ndarray  # (m, outputs) labels 0 or 1, one a row where there are several
    layers: Layers
    lr: float = 0.05
    hidden: str = "sigmoid"  # or tanh
    loss: str = "bce"  # of a sigmoid; softmax: cross-entropy of one; mse: squared error of a sigmoid
    batch: int | None = None  # samples in a batch; None: all

    def batches(self) -> list[tuple[np.ndarray, np.ndarray]]:
        """One step of gradient descent is made on each, in this order; the last may be smaller."""
        size = self.batch or len(self.X)
        return [(self.X[i : i + size], self.Y[i : i + size]) for i in range(0, len(self.X), size)]


def moons(samples: int = 100) -> tuple[np.ndarray, np.ndarray]:
    angle = np.linspace(0, np.pi, samples // 2)
    outer = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    inner = np.stack([1 - np.cos(angle), 0.5 - np.sin(angle)], axis=1)
    X = np.concatenate([outer, inner]) + np.random.default_rng(1).normal(0, 0.1, (samples, 2))
    return X, np.repeat([[0.0], [1.0]], samples // 2, axis=0)


def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    table = np.loadtxt(DATA / "breast_cancer.csv", delimiter=",", skiprows=1)
    X, Y = table[:, :-1], table[:, -1:]
    return (X - X.mean(axis=0)) / X.std(axis=0), Y


def digits(samples: int) -> tuple[np.ndarray, np.ndarray]:
    table = np.loadtxt(DATA / "digits.csv.gz", delimiter=",", skiprows=1, max_rows=samples)
    return table[:, :-1] / 16, np.eye(10)[table[:, -1].astype(int)]


def noise(samples: int, features: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Of the size of a picture of 28 x 28; what is drawn in it costs nothing."""
    rng = np.random.default_rng(3)
    return rng.uniform(0, 1, (samples, features)), np.eye(classes)[rng.integers(0, classes, samples)]


def first_layers(*sizes: int) -> Layers:
    rng = np.random.default_rng(2)
    return [
        (rng.uniform(-1, 1, (n_out, n_in)) * np.sqrt(3 / n_in), rng.uniform(-0.1, 0.1, n_out))
        for n_in, n_out in pairwise(sizes)
    ]


def one_sample() -> tuple[np.ndarray, np.ndarray]:
    X, Y = moons()
    return X[:1], Y[:1]


def problem(workload: str) -> Problem:
    """The work of that name; those of T1's family differ from it in what their name says, and in nothing else."""
    match workload:
        case "S1a" | "S1b" | "T1":
            return Problem(*moons(), first_layers(2, 16, 16, 1))
        case "S3":
            return Problem(*one_sample(), first_layers(2, 4, 1))
        case "T2":
            return Problem(*digits(64), first_layers(64, 128, 128, 10), loss="softmax")
        case "T3":
            return Problem(*noise(256, 784, 10), first_layers(784, 256, 256, 10), loss="softmax")
        case "T4":
            return Problem(*breast_cancer(), first_layers(30, 16, 1))
        case "T1-tanh":
            return problem("T1")._replace(hidden="tanh")
        case "T1-deeper":
            return problem("T1")._replace(layers=first_layers(2, 16, 16, 16, 1))
        case "T1-mse":
            return problem("T1")._replace(loss="mse")
        case "T1-batches":
            return problem("T1")._replace(batch=32)  # 32 + 32 + 32 + 4
    raise ValueError(f"unknown workload {workload!r}")
