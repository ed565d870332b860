"""A sigmoid network with binary cross-entropy on whole arrays: one full-batch step of gradient descent."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from problems import Problem, problem


class Training(NamedTuple):
    step: Callable[[], float]  # one full step, gives the loss
    gradients: Callable[[], list[np.ndarray]]  # those of the last step: W (out, in), b (out,) of each layer


def closed_form(p: Problem) -> Training:
    """The reference: the notes' recursion, delta = A - Y, as a careful person writes it in NumPy."""
    X, Y, m, lr = p.X, p.Y, len(p.X), p.lr
    Ws, bs = [W.T.copy() for W, _ in p.layers], [b.copy() for _, b in p.layers]
    gradients: list[tuple[np.ndarray, np.ndarray]] = [None] * len(Ws)  # type: ignore[list-item]

    def step() -> float:
        A, activations = X, []
        for W, b in zip(Ws, bs, strict=True):
            activations.append(A)
            A = 1 / (1 + np.exp(-(A @ W + b)))  # (m, n_out)
        loss = -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A)) / m

        delta = A - Y
        for layer in reversed(range(len(Ws))):
            A = activations[layer]
            gradients[layer] = A.T @ delta / m, delta.sum(axis=0) / m
            if layer:
                delta = delta @ Ws[layer].T * (A * (1 - A))
        for W, b, (dW, db) in zip(Ws, bs, gradients, strict=True):
            W -= lr * dW
            b -= lr * db
        return float(loss)

    return Training(step, lambda: [g for dW, db in gradients for g in (dW.T, db)])


def microgrid(p: Problem, compiled: bool = False) -> Training:
    import microgrid as mg
    import nn

    sizes = [len(b) for _, b in p.layers]
    model = nn.MLP(p.X.shape[1], sizes)
    model.load_state_dict(dict(zip(model.state_dict(), [w for layer in p.layers for w in layer], strict=True)))
    criterion = nn.BCEWithLogitsLoss(reduction="batchmean")
    optimizer = nn.optim.SGD(model.parameters(), lr=p.lr)
    X, Y = mg.Tensor(p.X), mg.Tensor(p.Y)

    def loss_of(x: mg.Tensor, y: mg.Tensor) -> mg.Tensor:
        return criterion(model(x), y)

    def backward() -> mg.Tensor:
        loss = loss_of(X, Y)
        loss.backward()
        return loss

    replayed = mg.compile(loss_of)

    def step() -> float:
        optimizer.zero_grad()
        loss = replayed(X, Y) if compiled else backward()
        assert not replayed.why, replayed.why
        optimizer.step()
        return loss.item()

    return Training(step, lambda: [w.grad for w in model.parameters()])


def microgrid_compiled(p: Problem) -> Training:
    return microgrid(p, compiled=True)


def torch(p: Problem) -> Training:
    import torch

    torch.set_num_threads(1)
    parameters = [torch.tensor(w, requires_grad=True) for layer in p.layers for w in layer]
    optimizer = torch.optim.SGD(parameters, lr=p.lr)
    X, Y = torch.tensor(p.X), torch.tensor(p.Y)

    def step() -> float:
        optimizer.zero_grad()
        A = X
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = torch.sigmoid(torch.nn.functional.linear(A, W, b))
        Z = torch.nn.functional.linear(A, *parameters[-2:])
        loss = torch.nn.functional.binary_cross_entropy_with_logits(Z, Y)  # one output: its mean is ours
        loss.backward()
        optimizer.step()
        return loss.item()

    return Training(step, lambda: [w.grad.numpy() for w in parameters])


ENGINES = {"closed_form": closed_form, "microgrid": microgrid, "microgrid_compiled": microgrid_compiled, "torch": torch}


def training(workload: str, engine_name: str) -> Training:
    return ENGINES[engine_name](problem(workload))
