"""The README's picture shows the README's session."""

from pathlib import Path

from demos import readme

SVG = Path(readme.__file__).parent / "pictures" / "neuron.svg"


def test_the_picture_shows_the_session() -> None:
    """`python -m demos.readme` would write the file as it is, to the byte."""
    picture = readme.picture()
    assert SVG.read_text(encoding="utf-8") == picture.svg()
    assert len(picture.nodes) == 13


def test_the_picture_is_in_the_readme() -> None:
    """The README shows this picture, and its session prints that dC/dz is a - y."""
    text = (SVG.parents[2] / "README.md").read_text(encoding="utf-8")
    assert "(demos/pictures/neuron.svg)" in text
    names = readme.session()
    assert abs(names["z"].grad - (names["a"].data - names["y"])) < 1e-15
