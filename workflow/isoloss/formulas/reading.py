"""From the text of a formula to its tree, and to names of variables and parameters.

Nothing of the text is compiled or run: it is cut into tokens, `ast` puts stand-ins for them into a
tree (core/stand_ins.py), and of that tree only what the grammar has is kept.
"""

from __future__ import annotations

import ast
import difflib
import keyword
import math
import re
import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import NoReturn

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.stand_ins import StandIns, Token, UnreadableError, too_deep
from isoloss.formulas import pointing
from isoloss.formulas.tree import (
    COMPARISONS,
    FUNCTIONS,
    MANY_ARGUMENTS,
    ONE_ARGUMENT,
    Node,
    named,
    names_of,
    number,
    put_in,
    size_of,
)

RESERVED = (
    "np",
    "minimum",
    "maximum",
    "inf",
    "nan",
)  # names that an exported law.py has of its own
LONGEST = 4_000  # characters of a formula
LARGEST = 1_500  # nodes of its tree, definitions put in
DEEPEST = 100  # levels of its tree, definitions put in
GREATEST_EXPONENT = 100.0  # of the exponents that are constants
_LONG_WORD = 5  # letters of a word of a column's name, and of a name that is compared with it
_CLOSE_WORD = 0.8  # how much they may resemble each other
CLOSE = 0.75  # how much a parameter's name may resemble a column's before it is a misspelling
ALLOWED = (
    "allowed are names, numbers, + - * / **, brackets, exp log log2 log10 sqrt tanh sigmoid "
    "softplus min max abs, and where(a < b, x, y)"
)
_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<number>(?:[0-9][0-9_]*\.?[0-9_]*|\.[0-9][0-9_]*)(?:[eE][-+]?[0-9][0-9_]*)?)
    |(?P<name>[^\W\d]\w*)
    |(?P<sign>\*\*|==|!=|<=|>=|≤|≥|[-+*/^<>=(),;·×−])""",
    re.VERBOSE,
)
_SPELLING = {"^": "**", "≤": "<=", "≥": ">=", "·": "*", "×": "*", "−": "-"}
_ARITHMETIC = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
_SIGNS = {
    ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">=", ast.Eq: "==", ast.NotEq: "!=",
}  # fmt: skip
_JOINTS = (*"+-*/^<>=,·×−≤≥", "**", "<=", ">=")  # a statement goes on behind and before them
_STRAY = {
    "[": "write ( )",
    "]": "write ( )",
    "{": "write ( )",
    "}": "write ( )",
    "%": "write a share as a number, such as 0.2",
    ".": "a name has letters, digits and _ only; rename the column with --columns",
    ":": "statements are separated by ; or line ends",
    "`": "a name has letters, digits and _ only; rename the column with --columns",
    '"': "a formula has no texts",
    "'": "a formula has no texts",
    "&": "a condition is one comparison",
    "|": "a condition is one comparison",
    "√": "write sqrt(...)",
    "\\": "write Greek letters by their names, such as alpha",
    "_": "a name begins with a letter",
    "#": "a formula has no comments",
}
_OTHER_NAMES = {
    "ln": "log", "logistic": "sigmoid", "expit": "sigmoid", "pow": "**", "power": "**",
    "minimum": "min", "maximum": "max", "if": "where", "fabs": "abs", "loge": "log",
}  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """Bounds that a formula gives to a parameter, or to its response.

    Attributes:
        name: of the parameter or the response.
        low, high: the bounds; None where it is open. `<` and `<=` are the same.
        start: position in the text of the name in the first of its limits.
    """

    name: str
    low: float | None
    high: float | None
    start: int = field(default=0, compare=False, repr=False)


@dataclass(frozen=True)
class Formula:
    """A formula that was read.

    Attributes:
        text: as the user wrote it.
        response: name on the left side of the law; None where it is a bare expression.
        tree: the right side of the law, definitions put in.
        names: all names of the tree, in the order of their appearance in it.
        limits: of parameters and of the response, one for each name that has any.
        place: where the formula stands, for errors.
        starts: position in the text of the first appearance of every name.
        written: the law and the definitions as the user wrote them, on one line, without limits.
    """

    text: str
    response: str | None
    tree: Node
    names: tuple[str, ...]
    limits: tuple[Limit, ...]
    place: str = "formula"
    starts: dict[str, int] = field(default_factory=dict, compare=False, repr=False)
    written: str = field(default="", compare=False, repr=False)

    def refuse(self, name: str, reason: str, remedy: str) -> NoReturn:
        """Raise an error that points at the first appearance of a name.

        Raises:
            IsolossError: always.
        """
        pointing.refuse(self.text, self.place, self.starts.get(name, 0), reason, remedy)


def read_formula(text: str, place: str = "formula") -> Formula:
    """Read a law: one expression, with definitions and limits of parameters beside it.

    Statements are separated by `;` or line ends (within brackets a line end means nothing). One is
    the law, `response = expression` or a bare expression: the one that no other statement uses.
    The others are definitions of names, and limits of parameters or of the response.

    Args:
        text: the formula.
        place: where it stands, for errors.

    Raises:
        IsolossError: it is not a formula; the message shows the text with a caret under the place.

    Example:
        >>> formula = read_formula("L = E + A / (N / 1e6)**alpha; A > 0; 0 < alpha < 1")
        >>> formula.response, formula.names
        ('L', ('E', 'A', 'N', 'alpha'))
        >>> formula.limits[1]
        Limit(name='alpha', low=0.0, high=1.0)
    """
    return _read_formula(_text(text, place), place)


def read_expression(text: str, place: str = "expression") -> Node:
    """Read one expression, such as `6 * N * D`.

    Raises:
        IsolossError: it is not an expression; the message points at the place.
    """
    return _Reader(_text(text, place), place).whole()


def read_relation(text: str, place: str = "constraint") -> tuple[Node, str, Node]:
    """Read a comparison of two expressions, such as `6 * N * D <= 1e22`.

    Returns:
        The left side, the sign (< <= > >= ==; a single = is ==), the right side.

    Raises:
        IsolossError: it is not such a comparison; the message points at the place.

    Example:
        >>> left, sign, right = read_relation("6 * N * D <= 1e22")
        >>> names_of(left), sign, right.number
        (('N', 'D'), '<=', 1e+22)
    """
    reader = _Reader(_text(text, place), place)
    signs = [t for t in reader.tokens if t.kind == "sign" and t.text == "="]
    if len(signs) == 1:
        at = reader.tokens.index(signs[0])
        left, right = reader.part(0, at), reader.part(at + 1, len(reader.tokens))
        return left.whole(), "==", right.whole()
    tree = reader.tree_of_stand_ins()
    if not isinstance(tree, ast.Compare) or len(tree.ops) > 1:
        reader.refuse(0, "is not a comparison of two expressions", "write such as N * D <= 1e22")
    sign = reader.sign(tree.ops[0], tree)
    if sign == "!=":
        reader.refuse(0, "!= does not limit anything", "write <=, >= or =")
    left, right = reader.expression(tree.left), reader.expression(tree.comparators[0])
    return left, sign, right


def divide(
    formula: Formula, columns: Sequence[str], declared: Collection[str] = ()
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Variables and parameters of a formula: names that are columns, and the others.

    Args:
        formula: that was read.
        columns: names of a table's columns, letters and other names put in.
        declared: names that are parameters whatever columns they resemble.

    Returns:
        Names of variables and of parameters, each in the order of their appearance.

    Raises:
        IsolossError: a name closely resembles a column that the formula does not use; there is no
            parameter; there is no variable; the response is on both sides; or a limit is of a
            variable.

    Example:
        >>> divide(read_formula("E + A * N ** -alpha"), ["N", "D", "loss"])
        (('N',), ('E', 'A', 'alpha'))
    """
    known = {unicodedata.normalize("NFKC", str(column)): str(column) for column in columns}
    variables = tuple(name for name in formula.names if name in known)
    parameters = tuple(name for name in formula.names if name not in known)
    if formula.response in formula.names:
        remedy = "write the response on the left side only"
        formula.refuse(formula.response, f"{formula.response!r} is on both sides", remedy)
    unused = [name for name in known if name not in variables and name != formula.response]
    for name in (name for name in parameters if name not in declared):
        if near := _misspelt(name, unused):
            reason = f"{name!r} is not a column, and closely resembles the column {near!r}"
            remedy = f"write {near!r}, or give the parameter another name"
            formula.refuse(name, reason, remedy)
    if not parameters:
        do = f"every name ({', '.join(variables)}) is a column of the table"
        do = do if variables else "it has numbers alone; write such as loss = E + A / N**alpha"
        pointing.refuse(formula.text, formula.place, 0, "has no parameter to fit", do)
    if not variables:
        some = ", ".join(list(known)[:20]) or "none"
        remedy = f"name a column; columns are {some}"
        pointing.refuse(formula.text, formula.place, 0, "has no variable", remedy)
    for limit in formula.limits:
        if limit.name in known and limit.name != formula.response:
            remedy = "a limit is for parameters; choose runs by --keep (in a study `where`)"
            reason = f"the limit of {limit.name!r} is of a column"
            pointing.refuse(formula.text, formula.place, limit.start, reason, remedy)
    return variables, parameters


