"""An editor's session over recorded passes: what each request of the Debug Adapter Protocol does.

The graph is what is stepped: the current line is the expression of the node that hands its gradient on, the call stack
the chain of its consumers up to the loss, the variables what the rule meets and gives. The editor is answered in a
thread of its own, so that it always is; the program waits, or runs, in another.
"""

from __future__ import annotations

import io
import linecache
import os
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import microgrid as mg
from microgrid.sites import Site
from microgrid.stepping.steps import brief
from viz.stepping import chains, scripts
from viz.stepping.cursor import Cursor, Halt, Point, compiled, one_line
from viz.stepping.protocol import Connection, MalformedError
from viz.stepping.recording import Recording
from viz.stepping.view import number
from viz.words import visible

__microgrid_machinery__ = True

Children: TypeAlias = Callable[[], Iterable[tuple[str, Any]]]  # what is in a value, by name

THREAD = 1
ELEMENTS = 200  # of a sequence, or rows of an array, listed at once where the editor asks for all
ASKED = ("where", "paths", "check", "grads", "source", "break", "help", "draw", "html")  # of the terminal's commands
CAPABILITIES = {
    "supportsConfigurationDoneRequest": True,
    "supportsStepBack": True,
    "supportsFunctionBreakpoints": True,
    "supportsConditionalBreakpoints": True,
    "supportsHitConditionalBreakpoints": True,
    "supportsDataBreakpoints": True,
    "supportsEvaluateForHovers": True,
    "supportsTerminateRequest": True,
    "supportTerminateDebuggee": True,
    "exceptionBreakpointFilters": [{"filter": "nonfinite", "label": "Gradients that are not finite", "default": True}],
}


class RefusedError(Exception):
    """Why a request is not answered."""


class Wanted(NamedTuple):
    """A breakpoint as the editor asked for it, to be set in each pass anew."""

    number: int
    kind: str  # "line", "function", "data", "exception"
    spec: str
    condition: str = ""
    ignored: int = 0
    fault: str = ""
    file: str = ""
    line: int = 0


