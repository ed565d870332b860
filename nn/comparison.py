"""Autograd against the closed form: one gradient, found in several ways, and how far they are apart."""

from __future__ import annotations

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import microgrid as mg
from nn import closed_form, losses
from nn.closed_form import Network
from nn.containers import Sequential
from nn.deltas import BCE, Pair
from nn.layers import Linear, Sigmoid, Softmax
from nn.losses import Loss
from nn.module import Module, Parameter
from nn.targets import Array, Data, check_count, numeric

__microgrid_machinery__ = True

Gradients = dict[str, Array]

LEAST = 1e-4  # of the norm of the whole gradient: what a parameter's share in it is measured against at least

SMALL = 300  # so many numbers at most get a complex step each: a forward pass on complex numbers

# Each cost as a loss on A, for the chain, and as one on logits, where nn has it
CHAIN = {
    "binary cross-entropy": losses.BCELoss,
    "squares": losses.MSELoss,
    "half squares": losses.HalfMSELoss,
}
FUSED = {
    "binary cross-entropy": losses.BCEWithLogitsLoss,
    "log-likelihood": losses.CrossEntropyLoss,
    "cross-entropy": losses.CrossEntropyLoss,
}


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `compare` found; `print` it.

    Attributes
    ----------
    errors : dict of str to dict of str to float
        By way ("chain", "fused", "differences", "complex"), then by parameter: the norm-wise relative error against
        the closed form, |g - g'| / max(|g|, |g'|); inf where a gradient is not finite. A gradient that is next to
        nothing (the bias of centred data, say) is measured against a ten-thousandth of the whole.
    milliseconds : dict of str to float
        Time of each way, the closed form ("closed") among them.
    shapes : dict of str to tuple of int
        Of the parameters.
    logits : (float, float)
        The least and the largest z at the output; for softmax of z - max z, which is all that it sees.
    cliffs : (float, float)
        The z beyond which the chain is not finite in this dtype. For the sigmoid with cross-entropy, where it is
        exactly 0 and exactly 1: -709.78 and 36.7368 in float64.
    closed_finite : bool
        Whether the closed form, which the others are measured against, holds neither nan nor inf.
    pair : Pair
        The row of the table of closed forms that model and loss belong to.
    """

    errors: dict[str, dict[str, float]]
    milliseconds: dict[str, float]
    shapes: dict[str, tuple[int, ...]]
    logits: tuple[float, float]
    cliffs: tuple[float, float]
    closed_finite: bool = True
    pair: Pair = BCE

    @property
    def worst(self) -> float:
        """Largest error of the ways that are exact but for rounding; inf if one of them is not finite."""
        return max(error for way in self.errors if way != "differences" for error in self.errors[way].values())

    @property
    def worst_differences(self) -> float:
        """Largest error of the central differences, whose step leaves about 1e-10 of the cost's scale."""
        return max(self.errors["differences"].values())

    @property
    def not_finite(self) -> list[str]:
        """The ways whose gradient holds nan or inf; all of them, if the closed form's does."""
        return [way for way, errors in self.errors.items() if math.inf in errors.values()]

    def rows(self) -> list[dict[str, Any]]:
        """One dict a parameter: its name, shape and the error of each way."""
        return [
            {"parameter": name, "shape": shape, **{way: errors[name] for way, errors in self.errors.items()}}
            for name, shape in self.shapes.items()
        ]

    def layers(self) -> list[dict[str, Any]]:
        """One dict a layer: its name, and of each way the largest error among its parameters."""
        rows: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows():
            rows.setdefault(row["parameter"].rpartition(".")[0], []).append(row)
        return [
            {"layer": name, **{way: max(row[way] for row in within) for way in self.errors}}
            for name, within in rows.items()
        ]

    def __repr__(self) -> str:
        return f"Comparison({self.pair.name}, worst={self.worst:.1e}, worst_differences={self.worst_differences:.1e})"

    def __str__(self) -> str:
        width = max(map(len, [*self.shapes, "worst, time in ms"]))
        form = f"{{:{width}}}  {{:>10}}" + "  {:>11}" * (len(self.errors) + 1)
        lines = [
            f"{self.pair.name}, delta[L] = {self.pair.formula}",
            f"Relative error (norm-wise) of each gradient against the closed form {self.pair.formula}",
            "",
            form.format("parameter", "shape", *self.errors, "closed").rstrip(),
        ]
        for row in self.rows():
            errors = [_shown(row[way]) for way in self.errors]
            lines.append(form.format(row["parameter"], "x".join(map(str, row["shape"])), *errors, "-"))
        lines.append("")
        for row in self.layers():
            errors = [_shown(row[way]) for way in self.errors]
            lines.append(form.format(f"worst of {row['layer']}".removesuffix(" of "), "", *errors, "-"))
        worst = [_shown(max(errors.values())) for errors in self.errors.values()]
        times = [f"{self.milliseconds[way]:.3g}" for way in (*self.errors, "closed")]
        lines += [form.format("worst", "", *worst, "-"), form.format("time in ms", "", *times), ""]
        meanings = _meanings(self.pair)
        lines += [f"{way:12} {meanings[way]}" for way in (*self.errors, "closed")]
        if self.not_finite:
            lines += ["", self._note()]
        return "\n".join(lines)

    def _note(self) -> str:
        """Why something is not finite: the weights, too large numbers, or the cliff."""
        (low, high), (to_0, to_1) = self.logits, self.cliffs
        z = f"At the output z runs from {low:.4g} to {high:.4g}."
        if not self.closed_finite:
            return (
                f"NOT FINITE: the closed form itself, so that nothing can be measured against it. {z}\n"
                "A weight is nan or infinite, or numbers on the way are too large for their type."
            )
        notes = {way: f"NOT FINITE: {way}. Numbers on the way are too large for their type." for way in self.not_finite}
        if "chain" in notes and self.pair is BCE:
            notes["chain"] = (
                f"NOT FINITE: chain. {z} From z = {to_1:.4f} on the sigmoid\nrounds to 1, and below z = {to_0:.2f} to "
                "0; there -(Y/A - (1-Y)/(1-A)) A(1-A) becomes 0/0. That is a limit\nof that formula: A - Y and the "
                "loss on logits have none."
            )
        elif "chain" in notes and self.pair.cost in FUSED:
            notes["chain"] = (
                f"NOT FINITE: chain. At the output z - max z runs from {low:.4g} to {high:.4g}. Below {to_0:.2f}\n"
                f"1/A is infinite, and further down A is 0. That is a limit of the chain: {self.pair.formula} and the\n"
                "loss on logits have none."
            )
        return "\n".join(notes.values())