def _misspelt(name: str, columns: Sequence[str]) -> str:
    """The unused column that a name resembles too much; empty if there is none."""
    same = [column for column in columns if len(column) > 1 and column.lower() == name.lower()]
    if same:
        return same[0]
    if len(name) < 3:
        return ""
    long = [column for column in columns if len(column) >= 3]
    near = difflib.get_close_matches(name, long, n=1, cutoff=CLOSE)
    return near[0] if near else _misspelt_word(name, long)


def _misspelt_word(name: str, columns: Sequence[str]) -> str:
    """The column of several words of which a name closely resembles a long one; else empty.

    >>> _misspelt_word("exprts", ["num_experts", "tokens"]), _misspelt_word("rate", ["lr_rates"])
    ('num_experts', '')
    """
    words = {column: re.split(r"[\W_]+", column.lower()) for column in columns}
    for column, parts in words.items():
        long = [word for word in parts if len(word) >= _LONG_WORD and len(parts) > 1]
        if len(name) >= _LONG_WORD and difflib.get_close_matches(
            name.lower(), long, n=1, cutoff=_CLOSE_WORD
        ):
            return column
    return ""


def _misspelt_function(name: str) -> str:
    """The function of which a name has one letter wrong; empty if there is none.

    Names of other functions, such as sin and tan, are not misspelt.

    >>> _misspelt_function("sqr"), _misspelt_function("Exp"), _misspelt_function("sin")
    ('sqrt', 'exp', '')
    """
    if len(name) < 3 or hasattr(math, name):
        return ""
    return next((one for one in FUNCTIONS if _one_letter_apart(name.lower(), one)), "")


