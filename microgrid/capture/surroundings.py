"""What a function may read besides its arguments, and whether it is still what it was when that was recorded.

Its closure, the globals that its code names, its defaults, and what hangs from these: lists and dicts, the attributes
that some code names, modules with all that they hold, classes, the functions that it calls. Objects are told apart by
identity, at the speed of C, since every replay asks; arrays that were looked into also by their numbers.
"""

from __future__ import annotations

import array as arrays
import builtins
import contextlib
import functools
import operator
import sys
from collections import UserDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from types import CellType, CodeType, FunctionType, MappingProxyType, MethodType, ModuleType
from typing import Any

import numpy as np

from microgrid import sites
from microgrid.graph import Node

__microgrid_machinery__ = True

PLAIN = (int, float, bool, str, bytes, type(None))
FEW = 5000  # objects that are watched: who hangs a data set of lists on a function pays more than a replay gains
SMALL = 1 << 15  # bytes of an array whose numbers are compared at each replay
EVERYTHING = {"getattr", "vars", "__dict__", "globals", "locals", "eval", "exec", "attrgetter", "methodcaller"}
FOREIGN = {*sys.stdlib_module_names, "numpy"} - {"__main__"}

CALLS = {arrays.array, deque}  # where modules remember their calls

MAKING = {
    "__init__",
    "__new__",
    "__init_subclass__",
    "__dict__",
    "__weakref__",
    "__doc__",
    "__module__",
    "__annotations__",
}

Look = Callable[[], Iterable[Any]]


class TooMuchError(Exception):
    """What stands around a function is more than can be watched."""


