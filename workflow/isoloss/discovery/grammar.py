"""The forms that a search begins with, from the terms of the field."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

from isoloss.discovery.forms import Form, Names
from isoloss.discovery.roles import Columns
from isoloss.discovery.structure import (
    SATURATED,
    SHIFTED,
    Exponential,
    Factor,
    Sum,
    exponential_form,
    log_of,
    monomial,
    partitions,
    polynomials,
    sum_form,
)

MANY = 4  # variables above which only all apart, all together, and pairs are taken


def forms(columns: Columns, positive: bool) -> list[Form]:
    """All forms that a search begins with; none twice.

    Args:
        columns: of the table.
        positive: whether the response is above 0, so that it may be an exponential.
    """
    made = [*_sums(columns), *_logarithms(columns), *_exponentials(columns, positive)]
    if len(columns.free) == 1:
        made += _of_one(columns)
    else:
        made += _saturated(columns) + _dependent(columns) + _coupled(columns)
        made += _with_bumps(columns)
    if columns.tuned and len(columns.free) > 1:
        made += _valleys(columns)
    if columns.unique:
        made += _repeated(columns)
    if columns.share:
        made += _shares(columns)
    kept = {form.text: form for form in made}
    return list(kept.values())


def _blocks(columns: Columns) -> list[list[list[str]]]:
    names = list(columns.free)
    if len(names) <= MANY:
        return sorted(partitions(names), key=lambda blocks: (len(blocks), str(blocks)))
    return [[names], [[name] for name in names]]


def _products(blocks) -> tuple[tuple[Factor, ...], ...]:
    return tuple(tuple(Factor(name) for name in block) for block in blocks)


def _sums(columns: Columns) -> list[Form]:
    """Sums of products of powers, with an offset; one product without, too."""
    shapes = [Sum(True, _products(blocks)) for blocks in _blocks(columns)]
    shapes.append(Sum(False, _products([columns.free])))
    names = columns.free
    if 1 < len(names) <= MANY:
        apart = [[name] for name in names]
        shapes.append(Sum(True, _products([*apart, names])))
        if len(names) == 3:
            for left in names:
                both = [name for name in names if name != left]
                shapes.append(Sum(True, _products([*apart, both])))
    return [sum_form(columns, shape) for shape in shapes]


def _logarithms(columns: Columns) -> list[Form]:
    """Polynomials in logarithms."""
    names = columns.free
    few = {*polynomials(names, columns.tuned)} if len(names) <= MANY else {*polynomials(names, ())}
    return [sum_form(columns, Sum(True, (), logs)) for logs in sorted(few)]


def _exponentials(columns: Columns, positive: bool) -> list[Form]:
    """Exponentials of those that are not straight (a product of powers), with and without E."""
    straight = tuple((name,) for name in columns.free)
    few = sorted({*polynomials(columns.free, columns.tuned)} - {straight})
    made = [Exponential(True, logs) for logs in few]
    if positive:
        made += [Exponential(False, logs) for logs in few]
    return [exponential_form(columns, shape) for shape in made]


def _saturated(columns: Columns) -> list[Form]:
    """Products and sums in which one variable saturates."""
    made = []
    blocks_of = _blocks(columns)
    for blocks in blocks_of if len(columns.free) < MANY else (blocks_of[0], blocks_of[-1]):
        for name in columns.free:
            kinds = [SHIFTED] if name in columns.sizes else []
            kinds += [SATURATED] if name in columns.counts else []
            for kind in kinds:
                products = tuple(
                    tuple(Factor(n, kind if n == name else "power") for n in block)
                    for block in blocks
                )
                made.append(sum_form(columns, Sum(True, products)))
    return made


def _dependent(columns: Columns) -> list[Form]:
    """Exponents that depend on another variable: in a sum, and with an amplitude that does too."""
    made = []
    pairs = [(a, b) for a in columns.free for b in columns.free if a != b]
    few = len(columns.free) < MANY
    for one, by in pairs if len(columns.free) <= MANY else []:
        apart = [[Factor(name)] for name in columns.free]
        at = columns.free.index(one)
        for through in ("log", "power") if few and by in columns.sizes else ("log",):
            changed = [*apart]
            changed[at] = [Factor(one, by=by, through=through)]
            made.append(Sum(True, tuple(map(tuple, changed))))
            if not few:
                continue
            changed[at] = [Factor(one, by=by, through=through), Factor(by)]
            made.append(Sum(True, tuple(map(tuple, changed))))
    return [sum_form(columns, shape) for shape in made]


def _coupled(columns: Columns) -> list[Form]:
    """Kaplan's: all terms together to a power."""
    shape = Sum(True, _products([[name] for name in columns.free]), outer=True)
    return [sum_form(columns, shape)]


