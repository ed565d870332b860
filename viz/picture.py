"""A computation graph as pure data: what is to be drawn, in words, and nothing about how.

Ids follow the topological order, never an address or a set's order, so that one graph gives one picture.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

import microgrid as mg

__microgrid_machinery__ = True

Kind = Literal["parameter", "constant", "operation", "root"]

INFIX = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "matmul": "@"}
SHOWN_ELEMENTS = 6  # so many numbers of an array are printed one by one
SHOWN_CHARACTERS = 48


@dataclass(frozen=True)
class Node:
    """One node, as it is to be read.

    Attributes
    ----------
    id : str
        n0, n1, ... in topological order.
    kind : {"parameter", "constant", "operation", "root"}
        A leaf that a gradient is found for; one that none is found for; what was computed; what it all leads to.
    name : str
        The parameter's path in the model, else the user's name; empty where there is neither.
    operation : str
        Of the rule that made it, with the constants that went in: `*`, `• ** 2`, `sum axis=0`; empty for a leaf.
    data, grad : str
        A number, or an array in brief; `-` where no backward pass has reached the node.
    form : str
        Shape and dtype of an array; empty for a single number.
    fault : str
        Where numbers are not finite; empty if all are.
    site : str
        The line that made it, as `train.py:41`; empty where sites were not recorded.
    """

    id: str
    kind: Kind
    name: str
    operation: str
    data: str
    grad: str
    form: str
    fault: str
    site: str

    @property
    def title(self) -> str:
        """Name (clipped) and operation; `%7` for the leaf n7 that has no name."""
        return " = ".join(filter(None, [clipped(self.name), self.operation])) or f"%{self.id[1:]}"


@dataclass(frozen=True)
class Edge:
    """From an input to what it went into.

    Attributes
    ----------
    source, target : str
        Ids of nodes.
    position : int >= 0
        Which of the target's inputs it is: `a + a` has two edges, 0 and 1.
    """

    source: str
    target: str
    position: int


@dataclass(frozen=True)
class Graph:
    """Nodes, each after its inputs, and the edges between them.

    Attributes
    ----------
    nodes : tuple of Node
    edges : tuple of Edge
        Ordered by target, then by position.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


def graph(root: mg.Node, *, params: Any = None, max_nodes: int = 2000) -> Graph:
    """What `root` was computed from, ready to be drawn.

    Parameters
    ----------
    root : Value or Tensor
    params : Module or mapping of str to node, optional
        Gives leaves their names: a model, by the paths of its parameters (whatever has `named_parameters()`), or a
        mapping from names to nodes.
    max_nodes : int >= 1
        A graph of more nodes is refused: it takes minutes to lay out, and nobody reads it.

    Returns
    -------
    Graph

    Raises
    ------
    TypeError
        If `root` is no node, or `params` has no named parameters.
    ValueError
        If there are more than `max_nodes` nodes.

    Examples
    --------
    >>> a = mg.Value(2.0, name="a")
    >>> picture = graph(a + a)
    >>> [(edge.source, edge.target, edge.position) for edge in picture.edges]
    [('n0', 'n1', 0), ('n0', 'n1', 1)]
    >>> picture.nodes[0].grad  # no pass has been there
    '-'
    """
    if not isinstance(root, mg.Node):
        raise TypeError(f"a picture shows a Value or Tensor and its history, got {_given(root)}, at {mg.sites.here()}")
    order = mg.topological_order(root)
    if len(order) > max_nodes:
        raise ValueError(
            f"the graph has {len(order)} nodes, and max_nodes={max_nodes}: draw a part of it (an inner node, one "
            f"sample, one neuron), compute on Tensors, or raise max_nodes, at {mg.sites.here()}"
        )
    paths = _paths(params)
    ids = {node: f"n{number}" for number, node in enumerate(order)}
    nodes = tuple(_node(node, ids[node], node is root, paths.get(node, node.name or "")) for node in order)
    edges = tuple(
        Edge(ids[x], ids[node], position)
        for node in order
        for position, x in enumerate(node.inputs)
        if isinstance(x, mg.Node)
    )
    return Graph(nodes, edges)


def _node(node: mg.Node, identifier: str, is_root: bool, name: str) -> Node:
    data, grad = node._data, node._grad  # `.data` would mark the node as handed out, `.grad` is 0.0 before any pass
    if isinstance(grad, mg.Node):  # after backward(create_graph=True)
        grad = grad._data
    faults = [f"{what} {fault}" for what, numbers in (("data", data), ("grad", grad)) if (fault := _fault(numbers))]
    return Node(
        id=identifier,
        kind=_kind(node, is_root),
        name=name,
        operation=_operation(node),
        data=described(data),
        grad="-" if grad is None else described(grad),
        form=f"{data.shape} {data.dtype}" if isinstance(data, np.ndarray) else "",
        fault=", ".join(faults),
        site=str(node.site or ""),
    )


