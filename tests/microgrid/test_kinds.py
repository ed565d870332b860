"""One rule, every number: the same functions on floats, arrays, nodes, mpmath's numbers, symbols and code.

On symbols an agreement is a proof: the share that a rule gives, less SymPy's derivative of the value, is 0.
"""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from typing import Any

import mpmath
import numpy as np
import pytest
import sympy

import microgrid as mg
from microgrid import kinds, rules
from microgrid.emitter import Code
from tests.microgrid.checking import EXACT, close, mp_derivative, numbers, varied
from tests.microgrid.families import Case
from tests.microgrid.table import ROW_OF, ROWS, SCALAR_ROWS, Row

NINE = (
    rules.add, rules.multiply, rules.divide, rules.power, rules.matmul, rules.sum, rules.index, rules.where,
    rules.concatenate,
)  # fmt: skip
OF_TWO = (rules.add, rules.multiply, rules.divide, rules.power)
OF_ARRAYS = {  # rule: shapes of the inputs, parameters
    rules.add: [((2, 3), (3,)), {}],
    rules.multiply: [((2, 1), (1, 3)), {}],
    rules.divide: [((2, 3), ()), {}],
    rules.matmul: [((2, 3), (3, 2)), {}],
    rules.sum: [((2, 3),), {"axis": 0, "keepdims": False}],
    rules.index: [((3, 2),), {"at": (np.array([0, 0, 2]), slice(None))}],
    rules.concatenate: [((2, 1), (2, 2)), {"axis": 1}],
}


def symbols(name: str, shape: tuple[int, ...]) -> Any:
    """An array of symbols, x_0, x_1, ..."""
    array = np.empty(shape, object)
    for number, place in enumerate(np.ndindex(shape)):
        array[place] = sympy.Symbol(f"{name}_{number}", positive=True)
    return array


def shares_of(rule: Any, g: Any, z: Any, xs: Any, parameters: dict[str, Any]) -> list[Any]:
    """The raw functions of a rule, called as the walk calls them, each share fitted to its input's shape."""
    if rule.variadic:
        shares = rule.wrt[0](g, z, *xs, **parameters)
    else:
        shares = [wrt(g, z, *xs, **parameters) if wrt else None for wrt in rule.wrt]
    return [None if share is None else fitted(share, np.shape(x)) for share, x in zip(shares, xs, strict=True)]


def fitted(share: Any, shape: tuple[int, ...]) -> Any:
    """A share, whatever it holds, in the shape of its input: summed over what broadcasting repeated, or spread."""
    share = np.asarray(share, object)
    if share.size <= math.prod(shape):
        return np.broadcast_to(share, shape)
    repeated = share.ndim - len(shape)
    total = np.sum(share, axis=tuple(range(repeated)), keepdims=True, initial=0).reshape(share.shape[repeated:])
    alone = tuple(a for a, n in enumerate(shape) if n == 1)
    return np.asarray(np.sum(total, axis=alone, keepdims=True) if alone else total, object)


# ------------------------------------------------------------------------------------------------------ symbols


@pytest.mark.parametrize("rule", OF_ARRAYS, ids=lambda rule: rule.__name__)
def test_proofs_on_arrays_of_symbols(rule: Any) -> None:
    """With L = sum g z, each share less dL/dx is identically 0, entry by entry."""
    shapes, parameters = OF_ARRAYS[rule]
    xs = [symbols(name, shape) for name, shape in zip("xyw", shapes, strict=False)]
    z = np.asarray(kinds.array_kind.apply(rule, xs, parameters))
    g = symbols("g", z.shape)
    L = (g * z).sum()
    for x, share in zip(xs, shares_of(rule, g, z, xs, parameters), strict=True):
        assert share.shape == x.shape
        for symbol, given in zip(x.ravel(), share.ravel(), strict=True):
            assert sympy.expand(given - sympy.diff(L, symbol)) == 0


