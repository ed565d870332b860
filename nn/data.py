"""Data for training: read a table, split it, standardise it, take it in batches. One sample a row."""

from __future__ import annotations

import math
from typing import Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

import microgrid as mg
from nn.datasets import DataLoader, Dataset, Subset, TensorDataset, default_collate, random_split
from nn.init import Rng, generator
from nn.tables import Table, read_csv
from nn.targets import Array, first, numeric, real, refuse_mask

__microgrid_machinery__ = True

__all__ = [
    "DataLoader",
    "Dataset",
    "StandardScaler",
    "Subset",
    "Table",
    "TensorDataset",
    "default_collate",
    "random_split",
    "read_csv",
    "standardize",
    "train_test_split",
]


def train_test_split(
    X: ArrayLike, Y: ArrayLike, test_size: float = 0.25, rng: Rng = None, stratify: ArrayLike | None = None
) -> tuple[Array, Array, Array, Array]:
    """Shuffle the samples and set some aside.

    Parameters
    ----------
    X, Y : array_like of shape (m, ...)
    test_size : float in (0, 1), or int >= 1
        Share of the samples, rounded up, or their number.
    rng : numpy.random.Generator, int or None
        A generator (which advances), a seed, or None for fresh entropy.
    stratify : array_like of m labels, optional
        Both parts get the labels in the same proportion, to within one sample a label.

    Returns
    -------
    X_train, X_test, Y_train, Y_test : ndarray
        Copies.

    Raises
    ------
    ValueError
        If the lengths differ, a part would be empty, or `test_size` is nan.
    TypeError
        If X or Y is no array of samples, or `test_size` no number.

    Examples
    --------
    >>> X_train, X_test, Y_train, Y_test = train_test_split(np.eye(8), np.arange(8), rng=0)
    >>> X_train.shape, Y_test.shape
    ((6, 8), (2,))
    """
    X, Y = _samples("X", X), _samples("Y", Y)
    labels = np.zeros(len(X)) if stratify is None else np.asarray(stratify).reshape(-1)
    m = len(X)
    if len(Y) != m or len(labels) != m:
        raise ValueError(
            f"train_test_split: X has {m} samples, Y has {len(Y)}, expected as many"
            + (f"; stratify has {len(labels)}" if stratify is not None else "")
            + f", at {mg.sites.here()}"
        )
    share = real("train_test_split", "test_size", test_size)
    held = int(share) if isinstance(test_size, int | np.integer) else math.ceil(share * m)
    if not 0 < held < m:
        raise ValueError(
            f"train_test_split: test_size={test_size} of {m} samples leaves one part empty, expected a share in (0, 1) "
            f"or a number from 1 to {m - 1}, at {mg.sites.here()}"
        )
    rng = generator(rng)
    test = rng.permutation(_stratified(labels, held, rng))
    train = rng.permutation(np.setdiff1d(np.arange(m), test))
    return X[train], X[test], Y[train], Y[test]


class StandardScaler:
    """Shift and scale each column to mean 0 and standard deviation 1 of the data it was fitted to.

    For later data: fit it to the training part, keep it, and transform whatever the model is given. The names are
    scikit-learn's. Mean and deviation are found in float64, whatever the data are; data of floats keep their dtype when
    they are transformed.

    Attributes
    ----------
    mean_, scale_ : ndarray of shape (n,)
        Mean and standard deviation (of the population, 1/m) of each column. A constant column has the scale 1, and so
        becomes 0; a column counts as constant, too, where its deviation is the rounding of its own numbers.

    Examples
    --------
    >>> scaler = StandardScaler().fit([[1.0], [3.0]])
    >>> scaler.transform([[5.0]]).tolist(), scaler.inverse_transform([[3.0]]).tolist()
    ([[3.0]], [[5.0]])
    """

    mean_: Array
    scale_: Array

    def fit(self, X: ArrayLike) -> Self:
        """Take mean and deviation of each column.

        Raises
        ------
        ValueError
            If X is not of shape (m, n), is empty or not finite.
        TypeError
            If it holds no numbers.
        """
        fitted = _table(X, None)
        if not fitted.size or not np.isfinite(fitted).all():
            where = f"not finite at index {first(~np.isfinite(fitted))}" if fitted.size else "empty"
            raise ValueError(f"standardize: the training part is {where}, at {mg.sites.here()}")
        self.mean_, self.scale_ = _moments(fitted)
        return self

    def transform(self, X: ArrayLike) -> Array:
        """(X - mean_) / scale_, for X of shape (any, n)."""
        table = _table(X, self._fitted())
        return _as((table - self.mean_) / self.scale_, table)

    def fit_transform(self, X: ArrayLike) -> Array:
        """`fit`, then `transform`."""
        return self.fit(X).transform(X)

    def inverse_transform(self, X: ArrayLike) -> Array:
        """X * scale_ + mean_: back from standardised columns."""
        table = _table(X, self._fitted())
        return _as(table * self.scale_ + self.mean_, table)

    def _fitted(self) -> int:
        if not hasattr(self, "mean_"):
            raise ValueError(f"StandardScaler: it has seen no data yet; call fit(X) first, at {mg.sites.here()}")
        return len(self.mean_)


