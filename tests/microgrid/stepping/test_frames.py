"""Stepped passes: any Python debugger walks backward through the lines that made the nodes."""

from __future__ import annotations

import bdb
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg
from microgrid import graph
from microgrid.stepping import debugging, frames
from tests.microgrid.checking import numbers, scalar_inputs, varied, weights
from tests.microgrid.driving import Editor, Terminal, environment, piped, stops
from tests.microgrid.families import Case
from tests.microgrid.table import ROWS, SCALAR_ROWS

HERE = Path(__file__).name
SCRIPT = """\
import microgrid as mg

w = mg.Value(2.0, name="w")
x = mg.Value(-3.0, name="x")
b = mg.Value(0.5, name="b")
z = w * x
a = mg.sigmoid(z + b) * 2 + z
L = a * a
L.backward()
print("w.grad is", w.grad)
"""
BACKWARD = [8, 7, 7, 7, 7, 6]  # the lines of its nodes, newest first
NUMBER = 36.24261954315892


@pytest.fixture
def script(tmp_path):
    path = tmp_path / "train.py"
    path.write_text(SCRIPT)
    return path


def bits(x):
    return np.asarray(x).tobytes()


def others():
    """Other Pythons that have NumPy: those on the path, and those that OTHER_PYTHONS names."""
    named = os.environ.get("OTHER_PYTHONS", "").split(os.pathsep)
    for python in (*filter(None, named), *(f"python3.{minor}" for minor in range(11, 16))):
        if shutil.which(python):
            asked = [python, "-c", "import numpy, sys; print(*sys.version_info[:2])"]
            answer = subprocess.run(asked, capture_output=True, text=True, env=environment())
            if answer.returncode == 0 and answer.stdout.split() != list(map(str, sys.version_info[:2])):
                yield python


@pytest.fixture(params=["this", pytest.param("others", marks=pytest.mark.slow)])
def pythons(request):
    """This Python; and, in the long suite, the others that are found."""
    found = [sys.executable] if request.param == "this" else list(others())
    return found or pytest.skip("no other Python with NumPy")


# --------------------------------------------------------------------------------------------- one walk, the same bits


class Steps(bdb.Bdb):
    """A debugger that steps from line to line of this file, and remembers them."""

    def __init__(self):
        super().__init__()
        self.lines = []

    def user_line(self, frame):
        if Path(frame.f_code.co_filename).name == HERE and frame.f_code.co_name == "backward":
            self.lines.append((frame.f_lineno, frame.f_locals["node"], frame.f_locals["g"]))
        self.set_step()


def stepped(root, **keywords):
    """The lines that a debugger meets in a backward pass, with node and gradient."""
    return lines_of(lambda: root.backward(**keywords))


class PassesOver(Steps):
    """As from Python 3.14 on: `next` does not stop again at the line of the frame at which it was given."""

    cmdframe = None

    def user_line(self, frame):
        super().user_line(frame)
        if Path(frame.f_code.co_filename).name == HERE and frame.f_code.co_name == "backward":
            self.set_next(frame)
            self.cmdframe, self.cmdlineno = frame, frame.f_lineno

    def dispatch_line(self, frame):
        if self.cmdframe is frame and self.cmdlineno == frame.f_lineno:
            return self.trace_dispatch
        return super().dispatch_line(frame)


def lines_of(run, kind=Steps):
    debugger, before = kind(), sys.gettrace()
    debugger.reset()
    sys.settrace(debugger.trace_dispatch)
    try:
        run()
    finally:
        sys.settrace(before)
    return debugger.lines


def net():
    w, x, b = mg.Value(2.0, name="w"), mg.Value(-3.0, name="x"), mg.Value(0.5, name="b")
    z = w * x
    h = mg.tanh(z + b) * w
    return h + mg.relu(b) ** 2


