"""Data that was written to never gives a silently wrong gradient, and training loops are never accused (decision 7)."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg

HERE = Path(__file__).name
refused = pytest.raises


def leaf(*numbers, **keywords):
    return mg.Tensor(numbers or (1.0, 2.0), requires_grad=True, **keywords)


def assert_names_both(error, *names):
    """torch's searched-for words, the nodes, and a line of this file for each of the two."""
    text = str(error.value)
    assert len(re.findall(rf"{HERE}:\d+", text)) >= 2, text
    assert all(name in text for name in names), text


# ------------------------------------------------------------------------------------ whole writes


def test_whole_write_to_a_value():
    """Decision 7: x.data = ... between use and backward is found; the message names the node and both lines."""
    x = mg.Value(3.0, name="speed")
    y = x * x
    x.data = 5.0
    with refused(mg.StaleError, match="modified by an inplace operation") as error:
        y.backward()
    assert_names_both(error, "speed", "multiply")
    assert f"{HERE}:{x.site.line}" in str(error.value)
    assert f"{HERE}:{y.site.line}" in str(error.value)
    assert x.grad == 0.0
    (x * x).backward()
    assert x.grad == 10.0


@pytest.mark.parametrize("write", [lambda x: setattr(x, "data", 9.0), lambda x: setattr(x, "data", x.data - 0.5)])
@pytest.mark.parametrize("place", ["leaf", "constant", "interior", "root", "deep leaf", "input of dot"])
def test_whole_writes_to_values_anywhere(write, place):
    """Decision 7: leaves, constants without gradient, interior nodes and the root itself, on the fast path's ground."""
    x, c = mg.Value(3.0), mg.Value(2.0).requires_grad_(False)
    h = x * c
    z = h * x + mg.dot([x, h], [c, 3.0]) * mg.exp(h)
    written = {"leaf": x, "constant": c, "interior": h, "root": z, "deep leaf": x, "input of dot": h}[place]
    write(written)
    with refused(mg.StaleError):
        z.backward()
    with refused(mg.StaleError):
        mg.grad(z, x)
    assert x.grad == 0.0


@pytest.mark.parametrize("place", ["leaf", "constant", "interior", "root"])
@pytest.mark.parametrize(
    "how", ["whole", "in place", "element", "slice", "view", "numpy", "memoryview", "out=", "private"]
)
def test_writes_to_tensors(place, how):
    """Decision 7: whole writes, element writes, views, .numpy(), buffers and out=, anywhere in the graph."""
    x, c = leaf(name="x"), mg.Tensor([3.0, 4.0])
    h = x * c
    z = (h * x).exp().sum()
    node = {"leaf": x, "constant": c, "interior": h, "root": z}[place]
    if how == "whole":
        node.data = np.full(node.shape, 7.0)
    elif how == "in place":
        node.data *= 2
    elif how == "element":
        node.data[(0,) * node.ndim] = 9.0
    elif how == "slice":
        node.data[...] = 9.0
    elif how == "view":
        node.data.reshape(-1)[:1][0] = 9.0
    elif how == "numpy":
        node.requires_grad = False
        node.numpy()[...] = 9.0
        node.requires_grad = place != "constant"
    elif how == "memoryview":
        np.asarray(memoryview(node.data))[...] = 9.0
    elif how == "out=":
        np.multiply(node.data, 2, out=node.data)
    else:
        node._data = node._data * 2
        node._renew()
    with refused(mg.StaleError) as error:
        z.backward()
    assert HERE in str(error.value)
    with refused(mg.StaleError):
        mg.grad(z, x)
    assert x.grad is None
    assert h.grad is None


def test_writes_through_a_view_kept_for_long():
    """A view taken before the use, and written to after it, is found; written to before it, it is no fault."""
    x = leaf()
    view = x.data[1:]
    view[0] = 5.0
    y = (x * x).sum()
    y.backward()
    assert x.grad.tolist() == [2.0, 10.0]
    view[0] = 6.0
    with refused(mg.StaleError):
        y.backward()
    assert x.grad.tolist() == [2.0, 10.0]


