"""The tables of a paper about a fit: parameters, budgets, gains, published laws."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from isoloss.core import units
from isoloss.core.filters import LETTERS
from isoloss.fitted import rounding
from isoloss.fitted.facts import (
    FIXED,
    Allocation,
    BestMixture,
    BudgetLoss,
    Gain,
    OneFit,
    Parameter,
    Quantity,
    Record,
)
from isoloss.fitted.markup import NUMBER, SYMBOL, TEXT, Column, filled
from isoloss.fitted.result import Fit

if TYPE_CHECKING:
    from isoloss.fitted.presets import Comparison

MOST_PARAMETERS = 60  # rows of the table of parameters in paper.md; params.tex has all
_SHARE = 0.1  # of the RMSE, that rounding the parameters may move a predicted loss by
_EXACT = 1e-5  # of the loss, which is exact enough where the law fits without an error
_MOST_DIGITS = 8  # that are added until it does not


def parameters(fit: Fit, facts: Record) -> list[Column]:
    """A row a parameter: estimate, standard error, interval; without columns that have nothing."""
    rows = [
        (one, parameter, digits)
        for one in facts.fits
        for parameter, digits in zip(one.parameters, digits_of(fit, one), strict=True)
    ]
    numbers = [_numbers(parameter, digits) for _, parameter, digits in rows]
    estimates, errors, intervals = zip(*numbers, strict=True)
    columns = [
        Column("parameter", SYMBOL, [p.symbol for _, p, _ in rows]),
        Column("estimate", NUMBER, estimates),
        Column("std. error", NUMBER, errors),
        Column(f"{100 * facts.level:.4g} % interval", NUMBER, intervals),
        Column("unit", TEXT, ["" if p.unit == "1" else p.unit for _, p, _ in rows]),
        Column("remark", TEXT, [_remark(p) for _, p, _ in rows]),
    ]
    several = len(facts.responses) > 1
    whose = [Column("response", TEXT, [one.response for one, _, _ in rows])] if several else []
    if len(facts.groups) > 1:
        whose = [Column("group", TEXT, [one.group for one, _, _ in rows]), *whose]
    return [*whose, *filled(columns)]


def _remark(parameter: Parameter) -> str:
    """What a reader of the row must know."""
    if parameter.method == FIXED:
        return FIXED
    if parameter.at_bound:
        return "at its bound"
    return "not identified" if parameter.free or not parameter.identified else ""


def _numbers(parameter: Parameter, digits: int) -> tuple[str, str, str]:
    """Estimate, standard error and interval of a parameter; empty where there is none."""
    if parameter.method == FIXED:
        return f"{parameter.estimate:.10g}", "", ""
    if not math.isfinite(parameter.estimate):  # the runs have no answer
        return "", "", ""
    error, own = parameter.std_error, rounding.places(parameter.estimate, _uncertain(parameter))
    return (
        rounding.shown(parameter.estimate, digits),
        rounding.error(error) if math.isfinite(error) else "",
        interval(parameter.low, parameter.high, lambda end: rounding.end(end, own)),
    )


def _uncertain(parameter: Parameter) -> tuple[float, float, float]:
    """The standard error of a parameter, and how far the ends of its interval are."""
    estimate = parameter.estimate
    return parameter.std_error, estimate - parameter.low, parameter.high - estimate


def interval(low: float, high: float, form: Callable[[float], str]) -> str:
    """An interval in brackets; empty where there is none.

    >>> interval(0.3, float("inf"), str), interval(float("nan"), float("nan"), str)
    ('[0.3, inf]', '')
    """
    if math.isnan(low) or math.isnan(high):
        return ""
    return f"[{', '.join(form(end) if math.isfinite(end) else str(end) for end in (low, high))}]"


def digits_of(fit: Fit, one: OneFit) -> list[int]:
    """Digits after the point of the parameters of a fit, by their uncertainty.

    As many more for all as the rounded law needs to predict the runs as the law does, to a tenth
    of the RMSE: uncertainties of parameters are correlated, and an exponent rounded to its own
    uncertainty alone moves every loss.
    """
    for more in range(_MOST_DIGITS + 1):
        digits = [rounding.places(p.estimate, _uncertain(p), more) for p in one.parameters]
        if _faithful(fit, one, digits):
            break
    return digits


def _faithful(fit: Fit, one: OneFit, digits: Sequence[int]) -> bool:
    """Whether a law with rounded parameters predicts the runs that were fitted as the law does."""
    law = fit.law_of(one.response)
    points = fit.points[fit.points["group"] == one.group] if "group" in fit.points else fit.points
    columns = [LETTERS.get(variable, variable) for variable in law.variables]
    if law.proportions or points.empty or not set(columns) <= set(points):
        return True
    best, data = fit.estimate(one.group, one.response), {}
    for variable, column in zip(law.variables, columns, strict=True):
        data[variable] = points[column].to_numpy(float)
    known = np.isfinite(np.stack(list(data.values()))).all(axis=0)
    data = {variable: values[known] for variable, values in data.items()}
    rounded = {
        p.term: p.estimate if p.method == FIXED else round(p.estimate, n)
        for p, n in zip(one.parameters, digits, strict=True)
    }
    if not known.any() or not np.isfinite(list(rounded.values())).all():
        return True
    given = law.given(best.state)
    moved = given.loss(law.theta(rounded), data) - given.loss(best.theta, data)
    allowed = _SHARE * one.rmse if math.isfinite(one.rmse) else 0.0
    return bool(np.abs(moved).max() <= max(allowed, _EXACT * float(np.median(points["loss"]))))


def quantity(value: Quantity, form: Callable[[float], str] = units.count) -> str:
    """An estimate, with its interval if there is one."""
    return f"{form(value.estimate)} {interval(value.low, value.high, form)}".rstrip()


def loss_of(value: Quantity) -> str:
    """A loss with the digits that its interval leaves, at least three decimals."""
    digits = rounding.places(value.estimate, [value.estimate - value.low])
    return quantity(value, lambda v: rounding.shown(v, min(5, max(3, digits))))


def budgets(best: Mapping[str, Sequence[Allocation]], unit: str) -> list[Column]:
    """A row a group and budget: N, D, D/N and the loss there, with intervals."""
    rows = [(group, one) for group, ones in best.items() for one in ones]
    cells = [_allocation(one) for _, one in rows]
    return [
        *([Column("group", TEXT, [group for group, _ in rows])] if len(best) > 1 else []),
        Column("C (FLOP)", NUMBER, [units.power(one.flops) for _, one in rows]),
        Column("times the largest run", NUMBER, [times(one.times_largest) for _, one in rows]),
        *(
            Column(name, TEXT, [cell[i] for cell in cells])
            for i, name in enumerate(("N", "D", "D/N", f"loss ({unit})"))
        ),
    ]


def losses(by_group: Mapping[str, Sequence[BudgetLoss]], unit: str) -> list[Column]:
    """A row a group and budget: the loss that a law in C predicts."""
    rows = [(group, one) for group, ones in by_group.items() for one in ones]
    return [
        *([Column("group", TEXT, [group for group, _ in rows])] if len(by_group) > 1 else []),
        Column("C (FLOP)", NUMBER, [units.power(one.flops) for _, one in rows]),
        Column("times the largest run", NUMBER, [times(one.times_largest) for _, one in rows]),
        Column(f"loss ({unit})", TEXT, [loss_of(one.loss) for _, one in rows]),
    ]


def times(factor: float) -> str:
    """A budget over that of the largest run, or another factor; powers of ten beyond 1e6 and 1e-3.

    >>> times(6563.0), times(2e8), times(0.787), times(5e-7)
    ('6560', '2e8', '0.787', '5e-7')
    """
    if factor and not 1e-3 <= abs(factor) < 1e6:
        return units.power(factor)
    return f"{float(f'{factor:.3g}'):g}"


def _allocation(one: Allocation) -> tuple[str, str, str, str]:
    if not one.exists:
        return "none: an exponent is not positive", "", "", ""
    sizes = (one.n_params, one.n_samples, one.tokens_per_parameter)
    size, tokens, ratio = map(quantity, sizes)
    return size, tokens, ratio, loss_of(one.loss)


def fits(facts: Record) -> list[Column]:
    """A row a fit: runs, errors, and what it predicted of runs that it did not see."""
    unseen = [[fold.rmse for fold in one.folds if math.isfinite(fold.rmse)] for one in facts.fits]
    columns = [
        Column("runs", NUMBER, [str(one.n_runs) for one in facts.fits]),
        Column("R2", NUMBER, [_known(one.r2, units.decimals) for one in facts.fits]),
        Column("RMSE", NUMBER, [_known(one.rmse, units.plain) for one in facts.fits]),
        Column("RMSE held out", NUMBER, [units.plain(np.mean(e)) if e else "" for e in unseen]),
        Column("verdict", TEXT, [one.loud_verdict for one in facts.fits]),
    ]
    group = Column("group", TEXT, [one.group for one in facts.fits])
    response = Column("response", TEXT, [one.response for one in facts.fits])
    whose = [group] * (len(facts.groups) > 1) + [response] * (len(facts.responses) > 1)
    return [*whose, *filled(columns)]


def _known(value: float, form: Callable[[float], str]) -> str:
    return form(value) if math.isfinite(value) else ""


def _gain(one: Gain) -> str:
    if math.isnan(one.loss):
        return "none: an exponent is not positive"
    return times(one.gain.estimate) if one.reaches else "never reached"


def gains(gains: Sequence[Gain]) -> list[Column]:
    """A row a budget and group: by how many times the compute of the baseline is more."""
    known = all(one.reaches for one in gains)  # words stand in a column of text
    return filled(
        [
            Column("group", TEXT, [one.group for one in gains]),
            Column("over", TEXT, [one.baseline for one in gains]),
            Column("C (FLOP)", NUMBER, [units.power(one.flops) for one in gains]),
            Column("times the largest run", NUMBER, [times(one.beyond) for one in gains]),
            Column("loss of both", NUMBER, [_known(one.loss, "{:.4g}".format) for one in gains]),
            Column("gain", NUMBER if known else TEXT, [_gain(one) for one in gains]),
            Column(
                "interval",
                NUMBER,
                [interval(one.gain.low, one.gain.high, times) for one in gains],
            ),
        ]
    )


def mixtures(best: Sequence[BestMixture]) -> list[Column]:
    """A row a group and domain: its share of the best mixture."""
    rows = [(one.group, share) for one in best for share in one.shares]
    form = "{:.3f}".format
    shares = [share.proportion for _, share in rows]
    columns = [
        Column("domain", TEXT, [share.domain for _, share in rows]),
        Column("share", NUMBER, [form(p.estimate) for p in shares]),
        Column("interval", NUMBER, [interval(p.low, p.high, form) for p in shares]),
        Column("of the runs", TEXT, [f"{s.least:.3f} to {s.most:.3f}" for _, s in rows]),
    ]
    group = [Column("group", TEXT, [group for group, _ in rows])] if len(best) > 1 else []
    return [*group, *filled(columns)]


def published(comparisons: Sequence[Comparison]) -> list[Column]:
    """A row a published law and group: its errors on the runs, as it is and shifted."""
    several = len({one.group for one in comparisons}) > 1
    group = [Column("runs of", TEXT, [one.group for one in comparisons])] if several else []
    outside = [
        "" if one.n_outside is None else f"{one.n_outside} of {one.n_runs}" for one in comparisons
    ]
    columns = [
        Column("RMSE", NUMBER, [_known(one.rmse, units.plain) for one in comparisons]),
        Column("shift", NUMBER, [_known(one.shift, "{:+.3g}".format) for one in comparisons]),
        Column(
            "RMSE shifted", NUMBER, [_known(one.rmse_shifted, units.plain) for one in comparisons]
        ),
        Column(
            "RMSE fitted here", NUMBER, [_known(one.rmse_fit, units.plain) for one in comparisons]
        ),
        Column("runs outside its range", TEXT, outside),
        Column("not compared", TEXT, [one.reason for one in comparisons]),
    ]
    return [Column("law", TEXT, [one.name for one in comparisons]), *group, *filled(columns)]


def side_by_side(
    comparisons: Sequence[Comparison], best: Mapping[str, Sequence[Allocation]]
) -> list[tuple[str, ...]]:
    """Budget, law, N, D, D/N and loss: of the fit's groups and of published laws, by budget."""
    ours = {"fitted here" + (f" [{group}]" if len(best) > 1 else ""): best[group] for group in best}
    laws = {one.name: one.allocations for one in comparisons if one.allocations}
    if not laws:
        return []
    rows = [(one.flops, name, one) for name, ones in {**ours, **laws}.items() for one in ones]
    rows.sort(key=lambda row: row[0])
    return [(units.power(flops), name, *_allocation(one)) for flops, name, one in rows]


def published_budgets(
    comparisons: Sequence[Comparison], best: Mapping[str, Sequence[Allocation]]
) -> list[Column]:
    """A row a budget and law, of the laws that divide budgets; nothing without any."""
    rows = side_by_side(comparisons, best)
    names = ("C (FLOP)", "law", "N", "D", "D/N", "loss")
    kinds = (NUMBER, *[TEXT] * 5)
    cells = zip(*rows, strict=True)
    return [Column(*one) for one in zip(names, kinds, cells, strict=True)] if rows else []
