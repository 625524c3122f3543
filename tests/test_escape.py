"""Text from data is text in every medium: never code, markup, or a command to the terminal."""

from __future__ import annotations

import ast
import doctest
import html
import io
import json
import os
import re
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from names import NASTY

from isoloss.core import escape

ANYTHING = st.text(st.characters(exclude_categories=[]), max_size=60) | st.sampled_from(NASTY)
HIDDEN = {"Cc", "Cs", "Zl", "Zp", "Cn", "Co"}


def hidden(text: str) -> list[str]:
    """Characters that move the cursor, turn the line, or cannot be written."""
    turns = {"\u202a", "\u202b", "\u202d", "\u202e", "\u2066", "\u2067", "\u2068", "\u200f"}
    return [c for c in text if unicodedata.category(c) in HIDDEN or c in turns]


def test_the_examples_hold():
    assert doctest.testmod(escape).failed == 0


@given(ANYTHING)
def test_text_is_shown_on_one_line_without_anything_hidden(text):
    shown = escape.visible(text)
    assert shown.strip() and not hidden(shown) and len(shown.splitlines()) == 1
    if text.strip() and text.isascii() and text.isprintable():
        assert shown == text


@given(ANYTHING)
def test_lines_for_a_terminal_keep_their_ends_and_nothing_else(text):
    shown = escape.terminal(text)
    assert not hidden(shown.replace("\n", "")) and shown.count("\n") == text.count("\n")


@given(ANYTHING, st.integers(3, 80))
def test_short_text_keeps_its_beginning_and_end(text, most):
    short = escape.short(text, most)
    assert len(short) <= most
    if short != text:
        head, tail = short.split("…", 1) if "…" not in text else (short[:1], short[-1:])
        assert text.startswith(head) and text.endswith(tail)


