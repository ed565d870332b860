"""A network of scalars, one node for each multiplication, written as micrograd's demo writes it.

S1a: relu, hinge loss and weight decay; S1b and S3: sigmoid and binary cross-entropy. Only the engine differs.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from problems import Problem, problem
from training import Training, compiled


class Engine(NamedTuple):
    value: Callable[[float], Any]
    sigmoid: Callable[[Any], Any]
    log: Callable[[Any], Any]
    input: Callable[[float], Any]
    neuron: Callable[[Any, list[Any], list[Any]], Any]
    total: Callable[[list[Any]], Any] = sum
    no_gradient: float | None = 0.0
    count: Callable[[Any], int] = NotImplemented  # nodes reachable from a root, where they are Python's
    compile: Callable[[Callable[..., Any]], Any] | None = None  # a function's loss and its backward pass as one call


def neuron(bias: Any, weights: list[Any], inputs: list[Any]) -> Any:
    return sum((w * x for w, x in zip(weights, inputs, strict=True)), bias)


# ------------------------------------------------------------------------------------------------------ engines


def micrograd() -> Engine:
    from micrograd.engine import Value

    def sigmoid(x: Any) -> Any:  # micrograd has neither sigmoid nor log: here they are, in its own style
        out = Value(1 / (1 + math.exp(-x.data)), (x,), "sigmoid")

        def _backward() -> None:
            x.grad += out.data * (1 - out.data) * out.grad

        out._backward = _backward
        return out

    def log(x: Any) -> Any:
        out = Value(math.log(x.data), (x,), "log")

        def _backward() -> None:
            x.grad += out.grad / x.data

        out._backward = _backward
        return out

    def count(root: Any) -> int:
        seen, waiting = {root}, [root]
        while waiting:
            new = waiting.pop()._prev - seen
            seen |= new
            waiting.extend(new)
        return len(seen)

    return Engine(Value, sigmoid, log, Value, neuron, count=count)


def microgrid() -> Engine:
    import microgrid as mg

    def count(root: Any) -> int:
        return len(mg.topological_order(root))

    return Engine(mg.Value, mg.sigmoid, mg.log, mg.Value, neuron, count=count)


def microgrid_dot() -> Engine:
    """One n-ary node for each neuron, the inputs plain numbers: what one writes who knows of `mg.dot`."""
    import microgrid as mg

    def neuron(bias: Any, weights: list[Any], inputs: list[Any]) -> Any:
        return mg.dot([*weights, bias], [*inputs, 1.0])

    return microgrid()._replace(input=float, neuron=neuron, total=mg.sum)


def microgrid_replayed(backend: str) -> Engine:
    """The loss of `microgrid`, recorded once: a function of nested lists of numbers, which stay as they come."""
    return microgrid()._replace(input=lambda x: x, compile=lambda function: compiled(function, backend))


def torch() -> Engine:
    import torch

    def value(x: float) -> Any:
        return torch.tensor(x, dtype=torch.float64, requires_grad=True)

    return Engine(value, torch.sigmoid, torch.log, value, neuron, no_gradient=None)


ENGINES = {
    "micrograd": micrograd,
    "microgrid": microgrid,
    "microgrid_dot": microgrid_dot,
    "microgrid_python": lambda: microgrid_replayed("python"),
    "microgrid_levels": lambda: microgrid_replayed("numpy"),
    "torch": torch,
}


# ------------------------------------------------------------------------------------------------------ the work


class Network:
    """Layers of neurons on one engine."""

    def __init__(self, engine: Engine, p: Problem) -> None:
        self.engine = engine
        self.layers = [
            [
                ([engine.value(w) for w in row], engine.value(bias))
                for row, bias in zip(W.tolist(), b.tolist(), strict=True)
            ]
            for W, b in p.layers
        ]
        self.parameters = [w for layer in self.layers for weights, bias in layer for w in (*weights, bias)]

    def __call__(self, x: list[Any], hidden: Callable[[Any], Any]) -> Any:
        """The output neuron's weighted sum, before its activation."""
        x = [self.engine.input(number) for number in x]
        *front, ((weights, bias),) = self.layers
        for layer in front:
            x = [hidden(self.engine.neuron(bias, weights, x)) for weights, bias in layer]
        return self.engine.neuron(bias, weights, x)

    def hinge(self, xs: list[list[float]], ys: list[float]) -> Any:
        scores = [self(x, lambda z: z.relu()) for x in xs]
        losses = [(1 + -y * score).relu() for y, score in zip(ys, scores, strict=True)]
        decay = 1e-4 * self.engine.total([w * w for w in self.parameters])
        return self.engine.total(losses) * (1 / len(losses)) + decay

    def cross_entropy(self, xs: list[list[float]], ys: list[float]) -> Any:
        sigmoid, log = self.engine.sigmoid, self.engine.log
        outputs = [sigmoid(self(x, sigmoid)) for x in xs]
        gains = [y * log(a) + (1 - y) * log(1 - a) for y, a in zip(ys, outputs, strict=True)]
        return self.engine.total(gains) * (-1 / len(gains))


def has(workload: str) -> bool:
    return workload in ("S1a", "S1b", "S3")


def training(workload: str, engine_name: str) -> Training:
    engine, p = ENGINES[engine_name](), problem(workload)
    network = Network(engine, p)
    parameters, xs, ys = network.parameters, p.X.tolist(), [y for (y,) in p.Y.tolist()]
    if workload == "S1a":
        loss_of, ys = network.hinge, [2 * y - 1 for y in ys]
    else:
        loss_of = network.cross_entropy

    def eager(xs: list[list[float]], ys: list[float]) -> Any:
        loss = loss_of(xs, ys)
        loss.backward()
        return loss

    backward = engine.compile(loss_of) if engine.compile else eager

    def step() -> Any:
        for w in parameters:
            w.grad = engine.no_gradient
        loss = backward(xs, ys)
        for w in parameters:
            w.data -= p.lr * w.grad
        return loss.data

    def arrays() -> list[Any]:
        """W and b of each layer, as the arrays' engines give them."""
        return [
            [[float(part.data) for part in (w if isinstance(w, list) else [w])] for w in parts]
            for layer in network.layers
            for parts in zip(*layer, strict=True)
        ]

    def count(root: Any) -> int:
        return engine.count(root) - len(parameters)

    def why() -> str:
        return getattr(backward, "why", "")

    return Training(step, arrays, why=why, graph=lambda: loss_of(xs, ys), count=count)
