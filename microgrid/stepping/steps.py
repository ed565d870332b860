"""A backward pass, one node at a time.

>>> import microgrid as mg
>>> x = mg.Value(3.0, name="x")
>>> for step in mg.steps(x * x + 2 * x):
...     print(step.op, step.upstream, [(c.label, c.local, c.value) for c in step.contributions])
add 1.0 [('%1', 1.0, 1.0), ('%2', 1.0, 1.0)]
multiply 1.0 [('x', 2.0, 2.0)]
multiply 1.0 [('x', 3.0, 3.0), ('x', 3.0, 3.0)]
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from microgrid import kinds, sites
from microgrid.graph import Node, Share, Walk, check_root, keep, seeded, topological_order
from microgrid.rule import Rule

__microgrid_machinery__ = True


class Summary(NamedTuple):
    """What a tape keeps of an array of more than 4,096 numbers. Of those that are finite: least, mean, largest."""

    shape: tuple[int, ...]
    dtype: str
    least: float
    mean: float
    largest: float
    not_finite: int

    def __str__(self) -> str:
        extent = f"{self.shape} {self.dtype} in [{self.least:.4g}, {self.largest:.4g}], mean {self.mean:.4g}"
        return extent + (f", {self.not_finite} not finite" if self.not_finite else "")

    def __repr__(self) -> str:
        return one_line(f"<array {self}>")

    @property
    def is_finite(self) -> bool:
        """Whether all numbers are."""
        return not self.not_finite


class Frozen:
    """What does not change once it is made, from its fields in the order of `__match_args__`."""

    __slots__ = ()
    __match_args__: tuple[str, ...] = ()

    def __init__(self, *fields: Any) -> None:
        for name, field in zip(self.__match_args__, fields, strict=True):
            object.__setattr__(self, name, field)

    def __setattr__(self, name: str, item: Any) -> None:
        raise AttributeError(f"a {type(self).__name__} does not change: {name!r}, at {sites.here()}")

    def __delattr__(self, name: str) -> None:
        self.__setattr__(name, None)

    def __reduce__(self) -> Any:
        return type(self), tuple(getattr(self, name) for name in self.__match_args__)


class Applied(Frozen):
    """The numbers of one node in a backward pass: what each of its derivatives is called with.

    Attributes
    ----------
    rule : type of Rule, or None
        None where the rule is a user's and the tape was read from a file.
    g, z, inputs : number, array or Summary
    parameters : dict
    """

    __slots__ = ("g", "inputs", "parameters", "rule", "z")
    __match_args__ = ("rule", "g", "z", "inputs", "parameters")

    rule: type[Rule] | None
    g: Any
    z: Any
    inputs: tuple[Any, ...]
    parameters: dict[str, Any]

    def share(self, position: int, g: Any) -> Any:
        """What the derivative for an input gives for a gradient g, before it is fitted to the input's shape."""
        assert self.rule is not None
        wrt = self.rule.wrt[0 if self.rule.variadic else position]
        assert wrt is not None
        z, *inputs = map(_standing_in, (self.z, *self.inputs))
        kind = kinds.kind_of(z)
        arguments, parameters = kind.arguments([_standing_in(g), z, *inputs]), kind.parameters(self.parameters)
        try:
            share = kinds.quietly(wrt, *arguments, **parameters)
        except (ArithmeticError, ValueError):
            share = kind.again(wrt, arguments, parameters)
        if share.__class__ is complex:
            share = kind.again(wrt, arguments, parameters)
        return share[position] if self.rule.variadic else share

    def __repr__(self) -> str:
        rule = self.rule.__name__ if self.rule else "a rule"
        return one_line(f"<{rule} applied to {', '.join(map(brief, self.inputs))}: {brief(self.z)}>")


def _standing_in(x: Any) -> Any:
    """A number; in place of the array of a summary one of its shape and type, which takes no room."""
    return np.broadcast_to(np.ones((), x.dtype), x.shape) if isinstance(x, Summary) else x


class Told(NamedTuple):
    """What a file says of a contribution."""

    local: Any
    reduced: tuple[int, ...]
    formula: str