def _one_letter_apart(one: str, two: str) -> bool:
    """Whether texts are alike but for a letter that is other, missing, too many, or swapped."""
    at = next((i for i, (a, b) in enumerate(zip(one, two, strict=False)) if a != b), None)
    at = min(len(one), len(two)) if at is None else at
    a, b = one[at:], two[at:]
    swapped = a[1::-1] == b[:2] and a[2:] == b[2:]
    return a[1:] == b[1:] or a == b[1:] or a[1:] == b or swapped


def _text(text: object, place: str) -> str:
    """A text that can be cut into tokens.

    Raises:
        IsolossError: it is not a text, is empty, too long, or has characters outside of Unicode.
    """
    do = "write such as loss = E + A / N**alpha"
    if not isinstance(text, str):
        raise IsolossError(Problem(place, f"{text!r:.60} is not a text", do))
    if not text.strip():
        raise IsolossError(Problem(place, "is empty", do))
    if len(text) > LONGEST:
        reason = f"has {len(text)} characters, at most {LONGEST} are read"
        raise IsolossError(Problem(place, reason, "shorten it"))
    if "\0" in text or text != text.encode("utf-8", "ignore").decode("utf-8"):
        reason = "has a character that is not allowed in text"
        raise IsolossError(Problem(place, reason, "remove it"))
    return text


