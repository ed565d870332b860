"""Gradients that are given and not stored: `grad`, of nodes that are there, or of a function."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

from microgrid import sites, transforms
from microgrid.graph import (
    Node,
    check_root,
    differentiated,
    entered,
    followed,
    held,
    listed_nodes,
    seeded,
    topological_order,
)
from microgrid.pullback import zero

__microgrid_machinery__ = True


@overload
def grad(
    outputs: Callable[..., Any], inputs: int | tuple[int, ...] = 0, *, argnums: int | tuple[int, ...] | None = None,
    has_aux: bool = False,
) -> Callable[..., Any]: ...  # fmt: skip
@overload
def grad(
    outputs: Node | Sequence[Node], inputs: Node | Sequence[Node], grad_outputs: Any = None,
    retain_graph: bool | None = None, create_graph: bool = False, allow_unused: bool | None = None, *,
    materialize_grads: bool = False,
) -> tuple[Any, ...]: ...  # fmt: skip
def grad(
    outputs: Any,
    inputs: Any = 0,
    grad_outputs: Any = None,
    retain_graph: bool | None = None,
    create_graph: bool = False,
    allow_unused: bool | None = None,
    *,
    materialize_grads: bool = False,
    argnums: int | tuple[int, ...] | None = None,
    has_aux: bool = False,
) -> Any:
    """The gradients of the outputs (their sum, weighted by grad_outputs) with respect to the inputs.

    Given a function in place of the outputs, `grad(func, argnums=0, has_aux=False)`, the function that gives its
    gradient: torch has both, as torch.autograd.grad and torch.func.grad, and no function is a node.

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
    materialize_grads : bool, optional
        Give zeros there.
    argnums, has_aux
        Of a function: see `value_and_grad`.

    Returns
    -------
    tuple
        One gradient for each input: a float or an array of its own; a node with create_graph, which can be
        differentiated by that input at any rate: where it is a constant, its derivative is 0.
        Of a function, a function.

    Raises
    ------
    ValueError
        Where an output or an input requires no gradient, or an input is not used.
    TypeError
        Where they are no nodes.

    Examples
    --------
    >>> import microgrid as mg
    >>> x = mg.Value(2.0)
    >>> (first,) = mg.grad(x**3, x, create_graph=True)
    >>> (second,) = mg.grad(first, x)
    >>> first.data, second
    (12.0, 12.0)
    >>> mg.grad(lambda x, y: x * y**2)(3.0, 2.0)
    4.0
    """
    if callable(outputs):
        return _of_function(outputs, inputs, argnums, has_aux)
    if argnums is not None or has_aux:
        raise TypeError(f"grad: argnums and has_aux are for functions, got {type(outputs).__name__}, at {sites.here()}")
    if materialize_grads and allow_unused is False:
        raise ValueError(
            f"grad: expected allow_unused to be True or not given where materialize_grads is True, at {sites.here()}"
        )
    inside = entered()
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
    gradients = differentiated(order, seeds, targets, create_graph, followed(order, inside))
    taken = held(order)
    if materialize_grads:
        for x in targets:
            gradients.setdefault(x, x._wrap(zero(x)) if create_graph else zero(x))
    return tuple(_result(x, gradients, taken, create_graph, allow_unused) for x in targets)


def _of_function(func: Callable[..., Any], inputs: Any, argnums: Any, has_aux: bool) -> Callable[..., Any]:
    if any(isinstance(x, Node) for x in (inputs if isinstance(inputs, (list, tuple)) else [inputs])):
        raise TypeError(
            "grad of a function takes argnums and gives a function: write mg.grad(func)(x); grad(outputs, inputs) "
            f"takes what the function gave, at {sites.here()}"
        )
    return transforms.grad(func, inputs if argnums is None else argnums, has_aux)


def _result(x: Node, gradients: dict[Node, Any], taken: set[int], create_graph: bool, allow_unused: bool | None) -> Any:
    if x not in gradients:
        if allow_unused:
            return None
        raise ValueError(
            f"grad: one of the differentiated Tensors appears to not have been used in the graph: {x._described()}. "
            f"Set allow_unused=True if this is the desired behavior, at {sites.here()}"
        )
    return x._tied(gradients[x]) if create_graph else x._own(gradients[x], taken)
