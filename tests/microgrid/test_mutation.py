"""The checks can fail: each derivative of each rule, spoilt in each of several ways, is rejected by the rule's row."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import microgrid as mg
from microgrid import rules
from tests.microgrid.checking import check, check_floats, numbers, varied
from tests.microgrid.families import Case
from tests.microgrid.table import ROW_OF, ROWS, SCALAR_ROWS, Row

Wrt = Callable[..., Any]


def flipped(wrt: Wrt) -> Wrt:
    return lambda *arguments, **parameters: -wrt(*arguments, **parameters)


def scaled(wrt: Wrt) -> Wrt:
    return lambda *arguments, **parameters: wrt(*arguments, **parameters) * 1.001


def without_gradient_from_above(wrt: Wrt) -> Wrt:
    return lambda g, *arguments, **parameters: wrt(g * 0 + 1, *arguments, **parameters)


def with_inputs_swapped(wrt: Wrt) -> Wrt:
    return lambda g, z, *xs, **parameters: wrt(g, z, *xs[:-2], xs[-1], xs[-2], **parameters)


def shifted(wrt: Wrt) -> Wrt:
    return lambda g, *arguments, **parameters: wrt(g, *arguments, **parameters) + g / 1000


def spoilt_share(change: Callable[[Any], Any], position: int) -> Callable[[Wrt], Wrt]:
    def mutation(wrt: Wrt) -> Wrt:
        def spoilt(*arguments: Any, **parameters: Any) -> list[Any]:
            shares = list(wrt(*arguments, **parameters))
            shares[position] = change(shares[position])
            return shares

        return spoilt

    return mutation


def reversed_shares(wrt: Wrt) -> Wrt:
    return lambda *arguments, **parameters: list(wrt(*arguments, **parameters))[::-1]


OF_ONE = {"sign": flipped, "factor": scaled, "g": without_gradient_from_above, "swapped": with_inputs_swapped}
OF_ALL = {
    "sign of the first": spoilt_share(lambda share: -share, 0),
    "factor on the last": spoilt_share(lambda share: share * 1.001, -1),
    "g": without_gradient_from_above,
    "order": reversed_shares,
}
EQUAL = {  # mutations that change nothing
    *[("sign", "x", mutation) for mutation in ("sign", "factor", "g")],              # its derivative is 0
    *[(rule, x, "swapped") for rule in ("add", "subtract") for x in "xy"],           # a share is g, or -g
    ("where", "x", "swapped"), ("where", "y", "swapped"),                            # only the condition is looked at
    ("linear", "W", "swapped"), ("linear", "b", "swapped"),                          # W and b are not looked at
    ("total", "xs", "order"),                                                        # all shares are g
}  # fmt: skip


def mutants() -> Iterator[Any]:
    for row in ROWS:
        rule = row.rule
        for position, (name, wrt) in enumerate(zip(rule.inputs, rule.wrt, strict=True)):
            if wrt is None:
                continue
            kinds = OF_ALL if rule.variadic else dict(OF_ONE)
            if len(rule.inputs) < 2 or rule.constant == ("i",):
                kinds = {kind: mutation for kind, mutation in kinds.items() if kind != "swapped"}
            if rule is rules.sign:
                kinds = {**kinds, "shift": shifted}
            for kind, mutation in kinds.items():
                if (rule.__name__, name, kind) not in EQUAL:
                    yield pytest.param(row, position, mutation, id=f"{rule.__name__}.wrt_{name} {kind}")


MUTANTS = list(mutants())


def spoil(monkeypatch: pytest.MonkeyPatch, row: Row, position: int, mutation: Callable[[Wrt], Wrt]) -> None:
    wrt = list(row.rule.wrt)
    wrt[position] = mutation(wrt[position])
    monkeypatch.setattr(row.rule, "wrt", tuple(wrt))


def check_arrays(row: Row) -> None:
    for seed, case in enumerate(row.family.fixed):
        check(row, case, seed)


def check_values(row: Row) -> None:
    for seed in range(4):
        check_floats(row, seed)


@pytest.mark.parametrize(("row", "position", "mutation"), MUTANTS)
def test_a_spoilt_derivative_is_rejected(
    monkeypatch: pytest.MonkeyPatch, row: Row, position: int, mutation: Callable[[Wrt], Wrt]
) -> None:
    """On arrays: the check that `test_rules` makes fails, or the spoilt rule does not run at all."""
    spoil(monkeypatch, row, position, mutation)
    with pytest.raises((AssertionError, ValueError, IndexError, TypeError)):
        check_arrays(row)


@pytest.mark.parametrize(("row", "position", "mutation"), [m for m in MUTANTS if m.values[0] in SCALAR_ROWS])
def test_a_spoilt_derivative_of_floats_is_rejected(
    monkeypatch: pytest.MonkeyPatch, row: Row, position: int, mutation: Callable[[Wrt], Wrt]
) -> None:
    """On Values."""
    spoil(monkeypatch, row, position, mutation)
    with pytest.raises(AssertionError):
        check_values(row)


@pytest.mark.parametrize("row", ROWS, ids=repr)
def test_what_is_not_spoilt_passes(row: Row) -> None:
    """So a failure above is the mutation's."""
    for seed, case in enumerate(row.family.fixed[:3]):
        check(row, case, seed)


@pytest.mark.parametrize(("name", "position", "kind"), sorted(EQUAL))
def test_mutations_held_to_be_equal_are(monkeypatch: pytest.MonkeyPatch, name: str, position: str, kind: str) -> None:
    """The exemptions are true: those mutants pass."""
    row = ROW_OF[getattr(rules, name)]
    spoil(monkeypatch, row, row.rule.inputs.index(position), (OF_ALL if row.rule.variadic else OF_ONE)[kind])
    check_arrays(row)


def first_of_some_size(row: Row) -> Case:
    return next(c for c in row.family.fixed if all(np.prod(x) > 1 for x in c.inputs if isinstance(x, tuple)))


@pytest.mark.parametrize("row", [row for row in ROWS if row.rule is not rules.sign], ids=repr)  # its share is 0
def test_gradcheck_rejects_a_rule_off_by_a_thousandth(monkeypatch: pytest.MonkeyPatch, row: Row) -> None:
    """The product's own checker accepts each rule, and rejects it with any one of its shares off by 0.1 %."""
    case = first_of_some_size(row)
    xs, positions = numbers(row, case), varied(case)

    def function(*given: Any) -> Any:
        inputs = list(xs)
        for position, x in zip(positions, given, strict=True):
            inputs[position] = x
        return row.rule(*inputs, **case.parameters)

    nodes = [mg.Tensor(xs[position], requires_grad=True) for position in positions]
    if row.rule is not rules.astype:  # differences in single precision show nothing
        assert mg.gradcheck(function, nodes)
    for position in range(len(row.rule.wrt)):
        if row.rule.wrt[position] is not None:
            with monkeypatch.context() as patch:
                spoil(patch, row, position, OF_ALL["factor on the last"] if row.rule.variadic else scaled)
                with pytest.raises(AssertionError):
                    mg.gradcheck(function, nodes)
