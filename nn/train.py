"""The training loop: find the loss, go back, step, repeat."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

import microgrid as mg
from nn.init import Rng, generator
from nn.losses import BCELoss, Loss, as_written, binary_cross_entropy
from nn.module import Module
from nn.optim import Optimizer
from nn.targets import Array, Data, check_count, numeric, refuse_infinite

__microgrid_machinery__ = True

Pair: TypeAlias = Sequence[Data]
LossFunction: TypeAlias = Callable[[mg.Tensor, Any], mg.Tensor]
Metric: TypeAlias = Callable[[Array, Array], float]


@dataclass(repr=False)
class History:
    """What happened in `fit`: one entry an epoch in each list that was asked for.

    Attributes
    ----------
    epoch : list of int
        1, 2, ...
    loss : list of float
        Training loss while the epoch ran, batches weighted by their size.
    validation_loss : list of float
        After the epoch; empty without validation data.
    metric : list of float
        After the epoch, on the validation data or else the training data; empty without a metric.
    best_epoch : int or None
        With `patience`: the epoch whose weights the model has now.
    stopped_early, interrupted : bool
        By `patience`, by Ctrl-C.
    """

    epoch: list[int] = field(default_factory=list)
    loss: list[float] = field(default_factory=list)
    validation_loss: list[float] = field(default_factory=list)
    metric: list[float] = field(default_factory=list)
    best_epoch: int | None = None
    stopped_early: bool = False
    interrupted: bool = False

    def rows(self) -> list[dict[str, float]]:
        """One dict an epoch, for a table.

        Examples
        --------
        >>> History(epoch=[1, 2], loss=[0.5, 0.25]).rows()
        [{'epoch': 1, 'loss': 0.5}, {'epoch': 2, 'loss': 0.25}]
        """
        names = ("epoch", "loss", "validation_loss", "metric")
        filled = {name: column for name in names if (column := getattr(self, name))}
        # Not strict: Ctrl-C may have cut one list short.
        return [dict(zip(filled, row, strict=True)) for row in zip(*filled.values(), strict=False)]

    def __len__(self) -> int:
        return len(self.epoch)

    def __repr__(self) -> str:
        parts = [f"{len(self)} epochs"]
        for name, column in (("loss", self.loss), ("validation", self.validation_loss), ("metric", self.metric)):
            parts += [f"{name} {column[0]:.3g} -> {column[-1]:.3g}"] if column else []
        parts += [f"best {self.best_epoch}"] if self.best_epoch else []
        parts += ["interrupted"] if self.interrupted else []
        return f"History({', '.join(parts)})"


def fit(
    model: Module,
    data: Pair,
    loss: LossFunction,
    optimizer: Optimizer,
    epochs: int,
    validation: Pair | None = None,
    patience: int | None = None,
    progress: bool = True,
    *,
    batch_size: int | None = None,
    metric: Metric | None = None,
    rng: Rng = None,
    callback: Callable[[History], object] | None = None,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
        Set to training mode meanwhile; afterwards each of its modules is in the mode in which it was.
    data : (X, Y)
        Arrays or Tensors of m samples each, cast to the dtype of the model; integers in Y stay integers. Checked once,
        before the first step.
    loss : callable
        `loss(output, target)` to a scalar Tensor; a loss of `nn`.
    optimizer : Optimizer
        Made with `model.parameters()`.
    epochs : int >= 1
        Passes over the data.
    validation : (X, Y), optional
        Held out. Its loss is computed after each epoch, in evaluation mode.
    patience : int >= 1, optional
        Stop early: after so many epochs without a new least validation loss (without validation: training loss,
        computed anew after the epoch). Whenever `fit` then returns, stopped, through or interrupted, the model has the
        weights of its best epoch.
    progress : bool
        Show a bar (tqdm, on stderr).
    batch_size : int >= 1, optional
        Samples a step, shuffled anew in each epoch; the last batch may be smaller. None is the full batch, in order.
    metric : callable, optional
        `metric(output, target)` of two ndarrays to a float, such as `nn.metrics.accuracy` for probabilities, or
        `lambda Z, Y: nn.metrics.accuracy(Z, Y, threshold=0.0)` for logits.
    rng : numpy.random.Generator, int or None
        Shuffles. A generator (which advances), a seed, or None for fresh entropy.
    callback : callable, optional
        `callback(history)` after each epoch.

    Returns
    -------
    History
        Ctrl-C (KeyboardInterrupt, from the callback too) ends the training, keeps what was learnt and returns as well,
        with `interrupted` set.

    Raises
    ------
    FloatingPointError
        If a loss or a gradient is nan or infinite, naming epoch and step. The weights of before that step are kept.
    TypeError
        If data are not numbers, or an argument is something else: a class of losses in place of a loss, for instance;
        if the loss gives something else than a Tensor.
    ValueError
        If data are empty, of unequal length, nan, infinite, or labels that the loss refuses; if nothing can be
        trained; if a number is out of range; if the loss is no scalar.
    ModuleNotFoundError
        If a bar is wanted and tqdm is not installed.

    Notes
    -----
    The losses of the batches are averaged by their sizes (added, if the loss says `reduction="sum"`), so that an uneven
    last batch does not count too much.

    Examples
    --------
    >>> import nn
    >>> X, Y = [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]], [[0], [1], [1], [1]]
    >>> model = nn.MLP(2, [1], rng=0)
    >>> optimizer = nn.optim.SGD(model.parameters(), lr=1.0)
    >>> history = fit(model, (X, Y), nn.BCEWithLogitsLoss(), optimizer, epochs=100, progress=False)
    >>> len(history), history.loss[-1] < 0.2
    (100, True)
    """
    for name, number in (("epochs", epochs), ("patience", patience), ("batch_size", batch_size)):
        if number is not None or name == "epochs":
            check_count("nn.fit", name, number)
    _check_trainable(model, optimizer)
    _check_callables(loss, metric, callback)
    trainer = _Trainer(model, loss, optimizer, metric)
    X, Y = _dataset("data", data, loss, model)
    held_out = None if validation is None else _dataset("validation", validation, loss, model)
    watched = held_out or ((X, Y) if patience or metric else None)
    history, best, rng = History(), _Best(model), generator(rng)
    with _modes_restored(model), _bar(epochs, progress) as show:
        if held_out:
            trainer.evaluate(*held_out)  # what does not fit together shows before the first step
        try:
            for epoch in range(1, epochs + 1):
                value = trainer.run(epoch, _batches(X, Y, batch_size, rng), len(X))
                watched_value, measure = trainer.evaluate(*watched, epoch) if watched else (value, None)
                history.epoch.append(epoch)
                history.loss.append(value)
                history.validation_loss += [watched_value] if held_out else []
                history.metric += [] if measure is None else [measure]
                show(history)
                if patience:
                    best.look(epoch, watched_value)
                    history.best_epoch = best.epoch
                if callback:
                    callback(history)
                if patience and epoch - best.epoch >= patience:
                    history.stopped_early = True
                    break
        except KeyboardInterrupt:
            history.interrupted = True
    best.restore()
    return history


