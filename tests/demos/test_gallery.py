"""The gallery: every picture is drawn, alike on every run, on a page that asks nobody for anything."""

import ast
import shutil
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

import viz
from demos import gallery

pytestmark = pytest.mark.slow  # with the others of its kind more than `make test` has time for

GRAPHS = ["neuron", "contributions", "micrograd", "chain", "mlp", "values", "batch"]
if not shutil.which("dot"):
    GRAPHS.remove("micrograd")


class Page(HTMLParser):
    """The elements of a page, and what void elements do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> gallery.Result:
    return gallery.main(tmp_path_factory.mktemp("gallery"))


def test_every_picture_is_on_the_page_with_words(run) -> None:
    text = run.page.read_text(encoding="utf-8")
    page = Page(text)
    assert not page.open
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert [image["src"] for image in images] == [path.name for path in run.files]
    assert all(len(image["alt"] or "") > 60 for image in images)
    assert page.elements[0] == ("html", {"lang": "en"})


def test_the_page_needs_no_network_and_no_script(run) -> None:
    page = Page(run.page.read_text(encoding="utf-8"))
    linked = [attributes.get(name) for _, attributes in page.elements for name in ("src", "href") if name in attributes]
    assert linked
    assert all((run.page.parent / str(link)).is_file() for link in linked)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in page.elements}


def test_every_picture_is_an_svg_of_its_own(run) -> None:
    plots = ["network", "curves", "boundary", "gradients", "confusion"]
    assert [path.stem for path in run.files] == GRAPHS + plots
    for path in run.files:
        assert ET.parse(path).getroot().tag == "{http://www.w3.org/2000/svg}svg"


def test_all_that_viz_draws_is_there() -> None:
    """Each public function of viz that draws is called: what is new to viz is new to the gallery."""
    calls = {
        node.attr
        for node in ast.walk(ast.parse(Path(gallery.__file__).read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "viz"
    }
    plots = {name for name in viz.__all__ if "Figure" in str(getattr(viz, name).__annotations__.get("return", ""))}
    assert plots == {"boundary", "confusion", "curves", "gradients", "network"}
    assert plots | {"graph", "draw_dot", "save"} <= calls


@pytest.mark.slow
def test_the_same_bytes_on_every_run(run, tmp_path) -> None:
    again = gallery.main(tmp_path)
    for first, second in zip((run.page, *run.files), (again.page, *again.files), strict=True):
        assert first.read_bytes() == second.read_bytes()


def test_the_page_is_dark_where_the_graphs_are(run) -> None:
    """They follow the surroundings, and so does the page."""
    assert "@media (prefers-color-scheme: dark)" in run.page.read_text(encoding="utf-8")
    assert "prefers-color-scheme:dark" in run.files[0].read_text(encoding="utf-8")


def test_without_dot_there_is_all_that_needs_none(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert "micrograd" not in [path.stem for path in gallery.main(tmp_path).files]
    assert "(micrograd: no picture: the program dot" in capsys.readouterr().out


def test_without_matplotlib_there_are_the_graphs(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    result = gallery.main(tmp_path)
    assert [path.stem for path in result.files] == GRAPHS
    assert result.page.read_text(encoding="utf-8").count("<img") == len(GRAPHS)
    assert "(network: no picture: viz.network draws with matplotlib" in capsys.readouterr().out
