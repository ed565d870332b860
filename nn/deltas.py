"""The table of the closed forms: (output, cost) -> delta[L], and the g' of the layers below it.

Plain NumPy, without the engine, in the letters of the notes and in column layout: Z, A, Y and delta are (n_l, m), a
sample a column. Costs are summed over outputs, one for each sample; delta[L] is their derivative by Z[L]. Every g'
is written as a function of A, as the notes write A (1 - A).

What compares looks at the real part, so that all of it runs on complex numbers too: the imaginary part of a cost at
w + ih is h dC/dw, exact to the last digits (the complex step).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import DTypeLike

import microgrid as mg
from nn.targets import Array

__microgrid_machinery__ = True


@dataclass(frozen=True)
class Activation:
    """A = g(Z), and g' as a function of A; None for softmax, whose derivative is no diagonal."""

    name: str
    g: Callable[[Array], Array]
    slope: Callable[[Array], Array] | None
    formula: str

    def __repr__(self) -> str:
        return f"Activation({self.name})"


def sigma(Z: Array) -> Array:
    """1 / (1 + e^-Z); an overflow of e^-Z means 0, to the last bit.

    Of complex numbers, where it would mean nan, e^Z / (1 + e^Z) below 0.
    """
    if Z.dtype.kind == "c":
        e = np.exp(-_modulus(Z))
        A: Array = np.where(Z.real <= 0, e, 1) / (1 + e)
        return A
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-Z))


def softmax(Z: Array) -> Array:
    """e^Z / sum of e^Z over the outputs, axis 0; shifted, so that no e^Z overflows."""
    e: Array = np.exp(Z - Z.real.max(axis=0))
    A: Array = e / e.sum(axis=0)
    return A


def log_softmax(Z: Array) -> Array:
    """Z - ln sum of e^Z over the outputs, axis 0."""
    Z = Z - Z.real.max(axis=0)
    log_A: Array = Z - np.log(np.exp(Z).sum(axis=0))
    return log_A


def softplus(Z: Array) -> Array:
    """ln(1 + e^Z) = max(Z, 0) + ln(1 + e^-|Z|)."""
    return _positive(Z) + np.log1p(np.exp(-_modulus(Z)))


def leaky_relu(slope: float) -> Activation:
    """Z, or slope * Z below 0, for 0 <= slope: else the sign of A would not tell that of Z."""
    if not slope >= 0:
        raise ValueError(
            f"the closed form writes g' as a function of A, for which a leaky relu needs a slope >= 0, got {slope}, "
            f"at {mg.sites.here()}"
        )
    return Activation(
        "leaky relu",
        lambda Z: np.where(Z.real > 0, Z, slope * Z),
        lambda A: np.where(A.real > 0, np.ones_like(A), slope),
        f"(1 or {slope:g})",
    )


def softplus_of(beta: float) -> Activation:
    """ln(1 + e^(beta Z)) / beta."""
    return Activation(
        "softplus",
        lambda Z: softplus(beta * Z) / beta,
        lambda A: -np.expm1(-beta * A),
        "(1 - e^-A)" if beta == 1 else f"(1 - e^(-{beta:g} A))",
    )


def _positive(Z: Array) -> Array:
    return np.where(Z.real <= 0, 0, Z)  # nan stays nan


def _modulus(Z: Array) -> Array:
    return np.where(Z.real <= 0, -Z, Z)  # parts at 0 as max(Z, 0) does, so that the sum of both is smooth


# fmt: off
ACTIVATIONS = {activation.name: activation for activation in (
    Activation("sigmoid",     sigma,                    lambda A: A * (1 - A),   "A (1 - A)"),
    Activation("tanh",        np.tanh,                  lambda A: 1 - A * A,     "(1 - A^2)"),
    Activation("relu",        _positive,                lambda A: A.real > 0,    "[A > 0]"),
    Activation("identity",    lambda Z: Z,              np.ones_like,            "1"),
    Activation("log sigmoid", lambda Z: -softplus(-Z),  lambda A: -np.expm1(A),  "(1 - e^A)"),
    Activation("softmax",     softmax,                  None,                    ""),
    Activation("log softmax", log_softmax,              None,                    ""),
    leaky_relu(0.01), softplus_of(1),
)}
# fmt: on


