"""A formula and its gradients by levels, in NumPy: alike operations at one depth are one operation on arrays.

Operations are of one class if they are built alike from the same leaves, whatever plain numbers go in: so one neuron's
product for each sample of a batch is a class. Classes of one size, one rule, one depth and inputs from the same places
are a group, an array with a row for each class and a column for each sample. Inner inputs are windows on the arrays
of other groups where their places lie evenly, and are gathered where not. Sums are folded from the left, as they stand.
Backward, shares are added up along the axes on which an input was repeated: in another order than the engine's, and
otherwise the numbers are the engine's.
"""

from __future__ import annotations

import operator
from collections import defaultdict
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any

import numpy as np

from microgrid import rules
from microgrid.capture.formula import Formula
from microgrid.capture.recorder import CannotCaptureError
from microgrid.capture.stand_ins import PLAIN_OPERATORS
from microgrid.capture.static_code import Window, written_in_buffers
from microgrid.capture.tracing import Program, Traced
from microgrid.graph import Node

__microgrid_machinery__ = True

ADDITIONS = (rules.add, operator.add)
RAISING = (operator.truediv, operator.pow)  # of plain numbers: out of domain these raise
CALL, CALLS, OPERATION = 0.5, 7, 0.04  # us: of a call of NumPy, how many a group needs; an operation in Python
MOST = 3000  # groups; deeper graphs are better written out in Python
NOT_ITS_OWN = {"window", "index", "transpose", "broadcast_to", "input", "array"}  # lines that make no new array
MOST_AXES = 6
ONE_BY_ONE = 40  # terms of a sum that are added singly; more are joined first


