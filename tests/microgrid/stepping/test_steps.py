"""Steps: the real backward pass, one operation at a time."""

import linecache
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import microgrid as mg
import nn
from microgrid import graph
from microgrid.stepping.steps import Names, written
from tests.microgrid.checking import numbers, scalar_inputs, varied, weights
from tests.microgrid.driving import environment
from tests.microgrid.table import ROWS, SCALAR_ROWS

HERE = Path(__file__).name


def leaf(*numbers, **keywords):
    return mg.Tensor(numbers or (0.5, 1.5), requires_grad=True, **keywords)


def net():
    w, x, b = mg.Value(2.0, name="w"), mg.Value(-3.0, name="x"), mg.Value(0.5, name="b")
    return (w, x, b), mg.tanh(w * x + b) * w + mg.relu(b) ** 2


def arrays():
    x = mg.Tensor(np.linspace(-1, 1, 6).reshape(2, 3), requires_grad=True)
    w = mg.Tensor(np.ones((4, 3)) / 3, requires_grad=True)
    b = mg.Tensor(np.zeros(4), requires_grad=True)
    z = mg.linear(x, w, b).sigmoid()
    return (x, w, b), (z * z + mg.concatenate([z[:, :2], z[:, 2:]], axis=1)).mean() + x[[0, 0]].max() + w.logsumexp()


def mixed():
    v, t = mg.Value(2.0), leaf()
    return (v, t), (mg.stack([v, v * v]) * t).prod() + mg.dot([v, v], [v, 3.0])


def bits(gradient):
    return np.asarray(gradient).tobytes()


@pytest.mark.parametrize("build", [net, arrays, mixed])
def test_steps_are_backward(build):
    """steps and backward are one walk: all gradients are equal to the bit, also accumulated ones."""
    leaves, root = build()
    twins, twin = build()
    for _ in range(2):
        root.backward()
        assert len(list(mg.steps(twin))) == sum(node.rule is not None for node in mg.topological_order(twin))
        for node, other in zip(mg.topological_order(root), mg.topological_order(twin), strict=True):
            assert bits(node.grad) == bits(other.grad)
    assert all(x._grad is not None for x in (*leaves, *twins))


@pytest.mark.parametrize("build", [net, arrays, mixed])
def test_contributions_add_up(build):
    """after == before + value, exactly; an input's last `after` and a node's upstream are their gradients."""
    leaves, root = build()
    last, steps = {}, list(mg.steps(root))
    for step in steps:
        assert bits(step.upstream) == bits(step.node.grad)
        for c in step.contributions:
            assert bits(c.after) == bits(c.value if c.before is None else c.before + c.value)
            assert c.before is None if c.input not in last else bits(c.before) == bits(last[c.input])
            last[c.input] = c.after
    for node, after in last.items():
        assert bits(after) == bits(node.grad)
    assert set(leaves) <= set(last)


def test_what_a_step_tells():
    """index, total, node, name, op, rule, source, contributions with their slots, in the order of the walk."""
    x, y = mg.Value(3.0, name="x"), mg.Value(4.0, name="y")
    h = x * y
    h.name = "h"
    z = h - x
    first, second = mg.steps(z)
    assert (first.index, first.total, first.op, first.name, first.upstream) == (0, 2, "subtract", None, 1.0)
    assert (second.index, second.total, second.op, second.name, second.upstream) == (1, 2, "multiply", "h", 1.0)
    assert first.node is z
    assert second.rule is mg.rules.multiply
    assert second.source.line == h.site.line
    assert [(c.input, c.slot, c.value, c.before, c.after) for c in first.contributions] == [
        (h, "x", 1.0, None, 1.0), (x, "y", -1.0, None, -1.0),
    ]  # fmt: skip
    assert [(c.input, c.slot, c.value, c.before, c.after) for c in second.contributions] == [
        (x, "x", 4.0, -1.0, 3.0), (y, "y", 3.0, None, 3.0),
    ]  # fmt: skip
    assert "2/2" in str(second)
    assert "h = x * y  [multiply]" in str(second)
    assert f"{HERE}:{h.site.line}" in str(second)


def test_slots_of_a_variadic_rule():
    """The inputs of dot and stack are numbered; a node given twice has two contributions."""
    x, y = mg.Value(3.0), mg.Value(4.0)
    (step,) = mg.steps(mg.dot([x, y], [x, 2.0]))
    assert [(c.input, c.slot, c.value) for c in step.contributions] == [
        (x, "xs[0]", 3.0),
        (y, "xs[1]", 2.0),
        (x, "xs[2]", 3.0),
    ]
    assert x.grad == 6.0


