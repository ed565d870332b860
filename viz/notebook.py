"""Nodes in notebooks: once viz is imported, a Value or Tensor with a history shows itself as its picture.

The engine knows nothing of viz, so viz gives nodes the method that notebooks look for. A leaf, which has nothing to be
drawn, stays the text that it is.
"""

from __future__ import annotations

import sys
from typing import Any

import microgrid as mg

__microgrid_machinery__ = True


def mimebundle(node: mg.Node, include: Any = None, exclude: Any = None) -> dict[str, str]:
    """What a notebook shows of a node: SVG, HTML and text; never an error. Names are those of the notebook."""
    try:
        text = {"text/plain": repr(node)}
    except Exception:
        return {"text/plain": object.__repr__(node)}
    if node.rule is None:
        return text
    from viz.drawing import MAX_NODES, _graph  # here, since it takes longer to import than the engine

    try:
        scope = dict(vars(sys.modules["__main__"]))
        return _graph((node,), None, "auto", MAX_NODES, None, None, scope)._repr_mimebundle_() | text
    except Exception:
        return text


def show_nodes() -> None:
    """Have notebooks draw nodes."""
    mg.Node._repr_mimebundle_ = mimebundle  # type: ignore[attr-defined]
