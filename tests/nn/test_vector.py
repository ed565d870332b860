"""Parameters as one vector: nothing lost, gradients through, and nothing written where something is wrong."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, strategies as st

import microgrid as mg
import nn
import nn.scalar

RNG = np.random.default_rng(5)


def formula_cost(vector: Any, X: Any, Y: Any, sizes: list[int]) -> Any:
    """Binary cross-entropy of a sigmoid network, from the vector alone, as the notes write it; complex too."""
    A, at = X.T, 0
    for before, n in pairwise(sizes):
        W = vector[at : at + n * before].reshape(n, before)
        b = vector[at + n * before : at + n * (before + 1), None]
        A, at = 1 / (1 + np.exp(-(W @ A + b))), at + n * (before + 1)
    return -(Y.T * np.log(A) + (1 - Y.T) * np.log(1 - A)).sum() / len(X)


def test_the_gradient_vector_of_all_parameters_is_the_slope_of_the_cost() -> None:
    """Complex step and central differences on plain code over the vector (S19), in the same order."""
    sizes = [3, 4, 2]
    model = nn.MLP(3, sizes[1:], rng=0)
    X, Y = RNG.normal(size=(5, 3)), RNG.uniform(0, 1, (5, 2))
    loss = nn.BCEWithLogitsLoss(reduction="batchmean")(model(mg.Tensor(X)), Y)
    slope = nn.parameters_to_vector(mg.grad(loss, list(model.parameters()))).numpy()
    vector = nn.parameters_to_vector(model.parameters()).detach().numpy()
    steps = np.eye(len(vector))
    exact = [formula_cost(vector + 1e-200j * step, X, Y, sizes).imag / 1e-200 for step in steps]
    np.testing.assert_allclose(slope, exact, rtol=1e-12, atol=1e-15)
    h = np.finfo(float).eps ** (1 / 3)
    central = [
        (formula_cost(vector + h * step, X, Y, sizes) - formula_cost(vector - h * step, X, Y, sizes)) / (2 * h)
        for step in steps
    ]
    assert np.linalg.norm(slope - central) < 1e-8 * np.linalg.norm(slope)
    loss.backward()
    assert nn.parameters_to_vector(p.grad for p in model.parameters()).tolist() == slope.tolist()


def test_gradients_flow_through_the_vector_to_each_parameter() -> None:
    """d/dp of |v|^2 / 2 is p, of first and second order; one concatenation."""
    model = nn.MLP(3, [2, 1], rng=0)
    vector = nn.parameters_to_vector(model.parameters())
    assert vector.rule.__name__ == "concatenate"
    penalty = (vector * vector).sum() / 2
    gradients = mg.grad(penalty, list(model.parameters()), create_graph=True)
    assert [g.tolist() for g in gradients] == [p.tolist() for p in model.parameters()]
    (row,) = mg.grad(nn.parameters_to_vector(gradients)[0], [model.layers[0].weight])
    assert row.tolist() == [[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]]


@given(st.lists(st.lists(st.integers(0, 3), max_size=3), min_size=1, max_size=4), st.integers(0, 99))
def test_there_and_back(shapes: list[list[int]], seed: int) -> None:
    """Every shape, no axes and no numbers among them: row by row, to the bit, each array of its own."""
    rng = np.random.default_rng(seed)
    parameters = [nn.Parameter(rng.normal(size=shape)) for shape in shapes]
    vector = nn.parameters_to_vector(parameters)
    assert vector.tolist() == [x for p in parameters for x in p.detach().numpy().ravel().tolist()]
    others = [nn.Parameter(np.zeros(shape)) for shape in shapes]
    nn.vector_to_parameters(vector, others)
    assert [p.tolist() for p in others] == [p.tolist() for p in parameters]
    arrays = [p._data for p in others]
    assert not any(np.shares_memory(array, vector._data) for array in arrays)
    assert all(array.flags.writeable for array in arrays)


def test_precision_gradients_and_older_graphs_stay() -> None:
    p = nn.Parameter(np.array([1.0, 2.0], np.float32))
    q = nn.Parameter([3.0])
    before = (p * p).sum()
    p.grad = np.ones(2, np.float32)
    nn.vector_to_parameters(np.array([10.0, 20.0, 30.0]), [p, q])
    assert (p.dtype, q.dtype) == (np.float32, np.float64)
    assert (p.tolist(), q.tolist(), p.grad.tolist()) == ([10.0, 20.0], [30.0], [1.0, 1.0])
    assert before.item() == 5.0
    with pytest.raises(mg.StaleError):
        before.backward()


def test_models_of_numbers_are_vectors_too() -> None:
    model = nn.scalar.MLP(2, [3, 1])
    vector = nn.parameters_to_vector(model.parameters())
    assert vector.tolist() == [p.data for p in model.parameters()]
    (vector * vector).sum().backward()
    assert [p.grad for p in model.parameters()] == [2 * p.data for p in model.parameters()]
    nn.vector_to_parameters(np.arange(13), model.parameters())
    assert [p.data for p in model.parameters()] == list(range(13))
    assert {type(p.data) for p in model.parameters()} == {float}


MODEL = nn.MLP(2, [3, 1], rng=0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: nn.parameters_to_vector([]), ValueError, "parameters_to_vector: there are no parameters"),
        (lambda: nn.parameters_to_vector(MODEL), TypeError, r"got MLP: give model.parameters\(\)"),
        (lambda: nn.parameters_to_vector(MODEL.layers), TypeError, r"got Sequential: give model.parameters\(\)"),
        (lambda: nn.parameters_to_vector(MODEL.layers[0].weight), TypeError, r"got Parameter: give \[tensor\]"),
        (lambda: nn.parameters_to_vector(3), TypeError, "expected an iterable of parameters, got int"),
        (lambda: nn.parameters_to_vector("ab"), TypeError, "expected an iterable of parameters, got str"),
        (lambda: nn.parameters_to_vector([None]), TypeError, "item 0 is None: a gradient that no backward pass"),
        (
            lambda: nn.parameters_to_vector([mg.Tensor([1.0]), "a"]),
            TypeError,
            "item 1 must be an array of real numbers",
        ),
        (lambda: nn.vector_to_parameters([1.0], []), ValueError, "there are no parameters"),
        (lambda: nn.vector_to_parameters([1.0], MODEL), TypeError, r"give model.parameters\(\)"),
        (lambda: nn.vector_to_parameters(["a"], MODEL.parameters()), TypeError, "vec must be an array of real numbers"),
        (lambda: nn.vector_to_parameters([1.0], [np.ones(1)]), TypeError, "parameter 0 is array.*expected a Tensor"),
        (
            lambda: nn.vector_to_parameters([1.0], [mg.Tensor([1.0], requires_grad=True) * 2]),
            ValueError,
            r"parameter 0 has a history \(\*\): only leaves",
        ),
        *[
            (
                lambda shape=shape: nn.vector_to_parameters(np.zeros(shape), MODEL.parameters()),
                ValueError,
                r"vec has shape .*, the parameters hold 13 numbers, expected \(13,\)",
            )
            for shape in ((12,), (14,), (13, 1), (1, 13), ())
        ],
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    call: Any, error: type[Exception], message: str
) -> None:
    before = {name: array.tolist() for name, array in MODEL.state_dict().items()}
    with pytest.raises(error, match=message + r".*, at test_vector.py:\d"):
        call()
    assert {name: array.tolist() for name, array in MODEL.state_dict().items()} == before


@pytest.mark.oracles
def test_torch_makes_the_same_vector() -> None:
    torch = pytest.importorskip("torch")
    model = nn.MLP(4, [5, 3], rng=0)
    twin = torch.nn.Sequential(torch.nn.Linear(4, 5), torch.nn.Sigmoid(), torch.nn.Linear(5, 3)).double()
    twin.load_state_dict({name: torch.tensor(array) for name, array in model.layers.state_dict().items()})
    theirs = torch.nn.utils.parameters_to_vector(twin.parameters())
    assert nn.parameters_to_vector(model.parameters()).tolist() == theirs.tolist()
    torch.nn.utils.vector_to_parameters(theirs * 2, twin.parameters())
    nn.vector_to_parameters(nn.parameters_to_vector(model.parameters()) * 2, model.parameters())
    assert [p.tolist() for p in model.parameters()] == [p.tolist() for p in twin.parameters()]


def test_a_number_too_large_for_the_dtype_is_refused_before_anything_is_written() -> None:
    """Into a vector, a state, or data for `fit`: float32 ends at 3.4e38, and no warning is an answer."""
    model = nn.MLP(1, [1, 1], rng=0, dtype=np.float32)
    before = model.state_dict()
    vector = np.array([0.0, 0.0, 0.0, -1e300])
    with pytest.raises(
        ValueError, match=r"vector_to_parameters: vec holds -1e\+300, .* too large for float32.*test_vector"
    ):
        nn.vector_to_parameters(vector, model.parameters())
    state = {name: array.astype(float) for name, array in before.items()}
    state["layers.2.bias"] = np.array([1e39])
    with pytest.raises(ValueError, match=r"(?s)at test_vector.*layers.2.bias: holds 1e\+39, .* too large for float32"):
        model.load_state_dict(state)
    assert all((model.state_dict()[name] == array).all() for name, array in before.items())
    optimizer = nn.optim.SGD(model.parameters(), lr=0.1)
    for data, part in ((([[1e300]], [[1.0]]), "X"), (([[1.0]], [[-1e300]]), "Y")):
        with pytest.raises(
            ValueError, match=rf"nn.fit: {part} of data holds -?1e\+300, .* float32, .*, at test_vector"
        ):
            nn.fit(model, data, nn.MSELoss(), optimizer, 1, progress=False)
    nn.vector_to_parameters(np.array([np.inf, 3e38, 1.0, 0.0]), model.parameters())  # infinite it may be
    assert model.layers[0].bias.tolist() == [float(np.float32(3e38))]
