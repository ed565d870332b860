"""The data sets that ship with the demos are what their README says."""

import csv
import gzip
from collections import Counter
from pathlib import Path

import pytest

DATA = Path(__file__).parent.parent / "demos" / "data"
DIGITS = dict(zip("0123456789", [178, 182, 177, 183, 181, 182, 181, 179, 174, 180], strict=True))


@pytest.mark.parametrize(
    ("file", "features", "target", "counts"),
    [
        ("breast_cancer.csv", 30, "malignant", {"1": 212, "0": 357}),
        ("digits.csv.gz", 64, "digit", DIGITS),
        ("iris.csv", 4, "species", {"setosa": 50, "versicolor": 50, "virginica": 50}),
    ],
)
def test_rows_columns_and_classes(file: str, features: int, target: str, counts: dict[str, int]) -> None:
    opened = gzip.open if file.endswith(".gz") else open
    with opened(DATA / file, "rt", encoding="utf-8", newline="") as lines:
        header, *rows = csv.reader(lines)
    assert header[-1] == target
    assert {len(row) for row in rows} == {len(header)} == {features + 1}
    assert Counter(row[-1] for row in rows) == counts
    assert all(float(cell) >= 0 for row in rows for cell in row[:-1])  # every cell is a number


def test_the_readme_names_source_and_licence_of_each() -> None:
    text = (DATA / "README.md").read_text(encoding="utf-8")
    assert text.count("https://doi.org/") == 3
    assert "CC BY 4.0" in text
    assert all(f"`{path.name}`" in text for path in DATA.glob("*.csv*"))
