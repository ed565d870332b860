"""Checkpoints: save a training, load it, and go on to the bit. The file is described in `nn.archive`."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import microgrid as mg
from microgrid import saving
from nn import archive
from nn.archive import CheckpointError
from nn.module import Module, leaves
from nn.targets import Array

__microgrid_machinery__ = True

PARTS = ("model", "optimizer", "scheduler", "rng")
LIMITS = {"pos": 624, "buffer_pos": 4, "has_uint32": 1}  # places within a buffer, which NumPy takes without a look


@dataclass(frozen=True, repr=False)
class Checkpoint:
    """What a file holds.

    Attributes
    ----------
    step : int or None
        As it was given to `save`.
    extra : dict
        What else was given to `save`.
    model : dict of str to ndarray
        `model.state_dict()`.
    optimizer, scheduler : dict or None
        Their `state_dict()`; None where none was saved.
    rng : dict or None
        The state of the generator that was given to `save`.
    generators : dict of str to dict
        The state of the generators that modules of the model hold, a Dropout's `rng` for instance, by dotted name.
    kinds : dict of str to str
        The classes of model, optimizer and scheduler.
    """

    step: int | None
    extra: dict[str, Any]
    model: dict[str, Array]
    optimizer: dict[str, Any] | None
    scheduler: dict[str, Any] | None
    rng: dict[str, Any] | None
    generators: dict[str, dict[str, Any]]
    kinds: dict[str, str]

    def parts(self) -> list[str]:
        """Which of model, optimizer, scheduler and rng are there."""
        return [part for part in PARTS if getattr(self, part) is not None]

    def __repr__(self) -> str:
        step = [] if self.step is None else [f"step {self.step}"]
        parts = [f"{part} {self.kinds.get(part, '')}".strip() for part in self.parts()]
        extra = [f"extra {', '.join(self.extra)}"] if self.extra else []
        return f"Checkpoint({'; '.join([*step, *parts, *extra])})"


def save(
    path: str | os.PathLike[str],
    model: Any,
    optimizer: Any = None,
    scheduler: Any = None,
    rng: np.random.Generator | None = None,
    step: int | None = None,
    **extra: Any,
) -> None:
    """Write what a training needs to go on: the file is written whole, or the old one stays.

    Parameters
    ----------
    path : str or path
        Taken as it is; `.npz` is a good ending. A file of that name is replaced, and keeps its mode.
    model : Module
        Its `state_dict()`, and the state of the generators that its modules hold (a Dropout's `rng`).
    optimizer : Optimizer, optional
    scheduler : optional
        One of `nn.optim.lr_scheduler`.
    rng : numpy.random.Generator, optional
        The one that shuffles: that of `fit`, or `loader.rng`.
    step : int, optional
        The epoch, say.
    **extra
        Whatever else: numbers, text, None, lists, tuples, dicts, arrays (`history=history.rows()`).

    Raises
    ------
    TypeError
        If the path or a part is something else, or holds what a checkpoint does not keep. No pickle is ever written.
    OSError
        If the file cannot be written: no folder of that name, a full disk. An old file is as it was.

    Examples
    --------
    >>> import nn, pathlib, tempfile
    >>> model = nn.MLP(2, [3, 1], rng=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "model.npz")
    ...     nn.save(path, model, step=7, note="a trial")
    ...     other = nn.MLP(2, [3, 1], rng=1)
    ...     checkpoint = nn.load(path, other)
    >>> checkpoint, checkpoint.extra["note"]
    (Checkpoint(step 7; model MLP; extra note), 'a trial')
    >>> X = np.eye(2)
    >>> bool((model(X) == other(X)).all())
    True
    """
    _check_path("nn.save", path)
    _check_given("nn.save", model, optimizer, scheduler, rng)
    if step is not None and (isinstance(step, bool) or not isinstance(step, int | np.integer)):
        raise TypeError(f"nn.save: step must be an integer, got {step!r}, at {mg.sites.here()}")
    given = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    content = {
        "kinds": {part: type(it).__name__ for part, it in given.items() if it is not None},
        **{part: None if it is None else it.state_dict() for part, it in given.items()},
        "rng": None if rng is None else rng.bit_generator.state,
        "generators": {name: held.bit_generator.state for name, held in _generators(model)},
        "step": None if step is None else int(step),
        "extra": extra,
    }
    saving.write(path, archive.pack(content))


def load(
    path: str | os.PathLike[str],
    model: Any,
    optimizer: Any = None,
    scheduler: Any = None,
    rng: np.random.Generator | None = None,
) -> Checkpoint:
    """Give model, optimiser, scheduler and generator what they had when they were saved: all of it, or nothing.

    Everything is checked before the first of them is changed. Training then goes on as if it had not been interrupted:
    to the bit on the same machine, elsewhere as far as NumPy's products round alike.

    Parameters
    ----------
    path : str or path
    model : Module
        Made as the saved one was: the same names, shapes and dtypes.
    optimizer, scheduler, rng : optional
        As for `save`; each that is given must have been saved. What was saved and is not asked for is passed over.

    Returns
    -------
    Checkpoint
        With `step`, `extra`, and all that was in the file.

    Raises
    ------
    CheckpointError
        A ValueError: if the file is no checkpoint or is damaged, or does not fit what is given, with all differences of
        the model. Nothing in a file is executed.
    TypeError
        If the path or a part is something else.
    OSError
        If the file cannot be read.

    Examples
    --------
    >>> import nn, pathlib, tempfile
    >>> def make(seed):
    ...     model = nn.MLP(2, [3, 1], rng=seed)
    ...     return model, nn.optim.Adam(model.parameters(), lr=0.1)
    >>> def train(model, optimizer, epochs):
    ...     data = [[0.0, 1.0], [1.0, 1.0]], [[1.0], [0.0]]
    ...     return nn.fit(model, data, nn.BCEWithLogitsLoss(), optimizer, epochs, progress=False).loss[-1]
    >>> model, optimizer = make(seed=0)
    >>> _ = train(model, optimizer, epochs=5)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     nn.save(pathlib.Path(folder, "half.npz"), model, optimizer, step=5)
    ...     other = make(seed=1)
    ...     checkpoint = nn.load(pathlib.Path(folder, "half.npz"), *other)
    >>> checkpoint.step, train(model, optimizer, epochs=5) == train(*other, epochs=5)
    (5, True)
    """
    _check_path("nn.load", path)
    _check_given("nn.load", model, optimizer, scheduler, rng)
    checkpoint = read(path)
    try:
        _check_model(model, checkpoint)
        generators = _fitting_generators(model, rng, checkpoint)
        _rehearse(optimizer, scheduler, checkpoint)
    except CheckpointError as error:
        site = f", at {mg.sites.here()}"  # the cause may say it already
        raise CheckpointError(f"nn.load: {os.fspath(path)}: {str(error).replace(site, '')}{site}") from error.__cause__
    model.load_state_dict(checkpoint.model)
    for part, state in ((optimizer, checkpoint.optimizer), (scheduler, checkpoint.scheduler)):
        if part is not None:
            part.load_state_dict(state)
    for generator, state in generators:
        generator.bit_generator.state = state
    return checkpoint


def read(path: str | os.PathLike[str]) -> Checkpoint:
    """What a file holds, without a model to give it to.

    Raises
    ------
    CheckpointError
        If the file is no checkpoint, or is damaged.
    OSError
        If it cannot be read.
    TypeError
        If the path is none.
    """
    _check_path("nn.load", path)
    try:
        return _checkpoint(archive.unpack(archive.read(path)))
    except CheckpointError as error:
        raise CheckpointError(
            f"nn.load: {os.fspath(path)}: {error}: no checkpoint that can be read, at {mg.sites.here()}"
        ) from error.__cause__


def _checkpoint(content: Any) -> Checkpoint:
    """The content in its parts; a file made by somebody else may hold anything there."""
    expected: dict[str, type | tuple[type, ...]] = {
        "kinds": dict, "model": dict, "optimizer": (dict, type(None)), "scheduler": (dict, type(None)),
        "rng": (dict, type(None)), "generators": dict, "step": (int, type(None)), "extra": dict,
    }  # fmt: skip
    if not isinstance(content, dict) or content.keys() != expected.keys():
        raise CheckpointError("its content is not that of a checkpoint")
    wrong = [part for part, kind in expected.items() if not isinstance(content[part], kind)]
    wrong += ["model"] * any(not isinstance(array, np.ndarray) for array in content["model"].values())
    wrong += ["kinds"] * any(not isinstance(kind, str) for kind in content["kinds"].values())
    wrong += ["step"] * isinstance(content["step"], bool)
    wrong += ["generators"] * any(not isinstance(state, dict) for state in content["generators"].values())
    if wrong:
        raise CheckpointError(f"its {wrong[0]} is not that of a checkpoint")
    return Checkpoint(**content)


# Does it fit?


def _check_path(name: str, path: object) -> None:
    if not isinstance(path, str | os.PathLike):  # a number would be a file that is open already
        raise TypeError(
            f"{name}: expected the path of a file, got {type(path).__name__}; the order is (path, model, optimizer, "
            f"scheduler, rng), at {mg.sites.here()}"
        )


def _check_given(name: str, model: object, optimizer: object, scheduler: object, rng: object) -> None:
    for part, given in (("model", model), ("optimizer", optimizer), ("scheduler", scheduler)):
        keeps_state = hasattr(given, "state_dict") and hasattr(given, "load_state_dict") and not isinstance(given, type)
        if not keeps_state and (given is not None or part == "model"):
            raise TypeError(
                f"{name}: {part} must have state_dict() and load_state_dict(), got {type(given).__name__}; "
                f"the order is (path, model, optimizer, scheduler, rng), at {mg.sites.here()}"
            )
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(
            f"{name}: rng must be the numpy.random.Generator itself (loader.rng, or the one that nn.fit was given), "
            f"got {rng!r}, at {mg.sites.here()}"
        )


def _check_model(model: Any, checkpoint: Checkpoint) -> None:
    """Names and shapes, in the words of `load_state_dict`; and dtypes, which that would cast."""
    own = model.state_dict()
    shapes = {name: array.shape for name, array in own.items()}
    if shapes != {name: array.shape for name, array in checkpoint.model.items()}:
        try:
            model.load_state_dict(checkpoint.model)  # refuses, and says all that differs
        except (TypeError, ValueError) as error:
            raise CheckpointError(f"it holds another model.\n{error}") from error
    casts = [
        f"{name}: {array.dtype} in the file, {own[name].dtype} in the model"
        for name, array in checkpoint.model.items()
        if array.dtype != own[name].dtype
    ]
    if casts:
        raise CheckpointError(
            f"the dtypes differ ({'; '.join(casts)}); to cast: model.load_state_dict(nn.checkpoint.read(path).model)"
        )


def _rehearse(optimizer: Any, scheduler: Any, checkpoint: Checkpoint) -> None:
    """Load into copies (the parameters apart, which these never change): what raises there has changed nothing."""
    parameters = [p for group in getattr(optimizer, "param_groups", []) for p in group["params"]]
    memo: dict[int, Any] = {id(parameter): parameter for parameter in parameters}
    for part, given in (("optimizer", optimizer), ("scheduler", scheduler)):
        if given is None:
            continue
        state, kind = getattr(checkpoint, part), checkpoint.kinds.get(part)
        if state is None:
            raise CheckpointError(f"it holds no {part}, only {', '.join(checkpoint.parts())}")
        if kind != type(given).__name__:
            raise CheckpointError(f"it holds the {part} {kind}, and is to be loaded into {type(given).__name__}")
        try:
            copy.deepcopy(given, memo).load_state_dict(state)
        except Exception as error:  # whatever: the state may hold anything, and schedulers may be the user's
            raise CheckpointError(f"its {part} does not fit: {error}") from error


def _generators(model: Any) -> Iterator[tuple[str, np.random.Generator]]:
    """The generators that modules hold, each place of each by its dotted name."""
    if isinstance(model, Module):
        yield from leaves(model.named_modules(), np.random.Generator, remove_duplicate=False)


def _fitting_generators(
    model: Any, rng: np.random.Generator | None, checkpoint: Checkpoint
) -> list[tuple[np.random.Generator, dict[str, Any]]]:
    """Each generator with the state that it is to have."""
    own = dict(_generators(model))
    if own.keys() != checkpoint.generators.keys():
        differing = ", ".join(sorted(own.keys() ^ checkpoint.generators.keys()))
        raise CheckpointError(
            f"the generators {differing} of the model stand only in one of file and model; to pass over them: "
            "model.load_state_dict(nn.checkpoint.read(path).model)"
        )
    pairs = [(name, generator, checkpoint.generators[name]) for name, generator in own.items()]
    if rng is not None:
        if checkpoint.rng is None:
            raise CheckpointError(f"it holds no rng, only {', '.join(checkpoint.parts())}")
        pairs.append(("rng", rng, checkpoint.rng))
    for name, generator, state in pairs:
        _check_generator(name, generator, state)
        if any(generator is other and archive.pack(state) != archive.pack(its) for _, other, its in pairs):
            raise CheckpointError(f"{name} was a generator of its own, and is now shared")
    return [(generator, state) for _, generator, state in pairs]


def _check_generator(name: str, generator: np.random.Generator, state: dict[str, Any]) -> None:
    """A state of the same kind that such a generator can have: a new one takes it and gives it back."""
    kind = type(generator.bit_generator)
    if state.get("bit_generator") != kind.__name__:
        raise CheckpointError(f"{name} was a {state.get('bit_generator')}, and is a {kind.__name__}")
    inner = state.get("state")
    places = {**state, **(inner if isinstance(inner, Mapping) else {})}
    try:
        fresh = kind(0)
        fresh.state = state
        fits = archive.pack(fresh.state) == archive.pack(state)
        fits = fits and places.get("inc", 1) % 2 == 1  # else PCG64 runs through a part of its numbers alone
        fits = fits and all(0 <= places.get(place, 0) <= limit for place, limit in LIMITS.items())
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise CheckpointError(f"the state of {name} is none of a {kind.__name__}: {error}") from error
    if not fits:
        raise CheckpointError(f"the state of {name} is none of a {kind.__name__}")
