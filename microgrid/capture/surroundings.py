"""What a function may read besides its arguments, and whether it is still what it was when that was recorded.

Its closure, the globals that its code names, its defaults, and what hangs from these: lists and dicts, the attributes
that some code names, modules with all that they hold, classes, the functions that it calls. Objects are told apart by
identity, in one list that is written out for them, since every replay asks; arrays that were looked into also by
their numbers.
"""

from __future__ import annotations

import array as arrays
import builtins
import contextlib
import functools
import io
import numbers
import opcode
import operator
import pickle
import sys
import threading
import weakref
import zlib
from collections import UserDict, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextvars import ContextVar
from types import BuiltinFunctionType, CellType, CodeType, FunctionType, MappingProxyType, ModuleType
from typing import Any

import numpy as np

from microgrid import emitter, sites
from microgrid.graph import Node

__microgrid_machinery__ = True

PLAIN = (int, float, bool, str, bytes, type(None))
FEW = 5000  # objects that are watched: who hangs a data set of lists on a function pays more than a replay gains
UNROLLED = 32  # objects in a container that are compared one by one: code for more is slower than a loop
SMALL = 1 << 15  # bytes of an array whose numbers are compared at each replay
EVERYTHING = {"getattr", "vars", "__dict__", "globals", "locals", "eval", "exec", "attrgetter", "methodcaller"}
FOREIGN = {*sys.stdlib_module_names, "numpy"} - {"__main__"}

CALLS = {arrays.array}  # where modules remember their calls

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

LEADS = ("__self__", "__func__", "__wrapped__", "func", "args", "keywords", "fget")  # from one of Python's to others
INSIDE = ("__getitem__", "__float__", "__array__")
HIDING = (arrays.array, bytearray, memoryview, threading.local, ContextVar, weakref.ref, operator.attrgetter,
          operator.methodcaller, np.ndarray, io.IOBase)  # fmt: skip
STEADY = (complex, range, slice, type(...), type(NotImplemented), numbers.Number, np.dtype, np.ufunc, type(np.sum),
          CodeType, BuiltinFunctionType, type(str.upper), type(int.__add__), BaseException)  # fmt: skip
# Python's modules whose functions and objects answer the same each time; random numbers are watched by their generators
UNCHANGING = {"abc", "bisect", "builtins", "cmath", "collections", "contextlib", "copy", "dataclasses", "decimal",
              "enum", "fractions", "functools", "heapq", "itertools", "logging", "math", "numbers", "operator",
              "random", "re", "statistics", "string", "textwrap", "thread", "threading", "types", "typing", "uuid",
              "warnings", "__future__"}  # fmt: skip
# what reaches past all that can be found from here, or asks the world
BEYOND = ("eval", "exec", "globals", "__import__", "import_module", "open", "input", "environ", "getenv", "default_rng",
          "RandomState", "SeedSequence", "SystemRandom", "geterr", "get_printoptions", "getcontext", "loadtxt",
          "genfromtxt", "fromfile", "memmap")  # fmt: skip