def test_two_uses_with_a_write_between():
    """Each use is held against the data that it saw: the young one is right, the old one refused."""
    x = leaf()
    handed = x.data
    old = (x * x).sum()
    handed[0] = 10.0
    young = (x * x).sum()
    young.backward()
    assert x.grad.tolist() == [20.0, 4.0]
    with refused(mg.StaleError):
        (old + young).backward()
    assert x.grad.tolist() == [20.0, 4.0]


def test_data_that_is_put_back_is_not_stale():
    """Element writes are found by content: after the old numbers are back the gradient is right and given."""
    x = leaf()
    y = (x * x).sum()
    x.data[0] = 100.0
    x.data[0] = 1.0
    y.backward()
    assert x.grad.tolist() == [2.0, 4.0]


def test_nan_signs_of_zero_and_dtypes_are_content():
    """Nan is equal to itself here; 0.0 that becomes -0.0 is a write."""
    x = leaf(float("nan"), 0.0)
    handed = x.data
    y = (x * x).sum()
    y.backward()
    handed[1] = -0.0
    with refused(mg.StaleError):
        y.backward()


def test_a_dataset_that_is_written_to():
    """Decision 7: X requires no gradient, yet its numbers are needed: X.data[0] = ... after the loss is found."""
    X, w = mg.Tensor(np.ones((3, 2))), leaf()
    for write in (
        lambda: X.data.__setitem__(0, 9.0),
        lambda: X.numpy().__setitem__(1, 9.0),
        lambda: setattr(X, "data", X.data),
    ):
        loss = (X @ w).sum()
        write()
        with refused(mg.StaleError):
            loss.backward()
        (X @ w).sum().backward()
    assert w.grad is not None


def test_second_order():
    """A recorded pass is as careful as the first: data written between the passes is found."""
    x = leaf()
    y = (x * x * x).sum()
    (first,) = mg.grad(y, x, create_graph=True)
    x.data[0] = 5.0
    with refused(mg.StaleError):
        mg.grad(first.sum(), x)
    with refused(mg.StaleError):
        mg.grad(y, x, create_graph=True)


# ------------------------------------------------------------------------------------ arrays that users hold


@pytest.mark.parametrize(
    ("name", "build", "expected"),
    [
        ("factor", lambda w, a: w * a, [3.0, 4.0, 5.0]),
        ("left factor", lambda w, a: a * w, [3.0, 4.0, 5.0]),
        ("exponent", lambda w, a: w**a, [3.0, 4.0, 5.0]),
        ("divisor", lambda w, a: w / a, [1 / 3, 1 / 4, 1 / 5]),
        ("matmul", lambda w, a: a @ w, [3.0, 4.0, 5.0]),
        ("linear", lambda w, a: mg.linear(a[None], w[None], np.zeros(1)), [3.0, 4.0, 5.0]),
        ("maximum", lambda w, a: mg.maximum(w, a - 4), [1.0, 1.0, 0.5]),
        ("einsum", lambda w, a: mg.einsum("i,i->", w, a), [3.0, 4.0, 5.0]),
        ("view", lambda w, a: w * a[::-1][::-1], [3.0, 4.0, 5.0]),
        ("concatenate", lambda w, a: mg.concatenate([w, a]) * np.ones(6), [1.0, 1.0, 1.0]),
        ("numpy function", lambda w, a: np.multiply(a, w), [3.0, 4.0, 5.0]),
        ("Tensor's data", lambda w, a: w * mg.Tensor(a), [3.0, 4.0, 5.0]),
        ("bce", lambda w, a: mg.binary_cross_entropy_with_logits(0 * w, a / 10), [0.0, 0.0, 0.0]),
    ],
)  # fmt: skip
def test_arrays_handed_in(name, build, expected):
    """Decision 7: what a user does to his array after an operation changes no gradient."""
    w, a = leaf(1.0, 1.0, 1.0), np.array([3.0, 4.0, 5.0])
    y = build(w, a).sum()
    a[:] = -99.0
    y.backward()
    assert w.grad.tolist() == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "index", "build", "expected"),
    [
        ("integers", np.array([0, 0, 2]), lambda w, i: w[i], [2.0, 0.0, 1.0]),
        ("list", [0, 0, 2], lambda w, i: w[i], [2.0, 0.0, 1.0]),
        ("mask", np.array([True, False, True]), lambda w, i: w[i], [1.0, 0.0, 1.0]),
        ("in a tuple", np.array([0, 0, 2]), lambda w, i: w[None][0, i], [2.0, 0.0, 1.0]),
        ("list in a tuple", [0, 0, 2], lambda w, i: w[None][0, i], [2.0, 0.0, 1.0]),
        ("nested list", [[0, 0], [2, 2]], lambda w, i: w[i], [2.0, 0.0, 2.0]),
        ("take", np.array([0, 0, 2]), lambda w, i: mg.take_along_axis(w, i, 0), [2.0, 0.0, 1.0]),
        ("condition", np.array([True, False, True]), lambda w, i: mg.where(i, w, 0), [1.0, 0.0, 1.0]),
        ("sizes", [1, 2], lambda w, i: w.split(i)[1], [0.0, 1.0, 1.0]),
        ("shape", [3, 1], lambda w, i: w.reshape(i), [1.0, 1.0, 1.0]),
    ],
)  # fmt: skip
def test_indices_handed_in(name, index, build, expected):
    """Decision 7: index arrays, lists, masks and shapes are kept as they were at the operation."""
    w = leaf(1.0, 1.0, 1.0)
    y = build(w, index).sum()
    if isinstance(index, np.ndarray):
        index[:] = 1
    else:
        index[0] = index[1] = 1 if not isinstance(index[0], list) else [1, 1]
    y.backward()
    assert w.grad.tolist() == expected


