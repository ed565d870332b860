"""A formula and its gradients as straight-line Python of floats: what is quickest for one sample, or a small graph.

Each rule is run once on code, for its value and for each derivative; what comes out is the pattern of all lines of
that rule. A number that is used once, and by no derivative, stands inside the line that uses it.
"""

from __future__ import annotations

import math
import string
from collections.abc import Callable, Sequence
from typing import Any

from microgrid import kinds
from microgrid.capture.formula import Formula
from microgrid.capture.recorder import CannotCaptureError
from microgrid.capture.stand_ins import PLAIN_OPERATORS
from microgrid.emitter import Code, compiled
from microgrid.graph import Node

__microgrid_machinery__ = True

LONGEST = 200_000  # lines: a compiler takes some 10 us for each
DEEPEST = 30  # operations within one line
WIDEST = 30  # shares that are added up in one line


class FloatCode(Code):
    """Code of floats in which a power that is no real number raises, as math.pow does."""

    __slots__ = ()

    def __pow__(self, other: Any) -> Code:
        return type(self)(f"pow({self.text}, {other.text if isinstance(other, Code) else repr(other)})")

    def __rpow__(self, other: Any) -> Code:
        return type(self)(f"pow({other!r}, {self.text})")


def real(x: Any) -> float:
    """What a user's rule gave, as a float; where that is none, the engine knows what to say."""
    if x.__class__ is float:
        return x
    if isinstance(x, (int, float)):
        return float(x)
    raise ArithmeticError("no real number")


