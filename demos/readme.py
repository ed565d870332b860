"""The README's picture: runs the session beside it, and draws what it computed.

`python -m demos.readme` writes `demos/pictures/neuron.svg` anew.
"""

import doctest
from pathlib import Path
from typing import Any

import viz

ROOT = Path(__file__).parent.parent


def session() -> dict[str, Any]:
    """The names that the README's first session leaves behind."""
    text = (ROOT / "README.md").read_text(encoding="utf-8").partition("\n## ")[0]
    names: dict[str, Any] = {}
    for example in doctest.DocTestParser().get_examples(text):
        exec(compile(example.source, "README.md", "exec"), names)
    return names


def picture() -> viz.Graph:
    """The graph that the session draws."""
    drawn: viz.Graph = session()["picture"]
    return drawn


if __name__ == "__main__":
    print(picture().save(ROOT / "demos" / "pictures" / "neuron.svg"))
