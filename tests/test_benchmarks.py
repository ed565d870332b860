"""The benchmarks run (those that nobody runs rot), and refuse to time what is wrong. No test asserts a time."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

PROGRAM = Path(__file__).parent / "benchmarks" / "run.py"


@pytest.fixture
def benchmark_program() -> ModuleType:
    spec = importlib.util.spec_from_file_location("benchmark_program", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.slow
def test_each_workload_gives_a_ratio_for_the_engine() -> None:
    """All engines agree in loss and gradients on every workload, else the program stops with an error."""
    command = [sys.executable, "-W", "error", PROGRAM, "--quick"]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    rows = [line for line in run.stdout.splitlines() if line.startswith("  microgrid")]
    assert len(rows) == 3 * 4 + 2 * 3 + 2 + 1  # S1a S1b S3, T1 T4, memory, import
    assert not [row for row in rows if "absent" in row]


def test_nothing_is_timed_that_disagrees(benchmark_program: ModuleType) -> None:
    """A gradient off by 0.1 % in one entry of many ends the run."""

    class Told(benchmark_program.Worker):  # type: ignore[misc, name-defined]
        def __init__(self, label: str, answer: dict[str, object]) -> None:
            self.entrant, self.lacks = benchmark_program.Entrant(label, label), None
            self.ask = lambda command: answer

    right = Told("right", {"losses": [0.7, 0.6, 0.5], "gradients": [1.0, -2.0, 3.0]})
    wrong = Told("wrong", {"losses": [0.7, 0.6, 0.5], "gradients": [1.0, -2.0, 3.003]})
    assert benchmark_program.agreeing([right, right]) == [right, right]
    with pytest.raises(SystemExit, match=r"wrong: gradients are off by 8\.0e-04"):
        benchmark_program.agreeing([right, wrong])


def test_a_peer_that_is_not_installed_is_left_out(
    benchmark_program: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says what it lacks; the others are compared and timed without it."""
    (tmp_path / "torch.py").write_text("raise ModuleNotFoundError(name='torch')")
    monkeypatch.setitem(benchmark_program.ENVIRONMENT, "PYTHONPATH", str(tmp_path))
    there, absent = (
        benchmark_program.Worker("T1", benchmark_program.Entrant(name, name)) for name in ("closed_form", "torch")
    )
    assert benchmark_program.agreeing([there, absent]) == [there]
    assert (absent.lacks, absent.process.returncode) == ("torch", 0)
    there.close()
