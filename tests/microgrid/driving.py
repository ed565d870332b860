"""Debuggers as a user drives them: pdb by its commands, on a terminal or a pipe; debugpy by the protocol of editors."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PATIENCE = 60  # seconds, after which a debugger is taken to hang
STOP = re.compile(r"^(?:\(Pdb\) )*> (?P<file>[^(]*)\((?P<line>\d+)\)(?P<function>[\w<>]+)\(\)", re.MULTILINE)


class Stop(NamedTuple):
    file: str
    line: int
    function: str
    text: str  # all that was printed from the stop to the next


def environment(**variables: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "MICROGRID", "COV"))}
    return (
        kept | {"PYTHONPATH": str(ROOT), "TERM": "dumb", "PYTHON_COLORS": "0", "PYTHONIOENCODING": "utf-8"} | variables
    )


def stops(printed: str) -> list[Stop]:
    """Where pdb stopped, in order."""
    found = list(STOP.finditer(printed))
    ends = [match.start() for match in found[1:]] + [len(printed)]
    return [
        Stop(Path(match["file"]).name, int(match["line"]), match["function"], printed[match.end() : end])
        for match, end in zip(found, ends, strict=True)
    ]


def piped(
    script: Path, commands: str, *arguments: str, python: str = sys.executable, pdb: bool = True, **variables: str
) -> str:
    """What a script prints, run by `python -m pdb` (or plainly) with these commands on its standard input."""
    command = [python, *arguments, *(["-m", "pdb"] if pdb else []), str(script)]
    done = subprocess.run(
        command, input="\n".join([*commands.split(";"), "q", "q", ""]), env=environment(**variables), text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=PATIENCE, cwd=script.parent, encoding="utf-8",
    )  # fmt: skip
    return done.stdout


class Terminal:
    """`python -m pdb script` on a terminal of its own: one command, one answer."""

    def __init__(self, script: Path, python: str = sys.executable) -> None:
        ours, theirs = pty.openpty()
        self.terminal = ours
        self.process = subprocess.Popen(
            [python, "-m", "pdb", str(script)], stdin=theirs, stdout=theirs, stderr=theirs, env=environment(),
            cwd=script.parent, close_fds=True, start_new_session=True,
        )  # fmt: skip
        os.close(theirs)
        self.first = self._answer()

    def __call__(self, command: str) -> str:
        """What is printed up to the next prompt."""
        os.write(self.terminal, command.encode() + b"\n")
        return self._answer().partition("\n")[2]  # without the echo

    def _answer(self) -> str:
        printed = b""
        while not printed.endswith(b"(Pdb) "):
            assert select.select([self.terminal], [], [], PATIENCE)[0], f"pdb hangs after {printed.decode()}"
            try:
                printed += os.read(self.terminal, 65536)
            except OSError:  # it has ended
                break
        return printed.decode().replace("\r\n", "\n").removesuffix("(Pdb) ")

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.terminal)


class Editor:
    """A client of the Debug Adapter Protocol, as an editor is one, with a script run by debugpy."""

    def __init__(
        self, script: Path, breakpoints: dict[Path, Sequence[int | tuple[int, str]]], *, just_my_code: bool = True,
        rules: Sequence[dict[str, Any]] = (), functions: Sequence[str] = (), **variables: str,
    ) -> None:  # fmt: skip
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.events: list[dict[str, Any]] = []
        self.sent = 0
        frozen = ["-Xfrozen_modules=off"]
        self.process = subprocess.Popen(
            [sys.executable, *frozen, "-m", "debugpy.adapter", "--host", "127.0.0.1", "--port", str(port)],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment(),
        )  # fmt: skip
        self.socket = self._connected(port)
        self.file = self.socket.makefile("rb")
        self.ask("initialize", adapterID="debugpy", linesStartAt1=True, columnsStartAt1=True, pathFormat="path")
        launch = self.send(
            "launch", program=str(script), cwd=str(script.parent), console="internalConsole",
            python=[sys.executable, *frozen],
            justMyCode=just_my_code, rules=list(rules), env=environment(**variables),
        )  # fmt: skip
        self.event("initialized")
        for file, lines in breakpoints.items():
            asked = [{"line": at} if isinstance(at, int) else {"line": at[0], "condition": at[1]} for at in lines]
            self.ask("setBreakpoints", source={"path": str(file)}, breakpoints=asked)
        if functions:
            self.ask("setFunctionBreakpoints", breakpoints=[{"name": name} for name in functions])
        self.ask("setExceptionBreakpoints", filters=[])
        self.ask("configurationDone")
        self.answer(launch)

    def _connected(self, port: int) -> socket.socket:
        for _ in range(PATIENCE * 20):
            with contextlib.suppress(ConnectionRefusedError):
                return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)
            select.select([], [], [], 0.05)
        raise AssertionError("debugpy does not listen")

    def send(self, command: str, **arguments: Any) -> int:
        self.sent += 1
        message = {"seq": self.sent, "type": "request", "command": command, "arguments": arguments}
        content = json.dumps(message).encode()
        self.socket.sendall(b"Content-Length: %d\r\n\r\n%s" % (len(content), content))
        return self.sent

    def _message(self) -> dict[str, Any]:
        length = 0
        while (line := self.file.readline()) != b"\r\n":
            assert line, f"debugpy hung up after {self.events[-5:]}"
            if line.lower().startswith(b"content-length:"):
                length = int(line.split(b":")[1])
        message: dict[str, Any] = json.loads(self.file.read(length))
        return message

    def answer(self, request: int) -> dict[str, Any]:
        while True:
            message = self._message()
            if message["type"] == "event":
                self.events.append(message)
            elif message["type"] == "response" and message["request_seq"] == request:
                assert message["success"], message
                body: dict[str, Any] = message.get("body") or {}
                return body

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        return self.answer(self.send(command, **arguments))

    def event(self, *names: str) -> dict[str, Any]:
        """The next event of one of these names; those before it are passed over."""
        while True:
            message = self.events.pop(0) if self.events else self._message()
            if message["type"] == "event" and message["event"] in names:
                return message

    def stopped(self) -> tuple[str, int, str] | None:
        """The file, line and function at which the script has stopped; None where it has ended."""
        event = self.event("stopped", "terminated")
        if event["event"] == "terminated":
            return None
        self.thread = event["body"]["threadId"]
        self.reason = event["body"]["reason"]
        self.frames = self.ask("stackTrace", threadId=self.thread)["stackFrames"]
        top = self.frames[0]
        return Path(top["source"]["path"]).name, top["line"], top["name"]

    def go(self, command: str = "continue") -> tuple[str, int, str] | None:
        """Go on: "continue", "next", "stepIn", "stepOut"; to where it stops then."""
        self.ask(command, threadId=self.thread)
        return self.stopped()

    def locals(self) -> dict[str, str]:
        scopes = self.ask("scopes", frameId=self.frames[0]["id"])["scopes"]
        inside = self.ask("variables", variablesReference=scopes[0]["variablesReference"])["variables"]
        return {variable["name"]: variable["value"] for variable in inside}

    def value(self, expression: str) -> str:
        result: str = self.ask("evaluate", expression=expression, frameId=self.frames[0]["id"], context="repl")[
            "result"
        ]
        return result

    def __enter__(self) -> Editor:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError, AssertionError):
            self.ask("disconnect", terminateDebuggee=True)
        self.socket.close()
        self.process.terminate()
        self.process.wait(PATIENCE)
