"""The terminal debugger: every command and every alias, on a session that is read as a user reads it."""

import io
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg
import nn
import viz
from viz.stepping.recording import recorded
from viz.stepping.screen import columns
from viz.stepping.terminal import ALIASES, GROUPS, Terminal

ROOT = Path(__file__).parents[3]
STEPS = ["L", "%6", "a", "z", "%3"]  # of the pass below, newest first


def small() -> mg.Value:
    """L = a a + w with a = sigmoid(w x + b)."""
    w, x, b = mg.Value(0.5, name="w"), mg.Value(2.0, name="x"), mg.Value(-0.25, name="b")
    z = w * x + b
    a = mg.sigmoid(z)
    return a * a + w


def session(commands: str, loss: object = None, **options: object) -> str:
    """What a user sees who types these commands, separated by semicolons or lines."""
    if loss is None:
        w, x, b = mg.Value(0.5, name="w"), mg.Value(2.0, name="x"), mg.Value(-0.25, name="b")
        z = w * x + b
        a = mg.sigmoid(z)
        loss = a * a + w
        z.name, a.name, loss.name = "z", "a", "L"
    out = io.StringIO()
    viz.debug(loss, stdin=io.StringIO(commands.replace("; ", "\n") + "\n"), stdout=out, **options)
    assert "Traceback (" + "most" not in out.getvalue()
    return out.getvalue()


def answers(text: str) -> list[str]:
    """What stands after each command, its echo apart."""
    return [part.partition("\n")[2].strip("\n") for part in text.split("(viz) ")[1:]]


def answer(command: str, *before: str, **options: object) -> str:
    """What the last of these commands says."""
    return answers(session("\n".join([*before, command]), **options))[len(before)]


def joined(text: str) -> str:
    """The text with the lines that go on (two spaces further in) put together."""
    return re.sub(r"\n  (?! )", " ", text)


def at(text: str) -> int:
    """The step that the last stop stands at."""
    return int(re.findall(r"^step (\d+) of", text, re.M)[-1])


# ---------------------------------------------------------------------------------------------------- a stop


def test_a_stop_shows_the_steps_around_it_the_source_and_the_arithmetic():
    text = answer("until a")
    lines = text.splitlines()
    assert re.match(r"step 3 of 5, test_debugger.py:\d+ in session +operation +dL/dnode", lines[0])
    rows = [line for line in lines if re.match(r"(->|  ) +\d  ", line)]
    assert [int(row[2:].split()[0]) for row in rows] == [1, 2, 3, 4, 5]
    assert [row for row in rows if row.startswith("->")] == [rows[2]]
    source, carets = next((a, b) for a, b in pairwise(lines) if "^" in b)
    assert source[carets.index("^") : carets.rindex("^") + 1] == "mg.sigmoid(z)"
    assert "  sigmoid: z = 1 / (1 + e^-x)" in text
    assert "x = z = 0.75,  z = a = 0.679179,  g = dL/da = 1.35836" in text
    assert "dL/dz  +=  g * (z * (1 - z))  =  1.35836 * 0.217895  =  0.295979" in text


def test_a_share_that_is_added_shows_from_what_to_what():
    """a * a: the second share meets the first."""
    text = answer("until %6")
    assert "dL/da  +=  g * y  =  1 * 0.679179  =  0.679179\n" in text
    assert "dL/da  +=  g * x  =  1 * 0.679179  =  0.679179    (0.679179 -> 1.35836)" in text


def test_a_gradient_to_which_more_will_come_says_so():
    """After the first step w has its share of L, and %3 will give more."""
    assert "dL/dw = 1 so far" in answer("grads", "until z")
    assert "so far" not in answer("grads", "last", "continue")
    x = mg.Value(0.5, name="x")
    y = mg.sin(x)
    y.name = "y"
    rows = answer("step 2", loss=mg.exp(y) + y * 3).splitlines()
    assert next(row for row in rows if "y = mg.sin(x)" in row).endswith("3 so far")
    assert [row for row in rows if row.endswith("so far")] == [row for row in rows if "y = mg.sin(x)" in row]


def test_of_many_inputs_the_first_are_shown():
    text = answer("first", loss=mg.sum([mg.Value(float(i)) for i in range(20)]))
    assert text.count("+=") == 8
    assert "... and 12 more: p step.contributions" in text


