"""Tables are read or refused with line and column; splits lose nothing; nothing of the test part leaks."""

from __future__ import annotations

import gzip
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

from nn import data

GOOD = "height,weight,tall\n1.5,50,0\n2.0,90,1\n1.75,-6e1,1\n"


def written(folder: Path, text: str, name: str = "table.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_is_read(tmp_path: Path) -> None:
    X, Y, features, targets = data.read_csv(written(tmp_path, GOOD), target="tall")
    assert X.tolist() == [[1.5, 50.0], [2.0, 90.0], [1.75, -60.0]]
    assert Y.tolist() == [[0.0], [1.0], [1.0]]
    assert (features, targets) == (["height", "weight"], ["tall"])
    assert X.dtype == Y.dtype == np.float64


def test_several_targets_in_the_order_asked_for(tmp_path: Path) -> None:
    table = data.read_csv(str(written(tmp_path, GOOD)), target=["tall", "height"])
    assert table.Y.tolist() == [[0.0, 1.5], [1.0, 2.0], [1.0, 1.75]]
    assert table.features == ["weight"]


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + GOOD,
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("\n", "\n\n"),
        GOOD.rstrip("\n"),
        GOOD.replace("height", '"height"').replace("1.5", '"1.5"'),
        GOOD.replace(",", ", "),
    ],
    ids=["byte order mark", "CRLF", "blank lines", "no last newline", "quotes", "spaces"],
)
def test_what_programs_write(tmp_path: Path, text: str) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(text.encode())
    table = data.read_csv(path, target="tall")
    assert table.X.tolist() == [[1.5, 50.0], [2.0, 90.0], [1.75, -60.0]]
    assert table.features == ["height", "weight"]


def test_gz_is_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "table.csv.gz"
    path.write_bytes(gzip.compress(GOOD.encode()))
    assert data.read_csv(path, target="tall").X.shape == (3, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (GOOD.replace("90", ""), "table.csv, line 3, column 'weight': the cell is empty"),
        (GOOD.replace("90", "heavy"), "table.csv, line 3, column 'weight': 'heavy' is no finite number"),
        (GOOD.replace("90", "nan"), "line 3, column 'weight': 'nan' is no finite number"),
        (GOOD.replace("2.0", "-inf"), "line 3, column 'height': '-inf' is no finite number"),
        (GOOD.replace("90,1", "90"), "line 3: 2 cells, expected 3"),
        (GOOD.replace("90,1", "90,1,1"), "line 3: 4 cells, expected 3"),
        ('height,"weight\nin kg",tall\n1.5,50,0\n2.0,x,1\n', "line 4, column 'weight.*in kg': 'x' is no finite number"),
        (GOOD.replace("weight", "height"), "line 1: column 'height' stands there twice"),
        (GOOD.replace("tall", "short"), "line 1: no column 'tall', only height, weight, short.*test_data.py"),
        ("height,weight,tall\n", "no rows below the header"),
        ("", "the file is empty, expected a header row"),
    ],
)
def test_bad_tables_are_refused_with_line_and_column(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        data.read_csv(written(tmp_path, text), target="tall")


def test_a_missing_file_is_pythons_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        data.read_csv(tmp_path / "none.csv", target="y")


# Splits


@given(st.integers(2, 40), st.floats(0.01, 0.99), st.integers(0, 3))
def test_a_split_loses_and_doubles_nothing(m: int, test_size: float, seed: int) -> None:
    X, Y = np.arange(m)[:, None], 10 * np.arange(m)
    if np.ceil(test_size * m) >= m:
        return
    X_train, X_test, Y_train, Y_test = data.train_test_split(X, Y, test_size, rng=seed)
    assert len(X_test) == np.ceil(test_size * m)
    assert sorted([*X_train[:, 0], *X_test[:, 0]]) == list(range(m))
    assert (Y_train == 10 * X_train[:, 0]).all()
    assert (Y_test == 10 * X_test[:, 0]).all()


@given(st.lists(st.integers(0, 3), min_size=4, max_size=60), st.floats(0.1, 0.9), st.integers(0, 3))
def test_stratified_parts_have_every_label_in_proportion(labels: list[int], test_size: float, seed: int) -> None:
    m = len(labels)
    held = int(np.ceil(test_size * m))
    if held >= m:
        return
    Y = np.array(labels)
    _, _, Y_train, Y_test = data.train_test_split(np.arange(m), Y, test_size, rng=seed, stratify=Y)
    assert (len(Y_train), len(Y_test)) == (m - held, held)
    for label in set(labels):
        assert abs((Y_test == label).sum() - labels.count(label) * held / m) < 1
        assert (Y_test == label).sum() + (Y_train == label).sum() == labels.count(label)


def test_what_is_left_over_goes_to_the_largest_remainders() -> None:
    """Half of 2, 3 and 5 samples is 1, 1.5 and 2.5: the fifth sample is not of the first label."""
    labels = np.repeat([0, 1, 2], [2, 3, 5])
    Y_test = data.train_test_split(labels, labels, 0.5, rng=0, stratify=labels)[3]
    assert np.bincount(Y_test).tolist() == [1, 2, 2]


def test_a_split_is_shuffled_and_repeats_for_a_seed() -> None:
    X = np.arange(100)
    first, again, other = (data.train_test_split(X, X, rng=seed) for seed in (0, 0, 1))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()
    assert first[0].tolist() != sorted(first[0])
    stratified = data.train_test_split(X, X, rng=0, stratify=X >= 50)
    assert stratified[1].tolist() != sorted(stratified[1])
    assert len(data.train_test_split(X, X, test_size=7, rng=0)[1]) == 7


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: data.train_test_split(np.zeros(4), np.zeros(3)), "X has 4 samples, Y has 3, expected as many"),
        (lambda: data.train_test_split(np.zeros(4), np.zeros(4), stratify=[1, 0]), "stratify has 2"),
        (lambda: data.train_test_split(np.zeros(4), np.zeros(4), test_size=1.0), "leaves one part empty"),
        (lambda: data.train_test_split(np.zeros(4), np.zeros(4), test_size=0), "leaves one part empty"),
        (lambda: data.train_test_split(np.zeros(0), np.zeros(0)), "of 0 samples leaves one part empty"),
        (lambda: data.train_test_split(np.zeros(4), np.zeros(4), test_size=float("nan")), "must be finite, got nan"),
    ],
)
def test_splits_are_checked(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"{message}.*, at test_data.py:\d+$"):
        call()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4), np.zeros(4), "a"), "test_size must be a number, got 'a'"),
        ((np.zeros(4), np.zeros(4), True), "test_size must be a number, got True"),
        ((3, np.zeros(4)), "X must be an array with one row a sample, got 3"),
        ((np.zeros(4), np.array(4)), r"Y must be an array with one row a sample, got array\(4\)"),
        ((np.ma.zeros(4), np.zeros(4)), "X is a masked array"),
    ],
)
def test_what_is_no_split_is_a_type_error(arguments: Any, message: str) -> None:
    with pytest.raises(TypeError, match=rf"train_test_split: {message}.*, at test_data.py:\d+$"):
        data.train_test_split(*arguments)


