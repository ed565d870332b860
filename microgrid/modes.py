"""Modes: whether operations are recorded, and whether numbers are watched for the first that is not finite.

A mode belongs to its context (PEP 567): to its thread, and to its task under asyncio. Each mode is a context
manager and a decorator, of functions, coroutines and generators: a generator holds no mode while it is suspended.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Generator
from contextvars import ContextVar
from types import TracebackType
from typing import Any, ClassVar, TypeVar, cast

from microgrid import sites

__microgrid_machinery__ = True

F = TypeVar("F", bound=Callable[..., Any])


class _Special:
    """How many modes are entered anywhere in the process: while it is 0, the fast paths need not ask further."""

    __slots__ = ("count",)  # Python is quickest with fields of this kind, and every operation asks

    def __init__(self) -> None:
        self.count = 0


special = _Special()
_counting = threading.Lock()


class _Entry:
    """A mode that was entered, above the one that it replaced; dead once its block has ended.

    A context that was copied inside the block, as by a task that outlives it, still holds the entry.
    """

    __slots__ = ("alive", "outer", "setting")

    def __init__(self, setting: Any, outer: _Entry | None) -> None:
        self.setting, self.outer, self.alive = setting, outer, True


class Mode:
    """A setting that holds from enter to exit, and while a decorated function runs."""

    # a linked stack, so that one object may be entered again, and by any thread
    _stack: ClassVar[ContextVar[_Entry | None]]
    _setting: Any

    def __enter__(self) -> None:
        self._stack.set(_Entry(self._setting, self._stack.get()))
        with _counting:
            special.count += 1

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        entry = self._stack.get()
        if entry is not None:  # else it was entered in another context, as by a generator that another thread closes
            entry.alive = False
            self._stack.set(entry.outer)
        with _counting:
            special.count -= 1

    @classmethod
    def _now(cls, default: Any) -> Any:
        """The setting that holds in this context."""
        entry = cls._stack.get()
        while entry is not None and not entry.alive:
            entry = entry.outer
        return default if entry is None else entry.setting

    def __call__(self, function: F) -> F:
        import inspect  # here, since it costs more to import than the engine

        if inspect.isgeneratorfunction(function):
            wrapper: Callable[..., Any] = self._generator(function)
        elif inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def wrapper(*args: Any, **keywords: Any) -> Any:
                with self:
                    return await function(*args, **keywords)
        elif inspect.isasyncgenfunction(function):
            raise TypeError(f"{type(self).__name__}: an async generator cannot be decorated: use `with` between yields")
        else:

            @functools.wraps(function)
            def wrapper(*args: Any, **keywords: Any) -> Any:
                with self:
                    return function(*args, **keywords)

        return cast(F, wrapper)

    def _generator(self, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*args: Any, **keywords: Any) -> Generator[Any, Any, Any]:
            generator = function(*args, **keywords)
            resume: Callable[[], Any] = functools.partial(next, generator)
            try:
                while True:
                    try:
                        with self:
                            item = resume()
                    except StopIteration as stop:
                        return stop.value
                    try:
                        sent = yield item
                    except GeneratorExit:
                        raise
                    except BaseException as error:
                        resume = functools.partial(generator.throw, error)
                    else:
                        resume = functools.partial(generator.send, sent)
            finally:
                with self:
                    generator.close()

        return wrapper


class no_grad(Mode):
    """Within it operations are not recorded: results have no history and require no gradient.

    Examples
    --------
    >>> import microgrid as mg
    >>> x = mg.Value(3.0)
    >>> with mg.no_grad():
    ...     y = x * x
    >>> y.requires_grad
    False
    """

    _stack = ContextVar("microgrid_grad", default=None)
    _setting = False


class enable_grad(no_grad):
    """Within it operations are recorded, also inside `no_grad`."""

    _setting = True


class set_grad_enabled(no_grad):
    """Record operations or not, as the argument says; a context manager and a decorator.

    Parameters
    ----------
    mode : bool
    """

    def __init__(self, mode: bool) -> None:
        self._setting = bool(mode)


class detect_anomaly(Mode):
    """Within it the first number that is not finite raises, forward or backward.

    Parameters
    ----------
    check_nan : bool, optional
        Raise on nan.
    check_inf : bool, optional
        Raise on inf and -inf.

    Raises
    ------
    AnomalyError
        From the operation, or the step of the backward pass, that first gave such a number. It names the
        operation, the shapes, the values and the line.

    Examples
    --------
    >>> import microgrid as mg
    >>> with mg.detect_anomaly():
    ...     mg.log(mg.Value(0.0))  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    microgrid.anomaly.AnomalyError: log gave -inf
    """

    _stack = ContextVar("microgrid_anomaly", default=None)

    def __init__(self, check_nan: bool = True, check_inf: bool = True) -> None:
        self._setting = (check_nan, check_inf)

    def __enter__(self) -> None:
        look("detect_anomaly()")  # it looks at every number
        super().__enter__()


class LookedError(BaseException):
    """Ends a call that is recorded, where it does what no record can repeat, and before it does so.

    No Exception, so that what the user's function catches does not catch it.
    """


class recording(Mode):
    """Within it every operation on nodes is recorded, whether or not it has a gradient; `recorder` reads the record.

    Attributes
    ----------
    looks : list of str
        What was done that a record cannot repeat, and where: a number looked at, data written to.
    checks : list
        What is to be checked at each replay; see `prepared`.
    """

    _stack = ContextVar("microgrid_recording", default=None)

    def __init__(self) -> None:
        self._setting = self
        self.looks: list[str] = []
        self.checks: list[Any] = []
        self._generators: dict[int, Any] = {}

    def own(self, x: Any) -> Any:
        """Of a generator of random numbers a copy, which draws in its place; anything else as it is."""
        if not hasattr(type(x), "bit_generator"):
            return x
        if id(x) not in self._generators:
            import copy  # here, since few programs need it

            self._generators[id(x)] = copy.deepcopy(x)
        return self._generators[id(x)]


def record() -> recording | None:
    """The recording that goes on here and now."""
    return cast("recording | None", recording._now(default=None))


def only_recording() -> bool:
    """Whether a record is made here, with `enable_grad` and no other mode: then shortcuts serve as without any."""
    going_on, grad = recording._stack.get(), no_grad._stack.get()
    return bool(
        going_on and going_on.alive and grad and grad.alive and grad.setting and detect_anomaly._stack.get() is None
    )


def look(operation: str) -> None:
    """A number of a node is about to be looked at, or written: what depends on it is not in any record.

    Raises
    ------
    LookedError
        Where a record is made.
    """
    going_on = record() if special.count else None
    if going_on is not None:
        going_on.looks.append(f"{operation} at {sites.here()}")
        raise LookedError(operation)


def is_grad_enabled() -> bool:
    """Whether operations are recorded here and now."""
    return bool(no_grad._now(default=True))


def anomalies() -> tuple[bool, bool] | None:
    """What `detect_anomaly` watches for here and now: (nan, inf), or None."""
    return cast("tuple[bool, bool] | None", detect_anomaly._now(default=None))
