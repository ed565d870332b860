"""Backward passes in words: the chain rule with the numbers in it, and what became of one gradient.

>>> import microgrid as mg
>>> x, y = mg.Value(-2.0, name="x"), mg.Value(3.0, name="y")
>>> with mg.record_sites(False):
...     L = mg.relu(x) * y
>>> L.backward()
>>> print(mg.why(x, L))
x.grad is 0:
  relu is dead, its input being -2 <= 0: %2 = relu of x
>>> print(mg.why(y, L))
y.grad is 0:
  it is multiplied by 0: %3 = multiply of %2 and y
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from microgrid import sites
from microgrid.graph import Node, topological_order
from microgrid.stepping.steps import Contribution, Step, brief, finite, one_line, shape
from microgrid.stepping.tape import Tape, looked_at
from microgrid.stepping.tape_files import Recorded

__microgrid_machinery__ = True


class Explanation:
    """Text, which `print` shows, as does a notebook."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text

    def __repr__(self) -> str:
        return one_line(f"<{self.text.partition(chr(10))[0].rstrip(':')}>")

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        printer.text(self.text)


# ------------------------------------------------------------------------------------------------- the chain rule


def explain(root: Node | Tape, gradient: Any = None, *, params: Any = None) -> Explanation:
    """Write the chain rule of a backward pass out, node by node, with the numbers in it. No gradient is stored.

    Parameters
    ----------
    root : Value, Tensor or Tape
        What is differentiated; or the recorded pass.
    gradient : optional
        As for `backward`.
    params : Module, or mapping of str to node, optional
        Names, as for `steps`.

    Returns
    -------
    Explanation
        `print` it.

    Raises
    ------
    TypeError, ValueError
        As `backward`.

    Examples
    --------
    >>> import microgrid as mg
    >>> w, x = mg.Value(2.0, name="w"), mg.Value(-3.0, name="x")
    >>> with mg.record_sites(False):
    ...     L = (w * x + 1) * w
    >>> L.name = "L"
    >>> print(mg.explain(L))
    L = -10. Each node hands its gradient on: dL/d(input) += dL/d(node) * ∂(node)/∂(input)
    <BLANKLINE>
    L = multiply of %3 and w                            dL/dL = 1
        dL/d%3 += dL/dL * ∂L/∂%3 = 1 * 2 = 2                    g * y
        dL/dw  += dL/dL * ∂L/∂w = 1 * -5 = -5                   g * x
    %3 = add of %2 and 1                                dL/d%3 = 2
        dL/d%2 += dL/d%3 * ∂%3/∂%2 = 2 * 1 = 2                  g
    %2 = multiply of w and x                            dL/d%2 = 2
        dL/dw += dL/d%2 * ∂%2/∂w = 2 * -3 = -6                  g * y, so far -11
        dL/dx += dL/d%2 * ∂%2/∂x = 2 * 2 = 4                    g * x
    <BLANKLINE>
    So, in sum:
        dL/dw = -5 - 6 = -11
        dL/dx = 4
    """
    if isinstance(root, Tape):
        tape = root
    else:
        _check(root, "explain")
        if not root.requires_grad:
            return Explanation("\n  ".join([f"{_named(root)} has no gradient to hand on:", *_constant_because(root)]))
        tape = looked_at(root, gradient, params)
    names = dict(tape.labels)
    if names[tape.root].startswith("%") and "L" not in names.values():
        names[tape.root] = "L"  # as it is called on paper
    L = names[tape.root]
    lines = [
        f"{L} = {brief(tape.values[tape.root])}. Each node hands its gradient on: "
        f"d{L}/d(input) += d{L}/d(node) * ∂(node)/∂(input)",
        "",
    ]
    for step in tape:
        lines.append(_columns(_made(step.node, names), f"d{L}/d{names[step.node]} = {brief(step.upstream)}"))
        width = max((len(c.label) for c in step.contributions), default=0)
        lines += [f"    {_handed(names[step.node], step, c, L, width)}" for c in step.contributions]
    leaves = [node for node in tape.labels if not node.inputs and tape.changes(node)]
    if leaves:
        totals = tape.before(len(tape))
        lines += ["", "So, in sum:", *(f"    {_sum(node, tape, L, totals[tape.labels[node]])}" for node in leaves)]
    return Explanation("\n".join(lines))


