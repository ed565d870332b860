"""The chain that back-propagation walks, C <- A[L] <- Z[L] <- ... <- X, off the graph and drawn as in the notes."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import microgrid as mg
from microgrid.graph import paths_to
from nn import scalar
from nn.layers import Linear
from nn.module import Called, Module
from nn.targets import Data, numeric

__microgrid_machinery__ = True

PRODUCTS = ("linear", "matmul", "einsum")  # what makes a Z of a weight
WIDTH = 100


@dataclass(frozen=True)
class Link:
    """One link of a chain: a quantity, and what enters it beside the link before it.

    Attributes
    ----------
    symbol : str
        "Z[2]", "A[1]", "C", "X"; else the module or operation, such as "Dropout".
    operation : str
        The rule that made it, such as "linear"; empty for C and X.
    shape : tuple of int
        For m = 2 samples, if no X was given.
    parameters : dict of str to str
        Letter, such as "W[2]", to the parameter's name in the model.
    """

    symbol: str
    operation: str
    shape: tuple[int, ...]
    parameters: dict[str, str]


@dataclass(frozen=True, repr=False)
class Chain:
    """The links from C down to X; `print` draws them.

    Attributes
    ----------
    links : tuple of Link
        From the cost back to the input, the way the gradient goes.
    """

    links: tuple[Link, ...]

    def text(self, width: int = WIDTH) -> str:
        """The drawing, in as many blocks of lines as the width asks for (a link is never cut)."""
        blocks: list[list[Link]] = [[]]
        for link in self.links:
            if blocks[-1] and len(_line([*blocks[-1], link])) + 3 > width:
                blocks.append([])
            blocks[-1].append(link)
        drawn = [_block(block, "<- " if i else "") for i, block in enumerate(blocks)]
        return "\n\n".join(drawn)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"Chain({_line(self.links)})"


def chain(model: Called, X: Data | None = None) -> Chain:
    r"""What the cost C depends on, link by link, in the letters of the notes.

    A copy of the model is run, and its graph is walked from the output back. Z[l] is a layer's product with its
    weights W[l] and bias b[l]; A[l] is the last of what is computed from Z[l] alone, number by number or along a row,
    into the same shape: of 1 / (1 + exp(-Z)), or of two activations in a row, the end. What else there is (Dropout,
    Flatten, ...) bears its own name. C stands for any cost: the models of `nn` do not contain it. A model that gives
    logits has no A[L]: it begins C <- Z[L].

    Parameters
    ----------
    model : Module, or nn.scalar.MLP
        A network of Values is shown as the layers that it is.
    X : array_like, optional
        An input to run it on; two samples of zeros, if the first layer says how many numbers it takes.

    Returns
    -------
    Chain
        `print(chain)` draws it, `chain.links` holds it.

    Raises
    ------
    ValueError
        If the graph branches where parameters enter it, and so is no chain; if the output does not depend on X; or if
        no X is given and none can be made up.
    TypeError
        If the model is no module, or gives no Tensor.

    Examples
    --------
    >>> import nn
    >>> print(chain(nn.MLP(3, [4, 2], output="sigmoid")))
                   W[2]            W[1]
                  /               /
    C <- A[2] <- Z[2] <- A[1] <- Z[1] <- X
                  \               \
                   b[2]            b[1]
    """
    given = scalar.to_array(model) if isinstance(model, scalar.Module) else model
    if not isinstance(given, Module):
        raise TypeError(f"chain: expected a Module, got {model!r:.60}, at {mg.sites.here()}")
    network = copy.deepcopy(given)  # running it may draw random numbers, and counts as a call
    start = mg.Tensor(_input(network, X), requires_grad=True)
    with mg.enable_grad():
        output = _run(network, start, made_up=X is None)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    links = _letters(_segments(output, start), names, _maker(network))
    return Chain((Link("C", "", (), {}), *reversed(links)))


@dataclass
class _Segment:
    """A node that every way from X to the output passes, and the nodes between it and the one before."""

    node: mg.Node
    between: list[mg.Node]
    chained: set[int]  # the ids of all nodes that X has a part in

    def enters(self) -> list[Any]:
        """What enters these nodes from outside of the chain: constants and nodes that X has no part in."""
        return [x for node in (self.node, *self.between) for x in node.inputs if id(x) not in self.chained]


def _segments(output: mg.Node, start: mg.Node) -> list[_Segment]:
    """The chain from X up to the output, X first.

    Going back from the newest node, what is waited for are the nodes already known to be used: where that is one node
    alone, all ways lead through it.
    """
    order = mg.topological_order(output)
    passed = paths_to(order, [start])
    if output not in passed:
        raise ValueError(f"chain: the output does not depend on X, at {mg.sites.here()}")
    chained = {id(node) for node in passed}
    segments: list[_Segment] = []
    waiting: set[mg.Node] = {output}
    for node in reversed(order):
        if node in passed:
            waiting.discard(node)
            if waiting:
                segments[-1].between.append(node)
            else:
                segments.append(_Segment(node, [], chained))
            waiting.update(x for x in node.inputs if id(x) in chained)
    return segments[::-1]


def _letters(segments: list[_Segment], names: dict[int, str], maker: Callable[[mg.Node], str]) -> list[Link]:
    """The segments as links, X first, each with its letter."""
    links = [Link("X", "", segments[0].node._data.shape, {})]
    depth = 0
    letters: dict[str, str] = {}  # of each parameter by its name; one that is used twice keeps its first

    def lettered(letter: str, name: str) -> tuple[str, str]:
        return letters.setdefault(name, f"{letter}[{depth}]"), name

    for segment in segments[1:]:
        node, last = segment.node, links[-1]
        rule = node.rule.__name__ if node.rule else ""
        shape = node._data.shape
        parameters = _parameters(segment, names)
        if parameters and segment.between:
            raise ValueError(
                f"chain: {node._described()} joins branches which {', '.join(parameters)} enter, expected one way "
                f"from X to the output, at {mg.sites.here()}"
            )
        is_z, is_a = last.symbol == f"Z[{depth}]", last.symbol == f"A[{depth}]"
        if parameters and rule in PRODUCTS:
            depth += 1
            plain = len(parameters) <= (2 if rule == "linear" else 1)  # else W is itself made of several
            beside = dict(map(lettered, "Wb", parameters)) if plain else {name: name for name in parameters}
            links.append(Link(f"Z[{depth}]", rule, shape, beside))
        elif len(parameters) == 1 and rule == "add" and is_z and len(last.parameters) == 1:
            links[-1] = Link(last.symbol, "linear", shape, last.parameters | dict([lettered("b", parameters[0])]))
        elif not parameters and (is_z or is_a) and shape == last.shape and not any(map(_is_array, segment.enters())):
            links[len(links) - is_a :] = [Link(f"A[{depth}]", rule, shape, {})]
        else:
            links.append(Link(maker(node) or rule, rule, shape, {name: name for name in parameters}))
    return links


def _parameters(segment: _Segment, names: dict[int, str]) -> list[str]:
    """The names of the parameters that enter, in the order of the inputs."""
    leaves = [leaf for x in segment.enters() if isinstance(x, mg.Node) for leaf in mg.topological_order(x)]
    return list(dict.fromkeys(names[id(leaf)] for leaf in leaves if id(leaf) in names))


def _is_array(x: Any) -> bool:
    return isinstance(x, mg.Node | np.ndarray)


def _maker(network: Module) -> Callable[[mg.Node], str]:
    """The function that says which lowest module made a node: Dropout, say; empty if it was the model itself."""
    spans = sorted(
        (ended - begun, begun, ended, type(module).__name__)
        for name, module in network.named_modules()
        if name and not any(module.children())
        for begun, ended in module.calls()
    )
    return lambda node: next((kind for _, begun, ended, kind in spans if begun < node._number < ended), "")


def _input(network: Module, X: Data | None) -> Any:
    dtype = next((parameter.dtype for parameter in network.parameters()), np.dtype(float))
    if X is not None:
        return numeric("chain", "X", X).astype(dtype)
    sizes = [module.in_features for module in network.modules() if isinstance(module, Linear)]
    if not sizes:
        raise ValueError(f"chain: the model does not say how many inputs it takes: give X, at {mg.sites.here()}")
    return np.zeros((2, sizes[0]), dtype)


def _run(network: Module, start: mg.Tensor, made_up: bool) -> mg.Tensor:
    try:
        output = network(start)
    except Exception as error:
        if made_up:
            error.add_note(f"chain ran the model on zeros of shape {start.shape}; give X to run it on")
        raise
    if not isinstance(output, mg.Tensor):
        raise TypeError(f"chain: the model gave {output!r:.60}, expected a Tensor, at {mg.sites.here()}")
    return output


# ------------------------------------------------------------------------------------------------------ the drawing


def _line(links: Sequence[Link]) -> str:
    """The links in one line, the arrows as long as what stands above and below asks for."""
    line = ""
    for link, column in zip(links, _columns(links), strict=True):
        if line:
            line += " <" + "-" * (column - len(line) - 3) + " "
        line += link.symbol
    return line


def _columns(links: Sequence[Link]) -> list[int]:
    """Where each link begins: past the one before, and what stands beside it past what stands beside those."""
    columns: list[int] = []
    column = free = 0
    for link in links:
        beside = max(map(len, _beside(link)))
        column = max(column, free - 2) if beside else column
        columns.append(column)
        free = column + 2 + beside + 1 if beside else free
        column += len(link.symbol) + len(" <- ")
    return columns


def _beside(link: Link) -> list[str]:
    """What stands above the link, and what below."""
    names = list(link.parameters)
    return [", ".join(names[:1]), ", ".join(names[1:])]


def _block(links: Sequence[Link], before: str) -> str:
    names_above = strokes_above = strokes_below = names_below = ""
    for link, column in zip(links, _columns(links), strict=True):
        above, below = _beside(link)
        at = len(before) + column
        if above:
            names_above = f"{names_above:<{at + 2}}{above}"
            strokes_above = f"{strokes_above:<{at + 1}}/"
        if below:
            strokes_below = f"{strokes_below:<{at + 1}}\\"
            names_below = f"{names_below:<{at + 2}}{below}"
    lines = [names_above, strokes_above, before + _line(links), strokes_below, names_below]
    return "\n".join(line for line in lines if line)
