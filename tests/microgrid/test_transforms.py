"""Transforms of functions: torch.func's names and meanings, to any depth, on every kind of number."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable
from fractions import Fraction
from typing import Any, NamedTuple

import mpmath
import numpy as np
import pytest
import sympy
from hypothesis import given, settings, strategies as st

import microgrid as mg
from microgrid import rules
from tests.microgrid.checking import (
    DIFFERENCED,
    EXACT,
    close,
    complex_step,
    difference,
    formula_of,
    numbers,
    scalar_inputs,
    varied,
    weights,
)
from tests.microgrid.families import Case
from tests.microgrid.table import ROWS, SCALAR_ROWS, Row

# ------------------------------------------------------------------------------------- forward mode, of every rule


def check_forward(row: Row, case: Case, seed: int = 0) -> None:
    """J v is the complex step's, and central differences'; <u, J v> = <J^T u, v>."""
    xs, positions = numbers(row, case, seed), varied(case)

    def function(*moved: Any) -> Any:
        inputs = list(xs)
        for position, x in zip(positions, moved, strict=True):
            inputs[position] = x
        return row.rule(*inputs, **case.parameters)

    primals = tuple(xs[position] for position in positions)
    v = tuple(weights(x.shape, seed + 1) for x in primals)
    output, along = mg.jvp(function, primals, v)
    assert type(output) is type(along) is np.ndarray
    assert (along.shape, along.dtype) == (output.shape, output.dtype)
    single = output.dtype == np.float32
    directions: list[Any] = [None] * len(xs)
    for position, direction in zip(positions, v, strict=True):
        directions[position] = direction
    close(along, complex_step(formula_of(row, case), xs, directions), 1e-5 if single else EXACT, f"{row}{case}")
    if not single:
        close(along, difference(formula_of(row, case), xs, directions), 30 * DIFFERENCED, f"{row}{case}")
    u = weights(output.shape, seed + 2, output.dtype)
    _, pull = mg.vjp(function, *primals)
    products = [np.sum(share * direction) for share, direction in zip(pull(u), v, strict=True)]
    scale = sum(np.linalg.norm(a.ravel()) for a in (u, *v)) ** 2 * (1 + np.linalg.norm(along.ravel()))
    assert abs(np.sum(u * along) - sum(products)) <= (1e-5 if single else 1e-13) * scale


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_forward_mode_of_each_rule(row: Row) -> None:
    """On arrays, with broadcasting, 0-d and empty ones, at the shapes and parameters of its row."""
    for seed, case in enumerate(row.family.fixed):
        check_forward(row, case, seed)


@pytest.mark.parametrize("row", SCALAR_ROWS, ids=repr)
def test_forward_mode_of_floats(row: Row) -> None:
    """On floats: the same numbers, and a float."""
    for seed in range(2):
        case, xs = scalar_inputs(row, seed)
        positions = varied(case)
        fixed = [bool(x) if i not in positions else None for i, x in enumerate(xs)]

        def function(*moved: Any, fixed: Any = fixed, positions: Any = positions, case: Any = case) -> Any:
            inputs = list(fixed)
            for position, x in zip(positions, moved, strict=True):
                inputs[position] = x
            return row.rule(*inputs, **case.parameters)

        v = [float(x) for x in weights((len(positions),), seed)]
        directions: list[Any] = [None] * len(xs)
        for position, direction in zip(positions, v, strict=True):
            directions[position] = np.array(direction)
        output, along = mg.jvp(function, tuple(float(xs[i]) for i in positions), tuple(v))
        assert type(output) is type(along) is float
        close(along, complex_step(formula_of(row, case), xs, directions), EXACT, repr(row))


@pytest.mark.parametrize("spoilt", [lambda share: share * 1.001, lambda share: -share], ids=["factor", "sign"])
def test_the_check_of_forward_mode_can_fail(monkeypatch: pytest.MonkeyPatch, spoilt: Any) -> None:
    """A wrong derivative of tanh is a wrong forward mode."""
    (wrt,) = rules.tanh.wrt
    monkeypatch.setattr(rules.tanh, "wrt", (lambda *arguments: spoilt(wrt(*arguments)),))
    with pytest.raises(AssertionError):
        test_forward_mode_of_each_rule(next(row for row in ROWS if row.rule is rules.tanh))


def calls(run: Callable[[], Any]) -> int:
    """How many functions of Python's are called."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    gc.disable()
    sys.setprofile(profile)
    try:
        run()
    finally:
        sys.setprofile(before)
        gc.enable()
    return count


def test_forward_mode_costs_a_small_multiple() -> None:
    """J v takes fewer than 20 times the function's calls, at any length and for any number of inputs."""

    def deep(length: int) -> Any:
        def function(x: Any, y: Any) -> Any:
            for _ in range(length):
                x = mg.tanh(x * y + 0.5)
            return x

        return function

    x, y = np.ones(3), np.full(3, 0.5)
    ratios = []
    for length in (20, 200):
        function = deep(length)
        nodes = mg.Tensor(x, requires_grad=True), mg.Tensor(y, requires_grad=True)
        mg.jvp(function, (x, y), (x, x))
        ratios.append(calls(lambda f=function: mg.jvp(f, (x, y), (x, x))) / calls(lambda f=function, n=nodes: f(*n)))
    assert max(ratios) < 20
    assert ratios[1] < 1.1 * ratios[0]
    wide = [calls(lambda n=n: mg.jvp(lambda x: mg.sum(x * x), (np.ones(n),), (np.ones(n),))) for n in (2, 2000)]
    assert wide[0] == wide[1]