def _columns(left: str, right: str, at: int = 52) -> str:
    return f"{left.ljust(at - 2)}  {right}"


def _handed(name: str, step: Step, c: Contribution, L: str, width: int) -> str:
    """One term of the chain rule: of numbers as a product, of arrays in words."""
    into = f"d{L}/d{c.label}".ljust(width + len(L) + 3)
    words = c.formula + (f", so far {brief(c.after)}" if c.before is not None else "")
    if c.local is None:
        return f"{into} += {words}: {_shaped(c.value)}"
    product = f"d{L}/d{name} * ∂{name}/∂{c.label} = {brief(step.upstream)} * {brief(c.local)}"
    return _columns(f"{into} += {product} = {brief(c.value)}", words, 56)


def _sum(node: Any, tape: Tape, L: str, total: Any) -> str:
    """A leaf's gradient, as the sum of its contributions."""
    changes = tape.changes(node)
    shares = [change.contribution.value for change in changes]
    if not shape(total):
        parts = " + ".join(map(brief, shares[:8])).replace("+ -", "- ") + (" + ..." if len(shares) > 8 else "")
    else:
        parts = " + ".join(f"[{tape[change.index].label}]" for change in changes[:8])
        parts += " + ..." if changes[8:] else ""
    text = f"d{L}/d{tape.labels[node]} = {parts}"
    by_hooks = not _same(total, changes[-1].after)
    text += f" = {brief(total)}" if (len(changes) > 1 or by_hooks) and not shape(total) else ""
    text += f" ({len(changes)} contributions)" if len(changes) > 8 else ""
    text += "" if not shape(total) else f": {_shaped(total)}"
    return text + (", as its hooks leave it" if by_hooks else "")


def _same(x: Any, y: Any) -> bool:
    return x is y or bool(np.all((np.asarray(x) == np.asarray(y)) | (np.asarray(x) != np.asarray(x))))


def _shaped(x: Any) -> str:
    """An array with its shape."""
    text = brief(x)
    return text if not isinstance(x, np.ndarray) or str(x.shape) in text else f"{x.shape} {text}"


def _made(node: Any, labels: Mapping[Any, str]) -> str:
    """How a node was made, as its line has it, or else in words: `h = w * x at train.py:7`."""
    label = labels[node]
    if node.site is not None and node.site.expression:
        return f"{label} = {node.site.expression} at {node.site}"
    inputs = [labels[x] if isinstance(x, (Node, Recorded)) else brief(x) for x in node.inputs]
    op = node.rule.__name__ if node.rule else "a number"
    at = f" at {node.site}" if node.site else ""
    return f"{label} = {op}{' of ' if inputs else ''}{' and '.join(inputs)}{at}"


# ------------------------------------------------------------------------------------------- what became of a gradient


