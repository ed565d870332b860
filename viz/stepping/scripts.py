"""A user's script, run as `python script.py` runs it, with its backward passes handed to a debugger."""

from __future__ import annotations

import atexit
import builtins
import io
import os
import runpy
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from types import FrameType, ModuleType, TracebackType
from typing import Any, NoReturn

import microgrid as mg
from microgrid.pullback import Pullback
from viz.stepping.recording import Recording, recorded

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
    tracer = sys.gettrace()
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
        for shown in _all_shown(error):
            shown.__traceback__ = _users(shown.__traceback__)
        sys.excepthook(type(error), error, error.__traceback__)
        return 130 if isinstance(error, KeyboardInterrupt) else 1
    finally:
        sys.settrace(tracer)  # `leave` may have set another
    return 0


def leave(error: Exception | None = None) -> NoReturn:
    """End the script: its `finally` runs. If it catches what ends it, and goes on, the process ends there.

    Parameters
    ----------
    error : Exception, optional
        What ends it, with the status 1.

    Raises
    ------
    SystemExit
        With the status 0; or the error.
    """
    ends = error or SystemExit(0)

    def traced(frame: FrameType, event: str, argument: Any) -> Any:
        handled = sys.exc_info()[1]
        while handled is not None and handled is not ends:
            handled = handled.__context__
        if event == "line" and handled is None:
            _end(int(error is not None))
        return traced

    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if "__microgrid_machinery__" not in frame.f_globals:
            frame.f_trace = traced
        frame = frame.f_back
    sys.settrace(lambda *ignored: None)  # frames that begin from now on are not watched
    raise ends


def _end(status: int) -> NoReturn:
    """End the process, whatever the script does."""
    sys.settrace(None)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()
    os._exit(status)


def _status(code: Any) -> int:
    """What `sys.exit(code)` means to the shell."""
    if code is None or isinstance(code, int):
        return int(code or 0)
    sys.stderr.write(f"{code}\n")
    return 1


def _all_shown(error: BaseException | None) -> list[BaseException]:
    """An exception and those that its traceback shows before it."""
    found: list[BaseException] = []
    while error is not None and error not in found:
        found.append(error)
        error = error.__cause__ or error.__context__
    return found


def _users(traceback: TracebackType | None) -> TracebackType | None:
    """The traceback without our frames; but the innermost stays, whoever it is of."""
    kept: list[TracebackType] = []
    while traceback is not None:
        names = traceback.tb_frame.f_globals
        ours = "__microgrid_machinery__" in names or (not kept and names.get("__name__") == "runpy")
        if not ours or (traceback.tb_next is None and kept):
            kept.append(traceback)
        traceback = traceback.tb_next
    for part in reversed(kept):
        traceback = TracebackType(traceback, part.tb_frame, part.tb_lasti, part.tb_lineno)
    return traceback


@contextmanager
def watched(stop: Callable[[], bool], debugger: Callable[[Recording], None]) -> Iterator[set[str]]:
    """While it lasts, backward passes of this thread go to a debugger: those it asks for, and those that raise.

    Parameters
    ----------
    stop : callable
        Whether the pass that begins is to be debugged.
    debugger : callable
        Gets a recording; the pass has run by then.

    Yields
    ------
    set of str
        The names of other threads in which passes ran.
    """
    others = set[str]()
    backward, grad, pull = mg.Node.backward, mg.grad, Pullback.__call__
    thread, inside = threading.get_ident(), False

    def debugged(root: Any, gradient: Any, stores: bool, failed: Exception | None = None) -> bool:
        """Hand a pass to the debugger, if it is wanted, or has failed; whether it was."""
        nonlocal inside
        if threading.get_ident() != thread:
            others.add(threading.current_thread().name)
            return False
        if inside or not isinstance(root, mg.Node) or not (failed or stop()):
            return False
        inside = True  # what the debugger does is not debugged
        try:
            recording = recorded(root, gradient, None, mg.sites.user_frame(sys._getframe(2)), stores)
        except (TypeError, ValueError):  # no pass begins; the program hears why by asking for it
            return False
        else:
            if not failed:
                debugger(recording)
            elif recording.error is not None:
                debugger(recording._replace(error=failed))
        finally:
            inside = False
        if recording.error is not None and stores:
            raise recording.error
        return True

    def through(root: Any, gradient: Any, plain: bool, run: Callable[[], Any]) -> Any:
        """Run a pass: in the debugger if that is wanted, else by itself, and there where it raises."""
        shown = debugged(root, gradient, plain)
        if shown and plain:
            return None
        try:
            return run()
        except Exception as error:
            if not shown:
                debugged(root, gradient, False, error)
            raise

    def watched_backward(
        self: Any, gradient: Any = None, retain_graph: Any = None, create_graph: bool = False, inputs: Any = None,
        *, step: Any = None,
    ) -> None:  # fmt: skip
        plain = not create_graph and inputs is None
        run = partial(backward, self, gradient, retain_graph, create_graph, inputs, step=step)
        through(self, gradient, plain, run)

    def watched_grad(outputs: Any, inputs: Any = 0, grad_outputs: Any = None, *rest: Any, **keywords: Any) -> Any:
        return through(outputs, grad_outputs, False, partial(grad, outputs, inputs, grad_outputs, *rest, **keywords))

    def watched_pull(self: Any, seeds: Iterable[Any], recorded: bool) -> Any:  # of value_and_grad, vjp, ...
        seeds = list(seeds)
        run = partial(pull, self, seeds, recorded)
        single = len(self.outputs) == 1 and not recorded and seeds[0] is not None
        return through(self.outputs[0], seeds[0], False, run) if single else run()

    mg.Node.backward = watched_backward  # type: ignore[method-assign]
    mg.grad = watched_grad
    Pullback.__call__ = watched_pull  # type: ignore[method-assign]
    try:
        with mg.enable_grad():  # under a mode compiled functions run as they are written, and their passes are met
            yield others
    finally:
        mg.Node.backward, mg.grad = backward, grad  # type: ignore[method-assign]
        Pullback.__call__ = pull  # type: ignore[method-assign]
