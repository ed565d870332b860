"""Rules that users write may bear any names, print, count, forget, and return what they were given."""

import math
from fractions import Fraction

import mpmath
import numpy as np
import pytest
import sympy

import microgrid as mg

FACES = {"Value": mg.Value, "Tensor": lambda x: mg.Tensor(x, requires_grad=True)}
faces = pytest.mark.parametrize("make", FACES.values(), ids=FACES)


def product(x: str, y: str) -> type[mg.Rule]:
    """z = x y, with inputs of these names."""
    source = f"""
class product(mg.Rule):
    def value({x}, {y}): return {x} * {y}
    def wrt_{x}(g, z, {x}, {y}): return g * {y}
    def wrt_{y}(g, z, {x}, {y}): return g * {x}
"""
    names = {"mg": mg, "__name__": "users"}
    exec(source, names)
    return names["product"]


@faces
@pytest.mark.parametrize(
    "name", ["share", "node", "before", "Value", "Node", "exactly", "inputs", "rule", "kind", "np"]
)
def test_inputs_of_any_name(name, make):
    """The names of a user's inputs meet no name of emitted code: d(xy) is y dx + x dy in every pass."""
    x, y = make(2.0), make(3.0)
    z = mg.apply(product(name, "y"), x, y)
    z.backward()
    assert (x.grad, y.grad) == (3.0, 2.0)
    assert mg.grad(z, (x, y)) == (3.0, 2.0)


