"""Pictures in the language of Mermaid, which Markdown on many sites shows as a drawing."""

from __future__ import annotations

from collections.abc import Iterator

from viz.picture import Cluster, Kind, Node, Picture
from viz.words import visible

__microgrid_machinery__ = True

# Brackets are shapes: a parameter is a box, an input a slanted one, an operation a rounded one, the root a double one.
SHAPES: dict[Kind, tuple[str, str]] = {
    "parameter": ("[", "]"), "input": ("[/", "/]"), "operation": ("(", ")"), "root": ("[[", "]]"),
}  # fmt: skip
LOOKS = {
    "parameter": "fill:#fff4d6,stroke:#6b4700,color:#1b1f24", "input": "fill:#eef0f2,stroke:#4a5058,color:#1b1f24",
    "operation": "fill:#e8f0fd,stroke:#1f478c,color:#1b1f24", "root": "fill:#e2f4e4,stroke:#145723,color:#1b1f24",
    "alarm": "stroke:#9c0d22,stroke-width:3px", "group": "fill:#f5f6f8,stroke:#a9b0b9,color:#1b1f24",
}  # fmt: skip
SAFE = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789 .,_+-=")


def written(picture: Picture, rankdir: str = "LR") -> str:
    r"""The picture as a flowchart.

    Examples
    --------
    >>> import microgrid as mg
    >>> import viz
    >>> x = mg.Value(2.0, name="x")
    >>> print(written(viz.graph(x * 3)).partition("\n\n")[0])
    flowchart LR
        n0["x<br/>data 2.0000<br/>grad -"]:::parameter
        n1[["#8226; #42; 3<br/>data 6.0000<br/>grad -"]]:::root
        n0 --> n1
    """
    return "\n".join(_lines(picture, rankdir)) + "\n"


def _lines(picture: Picture, rankdir: str) -> Iterator[str]:
    yield f"flowchart {rankdir}"
    depth = 0
    for deep, member in picture.within():
        yield from (f"{'    ' * level}end" for level in range(depth, deep, -1))
        depth, indent = deep, "    " * (deep + 1)
        if isinstance(member, Cluster):
            yield f'{indent}subgraph {member.id}["{escaped(member.title)}"]'
            depth = deep + 1
        else:
            yield indent + _node(member)
    yield from (f"{'    ' * level}end" for level in range(depth, 0, -1))
    for edge in picture.edges:
        arrow = f'-- "{escaped(edge.label)}" -->' if edge.label else "-->"
        yield f"    {edge.source} {arrow} {edge.target}"
    if picture.caption:
        yield f'    caption["{escaped(picture.caption)}"]'
        yield "    style caption fill:none,stroke:none"
    yield ""
    yield from (f"    classDef {name} {look}" for name, look in LOOKS.items())
    alarming = [node.id for node in picture.nodes if node.fault]
    for name, members in (("group", [cluster.id for cluster in picture.clusters]), ("alarm", alarming)):
        if members:
            yield f"    class {','.join(members)} {name}"


def _node(node: Node) -> str:
    begin, end = SHAPES[node.kind]
    lines = [node.title, node.form, f"data {node.data}", f"grad {node.grad}", node.fault, node.note]
    text = "<br/>".join(escaped(line) for line in lines if line)
    return f'{node.id}{begin}"{text}"{end}:::{node.kind}'


def escaped(text: str) -> str:
    """Letters and digits as they are, everything else by its number, as Mermaid reads it: `#60;` is `<`.

    Between dollars stands a sign of no width: two of them would begin a formula.
    """
    return "".join(c if c in SAFE else f"#{ord(c)};" for c in visible(text).replace("$$", "$\N{WORD JOINER}$"))