@dataclass(frozen=True)
class Pair:
    """An output with a cost, and delta[L], the derivative of a sample's cost by its Z[L].

    Attributes
    ----------
    output : Activation
    cost : str
    formula : str
        Of delta[L].
    delta : callable
        (A, Y) to delta[L], all of shape (n_L, m); Y of shape (m,) where it holds class indices.
    costs : callable
        (Z, Y) to m costs, by formulas that stay finite where Z is large.
    modules : str
        The pair as a user of nn writes it.
    """

    output: Activation
    cost: str
    formula: str
    delta: Callable[[Array, Array], Array]
    costs: Callable[[Array, Array], Array]
    modules: str

    @property
    def name(self) -> str:
        """As in "sigmoid + binary cross-entropy"."""
        return f"{self.output.name} + {self.cost}"

    def __repr__(self) -> str:
        return f"Pair({self.name}: delta[L] = {self.formula})"


def one_hot(y: Array, K: int, dtype: DTypeLike = np.float64) -> Array:
    """The matrix E_y of shape (K, m): in column i a single 1, in row y_i.

    Examples
    --------
    >>> one_hot(np.array([1, 0, 1]), 2).tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0]]
    """
    E: Array = np.equal.outer(np.arange(K), y).astype(dtype)
    return E


def _squares(output: Activation) -> Callable[[Array, Array], Array]:
    return lambda Z, Y: ((output.g(Z) - Y) ** 2).sum(axis=0)


def _half_squares(output: Activation) -> Callable[[Array, Array], Array]:
    return lambda Z, Y: ((output.g(Z) - Y) ** 2).sum(axis=0) / 2


_SIGMOID, _IDENTITY, _SOFTMAX = ACTIVATIONS["sigmoid"], ACTIVATIONS["identity"], ACTIVATIONS["softmax"]

# fmt: off
PAIRS = (
    Pair(_SIGMOID, "binary cross-entropy", "A - Y",
         lambda A, Y: A - Y,
         lambda Z, Y: ((_positive(Z) - Y * Z) + np.log1p(np.exp(-_modulus(Z)))).sum(axis=0),
         "Sigmoid, BCELoss, or logits, BCEWithLogitsLoss"),
    Pair(_SIGMOID, "half squares", "(A - Y) * A (1 - A)",
         lambda A, Y: (A - Y) * A * (1 - A),
         _half_squares(_SIGMOID),
         "Sigmoid, HalfMSELoss"),
    Pair(_SIGMOID, "squares", "2 (A - Y) * A (1 - A)",
         lambda A, Y: 2 * (A - Y) * A * (1 - A),
         _squares(_SIGMOID),
         "Sigmoid, MSELoss"),
    Pair(_IDENTITY, "squares", "2 (A - Y)",
         lambda A, Y: 2 * (A - Y),
         _squares(_IDENTITY),
         "no activation, MSELoss"),
    Pair(_IDENTITY, "half squares", "A - Y",
         lambda A, Y: A - Y,
         _half_squares(_IDENTITY),
         "no activation, HalfMSELoss"),
    Pair(_SOFTMAX, "log-likelihood", "A - E_y",
         lambda A, y: A - one_hot(y, len(A), A.dtype),
         lambda Z, y: -np.take_along_axis(log_softmax(Z), y[None, :], axis=0)[0],
         "logits, CrossEntropyLoss, or LogSoftmax, NLLLoss"),
    Pair(_SOFTMAX, "cross-entropy", "A sum(Y) - Y",
         lambda A, Y: A * Y.sum(axis=0) - Y,
         lambda Z, Y: -(Y * log_softmax(Z)).sum(axis=0),
         "logits, CrossEntropyLoss, Y probabilities"),
    Pair(_SOFTMAX, "half squares", "A * ((A - Y) - <A, A - Y>)",  # the Jacobian diag(a) - a a^T, on a - y
         lambda A, Y: A * ((A - Y) - (A * (A - Y)).sum(axis=0)),
         _half_squares(_SOFTMAX),
         "Softmax, HalfMSELoss"),
    Pair(_SOFTMAX, "squares", "2 A * ((A - Y) - <A, A - Y>)",
         lambda A, Y: 2 * A * ((A - Y) - (A * (A - Y)).sum(axis=0)),
         _squares(_SOFTMAX),
         "Softmax, MSELoss"),
)
# fmt: on
BCE = PAIRS[0]


