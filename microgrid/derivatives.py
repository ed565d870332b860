"""Derivatives as functions of nodes: `grad` gives gradients and stores nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from microgrid import sites
from microgrid.graph import Node, check_root, differentiated, held, listed_nodes, seeded, topological_order

__microgrid_machinery__ = True


def grad(
    outputs: Node | Sequence[Node],
    inputs: Node | Sequence[Node],
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
) -> tuple[Any, ...]:
    """The gradients of the outputs (their sum, weighted by grad_outputs) with respect to the inputs.

    Parameters
    ----------
    outputs, inputs : node or sequence of nodes
    grad_outputs : number or array of the output's shape, or one for each output, optional
        1 by default, for outputs of one number.
    retain_graph : optional
        Accepted as in torch and ignored: a graph lives as long as its root.
    create_graph : bool, optional
        Give nodes, which can be differentiated again.
    allow_unused : bool, optional
        Give None for an input that no output depends on, in place of an error.

    Returns
    -------
    tuple
        One gradient for each input: a float or an array of its own; a node with create_graph.

    Raises
    ------
    ValueError
        Where an output or an input requires no gradient, or an input is not used.

    Examples
    --------
    >>> import microgrid as mg
    >>> x = mg.Value(2.0)
    >>> (first,) = mg.grad(x**3, x, create_graph=True)
    >>> (second,) = mg.grad(first, x)
    >>> first.data, second
    (12.0, 12.0)
    """
    roots = tuple(outputs) if isinstance(outputs, (list, tuple)) else (outputs,)
    if not roots:
        raise ValueError(f"grad: outputs: expected at least one node, got none, at {sites.here()}")
    targets = listed_nodes(inputs, "grad: inputs")
    given = (grad_outputs,) if isinstance(outputs, Node) or grad_outputs is None else tuple(grad_outputs)
    if grad_outputs is None:
        given = (None,) * len(roots)
    if len(given) != len(roots):
        raise ValueError(f"grad: {len(roots)} outputs, but {len(given)} grad_outputs, at {sites.here()}")
    seeds: dict[Node, Any] = {}
    for root, gradient in zip(roots, given, strict=True):
        check_root(root, "grad")
        seed = seeded(root, gradient, create_graph)
        seeds[root] = seeds[root] + seed if root in seeds else seed
    order = topological_order(*roots)
    gradients = differentiated(order, seeds, targets, create_graph)
    taken = held(order)
    return tuple(_result(x, gradients, taken, create_graph, allow_unused) for x in targets)


def _result(x: Node, gradients: dict[Node, Any], taken: set[int], create_graph: bool, allow_unused: bool | None) -> Any:
    if x not in gradients:
        if allow_unused:
            return None
        raise ValueError(
            f"grad: one of the differentiated Tensors appears to not have been used in the graph: {x._described()}. "
            f"Set allow_unused=True if this is the desired behavior, at {sites.here()}"
        )
    return gradients[x] if create_graph else x._own(gradients[x], taken)
