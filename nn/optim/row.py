"""Several parameters as one row of numbers: an elementwise recurrence then takes one call for all of them.

A step of small parameters costs the calls of NumPy, whatever the sizes. The row is made of the arrays that the
parameters and the optimiser's state hold, and these become views of it. Who puts other arrays in their place is noticed
at the next step, and every step gives what the parameters one by one would give, to the bit.
"""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np

import microgrid as mg
from microgrid import stale
from microgrid.capture.arena import flat_of
from microgrid.graph import next_number

__microgrid_machinery__ = True

SMALL = 16384  # numbers in all: beyond, joining the gradients costs more than the calls that are saved


class Row:
    """Parameters end to end, and what an optimiser remembers of them.

    Parameters
    ----------
    parameters : sequence of Tensor
        Of one precision, at least two, and small, or they are never gathered.

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
        self.parts: list[Any] = [None] * len(sizes)  # what each parameter was given: its view of `numbers`
        self.state: dict[str, Any] = {}
        self.left: list[Any] = [None] * len(sizes)  # what each parameter's state was left with
        self.whole: dict[str, Any] = {}  # the arrays of `state` that the parameters' states have views of

    def __reduce__(self) -> Any:
        return Row, (self.parameters,)  # a copy has views of nothing yet

    def is_of(self, parameters: Sequence[mg.Tensor]) -> bool:
        """Whether it is the row of these parameters."""
        return len(parameters) == len(self.parameters) and not any(map(operator.is_not, parameters, self.parameters))

    def split(self, row: Any) -> list[Any]:
        """For each parameter a view, in its shape."""
        return [row[place] if len(shape) == 1 else row[place].reshape(shape) for place, shape in self.places]

    def gather(self, states: Mapping[mg.Tensor, dict[str, Any]]) -> Any:
        """Bring the row up to what the parameters and their states hold now, and give their gradients in a row.

        None where they cannot go together (a parameter has no gradient, or states differ in kind or age), and where
        nothing is remembered and the gradients are scattered: two or three calls a parameter are as quick as a row.
        """
        gradients = [p._grad for p in self.parameters]
        whole = flat_of(gradients)  # of a replayed step they stand in a row already
        if whole is None and not (self.worthwhile and states[self.parameters[0]]):
            return None
        if whole is None and not all(g.__class__ is np.ndarray for g in gradients):
            return None
        held, own = [p._data for p in self.parameters], [states[parameter] for parameter in self.parameters]
        if (self.state or any(own)) and any(map(_differs, own, self.left)) and not self._read(own):
            return None
        if any(map(operator.is_not, held, self.parts)):
            if [(x.dtype, x.shape) for x in held] != [(self.dtype, shape) for _, shape in self.places]:
                return None
            self.numbers = np.concatenate(held, None)
        return np.concatenate(gradients, None) if whole is None else whole

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
        self.numbers, self.parts = numbers, self.split(numbers)
        stale.rewritten(self.parameters, self.parts, next_number)
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
