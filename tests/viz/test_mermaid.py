"""Pictures as Mermaid's flowcharts."""

import microgrid as mg
import nn
import viz

GOLDEN = """\
flowchart TB
    n0["a<br/>data 2.0000<br/>grad 6.0000"]:::parameter
    n1("+<br/>data 4.0000<br/>grad 3.0000"):::operation
    n2(["c = #8226; #42; 3<br/>data 12.0000<br/>grad 1.0000"]):::root
    n0 --> n1
    n0 --> n1
    n1 --> n2

    classDef parameter fill:#fff4d6,stroke:#6b4700,color:#1b1f24
"""


def test_golden() -> None:
    a = mg.Value(2.0, name="a")
    c = (a + a) * 3
    c.backward()
    assert viz.graph(c).mermaid("TB").startswith(GOLDEN)


def test_clusters_are_subgraphs_each_of_which_ends() -> None:
    model = nn.scalar.MLP(1, [2, 1], rng=0)
    text = viz.graph(model([mg.Value(1.0)]), params=model).mermaid()
    lines = [line.strip() for line in text.splitlines()]
    assert sum(line.startswith("subgraph c") for line in lines) == lines.count("end") == 6
    depth = 0
    for line in lines:
        depth += line.startswith("subgraph") - (line == "end")
        assert depth >= 0


def test_labels_and_captions() -> None:
    a = mg.Value(2.0)
    assert 'n0 -- "3.0000" --> n1' in viz.graph(a * 3, labels="local").mermaid()
    x = a
    for _ in range(200):
        x = mg.tanh(x)
    assert 'caption["201 nodes drawn as 4' in viz.graph(x).mermaid()