def why(node: Node, root: Node | None = None, *, params: Any = None) -> Explanation:
    """Say why the gradient of a node is None, 0 or not finite: which node stopped it, and on which line.

    Parameters
    ----------
    node : Value or Tensor
    root : Value or Tensor, optional
        What was differentiated. Without it only what the node knows of itself is told.
    params : Module, or mapping of str to node, optional
        Names, as for `steps`.

    Returns
    -------
    Explanation
        `print` it. A gradient that is as it should be is said to be so. No gradient is stored.

    Examples
    --------
    >>> import microgrid as mg
    >>> x = mg.Value(800.0, name="x")
    >>> with mg.record_sites(False):
    ...     a = mg.sigmoid(x)
    >>> a.backward()
    >>> print(mg.why(x, a))
    x.grad is 0:
      sigmoid is saturated, its value being 1: %1 = sigmoid of x
    """
    _check(node, "why")
    name = _named(node)
    if not node.requires_grad:
        return _listed(f"{name}.grad is {_shown(node)}: no gradient is asked of it:", _constant_because(node))
    if root is None:
        return Explanation(_alone(node, name))
    _check(root, "why")
    if not root.requires_grad:
        return _listed(f"{name}.grad is {_shown(node)}: {_named(root)} has none to hand on:", _constant_because(root))
    order = topological_order(root)
    if node not in set(order):
        return _listed(f"{name}.grad is {_shown(node)}:", _outside(node, root, order))
    ones = np.ones(shape(root._data)) if np.size(root._data) != 1 else None
    return _told(node, looked_at(root, ones, params))


def _listed(head: str, reasons: Iterable[str]) -> Explanation:
    return Explanation("\n  ".join([head, *dict.fromkeys(reasons)]))


def _alone(node: Node, name: str) -> str:
    """What a node knows of its own gradient."""
    if node._grad is None:
        return f"{name}.grad is {_shown(node)}: no backward pass has reached it, since it was made or since zero_grad()"
    gradient = getattr(node._grad, "_data", node._grad)
    if finite(gradient) and not _zeros(gradient).any():
        passes = "a backward pass left it" if node.rule else "backward passes since zero_grad() have left it"
        hooks = ", as its hooks let it through" if node._extra and node._extra.get("hooks") else ""
        return f"{name}.grad is {brief(gradient)}, as {passes}{hooks}: nothing is wrong with that"
    if not finite(node._data):
        return f"{name}.grad is {brief(gradient)}, and {name} itself is {brief(node._data)}"
    return f"{name}.grad is {brief(gradient)}: to find out why, name what was differentiated: mg.why(node, root)"


def _told(node: Any, tape: Tape) -> Explanation:
    label, root = tape.labels[node], tape.labels[tape.root]
    gradient = tape.before(len(tape)).get(label)
    held = getattr(node._grad, "_data", node._grad)
    head = f"{label}.grad is {_shown(node)}"
    if gradient is None:
        return _listed(f"{head}:", _not_reached(node, tape))
    fine = finite(gradient) and not _zeros(gradient).any()
    added_up = held is not None and not _same(gradient, held)
    if added_up and node.rule is None:
        head += f", which passes have added up since zero_grad(); {root}.backward() gives {brief(gradient)}"
    elif fine and held is None:
        head += f": no backward pass has been run since; {root}.backward() would give {brief(gradient)}"
    elif fine:
        head += f", and {root}.backward() gives {brief(gradient)}"
    elif held is None or added_up:
        head = f"{label}.grad would be {brief(gradient)} after {root}.backward()"
    if fine:
        count = len(tape.changes(node))
        head += f", the sum of {count} contributions" if count > 1 else ""
        if added_up and not finite(held):
            return Explanation(f"{head}: that is finite, an earlier pass was not")
        hooks = list(_hooks_above(node, tape))
        return _listed(f"{head}:", hooks) if hooks else Explanation(f"{head}: nothing is wrong with that")
    bad, because = (_zeros, _zero_because) if finite(gradient) else (_not_finite, _not_finite_because)
    if shape(gradient):
        found = bad(gradient)
        head += f", with {found.sum()} of {found.size} {'0' if bad is _zeros else 'not finite'}"
    return _listed(f"{head}:", _traced(node, tape, bad, because))


def _hooked(node: Any, tape: Tape) -> tuple[Any, Any] | None:
    """What hooks have made of a node's gradient: (before, after); None where they left it as it was."""
    changes, step = tape.changes(node), tape.step_of(node)
    before = changes[-1].after if changes else tape.seed if node is tape.root else None
    after = step.upstream if step is not None else tape.before(len(tape)).get(tape.labels[node])
    return None if before is None or after is None or _same(before, after) else (before, after)