class Contribution(Frozen):
    """What one node adds to the gradient of one of its inputs.

    Attributes
    ----------
    input : Node
    label : str
        The input's name, or its number in the graph, as `%3`.
    slot : str
        Its name in the rule: x, y, W, xs[2].
    value : number or array
        This share, in the input's shape.
    before : number, array or None
        The input's gradient in this pass so far; None where this is the first share.
    after : number or array
        before + value, exactly.
    position : int
        Which of the node's inputs it is.
    applied : Applied
        The numbers that it was computed from.
    """

    __slots__ = ("after", "applied", "before", "input", "label", "position", "slot", "told", "value")
    __match_args__ = ("input", "label", "slot", "value", "before", "after", "position", "applied", "told")

    input: Any
    label: str
    slot: str
    value: Any
    before: Any
    after: Any
    position: int
    applied: Applied
    told: Told | None

    @property
    def local(self) -> Any:
        """dz/dx, of scalars: value = upstream * local. None for arrays."""
        if self.told:
            return self.told.local
        z = self.applied.z
        if isinstance(z, (np.ndarray, Summary)):
            return None
        local = self.applied.share(self.position, kinds.kind_of(z).one(z))
        return float(local) if isinstance(z, float) else local

    @property
    def reduced(self) -> tuple[int, ...]:
        """The axes of the share that broadcasting had repeated, and over which it was summed."""
        if self.told:
            return self.told.reduced
        if not isinstance(self.applied.g, (np.ndarray, Summary)):
            return ()
        given, own = np.shape(self.applied.share(self.position, self.applied.g)), shape(self.value)
        extra = len(given) - len(own)
        if extra < 0:
            return ()
        return (*range(extra), *(extra + a for a, n in enumerate(own) if n == 1 and given[extra + a] != 1))

    @property
    def formula(self) -> str:
        """How the share is computed, in the words of the rule: `g @ W`, `g * y, summed over axis 0`."""
        if self.told:
            return self.told.formula
        assert self.applied.rule is not None
        own = shape(self.value)
        words = written(self.applied.rule, self.position, len(own) == 1)
        if not isinstance(self.applied.g, (np.ndarray, Summary)):
            return words
        given, reduced = np.shape(self.applied.share(self.position, self.applied.g)), self.reduced
        if reduced:
            words += f", summed over {'axes' if len(reduced) > 1 else 'axis'} {', '.join(map(str, reduced))}"
        elif given != own:
            words += f", the same for all of {own}"
        return words

    def __repr__(self) -> str:
        return one_line(f"<{self.label} as {self.slot}: += {brief(self.value)}, now {brief(self.after)}>")


class Step(Frozen):
    """One node of a backward pass: its gradient comes from above, and its inputs take their shares.

    Attributes
    ----------
    index, total : int
        Steps count from 0.
    node : Node
    label : str
        The node's name, or its number in the graph, as `%7`.
    module : str
        The path of the module in whose call the node was made; empty outside modules, or where no model was given.
    applied : Applied
        What the rule's derivatives were called with: g, z, inputs and parameters, as numbers.
    contributions : tuple of Contribution
        One for each input that takes a share, in order.
    """

    __slots__ = ("applied", "contributions", "index", "label", "module", "node", "total")
    __match_args__ = ("index", "total", "node", "label", "module", "applied", "contributions")

    index: int
    total: int
    node: Any
    label: str
    module: str
    applied: Applied
    contributions: tuple[Contribution, ...]

    @property
    def upstream(self) -> Any:
        """dL/d(node), complete; as its hooks left it."""
        return self.applied.g

    @property
    def name(self) -> str | None:
        """The node's name."""
        name: str | None = self.node.name
        return name

    @property
    def op(self) -> str:
        """The name of the rule."""
        return self.node.rule.__name__ if self.node.rule else str(self.node.op)

    @property
    def rule(self) -> type[Rule] | None:
        """The operation that is differentiated."""
        rule: type[Rule] | None = self.node.rule
        return rule

    @property
    def inputs(self) -> tuple[Any, ...]:
        """What the rule was applied to: nodes, and plain numbers."""
        inputs: tuple[Any, ...] = self.node.inputs
        return inputs

    @property
    def source(self) -> sites.Site | None:
        """The user's expression that made the node."""
        site: sites.Site | None = self.node.site
        return site

    @property
    def is_finite(self) -> bool:
        """Whether neither the gradient from above nor a share holds nan or infinity."""
        return all(map(finite, [self.upstream, *(c.value for c in self.contributions)]))

    def __str__(self) -> str:
        text = self.source.expression if self.source else ""
        parts = [f"{self.index + 1}/{self.total}", " = ".join([self.label, *([text] if text else [])]), f"[{self.op}]"]
        parts += [str(self.source)] if self.source else []
        return "  ".join([*parts, f"upstream {brief(self.upstream)}"])

    def __repr__(self) -> str:
        return one_line(f"<Step {self.index + 1}/{self.total}: {self.label}, {self.op}, {brief(self.upstream)}>")


