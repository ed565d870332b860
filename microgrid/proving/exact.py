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

import operator
import sys
from collections.abc import Callable, Container, Iterator, Sequence
from typing import Any

from microgrid import kinds, sites
from microgrid.rule import Rule

__microgrid_machinery__ = True

TOO_DEEP = "the expression is nested too deeply for SymPy"


def _fractions() -> tuple[kinds.Kind, list[type]]:
    from fractions import Fraction

    exact: dict[str, Callable[..., Any]] = {
        "abs": abs, "sign": lambda x: (x > 0) - (x < 0), "where": lambda c, x, y: x if c else y,
        "maximum": lambda x, y: x if x >= y else y, "minimum": lambda x, y: x if x <= y else y,
    }  # fmt: skip
    return ExactKind("a fraction", 2, exact, one=lambda x: Fraction(1)), [Fraction]


def _mpmath() -> tuple[kinds.Kind, list[type]]:
    import mpmath

    m: Any = mpmath
    precise: dict[str, Callable[..., Any]] = {
        "exp": m.exp, "log": m.log, "log1p": m.log1p, "expm1": m.expm1, "sqrt": m.sqrt, "abs": abs, "sign": m.sign,
        "sin": m.sin, "cos": m.cos, "tan": m.tan, "tanh": m.tanh, "sigmoid": lambda x: 1 / (1 + m.exp(-x)),
        "where": lambda c, x, y: x if c else y,
        "maximum": lambda x, y: x if x >= y else y, "minimum": lambda x, y: x if x <= y else y,
    }  # fmt: skip
    return ExactKind("an mpmath number", 3, precise, one=lambda x: m.mpf(1)), [m.mpf, m.mpc, type(m.pi)]


def _sympy() -> tuple[kinds.Kind, list[type]]:
    import sympy

    s: Any = sympy
    symbolic: dict[str, Callable[..., Any]] = {
        "exp": s.exp, "log": s.log, "log1p": lambda x: s.log(1 + x), "expm1": lambda x: s.exp(x) - 1, "sqrt": s.sqrt,
        "abs": s.Abs, "sign": s.sign, "sin": s.sin, "cos": s.cos, "tan": s.tan, "tanh": s.tanh,
        "sigmoid": lambda x: 1 / (1 + s.exp(-x)), "where": _where,
        "maximum": lambda x, y: _where(x >= y, x, y), "minimum": lambda x, y: _where(x <= y, x, y),
        # the textbook's forms: what stands in rules.py is their stable equal, made of choices that a symbol of unknown
        # sign cannot take
        "softplus": lambda x: s.log(1 + s.exp(x)), "logsigmoid": lambda x: -s.log(1 + s.exp(-x)),
        "binary_cross_entropy_with_logits": lambda x, y: s.log(1 + s.exp(x)) - y * x,
    }  # fmt: skip
    return SymbolKind("a symbol", 4, symbolic, one=lambda x: s.Integer(1)), [s.Basic]


class ExactKind(kinds.Kind):
    """Fractions and mpmath's numbers, among which nothing stands for 1/0."""

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
        try:
            return super().apply(rule, inputs, parameters)
        except ZeroDivisionError:
            numbers = ", ".join(map(str, inputs))
            raise ZeroDivisionError(
                f"{rule.__name__}: {numbers:.80}: a division by zero, for which {self.name} has no infinity, as a "
                f"float has, at {sites.here()}"
            ) from None


class SymbolKind(kinds.Kind):
    """SymPy's expressions. A float among them means the decimal that Python prints for it, exactly: 0.1 is 1/10."""

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Any:
        inputs, parameters = [_exactly(x) for x in inputs], {name: _exactly(x) for name, x in parameters.items()}
        try:
            return super().apply(rule, inputs, parameters)
        except RecursionError:
            raise ValueError(TOO_DEEP) from None
        except (AttributeError, IndexError, TypeError) as error:
            if not rule.ours or hasattr(error, "reason"):  # of a user's rule, or explained already
                raise
            given = ", ".join(str(x) for x in inputs if hasattr(x, "free_symbols"))
            raise TypeError(f"has no meaning for a symbol, and was given {given:.80}") from None

    def arguments(self, arguments: list[Any]) -> list[Any]:
        return [_exactly(x) for x in arguments]

    def parameters(self, parameters: dict[str, Any]) -> dict[str, Any]:
        return {name: _exactly(x) for name, x in parameters.items()}