def _meanings(pair: Pair) -> dict[str, str]:
    """What each way is, for a row of the table."""
    written = CHAIN[pair.cost].__name__ if pair.cost in CHAIN else "logarithm"
    chain = f"C <- Z ({written})" if pair.output.name == "identity" else f"C <- A <- Z ({pair.output.name}, {written})"
    return {
        "chain": f"autograd through {chain}",
        "fused": f"autograd on the logits ({FUSED[pair.cost].__name__})" if pair.cost in FUSED else "",
        "differences": "central differences of the cost",
        "complex": f"complex step, h = {COMPLEX_STEP:g}, of the cost in plain NumPy",
        "closed": f"closed form, delta[L] = {pair.formula}",
    }


def compare(model: Module, X: Data, Y: Data, loss: Loss | None = None, repeats: int = 5) -> Comparison:
    """Hold the gradients of a network, found in several ways, against each other.

    The ways are the chain rule C <- A <- Z, node by node; the fused loss on logits, where there is one; central
    differences with h = eps^(1/3) max(1, |x|); a complex step, for networks of up to 300 numbers; and the closed form
    of the notes, delta = A - Y or another row of the table, which the others are measured against.

    Parameters
    ----------
    model : MLP or Sequential
        Linear layers, each with an elementwise activation or none; with logits, probabilities or plain numbers at the
        end. Neither its weights nor its gradients are changed. Frozen parameters are left out.
    X : array_like of shape (m, n_0)
    Y : array_like of shape (m, n_L), or m class indices
    loss : Loss, optional
        With the model's output it tells the row, see `closed_form.gradients`. Without one the cost is binary
        cross-entropy, or after Softmax or LogSoftmax the log-likelihood, "batchmean": summed over outputs and
        averaged over samples.
    repeats : int >= 1
        Times are medians of so many runs (one, for the differences and the complex step).

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If model and loss make no row of the table, the model is wholly frozen, shapes do not fit or hold no sample, a
        number is nan or infinite, a label does not belong to the cost, or `repeats` is below 1.
    TypeError
        If the model is no Module, X or Y are not numbers, `loss` is no loss, or `repeats` no integer.

    Notes
    -----
    Gradients are found here inside `mg.no_grad()` too. A complex step knows no kink, and differences cross those that
    lie within h: a relu whose z is 0 there shows as an error. So does, alone in its batch, a sample with y = 1 and a
    large z, for which A - Y itself has few digits left; see `closed_form.backward`.

    Examples
    --------
    >>> import nn
    >>> model = nn.MLP(2, [3, 2], rng=0)
    >>> report = compare(model, [[1.0, 2.0], [3.0, 4.0]], [[0, 1], [1, 0.5]])
    >>> report.worst < 1e-14, report.worst_differences < 1e-8
    (True, True)
    >>> compare(model, [[1.0, 2.0], [3.0, 4.0]], [1, 0], nn.CrossEntropyLoss()).pair
    Pair(softmax + log-likelihood: delta[L] = A - E_y)
    """
    check_count("nn.compare", "repeats", repeats)
    Y = numeric("nn.compare", "Y", Y)
    network = closed_form.read("nn.compare", model, loss, Y)
    X, Y = closed_form.samples("nn.compare", network, X, Y)
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not named:
        raise ValueError(
            "nn.compare: there is no gradient to compare: the model has no parameters that require one "
            f"(parameter.requires_grad_() thaws one), at {mg.sites.here()}"
        )
    ways = _ways(model, network, X, Y, loss, named)
    found, milliseconds = {}, {}
    # What is not finite the report says in words.
    with mg.enable_grad(), np.errstate(all="ignore"):
        for way, gradients in ways.items():
            found[way], milliseconds[way] = _timed(gradients, 1 if way in ("differences", "complex") else repeats)
        Z, _ = closed_form.forward(X.T, *closed_form.weights(network.layers), network.hidden, network.pair)
    reference = found.pop("closed")
    whole = math.sqrt(math.fsum(np.vdot(reference[name], reference[name]) for name in named))
    errors = {
        way: {name: _error(g[name], reference[name], LEAST * whole) for name in named} for way, g in found.items()
    }
    closed_finite = all(np.isfinite(reference[name]).all() for name in named)
    shapes = {name: parameter.shape for name, parameter in named.items()}
    return Comparison(errors, milliseconds, shapes, *_range(Z[-1], network.pair), closed_finite, network.pair)


