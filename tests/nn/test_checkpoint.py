"""A training that was saved and loaded goes on to the bit; what does not fit changes nothing at all."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
from nn import archive

ROOT = Path(__file__).parent.parent.parent


class Noise(nn.Module):
    """A module with a generator of its own."""

    def __init__(self, rng: Any) -> None:
        self.rng = np.random.default_rng(rng)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return x * (self.rng.random(x.shape) > 0.3) if self.training else x


class Training:
    """Everything that a training consists of, made from a seed."""

    def __init__(self, seed: int = 0, dtype: Any = np.float64, size: int = 4, kind: Any = None) -> None:
        schedulers = nn.optim.lr_scheduler
        noise = Noise(seed + 1)
        self.model = nn.Sequential(
            nn.Linear(2, size, rng=seed, dtype=dtype), nn.Tanh(), noise, nn.Linear(size, 1, rng=seed, dtype=dtype)
        )
        self.optimizer = (kind or nn.optim.Adam)(self.model.parameters(), lr=0.05)
        self.scheduler = schedulers.StepLR(self.optimizer, 3, gamma=0.5)
        self.rng = np.random.default_rng(seed + 2)

    def run(self, epochs: int) -> list[float]:
        data = np.random.default_rng(9)
        X = data.normal(size=(11, 2))
        loader = nn.data.DataLoader(nn.data.TensorDataset(X, X[:, :1] * X[:, 1:] > 0), 4, shuffle=True, rng=self.rng)
        loss = nn.BCEWithLogitsLoss()
        return nn.fit(
            self.model, loader, loss, self.optimizer, epochs, scheduler=self.scheduler, progress=False
        ).loss  # fmt: skip

    def parts(self) -> dict[str, Any]:
        return vars(self)

    def content(self) -> bytes:
        """All state, to the bit."""
        return archive.pack(
            [
                self.model.state_dict(),
                self.model[2].rng.bit_generator.state,
                self.optimizer.state_dict(),
                self.scheduler.state_dict(),
                self.rng.bit_generator.state,
            ]
        )


RESUMED = """
import sys
from pathlib import Path
import nn
from nn import archive
sys.path.insert(0, sys.argv[1])
from test_checkpoint import Training

