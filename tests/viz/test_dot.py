"""Graphs as DOT text: golden, the same on every run, and safe for every name."""

import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html import unescape
from pathlib import Path

import graphviz
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
import viz

ROOT = Path(__file__).parent.parent.parent

BOXES = """\
digraph {
    graph [rankdir=LR]
    graph [nodesep=0.18 ordering=in ranksep=0.45]
    node [fontcolor="#1a1a1a" fontname="Helvetica,Arial,sans-serif" fontsize=11 height=0 margin="0.07,0.04"]
    edge [arrowsize=0.7 color="#444444"]
    n0 [label=<TABLE a 2.0000 6.0000> color="#8a5a00" fillcolor="#fff3d1" shape=box style=filled tooltip=a]
    n1 [label=<TABLE + 4.0000 3.0000> color="#27549b" fillcolor="#e6effc" shape=box style="filled,rounded" tooltip="+"]
    n2 [label=<TABLE c = • * 3 12.0000 1.0000> color="#1c6b2a" fillcolor="#e0f3e2" peripheries=2 shape=box \
style="filled,rounded" tooltip="c = • * 3"]
    n0 -> n1
    n0 -> n1
    n1 -> n2
}
"""

BOX = """<<TABLE BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="1">\
<TR><TD COLSPAN="2"><B>a</B></TD></TR>\
<TR><TD ALIGN="LEFT">data&#160;</TD><TD ALIGN="RIGHT">2.0000</TD></TR>\
<TR><TD ALIGN="LEFT">grad&#160;</TD><TD ALIGN="RIGHT">-</TD></TR></TABLE>>"""

CIRCLES = """\
digraph {
    graph [rankdir=TB]
    n0 [label="{ a | data 2.0000 | grad 6.0000 }" shape=record]
    n1 [label="{ data 4.0000 | grad 3.0000 }" shape=record]
    n1_op [label="+"]
    n1_op -> n1
    n2 [label="{ c | data 12.0000 | grad 1.0000 }" shape=record]
    n2_op [label="• * 3"]
    n2_op -> n2
    n0 -> n1_op
    n0 -> n1_op
    n1 -> n2_op
}
"""


def small() -> mg.Value:
    with mg.record_sites(False):
        a = mg.Value(2.0, name="a")
        c = (a + a) * 3
    c.name = "c"
    c.backward()
    return c


def test_golden_boxes() -> None:
    def brief(label: re.Match[str]) -> str:
        title, _, data, _, grad = ET.fromstring(label[0][1:-1]).itertext()
        return f"<TABLE {title} {data} {grad}>"

    source = viz.draw_dot(small()).source.expandtabs(4)
    assert re.sub(r"<<TABLE.*?</TABLE>>", brief, source) == BOXES


def test_golden_label() -> None:
    assert BOX in viz.draw_dot(mg.Value(2.0, name="a")).source


def test_golden_circles() -> None:
    assert viz.draw_dot(small(), rankdir="TB", style="micrograd").source.expandtabs(4) == CIRCLES


def test_it_is_what_micrograd_users_get() -> None:
    """draw_dot(root, format, rankdir) by position, a graphviz.Digraph of that format."""
    digraph = viz.draw_dot(mg.Value(1.0), "png", "TB")
    assert isinstance(digraph, graphviz.Digraph)
    assert (digraph.format, digraph.graph_attr["rankdir"]) == ("png", "TB")


def test_kinds_differ_in_shape_and_not_in_colour_alone() -> None:
    X, w = mg.Tensor([1.0, 2.0]), mg.Tensor([3.0, 4.0], requires_grad=True)
    source = viz.draw_dot((X * w).sum()).source
    looks = re.findall(r"shape=\w+|style=\S+|peripheries=\d", source)
    assert looks == [
        "shape=note", "style=filled", "shape=box", "style=filled", "shape=box", 'style="filled,rounded"',
        "peripheries=2", "shape=box", 'style="filled,rounded"',
    ]  # fmt: skip


@pytest.mark.parametrize("style", [None, "micrograd"])
def test_faults_are_said_in_words(style) -> None:
    """A border may be missed, a word not."""
    source = viz.draw_dot(mg.log(mg.Value(0.0)), style=style).source
    assert "data not finite" in source
    assert (style is None) == ("penwidth=3" in source)


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"rankdir": "left"}, "rankdir='left' is none of LR, TB"),
        ({"style": "baroque"}, "style='baroque' is neither None nor 'micrograd'"),
        ({"format": "zzz"}, r"draw_dot: format='zzz' is none that Graphviz writes .*, at test_dot.py:"),
        ({"format": None}, "draw_dot: format=None is none that"),
    ],
)
def test_unknown_choices_are_refused(arguments, text) -> None:
    with pytest.raises(ValueError, match=text):
        viz.draw_dot(mg.Value(1.0), **arguments)


PROGRAM = """
import numpy as np, microgrid as mg, viz
x = {name: mg.Value(1.5, name=name) for name in ("a", "b", "c")}
loss = (x["a"] * x["b"] + x["c"]) * mg.tanh(x["a"] - x["c"] * mg.sum(list(x.values())))
loss.backward()
w = mg.Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True, name="w")
for style in (None, "micrograd"):
    print(viz.draw_dot(loss, style=style).source, viz.draw_dot((w @ w.T).sum(), style=style).source)
"""