class Pattern:
    """An expression with its operands left open, `{g} * {y}`, and which of them it mentions."""

    __slots__ = ("mentions", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self.mentions = {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def written_in_python(formula: Formula, name: str) -> tuple[Callable[..., Any], str, list[int]]:
    """The formula as a function, its source, and the leaves that get a gradient.

    The function takes the numbers of the leaves, in the order of `formula.leaves()`, and those of the arguments; it
    gives the value and the gradients. It raises an ArithmeticError or a ValueError where a number leaves the domain of
    Python's arithmetic.

    Raises
    ------
    CannotCaptureError
        Where the formula is too long.
    """
    if len(formula.function) > LONGEST:
        raise CannotCaptureError(f"{len(formula.function)} operations are too many to be written out")
    return _Writer(formula).function(name)


class _Writer:
    def __init__(self, formula: Formula) -> None:
        self.formula = formula
        self.scope: dict[str, Any] = {**kinds.float_kind.elementary, "pow": math.pow, "real": real}
        self.patterns: dict[Any, Pattern] = {}
        self.lines: list[str] = []
        self.site: Any = None
        self.leaves = formula.leaves()
        self.text, self.depth = [""] * len(formula.function), [0] * len(formula.function)
        self.uses = self._uses()

    # ------------------------------------------------------------------ names

    def _uses(self) -> list[int]:
        """How often each number is asked for: once may stand where it is used, unless a derivative asks for it too."""
        f = self.formula
        uses = [0] * len(f.function)
        uses[f.root] = 2
        for i, function in enumerate(f.function):
            for x in f.inputs[i]:
                uses[x] += 1
            if not f.carries[i] or function is None:
                continue
            named = self._operands(i)
            for _, pattern in self._derivatives(i):
                for word in pattern.mentions & named.keys():
                    uses[named[word]] += 2
        return uses

    def _operands(self, i: int) -> dict[str, int]:
        return {f"x{place}": x for place, x in enumerate(self.formula.inputs[i])} | {"z": i}

    def _derivatives(self, i: int) -> list[tuple[int, Pattern]]:
        """The shares of the inputs that a gradient is carried to: (position, pattern)."""
        f, rule = self.formula, self.formula.function[i]
        carried = [place for place, x in enumerate(f.inputs[i]) if f.carries[x]]
        return [
            (place, self._pattern(i, 0 if rule.variadic else place, place))
            for place in carried
            if rule.wrt[0 if rule.variadic else place] is not None
        ]

    def _pattern(self, i: int, wrt: int | None, share: int | None = None) -> Pattern:
        """The rule of the i-th operation, its value or one derivative, with the operands left open."""
        f, rule = self.formula, self.formula.function[i]
        integers = tuple([f.source[x] if f.source[x].__class__ is int else None for x in f.inputs[i]])
        parameters = tuple((name, _key(item)) for name, item in f.parameters[i].items())
        key = (rule, share if wrt is not None else None, wrt, integers, len(integers), parameters)
        if key not in self.patterns:
            self.patterns[key] = Pattern(self._emitted(rule, wrt, share, integers, f.parameters[i]))
        return self.patterns[key]

    def _emitted(
        self, rule: Any, wrt: int | None, share: int | None, integers: Sequence[Any], parameters: dict[str, Any]
    ) -> str:
        operands: list[Any] = [FloatCode(f"{{x{i}}}") if x is None else x for i, x in enumerate(integers)]
        if all(x is not None for x in integers):
            operands = [FloatCode(f"{{x{i}}}") for i in range(len(integers))]
        if rule in PLAIN_OPERATORS:
            return str(rule(*operands))
        function = None if wrt is None else rule.wrt[wrt]
        if wrt is not None:
            operands = [FloatCode("{g}"), FloatCode("{z}"), *operands]
        if not rule.ours:  # which may do anything: it is called, not written out
            called = self._named(function or rule.value or kinds.float_kind.function(rule))
            words = "".join(f", {name}={self._named(item)}" for name, item in parameters.items())
            given = ", ".join([f"{{x{i}}}" for i in range(len(integers))])
            given = f"{{g}}, {{z}}, {given}" if wrt is not None else given
            return f"real({called}({given}{words})" + (f"[{share}])" if rule.variadic and wrt is not None else ")")
        try:
            if function is None:
                code = kinds.highest(operands).apply(rule, operands, parameters)
            else:
                code = function(*operands, **parameters)
                code = code[share] if rule.variadic else code
        except (AttributeError, TypeError, IndexError) as error:
            raise CannotCaptureError(f"{rule.__name__} cannot be written out for floats: {error}") from error
        return str(code) if isinstance(code, Code) else repr(float(code))

    def _named(self, x: Any) -> str:
        for name, item in self.scope.items():
            if item is x:
                return name
        name = f"c{len(self.scope)}"
        self.scope[name] = x
        return name

    # ------------------------------------------------------------------ lines

    def function(self, name: str) -> tuple[Callable[..., Any], str, list[int]]:
        for i, function in enumerate(self.formula.function):
            self.text[i] = self._source(i) if function is None else self._value(i)
        root = self.text[self.formula.root]
        gradients = self._backward()
        head = [f"def {name}(leaves, numbers):"]
        leaves, places = [f"w{k}" for k in range(len(self.leaves))], self._places()
        for source, names in (("leaves", leaves), (f"numbers[:{len(places)}]", places)):
            head += [f"    {', '.join(names)}, = {source}"] if names else []
        targets = [leaf for leaf in self.leaves if leaf in gradients]
        shares = "".join(f"{gradients[leaf]}, " for leaf in targets)
        lines = [*head, *self.lines, f"    return {root}, ({shares})"]
        return compiled(name, lines, self.scope), "\n".join(lines) + "\n", targets

    def _places(self) -> list[str]:
        """A name for each number of the arguments up to the last that is used."""
        last = max((x[0] for x in self.formula.source if isinstance(x, tuple)), default=-1)
        used = {x[0] for x in self.formula.source if isinstance(x, tuple)}
        return [f"x{k}" if k in used else "_" for k in range(last + 1)]

    def _source(self, i: int) -> str:
        x = self.formula.source[i]
        if isinstance(x, Node):
            return f"w{self.leaves.index(i)}" if len(self.leaves) < 50 else f"w{self._leaf_places()[i]}"
        if isinstance(x, tuple):
            return f"x{x[0]}"
        if isinstance(x, float) and not math.isfinite(x):
            return self._named(x)
        return f"({x!r})" if x < 0 or str(x).startswith("-") else repr(x)

    def _leaf_places(self) -> dict[int, int]:
        if not hasattr(self, "_at"):
            self._at = {leaf: k for k, leaf in enumerate(self.leaves)}
        return self._at

    def _value(self, i: int) -> str:
        f = self.formula
        given = {f"x{k}": self.text[x] for k, x in enumerate(f.inputs[i])}
        text = self._pattern(i, None).text.format_map(given)
        depth = 1 + max([self.depth[x] for x in f.inputs[i]], default=0)
        if self.uses[i] == 1 and depth < DEEPEST:
            self.depth[i] = depth
            return f"({text})"
        self._line(f"v{i}", text, f.node[i])
        return f"v{i}"

    def _line(self, name: str, text: str, node: Node | None, back: str = "") -> None:
        site = None if node is None else (node._code, node._instruction, back)
        note = ""
        if node is not None and site != self.site and len(self.formula.function) < 5000:
            self.site, note = site, f"  # {back}{node._written()}"
        self.lines.append(f"    {name} = {text}{note}")

    def _backward(self) -> dict[int, str]:
        """Lines for the gradients, from the root down; by leaf, the expression of its gradient."""
        f = self.formula
        shares: dict[int, list[str]] = {f.root: ["1.0"]}
        for i in range(f.root, -1, -1):
            if i not in shares or f.function[i] is None:
                continue
            g = self._gathered(i, shares.pop(i))
            given = {name: self.text[x] for name, x in self._operands(i).items()} | {"g": g}
            for place, pattern in self._derivatives(i):
                x = f.inputs[i][place]
                text = pattern.text.format_map(given)
                simple = text.isidentifier() or text == "1.0"
                terms = shares.setdefault(x, [])
                terms.append(text if simple else f"({text})")
                if len(terms) >= WIDEST:
                    self._line(f"d{x}", " + ".join(terms), f.node[i], "back through ")
                    shares[x] = [f"d{x}"]
        return {i: self._gathered(i, terms) for i, terms in shares.items()}

    def _gathered(self, i: int, terms: list[str]) -> str:
        if len(terms) == 1 and (terms[0].isidentifier() or terms[0] == "1.0"):
            return terms[0]
        self._line(f"d{i}", " + ".join(terms), self.formula.node[i], "back through ")
        return f"d{i}"


def _key(x: Any) -> Any:
    return (type(x), x.hex()) if isinstance(x, float) else (type(x), x) if isinstance(x, (int, str, bool)) else id(x)