def test_an_inner_transform_does_not_walk_the_outer_s_past() -> None:
    """What was computed before the call is not visited: the cost does not grow with the history of what is given."""
    counted = []
    mg.grad(lambda u: u * u)(mg.Value(1.0))
    for length in (1, 500):
        x = mg.Value(0.5)
        for _ in range(length):
            x = x * 1.001
        counted.append(calls(lambda x=x: mg.grad(lambda u: u * u)(x)))
    assert counted[0] == counted[1]


# ----------------------------------------------------------------------------------------------- nesting

x_ = sympy.Symbol("x")


def test_three_levels_of_elementwise_grad() -> None:
    """tanh''' is SymPy's, for floats, arrays, Values and Tensors."""
    third = mg.elementwise_grad(mg.elementwise_grad(mg.elementwise_grad(mg.tanh)))
    expected = sympy.lambdify(x_, sympy.diff(sympy.tanh(x_), x_, 3), "math")
    points = np.array([-1.25, 0.0, 0.5, 2.0])
    exact = np.array([expected(x) for x in points])
    np.testing.assert_allclose(third(points), exact, rtol=1e-12)
    assert [third(float(x)) for x in points] == pytest.approx(exact, rel=1e-12)
    assert third(mg.Value(0.5)).data == pytest.approx(exact[2], rel=1e-12)
    np.testing.assert_allclose(third(mg.Tensor(points))._data, exact, rtol=1e-12)


@pytest.mark.parametrize("order", range(6))
@pytest.mark.parametrize("make", [float, np.array, mg.Value, mg.Tensor], ids=["float", "array", "Value", "Tensor"])
@pytest.mark.parametrize("cube", [lambda x: x**3, lambda x: x * x * x, lambda x: mg.square(x) * x])
def test_derivatives_of_a_cube(cube: Any, make: Any, order: int) -> None:
    """x^3 at 2 gives 8, 12, 12, 6, 0, 0: a derivative that does not depend on x any more has the derivative 0."""
    function = cube
    for _ in range(order):
        function = mg.grad(function)
    result = function(make(2.0))
    assert float(getattr(result, "_data", result)) == [8, 12, 12, 6, 0, 0][order]


CONFUSIONS: dict[str, tuple[Any, float]] = {
    "d/dx (x d/dy (x + y))": (lambda x: x * mg.grad(lambda y: x + y)(1.0), 1.0),
    "d/dx (x d/dy (x y)), y = x": (lambda x: x * mg.grad(lambda y: x * y)(x), 4.0),
    "d/dx (x d/dx (x x))": (lambda x: x * mg.grad(lambda x: x * x)(x), 8.0),
    "d/dx (x d/dx (x x)) at 3": (lambda x: x * mg.grad(lambda x: x * x)(3.0), 6.0),
    "forward in reverse": (lambda x: x * mg.jvp(lambda y: x * y * y, (x,), (1.0,))[1], 24.0),  # 2 x^3
    "a tangent that is x": (lambda x: mg.jvp(lambda y: y * y, (3.0,), (x,))[1], 6.0),
    "a cotangent that is x": (lambda x: mg.vjp(lambda y: y * y, 3.0)[1](x)[0], 6.0),
    "three deep": (lambda x: mg.grad(lambda y: mg.grad(lambda z: x * y * y * z * z)(y))(x), 72.0),  # 6 x^3
}  # fmt: skip


@pytest.mark.parametrize("name", CONFUSIONS)
def test_no_perturbation_confusion(name: str) -> None:
    """Each level differentiates by its own variable alone (Siskind and Pearlmutter, 2005); at x = 2."""
    function, expected = CONFUSIONS[name]
    for transform in (mg.grad, mg.elementwise_grad, mg.jacobian):
        assert transform(function)(2.0) == expected
    assert mg.jvp(function, (2.0,), (1.0,))[1] == expected
    nodes = mg.Value(2.0)
    function(nodes).backward()
    assert nodes.grad == expected


def test_the_same_node_twice_is_two_variables() -> None:
    """d/dx f(x, x) by the first argument alone, and backwards through the result to both."""
    x = mg.Value(3.0)
    by_first, by_second = mg.grad(lambda a, b: a * a * b, argnums=(0, 1))(x, x)
    assert (by_first.data, by_second.data) == (18.0, 9.0)
    (whole,) = mg.grad(by_first, x)
    assert whole == 12.0  # of 2 x x
    assert x.grad == 0.0


