"""Pictures as lines of text."""

import microgrid as mg
import nn
import viz

NEURON = """\
C <- a <- z <- %3 <- w

C = 1 - •    <- a      data  0.5000  grad  1.0000
a = sigmoid  <- z      data  0.5000  grad -1.0000
z = +        <- %3, b  data  0.0000  grad -0.2500
%3 = *       <- w, x   data -1.0000  grad -0.2500
b                      data  1.0000  grad -0.2500
w                      data -0.5000  grad -0.5000
x                      data  2.0000  grad  0.1250"""


def test_golden() -> None:
    with mg.record_sites(False):
        x, w, b = mg.Value(2.0), mg.Value(-0.5), mg.Value(1.0)
        z = w * x + b
        a = mg.sigmoid(z)
        C = 1 - a
    C.backward()
    assert viz.graph(C).text() == NEURON
    assert str(viz.graph(C)) == NEURON


def test_what_is_more_is_said_behind() -> None:
    t = mg.Tensor([[1.0, float("nan")]], requires_grad=True)
    lines = viz.graph(t * 2.0).text().splitlines()
    assert lines[2].endswith("(1, 2) float64  ! data 1 of 2 not finite")


def test_a_long_chain_is_broken_and_no_line_of_it_is_broad() -> None:
    names = {}
    x = mg.Value(0.0)
    for k in range(60):
        x = names[f"activation{k}"] = mg.tanh(x)
    head = viz.graph(x).text().partition("\n\n")[0].splitlines()
    assert len(head) > 5
    assert max(map(len, head)) <= 104
    assert all(line.startswith("    <- ") for line in head[1:])


def test_folding_is_said_in_the_last_line() -> None:
    model = nn.scalar.MLP(2, [8, 1], rng=0)
    text = viz.graph(model([1.0, 2.0]), params=model, max_nodes=5).text()
    assert "[× 8]" in text
    assert "nodes drawn as" in text.splitlines()[-1]


def test_equal_names_are_told_apart() -> None:
    """By their numbers, in every line and in the table of the page; other names stand alone."""
    h = mg.Value(1.0, name="x")
    for _ in range(2):
        h = mg.tanh(h)
        h.name = "a"
    text = viz.graph(h).text()
    assert text.splitlines()[0] == "a (%2) <- a (%1) <- x"
    assert [line.split("  ")[0] for line in text.splitlines()[2:5]] == ["a (%2) = tanh", "a (%1) = tanh", "x"]
    table = viz.graph(h).html().partition("<table>")[2]
    assert "<td>a (%2) = tanh</td><td>root</td><td>a (%1)</td>" in table
