"""From a root to a `Graph`: what is to be drawn, and the ways of drawing it."""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from inspect import signature
from numbers import Integral
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import graphviz
import numpy as np

import microgrid as mg
from microgrid.graph import differentiate
from microgrid.stale import check
from viz import dot, files, folding, hypertext, listing, mermaid, names, svg
from viz.folding import Part, Sketch
from viz.picture import Cluster, Edge, Kind, Node, Picture
from viz.plots import figures
from viz.words import clipped, constant, counted, described, fault, given, held, together

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__microgrid_machinery__ = True

MAX_NODES = 150  # about so many stay readable on a screen
MOST = 10**9  # nodes, than which no graph has more
INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "matmul": "@"}
OPERANDS = 9  # so many are written
DETAILS = ("auto", "full", *folding.STEPS)
LABELS = (None, "local", "contribution")
SUFFIXES = {
    ".svg": "svg", ".html": "html", ".htm": "html", ".dot": "dot", ".gv": "dot", ".png": "png", ".pdf": "pdf",
    ".mmd": "mermaid", ".mermaid": "mermaid", ".txt": "text", ".json": "json",
}  # fmt: skip


class Graph(Picture):
    """What is to be drawn, and the ways of drawing it; notebooks show it.

    Made by `viz.graph`. The attributes are those of `Picture`: nodes, edges, clusters and what was folded, all of it
    in words.

    Examples
    --------
    >>> a = mg.Value(2.0, name="a")
    >>> g = graph(a * a)
    >>> g.svg().startswith("<svg")
    True
    >>> print(g.mermaid().splitlines()[0])
    flowchart LR
    """

    def svg(self, rankdir: str = "LR", *, engine: str | None = None, timeout: float = 30.0) -> str:
        """The picture as SVG.

        Parameters
        ----------
        rankdir : {"LR", "TB", "RL", "BT"}
            From left to right, from top to bottom, ...
        engine : {None, "dot"}
            Who places the nodes: viz itself, or the program `dot` of Graphviz. Where `dot` is missing, too slow or
            fails, viz places them, and warns.
        timeout : float > 0
            Seconds that `dot` may take.

        Raises
        ------
        TypeError
            If `timeout` is no number.
        ValueError
            For another rankdir or engine, or a `timeout` that is not above 0.
        """
        rankdir, timeout = dot.direction(rankdir), files.seconds(timeout)
        if not (engine is None or (isinstance(engine, str) and engine == "dot")):
            raise ValueError(f"svg: engine={engine!r} is neither None nor 'dot', at {mg.sites.here()}")
        if engine == "dot":
            try:
                return files.laid_out(self.dot(rankdir), "svg", timeout).decode("utf-8")
            except files.DotError as error:
                warnings.warn(f"{error}; viz places the nodes instead", stacklevel=2)
        return svg.written(self, rankdir)

    def html(self, rankdir: str = "LR", *, title: str = "Computation graph") -> str:
        """The picture as a page of its own, which needs no network and no script to be read."""
        return hypertext.written(self, self.svg(rankdir), title)

    def dot(self, rankdir: str = "LR", *, style: str | None = None) -> str:
        """The picture in the language of Graphviz; `style="micrograd"` as micrograd draws it."""
        return str(dot.digraph(self, dot.direction(rankdir), style).source)

    def mermaid(self, rankdir: str = "LR") -> str:
        """The picture in the language of Mermaid, which Markdown on many sites shows as a drawing."""
        return mermaid.written(self, dot.direction(rankdir))

    def text(self) -> str:
        """The picture as lines of text, from the root back to the leaves."""
        return listing.written(self)

    def json(self) -> str:
        """The picture as JSON, ASCII alone."""
        return json.dumps(self.to_dict())

    def png(self, rankdir: str = "LR", *, timeout: float = 30.0) -> bytes:
        """The picture in pixels, by the program `dot`.

        Raises
        ------
        DotError
            If `dot` is missing, fails, or takes longer than `timeout` seconds.
        """
        return files.laid_out(self.dot(rankdir), "png", timeout)

    def pdf(self, rankdir: str = "LR", *, timeout: float = 30.0) -> bytes:
        """The picture as PDF, by the program `dot`; errors as for `png`."""
        return files.laid_out(self.dot(rankdir), "pdf", timeout)

    def save(self, path: str | PathLike[str], **options: Any) -> Path:
        """Write the picture; what it is, the suffix says.

        A file that stands there is replaced when the new one is complete, and left as it is if anything fails.

        Parameters
        ----------
        path : str or path
            `.svg`, `.html`, `.dot`, `.gv`, `.mmd`, `.txt` and `.json` need no program; `.png` and `.pdf` need `dot`.
            Folders are made.
        **options
            Of the method of that name: `rankdir="TB"`, `timeout=5`.

        Returns
        -------
        pathlib.Path
            The file.

        Raises
        ------
        ValueError
            For another suffix; and as for the method.
        TypeError
            If `path` is none, or for an option that the method does not have.
        DotError
            As for `png`.
        OSError
            If the file cannot be written.
        """
        path = files.path_of(path)
        form = SUFFIXES.get(path.suffix.lower())
        if form is None:
            raise ValueError(f"save: {path.name!r} ends in none of {', '.join(SUFFIXES)}, at {mg.sites.here()}")
        writer = getattr(self, form)
        _known(options, path, tuple(signature(writer).parameters))
        content = writer(**options)
        return files.write(path, content if isinstance(content, bytes) else content.encode("utf-8"))

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> dict[str, str]:
        """What a notebook shows; never an error."""
        try:
            drawing = self.svg()
            return {"image/svg+xml": drawing, "text/html": hypertext.fragment(drawing), "text/plain": self.text()}
        except Exception:
            return {"text/plain": repr(self)}

    def __repr__(self) -> str:
        size = f"{counted(len(self.nodes), 'node')}, {counted(len(self.edges), 'edge')}"
        return f"<Graph of {size}{self.caption and ': '}{self.caption}>"

    def __str__(self) -> str:
        return self.text()