NESTED: dict[str, Any] = {
    "grad of jvp": lambda f, x, v: mg.grad(lambda x: mg.jvp(f, (x,), (v,))[1])(x),
    "jvp of grad": lambda f, x, v: mg.jvp(mg.grad(f), (x,), (v,))[1],
    "vjp of grad": lambda f, x, v: mg.vjp(mg.grad(f), x)[1](v)[0],
    "hvp": lambda f, x, v: mg.hvp(f, x, v)[1],
    "hessian": lambda f, x, v: mg.hessian(f)(x) @ v,
    "jacobian of grad": lambda f, x, v: mg.jacobian(mg.grad(f))(x) @ v,
    "grad of grad": lambda f, x, v: mg.grad(lambda x: mg.sum(mg.grad(f)(x) * v))(x),
    "jvp of jvp": lambda f, x, v: mg.stack(
        [mg.jvp(lambda y, e=e: mg.jvp(f, (y,), (e,))[1], (x,), (v,))[1] for e in np.eye(len(x))]
    ),
}


@pytest.mark.parametrize("name", NESTED)
@pytest.mark.parametrize("make", [np.array, lambda x: mg.Tensor(x, requires_grad=True)], ids=["array", "Tensor"])
def test_hessian_times_vector(name: str, make: Any) -> None:
    """Every nesting of forward and reverse gives SymPy's H v."""
    a, b, c = sympy.symbols("a b c")
    symbolic = sympy.exp(a * b) * sympy.sin(c) + a**3 * c / (1 + b**2)

    def f(x: Any) -> Any:
        return mg.exp(x[0] * x[1]) * mg.sin(x[2]) + x[0] ** 3 * x[2] / (1 + x[1] ** 2)

    point, v = [0.5, -1.25, 2.0], np.array([1.0, -2.0, 0.5])
    exact = np.array(sympy.hessian(symbolic, (a, b, c)).subs(dict(zip((a, b, c), point, strict=True))), float) @ v
    found = NESTED[name](f, make(point), v)
    np.testing.assert_allclose(getattr(found, "_data", found), exact, rtol=1e-12)


@given(st.lists(st.sampled_from(["grad", "jacobian", "elementwise_grad", "forward"]), min_size=1, max_size=4))
@settings(max_examples=30)
def test_any_nesting(levels: list[str]) -> None:
    """Whatever is nested in whatever, the n-th derivative of sin(x) e^x is SymPy's."""
    function: Any = lambda x: mg.sin(x) * mg.exp(x)
    for level in levels:
        if level == "forward":
            function = lambda x, f=function: mg.jvp(f, (x,), (1.0,))[1]
        else:
            function = getattr(mg, level)(function)
    exact = sympy.diff(sympy.sin(x_) * sympy.exp(x_), x_, len(levels)).subs(x_, 0.75)
    assert function(0.75) == pytest.approx(float(exact), rel=1e-12)


# ------------------------------------------------------------------------------------------------ every number


def test_fractions_are_exact() -> None:
    """Gradient, Hessian and products of a rational function in fractions: fractions, and SymPy's."""

    def f(x: Any, y: Any) -> Any:
        return x * x / (1 + y) - y / x

    x, y = sympy.symbols("x y")
    symbolic = x**2 / (1 + y) - y / x
    at = {x: sympy.Rational(2, 3), y: sympy.Rational(1, 5)}
    point = (Fraction(2, 3), Fraction(1, 5))

    def exact(expression: Any) -> Fraction:
        value = expression.subs(at)
        return Fraction(int(value.p), int(value.q))

    value, gradient = mg.value_and_grad(f, argnums=(0, 1))(*point)
    assert (value, *gradient) == (exact(symbolic), exact(symbolic.diff(x)), exact(symbolic.diff(y)))
    found = mg.hessian(f, argnums=(0, 1))(*point)
    expected = [[exact(symbolic.diff(a, b)) for b in (x, y)] for a in (x, y)]
    assert [list(row) for row in found] == expected
    assert all(type(z) is Fraction for row in found for z in row)
    _, along = mg.jvp(f, point, (1, 2))
    assert along == gradient[0] + 2 * gradient[1]
    assert type(along) is Fraction
    _, product = mg.hvp(f, point, (Fraction(1), Fraction(2)))
    assert product == tuple(row[0] + 2 * row[1] for row in expected)
    assert mg.vjp(f, *point)[1](Fraction(1, 7)) == tuple(z / 7 for z in gradient)


def test_fifty_digits() -> None:
    """With mpmath's numbers every transform is right to 45 digits: mpmath.diff of the formula."""
    with mpmath.workdps(50):
        x, v = mpmath.mpf("0.3"), mpmath.mpf(2)

        def formula(t: Any) -> Any:
            return mpmath.tanh(t) * mpmath.exp(t * t)

        def f(t: Any) -> Any:
            return mg.tanh(t) * mg.exp(t * t)

        first, second, third = (mpmath.diff(formula, x, n, h=mpmath.mpf("1e-20")) for n in (1, 2, 3))
        with mpmath.workdps(120):
            first, second, third = (mpmath.diff(formula, x, n) for n in (1, 2, 3))
        found = {
            "grad": (mg.grad(f)(x), first),
            "elementwise_grad": (mg.elementwise_grad(mg.elementwise_grad(f))(x), second),
            "jvp": (mg.jvp(f, (x,), (v,))[1], v * first),
            "vjp": (mg.vjp(f, x)[1](v)[0], v * first),
            "jacobian": (mg.jacobian(f)(x), first),
            "hessian": (mg.hessian(f)(x), second),
            "hvp": (mg.hvp(f, x, v)[1], v * second),
            "third": (mg.grad(mg.hessian(f))(x), third),
        }
        for name, (given_number, exact) in found.items():
            assert isinstance(given_number, mpmath.mpf), name
            assert abs(given_number - exact) < mpmath.mpf(10) ** -45, name