@lru_cache(maxsize=256)
def _read_formula(text: str, place: str) -> Formula:
    return _Statements(text, place).formula()


def _tokens(text: str, place: str) -> list[Token]:
    """The tokens of a formula; line ends outside of brackets are separators."""
    tokens, at, depth = [], 0, 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            hint = _STRAY.get(text[at])
            remedy = f"{hint}; {ALLOWED}" if hint else ALLOWED
            pointing.refuse(text, place, at, f"{text[at]!r} is not part of a formula", remedy)
        piece, kind = match[0], match.lastgroup
        if kind == "space":
            if depth <= 0 and any(end in piece for end in "\n\r"):
                tokens.append(Token("sign", ";", at, at + 1, "line"))
        else:
            depth += (piece == "(") - (piece == ")")
            tokens.append(_token(kind, piece, at, text, place))
        at = match.end()
    if (token := too_deep(tokens)) is not None:
        reason = "too many nested brackets or signs"
        pointing.refuse(text, place, token.start, reason, "simplify it")
    tokens = _continued(tokens)
    _check_neighbours(tokens, text, place)
    return tokens


def _continued(tokens: Sequence[Token]) -> list[Token]:
    """The tokens without line ends beside an operator, where a statement goes on."""
    kept: list[Token] = []
    for i, token in enumerate(tokens):
        if token.text == ";" and token.value == "line":
            before, after = kept[-1:], tokens[i + 1 : i + 2]
            if any(one.text in _JOINTS for one in (*before, *after)):
                continue
        kept.append(token)
    return kept


def _token(kind: str, piece: str, at: int, text: str, place: str) -> Token:
    end = at + len(piece)
    if kind == "number":
        value = _constant(piece, at, text, place)
        return Token("constant", piece, at, end, value)
    if kind == "sign":
        return Token("sign", piece, at, end)
    name = unicodedata.normalize("NFKC", piece)
    if keyword.iskeyword(name):
        reason = f"{name!r} is a word of Python, which a name may not be"
        other = _OTHER_NAMES.get(name, f"{name}_")
        remedy = "separate limits by ;" if name in ("and", "or") else f"write {other}"
        pointing.refuse(text, place, at, reason, remedy)
    if name in RESERVED:
        remedy = (
            f"write {_OTHER_NAMES[name]}(x, y)" if name in _OTHER_NAMES else "take another name"
        )
        pointing.refuse(text, place, at, f"{name!r} is a word of NumPy", remedy)
    if not piece.isidentifier():
        pointing.refuse(text, place, at, f"{piece!r} is not a name", ALLOWED)
    return Token("name", name, at, end)


def _constant(piece: str, at: int, text: str, place: str) -> float:
    """A number; a float before anything is computed with it."""
    try:
        value = float(piece)
    except ValueError:
        pointing.refuse(text, place, at, f"{piece!r:.40} is not a number", "write such as 1.5e9")
    if math.isinf(value):
        pointing.refuse(text, place, at, f"{piece:.40} is too large", "at most 1.7e308")
    return value


def _check_neighbours(tokens: Sequence[Token], text: str, place: str) -> None:
    """Refuse two values without a sign between them, such as 2N or 3(x + 1)."""
    for one, two in pairwise(tokens):
        ends = one.kind in ("name", "constant") or one.text == ")"
        begins = two.kind in ("name", "constant") or (two.text == "(" and one.kind != "name")
        if ends and begins:
            reason = f"{text[two.start : two.end]!r:.40} follows a value without a sign"
            pointing.refuse(text, place, two.start, reason, "write * for a product")


