"""A function run on variables of its own, and the adjoint of its derivative: what all transforms are made of."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from microgrid import functions, kinds, modes, nested, rules, sites, stale
from microgrid.graph import Node, Walk, entered, followed, next_number, paths_to, topological_order
from microgrid.tensor import Tensor
from microgrid.value import Value

__microgrid_machinery__ = True


class Pullback:
    """The adjoint of the derivative of some nodes by others: v -> J^T v, as often as it is asked for."""

    def __init__(self, outputs: Sequence[Node], variables: Sequence[Node], oldest: int) -> None:
        self.outputs, self.variables = outputs, variables
        self.order = topological_order(*outputs, oldest=oldest)  # a variable is no older than that
        self.wanted = paths_to(self.order, variables)

    def __call__(self, seeds: Iterable[Any], recorded: bool) -> list[Any]:
        """The share of each variable, None where nothing depends on it: a number, or a node if it is recorded."""
        gradients: dict[Node, Any] = {}
        stop = followed(self.order, entered())
        recording = modes.enable_grad() if recorded and not modes.is_grad_enabled() else contextlib.nullcontext()
        with np.errstate(all="ignore"), recording:
            for z, seed in zip(self.outputs, seeds, strict=True):
                if z in self.wanted and seed is not None:
                    seed = z._wrap(seed) if recorded and not isinstance(seed, Node) else seed
                    gradients[z] = gradients[z] + seed if z in gradients else seed
            Walk(self.order, gradients, self.wanted, recorded).run(stop)
        return [gradients.get(x) for x in self.variables]


class Run:
    """One call of a function on variables of its own, and what it gave.

    Attributes
    ----------
    given : container
        What is differentiated by: an argument, or a tuple of several.
    variables : list of Node
        One for each leaf of `given`.
    outputs : list of Node
        The leaves of what the function returned.
    outside : bool
        Whether an output depends on a node of before the call that requires a gradient.
    """

    _aux: Any

    def __init__(
        self, name: str, func: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any],
        argnums: int | tuple[int, ...] | None, has_aux: bool = False,
    ) -> None:  # fmt: skip
        self.name, self.first = name, next_number()
        places = range(len(args)) if argnums is None else [argnums] if isinstance(argnums, int) else argnums
        chosen = [_argument(name, args, place) for place in places]
        check_unique(name, argnums, chosen)
        self.given = args[chosen[0]] if isinstance(argnums, int) else tuple(args[place] for place in chosen)
        numbers = [leaf for place in chosen for leaf in nested.leaves(args[place], f"argument {place}")]
        if not numbers:
            raise ValueError(f"{name}: there is nothing to differentiate by, at {sites.here()}")
        self.nodes = any(isinstance(x, Node) for _, x in numbers)
        self.variables = [_variable(x, f"{name}: {path}") for path, x in numbers]
        waiting, arguments = iter(self.variables), list(args)
        for place in chosen:
            arguments[place] = nested.rebuilt(args[place], waiting)  # the function may write to its own containers
        before = [x._number for x in self.variables]
        with contextlib.nullcontext() if modes.is_grad_enabled() else modes.enable_grad():
            returned = func(*arguments, **keywords)
        self.returned, self._aux = self._apart(returned) if has_aux else (returned, ())
        self.outputs = [self._output(path, z) for path, z in nested.leaves(self.returned)]
        self._check_unwritten(numbers, before)
        self.pull = Pullback(self.outputs, self.variables, self.first)
        self.outside = self._reaches_out(self.pull.order)

    # ------------------------------------------------------------------ what the function gave

    def _apart(self, returned: Any) -> tuple[Any, Any]:
        if not isinstance(returned, tuple) or len(returned) != 2:
            raise TypeError(
                f"{self.name}: has_aux=True: expected the function to return (output, aux), got "
                f"{type(returned).__name__}, at {sites.here()}"
            )
        return returned

    def _output(self, path: str, z: Any) -> Node:
        if not isinstance(z, Node):
            why = ""
            if isinstance(z, (int, float, np.ndarray, np.generic)):
                why = " (a plain number: did it leave the graph, by float(), .item() or .data?)"
            raise TypeError(
                f"{self.name}: expected the function to return a Value or a Tensor, got {type(z).__name__}"
                f"{' at ' + path if path else ''}{why}, at {sites.here()}"
            )
        if isinstance(z, Tensor) and z.dtype.kind != "f":
            raise TypeError(
                f"{self.name}: the function returned a Tensor of {z.dtype}, which has no gradient, at {sites.here()}"
            )
        return z

    def _check_unwritten(self, numbers: Sequence[tuple[str, Any]], before: Sequence[int]) -> None:
        for (path, _), x, number in zip(numbers, self.variables, before, strict=True):
            marks = x._extra or {}
            if x._number != number or "written" in marks or (
                "handed" in marks and stale.fingerprint(x._data) != marks["handed"]
            ):  # fmt: skip
                raise stale.StaleError(
                    f"{self.name}: the function wrote to the data of its {path}, so that its derivatives would be "
                    f"those at another point: compute a new Value or Tensor instead, at {sites.here()}"
                )

    def _reaches_out(self, order: Iterable[Node]) -> bool:
        return modes.is_grad_enabled() and any(x.requires_grad and x._number < self.first for x in order)

    def seed_of_one_number(self) -> Any:
        """The seed of a gradient: one.

        Raises
        ------
        TypeError, ValueError
            If the function gave several numbers.
        """
        if not isinstance(self.returned, Node):
            kind = type(self.returned).__name__
            raise TypeError(f"{self.name}: expected the function to return one number, got a {kind}, at {sites.here()}")
        if np.size(self.returned._data) != 1:
            raise ValueError(
                f"{self.name}: grad can be implicitly created only for scalar outputs: the function returned shape "
                f"{np.shape(self.returned._data)}; take .sum(), or mg.jacobian or mg.vjp, at {sites.here()}"
            )
        return one(self.returned)

    # ------------------------------------------------------------------ forward mode and Jacobians

    def transposed(self) -> tuple[Pullback, list[int]]:
        """The vjp as a function of its cotangents, which is linear: the pullback of it.

        And the positions of the variables whose shares are its outputs: on the others no output depends.
        """
        oldest = next_number()
        cotangents = [z._wrap(zero(z)).requires_grad_() for z in self.outputs]
        shares = self.pull(cotangents, True)
        for share in shares:
            number = 0 if share is None else share._data
            if np.any(np.isfinite(number) & (number != 0)) if isinstance(number, (float, np.ndarray)) else False:
                raise ValueError(
                    f"{self.name}: a derivative in it is not linear in g, the gradient from above, as every wrt_* must "
                    f"be: at g = 0 it gives {number!s:.60}, at {sites.here()}"
                )
        self._check_linear()
        reached = [i for i, share in enumerate(shares) if share is not None]
        return Pullback([shares[i] for i in reached], cotangents, oldest), reached

    def _check_linear(self) -> None:
        """Refuse a user's rule of which the forward mode would make a wrong number."""
        users = [node for node in self.pull.order if node.rule is not None and not node.rule.ours]
        seeds = [1.25 * one(z) for z in self.outputs if isinstance(z._data, (float, np.ndarray))]
        if users and len(seeds) == len(self.outputs) and not is_linear(lambda gs: self.pull(gs, False), seeds):
            names = ", ".join(dict.fromkeys(node.rule.__name__ for node in users if node.rule is not None))
            raise ValueError(
                f"{self.name}: a derivative in it ({names}) is not linear in g, the gradient from above, as every "
                f"wrt_* must be, at {sites.here()}"
            )

    def push(self, tangents: Sequence[Any], recorded: bool) -> list[Any]:
        """J v: the share of each output, None where it depends on no variable."""
        pullback, reached = self.transposed()
        return pullback([tangents[i] for i in reached], recorded)

    def is_tall(self) -> bool:
        """Whether the Jacobian is made column by column in fewer passes."""
        heights, widths = (sum(np.size(x._data) for x in nodes) for nodes in (self.outputs, self.variables))
        return bool(heights > 2 * widths + 2)

    def rows(self) -> Iterator[list[Any]]:
        """For each output its derivatives by each variable, by one pass for each element of the output."""
        for i, z in enumerate(self.outputs):
            shares = [
                self.pull([seed if j == i else None for j in range(len(self.outputs))], self.outside)
                for seed in _unit(z)
            ]
            yield [_joined(z, x, [row[k] for row in shares]) for k, x in enumerate(self.variables)]

    def columns(self) -> Iterator[list[Any]]:
        """The same by one pass for each element of the variables."""
        pullback, reached = self.transposed()
        blocks: dict[int, list[Any]] = {}
        for place, k in enumerate(reached):
            x = self.variables[k]
            shares = [
                pullback([seed if j == place else None for j in range(len(reached))], self.outside) for seed in _unit(x)
            ]
            blocks[k] = [
                _turned(_joined(x, z, [column[i] for column in shares]), np.ndim(x._data))
                for i, z in enumerate(self.outputs)
            ]
        for i, z in enumerate(self.outputs):
            yield [blocks[k][i] if k in blocks else _joined(z, x, []) for k, x in enumerate(self.variables)]

    # ------------------------------------------------------------------ handing out

    def finished(self, number: Any, recorded: bool) -> Any:
        """A result as the caller gets it: a node that stays in the graph, a node of its own, or a number."""
        if isinstance(number, Node):
            return number
        if isinstance(number, (np.ndarray, np.generic)):  # NumPy gives its scalars where an array has no axes
            number = np.array(number)
        return _face(number)._new(number, False) if self.nodes or recorded else number

    def handed(self, shares: Iterable[Any], likes: Iterable[Node], recorded: bool) -> list[Any]:
        """Shares as the caller gets them; 0 where there is none."""
        return [
            self.finished(zero(x) if share is None else share, recorded) for share, x in zip(shares, likes, strict=True)
        ]

    def contained(self, shares: Iterable[Any], recorded: bool) -> Any:
        """One result for each variable, in containers as the arguments."""
        return nested.rebuilt(self.given, self.handed(shares, self.variables, recorded))

    def value(self) -> Any:
        """What the function gave."""
        return nested.rebuilt(self.returned, (self._own(z, self.outside) for z in self.outputs))

    def aux(self) -> Any:
        """What the function gave besides."""
        items = [x for _, x in nested.leaves(self._aux)]
        listed = [x for x in items if isinstance(x, Node)]
        outside = self._reaches_out(topological_order(*listed, oldest=self.first))
        return nested.rebuilt(self._aux, (self._own(x, outside) if isinstance(x, Node) else x for x in items))

    def _own(self, z: Node, outside: bool) -> Any:
        return z if outside else self.finished(z._data, False)


