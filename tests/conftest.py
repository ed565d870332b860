"""What the whole suite shares: which tests may be skipped, and hypothesis without surprises."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

collect_ignore = ["benchmarks"]  # programs, run by test_benchmarks.py

settings.register_profile("suite", deadline=None, derandomize=True)  # the same cases on every machine, however slow
settings.load_profile("suite")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--require",
        action="append",
        default=[],
        metavar="MARKER",
        help="fail, rather than skip, tests with this marker whose program or package is missing",
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    if item.get_closest_marker("dot") and shutil.which("dot") is None:
        pytest.skip("the program dot (Graphviz) is not installed")
    if item.get_closest_marker("compiler") and shutil.which("cc") is None:
        pytest.skip("no C compiler, cc, is installed")


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport, markers: list[str]) -> None:
    if report.skipped and markers and not hasattr(report, "wasxfail"):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"{report.nodeid}: --require {' '.join(markers)}, but it was skipped: {reason}"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    report = yield
    required = item.config.getoption("--require")
    _fail_if_skipped(report, [name for name in required if item.get_closest_marker(name)])
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    """A module skipped as a whole has no items that could bear a marker: its text names the markers it uses."""
    report = yield
    if report.skipped and isinstance(collector, pytest.Module):
        text = Path(collector.path).read_text(encoding="utf-8")
        required = collector.config.getoption("--require")
        _fail_if_skipped(report, [name for name in required if f"mark.{name}" in text])
    return report
