"""What the parameters of a formula are: exponents, offsets, amplitudes, scales, and their signs.

The sign of a parameter is fixed by the form where it is a size by convention: the amplitude of a
power, the scale beside a variable, an offset beside such terms. A coefficient of a logarithm or of
a variable itself, and what stands in the argument of an exp, has any sign.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

from isoloss.formulas import amplitudes, names_of, operation
from isoloss.laws._formula_starts import factors_of, summands_of

ARGUMENTS = ("exp", "tanh", "sigmoid", "softplus")  # of any sign
SIGNED = ("log", "log2", "log10", "tanh")  # functions whose values have any sign


@dataclass(frozen=True)
class Roles:
    """What the parameters of a formula are.

    Attributes:
        exponents: those that stand alone in an exponent.
        of_brackets: those of them that stand above sums with parameters, and nowhere else.
        offsets: summands of the law itself.
        any_sign: those whose sign the form leaves open.
        linear: parameters in which the law is linear, all of them together.
    """

    exponents: frozenset[str]
    of_brackets: frozenset[str]
    offsets: frozenset[str]
    any_sign: frozenset[str]
    linear: tuple[str, ...]


def roles_of(tree, parameters: Collection[str]) -> Roles:
    """The roles of the parameters of a formula's tree."""
    exponents, free = set(), set()
    for name, role in _occurrences(tree, frozenset(parameters), signed=False):
        if role == "exponent":
            exponents.add(name)
        elif role == "free":
            free.add(name)
    summands = [part for _, part in summands_of(tree)]
    bare = [part.name for part in summands if operation(part)[0] == "name"]
    offsets = frozenset(name for name in bare if name in parameters)
    return Roles(
        frozenset(exponents),
        _of_brackets(tree, frozenset(parameters)) & exponents,
        offsets,
        frozenset(free | exponents),
        amplitudes(tree, parameters),
    )


def _of_brackets(tree, parameters: frozenset[str]) -> frozenset[str]:
    """Parameters that stand in exponents of sums with parameters, and in no other exponent."""
    inside, outside, waiting = set(), set(), [tree]
    while waiting:
        kind, parts = operation(waiting.pop())
        waiting.extend(parts)
        if kind == "**":
            base = operation(parts[0])[0] in ("+", "-") and set(names_of(parts[0])) & parameters
            (inside if base else outside).update(names_of(parts[1]))
    return frozenset(inside - outside) & parameters


def _occurrences(tree, parameters: frozenset[str], signed: bool) -> Iterator[tuple[str, str]]:
    """Every occurrence of a parameter with its role: exponent, free (of any sign), or positive.

    Args:
        tree: a part of the formula.
        parameters: their names.
        signed: whether the part may have any sign.
    """
    kind, parts = operation(tree)
    if kind == "name":
        if tree.name in parameters:
            yield tree.name, "free" if signed else "positive"
    elif kind in ("+", "-"):
        yield from _of_sum(tree, parameters, signed)
    elif kind in ("*", "/"):
        yield from _of_product(tree, parameters, signed)
    elif kind == "neg":
        yield from _occurrences(parts[0], parameters, signed)
    elif kind == "**":
        yield from _of_power(parts, parameters, signed)
    elif kind == "where":
        for part in operation(parts[0])[1]:
            yield from _occurrences(part, parameters, False)
        for part in parts[1:]:
            yield from _occurrences(part, parameters, signed)
    else:
        for part in parts:
            inside = kind in ARGUMENTS or (signed and kind in ("min", "max", "abs"))
            yield from _occurrences(part, parameters, inside)


def _of_sum(tree, parameters: frozenset[str], signed: bool) -> Iterator[tuple[str, str]]:
    """A sum with a coefficient of any sign has an offset of any sign."""
    summands = [part for _, part in summands_of(tree)]
    bare = [part for part in summands if operation(part)[0] == "name"]
    known = [name for part in bare if (name := part.name) not in parameters]
    others = [part for part in summands if not any(part is one for one in bare)]
    roles = [one for part in others for one in _occurrences(part, parameters, signed)]
    slopes = {name for part in others for name in _coefficients(part, parameters)}
    straight = signed or any(role == "free" and name in slopes for name, role in roles)
    yield from roles
    for part in bare:
        if part.name in parameters:
            yield part.name, "free" if straight or (signed and known) else "positive"


def _coefficients(part, parameters: frozenset[str]) -> Iterator[str]:
    """Parameters that are factors of a summand by themselves."""
    for _, factor in factors_of(part):
        if operation(factor)[0] == "name" and factor.name in parameters:
            yield factor.name


def _of_product(tree, parameters: frozenset[str], signed: bool) -> Iterator[tuple[str, str]]:
    """A coefficient is above 0 where it scales what is a power, a scale or an exp."""
    factors = list(factors_of(tree))
    rest = [factor for _, factor in factors if operation(factor)[0] != "name"]
    plain = [f.name for _, f in factors if operation(f)[0] == "name" and f.name not in parameters]
    sized = any(_sized(factor, parameters) for factor in rest)
    scale = not sized and not rest and any(power < 0 for power, _ in factors)
    free = signed or any(_of_any_sign(factor) for factor in rest)
    free = free or not (sized or scale or not plain)
    for power, factor in factors:
        if operation(factor)[0] == "name":
            if factor.name in parameters:
                yield factor.name, "free" if free and power > 0 else "positive"
        else:
            yield from _occurrences(factor, parameters, signed and power > 0)


def _sized(factor, parameters: frozenset[str]) -> bool:
    """Whether a factor is a power with an exponent that is fitted, an exp, or a sum of such."""
    kind, parts = operation(factor)
    if kind == "**":
        return bool(set(names_of(factor)) & parameters)
    return kind in ("exp", "sqrt", "sigmoid", "softplus") or (
        kind in ("+", "-") and any(_sized(f, parameters) for p in parts for _, f in factors_of(p))
    )


def _of_any_sign(factor) -> bool:
    """Whether a factor may have any sign: a logarithm, or a power of one."""
    kind, parts = operation(factor)
    return kind in SIGNED or (kind == "**" and operation(parts[0])[0] in SIGNED)


def _of_power(
    parts: Sequence, parameters: frozenset[str], signed: bool
) -> Iterator[tuple[str, str]]:
    """An exponent is one; a base is above 0, if the exponent is not an even number."""
    base, exponent = parts
    kind, _ = operation(exponent)
    square = kind == "number" and exponent.number % 2 == 0
    yield from _occurrences(base, parameters, square)
    alone = _alone(exponent, parameters)
    for name, role in _occurrences(exponent, parameters, True):
        yield name, "exponent" if name in alone or role == "exponent" else "free"


def _alone(exponent, parameters: frozenset[str]) -> set[str]:
    """Parameters that are summands of an exponent, times numbers at most."""
    alone = set()
    for _, part in summands_of(exponent):
        factors = [factor for _, factor in factors_of(part)]
        names = [f for f in factors if operation(f)[0] != "number"]
        if len(names) == 1 and operation(names[0])[0] == "name":
            alone.add(names[0].name)
    return alone & parameters
