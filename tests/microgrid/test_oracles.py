"""Other people's derivatives: torch's own functions, and HIPS autograd through the formulas of the table."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import microgrid as mg
from microgrid import rules
from tests.microgrid.checking import EXACT, SINGLE, close, numbers, varied, weights
from tests.microgrid.families import Case
from tests.microgrid.table import ROWS, Row

pytestmark = pytest.mark.oracles
INF, NAN = float("inf"), float("nan")


def torch_functions(torch: Any) -> dict[Any, Callable[..., Any]]:
    """torch's function for each rule that it has one for, called with the rule's own parameters."""
    F = torch.nn.functional
    same = (
        "add", "subtract", "multiply", "divide", "negative", "square", "exp", "log", "log1p", "expm1", "sqrt", "abs",
        "sign", "sin", "cos", "tan", "tanh", "sigmoid", "maximum", "minimum", "where", "matmul", "relu",
    )  # fmt: skip

    def over_axes(function: Callable[..., Any]) -> Callable[..., Any]:
        def reduced(x: Any, *, axis: Any, keepdims: bool, **more: Any) -> Any:
            return function(x, dim=tuple(range(x.ndim)) if axis is None else axis, keepdim=keepdims, **more)

        return reduced

    def cross_entropy(x: Any, y: Any) -> Any:
        return F.binary_cross_entropy_with_logits(*torch.broadcast_tensors(x, y), reduction="none")

    return {
        **{getattr(rules, name): getattr(torch, name) for name in same},
        **{
            getattr(rules, name): over_axes(getattr(torch, name)) for name in ("sum", "mean", "var", "std", "logsumexp")
        },
        rules.max: over_axes(torch.amax),
        rules.min: over_axes(torch.amin),
        rules.norm: over_axes(torch.linalg.vector_norm),
        rules.positive: torch.positive,
        rules.power: torch.pow,
        rules.softplus: F.softplus,
        rules.logsigmoid: F.logsigmoid,
        rules.leaky_relu: F.leaky_relu,
        rules.clip: torch.clamp,
        rules.linear: F.linear,
        rules.einsum: lambda *xs, subscripts: torch.einsum(subscripts, *xs),
        rules.softmax: lambda x, axis: torch.softmax(x, axis),
        rules.log_softmax: lambda x, axis: torch.log_softmax(x, axis),
        rules.cumsum: lambda x, axis: torch.cumsum(x, axis),
        rules.flip: lambda x, axis: torch.flip(x, (axis,)),
        rules.reshape: lambda x, shape: torch.reshape(x, shape),
        rules.transpose: lambda x, axes: torch.permute(x, axes),
        rules.broadcast_to: lambda x, shape: torch.broadcast_to(x, shape),
        rules.sum_to: lambda x, shape: x.sum_to_size(shape),
        rules.concatenate: lambda *xs, axis: torch.concatenate(xs, axis),
        rules.stack: lambda *xs, axis: torch.stack(xs, axis),
        rules.take_along_axis: lambda x, i, axis: torch.take_along_dim(x, i % x.shape[axis], axis),
        rules.binary_cross_entropy_with_logits: cross_entropy,
    }


OF_TORCH = [
    row for row in ROWS
    if row.rule.__name__ not in ("total", "dot", "prod", "astype", "index", "scatter", "add_along_axis")
]  # fmt: skip


def takes_one_axis(case: Case) -> bool:
    return isinstance(case.parameters.get("axis", 0), int)


def torch_answers(torch: Any, row: Row, case: Case, dtype: Any) -> tuple[Any, list[Any], list[Any], Any]:
    xs, positions = numbers(row, case, 0, dtype), varied(case)
    given = [torch.tensor(x, requires_grad=i in positions) for i, x in enumerate(xs)]
    z = torch_functions(torch)[row.rule](*given, **case.parameters)
    g = weights(tuple(z.shape), 0, dtype)
    found = torch.autograd.grad(z, [given[i] for i in positions], torch.tensor(g), materialize_grads=True)
    return z.detach().numpy(), [share.numpy() for share in found], xs, g


@pytest.mark.parametrize("dtype", [np.float64, np.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("row", OF_TORCH, ids=repr)
def test_torch(row: Row, dtype: Any) -> None:
    """torch's function of that name has the same value and the same gradients."""
    torch = pytest.importorskip("torch")
    tried = 0
    for case in row.family.fixed:
        if row.rule in (rules.softmax, rules.log_softmax) and not takes_one_axis(case):
            continue  # torch takes one axis
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch warns of the variance of an empty array of variances
            value, gradients, xs, g = torch_answers(torch, row, case, dtype)
        positions = varied(case)
        nodes = [mg.Tensor(x, requires_grad=True) if i in positions else x for i, x in enumerate(xs)]
        z = row.rule(*nodes, **case.parameters)
        close(z._data, value, EXACT if dtype is np.float64 else SINGLE, f"{row}{case}")
        for gradient, expected in zip(
            mg.grad(z, [nodes[i] for i in positions], grad_outputs=g), gradients, strict=True
        ):
            close(gradient, expected, EXACT if dtype is np.float64 else SINGLE, f"{row}{case}")
        tried += 1
    assert tried


