"""Data for training: read a table, split it, standardise it. Plain arrays, one sample a row."""

from __future__ import annotations

import csv
import gzip
import math
from collections.abc import Iterator, Sequence
from os import PathLike
from typing import IO, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

import microgrid as mg
from nn.init import Rng, generator
from nn.targets import Array, first, numeric

__microgrid_machinery__ = True


class Table(NamedTuple):
    """What `read_csv` gives.

    Attributes
    ----------
    X : ndarray of shape (m, n)
        The features.
    Y : ndarray of shape (m, k)
        The targets, a column each: the shape of a network's output.
    features, targets : list of str
        The names of the columns of X and Y.
    """

    X: NDArray[np.float64]
    Y: NDArray[np.float64]
    features: list[str]
    targets: list[str]


def read_csv(path: str | PathLike[str], target: str | Sequence[str]) -> Table:
    r"""Read a table of numbers with a header row.

    Parameters
    ----------
    path : str or path
        A text file in UTF-8, separated by commas; `.gz` is unpacked.
    target : str or sequence of str
        The columns that become Y; all others become X.

    Returns
    -------
    Table
        (X, Y, features, targets).

    Raises
    ------
    ValueError
        For an empty file, a missing or repeated column name, a row of another length, and a cell that is empty or no
        finite number; with line and column.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "heights.csv")
    ...     _ = path.write_text("height,weight,tall\n1.5,50,0\n2.0,90,1\n")
    ...     table = read_csv(path, target="tall")
    >>> table.X.tolist(), table.Y.tolist(), table.features
    ([[1.5, 50.0], [2.0, 90.0]], [[0.0], [1.0]], ['height', 'weight'])
    """
    targets = [target] if isinstance(target, str) else list(target)
    with _open(path) as file:
        rows = csv.reader(file)
        header = [name.strip() for name in next(rows, [])]
        _check_header(header, targets, path)
        body = np.array(list(_numbers(rows, header, path)), dtype=np.float64)
    if not len(body):
        raise ValueError(f"{path}: no rows below the header, at {mg.sites.here()}")
    features = [name for name in header if name not in targets]
    X, Y = ([header.index(name) for name in names] for names in (features, targets))
    return Table(body[:, X], body[:, Y], features, targets)


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
        If the lengths differ, or a part would be empty.

    Examples
    --------
    >>> X_train, X_test, Y_train, Y_test = train_test_split(np.eye(8), np.arange(8), rng=0)
    >>> X_train.shape, Y_test.shape
    ((6, 8), (2,))
    """
    X, Y = np.asarray(X), np.asarray(Y)
    labels = np.zeros(len(X)) if stratify is None else np.asarray(stratify).reshape(-1)
    m = len(X)
    if len(Y) != m or len(labels) != m:
        raise ValueError(
            f"train_test_split: X has {m} samples, Y has {len(Y)}, expected as many"
            + (f"; stratify has {len(labels)}" if stratify is not None else "")
            + f", at {mg.sites.here()}"
        )
    held = test_size if isinstance(test_size, int) else math.ceil(test_size * m)
    if not 0 < held < m:
        raise ValueError(
            f"train_test_split: test_size={test_size} of {m} samples leaves one part empty, expected a share in (0, 1) "
            f"or a number from 1 to {m - 1}, at {mg.sites.here()}"
        )
    rng = generator(rng)
    test = rng.permutation(_stratified(labels, held, rng))
    train = rng.permutation(np.setdiff1d(np.arange(m), test))
    return X[train], X[test], Y[train], Y[test]


def standardize(train: ArrayLike, *others: ArrayLike) -> tuple[Array, ...]:
    """Shift and scale each column to mean 0 and standard deviation 1 of the *training part*.

    The others are scaled by the same numbers: what the test part looks like must not leak into the model.

    Parameters
    ----------
    train : array_like of shape (m, n)
        Mean and standard deviation (of the population, 1/m) come from here. A constant column becomes 0.
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
    arrays = [numeric("standardize", "data", data) for data in (train, *others)]
    fitted = arrays[0]
    for array in arrays:
        if array.ndim != 2 or array.shape[1] != fitted.shape[1]:
            raise ValueError(
                f"standardize: got shapes {', '.join(str(a.shape) for a in arrays)}, expected (m, n) and the same n, "
                f"at {mg.sites.here()}"
            )
    if not fitted.size or not np.isfinite(fitted).all():
        where = f"not finite at index {first(~np.isfinite(fitted))}" if fitted.size else "empty"
        raise ValueError(f"standardize: the training part is {where}, at {mg.sites.here()}")
    mean, std = fitted.mean(axis=0), fitted.std(axis=0)
    # Of a constant column the rounded mean may differ from the constant, and its std then from 0.
    constant = (fitted == fitted[0]).all(axis=0)
    mean, std = np.where(constant, fitted[0], mean), np.where(constant, 1, std)
    return tuple((array - mean) / std for array in arrays)


def _stratified(labels: Array, held: int, rng: np.random.Generator) -> NDArray[np.intp]:
    """Indices of `held` samples, each label in proportion; what is left over goes to the largest remainders."""
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    exact = np.array([len(of_label) * held / len(labels) for of_label in members])
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: held - counts.sum()]] += 1
    chosen = [rng.permutation(of_label)[:count] for of_label, count in zip(members, counts, strict=True)]
    return np.concatenate(chosen)


def _open(path: str | PathLike[str]) -> IO[str]:
    if str(path).endswith(".gz"):
        return gzip.open(path, "rt", encoding="utf-8-sig", newline="")
    return open(path, encoding="utf-8-sig", newline="")


def _check_header(header: list[str], targets: list[str], path: str | PathLike[str]) -> None:
    if not header:
        raise ValueError(f"{path}: the file is empty, expected a header row, at {mg.sites.here()}")
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}, line 1: column {repeated[0]!r} stands there twice, at {mg.sites.here()}")
    for name in targets:
        if name not in header:
            raise ValueError(f"{path}, line 1: no column {name!r}, only {', '.join(header)}, at {mg.sites.here()}")


def _numbers(rows: Any, header: list[str], path: str | PathLike[str]) -> Iterator[list[float]]:
    """The rows as floats; `rows` is a csv.reader, which counts the lines of quoted cells too."""
    for row in rows:
        if not row:  # a blank line
            continue
        if len(row) != len(header):
            raise ValueError(
                f"{path}, line {rows.line_num}: {len(row)} cells, expected {len(header)}, at {mg.sites.here()}"
            )
        line = f"{path}, line {rows.line_num}"
        yield [_number(cell, f"{line}, column {name!r}") for cell, name in zip(row, header, strict=True)]


def _number(cell: str, where: str) -> float:
    try:
        number = float(cell)
    except ValueError:
        number = math.nan
    if math.isfinite(number):
        return number
    fault = f"{cell!r} is no finite number" if cell.strip() else "the cell is empty"
    raise ValueError(f"{where}: {fault}, at {mg.sites.here()}")