def test_the_end_shows_the_gradients_of_the_leaves_which_are_stored():
    w = mg.Value(3.0, name="w")
    text = session("c", w * w)
    assert "end of the pass: every gradient of loss is complete\n  dloss/dw = 6\n" in text
    assert w.grad == 6.0


def test_arrays_are_told_by_shape_and_in_words():
    W = mg.Tensor(np.arange(6.0).reshape(3, 2), requires_grad=True, name="W")
    b = mg.Tensor(np.zeros(3), requires_grad=True, name="b")
    x = mg.Tensor(np.ones((4, 2)))
    loss = mg.mean(x @ W.T + b)
    text = answer("until op:add", loss=loss)
    assert "dloss/db   +=  g, summed over axis 0  =  (3,) [0.3333 0.3333 0.3333]" in text
    assert "(4, 3) within 0.08333" in text


def test_names_are_those_of_the_models_and_of_the_users_variables():
    model = nn.Sequential(nn.Linear(2, 1, rng=0))
    hidden = model(mg.Tensor([[1.0, 2.0]]))
    losses = [mg.mean(hidden)]
    out = io.StringIO()
    viz.debug(losses[0], stdin=io.StringIO("step\nc\n"), stdout=out)
    assert "backward from losses[0]: 2 steps" in out.getvalue()
    assert "hidden = model(mg.Tensor([[1.0, 2.0]]))" in out.getvalue()
    assert "dlosses[0]/d0.weight = (1, 2) [[1. 2.]]" in out.getvalue()


def test_the_gradients_are_those_of_backward():
    loss = small()
    order = mg.topological_order(loss)
    loss.backward()
    plain = [node._grad for node in order]
    for node in order:
        node.zero_grad()
    session("", loss)
    assert [node._grad for node in order] == plain


def test_a_gradient_may_be_given():
    x = mg.Tensor([1.0, 2.0], requires_grad=True)
    session("", x * x, gradient=np.array([1.0, 10.0]))
    np.testing.assert_array_equal(x.grad, [2.0, 40.0])


def test_a_leaf_has_no_steps():
    assert "end of the pass" in session("step; back; where", mg.Value(1.0))


# ---------------------------------------------------------------------------------------------------- moves


@pytest.mark.parametrize(
    ("commands", "place"),
    [
        ("step", 2), ("s", 2), ("step 3", 4), ("s 3", 4), ("next", 2), ("n", 2), ("n 2", 3),
        ("until a", 3), ("unt a", 3), ("until 4", 4), ("until op:sigmoid", 3), ("until %6", 2),
        ("jump 4", 4), ("j 4", 4), ("jump -1", 5), ("jump z", 4), ("last", 5), ("last; first", 1),
        ("last; back", 4), ("last; rs 2", 3), ("last; reverse-step", 4), ("last; rnext", 4), ("last; rn 2", 3),
        ("last; reverse-next", 4), ("last; rcontinue", 1), ("last; rc", 1), ("last; reverse-continue", 1),
        ("break a; continue", 3), ("b a; c", 3), ("b a; cont", 3), ("tbreak a; c", 3), ("tb a; c", 3),
        ("b a; last; rc", 3), ("b a; last; restart", 1), ("watch a; c", 3), ("watch a; last; rc", 2),
        ("step; ", 3), ("b a if g > 100; last; rc", 1), ("b op:multiply if x == 0.5; c", 5),
        ("b op:multiply, x == 0.5; c", 5), ("b a; ignore 1 1; last; rc", 1),
        ("b a; condition 1 g > 100; last; rc", 1), ("b a if 0; condition 1; c", 3), ("b a; clear 1; last; rc", 1),
        ("b a; clear; last; rc", 1), ("b nonfinite; last; rc", 1),
    ],
)  # fmt: skip
def test_moves(commands, place):
    assert at(session(commands)) == place


def test_every_alias_means_a_command_that_help_lists():
    listed = set(" ".join(GROUPS.values()).split())
    assert set(ALIASES.values()) <= listed
    own = {name.removeprefix("do_") for name in vars(Terminal) if name.startswith("do_")}
    assert own - {"EOF"} == listed


def test_lines_of_the_source_are_breakpoints():
    loss = small()
    line = loss.site.line
    for spec in (f"line {line}", f"{line}", f"test_debugger.py:{line}", f"{__file__}:{line}"):
        assert answer(f"break {spec}", loss=loss) == f"breakpoint 1, {spec}: steps 1, 2"