class _Reader(StandIns):
    """Reads expressions from tokens of a formula.

    Args:
        text: the whole formula.
        place: where it stands.
        tokens: of the part that is read; all by default.
    """

    def __init__(self, text: str, place: str, tokens: Sequence[Token] | None = None):
        self.place = place
        super().__init__(text, _tokens(text, place) if tokens is None else tokens, _SPELLING)

    def part(self, first: int, after: int) -> _Reader:
        """A reader of some of the tokens."""
        return _Reader(self.text, self.place, self.tokens[first:after])

    def refuse(self, start: int, reason: str, remedy: str = ALLOWED) -> NoReturn:
        pointing.refuse(self.text, self.place, start, reason, remedy)

    def whole(self) -> Node:
        """The tokens as one expression."""
        tree = self.expression(self.tree_of_stand_ins())
        self.check_size(tree)
        return tree

    def check_size(self, tree: Node) -> None:
        """Refuse a tree with too many nodes or levels."""
        count, depth = size_of(tree)
        if count > LARGEST or depth > DEEPEST:
            reason = f"has {count} parts in {depth} levels, definitions put in"
            self.refuse(0, reason, f"at most {LARGEST} in {DEEPEST} are read; simplify it")

    def tree_of_stand_ins(self) -> ast.expr:
        """The tree that `ast` makes."""
        stray = [t for t in self.tokens if t.text in ("=", ";")]
        if stray:
            reason = f"{stray[0].text!r} is not part of an expression"
            self.refuse(stray[0].start, reason, "write one expression")
        if not self.tokens:
            self.refuse(len(self.text), "an expression is missing", ALLOWED)
        self._check_brackets()
        try:
            return self.tree()
        except UnreadableError as error:
            token = error.token
        if token is None:
            self.refuse(self.tokens[0].start, "too many nested terms", "simplify it")
        last = self.tokens[-1]
        if last.kind == "sign" and last.text != ")":
            self.refuse(last.end, f"a value is missing after {last.text!r}")
        shown = self.text[token.start : token.end]
        self.refuse(token.start, f"cannot be read at or after {shown!r:.40}")

    def _check_brackets(self) -> None:
        opened: list[Token] = []
        for token in self.tokens:
            if token.text == "(":
                opened.append(token)
            elif token.text == ")" and not opened:
                self.refuse(token.start, "this bracket closes nothing", "remove it, or open one")
            elif token.text == ")":
                opened.pop()
        if opened:
            self.refuse(opened[-1].start, "this bracket is not closed", "add a )")

    def sign(self, op: ast.cmpop, node: ast.AST) -> str:
        """The sign of a comparison."""
        return _SIGNS.get(type(op)) or self.refuse(self.span(node)[0], "is not a comparison")

    def expression(self, node: ast.AST) -> Node:
        """A node of `ast` as a node of the formula."""
        match node:
            case ast.Name():
                return self._value(self.token(node))
            case ast.UnaryOp(ast.UAdd(), operand):
                return self.expression(operand)
            case ast.UnaryOp(ast.USub(), operand):
                return Node("neg", (self.expression(operand),))
            case ast.BinOp(left, op, right) if type(op) in _ARITHMETIC:
                return self._arithmetic(_ARITHMETIC[type(op)], left, right)
            case ast.Call():
                return self._call(node)
            case ast.Compare():
                reason = "a comparison is the first value of where(...) only"
                self.refuse(self.span(node)[0], reason, "write where(a < b, x, y)")
            case ast.Tuple():
                remedy = "remove the comma; limits are separated by ;"
                self.refuse(self.span(node)[0], "values separated by commas", remedy)
        self.refuse(self.span(node)[0], f"{self.source(node)!r:.60} is not part of a formula")

    def _value(self, token: Token) -> Node:
        if token.kind == "constant":
            return number(token.value)
        if token.text in FUNCTIONS:
            reason = f"{token.text} is a function"
            self.refuse(token.start, reason, f"write {_written(token.text)}")
        return named(token.text)

    def _arithmetic(self, sign: str, left: ast.AST, right: ast.AST) -> Node:
        one, two = self.expression(left), self.expression(right)
        if sign == "**" and not names_of(two):
            exponent = value_of(two)
            if not abs(exponent) <= GREATEST_EXPONENT:
                reason = f"the exponent {self.source(right)!r:.40} is too large"
                do = f"an exponent that is a constant is at most {GREATEST_EXPONENT:g}"
                self.refuse(self.span(right)[0], reason, do)
        if sign == "/" and not names_of(two) and value_of(two) == 0:
            self.refuse(self.span(right)[0], "divides by 0", "write another divisor")
        node = Node(sign, (one, two))
        if not names_of(node) and not math.isfinite(value_of(node)):
            whole = f"{self.text[self.span(left)[0] : self.span(right)[1]]!r:.60}"
            self.refuse(self.span(right)[0], f"{whole} is not a finite number", "write another")
        return node

    def _call(self, node: ast.Call) -> Node:
        start = self.span(node)[0]
        token = self.token(node.func)
        if token is None or token.kind != "name":
            self.refuse(start, "brackets follow a value", "write * for a product")
        name = token.text
        if name not in FUNCTIONS:
            other = _OTHER_NAMES.get(name) or _misspelt_function(name)
            hint = f"write {other}" if other else f"functions are {', '.join(FUNCTIONS)}"
            more = "" if name in _OTHER_NAMES else f"; for a product write {name} * (...)"
            self.refuse(token.start, f"{name!r:.40} is not a function", f"{hint}{more}")
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            self.refuse(start, f"{name} takes values only", f"write {_written(name)}")
        count = len(node.args)
        fits = count == 1 if name in ONE_ARGUMENT else count == 3 if name == "where" else count >= 2
        if not fits:
            values = "1 value" if count == 1 else f"{count} values"
            self.refuse(start, f"{name} with {values}", f"write {_written(name)}")
        if name == "where":
            condition = self._condition(node.args[0])
            return Node(name, (condition, *map(self.expression, node.args[1:])))
        result = Node(name, tuple(map(self.expression, node.args)))
        if not names_of(result) and not math.isfinite(value_of(result)):
            self.refuse(start, f"{self.source(node)!r:.60} is not a finite number", "write another")
        return result

    def _condition(self, node: ast.AST) -> Node:
        start = self.span(node)[0]
        if not isinstance(node, ast.Compare):
            self.refuse(start, "where(...) begins with a comparison", "write where(a < b, x, y)")
        if len(node.ops) > 1:
            self.refuse(start, "a condition is one comparison", "put one where in the other")
        sign = self.sign(node.ops[0], node)
        return Node(sign, (self.expression(node.left), self.expression(node.comparators[0])))


