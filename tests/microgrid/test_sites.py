"""Where a node was made: file, line and columns of the user's expression, lazily (decision 9)."""

import ast
import os
import subprocess
import sys
import textwrap
import types
from pathlib import Path

import numpy as np
import pytest

import microgrid as mg

HERE = Path(__file__).name


def expression(node):
    """The text between the columns of a node's site, of one or several lines."""
    site = node.site
    lines = Path(site.file).read_bytes().splitlines()[site.line - 1 : site.end_line]
    lines[-1] = lines[-1][: site.end_column]
    lines[0] = lines[0][site.column :]
    return " ".join(line.decode().strip() for line in lines)


def test_file_line_function_and_text():
    """Decision 9: a node knows the user's file, line, function and source line."""
    x = mg.Value(2.0)
    y = x * 3
    site = y.site
    assert Path(site.file).samefile(__file__)
    assert site.line == x.site.line + 1
    assert site.function == "test_file_line_function_and_text"
    assert site.text == "y = x * 3"
    assert str(site) == f"{HERE}:{site.line}"
    assert expression(x) == "mg.Value(2.0)"
    assert expression(y) == "x * 3"


def test_nested_operators_have_columns_of_their_own():
    """Decision 9: of several operators on one line each node is its own sub-expression."""
    x, y = mg.Value(2.0), mg.Value(3.0)
    z = (x * y + mg.exp(x)) * (y - x) / 2
    assert [expression(n) for n in mg.topological_order(z)] == [
        "mg.Value(2.0)", "mg.Value(3.0)", "x * y", "mg.exp(x)", "x * y + mg.exp(x)", "y - x",
        "(x * y + mg.exp(x)) * (y - x)", "(x * y + mg.exp(x)) * (y - x) / 2",
    ]  # fmt: skip


def test_every_operator_and_method_of_both_faces():
    """Decision 9: operators of all kinds, methods, functions, indexing and NumPy's calls all point here."""
    x, t, a = mg.Value(2.0), mg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True), np.ones((2, 2))
    assert expression(2 - x) == "2 - x"
    assert expression(-x) == "-x"
    assert expression(abs(x)) == "abs(x)"
    assert expression(2**x) == "2**x"
    assert expression(x.relu()) == "x.relu()"
    assert expression(mg.dot([x, x], [x, 2.0])) == "mg.dot([x, x], [x, 2.0])"
    assert expression(t @ a) == "t @ a"
    assert expression(a @ t) == "a @ t"
    assert expression(a * t) == "a * t"
    assert expression(np.float64(2) * t) == "np.float64(2) * t"
    assert expression(np.float64(2) * x) == "np.float64(2) * x"
    assert expression(t[0, :1]) == "t[0, :1]"
    assert expression(t.T) == "t.T"
    assert expression(np.exp(t)) == "np.exp(t)"
    assert expression(np.sum(t)) == "np.sum(t)"
    assert expression(np.linalg.norm(t)) == "np.linalg.norm(t)"
    assert expression(t.sum(axis=0)) == "t.sum(axis=0)"
    assert expression(t.detach()) == "t.detach()"
    assert expression(mg.stack([x, x])) == "mg.stack([x, x])"
    for node in mg.topological_order(mg.var(t)):
        assert expression(node) in ("mg.var(t)", "mg.Tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)")


def test_continuation_lines():
    """Decision 9: an expression over several lines keeps first and last line and their columns."""
    x, y = mg.Value(2.0), mg.Value(3.0)
    z = (
        x
        * y
        + x
    )  # fmt: skip
    assert (z.site.line, z.site.end_line) == (y.site.line + 2, y.site.line + 4)
    assert expression(z) == "x * y + x"
    assert expression(z.inputs[0]) == "x * y"
    text = "žluťoučký" * 0
    w = (len("žluťoučký" + text) * x)  # fmt: skip
    assert expression(w) == 'len("žluťoučký" + text) * x'


def test_comprehensions_lambdas_and_builtins():
    """Decision 9: in comprehensions, generator expressions, lambdas, sum and map too a node has its expression."""
    x = mg.Value(2.0)
    assert [expression(n) for n in [x * i for i in range(2)]] == ["x * i", "x * i"]
    total = sum(x * w for w in (1.0, 2.0))
    assert expression(total) == "sum(x * w for w in (1.0, 2.0))"
    assert {expression(n) for n in total.inputs if n.inputs} == {"x * w", "sum(x * w for w in (1.0, 2.0))"}
    double = lambda v: v * 2
    assert expression(double(x)) == "v * 2"
    assert double(x).site.function == "<lambda>"
    assert expression(next(map(double, [x]))) == "v * 2"
    (mapped,) = [expression(n) for n in map(mg.exp, [x])]
    assert mapped in ("[expression(n) for n in map(mg.exp, [x])]", "map(mg.exp, [x])")  # the latter from 3.12 on


def test_a_loop_makes_one_site():
    """Nodes made by one expression in a loop share their code object: two machine words a node."""
    x = mg.Value(2.0)
    nodes = [x + i for i in range(5)]
    assert len({(n._code, n._instruction) for n in nodes}) == 1


