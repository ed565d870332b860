"""Code as one more kind of number: rules run on it, and what comes out is compiled.

`multiply.value(Code("x"), Code("y"))` is `Code("x * y")`. So the fast paths of the faces are emitted from the
rules, and never written beside them.
"""

from __future__ import annotations

import itertools
import linecache
import re
import weakref
from collections.abc import Callable, Sequence
from typing import Any

from microgrid import kinds, sites
from microgrid.rule import Rule

__microgrid_machinery__ = True


class Code:
    """A Python expression of floats that behaves as the number it would give.

    Examples
    --------
    >>> g, z = Code("g"), Code("z")
    >>> print(g * (z * (1 - z)))
    g * (z * (1 - z))
    """

    __slots__ = ("text",)
    __array_ufunc__ = None
    both, either = "and", "or"

    def __init__(self, text: str) -> None:
        self.text = text

    def __str__(self) -> str:
        return self.text[1:-1] if _enclosed(self.text) else self.text

    def __neg__(self) -> Code:
        return type(self)(f"(-{self.text})")

    def __and__(self, other: Any) -> Any:
        return False if other is False else type(self)(f"({self.text} {self.both} {_text(other)})")

    def __or__(self, other: Any) -> Code:
        return type(self)(f"({self.text} {self.either} {_text(other)})")

    @classmethod
    def where(cls, c: Any, x: Any, y: Any) -> Code:
        """A choice: of floats, a conditional expression, whose branches are floats either way."""
        x, y = (_text(float(branch) if isinstance(branch, int) else branch) for branch in (x, y))
        if c is False:
            return cls(y)
        return cls(f"({x} if {_text(c)} else {y})")

    def __bool__(self) -> bool:
        raise TypeError("code has no truth value: what decides must be written as where(condition, x, y)")

    __hash__ = None  # type: ignore[assignment]  # == writes code, so code is no key


class ArrayCode(Code):
    """A Python expression of arrays."""

    __slots__ = ()
    both, either = "&", "|"

    @property
    def T(self) -> Code:
        """The transpose."""
        return type(self)(f"{self.text}.T")

    def __matmul__(self, other: Any) -> Code:
        x, y = self.text, _text(other)
        if not (re.fullmatch(r"[\w.]+", x) and re.fullmatch(r"[\w.]+", y)):  # what is computed is written once
            return type(self)(f"({x} @ {y})")
        # of two matrices `dot` is the same product, and at times several times as quick; of one number it skips zeros
        matrices = (
            f"{x}.__class__ is {y}.__class__ is ndarray and {x}.ndim == {y}.ndim == 2 and {x}.size > 1 < {y}.size"
        )
        return type(self)(f"({x}.dot({y}) if {matrices} else {x} @ {y})")

    @classmethod
    def where(cls, c: Any, x: Any, y: Any) -> Code:
        """A choice: of arrays, element by element."""
        return cls(f"where({_text(c)}, {_text(x)}, {_text(y)})")


class MatrixCode(ArrayCode):
    """A Python expression of matrices, which are rows as they stand; their product is `dot`."""

    __slots__ = ()
    ndim = 2

    def __matmul__(self, other: Any) -> Code:
        return type(self)(f"{self.text}.dot({_text(other)})")


def _enclosed(text: str) -> bool:
    """Whether the first parenthesis closes at the very end."""
    if not text.startswith("("):
        return False
    depth = 0
    for place, letter in enumerate(text):
        depth += (letter == "(") - (letter == ")")
        if not depth:
            return place == len(text) - 1
    return False


def _text(x: Any) -> str:
    return x.text if isinstance(x, Code) else repr(x)


def _operator(symbol: str, swapped: bool = False) -> Callable[[Code, Any], Code]:
    def operator(self: Code, other: Any) -> Code:
        left, right = (_text(other), self.text) if swapped else (self.text, _text(other))
        return type(self)(f"({left} {symbol} {right})")

    return operator


for _name, _symbol in {"add": "+", "sub": "-", "mul": "*", "truediv": "/", "pow": "**"}.items():
    setattr(Code, f"__{_name}__", _operator(_symbol))
    setattr(Code, f"__r{_name}__", _operator(_symbol, swapped=True))
for _name, _symbol in {"lt": "<", "le": "<=", "gt": ">", "ge": ">=", "eq": "==", "ne": "!="}.items():
    setattr(Code, f"__{_name}__", _operator(_symbol))


class _CodeKind(kinds.Kind):
    """Code: an elementary rule is a call of what it is on the numbers meant; any other is written out."""

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Code:
        code = next(type(x) for x in inputs if isinstance(x, Code))
        if rule.__name__ == "where":
            return code.where(*inputs)
        if rule.value is not None:
            written: Code = rule.value(*inputs, **parameters)
            return written
        words = [*map(_text, inputs), *(f"{name}={item!r}" for name, item in parameters.items())]
        return code(f"{rule.__name__}({', '.join(words)})")


code_kind = _CodeKind("code", 50, {}, one=lambda x: Code("1.0"))
kinds.register(code_kind, [Code])


_outlived: list[str] = []  # sources of functions that are gone; taken off here, since others may be walking over them


def compiled(name: str, lines: Sequence[str], namespace: dict[str, Any]) -> Callable[..., Any]:
    """The function of this name that the lines define; while it lives debuggers find its source as that of any file."""
    source = "\n".join(lines) + "\n"
    listed, file = source.splitlines(keepends=True), f"<microgrid {name}>"
    while _outlived:
        linecache.cache.pop(_outlived.pop(), None)
    for other in itertools.count(2):  # another of the same name has another source
        if file not in linecache.cache:
            break
        file = f"<microgrid {name} {other}>"
    linecache.cache[file] = (len(source), None, listed, file)
    scope: dict[str, Any] = {sites.MARK: True, "__name__": __name__} | namespace
    exec(compile(source, file, "exec"), scope)
    function: Callable[..., Any] = scope[name]
    weakref.finalize(function, _outlived.append, file).atexit = False
    return function
