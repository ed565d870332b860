"""The chain C <- A[L] <- Z[L] <- ... <- X is read off the graph, whatever wrote it (S5)."""

from __future__ import annotations

import random

import numpy as np
import pytest

import microgrid as mg
import nn


def line(model: object, *X: object) -> str:
    return repr(nn.chain(model, *X)).removeprefix("Chain(").removesuffix(")")


def test_the_drawing_of_two_layers() -> None:
    """As the notes draw it: W above and b below each Z."""
    assert str(nn.chain(nn.MLP(3, [4, 2], output="sigmoid", rng=0))).splitlines() == [
        r"               W[2]            W[1]",
        r"              /               /",
        r"C <- A[2] <- Z[2] <- A[1] <- Z[1] <- X",
        r"              \               \ ".rstrip(),
        r"               b[2]            b[1]",
    ]


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 12])
def test_any_depth(depth: int) -> None:
    model = nn.MLP(2, [3] * depth, activation="tanh", output="softmax", rng=0)
    pairs = "".join(f" <- A[{n}] <- Z[{n}]" for n in range(depth, 0, -1))
    chain = nn.chain(model)
    assert line(model) == f"C{pairs} <- X"
    assert [link.symbol for link in chain.links][-2:] == ["Z[1]", "X"]
    for text in (str(chain), chain.text(width=30)):
        rows = text.splitlines()
        assert " ".join(row for row in rows if "<-" in row).replace("  ", " ") == f"C{pairs} <- X"
        for row, above, strokes in zip(rows[2:], rows, rows[1:], strict=False):  # each stroke leads from a W to its Z
            if "<-" in row:
                for at in (i for i, sign in enumerate(strokes) if sign == "/"):
                    assert row[at - 1] == "Z"
                    assert above[at + 1] == "W"
                    assert above[at + 2 :].split()[0] == row[at:].split()[0]
    assert max(map(len, str(chain).splitlines())) <= 100
    assert max(map(len, chain.text(width=30).splitlines())) <= 30


def test_links_hold_operations_shapes_and_names() -> None:
    model = nn.MLP(3, [4, 2], activation="relu", output="sigmoid", rng=0)
    links = nn.chain(model, np.ones((5, 3))).links
    assert [(link.symbol, link.operation, link.shape) for link in links] == [
        ("C", "", ()), ("A[2]", "sigmoid", (5, 2)), ("Z[2]", "linear", (5, 2)), ("A[1]", "relu", (5, 4)),
        ("Z[1]", "linear", (5, 4)), ("X", "", (5, 3)),
    ]  # fmt: skip
    assert links[2].parameters == {"W[2]": "layers.2.weight", "b[2]": "layers.2.bias"}
    assert links[1].parameters == {}


def test_logits_have_no_a_of_their_own() -> None:
    """An identity is no node: the cost is of Z[L], as `BCEWithLogitsLoss` takes it."""
    assert line(nn.MLP(3, [4, 2], rng=0)) == "C <- Z[2] <- A[1] <- Z[1] <- X"
    assert (
        line(nn.Sequential(nn.Linear(2, 2, rng=0), nn.Identity(), nn.Linear(2, 1, rng=0))) == "C <- Z[2] <- Z[1] <- X"
    )
    assert line(nn.Sequential(nn.Identity()), [[1.0]]) == "C <- X"