def test_lines_of_a_pass():
    """Each operation is met once, newest first, on the line that made it, with its gradient."""
    root, twin = net(), net()
    lines = stepped(root)
    steps = list(mg.steps(twin))
    assert [line for line, _, _ in lines] == [step.source.line for step in steps]
    assert [g for _, _, g in lines] == [step.upstream for step in steps]
    assert [node.rule for _, node, _ in lines] == [step.rule for step in steps]


def test_nodes_of_one_line_are_met_one_by_one():
    """Also by a debugger that passes over a line where a command was given."""
    x = mg.Value(0.5)
    y = mg.tanh(mg.sin(mg.exp(x * x) + x)) * 2
    for kind in (Steps, PassesOver):
        assert [node.rule.__name__ for _, node, _ in lines_of(y.backward, kind)] == [
            "multiply", "tanh", "sin", "add", "exp", "multiply",
        ]  # fmt: skip


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="sys.monitoring is of Python 3.12 on")
def test_a_debugger_that_runs_by_monitoring():
    """It is known by its name, hears nothing of how it is told to go on, and hears again afterwards."""
    events = sys.monitoring
    if events.get_tool(events.DEBUGGER_ID):
        pytest.skip("a debugger runs")
    before, heard = sys.gettrace(), []
    debugger = Steps()
    debugger.reset()
    events.use_tool_id(events.DEBUGGER_ID, "a debugger")
    events.register_callback(events.DEBUGGER_ID, events.events.PY_START, lambda code, _: heard.append(code.co_name))
    try:
        sys.settrace(None)
        assert debugging.is_watched()
        assert debugging.debugger()
        events.set_events(events.DEBUGGER_ID, events.events.PY_START)
        debugging._command(debugger, sys._getframe(), debugger.set_step)
        debugging.off()
    finally:
        sys._getframe().f_trace = None
        events.free_tool_id(events.DEBUGGER_ID)
        sys.settrace(before)
    assert "off" in heard
    assert not {"set_step", "_set_stopinfo"} & set(heard)


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_every_rule_gives_the_same_bits(row):
    """Plain, stepped by a debugger, stepped by hand and recorded: equal to the bit, for every rule of arrays."""
    case = row.family.fixed[0] if row.family.fixed else Case(((),) * row.family.scalars)
    xs, positions, found = numbers(row, case), varied(case), []
    for way in ("plain", "walk", "debugger", "function", "steps", "record"):
        nodes = [mg.Tensor(x, requires_grad=True) if i in positions else x for i, x in enumerate(xs)]
        root = row.rule(*nodes, **case.parameters)
        g = weights(root.shape, 0, root.dtype)
        if way == "plain":
            root.backward(g)
        elif way == "walk":
            given = mg.grad(root, [nodes[i] for i in positions], grad_outputs=g)
            for i, gradient in zip(positions, given, strict=True):
                nodes[i]._grad = gradient
        elif way == "debugger":
            stepped(root, gradient=g)
        elif way == "function":
            root.backward(g, step=True)
        elif way == "steps":
            list(mg.steps(root, g))
        else:
            len(list(mg.record(root, g)))
        found.append([bits(nodes[i].grad) for i in positions])
    assert all(gradients == found[0] for gradients in found)


@pytest.mark.parametrize("row", SCALAR_ROWS, ids=repr)
@pytest.mark.parametrize("mixed", [False, True], ids=["values", "mixed"])
def test_every_scalar_rule_gives_the_same_bits(row, mixed):
    """Likewise for Values, and for Values that meet a Tensor; by the fast pass too."""
    case, xs = scalar_inputs(row, 1)
    positions, found = varied(case), []
    for way in ("plain", "debugger", "step", "steps", "record"):
        nodes = [mg.Value(float(x)) if i in positions else bool(x) for i, x in enumerate(xs)]
        root = row.rule(*nodes, **case.parameters)
        if mixed:
            root = (mg.Tensor([1.25, -0.5], requires_grad=True) * root).sum()
        else:
            root = root * root  # two contributions to one node
        {
            "plain": root.backward,
            "debugger": lambda root=root: stepped(root),
            "step": lambda root=root: root.backward(step=True),
            "steps": lambda root=root: list(mg.steps(root)),
            "record": lambda root=root: list(mg.record(root)),
        }[way]()
        found.append([bits(node.grad) for node in mg.topological_order(root)])
    assert all(gradients == found[0] for gradients in found)