def _by_hook(node: Any, tape: Tape, before: Any, after: Any) -> str:
    return f"a hook of {tape.labels[node]} turned {brief(before)} into {brief(after)}"


def _hooks_above(node: Any, tape: Tape) -> Iterator[str]:
    """The hooks that changed gradients on the way to a node."""
    leads = {node}
    for step in reversed(tape):
        if any(c.input in leads for c in step.contributions):
            leads.add(step.node)
    for x in tape.labels:
        if x in leads and (changed := _hooked(x, tape)):
            yield _by_hook(x, tape, *changed)


def _traced(
    node: Any, tape: Tape, bad: Callable[[Any], Any], because: Callable[[Step, Contribution, Tape, Any], str]
) -> Iterator[str]:
    """Where a gradient became what it is: from the node up to the steps that made it so."""
    waiting, found = [node], {node}
    given_to: dict[Any, list[tuple[Step, Contribution]]] = {}
    for step in tape:
        for c in step.contributions:
            given_to.setdefault(c.input, []).append((step, c))
    for x in waiting:
        given = given_to.get(x, [])
        if changed := _hooked(x, tape):
            yield _by_hook(x, tape, *changed)
            if not bad(changed[0]).any():
                continue
        if given:
            yield from _summed(tape.labels[x], [c.value for _, c in given], given[-1][1].after, bad)
        else:
            yield f"the pass began with it: the gradient of {tape.labels[x]} was given as {brief(tape.seed)}"
        for step, c in given:
            here, above = bad(c.value), bad(step.upstream)
            if not here.any():
                continue
            if above.any():  # it came from further up, at least in part
                here = here & ~above if above.shape == here.shape else here & (bad is _zeros and not above.all())
                if step.node not in found:
                    found.add(step.node)
                    waiting.append(step.node)
            if here.any():
                of = f" (in {here.sum()} of {here.size} elements)" if here.shape else ""
                yield f"{because(step, c, tape, here)}{of}: {_made(step.node, tape.labels)}"


def _summed(label: str, values: list[Any], total: Any, bad: Callable[[Any], Any]) -> Iterator[str]:
    """Where every share is good and their sum is not."""
    fresh = bad(total) & ~np.any([bad(value) for value in values], axis=0)
    listed = " + ".join(map(brief, values[:4])).replace("+ -", "- ") + (" + ..." if values[4:] else "")
    if fresh.any():
        what = "cancel" if bad is _zeros else "overflow"
        of = f" in {fresh.sum()} of {fresh.size} elements" if fresh.shape else ""
        yield f"the {len(values)} contributions to {label} {what}{of}: {listed}"
    elif bad is _not_finite and np.isnan(total).any() and not any(np.isnan(value).any() for value in values):
        yield f"the contributions to {label} are inf and -inf, and their sum is nan: {listed}"


def _zeros(x: Any) -> Any:
    return np.asarray(x == 0, bool)


def _not_finite(x: Any) -> Any:
    return ~np.isfinite(x) if isinstance(x, (float, np.ndarray)) else np.array(not finite(x))