def pair_of(output: str | Activation, cost: str) -> Pair:
    """The row of the table for an output and a cost, both by name.

    Parameters
    ----------
    output : str or Activation
        One of `ACTIVATIONS`.
    cost : {"binary cross-entropy", "half squares", "squares", "log-likelihood", "cross-entropy"}
        "log-likelihood" is -ln a_y, with class indices for Y; "cross-entropy" -sum y_k ln a_k, with any y >= 0.

    Raises
    ------
    ValueError
        If the two make no row of the table.

    Notes
    -----
    Beyond the rows of the notes, any elementwise g with squares is one: delta[L] = (A - Y) * g', or twice that.

    Examples
    --------
    >>> pair_of("softmax", "log-likelihood")
    Pair(softmax + log-likelihood: delta[L] = A - E_y)
    >>> pair_of("tanh", "half squares")
    Pair(tanh + half squares: delta[L] = (A - Y) * (1 - A^2))
    """
    output = activation(output)
    for pair in PAIRS:
        if (pair.output, pair.cost) == (output, cost):
            return pair
    slope = output.slope
    if slope is None or cost not in ("squares", "half squares"):
        raise ValueError(
            f"{output.name} + {cost} is no row of the closed forms, which are\n{table()}\nat {mg.sites.here()}"
        )
    if cost == "squares":
        return Pair(
            output, cost, f"2 (A - Y) * {output.formula}", lambda A, Y: 2 * (A - Y) * slope(A), _squares(output), ""
        )
    return Pair(output, cost, f"(A - Y) * {output.formula}", lambda A, Y: (A - Y) * slope(A), _half_squares(output), "")


def table() -> str:
    r"""The rows as text: output + cost, delta[L], and the modules of nn that make them.

    Examples
    --------
    >>> print("\n".join(table().splitlines()[:3]))
    output + cost                   delta[L]                      in nn
    sigmoid + binary cross-entropy  A - Y                         Sigmoid, BCELoss, or logits, BCEWithLogitsLoss
    sigmoid + half squares          (A - Y) * A (1 - A)           Sigmoid, HalfMSELoss
    """
    rows = [
        ("output + cost", "delta[L]", "in nn"),
        *((pair.name, pair.formula, pair.modules) for pair in PAIRS),
        ("any other g + squares", "2 (A - Y) * g'", "Tanh, ReLU, ..., MSELoss"),
        ("any other g + half squares", "(A - Y) * g'", "Tanh, ReLU, ..., HalfMSELoss"),
    ]
    return "\n".join(f"{name:30}  {formula:28}  {modules}" for name, formula, modules in rows)


def activation(name: str | Activation) -> Activation:
    """An activation by its name; one that is given as such comes back."""
    if isinstance(name, Activation):
        return name
    if name not in ACTIVATIONS:
        raise ValueError(f"{name!r} is no activation, expected one of {', '.join(ACTIVATIONS)}, at {mg.sites.here()}")
    return ACTIVATIONS[name]


def hidden_activations(hidden: str | Activation | Sequence[str | Activation], count: int) -> list[Activation]:
    """The g of each of `count` hidden layers, from one for all or one for each."""
    each = [hidden] * count if isinstance(hidden, str | Activation) else list(hidden)
    if len(each) != count:
        raise ValueError(f"there are {count} hidden layers and {len(each)} activations for them, at {mg.sites.here()}")
    found = [activation(g) for g in each]
    if any(g.slope is None for g in found):
        raise ValueError(
            f"softmax is no activation of a hidden layer here: its g' is no diagonal, at {mg.sites.here()}"
        )
    return found
