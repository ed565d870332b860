"""Tapes: all steps of a pass, in any order, in files and out of them."""

from __future__ import annotations

import copy
import json
import math
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra.numpy import arrays as of_numbers

import microgrid as mg
from microgrid.stepping import tape_files

HERE = Path(__file__).name


def net():
    w, x, b = mg.Value(2.0, name="w"), mg.Value(-3.0, name="x"), mg.Value(0.5, name="b")
    return mg.tanh(w * x + b) * w + mg.relu(b) ** 2


def arrays():
    x = mg.Tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True, name="x")
    w = mg.Tensor(np.ones((4, 3), np.float32) / 3, requires_grad=True, name="w")
    b = mg.Tensor(np.zeros(4), requires_grad=True, name="b")
    z = mg.linear(x, w, b).sigmoid()
    return (z * z + mg.concatenate([z[:, :2], z[:, 2:]], axis=1)).mean() + x[[0, 0]].max() + w.logsumexp()


def mixed():
    v, t = mg.Value(2.0, name="v"), mg.Tensor([0.5, 1.5], requires_grad=True, name="t")
    return (mg.stack([v, v * v]) * t).prod() + mg.dot([v, v], [v, 3.0])


def fractions():
    u = mg.Value(Fraction(1, 3), name="u")
    return u * u + 1 / u


def hooked():
    x = mg.Value(3.0, name="x")
    y = x * 2
    y.register_hook(lambda g: g * 10)
    x.register_hook(lambda g: g + 1)
    return y * 1


BUILDS = pytest.mark.parametrize("build", [net, arrays, mixed, fractions, hooked])


def same(x, y):
    """Equal to the bit; what is no number by ==."""
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        return type(x) is type(y) and x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
    if isinstance(x, float) and isinstance(y, float):
        return np.float64(x).tobytes() == np.float64(y).tobytes()
    if isinstance(x, tuple) and isinstance(y, tuple):
        return type(x) is type(y) and len(x) == len(y) and all(map(same, x, y))
    return type(x) is type(y) and x == y


def told(step):
    """All that a step tells, but for its nodes."""
    mine = (step.index, step.total, step.label, step.module, step.op, step.name, step.source, step.upstream)
    return mine, [
        (c.label, c.slot, c.value, c.before, c.after, c.position, c.local, c.reduced, c.formula)
        for c in step.contributions
    ]


def assert_same_steps(some, others):
    assert len(some) == len(others)
    for step, other in zip(some, others, strict=True):
        (mine, shares), (its, its_shares) = told(step), told(other)
        assert all(map(same, mine, its))
        assert len(shares) == len(its_shares)
        assert all(all(map(same, one, another)) for one, another in zip(shares, its_shares, strict=True))


# ------------------------------------------------------------------------------------------------------------ recording


@BUILDS
def test_a_tape_is_the_pass(build):
    """record stores what backward stores, to the bit, and its steps are those of mg.steps."""
    root, twin, third = build(), build(), build()
    tape = mg.record(root)
    steps = list(mg.steps(twin))
    third.backward()
    for node, other, another in zip(*map(mg.topological_order, (root, twin, third)), strict=True):
        assert same(node.grad, other.grad)
        assert same(node.grad, another.grad)
    assert len(tape) == len(steps)
    for step, other in zip(tape, steps, strict=True):
        (mine, shares), (its, its_shares) = told(step), told(other)
        assert all(map(same, mine[:6] + mine[7:], its[:6] + its[7:]))  # all but the line
        assert all(all(map(same, one, another)) for one, another in zip(shares, its_shares, strict=True))


@BUILDS
def test_random_access(build):
    """tape[i] from either end, slices, iteration as often as wanted: always the same objects."""
    tape = mg.record(build())
    steps = list(tape)
    assert all(step is other for step, other in zip(tape, steps, strict=True))
    assert all(tape[i] is tape[i - len(tape)] is steps[i] for i in range(len(tape)))
    assert tape[1:] == tuple(steps[1:])
    assert list(reversed(tape)) == steps[::-1]
    assert tape[np.int64(0)] is steps[0]
    assert steps[0] in tape


@BUILDS
def test_before_and_changes(build):
    """before(i) is what the changes up to there make of it; at the end stand the gradients of the pass."""
    root = build()
    tape = mg.record(root)
    expected = {tape.labels[root]: tape.seed}
    for i, step in enumerate(tape):
        state = tape.before(i)
        expected[step.label] = step.upstream
        assert state.keys() == expected.keys()
        assert all(same(state[label], expected[label]) for label in state)
        for c in step.contributions:
            expected[c.label] = c.after
    end = tape.before(len(tape))
    for node, label in tape.labels.items():
        if label in end:
            assert same(end[label], node.grad)
        changes = tape.changes(node)
        assert all(same(one.after, other.before) for one, other in pairwise(changes))
        assert all(change.before is None for change in changes[:1])
        assert same(tape.changes(label), changes) or tape.changes(label) == changes


