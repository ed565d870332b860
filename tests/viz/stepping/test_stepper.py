"""Backward passes as pages: what they show is the tape's, and what they may run is their own."""

import json
import linecache
import os
import re
import subprocess
import sys
from base64 import b64encode
from collections import Counter
from hashlib import sha256
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
import nn
import viz
from microgrid.sites import Site
from microgrid.stepping.steps import brief
from viz.stepping import scenes, stage, stepper
from viz.stepping.recording import Named
from viz.words import described, visible

ASSETS = Path(stepper.__file__).parent


class Parsed(HTMLParser):
    """The elements of a page in order, with their attributes, and all text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def data(page: viz.stepping.stepper.Page) -> dict[str, Any]:
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page.html, re.DOTALL)
    found: dict[str, Any] = json.loads(text)
    return found


def neuron(name: str = "w") -> mg.Value:
    x, w, b = mg.Value(2.0, name="x"), mg.Value(-0.5, name=name), mg.Value(0.3, name="b")
    a = mg.sigmoid(w * x + b)
    return a * a + w


def scalar_network() -> tuple[mg.Node, Any]:
    """2-4-1 of Values."""
    model = nn.scalar.MLP(2, [4, 1], rng=0)
    return -mg.log(mg.sigmoid(model([mg.Value(0.5), mg.Value(-1.0)]))), model


def array_network() -> tuple[mg.Node, Any]:
    model = nn.MLP(2, [4, 1], rng=0)
    X, Y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([[0.0], [1.0], [0.0]])
    return nn.BCEWithLogitsLoss()(model(mg.Tensor(X)), Y), model


def batch() -> tuple[mg.Node, Any]:
    """More nodes than a picture holds."""
    model = nn.scalar.MLP(2, [4, 1], rng=0)
    return mg.sum([model(row) for row in np.random.default_rng(0).normal(size=(6, 2)).tolist()]), model


NETS = [lambda: (neuron(), None), scalar_network, array_network, batch]


def staged(tape: mg.Tape, model: Any = None, most: int = viz.drawing.MAX_NODES) -> tuple[scenes.Teller, stage.Stage]:
    teller = scenes.Teller(tape, 2000)
    return teller, stage.staged(tape, Named(model, {}), teller.changes(), teller.steps, most)


# ---------------------------------------------------------------------------------------------------- the numbers


@pytest.mark.parametrize("net", NETS)
def test_the_scenes_are_the_steps(net: Any) -> None:
    """Each contribution's input, slot, formula, local, value, before and after, and g, z, x, y as the rule has them."""
    root, model = net()
    tape = mg.record(root, params=model)
    told = data(viz.page(tape))["scenes"]
    assert len(told) == len(tape)
    for step, scene in zip(tape, told, strict=True):
        assert list(map(plain, scene["rows"])) == [
            [
                c.label,
                c.slot,
                c.formula,
                "" if c.local is None else tell(c.local),
                *map(cell, (c.value, c.before, c.after)),
            ]
            for c in step.contributions
        ]
        numbers = [step.upstream, step.applied.z, *step.applied.inputs][: scenes.GIVEN + 2]
        assert plain([number for _, _, number in scene["given"]])[: len(numbers)] == list(map(cell, numbers))
        assert f"Step {step.index + 1} of {len(tape)}: {step.label}, {step.op}." in scene["sentence"]


def tell(x: Any, most: int = 6) -> str:
    """Numbers as the terminal says them; little arrays row by row."""
    if not isinstance(x, np.ndarray) or not 0 < x.size <= most or x.ndim not in (1, 2):
        return brief(0.0 if isinstance(x, float) and x == 0 else x)
    return " ".join(f"[{' '.join('0' if n == 0 else format(n, '.4g') for n in row)}]" for row in np.atleast_2d(x))


def cell(x: Any) -> str:
    return tell(x, 24)


def plain(row: list[str]) -> list[str]:
    """Cells without the spaces that bring numbers below each other."""
    return [re.sub(r"\[ +", "[", re.sub(r"\s+", " ", text)) for text in row]


def shown_at(changes: list[list[Any]], state: int) -> str:
    texts = [text for since, text in changes if since <= state]
    return texts[-1] if texts else "-"


