"""viz: draws computation graphs, networks and trainings.

A `Graph` is pure data, what is to be drawn; writers turn it into something. In a notebook a node with a history shows
itself.

Examples
--------
>>> import microgrid as mg
>>> import viz
>>> x = mg.Value(3.0, name="x")
>>> y = x * x
>>> y.name = "y"  # or a variable of yours gives it its name
>>> y.backward()
>>> print(viz.graph(y))
y <- x
<BLANKLINE>
y = *  <- x, x  data  9.0000  grad  1.0000
x               data  3.0000  grad  6.0000
>>> viz.graph(y).svg().startswith("<svg")
True
>>> print(viz.draw_dot(y).source.splitlines()[0])
digraph {
"""

from viz.drawing import Graph, draw_dot, graph, save, trace
from viz.files import DotError
from viz.notebook import show_nodes as _show_nodes
from viz.picture import Cluster, Edge, Node
from viz.plots.counts import confusion
from viz.plots.flow import gradients
from viz.plots.neurons import network
from viz.plots.regions import boundary
from viz.plots.training import curves
from viz.stepping.debugger import debug
from viz.stepping.stepper import Page, page

__microgrid_machinery__ = True

__all__ = [
    "Cluster",
    "DotError",
    "Edge",
    "Graph",
    "Node",
    "Page",
    "boundary",
    "confusion",
    "curves",
    "debug",
    "draw_dot",
    "gradients",
    "graph",
    "network",
    "page",
    "save",
    "trace",
]

_show_nodes()
