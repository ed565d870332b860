"""Batches hold every sample once, whichever way they are made; the gradient of batches is that of the data."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import microgrid as mg
import nn
from nn import datasets
from nn.data import DataLoader, Dataset, Subset, TensorDataset, random_split
from nn.datasets import by_index, default_collate

X = np.arange(22.0).reshape(11, 2)
Y = np.arange(11)


class Pairs(Dataset):
    """Sample by sample, and counted."""

    def __init__(self, m: int = 11) -> None:
        self.m, self.asked = m, 0

    def __len__(self) -> int:
        return self.m

    def __getitem__(self, index: Any) -> Any:
        assert type(index) is int
        self.asked += 1
        return X[index], int(Y[index])


def rows(loader: Any) -> list[tuple[Any, Any]]:
    return [(x.tolist(), y.tolist()) for x, y in loader]


def test_a_tensor_dataset_is_rows_that_belong_together() -> None:
    dataset = TensorDataset(X, Y, mg.Tensor(X))
    assert len(dataset) == 11
    x, y, z = dataset[3]
    assert (x.tolist(), y.item(), z.tolist()) == ([6.0, 7.0], 3, [6.0, 7.0])
    assert [y.item() for _, y, _ in dataset] == list(range(11))
    source = X.copy()
    kept = TensorDataset(source)
    source[:] = -1
    assert kept.tensors[0].tolist() == X.tolist()
    assert TensorDataset([1, 2], [0.5, 1.5])[1][0].dtype == np.int64
    assert isinstance(dataset, Dataset)
    assert isinstance([(1, 2)], Dataset)


@given(st.integers(1, 11), st.integers(1, 13), st.booleans(), st.booleans(), st.integers(0, 3))
def test_the_fast_path_gives_what_sample_by_sample_gives(
    m: int, size: int, shuffle: bool, drop_last: bool, seed: int
) -> None:
    """An index an array and a loop over the samples: equal batches, each sample once, but for a dropped last batch."""
    if drop_last and size > m:
        return
    slow, fast = Pairs(m), TensorDataset(X[:m], Y[:m])
    part = Subset(TensorDataset(X, Y), np.arange(m))
    loaders = [DataLoader(it, size, shuffle, drop_last=drop_last, rng=seed) for it in (slow, fast, part)]
    assert (by_index(slow), by_index(fast), by_index(part)) == (False, True, True)
    for _ in range(2):
        got = [rows(loader) for loader in loaders]
        assert got[0] == got[1] == got[2]
        sizes = [len(y) for _, y in got[0]]
        full, rest = divmod(m, size)
        assert sizes == [size] * full + [rest] * bool(rest and not drop_last)
        assert {len(loader) for loader in loaders} == {len(sizes)}
        order = [label for _, y in got[0] for label in y]
        assert len(set(order)) == len(order) == sum(sizes)
        assert all(row == X[label].tolist() for x, y in got[0] for row, label in zip(x, y, strict=True))
        assert shuffle or order == list(range(len(order)))
    assert slow.asked == 2 * sum(sizes)


def test_the_batches_of_arrays_are_made_without_a_loop_over_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(samples: list[Any]) -> Any:
        raise ZeroDivisionError

    monkeypatch.setattr(datasets, "default_collate", refuse)
    assert len(list(DataLoader(TensorDataset(X, Y), 4, shuffle=True, rng=0))) == 3
    with pytest.raises(ZeroDivisionError):
        list(DataLoader(Pairs(), 4))


def test_each_iteration_shuffles_anew_and_a_seed_repeats_all_of_them() -> None:
    loader, again = (DataLoader(list(range(50)), 50, shuffle=True, rng=7) for _ in range(2))
    first, second = ([batch.tolist() for batch in loader] for _ in range(2))
    assert first != second
    assert [batch.tolist() for batch in again] == first
    assert [batch.tolist() for batch in again] == second
    generator = np.random.default_rng(7)
    assert [batch.tolist() for batch in DataLoader(list(range(50)), 50, shuffle=True, rng=generator)] == first
    assert DataLoader([1], rng=generator).rng is generator


def test_two_iterations_at_once_do_not_meet() -> None:
    loader = DataLoader(list(range(6)), 2)
    assert [(a.tolist(), b.tolist()) for a, b in zip(loader, loader, strict=True)] == [
        ([0, 1], [0, 1]), ([2, 3], [2, 3]), ([4, 5], [4, 5]),
    ]  # fmt: skip


def test_a_subclass_that_makes_its_samples_itself_is_asked_for_each() -> None:
    class Doubled(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            x, y = super().__getitem__(index)
            return 2 * x, y

    loader = DataLoader(Doubled(X, Y), 4)
    assert not by_index(Doubled(X, Y))
    assert not by_index(Subset(Doubled(X, Y), [0]))
    assert rows(loader)[0][0] == (2 * X[:4]).tolist()


def test_collate_puts_fields_together() -> None:
    assert default_collate([1.5, 2.5]).tolist() == [1.5, 2.5]
    assert default_collate([1, 2]).dtype == np.int64
    assert default_collate([np.float32(1), np.float32(2)]).dtype == np.float32
    assert default_collate([True, False]).tolist() == [True, False]
    assert default_collate(["a", "b"]) == ["a", "b"]
    batch = default_collate([{"x": [1.0, 2.0], "of": ("a", 3)}, {"x": [3.0, 4.0], "of": ("b", 4)}])
    assert batch["x"].tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert batch["of"][0] == ["a", "b"]
    assert batch["of"][1].tolist() == [3, 4]
    w = mg.Tensor([1.0, 2.0], requires_grad=True)
    mg.sum(default_collate([w, 3 * w])).backward()  # a graph goes on
    assert w.grad.tolist() == [4.0, 4.0]
    x = TensorDataset(w)[1][0]
    assert x.requires_grad


def test_collate_fn_has_the_samples_as_they_are() -> None:
    assert list(DataLoader(TensorDataset(Y), 4, collate_fn=len)) == [4, 4, 3]


# Subsets


@given(st.integers(1, 40), st.integers(0, 5))
def test_random_split_deals_out_every_sample_once(m: int, seed: int) -> None:
    dataset = list(range(100, 100 + m))
    parts = random_split(dataset, [0.5, 0.3, 0.2], rng=seed)
    assert sorted(sample for part in parts for sample in part) == dataset
    assert [part.indices.tolist() for part in parts] == [
        part.indices.tolist() for part in random_split(dataset, [0.5, 0.3, 0.2], rng=seed)
    ]
    floors = [m // 2, 3 * m // 10, m // 5]
    left = m - sum(floors)  # to the first parts, one each
    assert [len(part) for part in parts] == [floor + (place < left) for place, floor in enumerate(floors)]
    counts = [m // 3, m - m // 3]
    assert [len(part) for part in random_split(dataset, counts, rng=seed)] == counts


@pytest.mark.oracles
def test_random_split_has_torchs_sizes_and_collate_torchs_shapes() -> None:
    data = pytest.importorskip("torch.utils.data")
    for m, shares in itertools.product(
        (10, 11, 23), ([0.5, 0.5], [0.7, 0.2, 0.1], [1.0], [0.3, 0.3, 0.3, 0.1], [1 / 3] * 3)
    ):
        theirs = [len(part) for part in data.random_split(range(m), shares)]
        assert [len(part) for part in random_split(range(m), shares, rng=0)] == theirs
    for size, drop_last in itertools.product((1, 3, 4, 11), (False, True)):
        ours = DataLoader(TensorDataset(X, Y), size, drop_last=drop_last)
        torch = pytest.importorskip("torch")
        theirs = data.DataLoader(data.TensorDataset(torch.tensor(X), torch.tensor(Y)), size, drop_last=drop_last)
        assert rows(ours) == rows(theirs)
        assert len(ours) == len(theirs)


def test_subsets_of_subsets() -> None:
    part = Subset(Subset(TensorDataset(Y), [9, 7, 5]), [2, -3])
    assert [y.item() for (y,) in part] == [5, 9]
    assert len(Subset([1], [])) == 0


# The gradient of batches


def gradients(model: nn.Module) -> Any:
    return np.concatenate([parameter.grad.ravel() for parameter in model.parameters()])


def off(found: Any, expected: Any) -> float:
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def test_the_mean_of_batch_means_is_not_the_mean_but_weighted_by_size_it_is() -> None:
    """Batches of 3 and 2: the plain mean of their gradients is off in the first digit, the weighted one in the last.

    The way that the docstring of DataLoader gives, and that of `reduction="sum"`.
    """
    rng = np.random.default_rng(0)
    dataset = TensorDataset(rng.normal(size=(5, 2)), rng.integers(0, 2, (5, 1)).astype(float))
    loss, model, m = nn.BCEWithLogitsLoss(), nn.MLP(2, [3, 1], rng=0), len(dataset)
    loader = DataLoader(dataset, batch_size=3)
    x, y = dataset[:]
    loss(model(x), y).backward()
    whole = gradients(model)

    def accumulated(weight: Any, loss: Any = loss) -> Any:
        model.zero_grad()
        for x, y in loader:
            (loss(model(x), y) * weight(len(x))).backward()
        return gradients(model)

    assert off(accumulated(lambda size: 1 / len(loader)), whole) > 0.05
    assert off(accumulated(lambda size: size / m), whole) < 1e-15
    assert off(accumulated(lambda size: 1 / m, nn.BCEWithLogitsLoss(reduction="sum")), whole) < 1e-15


def test_S23_the_objective_over_a_data_set_of_pairs_is_the_mean_of_C() -> None:
    """In batches of 3 and 2, `fit` reports (1/m) sum C(x^i, y^i), which the mean of the batches' means is not."""
    rng = np.random.default_rng(1)
    pairs = [(rng.normal(size=2), rng.integers(0, 2, 1)) for _ in range(5)]
    model, C = nn.MLP(2, [3, 1], output="sigmoid", rng=0), nn.BCELoss()
    each = [C(model(x[None]), y[None]).item() for x, y in pairs]
    still = nn.optim.SGD(model.parameters(), lr=0.0)
    history = nn.fit(model, DataLoader(pairs, 3), C, still, epochs=1, validation=DataLoader(pairs, 3), progress=False)
    assert history.loss[0] == pytest.approx(sum(each) / 5, rel=1e-15)
    assert history.validation_loss[0] == pytest.approx(sum(each) / 5, rel=1e-15)
    assert abs((sum(each[:3]) / 3 + sum(each[3:]) / 2) / 2 - history.loss[0]) > 1e-3
    descent = nn.optim.SGD(model.parameters(), lr=0.5)
    nn.fit(model, DataLoader(pairs, 3), C, descent, epochs=50, progress=False)
    assert np.mean([C(model(x[None]), y[None]).item() for x, y in pairs]) < 0.8 * history.loss[0]  # min over W, b