def is_linear(pull: Callable[[list[Any]], Iterable[Any]], seeds: Sequence[Any]) -> bool:
    """Whether -2 times the seeds give -2 times the shares: not where a rule ignores g, squares it or takes |g|."""
    once, turned = (
        [np.asarray(0 if share is None else getattr(share, "_data", share), float) for share in shares]
        for shares in (pull([factor * seed for seed in seeds]) for factor in (1.0, -2.0))
    )
    with np.errstate(all="ignore"):  # a factor of 2 costs no rounding
        return all(np.allclose(-2 * a, b, rtol=1e-9, atol=0, equal_nan=True) for a, b in zip(once, turned, strict=True))


def check_unique(name: str, argnums: Any, places: Sequence[int]) -> None:
    """Refuse an argument that is named twice."""
    if len(set(places)) != len(places):
        raise ValueError(f"{name}: argnums elements must be unique, got {argnums}, at {sites.here()}")


def _argument(name: str, args: tuple[Any, ...], place: int) -> int:
    if not -len(args) <= place < len(args):
        raise ValueError(f"{name}: got argnum={place}, but only {len(args)} positional inputs, at {sites.here()}")
    return place % len(args)


def _variable(x: Any, what: str) -> Node:
    """A node of the transform's own that holds x; made of x, where x itself has a gradient to come."""
    try:
        if not isinstance(x, Node):
            return Tensor(x, requires_grad=True) if isinstance(x, np.ndarray) else Value(x)
        if x.requires_grad and modes.is_grad_enabled():
            made: Node = rules.positive(x)
        else:
            made = Tensor(x._data, requires_grad=True) if isinstance(x, Tensor) else Value(x._data)
    except TypeError as error:
        raise TypeError(f"{what}: {error}") from None
    if x.name is not None:
        made.name = x.name
    return made


