"""The chain rule written out: the letters of the user, every path, and a last line that is proved."""

from __future__ import annotations

from typing import Any

import pytest
import sympy

import microgrid as mg


def neuron(**words: Any) -> tuple[Any, ...]:
    """The notes' neuron: C <- A <- Z <- W, with X, b and Y."""
    W, X, b, Y = mg.symbols("W X b Y", **words)
    Z = W * X + b
    A = mg.sigmoid(Z)
    C = -(Y * mg.log(A) + (1 - Y) * mg.log(1 - A))
    Z.name, A.name, C.name = "Z", "A", "C"
    return W, X, b, Y, Z, A, C


def test_the_notes_derivation() -> None:
    """Line by line, ending in (A - Y) X."""
    W, _, b, Y, Z, _, C = neuron()
    derivation = mg.derive(C, W)
    assert str(derivation).splitlines() == [
        "dC/dW = dC/dA * dA/dZ * dZ/dW",
        "  negative, add, multiply, log, subtract: dC/dA = (1 - Y)/(1 - A) - Y/A",
        "  sigmoid: dA/dZ = A*(1 - A), so dC/dZ = A - Y",
        "  add, multiply: dZ/dW = X, so dC/dW = X*(A - Y)",
        "  = X*(A - Y)",
    ]
    assert derivation.proof
    assert mg.derive(C, b).result == mg.derive(C, Z).result == sympy.Symbol("A", real=True) - Y.data
    assert [link.rules for link in derivation.links][1] == ("sigmoid",)
    assert W.grad == 0.0  # nothing is stored


def test_latex() -> None:
    W, *_, C = neuron()
    text = mg.derive(C, W).latex()
    assert text.startswith(
        r"\begin{aligned}\frac{d C}{d W} &= \frac{d C}{d A} \, \frac{d A}{d Z} \, \frac{d Z}{d W} \\"
    )
    assert r"\text{sigmoid: }\frac{d A}{d Z} = A \left(1 - A\right),\ \text{so } \frac{d C}{d Z} = A - Y" in text
    assert text.endswith(r"&= X \left(A - Y\right)\end{aligned}")
    assert mg.derive(C, W)._repr_latex_() == f"$\\displaystyle {text}$"


def test_a_graph_of_floats() -> None:
    """Names are enough: the numbers play no part."""
    W, X, b, Y = (mg.Value(v, name=n) for v, n in ((0.3, "W"), (2.0, "X"), (0.1, "b"), (1.0, "Y")))
    Z = W * X + b
    A = mg.sigmoid(Z)
    C = -(Y * mg.log(A) + (1 - Y) * mg.log(1 - A))
    Z.name, A.name = "Z", "A"
    derivation = mg.derive(C, W)
    assert str(derivation.result) == "X*(A - Y)"
    C.backward()
    at = dict(zip(sympy.symbols("A Y X", real=True), (A.data, 1.0, 2.0), strict=True))
    value = derivation.result.subs(at)
    assert abs(float(value) - W.grad) < 1e-15


def test_paths_that_part() -> None:
    """The sum over all of them, with partial derivatives; here C = a c + c/x, a = x^2, c = e^a."""
    x = mg.symbols("x")
    a = x * x
    c = mg.exp(a)
    C = a * c + c / x
    a.name, c.name = "a", "c"
    derivation = mg.derive(C, x)
    lines = str(derivation).splitlines()
    assert lines[0] == "dC/dx = ∂C/∂x + dC/da * ∂a/∂x"
    assert lines[1] == "  dC/da = ∂C/∂a + dC/dc * ∂c/∂a"
    assert derivation.proof
    a_, c_ = sympy.symbols("a c", real=True)
    whole = derivation.result.subs({c_: sympy.exp(a_)}).subs({a_: x.data**2})
    assert mg.prove(whole, sympy.diff(C.data, x.data))
    assert r"\frac{\partial C}{\partial x}" in derivation.latex()


def test_nodes_without_names() -> None:
    """Each gets a letter, and the text says what it stands for."""
    x = mg.Value(2.0)
    f = mg.tanh(x) * x + x**2
    derivation = mg.derive(f, x)
    assert str(derivation).splitlines()[1] == "  where v1 = tanh(x), v2 = v1*x, v3 = x**2"
    assert r"\text{where }" in derivation.latex()
    whole = derivation.result
    for _ in range(3):
        whole = whole.subs(derivation.meanings)
    s = sympy.Symbol("x", real=True)
    assert mg.prove(whole, sympy.diff(sympy.tanh(s) * s + s**2, s))


def test_two_layers() -> None:
    """Through w2 to the first layer: (A2 - Y) w2 A1 (1 - A1) X."""
    w1, w2, X, Y = mg.symbols("w1 w2 X Y")
    Z1 = w1 * X
    A1 = mg.sigmoid(Z1)
    Z2 = w2 * A1
    A2 = mg.sigmoid(Z2)
    C = -(Y * mg.log(A2) + (1 - Y) * mg.log(1 - A2))
    for name, node in {"Z1": Z1, "A1": A1, "Z2": Z2, "A2": A2, "C": C}.items():
        node.name = name
    derivation = mg.derive(C, w1)
    assert str(derivation).startswith("dC/dw1 = dC/dA2 * dA2/dZ2 * dZ2/dA1 * dA1/dZ1 * dZ1/dw1\n")
    a1, a2 = sympy.symbols("A1 A2", real=True)
    expected = (a2 - Y.data) * w2.data * a1 * (1 - a1) * X.data
    assert sympy.expand(derivation.result - expected) == 0
    assert derivation.proof