def test_modules_are_gone_over_and_broken_on():
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.Linear(3, 1, rng=0))
    loss = mg.mean(model(mg.Tensor([[1.0, 2.0]])) ** 2)
    assert answer("b module:0", loss=loss, params=model) == "breakpoint 1, module:0: step 5"
    assert "module 2" in answer("until module:2", loss=loss, params=model)


def test_breakpoints_are_listed_with_what_they_have_met():
    assert answer("b", "b a if g > 1", "tb z", "watch w", "c", "ignore 3 2") == (
        "  1  break  a if g > 1\n  2  tbreak z\n  3  watch  w, 2 more to ignore, hit 1 time"
    )
    assert "no breakpoints" in answer("b")


def test_a_watch_says_from_what_to_what():
    text = session("watch w; c; c; rc")
    assert re.findall(r"^watch 1: .*", text, re.M) == [
        "watch 1: w.grad changes in 2 steps",
        "watch 1: w.grad none -> 1",
        "watch 1: w.grad 1 -> 1.59196",
        "watch 1: w.grad 1.59196 -> 1 (undone)",
    ]


def test_a_condition_that_raises_stops_and_says_so():
    text = joined(session("b a if nothing; c"))
    assert "breakpoint 1, a; its condition `nothing` raised NameError: name 'nothing' is not defined" in text
    assert at(text) == 3


# ---------------------------------------------------------------------------------------------------- looking


def test_where_multiplies_the_local_derivatives_from_the_loss_down():
    lines = answer("where", "last").splitlines()
    a = 1 / (1 + np.exp(-0.75))
    local = [1, 1, a, a * (1 - a), 1]
    assert lines[0].startswith("from L to %3")
    for line, expected in zip(lines[1:6], np.cumprod(local), strict=True):
        assert float(line.split()[-1]) == pytest.approx(expected, rel=1e-5)
    assert lines[5].startswith("->")
    assert lines[6].strip() == "one of 2 paths; together dL/d%3 = 0.295979: paths %3"


def test_up_and_down_look_at_the_consumers_and_stay():
    text = session("until z; up; p node.name; up 9; up; p step.label; down 9; down; p g; where")
    parts = answers(text)
    assert parts[2] == "'a'"
    assert parts[4] == "*** this is the loss"
    assert parts[5] == "'L'"
    assert parts[7] == "*** this is the step where the pass stands"
    assert float(parts[8]) == pytest.approx(0.295979, rel=1e-5)


def test_list_shows_the_source_and_goes_on():
    loss = small()
    line = loss.site.line
    loss.inputs[0].inputs[0].inputs[0].name = "z"
    parts = answers(
        session(f"b z; list; list; list .; list {line}; list {line}, {line + 1}; l {line}, 1; list 99999", loss)
    )
    assert re.search(rf"^  -> +{line}  +return a \* a \+ w$", parts[1], re.M)
    assert re.search(rf"^   B +{line - 2}  ", parts[1], re.M)
    assert re.search(rf"^   \. +{line - 1}  ", parts[1], re.M)
    assert len(parts[1].splitlines()) == 11
    assert int(parts[2].split()[0]) == line + 6
    assert parts[3] == parts[4] == parts[1]
    assert [int(text.replace("->", "").split()[0]) for text in parts[5].splitlines()] == [line, line + 1]
    assert parts[6] == parts[5]
    assert re.match(r"\*\*\* test_debugger.py has \d+ lines", parts[7])


def test_source_shows_the_rule():
    assert "def wrt_x(g, z, x):             return g * (z * (1 - z))" in answer("source", "until a")
    assert "def wrt_y(g, z, x, y):          return g * x" in answer("source multiply")
    assert answer("source sigmoi").startswith("*** there is no rule sigmoi; there is sigmoid")


def test_print_has_the_step_the_rules_letters_the_gradients_and_the_users_variables():
    mine = 41
    w, x = mg.Value(0.5), mg.Value(2.0)
    product = w * x
    commands = "p mine + 1\np (g, z, x, y)\np step.op, node is product\np grads['product']\npp list(grads)\np w\n"
    out = io.StringIO()
    viz.debug(product, stdin=io.StringIO(commands), stdout=out)
    assert answers(out.getvalue())[:6] == [
        "42", "(1.0, 1.0, 0.5, 2.0)", "('multiply', True)", "1.0", "['product']", "Value(data=0.5, grad=2.0)",
    ]  # fmt: skip
    assert mine == 41


