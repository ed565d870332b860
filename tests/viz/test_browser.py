"""Pictures in a real browser: they open without an error or a request, text lies in its box, nothing overlaps."""

import shutil
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
import viz

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FONTS = ["Liberation Sans", "DejaVu Sans", "monospace"]  # as broad as the table says; broader; another altogether

# Boxes of the nodes and of their texts, as they are drawn; all in the units of the picture.
MEASURE = """() => {
  const box = e => { const b = e.getBBox(); return [b.x, b.y, b.x + b.width, b.y + b.height]; };
  const whole = document.querySelector("svg.microgrid").viewBox.baseVal;
  return {
    whole: [0, 0, whole.width, whole.height],
    nodes: [...document.querySelectorAll("svg .node")].map(node => ({
      id: node.id, box: box(node.querySelector(".box")), texts: [...node.querySelectorAll("text")].map(box)})),
    clusters: [...document.querySelectorAll("svg .group")].map(box),
    titles: [...document.querySelectorAll("svg .frame")].map(box),
    labels: [...document.querySelectorAll("svg .weight")].map(box),
  };
}"""


def scalar_network() -> tuple[mg.Node, Any]:
    model = nn.scalar.MLP(2, [3, 1], rng=0)
    root = model([mg.Value(1.0), mg.Value(-0.5)])
    root.backward()
    return root, model


def array_network() -> tuple[mg.Node, Any]:
    model = nn.MLP(3, [4, 1], output="sigmoid", rng=0)
    loss = nn.BCELoss()(model(mg.Tensor(np.ones((5, 3)))), np.ones((5, 1)))
    loss.backward()
    return loss, model


def folded() -> tuple[mg.Node, Any]:
    model = nn.scalar.MLP(2, [16, 16, 1], rng=0)
    return mg.sum([model(row) for row in np.random.default_rng(0).normal(size=(20, 2)).tolist()]), model


def awkward() -> tuple[mg.Node, Any]:
    names = ["<script>document.title='run'</script>", "]]><b>", "שלום עולם", "日本語の名前", "🙂🙂", "x" * 48, "W" * 40,
             "é\u0301", "\ud800", "&lt;", "</svg>", 'a" onload="document.title=1', "i" * 48, "مرحبا"]  # fmt: skip
    return mg.log(mg.sum([mg.Value(1e-7 * k, name=name) for k, name in enumerate(names)]) * 0.0), None


GRAPHS = [scalar_network, array_network, folded, awkward]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A page that may ask for nothing but files, and must report no error."""
    opened = browser.new_page()
    trouble: list[str] = []
    opened.on("pageerror", lambda error: trouble.append(str(error)))
    opened.on("console", lambda message: trouble.append(message.text))
    opened.on("request", lambda request: request.url.startswith(("file:", "data:")) or trouble.append(request.url))
    yield opened
    opened.close()
    assert not trouble


def inside(a: list[float], b: list[float], slack: float = 0.0) -> bool:
    return a[0] >= b[0] - slack and a[1] >= b[1] - slack and a[2] <= b[2] + slack and a[3] <= b[3] + slack


def overlap(a: list[float], b: list[float]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]


def check(measured: dict[str, Any]) -> None:
    nodes = measured["nodes"]
    assert nodes
    for i, node in enumerate(nodes):
        assert inside(node["box"], measured["whole"])
        assert len(node["texts"]) >= 4
        assert all(inside(text, node["box"]) for text in node["texts"]), node
        assert not [other["id"] for other in nodes[:i] if overlap(node["box"], other["box"])]
        rows = sorted(node["texts"], key=lambda text: (text[1], text[0]))
        for a, b in pairwise(rows):  # words beside each other, or below
            assert a[2] <= b[0] + 1.5 or a[1] + 5 < b[1], (a, b)
        for label in measured["labels"]:
            assert not overlap(label, node["box"])
    for title in measured["titles"]:
        assert any(inside(title, cluster, 0.5) for cluster in measured["clusters"])


@pytest.mark.parametrize("make", GRAPHS)
@pytest.mark.parametrize("rankdir", ["LR", "TB"])
def test_svg(page: Any, tmp_path: Path, make: Any, rankdir: str) -> None:
    root, model = make()
    path = viz.graph(root, params=model).save(tmp_path / "x.svg", rankdir=rankdir)
    page.goto(path.as_uri())
    check(page.evaluate(MEASURE))
    assert "run" not in page.title()


@pytest.mark.parametrize("font", FONTS)
def test_text_lies_in_its_box_in_any_font(page: Any, tmp_path: Path, font: str) -> None:
    root, model = scalar_network()
    drawing = viz.graph(root, params=model).svg().replace("Helvetica, Arial, 'Liberation Sans'", font)
    path = tmp_path / "x.svg"
    path.write_text(drawing, encoding="utf-8")
    page.goto(path.as_uri())
    check(page.evaluate(MEASURE))


def test_widths_are_those_of_the_table(page: Any, tmp_path: Path) -> None:
    """With the table's font, text is as wide by itself as it is held to be, but for kerning."""
    root, model = scalar_network()
    path = tmp_path / "x.svg"
    path.write_text(viz.graph(root, params=model).svg(), encoding="utf-8")
    page.goto(path.as_uri())
    widths = page.evaluate("""() => [...document.querySelectorAll("text")].map(text => {
        const held = +text.getAttribute("textLength"); text.removeAttribute("textLength");
        return [held, text.getBBox().width]; })""")
    if page.evaluate("document.fonts.check('11px Liberation Sans')"):
        assert all(abs(held - own) < 1.0 for held, own in widths)


@pytest.mark.parametrize("labels", ["local", "contribution"])
@pytest.mark.parametrize("rankdir", ["LR", "TB", "RL", "BT"])
def test_labels_cover_neither_boxes_nor_each_other(page: Any, tmp_path: Path, rankdir: str, labels: Any) -> None:
    root, model = scalar_network()
    path = viz.graph(root, params=model, labels=labels).save(tmp_path / "x.svg", rankdir=rankdir)
    page.goto(path.as_uri())
    measured = page.evaluate(MEASURE)
    check(measured)
    written = measured["labels"]
    assert len(written) > 20
    shrunk = [[a, b + 3, c, d - 3] for a, b, c, d in written]  # the letters, without the room above and below
    assert not [1 for i, a in enumerate(shrunk) for b in shrunk[:i] if overlap(a, b)]


@pytest.mark.parametrize("make", GRAPHS)
def test_html(page: Any, tmp_path: Path, make: Any) -> None:
    """The page opens, its script runs and its policy lets no other; the table holds every node."""
    root, model = make()
    graph = viz.graph(root, params=model)
    page.goto(graph.save(tmp_path / "x.html", title="<b>T").as_uri())
    check(page.evaluate(MEASURE))
    assert page.title() == "<b>T"
    assert page.locator("table td:first-child").count() == len(graph.nodes)
    assert page.evaluate("JSON.parse(document.getElementById('graph').textContent).nodes.length") == len(graph.nodes)
    first = page.locator(".node").first
    first.hover()
    near = page.locator(".edge.near").count()
    assert near == sum("n0" in (edge.source, edge.target) for edge in graph.edges)


@pytest.mark.parametrize(("scheme", "paper"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 27)")])
def test_light_and_dark(page: Any, tmp_path: Path, scheme: str, paper: str) -> None:
    page.emulate_media(color_scheme=scheme)
    page.goto(viz.graph(scalar_network()[0]).save(tmp_path / "x.svg").as_uri())
    assert page.evaluate("getComputedStyle(document.querySelector('.paper')).fill") == paper
