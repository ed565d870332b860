"""The notes' delta recursion in plain NumPy: no engine, no graph, no autograd.

Column layout and letters of the notes: X is (n_0, m), features in rows and samples in columns; W (n_l, n_{l-1}) and
b (n_l, 1) for each layer; Z = W A + b and A = g(Z). The cost is summed over outputs and averaged over samples.
`forward_rows` and `backward_rows` are the same in row layout, X (m, n_0), W (n_{l-1}, n_l) and Z = A W + b.

Which delta[L] belongs to which output and cost stands in `nn.deltas`, row by row; `print(table())` shows it.
`gradients` reads the row off a model and its loss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeGuard, TypeVar

import numpy as np

import microgrid as mg
from nn.containers import Sequential
from nn.deltas import (
    ACTIVATIONS,
    BCE,
    PAIRS,
    Activation,
    Pair,
    hidden_activations,
    leaky_relu,
    one_hot,
    pair_of,
    sigma,
    softmax,
    softplus_of,
    table,
)
from nn.layers import (
    MLP,
    Dropout,
    Identity,
    LeakyReLU,
    Linear,
    LogSigmoid,
    LogSoftmax,
    ReLU,
    Sigmoid,
    Softmax,
    Softplus,
    Tanh,
)
from nn.layouts import COLUMNS, ROWS
from nn.losses import (
    BCELoss,
    BCEWithLogitsLoss,
    CrossEntropyLoss,
    HalfMSELoss,
    Loss,
    MSELoss,
    NLLLoss,
    as_written,
)
from nn.module import Module, Parameter
from nn.targets import Array, Data, numeric, refuse_infinite, refuse_no_labels

__microgrid_machinery__ = True

__all__ = [
    "ACTIVATIONS", "BCE", "PAIRS", "Activation", "Network", "Pair", "backward", "backward_rows", "cost", "forward",
    "forward_rows", "gradients", "one_hot", "pair_of", "read", "samples", "sigma", "softmax", "stack", "table",
    "weights",
]  # fmt: skip

Kind = TypeVar("Kind", bound=Module)
Hidden: TypeAlias = str | Activation | Sequence[str | Activation]


def forward(
    X: Array, W: Sequence[Array], b: Sequence[Array], hidden: Hidden = "sigmoid", pair: Pair = BCE
) -> tuple[list[Array], list[Array]]:
    """All Z and all A of a network.

    Parameters
    ----------
    X : ndarray of shape (n_0, m)
    W : L arrays of shape (n_l, n_{l-1})
    b : L arrays of shape (n_l, 1)
    hidden : str, or L - 1 of them
        g of the hidden layers: "sigmoid", "tanh", "relu", "leaky relu", "identity", "softplus" or "log sigmoid".
    pair : Pair
        Its output is g of the last layer; see `pair_of`.

    Returns
    -------
    Z : list of L arrays of shape (n_l, m)
    A : list of L + 1 arrays, A[0] = X and A[l] = g(Z[l - 1]) of shape (n_l, m)

    Raises
    ------
    ValueError
        If W, b and `hidden` do not count the same layers, a shape does not fit (only b is broadcast, over the samples),
        there is no sample, or an activation is unknown.
    TypeError
        If X, W or b are no arrays.

    Examples
    --------
    >>> Z, A = forward(np.zeros((2, 3)), [np.ones((1, 2))], [np.zeros((1, 1))])
    >>> A[-1].tolist()
    [[0.5, 0.5, 0.5]]
    """
    activations = [*hidden_activations(hidden, len(W) - 1), pair.output]
    COLUMNS.check_network("closed_form.forward", X, W, b)
    Z: list[Array] = []
    A = [X]
    for W_l, b_l, g in zip(W, b, activations, strict=True):
        Z.append(W_l @ A[-1] + b_l)  # (n_l, m)
        A.append(g.g(Z[-1]))
    return Z, A


def cost(Z: Array, Y: Array, pair: Pair = BCE) -> float:
    """The cost, outputs summed, samples averaged, by formulas that stay finite where Z is large.

    Parameters
    ----------
    Z : ndarray of shape (n_L, m)
        The last of them. For complex numbers the cost is complex.
    Y : ndarray of shape (n_L, m), or (m,) class indices for "log-likelihood"
    pair : Pair

    Raises
    ------
    ValueError
        If Y has another shape than asked for, holds what is no class, or there is no sample.
    TypeError
        If Z or Y is no array, or class indices are no integers.

    Examples
    --------
    >>> cost(np.array([[0.0]]), np.array([[1.0]]))
    0.6931471805599453
    """
    COLUMNS.check_targets("closed_form.cost", "Z", Z, Y, pair)
    total: float = (pair.costs(Z, Y).sum() / Z.shape[1]).item()
    return total


def backward(
    A: Sequence[Array], Y: Array, W: Sequence[Array], hidden: Hidden = "sigmoid", pair: Pair = BCE
) -> tuple[list[Array], list[Array], list[Array]]:
    """The delta recursion, from the output back.

    Parameters
    ----------
    A : L + 1 arrays of shape (n_l, m)
        As `forward` gives them.
    Y : ndarray of shape (n_L, m), or (m,) class indices for "log-likelihood"
    W : L arrays of shape (n_l, n_{l-1})
    hidden, pair
        As in `forward`.

    Returns
    -------
    delta : list of L arrays of shape (n_l, m)
        Per sample: m dC/dZ.
    dW : list of L arrays of shape (n_l, n_{l-1})
    db : list of L arrays of shape (n_l, 1)

    Raises
    ------
    ValueError, TypeError
        As for `forward` and `cost`: nothing is broadcast.

    Notes
    -----
    ::

        delta[L] = A[L] - Y                              or another row of the table
        delta[l] = W[l+1]^T delta[l+1] * g'              g' = A[l] (1 - A[l]) for the sigmoid
        dW[l]    = delta[l] A[l-1]^T / m
        db[l]    = sum over samples of delta[l] / m

    The notes waver between `W^T delta` and `delta W^T`: in column layout it is the first. With square layers and as
    many samples as units the second runs too, and is wrong.

    A - Y is right to the last digit of 1. Where y = 1 and z is large little is left of A - 1, whose relative error is
    about eps e^z; the loss on logits has the digits.

    Examples
    --------
    >>> X, Y, W, b = np.array([[1.0], [2.0]]), np.array([[1.0]]), np.array([[0.5, -0.25]]), np.array([[0.0]])
    >>> Z, A = forward(X, [W], [b])
    >>> delta, dW, db = backward(A, Y, [W])
    >>> delta[0].tolist(), dW[0].tolist(), db[0].tolist()  # A - Y = 1/2 - 1
    ([[-0.5]], [[-0.5, -1.0]], [[-0.5]])
    """
    COLUMNS.check_pass("closed_form.backward", A, Y, W, pair)
    slopes = _slopes(A, hidden)
    m = A[0].shape[1]
    delta = pair.delta(A[-1], Y)
    deltas: list[Array] = []
    dW: list[Array] = []
    db: list[Array] = []
    for i in reversed(range(len(W))):  # W[i] leads from A[i] to A[i + 1]
        deltas.insert(0, delta)
        dW.insert(0, delta @ A[i].T / m)
        db.insert(0, delta.sum(axis=1, keepdims=True) / m)
        if i:
            delta = W[i].T @ delta * slopes[i - 1]
    return deltas, dW, db


def forward_rows(
    X: Array, W: Sequence[Array], b: Sequence[Array], hidden: Hidden = "sigmoid", pair: Pair = BCE
) -> tuple[list[Array], list[Array]]:
    """`forward` in row layout: X (m, n_0), W (n_{l-1}, n_l), b (1, n_l), and so Z and A (m, n_l).

    Examples
    --------
    >>> Z, A = forward_rows(np.zeros((3, 2)), [np.ones((2, 1))], [np.zeros((1, 1))])
    >>> A[-1].tolist()
    [[0.5], [0.5], [0.5]]
    """
    activations = [*hidden_activations(hidden, len(W) - 1), pair.output]
    ROWS.check_network("closed_form.forward_rows", X, W, b)
    Z: list[Array] = []
    A = [X]
    for W_l, b_l, g in zip(W, b, activations, strict=True):
        Z.append(A[-1] @ W_l + b_l)  # (m, n_l)
        A.append(g.g(Z[-1].T).T)
    return Z, A


def backward_rows(
    A: Sequence[Array], Y: Array, W: Sequence[Array], hidden: Hidden = "sigmoid", pair: Pair = BCE
) -> tuple[list[Array], list[Array], list[Array]]:
    """`backward` in row layout: A, Y and delta (m, n_l), W and dW (n_{l-1}, n_l), db (1, n_l).

    Notes
    -----
    ::

        delta[L] = A[L] - Y                              or another row of the table
        delta[l] = delta[l+1] W[l+1]^T * g'              the order that note 000 remembers
        dW[l]    = A[l-1]^T delta[l] / m
        db[l]    = sum over samples of delta[l] / m

    Examples
    --------
    >>> X, Y, W, b = np.array([[1.0, 2.0]]), np.array([[1.0]]), np.array([[0.5], [-0.25]]), np.array([[0.0]])
    >>> Z, A = forward_rows(X, [W], [b])
    >>> delta, dW, db = backward_rows(A, Y, [W])
    >>> delta[0].tolist(), dW[0].tolist(), db[0].tolist()
    ([[-0.5]], [[-0.5], [-1.0]], [[-0.5]])
    """
    ROWS.check_pass("closed_form.backward_rows", A, Y, W, pair)
    slopes = _slopes(A, hidden)
    m = len(A[0])
    delta = pair.delta(A[-1].T, Y.T).T
    deltas: list[Array] = []
    dW: list[Array] = []
    db: list[Array] = []
    for i in reversed(range(len(W))):  # W[i] leads from A[i] to A[i + 1]
        deltas.insert(0, delta)
        dW.insert(0, A[i].T @ delta / m)
        db.insert(0, delta.sum(axis=0, keepdims=True) / m)
        if i:
            delta = delta @ W[i].T * slopes[i - 1]
    return deltas, dW, db


def _slopes(A: Sequence[Array], hidden: Hidden) -> list[Array]:
    """g' of each hidden layer, from its A."""
    activations = hidden_activations(hidden, len(A) - 2)
    return [g.slope(A_l) for g, A_l in zip(activations, A[1:-1], strict=True) if g.slope is not None]


