"""A network of scalars, one node for each multiplication, written as micrograd's demo writes it.

S1a: relu, hinge loss and weight decay; S1b and S3: sigmoid and binary cross-entropy. Only the engine differs.
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

from problems import Problem, problem


class Engine(NamedTuple):
    value: Callable[[float], Any]
    sigmoid: Callable[[Any], Any]
    log: Callable[[Any], Any]
    input: Callable[[float], Any]
    neuron: Callable[[Any, list[Any], list[Any]], Any]
    total: Callable[[list[Any]], Any] = sum
    no_gradient: float | None = 0.0
    count: Callable[[Any], int] = NotImplemented  # nodes reachable from a root, where they are Python's


class Training(NamedTuple):
    step: Callable[[], float]  # one full step, gives the loss
    gradients: Callable[[], list[float]]  # those of the last step
    graph: Callable[[], Any]  # the forward pass alone
    count: Callable[[Any], int]  # new nodes of such a graph


def neuron(bias: Any, weights: list[Any], inputs: list[Any]) -> Any:
    return sum((w * x for w, x in zip(weights, inputs, strict=True)), bias)


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


def torch() -> Engine:
    import torch

    torch.set_num_threads(1)

    def value(x: float) -> Any:
        return torch.tensor(x, dtype=torch.float64, requires_grad=True)

    return Engine(value, torch.sigmoid, torch.log, value, neuron, no_gradient=None)


ENGINES = {"micrograd": micrograd, "microgrid": microgrid, "microgrid_dot": microgrid_dot, "torch": torch}


def network(engine: Engine, layers: list[Any], x: list[Any], hidden: Callable[[Any], Any]) -> Any:
    """The output neuron's weighted sum, before its activation."""
    *front, ((weights, bias),) = layers
    for layer in front:
        x = [hidden(engine.neuron(bias, weights, x)) for weights, bias in layer]
    return engine.neuron(bias, weights, x)


def hinge(engine: Engine, p: Problem, layers: list[Any], parameters: list[Any]) -> Any:
    scores = [network(engine, layers, [*map(engine.input, x)], lambda z: z.relu()) for x in p.X.tolist()]
    signs = [2 * y - 1 for (y,) in p.Y.tolist()]
    losses = [(1 + -y * score).relu() for y, score in zip(signs, scores, strict=True)]
    decay = 1e-4 * engine.total([w * w for w in parameters])
    return engine.total(losses) * (1 / len(losses)) + decay


def cross_entropy(engine: Engine, p: Problem, layers: list[Any], parameters: list[Any]) -> Any:
    outputs = [engine.sigmoid(network(engine, layers, [*map(engine.input, x)], engine.sigmoid)) for x in p.X.tolist()]
    labels = [y for (y,) in p.Y.tolist()]
    gains = [y * engine.log(a) + (1 - y) * engine.log(1 - a) for y, a in zip(labels, outputs, strict=True)]
    return engine.total(gains) * (-1 / len(gains))


def training(workload: str, engine_name: str) -> Training:
    engine, p = ENGINES[engine_name](), problem(workload)
    layers = [
        [([engine.value(w) for w in row], engine.value(bias)) for row, bias in zip(W.tolist(), b.tolist(), strict=True)]
        for W, b in p.layers
    ]
    parameters = [w for layer in layers for weights, bias in layer for w in (*weights, bias)]
    loss_of = hinge if workload == "S1a" else cross_entropy

    def step() -> float:
        loss = loss_of(engine, p, layers, parameters)
        for w in parameters:
            w.grad = engine.no_gradient
        loss.backward()
        for w in parameters:
            w.data -= p.lr * w.grad
        return float(loss.data)

    return Training(
        step,
        gradients=lambda: [float(w.grad) for w in parameters],
        graph=lambda: loss_of(engine, p, layers, parameters),
        count=lambda root: engine.count(root) - len(parameters),
    )
