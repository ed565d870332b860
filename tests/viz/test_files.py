"""Pictures on disk, and the program `dot` that may be missing, fail, or hang."""

import re
import stat
import sys
from pathlib import Path

import pytest

import microgrid as mg
import viz


@pytest.fixture
def root() -> mg.Value:
    return mg.Value(2.0, name="x") * 3


def stand_in(folder: Path, monkeypatch: pytest.MonkeyPatch, body: str) -> None:
    """A program called dot that does something else, alone on PATH."""
    program = folder / "bin" / "dot"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\n{body}\n")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", str(program.parent))


def test_the_text_needs_no_program(root, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("PATH", "")
    path = viz.save(viz.draw_dot(root), tmp_path / "new" / "folder" / "x.dot")
    assert path.read_text(encoding="utf-8") == viz.draw_dot(root).source
    assert viz.save(root, str(tmp_path / "x.gv")).read_bytes() == path.read_bytes()


def test_a_missing_dot_is_one_clear_sentence(root, tmp_path, monkeypatch) -> None:
    """What is missing, how to get it, what works without it."""
    monkeypatch.setenv("PATH", "")
    for picture, name in ((root, "x.png"), (viz.graph(root), "x.pdf"), (viz.draw_dot(root), "x.svg")):
        with pytest.raises(viz.DotError, match=r"^the program dot .* not installed.*apt install graphviz.*no program"):
            viz.save(picture, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("import sys; sys.stderr.write('syntax error in line 1'); sys.exit(1)", "dot failed: syntax error in line 1"),
        ("import sys; sys.exit(3)", "dot failed: it ended with 3 and said nothing"),
        ("import os; os.kill(os.getpid(), 9)", "dot was killed by signal 9"),
        ("import sys; sys.stderr.write('unknown -T')", "dot gave nothing, is it too old. unknown -T"),
        ("print('garbage')", "what dot gave is no PNG, is it the dot of Graphviz"),
        ("import sys; sys.stdout.buffer.write(bytes.fromhex('89504e470d0a1a0a'))", "what dot gave is no PNG"),
        ("import time; time.sleep(60)", r"dot did not finish within 0\.5 s: draw a part"),
    ],
)
def test_what_fails_leaves_the_old_file(root, tmp_path, monkeypatch, body, text) -> None:
    stand_in(tmp_path, monkeypatch, body)
    path = tmp_path / "x.png"
    path.write_text("old")
    with pytest.raises(viz.DotError, match=text + r".*, at test_files\.py:\d+$"):
        viz.save(root, path, timeout=0.5)
    assert path.read_text() == "old"
    assert {found.name for found in tmp_path.iterdir()} == {"bin", "x.png"}


def test_a_write_that_fails_leaves_the_old_file(root, tmp_path, monkeypatch) -> None:
    """A full disk, say, in the middle."""

    def write_half(draft: str, target: Path) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", write_half)
    for name in ("x.dot", "x.svg", "x.html"):
        path = tmp_path / name
        path.write_text("old")
        with pytest.raises(OSError, match="No space left"):
            viz.save(root, path)
        assert path.read_text() == "old"
    assert sorted(found.name for found in tmp_path.iterdir()) == ["x.dot", "x.html", "x.svg"]


def test_dot_gets_the_text_on_its_input_and_no_name_on_its_command_line(root, tmp_path, monkeypatch) -> None:
    """So that no path and no name can be taken for an option or a command."""
    stand_in(tmp_path, monkeypatch, "import sys; print('<?xml', sys.argv[1:], sys.stdin.read(), '</svg>')")
    written = viz.save(viz.draw_dot(root), tmp_path / "-o $(reboot); x.svg").read_text(encoding="utf-8")
    assert written == f"<?xml ['-Tsvg'] {viz.draw_dot(root).source} </svg>\n"


def test_other_suffixes_and_things_are_refused(root, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"'x\.jpeg' ends in none of \.svg, \.html, .* at test_files\.py"):
        viz.save(root, tmp_path / "x.jpeg")
    with pytest.raises(ValueError, match=r"'x\.html' ends in none of \.dot, \.gv, \.svg, \.png, \.pdf"):
        viz.save(viz.draw_dot(root), tmp_path / "x.html")
    with pytest.raises(TypeError, match=r"expected a Graph, a Digraph, a node or a plot, got str, at test_files\.py"):
        viz.save("digraph {}", tmp_path / "x.dot")