def positive(x: Any) -> Any:
    """A condition that is no node of either library."""
    return x > 0 if isinstance(x, mg.Node) else x.detach() > 0


# name: (the same expression for either library, where)
HARD: dict[str, tuple[Callable[[Any, Any], Any], list[float]]] = {
    "x**-1": (lambda m, x: x**-1, [0.0, -0.0, INF]),
    "1/x": (lambda m, x: 1 / x, [0.0, -0.0, INF]),
    "x**0": (lambda m, x: x**0, [0.0, 1.0, -2.0, INF]),
    "x**0.5": (lambda m, x: x**0.5, [0.0, -1.0, 4.0]),
    "x**2": (lambda m, x: x**2, [0.0, -3.0, 1e200]),
    "x**3": (lambda m, x: x**3, [0.0, -2.0]),
    "x**(1/3)": (lambda m, x: x ** (1 / 3), [-8.0, 0.0]),
    "sqrt": (lambda m, x: m.sqrt(x), [0.0, -1.0, INF]),
    "relu": (lambda m, x: m.relu(x), [0.0, -0.0, NAN, INF, -INF]),
    "abs": (lambda m, x: m.abs(x), [0.0, -0.0, INF, -INF]),
    "log": (lambda m, x: m.log(x), [0.0, -1.0, INF]),
    "log1p": (lambda m, x: m.log1p(x), [-1.0, -2.0, 1e-20]),
    "exp": (lambda m, x: m.exp(x), [1000.0, -1000.0, INF, -INF, NAN]),
    "expm1": (lambda m, x: m.expm1(x), [1000.0, -1000.0, 1e-20]),
    "sigmoid": (lambda m, x: m.sigmoid(x), [1000.0, -1000.0, INF, -INF, NAN, 0.0]),
    "tanh": (lambda m, x: m.tanh(x), [1000.0, -1000.0, NAN]),
    "maximum(x, 1)": (lambda m, x: m.maximum(x, x * 0 + 1), [1.0, 2.0, 0.0]),
    "minimum(x, 1)": (lambda m, x: m.minimum(x, x * 0 + 1), [1.0, 2.0, 0.0]),
    "x*x": (lambda m, x: x * x, [1e200, INF, NAN]),
    "x/x": (lambda m, x: x / x, [0.0, INF]),
    "where leaks": (lambda m, x: m.where(positive(x), m.sqrt(x), x * 0), [-1.0, 0.0, 4.0]),
}  # fmt: skip


@pytest.mark.parametrize("kind", ["Value", "float64", "float32"])
@pytest.mark.parametrize("name", HARD)
def test_torch_at_hard_points(name: str, kind: str) -> None:
    """At zeros, infinities, nan and kinks Value and Tensor have torch's values and gradients."""
    torch = pytest.importorskip("torch")
    expression, points = HARD[name]
    for at in points:
        x = torch.tensor(at, dtype=torch.float32 if kind == "float32" else torch.float64, requires_grad=True)
        z = expression(torch, x)
        (expected,) = torch.autograd.grad(z, x)
        node: Any = mg.Value(at) if kind == "Value" else None
        if node is None:
            with np.errstate(over="ignore"):
                node = mg.Tensor(np.array(at, kind), requires_grad=True)
        given = expression(mg, node)
        (gradient,) = mg.grad(given, node)
        rtol = 1e-6 if kind == "float32" else 1e-14
        np.testing.assert_allclose(given.item(), z.item(), rtol=rtol, err_msg=f"{name} at {at}: value")
        np.testing.assert_allclose(float(gradient), expected.item(), rtol=rtol, err_msg=f"{name} at {at}: gradient")