def test_grads_are_those_of_the_tape():
    assert answer("grads", "last").splitlines()[:3] == ["  dL/dL = 1", "  dL/dw = 1 so far", "  dL/da = 1.35836"]
    assert answer("grads all", "last").splitlines()[1] == "  dL/d%6 = 1"
    assert answer("grads a", "until a") == "  dL/da = 1.35836"
    assert answer("grads b", "until a") == "  dL/db = -"
    assert "no node is called q" in answer("grads q")


# ---------------------------------------------------------------------------------------------------- asking


def test_paths_are_the_products_whose_sum_is_the_gradient():
    text = answer("paths w")
    assert text.splitlines() == [
        "  L -> %6 -> a -> z -> %3 -> w",
        "      1 * 1 * 0.679179 * 0.217895 * 1 * 2  =  0.295979",
        "  L -> %6 -> a -> z -> %3 -> w",
        "      1 * 1 * 0.679179 * 0.217895 * 1 * 2  =  0.295979",
        "  L -> w",
        "      1 * 1  =  1",
        "  sum of 3 paths: dL/dw = 1.59196",
    ]
    assert answer("paths", "until a").splitlines()[-1] == "  sum of 2 paths: dL/da = 1.35836"


def test_check_holds_the_rule_against_differences():
    assert re.fullmatch(
        r"  sigmoid.wrt_x  rule 0\.29597\d\d, difference 0\.29597\d\d: agree", answer("check", "until a")
    )
    assert "kink: 0 on the left, 1 on the right" in answer("check", loss=mg.relu(mg.Value(0.0)))

    class Wrong(mg.Rule):
        def value(x):
            return x * x

        def wrt_x(g, z, x):
            return g * x

    assert "rule 3, difference 6: THEY DIFFER" in answer("check", loss=mg.apply(Wrong, mg.Value(3.0)))


def test_commands_from_a_file_cannot_move_the_cursor_of_a_terminal():
    text = session("\x1b[2J; p '\x1b]0;x'; b \x07")
    assert not {"\x1b", "\x07"} & set(text)


def test_a_page_is_opened_at_a_step_that_it_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("viz.stepping.stepper.MOST_STEPS", 3)
    assert "wrote a.html, which has steps 1 to 3, to be opened at a.html#3" in joined(session("last; html a.html"))


def test_pdb_steps_out_of_a_rule_past_its_own_plumbing():
    text = session("until a; pdb; s; s; s; p 'out again'")
    assert "bdb.py" not in text
    assert "(viz) p 'out again'\n" in text