def test_a_proof_of_where_on_symbols() -> None:
    """The condition is a constant: each share is g where its input was taken, and 0 elsewhere."""
    x, y, g = (symbols(name, (3,)) for name in "xyg")
    c = np.array([True, False, True])
    z = rules.where(c, x, y)
    by_x, by_y = rules.where.wrt[1](g, z, c, x, y), rules.where.wrt[2](g, z, c, x, y)
    assert list(by_x) == [g[0], 0, g[2]]
    assert list(by_y) == [0, g[1], 0]
    assert list(z) == [x[0], y[1], x[2]]


PROVABLE = [
    row
    for row in SCALAR_ROWS
    if row.rule.__name__
    not in ("relu", "leaky_relu", "maximum", "minimum", "clip", "where", "total", "dot", "sign", "abs")
]


@pytest.mark.parametrize("row", PROVABLE, ids=repr)
def test_proofs_on_symbols(row: Row) -> None:
    """A Value may hold a symbol: dz/dx less SymPy's derivative of the table's formula simplifies to 0."""
    names = sympy.symbols(f"x:{row.family.scalars}", positive=True)
    values = [mg.Value(name) for name in names]
    z = row.rule(*values)
    formula = row.formula(sympy, *names)
    assert sympy.simplify(sympy.expand_log(z.data - formula, force=True).rewrite(sympy.exp)) == 0 or _vanishes(
        z.data - formula, names
    )
    for name, share in zip(names, mg.grad(z, values), strict=True):
        residue = share - sympy.diff(formula, name)
        assert sympy.simplify(residue.rewrite(sympy.exp)) == 0 or sympy.simplify(residue) == 0


def _vanishes(expression: Any, names: Any) -> bool:
    """Zero to 40 digits at points of no pattern, where simplify does not see that it is zero."""
    points = [sympy.Rational(7, 9), sympy.Rational(13, 11), sympy.Rational(5, 17)]
    at = [dict(zip(names, chosen, strict=True)) for chosen in itertools.permutations(points, len(names))]
    return all(abs(expression.evalf(50, subs=values)) < 1e-40 for values in at)


def test_the_gradient_of_a_neuron_is_a_minus_y() -> None:
    """For a = sigmoid(w x + b) and the cross-entropy C(a, y): dC/dz is a - y, and dC/dw is (a - y) x, identically."""
    x, w, b, y = sympy.symbols("x w b y", real=True)
    wv, bv = mg.Value(w), mg.Value(b)
    z = wv * x + bv
    a = mg.sigmoid(z)
    cost = -(y * mg.log(a) + (1 - y) * mg.log(1 - a))
    by_z, by_w = mg.grad(cost, (z, wv))
    expected = 1 / (1 + sympy.exp(-(w * x + b))) - y
    assert sympy.simplify(by_z - expected) == 0
    assert sympy.simplify(by_w - expected * x) == 0


def test_second_derivatives_of_symbols() -> None:
    """d2/dx2 of x^3 y is 6 x y, and d2/dxdy is 3 x^2: as expressions."""
    x, y = sympy.symbols("x y", positive=True)
    xv, yv = mg.Value(x), mg.Value(y)
    (first,) = mg.grad(xv**3 * yv, xv, create_graph=True)
    by_x, by_y = mg.grad(first, (xv, yv))
    assert sympy.simplify(by_x - 6 * x * y) == 0
    assert sympy.simplify(by_y - 3 * x**2) == 0


def test_a_choice_that_no_symbol_decides_is_refused() -> None:
    """relu of a symbol is neither x nor 0: a TypeError says so."""
    with pytest.raises(TypeError, match="symbol"):
        mg.relu(mg.Value(sympy.Symbol("x")))


# ------------------------------------------------------------------------------------------------------- mpmath


