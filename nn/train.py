"""The training loop: find the loss, go back, step, repeat."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

import microgrid as mg
from nn.batches import Batch, LossFunction, Pair, source
from nn.datasets import DataLoader, Dataset
from nn.init import Rng
from nn.losses import BCELoss, Loss, as_written, binary_cross_entropy
from nn.module import Module
from nn.optim import Optimizer
from nn.targets import Array, check_count

__microgrid_machinery__ = True

Metric: TypeAlias = Callable[[Array, Array], float]


@dataclass(repr=False)
class History:
    """What happened in `fit`: one entry an epoch in each list that was asked for.

    Attributes
    ----------
    epoch : list of int
        1, 2, ...
    loss : list of float
        Training loss while the epoch ran, each batch weighted by how much counts in it: see the notes of `fit`.
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
    data: Pair | Dataset | DataLoader,
    loss: LossFunction,
    optimizer: Optimizer,
    epochs: int,
    validation: Pair | Dataset | DataLoader | None = None,
    patience: int | None = None,
    progress: bool = True,
    *,
    batch_size: int | None = None,
    metric: Metric | None = None,
    scheduler: Any = None,
    rng: Rng = None,
    callback: Callable[[History], object] | None = None,
    backend: str | None = None,
) -> History:
    """Train a model.

    Parameters
    ----------
    model : Module
        Set to training mode meanwhile; afterwards each of its modules is in the mode in which it was.
    data : (X, Y), Dataset or DataLoader
        Arrays or Tensors of m samples each, cast to the dtype of the model; integers in Y stay integers. Checked once,
        before the first step. A `TensorDataset` of two is the same; any other data set gives pairs (x, y), which are
        checked as they come, and so are the batches of a `DataLoader`, which has its own `batch_size` and `rng`.
    loss : callable
        `loss(output, target)` to a scalar Tensor; a loss of `nn`.
    optimizer : Optimizer
        Made with `model.parameters()`.
    epochs : int >= 1
        Passes over the data.
    validation : (X, Y), Dataset or DataLoader, optional
        Held out. Its loss is computed after each epoch, in evaluation mode, on all samples in order (whatever
        `shuffle` and `drop_last` of a `DataLoader` say).
    patience : int >= 1, optional
        Stop early: after so many epochs without a new least validation loss (without validation: training loss,
        computed anew after the epoch). Whenever `fit` then returns, stopped, through or interrupted, the model has the
        weights of its best epoch. Until then it has those of the last step, and so has a checkpoint that the callback
        saves: which epoch was best, and its weights, are not in it, and a `fit` that resumes from it looks anew.
    progress : bool
        Show a bar (tqdm, on stderr).
    batch_size : int >= 1, optional
        Samples a step, shuffled anew in each epoch; the last batch may be smaller. None is the full batch, in order.
    metric : callable, optional
        `metric(output, target)` of two ndarrays to a float, such as `nn.metrics.accuracy` for probabilities, or
        `lambda Z, Y: nn.metrics.accuracy(Z, Y, threshold=0.0)` for logits.
    scheduler : optional
        One of `nn.optim.lr_scheduler`. `scheduler.step()` is called after each epoch, before the callback; where it
        needs a number, as `ReduceLROnPlateau` does, `scheduler.step(loss)` with the loss that `patience` looks at:
        that of the validation, or else of the training data.
    rng : numpy.random.Generator, int or None
        Shuffles. A generator (which advances), a seed, or None for fresh entropy.
    callback : callable, optional
        `callback(history)` after each epoch.
    backend : {"numpy", "python", "c"}, optional
        What the steps are recorded in, see `mg.compile`. None records those of models and losses of `nn`, in NumPy. A
        name records those of your own as well: what they do besides mathematics, printing say, is not repeated.

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
        trained; if a number is out of range; if the loss is no scalar; if `batch_size` or `rng` comes with a
        `DataLoader`, or the scheduler is another optimiser's; if there is no such backend.
    ModuleNotFoundError
        If a bar is wanted and tqdm is not installed.

    Notes
    -----
    The losses of the batches are averaged by what each was divided by, so that they give the loss of all the data: by
    their sizes, for class indices with weights or with an index to ignore by sum w_y (`Loss.count`); they are added, if
    the loss says `reduction="sum"`. A batch in which nothing counts is passed over. So an uneven last batch does not
    count too much in what is shown. In its own step, which follows the mean over that batch, it does: `DataLoader`
    says how every sample gets the same weight there as well.

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
    takes_loss = _check_scheduler(scheduler, optimizer)
    trainer = _Trainer(model, loss, optimizer, metric, backend)
    training = source("data", data, loss, model, batch_size, rng)
    held_out = None if validation is None else source("validation", validation, loss, model)
    watched = held_out or (training if patience or metric else None)
    history, best = History(), _Best(model)
    with _modes_restored(model), _bar(epochs, progress) as show:
        if held_out:
            trainer.evaluate(held_out.in_order())  # what does not fit together shows before the first step
        try:
            for epoch in range(1, epochs + 1):
                value = trainer.run(epoch, training)
                watched_value, measure = trainer.evaluate(watched.in_order(), epoch) if watched else (value, None)
                history.epoch.append(epoch)
                history.loss.append(value)
                history.validation_loss += [watched_value] if held_out else []
                history.metric += [] if measure is None else [measure]
                show(history)
                if patience:
                    best.look(epoch, watched_value)
                    history.best_epoch = best.epoch
                if scheduler is not None:
                    scheduler.step(*[watched_value] * takes_loss)
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
    backend: str | None

    def __post_init__(self) -> None:
        self.named = list(self.model.named_parameters())
        model, loss = self.model, self.loss
        self.compiled = None
        if self.backend is not None or _ours(model, loss):
            self.compiled = mg.compile(lambda x, y: _checked(loss(model(x), y)), backend=self.backend)

    def run(self, epoch: int, batches: Iterable[Batch]) -> float:
        """One epoch; its loss."""
        self.model.train()
        counting = enumerate(self.counting(batches), start=1)
        return self.total([(self.step(x, y, epoch, step), count) for step, (x, y, count) in counting])

    def counting(self, batches: Iterable[Batch]) -> Iterator[tuple[mg.Tensor, Array, float]]:
        """The batches in which anything counts, and how much: a mean over nothing is nan."""
        count = self.loss.count if isinstance(self.loss, Loss) else len
        return ((x, y, counted) for x, y in batches if (counted := count(y)))

    def total(self, losses: list[tuple[float, float]]) -> float:
        """The loss of the data from those of batches and how much each counts: a mean is weighted, a sum is not."""
        m = math.fsum(count for _, count in losses)
        if not m:
            raise ValueError(
                "nn.fit: the data gave no batch in which anything counts (every class is ignored or has the weight "
                f"0?), at {mg.sites.here()}"
            )
        adds = getattr(self.loss, "reduction", "mean") == "sum"
        return math.fsum(value * (1 if adds else count / m) for value, count in losses)

    def step(self, x: mg.Tensor, y: Array, epoch: int, step: int) -> float:
        self.optimizer.zero_grad()
        if self.compiled is not None:
            cost = self.compiled(x, y)
        else:
            cost = self.cost(self.model(x), y)
        value: float = cost.item()
        if not math.isfinite(value):
            raise _not_finite(f"epoch {epoch}, step {step}: the loss is {value}", self.loss)
        if self.compiled is None:
            cost.backward()
        for name, parameter in self.named:
            # One call where all is well; the square of large finite numbers may overflow, so a second look decides.
            g = parameter._grad
            if g is not None and not math.isfinite(np.vdot(g, g)) and not np.isfinite(g).all():
                raise _not_finite(f"epoch {epoch}, step {step}: the gradient of {name} is not finite", self.loss)
        self.optimizer.step()
        return value

    def cost(self, output: mg.Tensor, y: Array) -> mg.Tensor:
        return _checked(self.loss(output, y))

    def evaluate(self, batches: Iterable[Batch], epoch: int = 0) -> tuple[float, float | None]:
        """Loss and metric in evaluation mode, without a graph."""
        self.model.eval()
        losses, outputs, targets = [], [], []
        with mg.no_grad():
            for x, y, count in self.counting(batches):
                output = self.model(x)
                losses.append((self.cost(output, y).item(), count))
                if self.metric and epoch:
                    outputs.append(output._data)
                    targets.append(y)
        value = self.total(losses)
        if epoch and not math.isfinite(value):
            raise _not_finite(f"epoch {epoch}, after its last step: the loss is {value}", self.loss)
        return value, _measure(self.metric, _joined(outputs), _joined(targets)) if self.metric and epoch else None


def _checked(cost: mg.Tensor) -> mg.Tensor:
    """What a loss gave, if it can be descended."""
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


def _ours(model: Module, loss: LossFunction) -> bool:
    """Whether a step may be replayed unasked: model and loss are of `nn`, and do nothing besides their mathematics."""
    return all(type(module).__module__.partition(".")[0] == "nn" for module in (*model.modules(), loss))


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


def _joined(arrays: list[Array]) -> Array:
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)


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


def _check_scheduler(scheduler: object, optimizer: Optimizer) -> bool:
    """Whether its step must be given the loss."""
    if scheduler is None:
        return False
    step = getattr(scheduler, "step", None)
    if not callable(step) or isinstance(scheduler, type | Optimizer):
        raise TypeError(
            f"nn.fit: scheduler must be one of nn.optim.lr_scheduler, made with the optimizer, got {scheduler!r}, "
            f"at {mg.sites.here()}"
        )
    if getattr(scheduler, "optimizer", optimizer) is not optimizer:
        raise ValueError(f"nn.fit: the scheduler was made with another optimizer, at {mg.sites.here()}")
    parameters = inspect.signature(step).parameters.values()
    return any(p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD for p in parameters)


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