def test_nothing_is_run_again():
    """A rule of the user's runs once in the pass, however often the tape is looked at."""
    calls = []

    class Cube(mg.Rule):
        def value(x):
            return x * x * x

        def wrt_x(g, z, x):
            calls.append(g)
            return g * (3 * x * x)

    x = mg.Value(2.0)
    tape = mg.record(mg.apply(Cube, x))
    for _ in range(3):
        assert [c.value for step in tape for c in step.contributions] == [12.0]
        assert len(tape.changes(x)) == 1
        assert tape.before(1)["%0"] == 12.0
    assert calls == [1.0]


@pytest.mark.parametrize("looked", [False, True], ids=["unseen", "seen"])
@pytest.mark.parametrize("build", [net, arrays, mixed])
def test_a_tape_stays_what_it_was(build, looked):
    """Whatever becomes of data, gradients, names and flags: the tape tells of the pass that was, seen before or not."""
    root, twin = build(), build()
    tape, other = mg.record(root), mg.record(twin)
    assert len(list(other)) == len(tape)
    if looked:
        list(tape)
    for node in mg.topological_order(root):
        if node.rule is None:
            node.requires_grad_(False)
            if isinstance(node, mg.Tensor):
                node.data[...] = 7.0
                node.grad[...] = 9.0
            else:
                node.data = 7.0
        elif isinstance(node._grad, np.ndarray):
            node._grad[...] = 9.0
    for step, another in zip(tape, other, strict=True):
        assert same(told(step)[0][7], told(another)[0][7])
        for mine, its in zip(told(step)[1], told(another)[1], strict=True):
            assert all(map(same, mine, its))
    assert all(same(x, y) for x, y in zip(tape.values.values(), other.values.values(), strict=True))
    saved = [[node["value"], node["parameters"]] for node in tape.to_dict()["nodes"]]
    assert saved == [[node["value"], node["parameters"]] for node in other.to_dict()["nodes"]]


def test_nobody_writes_to_a_tape():
    """Its arrays refuse to be written to."""
    tape = mg.record(arrays())
    for step in tape:
        for array in (step.upstream, *(getattr(c, name) for c in step.contributions for name in ("value", "after"))):
            if array.ndim:
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0


def test_memory_is_bounded():
    """Of arrays above 4,096 numbers statistics are kept, unless keep="all"; the rest works as before."""
    rng = np.random.default_rng(0)
    n = 4097
    build = lambda: mg.Tensor(numbers, requires_grad=True, name="x")
    numbers = rng.normal(size=n)
    numbers[3] = np.inf
    x = build()
    tape = mg.record((x * 2 + x).sum())
    summary = tape[1].upstream
    assert isinstance(summary, mg.Summary)
    assert (summary.shape, summary.dtype, summary.least, summary.largest, summary.not_finite) == ((n,), "<f8", 1, 1, 0)
    value = tape.values[x]
    fine = np.delete(numbers, 3)
    assert (value.least, value.mean, value.largest, value.not_finite) == (fine.min(), fine.mean(), fine.max(), 1)
    assert not value.is_finite
    assert [c.formula for c in tape[2].contributions] == ["g * y"]
    assert tape[0].contributions[0].formula == "g, the same for all of (4097,)"
    y = build()
    full = mg.record((y * 2 + y).sum(), keep="all")
    assert full[1].upstream.shape == (n,)
    assert same(full.before(3)["x"], y.grad)
    assert same(x.grad, y.grad)

    def held(tape):
        found = {}
        for step in tape:
            for c in step.contributions:
                for item in (step.upstream, c.value, c.before, c.after, step.applied.z, *step.applied.inputs):
                    if isinstance(item, np.ndarray):
                        found[id(item)] = item.nbytes
        return sum(found.values())

    assert held(tape) <= 64
    assert held(full) > 5 * 8 * n


def test_summed_axes_of_what_was_not_kept():
    """What broadcasting sums over is known of a summary too."""
    b = mg.Tensor(np.zeros(5000), requires_grad=True, name="b")
    tape = mg.record((mg.Tensor(np.ones((2, 5000))) + b).sum())
    (share,) = tape[1].contributions
    assert (share.reduced, share.formula) == ((0,), "g, summed over axis 0")
    assert share.value.shape == (5000,)


