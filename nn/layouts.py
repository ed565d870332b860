"""Which axis is which, and what the recursions ask of their arrays: nothing is broadcast but b over the samples."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

import microgrid as mg
from nn.deltas import Pair
from nn.targets import Array

__microgrid_machinery__ = True


@dataclass(frozen=True)
class Layout:
    """Samples as columns, X (n_0, m) and W (n_l, n_{l-1}), or as rows, X (m, n_0) and W (n_{l-1}, n_l)."""

    rows: bool

    def swapped(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape of column layout in this one, or back."""
        return shape[::-1] if self.rows else shape

    def check_network(self, name: str, X: Array, W: Sequence[Array], b: Sequence[Array]) -> None:
        """X, and a W and a b for each layer, that fit together.

        Raises
        ------
        ValueError
            If shapes or counts differ, or there is no layer or no sample.
        TypeError
            If one is no array.
        """
        if len(W) != len(b) or not W:
            raise ValueError(
                f"{name}: {len(W)} matrices W and {len(b)} b, expected one of each a layer, at {mg.sites.here()}"
            )
        n = self._size(name, X)
        for layer, (W_l, b_l) in enumerate(zip(W, b, strict=True)):
            n = self._through(name, layer, W_l, n)
            self._expect(name, f"b[{layer}]", b_l, (n, 1))

    def check_pass(self, name: str, A: Sequence[Array], Y: Array, W: Sequence[Array], pair: Pair) -> None:
        """The A of a forward pass, targets, and the W that lie between; errors as for `check_network`."""
        if len(A) != len(W) + 1 or not W:
            raise ValueError(
                f"{name}: {len(A)} arrays A and {len(W)} matrices W, expected A[0] = X and one of each a layer, "
                f"at {mg.sites.here()}"
            )
        n = self._size(name, A[0])
        m = self.swapped(A[0].shape)[1]
        for layer, W_l in enumerate(W):
            n = self._through(name, layer, W_l, n)
            self._expect(name, f"A[{layer + 1}]", A[layer + 1], (n, m))
        self.check_targets(name, "A[-1]", A[-1], Y, pair)

    def check_targets(self, name: str, role: str, output: Array, Y: Array, pair: Pair) -> None:
        """Targets of the shape of the output, or one class index a sample; errors as for `check_network`."""
        K, m = self.swapped(_matrix(name, role, output).shape)
        if not m:
            raise ValueError(f"{name}: {role} of shape {output.shape} holds no sample, at {mg.sites.here()}")
        if pair.cost != "log-likelihood":
            self._expect(name, "Y", Y, (K, m))
            return
        if not isinstance(Y, np.ndarray) or Y.shape != (m,):
            raise ValueError(
                f"{name}: Y has shape {np.shape(Y)}, expected ({m},), one class index a sample, at {mg.sites.here()}"
            )
        if Y.dtype.kind not in "iu":
            raise TypeError(f"{name}: class indices must be integers, got {Y.dtype}, at {mg.sites.here()}")
        if Y.min() < 0 or Y.max() >= K:
            wrong = Y.min() if Y.min() < 0 else Y.max()
            raise ValueError(f"{name}: Y holds the class {wrong}, expected 0 to {K - 1}, at {mg.sites.here()}")

    def _size(self, name: str, X: Array) -> int:
        """How many numbers a sample has."""
        n, m = self.swapped(_matrix(name, "X", X).shape)
        if not m:
            raise ValueError(f"{name}: X of shape {X.shape} holds no sample, at {mg.sites.here()}")
        return n

    def _through(self, name: str, layer: int, W_l: Array, n: int) -> int:
        """How many numbers leave a layer that n enter."""
        out, into = self.swapped(_matrix(name, f"W[{layer}]", W_l).shape)
        if into != n:
            given, wanted = ("X" if not layer else f"W[{layer - 1}]"), self.swapped((out, n))
            raise ValueError(
                f"{name}: W[{layer}] has shape {W_l.shape}, and {given} gives {n} numbers a sample, expected {wanted}, "
                f"at {mg.sites.here()}"
            )
        return out

    def _expect(self, name: str, role: str, array: Array, shape: tuple[int, int]) -> None:
        if _matrix(name, role, array).shape != self.swapped(shape):
            raise ValueError(
                f"{name}: {role} has shape {array.shape}, expected {self.swapped(shape)}, at {mg.sites.here()}"
            )


COLUMNS, ROWS = Layout(rows=False), Layout(rows=True)


def _matrix(name: str, role: str, array: Array) -> Array:
    if not isinstance(array, np.ndarray):
        raise TypeError(f"{name}: {role} must be an ndarray, got {type(array).__name__}, at {mg.sites.here()}")
    if array.ndim != 2:
        raise ValueError(
            f"{name}: {role} has shape {array.shape}, expected two axes (of a vector: {role}[:, None] or [None, :]), "
            f"at {mg.sites.here()}"
        )
    return array
