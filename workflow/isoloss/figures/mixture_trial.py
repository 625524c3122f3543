"""A best mixture and others: what they are, what they were predicted to reach, what they did."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core.escape import figure as literal
from isoloss.core.problems import Problem, nearest
from isoloss.figures import _figure
from isoloss.fitted.trial import Contender, Trial, trial_of

TITLE = "Trial of a best mixture"
ABOUT = (
    "Predicted and achieved loss of the best mixture of a fit, and of others trained beside it; "
    "the runs are those of a sweep of their own. The fit has `domain_weights`."
)
INPUTS = [
    "aggregate/losses",
    "aggregate/mixtures",
    "fit/starts",
    "fit/replicates",
    "fit/ranges",
    "fit/best_mixture",
]
MIN_FITS = 1
MAX_FITS = 1
NEEDS = "mixture"
FITS_OF_ANY_SWEEP = True  # the fit is of the runs of which the mixture is the best
OPTIONS = {
    "group": "group",
    "tried": {
        "type": "string",
        "default": "",
        "description": "Weighting on trial; the one nearest to the fit's best mixture if empty.",
    },
}

APART = 0.22  # of one step, between the marks of two mixtures


def problems(options, runs: pd.DataFrame) -> list[Problem]:
    """What is wrong with the options, given the runs of the sweep (planned or done)."""
    known, tried = set(runs["weighting"].dropna()), options["tried"]
    if tried and tried not in known:
        return [Problem("tried", f"no run has {tried!r}", nearest(tried, known))]
    if len(known) < 2:
        return [Problem("sweep", f"its runs have {len(known)} weighting", "add another to a cell")]
    return []


def draw(inputs: _figure.Inputs, group: str, tried: str):
    """Left the losses, predicted and achieved; right the shares of the domains."""
    name, fit, group, _ = inputs.shown(group)
    given = inputs.tables
    trial = trial_of(fit, inputs.runs, given["mixtures"], given["losses"], tried, group)
    best = fit.tables["best_mixture"]
    best = best[best["group"] == group].set_index("domain")
    domains = list(trial.best.mixture)
    wide, tall = 4.2 + 0.9 * len(trial.contenders), 1.6 + 0.42 * max(6, len(domains))
    figure, (left, right) = inputs.canvas.new(wide + 4.6, tall, 2, width_ratios=[wide, 4.6])
    parts = [_draw_losses(left, at, one, _colour(at)) for at, one in enumerate(trial.contenders)]
    left.set_xticks(range(len(trial.contenders)), [_name(one) for one in trial.contenders])
    left.set_xlim(-0.6, len(trial.contenders) - 0.4)
    left.set_ylabel(f"Weighted loss ({literal(inputs.loss_unit)})")
    left.set_title(_figure.wrapped(_title(trial), wide))
    left.legend(handles=_legend(fit.level), loc="upper left", bbox_to_anchor=(0, -0.1), ncols=3)
    for at, one in enumerate(trial.contenders):
        shift = (at - (len(trial.contenders) - 1) / 2) * APART
        _draw_shares(right, one, shift, _colour(at), best if one is trial.best else None)
    right.set_yticks(range(len(domains)), [_domain(d, trial) for d in domains])
    right.invert_yaxis()
    right.set_xlim(left=0)
    right.set_xlabel("Share of the training data")
    level = f"{100 * fit.level:.4g} %"
    right.set_title(
        _figure.wrapped(f"Mixtures; bars: {level} intervals of the best of {name}", 4.6)
    )
    shares = [_shares_table(one, best if one is trial.best else None) for one in trial.contenders]
    drawn = pd.concat([*parts, *shares], ignore_index=True)
    _figure.print_small(figure, inputs, drawn, group)
    return figure, drawn


def _title(trial: Trial) -> str:
    """Whether the best mixture wins, in a line a mixture."""
    noise = "" if np.isnan(trial.seed_sd) else f" (seed SD {trial.seed_sd:.4f})"
    best = literal(trial.best.weighting)
    lines = [
        f"{best} {trial.verdict(one)} {literal(one.weighting)}: {-trial.lead(one):+.4f}{noise}"
        for one in trial.others
    ]
    return "\n".join(lines)


def _draw_losses(axes, at: int, one: Contender, colour: str) -> pd.DataFrame:
    """The prediction with its interval, the runs and their mean; the table of them."""
    predicted, losses = one.predicted, list(one.losses.values())
    if np.isfinite([predicted.low, predicted.high]).all():
        axes.plot([at - 0.15] * 2, [predicted.low, predicted.high], color=colour, linewidth=6,
                  alpha=0.3, solid_capstyle="butt")  # fmt: skip
    axes.plot([at - 0.27, at - 0.03], [predicted.estimate] * 2, color=colour, linewidth=1.5)
    axes.scatter([at + 0.15] * len(losses), losses, s=26, color=colour, alpha=0.75, linewidth=0)
    axes.plot([at + 0.03, at + 0.27], [one.mean] * 2, color=colour, linewidth=3)
    runs = {"weighting": one.weighting, "what": "run", "run_id": list(one.losses), "loss": losses}
    whole = {"weighting": one.weighting, "what": "predicted", "loss": predicted.estimate}
    whole |= {"low": predicted.low, "high": predicted.high}
    mean = {"weighting": one.weighting, "what": "mean", "loss": one.mean}
    return pd.concat([pd.DataFrame([whole, mean]), pd.DataFrame(runs)], ignore_index=True)


def _legend(level: float) -> list:
    """Handles for what the marks of every mixture are."""
    from matplotlib.lines import Line2D

    grey = {"color": _figure.GREY}
    predicted = f"predicted, {100 * level:.4g} % interval"
    return [
        Line2D([], [], **grey, linewidth=6, alpha=0.3, label=predicted),
        Line2D([], [], **grey, marker="o", linestyle="", markersize=5, label="runs (seeds)"),
        Line2D([], [], **grey, linewidth=3, label="their mean"),
    ]


def _draw_shares(axes, one: Contender, shift: float, colour: str, best) -> None:
    """The shares of a mixture, with the intervals of the fit's best where it is the one."""
    rows, shares = np.arange(len(one.mixture)) + shift, list(one.mixture.values())
    axes.scatter(shares, rows, s=26, color=colour, label=_name(one), zorder=3)
    if best is not None and best["proportion_low"].notna().all():
        sides = best.loc[list(one.mixture), ["proportion_low", "proportion_high"]].to_numpy()
        axes.hlines(rows, *sides.T, color=colour, alpha=0.4, linewidth=4, zorder=2)


def _shares_table(one: Contender, best) -> pd.DataFrame:
    """The shares of a mixture as rows of the table that is drawn."""
    shares = pd.DataFrame({"domain": list(one.mixture), "proportion": list(one.mixture.values())})
    if best is not None:
        sides = best.loc[list(one.mixture), ["proportion_low", "proportion_high"]]
        shares[["low", "high"]] = sides.to_numpy()
    return shares.assign(weighting=one.weighting, what="share")


def _domain(domain: str, trial: Trial) -> str:
    """A domain, and what its loss weighs if it does."""
    weight = trial.weights.get(f"loss_{domain}")
    return literal(domain, 24) + (f" (weight {weight:g})" if weight else "")


def _colour(at: int) -> str:
    return _figure.COLOURS[at % len(_figure.COLOURS)]


def _name(one: Contender) -> str:
    return literal(one.weighting, 18)
