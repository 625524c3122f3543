"""Parameters that trade: terms that cancel, and combinations that are known where none is alone."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from isoloss.checks import limits
from isoloss.checks.bends import first_remedy
from isoloss.checks.evidence import CARE, NOTE, Evidence, Finding
from isoloss.core import units
from isoloss.core.escape import short, visible
from isoloss.fitted.facts import WIDE
from isoloss.formulas import Evaluator, Node, as_text, names_of, walk
from isoloss.laws._tree import summands, tree_of

SMALLER = "limit the sign of an amplitude, or fit a smaller law"
APART = "add runs where they differ, fix one of them (--fix), or fit a smaller law"


def cancellation(evidence: Evidence) -> Iterator[Finding]:
    """Terms of opposite signs that are far larger than what is left of them."""
    law = evidence.law
    tree = None if law.proportions else tree_of(law)
    terms = [] if tree is None else summands(tree)
    if len(terms) < 2:
        return
    values = _values(evidence, terms)
    size = np.maximum(np.abs(evidence.predicted), np.sqrt(np.mean(evidence.predicted**2)))
    if not (np.isfinite(values).all() and (size > 0).all()):
        return
    ratios = np.abs(values).sum(axis=0) / size
    worst = int(np.argmax(ratios))
    ratio, there = float(ratios[worst]), values[:, worst]
    if ratio < limits.CANCELS:
        return
    first, second = _opposite(there)
    if second is None or not (
        ratio > limits.CANCELS_MUCH or _unknown(evidence, (terms[first], terms[second]))
    ):
        return
    one, other = (_shown(terms[k]) for k in (first, second))
    yield Finding(
        "cancellation",
        CARE,
        f"{one} and {other} cancel: {there[first]:.3g} and {there[second]:.3g} at run "
        f"{evidence.ids(np.array([worst]))}, all terms {units.plain(ratio, 2)} times the "
        f"{evidence.called}",
        _apart(evidence, terms[first], terms[second]),
    )


def _apart(evidence: Evidence, one: Node, other: Node) -> str:
    """What helps where two terms cancel: an amplitude that both have has one sign."""
    own, law = {*names_of(one)}, evidence.law
    if not own & {*names_of(other)} - {*law.variables}:
        return SMALLER
    for term in (*names_of(one), *names_of(other)):
        if term not in law.variables and (simple := first_remedy(evidence.bends, term)):
            return simple
    loose = [n for n in names_of(other) + names_of(one) if (n in own) != (n in names_of(other))]
    fix = next((n for n in loose if n not in law.variables), "")
    others = next((n for n in loose if n in law.variables), "")
    ways = [f"add runs of other {short(visible(others), 40)}"] * bool(others)
    ways += [f"fix {fix} (--fix)"] * bool(fix)
    return ", ".join([*ways, "or fit a smaller law" if ways else "fit a smaller law"])


def _values(evidence: Evidence, terms: list[Node]) -> np.ndarray:
    """The terms of a law at every run, (k, n)."""
    given = {**evidence.law.values(evidence.theta), **evidence.data}
    n = len(evidence.loss)
    with np.errstate(all="ignore"):
        values = [Evaluator(term, ()).value(given) for term in terms]
    return np.stack([np.broadcast_to(value, (n,)) for value in values])


def _opposite(values: np.ndarray) -> tuple[int, int | None]:
    """The largest term, and the largest of the other sign."""
    first = int(np.argmax(np.abs(values)))
    against = np.where(np.sign(values) == -np.sign(values[first]), np.abs(values), 0.0)
    second = int(np.argmax(against))
    return first, second if against[second] > 0 else None


def _unknown(evidence: Evidence, terms: tuple[Node, ...]) -> bool:
    """Whether a parameter of some terms is hardly known: its interval holds 0 or is wide."""
    names = {name for term in terms for name in names_of(term)}
    rows = evidence.params[evidence.params["term"].isin(names)]
    rows = rows[(rows["ci_method"] != "fixed") & np.isfinite(rows["ci_low"].astype(float))]
    return any(_wide(float(row.ci_low), float(row.ci_high)) for row in rows.itertuples())


def _wide(low: float, high: float) -> bool:
    """Whether an interval holds 0, or spans more than a factor."""
    least, most = sorted((abs(low), abs(high)))
    return low <= 0 <= high or most > WIDE * least


def _shown(term: Node) -> str:
    return as_text(term.parts[0] if term.kind == "neg" else term)


def scales(evidence: Evidence) -> Iterator[Finding]:
    """Parameters that a variable is compared with, far outside the runs, and hardly known."""
    law = evidence.law
    tree = None if law.proportions else tree_of(law)
    if tree is None:
        return
    values, seen = law.values(evidence.theta), set()
    powers = {id(node.parts[0]) for node in walk(tree) if node.kind == "**"}  # no scale there
    for node in (node for node in walk(tree) if id(node) not in powers):
        inner = [part.parts[0] if part.kind == "neg" else part for part in node.parts]
        names = [part.name for part in inner if part.kind == "name"]
        own = [name for name in names if name in values]
        beside = [name for name in names if name in law.variables]
        if len(own) != 1 or len(beside) != 1 or len(node.parts) != 2 or own[0] in seen:
            continue
        factor = _factor(node, values[own[0]], evidence.data[beside[0]])
        if not 1 / limits.FAR_SCALE < factor < limits.FAR_SCALE and _loose(evidence, own[0]):
            seen.add(own[0])
            yield _far(evidence, node, own[0], beside[0], factor)


def thresholds(evidence: Evidence) -> Iterator[Finding]:
    """Thresholds that lie between two runs: any value there gives the same fit."""
    for one in evidence.thresholds:
        if one.between:
            yield Finding("threshold", NOTE, one.words, f"add runs in between to know {one.term}")


def _factor(node: Node, value: float, variable: np.ndarray) -> float:
    """The number nearest to 1 of those by which a variable is above a scale at the runs."""
    with np.errstate(all="ignore"):
        ratio = variable * value if node.kind == "*" else variable / value
    known = node.kind in ("*", "/", "+", "min", "max", "<", "<=", ">", ">=")
    if not (known and np.isfinite(ratio).all() and (ratio > 0).all()):
        return 1.0
    least, most = float(ratio.min()), float(ratio.max())
    return least if least > 1 else most if most < 1 else 1.0


def _loose(evidence: Evidence, term: str) -> bool:
    """Whether a parameter lies on a bound, or is hardly known."""
    row = evidence.params[evidence.params["term"] == term].iloc[0]
    low, high = float(row["ci_low"]), float(row["ci_high"])
    return row["ci_method"] != "fixed" and (
        bool(row["at_bound"]) or (np.isfinite([low, high]).all() and _wide(low, high))
    )


def _far(evidence: Evidence, node: Node, term: str, variable: str, factor: float) -> Finding:
    where = "above" if factor > 1 else "below"
    one = "1 / " if node.kind == "*" else ""
    return Finding(
        "scale",
        NOTE,
        f"{short(visible(variable), 40)} is {where} {one}{term} at every run, by a factor of "
        f"{units.power(max(factor, 1 / factor), 2)} at least: the runs do not reach {term}",
        f"add runs of other {short(visible(variable), 40)}, fix {term} (--fix), or leave it out of "
        "the formula",
    )


def trades(evidence: Evidence) -> Iterator[Finding]:
    """Two parameters that are hardly known alone, of which a combination is known well."""
    thetas, law = evidence.replicates, evidence.law
    if law.proportions or len(thetas) < limits.TRADE_REPLICATES:
        return
    values = law.values(thetas)
    free = evidence.params[evidence.params["ci_method"] != "fixed"]["term"]
    spread = {name: _spread(values[name]) for name in free if name not in law.secondary}
    hardly = [name for name, one in spread.items() if one > limits.TRADE_ALONE]
    for a, b in itertools.combinations(hardly, 2):
        best = min(_combined(values[a], values[b]), key=lambda one: one[1])
        word, known = best
        if known < limits.TRADE_KNOWN and known * limits.TRADE_TIGHTER < min(spread[a], spread[b]):
            yield Finding(
                "trade",
                NOTE,
                f"{a} and {b} trade: {a} {word} {b} is known to {units.percent(known)}, "
                f"{_alone(a, values[a])}, {_alone(b, values[b])}",
                APART,
            )


def _combined(a: np.ndarray, b: np.ndarray) -> Iterator[tuple[str, float]]:
    """How well the simplest combinations of two parameters are known."""
    with np.errstate(all="ignore"):
        for word, value in (("*", a * b), ("/", a / b), ("+", a + b), ("-", a - b)):
            yield word, _spread(value)


def _spread(values: np.ndarray) -> float:
    """Half of the middle 95 % of values over their median; infinite where the sign is open."""
    if not np.isfinite(values).all():
        return float("inf")
    low, middle, high = np.quantile(values, [0.025, 0.5, 0.975])
    if low <= 0 <= high:
        return float("inf") if high > low else 0.0
    return float((high - low) / 2 / abs(middle))


def _alone(name: str, values: np.ndarray) -> str:
    """How little is known of a parameter by itself."""
    low, high = np.quantile(values, [0.025, 0.975])
    if low <= 0 <= high:
        return f"{name} alone not even in sign"
    least, most = sorted((abs(low), abs(high)))
    return f"{name} alone to a factor of {units.power(most / least, 2)}"