class Surroundings:
    """What a function may read, as it is now.

    Attributes
    ----------
    generators : list
        Of random numbers, NumPy's.
    """

    def __init__(self, function: Any) -> None:
        self.generators: list[Any] = []
        self._looks: list[Look] = []
        self._numbers: list[tuple[Any, bytes]] = []  # of arrays that were looked into
        self._waiting: list[Any] = [function]
        self._met: dict[int, Any] = {}
        self._names: set[str] = {"forward"}  # what code around here asks of objects, and what nn's asks of modules
        self._places: list[tuple[Any, Any]] = []  # where something hangs that can be exchanged: an owner, and a key
        self._fixed: list[Any] = []  # arrays that hang elsewhere
        self._exchanged: dict[Any, Any] = {}  # arrays that told, by what they look at
        self._owners: list[tuple[dict[str, Any] | MappingProxyType[str, Any], set[str]]] = []
        self._walk()
        self.remember()

    def remember(self) -> None:
        """What is there now is what it was."""
        self._seen = self._now()  # kept, so that no other object can have the identity of one of these
        if len(self._seen) > FEW:
            raise TooMuchError(f"more than {FEW} objects stand around it")
        self._numbers = [(array, _bits(array)) for array, _ in self._numbers]

    def same(self) -> bool:
        """Whether all is what it was."""
        try:
            now = self._now()
        except (ValueError, RuntimeError):  # a variable that was deleted; a dict that another thread writes to
            return False
        seen = self._seen
        return (
            len(now) == len(seen)
            and all(map(operator.is_, now, seen))
            and (not self._numbers or all(_bits(array) == bits for array, bits in self._numbers))
        )

    def alike(self, other: Surroundings) -> bool:
        """Whether nothing differs but what modules remember of their calls, for `Module.calls()`."""
        mine, others = ([x for x in around._seen if x.__class__ not in CALLS] for around in (self, other))
        return len(mine) == len(others) and all(map(operator.is_, mine, others)) and not other._numbers

    def arrays(self) -> dict[int, Any]:
        """The arrays among it, by identity."""
        return {id(x): x for x in self._seen if x.__class__ is np.ndarray}

    def nodes(self) -> list[Node]:
        """The Tensors and Values among it."""
        return [x for x in self._seen if isinstance(x, Node)]

    @contextlib.contextmanager
    def seen_through(self) -> Iterator[dict[int, Any]]:
        """Have arrays tell when they are looked into: those that were, by identity."""
        looked = {id(x): x for x in self._fixed}
        exchanged = []
        for owner, key in self._places:
            try:
                array = _get(owner, key)
                if array.__class__ is np.ndarray:
                    told = array.view(Told)
                    told.of, told.looked = array, looked
                    _set(owner, key, told)
                    self._exchanged[_form(array)] = array
                    exchanged.append((owner, key, array))
            except (KeyError, IndexError, ValueError, TypeError, AttributeError):  # it is gone, or cannot be exchanged
                continue
        try:
            yield looked
        finally:
            for owner, key, array in exchanged:
                with contextlib.suppress(KeyError, IndexError, ValueError):
                    if isinstance(_get(owner, key), Told):
                        _set(owner, key, array)

    def original(self, x: Any) -> Any:
        """The array around the function that this one, met while arrays told, stands for; anything else as it is."""
        return self._exchanged.get(_form(np.asarray(x)), x) if isinstance(x, np.ndarray) else x

    def watch_numbers(self, looked: dict[int, Any], by_reference: Iterable[Any]) -> None:
        """Compare what stands in arrays that were looked into, and in small ones that no record reads by reference."""
        known = {id(x) for x in by_reference}
        watched = {id(x) for x, _ in self._numbers}
        for key, array in self.arrays().items():
            if key in watched or not (key in looked or (key not in known and array.nbytes <= SMALL)):
                continue
            if array.nbytes > SMALL:
                raise TooMuchError(f"it looks into an array around it, of {array.nbytes} bytes")
            self._numbers.append((array, _bits(array)))

    def _now(self) -> list[Any]:
        return [*chain.from_iterable(map(operator.call, self._looks))]

    # ------------------------------------------------------------------ finding it

    def _walk(self) -> None:
        while True:
            while self._waiting:
                x = self._waiting.pop()
                if id(x) not in self._met:
                    self._met[id(x)] = x
                    self._meet(x)
                if len(self._met) > FEW:
                    raise TooMuchError(f"more than {FEW} objects stand around it")
            for owner, known in self._owners:  # of objects only what some code names: and more code was met since
                every = owner.__class__ is dict and "__name__" not in owner and not EVERYTHING.isdisjoint(self._names)
                named = [name for name in owner if (every or name in self._names) and name not in known]
                if named:
                    known.update(named)
                    self._looks.append(functools.partial(_named, owner, named))
                    self._waiting += [owner[name] for name in named]
                    self._places += [(owner, name) for name in named]
            if not self._waiting:
                return

    def _meet(self, x: Any) -> None:
        kind = type(x)
        if kind in (float, int, str, bool, bytes, type(None), np.ndarray) or isinstance(x, Node):
            return
        if hasattr(x, "bit_generator"):
            self.generators.append(x)
        elif kind is MethodType:
            self._waiting += [x.__func__, x.__self__]
        elif isinstance(x, functools.partial):
            self._waiting += [x.func, x.args, x.keywords]
        elif kind is FunctionType:
            self._function(x)
        elif isinstance(x, (list, tuple, set, frozenset)):
            self._looks.append(x.__iter__)
            self._waiting += x
            if isinstance(x, list):
                self._places += [(x, i) for i in range(len(x))]
            else:
                self._fixed += [array for array in x if array.__class__ is np.ndarray]
        elif isinstance(x, dict):
            self._looks += [x.keys, x.values]
            self._waiting += x.values()
            self._places += [(x, key) for key in x]
        elif isinstance(x, (staticmethod, classmethod)):
            self._waiting.append(x.__func__)
        elif isinstance(x, property):
            self._waiting += [x.fget]
        elif isinstance(x, UserDict):  # the hooks of a module, say
            self._waiting.append(x.data)
        elif isinstance(x, ModuleType):
            if not _machinery(x.__name__, vars(x)):
                self._owners.append((vars(x), set()))
        elif isinstance(x, type):
            self._class(x)
        elif hasattr(x, "named_parameters") and hasattr(x, "modules"):
            self._module(x)
        elif hasattr(x, "__dict__"):
            self._looks.append(vars(x).keys)  # an attribute that comes later hides one of the class
            self._owners.append((vars(x), set()))
            self._waiting.append(kind)

        slots = [name for base in kind.__mro__ for name in _listed(vars(base).get("__slots__", ()))]
        if slots and not _machinery(kind.__module__, vars(sys.modules.get(kind.__module__, builtins))):
            self._looks.append(functools.partial(_held, x, slots))
            self._waiting += [*_held(x, slots), kind]

    def _function(self, function: FunctionType) -> None:
        scope = function.__globals__
        if _machinery(function.__module__, scope) and not function.__closure__:
            return
        cells, codes = function.__closure__ or (), [function.__code__]
        for code in codes:  # with the functions, and the comprehensions, that are written inside it
            codes += [x for x in code.co_consts if isinstance(x, CodeType)]
        names = {name for code in codes for name in code.co_names}
        self._names |= names
        read = [name for name in sorted(names) if name in scope or name in vars(builtins)]
        self._looks.append(functools.partial(map, scope.get, read))
        self._looks.append(functools.partial(_parts, function))
        filled = [cell for cell in cells if _filled(cell)]
        if filled:
            self._looks.append(functools.partial(map, operator.attrgetter("cell_contents"), filled))
        self._waiting += [cell.cell_contents for cell in filled]
        self._waiting += [scope[name] for name in read if name in scope]
        self._places += [(cell, None) for cell in filled] + [(scope, name) for name in read if name in scope]
        self._waiting += [function.__defaults__, function.__kwdefaults__]
        self._waiting.append(getattr(function, "__wrapped__", None))

    def _module(self, module: Any) -> None:
        """A module, nn's or one like it: all that it holds, and the code of its class, if that is a user's."""
        held = vars(module)
        self._looks.append(held.values)
        self._waiting += held.values()
        self._places += [(held, name) for name in held]
        self._waiting.append(type(module))

    def _class(self, kind: type) -> None:
        for base in kind.__mro__:
            if not _machinery(base.__module__, vars(sys.modules.get(base.__module__, builtins))):
                self._owners.append((vars(base), set()))
                self._waiting += [x for name, x in vars(base).items() if name.startswith("__") and name not in MAKING]


