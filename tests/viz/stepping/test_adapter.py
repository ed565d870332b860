"""The debug adapter, driven by a client that is written here from the protocol's specification alone."""

import io
import json
import os
import queue
import re
import socket
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg
from viz.stepping.adapter import Output
from viz.stepping.protocol import Connection, MalformedError
from viz.stepping.session import CAPABILITIES, Session, utf16

ROOT = Path(__file__).parents[3]
PATIENCE = 30  # seconds until a missing answer is a failure

SCRIPT = """\
import sys
import microgrid as mg

w, x, b = mg.Value(0.5), mg.Value(2.0), mg.Value(-0.25)
for i in range(2):
    重み = "é"; z = w * x + b
    a = mg.sigmoid(z)
    L = a * a + w
    L.backward()
    print("pass", i, file=sys.stderr if i else sys.stdout)
sys.exit(3)
"""
LOOP = "print('running', flush=True)\nimport time\nwhile True:\n    time.sleep(0.01)\n"


class Client:
    """Talks to an adapter over two streams."""

    def __init__(self, reader, writer) -> None:
        self.reader, self.writer, self.seq = reader, writer, 0
        self.messages: queue.Queue = queue.Queue()
        self.events: list[dict] = []
        self.thread = threading.Thread(target=self._read, daemon=True)
        self.thread.start()

    def close(self) -> None:
        """After the other side has gone."""
        self.thread.join(PATIENCE)
        for stream in (self.reader, self.writer):
            with suppress(OSError, ValueError):
                stream.close()

    def _read(self) -> None:
        while True:
            try:
                head = self.reader.readline()
                if not head:
                    break
                assert head.lower().startswith(b"content-length:")
                assert self.reader.readline() == b"\r\n"
                self.messages.put(json.loads(self.reader.read(int(head.split(b":")[1]))))
            except (OSError, ValueError):
                break
        self.messages.put(None)

    def next(self) -> dict | None:
        return self.messages.get(timeout=PATIENCE)

    def raw(self, data: bytes) -> None:
        self.writer.write(data)
        self.writer.flush()

    def send(self, command: str, **arguments) -> int:
        self.seq += 1
        body = json.dumps({"seq": self.seq, "type": "request", "command": command, "arguments": arguments}).encode()
        self.raw(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
        return self.seq

    def response(self, seq: int) -> dict:
        while True:
            message = self.next()
            assert message is not None, "the adapter has gone"
            if message["type"] == "response" and message["request_seq"] == seq:
                return message
            self.events.append(message)

    def ask(self, command: str, **arguments) -> dict:
        """The body of the answer."""
        answer = self.response(self.send(command, **arguments))
        assert answer["success"], answer
        assert answer["command"] == command
        return answer["body"]

    def refused(self, command: str, **arguments) -> str:
        answer = self.response(self.send(command, **arguments))
        assert not answer["success"]
        assert answer["body"]["error"]["format"]
        assert "Traceback" not in answer["message"]
        return answer["message"]

    def event(self, name: str) -> dict:
        """The next event of this name."""
        for i, message in enumerate(self.events):
            if message.get("event") == name:
                return self.events.pop(i)["body"]
        while True:
            message = self.next()
            assert message is not None, f"the adapter has gone before {name}"
            if message.get("event") == name:
                return message["body"]
            self.events.append(message)

    def begin(self, configure=lambda client: None, **launch) -> dict:
        """Initialize, launch, configure: as editors do."""
        capabilities = self.ask("initialize", adapterID="microgrid", linesStartAt1=True, columnsStartAt1=True)
        self.event("initialized")
        self.ask("launch" if launch else "attach", **launch)
        configure(self)
        self.ask("configurationDone")
        return capabilities

    def move(self, command: str) -> dict:
        self.ask(command, threadId=1)
        return self.event("stopped")

    def top(self) -> dict:
        return self.ask("stackTrace", threadId=1)["stackFrames"][0]

    def scope(self, name: str) -> dict[str, dict]:
        """The variables of a scope of the top frame, by name."""
        scopes = {s["name"]: s["variablesReference"] for s in self.ask("scopes", frameId=self.top()["id"])["scopes"]}
        return {v["name"]: v for v in self.ask("variables", variablesReference=scopes[name])["variables"]}

    def output(self) -> str:
        return "".join(e["body"]["output"] for e in self.events if e.get("event") == "output")


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "net.py"
    path.write_text(SCRIPT, encoding="utf-8")
    return str(path)


@pytest.fixture
def adapter():
    """A client of `python -m viz dap`, with its process as `client.process`."""
    process = subprocess.Popen(
        [sys.executable, "-m", "viz", "dap"], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    client = Client(process.stdout, process.stdin)
    client.process = process
    yield client
    process.kill()
    process.wait()
    client.close()
    with process.stderr:
        errors = process.stderr.read()
    assert b"Traceback" not in errors, errors.decode()


@pytest.fixture
def attached():
    """A client of a session over a pass in this process, and how to wait for its end."""
    ours, theirs = socket.socketpair()
    with mg.record_sites():
        w, x, b = (mg.Value(number, name=name) for name, number in {"w": 0.5, "x": 2.0, "b": -0.25}.items())
        z = w * x + b
        a = mg.sigmoid(z)
        L = a * a + w
        z.name, a.name, L.name = "z", "a", "L"
    from viz.stepping.recording import of_tape

    session = Session(Connection(theirs.makefile("rb"), theirs.makefile("wb")), attached=True)

    def program() -> None:
        session.started.wait()
        if not session.left:
            session.stop_at(of_tape(mg.record(L), None))
            session.end()

    threads = [threading.Thread(target=run, daemon=True) for run in (session.listen, program)]
    for thread in threads:
        thread.start()
    client = Client(ours.makefile("rb"), ours.makefile("wb"))
    client.session, client.program = session, threads[1]
    yield client
    ours.shutdown(socket.SHUT_RDWR)
    client.close()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive()
    ours.close()
    theirs.close()


# ---------------------------------------------------------------------------------------------------- a launched script


def test_a_script_is_launched_stepped_back_and_ends(adapter, script):
    assert adapter.begin(program=script) == CAPABILITIES
    assert adapter.event("stopped") == {"reason": "entry", "threadId": 1, "allThreadsStopped": True}
    assert adapter.ask("threads") == {"threads": [{"id": 1, "name": "backward from L"}]}
    labels = [adapter.top()["name"]]
    for _ in range(4):
        assert adapter.move("next")["reason"] == "step"
        labels.append(adapter.top()["name"])
    assert [re.sub("%[0-9]", "%", label) for label in labels] == [
        "L = add", "% = multiply", "a = sigmoid", "z = add", "% = multiply",
    ]  # fmt: skip
    for label in labels[-2::-1]:
        adapter.move("stepBack")
        assert adapter.top()["name"] == label
    adapter.ask("continue", threadId=1)  # no breakpoints: to the end of the script
    assert adapter.event("exited") == {"exitCode": 3}
    adapter.event("terminated")
    assert adapter.output() == "pass 0\npass 1\n"
    adapter.ask("disconnect")
    assert adapter.process.wait(PATIENCE) == 3


def test_steps_past_the_end_go_to_the_next_pass_and_the_end_can_be_gone_back_from(adapter, script):
    adapter.begin(program=script)
    adapter.event("stopped")
    for _ in range(5):
        body = adapter.move("stepIn")
    assert body["description"] == "End of the pass"
    assert adapter.top()["name"] == "end of the pass of L"
    adapter.move("stepBack")
    assert "multiply" in adapter.top()["name"]
    adapter.move("stepIn")
    assert adapter.move("stepIn")["reason"] == "step"  # the second pass
    assert adapter.ask("evaluate", expression="i", frameId=adapter.top()["id"])["result"] == "1"
    adapter.ask("disconnect")
    assert adapter.process.wait(PATIENCE) == 0


def test_breakpoints_hold_over_passes_in_both_directions(adapter, script):
    def configure(client):
        answer = client.ask(
            "setBreakpoints", source={"path": script},
            breakpoints=[{"line": 7}, {"line": 2}, {"line": 8, "condition": "g >"}, {"line": 6, "condition": "i == 1"}],
        )  # fmt: skip
        assert [b["verified"] for b in answer["breakpoints"]] == [False] * 4
        assert answer["breakpoints"][2]["message"] == "g > is no expression: invalid syntax"

    adapter.begin(configure, program=script, stopOnEntry=False)
    body = adapter.event("stopped")
    assert body["reason"] == "breakpoint"
    assert body["hitBreakpointIds"] == [1]
    found = {}
    while len(found) < 4:
        told = adapter.event("breakpoint")["breakpoint"]
        found[told["id"]] = told
    assert [found[i]["verified"] for i in (1, 2, 3, 4)] == [True, False, False, True]
    assert "no step of this pass was made at net.py:2" in found[2]["message"]
    assert adapter.top()["line"] == 7
    adapter.ask("continue", threadId=1)
    assert adapter.event("stopped")["hitBreakpointIds"] == [1]  # in the second pass
    adapter.ask("continue", threadId=1)
    assert adapter.event("stopped")["hitBreakpointIds"] == [4]
    assert adapter.top()["line"] == 6
    adapter.move("stepIn")
    assert adapter.move("reverseContinue")["hitBreakpointIds"] == [4]
    assert adapter.move("reverseContinue")["hitBreakpointIds"] == [1]
    adapter.ask("disconnect")
    assert adapter.process.wait(PATIENCE) == 0


def test_columns_are_units_of_utf_16_and_count_from_one(adapter, script):
    def configure(client):
        client.ask("setBreakpoints", source={"path": script}, breakpoints=[{"line": 6}])

    adapter.begin(configure, program=script, stopOnEntry=False)
    adapter.event("stopped")
    line = SCRIPT.splitlines()[5]
    frame = adapter.top()
    begin, end = frame["column"] - 1, frame["endColumn"] - 1
    assert line.encode("utf-16-le")[2 * begin : 2 * end].decode("utf-16-le") == "w * x + b"
    assert frame["source"] == {"name": "net.py", "path": script}
    adapter.ask("terminate")
    adapter.event("terminated")
    adapter.ask("disconnect")


def test_astral_characters_are_two_units(tmp_path):
    file = tmp_path / "astral.py"
    file.write_text("s = '𝛛é'; x = 1\n", encoding="utf-8")
    line = file.read_text(encoding="utf-8")
    column = len(line[: line.index("x")].encode())
    assert utf16(str(file), 1, column) == line.index("x") + 1


def test_a_running_script_can_be_paused_at_its_next_pass(adapter, tmp_path):
    path = tmp_path / "loop.py"
    path.write_text(
        "import microgrid as mg\nw = mg.Value(1.0)\nwhile True:\n    (w * w).backward()\n", encoding="utf-8"
    )
    adapter.begin(program=str(path), stopOnEntry=False)
    assert "nothing is stopped" in adapter.refused("next", threadId=1)
    adapter.ask("pause", threadId=1)
    assert adapter.event("stopped")["reason"] == "pause"
    assert adapter.refused("pause", threadId=1) == "it is stopped"
    adapter.ask("disconnect")
    assert adapter.process.wait(PATIENCE) == 0


def test_without_debugging_nothing_stops(adapter, script):
    adapter.begin(program=script, noDebug=True)
    assert adapter.event("exited") == {"exitCode": 3}


def test_the_script_gets_its_arguments_environment_and_folder_and_no_input(adapter, tmp_path):
    path = tmp_path / "told.py"
    path.write_text(
        "import os, sys\nhere = os.path.dirname(os.path.abspath(__file__))\n"
        "print(sys.argv[1:], os.environ['X1'], os.getcwd() == here)\n"
        "os.write(1, b'from C')\nprint(repr(sys.stdin.read()))\n1 / 0\n",
        encoding="utf-8",
    )
    adapter.begin(program="told.py", args=["a", "b c"], env={"X1": "y"}, cwd=str(tmp_path))
    assert adapter.event("exited") == {"exitCode": 1}
    lines = adapter.output().splitlines()
    assert lines[:2] == ["['a', 'b c'] y True", "''"]
    assert lines[-1] == "ZeroDivisionError: division by zero"
    assert not any("viz" in line for line in lines)


@pytest.mark.slow
@pytest.mark.parametrize("goodbye", ["disconnect", "terminate", "vanish"])
@pytest.mark.parametrize("state", ["before", "stopped", "running"])
def test_whenever_the_editor_leaves_the_script_ends(adapter, script, tmp_path, state, goodbye):
    if state == "stopped":
        adapter.begin(program=script)
        adapter.event("stopped")
    elif state == "running":
        path = tmp_path / "loop.py"
        path.write_text(LOOP, encoding="utf-8")
        adapter.begin(program=str(path))
        adapter.event("output")
    if goodbye == "vanish":
        adapter.writer.close()
        adapter.reader.close()
    else:
        adapter.ask(goodbye)
        if goodbye == "terminate":
            adapter.writer.close()
    assert adapter.process.wait(PATIENCE) == 0
    if goodbye != "vanish":
        assert "Traceback" not in adapter.output()


# ---------------------------------------------------------------------------------------------------- what is shown


def test_the_call_stack_is_the_chain_of_consumers(attached):
    attached.begin()
    attached.event("stopped")
    for _ in range(4):
        attached.move("stepIn")
    stack = attached.ask("stackTrace", threadId=1)
    assert [frame["name"].split(" = ")[1] for frame in stack["stackFrames"]] == [
        "multiply", "add", "sigmoid", "multiply", "add",
    ]  # fmt: skip
    assert stack["totalFrames"] == 5
    part = attached.ask("stackTrace", threadId=1, startFrame=1, levels=2)
    assert [frame["id"] for frame in part["stackFrames"]] == [frame["id"] for frame in stack["stackFrames"]][1:3]
    assert (
        attached.ask("evaluate", expression="step.op", frameId=stack["stackFrames"][2]["id"])["result"] == "'sigmoid'"
    )


def test_the_variables_are_what_the_rule_meets_and_gives(attached):
    attached.begin()
    attached.event("stopped")
    attached.move("stepIn")
    attached.move("stepIn")
    step = attached.scope("Step")
    assert [step[name]["value"] for name in ("g", "z", "x", "step")] == ["1.35836", "0.679179", "0.75", "'3 of 5'"]
    (contribution,) = attached.scope("Contributions").values()
    assert contribution["name"] == "dL/dz"
    assert contribution["value"] == "0.295979 = g * (z * (1 - z))"
    fields = attached.ask("variables", variablesReference=contribution["variablesReference"])["variables"]
    assert {v["name"]: v["value"] for v in fields} == {
        "value": "0.295979", "before": "None", "after": "0.295979", "local": "0.217895",
        "formula": "'g * (z * (1 - z))'", "reduced": "()", "slot": "'x'",
    }  # fmt: skip
    assert {name: v["value"] for name, v in attached.scope("Gradients so far").items()} == {
        "L": "1", "%6": "1", "w": "1", "a": "1.35836",
    }  # fmt: skip


def test_references_and_frames_die_when_the_pass_moves(attached):
    attached.begin()
    attached.event("stopped")
    frame = attached.top()["id"]
    reference = attached.ask("scopes", frameId=frame)["scopes"][0]["variablesReference"]
    attached.move("next")
    assert attached.refused("variables", variablesReference=reference) == (
        f"variables {reference} are gone: the pass has moved on"
    )
    assert attached.refused("scopes", frameId=frame) == f"there is no frame {frame}: the pass has moved on"
    attached.top()
    assert "moved on" in attached.refused("evaluate", expression="g", frameId=frame)


def test_expressions_are_evaluated_and_the_terminals_questions_answered(attached):
    attached.begin()
    attached.event("stopped")
    assert attached.ask("evaluate", expression="g * 2", context="hover")["result"] == "2"
    assert attached.refused("evaluate", expression="1 +") == "1 + is no expression: invalid syntax"
    assert attached.refused("evaluate", expression="q") == "NameError: name 'q' is not defined"
    assert "sum of 3 paths: dL/dw = 1.59196" in attached.ask("evaluate", expression="paths w", context="repl")["result"]
    assert attached.ask("evaluate", expression="check", context="repl")["result"].count("agree") == 2
    listed = attached.ask("evaluate", expression="list(grads)", context="watch")
    children = attached.ask("variables", variablesReference=listed["variablesReference"])["variables"]
    assert [(v["name"], v["value"]) for v in children] == [("[0]", "'L'")]


def test_arrays_are_opened_row_by_row():
    session = Session(Connection(io.BytesIO(), io.BytesIO()))
    told = session._variable("A", np.arange(600.0).reshape(300, 2))
    assert told["indexedVariables"] == 300
    rows = list(session._variables[told["variablesReference"]]())
    assert rows[7][0] == "[7]"
    np.testing.assert_array_equal(rows[7][1], [14.0, 15.0])


def test_of_a_long_sequence_a_part_is_listed():
    """Editors that page ask for ranges of the elements; those that do not get the first, and how many there are."""
    session = Session(Connection(io.BytesIO(), io.BytesIO()))
    session._cursor = object()  # something is stopped
    for x in (np.arange(300000.0), list(range(300000))):
        reference = session._variable("x", x)["variablesReference"]

        def listed(of=reference, **arguments):
            answer = session._on_variables({"variablesReference": of, **arguments})
            return [(told["name"], told["value"]) for told in answer["variables"]]

        assert len(listed()) == 201
        assert listed()[-1] == ("...", "299,800 more: ask for a part, as in x[500]")
        assert [name for name, _ in listed(filter="indexed", start=299998, count=5)] == ["[299998]", "[299999]"]
        assert listed(filter="named") == []


# ---------------------------------------------------------------------------------------------------- stopping


def test_function_breakpoints_are_names_operations_and_rules(attached):
    def configure(client):
        client.ask("setFunctionBreakpoints", breakpoints=[{"name": "a"}, {"name": "multiply"}, {"name": "nothing"}])

    attached.begin(configure)
    attached.event("stopped")
    verified = [attached.event("breakpoint")["breakpoint"]["verified"] for _ in range(3)]
    assert verified == [True, True, False]
    seen = []
    for _ in range(3):
        assert attached.move("continue")["reason"] == "function breakpoint"
        seen.append(attached.top()["name"].split(" = ")[1])
    assert seen == ["multiply", "sigmoid", "multiply"]


def test_hit_counts_and_conditions(attached):
    def configure(client):
        asked = [{"name": "multiply", "hitCondition": "2"}, {"name": "a", "hitCondition": ">= 2"}]
        answer = client.ask("setFunctionBreakpoints", breakpoints=asked)
        assert answer["breakpoints"][1]["message"] == "expected a count of hits, got >= 2"

    attached.begin(configure)
    attached.event("stopped")
    attached.move("continue")
    assert attached.scope("Step")["x"]["value"] == "0.5"


def test_data_breakpoints_watch_a_gradient(attached):
    attached.begin()
    attached.event("stopped")
    scopes = {
        s["name"]: s["variablesReference"] for s in attached.ask("scopes", frameId=attached.top()["id"])["scopes"]
    }
    info = attached.ask("dataBreakpointInfo", name="dL/dw", variablesReference=scopes["Contributions"])
    assert info["dataId"] == "w"
    assert attached.ask("dataBreakpointInfo", name="x", variablesReference=scopes["Step"])["dataId"] is None
    attached.ask("setDataBreakpoints", breakpoints=[{"dataId": "w"}])
    assert attached.move("continue")["text"] == "watch 1: w.grad none -> 1"
    body = attached.move("continue")
    assert (body["reason"], body["text"]) == ("data breakpoint", "watch 1: w.grad 1 -> 1.59196")
    assert attached.move("reverseContinue")["text"] == "watch 1: w.grad 1.59196 -> 1 (undone)"


def test_gradients_that_are_not_finite_stop_as_exceptions(adapter, tmp_path):
    path = tmp_path / "bad.py"
    path.write_text("import microgrid as mg\nx = mg.Value(0.0)\nL = mg.sqrt(x) * 2\nL.backward()\n", encoding="utf-8")
    adapter.begin(lambda client: client.ask("setExceptionBreakpoints", filters=["nonfinite"]), program=str(path),
                  stopOnEntry=False)  # fmt: skip
    body = adapter.event("stopped")
    assert (body["reason"], body["description"]) == ("exception", "A gradient is not finite")
    assert adapter.top()["name"].endswith("sqrt")
    assert "no filter" in adapter.refused("setExceptionBreakpoints", filters=["all"])
    adapter.ask("disconnect")


def test_a_pass_that_raises_stops_as_an_exception(adapter, tmp_path):
    """Without any breakpoint; back leads to the steps before, and the script then has its error."""
    path = tmp_path / "bad.py"
    path.write_text(
        "import microgrid as mg\nclass bad(mg.Rule):\n    def value(x): return x * 2\n"
        "    def wrt_x(g, z, x): raise RuntimeError('mine')\n"
        "x = mg.Value(1.0)\ny = mg.apply(bad, x) * 3\ny.backward()\n",
        encoding="utf-8",
    )
    adapter.begin(lambda client: None, program=str(path), stopOnEntry=False)
    body = adapter.event("stopped")
    assert (body["reason"], body["description"]) == ("exception", "The pass raised RuntimeError")
    assert "this raised RuntimeError: mine, while differentiating mg.apply(bad, x)" in body["text"]
    assert adapter.top()["name"].endswith("bad")
    adapter.ask("stepBack", threadId=1)
    assert adapter.event("stopped")["reason"] == "step"
    assert adapter.top()["name"].endswith("multiply")
    adapter.ask("continue", threadId=1)
    assert adapter.event("exited")["exitCode"] == 1
    adapter.ask("disconnect")


# ---------------------------------------------------------------------------------------------------- attach


def test_an_editor_attaches_to_a_program_that_waits(tmp_path):
    """`viz.debug(loss, dap=0)`: a line on stderr says where; when the editor goes on, the program does."""
    code = "import microgrid as mg, viz\nx = mg.Value(3.0)\nL = x * x\nviz.debug(L, dap=0)\nprint('after', x.grad)\n"
    (tmp_path / "waits.py").write_text(code, encoding="utf-8")
    process = subprocess.Popen([sys.executable, str(tmp_path / "waits.py")], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    line = process.stderr.readline().decode()
    host, _, port = line.split()[-1].partition(":")
    assert line.startswith("waiting for an editor on 127.0.0.1:")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        client = Client(connection.makefile("rb"), connection.makefile("wb"))
        client.begin()
        client.event("stopped")
        assert client.refused("launch", program="x.py") == "this program runs already: attach to it"
        client.ask("continue", threadId=1)
        client.event("terminated")
        client.ask("disconnect")
        client.close()
    out, errors = process.communicate(timeout=PATIENCE)
    assert (out, errors, process.returncode) == (b"after 6.0\n", b"", 0)


def test_an_editor_that_ends_a_program_ends_one_that_catches_everything(tmp_path):
    """`terminate`: its handler runs, and nothing after that."""
    (tmp_path / "waits.py").write_text(
        "import microgrid as mg, viz\nx = mg.Value(3.0)\nL = x * x\ntry:\n    viz.debug(L, dap=0)\n"
        "except BaseException:\n    print('handler')\nprint('on')\n"
    )
    process = subprocess.Popen([sys.executable, str(tmp_path / "waits.py")], stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})  # fmt: skip
    host, _, port = process.stderr.readline().decode().split()[-1].partition(":")
    with socket.create_connection((host, int(port)), PATIENCE) as connection:
        client = Client(connection.makefile("rb"), connection.makefile("wb"))
        client.begin()
        client.event("stopped")
        client.ask("terminate")
        out, errors = process.communicate(timeout=PATIENCE)
        client.close()
    assert (out, errors, process.returncode) == (b"handler\n", b"", 0)


@pytest.mark.parametrize("port", [-1, 70000, "x", True])
def test_a_port_that_is_none_is_refused(port):
    import viz

    with pytest.raises(ValueError, match=r"expected a port from 0 to 65535, got .*, at test_adapter\.py"):
        viz.debug(mg.Value(1.0) * 2, dap=port)


def test_a_port_that_is_taken_is_said_to_be():
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen(1)
        done = subprocess.run([sys.executable, "-m", "viz", "dap", "--port", str(other.getsockname()[1])], cwd=ROOT,
                              capture_output=True, text=True, check=False, timeout=PATIENCE)  # fmt: skip
    assert done.returncode == 1
    assert "Address already in use" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_an_editor_that_vanishes_lets_an_attached_program_go_on(attached):
    attached.begin()
    attached.event("stopped")
    attached.writer.close()
    attached.session.connection._reader.raw._sock.shutdown(socket.SHUT_RD)
    attached.program.join(PATIENCE)
    assert not attached.program.is_alive()


# ---------------------------------------------------------------------------------------------------- bad messages


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"Content-Length: 3\r\n\r\n{]}", "malformed message: no JSON"),
        (b"Content-Length: 2\r\n\r\n[]", "malformed message: expected an object, got list"),
        (b"Content-Length: 2\r\n\r\n{}", "malformed message: expected a request with a command"),
        (b"Content-Length: 21\r\n\r\n" + b'{"type":"response"}  ', "malformed message: expected a request"),
        (b"Content-Length: many\r\n\r\n", "malformed message: Content-Length: expected 0 to"),
        (b"Content-Length: 999999999999\r\n\r\n", "malformed message: Content-Length: expected 0 to"),
        (b"Content-Length: -5\r\n\r\n", "malformed message: Content-Length: expected 0 to"),
        (b"X-Other: 1\r\n\r\n", "malformed message: a message without Content-Length"),
        (b"hello\r\n", "malformed message: expected the head of a message, got b'hello"),
        (b"\xff\xfe\r\n", "malformed message: expected the head of a message"),
        (b"Content-Length: 4\r\n\r\n\xff\xfe\xfd\xfc", "malformed message: no JSON"),
        (b"Content-Length: 200000\r\n\r\n" + b"[" * 200000, "malformed message: no JSON"),
        (b"a" * 70000 + b"\r\n", "malformed message: a line of 65536 bytes"),
    ],
)  # fmt: skip
def test_what_is_no_message_is_answered_and_the_next_is_read(attached, data, told):
    attached.raw(data)
    answer = attached.next()
    assert (answer["type"], answer["success"]) == ("response", False)
    assert answer["message"].startswith(told)
    assert attached.response(attached.send("initialize", adapterID="microgrid"))["success"]