def gradients(model: Module, X: Data, Y: Data, loss: Loss | None = None) -> dict[str, Array]:
    """Gradients of a network by the recursion, named and shaped as the model's parameters.

    Parameters
    ----------
    model : MLP or Sequential
        Linear layers with an elementwise activation, or none, after each; the last may have Softmax or LogSoftmax.
    X : array_like of shape (m, n_0)
        Row layout, as the model takes it.
    Y : array_like of shape (m, n_L), or m class indices for the log-likelihood
    loss : Loss, optional
        With the model's output it tells the row of the table, `print(closed_form.table())`: probabilities and
        `BCELoss` are the same row as logits and `BCEWithLogitsLoss`. Its reduction scales the gradients.
        Without a loss the cost is the one whose delta[L] is A - Y, summed over outputs and averaged over samples:
        binary cross-entropy, or after Softmax or LogSoftmax the log-likelihood.

    Returns
    -------
    dict of str to ndarray
        dC/dW of shape (n_l, n_{l-1}) and dC/db of shape (n_l,).

    Raises
    ------
    ValueError
        If the model is another kind of network, it and the loss make no row of the table, the loss has weights, the
        shapes do not fit or hold no sample, a number is nan or infinite, or a label does not belong to the cost.
    TypeError
        If the model is no Module, X or Y are not numbers, class indices no integers, or `loss` is no loss.

    Examples
    --------
    >>> model = MLP(2, [3, 1], rng=0)
    >>> {name: g.shape for name, g in gradients(model, [[1.0, 2.0]], [[1.0]]).items()}
    {'layers.0.weight': (3, 2), 'layers.0.bias': (3,), 'layers.2.weight': (1, 3), 'layers.2.bias': (1,)}
    """
    Y = numeric("closed_form.gradients", "Y", Y)
    network = read("closed_form.gradients", model, loss, Y)
    X, Y = samples("closed_form.gradients", network, X, Y)
    W, b = weights(network.layers)
    _, A = forward(X.T, W, b, network.hidden, network.pair)
    _, dW, db = backward(A, Y.T, W, network.hidden, network.pair)
    scale = network.scale(len(X))
    total: dict[int, Array] = {}
    for layer, dW_l, db_l in zip(network.layers, dW, db, strict=True):
        pairs = [(layer.weight, dW_l)] if layer.bias is None else [(layer.weight, dW_l), (layer.bias, db_l[:, 0])]
        for parameter, gradient in pairs:
            # A layer that stands in two places gathers from both.
            total[id(parameter)] = total.get(id(parameter), 0) + scale * gradient
    return {name: total[id(parameter)] for name, parameter in model.named_parameters()}


