"""Clipped gradients: the formula, the edges, torch's values."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

import microgrid as mg
import nn


def with_gradients(*gradients: Any, dtype: type = np.float64) -> list[mg.Tensor]:
    parameters = []
    for gradient in gradients:
        array = np.array(gradient, dtype)
        parameters.append(mg.Tensor(np.zeros(array.shape, dtype), requires_grad=True))
        parameters[-1].grad = array
    return parameters


def length(numbers: list[float], p: float) -> float:
    """The definition, in Python's own floats."""
    return max(map(abs, numbers), default=0.0) if p == math.inf else sum(abs(x) ** p for x in numbers) ** (1 / p)


def flat(parameters: list[mg.Tensor]) -> list[float]:
    return [float(x) for parameter in parameters for x in np.ravel(parameter.grad)]


ENTRIES = arrays(np.float64, array_shapes(min_dims=0, max_dims=2, max_side=3), elements=st.floats(-100, 100, width=16))


@given(st.lists(ENTRIES, max_size=3), st.floats(0, 50), st.sampled_from([0.5, 1, 2, 2.0, 3.0, math.inf]))
@settings(max_examples=60, deadline=None)
def test_all_gradients_are_scaled_by_one_factor_to_the_norm(gradients: list[Any], max_norm: float, p: float) -> None:
    """max_norm / (norm + 1e-6) where that is below 1; otherwise not a bit changes."""
    parameters = with_gradients(*gradients)
    before = flat(parameters)
    norm = nn.clip_grad_norm_(parameters, max_norm, norm_type=p)
    assert type(norm) is float
    assert math.isclose(norm, length(before, p), rel_tol=1e-12, abs_tol=1e-300)
    factor = max_norm / (norm + 1e-6)
    expected = [x * factor for x in before] if factor < 1 else before
    np.testing.assert_allclose(flat(parameters), expected, rtol=1e-14 if factor < 1 else 0)


@given(st.lists(ENTRIES, max_size=3), st.floats(0, 50))
@settings(max_examples=30, deadline=None)
def test_values_are_cut_to_the_interval(gradients: list[Any], clip_value: float) -> None:
    parameters = with_gradients(*gradients)
    expected = [min(max(x, -clip_value), clip_value) for x in flat(parameters)]
    assert nn.clip_grad_value_(parameters, clip_value) is None
    assert flat(parameters) == expected


@pytest.mark.oracles
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("p", [0.5, 1, 2.0, 3, math.inf, "inf"])
@pytest.mark.parametrize("special", [1.0, math.nan, math.inf, -math.inf])
def test_norms_and_gradients_are_torchs(dtype: type, p: Any, special: float) -> None:
    torch = pytest.importorskip("torch")
    gradients = [[[1.0, -2.0], [3.0, special]], -4.0, [0.5]]
    for call in (
        lambda clip, parameters: clip.clip_grad_norm_(parameters, 1.5, p),
        lambda clip, parameters: clip.clip_grad_norm_(parameters, 1e3, norm_type=p),
        lambda clip, parameters: clip.clip_grad_value_(parameters, 1.25),
    ):
        parameters = with_gradients(*gradients, dtype=dtype)
        twins = [torch.tensor(parameter._data, requires_grad=True) for parameter in parameters]
        for twin, parameter in zip(twins, parameters, strict=True):
            twin.grad = torch.tensor(parameter.grad)
        ours, theirs = call(nn, parameters), call(torch.nn.utils, twins)
        rtol = 1e-12 if dtype is np.float64 else 1e-5
        if theirs is not None:
            np.testing.assert_allclose(ours, theirs.item(), rtol=rtol)
        for parameter, twin in zip(parameters, twins, strict=True):
            assert parameter.grad.dtype == dtype
            np.testing.assert_allclose(parameter.grad, twin.grad.numpy(), rtol=rtol)


def test_in_place_into_the_gradients_alone() -> None:
    """Arrays of gradients stay the same objects; what was copied from them before stays."""
    (v,) = with_gradients([3.0, 4.0])
    held = v.grad
    assert nn.clip_grad_norm_(v, 0.5) == 5.0  # one Tensor will do
    assert v.grad is held
    nn.clip_grad_value_(v, 0.35)
    assert v.grad is held
    np.testing.assert_allclose(held, [0.3, 0.35], rtol=1e-6)
    assert v.tolist() == [0.0, 0.0]


def test_what_has_no_gradient_is_passed_over() -> None:
    (v,) = with_gradients([3.0, 4.0])
    bare = mg.Tensor([1.0], requires_grad=True)
    assert nn.clip_grad_norm_([bare, v], 1.0) == 5.0
    assert nn.clip_grad_norm_([bare], 1.0) == nn.clip_grad_norm_([], 1.0) == 0.0
    nn.clip_grad_value_([bare], 1.0)
    assert bare.grad is None