def steps(root: Node, gradient: Any = None, *, params: Any = None) -> Iterator[Step]:
    """The backward pass of `root.backward(gradient)`, yielded operation by operation, newest first.

    It is the same walk as `backward()`: when it has run to its end the same gradients are stored; stopped before
    that, none are. No mode or lock is held while it is suspended.

    Parameters
    ----------
    root : Value or Tensor
    gradient : optional
        As for `backward`.
    params : Module, or mapping of str to node, optional
        Names: of a model's parameters and modules (whatever has `named_parameters()`), or of nodes.

    Yields
    ------
    Step

    Raises
    ------
    ValueError, StaleError
        As `backward`.
    """
    check_root(root, "steps")
    order = topological_order(root)
    walk = Walk(order, {root: seeded(root, gradient, create_graph=False)})
    return _stepped(walk, Names(order, params))


def _stepped(walk: Walk, names: Names) -> Iterator[Step]:
    total, index = len(reached(walk)), 0
    operations = (done for done in walk if done[0].rule is not None)
    while True:
        with np.errstate(all="ignore"):
            done = next(operations, None)  # after the last operation, the hooks of leaves
        if done is None:
            break
        node, g, shares = done
        yield step_of(node, applied_to(node, g), shares, names, index, total)
        index += 1
    keep(walk.order, walk.gradients, None, False)


def reached(walk: Walk) -> list[Node]:
    """The operations that a gradient will reach, newest first."""
    found = set(walk.gradients)
    operations = []
    for node in reversed(walk.order):
        if node in found and node.rule is not None:
            operations.append(node)
            for position, x in enumerate(node.inputs):
                wrt = node.rule.wrt[0 if node.rule.variadic else position]
                if isinstance(x, Node) and x.requires_grad and wrt and (walk.wanted is None or x in walk.wanted):
                    found.add(x)
    return operations


def applied_to(node: Node, g: Any) -> Applied:
    """What the derivatives of a node's rule are called with for a gradient g."""
    numbers = tuple([x._data if isinstance(x, Node) else x for x in node.inputs])
    return Applied(node.rule, g, node._data, numbers, node.parameters)


def step_of(node: Node, applied: Applied, shares: Sequence[Share], names: Names, index: int, total: int) -> Step:
    """The step in which a node hands its gradient on."""
    rule, labels = node.rule, names.labels
    assert rule is not None
    contributions = tuple(
        [
            Contribution(x, labels[x], slot(rule, position), share, before, after, position, applied, None)
            for position, share, before, after in shares
            for x in (node.inputs[position],)
        ]
    )
    return Step(index, total, node, labels[node], names.module(node), applied, contributions)


def slot(rule: type[Rule], position: int) -> str:
    """What the rule calls an input."""
    return f"{rule.inputs[0]}[{position}]" if rule.variadic else rule.inputs[position]


class Names:
    """What the nodes of a graph are called, and in which module's call each was made.

    Parameters
    ----------
    order : sequence of Node
        As `topological_order` gives it.
    params : optional
        As for `steps`.

    Attributes
    ----------
    labels : dict of Node to str
        The path of a parameter in the model, else the node's name, else its place in the order, as `%7`. No two nodes
        share one: the second `x`, at place 9, is `x%9`.

    Raises
    ------
    TypeError
        If `params` names nothing.
    """

    def __init__(self, order: Sequence[Node], params: Any = None) -> None:
        given = {} if params is None else _named(params)
        self.labels: dict[Node, str] = {}
        taken = set[str]()
        for place, node in enumerate(order):
            label = given.get(node) or (node.name if node._extra else None) or f"%{place}"
            if label in taken:  # two nodes of one name
                label = f"{label}%{place}"
            taken.add(label)
            self.labels[node] = label
        self._calls = sorted(_calls(params), key=lambda call: (call[0], -call[1]))
        self._begun = [begun for begun, _, _ in self._calls]
        self._outer: list[int] = []  # for each call the last one before it that had not ended, -1 without one
        open_calls = list[int]()
        for place, begun in enumerate(self._begun):
            while open_calls and self._calls[open_calls[-1]][1] <= begun:
                open_calls.pop()
            self._outer.append(open_calls[-1] if open_calls else -1)
            open_calls.append(place)

    def module(self, node: Node) -> str:
        """The path of the innermost module in whose call the node was made."""
        place = bisect_right(self._begun, node._number) - 1  # the last call that had begun
        while place >= 0 and self._calls[place][1] <= node._number:
            place = self._outer[place]
        return self._calls[place][2] if place >= 0 else ""


def _named(params: Any) -> dict[Node, str]:
    named: Any = params.items() if isinstance(params, Mapping) else getattr(params, "named_parameters", list)()
    found = {node: name for name, node in named if isinstance(node, Node)}
    if not found and not hasattr(params, "named_parameters"):
        raise TypeError(
            f"params: expected a model (with named_parameters()) or a mapping of names to nodes, got "
            f"{type(params).__name__}, at {sites.here()}"
        )
    return found


