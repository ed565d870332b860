"""A backward pass that any Python debugger steps through, on the user's own lines.

The pass becomes a function with one statement for each node, newest first, and each statement carries the file and
the line of the user that made the node: the program, walked in reverse. A debugger needs no plug-in for it. Nodes of
one line are turns of a loop whose head has no line at all, so that a debugger meets the line anew at each turn; where
the file changes a new function begins.
"""

from __future__ import annotations

import ast
import builtins
import sys
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from itertools import groupby
from types import CodeType, FrameType, FunctionType, ModuleType
from typing import Any, NamedTuple

import numpy as np

from microgrid import sites
from microgrid.graph import Node, Walk, differentiate
from microgrid.stepping import debugging
from microgrid.stepping.steps import Names, applied_to, reached, step_of

__microgrid_machinery__ = True

STATEMENT = "node, g, inputs, contributions = proceed(node, g, differentiate(node, g, wanted, create_graph))"
NOWHERE = 0  # in a syntax tree: what stands on no line


def unasked(order: Sequence[Node]) -> bool:
    """Whether a pass is stepped though nobody asked: where a node has a breakpoint, or a debugger watches this thread.

    Not if `MICROGRID_STEP=0` is in the environment, nor, for a debugger alone, above `mg.step_limit` nodes: the first
    time, a line on stderr says so.
    """
    if debugging.off():
        return False
    if [node for node in order if node._extra is not None and _breaks(node)]:  # without a call for each node
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
        walk.run()
        return
    debugging.skip_machinery()
    passing = _Pass(walk, nodes, names or Names(walk.order), stop)
    functions = list(_functions(nodes, passing))
    try:
        with np.errstate(all="ignore"):
            for function in functions:
                function(*passing.state)
            for node in walk.order:
                if node.rule is None:
                    walk.arrive(node)  # the hooks of leaves
    finally:
        debugging.step_over(passing.followed)


class _Pass:
    """What the statements of a stepped pass call.

    Attributes
    ----------
    state : tuple
        What a function begins with: node, g, inputs, and the contributions of the node before.
    last : set of int
        The places of the nodes after which a function ends.
    followed : bool
        Whether a debugger's user steps, and is to find the next line where the pass goes on.
    """

    def __init__(self, walk: Walk, nodes: Sequence[Node], names: Names, stop: bool) -> None:
        self.walk, self.nodes, self.names, self.index = walk, nodes, names, 0
        self.state: tuple[Any, ...] = (nodes[0], walk.arrive(nodes[0]), nodes[0].inputs, ())
        self.last = set[int]()
        self.followed = stop

    def proceed(self, node: Node, g: Any, shares: list[tuple[int, Any]]) -> tuple[Any, ...]:
        """Hand on the shares of a node, and go to the next: (node, g, inputs, contributions of the one before)."""
        __tracebackhide__ = __debuggerskip__ = True
        handed = self.walk.hand_on(node, g, shares)
        step = step_of(node, applied_to(node, g), handed, self.names, self.index, len(self.nodes))
        if self.index in self.last:
            self.followed = debugging.leave(sys._getframe(1))
        else:
            debugging.begin_anew(sys._getframe(1))
        self.index += 1
        following = self.nodes[self.index] if self.index < len(self.nodes) else node
        if following is not node:
            g = self.walk.arrive(following)
        self.state = (following, g, following.inputs, step.contributions)
        return self.state

    def follow(self) -> None:
        """Where a function begins: stop here, if this is where the user has stepped to."""
        __tracebackhide__ = __debuggerskip__ = True
        if self.followed and debugging.debugger() is not None:
            debugging.stop_in(sys._getframe(1), stepping=self.index > 0)
        self.followed = False

    def halt(self) -> None:
        """Where a node has a breakpoint: stop here."""
        __tracebackhide__ = __debuggerskip__ = True
        debugging.stop_in(sys._getframe(1))


class _Turns(NamedTuple):
    """Nodes that were made one after the other on one line."""

    line: int
    count: int  # type: ignore[assignment]  # a group is no sequence to be searched
    before: tuple[tuple[str, int], ...]  # what is called before the first of them, and on which line


