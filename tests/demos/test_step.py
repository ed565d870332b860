"""The net that is stepped through: by hand, in the terminal (the recorded session), and in pdb."""

import math
import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
DEMO = ROOT / "demos" / "step.py"
SESSION = ROOT / "demos" / "debug.txt"


def run(*arguments: str, commands: str = "") -> str:
    """What `python ...` prints for these commands on its input."""
    environment = {name: text for name, text in os.environ.items() if not name.startswith(("PYTHON", "MICROGRID"))}
    environment |= {"COLUMNS": "80", "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, *arguments],
        input=commands,
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert not done.stderr
    return done.stdout


def test_it_says_how_to_run_it_and_its_gradient_is_that_of_the_book():
    """dC/dw11 = (a - y) v1 a1 (1 - a1) x1: the closed form, A - Y carried back."""
    text = run(str(DEMO))

    def sigma(z: float) -> float:
        return 1 / (1 + math.exp(-z))

    a1, a2 = sigma(0.1 * 0.5 + 0.4 + 0.2), sigma(0.7 * 0.5 - 0.3 - 0.1)
    a = sigma(0.6 * a1 - 0.5 * a2 + 0.05)
    assert f"C = {-math.log(a):.6f}, dC/dw11 = {(a - 1) * 0.6 * a1 * (1 - a1) * 0.5:.6f}" in text
    line = next(n for n, text in enumerate(DEMO.read_text(encoding="utf-8").splitlines(), 1) if text == "C.backward()")
    assert f"python -m pdb demos/step.py         b {line}, c, s:" in text
    assert "python -m viz debug demos/step.py" in text


def test_the_recorded_session_replays_to_the_letter():
    """Its commands, typed again, give exactly its text."""
    command, _, text = SESSION.read_text(encoding="utf-8").partition("\n")
    commands = "".join(re.findall(r"^\(viz\) (.*\n)", text, re.M))
    assert commands.count("\n") > 10
    assert run(*command.removeprefix("$ python ").split(), commands=commands) == text


def test_pdb_walks_backward_through_its_lines():
    """`s` from the line of backward() to the first node, `n` node by node, `s` into a rule: with the numbers."""
    commands = "b 33\nc\ns\np g\nn\nn\nn\ns\np g, z, x\nr\n" + "n\n" * 5 + "where\nc\nq\n"
    text = run("-m", "pdb", str(DEMO), commands=commands)
    assert re.search(r"step\.py\(33\)<module>\(\)\n-> C\.backward\(\)", text)
    stops = [int(line) for line in re.findall(r"step\.py\((\d+)\)backward\(\)", text)]
    assert stops[:4] == [31] * 4
    assert stops == sorted(stops, reverse=True)
    assert 30 in stops or 29 in stops
    assert re.search(r"rules\.py\(\d+\)wrt_x\(\)\n-> def wrt_x\(g, z, x\): +return g / x", text)
    assert "(-0.0, -0.79838" in text
    assert "dC/dw11 = -0.030426" in text
