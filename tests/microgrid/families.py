"""What the rules of the test table are tried on: for each family of rules its shapes, axes and places.

A case names its inputs by their shapes, or, where they have no derivative, gives them outright. A family has cases
that are always tried (0-d, empty and broadcast shapes among them) and a hypothesis strategy that draws others.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from hypothesis import strategies as st

Shape = tuple[int, ...]


class Case(NamedTuple):
    inputs: tuple[Any, ...]  # a shape, or the array itself where the input has no derivative
    parameters: dict[str, Any] = {}  # noqa: RUF012  (never written to)


class Family(NamedTuple):
    fixed: list[Case]
    drawn: st.SearchStrategy[Case]
    scalars: int = 0  # how many floats the rule takes; 0: it has no meaning for floats


def family(fixed: Iterable[Case], drawn: st.SearchStrategy[Case], scalars: int = 0) -> Family:
    return Family(list(fixed), drawn, scalars)


def shapes(smallest: int = 0, least: int = 0, most: int = 3) -> st.SearchStrategy[Shape]:
    """Shapes of `least` to `most` axes, each of `smallest` to 3."""
    return st.lists(st.integers(smallest, 3), min_size=least, max_size=most).map(tuple)


@st.composite
def broadcast_shapes(draw: st.DrawFn, number: int) -> tuple[Shape, ...]:
    """Shapes that broadcast together."""
    whole = draw(shapes())
    starts = [draw(st.integers(0, len(whole))) for _ in range(number)]
    return tuple(tuple(draw(st.sampled_from((n, 1))) for n in whole[start:]) for start in starts)


def condition(shape: Shape) -> Any:
    """Trues and Falses in no order, the same at each call."""
    return np.random.default_rng(math.prod(shape)).random(shape) < 0.5


# --------------------------------------------------------------------------------------------- element by element

UNARY: list[Any] = [((),), ((3,),), ((2, 3),), ((0,),), ((2, 0, 3),)]
BINARY: list[Any] = [
    ((), ()), ((3,), (3,)), ((2, 3), (3,)), ((2, 1), (1, 3)), ((), (2, 2)), ((2, 2), ()), ((0, 3), (3,)), ((0,), (1,)),
    ((1,), ()), ((3, 1, 2), (2, 1)),
]  # fmt: skip


def elementwise(number: int, *parameters: dict[str, Any]) -> Family:
    """A rule of one or two numbers, on each number of arrays of shapes that broadcast together."""
    settings = parameters or ({},)
    return family(
        (Case(inputs, setting) for inputs in (UNARY, BINARY)[number - 1] for setting in settings),
        st.builds(Case, broadcast_shapes(number), st.sampled_from(settings)),
        number,
    )


CHOICE = family(
    [
        Case((condition(c), x, y))
        for c, (x, y) in [((2, 3), ((2, 3), (3,))), ((3,), ((2, 1), ())), ((0, 3), ((0, 3), (1,)))]
    ]
    + [Case((np.array(c), (), ())) for c in (True, False)],
    broadcast_shapes(3).map(lambda three: Case((condition(three[0]), *three[1:]))),
    2,
)


def several(fixed: Sequence[Sequence[Shape]], even: bool = False) -> Family:
    """A rule of any number of inputs that broadcast together."""
    numbers = st.sampled_from((2, 4) if even else (1, 2, 3))
    return family((Case(tuple(xs)) for xs in fixed), numbers.flatmap(broadcast_shapes).map(Case), 4)


# --------------------------------------------------------------------------------------------------- products

MATMUL = family(
    [
        Case(pair)
        for pair in [
            ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 2)), ((2, 3), (3, 4)), ((3, 3), (3, 3)), ((2, 2, 3), (3, 2)), ((2, 3), (4, 3, 2)),
            ((2, 1, 2, 3), (3, 3, 2)), ((3,), (2, 3, 2)), ((2, 2, 3), (3,)), ((1, 2, 3), (4, 3, 2)), ((2, 0), (0, 3)), ((0, 3), (3, 2)), ((0,), (0,)),
        ]
    ],
    st.tuples(st.booleans(), st.booleans(), broadcast_shapes(2), *[st.integers(0, 3)] * 3).map(
        lambda t: Case(((t[4],) if t[0] else (*t[2][0], t[3], t[4]), (t[4],) if t[1] else (*t[2][1], t[4], t[5])))
    ),
)  # fmt: skip

LINEAR = family(
    [Case((x, (2, 3), (2,))) for x in [(4, 3), (3,), (2, 2, 3), (0, 3), (2, 0, 3)]] + [Case(((3, 3), (3, 3), (3,)))],
    st.tuples(shapes(most=2), st.integers(1, 3), st.integers(1, 3)).map(
        lambda t: Case(((*t[0], t[1]), (t[2], t[1]), (t[2],)))
    ),
)

CONTRACTIONS = (
    "ij,jk->ik", "ij,kj->ik", "i,j->ij", "i,i->", "ij->ji", "ij->", "ij->j", "ijk,k->j", "bij,bjk->bik", "i,ij,j->", ",ij->ij", "ij,jk,kl->il", "i->i",
)  # fmt: skip


def contraction(subscripts: str, lengths: Sequence[int]) -> Case:
    length = dict(zip("ijkbl", lengths, strict=True))
    terms = subscripts.partition("->")[0].split(",")
    return Case(tuple(tuple(length[a] for a in term) for term in terms), {"subscripts": subscripts})


EINSUM = family(
    [contraction(subscripts, (2, 3, 4, 2, 3)) for subscripts in CONTRACTIONS]
    + [contraction("ij,jk->ik", (0, 3, 2, 2, 2)), contraction("ij,jk->ik", (2, 0, 2, 2, 2))]
    + [Case(((2, 1), (3, 4)), {"subscripts": "ij,jk->ik"}), Case(((1,), (3,)), {"subscripts": "i,i->"})],
    st.builds(contraction, st.sampled_from(CONTRACTIONS), st.lists(st.integers(0, 3), min_size=5, max_size=5)),
)

# ------------------------------------------------------------------------------------------------- reductions


def axes(ndim: int) -> st.SearchStrategy[Any]:
    """None, one axis (from either end) or several, in any order."""
    if not ndim:
        return st.none()
    several = st.lists(st.integers(0, ndim - 1), unique=True, min_size=1).map(tuple)
    return st.none() | st.integers(-ndim, ndim - 1) | several


def reduction(*parameters: dict[str, Any], smallest: int = 0) -> Family:
    """A rule over axes. What has no meaning for less than `smallest` numbers is not tried on them."""
    settings = parameters or ({},)
    asked: list[tuple[Shape, Any]] = [
        ((3,), None), ((2, 3), None), ((2, 3), 0), ((2, 3), -1), ((2, 3, 2), (0, 2)), ((2, 3, 2), (2, 0)), ((0, 3), 1), ((2, 3, 2), 1), ((0, 2), -1),
    ]  # fmt: skip
    if smallest <= 1:
        asked += [((), None), ((1,), 0), ((2, 1), 1), ((), 0), ((), -1)]
    if smallest == 0:
        asked += [((0,), None), ((0, 3), 0), ((2, 0), (0, 1))]
    fixed = [
        Case((shape,), {"axis": axis, "keepdims": keepdims, **setting})
        for shape, axis in asked
        for keepdims in (False, True)
        for setting in settings
    ]
    drawn = shapes(smallest, least=1 if smallest > 1 else 0).flatmap(
        lambda shape: st.builds(
            lambda axis, keepdims, setting: Case((shape,), {"axis": axis, "keepdims": keepdims, **setting}),
            axes(len(shape)),
            st.booleans(),
            st.sampled_from(settings),
        )
    )
    return family(fixed, drawn)


TOGETHER = [Case((shape,), {"axis": axis}) for shape, axis in [((2, 3, 2), (0, 2)), ((2, 3), None), ((), -1)]]


def along_axis(*also: Case) -> Family:
    """A rule along one axis that keeps the shape."""
    fixed = [
        Case((shape,), {"axis": axis})
        for shape, axis in [((3,), 0), ((2, 3), 0), ((2, 3), -1), ((2, 0), 1), ((0, 2), 1)]
    ]
    drawn = shapes(least=1).flatmap(
        lambda shape: st.integers(-len(shape), len(shape) - 1).map(lambda axis: Case((shape,), {"axis": axis}))
    )
    return family([*fixed, *also], drawn)


# ----------------------------------------------------------------------------------------- moving numbers about

RESHAPE = family(
    [
        Case((old,), {"shape": new})
        for old, new in [
            ((2, 3), (6,)),
            ((6,), (3, 2)),
            ((), (1, 1)),
            ((1,), ()),
            ((0, 3), (3, 0)),
            ((2, 3), (-1,)),
            ((2, 2, 3), (4, -1)),
        ]
    ],
    shapes().flatmap(lambda shape: st.permutations(shape).map(lambda other: Case((shape,), {"shape": tuple(other)}))),
)

TRANSPOSE = family(
    [
        Case((shape,), {"axes": order})
        for shape, order in [((2, 3), (1, 0)), ((2, 3, 4), (1, 2, 0)), ((), ()), ((0, 2), (1, 0))]
    ],
    shapes().flatmap(
        lambda shape: st.permutations(range(len(shape))).map(lambda order: Case((shape,), {"axes": tuple(order)}))
    ),
)

_SPREAD: list[tuple[Shape, Shape]] = [
    ((), (2, 3)),
    ((3,), (2, 3)),
    ((2, 1), (2, 3)),
    ((1, 1), (2, 3)),
    ((1,), (0,)),
    ((), ()),
    ((0,), (2, 0)),
]

SPREAD = family(  # from the shorter shape to the longer
    [Case((small,), {"shape": large}) for small, large in _SPREAD],
    broadcast_shapes(2).map(lambda two: Case((two[0],), {"shape": np.broadcast_shapes(*two)})),
)

SUMMED = family(  # from the longer to the shorter
    [Case((large,), {"shape": small}) for small, large in _SPREAD],
    broadcast_shapes(2).map(lambda two: Case((np.broadcast_shapes(*two),), {"shape": two[0]})),
)

PRECISION = family(
    [Case((shape,), {"dtype": np.dtype(dtype)}) for shape in ((), (2, 3), (0,)) for dtype in ("f4", "f8")],
    st.builds(lambda shape, dtype: Case((shape,), {"dtype": np.dtype(dtype)}), shapes(), st.sampled_from(("f4", "f8"))),
)


def _at(*places: Any) -> Any:
    """An index as `functions.index` hands it over: lists are arrays by then."""
    return tuple(np.array(i, dtype=None if i else int) if isinstance(i, list) else i for i in places)


PLACES: list[tuple[Shape, Any]] = [
    ((3, 4), 1), ((3, 4), -1), ((3, 4), slice(None, None, -2)), ((3, 4), _at(..., 0)), ((3, 4), _at(None, slice(1, 3))), ((3, 4), _at([0, 0, 2])),
    ((3, 4), _at([0, 0], [1, 1])), ((3, 4), _at(slice(None), [2, 2, 0])), ((3, 4), _at([[True, False, True, True], [False] * 4, [True] * 4])),
    ((3, 4), _at([True, False, True])), ((3, 4), np.array([[2, 0], [2, 2]])), ((3, 4), _at([])), ((3, 4), _at([-1, 2], None, slice(0, 2))),
    ((3, 4), np.int64(1)), ((3, 4), _at(np.int64(1), [0, 0])), ((2, 3, 2), _at([0, 1, 0], slice(None), [1, 1, 1])), ((3, 4), True),
    ((), ()), ((), ...), ((), None), ((0, 3), slice(None)), ((0, 3), _at([])), ((3, 4), slice(2, 2)),
]  # fmt: skip


@st.composite
def places(draw: st.DrawFn) -> tuple[Shape, Any]:
    """A shape and one index into it: for each axis an integer, a slice, or a list with repeats; here and there None."""
    shape = draw(shapes(1))
    length = draw(st.integers(0, 3))
    at: list[Any] = []
    for n in shape:
        one, several = st.integers(-n, n - 1), st.lists(st.integers(-n, n - 1), min_size=length, max_size=length)
        step = st.sampled_from((None, 1, 2, -1))
        cut = st.builds(slice, st.none() | st.integers(-n, n), st.none() | st.integers(-n, n), step)
        at.append(draw(one | cut | several))
        if draw(st.booleans()) and draw(st.booleans()):
            at.append(None)
    return shape, _at(*at)


INDEX = family(
    [Case((shape,), {"at": at}) for shape, at in PLACES], places().map(lambda p: Case((p[0],), {"at": p[1]}))
)


def _scattered(shape: Shape, at: Any) -> Case:
    return Case((np.empty(shape)[at].shape,), {"at": at, "shape": shape})


SCATTER = family([_scattered(*p) for p in PLACES], places().map(lambda p: _scattered(*p)))

ALONG: list[tuple[Shape, Any, int]] = [
    ((3, 4), [[0, 0, 1], [3, 3, 3], [2, -1, 0]], 1), ((3, 4), [[0, 2, 2, 1]], 0), ((4,), [1, 1, 3, -1], 0), ((3, 4), [[1], [0], [3]], -1),
    ((2, 2, 3), [[[2], [0]], [[1], [1]]], 2), ((2, 0), [[], []], 1), ((3, 4), [[], [], []], 1),
]  # fmt: skip
SPREAD_ALONG: list[tuple[Shape, Any, int]] = [
    ((3, 4), [[0, 2]], 1),
    ((1, 4), [[0], [2], [1]], 1),
]  # of one length, they are repeated


@st.composite
def along(draw: st.DrawFn) -> tuple[Shape, Any, int]:
    shape = draw(shapes(1, least=1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    wanted = list(shape)
    wanted[axis] = draw(st.integers(0, 4))
    n, size = shape[axis], math.prod(wanted)
    flat = draw(st.lists(st.integers(-n, n - 1), min_size=size, max_size=size))
    return shape, np.array(flat, int).reshape(wanted), axis


def _taken(shape: Shape, i: Any, axis: int) -> Case:
    return Case((shape, np.array(i, int)), {"axis": axis})


def _added(shape: Shape, i: Any, axis: int) -> Case:
    return Case(
        (np.take_along_axis(np.empty(shape), np.array(i, int), axis).shape, np.array(i, int)),
        {"axis": axis, "shape": shape},
    )


TAKE_ALONG = family([_taken(*a) for a in ALONG + SPREAD_ALONG], along().map(lambda a: _taken(*a)))
ADD_ALONG = family([_added(*a) for a in ALONG + SPREAD_ALONG], along().map(lambda a: _added(*a)))


@st.composite
def joined(draw: st.DrawFn) -> Case:
    shape = draw(shapes(least=1))
    axis = draw(st.integers(-len(shape), len(shape) - 1))
    lengths = draw(st.lists(st.integers(0, 3), min_size=1, max_size=3))
    before, after = shape[: axis % len(shape)], shape[axis % len(shape) + 1 :]
    return Case(tuple((*before, n, *after) for n in lengths), {"axis": axis})


CONCATENATE = family(
    [
        Case(((2, 3), (1, 3)), {"axis": 0}),
        Case(((2, 1), (2, 3), (2, 2)), {"axis": -1}),
        Case(((3,),), {"axis": 0}),
        Case(((0,), (2,)), {"axis": 0}),
        Case(((0, 2), (0, 1)), {"axis": 1}),
    ],
    joined(),
)

STACK = family(
    [
        Case((shape,) * n, {"axis": axis})
        for shape, n, axis in [((3,), 2, 0), ((2, 3), 3, 1), ((2,), 1, -1), ((), 3, 0), ((0,), 2, 1)]
    ],
    st.tuples(shapes(most=2), st.integers(1, 3)).flatmap(
        lambda t: st.integers(-len(t[0]) - 1, len(t[0])).map(lambda axis: Case((t[0],) * t[1], {"axis": axis}))
    ),
)
