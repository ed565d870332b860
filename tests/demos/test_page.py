"""The pages hold the steps of both networks, and the two-neuron network's gradients are those written out by hand."""

import math

import pytest


def test_the_pages(shown) -> None:
    """One for each tape, on disk as they are, with the lines of the demo in them."""
    result, printed, folder = shown("page")
    assert len(result.pages) == len(result.tapes) == 2
    for (path, page), tape in zip(result.pages.items(), result.tapes, strict=True):
        assert (folder / path).read_text(encoding="utf-8") == page.html
        assert page.steps == len(tape)
        assert f"{path}: Backward pass from C, {len(tape)} steps" in printed
        assert "<h3>page.py</h3>" in page.html


def test_the_gradients_of_the_neurons(shown) -> None:
    """dC/dz = a - y, dC/dv1 = (a - y) a1, dC/dw11 = (a - y) v1 a1 (1 - a1) x1: at the end of the tape."""
    sigmoid = lambda z: 1 / (1 + math.exp(-z))
    a1, a2 = sigmoid(0.1 * 0.5 + 0.4 + 0.2), sigmoid(0.7 * 0.5 - 0.3 - 0.1)
    delta = sigmoid(0.6 * a1 - 0.5 * a2 + 0.05) - 1
    tape = shown("page").result.tapes[0]
    end = tape.before(len(tape))
    assert end["z"] == pytest.approx(delta, rel=1e-14)
    assert end["v1"] == pytest.approx(delta * a1, rel=1e-14)
    assert end["w11"] == pytest.approx(delta * 0.6 * a1 * (1 - a1) * 0.5, rel=1e-14)


def test_the_gradients_of_the_arrays(shown) -> None:
    """dC/dZ2 = (A2 - Y) / m and dC/dW2 = A1^T (A2 - Y) / m."""
    tape = shown("page").result.tapes[1]
    A1, A2 = (tape.values[tape.node(name)] for name in ("A1", "A2"))
    error = (A2 - [[0.0], [1.0], [1.0], [0.0]]) / 4
    end = tape.before(len(tape))
    assert end["Z2"] == pytest.approx(error, rel=1e-12)
    assert end["W2"] == pytest.approx(error.T @ A1, rel=1e-12)