@pytest.mark.parametrize("row", [row for row in SCALAR_ROWS if row.rule not in (rules.where,)], ids=repr)
def test_fifty_digits(row: Row) -> None:
    """On mpmath's numbers value and gradients are right to 45 of 50 digits."""
    case = next((c for c in row.family.fixed if set(c.inputs) == {()}), Case(((),) * row.family.scalars))
    xs = [mpmath.mpf(float(x)) for x in numbers(row, case)]
    with mpmath.workdps(50):
        values = [mg.Value(x) for x in xs]
        z = row.rule(*values, **case.parameters)
        assert isinstance(z.data, mpmath.mpf)
        parameters = {name: mpmath.mpf(number) for name, number in case.parameters.items()}
        exact = row.formula(mpmath, *xs, **parameters)
        assert abs(z.data - exact) <= mpmath.mpf(10) ** -45 * (1 + abs(exact))
        for i, share in enumerate(mg.grad(z, values)):
            orders = tuple(int(i == j) for j in range(len(xs)))
            expected = mpmath.diff(lambda *at: row.formula(mpmath, *at, **parameters), tuple(xs), orders)
            assert abs(share - expected) <= mpmath.mpf(10) ** -40 * (1 + abs(expected))


@pytest.mark.parametrize("rule", OF_TWO, ids=lambda rule: rule.__name__)
def test_raw_functions_on_mpmath_numbers(rule: Any) -> None:
    """`value` and `wrt_*` are plain functions: called on mpf they give mpf."""
    row = ROW_OF[rule]
    with mpmath.workdps(50):
        x, y, g = mpmath.mpf(3) / 7, mpmath.mpf(5) / 3, mpmath.mpf(2) / 9
        z = rule.value(x, y)
        assert abs(z - row.formula(mpmath, x, y)) < 1e-45
        for i, share in enumerate((rule.wrt[0](g, z, x, y), rule.wrt[1](g, z, x, y))):
            expected = g * mpmath.diff(lambda *at: row.formula(mpmath, *at), (x, y), (1 - i, i))
            assert isinstance(share, mpmath.mpf)
            assert abs(share - expected) < 1e-40


@pytest.mark.parametrize("rule", OF_ARRAYS, ids=lambda rule: rule.__name__)
def test_arrays_of_mpmath_numbers(rule: Any) -> None:
    """The rules of arrays run on arrays of mpf and give what they give on floats."""
    row = ROW_OF[rule]
    shapes, parameters = OF_ARRAYS[rule]
    xs = numbers(row, Case(tuple(shapes), parameters))
    to_mpf = np.frompyfunc(lambda x: mpmath.mpf(float(x)), 1, 1)
    precise = [np.asarray(to_mpf(x), object) for x in xs]
    z, exact = (kinds.array_kind.apply(rule, given, parameters) for given in (xs, precise))
    close(z, np.asarray(exact, float), EXACT)
    for share, expected in zip(
        shares_of(rule, np.ones(np.shape(z)), z, xs, parameters),
        shares_of(rule, np.asarray(to_mpf(np.ones(np.shape(z))), object), exact, precise, parameters),
        strict=True,
    ):
        assert {type(number) for number in expected.ravel()} <= {
            mpmath.mpf,
            int,
        }  # a place that nothing reached holds 0
        close(np.asarray(share, float), np.asarray(expected, float), EXACT)


# ------------------------------------------------------------------------------------------------------ fractions


@pytest.mark.parametrize(
    "rule",
    [
        rules.add,
        rules.subtract,
        rules.multiply,
        rules.divide,
        rules.negative,
        rules.square,
        rules.abs,
        rules.relu,
        rules.maximum,
        rules.clip,
    ],
    ids=lambda rule: rule.__name__,
)
def test_fractions_stay_exact(rule: Any) -> None:
    """No float creeps in: value and gradients are fractions, and those of the formula."""
    row = ROW_OF[rule]
    xs = [Fraction(-3, 7), Fraction(5, 3)][: row.family.scalars]
    parameters = {"min": Fraction(-1, 2), "max": Fraction(3, 4)} if rule is rules.clip else {}
    values = [mg.Value(x) for x in xs]
    z = rule(*values, **parameters)
    assert type(z.data) is Fraction
    case = Case(((),) * len(xs), parameters)
    with mpmath.workdps(50):
        given = mg.grad(z, values)
    for i, share in enumerate(given):
        assert type(share) in (Fraction, int)
        expected = mp_derivative(
            row,
            Case(case.inputs, {k: float(v) for k, v in parameters.items()}),
            [float(x) for x in xs],
            [int(i == j) for j in range(len(xs))],
        )
        close(float(share), expected, EXACT)


