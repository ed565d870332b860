"""Losses made of Values, recorded once and replayed: see `compiled`. Numbers among the arguments are inputs.

The plain call comes first, and is what the record is held against: its operations, its loss, its gradients. Then the
function is called with stand-ins for its arguments, which gives its formula; and the formula is written out, as
straight-line Python or, by levels, in NumPy.
"""

from __future__ import annotations

import contextlib
import math
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any, Protocol, cast

import numpy as np

from microgrid import modes, sites, stale
from microgrid.capture.formula import Formula, check_twins, formula_of, marked
from microgrid.capture.levels import written_by_levels
from microgrid.capture.recorder import CannotCaptureError
from microgrid.capture.stand_ins import Arguments, Looks, StandIns, reader_of
from microgrid.capture.straight_line import written_in_python
from microgrid.capture.surroundings import Surroundings, TooMuchError, undrawn
from microgrid.emitter import compiled
from microgrid.graph import Node, next_number, tool
from microgrid.passes_of_floats import ordered
from microgrid.stepping import debugging
from microgrid.value import Value

__microgrid_machinery__ = True

RECORDS = 16  # forms of arguments that are kept
PATIENCE = 8  # recordings in a row that were not replayed, after which none is made any more
WRITES = "it changes its arguments"
DISAGREES = "its record gives other numbers than the engine"
SMALL = 300  # operations, below which Python is quicker than NumPy at any rate


class Owner(Protocol):
    """What a compiled function tells of itself; see `compiled.Compiled`."""

    function: Callable[..., Any]
    backend: str | None
    source: str
    why: str
    replays: int
    recordings: int


# --------------------------------------------------------------------------------------------------------- replays


class _Replay:
    """What was recorded, ready to be run.

    Attributes
    ----------
    leaves : tuple
        What it reads besides numbers of arguments: Values around the function, or places among those of the arguments.
    targets : tuple
        Of the leaves, those that get a gradient.
    fixed : dict
        Numbers of the arguments that were looked at, by place: they are what they were, or this is no record of it.
    tried : bool
        Whether it was held against the engine on other numbers than those that were recorded.
    read, hand_out : callable
        The numbers of the leaves, given the Values among the arguments; and their gradients, added to what they have.
    numbers : callable, or None before it is asked for
        The numbers of arguments of the record's form; None of others.
    """

    read: Callable[[Sequence[Any]], list[float]]
    hand_out: Callable[[Sequence[Any], Sequence[float]], None]
    numbers: Any = None

    def __init__(
        self, function: Callable[[list[Any], list[Any]], tuple[float, Sequence[float]]], source: str, leaves: list[Any],
        targets: list[Any], fixed: dict[int, Any], around: Surroundings,
    ) -> None:  # fmt: skip
        self.function, self.source, self.leaves, self.targets = function, source, tuple(leaves), tuple(targets)
        self.fixed, self.around = fixed, around
        self.tried = False
        self._write_out()
        self._recorded_on: Any = None

    def _write_out(self) -> None:
        """What each replay does around the function, without a loop: there may be many leaves."""
        scope: dict[str, Any] = {"marked": marked}
        names: dict[Any, str] = {}
        for i, x in enumerate(self.leaves):
            names[x] = f"values[{x}]" if x.__class__ is int else f"w{i}"
            scope[f"w{i}"] = x
        outside = [(x, name) for x, name in names.items() if isinstance(x, Node)]
        conditions = [f"{name}.requires_grad is {x.requires_grad}" for x, name in outside]
        conditions += [f"({name}._extra is None or not marked({name}))" for _, name in outside]
        gradients = [f"g{i}" for i in range(len(self.targets))]
        adding = [f"    {', '.join(gradients)}, = gradients"]
        for x, g in zip(self.targets, gradients, strict=True):
            adding += [f"    leaf = {names[x]}", "    before = leaf._grad"]
            adding += [f"    leaf._grad = {g} if before is None else before + {g}"]
        self._alike = compiled("alike", [f"def alike(): return {' and '.join(conditions) or True}"], scope)
        numbers = ", ".join(f"{names[x]}._data" for x in self.leaves)
        self.read = compiled("read", [f"def read(values): return [{numbers}]"], scope)
        self.hand_out = compiled("hand_out", ["def hand_out(values, gradients):", *adding], scope)

    def fits(self, given: Arguments) -> bool:
        """Whether what is around the function, the leaves there and the numbers looked at are what they were."""
        return not (given.values and any(map(marked, given.values))) and self.stands(given.numbers)

    def stands(self, numbers: list[Any]) -> bool:
        """The same, of arguments without Values."""
        return (
            self._alike()
            and (not self.fixed or self.fixed == {place: _told_apart(numbers[place]) for place in self.fixed})
            and self.around.same()
        )

    def readable(self, args: tuple[Any, ...]) -> bool:
        """Whether arguments of this form, the record's, are read by code of their own."""
        if self.numbers is None:
            self.numbers = reader_of(args) or _unread
        return self.numbers is not _unread

    def on_other_numbers(self, given: Arguments) -> bool:
        """Whether this call is the first on other numbers than were recorded."""
        numbers = [*self.read(given.values), *given.numbers]
        before, self._recorded_on = self._recorded_on, numbers
        return before is not None and before != numbers

    def agrees(self, given: Arguments, loss: Any, expected: dict[Any, Any]) -> bool:
        """Whether it gives what the engine gave: the loss, and the gradients by leaf."""
        leaves = [given.values[x] if isinstance(x, int) else x for x in self.targets]
        numbers = [loss._data, *[expected.get(leaf) for leaf in leaves]]
        if None in numbers:
            return False
        try:
            value, gradients = self.function(self.read(given.values), given.numbers)
        except (ArithmeticError, ValueError):
            return True  # the engine computes it each time that it comes to this
        scale = max([abs(x) for x in numbers if math.isfinite(x)], default=0.0)
        return all(
            a == b or (a != a and b != b) or abs(a - b) <= 1e-10 * (abs(b) + 1e-3 * scale)
            for a, b in zip([value, *gradients], numbers, strict=True)
        )


