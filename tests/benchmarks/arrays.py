"""Networks on whole arrays, one step of gradient descent on each batch: microgrid, and its peers in `peers.py`."""

import warnings
from collections.abc import Callable
from operator import methodcaller
from typing import Any

import closed_form
import peers
from problems import Problem, problem
from training import Training, compiled


def model_of(p: Problem) -> Any:
    """The network of `nn` with the problem's first weights; it gives logits where the loss takes them."""
    import nn

    sizes, output = [len(b) for _, b in p.layers], "sigmoid" if p.loss == "mse" else "identity"
    model = nn.MLP(p.X.shape[1], sizes, p.hidden, output)
    model.load_state_dict(dict(zip(model.state_dict(), [w for layer in p.layers for w in layer], strict=True)))
    return model


def criterion_of(p: Problem) -> Any:
    import nn

    return {"bce": nn.BCEWithLogitsLoss, "softmax": nn.CrossEntropyLoss, "mse": nn.MSELoss}[p.loss]()


def microgrid(p: Problem, compile: Callable[[Any], Any] | None = None) -> Training:
    """A step as one writes it with `nn`; or with the loss and its backward pass compiled."""
    import microgrid as mg
    import nn

    model, criterion = model_of(p), criterion_of(p)
    optimizer = nn.optim.SGD(model.parameters(), lr=p.lr)
    batches = [(mg.Tensor(X), mg.Tensor(Y)) for X, Y in p.batches()]

    def loss_of(x: mg.Tensor, y: mg.Tensor) -> mg.Tensor:
        return criterion(model(x), y)

    def eager(x: mg.Tensor, y: mg.Tensor) -> mg.Tensor:
        loss = loss_of(x, y)
        loss.backward()
        return loss

    backward = compile(loss_of) if compile else eager

    def step() -> Any:
        for x, y in batches:
            optimizer.zero_grad()
            loss = backward(x, y)
            optimizer.step()
        return loss

    def parameters() -> list[Any]:
        return list(model.state_dict().values())

    return Training(step, parameters, read=methodcaller("item"), why=lambda: getattr(backward, "why", ""))


def microgrid_compiled(p: Problem, backend: str | None = None) -> Training:
    return microgrid(p, lambda function: compiled(function, backend))


def microgrid_c(p: Problem) -> Training:
    warnings.simplefilter("error", RuntimeWarning)  # that NumPy is used instead: then there is nothing to time here
    return microgrid_compiled(p, "c")


ENGINES = {
    "closed_form": closed_form.plain,
    "tuned": closed_form.tuned,
    "numba": closed_form.numba,
    "microgrid": microgrid,
    "microgrid_compiled": microgrid_compiled,
    "microgrid_c": microgrid_c,
    "torch": peers.torch,
    "torch_compiled": peers.torch_compiled,
    "jax": peers.jax,
    "jax_scan": peers.jax_scan,
    "autograd": peers.autograd,
    "tinygrad": peers.tinygrad,
    "scikit_learn": peers.scikit_learn,
}


def has(workload: str) -> bool:
    return workload.startswith("T")


def training(workload: str, engine_name: str) -> Training:
    return ENGINES[engine_name](problem(workload))