@pytest.mark.parametrize("net", NETS)
def test_the_gradients_so_far_are_the_tapes(net: Any) -> None:
    """At every state k the list says what `tape.before(k)` has, and so do the boxes of a picture that is not folded."""
    root, model = net()
    tape = mg.record(root, params=model)
    page = viz.page(tape, max_nodes=10_000)
    ledger, actors = data(page)["ledger"], data(page)["actors"]
    labels = re.findall(r'<tr><th scope="row"><button type="button">(.*?)</button>', page.html)
    places = {label: f"n{i}" for i, label in enumerate(tape.labels.values())}
    assert len(ledger) == len(labels) == len(tape.before(len(tape)))
    for k in range(1, len(tape) + 1):
        gradients = tape.before(k)
        for label, (place, grad, _) in zip(map(unescape, labels), ledger, strict=True):
            assert place == places[label]
            assert shown_at(grad, k) == tell(gradients.get(label))
        for label, place in places.items():
            text = described(gradients[label]) if label in gradients else "-"
            assert shown_at(actors[place]["grad"], k) == text


def test_a_hook_shows_in_the_gradients() -> None:
    """Of an operation at its own step, of a leaf at the end."""
    x = mg.Value(3.0, name="x")
    y = x * 2
    y.register_hook(lambda g: 10 * g)
    x.register_hook(lambda g: g + 1)
    tape = mg.record(y + y)
    page = data(viz.page(tape))
    grads = {entry[0]: entry[1] for entry in page["ledger"]}
    assert shown_at(grads["n0"], 2) == "41" == tell(tape.before(2)["x"])
    assert shown_at(grads["n1"], 2) == "20" == tell(tape[1].upstream)


def test_the_pass_is_looked_at_only() -> None:
    """No gradient is stored, and none that is there is lost."""
    root = neuron()
    viz.page(root)
    assert all(node._grad is None for node in mg.topological_order(root))
    root.backward()
    before = [node.grad for node in mg.topological_order(root)]
    viz.page(root)
    assert [node.grad for node in mg.topological_order(root)] == before


def test_a_gradient_of_ones_own() -> None:
    t = mg.Tensor([1.0, 2.0], requires_grad=True)
    first = data(viz.page(t * 2, gradient=[3.0, 5.0]))["scenes"][0]
    assert first["given"][0] == ["g", "dL/d%1", "[3 5]"]


def test_large_arrays_are_shown_by_their_statistics() -> None:
    t = mg.Tensor(np.linspace(0, 1, 5000), requires_grad=True, name="t")
    tape = mg.record((t * t).sum())
    assert isinstance(tape.values[t], mg.Summary)
    page = data(viz.page(tape))
    assert page["scenes"][1]["rows"][0][4].startswith("(5000,) <f8 in [0, 1], mean 0.5")
    assert page["actors"]["n0"]["grad"][-1][1] == "mean 1.0000"


def test_what_is_not_finite_is_said() -> None:
    x = mg.Value(0.0, name="x")
    scene = data(viz.page(mg.log(x) * 0.0))["scenes"][1]
    assert scene["rows"][0][-1] == "nan"
    assert "not finite" in scene["where"]
    assert scene["sentence"].endswith("Not all of this is finite.")


def test_a_sum_of_thousands_is_cut_and_says_so() -> None:
    root = mg.sum([mg.Value(float(k)) for k in range(500)])
    (scene,) = data(viz.page(root))["scenes"]
    assert len(scene["rows"]) == scenes.ROWS
    assert scene["more"] == f"and {500 - scenes.ROWS} more contributions"
    assert "So do 497 more inputs." in scene["sentence"]
    assert scene["given"][-1] == ["...", f"{500 - scenes.GIVEN} more", ""]


# ---------------------------------------------------------------------------------------------------- the picture


@pytest.mark.parametrize("most", [1, 5, 20, 60, 10_000])
@pytest.mark.parametrize("net", NETS)
def test_every_node_has_its_place_in_the_picture(net: Any, most: int) -> None:
    """As many nodes are placed in a fold as it says that it stands for; each step is at home in one drawn node."""
    root, model = net()
    tape = mg.record(root, params=model)
    doubles = stage._doubles(tape)
    picture, _, place = stage._drawn(doubles, tape, stage.Cast(Named(model, {}), doubles), most)
    assert len(picture.nodes) <= most
    assert Counter(place.values()) == {node.id: node.count for node in picture.nodes}
    _, shown = staged(tape, model, most)
    assert sorted(k for actor in shown.actors.values() for k in actor.steps) == list(range(1, len(tape) + 1))
    for step, fed in zip(tape, shown.fed, strict=True):
        assert step.index + 1 in shown.actors[shown.place[step.node]].steps
        assert fed == list(dict.fromkeys(shown.place[c.input] for c in step.contributions))


