"""The formula of a law as a tree, from the source that it writes into exported files."""

from __future__ import annotations

import re

from isoloss.core.problems import IsolossError
from isoloss.formulas import Node, read_formula
from isoloss.laws._law import Law

# of NumPy, by those of formulas
_NAMES = {"np.": "", "maximum(": "max(", "minimum(": "min(", "logaddexp(0.0, ": "softplus("}


def tree_of(law: Law) -> Node | None:
    """A law as an expression of its variables and terms, by their names.

    Args:
        law: any.

    Returns:
        The tree, or None of a law that has no such expression: one that loops, or that sums over
        domains.

    Example:
        >>> from isoloss.formulas import as_text
        >>> from isoloss.laws import chinchilla
        >>> as_text(tree_of(chinchilla.make()))
        'E + A * N**-alpha + B * D**-beta'
    """
    lines = [re.sub(r"\s+#.*", "", line) for line in law.python.splitlines() if line.strip()]
    if not lines:
        return None
    lines[-1] = lines[-1].removeprefix("return ")
    text = "; ".join(lines)
    for theirs, ours in _NAMES.items():
        text = re.sub(rf"\b{re.escape(theirs)}", ours, text)
    try:
        formula = read_formula(text, "law")
    except IsolossError:
        return None
    known = {*law.variables, *(term.name for term in law.terms)}
    return _as_typed(formula.tree) if set(formula.names) <= known else None


def _as_typed(tree: Node) -> Node:
    """A tree with sigmoid(u) in the place of exp(-softplus(-u)), as NumPy has it.

    >>> from isoloss.formulas import as_text, read_expression
    >>> as_text(_as_typed(read_expression("1 - exp(-softplus(-(k * x)))")))
    '1 - sigmoid(k * x)'
    """
    kinds, inner = ("exp", "neg", "softplus", "neg"), tree
    for kind in kinds:
        if inner.kind != kind:
            parts = tuple(map(_as_typed, tree.parts))
            return Node(tree.kind, parts, tree.name, tree.number)
        inner = inner.parts[0]
    return Node("sigmoid", (_as_typed(inner),))


def summands(tree: Node) -> list[Node]:
    """The terms of a sum, with their signs; products of a sum are taken apart.

    Example:
        >>> from isoloss.formulas import as_text, read_expression
        >>> [as_text(one) for one in summands(read_expression("E - (A / N + B / D) / 2"))]
        ['E', '-(A / N / 2)', '-(B / D / 2)']
    """
    if tree.kind == "+":
        return [term for part in tree.parts for term in summands(part)]
    if tree.kind == "-":
        first, second = tree.parts
        return [*summands(first), *map(_negative, summands(second))]
    if tree.kind == "neg":
        return [_negative(term) for term in summands(tree.parts[0])]
    if tree.kind == "/":
        top, bottom = tree.parts
        return [_over(term, bottom) for term in summands(top)]
    if tree.kind == "*":
        first, second = (summands(part) for part in tree.parts)
        if 1 in (len(first), len(second)):
            return [_times(one, other) for one in first for other in second]
    return [tree]


def _negative(tree: Node) -> Node:
    return tree.parts[0] if tree.kind == "neg" else Node("neg", (tree,))


def _over(tree: Node, bottom: Node) -> Node:
    if tree.kind == "neg":
        return Node("neg", (_over(tree.parts[0], bottom),))
    return Node("/", (tree, bottom))


def _times(one: Node, other: Node) -> Node:
    if one.kind == "neg":
        return _negative(_times(one.parts[0], other))
    if other.kind == "neg":
        return _negative(_times(one, other.parts[0]))
    return Node("*", (one, other))
