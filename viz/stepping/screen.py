"""Text for a terminal: as wide as it is, in colour where that is wanted, and a source line with a part underlined."""

from __future__ import annotations

import linecache
import os
import textwrap
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TextIO

from microgrid.sites import Site
from viz.words import visible

__microgrid_machinery__ = True

STYLES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "cyan": "36"}
WIDTH = 80  # where no terminal says otherwise
LINES = 6  # so many lines of an expression are shown


class Screen:
    """Where the text goes.

    Parameters
    ----------
    stream : text file
    environment : mapping of str to str, optional
        `NO_COLOR` (no-color.org) and `TERM=dumb` turn colours off, `COLUMNS` sets the width; `os.environ` by default.

    Attributes
    ----------
    width : int
        Columns.
    colours : bool
        Only where the stream is a terminal.
    """

    def __init__(self, stream: TextIO, environment: Mapping[str, str] | None = None) -> None:
        given = os.environ if environment is None else environment
        self.stream, self._columns = stream, given.get("COLUMNS", "")
        self.is_terminal = is_terminal(stream)
        self.colours = self.is_terminal and not given.get("NO_COLOR") and given.get("TERM") != "dumb"

    @property
    def width(self) -> int:
        """Columns, at least 40; a terminal may be resized."""
        columns = WIDTH
        if self._columns.isdecimal() and int(self._columns):
            columns = int(self._columns)
        elif self.is_terminal:
            try:
                columns = os.get_terminal_size(self.stream.fileno()).columns or WIDTH
            except OSError:
                columns = WIDTH
        return max(columns, 40)

    def paint(self, text: str, *styles: str) -> str:
        """The text in a style, if there are any here."""
        if not self.colours or not text:
            return text
        return f"\x1b[{';'.join(STYLES[style] for style in styles)}m{text}\x1b[0m"

    def wrapped(self, text: str, indent: str = "", *styles: str) -> None:
        """A text over as many lines as it takes, those after the first a bit further in."""
        for line in textwrap.wrap(
            text, self.width, initial_indent=indent, subsequent_indent=f"{indent}  ", break_on_hyphens=False
        ):
            self.print(self.paint(line, *styles))

    def print(self, text: str = "") -> None:
        """A line, or several; what the stream's encoding lacks is written as an escape."""
        encoding = getattr(self.stream, "encoding", None) or "utf-8"
        self.stream.write(text.encode(encoding, "backslashreplace").decode(encoding) + "\n")


def is_terminal(stream: Any) -> bool:
    """Whether a file is a terminal."""
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # no file, or a closed one
        return False


def columns(text: str) -> int:
    """How many columns of a terminal a text without tabs takes.

    Examples
    --------
    >>> columns("w"), columns("重み"), columns("e\u0301")
    (1, 4, 1)
    """
    if text.isascii():
        return len(text)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else not unicodedata.combining(c) for c in text)


def expanded(text: str) -> str:
    """The text with its tabs as spaces, by columns, and nothing that would move the terminal's cursor."""
    done = ""
    for position, part in enumerate(text.split("\t")):
        done += " " * (8 - columns(done) % 8) if position else ""
        done += visible(part)
    return done


def clip(text: str, width: int) -> str:
    """At most so many columns, an ellipsis of three dots for the rest.

    Examples
    --------
    >>> clip("sigmoid(w * x + b)", 12)
    'sigmoid(w...'
    """
    if columns(text) <= width:
        return text
    kept = ""
    for character in text:
        if columns(kept + character) > width - 3:
            break
        kept += character
    return kept + "..."[: max(width, 0)]


def fill(text: str, width: int) -> str:
    """Clipped, or padded with spaces, to exactly so many columns."""
    text = clip(text, width)
    return text + " " * (width - columns(text))


def excerpt(site: Site, screen: Screen, indent: str = "") -> Iterator[str]:
    """The lines of a place in the source, numbered, each with the expression underlined; nothing where there are none.

    Columns of a site count the bytes of UTF-8; a line that is too long is cut before and after the expression.
    """
    last = site.end_line or site.line
    numbers: Sequence[int] = range(site.line, last + 1)
    if len(numbers) > LINES:
        numbers = [*numbers[: LINES - 1], last]
    gutter = max(6, len(str(last)) + 2)
    previous = None
    for number in numbers:
        line = linecache.getline(site.file, number).rstrip("\r\n")
        if not line:
            continue
        if previous is not None and number > previous + 1:
            yield f"{indent}{'':{gutter}}  ..."
        previous = number
        begin, end = _span(site, number, line.encode())
        before, marked, after = (part.decode(errors="replace") for part in _cut(line.encode(), begin, end))
        text = expanded(before)
        start = columns(text)
        width = columns(expanded(before + marked)) - start
        text = expanded(before + marked + after)
        cut = 0
        room = screen.width - len(indent) - gutter - 2
        shared = len(text) - len(text.lstrip())
        if columns(text) > room and start > shared + 12 and start + width > room:
            cut = min(start - 12, columns(text) - room)
            text = "..." + _dropped(text, cut + 3)
        number_text = screen.paint(f"{number:{gutter}}", "dim")
        yield f"{indent}{number_text}  {clip(text, room)}"
        if width:
            shown = max(1, min(width, room - (start - cut)))
            yield f"{indent}{'':{gutter}}  {' ' * (start - cut)}{screen.paint('^' * shown, 'cyan')}"


def _span(site: Site, number: int, line: bytes) -> tuple[int, int]:
    """Where the expression begins and ends on one of its lines, in bytes."""
    if site.column is None or site.end_column is None:
        return 0, 0
    begin = site.column if number == site.line else len(line) - len(line.lstrip())
    end = site.end_column if number == (site.end_line or site.line) else len(line.rstrip())
    return begin, max(begin, end)


def _cut(line: bytes, begin: int, end: int) -> tuple[bytes, bytes, bytes]:
    return line[:begin], line[begin:end], line[end:]


def _dropped(text: str, width: int) -> str:
    """The text without its first columns."""
    gone = 0
    for position, character in enumerate(text):
        if gone >= width:
            return " " * (gone - width) + text[position:]
        gone += columns(character)
    return ""