def test_a_pass_that_is_stopped_stores_nothing():
    """A stepped pass that is not run to its end leaves every gradient as it was."""
    (w, x, _), root = net()
    root.backward()
    before = (w.grad, x.grad)
    it = mg.steps(root)
    next(it)
    next(it)
    it.close()
    assert (w.grad, x.grad) == before


def test_nothing_is_held_between_steps():
    """Between two steps no mode, no errstate and no lock is held: other passes run and record meanwhile."""
    _, root = net()
    errors = np.geterr()
    it = mg.steps(root)
    for _ in it:
        assert np.geterr() == errors
        assert mg.is_grad_enabled()
        x = mg.Value(2.0)
        (x * x).backward()
        assert x.grad == 4.0
    (_, root) = arrays()
    for _ in mg.steps(root):
        with pytest.raises(FloatingPointError), np.errstate(divide="raise"):
            np.ones(1) / np.zeros(1)


def test_a_gradient_given_and_bad_roots():
    """steps takes a gradient as backward does, and refuses what backward refuses, at the call."""
    x = leaf()
    list(mg.steps(x * 2, [1.0, 10.0]))
    assert x.grad.tolist() == [2.0, 20.0]
    for call in (
        lambda: mg.steps(x * 2),
        lambda: mg.steps(x.detach()),
        lambda: mg.steps(3.0),
        lambda: mg.steps(x * 2, [1.0]),
    ):
        with pytest.raises((TypeError, ValueError)) as error:
            call()
        assert HERE in str(error.value)


def test_steps_refuse_stale_data():
    """A stepped pass is as careful with stale data as backward()."""
    x = leaf()
    y = (x * x).sum()
    x.data[0] = 9.0
    with pytest.raises(mg.StaleError):
        list(mg.steps(y))
    assert x.grad is None


def test_hooks_act_in_steps():
    """A hook's replacement is what the step shows as upstream and hands on."""
    x = mg.Value(3.0)
    y = x * 2
    y.register_hook(lambda g: g * 10)
    steps = list(mg.steps(y * 1))
    assert steps[1].upstream == 10.0
    assert x.grad == 20.0


@given(st.lists(st.sampled_from(["add", "multiply", "tanh", "sin", "divide", "power"]), min_size=1, max_size=8),
       st.lists(st.floats(-3, 3), min_size=2, max_size=2))  # fmt: skip
@settings(max_examples=40)
def test_steps_of_random_chains_equal_backward(names, numbers):
    """Whatever the operations and numbers, nan and inf included, stepped and plain gradients are equal to the bit."""

    def build():
        a, b = mg.Value(numbers[0]), mg.Value(numbers[1])
        z = a
        for name in names:
            function = getattr(mg, name)
            z = function(z) if name in ("tanh", "sin") else function(z, b)
        return a, b, z

    a, b, z = build()
    c, d, y = build()
    if z.rule is None:
        return
    z.backward()
    list(mg.steps(y))
    for left, right in ((a, c), (b, d), (z, y)):
        assert bits(left.grad) == bits(right.grad) or (np.isnan(left.grad) and np.isnan(right.grad))


def test_a_deep_chain():
    """Stepping is iterative: 20,000 operations."""
    x = mg.Value(1.0)
    y = x
    for _ in range(20_000):
        y = y + 0.5
    assert sum(1 for _ in mg.steps(y)) == 20_000
    assert x.grad == 1.0


# ------------------------------------------------------------------------------------------------ the table of rules

INSIDE = {"divide": 1, "log": 1, "log1p": 1, "sqrt": 1}  # rules where g stands inside the bracket, as g / y