class Session:
    """A client, and the passes that it looks at.

    Parameters
    ----------
    connection : Connection
    attached : bool
        Whether the program runs without the editor, and goes on when it leaves.

    Attributes
    ----------
    started : threading.Event
        Set when the client has said what to run, and that its breakpoints are all there; or has left.
    launched : dict
        The arguments of its `launch`.
    left : bool
        The client has gone, or wants the program to end.
    """

    def __init__(self, connection: Connection, attached: bool = False) -> None:
        self.connection, self.attached = connection, attached
        self.started, self._resumed = threading.Event(), threading.Event()
        self.launched: dict[str, Any] = {}
        self.left = self._initialized = self._configured = self._chosen = self._ended = self._silent = False
        self.on_leaving: Callable[[], None] = lambda: None
        self._stops_next = True  # at the next pass, whatever the breakpoints are,
        self._why = "entry"  # and for this reason
        self._lines_from = self._columns_from = 1
        self._wanted: list[Wanted] = []
        self._points: dict[int, Point] = {}
        self._faults: dict[int, str] = {}
        self._numbers = 0
        self._cursor: Cursor | None = None
        self._recording: Recording | None = None
        self._variables: dict[int, Children] = {}
        self._owners: dict[int, dict[str, str]] = {}
        self._lengths: dict[int, int] = {}  # of sequences, of which editors ask for a part at a time
        self._references = 0
        self._frames: dict[int, mg.Step | None] = {}  # None: the end of the pass
        self._sources: list[str] = []
        self._lock = threading.RLock()

    # ------------------------------------------------------------------ the program's side

    def listen(self) -> None:
        """Answer the client, until it goes."""
        while True:
            try:
                request = self.connection.read()
            except MalformedError as error:
                self.connection.refuse({}, f"malformed message: {error}")
                continue
            if request is None:
                break
            if request.get("type") != "request" or not isinstance(request.get("command"), str):
                self.connection.refuse(request, "malformed message: expected a request with a command")
                continue
            if self._answered(request):
                break
        self._leave()
        self.connection.close()

    def wants(self) -> bool:
        """Whether the pass that begins is to be recorded."""
        if self.left:
            scripts.leave()
        return not self._silent and (self._stops_next or bool(self._wanted))

    def stop_at(self, recording: Recording) -> None:
        """Hand a pass to the client, and wait until it lets the program go on.

        Raises
        ------
        SystemExit
            If it wants the program to end.
        """
        if self._silent:
            return
        with self._lock:
            self._recording, self._cursor = recording, Cursor(*recording[:5])
            self._set_points()
            halt = self._cursor.arrive()
            if halt.reason == "start" and not self._stops_next and len(recording.tape):
                halt = self._cursor.run()
            stays = self._stops_next or halt.reason not in ("start", "end")
            self._resumed.clear()
            if stays and not self.left:
                self._stops_next = False
                self._come_to_rest(halt, self._why)
                self._why = "step"
            else:
                self._cursor = None
        if stays:
            self._resumed.wait()
        if self.left and not self.attached:
            scripts.leave()

    def end(self, status: int | None = None) -> None:
        """Tell the client that there will be no more passes."""
        self._ended = True
        if status is not None:
            self.connection.event("exited", exitCode=status)
        self.connection.event("terminated")

    def _leave(self) -> None:
        """The client has gone, or wants the program to end."""
        with self._lock:
            runs = not self.left and not self._ended and self._cursor is None and self.started.is_set()
            self.left, self._cursor = True, None
        self.started.set()
        self._resumed.set()
        if runs and not self.attached:
            self.on_leaving()

    # ------------------------------------------------------------------ requests

    def _answered(self, request: dict[str, Any]) -> bool:
        """Answer a request; whether it was the last."""
        command, arguments = request["command"], request.get("arguments")
        arguments = {} if arguments is None else arguments
        method = getattr(self, "_on_" + re.sub("[A-Z]", lambda capital: f"_{capital[0].lower()}", command), None)
        try:
            if method is None or not command.isalpha():
                raise RefusedError(f"unknown request {one_line(command)[:60]}")
            if not isinstance(arguments, dict):
                raise RefusedError(f"{command}: arguments: expected an object, got {type(arguments).__name__}")
            if not self._initialized and command not in ("initialize", "disconnect", "terminate"):
                raise RefusedError(f"{command} before initialize")
            with self._lock:
                body, after = _pair(method(arguments))
                self.connection.answer(request, body)
                if after is not None:
                    after()
        except RefusedError as error:
            self.connection.refuse(request, str(error))
        except KeyError as error:
            self.connection.refuse(request, f"{command}: {error.args[0]!r} is missing")
        except ValueError as error:
            self.connection.refuse(request, f"{command}: {one_line(str(error))}")
        except (AttributeError, TypeError) as error:
            why = f"{command}: its arguments are not of the protocol's form: {one_line(str(error))}"
            self.connection.refuse(request, why)
        except BaseException as error:  # an expression may raise anything, and the client waits
            self.connection.refuse(request, f"{command}: {type(error).__name__}: {one_line(str(error))}")
        return bool(command == "disconnect")

    def _on_initialize(self, arguments: dict[str, Any]) -> Any:
        if self._initialized:
            raise RefusedError("initialize comes once")
        self._initialized = True
        self._lines_from = 1 if arguments.get("linesStartAt1", True) else 0
        self._columns_from = 1 if arguments.get("columnsStartAt1", True) else 0
        return CAPABILITIES, lambda: self.connection.event("initialized")

    def _on_launch(self, arguments: dict[str, Any]) -> Any:
        if self.attached:
            raise RefusedError("this program runs already: attach to it")
        if self._chosen:
            raise RefusedError("launch comes once")
        program, module = arguments.get("program"), arguments.get("module")
        cwd = arguments.get("cwd")
        if not (isinstance(program, str) and program) and not (isinstance(module, str) and module):
            raise RefusedError("launch: expected `program`, the path of a script, or `module`")
        if cwd is not None and not (isinstance(cwd, str) and os.path.isdir(cwd)):
            raise RefusedError(f"launch: cwd: {cwd!r} is no folder")
        if not module and not os.path.isfile(os.path.join(cwd or "", str(program))):
            raise RefusedError(f"launch: {program!r} is no file")
        args, env = arguments.get("args") or [], arguments.get("env") or {}
        if not isinstance(args, list) or not all(isinstance(item, str) for item in args):
            raise RefusedError("launch: args: expected a list of strings")
        if not isinstance(env, dict) or not all(map(_can_be_set, env, env.values())):
            raise RefusedError("launch: env: expected names of variables, without `=`, and strings")
        self.launched = {**arguments, "args": args, "env": env}
        self._silent = bool(arguments.get("noDebug"))
        return self._choose(bool(arguments.get("stopOnEntry", True)))

    def _on_attach(self, arguments: dict[str, Any]) -> Any:
        if not self.attached:
            raise RefusedError("no program runs here: launch one, or attach to the port of viz.debug(loss, dap=PORT)")
        if self._chosen:
            raise RefusedError("attach comes once")
        return self._choose(True)

    def _choose(self, stops: bool) -> Any:
        self._chosen, self._stops_next = True, stops
        return None, self._start

    def _on_configuration_done(self, arguments: dict[str, Any]) -> Any:
        self._configured = True
        return None, self._start

    def _start(self) -> None:
        if self._configured and self._chosen:
            self.started.set()

    def _on_threads(self, arguments: dict[str, Any]) -> Any:
        name = f"backward from {visible(self._cursor.root)}" if self._cursor else "the program"
        return {"threads": [{"id": THREAD, "name": name}]}

    def _on_disconnect(self, arguments: dict[str, Any]) -> Any:
        ends = arguments.get("terminateDebuggee", not self.attached)
        if self.attached and ends:
            self.attached = False  # so that the program ends too
        return None

    def _on_terminate(self, arguments: dict[str, Any]) -> Any:
        self.attached = False
        return None, self._leave

    # ------------------------------------------------------------------ stopping

    def _on_set_breakpoints(self, arguments: dict[str, Any]) -> Any:
        source = arguments["source"]
        file = source.get("path") or source.get("name") or ""
        reference = source.get("sourceReference") or 0
        if 0 < reference <= len(self._sources):
            file = self._sources[reference - 1]
        asked = arguments.get("breakpoints")
        if asked is None:
            asked = [{"line": line} for line in arguments.get("lines") or []]
        given = []
        for one in asked:
            line = _whole("line", one["line"]) + 1 - self._lines_from
            given.append(self._one("line", f"{file}:{line}", one)._replace(file=file, line=line))
        return self._replaced(lambda old: old.kind == "line" and old.file == file, given)

    def _on_set_function_breakpoints(self, arguments: dict[str, Any]) -> Any:
        given = [self._one("function", str(one["name"]), one) for one in arguments["breakpoints"]]
        return self._replaced(lambda old: old.kind == "function", given)

    def _on_set_data_breakpoints(self, arguments: dict[str, Any]) -> Any:
        given = [self._one("data", str(one["dataId"]), one) for one in arguments["breakpoints"]]
        return self._replaced(lambda old: old.kind == "data", given)

    def _on_set_exception_breakpoints(self, arguments: dict[str, Any]) -> Any:
        given = [self._one("exception", str(name), {}) for name in arguments["filters"]]
        for one in given:
            if one.spec != "nonfinite":
                raise RefusedError(f"there is no filter {visible(one.spec)}, only nonfinite")
        return self._replaced(lambda old: old.kind == "exception", given)

    def _on_data_breakpoint_info(self, arguments: dict[str, Any]) -> Any:
        name, reference = str(arguments["name"]), arguments.get("variablesReference") or 0
        label = self._owners.get(reference, {}).get(name) if reference else name
        cursor = self._stopped()
        if label is None or label not in cursor.tape.labels.values():
            return {"dataId": None, "description": "only gradients of nodes are watched"}
        return {"dataId": label, "description": f"{visible(label)}.grad", "accessTypes": ["write"]}

    def _one(self, kind: str, spec: str, asked: Any) -> Wanted:
        self._numbers += 1
        condition, ignored, fault = str(asked.get("condition") or ""), 0, ""
        hits = str(asked.get("hitCondition") or "").strip()
        if hits:
            if hits.isdecimal() and int(hits):
                ignored = int(hits) - 1
            else:
                fault = f"expected a count of hits, got {visible(hits)}"
        try:
            if condition:
                compiled(condition)
        except ValueError as error:
            fault = str(error)
        return Wanted(self._numbers, kind, spec, condition, ignored, fault)

    def _replaced(self, old: Callable[[Wanted], bool], given: list[Wanted]) -> Any:
        self._wanted = [one for one in self._wanted if not old(one)] + given
        self._set_points(tells=False)
        return {"breakpoints": [self._told(one) for one in given]}

    def _set_points(self, tells: bool = True) -> None:
        """Set all that is wanted in the pass that is looked at; tell the client which of them were found."""
        self._faults = faults = {}
        if self._cursor is None:
            return
        known, self._points, self._cursor.points = self._points, {}, []
        for one in self._wanted:
            if one.fault:
                continue
            try:
                point = self._point(self._cursor, one)
            except ValueError as error:
                faults[one.number] = str(error)
                continue
            before = known.get(one.number)
            point.number = one.number
            point.ignored, point.hits = (before.ignored, before.hits) if before else (one.ignored, 0)
            self._points[one.number] = point
        for one in self._wanted if tells else ():
            self.connection.event("breakpoint", reason="changed", breakpoint=self._told(one))

    def _point(self, cursor: Cursor, one: Wanted) -> Point:
        if one.kind == "data":
            return cursor.watch(one.spec, one.condition)
        if one.kind == "function":
            try:
                return cursor.add(one.spec, one.condition)
            except ValueError:
                if ":" in one.spec:
                    raise
                try:
                    return cursor.add(f"op:{one.spec}", one.condition)  # the name of a rule is one of a function
                except ValueError:
                    pass
                raise
        return cursor.add(one.spec, one.condition)

    def _told(self, one: Wanted) -> dict[str, Any]:
        told: dict[str, Any] = {"id": one.number, "verified": one.number in self._points}
        if one.line:
            told["line"] = one.line - 1 + self._lines_from
        if not told["verified"]:
            told["message"] = (
                one.fault or self._faults.get(one.number) or "it is looked for when a backward pass begins"
            )
        return told

    # ------------------------------------------------------------------ moves

    def _on_continue(self, arguments: dict[str, Any]) -> Any:
        cursor = self._stopped()
        if cursor.step is None:
            return {"allThreadsContinued": True}, self._go_on

        def move() -> None:
            halt = cursor.run()
            if halt.reason == "end":
                self._go_on()
            else:
                self._come_to_rest(halt)

        return {"allThreadsContinued": True}, self._moving(move)

    def _on_next(self, arguments: dict[str, Any]) -> Any:
        return self._moved(Cursor.over)

    def _on_step_in(self, arguments: dict[str, Any]) -> Any:
        return self._moved(lambda cursor: cursor.steps(1))

    def _on_step_out(self, arguments: dict[str, Any]) -> Any:
        return self._moved(Cursor.out)

    def _on_step_back(self, arguments: dict[str, Any]) -> Any:
        return self._moved(lambda cursor: cursor.steps(-1), back=True)

    def _on_reverse_continue(self, arguments: dict[str, Any]) -> Any:
        return self._moved(lambda cursor: cursor.run(-1), back=True)

    def _on_pause(self, arguments: dict[str, Any]) -> Any:
        if self._cursor is not None:
            raise RefusedError("it is stopped")
        if self._ended:
            raise RefusedError("the program has ended")
        self._stops_next, self._why = True, "pause"
        return None

    def _moved(self, move: Callable[[Cursor], Halt], back: bool = False) -> Any:
        cursor = self._stopped()
        if cursor.step is None and not back:

            def to_the_next_pass() -> None:
                self._stops_next = True
                self._go_on()

            return None, self._moving(to_the_next_pass)
        if back and cursor.index == 0:  # editors may not ask whether they can
            return None, lambda: self._come_to_rest(Halt("start"))
        return None, self._moving(lambda: self._come_to_rest(move(cursor)))

    def _moving(self, move: Callable[[], None]) -> Callable[[], None]:
        """A move: whatever was shown of the step before is gone."""
        self._variables, self._owners, self._lengths, self._frames = {}, {}, {}, {}
        return move

    def _go_on(self) -> None:
        self._moving(lambda: None)
        self._cursor = None
        self._resumed.set()

    def _stopped(self) -> Cursor:
        if self._cursor is None:
            raise RefusedError(
                "the program has ended" if self._ended else "nothing is stopped: a backward pass is awaited"
            )
        return self._cursor

    def _come_to_rest(self, halt: Halt, at_start: str = "step") -> None:
        """Tell the client where the pass stands."""
        kinds = {one.number: one.kind for one in self._wanted}
        met = [point.number for point in halt.points]
        words = {"line": "breakpoint", "function": "function breakpoint", "data": "data breakpoint"}
        reason = {"start": at_start, "error": "exception"}.get(halt.reason, "step")
        for point in met:
            reason = words.get(kinds.get(point, ""), "exception")
        assert self._cursor is not None
        body: dict[str, Any] = {"reason": reason, "threadId": THREAD, "allThreadsStopped": True}
        if halt.notes:
            body |= {"text": "; ".join(halt.notes), "hitBreakpointIds": met}
        if halt.reason == "error":
            body["description"] = f"The pass raised {type(self._cursor.error).__name__}"
        elif reason == "exception":
            body["description"] = "A gradient is not finite"
        elif self._cursor.step is None:
            body["description"] = "End of the pass"
        self.connection.event("stopped", **body)

    # ------------------------------------------------------------------ looking

    def _on_stack_trace(self, arguments: dict[str, Any]) -> Any:
        cursor = self._stopped()
        if not self._frames:
            step = cursor.step
            links = chains.chain(cursor.tape, step) if step is not None else []
            for shown in (step, *(link.step for link in reversed(links))):
                self._references += 1
                self._frames[self._references] = shown
        first = _whole("startFrame", arguments.get("startFrame") or 0)
        levels = _whole("levels", arguments.get("levels") or 0) or len(self._frames)
        frames = [self._frame(*frame) for frame in list(self._frames.items())[first : first + levels]]
        return {"stackFrames": frames, "totalFrames": len(self._frames)}

    def _frame(self, number: int, step: mg.Step | None) -> dict[str, Any]:
        if step is None:
            cursor = self._stopped()
            name, site = f"end of the pass of {visible(cursor.root)}", cursor.tape.root.site
        else:
            name, site = f"{visible(step.label)} = {visible(step.op)}", step.source
        frame: dict[str, Any] = {"id": number, "name": name, "line": 0, "column": 0}
        return frame | (self._place(site) if site is not None else {})

    def _place(self, site: Site) -> dict[str, Any]:
        """A site in the protocol's words: columns in UTF-16; the source by path, or by reference if it is no file."""
        last = site.end_line or site.line
        place: dict[str, Any] = {
            "source": {"name": os.path.basename(site.file)},
            "line": site.line - 1 + self._lines_from,
            "column": self._columns_from + utf16(site.file, site.line, site.column or 0),
        }
        if site.end_column is not None:
            place["endLine"] = last - 1 + self._lines_from
            place["endColumn"] = self._columns_from + utf16(site.file, last, site.end_column)
        if os.path.isfile(site.file):
            place["source"]["path"] = os.path.abspath(site.file)
        else:
            if site.file not in self._sources:
                self._sources.append(site.file)
            place["source"]["sourceReference"] = self._sources.index(site.file) + 1
        return place

    def _on_source(self, arguments: dict[str, Any]) -> Any:
        reference = arguments.get("sourceReference") or (arguments.get("source") or {}).get("sourceReference") or 0
        if not 0 < _whole("sourceReference", reference) <= len(self._sources):
            raise RefusedError(f"there is no source {reference}")
        text = "".join(linecache.getlines(self._sources[reference - 1]))
        if not text:
            raise RefusedError(f"the source of {visible(self._sources[reference - 1])} is not to be had")
        return {"content": text, "mimeType": "text/x-python"}

    def _on_scopes(self, arguments: dict[str, Any]) -> Any:
        cursor = self._stopped()
        step = self._step(arguments["frameId"])
        found = []
        if step is not None:
            labels = [(f"d{visible(cursor.root)}/d{visible(c.label)}", c) for c in step.contributions]
            owners = {name: c.label for name, c in labels}
            found.append(("Step", self._reference(lambda: _rule(cursor, step), {"g": step.label})))
            found.append(("Contributions", self._reference(lambda: list(labels), owners)))
        index = step.index if step is not None else cursor.index

        def gradients() -> list[tuple[str, Any]]:
            return list(cursor.tape.before(index).items())

        owned = {label: label for label in cursor.tape.labels.values()}
        found.append(("Gradients so far", self._reference(gradients, owned)))
        return {"scopes": [{"name": name, "variablesReference": number, "expensive": False} for name, number in found]}

    def _on_variables(self, arguments: dict[str, Any]) -> Any:
        self._stopped()
        reference = _whole("variablesReference", arguments["variablesReference"])
        children = self._variables.get(reference)
        if children is None:
            raise RefusedError(f"variables {reference} are gone: the pass has moved on")
        start, count = (_whole(name, arguments.get(name) or 0) for name in ("start", "count"))
        length = self._lengths.get(reference)
        if length is not None and arguments.get("filter") == "named":
            return {"variables": []}
        stop = start + count if count else None if length is None else start + ELEMENTS
        listed = [self._variable(name, x) for name, x in islice(children(), start, stop)]
        if length is not None and not count and start + ELEMENTS < length:
            rest = f"{length - start - ELEMENTS:,} more: ask for a part, as in x[500]"
            listed.append({"name": "...", "value": rest, "variablesReference": 0})
        return {"variables": listed}

    def _on_evaluate(self, arguments: dict[str, Any]) -> Any:
        cursor = self._stopped()
        expression = str(arguments["expression"])
        step = self._step(arguments["frameId"]) if arguments.get("frameId") else cursor.step
        if arguments.get("context") == "repl" and expression.split()[:1] and expression.split()[0] in ASKED:
            return {"result": self._asked(cursor, expression), "variablesReference": 0}
        try:
            found = eval(compiled(expression), cursor.scope(step))
            shown = self._variable("", found)
        except ValueError as error:
            raise RefusedError(str(error)) from None
        except (Exception, SystemExit) as error:
            raise RefusedError(f"{type(error).__name__}: {one_line(str(error))}") from None
        return {"result": shown["value"]} | {name: shown[name] for name in shown if name not in ("name", "value")}

    def _asked(self, cursor: Cursor, command: str) -> str:
        """What a command of the terminal says."""
        from viz.stepping.terminal import Terminal

        assert self._recording is not None
        out = io.StringIO()
        Terminal(io.StringIO(), out).ask(self._recording, cursor, command)
        return out.getvalue().rstrip()

    def _step(self, frame: Any) -> mg.Step | None:
        if _whole("frameId", frame) not in self._frames:
            raise RefusedError(f"there is no frame {frame}: the pass has moved on")
        return self._frames[frame]

    def _reference(self, children: Children, owners: dict[str, str] | None = None) -> int:
        """A number by which the client can ask for variables, until the next move; none is given twice."""
        self._references += 1
        self._variables[self._references] = children
        self._owners[self._references] = owners or {}
        return self._references

    def _variable(self, name: str, x: Any) -> dict[str, Any]:
        told = {"name": visible(name), "value": shown(x), "type": type(x).__name__, "variablesReference": 0}
        children = expand(x)
        if children is not None:
            told["variablesReference"] = reference = self._reference(children)
            if isinstance(x, (np.ndarray, tuple, list)):
                told["indexedVariables"] = self._lengths[reference] = len(x)
        return told