def test_what_is_no_activation_bears_its_own_name() -> None:
    """Dropout between the layers in training, and nothing in evaluation; Flatten; a function of A."""
    model = nn.Sequential(
        nn.Flatten(), nn.Linear(6, 4, rng=0), nn.ReLU(), nn.Dropout(0.5, rng=0), nn.Tanh(), nn.Linear(4, 1, rng=0)
    )  # fmt: skip
    X = np.ones((5, 2, 3))
    assert line(model, X) == "C <- Z[2] <- Tanh <- Dropout <- A[1] <- Z[1] <- Flatten <- X"
    assert line(model.eval(), X) == "C <- Z[2] <- A[1] <- Z[1] <- Flatten <- X"  # A[1] = tanh(relu(Z[1]))
    flattened = nn.Sequential(nn.Linear(3, 3, rng=0), nn.Flatten())
    assert line(flattened, X) == "C <- Flatten <- Z[1] <- X"
    straight = nn.Sequential(nn.Linear(2, 2, rng=0), nn.Dropout(0.5, rng=0))
    assert line(straight) == "C <- Dropout <- Z[1] <- X"  # it is no function of Z alone


class ByHand(nn.Module):
    """The same layer twice, spelt out, with an activation of one's own, and a factor at the end."""

    def __init__(self) -> None:
        self.w = nn.Parameter(np.eye(3))
        self.b = nn.Parameter(np.zeros(3))
        self.gain = nn.Parameter(2.0)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        for _ in range(2):
            z = x @ self.w.T + self.b
            x = z * mg.sigmoid(z)
        return x * self.gain


def test_the_graph_counts_not_the_classes() -> None:
    """matmul and add are one Z, z sigmoid(z) is one A; a weight that is used twice keeps its first letter."""
    chain = nn.chain(ByHand(), np.ones((2, 3)))
    assert repr(chain) == "Chain(C <- multiply <- A[2] <- Z[2] <- A[1] <- Z[1] <- X)"
    by_symbol = {link.symbol: link.parameters for link in chain.links}
    assert by_symbol["Z[1]"] == by_symbol["Z[2]"] == {"W[1]": "w", "b[1]": "b"}
    assert by_symbol["multiply"] == {"gain": "gain"}
    assert str(chain).splitlines()[0].split() == ["gain", "W[1]", "W[1]"]
    bare = nn.Sequential(nn.Linear(2, 2, bias=False, rng=0), nn.Tanh())
    assert [link.parameters for link in nn.chain(bare).links if link.symbol == "Z[1]"] == [{"W[1]": "0.weight"}]
    assert str(nn.chain(bare)).splitlines()[1:] == ["              /", "C <- A[1] <- Z[1] <- X"]


class Normed(nn.Module):
    """A weight made of two parameters, of a long name."""

    def __init__(self) -> None:
        self.long_direction_of_it, self.length = nn.Parameter(np.eye(2)), nn.Parameter(np.ones((2, 1)))

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return mg.tanh(x @ (self.length * self.long_direction_of_it).T) @ (self.length * self.long_direction_of_it).T


def test_a_weight_made_of_several_is_named_by_them_all() -> None:
    """And arrows grow where names would run into each other."""
    assert str(nn.chain(Normed(), np.ones((1, 2)))).splitlines() == [
        r"       long_direction_of_it long_direction_of_it",
        r"      /                    /",
        r"C <- Z[2] <- A[1] <------ Z[1] <- X",
        r"      \                    \ ".rstrip(),
        r"       length               length",
    ]


def test_networks_of_values_show_their_layers() -> None:
    model = nn.scalar.MLP(2, [3, 1], activation="sigmoid", output="sigmoid", rng=0)
    assert line(model) == "C <- A[2] <- Z[2] <- A[1] <- Z[1] <- X"
    assert model.calls() == []


class Watched(nn.Module):
    """Counts its runs, and draws from Python's random numbers no more than from its own."""

    def __init__(self) -> None:
        self.drop, self.last, self.runs = nn.Dropout(0.5, rng=0), nn.Linear(2, 1, rng=0), []

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        self.runs.append(x.shape)
        return self.last(self.drop(x))


