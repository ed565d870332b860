"""Parameters moved together are moved as one by one, to the bit: whatever happens between two steps."""

import copy
import pickle

import numpy as np
import pytest

import microgrid as mg
import nn
from nn.optim.row import SMALL

SHAPES = [(3, 2), (3,), (), (1, 3), (2, 2, 2)]
RECURRENCES = [
    (nn.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (nn.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01, "maximize": True}),
    (nn.optim.Adam, {"amsgrad": True, "weight_decay": 0.1}),
    (nn.optim.AdamW, {}),
    (nn.optim.RMSprop, {"centered": True, "momentum": 0.5}),
    (nn.optim.Adagrad, {"lr_decay": 0.1}),
]
recurrences = pytest.mark.parametrize(("recurrence", "settings"), RECURRENCES)


def parameters(dtype=np.float64, shapes=SHAPES):
    rng = np.random.default_rng(0)
    return [nn.Parameter(rng.normal(size=shape).astype(dtype)) for shape in shapes]


def give_gradients(params, step):
    rng = np.random.default_rng(step)
    for p in params:
        p.grad = rng.normal(size=p.shape).astype(p.dtype)


def alone(recurrence):
    """The same recurrence, which does not say that it is elementwise."""
    return type("Alone", (recurrence,), {"elementwise": False})


def assert_same(ours, theirs):
    for p, q in zip(ours.param_groups[0]["params"], theirs.param_groups[0]["params"], strict=True):
        np.testing.assert_array_equal(p._data, q._data, strict=True)
    one, other = ours.state_dict()["state"], theirs.state_dict()["state"]
    assert one.keys() == other.keys()
    for place in one:
        assert one[place].keys() == other[place].keys()
        for name in one[place]:
            np.testing.assert_array_equal(one[place][name], other[place][name], strict=True)


def pair(recurrence, settings, **made):
    return recurrence(parameters(**made), **settings), alone(recurrence)(parameters(**made), **settings)


def step_both(optimisers, step):
    for optimiser in optimisers:
        give_gradients(optimiser.param_groups[0]["params"], step)
        optimiser.step()


def in_a_row(optimiser):
    """Whether the parameters are views of one array."""
    return all(np.shares_memory(p._data, optimiser._rows[0].numbers) for p in optimiser.param_groups[0]["params"])


@recurrences
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_together_as_one_by_one_to_the_bit(recurrence, settings, dtype):
    both = pair(recurrence, settings, dtype=dtype)
    for step in range(5):
        step_both(both, step)
        assert_same(*both)
    assert in_a_row(both[0])
    assert not both[1]._rows


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_without_a_state_too(dtype):
    """Plain gradient descent; written to, replaced and without a gradient in between."""
    both = pair(nn.optim.SGD, {"lr": 0.1, "weight_decay": 0.01}, dtype=dtype)
    step_both(both, 1)
    assert in_a_row(both[0])
    for change in (
        lambda p: p[1].data.fill(7.0),
        lambda p: setattr(p[0], "data", np.full((3, 2), 0.25, dtype)),
        lambda p: setattr(p[2], "grad", None),
    ):
        for optimiser in both:
            change(optimiser.param_groups[0]["params"])
        for optimiser in both:
            optimiser.step()
        assert_same(*both)
        step_both(both, 2)
        assert_same(*both)
    assert in_a_row(both[0])


def test_a_row_makes_stale_what_its_parameters_were_used_for():
    params = parameters()
    losses = [mg.sum(p * p) for p in params]
    give_gradients(params, 0)
    nn.optim.SGD(params, lr=0.1).step()
    for loss in losses:
        with pytest.raises(mg.StaleError, match="modified by an inplace operation"):
            loss.backward()


