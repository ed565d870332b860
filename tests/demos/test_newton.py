"""Newton's method squares the error, and takes less work than gradient descent; the products H v are those of H."""

import contextlib
import io
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("mpmath")

import demos.newton as demo
import microgrid as mg

pytestmark = pytest.mark.slow  # with the others of its kind more than `make test` has time for

NEWTON = "Newton, by products H v"


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> tuple[demo.Result, str]:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        result = demo.main(tmp_path_factory.mktemp("newton"), rates=(2.0,))
    return result, printed.getvalue()


def test_the_error_is_squared_each_step(run) -> None:
    """e_{k+1} / e_k^2 comes to a constant: the digits that are right double from step to step."""
    errors = np.array(run[0].errors["Newton"])
    assert errors[-1] < 1e-90
    ratios = errors[1:] / errors[:-1] ** 2
    assert (ratios < 0.6).all()
    assert ratios[-3:] == pytest.approx([ratios[-1]] * 3, rel=0.02)
    digits = -np.log10(errors[4:])
    assert digits[1:] / digits[:-1] == pytest.approx([2] * 4, abs=0.1)


def test_gradient_descent_takes_off_a_constant_share(run) -> None:
    """At its best rate the error falls by (K - 1) / (K + 1) a step at the end, K the ratio of the curvatures."""
    slow = demo.neuron_errors(demo.descent_step, 60)
    assert slow[-1] / slow[-2] == pytest.approx((0.74821 - 0.04450) / (0.74821 + 0.04450), abs=0.005)


def test_the_minimum_is_one() -> None:
    """By NumPy alone: there the mean of (a - y) and of (a - y) x is 0."""
    w = b = 0.0
    for _ in range(10):
        w, b = demo.newton_step(w, b)
    x, y = np.array(demo.x), np.array(demo.y)
    a = 1 / (1 + np.exp(-(w * x + b)))
    assert [np.mean(a - y), np.mean((a - y) * x)] == pytest.approx([0, 0], abs=1e-15)


def test_newton_takes_fewer_gradient_evaluations(run) -> None:
    """Less than a fifth of what gradient descent takes at the best of its rates, to the same minimum."""
    newton, descent = (path[-1] for path in run[0].paths.values())
    assert max(newton[2], descent[2]) < demo.ENOUGH
    assert newton[1] == pytest.approx(descent[1], abs=1e-8)
    assert newton[0] < descent[0] / 5


@pytest.mark.slow
def test_no_other_rate_helps_gradient_descent() -> None:
    """Half of the best rate takes longer, and from twice the best on it never arrives."""
    cost, start = demo.network()
    ends = {rate: list(demo.descent(cost, start, rate, 4000))[-1] for rate in (1.0, 2.0, 2.5, 4.0, 8.0)}
    assert min(end[0] for end in ends.values() if end[2] < demo.ENOUGH) > 1000
    assert ends[1.0][0] > ends[2.0][0]
    assert min(ends[4.0][2], ends[8.0][2]) > 0.01


def test_costs_fall_at_every_step_of_newton(run) -> None:
    assert (np.diff(run[0].paths[NEWTON][:, 1]) < 0).all()


def test_gradient_evaluations_are_counted_as_they_are_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """One for each gradient and cost, two for each product: counted here by those who do the work."""
    cost, start = demo.network()
    work = {"costs": 0, "products": 0}
    product = mg.hvp

    def counted(v):
        work["costs"] += 1
        return cost(v)

    def counted_product(*given):
        work["products"] += 1
        return product(*given)

    monkeypatch.setattr(mg, "hvp", counted_product)
    path = list(demo.newton(counted, start, 60))
    # each product calls the cost once and counts as two
    assert path[-1][0] == work["costs"] + work["products"]


def test_conjugate_gradients_solve_the_newton_equation() -> None:
    """Near the minimum, where H is positive, p is -H^-1 g as far as is asked for; H by mg.hessian."""
    cost, v = demo.network()
    rng = np.random.default_rng(0)
    M = rng.normal(size=(5, 5))
    H = M @ M.T + np.eye(5)
    g = rng.normal(size=5) * 1e-9  # so that much is asked for
    p, products = demo.direction(lambda u: mg.sum(u * (H @ u)) / 2, np.zeros(5), g)
    assert p == pytest.approx(-np.linalg.solve(H, g), rel=1e-3)
    assert products <= 6
    u = rng.normal(size=len(v))
    assert mg.hvp(cost, v, u)[1] == pytest.approx(mg.hessian(cost)(v) @ u, rel=1e-10)


def test_where_the_cost_curves_downward_the_way_down_is_taken() -> None:
    """A saddle: the first direction, -g, is already one of negative curvature."""
    g = np.array([0.1, 1.0])
    p, products = demo.direction(lambda u: u[0] * u[0] - u[1] * u[1], np.zeros(2), g)
    assert products == 1
    assert p.tolist() == (-g).tolist()


def test_the_picture_is_drawn(run) -> None:
    pytest.importorskip("matplotlib")
    assert [file.name for file in run[0].files] == ["newton.svg", "newton.png"]
    assert all(file.stat().st_size > 10_000 for file in run[0].files)


@pytest.mark.slow
def test_the_whole_demo_says_the_same_on_each_run(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    texts, pictures = [], []
    for name in ("one", "two"):
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            result = demo.main(tmp_path / name)
        texts.append(printed.getvalue().replace(str(tmp_path / name), ""))
        pictures.append([file.read_bytes() for file in result.files])
    assert texts[0] == texts[1]
    assert pictures[0] == pictures[1]