def test_the_same_text_in_every_process() -> None:
    """Whatever the hash seed and the addresses are."""
    texts = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True, check=True,
        ).stdout
        for seed in ("0", "1", "4711")
    }  # fmt: skip
    assert len(texts) == 1


# ------------------------------------------------------------------------------------------------ any name is safe

AWKWARD = ["", " ", '"', "\\", "a\\", '\\"', "<b>", "<", ">", "&", "&amp;", "&lt;b", "{a|b}", "a:b", "n0", "node",
           "a\nb", "\r\t\0", "]]>", "<!--", "</TD>", "\\N", "\\n", "x<y", "%7", "->", ";}", "שלום", "\u202eabc",
           "\ud800", "\uffff", "𝒙", "x" * 100, "edge", "-", "#1"]  # fmt: skip
names = st.sampled_from(AWKWARD) | st.text(
    st.characters() | st.sampled_from('<>&"\\{}|:;\n\r\0\x7f\x85\ud800\udfff\ufffe]#% '), max_size=60
)

TOKEN = re.compile(
    r"""\s* (?: (?P<id>[A-Za-z_][A-Za-z0-9_]*) | -?(?:\.\d+|\d+(?:\.\d*)?) | "(?P<text>(?:[^"\\]|\\.)*)"
        | <(?P<html>(?:[^<>]|<[^<>]*>)*)> | (?P<sign>->|[{}\[\]=]) )""",
    re.VERBOSE | re.DOTALL,
)


def tokens(source: str) -> list[re.Match[str]]:
    """The tokens of DOT's grammar; every character of the text belongs to one."""
    found, at = [], 0
    source = source.rstrip("\n")
    while at < len(source):
        token = TOKEN.match(source, at)
        assert token, f"no DOT from {source[at : at + 40]!r} on"
        found.append(token)
        at = token.end()
    return found


def seen(name: str) -> str:
    """How a name looks: as it is, but for what no file of text can hold."""

    def look(character: str) -> str:
        code = ord(character)
        if code < 0x20:
            return chr(0x2400 + code)
        unprintable = 0x80 <= code < 0xA0 or 0xD800 <= code <= 0xDFFF or code in (0xFFFE, 0xFFFF)
        return "\u2421" if code == 0x7F else "\ufffd" if unprintable else character

    return "".join(map(look, name if len(name) <= 48 else name[:47] + "…"))


@given(names)
@pytest.mark.filterwarnings("error")
def test_any_name_is_safe_in_a_box(name: str) -> None:
    with mg.record_sites(False):  # so that the tooltip is the name, too
        source = viz.draw_dot(mg.Value(1.0, name=name)).source
    (label,) = [token["html"] for token in tokens(source) if token["html"]]  # the tooltip is none
    assert next(ET.fromstring(label).itertext()) == seen(name or "%0").replace("\\", 2 * "\\")  # as dot takes it
    source.encode("utf-8")


@given(names, names)
def test_any_name_is_safe_in_a_record(name: str, other: str) -> None:
    source = viz.draw_dot(mg.Value(1.0, name=name) * mg.Value(2.0, name=other), style="micrograd").source
    labels = [token["text"] for token in tokens(source) if token["text"] and token["text"].startswith("{ ")]
    for label, expected in zip(labels, (name, other), strict=False):
        fields = re.split(r" \| ", label[2:-2])
        assert len(fields) == 2 + bool(expected)
        if expected:
            assert not re.search(r"(?<!\\)(?:\\\\)*[{}<>|]", fields[0])
            assert unescape(re.sub(r"\\(.)", r"\1", fields[0])) == seen(expected)


@given(names)
def test_ids_hold_letters_digits_and_underscores_alone(name: str) -> None:
    a = mg.Value(1.0, name=name)
    for style in (None, "micrograd"):
        source = viz.draw_dot(a * a, style=style, params={name: a}).source
        statements = re.findall(r"^\t(\S+)(?: -> (\S+))?", source, re.MULTILINE)
        assert all(re.fullmatch("[a-z0-9_]*", identifier) for statement in statements for identifier in statement)


def laid_out(digraph: graphviz.Digraph, path: Path) -> list[str]:
    """What is written in the SVG that `dot` makes, text by text."""
    viz.save(digraph, path)
    tree = ET.parse(path)
    texts = tree.iter("{http://www.w3.org/2000/svg}text")
    return [" ".join("".join(text.itertext()).split()) for text in texts]  # dot writes no-break spaces


@pytest.mark.dot
@settings(max_examples=12)
@given(st.lists(names, max_size=30))
@pytest.mark.parametrize("style", [None, "micrograd"])
def test_names_come_back_from_the_picture(tmp_path_factory, style, drawn) -> None:
    path = tmp_path_factory.mktemp("svg") / "names.svg"
    drawn = [*drawn, *AWKWARD]
    root = mg.sum([mg.Value(1.0, name=name) for name in drawn])
    texts = laid_out(viz.draw_dot(root, style=style), path)
    missing = {" ".join(seen(name).split()) for name in drawn} - set(texts) - {""}
    assert not missing


@pytest.mark.dot
def test_the_picture_shows_tensors(tmp_path: Path) -> None:
    w = mg.Tensor(np.ones((2, 3)), requires_grad=True, name="w")
    texts = laid_out(viz.draw_dot((w * 2).sum()), tmp_path / "w.svg")
    assert {"w", "(2, 3) float64", "• * 2", "sum", "12.0000", "-"} <= set(texts)
