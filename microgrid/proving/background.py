"""A function called in a process of its own, which is ended at a time limit: nothing else stops what is stuck.

The process is `sys.executable` without a shell, with the same `sys.path` and without the user's main module; what goes
in and out are pickles, in frames that tell their length. It lives on for the next call, and ends with this one.
The user's signals, threads and standard streams are left alone.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib
import io
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import IO, Any

__microgrid_machinery__ = True

LIBRARIES = ("builtins", "collections", "copyreg", "fractions", "microgrid", "mpmath", "sympy")
DEEP = 5_000  # calls within calls; expressions are trees
PROGRAM = "import sys; sys.path[:] = {path!r}; from microgrid.proving.background import serve; serve()"


class FailedError(RuntimeError):
    """The other process ended, or could not take what it was given."""


class OutOfTimeError(RuntimeError):
    """The limit was reached."""


def call(function: Callable[..., Any], *args: Any, timeout: float) -> Any:
    """What `function(*args)` gives in another process.

    Parameters
    ----------
    function : function of a module of microgrid
    *args : what pickles, and holds nothing of the user's own modules
    timeout : float > 0
        Seconds, the start of the process included: about half a second for a first call.

    Raises
    ------
    OutOfTimeError, FailedError
    ValueError
        If the function raises one.
    RecursionError
        If the arguments are nested too deeply.

    Examples
    --------
    >>> from microgrid.shapes import inverse
    >>> call(inverse, (1, 2, 0), timeout=60)
    (2, 0, 1)
    """
    deadline = time.monotonic() + min(timeout, threading.TIMEOUT_MAX / 2)
    try:
        request = pickle.dumps((function.__module__, function.__name__, args))
    except RecursionError:
        raise
    except Exception as error:  # whatever an object's own pickling raises
        raise FailedError(f"an argument does not pickle: {type(error).__name__}: {error}") from None
    worker = _taken()
    reply = worker.ask(request, deadline)
    _rest(worker)
    succeeded, result = pickle.loads(reply)
    if succeeded:
        return result
    raise ValueError(result[1]) if result[0] == "ValueError" else FailedError(": ".join(result))


class Worker:
    """The other process, seen from here. It answers one request at a time."""

    def __init__(self) -> None:
        if not sys.executable:
            raise FailedError("there is no Python executable to start")
        path = [os.path.abspath(folder) for folder in sys.path]
        self.owner = os.getpid()
        self._process = subprocess.Popen(
            [sys.executable, "-E", "-c", PROGRAM.format(path=path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # an interrupt at the user's keyboard is not for it
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
        self._starting = _Aside(self._read)

    def ask(self, request: bytes, deadline: float) -> bytes:
        """The reply to a request; at the deadline the process is ended."""
        if not self._starting.finished(deadline):
            _rest(self)  # it was asked nothing yet, and will be ready for the next call
            raise OutOfTimeError
        asking = _Aside(lambda: self._exchanged(request))
        try:
            in_time = asking.finished(deadline)
        except BaseException:  # the user's interrupt
            self.close()
            raise
        if not in_time or asking.result is None:
            self.close()
            raise (FailedError("its process ended") if in_time else OutOfTimeError)
        return asking.result

    def alive(self) -> bool:
        """Whether it can be asked; after a fork it belongs to the other side."""
        return self.owner == os.getpid() and self._process.poll() is None

    def close(self) -> None:
        """End the process."""
        if self.owner == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            self._process.returncode = 0  # a fork's copy: the process is its parent's
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def _exchanged(self, request: bytes) -> bytes | None:
        assert self._process.stdin is not None
        _write(self._process.stdin, request)
        return self._read()

    def _read(self) -> bytes | None:
        assert self._process.stdout is not None
        return _frame(self._process.stdout)


class _Aside:
    """A function that runs aside in a thread, since reading a pipe knows no time limit."""

    def __init__(self, function: Callable[[], bytes | None]) -> None:
        self._function = function
        self.result: bytes | None = None
        self._thread = threading.Thread(target=self._run, name="microgrid", daemon=True)
        vars(self._thread)["pydev_do_not_trace"] = True  # debuggers of the user's program pass it by
        self._thread.start()

    def _run(self) -> None:
        try:
            self.result = self._function()
        except (OSError, ValueError):  # a pipe that was closed
            self.result = None

    def finished(self, deadline: float) -> bool:
        """Wait, at most until the deadline; whether it is done."""
        self._thread.join(max(0.0, deadline - time.monotonic()))
        return not self._thread.is_alive()


_idle: list[Worker] = []


def _taken() -> Worker:
    while _idle:
        worker = _idle.pop()
        if worker.alive():
            return worker
        worker.close()
    try:
        return Worker()
    except OSError as error:
        raise FailedError(f"no process starts: {error}") from None


def _rest(worker: Worker) -> None:
    """Keep a process for the next call, if there are no more of them already than can run at a time."""
    if len(_idle) < (os.cpu_count() or 1):
        _idle.append(worker)
    else:
        worker.close()


@atexit.register
def close() -> None:
    """End all processes that wait for work."""
    while _idle:
        _idle.pop().close()


# --------------------------------------------------------------------------------------------- frames


def _write(pipe: IO[bytes], message: bytes) -> None:
    pipe.write(len(message).to_bytes(8, "big") + message)
    pipe.flush()


def _frame(pipe: IO[bytes]) -> bytes | None:
    """The next message; None at the end."""
    head = pipe.read(8)
    if len(head) < 8:
        return None
    size = int.from_bytes(head, "big")
    message = pipe.read(size)
    return message if len(message) == size else None


# --------------------------------------------------------------------------------------------- the other side


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if module.partition(".")[0] not in LIBRARIES:
            raise TypeError(f"{module}.{name} is not SymPy's")  # to import it would run the user's program
        return super().find_class(module, name)


def serve() -> None:
    """Answer requests until there are no more, or until the process that asks is gone."""
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what a library prints is no reply
    requests: queue.Queue[bytes] = queue.Queue()

    def listen() -> None:
        while (request := _frame(sys.stdin.buffer)) is not None:
            requests.put(request)
        os._exit(0)  # though the main thread be busy

    threading.Thread(target=listen, daemon=True).start()
    importlib.import_module("microgrid.proving.deciding")  # SymPy takes a while to load
    sys.setrecursionlimit(DEEP)
    _write(output, b"")
    while True:
        _write(output, pickle.dumps(_answered(requests.get())))


def _answered(request: bytes) -> tuple[bool, Any]:
    try:
        module, name, args = _Unpickler(io.BytesIO(request)).load()
        return True, getattr(importlib.import_module(module), name)(*args)
    except Exception as error:
        return False, (type(error).__name__, str(error))
