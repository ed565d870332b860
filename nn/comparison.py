"""Autograd against A - Y: one gradient, found in four ways, and how far they are apart."""

from __future__ import annotations

import copy
import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import microgrid as mg
from nn import closed_form
from nn.layers import Sequential, Sigmoid
from nn.losses import BCELoss, BCEWithLogitsLoss, Loss
from nn.module import Module, Parameter
from nn.targets import Array, Data, check_count

__microgrid_machinery__ = True

Gradients = dict[str, Array]

EXACT = ("chain", "logits")  # ways that differ from the closed form by rounding alone
WAYS = {
    "chain": "autograd through C <- A <- Z (sigmoid, BCELoss)",
    "logits": "autograd on the logits (BCEWithLogitsLoss)",
    "differences": "central differences of the cost",
    "closed": "closed form, delta = A - Y",
}


@dataclass(frozen=True, repr=False)
class Comparison:
    """What `compare` found; `print` it.

    Attributes
    ----------
    errors : dict of str to dict of str to float
        By way ("chain", "logits", "differences"), then by parameter: the norm-wise relative error against the closed
        form, |g - g'| / max(|g|, |g'|); inf where a gradient is not finite.
    milliseconds : dict of str to float
        Time of each way, the closed form ("closed") among them.
    shapes : dict of str to tuple of int
        Of the parameters.
    logits : (float, float)
        The least and the largest z at the output.
    cliffs : (float, float)
        The z beyond which the sigmoid is exactly 0 and exactly 1 in this dtype, and the chain not finite: -709.78 and
        36.7368 in float64.
    closed_finite : bool
        Whether the closed form, which the others are measured against, holds neither nan nor inf.
    """

    errors: dict[str, dict[str, float]]
    milliseconds: dict[str, float]
    shapes: dict[str, tuple[int, ...]]
    logits: tuple[float, float]
    cliffs: tuple[float, float]
    closed_finite: bool = True

    @property
    def worst(self) -> float:
        """Largest error of the ways that are exact but for rounding; inf if one of them is not finite."""
        return max(error for way in EXACT for error in self.errors[way].values())

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

    def __repr__(self) -> str:
        return f"Comparison(worst={self.worst:.1e}, worst_differences={self.worst_differences:.1e})"

    def __str__(self) -> str:
        width = max(map(len, [*self.shapes, "worst, time in ms"]))
        form = f"{{:{width}}}  {{:>10}}  {{:>11}}  {{:>11}}  {{:>11}}  {{:>11}}"
        lines = [
            "Relative error (norm-wise) of each gradient against the closed form A - Y",
            "",
            form.format("parameter", "shape", *self.errors, "closed").rstrip(),
        ]
        for row in self.rows():
            errors = [_shown(row[way]) for way in self.errors]
            lines.append(form.format(row["parameter"], "x".join(map(str, row["shape"])), *errors, "-"))
        worst = [_shown(max(errors.values())) for errors in self.errors.values()]
        times = [f"{self.milliseconds[way]:.3g}" for way in (*self.errors, "closed")]
        lines += [form.format("worst", "", *worst, "-"), form.format("time in ms", "", *times), ""]
        lines += [f"{way:12} {meaning}" for way, meaning in WAYS.items()]
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
        if "chain" in notes:
            notes["chain"] = (
                f"NOT FINITE: chain. {z} From z = {to_1:.4f} on the sigmoid\nrounds to 1, and below z = {to_0:.2f} to "
                "0; there -(Y/A - (1-Y)/(1-A)) A(1-A) becomes 0/0. That is a limit\nof that formula: A - Y and the "
                "loss on logits have none."
            )
        return "\n".join(notes.values())


