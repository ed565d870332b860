"""The graph: nodes that remember what they were made from, and the one walk that carries gradients back.

A node is a number with its history: the rule that made it and the inputs that it was made from. A backward pass
visits the nodes reached from a root, each after all that consume it, and hands every input its share: what the
rule's `wrt_*` says, fitted to the input's shape. Nothing here knows a rule by name.

The array that a node holds is never written to, unless it was handed out to the user (see `stale`): other nodes may
hold views of it. Whoever updates a parameter gives it a new array.
"""

from __future__ import annotations

import contextlib
import operator
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import count
from types import CodeType
from typing import Any, Self, TypeAlias

import numpy as np

from microgrid import anomaly, kinds, modes, sites, stale
from microgrid.rule import Rule
from microgrid.stepping import debugging

__microgrid_machinery__ = True

next_number = count(1).__next__  # creation numbers: an input is older than its consumer
NO_PARAMETERS: dict[str, Any] = {}
gettrace = sys.gettrace
tool = getattr(getattr(sys, "monitoring", None), "get_tool", None)  # of Python 3.12 on; tool(0) is the debugger's
MICROGRADS = {"add": "+", "subtract": "-", "multiply": "*", "divide": "/", "power": "**", "relu": "ReLU"}


class Node:
    """A number that knows how it was made. Users meet it as `Value` and `Tensor`.

    Attributes
    ----------
    inputs : tuple
        What the rule was applied to, in order: nodes, and constants that are not nodes. Empty for a leaf.
    rule : type of Rule or None
        The operation; None for a leaf.
    parameters : dict
        The keyword arguments of the rule (axis, shape, ...).
    requires_grad : bool
        Whether backward passes reach this node.
    """

    __slots__ = (
        "_code", "_data", "_extra", "_grad", "_instruction", "_number", "_share", "_x", "_y", "requires_grad", "rule",
    )  # fmt: skip

    _data: Any
    _grad: Any
    _share: Any  # what a fast pass has gathered for it so far; of no meaning outside that pass
    _number: int  # when it was made; a leaf that is written to takes a new number
    _code: CodeType | None  # with _instruction: the user's line that made it
    _instruction: int
    _extra: dict[str, Any] | None  # what few nodes have: name, hooks, marks of the stale check
    _x: Any  # the inputs, a tuple, and
    _y: Any  # the parameters, a dict; a Value has a shorter form, see `Value.inputs`
    inputs: tuple[Any, ...]
    parameters: dict[str, Any]
    requires_grad: bool
    rule: type[Rule] | None

    # ------------------------------------------------------------------ making

    @classmethod
    def _new(cls, data: Any, requires_grad: bool) -> Self:
        """A leaf, made at the user's line."""
        node = object.__new__(cls)
        node._begin(data, requires_grad, None, (), NO_PARAMETERS)
        return node

    def _begin(
        self,
        data: Any,
        requires_grad: bool,
        rule: type[Rule] | None,
        inputs: tuple[Any, ...],
        parameters: dict[str, Any],
    ) -> None:
        """Set every field, as of now and at the user's line."""
        self._data = data
        self._grad = self._share = None
        self._number = next_number()
        self._extra = None
        self._x = inputs
        self._y = parameters
        self.requires_grad = requires_grad
        self.rule = rule
        if sites.switch.on:
            frame = sites.user_frame(sys._getframe(2))
            self._code = frame.f_code
            self._instruction = frame.f_lasti
        else:
            self._code = None
            self._instruction = 0

    def _renew(self) -> None:
        """The data was written to: what was computed from it before is stale from now on."""
        stale.written(self, next_number())

    # ------------------------------------------------------------------ what each face answers

    @staticmethod
    def _held(number: Any) -> tuple[Any, bool]:
        """What a rule gave, as this face holds it, and whether that can have a gradient."""
        return number, True

    def _wrap(self, number: Any) -> Any:
        """A constant node of this face that holds a number."""
        raise NotImplementedError

    def _seed(self, gradient: Any) -> Any:
        """The gradient that a backward pass starts from: the one given, or one; a number of the data's kind."""
        raise NotImplementedError

    def _fit(self, share: Any) -> Any:
        """A share of this node's gradient in the shape and precision of its data."""
        raise NotImplementedError

    def _own(self, gradient: Any, taken: set[int]) -> Any:
        """The gradient as an object that this node alone holds."""
        raise NotImplementedError

    def _tied(self, gradient: Node) -> Node:
        """A recorded gradient of this node as one that can be differentiated by it: a constant has the derivative 0."""
        raise NotImplementedError

    def _fast_backward(self) -> bool:
        """Run the whole pass from here by a faster way, if there is one; whether it was run."""
        return False

    def _compared(self, compare: Callable[[Any, Any], Any], other: Any) -> Any:
        """The data compared with a number, or with another node's data."""
        raise NotImplementedError

    # ------------------------------------------------------------------ a node is itself; comparing looks at its data

    __hash__ = object.__hash__

    def __eq__(self, other: object) -> Any:
        return self._compared(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._compared(operator.ne, other)

    def __lt__(self, other: Any) -> Any:
        return self._compared(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._compared(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._compared(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._compared(operator.ge, other)

    # ------------------------------------------------------------------ what users ask

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        return self.rule is None

    @property
    def name(self) -> str | None:
        """What the user calls it, in pictures and messages."""
        return self._extra.get("name") if self._extra else None

    @name.setter
    def name(self, name: str | None) -> None:
        if name is not None and not isinstance(name, str):
            raise TypeError(f"name: expected a string, got {type(name).__name__}, at {sites.here()}")
        self._note("name", name)

    @property
    def site(self) -> sites.Site | None:
        """The line that made it; None where sites were not recorded."""
        return sites.resolve(self._code, self._instruction) if self._code else None

    @property
    def _op(self) -> str:  # micrograd's name, and its words
        if self.rule is None:
            return ""
        symbol = MICROGRADS.get(self.rule.__name__, self.rule.__name__)
        exponent = self.inputs[-1] if symbol == "**" and not isinstance(self.inputs[-1], Node) else ""
        return f"{symbol}{exponent}"

    @property
    def _prev(self) -> tuple[Node, ...]:  # micrograd's name
        return tuple(x for x in self.inputs if isinstance(x, Node))

    def _note(self, key: str, item: Any) -> None:
        if self._extra is None:
            self._extra = {}
        self._extra[key] = item

    def _described(self) -> str:
        """The node in a message: `multiply 'loss' made at train.py:41`."""
        what = self.rule.__name__ if self.rule else type(self).__name__
        name = f" {self.name!r}" if self.name else ""
        return f"{what}{name}" + (f" made at {self.site}" if self.site else "")

    def _written(self) -> str:
        """The node as its line has it: `z = a / b at train.py:41 (divide)`."""
        site = self.site
        if site is None or self.rule is None:
            return self._described()
        return " = ".join(filter(None, [self.name, site.expression])) + f" at {site} ({self.rule.__name__})"

    def breakpoint(self, on: bool = True) -> Self:
        """Have backward passes stop at this node, in the debugger that is attached, or else as `breakpoint()` does.

        Returns the node. `MICROGRID_STEP=0` in the environment turns it off.
        """
        self._note("breakpoint", bool(on))
        _passes.breakpoints = True
        return self

    def requires_grad_(self, requires_grad: bool = True) -> Self:
        """Set whether backward passes reach this leaf; returns it.

        Raises
        ------
        ValueError
            If the node has a history: use `detach()`.
        """
        if self.rule is not None and not requires_grad:
            what = self._described()
            raise ValueError(f"requires_grad_(False): {what} has a history: use .detach(), at {sites.here()}")
        self.requires_grad = bool(requires_grad)
        return self

    def zero_grad(self) -> None:
        """Forget the gradient."""
        modes.look("zero_grad()")
        self._grad = None

    def register_hook(self, hook: Callable[[Any], Any]) -> Hook:
        """Have `hook(gradient)` called when a backward pass has this node's gradient complete.

        What it returns, unless None, takes the gradient's place. An array that is passed is the hook's own.

        Returns
        -------
        Hook
            Its `remove()` takes the hook off again.

        Raises
        ------
        ValueError
            If the node requires no gradient: the hook would never be called.
        """
        if not self.requires_grad:
            raise ValueError(f"register_hook: {self._described()} requires no gradient, at {sites.here()}")
        if not callable(hook):
            raise TypeError(f"register_hook: expected a function, got {type(hook).__name__}, at {sites.here()}")
        hooks = (self._extra or {}).get("hooks", {})
        self._note("hooks", hooks)
        return Hook(hooks, hook)

    def backward(
        self,
        gradient: Any = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Node | Sequence[Node] | None = None,
        *,
        step: bool | None = None,
    ) -> None:
        """Compute the gradient of this node with respect to all that it was made from.

        Leaves accumulate into `.grad`; the nodes between hold the gradient of this pass.

        Parameters
        ----------
        gradient : number or array of this node's shape, optional
            dL/d(this node), where L is what is differentiated; 1 by default, for a single number.
        retain_graph : optional
            Accepted as in torch and ignored: a graph lives as long as its root.
        create_graph : bool, optional
            Record the pass itself, so that gradients can be differentiated. Leaves then hold nodes in `.grad`, and
            with them a reference cycle, which `zero_grad()` breaks; nodes between keep none. `mg.grad` makes no cycle.
        inputs : node or sequence of nodes, optional
            Give a gradient to these alone.
        step : bool, optional
            Run the pass as a function on the lines that made the nodes, for any Python debugger to step through. True:
            do, and have a debugger that is attached stop at the first node; False: never. By default where a debugger
            is attached, for graphs of at most `mg.step_limit` nodes, and where a node has a `breakpoint()`. The locals
            there are node, g (its gradient, complete), inputs, and the contributions of the node before; `node.grad`
            stays what it was until the pass has run to its end.

        Raises
        ------
        ValueError
            Where nothing requires a gradient; where this is not a single number and no gradient is given;
            where the gradient has another shape.
        StaleError
            Where data was written to after it was used.
        """
        targets = listed_nodes(inputs, "inputs") if inputs is not None else None
        backward(self, gradient, create_graph, targets, step)

    # ------------------------------------------------------------------ copies

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        copied = self._copied("copy.deepcopy")
        memo[id(self)] = copied
        return copied

    def __copy__(self) -> Self:
        return self._copied("copy.copy")

    def __reduce__(self) -> Any:
        self._leaf_only("pickle")
        return _rebuilt, (type(self), self._data, _number(self._grad), self.requires_grad, self.name)

    def _copied(self, operation: str) -> Self:
        self._leaf_only(operation)
        data, grad = (x.copy() if isinstance(x, np.ndarray) else x for x in (self._data, _number(self._grad)))
        copied: Self = _rebuilt(type(self), data, grad, self.requires_grad, self.name)
        return copied

    def _leaf_only(self, operation: str) -> None:
        modes.look(operation)
        if self.rule is not None:
            raise TypeError(
                f"{operation}: {self._described()} has a history; only leaves copy and pickle: "
                f"use .detach(), at {sites.here()}"
            )


def _rebuilt(cls: type[Any], data: Any, grad: Any, requires_grad: bool, name: str | None) -> Any:
    node = cls._new(data, requires_grad)
    node._grad = grad
    if name is not None:
        node.name = name
    return node


def _number(gradient: Any) -> Any:
    return gradient._data if isinstance(gradient, Node) else gradient


class Hook:
    """A place among the hooks of a node, which are called with its gradient; `remove()` gives it up."""

    __slots__ = ("_hooks", "_key")

    def __init__(self, hooks: dict[int, Callable[[Any], Any]], function: Callable[[Any], Any]) -> None:
        self._hooks, self._key = hooks, next_number()
        hooks[self._key] = function

    def remove(self) -> None:
        """Take the hook off; a second time does nothing."""
        self._hooks.pop(self._key, None)


# --------------------------------------------------------------------------------------------- applying rules


class _NodeKind(kinds.Kind):
    """Graph nodes: a rule of nodes is evaluated on their data, and remembered."""

    def apply(self, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]) -> Node:
        recorded = watched = False
        numbers: list[Any] = []
        for x in inputs:
            if isinstance(x, Node):
                recorded = recorded or x.requires_grad
                watched = watched or x._extra is not None
                x = x._data
            elif x.__class__ not in PLAIN:
                x = _plain(x)
            numbers.append(x)
        kind = kinds.highest(numbers)
        try:
            z = kind.apply(rule, numbers, parameters)
        except OverflowError:  # from an int beyond all floats
            if int not in map(type, inputs):
                raise
            return self.apply(rule, [kinds.as_float(x) if type(x) is int else x for x in inputs], parameters)
        if z is None:
            raise TypeError("its value is None: does the function lack a `return`?")
        face = kinds.kind_of(z).face
        try:
            z, differentiable = face._held(z)
        except TypeError:
            if kind.rank < 2:
                raise
            raise TypeError(
                f"{kind.name} and a Tensor do not mix: make it a float; a vector of such numbers is a list of Values"
            ) from None
        if modes.special.count:
            recorded = recorded and modes.is_grad_enabled()
            if (watch := modes.anomalies()) is not None:
                anomaly.check_value(rule, numbers, z, watch)
            if modes.record() is not None:
                made = noted(face, z, recorded and differentiable, rule, inputs, parameters)
                if watched:
                    stale.used(made, inputs)
                return made
        node: Node = object.__new__(face)
        if recorded and differentiable:
            if parameters:
                parameters = {name: _constant(x) for name, x in parameters.items()}
            node._begin(z, True, rule, tuple([_constant(x) for x in inputs]), parameters)
        else:
            node._begin(z, False, None, (), NO_PARAMETERS)
        if watched:
            stale.used(node, inputs)
        return node


def noted(
    face: Any, z: Any, requires_grad: bool, rule: type[Rule], inputs: Sequence[Any], parameters: dict[str, Any]
) -> Node:
    """A node for a record: it remembers how it was made whether or not it has a gradient, and arrays as they came."""
    node: Node = object.__new__(face)
    node._begin(z, requires_grad, rule, tuple(inputs), parameters)
    return node


PLAIN = {float, int, bool, np.ndarray}


def _plain(x: Any) -> Any:
    """A number of NumPy's or an array of a subclass as the plain number or array that it is."""
    if isinstance(x, np.generic):
        return x.item()  # NumPy's scalars count as Python's: they change neither face nor precision
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("expected an array, got a masked one: fill it first, .filled(0), and multiply by the mask")
    return np.asarray(x) if isinstance(x, np.ndarray) else x  # a np.matrix would multiply otherwise


def _constant(x: Any) -> Any:
    """An input as a node keeps it: an array of the user's, who could write to it later, is copied."""
    if isinstance(x, Node):
        return x
    return np.array(x) if isinstance(x, np.ndarray) else x.item() if isinstance(x, np.generic) else x


node_kind = _NodeKind("a graph node", 100, {}, one=lambda x: x._wrap(kinds.kind_of(x._data).one(x._data)))


# --------------------------------------------------------------------------------------------- order and walk


def topological_order(*roots: Node, oldest: int = 0) -> list[Node]:
    """All nodes that the roots were made from, and the roots, each after its inputs.

    Leaves come first, then the others as they were made: the same on every run, and without recursion.

    Parameters
    ----------
    *roots : Value or Tensor
    oldest : int, optional
        What nodes of a smaller creation number were made from is left out.
    """
    found = set(roots)
    made: list[Node] = []
    leaves: list[Node] = []
    waiting = list(found)
    for node in waiting:
        (leaves if node.rule is None else made).append(node)
        if node._number < oldest:
            continue
        for x in node._x if node._y.__class__ is dict else node.inputs:
            if isinstance(x, Node) and x not in found:
                found.add(x)
                waiting.append(x)
    made.sort(key=age)
    leaves.sort(key=age)
    return leaves + made


age = operator.attrgetter("_number")


Share: TypeAlias = tuple[int, Any, Any, Any]  # position of the input, its share, its gradient before it and after it


class Walk:
    """The backward walk: each input is handed its share, from the newest node to the oldest.

    Parameters
    ----------
    order : sequence of Node
        Each node after its inputs.
    gradients : dict of Node to number
        The seeds; each node's gradient is complete when the walk reaches it.
    wanted : set of Node, optional
        Carry gradients to these nodes only; to all that require one, if not given.
    create_graph : bool, optional
        Run the rules on nodes in place of their data, so that the pass is itself recorded.
    """

    def __init__(
        self, order: Sequence[Node], gradients: dict[Node, Any], wanted: set[Node] | None = None,
        create_graph: bool = False,
    ) -> None:  # fmt: skip
        self.order, self.gradients, self.wanted, self.create_graph = order, gradients, wanted, create_graph
        self.watch = modes.anomalies()

    def __iter__(self) -> Iterator[tuple[Node, Any, list[Share]]]:
        """After each node: the node, its gradient, and what it handed on."""
        for node in reversed(self.order):
            g = self.gradients.get(node) if node._extra is None else self.arrive(node)
            if g is None:
                continue
            shares: list[Share] = []
            if node.rule is not None:
                shares = self.hand_on(node, g, differentiate(node, g, self.wanted, self.create_graph))
            yield node, g, shares

    def run(self, stop: bool | None = None) -> None:
        """The whole walk, where nobody looks on: `arrive` and `hand_on` written out, without a call for each node.

        With `stop` it is a function on the user's lines; True has a debugger stop at the first.
        """
        if stop is not None:
            from microgrid.stepping import frames

            frames.run(self, stop=stop)
            return
        gradients, watched = self.gradients, self.watch is not None
        for node in reversed(self.order):
            g = gradients.get(node) if node._extra is None else self.arrive(node)
            if g is None or node.rule is None:
                continue
            shares = differentiate(node, g, self.wanted, self.create_graph)
            if watched:
                self.hand_on(node, g, shares)
                continue
            inputs = node._x if node._y.__class__ is dict else node.inputs
            for position, share in shares:
                x = inputs[position]
                before = gradients.get(x)
                gradients[x] = share if before is None else before + share

    def arrive(self, node: Node) -> Any:
        """The node's gradient, as its hooks leave it; None where the walk does not reach it."""
        g = self.gradients.get(node)
        if g is not None and node._extra is not None:
            for hook in list(node._extra.get("hooks", {}).values()):
                try:
                    replaced = hook(g.copy() if isinstance(g, np.ndarray) else g)
                    if replaced is not None:
                        g = self.gradients[node] = seeded(node, replaced, self.create_graph)
                except Exception as error:
                    error.add_note(f"in a hook of {node._written()}")
                    raise
        return g

    def hand_on(self, node: Node, g: Any, shares: list[tuple[int, Any]]) -> list[Share]:
        """Add to the gradient of each input the share that the node has for it."""
        gradients, handed = self.gradients, []
        for position, share in shares:
            if self.watch is not None:
                anomaly.check_share(node, position, g, share, self.watch)
            x = node.inputs[position]
            before = gradients.get(x)
            gradients[x] = after = share if before is None else before + share
            handed.append((position, share, before, after))
        return handed


def differentiate(
    node: Node, g: Any, wanted: set[Node] | None = None, create_graph: bool = False
) -> list[tuple[int, Any]]:
    """What a node with gradient g has for each of its inputs that wants it: (position, share)."""
    __tracebackhide__ = __debuggerskip__ = True  # what a debugger steps into from here is the rule
    rule = node.rule
    assert rule is not None
    inputs, parameters = (node._x, node._y) if node._y.__class__ is dict else (node.inputs, NO_PARAMETERS)
    stale.check(node, inputs)
    if create_graph:
        kind: kinds.Kind = node_kind
        arguments: list[Any] = [g, node, *inputs]
    else:
        kind = kinds.kind_of(node._data)
        arguments = [g, node._data]
        for x in inputs:
            arguments.append(x._data if isinstance(x, Node) else x)
        arguments = kind.arguments(arguments)
        if parameters:
            parameters = kind.parameters(parameters)
    shares = []
    together = None
    try:
        for position, x in enumerate(inputs):
            if not isinstance(x, Node) or not x.requires_grad or (wanted is not None and x not in wanted):
                continue
            if together is not None:
                share = together[position]
            elif (wrt := rule.wrt[0 if rule.variadic else position]) is not None:
                try:
                    share = wrt(*arguments, **parameters)
                except (ArithmeticError, ValueError):
                    share = kind.again(wrt, arguments, parameters)
                if share.__class__ is complex:
                    share = kind.again(wrt, arguments, parameters)
                if rule.variadic:
                    together, share = share, _of_many(node, share, position)
            else:
                continue
            try:
                if share.__class__ is np.ndarray and share.ndim and node._data.__class__ is float:
                    raise ValueError("it is an array, and nothing here is")
                fitted = share if share.__class__ is float is x._data.__class__ else x._fit(share)
            except (TypeError, ValueError) as error:
                raise _misfit(node, position, share, error) from None
            shares.append((position, x._wrap(fitted) if create_graph and not isinstance(fitted, Node) else fitted))
    except Exception as error:
        error.add_note(f"while differentiating {node._written()}")
        raise
    return shares


def _of_many(node: Node, shares: Sequence[Any], position: int) -> Any:
    """The share for one input among those that a rule of many inputs gave."""
    if len(shares) != len(node.inputs):
        assert node.rule is not None
        raise ValueError(f"wrt_{node.rule.inputs[0]} gave {len(shares)} shares for {len(node.inputs)} inputs")
    return shares[position]


def _misfit(node: Node, position: int, share: Any, error: Exception) -> Exception:
    """What to say of a derivative that is no share of its input's gradient: the rule, the shapes, what it is."""
    assert node.rule is not None
    name = node.rule.inputs[0 if node.rule.variadic else position]
    given = share._data if isinstance(share, Node) else share
    what = (
        f"shape {np.shape(given)}"
        if isinstance(given, (np.ndarray, float))
        else f"{type(given).__name__} {given!r:.40}"
    )
    shape = np.shape(node.inputs[position]._data)
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(
        f"{node.rule.__name__}: wrt_{name} gave {what} for an input of shape {shape} (the value has shape "
        f"{np.shape(node._data)}): {error}"
    )


def paths_to(order: Sequence[Node], targets: Iterable[Node]) -> set[Node]:
    """The nodes through which gradients must pass to reach the targets, and the targets."""
    wanted = set(targets)
    for node in order:
        for x in node.inputs if node not in wanted else ():
            if isinstance(x, Node) and x in wanted:
                wanted.add(node)
                break
    return wanted


# --------------------------------------------------------------------------------------------- backward passes


class _Passes:
    """One pass at a time stores gradients: leaves may be shared between threads."""

    __slots__ = ("breakpoints", "lock", "nested")

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.breakpoints = False  # whether a node ever had one
        self.nested = False  # whether a fast pass runs, and what asks is a rule called by it


_passes = _Passes()  # of which fields are set: setting those of a class has Python forget what it knows of classes


def backward(
    root: Node, gradient: Any, create_graph: bool, inputs: Sequence[Node] | None, step: bool | None = None
) -> None:
    """See `Node.backward`."""
    traced = gettrace() is not None or (tool is not None and tool(0) is not None)  # by a debugger, or a profiler
    inside = entered() if traced or _passes.breakpoints else None  # first: a late one would step through this
    check_root(root, "backward")
    modes.look("backward()")
    with _passes.lock:
        plain = gradient is None and not create_graph and inputs is None
        if plain and not step and not traced and _fast_pass(root):
            return
        seed = seeded(root, gradient, create_graph)
        order = topological_order(root)
        stop = True if step else None
        if step is None and inside is not None:
            stop = followed(order, inside)
            if stop is None and plain and fast_pass(root):
                return
        gradients = differentiated(order, {root: seed}, inputs, create_graph, stop)
        keep(order, gradients, inputs, create_graph)


def entered() -> bool | None:
    """Whether a debugger's user steps into a pass here, to step through it; None where nobody could."""
    if gettrace() is None and (tool is None or tool(0) is None) and not _passes.breakpoints:
        return None
    return debugging.step_over()


def followed(order: Sequence[Node], inside: bool | None) -> bool | None:
    """How a pass goes that nobody has asked to be stepped: `stop` of `differentiated`, after what `entered` said."""
    if inside is None:
        return None
    from microgrid.stepping import frames  # only here, since it takes a while to import

    return inside if frames.unasked(order) else None


def fast_pass(root: Node) -> bool:
    """The plain pass from this root by the fast path, if there is one; whether it was run."""
    with _passes.lock:
        return _fast_pass(root)


def _fast_pass(root: Node) -> bool:
    if _passes.nested:
        return False
    _passes.nested = True
    try:
        return root._fast_backward()
    finally:
        _passes.nested = False


def seeded(root: Node, gradient: Any, create_graph: bool) -> Any:
    """What a pass from this root starts with: a number of its kind and shape; a node of one, to be differentiated."""
    seed = root._seed(gradient._data if isinstance(gradient, Node) else gradient)
    if not create_graph:
        return seed
    return gradient if isinstance(gradient, Node) else root._wrap(seed)


def differentiated(
    order: Sequence[Node], gradients: dict[Node, Any], targets: Sequence[Node] | None, create_graph: bool,
    stop: bool | None = None,
) -> dict[Node, Any]:  # fmt: skip
    """The gradients of all nodes in the order (or on the way to the targets), given those of the roots.

    With `stop` as in `Walk.run`.
    """
    if not create_graph:
        modes.look("a backward pass")
    wanted = None if targets is None else paths_to(order, targets)
    recording = modes.enable_grad() if create_graph and not modes.is_grad_enabled() else contextlib.nullcontext()
    with np.errstate(all="ignore"), recording:
        Walk(order, gradients, wanted, create_graph).run(stop)
    return gradients


def keep(order: Sequence[Node], gradients: dict[Node, Any], inputs: Sequence[Node] | None, create_graph: bool) -> None:
    """Store the gradients of a pass: leaves (and chosen inputs) add theirs up, nodes between take the new one."""
    taken = held(order)
    chosen = gradients if inputs is None else set(inputs)
    with _passes.lock, np.errstate(all="ignore"):
        for node, gradient in gradients.items():
            if node not in chosen:
                continue
            adds_up = node.rule is None or inputs is not None
            if create_graph:
                gradient = node._tied(gradient)
            if adds_up and (before := node._grad) is not None:
                node._grad = node._fit(before + gradient)
            elif not create_graph:
                node._grad = node._own(gradient, taken)
            elif adds_up:
                node._grad = gradient


def held(nodes: Iterable[Node]) -> set[int]:
    """The ids of the arrays that no gradient may be: a rule of a user's may give back what it was given."""
    taken = set()
    for node in nodes:
        if node.rule is not None and not node.rule.ours:
            taken.add(id(node._data))
            taken.update(id(x._data if isinstance(x, Node) else x) for x in node.inputs)
    return taken


def check_root(root: Any, operation: str) -> None:
    """Refuse what cannot be differentiated."""
    if not isinstance(root, Node):
        raise TypeError(f"{operation}: expected a Value or a Tensor, got {type(root).__name__}, at {sites.here()}")
    if not root.requires_grad:
        raise ValueError(
            f"{operation}: element 0 of tensors does not require grad and does not have a grad_fn: nothing that "
            f"{root._described()} was made from requires a gradient, at {sites.here()}"
        )


def listed_nodes(nodes: Any, argument: str) -> tuple[Node, ...]:
    """One node or several, each of which can have a gradient.

    Raises
    ------
    TypeError, ValueError
    """
    try:
        listed = (nodes,) if isinstance(nodes, Node) else tuple(nodes)
    except TypeError:
        listed = (nodes,)
    if not listed:
        raise ValueError(f"{argument}: expected at least one node, got none, at {sites.here()}")
    for node in listed:
        if not isinstance(node, Node):
            raise TypeError(f"{argument}: expected Values and Tensors, got {type(node).__name__}, at {sites.here()}")
        if not node.requires_grad:
            raise ValueError(f"{argument}: {node._described()} does not require a gradient, at {sites.here()}")
    return listed
