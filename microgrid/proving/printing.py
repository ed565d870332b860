"""Formulas as text and as LaTeX: of a graph in the names of its leaves, of an expression as SymPy prints it."""

from __future__ import annotations

import numbers
import re
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np

from microgrid import sites
from microgrid.graph import Node
from microgrid.proving.exact import libraries
from microgrid.proving.symbolic import order_from

__microgrid_machinery__ = True

LONGEST = 100_000  # letters; a formula writes out what a graph shares
ADDED, MULTIPLIED, RAISED, ATOM = range(4)  # how tightly a piece of a formula holds together
GREEK = re.compile(
    "alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|pi|rho|sigma|tau|upsilon|phi|chi|psi|omega|"
    "Gamma|Delta|Theta|Lambda|Xi|Pi|Sigma|Upsilon|Phi|Psi|Omega"
)


class Piece(NamedTuple):
    """A part of a formula."""

    text: str
    strength: int

    def within(self, strength: int, brackets: str = "({})") -> str:
        """The text, in brackets where it would fall apart."""
        return self.text if self.strength >= strength else brackets.format(self.text)


def formula(x: Any) -> str:
    """What a node computes, as text: the graph in the names of its leaves, as it was written.

    Parameters
    ----------
    x : Value, Tensor, SymPy expression or number
        A Value of symbols is printed as its expression.

    Returns
    -------
    str

    Raises
    ------
    TypeError
        For anything else.
    ValueError
        Where the formula would be longer than 100,000 letters.

    Examples
    --------
    >>> import microgrid as mg
    >>> w, x, b = mg.Value(0.5, name="w"), mg.Value(2.0, name="x"), mg.Value(1.0, name="b")
    >>> mg.formula(mg.sigmoid(w * x + b) ** 2)
    'sigmoid(w*x + b)**2'
    """
    return _printed(x, TEXT, str)


def latex(x: Any) -> str:
    r"""What a node computes, as LaTeX, without dollar signs.

    Parameters, errors as for `formula`.

    Examples
    --------
    >>> import microgrid as mg
    >>> w, x, b = mg.Value(0.5, name="w"), mg.Value(2.0, name="x"), mg.Value(1.0, name="b")
    >>> mg.latex(mg.sigmoid(w * x + b) / 2)
    '\\frac{\\sigma\\left(w x + b\\right)}{2}'
    """

    def by_sympy(expression: Any) -> str:
        import sympy

        letters = {symbol: _letter(symbol.name) for symbol in expression.atoms(sympy.Symbol)}  # as in a graph
        return str(sympy.latex(expression, ln_notation=True, symbol_names=letters))

    return _printed(x, LATEX, by_sympy)


def _printed(x: Any, style: Style, by_sympy: Callable[[Any], str]) -> str:
    if isinstance(x, Node):
        return by_sympy(x._data) if _symbolic(x._data) else _formula(x, style)
    if isinstance(x, (numbers.Real, np.number)) and not isinstance(x, (bool, complex, np.complexfloating)):
        return style.number(x)
    if _symbolic(x):
        return by_sympy(x)
    if "mpmath" in libraries(type(x)):
        return str(x)
    raise TypeError(
        f"{style.name}: expected a Value, a Tensor, a SymPy expression or a number, got {type(x).__name__}, "
        f"at {sites.here()}"
    )


def _symbolic(x: Any) -> bool:
    return "sympy" in libraries(type(x))


def _formula(root: Node, style: Style) -> str:
    order = order_from(root, {})
    waiting = _uses(order, style)  # how often a piece is still needed: then it goes, or deep graphs would fill memory
    pieces: dict[Node, Piece] = {}
    for node in order:
        if node.rule is None:
            pieces[node] = _leaf(node, style)
            continue
        inputs = [pieces[x] if isinstance(x, Node) else _constant(x, style) for x in node.inputs]
        for x in node.inputs:
            if isinstance(x, Node):
                waiting[x] -= 1
                if not waiting[x]:
                    del pieces[x]
        write = style.rules.get(node.rule.__name__) if node.rule.ours else None
        name, parameters = node.rule.__name__, node.parameters
        piece = write(*inputs) if write and not parameters else style.call(name, inputs, parameters)
        if len(piece.text) > LONGEST:
            raise _too_long(style)
        pieces[node] = piece
    return pieces[root].text


def _uses(order: Iterable[Node], style: Style) -> dict[Node, int]:
    """How often each node is an input; of graphs that are too long for any way of writing them, an error at once."""
    uses: dict[Node, int] = {}
    least: dict[Node, int] = {}  # letters: a formula has its inputs in it, and something between them
    for node in order:
        uses[node] = 0
        least[node] = 1
        for x in node.inputs:
            if isinstance(x, Node):
                uses[x] += 1
                least[node] += least[x]
        if node.rule is not None and node.rule.__name__ == "positive":
            least[node] -= 1
        if least[node] > LONGEST:
            raise _too_long(style)
    return uses


def _too_long(style: Style) -> ValueError:
    return ValueError(f"{style.name}: the formula is longer than {LONGEST} letters, at {sites.here()}")


def _leaf(node: Node, style: Style) -> Piece:
    return Piece(style.letter(node.name), ATOM) if node.name else _constant(node._data, style)


def _constant(x: Any, style: Style) -> Piece:
    if isinstance(x, np.ndarray) and x.ndim:
        return Piece(f"array{x.shape}".replace(",)", ")"), ATOM)
    text = style.number(x.item() if isinstance(x, np.ndarray) else x)
    return Piece(text, ADDED if text.startswith("-") else ATOM if re.fullmatch(r"[\w.]+", text) else ADDED)


