"""Pictures on disk, and the program `dot` that may be missing, fail, or hang."""

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
    with pytest.raises(viz.DotError, match=r"^the program dot .* not installed.*apt install graphviz.*save as \.dot"):
        viz.save(root, tmp_path / "x.svg")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ("import sys; sys.stderr.write('syntax error in line 1'); sys.exit(1)", "dot failed: syntax error in line 1"),
        ("import time; time.sleep(60)", r"dot did not finish within 0\.5 s: draw a part"),
    ],
)
def test_what_fails_leaves_the_old_file(root, tmp_path, monkeypatch, body, text) -> None:
    stand_in(tmp_path, monkeypatch, body)
    path = tmp_path / "x.svg"
    path.write_text("old")
    with pytest.raises(viz.DotError, match=text):
        viz.save(root, path, timeout=0.5)
    assert path.read_text() == "old"
    assert {found.name for found in tmp_path.iterdir()} == {"bin", "x.svg"}


def test_a_write_that_fails_leaves_the_old_file(root, tmp_path, monkeypatch) -> None:
    """A full disk, say, in the middle."""
    path = tmp_path / "x.dot"
    path.write_text("old")

    def write_half(draft: Path, content: bytes) -> int:
        with open(draft, "wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError("No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    with pytest.raises(OSError, match="No space left"):
        viz.save(root, path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_dot_gets_the_text_on_its_input_and_no_name_on_its_command_line(root, tmp_path, monkeypatch) -> None:
    """So that no path and no name can be taken for an option or a command."""
    stand_in(tmp_path, monkeypatch, "import sys; print(sys.argv[1:], sys.stdin.read())")
    written = viz.save(root, tmp_path / "-o $(reboot); x.svg").read_text(encoding="utf-8")
    assert written == f"['-Tsvg'] {viz.draw_dot(root).source}\n"


def test_other_suffixes_and_things_are_refused(root, tmp_path) -> None:
    with pytest.raises(ValueError, match=r"'x\.jpeg' ends in none of \.dot, \.gv, \.svg, \.png, \.pdf"):
        viz.save(root, tmp_path / "x.jpeg")
    with pytest.raises(TypeError, match=r"expected a Digraph or a node, got str, at test_files\.py"):
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