# name: (torch's expression, ours, of which arrays); what is not a number is summed
ARRAYS: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any], Any], list[list[float]]]] = {
    "max": (lambda t, x: t.amax(x), mg.max, [[2, 2, 1], [NAN, 1], [INF, INF], [1]]),
    "min": (lambda t, x: t.amin(x), mg.min, [[2, 2, 1], [1, 1, 1], [NAN, 1]]),
    "norm": (lambda t, x: t.linalg.vector_norm(x), mg.norm, [[0, 0], [3, 4], [NAN, 1]]),
    "std": (lambda t, x: t.std(x, correction=0), lambda x: mg.std(x, correction=0), [[2, 2], [1, 3], [5]]),
    "var": (lambda t, x: t.var(x, correction=0), lambda x: mg.var(x, correction=0), [[2, 2], [1, 3], [5]]),
    "prod": (lambda t, x: t.prod(x), mg.prod, [[2, 0, 3], [0, 0, 3], [2, 3, 4], [0]]),
    "logsumexp": (
        lambda t, x: t.logsumexp(x, 0), mg.logsumexp,
        [[1000, 1000], [-INF, 0], [-1000, -1000], [1e300, 0], [-INF, -INF], [INF, 1]],
    ),
    "softmax": (
        lambda t, x: t.softmax(x, 0) ** 2, lambda x: mg.softmax(x, 0) ** 2,
        [[1000, 1000, 0], [-1000, 0], [-INF, 0], [-INF, -INF]],
    ),
    "log_softmax": (
        lambda t, x: t.log_softmax(x, 0) ** 2, lambda x: mg.log_softmax(x, 0) ** 2,
        [[1000, 1000, 0], [-1000, 0], [NAN, 0]],
    ),
    "clip": (lambda t, x: t.clamp(x, -1, 1), lambda x: mg.clip(x, -1, 1), [[-1, 1, 0, 2, -2, NAN]]),
    "leaky_relu": (lambda t, x: t.nn.functional.leaky_relu(x), mg.leaky_relu, [[0, -1, 1, NAN]]),
    "softplus": (lambda t, x: t.nn.functional.softplus(x), mg.softplus, [[-1000, 1000, 0, 15]]),
    "logsigmoid": (lambda t, x: t.nn.functional.logsigmoid(x), mg.logsigmoid, [[-1000, 1000, 0]]),
    "x[[0, 0, 1]]": (lambda t, x: x[[0, 0, 1]] ** 2, lambda x: x[[0, 0, 1]] ** 2, [[2, 3, 5]]),
}  # fmt: skip


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", ARRAYS)
def test_torch_at_hard_arrays(name: str, dtype: str) -> None:
    """Ties, zero factors, zero norms, bounds and overflows of arrays: torch's values and gradients."""
    torch = pytest.importorskip("torch")
    theirs, ours, arrays = ARRAYS[name]
    for at in arrays:
        if dtype == "float32":
            at = [number for number in at if abs(number) != 1e300]
        x = torch.tensor(at, dtype=getattr(torch, dtype), requires_grad=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            z = theirs(torch, x).sum()
            (expected,) = torch.autograd.grad(z, x)
        node = mg.Tensor(np.array(at, dtype), requires_grad=True)
        given = mg.sum(ours(node))
        rtol = 2e-6 if dtype == "float32" else 1e-14
        np.testing.assert_allclose(given.item(), z.item(), rtol=rtol, err_msg=f"{name} of {at}: value")
        np.testing.assert_allclose(
            mg.grad(given, node)[0], expected.numpy(), rtol=rtol, atol=1e-300, err_msg=f"{name} of {at}: gradient"
        )


@pytest.mark.parametrize(
    ("x", "y"), [(0.0, 0.0), (-2.0, 3.0), (0.0, 2.0), (0.0, -1.0), (2.0, 0.0), (-2.0, 0.5), (INF, 0.0), (0.0, 0.5)]
)
def test_torch_powers_of_two_variables(x: float, y: float) -> None:
    """Both gradients of x^y at the corners of its domain."""
    torch = pytest.importorskip("torch")
    given = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (x, y)]
    expected = [share.item() for share in torch.autograd.grad(given[0] ** given[1], given)]
    for make in (mg.Value, lambda number: mg.Tensor(number, requires_grad=True)):
        nodes = [make(x), make(y)]
        np.testing.assert_allclose(
            [float(share) for share in mg.grad(nodes[0] ** nodes[1], nodes)], expected, rtol=1e-14
        )