def test_accumulation_and_chosen_inputs():
    """backward(step=True) accumulates, keeps to `inputs`, and takes a gradient as the plain pass does."""
    for step in (None, True):
        x, y = mg.Value(3.0), mg.Value(4.0)
        for _ in range(2):
            z = x * y * x
            z.backward(2.0, inputs=[x], step=step)
        assert (x.grad, y.grad, z.grad) == (96.0, 0.0, 0.0)


def test_second_derivatives():
    """create_graph with a stepped pass: the second derivative of x^3, and nodes made at the user's line."""
    sites = []
    for step in (None, True):
        x = mg.Value(2.0)
        (x * x * x).backward(create_graph=True, step=step)
        first = x.grad
        sites.append(first.site.line)
        assert mg.grad(first, x) == (12.0,)
        x.zero_grad()
    assert sites[0] == sites[1]


def test_hooks():
    """What a hook gives in place of a gradient is what a debugger shows; hooks of leaves run, each once."""
    calls = []
    x = mg.Value(3.0)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: calls.append(g) or g + 1)
    lines = stepped(y * 1)
    assert [g for _, _, g in lines] == [1.0, 10.0]
    assert calls == [20.0]
    assert x.grad == 21.0


def test_a_pass_within_a_hook():
    """A hook may run a pass of its own, stepped or not."""
    inner = mg.Value(5.0)

    def hook(g):
        stepped(inner * inner)

    x = mg.Value(3.0)
    y = x * x
    y.register_hook(hook)
    (y * 1).backward(step=True)
    assert (x.grad, inner.grad) == (6.0, 10.0)


def test_an_error_in_the_middle():
    """Nothing is stored, the error is the user's own, and it says once which node was differentiated."""

    class Broken(mg.Rule):
        def value(x):
            return x * 1

        def wrt_x(g, z, x):
            raise KeyboardInterrupt if g == 2 else RuntimeError("mine")

    for gradient, kind in ((1.0, RuntimeError), (2.0, KeyboardInterrupt)):
        for step in (None, True):
            x = mg.Value(3.0)
            y = mg.apply(Broken, x * 2)
            y.name = "y"
            with pytest.raises(kind) as error:
                (y + x).backward(gradient, step=step)
            assert x.grad == 0.0
            if kind is RuntimeError:
                assert error.value.__notes__ == [
                    f"while differentiating y = mg.apply(Broken, x * 2) at {y.site} (Broken)"
                ]


@pytest.mark.parametrize("way", ["fast", "walk", "stepped", "steps", "record"])
def test_the_note_of_an_error(way):
    """The note is there in plain, stepped and fast passes, once."""

    class Broken(mg.Rule):
        def value(x):
            return x * 1

        def wrt_x(g, z, x):
            raise ValueError("mine")

    a = mg.Value(3.0)
    z = mg.apply(Broken, a)
    z.name = "z"
    ways = {
        "fast": z.backward,
        "walk": lambda: mg.grad(z, a),
        "stepped": lambda: z.backward(step=True),
        "steps": lambda: list(mg.steps(z)),
        "record": lambda: mg.record(z),
    }
    with pytest.raises(ValueError, match="mine") as error:
        ways[way]()
    assert error.value.__notes__ == [f"while differentiating z = mg.apply(Broken, a) at {z.site} (Broken)"]


def test_many_files_and_no_site():
    """Nodes of several files, of fake ones (notebooks) and of none: met where they can be, all with gradients."""
    cell = compile("def double(x):\n    return x * 2\n", "<ipython-input-1-abc>", "exec")
    names = {}
    exec(cell, names)
    x = mg.Value(1.5)
    y = names["double"](x) + 1
    with mg.record_sites(False):
        y = y * y
    z = names["double"](y) - 1
    assert [node.rule.__name__ for _, node, _ in stepped(z)] == ["subtract", "add"]
    assert x.grad == 2 * 2 * 4 * 2
    with mg.record_sites(False):
        y = x * x
    y.backward(step=True)
    assert x.grad == 32 + 3