def test_a_number_of_samples_may_be_numpys() -> None:
    for size in (3, np.int64(3), np.uint8(3)):
        assert len(data.train_test_split(np.arange(8), np.arange(8), size, rng=0)[1]) == 3
    assert len(data.train_test_split(np.arange(8), np.arange(8), np.float32(0.5), rng=0)[1]) == 4


def test_as_many_labels_as_pairs_of_samples_take_no_time() -> None:
    """20,000 labels of two samples each: a look at every sample for every label would be 8 * 10^8 comparisons."""
    labels = np.arange(40_000) // 2
    _, X_test, *_ = data.train_test_split(labels, labels, 0.5, rng=0, stratify=labels)
    assert sorted(X_test) == list(range(20_000))


# Standardisation


def test_columns_of_the_training_part_get_mean_0_and_deviation_1() -> None:
    rng = np.random.default_rng(0)
    train, test = rng.normal(5, 3, (50, 4)), rng.normal(-2, 1, (20, 4))
    scaled, held_out = data.standardize(train, test)
    np.testing.assert_allclose(scaled.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(scaled.std(axis=0), 1, rtol=1e-14)
    np.testing.assert_allclose(held_out, (test - train.mean(axis=0)) / train.std(axis=0), rtol=1e-14)
    (alone,) = data.standardize(train)
    np.testing.assert_array_equal(alone, scaled)  # what the test part holds changes nothing


def test_a_constant_column_becomes_0_whatever_its_rounding() -> None:
    train = np.full((7, 1), 0.1)
    assert train.mean() != 0.1 or train.std() == 0  # the rounding that must not be divided by
    scaled, held_out = data.standardize(train, [[2.5]])
    assert (scaled == 0).all()
    assert held_out.tolist() == [[2.4]]  # shifted, and left at its scale
    assert data.standardize([[3.0, 4.0]])[0].tolist() == [[0.0, 0.0]]  # one row is constant


def test_mean_and_deviation_are_found_in_float64() -> None:
    """Of 100,000 float32 numbers around 10,000 a sum in float32 has lost the spread: against exact fractions."""
    column = (np.random.default_rng(0).normal(size=(100_000, 1)) + 10_000).astype(np.float32)
    exact = [Fraction(float(x)) for x in column[:, 0]]
    mean = sum(exact) / len(exact)
    scaler = data.StandardScaler().fit(column)
    assert (scaler.mean_.dtype, scaler.scale_.dtype) == (np.float64, np.float64)
    assert scaler.mean_[0] == pytest.approx(float(mean), rel=1e-15)
    assert scaler.scale_[0] == pytest.approx(math.sqrt(sum((x - mean) ** 2 for x in exact) / len(exact)), rel=1e-13)
    scaled = scaler.transform(column)
    assert scaled.dtype == np.float32
    assert abs(scaled.mean(dtype=np.float64)) < 1e-6
    assert scaler.inverse_transform(scaled).dtype == np.float32
    assert data.StandardScaler().fit(np.int8([[100], [100], [-100]])).mean_[0] == pytest.approx(100 / 3, rel=1e-15)


@pytest.mark.parametrize("size", [1e300, 1e-300, 1.7e308, 5e-324])
def test_no_square_overflows_or_vanishes(size: float) -> None:
    """The mean of s and -s is 0, the deviation s."""
    scaler = data.StandardScaler().fit([[size, 1.0], [-size, 2.0]])
    assert scaler.mean_.tolist() == [0.0, 1.5]
    assert scaler.scale_.tolist() == [size, 0.5]


def test_a_spread_of_rounding_is_none() -> None:
    """0.1 + 0.2 is not 0.3, and the difference is no feature; one of 1e-6 around 10^6 is one."""
    scaler = data.StandardScaler().fit([[0.1 + 0.2, 1e6], [0.3, 1e6 + 1e-6], [0.3, 1e6 + 2e-6]])
    assert scaler.scale_[0] == 1.0
    assert scaler.scale_[1] == pytest.approx(math.sqrt(2 / 3) * 1e-6, rel=1e-4)
    assert data.StandardScaler().fit(np.float32([[0.1], [np.nextafter(np.float32(0.1), 1)]])).scale_[0] == 1.0


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ((np.ma.array([[1.0], [2.0]], mask=[[0], [1]]),), TypeError, "standardize: data is a masked array"),
        (([[1.0, np.nan]],), ValueError, r"the training part is not finite at index \(0, 1\)"),
        ((np.zeros((0, 2)),), ValueError, "the training part is empty"),
        (([[1.0, 2.0]], [[1.0]]), ValueError, r"got data of shape \(1, 1\), expected \(m, 2\)"),
        (([1.0, 2.0],), ValueError, r"got data of shape \(2,\), expected \(m, n\)"),
        (([["a"]],), TypeError, "standardize: data must be an array of real numbers"),
    ],
)
def test_standardisation_is_checked(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        data.standardize(*given)


def test_a_scaler_keeps_its_fit_for_later_data() -> None:
    rng = np.random.default_rng(0)
    train, later = rng.normal(5, 3, (50, 4)), rng.normal(-2, 1, (20, 4))
    scaler = data.StandardScaler()
    scaled = scaler.fit_transform(train)
    np.testing.assert_array_equal(scaled, data.standardize(train)[0])
    np.testing.assert_array_equal(scaler.transform(later), data.standardize(train, later)[1])
    np.testing.assert_allclose(scaler.inverse_transform(scaler.transform(later)), later, rtol=1e-13)
    assert scaler.fit(later) is scaler
    np.testing.assert_allclose(scaler.mean_, later.mean(axis=0), rtol=1e-15)


@pytest.mark.oracles
def test_the_scaler_is_scikit_learns() -> None:
    preprocessing = pytest.importorskip("sklearn.preprocessing")
    rng = np.random.default_rng(0)
    train, later = np.c_[rng.normal(5, 3, (50, 4)), np.full(50, 0.1)], rng.normal(-2, 1, (20, 5))
    train[:25, 4] = 0.3 - 0.2  # a constant, but for the last digit
    ours, theirs = data.StandardScaler().fit(train), preprocessing.StandardScaler().fit(train)
    np.testing.assert_allclose(ours.mean_, theirs.mean_, rtol=1e-14)
    np.testing.assert_allclose(ours.scale_, theirs.scale_, rtol=1e-14)
    np.testing.assert_allclose(ours.transform(later), theirs.transform(later), rtol=1e-13, atol=1e-14)
    np.testing.assert_allclose(ours.inverse_transform(later), theirs.inverse_transform(later), rtol=1e-13, atol=1e-14)


def test_a_scaler_that_has_seen_nothing_or_other_columns_says_so() -> None:
    for method in ("transform", "inverse_transform"):
        with pytest.raises(ValueError, match=r"call fit\(X\) first, at test_data.py"):
            getattr(data.StandardScaler(), method)([[1.0]])
        with pytest.raises(ValueError, match=r"got data of shape \(1, 2\), expected \(m, 1\), at test_data.py"):
            getattr(data.StandardScaler().fit([[1.0], [2.0]]), method)([[1.0, 2.0]])


def test_rng_is_named_where_it_is_none() -> None:
    with pytest.raises(TypeError, match=r"rng: expected a numpy.random.Generator, .* got 'a', at test_data.py"):
        data.train_test_split(np.eye(4), np.arange(4), rng="a")
