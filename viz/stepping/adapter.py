"""The debug adapter: VS Code and its kin step through a backward pass, by the Debug Adapter Protocol.

`python -m viz dap` speaks it on stdin and stdout, or on a port of 127.0.0.1, and runs the script that the editor names
(`launch`); `viz.debug(loss, dap=PORT)` waits for an editor in a program that runs already (`attach`).
"""

from __future__ import annotations

import io
import os
import signal
import socket
import sys
import threading
from typing import Any, BinaryIO

from microgrid import sites
from viz.stepping import scripts
from viz.stepping.protocol import Connection
from viz.stepping.recording import Recording
from viz.stepping.session import Session

__microgrid_machinery__ = True

HOST = "127.0.0.1"  # and no other: whoever connects can run code
PATIENCE = 5.0  # seconds that a script has to end when the editor has gone
INTERRUPTED = 130  # the exit status after Ctrl-C
GOOD_BYE = 2.0  # seconds that an attached editor has to take its leave


def serve(port: int | None = None) -> int:
    """Run the script that an editor launches; the exit status.

    Parameters
    ----------
    port : int, optional
        Wait for the editor on this port of 127.0.0.1 (0: a free one; a line on stderr says which), in place of stdin
        and stdout. One session, and it ends.
    """
    if port is None:
        connection = Connection(*_standard_streams())
    else:
        try:
            connection = _connected(port)
        except OSError as error:
            sys.stderr.write(f"python -m viz dap: port {port}: {error.strerror}\n")
            return 1
        except KeyboardInterrupt:
            return INTERRUPTED
    session = Session(connection)
    session.on_leaving = _end_the_script
    listener = threading.Thread(target=session.listen, daemon=True)
    listener.start()
    try:
        session.started.wait()
        if session.left:
            return 0
        status = _run(session)
        session.end(status)
        listener.join()  # until the editor has said good-bye, or gone
    except KeyboardInterrupt:
        status = INTERRUPTED
    return 0 if session.left and status == INTERRUPTED else status  # the interrupt was ours


def attach(recording: Recording, port: int) -> None:
    """Let an editor that attaches walk over a recorded pass; back when it lets the program go on, or leaves.

    Raises
    ------
    ValueError
        If there is no such port.
    OSError
        If it is taken.
    SystemExit
        If the editor ends the program.
    """
    if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= 65535:
        raise ValueError(f"debug: dap: expected a port from 0 to 65535, got {port!r}, at {sites.here()}")
    session = Session(_connected(port), attached=True)
    listener = threading.Thread(target=session.listen, daemon=True)
    listener.start()
    session.started.wait()
    if not session.left:
        session.stop_at(recording)
        session.end()
        listener.join(GOOD_BYE)
    if session.left and not session.attached:
        scripts.leave()


def _run(session: Session) -> int:
    """Run what was launched."""
    asked = session.launched
    os.environ.update(asked["env"])
    if asked.get("cwd"):
        os.chdir(asked["cwd"])
    streams, hook = (sys.stdout, sys.stderr), sys.excepthook
    sys.excepthook = lambda *error: None if session.left else hook(*error)  # the interrupt was ours
    sys.stdout, sys.stderr = (Output(session.connection, name) for name in ("stdout", "stderr"))
    try:
        with scripts.watched(session.wants, session.stop_at):
            if asked.get("module"):
                return scripts.run(asked["module"], asked["args"], module=True)
            return scripts.run(asked["program"], asked["args"])
    except OSError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        (sys.stdout, sys.stderr), sys.excepthook = streams, hook


class Output(io.TextIOBase):
    """What the script prints, sent to the editor line by line."""

    def __init__(self, connection: Connection, category: str) -> None:
        self._connection, self._category, self._text = connection, category, ""
        self._lock = threading.Lock()

    encoding = "utf-8"

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, text: str) -> int:
        """Take a text; complete lines go."""
        with self._lock:
            lines, end, rest = (self._text + text).rpartition("\n")
            self._text = rest
        if end:
            self._send(lines + end)
        return len(text)

    def flush(self) -> None:
        """Send the rest."""
        with self._lock:
            text, self._text = self._text, ""
        if text:
            self._send(text)

    def _send(self, text: str) -> None:
        self._connection.event("output", category=self._category, output=text)


def _standard_streams() -> tuple[BinaryIO, BinaryIO]:
    """The process's stdin and stdout, kept for the protocol: what the script reads and prints goes elsewhere."""
    sys.stdout.flush()
    reader, writer = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(2, 1)  # what C prints
    return reader, writer


def _connected(port: int) -> Connection:
    """Wait for a client on a port of this machine."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as listening:
        if os.name == "posix":
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen(1)
        sys.stderr.write(f"waiting for an editor on {HOST}:{listening.getsockname()[1]}\n")
        sys.stderr.flush()
        client, _ = listening.accept()
    with client:  # the files keep it open
        streams: Any = client.makefile("rb"), client.makefile("wb")
    return Connection(*streams)


def _end_the_script() -> None:
    """The editor has gone: interrupt the script, and if it will not end, end the process."""
    threading.Thread(target=_end_hard, daemon=True).start()
    try:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)
    except (AttributeError, OSError):  # not on Windows
        import _thread

        _thread.interrupt_main()


def _end_hard() -> None:
    threading.main_thread().join(PATIENCE)
    os._exit(1)
