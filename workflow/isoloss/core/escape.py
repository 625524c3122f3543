r"""Escape text from data for Python, LaTeX, Markdown, HTML, JSON, figures and terminals.

Names of groups, domains and columns, reasons and errors come from tables. In none of these media
may they be code or markup: a group called `$\frac$` or `| a` is drawn and printed as that.
Formulas, titles and units of cards are the project's own and need none of this.
"""

from __future__ import annotations

import json
import os
import re
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from html import escape as _html
from typing import Any, TextIO

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # Unicode categories of invisible characters
_JOINERS = "\u200c\u200d"  # between letters of some scripts, and between the parts of an emoji
_NUMBERS = 5  # on a line of Python source
FIGURE = 40  # characters of a name in a figure, at most
CELL = 60  # of a name in a table on a terminal


# Visible text


def visible(text: object) -> str:
    r"""Text on one line: control characters, line ends and marks of direction as their escapes.

    Nothing at all, or nothing but spaces, is shown in quotation marks.

    >>> visible("a\nb\x1b[2J"), visible(""), visible("α–β")
    ('a\\nb\\x1b[2J', "''", 'α–β')
    """
    return "".join(_visible(text))


def _visible(text: object) -> list[str]:
    text = str(text)
    return _shown(text) if text.strip() else list(repr(text))


def _shown(text: str, kept: str = "") -> list[str]:
    """The characters of a text, each kept or escaped."""
    if text.isprintable():
        return list(text)
    return [
        char if char in kept or _seen(text, at) else _code(char) for at, char in enumerate(text)
    ]


def _seen(text: str, at: int) -> bool:
    """Whether a character can be seen, or joins two letters beyond ASCII."""
    char, around = text[at], text[at - 1 : at] + text[at + 1 : at + 2]
    if char in _JOINERS:
        return len(around) == 2 and not around.isascii() and min(around) > "\x7f"
    return unicodedata.category(char) not in _HIDDEN