class _Statements:
    """The statements of a formula, and what they are together."""

    def __init__(self, text: str, place: str):
        self.reader = _Reader(text, place)
        self.text, self.place = text, place
        self.laws: list[tuple[Token | None, Node, int]] = []  # left side, right side, position
        self.limits: dict[str, list[tuple[Token, float | None, float | None]]] = {}
        self.written: list[str] = []
        tokens = self.reader.tokens
        ends = [i for i, token in enumerate(tokens) if token.text == ";"]
        for first, after in pairwise([-1, *ends, len(tokens)]):
            if after - first > 1:
                self._statement(self.reader.part(first + 1, after))

    def _statement(self, reader: _Reader) -> None:
        """One statement: an assignment, a limit, or a bare expression."""
        equals = [i for i, token in enumerate(reader.tokens) if token.text == "="]
        start = reader.tokens[0].start
        if equals:
            self._assignment(reader, equals)
        else:
            tree = reader.tree_of_stand_ins()
            if isinstance(tree, ast.Compare):
                self._limit(reader, tree)
                return
            self.laws.append((None, reader.expression(tree), start))
        self.written.append(" ".join(self.text[start : reader.tokens[-1].end].split()))

    def _assignment(self, reader: _Reader, equals: Sequence[int]) -> None:
        tokens, at = reader.tokens, equals[0]
        if len(equals) > 1:
            reader.refuse(tokens[equals[1]].start, "a second = in a statement", "separate with ;")
        left = tokens[:at]
        if [token.text for token in left].count("(") > [token.text for token in left].count(")"):
            reason = "'=' within brackets"
            reader.refuse(tokens[at].start, reason, "write a comparison with < or >, or ==")
        if len(left) != 1 or left[0].kind != "name" or left[0].text in FUNCTIONS:
            shown = self.text[left[0].start : left[-1].end] if left else ""
            reason = f"the left side {shown!r:.60} is not a name"
            start = left[0].start if left else tokens[0].start
            remedy = "write such as loss = ...; of a logarithm write loss = exp(...)"
            reader.refuse(start, reason, remedy)
        if at + 1 == len(tokens):
            reader.refuse(tokens[at].end, "a value is missing after '='")
        tree = reader.part(at + 1, len(tokens)).whole()
        self.laws.append((left[0], tree, left[0].start))

    def _limit(self, reader: _Reader, tree: ast.Compare) -> None:
        """Such as A > 0 or 0 < alpha <= 1: one name between or beside constants."""
        sides = [tree.left, *tree.comparators]
        start = reader.span(tree)[0]
        do = "a limit is such as A > 0 or 0 < alpha < 1, with numbers"
        tokens = [reader.token(side) for side in sides]
        names = [i for i, token in enumerate(tokens) if token is not None and token.kind == "name"]
        if len(names) != 1 or len(sides) > 3:
            wrong = reader.span(sides[names[1]])[0] if len(names) > 1 else start
            reader.refuse(wrong, "a limit compares one name with numbers", do)
        at = names[0]
        name, low, high = tokens[at], None, None
        for i, op in enumerate(tree.ops):
            sign = reader.sign(op, tree)
            if sign in ("==", "!="):
                hint = f"write {name.text} = ... to define it, or fix it with --fix"
                reader.refuse(start, f"{sign!r} is not a limit", hint if sign == "==" else do)
            other = i if i + 1 == at else i + 1
            if at not in (i, i + 1):
                reader.refuse(start, "a limit compares one name with numbers", do)
            value = self._number(reader, sides[other], do)
            if sign.startswith("<") == (other < at):
                low = value
            else:
                high = value
        self.limits.setdefault(name.text, []).append((name, low, high))

    def _number(self, reader: _Reader, side: ast.AST, do: str) -> float:
        node = reader.expression(side)
        if names_of(node):
            reader.refuse(reader.span(side)[0], "a limit compares one name with numbers", do)
        return value_of(node)

    def formula(self) -> Formula:
        """What the statements are together."""
        law = self._law()
        trees = self._resolved()
        tree = trees[id(law[1])]
        self.reader.check_size(tree)
        names, starts = names_of(tree), {}
        for token in self.reader.tokens:
            if token.kind == "name":
                starts.setdefault(token.text, token.start)
        response = law[0].text if law[0] is not None else None
        limits = tuple(self._together(name, (*names, response)) for name in self.limits)
        written = "; ".join(self.written)
        return Formula(self.text, response, tree, names, limits, self.place, starts, written)

    def _law(self) -> tuple[Token | None, Node, int]:
        """The statement that no other uses."""
        refuse = self.reader.refuse
        if not self.laws:
            refuse(0, "has limits but no law", "write such as loss = E + A / N**alpha")
        names = [token.text for token, _, _ in self.laws if token is not None]
        for i, name in enumerate(names):
            if name in names[:i]:
                again = [
                    at for token, _, at in self.laws if token is not None and token.text == name
                ]
                refuse(again[1], f"{name!r} is defined twice", "remove one")
        for token, tree, at in self.laws:
            if token is not None and token.text in names_of(tree):
                remedy = "write it on the left side only"
                refuse(at, f"{token.text!r} is on both sides", remedy)
        used = {name for _, tree, _ in self.laws for name in names_of(tree)}
        free = [law for law in self.laws if law[0] is None or law[0].text not in used]
        if not free:
            refuse(self.laws[0][2], "every statement is used by another", "one must be the law")
        bare = [law for law in free if law[0] is None]
        if len(free) > 1:
            extra = next((law for law in free if law[0] is not None and bare), free[1])
            what = f"{extra[0].text!r}" if extra[0] is not None else "this expression"
            remedy = "write one law; the other statements define names that it uses"
            refuse(extra[2], f"{what} is used by nothing, and is not the only law", remedy)
        return free[0]

    def _resolved(self) -> dict[int, Node]:
        """Every right side by its id, definitions put in."""
        bodies = {token.text: tree for token, tree, _ in self.laws if token is not None}
        starts = {token.text: at for token, _, at in self.laws if token is not None}
        whole: dict[str, Node] = {}

        def resolve(name: str, above: tuple[str, ...]) -> None:
            if name in above:
                remedy = "a definition may not lead back to itself"
                self.reader.refuse(starts[name], f"{name!r} is defined by itself", remedy)
            if name not in whole:
                inner = [other for other in names_of(bodies[name]) if other in bodies]
                for other in inner:
                    resolve(other, (*above, name))
                whole[name] = put_in(bodies[name], {other: whole[other] for other in inner})

        for name in bodies:
            resolve(name, ())
        return {id(tree): put_in(tree, whole) for _, tree, _ in self.laws}

    def _together(self, name: str, known: Sequence[str | None]) -> Limit:
        """All limits of a name as one."""
        token, low, high = self.limits[name][0]
        if name not in known:
            here = [one for one in known if one is not None]
            reason = f"{name!r} has a limit and is not in the law"
            self.reader.refuse(token.start, reason, nearest(name, here))
        for token, least, most in self.limits[name]:
            low = max((x for x in (low, least) if x is not None), default=None)
            high = min((x for x in (high, most) if x is not None), default=None)
            if low is not None and high is not None and not low < high:
                reason = f"the limits of {name} leave nothing: {low:g} to {high:g}"
                self.reader.refuse(token.start, reason, "the lower limit is below the upper one")
        return Limit(name, low, high, self.limits[name][0][0].start)


