"""Whatever text programs write is read as it was meant, or refused with line and column."""

from __future__ import annotations

import csv
import gzip
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

import nn
from nn.data import read_csv

DEMOS = Path(__file__).parent.parent.parent / "demos" / "data"
MIXED = "height,colour,kind\n1.5,red,rose\n2.0,blue,iris\n1.75,red,iris\n"


@pytest.fixture
def table(tmp_path: Path) -> Any:
    """Read a table from text or bytes."""

    def read(text: str | bytes, target: Any = "y", **options: Any) -> Any:
        path = tmp_path / "table.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_csv(path, target, **options)

    return read


CELLS = st.floats(allow_nan=False, allow_infinity=False)
NAMES = st.lists(
    st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Z"]) | st.sampled_from(' ",;\n'), min_size=1)
    .filter(lambda name: name == name.strip()), min_size=2, max_size=4, unique=True,
)  # fmt: skip


@given(NAMES, st.data(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]), st.booleans(), st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
def test_what_the_csv_module_writes_is_read(
    table: Any, names: list[str], data: Any, sep: str, end: str, mark: bool, packed: bool
) -> None:
    """Names with quotes, separators and line ends in them; any separator and line end; marked, packed."""
    rows = data.draw(st.lists(st.lists(CELLS, min_size=len(names), max_size=len(names)), min_size=1, max_size=4))
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, delimiter=sep, lineterminator=end)
    writer.writerows([names, *rows])
    content = ("\ufeff" * mark + buffer.getvalue()).encode()
    found = table(gzip.compress(content, mtime=0) if packed else content, names[-1], sep=sep)
    assert found.X.tolist() == [row[:-1] for row in rows]
    assert found.Y.tolist() == [row[-1:] for row in rows]
    assert [*found.features, *found.targets] == names


@pytest.mark.parametrize("sep", [",", ";", "\t", "|"])
def test_the_separator_is_told_from_the_first_line(table: Any, sep: str) -> None:
    text = f'"a,b;c\td|e"{sep}x{sep}y\n1{sep}2{sep}3\n'
    assert table(text).features == ["a,b;c\td|e", "x"]
    assert table('"a|b|c|d";y\n1;2\n').features == ["a|b|c|d"]
    assert table("a b y\n1 2 3\n", sep=" ").X.tolist() == [[1, 2]]
    assert table("y\n1\n2\n").Y.tolist() == [[1], [2]]


def test_line_ends_and_quotes_of_all_kinds(table: Any) -> None:
    for text in (
        "x,y\r1,2\r3,4\r",
        "x,y\r\n1,2\r\n\r\n3,4",
        '"x","y"\n"1","2"\n"3","4"\n',
        "x, y\n 1 , 2\n3 ,\t4\n",
        'x, "y"\n1, "2"\n3, 4\n',
    ):
        found = table(text)
        assert (found.X.tolist(), found.Y.tolist(), found.features) == ([[1], [3]], [[2], [4]], ["x"])
    assert table('"a ""b""",y\n1,2\n').features == ['a "b"']


def test_other_encodings(table: Any) -> None:
    text = "größe,y\n1,2\n"
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "latin-1"):
        assert table(text.encode(encoding), encoding=encoding).features == ["größe"]
    with pytest.raises(ValueError, match=r'table.csv, line 1: no text in utf-8: .*encoding="latin-1".*test_tables.py'):
        table(text.encode("latin-1"))
    with pytest.raises(ValueError, match="encoding: there is none called 'none'"):
        table(text, encoding="none")


def test_without_a_header_columns_are_numbered(table: Any) -> None:
    found = table("1,2,3\n4,5,6\n", -1, header=False)
    assert (found.X.tolist(), found.Y.tolist()) == ([[1, 2], [4, 5]], [[3], [6]])
    assert (found.features, found.targets) == (["0", "1"], ["2"])
    assert table("1,2,3\n", ["2", 0], header=False).Y.tolist() == [[3, 1]]
    assert table("a,b\n1,2\n", 0).targets == ["a"]


