"""What `fit` trains on: arrays, data sets and loaders, all of them as batches that are checked. Users call `nn.fit`."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

import microgrid as mg
from nn.datasets import DataLoader, Dataset, by_index
from nn.init import Rng, generator
from nn.losses import Loss
from nn.module import Module
from nn.targets import Array, Data, cast, numeric, refuse_infinite

__microgrid_machinery__ = True

Pair: TypeAlias = Sequence[Data]
Batch: TypeAlias = tuple[mg.Tensor, Array]
LossFunction: TypeAlias = Callable[[mg.Tensor, Any], mg.Tensor]


@dataclass(frozen=True)
class Arrays:
    """The batches of two arrays, checked: in another order in each epoch, or all at once."""

    X: mg.Tensor
    Y: Array
    size: int
    rng: np.random.Generator

    def __iter__(self) -> Iterator[Batch]:
        m = len(self.Y)
        if self.size >= m:
            yield from self.in_order()
            return
        order = self.rng.permutation(m)
        for start in range(0, m, self.size):
            chosen = order[start : start + self.size]
            yield mg.Tensor(self.X._data[chosen]), self.Y[chosen]

    def in_order(self) -> Iterator[Batch]:
        yield self.X, self.Y


@dataclass(frozen=True)
class Loaded:
    """The batches of a loader, each checked as it comes."""

    loader: DataLoader
    check: Callable[[Any], Batch]

    def __iter__(self) -> Iterator[Batch]:
        return map(self.check, self.loader)

    def in_order(self) -> Iterator[Batch]:
        """All samples; the loader's generator stays where it is."""
        loader = copy.copy(self.loader)
        loader.shuffle = loader.drop_last = False
        return map(self.check, loader)


def source(
    role: str, data: object, loss: LossFunction, model: Module, size: int | None = None, rng: Rng = None
) -> Arrays | Loaded:
    """Where the batches come from, for each kind of data that `fit` takes."""

    def check(batch: object) -> Batch:
        return _checked(f"a batch of {role}", batch, loss, model)

    if isinstance(data, DataLoader):
        given = [name for name, setting in (("batch_size", size), ("rng", rng)) if setting is not None]
        if given:
            raise ValueError(
                f"nn.fit: {' and '.join(given)} given, but {role} is a DataLoader, which has its own, "
                f"at {mg.sites.here()}"
            )
        return Loaded(data, check)
    rng = generator(rng)
    if isinstance(data, Dataset) and not (isinstance(data, tuple | list | Mapping | str) or hasattr(data, "__array__")):
        if not by_index(data):
            return Loaded(DataLoader(data, size or max(len(data), 1), size is not None, rng=rng), check)
        data = data[np.arange(len(data))]
    X, Y = _checked(role, data, loss, model)
    return Arrays(X, Y, size or len(Y), rng)


def _checked(role: str, data: object, loss: LossFunction, model: Module) -> Batch:
    """X and Y in the dtype of the model, or the reason why not."""
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(
            f"nn.fit: {role} must be a pair (X, Y), got {type(data).__name__}; else a Dataset of pairs or a DataLoader "
            f"(for a list of pairs (x, y): nn.data.DataLoader(pairs)), at {mg.sites.here()}"
        )
    X, Y = (numeric("nn.fit", f"{part} of {role}", array) for part, array in zip("XY", data, strict=True))
    for part, array in (("X", X), ("Y", Y)):
        if not array.size:
            raise ValueError(
                f"nn.fit: {part} of {role} is empty, of shape {array.shape}, expected at least one sample, "
                f"at {mg.sites.here()}"
            )
        if not array.ndim:
            raise ValueError(f"nn.fit: {part} of {role} is one number, expected one row a sample, at {mg.sites.here()}")
        refuse_infinite("nn.fit", f"{part} of {role}", array)
    if len(X) != len(Y):
        raise ValueError(
            f"nn.fit: {role} has {len(X)} samples in X (shape {X.shape}) and {len(Y)} in Y (shape {Y.shape}), "
            f"expected as many, at {mg.sites.here()}"
        )
    if isinstance(loss, Loss):
        loss.check_target(Y)
    dtype = next(model.parameters()).dtype
    if Y.dtype.kind == "f":
        Y = cast("nn.fit", f"Y of {role}", Y, dtype)
    Y = Y.copy()
    Y.setflags(write=False)  # so that the loss need look at it once only
    return mg.Tensor(cast("nn.fit", f"X of {role}", X, dtype)), Y
