"""Debuggers: which one is attached, and how it is led past the engine to users' lines and to rules."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

from microgrid import sites

__microgrid_machinery__ = True

MACHINERY = ("microgrid", "microgrid.[!r]*", "microgrid.rule", "namedtuple_*")  # patterns: all but microgrid.rules


def debugger() -> Any:
    """The debugger that traces this thread: a `bdb.Bdb`, or its name; None without one, or under anything else.

    Coverage tools and profilers trace as well, and are none.
    """
    tracer = sys.gettrace()
    owner = getattr(tracer, "__self__", None)
    bdb = sys.modules.get("bdb")
    if bdb is not None and isinstance(owner, bdb.Bdb):
        return owner
    if tracer is not None and "pydevd" in f"{getattr(tracer, '__module__', '')} {type(tracer).__module__}":
        return "pydevd"
    monitoring = getattr(sys, "monitoring", None)  # from Python 3.12 on
    name = monitoring.get_tool(monitoring.DEBUGGER_ID) if monitoring else None
    return _last_pdb() or name if name else None


def _last_pdb() -> Any:
    """The pdb that runs by `sys.monitoring` (from Python 3.14 on)."""
    pdb: Any = sys.modules.get("pdb")
    return getattr(getattr(pdb, "Pdb", None), "_last_pdb_instance", None)


def is_bdb(attached: Any) -> bool:
    """Whether it is pdb or one of its kin, which do as they are told."""
    return attached is not None and not isinstance(attached, str) and hasattr(attached, "set_next")


def skip_machinery() -> None:
    """Have pdb, where it is attached, step over the engine: it stops on users' lines and in rules alone.

    Breakpoints in the engine still stop it.
    """
    attached = debugger()
    if is_bdb(attached) and hasattr(attached, "skip"):
        attached.skip = {*(attached.skip or ()), *MACHINERY}


def step_over() -> bool:
    """Where pdb is about to stop at whatever runs next, have it stop at the user's next line; whether it was."""
    attached = debugger()
    if not is_bdb(attached) or attached.stopframe is not None:
        return False
    frame = sites.user_frame(sys._getframe(1))
    _command(attached, frame, lambda: attached.set_next(frame))
    return True


def _command(attached: Any, frame: FrameType, command: Callable[[], None]) -> None:
    """Tell pdb how to go on, without its tracing itself meanwhile."""
    tracer = sys.gettrace()
    sys.settrace(None)
    frame.f_trace = attached.trace_dispatch
    command()
    sys.settrace(tracer)


def stop_in(frame: FrameType) -> None:
    """Have the debugger that is attached, or else the one that `breakpoint()` calls, stop at the frame's next line."""
    attached = debugger()
    if is_bdb(attached):
        _command(attached, frame, attached.set_step)
    elif attached == "pydevd" or "pydevd" in sys.modules:
        import pydevd  # type: ignore[import-not-found]

        pydevd.settrace(suspend=True, trace_only_current_thread=True, patch_multiprocessing=False, stop_at_frame=frame)
    elif sys.breakpointhook is sys.__breakpointhook__ and not os.environ.get("PYTHONBREAKPOINT"):
        import pdb

        pdb.Pdb(skip=MACHINERY).set_trace(frame)
    else:
        sys.breakpointhook()