def _range(Z: Array, pair: Pair) -> tuple[tuple[float, float], tuple[float, float]]:
    """The least and the largest z of (K, m), and those beyond which the chain is not finite."""
    number = np.finfo(Z.dtype)
    to_0, to_1 = -math.inf, math.inf
    if pair.output.name == "softmax":
        Z = Z - Z.max(axis=0)
    if pair.cost in FUSED:
        to_0 = -math.log(number.max)  # e^-z overflows
    if pair is BCE:
        to_1 = (number.nmant + 1) * math.log(2)  # 1 + e^-z rounds to 1
    return (float(Z.min()), float(Z.max())), (to_0, to_1)


def _ways(
    model: Module, network: Network, X: Array, Y: Array, loss: Loss | None, named: dict[str, Parameter]
) -> dict[str, Callable[[], Gradients]]:
    """The ways to the gradient, by name."""
    cost, reduction = network.pair.cost, network.reduction
    modules = closed_form.stack(model)
    logits = Sequential(*modules[: len(modules) - (not isinstance(modules[-1], Linear))])
    inputs = mg.Tensor(X)

    def autograd(net: Module, of: Callable[[mg.Tensor, Array], mg.Tensor]) -> Gradients:
        # grad, not backward: what stands in the model's .grad is the user's.
        return dict(zip(named, mg.grad(of(net(inputs), Y), list(named.values())), strict=True))

    ways: dict[str, Callable[[], Gradients]] = {}
    if cost in ("squares", "half squares"):
        ways["chain"] = lambda: autograd(Sequential(*modules), CHAIN[cost](reduction=reduction))
    elif cost == "binary cross-entropy":
        ways["chain"] = lambda: autograd(Sequential(*logits, Sigmoid()), CHAIN[cost](reduction=reduction))
    else:
        m = len(X) if reduction == "sum" else 1
        ways["chain"] = lambda: autograd(Sequential(*logits, Softmax()), lambda A, Y: m * _log_likelihood(A, Y))
    if cost in FUSED:
        ways["fused"] = lambda: autograd(logits, FUSED[cost](reduction=reduction))
    ways["differences"] = lambda: _moving(_central, network, X, Y, named, X.dtype)
    if sum(parameter.size for parameter in named.values()) <= SMALL:
        ways["complex"] = lambda: _moving(_complex_step, network, X, Y, named, np.dtype(complex))
    ways["closed"] = lambda: closed_form.gradients(model, X, Y, loss)
    return ways