def graph(
    *roots: mg.Node,
    params: Any = None,
    detail: str = "auto",
    max_nodes: int = MAX_NODES,
    expand: Callable[[str], Any] | None = None,
    labels: Literal["local", "contribution"] | None = None,
) -> Graph:
    """What the roots were computed from, ready to be drawn.

    A node is called by its path in the model, else by its `name`, else by the variable that holds it where this is
    called.

    Parameters
    ----------
    *roots : Value or Tensor
        What is drawn, with all that it was computed from.
    params : Module or mapping of str to node, optional
        A model, whose parameters give the leaves their names and whose calls the boxes around what they computed
        (whatever has `named_parameters()`; for the boxes, `named_modules()` with `calls()`); or names and nodes.
    detail : {"auto", "full", "constants", "sums", "samples", "modules"}
        "auto" folds as much as it takes for the picture to fit. "full" draws every node, however many there are. The
        others fold so far in any case, and farther if it takes more: constants are printed inside what uses them;
        sums of products are one node; samples of a batch that are alike are one; modules are one node each.
    max_nodes : int >= 1
        A picture fits if it has no more nodes than this, and its edges can be told apart: 2.5 for each node, or 40.
        Of a row of more than a fifth of it, or of 30, modules are folded all the same (not the model itself, and not
        with `labels`).
    expand : function of str to bool, optional
        Modules whose path it is true of are drawn in full: `expand=lambda path: path == "layers.0"`; of a batch that
        would not fit so, samples that are alike are one.
    labels : {None, "local", "contribution"}
        Write on each edge the derivative of its target by its source (between single numbers), or what the target
        handed to the source's gradient in a backward pass; not on those of nodes drawn as one.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError
        If a root is no node, or `params` has no named parameters.
    ValueError
        If there is no root; for an unknown detail or label, or `max_nodes` below 1; if `expand` fails.
    StaleError
        If labels are asked for, and a number that they need was written over: by an optimiser's step, say.

    Examples
    --------
    >>> a = mg.Value(2.0, name="a")
    >>> picture = graph(a + a)
    >>> [(edge.source, edge.target, edge.position) for edge in picture.edges]
    [('n0', 'n1', 0), ('n0', 'n1', 1)]
    >>> picture.nodes[0].grad  # no pass has been there
    '-'
    """
    _check(roots, detail, max_nodes, expand, labels)
    return _graph(roots, params, detail, max_nodes, expand, labels, names.users_variables())