def _code(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


def short(text: str, most: int) -> str:
    """Text of at most so many characters, shortened in the middle.

    >>> short("a_very_long_name", 9)
    'a_ve…name'
    """
    return "".join(_shortened(list(text), most))


def listed(names: Sequence[object], most: int = 8) -> str:
    """Names from data on one line: the first few, and how many more there are.

    >>> listed(["lr", "depth", "seed"], most=2)
    'lr, depth and 1 more'
    """
    shown = ", ".join(short(visible(name), CELL) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _shortened(parts: Sequence[str], most: int) -> list[str]:
    """The beginning and the end of a text with an ellipsis between, at most so long."""
    if sum(map(len, parts)) <= most:
        return list(parts)
    head, tail = _fitting(parts, most // 2), _fitting(parts[::-1], most - most // 2 - 1)
    return [*head, "…", *tail[::-1]]


def _fitting(parts: Sequence[str], most: int) -> list[str]:
    fitting: list[str] = []
    for part in parts:
        most -= len(part)
        if most < 0:
            break
        fitting.append(part)
    return fitting


# Source and markup


def python(value: Any, depth: int = 0) -> str:
    r"""Python source of texts, numbers, and dicts and lists of them, over several lines.

    What is not finite is named `inf` or `nan`, as in NumPy.

    >>> print(python({"a": [1.0, float("inf")]}))
    {
     "a": [
      1.0, inf,
     ],
    }
    """
    pad, end = " " * (depth + 1), " " * depth
    if isinstance(value, str):
        source = repr(value)
        plain = source[0] == "'" and '"' not in source
        return f'"{source[1:-1]}"' if plain else source
    if isinstance(value, bool | int | float):
        return repr(value)
    if isinstance(value, Mapping):
        lines = [f"{pad}{python(k)}: {python(v, depth + 1)},\n" for k, v in value.items()]
        return "{\n" + "".join(lines) + end + "}" if lines else "{}"
    if isinstance(value, list | tuple):
        parts = [python(item, depth + 1) for item in value]
        rows = [parts[at : at + _NUMBERS] for at in range(0, len(parts), _NUMBERS)]
        lines = [f"{pad}{', '.join(row)},\n" for row in rows]
        return "[\n" + "".join(lines) + end + "]" if lines else "[]"
    raise TypeError(f"{type(value).__name__} has no source")


def docstring(text: str) -> str:
    r'''Text inside the three quotation marks of a docstring.

    >>> docstring('a\\b"""')
    'a\\\\b\\"\\"\\"'
    '''
    lines = "".join(_shown(text, "\n")).replace("\\", "\\\\")
    return re.sub(r'"(?="")|(?<="")"|(?<=")"(?=")|"$', r"\"", lines)


def json_text(value: Any, indent: int | None = None) -> str:
    r"""JSON in which invisible characters are escaped, and only line ends end a line.

    >>> json_text("a\u2028b α")
    '"a\\u2028b α"'
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    hidden = {c for c in set(text) - {"\n"} if unicodedata.category(c) in _HIDDEN}
    codes = {c: f"\\u{ord(c):04x}" if ord(c) < 0x10000 else json.dumps(c)[1:-1] for c in hidden}
    return text.translate(str.maketrans(codes))


def json_block(value: Any) -> str:
    """JSON over several lines for a fenced block of Markdown or in HTML."""
    return json_text(value, 1).translate({ord(char): f"\\u{ord(char):04x}" for char in "<>&`"})


_LATEX = {
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "`": r"\textasciigrave{}",
    **{char: f"\\{char}" for char in "{}$&#_%"},
    **{char: f"{{{char}}}" for char in "[]*"},  # \\ and \midrule take them for their options
}
GREEK = {
    "α": r"\alpha", "β": r"\beta", "γ": r"\gamma", "δ": r"\delta", "ε": r"\epsilon",
    "η": r"\eta", "θ": r"\theta", "κ": r"\kappa", "λ": r"\lambda", "μ": r"\mu", "ν": r"\nu",
    "ρ": r"\rho", "σ": r"\sigma", "τ": r"\tau", "φ": r"\phi", "ω": r"\omega",
    "ζ": r"\zeta", "ξ": r"\xi", "χ": r"\chi", "ψ": r"\psi", "π": r"\pi",
}  # fmt: skip


def latex(text: object) -> str:
    r"""Text in LaTeX, outside of formulas.

    >>> latex(r"\input{x}_50%")
    '\\textbackslash{}input\\{x\\}\\_50\\%'
    """
    known = {**_LATEX, **{letter: rf"\ensuremath{{{name}}}" for letter, name in GREEK.items()}}
    return "".join(known.get(char, char) for char in visible(text)).replace("--", "-{}-")


_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;", "$": "&#36;", "@": "&#64;"}
_ENTITIES |= {":": "&#58;", ".": "&#46;"}
# an underscore between two letters is one in every Markdown of today; addresses become links
_MARKUP = re.compile(
    r"[\\`*\[\]{}|~!#^]|(?<![^\W_])_|_(?![^\W_])|[<>&$@]|:(?=//)|(?<=www)\.", re.IGNORECASE
)
_LIST = re.compile(r"^(\s*)([-+=]|\d+[.)](?=\s|$))")


def markdown(text: object) -> str:
    r"""Text escaped for a line or table cell of Markdown.

    >>> markdown("<b> | *x* #3 x_1")
    '&lt;b&gt; \\| \\*x\\* \\#3 x_1'
    """

    def written(match: re.Match) -> str:
        return _ENTITIES.get(match[0], f"\\{match[0]}")

    def begun(match: re.Match) -> str:
        return f"{match[1]}{match[2][:-1]}\\{match[2][-1]}"

    return _LIST.sub(begun, _MARKUP.sub(written, visible(text)))


def html(text: object) -> str:
    r"""Text in HTML, in an element or a quoted attribute.

    >>> html("<b onclick='x'> & \x00")
    '&lt;b onclick=&#x27;x&#x27;&gt; &amp; \\x00'
    """
    return _html(visible(text))


# Figures


def figure(text: object, most: int = FIGURE) -> str:
    r"""Text for a figure: shortened, and with characters that the font lacks escaped.

    Figures draw text literally (`text.parse_math` is off). A label that begins with an underscore
    would not be shown in a legend: a thin space is put before it.
    """
    glyphs = _glyphs()
    parts = [p if len(p) > 1 or ord(p) in glyphs else _code(p) for p in _visible(text)]
    drawn = "".join(_shortened(parts, most))
    return f"\u200a{drawn}" if drawn.startswith("_") else drawn


@cache
def _glyphs() -> frozenset[int]:
    """The characters of the font that figures are drawn in; it comes with Matplotlib."""
    from matplotlib import font_manager

    font = font_manager.get_font(font_manager.findfont("DejaVu Sans"))
    return frozenset(font.get_charmap())


# The terminal


def terminal(text: object) -> str:
    r"""Text of one or more lines for a terminal, with control and direction characters escaped.

    >>> terminal("a\x1b[2J\nb")
    'a\\x1b[2J\nb'
    """
    return "".join(_shown(str(text), "\n"))


def width(text: str) -> int:
    """The width of a text on a terminal in columns: wide characters of East Asia take two."""
    if text.isascii():
        return len(text)
    marks = {"Mn", "Me", "Cf"}
    return sum(
        0 if unicodedata.category(c) in marks else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def columns(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Text in columns, for a terminal."""
    rows = [[_cell(cell) for cell in line] for line in (head, *lines)]
    widths = [max(width(row[i]) for row in rows) for i in range(len(head))]
    padded = (
        "  ".join(cell + " " * (wide - width(cell)) for cell, wide in zip(row, widths, strict=True))
        for row in rows
    )
    return "".join(f"{line.rstrip()}\n" for line in padded)


def _cell(text: str) -> str:
    return "".join(_shown(text))


def say(text: object, file: TextIO | None = None, end: str = "\n") -> None:
    """Print text that may hold text from data, to standard output if no file is given.

    A reader that has closed the pipe has read enough: the rest is not printed.
    """
    stream = sys.stdout if file is None else file
    if stream is None:  # closed before the program began
        return
    try:
        print(terminal(text), file=stream, end=end, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


def shows(text: str) -> bool:
    """Whether standard output can print a text without escapes."""
    coding = getattr(sys.stdout, "encoding", None) or "utf-8"
    return terminal(text) == text == text.encode(coding, "ignore").decode(coding)


def print_anything() -> None:
    """Make standard output and error print characters that they cannot encode as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a notebook or a test has put its own
            stream.reconfigure(errors="backslashreplace")
