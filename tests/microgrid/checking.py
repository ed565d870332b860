"""How a row of the table is held against its rule: numbers to try, oracles, and the check itself.

No oracle here calls a `wrt_*` or a rule: each differentiates the row's own formula.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from typing import Any

import mpmath
import numpy as np

import microgrid as mg
from tests.microgrid.families import Case
from tests.microgrid.table import Row

EXACT, DIFFERENCED, SINGLE = 1e-12, 1e-6, 1e-5  # of float64; of differences; of float32
CLEARANCE = 0.02  # how far from a kink, and about how far from each other, the numbers are


# ------------------------------------------------------------------------------------------------------- numbers


def numbers(row: Row, case: Case, seed: int = 0, dtype: Any = np.float64) -> list[Any]:
    """The inputs of a case: numbers in the domain, all different, and away from the kinks."""
    rng = np.random.default_rng([seed, zlib.crc32(row.rule.__name__.encode())])
    sizes = [int(np.prod(x)) for x in case.inputs if isinstance(x, tuple)]
    drawn, inputs = 0, []
    for x in case.inputs:
        if not isinstance(x, tuple):
            inputs.append(x)
            continue
        low, high = row.domain[min(drawn, len(row.domain) - 1)]
        grid = np.linspace(low, high, 3 * sum(sizes) + 9)[1:-1]
        # each input has the grid's every k-th number, so that no two inputs share one (maximum has a kink there)
        grid = [at for at in grid[drawn :: len(sizes)] if all(abs(at - kink) > CLEARANCE for kink in row.kinks)]
        inputs.append(rng.permutation(grid)[: sizes[drawn]].reshape(x).astype(dtype))
        drawn += 1
    return inputs


def varied(case: Case) -> list[int]:
    """The positions of the inputs that have a derivative."""
    return [position for position, x in enumerate(case.inputs) if isinstance(x, tuple)]


def weights(shape: tuple[int, ...], seed: int, dtype: Any = np.float64) -> Any:
    """A gradient from above, nowhere near 0 or 1."""
    rng = np.random.default_rng([seed, len(shape), 7])
    return np.asarray(rng.uniform(1.25, 2.5, shape) * rng.choice((-1, 1), shape)).astype(dtype)


def close(given: Any, expected: Any, tolerance: float, what: str = "") -> None:
    """Norm-wise: single small entries are dominated by cancellation."""
    given, expected = np.asarray(given), np.asarray(expected)
    assert given.shape == expected.shape, f"{what}: shape {given.shape}, expected {expected.shape}"
    error = np.linalg.norm((given - expected).ravel())
    assert error <= tolerance * (np.linalg.norm(expected.ravel()) + 1e-2), f"{what}: {given}, expected {expected}"


# ------------------------------------------------------------------------------------------------------- oracles


def complex_step(f: Callable[..., Any], xs: Sequence[Any], directions: Sequence[Any]) -> Any:
    """The derivative of f at xs along the directions (None: fixed): Im f(x + ih) / h, without a difference."""
    h = 1e-200
    moved = [x if d is None else x.astype(complex) + 1j * h * d for x, d in zip(xs, directions, strict=True)]
    return np.imag(f(*moved)) / h


def difference(f: Callable[..., Any], xs: Sequence[Any], directions: Sequence[Any]) -> Any:
    """The same by central differences with h = eps^(1/3) max(1, |x|), for directions of entries 0 and 1."""
    sizes = [1.0, *(float(np.max(np.abs(x), initial=0)) for x, d in zip(xs, directions, strict=True) if d is not None)]
    h = np.finfo(float).eps ** (1 / 3) * max(sizes)
    up = [x if d is None else x + h * d for x, d in zip(xs, directions, strict=True)]
    down = [x if d is None else x - h * d for x, d in zip(xs, directions, strict=True)]
    return (f(*up) - f(*down)) / (2 * h)


def gradients(
    derivative: Callable[..., Any], f: Callable[..., Any], xs: Sequence[Any], g: Any, positions: Sequence[int]
) -> list[Any]:
    """d(sum g f)/dx for the inputs at these positions, entry by entry."""
    found = []
    for position in positions:
        share = np.zeros(xs[position].shape)
        for place in np.ndindex(share.shape):
            unit = np.zeros(share.shape)
            unit[place] = 1
            directions = [unit if i == position else None for i in range(len(xs))]
            share[place] = np.sum(g * derivative(f, xs, directions))
        found.append(share)
    return found


def mp_derivative(row: Row, case: Case, xs: Sequence[Any], orders: Sequence[int]) -> float:
    """A partial derivative of the formula at floats, at 50 digits; the constants among the xs stay as they are."""
    positions = varied(case)
    with mpmath.workdps(50):

        def f(*moved: Any) -> Any:
            inputs = [bool(x) if isinstance(x, np.ndarray) else x for x in xs]
            for position, x in zip(positions, moved, strict=True):
                inputs[position] = x
            return row.formula(mpmath, *inputs, **case.parameters)

        at = tuple(mpmath.mpf(float(xs[position])) for position in positions)
        return float(mpmath.diff(f, at, tuple(orders)) if any(orders) else f(*at))


# ------------------------------------------------------------------------------------------------------ the checks


def formula_of(row: Row, case: Case) -> Callable[..., Any]:
    return lambda *xs: row.formula(np, *xs, **case.parameters)


def check(row: Row, case: Case, seed: int = 0, dtype: Any = np.float64) -> None:
    """Hold a rule on arrays against its row: the value, and each gradient against complex step and differences."""
    xs, positions = numbers(row, case, seed, dtype), varied(case)
    nodes = [mg.Tensor(x, requires_grad=True) if i in positions else x for i, x in enumerate(xs)]
    z = row.rule(*nodes, **case.parameters)
    f = formula_of(row, case)
    xs = [x.astype(float) if i in positions else x for i, x in enumerate(xs)]
    expected = np.asarray(f(*xs))
    assert z.dtype == case.parameters.get("dtype", dtype), f"value: {z.dtype}"
    single = np.float32 in (dtype, z.dtype)
    close(z._data, expected, SINGLE if single else EXACT, "value")

    g = weights(z.shape, seed, z.dtype)
    given = mg.grad(z, [nodes[position] for position in positions], grad_outputs=g)
    stepped = gradients(complex_step, f, xs, g, positions)
    differenced = gradients(difference, f, xs, g, positions)
    for position, gradient, exact, rough in zip(positions, given, stepped, differenced, strict=True):
        name = f"{row.rule.__name__}{case}: gradient of input {position}"
        assert type(gradient) is np.ndarray, f"{name}: {type(gradient)}"
        assert gradient.dtype == dtype, f"{name}: {gradient.dtype}"
        close(gradient, exact, SINGLE if single else EXACT, name)
        close(gradient, rough, SINGLE if single else DIFFERENCED, name)


def scalar_inputs(row: Row, seed: int) -> tuple[Case, list[Any]]:
    """A case of floats, and the floats: constants are arrays without axes."""
    cases = [c for c in row.family.fixed if all((x if isinstance(x, tuple) else x.shape) == () for x in c.inputs)]
    case = cases[seed % len(cases)] if cases else Case(((),) * row.family.scalars)
    return case, numbers(row, case, seed)


def check_floats(row: Row, seed: int = 0) -> None:
    """Hold a rule on Values against its row: value and gradients at 50 digits, and by a complex step."""
    case, xs = scalar_inputs(row, seed)
    positions = varied(case)
    nodes = [mg.Value(float(x)) if i in positions else bool(x) for i, x in enumerate(xs)]
    z = row.rule(*nodes, **case.parameters)
    assert type(z.data) is float
    close(z.data, mp_derivative(row, case, xs, [0] * len(positions)), EXACT, "value")
    given = mg.grad(z, [nodes[position] for position in positions], grad_outputs=1.75)
    stepped = gradients(complex_step, formula_of(row, case), xs, 1.75, positions)
    for i, (gradient, exact) in enumerate(zip(given, stepped, strict=True)):
        assert type(gradient) is float
        orders = [int(i == j) for j in range(len(positions))]
        close(gradient, 1.75 * mp_derivative(row, case, xs, orders), EXACT, f"{row}: input {i}")
        close(gradient, exact, EXACT, f"{row}: input {i}")
