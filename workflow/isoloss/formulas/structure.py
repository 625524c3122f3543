"""What a formula is made of: linear amplitudes, power terms, roles of parameters, domains of names.

Read off the canonical graph (graph.py): the law is linear in a parameter when its derivative does
not contain it, and two parameters do not multiply each other when neither is in the derivative by
the other.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field

from isoloss.formulas.graph import Graph, Item
from isoloss.formulas.tree import COMPARISONS, Node, names_of, walk

ROLES = ("offset", "amplitude", "exponent", "scale", "shift", "argument", "threshold")
ANY, NONZERO, NONNEGATIVE, POSITIVE = "any", "nonzero", "nonnegative", "positive"


@dataclass(frozen=True)
class PowerTerm:
    """factor * scale / prod_j (constant_j * prod_v v ** power)^exponent_j.

    Attributes:
        scale: the parameter in front; each term has its own.
        exponents: parameter -> variable -> power, the product that the exponent acts on.
        linear: whether exponents multiply the variables themselves, as in A * exp(-k * D).
        factor: the constant in front, of any sign but not 0.
        shifts: parameter -> the logarithm of the constant beside the variables; 0 is left out. Of
            (N / 1e9) ** -alpha it is {"alpha": -log(1e9)}.
    """

    scale: str
    exponents: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    linear: bool = False
    factor: float = 1.0
    shifts: Mapping[str, float] = field(default_factory=dict)


def amplitudes(tree: Node, parameters: Collection[str]) -> tuple[str, ...]:
    """Parameters in which the formula is linear, all of them together.

    Those that multiply the fewest others are taken first, so that most are. A parameter in a
    comparison is none, though the law's derivative by it is 0.

    Args:
        tree: of the formula.
        parameters: names that are no variables.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> amplitudes(read_expression("E + A * (B + N ** -a)"), ["E", "A", "B", "a"])
        ('E', 'A')
    """
    names = [name for name in names_of(tree) if name in parameters]
    graph = Graph(names)
    whole = graph.build(tree)
    slopes = {name: graph.slope(whole, name) for name in names}
    inside = {name: _leaves(graph, slope) for name, slope in slopes.items()}
    compared = {name for one in walk(tree) if one.kind in COMPARISONS for name in names_of(one)}
    linear = [name for name in names if name not in inside[name] | compared]
    conflicts = {name: inside[name] & set(linear) for name in linear}
    chosen: set[str] = set()
    for name in sorted(linear, key=lambda name: len(conflicts[name])):
        if not conflicts[name] & chosen:
            chosen.add(name)
    return tuple(name for name in linear if name in chosen)


def _leaves(graph: Graph, number: int) -> set[str]:
    """The names that a part depends on."""
    waiting, seen, names = [number], set(), set()
    while waiting:
        part = waiting.pop()
        if part not in seen:
            seen.add(part)
            waiting.extend(graph.items[part].parts)
            names |= {graph.items[part].name} - {""}
    return names


def without_effect(tree: Node) -> tuple[str, ...]:
    """Names on whose values the formula does not depend, such as that of a column times 0.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> without_effect(read_expression("E + A * N ** -a + 0 * V + (D - D)"))
        ('V', 'D')
    """
    graph = Graph(names_of(tree))
    used = _leaves(graph, graph.build(tree))
    return tuple(name for name in names_of(tree) if name not in used)


def power_terms(tree: Node, variables: Collection[str]) -> tuple[PowerTerm, ...] | None:
    """The terms of a formula that is a sum of power terms of positive variables; else None.

    Each term has a parameter of its own in front. Sums in brackets are multiplied out where no
    parameter comes to stand in front of two terms.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> one, two = power_terms(read_expression("E + 2 * A / (N * D) ** a"), ["N", "D"])
        >>> one.scale, two.factor, dict(two.exponents)
        ('E', 2.0, {'a': {'N': 1.0, 'D': 1.0}})
    """
    parameters = [name for name in names_of(tree) if name not in variables]
    graph = Graph(parameters, variables)
    whole = graph.build(tree)
    item = graph.items[whole]
    if item.kind == "sum":
        if item.value:
            return None
        terms = item.terms
    else:
        terms = ((whole, 1.0),)
    summands = [_power_term(graph, number, c) for number, c in terms]
    kept = tuple(term for term in summands if term is not None)
    scales = [term.scale for term in kept]
    exponents = {name for term in kept for name in term.exponents}
    if len(kept) < len(terms) or len(set(scales)) < len(scales) or exponents & set(scales):
        return None
    order = {name: i for i, name in enumerate(names_of(tree))}
    return tuple(sorted(kept, key=lambda term: order[term.scale]))


def _power_term(graph: Graph, number: int, factor: float) -> PowerTerm | None:
    """One summand as a power term; None if it is something else."""
    item = graph.items[number]
    terms = item.terms if item.kind == "product" else ((number, 1.0),)
    factor *= item.value if item.kind == "product" else 1.0
    scale, inner = None, None
    for part, exponent in terms:
        one = graph.items[part]
        if one.kind == "exp" and exponent == 1 and inner is None:
            inner = one.parts[0]
        elif one.kind == "leaf" and one.free and exponent == 1 and scale is None:
            scale = one.name
        else:
            return None
    if scale is None:
        return None
    if inner is None:
        return PowerTerm(scale, factor=factor)
    return _with_exponents(graph, scale, factor, graph.items[inner], inner)


def _with_exponents(graph: Graph, scale: str, factor: float, item: Item, number: int):
    """A power term whose exponents stand in the argument of an exp; None if they do not."""
    terms = item.terms if item.kind == "sum" else ((number, 1.0),)
    if item.kind == "sum" and item.value:
        return None
    exponents: dict[str, dict[str, float]] = {}
    shifts: dict[str, float] = {}
    kinds = set()
    for part, coefficient in terms:
        feature = _feature(graph, part, coefficient)
        if feature is None:
            return None
        name, powers, shift, linear = feature
        kinds.add(linear)
        into = exponents.setdefault(name, {})
        for variable, power in powers.items():
            into[variable] = into.get(variable, 0.0) + power
        shifts[name] = shifts.get(name, 0.0) + shift
    if len(kinds) > 1 or (True in kinds and any(shifts.values())):
        return None
    shifts = {name: shift for name, shift in shifts.items() if shift}
    return PowerTerm(scale, exponents, True in kinds, factor, shifts)


def _feature(graph: Graph, number: int, coefficient: float):
    """A parameter times logarithms (or variables): its name, powers, shift, and which."""
    item = graph.items[number]
    if item.kind != "product" or len(item.terms) != 2 or {k for _, k in item.terms} != {1.0}:
        return None
    coefficient *= item.value
    own = [
        part for part in item.parts if graph.items[part].kind == "leaf" and graph.items[part].free
    ]
    if len(own) != 1:
        return None
    (other,) = (part for part in item.parts if part != own[0])
    rest = graph.items[other]
    terms = rest.terms if rest.kind == "sum" else ((other, 1.0),)
    shift = rest.value if rest.kind == "sum" else 0.0
    powers: dict[str, float] = {}
    kinds = set()
    for part, c in terms:
        one = graph.items[part]
        logarithm = one.kind in ("log", "plog")
        leaf = graph.items[one.parts[0]] if logarithm else one
        if leaf.kind != "leaf" or leaf.free:
            return None
        kinds.add(not logarithm)
        powers[leaf.name] = -coefficient * c
    if len(kinds) != 1:
        return None
    return graph.items[own[0]].name, powers, -coefficient * shift, kinds == {True}


def roles(tree: Node, parameters: Collection[str]) -> dict[str, frozenset[str]]:
    """Where every parameter stands.

    `offset`: a summand of the law; `amplitude`: a factor of one; `exponent`: in an exponent;
    `scale`: a factor beside a variable in the base of a power; `shift`: a summand there;
    `argument`: within exp, log, tanh, sigmoid or softplus; `threshold`: in a comparison.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> place = roles(read_expression("E + A * (N / S) ** -a"), ["E", "A", "S", "a"])
        >>> {name: sorted(role)[0] for name, role in place.items()}
        {'E': 'offset', 'A': 'amplitude', 'S': 'scale', 'a': 'exponent'}
    """
    places: dict[str, set[str]] = {name: set() for name in names_of(tree) if name in parameters}
    for name, role in _occurrences(tree, "law", True):
        if name in places:
            places[name].add(role)
    return {name: frozenset(role) for name, role in places.items()}


def _occurrences(tree: Node, context: str, alone: bool) -> Iterator[tuple[str, str]]:
    """Every name with its role.

    Args:
        tree: a part of the law.
        context: what the part stands in: the law, a base, an exponent, an argument.
        alone: whether it is a summand there.
    """
    kind, parts = tree.kind, tree.parts
    if kind == "name":
        own = {"law": ("offset", "amplitude"), "base": ("shift", "scale")}
        yield tree.name, own[context][0 if alone else 1] if context in own else context
    elif kind in ("+", "-", "neg", "min", "max", "abs"):
        for part in parts:
            yield from _occurrences(part, context, alone)
    elif kind in ("*", "/"):
        for part in parts:
            yield from _occurrences(part, context, False)
    elif kind == "**":
        free = bool(names_of(parts[1]))
        inside = "base" if free and context == "law" else context
        yield from _occurrences(parts[0], inside, alone=inside == "base" and context == "law")
        yield from _occurrences(parts[1], "exponent", True)
    elif kind == "where":
        for part in parts[0].parts:
            yield from _occurrences(part, "threshold", True)
        for part in parts[1:]:
            yield from _occurrences(part, context, alone)
    elif kind not in COMPARISONS:
        for part in parts:
            yield from _occurrences(part, "argument" if kind != "sqrt" else context, False)


def domains(tree: Node, parameters: Collection[str]) -> dict[str, str]:
    """What values every name may have so that the formula is finite.

    `positive`: above 0, as in a logarithm or in a power whose exponent is a parameter and which
    divides; `nonnegative`: 0 too, as under a root or in a power that multiplies; `nonzero`: of
    either sign, as a divisor; `any`. A sum in a base or divisor says nothing about its summands.

    Args:
        tree: of the formula.
        parameters: names that are no variables.

    Example:
        >>> from isoloss.formulas import read_expression
        >>> law = read_expression("E + A * N ** -a + B * R ** b / U + c * T")
        >>> values = domains(law, ["E", "A", "B", "a", "b", "c"])
        >>> [values[name] for name in "NRUT"]
        ['positive', 'nonnegative', 'nonzero', 'any']
    """
    graph = Graph([name for name in names_of(tree) if name in parameters])
    graph.build(tree)
    needs: dict[str, set[str]] = {name: set() for name in names_of(tree)}
    for item in graph.items:
        for part, need in _needs(graph, item):
            for name in _factors(graph, part):
                needs[name].add(need)
    return {name: _strictest(several) for name, several in needs.items()}


def _needs(graph: Graph, item: Item) -> Iterator[tuple[int, str]]:
    """The parts of an item that need certain values."""
    if item.kind == "log":
        yield item.parts[0], POSITIVE
    elif item.kind == "product":
        for part, exponent in item.terms:
            if exponent < 0:
                yield part, NONZERO
            if exponent % 1:
                yield part, NONNEGATIVE
    elif item.kind == "exp":
        inner = graph.items[item.parts[0]]
        terms = inner.terms if inner.kind == "sum" else ((item.parts[0], 1.0),)
        for number, coefficient in terms:
            one = graph.items[number]
            if one.kind != "product":
                continue
            for part in one.parts:
                for base, c in _bases(graph, part):
                    above = coefficient * one.value * c > 0
                    yield base, NONNEGATIVE if above else POSITIVE


def _bases(graph: Graph, number: int) -> Iterator[tuple[int, float]]:
    """What stands in the logarithms of a sum, with the coefficients of these."""
    item = graph.items[number]
    for part, c in item.terms if item.kind == "sum" else ((number, 1.0),):
        if graph.items[part].kind == "plog":
            yield graph.items[part].parts[0], c


def _factors(graph: Graph, number: int) -> list[str]:
    """The names whose product a part is; none of another part."""
    item = graph.items[number]
    if item.kind == "leaf":
        return [item.name]
    if item.kind != "product":
        return []
    return [graph.items[part].name for part in item.parts if graph.items[part].kind == "leaf"]


def _strictest(needs: Collection[str]) -> str:
    if POSITIVE in needs or {NONZERO, NONNEGATIVE} <= set(needs):
        return POSITIVE
    return next((need for need in (NONNEGATIVE, NONZERO) if need in needs), ANY)
