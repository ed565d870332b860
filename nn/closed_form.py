"""The notes' delta recursion in plain NumPy: no engine, no graph, no autograd.

Column layout and letters of the notes: X is (n_0, m), features in rows and samples in columns; W (n_l, n_{l-1}) and
b (n_l, 1) for each layer; Z = W A + b and A = sigma(Z). The cost is binary cross-entropy, summed over outputs and
averaged over samples. `gradients` translates from and to a model in row layout.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import microgrid as mg
from nn.layers import MLP, Identity, Linear, Sequential, Sigmoid
from nn.module import Module
from nn.targets import Array, Data, numeric, refuse_infinite, refuse_no_labels

__microgrid_machinery__ = True


def sigma(Z: Array) -> Array:
    """1 / (1 + e^-Z); an overflow of e^-Z means 0, to the last bit."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-Z))


def forward(X: Array, W: Sequence[Array], b: Sequence[Array]) -> tuple[list[Array], list[Array]]:
    """All Z and all A of a sigmoid network.

    Parameters
    ----------
    X : ndarray of shape (n_0, m)
    W : L arrays of shape (n_l, n_{l-1})
    b : L arrays of shape (n_l, 1)

    Returns
    -------
    Z : list of L arrays of shape (n_l, m)
    A : list of L + 1 arrays, A[0] = X and A[l] = sigma(Z[l - 1]) of shape (n_l, m)

    Examples
    --------
    >>> Z, A = forward(np.zeros((2, 3)), [np.ones((1, 2))], [np.zeros((1, 1))])
    >>> A[-1].tolist()
    [[0.5, 0.5, 0.5]]
    """
    Z: list[Array] = []
    A = [X]
    for W_l, b_l in zip(W, b, strict=True):
        Z.append(W_l @ A[-1] + b_l)
        A.append(sigma(Z[-1]))
    return Z, A


def cost(Z: Array, Y: Array) -> float:
    """Binary cross-entropy on the last Z, both of shape (n_L, m): outputs summed, samples averaged.

    Examples
    --------
    >>> cost(np.array([[0.0]]), np.array([[1.0]]))
    0.6931471805599453
    """
    m = Y.shape[1]
    return float((np.maximum(Z, 0) - Y * Z + np.log1p(np.exp(-np.abs(Z)))).sum() / m)


def backward(A: Sequence[Array], Y: Array, W: Sequence[Array]) -> tuple[list[Array], list[Array], list[Array]]:
    """The delta recursion, from the output back.

    Parameters
    ----------
    A : L + 1 arrays of shape (n_l, m)
        As `forward` gives them.
    Y : ndarray of shape (n_L, m)
    W : L arrays of shape (n_l, n_{l-1})

    Returns
    -------
    delta : list of L arrays of shape (n_l, m)
        Per sample: m dC/dZ.
    dW : list of L arrays of shape (n_l, n_{l-1})
    db : list of L arrays of shape (n_l, 1)

    Notes
    -----
    ::

        delta[L] = A[L] - Y
        delta[l] = W[l+1]^T delta[l+1] * A[l] (1 - A[l])
        dW[l]    = delta[l] A[l-1]^T / m
        db[l]    = sum over samples of delta[l] / m

    The notes waver between `W^T delta` and `delta W^T`: in column layout it is the first. With square layers and as
    many samples as units the second runs too, and is wrong.
    """
    m = Y.shape[1]
    delta = A[-1] - Y
    deltas: list[Array] = []
    dW: list[Array] = []
    db: list[Array] = []
    for i in reversed(range(len(W))):  # W[i] leads from A[i] to A[i + 1]
        deltas.insert(0, delta)
        dW.insert(0, delta @ A[i].T / m)
        db.insert(0, delta.sum(axis=1, keepdims=True) / m)
        if i:
            delta = W[i].T @ delta * A[i] * (1 - A[i])
    return deltas, dW, db


