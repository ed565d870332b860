# ruff: noqa: E741 -- l is the notes' letter for a layer
"""The small computations that the notes speak of: each computed in scalar loops, from letters with numbers.

A world has letters that are given (W[1], b[1], A[0], Y, ...) and computes the others (Z[1], A[1], ..., C). The loops
know no matrix product and no derivative, and use other forms of sigma and of the cost than the notes do; they run
on any kind of number, so a derivative is found by moving one number and computing again. Any letter can be moved: one
that is `fixed` keeps its number whatever would be computed for it, and what follows from it follows.

The shapes are such that no wrong factor, order or transpose goes unseen: m >= 2 samples, layers of different sizes, and
one net of three layers of three with m = 3, where every order of a product has a meaning. Biases are not zero, and
labels are hard and soft.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache, reduce
from operator import add
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

Numbers = NDArray[Any]


class Arithmetic(Protocol):
    """What the loops need of a kind of number beside + - * /."""

    def number(self, x: float) -> Any: ...
    def exp(self, x: Any) -> Any: ...
    def ln(self, x: Any) -> Any: ...


class Letters(dict[str, Numbers]):
    """The letters of a computation, each an array of numbers; those in `fixed` stay as they are."""

    def __init__(self, given: Mapping[str, Numbers], fixed: Mapping[str, Numbers]) -> None:
        super().__init__({**given, **fixed})
        self.fixed = fixed

    def put(self, name: str, shape: tuple[int, ...], entry: Callable[..., Any]) -> Numbers:
        """Compute a letter, entry by entry, unless it is fixed."""
        self[name] = self.fixed[name] if name in self.fixed else table(shape, entry)
        return self[name]


def table(shape: tuple[int, ...], entry: Callable[..., Any]) -> Numbers:
    """The array whose entry at i, j, ... is entry(i, j, ...): the loops."""
    return np.fromiter((entry(*index) for index in np.ndindex(shape)), dtype=object).reshape(shape)


def total(terms: Iterable[Any]) -> Any:
    """The sum, without the 0 that Python's starts from."""
    return reduce(add, terms)


@dataclass(frozen=True, eq=False)
class World:
    """A computation, and the letters that formulas about it may use.

    Attributes
    ----------
    words : str
        What it is, for the reader.
    given : dict of str to ndarray
        The letters that are chosen, as float64.
    compute : callable(Letters, Arithmetic)
        Puts the other letters.
    layered : set of str
        Letters whose first index is a layer: `W[1]` is a letter, `W[1][j, k]` an entry of it.
    layers : range
        The layers that have weights.
    counts : dict of str to int
        Integers that are numbers in formulas: m, n, D.
    constants : dict of str to object
        Integers that are indices, and ranges to sum over: L, y (a class), samples, outputs.
    aliases : dict of str to str
        Second names: a1 for q.
    delta : str
        The layered letter whose derivative, of the summed cost, is called delta.
    activations : dict of int to str
        "sigmoid" or "identity", by layer.
    parameters : tuple of str
        What a gradient step changes.
    rate : str
        What the note calls the learning rate.
    above : set of str
        Letters without a layer that are computed from the sums of the last one.
    """

    words: str
    given: Mapping[str, Numbers]
    compute: Callable[[Letters, Arithmetic], None]
    layered: frozenset[str] = frozenset()
    layers: range = range(0)
    counts: Mapping[str, int] = field(default_factory=dict)
    constants: Mapping[str, Any] = field(default_factory=dict)
    aliases: Mapping[str, str] = field(default_factory=dict)
    delta: str = ""
    activations: Mapping[int, str] = field(default_factory=dict)
    parameters: tuple[str, ...] = ()
    rate: str = "eta"
    above: frozenset[str] = frozenset()


# ----------------------------------------------------------------------------------------------------- the parts


def sigmoid(z: Any, of: Arithmetic) -> Any:
    """e^z / (1 + e^z): the notes' 1 / (1 + e^-z) in another form."""
    return of.exp(z) / (1 + of.exp(z))


def cross_entropy(a: Any, y: Any, of: Arithmetic) -> Any:
    """-ln(1 - a) - y ln(a / (1 - a)): the notes' -(y ln a + (1 - y) ln(1 - a)), regrouped."""
    return -of.ln(1 - a) - y * of.ln(a / (1 - a))


