"""Any name is safe in any format, and comes back from it as it looks."""

import html
import json
import os
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
import viz

ROOT = Path(__file__).parent.parent.parent
SVG = "{http://www.w3.org/2000/svg}"

AWKWARD = [
    "", " ", "  a  b ", '"', "'", "\\", "a\\", '\\"', "<b>", "<", ">", "&", "&amp;", "&lt;b", "{a|b}", "a:b", "n0",
    "node", "a\nb", "\r\t\0", "]]>", "<!--", "-->", "</text>",
    "</svg>", "</script>", "<script>alert(1)</script>", "\\N", "\\n",
    "x<y", "%7", "->", ";}", "#35;", "`code`", "javascript:alert(1)", "שלום", "\u202eabc", "\ud800", "\uffff", "𝒙",
    "x" * 100, "edge", "-", "#1", "\x1b[31m", "é\u0301", "日本語", "🙂",
]  # fmt: skip
names = st.sampled_from(AWKWARD) | st.text(
    st.characters() | st.sampled_from("<>&\"'\\{}|:;\n\r\0\x7f\x85\ud800\udfff\ufffe]#`% "), max_size=60
)


def seen(name: str) -> str:
    """How a name looks: as it is, but for what no file of text can hold, and what would turn the text around it."""

    def look(character: str) -> str:
        code = ord(character)
        if code < 0x20:
            return chr(0x2400 + code)
        unprintable = (
            0x80 <= code < 0xA0
            or 0xD800 <= code <= 0xDFFF
            or code in (0xFFFE, 0xFFFF, 0x2028, 0x2029)
            or 0x202A <= code <= 0x202E
            or 0x2066 <= code <= 0x2069
        )
        return "\u2421" if code == 0x7F else "\ufffd" if unprintable else character

    return "".join(map(look, name if len(name) <= 48 else name[:47] + "…"))


def drawn(name: str) -> viz.Graph:
    with mg.record_sites(False):
        return viz.graph(mg.Value(1.0, name=name) * 2.0)


@given(names)
def test_svg(name: str) -> None:
    """The text is one of the texts of the picture, its elements are those of any picture."""
    drawing = drawn(name).svg()
    drawing.encode("utf-8")
    tree = ET.fromstring(drawing)
    texts = [text.text for text in tree.iter(SVG + "text")]
    assert texts[0] == seen(name or "%0")
    assert {element.tag.removeprefix(SVG) for element in tree.iter()} <= {
        "svg", "title", "desc", "metadata", "style", "rect", "g", "path", "polygon", "text"}  # fmt: skip
    assert not [key for element in tree.iter() for key in element.attrib if key.startswith("on") or "href" in key]


@given(names)
def test_html(name: str) -> None:
    page = drawn(name).html(title=name)
    page.encode("utf-8")
    title = re.findall(r"<title>(.*?)</title>", page, re.DOTALL)[0]
    whole = "".join(map(seen, name))  # a title is not clipped
    assert html.unescape(title) == whole
    cells = re.findall(r"<td>(.*?)</td>", page, re.DOTALL)
    assert html.unescape(cells[0]) == seen(name or "%0")
    assert page.count("<script") == 2


@given(names)
def test_json(name: str) -> None:
    """The data hold the name itself, lone surrogates and all, in ASCII."""
    text = drawn(name).json()
    assert text.isascii()
    assert json.loads(text)["nodes"][0]["name"] == name


@given(names)
def test_text(name: str) -> None:
    text = drawn(name).text()
    text.encode("utf-8")
    lines = text.splitlines()
    assert len(lines) == 4  # the chain, a blank line, two nodes
    assert lines[-1].startswith(seen(name or "%0"))


@given(names)
def test_mermaid(name: str) -> None:
    """Every sign that means something to Mermaid or HTML stands as its number, which gives it back."""
    text = drawn(name).mermaid()
    (label,) = re.findall(r'^    n0\["(.*?)<br/>data', text, re.MULTILINE)
    assert re.fullmatch(r"(?:[A-Za-z0-9 .,_+=-]|#\d+;)*", label)
    read = re.sub(r"#(\d+);", lambda number: chr(int(number[1])), label)
    assert read == seen(name or "%0").replace("$$", "$\N{WORD JOINER}$")  # of no width


