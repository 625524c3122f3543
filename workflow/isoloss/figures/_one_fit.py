"""A figure card drawn from one fit, without a study: what `Fit.plot` shows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pandas as pd

from isoloss.core import registry
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.schema import complete_options
from isoloss.figures import _paper
from isoloss.figures._figure import Inputs, canvas_of, style_of
from isoloss.fitted import OF_RUN, Fit

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes


def draw(
    fit: Fit,
    card: str,
    ax: Axes | None,
    options: Mapping[str, Any],
    style: str = "screen",
    width: float | None = None,
) -> Axes | np.ndarray:
    """Draw a card of a fit; see `Fit.plot`."""
    import matplotlib
    from matplotlib import pyplot  # before the style, which is not to choose the backend
    from matplotlib.text import Text

    _check(fit, card)
    options = {**registry.defaults("figure", card), **options}
    known = registry.options("figure", card)
    if wrong := complete_options(options, known, f"options of {card}", fill=False):
        raise IsolossError(*wrong)
    canvas = canvas_of(style, width, given=ax, make=pyplot.figure)
    name = fit.facts.get("law", fit.facts["card"])
    inputs = Inputs({"runs": _runs(fit)}, {name: fit}, loss_unit=fit.loss_unit, canvas=canvas)
    # labels that were there stay formulas, or plain, as they were
    others = [] if ax is None else ax.figure.findobj(Text)
    before = [(label.get_parse_math(), label.get_text()) for label in others]
    with matplotlib.rc_context(style_of(style)), _paper.latex_told():
        figure, _ = registry.card("figure", card).draw(inputs, **options)
        _paper.finish(figure, canvas)
    for label, (parsed, text) in zip(others, before, strict=True):
        label.set_parse_math(parsed)
        if label.get_usetex():
            label.set_text(text)
    return canvas.panels[0] if len(canvas.panels) == 1 else canvas.panels


def _check(fit: Fit, card: str) -> None:
    """Refuse a card that needs more than this fit has."""
    facts, place = registry.facts("figure", card), f"figure {card}"
    of_a_fit = ("fit/", "aggregate/runs")
    others = [t for t in registry.inputs(card) if not t.startswith(of_a_fit)]
    if others or facts.get("MAX_FITS") == 0:
        reason = f"reads {(others or ['aggregate/runs'])[0]}, which is no part of a fit"
        raise IsolossError(Problem(place, reason, "draw it in a study"))
    if facts.get("NEEDS") == "allocate" and not fit.allocates:
        whose = fit.facts["card"] if fit.of_loss else f"a fit of {fit.quantity!r}"
        reason = f"{whose} does not give the best N and D of a budget"
        raise IsolossError(Problem(place, reason, "show a fit of the loss by a law in N and D"))
    if facts.get("NEEDS") == "mixture" and fit.law.kind != "mixture":
        reason = f"{fit.facts['card']} is not a mixture law"
        raise IsolossError(Problem(place, reason, "show a fit of a mixture law"))
    if facts.get("NEEDS") == "curve" and not (fit.allocates or len(fit.law.variables) == 1):
        reason = f"{fit.facts['card']} is a law in {', '.join(fit.law.variables)}"
        remedy = "show a law in one variable, or one that divides budgets"
        raise IsolossError(Problem(place, reason, remedy))
    if facts.get("NEEDS") == "variables" and fit.law.proportions:
        reason = f"{fit.facts['card']} is a law of mixtures"
        raise IsolossError(Problem(place, reason, "show a fit of another law"))
    readable = facts.get("VARIABLES", fit.law.variables)
    if others := [v for v in fit.law.variables if v not in readable]:
        reason = f"{fit.facts['card']} is a law in {', '.join(others)} too"
        raise IsolossError(Problem(place, reason, f"show a law in {', '.join(readable)}"))


def _runs(fit: Fit) -> pd.DataFrame:
    """The runs that the fit could use, one row each; of points along runs the last of each."""
    runs = fit.points.assign(status="done", status_reason=None)
    return runs.drop_duplicates(OF_RUN, keep="last") if OF_RUN in runs else runs
