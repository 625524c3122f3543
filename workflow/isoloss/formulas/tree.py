"""The tree of a formula: what a user typed, as nodes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS = ("+", "-", "*", "/", "**")
COMPARISONS = ("<", "<=", ">", ">=", "==", "!=")
ONE_ARGUMENT = ("exp", "log", "log2", "log10", "sqrt", "tanh", "sigmoid", "softplus", "abs")
MANY_ARGUMENTS = ("min", "max")
FUNCTIONS = (*ONE_ARGUMENT, *MANY_ARGUMENTS, "where")


@dataclass(frozen=True)
class Node:
    """A part of a formula.

    Attributes:
        kind: `number`, `name`, `neg` (the sign in front of a part), an operator, a comparison, or
            a function by its name; `min` and `max` have two parts or more, `where` three.
        parts: what stands inside it.
        name: of a `name`.
        number: of a `number`.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> read_expression("2 * N") == Node("*", (number(2), named("N")))
        True
    """

    kind: str
    parts: tuple[Node, ...] = ()
    name: str = ""
    number: float = 0.0


def number(value: float) -> Node:
    """A constant as a node; one below 0 as a text would have it, with a sign in front."""
    value = float(value)
    return Node("neg", (number(-value),)) if value < 0 else Node("number", number=value)


def named(name: str) -> Node:
    """A name as a node."""
    return Node("name", name=name)


def operation(tree: Node) -> tuple[str, tuple[Node, ...]]:
    """What kind a node is, and its parts."""
    return tree.kind, tree.parts


def walk(tree: Node) -> Iterator[Node]:
    """Every node, in the order of the text; a part that appears twice is given twice."""
    yield tree
    for part in tree.parts:
        yield from walk(part)


def names_of(tree: Node) -> tuple[str, ...]:
    """The names in a tree, in the order of their first appearance.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> names_of(read_expression("E + A / N**alpha + N"))
        ('E', 'A', 'N', 'alpha')
    """
    names, seen, waiting = {}, set(), [tree]
    while waiting:
        node = waiting.pop()
        if node.kind == "name":
            names[node.name] = None
        elif id(node) not in seen:  # a definition's tree may stand in many places
            seen.add(id(node))
            waiting.extend(reversed(node.parts))
    return tuple(names)


def put_in(tree: Node, definitions: dict[str, Node]) -> Node:
    """The tree with names replaced by trees."""
    if tree.kind == "name":
        return definitions.get(tree.name, tree)
    if not tree.parts:
        return tree
    parts = tuple(put_in(part, definitions) for part in tree.parts)
    same = all(one is other for one, other in zip(parts, tree.parts, strict=True))
    return tree if same else Node(tree.kind, parts)


def size_of(tree: Node) -> tuple[int, int]:
    """The number of nodes and of levels of a tree."""
    known: dict[int, tuple[int, int]] = {}

    def measure(node: Node) -> tuple[int, int]:
        if id(node) not in known:
            below = [measure(part) for part in node.parts]
            count = 1 + sum(n for n, _ in below)
            known[id(node)] = (count, 1 + max((d for _, d in below), default=0))
        return known[id(node)]

    return measure(tree)
