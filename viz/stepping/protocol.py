"""Messages of the Debug Adapter Protocol: JSON, each with its length before it, over two streams of bytes.

The protocol is Microsoft's, https://microsoft.github.io/debug-adapter-protocol/specification.
"""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from typing import Any, BinaryIO

__microgrid_machinery__ = True

LONGEST = 1 << 26  # bytes of a message; no editor sends as many
LINE = 1 << 16  # of a line of the head


class MalformedError(Exception):
    """What was read is no message; what follows may be one."""


class Connection:
    """Messages over two streams; several threads may send.

    Parameters
    ----------
    reader, writer : binary file
    """

    def __init__(self, reader: BinaryIO, writer: BinaryIO) -> None:
        self._reader, self._writer = reader, writer
        self._lock, self._sent = threading.Lock(), 0

    def read(self) -> dict[str, Any] | None:
        """The next message; None at the end.

        Raises
        ------
        MalformedError
            If it is none.
        """
        try:
            length = self._length()
            if length is None:
                return None
            body = self._reader.read(length)
            if len(body) < length:  # they went away in the middle
                return None
        except (OSError, ValueError):  # ... or were closed
            return None
        try:
            message = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise MalformedError(f"no JSON: {error}") from None
        if not isinstance(message, dict):
            raise MalformedError(f"expected an object, got {type(message).__name__}")
        return message

    def _length(self) -> int | None:
        """The length that the head gives; None at the end."""
        length, lines = None, 0
        while True:
            line = self._reader.readline(LINE)
            if not line.endswith(b"\n"):
                if len(line) == LINE:
                    raise MalformedError(f"a line of {LINE} bytes stands where the head of a message should")
                return None
            name, colon, text = line.strip().partition(b":")
            lines += 1
            if not name and lines == 1:
                lines = 0  # an empty line too many
            elif not name:
                break
            elif not colon:
                raise MalformedError(f"expected the head of a message, got {line[:40]!r}")
            elif name.strip().lower() == b"content-length":
                if not text.strip().isdigit() or int(text) > LONGEST:
                    raise MalformedError(f"Content-Length: expected 0 to {LONGEST}, got {text.strip()[:40]!r}")
                length = int(text)
        if length is None:
            raise MalformedError("a message without Content-Length")
        return length

    def close(self) -> None:
        """Read and send no more."""
        for stream in (self._reader, self._writer):
            with suppress(OSError, ValueError):
                stream.close()

    def send(self, message: dict[str, Any]) -> None:
        """Send a message, numbered; nothing happens where nobody listens any more."""
        with self._lock:
            self._sent += 1
            body = json.dumps({"seq": self._sent, **message}, default=str).encode("utf-8", "replace")
            with suppress(OSError, ValueError):
                self._writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
                self._writer.flush()

    def event(self, name: str, **body: Any) -> None:
        """Send an event."""
        self.send({"type": "event", "event": name, "body": body})

    def answer(self, request: dict[str, Any], body: Any = None) -> None:
        """Send what was asked for."""
        message = {"type": "response", "request_seq": request.get("seq", 0), "success": True}
        self.send(message | {"command": request.get("command", ""), "body": body if body is not None else {}})

    def refuse(self, request: dict[str, Any], why: str) -> None:
        """Say why a request is not answered."""
        message = {"type": "response", "request_seq": request.get("seq", 0), "success": False}
        error = {"id": 1, "format": why.replace("{", "(").replace("}", ")"), "showUser": True}  # braces are variables
        self.send(message | {"command": request.get("command", ""), "message": why, "body": {"error": error}})