def shown(x: Any) -> str:
    """A value, on one line."""
    if isinstance(x, mg.Contribution):
        return f"{brief(x.value)} = {x.formula}" if x.formula else brief(x.value)
    if isinstance(x, (float, np.ndarray, mg.Summary)):
        return number(x)
    text = one_line(repr(x))
    return text if len(text) <= 1000 else f"{text[:997]}..."


def expand(x: Any) -> Children | None:
    """What is in a value, asked for when it is opened; None where there is nothing."""
    if isinstance(x, mg.Contribution):
        fields = ("value", "before", "after", "local", "formula", "reduced", "slot")
        return lambda: [(name, getattr(x, name)) for name in fields]
    if isinstance(x, np.ndarray) and x.ndim:
        return lambda: ((f"[{i}]", row if x.ndim > 1 else row.item()) for i, row in enumerate(x))
    if isinstance(x, (tuple, list)) and x and not isinstance(x, mg.Summary):
        return lambda: ((f"[{i}]", item) for i, item in enumerate(x))
    if isinstance(x, Mapping) and x:
        return lambda: [(str(key), item) for key, item in x.items()]
    return None


def _rule(cursor: Cursor, step: mg.Step) -> list[tuple[str, Any]]:
    """What the rule is called with, by its letters, and where the step stands."""
    names: list[tuple[str, Any]] = [("g", step.upstream), ("z", step.applied.z)]
    if step.rule is not None:
        if step.rule.variadic:
            names.append((step.rule.inputs[0], step.applied.inputs))
        else:
            names += zip(step.rule.inputs, step.applied.inputs, strict=True)
    names += list(step.applied.parameters.items())
    return [*names, ("step", f"{step.index + 1} of {step.total}"), ("module", step.module), ("node", step.node)]


def utf16(file: str, line: int, column: int) -> int:
    """A column that counts bytes of UTF-8, counted in units of UTF-16."""
    before = linecache.getline(file, line).encode()[:column].decode(errors="replace")
    return len(before.encode("utf-16-le", "replace")) // 2


def _can_be_set(name: str, text: Any) -> bool:
    """Whether an environment can hold a variable of this name and text."""
    return isinstance(text, str) and name != "" and "=" not in name and "\0" not in name + text


def _whole(name: str, x: Any) -> int:
    if not isinstance(x, int) or isinstance(x, bool) or x < 0:
        raise RefusedError(f"{name}: expected a whole number, got {x!r:.40}")
    return x


def _pair(answer: Any) -> tuple[Any, Callable[[], None] | None]:
    """The body of an answer, and what is to be done when it is sent."""
    return answer if isinstance(answer, tuple) else (answer, None)