# ------------------------------------------------------------------------------------------------- when it is stepped


def test_tracers_that_are_no_debuggers():
    """Coverage, profilers and tracers of one's own change no number, and are no reason to step."""
    seen = []

    def tracer(frame, event, argument):
        seen.append(frame.f_code.co_name)
        return tracer

    expected = net()
    expected.backward()
    before = sys.gettrace()
    for switch, restore in ((sys.settrace, before), (sys.setprofile, None)):
        root = net()
        switch(tracer)
        try:
            root.backward()
        finally:
            switch(restore)
        for node, twin in zip(mg.topological_order(root), mg.topological_order(expected), strict=True):
            assert bits(node.grad) == bits(twin.grad)
    assert "proceed" not in seen
    assert "backward" in seen


@pytest.mark.debuggers
def test_coverage_attached(script):
    """Coverage's tracer, in C, likewise."""
    coverage = pytest.importorskip("coverage")
    root, before = net(), sys.gettrace()
    with_it = coverage.Coverage(data_file=None)
    with_it.start()
    try:
        assert debugging.debugger() is None
        root.backward()
    finally:
        with_it.stop()
        sys.settrace(before)
    twin = net()
    twin.backward()
    assert [x.grad for x in mg.topological_order(root)] == [x.grad for x in mg.topological_order(twin)]


def test_the_limit(monkeypatch, capsys):
    """Above mg.step_limit a debugger's pass is not stepped, and one line says once how to ask for it."""
    monkeypatch.setattr(mg, "step_limit", 3)
    monkeypatch.setattr(frames, "_told", [])
    x = mg.Value(1.0)
    assert len(stepped(x * x)) == 1
    for _ in range(2):
        assert stepped(x * x * x * x) == []
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "step_limit is 3" in err
    assert "backward(step=True)" in err
    assert len(stepped(x * x * x * x, step=True)) == 3


def test_turned_off(monkeypatch):
    """MICROGRID_STEP=0 turns it off for all passes, and step=False for one; step=True is asked for all the same."""
    x = mg.Value(1.0)
    assert stepped((x * x).breakpoint(), step=False) == []
    assert stepped(x * x, step=False, gradient=2.0) == []
    assert x.grad == 6.0
    monkeypatch.setenv("MICROGRID_STEP", "0")
    assert stepped((x * x).breakpoint()) == []
    assert x.grad == 8.0
    assert len(stepped(x * x, step=True)) == 1


def test_hooked_breakpoint(monkeypatch):
    """Without a debugger node.breakpoint() calls what the user has put in place of breakpoint(), on the node's line."""
    met = []
    monkeypatch.setattr(sys, "breakpointhook", lambda: met.append(sys._getframe(1)))
    x = mg.Value(3.0)
    y = (x * x).breakpoint()
    z = y + x
    z.backward()
    (frame,) = met
    assert (Path(frame.f_code.co_filename).name, frame.f_code.co_name) == (HERE, "backward")
    assert x.grad == 7.0
    y.breakpoint(False)
    z.backward()
    assert len(met) == 1


def test_threads():
    """A debugger of one thread does not step the passes of another."""
    found = []

    def work():
        x = mg.Value(3.0)
        (x * x).backward()
        found.append((x.grad, debugging.debugger()))

    class Waits(mg.Rule):
        def value(x):
            return x * 1

        def wrt_x(g, z, x):
            return g

    x = mg.Value(2.0)
    z = mg.apply(Waits, x)
    assert len(stepped(z)) == 1
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [(6.0, None)]


