"""The README's picture shows the README's session."""

import html
import re
from pathlib import Path

from demos import readme

SVG = Path(readme.__file__).parent / "pictures" / "neuron.svg"


def test_the_picture_shows_the_session() -> None:
    """Every word and number of the session's graph, and no other, stands in the SVG that the README shows."""
    drawn = html.unescape(re.sub(r"<[^>]*>", " ", SVG.read_text(encoding="utf-8").partition("</title>")[2])).split()
    labels = re.findall(r"\blabel=<(<TABLE.*?</TABLE>)>", readme.picture().source, re.DOTALL)
    expected = html.unescape(re.sub(r"<[^>]*>", " ", " ".join(labels))).split()
    assert len(labels) == 13
    titles = re.findall(r"n\d+(?:->n\d+)?", " ".join(drawn))  # Graphviz repeats ids in titles
    assert sorted(word for word in drawn if word not in titles) == sorted(expected)


def test_the_picture_is_in_the_readme() -> None:
    """The README shows this picture, and its session prints that dC/dz is a - y."""
    text = (SVG.parents[2] / "README.md").read_text(encoding="utf-8")
    assert "(demos/pictures/neuron.svg)" in text
    names = readme.session()
    assert abs(names["z"].grad - (names["a"].data - names["y"])) < 1e-15
