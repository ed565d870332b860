"""A linear 3-2-3 autoencoder finds the plane of the first two principal components."""

import numpy as np
import pytest

import nn
from demos import autoencoder

pytestmark = pytest.mark.slow  # with the others of its kind more than `make test` has time for


def test_the_cost_that_remains_is_the_third_eigenvalue(shown) -> None:
    """By the singular values of the data: no plane does better (Eckart and Young 1936), and the network finds it."""
    result = shown("autoencoder").result
    X = nn.data.read_csv(autoencoder.DATA, target="species").X[:, :3]
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    least = np.linalg.svd(X)[1][2] ** 2 / len(X)
    assert result.eigenvalue == pytest.approx(least, rel=1e-12)
    assert least * (1 - 1e-12) <= result.cost <= least * (1 + 1e-9)


def test_the_two_numbers_lie_in_the_plane_of_the_components(shown) -> None:
    assert shown("autoencoder").result.sine < 1e-6


def test_autograd_is_the_notes_backpropagation(shown) -> None:
    """From delta = 2 (x^ - x), to rounding."""
    assert shown("autoencoder").result.difference < 1e-13


def test_a_start_is_no_end(tmp_path, capsys) -> None:
    """After one epoch it is neither the eigenvalue nor the plane: the theorem is not true of every network."""
    result = autoencoder.main(tmp_path, epochs=1)
    assert result.cost > 10 * result.eigenvalue
    assert result.sine > 0.1


def test_any_seed_ends_there(tmp_path, monkeypatch, capsys) -> None:
    """There is one minimum (Baldi and Hornik 1989); in which coordinates, the seed says."""
    monkeypatch.setattr(autoencoder, "picture", lambda *_: [])
    for seed in range(1, 6):
        result = autoencoder.main(tmp_path, seed=seed)
        assert result.cost == pytest.approx(result.eigenvalue, rel=1e-9)
