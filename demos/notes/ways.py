"""Ways to the value and to the derivative of a letter: kinds of number, and what each can do to differentiate.

| way | numbers | a derivative is |
|---|---|---|
| `Float64` | float64 | the imaginary part of a complex step |
| `Digits` | 60 digits (mpmath) | the same, right to 60 digits: this is the truth that everything is held against |
| `Differences` | float64 | a central difference |
| `Autograd` | microgrid's Values | the backward pass through the graph |
| `Symbols` | SymPy's expressions | `sympy.diff` |
| `SymbolicAutograd` | microgrid's Values of symbols | the backward pass through the graph |

None of them knows a formula of the notes: all run the loops of worlds.py.
"""

from __future__ import annotations

import cmath
import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache, cached_property
from typing import Any, ClassVar

import numpy as np

import microgrid as mg
import nn
from demos.notes.worlds import Letters, Numbers, World, table, total, world


class Way:
    """A world computed on one kind of number, and differentiated in one way.

    Letters are named as in `World.given`: "C", "W[2]".
    """

    name: ClassVar[str]
    h: Any  # a small number of this kind, for slopes

    def __init__(self, world: World) -> None:
        self.world = world
        self._derivatives: dict[str, Callable[[str], Numbers]] = {}

    def number(self, x: float) -> Any:
        return float(x)

    def exp(self, x: Any) -> Any:
        return cmath.exp(x) if isinstance(x, complex) else math.exp(x)

    def ln(self, x: Any) -> Any:
        return cmath.log(x) if isinstance(x, complex) else math.log(x)

    def plain(self, numbers: Numbers) -> Numbers:
        """An array as formulas use it."""
        return numbers.astype(np.float64)

    @cached_property
    def given(self) -> dict[str, Numbers]:
        """The given letters, as this kind of number."""
        return {
            name: table(numbers.shape, lambda *i, numbers=numbers: self.number(float(numbers[i])))
            for name, numbers in self.world.given.items()
        }

    def run(self, fixed: Mapping[str, Numbers] | None = None) -> Letters:
        """All letters, those in `fixed` being as they are given there."""
        letters = Letters(self.given, fixed or {})
        self.world.compute(letters, self)
        return letters

    @cached_property
    def letters(self) -> Letters:
        """All letters."""
        return self.run()

    def value(self, name: str) -> Numbers:
        return self.plain(self.letters[name])

    def derivative(self, of: str, by: str) -> Numbers:
        """The array of all d of[i] / d by[j], of shape `of.shape + by.shape`."""
        if by not in self._derivatives:
            self._derivatives[by] = cache(self.differentiated(by))
        return self._derivatives[by](of)

    def differentiated(self, by: str) -> Callable[[str], Numbers]:
        """What gives, for the name of a letter, its derivative by the letter `by`."""
        raise NotImplementedError

    def along(self, of: str, moving: Sequence[str]) -> Any:
        """The rate at which the number `of` changes when each of these letters grows at the rate of its own size."""
        raise NotImplementedError

    def after(self, name: str) -> Numbers:
        """A parameter after one step of gradient descent on C."""
        rate, gradient = self.letters[self.world.rate][()], self.derivative("C", name)
        return table(gradient.shape, lambda *i: self.letters[name][i] - rate * gradient[i])


class ComplexStep(Way):
    """f'(x) = Im f(x + ih) / h: no difference is taken, so h can be as small as you like (Squire & Trapp 1998)."""

    def step(self) -> tuple[Any, Any]:
        """The numbers h and ih."""
        raise NotImplementedError

    def differentiated(self, by: str) -> Callable[[str], Numbers]:
        base, (h, ih) = self.letters[by], self.step()
        moved = np.empty(base.shape, dtype=object)
        for index in np.ndindex(base.shape):
            at = base.copy()
            at[index] = at[index] + ih
            moved[index] = self.run({by: at})

        def derivative(of: str) -> Numbers:
            shape = self.letters[of].shape
            return self.plain(
                table(shape + base.shape, lambda *i: moved[i[len(shape) :]][of][i[: len(shape)]].imag / h)
            )

        return derivative

    def along(self, of: str, moving: Sequence[str]) -> Any:
        h, ih = self.step()
        return self.run({name: self.letters[name] * (1 + ih) for name in moving})[of][()].imag / h


class Float64(ComplexStep):
    """float64, derivatives by a complex step."""

    name = "float64, complex step"
    h = 1e-5

    def step(self) -> tuple[Any, Any]:
        return 1e-200, 1e-200j