def test_the_fused_loss() -> None:
    """Its one rule gives sigmoid(Z) - Y."""
    Z, Y = mg.symbols("Z Y")
    derivation = mg.derive(mg.binary_cross_entropy_with_logits(Z, Y), Z)
    assert mg.prove(derivation.result, mg.sigmoid(Z) - Y)
    assert derivation.links[0].rules == ("binary_cross_entropy_with_logits",)


def test_what_cannot_be_proved_in_time_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The form shown is then the product as it stands, and the verdict stands beside it."""
    from microgrid.proving import background

    def late(*args: Any, **words: Any) -> Any:
        raise background.OutOfTimeError

    W, *_, C = neuron()
    monkeypatch.setattr(background, "call", late)
    derivation = mg.derive(C, W, timeout=1)
    assert not derivation.proof
    assert str(derivation).endswith("(undecided: no decision within 1 s)")
    assert r"\text{(undecided)}" in derivation.latex()


def test_one_deadline_for_all_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each search gets a part of what is left, so that all of them together keep the limit."""
    from microgrid.proving import background

    given: list[float] = []

    def late(*args: Any, timeout: float) -> Any:
        given.append(timeout)
        raise background.OutOfTimeError

    clock = iter(range(1000))
    monkeypatch.setattr(background, "call", late)
    monkeypatch.setattr("microgrid.proving.chain_rule.time.monotonic", lambda: float(next(clock)))  # a second a look
    W, *_, C = neuron()
    mg.derive(C, W, timeout=10)
    assert len(given) == 4  # three short forms and the proof
    assert given[:-1] == sorted(given[:-1], reverse=True)
    assert all(seconds <= 5 for seconds in given[:-1])
    assert given[-1] < 10


def test_functions_are_opaque_first() -> None:
    """A product of cosines of cosines needs no trigonometry: five links are derived at once, and proved."""
    v = mg.Value(0.5, name="v")
    s = v
    for _ in range(6):
        s = mg.sin(s)
    derivation = mg.derive(s, v)
    assert derivation.proof
    assert derivation.result == sympy.prod([sympy.cos(u) for u in (sympy.Symbol("v", real=True), *derivation.meanings)])


@pytest.mark.slow
def test_many_letters_are_refused() -> None:
    """Names on a few nodes make it readable; and then the nodes between cost nothing each."""
    x = mg.Value(0.5, name="x")
    z = x
    for _ in range(3000):
        z = z + x
    with pytest.raises(ValueError, match=r"derive: 2999 letters are .* at most 100: give names .*test_chain"):
        mg.derive(z, x)
    z.name = "z"
    assert mg.derive(z * z, x).result == 6002 * sympy.Symbol("z", real=True)


def test_nodes_of_one_number_are_not_one_node() -> None:
    """A letter whose number is that of the loss, or of the leaf, is a letter all the same."""
    x = mg.Value(2.0, name="x")
    a = x * 1
    b = a * 1
    a.name, b.name = "a", "b"
    C = b * 1
    assert str(mg.derive(C, x)).startswith("dC/dx = dC/db * db/da * da/dx\n")


def test_letters_keep_what_is_known_of_their_sign() -> None:
    """relu of a positive node is that node, whether or not it has a name; as in e^x, which is positive itself."""
    p, x = mg.symbols("p", positive=True), mg.symbols("x")
    for name in ("N", None):
        N = p * 2
        N.name = name
        assert mg.derive(mg.relu(N) * p, p).proof
        E = mg.exp(x)
        E.name = name
        assert mg.derive(abs(E), x).proof
    N = mg.Value(2.0, name="p") * 2
    N.name, p = "N", N.inputs[0]
    with pytest.raises(TypeError, match=r"relu: .* say more of N"):
        mg.derive(mg.relu(N), p)


def test_errors_are_the_users() -> None:
    W, _, _, _, Z, A, C = neuron()
    with pytest.raises(ValueError, match=r"derive: .*'C'.* does not depend on Value.*, at test_chain_rule\.py"):
        mg.derive(C, mg.Value(1.0))
    with pytest.raises(ValueError, match="does not depend on"):
        mg.derive(C, C)
    with pytest.raises(TypeError, match="derive: loss: expected a Value, got int"):
        mg.derive(3, W)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="derive: wrt: expected a Value, got str"):
        mg.derive(C, "W")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="derive: loss: expected a Value, got Tensor"):
        mg.derive(mg.Tensor([1.0], requires_grad=True).sum(), W)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="relu: has no meaning for a symbol"):
        mg.derive(mg.relu(Z), W)
    with pytest.raises(ValueError, match="derive: timeout: expected seconds > 0, got 0"):
        mg.derive(C, W, timeout=0)
    A.name = "Z"
    with pytest.raises(ValueError, match="two nodes are called 'Z'"):
        mg.derive(C, W)
