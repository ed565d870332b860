"""The benchmarks run (those that nobody runs rot), and refuse to time what is wrong. No test asserts a time."""

import importlib
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from microgrid import rules
from microgrid.rule import Rule

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "tests" / "benchmarks"
MODULES = sorted(path.stem for path in FOLDER.glob("*.py"))

ARRAYS = ("T1", "T2", "T3", "T4", "T1-tanh", "T1-deeper", "T1-mse", "T1-batches")
OTHERS = ("torch", "autograd", "scikit_learn")  # of the extra `oracles`
MORE = ("torch_compiled", "jax", "jax_scan", "numba", "tinygrad")


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimpleNamespace]:
    """The modules of the benchmarks, which are programs and find each other by their folder."""
    monkeypatch.syspath_prepend(FOLDER)
    before = {name: sys.modules.pop(name, None) for name in MODULES}
    names = ("measuring", "worker", "entrants", "goals", "report", "operations", "chains")
    yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    for name, module in before.items():
        sys.modules.pop(name, None)
        if module is not None:
            sys.modules[name] = module


def program(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", str(FOLDER / name), *arguments]
    return subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT)


# -------------------------------------------------------------------------------------------------- equality first


def disagreement(bench: SimpleNamespace, workload: str, reference: str, engine: str) -> str:
    """What the race would say of this engine; empty where it may be timed."""
    found = [bench.worker.checked(workload, name, ())[1] for name in (reference, engine)]
    return str(found[1].get("absent") or bench.measuring.why_not(found[1], found[0]))


@pytest.mark.parametrize("workload", ARRAYS)
@pytest.mark.parametrize("engine", ["tuned", "microgrid", "microgrid_compiled"])
def test_ours_agree_with_the_closed_form(bench: SimpleNamespace, workload: str, engine: str) -> None:
    """The chain rule gives what the notes' recursion gives, in losses and in every gradient of the first step."""
    assert disagreement(bench, workload, "closed_form", engine) == ""


def test_the_variants_of_t1_differ_from_it(bench: SimpleNamespace) -> None:
    losses = [bench.worker.checked(name, "closed_form", ())[1]["losses"] for name in ARRAYS]
    assert len({round(first, 6) for first, *_ in losses}) == len(ARRAYS)


@pytest.mark.parametrize("engine", ["microgrid", "microgrid_dot"])
def test_scalars_agree_with_micrograd(bench: SimpleNamespace, engine: str) -> None:
    assert disagreement(bench, "S3", "micrograd", engine) == ""


@pytest.mark.parametrize("workload", ["S2-chain", "S2-sum"])
def test_chains_agree_with_the_loop_by_hand(
    bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch, workload: str
) -> None:
    monkeypatch.setitem(bench.chains.SIZES, workload, 100)
    for engine in ("microgrid", "micrograd"):
        assert disagreement(bench, workload, "by_hand", engine) == ""


def test_micrograd_is_too_shallow_and_says_so(bench: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bench.chains.SIZES, "S2-chain", 3_000)
    assert "recursive" in disagreement(bench, "S2-chain", "by_hand", "micrograd")


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["S1a", "S1b"])
def test_larger_scalars_agree_with_micrograd(bench: SimpleNamespace, workload: str) -> None:
    for engine in ("microgrid", "microgrid_dot"):
        assert disagreement(bench, workload, "micrograd", engine) == ""


@pytest.mark.slow
@pytest.mark.parametrize("workload", ["S1a", "S1b", "S3"])
@pytest.mark.parametrize("engine", ["microgrid_python", "microgrid_levels"])
def test_compiled_scalars_agree_or_say_why_they_are_not_replayed(
    bench: SimpleNamespace, workload: str, engine: str
) -> None:
    wrong = disagreement(bench, workload, "microgrid", engine)
    assert wrong == "" or "mg.compile" in wrong or "not replayed" in wrong


def peers_agree(bench: SimpleNamespace, engines: tuple[str, ...], workloads: tuple[str, ...]) -> dict[str, str]:
    """Each in its own process: why it is absent, if it is."""
    reference = {workload: bench.worker.checked(workload, "closed_form", ())[1] for workload in workloads}
    absent = {}
    for engine in engines:
        worker = bench.measuring.Worker(bench.entrants.Entrant(engine, engine))
        for workload in workloads:
            found = worker.ask(f"check {workload}", 300)
            assert found is not None, f"{engine}, {workload}: {worker.absent}"
            if "absent" in found:
                absent[engine] = found["absent"]
            else:
                assert bench.measuring.why_not(found, reference[workload]) == "", (engine, workload)
        worker.close()
    return absent


@pytest.mark.oracles
def test_peers_agree(bench: SimpleNamespace) -> None:
    for module in ("torch", "autograd", "sklearn"):
        pytest.importorskip(module)
    assert peers_agree(bench, OTHERS, ARRAYS).keys() <= {"scikit_learn"}  # which has no squared error of a sigmoid