OPERATORS = {
    "+": (lambda x, y: x + y), "-": (lambda x, y: x - y), "*": (lambda x, y: x * y), "/": (lambda x, y: x / y),
    "**": (lambda x, y: x**y),
}  # fmt: skip


@pytest.mark.parametrize("symbol", OPERATORS)
@pytest.mark.parametrize(
    "number",
    [Fraction(3, 2), mpmath.mpf(1.5), sympy.Symbol("s", positive=True), np.float64(1.5), np.float32(1.5)],
    ids=lambda x: type(x).__name__,
)
def test_a_number_on_either_side_of_a_value_stays_in_the_graph(number: Any, symbol: str) -> None:
    """Whatever its kind, and though its own operators come first when it stands on the left: the result is a node."""
    operator, x = OPERATORS[symbol], mg.Value(2.0)
    for node, plain in ((operator(number, x), operator(number, 2.0)), (operator(x, number), operator(2.0, number))):
        assert isinstance(node, mg.Node)
        assert node.requires_grad
        difference = node.item() - plain
        at = dict.fromkeys(sympy.sympify(difference).free_symbols, 1.5)
        assert abs(complex(sympy.sympify(difference).subs(at))) < 1e-12
        assert mg.grad(node, x)


# ---------------------------------------------------------------------------------------------------------- nodes


@pytest.mark.parametrize("rule", NINE, ids=lambda rule: rule.__name__)
def test_derivatives_on_nodes_are_nodes(rule: Any) -> None:
    """Run on nodes, a `wrt_*` gives a node with the very numbers that it gives on arrays."""
    row = ROW_OF[rule]
    for case in row.family.fixed[:6]:
        xs, positions = numbers(row, case), varied(case)
        nodes = [mg.Tensor(x, requires_grad=True) if i in positions else x for i, x in enumerate(xs)]
        z = rule(*nodes, **case.parameters)
        g = np.random.default_rng(3).normal(size=z.shape)
        variables = [nodes[i] for i in positions]
        plain = mg.grad(z, variables, grad_outputs=g)
        recorded = mg.grad(z, variables, grad_outputs=mg.Tensor(g, requires_grad=True), create_graph=True)
        for array, node in zip(plain, recorded, strict=True):
            assert isinstance(node, mg.Tensor)
            assert node.requires_grad
            np.testing.assert_allclose(node._data, array, rtol=1e-15, atol=0)


# ------------------------------------------------------------------------------------------------------------ code


def run(code: Any, **numbers: Any) -> Any:
    return eval(str(code), dict(kinds.float_kind.elementary), numbers) if isinstance(code, Code) else code


@pytest.mark.parametrize("row", [row for row in SCALAR_ROWS if not row.rule.variadic], ids=repr)
def test_code_is_the_function_that_it_was_written_by(row: Row) -> None:
    """Each elementwise rule writes itself and its derivatives as Python text, which gives the float's bits when run."""
    rule, setting = (
        row.rule,
        next(
            case for case in row.family.fixed if all(np.size(x) == 0 or not isinstance(x, tuple) for x in case.inputs)
        ),
    )
    parameters, names = setting.parameters, ["x", "y"][: row.family.scalars]
    constants = [True] if rule is rules.where else []
    for seed in range(3):
        xs = [float(x) for x in numbers(row, Case(((),) * len(names), parameters), seed)]
        at = dict(zip(names, xs, strict=True))
        inputs = constants + xs
        z = kinds.float_kind.apply(rule, inputs, parameters)
        written = rule(*constants, *map(Code, names), **parameters)
        assert run(written, **at) == z
        for wrt in rule.wrt:
            if wrt is not None:
                text = wrt(Code("g"), Code("z"), *constants, *map(Code, names), **parameters)
                assert run(text, g=1.75, z=z, **at) == wrt(1.75, z, *inputs, **parameters)


