"""Pictures as HTML: a page of its own, which needs no network, and no script to be read."""

from __future__ import annotations

import json
from base64 import b64encode
from hashlib import sha256

from viz import svg
from viz.picture import Picture
from viz.svg import escaped

__microgrid_machinery__ = True

# Pointing at a node brings out the edges to and from it; a click on the picture changes between full size and fitting.
SCRIPT = """
const picture = document.querySelector("svg.microgrid");
for (const node of picture.querySelectorAll(".node")) {
  const edges = picture.getElementsByClassName("edge " + node.id);
  const mark = on => { picture.classList.toggle("pointing", on);
                       for (const edge of edges) edge.classList.toggle("near", on); };
  node.addEventListener("pointerenter", () => mark(true));
  node.addEventListener("pointerleave", () => mark(false));
}
picture.addEventListener("click", () => document.body.classList.toggle("fit"));
"""

STYLE = """
body { margin: 1.5rem; font: 15px/1.5 Helvetica, Arial, 'Liberation Sans', sans-serif; color: #1b1f24;
       background: #fff; }
h1 { font-size: 1.2rem; margin: 0 0 1rem; overflow-wrap: anywhere; }
figure { margin: 0; overflow: auto; }
.fit figure svg { max-width: 100%; height: auto; }
.microgrid.pointing .edge { opacity: .2; }
.microgrid.pointing .edge.near { opacity: 1; }
.microgrid .near path { stroke-width: 2.2; }
table { border-collapse: collapse; margin-top: .5rem; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .15rem 1.2rem .15rem 0; vertical-align: top; }
tr:nth-child(even) td { background: #f5f6f8; }
@media (prefers-color-scheme: dark) {
  body { color: #f1f3f5; background: #14171b; }
  tr:nth-child(even) td { background: #1b1f25; }
}
"""


def written(picture: Picture, drawing: str, title: str) -> str:
    """A standalone page around an SVG, with a table of the nodes and the picture as JSON."""
    data = json.dumps(picture.to_dict(), separators=(",", ":")).replace("<", "\\u003c")  # so that no tag ends the data
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy(SCRIPT, STYLE, svg.STYLE)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<link rel="icon" href="data:,">
<title>{escaped(title)}</title>
<style>{STYLE}</style>
</head>
<body>
<main>
<h1>{escaped(title)}</h1>
<figure>
{drawing}</figure>
<details>
<summary>The {len(picture.nodes):,} nodes as a table</summary>
{_table(picture)}
</details>
</main>
<script type="application/json" id="graph">{data}</script>
<script>{SCRIPT}</script>
</body>
</html>
"""


def policy(script: str, *styles: str) -> str:
    """What may run or load in a page, said to the browser: its own script and styles, by their hashes, alone."""
    allowed, *looks = (f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'" for text in (script, *styles))
    return (
        f"default-src 'none'; style-src {' '.join(looks)}; script-src {allowed}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def fragment(drawing: str) -> str:
    """The drawing for the cell of a notebook, which scrolls what is broad."""
    return f'<div style="overflow-x:auto">{drawing}</div>'


def _table(picture: Picture) -> str:
    names = picture.labels
    inputs = picture.inputs()
    columns = ("node", "kind", "inputs", "data", "grad", "shape", "remarks", "made at")
    rows = ["".join(f'<th scope="col">{column}</th>' for column in columns)]
    for node in picture.nodes:
        read = ", ".join(names[edge.source] for edge in inputs[node.id])
        remarks = ", ".join(filter(None, [node.fault, node.note]))
        title = " = ".join(filter(None, (names[node.id], node.operation)))
        cells = (title, node.kind, read, node.data, node.grad, node.form, remarks, node.site)
        rows.append("".join(f"<td>{escaped(cell)}</td>" for cell in cells))
    return "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>"