class Digits(ComplexStep):
    """60 digits, derivatives by a complex step of 1e-40, whose own error is 1e-80."""

    name = "60 digits"

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.context = _sixty_digits()
        self.h = self.context.mpf(10) ** -25
        self.exp, self.ln = self.context.exp, self.context.ln  # type: ignore[method-assign]

    def number(self, x: float) -> Any:
        return self.context.mpf(x)

    def plain(self, numbers: Numbers) -> Numbers:
        return numbers

    def step(self) -> tuple[Any, Any]:
        h = self.context.mpf(10) ** -40
        return h, self.context.mpc(0, h)


@cache
def _sixty_digits() -> Any:
    """An arithmetic of mpmath of our own: the user's precision stays what it is."""
    try:
        import mpmath
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError('60 digits need mpmath: pip install "microgrid[proofs]"') from error
    context: Any = mpmath.MPContext()
    context.dps = 60
    return context


class Differences(Way):
    """float64, derivatives by central differences."""

    name = "differences"

    def differentiated(self, by: str) -> Callable[[str], Numbers]:
        base = self.letters[by]
        h = np.finfo(float).eps ** (1 / 3) * max(1.0, *(abs(x) for x in base.flat))

        def shifted(index: tuple[int, ...], sign: int) -> Letters:
            at = base.copy()
            at[index] += sign * h
            return self.run({by: at})

        ends = {index: (shifted(index, 1), shifted(index, -1)) for index in np.ndindex(base.shape)}

        def derivative(of: str) -> Numbers:
            shape = self.letters[of].shape

            def entry(*i: int) -> Any:
                up, down = ends[i[len(shape) :]]
                return (up[of][i[: len(shape)]] - down[of][i[: len(shape)]]) / (2 * h)

            return self.plain(table(shape + base.shape, entry))

        return derivative

    def along(self, of: str, moving: Sequence[str]) -> Any:
        h = np.finfo(float).eps ** (1 / 3)
        up, down = (self.run({name: self.letters[name] * t for name in moving})[of][()] for t in (1 + h, 1 - h))
        return (up - down) / (2 * h)


class Autograd(Way):
    """microgrid: the loops run on Values, and the graph they leave is walked backward."""

    name = "autograd"

    def exp(self, x: Any) -> Any:
        return mg.exp(x) if isinstance(x, mg.Value) else math.exp(x)

    def ln(self, x: Any) -> Any:
        return mg.log(x) if isinstance(x, mg.Value) else math.log(x)

    def differentiated(self, by: str) -> Callable[[str], Numbers]:
        base = self.letters[by]
        leaves = table(base.shape, lambda *i: mg.Value(base[i]))
        graph = self.run({by: leaves})

        def derivative(of: str) -> Numbers:
            gradients = [_gradient(root, list(leaves.flat)) for root in graph[of].flat]
            return np.array(gradients).reshape(graph[of].shape + base.shape)

        return derivative

    def along(self, of: str, moving: Sequence[str]) -> Any:
        t = mg.Value(1.0)
        grown = {name: table(self.letters[name].shape, lambda *i, n=name: self.letters[n][i] * t) for name in moving}
        return _gradient(self.run(grown)[of][()], [t])[0]

    def after(self, name: str) -> Numbers:
        """By nn's own optimiser."""
        parameter = mg.Tensor(self.value(name), requires_grad=True)
        parameter.grad = self.derivative("C", name)
        nn.optim.SGD([parameter], lr=float(self.letters[self.world.rate][()])).step()
        array: Numbers = parameter.detach().numpy()
        return array


def _gradient(root: Any, leaves: list[mg.Value]) -> list[Any]:
    """The derivative of a number, which may not depend on the leaves at all."""
    if not isinstance(root, mg.Value):
        return [0] * len(leaves)
    return [0 if g is None else g for g in mg.grad(root, leaves, allow_unused=True)]


