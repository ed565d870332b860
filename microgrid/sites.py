"""Where a node was made: the user's file, line and columns, kept as two machine words and resolved when asked for.

The user's frame is the innermost one whose module is not marked as machinery, that is, has no global
`__microgrid_machinery__ = True`. Users may mark modules of their own, so that sites point at their callers.
"""

from __future__ import annotations

import linecache
import os
import sys
import threading
import warnings
from itertools import islice
from types import CodeType, FrameType, TracebackType
from typing import Any, NamedTuple

__microgrid_machinery__ = True

MARK = "__microgrid_machinery__"
CALLERS = ("copy", "copyreg", "numpy", "pickle")  # what stands between the user and a protocol of ours


class Site(NamedTuple):
    """A place in a source file: lines count from 1, columns from 0 in UTF-8 bytes; None where Python keeps none."""

    file: str
    line: int
    end_line: int | None
    column: int | None
    end_column: int | None
    function: str

    def __str__(self) -> str:
        return f"{os.path.basename(self.file)}:{self.line}"

    @property
    def text(self) -> str:
        """The source line, without its indentation; empty where the source is not to be had."""
        return linecache.getline(self.file, self.line).strip()

    @property
    def expression(self) -> str:
        """The part of the source that made the node, on one line; the whole line where Python keeps no columns."""
        if self.column is None or self.end_column is None or self.end_line is None:
            return self.text
        lines = [linecache.getline(self.file, line).encode() for line in range(self.line, self.end_line + 1)]
        lines[-1] = lines[-1][: self.end_column]  # the last first: it may be the only one
        lines[0] = lines[0][self.column :]
        text = "\n".join(line.decode(errors="replace") for line in lines)
        return text.strip() if len(lines) == 1 else _on_one_line(text)


def _on_one_line(text: str) -> str:
    """An expression of several lines, without its line breaks and comments."""
    import ast  # here, since it takes a while to import

    try:
        return ast.unparse(ast.parse(f"({text}\n)", mode="eval"))
    except (SyntaxError, ValueError, RecursionError):  # it is a statement, or the file has changed
        return " ".join(text.split())


class _Switch:
    """Whether sites are recorded at all."""

    __slots__ = ("on",)  # every operation asks, and Python is quickest with such a field

    def __init__(self) -> None:
        self.on = True


switch = _Switch()


class record_sites:
    """Turn the recording of sites on or off, at once; as a context manager, until its end.

    Sites cost about a tenth of the time of a scalar operation. The switch is the process's, not a thread's.

    Examples
    --------
    >>> import microgrid as mg
    >>> with mg.record_sites(False):
    ...     z = mg.Value(2.0) * 3
    >>> z.site is None
    True
    """

    def __init__(self, on: bool = True) -> None:
        self._before = switch.on
        switch.on = bool(on)

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        switch.on = self._before


class _Caller(threading.local):
    """The user's frame that called into machinery which calls nothing of the user's: known once, for many nodes."""

    frame: FrameType | None = None


caller = _Caller()
users_faces: set[type] = set()  # the user's subclasses of nodes: their methods are called from within machinery


def user_frame(frame: FrameType) -> FrameType:
    """The innermost frame, from the given one outwards, that is not machinery."""
    if MARK in frame.f_globals and caller.frame is not None:
        return caller.frame
    while MARK in frame.f_globals:
        outer = frame.f_back  # asked for once: it makes an object
        if outer is None:
            break
        frame = outer
    return frame


def here() -> str:
    """The user's line that is being executed, as `train.py:41`."""
    frame = user_frame(sys._getframe(1))
    while frame.f_globals.get("__name__", "").partition(".")[0] in CALLERS and frame.f_back is not None:
        frame = user_frame(frame.f_back)
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}"


def warn_of_leaving(node: Any, function: str) -> None:
    """Warn, at the user's line, that a plain number made of a node is outside the graph; `math.exp(node)` makes one."""
    if node.requires_grad:
        frame = user_frame(sys._getframe(2))
        warnings.warn_explicit(
            f"{function}() of a {type(node).__name__} that requires a gradient drops out of the graph, as does "
            "math.exp(node): use microgrid's functions (mg.exp), or .item() where the plain number is meant",
            UserWarning,
            frame.f_code.co_filename,
            frame.f_lineno,
        )


def resolve(code: CodeType, instruction: int) -> Site:
    """The place of an instruction (a byte offset into the code)."""
    line, end_line, column, end_column = next(islice(code.co_positions(), instruction // 2, None), (None,) * 4)
    return Site(code.co_filename, line or code.co_firstlineno, end_line, column, end_column, code.co_name)