def _log_likelihood(A: mg.Tensor, Y: Array) -> mg.Tensor:
    """-ln a_y for class indices, else -sum y_k ln a_k: the mean over samples, on the probabilities."""
    log_a = mg.log(mg.take_along_axis(A, Y[:, None], axis=1)) if Y.ndim == 1 else Y * mg.log(A)
    cost: mg.Tensor = -mg.sum(log_a) / len(Y)
    return cost


def _moving(
    derivative: Callable[[Callable[[], Any], Array], Array],
    network: Network,
    X: Array,
    Y: Array,
    named: dict[str, Parameter],
    dtype: np.dtype[Any],
) -> Gradients:
    """The gradient from costs alone: numbers of the parameters are moved, in copies, and the cost is looked at."""
    parameters = {id(p): p for layer in network.layers for p in layer.parameters()}
    copies = {key: p._data.astype(dtype) for key, p in parameters.items()}
    W, b = closed_form.weights(network.layers, lambda parameter: copies[id(parameter)])
    scale = network.scale(len(X))

    def cost() -> Any:
        Z, _ = closed_form.forward(X.T, W, b, network.hidden, network.pair)
        return scale * closed_form.cost(Z[-1], Y.T, network.pair)

    return {name: derivative(cost, copies[id(parameter)]) for name, parameter in named.items()}


COMPLEX_STEP = 1e-200  # its square is 0, so that nothing is truncated, and nothing is subtracted


def _complex_step(cost: Callable[[], complex], x: Array) -> Array:
    """Im C(x + ih) / h (Squire and Trapp 1998)."""
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        kept = x[index]
        x[index] = kept + 1j * COMPLEX_STEP
        gradient[index] = cost().imag / COMPLEX_STEP
        x[index] = kept
    return gradient


def _central(cost: Callable[[], float], x: Array) -> Array:
    """(C(x + h) - C(x - h)) / 2h."""
    step = np.finfo(x.dtype).eps ** (1 / 3)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        kept = x[index]
        h = step * max(1.0, abs(kept))
        x[index] = right = kept + h
        above = cost()
        x[index] = left = kept - h
        below = cost()
        x[index] = kept
        gradient[index] = (above - below) / (float(right) - float(left))
    return gradient


def _error(g: Array, reference: Array, least: float) -> float:
    """|g - g'| / max(|g|, |g'|, least), 0 for two zeros, inf where one is not finite."""
    if not (np.isfinite(g).all() and np.isfinite(reference).all()):
        return math.inf
    scale = max(*map(float, map(np.linalg.norm, (g, reference))), least if math.isfinite(least) else 0.0)
    return float(np.linalg.norm(g - reference)) / scale if scale else 0.0


def _timed(gradients: Callable[[], Gradients], repeats: int) -> tuple[Gradients, float]:
    """The gradients, and the median time in milliseconds."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        found = gradients()
        seconds.append(time.perf_counter() - start)
    return found, 1000 * statistics.median(seconds)


def _shown(error: float) -> str:
    return f"{error:.1e}" if math.isfinite(error) else "not finite"