def test_generators_are_gone_through_once_and_an_empty_one_warns() -> None:
    model = nn.Linear(2, 1, rng=0)
    mg.sum(model(mg.Tensor([[3.0, 4.0]]))).backward()
    parameters = model.parameters()
    assert nn.clip_grad_norm_(parameters, 1.0) == pytest.approx(math.sqrt(26))
    assert nn.clip_grad_norm_(model.parameters(), 10.0) == pytest.approx(1.0, abs=1e-6)
    for clip in (nn.clip_grad_norm_, nn.clip_grad_value_):
        with pytest.warns(UserWarning, match="`parameters` is an empty generator, no gradient clipping") as caught:
            clip(parameters, 1.0)
        assert caught[0].filename == __file__


def test_a_parameter_that_is_given_twice_is_clipped_once() -> None:
    (v,) = with_gradients([3.0, 4.0])
    assert nn.clip_grad_norm_([v, v], 1.0) == 5.0
    np.testing.assert_allclose(v.grad, [0.6, 0.8], rtol=1e-6)


def test_squares_neither_overflow_nor_vanish() -> None:
    for size in (1e200, 1e-200):
        (v,) = with_gradients([3 * size, 4 * size])
        assert nn.clip_grad_norm_(v, math.inf) == pytest.approx(5 * size, rel=1e-14)
    (v,) = with_gradients([3e30, 4e30], dtype=np.float32)
    assert nn.clip_grad_norm_(v, 1.0) == pytest.approx(5e30, rel=1e-6)
    np.testing.assert_allclose(v.grad, [0.6, 0.8], rtol=1e-6)


def test_an_infinite_limit_measures_and_changes_nothing() -> None:
    for gradient in ([3.0, 4.0], [3.0, math.inf]):
        (v,) = with_gradients(gradient)
        assert nn.clip_grad_norm_(v, math.inf) == length(gradient, 2)
        assert v.grad.tolist() == gradient


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_norm_that_is_not_finite_may_be_an_error(bad: float) -> None:
    (v,) = with_gradients([1.0, bad])
    with pytest.raises(
        RuntimeError, match=r"The total norm of order 2\.0 for gradients from `parameters` is non-finite"
    ):
        nn.clip_grad_norm_(v, 1.0, error_if_nonfinite=True)
    np.testing.assert_array_equal(v.grad, [1.0, bad])
    nn.clip_grad_norm_(v, 1.0)
    np.testing.assert_array_equal(v.grad, [math.nan if bad != bad else 0.0, math.nan])


def test_a_gradient_that_has_a_graph_is_replaced() -> None:
    """After backward(create_graph=True) the gradient is a node, whose array belongs to its graph."""
    v = mg.Tensor([3.0, 4.0], requires_grad=True)
    mg.sum(v**2).backward(create_graph=True)
    node = v.grad
    assert nn.clip_grad_norm_(v, 1.0) == 10.0
    assert node.tolist() == [6.0, 8.0]
    np.testing.assert_allclose(v.grad, [0.6, 0.8], rtol=1e-6)
    mg.sum(node).backward(inputs=[v])  # the graph is whole
    np.testing.assert_allclose(v.grad, [2.6, 2.8], rtol=1e-6)


def test_training_goes_on_after_clipping() -> None:
    """The gradient that was scaled in place is added to by the next pass, and accused of nothing."""
    v = mg.Tensor([3.0, 4.0], requires_grad=True)
    loss = mg.sum(v * v) / 2
    loss.backward()
    nn.clip_grad_norm_([v], 1.0)
    loss.backward()
    np.testing.assert_allclose(v.grad, [3.6, 4.8], rtol=1e-6)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda v: nn.clip_grad_norm_(3, 1.0), TypeError, "clip_grad_norm_: expected Tensors, got int"),
        (lambda v: nn.clip_grad_norm_("w", 1.0), TypeError, "clip_grad_norm_: expected Tensors, got str"),
        (lambda v: nn.clip_grad_norm_([v, ("w", v)], 1.0), TypeError, "one of the parameters is tuple"),
        (
            lambda v: nn.clip_grad_value_([None], 1.0),
            TypeError,
            "clip_grad_value_: .* one of the parameters is NoneType",
        ),
        (lambda v: nn.clip_grad_norm_(v, -1.0), ValueError, "Invalid max_norm: -1.0"),
        (lambda v: nn.clip_grad_norm_(v, math.nan), ValueError, "Invalid max_norm: nan"),
        (lambda v: nn.clip_grad_norm_(v, None), TypeError, "max_norm: expected a number, got None"),
        (lambda v: nn.clip_grad_norm_(v, 1.0, 0), ValueError, "Invalid norm_type: 0, expected a number > 0 or inf"),
        (lambda v: nn.clip_grad_norm_(v, 1.0, -math.inf), ValueError, "Invalid norm_type: -inf"),
        (lambda v: nn.clip_grad_norm_(v, 1.0, "two"), TypeError, "norm_type: expected a number, got 'two'"),
        (lambda v: nn.clip_grad_value_(v, -1.0), ValueError, "Invalid clip_value: -1.0"),
        (lambda v: nn.clip_grad_value_(v, "a"), TypeError, "clip_value: expected a number, got 'a'"),
    ],
)
def test_refusals_change_nothing(call: Any, error: type[Exception], message: str) -> None:
    (v,) = with_gradients([3.0, 4.0])
    with pytest.raises(error, match=message + r".*at test_clipping.py:\d"):
        call(v)
    assert v.grad.tolist() == [3.0, 4.0]
