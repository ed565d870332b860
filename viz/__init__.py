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

import typing

from microgrid import late
from viz.notebook import show_nodes as _show_nodes

__microgrid_machinery__ = True

if typing.TYPE_CHECKING:
    from viz.drawing import Graph, draw_dot, graph, save, trace
    from viz.files import DotError
    from viz.picture import Cluster, Edge, Node
    from viz.plots.counts import confusion
    from viz.plots.flow import gradients
    from viz.plots.neurons import network
    from viz.plots.regions import boundary
    from viz.plots.training import curves
    from viz.stepping.debugger import debug
    from viz.stepping.stepper import Page, page
else:
    __getattr__, __dir__ = late.attributes(
        __name__,
        {
            "drawing": "Graph draw_dot graph save trace",
            "files": "DotError",
            "picture": "Cluster Edge Node",
            "plots.counts": "confusion",
            "plots.flow": "gradients",
            "plots.neurons": "network",
            "plots.regions": "boundary",
            "plots.training": "curves",
            "stepping.debugger": "debug",
            "stepping.stepper": "Page page",
        },
    )

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