def compare(model: Module, X: Data, Y: Data, repeats: int = 5) -> Comparison:
    """Hold the gradients of a sigmoid network, found in four ways, against each other.

    The cost is binary cross-entropy, summed over outputs and averaged over samples ("batchmean"). The ways are the
    chain rule C <- A <- Z through a sigmoid node and logarithms, the fused loss on logits, central differences with
    h = eps^(1/3) max(1, |x|), and the closed form of the notes, delta = A - Y, which the others are measured against.

    Parameters
    ----------
    model : MLP or Sequential
        Linear layers with Sigmoid between them, with logits or probabilities at the end. Neither its weights nor its
        gradients are changed. Frozen parameters are left out.
    X : array_like of shape (m, n_0)
    Y : array_like of shape (m, n_L)
        Labels in [0, 1].
    repeats : int >= 1
        Times are medians of so many runs (one, for the differences).

    Returns
    -------
    Comparison

    Raises
    ------
    ValueError
        If the model is no sigmoid network or wholly frozen, shapes do not fit or hold no sample, a number is nan or
        infinite, a label lies outside [0, 1], or `repeats` is below 1.
    TypeError
        If X or Y are not numbers, or `repeats` is no integer.

    Notes
    -----
    Gradients are found here inside `mg.no_grad()` too.

    Examples
    --------
    >>> import nn
    >>> model = nn.MLP(2, [3, 2], rng=0)
    >>> report = compare(model, [[1.0, 2.0], [3.0, 4.0]], [[0, 1], [1, 0.5]])
    >>> report.worst < 1e-14, report.worst_differences < 1e-8
    (True, True)
    """
    check_count("nn.compare", "repeats", repeats)
    net = Sequential(*closed_form.stack(model))
    layers = closed_form.sigmoid_layers(net)
    X, Y = closed_form.samples("nn.compare", layers, X, Y)
    dtype = layers[0].weight.dtype
    X, Y = X.astype(dtype), Y.astype(dtype)
    inputs = mg.Tensor(X)
    logits = net[: 2 * len(layers) - 1]
    probabilities = Sequential(*logits, Sigmoid())
    named = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    if not named:
        raise ValueError(
            "nn.compare: there is no gradient to compare: the model has no parameters that require one "
            f"(parameter.requires_grad_() thaws one), at {mg.sites.here()}"
        )
    ways: dict[str, Callable[[], Gradients]] = {
        "chain": lambda: _autograd(probabilities, inputs, Y, BCELoss(reduction="batchmean"), named),
        "logits": lambda: _autograd(logits, inputs, Y, BCEWithLogitsLoss(reduction="batchmean"), named),
        "differences": lambda: _differences(model, X, Y),
        "closed": lambda: closed_form.gradients(model, X, Y),
    }
    found, milliseconds = {}, {}
    # What is not finite the report says in words.
    with mg.enable_grad(), np.errstate(over="ignore", invalid="ignore"):
        for way, gradients in ways.items():
            found[way], milliseconds[way] = _timed(gradients, 1 if way == "differences" else repeats)
        z = closed_form.forward(X.T, *closed_form.weights(layers))[0][-1]
    reference = found.pop("closed")
    errors = {way: {name: _error(g[name], reference[name]) for name in named} for way, g in found.items()}
    closed_finite = all(np.isfinite(reference[name]).all() for name in named)
    number = np.finfo(dtype)
    cliffs = -math.log(number.max), (number.nmant + 1) * math.log(2)  # e^-z overflows; 1 + e^-z rounds to 1
    shapes = {name: parameter.shape for name, parameter in named.items()}
    return Comparison(errors, milliseconds, shapes, (float(z.min()), float(z.max())), cliffs, closed_finite)


def _autograd(net: Module, X: mg.Tensor, Y: Array, loss: Loss, named: dict[str, Parameter]) -> Gradients:
    # grad, not backward: what stands in the model's .grad is the user's.
    return dict(zip(named, mg.grad(loss(net(X), Y), list(named.values())), strict=True))


def _differences(model: Module, X: Array, Y: Array) -> Gradients:
    """(C(x + h) - C(x - h)) / 2h for every parameter, on the closed form's forward pass."""
    model = copy.deepcopy(model)  # the weights are moved in place
    W, b = closed_form.weights(closed_form.sigmoid_layers(model))

    def cost() -> float:
        return closed_form.cost(closed_form.forward(X.T, W, b)[0][-1], Y.T)

    return {name: _central(cost, parameter._data) for name, parameter in model.named_parameters()}


def _central(cost: Callable[[], float], x: Array) -> Array:
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


def _error(g: Array, reference: Array) -> float:
    """|g - g'| / max(|g|, |g'|), 0 for two zeros, inf where one is not finite."""
    if not (np.isfinite(g).all() and np.isfinite(reference).all()):
        return math.inf
    scale = max(np.linalg.norm(g), np.linalg.norm(reference))
    return float(np.linalg.norm(g - reference) / scale) if scale else 0.0


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