@pytest.mark.parametrize("row", SCALAR_ROWS, ids=repr)
def test_value_is_upstream_times_local(row):
    """Of scalar rules value == upstream * local exactly; to 2 ulp where g stands inside. after == before + value."""
    for seed in range(3):
        case, xs = scalar_inputs(row, seed)
        nodes = [mg.Value(float(x)) if i in varied(case) else bool(x) for i, x in enumerate(xs)]
        z = row.rule(*nodes, **case.parameters)
        for step in mg.steps(z, -1.7):
            for c in step.contributions:
                product = step.upstream * c.local
                ulps = 2 if row.rule.__name__ in INSIDE else 0
                assert abs(c.value - product) <= ulps * np.spacing(abs(product))
                assert c.after == c.value if c.before is None else c.before + c.value
                assert c.formula == written(row.rule, c.position)


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_formulas_are_for_people(row):
    """A derivative in words has none of the calls that only see to shapes."""
    rule = row.rule
    for position in range(1 if rule.variadic else len(rule.inputs)):
        if rule.wrt[position]:
            for vector in (False, True):
                text = written(rule, position, vector)
                assert text
                for machinery in ("kept(", "axis", "xs", "shape=", "rows(", "inverse(", "ties(", "count(", "[g", " d "):
                    assert machinery not in text


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_what_broadcasting_sums_over(row):
    """Summing the raw share over `reduced` gives the value's shape (spread where it is smaller); formula says so."""
    for case in row.family.fixed[:6]:
        xs = numbers(row, case)
        nodes = [mg.Tensor(x, requires_grad=True) if i in varied(case) else x for i, x in enumerate(xs)]
        z = row.rule(*nodes, **case.parameters)
        if z.rule is None:
            continue
        for step in mg.steps(z, weights(z.shape, 0, z.dtype)):
            for c in step.contributions:
                raw = np.asarray(step.applied.share(c.position, step.upstream))
                kept = raw.sum(axis=c.reduced)
                kept = kept.reshape(c.value.shape) if kept.size == c.value.size else kept
                assert np.allclose(np.broadcast_to(kept, c.value.shape), c.value)
                assert ("summed over" in c.formula) == bool(c.reduced)
                assert c.local is None
                assert c.value.shape == c.input.shape


# ------------------------------------------------------------------------------------------------------------- sources


def run(text, file="<cell>", python=()):
    """Run a cell as a notebook does, its source in linecache; what it leaves."""
    linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    names = {"mg": mg, "x": mg.Value(2.0, name="x"), "y": mg.Value(3.0, name="y")}
    exec(compile(text, file, "exec"), names)
    return names


@pytest.mark.parametrize(
    ("text", "expressions"),
    [
        ("z = (x + y) * mg.tanh(x - y)", ["(x + y) * mg.tanh(x - y)", "mg.tanh(x - y)", "x - y", "x + y"]),
        ("z = (x +\n     y) * (\n    x\n    - y)", ["(x + y) * (x - y)", "x - y", "x + y"]),
        ("z = sum([w * x for w in [y]], 0 * y)", ["sum([w * x for w in [y]], 0 * y)", "0 * y", "w * x"]),
        ("f = lambda a: a * y\nz = f(x) + f(y)", ["f(x) + f(y)", "a * y", "a * y"]),
        ("s = 'é€𝄞'; z = x * y  # ü", ["x * y"]),
        ("naïve = x * 1; z = naïve * y", ["naïve * y", "x * 1"]),
        ("z = x * y + \\\n  x", ["x * y + x", "x * y"]),
        ("z = (x  # the first\n  * y)", ["x * y"]),
        ("z = x\nz += y", ["z += y"]),
        ("z = -x ** 2", ["-x ** 2", "x ** 2"]),
        ("z = {1: [x * y]}[1][0]", ["x * y"]),
    ],
)  # fmt: skip
def test_columns(text, expressions):
    """The sub-expression that made each node: nested, continued, in comprehensions; columns in UTF-8 bytes."""
    names = run(text)
    steps = list(mg.steps(names["z"]))
    assert [step.source.expression for step in steps] == expressions
    for step in steps:
        site = step.source
        lines = text.encode().split(b"\n")
        if site.line == site.end_line:
            assert lines[site.line - 1][site.column : site.end_column].decode() == site.expression
        assert str(site) == f"<cell>:{site.line}"
        assert site.text == text.split("\n")[site.line - 1].strip()
        assert site.expression in str(step)


def test_without_columns(tmp_path):
    """python -X no_debug_ranges keeps no columns: the whole line is told."""
    script = tmp_path / "train.py"
    script.write_text(
        "import microgrid as mg\nx = mg.Value(2.0)\nz = x * x + x\n"
        "for step in mg.steps(z): print(step.source.expression, step.source.column, step.source.line)\n"
    )
    command = [sys.executable, "-X", "no_debug_ranges", str(script)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True)
    assert done.stdout == "z = x * x + x None 3\n" * 2


