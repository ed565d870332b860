"""gradcheck and gradgradcheck: hold the derivatives of a function against differences of the function itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from microgrid import kinds, modes, sites
from microgrid.derivatives import grad
from microgrid.graph import Node
from microgrid.pullback import is_linear
from microgrid.tensor import Tensor
from microgrid.transforms import vjp
from microgrid.value import Value

__microgrid_machinery__ = True

Rng: TypeAlias = "np.random.Generator | int | None"

STEP = float(np.finfo(float).eps ** (1 / 3))  # of central differences, relative: truncation and rounding are even there
NOT_LINEAR = "a gradient is not linear in g, the gradient from above, as every wrt_* must be"


class GradcheckError(AssertionError):
    """A gradient that differences of the function contradict."""


def gradcheck(
    func: Callable[..., Any],
    inputs: Node | Sequence[Node],
    *,
    eps: float | None = None,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    raise_exception: bool = True,
    fast_mode: bool = False,
    rng: Rng = 0,
) -> bool:
    """Check the gradient of every element of what a function returns with respect to every element of its inputs.

    And that it is linear in the gradient from above: a rule that ignores its g, or squares it, does not pass.

    Parameters
    ----------
    func : callable
        Takes the inputs, returns a Value or a Tensor, or a sequence of them. It must give the same each time.
    inputs : node or sequence of nodes
        Values, and Tensors of float64. Those that require a gradient are checked.
    eps : float > 0, optional
        The step; by default 6e-6 max(1, |x|), the cube root of the precision.
    atol, rtol : float >= 0, optional
        |gradient - difference| <= atol + rtol |difference| passes. The defaults reject a rule that is off by 0.1 %.
    raise_exception : bool, optional
        False: return False in place of raising.
    fast_mode : bool, optional
        Check each input along one random direction, and each output against one, u^T J v, in place of every element:
        two values and one backward pass for each pair. What is wrong by a factor is found; one wrong element among
        many may pass.
    rng : numpy.random.Generator, int or None, optional
        Where the directions come from.

    Returns
    -------
    bool

    Raises
    ------
    GradcheckError
        Names the input, the element, the gradient and the differences. At a kink (where the differences of either
        side disagree however small the step) any gradient between the two sides passes, and one outside is wrong.
    ValueError
        If an input is of lower precision than float64, if none requires a gradient, or a returned one does not.

    Examples
    --------
    >>> import microgrid as mg
    >>> mg.gradcheck(lambda x, y: x * mg.sin(y), [mg.Value(2.0), mg.Value(1.0)])
    True
    """
    given = _given("gradcheck", func, inputs)
    check = _Check("gradcheck", func, given, eps, atol, rtol, np.random.default_rng(rng), fast_mode)
    return check.passes(raise_exception)


def gradgradcheck(
    func: Callable[..., Any],
    inputs: Node | Sequence[Node],
    grad_outputs: Any = None,
    *,
    eps: float | None = None,
    atol: float = 1e-6,
    rtol: float = 1e-5,
    raise_exception: bool = True,
    fast_mode: bool = False,
    rng: Rng = 0,
) -> bool:
    """Check the second derivatives of a function: `gradcheck` of its gradients, by the inputs and by grad_outputs.

    Whether the gradients themselves are right is for `gradcheck` to say; here they must be linear in grad_outputs.

    Parameters
    ----------
    func, inputs
        As for `gradcheck`.
    grad_outputs : number, array or node, or a sequence of one for each output, optional
        The gradients from above; random by default.
    eps, atol, rtol, raise_exception, fast_mode, rng
        As for `gradcheck`; `rng` also draws the grad_outputs.

    Returns
    -------
    bool

    Raises
    ------
    GradcheckError, ValueError
        As `gradcheck`.

    Examples
    --------
    >>> import microgrid as mg
    >>> mg.gradgradcheck(lambda x, y: x * mg.sin(y), [mg.Value(2.0), mg.Value(1.0)])
    True
    """
    given = _given("gradgradcheck", func, inputs)
    checked = [position for position, x in enumerate(given) if x.requires_grad]
    generator = np.random.default_rng(rng)

    def of_checked(*varied: Any) -> tuple[Node, ...]:
        every = list(given)
        for position, x in zip(checked, varied, strict=True):
            every[position] = x
        return tuple(_outputs("gradgradcheck", func(*every)))

    def gradients(*arguments: Any) -> list[Any]:
        _, pull = vjp(of_checked, *arguments[: len(checked)])
        return list(pull(arguments[len(checked) :]))

    variables = [given[position] for position in checked]
    with modes.no_grad():
        outputs = of_checked(*variables) if variables else ()
    if grad_outputs is None:
        seeds: list[Any] = [generator.uniform(0.5, 1.5, np.shape(z._data)) for z in outputs]
    else:
        seeds = list(grad_outputs) if isinstance(grad_outputs, (list, tuple)) else [grad_outputs]
    if len(seeds) != len(outputs):
        raise ValueError(f"gradgradcheck: {len(outputs)} outputs, but {len(seeds)} grad_outputs, at {sites.here()}")
    above = [_like(z, z._seed(getattr(seed, "_data", seed)), True) for z, seed in zip(outputs, seeds, strict=True)]
    for place, g in enumerate(above):
        g.name = f"grad_outputs[{place}]"
    check = _Check("gradgradcheck", gradients, [*variables, *above], eps, atol, rtol, generator, fast_mode)
    check.constants = True  # as the gradient of a linear function is, and that by an input that is not used
    if outputs:
        _, pull = vjp(of_checked, *variables)
        if not is_linear(lambda gs: pull(tuple(gs)), [g._data for g in above]):
            return check.failed(f"gradgradcheck: {NOT_LINEAR}, at {sites.here()}", raise_exception)
    return check.passes(raise_exception)


class _Direction(NamedTuple):
    """Along what an input is moved."""

    place: tuple[int, ...] | None  # of the one element that is moved
    vector: Any
    step: float

    def of(self, jacobian: Any) -> Any:
        """The derivatives along it, (*output,), of all derivatives by an input, (*output, *input)."""
        if self.place is not None:
            return jacobian[(..., *self.place)]
        with np.errstate(all="ignore"):
            return np.tensordot(jacobian, self.vector, self.vector.ndim)

    def __str__(self) -> str:
        return f"[{', '.join(map(str, self.place))}]" if self.place else ""


class _Check:
    """One check: a function, the point, and how closely to look."""

    constants = False  # whether the function may return what requires no gradient

    def __init__(
        self, name: str, func: Callable[..., Any], given: list[Any], eps: float | None, atol: float, rtol: float,
        generator: np.random.Generator, fast: bool,
    ) -> None:  # fmt: skip
        self.name, self.func, self.given, self.eps, self.atol, self.rtol = name, func, given, eps, atol, rtol
        self.generator, self.fast = generator, fast
        self.above = np.random.default_rng(0)  # of the gradients from above, which are no ones: see `is_linear`
        self.data = [_float64(name, x, position) for position, x in enumerate(given)]
        self.checked = [position for position, x in enumerate(given) if x.requires_grad]
        if not self.checked:
            raise ValueError(f"{name}: no input requires a gradient, at {sites.here()}")

    def passes(self, raise_exception: bool) -> bool:
        """Run it."""
        try:
            self.run()
        except GradcheckError as error:
            return self.failed(str(error), raise_exception)
        return True

    @staticmethod
    def failed(message: str, raise_exception: bool) -> bool:
        """What a check that found something wrong gives."""
        if raise_exception:
            raise GradcheckError(message)
        return False

    def run(self) -> None:
        """Compare every output's derivative along every direction."""
        base = self.values(self.data)
        if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(base, self.values(self.data), strict=True)):
            raise GradcheckError(f"{self.name}: the function gives another value when called again, at {sites.here()}")
        weights = [self._random(z.shape) if self.fast else None for z in base]
        base = _weighted(base, weights)
        jacobians = list(self.jacobians(weights))
        for column, position in enumerate(self.checked):
            for direction in self.directions(self.data[position]):

                def at(step: float, position: int = position, vector: Any = direction.vector) -> list[Any]:
                    moved = [a.copy() for a in self.data]
                    moved[position] = moved[position] + step * vector
                    return _weighted(self.values(moved), weights)

                h = direction.step
                for output, (up, down) in enumerate(zip(at(h), at(-h), strict=True)):
                    gradient = direction.of(jacobians[output][column])
                    with np.errstate(all="ignore"):
                        difference = (up - down) / (2 * h)
                        wrong = ~(np.abs(gradient - difference) <= self.atol + self.rtol * np.abs(difference))
                    for row in np.argwhere(wrong):
                        where = tuple(row)
                        message = self.verdict(at, base, output, where, h, float(gradient[where]))
                        if message:
                            what = (self.given[position].name or f"input {position}") + str(direction)
                            target = f"output {output}{[int(i) for i in where] if where else ''}"
                            raise GradcheckError(f"{self.name}: d({target})/d({what}): {message}, at {sites.here()}")

    def values(self, arrays: list[Any]) -> list[Any]:
        """What the function gives at these arrays."""
        with modes.no_grad():
            return [np.array(z._data) for z in _outputs(self.name, self.func(*map(_like, self.given, arrays)))]

    def _random(self, shape: tuple[int, ...]) -> Any:
        """A random vector, with no number near 0, of length 1."""
        vector = _away_from_0(self.generator, shape)
        return np.asarray(vector / max(float(np.linalg.norm(vector.ravel())), 1e-300))

    def directions(self, x: Any) -> Iterator[_Direction]:
        """Each element by itself, or one random direction."""
        if self.fast:
            size = max(1.0, float(np.max(np.abs(x), initial=0)))
            yield _Direction(None, self._random(x.shape), self.eps or STEP * size)
            return
        for place in np.ndindex(x.shape):
            vector = np.zeros(x.shape)
            vector[place] = 1
            size = max(1.0, abs(float(x[place])))
            yield _Direction(place, vector, self.eps or STEP * size)

    def jacobians(self, weights: Sequence[Any]) -> Iterator[list[Any]]:
        """For each output, for each checked input, the array of gradients, shaped (*output, *input)."""
        nodes = [_like(x, a, x.requires_grad) for x, a in zip(self.given, self.data, strict=True)]
        targets = [nodes[position] for position in self.checked]
        with modes.enable_grad():
            outputs = _outputs(self.name, self.func(*nodes))
        for z, weight in zip(outputs, weights, strict=True):
            if not z.requires_grad and not self.constants:
                raise ValueError(f"{self.name}: what the function returns requires no gradient, at {sites.here()}")
            shape = np.shape(z._data) if weight is None else ()
            found = [np.zeros((*shape, *np.shape(x._data))) for x in targets]
            if z.requires_grad:
                self.check_linear(z, targets)
            for place in np.ndindex(shape) if z.requires_grad else ():
                seed, g = weight, float(_away_from_0(self.above, ()))
                if seed is None:
                    seed = np.zeros(shape)
                    seed[place] = 1
                gradients = grad(z, targets, g * seed if np.ndim(z._data) else g * float(seed), allow_unused=True)
                for array, gradient in zip(found, gradients, strict=True):
                    array[place] = 0 if gradient is None else gradient / g
            yield found

    def check_linear(self, z: Node, targets: Sequence[Node]) -> None:
        """Refuse gradients of z that are not linear in the one from above."""
        seed = _away_from_0(self.above, np.shape(z._data))
        pull = lambda gs: grad(z, targets, gs[0] if np.ndim(z._data) else float(gs[0]), allow_unused=True)  # noqa: E731
        if not is_linear(pull, [seed]):
            raise GradcheckError(f"{self.name}: {NOT_LINEAR}, at {sites.here()}")

    def verdict(
        self, at: Callable[[float], list[Any]], base: list[Any], output: int, where: tuple[int, ...], h: float,
        gradient: float,
    ) -> str | None:  # fmt: skip
        """What is wrong with a gradient that the central difference contradicts; None at a kink that allows it."""

        def sides(step: float) -> tuple[float, float]:
            here = float(base[output][where])
            with np.errstate(all="ignore"):
                return (here - float(at(-step)[output][where])) / step, (float(at(step)[output][where]) - here) / step

        atol, rtol = self.atol, self.rtol
        left, right = sides(h)
        near_left, near_right = sides(h / 64)
        gap, near_gap = abs(right - left), abs(near_right - near_left)
        if near_gap > 8 * gap:
            return f"the function jumps here: no derivative; the gradient is {gradient:.10g}"
        if near_gap > gap / 8 and near_gap > 100 * (atol + rtol * max(abs(left), abs(right))):  # it does not shrink
            low, high = sorted((near_left, near_right))
            slack = atol + rtol * max(abs(low), abs(high)) + 1e-3 * near_gap
            if low - slack <= gradient <= high + slack:
                return None
            return (
                f"at a kink, with {low:.10g} on one side and {high:.10g} on the other: the gradient is {gradient:.10g}"
            )
        return f"the gradient is {gradient:.10g}, the central difference {(left + right) / 2:.10g}"