@pytest.mark.slow
def test_peers_that_compile_agree_or_say_why_they_are_absent(bench: SimpleNamespace) -> None:
    absent = peers_agree(bench, MORE, ("T1",))
    for engine, reason in absent.items():
        assert re.search("is not installed|needs the compiler|cannot compile", reason), (engine, reason)


def test_each_rule_has_its_operation(bench: SimpleNamespace) -> None:
    table = {name for name, rule in vars(rules).items() if isinstance(rule, type) and rule.__mro__[1:2] == (Rule,)}
    assert table == bench.operations.OPERATIONS.keys() | bench.operations.OF_VALUES


def test_each_operation_is_its_rule(bench: SimpleNamespace) -> None:
    """What the engine finds is what the rule alone gives on arrays, on one number and on many."""
    for name in bench.operations.OPERATIONS:
        for size in bench.operations.SIZES:
            assert disagreement(bench, f"{name}/{size}", "rule_alone", "microgrid") == "", (name, size)


@pytest.mark.oracles
def test_operations_agree_with_torch(bench: SimpleNamespace) -> None:
    pytest.importorskip("torch")
    for name in bench.operations.OPERATIONS:
        wrong = disagreement(bench, f"{name}/1000", "microgrid", "torch")
        assert wrong == ("torch has no such operation" if name == "scatter" else ""), name


# ------------------------------------------------------------------------------------------------------- the race


class Told:
    """A worker that answers what it is told to."""

    def __init__(self, bench: SimpleNamespace, label: str, *answers: Any) -> None:
        self.entrant, self.absent, self.failed = bench.entrants.Entrant(label, label), "", False
        self.answers = list(answers)

    def tell(self, command: str) -> None: ...

    def answer(self, patience: float = 0) -> Any:
        return self.answers.pop(0)

    def leave(self, reason: str, failed: bool = True) -> None:
        self.absent, self.failed = reason, failed


def test_what_disagrees_is_not_timed(bench: SimpleNamespace) -> None:
    """A gradient off by 0.1 % in one entry of many, a nan, or a gradient too few: each is out of the race."""
    right = {"losses": [0.7, 0.6, 0.5], "change": [1.0, -2.0, 3.0]}
    wrong = {
        "gradients are off by 8.0e-04": right | {"change": [1.0, -2.0, 3.003]},
        "gradients are off by inf": right | {"change": [1.0, -2.0]},
        "losses are off by nan": right | {"losses": [0.7, float("nan"), 0.5]},
    }
    workers = [Told(bench, name, answer) for name, answer in {"right": right, **wrong, "equal": right}.items()]
    assert bench.measuring.agreeing(workers, "T1") == [workers[0], workers[-1]]
    for worker, reason in zip(workers[1:-1], wrong, strict=True):
        assert reason in worker.absent
        assert worker.failed


FAKES = {
    "raise ModuleNotFoundError(name='torch')": ("torch is not installed", False),
    "raise RuntimeError('it broke')": ("it failed: RuntimeError: it broke", True),
    "import os; os._exit(3)": ("it failed: exit status 3", True),
    "import time; time.sleep(60)": ("it hangs: no answer within 10 s", True),
    "print('hello'); raise ModuleNotFoundError(name='torch')": ("torch is not installed", False),
}