def test_lines_of_code():
    """The code has the user's lines and, between turns, none: whatever the numbers of lines and turns."""
    groups = ((900, 1), (5, 3), (5, 1), (1_000_000, 2), (7, 700))
    code = frames._code("train.py", 3, tuple(frames._Turns(line, n, (("follow()", 0),)) for line, n in groups))
    lines = {line for _, _, line in code.co_lines()}
    assert lines == {3, 900, 5, 1_000_000, 7, None}
    assert code.co_filename == "train.py"
    assert code.co_firstlineno == 3


@pytest.mark.parametrize("case", ["plain", "hooked", "given"])
def test_nothing_is_asked_where_no_debugger_is(case):
    """Without a tracer no pass calls anything of what steps, whether plain, with a hook or from a given gradient."""
    called = set()
    x = mg.Value(3.0)
    if case == "hooked":
        x.register_hook(lambda g: None)
    y = x * x
    before, was = sys.getprofile(), graph._passes.breakpoints
    tracer = sys.gettrace()
    sys.settrace(None)
    graph._passes.breakpoints = False
    sys.setprofile(lambda frame, event, argument: called.add(Path(frame.f_code.co_filename).name))
    try:
        y.backward(2.0 if case == "given" else None)
    finally:
        sys.setprofile(before)
        sys.settrace(tracer)
        graph._passes.breakpoints = was
    assert "graph.py" in called
    assert not called & {"stepping.py", "debugging.py", "steps.py"}


# ------------------------------------------------------------------------------------------------------------ real pdb


def test_pdb_on_a_terminal(script, pythons):
    """`s` at loss.backward() is the first node, then one `n` a node, then the user's next line; on a terminal."""
    for python in pythons:
        with Terminal(script, python) as pdb:
            pdb("b 9")
            pdb("c")
            met = [stops(pdb("s"))[0]]
            for _ in BACKWARD[1:]:
                met += stops(pdb("n"))
            assert [stop.line for stop in met] == BACKWARD
            assert {stop.function for stop in met} == {"backward"}
            assert "Value(data=-6" in pdb("p node")
            assert pdb("p g").startswith("-12.08")
            assert "<%3 as x" in pdb("p contributions")
            assert "(9)<module>()" in pdb("where")
            assert pdb("p w.grad, len(inputs)").startswith("(0.0, 2)")  # the user's names, and builtins
            (after,) = stops(pdb("n"))
            assert (after.file, after.line, after.function) == ("train.py", 10, "<module>")
            assert str(NUMBER) in pdb("p w.grad")


def test_pdb_breakpoints(script, pythons):
    """A breakpoint on a forward line stops again in the backward pass, at each node; so does one with a condition."""
    for python in pythons:
        met = stops(piped(script, "b 6;b 7;" + "c;" * 8 + "c", python=python))
        assert [(stop.line, stop.function) for stop in met[1:8]] == [
            (6, "<module>"), (7, "<module>"), *[(7, "backward")] * 4, (6, "backward"),
        ]  # fmt: skip
        met = stops(piped(script, "b 7, 'g' in locals() and g < -20;c;p g;c", python=python))
        assert (met[1].line, met[1].function) == (7, "backward")
        assert "-23.967" in met[1].text


def test_pdb_in_a_rule(script, pythons):
    """b mg.rules.multiply.wrt_y stops in the mathematics, with g, z, x, y; `s` at a node goes straight there."""
    for python in pythons:
        printed = piped(script, "tbreak 6;c;b mg.rules.multiply.wrt_y, x == 2;c;p (g, z, x, y);u;u;s;c", python=python)
        met = stops(printed)
        assert (met[2].file, met[2].function) == ("rules.py", "wrt_y")
        assert "(-12.080873181052976, -6.0, 2.0, -3.0)" in met[2].text
        printed = piped(script, "b 9;c;s;s;n;n;s;n;n;n", python=python)
        met = stops(printed)
        assert [(stop.file, stop.line, stop.function) for stop in met[2:4]] == [
            ("train.py", 8, "backward"), ("rules.py", met[3].line, "wrt_x"),
        ]  # fmt: skip
        functions = [(stop.file, stop.function) for stop in met]
        assert ("rules.py", "wrt_y") in functions
        assert {file for file, _ in functions} == {"train.py", "rules.py"}  # no plumbing
        assert met[-1].line == 7


