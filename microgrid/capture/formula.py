"""Formulas: what a function of numbers computes, as a list of operations in the order in which they can be done.

The function is called once with stand-ins for the plain numbers among its arguments. A stand-in is one more kind of
number: it computes as the number does and writes down how. With the graph of the Values that come out, this is all
that the result depends on: leaves around the function, arguments, and numbers that stand in its code.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from microgrid.capture.recorder import CannotCaptureError
from microgrid.capture.stand_ins import Given, number_of
from microgrid.graph import Node
from microgrid.rule import Rule
from microgrid.rules import add, multiply
from microgrid.value import Value

__microgrid_machinery__ = True


# -------------------------------------------------------------------------------------------------------- formulas


class Formula:
    """Operations on numbers, each after its inputs; `i` names the number that the i-th gives.

    Attributes
    ----------
    function : list
        The rule, or Python's operator of plain numbers; None for a source.
    inputs : list of tuple of int
    parameters : list of dict
    source : list
        Of a source: its `Node` (a leaf around the function, or an argument's stand-in), its place among the numbers of
        the arguments, as a tuple of one, or itself, a plain number.
    carries : list of bool
        Whether a gradient passes through it.
    node : list of Node or None
        What made it, for messages.
    """

    def __init__(self) -> None:
        self.function: list[Any] = []
        self.inputs: list[tuple[int, ...]] = []
        self.parameters: list[dict[str, Any]] = []
        self.source: list[Any] = []
        self.carries: list[bool] = []
        self.node: list[Node | None] = []
        self.root = -1
        self._known: dict[Any, int] = {}  # sources, and what stand-ins gave

    def operation(
        self, function: Any, inputs: Iterable[int], parameters: dict[str, Any], node: Node | None, grad: bool
    ) -> int:
        """One more operation; its place."""
        places, carries = tuple(inputs), self.carries
        self.function.append(function)
        self.inputs.append(places)
        self.parameters.append(parameters)
        self.source.append(None)
        self.node.append(node)
        carries.append(grad and True in [carries[x] for x in places])
        return len(carries) - 1

    def leaf(self, node: Node) -> int:
        """A Value that is read anew at each run."""
        if id(node) not in self._known:
            self._known[id(node)] = self._source(node, node.requires_grad, node)
        return self._known[id(node)]

    def number(self, x: Any) -> int:
        """A plain number of the function's own, or a stand-in of an argument's, with all that it was computed from."""
        if isinstance(x, Given):
            return self._given(x)
        key = (type(x), x.hex() if isinstance(x, float) else x)
        if key not in self._known:
            if not isinstance(x, (float, int)):
                raise CannotCaptureError(f"a {type(x).__name__} takes part in it")
            self._known[key] = self._source(x)
        return self._known[key]

    def _given(self, x: Given) -> int:
        waiting = [x]
        while waiting:
            y = waiting[-1]
            missing = [z for z in y.inputs if isinstance(z, Given) and ("given", id(z)) not in self._known]
            if missing:
                waiting += missing
                continue
            waiting.pop()
            key = ("given", id(y)) if y.function is not None else ("place", y.place)
            if key not in self._known:
                if y.function is None:
                    self._known[key] = self._source((y.place,))
                else:
                    places = [self._known["given", id(z)] if isinstance(z, Given) else self.number(z) for z in y.inputs]
                    self._known[key] = self.operation(y.function, places, y.parameters, None, False)
            self._known["given", id(y)] = self._known[key]
        return self._known["given", id(x)]

    def _source(self, source: Any, carries: bool = False, node: Node | None = None) -> int:
        place = self.operation(None, (), {}, node, False)
        self.source[place], self.carries[place] = source, carries
        return place

    def leaves(self) -> list[int]:
        """The sources that are Values, and of which anything may ask a gradient or not."""
        return [i for i, x in enumerate(self.source) if isinstance(x, Node)]


class _Operand:
    """A number of a formula, within the value of a rule of many inputs: sums and products are operations."""

    __slots__ = ("formula", "grad", "node", "place")

    def __init__(self, formula: Formula, place: int, node: Node, grad: bool) -> None:
        self.formula, self.place, self.node, self.grad = formula, place, node, grad

    def _with(self, rule: type[Rule], other: _Operand) -> _Operand:
        place = self.formula.operation(rule, (self.place, other.place), {}, self.node, self.grad)
        return _Operand(self.formula, place, self.node, self.grad)

    def __add__(self, other: _Operand) -> _Operand:
        return self._with(add, other)

    def __mul__(self, other: _Operand) -> _Operand:
        return self._with(multiply, other)


def formula_of(order: Sequence[Node], born: int, arguments: Iterable[Node]) -> Formula:
    """The formula of a Value that a function gave.

    Parameters
    ----------
    order : sequence of Value
        What the Value was computed from in topological order, and itself.
    born : int
        The creation number at which the function was called: older leaves stand around it.
    arguments : iterable of Value
        The stand-ins of Values among the arguments.
    """
    formula, given, place = Formula(), set(arguments), dict[Node, int]()
    # what the stand-ins were computed from is kept alive by the graph, so identities stay
    for node in order:
        if node.__class__ is not Value or node._extra is not None:
            _check(node)
        outside = node._number <= born or node in given
        rule = node.rule
        if rule is None:
            if node._data.__class__ not in (float, Given):
                raise CannotCaptureError(f"it computes with a {type(node._data).__name__}")
            place[node] = formula.leaf(node) if outside else formula.number(node._data)
            continue
        if outside:
            raise CannotCaptureError(f"it goes on from what was computed before it was called: {node._written()}")
        inputs = [place[x] if isinstance(x, Node) else formula.number(x) for x in node.inputs]
        if rule.ours and rule.variadic and not node.parameters and rule.value is not None:
            operands = [_Operand(formula, x, node, node.requires_grad) for x in inputs]
            place[node] = rule.value(*operands).place  # as its value is written: sums and products
        else:
            place[node] = formula.operation(rule, inputs, node.parameters, node, node.requires_grad)
    formula.root = place[order[-1]]
    return formula


def _check(node: Node) -> None:
    if not isinstance(node, Value):
        raise CannotCaptureError(f"a Tensor takes part in it: {node._written()}")
    if marked(node):
        raise CannotCaptureError(f"a Value of it has a hook, or was written to: {node._written()}")


def marked(node: Any) -> bool:
    """Whether it has a hook, a breakpoint or another mark that only the engine minds."""
    extra = node._extra
    return bool(extra) and (bool(extra.get("hooks")) or not extra.keys() <= {"name", "hooks"})


def check_twins(record: Sequence[Node], plain: Sequence[Node], twins: dict[Node, Node]) -> None:
    """Raise unless a record and the graph of a plain call are the same operations on the same numbers.

    Parameters
    ----------
    record : sequence of Node
        What the function did in the recording, in topological order.
    plain : sequence of Node
        What it did when it was just called.
    twins : dict of Node to Node
        By stand-in, the argument.
    """
    made, other = ([x for x in order if x.requires_grad and x.rule is not None] for order in (record, plain))
    if len(made) > len(other):  # a plain call forgets what a Value without gradient was computed from
        made = _carrying(record[-1], made)
    if [node.rule for node in made] != [node.rule for node in other]:
        raise CannotCaptureError("it did other operations when it was called again")
    twins = twins | dict(zip(made, other, strict=True))
    for node, twin in zip(made, other, strict=True):
        if node._y.__class__ is not dict and twin._y.__class__ is not dict:
            pairs: Any = ((node._x, twin._x), (node._y, twin._y))  # one input or two
        else:
            inputs, others = node.inputs, twin.inputs
            if len(inputs) != len(others) or node.parameters.keys() != twin.parameters.keys():
                raise CannotCaptureError(f"it did another operation when it was called again: {node._written()}")
            if node.parameters:
                inputs += tuple(node.parameters.values())
                others += tuple([twin.parameters[name] for name in node.parameters])
            pairs = zip(inputs, others, strict=True)
        for x, y in pairs:
            if x is y or (isinstance(x, Node) and twins.get(x) is y):
                continue
            if (isinstance(x, Node) and x in twins) or not _same_number(x, y):
                raise CannotCaptureError(f"it takes another number each time, for {node._written()}")


def _carrying(root: Node, made: Sequence[Node]) -> list[Node]:
    """Those that a gradient of the root reaches."""
    reached = {root}
    for node in reversed(made):
        if node in reached:
            reached.update(x for x in node.inputs if isinstance(x, Node) and x.requires_grad)
    return [node for node in made if node in reached]


def _same_number(x: Any, y: Any) -> bool:
    x, y = (z._data if isinstance(z, Node) else z for z in (x, y))
    x = number_of(x)
    return bool(x == y or (x != x and y != y))
