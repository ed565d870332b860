"""A gallery: one picture of each kind that viz draws, on a page that needs no network.

Run it by `python -m demos.gallery`, and open `out/gallery/index.html`.
"""

import html
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import microgrid as mg
import nn
import viz
from demos.moons import moons
from viz.files import write

DIGITS = Path(__file__).parent / "data" / "digits.csv.gz"


@dataclass(frozen=True)
class Exhibit:
    """A picture, and what is said of it.

    Attributes
    ----------
    name : str
        Of its file.
    call : str
        What draws it.
    caption : str
        What it shows, for who sees it.
    words : str
        The same for who does not.
    draw : callable
        Gives what `viz.save` writes.
    rankdir : str, optional
        Which way the graph goes, if not from left to right.
    """

    name: str
    call: str
    caption: str
    words: str
    draw: Callable[[], Any]
    rankdir: str = ""


class Result(NamedTuple):
    """The page, and the pictures on it."""

    page: Path
    files: list[Path]


def main(out: str | PathLike[str] = "out", seed: int = 0) -> Result:
    """Draw all of them into the folder `gallery`."""
    folder = Path(out) / "gallery"
    shown, files = [], []
    for exhibit in (*graphs(seed), *plots(seed)):
        options = {"rankdir": exhibit.rankdir} if exhibit.rankdir else {}
        try:
            files.append(viz.save(exhibit.draw(), folder / f"{exhibit.name}.svg", **options))
        except (ModuleNotFoundError, viz.DotError) as missing:
            print(f"({exhibit.name}: no picture: {missing})")
            continue
        shown.append(exhibit)
        print(f"{files[-1]!s:30}{exhibit.call}")
    index = write(folder / "index.html", page(shown).encode("utf-8"))
    print(f"{index!s:30}all of them on a page")
    return Result(index, files)