def _shares(columns: Columns) -> list[Form]:
    """Logistic functions of a polynomial in logarithms, with ends at 0 and 1 or one of them free.

    Also of a sum of powers, which is an accuracy as a logistic function of a loss.
    """
    names = columns.free
    straight = tuple((name,) for name in names)
    squares = tuple((name, name) for name in names)
    shapes = {straight, straight + tuple(combinations(names, 2)), straight + squares}
    made = []
    for logs in sorted(shapes) if len(names) <= MANY else [straight]:
        for ends in ("both", "floor", "top"):
            made.append(_logistic(columns, ends, logs))
    for ends in ("both", "floor") if 1 < len(names) < MANY else ():
        fresh = Names(columns.names)
        inner = [fresh.place("c", (-1.0, 5.0))]
        for number, name in enumerate(names, 1):
            head = fresh.place(f"c{number}", (-4.0, 0.0))
            inner.append(f"{head} / {_powered(columns, name, fresh)}")
        text = _between(fresh, ends, f"sigmoid({' + '.join(inner)})")
        made.append(Form(text, fresh.ordered(), family="logistic"))
    return made


def _logistic(columns: Columns, ends: str, logs: Sequence[tuple[str, ...]]) -> Form:
    names = Names(columns.names)
    terms = [names.place("c", (0.0, 0.0), 60.0)]
    for number, one in enumerate(logs, 1):
        terms.append(f"{names.place(f'c{number}', (0.0, 0.0))}*{monomial(columns, one)}")
    exponent = " + ".join(terms)
    text = _between(names, ends, f"sigmoid({exponent})")
    return Form(text, names.ordered(), exponent=exponent, family="logistic")


def _between(names: Names, ends: str, step: str) -> str:
    """A step from 0 to 1, from a floor to 1, or from 0 to a top."""
    if ends == "both":
        return step
    if ends == "top":
        return f"{names.amplitude()} * {step}"
    floor = names.offset()
    return f"{floor} + (1 - {floor}) * {step}"


def _valleys(columns: Columns) -> list[Form]:
    """Powers of the other variables beside a polynomial in the logarithms of those with an optimum.

    Products with the other logarithms move the optimum.
    """
    others = [name for name in columns.free if name not in columns.tuned]
    tuned = columns.tuned
    own = tuple((name,) for name in tuned) + tuple((name, name) for name in tuned)
    pairs = tuple((a, b) for i, a in enumerate(tuned) for b in tuned[i + 1 :])
    moved = tuple((a, b) for a in tuned for b in others)
    made = []
    for blocks in partitions(others):
        for logs in (own, own + pairs, own + pairs + moved):
            made.append(sum_form(columns, Sum(True, _products(blocks), logs)))
    return made


def _repeated(columns: Columns) -> list[Form]:
    """Distinct data and their repetitions: effective data, and an excess from repeating."""
    unique, data = columns.unique, columns.data
    others = [name for name in columns.free if name not in (unique, data)]
    made = []
    for excess in ("", "ratio", "sizes"):
        for kind in ("effective", "plain"):
            if kind == "plain" and not excess:
                continue
            for crossed in (False, True) if others else (False,):
                made.append(_repeated_form(columns, others, kind, excess, crossed))
    return made


