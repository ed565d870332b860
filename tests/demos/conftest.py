"""Each demo is run once, in an empty folder; the tests look at what it found, printed and drew."""

import contextlib
import importlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest


class Shown(NamedTuple):
    result: Any
    printed: str
    folder: Path


@pytest.fixture(scope="session")
def shown(tmp_path_factory) -> Callable[[str], Shown]:
    """A demo's result, what it printed, and the folder that it wrote into."""
    runs: dict[str, Shown] = {}

    def show(name: str) -> Shown:
        if name not in runs:
            folder, printed = tmp_path_factory.mktemp(name), io.StringIO()
            with contextlib.chdir(folder), contextlib.redirect_stdout(printed):
                result = importlib.import_module(f"demos.{name}").main()
            runs[name] = Shown(result, printed.getvalue(), folder)
        return runs[name]

    return show
