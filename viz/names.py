"""What nodes are called, and in which call of which module they were made.

A name is the parameter's path in the model, else what the user named the node, else the user's variable.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import microgrid as mg
from viz.words import clipped, given

__microgrid_machinery__ = True

SEARCHED = 1000  # so many elements of a list among the variables are looked at
SHORT = 40  # letters that the repr of a module may have to be its title,
KEYWORDS = re.compile(r", bias=True(?=[,)])|(?<=[(, ])\w+=")  # without these if need be: Linear(30, 16)


def paths(params: Any) -> dict[mg.Node, str]:
    """Names of parameters by node; of a node with several names, the first.

    Raises
    ------
    TypeError
        If `params` has no named parameters, or something else than a node has a name.
    """
    if params is None:
        return {}
    try:
        named = list(params.items() if isinstance(params, Mapping) else params.named_parameters())
    except (AttributeError, TypeError):
        raise TypeError(
            f"params: expected a model or a mapping of names to nodes, got {given(params)}, at {mg.sites.here()}"
        ) from None
    found: dict[mg.Node, str] = {}
    for path, parameter in named:
        if not _is_node(parameter):
            raise TypeError(
                f"params: expected a Value or Tensor for each name, got {given(parameter)} for {given(path)}, "
                f"at {mg.sites.here()}"
            )
        found.setdefault(parameter, str(path))
    return found


def users_variables() -> dict[str, Any]:
    """The variables of the user's frame, from which a picture is being asked for; those of the module after them."""
    frame = mg.sites.user_frame(sys._getframe(1))
    return {**frame.f_locals, **{name: x for name, x in frame.f_globals.items() if name not in frame.f_locals}}


def variables(scope: Mapping[str, Any]) -> dict[mg.Node, str]:
    """Nodes that variables hold, by node: `z`, or `h[2]` of a list, tuple or dict; not `_3` (a shell) or `@x` (pytest).

    Of a node with several names, the first; a variable of its own goes before a place in a list.
    """
    found: dict[mg.Node, str] = {}
    public = [(name, x) for name, x in list(scope.items()) if isinstance(name, str) and name[:1] not in "_@"]
    for name, x in public:
        if _is_node(x):
            found.setdefault(x, name)
    for name, x in public:
        for key, item in _elements(x):
            if _is_node(item):
                found.setdefault(item, f"{name}[{key!r}]")
    return found


def _is_node(x: Any) -> bool:
    return issubclass(type(x), mg.Node)  # isinstance would ask the object, which may be anything


def _elements(x: Any) -> Iterable[tuple[Any, Any]]:
    if type(x) in (list, tuple):
        return enumerate(x[:SEARCHED])
    if type(x) is dict and len(x) <= SEARCHED:
        return [(key, item) for key, item in list(x.items()) if type(key) in (str, int)]
    return ()


# ---------------------------------------------------------------------------------------------------- calls


class Call:
    """One call of a module: when it began and ended, in creation numbers, and the call that it was made in."""

    __slots__ = ("begun", "ended", "expanded", "kept", "module", "parent", "path")

    def __init__(self, path: str, module: Any, begun: int, ended: int) -> None:
        self.path, self.module, self.begun, self.ended = path, module, begun, ended
        self.parent: Call | None = None
        self.expanded = False  # whether the user wants all that it did to be drawn,
        self.kept = False  # or part of it, so that it cannot be drawn as one node

    @property
    def kind(self) -> str:
        """Class of the module."""
        return type(self.module).__name__

    @property
    def text(self) -> str:
        """The module in a few words: `Linear(30, 16)`, or its class where its repr is long, or fails."""
        try:
            text = repr(self.module)
        except Exception:
            return self.kind
        if len(text) > SHORT:
            text = KEYWORDS.sub("", text)
        return text if len(text) <= SHORT and "\n" not in text else self.kind

    @property
    def title(self) -> str:
        """Path and module, or its class where that is long."""
        title = f"{self.path}  {self.text}".lstrip()
        return title if clipped(title) == title else f"{self.path}  {self.kind}".lstrip()

    @property
    def depth(self) -> int:
        """Calls around it."""
        return sum(1 for _ in self.around()) - 1

    def around(self) -> Iterator[Call]:
        """This call and those it was made in, innermost first."""
        call: Call | None = self
        while call is not None:
            yield call
            call = call.parent


def calls(params: Any, expand: Callable[[str], Any] | None) -> list[Call]:
    """The calls of a model and of the modules in it, in the order in which they began, nested.

    Whatever has `named_modules()` whose modules have `calls()` has them. Left out are those that began before one that
    is forgotten: which calls were made in them is not known.

    Raises
    ------
    ValueError
        If `expand` fails.
    """
    first = since(params)
    try:
        modules = list(params.named_modules())
    except (AttributeError, TypeError):
        return []
    found = [
        Call(str(path), module, begun, ended)
        for path, module in modules
        if callable(getattr(module, "calls", None))
        for begun, ended in module.calls()
        if begun >= first
    ]
    found.sort(key=lambda call: (call.begun, -call.ended))
    around: list[Call] = []
    for call in found:
        while around and around[-1].ended < call.ended:
            around.pop()
        call.parent = around[-1] if around else None
        around.append(call)
        if expand is not None and _is_true(expand, call.path):
            call.expanded = True
            for outer in call.around():
                outer.kept = True
    return found


def since(params: Any) -> int:
    """The creation number from which on all calls of a model are known: 0 where none is forgotten."""
    try:
        modules = [module for _, module in params.named_modules()]
    except (AttributeError, TypeError):
        return 0
    known = [module.calls_since() for module in modules if callable(getattr(module, "calls_since", None))]
    return max(known, default=0)


def _is_true(expand: Callable[[str], Any], path: str) -> bool:
    try:
        return bool(expand(path))
    except Exception as error:
        raise ValueError(
            f"expand: expected whether {path!r} is to be drawn in full, got {type(error).__name__}: {error}, "
            f"at {mg.sites.here()}"
        ) from error


def innermost(nodes: Sequence[mg.Node], begun: Sequence[Call]) -> dict[mg.Node, Call]:
    """The innermost call in which each node that has a history was made."""
    made: dict[mg.Node, Call] = {}
    around: list[Call] = []
    coming = iter(begun)
    call = next(coming, None)
    for node in sorted((node for node in nodes if node.rule is not None), key=lambda node: node._number):
        while call is not None and call.begun < node._number:
            around.append(call)
            call = next(coming, None)
        while around and around[-1].ended < node._number:
            around.pop()
        if around:
            made[node] = around[-1]
    return made


def common(first: Call | None, second: Call | None) -> Call | None:
    """The innermost call around both."""
    if first is second or first is None or second is None:
        return first if first is second else None
    outer = set(map(id, first.around()))
    return next((call for call in second.around() if id(call) in outer), None)
