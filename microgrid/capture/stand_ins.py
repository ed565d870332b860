"""Stand-ins for the arguments of a function of numbers: they compute as the numbers do, and write down how.

A stand-in is one more kind of number, so every rule runs on it, and Python's operators do. Where a plain number is
needed, in an `if`, for an index, by `math.exp`, it is looked at: that number then belongs to what is recorded.
"""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from microgrid import kinds, shortcuts, sites
from microgrid.emitter import compiled
from microgrid.graph import Node
from microgrid.rule import Rule
from microgrid.value import Value

__microgrid_machinery__ = True

NUMBERS = {float, int}
SEQUENCES = {list, tuple}
LARGEST = 2**53  # up to which an int is a float
FEW = 32  # numbers of arguments that are read one by one


# ------------------------------------------------------------------------------------------------------- stand-ins


class Looks:
    """The places of arguments whose numbers were looked at, and where: what depends on them is in no formula."""

    def __init__(self) -> None:
        self.places: dict[int, str] = {}


class Given:
    """A plain number of an argument, or one computed from such: it computes on, and writes down how.

    Examples
    --------
    >>> x = Given(3.0, Looks(), place=0)
    >>> y = 2 * x - 1
    >>> y.number, y.function.__name__
    (5.0, 'sub')
    """

    __slots__ = ("function", "inputs", "looks", "number", "parameters", "place")
    __array_ufunc__ = None
    shape: tuple[int, ...] = ()  # asked by what tells numbers from arrays

    def __init__(
        self, number: Any, looks: Looks, place: int = -1, function: Any = None, inputs: tuple[Any, ...] = (),
        parameters: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.number, self.looks, self.place = number, looks, place
        self.function, self.inputs, self.parameters = function, inputs, parameters or {}

    def look(self) -> Any:
        """The number, where a plain one is needed: the arguments that it comes from then belong to the record."""
        waiting, seen = [self], {id(self)}
        while waiting:
            x = waiting.pop()
            if x.function is None:
                self.looks.places.setdefault(x.place, sites.here())
            for y in x.inputs:
                if isinstance(y, Given) and id(y) not in seen:
                    seen.add(id(y))
                    waiting.append(y)
        return self.number

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self.look(), name)

    def __hash__(self) -> int:
        return hash(self.look())

    def __repr__(self) -> str:
        return repr(self.look())

    def __format__(self, spec: str) -> str:
        return format(self.look(), spec)


def _computed(function: Callable[..., Any], swapped: bool = False) -> Callable[..., Any]:
    def computed(self: Given, *other: Any) -> Any:
        if other and (isinstance(other[0], Node) or not isinstance(other[0], (Given, float, int))):
            return NotImplemented
        inputs = (*other, self) if swapped else (self, *other)
        number = function(*map(number_of, inputs))
        if isinstance(number, np.generic):
            if number.dtype != float:  # it wraps around, or rounds, as Python's numbers do not
                for x in inputs:
                    if isinstance(x, Given):
                        x.look()
                return number
            number = number.item()
        return Given(number, self.looks, function=function, inputs=inputs)

    return computed


def _looked(function: Callable[..., Any], swapped: bool = False) -> Callable[..., Any]:
    def looked(self: Given, *others: Any) -> Any:
        numbers = [x.look() if isinstance(x, Given) else x for x in (self, *others)]
        return function(*(reversed(numbers) if swapped else numbers))

    return looked


