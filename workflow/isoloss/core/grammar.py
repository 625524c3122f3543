"""The grammar of filters: from text to a tree of terms, without looking at any table.

A filter is read in two steps. `tokens` cuts the text into names, numbers, texts and signs, and
refuses every other character. The tokens are then written down as an expression of stand-ins,
which Python's `ast` puts into a tree; nothing is compiled or run. `read` keeps of that tree what
the grammar has and refuses the rest with its place.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any, NoReturn

from isoloss.core.problems import Problem, TableError
from isoloss.core.stand_ins import DEEPEST, StandIns, Token, UnreadableError, shortened, too_deep

LONGEST = 10_000  # characters of a filter
GREATEST_EXPONENT = 100
MOST_DIGITS = 20  # that `round` takes

AGGREGATES = ("min", "max", "mean", "count", "last")
RANKED = ("quantile", "largest", "smallest")  # aggregates with a number: a share, or a rank
NUMERIC = ("abs", "log", "exp", "round")
TEXTUAL = ("startswith", "endswith", "contains")
FUNCTIONS = ("isna", *NUMERIC, *TEXTUAL, *AGGREGATES, *RANKED)
ALLOWED = (
    'allowed are columns, numbers, "text", True and False, == != < <= > >=, in [...], '
    "and or not, + - * / // % **, isna abs log exp round, startswith endswith contains, "
    "min max mean count last quantile largest smallest (with by=)"
)
_COMPARISONS = {
    ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=",
}  # fmt: skip
_ARITHMETIC = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.FloorDiv: "//", ast.Mod: "%",
    ast.Pow: "**",
}  # fmt: skip
_SIGNS = {"&": "and", "|": "or"}  # as pandas reads them: weaker than comparisons
_CONSTANTS = {"True": True, "False": False, "None": None}
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<quoted>`(?:[^`]|``)*`)
    |(?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    |(?P<number>(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9][0-9_]*)?)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>\*\*|//|==|!=|<>|<=|>=|[-+*/%<>=&|~()\[\],.])""",
    re.VERBOSE | re.DOTALL,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)", re.DOTALL)
_TOO_LARGE, _AS_FLOAT = "is an integer of more than 64 bits", "write it as a float, such as 1e20"
_STRAY = {
    "@": "write the value itself: a filter sees the table and nothing else",
    "^": "a power is written **",
    "!": "write `not`",
    "{": "write a list in [ ]",
    "}": "write a list in [ ]",
    ":": "a part of a text is asked for with startswith, endswith or contains",
    ";": "join two filters with `and`",
    "`": "the backtick is not closed",
    '"': "the text is not closed",
    "'": "the text is not closed",
    "\\": "only texts have backslashes",
    "$": "write a name with this sign in backticks",
    "#": "write a name with this sign in backticks",
    "?": "write a name with this sign in backticks",
}


@dataclass(frozen=True)
class Expression:
    """A part of a filter.

    Attributes:
        kind: `column`, `constant`, `and`, `or`, `not`, `arithmetic`, `comparison`, `in` or `call`.
        parts: the terms inside it.
        start, end: its position in the filter.
        value: name of the column; the constant; sign (of `arithmetic`), signs (of a
            `comparison`, one fewer than its parts); the constants of an `in`; name of the function.
        by: columns whose values divide the rows of an aggregate.
    """

    kind: str
    parts: tuple[Expression, ...]
    start: int
    end: int
    value: Any = None
    by: tuple[str, ...] = ()


def columns(term: Expression) -> Iterator[str]:
    """The columns that an expression names, as they are written in the filter."""
    if term.kind == "column":
        yield term.value
    yield from term.by
    for part in term.parts:
        yield from columns(part)


def refuse(text: str, place: str, start: int, reason: str, remedy: str) -> NoReturn:
    """Raise a TableError that points at a character of a filter."""
    shown = f"{place}: {shortened(text)!r}, character {start + 1}"
    raise TableError(Problem(shown, _one_line(reason), _one_line(remedy)))


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def read(text: str, place: str) -> Expression:
    """Parse a filter into a tree of expressions.

    Args:
        text: the filter.
        place: where it stands, for errors.

    Raises:
        TableError: it is not a filter: what is wrong, where, and what is allowed.
    """
    if not isinstance(text, str):
        do = "write an expression, such as `loss < 3.5`"
        raise TableError(Problem(place, f"the filter {text!r:.60} is not a text", do))
    return _read(text, place)


