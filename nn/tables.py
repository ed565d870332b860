"""Tables in text files: numbers, classes, missing cells. Users find `read_csv` and `Table` in `nn.data`."""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
from nn.targets import Array

__microgrid_machinery__ = True

Names: TypeAlias = str | int | Sequence[str | int]

SEPARATORS = ",;\t|"
NA_VALUES = ("", "?", "NA", "N/A", "na", "n/a", "NaN", "nan", "NULL", "null", "None", "none")
MISSING = ("error", "drop", "mean", "keep")


@dataclass(frozen=True)
class Table:
    """What `read_csv` gives; unpacks as (X, Y, features, targets).

    Attributes
    ----------
    X : ndarray of shape (m, n)
        The features.
    Y : ndarray of shape (m, k), or of integers of shape (m,)
        The targets, a column each: the shape of a network's output. A single target of classes is one class index a
        sample, as `nn.CrossEntropyLoss` takes it.
    features, targets : list of str
        The names of the columns of X, and of the targets.
    classes : dict of str to list of str
        Of each target of classes, the names of the classes 0, 1, ...
    """

    X: NDArray[np.float64]
    Y: Array
    features: list[str]
    targets: list[str]
    classes: dict[str, list[str]] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Any]:
        return iter((self.X, self.Y, self.features, self.targets))


def read_csv(
    path: str | PathLike[str],
    target: Names,
    *,
    sep: str | None = None,
    header: bool = True,
    categorical: Names = (),
    missing: str = "error",
    na_values: str | float | Sequence[str | float] = NA_VALUES,
    encoding: str = "utf-8",
) -> Table:
    r"""Read a table: columns of numbers, and columns of classes.

    Parameters
    ----------
    path : str or path
        A text file; unpacked if compressed by gzip. Quoted cells may hold separators and line ends.
    target : str, int, or sequence of these
        The columns that become Y, by name or place (-1 is the last); all others become X. `()` for none. A target of
        numbers is a column of floats, (m, 1), even where they are labels such as the digits 0 to 9: name it in
        `categorical` as well to have class indices of shape (m,), as `CrossEntropyLoss` takes them.
    sep : str, optional
        The separator. If not given: of comma, semicolon, tab and bar that which the first line holds most often; or
        blanks, if it holds none of them and the next line has as many words.
    header : bool
        Whether the first line holds names. Without, the columns are called "0", "1", ...
    categorical : str, int, or sequence of these
        Columns of classes: among the features, each class becomes a column "name=class" of 0 and 1; among the targets,
        each cell becomes the index of its class. A target none of whose cells is a number is one in any case. The
        classes are sorted, as numbers if they are numbers; then cells of one number, such as 1 and 1.0, are one class.
    missing : {"error", "drop", "mean", "keep"}
        What to do about missing cells: refuse them, leave the row out, put in the mean of the column (of all rows, the
        later test part among them), or nan for you to fill. A missing target is never made up: only "drop" takes it.
    na_values : str, number, or sequence of these
        What a missing cell holds, in place of the common ways to say so; an empty cell is always missing. A number
        stands for all its spellings, -9 for -9.0 too; text for that very text.
    encoding : str
        Of the text.

    Returns
    -------
    Table
        X, Y, features, targets, classes.

    Raises
    ------
    ValueError
        For an empty or damaged file, another encoding, a missing or repeated column name, a row of another length, and
        a cell that is missing or no finite number; with line and column.
    TypeError
        If the path is none, or an argument is of another type.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "flowers.csv")
    ...     _ = path.write_text("height,weight,kind\n1.5,50,rose\n2.0,90,iris\n")
    ...     table = read_csv(path, target="kind")
    >>> table.X.tolist(), table.Y.tolist(), table.features, table.classes
    ([[1.5, 50.0], [2.0, 90.0]], [1, 0], ['height', 'weight'], {'kind': ['iris', 'rose']})
    >>> X, Y, *names = table

    Numbers that are labels:

    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "digits.csv")
    ...     _ = path.write_text("ink,digit\n0.5,7\n0.1,1\n")
    ...     read_csv(path, "digit").Y.tolist(), read_csv(path, "digit", categorical="digit").Y.tolist()
    ([[7.0], [1.0]], [1, 0])
    """
    if not isinstance(path, str | PathLike):
        raise TypeError(f"path: expected the path of a file, got {path!r:.60}, at {mg.sites.here()}")
    if not isinstance(header, bool):
        raise TypeError(
            f"header: expected True (the first line holds names) or False, got {header!r}, at {mg.sites.here()}"
        )
    if missing not in MISSING:
        raise ValueError(f"missing: expected one of {', '.join(MISSING)}, got {missing!r}, at {mg.sites.here()}")
    names, rows = _rows(path, _text(path, encoding), sep, header)
    targets, classed = _places(path, names, "target", target), _places(path, names, "categorical", categorical)
    absent = _absent(na_values)
    lacking = [[absent(cell) for cell in row.cells] for row in rows]
    if missing == "drop":
        rows = [row for row, cells in zip(rows, lacking, strict=True) if not any(cells)]
    if not rows:
        raise ValueError(f"{path}: no rows below the header, or all have missing cells, at {mg.sites.here()}")
    columns = [
        _Column(path, name, [row.line for row in rows], [row.cells[place] for row in rows], absent)
        for place, name in enumerate(names)
    ]
    features = [place for place in range(len(names)) if place not in targets]
    X, wide_names = _features([(columns[place], place in classed) for place in features], missing, len(rows))
    Y, classes = _targets([(columns[place], place in classed) for place in targets], len(rows))
    return Table(X, Y, wide_names, [names[place] for place in targets], classes)


