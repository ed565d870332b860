"""SVG: its structure, its colours, and text that fits the widths it was given."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

import microgrid as mg
import nn
import viz
from viz import glyphs, svg

SVG = "{http://www.w3.org/2000/svg}"


def small() -> mg.Value:
    with mg.record_sites(False):
        a = mg.Value(2.0, name="a")
        c = (a + a) * 3
    c.name = "c"
    c.backward()
    return c


STRUCTURE = """\
svg
  title: Computation graph of c = • * 3
  desc: 3 nodes (1 parameter, 1 operation, 1 root).
  metadata
  style
  rect.paper
  g.edge n0 n1
    path
    polygon
  g.edge n0 n1
    path
    polygon
  g.edge n1 n2
    path
    polygon
  g.node parameter#n0
    title: a, data 2.0000, grad 6.0000
    rect.box
    rect.bar
    text.name: a
    text.word: data
    text: 2.0000
    text.word: grad
    text: 6.0000
  g.node operation#n1
    title: +, data 4.0000, grad 3.0000
    rect.box
    text.name: +
    text.word: data
    text: 4.0000
    text.word: grad
    text: 3.0000
  g.node root#n2
    title: c = • * 3, data 12.0000, grad 1.0000
    rect.box
    rect.line
    text.name: c
    text:  = • * 3
    text.word: data
    text: 12.0000
    text.word: grad
    text: 1.0000"""


def outline(element: ET.Element, depth: int = 0) -> list[str]:
    tag = element.tag.removeprefix(SVG)
    name = tag + (f".{element.get('class')}" if depth and element.get("class") else "")
    name += f"#{element.get('id')}" if element.get("id") else ""
    text = element.text if tag in ("title", "desc", "text") else None
    lines = ["  " * depth + name + (f": {text}" if text else "")]
    return lines + [line for child in element for line in outline(child, depth + 1)]


def test_golden_structure() -> None:
    assert "\n".join(outline(ET.fromstring(viz.graph(small()).svg()))) == STRUCTURE


def test_golden_bytes_of_an_edge() -> None:
    """From the middle of a's box to the first of the two arrows at +."""
    edge = viz.graph(small()).svg().splitlines()[6]
    assert edge == (
        '<g class="edge n0 n1"><path d="M100.5,48.6C115.5,48.6 115.5,43.1 130.5,43.1L124.5,43.1"/>'
        '<polygon points="130.5,43.1 123.5,45.7 123.5,40.6"/></g>'
    ) or re.fullmatch(r'<g class="edge n0 n1"><path d="M[\d.,CL -]+"/><polygon points="[\d., -]+"/></g>', edge)