@dataclass
class _Trainer:
    """One step, one epoch, one evaluation."""

    model: Module
    loss: LossFunction
    optimizer: Optimizer
    metric: Metric | None

    def __post_init__(self) -> None:
        self.named = list(self.model.named_parameters())

    def run(self, epoch: int, batches: Iterator[tuple[mg.Tensor, Array]], m: int) -> float:
        """One epoch; the loss of the batches weighted by their sizes."""
        self.model.train()
        adds = getattr(self.loss, "reduction", "mean") == "sum"
        total = 0.0
        for step, (x, y) in enumerate(batches, start=1):
            total += self.step(x, y, epoch, step) * (1 if adds else len(y) / m)
        return total

    def step(self, x: mg.Tensor, y: Array, epoch: int, step: int) -> float:
        cost = self.cost(self.model(x), y)
        value: float = cost.item()
        if not math.isfinite(value):
            raise _not_finite(f"epoch {epoch}, step {step}: the loss is {value}", self.loss)
        self.optimizer.zero_grad()
        cost.backward()
        for name, parameter in self.named:
            # One call where all is well; the square of large finite numbers may overflow, so a second look decides.
            g = parameter._grad
            if g is not None and not math.isfinite(np.vdot(g, g)) and not np.isfinite(g).all():
                raise _not_finite(f"epoch {epoch}, step {step}: the gradient of {name} is not finite", self.loss)
        self.optimizer.step()
        return value

    def cost(self, output: mg.Tensor, y: Array) -> mg.Tensor:
        cost = self.loss(output, y)
        if not isinstance(cost, mg.Tensor):
            raise TypeError(
                f"nn.fit: the loss gave {cost!r} of type {type(cost).__name__}, expected a Tensor of one number, "
                f"computed from the output by microgrid's functions, at {mg.sites.here()}"
            )
        if cost.size != 1:
            raise ValueError(
                f"nn.fit: the loss has shape {cost.shape}, expected one number; choose a reduction other than 'none', "
                f"at {mg.sites.here()}"
            )
        return cost

    def evaluate(self, X: mg.Tensor, Y: Array, epoch: int = 0) -> tuple[float, float | None]:
        """Loss and metric in evaluation mode, without a graph."""
        self.model.eval()
        with mg.no_grad():
            output = self.model(X)
            value = self.cost(output, Y).item()
        if epoch and not math.isfinite(value):
            raise _not_finite(f"epoch {epoch}, after its last step: the loss is {value}", self.loss)
        return value, None if self.metric is None or not epoch else _measure(self.metric, output._data, Y)