# The file


class _Row(NamedTuple):
    line: int
    cells: list[str]


def _text(path: str | PathLike[str], encoding: str) -> str:
    """The text of the file, without the mark that some programs put before it."""
    content = Path(path).read_bytes()
    if content.startswith(b"\x1f\x8b"):
        try:
            content = gzip.decompress(content)
        except (OSError, EOFError, zlib.error) as error:
            raise ValueError(f"{path}: the gzip file is damaged: {error}, at {mg.sites.here()}") from error
    if not isinstance(encoding, str):
        raise TypeError(f"encoding: expected a name such as 'utf-8', got {encoding!r}, at {mg.sites.here()}")
    try:
        return content.decode(encoding).removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise ValueError(
            f"{path}, line {line}: no text in {encoding}: {error.reason}; say which it is, "
            f'as in encoding="latin-1", at {mg.sites.here()}'
        ) from None
    except LookupError:
        raise ValueError(f"encoding: there is none called {encoding!r}, at {mg.sites.here()}") from None


def _rows(path: str | PathLike[str], text: str, sep: str | None, header: bool) -> tuple[list[str], list[_Row]]:
    """The names of the columns, and the rows below, all of one length."""
    if sep is None:
        first_line = re.sub(r'"[^"]*"', "", text).lstrip().partition("\n")[0]
        sep = max(SEPARATORS, key=first_line.count)
        if sep not in first_line and _in_words(text):
            sep, text = " ", re.sub(r"[ \t]+$", "", text, flags=re.MULTILINE)
    elif not isinstance(sep, str) or len(sep) != 1 or sep in '"\r\n':
        raise ValueError(f"sep: expected one character, got {sep!r}, at {mg.sites.here()}")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=sep, skipinitialspace=True, strict=True)
    try:
        # `line_num` counts the lines within quoted cells too; a blank line has no cells.
        rows = [_Row(reader.line_num, [cell.strip() for cell in cells]) for cells in reader if cells]
    except csv.Error as error:
        raise ValueError(f"{path}, line {reader.line_num}: {error}, at {mg.sites.here()}") from None
    if not rows:
        expected = "a header row" if header else "rows"
        raise ValueError(f"{path}: the file is empty, expected {expected}, at {mg.sites.here()}")
    names = rows.pop(0).cells if header else [str(place) for place in range(len(rows[0].cells))]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ValueError(f"{path}, line 1: column {repeated[0]!r} stands there twice, at {mg.sites.here()}")
    for line, cells in rows:
        if len(cells) != len(names):
            raise ValueError(
                f"{path}, line {line}: {len(cells)} cells, expected {len(names)} (separated by {sep!r}), "
                f"at {mg.sites.here()}"
            )
    if not rows:
        raise ValueError(f"{path}: no rows below the header, at {mg.sites.here()}")
    return names, rows


def _in_words(text: str) -> bool:
    """Whether the first two lines are as many words each, and more than one."""
    counts = [len(re.sub(r'"[^"]*"', "word", line).split()) for line in text.splitlines() if line.strip()][:2]
    return min(counts, default=0) > 1 and len(set(counts)) == 1


def _absent(na_values: str | float | Sequence[str | float]) -> Callable[[str], bool]:
    """Whether a cell is missing."""
    values: Any = [na_values] if _is_cell(na_values) else na_values
    listed = isinstance(values, Sequence | set | frozenset | np.ndarray) and not isinstance(values, bytes)
    if not listed or not all(map(_is_cell, values)):
        raise TypeError(
            f"na_values: expected text, numbers or a list of these, got {na_values!r}, at {mg.sites.here()}"
        )
    texts = {"", *(value.strip() for value in values if isinstance(value, str))}
    numbers = {float(value) for value in values if not isinstance(value, str)}
    return (lambda cell: cell in texts or _number(cell) in numbers) if numbers else texts.__contains__


def _is_cell(value: object) -> bool:
    return isinstance(value, str | int | float | np.integer | np.floating) and not isinstance(value, bool)