def _known(options: Mapping[str, Any], path: Path, names: Sequence[str]) -> None:
    """Refuse options that there are not."""
    for option in options:
        if option not in names:
            there = f"options of {path.suffix} are {', '.join(names)}" if names else f"{path.suffix} has no options"
            raise TypeError(f"save: {option!r} is no option: {there}, at {mg.sites.here()}")


def _check(roots: Sequence[Any], detail: Any, max_nodes: Any, expand: Any, labels: Any) -> None:
    if not roots:
        raise ValueError(f"graph: nothing to draw, expected a Value or Tensor, at {mg.sites.here()}")
    for root in roots:
        if not isinstance(root, mg.Node):
            raise TypeError(
                f"a picture shows a Value or Tensor and its history, got {given(root)}, at {mg.sites.here()}"
            )
    if not isinstance(detail, str) or detail not in DETAILS:
        raise ValueError(f"graph: detail={detail!r} is none of {', '.join(DETAILS)}, at {mg.sites.here()}")
    if not isinstance(max_nodes, Integral) or isinstance(max_nodes, bool) or max_nodes < 1:
        raise ValueError(f"graph: max_nodes={max_nodes!r}, expected an integer >= 1, at {mg.sites.here()}")
    if expand is not None and not callable(expand):
        raise TypeError(f"graph: expand: expected a function of a module's path, got {given(expand)}, "
                        f"at {mg.sites.here()}")  # fmt: skip
    if not (labels is None or (isinstance(labels, str) and labels in LABELS)):
        raise ValueError(f"graph: labels={labels!r} is none of None, 'local', 'contribution', at {mg.sites.here()}")


def _graph(
    roots: Sequence[mg.Node], params: Any, detail: str, max_nodes: int, expand: Callable[[str], Any] | None,
    labels: str | None, scope: Mapping[str, Any],
) -> Graph:  # fmt: skip
    with _uncollected():
        return _made(roots, params, detail, max_nodes, expand, labels, scope)


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without the collector of reference cycles, which would look through all of a big graph again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _made(
    roots: Sequence[mg.Node], params: Any, detail: str, max_nodes: int, expand: Callable[[str], Any] | None,
    labels: str | None, scope: Mapping[str, Any],
) -> Graph:  # fmt: skip
    paths = names.paths(params)
    order = mg.topological_order(*roots)
    given_names = {node: node.name for node in order if node.name is not None}
    called = names.variables(scope) | given_names | paths
    made = names.innermost(order, names.calls(params, expand))

    def learned(node: mg.Node) -> bool:
        return node in paths if paths else node.requires_grad

    pinned = sum(call.expanded for call in made.values())  # each sample of what is drawn in full, if that can be read
    for apart in (True, False) if 0 < pinned <= max_nodes else (False,):
        drawn = folding.sketch(order, roots, made, called, paths, given_names)
        if detail == "full":
            break
        long = labels is not None  # which folded nodes do not bear
        if folding.fold(drawn, min(int(max_nodes), MOST), detail, learned, apart=apart, long=long):
            break
    ids = [f"n{i}" for i in range(len(drawn.parts))]
    clusters, within = _clusters(drawn.parts)
    nodes = [_node(part, ids[i], called, within[i], learned, drawn.hidden) for i, part in enumerate(drawn.parts)]
    edges = [edge for i, part in enumerate(drawn.parts) for edge in _edges(part, i, drawn, labels)]
    return Graph(tuple(nodes), tuple(edges), clusters, tuple(drawn.folded), _remarks(order, names.since(params)))


def _remarks(order: Sequence[mg.Node], since: int) -> tuple[str, ...]:
    """What the picture does not show, though it might be looked for."""
    older = sum(1 for node in order if node.rule is not None and node._number < since)
    forgotten = f"{counted(older, 'node')} older than the calls that the model remembers stand in no box"
    stale = sum(1 for node in order if node.rule is not None and _is_stale(node))
    two_times = f"Computed before an optimizer or the user wrote new numbers: {counted(stale, 'node')}"
    return (forgotten,) * bool(older) + (two_times,) * bool(stale)