def test_the_picture_has_the_names_boxes_and_parameters_of_viz_graph() -> None:
    """The doubles are drawn as the nodes themselves would be."""
    root, model = scalar_network()
    tape = mg.record(root, params=model)
    doubles = stage._doubles(tape)
    picture, *_ = stage._drawn(doubles, tape, stage.Cast(Named(model, {}), doubles), 10_000)
    own = viz.graph(root, params=model, detail="full")
    assert picture.clusters == own.clusters
    assert picture.edges == own.edges
    assert [node.label for node in picture.nodes[:-1]] == [node.label for node in own.nodes[:-1]]  # the last is `root`
    for drawn, node in zip(picture.nodes, own.nodes, strict=True):
        assert (drawn.id, drawn.kind, drawn.operation, drawn.data, drawn.form, drawn.site, drawn.cluster) == (
            node.id, node.kind, node.operation, node.data, node.form, node.site, node.cluster)  # fmt: skip


def test_room_is_kept_for_the_widest_gradient() -> None:
    """In every box, for every state."""
    root, model = scalar_network()
    _, shown = staged(mg.record(root, params=model))
    rooms = re.findall(r'<g class="node[^>]*id="(n\d+)".*?data-room="([\d.]+)"', shown.drawing, re.DOTALL)
    assert len(rooms) == len(shown.actors)
    for identifier, room in rooms:
        texts = ["-", *(text for _, text in shown.actors[identifier].grad)]
        assert max(stage.width(text, viz.svg.SIZE) for text in texts) <= float(room) + 0.05


def test_a_fold_says_how_many_of_its_nodes_are_reached() -> None:
    members = [[(1, 1.0)], [(3, 2.0), (4, 4.0)]]
    assert stage._texts(members) == [(1, "1 of 2 reached"), (3, "[1.0000, 2.0000]"), (4, "[1.0000, 4.0000]")]


def test_a_leaf_leads_to_the_step_that_completes_its_gradient() -> None:
    root = neuron()
    tape = mg.record(root)
    _, shown = staged(tape)
    w = tape.node("w")
    assert shown.actors[shown.place[w]].goto == tape.changes(w)[-1].index + 1
    assert shown.actors[shown.place[tape.root]].goto == 1


# ---------------------------------------------------------------------------------------------------- the source

TWO_FILES = {
    "first.py": 'import microgrid as mg\nfrom second import 二倍\n\nw = mg.Value(0.5)\n'
                'größe = "🙂"; z = (w *\n     2.0 +\n\tw)\nx = mg.Value(1.0); é = [二倍(x) * z for _ in "🙂"][0] + z\n',
    "second.py": "import microgrid as mg\n" + "\n" * 30 + "def 二倍(x):\n    return mg.exp(x) * 2 # 🙂\n",
}  # fmt: skip


def test_the_source_is_marked_to_the_letter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Over several files and lines, in units of UTF-16: what is marked is the expression of the step's site."""
    for name, text in TWO_FILES.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    scope: dict[str, Any] = {}
    exec(compile(TWO_FILES["first.py"], str(tmp_path / "first.py"), "exec"), scope)
    tape = mg.record(scope["é"])
    page = viz.page(tape)
    lines = dict(re.findall(r'<li id="(line-\d+-\d+)".*?<code>(.*?)</code>', page.html))
    assert re.findall(r"<h3>(.*?)</h3>", page.html) == ["first.py", "second.py"]
    assert len({scene["marks"][0][0].split("-")[1] for scene in data(page)["scenes"]}) == 2
    assert any(len(scene["marks"]) == 3 for scene in data(page)["scenes"])
    for step, scene in zip(tape, data(page)["scenes"], strict=True):
        assert step.source is not None
        texts = []
        for line, begin, end in scene["marks"]:
            units = unescape(re.sub("</?mark>", "", lines[line])).encode("utf-16-le")
            texts.append(units[2 * begin : 2 * end].decode("utf-16-le"))
        assert " ".join(texts) == step.source.expression
    assert re.findall(r"<mark>(.*?)</mark>", page.html) == ["[二倍(x) * z for _ in &quot;🙂&quot;][0] + z"]