def test_kinds_differ_in_shape_and_not_in_colour_alone() -> None:
    """A bar, a folded corner, round corners, a double line, a thick border with a word."""
    X, w = mg.Tensor([1.0, 2.0]), mg.Tensor([3.0, 4.0], requires_grad=True)
    tree = ET.fromstring(viz.graph(mg.log((X * w).sum() * 0.0)).svg())
    shapes = {}
    for group in tree.iter(SVG + "g"):
        if group.get("id"):
            boxes = [child for child in group if child.tag != SVG + "text" and child.tag != SVG + "title"]
            kind = str(group.get("class"))
            shapes[kind] = [(child.tag.removeprefix(SVG), child.get("class"), child.get("rx")) for child in boxes]
    assert shapes == {
        "node input": [("path", "box", None), ("path", "line", None)],
        "node parameter": [("rect", "box", "0"), ("rect", "bar", None)],
        "node operation": [("rect", "box", "7")],
        "node root alarm": [("rect", "box", "7"), ("rect", "line", "5")],
    }
    words = {text.text for text in tree.iter(SVG + "text") if text.get("class") == "fault"}
    assert words == {"data not finite"}
    assert ".microgrid .alarm .box{stroke-width:3}" in svg.STYLE


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in parts]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(a: str, b: str) -> float:
    low, high = sorted((luminance(a), luminance(b)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("palette", [svg.LIGHT, svg.DARK])
def test_contrasts_are_at_least_7_to_1(palette) -> None:
    """Of all text with what it stands on, of edges and outlines with the paper and the groups."""
    for fill, line in palette.kinds.values():
        assert contrast(palette.ink, fill) >= 7
        assert contrast(palette.alarm, fill) >= 7
        assert contrast(line, fill) >= 7
        assert contrast(line, palette.paper) >= 7
    for ground in (palette.paper, palette.group):
        assert contrast(palette.ink, ground) >= 7
        assert contrast(palette.edge, ground) >= 7


def test_the_palettes_are_both_in_the_picture() -> None:
    drawing = viz.graph(mg.Value(1.0)).svg()
    light, _, dark = drawing.partition("@media(prefers-color-scheme:dark)")
    assert svg.LIGHT.ink in light
    assert svg.DARK.ink in dark


def test_every_rule_of_the_style_is_about_the_picture_alone() -> None:
    """An SVG in a page shares its styles with the page."""
    rules = svg.STYLE.replace("@media(prefers-color-scheme:dark){", "")
    selectors = [one for rule in re.findall(r"([^{}]+)\{", rules) for one in rule.split(",") if one.strip()]
    assert selectors
    assert all(selector.startswith(".microgrid ") for selector in selectors)


@pytest.mark.parametrize("rankdir", ["LR", "TB", "RL", "BT"])
def test_directions(rankdir) -> None:
    """The root lies where the arrows point."""
    places = {}
    for group in ET.fromstring(viz.graph(small()).svg(rankdir)).iter(SVG + "g"):
        box = group.find(SVG + "rect")
        if group.get("id") and box is not None:
            places[group.get("id")] = float(str(box.get("x"))), float(str(box.get("y")))
    axis, sign = {"LR": (0, 1), "RL": (0, -1), "TB": (1, 1), "BT": (1, -1)}[rankdir]
    assert sign * places["n2"][axis] > sign * places["n1"][axis] > sign * places["n0"][axis]


@pytest.mark.parametrize("rankdir", ["LR", "TB", "RL", "BT"])
@pytest.mark.parametrize("labels", [None, "local"])
def test_text_lies_in_its_box_and_everything_in_the_picture(rankdir, labels) -> None:
    """By the widths that the text itself demands (textLength); a browser is asked in test_browser."""
    model = nn.scalar.MLP(2, [3, 1], rng=0)
    tree = ET.fromstring(viz.graph(model([mg.Value(1.0), mg.Value(2.0)]), params=model, labels=labels).svg(rankdir))
    wide, high = float(str(tree.get("width"))), float(str(tree.get("height")))
    for group in tree.iter(SVG + "g"):
        if not group.get("id"):
            continue
        numbers = re.findall(r"-?[\d.]+", (group.find(SVG + "path") or group).get("d", ""))
        box = group.find(SVG + "rect")
        if box is None:
            assert numbers or group.find(SVG + "path") is not None
            continue
        x, y, w, h = (float(str(box.get(key))) for key in ("x", "y", "width", "height"))
        assert 0 <= x <= x + w <= wide
        assert 0 <= y <= y + h <= high
        for text in group.iter(SVG + "text"):
            left = float(str(text.get("x")))
            assert x <= left <= left + float(str(text.get("textLength"))) <= x + w
            assert y + 8 <= float(str(text.get("y"))) <= y + h - 3


def test_the_picture_carries_its_data() -> None:
    import json

    graph = viz.graph(small())
    (metadata,) = ET.fromstring(graph.svg()).iter(SVG + "metadata")
    assert json.loads(str(metadata.text)) == graph.to_dict()


def test_titles_of_clusters_fit_their_boxes() -> None:
    assert svg._cut("layers.0  Linear(3, 4)", 9.5, 1000) == "layers.0  Linear(3, 4)"
    assert svg._cut("layers.0  Linear(3, 4)", 9.5, 40) == "layers.…"
    assert svg._cut("layers.0", 9.5, 1) == ""


def test_widths_are_helveticas() -> None:
    """Of Adobe's font metrics (1985): a few characters, and what is drawn over another or not at all."""
    expected = {"A": 667, "i": 222, "W": 944, "0": 556, " ": 278, "m": 833}
    assert {c: glyphs.width(c, 1000) for c in expected} == expected
    bold = {"A": 722, "i": 278, "W": 944, "0": 556, "m": 889}
    assert {c: glyphs.width(c, 1000, bold=True) for c in bold} == bold
    assert glyphs.width("e\u0301\u200d", 1000) == glyphs.width("e", 1000)
    assert glyphs.width("日", 1000) == 1000
    assert not set(glyphs.WIDTHS[0]) ^ set(glyphs.WIDTHS[1])


def test_labels_on_edges_have_a_halo_of_what_is_under_them() -> None:
    """The ground of a box in a box, and the paper's outside."""
    model = nn.Sequential(nn.Linear(1, 1, rng=0), nn.Tanh())
    loss = model(mg.Tensor([[2.0]])).sum()
    loss.backward()
    drawing = viz.graph(loss, params=model, labels="contribution").svg()
    classes = dict(re.findall(r'<g class="edge n\d+ (n\d+)"><text class="(weight[ a-z]*)"', drawing))
    assert drawing.rindex('"><path d="M') < drawing.index('"><text class="weight')  # on top of all edges
    graph = viz.graph(loss, params=model)
    assert classes == {node.id: "weight inner" if node.cluster else "weight" for node in graph.nodes if node.operation}
    for palette in (svg.LIGHT, svg.DARK):
        rules = svg._rules(palette)
        assert rules.index(f".weight{{stroke:{palette.paper}}}") < rules.index(f".inner{{stroke:{palette.group}}}")