# Bad input


class NoLength:
    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: TensorDataset(X, Y[:-1]), ValueError, r"Size mismatch between tensors: shapes \(11, 2\), \(10,\)"),
        (lambda: TensorDataset(), TypeError, "TensorDataset: got nothing"),
        (lambda: TensorDataset(X, 3.0), TypeError, "TensorDataset: got a single number"),
        (lambda: TensorDataset(["a", "b"]), TypeError, "tensor 0 must be an array of real numbers"),
        (lambda: TensorDataset([[1.0], [1.0, 2.0]]), ValueError, "tensor 0 is no regular array"),
        (lambda: DataLoader([1], 0), ValueError, "positive integer value, but got batch_size=0"),
        (lambda: DataLoader([1], -2), ValueError, "positive integer value, but got batch_size=-2"),
        (lambda: DataLoader([1], 1.5), TypeError, "batch_size must be an integer, got 1.5"),
        (lambda: DataLoader([1], True), TypeError, "batch_size must be an integer, got True"),
        (lambda: DataLoader([1], 1, "yes"), TypeError, "shuffle must be True or False, got 'yes'"),
        (lambda: DataLoader([]), ValueError, "the data set is empty"),
        (lambda: DataLoader([1, 2], 3, drop_last=True), ValueError, "drop_last leaves no batch: 2 samples"),
        (lambda: DataLoader(NoLength()), TypeError, r"object of type 'NoLength' has no len\(\)"),
        (lambda: DataLoader(iter([1])), TypeError, "expected a Dataset, with __len__ and __getitem__.*got list_iter"),
        (lambda: DataLoader({"a": 1}), TypeError, "got dict"),
        (lambda: DataLoader([1], rng="a"), TypeError, "rng: expected a numpy.random.Generator"),
        (lambda: next(iter(DataLoader([[1.0], [1.0, 2.0]], 2))), ValueError, r"equal size, but got \(1,\) at entry 0 "),
        (
            lambda: next(iter(DataLoader([(1,), (1, 2)], 2))),
            ValueError,
            "samples of a batch must have the same fields, got tuple of 1 and tuple of 2",
        ),
        (lambda: default_collate([(1, 2), [1, 2]]), ValueError, "the same fields, got tuple of 2 and list"),
        (
            lambda: default_collate([{"a": 1}, {"b": 1}]),
            ValueError,
            r"the same fields, got dict of \['a'\] and dict of \['b'\]",
        ),
        (lambda: default_collate([{"a": 1}, (1,)]), ValueError, r"the same fields, got dict of \['a'\] and tuple of 1"),
        (lambda: next(iter(DataLoader([None]))), TypeError, "a sample must be an array of real numbers, got dtype obj"),
        (lambda: Subset([1, 2], [2]), ValueError, "index 2 is outside a data set of 2 samples"),
        (lambda: Subset([1, 2], [0.5]), TypeError, "indices must be a list of integers, got float64"),
        (lambda: Subset(3, [0]), TypeError, "Subset: expected a Dataset"),
        (lambda: random_split([1, 2, 3], [1, 1]), ValueError, "Sum of input lengths does not equal the length"),
        (lambda: random_split([1, 2, 3], [4, -1]), ValueError, "Sum of input lengths does not equal the length"),
        (lambda: random_split([1, 2, 3], [0.5, 0.4]), ValueError, "Sum of input lengths does not equal the length"),
    ],
)
def test_refusals(call: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match="(?s)" + message + r".*at test_datasets.py:\d"):
        call()


def test_a_data_set_without_a_length_cannot_be_made() -> None:
    class Half(Dataset):
        def __getitem__(self, index: Any) -> Any:
            return index

    with pytest.raises(TypeError, match="__len__"):
        Half()
