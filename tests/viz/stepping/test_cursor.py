"""The moves over a tape, each held against a reading of the tape itself."""

import pytest
from hypothesis import given, strategies as st

import microgrid as mg
import nn
from viz.stepping.cursor import Cursor, same_file
from viz.stepping.recording import recorded


def net() -> tuple[mg.Tape, dict[str, mg.Value]]:
    """z = w x + b, a = sigmoid(z), L = a a + w: w is reached in two steps, a twice in one."""
    names = {name: mg.Value(number, name=name) for name, number in {"w": 0.5, "x": 2.0, "b": -0.25}.items()}
    z = names["w"] * names["x"] + names["b"]
    a = mg.sigmoid(z)
    L = a * a + names["w"]
    z.name, a.name, L.name = "z", "a", "L"
    return mg.record(L), names


@pytest.fixture
def cursor() -> Cursor:
    return Cursor(net()[0])


def labels(cursor: Cursor) -> list[str]:
    return [step.label for step in cursor.tape]


@given(st.lists(st.integers(-7, 7).filter(bool), max_size=12))
def test_steps_go_where_the_sum_of_the_counts_says(counts):
    """... clamped at the ends, where one more is an error."""
    cursor = Cursor(net()[0])
    place = 0
    for count in counts:
        if place == (len(cursor.tape) if count > 0 else 0):
            with pytest.raises(ValueError, match="this is the"):
                cursor.steps(count)
            continue
        place = min(max(place + count, 0), len(cursor.tape))
        halt = cursor.steps(count)
        assert cursor.index == place
        assert halt.reason == {0: "start", len(cursor.tape): "end"}.get(place, "step")


def test_a_breakpoint_stops_going_on_and_going_back(cursor):
    point = cursor.add("a")
    where = labels(cursor).index("a")
    assert cursor.run().points == (point,)
    assert (cursor.index, point.hits) == (where, 1)
    assert cursor.run().reason == "end"
    assert cursor.run(-1).reason == "breakpoint"
    assert (cursor.index, point.hits) == (where, 2)
    assert cursor.run(-1).reason == "start"


def test_several_steps_are_cut_short_by_a_breakpoint(cursor):
    cursor.add("a")
    assert cursor.steps(99).reason == "breakpoint"
    assert cursor.step.label == "a"


def test_a_watch_stops_after_each_step_that_changes_the_gradient_and_tells_both_ways(cursor):
    """The oracle is the tape: `changes` says where and how."""
    point = cursor.watch("w")
    changes = {change.index: change for change in cursor.tape.changes("w")}
    assert len(changes) == 2
    for index, change in changes.items():
        halt = cursor.run()
        assert halt.reason == "watch"
        assert cursor.index == index + 1
        before = "none" if change.before is None else f"{change.before:.6g}"
        assert halt.notes == (f"watch 1: w.grad {before} -> {change.after:.6g}",)
    for index, change in reversed(changes.items()):
        if cursor.index < len(cursor.tape):
            cursor.index = index + 1
        halt = cursor.run(-1)
        assert cursor.index == index
        before = "none" if change.before is None else f"{change.before:.6g}"
        assert halt.notes == (f"watch 1: w.grad {change.after:.6g} -> {before} (undone)",)
    assert point.hits == 4


def test_two_shares_in_one_step_are_one_change(cursor):
    """a * a gives to a twice: from none to 2 a g at once."""
    cursor.watch("a")
    a = cursor.tape.step_of("a").applied.z
    assert cursor.run().notes == (f"watch 1: a.grad none -> {2 * a:.6g}",)


def test_conditions_see_the_step_and_the_rules_letters(cursor):
    product = next(step for step in cursor.tape if step.op == "multiply" and step.contributions[0].label == "w")
    cursor.add("op:multiply", "x == 0.5 and y == 2 and g == step.upstream and node is step.node and 'w' in grads")
    cursor.run()
    assert cursor.step is product