class _Best:
    """The weights of the epoch with the least loss."""

    def __init__(self, model: Module) -> None:
        self.parameters = list(model.parameters())
        self.epoch, self.value = 0, math.inf
        self.weights: list[Array] = []

    def look(self, epoch: int, value: float) -> None:
        if value < self.value:
            self.epoch, self.value = epoch, value
            self.weights = [parameter._data.copy() for parameter in self.parameters]  # they may be handed out

    def restore(self) -> None:
        for parameter, weights in zip(self.parameters, self.weights, strict=False):  # none where none were kept
            parameter._replace(weights)


def _batches(X: mg.Tensor, Y: Array, size: int | None, rng: np.random.Generator) -> Iterator[tuple[mg.Tensor, Array]]:
    m = len(Y)
    if size is None or size >= m:
        yield X, Y
        return
    order = rng.permutation(m)
    for start in range(0, m, size):
        chosen = order[start : start + size]
        yield mg.Tensor(X._data[chosen]), Y[chosen]


# Checks, all before the first step


def _check_trainable(model: object, optimizer: object) -> None:
    if not isinstance(model, Module) or not isinstance(optimizer, Optimizer):
        raise TypeError(
            "nn.fit(model, data, loss, optimizer, epochs): expected a Module and an Optimizer, got "
            f"{type(model).__name__} and {type(optimizer).__name__}, at {mg.sites.here()}"
        )
    trainable = {id(p) for p in model.parameters() if p.requires_grad}
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not trainable & held:
        why = "the optimizer holds none of the model's" if trainable else "the model has no"
        raise ValueError(
            f"nn.fit: nothing to train: {why} parameters that require a gradient (parameter.requires_grad_() thaws a "
            f"frozen one), at {mg.sites.here()}"
        )
    if not mg.is_grad_enabled():
        raise ValueError(f"nn.fit finds gradients, and was called inside mg.no_grad(), at {mg.sites.here()}")