@pytest.mark.parametrize(
    ("call", "kind", "text"),
    [
        (lambda tape: tape[4], IndexError, "step 4 of a tape of 4 steps"),
        (lambda tape: tape[-5], IndexError, "step -5 of a tape of 4 steps"),
        (lambda tape: tape["x"], TypeError, "expected an int, got 'x'"),
        (lambda tape: tape.before(5), IndexError, "step 5"),
        (lambda tape: tape.changes("q"), KeyError, "'q' is no node of this graph, which has"),
        (lambda tape: tape.changes(mg.Value(1.0)), KeyError, "this Value is no node of this graph"),
        (lambda tape: tape.changes([]), KeyError, "this list is no node"),
        (lambda tape: mg.record(3.0), TypeError, "expected a Value or a Tensor, got float"),
        (lambda tape: mg.record(mg.Value(3.0) * 2, keep="none"), ValueError, "keep: expected 'some' or 'all'"),
        (lambda tape: mg.record(mg.Value(3.0) * 2, params=3), TypeError, "params: expected a model"),
    ],
)
def test_bad_input(call, kind, text):
    """One clear line, with the user's place."""
    x = mg.Value(3.0, name="x")
    tape = mg.record(x * x * x * x + 1)
    with pytest.raises(kind) as error:
        call(tape)
    assert text in str(error.value)
    assert HERE in str(error.value)


def test_nodes_by_name_and_label():
    """A node is found by its label, its name, and itself; of two nodes of one name, the label tells."""
    x, other = mg.Value(3.0, name="x"), mg.Value(4.0, name="x")
    y = x * other
    tape = mg.record(y, params={"first": x})
    assert tape.labels[x] == "first"
    assert tape.node("first") is tape.node(x) is x
    assert tape.node("x") is other
    assert tape.node("%2") is y
    assert tape.step_of("%2") is tape[0]
    assert tape.step_of(x) is None


# ----------------------------------------------------------------------------------------------------------- files


@BUILDS
def test_save_and_load(build, tmp_path):
    """What is read is what was written, to the bit; and so is what is written of it again."""
    tape = mg.record(build())
    path, again = tmp_path / "tape.json", tmp_path / "again.json"
    tape.save(path)
    loaded = mg.Tape.load(path)
    assert_same_steps(tape, loaded)
    assert list(loaded.labels.values()) == list(tape.labels.values())
    assert same(loaded.seed, tape.seed)
    for i in range(len(tape) + 1):
        one, other = tape.before(i), loaded.before(i)
        assert one.keys() == other.keys()
        assert all(same(one[label], other[label]) for label in one)
    assert all(map(same, loaded.values.values(), tape.values.values()))
    assert [step.rule for step in loaded] == [step.rule for step in tape]
    loaded.save(again)
    assert again.read_bytes() == path.read_bytes()
    assert str(mg.explain(loaded)) == str(mg.explain(tape))
    assert json.loads(path.read_text())["version"] == 1


def test_a_users_rule_in_a_file(tmp_path):
    """A rule of the user's is told of; nothing of that name is looked up."""

    class exp(mg.Rule):  # noqa: N801 (as ours is called)
        def value(x):
            return x * 5

        def wrt_x(g, z, x):
            return g * 5

    mg.record(mg.apply(exp, mg.Value(2.0))).save(tmp_path / "tape.json")
    (step,) = mg.Tape.load(tmp_path / "tape.json")
    assert (step.op, step.rule, step.contributions[0].value, step.contributions[0].local) == ("exp", None, 5.0, 5.0)
    assert step.contributions[0].formula == "g * 5"


NUMBERS = st.one_of(
    st.floats(), st.integers(), st.booleans(), st.none(), st.text(), st.fractions(),
    *(of_numbers(dtype, st.sampled_from([(), (0,), (2, 2)])) for dtype in ("<f8", "<f4", "<i8", "|b1", ">f8")),
)  # fmt: skip


@given(st.one_of(NUMBERS, st.lists(NUMBERS, max_size=3).map(tuple), st.builds(slice, *[st.integers() | st.none()] * 3)))
@settings(max_examples=60)
def test_numbers_survive(x):
    """Numbers, arrays and parameters of every kind come back from JSON as they were, nan's sign included."""
    back = tape_files.decoded(json.loads(json.dumps(tape_files.encoded(x), allow_nan=False)))
    if isinstance(x, slice):
        x, back = (x.start, x.stop, x.step), (back.start, back.stop, back.step)
    assert repr(x) == repr(back)
    if isinstance(x, float):
        assert math.copysign(1, x) == math.copysign(1, back)