def graphs(seed: int) -> Iterator[Exhibit]:
    """Computation graphs: of a neuron, of a network of arrays, of networks of Values, of a chain as the book has it."""
    x, w, b, y = mg.Value(2.0, name="x"), mg.Value(-0.5, name="w"), mg.Value(0.3, name="b"), 1.0
    z = w * x + b
    a = mg.sigmoid(z)
    C = -(y * mg.log(a) + (1 - y) * mg.log(1 - a))
    z.name, a.name, C.name = "z", "a", "C"
    C.backward()
    yield Exhibit(
        "neuron", "viz.graph(C)", "One sigmoid neuron with cross-entropy, number by number, after C.backward().",
        f"A graph from x, w and b over z = w x + b and a = sigmoid(z) to C; each node with its data and its gradient, "
        f"that of z being a - y = {z.grad:.4f}.",
        lambda: viz.graph(C),
    )  # fmt: skip
    yield Exhibit(
        "contributions", 'viz.graph(C, labels="contribution")',
        "The same, with what each operation handed on to each of its inputs: a gradient is the sum of what arrives.",
        "The same graph with a number on each edge: those on the two edges that leave a add up to its gradient.",
        lambda: viz.graph(C, labels="contribution"),
    )  # fmt: skip
    yield Exhibit(
        "micrograd", 'viz.draw_dot(a, style="micrograd")', "The neuron itself as micrograd draws it, by Graphviz.",
        "The graph from x, w and b to a in micrograd's style: a record of data and grad for each node, a circle for "
        "each operation.",
        lambda: viz.draw_dot(a, style="micrograd"),
    )  # fmt: skip

    rng = np.random.default_rng(seed)
    inputs = mg.Tensor(rng.normal(size=(8, 2)), name="X")
    W1, b1, W2, b2 = (
        mg.Tensor(rng.normal(size=shape), requires_grad=True, name=name)
        for name, shape in (("W[1]", (4, 2)), ("b[1]", (4,)), ("W[2]", (1, 4)), ("b[2]", (1,)))
    )
    Z1 = mg.linear(inputs, W1, b1)
    A1 = mg.tanh(Z1)
    Z2 = mg.linear(A1, W2, b2)
    A2 = mg.sigmoid(Z2)
    cost = -mg.log(A2).mean()
    Z1.name, A1.name, Z2.name, A2.name, cost.name = "Z[1]", "A[1]", "Z[2]", "A[2]", "C"
    cost.backward()
    yield Exhibit(
        "chain", 'viz.graph(C).save("chain.svg", rankdir="RL")',
        "C ← A[2] ← Z[2] ← A[1] ← Z[1] ← X: the chain of the book, W and b entering each Z.",
        "A graph from right to left: X, Z[1], A[1], Z[2], A[2] and C in a row, W[1] and b[1] entering Z[1], W[2] and "
        "b[2] entering Z[2].",
        lambda: viz.graph(cost), "RL",
    )  # fmt: skip

    X, Y = moons(8, np.random.default_rng(seed))
    model = nn.MLP(2, [4, 1], activation="tanh", rng=seed)
    loss = nn.BCEWithLogitsLoss()(model(mg.Tensor(X, name="X")), Y)
    loss.name = "loss"
    loss.backward()
    yield Exhibit(
        "mlp", "viz.graph(loss, params=model)", "The same with arrays: a network on eight samples at once.",
        "A graph of a 2-4-1 network: X, then linear, tanh and linear in frames that bear the names of the modules, "
        "with their weights and biases, then the loss.",
        lambda: viz.graph(loss, params=model),
    )  # fmt: skip

    network = nn.scalar.MLP(2, [3, 1], activation="tanh", rng=seed)
    output = mg.sum([network(row) for row in X.tolist()])
    output.backward()
    nodes = len(mg.topological_order(output))
    yield Exhibit(
        "values", "viz.graph(output, params=network, max_nodes=40)",
        f"A network of Values on the same samples: {nodes:,} nodes, folded until they can be read.",
        f"A graph of a 2-3-1 network of Values; the picture says how its {nodes:,} nodes were folded.",
        lambda: viz.graph(output, params=network, max_nodes=40),
    )  # fmt: skip

    larger = nn.scalar.MLP(2, [16, 16, 1], rng=seed)
    score = mg.sum([larger(row) for row in moons(50, rng)[0].tolist()])
    score.backward()
    count = len(mg.topological_order(score))
    yield Exhibit(
        "batch", "viz.graph(score, params=larger)",
        f"A larger one on fifty samples: {count:,} nodes, of which those that are alike are drawn once.",
        f"A graph of a 2-16-16-1 network of Values: a node for each layer of neurons; it says how its {count:,} nodes "
        "were folded.",
        lambda: viz.graph(score, params=larger),
    )  # fmt: skip