def test_no_source():
    """Where the source is not to be had, a step says less, and nothing fails."""
    names = {"mg": mg, "x": mg.Value(2.0, name="x")}
    exec(compile("z = x * x", "<gone>", "exec"), names)
    (step,) = mg.steps(names["z"])
    assert step.source.expression == ""
    assert str(step) == "1/1  %1  [multiply]  <gone>:1  upstream 1"
    with mg.record_sites(False):
        z = names["x"] * 2
    (step,) = mg.steps(z)
    assert step.source is None
    assert str(step) == "1/1  %1  [multiply]  upstream 1"


def test_unreached_nodes_are_not_counted():
    """total counts the steps there are: what only a rule without a derivative in it uses has none."""
    x, c = mg.Value(2.0), mg.Value(1.0)
    z = mg.rules.where(c * 2, x * 3, x)
    steps = list(mg.steps(z))
    assert [(step.index, step.total, step.op) for step in steps] == [(0, 2, "where"), (1, 2, "multiply")]


def test_hooks_of_leaves_run():
    """The walk goes to its end, leaves' hooks included; closed before it, nothing is stored."""
    x = mg.Value(2.0)
    x.register_hook(lambda g: g * 100)
    list(mg.steps(x * 3))
    assert x.grad == 300.0


def test_modules():
    """params=model: the parameters' paths and the module in whose call a node was made, in steps and tapes."""
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.Linear(3, 1, rng=1))
    loss = model(mg.Tensor(np.ones((4, 2)))).mean()
    told = [(step.op, step.module) for step in mg.steps(loss, params=model)]
    assert told == [("mean", ""), ("linear", "2"), ("sigmoid", "1"), ("linear", "0")]
    tape = mg.record(loss, params=model)
    assert [(step.op, step.module) for step in tape] == told
    assert {"0.weight", "0.bias", "2.weight", "2.bias"} <= set(tape.labels.values())
    assert [c.label for c in tape[1].contributions] == ["%6", "2.weight", "2.bias"]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(1, 12)), max_size=12))
def test_the_innermost_call_is_found(spans):
    """A node is of the last call begun that had not ended: nested, side by side, or across each other."""

    class Called:
        def __init__(self, *calls):
            self.calls = lambda: list(calls)

    class Model:
        def named_parameters(self):
            return ()

        def named_modules(self):
            return [(str(i), Called((begun, begun + length))) for i, (begun, length) in enumerate(spans)]

    names, node = Names([], Model()), mg.Value(0.0)
    for made in range(45):
        node._number = made
        around = [call for call in names._calls if call[0] <= made < call[1]]
        assert names.module(node) == (around[-1][2] if around else "")


# ---------------------------------------------------------------------------------------------------------------- cost


def calls(function):
    """How many Python functions a call calls."""
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(before)
    return count


@pytest.mark.parametrize("face", ["Value", "Tensor"])
def test_recording_costs_few_calls_a_step(face):
    """Recording 3,000 steps: a Value's under ten Python calls each, looking under 40; the plain pass is free."""

    def build():
        x, y = (mg.Value(n) if face == "Value" else mg.Tensor([n, n], requires_grad=True) for n in (0.5, -0.25))
        z = x
        for _ in range(1000):
            z = mg.tanh(z * y + x)
        return z if face == "Value" else z.sum()

    build().backward()
    plain = 3000 + calls(build().backward)
    root = build()
    tapes = []
    recorded = calls(lambda: tapes.append(mg.record(root)))
    assert len(tapes[0]) >= 3000
    assert recorded < 10 * plain
    assert calls(lambda: list(tapes[0])) < 40 * plain
    assert calls(lambda: list(tapes[0])) < 10  # once made, they are there


def test_a_plain_pass_knows_nothing_of_steps(monkeypatch):
    """backward() without a debugger never imports, calls or asks what steps are for."""
    monkeypatch.setattr(graph._passes, "breakpoints", False)  # those of other tests
    root = net()[1]
    seen = set()

    def profile(frame, event, argument):
        seen.add(frame.f_globals.get("__name__"))

    sys.setprofile(profile)
    try:
        root.backward()
    finally:
        sys.setprofile(None)
    assert not seen & {
        "microgrid.stepping.steps",
        "microgrid.stepping.tape",
        "microgrid.stepping.frames",
        "microgrid.stepping.debugging",
    }


def test_explaining_a_long_pass_costs_as_much_a_node_as_a_short_one():
    """Four times the leaves, four times the calls."""

    def cost(leaves):
        tape = mg.record(sum(v * v for v in [mg.Value(float(i)) for i in range(leaves)]))
        list(tape)
        return calls(lambda: mg.explain(tape))

    assert cost(400) < 5 * cost(100)
