"""Names of a package that come late: what most programs use is imported with it, the rest when it is first asked for.

A package says twice what comes late: to people and type checkers by plain imports, which are not run, and here by a
table. Under a debugger all comes at once, so that no line that its user steps over imports anything.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from typing import Any

from microgrid.stepping import debugging

__microgrid_machinery__ = True


def attributes(package: str, table: Mapping[str, str]) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """`__getattr__` and `__dir__` of a package (PEP 562).

    Parameters
    ----------
    package : str
        Its `__name__`.
    table : dict of str to str
        By the name of a module in the package, the names that the package has from it, with spaces between. The name
        of the module is one as well, if there is no dot in it.

    Notes
    -----
    A name is looked up once and stays. Threads may ask for it at the same time: Python imports a module once, and has
    the others wait.
    """
    members = vars(sys.modules[package])
    homes = {name: module for module, names in table.items() for name in names.split()}
    homes |= {module: module for module in table if "." not in module}

    def find(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = f"{package}.{homes[name]}"
        module = debugging.unseen(
            lambda: importlib.import_module(home)
        )  # a debugger attached since does not step into it
        members[name] = found = module if name == homes[name] else getattr(module, name)
        return found

    if debugging.is_watched():  # perhaps by a debugger
        for module in table:
            importlib.import_module(f"{package}.{module}")
        for name in homes:
            find(name)
    return find, lambda: sorted({*members, *homes})
