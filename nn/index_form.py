"""Back-propagation index by index, for a single datapoint: the sums as the notes write them, in plain Python.

No arrays, no engine: lists and loops. Slow, and there to be read beside `nn.closed_form`, which writes the same as
matrices. Letters and layers of the notes: l counts the layers from 0 to L - 1; layer l has M units, fed by N numbers;
W[l][m][n] is the weight from the n-th number to the m-th unit. What enters layer l is a[l], what leaves it a[l + 1];
a[0] = x and a[L] = x^ (the output)::

    z_m = sum_n W_mn a_n + b_m          a_m = g(z_m), or g_m(z) for softmax

    dC/dz_m  = dC/da_m g'(z_m)          dC/da of the output: of the cost, see COSTS
    dC/dz_m  = sum_j dC/da_j da_j/dz_m  for softmax: a_j (d_jm - a_m)
    dC/dW_mn = dC/dz_m a_n
    dC/db_m  = dC/dz_m
    dC/da_n  = sum_m dC/dz_m W_mn       of the layer before

The functions only add, multiply and call g: they run on floats, and on fractions, mpmath's numbers, symbols or Values
where g, g' and the cost do.

Examples
--------
>>> z, a = forward([1.0, 2.0], W=[[[0.5, -0.25]]], b=[[0.0]], g=[SIGMOID])
>>> a[-1]
[0.5]
>>> dC_da, dC_dW, dC_db = backward(z, a, [1.0], W=[[[0.5, -0.25]]], g=[SIGMOID], cost=BINARY_CROSS_ENTROPY)
>>> dC_dW, dC_db, dC_da[0]  # dC/dz = a - y = -1/2
([[[-0.5, -1.0]]], [[-0.5]], [-0.25, 0.125])
"""

# ruff: noqa: E741 - l counts the layers, as in the notes
from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

import microgrid as mg
from nn import closed_form
from nn.layers import Identity, LeakyReLU, Linear, LogSigmoid, ReLU, Sigmoid, Softplus, Tanh
from nn.losses import Loss
from nn.module import Module
from nn.targets import Array, Data, numeric

__microgrid_machinery__ = True

Vector: TypeAlias = Sequence[Any]
Matrix: TypeAlias = Sequence[Vector]


class Function(NamedTuple):
    """An activation: g and g', functions of one number z."""

    g: Callable[[Any], Any]
    g_prime: Callable[[Any], Any]


class JointFunction(NamedTuple):
    """An activation of all z of a layer together: g gives all a, and `g_prime(a, j, k)` is da_j/dz_k."""

    g: Callable[[Vector], list[Any]]
    g_prime: Callable[[Vector, int, int], Any]


class Cost(NamedTuple):
    """C of one datapoint as a sum over the outputs: c(a, y), and its derivative dc/da."""

    c: Callable[[Any, Any], Any]
    c_prime: Callable[[Any, Any], Any]


def sigma(z: float) -> float:
    """1 / (1 + e^-z), in the form that does not overflow."""
    return 1 / (1 + math.exp(-z)) if z >= 0 else math.exp(z) / (1 + math.exp(z))


def softmax(z: Vector) -> list[float]:
    """e^z_m / sum_k e^z_k; shifted by the largest z, so that nothing overflows."""
    e = [math.exp(z_k - max(z)) for z_k in z]
    return [e_m / sum(e) for e_m in e]


def leaky_relu(negative_slope: float = 0.01) -> Function:
    """z, or negative_slope * z below 0."""
    return Function(lambda z: z if z > 0 else negative_slope * z, lambda z: 1 if z > 0 else negative_slope)


def softplus(beta: float = 1.0) -> Function:
    """ln(1 + e^(beta z)) / beta."""
    return Function(lambda z: max(z, 0.0) + math.log1p(math.exp(-abs(beta * z))) / beta, lambda z: sigma(beta * z))


SIGMOID = Function(sigma, lambda z: sigma(z) * (1 - sigma(z)))
TANH = Function(math.tanh, lambda z: 1 - math.tanh(z) ** 2)
RELU = Function(lambda z: max(z, 0.0), lambda z: 1 if z > 0 else 0)
LOG_SIGMOID = Function(lambda z: -softplus().g(-z), lambda z: sigma(-z))
IDENTITY = Function(lambda z: z, lambda z: 1)
SOFTMAX = JointFunction(softmax, lambda a, j, k: a[j] * ((j == k) - a[k]))

SQUARES = Cost(lambda a, y: (a - y) * (a - y), lambda a, y: 2 * (a - y))
HALF_SQUARES = Cost(lambda a, y: (a - y) * (a - y) / 2, lambda a, y: a - y)
BINARY_CROSS_ENTROPY = Cost(
    lambda a, y: -(y * math.log(a) + (1 - y) * math.log(1 - a)),
    lambda a, y: -(y / a - (1 - y) / (1 - a)),
)
LOG_LIKELIHOOD = Cost(  # y the class as e_y, probabilities, or any y >= 0; where y is 0 so is the term
    lambda a, y: -y * math.log(a) if y else 0,
    lambda a, y: -y / a if y else 0,
)