@pytest.fixture(scope="module")
def written():
    """The text of a tape of arrays and floats."""
    v = mg.Value(2.0, name="v")
    root = (mg.stack([v, v]) * mg.Tensor([0.5, 1.5], requires_grad=True, name="t")).sum() * v
    return json.dumps(mg.record(root).to_dict())


def places(tree, path=()):
    """The paths to all that stands in a tree of JSON."""
    yield path
    for key, item in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield from places(item, (*path, key))


POISON = [
    None, True, -1, 10**6, 2**80, 1.5, "x", "exp", "__class__", [], [[]], {}, {"node": -1}, {"node": 0, "x": 1},
    {"array": [1], "shape": [2], "dtype": "<f8"}, {"array": [], "shape": [0], "dtype": "O"},
    {"array": ["x"], "shape": [1], "dtype": "<f8"}, {"array": [1], "shape": [1], "dtype": "V9999999999"},
    {"array": [300], "shape": [1], "dtype": "|u1"}, {"float": "1e9"}, {"fraction": "1/0"}, {"fraction": "1e999999999"},
    {"summary": [1, 2]}, {"slice": [1]}, {"pickle": "gASV"}, {"text": 3},
]  # fmt: skip


@given(st.data())
@settings(max_examples=200)
def test_hostile_files(written, tmp_path_factory, data):
    """Whatever stands in a file in place of what should: a tape, or one ValueError that names the file and the line."""
    tree = json.loads(written)
    path = data.draw(st.sampled_from([at for at in places(tree) if at]))
    inside = tree
    for key in path[:-1]:
        inside = inside[key]
    if data.draw(st.booleans()):
        inside[path[-1]] = copy.deepcopy(data.draw(st.sampled_from(POISON)))
    else:
        del inside[path[-1]]
    file = tmp_path_factory.getbasetemp() / "hostile.json"
    file.write_text(json.dumps(tree))
    try:
        tape = mg.Tape.load(file)
    except ValueError as error:
        assert str(error).startswith(f"{file} is no tape of microgrid's: ")  # noqa: PT017
        assert HERE in str(error)  # noqa: PT017
        assert "\n" not in str(error)  # noqa: PT017
    else:
        repr(tape), [str(step) for step in tape], tape.before(len(tape)), mg.explain(tape), tape.to_dict()


@pytest.mark.parametrize("place", [(-1, 1, 0, 1), (0, 0, 0, 1), (5, 4, 0, 1), (1, 10**30, 0, 1), (1, 1, -1, 1)])
def test_sites_that_cannot_be(written, place):
    """Lines that no file has, and expressions that end before they begin or never."""
    tree = json.loads(written)
    told = next(node for node in tree["nodes"] if node["site"])
    told["site"][1:5] = place
    with pytest.raises(ValueError, match="'site' is"):
        tape_files.read(json.dumps(tree).encode())


@pytest.mark.parametrize("x", [-math.nan, math.nan, -math.inf, -0.0, [np.array([-math.nan, -0.0])]])
def test_signs_survive(x):
    """The sign of nan, of 0 and of infinity, by themselves and in arrays."""
    x = x[0] if isinstance(x, list) else x
    back = tape_files.decoded(json.loads(json.dumps(tape_files.encoded(x), allow_nan=False)))
    assert np.signbit(back).tolist() == np.signbit(x).tolist()


@pytest.mark.parametrize(
    "poison",
    [
        *({"array": [1], "shape": [1], "dtype": dtype} for dtype in ("O", "S8", "<M8[s]", "V9999", "<f16", "i4,i4")),
        {"array": [1], "shape": [-1], "dtype": "<f8"}, {"array": [], "shape": [0, 2**40], "dtype": "<f8"},
        {"array": [None], "shape": [1], "dtype": "<f8"}, {"array": [2**70], "shape": [1], "dtype": "<i8"},
        {"fraction": "1e999999999"}, {"fraction": "1/0"}, {"float": "3"}, {"pickle": "x"}, {"float": "nan", "y": 1},
        {}, [],
    ],
)  # fmt: skip
def test_what_is_no_number(poison):
    """Objects, texts, dates, records, wrong shapes, numbers without bounds: refused before anything is made of them."""
    with pytest.raises((ValueError, OverflowError)):
        tape_files.decoded(poison)