def test_how_much_of_an_error_is_rounding() -> None:
    """(1 - cos x) / x^2 at 1e-4: the float's slope is rounding alone, that of 50 digits is -x/12."""

    def f(x: Any) -> Any:
        return (1 - mg.cos(x)) / (x * x)

    with mpmath.workdps(50):
        exact = mg.grad(f)(mpmath.mpf("1e-4"))
    assert float(exact) == pytest.approx(-1e-4 / 12, rel=1e-8)
    assert abs(mg.grad(f)(1e-4) - float(exact)) > abs(exact)


def test_symbols() -> None:
    """The Hessian of symbols is SymPy's expression."""
    x, y = sympy.symbols("x y")
    found = mg.hessian(lambda x, y: mg.exp(x * y) + x / y, argnums=(0, 1))(x, y)
    expected = sympy.hessian(sympy.exp(x * y) + x / y, (x, y))
    for i in range(2):
        for j in range(2):
            assert sympy.simplify(found[i][j] - expected[i, j]) == 0
    assert mg.jvp(lambda x: x * x * x, (x,), (y,))[1].equals(3 * x**2 * y)


# ----------------------------------------------------------------------------------------- what mirrors what


class Pair(NamedTuple):
    w: Any
    b: Any


def line(p: Any) -> Any:
    return mg.sum((p["pair"].w * 2.0 + p["pair"].b) ** 2) * p["scale"][0] * p["scale"][1]


@pytest.mark.parametrize("make", [np.array, mg.Tensor], ids=["array", "Tensor"])
def test_containers(make: Any) -> None:
    """A gradient has the containers of what it is the gradient of, to any depth, and is complex-step right."""
    p = OrderedDict(pair=Pair(make([1.0, 2.0]), make(0.5)), scale=[3.0, Fraction(1, 2)], none=())
    p["scale"][1] = 0.5
    value, gradient = mg.value_and_grad(line)(p)
    assert type(gradient) is OrderedDict
    assert type(gradient["pair"]) is Pair
    assert gradient["none"] == ()
    kind = np.ndarray if make is np.array else mg.Tensor
    assert type(gradient["pair"].w) is type(value) is kind
    assert type(gradient["scale"][0]) is (float if make is np.array else mg.Value)
    inner = np.array([2.5, 4.5])
    plain = [getattr(z, "_data", z) for z in (value, *gradient["pair"], *gradient["scale"])]
    total = np.sum(inner**2)
    for found, exact in zip(plain, [1.5 * total, 1.5 * 4 * inner, 1.5 * np.sum(2 * inner), 0.5 * total, 3 * total],
                            strict=True):  # fmt: skip
        np.testing.assert_allclose(found, exact, rtol=1e-14)


def test_what_is_given_is_what_comes_back() -> None:
    """Numbers for numbers, arrays for arrays (owned, of their precision), nodes for nodes; constants have no past."""
    square = lambda x: x * x
    assert type(mg.elementwise_grad(square)(2)) is float
    assert type(mg.elementwise_grad(square)(np.float32(2))) is float
    single = mg.elementwise_grad(square)(np.ones(2, np.float32))
    assert (type(single), single.dtype) == (np.ndarray, np.float32)
    constant = mg.elementwise_grad(square)(mg.Tensor([1.0]))
    assert (type(constant), constant.requires_grad, constant.rule) == (mg.Tensor, False, None)
    recorded = mg.elementwise_grad(square)(mg.Tensor([1.0], requires_grad=True))
    assert recorded.requires_grad
    with mg.no_grad():
        assert not mg.elementwise_grad(square)(mg.Tensor([1.0], requires_grad=True)).requires_grad
        assert mg.hessian(square)(mg.Value(3.0)).data == 2.0
        assert not mg.is_grad_enabled()
    x = np.ones(2)
    value, pull = mg.vjp(lambda x: x, x)
    value[:], pull(x)[0][:] = 7, 7
    assert x.tolist() == [1.0, 1.0]


def test_what_depends_on_an_outside_node_stays_in_the_graph() -> None:
    """A captured parameter: the result is a node, through which gradients reach it; what does not depend is plain."""
    w = mg.Tensor([2.0, 3.0], requires_grad=True)
    x = np.array([1.0, -1.0])
    value, gradient = mg.value_and_grad(lambda x: mg.sum(w * x * x))(x)
    (mg.sum(gradient) + value).backward()
    assert w.grad.tolist() == (2 * x + x * x).tolist()
    assert type(mg.grad(lambda x: mg.sum(x * x * mg.Value(2.0)))(x)) is np.ndarray  # made inside: no one's
    with mg.no_grad():
        assert type(mg.grad(lambda x: mg.sum(w * x))(x)) is np.ndarray