_COMPUTED: dict[str, Callable[..., Any]] = {
    "add": operator.add, "sub": operator.sub, "mul": operator.mul, "truediv": operator.truediv, "pow": operator.pow,
}  # fmt: skip
_COMPARED: dict[str, Callable[..., Any]] = {
    "neg": operator.neg, "lt": operator.lt, "le": operator.le, "gt": operator.gt, "ge": operator.ge, "eq": operator.eq,
    "ne": operator.ne,
}  # fmt: skip
_LOOKED_BOTH: dict[str, Callable[..., Any]] = {
    "divmod": divmod, "floordiv": operator.floordiv, "mod": operator.mod, "and": operator.and_, "or": operator.or_,
    "xor": operator.xor, "lshift": operator.lshift, "rshift": operator.rshift,
}  # fmt: skip
_LOOKED: dict[str, Callable[..., Any]] = {
    "bool": bool, "float": float, "int": int, "index": operator.index, "round": round, "abs": abs, "pos": operator.pos,
    "trunc": math.trunc, "floor": math.floor, "ceil": math.ceil, "invert": operator.invert, "str": str,
    "complex": complex,
}  # fmt: skip
for _name, _function in (_COMPUTED | _COMPARED).items():
    setattr(Given, f"__{_name}__", _computed(_function))
for _name, _function in _COMPUTED.items():
    setattr(Given, f"__r{_name}__", _computed(_function, swapped=True))
for _name, _function in (_LOOKED | _LOOKED_BOTH).items():
    setattr(Given, f"__{_name}__", _looked(_function))
for _name, _function in _LOOKED_BOTH.items():
    setattr(Given, f"__r{_name}__", _looked(_function, swapped=True))

PLAIN_OPERATORS = {*_COMPUTED.values(), *_COMPARED.values()}


def number_of(x: Any) -> Any:
    """The number that stands behind a stand-in; anything else as it is."""
    return x.number if isinstance(x, Given) else x


class _GivenKind(kinds.Kind):
    """Stand-ins: a rule of them is the rule of their numbers, written down."""

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
        looks = next(x.looks for x in inputs if isinstance(x, Given))
        number = kinds.float_kind.apply(rule, [number_of(x) for x in inputs], parameters)
        return Given(number, looks, function=rule, inputs=tuple(inputs), parameters=parameters)


given_kind = _GivenKind("a number of an argument", 45, {}, one=lambda x: 1.0)
kinds.register(given_kind, [Given])
given_kind.face = Value.general
shortcuts.stand_ins.add(Given)


# ------------------------------------------------------------------------------------------------------- arguments


