"""What a quick fit of many groups says of budgets: the least and the most of all of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from isoloss.core import escape, units
from isoloss.core.escape import columns, visible
from isoloss.fitted.facts import Allocation, BudgetLoss, Gain
from isoloss.fitted.growth import Growth
from isoloss.fitted.reach import farthest

FITS = 6  # fits that are shown one by one
_WHERE = "(each of them: paper.md, --json)"


def between(values: Iterable[float], form) -> str:
    """The least and the most of what is known of some values; empty where nothing is.

    >>> between([2.0, 3.0, float("nan")], "{:g}".format), between([2.0, 2.0], "{:g}".format)
    ('2 to 3', '2')
    """
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return ""
    low, high = form(min(known)), form(max(known))
    return low if low == high else f"{low} to {high}"


def allocations(best: Mapping[str, Sequence[Allocation]]) -> str:
    """How the groups divide budgets: a row a budget, least to most."""
    rows = []
    for ones in zip(*best.values(), strict=True):
        exist = [one for one in ones if one.exists]
        cells = [
            between((getattr(one, name).estimate for one in exist), form)
            for name, form in (
                ("n_params", units.count),
                ("n_samples", units.count),
                ("tokens_per_parameter", units.count),
                ("loss", "{:.4g}".format),
            )
        ]
        none = f"; none in {len(ones) - len(exist)}" if len(exist) < len(ones) else ""
        at_most = farthest(*(one.reach for one in ones))
        rows.append((units.power(ones[0].flops), *cells, _at_most(at_most.text) + none))
    head = ("best for C, FLOP", "N", "D", "D/N", "loss", "outside the runs")
    return f"{_title(best)}\n{columns(head, rows)}"


def frontier(growth: Mapping[str, Growth]) -> str:
    """How the best N and D of the groups grow with the budget, least to most."""
    parts = [
        f"{name} ~ C^{between((one.estimate for one in ones), '{:.3f}'.format)}"
        for name, ones in (
            ("N_opt", [one.n for one in growth.values()]),
            ("D_opt", [one.d for one in growth.values()]),
        )
    ]
    return f"compute-optimal frontier of {len(growth)} groups: {', '.join(parts)} (C = 6 N D)\n"


def losses(by_group: Mapping[str, Sequence[BudgetLoss]]) -> str:
    """The losses of budgets by the groups: a row a budget, least to most."""
    rows = [
        (
            units.power(ones[0].flops),
            between((one.loss.estimate for one in ones), "{:.4g}".format),
            _at_most(farthest(*(one.reach for one in ones)).text),
        )
        for ones in zip(*by_group.values(), strict=True)
    ]
    return f"{_title(by_group)}\n{columns(('at C, FLOP', 'loss', 'outside the runs'), rows)}"


def gains(ones: Sequence[Gain]) -> str:
    """The gains of groups over the first: a row a budget, with the best and the worst group."""
    rows = []
    for flops in dict.fromkeys(one.flops for one in ones):
        own = [one for one in ones if one.flops == flops]
        known = sorted((one for one in own if one.reaches), key=lambda one: one.gain.estimate)
        above = sum(one.gain.low > 1 for one in own)
        below = sum(one.gain.high < 1 for one in own)
        ends = [_gain(known[-1]), _gain(known[0])] if known else ["", ""]
        never = f", never reached in {len(own) - len(known)}" if len(known) < len(own) else ""
        counts = f"above 1 in {above}, below in {below}, neither in {len(own) - above - below}"
        rows.append((units.power(flops), *ends, counts + never))
    first = escape.short(visible(ones[0].baseline), escape.CELL)
    n_groups = len({one.group for one in ones})
    title = (
        f"compute-equivalent gain of {n_groups} groups over {first}: C of {first} over the C that a"
        f" group needs for the same loss {_WHERE}"
    )
    head = (f"  C of {first}, FLOP", "most gain", "least", "interval above or below 1")
    rows = [(f"  {row[0]}", *row[1:]) for row in rows]
    return f"{title}\n{columns(head, rows)}"


def _gain(one: Gain) -> str:
    name = escape.short(visible(one.group), escape.CELL)
    return f"{name} {units.estimate(*_ends(one), units.count)}"


def _ends(one: Gain) -> tuple[float, float, float]:
    return one.gain.estimate, one.gain.low, one.gain.high


def _title(by_group: Mapping) -> str:
    return f"budgets of {len(by_group)} groups, least to most {_WHERE}"


def _at_most(text: str) -> str:
    return text if text in ("inside", "not known") else f"{text} at most"
