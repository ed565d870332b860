"""Each rule by itself, on one number and on a thousand: one operation forward and backward.

Workloads are called "exp/1000". Beside torch, the rule alone: its value and its derivatives on arrays, with no engine.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from training import Training, UnableError

SIZES = (1, 1000)


Shapes = Callable[[int], list[tuple[int, ...]]]


class Operation(NamedTuple):
    shapes: Shapes  # of the inputs, all of about n numbers
    ours: Callable[..., Any]  # of microgrid and Tensors
    torch: Callable[..., Any] | None  # of torch and its tensors; None where it has no such operation


def one(n: int) -> list[tuple[int, ...]]:
    return [(n,)]


def two(n: int) -> list[tuple[int, ...]]:
    return [(n,), (n,)]


def square_one(n: int) -> list[tuple[int, ...]]:
    return [(round(n**0.5),) * 2]


def square_two(n: int) -> list[tuple[int, ...]]:
    return [*square_one(n), *square_one(n)]


def layer(n: int) -> list[tuple[int, ...]]:
    """Samples, weights and biases of a layer of as many units as inputs."""
    return [*square_two(n), square_one(n)[0][:1]]


def half(x: Any) -> Any:
    return x[: len(x) // 2 + 1]


@functools.cache
def backwards(n: int, engine: Any) -> Any:
    """Indices from the last to the first."""
    indices = np.arange(n)[::-1].copy()
    return engine.from_numpy(indices) if engine.__name__ == "torch" else indices


def both(shapes: Shapes, function: Callable[..., Any]) -> Operation:
    """What both write in the same words."""
    return Operation(shapes, function, function)


def of(name: str, inputs: int = 1) -> Operation:
    """What both call by this name, element by element."""
    return both((one, two)[inputs - 1], lambda m, *xs: getattr(m, name)(*xs))


def functional(name: str, inputs: int = 1) -> Operation:
    """What torch has in torch.nn.functional."""
    return of(name, inputs)._replace(torch=lambda t, *xs: getattr(t.nn.functional, name)(*xs))


def by_operator(shapes: Shapes, function: Callable[..., Any]) -> Operation:
    return both(shapes, lambda m, *xs: function(*xs))


def along(name: str, **keywords: Any) -> Operation:
    return both(one, lambda m, x: getattr(m, name)(x, 0, **keywords))


def applied(
    name: str, torch: Callable[..., Any] | None, rest: Callable[..., tuple[Any, ...]], **parameters: Any
) -> Operation:
    """A rule that no user calls by name: adjoints of other rules."""

    def ours(m: Any, x: Any) -> Any:
        from microgrid import rules

        return m.apply(getattr(rules, name), x, *rest(m, x), **{key: of(x) for key, of in parameters.items()})

    return Operation(one, ours, torch)


def nothing(m: Any, x: Any) -> tuple[Any, ...]:
    return ()


OPERATIONS = {
    "add": by_operator(two, lambda x, y: x + y),
    "subtract": by_operator(two, lambda x, y: x - y),
    "multiply": by_operator(two, lambda x, y: x * y),
    "divide": by_operator(two, lambda x, y: x / y),
    "negative": by_operator(one, lambda x: -x),
    "positive": of("positive"),
    "power": by_operator(two, lambda x, y: x**y),
    **{name: of(name) for name in ("square", "exp", "log", "log1p", "expm1", "sqrt", "abs", "sign")},
    **{name: of(name) for name in ("sin", "cos", "tan", "tanh", "sigmoid", "relu")},
    **{name: functional(name) for name in ("softplus", "logsigmoid", "leaky_relu")},
    **{name: of(name, 2) for name in ("maximum", "minimum")},
    "clip": both(one, lambda m, x: m.clip(x, 0.4, 0.8)),
    "where": both(two, lambda m, x, y: m.where(x > y, x, y)),
    "matmul": by_operator(square_two, lambda x, y: x @ y),
    "linear": functional("linear")._replace(shapes=layer),
    "einsum": both(square_two, lambda m, x, y: m.einsum("ij,jk->ik", x, y)),
    **{name: of(name) for name in ("sum", "mean", "max", "min", "prod")},
    **{name: along(name, correction=0) for name in ("var", "std")},
    "norm": Operation(one, lambda m, x: m.norm(x), lambda t, x: t.linalg.vector_norm(x)),
    **{name: along(name) for name in ("logsumexp", "softmax", "log_softmax", "cumsum")},
    "reshape": by_operator(one, lambda x: x.reshape(-1, 1)),
    "transpose": by_operator(square_one, lambda x: x.T),
    "flip": both(one, lambda m, x: m.flip(x, (0,))),
    "broadcast_to": both(one, lambda m, x: m.broadcast_to(x, (2, len(x)))),
    "sum_to": applied("sum_to", lambda t, x: x.sum_to_size(1), nothing, shape=lambda x: (1,)),
    "astype": Operation(one, lambda m, x: x.astype(np.float32), lambda t, x: x.to(t.float32)),
    "index": by_operator(one, half),
    "scatter": applied("scatter", None, nothing, at=lambda x: slice(0, len(x)), shape=lambda x: (2 * len(x),)),
    "take_along_axis": Operation(
        one,
        lambda m, x: m.take_along_axis(x, backwards(len(x), m), 0),
        lambda t, x: t.take_along_dim(x, backwards(len(x), t), 0),
    ),
    "add_along_axis": applied(
        "add_along_axis",
        lambda t, x: t.zeros(len(x), dtype=t.float64).scatter_add(0, backwards(len(x), t), x),
        lambda m, x: (backwards(len(x), m),),
        axis=lambda x: 0,
        shape=lambda x: x.shape,
    ),
    "concatenate": Operation(two, lambda m, x, y: m.concatenate([x, y]), lambda t, x, y: t.cat([x, y])),
    "stack": both(two, lambda m, x, y: m.stack([x, y])),
    "binary_cross_entropy_with_logits": Operation(
        two,
        lambda m, x, y: m.binary_cross_entropy_with_logits(x, y),
        lambda t, x, y: t.nn.functional.binary_cross_entropy_with_logits(x, y, reduction="none"),
    ),
}
OF_VALUES = {"total", "dot"}  # n-ary nodes of numbers: S1 with a node a neuron is their benchmark


def has(workload: str) -> bool:
    return workload.partition("/")[0] in OPERATIONS


def first_arrays(shapes: list[tuple[int, ...]]) -> list[np.ndarray]:
    """Numbers where every rule is defined, no two of them equal."""
    rng = np.random.default_rng(5)
    return [rng.uniform(0.3, 0.9, shape) for shape in shapes]


def first_gradient(z: Any) -> np.ndarray:
    """What comes from above: 1 for one number; else no two equal, since a softmax has no gradient of its sum."""
    return np.linspace(0.5, 1.5, z.size).reshape(z.shape) if z.size > 1 else np.ones(z.shape)


def microgrid(operation: Operation, arrays: list[np.ndarray]) -> Training:
    import microgrid as mg

    leaves = [mg.Tensor(array, requires_grad=True) for array in arrays]
    z = operation.ours(mg, *leaves)
    seed = () if z.size == 1 else (mg.Tensor(first_gradient(z).astype(z.dtype)),)  # one number needs none

    def step() -> Any:
        for x in leaves:
            x.grad = None
        z = operation.ours(mg, *leaves)
        z.backward(*seed)
        return z

    def gradients() -> list[np.ndarray]:  # no `x.data`: what is handed out is watched from then on, which costs
        return [np.zeros(x.shape) if x.grad is None else x.grad for x in leaves]

    return Training(step, gradients, read=_total)


def rule_alone(operation: Operation, arrays: list[np.ndarray]) -> Training:
    """What NumPy does for the rule, with nothing that records, orders or adds up."""
    import microgrid as mg
    from microgrid import kinds

    np.seterr(all="ignore")  # as the engine has it
    z = operation.ours(mg, *(mg.Tensor(array, requires_grad=True) for array in arrays))
    value = kinds.kind_of(arrays[0]).function(z.rule)
    parameters, g = z.parameters, first_gradient(z).astype(z.dtype)
    inputs = [x.detach().numpy() if isinstance(x, mg.Tensor) else x for x in z.inputs]
    variadic = z.rule.variadic
    wrt = [f for f in z.rule.wrt if f is not None]
    shares: list[Any] = [0 * array for array in arrays]

    def step() -> Any:
        z = value(*inputs, **parameters)
        if variadic:
            shares[:] = wrt[0](g, z, *inputs, **parameters)
        else:
            shares[:] = [f(g, z, *inputs, **parameters) for f in wrt]
        return z

    def gradients() -> list[np.ndarray]:
        return [_fitted(np.asarray(share, float), array.shape) for share, array in zip(shares, arrays, strict=True)]

    return Training(step, gradients, read=_total)


def _fitted(share: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """What the engine does to a share: summed or spread to the shape of its input."""
    while share.ndim > len(shape):
        share = share.sum(axis=0)
    return np.broadcast_to(share, shape)


def _total(z: Any) -> float:
    return float(np.sum(z if isinstance(z, np.ndarray | np.generic) else z.detach().numpy()))


def torch(operation: Operation, arrays: list[np.ndarray]) -> Training:
    import torch

    if operation.torch is None:
        raise UnableError("torch has no such operation")
    function = operation.torch
    leaves = [torch.tensor(array, requires_grad=True) for array in arrays]
    z = function(torch, *leaves)
    seed = () if z.numel() == 1 else (torch.tensor(first_gradient(z.detach().numpy())).to(z.dtype),)

    def step() -> Any:
        for x in leaves:
            x.grad = None
        z = function(torch, *leaves)
        z.backward(*seed)
        return z

    def gradients() -> list[np.ndarray]:
        return [np.zeros(x.shape) if x.grad is None else x.grad.numpy() for x in leaves]

    return Training(step, gradients, read=_total)


ENGINES = {"microgrid": microgrid, "rule_alone": rule_alone, "torch": torch}


def training(workload: str, engine_name: str) -> Training:
    name, _, size = workload.partition("/")
    operation = OPERATIONS[name]
    return ENGINES[engine_name](operation, first_arrays(operation.shapes(int(size))))
