"""Pictures as pages."""

import json
import re
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

import microgrid as mg
import viz


class Page(HTMLParser):
    """The elements of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_it_is_whole_and_asks_for_nothing() -> None:
    """No address but the name of the SVG language; the policy allows the page's own script alone."""
    page = viz.graph(mg.Value(2.0, name="x") * 3).html(title="A & <b>")
    assert page.startswith("<!DOCTYPE html>\n")
    assert set(re.findall(r"https?://[^\"' ]+", page)) == {"http://www.w3.org/2000/svg"}
    parsed = Page(page)
    tags = [tag for tag, _ in parsed.found]
    assert tags.count("svg") == tags.count("h1") == tags.count("main") == tags.count("table") == 1
    assert "<title>A &amp; &lt;b&gt;</title>" in page
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    (policy,) = [str(values["content"]) for tag, values in parsed.found if values.get("http-equiv")]
    assert policy.startswith("default-src 'none';")
    assert f"'sha256-{b64encode(sha256(script.encode()).digest()).decode()}'" in policy
    for style in re.findall(r"<style>(.*?)</style>", page, re.DOTALL):
        assert f"'sha256-{b64encode(sha256(style.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy
    assert not [values for _, values in parsed.found if "style" in values]
    assert not [values for _, values in parsed.found if "src" in values or any(key.startswith("on") for key in values)]


def test_it_can_be_read_without_seeing_it() -> None:
    """The picture has a role and a name; the nodes stand in a table with headings."""
    page = viz.graph(mg.Value(2.0, name="x") * 3).html()
    svg = dict(Page(page).found)["svg"]
    assert (svg["role"], svg["aria-label"]) == ("img", "Computation graph of 2 nodes and 1 edge")
    assert page.count('<th scope="col">') == 8
    assert "<td>x</td><td>parameter</td>" in page


def test_it_carries_its_data() -> None:
    graph = viz.graph(mg.Value(2.0, name="</script><script>alert(1)</script>"))
    page = graph.html()
    (data,) = re.findall(r'<script type="application/json" id="graph">(.*?)</script>', page, re.DOTALL)
    assert json.loads(data) == graph.to_dict()
    assert "alert(1)</script>" not in page
