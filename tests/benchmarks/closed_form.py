"""Gradient descent without an engine: the notes' recursion, delta = A - Y, in NumPy and compiled by numba.

`plain` is the reference of all array workloads, as a careful person writes it. `tuned` is what one gets to who counts
NumPy's calls: every array is made once, and all parameters lie in one piece.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from problems import Problem
from training import Training


def sigmoid(Z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-Z))


def softmax(Z: np.ndarray) -> np.ndarray:
    E = np.exp(Z - Z.max(axis=1, keepdims=True))
    return E / E.sum(axis=1, keepdims=True)


# Of each hidden activation the function, and its derivative as a function of its value
HIDDEN: dict[str, tuple[Callable[..., Any], Callable[..., Any]]] = {
    "sigmoid": (sigmoid, lambda A: A * (1 - A)),
    "tanh": (np.tanh, lambda A: 1 - A * A),
}
# Of each loss the output's activation, the loss of a batch, and m times its derivative by the logits
LOSSES: dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = {
    "bce": (sigmoid, lambda A, Y: -np.sum(Y * np.log(A) + (1 - Y) * np.log(1 - A)) / len(Y), np.subtract),
    "mse": (sigmoid, lambda A, Y: np.sum((A - Y) ** 2) / len(Y), lambda A, Y: 2 * (A - Y) * (A * (1 - A))),
    "softmax": (softmax, lambda A, Y: -np.sum(Y * np.log(A)) / len(Y), np.subtract),
}


def plain(p: Problem) -> Training:
    Ws, bs, lr = [W.T.copy() for W, _ in p.layers], [b.copy() for _, b in p.layers], p.lr
    activate, slope = HIDDEN[p.hidden]
    output, loss_of, delta_of = LOSSES[p.loss]
    batches = p.batches()

    def step_on(X: np.ndarray, Y: np.ndarray) -> float:
        A, activations = X, []
        for W, b in zip(Ws[:-1], bs[:-1], strict=True):
            activations.append(A)
            A = activate(A @ W + b)  # (m, n_out)
        activations.append(A)
        A = output(A @ Ws[-1] + bs[-1])
        loss = loss_of(A, Y)

        delta = delta_of(A, Y)
        gradients = []
        for layer in reversed(range(len(Ws))):
            A = activations[layer]
            gradients.append((A.T @ delta / len(Y), delta.sum(axis=0) / len(Y)))
            if layer:
                delta = delta @ Ws[layer].T * slope(A)
        for W, b, (dW, db) in zip(Ws, bs, reversed(gradients), strict=True):
            W -= lr * dW
            b -= lr * db
        return float(loss)

    def step() -> float:
        for X, Y in batches:
            loss = step_on(X, Y)
        return loss

    return Training(step, lambda: [w for W, b in zip(Ws, bs, strict=True) for w in (W.T, b)])


# ------------------------------------------------------------------------------------------------- tuned by hand


def aligned(*shape: int) -> np.ndarray:
    """Zeros that begin where a cache line begins: exp on them is up to 2.5 times as quick."""
    room = np.zeros(int(np.prod(shape)) + 8)
    start = (-room.ctypes.data // 8) % 8
    return room[start : start + int(np.prod(shape))].reshape(shape)


class InOnePiece:
    """The arrays of all layers, as views of one array."""

    def __init__(self, layers: list[tuple[np.ndarray, np.ndarray]]) -> None:
        self.flat = aligned(sum(W.size + b.size for W, b in layers))
        self.Ws, self.bs = [], []
        start = 0
        for W, b in layers:
            n_out, n_in = W.shape
            self.Ws.append(self.flat[start : start + W.size].reshape(n_in, n_out))
            self.bs.append(self.flat[start + W.size : start + W.size + b.size])
            start += W.size + b.size


def sigmoid_into(Z: np.ndarray) -> None:
    np.negative(Z, Z)
    np.exp(Z, Z)
    np.add(Z, 1, Z)
    np.reciprocal(Z, Z)


def softmax_into(Z: np.ndarray) -> None:
    np.subtract(Z, Z.max(axis=1, keepdims=True), Z)
    np.exp(Z, Z)
    np.divide(Z, Z.sum(axis=1, keepdims=True), Z)


def times_sigmoid_slope(D: np.ndarray, A: np.ndarray, S: np.ndarray) -> None:
    np.subtract(1, A, S)
    np.multiply(S, A, S)
    np.multiply(D, S, D)


def times_tanh_slope(D: np.ndarray, A: np.ndarray, S: np.ndarray) -> None:
    np.multiply(A, A, S)
    np.subtract(1, S, S)
    np.multiply(D, S, D)


def tuned(p: Problem) -> Training:
    parameters, gradients, change = (InOnePiece(p.layers) for _ in range(3))
    for W, b, (first_W, first_b) in zip(parameters.Ws, parameters.bs, p.layers, strict=True):
        W[:], b[:] = first_W.T, first_b
    steps = [_tuned_step(p, parameters, gradients, change, X, Y) for X, Y in p.batches()]

    def step() -> float:
        for step_on_batch in steps:
            loss = step_on_batch()
        return loss

    return Training(step, lambda: [w for W, b in zip(parameters.Ws, parameters.bs, strict=True) for w in (W.T, b)])


def _tuned_step(
    p: Problem, parameters: InOnePiece, gradients: InOnePiece, change: InOnePiece, X: np.ndarray, Y: np.ndarray
) -> Callable[[], float]:
    m, Ws, bs, dWs, dbs = len(Y), parameters.Ws, parameters.bs, gradients.Ws, gradients.bs
    activations = [X, *(aligned(m, len(b)) for b in bs)]
    deltas, spare = ([None, *(aligned(m, len(b)) for b in bs)] for _ in range(2))
    ones, not_Y, flat_Y = np.ones(m), (1 - Y).ravel(), Y.ravel()
    last, scale = len(Ws), -p.lr / m
    activate, times_slope = {
        "sigmoid": (sigmoid_into, times_sigmoid_slope),
        "tanh": (lambda Z: np.tanh(Z, Z), times_tanh_slope),
    }[p.hidden]
    output = softmax_into if p.loss == "softmax" else sigmoid_into

    def loss_and_delta(A: np.ndarray, delta: np.ndarray, S: np.ndarray) -> float:
        np.subtract(A, Y, delta)
        if p.loss == "mse":
            loss = np.dot(delta.ravel(), delta.ravel())
            times_sigmoid_slope(delta, A, S)
            np.multiply(delta, 2, delta)
            return float(loss) / m
        np.log(A, S)
        loss = np.dot(flat_Y, S.ravel())
        if p.loss == "bce":
            np.subtract(1, A, S)
            np.log(S, S)
            loss += np.dot(not_Y, S.ravel())
        return -float(loss) / m

    def step() -> float:
        for layer in range(1, last + 1):
            Z = activations[layer]
            np.dot(activations[layer - 1], Ws[layer - 1], Z)
            np.add(Z, bs[layer - 1], Z)
            (output if layer == last else activate)(Z)
        loss = loss_and_delta(Z, deltas[last], spare[last])
        for layer in range(last, 0, -1):
            np.dot(activations[layer - 1].T, deltas[layer], dWs[layer - 1])
            np.dot(ones, deltas[layer], dbs[layer - 1])
            if layer > 1:
                np.dot(deltas[layer], Ws[layer - 1].T, deltas[layer - 1])
                times_slope(deltas[layer - 1], activations[layer - 1], spare[layer - 1])
        np.multiply(gradients.flat, scale, change.flat)
        np.add(parameters.flat, change.flat, parameters.flat)
        return loss

    return step


# ------------------------------------------------------------------------------------------------- compiled by numba


def numba(p: Problem) -> Training:
    import numba
    import scipy  # noqa: F401  numba's products are SciPy's

    tanh, loss_name = p.hidden == "tanh", p.loss  # constants of the code

    @numba.njit
    def output_loss(Z: np.ndarray, Y: np.ndarray, delta: np.ndarray) -> float:
        loss = 0.0
        for i in range(Z.shape[0]):
            if loss_name == "softmax":
                largest, total = Z[i].max(), 0.0
                for j in range(Z.shape[1]):
                    total += np.exp(Z[i, j] - largest)
                for j in range(Z.shape[1]):
                    delta[i, j] = np.exp(Z[i, j] - largest) / total - Y[i, j]
                    loss -= Y[i, j] * (Z[i, j] - largest - np.log(total))
            else:
                for j in range(Z.shape[1]):
                    a, y = 1 / (1 + np.exp(-Z[i, j])), Y[i, j]
                    delta[i, j] = a - y
                    if loss_name == "mse":
                        loss += (a - y) ** 2
                        delta[i, j] *= 2 * a * (1 - a)
                    else:
                        loss -= y * np.log(a) + (1 - y) * np.log(1 - a)
        return loss / len(Z)

    @numba.njit
    def step_on(Ws: Any, bs: Any, X: np.ndarray, Y: np.ndarray, lr: float) -> float:
        activations = [X]
        for layer in range(len(Ws) - 1):
            A = np.dot(activations[layer], Ws[layer])
            for i in range(A.shape[0]):
                for j in range(A.shape[1]):
                    z = A[i, j] + bs[layer][j]
                    A[i, j] = np.tanh(z) if tanh else 1 / (1 + np.exp(-z))
            activations.append(A)
        Z = np.dot(activations[-1], Ws[-1]) + bs[-1]
        delta = np.empty_like(Z)
        loss = output_loss(Z, Y, delta)
        for layer in range(len(Ws) - 1, -1, -1):
            A = activations[layer]
            dW, db = np.dot(A.T, delta), delta.sum(axis=0)
            if layer:
                delta = np.dot(delta, Ws[layer].T)
                for i in range(A.shape[0]):
                    for j in range(A.shape[1]):
                        delta[i, j] *= 1 - A[i, j] ** 2 if tanh else A[i, j] * (1 - A[i, j])
            Ws[layer][:] -= lr / len(X) * dW
            bs[layer][:] -= lr / len(X) * db
        return loss

    Ws, bs = tuple(np.ascontiguousarray(W.T) for W, _ in p.layers), tuple(b.copy() for _, b in p.layers)
    batches = [(np.ascontiguousarray(X), np.ascontiguousarray(Y)) for X, Y in p.batches()]

    def step() -> float:
        for X, Y in batches:
            loss = step_on(Ws, bs, X, Y, p.lr)
        return loss

    return Training(step, lambda: [w for W, b in zip(Ws, bs, strict=True) for w in (W.T, b)])
