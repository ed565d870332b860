"""`python -m demos`: which demos there are, each with the first line of its docstring."""

import ast
from pathlib import Path


def summaries() -> dict[str, str]:
    """The first line of each demo's docstring, by the demo's name; read, not run."""
    here = Path(__file__).parent
    files = {file.stem: file for file in here.glob("[!_]*.py")}
    files |= {file.parent.name: file for file in here.glob("*/__main__.py")}
    docstrings = {name: ast.get_docstring(ast.parse(files[name].read_text(encoding="utf-8"))) for name in sorted(files)}
    return {name: (docstring or "").partition("\n")[0] for name, docstring in docstrings.items()}


def main() -> None:
    """Print them."""
    for name, summary in summaries().items():
        print(f"python -m demos.{name:14} {summary}")


if __name__ == "__main__":
    main()
