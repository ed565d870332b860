"""A backward pass that any Python debugger steps through, on the user's own lines.

The pass becomes a function with one statement for each node, newest first, and each statement carries the file and
the line of the user that made the node: the program, walked in reverse. A debugger needs no plug-in for it. Nodes of
one line are turns of a loop, because a jump back is what makes a debugger stop at a line again; where the file changes
a new function begins.
"""

from __future__ import annotations

import ast
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from types import CodeType
from typing import Any

import numpy as np

from microgrid import debugging, sites
from microgrid.graph import Node, Walk, differentiate
from microgrid.steps import Applied, Names, step_of

__microgrid_machinery__ = True

STATEMENT = "node, g, inputs, contributions = proceed(node, g, differentiate(node, g, wanted, create_graph))"
NOWHERE = 0  # a line that no file has, and no breakpoint


def unasked(order: Sequence[Node]) -> bool:
    """Whether a pass is stepped though nobody asked: where a node has a breakpoint, or a debugger watches this thread.

    Not if `MICROGRID_STEP=0` is in the environment, nor, for a debugger alone, above `mg.step_limit` nodes: the first
    time, a line on stderr says so.
    """
    if os.environ.get("MICROGRID_STEP") == "0":
        return False
    if any(map(_breaks, order)):
        return True
    if debugging.debugger() is None:
        return False
    import microgrid

    if len(order) <= microgrid.step_limit:
        return True
    if not _told:
        _told.append(True)
        print(  # noqa: T201 (a debugger's user reads the terminal, and a warning may be an error)
            f"microgrid: a backward pass of {len(order):,} nodes is not stepped, since mg.step_limit is "
            f"{microgrid.step_limit:,}: backward(step=True) steps it all the same",
            file=sys.stderr,
        )
    return False


_told: list[bool] = []


def run(walk: Walk, names: Names | None = None, stop: bool = False) -> None:
    """Run a backward walk as a function on the user's lines.

    Parameters
    ----------
    walk : Walk
    names : Names, optional
        What the nodes are called.
    stop : bool, optional
        Have the debugger stop at the first node.
    """
    nodes = reached(walk)
    if not nodes:
        return
    debugging.skip_machinery()
    passing = _Pass(walk, nodes, names or Names(walk.order))
    functions = list(_functions(nodes, passing, stop or _breaks(nodes[0])))
    with np.errstate(all="ignore"):
        for function in functions:
            passing.state = function(*passing.state)
        debugging.step_over()


def reached(walk: Walk) -> list[Node]:
    """The operations that a gradient will reach, newest first."""
    found = set(walk.gradients)
    operations = []
    for node in reversed(walk.order):
        if node in found and node.rule is not None:
            operations.append(node)
            for position, x in enumerate(node.inputs):
                wrt = node.rule.wrt[0 if node.rule.variadic else position]
                if isinstance(x, Node) and x.requires_grad and wrt and (walk.wanted is None or x in walk.wanted):
                    found.add(x)
    return operations


class _Pass:
    """What the statements of a stepped pass call."""

    def __init__(self, walk: Walk, nodes: Sequence[Node], names: Names) -> None:
        self.walk, self.nodes, self.names, self.index = walk, nodes, names, 0
        self.state = (nodes[0], walk.arrive(nodes[0]), nodes[0].inputs, ())

    def proceed(self, node: Node, g: Any, shares: list[tuple[int, Any]]) -> tuple[Any, ...]:
        """Hand on the shares of a node, and go to the next: (node, g, inputs, contributions of the one before)."""
        __tracebackhide__ = __debuggerskip__ = True
        assert node.rule is not None
        handed = self.walk.hand_on(node, g, shares)
        numbers = tuple([getattr(x, "_data", x) for x in node.inputs])
        applied = Applied(node.rule, g, node._data, numbers, node.parameters)
        step = step_of(node, applied, handed, self.names, self.index, len(self.nodes))
        self.index += 1
        if self.index == len(self.nodes):
            return None, None, (), step.contributions
        following = self.nodes[self.index]
        if _breaks(following):
            debugging.stop_in(sys._getframe(1))
        return following, self.walk.arrive(following), following.inputs, step.contributions

    def begin(self) -> None:
        """Have the debugger stop at the statement that comes next."""
        __tracebackhide__ = __debuggerskip__ = True
        debugging.stop_in(sys._getframe(1))


def _breaks(node: Node) -> bool:
    return node._extra is not None and bool(node._extra.get("breakpoint"))


def _functions(nodes: Sequence[Node], passing: _Pass, stop: bool) -> Iterator[Callable[..., Any]]:
    """A function for each run of nodes that one file has made."""
    places = []
    file, line = "<microgrid backward>", 1
    for node in nodes:
        if node._code is not None:  # else it stays where the node before it is
            site = sites.resolve(node._code, node._instruction)
            file, line = site.file, site.line
        places.append((file, line))
    scope = {
        "differentiate": differentiate, "proceed": passing.proceed, "begin": passing.begin,
        "wanted": passing.walk.wanted, "create_graph": passing.walk.create_graph,
    }  # fmt: skip
    for file, lines in groupby(places, key=lambda place: place[0]):
        counts = tuple((line, len(list(same))) for line, same in groupby(line for _, line in lines))
        turns = {f"turns_{i}": [False] + [True] * count for i, (_, count) in enumerate(counts)}  # popped from the end
        function: dict[str, Any] = scope | turns
        exec(_code(file, counts, stop), function)
        yield function["backward"]
        stop = False


@lru_cache(maxsize=64)  # a training loop makes the same graph again and again
def _code(file: str, counts: tuple[tuple[int, int], ...], stop: bool) -> CodeType:
    """The code of a function with so many turns on each line."""
    body = [_statement("begin()", NOWHERE)] if stop else []
    for i, (line, count) in enumerate(counts):
        body.append(_statement(STATEMENT if count == 1 else f"while turns_{i}.pop(): {STATEMENT}", line))
    body.append(_statement("return node, g, inputs, contributions", counts[-1][0]))
    definition = _statement("def backward(node, g, inputs, contributions): pass", NOWHERE)
    assert isinstance(definition, ast.FunctionDef)
    definition.body = body
    return compile(ast.Module([definition], []), file, "exec")


def _statement(text: str, line: int) -> ast.stmt:
    """A statement, all of it on one line."""
    (statement,) = ast.parse(f"def f(): {text}" if text.startswith("return") else text).body
    if text.startswith("return"):
        assert isinstance(statement, ast.FunctionDef)
        (statement,) = statement.body
    for part in ast.walk(statement):
        if isinstance(part, ast.stmt | ast.expr | ast.arg):
            part.lineno = part.end_lineno = line
            part.col_offset = part.end_col_offset = 0
    return statement