def _kind(node: mg.Node, is_root: bool) -> Kind:
    if node.rule is None:
        return "parameter" if node.requires_grad else "constant"
    return "root" if is_root else "operation"


def _operation(node: mg.Node) -> str:
    """The rule, with a bullet for each input that is drawn and the constants that are not."""
    if node.rule is None:
        return ""
    name = node.rule.__name__
    symbol = INFIX.get(name, "")
    text = symbol or name
    if not all(isinstance(x, mg.Node) for x in node.inputs):
        operands = ["•" if isinstance(x, mg.Node) else _constant(x) for x in node.inputs]
        text = f" {symbol} ".join(operands) if symbol else f"{name}({', '.join(operands)})"
    chosen = {key: item for key, item in node.parameters.items() if item is not None and item is not False}
    return clipped(" ".join([text, *(f"{key}={_constant(item)}" for key, item in chosen.items())]))


def _constant(constant: Any) -> str:
    """A constant as it was written (`2`, not `2.0000`), or an array in brief."""
    if isinstance(constant, np.ndarray):
        brief = constant.size > SHOWN_ELEMENTS
        return f"array{constant.shape}".replace(" ", "") if brief else described(constant)
    if isinstance(constant, float):
        return f"{constant:g}"
    return str(constant)


def _paths(params: Any) -> dict[mg.Node, str]:
    """Names by node; of a node with several names, the first."""
    if params is None:
        return {}
    try:
        named = params.items() if isinstance(params, Mapping) else params.named_parameters()
    except AttributeError:
        raise TypeError(
            f"params: expected a model or a mapping of names to nodes, got {_given(params)}, at {mg.sites.here()}"
        ) from None
    paths: dict[mg.Node, str] = {}
    for path, parameter in named:
        paths.setdefault(parameter, str(path))
    return paths


# ---------------------------------------------------------------------------------------------------- numbers


def described(numbers: Any) -> str:
    """A number, a few numbers, or the mean and the standard deviation of many.

    Examples
    --------
    >>> described(0.25), described(1e-7), described(np.array([1.0, 2.0])), described(np.arange(9.0))
    ('0.2500', '1.000e-07', '[1.0000, 2.0000]', 'mean 4.0000 ± 2.5820')
    """
    if not isinstance(numbers, np.ndarray):
        return clipped(number(numbers))
    if numbers.size > SHOWN_ELEMENTS:
        with np.errstate(all="ignore"):
            return f"mean {number(numbers.mean())} ± {number(numbers.std())}"
    return _listed(numbers.tolist())


def _listed(item: Any) -> str:
    return f"[{', '.join(map(_listed, item))}]" if isinstance(item, list) else number(item)


def number(x: Any) -> str:
    """One number: four decimals where that says something, else powers of ten.

    0.0000 is 0 itself, of either sign, and nothing that was rounded to it.

    Examples
    --------
    >>> [number(x) for x in (2.5, 0.0, -0.0, 3e-5, 1e6, math.inf, math.nan, 7, True)]
    ['2.5000', '0.0000', '0.0000', '3.000e-05', '1.000e+06', 'inf', 'nan', '7', 'True']
    """
    if not isinstance(x, (float, np.floating)):  # integers; Fraction, mpmath's and SymPy's know how to print themselves
        return str(x)
    x = float(x) + 0.0  # which makes a plain zero of -0.0
    return f"{x:.4f}" if x == 0 or 1e-3 <= abs(x) < 1e5 or not math.isfinite(x) else f"{x:.3e}"


def _fault(numbers: Any) -> str:
    """Whether, or how many of them, are not finite; empty if all are."""
    if numbers is None or not isinstance(numbers, (float, np.ndarray)):
        return ""
    bad = int(np.size(numbers) - np.isfinite(numbers).sum())
    return "" if not bad else "not finite" if np.size(numbers) == 1 else f"{bad} of {np.size(numbers)} not finite"


def clipped(text: str) -> str:
    """At most 48 characters, an ellipsis for the rest."""
    return text if len(text) <= SHOWN_CHARACTERS else text[: SHOWN_CHARACTERS - 1] + "…"


def _given(thing: Any) -> str:
    return f"{type(thing).__name__} {clipped(repr(thing))}"
