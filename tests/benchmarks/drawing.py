"""Drawing beside `dot`: time by the size of the graph, and crossings of edges and area on ten graphs.

python tests/benchmarks/drawing.py [--quick]

Crossings are counted alike in both drawings, on the curves as they are drawn: pairs of edges without a common end that
meet. The boxes are those of each drawing: the same words, in fonts of the same size. `dot` gets 60 seconds.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import numpy as np

import microgrid as mg
import nn
import viz
from viz.svg import _Drawing

Curve = list[tuple[float, float]]
PATIENCE = 60.0


# ---------------------------------------------------------------------------------------------------- ten graphs


def neuron() -> mg.Value:
    x, w, b, y = mg.Value(2.0), mg.Value(-0.5), mg.Value(0.3), 1.0
    a = mg.sigmoid(w * x + b)
    return -(y * mg.log(a) + (1 - y) * mg.log(1 - a))


def scalars(*sizes: int, fused: bool = False) -> mg.Value:
    outputs = nn.scalar.MLP(sizes[0], list(sizes[1:]), rng=0, fused=fused)([mg.Value(0.5 * k) for k in range(sizes[0])])
    return outputs if isinstance(outputs, mg.Value) else mg.sum(outputs)


def arrays() -> mg.Tensor:
    model, X = nn.MLP(3, [4, 4, 1], output="sigmoid", rng=0), mg.Tensor(np.ones((5, 3)))
    return nn.BCELoss()(model(X), np.ones((5, 1)))


def attention() -> mg.Tensor:
    rng = np.random.default_rng(0)
    X, Q, K, V = (mg.Tensor(rng.normal(size=(4, 4)), requires_grad=True) for _ in range(4))
    return (mg.softmax((X @ Q) @ (X @ K).T / 2.0, axis=1) @ (X @ V)).sum()


def tangle(size: int, seed: int) -> mg.Value:
    """Each node reads two of those before it: a graph that nobody can draw well."""
    rng = np.random.default_rng(seed)
    nodes = [mg.Value(float(k)) for k in range(4)]
    while len(nodes) < size:
        a, b = (nodes[-1 - int(k)] for k in rng.integers(min(8, len(nodes)), size=2))
        nodes.append(a * b if len(nodes) % 2 else a + b)
    return nodes[-1]


def polynomial() -> mg.Value:
    x = mg.Value(0.5)
    return sum((mg.Value(1.0 + k) * x**k for k in range(1, 7)), mg.Value(1.0))


TEN: dict[str, Callable[[], mg.Node]] = {
    "neuron": neuron,
    "polynomial": polynomial,
    "MLP 2-3-1": lambda: scalars(2, 3, 1),
    "MLP 2-3-3-1": lambda: scalars(2, 3, 3, 1),
    "MLP 3-4-4-1": lambda: scalars(3, 4, 4, 1),
    "MLP 4-4-2 fused": lambda: scalars(4, 4, 2, fused=True),
    "MLP of arrays": arrays,
    "attention": attention,
    "tangle of 30": lambda: tangle(30, 1),
    "tangle of 60": lambda: tangle(60, 2),
}


# ---------------------------------------------------------------------------------------------------- both drawings


def ours(graph: viz.Graph) -> tuple[list[tuple[str, str, Curve]], float]:
    """Edges as polygons, and the area in square inches of 72 units."""
    drawing = _Drawing(graph, "LR")
    curves = []
    for edge, route in zip(graph.edges, drawing.layout.routes, strict=True):
        line: Curve = [(route[0].begin, route[0].across)]
        for a, b in pairwise(route):
            middle = (a.end + b.begin) / 2
            control = [(a.end, a.across), (middle, a.across), (middle, b.across), (b.begin, b.across)]
            line += bezier(control)
        curves.append((edge.source, edge.target, [*line, (route[-1].end, route[-1].across)]))
    return curves, drawing.layout.length * drawing.layout.breadth / 72**2


def dots(graph: viz.Graph) -> tuple[list[tuple[str, str, Curve]], float]:
    """The same of what `dot` makes."""
    curves, area = [], 0.0
    for words in map(str.split, run_dot(graph, "plain").decode().splitlines()):
        if words[0] == "graph":
            area = float(words[2]) * float(words[3])
        elif words[0] == "edge":
            numbers = list(map(float, words[4 : 4 + 2 * int(words[3])]))
            points = list(zip(numbers[::2], numbers[1::2], strict=True))
            line = [p for k in range(0, len(points) - 1, 3) for p in bezier(points[k : k + 4])]
            curves.append((words[1], words[2], line))
    return curves, area


def run_dot(graph: viz.Graph, form: str) -> bytes:
    source = graph.dot().encode()
    return subprocess.run(["dot", f"-T{form}"], input=source, capture_output=True, check=True, timeout=PATIENCE).stdout


def bezier(control: list[tuple[float, float]], pieces: int = 12) -> Curve:
    t = np.linspace(0, 1, pieces + 1)[:, None]
    p = np.array(control)
    points = (1 - t) ** 3 * p[0] + 3 * t * (1 - t) ** 2 * p[1] + 3 * t**2 * (1 - t) * p[2] + t**3 * p[3]
    return [(float(x), float(y)) for x, y in points]


def crossings(curves: list[tuple[str, str, Curve]]) -> int:
    """Pairs of edges without a common end that meet."""
    boxes = [(min(x), max(x), min(y), max(y)) for x, y in (zip(*line, strict=True) for _, _, line in curves)]
    return sum(
        len({u, v, s, t}) == 4 and overlap(boxes[i], boxes[j]) and meet(first, second)
        for i, (u, v, first) in enumerate(curves)
        for j, (s, t, second) in enumerate(curves[:i])
    )


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] <= b[1] and b[0] <= a[1] and a[2] <= b[3] and b[2] <= a[3]


def meet(first: Curve, second: Curve) -> bool:
    p, q = np.array(first), np.array(second)
    a, b, c, d = p[:-1, None], p[1:, None], q[None, :-1], q[None, 1:]

    def side(o: np.ndarray, s: np.ndarray, t: np.ndarray) -> np.ndarray:
        return np.sign((s - o)[..., 0] * (t - o)[..., 1] - (s - o)[..., 1] * (t - o)[..., 0])

    across = (side(a, b, c) * side(a, b, d) < 0) & (side(c, d, a) * side(c, d, b) < 0)
    return bool(across.any())


# ---------------------------------------------------------------------------------------------------- tables


def timed(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def sized(size: int) -> Iterator[tuple[str, mg.Value, object]]:
    """A scalar network of about so many nodes, or many samples of one."""
    width = max(2, round((size / 5) ** 0.5 - 1))
    if size <= 5000:
        yield f"{size:>9,}", scalars(width, width, width, 1), None
    else:
        model = nn.scalar.MLP(2, [16, 16, 1], rng=0)
        rows = np.random.default_rng(0).normal(size=(size // 670, 2)).tolist()
        yield f"{size:>9,}", mg.sum([model(row) for row in rows]), model


def main(quick: bool) -> None:
    has_dot = shutil.which("dot") is not None
    print(f"{'about':>9}  {'nodes':>8}  {'folded to':>9}  {'seconds':>8}  {'unfolded':>8}  {'dot, unfolded':>13}")
    for size in (100, 1000) if quick else (100, 1000, 5000, 100_000):
        for name, root, model in sized(size):
            nodes = len(mg.topological_order(root))
            folded = viz.graph(root, params=model)
            seconds = timed(lambda root=root, model=model: viz.graph(root, params=model).svg())
            whole = dot = float("nan")
            if nodes <= 10_000:
                graph = viz.graph(root, detail="full")
                whole = timed(graph.svg)
                if has_dot:
                    try:
                        dot = timed(lambda graph=graph: run_dot(graph, "svg"))
                    except subprocess.TimeoutExpired:
                        dot = float("inf")
            print(f"{name}  {nodes:8,}  {len(folded.nodes):9}  {seconds:8.2f}  {whole:8.2f}  {dot:13.2f}")
    print(f"\n{'':18}{'nodes':>6}  {'crossings':>9}  {'of dot':>6}  {'area':>6}  {'of dot':>6}   (square inches)")
    total = np.zeros(4)
    for name, make in TEN.items():
        graph = viz.graph(make(), detail="full")
        row = []
        for draw in (ours, dots) if has_dot else (ours,):
            curves, area = draw(graph)
            row += [crossings(curves), area]
        row += [float("nan")] * (4 - len(row))
        total += row
        print(f"{name:18}{len(graph.nodes):6}  {row[0]:9}  {row[2]:6}  {row[1]:6.1f}  {row[3]:6.1f}")
    print(f"{'all':18}{'':6}  {total[0]:9.0f}  {total[2]:6.0f}  {total[1]:6.1f}  {total[3]:6.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="small graphs only")
    main(parser.parse_args().quick)
