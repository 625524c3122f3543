"""How the loss of every domain follows the mixture that is trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.figures import _figure
from isoloss.fitted import Fit

TITLE = "Response to mixtures"
ABOUT = (
    "Losses against the proportion of each domain, the others in their mean shares: first those of"
    " the domains that are mixed, then the whole loss, then those that move most."
)
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
    "responses": {
        "type": "array",
        "items": {"type": "string"},
        "default": [],
        "description": "Losses shown, such as [loss_code]; if empty, as many as fit on a page.",
    },
    "panels": {
        "type": "integer",
        "minimum": 1,
        "maximum": 40,
        "default": 8,
        "unit": "losses",
        "description": "Losses on a page, unless they are named.",
    },
    "page": {
        "type": "integer",
        "minimum": 1,
        "maximum": 1000,
        "default": 1,
        "description": "Which page of losses is shown.",
    },
}

WHOLE = "loss"  # the whole loss, of no single domain
PALE = "#b8b8b8"
BAND = 0.15  # opacity of the intervals
POINTS = 31  # of a line
NAME = 32  # characters of a domain over a panel, at most
WIDENED = 0.3  # of the range of lines and runs, by which intervals may widen a panel
OWN, OTHER = 2.4, 1.3  # width of the line of a panel's own domain, and of the others

problems = _figure.group_problems


@dataclass(frozen=True)
class Colours:
    """Of domains: those in colour, in their order, and the others' greys."""

    named: dict[str, str]

    def of(self, domain: str, own: bool) -> str:
        """The colour of a domain, grey if it has none, and darker in the panel of its own loss."""
        return self.named.get(domain) or (_figure.GREY if own else PALE)


def draw(
    inputs: _figure.Inputs,
    group: str,
    most: int,
    responses: Sequence[str] = (),
    panels: int = 8,
    page: int = 1,
):
    """One panel a loss, one line a training domain, over the proportions that the runs have."""
    name, fit, group, finished = inputs.shown(group)
    if "domains" not in fit.facts:
        reason = "its law is not a mixture law"
        raise IsolossError(Problem(f"fit {name}", reason, "name a fit of a mixture law"))
    domains = list(fit.facts["domains"])
    runs = finished[domains].astype(float).fillna(0.0)
    lines = _lines(fit, group, runs)
    spread = lines.groupby(["domain", "response"])["loss"].agg(np.ptp)
    ranked = list(spread.groupby("domain").mean().sort_values(ascending=False, kind="stable").index)
    colours = Colours(dict(zip(ranked[:most], _figure.COLOURS, strict=False)))
    ordered = in_order(fit.responses, domains, spread)
    shown = _chosen(name, ordered, responses, panels, page)
    lines = lines[lines["response"].isin(shown)]

    figure, axes_of = inputs.canvas.grid(len(shown), 4, 3.1, 2.7)
    across = inputs.canvas.columns(len(shown), 4)
    dots, cut = [pd.DataFrame(columns=["proportion", "loss"])], []
    for at, (axes, response) in enumerate(zip(axes_of, shown, strict=True)):
        own, line = own_domain(response), lines[lines["response"] == response]
        if own in domains and response in finished:
            seen = pd.DataFrame({"proportion": runs[own], "loss": finished[response].astype(float)})
            look = {"s": 12, "color": colours.of(own, True), "alpha": 0.6, "zorder": 2}
            axes.scatter(seen["proportion"], seen["loss"], linewidth=0, **look)
            ids = {"run_id": finished["run_id"], "response": response, "domain": own, "what": "run"}
            dots.append(seen.assign(**ids))
        for d in sorted(reversed(ranked), key=own.__eq__):  # the own domain on top
            _draw_line(axes, line[line["domain"] == d], d in colours.named, colours.of(d, d == own))
            axes.lines[-1].set_linewidth(OWN if d == own else OTHER)
        if _set_limits(axes, line, dots[-1] if own in domains else None, colours):
            cut.append(response)
        whose = "whole" if response == WHOLE else response.removeprefix("loss_")
        axes.set_title(_figure.literal(whose, NAME))
        axes.set_xlim(-0.02, max(float(runs.to_numpy().max()) * 1.03, 0.05))
        if at % across == 0:
            axes.set_ylabel(inputs.label("loss"))
        if at >= len(axes_of) - across:
            axes.set_xlabel("Proportion of a domain")
    title = f"{name}: one domain of the mixture grows, the others keep their mean shares"
    handles = _handles(colours, ranked, [own_domain(r) for r in shown])
    if lines.loc[lines["domain"].isin(colours.named), "low"].notna().any():
        handles.append(_band(fit.level))
    _figure.head(figure, title, handles)
    drawn = pd.concat([lines.assign(what="law"), *dots[1:]], ignore_index=True)
    _figure.print_small(figure, inputs, drawn, group)
    if note := _words(shown, ordered, responses, cut):
        _figure.print_note(figure, inputs, note)
    return figure, drawn


def own_domain(response: str) -> str:
    """The column of proportions that would be of the same domain as a loss."""
    return "p_" + response.removeprefix("loss_")


