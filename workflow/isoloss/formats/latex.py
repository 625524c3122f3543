r"""A LaTeX table in a text: `tabular` and its kin, or its rows alone."""

from __future__ import annotations

import re
from collections.abc import Iterator

from isoloss.core.sources import Source
from isoloss.formats.grid import Grid, Line
from isoloss.formats.table import Parsed
from isoloss.formats.unpack import MAX_COLUMNS

TYPED = False
_BEGIN = re.compile(r"\\begin\{(tabular[x*y]?|tabulary|longtable|array|tblr|NiceTabular)\}")
_DEPTH = 20  # commands inside each other, at most
_COMMENT = re.compile(r"(?<!\\)%[^\n]*")
_RULES = re.compile(
    r"\\(?:toprule|midrule|bottomrule|hline|hhline|endhead|endfirsthead|endfoot|endlastfoot|"
    r"centering|small|footnotesize|scriptsize|addlinespace|noalign|specialrule|morecmidrules|"
    r"cmidrule|cline|rowcolor|cellcolor|caption|label|columncolor)(?![A-Za-z])"
    r"(?:\*|\[[^\]]{0,200}\]|\([^)]{0,200}\)|\{[^{}]*\})*"
)
_END_OF_ROW = re.compile(r"\\\\(?:\*?\[[^\]]{0,200}\])?|\\tabularnewline(?![A-Za-z])")
_CELLS = re.compile(r"(?<!\\)&")
_SPAN = re.compile(
    r"\\multi(column|row)(?:\[[^\]]{0,200}\])?\s*\{([^{}]*)\}(?:\[[^\]]{0,200}\])?\s*\{[^{}]*\}"
)
_POWER = re.compile(
    r"(?:(?<![\d.])([-+]?[\d.]+)\s*\\(?:times|cdot)\s*)?(?<![\d.])10\s*\^\s*\{?\s*([-+]?\d+)\s*\}?"
)
_ONE = re.compile(r"\\[A-Za-z]+\*?(?:\[[^\]]{0,200}\])?\{([^{}]*)\}")
_UNITS = re.compile(r"\\(?:SI|qty)(?:\[[^\]]{0,200}\])?\{([^{}]*)\}\{[^{}]*\}")


def matches(text: str) -> bool:
    r"""Whether a text has a `tabular`, or rows of cells with & that end in \\."""
    return _BEGIN.search(text) is not None or sum(map(_is_row, text.splitlines())) > 1


def _is_row(line: str) -> bool:
    r"""Whether a line has cells with & between and ends with \\."""
    first, end = line.find("&"), line.rfind(r"\\")
    return 0 < first < end and line[first - 1] != "\\" and not line.startswith("#")


def read(file: Source, text: str) -> Parsed:
    """The first table in a LaTeX text, all columns text.

    Raises:
        TableError: a row has more or fewer cells than the header.
    """
    text = _COMMENT.sub("", text.replace("\r\n", "\n"))
    begin = _BEGIN.search(text)
    start, end = 0, len(text)
    if begin:
        start = _behind_arguments(text, begin.end())
        end = text.find(rf"\end{{{begin[1]}}}", start)
        if end < 0:
            reason = rf"has \begin{{{begin[1]}}} and no \end{{{begin[1]}}}"
            raise file.error(reason, "give the whole table")
    first = text.count("\n", 0, start) + 1
    rows = _with_spans(list(_rows(text[start:end], first)))
    return Grid(file, rows, took=["a LaTeX table"]).parsed()


def _behind_arguments(text: str, at: int) -> int:
    """The position behind the arguments of an environment, such as `{lrr}`."""
    while match := re.compile(
        r"\s*(?:\[[^\]]{0,200}\]|\{(?:[^{}]|\{(?:[^{}]|\{[^{}]*\})*\})*\})"
    ).match(text, at):
        at = match.end()
    return at


def _rows(body: str, number: int) -> Iterator[tuple[int, list[str]]]:
    """The line and the cells of each row, still as LaTeX."""
    at = 0
    ends = [*_END_OF_ROW.finditer(body), None]
    for end in ends:
        row = body[at : end.start() if end else len(body)]
        blank = len(row) - len(row.lstrip())
        plain = _RULES.sub(" ", row).strip()
        if plain and (end or "&" in plain):
            yield number + row.count("\n", 0, blank), _CELLS.split(plain)
        number += row.count("\n") + (end[0].count("\n") if end else 0)
        at = end.end() if end else at


def _with_spans(rows: list[tuple[int, list[str]]]) -> Iterator[Line]:
    """Rows of plain text; a cell over several rows is in each, a head over several columns too.

    Names below such a head are joined to it with a slash.
    """
    upper: list[str] | None = None
    open_rows: dict[int, tuple[int, str]] = {}
    for i, (number, cells) in enumerate(rows):
        texts, wide = _spread(cells, open_rows)
        if i == 0 and wide and len(rows) > 1:
            upper = texts
            continue
        if upper is not None:
            texts = [f"{a}/{b}" if a and b and a != b else a or b for a, b in _pairs(upper, texts)]
            upper = None
        yield number, texts


def _pairs(upper: list[str], lower: list[str]) -> Iterator[tuple[str, str]]:
    width = max(len(upper), len(lower))
    pad = [""] * width
    return zip((upper + pad)[:width], (lower + pad)[:width], strict=True)


def _spread(cells: list[str], open_rows: dict[int, tuple[int, str]]) -> tuple[list[str], bool]:
    """The texts of a row, and whether one is over several columns; `open_rows` goes on below."""
    texts: list[str] = []
    wide = False
    for cell in cells:
        columns = 1
        rows = 0
        for kind, count in _SPAN.findall(cell):
            number = min(int(count), MAX_COLUMNS) if re.fullmatch(r"\s*\d{1,9}\s*", count) else 1
            columns, rows = (number, rows) if kind == "column" else (columns, number)
        text = _plain(_SPAN.sub("", cell))
        left, above = open_rows.get(len(texts), (0, ""))
        if rows > 1:
            open_rows[len(texts)] = (rows - 1, text)
        elif left:
            open_rows[len(texts)] = (left - 1, above)
            text = text or above
        wide = wide or columns > 1
        texts += [text] * columns
    return texts, wide


_SIGNS = {
    r"\%": "%", r"\_": "_", r"\&": "&", r"\#": "#", r"\$": "$", "{,}": ",", r"\,": "", r"\;": "",
    r"\!": "", r"\:": "", "~": " ", r"\ ": " ", "---": "-", "--": "-", r"\textendash": "-",
    r"\pm": "±", r"\times": "×", r"\alpha": "alpha", r"\beta": "beta", r"\infty": "inf",
    r"\left": "", r"\right": "",
}  # fmt: skip


def _plain(cell: str) -> str:
    """The text of a cell without commands, mathematics and braces."""
    dollar = "\0"
    text = cell.replace(r"\$", dollar).replace("$", "").replace(dollar, r"\$")
    text = _POWER.sub(lambda m: f"{m[1] or 1}e{m[2]}", text)
    text = _UNITS.sub(r"\1", text)
    for _ in range(_DEPTH):
        text = _ONE.sub(r"\1", text)
    for sign, plain in _SIGNS.items():
        text = text.replace(sign, plain)
    text = re.sub(r"\\(?:bf|it|tt|em|bfseries|itshape|ttfamily)(?![A-Za-z])", "", text)
    return re.sub(r"\s+", " ", text.replace("{", "").replace("}", "")).strip()