COSTS = {
    "squares": SQUARES,
    "half squares": HALF_SQUARES,
    "binary cross-entropy": BINARY_CROSS_ENTROPY,
    "log-likelihood": LOG_LIKELIHOOD,
    "cross-entropy": LOG_LIKELIHOOD,
}


def forward(
    x: Vector, W: Sequence[Matrix], b: Sequence[Vector], g: Sequence[Function | JointFunction]
) -> tuple[list[list[Any]], list[list[Any]]]:
    """All z and all a of a network, for one datapoint.

    Parameters
    ----------
    x : n_0 numbers
    W : for each layer, M rows of N numbers
    b : for each layer, M numbers
    g : for each layer, its activation, a `Function` or a `JointFunction`

    Returns
    -------
    z : list of L lists
    a : list of L + 1 lists
        a[0] is x, and a[l + 1] is g of z[l].

    Raises
    ------
    ValueError
        If the sizes do not fit.
    """
    _check_sizes(x, W, b, g)
    z: list[list[Any]] = []
    a: list[list[Any]] = [list(x)]
    for l in range(len(W)):
        M, N = len(W[l]), len(W[l][0])
        z.append([sum(W[l][m][n] * a[l][n] for n in range(N)) + b[l][m] for m in range(M)])
        a.append(_activated(g[l], z[l]))
    return z, a


def _activated(g: Function | JointFunction, z: Vector) -> list[Any]:
    """What leaves a layer."""
    return list(g.g(z)) if isinstance(g, JointFunction) else [g.g(z_m) for z_m in z]


def _through(g: Function | JointFunction, z: Vector, a: Vector, dC_da: Vector) -> list[Any]:
    """dC/dz of a layer from the dC/da of what leaves it."""
    M = len(z)
    if isinstance(g, JointFunction):
        return [sum(dC_da[j] * g.g_prime(a, j, m) for j in range(M)) for m in range(M)]
    return [dC_da[m] * g.g_prime(z[m]) for m in range(M)]


def backward(
    z: Sequence[Vector],
    a: Sequence[Vector],
    y: Vector,
    W: Sequence[Matrix],
    g: Sequence[Function | JointFunction],
    cost: Cost,
) -> tuple[list[list[Any]], list[list[list[Any]]], list[list[Any]]]:
    """The derivatives of the cost of one datapoint, from the output back.

    Parameters
    ----------
    z, a
        As `forward` gives them.
    y : n_L numbers
    W, g
        As for `forward`.
    cost : Cost

    Returns
    -------
    dC_da : list of L + 1 lists
        dC/da_n of what enters each layer, and of the output.
    dC_dW : for each layer, M rows of N numbers
    dC_db : for each layer, M numbers

    Raises
    ------
    ValueError
        If y has another size than the output, or the cost has no derivative there: that of binary cross-entropy
        divides by a (1 - a), that of the log-likelihood by a.

    Notes
    -----
    With softmax and the log-likelihood the sums shrink to dC/dz_k = a_k sum_j y_j - y_k, as in the matrix form.
    """
    L = len(W)
    dC_da: list[list[Any]] = [[] for _ in range(L)] + [_cost_prime(a[L], y, cost)]
    dC_dW: list[list[list[Any]]] = [[] for _ in range(L)]
    dC_db: list[list[Any]] = [[] for _ in range(L)]
    for l in reversed(range(L)):
        M, N = len(W[l]), len(W[l][0])
        dC_dz = _through(g[l], z[l], a[l + 1], dC_da[l + 1])
        dC_dW[l] = [[dC_dz[m] * a[l][n] for n in range(N)] for m in range(M)]
        dC_db[l] = [dC_dz[m] for m in range(M)]
        dC_da[l] = [sum(dC_dz[m] * W[l][m][n] for m in range(M)) for n in range(N)]
    return dC_da, dC_dW, dC_db


def average(gradients: Sequence[Any]) -> Any:
    """1/D sum_d of D gradients, entry by entry: numbers, or lists of one nested form.

    Examples
    --------
    >>> average([[[1.0, 2.0], [0.0]], [[3.0, 4.0], [1.0]]])
    [[2.0, 3.0], [0.5]]
    """
    if isinstance(gradients[0], list):
        return [average(entries) for entries in zip(*gradients, strict=True)]
    return sum(gradients) / len(gradients)


def update(v: Any, dC_dv: Any, rho: float) -> Any:
    """v - rho dC/dv, entry by entry: the step of gradient descent with the learning rate rho.

    Examples
    --------
    >>> update([[1.0, 2.0]], [[10.0, -10.0]], rho=0.1)
    [[0.0, 3.0]]
    """
    if isinstance(v, list):
        return [update(each, derivative, rho) for each, derivative in zip(v, dC_dv, strict=True)]
    return v - rho * dC_dv


