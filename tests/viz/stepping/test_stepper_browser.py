"""The page of a backward pass in a real browser: driven by the keyboard, offline, from a file."""

import re
import shutil
from collections.abc import Callable, Iterator
from itertools import combinations, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

import microgrid as mg
import nn
import viz
from microgrid.stepping.steps import brief
from viz.words import described

pytestmark = pytest.mark.browser
sync_api = pytest.importorskip("playwright.sync_api")

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

SHOWN = """() => {
  const text = id => document.getElementById(id).textContent;
  const cells = row => [...row.cells].map(cell => cell.textContent);
  const ids = kind => [...document.querySelectorAll(`.microgrid .${kind}`)].map(e => e.id);
  return {
    place: text("place"), sentence: text("sentence"), title: text("title"), where: text("where"),
    rows: [...document.getElementById("rows").rows].map(cells),
    ledger: Object.fromEntries([...document.getElementById("entries").rows].map(cells)),
    marks: [...document.querySelectorAll("mark")].map(e => e.textContent),
    boxes: Object.fromEntries([...document.querySelectorAll(".microgrid .node")].map(
      e => [e.id, e.querySelector(".gradient").textContent])),
    here: ids("here"), fed: ids("fed"), slider: document.getElementById("slider").value,
  };
}"""

# Boxes of nodes and of their texts in units of the picture; of the panels in pixels; what runs over its room.
MEASURE = """() => {
  const box = e => { const b = e.getBBox(); return [b.x, b.y, b.x + b.width, b.y + b.height]; };
  const place = e => { const b = e.getBoundingClientRect(); return [b.left, b.top, b.right, b.bottom]; };
  return {
    nodes: [...document.querySelectorAll(".microgrid .node")].map(node => ({
      id: node.id, box: box(node.querySelector(".box")), texts: [...node.querySelectorAll("text")].map(box)})),
    panels: [...document.querySelectorAll("header, #sentence, section")].map(place),
    controls: [...document.querySelectorAll("h1, #controls > *")].map(place),
    broad: document.documentElement.scrollWidth - innerWidth,
    view: place(document.getElementById("viewport")), here: place(document.querySelector(".microgrid .here .box")),
  };
}"""


LAPTOP, PHONE = (1280, 720), (390, 844)


class Net(NamedTuple):
    root: mg.Node
    model: Any = None


def neuron() -> Net:
    x, w, b = mg.Value(2.0, name="x"), mg.Value(-0.5, name="w"), mg.Value(0.3, name="b")
    a = mg.sigmoid(w * x
                   + b)  # fmt: skip
    return Net(a * a + w)


def scalar_network() -> Net:
    """2-4-1 of Values."""
    model = nn.scalar.MLP(2, [4, 1], rng=0)
    return Net(-mg.log(mg.sigmoid(model([mg.Value(0.5), mg.Value(-1.0)]))), model)


def array_network() -> Net:
    model = nn.MLP(2, [4, 1], rng=0)
    X, Y = np.array([[0.0, 0.0], [0.0, 1.0], [1.0, 1.0]]), np.array([[0.0], [1.0], [0.0]])
    return Net(nn.BCEWithLogitsLoss()(model(mg.Tensor(X)), Y), model)


def batch() -> Net:
    """Folded: more nodes than are drawn."""
    model = nn.scalar.MLP(2, [4, 1], rng=0)
    return Net(mg.sum([model(row) for row in np.random.default_rng(0).normal(size=(3, 2)).tolist()]), model)


def awkward() -> Net:
    run = "<script>document.title='run'</script>"
    names = [run, "</script>" + run, "עברית", "日本語", "🙂🙂", "W" * 40, "\ud800", "&lt;", "</svg>"]
    names += ['a" onload="document.title=1', "i" * 48]
    return Net(mg.log(mg.sum([mg.Value(-1e-7 * k, name=name) for k, name in enumerate(names)]) * 0.0))