def test_pictures_mark_the_node(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = session("until a; draw; draw a.dot; html; html b.html; html c.svg; draw d.xyz; draw")
    assert "wrote step-3.svg" in text
    svg = Path("step-3.svg").read_text(encoding="utf-8")
    (box,) = re.findall(r'<g class="node[^>]*>\n<title>([^<]*)(?:(?!</g>).)*>step 3 of 5<', svg, re.S)
    assert box.startswith("a = sigmoid")
    assert "stroke-width:4" in svg
    assert "step 3 of 5" in Path("a.dot").read_text(encoding="utf-8")
    assert "wrote step-3.html, to be opened at step-3.html#3" in text
    assert Path("step-3.html").read_text(encoding="utf-8").lower().startswith("<!doctype html>")
    assert "*** the page is written to a file that ends in .html, got c.svg" in text
    assert "*** 'd.xyz' ends in none of .svg" in text
    assert sorted(os.listdir()) == ["a.dot", "b.html", "step-3.html", "step-3.svg"]


def test_pdb_is_inside_the_rule():
    text = session("until a; pdb; p g, z, x; n; c; p 'back again'; until %3; pdb y; a; q; pdb q; first; until %3; p 1")
    assert "wrt_x()" in text
    assert re.search(r"\(Pdb\) p g, z, x\n\(1\.35\d+, 0\.679\d+, 0\.75\)", text)
    assert re.search(r"sigmoid.wrt_x gave 0\.29597\d+\n\(viz\) p 'back again'\n'back again'", text)
    assert "wrt_y()" in text
    assert "*** multiply has no derivative by q here; it has x, y" in text


# ---------------------------------------------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ("frobnicate", "there is no command frobnicate: `help` lists them, `p EXPR` prints"),
        ("stpe", "there is no command stpe: did you mean `step`?"),
        ("x = 3", "there is no command x"),
        ("!x", "there is no command"),
        ("step x", "expected a number of at least 1, got x"),
        ("step 0", "expected a number of at least 1, got 0"),
        ("step -1", "expected a number of at least 1, got -1"),
        ("back", "this is the first step"),
        ("rc", "this is the first step"),
        ("rnext", "this is the first step"),
        ("jump", "jump where? The pass has steps 1 to 5"),
        ("jump 6", "there is no step 6: the pass has steps 1 to 5"),
        ("jump 0", "there is no step 0: the pass has steps 1 to 5"),
        ("jump q", "no node is called q; there is"),
        ("until", "until what?"),
        ("until 1", "step 1 is here"),
        ("until b", "b has no step of its own; `watch b` stops where its gradient changes"),
        ("until 99", "there is no step 99"),
        ("break q", "no node is called q; there is"),
        ("break line 1", "no step of this pass was made at test_debugger.py:1; lines with steps: "),
        ("break op:exp", "no step of this pass is of the operation exp; there is add, multiply, sigmoid"),
        ("break module:m", "no step was made in a module m"),
        ("break a if", "a condition is missing after `if`"),
        ("break a if g >", "g > is no expression: invalid syntax"),
        ("tbreak", "break where?"),
        ("watch", "watch which node?"),
        ("watch q", "no node is called q; there is"),
        ("watch L", "no step changes the gradient of L"),
        ("clear 1", "there is no breakpoint 1"),
        ("condition 1 g", "there is no breakpoint 1"),
        ("ignore x", "there is no breakpoint x"),
        ("up", "this is the loss"),
        ("down", "this is the step where the pass stands"),
        ("list x", "expected numbers of lines, as in `list 5, 20`, got x"),
        ("p", "print what?"),
        ("p nothing", "NameError: name 'nothing' is not defined"),
        ("p 1 +", "1 + is no expression: invalid syntax"),
        ("pp 1/0", "ZeroDivisionError: division by zero"),
        ("paths q", "no node is called q; there is"),
        ("help me", "there is no command me: `help` lists them"),
        ("p [][1]", "IndexError: list index out of range"),
        ("p {}['k']", "k"),
    ],
)
def test_what_the_user_got_wrong_is_one_line(command, told):
    text = joined(answer(command))
    assert text.startswith("*** ")
    assert told in text
    assert "\n" not in text


@pytest.mark.parametrize(
    "command", ["step", "next", "where", "list", "check", "pdb", "up", "until a", "source", "p node"]
)
def test_at_the_end_of_the_pass_there_is_no_step(command):
    text = joined(answer(command, "last", "step"))
    assert text.startswith("*** ")
    assert "\n" not in text


def test_names_cannot_move_the_cursor():
    x = mg.Value(2.0, name="x\x1b[2J\ny")
    text = session("paths %0; grads; c", x * x)
    assert "\x1b" not in text
    assert "x␛[2J␊y" in text


@pytest.mark.parametrize("commands", ["", "step", "break a", "until"])
def test_the_end_of_the_input_quits(commands):
    assert session(commands).endswith("(viz) \n") or commands == ""


def test_what_is_no_node_is_refused():
    with pytest.raises(TypeError, match="expected a Value or a Tensor"):
        viz.debug(3.0, stdin=io.StringIO())  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not require grad"):
        viz.debug(mg.Tensor([1.0]), stdin=io.StringIO())
    with pytest.raises(TypeError, match="params: expected a model"):
        viz.debug(small(), params=3, stdin=io.StringIO())


def test_a_tape_is_walked_over_with_or_without_its_graph(tmp_path):
    tape = mg.record(small())
    tape.save(tmp_path / "tape.json")
    loaded = mg.Tape.load(tmp_path / "tape.json")
    text = session("until op:sigmoid; where; paths w; check; p g, z, x; pdb; c; draw x.svg", loaded)
    assert "sum of 3 paths: dL/dw = 1.59196" in text
    assert "agree" in text
    assert "a tape that was read from a file has no graph to draw" in text
    assert "sum of 3 paths" in session("paths w", tape)