def _given(name: str, func: Any, inputs: Any) -> list[Any]:
    if not callable(func) or not isinstance(inputs, (Node, list, tuple)):
        raise TypeError(
            f"{name}(func, inputs): expected a function and a node or a list of nodes, got "
            f"{type(func).__name__} and {type(inputs).__name__}, at {sites.here()}"
        )
    given = [inputs] if isinstance(inputs, Node) else list(inputs)
    for position, x in enumerate(given):
        _float64(name, x, position)
    return given


def _away_from_0(generator: np.random.Generator, shape: tuple[int, ...]) -> Any:
    """Random numbers between 1/2 and 3/2, of either sign."""
    return generator.uniform(0.5, 1.5, shape) * generator.choice((-1.0, 1.0), shape)


def _weighted(values: list[Any], weights: Sequence[Any]) -> list[Any]:
    """Each output as it is, or the one number that its weights make of it."""
    return [z if weight is None else np.asarray(np.sum(weight * z)) for z, weight in zip(values, weights, strict=True)]


def _outputs(name: str, returned: Any) -> list[Node]:
    listed = list(returned) if isinstance(returned, (list, tuple)) else [returned]
    for z in listed:
        if not isinstance(z, Node):
            raise TypeError(
                f"{name}: the function returned {type(z).__name__}, expected a Value or a Tensor, at {sites.here()}"
            )
    return listed


def _like(x: Node, array: Any, requires_grad: bool = False) -> Node:
    node: Node = Value(float(array)) if isinstance(x, Value) else Tensor(array)
    if x.name is not None:
        node.name = x.name
    return node.requires_grad_(requires_grad)


def _float64(name: str, x: Any, position: int) -> Any:
    if not isinstance(x, Node):
        given = type(x).__name__
        raise TypeError(f"{name}: input {position}: expected a Value or a Tensor, got {given}, at {sites.here()}")
    if isinstance(x, Tensor) and x.requires_grad and x.dtype != np.float64:
        raise ValueError(
            f"{name}: input {position} is {x.dtype}: differences need float64: use .astype(float), at {sites.here()}"
        )
    if isinstance(x, Value) and not isinstance(x._data, float):
        kind = kinds.kind_of(x._data).name
        raise TypeError(
            f"{name}: input {position} is {kind}, {x._data!s:.60}: differences need floats, at {sites.here()}"
        )
    return np.array(x._data)
