"""Fractions, mpmath's numbers and SymPy's expressions enter a graph as themselves, and load nothing before they do."""

import subprocess
import sys
from fractions import Fraction

import mpmath
import pytest
import sympy

import microgrid as mg


def test_nothing_is_imported_before_it_is_needed():
    """Neither importing the engine nor a graph of floats, arrays and fractions loads SymPy or mpmath."""
    program = """
import sys
import microgrid as mg
from fractions import Fraction
x, t = mg.Value(2.0), mg.Tensor([1.0], requires_grad=True)
(mg.exp(x) * t).sum().backward()
y = mg.Value(Fraction(1, 2))
(y * y).backward()
print(y.grad, {"sympy", "mpmath"} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "set()"]


def test_a_rational_function_has_an_exact_gradient():
    """d/dx (x^2 + 1)/(x - 3) is (x^2 - 6x - 1)/(x - 3)^2, to the last digit."""
    x = mg.Value(Fraction(2, 7))
    ((x * x + 1) / (x - 3)).backward()
    a = Fraction(2, 7)
    assert x.grad == (a * a - 6 * a - 1) / (a - 3) ** 2
    assert type(x.grad) is Fraction


def test_a_function_that_fractions_lack_is_named():
    """exp of a fraction is no fraction: a TypeError says so."""
    with pytest.raises(TypeError, match="exp: has no meaning for a fraction"):
        mg.exp(mg.Value(Fraction(1, 3)))


def test_fifty_digits_through_a_network():
    """The gradient of a neuron at 50 digits is a - y at 50 digits."""
    with mpmath.workdps(50):
        z, y = mg.Value(mpmath.mpf(1) / 3), mpmath.mpf(2) / 7
        a = mg.sigmoid(z)
        (-(y * mg.log(a) + (1 - y) * mg.log(1 - a))).backward()
        exact = 1 / (1 + mpmath.exp(-mpmath.mpf(1) / 3)) - y
        assert abs(z.grad - exact) < mpmath.mpf(10) ** -48


def test_a_choice_that_a_symbol_cannot_take():
    """relu of a symbol of unknown sign is refused by both names; of a positive one it is the symbol."""
    with pytest.raises(TypeError, match=r"relu: .*symbol"):
        mg.relu(mg.Value(sympy.Symbol("s", real=True)))
    p = mg.Value(sympy.Symbol("p", positive=True))
    mg.relu(p).backward()
    assert p.grad == 1


def test_the_stable_forms_are_the_textbooks():
    """softplus, logsigmoid and the loss on logits of a symbol have the derivatives that SymPy finds in the formulas."""
    x, y = sympy.symbols("x y", real=True)
    cases = {
        mg.softplus: sympy.log(1 + sympy.exp(x)),
        mg.logsigmoid: sympy.log(1 / (1 + sympy.exp(-x))),
        lambda v: mg.binary_cross_entropy_with_logits(v, y): -y * sympy.log(1 / (1 + sympy.exp(-x)))
        - (1 - y) * sympy.log(1 - 1 / (1 + sympy.exp(-x))),
    }
    for function, formula in cases.items():
        node = mg.Value(x)
        function(node).backward()
        difference = (node.grad - sympy.diff(formula, x)).rewrite(sympy.exp)
        assert sympy.simplify(difference) == 0


def test_a_value_of_a_float_stays_one():
    """Writing a fraction into a Value of a float is refused, since fast paths take it for a float; the number stays."""
    x = mg.Value(2.0)
    with pytest.raises(TypeError, match=r"holds a float, got a Fraction.*test_exact\.py"):
        x.data = Fraction(1, 3)
    assert x.data == 2.0
    x.data = 3
    assert type(x.data) is float
    y = mg.Value(Fraction(1, 3))
    y.data = Fraction(2, 3)
    (y * y).backward()
    assert y.grad == Fraction(4, 3)


def test_a_function_without_a_name_of_its_own():
    """SymPy's undefined functions are expressions like others, though their class has no module."""
    f, s = sympy.Function("f"), sympy.Symbol("s", real=True)
    x = mg.Value(f(s))
    assert mg.grad(x * x, x) == (2 * f(s),)
    assert mg.formula(x) == "f(s)"
    assert mg.prove(x * x, f(s) ** 2).verdict == "undecided"
