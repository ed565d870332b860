# ruff: noqa: E741 -- l is the notes' letter for a layer
"""The notes' formulas as text that is also code: one line says it, prints it, and is evaluated on any kind of number.

The language is Python's, with NumPy's `@`, `.T` and `**`, and with the notes' letters:

- `A[L]`, `W[l+1]`: letters of a layer; `W[l][j, k]`: an entry. `delta[l]` is the derivative of S by Z[l].
- `d(C, W[L])` is the derivative, as an array of the shape of C followed by that of W[L]: a gradient, or a Jacobian.
- `left = a = b` is an equation: every member is held against the left side, which is known from elsewhere (ways.py).
- `W[L][j, k] = ...`: indices that the left side leaves free take all their values, or those `where k != y`.
- `one; other` are two equations.
- Text without ` = ` is a statement, true or false: `C < cost(w + h, b)`.
"""

from __future__ import annotations

import ast
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import CodeType
from typing import Any

import numpy as np

from demos.notes.ways import Way
from demos.notes.worlds import Numbers, World, total

_BY_NAME = {"d", "along", "after", "count"}  # functions whose arguments are letters, and not their numbers
Namespace = dict[str, Any]


@dataclass(frozen=True)
class Equation:
    """`left = member = member ... where condition`."""

    left: str
    members: tuple[str, ...]
    condition: str = "True"

    @classmethod
    def of(cls, text: str) -> Equation:
        """Read one equation.

        Examples
        --------
        >>> Equation.of("d(C, b[k]) = a[k] where k != y")
        Equation(left='d(C, b[k])', members=('a[k]',), condition='k != y')
        """
        text, _, condition = text.partition(" where ")
        left, *members = text.split(" = ")
        return cls(left, tuple(members), condition or "True")

    def __str__(self) -> str:
        return " = ".join((self.left, *self.members)) + (f" where {self.condition}" * (self.condition != "True"))


def equations(text: str) -> list[Equation]:
    """The equations of a formula; a statement is one without members."""
    return [Equation.of(part) for part in text.split("; ")]


def written(text: str) -> str:
    """A formula as one writes it: `d(C, W[L])` is dC/dW[L].

    Examples
    --------
    >>> written("d(C, W[L][j, k]) = sum(delta[L][j, i] for i in samples)")
    'dC/dW[L][j, k] = sum(delta[L][j, i] for i in samples)'
    """
    out, rest = "", text
    while (at := rest.find("d(")) >= 0:
        before = rest[at - 1] if at else " "
        if before.isalnum() or before == "_":
            out, rest = out + rest[: at + 2], rest[at + 2 :]
            continue
        end = _closing(rest, at + 1)
        of, by = _split(rest[at + 2 : end])
        quotient = f"d{of}/d{by}"
        follows = rest[end + 1 :].lstrip()
        inside = follows.startswith(("/", "**")) or rest[:at].rstrip().endswith("/")
        out, rest = out + rest[:at] + (f"({quotient})" if inside else quotient), rest[end + 1 :]
    return out + rest


def _closing(text: str, opening: int) -> int:
    """Where the bracket that opens at `opening` closes."""
    depth = 0
    for at in range(opening, len(text)):
        depth += (text[at] in "([") - (text[at] in ")]")
        if not depth:
            return at
    raise ValueError(f"an open bracket in {text!r}")


def _split(arguments: str) -> tuple[str, str]:
    """The two arguments of d."""
    call = ast.parse(f"f({arguments})", mode="eval").body
    assert isinstance(call, ast.Call)
    of, by = (ast.get_source_segment(f"f({arguments})", argument) or "" for argument in call.args)
    return of, by


# ------------------------------------------------------------------------------------------------- text into code


