"""One call of a function as a program: recorded twice, compared, run forward and backward on traced arrays.

What cannot be repeated from arguments and surroundings alone raises `CannotCaptureError`, which says why.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

import numpy as np

from microgrid import emitter, kinds, modes, stale
from microgrid.capture import array_code
from microgrid.capture.prepared import Check, locked, prepare
from microgrid.capture.surroundings import Surroundings, undrawn
from microgrid.capture.tracing import Program, Traced
from microgrid.graph import Node, next_number, topological_order
from microgrid.rule import Rule
from microgrid.tensor import Tensor

__microgrid_machinery__ = True

Written: TypeAlias = tuple[Callable[..., Any], str]  # a function of arrays that gives new arrays, and its source
Writer: TypeAlias = Callable[[Program, Sequence[Traced], str], Written]


class CannotCaptureError(Exception):
    """Why a function is not replayed but called each time."""


class Record:
    """What one call did: the loss with all that it was computed from, and what was checked on the way."""

    def __init__(self, function: Callable[..., Any], given: Sequence[Any], names: Sequence[str]) -> None:
        writes, born = stale.last.write, next_number()
        first = len(given) - len(names)
        going_on = modes.recording()
        try:
            with going_on, modes.enable_grad():
                loss = function(*given[:first], **dict(zip(names, given[first:], strict=True)))
        except modes.LookedError:
            loss = None
        except Exception as error:  # of stand-ins alone: the plain call went well
            raise CannotCaptureError(f"it cannot be called with Tensors for arrays: {error}") from error
        if going_on.looks:
            raise CannotCaptureError(f"it looks at a number: {going_on.looks[0]}")
        if stale.last.write != writes:
            raise CannotCaptureError("it writes to data")
        if not isinstance(loss, Tensor):
            raise CannotCaptureError(f"it gives {type(loss).__name__}")
        if loss._data.size != 1 or not loss.requires_grad or loss.rule is None:
            raise CannotCaptureError("the loss is not one number that requires a gradient")
        self.loss: Tensor = loss
        self.checks: list[Check] = going_on.checks
        nodes = [x for check in self.checks for x in check.inputs if isinstance(x, Node)]
        self.order = topological_order(loss, *nodes)
        for node in self.order:
            if node.rule is not None and node._number <= born:
                raise CannotCaptureError(f"it goes on from what was computed before it was called: {node._written()}")

    def check_same(self, other: Record, original: Callable[[Any], Any]) -> None:
        """Two records of one function must be the same operations on the same things."""
        made = [[node for node in record.order if node.rule is not None] for record in (self, other)]
        if len(made[0]) != len(made[1]):
            raise CannotCaptureError("it did other operations when it was called again")
        twin = dict(zip(made[0], made[1], strict=True))

        def same(x: Any, y: Any) -> bool:
            y = original(y)
            if isinstance(x, Node) and x.rule is not None:
                return twin.get(x) is y
            if isinstance(x, (Node, np.ndarray)):
                return x is y
            if isinstance(x, (tuple, list)) and type(x) is type(y) and len(x) == len(y):
                return all(map(same, x, y))
            return type(x) is type(y) and bool(x is y or x == y or (x != x and y != y))

        for one, again in twin.items():
            if one.rule is not again.rule or len(one.inputs) != len(again.inputs):
                raise CannotCaptureError(f"it did another operation when it was called again: {one._written()}")
            if one._extra is not None and not one._extra.keys() <= {"name", "seen"}:
                raise CannotCaptureError(f"a node of it has a hook, or was handed out: {one._written()}")
            pairs = [*zip(one.inputs, again.inputs, strict=True)]
            pairs += [(one.parameters[name], again.parameters.get(name)) for name in one.parameters]
            if not all(same(x, y) for x, y in pairs):
                raise CannotCaptureError(f"it makes an array, or another number each time, for {one._written()}")
        if not same([tuple(check) for check in self.checks], [tuple(check) for check in other.checks]):
            raise CannotCaptureError("it checks other things when it is called again")


def recorded(
    function: Callable[..., Any], args: Sequence[Any], names: Sequence[str], write: Writer, around: Surroundings,
    plain: Any, drawn: Sequence[Any],
) -> Replay:  # fmt: skip
    """The function at these arguments, of which the last have names, as code.

    `plain` is what it gave when it was called, and `drawn` where random numbers stood then.

    Raises
    ------
    CannotCaptureError
        Where it must be called each time.
    """
    given = [_stand_in(x) for x in args]
    with undrawn(around.generators, drawn):
        first = Record(function, given, names)
    if first.loss.shape != plain.shape or not _near(first.loss._data, plain._data, _tolerance(plain.dtype)):
        arrays = any(isinstance(x, np.ndarray) for x in args)
        raise CannotCaptureError(f"it gives another number each time{', or with Tensors for arrays' * arrays}")
    with around.seen_through() as looked, undrawn(around.generators, drawn):
        second = Record(function, given, names)
    first.check_same(second, around.original)
    for writer in dict.fromkeys((write, array_code.written)):
        recorder = _Recorder(first, {x: place for place, x in enumerate(given) if isinstance(x, Node)})
        replay = recorder.replay(args, writer)
        why = _difference(replay, first.loss, given, recorder)
        if not why:  # what multiplies errors may be near enough in NumPy, whose functions are the engine's
            break
    if why:
        raise CannotCaptureError(why)
    held = {id(x._data) for x in (*given, *around.nodes()) if isinstance(x, Node)}
    if any(id(x) in held for x in recorder.sources):
        raise CannotCaptureError("it takes the array out of a Tensor")  # which may hold another one at the next call
    around.watch_numbers(looked, recorder.sources)
    return replay


def _stand_in(x: Any) -> Any:
    """An argument as a Tensor that nothing else can be: one given twice, or met around the function, is told apart."""
    if isinstance(x, Tensor):
        return Tensor._new(x._data, x.requires_grad)
    return _Array(x) if isinstance(x, np.ndarray) else x


class _Array(Tensor):
    """A Tensor that stands for an array: what arrays do otherwise belongs in no record."""


def _otherwise(name: str) -> Any:
    return property(lambda self: modes.look(f"an array's {name}"))


for _name in ("std", "var", "cumsum", "transpose", "view"):
    setattr(_Array, _name, _otherwise(_name))


class _Recorder:
    """A record as a program: the rules, run forward and backward on traced arrays."""

    def __init__(self, record: Record, places: dict[Any, int]) -> None:
        self.record, self.places = record, places
        self.order, self.loss = record.order, record.loss
        self.program = Program()
        self.traced: dict[Any, Any] = {}
        self.sources: list[
            Any
        ] = []  # of the program's inputs: an argument's place, what stands around, a prepared node
        self.arrays: list[Any] = []  # what they gave in the record
        self.source_of: dict[Any, int] = {}  # by node, or by an array's identity: the place among the sources

    def replay(self, args: Sequence[Any], write: Writer) -> Replay:
        """The program written out, and all that is done around it at each replay."""
        for node in self.order:
            if node.rule is None and node in self.places:
                self._take(node, self.places[node])
        for node in self.order:
            if node.rule is None and node not in self.places:
                self._take(node, node)
        if any(node._extra is not None and node._extra.get("hooks") for node in self.order):
            raise CannotCaptureError("a Tensor of it has a hook")
        try:
            with np.errstate(all="ignore"):
                self._forward()
                gradients = self._backward()
        except (TypeError, ValueError, AttributeError, IndexError, KeyError, ArithmeticError) as error:
            raise CannotCaptureError(f"an operation of it cannot be written out: {error}") from error
        leaves = self._leaves(gradients)
        targets = [self.places.get(leaf, leaf) for leaf in leaves]
        outputs = [self.traced[self.loss], *(gradients[leaf] for leaf in leaves)]
        early, late = list[Check](), list[Check]()  # checks of what goes in, and of what is computed
        for check in self.record.checks:
            (late if any(isinstance(x, Node) and x not in self.source_of for x in check.inputs) else early).append(
                check
            )
        for check in late:
            outputs += [self.traced[x] for x in check.inputs if isinstance(x, Node)]
        function, source = write(self.program, outputs, "replay")
        return Replay(self, args, function, source, targets, early, late)

    def _leaves(self, gradients: dict[Any, Any]) -> list[Any]:
        """The leaves that get a gradient as they are first used: the order in which modules list them, as a rule."""
        used = [x for node in self.order for x in node.inputs if isinstance(x, Node) and x.rule is None]
        return [x for x in dict.fromkeys([*used, *self.order]) if x.rule is None and x in gradients]

    def _take(self, x: Any, source: Any) -> Traced:
        """An array from outside of the program, read anew at each replay."""
        self.arrays.append(x._data if isinstance(x, Node) else x)
        key = x if isinstance(x, Node) else id(x)
        self.source_of[key] = len(self.sources)
        self.sources.append(source)
        letter = "x" if isinstance(source, int) else "m" if isinstance(source, Node) and source.rule else "p"
        name = f"{letter}{sum(have.startswith(letter) for have in self.program.inputs) + 1}"
        self.traced[key] = self.program.input(name, x._data if isinstance(x, Node) else x)
        traced: Traced = self.traced[key]
        return traced

    def _numbers(self, node: Node) -> list[Any]:
        numbers = []
        for x in node.inputs:
            if isinstance(x, Node):
                numbers.append(self.traced[x])
            elif isinstance(x, np.ndarray):
                numbers.append(self.traced[id(x)] if id(x) in self.traced else self._take(x, x))
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
            if node.rule is prepare:
                self._prepare(node)
                continue
            self.traced[node] = node.rule(*self._numbers(node), **node.parameters)
            if self.traced[node].shape != node.shape or self.traced[node].dtype != node.dtype:
                raise CannotCaptureError(f"its form is another in the record: {node._written()}")

    def _prepare(self, node: Node) -> None:
        for x in node.inputs:
            if isinstance(x, np.ndarray) and id(x) not in self.source_of:
                self._take(x, x)
            elif isinstance(x, Node) and x not in self.source_of:
                raise CannotCaptureError(f"it makes an array of what it computes: {node._written()}")
        self._take(node, node)

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


# --------------------------------------------------------------------------------------------------- replaying


class Replay:
    """What was recorded, ready to be run.

    Attributes
    ----------
    run : callable
        Of the arguments; None where they, or the leaves around the function, are not of the form that was recorded.
    source : str
        The code.
    count : int
        Of arguments.
    """

    def __init__(
        self, recorder: _Recorder, args: Sequence[Any], function: Callable[..., Any], source: str,
        targets: Sequence[Any], early: Sequence[Check], late: Sequence[Check],
    ) -> None:  # fmt: skip
        self.function, self.source, self.targets, self.count = function, source, targets, len(args)
        self.run = _Emitter(recorder, args, function, targets).emitted(early, late)

    def hooked(self, given: Sequence[Any]) -> bool:
        """Whether a leaf has a hook, which the engine alone calls."""
        leaves = [given[target] if isinstance(target, int) else target for target in self.targets]
        return any(leaf._extra is not None and leaf._extra.get("hooks") for leaf in leaves)


class _Emitter:
    """A replay as one function, with nothing left to decide: does it fit, take, check, run, store."""

    def __init__(
        self, recorder: _Recorder, args: Sequence[Any], function: Callable[..., Any], targets: Sequence[Any]
    ) -> None:
        self.args, self.function, self.targets = args, function, targets
        self._sources, self._source_of = recorder.sources, recorder.source_of
        self.loss = "loss.copy()" if recorder.loss.ndim else "loss"  # a part of what is handed out again is no Tensor's

    def emitted(self, early: Sequence[Check], late: Sequence[Check]) -> Callable[..., Any]:
        args = self.args
        scope: dict[str, Any] = {
            "function": self.function, "quiet": kinds._quiet, "just": kinds._just, "new": Tensor._new,
        }  # fmt: skip
        conditions, arrays, made, after = list[str](), list[str](), list[str](), list[str]()
        for place, x in enumerate(args):
            conditions += _conditions_of_argument(f"x{place}", x, scope)
        checked = {id(x) for check in early for x in check.inputs if isinstance(x, (Node, np.ndarray))}
        of_checked = set[int]()
        for i, source in enumerate(self._sources):
            name = f"w{i}"
            if isinstance(source, Node) and source.rule is prepare:
                waits = not (checked | of_checked).isdisjoint(map(id, source.inputs))
                of_checked |= {id(source)} if waits else set()
                (made if waits else arrays).append(f"a{i} = {self._prepared(source, i, scope)}")
                continue
            if isinstance(source, int):
                name = f"x{source}"
            else:
                scope[name] = source
                conditions += _conditions_of_leaf(name, source, scope)
            x = args[source] if isinstance(source, int) else source
            arrays.append(f"a{i} = {name}" if isinstance(x, np.ndarray) else f"a{i} = {name}._data")
        for k, check in enumerate(early):  # before anything is made of what is checked
            waits = not of_checked.isdisjoint(map(id, check.inputs))
            (made if waits else arrays).append(self._checked(check, k, scope))
        arrays += made
        gradients = [f"g{i}" for i in range(len(self.targets))]
        computed = [f"c{i}" for i in range(sum(isinstance(x, Node) for check in late for x in check.inputs))]
        for target, gradient in zip(self.targets, gradients, strict=True):
            leaf = f"x{target}" if isinstance(target, int) else f"w{self._source_of[target]}"
            after += [
                f"before = {leaf}._grad",
                f"{leaf}._grad = {gradient} if before is None else {leaf}._fit(before + {gradient})",
            ]
        left = iter(computed)
        for k, check in enumerate(late, start=len(early)):
            scope[f"check{k}"] = check.run
            inputs = [next(left) if isinstance(x, Node) else self._array(x, f"k{k}", scope) for x in check.inputs]
            after.insert(k - len(early), f"check{k}({', '.join(inputs)})")
        lines = [
            f"def fitting({', '.join(f'x{place}' for place in range(len(args)))}):",
            f"    if not ({' and '.join(conditions) or True}): return None",
            *(f"    {line}" for line in arrays),
            "    run = quiet.run",
            "    quiet.run = just",
            f"    try: {', '.join(['loss', *gradients, *computed])}, = "
            f"run({', '.join(['function', *(f'a{i}' for i in range(len(self._sources)))])})",
            "    except ValueError: return None",  # somebody made read-only what is handed out again
            "    finally: quiet.run = run",
            *(f"    {line}" for line in after),
            f"    return new({self.loss}, False)",
        ]
        return emitter.compiled("fitting", lines, scope)

    def _prepared(self, node: Any, place: int, scope: dict[str, Any]) -> str:
        function, words = node.parameters["function"], dict(node.parameters["words"])
        scope[f"prepare{place}"], scope[f"words{place}"] = function, words
        inputs = [self._array(x, f"k{place}", scope) for x in node.inputs]
        return f"prepare{place}({', '.join([*inputs, f'**words{place}'])})"

    def _array(self, x: Any, name: str, scope: dict[str, Any]) -> str:
        """An input of what is not mathematics: one of the arrays taken, or a plain constant."""
        key = x if isinstance(x, Node) else id(x)
        if key in self._source_of:
            return f"a{self._source_of[key]}"
        name = f"{name}_{len(scope)}"
        scope[name] = x
        return name

    def _checked(self, check: Check, k: int, scope: dict[str, Any]) -> str:
        """A check of what goes in: done again where it is another array, or one that can be written to."""
        inputs = [self._array(x, f"k{k}", scope) for x in check.inputs]
        scope[f"check{k}"] = Passed(check)
        source = self._sources[int(inputs[0][1:])] if inputs[0].startswith("a") else None
        owner = f"x{source}" if isinstance(source, int) else "None" if source is None else f"w{inputs[0][1:]}"
        return f"if check{k}.array() is not {inputs[0]}: check{k}({owner}, {', '.join(inputs)})"


class Passed:
    """A check with the array that it let pass last, if nobody can have written to that since."""

    def __init__(self, check: Check) -> None:
        self.check = check
        self.array: Callable[[], Any] = _nothing

    def __call__(self, owner: Any, array: Any, *rest: Any) -> None:
        """Raise what the check raises."""
        self.array = _nothing
        self.check.run(locked(owner) if isinstance(owner, Tensor) else array, *rest)
        if array.base is None and not array.flags.writeable and not rest:
            self.array = weakref.ref(array)


def _nothing() -> None:
    return None


def _conditions_of_argument(name: str, x: Any, scope: dict[str, Any]) -> list[str]:
    """What must hold of an argument: its class, and its shape and type or, of a plain number, what it is."""
    scope[f"class_{name}"] = type(x)
    conditions = [f"{name}.__class__ is class_{name}"]
    if isinstance(x, (Tensor, np.ndarray)):
        array = x if isinstance(x, np.ndarray) else x._data
        scope[f"type_{name}"] = array.dtype
        held = name if isinstance(x, np.ndarray) else f"{name}._data"
        conditions += [f"{held}.shape == {array.shape}", f"{held}.dtype == type_{name}"]
        if isinstance(x, Tensor):
            conditions += _conditions_of_leaf(name, x, scope)
            if x.requires_grad:
                conditions.append(f"{name}.rule is None")
    elif isinstance(x, float):
        conditions.append(f"{name}.hex() == {x.hex()!r}")  # 0.0 and -0.0 are two, and nan is itself
    else:
        scope[f"is_{name}"] = x
        conditions.append(f"{name} == is_{name}")
    return conditions


def _conditions_of_leaf(name: str, x: Any, scope: dict[str, Any]) -> list[str]:
    """What must hold of a Tensor or an array around a function: all but its numbers."""
    if isinstance(x, np.ndarray):
        scope[f"type_{name}"] = x.dtype
        return [f"{name}.shape == {x.shape}", f"{name}.dtype == type_{name}"]
    if not x.requires_grad:
        return [f"not {name}.requires_grad"]
    return [f"{name}.requires_grad", f"({name}._extra is None or not {name}._extra.get('hooks'))"]


def _difference(replay: Replay, loss: Tensor, given: Sequence[Any], recorder: _Recorder) -> str:
    """The code against the engine, once: what is wrong, whatever it is; empty where nothing is."""
    from microgrid.derivatives import grad

    try:
        found = kinds.quietly(replay.function, *recorder.arrays)
    except (TypeError, ValueError) as error:
        return f"its record cannot be run: {error}"
    leaves = [given[target] if isinstance(target, int) else target for target in replay.targets]
    expected = (loss._data, *grad(loss, leaves))
    tolerance = max(_tolerance(getattr(number, "dtype", None)) for number in recorder.program.numbers)
    for a, b in zip(found, expected, strict=False):  # what checks look at comes last
        if a.shape != b.shape or a.dtype != b.dtype or not _near(a, b, tolerance):
            return "its record gives other numbers than the engine"
    return ""


def _tolerance(dtype: Any) -> float:
    return 1e-5 if dtype == np.float32 else 1e-10


def _near(a: Any, b: Any, tolerance: float) -> bool:
    scale = np.max(np.abs(b[np.isfinite(b)]), initial=0.0)
    return bool(np.allclose(a, b, tolerance, tolerance * scale, equal_nan=True))


def forms(args: Iterable[Any]) -> tuple[Any, ...] | str:
    """What of the arguments a record depends on, all but numbers in arrays; or why that cannot be told."""
    key: list[Any] = []
    for x in args:
        if isinstance(x, Tensor):
            if x.requires_grad and (x.rule is not None or (x._extra is not None and x._extra.get("hooks"))):
                return "it was given a Tensor with a history, or with a hook"
            key.append((x.__class__, x._data.shape, x._data.dtype, x.requires_grad))
        elif x.__class__ is np.ndarray:
            key.append((np.ndarray, x.shape, x.dtype))
        elif x.__class__ in PLAIN:
            key.append((type(x), x.hex() if isinstance(x, float) else x))  # 0.0 and -0.0 are two
        else:
            return f"it was given {type(x).__name__}, which is neither an array nor a plain number"
    return tuple(key)


PLAIN = {int, float, bool, str, bytes, type(None)}