def test_pdb_out_of_a_rule(script, pythons):
    """After a breakpoint inside a rule `n`, as well as `r` and `n`, comes to the user's next node."""
    for python in pythons:
        for out in ("n;n", "r;n"):
            met = stops(piped(script, f"tbreak 6;c;b mg.rules.sigmoid.wrt_x;c;{out};n;n", python=python))
            assert met[2].file == "rules.py"
            after = [(stop.file, stop.line, stop.function) for stop in met[2:] if stop.file != "rules.py"]
            assert after[:2] == [("train.py", 7, "backward"), ("train.py", 6, "backward")], out


def test_pdb_and_an_error(tmp_path, pythons):
    """An error in a stepped pass shows at the user's node, then at the user's call, and nowhere between."""
    script = tmp_path / "train.py"
    script.write_text(
        "import microgrid as mg\nclass bad(mg.Rule):\n    def value(x): return x * 2\n"
        "    def wrt_x(g, z, x): raise RuntimeError('mine')\n"
        "w = mg.Value(3.0)\nz = mg.apply(bad, w + 1)\nC = z * z\n"
        "try:\n    C.backward()\nexcept RuntimeError as error:\n    print('caught', error)\n"
    )
    for python in pythons:
        printed = piped(script, "tbreak 9;c;s;n;n;n;n;n;n", python=python)
        at = [(stop.file, stop.line, stop.function) for stop in stops(printed)[2:]]
        assert dict.fromkeys(at) == dict.fromkeys([
            ("train.py", 7, "backward"), ("train.py", 6, "backward"),
            *[("train.py", line, "<module>") for line in (9, 10, 11)],
        ])  # fmt: skip


def test_pdb_in_grad(tmp_path, pythons):
    """mg.grad, of nodes and of functions, and its kin are stepped as `backward` is; `ll` shows the node's function."""
    script = tmp_path / "train.py"
    script.write_text(
        "import microgrid as mg\n\n\ndef g(v):\n    return v * v\n\n\ndef f(v):\n    y = g(v)\n"
        "    return mg.exp(y)\n\n\nx = mg.Value(2.0)\nz = f(x)\nmg.grad(z, x)\nmg.value_and_grad(f)(1.0)\nprint()\n"
    )
    backward = [("train.py", line, "backward") for line in (10, 5)]
    for python in pythons:
        printed = piped(script, "tbreak 15;c;s;ll;n;ll;n;b 10;c;c;n;n", python=python)
        met = stops(printed)[2:]
        at = [(stop.file, stop.line, stop.function) for stop in met]
        assert at[:3] == [*backward, ("train.py", 16, "<module>")]
        assert "def f(v)" in met[0].text
        assert "def g(v)" not in met[0].text
        assert "def g(v)" in met[1].text
        assert "def f(v)" not in met[1].text
        assert at[3:7] == [("train.py", 10, "f"), *backward, ("train.py", 17, "<module>")]
    run = (lambda x: mg.hessian(lambda v: v * v * v)(x), lambda x: mg.jvp(mg.exp, (x,), (1.0,)), mg.grad(mg.tanh))
    for transform in run:
        assert any(lines_of(lambda transform=transform: transform(0.5)))


def test_a_pass_of_no_operation():
    """A leaf has the gradient 1, under a debugger as well."""
    x = mg.Value(3.0)
    assert stepped(x) == []
    x.backward(step=True)
    assert x.grad == 2.0


