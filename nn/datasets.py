"""Data sets and their batches, with torch's names: `Dataset`, `TensorDataset`, `Subset`, `random_split`, `DataLoader`.

Users find them as `nn.data.DataLoader` and so on.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from nn.init import Rng, generator as made
from nn.targets import Array, Data, integer, numeric

__microgrid_machinery__ = True


@runtime_checkable
class Dataset(Protocol):
    """Anything that has a length and gives sample i: a list of pairs (x, y) is one; a class of yours may inherit it.

    Examples
    --------
    >>> class Squares(Dataset):
    ...     def __len__(self):
    ...         return 4
    ...     def __getitem__(self, index):
    ...         return [float(index)], [float(index**2)]
    >>> for x, y in DataLoader(Squares(), batch_size=3):
    ...     print(x.tolist(), y.tolist())
    [[0.0], [1.0], [2.0]] [[0.0], [1.0], [4.0]]
    [[3.0]] [[9.0]]
    """

    @abstractmethod
    def __len__(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def __getitem__(self, index: Any, /) -> Any:
        """Sample number `index`, most often a pair (x, y)."""


class TensorDataset(Dataset):
    """Tensors whose rows belong together: sample i is the tuple of their rows i.

    Parameters
    ----------
    *tensors : Tensor or array_like of shape (m, ...)
        Arrays are copied.

    Attributes
    ----------
    tensors : tuple of Tensor

    Raises
    ------
    ValueError
        If their lengths differ, or nothing is given.
    TypeError
        If they are not numbers, or have no rows.

    Examples
    --------
    >>> pairs = TensorDataset([[0.0, 1.0], [2.0, 3.0]], [0, 1])
    >>> x, y = pairs[1]
    >>> len(pairs), x.tolist(), y.item()
    (2, [2.0, 3.0], 1)
    """

    def __init__(self, *tensors: Data) -> None:
        arrays = [numeric("TensorDataset", f"tensor {i}", tensor) for i, tensor in enumerate(tensors)]
        if not arrays or any(not array.ndim for array in arrays):
            given = "a single number" if arrays else "nothing"
            raise TypeError(f"TensorDataset: got {given}, expected arrays with one row a sample, at {mg.sites.here()}")
        if len({len(array) for array in arrays}) > 1:
            shapes = ", ".join(str(array.shape) for array in arrays)
            raise ValueError(
                f"TensorDataset: Size mismatch between tensors: shapes {shapes}, expected as many rows in each, "
                f"at {mg.sites.here()}"
            )
        self.tensors = tuple(
            tensor if isinstance(tensor, mg.Tensor) else mg.Tensor(array)
            for tensor, array in zip(tensors, arrays, strict=True)
        )

    def __len__(self) -> int:
        return len(self.tensors[0])

    def __getitem__(self, index: Any, /) -> tuple[mg.Tensor, ...]:
        """One sample; for an array of indices, or a slice, a batch."""
        return tuple(tensor[index] for tensor in self.tensors)


class Subset(Dataset):
    """Some samples of a data set, by their indices.

    Parameters
    ----------
    dataset : Dataset
    indices : sequence of int

    Raises
    ------
    TypeError, ValueError
        If an index is no integer, or there is no such sample.

    Examples
    --------
    >>> Subset(["a", "b", "c"], [2, 0])[0]
    'c'
    """

    def __init__(self, dataset: Dataset, indices: Sequence[int] | NDArray[np.integer]) -> None:
        check_dataset("Subset", dataset)
        self.dataset = dataset
        self.indices = np.array(indices if len(indices) else np.zeros(0, int))
        if self.indices.dtype.kind not in "iu" or self.indices.ndim != 1:
            raise TypeError(
                f"Subset: indices must be a list of integers, got {self.indices.dtype} of shape "
                f"{self.indices.shape}, at {mg.sites.here()}"
            )
        outside = (self.indices < -len(dataset)) | (self.indices >= len(dataset))
        if outside.any():
            raise ValueError(
                f"Subset: index {self.indices[outside][0]} is outside a data set of {len(dataset)} samples, "
                f"at {mg.sites.here()}"
            )

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: Any, /) -> Any:
        chosen = self.indices[index]
        return self.dataset[chosen if chosen.ndim else int(chosen)]


def random_split(dataset: Dataset, lengths: Sequence[float], rng: Rng = None) -> list[Subset]:
    """Deal the samples out at random.

    Parameters
    ----------
    dataset : Dataset
    lengths : sequence of int, or of float
        How many samples each part gets; or shares that add up to 1, rounded down, what is left over going to the first
        parts, one each.
    rng : numpy.random.Generator, int or None

    Returns
    -------
    list of Subset

    Raises
    ------
    ValueError
        If the lengths do not add up.

    Examples
    --------
    >>> [len(part) for part in random_split(range(10), [0.75, 0.25], rng=0)]
    [8, 2]
    """
    check_dataset("random_split", dataset)
    m, counts = len(dataset), list(lengths)
    if not all(isinstance(count, int | np.integer) for count in counts) and math.isclose(sum(counts), 1):
        counts = [math.floor(share * m) for share in counts]
        counts = [count + (part < m - sum(counts)) for part, count in enumerate(counts)]
    if sum(counts) != m or any(count < 0 or count != int(count) for count in counts):
        raise ValueError(
            f"Sum of input lengths does not equal the length of the input dataset! random_split: got {lengths!r} of "
            f"{m} samples, at {mg.sites.here()}"
        )
    ends = np.cumsum([0, *counts]).astype(int)
    order = made(rng).permutation(m)
    return [Subset(dataset, order[start:end]) for start, end in pairwise(ends)]


class DataLoader:
    """The batches of a data set: each iteration is one pass over it.

    Parameters
    ----------
    dataset : Dataset
        A list of pairs (x, y), say, or a `TensorDataset`, whose batches are one index an array.
    batch_size : int >= 1
        Samples a batch; the last batch may be smaller.
    shuffle : bool
        Take the samples in a new order in each iteration.
    drop_last : bool
        Leave out a last batch that is smaller.
    collate_fn : callable, optional
        From a list of samples to a batch; `default_collate` if not given.
    rng : numpy.random.Generator, int or None
        Shuffles. A generator (which advances), a seed, or None for fresh entropy; kept as the attribute `rng`, which
        `nn.save` and `nn.load` take.
    generator : numpy.random.Generator, int or None
        torch's word for `rng`.
    num_workers : int
        0: samples are fetched in this process, as torch does by default.

    Raises
    ------
    TypeError
        If the data set has no length or no samples by number, an argument is of another type, or both `rng` and
        `generator` are given.
    ValueError
        If the data set is empty, `batch_size` is less than 1, `drop_last` leaves nothing, or workers are asked for.

    Notes
    -----
    An uneven last batch: a loss that takes the mean over its batch counts the samples of a small batch for more, and
    the mean of such means is not the mean over the data. To find the loss or gradient of all m samples in batches,
    weight each mean by the size of its batch::

        for x, y in loader:
            (loss(model(x), y) * (len(x) / m)).backward()      # gradients add up
        optimizer.step()

    For a step a batch, a loss with `reduction="sum"` (and a learning rate divided by `batch_size`) gives every sample
    the same weight in whatever batch it is; `drop_last=True` leaves the uneven batch out.

    Examples
    --------
    >>> loader = DataLoader(TensorDataset([[1.0], [2.0], [3.0]], [0, 1, 0]), batch_size=2)
    >>> [(x.tolist(), y.tolist()) for x, y in loader]
    [([[1.0], [2.0]], [0, 1]), ([[3.0]], [0])]
    >>> len(loader)
    2
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int = 1,
        shuffle: bool | None = False,
        *,
        drop_last: bool = False,
        collate_fn: Callable[[list[Any]], Any] | None = None,
        rng: Rng = None,
        generator: Rng = None,
        num_workers: int = 0,
    ) -> None:
        check_dataset("DataLoader", dataset)
        if isinstance(batch_size, bool) or not isinstance(batch_size, int | np.integer):
            raise TypeError(f"DataLoader: batch_size must be an integer, got {batch_size!r}, at {mg.sites.here()}")
        if batch_size < 1:
            raise ValueError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size}, at {mg.sites.here()}"
            )
        if integer("DataLoader", "num_workers", num_workers):
            raise ValueError(
                f"DataLoader: num_workers={num_workers}: samples are fetched in this process, expected 0, "
                f"at {mg.sites.here()}"
            )
        if rng is not None and generator is not None:
            raise TypeError(f"DataLoader: rng and generator are one thing: give one, at {mg.sites.here()}")
        shuffle = bool(shuffle) if shuffle is None else shuffle
        for name, flag in (("shuffle", shuffle), ("drop_last", drop_last)):
            if not isinstance(flag, bool | np.bool):
                raise TypeError(f"DataLoader: {name} must be True or False, got {flag!r}, at {mg.sites.here()}")
        if not len(dataset):
            raise ValueError(f"DataLoader: the data set is empty, expected at least one sample, at {mg.sites.here()}")
        if drop_last and len(dataset) < batch_size:
            raise ValueError(
                f"DataLoader: drop_last leaves no batch: {len(dataset)} samples, batch_size={batch_size}, "
                f"at {mg.sites.here()}"
            )
        self.dataset, self.batch_size, self.shuffle, self.drop_last = dataset, int(batch_size), shuffle, drop_last
        self.collate_fn, self.rng = collate_fn, made(generator if rng is None else rng)

    def __len__(self) -> int:
        """Batches in an iteration."""
        m = len(self.dataset)
        return m // self.batch_size if self.drop_last else math.ceil(m / self.batch_size)

    def __iter__(self) -> Iterator[Any]:
        m = len(self.dataset)
        order = self.rng.permutation(m) if self.shuffle else np.arange(m)
        whole = self.collate_fn is None and by_index(self.dataset)
        collate_fn = self.collate_fn or default_collate
        for batch in range(len(self)):
            chosen = order[batch * self.batch_size : (batch + 1) * self.batch_size]
            yield self.dataset[chosen] if whole else collate_fn([self.dataset[int(index)] for index in chosen])