class _Exact(ast.NodeTransformer):
    """Numbers become the kind's own (1/2 is no float), and the letters that d and its like speak of become names."""

    def __init__(self, layered: frozenset[str]) -> None:
        self.layered = layered

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, bool) or not isinstance(node.value, int | float):
            return node
        return _call("number", node)

    def visit_Subscript(self, node: ast.Subscript) -> ast.AST:
        return ast.Subscript(self.visit(node.value), node.slice, node.ctx)  # an index stays an integer

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        equality = all(isinstance(o, ast.Eq | ast.NotEq) for o in node.ops)
        return node if equality else self.generic_visit(node)  # j != y compares indices

    def visit_Call(self, node: ast.Call) -> ast.AST:
        name = node.func.id if isinstance(node.func, ast.Name) else ""
        if name in ("range", "kron", "rows"):
            return node
        if name in _BY_NAME:
            return ast.Call(node.func, [self.reference(argument) for argument in node.args], [])
        return self.generic_visit(node)

    def reference(self, node: ast.expr) -> ast.expr:
        """The code of (name, layer or None, entry) for `C`, `W[l]`, `c[i]`, `W[l][j, k]`."""
        slices: list[ast.expr] = []
        while isinstance(node, ast.Subscript):
            slices.insert(0, node.slice)
            node = node.value
        assert isinstance(node, ast.Name)
        layer: ast.expr = ast.Constant(None)
        if node.id in self.layered and slices:
            layer = slices.pop(0)
        entry = slices[0] if slices else ast.Tuple([], ast.Load())
        entry = entry if isinstance(entry, ast.Tuple) else ast.Tuple([entry], ast.Load())
        return ast.Tuple([ast.Constant(node.id), layer, entry], ast.Load())


def _call(function: str, *arguments: ast.expr) -> ast.Call:
    return ast.Call(ast.Name(function, ast.Load()), list(arguments), [])


@cache
def _code(text: str, layered: frozenset[str]) -> CodeType:
    tree = ast.fix_missing_locations(_Exact(layered).visit(ast.parse(text.strip(), mode="eval")))
    return compile(tree, text, "eval")


def evaluate(text: str, names: Namespace, **indices: int) -> Any:
    """The value of one side of an equation, in the names of `namespace`."""
    return eval(_code(text, names["world"].layered), {**names, **indices})


# --------------------------------------------------------------------------------------------- the notes' letters


class Layers(dict[int, Any]):
    """A letter by layers, or what is computed of each layer when it is asked for."""

    def __init__(self, layer: Callable[[int], Any]) -> None:
        super().__init__()
        self.layer = layer

    def __missing__(self, l: int) -> Any:
        self[l] = self.layer(l)
        return self[l]


def bare(numbers: Any) -> Any:
    """A number in place of an array without axes."""
    return numbers[()] if isinstance(numbers, np.ndarray) and not numbers.ndim else numbers


def namespace(way: Way) -> Namespace:
    """What a formula may name: letters, functions, constants.

    Parameters
    ----------
    way : Way
        On which numbers, and how derivatives are found.
    """
    world = way.world
    names: Namespace = {"world": world, "number": way.number, "h": getattr(way, "h", None)}
    names |= _functions(way) | _derivatives(way, world) | dict(world.constants)
    names |= {name: way.number(count) for name, count in world.counts.items()}
    for name in way.letters:
        if "[" not in name:
            names[name] = bare(way.value(name))
    for letter in world.layered:
        names[letter] = _by_layer(way, letter)
    for alias, letter in world.aliases.items():
        names[alias] = bare(way.value(letter))
    if world.delta:
        names["delta"] = Layers(lambda l: way.derivative("S", f"{world.delta}[{l}]"))
    return names


def _by_layer(way: Way, letter: str) -> Layers:
    return Layers(lambda l: bare(way.value(f"{letter}[{l}]")))


