"""The picture on which a pass is played: the graph of a tape, with room in each box for all that it will show.

The tape alone is drawn, so that it makes no difference what has become of the graph since, or whether there is one: a
tape from a file has none. Its nodes are drawn by doubles, folded where they are many.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np

import microgrid as mg
from viz import drawing, folding, names, svg
from viz.glyphs import width
from viz.picture import Edge, Node, Picture
from viz.stepping.scenes import Changes, is_node, told
from viz.words import described, together, visible

__microgrid_machinery__ = True

LABELLED = 60  # edges: in a picture of no more, each bears what flows along it

Numbers = Sequence[tuple[int, Any]]  # from which state on, which number


class Actor(NamedTuple):
    """A drawn node in the course of the pass.

    Attributes
    ----------
    grad : list of (int, str)
        What its box says of the gradient, from which state on.
    steps : list of int
        The states in which it hands its gradient on: one, or those of the nodes that it stands for.
    goto : int
        The state to show when it is chosen: its own, or of a leaf the one that completes its gradient; 0 for none.
    """

    grad: Changes
    steps: list[int]
    goto: int


class Stage(NamedTuple):
    """The picture, and what is played on it.

    Attributes
    ----------
    drawing : str
        SVG, at state 1.
    place : dict of node to str
        The drawn node that each node of the tape is, or is folded into.
    actors : dict of str to Actor
        What each drawn node does.
    fed : list of list of str
        For each step the drawn nodes that take something from it.
    """

    drawing: str
    place: dict[Any, str]
    actors: dict[str, Actor]
    fed: list[list[str]]


class Cast:
    """Names and calls of a model whose parameters are played by doubles; see `viz.stepping.recording.Named`."""

    def __init__(self, models: Any, doubles: Mapping[Any, mg.Node]) -> None:
        self._models, self._doubles = models, doubles

    def named_parameters(self) -> Iterator[tuple[str, Any]]:
        """Paths and doubles."""
        return ((path, self._doubles[x]) for path, x in self._models.named_parameters() if x in self._doubles)

    def named_modules(self) -> Iterator[tuple[str, Any]]:
        """The modules themselves: the doubles have the numbers of those that they stand for."""
        named: Iterator[tuple[str, Any]] = self._models.named_modules()
        return named


def staged(tape: mg.Tape, models: Any, changes: Mapping[Any, Numbers], steps: Sequence[mg.Step], most: int) -> Stage:
    """Draw the graph of a tape.

    Parameters
    ----------
    tape : Tape
    models : Named
        Parameters and modules, for names and boxes.
    changes : mapping of node to list
        The gradients over the states.
    steps : sequence of Step
        Those that are shown.
    most : int >= 1
        Nodes of the picture; of more it is folded.
    """
    doubles = _doubles(tape)
    picture, tops, place = _drawn(doubles, tape, Cast(models, doubles), most)
    originals = {double: node for node, double in doubles.items()}
    own: dict[str, list[int]] = {node.id: [] for node in picture.nodes}
    for step in steps:
        own[place[step.node]].append(step.index + 1)
    actors = {}
    for node in picture.nodes:
        members = [changes[originals[double]] for double in tops[node.id]]
        grad = _texts(members)
        last = max((state for state, _ in grad), default=0)
        actors[node.id] = Actor(grad, own[node.id], own[node.id][0] if own[node.id] else min(last, len(steps)))
    fed = [list(dict.fromkeys(place[c.input] for c in step.contributions)) for step in steps]
    return Stage(_written(_roomy(picture, actors, place, steps), actors, fed[0]), place, actors, fed)


# ---------------------------------------------------------------------------------------------------- what is drawn


def _doubles(tape: mg.Tape) -> dict[Any, mg.Node]:
    """A node of a graph for each node of the tape, with the number that it held and its label for a name."""
    doubles: dict[Any, mg.Node] = {}
    for label, (node, number) in zip(tape.labels.values(), tape.values.items(), strict=True):
        if isinstance(number, mg.Summary):  # what stands in its place takes no room
            number = np.broadcast_to(np.zeros((), number.dtype), number.shape)
        face = mg.Tensor if isinstance(number, np.ndarray) else mg.Value
        double = face._new(number, node.requires_grad)
        rule = node.rule or (type(node.op, (), {}) if getattr(node, "op", "") else None)  # a user's, from a file
        double.rule, double.parameters = rule, node.parameters
        double.inputs = tuple([doubles[x] if is_node(x) else x for x in node.inputs])
        double._number, double._code = getattr(node, "_number", double._number), None
        double.name = label
        doubles[node] = double
    return doubles


def _drawn(
    doubles: Mapping[Any, mg.Node], tape: mg.Tape, cast: Cast, most: int
) -> tuple[Picture, dict[str, tuple[mg.Node, ...]], dict[Any, str]]:
    """The picture, whose numbers each drawn node shows, and where each node of the tape is to be found in it."""
    order = list(doubles.values())
    paths = names.paths(cast)
    made = names.innermost(order, names.calls(cast, None))
    called = {double: label for double, label in zip(order, tape.labels.values(), strict=True) if label[:1] != "%"}

    def learned(node: mg.Node) -> bool:
        return node in paths if paths else node.requires_grad

    sketch = folding.sketch(order, [doubles[tape.root]], made, called, paths)
    folding.fold(sketch, most, "auto", learned)
    ids = [f"n{i}" for i in range(len(sketch.parts))]
    clusters, within = drawing._clusters(sketch.parts)
    originals = {double: node for node, double in doubles.items()}
    nodes = []
    for i, part in enumerate(sketch.parts):
        node = drawing._node(part, ids[i], called, within[i], learned, sketch.hidden)
        nodes.append(_true(node, originals[part.tops[0]], tape) if len(part.tops) == 1 and not part.words else node)
    edges = [edge for i, part in enumerate(sketch.parts) for edge in drawing._edges(part, i, sketch, None)]
    tops = {ids[i]: part.tops for i, part in enumerate(sketch.parts)}
    return Picture(tuple(nodes), tuple(edges), clusters, tuple(sketch.folded)), tops, _places(doubles, tops)


def _true(drawn: Node, node: Any, tape: mg.Tape) -> Node:
    """The drawn double of a single node with the node's own label, place in the source, and statistics."""
    number = tape.values[node]
    if isinstance(number, mg.Summary):
        fault = "" if number.is_finite else f"data {number.not_finite:,} not finite"
        drawn = replace(drawn, data=_of_summary(number), fault=fault)
    return replace(drawn, name=drawn.name or tape.labels[node], site=str(node.site or ""))