@pytest.mark.parametrize(
    ("command", "arguments", "told"),
    [
        ("dance", {}, "unknown request dance"),
        ("set_points", {}, "unknown request set_points"),
        ("__class__", {}, "unknown request __class__"),
        ("initialize", {}, "initialize comes once"),
        ("attach", {}, "attach comes once"),
        ("launch", {"program": "x.py"}, "this program runs already: attach to it"),
        ("setBreakpoints", {}, "setBreakpoints: 'source' is missing"),
        ("setBreakpoints", {"source": {"path": "x"}, "breakpoints": [{}]}, "setBreakpoints: 'line' is missing"),
        ("setBreakpoints", {"source": {"path": "x"}, "breakpoints": [{"line": "3"}]}, "line: expected a whole number"),
        ("setBreakpoints", {"source": 3}, "setBreakpoints: its arguments are not of the protocol's form: "),
        ("setFunctionBreakpoints", {"breakpoints": 3}, "setFunctionBreakpoints: its arguments are not"),
        ("scopes", {}, "scopes: 'frameId' is missing"),
        ("scopes", {"frameId": 77}, "there is no frame 77: the pass has moved on"),
        ("scopes", {"frameId": None}, "frameId: expected a whole number, got None"),
        ("variables", {"variablesReference": 77}, "variables 77 are gone: the pass has moved on"),
        ("variables", {"variablesReference": -1}, "variablesReference: expected a whole number, got -1"),
        ("stackTrace", {"startFrame": "x"}, "startFrame: expected a whole number, got 'x'"),
        ("evaluate", {}, "evaluate: 'expression' is missing"),
        ("evaluate", {"expression": "exit()"}, "SystemExit"),
        ("evaluate", {"expression": "(_ for _ in ()).throw(KeyboardInterrupt)"}, "evaluate: KeyboardInterrupt"),
        ("source", {"sourceReference": 5}, "there is no source 5"),
    ],
)
def test_requests_that_mean_nothing_are_refused_in_one_line(attached, command, arguments, told):
    attached.begin()
    attached.event("stopped")
    message = attached.refused(command, **arguments)
    assert message.startswith(told)
    assert "\n" not in message
    assert attached.ask("threads")["threads"]


