"""Debuggers: which one is attached, and how it is led past the engine to users' lines and to rules."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any, TypeVar

from microgrid import sites

__microgrid_machinery__ = True

T = TypeVar("T")

# Patterns: all but microgrid.rules, what it calls between rules, and what the first call of an operation calls.
MACHINERY = (
    "microgrid", "microgrid.[!r]*", "microgrid.rule", "contextlib", "numpy", "numpy.*",
    "abc", "collections.abc", "enum", "functools", "re", "re.*", "weakref",
    "importlib", "importlib.*", "_frozen_importlib*", "_distutils_hack*",
)  # fmt: skip


def debugger(tracer: Any = None) -> Any:
    """The debugger that traces this thread: a `bdb.Bdb`, or its name; None without one, or under anything else.

    Coverage tools and profilers trace as well, and are none. A tracer may be given that is set aside for a moment.
    """
    tracer = tracer or sys.gettrace()
    owner = getattr(tracer, "__self__", None)
    bdb = sys.modules.get("bdb")
    if bdb is not None and isinstance(owner, bdb.Bdb):
        return owner
    if tracer is not None and "pydevd" in f"{getattr(tracer, '__module__', '')} {type(tracer).__module__}":
        return "pydevd"
    name = monitoring()
    if not name:
        return None
    attached = _last_pdb()
    thread = getattr(getattr(attached, "monitoring_tracer", None), "_tracing_thread", None)
    elsewhere = thread is not None and thread._ident != threading.get_ident()  # `ident` is a function to step into
    return None if elsewhere else attached or name


def monitoring() -> str | None:
    """The name of a debugger that runs by `sys.monitoring`, which there is from Python 3.12 on."""
    events = getattr(sys, "monitoring", None)
    return events.get_tool(events.DEBUGGER_ID) if events else None


def is_watched() -> bool:
    """Whether this thread is traced, perhaps by a debugger."""
    return sys.gettrace() is not None or monitoring() is not None


def _last_pdb() -> Any:
    """The pdb that runs by `sys.monitoring` (from Python 3.14 on)."""
    pdb: Any = sys.modules.get("pdb")
    return getattr(getattr(pdb, "Pdb", None), "_last_pdb_instance", None)


def off() -> bool:
    """Whether the user wants passes never to be stepped unasked."""
    return os.environ.get("MICROGRID_STEP") == "0"


def is_bdb(attached: Any) -> bool:
    """Whether it is pdb or one of its kin, which do as they are told."""
    return attached is not None and not isinstance(attached, str) and hasattr(attached, "set_next")


def skip_machinery() -> None:
    """Have pdb, where it is attached, step over the engine: it stops on users' lines and in rules alone.

    Breakpoints in the engine still stop it. Not if `MICROGRID_STEP=0` is in the environment.
    """
    _skip_machinery(debugger())


def _skip_machinery(attached: Any) -> None:
    if is_bdb(attached) and hasattr(attached, "skip") and not off():
        attached.skip = {*(attached.skip or ()), *MACHINERY}


def step_over(stepping: bool = False) -> bool:
    """Where pdb is about to stop at whatever runs next, have it stop at the user's next line; whether it was.

    Parameters
    ----------
    stepping : bool, optional
        It would be, had `leave` not held it back.
    """
    tracer = sys.gettrace()
    if hasattr(getattr(tracer, "__self__", None), "set_next"):
        sys.settrace(None)  # one that is attached late does not skip the engine yet, and would stop at every line here
    try:
        attached = debugger(tracer)
        if not is_bdb(attached) or (attached.stopframe is not None and not stepping):
            return False
        frame = sites.user_frame(sys._getframe(1))
        _command(attached, frame, lambda: attached.set_next(frame))
        _skip_machinery(attached)
        return True
    finally:
        if tracer is not None:
            sys.settrace(tracer)


def unseen(work: Callable[[], T]) -> T:
    """What some work of ours gives: pdb, where it is attached, is not led through it, and then goes on as it was."""
    tracer = sys.gettrace()
    if hasattr(getattr(tracer, "__self__", None), "set_next"):
        sys.settrace(None)  # as in `step_over`
    try:
        attached, done = debugger(tracer), list[T]()
        if not is_bdb(attached):
            return work()
        _command(attached, sys._getframe(1), lambda: done.append(work()))
        return done[0]
    finally:
        if tracer is not None:
            sys.settrace(tracer)


def begin_anew(frame: FrameType) -> None:
    """Have pdb take what runs next in a frame for a new line, though it may be the same.

    If it is to stop at whatever runs next, it stops here too, be it that it has not come through this frame: it may
    come from a breakpoint in a rule. From Python 3.14 on it passes over the line at which a command was given.
    """
    attached = debugger()
    if not is_bdb(attached):
        return
    if attached.stopframe is None:
        _command(attached, frame, lambda: None)
    if getattr(attached, "cmdframe", None) is frame:
        attached.cmdframe = None


def leave(frame: FrameType) -> bool:
    """Whether the user steps through this frame, which is about to return: then nothing more stops in it."""
    attached = debugger()
    if is_bdb(attached) and attached.stopframe in (None, frame):
        _command(attached, frame, lambda: attached.set_next(frame))
        frame.f_trace = None  # or it would stop at the return as well
        return True
    return attached == "pydevd" and getattr(_of_pydevd(), "pydev_step_stop", None) is frame


def _of_pydevd() -> Any:
    """What pydevd knows of this thread: how its user steps, and in which frame."""
    return getattr(threading.current_thread(), "additional_info", None)


def _command(attached: Any, frame: FrameType, command: Callable[[], None]) -> None:
    """Tell pdb how to go on, and to listen to a frame, without its tracing itself meanwhile."""
    tracer = sys.gettrace()
    sys.settrace(None)
    events: Any = getattr(sys, "monitoring", None) if monitoring() else None
    heard = events.get_events(events.DEBUGGER_ID) if events else 0
    if events:
        events.set_events(events.DEBUGGER_ID, 0)
    frame.f_trace = attached.trace_dispatch
    command()
    if events and hasattr(attached, "monitoring_tracer"):  # Python 3.14's
        attached.monitoring_tracer.update_local_events()
        attached.restart_events()
    if events:
        events.set_events(events.DEBUGGER_ID, heard)
    sys.settrace(tracer)


def users_hook() -> Callable[[], Any] | None:
    """What the user has put in place of pdb for `breakpoint()`, if that is what is to stop."""
    if debugger() is not None or "pydevd" in sys.modules:
        return None
    if sys.breakpointhook is sys.__breakpointhook__ and not os.environ.get("PYTHONBREAKPOINT"):
        return None
    return sys.breakpointhook


def stop_in(frame: FrameType, stepping: bool = False) -> None:
    """Have the debugger that is attached, or else pdb, stop at the frame's next line.

    Parameters
    ----------
    frame : frame
    stepping : bool, optional
        The user has come here by stepping, from a frame of which `leave` was told.
    """
    attached = debugger()
    if is_bdb(attached):
        _command(attached, frame, attached.set_step)
    elif stepping and attached == "pydevd":
        _of_pydevd().pydev_step_stop = frame
    elif attached == "pydevd" or "pydevd" in sys.modules:
        import pydevd  # type: ignore[import-not-found]

        pydevd.settrace(suspend=True, trace_only_current_thread=True, patch_multiprocessing=False, stop_at_frame=frame)
    elif users_hook() is None:
        import pdb

        attached = pdb.Pdb(skip=MACHINERY)
        attached.reset()
        outer: FrameType | None = frame  # as its set_trace does, which from Python 3.13 on stops between two lines
        while outer is not None:
            outer.f_trace = attached.trace_dispatch
            attached.botframe = outer
            outer = outer.f_back
        attached.set_step()
        sys.settrace(attached.trace_dispatch)
