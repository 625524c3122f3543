"""The same words and tables as Markdown and as LaTeX."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from isoloss.core import escape
from isoloss.formulas import latex_name

TEXT, NUMBER, SYMBOL, MATH = "text", "number", "symbol", "math"  # kinds of columns
_POWER = re.compile(r"([\d.]+)e(-?\d+)")
_GREEK = "".join(escape.GREEK)
_PART = rf"(?:[A-Za-z0-9]+|[{_GREEK}])"  # of a name: a word, a number or a Greek letter
_NAME = re.compile(rf"(?!\d){_PART}(?:_{_PART})*")  # that is set as those of formulas are


@dataclass(frozen=True)
class Column:
    """A column of a table on a page.

    Attributes:
        name: its head.
        kind: TEXT from anywhere, NUMBER as Python writes it (`6.4e13`, `[0.3, inf]`), SYMBOL of a
            law's term, or MATH, a formula in LaTeX.
        cells: one a row; an empty one of NUMBER is not known.
    """

    name: str
    kind: str
    cells: Sequence[str]


def filled(columns: Sequence[Column]) -> list[Column]:
    """The columns without those in which every cell is empty."""
    return [column for column in columns if any(column.cells)]


class Markdown:
    """Markdown with formulas between dollars, and citations as Pandoc reads them."""

    def text(self, text: object) -> str:
        """Text from data."""
        return escape.markdown(text)

    def math(self, formula: str) -> str:
        """A formula."""
        return f"${formula}$"

    def cell_math(self, formula: str) -> str:
        """A formula in a table, whose columns `|` divides."""
        return self.math(formula.replace("|", r"\vert ").strip())

    def number(self, text: str) -> str:
        """A number or an interval, in a table."""
        return text.replace("inf", "∞")

    def power(self, text: str) -> str:
        """A number in a sentence: a formula where it has a power of ten."""
        return f"${_POWER.sub(_of_ten, text)}$" if _POWER.search(text) else text

    def symbol(self, symbol: str) -> str:
        """The symbol of a term."""
        return escape.markdown(symbol)

    def cite(self, keys: Sequence[str]) -> str:
        """A citation behind a word; nothing without keys."""
        return " [" + "; ".join(f"@{key}" for key in keys) + "]" if keys else ""

    def percent(self, share: float) -> str:
        """A share in percent."""
        return f"{100 * share:.4g} %"

    def table(self, columns: Sequence[Column]) -> str:
        """A table of GitHub's Markdown."""
        head = [self.text(column.name) for column in columns]
        rules = ["---:" if column.kind == NUMBER else "---" for column in columns]
        cells = [self.cells(column, "–") for column in columns]
        return "".join(f"| {' | '.join(line)} |\n" for line in (head, rules, *_rows(cells)))

    def cells(self, column: Column, unknown: str) -> list[str]:
        """The cells of a column; `unknown` for a number that is not known."""
        if column.kind == NUMBER:
            return [self.number(cell) if cell else unknown for cell in column.cells]
        written = {SYMBOL: self.symbol, MATH: self.cell_math}.get(column.kind, self.text)
        return [written(cell) if cell else "" for cell in column.cells]


class Latex(Markdown):
    """LaTeX: citations by `cite`, tables of the package booktabs."""

    def text(self, text: object) -> str:
        """Text from data."""
        return escape.latex(text)

    def number(self, text: str) -> str:
        """A number or an interval, in a table: a formula."""
        return f"${_POWER.sub(_of_ten, text).replace('inf', chr(92) + 'infty')}$"

    def symbol(self, symbol: str) -> str:
        """The symbol of a term."""
        return f"${latex_symbol(symbol)}$"

    def cite(self, keys: Sequence[str]) -> str:
        """A citation behind a word; nothing without keys."""
        return rf"~\cite{{{','.join(keys)}}}" if keys else ""

    def percent(self, share: float) -> str:
        """A share in percent."""
        return rf"{100 * share:.4g}\,\%"

    def table(self, columns: Sequence[Column]) -> str:
        """A tabular of the package booktabs."""
        places = "".join("r" if column.kind == NUMBER else "l" for column in columns)
        head = " & ".join(self.text(column.name).replace(r" \%", r"\,\%") for column in columns)
        cells = [self.cells(column, "--") for column in columns]
        rows = [" & ".join(line) + r" \\" for line in _rows(cells)]
        begin = [rf"\begin{{tabular}}{{{places}}}", r"\toprule", head + r" \\", r"\midrule"]
        return "\n".join([*begin, *rows, r"\bottomrule", r"\end{tabular}", ""])


def _rows(cells: Sequence[Sequence[str]]) -> list[tuple[str, ...]]:
    return list(zip(*cells, strict=True))


def _of_ten(match: re.Match) -> str:
    """A number as a product with a power of ten; 1e20 as the power alone."""
    power = f"10^{{{match[2]}}}"
    return power if match[1] == "1" else rf"{match[1]} \times {power}"


def latex_symbol(symbol: str) -> str:
    r"""A term's symbol in a formula: Greek by name, indices in braces, domains by their names.

    >>> latex_symbol("α_N"), latex_symbol("R_D*")
    ('\\alpha_{N}', 'R_{D}^*')
    >>> print(latex_symbol("best"), latex_symbol("N_half"), latex_symbol("t0"))
    \mathrm{best} N_{\mathrm{half}} t_{0}
    """
    bare, star = symbol.removesuffix("*"), "^*" if symbol.endswith("*") else ""
    if _NAME.fullmatch(bare):
        return latex_name(bare) + star
    base, _, index = bare.partition("_")
    base = escape.GREEK.get(base, base)
    if not re.fullmatch(r"\\?[A-Za-z]+", base, re.ASCII):
        return rf"\mbox{{{escape.latex(symbol)}}}"
    if re.fullmatch(r"\w*", index, re.ASCII):
        index = escape.latex(index) if index else ""
    else:
        index = escape.GREEK.get(index) or rf"\mbox{{\scriptsize {escape.latex(index)}}}"
    return base + (f"_{{{index}}}" if index else "") + star
