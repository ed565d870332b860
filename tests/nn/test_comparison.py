"""The report finds the ways equal where they are, and a wrong one wrong; it names the cliff."""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np
import pytest

import microgrid as mg
import nn
from nn import closed_form, comparison
from nn.deltas import PAIRS
from nn.layers import LogSoftmax
from nn.losses import HalfMSELoss, NLLLoss


@pytest.mark.parametrize("output", [False, True], ids=["logits", "sigmoid"])
def test_the_ways_agree(case: Any, output: bool) -> None:
    model = nn.Sequential(case.model, nn.Sigmoid()) if output else case.model
    report = nn.compare(model, case.X, case.Y)
    assert 0 < report.worst < 1e-12
    assert 0 < report.worst_differences < 1e-7
    assert report.not_finite == []
    assert list(report.milliseconds) == ["chain", "fused", "differences", "complex", "closed"]
    assert all(t > 0 for t in report.milliseconds.values())


def test_the_rows_are_one_a_parameter_and_worst_is_their_largest(case: Any) -> None:
    report = nn.compare(case.model, case.X, case.Y)
    rows = report.rows()
    assert [(row["parameter"], row["shape"]) for row in rows] == [
        (n, p.shape) for n, p in case.model.named_parameters()
    ]
    assert report.worst == max(max(row["chain"], row["fused"], row["complex"]) for row in rows)
    assert report.worst_differences == max(row["differences"] for row in rows)


ROWS = {  # output of the model, loss: the row, and whether nn has a fused loss for it
    ("identity", nn.BCEWithLogitsLoss): ("sigmoid + binary cross-entropy", True),
    ("sigmoid", nn.BCELoss): ("sigmoid + binary cross-entropy", True),
    ("sigmoid", HalfMSELoss): ("sigmoid + half squares", False),
    ("sigmoid", nn.MSELoss): ("sigmoid + squares", False),
    ("identity", nn.MSELoss): ("identity + squares", False),
    ("identity", HalfMSELoss): ("identity + half squares", False),
    ("identity", nn.CrossEntropyLoss): ("softmax + log-likelihood", True),
    ("softmax", HalfMSELoss): ("softmax + half squares", False),
    ("softmax", nn.MSELoss): ("softmax + squares", False),
    ("tanh", nn.MSELoss): ("tanh + squares", False),
}


@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum"])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
@pytest.mark.parametrize(("output", "loss"), ROWS)
def test_the_ways_agree_for_every_row(output: str, loss: Any, activation: str, reduction: str) -> None:
    name, fused = ROWS[output, loss]
    rng = np.random.default_rng(1)
    model = nn.MLP(3, [4, 3], activation, output, rng=rng)
    X, Y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 3))
    report = nn.compare(model, X, rng.integers(0, 3, 5) if "likelihood" in name else Y, loss(reduction=reduction))
    assert report.pair.name == name
    assert list(report.errors) == ["chain", *(["fused"] if fused else []), "differences", "complex"]
    assert 0 < report.worst < 1e-13
    assert 0 < report.worst_differences < 1e-7
    text = str(report)
    assert text.startswith(f"{name}, delta[L] = {report.pair.formula}\n")
    assert f"{name}, worst=" in repr(report)
    assert max(map(len, text.splitlines())) <= 110


def test_probabilities_for_targets_are_the_general_row_and_a_softmax_needs_no_loss() -> None:
    rng = np.random.default_rng(1)
    X, Y, y = rng.normal(size=(5, 3)), rng.uniform(size=(5, 2)), rng.integers(0, 2, 5)
    model = nn.MLP(3, [4, 2], output="softmax", rng=0)
    for target, cost in [(Y, "cross-entropy"), (y, "log-likelihood"), (np.eye(2)[y], "cross-entropy")]:
        report = nn.compare(model, X, target)
        assert (report.pair.name, report.worst < 1e-13) == (f"softmax + {cost}", True)
    assert nn.compare(nn.Sequential(nn.Linear(3, 2, rng=0), LogSoftmax()), X, y, NLLLoss()).worst < 1e-13