class Group:
    """Alike operations at one depth, as an array; or the sources of one kind, as a vector."""

    def __init__(self, key: Any, places: Any) -> None:
        self.key, self.places, self.settled = key, places, False  # places: of the operations in the formula
        self.number: Any = None  # traced
        self.shares: list[tuple[Any, Any]] = []  # where in this group, and the share traced

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its array."""
        shape: tuple[int, ...] = self.places.shape
        return shape


def written_by_levels(
    formula: Formula, name: str, anyway: bool = False
) -> tuple[Callable[[list[Any], list[Any]], tuple[float, Sequence[float]]], str, list[int]]:
    """The formula as a function, its source, and the leaves that get a gradient; see `written_in_python`.

    Raises
    ------
    CannotCaptureError
        Where levels do not pay (unless `anyway`), are too many, or a rule cannot be written out.
    """
    try:
        levels = _Levels(formula, anyway)
        with np.errstate(all="ignore"):
            written: tuple[Any, str, list[int]] = levels.written(name)
            return written
    except (TypeError, ValueError, AttributeError, IndexError, KeyError, ArithmeticError) as error:
        raise CannotCaptureError(f"an operation of it cannot be written out by levels: {error}") from error


class _Levels:
    def __init__(self, formula: Formula, anyway: bool) -> None:
        self.formula, self.anyway = formula, anyway
        self.terms = self._folded()
        self.live = [i for i, terms in enumerate(self.terms) if terms is not None]
        lengths = np.array([0 if terms is None else len(terms) for terms in self.terms])
        self.first = lengths.cumsum() - lengths  # where the terms of each stand in
        self.flat = np.fromiter(chain.from_iterable(filter(None, self.terms)), int, lengths.sum())
        self.carries = np.array(formula.carries)
        self.indices: dict[Any, Any] = {}
        self.groups = self._grouped()
        self.group_of = np.empty(len(formula.function), int)
        self.at = np.empty(len(formula.function), int)  # where in its group's array
        for k, group in enumerate(self.groups):
            self.group_of[group.places] = k
        self._order()

    # ------------------------------------------------------------------ finding groups

    def _folded(self) -> list[tuple[int, ...] | None]:
        """The inputs of each operation; of sums of sums, all terms; None of sums that are part of another."""
        f = self.formula
        uses = np.bincount(np.fromiter(chain.from_iterable(f.inputs), int), minlength=len(f.function)).tolist()
        uses[f.root] += 2
        terms: list[tuple[int, ...] | None] = list(f.inputs)
        chains: dict[int, list[int]] = {}
        for i, function in enumerate(f.function):
            if function not in ADDITIONS:
                continue
            x, y = f.inputs[i]
            for part, other in ((x, y), (y, x)):
                if part in chains and uses[part] == 1 and self._goes_on(part, i):
                    chains[i] = chains.pop(part)
                    chains[i].append(other)
                    terms[part] = None
                    break
            else:
                chains[i] = [x, y]
        for i, added in chains.items():
            terms[i] = tuple(added)
        return terms

    def _goes_on(self, part: int, i: int) -> bool:
        """Whether a sum goes on in another: on the same line of the user's, so that each sample's remains its own."""
        f = self.formula
        one, other = ((x._code, x._instruction) if x is not None else None for x in (f.node[part], f.node[i]))
        return f.carries[part] == f.carries[i] and (f.node[part] is f.node[i] or one == other)

    def _grouped(self) -> list[Group]:
        f = self.formula
        known: dict[Any, int] = {}
        members: list[list[int]] = []
        keys: list[Any] = []
        depth: list[int] = []  # by class
        of = [0] * len(f.function)
        for i in self.live:
            function, terms = f.function[i], self.terms[i]
            assert terms is not None
            if function is None:
                source = f.source[i]
                key: Any = (
                    "leaves" if isinstance(source, Node) else "given" if isinstance(source, tuple)
                    else "truths" if isinstance(source, bool) else "numbers"
                )  # fmt: skip
            else:
                words = f.parameters[i]
                parameters = tuple([(name, repr(item)) for name, item in words.items()]) if words else ()
                key = (function, parameters, f.carries[i], tuple([of[x] for x in terms]))
                if key not in known and not (function in PLAIN_OPERATORS or function.ours):
                    raise CannotCaptureError(f"{function.__name__} is a user's rule, which may ask what it is given")
            if function is None and key == "leaves":
                key = "leaves", i  # each is a class of its own, and so tells the operations on it from others
            c = known.get(key)
            if c is None:
                c = known[key] = len(members)
                members.append([])
                keys.append(key)
                depth.append(0 if function is None else 1 + max([depth[of[x]] for x in terms]))
            members[c].append(i)
            of[i] = c
        return self._joined(members, keys, depth)

    def _joined(self, members: list[list[int]], keys: list[Any], depth: list[int]) -> list[Group]:
        """Classes that are alike but for their own inputs, side by side."""
        joined: dict[Any, list[int]] = defaultdict(list)
        group_key: list[Any] = [None] * len(members)
        numbered: dict[Any, int] = {}
        for c in sorted(range(len(members)), key=depth.__getitem__):
            key = keys[c]
            if depth[c] == 0:
                key = key if isinstance(key, str) else key[0]
            else:
                function, parameters, carries, inputs = key
                sources = tuple([group_key[x] for x in inputs])
                key = (function, parameters, carries, depth[c], len(members[c]), sources)
            group_key[c] = numbered.setdefault(key, len(numbered))
            joined[group_key[c]].append(c)
        many = len(numbered)
        if many > MOST or (not self.anyway and many * CALLS * CALL > len(self.formula.function) * OPERATION):
            raise CannotCaptureError(f"{many} groups for {len(self.formula.function)} operations are too many")
        groups = []
        for k, key in enumerate(numbered):
            rows = [members[c] for c in joined[k]]
            source = isinstance(key, str)
            places = np.array([i for row in rows for i in row]) if source else _squeezed(np.array(rows))
            groups.append(Group(key, places))
        return groups

    def _inputs(self, group: Group) -> list[tuple[int, Any]]:
        """The places of what goes in, each with the shape of the group: (group it comes from, places)."""
        terms = self.terms[group.places.flat[0]]
        assert terms is not None
        rows = [self.flat[self.first[group.places] + place] for place in range(len(terms))]
        return [(int(self.group_of[row.flat[0]]), row) for row in rows]

    def _order(self) -> None:
        """Have each group stand in the order in which what uses all of it asks for it, the last first."""
        for group in reversed(self.groups):
            if isinstance(group.key, str):
                continue
            for source, places in _runs(self._inputs(group)):
                other = self.groups[source]
                if isinstance(other.key, str) or other.settled or places.size != other.places.size:
                    continue
                if places.ndim <= MOST_AXES and np.unique(places).size == places.size:
                    other.places, other.settled = _squeezed(places), True
        for group in self.groups:
            self.at[group.places.ravel()] = np.arange(group.places.size)

    # ------------------------------------------------------------------ values

    def written(self, name: str) -> Any:
        """See `written_by_levels`."""
        self.program = Program()
        self.checked: list[Any] = []
        f = self.formula
        leaves = f.leaves()
        self.leaves = next((k for k, group in enumerate(self.groups) if group.key == "leaves"), -1)
        for group in self.groups:
            if isinstance(group.key, str):
                self._source(group)
            else:
                self._value(group)
        root = self.groups[self.group_of[f.root]]
        one = self.program.call("ones", root.shape, np.dtype(float))
        root.shares.append((self.at[root.places], one))
        for group in reversed(self.groups):
            if group.shares and not isinstance(group.key, str):
                self._hand_on(group)
        group = self.groups[self.leaves]
        reached = set(np.concatenate([at.ravel() for at, _ in group.shares]).tolist())
        gradient = self._gathered(group)
        function, source = written_in_buffers(self.program, [root.number, gradient], self.checked, name)
        at = [k for k, leaf in enumerate(leaves) if k in reached and f.carries[leaf]]

        def replay(leaves: list[Any], numbers: list[Any]) -> tuple[float, Sequence[float]]:
            value, gradients = function(leaves, numbers)
            return value, gradients if len(at) == len(gradients) else [gradients[k] for k in at]

        return replay, source, [leaves[k] for k in at]

    def _source(self, group: Group) -> None:
        f, places = self.formula, group.places.tolist()
        if group.key == "leaves":
            group.number = self.program.input("leaves", np.array([f.source[i]._data for i in places]))
        elif group.key == "given":
            at = np.array([f.source[i][0] for i in places])
            group.number = self.program.input("numbers", np.ones(1 + at.max()))
            self.at[group.places] = at
        else:
            group.number = np.array([f.source[i] for i in places], bool if group.key == "truths" else float)

    def _value(self, group: Group) -> None:
        function = group.key[0]
        i = int(group.places.flat[0])
        self.program.comment = self._said(i)
        inputs = self._inputs(group)
        if function in ADDITIONS and len(inputs) > 2:
            group.number = self._sum(group, inputs)
        else:
            numbers = self._numbers(group, inputs)
            group.number = function(*numbers, **self.formula.parameters[i])
        if function in RAISING:
            self.checked.append(group.number)
        if self.program.lines[group.number.line].function in NOT_ITS_OWN:
            group.number = self.program.call("copy", group.number)
        if group.number.shape != group.shape:
            raise ValueError(f"{function.__name__} gives another shape")

    def _said(self, i: int, how: str = "") -> str:
        node = self.formula.node[i]
        return "" if node is None else how + node._written()

    def _numbers(self, group: Group, inputs: list[tuple[int, Any]]) -> list[Any]:
        """The inputs as arrays of the group's shape, and as a plain number where that is the same everywhere."""
        numbers = []
        for source, places in inputs:
            if isinstance(self.groups[source].number, np.ndarray):
                given = {(type(x), repr(x)): x for x in (self.formula.source[i] for i in places.ravel().tolist())}
                if len(given) == 1:
                    numbers.append(next(iter(given.values())))
                    continue
            numbers.append(self._window(self.groups[source].number, self.at[places]))
        if not any(isinstance(x, Traced) for x in numbers):  # all its own: an operation on constants
            numbers[0] = self.program.call("array", np.broadcast_to(np.asarray(numbers[0]), group.shape))
        return numbers

    def _sum(self, group: Group, inputs: list[tuple[int, Any]]) -> Any:
        """The terms added up from the left."""
        total: Any = None
        for source, places in _runs(inputs):
            (terms,) = self._numbers_of_run(source, places)
            if not isinstance(terms, (Traced, np.ndarray)):  # one plain number
                terms = np.full(places.shape, float(terms))
            n, columns = places.shape[0], places.size // places.shape[0]
            if n > ONE_BY_ONE or (total is None and n > 1):
                if total is not None:
                    first = total if isinstance(total, Traced) else self.program.call("array", total)
                    terms = self.program.call("concatenate", first.reshape((1, *group.shape)), terms, axis=0)
                if columns > 1:
                    total = self.program.call("sum", terms, axis=0, keepdims=False)
                else:  # one after another: NumPy adds a row up in pairs
                    total = self.program.call("accumulate", terms, axis=0)[-1]
            else:
                for k in range(n):
                    term = terms[k]
                    total = term if total is None else total + term
        return total if isinstance(total, Traced) else self.program.call("array", np.asarray(total))

    def _numbers_of_run(self, source: int, places: Any) -> list[Any]:
        number = self.groups[source].number
        return [number[self.at[places]] if isinstance(number, np.ndarray) else self._window(number, self.at[places])]

    def _window(self, number: Any, at: Any) -> Any:
        """The numbers of an array at these places: the array itself, a window on it, or gathered."""
        if isinstance(number, np.ndarray):
            return number[at]
        if at.shape == number.shape and _even(at) and _is_all(at, number.size):
            return number
        strides = _even_strides(at)
        if strides is not None:
            return self.program.call("window", number, place=Window(int(at.flat[0]), at.shape, strides))
        return self.program.call("gather", number, self._kept(at))

    def _kept(self, at: Any) -> Any:
        """The one array of these places, so that what is gathered twice is known to be the same."""
        return self.indices.setdefault((at.shape, at.tobytes()), at)

    # ------------------------------------------------------------------ gradients

    def _hand_on(self, group: Group) -> None:
        """The shares of the group's inputs."""
        function = group.key[0]
        i = int(group.places.flat[0])
        g = self._gathered(group)
        self.program.comment = self._said(i, "back through ")
        inputs = self._inputs(group)
        carries = [self._carry(places) for _, places in inputs]
        if function in ADDITIONS and len(inputs) > 2:
            for source, places in _runs(inputs):
                if self._carry(places):
                    self.groups[source].shares.append((self.at[places], g))
            return
        numbers = self._numbers(group, inputs)
        parameters = self.formula.parameters[i]
        together = function.wrt[0](g, group.number, *numbers, **parameters) if function.variadic else None
        for position, (source, places) in enumerate(inputs):
            wrt = function.wrt[0 if function.variadic else position]
            if carries[position] and wrt is not None:
                share = together[position] if together else wrt(g, group.number, *numbers, **parameters)
                if not isinstance(share, Traced):
                    share = self.program.call("array", np.asarray(share, float))
                self.groups[source].shares.append((self.at[places], share))

    def _carry(self, places: Any) -> bool:
        return bool(self.carries[places].any())

    def _gathered(self, group: Group) -> Any:
        """The gradient of a group: all its shares added up."""
        whole: list[Any] = []
        parts: list[tuple[Any, Any]] = []
        for at, share in group.shares:
            at, share = self._summed(at, share)
            if at.shape == group.shape and _even(at) and _is_all(at, group.places.size):
                whole.append(share)
            else:
                parts.append((at.ravel(), share.reshape((at.size,))))
        if parts:
            at = np.concatenate([x for x, _ in parts])
            joined = self.program.call("concatenate", *[x for _, x in parts], axis=0) if len(parts) > 1 else parts[0][1]
            n = group.places.size
            if at.size == n and np.unique(at).size == n:
                inverse = np.argsort(at)
                flat = joined if _is_all(at, n) else self.program.call("gather", joined, self._kept(inverse))
            else:
                flat = self.program.call("bincount", joined, at=at, count=n)
            whole.append(flat.reshape(group.shape))
        total = whole[0]
        for share in whole[1:]:
            total = total + share
        return total if total.shape == group.shape else self._full(total, group.shape)

    def _full(self, share: Any, shape: tuple[int, ...]) -> Any:
        return share if share.shape == shape else self.program.call("broadcast_to", share, shape=shape)

    def _summed(self, at: Any, share: Any) -> tuple[Any, Any]:
        """A share with the axes summed on which the input was repeated."""
        share = self._full(share, at.shape)
        if 1 in at.shape and at.ndim > 1:
            at, share = _squeezed(at), share[tuple(_long(at.shape))]
        repeated = tuple(axis for axis in range(at.ndim) if at.shape[axis] > 1 and (at == at.take([0], axis)).all())
        if not repeated:
            return at, share
        product = self._product(at, share, repeated) if len(repeated) == 1 else None
        if product is None:
            product = self.program.call("sum", share, axis=repeated, keepdims=False)
        for axis in reversed(repeated):
            at = at.take(0, axis)
        return (at, product) if at.ndim else (at.reshape(1), product.reshape((1,)))

    def _product(self, at: Any, share: Any, repeated: tuple[int, ...]) -> Any:
        """The sum over an axis of products that do not vary on two others, each on its own: a matrix product."""
        said = self.program.lines[share.line]
        long = [axis for axis in range(at.ndim) if at.shape[axis] > 1]
        if len(long) != 3 or share.shape != at.shape or said.function != "multiply":
            return None
        x, y = said.arguments
        if not isinstance(x, Traced) or not isinstance(y, Traced) or x.shape != at.shape or y.shape != at.shape:
            return None
        (c,) = repeated
        a, b = (axis for axis in long if axis != c)
        for first, second in ((x, y), (y, x)):
            if first.number.strides[b] == 0 and second.number.strides[a] == 0:
                left, right = (
                    number[tuple([slice(None) if axis in (kept, c) else 0 for axis in range(at.ndim)])]
                    for number, kept in ((first, a), (second, b))
                )
                product: Any = (left if a < c else left.T), (right.T if b < c else right)
                product = self.program.call("matmul", *product)
                return product.reshape(at.shape[:c] + at.shape[c + 1 :])
        return None