PEEPING = {"asarray", "asanyarray", "ascontiguousarray", "asfortranarray", "require", "frombuffer", "memoryview"}
LOADS = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}
IMPORT = opcode.opmap["IMPORT_NAME"]
STILL = {tuple, frozenset}  # what they hold is what they held


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
        self._of = function
        self._looks: list[tuple[str, Any]] = []  # what is asked, as Python says it, of what
        self._still: list[Any] = []  # what hangs where nothing can be exchanged
        self._numbers: list[tuple[Any, bytes]] = []  # of arrays that were looked into
        self._waiting: list[Any] = [function]
        self._met: dict[int, Any] = {}
        self._names: set[str] = {"forward"}  # what code around here asks of objects, and what nn's asks of modules
        self._loaded: set[str] = set()  # of these, what is no attribute of anything
        self._hidden: dict[int, Any] = {}  # builtins that a global of their name would hide, by where it would be
        self._places: list[tuple[Any, Any]] = []  # where something hangs that can be exchanged: an owner, and a key
        self._nodes: list[Node] = []
        self._fixed: list[Any] = []  # arrays that hang elsewhere
        self._exchanged: dict[Any, Any] = {}  # arrays that told, by what they look at
        self._owners: list[tuple[dict[str, Any] | MappingProxyType[str, Any], set[str]]] = []
        self._walk()
        self._now: Callable[[], list[Any]] = _written_out(self._looks)
        self.remember()

    def remember(self) -> None:
        """What is there now is what it was."""
        self._seen = self._now()  # kept, so that no other object can have the identity of one of these
        if len(self._seen) > FEW:
            raise TooMuchError(f"more than {FEW} objects stand around it")
        self._as_it_was = _asked(self._looks, self._seen)
        self._numbers = [(array, _bits(array)) for array, _ in self._numbers]

    def same(self) -> bool:
        """Whether all is what it was."""
        try:
            same = self._as_it_was()
        except (ValueError, RuntimeError):  # more or fewer, or a variable is gone; another thread writes to a dict
            return False
        return same and (not self._numbers or all(_bits(array) == bits for array, bits in self._numbers))

    def contents(self) -> list[int]:
        """Checksums of all arrays around the function."""
        arrays = [x for x in self.arrays().values() if x.nbytes and not x.dtype.hasobject]
        return [zlib.crc32(np.ascontiguousarray(x).view(np.uint8).data) for x in arrays]

    def alike(self, other: Surroundings) -> bool:
        """Whether nothing differs but what modules remember of their calls, for `Module.calls()`."""
        mine, others = ([x for x in around._seen if not _of_calls(x)] for around in (self, other))
        return len(mine) == len(others) and all(map(_agrees, mine, others)) and not other._numbers

    def unchanged(self) -> bool:
        """Whether all is what it was, but for what modules remember of their calls."""
        try:
            return self.same() or Surroundings(self._of).alike(self)
        except TooMuchError:
            return False

    def arrays(self) -> dict[int, Any]:
        """The arrays among it, by identity."""
        return {id(x): x for x in (*self._seen, *self._still) if x.__class__ is np.ndarray}

    def nodes(self) -> list[Node]:
        """The Tensors and Values among it."""
        return [x for x in (*self._seen, *self._still) if isinstance(x, Node)]

    @contextlib.contextmanager
    def seen_through(self) -> Iterator[dict[int, Any]]:
        """Have arrays tell when they are looked into: those that were, by identity."""
        fixed = self.arrays().values() if not PEEPING.isdisjoint(self._names) else self._fixed
        looked = {id(x): x for x in fixed}
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
            if array.dtype.hasobject:
                raise TooMuchError("an array of objects stands around it, which nobody can watch")
            if array.nbytes > SMALL:
                raise TooMuchError(f"it looks into an array around it, of {array.nbytes} bytes")
            self._numbers.append((array, _bits(array)))

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
                every = owner.__class__ is dict and not EVERYTHING.isdisjoint(self._names)
                named = [name for name in owner if (every or name in self._names) and name not in known]
                if named:
                    known.update(named)
                    self._looks += [(f"{{}}.get({name!r})", owner) for name in named]
                    self._waiting += [owner[name] for name in named]
                    self._places += [(owner, name) for name in named]
            if not self._waiting:
                break
        for name in BEYOND:
            if name in (self._loaded if hasattr(builtins, name) else self._names):
                raise TooMuchError(f"it uses {name}, whose answers may change")
        for scope, names in self._hidden.values():
            self._looks += [(f"{{}}.keys().isdisjoint({tuple(sorted(names))})", scope)] * bool(names)
        asked = [name for name in ("requires_grad", "name") if name in self._names]
        self._looks += [(f"{{}}.{name}", node) for node in self._nodes for name in asked]

    def _meet(self, x: Any) -> None:
        kind = type(x)
        if isinstance(x, Node):
            self._nodes.append(x)
        elif any(hasattr(kind, name) for name in ("bit_generator", "getstate", "get_state")):
            self.generators.append(x)
            states((x,))
        elif kind is FunctionType:
            self._function(x)
        elif isinstance(x, (list, tuple, set, frozenset, dict, MappingProxyType, deque)):
            self._container(x)
        elif isinstance(x, UserDict):  # the hooks of a module, say
            self._waiting.append(x.data)
            self._attributes(x)
        elif isinstance(x, ModuleType):
            if _foreign(x.__name__, vars(x)):
                _refuse_changing(x.__name__, x.__name__)
            elif not _machinery(x.__name__, vars(x)):
                self._owners.append((vars(x), set()))
        elif isinstance(x, type):
            self._class(x)
        elif hasattr(kind, "named_parameters") and hasattr(kind, "modules"):
            self._module(x)
        elif kind not in PLAIN and kind not in (np.ndarray, object):
            self._object(x, kind)

    def _container(self, x: Any) -> None:
        """What holds other things, and what a class that is made of it adds."""
        if type(x) in STILL:
            self._still += x
        elif hasattr(x, "keys"):
            self._looks += [("*{}.keys()", x), ("*{}.values()", x)]
        else:
            self._looks.append(("*{}", x))
        self._waiting += x.values() if hasattr(x, "keys") else x
        if isinstance(x, (list, dict)):
            self._places += [(x, key) for key in (x if isinstance(x, dict) else range(len(x)))]
        else:
            self._fixed += [array for array in x if array.__class__ is np.ndarray]
        if type(x).__module__ not in ("builtins", "collections"):
            self._attributes(x)

    def _object(self, x: Any, kind: type) -> None:
        """Any other object: what it leads to, its attributes; or it is one that nobody can watch."""
        root, seen = kind.__module__.partition(".")[0], True
        if root in FOREIGN:
            leads = [getattr(x, name) for name in LEADS if hasattr(x, name)]
            self._waiting += leads
            seen = bool(leads) or isinstance(x, STEADY) or (root != "builtins" and root.lstrip("_") in UNCHANGING)
        elif _foreign(kind.__module__, vars(sys.modules.get(kind.__module__, builtins))):
            seen = not any(hasattr(kind, name) for name in INSIDE)  # data frames and the like
        if not seen or isinstance(x, HIDING) or hasattr(kind, "__next__"):
            raise TooMuchError(f"a {kind.__name__} stands around it, which nobody can watch")
        if root not in FOREIGN or root == "types":
            self._attributes(x)

    def _attributes(self, x: Any) -> None:
        kind, held = type(x), _held(x)
        if held is not None:
            self._looks.append(("*{}.keys()", held))  # an attribute that comes later hides one of the class
            self._owners.append((held, set()))
        slots = [name for base in kind.__mro__ for name in _listed(vars(base).get("__slots__", ()))]
        if not _machinery(kind.__module__, vars(sys.modules.get(kind.__module__, builtins))):
            self._looks += [(f"getattr({{}}, {name!r}, None)", x) for name in slots]
            self._waiting += [getattr(x, name, None) for name in slots]
        self._waiting.append(kind)

    def _function(self, function: FunctionType) -> None:
        scope = function.__globals__
        if _foreign(function.__module__, scope):
            _refuse_changing(function.__module__, function.__name__)
        if _machinery(function.__module__, scope) and not function.__closure__:
            return
        cells, codes = function.__closure__ or (), [function.__code__]
        for code in codes:  # with the functions, and the comprehensions, that are written inside it
            codes += [x for x in code.co_consts if isinstance(x, CodeType)]
        names = {name for code in codes for name in code.co_names}
        self._names |= names
        loaded = {name for code in codes for name in _loaded(code)}
        self._loaded |= loaded
        if any(IMPORT in code.co_code[::2] for code in codes):
            self._waiting += [sys.modules.get(name) for name in names]
        read = [name for name in sorted(loaded) if name in scope]
        self._looks += [(f"{{}}.get({name!r})", scope) for name in read]
        hidden = {name for name in loaded if name not in scope and name in vars(builtins)}
        self._hidden.setdefault(id(scope), (scope, set()))[1].update(hidden)
        self._looks += [(f"{{}}.{part}", function) for part in ("__code__", "__defaults__", "__kwdefaults__")]
        filled = [cell for cell in cells if _filled(cell)]
        self._looks += [("{}.cell_contents", cell) for cell in filled]
        self._waiting += [cell.cell_contents for cell in filled]
        self._waiting += [scope[name] for name in read]
        self._places += [(cell, None) for cell in filled] + [(scope, name) for name in read]
        self._waiting += [function.__defaults__, function.__kwdefaults__]
        self._looks.append(("*{}.keys()" if vars(function) else "len({})", vars(function)))
        self._owners.append((vars(function), set()))
        self._waiting.append(getattr(function, "__wrapped__", None))

    def _module(self, module: Any) -> None:
        """A module, nn's or one like it: all that it holds, and the code of its class, if that is a user's."""
        held = vars(module)
        self._looks.append(("*{}.values()", held))
        self._waiting += [x for name, x in held.items() if type(x) not in CALLS]
        self._places += [(held, name) for name in held]
        self._waiting.append(type(module))

    def _class(self, kind: type) -> None:
        if _foreign(kind.__module__, vars(sys.modules.get(kind.__module__, builtins))):
            _refuse_changing(kind.__module__, kind.__name__)
        self._waiting.append(type(kind))
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