@pytest.mark.parametrize("fault", ["delta", "costs"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_row_of_the_table_that_is_off_by_a_thousandth_is_found(
    pair: Any, fault: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong delta differs from all ways; a wrong cost shows in the ways that look at the cost alone."""
    right = getattr(pair, fault)
    wrong = dataclasses.replace(pair, **{fault: lambda one, Y: 1.001 * right(one, Y)})
    monkeypatch.setattr(closed_form, "pair_of", lambda *_: wrong)
    output = pair.output.name if "squares" in pair.cost else "identity"
    loss = {
        "squares": nn.MSELoss, "half squares": HalfMSELoss, "binary cross-entropy": nn.BCEWithLogitsLoss
    }.get(pair.cost, nn.CrossEntropyLoss)  # fmt: skip
    y = [0, 1] if pair.cost == "log-likelihood" else [[0.1, 0.9], [0.5, 0.4]]
    report = nn.compare(nn.MLP(2, [3, 2], output=output, rng=0), np.eye(2), y, loss())
    for way, errors in report.errors.items():
        seen = fault == "delta" or way in ("differences", "complex")
        assert min(errors.values()) == pytest.approx(1e-3 if seen else 0, rel=0.01, abs=1e-13)


def test_unnormalised_targets_are_compared_in_every_way() -> None:
    """Counts in place of probabilities: the row, and the loss, take any y >= 0."""
    Y = [[2.0, 3.0], [0.0, 0.5]]
    for output, loss in (("softmax", None), ("identity", nn.CrossEntropyLoss())):
        report = nn.compare(nn.MLP(2, [3, 2], output=output, rng=0), np.eye(2), Y, loss)
        assert list(report.errors) == ["chain", "fused", "differences", "complex"]
        assert 0 < report.worst < 1e-14


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int64, np.uint64])
def test_class_indices_of_any_integers(dtype: Any) -> None:
    report = nn.compare(nn.MLP(2, [3, 2], rng=0), np.eye(2), np.array([1, 0], dtype), nn.CrossEntropyLoss())
    assert report.worst < 1e-14


def test_each_layer_has_its_largest_error(case: Any) -> None:
    report = nn.compare(case.model, case.X, case.Y)
    layers = report.layers()
    assert [row["layer"] for row in layers] == [f"layers.{2 * i}" for i in range(len(layers))]
    for way in report.errors:
        assert max(row[way] for row in layers) == max(report.errors[way].values())
        for row in layers:
            within = [e for name, e in report.errors[way].items() if name.startswith(f"{row['layer']}.")]
            assert (len(within), row[way]) == (2, max(within))


def test_a_layer_alone_has_no_name() -> None:
    report = nn.compare(nn.Linear(2, 1, rng=0), np.eye(2), [[0], [1]])
    assert [row["layer"] for row in report.layers()] == [""]
    assert "\nworst  " in str(report)


def test_large_networks_are_spared_the_complex_step() -> None:
    """Up to 300 numbers have one; frozen ones do not count, and are not moved."""
    X, Y = np.eye(10), np.zeros((10, 10))
    model = nn.MLP(10, [14, 10], rng=0)  # 154 + 150
    assert "complex" not in nn.compare(model, X, Y, repeats=1).errors
    model.layers[0].bias.requires_grad_(False)
    assert "complex" in nn.compare(model, X, Y, repeats=1).errors


def test_a_shared_last_layer_is_compared() -> None:
    """The same Linear twice at the end: the logits are behind the second."""
    shared = nn.Linear(2, 2, rng=0)
    assert nn.compare(nn.Sequential(shared, shared), np.eye(2), np.eye(2)).worst < 1e-13
    assert nn.compare(nn.Sequential(shared, shared, nn.Sigmoid()), np.eye(2), np.eye(2)).worst < 1e-13


@pytest.mark.parametrize(("z", "finite"), [(-709.7, True), (-709.8, False)])
def test_the_softmax_has_a_cliff_too(z: float, finite: bool) -> None:
    """Where 1/a_y is infinite, -ln a_y has no gradient by the chain; a - e_y and the fused loss have."""
    model = nn.MLP(1, [2], rng=0)
    model.load_state_dict({"layers.0.weight": [[0], [0]], "layers.0.bias": [5, z + 5]})
    report = nn.compare(model, [[1.0]], [1], nn.CrossEntropyLoss())
    assert report.not_finite == ([] if finite else ["chain"])
    assert report.logits == pytest.approx((z, 0))
    assert max(report.errors["fused"].values()) == 0
    assert ("NOT FINITE: chain. At the output z - max z runs from -709.8 to 0. Below -709.78" in str(report)) != finite


def test_squares_have_no_cliff() -> None:
    """g' of the sigmoid is 0 there, and so is the gradient: finite, and the unit learns nothing."""
    model = nn.MLP(1, [1], output="sigmoid", rng=0)
    model.load_state_dict({"layers.0.weight": [[0]], "layers.0.bias": [800]})
    report = nn.compare(model, [[1.0]], [[0]], nn.MSELoss())
    assert (report.worst, report.not_finite, report.cliffs) == (0.0, [], (-math.inf, math.inf))


def test_a_wrong_closed_form_is_found(case: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """One factor 1.001 in one of the ways, and `.worst` says 1e-3: the report can fail."""
    right = closed_form.backward
    monkeypatch.setattr(
        closed_form, "backward", lambda A, Y, W, *rest: right([*A[:-1], Y + 1.001 * (A[-1] - Y)], Y, W, *rest)
    )
    report = nn.compare(case.model, case.X, case.Y)
    assert report.worst == pytest.approx(1e-3, rel=0.01)
    assert report.worst_differences == pytest.approx(1e-3, rel=0.01)


def test_a_sigmoid_rule_that_is_off_shows_in_the_chain_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    right = mg.log
    monkeypatch.setattr(mg, "log", lambda x: right(x) * 1.001)
    report = nn.compare(nn.MLP(2, [3, 2], rng=0), np.eye(2), np.eye(2))
    assert min(report.errors["chain"].values()) > 0.9e-3
    assert max(report.errors["fused"].values()) < 1e-12


def test_neither_weights_nor_gradients_nor_modes_of_the_model_change(case: Any) -> None:
    nn.BCEWithLogitsLoss()(case.model(mg.Tensor(case.X)), case.Y).backward()
    weights = case.model.state_dict()
    gradients = {name: p.grad.copy() for name, p in case.model.named_parameters()}
    case.model.eval()
    nn.compare(case.model, case.X, case.Y)
    assert not case.model.training
    for name, parameter in case.model.named_parameters():
        np.testing.assert_array_equal(parameter.detach().numpy(), weights[name])
        np.testing.assert_array_equal(parameter.grad, gradients[name])


@pytest.mark.parametrize("y", [0.0, 1.0])
def test_the_cliff_is_named_and_is_no_error_of_the_others(y: float) -> None:
    """At z = 36.74 A rounds to 1: the chain is nan or inf there, and the other ways are right."""
    model = nn.MLP(1, [2, 1], rng=0)
    nn.init.constant_(model.layers[2].bias, 36.74)
    nn.init.constant_(model.layers[2].weight, 0.001)
    report = nn.compare(model, [[1.0], [2.0]], [[y], [0.25]])
    assert report.not_finite == ["chain"]
    assert report.worst == math.inf  # a check `worst < 1e-10` must not pass where one way gave no number
    assert max(report.errors["fused"].values()) < 1e-10
    assert report.worst_differences < 1e-4
    text = str(report)
    assert "NOT FINITE: chain. At the output z runs from 36.74 to 36.74" in text
    assert "From z = 36.7368 on" in text
    assert "nan" not in text


@pytest.mark.parametrize(("z", "finite"), [(36.73, True), (36.74, False), (-709.7, True), (-709.8, False)])
def test_the_cliffs_are_where_the_report_says(z: float, finite: bool) -> None:
    model = nn.MLP(1, [1], rng=0)
    nn.init.constant_(model.layers[0].weight, 0.0)
    nn.init.constant_(model.layers[0].bias, z)
    report = nn.compare(model, [[1.0]], [[0.0]])
    assert (report.cliffs[0] < z < report.cliffs[1]) is finite
    assert report.not_finite == ([] if finite else ["chain"])
    assert ("NOT FINITE" in str(report)) is not finite
    assert report.logits == (z, z)


def test_in_float32_the_cliff_is_at_16_6355() -> None:
    model = nn.MLP(2, [3, 1], rng=0, dtype=np.float32)
    report = nn.compare(model, np.eye(2), [[0], [1]])
    assert report.worst < 1e-5
    assert report.cliffs == pytest.approx((-88.7228, 16.6355), abs=1e-4)
    nn.init.constant_(model.layers[2].bias, 18.0)
    assert nn.compare(model, np.eye(2), [[0], [1]]).not_finite == ["chain"]


def test_differences_are_central_with_the_step_of_the_textbook() -> None:
    """h = eps^(1/3) max(1, |x|), which balances truncation h^2 against rounding eps / h; and the weights come back."""
    x, seen = np.array([0.5, -1000.0]), []

    def cube() -> float:
        seen.append(x.copy())
        return float(x[0] ** 3 + (x[1] / 1000) ** 3)

    gradient = comparison._central(cube, x)
    np.testing.assert_allclose(gradient, [0.75, 0.003], rtol=1e-9)
    assert x.tolist() == [0.5, -1000.0]
    h = np.finfo(float).eps ** (1 / 3)
    np.testing.assert_allclose([a[0] for a in seen[:2]], [0.5 + h, 0.5 - h], rtol=1e-15)
    np.testing.assert_allclose([a[1] for a in seen[2:]], [-1000 + 1000 * h, -1000 - 1000 * h], rtol=1e-15)


def test_times_are_medians_in_milliseconds(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that advances 1 s a look: three runs of each way, and one of the differences."""
    looks = itertools.count()
    monkeypatch.setattr(comparison.time, "perf_counter", lambda: float(next(looks)))
    report = nn.compare(nn.MLP(2, [1], rng=0), np.eye(2), [[0], [1]], repeats=3)
    assert report.milliseconds == dict.fromkeys(["chain", "fused", "differences", "complex", "closed"], 1000.0)
    assert next(looks) == 2 * (3 + 3 + 1 + 1 + 3)


def test_the_printed_table(case: Any) -> None:
    report = nn.compare(case.model, case.X, case.Y)
    lines = str(report).splitlines()
    ways = ["chain", "fused", "differences", "complex"]
    names = [name for name, _ in case.model.named_parameters()]
    assert lines[0] == "sigmoid + binary cross-entropy, delta[L] = A - Y"
    assert lines[3].split() == ["parameter", "shape", *ways, "closed"]
    for row, line in zip(report.rows(), lines[4 : 4 + len(names)], strict=True):
        assert line.split()[2:] == [f"{row[way]:.1e}" for way in ways] + ["-"]
    assert [line.split()[0] for line in lines[4 : 4 + len(names)]] == names
    for row, line in zip(report.layers(), lines[5 + len(names) :], strict=False):
        assert line.split() == ["worst", "of", row["layer"], *(f"{row[way]:.1e}" for way in ways), "-"]
    assert max(map(len, lines)) <= 110
    assert "\n" not in repr(nn.compare(case.model, case.X, case.Y))


def test_frozen_parameters_are_left_out() -> None:
    model = nn.MLP(2, [3, 1], rng=0)
    model.layers[0].bias.requires_grad_(False)
    assert [row["parameter"] for row in nn.compare(model, np.eye(2), [[0], [1]]).rows()] == [
        "layers.0.weight", "layers.2.weight", "layers.2.bias"
    ]  # fmt: skip


def test_a_gradient_of_zero_is_no_division_by_zero() -> None:
    """Soft labels at their minimum: the gradient is 0 in every exact way."""
    model = nn.MLP(2, [1], rng=0)
    for parameter in model.parameters():
        nn.init.zeros_(parameter)
    report = nn.compare(model, np.eye(2), [[0.5], [0.5]])
    assert report.worst == 0.0


def test_differences_cost_two_plain_forward_passes_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    """30-16-1: 513 numbers, and no node of a graph; 0.2 s on the 569 rows of the demo."""
    passes = []
    forward = closed_form.forward
    monkeypatch.setattr(closed_form, "forward", lambda X, *rest: passes.append(X.shape) or forward(X, *rest))
    rng = np.random.default_rng(0)
    nn.compare(nn.MLP(30, [16, 1], rng=0), rng.normal(size=(20, 30)), rng.integers(0, 2, (20, 1)), repeats=1)
    closed_form_and_largest_logit = 2
    assert len(passes) == 2 * 513 + closed_form_and_largest_logit


@pytest.mark.parametrize(
    ("model", "X", "Y", "error", "message"),
    [
        (nn.Sequential(nn.Sigmoid()), np.eye(2), [[0], [1]], ValueError, "got Sigmoid"),
        (nn.MLP(2, [1], rng=0), np.eye(2), [0, 1], ValueError, r"nn.compare: .* Y has shape \(2,\)"),
        (nn.MLP(2, [1], rng=0), np.eye(2), [[0], [2]], ValueError, "nn.compare: Y holds 2 at"),
        (nn.MLP(2, [1], rng=0), np.eye(2) * np.nan, [[0], [1]], ValueError, r"X holds nan at index \(0, 0\)"),
        (nn.MLP(2, [1], rng=0), np.eye(2), [[0], [np.inf]], ValueError, r"Y holds inf at index \(1, 0\)"),
        (nn.MLP(2, [1], rng=0), np.eye(2)[0], [0], ValueError, r"X has shape \(2,\).*expected \(m, 2\) and \(m, 1\)"),
        (nn.MLP(2, [1], rng=0), np.eye(2), [[0]], ValueError, r"Y has shape \(1, 1\), expected \(m, 2\) and \(m, 1\)"),
        (nn.MLP(2, [1], rng=0), np.zeros((0, 2)), np.zeros((0, 1)), ValueError, "for m >= 1 samples"),
        (nn.MLP(2, [1], rng=0), [], [], ValueError, r"X has shape \(0,\)"),
        (nn.MLP(2, [1], rng=0), [["a", "b"]], [[0]], TypeError, "nn.compare: X must be an array of real numbers"),
        (nn.MLP(2, [1], rng=0), np.eye(2), [0.0, 1.0], ValueError, r"Y has shape \(2,\)"),
    ],
)
def test_refusals(model: Any, X: Any, Y: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message + r".*, at test_comparison.py:\d"):
        nn.compare(model, X, Y)


@pytest.mark.parametrize(
    ("repeats", "error", "message"),
    [(0, ValueError, "repeats must be at least 1, got 0"), (1.5, TypeError, "repeats must be an integer, got 1.5")],
)
def test_repeats_are_counted(repeats: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=f"nn.compare: {message}, at test_comparison.py"):
        nn.compare(nn.MLP(2, [1], rng=0), np.eye(2), [[0], [1]], repeats=repeats)


def test_a_wholly_frozen_model_has_nothing_to_compare() -> None:
    model = nn.MLP(2, [1], rng=0)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(
        ValueError, match=r"there is no gradient to compare: .*requires_grad_\(\) thaws one\), at test_comparison"
    ):
        nn.compare(model, np.eye(2), [[0], [1]])


def test_gradients_are_found_where_they_are_switched_off(case: Any) -> None:
    with mg.no_grad():
        report = nn.compare(case.model, case.X, case.Y)
        assert not mg.is_grad_enabled()
    assert 0 < report.worst < 1e-12


@pytest.mark.parametrize("fault", [math.nan, math.inf, 1e308])
def test_where_the_closed_form_is_not_finite_the_cliff_is_not_blamed(fault: float) -> None:
    """1e308 is a finite weight whose product with X is none."""
    model = nn.MLP(2, [1], rng=0)
    nn.init.constant_(model.layers[0].bias, 0.0)
    model.load_state_dict({**model.state_dict(), "layers.0.weight": [[fault, -1e308]]})
    report = nn.compare(model, [[10.0, 10.0]], [[1]], repeats=1)
    assert not report.closed_finite
    assert report.worst == report.worst_differences == math.inf
    text = str(report)
    assert "NOT FINITE: the closed form itself" in text
    assert "A weight is nan or infinite, or numbers on the way are too large" in text
    assert "rounds to 1" not in text


def test_differences_of_a_cost_that_overflows_are_not_blamed_on_the_cliff() -> None:
    """z = 1.4e308 twice: each A - Y is finite, and the sum of the losses is none."""
    model = nn.MLP(1, [2], rng=0)
    nn.init.constant_(model.layers[0].weight, 0.0)
    nn.init.constant_(model.layers[0].bias, -1.4e308)
    report = nn.compare(model, [[1.0]], [[1, 1]], repeats=1)
    assert report.closed_finite
    assert report.not_finite == ["chain", "differences", "complex"]
    assert "NOT FINITE: chain. At the output z runs from -1.4e+308" in str(report)
    assert "NOT FINITE: differences. Numbers on the way are too large" in str(report)


def test_a_loss_that_does_not_belong_is_answered_by_the_table() -> None:
    with pytest.raises(ValueError, match=r"(?s)sigmoid \+ nn.CrossEntropyLoss is no row.*at test_comparison.py"):
        nn.compare(nn.MLP(2, [2], output="sigmoid", rng=0), np.eye(2), [0, 1], nn.CrossEntropyLoss())
    with pytest.raises(TypeError, match=r"nn.compare: expected a loss of nn, got 3, at test_comparison.py"):
        nn.compare(nn.MLP(2, [2], rng=0), np.eye(2), np.eye(2), 3)  # the repeats are named


def test_a_gradient_that_is_zero_but_for_rounding_is_no_fault() -> None:
    """On centred data an identity network has bias gradients of 1e-16: no error to speak of."""
    X = np.random.default_rng(0).normal(size=(40, 3))
    X -= X.mean(axis=0)
    model = nn.MLP(3, [2, 3], activation="identity", rng=0)
    report = nn.compare(model, X, X, nn.MSELoss(reduction="batchmean"))
    assert report.worst < 1e-11
    assert report.worst_differences < 1e-4


@pytest.mark.parametrize("x", [-1e4, -2000.0, -711.0, -40.0, 40.0, 711.0, 2000.0, 1e4])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus"])
def test_the_complex_step_goes_through_hidden_units_that_are_saturated(activation: str, x: float) -> None:
    """1 / (1 + e^-z) of a complex z far below 0 is inf - nan i; the branch e^z / (1 + e^z) is 0."""
    model = nn.MLP(1, [1, 1], activation, rng=0)
    model.layers[0].weight.data = [[1.0]]
    model.layers[2].weight.data = [[1e-3]]
    report = nn.compare(model, [[x]], [[1.0]])
    assert report.not_finite == []
    assert max(report.errors["complex"].values()) < 1e-12


def test_sigma_of_complex_numbers_is_that_of_the_real_ones_with_its_slope() -> None:
    z = np.array([-1e4, -711.0, -3.0, 0.0, 2.5, 711.0])
    h = 1e-200
    a = closed_form.sigma(z + 1j * h)
    np.testing.assert_allclose(a.real, closed_form.sigma(z), rtol=1e-15, atol=1e-300)
    np.testing.assert_allclose(a.imag[2:5] / h, (closed_form.sigma(z) * closed_form.sigma(-z))[2:5], rtol=1e-14)
