"""Newton's method by products with the Hessian: few dear steps against the many cheap ones of gradient descent.

Newton's step p solves H p = -g, where g is the gradient and H the Hessian: from close to a minimum it squares the
error, so that each step doubles the digits that are right. One neuron shows it, in numbers of 120 digits. For a network
H is never made: conjugate gradients solve the equation by products H v, which `mg.hvp` gives for two gradients' work.
What is counted is gradient evaluations: 1 for a gradient, 2 for a product, and 1 for each cost that a line search asks
for, which takes less. Run it by `python -m demos.newton`.

The method is algorithm 7.1 of J. Nocedal and S. Wright, Numerical Optimization (2006); the test for the end of the
conjugate gradients that of R. Dembo and T. Steihaug, "Truncated-Newton algorithms for large-scale unconstrained
optimization" (1983).
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

import microgrid as mg
import nn
from demos._drawing import BLUE, GREEN, GREY, VERMILLION, picture

Array = NDArray[Any]
Cost = Callable[[Any], mg.Tensor]

DIGITS = 120
ENOUGH = 1e-6  # the length of the gradient at which the network counts as trained
DECAY = 3e-3  # of the squared parameters: it gives the network's cost a minimum at finite weights
RATES = (1.0, 2.0, 4.0)  # of gradient descent: the last overshoots

x = (0.0, 1.0, 2.0, 3.0, 4.0)  # the neuron's data: no threshold parts these labels,
y = (0.0, 1.0, 0.0, 1.0, 1.0)  # so that the minimum is at a finite w and b


class Result(NamedTuple):
    """What the demo found.

    `errors` are the neuron's distances from its minimum, a step an entry, by Newton's method and by gradient descent;
    `paths` the network's training by method: gradient evaluations so far, cost, length of the gradient.
    """

    errors: dict[str, list[float]]
    paths: dict[str, Array]
    files: list[Path]


def main(out: str | PathLike[str] = "out", rates: Sequence[float] = RATES, limit: int = 4_000) -> Result:
    """Find the neuron's minimum, then the network's; `limit` bounds the gradient evaluations of each method."""
    print(f"one sigmoid neuron with binary cross-entropy, in numbers of {DIGITS} digits: |error| after each step")
    errors = {"Newton": neuron_errors(newton_step, 8), "gradient descent": neuron_errors(descent_step, 8)}
    print(f"  {'Newton':>12} {'e / (e before)^2':>18} {'gradient descent':>20}")
    for k, (e, slow) in enumerate(zip(*errors.values(), strict=True)):
        ratio = f"{e / errors['Newton'][k - 1] ** 2:18.4f}" if k else " " * 18
        print(f"  {e:12.1e} {ratio} {slow:20.1e}")

    cost, start = network()
    print(f"\na network of {len(start)} parameters, until the gradient is shorter than {ENOUGH:g}")
    paths = {"Newton, by products H v": np.array(list(newton(cost, start, limit)))}
    for rate in rates:
        paths[f"gradient descent, eta = {rate:g}"] = np.array(list(descent(cost, start, rate, limit)))
    print(f"  {'':30} {'steps':>6} {'gradient evaluations':>22} {'cost':>10} {'|gradient|':>12}")
    for name, path in paths.items():
        evaluations, value, length = path[-1]
        print(f"  {name:30} {len(path) - 1:6} {evaluations:22.0f} {value:10.6f} {length:12.1e}")
    files = picture(Path(out) / "newton", 13, 4.9, lambda figure: draw(figure, errors, paths))
    return Result(errors, paths, files)


# ------------------------------------------------------------------------------------- one neuron, in many digits


def neuron(w: Any, b: Any) -> Any:
    """The mean binary cross-entropy of sigmoid(w x + b), on any kind of number: convex in w and b."""
    z = [w * x_i + b for x_i in x]
    return sum(mg.softplus(z_i) - y_i * z_i for z_i, y_i in zip(z, y, strict=True)) / len(x)


def newton_step(w: Any, b: Any) -> tuple[Any, Any]:
    """One step of Newton's method: two equations in two unknowns."""
    g_w, g_b = mg.grad(neuron, argnums=(0, 1))(w, b)
    (H_ww, H_wb), (_, H_bb) = mg.hessian(neuron, argnums=(0, 1))(w, b)
    determinant = H_ww * H_bb - H_wb * H_wb
    return w - (H_bb * g_w - H_wb * g_b) / determinant, b - (H_ww * g_b - H_wb * g_w) / determinant


def descent_step(w: Any, b: Any) -> tuple[Any, Any]:
    """One step of gradient descent, at its best rate: 2 / (0.75 + 0.04), of the curvatures at the minimum."""
    g_w, g_b = mg.grad(neuron, argnums=(0, 1))(w, b)
    return w - 2.5 * g_w, b - 2.5 * g_b


def neuron_errors(step: Callable[[Any, Any], tuple[Any, Any]], steps: int) -> list[float]:
    """The distances from the minimum before, between and after these steps, from w = b = 0."""
    import mpmath

    with mpmath.workdps(DIGITS + 10):
        bottom = at = (mpmath.mpf(0), mpmath.mpf(0))
        for _ in range(12):
            bottom = newton_step(*bottom)
        errors = []
        for _ in range(steps + 1):
            errors.append(float(mpmath.hypot(at[0] - bottom[0], at[1] - bottom[1])))
            at = step(*at)
    return errors