def one(z: Node) -> Any:
    """Ones as many as the node has numbers, of its kind."""
    return kinds.kind_of(z._data).one(z._data)


def zero(z: Node) -> Any:
    """Zeros as many as the node has numbers, of its kind."""
    return np.zeros_like(z._data) if isinstance(z, Tensor) else one(z) * 0


def _face(number: Any) -> type[Node]:
    face: type[Node] = kinds.kind_of(number).face
    return face


def differentiable(given: Iterable[tuple[str, Any]]) -> bool:
    """Whether tangents or cotangents are nodes that a gradient must reach."""
    return any(isinstance(x, Node) and x.requires_grad for _, x in given)


def fitted(nodes: Sequence[Node], given: Sequence[tuple[str, Any]], recorded: bool) -> list[Any]:
    """Tangents or cotangents as numbers (or nodes, if recorded) of the shapes and precisions of the nodes.

    Raises
    ------
    TypeError, ValueError
        Where one does not fit.
    """
    fitted: list[Any] = []
    for z, (what, x) in zip(nodes, given, strict=True):
        number = x._data if isinstance(x, Node) else x
        try:
            seed = z._fitted(number, what) if isinstance(z, Tensor) else Value(number)._data
        except TypeError as error:
            raise TypeError(str(error) if str(error).startswith(what) else f"{what}: {error}") from None
        if isinstance(number, int) and not isinstance(z, Tensor):
            seed = one(z) * number  # 1 is exact among fractions and symbols
        if recorded and isinstance(x, Node):
            same = isinstance(z, Tensor) == isinstance(x, Tensor)
            seed = z._fit(x if same else functions.reshape(x, np.shape(z._data)))
        fitted.append(seed)
    return fitted