def test_inputs_are_older_and_labels_differ(written):
    """A node made of itself or of a later one, and two nodes of one label, make no graph."""
    for change, text in (
        (lambda nodes: nodes[-1].update(inputs=[{"node": len(nodes) - 1}]), "is no place of a node"),
        (lambda nodes: nodes[0].update(label=nodes[1]["label"]), "two nodes bear one label"),
    ):
        tree = json.loads(written)
        change(tree["nodes"])
        with pytest.raises(ValueError, match=text):
            tape_files.read(json.dumps(tree).encode())


@pytest.mark.parametrize(
    "content",
    [
        b"", b"{", b"[]", b"3", b"null", b"\xff\xfe", b"\x80\x04\x95pickle", b'{"format": "microgrid tape"}', b"NaN",
        b'{"format": "microgrid tape", "version": 99}', b"[" * 100_000, b'{"format": "microgrid tape", "version": 1}',
        b"9" * 5000, b"PK\x03\x04",
    ],
)  # fmt: skip
def test_foreign_files(tmp_path, content):
    """Foreign, truncated and empty files: one ValueError."""
    (tmp_path / "tape").write_bytes(content)
    with pytest.raises(ValueError, match=r"tape is no tape of microgrid's: .* at test_tape.py:\d+$"):
        mg.Tape.load(tmp_path / "tape")


def test_truncated_files(written, tmp_path):
    """A file cut short anywhere is no tape."""
    for end in range(0, len(written) - 1, 97):
        (tmp_path / "tape").write_text(written[:end])
        with pytest.raises(ValueError, match="is no tape of microgrid's"):
            mg.Tape.load(tmp_path / "tape")


def test_a_path_is_no_number():
    with pytest.raises(TypeError, match="PathLike"):
        mg.Tape.load(3)


def test_files_that_cannot_be(tmp_path):
    """A missing file and a missing folder are OSErrors, and nothing is left behind."""
    with pytest.raises(FileNotFoundError):
        mg.Tape.load(tmp_path / "none")
    with pytest.raises(OSError, match="nowhere"):
        mg.record(net()).save(tmp_path / "nowhere" / "tape")
    assert not list(tmp_path.iterdir())


# ------------------------------------------------------------------------------------------------------------ in short


@pytest.mark.parametrize("build", [net, arrays, mixed, fractions])
def test_reprs(build, tmp_path, monkeypatch):
    """Of every public object: one line, at most 80 characters; no file is read and no array handed out for it."""
    root = build()
    tape = mg.record(root)
    tape.save(tmp_path / "tape")
    loaded = mg.Tape.load(tmp_path / "tape")
    monkeypatch.setattr("linecache.getline", None)
    monkeypatch.setattr("linecache.getlines", None)
    items = [tape, loaded, *mg.topological_order(root), *loaded.labels]
    for step in (*tape, *loaded):
        items += [step, step.applied, *step.contributions, *tape.changes(step.label)]
    for item in items:
        text = repr(item)
        assert "\n" not in text
        assert len(text) <= 80, text
    assert all(node._extra is None or "handed" not in node._extra for node in mg.topological_order(root))


def test_steps_do_not_change():
    """Steps and contributions are frozen, and are themselves, whatever their numbers; a loaded tape's copy."""
    x = mg.Value(3.0, name="x")
    (step,) = mg.record(x * x)
    for item in (step, step.applied, *step.contributions):
        with pytest.raises(AttributeError, match=f"a {type(item).__name__} does not change: 'index', at {HERE}"):
            item.index = 3
        with pytest.raises(AttributeError, match="does not change"):
            del item.value
        assert item == item
        assert copy.copy(item) != item
    assert step.contributions[0] != step.contributions[1]


def test_reprs_of_large_things():
    """Large arrays, long names and symbols too; and a large array is not searched for its extremes."""
    x = mg.Tensor(np.zeros((100, 100)), requires_grad=True, name="x" * 100)
    tape = mg.record((x * 2).sum(), keep="all")
    small = mg.record((x * 2).sum())
    a = mg.symbols("a")
    symbolic = mg.record(a * a + a + a * a * a)
    for step in (*tape, *small, *symbolic):
        for item in (
            step,
            step.applied,
            *step.contributions,
            step.upstream if isinstance(step.upstream, mg.Summary) else "",
        ):
            assert "\n" not in repr(item)
            assert len(repr(item)) <= 80
    assert "(100, 100) float64" in repr(tape[1])


@pytest.mark.slow
def test_the_benchmark_runs():
    """The program that times recording prints a ratio for each way and face."""
    program = Path(__file__).parents[2] / "benchmarks" / "recording.py"
    done = subprocess.run([sys.executable, "-W", "error", program, "--quick"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 8