def gradients(model: Module, X: Data, Y: Data, loss: Loss | None = None) -> dict[str, Array]:
    """The gradients of a network by these loops, averaged over the datapoints, named as the model's parameters.

    Parameters
    ----------
    model : nn.MLP or Sequential
        Linear layers with an elementwise activation, or none, after each; the last may have Softmax or LogSoftmax.
    X : array_like of shape (m, n_0)
        Row layout, as the model takes it.
    Y : array_like of shape (m, n_L), or m class indices for the log-likelihood
    loss : Loss, optional
        As for `nn.closed_form.gradients`: without one binary cross-entropy, or after a softmax the log-likelihood.

    Returns
    -------
    dict of str to ndarray
        dC/dW of shape (n_l, n_{l-1}) and dC/db of shape (n_l,).

    Raises
    ------
    ValueError
        If the model is another kind of network, does not go with the loss, the cost has no derivative there, or the
        shapes do not fit or hold no sample.
    TypeError
        If X or Y are not numbers, or `loss` is no loss.

    Examples
    --------
    >>> import nn
    >>> model = nn.MLP(2, [3, 1], rng=0)
    >>> loops = gradients(model, [[1.0, 2.0]], [[1.0]])
    >>> matrices = nn.closed_form.gradients(model, [[1.0, 2.0]], [[1.0]])
    >>> bool(abs(loops["layers.0.weight"] - matrices["layers.0.weight"]).max() < 1e-15)
    True
    """
    network = closed_form.read("index_form.gradients", model, loss, numeric("index_form.gradients", "Y", Y))
    X, Y = closed_form.samples("index_form.gradients", network, X, Y)
    W, b = ([array.tolist() for array in arrays] for arrays in closed_form.weights(network.layers))
    b = [[b_m for (b_m,) in b_l] for b_l in b]
    g = _functions(model)
    g[-1] = OUTPUTS.get(network.pair.output.name, g[-1])  # of a model that gives logits, too
    if network.pair.cost == "log-likelihood":
        Y = closed_form.one_hot(Y, network.layers[-1].out_features).T
    each = []
    for x, y in zip(X.tolist(), Y.tolist(), strict=True):
        z, a = forward(x, W, b, g)
        each.append(list(backward(z, a, y, W, g, COSTS[network.pair.cost])[1:]))
    total: dict[int, Array] = {}
    for layer, dC_dW, dC_db in zip(network.layers, *average(each), strict=True):
        for parameter, derivative in ((layer.weight, dC_dW), (layer.bias, dC_db)):
            # A layer that stands in two places gathers from both.
            total[id(parameter)] = total.get(id(parameter), 0) + network.scale(len(X)) * np.array(derivative)
    return {name: total[id(parameter)] for name, parameter in model.named_parameters()}


OUTPUTS: dict[str, Function | JointFunction] = {"sigmoid": SIGMOID, "softmax": SOFTMAX}


def _functions(model: Module) -> list[Function | JointFunction]:
    """What follows each Linear layer of a model."""
    modules = closed_form.stack(model)
    following = zip(modules, [*modules[1:], Identity()], strict=True)
    return [_function(after) for module, after in following if isinstance(module, Linear)]


def _function(module: Module) -> Function:
    if isinstance(module, LeakyReLU):
        return leaky_relu(module.negative_slope)
    if isinstance(module, Softplus):
        return softplus(module.beta)
    known = {Sigmoid: SIGMOID, Tanh: TANH, ReLU: RELU, LogSigmoid: LOG_SIGMOID}
    return known.get(type(module), IDENTITY)


def _cost_prime(a: Vector, y: Vector, cost: Cost) -> list[Any]:
    if len(a) != len(y):
        raise ValueError(f"index_form: {len(a)} outputs and {len(y)} targets, expected as many, at {mg.sites.here()}")
    try:
        return [cost.c_prime(a[n], y[n]) for n in range(len(a))]
    except ZeroDivisionError:
        by = "a" if cost is LOG_LIKELIHOOD else "a (1 - a)"
        raise ValueError(
            f"index_form: dC/da divides by {by}, and the outputs are {list(a)!r:.60}: "
            f"nn.closed_form has A - Y, without a division, at {mg.sites.here()}"
        ) from None


def _check_sizes(x: Vector, W: Sequence[Matrix], b: Sequence[Vector], g: Sequence[Function | JointFunction]) -> None:
    if not len(W) == len(b) == len(g):
        raise ValueError(
            f"index_form: {len(W)} matrices W, {len(b)} vectors b and {len(g)} functions g, expected one of each for a "
            f"layer, at {mg.sites.here()}"
        )
    N = len(x)
    for l, (W_l, b_l) in enumerate(zip(W, b, strict=True)):
        if not W_l or any(len(row) != N for row in W_l) or len(b_l) != len(W_l):
            raise ValueError(
                f"index_form: in layer {l}, W has rows of {[len(row) for row in W_l]} numbers and b has {len(b_l)}, "
                f"expected rows of {N} and a b for each, at {mg.sites.here()}"
            )
        N = len(W_l)