def _places(path: str | PathLike[str], names: list[str], role: str, given: Names) -> list[int]:
    """The places of columns that were given by name or place, in the order asked for."""
    asked = list(given) if isinstance(given, Sequence | np.ndarray) and not isinstance(given, str) else [given]
    places = []
    for column in asked:
        if isinstance(column, bool) or not isinstance(column, str | int | np.integer):
            raise TypeError(
                f"{role}: expected names or places of columns, () for none, got {given!r}, at {mg.sites.here()}"
            )
        if isinstance(column, str) and column in names:
            places.append(names.index(column))
        elif not isinstance(column, str) and -len(names) <= column < len(names):
            places.append(int(column) % len(names))
        else:
            raise ValueError(f"{path}, line 1: no column {column!r}, only {', '.join(names)}, at {mg.sites.here()}")
    if len(set(places)) < len(places):
        raise ValueError(f"{path}: a column is asked for twice: {asked}, at {mg.sites.here()}")
    return places


# The columns


@dataclass(frozen=True)
class _Column:
    """One column of cells."""

    path: str | PathLike[str]
    name: str
    lines: list[int]
    cells: list[str]
    absent: Callable[[str], bool]

    def numbers(self) -> NDArray[np.float64]:
        """Each cell as a number; nan where it is missing."""
        numbers = [math.nan if self.absent(cell) else _number(cell) for cell in self.cells]
        for row, number in enumerate(numbers):
            if number is None or math.isinf(number):
                self.refuse(row, f"{self.cells[row]!r} is no finite number (classes? categorical={self.name!r})")
        return np.array(numbers, dtype=np.float64)

    def indices(self) -> tuple[NDArray[np.float64], list[str]]:
        """The index of each cell's class, nan where it is missing; and the classes."""
        found = sorted({cell for cell in self.cells if not self.absent(cell)})
        numbers = {cell: _number(cell) for cell in found}
        numeric = None not in numbers.values()
        key: dict[str, Any] = dict(numbers) if numeric else {cell: cell for cell in found}
        classes: dict[Any, str] = {}  # of each number its first spelling: "1" of "1" and "1.0"
        for cell in found:
            classes.setdefault(key[cell], cell)
        place = {each: float(index) for index, each in enumerate(sorted(classes))}
        indices = [place[key[cell]] if cell in key else math.nan for cell in self.cells]
        return np.array(indices), [classes[each] for each in sorted(classes)]

    def is_text(self) -> bool:
        """Whether no cell is a number."""
        found = [cell for cell in self.cells if not self.absent(cell)]
        return bool(found) and all(_number(cell) is None for cell in found)

    def refuse_missing(self, remedy: str) -> None:
        for row, cell in enumerate(self.cells):
            if self.absent(cell):
                self.refuse(row, f"{f'{cell!r} is no finite number' if cell else 'the cell is empty'} ({remedy})")

    def refuse(self, row: int, fault: str) -> None:
        raise ValueError(f"{self.path}, line {self.lines[row]}, column {self.name!r}: {fault}, at {mg.sites.here()}")


def _number(cell: str) -> float | None:
    """The number, or None: `float` would take "2024_01" as well, and "nan"."""
    try:
        number = math.nan if "_" in cell else float(cell)
    except ValueError:
        return None
    return None if math.isnan(number) else number


def _features(columns: list[tuple[_Column, bool]], missing: str, m: int) -> tuple[NDArray[np.float64], list[str]]:
    """X and the names of its columns, several of them for a column of classes."""
    arrays, names = [], []
    for column, classed in columns:
        if missing == "error":
            column.refuse_missing('missing="drop", "mean" or "keep" reads on')
        if classed:
            indices, classes = column.indices()
            known = ~np.isnan(indices)
            arrays += [np.where(known, indices == index, math.nan) for index in range(len(classes))]
            names += [f"{column.name}={each}" for each in classes]
        else:
            arrays.append(column.numbers())
            names.append(column.name)
        if missing == "mean" and all(map(column.absent, column.cells)):
            column.refuse(0, "all cells are missing, and have no mean")
    if missing == "mean":
        arrays = [np.where(np.isnan(array), np.nanmean(array), array) for array in arrays]
    return np.stack(arrays, axis=1) if arrays else np.zeros((m, 0)), names


def _targets(columns: list[tuple[_Column, bool]], m: int) -> tuple[Array, dict[str, list[str]]]:
    """Y, and the classes of its columns."""
    arrays, classes = [], {}
    for column, classed in columns:
        column.refuse_missing('a target is not made up; missing="drop" leaves such rows out')
        if classed or column.is_text():
            indices, classes[column.name] = column.indices()
            arrays.append(indices)
        else:
            arrays.append(column.numbers())
    if len(columns) == 1 and classes:
        return arrays[0].astype(np.int64), classes
    return np.stack(arrays, axis=1) if arrays else np.zeros((m, 0)), classes