def gradients(model: Module, X: Data, Y: Data) -> dict[str, Array]:
    """Gradients of a sigmoid network by the recursion, named and shaped as the model's parameters.

    Parameters
    ----------
    model : MLP or Sequential
        Linear layers with Sigmoid between them; the output may be logits or their sigmoid: the cost is the same.
    X : array_like of shape (m, n_0)
        Row layout, as the model takes it.
    Y : array_like of shape (m, n_L)
        Labels in [0, 1].

    Returns
    -------
    dict of str to ndarray
        dC/dW of shape (n_l, n_{l-1}) and dC/db of shape (n_l,).

    Raises
    ------
    ValueError
        If the model is another kind of network, the shapes do not fit or hold no sample, a number is nan or infinite,
        or a label lies outside [0, 1].
    TypeError
        If X or Y are not numbers.

    Examples
    --------
    >>> model = MLP(2, [3, 1], rng=0)
    >>> {name: g.shape for name, g in gradients(model, [[1.0, 2.0]], [[1.0]]).items()}
    {'layers.0.weight': (3, 2), 'layers.0.bias': (3,), 'layers.2.weight': (1, 3), 'layers.2.bias': (1,)}
    """
    layers = sigmoid_layers(model)
    X, Y = samples("closed_form.gradients", layers, X, Y)
    W, b = weights(layers)
    _, A = forward(X.T, W, b)
    _, dW, db = backward(A, Y.T, W)
    total: dict[int, Array] = {}
    for layer, dW_l, db_l in zip(layers, dW, db, strict=True):
        pairs = [(layer.weight, dW_l)] if layer.bias is None else [(layer.weight, dW_l), (layer.bias, db_l[:, 0])]
        for parameter, gradient in pairs:
            # A layer that stands in two places gathers from both.
            total[id(parameter)] = total[id(parameter)] + gradient if id(parameter) in total else gradient
    return {name: total[id(parameter)] for name, parameter in model.named_parameters()}


def samples(name: str, layers: Sequence[Linear], X: Data, Y: Data) -> tuple[Array, Array]:
    """X (m, n_0) and Y (m, n_L) as arrays that the recursion can be run on; errors as `gradients` documents them."""
    X, Y = numeric(name, "X", X), numeric(name, "Y", Y)
    m = len(X) if X.ndim else 0
    wanted = (m, layers[0].in_features), (m, layers[-1].out_features)
    if not m or (X.shape, Y.shape) != wanted:
        raise ValueError(
            f"{name}: X has shape {X.shape}, Y has shape {Y.shape}, expected (m, {layers[0].in_features}) and (m, "
            f"{layers[-1].out_features}) for m >= 1 samples, one a row, at {mg.sites.here()}"
        )
    refuse_infinite(name, "X", X)
    refuse_no_labels(name, "Y", Y)
    return X, Y


def weights(layers: Sequence[Linear]) -> tuple[list[Array], list[Array]]:
    """W (n_l, n_{l-1}) and b (n_l, 1) of the layers: views, where there is a bias."""
    W = [layer.weight._data for layer in layers]
    b = [np.zeros((layer.out_features, 1)) if layer.bias is None else layer.bias._data[:, None] for layer in layers]
    return W, b


def stack(model: Module) -> list[Module]:
    """The modules that a model made of MLPs and Sequentials applies, in order.

    Examples
    --------
    >>> stack(Sequential(MLP(2, [3, 1], rng=0), Sigmoid()))[-2:]
    [Linear(in_features=3, out_features=1, bias=True), Sigmoid()]
    """
    if isinstance(model, MLP):
        return stack(model.layers)
    if isinstance(model, Sequential):
        return [leaf for module in model for leaf in stack(module)]
    return [] if isinstance(model, Identity) else [model]


def sigmoid_layers(model: Module) -> list[Linear]:
    """The Linear layers of a sigmoid network.

    Raises
    ------
    ValueError
        If the model is anything but Linear, Sigmoid, Linear, ..., Linear and perhaps Sigmoid at the end.
    """
    modules = stack(model)
    layers = [module for module in modules[::2] if isinstance(module, Linear)]
    sigmoids = [module for module in modules[1::2] if isinstance(module, Sigmoid)]
    if not layers or len(layers) + len(sigmoids) != len(modules):
        kinds = ", ".join(type(module).__name__ for module in modules) or "nothing"
        raise ValueError(
            "the closed form A - Y belongs to sigmoid networks, Linear, Sigmoid, ..., Linear (and Sigmoid), "
            f"made as nn.MLP or nn.Sequential; got {kinds}, at {mg.sites.here()}"
        )
    return layers
