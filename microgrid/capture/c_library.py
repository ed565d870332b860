"""From C to a function: the compiler, and the private directory in which its objects are kept.

An object is code that runs with all the rights of who loads it. So a directory that another user owns or may write to
is not used, nor a file of that kind; an object is named by what it was made from (source, compiler, flags, processor)
and by the hash of its own content, which is checked before it is loaded. It comes into being under another name and is
renamed when it is whole: two processes that compile at once do the work twice, and neither sees half a file.

`MICROGRID_CACHE` names another directory; `CC` another compiler, with its flags.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import hashlib
import os
import platform
import shlex
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

__microgrid_machinery__ = True

PATIENCE = 60.0  # seconds for the compiler
BOUND = 64 << 20  # bytes of objects that are kept; the ones unused for longest go
# all that lets loops be vectorised and changes no number: errno and traps of floating-point errors are of no use here
FLAGS = (
    "-std=gnu11", "-shared", "-fPIC", "-O3", "-fopenmp-simd", "-fno-math-errno", "-fno-trapping-math",
    "-ffp-contract=off", "-fwrapv", "-w",
)  # fmt: skip
NATIVE = ("-march=native",)  # this processor's own instructions; without, where the compiler does not know it
WIDE = ("-mprefer-vector-width=512",)
SUFFIX = ".dylib" if sys.platform == "darwin" else ".so"


class NoCompilerError(Exception):
    """Why there is no object: no compiler, or one that failed."""


class RefusedError(NoCompilerError):
    """The compiler ran and gave no object of this program; of another it may."""


class CompilerWarning(RuntimeWarning):
    """C was asked for and cannot be had: NumPy is used."""


_lock = threading.RLock()
_loaded: dict[str, ctypes.CDLL] = {}  # by key: an object is loaded once
_failed: dict[Any, str] = {}  # by compiler, or by compiler and program: why it is not asked again


def _unlock() -> None:
    """In a forked child: whoever compiled in the parent does not here."""
    global _lock
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def load(text: str) -> ctypes.CDLL:
    """The object of a source: from memory, from the cache, or made now, one at a time: other threads wait.

    Raises
    ------
    NoCompilerError
        Where there is no compiler, or one that takes longer than a minute: it is then not asked again. Where it
        refuses this program, it is not asked for this one again.
    """
    with _lock:
        command = _command()
        known = _failed.get(command) or _failed.get((command, text))
        if known:
            raise NoCompilerError(known)
        try:
            version = _version(command)
            key = hashlib.sha256(repr((text, command, version, FLAGS, NATIVE, WIDE, processor())).encode()).hexdigest()[
                :32
            ]
            if key not in _loaded:
                _loaded[key] = _from_cache(key) or _made(key, text, command)
            return _loaded[key]
        except NoCompilerError as error:
            _failed[(command, text) if isinstance(error, RefusedError) else command] = str(error)
            raise


def warn(reason: str) -> None:
    """Say once why there is no C, at the user's line."""
    with _lock:
        if reason in _warned:
            return
        _warned.add(reason)
    from microgrid import sites

    frame = sites.user_frame(sys._getframe(1))
    message = f'compile: backend="c": {reason}; NumPy is used, at {sites.here()}'
    warnings.warn_explicit(message, CompilerWarning, frame.f_code.co_filename, frame.f_lineno)


_warned: set[str] = set()


# -------------------------------------------------------------------------------------------------------- compiler


@functools.cache
def processor() -> str:
    """What tells two processors apart for which the compiler writes different instructions."""
    with contextlib.suppress(OSError):
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
        lines = [
            x for x in text.splitlines() if x.startswith(("model", "vendor", "cpu family", "flags", "Features", "CPU"))
        ]
        if lines:
            return platform.machine() + "\n".join(lines)
    return f"{platform.machine()} {platform.processor()} {platform.node()}"  # where it cannot be told: this machine


def _command() -> tuple[str, ...]:
    """The compiler that CC names, or cc, with its flags; in full, since it is run in another directory."""
    try:
        words = shlex.split(os.environ.get("CC", "")) or ["cc"]
    except ValueError as error:
        raise NoCompilerError(f"CC is no command: {error}") from error
    found = shutil.which(words[0])
    if found is None:
        raise NoCompilerError(f"the compiler {words[0]} cannot be run: it is not found")
    return os.path.abspath(found), *words[1:]


@functools.cache
def _version(command: tuple[str, ...]) -> str:
    return _run([*command, "--version"], None)


