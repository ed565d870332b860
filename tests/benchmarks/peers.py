"""The same step in other people's engines, as their own documentation writes it; each is imported where it is used.

W (out, in) stays as torch has it, or is turned once at the beginning. All of it in float64.
"""

import os
import shutil
from operator import methodcaller
from typing import Any

import numpy as np
from problems import Problem
from training import Training, UnableError


def _flat(layers: Any) -> list[Any]:
    return [w for layer in layers for w in layer]


# ------------------------------------------------------------------------------------------------------- torch


def torch(p: Problem) -> Training:
    import torch

    parameters = [torch.tensor(w, requires_grad=True) for w in _flat(p.layers)]
    optimizer = torch.optim.SGD(parameters, lr=p.lr)
    batches = [(torch.tensor(X), torch.tensor(Y)) for X, Y in p.batches()]
    loss_of = _torch_loss(p)

    def step() -> Any:
        for X, Y in batches:
            optimizer.zero_grad()
            loss = loss_of(parameters, X, Y)
            loss.backward()
            optimizer.step()
        return loss.detach()

    return Training(step, lambda: [w.detach().numpy() for w in parameters])


def torch_compiled(p: Problem) -> Training:
    """Loss, gradients and the change of the parameters as one compiled function."""
    import torch

    parameters = [torch.tensor(w) for w in _flat(p.layers)]
    batches = [(torch.tensor(X), torch.tensor(Y)) for X, Y in p.batches()]
    slope_and_loss = torch.func.grad_and_value(_torch_loss(p))

    @torch.compile(fullgraph=True, dynamic=False)
    def step_on(parameters: Any, X: Any, Y: Any) -> Any:
        gradients, loss = slope_and_loss(parameters, X, Y)
        for w, g in zip(parameters, gradients, strict=True):
            w.sub_(g, alpha=p.lr)
        return loss

    def step() -> Any:
        try:
            with torch.no_grad():
                for X, Y in batches:
                    loss = step_on(parameters, X, Y)
        except RuntimeError as error:  # no C++ compiler, or no Python.h
            raise UnableError(f"it cannot compile: {str(error).partition(chr(10))[0]}") from None
        return loss

    return Training(step, lambda: [w.numpy() for w in parameters])


def _torch_loss(p: Problem) -> Any:
    from torch import sigmoid, tanh
    from torch.nn import functional

    hidden = {"sigmoid": sigmoid, "tanh": tanh}[p.hidden]
    criterion = {
        "bce": functional.binary_cross_entropy_with_logits,
        "mse": lambda Z, Y: functional.mse_loss(sigmoid(Z), Y),
        "softmax": functional.cross_entropy,
    }[p.loss]

    def loss_of(parameters: Any, A: Any, Y: Any) -> Any:
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = hidden(functional.linear(A, W, b))
        return criterion(functional.linear(A, *parameters[-2:]), Y)

    return loss_of


# --------------------------------------------------------------------------------------------------------- jax


def jax(p: Problem) -> Training:
    """The whole step compiled, one call a step."""
    import jax

    advance, parameters, batches = _jax_step(p)
    advance = jax.jit(advance)

    def step() -> Any:
        nonlocal parameters
        for X, Y in batches:
            parameters, loss = advance(parameters, X, Y)
        return loss

    return Training(step, lambda: [np.asarray(w).T for w in _flat(parameters)])


def jax_scan(p: Problem) -> Training:
    """A hundred steps in one call: a loop that no Python has a part in."""
    import jax

    advance, parameters, batches = _jax_step(p)

    def epoch(parameters: Any, _: Any) -> Any:
        for X, Y in batches:
            parameters, loss = advance(parameters, X, Y)
        return parameters, loss

    def steps(length: int) -> Any:
        run = jax.jit(lambda parameters: jax.lax.scan(epoch, parameters, length=length))

        def call() -> Any:
            nonlocal parameters
            parameters, losses = run(parameters)
            return losses[-1]

        return call

    return Training(steps(1), lambda: [np.asarray(w).T for w in _flat(parameters)], hundred=steps(100))


def _jax_step(p: Problem) -> Any:
    """The step, (parameters, X, Y) to (parameters, loss), the first parameters, and the batches."""
    import jax

    jax.config.update("jax_enable_x64", True)
    from jax import numpy as jnp

    hidden = {"sigmoid": jax.nn.sigmoid, "tanh": jnp.tanh}[p.hidden]
    criterion = {
        "bce": lambda Z, Y: jnp.mean(jax.nn.softplus(Z) - Y * Z),
        "mse": lambda Z, Y: jnp.mean((jax.nn.sigmoid(Z) - Y) ** 2),
        "softmax": lambda Z, Y: -jnp.sum(Y * jax.nn.log_softmax(Z)) / len(Y),
    }[p.loss]

    def loss_of(parameters: Any, A: Any, Y: Any) -> Any:
        for W, b in parameters[:-1]:
            A = hidden(A @ W + b)
        W, b = parameters[-1]
        return criterion(A @ W + b, Y)

    def advance(parameters: Any, X: Any, Y: Any) -> Any:
        loss, gradients = jax.value_and_grad(loss_of)(parameters, X, Y)
        return jax.tree.map(lambda w, g: w - p.lr * g, parameters, gradients), loss

    parameters = [(jnp.asarray(W.T), jnp.asarray(b)) for W, b in p.layers]
    return advance, parameters, [(jnp.asarray(X), jnp.asarray(Y)) for X, Y in p.batches()]


