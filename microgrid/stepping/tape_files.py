"""Tapes as JSON: written to the bit, and read with distrust, since files come from anywhere.

A number is a number of JSON's, or an object of one key that names what it is: {"float": "nan"}, {"fraction": "1/3"},
{"array": [...], "shape": [2, 3], "dtype": "<f8"}. Nothing that is read is executed or looked up but the names of rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from microgrid import rules, sites
from microgrid.graph import Node
from microgrid.rule import Rule
from microgrid.stepping.steps import Applied, Contribution, Step, Summary, Told, one_line

__microgrid_machinery__ = True

FORMAT = "microgrid tape"
VERSION = 1
LONGEST = 10_000  # lines of one expression


class Recorded:
    """A node of a tape that was read from a file: what was told of it, and no graph."""

    __slots__ = ("inputs", "name", "op", "parameters", "requires_grad", "rule", "site", "value")

    def __init__(self, told: Any) -> None:
        self.name: str | None = _of(told, "name", str, None)
        self.op: str = _of(told, "op", str)
        rule = getattr(rules, self.op, None) if _of(told, "ours", bool) else None
        self.rule: type[Rule] | None = rule if isinstance(rule, type) and issubclass(rule, Rule) else None
        self.requires_grad: bool = _of(told, "requires_grad", bool)
        self.site = _site(_of(told, "site", list, None))
        self.value = decoded(_of(told, "value"))
        self.parameters: dict[str, Any] = {name: decoded(item) for name, item in _of(told, "parameters", dict).items()}
        self.inputs: tuple[Any, ...] = ()

    def __repr__(self) -> str:
        return one_line(f"<{self.name or self.op or 'leaf'}, read from a file>")


# --------------------------------------------------------------------------------------------- a tape to words


def told(
    root: Any, seed: Any, labels: Mapping[Any, str], values: Mapping[Any, Any], steps: Sequence[Step],
    hooked: Mapping[Any, Any],
) -> dict[str, Any]:  # fmt: skip
    """A tape in numbers, words, lists and dicts; nodes go by their places in the order."""
    places = {node: place for place, node in enumerate(labels)}
    return {
        "format": FORMAT,
        "version": VERSION,
        "root": places[root],
        "seed": encoded(seed),
        "nodes": [_node_told(node, label, values[node], places) for node, label in labels.items()],
        "steps": [
            {
                "node": places[step.node],
                "module": step.module,
                "upstream": encoded(step.upstream),
                "contributions": [_contribution_told(c) for c in step.contributions],
            }
            for step in steps
        ],
        "hooked": [{"node": places[node], "gradient": encoded(gradient)} for node, gradient in hooked.items()],
    }


def _node_told(node: Any, label: str, value: Any, places: Mapping[Any, int]) -> dict[str, Any]:
    return {
        "label": label,
        "name": node.name,
        "op": node.op if isinstance(node, Recorded) else node.rule.__name__ if node.rule else "",
        "ours": node.rule is not None and node.rule.ours,
        "requires_grad": node.requires_grad,
        "site": list(node.site) if node.site else None,
        "value": encoded(value),
        "parameters": {name: encoded(item) for name, item in node.parameters.items()},
        "inputs": [{"node": places[x]} if isinstance(x, (Node, Recorded)) else encoded(x) for x in node.inputs],
    }


def _contribution_told(c: Contribution) -> dict[str, Any]:
    return {
        "position": c.position,
        "slot": c.slot,
        **{name: encoded(getattr(c, name)) for name in ("value", "before", "after", "local")},
        "reduced": list(c.reduced),
        "formula": c.formula,
    }


def encoded(x: Any) -> Any:
    """A number, array, or parameter of a rule in what JSON has; everything else as its text."""
    if x is None or isinstance(x, (bool, str)):
        return x
    if isinstance(x, (int, float)):  # NumPy's float64 is a float
        x = x if isinstance(x, int) else float(x)
        return x if math.isfinite(x) else {"float": f"{'-' if math.copysign(1, x) < 0 else ''}{abs(x)}"}
    if isinstance(x, np.ndarray) and x.dtype.kind in "fiub" and x.dtype.itemsize <= 8:
        return {"array": [encoded(n) for n in x.ravel().tolist()], "shape": list(x.shape), "dtype": x.dtype.str}
    if isinstance(x, Summary):
        return {"summary": [encoded(field) for field in x]}
    if type(x).__name__ == "Fraction":
        return {"fraction": str(x)}
    if isinstance(x, (tuple, list)):
        return {"tuple": [encoded(item) for item in x]}
    if isinstance(x, slice):
        return {"slice": [encoded(item) for item in (x.start, x.stop, x.step)]}
    return {"text": str(x)}


# --------------------------------------------------------------------------------------------- and back


def read(content: bytes) -> tuple[Recorded, Any, dict[Any, str], dict[Any, Any], list[Step], dict[Any, Any]]:
    """What a file says: root, seed, labels, values, steps, and what hooks made of leaves' gradients.

    Raises
    ------
    ValueError
        If it holds no tape, or a broken one.
    """
    import json  # here, since few programs need it

    try:
        tape = json.loads(content.decode(), parse_constant=_no_number)
    except RecursionError:
        raise ValueError("it is nested too deep") from None
    if not isinstance(tape, dict) or tape.get("format") != FORMAT:
        raise ValueError("it does not say that it is one")
    if tape.get("version") != VERSION:
        raise ValueError(f"it is of version {tape.get('version')!r:.20}, and this microgrid reads version {VERSION}")
    try:
        return _read(tape)
    except (RecursionError, OverflowError, MemoryError) as error:
        raise ValueError(f"a number in it is beyond all bounds ({type(error).__name__})") from None


def _read(tape: dict[str, Any]) -> tuple[Recorded, Any, dict[Any, str], dict[Any, Any], list[Step], dict[Any, Any]]:
    told = _of(tape, "nodes", list)
    nodes = [Recorded(node) for node in told]
    labels: dict[Any, str] = {}
    for place, (node, of) in enumerate(zip(nodes, told, strict=True)):
        given = _of(of, "inputs", list)
        node.inputs = tuple(_node(x, nodes[:place]) if _is_node(x) else decoded(x) for x in given)  # older ones only
        labels[node] = _of(of, "label", str)
    if len(set(labels.values())) < len(nodes):
        raise ValueError("two nodes bear one label")
    total = len(_of(tape, "steps", list))
    steps = [_step(of, index, total, nodes, labels) for index, of in enumerate(tape["steps"])]
    hooked = {_node(of, nodes): decoded(_of(of, "gradient")) for of in _of(tape, "hooked", list)}
    values = {node: node.value for node in nodes}
    return _node({"node": tape.get("root")}, nodes), decoded(_of(tape, "seed")), labels, values, steps, hooked


def _step(of: Any, index: int, total: int, nodes: Sequence[Recorded], labels: Mapping[Any, str]) -> Step:
    node = _node(of, nodes)
    numbers = tuple(x.value if isinstance(x, Recorded) else x for x in node.inputs)
    applied = Applied(node.rule, decoded(_of(of, "upstream")), node.value, numbers, node.parameters)
    contributions = tuple(_contribution(node, labels, c, applied) for c in _of(of, "contributions", list))
    return Step(index, total, node, labels[node], _of(of, "module", str), applied, contributions)


def _contribution(node: Recorded, labels: Mapping[Any, str], of: Any, applied: Applied) -> Contribution:
    x = _node({"node": _of(of, "position", int)}, node.inputs)
    reduced = _of(of, "reduced", list)
    if not all(type(axis) is int for axis in reduced):
        raise ValueError(f"'reduced' is {reduced!r:.40}, and should be axes")
    told = Told(decoded(_of(of, "local")), tuple(reduced), _of(of, "formula", str))
    value, before, after = (decoded(_of(of, name)) for name in ("value", "before", "after"))
    return Contribution(x, labels[x], _of(of, "slot", str), value, before, after, of["position"], applied, told)


def _site(of: list[Any] | None) -> sites.Site | None:
    if of is None:
        return None
    kinds = [type(x) for x in of]
    right = kinds[:1] + kinds[1:2] + kinds[5:] == [str, int, str] and {*kinds[2:5]} <= {int, type(None)}
    if right:
        line, last, *columns = of[1], of[1] if of[2] is None else of[2], *of[3:5]
        right = 0 < line <= last < line + LONGEST and all(column is None or column >= 0 for column in columns)
    if not right:
        raise ValueError(f"'site' is {of!r:.60}, and should be a file, a line and so on")
    return sites.Site(*of)


def _is_node(x: Any) -> bool:
    return isinstance(x, dict) and "node" in x


def _node(of: Any, nodes: Sequence[Any]) -> Recorded:
    """The node at a place."""
    place = _of(of, "node", int)
    if not 0 <= place < len(nodes) or not isinstance(nodes[place], Recorded):
        raise ValueError(f"{place} is no place of a node")
    node: Recorded = nodes[place]
    return node


def _of(told: Any, key: str, *kinds: Any) -> Any:
    """An entry of an object, which must be of one of these kinds."""
    if not isinstance(told, dict) or key not in told:
        raise ValueError(f"{key!r} is missing")
    item = told[key]
    if kinds and type(item) not in [type(None) if kind is None else kind for kind in kinds]:
        raise ValueError(f"{key!r} is {item!r:.40}, and should be of type {kinds[0].__name__}")
    return item


def decoded(x: Any) -> Any:
    """What `encoded` was given; of a text, the text.

    Raises
    ------
    ValueError
        If it is nothing that `encoded` gives.
    """
    if not isinstance(x, dict):
        if isinstance(x, list):
            raise ValueError("a list stands where a number should")
        return x
    kind = next(iter(x), "")
    given = x.get(kind)
    if kind == "array" and x.keys() == {"array", "shape", "dtype"}:
        return _array(given, x["shape"], x["dtype"])
    if len(x) == 1 and kind == "summary" and isinstance(given, list) and len(given) == len(Summary._fields):
        summary = Summary(*map(decoded, given))
        if _is_shape(summary.shape) and _is_dtype(summary.dtype) and all(type(n) in (int, float) for n in summary[2:]):
            return summary
    elif len(x) == 1 and kind == "float" and given in ("nan", "-nan", "inf", "-inf"):
        return float(given)
    elif len(x) == 1 and kind == "fraction" and isinstance(given, str) and re.fullmatch(r"-?\d+(/[1-9]\d*)?", given):
        from fractions import Fraction

        return Fraction(given)
    elif len(x) == 1 and kind == "tuple" and isinstance(given, list):
        return tuple(map(decoded, given))
    elif len(x) == 1 and kind == "slice" and isinstance(given, list) and len(given) == 3:
        return slice(*map(decoded, given))
    elif len(x) == 1 and kind == "text" and isinstance(given, str):
        return given
    raise ValueError(f"{kind!r:.20} of {given!r:.40} is no kind of number")


def _array(numbers: Any, shape: Any, dtype: Any) -> Any:
    if not isinstance(shape, list) or not _is_shape(tuple(shape)) or not _is_dtype(dtype):
        raise ValueError(f"no array has shape {shape!r:.40} and type {dtype!r:.20}")
    if not isinstance(numbers, list) or len(numbers) != math.prod(shape):
        raise ValueError(f"an array of shape {shape} has other numbers than that")
    flat = [decoded(number) for number in numbers]
    if not all(type(number) in (int, float, bool) for number in flat):
        raise ValueError("what stands in an array is no number")
    with np.errstate(all="ignore"):
        array = np.array(flat, np.dtype(dtype)).reshape(shape)
    array.setflags(write=False)
    return array


def _is_shape(shape: Any) -> bool:
    return isinstance(shape, tuple) and len(shape) <= 64 and all(type(n) is int and 0 <= n < 2**31 for n in shape)


def _is_dtype(dtype: Any) -> bool:
    return isinstance(dtype, str) and re.fullmatch(r"[<>|]([fiu][1248]|b1)", dtype) is not None and dtype[1:] != "f1"


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON's")