def standardize(train: ArrayLike, *others: ArrayLike) -> tuple[Array, ...]:
    """Shift and scale each column to mean 0 and standard deviation 1 of the *training part*.

    The others are scaled by the same numbers: what the test part looks like must not leak into the model.

    Parameters
    ----------
    train : array_like of shape (m, n)
        What a `StandardScaler` is fitted to. A constant column becomes 0.
    *others : array_like of shape (any, n)

    Returns
    -------
    tuple of ndarray
        As many as were given: `X_train, X_test = standardize(X_train, X_test)`.

    Raises
    ------
    ValueError
        If the training part is empty or not finite, or the columns differ.
    TypeError
        If they are not numbers.

    Examples
    --------
    >>> train, test = standardize([[1.0], [3.0]], [[5.0]])
    >>> train.tolist(), test.tolist()
    ([[-1.0], [1.0]], [[3.0]])
    """
    scaler = StandardScaler().fit(train)
    return tuple(scaler.transform(data) for data in (train, *others))


def _table(X: ArrayLike, n: int | None) -> Array:
    """X as an array of shape (m, n)."""
    array = numeric("standardize", "data", X)
    if array.ndim != 2 or n not in (None, array.shape[1]):
        raise ValueError(
            f"standardize: got data of shape {array.shape}, expected (m, {'n' if n is None else n}), "
            f"at {mg.sites.here()}"
        )
    return array


def _as(found: Array, given: Array) -> Array:
    """What was found in float64, in the dtype of the data where they are floats."""
    return found.astype(given.dtype, copy=False) if given.dtype.kind == "f" else found


ULPS = 10  # a deviation of so many units in the last place of the mean is rounding, not spread


def _moments(table: Array) -> tuple[Array, Array]:
    """Mean and scale of each column.

    The numbers are brought to size 1 by a power of two, so that no square overflows or vanishes, and measured from the
    first row, so that the sums round what the column's spread is, not what its mean is.
    """
    eps = np.finfo(table.dtype if table.dtype.kind == "f" else float).eps
    wide = table.astype(float)
    _, exponent = np.frexp(abs(wide).max(axis=0))
    start = np.ldexp(wide[0], -exponent)
    moved = np.ldexp(wide, -exponent) - start  # (m, n)
    mean, std = start + moved.mean(axis=0), moved.std(axis=0)
    constant = std <= ULPS * eps * abs(mean)
    return np.ldexp(mean, exponent), np.where(constant, 1.0, np.ldexp(std, exponent))


def _samples(role: str, data: ArrayLike) -> Array:
    """Any array that has rows."""
    array = np.asarray(refuse_mask("train_test_split", role, data))
    if not array.ndim:
        raise TypeError(
            f"train_test_split: {role} must be an array with one row a sample, got {data!r:.60}, at {mg.sites.here()}"
        )
    return array


def _stratified(labels: Array, held: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of `held` samples, each label in proportion; what is left over goes to the largest remainders."""
    _, label, sizes = np.unique(labels, return_inverse=True, return_counts=True)
    members = np.split(np.argsort(label, kind="stable"), np.cumsum(sizes)[:-1])
    exact = sizes * held / len(labels)
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: held - counts.sum()]] += 1
    chosen = [rng.permutation(of_label)[:count] for of_label, count in zip(members, counts, strict=True)]
    return np.concatenate(chosen)