def test_a_condition_that_raises_stops_and_says_so(cursor):
    cursor.add("z", "nothing > 3")
    assert cursor.run().notes == (
        "breakpoint 1, z; its condition `nothing > 3` raised NameError: name 'nothing' is not defined",
    )


def test_ignored_hits_are_counted_down_and_hits_up(cursor):
    point = cursor.add("op:multiply")
    point.ignored = 1
    assert cursor.run().points == (point,)
    assert (point.hits, point.ignored, cursor.index) == (2, 0, list(point.steps)[1])


def test_a_temporary_breakpoint_stops_once(cursor):
    cursor.add("z", temporary=True)
    assert cursor.run().reason == "breakpoint"
    assert not cursor.points
    cursor.jump("1")
    assert cursor.run().reason == "end"


def test_numbers_are_not_given_twice(cursor):
    cursor.add("z")
    cursor.points.clear()
    assert cursor.add("z").number == 2


@pytest.mark.parametrize(
    ("spec", "found"),
    [
        ("z", ["z"]),
        ("op:multiply", ["multiply", "multiply"]),
        ("nonfinite", []),
    ],
)
def test_specs_name_steps(cursor, spec, found):
    steps = [cursor.tape[index] for index in cursor.find(spec)]
    assert [step.label if spec == "z" else step.op for step in steps] == found


def test_lines_name_the_steps_that_they_made(cursor):
    site = cursor.tape.step_of("z").source
    own = {index for index in range(len(cursor.tape)) if cursor.tape[index].source.line == site.line}
    assert set(cursor.find(f"line {site.line}")) == set(cursor.find(str(site.line))) == own
    assert set(cursor.find(f"test_cursor.py:{site.line}")) == set(cursor.find(f"{site.file}:{site.line}")) == own


def test_a_line_within_an_expression_names_its_step_where_no_other_begins_there():
    x = mg.Value(2.0, name="x")
    y = mg.sigmoid(
        x
    )  # fmt: skip
    y.name = "y"
    cursor = Cursor(mg.record(y))
    line = cursor.tape[0].source.line
    assert list(cursor.find(f"line {line + 1}")) == list(cursor.find(f"line {line + 2}")) == [0]


def test_nonfinite_finds_where_a_gradient_stops_being_finite():
    x = mg.Value(0.0, name="x")
    y = mg.sqrt(x) * 2
    cursor = Cursor(mg.record(y))
    cursor.add("nonfinite")
    cursor.run()
    assert cursor.step.op == "sqrt"


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("Z", "no node is called Z; there is"),
        ("", "which node?"),
        ("w", "w has no step of its own; `watch w` stops where its gradient changes"),
        ("op:sigmoi", "no step of this pass is of the operation sigmoi; there is add, multiply, sigmoid"),
        ("module:layers.0", "no step was made in a module layers.0"),
        ("line 1", r"no step of this pass was made at test_cursor.py:1; lines with steps: \d+, \d+, \d+"),
        ("line x", "expected a number of a line, got line x"),
        ("elsewhere.py:5", "no step of this pass was made at elsewhere.py:5$"),
        ("\x1b[31m", "no node is called ␛"),
    ],
)
def test_what_names_nothing_is_said_in_one_line(cursor, spec, told):
    with pytest.raises(ValueError, match=told.replace("[", r"\[") if "\x1b" in spec else told) as raised:
        cursor.add(spec)
    assert "\n" not in str(raised.value)
    assert not cursor.points


@pytest.mark.parametrize("condition", ["g >", "(", "x = 3", "a\0b"])
def test_a_condition_that_is_no_expression_sets_nothing(cursor, condition):
    with pytest.raises(ValueError, match="is no expression"):
        cursor.add("z", condition)
    assert not cursor.points


def test_places_count_from_one_or_from_the_end(cursor):
    total = len(cursor.tape)
    assert [cursor.place(number) for number in ("1", str(total), "-1")] == [0, total - 1, total - 1]
    for number in ("0", str(total + 1), str(-total - 1)):
        with pytest.raises(ValueError, match=f"there is no step {number}: the pass has steps 1 to {total}"):
            cursor.place(number)


