"""A user's script, run as `python script.py` runs it, with its backward passes handed to a debugger."""

from __future__ import annotations

import builtins
import io
import os
import runpy
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import ModuleType, TracebackType
from typing import Any

import microgrid as mg
from viz.recording import Recording, recorded

__microgrid_machinery__ = True


def run(script: str, arguments: Sequence[str] = (), module: bool = False) -> int:
    """Run a script as the main program: its folder first on the path, its arguments in `sys.argv`.

    Parameters
    ----------
    script : str
        A file; with `module`, the name of a module, as for `python -m`.
    arguments : sequence of str, optional
    module : bool, optional

    Returns
    -------
    int
        The exit status: that of `sys.exit`, 1 after an exception (whose traceback is printed, without our frames), 130
        after Ctrl-C.

    Raises
    ------
    OSError
        If the file cannot be read.
    """
    source = b""
    if not module:
        with io.open_code(os.path.abspath(script)) as file:
            source = file.read()
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.getcwd() if module else os.path.dirname(os.path.realpath(script)))
    try:
        if module:
            runpy.run_module(script, run_name="__main__", alter_sys=True)
        else:
            main = ModuleType("__main__")
            main.__dict__.update(__file__=script, __builtins__=builtins)
            sys.modules["__main__"] = main
            exec(compile(source, script, "exec"), main.__dict__)
    except SystemExit as error:
        return _status(error.code)
    except BaseException as error:
        shown = error.with_traceback(_users(error.__traceback__))
        sys.excepthook(type(shown), shown, shown.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _status(code: Any) -> int:
    """What `sys.exit(code)` means to the shell."""
    if code is None or isinstance(code, int):
        return int(code or 0)
    sys.stderr.write(f"{code}\n")
    return 1


def _users(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback from the first frame on that is the script's."""
    while traceback is not None:
        frame = traceback.tb_frame
        if "__microgrid_machinery__" not in frame.f_globals and frame.f_globals.get("__name__") != "runpy":
            break
        traceback = traceback.tb_next
    return traceback


@contextmanager
def watched(stop: Callable[[], bool], debugger: Callable[[Recording], None]) -> Iterator[None]:
    """While it lasts, backward passes of this thread go to a debugger.

    Parameters
    ----------
    stop : callable
        Whether the pass that begins is to be debugged.
    debugger : callable
        Gets a recording; the pass has run by then.
    """
    backward, grad = mg.Node.backward, mg.grad
    thread, inside = threading.get_ident(), False

    def debugged(root: Any, gradient: Any, stores: bool) -> bool:
        """Hand a pass to the debugger, if it is wanted; whether it was."""
        nonlocal inside
        if inside or threading.get_ident() != thread or not isinstance(root, mg.Node) or not stop():
            return False
        inside = True  # what the debugger does is not debugged
        try:
            debugger(recorded(root, gradient, None, mg.sites.user_frame(sys._getframe(2)), stores))
        finally:
            inside = False
        return True

    def watched_backward(
        self: Any, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False, inputs: Any = None,
        *, step: Any = None,
    ) -> None:  # fmt: skip
        plain = not create_graph and inputs is None
        if not debugged(self, gradient, plain) or not plain:
            backward(self, gradient, retain_graph, create_graph, inputs, step=step)

    def watched_grad(outputs: Any, inputs: Any = 0, grad_outputs: Any = None, *rest: Any, **keywords: Any) -> Any:
        debugged(outputs, grad_outputs, False)
        return grad(outputs, inputs, grad_outputs, *rest, **keywords)

    mg.Node.backward = watched_backward  # type: ignore[method-assign]
    mg.grad = watched_grad
    try:
        yield
    finally:
        mg.Node.backward, mg.grad = backward, grad  # type: ignore[method-assign]
