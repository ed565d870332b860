"""Where `--require MARKER` is given, nothing with that marker is quietly skipped (.ci/run relies on it)."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = {
    "test_in_a_test.py": """
        import pytest
        @pytest.mark.oracles
        def test_it():
            pytest.importorskip("a_package_that_is_not_there")
        """,
    "test_at_the_top.py": """
        import pytest
        peer = pytest.importorskip("a_package_that_is_not_there")
        @pytest.mark.oracles
        def test_it(): ...
        """,
    "test_of_a_drawing.py": """
        import pytest
        @pytest.mark.dot
        def test_it(): ...
        """,
    "test_of_another_kind.py": """
        import pytest
        def test_it():
            pytest.skip("never here")
        """,
}


def outcome(folder: Path, *arguments: str) -> str:
    """The last line of a run in that folder, on a machine whose PATH is empty, so without the program dot."""
    shutil.copy(Path(__file__).parent / "conftest.py", folder)
    (folder / "pytest.ini").write_text("[pytest]\nmarkers =\n  oracles: peers\n  dot: drawings\n")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    environment = os.environ | {"PATH": ""}
    run = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return run.stdout.splitlines()[-1]


@pytest.mark.parametrize(
    ("required", "summary"),
    [([], "4 skipped"), (["oracles"], "1 failed, 2 skipped, 1 error"), (["dot"], "3 skipped, 1 error")],
)
def test_what_is_required_fails_where_it_would_be_skipped(tmp_path: Path, required: list[str], summary: str) -> None:
    for name, text in MODULES.items():
        (tmp_path / name).write_text(text.replace("\n        ", "\n"))
    options = [word for marker in required for word in ("--require", marker)]
    assert outcome(tmp_path, "--continue-on-collection-errors", *options).startswith(summary)