def test_files_of_one_name_are_told_apart() -> None:
    assert scenes._short(["/a/b/net.py", "/a/c/net.py", "/x/run.py"]) == {
        "/a/b/net.py": "b/net.py", "/a/c/net.py": "c/net.py", "/x/run.py": "run.py"}  # fmt: skip


def test_lines_far_apart_are_shown_apart(tmp_path: Path) -> None:
    file = str(tmp_path / "far.py")
    linecache.cache[file] = (1, None, [f"line {n}\n" for n in range(1, 101)], file)
    (excerpt,) = scenes.Source([Site(file, n, n, 0, 4, "f") for n in (10, 17, 50)]).excerpts
    assert [line and line[1] for line in excerpt.lines] == [*range(8, 20), None, *range(48, 53)]


def test_without_source_there_is_a_page_all_the_same() -> None:
    """Sites that are not recorded, or lead to no file."""
    with mg.record_sites(False):
        root = neuron()
    assert "The source of these nodes is not to be had here." in viz.page(root).html
    scope: dict[str, Any] = {}
    exec("import microgrid as mg\nx = mg.Value(2.0)\ny = x * x", scope)
    page = viz.page(scope["y"])
    assert "The source of these nodes is not to be had here." in page.html
    assert data(page)["scenes"][0]["marks"] == []


# ---------------------------------------------------------------------------------------------------- the page


def test_it_is_whole_and_asks_for_nothing() -> None:
    """The policy begins with none, and allows by their hashes what the page itself holds: one style, one script."""
    page = viz.page(neuron(), title="A & <b>").html
    parsed = Parsed(page)
    (policy,) = [str(values["content"]) for tag, values in parsed.found if values.get("http-equiv")]
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        assert f"{tag}-src 'sha256-{b64encode(sha256(text.encode()).digest()).decode()}';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    for tag, values in parsed.found:
        assert tag not in ("iframe", "object", "embed", "base", "form", "img", "a")
        assert not [key for key in values if key.startswith("on") or key in ("src", "style", "xlink:href")]
        assert values.get("href", "data:,") == "data:,"
    assert not re.findall(r"https?://", page)
    assert "<title>A &amp; &lt;b&gt;</title>" in page
    ids = [values["id"] for _, values in parsed.found if "id" in values]
    assert len(ids) == len(set(ids))


def test_the_first_step_is_there_without_a_script() -> None:
    """Its sentence, contributions, gradients and mark; and what steps is hidden, with a word why."""
    root = neuron()
    tape = mg.record(root)
    page = viz.page(tape)
    first, text = data(page)["scenes"][0], page.html
    assert f'aria-live="polite" aria-atomic="true">{first["sentence"]}</p>' in text
    rows = re.search(r'<tbody id="rows">(.*?)</tbody>', text)
    assert rows is not None
    assert re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", rows[1]) == [cell for row in first["rows"] for cell in row]
    assert "<mark>a * a + w</mark>" in text
    assert '<nav id="controls" aria-label="Steps" hidden>' in text
    assert "This is the first of 5 steps: with JavaScript" in text
    (here,) = re.findall(r'<g class="(node[^"]*here[^"]*)"', text)
    assert here == "node root reached here"


def test_the_script_writes_texts_and_no_markup() -> None:
    """So that no name, source or number can ever run."""
    script = (ASSETS / "stepper.js").read_text(encoding="utf-8")
    for word in ("innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval", "Function(", "fetch", "import("):
        assert word not in script


HOSTILE = ["<script>alert(1)</script>", "</script><script>alert(1)</script>", "]]>", "<!--", "&lt;", "\"'`", "\\",
           "\ud800", "</style>", "a\nb", "\x00", "\u202eabc", "\u2028", "עברית", "🙂" * 30,
           "<svg onload=alert(1)>"]  # fmt: skip
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30))