def test_several_targets_and_none(table: Any) -> None:
    assert table("a,b,c\n1,2,3\n", ["c", "a"]).Y.tolist() == [[3, 1]]
    nothing = table("a,b\n1,2\n3,4\n", ())
    assert (nothing.X.shape, nothing.Y.shape, nothing.targets) == ((2, 2), (2, 0), [])
    every = table("a,b\n1,2\n3,4\n", ["a", "b"])
    assert (every.X.shape, every.Y.shape, every.features) == ((2, 0), (2, 2), [])


def test_it_unpacks(table: Any) -> None:
    found = table("x,y\n1,2\n")
    X, Y, features, targets = found
    assert X is found.X
    assert Y is found.Y
    assert (features, targets, found.classes) == (["x"], ["y"], {})
    x, y, *_ = found
    assert (x.tolist(), y.tolist()) == ([[1]], [[2]])


# Classes


def test_a_target_of_text_is_class_indices_in_sorted_order(table: Any) -> None:
    found = table(MIXED, "kind", categorical="colour")
    assert found.Y.tolist() == [1, 0, 0]
    assert found.Y.dtype == np.int64
    assert found.classes == {"kind": ["iris", "rose"]}
    assert found.features == ["height", "colour=blue", "colour=red"]
    assert found.X.tolist() == [[1.5, 0, 1], [2.0, 1, 0], [1.75, 0, 1]]


def test_numbers_may_be_classes_and_are_sorted_as_numbers(table: Any) -> None:
    text = "x,y\n1,10\n2,9\n3,10\n4,-1\n"
    assert table(text).Y.tolist() == [[10], [9], [10], [-1]]
    found = table(text, categorical="y")
    assert (found.Y.tolist(), found.classes) == ([2, 1, 2, 0], {"y": ["-1", "9", "10"]})
    assert table(text, categorical=["x", -1]).features == ["x=1", "x=2", "x=3", "x=4"]


def test_several_targets_of_which_some_are_text(table: Any) -> None:
    found = table(MIXED, ["kind", "height", "colour"])
    assert found.Y.tolist() == [[1, 1.5, 1], [0, 2.0, 0], [0, 1.75, 1]]
    assert found.classes == {"kind": ["iris", "rose"], "colour": ["blue", "red"]}


def test_a_slip_among_numbers_does_not_make_classes(table: Any) -> None:
    """Neither of a feature nor of a target: the cell is named, and how to say that classes are meant."""
    for text in ("x,y\n1,2\nO,3\n", "y,x\n1,2\nO,3\n"):
        with pytest.raises(
            ValueError, match=r"line 3, column '.': 'O' is no finite number \(classes\? categorical='.'"
        ):
            table(text)
    with pytest.raises(ValueError, match="line 2, column 'colour': 'red' is no finite number"):
        table(MIXED, "kind")
    with pytest.raises(ValueError, match="'2024_01' is no finite number"):  # float() would take it
        table("x,y\n2024_01,1\n")


def test_the_data_sets_of_the_demos() -> None:
    iris = read_csv(DEMOS / "iris.csv", "species")
    assert (iris.X.shape, np.bincount(iris.Y).tolist()) == ((150, 4), [50, 50, 50])
    assert iris.classes == {"species": ["setosa", "versicolor", "virginica"]}
    digits = read_csv(DEMOS / "digits.csv.gz", "digit", categorical="digit")
    assert (digits.X.shape, digits.Y.dtype, digits.classes["digit"]) == ((1797, 64), np.int64, list("0123456789"))
    cancer = read_csv(DEMOS / "breast_cancer.csv", "malignant")
    assert (cancer.X.shape, cancer.Y.shape, cancer.Y.sum()) == ((569, 30), (569, 1), 212)
    model = nn.MLP(4, [3], output="identity", rng=0)
    loss = nn.CrossEntropyLoss()
    nn.fit(model, (iris.X, iris.Y), loss, nn.optim.Adam(model.parameters()), epochs=1, progress=False)  # as it is


# Missing cells


HOLES = "x,z,y\n1,a,0\n?,b,1\n3,NA,0\n5,a,1\n"


