"""Other numbers: fractions, mpmath's numbers, SymPy's expressions. The same rules run on them.

Nothing is imported here until such a number turns up, and then its own library is there already.

    >>> from fractions import Fraction
    >>> import microgrid as mg
    >>> x = mg.Value(Fraction(1, 3))
    >>> (x * x + x).backward()
    >>> x.grad
    Fraction(5, 3)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from microgrid import kinds

__microgrid_machinery__ = True


def _fractions() -> tuple[kinds.Kind, list[type]]:
    from fractions import Fraction

    exact: dict[str, Callable[..., Any]] = {
        "abs": abs, "sign": lambda x: (x > 0) - (x < 0), "where": _where,
        "maximum": lambda x, y: x if x >= y else y, "minimum": lambda x, y: x if x <= y else y,
    }  # fmt: skip
    return kinds.Kind("a fraction", 2, exact, one=lambda x: Fraction(1)), [Fraction]


def _mpmath() -> tuple[kinds.Kind, list[type]]:
    import mpmath

    m: Any = mpmath
    precise: dict[str, Callable[..., Any]] = {
        "exp": m.exp, "log": m.log, "log1p": m.log1p, "expm1": m.expm1, "sqrt": m.sqrt, "abs": abs, "sign": m.sign,
        "sin": m.sin, "cos": m.cos, "tan": m.tan, "tanh": m.tanh, "sigmoid": lambda x: 1 / (1 + m.exp(-x)),
        "where": _where, "maximum": lambda x, y: x if x >= y else y, "minimum": lambda x, y: x if x <= y else y,
    }  # fmt: skip
    return kinds.Kind("an mpmath number", 3, precise, one=lambda x: m.mpf(1)), [m.mpf, m.mpc, type(m.pi)]


def _sympy() -> tuple[kinds.Kind, list[type]]:
    import sympy

    s: Any = sympy
    symbolic: dict[str, Callable[..., Any]] = {
        "exp": s.exp, "log": s.log, "log1p": lambda x: s.log(1 + x), "expm1": lambda x: s.exp(x) - 1, "sqrt": s.sqrt,
        "abs": s.Abs, "sign": s.sign, "sin": s.sin, "cos": s.cos, "tan": s.tan, "tanh": s.tanh,
        "sigmoid": lambda x: 1 / (1 + s.exp(-x)), "where": _where,
        # the textbook's forms: what stands in rules.py is their stable equal, made of choices that a symbol cannot take
        "softplus": lambda x: s.log(1 + s.exp(x)), "logsigmoid": lambda x: -s.log(1 + s.exp(-x)),
        "binary_cross_entropy_with_logits": lambda x, y: s.log(1 + s.exp(x)) - y * x,
    }  # fmt: skip
    return kinds.Kind("a symbol", 4, symbolic, one=lambda x: s.Integer(1)), [s.Basic]


def _where(c: Any, x: Any, y: Any) -> Any:
    try:
        return x if c else y
    except TypeError:
        raise TypeError(f"where: has no meaning for a symbol: {c} is neither true nor false") from None


_LIBRARIES = {"fractions": _fractions, "mpmath": _mpmath, "sympy": _sympy}


def find(number: type) -> bool:
    """Register the kind of this type of number, if it is of a library that we know; whether it was."""
    for base in number.__mro__:
        library = base.__module__.partition(".")[0]
        if library in _LIBRARIES and library in sys.modules:
            kind, types = _LIBRARIES.pop(library)()
            kind.face = kinds.float_kind.face.general
            kinds.register(kind, types)
            return True
    return False


kinds.finders.append(find)