def _loaded(code: CodeType) -> set[Any]:
    """The globals and builtins that it names, where `co_names` has the attributes as well."""
    import dis  # here, since it takes a while to import

    return {x.argval for x in dis.get_instructions(code) if x.opname in LOADS}


def _foreign(name: str | None, scope: Any) -> bool:
    """Whether it is Python's or an installed one."""
    return sites.MARK not in scope and _machinery(name, scope)


def _refuse_changing(module: str, name: str) -> None:
    root = module.partition(".")[0]
    if root in sys.stdlib_module_names and root.lstrip("_") not in UNCHANGING:
        raise TooMuchError(f"it uses {name}, whose answers may change")


def _of_calls(x: Any) -> bool:
    return x.__class__ in CALLS or (x.__class__ is str and x in ("_calls", "_forgotten"))


def _held(x: Any) -> Any:
    try:
        return object.__getattribute__(x, "__dict__")
    except AttributeError:
        return None


def _listed(slots: Any) -> Iterable[str]:
    return (slots,) if isinstance(slots, str) else slots


def _written_out(looks: Sequence[tuple[str, Any]]) -> Callable[[], list[Any]]:
    """One list of what these looks see."""
    seen, scope = _named(looks)
    return emitter.compiled("surroundings", [f"def surroundings(): return [{', '.join(seen)}]"], scope)