@recurrences
def test_whatever_happens_between_two_steps(recurrence, settings):
    both = pair(recurrence, settings)

    def write(optimiser):
        optimiser.param_groups[0]["params"][1].data[0] = 7.0

    def replace(optimiser):
        optimiser.param_groups[0]["params"][0].data = np.full((3, 2), 0.25)

    def edit_the_state(optimiser):
        state = optimiser.state[optimiser.param_groups[0]["params"][3]]
        name = next(name for name, held in state.items() if isinstance(held, np.ndarray))
        state[name][...] = 0.5

    def replace_the_state(optimiser):
        state = optimiser.state[optimiser.param_groups[0]["params"][4]]
        name = next(name for name, held in state.items() if isinstance(held, np.ndarray))
        state[name] = np.full((2, 2, 2), 0.125)

    def load(optimiser):
        optimiser.load_state_dict(optimiser.state_dict())

    def forget_a_gradient(optimiser):
        give_gradients(optimiser.param_groups[0]["params"], 99)
        optimiser.param_groups[0]["params"][2].grad = None
        optimiser.step()

    def change_the_rate(optimiser):
        optimiser.param_groups[0]["lr"] *= 0.5

    def drop_a_parameter(optimiser):
        optimiser.state.pop(optimiser.param_groups[0]["params"].pop(), None)

    step = 0
    for happens in (write, replace, edit_the_state, replace_the_state, load, change_the_rate, forget_a_gradient,
                    drop_a_parameter):  # fmt: skip
        for _ in range(2):
            step_both(both, step := step + 1)
        for optimiser in both:
            happens(optimiser)
        for _ in range(2):
            step_both(both, step := step + 1)
            assert_same(*both)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_goes_on_by_itself(copied):
    ours, theirs = pair(nn.optim.Adam, {"lr": 0.1})
    for step in range(3):
        step_both((ours, theirs), step)
    twin = copied(ours)
    before = [p._data.copy() for p in ours.param_groups[0]["params"]]
    for step in range(3, 6):
        step_both((twin, theirs), step)
        assert_same(twin, theirs)
    for p, held in zip(ours.param_groups[0]["params"], before, strict=True):
        np.testing.assert_array_equal(p._data, held)


def test_a_graph_keeps_the_numbers_that_it_was_made_of():
    optimiser = nn.optim.SGD(parameters(), lr=0.1, momentum=0.9)
    params = optimiser.param_groups[0]["params"]
    for step in range(3):
        give_gradients(params, step)
        optimiser.step()
    held = [p._data for p in params]
    numbers = [x.copy() for x in held]
    loss = mg.sum(params[0].T * params[0].T)
    give_gradients(params, 3)
    optimiser.step()
    for array, before in zip(held, numbers, strict=True):
        np.testing.assert_array_equal(array, before)
    with pytest.raises(mg.StaleError):
        loss.backward()


def test_rows_take_turns():
    """Memory of numbers that nobody holds serves again; what somebody holds, a part or a view of it, stays as it is."""
    optimiser = nn.optim.SGD(parameters(), lr=0.1)
    params = optimiser.param_groups[0]["params"]

    def steps(count):
        for step in range(count):
            give_gradients(params, step)
            optimiser.step()
            yield params[0]._data.ctypes.data

    assert len(set(steps(6))) == 2
    held, numbers = params[0]._data[1:], params[0]._data[1:].copy()
    assert held.ctypes.data - 16 not in set(steps(6))
    np.testing.assert_array_equal(held, numbers)


def test_a_recurrence_of_ones_own_is_asked_for_each_parameter():
    class Normed(nn.optim.SGD):
        def update(self, v, g, state, settings):
            state["steps"] = state.get("steps", 0) + 1
            return v - settings["lr"] * g / np.linalg.norm(g)

    params = parameters()
    optimiser = Normed(params, lr=1.0)
    before = [p._data for p in params]
    for step in range(2):
        give_gradients(params, step)
        before = [p._data for p in params]
        optimiser.step()
    for p, v in zip(params, before, strict=True):
        assert np.linalg.norm(p._data - v) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "params",
    [
        [nn.Parameter(np.zeros(3)), nn.Parameter(np.zeros(3, np.float32))],
        [nn.Parameter(np.zeros(SMALL)), nn.Parameter(np.zeros(1))],
        [nn.Parameter(np.zeros(3))],
    ],
    ids=["of two precisions", "large", "one"],
)
def test_what_does_not_go_together_moves_alone(params):
    optimiser = nn.optim.Adam(params)
    for step in range(3):
        give_gradients(params, step)
        optimiser.step()
    assert all(p._data.base is None for p in params)
    assert [p.dtype for p in params] == [p._data.dtype for p in optimiser.param_groups[0]["params"]]


class Averaged(nn.optim.Optimizer):
    """A recurrence of one's own, elementwise, that puts a new array in the place of what it remembers."""

    elementwise = True

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})

    def update(self, v, g, state, settings):
        state["average"] = g + 0.5 * state.get("average", 0.0)
        return v - settings["lr"] * state["average"]


def test_a_recurrence_of_ones_own_may_replace_what_it_remembers():
    both = pair(Averaged, {}, shapes=[(3, 2), (3,)])
    for step in range(4):
        step_both(both, step)
        assert_same(*both)
    assert in_a_row(both[0])