class Told(np.ndarray[Any, Any]):
    """An array around a function, as its second record sees it: it tells when somebody reads its numbers.

    Rules take it as the array that it is, and read it again at each replay; whoever makes a number of it does not.
    """

    of: Any = None
    looked: dict[int, Any] | None = None

    def __array_finalize__(self, whole: Any) -> None:
        self.of, self.looked = getattr(whole, "of", None), getattr(whole, "looked", None)

    def __getattribute__(self, name: str) -> Any:
        if name not in FORM:
            _tell(self)
        return super().__getattribute__(name)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **words: Any) -> Any:
        if any(isinstance(x, Node) for x in inputs):
            return NotImplemented
        _tell(self)
        return getattr(ufunc, method)(*map(_plain, inputs), **words)

    def __array_function__(self, function: Any, types: Any, args: Any, keywords: Any) -> Any:
        _tell(self)
        return super().__array_function__(function, types, args, keywords)


FORM = {"shape", "ndim", "size", "dtype", "nbytes", "itemsize", "strides", "flags", "base", "__class__", "of", "looked",
        "view", "__array_ufunc__", "__array_function__", "__array_finalize__", "__array_priority__"}  # fmt: skip


def _telling(name: str) -> Callable[..., Any]:
    def method(self: Any, *arguments: Any) -> Any:
        _tell(self)
        return getattr(np.asarray(self), name)(*arguments)

    return method


for _name in (
    "float",
    "int",
    "bool",
    "complex",
    "index",
    "getitem",
    "setitem",
    "iter",
    "contains",
    "repr",
    "str",
    "format",
):
    setattr(Told, f"__{_name}__", _telling(f"__{_name}__"))


def _tell(array: Any) -> None:
    looked, of = (np.ndarray.__getattribute__(array, name) for name in ("looked", "of"))
    if looked is not None:
        looked[id(of)] = of


def _plain(x: Any) -> Any:
    return np.asarray(x) if isinstance(x, Told) else x


def _form(array: Any) -> Any:
    """What tells an array, and views of all of it, from others."""
    return array.__array_interface__["data"], array.shape, array.strides, array.dtype.str


def _get(owner: Any, key: Any) -> Any:
    return owner.cell_contents if key is None and isinstance(owner, CellType) else owner[key]


def _set(owner: Any, key: Any, x: Any) -> None:
    if key is None and isinstance(owner, CellType):
        owner.cell_contents = x
    else:
        owner[key] = x


def _machinery(name: str | None, scope: Any) -> bool:
    """Whether a module is ours, Python's or an installed one: none of these changes under one's feet."""
    if sites.MARK in scope or (name or "").partition(".")[0] in FOREIGN:
        return True
    return any(folder in (scope.get("__file__") or "") for folder in ("site-packages", "dist-packages"))


def _named(owner: Any, names: Sequence[str]) -> list[Any]:
    return [owner.get(name) for name in names]


def _listed(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _held(x: Any, slots: Sequence[str]) -> list[Any]:
    return [getattr(x, name, None) for name in slots]


def _parts(function: Any) -> tuple[Any, ...]:
    return function.__code__, function.__defaults__, function.__kwdefaults__


def _filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _bits(array: Any) -> bytes:
    bits: bytes = array.tobytes()
    return bits


# -------------------------------------------------------------------------------------------- random numbers


@contextlib.contextmanager
def undrawn(generators: Sequence[Any]) -> Iterator[None]:
    """Whatever is drawn inside, the generators, Python's and NumPy's global ones too, go on as if it had not been."""
    states = [(x.bit_generator, x.bit_generator.state) for x in generators]
    python, numpy = sys.modules.get("random"), sys.modules.get("numpy.random")
    before = python and python.getstate(), numpy and numpy.get_state()
    try:
        yield
    finally:
        for source, state in states:
            source.state = state
        if python:
            python.setstate(before[0])
        if numpy:
            numpy.set_state(before[1])