@lru_cache(maxsize=256)
def _read(text: str, place: str) -> Expression:
    if "\0" in text or text != text.encode("utf-8", "ignore").decode("utf-8"):
        reason = f"the filter {text!r:.60} has a character that is not allowed in text"
        raise TableError(Problem(place, reason, "remove it"))
    if not text.strip():
        raise TableError(Problem(place, "the filter is empty", "write one, such as `loss < 3.5`"))
    if len(text) > LONGEST:
        reason = f"the filter has {len(text)} characters, at most {LONGEST} are read"
        raise TableError(
            Problem(place, reason, "split it into several filters, or add a column to the table")
        )
    return _Reader(text, place).term()


class _Lexer:
    """Cuts a filter into tokens."""

    def __init__(self, text: str, place: str):
        self.text, self.place = text, place

    def refuse(self, start: int, reason: str, remedy: str = ALLOWED) -> NoReturn:
        refuse(self.text, self.place, start, reason, remedy)

    def tokens(self) -> list[Token]:
        """All tokens; brackets and signs in front of values are not too many."""
        tokens, at = [], 0
        while at < len(self.text):
            match = _TOKEN.match(self.text, at)
            if match is None:
                reason = f"{self.text[at]!r} is not part of a filter"
                hint = _STRAY.get(self.text[at])
                self.refuse(at, reason, f"{hint}; {ALLOWED}" if hint else ALLOWED)
            if match.lastgroup != "space":
                tokens.append(self._token(match.lastgroup, match[0], at))
            at = match.end()
        self._check_depth(tokens)
        self._check_neighbours(tokens)
        return tokens

    def _token(self, kind: str, text: str, start: int) -> Token:
        end = start + len(text)
        if kind == "quoted":
            return Token("quoted", text[1:-1].replace("``", "`"), start, end)
        if kind == "text":
            return Token("constant", text, start, end, self._text(text, start))
        if kind == "number":
            return Token("constant", text, start, end, self._number(text, start))
        if kind == "sign":
            return Token("sign", text, start, end)
        if text in _CONSTANTS:
            return Token("constant", text, start, end, _CONSTANTS[text])
        if text in ("and", "or", "not", "in", "is"):
            return Token("word", text, start, end)
        if keyword.iskeyword(text) or not text.isidentifier():
            do = f"write a column of this name in backticks: `{text}`; {ALLOWED}"
            self.refuse(start, f"{text!r} is not a name", do)
        return Token("name", text, start, end)

    def _text(self, text: str, start: int) -> str:
        """The value of a quoted token; backslashes have the same meaning as in Python."""
        try:
            value = _ESCAPE.sub(_unescaped, text[1:-1])
            value.encode()
        except (ValueError, OverflowError):
            self.refuse(
                start, f"{text!r:.60} has a character that is not allowed in text", "give another"
            )
        return value

    def _number(self, text: str, start: int) -> int | float:
        digits = text.replace("_", "")
        try:
            if digits.isdigit():  # one more than fits, which -2**63 needs, is refused later
                if len(digits) > 19 or int(digits) > 2**63:
                    self.refuse(start, f"{text:.30} {_TOO_LARGE}", _AS_FLOAT)
                return int(digits)
            value = float(digits)
        except ValueError:
            self.refuse(start, f"{text:.30} is not a number")
        if value == float("inf"):
            self.refuse(start, f"{text:.30} is too large for a number", "at most 1.7e308")
        return value

    def _check_depth(self, tokens: list[Token]) -> None:
        if (token := too_deep(tokens)) is not None:
            reason = f"more than {DEEPEST} nested brackets or signs"
            self.refuse(token.start, reason, "simplify it")

    def _check_neighbours(self, tokens: list[Token]) -> None:
        """Refuse what Python would parse in another way than the user meant."""
        values = ("name", "quoted", "constant")
        for one, two in pairwise(tokens):
            pair = one.text + two.text
            if one.kind == two.kind == "sign" and pair in ("&&", "||"):
                self.refuse(two.start, f"{pair!r} is not part of a filter", "write `and` or `or`")
            if one.kind in values and two.kind in values:
                reason = f"{self.text[two.start : two.end]:.60} follows a value"
                if one.kind == "name" and one.end == two.start and self.text[two.start] in "'\"":
                    do = f'no letters are allowed before a text: "...", not {one.text}"..."'
                else:
                    do = "put a sign or a comma between; write a name with spaces in backticks"
                self.refuse(two.start, reason, do)
        for token in tokens:
            if token.kind == "sign" and token.text == "<>":
                self.refuse(token.start, "'<>' is not part of a filter", "write !=")