def _asked(looks: Sequence[tuple[str, Any]], seen: Sequence[Any]) -> Callable[[], bool]:
    """Whether these looks see the same objects and numbers again; a ValueError where there are more or fewer."""
    named, scope = _named(looks)
    scope |= {"is_": operator.is_, "agrees": _agrees}
    lines, first = ["def same():"], 0
    for text, x in named.items():
        several = text.startswith("*")
        names = [f"s{i}" for i in range(first, first + (len(x) if several else 1))]
        there = seen[first : first + len(names)]
        first += len(names)
        if not several:
            lines.append(f"    if {text} is not {names[0]} and not agrees({text}, {names[0]}): return False")
        elif len(names) <= UNROLLED:
            lines.append(f"    [{', '.join(f'v{name}' for name in names)}] = {text[1:]}")
            differ = "    if v{0} is not {0} and not agrees(v{0}, {0}): return False"
            lines += [differ.format(name) for name in names]
        else:
            many, names, there = text[1:], [f"all_{first}"], [there]
            alike = [f"all(map({compare}, {many}, {names[0]}))" for compare in ("is_", "agrees")]
            lines.append(f"    if len({many}) != {len(x)} or not ({' or '.join(alike)}): return False")
        scope.update(zip(names, there, strict=True))
    return emitter.compiled("same", [*lines, "    return True"], scope)


def _agrees(now: Any, then: Any) -> bool:
    """Whether it is the same object, or the same plain number or text: a float by its bits."""
    if now is then or now.__class__ is not then.__class__ or now.__class__ not in PLAIN:
        return now is then
    return bool(now.hex() == then.hex() if now.__class__ is float else now == then)


def _named(looks: Sequence[tuple[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The looks as expressions, each once, with what they look at; and what the names in them stand for."""
    places: dict[int, str] = {}
    named = {look.replace("{}", places.setdefault(id(x), f"x{len(places)}"), 1): x for look, x in looks}
    return named, {places[id(x)]: x for _, x in looks}


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


def states(generators: Sequence[Any]) -> list[tuple[Callable[[Any], None], Any]]:
    """What these generators stand at, and Python's and NumPy's global ones, each with what puts it there again."""
    found: list[tuple[Callable[[Any], None], Any]] = []
    for x in (*generators, *filter(None, map(sys.modules.get, ("random", "numpy.random")))):
        if hasattr(x, "getstate"):
            try:
                found.append((x.setstate, x.getstate()))
            except NotImplementedError:
                raise TooMuchError(f"a {type(x).__name__} stands around it, which nobody can watch") from None
        elif hasattr(x, "get_state"):
            found.append((x.set_state, x.get_state()))
        else:
            found.append((functools.partial(setattr, x.bit_generator, "state"), x.bit_generator.state))
    return found


@contextlib.contextmanager
def undrawn(generators: Sequence[Any], start: Sequence[Any] = ()) -> Iterator[None]:
    """Random numbers stand where they stood at the start, and afterwards where they stand now.

    Raises
    ------
    TooMuchError
        If some were drawn.
    """
    now = states(generators)
    before = [state for _, state in start or now]
    for put, state in start:
        put(state)
    try:
        yield
    finally:
        after = [state for _, state in states(generators)]
        for put, state in now:
            put(state)
    if pickle.dumps(after) != pickle.dumps(before):
        raise TooMuchError("it draws random numbers")