@dataclass(frozen=True)
class Network:
    """What `read` found in a model and a loss.

    Attributes
    ----------
    layers : list of L Linear
    hidden : list of L - 1 Activation
    pair : Pair
        The row of the table.
    reduction : {"mean", "sum", "batchmean"}
        Of the loss.
    """

    layers: list[Linear]
    hidden: list[Activation]
    pair: Pair
    reduction: str

    def scale(self, m: int) -> float:
        """What the loss's reduction makes of the sum over outputs and mean over samples: 1, 1/K or m."""
        if self.reduction == "sum":
            return m
        one_a_sample = self.pair.cost in ("log-likelihood", "cross-entropy")
        return 1 if self.reduction == "batchmean" or one_a_sample else 1 / self.layers[-1].out_features


# What stands at the end of a model, with its loss: the row that they make. Squares go with any elementwise output.
MODELS: dict[tuple[str, type[Loss] | None], tuple[str, str]] = {
    ("sigmoid",     None):              ("sigmoid", "binary cross-entropy"),
    ("identity",    None):              ("sigmoid", "binary cross-entropy"),
    ("softmax",     None):              ("softmax", "log-likelihood"),
    ("log softmax", None):              ("softmax", "log-likelihood"),
    ("sigmoid",     BCELoss):           ("sigmoid", "binary cross-entropy"),
    ("identity",    BCEWithLogitsLoss): ("sigmoid", "binary cross-entropy"),
    ("identity",    CrossEntropyLoss):  ("softmax", "log-likelihood"),
    ("log softmax", NLLLoss):           ("softmax", "log-likelihood"),
}  # fmt: skip
SQUARES: dict[type[Loss] | None, str] = {MSELoss: "squares", HalfMSELoss: "half squares"}