def _cost(kind: str, a: list[Any], y: Any, of: Arithmetic) -> Any:
    """The cost of one sample: outputs a, and labels y or the class y."""
    if kind == "log-likelihood":
        return -of.ln(a[y])
    if kind == "cross-entropy":
        return total(cross_entropy(a_j, y_j, of) for a_j, y_j in zip(a, y, strict=True))
    squares = total((a_j - y_j) * (a_j - y_j) for a_j, y_j in zip(a, y, strict=True))
    return squares / 2 if kind == "half squares" else squares


def _drawn(rng: np.random.Generator, *shape: int) -> Numbers:
    """Numbers around 0, of few binary digits, so that they are the same on paper and in every arithmetic."""
    return np.round(rng.normal(size=shape) * 64) / 64


def network(
    sizes: tuple[int, ...],
    samples: int | None,
    *,
    letters: str = "WbZAY",
    count: str = "m",
    first: int = 1,
    output: str = "sigmoid",
    cost: str = "cross-entropy",
    rate: str = "eta",
    target: str = "",
    seed: int = 0,
) -> World:
    """A network in the notes' column layout, or, where `samples` is None, with vectors for its one sample.

    Parameters
    ----------
    sizes : tuple of int
        Units of the input and of each layer.
    samples : int or None
    letters : str
        For weights, biases, sums, activations, labels.
    count : str
        What the note calls the number of samples.
    first : int
        The number of the first layer that has weights; the input is the activation of the layer before it.
    output : {"sigmoid", "identity", "softmax"}
        The activation of the last layer; the others have sigmoids.
    cost : {"cross-entropy", "half squares", "squares", "log-likelihood"}
        Summed over outputs: c of each sample, S of all, C = S / m.
    rate : str
    target : str
        "input" for an autoencoder.
    seed : int
    """
    w, bias, z, a, y = tuple(letters)
    layers = range(first, first + len(sizes) - 1)
    last, columns = layers[-1], () if samples is None else (samples,)
    rng = np.random.default_rng(seed)
    given = {f"{a}[{first - 1}]": _drawn(rng, sizes[0], *columns)}
    for l, (n_in, n_out) in zip(layers, itertools.pairwise(sizes), strict=True):
        given[f"{w}[{l}]"] = _drawn(rng, n_out, n_in)
        given[f"{bias}[{l}]"] = _drawn(rng, n_out, *(1 for _ in columns))
    given[rate] = np.array(0.125)
    constants: dict[str, Any] = {"L": last if first else len(layers), "layers": layers, "sizes": sizes}
    constants |= {"samples": range(samples or 1), "outputs": range(sizes[-1])}
    classes = rng.integers(1, sizes[-1], columns or 1) if cost == "log-likelihood" else None
    if classes is not None:
        # the class 0 would hide what happens when the number of the class is taken for the label
        constants[y] = classes.tolist() if columns else int(classes[0])
    elif target != "input":
        given[y] = _labels(rng, sizes[-1], *columns, real=output == "identity")

    def compute(x: Letters, of: Arithmetic) -> None:
        for l in layers:
            W, b, A = x[f"{w}[{l}]"], x[f"{bias}[{l}]"], x[f"{a}[{l - 1}]"]
            _layer(x, of, (f"{z}[{l}]", f"{a}[{l}]"), W, b, A, output if l == last else "sigmoid")
        a_L = x[f"{a}[{last}]"]
        if not first:
            a_L = x.put("xhat", a_L.shape, lambda *i, a_L=a_L: a_L[i])
        if classes is not None:
            x.put("onehot", a_L.shape, lambda j, *i: of.number(int(j == classes[i or 0])))
            _softmax_letters(x, of, f"{z}[{last}]", constants[y], columns)
        labels = x[f"{a}[{first - 1}]"] if target == "input" else x.get(y)

        def of_sample(*i: int) -> Any:
            column: Any = (slice(None), *i)
            label = (constants[y][i[0]] if i else constants[y]) if labels is None else labels[column]
            return _cost(cost, list(a_L[column]), label, of)

        c = x.put("c", columns, of_sample)
        S = x.put("S", (), lambda: total(c.flat))
        x.put("C", (), lambda: S[()] / (samples or 1))

    kind = f"{'-'.join(map(str, sizes))}, {output} output, {cost}"
    return World(
        f"network {kind}, {'one sample' if samples is None else f'{samples} samples'}",
        given,
        compute,
        layered=frozenset({w, bias, z, a}),
        layers=layers,
        counts={count: samples or 1},
        constants=constants,
        aliases={"x": f"{a}[{first - 1}]"} if not first else {},
        delta=z,
        activations={l: output if l == last else "sigmoid" for l in layers},
        parameters=tuple(f"{letter}[{l}]" for l in layers for letter in (w, bias)),
        rate=rate,
        above=frozenset("xsf") if classes is not None and not columns else frozenset(),
    )


