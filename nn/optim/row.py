"""Several parameters as one row of numbers: an elementwise recurrence then takes one call for all of them.

A step of small parameters costs the calls of NumPy, whatever the sizes. The row is made of the arrays that the
parameters and the optimiser's state hold, and these become views of it. Who puts other arrays in their place is noticed
at the next step, and every step gives what the parameters one by one would give, to the bit.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

import microgrid as mg
from microgrid import emitter, stale
from microgrid.capture.arena import Arena, Flat, flat_of
from microgrid.graph import next_number

__microgrid_machinery__ = True

SMALL = 16384  # numbers in all: beyond, joining the gradients costs more than the calls that are saved


class Row:
    """Parameters end to end, and what an optimiser remembers of them.

    Two rows take turns: the next numbers are written where those before the last ones stood, unless somebody holds
    these.

    Parameters
    ----------
    parameters : sequence of Tensor
        Of one precision, at least two, and small; else they are gathered only where their gradients stand in a row
        already, as those of a replayed step do.

    Attributes
    ----------
    numbers : ndarray of one axis
        The parameters.
    state : dict
        What is remembered of all: arrays as long as the row, and counts that are the same for each parameter.
    """

    numbers: Any

    def __init__(self, parameters: Sequence[mg.Tensor]) -> None:
        sizes = [parameter._data.size for parameter in parameters]
        slices = [slice(end - size, end) for size, end in zip(sizes, accumulate(sizes), strict=True)]
        self.places = [(place, p._data.shape) for place, p in zip(slices, parameters, strict=True)]
        self.parameters, self.dtype = list(parameters), parameters[0]._data.dtype
        alike = len({parameter._data.dtype for parameter in parameters}) == 1
        self.worthwhile = alike and len(sizes) > 1 and sum(sizes) <= SMALL
        self.parts: Sequence[Any] = [None] * len(sizes)  # what each parameter was given: its view of `numbers`
        self._memory = Arena([p._data.shape for p in parameters], self.dtype)
        self._next: Flat | None = None
        self.state: dict[str, Any] = {}
        self.left: list[Any] = [None] * len(sizes)  # what each parameter's state was left with
        self.whole: dict[str, Any] = {}  # the arrays of `state` that the parameters' states have views of

    def __reduce__(self) -> Any:
        return Row, (self.parameters,)  # a copy has views of nothing yet

    def split(self, row: Any) -> list[Any]:
        """For each parameter a view, in its shape."""
        return [row[place] if len(shape) == 1 else row[place].reshape(shape) for place, shape in self.places]

    # Done at each step and written out, as many lines and no loop

    @functools.cached_property
    def is_of(self) -> Callable[[Sequence[mg.Tensor]], bool]:
        """Whether it is the row of these parameters."""
        names = range(len(self.places))
        same = " and ".join(f"given[{i}] is p{i}" for i in names)
        return emitter.compiled("same", ["def same(given):", f"    return len(given) == {len(names)} and {same}"],
                                self._named())  # fmt: skip

    @functools.cached_property
    def _look(self) -> Callable[[Sequence[Any]], tuple[tuple[Any, ...], bool]]:
        """The gradients, and whether the parameters hold these parts."""
        names = range(len(self.places))
        lines = [
            "def looked(parts):",
            f"    {', '.join(f'part{i}' for i in names)}, = parts",
            f"    return ({', '.join(f'p{i}._grad' for i in names)},), "
            + " and ".join(f"p{i}._data is part{i}" for i in names),
        ]
        return emitter.compiled("looked", lines, self._named())

    @functools.cached_property
    def _renew(self) -> Callable[[Sequence[Any]], None]:
        """What `Tensor._replace` does, to each parameter with its part."""
        names = range(len(self.places))
        lines = ["def renewed(parts):", f"    {', '.join(f'p{i}._data' for i in names)}, = parts"]
        for i in names:
            lines += [
                f"    p{i}._number = number = next_number()",
                f"    if p{i}._extra is not None: p{i}._extra.pop('handed', None)",
            ]
        lines.append("    last.write = number")
        return emitter.compiled("renewed", lines, self._named() | {"next_number": next_number, "last": stale.last})

    def _named(self) -> dict[str, Any]:
        return {f"p{i}": parameter for i, parameter in enumerate(self.parameters)}

    def gather(self, states: Mapping[mg.Tensor, dict[str, Any]]) -> Any:
        """Bring the row up to what the parameters and their states hold now, and give their gradients in a row.

        None where they cannot go together: a parameter has no gradient, or states differ in kind or age.
        """
        gradients, in_place = self._look(self.parts)
        whole = flat_of(gradients)  # of a replayed step they stand in a row already
        if whole is None and not (self.worthwhile and all(g.__class__ is np.ndarray for g in gradients)):
            return None
        if self.state or any(states.values()):
            own = [states[parameter] for parameter in self.parameters]
            if any(map(_differs, own, self.left)) and not self._read(own):
                return None
        if not in_place:
            held = [parameter._data for parameter in self.parameters]
            if [(x.dtype, x.shape) for x in held] != [(self.dtype, shape) for _, shape in self.places]:
                return None
            self.numbers = np.concatenate(held, None)
        return np.concatenate(gradients, None) if whole is None else whole

    def memory(self) -> Any:
        """A row that nobody holds, for the next numbers."""
        self._next = self._memory()
        return self._next.whole

    def _read(self, states: list[dict[str, Any]]) -> bool:
        """Make the row's state of those of the parameters; whether they go together."""
        self.state, self.whole = {}, {}
        if any(state.keys() != states[0].keys() for state in states):
            return False
        for name in states[0]:
            held = [state[name] for state in states]
            if all(type(x) is np.ndarray and x.dtype == self.dtype and x.shape == shape
                   for x, (_, shape) in zip(held, self.places, strict=True)):  # fmt: skip
                self.state[name] = np.concatenate(held, None)
            elif all(type(x) is int and x == held[0] for x in held):
                self.state[name] = held[0]
            else:
                return False
        return True

    def hand_out(self, numbers: Any, states: Mapping[mg.Tensor, dict[str, Any]]) -> None:
        """Give every parameter its part of the row's next numbers, and its state its part of the row's state."""
        made, self._next = self._next, None
        self.numbers = numbers
        self.parts = made.parts if made is not None and numbers is made.whole else self.split(numbers)
        self._renew(self.parts)
        for name, whole in self.state.items():
            if whole.__class__ is not np.ndarray:
                for parameter in self.parameters:
                    states[parameter][name] = whole
            elif self.whole.get(name) is not whole:
                self.whole[name] = whole
                for parameter, part in zip(self.parameters, self.split(whole), strict=True):
                    states[parameter][name] = part
        if self.state:
            self.left = [tuple(states[parameter].values()) for parameter in self.parameters]


def _differs(state: dict[str, Any], left: tuple[Any, ...] | None) -> bool:
    return left is None or len(state) != len(left) or any(map(operator.is_not, state.values(), left))