# ------------------------------------------------------------------------------------------------------ autograd


def autograd(p: Problem) -> Training:
    import autograd
    from autograd import numpy as anp

    def sigmoid(Z: Any) -> Any:
        return 1 / (1 + anp.exp(-Z))

    def softmax_loss(Z: Any, Y: Any) -> Any:
        Z = Z - anp.max(Z, axis=1, keepdims=True)
        return -anp.sum(Y * (Z - anp.log(anp.sum(anp.exp(Z), axis=1, keepdims=True)))) / len(Y)

    hidden = {"sigmoid": sigmoid, "tanh": anp.tanh}[p.hidden]
    criterion = {
        "bce": lambda Z, Y: anp.mean(anp.logaddexp(0, Z) - Y * Z),
        "mse": lambda Z, Y: anp.mean((sigmoid(Z) - Y) ** 2),
        "softmax": softmax_loss,
    }[p.loss]

    def loss_of(parameters: Any, A: Any, Y: Any) -> Any:
        for W, b in parameters[:-1]:
            A = hidden(anp.dot(A, W) + b)
        W, b = parameters[-1]
        return criterion(anp.dot(A, W) + b, Y)

    loss_and_slope = autograd.value_and_grad(loss_of)
    parameters, batches = [(W.T.copy(), b.copy()) for W, b in p.layers], p.batches()

    def step() -> Any:
        for X, Y in batches:
            loss, gradients = loss_and_slope(parameters, X, Y)
            for layer, changes in zip(parameters, gradients, strict=True):
                for w, g in zip(layer, changes, strict=True):
                    w -= p.lr * g
        return loss

    return Training(step, lambda: [w.T for w in _flat(parameters)])


# ------------------------------------------------------------------------------------------------------ tinygrad


def tinygrad(p: Problem) -> Training:
    """The step under TinyJit; its own optimiser would keep the learning rate in float32."""
    from tinygrad import Tensor, TinyJit, dtypes

    if shutil.which(os.environ.get("CC", "clang")) is None:
        raise UnableError("it needs the compiler clang")

    def array(x: np.ndarray) -> Any:
        return Tensor(np.ascontiguousarray(x), dtype=dtypes.float64).realize()

    hidden = {"sigmoid": Tensor.sigmoid, "tanh": Tensor.tanh}[p.hidden]
    criterion = {
        "bce": Tensor.binary_crossentropy_logits,
        "mse": lambda Z, Y: ((Z.sigmoid() - Y) ** 2).mean(),
        "softmax": Tensor.cross_entropy,
    }[p.loss]
    parameters = [array(w) for w in _flat(p.layers)]
    batches = [(array(X), array(Y)) for X, Y in p.batches()]

    def step_on(A: Any, Y: Any) -> Any:
        for W, b in zip(parameters[:-2:2], parameters[1:-2:2], strict=True):
            A = hidden(A.linear(W.T, b))
        loss = criterion(A.linear(parameters[-2].T, parameters[-1]), Y)
        gradients = loss.gradient(*parameters)
        return loss.realize(*[w.assign(w - p.lr * g) for w, g in zip(parameters, gradients, strict=True)])

    by_size = {len(X): TinyJit(step_on) for X, _ in p.batches()}  # one shape each

    def step() -> Any:
        for X, Y in batches:
            loss = by_size[X.shape[0]](X, Y)
        return loss

    return Training(step, lambda: [w.numpy() for w in parameters], read=methodcaller("item"))


# -------------------------------------------------------------------------------------------------- scikit-learn


def scikit_learn(p: Problem) -> Training:
    """A call of partial_fit for each batch, with the weights put in place after a first call that makes the arrays."""
    from sklearn.neural_network import MLPClassifier

    if p.loss == "mse":
        raise UnableError("it has no squared error of a sigmoid")
    model = MLPClassifier(
        hidden_layer_sizes=tuple(len(b) for _, b in p.layers[:-1]),
        activation={"sigmoid": "logistic", "tanh": "tanh"}[p.hidden],
        solver="sgd",
        alpha=0,
        learning_rate_init=p.lr,
        momentum=0,
        nesterovs_momentum=False,
        shuffle=False,
    )
    batches = [(X, Y.argmax(axis=1) if Y.shape[1] > 1 else Y[:, 0]) for X, Y in p.batches()]
    classes = np.arange(max(2, p.Y.shape[1]))

    def step() -> Any:
        for X, y in batches:
            model.batch_size = len(X)
            model.partial_fit(X, y, classes=classes)
        return model.loss_

    step()
    for made_W, made_b, (W, b) in zip(model.coefs_, model.intercepts_, p.layers, strict=True):
        made_W[:], made_b[:] = W.T, b
    return Training(step, lambda: [w.T for layer in zip(model.coefs_, model.intercepts_, strict=True) for w in layer])
