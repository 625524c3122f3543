"""Sums of products of powers, and exponentials of polynomials in logarithms: the two skeletons.

Both can grow by a part: a product, a saturation, an exponent that depends on another variable, a
monomial in logarithms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations, combinations_with_replacement

from isoloss.discovery.forms import Form, Names
from isoloss.discovery.roles import Columns

POWER, SHIFTED, SATURATED, CURVED = "power", "shifted", "saturated", "curved"
Monomial = tuple[str, ...]  # of logarithms: ("lr", "lr") is log(lr)**2


@dataclass(frozen=True)
class Factor:
    """What a product has of one variable.

    Attributes:
        variable: its column.
        kind: x**-a; (x + x_0)**-a; (1 + k log x)**-a; or x**-(a + b log x).
        by: another variable whose logarithm changes the exponent; empty for none.
        through: how: "log" as a + b log z, "power" as a z**b.
    """

    variable: str
    kind: str = POWER
    by: str = ""
    through: str = "log"


@dataclass(frozen=True)
class Sum:
    """E + sum of products + monomials in logarithms.

    Attributes:
        offset: whether it has E.
        products: each with an amplitude of its own.
        logs: monomials in logarithms with a coefficient each.
        outer: whether the products together have an exponent, as in Kaplan's law.
    """

    offset: bool
    products: tuple[tuple[Factor, ...], ...]
    logs: tuple[Monomial, ...] = ()
    outer: bool = False

    def form(self, columns: Columns) -> Form:
        """The form of it."""
        return sum_form(columns, self)

    def grown(self, columns: Columns) -> Iterator[Sum]:
        """Sums with one part more."""
        if self.outer:
            return
        for at, product in enumerate(self.products):
            for spot, factor in enumerate(product):
                for other in _changed(columns, factor):
                    yield self.changed(at, (*product[:spot], other, *product[spot + 1 :]))
        yield from _with_a_product(columns, self)
        for logs in further_monomials(self, columns.tuned):
            yield replace(self, logs=(*self.logs, logs))

    def pruned(self) -> Iterator[Sum]:
        """Sums with one part less: a monomial that no other is made of, a product, a factor."""
        yield from _fewer_logs(self)
        if self.outer:
            return
        for at, product in enumerate(self.products):
            others = (*self.products[:at], *self.products[at + 1 :])
            if others:
                yield replace(self, products=others)
            for spot, factor in enumerate(product):
                plain = replace(factor, kind=POWER, by="", through="log")
                shorter = (*product[:spot], *product[spot + 1 :])
                if plain != factor:
                    yield self.changed(at, (*product[:spot], plain, *product[spot + 1 :]))
                if shorter:
                    yield self.changed(at, shorter)

    def straightened(self) -> Iterator[Sum]:
        """Sums with a logarithm in place of a power: what it becomes when its exponent vanishes."""
        for at, product in enumerate(self.products):
            others = (*self.products[:at], *self.products[at + 1 :])
            logs = tuple(factor.variable for factor in product)
            plain = product == (Factor(logs[0]),)
            if plain and self.offset and others and not self.outer and logs not in self.logs:
                yield replace(self, products=others, logs=(*self.logs, logs))

    def changed(self, at: int, product: tuple[Factor, ...]) -> Sum:
        """The sum with another product at a place."""
        return replace(self, products=(*self.products[:at], product, *self.products[at + 1 :]))


@dataclass(frozen=True)
class Exponential:
    """E + exp(polynomial in logarithms), or without E.

    Attributes:
        offset: whether it has E.
        logs: monomials of the polynomial beside its constant.
    """

    offset: bool
    logs: tuple[Monomial, ...]

    def form(self, columns: Columns) -> Form:
        """The form of it."""
        return exponential_form(columns, self)

    def grown(self, columns: Columns) -> Iterator[Exponential]:
        """Exponentials with one monomial more."""
        for logs in further_monomials(self, columns.free):
            yield replace(self, logs=(*self.logs, logs))

    def pruned(self) -> Iterator[Exponential]:
        """Exponentials with one monomial less, one that no other is made of."""
        yield from _fewer_logs(self)

    def straightened(self) -> Iterator[Exponential]:
        """None: its logarithms have no exponents."""
        yield from ()


def log_of(columns: Columns, name: str) -> str:
    """The logarithm of a size; a variable that may be 0 or below stands for itself."""
    return f"log({name})" if name in columns.sizes else name


def monomial(columns: Columns, names: Monomial) -> str:
    """The product of logarithms."""
    parts = []
    for name in dict.fromkeys(names):
        power = names.count(name)
        parts.append(log_of(columns, name) + (f"**{power}" if power > 1 else ""))
    return "*".join(parts)


def _factor(columns: Columns, factor: Factor, names: Names, several: bool) -> str:
    """A factor of a denominator."""
    x = factor.variable
    size = x in columns.sizes
    near = (0.02, 1.0) if several else (0.05, 1.2)
    exponent = names.exponent(near)
    if factor.by:
        other = log_of(columns, factor.by)
        if factor.through == "power":
            exponent = f"({exponent}*{factor.by}**{names.slope('r', 0.3)})"
        else:
            exponent = f"({exponent} + {names.slope('s', 0.1)}*{other})"
    if factor.kind == CURVED:
        exponent = f"({exponent} + {names.slope('s', 0.1)}*{log_of(columns, x)})"
    if factor.kind == SHIFTED:
        base = x if size else f"exp({x})"
        return f"({base} + {names.scale(x)})**{exponent}"
    if factor.kind == SATURATED:
        return f"(1 + {names.scale('k', (-3.0, 1.0))}*log({x}))**{exponent}"
    if size:
        return f"{x}**{exponent}"
    return f"exp({exponent}*{x})"


def _product(columns: Columns, product: Sequence[Factor], names: Names, head: str) -> str:
    under = [_factor(columns, factor, names, len(product) > 1) for factor in product]
    below = under[0] if len(under) == 1 else f"({' * '.join(under)})"
    return f"{head} / {below}"


def sum_form(columns: Columns, shape: Sum) -> Form:
    """The form of a sum."""
    names = Names(columns.names)
    straight = bool(shape.logs)  # without a floor: the constant is one of any sign
    parts = [names.amplitude() if straight else names.offset()] if shape.offset else []
    if shape.outer:
        first, *others = shape.products
        inside = [_product(columns, first, names, "1")]
        for other in others:
            inside.append(_product(columns, other, names, names.scale("q")))
        head = names.amplitude()
        parts.append(f"{head} * ({' + '.join(inside)})**{names.exponent((0.3, 2.0), 0.02)}")
    else:
        for product in shape.products:
            parts.append(_product(columns, product, names, names.amplitude()))
    for logs in shape.logs:
        parts.append(f"{names.amplitude()}*{monomial(columns, logs)}")
    text = " + ".join(parts)
    return Form(text, names.ordered(), family="sum", structure=shape)


def exponential_form(columns: Columns, shape: Exponential) -> Form:
    """The form of an exponential of a polynomial in logarithms."""
    names = Names(columns.names)
    offset = names.offset() if shape.offset else ""
    if shape.offset:
        coefficients = [names.place("c", (0.0, 0.0), 60.0)]
        for number, _ in enumerate(shape.logs, 1):
            coefficients.append(names.place(f"c{number}", (0.0, 0.0), 30.0))
    else:
        coefficients = [names.coefficient() for _ in range(1 + len(shape.logs))]
    terms = [coefficients[0]]
    for name, logs in zip(coefficients[1:], shape.logs, strict=True):
        terms.append(f"{name}*{monomial(columns, logs)}")
    inner = " + ".join(terms)
    text = f"{offset} + exp({inner})" if shape.offset else f"exp({inner})"
    return Form(text, names.ordered(), inner, "exponential", shape)


def partitions(items: Sequence[str]) -> Iterator[list[list[str]]]:
    """All ways to divide items into blocks."""
    if not items:
        yield []
        return
    first, rest = items[0], items[1:]
    for blocks in partitions(rest):
        yield [[first], *blocks]
        for at in range(len(blocks)):
            yield [*blocks[:at], [first, *blocks[at]], *blocks[at + 1 :]]


def polynomials(names: Sequence[str], tuned: Sequence[str]) -> Iterator[tuple[Monomial, ...]]:
    """Polynomials in logarithms: straight, with products, with squares of some, of all."""
    straight = tuple((name,) for name in names)
    pairs = tuple(combinations(names, 2))
    squares = tuple((name, name) for name in names)
    yield straight
    if pairs:
        yield straight + pairs
        yield straight + tuple((name, name) for name in names)
    for name in names if len(names) <= 4 else ():
        yield (*straight, (name, name))
        if pairs:
            yield straight + pairs + ((name, name),)
    if tuned:
        own = tuple((name, name) for name in tuned)
        crossed = tuple(pair for pair in pairs if set(pair) & set(tuned))
        yield straight + own
        yield straight + own + crossed
        yield straight + own + pairs
    if pairs or len(names) == 1:
        yield straight + pairs + squares


def further_monomials(shape: Sum | Exponential, names: Sequence[str]) -> Iterator[Monomial]:
    """Monomials in logarithms that a polynomial may grow by: each follows from what it has."""
    have = set(shape.logs)
    for degree in (1, 2, 3):
        for logs in combinations_with_replacement(names, degree):
            below = [tuple(n for i, n in enumerate(logs) if i != at) for at in range(degree)]
            if logs not in have and all(low in have or not low for low in below):
                yield logs


def _fewer_logs(shape):
    for logs in shape.logs:
        above = [other for other in shape.logs if len(other) > len(logs) and _within(logs, other)]
        if not above and len(shape.logs) > 1:
            yield replace(shape, logs=tuple(other for other in shape.logs if other != logs))


def _within(part: Monomial, whole: Monomial) -> bool:
    return all(part.count(name) <= whole.count(name) for name in part)


def _changed(columns: Columns, factor: Factor) -> Iterator[Factor]:
    """A factor with one part more."""
    if factor.by or factor.kind != POWER:
        return
    yield replace(factor, kind=SHIFTED)
    yield replace(factor, kind=CURVED)
    if factor.variable in columns.counts:
        yield replace(factor, kind=SATURATED)
    for other in columns.free:
        if other != factor.variable:
            yield replace(factor, by=other)
            if other in columns.sizes:
                yield replace(factor, by=other, through="power")


def _with_a_product(columns: Columns, shape: Sum) -> Iterator[Sum]:
    """A sum with a further product of variables, or a further variable in one of its products."""
    have = {tuple(sorted(f.variable for f in product)) for product in shape.products}
    for count in (1, 2, 3):
        for names in combinations(columns.free, count):
            if tuple(sorted(names)) not in have:
                product = tuple(Factor(name) for name in names)
                yield replace(shape, products=(*shape.products, product))
    for at, product in enumerate(shape.products):
        for name in columns.free:
            if all(factor.variable != name for factor in product):
                longer = (*product, Factor(name))
                products = (*shape.products[:at], longer, *shape.products[at + 1 :])
                yield replace(shape, products=products)