def _of_summary(x: mg.Summary) -> str:
    return f"mean {described(x.mean)}"


def _places(doubles: Mapping[Any, mg.Node], tops: Mapping[str, Sequence[mg.Node]]) -> dict[Any, str]:
    """The drawn node of each node. What a fold does not show is read within it, and so is where its first reader is."""
    shown = {double: identifier for identifier, several in tops.items() for double in several}
    at = dict(shown)
    for double in reversed(list(doubles.values())):  # the first reader comes last
        at.update({x: at[double] for x in double.inputs if isinstance(x, mg.Node) and x not in shown})
    return {node: at[double] for node, double in doubles.items()}


# ---------------------------------------------------------------------------------------------------- what it says


def _texts(members: Sequence[Numbers]) -> Changes:
    """The gradient of a box over the states: of several nodes how many have one, and then all of them together."""
    if len(members) == 1:
        return told(members[0], _number)
    events = sorted((state, i, number) for i, numbers in enumerate(members) for state, number in numbers)
    now: list[Any] = [None] * len(members)
    texts: list[tuple[int, str]] = []
    reached = 0
    for state, i, number in events:
        reached += now[i] is None
        now[i] = number
        text = _number(together(now)) if reached == len(now) else f"{reached:,} of {len(now):,} reached"
        if texts and texts[-1][0] == state:
            texts.pop()
        texts.append((state, text))
    return texts


