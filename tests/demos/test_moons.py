"""The network tells the moons apart, and a line does not."""

import numpy as np
import pytest

from demos import moons


def test_it_learns_what_a_line_cannot(shown) -> None:
    result, printed, _ = shown("moons")
    assert result.accuracy >= 0.95
    assert result.line <= result.accuracy - 0.05
    assert f"{result.accuracy:.2f} of the test points" in printed


@pytest.mark.slow
def test_no_seed_was_chosen(tmp_path, monkeypatch, capsys) -> None:
    """Over the seeds 0 to 19, as the docstring says."""
    monkeypatch.setattr(moons, "picture", lambda *_: [])
    line, network = np.array([moons.main(tmp_path, seed=seed)[:2] for seed in range(20)]).T
    assert line.mean() == pytest.approx(0.87, abs=0.01)
    assert network.mean() > 0.98
    assert network.min() >= 0.95


def test_the_moons_are_half_circles() -> None:
    """Without noise: the upper half of the unit circle, and the lower half of one about (1, 1/2); as many of each."""
    X, Y = moons.moons(200, np.random.default_rng(0), noise=0.0)
    assert X.shape == (200, 2)
    assert Y.shape == (200, 1)
    upper, lower = X[Y[:, 0] == 0], X[Y[:, 0] == 1]
    assert len(upper) == len(lower) == 100
    np.testing.assert_allclose(np.hypot(*upper.T), 1)
    np.testing.assert_allclose(np.hypot(*(lower - [1, 0.5]).T), 1)
    assert upper[:, 1].min() >= 0
    assert lower[:, 1].max() <= 0.5


def test_the_noise_is_normal() -> None:
    rng = np.random.default_rng(0)
    clean, _ = moons.moons(20_000, np.random.default_rng(1), noise=0.0)
    noisy, _ = moons.moons(20_000, np.random.default_rng(1), noise=0.15)
    difference = noisy - clean
    np.testing.assert_allclose(difference.mean(axis=0), 0, atol=0.005)
    np.testing.assert_allclose(difference.std(axis=0), 0.15, rtol=0.02)
    assert moons.moons(4, rng)[1].tolist() == [[0], [1], [0], [1]]