# --------------------------------------------------------------------------------------- a network, by products H v


def network() -> tuple[Cost, Array]:
    """The cost of a 2-4-1 network, exclusive or with noise, as a function of one vector; and where to start."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, 2))
    Y = (X[:, :1] * X[:, 1:] > 0).astype(float)  # (60, 1): 1 where the signs agree
    model = nn.MLP(2, [4, 1], rng=1)
    shapes = {name: p.shape for name, p in model.named_parameters()}
    ends = np.cumsum([0, *(int(np.prod(shape)) for shape in shapes.values())])

    def cost(v: Any) -> mg.Tensor:
        parameters = {
            name: mg.reshape(v[i:j], shape) for (name, shape), i, j in zip(shapes.items(), ends, ends[1:], strict=False)
        }
        logits = nn.functional_call(model, parameters, X)  # (60, 1)
        total: mg.Tensor = nn.binary_cross_entropy_with_logits(logits, Y) + DECAY / 2 * mg.sum(v * v)
        return total

    return cost, np.array(nn.parameters_to_vector(model.parameters()).tolist())


def newton(cost: Cost, v: Array, limit: int) -> Iterator[tuple[float, float, float]]:
    """Newton's method with conjugate gradients and a line search: evaluations so far, cost, length of the gradient."""
    evaluations = 1
    value, g = both(cost, v)
    while True:
        yield evaluations, value, float(np.linalg.norm(g))
        if np.linalg.norm(g) < ENOUGH or evaluations > limit:
            return
        p, products = direction(cost, v, g)
        step, costs = 1.0, 1
        while not cost(v + step * p).item() <= value + 1e-4 * step * (g @ p):  # until the cost falls as it should
            step, costs = step / 2, costs + 1
        v = v + step * p
        value, g = both(cost, v)
        evaluations += 2 * products + costs + 1


def direction(cost: Cost, v: Array, g: Array) -> tuple[Array, int]:
    """About the p with H p = -g, by conjugate gradients, and how many products H d it took.

    Far from the minimum a rough solution is enough, and where the cost curves downward the search ends: H need not be
    positive, and a way down is all that is asked for.
    """
    enough = min(0.5, np.sqrt(np.linalg.norm(g))) * np.linalg.norm(g)
    p, r = np.zeros_like(g), g
    d = -r
    for products in range(1, 2 * len(g) + 1):
        _, Hd = mg.hvp(cost, v, d)
        curvature = d @ Hd
        if curvature <= 0:
            return (p if products > 1 else d), products
        alpha = (r @ r) / curvature
        p, r, before = p + alpha * d, r + alpha * Hd, r
        if np.linalg.norm(r) < enough:
            break
        d = (r @ r) / (before @ before) * d - r
    return p, products


def descent(cost: Cost, v: Array, rate: float, limit: int) -> Iterator[tuple[float, float, float]]:
    """Gradient descent at one rate, likewise."""
    for evaluations in range(1, limit + 1):
        value, g = both(cost, v)
        yield evaluations, value, float(np.linalg.norm(g))
        if np.linalg.norm(g) < ENOUGH:
            return
        v = v - rate * g


def both(cost: Cost, v: Array) -> tuple[float, Array]:
    """The cost and its gradient."""
    value, g = mg.value_and_grad(cost)(v)
    return float(value), g


def draw(figure: Any, errors: dict[str, list[float]], paths: dict[str, Array]) -> None:
    """The neuron's errors over the steps; the network's cost over the steps, and over the gradient evaluations."""
    left, middle, right = figure.subplots(1, 3)
    for (name, curve), color, marker in zip(errors.items(), (BLUE, VERMILLION), "os", strict=True):
        left.semilogy(curve, marker=marker, color=color, label=name)
    left.set(title="One neuron: Newton squares the error", xlabel="step", ylabel="distance from the minimum")
    left.legend(loc="lower left")
    lowest = min(path[-1, 1] for path in paths.values())
    looks = cycle([(BLUE, "-"), (GREY, ":"), (GREEN, "-."), (VERMILLION, "--")])
    for (name, (evaluations, cost, _)), (color, line) in zip(
        ((name, path.T) for name, path in paths.items()), looks, strict=False
    ):
        label = name.replace("H v", "$Hv$").replace("eta", r"$\eta$")
        above = np.maximum(cost - lowest, 1e-13)
        middle.loglog(above, line, color=color, label=label)
        right.loglog(evaluations, above, line, color=color, label=label)
    middle.set(title="A network: cost by steps", xlabel="step", ylabel="cost above the minimum")
    right.set(title="The same by the work they take", xlabel="gradient evaluations")
    figure.legend(*middle.get_legend_handles_labels(), loc="outside lower right", ncols=4)
    for axes in (left, middle, right):
        axes.grid(True)
    for axes in (middle, right):
        axes.set(xlim=(1, None), ylim=(1e-12, 1))


if __name__ == "__main__":
    main()