def outline(page: viz.stepping.stepper.Page) -> list[tuple[str, list[str]]]:
    """Elements and the names of their attributes."""
    return [(tag, sorted(values)) for tag, values in Parsed(page.html).found]


HARMLESS = outline(viz.page(neuron("w"), title="t"))


@settings(max_examples=25)
@given(name=TEXTS, title=TEXTS)
def test_any_text_is_text(name: str, title: str) -> None:
    """Whatever a name says, the elements are those of a page of harmless names, and the name is read as it is."""
    tape = mg.record(neuron(name))
    page = viz.page(tape, title=title)
    assert outline(page) == HARMLESS
    assert page.html.encode("utf-8")
    (w,) = {c.input for step in tape for c in step.contributions if step.index == 0 and c.slot == "y"}
    label = visible(tape.labels[w])
    assert data(page)["scenes"][0]["rows"][1][0] == label
    assert label in Parsed(page.html).texts
    assert visible(title) in "".join(Parsed(page.html).texts)
    (text,) = re.findall(r'id="data">(.*?)</script>', page.html, re.DOTALL)
    assert not set("<>&") & set(text)
    assert text.isascii()


def test_a_hostile_source_is_text(tmp_path: Path) -> None:
    source = (
        'import microgrid as mg\nx = mg.Value(2.0)\ny = x * x  # </script><img src=x onerror="alert(1)"> & \\ \x0c\n'
    )
    file = str(tmp_path / "<b>.py")
    linecache.cache[file] = (1, None, source.split("\n"), file)
    scope: dict[str, Any] = {}
    exec(compile(source, file, "exec"), scope)
    page = viz.page(scope["y"]).html
    assert "<img" not in page
    assert "&lt;/script&gt;&lt;img src=x onerror=&quot;alert(1)&quot;&gt; &amp; \\ ␌" in page
    assert "<h3>&lt;b&gt;.py</h3>" in page


PROGRAM = """
import nn, sys, microgrid as mg, viz
model = nn.scalar.MLP(2, [3, 1], rng=0)
loss = mg.sum([model([0.5 * k, -1.0]) for k in range(4)])
sys.stdout.buffer.write(viz.page(loss, params=model, max_nodes=40).html.encode())
"""


def test_two_processes_write_the_same_bytes() -> None:
    """Whatever the seed of the hashes."""
    root = Path(viz.__file__).parent.parent
    pages = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM], cwd=root, env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
            capture_output=True,
        ).stdout
        for seed in ("1", "2")
    }  # fmt: skip
    assert len(pages) == 1
    assert pages.pop().startswith(b"<!DOCTYPE html>")