@given(names)
def test_ids_hold_letters_and_digits_alone(name: str) -> None:
    graph = drawn(name)
    found = re.findall(r' id="([^"]*)"', graph.svg())
    assert found == ["n0", "n1"]
    assert all(re.fullmatch("[a-z0-9]+", node.id) for node in graph.nodes)


# ------------------------------------------------------------------------------------------------ DOT

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
            assert html.unescape(re.sub(r"\\(.)", r"\1", fields[0])) == seen(expected)


@given(names)
def test_ids_hold_letters_digits_and_underscores_alone(name: str) -> None:
    a = mg.Value(1.0, name=name)
    for style in (None, "micrograd"):
        source = viz.draw_dot(a * a, style=style, params={name: a}).source
        statements = re.findall(r"^\t(\S+)(?: -> (\S+))?", source, re.MULTILINE)
        assert all(re.fullmatch("[a-z0-9_]*", identifier) for statement in statements for identifier in statement)


@pytest.mark.dot
@pytest.mark.parametrize("style", [None, "micrograd"])
def test_every_sign_is_a_name_alone(tmp_path, style) -> None:
    """Dot stumbles over a lone `]`, for one."""
    signs = [chr(code) for code in range(0x21, 0x7F)]
    root = mg.sum([mg.Value(1.0, name=sign) for sign in signs])
    path = viz.save(viz.draw_dot(root, style=style, detail="full"), tmp_path / "signs.svg")
    texts = ["".join(text.itertext()).strip() for text in ET.parse(path).iter(SVG + "text")]
    assert set(signs) <= set(texts)


@pytest.mark.dot
@settings(max_examples=12)
@given(st.lists(names, max_size=30))
@pytest.mark.parametrize("style", [None, "micrograd"])
def test_names_come_back_from_the_picture(tmp_path_factory, style, drawn) -> None:
    path = tmp_path_factory.mktemp("svg") / "names.svg"
    drawn = [*drawn, *AWKWARD]
    root = mg.sum([mg.Value(1.0, name=name) for name in drawn])
    viz.save(viz.draw_dot(root, style=style, max_nodes=1000), path)
    tree = ET.parse(path)
    texts = [" ".join("".join(text.itertext()).split()) for text in tree.iter(SVG + "text")]  # with no-break spaces
    missing = {" ".join(seen(name).split()) for name in drawn} - set(texts) - {""}
    assert not missing


PROGRAM = """
import numpy as np, microgrid as mg, nn, viz
x = {name: mg.Value(1.5, name=name) for name in ("a", "b", "c")}
loss = (x["a"] * x["b"] + x["c"]) * mg.tanh(x["a"] - x["c"] * mg.sum(list(x.values())))
loss.backward()
w = mg.Tensor(np.arange(12.0).reshape(3, 4), requires_grad=True, name="w")
model = nn.scalar.MLP(2, [8, 4, 1], rng=0)
batch = mg.sum([model([float(k), 1.0]) for k in range(9)])
for root, params in ((loss, None), ((w @ w.T).sum(), None), (batch, model)):
    graph = viz.graph(root, params=params)
    print(graph.svg(), graph.html(), graph.dot(), graph.dot(style="micrograd"))
    print(graph.text(), graph.mermaid(), graph.json())
"""


def test_the_same_bytes_in_every_process() -> None:
    """Whatever the hash seed and the addresses are."""
    texts = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=ROOT, env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONUTF8": "1"},
            capture_output=True, check=True,
        ).stdout
        for seed in ("0", "4711")
    }  # fmt: skip
    assert len(texts) == 1


@pytest.mark.parametrize("suffix", ["svg", "html", "mmd", "txt", "json", "dot"])
def test_files_are_utf8_whatever_the_name(tmp_path: Path, suffix: str) -> None:
    root = mg.sum([mg.Value(1.0, name=name) for name in AWKWARD])
    path = viz.graph(root).save(tmp_path / f"x.{suffix}")
    path.read_bytes().decode("utf-8")