training = Training(seed=50, dtype=sys.argv[2])  # other weights, other noise
checkpoint = nn.load(sys.argv[3], **training.parts())
losses = checkpoint.extra["losses"] + training.run(5)
Path(sys.argv[4]).write_bytes(archive.pack([losses, training.content().hex(), checkpoint.step]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_ten_epochs_are_five_and_five_in_another_process_to_the_bit(tmp_path: Path, dtype: str) -> None:
    """Adam, a scheduler, a shuffling loader and a module that draws: parameters, states and losses."""
    straight, first = Training(dtype=dtype), Training(dtype=dtype)
    losses = straight.run(10)
    half = first.run(5)
    nn.save(tmp_path / "half.npz", **first.parts(), step=5, losses=half)
    command = [sys.executable, "-c", RESUMED, str(Path(__file__).parent), dtype, "half.npz", "end"]
    subprocess.run(command, cwd=tmp_path, check=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    resumed, content, step = archive.unpack(archive.read(tmp_path / "end"))
    assert resumed == losses
    assert content == straight.content().hex()
    assert step == 5


@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_five_and_five_in_one_process(tmp_path: Path, dtype: str) -> None:
    straight, first, second = Training(dtype=dtype), Training(dtype=dtype), Training(seed=50, dtype=dtype)
    losses = straight.run(10)
    half = first.run(5)
    nn.save(tmp_path / "half.npz", **first.parts(), step=5)
    kept = first.content()
    assert second.content() != kept
    nn.load(tmp_path / "half.npz", **second.parts())
    assert second.content() == kept
    assert half + second.run(5) == losses
    assert second.content() == straight.content()
    assert {parameter.dtype for parameter in second.model.parameters()} == {np.dtype(dtype)}


@pytest.mark.parametrize("bits", [np.random.MT19937, np.random.Philox, np.random.SFC64, np.random.PCG64DXSM])
def test_generators_of_every_kind_go_on(tmp_path: Path, bits: Any) -> None:
    model = nn.Linear(1, 1, rng=0)
    rng, other = np.random.Generator(bits(3)), np.random.Generator(bits(4))
    rng.integers(10, size=3, dtype=np.int32)  # half of a number is kept back
    nn.save(tmp_path / "a.npz", model, rng=rng)
    nn.load(tmp_path / "a.npz", model, rng=other)
    assert rng.random(1000).tolist() == other.random(1000).tolist()


@pytest.mark.parametrize("name", ["SGD", "Adam", "AdamW", "RMSprop", "Adagrad"])
@pytest.mark.parametrize("plateau", [False, True])
def test_every_optimiser_goes_on(tmp_path: Path, name: str, plateau: bool) -> None:
    settings = {"momentum": 0.9} if name in ("SGD", "RMSprop") else {}

    def made(seed: int) -> Training:
        training = Training(seed, kind=lambda parameters, lr: getattr(nn.optim, name)(parameters, lr=lr, **settings))
        if plateau:
            training.scheduler = nn.optim.lr_scheduler.ReduceLROnPlateau(training.optimizer, patience=0)
        return training

    straight, second = made(0), made(1)
    straight.run(2)
    nn.save(tmp_path / "a.npz", **straight.parts())
    nn.load(tmp_path / "a.npz", **second.parts())
    assert straight.run(2) == second.run(2)
    assert straight.content() == second.content()


def test_what_was_saved_is_told(tmp_path: Path) -> None:
    training, path = Training(), tmp_path / "a.npz"
    training.run(1)
    history = [{"epoch": 1, "loss": 0.5}]
    nn.save(path, **training.parts(), step=np.int64(7), history=history, mean=np.ones(2))
    for checkpoint in (nn.load(path, training.model), nn.checkpoint.read(path)):
        assert (checkpoint.step, checkpoint.extra["history"], checkpoint.extra["mean"].tolist()) == (7, history, [1, 1])
        assert repr(checkpoint) == (
            "Checkpoint(step 7; model Sequential; optimizer Adam; scheduler StepLR; rng; extra history, mean)"
        )
        assert checkpoint.parts() == ["model", "optimizer", "scheduler", "rng"]
        assert checkpoint.generators.keys() == {"2.rng"}
        assert checkpoint.model.keys() == training.model.state_dict().keys()
    nn.save(path, nn.Linear(1, 1))
    bare = nn.checkpoint.read(path)
    assert (bare.step, bare.optimizer, bare.scheduler, bare.rng, bare.extra) == (None, None, None, None, {})
    assert repr(bare) == "Checkpoint(model Linear)"


def test_what_was_loaded_and_what_was_read_do_not_share_arrays(tmp_path: Path) -> None:
    training, path = Training(), tmp_path / "a.npz"
    training.run(1)
    nn.save(path, **training.parts())
    checkpoint = nn.load(path, **training.parts())
    kept = archive.pack([checkpoint.model, checkpoint.optimizer, checkpoint.scheduler])
    training.run(2)
    assert archive.pack([checkpoint.model, checkpoint.optimizer, checkpoint.scheduler]) == kept
    for array in checkpoint.model.values():
        array[...] = 7
    assert not any((array == 7).all() for array in training.model.state_dict().values())


def test_parameters_in_other_byte_order_and_shared_ones(tmp_path: Path) -> None:
    tied = nn.Linear(2, 2, rng=0)
    model = nn.Sequential(tied, nn.Sigmoid(), tied)
    nn.save(tmp_path / "a.npz", model)
    other = nn.Linear(2, 2, rng=1)
    nn.load(tmp_path / "a.npz", nn.Sequential(other, nn.Sigmoid(), other))
    assert (other.weight == tied.weight).all()
    swapped = nn.Linear(2, 2, rng=1)
    swapped.weight._replace(tied.weight._data.astype(">f8"))
    nn.save(tmp_path / "b.npz", swapped)
    plain = nn.Linear(2, 2, rng=2)
    nn.load(tmp_path / "b.npz", plain)
    assert (plain.weight == tied.weight).all()


def test_generators_in_lists_are_saved_too(tmp_path: Path) -> None:
    class Several(nn.Module):
        def __init__(self, seed: int) -> None:
            self.sources = [np.random.default_rng(seed), np.random.default_rng(seed + 1)]
            self.weight = nn.Parameter([1.0])

    model, other = Several(0), Several(5)
    nn.save(tmp_path / "a.npz", model)
    nn.load(tmp_path / "a.npz", other)
    assert nn.checkpoint.read(tmp_path / "a.npz").generators.keys() == {"sources.0", "sources.1"}
    assert [rng.random() for rng in other.sources] == [rng.random() for rng in model.sources]


# All or nothing


def saved(folder: Path, **settings: Any) -> Path:
    training = Training(**settings)
    training.run(2)
    nn.save(folder / "a.npz", **training.parts())
    return folder / "a.npz"


def changed(path: Path, change: Any) -> None:
    """The checkpoint, forged: with right checksums, and something else in it."""
    content = archive.unpack(archive.read(path))
    change(content)
    path.write_bytes(archive.pack(content))


def set_at(*keys: Any, to: Any) -> Any:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        content[keys[-1]] = to

    return change


def without(*keys: Any) -> Any:
    def change(content: Any) -> None:
        for key in keys[:-1]:
            content = content[key]
        del content[keys[-1]]

    return change


def generator_state(kind: Any, **places: Any) -> Any:
    return {**kind(0).state, **places}


FORGED = {
    "weight missing": (without("model", "0.weight"), "Missing key"),
    "weight of another shape": (set_at("model", "0.bias", to=np.zeros(9)), "size mismatch for"),
    "weight of another dtype": (set_at("model", "0.bias", to=np.zeros(4, int)), "dtypes differ .*int64 in the file"),
    "weight of text": (set_at("model", "0.bias", to=np.array(list("abcd"))), "dtypes differ"),
    "weight no array": (set_at("model", "0.bias", to=1.5), "its model is not that of a checkpoint"),
    "optimizer lacks state": (without("optimizer", "state"), "its optimizer does not fit"),
    "optimizer of fewer groups": (set_at("optimizer", "param_groups", to=[]), "its optimizer does not fit"),
    "optimizer groups no list": (set_at("optimizer", "param_groups", to=3), "its optimizer does not fit"),
    "optimizer with a wrong rate": (set_at("optimizer", "param_groups", 0, "lr", to=-1.0), "optimizer does not fit"),
    "moment of another shape": (
        set_at("optimizer", "state", 0, "exp_avg", to=np.zeros(1)), "its optimizer does not fit"),
    "state of an unknown parameter": (set_at("optimizer", "state", 99, to={}), "its optimizer does not fit"),
    "scheduler emptied": (set_at("scheduler", to={}), "its scheduler does not fit"),
    "scheduler of text": (set_at("scheduler", to="abc"), "its scheduler is not that of a checkpoint"),
    "another optimizer": (set_at("kinds", "optimizer", to="SGD"), "optimizer SGD, and is to be loaded into Adam"),
    "another scheduler": (set_at("kinds", "scheduler", to="X"), "scheduler X, and is to be loaded into StepLR"),
    "no optimizer": (set_at("optimizer", to=None), "it holds no optimizer, only model, scheduler, rng"),
    "no scheduler": (set_at("scheduler", to=None), "it holds no scheduler, only model, optimizer, rng"),
    "no rng": (set_at("rng", to=None), "it holds no rng, only model, optimizer, scheduler"),
    "no generators": (set_at("generators", to={}), "2.rng of the model stand only in one"),
    "generators no dicts": (set_at("generators", to={"2.rng": 3}), "its generators is not that"),
    "generator of another kind": (
        set_at("rng", to=generator_state(np.random.MT19937)), "rng was a MT19937, and is a PCG64"),
    "generator without a state": (without("rng", "state"), "the state of rng is none of a PCG64"),
    "generator of text": (set_at("rng", "state", to="x"), "the state of rng is none of a PCG64"),
    "generator too large": (set_at("rng", "state", "inc", to=2**200), "the state of rng is none of a PCG64"),
    "generator with a fraction": (set_at("rng", "state", "inc", to=3.5), "the state of rng is none of a PCG64"),
    "generator with more than it needs": (set_at("rng", "more", to=1), "the state of rng is none of a PCG64"),
    "generator with a wrong place": (set_at("rng", "has_uint32", to=5), "the state of rng is none of a PCG64"),
    "generator with an even increment": (set_at("rng", "state", "inc", to=2), "the state of rng is none of a PCG64"),
    "moments of a step without end": (
        set_at("optimizer", "state", 0, "step", to=10**400), "Invalid step .*a number of 1329 bits"),
    "an epoch without end": (set_at("scheduler", "last_epoch", to=10**30), "Invalid last_epoch: a number of 100 bits"),
    "parameters twice": (
        set_at("optimizer", "param_groups", 0, "params", to=[0, 0, 2, 3]), r"the parameters \[0, 0, 2, 3\], expected"),
    "parameters elsewhere": (
        set_at("optimizer", "param_groups", 0, "params", to=[3, 2, 1, 0]), r"\[3, 2, 1, 0\], expected \[0, 1, 2, 3\]"),
    "parameters of text": (set_at("optimizer", "param_groups", 0, "params", to=list("abcd")), "expected .0, 1, 2, 3"),
    "parameters true and false": (
        set_at("optimizer", "param_groups", 0, "params", to=[False, True, 2, 3]), r"expected \[0, 1, 2, 3\]"),
    "kinds of arrays": (set_at("kinds", "optimizer", to=np.array(["Adam", "x"])), "its kinds is not that"),
    "kinds of lists": (set_at("kinds", "model", to=["Sequential"]), "its kinds is not that"),
    "step true": (set_at("step", to=True), "its step is not that"),
    "step of text": (set_at("step", to="one"), "its step is not that"),
    "extra list": (set_at("extra", to=[]), "its extra is not that"),
    "a part too many": (set_at("code", to="import os"), "its content is not that"),
}  # fmt: skip


@pytest.mark.parametrize("case", FORGED)
def test_what_does_not_fit_changes_nothing(tmp_path: Path, case: str) -> None:
    """Each fault alone, the others' parts being right: nothing of model, optimiser, scheduler and generators moves."""
    path = saved(tmp_path)
    change, message = FORGED[case]
    training = Training(seed=5)
    changed(path, change)
    training.run(1)
    kept, objects = training.content(), list(training.model.parameters())
    with pytest.raises(nn.CheckpointError, match=f"(?s)nn.load: .*a.npz: .*{message}.*at test_checkpoint.py"):
        nn.load(path, **training.parts())
    assert training.content() == kept
    assert all(a is b for a, b in zip(training.model.parameters(), objects, strict=True))


@pytest.mark.parametrize(("kind", "place", "beyond"), [("MT19937", "pos", 625), ("Philox", "buffer_pos", 5)])
def test_a_forged_place_within_a_generators_buffer_is_refused(
    tmp_path: Path, kind: str, place: str, beyond: int
) -> None:
    """NumPy takes any, and would read beyond the buffer."""
    bits = getattr(np.random, kind)
    rng, model = np.random.Generator(bits(0)), nn.Linear(1, 1)
    nn.save(path := tmp_path / "a.npz", model, rng=rng)

    def move(content: Any) -> None:
        where = content["rng"]["state"] if place in content["rng"]["state"] else content["rng"]
        where[place] = beyond

    changed(path, move)
    with pytest.raises(nn.CheckpointError, match=f"the state of rng is none of a {kind}"):
        nn.load(path, model, rng=rng)


def test_another_architecture_is_told_with_all_differences(tmp_path: Path) -> None:
    path, other = saved(tmp_path), nn.MLP(3, [4, 2], rng=0)
    before = other.state_dict()
    with pytest.raises(ValueError, match="it holds another model") as error:
        nn.load(path, other)
    text = str(error.value)
    assert "Error(s) in loading state_dict for MLP" in text
    assert "Missing key(s)" in text
    assert text.count("at test_checkpoint.py") == 1
    assert all((array == before[name]).all() for name, array in other.state_dict().items())
    with pytest.raises(nn.CheckpointError, match=r"(?s)size mismatch.*\(4, 2\).*\(7, 2\).*size mismatch.*\(1, 7\)"):
        nn.load(path, Training(size=7).model)
    with pytest.raises(nn.CheckpointError, match=r"float64 in the file, float32 in the model.*read\(path\).model"):
        nn.load(path, Training(dtype=np.float32).model)


def test_generators_that_were_two_are_not_made_one(tmp_path: Path) -> None:
    nn.save(tmp_path / "a.npz", nn.Sequential(Noise(0), nn.Linear(1, 1), Noise(1)))
    shared = np.random.default_rng(0)
    with pytest.raises(nn.CheckpointError, match="was a generator of its own, and is now shared"):
        nn.load(tmp_path / "a.npz", nn.Sequential(Noise(shared), nn.Linear(1, 1), Noise(shared)))
    one = np.random.default_rng(0)
    nn.save(tmp_path / "b.npz", nn.Sequential(Noise(one), nn.Linear(1, 1), Noise(one)))
    nn.load(tmp_path / "b.npz", model := nn.Sequential(Noise(shared), nn.Linear(1, 1), Noise(shared)))
    assert model[0].rng is model[2].rng is shared
    assert shared.bit_generator.state == one.bit_generator.state


def test_damaged_and_foreign_files_lose_nothing(tmp_path: Path) -> None:
    path, training = saved(tmp_path), Training(seed=3)
    training.run(1)
    kept, file = training.content(), path.read_bytes()
    rng = np.random.default_rng(0)
    bad = [b"", file[:-1], file[: len(file) // 2], b"<html>", b"\x80\x04."]
    places = rng.integers(200, len(file) - 2000, 20)
    bad += [file[:place] + bytes([file[place] ^ 4]) + file[place + 1 :] for place in places]
    for content in bad:
        path.write_bytes(content)
        with pytest.raises(nn.CheckpointError, match=r"(?s)nn.load: .*a.npz: .*no checkpoint that can be read"):
            nn.load(path, **training.parts())
        assert training.content() == kept
    with pytest.raises(FileNotFoundError):
        nn.load(tmp_path / "none.npz", training.model)


def test_an_error_of_saving_leaves_the_old_checkpoint(tmp_path: Path) -> None:
    path = saved(tmp_path)
    before = path.read_bytes()
    with pytest.raises(TypeError, match=r"\['extra'\]\['f'\] is or holds a function.*test_checkpoint.py"):
        nn.save(path, Training().model, f=lambda: 1)
    assert path.read_bytes() == before
    assert [it.name for it in tmp_path.iterdir()] == ["a.npz"]
    with pytest.raises(FileNotFoundError, match=r"nothing was written.*test_checkpoint.py"):
        nn.save(tmp_path / "none" / "a.npz", Training().model)


@pytest.mark.parametrize("call", [nn.save, nn.load], ids=["save", "load"])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda t: (t.optimizer.param_groups,), r"model must have state_dict\(\) and load_state_dict\(\), got list"),
        (lambda t: (None,), "model must have .*got NoneType"),
        (lambda t: (nn.Linear,), "model must have .*got type"),
        (lambda t: (t.model, 3), "optimizer must have .*got int; the order is .path, model, optimizer"),
        (lambda t: (t.model, None, t.rng), "scheduler must have .*got Generator"),
        (lambda t: (t.model, None, None, 3), r"rng must be the numpy.random.Generator itself \(loader.rng.*got 3"),
    ],
)
def test_arguments_in_the_wrong_place(tmp_path: Path, call: Any, given: Any, message: str) -> None:
    with pytest.raises(TypeError, match=f"nn.{call.__name__}: {message}.*test_checkpoint.py"):
        call(tmp_path / "a.npz", *given(Training()))
    assert not list(tmp_path.iterdir())


def test_a_step_is_an_integer(tmp_path: Path) -> None:
    for step in (1.5, True, "3"):
        with pytest.raises(TypeError, match=r"nn.save: step must be an integer"):
            nn.save(tmp_path / "a.npz", nn.Linear(1, 1), step=step)


def test_a_user_can_keep_copying(tmp_path: Path) -> None:
    """The rehearsal copies optimiser and scheduler, not the parameters: the real ones hold theirs still."""
    path, training = saved(tmp_path), Training(seed=4)
    nn.load(path, **training.parts())
    assert training.scheduler.optimizer is training.optimizer
    held = [parameter for group in training.optimizer.param_groups for parameter in group["params"]]
    assert all(a is b for a, b in zip(held, training.model.parameters(), strict=True))
    assert copy.deepcopy(training).content() == training.content()


@pytest.mark.parametrize("path", [None, 3, b"a.npz", ["a.npz"], nn.Linear(1, 1)], ids=lambda x: type(x).__name__)
def test_a_path_is_text_or_a_path(path: Any) -> None:
    """3 would be a file that is open already."""
    for call in (nn.save, nn.load):
        with pytest.raises(TypeError, match=rf"nn.{call.__name__}: expected the path of a file, got .*, at test_check"):
            call(path, nn.Linear(1, 1))
    with pytest.raises(TypeError, match=r"nn.load: expected the path of a file, got .*, at test_checkpoint.py"):
        nn.checkpoint.read(path)