def test_help_tells_of_each_command():
    overview = answer("help")
    assert all(len(line) <= 80 for line in overview.splitlines())
    for name in Terminal.commands():
        assert re.search(rf"\b{name}\b", overview)
        assert answer(f"help {name}").startswith(name)
    for alias, name in ALIASES.items():
        assert answer(f"help {alias}") == answer(f"help {name}")


# ---------------------------------------------------------------------------------------------------- streams


def test_an_empty_line_repeats_and_does_nothing_at_first():
    assert at(session("\n")) == 1
    assert at(session("step; ; ")) == 4


@pytest.mark.parametrize("stdin", [None, "closed"])
def test_without_an_input_the_program_goes_on(monkeypatch, capsys, stdin):
    file = io.StringIO()
    file.close()
    monkeypatch.setattr(sys, "stdin", None if stdin is None else file)
    viz.debug(small())
    assert capsys.readouterr().out.endswith("(viz) \n")


def test_commands_that_are_no_text_end_the_session():
    out = io.StringIO()
    viz.debug(small(), stdin=io.TextIOWrapper(io.BytesIO(b"step\n\xff\xfe\nstep\n"), encoding="utf-8"), stdout=out)
    assert "*** the commands are no text: 'utf-8' codec can't decode byte 0xff" in out.getvalue()


def test_the_width_is_that_of_the_environment(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    text = session("until a; where; paths w; check; last; help step")
    assert max(map(len, text.splitlines())) <= 66  # a line of `check` is not cut


CTRL_C = b"\x03"


def on_a_terminal(commands: list[bytes], *arguments: str, **environment: str) -> str:
    """A session over a pseudo-terminal: each command is typed when the prompt has come."""
    leader, follower = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "viz", "debug", *arguments], cwd=ROOT, stdin=follower, stdout=follower, stderr=follower,
        env={**os.environ, "TERM": "xterm", "PYTHONPATH": str(ROOT), **environment}, start_new_session=True,
    )  # fmt: skip
    os.close(follower)
    text, end = b"", time.monotonic() + 60
    waiting, command = list(commands), b""
    try:
        while time.monotonic() < end:
            if not select.select([leader], [], [], 0.5)[0]:
                if command == CTRL_C:  # Python may miss one that comes as it begins to read
                    process.send_signal(signal.SIGINT)
                continue
            try:
                more = os.read(leader, 65536)
            except OSError:  # closed: the process has ended
                break
            if not more:
                break
            text += more
            if waiting and text.replace(b"\x1b[?2004h", b"").endswith((b"(viz) ", b"(Pdb) ")):
                command = waiting.pop(0)
                if command == CTRL_C:  # which is a signal where the terminal controls the process
                    process.send_signal(signal.SIGINT)
                else:
                    os.write(leader, command)
                text += b"\0"  # the prompt is answered
    finally:
        process.kill()
        process.wait()
        os.close(leader)
    return text.replace(b"\0", b"").decode()


@pytest.mark.slow
def test_on_a_terminal_there_are_colours_and_control_characters_do_no_harm():
    """Ctrl-C gives the prompt again, Ctrl-D leaves; pdb takes over the terminal and gives it back."""
    text = on_a_terminal([b"until a1\n", CTRL_C, b"pdb\n", b"p g\n", b"q\n", b"p 1 + 1\n", b"\x04"], "demos/step.py")
    assert "\x1b[1m->" in text
    assert "--KeyboardInterrupt--" in text
    assert "-0.2700320347083696" in text
    assert re.search(r"^2\r$", text, re.M)
    assert "Traceback (" + "most" not in text


@pytest.mark.slow
def test_on_a_terminal_no_color_is_honoured():
    assert "\x1b[1m" not in on_a_terminal([b"q\n"], "demos/step.py", NO_COLOR="1")
    assert "\x1b[1m" not in on_a_terminal([b"q\n"], "demos/step.py", TERM="dumb")


# ---------------------------------------------------------------------------------------------------- other passes


class Fails(mg.Rule):
    def value(x):
        return x * 2

    def wrt_x(g, z, x):
        raise RuntimeError("no derivative for you")