def test_pdb_over_several_files(tmp_path, pythons):
    """A model in another file: `n` goes from file to file and stops nowhere else."""
    (tmp_path / "model.py").write_text(
        "import microgrid as mg\n\n\ndef f(w, x):\n    h = w * x\n    return mg.tanh(h)\n"
    )
    script = tmp_path / "train.py"
    script.write_text(
        "import microgrid as mg\nfrom model import f\n"
        "w = mg.Tensor([0.5, 0.1], requires_grad=True)\nx = mg.Tensor([2.0, 1.0])\n"
        "L = ((f(w, x) - 1) ** 2).sum()\nL.backward()\nprint('end')\n"
    )
    for python in pythons:
        met = stops(piped(script, "b 6;c;s;n;n;n;n;n", python=python))
        assert [(stop.file, stop.line) for stop in met[2:8]] == [
            *[("train.py", 5)] * 3, ("model.py", 6), ("model.py", 5), ("train.py", 7),
        ]  # fmt: skip


def test_node_breakpoint(tmp_path, pythons):
    """node.breakpoint() stops at the node, under pdb and with no debugger at all; step=True stops at the first."""
    script = tmp_path / "train.py"
    text = "import microgrid as mg\nx = mg.Value(3.0)\ny = x * x{}\nz = y + x\nz.backward({})\nprint('end', x.grad)\n"
    for python in pythons:
        script.write_text(text.format("\ny.breakpoint()", ""))
        for with_pdb, commands in ((True, "c;p g;s;p (g, x, y);c"), (False, "p g;s;p (g, x, y);c")):
            printed = piped(script, commands, python=python, pdb=with_pdb)
            met = stops(printed)[with_pdb:]
            assert [(stop.file, stop.line) for stop in met[:1]] == [("train.py", 3)], printed
            assert met[1].function == "wrt_x"
            assert "(1.0, 3.0, 3.0)" in met[1].text
            assert "end 7.0" in printed
        assert "end 7.0" in piped(script, "", python=python, pdb=False, MICROGRID_STEP="0")
        script.write_text(text.format("", "step=True"))
        printed = piped(script, "b 5;c;c;n;n;n", python=python)
        assert [stop.line for stop in stops(printed)[2:5]] == [4, 3, 6]


def test_pdb_attached_late(tmp_path, pythons):
    """After breakpoint(), with the engine imported before: `s` soon comes to a node, and then meets no plumbing."""
    script = tmp_path / "train.py"
    script.write_text(SCRIPT.replace("L.backward()", "breakpoint(); L.backward()"))
    for python in pythons:
        met = stops(piped(script, ";".join([*["s"] * 20, *["n"] * 4]), python=python, pdb=False))
        first = next(i for i, stop in enumerate(met) if stop.function == "backward" and stop.file == "train.py")
        after = [(stop.file, stop.function) for stop in met[first:]]
        assert first < 16
        assert set(after) <= {
            ("train.py", "backward"),
            ("rules.py", "wrt_x"),
            ("rules.py", "wrt_y"),
            ("train.py", "<module>"),
        }


def test_pdb_steps_forward_past_what_the_first_call_of_an_operation_needs(tmp_path, pythons):
    """`s` through a program's own lines meets them and rules: no imports, no code being made, no patterns compiled."""
    script = tmp_path / "train.py"
    script.write_text(
        "import numpy as np, microgrid as mg\nw = mg.Value(2.0)\nz = mg.sigmoid(w * 3.0) - mg.exp(w)\n"
        "T = mg.Tensor(np.ones((2, 3)), requires_grad=True)\nL = (T @ T.T).mean() + T.sum() / 2\nprint(L)\n"
    )
    for python in pythons:
        met = stops(piped(script, ";".join(["b 2", "c", *["s"] * 25, "q"]), python=python))
        assert {stop.file for stop in met} <= {"train.py", "rules.py"}
        assert 5 in {stop.line for stop in met if stop.file == "train.py"}


def test_pdb_and_the_engine_itself(script):
    """MICROGRID_STEP=0 leaves pdb as it is: `s` enters the engine."""
    met = stops(piped(script, "b 9;c;s", MICROGRID_STEP="0"))
    assert met[2].file == "graph.py"


# ------------------------------------------------------------------------------------------------------- real debugpy