# What is said of a rule that hands 0 on, in the letters of the rule.
ZERO = {
    "sigmoid": "sigmoid is saturated, its value being {z}",
    "tanh": "tanh is saturated, its value being {z}",
    "relu": "relu is dead, its input being {x} <= 0",
    "multiply": "it is multiplied by 0",
    "dot": "it is multiplied by 0",
    "matmul": "it is multiplied by 0, or by numbers that cancel",
    "linear": "it is multiplied by 0, or by numbers that cancel",
    "einsum": "it is multiplied by 0, or by numbers that cancel",
    "prod": "it is multiplied by 0",
    "divide": "the quotient is 0",
    "where": "where chooses the other",
    "clip": "clip holds it at a bound, its input being {x}",
    "max": "max chooses another",
    "min": "min chooses another",
    "maximum": "maximum chooses the other",
    "minimum": "minimum chooses the other",
    "abs": "abs has a kink at 0, where its derivative is taken to be 0",
    "norm": "norm has a kink at 0, where its derivative is taken to be 0",
    "std": "all numbers are equal, where the derivative of std is taken to be 0",
    "sign": "sign is flat",
    "square": "a square is flat at 0",
    "power": "the power is flat there: {x} ** {y}",
    "cos": "cos is flat there",
    "sin": "sin is flat there",
    "index": "the index does not choose it",
    "take_along_axis": "it is not taken",
    "softmax": "softmax is saturated, or all its gradients are equal",
}


def _zero_because(step: Step, c: Contribution, tape: Tape, here: Any) -> str:
    if c.local is not None and c.local != 0:
        return f"underflow: {brief(step.upstream)} * {brief(c.local)} is less than the smallest float"
    template = ZERO.get(step.op, f"{step.op} hands 0 on")
    if step.applied.rule is None or step.applied.rule.variadic or "{" not in template:
        return template
    numbers = dict(zip(step.applied.rule.inputs, map(brief, step.applied.inputs), strict=True))
    return template.format(z=brief(step.applied.z), **numbers)


def _not_finite_because(step: Step, c: Contribution, tape: Tape, here: Any) -> str:
    inputs = tuple([x[here] if shape(x) == here.shape != () else x for x in step.applied.inputs])
    reasons = [_outside_domain(step.op, inputs, c.slot)]
    numbers = [step.applied.z, *step.applied.inputs]
    if not reasons[0] and not all(map(finite, numbers)) and (forward := _forward(step.node, tape)):
        return forward
    if step.op in AT_ZERO:
        position, words = AT_ZERO[step.op]
        if _zeros(inputs[position]).any():
            above = _zeros(step.upstream)
            nan = np.isnan(c.value).any() and above.any()
            reasons.append(f"0 * inf: the gradient from above is 0, and {words}" if nan else words)
    told = "; ".join(filter(None, reasons))
    return told or f"overflow: {c.formula} of {brief(step.upstream)} is beyond the largest float"


AT_ZERO = {  # of which input, and what is said
    "log": (0, "log at 0, where its derivative 1 / x is infinite"),
    "divide": (1, "division by 0"),
    "sqrt": (0, "sqrt at 0, where its derivative is infinite"),
    "power": (0, "a power of 0, where its derivative is infinite"),
}
# Where rules of real numbers have no value, in the letters of the rule, and how such a number is written.
DOMAINS: dict[str, tuple[Callable[..., Any], str]] = {
    "log": (lambda x: x < 0, "log of {x}"),
    "log1p": (lambda x: x < -1, "log1p of {x}"),
    "sqrt": (lambda x: x < 0, "sqrt of {x}"),
    "power": (lambda x, y: (x < 0) & (y != np.floor(y)) & np.isfinite(y), "({x}) ** {y}"),
}


def _outside_domain(op: str, inputs: tuple[Any, ...], slot: str = "") -> str:
    """That a rule is applied, or differentiated, where it has no value; empty where it has."""
    if op not in DOMAINS or not all(isinstance(x, (int, float, np.ndarray)) for x in inputs):
        return ""
    beyond, words = DOMAINS[op]
    what = "is no real number"
    with np.errstate(invalid="ignore"):
        found = np.asarray(beyond(*inputs))
        if not found.any() and op == "power" and slot == "y":  # (-1)^2 is real, its derivative by the exponent is not
            found = np.broadcast_to(np.less(inputs[0], 0), found.shape)
            words, what = "({x}) ** y", "is real for whole y alone"
    if not found.any():
        return ""
    first = [np.broadcast_to(x, found.shape)[found][0] for x in inputs]
    return f"outside the domain: {words.format(**dict(zip('xy', map(brief, map(float, first)), strict=False)))} {what}"