def in_order(responses: Sequence[str], domains: Sequence[str], spread: pd.Series) -> list[str]:
    """Losses in the order in which they matter.

    Args:
        responses: all of them.
        domains: columns of proportions.
        spread: range of each loss along each domain, by domain and response.

    Returns:
        Those of a domain that is mixed, the whole loss, the others by how far they move.
    """
    moved = spread.groupby("response").max()

    def place(response: str) -> tuple:
        mixed = own_domain(response) in domains
        return (not mixed, response != WHOLE, 0.0 if mixed else -float(moved.get(response, 0.0)))

    return sorted(responses, key=place)


def _chosen(
    name: str, ordered: Sequence[str], responses: Sequence[str], panels: int, page: int
) -> list[str]:
    """The losses of a page, or those that are named.

    Raises:
        IsolossError: the fit has no such loss, or there are fewer pages.
    """
    for response in responses:
        if response not in ordered:
            reason = f"response {response!r} is not in it"
            raise IsolossError(Problem(f"fit {name}", reason, nearest(response, ordered)))
    if responses:
        return list(dict.fromkeys(responses))
    pages = -(-len(ordered) // panels)
    if page > pages:
        do = f"name one of 1 to {pages}, or show fewer panels on a page"
        raise IsolossError(Problem("page", f"found {page}, and there are {pages}", do))
    return list(ordered[(page - 1) * panels : page * panels])


def _set_limits(axes, line: pd.DataFrame, dots: pd.DataFrame | None, colours: Colours) -> bool:
    """Limit a panel to its lines and runs, and to intervals that are not far wider than these.

    Returns:
        Whether an interval goes on beyond the panel.
    """
    inner = pd.concat([line["loss"], *([] if dots is None else [dots["loss"]])])
    low, high = inner.min(), inner.max()
    if not low < high:
        return False
    margin = WIDENED * (high - low)
    drawn = line[line["domain"].isin(colours.named)]
    ends = [drawn["low"].min(), drawn["high"].max()]
    beyond = ends[0] < low - margin or ends[1] > high + margin
    low, high = (
        np.fmax(np.fmin(low, ends[0]), low - margin),
        np.fmin(np.fmax(high, ends[1]), high + margin),
    )
    axes.set_ylim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    return bool(beyond)


def _band(level: float):
    """The handle of an interval."""
    from matplotlib.patches import Patch

    look = {"color": _figure.GREY, "alpha": BAND, "linewidth": 0}
    return Patch(**look, label=f"{100 * level:g} % interval")


def _handles(colours: Colours, ranked: Sequence[str], own: Sequence[str]) -> list:
    """The legend of all panels.

    Args:
        colours: of the domains.
        ranked: all domains.
        own: the domain of each panel's loss, mixed or not.
    """
    from matplotlib.lines import Line2D

    def names(domain: str) -> str:
        return _figure.literal(domain.removeprefix("p_"), NAME)

    handles = [
        Line2D([], [], color=c, linewidth=OTHER, label=names(d)) for d, c in colours.named.items()
    ]
    grey = [domain for domain in ranked if domain not in colours.named]
    if grey:
        handles.append(Line2D([], [], color=PALE, linewidth=OTHER, label="other domains"))
    if set(own) & set(ranked):
        look = {"color": _figure.GREY, "linewidth": OWN}
        handles.append(Line2D([], [], **look, label="thick: the panel's own domain"))
        look = {"marker": "o", "color": _figure.GREY, "linestyle": "", "markersize": 4}
        handles.append(Line2D([], [], **look, label="runs, at the panel's own domain"))
    return handles


def _words(
    shown: Sequence[str], ordered: Sequence[str], named: Sequence[str], cut: Sequence[str]
) -> str:
    """Which losses are shown, and where intervals are not shown whole."""
    parts = []
    if len(shown) < len(ordered):
        others = "" if named else "; option `page` shows the others"
        parts.append(f"{len(shown)} of {len(ordered)} losses{others}")
    if cut:
        which = ", ".join(_figure.literal(response.removeprefix("loss_"), NAME) for response in cut)
        parts.append(f"intervals go on beyond the panel: {which}")
    return "; ".join(parts)


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


def _draw_line(axes, line: pd.DataFrame, named: bool, colour: str) -> None:
    """One response along one domain; with its interval if the domain has a colour."""
    axes.plot(line["proportion"], line["loss"], color=colour, zorder=3)
    if named and line["low"].notna().all():
        around = (line["proportion"], line["low"], line["high"])
        axes.fill_between(*around, color=colour, alpha=BAND, linewidth=0, zorder=1)


def mixtures(runs: pd.DataFrame, domain: str) -> pd.DataFrame:
    """Mixtures in which one domain takes the proportions that the runs have, the rest its mean.

    None where it has one proportion in all runs, or is alone.
    """
    # denser where the proportion is small: there laws bend most
    along = np.linspace(0.0, 1.0, POINTS) ** 2
    own = runs[domain].min() + np.ptp(runs[domain]) * along
    rest = runs.mean().drop(domain)
    if not rest.sum() > 0 or own[0] == own[-1]:
        own = own[:0]
    shares = np.outer(1 - own, rest / (rest.sum() or 1.0))
    return pd.DataFrame(shares, columns=rest.index).assign(**{domain: own, "proportion": own})