def test_missing_cells_are_refused_dropped_filled_or_kept(table: Any) -> None:
    options = {"categorical": "z"}
    with pytest.raises(ValueError, match=r"line 3, column 'x': '\?' is no finite number \(missing=\"drop\", \"mean\""):
        table(HOLES, **options)
    dropped = table(HOLES, missing="drop", **options)
    assert dropped.X.tolist() == [[1, 1], [5, 1]]
    assert (dropped.Y.tolist(), dropped.features) == ([[0], [1]], ["x", "z=a"])
    filled = table(HOLES, missing="mean", **options)
    assert filled.X.tolist() == [[1, 1, 0], [3, 0, 1], [3, 2 / 3, 1 / 3], [5, 1, 0]]
    kept = table(HOLES, missing="keep", **options).X
    assert np.isnan(kept).tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 1], [0, 0, 0]]


@pytest.mark.parametrize("token", ["", " ", "NA", "nan", "NaN", "?", "null", "N/A", "None"])
def test_what_counts_as_missing(table: Any, token: str) -> None:
    assert math.isnan(table(f"x,y\n{token},1\n2,3\n", missing="keep").X[0, 0])
    with pytest.raises(ValueError, match="line 2, column 'x'"):
        table(f"x,y\n{token},1\n2,3\n")


def test_one_may_say_what_counts_as_missing(table: Any) -> None:
    assert table("x,y\n-99,1\n2,3\n", na_values=["-99"], missing="drop").X.tolist() == [[2]]
    with pytest.raises(ValueError, match="'NA' is no finite number"):
        table("x,y\nNA,1\n2,3\n", na_values=["-99"], missing="drop")


def test_a_target_is_never_made_up(table: Any) -> None:
    for missing in ("mean", "keep", "error"):
        with pytest.raises(ValueError, match=r"line 2, column 'y': the cell is empty .*missing=\"drop\" leaves such"):
            table("x,y\n1,\n2,3\n", missing=missing)
    assert table("x,y\n1,\n2,3\n", missing="drop").Y.tolist() == [[3]]


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        ("x,y\n?,1\n?,2\n", {"missing": "mean"}, "column 'x': all cells are missing, and have no mean"),
        ("x,y\n?,1\n?,2\n", {"missing": "drop"}, "no rows below the header, or all have missing cells"),
        ("x,y\n1,2\n", {"missing": "zero"}, "missing: expected one of error, drop, mean, keep, got 'zero'"),
        ('x,y\n1,"2\n3,4\n', {}, "line 3: unexpected end of data"),
        ('x,y\n1,"2"3\n', {}, "line 2: ',' expected after '\"'"),
        ("x,y\n1,inf\n", {}, "'inf' is no finite number"),
        ("x,y\n1,1e999\n", {}, "'1e999' is no finite number"),
        ("x,y\n1,2\n", {"sep": ",,"}, "sep: expected one character, got ',,'"),
        ("x,y\n1,2\n", {"sep": ";"}, "no column 'y', only x,y"),
        ("x;y\n1,5;2\n", {}, "'1,5' is no finite number"),
        ("x,y\n1,2\n", {"target": 2}, "no column 2, only x, y"),
        ("x,y\n1,2\n", {"target": ["y", -1]}, "a column is asked for twice"),
        ("x,y\n1,2\n", {"categorical": "z"}, "no column 'z', only x, y"),
        ("x,y\n1,2,3\n", {}, "line 2: 3 cells, expected 2 .separated by ','."),
        ("", {"header": False}, "the file is empty, expected rows"),
        ("\n\n", {}, "the file is empty, expected a header row"),
        (b"\x1f\x8b\x08broken", {}, "the gzip file is damaged"),
        (gzip.compress(b"x,y\n1,2\n", mtime=0)[:-3], {}, "the gzip file is damaged"),
        ("x,y\n" + "1" * 200_000 + ",2\n", {}, "line 2: field larger than field limit"),
    ],
)
def test_refusals(table: Any, text: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message + ".*test_tables.py"):
        table(text, **options)


# What a missing cell holds, blanks as separators, arguments of another type


def written(folder: Path, text: str) -> Path:
    path = folder / "table.csv"
    path.write_text(text)
    return path