def _repeated_form(
    columns: Columns, others: list[str], kind: str, excess: str, crossed: bool
) -> Form:
    names, unique, data = Names(columns.names), columns.unique, columns.data
    parts = [names.offset()]
    for name in others:
        parts.append(f"{names.amplitude()} / {_powered(columns, name, names)}")
    useful = data
    if kind == "effective":
        rate = names.scale("R", (0.0, 4.0))
        useful = f"({unique} * (1 + {rate} * (1 - exp(-({data}/{unique} - 1)/{rate}))))"
    parts.append(f"{names.amplitude()} / {useful}**{names.exponent()}")
    if crossed:
        under = " * ".join(_powered(columns, name, names, True) for name in others)
        parts.append(f"{names.amplitude()} / ({under} * {useful}**{names.exponent((0.02, 0.6))})")
    if excess:
        repeats = f"({data}/{unique})**{names.exponent((0.3, 2.0), 0.0)}"
        with_sizes = others if excess == "sizes" else []
        over = "".join(
            f" * {_powered(columns, name, names, True, (-0.8, 0.2))}" for name in with_sizes
        )
        share = f"{unique}**{names.exponent((0.05, 1.0))}" if excess == "sizes" else ""
        parts.append(f"{names.amplitude()} * {repeats}{over}" + (f" / {share}" if share else ""))
    text = " + ".join(parts)
    return Form(text, names.ordered(), family="repetition")


def _powered(
    columns: Columns,
    name: str,
    names: Names,
    several: bool = False,
    near: tuple[float, float] | None = None,
) -> str:
    exponent = names.exponent(near or ((0.02, 0.6) if several else (0.05, 1.2)))
    return f"{name}**{exponent}" if name in columns.sizes else f"exp({exponent}*{name})"


def _bump(columns: Columns, name: str, names: Names) -> str:
    """A bump at a place of a variable's logarithm, with a width."""
    if name in columns.sizes:
        return f"exp(-(log({name}/{names.scale(name, (-3, 3))})/{names.scale('w', (-1.5, 1))})**2)"
    middle = names.place(f"{name}_mid", (-1.5, 1.5))
    return f"exp(-(({name} - {middle})/{names.scale('w', (-1.5, 1))})**2)"


def _with_bumps(columns: Columns) -> list[Form]:
    """A sum of powers and a bump in one variable, of those with an optimum."""
    made = []
    for name in columns.tuned:
        others = [other for other in columns.free if other != name]
        names = Names(columns.names)
        parts = [names.amplitude()]
        parts += [f"{names.amplitude()} / {_powered(columns, o, names)}" for o in others]
        parts.append(f"{names.amplitude()}*{log_of(columns, name)}")
        parts.append(f"{names.amplitude()} * {_bump(columns, name, names)}")
        text = " + ".join(parts)
        made.append(Form(text, names.ordered(), family="bump"))
    return made