def _passed(loss: Any, order: Sequence[Node]) -> dict[Any, Any]:
    """The backward pass of a plain call; the gradient that each leaf got in it."""
    leaves = [x for x in order if x.rule is None and x.requires_grad]
    before = [leaf._grad for leaf in leaves]
    for leaf in leaves:
        leaf._grad = None
    try:
        loss.backward()
    finally:
        gradients = {leaf: leaf._grad for leaf in leaves}
        for leaf, g in zip(leaves, before, strict=True):
            leaf._grad = g if leaf._grad is None else leaf._grad if g is None else g + leaf._grad
    return gradients


def _unread(args: tuple[Any, ...]) -> None:
    """Where no code of their own reads arguments."""


def _told_apart(x: Any) -> Any:
    """What is equal for the same numbers alone: 1 and 1.0 are two, as are 0.0 and -0.0."""
    return type(x), x.hex() if isinstance(x, float) else x


class Scalars:
    """The records of a function whose loss is a Value."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self._known: dict[Any, list[_Replay]] = {}
        self._last: Any = None  # the last replay, if numbers alone are its arguments: tried first
        self._refused: dict[Any, int] = {}  # by form of arguments: how often it was called since, and a little more
        self._seen: list[Any] = []  # objects among the arguments: kept, so that no other can have their identity
        self._idle = self._passed_over = 0  # recordings, and calls without one, since the last replay
        self._lock = threading.RLock()

    def __call__(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The loss and its gradients: replayed, or else by the engine, and recorded if that can be."""
        traced = sys.gettrace() is not None or (tool is not None and tool(0) is not None)
        if modes.special.count or (traced and debugging.debugger() is not None):
            modes.look("the backward pass of a compiled function")
            return _plain(self.owner.function(*args, **keywords))
        with self._lock:
            values: Sequence[Any] = ()
            replay = self._last
            numbers = None if keywords or replay is None else replay.numbers(args)
            if numbers is None or not replay.stands(numbers):
                given = Arguments(args, keywords)
                found = self._fitting(given) if given.exact else None
                if found is None:
                    return self._recorded(given, args, keywords)
                if not found.tried and found.on_other_numbers(given):
                    return self._tried(found, given, args, keywords)
                replay, values, numbers = found, given.values, given.numbers
                self._last = replay if replay.tried and replay.readable(args) else None
            try:
                value, gradients = replay.function(replay.read(values), numbers)
            except (ArithmeticError, ValueError):  # out of the domain of Python's floats: IEEE 754 by the engine
                return _plain(self.owner.function(*args, **keywords))
            replay.hand_out(values, gradients)
            self._count()
            return Value._new(value, False)

    def _count(self) -> None:
        self.owner.replays += 1
        self._idle = self._passed_over = 0

    def _tried(self, replay: _Replay, given: Arguments, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The first replay on other numbers, beside the engine: whatever a record has missed shows here."""
        loss = self.owner.function(*args, **keywords)
        if isinstance(loss, Value) and loss.requires_grad:
            expected = _passed(loss, ordered(loss))
            replay.tried = replay.agrees(given, loss, expected)
            loss = loss.detach()
        else:
            loss = _plain(loss)
        if replay.tried:
            self._count()
        else:
            del self._known[given.key]
            self._refuse(given, DISAGREES)
        replay.around.remember()
        return loss

    def _fitting(self, given: Arguments) -> _Replay | None:
        for replay in self._known.get(given.key, ()):
            if replay.fits(given):
                return replay
        return None

    def _recorded(self, given: Arguments, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """The plain call; and a record of it, unless there is no hope."""
        before = contents = None
        if due := self._due(given):
            with contextlib.suppress(TooMuchError):
                before = Surroundings((self.owner.function, *given.objects))
                contents = before.contents()
        loss = self.owner.function(*args, **keywords)
        return self.first(loss, args, keywords, given, before, contents) if due else _plain(loss)

    def first(
        self, loss: Any, args: tuple[Any, ...], keywords: dict[str, Any], given: Arguments | None = None,
        before: Surroundings | None = None, contents: Any = None,
    ) -> Any:  # fmt: skip
        """The backward pass of a plain call's loss, and a record of the function, if it can be recorded."""
        with self._lock:
            after = Arguments(args, keywords)
            given = given or after
            if not self._hopeful(given, loss):
                return _plain(loss)
            self.owner.recordings += 1
            self._idle += 1
            order = ordered(loss)
            expected = _passed(loss, order)
            try:
                if after.key != given.key or list(map(_told_apart, after.numbers)) != list(
                    map(_told_apart, given.numbers)
                ):
                    raise CannotCaptureError(WRITES)
                if before is not None and (not before.unchanged() or before.contents() != contents):
                    raise CannotCaptureError("it changes what stands around it")
                replay = _record(self.owner, args, keywords, given, order)
                if not replay.agrees(given, loss, expected):
                    raise CannotCaptureError(DISAGREES)
                self.owner.source, self.owner.why = replay.source, ""
                self._keep(given, replay)
            except CannotCaptureError as error:
                self._refuse(given, str(error))
            return loss.detach()

    def _refuse(self, given: Arguments, why: str) -> None:
        self.owner.why = why
        self._refused.setdefault(given.key, PATIENCE)
        self._seen += given.objects

    def _due(self, given: Arguments) -> bool:
        """Whether a record is to be tried: what was refused, or never replayed, is tried again ever more rarely."""
        if not given.exact:
            return False
        if given.key in self._refused:
            self._refused[given.key] += 1
            return _power_of_2(self._refused[given.key])
        if self._idle < PATIENCE:
            return True
        self._passed_over += 1
        self.owner.why = f"of {self._idle} records none was replayed: what they depend on changes with each call"
        return self._passed_over > PATIENCE and _power_of_2(self._passed_over)

    def _hopeful(self, given: Arguments, loss: Any) -> bool:
        """Whether a record of this call can be made at all."""
        if modes.special.count or not isinstance(loss, Value) or not loss.requires_grad or not given.exact:
            return False
        if any(x.rule is not None or marked(x) for x in given.values):
            self.owner.why = "it was given a Value with a history, or with a hook"
            return False
        return True

    def _keep(self, given: Arguments, replay: _Replay) -> None:
        self._seen += given.objects
        self._last = None
        fitting = self._known.setdefault(given.key, [])
        fitting[:] = [old for old in fitting if old.around.same() and old.fixed.keys() == replay.fixed.keys()]
        fitting.append(replay)
        del fitting[:-RECORDS]
        while len(self._known) > RECORDS:
            del self._known[next(iter(self._known))]
        replay.on_other_numbers(given)
        replay.around.remember()  # the call itself may have left something, as modules remember their calls


def _power_of_2(n: int) -> bool:
    return n & (n - 1) == 0


def _plain(loss: Any) -> Any:
    """The engine's pass."""
    if not isinstance(loss, Node):
        raise TypeError(
            f"compile: the function gave {type(loss).__name__}, expected a Value or a Tensor, at {sites.here()}"
        )
    loss.backward()
    return cast(Any, loss).detach()


# ------------------------------------------------------------------------------------------------------- recording


def _record(
    owner: Owner, args: tuple[Any, ...], keywords: dict[str, Any], given: Arguments, plain: Sequence[Node]
) -> _Replay:
    if given.values and any(x.__class__ is not Value for x in given.values):
        raise CannotCaptureError("it was given a Value that is no float")
    try:
        around = Surroundings((owner.function, *given.objects))
    except TooMuchError as error:
        raise CannotCaptureError(str(error)) from None
    fixed: dict[int, Any] = {}
    for _ in range(3):  # numbers that are looked at are fixed, and more may be looked at then
        looks = Looks()
        formula, stand_ins = _formula(owner.function, args, keywords, around, looks, fixed, plain)
        if not looks.places.keys() - fixed.keys():
            break
        fixed |= {place: _told_apart(given.numbers[place]) for place in looks.places}
    else:
        raise CannotCaptureError(f"it looks at numbers of its arguments, at {next(iter(looks.places.values()))}")
    place = {id(x): k for k, x in enumerate(given.values)}
    nodes = [formula.source[i] for i in formula.leaves()]
    leaves = [place[id(stand_ins[x])] if x in stand_ins else x for x in nodes]
    function, source, targets = _written(formula, owner.backend)
    at = dict(zip(formula.leaves(), leaves, strict=True))
    return _Replay(function, source, leaves, [at[i] for i in targets], fixed, around)


def _formula(
    function: Callable[..., Any], args: tuple[Any, ...], keywords: dict[str, Any], around: Surroundings, looks: Looks,
    fixed: dict[int, Any], plain: Sequence[Node],
) -> tuple[Formula, dict[Node, Node]]:  # fmt: skip
    """What the function computes, found by a call with stand-ins; by stand-in of a Value, the Value."""
    stand_ins = StandIns(looks, fixed)
    positional = [stand_ins.of(x) for x in args]
    named = {name: stand_ins.of(x) for name, x in keywords.items()}
    writes, born, going_on = stale.last.write, next_number(), modes.recording()
    try:
        quiet = np.errstate(all="ignore")  # what there is to warn of, the plain call has warned of
        with around.seen_through() as looked, undrawn(around.generators), quiet, going_on, modes.enable_grad():
            loss = function(*positional, **named)
        around.watch_numbers(looked, ())
    except TooMuchError as error:
        raise CannotCaptureError(str(error)) from None
    except modes.LookedError:
        raise CannotCaptureError(f"it looks at a number: {going_on.looks[0]}") from None
    except Exception as error:  # of stand-ins alone: the plain call went well
        raise CannotCaptureError(f"it cannot be called with stand-ins: {type(error).__name__}: {error}") from error
    if going_on.looks:
        raise CannotCaptureError(f"it looks at a number: {going_on.looks[0]}")
    if stand_ins.changed():
        raise CannotCaptureError(WRITES)
    if stale.last.write != writes:
        raise CannotCaptureError("it writes to data")
    if not isinstance(loss, Value) or not loss.requires_grad:
        raise CannotCaptureError("it gave something else when it was called again")
    order = ordered(loss)
    formula = formula_of(order, born, stand_ins.values)
    check_twins(order, plain, stand_ins.values)
    return formula, stand_ins.values


def _written(formula: Formula, backend: str | None) -> Any:
    """The formula as a function, its source and its targets: as asked, or as it suits its size."""
    if backend == "python" or (backend is None and len(formula.function) < SMALL):
        return written_in_python(formula, "replay")
    try:
        return written_by_levels(formula, "replay", anyway=backend is not None)
    except CannotCaptureError:
        if backend is not None:
            raise
    return written_in_python(formula, "replay")