def test_a_pass_that_raises_stops_where_it_does_and_raises_in_the_end():
    """The steps before are there; the error is the user's own, and stores nothing."""
    w = mg.Value(3.0, name="w")
    z = mg.apply(Fails, w + 1)
    out = io.StringIO()
    with pytest.raises(RuntimeError, match="no derivative for you") as error:
        viz.debug(z * z, stdin=io.StringIO("p z, step.index\nback\nc\nc\n"), stdout=out)
    text = joined(out.getvalue())
    assert "this raised RuntimeError: no derivative for you, while differentiating mg.apply(Fails, w + 1)" in text
    assert "(viz) p z, step.index\n(8.0, 1)\n" in text
    assert "here the pass ended, before anything was handed on" in text
    assert "the pass went no further: this raised RuntimeError" in text
    assert w.grad == 0.0
    assert len(error.value.__notes__) == 1
    assert [entry.name for entry in error.traceback if entry.path.name in ("tape.py", "recording.py")] == []


@pytest.mark.parametrize("of", ["leaf", "node"])
def test_a_hook_that_raises_stops_there_too(of):
    w = mg.Value(3.0, name="w")
    z = w * w
    (w if of == "leaf" else z).register_hook(lambda g: 1 / 0)
    out = io.StringIO()
    with pytest.raises(ZeroDivisionError):
        viz.debug(z * 2, stdin=io.StringIO("where\n"), stdout=out)
    assert "this raised ZeroDivisionError: division by zero" in out.getvalue()
    assert "step 2 of 2" in out.getvalue()


def test_what_earlier_passes_left_is_told_apart():
    """A watch, and the end, name the share of this pass and the sum."""
    w = mg.Value(3.0, name="w")
    (w * 5).backward()
    text = " ".join(session("watch w; c; c; rc; c; c", w * w * w).split())
    assert "watch 1: dloss/dw none -> 9 in this pass, w.grad 5 -> 14 with earlier ones" in text
    assert "watch 1: dloss/dw 9 -> 27 in this pass, w.grad 14 -> 32 with earlier ones" in text
    assert "watch 1: dloss/dw 27 -> 9 in this pass, w.grad 32 -> 14 with earlier ones (undone)" in text
    assert "dloss/dw = 27 with earlier passes w.grad = 32" in text
    assert w.grad == 32.0
    t = mg.Tensor([1.0, 2.0], requires_grad=True, name="t")
    for _ in range(2):
        text = session("c; c", (t * t).sum())
    assert "dloss/dt = (2,) [2. 4.]    with earlier passes t.grad = (2,) [4. 8.]" in text


def test_paths_of_a_tape_that_was_read(tmp_path):
    """Sums over broadcast axes too: the same numbers as before, and the true reason where a rule is not known."""
    x, b = mg.Tensor(np.arange(6.0).reshape(2, 3)), mg.Tensor([1.0, 2.0, 3.0], requires_grad=True, name="b")
    s = mg.Tensor([[0.5]], requires_grad=True, name="s")
    loss = ((x + b) * s).sum()
    tape = mg.record(loss)
    tape.save(tmp_path / "tape.json")
    loaded = mg.Tape.load(tmp_path / "tape.json")
    for name in ("b", "s"):
        assert session(f"paths {name}", loaded) == session(f"paths {name}", tape)
        assert "sum" in answer(f"paths {name}", loss=loaded) or "1 path" in answer(f"paths {name}", loss=loaded)
        assert "statistics" not in session(f"paths {name}", loaded)

    class Double(mg.Rule):
        def value(x):
            return x * 2

        def wrt_x(g, z, x):
            return g * 2

    tape = mg.record(mg.apply(Double, b).sum())
    tape.save(tmp_path / "tape.json")
    text = " ".join(answer("paths b", loss=mg.Tape.load(tmp_path / "tape.json")).split())
    assert "or was read from a file without this rule" in text


# ---------------------------------------------------------------------------------------------------- completion


