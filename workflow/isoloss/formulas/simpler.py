"""Parts of a formula that are nearly a simpler part at some runs.

Where x is far above S, `1 + x / S` is nearly `x / S`, and S can no longer be told from an amplitude
in front. The same is so of a sum whose summands are far apart, and of the functions softplus,
tanh, sigmoid, exp, min and max where their arguments are far to a side.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from isoloss.formulas.evaluating import Evaluator
from isoloss.formulas.tree import Node, named, names_of, number

NEAR = 0.5  # of a summand over the rest of its sum, and of an argument that is near 0
LARGE = 1.5  # of an argument of a function that levels off
LEFT = (1e-7, 1e-8, 1e-9)  # what a summand is to the rest of its sum where it no longer counts
SMALL = (1e-4, 3e-5, 1e-5)  # the same of an argument; of exp, whose curve is seen earlier, below
STRAIGHT = (1e-6, 3e-7, 1e-7)
STEEP = (1e3, 2e3, 4e3)  # exponent of (1 + u)**g where it is exp(g u)
GREAT = (20.0, 25.0, 30.0)  # of an argument where its function has levelled off

Given = Mapping[str, np.ndarray | float]


@dataclass(frozen=True)
class Simpler:
    """A part of a formula, and what it becomes as a piece of it grows or vanishes.

    Attributes:
        part: as it stands in the formula, with the exponent above it.
        simple: what it becomes.
        piece: what grows or vanishes.
        factors: by which the piece is multiplied until nothing is left of the difference, each
            further than the one before.
        against: what is divided by the same factors, if anything is.
    """

    part: Node
    simple: Node
    piece: Node
    factors: tuple[float, ...]
    against: Node | None = None


def simpler_parts(tree: Node, parameters: Collection[str], given: Given) -> Iterator[Simpler]:
    """The parts of a formula that may be simpler ones.

    Args:
        tree: of the formula.
        parameters: its names that are fitted.
        given: a value for every name: of parameters numbers, of variables (n,).

    Example:
        >>> from isoloss.formulas import as_text, read_expression
        >>> law = read_expression("E + A * (1 + x / S)**-g")
        >>> values = {"E": 1.0, "A": 2.0, "S": 0.1, "g": 0.3, "x": np.array([1.0, 9.0])}
        >>> [(as_text(p.part), as_text(p.simple)) for p in simpler_parts(law, "EASg", values)]
        [('(1 + x / S)**-g', '(x / S)**-g')]
    """
    seen: set[Node] = set()
    for part, power, counted in _parts(tree, None, False):
        fitted = set(names_of(part)) & set(parameters)
        if part in seen or not fitted or fitted == set(names_of(part)):
            continue
        seen.add(part)
        with np.errstate(all="ignore"):
            against = part.parts[1] if part.kind == "**" else None
            for simple, piece, factors in _rules(part, counted, given):
                if power is None:
                    yield Simpler(part, simple, piece, factors, against)
                else:
                    raised = Node("**", (simple, power))
                    yield Simpler(Node("**", (part, power)), raised, piece, factors)


def _parts(
    tree: Node, power: Node | None, counted: bool
) -> Iterator[tuple[Node, Node | None, bool]]:
    """Every part with the exponent above it, and whether its summands count by their ratios."""
    yield tree, power, counted
    kind, parts = tree.kind, tree.parts
    if kind == "**":
        yield from _parts(parts[0], parts[1], True)
        yield from _parts(parts[1], None, False)
        return
    inside = kind in ("*", "/", "sqrt", "log", "log2", "log10") or (kind == "neg" and counted)
    for part in parts:
        yield from _parts(part, None, inside)


def _rules(part: Node, counted: bool, given: Given) -> Iterator[tuple[Node, Node, tuple]]:
    """What a part may become: the simpler part, the piece that changes, and by which factors."""
    kind, parts = part.kind, part.parts
    if kind in ("+", "-"):
        yield from _of_exp(part, given)
        if counted:
            yield from _of_sum(part, given)
    elif kind == "**":
        yield from _of_bracket(*parts, given)
    elif kind == "log" and (u := _beside_one(parts[0], given)) is not None:
        size = float(np.max(np.abs(_values(u, given))))
        yield u, u, tuple(share / max(size, 1e-300) for share in STRAIGHT)
    elif kind in ("softplus", "tanh", "sigmoid", "exp"):
        yield from _of_function(kind, parts[0], given)
    elif kind in ("min", "max") and len(parts) == 2:
        first, second = (_values(one, given) for one in parts)
        below, above = bool((first <= second).all()), bool((first >= second).all())
        if below != above:
            which = 0 if below == (kind == "min") else 1
            yield parts[which], parts[1 - which], ()


def _of_sum(part: Node, given: Given) -> Iterator[tuple[Node, Node, tuple]]:
    """A sum without a summand that is small against the rest at every run."""
    summands = list(_summands(part, 1.0))
    values = [sign * _values(one, given) for sign, one in summands]
    for i, (_, small) in enumerate(summands):
        others = [one for k, one in enumerate(summands) if k != i]
        rest = sum(value for k, value in enumerate(values) if k != i)
        ratio = float(np.max(np.abs(values[i] / rest), initial=0.0))
        if not ratio < NEAR:
            continue
        simple, left = _joined(others), [share / max(ratio, 1e-300) for share in LEFT]
        if scaling(small, given):
            yield simple, small, tuple(left)
        else:
            yield simple, simple, tuple(1.0 / share for share in left)


def _of_bracket(base: Node, exponent: Node, given: Given) -> Iterator[tuple[Node, Node, tuple]]:
    """(1 + u)**g, which is exp(g u) where u is small."""
    if (u := _beside_one(base, given)) is not None:
        steep = abs(float(_values(exponent, given)[0]))
        yield Node("exp", (Node("*", (exponent, u)),)), u, tuple(steep / one for one in STEEP)


def _beside_one(tree: Node, given: Given) -> Node | None:
    """The u of a sum 1 + u that is small at every run; None of anything else."""
    summands = list(_summands(tree, 1.0))
    others = [one for one in summands if (one[0], one[1].kind, one[1].number) != (1, "number", 1)]
    if not others or len(others) != len(summands) - 1:
        return None
    u = _joined(others)
    return u if float(np.max(np.abs(_values(u, given)))) < NEAR else None


def _of_function(kind: str, inner: Node, given: Given) -> Iterator[tuple[Node, Node, tuple]]:
    """A function whose argument is far to a side, or near 0, at every run."""
    u = _values(inner, given)
    low, high = float(np.min(u)), float(np.max(u))
    size = max(abs(low), abs(high))
    if not (np.isfinite(size) and size > 0):
        return
    near, far = min(abs(low), abs(high)), low > 0 or high < 0
    grown = tuple(max(1.0, one / near) for one in GREAT) if far and near > 0 else ()
    above, below = low > LARGE, high < -LARGE
    one, exp = number(1.0), Node("exp", (inner,))
    if kind == "tanh" and size < NEAR:
        yield inner, inner, tuple(share / size for share in SMALL)
    elif kind == "exp" and size < NEAR:
        yield inner, inner, tuple(share / size for share in STRAIGHT)
    elif kind == "softplus" and (above or below):
        yield (inner if above else exp), inner, grown
    elif kind == "sigmoid" and (above or below):
        yield (one if above else exp), inner, grown
    elif kind == "tanh" and (above or below):
        yield (one if above else number(-1.0)), inner, grown


def _of_exp(part: Node, given: Given) -> Iterator[tuple[Node, Node, tuple]]:
    """1 - exp(u): -u near 0, and 1 where u is far below."""
    summands = list(_summands(part, 1.0))
    numbers = [sign * one.number for sign, one in summands if one.kind == "number"]
    inner = [one.parts[0] for sign, one in summands if one.kind == "exp" and sign < 0]
    if len(summands) != 2 or numbers != [1.0] or not inner:
        return
    u = _values(inner[0], given)
    size, near = float(np.max(np.abs(u))), float(np.min(np.abs(u)))
    if 0 < size < NEAR:
        yield _negative(inner[0]), inner[0], tuple(share / size for share in STRAIGHT)
    elif float(np.max(u)) < -LARGE:
        yield number(1.0), inner[0], tuple(max(1.0, one / near) for one in GREAT)


def _values(part: Node, given: Given) -> np.ndarray:
    return np.atleast_1d(np.asarray(Evaluator(part, ()).value(given), dtype=float))


def _summands(tree: Node, sign: float) -> Iterator[tuple[float, Node]]:
    if tree.kind in ("+", "-"):
        yield from _summands(tree.parts[0], sign)
        yield from _summands(tree.parts[1], sign if tree.kind == "+" else -sign)
    elif tree.kind == "neg":
        yield from _summands(tree.parts[0], -sign)
    else:
        yield sign, tree


def _joined(summands: list[tuple[float, Node]]) -> Node:
    """Summands with their signs as one sum."""
    (sign, tree), *others = summands
    tree = tree if sign > 0 else _negative(tree)
    for sign, one in others:
        tree = Node("+" if sign > 0 else "-", (tree, one))
    return tree


def _negative(tree: Node) -> Node:
    return tree.parts[0] if tree.kind == "neg" else Node("neg", (tree,))


def scaling(piece: Node, given: Given) -> dict[str, float]:
    """How parameters are to be multiplied so that a piece is: parameter to a power of the factor.

    Empty where no parameters do so. A value of `given` that is an array is that of a variable.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> scaling(read_expression("x / S"), {"S": 3.0, "x": np.ones(2)})
        {'S': -1.0}
        >>> scaling(read_expression("b + c * x"), {"b": 1.0, "c": 2.0, "x": np.ones(2)})
        {'b': 1.0, 'c': 1.0}
    """
    kind, parts = piece.kind, piece.parts
    if kind == "name":
        return {piece.name: 1.0} if np.ndim(given[piece.name]) == 0 else {}
    if kind == "neg":
        return scaling(parts[0], given)
    if kind in ("*", "/"):
        bare = sorted(range(2), key=lambda i: parts[i].kind != "name")
        for i in bare:
            if powers := scaling(parts[i], given):
                turned = -1.0 if kind == "/" and i == 1 else 1.0
                return {name: turned * power for name, power in powers.items()}
        return {}
    if kind == "**":
        exponent = _values(parts[1], given)
        if len(exponent) > 1 or not exponent[0]:
            return {}
        return {k: v / float(exponent[0]) for k, v in scaling(parts[0], given).items()}
    if kind in ("+", "-"):
        one, two = (scaling(part, given) for part in parts)
        alike = all(two[name] == one[name] for name in one.keys() & two.keys())
        return {**one, **two} if one and two and alike else {}
    return {}


def replaced(tree: Node, part: Node, simple: Node) -> Node:
    """A tree with a part replaced wherever it stands."""
    if tree == part:
        return simple
    if not tree.parts:
        return tree
    return Node(tree.kind, tuple(replaced(one, part, simple) for one in tree.parts), tree.name)


def tidy(tree: Node) -> Node:
    """A tree without factors of 1 and summands of 0.

    Example:
        >>> from isoloss.formulas import as_text, read_expression
        >>> as_text(tidy(read_expression("A * (1 * x / 1)**g + 0 - 0 * B")))
        'A * x**g'
    """
    if not tree.parts:
        return tree
    parts = tuple(tidy(part) for part in tree.parts)
    kind, constant = tree.kind, [p.number if p.kind == "number" else None for p in parts]
    if kind == "*" and 0.0 in constant:
        return number(0.0)
    if kind == "*" and 1.0 in constant:
        return parts[1 - constant.index(1.0)]
    if kind in ("*", "/") and parts[1].kind == "neg":
        return tidy(Node(kind, (_negative(parts[0]), parts[1].parts[0])))
    if kind in ("/", "**") and constant[1] == 1.0:
        return parts[0]
    if kind == "**" and constant[0] == 1.0:
        return number(1.0)
    if kind in ("+", "-") and constant[1] == 0.0:
        return parts[0]
    if kind == "+" and constant[0] == 0.0:
        return parts[1]
    if kind == "-" and constant[0] == 0.0:
        return _negative(parts[1])
    if kind == "neg" and (parts[0].kind == "neg" or constant[0] == 0.0):
        return parts[0].parts[0] if parts[0].kind == "neg" else parts[0]
    return Node(kind, parts, tree.name)


def without(tree: Node, name: str, value: float) -> Node:
    """A tree with a number in the place of a name, tidy."""
    return tidy(replaced(tree, named(name), number(value)))
