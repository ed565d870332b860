"""`derive`: the chain rule of a graph written out step by step, as one writes it by hand: C <- A <- Z <- W.

The letters are the names that the user gave to nodes; between two of them stands one step. Each local derivative is
what the rules themselves give, run on symbols, and the form at the end is proved equal before it is shown.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

from microgrid import sites
from microgrid.derivatives import grad
from microgrid.graph import Node, topological_order
from microgrid.modes import enable_grad
from microgrid.proving.exact import needs_sympy, rational
from microgrid.proving.printing import formula, latex
from microgrid.proving.symbolic import leaf, order_from, replayed
from microgrid.value import Value

__microgrid_machinery__ = True

MOST = 100  # letters on the way: more is no reading
SIGNS = ("positive", "negative", "nonnegative", "nonpositive", "nonzero")


class Link(NamedTuple):
    """From one letter to the next: `above` was computed from `below` by `rules`.

    Attributes
    ----------
    above, below : Symbol
        The letters, u and v of du/dv.
    rules : tuple of str
        The names of the rules on the way, the last one applied first.
    local : SymPy expression
        du/dv with the other letters held.
    total : SymPy expression or None
        dC/dv in its shortest form, once all links to v stand above this one; else None.
    """

    above: Any
    below: Any
    rules: tuple[str, ...]
    local: Any
    total: Any


class Derivation(NamedTuple):
    """The derivative of a loss, derived link by link. Prints as text, and as LaTeX in a notebook.

    Attributes
    ----------
    loss, wrt : Symbol
    links : tuple of Link
        From the loss downwards.
    result : SymPy expression
        The derivative in the letters, in its shortest form.
    proof : Proof
        That `result` is the product (or sum of products) of the links, and the gradient of the whole graph.
    meanings : dict of Symbol to expression
        The letters that stand for nodes without a name: what each was computed as.
    """

    loss: Any
    wrt: Any
    links: tuple[Link, ...]
    result: Any
    proof: Any
    meanings: dict[Any, Any]

    def __str__(self) -> str:
        return self._written(formula, "{2}{0}/{2}{1}".format, "\n  ", " * ")

    def __repr__(self) -> str:
        return str(self)

    def latex(self) -> str:
        r"""LaTeX, without dollar signs: lines of an `aligned` block."""

        def fraction(above: str, below: str, d: str) -> str:
            d = d.replace("∂", r"\partial")
            return rf"\frac{{{d} {above}}}{{{d} {below}}}"

        lines = self._written(latex, fraction, r" \\ ", r" \, ", align="&")
        return rf"\begin{{aligned}}{lines}\end{{aligned}}"

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.latex()}$"

    def _written(
        self, shown: Callable[[Any], str], ratio: Callable[..., str], newline: str, times: str, align: str = ""
    ) -> str:
        def over(above: Any, below: Any, d: str = "d") -> str:
            return ratio(shown(above), shown(below), d)

        def because(names: Iterable[str]) -> str:
            words = ", ".join(names)
            return rf"\text{{{words}: }}".replace("_", r"\_") if align else f"{words}: "

        lines = [f"{over(self.loss, v)} {align}= {self._sum(v, over, times)}" for v in self._sums()]
        if self.meanings:
            words = ", ".join(f"{shown(letter)} = {shown(x)}" for letter, x in self.meanings.items())
            lines.append(rf"{align}\text{{where }}{words}" if align else f"where {words}")
        for link in self.links:
            text = f"{self._step(link, over)} = {shown(link.local)}"
            if link.total is not None and (link.above != self.loss or len(self._to(link.below)) > 1):
                so = r",\ \text{so } " if align else ", so "
                text += f"{so}{over(self.loss, link.below)} = {shown(link.total)}"
            lines.append(f"{align}{because(link.rules)}{text}")
        proved = "" if self.proof else f"  ({self.proof})" if not align else rf"\quad\text{{({self.proof.verdict})}}"
        lines.append(f"{align}= {shown(self.result)}{proved}")
        return newline.join(lines)

    def _sums(self) -> list[Any]:
        """The letters whose derivative needs a line of its own: the last one, and where paths part below it."""
        counted = [v for v in dict.fromkeys(link.below for link in self.links) if len(self._to(v)) > 1]
        return [self.wrt, *(v for v in reversed(counted) if v != self.wrt)]

    def _to(self, v: Any) -> list[Link]:
        return [link for link in self.links if link.below == v]

    def _step(self, link: Link, over: Callable[..., str]) -> str:
        """One factor; a partial derivative where another path leads to the same letter."""
        return over(link.above, link.below, "∂" if len(self._to(link.below)) > 1 else "d")

    def _sum(self, v: Any, over: Callable[..., str], times: str) -> str:
        return " + ".join(times.join(self._product(link, over)) for link in self._to(v))

    def _product(self, link: Link, over: Callable[..., str]) -> list[str]:
        """The factors of one path, as far up as it is the only one."""
        step = [self._step(link, over)]
        if link.above == self.loss:
            return step
        above = self._to(link.above)
        return [*self._product(above[0], over), *step] if len(above) == 1 else [over(self.loss, link.above), *step]


def derive(loss: Value, wrt: Value, *, timeout: float = 10.0) -> Derivation:
    """Write the derivative of a loss by the chain rule, step by step, in the names of the nodes.

    Parameters
    ----------
    loss, wrt : Value
        Of floats or of symbols. Nodes with a name (`node.name = "A"`) are the letters of the derivation; where no
        node between the two has one, each gets one: v1, v2, ...
    timeout : float > 0
        Seconds for finding the shortest forms of all links and proving the last.

    Returns
    -------
    Derivation
        Its text shows the product of the links (a sum where paths part), each link with its rules and its local
        derivative, and the shortest form that was found and proved.

    Raises
    ------
    TypeError
        For what is no Value; where a choice (relu, maximum) depends on a symbol of unknown sign.
    ValueError
        Where the loss does not depend on `wrt`, two nodes have one name, more than 100 letters are on the way (name the
        few nodes that matter), the graph is too large to write out, or the timeout is not positive.
    ImportError
        Without SymPy.

    Examples
    --------
    >>> import microgrid as mg
    >>> W, X, b, Y = mg.symbols("W X b Y")
    >>> Z = W * X + b
    >>> A = mg.sigmoid(Z)
    >>> C = -(Y * mg.log(A) + (1 - Y) * mg.log(1 - A))
    >>> Z.name, A.name, C.name = "Z", "A", "C"
    >>> mg.derive(C, W)
    dC/dW = dC/dA * dA/dZ * dZ/dW
      negative, add, multiply, log, subtract: dC/dA = (1 - Y)/(1 - A) - Y/A
      sigmoid: dA/dZ = A*(1 - A), so dC/dZ = A - Y
      add, multiply: dZ/dW = X, so dC/dW = X*(A - Y)
      = X*(A - Y)
    """
    needs_sympy("derive")
    for node, what in ((loss, "loss"), (wrt, "wrt")):
        if not isinstance(node, Value):
            raise TypeError(f"derive: {what}: expected a Value, got {type(node).__name__}, at {sites.here()}")
    import sympy

    from microgrid.proving.proofs import limit_of, prove

    limit = limit_of(timeout, "derive")
    deadline = time.monotonic() + limit
    order = topological_order(loss)
    between = _depending(order, wrt)
    if loss not in between or loss is wrt:
        raise ValueError(f"derive: {loss._described()} does not depend on {wrt._described()}, at {sites.here()}")
    letters, named = _letters(order, between, loss, wrt)
    links, totals = _links(order, between, letters, loss, wrt, _Tidying(deadline))
    unnamed = [] if named else [v for v in letters if v is not loss and v is not wrt]
    meanings = {letters[v]: _computed(v, letters) for v in unnamed}
    raw, result = totals[wrt]
    whole, inner = _gradient(loss, wrt, letters)
    meaning = {letters[v]: x for v, x in inner.items() if v in letters and v is not wrt}
    left = max(deadline - time.monotonic(), limit / 10)
    proof = prove([raw, result.xreplace(meaning)], [result, whole], timeout=left)
    if proof.reason.startswith("no decision within"):
        proof = proof._replace(reason=f"no decision within {limit:g} s")
    plain = {x: sympy.Symbol(x.name, real=True) for v, x in letters.items() if not _is_symbol(v)}

    def shown(x: Any) -> Any:  # what is known of a letter's sign was of use, and would be in the way of who compares
        return x if x is None else x.xreplace(plain)

    return Derivation(
        shown(letters[loss]),
        shown(letters[wrt]),
        tuple(
            Link(shown(link.above), shown(link.below), link.rules, shown(link.local), shown(link.total))
            for link in links
        ),
        shown(result if proof else raw),
        proof,
        {shown(letter): shown(x) for letter, x in meanings.items()},
    )


def _depending(order: Iterable[Node], wrt: Node) -> set[Node]:
    """The nodes that were made from wrt, and wrt."""
    found = {wrt}
    for node in order:
        if any(isinstance(x, Node) and x in found for x in node.inputs):
            found.add(node)
    return found


def _letters(order: list[Node], between: set[Node], loss: Node, wrt: Node) -> tuple[dict[Node, Any], bool]:
    """A symbol for each node that bears a letter, and whether the user gave names to those on the way.

    Of a letter is known what the letters below it tell of its sign: of what stands for e^x, that it is positive.
    """
    import sympy

    made = [node for node in order if node.rule is not None and node is not loss and node is not wrt]
    names = {node: str(node.name) for node in made if node.name}
    named = any(node in between for node in names)
    if not named:
        names |= {node: f"v{number}" for number, node in enumerate((u for u in made if u in between), 1)}
    many = sum(node in between for node in names)
    if many > MOST:
        raise ValueError(
            f"derive: {many} letters are on the way from {loss._described()} to {wrt._described()}, of at most {MOST}: "
            f"give names to the few nodes that matter, at {sites.here()}"
        )
    taken = {node.name for node in order if node.name} | set(names.values())
    names[loss] = loss.name or next(letter for letter in ("C", "L", "C0", "L0", "loss") if letter not in taken)
    names[wrt] = wrt.name or next(letter for letter in ("x", "w", "x0", "w0", "wrt") if letter not in taken)
    letters: dict[Node, Any] = {}
    used: set[str] = set()
    for node in order:
        if node not in names:
            if node.rule is None:
                used.update(symbol.name for symbol in leaf(node).free_symbols)
            continue
        if names[node] in used:
            raise ValueError(f"derive: two nodes are called {names[node]!r}, at {sites.here()}")
        used.add(names[node])
        between_them = node.rule is not None and node is not loss and node is not wrt
        signs = _known_signs(replayed(node, letters, "derive")[node]) if between_them else {}
        letters[node] = node._data if _is_symbol(node) else sympy.Symbol(names[node], real=True, **signs)
    return letters, named


def _is_symbol(node: Node) -> bool:
    import sympy

    return node.rule is None and isinstance(node._data, sympy.Symbol)


def _known_signs(x: Any) -> dict[str, bool]:
    return {word: True for word in SIGNS if getattr(x, f"is_{word}")}


def _links(
    order: list[Node], between: set[Node], letters: dict[Node, Any], loss: Node, wrt: Node,
    tidied: Callable[[Any], Any],
) -> tuple[list[Link], dict[Node, tuple[Any, Any]]]:  # fmt: skip
    """All links, from the loss downwards, and for each letter below it the derivative as it stands, and tidied."""
    import sympy

    totals: dict[Node, Any] = {loss: (sympy.Integer(1), sympy.Integer(1))}
    links: list[Link] = []
    waiting: dict[Node, list[tuple[Node, Any, tuple[str, ...]]]] = {}
    held = {v: Value(x) for v, x in letters.items()}
    for node in reversed(order):
        if node is not loss and node in waiting:
            parts = waiting[node]
            total = sum((totals[u][1] * local for u, local, _ in parts), sympy.Integer(0))
            totals[node] = (total, tidied(total))
            for number, (u, local, rules) in enumerate(parts, 1):
                done = totals[node][1] if number == len(parts) else None
                links.append(Link(letters[u], letters[node], rules, local, done))
        if node in totals and node is not wrt:
            del held[node]  # those above are done with it
            for v, local, rules in _below(node, loss, letters[node], held, between):
                waiting.setdefault(v, []).append((node, local, rules))
    return links, totals


def _below(
    node: Node, loss: Node, letter: Any, held: dict[Node, Value], between: set[Node]
) -> list[tuple[Node, Any, tuple[str, ...]]]:
    """The letters right below a node: each with the local derivative and the rules on the way."""
    segment = order_from(node, held)
    with enable_grad():
        inner = _run(segment, held)
    if node is not loss:
        inner[node]._data = letter  # dA/dZ in terms of A, as its rule has it: A (1 - A)
    found = [v for v in segment if v in held and v in between]
    locals_ = grad(inner[node], [held[v] for v in found])
    links = []
    for v, local in zip(found, locals_, strict=True):
        on_the_way = _depending(segment, v)
        made = [u for u in reversed(segment) if u not in held and u in on_the_way]
        rules = tuple(dict.fromkeys(u.rule.__name__ for u in made if u.rule))
        links.append((v, _signed(rational(local)), rules))
    return links


def _signed(x: Any) -> Any:
    """With (1 - y) in place of -(y - 1)."""

    def turned(product: Any) -> Any:
        rest = list(product.args[1:])
        for place, f in enumerate(rest):
            if f.is_Add and 2 * sum(term.could_extract_minus_sign() for term in f.args) >= len(f.args):
                rest[place] = -f
                return product.func(*rest)
        return product

    return x.replace(lambda e: e.is_Mul and e.args[0] == -1 and len(e.args) > 2, turned)


def _computed(node: Node, letters: dict[Node, Any]) -> Any:
    """A node in terms of the letters right below it."""
    return replayed(node, {v: x for v, x in letters.items() if v is not node}, "derive")[node]


def _run(segment: Iterable[Node], held: dict[Node, Value]) -> dict[Node, Any]:
    """The nodes made again, of Values of symbols."""
    made: dict[Node, Any] = {}
    for node in segment:
        if node in held:
            made[node] = held[node]
        elif node.rule is None:
            made[node] = Value(leaf(node))
        else:
            made[node] = node.rule(*(made[x] if isinstance(x, Node) else x for x in node.inputs), **node.parameters)
    return made


def _gradient(loss: Node, wrt: Node, letters: dict[Node, Any]) -> tuple[Any, dict[Node, Any]]:
    """The gradient of the whole graph in one pass, and the expression of each node, both in the leaves and wrt."""
    expressions = replayed(loss, {wrt: letters[wrt]}, "derive")  # which refuses what is too large
    start = {wrt: Value(letters[wrt])}
    with enable_grad():
        made = _run(order_from(loss, start), start)
    (whole,) = grad(made[loss], start[wrt])
    return whole, expressions


class _Tidying:
    """Short forms, found in another process before a deadline; where it is reached, the form given stays."""

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self._known: dict[Any, Any] = {}

    def __call__(self, x: Any) -> Any:
        from microgrid.proving import algebra

        if x not in self._known:
            short = self._found(algebra.tidied_apart, x) if x.args else x
            self._known[x] = self._found(algebra.tidied, short) if algebra.related(short) else short
        return self._known[x]

    def _found(self, tidied: Callable[[Any], Any], x: Any) -> Any:
        from microgrid.proving import background

        left = self._deadline - time.monotonic()
        if left <= 0.1:  # no process answers within that
            return x
        try:
            return background.call(tidied, x, timeout=left / 2)  # the other half is for what comes after
        except (background.FailedError, background.OutOfTimeError, RecursionError, ValueError):
            return x