class UndecidedChoiceError(TypeError):
    """A choice that depends on a symbol of which too little is known."""

    @property
    def reason(self) -> str:
        """What an operation says of it; see `anomaly.explained`."""
        return str(self)


def _where(c: Any, x: Any, y: Any) -> Any:
    try:
        return x if c else y
    except TypeError:
        names = ", ".join(sorted(map(str, c.free_symbols)))
        advice = (
            f'say more of {names}, as mg.symbols("{names}", positive=True) does'
            if len(c.free_symbols) == 1
            else f"nothing that is said of {names} by itself tells; the larger of x and y is (x + y + abs(x - y))/2"
        )
        raise UndecidedChoiceError(
            f"has no meaning for a symbol of which it is not known whether {c}: {advice}"
        ) from None


def _exactly(x: Any) -> Any:
    return rational(x) if x.__class__ is float else x


def rational(x: Any, known: dict[int, tuple[Any, Any]] | None = None) -> Any:
    """A number or a SymPy expression with every float replaced by the decimal that Python prints for it.

    Parts that an expression shares are looked at once: written out it may be exponentially longer than it is.

    Parameters
    ----------
    x : number or SymPy expression
    known : dict, optional
        What was looked at before, with what came of it; it is added to.

    Examples
    --------
    >>> rational(0.1), rational(-2.5e-3)
    (1/10, -1/400)
    """
    import sympy

    if isinstance(x, float):
        return sympy.Rational(repr(x)) if x - x == 0 else sympy.sympify(x)  # of inf and nan what SymPy makes of them
    x, known = sympy.sympify(x), {} if known is None else known
    for e in parts(x, known):
        if isinstance(e, sympy.Float):
            made = sympy.Rational(repr(float(e)) if e._prec == 53 else str(e))
        else:
            args = [known[id(a)][1] for a in e.args]
            made = e if all(map(operator.is_, args, e.args)) else e.func(*args)
        known[id(e)] = e, made
    return known[id(x)][1]


def parts(root: Any, known: Container[int] = ()) -> Iterator[Any]:
    """The parts of an expression whose ids are not known, each once, after its own parts, and at last the whole."""
    seen, waiting = set[int](), [(root, False)]
    while waiting:
        e, whole = waiting.pop()
        if whole:
            yield e
        elif id(e) not in seen and id(e) not in known:
            seen.add(id(e))
            waiting.append((e, True))
            waiting.extend((a, False) for a in e.args)


def needs_sympy(what: str) -> None:
    """Refuse to go on without SymPy.

    Raises
    ------
    ImportError
    """
    try:
        import sympy  # noqa: F401
    except ImportError as error:
        raise ImportError(
            f'{what}: needs SymPy: pip install "microgrid[proofs]" ({error}), at {sites.here()}'
        ) from None


_LIBRARIES = {"fractions": _fractions, "mpmath": _mpmath, "sympy": _sympy}


def libraries(number: type) -> list[str]:
    """The packages that a type and its bases come from."""
    return [str(base.__module__).partition(".")[0] for base in number.__mro__]  # SymPy's functions have no module


def find(number: type) -> bool:
    """Register the kind of this type of number, if it is of a library that we know; whether it was."""
    for library in libraries(number):
        if library in _LIBRARIES and library in sys.modules:
            kind, types = _LIBRARIES.pop(library)()
            kind.face = kinds.float_kind.face.general
            kinds.register(kind, types)
            return True
    return False