@faces
def test_a_rule_named_like_ours_keeps_its_own_value(make):
    """A straight-through sign with 1 at 0 gives 1 there, whatever the engine's own sign says."""

    class sign(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return mg.where(x >= 0, 1, -1) * (x * 0 + 1)

        def wrt_x(g, z, x):
            return g

    x = make(0.0)
    z = mg.apply(sign, x)
    z.backward()
    assert (z.item(), x.grad) == (1.0, 1.0)


@faces
def test_a_derivative_that_returns_an_input(make):
    """What a `wrt_*` returns is copied where a node holds it: writing to the gradient changes nothing else."""

    class odd(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x, y):
            return x * y

        def wrt_x(g, z, x, y):
            return y

        def wrt_y(g, z, x, y):
            return x

    x, constant = make(2.0), np.array(5.0)
    z = mg.apply(odd, x, constant)
    z.backward()
    if isinstance(x.grad, np.ndarray):
        x.grad[...] = 0
    x.zero_grad()
    z.backward()
    assert x.grad == 5.0


@faces
def test_too_few_shares_are_refused(make):
    """One `wrt_xs` that forgets an input is a ValueError, in every pass."""

    class add_all(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(*xs):
            return sum(xs)

        def wrt_xs(g, z, *xs):
            return [g] * (len(xs) - 1)

    x, y = make(2.0), make(3.0)
    z = mg.apply(add_all, x, y)
    for run in (z.backward, lambda: mg.grad(z, y)):
        with pytest.raises(ValueError, match="1 shares for 2 inputs"):
            run()


def test_a_complex_share_is_run_again_as_ieee_says():
    """(-2)^0.5 in a user's derivative is nan, never complex, in every pass."""

    class half(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * 1

        def wrt_x(g, z, x):
            return g * x**0.5

    x = mg.Value(-2.0)
    z = mg.apply(half, x)
    z.backward()
    assert math.isnan(x.grad)
    assert math.isnan(mg.grad(z, x)[0])


def test_an_error_of_its_own_is_shown():
    """What a user's value raises is told by the operation's name, with the user's own error behind it."""

    class floor(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return float(math.floor(x))

        def wrt_x(g, z, x):
            return g * 0

    with pytest.raises(OverflowError):
        mg.apply(floor, mg.Value(math.inf))
    with pytest.raises(TypeError, match="floor") as error:
        mg.apply(floor, mg.Tensor(np.ones(2), requires_grad=True))
    assert error.value.__cause__ is not None


def test_array_parameters_are_the_rule_s_own():
    """An array handed in as a parameter may be written to afterwards: the gradient is that of what was computed."""

    class scale(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x, *, w):
            return x * w

        def wrt_x(g, z, x, *, w):
            return g * w

    x, w = mg.Tensor([1.0, 2.0], requires_grad=True), np.array([3.0, 4.0])
    z = mg.apply(scale, x, w=w).sum()
    w[:] = 0
    z.backward()
    assert x.grad.tolist() == [3.0, 4.0]


def test_arrays_of_subclasses():
    """A memmap-like view is copied, a np.matrix is the array that it is, a masked array is refused."""

    class View(np.ndarray):
        pass

    x, a = mg.Tensor([1.0, 2.0], requires_grad=True), np.array([3.0, 4.0])
    z = (x * a.view(View)).sum()
    a[:] = 0
    z.backward()
    assert x.grad.tolist() == [3.0, 4.0]
    square = mg.Tensor(np.ones((2, 2)), requires_grad=True)
    with pytest.warns(PendingDeprecationWarning):
        matrix = np.matrix([[1.0, 2.0], [3.0, 4.0]])
    z = square * matrix
    assert z.tolist() == matrix.tolist()
    for call in (
        lambda: x * np.ma.masked_array([1.0, 2.0], [True, False]),
        lambda: mg.Tensor(np.ma.masked_array([1.0])),
    ):
        with pytest.raises(TypeError, match="masked"):
            call()


def test_an_array_that_a_rule_gives_back_is_watched():
    """flip of a number without axes is the very array that was handed out: a later write is not believed."""
    x, c = mg.Tensor(2.0, requires_grad=True), mg.Tensor(3.0)
    handed = c.numpy()
    z = x * mg.flip(c)
    handed[...] = 7.0
    z.backward()
    assert x.grad == 3.0


@faces
def test_a_pass_within_a_pass(make):
    """A derivative may run a backward pass of its own; both count."""
    t = make(2.0)

    class nested(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * 1

        def wrt_x(g, z, x):
            (t * 5).sum().backward() if isinstance(t, mg.Tensor) else (t * 5).backward()
            return g

    (mg.apply(nested, t) * 6).backward()
    assert t.grad == 11.0


@faces
def test_an_interrupted_pass_leaves_gradients_as_they_were(make):
    """Ctrl-C in a derivative: every `.grad` is what it was before."""

    class interrupted(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * 1

        def wrt_x(g, z, x):
            raise KeyboardInterrupt

    x = make(3.0)
    y = x * x
    y.backward()
    z = mg.apply(interrupted, y) + y
    with pytest.raises(KeyboardInterrupt):
        z.backward()
    assert (x.grad, y.grad, z._grad) == (6.0, 1.0, None)


# ------------------------------------------------------------------------------- every number, every derivative


class softsign(mg.Rule):  # noqa: N801 (a rule is a function)
    """z = s x / (1 + x^2) + y: of two inputs, with a parameter, in arithmetic alone."""

    def value(x, y, *, s):
        return s * x / (1 + x * x) + y * y * x

    def wrt_x(g, z, x, y, *, s):
        return g * (s * (1 - x * x) / ((1 + x * x) * (1 + x * x)) + y * y)

    def wrt_y(g, z, x, y, *, s):
        return g * (2 * x * y)


X, Y = sympy.symbols("x y")
FORMULA = 3 * X / (1 + X**2) + Y**2 * X
POINT = (Fraction(2, 3), Fraction(-1, 5))


def user(x, y):
    return mg.apply(softsign, x, y, s=3)


def exact(*by):
    return sympy.diff(FORMULA, *by).subs({X: sympy.Rational(2, 3), Y: sympy.Rational(-1, 5)})


HESSIAN = [[exact(a, b) for b in (X, Y)] for a in (X, Y)]

KINDS = {
    "Fraction": (lambda x: x, lambda z: sympy.Rational(z.numerator, z.denominator), 0),
    "mpf": (lambda x: mpmath.mpf(x.numerator) / x.denominator, lambda z: sympy.Float(str(z), 45), 1e-40),
    "SymPy": (lambda x: sympy.Rational(x.numerator, x.denominator), lambda z: z, 0),
    "float": (float, sympy.Float, 1e-14),
    "array": (lambda x: np.array([float(x)]), lambda z: sympy.Float(z.item()), 1e-14),
}


@pytest.mark.parametrize("kind", KINDS)
def test_on_every_kind_of_number(kind):
    """Value, gradient, Hessian, forward mode and Hv of a user's rule are SymPy's: exact, to 40 digits, or rounded."""
    make, back, tolerance = KINDS[kind]

    def agrees(found, expected):
        return abs(back(found) - expected) <= tolerance * abs(expected)

    with mpmath.workdps(50):
        x, y = map(make, POINT)
        value, gradient = mg.value_and_grad(user, argnums=(0, 1))(x, y)
        assert agrees(value, FORMULA.subs({X: sympy.Rational(2, 3), Y: sympy.Rational(-1, 5)}))
        assert all(agrees(*pair) for pair in zip(gradient, (exact(X), exact(Y)), strict=True))
        found = mg.hessian(user, argnums=(0, 1))(x, y)
        assert all(agrees(found[i][j], HESSIAN[i][j]) for i in range(2) for j in range(2))
        two, three = x * 0 + 2, x * 0 + 3
        assert agrees(mg.jvp(user, (x, y), (two, three))[1], 2 * exact(X) + 3 * exact(Y))
        _, product = mg.hvp(lambda x, y: user(x, y) * 1, (x, y), (two, three))
        assert all(agrees(product[i], 2 * HESSIAN[i][0] + 3 * HESSIAN[i][1]) for i in range(2))
        third = mg.grad(mg.grad(mg.grad(lambda x: mg.sum(user(x, y)) if kind == "array" else user(x, y))))
        if kind != "array":
            assert agrees(third(x), exact(X, X, X))


@faces
def test_it_is_checked_to_second_order(make):
    """gradcheck and gradgradcheck accept it, on both faces, in both modes."""
    for fast in (False, True):
        assert mg.gradcheck(user, [make(0.7), make(-0.2)], fast_mode=fast)
        assert mg.gradgradcheck(user, [make(0.7), make(-0.2)], fast_mode=fast)


@faces
def test_a_constant_derivative_is_recorded(make):
    """A wrt_* may give a plain number, not made of g: recorded passes take it as the constant that it is."""

    class flat(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * 0

        def wrt_x(g, z, x):
            return 0.0

    x = make(2.0)
    (first,) = mg.grad(mg.apply(flat, x) + x * x, x, create_graph=True)
    assert mg.grad(first, x) == (2.0,)
    (first,) = mg.grad(mg.apply(flat, x), x, create_graph=True)
    assert mg.grad(first, x) == (0.0,)


def gives(share):
    class mine(mg.Rule):  # noqa: N801 (a rule is a function)
        def value(x):
            return x * 1

        def wrt_x(g, z, x):
            return share

    return mine


VECTOR = (1.0, 2.0)


@pytest.mark.parametrize(
    ("make", "share", "kind", "words"),
    [
        (lambda: mg.Tensor(VECTOR, requires_grad=True), np.ones(3), ValueError, r"gave shape \(3,\) .* shape \(2,\)"),
        (lambda: mg.Tensor(VECTOR, requires_grad=True), np.ones((2, 3)), ValueError, r"wrt_x gave shape \(2, 3\)"),
        (lambda: mg.Value(2.0), np.ones(3), ValueError, r"wrt_x gave shape \(3,\) for an input of shape \(\)"),
        (lambda: mg.Value(2.0), "a", TypeError, "wrt_x gave str 'a'"),
        (lambda: mg.Value(2.0), [1.0], TypeError, r"wrt_x gave list \[1.0\]"),
        (lambda: mg.Value(2.0), None, TypeError, "lack a `return`"),
        (lambda: mg.Value(Fraction(1, 2)), "a", TypeError, "wrt_x gave str 'a'"),
        (lambda: mg.Tensor(VECTOR, requires_grad=True), None, TypeError, "lack a `return`"),
        (lambda: mg.Tensor(VECTOR, requires_grad=True), "a", ValueError, "wrt_x gave str 'a'"),
        (lambda: mg.Tensor(VECTOR, requires_grad=True), np.array([1.0, None]), TypeError, "got an array of object"),
        (lambda: mg.Tensor(VECTOR, requires_grad=True), np.ones(2) * 1j, TypeError, "got an array of complex128"),
    ],
)  # fmt: skip
def test_a_derivative_that_does_not_fit(make, share, kind, words):
    """Only a pass can tell: it names the rule, the derivative, the shapes, and the line; no `.grad` is written."""
    for create_graph in (False, True):
        x = make()
        z = mg.apply(gives(share), x)
        with pytest.raises(kind, match=f"mine: .*{words}") as error:
            z.backward(np.ones(2) if isinstance(x, mg.Tensor) else None, create_graph=create_graph)
        assert "while differentiating mg.apply(gives(share), x) at test_users_rules.py" in error.value.__notes__[0]
        assert x._grad is None
    if isinstance(x, mg.Tensor):
        with pytest.raises(kind, match=words):
            mg.sum(mg.apply(gives(share), x)).backward()