def _unescaped(match: re.Match) -> str:
    """The character that a backslash and what follows it stand for."""
    after = match[1]
    if len(after) > 1:
        return chr(int(after[1:], 16))
    return {"n": "\n", "t": "\t", "r": "\r", "\n": ""}.get(
        after, after if after in "\\'\"" else match[0]
    )


class _Reader(StandIns):
    """Reads the tree of a filter from its tokens."""

    def __init__(self, text: str, place: str):
        self.place = place
        super().__init__(text, _Lexer(text, place).tokens(), _SIGNS)

    def term(self) -> Expression:
        """The whole filter."""
        try:
            tree = self.tree()
        except UnreadableError as error:
            self._refuse_unreadable(error.token)
        return self._read(tree)

    def refuse(self, start: int, reason: str, remedy: str = ALLOWED) -> NoReturn:
        refuse(self.text, self.place, start, reason, remedy)

    def _refuse_unreadable(self, token: Token | None) -> NoReturn:
        if token is None:
            self.refuse(0, "too many nested terms", "simplify it")
        equals = [t for t in self.tokens if t.kind == "sign" and t.text == "="]
        if equals:
            self.refuse(equals[0].start, "'=' is not a comparison", "write == to compare")
        reason = f"cannot be read at or after {self.text[token.start : token.end]!r:.60}"
        do = f"write a name with spaces or signs in backticks; {ALLOWED}"
        self.refuse(token.start, reason, do)

    def _read(self, node: ast.AST) -> Expression:
        start, end = self.span(node)
        match node:
            case ast.Name():
                return self._name(node, start, end)
            case ast.BoolOp(op, parts):
                kind = "and" if isinstance(op, ast.And) else "or"
                return Expression(kind, tuple(map(self._read, parts)), start, end)
            case ast.UnaryOp(ast.Not() | ast.Invert(), operand):
                return Expression("not", (self._read(operand),), start, end)
            case ast.UnaryOp(op, operand):
                return self._signed(op, operand, start, end)
            case ast.BinOp(left, op, right):
                return self._arithmetic(_ARITHMETIC[type(op)], left, right, start, end)
            case ast.Compare(left, ops, others):
                return self._comparison(ops, [left, *others], start, end)
            case ast.Call():
                return self._call(node, start, end)
        self._refuse_node(node, start)

    def _name(self, node: ast.Name, start: int, end: int) -> Expression:
        token = self.token(node)
        if token.kind != "constant":
            return Expression("column", (), start, end, token.text)
        if token.value is None:
            self.refuse(
                start, "a comparison with None is never true", "write isna(...) for what is missing"
            )
        if type(token.value) is int and token.value == 2**63:
            self.refuse(start, f"{token.text} {_TOO_LARGE}", _AS_FLOAT)
        return Expression("constant", (), start, end, token.value)

    def _signed(self, op: ast.unaryop, operand: ast.AST, start: int, end: int) -> Expression:
        sign, token = "-" if isinstance(op, ast.USub) else "+", self.token(operand)
        if token is not None and type(token.value) in (int, float) and sign == "-":
            return Expression("constant", (), start, end, -token.value)
        zero = Expression("constant", (), start, start, 0)
        return Expression("arithmetic", (zero, self._read(operand)), start, end, sign)

    def _arithmetic(
        self, sign: str, left: ast.AST, right: ast.AST, start: int, end: int
    ) -> Expression:
        one, two = self._read(left), self._read(right)
        if sign == "**":
            exponent = _folded(two)
            if exponent is None or not abs(exponent) <= GREATEST_EXPONENT:
                reason = f"the exponent {self.source(right)!r:.60}"
                most = GREATEST_EXPONENT
                do = f"an exponent is a number between -{most} and {most}; {ALLOWED}"
                self.refuse(two.start, reason, do)
            two = Expression("constant", (), two.start, two.end, float(exponent))
        return Expression("arithmetic", (one, two), start, end, sign)

    def _comparison(self, ops: list, sides: list, start: int, end: int) -> Expression:
        for op, left, right in zip(ops, sides, sides[1:], strict=False):
            one, two = self.source(left), self.source(right)
            none = [s for s, node in ((one, right), (two, left)) if self._is_none(node)]
            if none:
                negated = "not " if isinstance(op, ast.IsNot | ast.NotEq | ast.NotIn) else ""
                do = f"write {negated}isna({none[0]})"
                self.refuse(self.span(left)[0], "a comparison with None is never true", do)
            if isinstance(op, ast.Is | ast.IsNot):
                self.refuse(self.span(left)[0], "'is' is not part of a filter", "write == or !=")
            if isinstance(op, ast.Eq | ast.NotEq) and isinstance(right, ast.List | ast.Tuple):
                word = "in" if isinstance(op, ast.Eq) else "not in"
                do = f"write {one} {word} [...]"
                self.refuse(self.span(right)[0], "a list cannot be compared", do)
        if isinstance(ops[0], ast.In | ast.NotIn) and len(ops) == 1:
            return self._membership(ops[0], *sides, start, end)
        strange = [op for op in ops if type(op) not in _COMPARISONS]
        if strange:
            self.refuse(start, "`in` is part of a chain", "put it in brackets: (x in [...])")
        signs = tuple(_COMPARISONS[type(op)] for op in ops)
        return Expression("comparison", tuple(map(self._read, sides)), start, end, signs)

    def _is_none(self, node: ast.AST) -> bool:
        token = self.token(node)
        return token is not None and token.kind == "constant" and token.value is None

    def _membership(self, op, left: ast.AST, right: ast.AST, start: int, end: int) -> Expression:
        if not isinstance(right, ast.List | ast.Tuple):
            token = self.token(left)
            one, two = self.source(left), self.source(right)
            if token is not None and isinstance(token.value, str):
                do = f"write contains({two}, {one})"
            else:
                do = f"write {one} in [...], or {one} == {two} for one value"
            self.refuse(self.span(right)[0], "`in` needs a list of values", do)
        values = []
        for node in right.elts:
            if self._is_none(node):
                do = f"write ... or isna({self.source(left)})"
                self.refuse(self.span(node)[0], "a comparison with None is never true", do)
            term = self._read(node)
            if term.kind != "constant":
                do = "a list has numbers, texts, True and False; compare columns with =="
                self.refuse(term.start, f"{self.source(node)!r:.60} in a list", do)
            values.append(term.value)
        member = Expression("in", (self._read(left),), start, end, tuple(values))
        return Expression("not", (member,), start, end) if isinstance(op, ast.NotIn) else member

    def _call(self, node: ast.Call, start: int, end: int) -> Expression:
        if isinstance(node.func, ast.Attribute):
            ranked = self._ranked(node, start, end)
            return ranked or self._refuse_node(node, start)
        token = self.token(node.func)
        if token is None or token.kind != "name" or token.text not in FUNCTIONS:
            self._refuse_node(node, start)
        name, arguments = token.text, node.args
        by = self._by(node, name)
        counts = (1, 2) if name == "round" else (2,) if name in TEXTUAL + RANKED else (1,)
        if len(arguments) not in counts or any(isinstance(a, ast.Starred) for a in arguments):
            reason = f"{name}(...) with {len(arguments)} values"
            self.refuse(start, reason, f"write {_written(name)}")
        terms = [self._read(argument) for argument in arguments]
        self._check_second(name, terms)
        return Expression("call", tuple(terms), start, end, name, by)

    def _by(self, node: ast.Call, name: str) -> tuple[str, ...]:
        if not node.keywords:
            return ()
        given = node.keywords[0]
        start = self.span(given)[0]
        if len(node.keywords) > 1 or self.word(given.arg) != "by":
            self.refuse(start, "only by= has a name", f"write {_written(name)}")
        if name not in AGGREGATES + RANKED:
            self.refuse(start, f"{name} takes no by=", f"write {_written(name)}")
        listed = isinstance(given.value, ast.List | ast.Tuple)
        nodes = given.value.elts if listed else [given.value]
        tokens = [self.token(n) for n in nodes]
        if not tokens or any(t is None or t.kind == "constant" for t in tokens):
            argument = f"by={self.source(given.value)}"
            self.refuse(
                start, f"{argument:.60} names no column", "write by=NAME or by=[NAME, NAME]"
            )
        return tuple(token.text for token in tokens)

    def _check_second(self, name: str, terms: list[Expression]) -> None:
        """The second value of a function is a constant of its kind."""
        if len(terms) < 2:
            return
        value, start = terms[1].value, terms[1].start
        constant = terms[1].kind == "constant"
        if name in TEXTUAL and not (constant and isinstance(value, str)):
            self.refuse(start, f"{name} looks for a text", f'write {name}(x, "text")')
        whole = constant and type(value) is int
        if name == "round" and not (whole and abs(value) <= MOST_DIGITS):
            do = f"write a whole number between -{MOST_DIGITS} and {MOST_DIGITS}"
            self.refuse(start, "round takes a number of digits", do)
        if name in ("largest", "smallest") and not (whole and value >= 1):
            self.refuse(start, f"{name} takes a rank", f"write {name}(x, 5) for the fifth")
        share = constant and type(value) in (int, float) and 0 <= value <= 1
        if name == "quantile" and not share:
            self.refuse(start, "quantile takes a share from 0 to 1", "write quantile(x, 0.95)")

    def _ranked(self, node: ast.Call, start: int, end: int) -> Expression | None:
        """x.nlargest(k).min(), the one spelling of pandas that published studies have."""
        match node:
            case ast.Call(
                ast.Attribute(ast.Call(ast.Attribute(x, inner), [ast.Name() as k], []), outer),
                [],
                [],
            ):
                spelling = self.word(inner), self.word(outer)
                if spelling in _SPELLINGS:
                    terms = [self._read(x), self._read(k)]
                    self._check_second(_SPELLINGS[spelling], terms)
                    return Expression("call", tuple(terms), start, end, _SPELLINGS[spelling])
        return None

    def _refuse_node(self, node: ast.AST, start: int) -> NoReturn:
        """Refuse a node that filters do not have, and say what to write instead."""
        hint = self._translated(node)
        do = f"write {hint}; {ALLOWED}" if hint else ALLOWED
        match node:
            case ast.Call(func):
                reason = f"the call of {self.source(func)!r:.60} is not part of a filter"
            case ast.Attribute(_, name):
                reason = f"the attribute {'.' + self.word(name)!r:.60} is not part of a filter"
            case ast.Subscript():
                reason = "[...] after a value is not part of a filter"
            case ast.List() | ast.Tuple():
                reason, do = "a list without `in`", f"write a list after `in`; {ALLOWED}"
            case _:
                reason = f"{self.source(node)!r:.60} is not part of a filter"
        self.refuse(start, reason, do)

    def _translated(self, node: ast.AST) -> str:
        """The filter that does what an expression of pandas does; empty if there is none."""
        if isinstance(node, ast.Subscript | ast.Attribute):
            token = self.token(node.value)
            dotted = self.source(node)
            if isinstance(node, ast.Attribute) and token is not None and token.kind == "name":
                return f"`{dotted}` in backticks if that is a column's name"
            return ""
        if not isinstance(node, ast.Call):
            return ""
        values = [self.source(value) for value in node.args]
        if isinstance(node.func, ast.Name):
            return _of_function(self.token(node.func).text, values)
        if not isinstance(node.func, ast.Attribute):
            return ""
        method, whole = self.word(node.func.attr), node.func.value
        if isinstance(whole, ast.Attribute) and self.word(whole.attr) == "str":
            of = ", ".join([self.source(whole.value), *values[:1]])
            return f"{method}({of})" if method in TEXTUAL else ""
        if (grouped := self._grouped(node)) is not None:
            return grouped
        return _of_method(method, self.source(whole), values)

    def _grouped(self, node: ast.Call) -> str | None:
        """An aggregate for x.groupby(key).max() and x.groupby(key).transform("max")."""
        method, whole = self.word(node.func.attr), node.func.value
        if method == "transform" and len(node.args) == 1:
            token = self.token(node.args[0])
            method = token.value if token is not None else None
        value = None
        if isinstance(whole, ast.Attribute):
            value, whole = self.word(whole.attr), whole.value
        called = isinstance(whole, ast.Call) and isinstance(whole.func, ast.Attribute)
        if not (called and self.word(whole.func.attr) == "groupby" and len(whole.args) == 1):
            return None
        name = method if method in AGGREGATES else "max"
        of = value or self.source(whole.func.value)
        return f"{name}({of}, by={self.source(whole.args[0])})"


