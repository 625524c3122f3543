"""Lines of the summary about mixtures: the best of a fit, and whether it wins once trained."""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from isoloss.core import tables, units
from isoloss.core.escape import markdown
from isoloss.core.problems import IsolossError
from isoloss.fitted import FALLBACK, Fit
from isoloss.fitted.trial import Contender, Trial, trial_of
from isoloss.laws._mixture import LOSS


def best_mixtures(name: str, fit: Fit) -> list[str]:
    """A line a group for which a fit has a best mixture, shares in falling order."""
    lines = []
    for group, rows in fit.tables["best_mixture"].groupby("group", sort=False):
        if group == FALLBACK and len(fit.groups) > 1:
            continue  # it answers for groups without a fit
        shares = ", ".join(
            f"{markdown(row.domain)} "
            + units.estimate(
                row.proportion, row.proportion_low, row.proportion_high, "{:.3f}".format
            )
            for row in rows.sort_values("proportion", ascending=False, kind="stable").itertuples()
        )
        one = rows.iloc[0]
        loss = units.estimate(one["loss"], one["loss_low"], one["loss_high"], "{:.4f}".format)
        lines.append(
            f"- **Best mixture** ({markdown(name)}{_group(str(group))}) for "
            f"{_weights(fit.facts['domain_weights'])}: {shares}; "
            f"predicted loss {loss}"
        )
    return lines


def trial(asked: Mapping[str, str], fit: Fit, by_table: Mapping[str, pd.DataFrame]) -> str:
    """The line that says whether a best mixture beats the others, or why that cannot be judged.

    Args:
        asked: `sweep`, `weighting`, `fit` and `group` of the trial.
        fit: of which the mixture is the best.
        by_table: runs, mixtures and losses of the sweep.
    """
    sweep = by_table["runs"], by_table["mixtures"], by_table["losses"]
    try:
        made = trial_of(fit, *sweep, asked["weighting"], asked["group"])
    except IsolossError as error:  # such as: all runs of the mixture failed
        names = f"{markdown(asked['sweep'])}, {markdown(asked['fit'])}"
        return f"- **Trial** ({names}) cannot be judged: {markdown(str(error))}"
    where = f"{markdown(asked['sweep'])}, {markdown(asked['fit'])}{_group(made.group)}"
    losses = ", ".join(_loss(one) for one in made.contenders)
    ends = ", ".join(_end(made, other) for other in made.others) or "nothing is beside it"
    return (
        f"- **Trial** ({where}), loss for {_weights(made.weights)}: {losses}; "
        f"{markdown(made.best.weighting)} {ends}"
    )


def _loss(one: Contender) -> str:
    p = one.predicted
    predicted = units.estimate(p.estimate, p.low, p.high, "{:.4f}".format)
    runs = "1 run" if len(one.losses) == 1 else f"{len(one.losses)} runs"
    return f"{markdown(one.weighting)} {one.mean:.4f} ({runs}; predicted {predicted})"


def _end(made: Trial, other: Contender) -> str:
    """How the mixture on trial ends against another: the lead, and how many seed SDs it is."""
    lead = made.lead(other)
    verdict = f"**{made.verdict(other)}** {markdown(other.weighting)}"
    if math.isnan(made.seed_sd):
        return f"{verdict} ({-lead:+.4f}; one seed each, so the noise is not known)"
    return (
        f"{verdict} ({-lead:+.4f}, {abs(lead) / made.seed_sd:.1f} seed SDs of {made.seed_sd:.4f})"
    )


def _weights(weights: Mapping[str, float]) -> str:
    return ", ".join(
        f"{markdown(response.removeprefix(LOSS))} {weight:g}"
        for response, weight in weights.items()
    )


def _group(group: str) -> str:
    return "" if group == tables.WHOLE else f", {markdown(group)}"