@pytest.mark.slow
@pytest.mark.parametrize("code", FAKES)
def test_a_peer_that_is_absent_fails_or_hangs_is_named_and_the_others_go_on(
    bench: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    reason, failed = FAKES[code]
    (tmp_path / "torch.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(bench.measuring, "STARTING", 10.0)
    entrants = [bench.entrants.Entrant(name, name) for name in ("closed_form", "torch", "tuned")]
    times = bench.measuring.race("T1", entrants, rounds=2)
    assert times.absent == {"torch": (reason, failed)}
    assert times.wall.keys() == times.processors.keys() == {"closed_form", "tuned"}


# ------------------------------------------------------------------------------------------ goals, report, program


def results(bench: SimpleNamespace, ratio: float = 2.0) -> dict[str, Any]:
    """A run in which everybody was there."""
    row = {"ratio": ratio, "low": ratio, "high": ratio, "wall": 1e-3, "processors": 1e-3}
    return {
        "workloads": {
            name: {
                "title": workload.title,
                "against": workload.against,
                "speed": workload.speed,
                "entrants": [{"label": entrant.label, **row} for entrant in workload.entrants],
            }
            for name, workload in bench.entrants.WORKLOADS.items()
        },
        "operations": [{"operation": "add", "size": 1, "microgrid": 1e-6, "torch, eager": 4e-6}],
        "captures": {name: {bench.goals.COMPILED: 0.01, bench.goals.LEVELS: 0.1} for name in ("T1", "S1b")},
        "memory": {bench.goals.ON: 150.0},
        "imports": {"microgrid, on top of numpy": 0.008},
    }


def test_every_goal_finds_its_number(bench: SimpleNamespace) -> None:
    everything, nothing = results(bench), dict[str, Any]()
    for goal in bench.goals.GOALS:
        assert isinstance(goal.reached(everything), float), goal.what
        assert goal.verdict(goal.reached(nothing)) == "not measured"


def test_verdicts(bench: SimpleNamespace) -> None:
    less, more = bench.goals.Goal("", None, 0.5, 0.25), bench.goals.Goal("", None, 8, 12, more=True)
    assert [less.verdict(x) for x in (0.25, 0.3, 0.75)] == ["stretch met", "met", "missed by a factor 1.50"]
    assert [more.verdict(x) for x in (12, 8, 6)] == ["stretch met", "met", "missed by a factor 1.33"]


def test_the_readme_has_the_table_that_the_command_makes(bench: SimpleNamespace) -> None:
    """Its rows and columns, a number in each cell that the program fills; and the command stands beside it."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "make bench" in text
    made = bench.report.markdown(results(bench)).splitlines()
    found = [line for line in text.splitlines() if line in made[:2] or line.startswith("| **microgrid**")]
    start = text.splitlines().index(made[0])
    found = text.splitlines()[start : start + len(made)]
    for line, expected in zip(found, made, strict=True):
        cells, pattern = ([cell.strip() for cell in each.split("|")] for each in (line, expected))
        assert cells[:2] == pattern[:2]
        assert len(cells) == len(pattern)
        for cell, filled in zip(cells[2:], pattern[2:], strict=True):
            assert re.fullmatch(r"[\d,.]+|–", cell) if filled == "2.00" else cell == filled, line


@pytest.mark.slow
def test_a_part_of_the_program_runs(tmp_path: Path) -> None:
    """Tables, results and a picture; what another part measured before is kept."""
    (tmp_path / "bench.json").write_text(json.dumps({"imports": {"numpy": 0.1}}))
    run = program("run.py", "--quick", "--out", str(tmp_path), "S3")
    assert run.returncode == 0, run.stderr
    assert "one sample: times as fast as micrograd" in run.stdout
    assert "not measured" in run.stdout
    found = json.loads((tmp_path / "bench.json").read_text())
    assert found["imports"] == {"numpy": 0.1}
    rows = {row["label"]: row for row in found["workloads"]["S3"]["entrants"]}
    assert rows["microgrid"]["low"] <= rows["microgrid"]["ratio"] <= rows["microgrid"]["high"]
    assert (tmp_path / "bench.png").stat().st_size > 10_000
    table = program("run.py", "--markdown", "--out", str(tmp_path))
    assert table.stdout.startswith("| | T1 |")


def test_an_unknown_part_is_an_error() -> None:
    run = program("run.py", "T9")
    assert run.returncode == 2
    assert "unknown: T9; there are S1a" in run.stderr


def test_bytes_of_a_node_are_counted(bench: SimpleNamespace) -> None:
    """micrograd's nodes are several times as large."""
    sizes = [bench.worker.bytes_a_node(bench.worker.training_of("S3", name)) for name in ("microgrid", "micrograd")]
    assert 50 < sizes[0] < sizes[1] < 1_000


@pytest.mark.slow
def test_how_cost_grows_is_shown() -> None:
    run = program("scaling.py", "--quick")
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("exponent by work") == 4


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["microgrid", "microgrid_compiled"])
def test_a_hundred_thousand_steps_leave_nothing_behind(engine: str) -> None:
    """Neither containers nor blocks of memory: one forgotten in a hundred steps would make a thousand."""
    code = f"import scaling; print(*scaling.growth(scaling.{engine}, 100_000))"
    command = [sys.executable, "-W", "error", "-c", code]
    run = subprocess.run(command, check=False, capture_output=True, text=True, cwd=FOLDER)
    assert run.returncode == 0, run.stderr
    containers, blocks = map(int, run.stdout.split())
    assert containers < 50
    assert blocks < 500


# ------------------------------------------------------------------------------------------------- instructions


def test_the_profile_of_instructions_is_the_same_at_every_run() -> None:
    runs = [program("instructions.py", "S3", "microgrid", "--rows", "3") for _ in range(2)]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stderr
    assert runs[0].stdout == runs[1].stdout
    first, *rows = runs[0].stdout.splitlines()
    assert re.fullmatch(r"S3, microgrid: \d+ instructions in \d+ calls of one step", first)
    assert len(rows) == 3


def test_a_step_of_arrays_takes_few_calls() -> None:
    """Counted at 117 when the machinery was written; the time of small networks is in them."""
    run = program("instructions.py", "T1")
    calls = int(re.search(r"in (\d+) calls", run.stdout)[1])  # type: ignore[index]
    assert 30 < calls <= 140
