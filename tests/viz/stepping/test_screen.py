"""Text for a terminal: widths, colours, and the underlined part of a source line."""

import io
import linecache

import pytest
from hypothesis import given, strategies as st

from microgrid.sites import Site
from viz.stepping.screen import Screen, clip, columns, excerpt, expanded, fill


class Tty(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines_of(source: str, site: tuple[int, int, int, int], width: int = 80) -> list[str]:
    """The excerpt of a file that holds the source: (line, end line, column, end column)."""
    linecache.cache["fake.py"] = (len(source), None, source.splitlines(keepends=True), "fake.py")
    line, end_line, column, end_column = site
    screen = Screen(io.StringIO(), {"COLUMNS": str(width)})
    try:
        return list(excerpt(Site("fake.py", line, end_line, column, end_column, "f"), screen))
    finally:
        del linecache.cache["fake.py"]


def underlined(lines: list[str]) -> str:
    """What stands above the carets, by columns of ASCII."""
    text, carets = lines
    return text[carets.index("^") : carets.rindex("^") + 1]


def test_the_expression_is_underlined():
    assert underlined(lines_of("z = w * x + b\n", (1, 1, 4, 9))) == "w * x"


def test_columns_are_bytes_and_carets_stand_under_wide_characters():
    """`重み` takes six bytes and four columns; the carets take columns."""
    source = "重み = é * x\n"
    begin = source.encode().index("é".encode())
    assert lines_of(source, (1, 1, begin, begin + len("é * x".encode()))) == [
        "     1  重み = é * x",
        " " * 15 + "^^^^^",
    ]
    assert lines_of(source, (1, 1, 0, 6))[1] == " " * 8 + "^^^^"


def test_tabs_are_spaces_up_to_the_next_multiple_of_eight():
    assert expanded("\ta\tbc\t重\td") == "        a       bc      重      d"
    assert underlined(lines_of("\tz =\tw * x\n", (1, 1, 5, 10))) == "w * x"


def test_each_line_of_an_expression_is_underlined_without_its_indentation():
    lines = lines_of("z = (w\n     * x\n     + b)\n", (1, 3, 5, 8))
    assert [line.strip() for line in lines] == ["1  z = (w", "^", "2       * x", "^^^", "3       + b)", "^^^"]


def test_of_a_long_expression_the_first_lines_are_shown_and_the_last():
    source = "f(\n" + "".join(f"    {i},\n" for i in range(20)) + ")\n"
    lines = lines_of(source, (1, 22, 0, 1))
    assert len(lines) <= 14
    assert "..." in lines[-3]
    assert lines[-2].endswith(")")


@given(st.integers(40, 120), st.integers(0, 300), st.integers(1, 300), st.integers(0, 200))
def test_no_line_is_wider_than_the_screen_and_the_carets_stay_in_sight(width, before, marked, after):
    lines = lines_of("a" * before + "m" * marked + "b" * after + "\n", (1, 1, before, before + marked), width)
    assert all(columns(line) <= width for line in lines)
    assert "m" in underlined(lines)


def test_without_columns_the_line_stands_alone():
    """As under `python -X no_debug_ranges`."""
    assert lines_of("z = w * x\n", (1, None, None, None)) == ["     1  z = w * x"]


def test_without_a_source_there_is_nothing():
    assert list(excerpt(Site("<stdin>", 3, 3, 0, 5, "<module>"), Screen(io.StringIO(), {}))) == []


def test_nothing_in_a_source_can_move_the_cursor():
    assert "\x1b" not in "".join(lines_of("z = '\x1b[2J' * x\r\n", (1, 1, 4, 8)))


@pytest.mark.parametrize(
    ("environment", "stream", "colours"),
    [
        ({}, Tty, True),
        ({"NO_COLOR": ""}, Tty, True),  # no-color.org: when present and not an empty string
        ({"NO_COLOR": "1"}, Tty, False),
        ({"TERM": "dumb"}, Tty, False),
        ({"TERM": "xterm"}, io.StringIO, False),
    ],
)
def test_colours_are_for_terminals_that_want_them(environment, stream, colours):
    screen = Screen(stream(), environment)
    assert screen.colours is colours
    assert screen.paint("x", "bold") == ("\x1b[1mx\x1b[0m" if colours else "x")


@pytest.mark.parametrize(("given_columns", "width"), [("100", 100), ("10", 40), ("", 80), ("x", 80), ("0", 80)])
def test_the_width_is_that_of_the_environment_or_80(given_columns, width):
    assert Screen(io.StringIO(), {"COLUMNS": given_columns}).width == width


@given(st.text(max_size=30), st.integers(3, 30))
def test_clipped_and_filled_texts_fit(text, width):
    text = expanded(text)
    assert columns(clip(text, width)) <= width
    assert columns(fill(text, width)) == width


def test_what_the_encoding_lacks_is_escaped():
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii", newline="")
    Screen(stream, {}).print("w → 重")
    stream.flush()
    assert stream.buffer.getvalue() == b"w \\u2192 \\u91cd\n"