def _of_one(columns: Columns) -> list[Form]:
    """Forms of one variable that are neither a power nor a polynomial."""
    (x,) = columns.free
    size = x in columns.sizes
    axis = log_of(columns, x)

    def made(family: str, build) -> Iterator[Form]:
        names = Names(columns.names)
        text = build(names)
        yield Form(text, names.ordered(), family=family)

    def power(n: Names) -> str:
        return f"{n.amplitude()} / {_powered(columns, x, n)}"

    bodies = {
        "two powers": lambda n: f"{n.offset()} + {power(n)} + {power(n)}",
        "power and line": lambda n: f"{n.amplitude()} + {power(n)} + {n.amplitude()}*{axis}",
        "cubic": lambda n: " + ".join(
            [n.amplitude(), *(f"{n.amplitude()}*{monomial(columns, (x,) * k)}" for k in (1, 2, 3))]
        ),
        "trend and bump": lambda n: (
            f"{n.amplitude()} + {n.amplitude()}*{axis} + {n.amplitude()} * {_bump(columns, x, n)}"
        ),
        "power and bump": lambda n: (
            f"{n.offset()} + {power(n)} + {n.amplitude()} * {_bump(columns, x, n)}"
        ),
        "two steps": lambda n: f"{n.offset()} + {_step(columns, x, n)} + {_step(columns, x, n)}",
        "step": lambda n: f"{n.offset()} + {_step(columns, x, n)}",
        "step and bump": lambda n: (
            f"{n.offset()} + {_step(columns, x, n)} + {n.amplitude()} * {_bump(columns, x, n)}"
        ),
        "beginning trend": lambda n: f"{n.amplitude()} + {_beginning(columns, x, n)}",
        "beginning trend and bump": lambda n: (
            f"{n.amplitude()} + {_beginning(columns, x, n)} + {n.amplitude()} * "
            f"{_bump(columns, x, n)}"
        ),
        "trend and step": lambda n: (
            f"{n.amplitude()} + {n.amplitude()}*{axis} + {_step(columns, x, n)}"
        ),
    }
    if size:
        bodies |= {
            "shifted": lambda n: (
                f"{n.offset()} + {n.amplitude()} / ({x} + {n.scale(x)})**{n.exponent()}"
            ),
            "rectified": lambda n: (
                f"{n.offset()} + {n.amplitude()} / "
                f"({x}**{n.exponent((0.1, 1.5), 0.02)} + {n.scale('q')})"
            ),
            "shifted without offset": lambda n: (
                f"{n.amplitude()} / ({x} + {n.scale(x)})**{n.exponent()}"
            ),
            "stretched": lambda n: (
                f"{n.offset()} + {n.amplitude()} * exp(-({x}/{n.scale(x)})**"
                f"{n.exponent((0.1, 1.5), 0.02)})"
            ),
            "curved": lambda n: (
                f"{n.offset()} + {n.amplitude()} / {x}**({n.exponent()} + "
                f"{n.slope('s', 0.1)}*log({x}))"
            ),
            "step without offset": lambda n: _step(columns, x, n),
            "broken sharply": lambda n: f"{n.offset()} + {power(n)} / {_break(x, n, 'f')}",
            "broken sharply without offset": lambda n: f"{power(n)} / {_break(x, n, 'f')}",
            "broken twice": lambda n: (
                f"{n.offset()} + {power(n)} / ({_break(x, n, 'f')} * {_break(x, n, 'g')})"
            ),
            "broken": lambda n: (
                f"{n.offset()} + {n.amplitude()} / {x}**{n.exponent()} / "
                f"(1 + {x}/{n.scale(x)})**{n.exponent((-0.5, 0.5))}"
            ),
        }
    return [form for family, build in bodies.items() for form in made(family, build)]


def _break(x: str, names: Names, stem: str) -> str:
    """What a power is divided by that changes its exponent at a place, smoothly or sharply."""
    at, sharp = names.scale(x), names.scale(stem, (0.0, 2.0), 3.0)
    return f"(1 + ({x}/{at})**{sharp})**({names.exponent((-0.5, 0.5))}/{sharp})"


def _beginning(columns: Columns, x: str, names: Names) -> str:
    """A trend in a variable's logarithm that begins at a place."""
    head, rate = names.amplitude(), names.exponent((0.5, 4.0), 0.05, 30.0)
    if x in columns.sizes:
        return f"{head}*log(1 + ({x}/{names.scale(x)})**{rate})"
    return f"{head}*softplus({rate}*({x} - {names.place(f'{x}_mid', (-1.5, 1.5))}))"


def _step(columns: Columns, x: str, names: Names) -> str:
    """A smooth step: a logistic function of a variable's logarithm."""
    rate = names.exponent((0.5, 4.0), 0.05, 30.0)
    if x in columns.sizes:
        return f"{names.amplitude()} / (1 + ({x}/{names.scale(x)})**{rate})"
    return f"{names.amplitude()} * sigmoid(-{rate}*({x} - {names.place(f'{x}_mid', (-1.5, 1.5))}))"