def _functions(nodes: Sequence[Node], passing: _Pass) -> Iterator[Callable[..., None]]:
    """A function for each run of nodes that one function of the user's has made, or the module itself."""
    places, (file, line, top) = [], ("<microgrid backward>", 1, 1)
    for index, node in enumerate(nodes):
        if node._code is not None:  # else it stays where the node before it is
            site = sites.resolve(node._code, node._instruction)
            file, line, top = site.file, site.line, node._code.co_firstlineno
        places.append((file, line, top, index if _breaks(node) else -1))
    hook = debugging.users_hook()
    scope = {
        "differentiate": differentiate, "proceed": passing.proceed, "wanted": passing.walk.wanted,
        "create_graph": passing.walk.create_graph, "follow": passing.follow, "halt": passing.halt, "hook": hook,
        sites.MARK: True,
    }  # fmt: skip
    begun, names = 0, {file: _names_in(file) for file in dict.fromkeys(place[0] for place in places)}
    for (file, top), of_function in groupby(places, key=lambda place: (place[0], place[2])):
        first, groups = begun, []
        for (_, line, _, breaks), turns in groupby(of_function, key=lambda place: place):
            before = []
            if begun == first:  # pydevd stops where a call returns to
                before.append(("follow()", line if debugging.debugger() == "pydevd" else NOWHERE))
            if breaks >= 0:  # pdb's likes look at the frame that calls, and from Python 3.13 on stop in it at once
                before.append(("hook()", line) if hook else ("halt()", NOWHERE))
            groups.append(_Turns(line, len(list(turns)), tuple(before)))
            begun += groups[-1].count
        passing.last.add(begun - 1)
        turns_of = {f"turns_{i}": [False] + [True] * (group.count - 2) for i, group in enumerate(groups)}
        yield FunctionType(_code(file, top, tuple(groups)), names[file] | scope | turns_of)


def _names_in(file: str) -> dict[str, Any]:
    """What the user's names mean in a file, for a debugger to evaluate: in the frames that wait, else in its module."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename == file:
            return {**frame.f_globals, **frame.f_locals}
        frame = frame.f_back
    modules = (vars(module) for module in list(sys.modules.values()) if isinstance(module, ModuleType))
    return {"__builtins__": builtins, **next((names for names in modules if names.get("__file__") == file), {})}


def _breaks(node: Node) -> bool:
    return node._extra is not None and bool(node._extra.get("breakpoint"))


# ------------------------------------------------------------------------------------- the code of such a function


@lru_cache(maxsize=1024)  # a training loop makes the same graph again and again
def _code(file: str, top: int, groups: tuple[_Turns, ...]) -> CodeType:
    """The code of a function whose definition stands at the line `top`, with so many turns on each line."""
    body = []
    for i, (line, count, before) in enumerate(groups):
        for call, place in before:
            body += _placed(call, place)
        if before and before[-1][0] == "hook()":
            body += _placed("node", NOWHERE)  # so that the line begins anew
        if count > 1:
            (loop,) = _placed(f"while turns_{i}.pop(): pass", NOWHERE)  # its last entry is False
            assert isinstance(loop, ast.While)
            loop.body = _placed(STATEMENT, line)
            body += [*_placed(STATEMENT, line), loop]
        body += _placed(STATEMENT, line)  # the first and the last stand alone: calls come before, the return after
    (definition,) = _placed("def backward(node, g, inputs, contributions): pass", top)
    assert isinstance(definition, ast.FunctionDef)
    definition.body = body
    module = compile(ast.Module([definition], []), file, "exec")
    (code,) = (constant for constant in module.co_consts if isinstance(constant, CodeType))
    return _without_nowhere(code)


def _placed(text: str, line: int) -> list[ast.stmt]:
    """A statement, all of it on one line."""
    tree = ast.parse(text)
    for part in ast.walk(tree):
        if isinstance(part, ast.stmt | ast.expr | ast.arg):
            part.lineno = part.end_lineno = line
            part.col_offset = part.end_col_offset = 0
    return tree.body


def _without_nowhere(code: CodeType) -> CodeType:
    """The code with no line in place of the line `NOWHERE`.

    Notes
    -----
    A table of locations has entries of up to 8 units of code: 0x80 + 8 * kind + units - 1, where kind 15 is no
    location, and kind 13 a line without columns, after which the difference from the line before follows as a signed
    number, six bits a byte, the lowest first (CPython, Objects/locations.md, from 3.11 on).
    """
    table, before = bytearray(), code.co_firstlineno
    for line, same in groupby(positions[0] for positions in code.co_positions()):
        units = len(list(same))
        while units:
            length = min(units, 8)
            units -= length
            if not line:
                table.append(0x80 | 15 << 3 | length - 1)
                continue
            table.append(0x80 | 13 << 3 | length - 1)
            rest = line - before
            rest, before = (-rest << 1 | 1 if rest < 0 else rest << 1), line
            while rest >= 64:
                table.append(0x40 | rest & 63)
                rest >>= 6
            table.append(rest)
    return code.replace(co_linetable=bytes(table))
