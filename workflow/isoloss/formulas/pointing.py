"""Errors of a formula, with the text and a caret under the place."""

from __future__ import annotations

import unicodedata
from typing import NoReturn

from isoloss.core.problems import IsolossError, Problem

WIDEST = 100  # characters of the text that an error shows


def refuse(text: str, place: str, start: int, reason: str, remedy: str) -> NoReturn:
    """Raise an error that shows the text with a caret under one of its characters.

    Args:
        text: the formula.
        place: where it stands: an argument, a key of a study.
        start: position of the character.
        reason: what is wrong there.
        remedy: what to do.

    Raises:
        IsolossError: always.
    """
    raise IsolossError(Problem(place, _printable(reason), pointed(text, start, remedy)))


def pointed(text: str, start: int, remedy: str) -> str:
    """A remedy, and below it the line of a text with a caret under one of its characters."""
    start = min(max(start, 0), len(text))
    begin = max((text.rfind(end, 0, start) for end in "\n\r;"), default=-1) + 1
    after = [at for end in "\n\r;" if (at := text.find(end, start)) >= 0]
    line, column = text[begin : min(after, default=len(text))], start - begin
    first = max(0, column - WIDEST // 2) if len(line) > WIDEST else 0
    shown, before = line[first : first + WIDEST], line[first:column]
    lead = "..." if first else ""
    space = " " * (len(lead) + sum(map(_width, before)))
    return f"{_printable(remedy)}\n    {lead}{_printable(shown)}\n    {space}^"


def _printable(text: str) -> str:
    return "".join(" " if c.isspace() else c if c.isprintable() else repr(c)[1:-1] for c in text)


def _width(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    shown = _printable(character)
    return sum(2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in shown)
