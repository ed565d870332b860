"""The drawing of the folders in the README is true: the arrows, the names, what is exported, what an import costs."""

import ast
import importlib
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("microgrid", "nn", "viz")
MAY_IMPORT = {
    "microgrid": {"microgrid"},
    "nn": {"nn", "microgrid"},
    "viz": {"viz", "microgrid"},
    "demos": {"demos", "nn", "viz", "microgrid"},
}
FILES = [path.relative_to(ROOT).as_posix() for name in MAY_IMPORT for path in sorted((ROOT / name).rglob("*.py"))]
MODULES = [name for name in FILES if not name.startswith("demos/")]


def parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def imported(tree: ast.Module) -> Iterator[tuple[str, int]]:
    """Each imported module with the level of its import (0: absolute), wherever in the file it stands."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "", node.level


def assigned(tree: ast.Module, name: str) -> object:
    """The value of the constant that a module assigns to `name` at its top level, None if it does not."""
    for node in tree.body:
        if isinstance(node, ast.Assign) and any(isinstance(to, ast.Name) and to.id == name for to in node.targets):
            return ast.literal_eval(node.value)
    return None


def in_fresh_process(code: str) -> str:
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize("file", FILES)
def test_arrows_point_down(file: str) -> None:
    """microgrid knows neither nn nor viz, which do not know each other; nothing knows the demos or the tests."""
    ours = {*MAY_IMPORT, "tests"}
    for module, level in imported(parsed(file)):
        assert level == 0, f"{file} imports relatively: {'.' * level}{module}"
        top = module.partition(".")[0]
        assert top not in ours or top in MAY_IMPORT[file.partition("/")[0]], f"{file} imports {module}"


@pytest.mark.parametrize("file", FILES)
def test_no_module_is_named_like_one_of_the_standard_library(file: str) -> None:
    """An editor's Run button puts the file's folder first on the path, where such a name would hide the library's."""
    assert Path(file).stem not in sys.stdlib_module_names - {"__main__"}


@pytest.mark.parametrize("file", MODULES)
def test_modules_are_marked_as_machinery(file: str) -> None:
    """So that the line where a node was made, and the line that an error names, is the user's and not ours."""
    assert assigned(parsed(file), "__microgrid_machinery__") is True


def test_the_packages_come_from_one_root() -> None:
    """nn and viz are common names: another package of that name must not be the one that is imported."""
    roots = {name: Path(importlib.import_module(name).__file__ or "").parent.parent for name in PACKAGES}
    assert roots == dict.fromkeys(PACKAGES, ROOT)


@pytest.mark.parametrize("package", PACKAGES)
def test_the_packages_ship_their_types(package: str) -> None:
    assert (ROOT / package / "py.typed").is_file()


@pytest.mark.parametrize("package", PACKAGES)
def test_all_names_what_is_exported(package: str) -> None:
    """`__all__` holds each name once, and names all that the package has to offer, documented, and nothing else."""
    module = importlib.import_module(package)
    names = module.__all__
    assert len(names) == len(set(names))
    exported = {name: getattr(module, name) for name in names}
    public = {
        name
        for name, member in vars(module).items()
        if not name.startswith("_") and not isinstance(member, ModuleType) and name != "annotations"
    }
    assert public == {name for name, it in exported.items() if not isinstance(it, ModuleType)} - {"__version__"}
    assert not [name for name, it in exported.items() if name != "__version__" and not it.__doc__]


def test_importing_the_engine_loads_numpy_and_the_standard_library_alone() -> None:
    code = "import sys, {}; print(*sys.modules)"
    with_numpy, with_engine = (set(in_fresh_process(code.format(name)).split()) for name in ("numpy", "microgrid"))
    loaded = {name.partition(".")[0] for name in with_engine - with_numpy}
    assert "microgrid" in loaded
    assert loaded - {"microgrid", "numpy"} <= sys.stdlib_module_names


@pytest.mark.slow
def test_the_wheel_holds_the_three_packages_and_nothing_else(tmp_path: Path) -> None:
    """Demos and tests stay in the clone; py.typed and the licence travel."""
    source = tmp_path / "source"  # a copy, so that no build folder is left behind in the clone
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in PACKAGES:
        shutil.copytree(ROOT / name, source / name, ignore=ignored)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(source)]
    subprocess.run(command, check=True)

    (wheel,) = tmp_path.glob("*.whl")
    packed = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    expected = {path.relative_to(source).as_posix() for name in PACKAGES for path in (source / name).rglob("*.*")}
    assert packed == expected
    assert {f"{name}/py.typed" for name in PACKAGES} <= packed