def _check_callables(loss: object, metric: object, callback: object) -> None:
    if isinstance(loss, type):
        name = as_written(loss)
        raise TypeError(
            f"nn.fit: loss is the class {name}, expected an instance; make one: {name}(), at {mg.sites.here()}"
        )
    if not callable(loss):
        raise TypeError(
            f"nn.fit: loss must be called as loss(output, target), as nn.BCEWithLogitsLoss() is, got {loss!r}, "
            f"at {mg.sites.here()}"
        )
    for call, given in (("metric(output, target)", metric), ("callback(history)", callback)):
        if given is not None and not callable(given):
            name = call.partition("(")[0]
            raise TypeError(f"nn.fit: {name} must be called as {call}, got {given!r}, at {mg.sites.here()}")


def _dataset(role: str, data: Pair, loss: LossFunction, model: Module) -> tuple[mg.Tensor, Array]:
    if not isinstance(data, tuple | list) or len(data) != 2:
        raise TypeError(f"nn.fit: {role} must be a pair (X, Y), got {type(data).__name__}, at {mg.sites.here()}")
    X, Y = (numeric("nn.fit", f"{part} of {role}", array) for part, array in zip("XY", data, strict=True))
    for part, array in (("X", X), ("Y", Y)):
        if not array.size:
            raise ValueError(
                f"nn.fit: {part} of {role} is empty, of shape {array.shape}, expected at least one sample, "
                f"at {mg.sites.here()}"
            )
        if not array.ndim:
            raise ValueError(f"nn.fit: {part} of {role} is one number, expected one row a sample, at {mg.sites.here()}")
        refuse_infinite("nn.fit", f"{part} of {role}", array)
    if len(X) != len(Y):
        raise ValueError(
            f"nn.fit: {role} has {len(X)} samples in X (shape {X.shape}) and {len(Y)} in Y (shape {Y.shape}), "
            f"expected as many, at {mg.sites.here()}"
        )
    if isinstance(loss, Loss):
        loss.check_target(Y)
    dtype = next(model.parameters()).dtype
    Y = Y.astype(dtype if Y.dtype.kind == "f" else Y.dtype)
    Y.setflags(write=False)  # so that the loss need look at it once only
    return mg.Tensor(X.astype(dtype)), Y


def _measure(metric: Metric, output: Array, target: Array) -> float:
    measure: object = metric(output, target)
    try:
        return float(measure)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise TypeError(f"nn.fit: the metric gave {measure!r}, expected a number, at {mg.sites.here()}") from None


def _not_finite(what: str, loss: LossFunction) -> FloatingPointError:
    if isinstance(loss, BCELoss) or loss is binary_cross_entropy:
        remedy = (
            "BCELoss takes the logarithm of probabilities that have rounded to 0 or 1: give the model an identity "
            "output (logits) and use BCEWithLogitsLoss, which is finite everywhere"
        )
    else:
        remedy = (
            "lower the learning rate or scale the inputs (nn.data.standardize); "
            "mg.detect_anomaly() around the call names the operation"
        )
    return FloatingPointError(
        f"nn.fit, {what}. It takes no further step: the model keeps the weights it has. What to do: {remedy}, "
        f"at {mg.sites.here()}"
    )


# Surroundings


@contextmanager
def _modes_restored(model: Module) -> Iterator[None]:
    modes = [(module, module.training) for module in model.modules()]
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


@contextmanager
def _bar(epochs: int, progress: bool) -> Iterator[Callable[[History], None]]:
    """What shows the history after each epoch."""
    if not progress:
        yield lambda history: None
        return
    try:
        from tqdm import tqdm  # here, since it costs more to import than nn itself
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            "nn.fit draws its bar with tqdm, which is not installed: pip install tqdm, or progress=False", name="tqdm"
        ) from error
    with tqdm(total=epochs, unit="epoch", dynamic_ncols=True) as bar:

        def show(history: History) -> None:
            named = {"loss": history.loss, "validation": history.validation_loss, "metric": history.metric}
            bar.set_postfix({name: f"{column[-1]:.4g}" for name, column in named.items() if column}, refresh=False)
            bar.update()

        yield show