_SPELLINGS = {("nlargest", "min"): "largest", ("nsmallest", "max"): "smallest"}


def _written(name: str) -> str:
    """How a function is written."""
    if name in TEXTUAL:
        return f'{name}(x, "text")'
    if name in RANKED:
        return f"{name}(x, {0.95 if name == 'quantile' else 5}) or with by=NAME"
    if name in AGGREGATES:
        return f"{name}(x) or {name}(x, by=NAME)"
    return "round(x) or round(x, 2)" if name == "round" else f"{name}(x)"


def _folded(term: Expression) -> float | None:
    """A number that is written out, such as 2 or -1/3; None of anything else."""
    if term.kind == "constant" and type(term.value) in (int, float):
        return float(term.value)
    if term.kind != "arithmetic" or term.value not in ("+", "-", "*", "/"):
        return None
    one, two = map(_folded, term.parts)
    if one is None or two is None or (term.value == "/" and two == 0):
        return None
    signs = {"+": float.__add__, "-": float.__sub__, "*": float.__mul__, "/": float.__truediv__}
    return signs[term.value](one, two)


def _of_function(name: str, values: list[str]) -> str:
    """The filter that does what a function of Python or NumPy does."""
    of = values[0] if values else "x"
    return {
        "len": f"count({of})",
        "sqrt": f"{of} ** 0.5",
        "log10": f"log({of}) / log(10)",
        "log2": f"log({of}) / log(2)",
        "floor": f"{of} // 1",
        "isnull": f"isna({of})",
        "notna": f"not isna({of})",
        "notnull": f"not isna({of})",
        "median": f"quantile({of}, 0.5)",
        "first": f"min({of})",
    }.get(name, "")


def _of_method(name: str, of: str, values: list[str]) -> str:
    """The filter that does what a method of a pandas column does."""
    one, two = [*values, "...", "..."][:2]
    compared = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}
    if name in compared:
        return f"{of} {compared[name]} {one}"
    if name in ("np", "numpy"):
        return ""
    if of in ("np", "numpy", "pd", "pandas", "math"):
        return f"{name}({one})" if name in FUNCTIONS else _of_function(name, values)
    if name in AGGREGATES:
        return f"{name}({of}) or {name}({of}, by=NAME)"
    return {
        "isna": f"isna({of})",
        "isnull": f"isna({of})",
        "notna": f"not isna({of})",
        "notnull": f"not isna({of})",
        "isin": f"{of} in {one}",
        "between": f"{one} <= {of} <= {two}",
        "abs": f"abs({of})",
        "round": f"round({of})",
        "quantile": f"quantile({of}, {one})",
        "median": f"quantile({of}, 0.5)",
        "nlargest": f"largest({of}, {one})",
        "nsmallest": f"smallest({of}, {one})",
        "transform": f"max({of}, by=NAME)",
        "groupby": f"max({of}, by={one})",
    }.get(name, "")