@pytest.mark.parametrize(
    "rule", [rules.matmul, rules.sum, rules.index, rules.concatenate], ids=lambda rule: rule.__name__
)
def test_arrays_of_code(rule: Any) -> None:
    """Rules of arrays write one line of code for each number, of the value and of each share."""
    row = ROW_OF[rule]
    shapes, parameters = OF_ARRAYS[rule]
    xs = numbers(row, Case(tuple(shapes), parameters))
    at: dict[str, float] = {}

    def named(name: str, x: Any) -> Any:
        array = np.empty(x.shape, object)
        for number, place in enumerate(np.ndindex(x.shape)):
            array[place] = Code(f"{name}{number}")
            at[f"{name}{number}"] = float(x[place])
        return array

    written = [named(name, x) for name, x in zip("xy", xs, strict=False)]
    z, text = (np.asarray(kinds.array_kind.apply(rule, given, parameters)) for given in (xs, written))
    evaluate = np.frompyfunc(lambda code: run(code, **at), 1, 1)
    close(np.asarray(evaluate(text), float), z, EXACT)
    g = np.random.default_rng(5).normal(size=z.shape)
    for share, code in zip(
        shares_of(rule, g, z, xs, parameters), shares_of(rule, named("g", g), text, written, parameters), strict=True
    ):
        close(np.asarray(evaluate(code), float), np.asarray(share, float), EXACT)


# ---------------------------------------------------------------------------------------------------- dispatch


def test_of_several_kinds_the_highest_decides() -> None:
    """float < array < fraction < mpmath number < symbol < code < node, wherever among the arguments it stands."""
    ascending = [1.0, np.ones(2), Fraction(1), mpmath.mpf(1), sympy.Symbol("x"), Code("x"), mg.Value(1.0)]
    ranks = [kinds.kind_of(x).rank for x in ascending]
    assert ranks == sorted(set(ranks))
    for (i, low), (j, high) in itertools.combinations(enumerate(ascending), 2):
        assert kinds.highest((low, high)).rank == kinds.highest((high, low)).rank == ranks[j] > ranks[i]


@pytest.mark.parametrize("wrong", ["1", None, 1j, [1.0], {"a": 1}, object()])
def test_what_is_no_number_is_refused(wrong: Any) -> None:
    """A TypeError says what was expected and what came."""
    with pytest.raises(TypeError, match="expected"):
        rules.exp(wrong)


def test_every_kind_has_every_elementary_rule() -> None:
    """A rule without a `value` of its own is known to arrays; one of numbers to floats and mpmath's numbers too."""
    for row in ROWS:
        if row.rule.value is None:
            assert kinds.array_kind.function(row.rule)
            for number in (1.0, mpmath.mpf(1)) if row.family.scalars else ():
                assert kinds.kind_of(number).function(row.rule)


def test_ieee_arithmetic_for_floats() -> None:
    """Where Python raises or leaves the real line, the same rule gives what IEEE 754 says, as a float."""
    inf, nan = float("inf"), float("nan")
    table = [
        (rules.divide, (1.0, 0.0), inf), (rules.divide, (-1.0, 0.0), -inf), (rules.divide, (0.0, 0.0), nan),
        (rules.power, (0.0, -1), inf), (rules.power, (-8.0, 1 / 3), nan), (rules.power, (1e200, 2), inf),
        (rules.exp, (1000.0,), inf), (rules.expm1, (1000.0,), inf), (rules.sqrt, (-1.0,), nan),
        (rules.sin, (inf,), nan),
        (rules.log, (0.0,), -inf), (rules.log, (-1.0,), nan), (rules.log1p, (-1.0,), -inf),
        (rules.sigmoid, (-1000.0,), 0.0), (rules.softplus, (-1000.0,), 0.0), (rules.softplus, (1000.0,), 1000.0),
        (rules.add, (1.0, 10**400), inf), (rules.multiply, (-1.0, 10**400), -inf),
    ]  # fmt: skip
    for rule, xs, expected in table:
        z = rule(*xs)
        assert type(z) is float, rule
        np.testing.assert_equal(z, expected, rule.__name__)
