"""viz: draws computation graphs and curves.

A `Graph` is pure data, what is to be drawn; writers turn it into something.

Examples
--------
>>> import microgrid as mg
>>> import viz
>>> x = mg.Value(3.0, name="x")
>>> y = x * x
>>> y.backward()
>>> for node in viz.graph(y).nodes:
...     print(node.id, node.kind, node.title, node.data, node.grad)
n0 parameter x 3.0000 6.0000
n1 root * 9.0000 1.0000
>>> print(viz.draw_dot(y).source.splitlines()[0])
digraph {
"""

from viz.dot import draw_dot
from viz.files import DotError, save
from viz.picture import Edge, Graph, Node, graph
from viz.plots import curves

__microgrid_machinery__ = True

__all__ = ["DotError", "Edge", "Graph", "Node", "curves", "draw_dot", "graph", "save"]