def read(name: str, model: Module, loss: Loss | None, Y: Array) -> Network:
    """The layers of a model, and the row of the table that its output and the loss make.

    Raises
    ------
    ValueError
        If the model is no stack of Linear layers and activations, there is no such row, or the loss has weights.
    TypeError
        If the model is no Module, or `loss` no loss of nn.
    """
    if not isinstance(model, Module):
        hint = " (nn.to_array makes arrays of a model of Values)" if hasattr(model, "parameters") else ""
        raise TypeError(f"{name}: expected an nn.MLP or nn.Sequential, got {model!r:.60}{hint}, at {mg.sites.here()}")
    layers, activations = _layers(model)
    end = activations.pop()
    kind = _kind(name, loss, Y)
    if (end.name, kind) in MODELS:
        output, cost = MODELS[end.name, kind]
        if cost == "log-likelihood" and kind is not NLLLoss and Y.ndim == 2:
            cost = "cross-entropy"  # probabilities, not class indices
        pair = pair_of(output, cost)
    else:
        pair = pair_of(end, SQUARES.get(kind) or (as_written(kind) if kind else "no loss"))
    hidden = hidden_activations(activations, len(layers) - 1)
    return Network(layers, hidden, pair, "batchmean" if loss is None else loss.reduction)


def _kind(name: str, loss: Loss | None, Y: Array) -> type[Loss] | None:
    """The class of a loss; what the table cannot say of a loss is an error."""
    if loss is None:
        return None
    if not isinstance(loss, Loss):
        made = f": write {name}(model, X, Y, {as_written(loss)}())" if isinstance(loss, type) else ""
        raise TypeError(f"{name}: expected a loss of nn, got {loss!r}{made}, at {mg.sites.here()}")
    for option in ("weight", "pos_weight", "label_smoothing"):
        given = getattr(loss, option, None)
        if given is not None and not (option == "label_smoothing" and given == 0):
            raise ValueError(f"{name}: the closed forms have no {option}, got {loss!r}, at {mg.sites.here()}")
    if Y.ndim == 1 and getattr(loss, "ignore_index", None) in Y.tolist():
        raise ValueError(f"{name}: the closed forms ignore no index, and Y holds it in {loss!r}, at {mg.sites.here()}")
    if loss.reduction == "none":
        raise ValueError(f"{name}: reduction='none' leaves no single cost, got {loss!r}, at {mg.sites.here()}")
    return type(loss)