def _is_stale(node: mg.Node) -> bool:
    """Whether the node was computed from other numbers than its inputs now hold, or holds others itself."""
    try:
        check(node, node.inputs)
    except mg.StaleError:
        return True
    return False


# ---------------------------------------------------------------------------------------------------- parts in words


def _node(
    part: Part, identifier: str, called: Mapping[mg.Node, str], cluster: str, learned: Callable[[mg.Node], bool],
    hidden: Collection[mg.Node],
) -> Node:  # fmt: skip
    node = part.tops[0]
    several = len(part.tops) > 1
    data = together([held(top)[0] for top in part.tops])
    grads = [g for top in part.tops if (g := held(top)[1]) is not None]
    grad = together(grads)
    reached = f" in {len(grads):,} of {len(part.tops):,}" * (len(grads) < len(part.tops))
    faults = [f"{what} {how}" for what, numbers in (("data", data), ("grad", grad)) if (how := fault(numbers))]
    name = part.name or ("" if several else called.get(node, ""))
    notes = [f"× {part.times:,}"] * (part.times > 1) + [f"× {part.copies:,} alike"] * (part.copies > 1)
    return Node(
        id=identifier,
        kind=_kind(part, learned),
        name=name,
        operation=part.words or _operation(part.tops, called, hidden),
        data=described(data),
        grad=described(grad) + reached if grads else "-",
        form=_form(part.tops),
        fault=", ".join(faults),
        site=str(node.site or "") * (len({(top._code, top._instruction) for top in part.tops}) == 1),
        count=part.count,
        note=", ".join(notes) or (f"{part.count:,} nodes" if part.words and "node" not in part.words else ""),
        cluster=cluster,
    )


def _form(nodes: Sequence[mg.Node]) -> str:
    """Shape and dtype of arrays; how many values or arrays they are, if several; nothing for one value."""
    forms = {(x.shape, x.dtype) if isinstance(x := node._data, np.ndarray) else None for node in nodes}
    form = forms.pop()
    if forms:
        return f"{len(nodes):,} arrays"
    if form is None:
        return f"{len(nodes):,} values" * (len(nodes) > 1)
    return f"{len(nodes):,} × " * (len(nodes) > 1) + f"{form[0]} {form[1]}"


def _kind(part: Part, learned: Callable[[mg.Node], bool]) -> Kind:
    if part.leaf:
        return "parameter" if all(map(learned, part.tops)) else "input"
    return "root" if part.root else "operation"


def _operation(nodes: Sequence[mg.Node], called: Mapping[mg.Node, str], hidden: Collection[mg.Node]) -> str:
    """The rule, with a bullet for each input that is drawn and the constants that are not.

    Of several nodes of one rule: an ellipsis where their constants differ.
    """
    node = nodes[0]
    if node.rule is None:
        return ""
    name = node.rule.__name__
    symbol = INFIX.get(name, "")
    text = symbol or name
    if not all(isinstance(x, mg.Node) and x not in hidden for x in node.inputs):
        alike = [_operands(other, called, hidden) for other in nodes]
        operands = [words[0] if len(set(words)) == 1 else "…" for words in zip(*alike, strict=False)]
        text = f" {symbol} ".join(operands) if symbol else f"{name}({', '.join(operands)})"
    chosen = {key: item for key, item in node.parameters.items() if item is not None and item is not False}
    return clipped(" ".join([text, *(f"{key}={constant(item)}" for key, item in chosen.items())]))


def _operands(node: mg.Node, called: Mapping[mg.Node, str], hidden: Collection[mg.Node]) -> list[str]:
    """The first inputs of a node in words."""
    words = ["…"] * min(len(node.inputs), OPERANDS + 1)
    for k, x in enumerate(node.inputs[:OPERANDS]):
        if not isinstance(x, mg.Node):
            words[k] = constant(x)
        else:
            words[k] = (clipped(called.get(x, "")) or constant(x._data)) if x in hidden else "•"
    return words