def test_a_long_pass_is_capped_and_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first steps alone: what comes after them has no gradient yet on the page, and leads to no step."""
    assert stepper.MOST_STEPS == 2000
    monkeypatch.setattr(stepper, "MOST_STEPS", 3)
    x = mg.Value(1.0, name="x")
    y = x
    for _ in range(5):
        y = mg.exp(y * 0.5)
    page = viz.page(y)
    assert "The pass has 10 steps; this page shows the first 3." in page.html
    assert len(data(page)["scenes"]) == page.steps == 3
    assert data(page)["actors"]["n0"] == {"grad": [], "steps": [], "goto": 0}
    assert all(goto <= 3 for _, _, goto in data(page)["ledger"])


@pytest.mark.slow
def test_a_pass_of_three_thousand_steps() -> None:
    y = mg.Value(1.0, name="x")
    for _ in range(3000):
        y = y + 1e-3
    page = viz.page(y)
    assert (page.steps, len(page.html) < 4e6) == (2000, True)


def test_a_tape_from_a_file_is_the_same_page(tmp_path: Path) -> None:
    """To the byte: pictures are drawn of the tape alone."""
    tape = mg.record(neuron())
    tape.save(tmp_path / "tape.json")
    assert viz.page(mg.Tape.load(tmp_path / "tape.json")).html == viz.page(tape).html


def test_a_tape_from_a_file_with_a_rule_of_the_users(tmp_path: Path) -> None:
    class cube(mg.Rule):  # noqa: N801 - a rule is written as a class and is a function
        """Three times itself."""

        def value(x):
            return x * x * x

        def wrt_x(g, z, x):
            return g * (3 * x * x)

    tape = mg.record(mg.apply(cube, mg.Tensor(np.arange(8.0), requires_grad=True)).sum())
    tape.save(tmp_path / "tape.json")
    page = viz.page(mg.Tape.load(tmp_path / "tape.json"))
    assert data(page)["scenes"][1]["rows"][0][2] == "g * (3 * x * x)"
    assert "<b>cube</b>" not in page.html
    assert "cube" in page.html


# ---------------------------------------------------------------------------------------------------- files, bad input


def test_it_is_written_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "new" / "steps.html"
    page = viz.page(neuron(), path)
    assert path.read_text(encoding="utf-8") == page.html
    assert page.save(str(tmp_path / "b.HTM")) == tmp_path / "b.HTM"

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="nothing was written"):
        viz.page(mg.Value(1.0) * 2, path)
    assert path.read_text(encoding="utf-8") == page.html
    assert [found.name for found in path.parent.iterdir()] == ["steps.html"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "steps.html").mkdir()
    with pytest.raises(IsADirectoryError):
        viz.page(neuron(), tmp_path / "steps.html")


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        ((3.0,), {}, TypeError, r"^page: expected a Value, a Tensor or a Tape, got float 3\.0, at test_stepper"),
        ((None,), {}, TypeError, "got NoneType None"),
        ((mg.Value(1.0, name="x"),), {}, ValueError, "page: x was made by no operation: there is no step to show"),
        ((mg.Value(1.0) * 2, "steps.pdf"), {}, ValueError, r"'steps\.pdf' ends in none of \.html, \.htm"),
        ((mg.Value(1.0) * 2,), {"max_nodes": 0}, ValueError, "max_nodes=0, expected an integer >= 1"),
        ((mg.Value(1.0) * 2,), {"max_nodes": True}, ValueError, "max_nodes=True"),
        ((mg.Value(1.0) * 2,), {"title": 3}, TypeError, "title: expected a string, got int 3"),
        ((mg.Value(1.0) * 2,), {"params": 3}, TypeError, "params: expected a model"),
        ((mg.record(mg.Value(1.0) * 2),), {"gradient": 1.0}, ValueError, "a tape has the gradient"),
        ((mg.Tensor([1.0, 2.0], requires_grad=True) * 2,), {}, ValueError, "only for scalar outputs"),
        ((mg.Tensor([1.0]).sum(),), {}, ValueError, "does not require grad"),
    ],
)  # fmt: skip
def test_bad_input(arguments: Any, options: Any, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        viz.page(*arguments, **options)


def test_data_that_changed_is_no_page() -> None:
    """A stale graph has no gradients to show."""
    x = mg.Value(2.0, name="x")
    y = x * x
    x.data = 3.0
    with pytest.raises(mg.StaleError):
        viz.page(y)


def test_a_notebook_shows_it_in_a_frame() -> None:
    page = viz.page(neuron(), title='"><b>')
    frame = page._repr_html_()
    ((tag, values),) = Parsed(frame).found
    assert (tag, values["srcdoc"], values["title"]) == ("iframe", page.html, '"><b>')
    assert repr(page) == '<Page: "><b>, 5 steps>'


# ---------------------------------------------------------------------------------------------------- colours


def luminance(colour: str) -> float:
    """WCAG 2.2, relative luminance."""
    digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
    parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return sum(weight * c for weight, c in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


WRITTEN_ON = [
    ("ink", "paper"), ("ink", "panel"), ("ink", "control"), ("ink", "here-tint"), ("ink", "fed-tint"),
    ("soft", "paper"), ("soft", "panel"), ("here", "panel"), ("fed", "paper"), ("main", "paper"), ("on-main", "main"),
]  # fmt: skip


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize(("text", "ground"), WRITTEN_ON)
def test_contrast(scheme: int, text: str, ground: str) -> None:
    """7 : 1 and more, in light and in dark."""
    style = (ASSETS / "stepper.css").read_text(encoding="utf-8")
    palettes = [dict(re.findall(r"--([\w-]+): (#\w+)", rules)) for rules in re.findall(r":root \{(.*?)\}", style, re.S)]
    high, low = sorted((luminance(palettes[scheme][name]) for name in (text, ground)), reverse=True)
    assert (high + 0.05) / (low + 0.05) >= 7
