"""What the parameters of a formula are: exponents, offsets, amplitudes, scales, and their signs.

The sign of a parameter is fixed by the form where it is a size by convention: the amplitude of a
power, the scale beside a variable, an offset beside such terms. A coefficient of a logarithm or of
a variable itself, and what stands in the argument of an exp, has any sign.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

from isoloss.formulas import names_of, operation
from isoloss.laws._formula_starts import factors_of, summands_of
from isoloss.laws._posynomial import Part

ARGUMENTS = ("exp", "tanh", "sigmoid", "softplus")  # of any sign
SIGNED = ("log", "log2", "log10", "tanh")  # functions whose values have any sign


@dataclass(frozen=True)
class Roles:
    """What the parameters of a formula are.

    Attributes:
        exponents: those that stand alone in an exponent.
        offsets: summands of the law itself.
        any_sign: those whose sign the form leaves open.
        linear: parameters in which the law is linear, all of them together.
    """

    exponents: frozenset[str]
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
        frozenset(exponents), offsets, frozenset(free | exponents), linear_of(tree, parameters)
    )


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
    for name, _ in _occurrences(exponent, parameters, True):
        yield name, "exponent" if name in alone else "free"


def _alone(exponent, parameters: frozenset[str]) -> set[str]:
    """Parameters that are summands of an exponent, times numbers at most."""
    alone = set()
    for _, part in summands_of(exponent):
        factors = [factor for _, factor in factors_of(part)]
        names = [f for f in factors if operation(f)[0] != "number"]
        if len(names) == 1 and operation(names[0])[0] == "name":
            alone.add(names[0].name)
    return alone & parameters


def linear_of(tree, parameters: Collection[str]) -> tuple[str, ...]:
    """Parameters in which a formula is linear together: a set that no other can join."""
    able = [name for name in names_of(tree) if name in parameters and degree(tree, {name}) <= 1]
    rivals = {one: sum(degree(tree, {one, other}) > 1 for other in able) for one in able}
    chosen: list[str] = []
    for name in sorted(able, key=rivals.get):
        if degree(tree, {*chosen, name}) <= 1:
            chosen.append(name)
    return tuple(name for name in able if name in chosen)


def degree(tree, names: Collection[str]) -> float:
    """The degree of a formula as a polynomial of some parameters; infinite where it is none."""
    kind, parts = operation(tree)
    if kind == "name":
        return float(tree.name in names)
    degrees = [degree(part, names) for part in parts]
    if not any(degrees):
        return 0.0
    if kind in ("+", "-", "neg"):
        return max(degrees)
    if kind == "*":
        return sum(degrees)
    if kind == "/" and not degrees[1]:
        return degrees[0]
    return float("inf")


def parts_of(tree, parameters: Collection[str]) -> tuple[Part, ...] | None:
    """A formula as a sum of power terms; None where it is not one."""
    parts = [_part(sign, summand, parameters) for sign, summand in summands_of(tree)]
    if any(part is None for part in parts):
        return None
    scales = [part.scale for part in parts]
    exponents = {name for part in parts for name in part.exponents}
    apart = len(set(scales)) == len(scales) and not exponents & set(scales)
    return tuple(parts) if apart else None


def _part(sign: float, summand, parameters: Collection[str]) -> Part | None:
    """A summand as a power term: a parameter times powers with parameters as exponents."""
    scale, exponents, inside = "", {}, {}
    for power, factor in factors_of(summand):
        kind, parts = operation(factor)
        if kind == "name" and factor.name in parameters and power > 0 and not scale:
            scale = factor.name
        elif kind == "**" and (term := _multiple(parts[1], parameters)) is not None:
            product = _monomial(parts[0], parameters)
            if product is None:
                return None
            (name, times), (constant, powers) = term, product
            own = exponents.setdefault(name, {})
            for variable, of in powers.items():
                own[variable] = own.get(variable, 0.0) - power * times * of
            inside[name] = inside.get(name, 0.0) - power * times * constant
        else:
            return None
    if not scale or scale in exponents:
        return None
    return Part(scale, exponents, sign=sign, inside={k: v for k, v in inside.items() if v})


def _multiple(exponent, parameters: Collection[str]) -> tuple[str, float] | None:
    """An exponent as a parameter times a number; None where it is not."""
    ((sign, part), *others) = summands_of(exponent)
    name, times = None, sign
    for power, factor in factors_of(part):
        kind, _ = operation(factor)
        if kind == "number" and factor.number:
            times *= factor.number**power
        elif kind == "name" and factor.name in parameters and name is None and power > 0:
            name = factor.name
        else:
            return None
    return None if others or name is None else (name, times)


def _monomial(base, parameters: Collection[str]) -> tuple[float, Mapping[str, float]] | None:
    """Logarithm of the constant, and the powers of the variables, of a product without parameters.

    None where the base is not one.
    """
    constant, powers = 0.0, {}
    for power, factor in factors_of(base):
        kind, parts = operation(factor)
        times = 1.0
        if kind == "**" and operation(parts[1])[0] == "number":
            factor, times = parts[0], parts[1].number
            kind, parts = operation(factor)
        if kind == "number" and factor.number > 0:
            constant += power * times * math.log(factor.number)
        elif kind == "name" and factor.name not in parameters:
            powers[factor.name] = powers.get(factor.name, 0.0) + power * times
        else:
            return None
    return constant, powers
