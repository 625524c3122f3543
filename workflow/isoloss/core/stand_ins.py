"""Text that a user types, cut into tokens and put into a tree by Python's `ast` without being run.

The tokens are written down as an expression of stand-ins: every name and constant becomes t0, t1
and so on, signs and words stay. `ast` puts that text into a tree. What a user typed never reaches
Python, and every node leads back to its place in the text.
"""

from __future__ import annotations

import ast
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from isoloss.core.problems import IsolossError

DEEPEST = 60  # nested brackets, signs in front of a value, half the levels of a tree


@dataclass(frozen=True)
class Token:
    """A piece of a text.

    Attributes:
        kind: `name`, `quoted` (a name in backticks), `constant`, `word` (and, or, not, in, is) or
            `sign`.
        text: as it was written; of a name the column's name.
        start, end: its position in the text.
        value: of a constant.
    """

    kind: str
    text: str
    start: int
    end: int
    value: Any = None


class UnreadableError(IsolossError):
    """A text that is not an expression.

    Attributes:
        token: where reading stopped; None where the text has too many nested terms.
    """

    def __init__(self, token: Token | None):
        super().__init__("not an expression")
        self.token = token


def shortened(text: str, most: int = 120) -> str:
    """A text, shortened for an error message."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


def too_deep(tokens: Sequence[Token]) -> Token | None:
    """The first token at which brackets or signs in front of a value are nested too deeply."""
    depth = signs = 0
    for token in tokens:
        piece = token.text if token.kind in ("sign", "word") else ""
        depth += (piece in ("(", "[")) - (piece in (")", "]"))
        signs = signs + 1 if piece in ("+", "-", "~", "not") else 0
        if max(depth, signs) > DEEPEST:
            return token
    return None


class StandIns:
    """The tokens of a text, and the tree that `ast` makes of them.

    Args:
        text: that was cut.
        tokens: all of it.
        spelling: how Python writes signs that the text's grammar writes in another way.
    """

    def __init__(self, text: str, tokens: Sequence[Token], spelling: Mapping[str, str]):
        self.text, self.tokens = text, tokens
        written, self.starts = [], []
        length = 0
        for i, token in enumerate(tokens):
            piece = spelling.get(token.text, token.text)
            piece = piece if token.kind in ("sign", "word") else f"t{i}"
            self.starts.append(length)
            written.append(piece)
            length += len(piece) + 1
        self.written = " ".join(written)

    def tree(self) -> ast.expr:
        """The tree of stand-ins.

        Raises:
            UnreadableError: the tokens are not an expression, or too many terms are nested.
        """
        try:
            tree = ast.parse(self.written, mode="eval").body
        except SyntaxError as error:
            at = (error.offset or len(self.written)) - 1  # at the end of the text there is none
            raise UnreadableError(self.tokens[self._number(at)]) from error
        except (ValueError, MemoryError, RecursionError) as error:
            raise UnreadableError(None) from error
        level, depth = [tree], 0
        while level:
            level = [below for node in level for below in ast.iter_child_nodes(node)]
            depth += 1
            if depth > 2 * DEEPEST:
                raise UnreadableError(None)
        return tree

    def _number(self, at: int) -> int:
        """The index of the token at a character of the text written for Python."""
        return max(0, bisect_right(self.starts, at) - 1)

    def span(self, node: ast.AST) -> tuple[int, int]:
        """The position of a node in the text."""
        first = self.tokens[self._number(node.col_offset)]
        return first.start, self.tokens[self._number(node.end_col_offset - 1)].end

    def source(self, node: ast.AST) -> str:
        """The source text of a node, for errors."""
        start, end = self.span(node)
        return shortened(self.text[start:end])

    def token(self, node: ast.AST) -> Token | None:
        """The token of a name or constant; None of another node."""
        return self.tokens[int(node.id[1:])] if isinstance(node, ast.Name) else None

    def word(self, written: str | None) -> str:
        """The name that a stand-in (of an attribute or keyword) stands for."""
        return self.tokens[int(written[1:])].text if written else ""
