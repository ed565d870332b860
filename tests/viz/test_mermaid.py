"""Pictures as Mermaid's flowcharts."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg
import nn
import viz
from demos import gallery

GOLDEN = """\
flowchart TB
    n0["a<br/>data 2.0000<br/>grad 6.0000"]:::parameter
    n1("+<br/>data 4.0000<br/>grad 3.0000"):::operation
    n2[["c = #8226; #42; 3<br/>data 12.0000<br/>grad 1.0000"]]:::root
    n0 --> n1
    n0 --> n1
    n1 --> n2

    classDef parameter fill:#fff4d6,stroke:#6b4700,color:#1b1f24
"""


def test_golden() -> None:
    a = mg.Value(2.0, name="a")
    c = (a + a) * 3
    c.backward()
    assert viz.graph(c).mermaid("TB").startswith(GOLDEN)


def test_clusters_are_subgraphs_each_of_which_ends() -> None:
    model = nn.scalar.MLP(1, [2, 1], rng=0)
    text = viz.graph(model([mg.Value(1.0)]), params=model).mermaid()
    lines = [line.strip() for line in text.splitlines()]
    assert sum(line.startswith("subgraph c") for line in lines) == lines.count("end") == 6
    depth = 0
    for line in lines:
        depth += line.startswith("subgraph") - (line == "end")
        assert depth >= 0


def test_labels_and_captions() -> None:
    a = mg.Value(2.0)
    assert 'n0 -- "3.0000" --> n1' in viz.graph(a * 3, labels="local").mermaid()
    x = a
    for _ in range(200):
        x = mg.tanh(x)
    assert 'caption["201 nodes drawn as 4' in viz.graph(x).mermaid()


def test_alarms_and_boxes_have_classes_of_their_own() -> None:
    """A node can be given one class where it stands; another follows below."""
    y = mg.log(mg.Value(0.0, name="x"))
    y.backward()
    text = viz.graph(y).mermaid()
    assert ":::root\n" in text
    assert text.endswith("    class n0,n1 alarm\n")
    model = nn.Linear(1, 1, rng=0)
    assert viz.graph(model(mg.Tensor([[1.0]])).sum(), params=model).mermaid().endswith("    class c0 group\n")


def test_two_dollars_begin_no_formula() -> None:
    assert "#36;#8288;#36;x#36;#8288;#36;" in viz.graph(mg.Value(1.0, name="$$x$$")).mermaid()


# ------------------------------------------------------------------------------------------------ its own reader

HOSTILE = ["</title><script>alert(1)</script>", '"];n0-->n1;x["', "end", "%% c", "`code`", "#quot;", "&amp;", "$$x^2$$",
           "subgraph", 'click n0 "javascript:alert(1)"', "**b**", "~~~", "style n0 fill:red",
           "1. item", "{a|b}"]  # fmt: skip


def mermaid() -> str:
    """The program, where npm has put it: `npm install mermaid` in some folder, `NODE_PATH=<that>/node_modules`."""
    for folder in os.environ.get("NODE_PATH", "").split(os.pathsep):
        found = Path(folder, "mermaid", "dist", "mermaid.min.js")
        if folder and found.is_file():
            return found.read_text(encoding="utf-8")
    pytest.skip("mermaid is not installed")


@pytest.mark.slow
def test_mermaid_itself_draws_every_picture() -> None:
    """Each node is there, in its own words, whatever they are; nothing runs, and nothing is asked for."""
    program = mermaid()
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    sync_api = pytest.importorskip("playwright.sync_api")
    model = nn.scalar.MLP(4, [8, 8, 1], rng=0)
    folded = mg.sum([model(row) for row in np.random.default_rng(0).normal(size=(3, 4)).tolist()])
    hostile = mg.log(mg.sum([mg.Value(0.0, name=name) for name in HOSTILE]))
    graphs = [exhibit.draw() for exhibit in gallery.graphs(0) if exhibit.name != "micrograd"]
    graphs += [viz.graph(folded, params=model), viz.graph(hostile, labels="local")]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_context(offline=True).new_page()
        page.set_content("<!DOCTYPE html><body></body>")
        page.add_script_tag(content=program)
        for graph in graphs:
            drawn = page.evaluate(
                """async text => {
                     mermaid.initialize({startOnLoad: false, securityLevel: "strict"});
                     document.body.innerHTML = (await mermaid.render("drawn", text)).svg;
                     return [...document.querySelectorAll(".node")].map(node => node.textContent); }""",
                graph.mermaid(),
            )
            words = [text.replace("\N{WORD JOINER}", "").replace(" ", "") for text in drawn]
            for node in graph.nodes:
                assert f"{node.title}{node.form}data{node.data}".replace(" ", "") in "\n".join(words)
            assert len(words) == len(graph.nodes) + bool(graph.caption)
        browser.close()