def _edges(part: Part, place: int, drawn: Sketch, labels: str | None) -> list[Edge]:
    if part.weights is not None:
        return [
            Edge(f"n{x}", f"n{place}", position, weight)
            for position, (x, weight) in enumerate(zip(part.inputs, part.weights, strict=True))
        ]
    node = part.tops[0]
    positions = [k for k, x in enumerate(node.inputs) if isinstance(x, mg.Node) and x not in drawn.hidden]
    written = _derivatives(node, labels) if labels else {}
    return [
        Edge(f"n{x}", f"n{place}", position, 1, written.get(position, ""))
        for x, position in zip(part.inputs, positions, strict=True)
    ]


def _derivatives(node: mg.Node, labels: str) -> dict[int, str]:
    """What is to be written on the edges into a node, by position."""
    _, g = held(node)
    if labels == "local":
        if isinstance(node._data, np.ndarray) and node._data.size > 1:
            return {}
        g = node._seed(None)
    if node.rule is None or g is None:
        return {}
    try:
        with np.errstate(all="ignore"):
            return {position: described(share) for position, share in differentiate(node, g, None, False)}
    except mg.StaleError as error:
        raise mg.StaleError(
            f"graph: labels={labels!r} needs the numbers as they were, so draw before optimizer.step(), or without "
            f"labels, at {mg.sites.here()}; {error}"
        ) from None


def _clusters(parts: Sequence[Part]) -> tuple[tuple[Cluster, ...], list[str]]:
    """The boxes around the parts, outer ones first, and the id of the innermost around each part."""
    sizes: dict[int, int] = {}
    calls: dict[int, names.Call] = {}
    for part in parts:
        for call in part.call.around() if part.call else ():
            sizes[id(call)] = sizes.get(id(call), 0) + 1
            calls[id(call)] = call
    boxed = sorted((call for call in calls.values() if sizes[id(call)] > 1), key=lambda call: (call.begun, -call.ended))
    ids = {id(call): f"c{i}" for i, call in enumerate(boxed)}

    def innermost(call: names.Call | None) -> str:
        return next((ids[id(c)] for c in call.around() if id(c) in ids), "") if call else ""

    for part in parts:  # a call of one node needs no box: the node bears its path
        if part.call and id(part.call) not in ids and not part.name and not part.label:
            part.name = part.call.path
    clusters = [Cluster(ids[id(c)], c.path, clipped(c.title), innermost(c.parent)) for c in boxed]
    return tuple(clusters), [innermost(part.call) for part in parts]


# ---------------------------------------------------------------------------------------------------- micrograd's names


def draw_dot(
    root: mg.Node,
    format: str = "svg",  # noqa: A002 - micrograd's name
    rankdir: str = "LR",
    *,
    params: Any = None,
    style: str | None = None,
    detail: str = "auto",
    max_nodes: int = MAX_NODES,
    expand: Callable[[str], Any] | None = None,
    labels: Literal["local", "contribution"] | None = None,
) -> graphviz.Digraph:
    """The graph that `root` was computed by, as a `graphviz.Digraph`, which notebooks show.

    A box is a node: its name and operation, its data, and its grad, which is `-` where no backward pass has been.
    Leaves that a gradient is found for are boxes with sharp corners, other leaves sheets with a folded one,
    operations rounded boxes, the root a double one. Numbers that are not finite are said to be so in a thick border.

    Parameters
    ----------
    root : Value or Tensor
    format : str
        What `render()` of the Digraph writes: "svg", "png", "pdf", ...
    rankdir : {"LR", "TB", "RL", "BT"}
        From left to right, from top to bottom, ...
    style : {None, "micrograd"}
        "micrograd" draws as micrograd does: records of data and grad, and a circle for each operation.
    params, detail, max_nodes, expand, labels
        As for `viz.graph`, whose `svg()` needs no program.

    Returns
    -------
    graphviz.Digraph
        Its `source` is the text, the same on every run.

    Raises
    ------
    TypeError
        If `root` is no node.
    ValueError
        For an unknown format, rankdir or style; and as for `viz.graph`.

    Notes
    -----
    Name, order and defaults of the first arguments are those of Karpathy's micrograd (2020).

    Examples
    --------
    >>> import microgrid as mg
    >>> a, b = mg.Value(2.0, name="a"), mg.Value(-3.0, name="b")
    >>> print(draw_dot(a * b, style="micrograd").source.expandtabs(4), end="")
    digraph {
        graph [rankdir=LR]
        n0 [label="{ a | data 2.0000 | grad - }" shape=record]
        n1 [label="{ b | data -3.0000 | grad - }" shape=record]
        n2 [label="{ data -6.0000 | grad - }" shape=record]
        n2_op [label="*"]
        n2_op -> n2
        n0 -> n2_op
        n1 -> n2_op
    }
    """
    if not isinstance(format, str) or format.lower() not in graphviz.FORMATS:
        raise ValueError(
            f"draw_dot: format={format!r} is none that Graphviz writes (svg, png, pdf, ...), at {mg.sites.here()}"
        )
    _check((root,), detail, max_nodes, expand, labels)
    rankdir = dot.direction(rankdir)
    picture = _graph((root,), params, detail, max_nodes, expand, labels, names.users_variables())
    return dot.digraph(picture, rankdir, style, format)