def default_collate(samples: list[Any]) -> Any:
    """Put samples together: tuples field by field, dicts key by key, numbers and arrays as the rows of a Tensor.

    Lists of numbers are arrays; text stays a list.

    Raises
    ------
    ValueError
        If shapes, or numbers of fields, differ.
    TypeError
        For anything else.

    Examples
    --------
    >>> X, Y = default_collate([([1.0, 2.0], 0), ([3.0, 4.0], 1)])
    >>> X.shape, Y.tolist()
    ((2, 2), [0, 1])
    """
    sample = samples[0]
    for other in samples:
        if _fields(other) != _fields(sample):
            got = " and ".join(_fields(each) or type(each).__name__ for each in (sample, other))
            raise ValueError(
                f"DataLoader: the samples of a batch must have the same fields, got {got}, at {mg.sites.here()}"
            )
    if isinstance(sample, Mapping):
        return {key: default_collate([other[key] for other in samples]) for key in sample}
    if isinstance(sample, tuple):
        return tuple(default_collate(list(field)) for field in zip(*samples, strict=True))
    if all(isinstance(other, str) for other in samples):
        return samples
    arrays: list[Array] = [numeric("DataLoader", "a sample", other) for other in samples]
    for entry, array in enumerate(arrays):
        if array.shape != arrays[0].shape:
            raise ValueError(
                f"DataLoader: stack expects each tensor to be equal size, but got {arrays[0].shape} at entry 0 and "
                f"{array.shape} at entry {entry}, at {mg.sites.here()}"
            )
    if any(isinstance(other, mg.Tensor) and other.requires_grad for other in samples):
        return mg.stack(samples)  # their graph goes on
    return mg.Tensor(np.stack(arrays))


def _fields(sample: object) -> str:
    """The fields of a sample, in words; none of a number, an array, a text."""
    if isinstance(sample, Mapping):
        return f"dict of {sorted(map(str, sample))}"
    return f"tuple of {len(sample)}" if isinstance(sample, tuple) else ""


def by_index(dataset: Dataset) -> bool:
    """Whether an array of indices gives a batch at once; not where a subclass makes its samples in a way of its own."""
    if isinstance(dataset, Subset) and type(dataset).__getitem__ is Subset.__getitem__:
        return by_index(dataset.dataset)
    return isinstance(dataset, TensorDataset) and type(dataset).__getitem__ is TensorDataset.__getitem__


def check_dataset(name: str, dataset: object) -> None:
    """Something with a length and samples by number, which a dict has not."""
    if not isinstance(dataset, Dataset) or isinstance(dataset, Mapping | str):
        lacking = "" if hasattr(dataset, "__len__") else f": object of type {type(dataset).__name__!r} has no len()"
        raise TypeError(
            f"{name}: expected a Dataset, with __len__ and __getitem__ (a TensorDataset, a list of pairs), "
            f"got {type(dataset).__name__}{lacking}, at {mg.sites.here()}"
        )