def test_nothing_is_stored_and_nothing_is_kept() -> None:
    """`.grad` of what is given and captured stays as it was, names are kept; graphs are freed by reference counts."""
    x, w = mg.Tensor([1.0], requires_grad=True, name="x"), mg.Value(2.0)
    x.grad = np.array([5.0])
    seen: list[str] = []

    def function(t: Any) -> Any:
        seen.append(t.name)
        return mg.sum(mg.tanh(t * w))

    gc.collect()
    gc.disable()
    try:
        for run in (
            mg.hessian(function),
            lambda x: mg.hvp(function, x, [1.0]),
            lambda x: mg.jvp(function, (x,), ([1.0],)),
        ):
            result = run(x)
            node = result if isinstance(result, mg.Tensor) else result[1]
            kept = weakref.ref(node)
            del node, result
            assert kept() is None
    finally:
        gc.enable()
    assert x.grad.tolist() == [5.0]
    assert w._grad is None
    assert set(seen) == {"x"}


# ------------------------------------------------------------------------------------------------ layouts


def test_jacobians_of_containers() -> None:
    """Outputs outermost, then the arguments; of a tuple of argnums a tuple; a number by a number is a number."""

    def f(p: Any, y: Any) -> Any:
        return {"both": p["a"] * y, "sum": [mg.sum(p["a"] * p["a"]) * y]}

    a, y = np.array([1.0, 2.0]), 3.0
    found = mg.jacobian(f, argnums=(0, 1))({"a": a}, y)
    assert found["both"][0]["a"].tolist() == [[3.0, 0.0], [0.0, 3.0]]
    assert found["both"][1].tolist() == [1.0, 2.0]
    assert found["sum"][0][0]["a"].tolist() == [6.0, 12.0]
    assert found["sum"][0][1].tolist() == 5.0
    assert mg.jacobian(lambda x: x * x)(3.0) == 6.0
    assert mg.jacobian(lambda x, y: x * y, argnums=-1)(3.0, 4.0) == 3.0


SHAPES = [(), (1,), (3,), (2, 3), (0,), (2, 0), (12,)]


@pytest.mark.parametrize("output", SHAPES)
@pytest.mark.parametrize("input", SHAPES)
@pytest.mark.parametrize("make", [np.array, lambda x: mg.Tensor(x, requires_grad=True)], ids=["array", "Tensor"])
def test_jacobians_of_every_shape(input: Any, output: Any, make: Any) -> None:
    """Tall or wide, by rows or by columns, recorded or not: of shape (*output, *input), and the matrix it is."""
    n, m = int(np.prod(input)), int(np.prod(output))
    matrix = np.random.default_rng(n).normal(size=(m, n))

    def f(x: Any) -> Any:
        return mg.reshape(matrix @ mg.reshape(mg.sin(x), -1), output)

    x = np.linspace(-1, 1, n).reshape(input)
    found = mg.jacobian(f)(make(x))
    assert (found.shape, found.dtype) == ((*output, *input), np.float64)
    np.testing.assert_allclose(getattr(found, "_data", found).reshape(m, n), matrix * np.cos(x.ravel()), rtol=1e-14)
    if make is not np.array and n and m:
        found.sum().backward()


def test_few_inputs_take_few_passes() -> None:
    """A Jacobian of 500 outputs by 2 inputs costs no 500 passes, and its Hessian neither."""
    tall = lambda x: mg.sin(mg.Tensor(np.linspace(0, 1, 500)) * x[0]) * x[1]
    x = np.array([1.0, 2.0])
    rows = calls(lambda: mg.jacobian(lambda x: mg.reshape(tall(x), 500))(x))
    assert rows < 1000
    assert calls(lambda: mg.jacobian(lambda x: mg.sum(x * x))(np.ones(500))) < 1000  # and one output, one pass
    t = np.linspace(0, 1, 500)
    np.testing.assert_allclose(mg.jacobian(tall)(x), np.stack([2 * t * np.cos(t), np.sin(t)], 1), atol=1e-15)
    second = mg.hessian(tall)(x)
    assert second.shape == (500, 2, 2)
    np.testing.assert_allclose(second[:, 0, 0], -2 * t**2 * np.sin(t), atol=1e-14)
    np.testing.assert_allclose(second[:, 0, 1], t * np.cos(t), atol=1e-14)


@pytest.mark.parametrize("count", [2, 40])
@pytest.mark.parametrize("make", [np.array, lambda x: mg.Tensor(x, requires_grad=True)], ids=["array", "Tensor"])
def test_precision_of_jacobians(make: Any, count: int) -> None:
    """By rows or by columns: the precision of the argument; by a number, that of the output."""
    f = lambda x, s: mg.astype(mg.concatenate([x * s] * count), np.float64)
    by_array, by_number = mg.jacobian(f, (0, 1))(make(np.ones(2, np.float32)), 3.0)
    assert (by_array.dtype, by_number.dtype) == (np.float32, np.float64)
    assert by_number.shape == (2 * count,)
    constant = mg.jacobian(lambda x: mg.Tensor(np.ones(count), dtype=np.float32))(make(np.ones(2)))
    assert (constant.dtype, constant.shape) == (np.float64, (count, 2))