def trace(root: mg.Node) -> tuple[set[mg.Node], set[tuple[mg.Node, mg.Node]]]:
    """All nodes that `root` was computed from, and the pairs of an input and what it went into, as micrograd's.

    Returns
    -------
    nodes, edges : set
        Nodes before what they went into; the order is the same on every run.

    Raises
    ------
    TypeError
        If `root` is no node.

    Examples
    --------
    >>> a = mg.Value(2.0)
    >>> nodes, edges = trace(a + a)
    >>> len(nodes), len(edges)
    (2, 1)
    """
    _check((root,), "auto", 1, None, None)
    order = mg.topological_order(root)
    return Ordered(order), Ordered((x, node) for node in order for x in node._prev)


Element = TypeVar("Element")


class Ordered(set[Element]):
    """A set that is gone through in the order in which it was filled, on every run; what is added comes last."""

    def __init__(self, elements: Iterable[Element] = ()) -> None:
        self._place = {element: place for place, element in enumerate(elements)}
        super().__init__(self._place)

    def __iter__(self) -> Iterator[Element]:
        return iter(sorted(super().__iter__(), key=lambda element: self._place.get(element, len(self._place))))


# ---------------------------------------------------------------------------------------------------- files, notebooks


def save(picture: graphviz.Digraph | Picture | mg.Node | Figure, path: str | PathLike[str], **options: Any) -> Path:
    """Write a picture; what it is, the suffix says.

    Parameters
    ----------
    picture : Graph, graphviz.Digraph, Value, Tensor or matplotlib.figure.Figure
        What `graph` or `draw_dot` gives, or the root itself; or a plot: what `curves`, `network`, ... give.
    path : str or path
        As for `Graph.save`. Of a Digraph `.dot` and `.gv` are the text; `.svg`, `.png` and `.pdf` need `dot`. Of a plot
        `.svg`, `.png` or `.pdf`.
    **options
        `timeout`, in seconds (30), for what `dot` does; and as for `Graph.save`.

    Returns
    -------
    pathlib.Path
        The file.

    Raises
    ------
    DotError
        If `dot` is needed and is not installed, fails, or takes longer.
    ValueError
        For another suffix.
    TypeError
        If `picture` is something else, `path` is none, or for an option that there is not.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = save(mg.Value(1.0, name="x") * 2, Path(folder, "product.svg"))
    ...     path.read_text(encoding="utf-8").startswith("<svg")
    True
    """
    if isinstance(picture, mg.Node):
        picture = _graph((picture,), None, "auto", MAX_NODES, None, None, names.users_variables())
    if isinstance(picture, Graph):
        return picture.save(path, **options)
    path = files.path_of(path)
    if isinstance(picture, graphviz.Digraph):
        _known(options, path, ("timeout",))
        return files.save_digraph(picture, path, **options)
    if figures.is_figure(picture):
        _known(options, path, ())
        return figures.save(picture, path)
    raise TypeError(
        f"save: expected a Graph, a Digraph, a node or a plot, got {type(picture).__name__}, at {mg.sites.here()}"
    )