@pytest.mark.parametrize(
    "command",
    ["next", "stepIn", "stepOut", "stepBack", "continue", "reverseContinue", "stackTrace", "evaluate", "variables"],
)
def test_requests_out_of_order_are_refused(attached, command):
    assert attached.refused(command, threadId=1) == f"{command} before initialize"
    attached.ask("initialize")
    assert attached.refused(command, threadId=1, expression="1", variablesReference=1) == (
        "nothing is stopped: a backward pass is awaited"
    )


def test_the_answers_of_launch(adapter, script, tmp_path):
    adapter.ask("initialize")
    for arguments, told in [
        ({}, "launch: expected `program`"),
        ({"program": 3}, "launch: expected `program`"),
        ({"program": "nowhere.py"}, "launch: 'nowhere.py' is no file"),
        ({"program": script, "cwd": "/nowhere"}, "launch: cwd: '/nowhere' is no folder"),
        ({"program": script, "args": "a b"}, "launch: args: expected a list of strings"),
        *(
            ({"program": script, "env": env}, "launch: env: expected names of variables, without `=`, and strings")
            for env in ({"A": 1}, {"A=B": "1"}, {"": "1"}, {"A": "\0"})
        ),
    ]:
        assert adapter.refused("launch", **arguments).startswith(told)
    assert "no program runs here" in adapter.refused("attach")
    adapter.ask("launch", program=script)
    assert adapter.refused("launch", program=script) == "launch comes once"
    body = b'{"seq": 9, "type": "request", "command": "threads", "arguments": [1, 2, 3]}'
    adapter.raw(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
    assert adapter.response(9)["message"] == "threads: arguments: expected an object, got list"


def test_a_message_cut_short_is_the_end():
    for data in (b"Content-Length: 50\r\n\r\n{", b"Content-Le", b""):
        assert Connection(io.BytesIO(data), io.BytesIO()).read() is None
    with pytest.raises(MalformedError):
        Connection(io.BytesIO(b"Content-Length: 1\r\n\r\n{"), io.BytesIO()).read()


def test_output_goes_line_by_line():
    writer = io.BytesIO()
    out = Output(Connection(io.BytesIO(), writer), "stdout")
    print("a", "b", file=out)
    print("c", end="", file=out)
    assert writer.getvalue().count(b'"output": "') == 1
    out.flush()
    assert b'"output": "c"' in writer.getvalue()


# ---------------------------------------------------------------------------------------------------- the editor's side


def test_the_manifest_starts_the_adapter_and_activates_nothing():
    manifest = json.loads((ROOT / ".vscode" / "extensions" / "microgrid" / "package.json").read_text(encoding="utf-8"))
    assert manifest["extensionKind"] == ["workspace"]
    assert not {"activationEvents", "main"} & set(manifest)
    (debugger,) = manifest["contributes"]["debuggers"]
    assert (debugger["type"], debugger["runtimeArgs"]) == ("microgrid", ["-m", "viz", "dap"])


def test_the_launch_configurations_name_what_is_there():
    """Those of this clone work as they stand: their types are the manifest's and debugpy's, their programs files."""
    text = (ROOT / ".vscode" / "launch.json").read_text(encoding="utf-8")
    launch = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
    for configuration in launch["configurations"]:
        assert configuration["type"] in ("microgrid", "debugpy")
        program = configuration.get("program", "${file}").replace("${workspaceFolder}", str(ROOT))
        assert program == "${file}" or Path(program).is_file()
    (debugpy,) = (c for c in launch["configurations"] if c["type"] == "debugpy")
    assert {"module": "microgrid.rules", "include": True} in debugpy["rules"]
    assert any(c["name"] == "Backward pass" for c in launch["configurations"])
