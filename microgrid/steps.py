"""A backward pass, one node at a time.

>>> import microgrid as mg
>>> x = mg.Value(3.0, name="x")
>>> for step in mg.steps(x * x + 2 * x):
...     print(step.op, step.upstream, [(c.input.name, c.value) for c in step.contributions if c.input.name])
add 1.0 []
multiply 1.0 [('x', 2.0)]
multiply 1.0 [('x', 3.0), ('x', 3.0)]
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from microgrid import sites
from microgrid.graph import Node, check_root, keep, seeded, topological_order, walk
from microgrid.rule import Rule

__microgrid_machinery__ = True


class Contribution(NamedTuple):
    """What one node adds to the gradient of one of its inputs."""

    input: Node
    slot: str  # the input's name in the rule: x, y, W, xs[2]
    value: Any  # this share, in the input's shape
    before: Any  # the input's gradient in this pass so far; None where this is the first share
    after: Any  # before + value


class Step(NamedTuple):
    """One node of a backward pass: its gradient comes from above, and its inputs take their shares."""

    index: int  # type: ignore[assignment]  # a step is no sequence to be searched
    total: int
    node: Node
    upstream: Any  # dL/d(node)
    contributions: tuple[Contribution, ...]

    @property
    def name(self) -> str | None:
        """The node's name."""
        return self.node.name

    @property
    def op(self) -> str:
        """The name of the rule; empty for a leaf."""
        return self.node.rule.__name__ if self.node.rule else ""

    @property
    def rule(self) -> type[Rule] | None:
        """The operation that is differentiated."""
        return self.node.rule

    @property
    def source(self) -> sites.Site | None:
        """The user's line that made the node."""
        return self.node.site

    def __str__(self) -> str:
        at = f"  {self.source}" if self.source else ""
        what = f"{self.name} = {self.op}" if self.name else self.op
        text = f"{self.index + 1}/{self.total}  {what}{at}"
        return f"{text}  upstream {np.array2string(np.asarray(self.upstream), precision=4, threshold=6)}"


def steps(root: Node, gradient: Any = None) -> Iterator[Step]:
    """The backward pass of `root.backward(gradient)`, yielded operation by operation, newest first.

    It is the same walk as `backward()`: when it has run to its end the same gradients are stored; stopped before
    that, none are. No mode or lock is held while it is suspended.

    Parameters
    ----------
    root : Value or Tensor
    gradient : optional
        As for `backward`.

    Yields
    ------
    Step

    Raises
    ------
    ValueError, StaleError
        As `backward`.
    """
    check_root(root, "steps")
    order = topological_order(root)
    gradients: dict[Node, Any] = {root: seeded(root, gradient, create_graph=False)}
    return _steps(order, gradients)


def _steps(order: list[Node], gradients: dict[Node, Any]) -> Iterator[Step]:
    total = sum(node.rule is not None and node.requires_grad for node in order)
    so_far: dict[Node, Any] = dict(gradients)
    passes = walk(order, gradients, None, False)
    index = 0
    while True:
        with np.errstate(all="ignore"):
            done = next(passes, None)
        if done is None:
            break
        node, upstream, shares = done
        if node.rule is None:
            continue
        contributions = []
        for position, share in shares:
            x = node.inputs[position]
            before = so_far.get(x)
            so_far[x] = share if before is None else before + share
            contributions.append(Contribution(x, _slot(node.rule, position), share, before, so_far[x]))
        yield Step(index, total, node, upstream, tuple(contributions))
        index += 1
    keep(order, gradients, None, False)


def _slot(rule: type[Rule], position: int) -> str:
    return f"{rule.inputs[0]}[{position}]" if rule.variadic else rule.inputs[position]