def plots(seed: int) -> Iterator[Exhibit]:
    """Pictures of a network, its training, its answers and its gradients; they need matplotlib."""
    rng = np.random.default_rng(seed)  # all randomness comes from here
    X, X_val, Y, Y_val = nn.data.train_test_split(*moons(300, rng, noise=0.2), test_size=0.3, rng=rng)
    model = nn.MLP(2, [8, 8, 1], activation="tanh", rng=rng)
    history = nn.fit(
        model, (X, Y), nn.BCEWithLogitsLoss(), nn.optim.Adam(model.parameters(), lr=0.02), epochs=80,
        validation=(X_val, Y_val), patience=20, batch_size=30, progress=False, rng=rng,
        metric=lambda Z, Y: nn.metrics.accuracy(Z, Y, threshold=0.0),
    )  # fmt: skip
    yield Exhibit(
        "network", "viz.network(model, X[0])", "A trained network, and what its units say to one sample.",
        "A 2-8-8-1 network: circles joined by lines, wide where a weight is large, blue and solid above zero, "
        "vermillion and dashed below; in each circle its activation.",
        lambda: viz.network(model, X[0]),
    )  # fmt: skip
    yield Exhibit(
        "curves", 'viz.curves(history, metric="accuracy")', "Its training, and the epoch whose weights it has.",
        f"The loss over the epochs, falling from {history.loss[0]:.2f} to {history.loss[-1]:.2f} in training; that of "
        f"the validation part is least in epoch {history.best_epoch}, which is marked. Below, the accuracy.",
        lambda: viz.curves(history, title="Two moons", ylabel="cross-entropy (nats)", metric="accuracy"),
    )  # fmt: skip
    yield Exhibit(
        "boundary", "viz.boundary(model, X, Y)", "What it says of the plane, and where it changes its mind.",
        "Two half moons of points, blue circles and vermillion squares, on a plane shaded by the probability, with a "
        "curved line between them where it is one half; points on the wrong side have a ring.",
        lambda: viz.boundary(model, X_val, Y_val, title="Two moons: the validation part"),
    )  # fmt: skip

    deep = nn.MLP(2, [8] * 6 + [1], activation="sigmoid", rng=rng)
    nn.BCEWithLogitsLoss()(deep(mg.Tensor(X)), Y).backward()
    yield Exhibit(
        "gradients", "viz.gradients(model)", "A deep network of sigmoids: its gradient vanishes on the way back.",
        "Boxes of the sizes of gradients, a row for each weight and bias on a logarithmic axis: from the last layer to "
        "the first they lean to the left by several powers of ten.",
        lambda: viz.gradients(deep),
    )  # fmt: skip

    images, digits, *_ = nn.data.read_csv(DIGITS, target="digit", categorical="digit")  # (1797, 64), (1797,)
    parts = nn.data.train_test_split(images / 16, digits, test_size=0.25, stratify=digits, rng=rng)
    images, images_test, digits, digits_test = parts
    reader = nn.MLP(64, [32, 10], activation="relu", rng=rng)
    optimizer = nn.optim.Adam(reader.parameters(), lr=0.01)
    nn.fit(
        reader, (images, digits), nn.CrossEntropyLoss(), optimizer, epochs=4, batch_size=32, progress=False, rng=rng
    )  # fmt: skip
    with mg.no_grad():
        Z = reader(mg.Tensor(images_test))  # (m, 10)
    yield Exhibit(
        "confusion", "viz.confusion(Z, digits)", "Handwritten digits: which was taken for which.",
        f"A table of ten by ten counts, most of them on the diagonal: {nn.metrics.accuracy(Z, digits_test):.0%} of the "
        f"{len(digits_test)} digits were read as they were meant.",
        lambda: viz.confusion(Z, digits_test),
    )  # fmt: skip


# Graphs are dark in dark surroundings, as this page is; plots are on white always, with a margin of it.
STYLE = """
:root { color-scheme: light dark; }
body { margin: 0 auto; max-width: 62rem; padding: 1rem; background: #fff; color: #1a1a1a;
       font: 1.05rem/1.5 system-ui, sans-serif; }
figure { margin: 0 0 3.5rem; }
img { display: block; max-width: 100%; height: auto; margin: 0 auto; border-radius: .4em; }
figcaption { margin-top: .75rem; }
code { font-size: .95em; color: #1a1a1a; background: #f3f3f3; padding: .1em .35em; border-radius: .2em; }
@media (prefers-color-scheme: dark) {
  body { background: #14171b; color: #f1f3f5; }
  code { color: #f1f3f5; background: #2b3036; }
}
"""


def page(exhibits: list[Exhibit]) -> str:
    """The page: a figure for each picture, with its words."""
    figures = "\n".join(
        f'<figure id="{exhibit.name}">\n'
        f'<a href="{exhibit.name}.svg"><img src="{exhibit.name}.svg" alt="{html.escape(exhibit.words)}"></a>\n'
        f"<figcaption>{html.escape(exhibit.caption)}<br><code>{html.escape(exhibit.call)}</code></figcaption>\n"
        "</figure>"
        for exhibit in exhibits
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>What microgrid draws</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n"
        f"<h1>What microgrid draws</h1>\n{figures}\n</main>\n</body>\n</html>\n"
    )


if __name__ == "__main__":
    main()