@pytest.mark.parametrize(("x", "y"), [(1.0, 1.0), (NAN, 1.0), (1.0, NAN), (INF, INF), (2.0, 1.0)])
@pytest.mark.parametrize("name", ["maximum", "minimum"])
def test_torch_larger_and_smaller(name: str, x: float, y: float) -> None:
    """Both gradients at ties, infinities and nan."""
    torch = pytest.importorskip("torch")
    given = [torch.tensor(number, dtype=torch.float64, requires_grad=True) for number in (x, y)]
    expected = [share.item() for share in torch.autograd.grad(getattr(torch, name)(*given), given)]
    for make in (mg.Value, lambda number: mg.Tensor(number, requires_grad=True)):
        nodes = [make(x), make(y)]
        assert [float(share) for share in mg.grad(getattr(mg, name)(*nodes), nodes)] == expected


@pytest.mark.parametrize("row", OF_TORCH, ids=repr)
def test_torch_second_order(row: Row) -> None:
    """Double backward: d(sum_i <v_i, dL/dx_i>)/dx is torch's too."""
    torch = pytest.importorskip("torch")
    for case in row.family.fixed[:4]:
        xs, positions = numbers(row, case), varied(case)
        theirs = [torch.tensor(x, requires_grad=i in positions) for i, x in enumerate(xs)]
        ours = [mg.Tensor(x, requires_grad=True) if i in positions else x for i, x in enumerate(xs)]
        z, t = row.rule(*ours, **case.parameters), torch_functions(torch)[row.rule](*theirs, **case.parameters)
        g, v = weights(z.shape, 0), [weights(np.shape(xs[i]), 1) for i in positions]
        a = torch.autograd.grad(
            t, [theirs[i] for i in positions], torch.tensor(g), create_graph=True, materialize_grads=True
        )
        b = mg.grad(z, [ours[i] for i in positions], grad_outputs=g, create_graph=True)
        s = sum((share * torch.tensor(d)).sum() for share, d in zip(a, v, strict=True))
        r = mg.sum([(share * d).sum() for share, d in zip(b, v, strict=True)])
        zeros = [np.zeros(np.shape(xs[i])) for i in positions]
        expected = (
            [
                x.numpy(force=True)
                for x in torch.autograd.grad(
                    s, [theirs[i] for i in positions], materialize_grads=True, allow_unused=True
                )
            ]
            if s.requires_grad
            else zeros
        )
        given = mg.grad(r, [ours[i] for i in positions], allow_unused=True) if r.requires_grad else zeros
        for one, other, nothing in zip(given, expected, zeros, strict=True):
            close(nothing if one is None else one, other, 1e-10, f"{row}{case}")


@pytest.mark.parametrize(
    "row", [row for row in ROWS if row.rule not in (rules.astype, rules.prod, rules.stack)], ids=repr
)
def test_hips_autograd(row: Row) -> None:
    """HIPS autograd differentiates the formula of the table to what the rule says."""
    autograd = pytest.importorskip("autograd")
    import autograd.numpy as anp

    for case in row.family.fixed:
        if any(np.prod(x) == 0 for x in case.inputs if isinstance(x, tuple)):
            continue
        xs, positions = numbers(row, case), varied(case)
        nodes = [mg.Tensor(x, requires_grad=True) if i in positions else x for i, x in enumerate(xs)]
        z = row.rule(*nodes, **case.parameters)
        if z.size == 0:
            continue
        g = weights(z.shape, 0)

        def loss(*moved: Any, xs: Any = xs, positions: Any = positions, case: Case = case, g: Any = g) -> Any:
            inputs = list(xs)
            for position, x in zip(positions, moved, strict=True):
                inputs[position] = x
            return anp.sum(g * row.formula(anp, *inputs, **case.parameters))

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of autograd's own: an output that does not depend on the input
            expected = autograd.grad(loss, tuple(range(len(positions))))(*[xs[i] for i in positions])
        for gradient, other in zip(mg.grad(z, [nodes[i] for i in positions], grad_outputs=g), expected, strict=True):
            close(gradient, other, EXACT, f"{row}{case}")
