"""A formula's tree as text that reads back to the same tree, as Python, and as LaTeX."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping

from isoloss.formulas.tree import COMPARISONS, OPERATORS, Node

_LEVELS = {"+": 1, "-": 1, "*": 2, "/": 2, "neg": 3, "**": 4}  # how strongly an operator binds
_NUMPY = {
    "log2": "np.log2", "log10": "np.log10", "tanh": "np.tanh", "abs": "np.abs", "exp": "exp",
    "log": "log", "sqrt": "sqrt", "where": "where",
}  # fmt: skip
_NUMPY_OF_TWO = {"min": "minimum", "max": "maximum"}
_LATEX_NAMES = {
    "exp": r"\exp", "log": r"\log", "log2": r"\log_{2}", "log10": r"\log_{10}", "tanh": r"\tanh",
    "sigmoid": r"\sigma", "softplus": r"\mathrm{softplus}", "min": r"\min", "max": r"\max",
}  # fmt: skip
_LATEX_SIGNS = {"<": "<", "<=": r"\leq", ">": ">", ">=": r"\geq", "==": "=", "!=": r"\neq"}
_LETTERS = (
    "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi pi rho sigma tau "
    "upsilon phi chi psi omega Gamma Delta Theta Lambda Xi Pi Sigma Upsilon Phi Psi Omega"
)
_GREEK = {name: rf"\{name}" for name in _LETTERS.split(" ")}


def as_text(tree: Node) -> str:
    """A tree in the language of formulas; `read_expression` gives the same tree again.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> as_text(read_expression("(E+(A/(N^a)))*2.0"))
        '(E + A / N**a) * 2'
    """
    return _written(tree, lambda kind, parts: f"{kind}({', '.join(parts)})")


def as_python(tree: Node) -> str:
    """A tree as an expression of NumPy arrays.

    It needs the names `np`, and `exp, log, maximum, minimum, sqrt, where` from it, as in a law.py
    (see fitted/export.py).

    Example:
        >>> from isoloss.formulas import read_expression
        >>> as_python(read_expression("max(a, b, sigmoid(N))"))
        'maximum(maximum(a, b), np.exp(-np.logaddexp(0.0, -(N))))'
    """
    return _written(tree, _called)


def _called(kind: str, parts: list[str]) -> str:
    """A function in NumPy's language."""
    if kind == "sigmoid":
        return f"np.exp(-np.logaddexp(0.0, -({parts[0]})))"
    if kind == "softplus":
        return f"np.logaddexp(0.0, {parts[0]})"
    if kind in _NUMPY_OF_TWO:
        whole = parts[0]
        for part in parts[1:]:
            whole = f"{_NUMPY_OF_TWO[kind]}({whole}, {part})"
        return whole
    return f"{_NUMPY[kind]}({', '.join(parts)})"


def _written(tree: Node, call: Callable[[str, list[str]], str]) -> str:
    """A tree with the fewest brackets that keep its structure."""
    kind = tree.kind
    if kind == "number":
        return number_text(tree.number)
    if kind == "name":
        return tree.name
    parts = [_written(part, call) for part in tree.parts]
    if kind == "neg":
        return f"-{_within(parts[0], tree.parts[0], 3)}"
    if kind in COMPARISONS:
        return f"{parts[0]} {kind} {parts[1]}"
    if kind not in OPERATORS:
        return call(kind, parts)
    level = _LEVELS[kind]
    left = _within(parts[0], tree.parts[0], level + (kind == "**"))
    right = _within(parts[1], tree.parts[1], 3 if kind == "**" else level + 1)
    return f"{left}**{right}" if kind == "**" else f"{left} {kind} {right}"


def _within(text: str, node: Node, least: int) -> str:
    """A part, in brackets unless it binds strongly enough."""
    level = _LEVELS.get(node.kind, 3 if node.kind == "number" and node.number < 0 else 9)
    return text if level >= least else f"({text})"


def number_text(value: float) -> str:
    """A number as people write it, which reads back to the same.

    Example:
        >>> number_text(1e22), number_text(3.0), number_text(0.34)
        ('1e22', '3', '0.34')
    """
    if abs(value) < 1e6 and value == int(value):
        return str(int(value))
    if 1e-3 <= abs(value) < 1e6:
        return repr(float(value))
    spelt = (f"{value:.{digits}e}" for digits in range(17))
    mantissa, _, power = next(text for text in spelt if float(text) == value).partition("e")
    return f"{mantissa}e{int(power)}"