NETS = [neuron, scalar_network, array_network, batch, awkward]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def opened(browser: Any, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Open the page of a net, offline, from its file; it must report no error and ask for nothing."""
    contexts, trouble = [], []

    def opened(
        net: Net, address: str = "", size: tuple[int, int] = (1280, 720), most: int = 150, **options: Any
    ) -> Any:
        path = viz.page(net.root, tmp_path / "steps.html", params=net.model, max_nodes=most) and tmp_path / "steps.html"
        settings = {"reduced_motion": "reduce", "offline": True, **options}
        contexts.append(browser.new_context(viewport={"width": size[0], "height": size[1]}, **settings))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("console", lambda message: trouble.append(message.text))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or trouble.append(request.url))
        page.goto(path.as_uri() + address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not trouble


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


def visible(text: str) -> str:
    return viz.words.visible(text)


@pytest.mark.parametrize("net", NETS)
def test_the_keyboard_steps_and_the_numbers_are_the_tapes(net: Any, opened: Any) -> None:
    """At every step, forward by the right arrow and back by the left."""
    made = net()
    tape = mg.record(made.root, params=made.model)
    page = opened(made, most=40)
    assert page.title() == "Backward pass from L"
    folded = len(page.evaluate(SHOWN)["boxes"]) < len(tape.labels)
    seen = []
    for step in tape:
        shown = page.evaluate(SHOWN)
        seen.append(shown)
        gradients = {visible(label): tell(gradient) for label, gradient in tape.before(step.index + 1).items()}
        assert shown["place"] == f"{step.index + 1} of {len(tape)}"
        assert shown["slider"] == str(step.index + 1)
        assert shown["sentence"].startswith(f"Step {step.index + 1} of {len(tape)}: {visible(step.label)}, {step.op}.")
        assert list(map(plain, shown["rows"])) == [
            [visible(c.label), c.slot, c.formula, "" if c.local is None else tell(c.local),
             *map(cell, (c.value, c.before, c.after))]
            for c in step.contributions
        ]  # fmt: skip
        assert {name: text for name, text in shown["ledger"].items() if text != "-"} == gradients
        assert step.source is not None
        assert shown["marks"] == [step.source.expression] or len(shown["marks"]) > 1
        if not folded:
            place = {label: f"n{i}" for i, label in enumerate(tape.labels.values())}
            assert shown["here"] == [place[step.label]]
            assert set(shown["fed"]) == {place[c.label] for c in step.contributions}
            numbers = {place[label]: described(gradient) for label, gradient in tape.before(step.index + 1).items()}
            assert {at: text for at, text in shown["boxes"].items() if text != "-"} == numbers
        page.keyboard.press("ArrowRight")
    assert page.evaluate(SHOWN) == seen[-1]  # at the end it stays
    for shown in reversed(seen[:-1]):
        page.keyboard.press("ArrowLeft")
        assert page.evaluate(SHOWN) == shown


def test_home_end_buttons_and_slider(opened: Any) -> None:
    page = opened(neuron())
    at = lambda: page.locator("#place b").inner_text()
    for key, there in (("End", "5"), ("Home", "1"), ("ArrowLeft", "1"), ("ArrowRight", "2")):
        page.keyboard.press(key)
        assert at() == there
    for name, there in (("Last", "5"), ("Back", "4"), ("First", "1"), ("Step", "2")):
        page.get_by_role("button", name=name, exact=True).click()
        assert at() == there
    slider = page.get_by_role("slider", name="Step")
    slider.fill("4")
    assert at() == "4"
    slider.focus()
    page.keyboard.press("ArrowRight")  # one step, not two
    assert at() == "5"
    assert slider.get_attribute("aria-valuetext").startswith("Step 5 of 5: ")
    assert page.get_by_role("button", name="Step", exact=True).get_attribute("aria-disabled") == "true"
    page.get_by_role("heading", level=1).click()
    page.keyboard.press("Control+ArrowLeft")  # the browser's
    assert at() == "5"


def test_the_address(opened: Any) -> None:
    """It says the step, is obeyed when the page opens and when it changes, and Back goes back."""
    page = opened(neuron(), "#3")
    at = page.locator("#place b")
    assert at.inner_text() == "3"
    page.keyboard.press("ArrowRight")
    page.wait_for_url("**#4")
    page.keyboard.press("End")
    page.wait_for_url("**#5")
    page.go_back()
    sync_api.expect(at).to_have_text("4")
    page.go_back()
    sync_api.expect(at).to_have_text("3")
    page.go_forward()
    sync_api.expect(at).to_have_text("4")
    for hash_, there in (("#2", "2"), ("#99", "5"), ("#0", "5"), ("#x<b>", "5"), ("#1", "1")):
        page.evaluate("hash => { location.hash = hash; }", hash_)
        sync_api.expect(at).to_have_text(there)


@pytest.mark.parametrize("address", ["#0", "#nothing", "#-1", "#1e9", "#99999999", ""])
def test_an_address_of_no_step_is_the_first(address: str, opened: Any) -> None:
    assert opened(neuron(), address).locator("#place b").inner_text() == "1"


def test_nodes_lead_to_their_steps(opened: Any) -> None:
    """By a click, and by Enter; a leaf to the step that completes its gradient; so do the names in the list."""
    made = neuron()
    tape = mg.record(made.root)
    page = opened(made)
    for i, (node, label) in enumerate(tape.labels.items()):
        step = tape.step_of(node)
        there = str(step.index + 1 if step else tape.changes(node)[-1].index + 1)
        for go in (
            lambda i=i: page.locator(f"#n{i}").click(),
            lambda i=i: page.locator(f"#n{i}").press("Enter"),
            lambda label=label: page.locator("#entries").get_by_role("button", name=label, exact=True).click(),
        ):
            page.keyboard.press("End" if there == "1" else "Home")
            go()
            assert page.locator("#place b").inner_text() == there


@pytest.mark.parametrize("size", [LAPTOP, PHONE])
@pytest.mark.parametrize("net", NETS)
def test_text_is_inside_its_box_and_nothing_overlaps(net: Any, size: tuple[int, int], opened: Any) -> None:
    """At every step, on a laptop and on a phone: texts in boxes, boxes apart, panels apart, the step in view."""
    page = opened(net(), size=size, most=40)
    count = int(page.locator("#slider").get_attribute("max"))
    for k in range(1, count + 1):
        found = page.evaluate(MEASURE)
        for node in found["nodes"]:
            for text in node["texts"]:
                assert inside(text, node["box"]), (k, node)
            rows = sorted(node["texts"], key=lambda box: (box[1], box[0]))
            assert not [pair for pair in pairwise(rows) if overlap(*pair, 3.0)], (k, node)
        if k == 1:
            assert not [pair for pair in combinations([n["box"] for n in found["nodes"]], 2) if overlap(*pair, 0.0)]
        for several in (found["panels"], found["controls"]):
            assert not [pair for pair in combinations(several, 2) if overlap(*pair, 0.5)], k
        assert found["broad"] <= 0
        assert inside(found["here"], found["view"], 1.0), k
        page.keyboard.press("ArrowRight")


def inside(a: list[float], b: list[float], slack: float = 0.5) -> bool:
    return a[0] >= b[0] - slack and a[1] >= b[1] - slack and a[2] <= b[2] + slack and a[3] <= b[3] + slack


def overlap(a: list[float], b: list[float], slack: float) -> bool:
    return min(a[2], b[2]) - max(a[0], b[0]) > slack and min(a[3], b[3]) - max(a[1], b[1]) > slack


def test_roles_and_names(opened: Any) -> None:
    """What a screen reader finds: headings, controls, the graph and its nodes, tables with heads, a live region."""
    page = opened(neuron())
    tree = page.locator("body").aria_snapshot()
    for line in (
        '- heading "Backward pass from L" [level=1]', '- navigation "Steps"', '- button "First" [disabled]',
        '- button "Step"',
        '- slider "Step"', '- main', '- region "Graph"', '- button "Zoom in"', '- group "Computation graph of 8 nodes"',
        '- region "Source"', '- region "Gradients so far"', '- table "Contributions to the gradients of its inputs"',
        '- columnheader "contribution"', '- rowheader "w"', '- status: ',
    ):  # fmt: skip
        assert line in tree, line
    assert re.search(r'- button "(%\d+|a) = sigmoid, to step 3"', tree)
    live = page.locator("[aria-live]")
    assert (live.count(), live.get_attribute("aria-live"), live.get_attribute("role")) == (1, "polite", "status")
    before = live.inner_text()
    page.keyboard.press("ArrowRight")
    assert live.inner_text() != before
    assert page.locator(".node[aria-current=step]").count() == 1
    assert page.evaluate("document.documentElement.lang") == "en"


def test_the_focus_is_seen(opened: Any) -> None:
    """Everything that the Tab key comes to has an outline, or a box with a thick one; and nothing keeps it there."""
    page = opened(neuron())
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        found = page.evaluate("""() => {
          const e = document.activeElement, box = e.querySelector(":scope > .box");
          return [e.id || e.textContent, e === document.body || (box ? getComputedStyle(box).strokeWidth === "4px"
            : parseFloat(getComputedStyle(e).outlineWidth) >= 3)];
        }""")
        assert found[1], found
        seen.append(found[0])
    assert {"first", "back", "step", "last", "slider", "in", "out", "fit", "n0", "n7", "w"} <= set(seen)


BACKGROUNDS = {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_light_and_dark(scheme: str, opened: Any) -> None:
    """The page and the picture follow the reader's choice; every text contrasts with what it stands on by 7 : 1."""
    page = opened(scalar_network(), "#12", color_scheme=scheme)
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == BACKGROUNDS[scheme]
    colours = page.evaluate("""() => {
      const numbers = colour => colour.match(/[\\d.]+/g).map(Number);
      const luminance = ([r, g, b]) => [r, g, b].map(c => c / 255).map(
        c => c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4).reduce(
          (sum, c, i) => sum + c * [.2126, .7152, .0722][i], 0);
      const ground = e => {
        for (; e; e = e.parentElement) {
          if (e.matches(".node")) return numbers(getComputedStyle(e.querySelector(".box")).fill);
          const back = numbers(getComputedStyle(e).backgroundColor);
          if (back[3] !== 0) return back;
        }
      };
      const found = [];
      const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        const e = walk.currentNode.parentElement;
        if (!walk.currentNode.textContent.trim() || e.closest("script, noscript, title, .edge, .frame")) continue;
        const style = getComputedStyle(e), text = numbers(e.closest("svg") ? style.fill : style.color);
        const [low, high] = [luminance(text), luminance(ground(e))].sort((a, b) => a - b);
        found.push([(high + .05) / (low + .05), e.textContent]);
      }
      return found;
    }""")
    assert len(colours) > 150
    assert min(colours)[0] >= 7, min(colours)


def test_motion_is_reduced_where_that_is_wanted(opened: Any) -> None:
    """Otherwise what flows is animated."""
    animations = "document.getAnimations().filter(a => a.playState === 'running').length"
    assert opened(neuron(), "#2").evaluate(animations) == 0
    assert opened(neuron(), "#2", reduced_motion="no-preference").evaluate(animations) > 0


def test_without_a_script_the_first_step_is_read(opened: Any) -> None:
    page = opened(neuron(), java_script_enabled=False)
    note = page.locator("noscript p")
    assert note.is_visible()
    assert note.inner_text() == "This is the first of 5 steps: with JavaScript, the page steps through them."
    assert page.get_by_role("status").inner_text().startswith("Step 1 of 5: %7, add.")
    assert not page.get_by_role("slider").is_visible()
    assert page.locator("mark").inner_text() == "a * a + w"
    assert page.locator(".microgrid .here .gradient").text_content() == "1.0000"


def test_pan_and_zoom(opened: Any) -> None:
    """By buttons, keys, the wheel with Ctrl, and by dragging, which chooses no node; 0 fits the whole graph again."""
    page = opened(scalar_network())
    view = lambda: [float(x) for x in page.locator("#viewport svg").get_attribute("viewBox").split()]
    page.keyboard.press("0")
    whole = view()
    page.get_by_role("button", name="Zoom in").click()
    page.keyboard.press("+")
    assert view()[2] == pytest.approx(whole[2] / 1.25**2)
    page.keyboard.press("-")
    page.get_by_role("button", name="Zoom out").click()
    assert view() == pytest.approx(whole)
    room = page.locator("#viewport").bounding_box()
    page.mouse.move(room["x"] + room["width"] / 2, room["y"] + room["height"] / 2)
    page.mouse.wheel(0, -100)
    assert view() == pytest.approx(whole)
    page.keyboard.down("Control")
    page.mouse.wheel(0, -400)
    page.keyboard.up("Control")
    page.wait_for_function(
        f"+document.querySelector('#viewport svg').getAttribute('viewBox').split(' ')[2] < {whole[2]}"
    )
    for _ in range(8):
        page.keyboard.press("+")
    near = view()
    page.keyboard.press("Shift+ArrowRight")
    page.keyboard.press("Shift+ArrowDown")
    moved = view()
    assert moved[0] > near[0]
    assert moved[1] > near[1]
    page.get_by_role("button", name="Fit the graph").click()
    page.keyboard.press("+")
    moved, step = view(), page.locator("#place b").inner_text()
    other = page.evaluate("""() => {
      const room = document.getElementById("viewport").getBoundingClientRect();
      const boxes = [...document.querySelectorAll(".microgrid .node[role]:not(.here) .box")];
      const b = boxes.map(e => e.getBoundingClientRect()).find(b => b.left > room.left && b.top > room.top
        && b.right < room.right && b.bottom < room.bottom);
      return [b.left + b.width / 2, b.top + b.height / 2];
    }""")
    page.mouse.move(*other)
    page.mouse.down()
    page.mouse.move(other[0] + 40, other[1] + 30, steps=4)
    page.mouse.up()
    assert view()[0] < moved[0]
    assert view()[1] < moved[1]
    assert page.locator("#place b").inner_text() == step
    page.get_by_role("button", name="Fit the graph").click()
    assert view() == pytest.approx(whole)


def test_a_window_may_change_its_size(opened: Any) -> None:
    page = opened(array_network())
    page.keyboard.press("0")
    page.set_viewport_size({"width": 700, "height": 900})
    page.wait_for_function("""() => {
      const view = document.querySelector('#viewport svg').viewBox.baseVal, room = document.getElementById('viewport');
      return Math.abs(view.width / view.height - room.clientWidth / room.clientHeight) < .01;
    }""")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_hostile_names_do_not_run(opened: Any) -> None:
    page = opened(awkward())
    for _ in range(4):
        page.keyboard.press("ArrowRight")
    assert page.title() == "Backward pass from L"
    assert page.evaluate("document.querySelectorAll('script').length") == 2


def test_a_page_within_a_notebook(browser: Any) -> None:
    """In a frame without an address it steps all the same."""
    page = browser.new_page()
    page.set_content(viz.page(neuron().root)._repr_html_())
    frame = page.frame_locator("iframe")
    frame.get_by_role("button", name="Last").click()
    assert frame.locator("#place b").inner_text() == "5"
    page.close()