def test_marked_modules_are_looked_through():
    """Decision 9: the site is the innermost frame whose module is not marked as machinery; users may mark theirs."""
    source = "def layer(x):\n    return x * 2\n\ndef deep(x):\n    return layer(x)\n"
    for marked in (True, False):
        module = types.ModuleType("library")
        module.__dict__["__microgrid_machinery__"] = True
        if not marked:
            del module.__dict__["__microgrid_machinery__"]
        exec(compile(source, "library.py", "exec"), module.__dict__)
        for x in (mg.Value(2.0), mg.Tensor([2.0], requires_grad=True)):
            y = module.deep(x)
            assert Path(y.site.file).name == (HERE if marked else "library.py")
            if marked:
                assert expression(y) == "module.deep(x)"
        with pytest.raises(ValueError) as error:
            module.deep(mg.Tensor([1.0])).reshape(7)
        assert HERE in str(error.value)


def test_machinery_all_the_way_down_still_has_a_site():
    """Where every frame is marked the outermost one serves."""
    program = "import microgrid as mg\nx = mg.Value(1.0)\nprint((x * 2).site.line, (mg.exp(x)).site.line)\n"
    namespace = "__microgrid_machinery__ = True\n" + program
    run = subprocess.run(
        [sys.executable, "-c", namespace], capture_output=True, text=True, check=True, env=environment()
    )
    assert run.stdout.split() == ["4", "4"]


def environment():
    root = Path(mg.__file__).parent.parent
    return {**os.environ, "PYTHONPATH": str(root)}


@pytest.mark.parametrize("options", [["-X", "no_debug_ranges"], ["-O"], ["-OO"]])
def test_without_debug_ranges(tmp_path, options):
    """Decision 9: where Python keeps no columns (-X no_debug_ranges) lines stay right and columns are None."""
    script = tmp_path / "train.py"
    script.write_text(
        textwrap.dedent("""\
        import microgrid as mg
        x = mg.Value(2.0)
        y = (x *
             x)
        z = mg.exp(y)
        t = mg.Tensor([1.0, 2.0])
        for node in (x, y, z):
            print(node.site, node.site.column, repr(node.site.text))
        try:
            t @ mg.Tensor([1.0])
        except ValueError as error:
            print(error)
    """)
    )
    run = subprocess.run(
        [sys.executable, *options, str(script)], capture_output=True, text=True, check=True, env=environment()
    )
    lines = run.stdout.splitlines()
    column = (lambda c: "None") if "no_debug_ranges" in options else str
    assert lines[0] == f"train.py:2 {column(4)} 'x = mg.Value(2.0)'"
    assert lines[1].startswith(f"train.py:3 {column(5)} 'y = (x *'")
    assert lines[2] == f"train.py:5 {column(4)} 'z = mg.exp(y)'"
    assert lines[3].endswith("at train.py:10")


def test_code_without_a_file():
    """Code from exec, a prompt or `-c` has a line, and no text."""
    namespace = {"mg": mg}
    exec(compile("x = mg.Value(1.0)\ny = x * 2\n", "<prompt>", "exec"), namespace)
    site = namespace["y"].site
    assert (site.file, site.line, site.text, str(site)) == ("<prompt>", 2, "", "<prompt>:2")


def test_the_switch():
    """record_sites(False) records none, at once or for a block; messages then carry no made-at, and nothing fails."""
    x = mg.Value(2.0)
    with mg.record_sites(False):
        y = x * 3
        t = mg.Tensor([1.0, 2.0], requires_grad=True)
        with mg.record_sites(True):
            z = y * x
        assert (y.site, t.site, (t * 2).site) == (None, None, None)
    assert expression(z) == "y * x"
    assert (x * 2).site is not None
    z.backward()
    assert x.grad == 12.0
    t.data[0] = 5.0
    u = (t * 2).sum()
    t.data[0] = 6.0
    with pytest.raises(mg.StaleError):
        u.backward()
    with pytest.raises(RuntimeError, match="inside"), mg.record_sites(False):
        raise RuntimeError("inside")
    assert (x * 2).site is not None


def test_sites_survive_a_backward_and_a_recorded_pass():
    """Nodes of a recorded pass are made where the pass was asked for."""
    x = mg.Value(2.0)
    y = x * x
    (g,) = mg.grad(y, x, create_graph=True)
    assert expression(y) == "x * x"
    assert expression(g).startswith("mg.grad(y, x")


def test_this_file_parses_as_the_sites_say():
    """Every column range of a fixed graph is an expression of this file's syntax tree."""
    x = mg.Value(0.5)
    z = mg.tanh(x * 2 + 1) ** 2 - mg.sigmoid(-x)
    tree = ast.parse(Path(__file__).read_bytes())
    ranges = {
        (n.lineno, n.end_lineno, n.col_offset, n.end_col_offset) for n in ast.walk(tree) if isinstance(n, ast.expr)
    }
    for node in mg.topological_order(z):
        assert tuple(node.site[1:5]) in ranges
