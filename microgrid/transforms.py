"""Transforms of functions: from a function the functions that give its derivatives, named as in torch.func.

Each runs the function on variables of its own, made of what it is given, and follows what comes out back to them:

- Arguments may be Values, Tensors, floats, arrays, fractions, mpmath's numbers or SymPy's expressions, and dicts,
  lists and tuples of them. Derivatives stand in containers as the arguments, with as many numbers.
- *Given nodes to differentiate by, a transform gives nodes; given numbers and arrays, numbers and arrays.* One thing
  comes before that: what depends on a node outside that requires a gradient (a captured parameter, or the variable of a
  transform around this one) stays a node, so that nothing drops out of the graph. Under `no_grad` nothing does.
- A variable is this call's alone: the same node given twice is two variables, and what the function captures is none.
  So transforms nest to any depth: the inner one's variables are nodes made of the outer one's.
- No node of the user's is written to: `.grad` stays as it is.

There is one table of derivatives, `rules.py`, and it is the reverse mode's. Every share is linear in the gradient g
from above, s(g) = J^T g; so the derivative of s by g in the direction v is J v, the forward mode: the vjp of the vjp,
for two passes more than the function, whatever the number of inputs (J. Townsend, "A new trick for calculating
Jacobian vector products", 2017).

    >>> import microgrid as mg
    >>> mg.jvp(lambda x: x * x * x, (2.0,), (1.0,))
    (8.0, 12.0)
    >>> mg.hessian(lambda x, y: x * x * y, argnums=(0, 1))(3.0, 5.0)
    ((10.0, 6.0), (6.0, 0.0))
    >>> from fractions import Fraction
    >>> mg.hessian(lambda x: x / (1 + x))(Fraction(1, 2))                # exact
    Fraction(-16, 27)

How much of an error is rounding: the same function on mpmath's numbers of 50 digits tells.

    >>> import mpmath
    >>> def f(x):
    ...     return (1 - mg.cos(x)) / (x * x)
    >>> slope = mg.elementwise_grad(f)
    >>> with mpmath.workdps(50):
    ...     exact = slope(mpmath.mpf(1e-4))
    >>> print(f"{slope(1e-4):.1e} {float(exact):.1e}")                    # no digit of the first is right
    4.4e-05 -8.3e-06
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from microgrid import modes, nested, sites
from microgrid.pullback import Pullback, Run, check_unique, differentiable, fitted, one, precise

__microgrid_machinery__ = True

ArgNums = int | tuple[int, ...]
Function = Callable[..., Any]


# ------------------------------------------------------------------------------------------------ what users call


def value_and_grad(func: Function, argnums: ArgNums = 0, has_aux: bool = False) -> Function:
    """The function that gives the value of `func`, a single number, and its gradient.

    Parameters
    ----------
    func : callable
        Gives a Value, or a Tensor of one element.
    argnums : int or tuple of int
        By which of the positional arguments to differentiate.
    has_aux : bool
        `func` gives (value, something else); what else it gives is passed on.

    Returns
    -------
    callable
        Takes what `func` takes; gives (value, gradient), or ((value, aux), gradient). The gradient is shaped as the
        argument; for a tuple of argnums, a tuple of gradients.

    Raises
    ------
    TypeError, ValueError
        When called: if `func` gives something else than one number that microgrid made.

    Examples
    --------
    >>> import numpy as np, microgrid as mg
    >>> loss = lambda p, x: mg.sum((p["W"] * x + p["b"]) ** 2)
    >>> mg.value_and_grad(loss)({"W": 2.0, "b": 1.0}, np.array([0.0, 1.0]))
    (array(10.), {'W': 6.0, 'b': 8.0})
    """
    return _both("value_and_grad", func, argnums, has_aux)


def _both(name: str, func: Function, argnums: ArgNums, has_aux: bool) -> Function:
    _check_transform(name, func, argnums)

    @_named_after(func, name)
    def transformed(*args: Any, **keywords: Any) -> Any:
        run = Run(name, func, args, keywords, argnums, has_aux)
        gradient = run.contained(run.pull([run.seed_of_one_number()], run.outside), run.outside)
        return ((run.value(), run.aux()) if has_aux else run.value()), gradient

    return transformed


def grad(func: Function, argnums: ArgNums = 0, has_aux: bool = False) -> Function:
    """The function that gives the gradient of `func`, or (gradient, aux): see `value_and_grad`; `mg.grad(func)`."""
    both = _both("grad", func, argnums, has_aux)

    @_named_after(func, "grad")
    def transformed(*args: Any, **keywords: Any) -> Any:
        value, gradient = both(*args, **keywords)
        return (gradient, value[1]) if has_aux else gradient

    return transformed


def elementwise_grad(func: Function, argnums: ArgNums = 0) -> Function:
    """The function that gives the derivative of an elementwise function at each element, as HIPS autograd's.

    It is the gradient of the sum of all that `func` gives: the derivative of each element of the output by the element
    at its place, where it depends on no other.

    Examples
    --------
    >>> import microgrid as mg
    >>> third = mg.elementwise_grad(mg.elementwise_grad(mg.elementwise_grad(mg.tanh)))
    >>> third(0.0)
    -2.0
    """
    _check_transform("elementwise_grad", func, argnums)

    @_named_after(func, "elementwise_grad")
    def transformed(*args: Any, **keywords: Any) -> Any:
        run = Run("elementwise_grad", func, args, keywords, argnums)
        return run.contained(run.pull([one(z) for z in run.outputs], run.outside), run.outside)

    return transformed


def vjp(func: Function, *primals: Any, has_aux: bool = False) -> Any:
    """The value of a function, and the function that gives vector-Jacobian products v^T J.

    Parameters
    ----------
    func : callable
        Takes the primals; gives a Value or a Tensor, or containers of them.
    *primals : numbers, arrays, nodes, or containers of them
    has_aux : bool
        `func` gives (output, something else).

    Returns
    -------
    output, vjp_fn
        And aux, with `has_aux`. `vjp_fn(cotangents)` takes numbers as many as the output, in containers as the output,
        and gives a tuple with a product for each primal. It may be called any number of times.

    Raises
    ------
    TypeError, ValueError
        If there is no primal; by `vjp_fn`, if the cotangents do not fit the output.

    Examples
    --------
    >>> import numpy as np, microgrid as mg
    >>> output, vjp_fn = mg.vjp(lambda x: x * x, np.array([1.0, 2.0]))
    >>> vjp_fn(np.array([1.0, 10.0]))
    (array([ 2., 40.]),)
    """
    _check_transform("vjp", func, 0)
    run = Run("vjp", func, primals, {}, None, has_aux)

    def vjp_fn(cotangents: Any) -> tuple[Any, ...]:
        given = list(nested.matched(run.returned, cotangents, "vjp_fn: cotangents"))
        recorded = modes.is_grad_enabled() and (run.outside or differentiable(given))
        shares = run.pull(fitted(run.outputs, given, recorded), recorded)
        return tuple(run.contained(shares, recorded))

    return (run.value(), vjp_fn, run.aux()) if has_aux else (run.value(), vjp_fn)


def jvp(func: Function, primals: tuple[Any, ...], tangents: tuple[Any, ...], *, has_aux: bool = False) -> Any:
    """The value of a function, and its derivative in a direction, the Jacobian-vector product J v.

    Parameters
    ----------
    func : callable
        Takes the primals; gives a Value or a Tensor, or containers of them.
    primals : tuple of numbers, arrays, nodes, or containers of them
    tangents : tuple
        The direction: numbers as many, in containers as the primals.
    has_aux : bool
        `func` gives (output, something else).

    Returns
    -------
    output, derivative
        The derivative has the output's containers and shapes. And aux, with `has_aux`.

    Raises
    ------
    TypeError, ValueError
        If the primals are no tuple, or the tangents do not fit them.

    Examples
    --------
    >>> import microgrid as mg
    >>> mg.jvp(lambda x, y: x * y, (2.0, 3.0), (1.0, 10.0))
    (6.0, 23.0)
    """
    _check_transform("jvp", func, 0)
    if not isinstance(primals, tuple):
        raise TypeError(
            f"jvp: expected primals to be a tuple, such that func(*primals) is valid, got {type(primals).__name__}, "
            f"at {sites.here()}"
        )
    given = list(nested.matched(primals, tangents, "jvp: tangents"))
    run = Run("jvp", func, primals, {}, None, has_aux)
    recorded = modes.is_grad_enabled() and (run.outside or differentiable(given))
    directions = fitted(run.variables, given, recorded)
    pushed = nested.rebuilt(run.returned, run.handed(run.push(directions, recorded), run.outputs, recorded))
    return (run.value(), pushed, run.aux()) if has_aux else (run.value(), pushed)


def jacobian(func: Function, argnums: ArgNums = 0, *, has_aux: bool = False) -> Function:
    """The function that gives all derivatives of all outputs, laid out as torch.func.jacrev lays them out.

    Parameters
    ----------
    func : callable
        Gives a Value or a Tensor, or containers of them.
    argnums : int or tuple of int
        By which of the positional arguments to differentiate.
    has_aux : bool
        `func` gives (output, something else).

    Returns
    -------
    callable
        Gives for each output, in containers as the output, the derivatives by the argument, in containers as the
        argument (by a tuple of arguments, a tuple): an array of shape (*output's, *argument's); for a Value by a Value
        a number. With `has_aux`, (jacobian, aux).

    Notes
    -----
    One backward pass for each element of the output, or, where the arguments have far fewer elements, one for each
    element of theirs (of the vjp as a function of its cotangent: the forward mode).

    Examples
    --------
    >>> import numpy as np, microgrid as mg
    >>> mg.jacobian(lambda x: x * x)(np.array([1.0, 2.0])).tolist()
    [[2.0, 0.0], [0.0, 4.0]]
    """
    _check_transform("jacobian", func, argnums)

    @_named_after(func, "jacobian")
    def transformed(*args: Any, **keywords: Any) -> Any:
        run = Run("jacobian", func, args, keywords, argnums, has_aux)
        blocks = [
            [run.finished(precise(block, z, x), run.outside) for block, x in zip(row, run.variables, strict=True)]
            for row, z in zip(run.columns() if run.is_tall() else run.rows(), run.outputs, strict=True)
        ]
        found = nested.rebuilt(run.returned, (nested.rebuilt(run.given, row) for row in blocks))
        return (found, run.aux()) if has_aux else found

    return transformed


def hessian(func: Function, argnums: ArgNums = 0) -> Function:
    """The function that gives all second derivatives: the Jacobian of the Jacobian.

    Examples
    --------
    >>> import numpy as np, microgrid as mg
    >>> mg.hessian(lambda x: x[0] * x[0] * x[1])(np.array([3.0, 5.0])).tolist()
    [[10.0, 6.0], [6.0, 0.0]]
    """
    _check_transform("hessian", func, argnums)
    return _named_after(func, "hessian")(jacobian(jacobian(func, argnums), argnums))


def hvp(func: Function, primals: Any, tangents: Any) -> tuple[Any, Any]:
    """The value of a function, a single number, and its Hessian times a vector, as torch.autograd.functional.hvp.

    Parameters
    ----------
    func : callable
        Gives a Value, or a Tensor of one element.
    primals : tuple of arguments, or the one argument
        Each a number, an array, a node, or containers of them: a dict of parameters, say.
    tangents : as primals
        The vector.

    Returns
    -------
    output, product
        The product has the containers and shapes of the primals.

    Notes
    -----
    The gradient of <gradient, vector>, reverse over reverse: two passes more than the value. Forward over reverse,
    `jvp(grad(func), ...)`, gives the same numbers for one pass more, since forward mode here is two reverse passes.

    Examples
    --------
    >>> import numpy as np, microgrid as mg
    >>> mg.hvp(lambda x: mg.sum(x * x * x), np.array([1.0, 2.0]), np.array([1.0, 10.0]))
    (array(9.), array([  6., 120.]))
    """
    _check_transform("hvp", func, 0)
    given = list(nested.matched(primals, tangents, "hvp: tangents"))
    run = Run("hvp", func, primals if isinstance(primals, tuple) else (primals,), {}, None)
    recorded = modes.is_grad_enabled() and (run.outside or differentiable(given))
    slopes = run.pull([run.seed_of_one_number()], True)
    curved = [i for i, slope in enumerate(slopes) if slope is not None]
    vector = fitted(run.variables, given, recorded)
    twice = Pullback([slopes[i] for i in curved], run.variables, run.first)
    shares = twice([vector[i] for i in curved], recorded)
    return run.value(), nested.rebuilt(primals, run.handed(shares, run.variables, recorded))


# --------------------------------------------------------------------------------------------------- made ready


def _check_transform(name: str, func: Any, argnums: Any) -> None:
    if not callable(func):
        raise TypeError(f"{name}: expected a function, got {type(func).__name__}, at {sites.here()}")
    listed = argnums if isinstance(argnums, tuple) else (argnums,)
    if any(isinstance(place, bool) or not isinstance(place, int) for place in listed) or not listed:
        raise TypeError(f"{name}: argnums: expected an int or a tuple of ints, got {argnums!r:.60}, at {sites.here()}")
    check_unique(name, argnums, listed)


def _named_after(func: Function, name: str) -> Callable[[Function], Function]:
    """Make a transformed function known as, for example, `jacobian(softmax)`."""

    def rename(transformed: Function) -> Function:
        transformed.__name__ = transformed.__qualname__ = f"{name}({getattr(func, '__name__', type(func).__name__)})"
        return transformed

    return rename