def _number(x: Any) -> str:
    return visible(_of_summary(x) if isinstance(x, mg.Summary) else described(x))


def _roomy(
    picture: Picture, actors: Mapping[str, Actor], place: Mapping[Any, str], steps: Sequence[mg.Step]
) -> Picture:
    """The picture with the widest text that each box will ever show, and what flows along each edge."""
    nodes = [replace(node, grad=_widest(["-", *(text for _, text in actors[node.id].grad)])) for node in picture.nodes]
    edges = list(picture.edges)
    if len(edges) <= LABELLED and not picture.folded:
        flows = {(place[step.node], c.position): c.value for step in steps for c in step.contributions}
        edges = [_labelled(edge, flows) for edge in edges]
    return replace(picture, nodes=tuple(nodes), edges=tuple(edges))


def _labelled(edge: Edge, flows: Mapping[tuple[str, int], Any]) -> Edge:
    value = flows.get((edge.target, edge.position))
    return edge if value is None or isinstance(value, (np.ndarray, mg.Summary)) else replace(edge, label=_number(value))


def _widest(texts: Sequence[str]) -> str:
    return max(texts, key=lambda text: width(text, svg.SIZE))


# ---------------------------------------------------------------------------------------------------- as SVG


def _written(picture: Picture, actors: Mapping[str, Actor], fed: Sequence[str]) -> str:
    """The SVG for a page: without what a page has already, its boxes to be chosen, the gradients of state 1 in them."""
    root = ElementTree.fromstring(svg.written(picture))
    for element in root.iter():
        element.tag = element.tag.partition("}")[2] or element.tag
        element.tail = None
    for unwanted in ("title", "desc", "metadata", "style"):
        for element in root.findall(unwanted):
            root.remove(element)
    size = {key: root.attrib[key] for key in ("viewBox", "width", "height")}
    root.attrib.clear()
    root.attrib.update({"class": "microgrid", **size, "role": "group"})
    root.set("aria-label", f"Computation graph of {len(picture.nodes)} nodes")
    drawn = {node.id: node for node in picture.nodes}
    for group in root.iter("g"):
        if group.get("id", "") in drawn:
            _act(group, drawn[group.attrib["id"]], actors[group.attrib["id"]], group.attrib["id"] in fed)
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _act(group: ElementTree.Element, node: Node, actor: Actor, fed: bool) -> None:
    """Make a box one that can be chosen, and let its gradient be written over; show what it does at state 1."""
    title = group.find("title")
    assert title is not None
    title.text = visible(", ".join(filter(None, [node.title, node.form, f"data {node.data}", node.note, node.site])))
    if actor.goto:
        group.attrib.update({"role": "button", "tabindex": "0"})
        group.set("aria-label", f"{visible(node.title)}, to step {actor.goto}")
    texts = group.findall("text")
    at = next(i for i, text in enumerate(texts) if text.get("class") == "word" and text.text == "grad")
    number = texts[at + 1]
    room = float(number.attrib["textLength"])
    number.set("class", "gradient")
    number.set("x", f"{float(number.attrib['x']) + room:.1f}")
    number.set("data-room", f"{room:g}")
    number.text = text_at(actor.grad, 1)
    number.set("textLength", f"{width(number.text, svg.SIZE):.1f}")
    states = {"reached": number.text != "-", "here": 1 in actor.steps, "fed": fed}
    group.attrib["class"] += "".join(f" {state}" for state, holds in states.items() if holds)


def text_at(changes: Changes, state: int) -> str:
    """What a text is at a state.

    Examples
    --------
    >>> text_at([(0, "1.0000"), (4, "2.0000")], 3), text_at([(2, "5.0000")], 1)
    ('1.0000', '-')
    """
    return next((text for since, text in reversed(changes) if since <= state), "-")