def samples(name: str, network: Network, X: Data, Y: Data) -> tuple[Array, Array]:
    """X (m, n_0) and Y as arrays that the recursion can be run on; errors as `gradients` documents them."""
    X, Y = numeric(name, "X", X), numeric(name, "Y", Y)
    first, last, cost = network.layers[0], network.layers[-1], network.pair.cost
    m = len(X) if X.ndim else 0
    outputs = () if cost == "log-likelihood" else (last.out_features,)
    if not m or (X.shape, Y.shape) != ((m, first.in_features), (m, *outputs)):
        wanted = f"(m, {last.out_features})" if outputs else "(m,) of class indices"
        raise ValueError(
            f"{name}: X has shape {X.shape}, Y has shape {Y.shape}, expected (m, {first.in_features}) and {wanted} "
            f"for m >= 1 samples, one a row, at {mg.sites.here()}"
        )
    refuse_infinite(name, "X", X)
    dtype = first.weight.dtype
    if cost == "log-likelihood":
        if Y.dtype.kind not in "iu":
            raise TypeError(f"{name}: class indices must be integers, got {Y.dtype}, at {mg.sites.here()}")
        if Y.min() < 0 or Y.max() >= last.out_features:
            wrong = Y.min() if Y.min() < 0 else Y.max()
            raise ValueError(
                f"{name}: Y holds the class {wrong}, expected 0 to {last.out_features - 1}, at {mg.sites.here()}"
            )
        return X.astype(dtype), Y
    if cost == "binary cross-entropy":
        refuse_no_labels(name, "Y", Y)
    refuse_infinite(name, "Y", Y)
    if cost == "cross-entropy" and (Y < 0).any():
        raise ValueError(f"{name}: Y holds {Y.min()}, expected probabilities or other y >= 0, at {mg.sites.here()}")
    return X.astype(dtype), Y.astype(dtype)


def weights(
    layers: Sequence[Linear], array: Callable[[Parameter], Array] = lambda parameter: parameter._data
) -> tuple[list[Array], list[Array]]:
    """W (n_l, n_{l-1}) and b (n_l, 1) of the layers: views of what `array` gives for a parameter, its data."""
    W = [array(layer.weight) for layer in layers]
    b = [np.zeros((layer.out_features, 1), layer.weight.dtype) if layer.bias is None else array(layer.bias)[:, None]
         for layer in layers]  # fmt: skip
    return W, b


def stack(model: Module) -> list[Module]:
    """The modules that a model made of MLPs and Sequentials applies, in order; not those that change nothing.

    Examples
    --------
    >>> stack(Sequential(MLP(2, [3, 1], rng=0), Identity()))[-2:]
    [Sigmoid(), Linear(in_features=3, out_features=1, bias=True)]
    """
    if _applies(model, MLP):
        return stack(model.layers)
    if _applies(model, Sequential):
        return [leaf for module in model for leaf in stack(module)]
    idle = _applies(model, Identity) or (_applies(model, Dropout) and not model.training)
    return [] if idle else [model]


def _applies(module: Module, kind: type[Kind]) -> TypeGuard[Kind]:
    """Whether a module does what one of nn does: a user's subclass may compute something else."""
    return isinstance(module, kind) and type(module).forward is kind.forward


def _layers(model: Module) -> tuple[list[Linear], list[Activation]]:
    """The Linear layers of a model and what follows each: at most one activation, else the identity."""
    modules = stack(model)
    layers: list[Linear] = []
    found: list[Activation] = []
    for before, module in zip([None, *modules], modules, strict=False):
        g = _activation(module)
        if _applies(module, Linear):
            layers.append(module)
            found.append(ACTIVATIONS["identity"])
        elif g is not None and before is not None and _applies(before, Linear):
            found[-1] = g
        else:
            layers.clear()
            break
    elsewhere = {id(p) for p in model.parameters()} - {id(p) for layer in layers for p in layer.parameters()}
    if not layers or elsewhere:
        kinds = ", ".join(type(module).__name__ for module in modules) or "nothing"
        rest = "; model.eval() puts Dropout to rest" if any(isinstance(module, Dropout) for module in modules) else ""
        raise ValueError(
            "the closed forms belong to networks Linear, g, Linear, g, ... with at most one activation g after each, "
            f"made as nn.MLP or nn.Sequential; got {kinds}{rest}, at {mg.sites.here()}"
        )
    return layers, found


# Each module of nn that is an activation by its name in the table
NAMES: dict[type[Module], str] = {
    Sigmoid: "sigmoid",
    Tanh: "tanh",
    ReLU: "relu",
    LogSigmoid: "log sigmoid",
    Softmax: "softmax",
    LogSoftmax: "log softmax",
}


def _activation(module: Module) -> Activation | None:
    if _applies(module, LeakyReLU):
        return leaky_relu(module.negative_slope)
    if _applies(module, Softplus):
        return softplus_of(module.beta)
    if isinstance(module, Softmax | LogSoftmax) and module.axis not in (-1, 1):
        raise ValueError(f"the closed forms take softmax over the outputs, axis -1, got {module}, at {mg.sites.here()}")
    return next((ACTIVATIONS[name] for kind, name in NAMES.items() if _applies(module, kind)), None)