def _run(command: Sequence[str], folder: Path | None) -> str:
    """What a command prints; it and all that it started end when the time is up."""
    environment = {**os.environ, "LC_ALL": "C"} | ({"TMPDIR": str(folder)} if folder else {})
    name = os.path.basename(command[0])
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=folder,
            env=environment, start_new_session=True, text=True, errors="replace",
        )  # fmt: skip
    except OSError as error:
        raise NoCompilerError(f"the compiler {name} cannot be run: {error.strerror or error}") from error
    with process:
        try:
            output, _ = process.communicate(timeout=PATIENCE)
        except BaseException as error:
            _end(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise NoCompilerError(f"the compiler {name} gave nothing within {PATIENCE:g} seconds") from error
            raise
    if process.returncode:
        said = next((line.strip() for line in output.splitlines() if "error" in line), output.strip().split("\n")[0])
        how = (
            f"ended with status {process.returncode}"
            if process.returncode > 0
            else f"was ended by signal {-process.returncode}"
        )
        raise RefusedError(f"the compiler {name} {how}" + (f": {said:.200}" if said else ""))
    return output


def _end(process: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)  # the compiler's own children too
        process.kill()
    with contextlib.suppress(Exception):
        process.communicate(timeout=1)


def _made(key: str, text: str, command: tuple[str, ...]) -> ctypes.CDLL:
    """Compile, keep the object where there is a place for it, load it."""
    problem: OSError | None = None
    for folder in dict.fromkeys((_cache(), None)):
        try:
            with _workshop(folder) as place:
                made = _compiled(text, command, place)
                if folder is None:
                    return ctypes.CDLL(str(made))  # what is loaded stays when its file goes
                name = folder / f"{key}.{_digest(made)}{SUFFIX}"
                os.chmod(made, 0o600)
                os.replace(made, name)
            _prune(folder, name)
            return ctypes.CDLL(str(name))
        except OSError as error:  # no space, no rights, or a disk from which nothing is run: in another folder then
            problem = error
    raise NoCompilerError(f"there is no private directory to compile in and load from: {problem}")


def _compiled(text: str, command: tuple[str, ...], place: Path) -> Path:
    source, made = place / "replay.c", place / f"replay{SUFFIX}"
    source.write_text(text, encoding="utf-8")
    for flags in (NATIVE + WIDE, NATIVE, ()):
        try:
            _run([*command, *FLAGS, *flags, source.name, "-o", made.name, "-lm"], place)
        except RefusedError as error:
            problem = error  # the last one is not about flags that we could do without
            continue
        if not made.is_file() or not made.stat().st_size:
            raise RefusedError(f"the compiler {os.path.basename(command[0])} gave no object")
        return made
    if not os.access(place, os.W_OK) or shutil.disk_usage(place).free < 1 << 20:
        raise OSError("no space")
    raise problem


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()[:32]


# ----------------------------------------------------------------------------------------------------------- cache


def _from_cache(key: str) -> ctypes.CDLL | None:
    folder = _cache()
    if folder is None:
        return None
    with contextlib.suppress(OSError):
        for path in sorted(folder.glob(f"{key}.*{SUFFIX}")):
            if not _is_ours(path, stat.S_ISREG):
                continue
            if path.name != f"{key}.{_digest(path)}{SUFFIX}":
                path.unlink()  # cut short, or changed
                continue
            os.utime(path)
            return ctypes.CDLL(str(path))
    return None


def _cache() -> Path | None:
    """The user's own directory of objects; None where there is none that is private."""
    named = os.environ.get("MICROGRID_CACHE")
    base = os.environ.get("XDG_CACHE_HOME", "")
    try:
        folder = (
            Path(named).expanduser()
            if named
            else (Path(base) if os.path.isabs(base) else Path.home() / ".cache") / "microgrid"
        )
        if not named and not folder.is_absolute():
            return None
        folder = Path(os.path.realpath(folder.parent)) / folder.name
        for place in (*reversed(folder.parents), folder):  # not mkdir(parents=True), which leaves parents open
            place.mkdir(mode=0o700, exist_ok=True)
        safe = _is_ours(folder, stat.S_ISDIR) and not any(map(_is_open, folder.parents))
        return folder if safe and os.access(folder, os.W_OK | os.X_OK) else None
    except (OSError, RuntimeError, ValueError):  # no home, no rights, a file in its place
        return None


def _is_ours(path: Path, kind: Any) -> bool:
    """Whether it is what it should be, no link, belongs to this user, and no other can write to it."""
    found = os.lstat(path)
    if not kind(found.st_mode):
        return False
    return not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)


def _is_open(folder: Path) -> bool:
    """Whether another user may put another directory in the place of one that stands in this."""
    if not hasattr(os, "getuid"):
        return False
    found = os.lstat(folder)
    others = found.st_mode & (0o002 if _is_private(found.st_gid) else 0o022)
    return found.st_uid not in (0, os.getuid()) or bool(others and not found.st_mode & stat.S_ISVTX)


def _is_private(group: int) -> bool:
    """Whether a group has this user alone in it, as many systems make one for each."""
    try:
        import grp
        import pwd

        user, found = pwd.getpwuid(os.getuid()), grp.getgrgid(group)
    except (ImportError, KeyError):
        return False
    return group == user.pw_gid and found.gr_name == user.pw_name and set(found.gr_mem) <= {user.pw_name}


@contextlib.contextmanager
def _workshop(folder: Path | None) -> Iterator[Path]:
    """A private directory to compile in: in the cache, or among the system's temporary files."""
    made = tempfile.mkdtemp(prefix="making-" if folder else "microgrid-", dir=folder)
    try:
        place = Path(os.path.realpath(made))
        if any(map(_is_open, place.parents)):
            raise OSError(f"another user may put another directory in the place of {place.parent}")
        yield place
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _prune(folder: Path, newest: Path) -> None:
    """Keep the objects within bounds, and remove what a process that was killed left behind."""
    import time

    with contextlib.suppress(OSError):
        found = []
        for entry in os.scandir(folder):
            with contextlib.suppress(OSError):
                said = entry.stat(follow_symlinks=False)
                if entry.name.startswith("making-") and said.st_mtime < time.time() - 3600:
                    shutil.rmtree(entry.path, ignore_errors=True)
                elif entry.name.endswith(SUFFIX) and entry.path != str(newest):
                    found.append((said.st_mtime, said.st_size, entry.path))
        room = BOUND - newest.stat().st_size
        for _, size, path in sorted(found, reverse=True):
            room -= size
            if room < 0:
                with contextlib.suppress(OSError):
                    os.unlink(path)