def test_index_tensors_and_conditions():
    """A Tensor of indices or a condition that is written to later is copied or refused, never followed."""
    w = leaf(1.0, 1.0, 1.0)
    for places, build, expected in (
        (mg.Tensor([0, 0, 2]), lambda i: w[i], [2.0, 0.0, 1.0]),
        (mg.Tensor([0, 0, 2]), lambda i: mg.take_along_axis(w, i, 0), [2.0, 0.0, 1.0]),
        (mg.Tensor([True, False, True]), lambda i: mg.where(i, w, 0), [1.0, 0.0, 1.0]),
    ):
        y = build(places).sum()
        places.data[:] = 1
        try:
            (found,) = mg.grad(y, w)
        except mg.StaleError:
            continue
        assert found.tolist() == expected


def test_tensors_copy_what_they_are_made_of():
    """Tensor(array) copies; so do data =, grad = and the seed of a pass."""
    a = np.ones(2)
    t = mg.Tensor(a, requires_grad=True)
    a[:] = 9
    assert t.tolist() == [1.0, 1.0]
    t.data = a
    y = (t * t).sum()
    a[:] = 5
    y.backward()
    assert t.grad.tolist() == [18.0, 18.0]


def test_a_gradient_used_as_a_constant():
    """x.grad is the user's to write into, also after it entered an operation."""
    x = leaf()
    (x * x).sum().backward()
    y = (x * x.grad).sum()
    x.grad[:] = 1000.0
    assert mg.grad(y, x)[0].tolist() == [2.0, 4.0]


# ------------------------------------------------------------------------------------ views inside the engine


