"""Formulas with one sign, factor or index changed, made from the text of the right ones."""

from __future__ import annotations

import ast
import copy
from collections.abc import Iterator

from demos.notes.formulas import Equation, equations

SHAPES = {"rows", "range", "len"}  # functions of shapes, which are no numbers to be doubled
LETTERS_ONLY = {"d", "along", "after", "count"}  # and those of letters, which only an index can change
ENTRIES = "ijkmn"  # indices that count samples and units; a sum over all of them does not mind a shift by one


def mutants(formula: str) -> Iterator[tuple[str, str]]:
    """Each way to change one thing on a right side: what was done, and the whole formula with it.

    Of a statement, the signs in it are changed, and it is denied: an inequality has room for other factors.
    """
    parts = equations(formula)
    if " = " not in formula:
        for e, statement in enumerate(parts):
            signs = [(done, changed) for done, changed in _changed(statement.left) if done == "sign"]
            for done, changed in (*signs, ("denied", f"not ({statement.left})")):
                yield (
                    f"{done}: {changed}",
                    "; ".join([*(p.left for p in parts[:e]), changed, *(p.left for p in parts[e + 1 :])]),
                )
        return
    for e, equation in enumerate(parts):
        for m, member in enumerate(equation.members):
            for done, changed in _changed(member):
                members = (*equation.members[:m], changed, *equation.members[m + 1 :])
                other = Equation(equation.left, members, equation.condition)
                yield f"{done}: {changed}", "; ".join(map(str, (*parts[:e], other, *parts[e + 1 :])))


def _changed(text: str) -> Iterator[tuple[str, str]]:
    tree = ast.parse(text, mode="eval")
    for done, path, new in _changes(tree.body, ()):
        changed = copy.deepcopy(tree)
        _replace(changed, path, new)
        yield done, ast.unparse(changed)


Path = tuple[tuple[str, int | None], ...]
Change = tuple[str, Path, ast.expr]


def _replace(tree: ast.Expression, path: Path, new: ast.expr) -> None:
    at: ast.AST = tree
    full: Path = (("body", None), *path)
    for name, i in full[:-1]:
        at = getattr(at, name) if i is None else getattr(at, name)[i]
    name, i = full[-1]
    if i is None:
        setattr(at, name, new)
    else:
        getattr(at, name)[i] = new


def _changes(node: ast.AST, path: Path, numbers: bool = True) -> Iterator[Change]:
    """All changes of a node and below it; `numbers` is false among letters that stand for themselves."""
    if isinstance(node, ast.BinOp):
        if isinstance(node.op, ast.Add | ast.Sub):
            other = ast.Sub() if isinstance(node.op, ast.Add) else ast.Add()
            yield "sign", path, ast.BinOp(node.left, other, node.right)
        if isinstance(node.op, ast.MatMult):
            yield "order", path, ast.BinOp(node.right, node.op, node.left)
    if isinstance(node, ast.UnaryOp):
        yield "sign", path, node.operand
    if isinstance(node, ast.Attribute) and node.attr == "T":
        yield "transpose", path, node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and numbers:
        yield "factor", path, ast.Constant(node.value + 1)
    if isinstance(node, ast.Name | ast.Subscript) and numbers:
        yield "factor", path, ast.BinOp(ast.Constant(2), ast.Mult(), node)
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and numbers and node.func.id not in SHAPES:
        yield "factor", path, ast.BinOp(ast.Constant(2), ast.Mult(), node)
    if isinstance(node, ast.Subscript):
        yield from _other_index(node, path)
    yield from _below(node, path, numbers)


def _other_index(node: ast.Subscript, path: Path) -> Iterator[Change]:
    """The layer before and after; the indices of an entry in another order; the first entry in place of this one."""
    if isinstance(node.slice, ast.Tuple):
        first, *others = node.slice.elts
        yield "index", path, ast.Subscript(node.value, ast.Tuple([*others, first], ast.Load()), ast.Load())
    elif isinstance(node.slice, ast.Name) and node.slice.id in ENTRIES:
        yield "index", path, ast.Subscript(node.value, ast.Constant(0), ast.Load())
    else:
        for op in (ast.Add(), ast.Sub()):
            yield "index", path, ast.Subscript(node.value, ast.BinOp(node.slice, op, ast.Constant(1)), ast.Load())


def _below(node: ast.AST, path: Path, numbers: bool) -> Iterator[Change]:
    called = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    if isinstance(node, ast.comprehension):
        return
    for name, value in ast.iter_fields(node):
        if name in ("func", "slice"):
            continue
        letters = isinstance(node, ast.Subscript | ast.Attribute) or called in SHAPES | LETTERS_ONLY | {"kron"}
        for i, child in enumerate(value if isinstance(value, list) else [value]):
            if isinstance(child, ast.AST):
                step = (name, i if isinstance(value, list) else None)
                yield from _changes(child, (*path, step), numbers and not letters)