def _long(shape: tuple[int, ...]) -> list[Any]:
    """The index that drops axes of length 1, but for one."""
    if max(shape) == 1:
        return [0] * (len(shape) - 1)
    return [slice(None) if n > 1 else 0 for n in shape]


def _squeezed(places: Any) -> Any:
    """Without axes of length 1, but for one."""
    return places[tuple(_long(places.shape))] if places.ndim > 1 else places


def _runs(inputs: list[tuple[int, Any]]) -> list[tuple[int, Any]]:
    """Inputs that follow each other and come from one group, together, with an axis more in front."""
    runs: list[tuple[int, list[Any]]] = []
    for source, places in inputs:
        if runs and runs[-1][0] == source:
            runs[-1][1].append(places)
        else:
            runs.append((source, [places]))
    return [(source, np.stack(several)) for source, several in runs]


def _even(at: Any) -> bool:
    return _even_strides(at) is not None


def _even_strides(at: Any) -> tuple[int, ...] | None:
    """The steps from place to place along each axis, where they are the same everywhere."""
    strides = tuple(int(at.take(1, axis).flat[0] - at.flat[0]) if at.shape[axis] > 1 else 0 for axis in range(at.ndim))
    even = at.flat[0] + sum(
        (np.arange(n) * stride).reshape((n,) + (1,) * (at.ndim - axis - 1))
        for axis, (n, stride) in enumerate(zip(at.shape, strides, strict=True))
    )
    return strides if np.array_equal(np.broadcast_to(even, at.shape), at) else None


def _is_all(at: Any, n: int) -> bool:
    return at.size == n and bool((at.ravel() == np.arange(n)).all())