def test_until_goes_forward_only(cursor):
    cursor.jump("z")
    with pytest.raises(ValueError, match="behind: `jump` goes there"):
        cursor.until("a")
    with pytest.raises(ValueError, match="is here"):
        cursor.until("z")
    with pytest.raises(ValueError, match="every gradient of this pass is finite"):
        cursor.until("nonfinite")


def model_pass() -> Cursor:
    model = nn.Sequential(nn.Linear(2, 3, rng=0), nn.Sigmoid(), nn.Linear(3, 1, rng=1))
    loss = mg.mean(model(mg.Tensor([[1.0, 2.0], [0.5, -1.0]])) ** 2)
    return Cursor(*recorded(loss, None, model, None)[:4])


def test_next_goes_over_calls_of_modules_and_back_again():
    """Each stop is where the module changes, in both directions; a node outside modules is one step."""
    cursor = model_pass()
    modules = [step.module for step in cursor.tape]
    begins = [i for i, module in enumerate(modules) if not module or i == 0 or modules[i - 1] != module]
    stops = [0]
    while cursor.over().reason == "step":
        stops.append(cursor.index)
    assert stops == begins
    back = []
    while cursor.index:
        cursor.over(-1)
        back.append(cursor.index)
    assert back == begins[::-1]


def test_out_leaves_the_call_around_and_without_one_goes_to_the_end():
    """Three steps in a.b, one in a, one outside: from a.b out of a."""
    x = mg.Value(1.0, name="x")
    tape = mg.record(mg.exp(mg.sin(mg.sin(mg.sin(x)))) + x)
    cursor = Cursor(tape, [("a", "a.b"), ("a", "a.b"), ("a",), (), ()])
    assert cursor.over().reason == "step"
    assert cursor.index == 2
    cursor.jump("1")
    assert cursor.out().reason == "step"
    assert cursor.index == 3
    assert cursor.out().reason == "end"


def test_two_calls_of_one_module_are_two():
    """A module that is called twice in a row: `next` goes over one call."""
    layer = nn.Linear(2, 2, rng=0)
    loss = mg.sum(layer(mg.relu(layer(mg.Tensor([[1.0, 2.0]])))))
    model = nn.Sequential(layer)
    cursor = Cursor(*recorded(loss, None, model, None)[:4])
    assert [step.op for step in cursor.tape] == ["sum", "linear", "relu", "linear"]
    assert cursor.blocks[1] != cursor.blocks[3]


def test_modules_are_found_with_all_that_is_below_them():
    cursor = model_pass()
    assert {cursor.tape[i].module for i in cursor.find("module:0")} == {"0"}
    with pytest.raises(ValueError, match="there is 0, 1, 2"):
        cursor.find("module:3")


def test_points_stay_over_passes_and_those_that_mean_nothing_there_say_so(cursor):
    cursor.add("a")
    cursor.add("op:exp") if "exp" in {s.op for s in cursor.tape} else cursor.add("z")
    x = mg.Value(1.0, name="x")
    a = mg.sin(x)
    a.name = "a"
    lost = cursor.load(mg.record(a + 1))
    assert lost == ["breakpoint 2: no node is called z; there is a, x"] or len(lost) == 1
    assert cursor.run().reason == "breakpoint"
    assert cursor.step.op == "sin"


def test_a_loaded_tape_walks_as_the_recorded_one(tmp_path):
    tape, _ = net()
    tape.save(tmp_path / "tape.json")
    cursor = Cursor(mg.Tape.load(tmp_path / "tape.json"))
    cursor.watch("w")
    assert cursor.run().reason == "watch"
    cursor.jump("op:sigmoid")
    scope = cursor.scope()
    assert scope["z"] == tape.step_of("a").applied.z
    assert scope["x"] == tape.step_of("a").applied.inputs[0]


def test_files_are_the_same_by_path_or_by_its_end(tmp_path):
    file = tmp_path / "a" / "net.py"
    assert same_file(str(file), "net.py")
    assert same_file(str(file), "a/net.py")
    assert not same_file(str(file), "et.py")