@pytest.mark.dot
@pytest.mark.parametrize(("suffix", "magic"), [("svg", b"<?xml"), ("PNG", b"\x89PNG"), ("pdf", b"%PDF")])
@pytest.mark.parametrize("style", [None, "micrograd"])
def test_dot_lays_it_out(root, tmp_path, suffix, magic, style) -> None:
    path = viz.save(viz.draw_dot(root, style=style), tmp_path / f"x.{suffix}")
    assert path.read_bytes().startswith(magic)


@pytest.mark.dot
def test_the_picture_is_the_same_on_every_run(root, tmp_path) -> None:
    first, second = (viz.save(root, tmp_path / name).read_bytes() for name in ("a.svg", "b.svg"))
    assert first == second
    assert viz.graph(root).png() == viz.graph(root).png()
    written = viz.graph(root).pdf()
    assert set(re.findall(rb"CreationDate \(D:(\d+)", written)) <= {b"19700101000000"}
    assert written == viz.graph(root).pdf()


def test_options_and_paths_that_are_none_are_refused(root, tmp_path) -> None:
    """What was given, what was expected, the user's line; and no file is left."""
    graph, plot = viz.graph(root), viz.curves({"loss": [1.0, 0.5]})
    for call, error, text in (
        (lambda: viz.save(root, None), TypeError, "expected a path, got NoneType None"),  # type: ignore[arg-type]
        (lambda: graph.save(3), TypeError, "expected a path, got int 3"),  # type: ignore[arg-type]
        (lambda: viz.save(plot, None), TypeError, "expected a path, got NoneType"),  # type: ignore[arg-type]
        (lambda: graph.save(f"{tmp_path}/a\0.svg"), ValueError, "expected the path of a file, got str"),
        (lambda: graph.save(""), ValueError, "expected the path of a file, got str ''"),
        (lambda: graph.save(tmp_path / "x.svg", foo=3), TypeError,
         r"'foo' is no option: options of \.svg are rankdir, engine, timeout"),
        (lambda: graph.save(tmp_path / "x.txt", rankdir="TB"), TypeError,
         r"'rankdir' is no option: \.txt has no options"),
        (lambda: viz.save(viz.draw_dot(root), tmp_path / "x.svg", rankdir="TB"), TypeError,
         r"'rankdir' is no option: options of \.svg are timeout"),
        (lambda: viz.save(plot, tmp_path / "x.svg", dpi=3), TypeError, r"'dpi' is no option: \.svg has no options"),
        (lambda: graph.svg(timeout="x"), TypeError, "timeout: expected a number of seconds, got str 'x'"),  # type: ignore[arg-type]
        (lambda: graph.png(timeout=0), ValueError, "timeout: expected seconds above 0, got 0"),
        (lambda: graph.pdf(timeout=float("nan")), ValueError, "timeout: expected seconds above 0, got nan"),
        (lambda: viz.draw_dot(root, style=[]), ValueError, r"style=\[\] is neither None nor 'micrograd'"),  # type: ignore[arg-type]
        (lambda: graph.svg(["LR"]), ValueError, r"rankdir=\['LR'\] is none of LR"),  # type: ignore[arg-type]
    ):  # fmt: skip
        with pytest.raises(error, match=text + r".*, at test_files\.py:\d+$"):
            call()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("suffix", ["svg", "html", "dot", "gv", "mmd", "txt", "json"])
def test_the_suffix_says_what_it_is(root, tmp_path, monkeypatch, suffix) -> None:
    """Without dot, in a folder that is made."""
    monkeypatch.setenv("PATH", "")
    graph = viz.graph(root)
    path = graph.save(tmp_path / "new" / f"x.{suffix.upper()}")
    form = {"gv": "dot", "mmd": "mermaid", "txt": "text"}.get(suffix, suffix)
    assert path.read_text(encoding="utf-8") == getattr(graph, form)()
    assert viz.save(graph, path) == path


def test_options_go_to_the_writer(root, tmp_path) -> None:
    graph = viz.graph(root)
    assert graph.save(tmp_path / "x.svg", rankdir="TB").read_text(encoding="utf-8") == graph.svg("TB")


def test_a_path_that_cannot_be_written_is_the_users_error(root, tmp_path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OSError):
        viz.graph(root).save(tmp_path / "file" / "x.svg")
    (tmp_path / "folder.svg").mkdir()
    with pytest.raises(OSError, match="nothing was written"):
        viz.graph(root).save(tmp_path / "folder.svg")