VALUES = st.recursive(
    st.text() | st.sampled_from(NASTY) | st.floats(allow_nan=False) | st.integers() | st.booleans(),
    lambda inner: st.lists(inner, max_size=7) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(VALUES)
@example({"a": [float("inf"), -float("inf")], 'b"""': {}})
def test_python_source_is_a_literal_of_the_value_and_can_be_written(value):
    source = escape.python(value)
    source.encode("utf-8")
    names = {"inf": float("inf"), "nan": float("nan")}
    tree = ast.parse(source, mode="eval")
    for node in ast.walk(tree):
        assert not isinstance(node, ast.Call | ast.Attribute | ast.JoinedStr)
        assert not isinstance(node, ast.Name) or node.id in names
    assert eval(compile(tree, "source", "eval"), {"__builtins__": {}}, names) == value


def test_what_is_no_number_has_a_name_in_python_source_and_objects_have_none():
    assert escape.python([float("nan"), -float("inf")]) == "[\n nan, -inf,\n]"
    with pytest.raises(TypeError, match="set has no source"):
        escape.python({1})


@given(st.lists(ANYTHING | st.sampled_from(['"', '""', "\\", "\n"]), max_size=5))
def test_a_docstring_holds_what_is_written_in_it(parts):
    text = "\n".join(parts)
    (statement,) = ast.parse(f'"""{escape.docstring(text)}"""\n').body
    assert isinstance(statement.value, ast.Constant)
    assert statement.value.value == escape.terminal(text)


@given(VALUES)
def test_json_says_the_same_and_hides_nothing(value):
    line, block = escape.json_text(value), escape.json_block(value)
    assert json.loads(line) == json.loads(block) == value
    assert len(line.splitlines()) == 1 and not hidden(line)
    assert not hidden(block.replace("\n", "")) and not set("<>&`") & set(block)


COMMANDS = {"textbackslash", "textasciicircum", "textasciitilde", "textless", "textgreater"}
COMMANDS |= {"textbar", "textasciigrave", "ensuremath"} | {v[1:] for v in escape.GREEK.values()}


@given(ANYTHING)
def test_latex_has_no_command_but_those_of_the_escapes(text):
    written = escape.latex(text)
    assert "\n" not in written and not hidden(written)
    assert set(re.findall(r"\\([A-Za-z]+)", written)) <= COMMANDS
    bare = re.sub(r"\\[{}$&#_%]|\\[A-Za-z]+", "", written)
    assert not set("\\$&#_%^~") & set(bare)
    depth = 0
    for char in bare:
        depth += (char == "{") - (char == "}")
        assert depth >= 0
    assert depth == 0
    assert not re.search(r"(^|[^{])[\[*]", bare)  # after \\ these are its options


@pytest.fixture(scope="module")
def rendered():
    """Text to what a reader of Markdown sees of it in a line."""
    made = (
        pytest.importorskip("markdown_it")
        .MarkdownIt("commonmark")
        .enable(["table", "strikethrough"])
    )

    def render(text: str) -> str:
        return made.render(text)

    return render


@given(text=ANYTHING)
def test_markdown_shows_the_text_and_nothing_else(rendered, text):
    written = escape.markdown(text)
    assert html.unescape(rendered(f"a {written} b")) == f"<p>a {escape.visible(text)} b</p>\n"
    alone = rendered(written.lstrip(" "))
    assert html.unescape(alone) == f"<p>{escape.visible(text).strip(' ')}</p>\n"
    table = rendered(f"| a | b |\n| --- | --- |\n| {written} | x |\n")
    assert table.count("<td>") == 2 and "<td>x</td>" in table
    assert not re.search(r"<(?!/?(p|table|thead|tbody|tr|th|td)>)", alone + table)


def test_plain_names_are_written_as_they_are():
    for name in ("loss", "alpha_N", "web (en)", "docstring_x2", "a.b-c", "mean of 3, at most"):
        assert escape.markdown(name) == escape.visible(name) == escape.figure(name) == name
    assert escape.latex("web (en), 2.5-3") == "web (en), 2.5-3"


@pytest.mark.parametrize("name", NASTY)
def test_a_figure_draws_a_name_as_it_is_without_complaint(name):
    from matplotlib.figure import Figure

    text = escape.figure(name)
    assert len(text) <= escape.FIGURE + 1 and not text.startswith("_")
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2], label=text)
    assert [t.get_text() for t in axes.legend().get_texts()] == [text]
    axes.set_title(text, parse_math=False)
    axes.legend().remove()
    figure.draw_without_rendering()  # warnings are errors here, as of a glyph that is missing


def test_a_figure_writes_what_its_font_lacks_as_escapes():
    assert escape.figure("模型 α") == "\\u6a21\\u578b α"
    assert escape.figure("模" * 30) == "\\u6a21" * 3 + "…" + "\\u6a21" * 3


def test_columns_line_up_whatever_is_in_them():
    text = escape.columns(["a", "b"], [["模型", "x"], ["e\u0301", "y"], ["\x1b[2J\nz", "w"]])
    seen = {"a": 1, "模型": 4, "e\u0301": 1, "\\x1b[2J\\nz": 10}  # columns of a terminal
    expected = [name + " " * (12 - wide) for name, wide in seen.items()]
    assert text.splitlines() == [a + b for a, b in zip(expected, "bxyw", strict=True)]


def stream(encoding: str) -> io.TextIOWrapper:
    return io.TextIOWrapper(io.BytesIO(), encoding=encoding)


def test_what_cannot_be_encoded_is_printed_as_its_escape(monkeypatch):
    out = stream("ascii")
    monkeypatch.setattr("sys.stdout", out)
    monkeypatch.setattr("sys.stderr", None)
    escape.print_anything()
    escape.say("α\x1b[2J\ud800")
    assert out.buffer.getvalue() == b"\\u03b1\\x1b[2J\\ud800\n"
    assert escape.shows("a") and not escape.shows("α") and not escape.shows("\x1b")


def test_a_reader_that_left_ends_nothing(monkeypatch):
    read, write = os.pipe()
    os.close(read)
    with open(write, "w", encoding="utf-8") as out:
        escape.say("a", out)
        escape.say("b", out)
    monkeypatch.setattr("sys.stdout", None)  # closed before the program began
    escape.say("c")