def _labels(rng: np.random.Generator, *shape: int, real: bool) -> Numbers:
    """Real targets, or labels in [0, 1] of which about half are hard."""
    if real:
        return _drawn(rng, *shape)
    soft = np.round(rng.uniform(0.1, 0.9, shape) * 64) / 64
    return np.where(rng.uniform(size=shape) < 0.5, np.round(soft), soft)


def _layer(
    x: Letters, of: Arithmetic, names: tuple[str, str], W: Numbers, b: Numbers, A: Numbers, activation: str
) -> None:
    """Z and A of one layer; the last axis of A, where it has two, is that of the samples."""
    shape = (len(W), *A.shape[1:])
    Z = x.put(
        names[0],
        shape,
        lambda j, *i: total(W[j, k] * A[(k, *i)] for k in range(W.shape[1])) + b[(j, 0) if i else j],
    )
    activations: dict[str, Callable[..., Any]] = {
        "sigmoid": lambda *ji: sigmoid(Z[ji], of),
        "identity": lambda *ji: Z[ji],
        "softmax": lambda j, *i: 1 / total(of.exp(Z[(k, *i)] - Z[(j, *i)]) for k in range(len(Z))),
    }
    x.put(names[1], shape, activations[activation])


def _softmax_letters(x: Letters, of: Arithmetic, z: str, y: Any, columns: tuple[int, ...]) -> None:
    """Note 001's x_k = e^{z_k}, s = sum_k x_k, f = s - x_y, for one sample."""
    if columns:
        return
    Z = x[z]
    powers = x.put("x", Z.shape, lambda k: of.exp(Z[k]))
    s = x.put("s", (), lambda: total(powers))
    x.put("f", (), lambda: s[()] - powers[y])


# ------------------------------------------------------------------------------------------------ the small ones


def neuron(samples: int = 5) -> World:
    """Note 004's: one weight, one bias, n samples; Q is the loss of each sample and C their mean."""
    x = np.array([-1.640625, -0.65625, 0.234375, 1.515625, -0.625])[:samples]
    y = np.array([0.0, 1.0, 0.0, 1.0, 1.0])[:samples]
    given = {"w": np.array(1.3125), "b": np.array(0.25), "eta": np.array(0.5), "x": x, "y": y}

    def compute(x: Letters, of: Arithmetic) -> None:
        w, b, n = x["w"], x["b"], (samples,)
        z = x.put("z", n, lambda i: w[()] * x["x"][i] + b[()])
        q = x.put("q", n, lambda i: sigmoid(z[i], of))
        Q = x.put("Q", n, lambda i: cross_entropy(q[i], x["y"][i], of))
        x.put("C", (), lambda: total(Q) / samples)

    return World(
        f"one sigmoid neuron with cross-entropy, {samples} samples",
        given,
        compute,
        counts={"n": samples},
        constants={"samples": range(samples)},
        aliases={"a1": "q"},
        parameters=("w", "b"),
    )


def derivation() -> World:
    """Note 001's derivation of C'(b): one neuron, one sample, and the letters D, E, G on the way."""
    given = {name: np.array(number) for name, number in {"w": 0.75, "a0": -1.25, "b": 0.5, "y": 0.375}.items()}

    def compute(x: Letters, of: Arithmetic) -> None:
        z = x.put("z", (), lambda: x["w"][()] * x["a0"][()] + x["b"][()])
        x.put("a", (), lambda: sigmoid(z[()], of))
        E = x.put("E", (), lambda: -of.ln(1 + of.exp(-z[()])))
        G = x.put("G", (), lambda: -of.ln(1 + of.exp(z[()])))
        D = x.put("D", (), lambda: G[()] + x["y"][()] * (E[()] - G[()]))
        x.put("C", (), lambda: -D[()])

    return World("one sigmoid neuron with cross-entropy, one sample", given, compute, parameters=("w", "b"))