def _unit(z: Node) -> Iterator[Any]:
    """The seeds that pick out one element of z after the other."""
    if not isinstance(z, Tensor):
        yield one(z)
        return
    for place in range(z.size):
        seed = np.zeros(z.size, z.dtype)
        seed[place] = 1
        yield seed.reshape(z.shape)


def _joined(z: Node, x: Node, shares: Sequence[Any]) -> Any:
    """The derivatives of z by x, of shape (*z, *x), given the share of x for each element of z: a number or a node."""
    shape = np.shape(z._data) + np.shape(x._data)
    if not isinstance(z, Tensor) and shares:
        return zero(x) if shares[0] is None else shares[0]
    if all(share is None for share in shares):
        if not isinstance(z, Tensor):
            return zero(x)
        return np.zeros(shape)
    filled = [zero(x) if share is None else share for share in shares]
    if any(isinstance(share, Node) for share in filled):
        return functions.reshape(functions.stack(filled), shape)
    return np.stack(filled).reshape(shape)


def _turned(block: Any, ndim: int) -> Any:
    """The derivatives of x by z, as those of z by x: the first `ndim` axes moved to the end."""
    total = np.ndim(block._data if isinstance(block, Node) else block)
    if not 0 < ndim < total:
        return block
    order = (*range(ndim, total), *range(ndim))
    return functions.permute(block, order) if isinstance(block, Node) else block.transpose(order)


def precise(block: Any, z: Node, x: Node) -> Any:
    """The derivatives of z by x in the precision of x, or of z, where x is a number."""
    face = next((node for node in (x, z) if isinstance(node, Tensor)), None)
    if face is None:
        return block
    return functions.astype(block, face.dtype) if isinstance(block, Node) else np.asarray(block, face.dtype)