def _calls(params: Any) -> Iterator[tuple[int, int, str]]:
    for path, module in getattr(params, "named_modules", list)():
        for begun, ended in getattr(module, "calls", list)():
            if path:
                yield begun, ended, path


@cache
def _of_wrt(code: CodeType, vector: bool) -> str:
    """What a function returns, as its source has it; empty where the source is not to be had."""
    import ast  # here, since they take longer to import than the engine
    import inspect

    try:
        tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(code)))
    except (OSError, SyntaxError, TypeError):
        return ""
    returns = [node.value for node in ast.walk(tree) if isinstance(node, ast.Return) and node.value]
    if not returns:
        return ""
    chosen = returns[-1]
    if isinstance(chosen, ast.IfExp) and ast.unparse(chosen.test) == "vector":
        chosen = chosen.body if vector else chosen.orelse
    return ast.unparse(chosen)


SPOKEN = {  # what rules write to have the shapes right
    "kept(g, x, axis)": "g",
    "kept(z, x, axis)": "z",
    "count(x, axis)": "n",
    "freedom(x, axis, correction)": "(n - correction)",
    "rows(g).T @ rows(x)": "g.T @ x",
    "transpose(g, axes=inverse(axes))": "transpose(g) back",
    "einsum_adjoints(einsum, g, xs, subscripts)": "einsum of g and the others",
    "[g] * len(xs)": "g",
    "[g * x for x in xs[len(xs) // 2:] + xs[:len(xs) // 2]]": "g * the other of its pair",
    "ties(x == z, axis)": "(x == z, ties share)",
    "others(x, axis)": "product of the others",
    "2 * d /": "2 * (x - mean) /",
    "where(s == 0, 0, d / (s * (n - correction)))": "where(z == 0, 0, (x - mean) / (z * (n - correction)))",
    "sum(g * z, axis=axis, keepdims=True)": "sum(g * z)",
    "sum(g, axis=axis, keepdims=True)": "sum(g)",
    "flip(cumsum(flip(g, axis=axis), axis=axis), axis=axis)": "cumsum of g from the end",
    "reshape(g, shape=x.shape)": "reshape(g) back",
    "flip(g, axis=axis)": "flip(g)",
    "scatter(g, at=at, shape=x.shape)": "g at the index, 0 elsewhere",
    "index(g, at=at)": "g at the index",
    "add_along_axis(g, i, axis=axis, shape=x.shape)": "g added up at i",
    "take_along_axis(g, i, axis=axis)": "g taken at i",
    "[g[at] for at in pieces(xs, axis)]": "its piece of g",
    "[g[at] for at in slots(xs, axis)]": "its slot of g",
}


def written(rule: type[Rule], position: int, vector: bool = False) -> str:
    """A derivative of a rule as its source writes it: `g * y`.

    Parameters
    ----------
    rule : type of Rule
    position : int
    vector : bool, optional
        Of an input with one axis; some rules tell it from a matrix.
    """
    wrt = rule.wrt[0 if rule.variadic else position]
    words = _of_wrt(wrt.__code__, vector) if wrt else ""
    if rule.ours:
        for code, spoken in SPOKEN.items():
            words = words.replace(code, spoken)
    return words


def shape(x: Any) -> tuple[int, ...]:
    """The shape of an array or of what a tape keeps of it; () of a number."""
    return x.shape if isinstance(x, (np.ndarray, Summary)) else ()


def finite(x: Any) -> bool:
    """Whether a number or all numbers of an array are finite; a symbol is."""
    if isinstance(x, float):
        return math.isfinite(x)
    if isinstance(x, np.ndarray):
        return x.dtype.kind not in "fc" or bool(np.isfinite(x).all())
    return bool(getattr(x, "is_finite", True) is not False)


def brief(x: Any) -> str:
    """A number in six digits; an array by its numbers, if they are few, else by its shape and range."""
    if isinstance(x, float):
        return f"{x:.6g}"
    if isinstance(x, np.ndarray):
        if not x.ndim:
            return f"{x.item():.6g}" if x.dtype.kind == "f" else str(x.item())
        if x.size <= 6:
            return " ".join(np.array2string(x, precision=4, threshold=6, max_line_width=1000).split())
        if x.size > SHOWN:
            return f"{x.shape} {x.dtype}"
        low, high = (float(x.min()), float(x.max())) if x.dtype.kind == "f" else (x.min(), x.max())
        return f"{x.shape} in [{low:.4g}, {high:.4g}]"
    return "-" if x is None else str(x)


SHOWN = 4096  # numbers: of an array of more, a line of text shows the shape alone, since debuggers ask all the time


def one_line(text: str) -> str:
    """A text as a debugger shows it beside a name: on one line, of at most 80 characters."""
    text = " ".join(text.split())
    return text if len(text) <= 80 else f"{text[:76]}...{text[-1]}"
