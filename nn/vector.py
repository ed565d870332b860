"""All parameters as one vector, and back: for optimisers that know vectors only, and to look at a gradient whole."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

import microgrid as mg
from nn.targets import cast, numeric

__microgrid_machinery__ = True


def parameters_to_vector(parameters: Iterable[Any]) -> mg.Tensor:
    """The numbers of all parameters in one row, in their order; differentiable.

    Parameters
    ----------
    parameters : iterable of Tensor, Value, array or float
        `model.parameters()`, for instance; or gradients, as `mg.grad` gives them.

    Returns
    -------
    Tensor of shape (n,)
        One concatenation of the parameters, each flattened by rows: gradients flow through it to each.

    Raises
    ------
    TypeError
        If `parameters` is a single Tensor, a Module, or something else that lists no numbers; a gradient that no pass
        has reached (None) is none.
    ValueError
        If there are none.

    Examples
    --------
    >>> import nn
    >>> model = nn.MLP(3, [2, 1], rng=0)
    >>> vector = parameters_to_vector(model.parameters())
    >>> vector.shape
    (11,)

    The gradient of all parameters, as one vector:

    >>> loss = nn.BCEWithLogitsLoss()(model(mg.Tensor([[1.0, 2.0, 3.0]])), [[1.0]])
    >>> parameters_to_vector(mg.grad(loss, list(model.parameters()))).shape
    (11,)
    """
    name = "parameters_to_vector"
    pieces = [mg.reshape(_number(name, item, place), -1) for place, item in enumerate(_listed(name, parameters))]
    vector = mg.concatenate(pieces)
    return vector if isinstance(vector, mg.Tensor) else mg.Tensor(vector)


def vector_to_parameters(vec: mg.Tensor | ArrayLike, parameters: Iterable[Any]) -> None:
    """Give the parameters the numbers of a vector, each as many as it holds; what `parameters_to_vector` undoes.

    Everything is checked before the first parameter changes. Gradients and dtypes stay; graphs that were made before
    keep the old numbers.

    Parameters
    ----------
    vec : Tensor or array_like of shape (n,)
        Copied, without its history.
    parameters : iterable of Tensor or Value
        Leaves of n numbers together, in the order in which they were made a vector.

    Raises
    ------
    TypeError
        If `vec` holds no real numbers, or `parameters` are no Tensors or Values.
    ValueError
        If the vector has another length, or more axes than one, or holds a number that is too large for the dtype of
        its parameter; if there are no parameters, or one has a history.

    Examples
    --------
    >>> import nn
    >>> layer = nn.Linear(2, 1, rng=0)
    >>> vector_to_parameters([1.0, 2.0, 3.0], layer.parameters())
    >>> layer.weight.tolist(), layer.bias.tolist()
    ([[1.0, 2.0]], [3.0])
    """
    name = "vector_to_parameters"
    vector = numeric(name, "vec", vec)
    leaves = _listed(name, parameters)
    for place, leaf in enumerate(leaves):
        if not isinstance(leaf, mg.Node):
            raise TypeError(
                f"{name}: parameter {place} is {leaf!r:.60}, expected a Tensor or Value, at {mg.sites.here()}"
            )
        if not leaf.is_leaf:
            raise ValueError(
                f"{name}: parameter {place} has a history ({leaf._op}): only leaves take new numbers, "
                f"at {mg.sites.here()}"
            )
    sizes = [np.size(leaf._data) for leaf in leaves]
    if vector.shape != (sum(sizes),):
        raise ValueError(
            f"{name}: vec has shape {vector.shape}, the parameters hold {sum(sizes)} numbers, expected "
            f"({sum(sizes)},), at {mg.sites.here()}"
        )
    pieces = [
        cast(name, "vec", piece, leaf.dtype if isinstance(leaf, mg.Tensor) else float)
        for leaf, piece in zip(leaves, np.split(vector, np.cumsum(sizes)[:-1]), strict=True)
    ]
    for leaf, piece in zip(leaves, pieces, strict=True):
        if isinstance(leaf, mg.Tensor):
            leaf._replace(np.array(piece.reshape(leaf.shape)))
        else:
            leaf.data = float(piece[0])


def _listed(name: str, parameters: Iterable[Any]) -> list[Any]:
    node, model = isinstance(parameters, mg.Node), callable(getattr(parameters, "parameters", None))
    if node or model or isinstance(parameters, str) or not isinstance(parameters, Iterable):
        what = "model.parameters()" if model else "[tensor]"
        raise TypeError(
            f"{name}: expected an iterable of parameters, got {type(parameters).__name__}: give {what}, "
            f"at {mg.sites.here()}"
        )
    listed = list(parameters)
    if not listed:
        raise ValueError(f"{name}: there are no parameters, at {mg.sites.here()}")
    return listed


def _number(name: str, item: Any, place: int) -> Any:
    if item is None:
        raise TypeError(
            f"{name}: item {place} is None: a gradient that no backward pass has reached, at {mg.sites.here()}"
        )
    return item if isinstance(item, mg.Node) else numeric(name, f"item {place}", item)