VIEWS = {
    "reshape": lambda p: p.reshape(2),
    "transpose": lambda p: p.T,
    "index": lambda p: p[:],
    "squeeze": lambda p: p[None].squeeze(),
    "broadcast_to": lambda p: mg.broadcast_to(p, (2,)),
    "view of a view": lambda p: p.reshape(2, 1).T[0],
    "flip": lambda p: p.flip(0),
    "clone": lambda p: p.clone(),
    "detach": lambda p: p.detach(),
    "astype": lambda p: p.astype(np.float64),
    "positive": lambda p: +p,
    "einsum": lambda p: mg.einsum("i->i", p),
    "expand": lambda p: mg.broadcast_to(p, (3, 2))[0],
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("recorded", [True, False])
@pytest.mark.parametrize("write", ["no_grad", "private", "handed out", "element"])
def test_views_of_a_parameter_that_is_stepped(name, recorded, write):
    """A view of a parameter, recorded or not, keeps its numbers or is refused when the parameter is written to."""
    p, x = leaf(), leaf(3.0, 4.0)
    with mg.set_grad_enabled(recorded):
        view = VIEWS[name](p)
    y = (x * view).sum()
    before = view.tolist()
    assert sorted(before) == [1.0, 2.0]
    if write == "no_grad":
        with mg.no_grad():
            p -= 100.0
    elif write == "private":
        p._data = p._data - 100.0
        p._renew()
    elif write == "handed out":
        p.data -= 100.0
    else:
        p.data[:] = -99.0
    for run in (
        lambda: mg.grad(y, x)[0],
        lambda: (y.backward(inputs=[x]), x.grad)[1],
        lambda: (y.backward(), x.grad / 2)[1],
    ):
        try:
            assert run().tolist() == before
        except mg.StaleError:
            continue


@pytest.mark.parametrize("name", VIEWS)
def test_views_of_handed_out_data(name):
    """A node made from data that the user holds is a copy: his later writes do not reach it unnoticed."""
    p = leaf()
    held = p.data
    view = VIEWS[name](p)
    with mg.no_grad():
        plain = VIEWS[name](p)
    held[:] = -5.0
    assert sorted(plain.tolist()) == [1.0, 2.0] or plain is p
    assert sorted(view.tolist()) == [1.0, 2.0] or view is p
    u = mg.Tensor([1.0, 2.0])
    shown = u.numpy()
    w = VIEWS[name](u)
    if w is not u:
        shown[:] = -5.0
        assert sorted(w.tolist()) == [1.0, 2.0]


def test_handing_out_does_not_cut_other_nodes_off():
    """Reading .data of a node changes neither its numbers nor those of its views, nor a gradient."""
    p = leaf()
    v = p.reshape(2, 1)
    y = (v * 2).sum() + (p * p).sum()
    assert p.data.tolist() == [1.0, 2.0]
    assert v.data.tolist() == [[1.0], [2.0]]
    y.backward()
    assert p.grad.tolist() == [4.0, 6.0]
    assert p.data is p.data


# ------------------------------------------------------------------------------------ nobody is accused wrongly


def test_micrograds_loop():
    """The loop of micrograd's notebook, p.data += -lr * p.grad, never raises and converges."""
    w, b = mg.Value(0.1), mg.Value(0.0)
    for _ in range(60):
        losses = [(w * x + b - (3 * x + 1)) ** 2 for x in (-1.0, 0.0, 1.0, 2.0)]
        loss = sum(losses) * (1.0 / len(losses))
        for p in (w, b):
            p.grad = 0.0
        loss.backward()
        for p in (w, b):
            p.data += -0.2 * p.grad
    assert w.data == pytest.approx(3.0, abs=1e-3)
    assert b.data == pytest.approx(1.0, abs=1e-3)


def step_data(p):
    p.data -= 0.1 * p.grad


def step_data_by_name(p):
    p.data = p.data - 0.1 * p.grad


def step_elements(p):
    p.data[...] = p.data - 0.1 * p.grad


def step_no_grad(p):
    with mg.no_grad():
        p -= 0.1 * p.grad


def step_no_grad_tensor(p):
    with mg.no_grad():
        p -= mg.Tensor(p.grad) * 0.1


def step_private(p):
    p._data = p._data - 0.1 * p._grad
    p._renew()


def step_in_a_loop_over_elements(p):
    for i in np.ndindex(p.shape):
        p.data[i] -= 0.1 * p.grad[i]


def step_by_a_view_kept(p):
    flat = p.data.reshape(-1)
    flat -= 0.1 * p.grad.reshape(-1)


STEPS = [step_data, step_data_by_name, step_elements, step_no_grad, step_no_grad_tensor, step_private,
         step_in_a_loop_over_elements, step_by_a_view_kept]  # fmt: skip


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("read", [False, True], ids=["unread", "data read meanwhile"])
def test_torch_style_loops(step, read):
    """No way to write a training step is accused, and all give the same numbers to the bit."""
    rng = np.random.default_rng(0)
    X, Y = mg.Tensor(rng.normal(size=(8, 3))), rng.normal(size=(8, 1))
    W, b = mg.Tensor(np.ones((1, 3)), requires_grad=True), mg.Tensor([0.5], requires_grad=True)
    plain_W, plain_b = np.ones((1, 3)), np.array([0.5])
    for _ in range(4):
        loss = ((X @ W.T + b - Y) ** 2).mean()
        if read:
            assert np.isfinite(W.data).all()
            X.numpy(), loss.data
        loss.backward()
        error = 2 * (X.detach().numpy() @ plain_W.T + plain_b - Y) / 8
        np.testing.assert_allclose(W.grad, error.T @ X.detach().numpy(), rtol=1e-12)
        plain_W, plain_b = plain_W - 0.1 * W.grad, plain_b - 0.1 * b.grad
        for p in (W, b):
            step(p)
            p.zero_grad()
        np.testing.assert_array_equal(W.detach().numpy(), plain_W)
        np.testing.assert_array_equal(b.detach().numpy(), plain_b)


def test_minibatches_of_one_buffer():
    """A buffer that is refilled between passes, not within one, is no fault: arrays are copied at use."""
    w, buffer = leaf(), np.empty(2)
    for i in range(3):
        buffer[:] = i
        (w * buffer).sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]
    shared = mg.Tensor(np.zeros(2))
    for i in range(3):
        shared.data[:] = i
        (w * shared).sum().backward()
    assert w.grad.tolist() == [6.0, 6.0]


