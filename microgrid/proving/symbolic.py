"""Graphs as algebra: Values of symbols, and the expression that a graph of numbers is.

>>> import microgrid as mg
>>> w, x, b = mg.symbols("w x b")
>>> z = mg.tanh(w * x + b)
>>> z.backward()
>>> w.grad
x*(1 - tanh(b + w*x)**2)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from microgrid import sites
from microgrid.graph import Node
from microgrid.proving.exact import needs_sympy, parts, rational
from microgrid.value import Value

__microgrid_machinery__ = True

LARGEST = 300_000  # parts of an expression; SymPy's own work grows with them, however many are shared


def symbols(names: str | Iterable[str], *, requires_grad: bool = True, **assumptions: bool) -> Any:
    """Values of SymPy's symbols, to run a network on: values and gradients are then expressions.

    Parameters
    ----------
    names : str
        As `sympy.symbols` takes them: "x", "w b x", "w:3" for w0, w1, w2, "w1:3(1:3)" for w11, w12, w21, w22.
    requires_grad : bool, optional
        Whether backward passes reach them: False for data.
    **assumptions
        SymPy's: positive, nonnegative, negative, nonzero, integer, ... Every symbol is real.

    Returns
    -------
    Value, or tuple of Values
        A tuple for several names, for a range and for a name with a comma. Each `.data` is a symbol, each `.name`
        its name.

    Raises
    ------
    ImportError
        Without SymPy.
    TypeError, ValueError
        For names or assumptions that SymPy does not know, or that no real number meets.

    Notes
    -----
    Numbers among symbols stay exact: an int is an integer, and a float means the decimal that Python prints for it, so
    that 0.5 is 1/2, 0.1 is 1/10, and 1/3, which Python has rounded before, is 3333333333333333/10000000000000000; write
    Fraction(1, 3) there.

    Examples
    --------
    >>> import microgrid as mg
    >>> x, y = mg.symbols("x y", positive=True)
    >>> (mg.relu(x) * 0.5 + y).data
    x/2 + y
    >>> [w.name for w in mg.symbols("w:3")]
    ['w0', 'w1', 'w2']
    """
    needs_sympy("symbols")
    import sympy
    from sympy.core.facts import InconsistentAssumptions

    if assumptions.get("real") is False or assumptions.get("commutative") is False:
        raise ValueError(f"symbols: numbers of a graph are real, and so are its symbols, at {sites.here()}")
    for word, holds in assumptions.items():
        if not isinstance(holds, bool) or not hasattr(sympy.Symbol, f"is_{word}"):
            raise TypeError(f"symbols: {word}={holds!r} is no assumption of SymPy's, at {sites.here()}")
    try:
        made = sympy.symbols(names, **{"real": True, **assumptions})
    except InconsistentAssumptions:
        words = ", ".join(f"{word}={holds}" for word, holds in assumptions.items())
        raise ValueError(f"symbols: {names!r}: no real number meets {words}, at {sites.here()}") from None
    except (AttributeError, TypeError, ValueError) as error:
        kind = ValueError if isinstance(error, ValueError) else TypeError
        raise kind(f"symbols: {names!r}: {error}, at {sites.here()}") from None
    return _wrapped(made, requires_grad)


def _wrapped(made: Any, requires_grad: bool) -> Any:
    if isinstance(made, (tuple, list)):
        return type(made)(_wrapped(symbol, requires_grad) for symbol in made)
    value = Value(made, name=made.name)
    value.requires_grad = requires_grad
    return value


def expression(node: Value) -> Any:
    """The SymPy expression that a graph of Values computes, in the names of its leaves.

    The graph is replayed, rule by rule, on symbols: what a numeric graph computes can so be proved and printed.

    Parameters
    ----------
    node : Value
        Of floats: a leaf with a name becomes a real symbol of that name, one without a name stays its number. Of
        symbols: its data.

    Returns
    -------
    SymPy expression

    Raises
    ------
    TypeError
        For what is no Value; where the graph holds arrays; where a choice (relu, maximum) depends on a symbol.
    ValueError
        Where two leaves have the same name; where the expression, which writes out what the graph shares, is too large.
    ImportError
        Without SymPy.

    Examples
    --------
    >>> import microgrid as mg
    >>> w, x = mg.Value(0.7, name="w"), mg.Value(2.0, name="x")
    >>> loss = mg.sigmoid(w * x) ** 2
    >>> mg.expression(loss)
    (1 + exp(-w*x))**(-2)
    >>> mg.prove(mg.expression(loss), 1 / (1 + mg.exp(-mg.expression(w * x))) ** 2)
    proved
    """
    needs_sympy("expression")
    if not isinstance(node, Node):
        raise TypeError(f"expression: expected a Value, got {type(node).__name__}, at {sites.here()}")
    return replayed(node, {}, "expression")[node]


def replayed(root: Node, given: Mapping[Node, Any], function: str) -> dict[Node, Any]:
    """For each node that the root is made from its expression; those given are not looked into.

    Raises
    ------
    TypeError, ValueError
        In the name of the function that was called.
    """
    numbers: dict[Node, Any] = {}
    known: dict[int, tuple[Any, Any]] = {}
    sizes: dict[int, int] = {}
    owners: dict[Any, Node] = {}
    for node in order_from(root, given):
        if node in given:
            numbers[node] = given[node]
            continue
        if not isinstance(node, Value):
            raise TypeError(
                f"{function}: {node._described()} is a Tensor: a symbol stands for one number, so make the graph of "
                f"Values, at {sites.here()}"
            )
        if node.rule is None:
            numbers[node] = leaf(node)
            for symbol in numbers[node].free_symbols:
                if owners.setdefault(symbol, node) is not node and node.name == symbol.name:
                    raise ValueError(
                        f"{function}: {owners[symbol]._described()} and {node._described()} have the same name, "
                        f"at {sites.here()}"
                    )
        else:
            inputs = [numbers[x] if isinstance(x, Node) else x for x in node.inputs]
            numbers[node] = rational(node.rule(*map(_exactly, inputs), **node.parameters), known)
            if _size(numbers[node], sizes) > LARGEST:
                raise ValueError(
                    f"{function}: {node._described()} written out has more than {LARGEST} parts, since an expression "
                    f"repeats what a graph shares, at {sites.here()}"
                )
    return numbers


def _size(expression: Any, known: dict[int, int]) -> int:
    """How many parts an expression has, written out; what is known of parts that live is used, and added to."""
    for e in parts(expression, known):
        known[id(e)] = 1 + sum(known[id(a)] for a in e.args)
    return known[id(expression)]


def _exactly(x: Any) -> Any:
    return rational(x) if isinstance(x, (int, float)) and not isinstance(x, bool) else x


def order_from(root: Node, given: Mapping[Node, Any]) -> list[Node]:
    """The nodes between those given and the root, each after its inputs: as `topological_order`, which goes on."""
    needed, waiting = {root}, [root]
    for node in waiting:
        for x in node.inputs if node not in given else ():
            if isinstance(x, Node) and x not in needed:
                needed.add(x)
                waiting.append(x)
    return sorted(waiting, key=lambda node: (node.rule is not None, node._number))


def leaf(node: Node) -> Any:
    """A leaf as an expression: its symbol if it is a float with a name, else the number or expression that it holds."""
    import sympy

    if isinstance(node._data, float) and node.name:
        return sympy.Symbol(node.name, real=True)
    return rational(node._data)
