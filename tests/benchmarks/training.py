"""What an engine offers to the benchmarks, whatever it is made of."""

from collections.abc import Callable
from typing import Any, NamedTuple


class UnableError(Exception):
    """This engine cannot do this work, for the reason given; it is named in the tables as absent."""


def no_graph() -> Any:
    raise UnableError("it keeps no graph of nodes that could be counted")


class Training(NamedTuple):
    step: Callable[[], Any]  # one pass over the batches; gives what `read` reads the last one's loss from
    parameters: Callable[[], list[Any]]  # what a step changes, as it is now: W (out, in), b (out,) of each layer
    hundred: Callable[[], Any] | None = None  # a hundred steps in one call, where the engine can
    read: Callable[[Any], float] = float  # waits for what is not yet computed
    why: Callable[[], str] = str  # of what is compiled: why it is not replayed but called each time
    graph: Callable[[], Any] = no_graph  # the forward pass alone
    count: Callable[[Any], int] = NotImplemented  # new nodes of such a graph


def compiled(function: Callable[..., Any], backend: str | None) -> Any:
    """`mg.compile` of a function, where it has that backend."""
    import microgrid as mg

    try:
        return mg.compile(function) if backend is None else mg.compile(function, backend=backend)
    except (TypeError, ValueError, ImportError, NotImplementedError) as error:
        raise UnableError(f"mg.compile has no backend {backend!r}: {error}") from None