def test_what_does_not_depend_is_zero() -> None:
    """Constants, arguments that are not used and linear functions: zeros of the right shape, kind and precision."""
    x, t = np.ones(2, np.float32), mg.Tensor(3.0, requires_grad=True)
    constant = mg.Tensor(2.0)
    for f in (lambda x, t: constant, lambda x, t: constant * 3):
        by_x, by_t = mg.grad(f, (0, 1))(x, t)
        assert (type(by_x), by_x.shape, by_x.dtype) == (mg.Tensor, (2,), np.float32)
        assert (type(by_t), type(by_t._data), by_t.shape) == (mg.Tensor, np.ndarray, ())
        assert mg.jvp(f, (x, t), (x, t))[1].item() == 0.0
        assert mg.jacobian(f)(x, t).tolist() == [0.0, 0.0]
    assert mg.hvp(lambda x: 3 * x, 2.0, 1.0) == (6.0, 0.0)
    assert mg.hessian(lambda x: x)(2.0) == 0.0
    assert mg.hessian(mg.sum)(np.ones((0, 2))).shape == (0, 2, 0, 2)
    assert mg.jvp(lambda x, y: x * x, (3.0, 1.0), (0.0, 1.0))[1] == 0.0


def test_no_grad_around_a_vjp_function() -> None:
    """Modes are those of the call that makes the number."""
    x = mg.Value(3.0)
    _, pull = mg.vjp(lambda x: x * x, x)
    with mg.no_grad():
        assert not pull(1.0)[0].requires_grad
    assert pull(1.0)[0].requires_grad
    assert pull(mg.Value(2.0))[0].data == 12.0


def test_auxiliary_output() -> None:
    """has_aux passes on whatever else the function gives: containers, strings, and nodes as results are given."""
    f = lambda x: (x * x, {"twice": x * 2, "word": "kept"})
    aux = {"twice": 6.0, "word": "kept"}
    assert mg.value_and_grad(f, has_aux=True)(3.0) == ((9.0, aux), 6.0)
    assert mg.grad(f, has_aux=True)(3.0) == (6.0, aux)
    assert mg.jacobian(f, has_aux=True)(3.0) == (6.0, aux)
    assert mg.jvp(f, (3.0,), (1.0,), has_aux=True) == (9.0, 6.0, aux)
    output, pull, also = mg.vjp(f, 3.0, has_aux=True)
    assert (output, pull(1.0), also) == (9.0, (6.0,), aux)
    x = mg.Value(3.0)
    _, also = mg.grad(f, has_aux=True)(x)
    assert mg.grad(also["twice"], x) == (2.0,)


def test_keywords_names_and_other_arguments() -> None:
    """Other arguments, and keywords, go to the function as they are; the result is named after both."""

    def f(x: Any, how: str, *, power: int) -> Any:
        assert how == "as it is"
        return x**power

    gradient = mg.grad(f)
    assert gradient(2.0, "as it is", power=3) == 12.0
    assert gradient.__name__ == "grad(f)"
    assert mg.hessian(f).__name__ == "hessian(f)"


# -------------------------------------------------------------------------------------------------- bad input

ONES = np.ones(2)