def test_backward_twice_and_again_after_a_step():
    """Passes that precede the write are right; the old loss is refused after it; a new one is right."""
    x = leaf()
    loss = (x * x).sum()
    loss.backward()
    loss.backward()
    assert x.grad.tolist() == [4.0, 8.0]
    step_no_grad(x)
    with refused(mg.StaleError):
        loss.backward()
    x.zero_grad()
    (x * x).sum().backward()
    assert x.grad.tolist() == pytest.approx([1.2, 2.4])


def test_frozen_layers_that_are_written_to_between_passes():
    """A leaf without gradient, assigned anew before each use, is never stale."""
    mask, w = mg.Tensor([1.0, 1.0]), leaf()
    for i in range(3):
        mask.data = [float(i), 1.0]
        (mask * w).sum().backward()
    assert w.grad.tolist() == [3.0, 3.0]


@st.composite
def histories(draw):
    """Uses, writes and passes in any order."""
    return draw(st.lists(st.sampled_from(["use", "whole", "element", "step", "read", "back", "pass"]), max_size=12))


@given(histories())
@settings(max_examples=80)
def test_right_or_refused(history):
    """Decision 7 as a property: in any order of uses, writes and passes a gradient is right or refused, no other.

    It is refused only where the data at the use differs from the data now, or was assigned as a whole since.
    """
    x = leaf()
    graphs = []
    for i, what in enumerate(history):
        if what == "use":
            graphs.append([(x * x).sum(), x.detach().numpy().copy(), False])
        elif what == "whole":
            x.data = [float(i), 1.0]
        elif what == "element":
            x.data[0] = float(i)
        elif what == "back":
            x.data[:] = [1.0, 2.0]
        elif what == "step":
            with mg.no_grad():
                x -= 0.5
        elif what == "read":
            x.data.sum()
        if what in ("whole", "step"):
            for graph in graphs:
                graph[2] = True
        if what == "pass":
            for root, seen, whole in graphs:
                if whole or not np.array_equal(seen, x.detach().numpy()):
                    for run in (lambda: mg.grad(root, x), root.backward, lambda: list(mg.steps(root))):  # noqa: B023
                        with refused(mg.StaleError):
                            run()
                    assert x.grad is None
                else:
                    assert mg.grad(root, x)[0].tolist() == (2 * seen).tolist()
                    root.backward()
                    assert x.grad.tolist() == (2 * seen).tolist()
                    x.zero_grad()
