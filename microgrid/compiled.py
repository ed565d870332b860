"""Record once, replay many: a loss and its gradients as straight-line NumPy, emitted from the rules.

>>> import numpy as np
>>> import microgrid as mg
>>> w = mg.Tensor([1.0, -2.0], requires_grad=True)
>>> step = mg.compile(lambda x, y: ((x @ w - y) ** 2).mean())
>>> for _ in range(3):
...     loss = step(np.eye(2), np.zeros(2))
>>> loss.item(), w.grad.tolist(), step.replays
(2.5, [3.0, -6.0], 2)
"""

from __future__ import annotations

import contextlib
import functools
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FunctionType, MethodType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from microgrid import debugging, kinds, modes, sites, stale
from microgrid.graph import Node, tool, topological_order
from microgrid.rule import Rule
from microgrid.tensor import Tensor
from microgrid.tracing import Program, Traced, written

__microgrid_machinery__ = True

RECORDINGS = 16  # forms of arguments that are kept; with more, the oldest goes
PLAIN = (int, float, bool, str, bytes, type(None))


class CannotCaptureError(Exception):
    """Why a function is not replayed but called each time."""


class Compiled:
    """A function that gives a loss, together with its backward pass; see `compile`.

    Attributes
    ----------
    source : str
        The code of the last recording; empty where there is none.
    why : str
        Why the function is called each time instead of replayed; empty where it is replayed.
    replays, recordings : int
        How often that happened.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        functools.update_wrapper(self, function)
        self.function = function
        self.source, self.why = "", ""
        self.replays = self.recordings = 0
        self._around: list[Callable[[], tuple[Any, ...]]] = []
        self._generators: list[Any] = []
        self._seen: tuple[Any, ...] = ()  # what stood around the function when it was recorded: kept, so that no other
        self._ids: list[int] | None = None  # object can have the identity of one of these
        self._known: dict[Any, _Replay | None] = {}
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **keywords: Any) -> Tensor:
        key = self._key(args, keywords)
        traced = sys.gettrace() is not None or (tool is not None and tool(0) is not None)
        if key is None or modes.special.count or (traced and debugging.debugger() is not None):
            return self._eager(args, keywords)
        with self._lock:
            if [id(x) for look in self._around for x in look()] != self._ids:
                self._look_around()
            if key not in self._known:
                return self._record(key, args, keywords)
            replay = self._known[key]
            if replay is not None and replay.fits():
                self.replays += 1
                return replay(args, keywords)
            if replay is not None:
                return self._record(key, args, keywords)
        return self._eager(args, keywords)

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"<compiled {name}: {self.replays} replays, {self.recordings} recordings>"

    def _key(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """What of the arguments a recording depends on, all but numbers in arrays; None where that cannot be told."""
        key: list[Any] = []
        for x in (*args, *keywords.values()) if keywords else args:
            if isinstance(x, Tensor):
                if x.requires_grad and (x.rule is not None or (x._extra is not None and "hooks" in x._extra)):
                    self.why = "it was given a Tensor with a history, or with a hook"
                    return None
                key.append((x._data.shape, x._data.dtype, x.requires_grad))
            elif isinstance(x, np.ndarray):
                key.append((x.shape, x.dtype))
            elif isinstance(x, PLAIN):
                key.append((type(x), x.hex() if isinstance(x, float) else x))  # 0.0 and -0.0 are two
            else:
                self.why = f"it was given {type(x).__name__}, which is neither an array nor a plain number"
                return None
        return (*key, *keywords) if keywords else tuple(key)

    def _look_around(self) -> None:
        """Something around the function is not what it was: what was recorded is of no use any more."""
        self._known.clear()
        self._around, self._generators = _surroundings(self.function)
        self._remember()

    def _remember(self) -> None:
        self._seen = tuple(x for look in self._around for x in look())
        self._ids = [id(x) for x in self._seen]

    def _eager(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
        loss = _loss(self.function(*args, **keywords))
        loss.backward()
        return loss.detach()

    def _record(self, key: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
        """Call the function twice, compare the records, write the code, and hold it against the engine once."""
        given = [_stand_in(x) for x in args]
        named = {name: _stand_in(x) for name, x in keywords.items()}
        self.recordings += 1
        replay: _Replay | None = None
        try:
            with _undrawn(self._generators):
                replay = _recorded(self.function, given, named)
            self.source, self.why = replay.source, ""
        except CannotCaptureError as error:
            self.why = str(error)
        if len(self._known) >= RECORDINGS:
            del self._known[next(iter(self._known))]
        self._known[key] = replay
        self._remember()  # the recording itself may have left something, as modules remember their calls
        return self._eager(args, keywords)


def compile(function: Callable[..., Any]) -> Compiled:
    """A function that gives a loss as a function that computes the loss and does its backward pass, fast.

    `compiled(*args)` does what `loss = function(*args); loss.backward()` does, and returns the loss without a graph.
    The first call with arguments of some shapes and types records what the function computes; later calls replay the
    record as straight-line NumPy, in buffers that are made once.

    Parameters
    ----------
    function : callable
        Takes arrays, Tensors and plain numbers, and gives a Tensor of one number.

    Returns
    -------
    Compiled
        Call it as the function. `source` is the code, and `why` says why a function cannot be replayed.

    Raises
    ------
    TypeError
        If it is no function; at a call, if it gives no Tensor.
    ValueError
        At a call, if the loss is not one number or requires no gradient.

    Notes
    -----
    What is replayed depends on the arrays, Tensors and parameters, and on nothing else, or the function is called each
    time: so it is where a number is looked at (`t > 0`, `float(t)`, `t.item()`; `mg.where` and `mg.relu` are no looks),
    where an array is made inside it (random numbers, NumPy's functions of an argument), or where data is written to.
    Plain numbers among the arguments and around the function, and whether modules are in training mode, belong to the
    record: another value is recorded anew. What a function does besides, printing say, happens when it is recorded
    (three times) and is not repeated: neither are checks, of labels by a loss, say. Everything that is computed is
    computed as the engine computes it.
    """
    if not callable(function):
        raise TypeError(f"compile: expected a function, got {type(function).__name__}, at {sites.here()}")
    return Compiled(function)


def _loss(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor):
        raise TypeError(f"compile: the function gave {type(loss).__name__}, expected a Tensor, at {sites.here()}")
    return loss


# ------------------------------------------------------------------------------------------------------ recording


class _Replay(NamedTuple):
    """What was recorded, ready to be run."""

    function: Callable[..., Any]
    source: str
    places: tuple[int | str, ...]  # of the arguments that the code takes
    outside: tuple[Any, ...]  # Tensors and arrays that it takes from around the function
    targets: tuple[Any, ...]  # leaves that get a gradient: a Tensor, or the place of an argument
    flags: tuple[Any, ...]

    def fits(self) -> bool:
        """Whether the leaves around the function are what they were, but for their numbers."""
        return self.flags == tuple([_flags(x) for x in self.outside])

    def __call__(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Tensor:
        given = [args[place] if isinstance(place, int) else keywords[place] for place in self.places]
        arrays = [x if x.__class__ is np.ndarray else x._data for x in (*given, *self.outside)]
        loss, *gradients = kinds.quietly(self.function, *arrays)
        for target, gradient in zip(self.targets, gradients, strict=True):
            leaf = target if isinstance(target, Node) else args[target] if isinstance(target, int) else keywords[target]
            before = leaf._grad
            leaf._grad = gradient if before is None else leaf._fit(before + gradient)
        result: Tensor = Tensor._new(loss, False)
        return result


def _stand_in(x: Any) -> Any:
    """An argument as a Tensor that nothing else can be: one given twice, or met around the function, is told apart."""
    if isinstance(x, Tensor):
        return Tensor._new(x._data, x.requires_grad)
    return Tensor(x) if isinstance(x, np.ndarray) else x


def _flags(x: Any) -> Any:
    """What of a Tensor or an array around a function belongs to the record."""
    if x.__class__ is np.ndarray:
        return x.shape, x.dtype
    if x._extra is not None and "hooks" in x._extra:
        return object()  # equal to nothing: a hook is called by the engine alone
    return x.requires_grad


def _recorded(function: Callable[..., Any], args: list[Any], keywords: dict[str, Any]) -> _Replay:
    first, second = (_once(function, args, keywords) for _ in range(2))
    _check_same(first, second)
    given: list[tuple[int | str, Any]] = [*enumerate(args), *keywords.items()]
    replay = _Recorder(first, {x: place for place, x in given if isinstance(x, Node)}).replay()
    _check_equal(replay, first, args, keywords)
    return replay


def _once(function: Callable[..., Any], args: list[Any], keywords: dict[str, Any]) -> Tensor:
    """The loss with all that it was computed from."""
    writes = stale.last.write
    going_on = modes.recording()
    with going_on, modes.enable_grad():
        loss = function(*args, **keywords)
    if going_on.looks:
        raise CannotCaptureError(f"it looks at a number: {going_on.looks[0]}")
    if stale.last.write != writes:
        raise CannotCaptureError("it writes to data")
    loss = _loss(loss)
    if loss._data.size != 1 or not loss.requires_grad:
        raise CannotCaptureError("the loss is not one number that requires a gradient")
    return loss


def _check_same(first: Tensor, second: Tensor) -> None:
    """Two records of one function must be the same operations on the same things."""
    orders = [topological_order(loss) for loss in (first, second)]
    made = [[node for node in order if node.rule is not None] for order in orders]
    if len(made[0]) != len(made[1]):
        raise CannotCaptureError("it did other operations when it was called again")
    twin = dict(zip(made[0], made[1], strict=True))
    for one, other in twin.items():
        if one.rule is not other.rule or len(one.inputs) != len(other.inputs):
            raise CannotCaptureError(f"it did another operation when it was called again: {one._written()}")
        if one._extra is not None and not one._extra.keys() <= {"name"}:
            raise CannotCaptureError(f"a node of it has a hook, or was handed out: {one._written()}")
        pairs = [*zip(one.inputs, other.inputs, strict=True)]
        pairs += [(one.parameters[name], other.parameters.get(name)) for name in one.parameters]
        for x, y in pairs:
            if twin.get(x) is not y if isinstance(x, Node) and x.rule is not None else not _same(x, y):
                raise CannotCaptureError(f"it makes an array, or another number each time, for {one._written()}")


def _same(x: Any, y: Any) -> bool:
    if isinstance(x, (Node, np.ndarray)):
        return x is y
    if isinstance(x, (tuple, list)) and type(x) is type(y) and len(x) == len(y):
        return all(map(_same, x, y))
    return type(x) is type(y) and (x is y or x == y or (x != x and y != y))


class _Recorder:
    """The record of a loss as a program: the rules, run forward and backward on traced arrays."""

    def __init__(self, loss: Tensor, inputs: dict[Any, int | str]) -> None:
        self.loss, self.inputs = loss, inputs
        self.order = topological_order(loss)
        self.program = Program()
        self.traced: dict[Any, Any] = {}
        self.places: list[int | str] = []
        self.outside: list[Any] = []

    def replay(self) -> _Replay:
        """The program written out."""
        for node in self.order:
            if node.rule is None and node in self.inputs:
                self.places.append(self.inputs[node])
                self.traced[node] = self.program.input(f"x{len(self.places)}", node._data)
        for node in self.order:
            if node.rule is None and node not in self.inputs:
                self._take(node)
        if any(node._extra is not None and "hooks" in node._extra for node in self.order):
            raise CannotCaptureError("a Tensor of it has a hook")
        try:
            with np.errstate(all="ignore"):
                self._forward()
                gradients = self._backward()
        except CannotCaptureError:
            raise
        except (TypeError, ValueError, AttributeError, IndexError, KeyError, ArithmeticError) as error:
            raise CannotCaptureError(f"an operation of it cannot be written out: {error}") from error
        leaves = [node for node in self.order if node.rule is None and node in gradients]
        outputs = [self.traced[self.loss], *(gradients[leaf] for leaf in leaves)]
        function, source = written(self.program, outputs, "replay")
        flags = tuple(map(_flags, self.outside))
        targets = tuple(self.inputs.get(leaf, leaf) for leaf in leaves)
        return _Replay(function, source, tuple(self.places), tuple(self.outside), targets, flags)

    def _take(self, x: Any) -> Traced:
        """A Tensor or an array from around the function, read anew at each replay."""
        self.outside.append(x)
        traced = self.program.input(f"p{len(self.outside)}", x._data if isinstance(x, Node) else x)
        self.traced[x if isinstance(x, Node) else id(x)] = traced
        return traced

    def _numbers(self, node: Node) -> list[Any]:
        numbers = []
        for x in node.inputs:
            if isinstance(x, Node):
                numbers.append(self.traced[x])
            elif isinstance(x, np.ndarray):
                numbers.append(self.traced[id(x)] if id(x) in self.traced else self._take(x))
            else:
                numbers.append(x.item() if isinstance(x, np.generic) else x)
        return numbers

    def _forward(self) -> None:
        for node in self.order:
            if node.rule is None:
                continue
            if not isinstance(node, Tensor):
                raise CannotCaptureError(f"a Value takes part in it: {node._written()}")
            self.program.comment = node._written()
            self.traced[node] = node.rule(*self._numbers(node), **node.parameters)
            if self.traced[node].shape != node.shape or self.traced[node].dtype != node.dtype:
                raise CannotCaptureError(f"its form is another in the record: {node._written()}")

    def _backward(self) -> dict[Any, Any]:
        ones = self.program.call("ones", self.loss.shape, self.loss.dtype)
        gradients: dict[Any, Any] = {self.loss: ones}
        for node in reversed(self.order):
            if node.rule is None or node not in gradients or not node.requires_grad:
                continue
            rule: type[Rule] = node.rule
            self.program.comment = f"back through {node._written()}"
            arguments = [gradients[node], self.traced[node], *self._numbers(node)]
            together = rule.wrt[0](*arguments, **node.parameters) if rule.variadic and rule.wrt[0] else None
            for position, x in enumerate(node.inputs):
                if not isinstance(x, Node) or not x.requires_grad:
                    continue
                wrt = rule.wrt[0 if rule.variadic else position]
                if wrt is None:
                    continue
                share = wrt(*arguments, **node.parameters) if together is None else together[position]
                share = self._fitted(share, x)
                gradients[x] = share if x not in gradients else gradients[x] + share
        return gradients

    def _fitted(self, share: Any, x: Any) -> Any:
        if not isinstance(share, Traced):
            share = self.program.call("full", x.shape, share, dtype=x.dtype)
        if share.shape != x.shape:
            share = self.program.call("sum_to", share, shape=x.shape)
        return share if share.dtype == x.dtype else share.astype(x.dtype)


def _check_equal(replay: _Replay, loss: Tensor, args: list[Any], keywords: dict[str, Any]) -> None:
    """The code against the engine, once: whatever is wrong, the function is then called each time."""
    from microgrid.derivatives import grad

    given = [args[place] if isinstance(place, int) else keywords[place] for place in replay.places]
    arrays = [x if isinstance(x, np.ndarray) else x._data for x in (*given, *replay.outside)]
    try:
        found = kinds.quietly(replay.function, *arrays)
    except (TypeError, ValueError) as error:
        raise CannotCaptureError(f"its record cannot be run: {error}") from error
    leaves = [
        target if isinstance(target, Node) else args[target] if isinstance(target, int) else keywords[target]
        for target in replay.targets
    ]
    expected = (loss._data, *grad(loss, leaves))
    for a, b in zip(found, expected, strict=True):
        tolerance = 1e-5 if b.dtype == np.float32 else 1e-10
        scale = np.max(np.abs(b[np.isfinite(b)]), initial=0.0)
        equal = a.shape == b.shape and np.allclose(a, b, tolerance, tolerance * scale, equal_nan=True)
        if not equal or a.dtype != b.dtype:
            raise CannotCaptureError("its record gives other numbers than the engine")


# ------------------------------------------------------------------------------------- what stands around a function


def _surroundings(function: Any) -> tuple[list[Callable[[], tuple[Any, ...]]], list[Any]]:
    """Looks at what a function may read besides its arguments; each gives objects that are told apart by identity.

    What is in its closure and in its globals, the plain numbers of objects there, all that a module holds, and the same
    of the functions that it calls.

    Generators of random numbers among it come second.
    """
    looks: list[Callable[[], tuple[Any, ...]]] = []
    generators: list[Any] = []
    seen = set[int]()
    waiting = [function]
    while waiting and len(seen) < 1000:
        x = waiting.pop()
        if id(x) in seen:
            continue
        seen.add(id(x))
        if _draws(x):
            generators.append(x)
        elif isinstance(x, MethodType):
            waiting += [x.__func__, x.__self__]
        elif isinstance(x, functools.partial):
            waiting += [x.func, *x.args, *x.keywords.values()]
        elif isinstance(x, FunctionType):
            if sites.MARK in x.__globals__ and not x.__closure__:
                continue
            cells, names = x.__closure__ or (), [name for name in x.__code__.co_names if name in x.__globals__]
            looks.append(functools.partial(_around, cells, x.__globals__, names))
            waiting += [*_contents(cells), *(x.__globals__[name] for name in names), *(x.__defaults__ or ())]
        elif hasattr(x, "named_parameters") and hasattr(x, "modules"):
            for module in x.modules():
                looks.append(functools.partial(_held, module))
                waiting += filter(_draws, vars(module).values())
        elif hasattr(x, "__dict__") and not isinstance(x, (Node, type, ModuleType, Compiled)):
            looks.append(functools.partial(_plain, x))
            waiting += [item for item in vars(x).values() if callable(item) or _draws(item)]
    return looks, generators


def _draws(x: Any) -> bool:
    """Whether it is one of NumPy's generators."""
    return hasattr(x, "bit_generator")


@contextlib.contextmanager
def _undrawn(generators: Sequence[Any]) -> Iterator[None]:
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


def _contents(cells: Sequence[Any]) -> list[Any]:
    filled = []
    for cell in cells:
        with contextlib.suppress(ValueError):  # not yet filled
            filled.append(cell.cell_contents)
    return filled


def _around(cells: Sequence[Any], scope: dict[str, Any], names: Sequence[str]) -> tuple[Any, ...]:
    return (*_contents(cells), *[scope.get(name) for name in names])


def _plain(x: Any) -> tuple[Any, ...]:
    return tuple([item for item in vars(x).values() if isinstance(item, PLAIN)])


def _held(x: Any) -> tuple[Any, ...]:
    held: list[Any] = list(vars(x).values())
    for item in vars(x).values():
        if isinstance(item, (list, tuple)):
            held += item
        elif isinstance(item, dict):
            held += item.values()
    return tuple(held)