def _functions(way: Way) -> Namespace:
    """The notes' functions, elementwise on arrays of this kind of number."""
    exp, ln = (np.frompyfunc(function, 1, 1) for function in (way.exp, way.ln))

    def plainly(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def f(x: Any) -> Any:
            y = function(x)
            return way.plain(y) if isinstance(y, np.ndarray) else y

        return f

    exp, ln = plainly(exp), plainly(ln)
    half = way.number(1) / 2

    def sigma(z: Any) -> Any:
        return 1 / (1 + exp(-z))

    def sigma_prime(z: Any) -> Any:
        return exp(-z) / (1 + exp(-z)) ** 2  # not as sigma (1 - sigma), which is one of the claims

    def ones(z: Any) -> Any:
        return z * 0 + way.number(1)

    def layer(l: int) -> Callable[[Any], Any]:
        W, b = bare(way.value(f"W[{l}]")), bare(way.value(f"b[{l}]"))
        return lambda a: g[l](W @ a + b)

    kinds = way.world.activations
    g: Layers = Layers(lambda l: sigma if kinds[l] == "sigmoid" else lambda z: z)
    return {
        "exp": exp, "ln": ln, "sigma": sigma, "sigma_prime": sigma_prime, "g": g, "f": Layers(layer),
        "g_prime": Layers(lambda l: sigma_prime if kinds[l] == "sigmoid" else ones),
        "sum": lambda x: x.sum() if isinstance(x, np.ndarray) else total(x),
        "sum_i": lambda x: x.sum(axis=1, keepdims=True),  # over the samples, which stand in columns
        "norm": lambda x: sum(entry * entry for entry in x.flat) ** half,
        "diag": lambda x: x.reshape(x.shape + (1,) * x.ndim) * _unit(x.shape, way),
        "diagonal": lambda J: J[_diagonal(J)], "chain": chained,
        "kron": lambda i, j: way.number(int(i == j)),
        "rows": lambda x: range(len(x)), "shape": lambda x: np.array(x.shape), "falls": falls,
    }  # fmt: skip


def _unit(shape: tuple[int, ...], way: Way) -> Numbers:
    """The derivative of an array by itself."""
    size = int(np.prod(shape))
    return np.array([way.number(int(i == j)) for i in range(size) for j in range(size)]).reshape(shape * 2)


def _diagonal(J: Numbers) -> tuple[Any, ...]:
    half = J.ndim // 2
    return tuple(np.indices(J.shape[:half])) * 2


def chained(first: Any, *factors: Numbers) -> Any:
    """The product of Jacobians, summed over all entries of the letters between; the first is a gradient."""
    product, axes = np.asarray(first), np.ndim(first)
    for factor in factors:
        later = factor.ndim - axes
        product, axes = np.tensordot(product, factor, axes=axes), later
    return bare(product)


def falls(costs: list[Any]) -> bool:
    """Whether each is less than the one before."""
    return all(after < before for before, after in itertools.pairwise(costs))


def _derivatives(way: Way, world: World) -> Namespace:
    """What is known of the world from elsewhere: derivatives, steps, counts, costs."""

    def letter(reference: tuple[str, int | None, tuple[int, ...]]) -> str:
        name, layer, _ = reference
        name = world.aliases.get(name, name)
        return name if layer is None else f"{name}[{layer}]"

    def every(reference: tuple[str, int | None, tuple[int, ...]]) -> list[str]:
        """The letter, or, where no layer is named, all its layers."""
        name, layer, _ = reference
        return (
            [f"{name}[{l}]" for l in world.layers] if name in world.layered and layer is None else [letter(reference)]
        )

    def d(of: Any, by: Any) -> Any:
        return bare(way.derivative(letter(of), letter(by))[_entry(way, letter(of), of[2], by[2])])

    def count(of: Any) -> Any:
        """How many numbers the letter has, in all layers together."""
        return way.number(sum(numbers.size for name, numbers in world.given.items() if name.startswith(f"{of[0]}[")))

    def cost(*parameters: Any) -> Any:
        """C at other values of the parameters."""
        at = {name: np.array(value, dtype=object) for name, value in zip(world.parameters, parameters, strict=True)}
        return way.run(at)["C"][()]

    def descent(rate: float, steps: float) -> list[Any]:
        return [cost(*at) for at in path(rate, steps)]

    def path(rate: float, steps: float) -> Iterator[list[Any]]:
        """The parameters before, between and after these steps of gradient descent."""
        at = [way.letters[name] for name in world.parameters]
        for step in range(int(steps) + 1):
            yield [bare(p) for p in at]
            if step < steps:
                here = type(way)(world)
                here.given = {
                    **way.given,
                    **{n: np.array(p, dtype=object) for n, p in zip(world.parameters, at, strict=True)},
                }
                at = [p - rate * here.derivative("C", name) for name, p in zip(world.parameters, at, strict=True)]

    def end(rate: float, steps: float) -> Numbers:
        *_, last = path(rate, steps)
        return np.array(last)

    def neuron(w: Any, x: Any, b: Any) -> Any:
        """What the neuron gives for one input: the loops, with this input in place of the first sample's."""
        inputs = way.letters["x"].copy()
        inputs[0] = x
        return way.run({"w": np.array(w, dtype=object), "b": np.array(b, dtype=object), "x": inputs})["q"][0]

    return {
        "d": d, "count": count, "cost": cost, "descent": descent, "end": end, "neuron": neuron,
        "after": lambda name: bare(way.plain(way.after(letter(name)))),
        "along": lambda of, *moving: way.along(letter(of), [n for name in moving for n in every(name)]),
    }  # fmt: skip


def _entry(way: Way, of: str, of_entry: tuple[int, ...], by_entry: tuple[int, ...]) -> tuple[Any, ...]:
    """Where d of[i] / d by[j] stands in the array of all of them."""
    missing = way.letters[of].ndim - len(of_entry) if by_entry else 0
    return (*of_entry, *(slice(None),) * missing, *by_entry)


# ----------------------------------------------------------------------------------------------------- the sides


@dataclass(frozen=True)
class Sides:
    """Both sides of a formula, evaluated: a pair of arrays for each member, layer and choice of free indices."""

    pairs: list[tuple[Any, Any]]

    @property
    def shapes(self) -> str | None:
        """The first pair of shapes that differ, right side first; None where all are equal."""
        for left, right in self.pairs:
            if np.shape(left) != np.shape(right):
                return f"shape {np.shape(right)}!={np.shape(left)}"
        return None

    @property
    def error(self) -> float:
        """The greatest difference, relative to the greatest number on the left; inf where shapes cannot be compared.

        A side of fewer axes is taken as the same along the others, as NumPy does: so one reads a formula that drops
        an index.
        """
        try:
            difference = max(_greatest(right - left) for left, right in self.pairs)
        except ValueError:
            return float("inf")
        scale = max(_greatest(left) for left, _ in self.pairs)
        return float(difference / scale if scale else difference)


def _greatest(numbers: Any) -> Any:
    return max((abs(x) for x in np.asarray(numbers, dtype=object).flat), default=0.0)


def sides(text: str, left: Namespace, right: Namespace, over: str = "") -> Sides:
    """Both sides of a formula: the left in one namespace, the right in another.

    Parameters
    ----------
    text : str
    left, right : dict
        As `namespace` gives them, of the same world.
    over : str, optional
        "l in 1..L-1": the layers for which the formula is said.
    """
    pairs = []
    for equation in equations(text):
        for layer in layers(over, left):
            for indices in free(equation, {**left, **layer}):
                at = {**layer, **indices}
                known = evaluate(equation.left, left, **at)
                pairs += [(known, evaluate(member, right, **at)) for member in equation.members]
    return Sides(pairs)


def layers(over: str, names: Namespace) -> Iterator[dict[str, int]]:
    """The values of the letter that counts layers: "l in 1..L-1"."""
    if not over:
        yield {}
        return
    letter, _, bounds = over.partition(" in ")
    low, high = (eval(bound, {"L": names.get("L")}) for bound in bounds.split(".."))
    for l in range(low, high + 1):
        yield {letter: l}


def free(equation: Equation, names: Namespace) -> Iterator[dict[str, int]]:
    """All values of the indices that the left side names and nothing else does, where the condition holds."""
    ranges: dict[str, int] = {}
    for node in ast.walk(ast.parse(equation.left, mode="eval")):
        if isinstance(node, ast.Subscript):
            slices = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
            for axis, index in enumerate(slices):
                if isinstance(index, ast.Name) and index.id not in names:
                    indexed = evaluate(ast.unparse(node.value), names)
                    ranges.setdefault(index.id, np.shape(indexed)[axis])
    for values in itertools.product(*map(range, ranges.values())):
        indices = dict(zip(ranges, values, strict=True))
        if eval(equation.condition, {**names, **indices}):
            yield indices