@pytest.mark.parametrize(
    ("call", "kind", "words"),
    [
        (lambda: mg.value_and_grad(3.0), TypeError, "value_and_grad: expected a function, got float"),
        (lambda: mg.jvp(3.0, (), ()), TypeError, "jvp: expected a function"),
        (lambda: mg.jacobian(mg.exp, argnums=1.0), TypeError, "argnums: expected an int or a tuple of ints, got 1.0"),
        (lambda: mg.jacobian(mg.exp, argnums=()), TypeError, "argnums: expected"),
        (lambda: mg.jacobian(mg.exp, argnums=(0, 0)), ValueError, "argnums elements must be unique"),
        (lambda: mg.grad(mg.multiply, (0, -2))(1.0, 2.0), ValueError, "argnums elements must be unique"),
        (lambda: mg.jacobian(mg.exp, argnums=3)(1.0), ValueError, "got argnum=3, but only 1 positional inputs"),
        (lambda: mg.vjp(lambda: 1.0), ValueError, "nothing to differentiate by"),
        (lambda: mg.grad(mg.exp)({}), ValueError, "nothing to differentiate by"),
        (lambda: mg.grad(lambda x: None)(1.0), TypeError, "return a Value or a Tensor, got NoneType"),
        (lambda: mg.grad(lambda x: "a")(1.0), TypeError, "return a Value or a Tensor, got str"),
        (lambda: mg.grad(lambda x: 3.0)(1.0), TypeError, "got float (a plain number: did it leave the graph"),
        (lambda: mg.grad(lambda x: x.detach().numpy())(ONES), TypeError, "got ndarray"),
        (lambda: mg.grad(lambda x: x)(ONES), ValueError, "only for scalar outputs: the function returned shape (2,)"),
        (lambda: mg.grad(lambda x: (x, x))(1.0), TypeError, "expected the function to return one number, got a tuple"),
        (lambda: mg.grad(lambda x: mg.Tensor(1))(1.0), TypeError, "a Tensor of int64, which has no gradient"),
        (lambda: mg.jacobian(lambda x: {"a": [x, None]})(1.0), TypeError, "got NoneType at ['a'][1]"),
        (lambda: mg.grad(mg.exp)("a"), TypeError, "argument 0: Value: expected a number, got str"),
        (lambda: mg.grad(mg.exp)(None), TypeError, "argument 0"),
        (lambda: mg.grad(mg.exp)({"w": [1.0, "b"]}), TypeError, "argument 0['w'][1]"),
        (lambda: mg.grad(mg.exp)(np.arange(3)), TypeError, "floating point dtype"),
        (lambda: mg.grad(mg.exp)(np.array([1.0, None])), TypeError, "object"),
        (lambda: mg.grad(mg.exp)(1j), TypeError, "a real one"),
        (lambda: mg.grad(mg.exp, has_aux=True)(1.0), TypeError, "has_aux=True: expected the function to return"),
        (lambda: mg.jvp(mg.exp, 1.0, 1.0), TypeError, "expected primals to be a tuple"),
        (lambda: mg.jvp(mg.exp, (1.0,), (1.0, 1.0)), ValueError, "tangents: expected 1 items, got 2"),
        (lambda: mg.jvp(mg.exp, (ONES,), (np.ones(3),)), ValueError, "tangents[0]: expected an array of shape (2,)"),
        (lambda: mg.jvp(mg.exp, (1.0,), (ONES,)), TypeError, "tangents[0]"),
        (lambda: mg.jvp(mg.exp, (ONES,), (None,)), (TypeError, ValueError), "tangents[0]"),
        (lambda: mg.jvp(mg.exp, ({"a": 1.0},), ({"b": 1.0},)), ValueError, "expected the keys ['a'], got ['b']"),
        (lambda: mg.jvp(mg.exp, ({"a": 1.0},), (1.0,)), TypeError, "tangents[0]: expected a dict, got float"),
        (lambda: mg.vjp(lambda x: (x, x), 1.0)[1](1.0), TypeError, "cotangents: expected a tuple, got float"),
        (lambda: mg.vjp(mg.exp, ONES)[1](np.ones(3)), ValueError, "cotangents: expected an array of shape (2,)"),
        (lambda: mg.hvp(mg.sum, ONES, np.ones(3)), ValueError, "tangents"),
        (lambda: mg.hvp(mg.exp, ONES, ONES), ValueError, "only for scalar outputs"),
        (lambda: mg.grad(mg.exp, mg.Value(1.0)), TypeError, "write mg.grad(func)(x)"),
        (lambda: mg.grad(mg.Value(1.0), mg.Value(1.0), argnums=1), TypeError, "argnums and has_aux are for functions"),
    ],
)  # fmt: skip
def test_bad_calls(call: Any, kind: Any, words: str) -> None:
    """Bad input: an error that says what was given, what was expected, and where."""
    with pytest.raises(kind) as error:
        call()
    assert words in str(error.value)
    assert "test_transforms.py:" in str(error.value)


def test_wrong_numbers_of_arguments_are_the_function_s_own_error() -> None:
    """What Python says of a call of the user's function reaches the user."""
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        mg.grad(lambda x, y: x * y)(1.0)


def whole(x: Any) -> Any:
    x.data = x.data * 2
    return mg.sum(x * x)


def element(x: Any) -> Any:
    x.data[0] = 5.0
    return mg.sum(x * x)


@pytest.mark.parametrize("write", [whole, element])
@pytest.mark.parametrize("make", [np.array, mg.Tensor, lambda x: mg.Tensor(x, requires_grad=True)])
def test_a_function_that_writes_to_its_argument(write: Any, make: Any) -> None:
    """Its derivative would be that at another point: an error, and what the caller gave is as it was."""
    x = make([1.0, 2.0])
    with pytest.raises(mg.StaleError, match=r"wrote to the data of its argument 0.*test_transforms"):
        mg.grad(write)(x)
    assert x.tolist() == [1.0, 2.0]


def test_a_function_may_write_to_its_containers() -> None:
    """They are its own: what the caller gave stays whole."""

    def f(p: Any) -> Any:
        w = p.pop("w")
        p["v"] = p["v"] * 2
        return w * p["v"]

    p = {"w": 3.0, "v": 4.0}
    assert mg.grad(f)(p) == {"w": 8.0, "v": 6.0}
    assert p == {"w": 3.0, "v": 4.0}


def test_a_derivative_that_is_not_linear() -> None:
    """A wrt_* that forgets g has no forward mode, and says so, in place of 0."""

    class forgetful(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x: Any) -> Any:
            return x * x

        def wrt_x(g: Any, z: Any, x: Any) -> Any:
            return 2 * x

    for x in (3.0, ONES):
        with pytest.raises(ValueError, match="not linear in g"):
            mg.jvp(lambda x: mg.apply(forgetful, x), (x,), (x,))


# ------------------------------------------------------------------------------------------------- other engines


