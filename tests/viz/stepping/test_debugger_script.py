"""`python -m viz debug`: a script runs as `python script.py` runs it, and its backward passes stop it."""

import linecache
import os
import subprocess
import sys
from pathlib import Path

import pytest

import microgrid as mg
from microgrid import pullback
from viz import __main__ as command
from viz.stepping import scripts

ROOT = Path(__file__).parents[3]

PASSES = """\
import sys
import microgrid as mg

w = mg.Value(1.0)
for i in range(3):
    loss = (w * (i + 1) - 2) ** 2
    w.zero_grad()
    loss.backward()
    print("pass", i, w.grad)
    w.data -= 0.1 * w.grad
"""
SAYS = """\
import os, sys
import beside
print(__name__, sys.argv, os.path.basename(__file__), os.path.basename(sys.path[0]), beside.X)
print(sys.modules["__main__"].__dict__ is globals(), __builtins__.len is len)
"""


@pytest.fixture
def run(tmp_path, monkeypatch, capfd):
    """Runs `python -m viz debug ...` in this process: (status, output, errors)."""
    for name in ("argv", "path"):
        monkeypatch.setattr(sys, name, list(getattr(sys, name)))
    monkeypatch.setitem(sys.modules, "__main__", sys.modules["__main__"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")

    def go(source: str, commands: str = "", *arguments: str, options: tuple[str, ...] = ()) -> tuple[int, str, str]:
        Path("script.py").write_text(source, encoding="utf-8")
        linecache.clearcache()  # another test's script.py
        Path("commands").write_text(commands.replace("; ", "\n") + "\n" * bool(commands), encoding="utf-8")
        with open("commands", encoding="utf-8") as stdin:
            monkeypatch.setattr(sys, "stdin", stdin)
            status = command.main(["debug", *options, "script.py", *arguments])
        out, errors = capfd.readouterr()
        return status, out, errors

    return go


def test_it_stops_at_the_first_pass_and_quit_ends_the_script(run):
    status, out, errors = run(PASSES, "p w.data; quit")
    assert status == 0
    assert "backward from loss: 3 steps" in out
    assert "(viz) p w.data\n1.0\n" in out
    assert "pass" not in out
    assert not errors


def test_the_end_of_the_input_is_quit(run):
    status, out, _ = run(PASSES, "step")
    assert status == 0
    assert "pass 0" not in out


def test_continue_at_the_end_goes_on_and_step_to_the_next_pass(run):
    """The gradients are those of the script alone: -2, then 0.8, ... as without the debugger."""
    _, out, _ = run(PASSES, "c; step; p w.grad; c; c")
    assert out.index("pass 0 -2.0") < out.index("pass 2, backward from loss: 3 steps") < out.index("pass 2 ")
    plain = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True,
                           env={**os.environ, "PYTHONPATH": str(ROOT)}).stdout  # fmt: skip
    assert [line for line in out.splitlines() if line.startswith("pass ") and "from" not in line] == plain.splitlines()


def test_expressions_that_exit_end_nothing(run):
    """As in pdb: `p sys.exit()` and a condition that exits are answered; `p exit()` closes the input, which ends."""
    status, out, _ = run(PASSES, "p sys.exit(3); b op:square if sys.exit(); c; p 7; q")
    assert "*** SystemExit: 3" in out
    assert "(viz) p 7\n7\n" in out
    status, out, errors = run(PASSES, "p exit(3); p 7")
    assert (status, errors) == (0, "")
    assert "*** SystemExit: 3" in out


@pytest.mark.parametrize("compiled", ["mg.compile", "lambda function: function"])
def test_every_pass_of_a_compiled_function_is_met(run, compiled):
    """A replay has no graph to be stepped over: under the debugger the function runs as it is written."""
    source = (
        f"import microgrid as mg\nw = mg.Value(1.0)\n@{compiled}\ndef loss(x):\n    return mg.exp(w * x)\n"
        "for i in range(4):\n    L = loss(0.5)\n    if not w.grad: L.backward()\n    w.zero_grad()\n"
    )
    status, out, errors = run(source, "b op:exp; c; c; c; c; c; c; c; c; c")
    assert (status, errors) == (0, "")
    assert out.count(": 2 steps") == 4


def test_no_frame_of_ours_in_what_was_raised_before(run):
    source = PASSES.replace("w.zero_grad()", "loss.register_hook(lambda g: g.x)")
    source = source.replace("    loss.backward()", "    try: loss.backward()\n    except Exception: raise KeyError")
    status, _, errors = run(source, "c")
    assert status == 1
    assert "in a hook of" in errors
    assert "During handling" in errors
    assert "viz" not in errors


def test_breakpoints_and_watches_stop_later_passes(run):
    _, out, _ = run(PASSES, "b op:square if tape.labels and i == 2; b op:power if i == 2; c; c; p i, w.data; q")
    assert "(viz) p i, w.data\n(2, " in out
    assert out.count("backward from") == 2


def test_a_breakpoint_for_what_is_not_finite_waits_for_it(run):
    source = PASSES.replace("(w * (i + 1) - 2) ** 2", "mg.sqrt(w * (i != 2))").replace("0.1 * w.grad", "0")
    _, out, _ = run(source, "b nonfinite; c; c; p i; q")
    assert "breakpoint 1, nonfinite: nowhere in this pass" in out
    assert "pass 3, backward from loss" in out
    assert "(viz) p i\n2\n" in out


def test_the_script_is_the_main_program(run):
    Path("beside.py").write_text("X = 5\n", encoding="utf-8")
    status, out, errors = run(SAYS, "", "one", "--two")
    assert out.splitlines()[0] == f"__main__ ['script.py', 'one', '--two'] script.py {os.path.basename(os.getcwd())} 5"
    assert out.splitlines()[1] == "True True"
    assert (status, errors) == (0, "script.py ran no backward pass\n")
    sys.modules.pop("beside")


@pytest.mark.parametrize(
    ("ends", "status", "told"),
    [
        ("sys.exit()", 0, ""),
        ("sys.exit(3)", 3, ""),
        ("sys.exit('sorry')", 1, "sorry\n"),
        ("raise ValueError('as asked')", 1, "ValueError: as asked\n"),
        ("raise KeyboardInterrupt", 130, "KeyboardInterrupt\n"),
        ("1 +", 1, "SyntaxError: invalid syntax\n"),
    ],
)
def test_the_exit_status_is_the_scripts(run, ends, status, told):
    found, _, errors = run(PASSES + ends + "\n", "c; c")
    assert found == status
    assert errors.endswith(told)
    assert "viz/" not in errors


def test_an_exception_in_the_backward_pass_is_the_scripts(run):
    source = "import microgrid as mg\nx = mg.Value(1.0)\ny = x * x\nx.data = 2.0\ny.backward()\n"
    status, _, errors = run(source)
    assert status == 1
    assert errors.splitlines()[1].strip() == 'File "script.py", line 5, in <module>'
    assert "StaleError" in errors


RAISES = """\
import microgrid as mg
class bad(mg.Rule):
    def value(x):          return x * 2
    def wrt_x(g, z, x):    raise RuntimeError("no derivative")
x = mg.Value(1.0)
y = mg.apply(bad, x) * 3
for i in range(2):
    try:
        y.backward()
    except RuntimeError as error:
        print("caught", i, error)
mg.grad(y, x)
"""


def test_a_pass_that_raises_opens_the_debugger_there(run):
    """At the first pass, after `continue` too, and in mg.grad; the traceback is the script's own."""
    status, out, errors = run(RAISES, "back; c; c; p y.data; c; c; c; c")
    assert status == 1
    told = "this raised RuntimeError: no derivative, while differentiating mg.apply(bad"
    assert " ".join(out.split()).count(told) == 6  # there, and at the end
    assert out.index("caught 0 no derivative") < out.index("(viz) p y.data\n6.0\n") < out.index("caught 1 no")
    lines = [line.strip() for line in errors.splitlines() if line.startswith("  File")]
    assert lines == ['File "script.py", line 12, in <module>', 'File "script.py", line 4, in wrt_x']
    assert "another exception" not in errors
    assert "while differentiating mg.apply(bad, x) at script.py:6 (bad)" in errors


@pytest.mark.parametrize(
    ("commands", "status", "told"),
    [("quit", 0, "begins\nfinally\nhandler\n"), ("", 0, "begins\nfinally\nhandler\n"), ("c; c", 0, "ends\n")],
)
def test_quit_leaves_a_script_that_catches_everything(tmp_path, commands, status, told):
    """`finally` and the handler run, and nothing after them; what is printed is not lost."""
    script = tmp_path / "script.py"
    script.write_text(
        "import microgrid as mg\nx = mg.Value(2.0)\nprint('begins')\nfor i in range(2):\n    try:\n        try:\n"
        "            (x * x).backward()\n        finally:\n            print('finally')\n"
        "    except BaseException:\n        print('handler')\n    x * 1\nprint('ends')\n"
    )
    call = [sys.executable, "-m", "viz", "debug", str(script)]
    done = subprocess.run(call, cwd=ROOT, input=commands.replace("; ", "\n") + "\n" * bool(commands),
                          capture_output=True, text=True, check=False)  # fmt: skip
    words = "".join(f"{line}\n" for line in done.stdout.splitlines() if line.isalpha())
    assert words.endswith(told)
    assert (done.returncode, done.stderr) == (status, "")


def test_quit_at_an_error_has_the_errors_status(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(RAISES)
    call = [sys.executable, "-m", "viz", "debug", str(script)]
    done = subprocess.run(call, cwd=ROOT, input="quit\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "caught 1" not in done.stdout


def test_commands_may_stand_on_the_command_line(run):
    _, out, _ = run(PASSES, "", options=("-c", "until op:multiply", "-c", "p g"))
    assert "(viz) until op:multiply\n" in out
    assert "(viz) p g\n-2.0\n" in out


def test_modules_run_too(run):
    run("", "c; c")
    os.mkdir("package")
    Path("package/__init__.py").touch()
    Path("package/main.py").write_text(PASSES, encoding="utf-8")
    with open("commands", encoding="utf-8") as stdin, pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "stdin", stdin)
        assert command.main(["debug", "-m", "package.main"]) == 0
    sys.modules.pop("package", None)


def test_a_saved_tape_is_walked_over(run, tmp_path, capfd, monkeypatch):
    x = mg.Value(3.0, name="x")
    mg.record(x * x).save(tmp_path / "tape.json")
    (tmp_path / "commands").write_text("paths x\n", encoding="utf-8")
    with open(tmp_path / "commands", encoding="utf-8") as stdin:
        monkeypatch.setattr(sys, "stdin", stdin)
        assert command.main(["debug", "tape.json"]) == 0
    assert "sum of 2 paths" in capfd.readouterr().out
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    assert command.main(["debug", "broken.json"]) == 1
    capfd.readouterr()
    told = subprocess.run([sys.executable, "-m", "viz", "debug", "broken.json"], capture_output=True, text=True,
                          env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)  # fmt: skip
    assert (told.returncode, told.stderr.count("\n")) == (1, 1)
    assert "broken.json is no tape" in told.stderr
    assert "runpy" not in told.stderr


@pytest.mark.parametrize(
    "call",
    [
        "mg.grad(L, [w])",
        "L.backward(inputs=[w])",
        "L.backward(create_graph=True)",
        "L.backward(1.0)",
        "mg.grad(L, [w], create_graph=True)",
    ],
)
def test_every_kind_of_pass_stops_and_gives_what_it_gives(run, call):
    """What the walk stores beside is taken back: the script finds what it would have found."""
    source = (
        "import microgrid as mg\nw, b = mg.Value(3.0), mg.Value(1.0)\nL = w * w + b\n"
        f"found = {call}\nprint('found', found, w.grad, b.grad, L._grad)\n"
    )
    status, out, _ = run(source, "c; c")
    assert status == 0
    assert "backward from L: 2 steps" in out
    plain = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True,
                           env={**os.environ, "PYTHONPATH": str(ROOT)}).stdout  # fmt: skip
    assert out.splitlines()[-1] == plain.splitlines()[-1]


def test_passes_of_other_threads_are_left_alone(run):
    source = (
        "import threading\nimport microgrid as mg\nx = mg.Value(2.0)\n"
        "t = threading.Thread(target=(x * x).backward, name='worker')\nt.start(); t.join()\nprint(x.grad)\n"
    )
    status, out, errors = run(source)
    assert (status, out) == (0, "4.0\n")
    assert errors == "script.py ran no backward pass in its main thread: viz.debug(loss) steps in worker\n"


def test_afterwards_nothing_is_left_behind():
    before = mg.Node.backward, mg.grad, pullback.Pullback.__call__
    with scripts.watched(lambda: False, lambda recording: None):
        assert mg.Node.backward is not before[0]
    assert (mg.Node.backward, mg.grad, pullback.Pullback.__call__) == before


def test_transforms_of_functions_stop_it_too(run):
    """mg.grad, of nodes and of functions, value_and_grad, vjp: each is a pass; what they give is as without it."""
    source = (
        "import microgrid as mg\ndef f(v):\n    y = v * v\n    return mg.exp(y)\nx = mg.Value(0.5)\nz = f(x)\n"
        "print(mg.grad(z, x), mg.grad(f)(0.5), mg.value_and_grad(f)(0.5), mg.vjp(f, 0.5)[1](2.0))\n"
        "print(mg.hessian(f)(0.5))\n"
    )
    status, out, errors = run(source, "p step.op; step 2; step; step 2; step; step 2; step; p g; c; c")
    plain = subprocess.run([sys.executable, "script.py"], capture_output=True, text=True, check=True,
                           env={**os.environ, "PYTHONPATH": str(ROOT)}).stdout  # fmt: skip
    assert (status, errors) == (0, "")
    assert out.count("step 1 of 2, script.py:4 in f") == 4
    assert "(viz) p g\n2.0\n" in out
    assert all(line in out for line in plain.splitlines())


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "COMMAND"),
        (["debug"], "SCRIPT"),
        (["debug", "nowhere.py"], "'nowhere.py' is no file"),
        (["dance"], "invalid choice"),
        (["dap", "--port", "70000"], "expected 0 to 65535"),
    ],
)
def test_a_command_line_that_means_nothing_is_status_2(capsys, arguments, told):
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert told in capsys.readouterr().err


def test_over_a_pipe(tmp_path):
    """As in a shell; a reader that goes away is no error of ours."""
    (tmp_path / "script.py").write_text(PASSES, encoding="utf-8")
    call = [sys.executable, "-m", "viz", "debug", str(tmp_path / "script.py")]
    done = subprocess.run(call, cwd=ROOT, input="until 2\nc\nc\n", capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "step 2 of 3" in done.stdout
    assert "\x1b" not in done.stdout
    gone = subprocess.Popen(call, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    gone.stdout.close()
    _, errors = gone.communicate(b"step\n" * 50)
    assert b"Traceback" not in errors
