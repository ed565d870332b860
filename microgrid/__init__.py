"""microgrid: a tiny autograd engine to build, draw and step through.

>>> import microgrid as mg
>>> x, y = mg.Value(2.0), mg.Value(-3.0)
>>> z = mg.tanh(x * y + 5)
>>> z.backward()
>>> round(x.grad, 4), round(y.grad, 4)
(-1.2599, 0.8399)
"""

import typing

from microgrid import kinds, late, rules, sites
from microgrid.anomaly import AnomalyError
from microgrid.functions import (
    abs,
    add,
    apply,
    argmax,
    argmin,
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
    positive,
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
from microgrid.stepping import debugging
from microgrid.tensor import Tensor
from microgrid.value import Value

__microgrid_machinery__ = True
__version__ = "0.1.0"


def _find(number: type) -> bool:
    """Whether this type is of fractions, of mpmath or of SymPy, and is now registered."""
    from microgrid.proving import exact  # when such a number turns up

    return exact.find(number)


kinds.finders.append(_find)

if debugging.is_watched():  # perhaps by a debugger, which is not to stop in what is imported from here on
    debugging.skip_machinery()
    import numpy.ma  # noqa: F401  # NumPy itself imports it late

if typing.TYPE_CHECKING:
    from microgrid.capture.compiled import Compiled, compile
    from microgrid.check import GradcheckError, gradcheck, gradgradcheck
    from microgrid.derivatives import grad
    from microgrid.proving.chain_rule import Derivation, Link, derive
    from microgrid.proving.printing import formula, latex
    from microgrid.proving.proofs import Proof, prove
    from microgrid.proving.symbolic import expression, symbols
    from microgrid.stepping.explaining import Explanation, explain, why
    from microgrid.stepping.steps import Contribution, Step, Summary, steps
    from microgrid.stepping.tape import Change, Tape, record
    from microgrid.transforms import elementwise_grad, hessian, hvp, jacobian, jvp, value_and_grad, vjp
else:
    __getattr__, __dir__ = late.attributes(
        __name__,
        {
            "capture.compiled": "Compiled compile",
            "capture.scalar_capture": "",
            "check": "GradcheckError gradcheck gradgradcheck",
            "derivatives": "grad",
            "proving.chain_rule": "Derivation Link derive",
            "proving.exact": "",
            "proving.printing": "formula latex",
            "proving.proofs": "Proof prove",
            "proving.symbolic": "expression symbols",
            "stepping.explaining": "Explanation explain why",
            "stepping.frames": "",
            "stepping.steps": "Contribution Step Summary steps",
            "stepping.tape": "Change Tape record",
            "transforms": "elementwise_grad hessian hvp jacobian jvp value_and_grad vjp",
        },
    )

step_limit = 2000  # nodes: a debugger that is attached steps through passes of no more, unless it is asked to

__all__ = [
    "AnomalyError", "Change", "Compiled", "Contribution", "Derivation", "Explanation", "GradcheckError", "Hook", "Link",
    "Node", "Proof", "Rule", "StaleError", "Step", "Summary", "Tape", "Tensor", "Value", "abs", "add", "apply",
    "argmax", "argmin", "astype", "binary_cross_entropy_with_logits", "broadcast_to", "clip", "compile", "concatenate",
    "cos", "cumsum", "derive", "detect_anomaly", "divide", "dot", "einsum", "elementwise_grad", "enable_grad", "exp",
    "expand_dims", "explain", "expm1", "expression", "flip", "formula", "grad", "gradcheck", "gradgradcheck", "hessian",
    "hvp", "index", "is_grad_enabled", "jacobian", "jvp", "latex", "leaky_relu", "linear", "log", "log1p",
    "log_softmax", "logsigmoid", "logsumexp", "matmul", "max", "maximum", "mean", "min", "minimum", "multiply",
    "negative", "no_grad", "norm", "permute", "positive", "power", "prod", "prove", "record", "record_sites", "relu",
    "reshape", "rules", "set_grad_enabled", "sigmoid", "sign", "sin", "sites", "softmax", "softplus", "split", "sqrt",
    "square", "squeeze", "stack", "std", "step_limit", "steps", "subtract", "sum", "swapaxes", "symbols",
    "take_along_axis", "tan", "tanh", "topological_order", "transpose", "value_and_grad", "var", "vjp", "where", "why",
]  # fmt: skip
