"""`python -m demos`: which demos there are, each with the first line of its docstring."""

import ast
from pathlib import Path


def summaries() -> dict[str, str]:
    """The first line of each demo's docstring, by the demo's name; read, not run."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    docstrings = {file.stem: ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "" for file in files}
    return {name: docstring.partition("\n")[0] for name, docstring in docstrings.items()}


def main() -> None:
    """Print them."""
    for name, summary in summaries().items():
        print(f"python -m demos.{name:10} {summary}")


if __name__ == "__main__":
    main()