def as_latex(tree: Node, symbols: Mapping[str, str] | None = None) -> str:
    r"""A tree in LaTeX, which matplotlib's mathtext reads too.

    Args:
        tree: of the formula.
        symbols: LaTeX of names; of others it is made of the name (`latex_name`).

    Example:
        >>> from isoloss.formulas import read_expression
        >>> print(as_latex(read_expression("E + A / N**alpha")))
        E + \frac{A}{N^{\alpha}}
    """
    return _Latex(symbols or {}).of(tree)


def latex_name(name: str) -> str:
    r"""The symbol of a name: Greek by its name, what follows an _ as an index, words upright.

    Example:
        >>> print(latex_name("alpha_N"), latex_name("experts"), latex_name("E"))
        \alpha_{N} \mathrm{experts} E
    """
    base, _, index = name.partition("_")
    if not base:
        return rf"\mathrm{{{_word(name)}}}"
    shown = _symbol(base)
    digits = re.fullmatch(r"([A-Za-z]|[A-Za-z]+(?=\d))(\d+)", base, re.ASCII)
    if not index and digits and (len(digits[1]) == 1 or digits[1] in _GREEK):
        shown, index = _symbol(digits[1]), digits[2]
    return shown + (f"_{{{_symbol(index)}}}" if index else "")


def _symbol(word: str) -> str:
    if word in _GREEK:
        return _GREEK[word]
    if len(word) == 1:
        kind, _, letter = unicodedata.name(word, "").partition(" LETTER ")
        spelt = letter.capitalize() if kind == "GREEK CAPITAL" else letter.lower()
        spelt = {"lamda": "lambda", "Lamda": "Lambda"}.get(spelt, spelt)
        return _GREEK.get(spelt, word) if kind.startswith("GREEK") else word
    return word if word.isdigit() else rf"\mathrm{{{_word(word)}}}"


def _word(word: str) -> str:
    return word.replace("_", r"\_")


class _Latex:
    """Writes trees in LaTeX, with symbols of names."""

    def __init__(self, symbols: Mapping[str, str]):
        self.symbols = symbols

    def of(self, tree: Node) -> str:
        """A tree without brackets around it."""
        kind, parts = tree.kind, tree.parts
        if kind == "number":
            return _latex_number(tree.number)
        if kind == "name":
            return self.symbols.get(tree.name) or latex_name(tree.name)
        if kind in ("+", "-"):
            return f"{self.of(parts[0])} {kind} {self.within(parts[1], 2 - (kind == '+'))}"
        if kind == "neg":
            return f"-{self.within(parts[0], 2)}"
        if kind == "*":
            return self._product(*parts)
        if kind == "/":
            return rf"\frac{{{self.of(parts[0])}}}{{{self.of(parts[1])}}}"
        if kind == "**":
            return f"{self._base(parts[0])}^{{{self.of(parts[1])}}}"
        if kind in COMPARISONS:
            return f"{self.of(parts[0])} {_LATEX_SIGNS[kind]} {self.of(parts[1])}"
        return self._call(kind, parts)

    def within(self, tree: Node, least: int) -> str:
        """A tree as a part of another, in brackets unless it binds strongly enough."""
        level = {"+": 1, "-": 1, "neg": 0}.get(tree.kind, 9)
        text = self.of(tree)
        return text if level >= least else rf"\left({text}\right)"

    def _product(self, one: Node, two: Node) -> str:
        left = self.of(one) if one.kind == "neg" else self.within(one, 2)
        right = self.within(two, 2)
        joint = r" \cdot " if re.match(r"[\d.]", right) else r" \, "
        return f"{left}{joint}{right}"

    def _base(self, tree: Node) -> str:
        text = self.of(tree)
        plain = tree.kind in ("name", "number", "abs") and "^" not in text
        return text if plain else rf"\left({text}\right)"

    def _call(self, kind: str, parts: tuple[Node, ...]) -> str:
        inner = [self.of(part) for part in parts]
        if kind == "sqrt":
            return rf"\sqrt{{{inner[0]}}}"
        if kind == "abs":
            return rf"\left|{inner[0]}\right|"
        if kind == "where":
            condition, one, two = inner
            words = rf"\ \mathrm{{if}}\ {condition}\ \mathrm{{else}}\ "
            return rf"\left({one}{words}{two}\right)"
        return rf"{_LATEX_NAMES[kind]}\left({', '.join(inner)}\right)"


def _latex_number(value: float) -> str:
    text = number_text(value)
    digits, e, power = text.partition("e")
    if not e:
        return text
    ten = f"10^{{{int(power)}}}"
    return ten if digits == "1" else rf"{digits} \cdot {ten}"