def _number(x: Any) -> str:
    x = x.item() if isinstance(x, np.generic) else x
    return str(int(x)) if isinstance(x, float) and x.is_integer() and abs(x) < 1e15 else str(x)


# --------------------------------------------------------------------------------------------- the two styles


class Style(NamedTuple):
    """How formulas are written: the rules that have a sign of their own, and the others."""

    name: str
    rules: dict[str, Callable[..., Piece]]
    call: Callable[[str, Iterable[Piece], dict[str, Any]], Piece]
    letter: Callable[[str], str]
    number: Callable[[Any], str]


def _call(name: str, inputs: Iterable[Piece], parameters: dict[str, Any], shown: Callable[[str], str] = str) -> Piece:
    words = [shown(f"{key}={item}") for key, item in parameters.items() if item is not None and item is not False]
    return Piece(f"{name}({', '.join([*(x.text for x in inputs), *words])})", ATOM)


TEXT = Style(
    "formula",
    {
        "add": lambda x, y: Piece(f"{x.text} + {y.within(MULTIPLIED)}", ADDED),
        "subtract": lambda x, y: Piece(f"{x.text} - {y.within(MULTIPLIED)}", ADDED),
        "multiply": lambda x, y: Piece(f"{x.within(MULTIPLIED)}*{y.within(RAISED)}", MULTIPLIED),
        "divide": lambda x, y: Piece(f"{x.within(MULTIPLIED)}/{y.within(RAISED)}", MULTIPLIED),
        "negative": lambda x: Piece(f"-{x.within(MULTIPLIED)}", ADDED),
        "positive": lambda x: x,
        "power": lambda x, y: Piece(f"{x.within(ATOM)}**{y.within(ATOM)}", RAISED),
        "square": lambda x: Piece(f"{x.within(ATOM)}**2", RAISED),
        "total": lambda *xs: Piece(" + ".join([xs[0].text, *(x.within(MULTIPLIED) for x in xs[1:])]), ADDED),
        "matmul": lambda x, y: Piece(f"{x.within(MULTIPLIED)} @ {y.within(RAISED)}", MULTIPLIED),
    },
    _call,
    str,
    _number,
)


SPECIAL = {
    "\\": r"\backslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "^": r"\wedge{}", "_": r"\_",
    "%": r"\%", "~": r"\sim{}", " ": r"\ ", "\n": r"\ ",
}  # fmt: skip


def _escaped(text: str) -> str:
    """Text that stands in a formula as it is, whatever LaTeX would make of its letters."""
    return "".join(SPECIAL.get(letter, letter) for letter in text)


def _letter(name: str) -> str:
    """A name in LaTeX: delta2 is a letter with an index, w_1_2 one with two, loss a word."""
    if not (parts := re.fullmatch(r"([A-Za-z]+)_?((?:[^\W_]+_)*[^\W_]*)", name)):
        return rf"\mathrm{{{_escaped(name)}}}"
    word, index = parts.groups()
    word = f"\\{word}" if GREEK.fullmatch(word) else word if len(word) == 1 else rf"\mathrm{{{word}}}"
    return f"{word}_{{{index.replace('_', ',')}}}" if index else word


def _latex_number(x: Any) -> str:
    if isinstance(x, Fraction) and x.denominator != 1:
        return ("-" if x < 0 else "") + rf"\frac{{{abs(x.numerator)}}}{{{x.denominator}}}"
    return _number(x)


ROUND = r"\left({}\right)"


def _times(x: Piece, y: Piece) -> Piece:
    left, right = x.within(MULTIPLIED, ROUND), y.within(RAISED, ROUND)
    return Piece(left + (r" \cdot " if right[0].isdigit() else " ") + right, MULTIPLIED)


def _function(command: str) -> Callable[..., Piece]:
    return lambda *xs: Piece(rf"{command}\left({', '.join(x.text for x in xs)}\right)", ATOM)


LATEX = Style(
    "latex",
    {
        "add": lambda x, y: Piece(f"{x.text} + {y.within(MULTIPLIED, ROUND)}", ADDED),
        "subtract": lambda x, y: Piece(f"{x.text} - {y.within(MULTIPLIED, ROUND)}", ADDED),
        "multiply": _times,
        "divide": lambda x, y: Piece(rf"\frac{{{x.text}}}{{{y.text}}}", RAISED),
        "negative": lambda x: Piece(f"-{x.within(MULTIPLIED, ROUND)}", ADDED),
        "positive": lambda x: x,
        "power": lambda x, y: Piece(f"{x.within(ATOM, ROUND)}^{{{y.text}}}", RAISED),
        "square": lambda x: Piece(f"{x.within(ATOM, ROUND)}^{{2}}", RAISED),
        "total": lambda *xs: Piece(" + ".join([xs[0].text, *(x.within(MULTIPLIED, ROUND) for x in xs[1:])]), ADDED),
        "exp": lambda x: Piece(f"e^{{{x.text}}}", RAISED),
        "sqrt": lambda x: Piece(rf"\sqrt{{{x.text}}}", ATOM),
        "abs": lambda x: Piece(rf"\left|{x.text}\right|", ATOM),
        "log": _function(r"\ln"), "sin": _function(r"\sin"), "cos": _function(r"\cos"), "tan": _function(r"\tan"),
        "tanh": _function(r"\tanh"), "sigmoid": _function(r"\sigma"), "maximum": _function(r"\max"),
        "minimum": _function(r"\min"), "matmul": _times,
    },
    lambda name, inputs, parameters: _call(rf"\operatorname{{{_escaped(name)}}}", inputs, parameters, _escaped),
    _letter,
    _latex_number,
)  # fmt: skip
