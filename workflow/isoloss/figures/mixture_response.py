"""How the loss of every domain follows the mixture that is trained on."""

from __future__ import annotations

import numpy as np
import pandas as pd

from isoloss.core.problems import IsolossError, Problem
from isoloss.figures import _figure
from isoloss.fitted import Fit

TITLE = "Response to mixtures"
ABOUT = "Loss of every domain against the proportion of each, the others in their mean shares."
INPUTS = ["fit/starts", "fit/replicates", "fit/ranges"]
MIN_FITS = 1
MAX_FITS = 1
NEEDS = "mixture"
OPTIONS = {
    "group": "group",
    "most": {
        "type": "integer",
        "minimum": 1,
        "maximum": 7,
        "default": 7,
        "unit": "domains",
        "description": "Domains in colour, those that move the losses most; the others are grey.",
    },
}

WHOLE = "loss"  # the whole loss, of no single domain
PALE = "#b8b8b8"
POINTS = 31  # of a line
NAME = 32  # characters of a domain over a panel, at most

problems = _figure.group_problems


def draw(inputs: _figure.Inputs, group: str, most: int):
    """One panel a loss, one line a training domain, over the proportions that the runs have."""
    from matplotlib.lines import Line2D

    name, fit, group, finished = inputs.shown(group)
    if "domains" not in fit.facts:
        reason = "its law is not a mixture law"
        raise IsolossError(Problem(f"fit {name}", reason, "name a fit of a mixture law"))
    domains = list(fit.facts["domains"])
    runs = finished[domains].astype(float).fillna(0.0)
    lines = _lines(fit, group, runs)
    spread = lines.groupby(["domain", "response"])["loss"].agg(np.ptp)
    reached = spread.groupby("domain").mean()
    ranked = list(reached.sort_values(ascending=False, kind="stable").index)
    colours = dict(zip(ranked[:most], _figure.COLOURS, strict=False))
    names = {d: _figure.literal(d.removeprefix("p_"), NAME) for d in domains}

    figure, panels = inputs.canvas.grid(len(fit.responses), 4, 3.1, 2.7)
    dots = []
    for at, (axes, response) in enumerate(zip(panels, fit.responses, strict=True)):
        own = "p_" + response.removeprefix("loss_")
        if own in domains and response in finished:
            losses = finished[response].astype(float)
            seen = pd.DataFrame({"proportion": runs[own], "loss": losses})
            look = {"s": 12, "color": colours.get(own, _figure.GREY), "alpha": 0.6, "zorder": 2}
            axes.scatter(seen["proportion"], seen["loss"], linewidth=0, **look)
            ids = {"run_id": finished["run_id"], "response": response, "domain": own, "what": "run"}
            dots.append(seen.assign(**ids))
        of_response = lines[lines["response"] == response]
        for d in sorted(reversed(ranked), key=own.__eq__):  # the own domain on top
            _draw_line(axes, of_response[of_response["domain"] == d], colours.get(d), d == own)
        whose = "whole" if response == WHOLE else response.removeprefix("loss_")
        axes.set_title(_figure.literal(whose, NAME))
        axes.set_xlim(-0.02, max(float(runs.to_numpy().max()) * 1.03, 0.05))
        if at % 4 == 0:
            axes.set_ylabel(inputs.label("loss"))
        if at >= len(panels) - 4:
            axes.set_xlabel("Proportion of a domain")
    handles = [Line2D([], [], color=c, label=names[d]) for d, c in colours.items()]
    if len(ranked) > len(colours):
        handles.append(Line2D([], [], color=PALE, label="other domains"))
    look = {"marker": "o", "color": _figure.GREY, "linestyle": "", "markersize": 4}
    handles.append(Line2D([], [], **look, label="runs, at the own domain"))
    _figure.head(
        figure,
        f"{name}: one domain of the mixture grows, the others keep their mean shares",
        handles,
    )
    drawn = pd.concat([lines.assign(what="law"), *dots], ignore_index=True)
    _figure.print_small(figure, inputs, drawn, group)
    return figure, drawn


def _lines(fit: Fit, group: str, runs: pd.DataFrame) -> pd.DataFrame:
    """Every response of a fit along every domain.

    Args:
        fit: of a mixture law.
        group: of it.
        runs: their proportions, a column a domain.
    """
    domains = list(runs)
    points = pd.concat([mixtures(runs, d).assign(domain=d) for d in domains], ignore_index=True)
    data = {d: points[d].to_numpy() for d in domains}
    along = {"domain": points["domain"], "proportion": points["proportion"]}
    parts = [
        fit.predict(group, response, **data)[["loss", "low", "high"]].assign(
            response=response, **along
        )
        for response in fit.responses
    ]
    return pd.concat(parts, ignore_index=True)


def _draw_line(axes, line: pd.DataFrame, colour: str | None, own: bool) -> None:
    """One response along one domain; with its interval if the domain has a colour."""
    shade = colour or (_figure.GREY if own else PALE)
    wide = 2.4 if own else 1.3
    axes.plot(line["proportion"], line["loss"], color=shade, linewidth=wide, zorder=3)
    if colour and line["low"].notna().all():
        around = (line["proportion"], line["low"], line["high"])
        axes.fill_between(*around, color=colour, alpha=0.15, linewidth=0, zorder=1)


def mixtures(runs: pd.DataFrame, domain: str) -> pd.DataFrame:
    """Mixtures in which one domain takes the proportions that the runs have, the rest its mean.

    None where it has one proportion in all runs, or is alone.
    """
    own = np.linspace(runs[domain].min(), runs[domain].max(), POINTS)
    rest = runs.mean().drop(domain)
    if not rest.sum() > 0 or own[0] == own[-1]:
        own = own[:0]
    shares = np.outer(1 - own, rest / (rest.sum() or 1.0))
    return pd.DataFrame(shares, columns=rest.index).assign(**{domain: own, "proportion": own})