def _written(name: str) -> str:
    """How a function is written."""
    if name == "where":
        return "where(a < b, x, y)"
    return f"{name}(x, y)" if name in MANY_ARGUMENTS else f"{name}(x)"


def value_of(node: Node) -> float:
    """The value of a tree without names; NaN where it has none.

    Example:
        >>> value_of(read_expression("2 ** 3 / 4"))
        2.0
    """
    parts = [value_of(part) for part in node.parts]
    try:
        return _CONSTANTS[node.kind](node, *parts)
    except (ValueError, ZeroDivisionError, OverflowError):
        return math.nan


def _power(_node: Node, one: float, two: float) -> float:
    return math.pow(one, two)


def _softplus(x: float) -> float:
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


_CONSTANTS = {
    "number": lambda node: node.number,
    "neg": lambda _, x: -x,
    "+": lambda _, x, y: x + y,
    "-": lambda _, x, y: x - y,
    "*": lambda _, x, y: x * y,
    "/": lambda _, x, y: x / y,
    "**": _power,
    "exp": lambda _, x: math.exp(x),
    "log": lambda _, x: math.log(x),
    "log2": lambda _, x: math.log2(x),
    "log10": lambda _, x: math.log10(x),
    "sqrt": lambda _, x: math.sqrt(x),
    "tanh": lambda _, x: math.tanh(x),
    "sigmoid": lambda _, x: math.exp(-_softplus(-x)),
    "softplus": lambda _, x: _softplus(x),
    "abs": lambda _, x: abs(x),
    "min": lambda _, *x: min(x),
    "max": lambda _, *x: max(x),
    "where": lambda _, c, x, y: x if c else y,
    "<": lambda _, x, y: float(x < y),
    "<=": lambda _, x, y: float(x <= y),
    ">": lambda _, x, y: float(x > y),
    ">=": lambda _, x, y: float(x >= y),
    "==": lambda _, x, y: float(x == y),
    "!=": lambda _, x, y: float(x != y),
}
assert set(_CONSTANTS) >= {*FUNCTIONS, *COMPARISONS}
