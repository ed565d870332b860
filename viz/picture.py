"""What is to be drawn, as pure data in words: nodes, edges, clusters, and what was folded. Nothing here draws."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

from viz.words import clipped

__microgrid_machinery__ = True

Kind = Literal["parameter", "input", "operation", "root"]


@dataclass(frozen=True)
class Node:
    """One node, as it is to be read.

    Attributes
    ----------
    id : str
        n0, n1, ... in topological order.
    kind : {"parameter", "input", "operation", "root"}
        A leaf that is learned; any other leaf; what was computed; what it all leads to.
    name : str
        The parameter's path in the model, else the user's name, else the user's variable; empty where there is none.
    operation : str
        Of the rule that made it, with the constants that went in: `*`, `• ** 2`, `sum axis=0`; empty for a leaf.
    data, grad : str
        A number, or an array in brief; `-` where no backward pass has reached the node.
    form : str
        Shape and dtype of an array, as `(5, 3) float64`; of several, how many, too; empty for a single number.
    fault : str
        Where numbers are not finite; empty if all are.
    site : str
        The line that made it, as `train.py:41`; empty of several lines, and where sites were not recorded.
    count : int >= 1
        Nodes of the graph that this one stands for.
    note : str
        How they were folded: `× 8`, `257 nodes`; empty if it is one node.
    cluster : str
        Id of the innermost cluster that it stands in; empty outside all.
    """

    id: str
    kind: Kind
    name: str
    operation: str
    data: str
    grad: str
    form: str
    fault: str
    site: str
    count: int = 1
    note: str = ""
    cluster: str = ""

    @property
    def label(self) -> str:
        """Its name, clipped; `%7` for n7 without one."""
        return clipped(self.name) or f"%{self.id[1:]}"

    @property
    def title(self) -> str:
        """Name and operation, as `z = w @ •`; `%7` for the leaf n7 that has no name."""
        return " = ".join(filter(None, [clipped(self.name), self.operation])) or self.label


@dataclass(frozen=True)
class Edge:
    """From an input to what it went into.

    Attributes
    ----------
    source, target : str
        Ids of nodes.
    position : int >= 0
        Which of the target's inputs it is: `a + a` has two edges, 0 and 1.
    count : int >= 1
        Edges of the graph that this one stands for.
    label : str
        The local derivative or the contribution, where they were asked for.
    """

    source: str
    target: str
    position: int
    count: int = 1
    label: str = ""


@dataclass(frozen=True)
class Cluster:
    """One call of a module: a box around the nodes that were made in it.

    Attributes
    ----------
    id : str
        c0, c1, ..., each after the cluster around it.
    path : str
        Of the module, as `layers.0`; empty for the model itself.
    title : str
        Path and module, as `layers.0  Linear(30, 16)`.
    parent : str
        Id of the cluster around it; empty if there is none.
    """

    id: str
    path: str
    title: str
    parent: str


@dataclass(frozen=True)
class Picture:
    """Nodes, each after its inputs, the edges between them, and the boxes around them.

    Attributes
    ----------
    nodes : tuple of Node
    edges : tuple of Edge
        Ordered by target, then by position.
    clusters : tuple of Cluster
        Each after the one around it.
    folded : tuple of str
        What was folded, in words, in the order in which it was; empty where every node is drawn.
    remarks : tuple of str
        What else is to be known of the picture.
    """

    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]
    clusters: tuple[Cluster, ...] = ()
    folded: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()

    @property
    def caption(self) -> str:
        """What was folded, and the remarks, as one line of text; empty where every node is drawn and none is made."""
        total = sum(node.count for node in self.nodes)
        folded = f"{total:,} nodes drawn as {len(self.nodes):,}: {'; '.join(self.folded)}"
        return ". ".join((folded,) * bool(self.folded) + self.remarks)

    @property
    def labels(self) -> dict[str, str]:
        """What each node is called, by its id: where several have a name, each with its number, as `z (%7)`."""
        names = Counter(node.label for node in self.nodes)
        return {node.id: node.label + f" (%{node.id[1:]})" * (names[node.label] > 1) for node in self.nodes}

    def to_dict(self) -> dict[str, Any]:
        """All of it as dicts, lists, strings and integers, ready for JSON.

        Examples
        --------
        >>> import microgrid as mg
        >>> import viz
        >>> list(viz.graph(mg.Value(1.0, name="x")).to_dict())
        ['nodes', 'edges', 'clusters', 'folded', 'remarks']
        """
        return {
            key: [item if isinstance(item, str) else asdict(item) for item in getattr(self, key)]
            for key in ("nodes", "edges", "clusters", "folded", "remarks")
        }

    def inputs(self) -> dict[str, list[Edge]]:
        """The edges into each node, by its id."""
        into: dict[str, list[Edge]] = {node.id: [] for node in self.nodes}
        for edge in self.edges:
            into[edge.target].append(edge)
        return into

    def within(self, parent: str = "") -> Iterator[tuple[int, Cluster | Node]]:
        """Clusters and nodes with their depths, each cluster before what stands in it."""
        members: dict[str, list[Cluster | Node]] = {}
        for cluster in self.clusters:
            members.setdefault(cluster.parent, []).append(cluster)
        for node in self.nodes:
            members.setdefault(node.cluster, []).append(node)
        waiting = [(0, member) for member in reversed(members.get(parent, []))]
        while waiting:
            depth, member = waiting.pop()
            yield depth, member
            if isinstance(member, Cluster):
                waiting += [(depth + 1, inner) for inner in reversed(members.get(member.id, []))]
