"""Record once, replay many: a loss and its gradients as straight-line code, emitted from the rules.

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
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, overload

from microgrid import modes, sites
from microgrid.capture.array_code import written
from microgrid.capture.recorder import CannotCaptureError, Replay, Writer, Written, forms, recorded
from microgrid.capture.surroundings import Surroundings, TooMuchError, states
from microgrid.capture.tracing import Program, Traced
from microgrid.graph import tool
from microgrid.stepping import debugging
from microgrid.tensor import Tensor
from microgrid.value import Value

__microgrid_machinery__ = True

RECORDINGS = 16  # forms of arguments that are kept; with more, the oldest goes
QUICK = 3  # of these so many are tried without a look at what the arguments are
PATIENCE = 8  # recordings one after the other of which none was replayed: from then on they are tried ever more rarely
WORTH = (
    200  # replays that make up for a recording; where there are fewer, recordings are tried ever more rarely as well
)
WORLDS = 4  # states of what stands around the function that are kept: modules in training mode and not, say


def _written_in_c(program: Program, outputs: Sequence[Traced], name: str) -> Written:
    from microgrid.capture import native

    return native.written(program, outputs, name)


# How a program is written out: each takes the program, its outputs and a name, and gives the function and its source
BACKENDS: dict[str, Writer] = {
    "numpy": written,
    "python": written,  # of arrays NumPy writes better Python
    "c": _written_in_c,
}


class World(NamedTuple):
    """Surroundings, and what was recorded in them; see `Compiled`."""

    around: Surroundings
    known: dict[Any, Replay | str]
    quick: list[tuple[int, Callable[..., Tensor | None]]]


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

    def __init__(self, function: Callable[..., Any], backend: str | None = None) -> None:
        functools.update_wrapper(self, function)
        self.function, self.backend = function, backend
        self.source, self.why = "", ""
        self.replays = self.recordings = 0
        self._around: Surroundings | None = None
        self._known: dict[Any, Replay | str] = {}  # by the form of the arguments: a record, or why there is none
        # of these, tried first: the last ones, as a loop has them
        self._quick: list[tuple[int, Callable[..., Tensor | None]]] = []
        self._worlds: list[World] = []  # other surroundings of late
        self._fruitless = self._passed_over = 0
        self._changing: str | None = None
        self._contents: list[int] = []  # of the arrays around it, before it was called to be recorded
        self._scalars: Any = None  # what takes the calls of a function that gives a Value
        self._lock = threading.RLock()

    def __call__(self, *args: Any, **keywords: Any) -> Any:
        if self._scalars is not None:
            return self._scalars(args, keywords)
        traced = sys.gettrace() is not None or (tool is not None and tool(0) is not None)
        if modes.special.count or (traced and debugging.debugger() is not None):
            return self._special(args, keywords)
        with self._lock:
            if self._quick and not keywords and self._around is not None and self._around.same():
                for count, run in self._quick:
                    if count == len(args) and (loss := run(*args)) is not None:
                        self.replays += 1
                        self._fruitless = 0
                        return loss
            return self._called(args, keywords)

    def __get__(self, owner: Any, kind: Any = None) -> Any:
        return self if owner is None else functools.partial(self, owner)

    def __reduce__(self) -> Any:
        return Compiled, (self.function, self.backend)  # a copy records for itself

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"<compiled {name}: {self.replays} replays, {self.recordings} recordings>"

    def _called(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """A call that is not the same as the last one in form."""
        names = tuple(keywords)
        given = (*args, *keywords.values())
        form = forms(given)
        if isinstance(form, str):
            self.why = form
            if self._changing is None:  # the first call: it may give a Value, and change what stands around it
                with contextlib.suppress(TooMuchError):
                    self._look_around()
            return self._eager(args, keywords)
        if self._resting():
            return self._eager(args, keywords)
        try:
            self._look_around()
        except TooMuchError as error:
            self.why = str(error)
            return self._eager(args, keywords)
        key = (len(args), names, form)
        replay = self._known.get(key)
        if isinstance(replay, str):
            self.why = replay
            return self._eager(args, keywords)
        if replay is not None:
            loss = replay.run(*given)
            if loss is not None:
                self.replays += 1
                self._fruitless = 0
                self.source, self.why = replay.source, ""
                self._remember(replay, keywords)
                return loss
            if replay.hooked(given):
                return self._eager(args, keywords)
        return self._record(key, args, keywords)

    def _special(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        modes.look("the backward pass of a compiled function")
        return self._eager(args, keywords)

    def _resting(self) -> bool:
        """Whether so much was recorded in vain that this call is not looked at."""
        if self._fruitless < PATIENCE and WORTH * (self.recordings - RECORDINGS - PATIENCE) <= self.replays:
            return False
        self._passed_over += 1
        if self._passed_over & (self._passed_over - 1) == 0:
            return False
        of_no_use = self._fruitless >= PATIENCE
        recordings = (
            f"{self._fruitless} recordings one after the other were of no use"
            if of_no_use
            else f"{self.recordings} recordings for {self.replays} replays are not worth it"
        )
        self.why = f"{recordings}: {self._changing}"
        return True

    def _look_around(self) -> None:
        """Take out what was recorded in these surroundings, and put away what was recorded in others."""
        before = self._around
        if before is not None and before.same():
            return
        if before is not None:
            self._worlds = [World(before, self._known, self._quick), *self._worlds[: WORLDS - 2]]
        for world in self._worlds:
            if world.around.same():
                self._worlds.remove(world)
                self._around, self._known, self._quick = world
                self._contents = world.around.contents()
                return
        self._around = None
        self._changing = ""
        self._around = Surroundings(self.function)
        self._contents = self._around.contents()
        if before is not None and self._around.alike(before):
            del self._worlds[0]
            return
        self._known, self._quick = {}, []
        self._changing = (
            "its arguments are of another form, or another plain number, at each call"
            if before is None
            else "something around it, or a module's attribute, is another at each call"
        )

    def _remember(self, replay: Replay, keywords: dict[str, Any]) -> None:
        """Try this one first from now on; its arguments all have places then."""
        if not keywords:
            self._quick = [(replay.count, replay.run), *self._quick[: QUICK - 1]]

    def _eager(self, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        loss = self.function(*args, **keywords)
        if isinstance(loss, Value):
            from microgrid.capture.scalar_capture import Scalars

            self._scalars = self._scalars or Scalars(self)
            return self._scalars.first(loss, args, keywords, None, self._around, self._contents)
        _loss(loss).backward()
        return loss.detach()

    def _record(self, key: Any, args: tuple[Any, ...], keywords: dict[str, Any]) -> Any:
        """Call the function twice, compare the records, write the code, and hold it against the engine once."""
        around = self._around
        assert around is not None
        drawn = states(around.generators)
        contents = self._contents = around.contents()
        loss = self._eager(args, keywords)  # tells whether it gives a Value, and whether the function changes things
        if self._scalars is not None:
            return loss
        self.recordings += 1
        self._fruitless += 1
        found: Replay | str
        same = False
        try:
            same = around.unchanged()
            if not same or around.contents() != contents:
                raise TooMuchError("it changes what stands around it")
            write = BACKENDS[self.backend or "numpy"]
            given = [*args, *keywords.values()]
            found = recorded(self.function, given, tuple(keywords), write, around, loss, drawn)
            self.source, self.why = found.source, ""
            self._remember(found, keywords)
        except (CannotCaptureError, TooMuchError) as error:
            found = self.why = str(error)
        if len(self._known) >= RECORDINGS:
            del self._known[next(iter(self._known))]
        self._known[key] = found
        if same:
            around.remember()  # the call may have left something, as modules remember their calls
        return loss


@overload
def compile(function: Callable[..., Any], *, backend: str | None = None) -> Compiled: ...
@overload
def compile(function: None = None, *, backend: str | None = None) -> Callable[[Callable[..., Any]], Compiled]: ...
def compile(function: Any = None, *, backend: str | None = None) -> Any:
    """A function that gives a loss as a function that computes the loss and does its backward pass, fast.

    `compiled(*args)` does what `loss = function(*args); loss.backward()` does, and returns the loss without a graph.
    The first call with arguments of some shapes and types records what the function computes; later calls replay the
    record as straight-line code, in buffers that are made once.

    Parameters
    ----------
    function : callable
        Takes arrays, Tensors and plain numbers, and gives a Tensor of one number; or takes numbers, lists of numbers
        and Values, and gives a Value. Left out, as in
        `@mg.compile(backend="numpy")`, what comes back is a decorator.
    backend : {"numpy", "python", "c"}, optional
        What the record is written in: NumPy (arrays, or Values by levels), Python (Values), C (arrays; needs a C
        compiler; Values are written in NumPy). None chooses.

    Returns
    -------
    Compiled
        Call it as the function. `source` is the code, and `why` says why a function cannot be replayed.

    Raises
    ------
    TypeError
        If it is no function; at a call, if it gives neither a Tensor nor a Value.
    ValueError
        If there is no such backend; at a call, if the loss is not one number or requires no gradient.

    Notes
    -----
    What is replayed depends on the arrays, Tensors and parameters, and on nothing else, or the function is called each
    time: so it is where a number is looked at (`t > 0`, `float(t)`, `t.item()`; `mg.where` and `mg.relu` are no looks),
    where an array is made inside it (NumPy's functions of an argument), or where data is written to; where it draws
    random numbers by itself, changes what stands around it (a counter, a running mean), goes on from what was computed
    before, or asks what nobody can watch: the clock, files, the environment, iterators, `eval`. When it is recorded, it
    gets Tensors in place of arrays: where that gives another number, as `x.std()` does, it is called each time as well.
    Plain numbers among the arguments and around the function (closure, globals, attributes, lists and dicts), and
    whether modules are in training mode, belong to the record: another value is recorded anew. The losses of `nn` check
    their targets at replays too, and `nn.Dropout` draws. What a function does besides, printing say, happens when it is
    recorded (three times) and is not repeated. Libraries are taken not to change: a function of theirs that is replaced
    between two calls is not seen. Under a debugger the function runs as it is written, on your lines.
    Everything that is computed is computed as the engine computes it, to
    the last few units of the last place: sums may be added up in another order.

    Of a function that gives a Value the numbers among the arguments, in lists too, are inputs: others need no new
    record. Those that it looks at (`if y == 1`, `range(n)`, `math.exp(x)`) belong to the record. Small graphs are
    written in straight-line Python; large ones by levels in NumPy, with the samples of a batch in rows.

    Examples
    --------
    >>> import microgrid as mg
    >>> w = mg.Tensor([1.0, -2.0], requires_grad=True)
    >>> @mg.compile
    ... def step(x):
    ...     return mg.sum(w * x)
    >>> step(mg.Tensor([3.0, 4.0])).item(), w.grad.tolist()
    (-5.0, [3.0, 4.0])
    """
    if backend is not None and backend not in BACKENDS:
        expected = ", ".join(map(repr, BACKENDS))
        raise ValueError(f"compile: backend: expected one of {expected} or None, got {backend!r}, at {sites.here()}")
    if function is None:
        return functools.partial(compile, backend=backend)
    if not callable(function):
        raise TypeError(f"compile: expected a function, got {type(function).__name__}, at {sites.here()}")
    return Compiled(function, backend)


def _loss(loss: Any) -> Tensor:
    if not isinstance(loss, Tensor):
        given = type(loss).__name__
        raise TypeError(f"compile: the function gave {given}, expected a Tensor or a Value, at {sites.here()}")
    return loss
