"""Names that come late: loaded when they are first asked for, and for the rest as if they had been there all along."""

import ast
import importlib
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import microgrid as mg
from microgrid import late
from tests.microgrid.driving import environment, piped, stops

ROOT = Path(__file__).parents[2]
PACKAGES = ("microgrid", "nn", "viz")
SLOW = {"ast", "csv", "dataclasses", "decimal", "fractions", "graphviz", "inspect", "json", "matplotlib", "mpmath",
        "pathlib", "sympy", "tokenize", "tqdm", "typing_extensions", "xml", "zipfile"}  # fmt: skip


def tables(package: str) -> tuple[dict[str, set[str]], dict[str, set[str]]]:
    """What a package says of its late names: by the module, those that type checkers see; and the table."""
    tree = ast.parse((ROOT / package / "__init__.py").read_text(encoding="utf-8"))
    (choice,) = (node for node in tree.body if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
    (table,) = (node for node in ast.walk(choice.orelse[0]) if isinstance(node, ast.Dict))
    seen: dict[str, set[str]] = {}
    for node in choice.body:
        assert isinstance(node, ast.ImportFrom)
        assert node.module is not None
        for alias in node.names:
            module, name = (node.module.partition(".")[2], alias.name) if "." in node.module else (alias.name, None)
            seen.setdefault(module, set()).update({name} if name else set())
    return seen, {module: set(names.split()) for module, names in ast.literal_eval(table).items()}


def in_fresh_process(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], env=environment(), capture_output=True, text=True
    )
    assert not done.stderr
    return done.stdout


@pytest.mark.parametrize("package", PACKAGES)
def test_type_checkers_see_what_there_is(package):
    """The imports that are not run say what the table says, but for modules that nobody asks for by name."""
    seen, table = tables(package)
    assert {module: names for module, names in table.items() if names or module in seen} == seen
    for module, names in table.items():
        home = importlib.import_module(f"{package}.{module}")
        assert all(getattr(importlib.import_module(package), name) is getattr(home, name) for name in names)


@pytest.mark.parametrize("package", PACKAGES)
def test_an_import_loads_nothing_that_comes_late_or_is_slow_to_load(package):
    """Nor does it when the parts that most programs need, say Values and layers, are used."""
    use = {
        "microgrid": "(m.Value(2.0) * 3).backward(); (m.Tensor([1.0], requires_grad=True) * 2).sum().backward()",
        "nn": "m.MSELoss()(m.MLP(2, [3, 1], rng=0)([[1.0, 2.0]]), [[1.0]]).backward()",
        "viz": "microgrid.Value(2.0) * 3",
    }[package]
    known = "import sys, numpy, numpy.random" + ", microgrid" * (package != "microgrid")
    code = f"{known}; known = set(sys.modules); import {package} as m; {use}; print(*set(sys.modules) - known)"
    loaded = set(in_fresh_process(code).split())
    assert package in loaded
    assert not loaded & {f"{package}.{module}" for module in tables(package)[1]}
    assert not {name.partition(".")[0] for name in loaded} & SLOW


@pytest.mark.parametrize("package", PACKAGES)
def test_an_early_import_is_complete(package):
    """dir and import * know all, before anything was asked for."""
    code = (
        f"import {package} as m; names = dir(m); from {package} import *; print({{*m.__all__}} <= {{*names}}, "
        "names == sorted(names), {*m.__all__} <= {*globals()})"
    )
    assert in_fresh_process(code).split() == ["True"] * 3


@pytest.mark.parametrize("package", PACKAGES)
def test_what_there_is_not_is_told_as_python_tells_it(package):
    module = importlib.import_module(package)
    with pytest.raises(AttributeError, match=f"^module '{package}' has no attribute 'nonsense'$"):
        _ = module.nonsense
    with pytest.raises(ImportError, match="cannot import name 'nonsense'"):
        exec(f"from {package} import nonsense")


def test_a_module_is_found_under_its_own_name_and_a_name_is_looked_up_once(monkeypatch):
    import nn

    names = vars(nn)
    find, listed = late.attributes("nn", {"vector": "parameters_to_vector", "optim.sgd": "SGD"})
    for name in ("vector", "parameters_to_vector"):
        monkeypatch.delitem(names, name, raising=False)
        assert name in listed()
        found = find(name)
        assert names[name] is found
    assert nn.vector is sys.modules["nn.vector"]
    assert "optim.sgd" not in listed()


def test_threads_may_ask_at_the_same_time():
    """Each gets whole modules and the same objects, in whatever order it asks."""
    code = """
import random, threading
import microgrid as mg, nn, viz

places = [(package, name) for package in (mg, nn, viz) for name in package.__all__]
start, found = threading.Barrier(8), []

def ask(seed):
    mine = random.Random(seed).sample(places, len(places))
    start.wait()
    found.append({(package.__name__, name): getattr(package, name) for package, name in mine})

threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(len(found), all(one.keys() == found[0].keys() for one in found),
      all(one[place] is found[0][place] for one in found for place in one))
"""
    assert in_fresh_process(code).split() == ["8", "True", "True"]


def test_late_classes_are_pickled_by_where_they_stand():
    assert pickle.loads(pickle.dumps([mg.Tape, mg.GradcheckError, mg.prove])) == [mg.Tape, mg.GradcheckError, mg.prove]


@pytest.mark.parametrize(
    ("number", "gradient"),
    [("fractions.Fraction(1, 3)", "2/3"), ("mpmath.mpf(2)", "4.0"), ("sympy.Symbol('x')", "2*x")],
)
def test_other_numbers_are_known_when_they_are_first_met(number, gradient):
    """Right after the import, before anything of `proving` was asked for."""
    library = number.partition(".")[0]
    code = f"import {library}, microgrid as mg; x = mg.Value({number}); (x * x).backward(); print(x.grad)"
    assert in_fresh_process(code).strip() == gradient


def test_what_is_no_number_is_refused_as_ever():
    code = "import microgrid as mg\ntry: mg.exp(object())\nexcept TypeError as error: print(error)"
    assert "expected a Value, a Tensor, a number or an array, got object" in in_fresh_process(code)


@pytest.mark.parametrize("package", PACKAGES)
def test_under_a_debugger_nothing_comes_late(package):
    """Whoever traces, all modules are there after the import, so that no line of the user's imports one."""
    code = f"import sys; sys.settrace(lambda *_: None); import {package}; print(*sys.modules, *vars({package}))"
    found = set(in_fresh_process(code).split())
    assert {f"{package}.{module}" for module in tables(package)[1]} <= found
    assert {*importlib.import_module(package).__all__} <= found
    if package == "microgrid":
        assert "numpy.ma" in found


def test_pdb_attached_late_is_not_led_through_an_import(tmp_path):
    """`s` into a late name comes to what it names, and not to how it is imported."""
    script = tmp_path / "train.py"
    script.write_text(
        "import microgrid as mg\nx = mg.Value(3.0)\ny = x * x\nbreakpoint()\ng, = mg.grad(y, [x])\nprint('end', g)\n"
    )
    met = stops(piped(script, ";".join(["s"] * 40), pdb=False))
    files = [stop.file for stop in met]
    assert files.index("derivatives.py") < 20
    assert not [file for file in files if "importlib" in file]
    assert ("train.py", 3, "backward") in {(stop.file, stop.line, stop.function) for stop in met}