class Symbols(Way):
    """SymPy's expressions, differentiated by `sympy.diff`.

    Parameters
    ----------
    world : World
        Best a small one: `worlds.world(name, small=True)`.
    cut : sequence of str
        Computed letters that are to be symbols all the same, "A[1]" for instance: what follows from them is then
        written in them, so expressions stay short.

    Notes
    -----
    The entry j, k of W[1] is the real symbol `W1_j_k`; a letter without an axis keeps its name.
    """

    name = "symbolic"

    def __init__(self, world: World, cut: Sequence[str] = ()) -> None:
        super().__init__(world)
        try:
            import sympy
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError('symbols need SymPy: pip install "microgrid[proofs]"') from error
        self.sympy: Any = sympy
        self.exp, self.ln = self.sympy.exp, self.sympy.log  # type: ignore[method-assign]
        self.cut = tuple(cut)

    def number(self, x: float) -> Any:
        return self.sympy.Rational(x)

    def plain(self, numbers: Numbers) -> Numbers:
        return numbers

    def symbols(self, name: str, shape: tuple[int, ...]) -> Numbers:
        """The symbols of a letter."""
        stem = name.replace("[", "").replace("]", "").replace("-", "m")
        return table(shape, lambda *i: self.sympy.Symbol("_".join([stem, *map(str, i)]), real=True))

    @cached_property
    def given(self) -> dict[str, Numbers]:
        return {name: self.symbols(name, numbers.shape) for name, numbers in self.world.given.items()}

    @cached_property
    def letters(self) -> Letters:
        shapes = Digits(self.world).letters if self.cut else {}
        return self.run({name: self.symbols(name, shapes[name].shape) for name in self.cut})

    def numbers(self) -> dict[Any, Any]:
        """What the symbols stand for, in 60 digits: for `expression.subs` or `lambdify`."""
        digits = Digits(self.world).letters
        names = [*self.given, *self.cut]
        return {s: n for name in names for s, n in zip(self.letters[name].flat, digits[name].flat, strict=True)}

    def assumptions(self) -> list[Any]:
        """What `mg.prove` may take as known of the letters that are cut: what a sigmoid, or softmax, can give."""
        known: list[Any] = []
        for name in self.cut:
            kind = self.world.activations[int(name.partition("[")[2].rstrip("]"))]
            entries = self.letters[name]
            if kind != "identity":
                known += [bound for a in entries.flat for bound in (a > 0, a < 1)]
            if kind == "softmax":
                known += [(total(column), self.number(1)) for column in entries.reshape(len(entries), -1).T]
        return known

    def differentiated(self, by: str) -> Callable[[str], Numbers]:
        base = self.letters[by]
        symbols = self.symbols(f"d_{by}", base.shape)
        keep = {name: self.letters[name] for name in self.cut}
        moved = self.run({**keep, by: symbols})
        back = dict(zip(symbols.flat, base.flat, strict=True))

        def derivative(of: str) -> Numbers:
            shape = moved[of].shape

            def entry(*i: int) -> Any:
                expression = self.sympy.sympify(moved[of][i[: len(shape)]])
                return self.sympy.diff(expression, symbols[i[len(shape) :]]).xreplace(back)

            return table(shape + base.shape, entry)

        return derivative

    def along(self, of: str, moving: Sequence[str]) -> Any:
        t = self.sympy.Symbol("t", positive=True)
        grown = self.run({name: self.letters[name] * t for name in moving})[of][()]
        return self.sympy.diff(grown, t).subs(t, 1)


class SymbolicAutograd(Symbols):
    """SymPy's expressions, differentiated by microgrid: the loops run on Values of symbols, by the rules of floats."""

    name = "symbolic autograd"

    def differentiated(self, by: str) -> Callable[[str], Numbers]:
        base = self.letters[by]
        leaves = table(base.shape, lambda *i: mg.Value(base[i]))
        values = _Values(self.world, self.given)
        graph = values.run({**{name: self.letters[name] for name in self.cut}, by: leaves})

        def derivative(of: str) -> Numbers:
            gradients = [g for root in graph[of].flat for g in _gradient(root, list(leaves.flat))]
            exact = np.array([self.sympy.sympify(g) for g in gradients], dtype=object)
            return exact.reshape(graph[of].shape + base.shape)

        return derivative

    def along(self, of: str, moving: Sequence[str]) -> Any:
        t = mg.Value(self.sympy.Integer(1))
        grown = {name: table(self.letters[name].shape, lambda *i, n=name: self.letters[n][i] * t) for name in moving}
        return _gradient(_Values(self.world, self.given).run(grown)[of][()], [t])[0]


class _Values(Way):
    """The loops on Values of symbols."""

    exp, ln = staticmethod(mg.exp), staticmethod(mg.log)

    def __init__(self, world: World, given: dict[str, Numbers]) -> None:
        super().__init__(world)
        self.given = given


Kind = Callable[[World], Way]
SymbolicKind = Callable[[World, tuple[str, ...]], Symbols]


@cache
def way(kind: Kind, name: str) -> Way:
    """The world of that name in this way, computed once."""
    return kind(world(name))