class Arguments:
    """The arguments of one call: what a record depends on (`key`), its numbers in order, its Values, other objects."""

    __slots__ = ("exact", "key", "numbers", "objects", "values")

    def __init__(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        self.exact = True  # whether each int is a float as well
        self.numbers: list[Any] = []
        self.values: list[Any] = []
        self.objects: list[Any] = []
        self.key: Any = self.read(args) if args else ()
        if keywords:
            self.key = self.key, tuple(keywords), self.read(tuple(keywords.values()))

    def read(self, x: Any) -> Any:
        """What x is, but for its numbers."""
        kind = x.__class__
        if kind in NUMBERS:
            self.numbers.append(x)
            self.check_size((x,), {kind})
            return kind
        if kind in SEQUENCES:
            return self.sequence(x, kind)
        if kind is Value:
            alias = next((place for place, y in enumerate(self.values) if y is x), len(self.values))
            if alias == len(self.values):
                self.values.append(x)
            return "Value", alias, x.requires_grad
        if kind is np.ndarray and x.dtype.kind in "fiu":
            self.numbers += x.ravel().tolist()
            return "array", x.shape, x.dtype
        if isinstance(x, (np.floating, np.integer)):
            self.numbers.append(x.item())
            return kind
        if x is None or kind in (bool, str, bytes):
            return kind, x
        if kind is dict:
            return dict, tuple(x), self.read(tuple(x.values()))
        self.objects.append(x)
        return "object", id(x)

    def sequence(self, x: Any, kind: type) -> Any:
        """Numbers, and rows of numbers of one length, are read at a stroke."""
        kinds = set(map(type, x))
        if kinds <= NUMBERS:
            self.numbers += x
            self.check_size(x, kinds)
            return kind, len(x), kinds.pop() if len(kinds) == 1 else tuple(map(type, x))
        if len(kinds) == 1 and kinds <= SEQUENCES:
            lengths = set(map(len, x))
            if len(lengths) == 1:
                flat = list(itertools.chain.from_iterable(x))
                inner = set(map(type, flat))
                if inner <= NUMBERS:
                    self.numbers += flat
                    self.check_size(flat, inner)
                    return kind, len(x), *kinds, *lengths, inner.pop() if len(inner) == 1 else tuple(map(type, flat))
        return kind, tuple([self.read(y) for y in x])

    def check_size(self, numbers: Sequence[Any], kinds: set[type]) -> None:
        if int in kinds and any(x.__class__ is int and not -LARGEST <= x <= LARGEST for x in numbers):
            self.exact = False


def reader_of(args: tuple[Any, ...]) -> Callable[[tuple[Any, ...]], list[Any] | None] | None:
    """Code that reads the numbers of arguments of just this form, quicker than `Arguments`, and gives None for others.

    None, where these are more than a few numbers, in lists and tuples at most.
    """
    lines, numbers, seen = ["def read(args):"], list[str](), itertools.count()

    def read(name: str, x: Any) -> bool:
        if x.__class__ in NUMBERS:
            within = f" or not {-LARGEST} <= {name} <= {LARGEST}" if x.__class__ is int else ""
            lines.append(f"    if {name}.__class__ is not {x.__class__.__name__}{within}: return None")
            numbers.append(name)
            return len(numbers) <= FEW
        if x.__class__ not in SEQUENCES or len(x) > FEW:
            return False
        names = [f"x{next(seen)}" for _ in x]
        lines.append(f"    if {name}.__class__ is not {x.__class__.__name__} or len({name}) != {len(x)}: return None")
        lines.append(f"    [{', '.join(names)}] = {name}")
        return all(map(read, names, x))

    if not read("args", args):
        return None
    return compiled("read", [*lines, f"    return [{', '.join(numbers)}]"], {})


class StandIns:
    """Arguments with a stand-in for each number, but those at the fixed places, and for each Value."""

    def __init__(self, looks: Looks, fixed: dict[int, Any]) -> None:
        self.looks, self.fixed = looks, fixed
        self.place = 0
        self.values: dict[Node, Node] = {}  # by stand-in, the argument
        self.known: dict[int, Node] = {}
        self.containers: list[tuple[Any, Any]] = []  # each with what was in it

    def of(self, x: Any) -> Any:
        """x, of stand-ins."""
        kind = x.__class__
        if kind in NUMBERS or isinstance(x, (np.floating, np.integer)):
            self.place += 1
            fixed = self.place - 1 in self.fixed
            x = x.item() if kind is np.float64 else x
            return x if fixed else Given(x, self.looks, self.place - 1)
        if kind in SEQUENCES:
            return self.contained(kind([self.of(y) for y in x]))
        if kind is dict:
            return self.contained({name: self.of(y) for name, y in x.items()})
        if kind is np.ndarray and x.dtype.kind in "fiu":
            z = np.empty(x.shape, object)
            for at in np.ndindex(x.shape):
                z[at] = self.of(x[at])
            return self.contained(z)
        if kind is Value:
            if id(x) not in self.known:
                stand_in = self.known[id(x)] = Value._new(x._data, x.requires_grad)
                self.values[stand_in] = x
            return self.known[id(x)]
        return x

    def contained(self, x: Any) -> Any:
        if x.__class__ is not tuple:
            self.containers.append((x, x.copy()))
        return x

    def changed(self) -> bool:
        """Whether the function wrote into a list, a dict or an array of its arguments."""
        return any(list(map(id, _items(x))) != list(map(id, _items(before))) for x, before in self.containers)


def _items(x: Any) -> Any:
    return [*x.keys(), *x.values()] if isinstance(x, dict) else x.ravel().tolist() if isinstance(x, np.ndarray) else x