def chain() -> World:
    """Note 004's a_1, a_2, a_3 of one unit each, and the output neuron that they feed: q = sigma(z_4)."""
    numbers = {"w[1]": 1.5, "w[2]": -1.25, "w[3]": 2.0, "b[1]": 0.25, "b[2]": 0.5, "b[3]": -0.75}
    numbers |= {"a[0]": 1.0, "w[4]": 0.9, "b[4]": 0.125, "y": 1.0}  # with w_4 = 1 line 134 would be right by accident
    given = {name: np.array(number) for name, number in numbers.items()}

    def compute(x: Letters, of: Arithmetic) -> None:
        def link(l: int, a: str) -> None:
            z = x.put(f"z[{l}]", (), lambda: x[f"w[{l}]"][()] * x[f"a[{l - 1}]"][()] + x[f"b[{l}]"][()])
            x.put(a, (), lambda: sigmoid(z[()], of))

        for l in (1, 2, 3):
            link(l, f"a[{l}]")
        link(4, "q")
        x.put("C", (), lambda: cross_entropy(x["q"][()], x["y"][()], of))

    return World(
        "a chain of units 1-1-1-1-1, one sample",
        given,
        compute,
        layered=frozenset("wbza"),
        layers=range(1, 4),
        activations=dict.fromkeys((1, 2, 3), "sigmoid"),
    )


def bowl() -> World:
    """C = (lam (u - 1)^2 + (v + 2)^2) / 2, whose largest curvature is lam: which rate is too large for it."""
    given = {name: np.array(number) for name, number in {"u": 2.0, "v": 1.0, "lam": 4.0}.items()}

    def compute(x: Letters, of: Arithmetic) -> None:
        u, v, lam = x["u"][()] - 1, x["v"][()] + 2, x["lam"][()]
        x.put("C", (), lambda: (lam * u * u + v * v) / 2)

    return World("a quadratic bowl with curvatures lam = 4 and 1", given, compute, parameters=("u", "v"))


_NOTE_001: dict[str, Any] = {"letters": "wbzay", "count": "n"}
_NOTE_002: dict[str, Any] = {"letters": "Wbzay", "first": 0, "output": "identity", "cost": "squares", "rate": "rho"}
_NOTE_002["count"] = "D"


def _worlds(small: bool) -> dict[str, Callable[[], World]]:
    deep, softmax, square = ((2, 2, 2), (2, 2, 3), (2, 2, 2)) if small else ((2, 4, 3, 2), (3, 4, 3), (3, 3, 3))
    note_002 = (2, 2, 1, 2) if small else (2, 3, 4, 2)  # its f(f(f(x))) has three layers
    m = 2 if small else 5
    probabilities: dict[str, Any] = {"output": "softmax", "cost": "log-likelihood", **_NOTE_001}
    return {
        "network": lambda: network(deep, m),
        "sample": lambda: network(deep, None),
        "square": lambda: network(square, len(square) - 1 if small else 3, seed=6),
        "half squares": lambda: network(deep, m, cost="half squares"),
        "inventory": lambda: network((3, 5, 2), m),
        "001 inventory": lambda: network((3, 5, 2), m, **_NOTE_001),
        "001 squares": lambda: network(deep, m, cost="half squares", **_NOTE_001),
        "001 sample": lambda: network(deep, None, cost="half squares", **_NOTE_001),
        "001 cross-entropy": lambda: network(deep, None, **_NOTE_001),
        "001 square sample": lambda: network(square, None, seed=6, **_NOTE_001),
        "001 one output": lambda: network((2, 3, 1), None, **_NOTE_001),
        "001 derivation": derivation,
        "001 softmax": lambda: network(softmax, None, seed=8, **probabilities),
        "001 softmax batch": lambda: network(softmax, m, seed=1, **probabilities),
        "002 batch": lambda: network(note_002, m, **_NOTE_002),
        "002 sample": lambda: network(note_002, None, **_NOTE_002),
        "002 autoencoder": lambda: network((3, 2, 3), None, target="input", **_NOTE_002),
        "neuron": lambda: neuron(m),
        "chain": chain,
        "bowl": bowl,
    }


NAMES = tuple(_worlds(small=False))


@cache
def world(name: str, small: bool = False) -> World:
    """A world by its name; `small` has two samples and layers of two, but three classes: expressions stay readable."""
    return _worlds(small)[name]()