def _forward(node: Any, tape: Tape) -> str:
    """Where the value that a node was computed from first ceased to be finite, if not in its own derivative."""
    needed = {node}
    for older in reversed(list(tape.labels)):
        if older in needed:
            needed.update(x for x in older.inputs if isinstance(x, (Node, Recorded)))
    for older in tape.labels:
        if older not in needed or finite(tape.values[older]):
            continue
        value = brief(tape.values[older])
        if not older.inputs:
            return f"{tape.labels[older]} is {value} to begin with"
        if older is node and older.rule is not None and older.rule.__name__ in AT_ZERO:
            return ""
        at = "" if older is node else f", at {_made(older, tape.labels)}; met at"
        met = [tape.values[x] if isinstance(x, (Node, Recorded)) else x for x in older.inputs]
        domain = _outside_domain(older.rule.__name__ if older.rule else "", tuple(met))
        return f"already {value} in the forward pass{f' ({domain})' if domain else ''}{at}"
    return ""


# ------------------------------------------------------------------------------------------- gradients that never come


def _constant_because(node: Node) -> list[str]:
    """Why a node requires no gradient, as far as its line tells."""
    made = f"{node.site.expression or 'it'} at {node.site}" if node.site else "it"
    text = node.site.expression if node.site else ""
    if ".detach(" in text or text.endswith(".data"):
        return [f"it was detached: {made}"]
    if any(word in text for word in ("Tensor(", "tensor(", "Value(", "zeros(", "ones(")):
        return [f"it was made without requires_grad=True, or set to requires_grad_(False): {made}"]
    return [f"{made} was computed under no_grad(), detached, or of numbers that require no gradient"]


def _outside(node: Node, root: Node, order: list[Node]) -> list[str]:
    """Why a node is not in a graph: where the graph ends in constants that were computed."""
    lines = [f"it is no part of the graph of {_named(root)}: nothing there was computed from it"]
    ends = [x for x in order if x.rule is None and not x.requires_grad]
    suspects = [x for x in ends if x.site and (".detach(" in x.site.expression or x.site.expression.endswith(".data"))]
    if node.rule is None and node._number > root._number:
        lines = [f"it is no part of the graph of {_named(root)}, which is older: it was made, or written to, later"]
    lines += [f"the graph ends at {_named(x)}, which was detached at {x.site}" for x in suspects[:3]]
    if not suspects:
        lines += [f"the graph ends at {_named(x)}, a constant made at {x.site}" for x in ends[:3] if x.site]
    return lines


def _not_reached(node: Any, tape: Tape) -> list[str]:
    """Why no gradient reaches a node of the graph that requires one."""
    users = [x for x in tape.labels if any(given is node for given in x.inputs)]
    lines = []
    for user in users:
        names = user.rule.inputs if not user.rule.variadic else ()
        places = [names[i] for i, x in enumerate(user.inputs) if x is node and names]
        if places and all(place in user.rule.constant for place in places):
            lines.append(f"{user.rule.__name__} has no derivative in {', '.join(places)}: {_made(user, tape.labels)}")
        else:
            lines.append(f"no gradient reaches {_made(user, tape.labels)}")
    return lines


def _named(node: Any) -> str:
    """A node in a sentence: its name, else its expression."""
    if node.name:
        return str(node.name)
    text = node.site.expression if node.site else ""
    return f"({text})" if text else "the node"


def _shown(node: Any) -> str:
    return brief(getattr(node.grad, "_data", node.grad)) if node.grad is not None else "None"


def _check(node: Any, operation: str) -> None:
    if not isinstance(node, Node):
        raise TypeError(f"{operation}: expected a Value or a Tensor, got {type(node).__name__}, at {sites.here()}")