def test_a_missing_value_is_the_whole_cell_and_a_number_all_its_spellings(tmp_path: Path) -> None:
    path = written(tmp_path, "a,y\n9,1\n-9,2\n-9.0,3\n,4\n5,5\n")

    def kept(na_values: object) -> list[float]:
        return read_csv(path, "y", na_values=na_values, missing="drop").Y[:, 0].tolist()

    assert kept("-9") == kept(["-9"]) == [1.0, 3.0, 5.0]  # the text alone: 9 is no part of it
    assert kept(-9) == kept([-9]) == kept(np.array([-9.0])) == kept(["x", -9]) == [1.0, 5.0]
    assert kept(()) == [1.0, 2.0, 3.0, 5.0]  # an empty cell is always missing
    for wrong in (None, True, [None], [True], 1j, b"-9"):
        with pytest.raises(TypeError, match=r"na_values: expected text, numbers or a list .*, at test_tables.py"):
            kept(wrong)


def test_cells_of_one_number_are_one_class(tmp_path: Path) -> None:
    path = written(tmp_path, "a,y\n1,10\n2,1.0\n3,1\n4,1e0\n5,9\n")
    table = read_csv(path, "y", categorical="y")
    assert (table.Y.tolist(), table.classes) == ([2, 0, 0, 0, 1], {"y": ["1", "9", "10"]})
    text = read_csv(written(tmp_path, "a,y\n1,u\n2,1.0\n3,1\n"), "y", categorical="y")
    assert text.classes == {"y": ["1", "1.0", "u"]}  # names, where one cell is no number


@pytest.mark.parametrize(
    "text", ["a b y\n1 2 0\n3 4 1\n", "a  b   y \n 1  2   0\n 3  4   1  \n", '"a" b y\n1 "2" 0\n3 4 1']
)
def test_blanks_separate_where_nothing_else_does(tmp_path: Path, text: str) -> None:
    table = read_csv(written(tmp_path, text), "y")
    assert (table.X.tolist(), table.Y.tolist(), table.features) == ([[1, 2], [3, 4]], [[0], [1]], ["a", "b"])


def test_a_name_of_two_words_is_no_blank_separated_table(tmp_path: Path) -> None:
    table = read_csv(written(tmp_path, "petal length\n1.5\n2.5\n"), "petal length")
    assert table.Y.tolist() == [[1.5], [2.5]]


def test_labels_that_are_numbers_become_class_indices_if_asked(tmp_path: Path) -> None:
    """The error of the loss names the way."""
    path = written(tmp_path, "ink,digit\n0.5,7\n0.25,1\n0.1,7\n")
    X, Y, *_ = read_csv(path, "digit", categorical="digit")
    assert (Y.tolist(), Y.dtype) == ([1, 0, 1], np.int64)
    model = nn.Linear(1, 2, rng=0)
    assert nn.CrossEntropyLoss()(model(X), Y).item() > 0
    with pytest.raises(ValueError, match=r"target.reshape\(3,\).astype\(int\)\); of a table .*categorical=name"):
        nn.CrossEntropyLoss()(model(X), read_csv(path, "digit").Y)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"target": None}, "target: expected names or places of columns, .. for none, got None"),
        ({"target": 1.0}, "target: expected names or places .*, got 1.0"),
        ({"target": True}, "target: expected names or places .*, got True"),
        ({"target": ["a", 1.0]}, r"target: expected names or places .*, got \['a', 1.0\]"),
        ({"categorical": 2.5}, "categorical: expected names or places .*, got 2.5"),
        ({"header": None}, "header: expected True .* or False, got None"),
        ({"header": 0}, "header: expected True .* or False, got 0"),
        ({"encoding": None}, "encoding: expected a name .*, got None"),
        ({"path": None}, "path: expected the path of a file, got None"),
        ({"path": 3}, "path: expected the path of a file, got 3"),
        ({"path": io.StringIO("a,y")}, "path: expected the path of a file, got <_io.StringIO"),
    ],
)
def test_arguments_of_another_type_are_named(tmp_path: Path, given: dict[str, Any], message: str) -> None:
    arguments = {"path": written(tmp_path, "a,y\n1,2\n"), "target": "y", **given}
    with pytest.raises(TypeError, match=rf"{message}.*, at test_tables.py:\d+$"):
        read_csv(**arguments)


def test_places_may_be_numpys_numbers(tmp_path: Path) -> None:
    path = written(tmp_path, "a,b,y\n1,2,3\n")
    assert read_csv(path, np.int64(2)).targets == read_csv(path, np.array([-1])).targets == ["y"]