def test_the_model_is_left_as_it_was() -> None:
    """No call is remembered, no random number drawn, no gradient touched; no_grad() around it changes nothing."""
    model = Watched()
    state = random.getstate()
    X = mg.Tensor(np.ones((2, 2)))
    twin = Watched()(X).tolist()
    with mg.no_grad():
        assert line(model) == "C <- Z[1] <- Dropout <- X"
    assert model(X).tolist() == twin
    assert len(model.runs) == len(model.calls()) == 1
    assert all(p.grad is None for p in model.parameters())
    assert not X.requires_grad
    assert random.getstate() == state
    single = nn.MLP(2, [1], dtype=np.float32, rng=0)
    assert line(single, [[1, 2]]) == line(single) == "C <- Z[1] <- X"


class Residual(nn.Module):
    def __init__(self) -> None:
        self.inner = nn.Linear(3, 3, rng=0)

    def forward(self, x: mg.Tensor) -> mg.Tensor:
        return x + self.inner(x)


class Constant(nn.Module):
    def __init__(self) -> None:
        self.value = nn.Parameter([1.0])

    def forward(self, x: mg.Tensor) -> object:
        return self.value * 2.0


class Several(nn.Linear):
    def forward(self, input: mg.Tensor) -> object:
        return super().forward(input), input


@pytest.mark.parametrize(
    ("model", "X", "error", "message"),
    [
        (Residual(), None, ValueError, r"add made at test_chains.py:\d+ joins branches which inner.weight, inner.bias"),
        (Constant(), [[1.0]], ValueError, "the output does not depend on X"),
        (Constant(), None, ValueError, "does not say how many inputs it takes: give X"),
        (Several(2, 1, rng=0), None, TypeError, r"the model gave \(Tensor.*expected a Tensor"),
        (nn.MLP(2, [1], rng=0), ["a"], TypeError, "X must be an array of real numbers"),
        (mg.Tensor([1.0]), None, TypeError, "chain: expected a Module, got Tensor"),
        (nn.MLP, None, TypeError, "chain: expected a Module"),
        (nn.scalar.Module(), None, TypeError, "to_array: expected an nn.scalar.MLP"),
    ],
)
def test_what_is_refused(model: object, X: object, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=rf"{message}.*, at test_chains\.py:\d+"):
        nn.chain(model, X)


def test_an_error_on_a_made_up_input_says_so() -> None:
    flat = nn.Sequential(nn.Flatten(), nn.Linear(4, 2, rng=0), nn.Linear(3, 1, rng=0))
    with pytest.raises(ValueError, match="the weight takes 3") as caught:
        nn.chain(flat)
    assert caught.value.__notes__ == ["chain ran the model on zeros of shape (2, 4); give X to run it on"]


def test_a_is_the_last_of_what_is_computed_from_z_alone() -> None:
    """Softplus(2) is three nodes and a sigmoid by hand four; x sigmoid(x) joins two ways: each is one A."""

    class Hand(nn.Module):
        def __init__(self) -> None:
            self.first, self.second = nn.Linear(2, 3, rng=0), nn.Linear(3, 1, rng=0)

        def forward(self, x: mg.Tensor) -> mg.Tensor:
            z = self.first(x)
            return 1 / (1 + mg.exp(-self.second(z * mg.sigmoid(z))))

    two_layers = "C <- A[2] <- Z[2] <- A[1] <- Z[1] <- X"
    assert line(Hand()) == two_layers
    assert line(nn.MLP(2, [3, 1], nn.Softplus(2.0), "sigmoid", rng=0)) == two_layers
    assert line(nn.Sequential(nn.Linear(2, 3), nn.Tanh(), nn.Sigmoid(), nn.Linear(3, 1), nn.Softmax())) == two_layers
    links = nn.chain(Hand(), np.ones((5, 2))).links
    assert [(link.operation, link.shape) for link in links[1:5]] == [
        ("divide", (5, 1)), ("linear", (5, 1)), ("multiply", (5, 3)), ("linear", (5, 3))
    ]  # fmt: skip
    dropout = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Dropout(0.5, rng=0), nn.Linear(3, 1))
    assert line(dropout) == "C <- Z[2] <- Dropout <- A[1] <- Z[1] <- X"
