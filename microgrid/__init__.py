"""microgrid: a tiny autograd engine to build, draw and step through.

>>> import microgrid as mg
>>> x, y = mg.Value(2.0), mg.Value(-3.0)
>>> z = mg.tanh(x * y + 5)
>>> z.backward()
>>> round(x.grad, 4), round(y.grad, 4)
(-1.2599, 0.8399)
"""

from microgrid import rules, sites, symbols as symbols
from microgrid.anomaly import AnomalyError
from microgrid.check import GradcheckError, gradcheck
from microgrid.derivatives import grad
from microgrid.functions import (
    abs,
    add,
    apply,
    astype,
    binary_cross_entropy_with_logits,
    broadcast_to,
    clip,
    concatenate,
    cos,
    cumsum,
    divide,
    dot,
    einsum,
    exp,
    expand_dims,
    expm1,
    flip,
    index,
    leaky_relu,
    linear,
    log,
    log1p,
    log_softmax,
    logsigmoid,
    logsumexp,
    matmul,
    max,
    maximum,
    mean,
    min,
    minimum,
    multiply,
    negative,
    norm,
    permute,
    power,
    prod,
    relu,
    reshape,
    sigmoid,
    sign,
    sin,
    softmax,
    softplus,
    split,
    sqrt,
    square,
    squeeze,
    stack,
    std,
    subtract,
    sum,
    swapaxes,
    take_along_axis,
    tan,
    tanh,
    transpose,
    var,
    where,
)  # fmt: skip
from microgrid.graph import Hook, Node, topological_order
from microgrid.modes import detect_anomaly, enable_grad, is_grad_enabled, no_grad, set_grad_enabled
from microgrid.rule import Rule
from microgrid.sites import record_sites
from microgrid.stale import StaleError
from microgrid.steps import Contribution, Step, steps
from microgrid.tensor import Tensor
from microgrid.value import Value

__microgrid_machinery__ = True
__version__ = "0.1.0"

__all__ = [
    "AnomalyError", "Contribution", "GradcheckError", "Hook", "Node", "Rule", "StaleError", "Step", "Tensor",
    "Value", "abs", "add", "apply", "astype", "binary_cross_entropy_with_logits", "broadcast_to", "clip",
    "concatenate", "cos", "cumsum", "detect_anomaly", "divide", "dot", "einsum", "enable_grad", "exp",
    "expand_dims", "expm1", "flip", "grad", "gradcheck", "index", "is_grad_enabled", "leaky_relu", "linear", "log",
    "log1p", "log_softmax", "logsigmoid", "logsumexp", "matmul", "max", "maximum", "mean", "min", "minimum",
    "multiply", "negative", "no_grad", "norm", "permute", "power", "prod", "record_sites", "relu", "reshape",
    "rules", "set_grad_enabled", "sigmoid", "sign", "sin", "sites", "softmax", "softplus", "split", "sqrt",
    "square", "squeeze", "stack", "std", "steps", "subtract", "sum", "swapaxes", "take_along_axis", "tan", "tanh",
    "topological_order", "transpose", "var", "where",
]  # fmt: skip