def ends(editor):
    return editor.go() is None


@pytest.mark.debuggers
def test_debugpy_breakpoints(script):
    """justMyCode on: a line is met forward and backward, at each node; locals are node, g, inputs, contributions."""
    pytest.importorskip("debugpy")
    with Editor(script, {script: [6, 7]}) as editor:
        met = [editor.stopped()] + [editor.go() for _ in range(6)]
        assert met == [
            ("train.py", 6, "<module>"), ("train.py", 7, "<module>"), *[("train.py", 7, "backward")] * 4,
            ("train.py", 6, "backward"),
        ]  # fmt: skip
        found = editor.locals()
        assert {"node", "g", "inputs", "contributions"} <= found.keys()
        assert found["node"].startswith("Value(data=-6.0")
        assert found["contributions"].startswith("(<%3 as x: +=")
        assert editor.value("w.data") == "2.0"
        assert ends(editor)


@pytest.mark.debuggers
def test_debugpy_conditions_and_rules(script):
    """A breakpoint with a condition, and one in a rule, which the documented launch.json lets in."""
    pytest.importorskip("debugpy")
    rules = Path(mg.rules.__file__)
    line = mg.rules.multiply.wrt[1].__code__.co_firstlineno
    with Editor(
        script, {script: [(7, "'g' in locals() and g < -20")], rules: [(line, "'g' in locals() and x == 2")]},
        rules=[{"module": "microgrid", "include": True}],
    ) as editor:  # fmt: skip
        assert editor.stopped() == ("train.py", 7, "backward")
        assert editor.value("g").startswith("-23.967")
        assert editor.go() == ("rules.py", line, "wrt_y")
        assert editor.locals() == {"g": "-12.080873181052976", "z": "-6.0", "x": "2.0", "y": "-3.0"}
        assert ends(editor)


@pytest.mark.debuggers
def test_debugpy_steps(tmp_path, script):
    """With the engine left out, as where it is installed: step in, one step a node, over files, back to the user."""
    pytest.importorskip("debugpy")
    left_out = [{"module": "microgrid.rules", "include": True}, {"module": "microgrid", "include": False}]
    with Editor(script, {script: [9]}, rules=left_out) as editor:
        editor.stopped()
        met = [editor.go("stepIn")] + [editor.go("next") for _ in range(5)]
        assert met == [("train.py", line, "backward") for line in BACKWARD]
        assert editor.go("stepIn")[::2] == ("rules.py", "wrt_x")
        assert editor.go("stepOut") == ("train.py", 6, "backward")
        assert editor.go("next") == ("train.py", 9, "<module>")
        assert editor.go("next") == ("train.py", 10, "<module>")
    (tmp_path / "model.py").write_text("def f(w, x):\n    h = w * x\n    return h * h\n")
    script.write_text(
        SCRIPT.replace("import microgrid as mg\n\n", "import microgrid as mg\nfrom model import f\n").replace(
            "a * a", "f(a, z)"
        )
    )
    with Editor(script, {script: [9]}, rules=left_out) as editor:
        editor.stopped()
        met = [editor.go("stepIn")] + [editor.go("next") for _ in range(6)]
        assert met == [(file, line, "backward") for file, line in (
            ("model.py", 3), ("model.py", 2), *[("train.py", line) for line in BACKWARD[1:]],
        )]  # fmt: skip


@pytest.mark.debuggers
def test_debugpy_node_breakpoint(script):
    """node.breakpoint() stops in the editor, and MICROGRID_STEP=0 turns it off."""
    pytest.importorskip("debugpy")
    script.write_text(SCRIPT.replace("L.backward()", "z.breakpoint(); L.backward()"))
    with Editor(script, {}) as editor:
        assert editor.stopped() == ("train.py", 6, "backward")
        assert editor.value("g").startswith("-12.08")
        assert ends(editor)
    with Editor(script, {}, MICROGRID_STEP="0") as editor:
        assert editor.stopped() is None