@pytest.mark.oracles
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_they_are_torch_s() -> None:
    """Values and layouts of torch.func's transforms, on arguments and outputs in containers."""
    torch = pytest.importorskip("torch")

    def f(m: Any, p: Any, y: Any) -> Any:
        return {"both": m.tanh(p["a"] * y), "sum": [m.sum(m.exp(p["a"]) * y)]}

    a, y = np.array([[0.5, -1.0, 2.0]]), np.array([[1.0], [0.25]])
    given = {"a": torch.tensor(a)}, torch.tensor(y)
    for name, ours in [("jacrev", mg.jacobian), ("jacfwd", mg.jacobian), ("hessian", mg.hessian)]:
        for argnums in (0, 1, (0, 1), (1,)):
            expected = getattr(torch.func, name)(lambda p, y: f(torch, p, y), argnums)(*given)
            found = ours(lambda p, y: f(mg, p, y), argnums)({"a": a}, y)
            theirs, structure = torch.utils._pytree.tree_flatten(expected)
            flat, same = torch.utils._pytree.tree_flatten(found)
            assert structure == same
            for x, z in zip(flat, theirs, strict=True):
                assert x.shape == tuple(z.shape)
                np.testing.assert_allclose(x, z.numpy(), rtol=1e-12, atol=1e-15)
    tangents = {"a": np.full_like(a, 0.5)}, np.full_like(y, -2.0)
    _, expected = torch.func.jvp(
        lambda p, y: f(torch, p, y), given, ({"a": torch.tensor(tangents[0]["a"])}, torch.tensor(tangents[1]))
    )
    _, found = mg.jvp(lambda p, y: f(mg, p, y), ({"a": a}, y), tangents)
    np.testing.assert_allclose(found["both"], expected["both"].numpy(), rtol=1e-12)
    np.testing.assert_allclose(found["sum"][0], expected["sum"][0].numpy(), rtol=1e-12)
    scalar = lambda m: lambda x: m.sum(m.exp(x) * m.sin(x))
    value, product = torch.autograd.functional.hvp(scalar(torch), torch.tensor(a), torch.ones(1, 3).double())
    ours = mg.hvp(scalar(mg), a, np.ones((1, 3)))
    np.testing.assert_allclose(ours[0], value.numpy(), rtol=1e-14)
    np.testing.assert_allclose(ours[1], product.numpy(), rtol=1e-13)


@pytest.mark.oracles
def test_they_are_hips_autograd_s() -> None:
    """grad, elementwise_grad, hessian and Hessian-vector products are HIPS autograd's."""
    autograd = pytest.importorskip("autograd")
    anp = pytest.importorskip("autograd.numpy")
    x, v = np.array([0.5, -1.25, 2.0]), np.array([1.0, 2.0, -1.0])
    f = lambda m: lambda x: m.sum(m.tanh(x) * m.exp(-x * x)) * x[0]
    np.testing.assert_allclose(mg.grad(f(mg))(x), autograd.grad(f(anp))(x), rtol=1e-13)
    np.testing.assert_allclose(mg.hessian(f(mg))(x), autograd.hessian(f(anp))(x), rtol=1e-12)
    g = lambda m: lambda x: m.sin(x) * m.exp(x)
    np.testing.assert_allclose(
        mg.elementwise_grad(mg.elementwise_grad(g(mg)))(x),
        autograd.elementwise_grad(autograd.elementwise_grad(g(anp)))(x),
        rtol=1e-13,
    )
    product = autograd.hessian_vector_product(f(anp))(x, v)
    np.testing.assert_allclose(mg.hvp(f(mg), x, v)[1], product, rtol=1e-12)


@pytest.mark.parametrize(
    ("function", "number", "words"),
    [
        (mg.exp, Fraction(1, 2), "exp: has no meaning for a fraction"),
        (mg.mean, Fraction(1, 2), "mean: has no meaning for a fraction"),
        (lambda x: mg.softmax(x)[0], sympy.Symbol("s"), "softmax: has no meaning for a symbol"),
        (mg.relu, sympy.Symbol("s"), "relu: has no meaning for a symbol"),
        (lambda x: mg.sum(x * ONES), Fraction(1, 2), "multiply: .*a list of Values"),
        (lambda x: mg.stack([x, x]), mpmath.mpf(1), "stack: .*has no meaning for an mpmath number"),
    ],
)
def test_what_has_no_meaning_says_so(function: Any, number: Any, words: str) -> None:
    """The operation and the kind of number are named, whatever transform asked for it."""
    for run in (mg.grad(function), mg.hessian(function), lambda x: mg.jvp(function, (x,), (x,))):
        with pytest.raises(TypeError, match=words):
            run(number)


def test_errors_name_the_transform_that_was_called() -> None:
    """`mg.grad(f)` is no value_and_grad."""
    for transform, name in ((mg.grad, "grad"), (mg.value_and_grad, "value_and_grad")):
        with pytest.raises(TypeError, match=rf"^{name}: expected the function to return"):
            transform(lambda x: 3.0)(1.0)
        assert transform(mg.sin).__name__ == f"{name}(sin)"
