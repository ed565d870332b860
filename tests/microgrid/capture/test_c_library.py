"""Compiled objects: none is loaded that another user may have made, and a compiler that fails is a warning."""

from __future__ import annotations

import functools
import multiprocessing
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgrid as mg
from microgrid.capture import c_library
from microgrid.capture.c_library import CompilerWarning, NoCompilerError

pytestmark = pytest.mark.compiler

SLOW = functools.partial(pytest.param, marks=pytest.mark.slow)
TEXT = "int number(void) { return %d; }\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A cache of the test's own, and nothing remembered from before."""
    monkeypatch.setenv("MICROGRID_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("CC", raising=False)
    forget(monkeypatch)
    yield tmp_path / "cache"
    c_library._version.cache_clear()


def forget(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, empty in (("_loaded", {}), ("_failed", {}), ("_warned", set())):
        monkeypatch.setattr(c_library, name, empty)
    c_library._version.cache_clear()


def number(n: int) -> int:
    found = c_library.load(TEXT % n).number()
    assert isinstance(found, int)
    return found


def objects(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"*{c_library.SUFFIX}"))


def compiler(tmp_path: Path, script: str) -> str:
    """A compiler that does what the script says."""
    path = tmp_path / "compiler"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return str(path)


def compiled_runs(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The calls of the compiler from here on."""
    runs: list[Any] = []
    run = c_library._run

    def counted(command: Any, folder: Any) -> str:
        if "--version" not in command:
            runs.append(command)
        return run(command, folder)

    monkeypatch.setattr(c_library, "_run", counted)
    return runs


# ------------------------------------------------------------------------------------------------------- the cache


def test_an_object_is_made_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a directory that is ours alone; another process (another memory) finds it there."""
    runs = compiled_runs(monkeypatch)
    assert number(3) == 3
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    (made,) = objects(folder)
    assert not made.stat().st_mode & 0o077
    assert [x.name for x in folder.iterdir()] == [made.name]
    assert number(3) == 3
    forget(monkeypatch)
    assert number(3) == 3
    assert len(runs) == 1
    assert number(4) == 4
    assert len(runs) == 2


def test_what_an_object_depends_on_is_in_its_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another processor, compiler, or other flags: another object."""
    number(1)
    monkeypatch.setattr(c_library, "processor", lambda: "another")
    number(1)
    monkeypatch.setattr(c_library, "FLAGS", (*c_library.FLAGS, "-DANOTHER"))
    number(1)
    monkeypatch.setenv("CC", "cc -DMORE")
    number(1)
    monkeypatch.setattr(c_library, "_version", lambda command: "another")
    number(1)
    monkeypatch.setattr(c_library._version, "cache_clear", lambda: None, raising=False)
    assert len({x.name.split(".")[0] for x in objects(folder)}) == 5


@pytest.mark.parametrize(
    "harm", ["changed", "a link", "writable by all", *map(SLOW, ("cut short", "empty", "a directory"))]
)
def test_a_harmed_object_is_not_loaded(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, harm: str
) -> None:
    """Its bytes are not what its name says, or another may have written them: it is made anew."""
    number(5)
    (made,) = objects(folder)
    whole = made.read_bytes()
    made.unlink()  # and so not the file that is mapped into this process
    if harm == "a link":
        elsewhere = tmp_path / "elsewhere"
        elsewhere.write_bytes(whole)
        made.symlink_to(elsewhere)
    elif harm == "a directory":
        made.mkdir()
        made = folder / "other"
    else:
        bytes_ = {"cut short": whole[:-100], "changed": whole.replace(b"\x05", b"\x06"), "empty": b""}.get(harm, whole)
        made.write_bytes(bytes_)
        made.chmod(0o666 if harm == "writable by all" else 0o600)
    forget(monkeypatch)
    runs = compiled_runs(monkeypatch)
    if harm == "a directory":  # which cannot be replaced: elsewhere then
        assert number(5) == 5
        return
    assert number(5) == 5
    assert len(runs) == 1
    (again,) = objects(folder)
    assert again.read_bytes() == whole
    assert not again.is_symlink()


@pytest.mark.parametrize(
    "harm",
    [
        "writable by all", "a link", "another's", "in a group's",
        *map(SLOW, ("by the group", "a file", "in an open one")),
    ],
)  # fmt: skip
def test_a_directory_that_is_not_ours_alone_is_not_used(
    folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, harm: str
) -> None:
    """Nothing is loaded from it, nothing written into it: a temporary directory of this process serves."""
    if harm == "a link":
        (tmp_path / "elsewhere").mkdir(mode=0o700)
        folder.symlink_to(tmp_path / "elsewhere")
    elif harm == "a file":
        folder.write_text("")
    elif harm == "in an open one":
        folder = opened(tmp_path, 0o777) / "cache"
        monkeypatch.setenv("MICROGRID_CACHE", str(folder))
    elif harm == "in a group's":
        monkeypatch.setattr(c_library, "_is_private", lambda group: False)
        folder = opened(tmp_path, 0o770) / "cache"
        monkeypatch.setenv("MICROGRID_CACHE", str(folder))
    else:
        folder.mkdir()
        folder.chmod({"writable by all": 0o777, "by the group": 0o770}.get(harm, 0o700))
    if harm == "another's":
        found = os.lstat
        other = list(found(folder))
        other[4] = os.getuid() + 1
        monkeypatch.setattr(os, "lstat", lambda p, **_: os.stat_result(other) if Path(p) == folder else found(p, **_))
    assert number(6) == 6
    assert c_library._cache() is None
    assert not folder.is_dir() or not list(folder.iterdir())
    monkeypatch.setattr(c_library, "_loaded", {})
    assert number(6) == 6


def opened(tmp_path: Path, mode: int) -> Path:
    """A directory that others may write to."""
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(mode)
    return tmp_path / "open"


@pytest.mark.skipif(sys.platform == "win32", reason="has no groups")
def test_a_group_of_one_is_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many systems give each user a group of that name, to which new directories are open."""
    import grp
    import pwd

    class Entry:
        pw_name = gr_name = "ada"
        pw_gid = 1000
        gr_mem: tuple[str, ...] = ()

    monkeypatch.setattr(pwd, "getpwuid", lambda user: Entry)
    monkeypatch.setattr(grp, "getgrgid", lambda group: Entry)
    assert c_library._is_private(1000)
    assert not c_library._is_private(1001)
    monkeypatch.setattr(Entry, "gr_mem", ("ada", "eve"))
    assert not c_library._is_private(1000)

    def unknown(user: int) -> None:
        raise KeyError(user)

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    assert not c_library._is_private(1000)


def test_without_a_cache_nothing_is_left_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Objects are made among the temporary files, and gone when they are loaded; unless others may write there."""
    monkeypatch.setenv("MICROGRID_CACHE", "/dev/null/cache")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    assert number(9) == 9
    assert not list((tmp_path / "temporary").iterdir())
    monkeypatch.setattr(tempfile, "tempdir", str(opened(tmp_path, 0o777)))
    with pytest.raises(NoCompilerError, match="another user may put another directory in the place of"):
        number(10)
    assert not list((tmp_path / "open").iterdir())


def test_an_object_of_another_user_is_not_loaded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    number(7)
    (made,) = objects(folder)
    found = os.lstat
    other = list(found(made))
    other[4] = os.getuid() + 1
    monkeypatch.setattr(os, "lstat", lambda p, **_: os.stat_result(other) if Path(p) == made else found(p, **_))
    forget(monkeypatch)
    runs = compiled_runs(monkeypatch)
    assert number(7) == 7
    assert len(runs) == 1


def test_where_the_cache_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MICROGRID_CACHE, else XDG_CACHE_HOME/microgrid where that is an absolute path, else ~/.cache/microgrid."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert c_library._cache() == tmp_path / "cache"
    monkeypatch.delenv("MICROGRID_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert c_library._cache() == tmp_path / "xdg" / "microgrid"
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert c_library._cache() == tmp_path / "home" / ".cache" / "microgrid"
    monkeypatch.setenv("MICROGRID_CACHE", "/dev/null/cache")
    assert c_library._cache() is None
    monkeypatch.delenv("MICROGRID_CACHE")
    monkeypatch.setenv("HOME", "relative")
    monkeypatch.chdir(tmp_path)
    assert c_library._cache() is None
    assert not (tmp_path / "relative").exists()


def test_the_directories_above_are_private_too(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Whatever the umask: else they would be open to others, and the cache in them not be used."""
    monkeypatch.setenv("MICROGRID_CACHE", str(tmp_path / "one" / "two" / "cache"))
    before = os.umask(0)
    try:
        found = c_library._cache()
    finally:
        os.umask(before)
    assert found == tmp_path / "one" / "two" / "cache"
    assert not stat.S_IMODE((tmp_path / "one").stat().st_mode) & 0o077


def test_the_cache_is_bounded(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was unused for longest goes; what a killed process left in the making, too."""
    number(1)
    (first,) = objects(folder)
    os.utime(first, (1, 1))
    left = folder / "making-left"
    left.mkdir()
    os.utime(left, (1, 1))
    fresh = folder / "making-fresh"
    fresh.mkdir()
    monkeypatch.setattr(c_library, "BOUND", first.stat().st_size * 5 // 2)
    number(2)
    assert len(objects(folder)) == 2
    assert not left.exists()
    assert fresh.exists()
    number(3)
    assert len(objects(folder)) == 2
    assert not first.exists()


def test_no_space_or_no_rights(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be kept is made in a temporary directory."""
    replace = os.replace

    def full(source: Any, target: Any) -> None:
        if Path(target).parent == folder:
            raise OSError(28, "No space left on device")
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert number(8) == 8
    assert not list(folder.iterdir())


def _loads(folder: str, start: Any, results: Any) -> None:
    os.environ["MICROGRID_CACHE"] = folder
    start.wait()
    results.put([number(n) for n in range(20, 24)])


@pytest.mark.slow
def test_two_processes_at_once(folder: Path) -> None:
    """Both get right objects, and one of each is left."""
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    start, results = context.Event(), context.Queue()
    processes = [context.Process(target=_loads, args=(str(folder), start, results)) for _ in range(3)]
    for process in processes:
        process.start()
    start.set()
    found = [results.get(timeout=60) for _ in processes]
    for process in processes:
        process.join()
    assert found == [[20, 21, 22, 23]] * 3
    assert len({x.name.split(".")[0] for x in objects(folder)}) == 4
    assert all(x.suffix == c_library.SUFFIX for x in folder.iterdir())


def test_two_threads_at_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    runs = compiled_runs(monkeypatch)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(number(30))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [30] * 4
    assert len(runs) == 1


# -------------------------------------------------------------------------------------------- compilers that fail


def trained() -> mg.Tensor:
    w = mg.Tensor([1.0, -2.0], requires_grad=True)
    step = mg.compile(lambda x: mg.sum(mg.exp(x * w)), backend="c")
    for _ in range(2):
        w.grad = None
        step(np.array([0.5, 1.0]))
    assert step.why == ""
    assert step.replays == 1
    np.testing.assert_allclose(w.grad, [0.5 * np.exp(0.5), np.exp(-2)], rtol=1e-14)
    assert "def replay" in step.source
    return w


AFTER = "case $* in *--version*) echo 1;; *) %s;; esac"
FAILING = {
    "missing": ("", "cannot be run"),
    "that fails": (AFTER % "echo 'x.c:1:1: error: no such thing' >&2; exit 1", "no such thing"),
    "that says nothing": (AFTER % "exit 3", "status 3"),
    "that is killed": (AFTER % "kill -9 $$", "signal 9"),
    "that makes nothing": ("echo 1", "no object"),
    "that makes no object": (AFTER % "echo nothing > replay.so", "load"),
    "without a version": ("exit 1", "status 1"),
}  # fmt: skip


COMMANDS = {
    'cc "': "CC is no command: No closing quotation",
    "$(touch harm)": r"the compiler \$\(touch cannot be run: it is not found",
    "cc;touch harm": "the compiler cc;touch cannot be run",
    "cc '-;touch harm'": "touch harm",
    "/dev/null": "/dev/null cannot be run",
}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_is_none(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell reads CC; what cannot be read as a command is a warning as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", command)
    with pytest.warns(CompilerWarning, match=COMMANDS[command]):
        trained()
    assert not list(tmp_path.rglob("harm*"))


def test_no_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.warns(CompilerWarning, match="the compiler cc cannot be run: it is not found"):
        trained()


def test_a_compiler_named_from_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is run in another directory, and warnings that it prints are of no interest."""
    compiler(tmp_path, 'echo "warning: error-prone" >&2; exec cc "$@"')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CC", "./compiler")
    assert number(41) == 41


def test_a_refused_program_is_not_the_end_of_the_compiler() -> None:
    """The next one may be taken; the same one is not tried again."""
    for _ in range(2):
        with pytest.raises(NoCompilerError, match="error"):
            c_library.load("#error no\n")
    assert number(42) == 42


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")  # which this is a test of
def test_a_child_forked_while_another_thread_compiles() -> None:
    """It does not wait for a thread that it does not have."""
    begun, done = threading.Event(), threading.Event()

    def hold() -> None:
        with c_library._lock:
            begun.set()
            done.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    begun.wait(60)
    child = os.fork()
    if not child:
        os._exit(0 if c_library._lock.acquire(blocking=False) else 1)
    status = os.waitpid(child, 0)[1]
    done.set()
    thread.join()
    assert os.waitstatus_to_exitcode(status) == 0


@pytest.mark.parametrize("name", FAILING)
def test_a_compiler_that_fails_is_one_warning(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why; NumPy does the work, and the compiler is not asked again."""
    script, reason = FAILING[name]
    monkeypatch.setenv("CC", compiler(tmp_path, script) if script else "no-such-compiler")
    with pytest.warns(CompilerWarning, match=reason) as warnings:
        trained()
    assert len(warnings) == 1
    assert issubclass(CompilerWarning, RuntimeWarning)
    assert Path(__file__).name in str(warnings[0].message)
    assert warnings[0].filename == __file__
    runs = compiled_runs(monkeypatch)
    trained()  # no second warning: warnings are errors here
    assert not runs


def test_a_compiler_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is ended with all that it started when its time is up."""
    monkeypatch.setattr(c_library, "PATIENCE", 0.3)
    child = tmp_path / "child"
    monkeypatch.setenv(
        "CC", compiler(tmp_path, f"case $* in *--version*) echo 1;; *) sleep 60 & echo $! > {child}; wait;; esac")
    )
    with pytest.warns(CompilerWarning, match=r"nothing within 0\.3 seconds"):
        trained()
    process = int(child.read_text())
    for _ in range(200):
        try:
            state = Path(f"/proc/{process}/stat").read_text().split()[2]
        except OSError:
            break
        if state == "Z":
            break
        time.sleep(0.01)
    else:
        raise AssertionError("the compiler's child still runs")


def test_what_a_compiler_says_is_not_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Flags in CC are used; the error is the compiler's own."""
    monkeypatch.setenv("CC", "cc -include /no/such/file.h")
    with pytest.raises(NoCompilerError, match=r"file\.h"):
        number(40)