@pytest.mark.parametrize(
    ("line", "text", "expected"),
    [
        ("b op:si", "si", ["sigmoid"]),
        ("break op:", "", ["add", "multiply", "sigmoid"]),
        ("until non", "non", ["nonfinite"]),
        ("tbreak a", "a", ["a"]),
        ("jump %", "", ["3", "6"]),
        ("watch ", "", ["w", "x", "b", "%3", "z", "a", "%6", "L"]),
        ("paths %6", "6", ["6"]),
        ("grads al", "al", ["all"]),
        ("grads w a", "a", ["all", "a"]),
        ("clear ", "", ["1", "2"]),
        ("condition 1 ste", "ste", ["step"]),
        ("ignore 2", "2", ["2"]),
        ("b z if ste", "ste", ["step"]),
        ("p step.ups", "step.ups", ["step.upstream"]),
        ("pp gra", "gra", ["grads"]),
        ("source sigm", "sigm", ["sigmoid"]),
        ("help rc", "rc", ["rcontinue"]),
        ("pdb ", "", ["x", "y"]),
        ("step ", "", []),
    ],
)
def test_every_command_completes_what_it_takes(line, text, expected):
    terminal = Terminal(io.StringIO("b z\nb a\n"), io.StringIO())
    w, x, b = mg.Value(0.5, name="w"), mg.Value(2.0, name="x"), mg.Value(-0.25, name="b")
    z = w * x + b
    a = mg.sigmoid(z)
    loss = a * a + w
    z.name, a.name, loss.name = "z", "a", "L"
    terminal.interact(recorded(loss, None, None, None))
    found = terminal.completedefault(text, line, len(line) - len(text), len(line))
    assert sorted(set(found)) == sorted(expected)


def test_lines_modules_and_files_complete(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    (tmp_path / "page.svg").touch()
    model = nn.MLP(2, [2, 1], rng=0)
    terminal = Terminal(io.StringIO(), io.StringIO())
    terminal.interact(recorded(model(mg.Tensor([[1.0, 2.0]])).sum(), None, model, None))

    def completed(line: str, text: str) -> list[str]:
        return terminal.completedefault(text, line, len(line) - len(text), len(line))

    assert sorted(completed("draw p", "p")) == ["page.svg", "pictures" + os.sep]
    assert "layers.0" in completed("b module:", "")
    assert all(text.isdecimal() for text in completed("b line ", ""))
    assert completed("b line ", "")
    name = Path(__file__).name
    assert any(text.startswith(f"{name}:") for text in completed("b ", ""))


# ---------------------------------------------------------------------------------------------------- small things


def test_where_nobody_can_type_a_page_is_named(monkeypatch, capsys):
    """A notebook that a program runs: a sentence, and the program goes on."""

    def refuses(prompt: str) -> str:
        raise NotImplementedError("raw_input was called, but this frontend does not support input requests.")

    monkeypatch.setattr("viz.stepping.terminal._someone_types", lambda: True)
    monkeypatch.setattr("builtins.input", refuses)
    w = mg.Value(3.0)
    viz.debug(w * w)
    text = joined(capsys.readouterr().out)
    assert "*** nobody can type here: viz.page(loss) shows the steps" in text
    assert w.grad == 6.0


def test_source_takes_an_expression():
    assert "def small" in answer("source small", loss=small())
    assert "class Value" in answer("source node", loss=small())
    assert "is not to be had" in answer("source len", loss=small())


def test_at_the_end_an_attribute_of_no_step_says_why():
    text = joined(answer("p step.label", "last", "step"))
    assert text.startswith("*** 'NoneType' object has no attribute 'label': this is the end of the pass, where step is")
    assert "Traceback" not in text


def test_draw_says_that_it_made_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert answer("draw new/deep/a.svg") == "wrote new/deep/a.svg (and made the folder new/deep)"
    assert answer("draw new/deep/b.svg") == "wrote new/deep/b.svg"


@pytest.mark.parametrize("width", [60, 72, 80, 100])
def test_no_line_is_wider_than_the_screen(width, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(width))
    a_name_that_is_longer_than_others = mg.Value(2.0)
    w = mg.Value(-3.0)
    z = a_name_that_is_longer_than_others * w * 123456.789 / mg.exp(w * 30)
    text = session(
        "watch w; c; c; where; paths w; check; grads; grads all; list; help; b nosuch; p 1/0; last; c", z * z
    )
    assert [line for line in text.splitlines() if columns(line) > width and line[:5] != "(viz)"] == []


def test_a_rule_of_the_users_without_words_has_none():
    assert "One operation" not in answer("first", loss=mg.apply(Quiet, mg.Value(1.0)))


class Quiet(mg.Rule):
    def value(x):
        return x * 2

    def wrt_x(g, z, x):
        return g * 2
