"""Where the chain falls, and what the closed form and the fused loss give there."""

import math

import numpy as np
import pytest

from demos import cliff


def test_the_edges_are_where_the_sigmoid_rounds(shown) -> None:
    """53 ln 2 and -ln(largest number); 24 ln 2 in float32: to the precision of the dtype, found by bisection."""
    edges = shown("cliff").result.edges
    assert edges["float64"] == pytest.approx((-math.log(np.finfo(np.float64).max), 53 * math.log(2)), rel=4e-16)
    assert edges["float32"] == pytest.approx((-math.log(np.finfo(np.float32).max), 24 * math.log(2)), rel=2e-7)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_edge_is_the_last_number(dtype, shown) -> None:
    """The chain is finite there for both labels, and nan for both at the next number, and far beyond."""
    low, high = map(dtype, shown("cliff").result.edges[np.dtype(dtype).name])
    for z, beyond in ((low, dtype(-np.inf)), (high, dtype(np.inf))):
        outside = np.array([np.nextafter(z, beyond), 2 * z, 10 * z])
        for y in (0.0, 1.0):
            assert np.isfinite(cliff.gradient("chain", y, np.array([z]))).all()
            assert np.isnan(cliff.gradient("chain", y, outside)).all()
            assert cliff.gradient("chain", y, outside).dtype == dtype
            assert np.isfinite(cliff.gradient("fused", y, outside)).all()


def test_bisection_finds_the_last_number_below_a_bound() -> None:
    assert cliff.edge(lambda z: z < 1 / 3, 0.0, 1.0) == np.nextafter(1 / 3, 0)
    assert cliff.edge(lambda z: z > -1 / 3, 0.0, -1.0) == np.nextafter(-1 / 3, 0)
    assert cliff.edge(lambda z: z <= 0.5, np.float32(0), np.float32(1)) == np.float32(0.5)


def test_the_fused_loss_has_all_digits_everywhere(shown) -> None:
    result = shown("cliff").result
    assert max(*result.errors["fused"], *result.beyond["fused"]) < 4e-16


def test_the_chain_and_the_closed_form_have_not(shown) -> None:
    """For y = 1 both have lost nearly all at 36; beyond, A - Y is 0 and the chain nan. For y = 0 A - Y is exact."""
    result = shown("cliff").result
    assert result.errors["chain"][1] > 0.1
    assert result.errors["closed"][1] > 0.1
    assert result.beyond["closed"][1] == 1
    assert np.isnan(result.beyond["chain"]).all()
    assert max(result.errors["chain"][0], result.errors["closed"][0], result.beyond["closed"][0]) < 4e-16


def test_the_digits_go_as_the_docstring_says() -> None:
    """The relative error of A - Y, for y = 1, is about 2^-53 e^z: bounded by it, and not much smaller."""
    for start in (5, 15, 25):
        z = np.linspace(start, start + 1, 500)
        ratio = cliff.relative_error("closed", 1.0, z) / (2.0**-53 * np.exp(z))
        assert 0.5 < ratio.max() < 2.5


@pytest.mark.parametrize("way", cliff.WAYS)
@pytest.mark.parametrize("y", [0.0, 1.0])
def test_errors_are_measured_against_the_truth(way, y) -> None:
    """The demo's own reference agrees with 50 digits of mpmath."""
    mpmath = pytest.importorskip("mpmath")
    z = np.array([-700.5, -30.25, -1.0, 0.0, 0.75, 12.5, 30.25, 36.0])
    with mpmath.workdps(50):
        exact = [1 / (1 + mpmath.exp(-mpmath.mpf(number))) - int(y) for number in z.tolist()]
        found = cliff.gradient(way, y, z).tolist()
        errors = [float(abs((g - e) / e)) for g, e in zip(found, exact, strict=True)]
    np.testing.assert_allclose(cliff.relative_error(way, y, z), errors, rtol=1e-6, atol=2e-16)


def test_the_picture_names_the_edges() -> None:
    figure = pytest.importorskip("matplotlib.figure").Figure(layout="constrained")
    cliff.draw(figure)
    words = " ".join(text.get_text() for axes in figure.axes for text in axes.texts)
    assert "36.7368" in words
    assert "-709.78" in words
