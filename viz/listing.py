"""Pictures as lines of text, for terminals and logs: from the root back to the leaves."""

from __future__ import annotations

from collections.abc import Iterator

from viz.picture import Picture
from viz.words import visible

__microgrid_machinery__ = True

WIDTH = 100


def written(picture: Picture) -> str:
    """The chain from the root back, then a line for each node: what it is, what it reads, its numbers.

    Examples
    --------
    >>> import microgrid as mg
    >>> import viz
    >>> x, w = mg.Value(2.0, name="x"), mg.Value(-0.5, name="w")
    >>> z = w * x
    >>> z.name = "z"
    >>> print(written(viz.graph(mg.sigmoid(z))))
    %3 <- z <- w
    <BLANKLINE>
    %3 = sigmoid  <- z     data  0.2689  grad -
    z = *         <- w, x  data -1.0000  grad -
    w                      data -0.5000  grad -
    x                      data  2.0000  grad -
    """
    names = {identifier: visible(text) for identifier, text in picture.labels.items()}
    inputs = picture.inputs()
    chain = _chain(picture)
    rows = []
    for node in reversed(picture.nodes):
        read = [names[e.source] + (f" × {e.count:,}" if e.count > 1 else "") + (f" ({e.label})" if e.label else "")
                for e in inputs[node.id]]  # fmt: skip
        rows.append(
            (
                f"{names[node.id]} = {visible(node.operation)}" if node.operation else names[node.id],
                f"<- {', '.join(read)}" if read else "",
                f"data {signed(node.data)}",
                f"grad {signed(node.grad)}",
                "  ".join(filter(None, [node.form, node.note and f"[{node.note}]", node.fault and f"! {node.fault}"])),
            )
        )
    lines = list(_wrapped([names[identifier] for identifier in chain])) if len(chain) > 1 else []
    lines += [""] if lines else []
    widths = [max((len(row[k]) for row in rows), default=0) for k in range(5)]
    widths[1] = min(widths[1], 44)
    lines += ["  ".join(cell.ljust(wide) for cell, wide in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines += ["", visible(picture.caption)] if picture.caption else []
    return "\n".join(lines)


def signed(number: str) -> str:
    """A number with a place for its sign, so that columns of them are straight."""
    number = visible(number)
    return f" {number}" if number[:1].isdigit() else number


def _chain(picture: Picture) -> list[str]:
    """From the last root back to a leaf, at each step to the input with the longest history; the first, of equals."""
    depth: dict[str, int] = {}
    inputs = picture.inputs()
    kinds = {node.id: node.kind for node in picture.nodes}
    for node in picture.nodes:
        depth[node.id] = 1 + max((depth[edge.source] for edge in inputs[node.id]), default=-1)
    chain = [picture.nodes[-1].id] if picture.nodes else []
    while chain and inputs[chain[-1]]:
        read = [edge.source for edge in inputs[chain[-1]]]
        chain.append(max(read, key=lambda source: (depth[source], kinds[source] == "input")))
    return chain


def _wrapped(names: list[str]) -> Iterator[str]:
    """`C <- A[2] <- Z[2] <- ...`, in as many lines as it takes."""
    line = names[0]
    for name in names[1:]:
        if len(line) + len(name) + 4 > WIDTH:
            yield line
            line = "   "
        line += f" <- {name}"
    yield line
