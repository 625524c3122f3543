"""Published laws: fits of others, by the names of presets on the law cards."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import registry, tables, units
from isoloss.core.arguments import checked, methods_checked
from isoloss.core.filters import LETTERS
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.tables import WHOLE
from isoloss.fitted import bibliography
from isoloss.fitted.decisions import FitDecisions, points_of
from isoloss.fitted.facts import Allocation, allocations
from isoloss.fitted.names import RESPONSE, TABLES, equation
from isoloss.fitted.result import Fit
from isoloss.laws._make import made_law

SEPARATOR = ":"
NO_INTERVAL = "no interval: the source gives no covariance of the parameters"


@methods_checked
class Preset(FitDecisions):
    """A published law, as its source gives it: a law with values of its parameters, no replicates.

    It predicts and divides budgets as a `Fit` does. Columns of intervals are NaN, since no source
    gives the covariance of the parameters. `distance` says how far outside the runs of the source
    a point is, as a factor; NaN where the range of a variable is not known and no other is left.

    Attributes:
        law: the law.
        tables: as those of a fit, empty but for parameters and ranges.
        facts: `preset`, `card`, `source`, `of` (the runs behind it) and `loss_unit`.
    """

    @property
    def name(self) -> str:
        """Such as chinchilla:epoch."""
        return self.facts["preset"]

    @property
    def source(self) -> str:
        """Where the values are published."""
        return self.facts["source"]

    @property
    def of(self) -> str:
        """The runs that it was fitted to, in words."""
        return self.facts["of"]

    @property
    def domain(self) -> dict[str, tuple[float, float]]:
        """Variable to its least and greatest value over the runs of the source, where known."""
        return {row.variable: (row.low, row.high) for row in self.ranges.itertuples()}

    def __repr__(self) -> str:
        values = ", ".join(f"{name} {value:.6g}" for name, value in self.values.items())
        unit = f", in {self.loss_unit}" if self.loss_unit != "1" else ""
        lines = [
            f"{self.name}: {equation(self.law.formula, self.quantity)}{unit}",
            f"  {values}",
            f"  {self.source}; {self.of}",
        ]
        limits = [_range(letter, *ends) for letter, ends in self.domain.items()]
        lines += [f"  fitted to runs with {', '.join(limits)}"] if limits else []
        return "\n".join(textwrap.fill(line, 110, subsequent_indent="    ") for line in lines)


def _range(letter: str, low: float, high: float) -> str:
    return f"{letter} {units.count(low)} to {units.count(high)}"


def names() -> list[str]:
    """All presets, such as chinchilla:epoch.

    >>> [name for name in names() if name.startswith("chinchilla")]
    ['chinchilla:hoffmann', 'chinchilla:epoch']
    """
    return [
        f"{card}{SEPARATOR}{name}"
        for card in registry.names("law")
        for name in registry.facts("law", card).get("PRESETS", {})
    ]


@checked()
def preset(name: str) -> Preset:
    """A published law by its name, such as "chinchilla:epoch".

    Args:
        name: law card and preset; `isoloss predict --list` lists them.

    Returns:
        The law with the published values; it has `predict`, `loss`, `allocate`, `budget_for`,
        `data_for`, `values`, `domain` and `source`.

    Raises:
        IsolossError: there is no such preset; the nearest names are said.

    Example:
        >>> import isoloss
        >>> epoch = isoloss.preset("chinchilla:epoch")
        >>> epoch.predict(N=7e9, D=1.4e12)[["loss", "distance"]].round(3).to_numpy()
        array([[2.073, 4.403]])
        >>> epoch.allocate(5.76e23)[["N", "D"]].map("{:.3g}".format).to_numpy().tolist()
        [['7.24e+10', '1.33e+12']]
    """
    card, _, own = name.partition(SEPARATOR)
    known = names()
    if name not in known:
        raise IsolossError(Problem(f"preset {name}", "no such published law", _near(name, known)))
    return _made(name, card, registry.facts("law", card)["PRESETS"][own])


def _near(name: str, known: Sequence[str]) -> str:
    """What could have been meant: all of one law, one of that name, or the nearest."""
    own = [one for one in known if name in one.split(SEPARATOR)]
    if own:
        return f"name it {' or '.join(own)}"
    return f"{nearest(name, known)}; `isoloss predict --list` lists all"


def _made(name: str, card: str, facts: Mapping[str, Any]) -> Preset:
    options = {**registry.defaults("law", card), **facts.get("options", {})}
    law = made_law(card, options, facts.get("domains"))
    response = facts.get("response", RESPONSE)
    if law.proportions:
        response = f"loss_{name.partition(SEPARATOR)[2]}"
        law = law.for_response(response)
    key = {"group": WHOLE, "response": response}
    values, nothing = facts["values"], float("nan")
    params = [
        {"term": t.name, "symbol": t.symbol, "unit": t.unit, "estimate": values[t.name]} | key
        for t in law.terms
    ]
    params = pd.DataFrame(params).assign(
        std_error=nothing, ci_low=nothing, ci_high=nothing, ci_level=0.95, ci_method="none"
    )
    limits = facts.get("ranges", {})
    ranges = [{"variable": k, "low": low, "high": high, **key} for k, (low, high) in limits.items()]
    filled = {
        "params": params,
        "summary": pd.DataFrame([key]),
        "ranges": pd.DataFrame(ranges, columns=["variable", "low", "high", *key]),
    }
    about = {
        "preset": name,
        "card": card,
        "options": options,
        "loss_unit": facts.get("unit", units.NATS),
    }
    if response != RESPONSE and not law.proportions:
        about["response"] = response
    about |= {"source": facts["source"], "of": facts.get("of", "")}
    return Preset(law, {**{t: tables.empty(t) for t in TABLES}, **filled}, about)


@dataclass(frozen=True)
class Comparison:
    """A published law on the runs of a fit of one group.

    Attributes:
        name: of the preset.
        keys: of its BibTeX entries.
        group: of the fit.
        unit: of the loss.
        reason: why its losses are not compared; empty where they are.
        n_runs: those compared, fitted or held out.
        rmse: of the losses that it predicts; NaN where they are not compared.
        shift: mean of observed minus predicted loss: as if its E was another.
        rmse_shifted: after the shift.
        rmse_fit: of the law fitted here, on the same runs.
        n_outside: runs outside the ranges of the preset; None where these are not known.
        allocations: the best divisions of budgets by the preset; empty if the law gives none.
    """

    name: str
    keys: tuple[str, ...]
    group: str
    unit: str
    reason: str
    n_runs: int
    rmse: float
    shift: float
    rmse_shifted: float
    rmse_fit: float
    n_outside: int | None
    allocations: tuple[Allocation, ...]


@checked()
def compare_presets(
    fit: Fit, presets: Sequence[str], C: Sequence[float] = (), largest: float | None = None
) -> list[Comparison]:
    """Published laws on the runs of a fit, and how they divide budgets.

    Args:
        fit: of the loss, by a law in N, D or C.
        presets: such as "chinchilla:epoch".
        C: budgets to divide, FLOP.
        largest: FLOP of the largest run; that of the points if None.

    Returns:
        One for each preset and group. Losses are compared as they are, and after a shift by the
        mean difference: another tokeniser or text moves all losses, most of all E.

    Raises:
        IsolossError: there is no such preset, or the fit is of mixtures or of another quantity.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N, D = np.meshgrid(np.geomspace(1e8, 1e10, 5), np.geomspace(1e9, 1e11, 5))
        >>> epoch = isoloss.preset("chinchilla:epoch")
        >>> loss = epoch.loss(N=N.ravel(), D=D.ravel()) + 0.2
        >>> table = pd.DataFrame({"N": N.ravel(), "D": D.ravel(), "loss": loss})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "chinchilla", bootstrap=0)
        >>> (one,) = isoloss.compare_presets(fit, ["chinchilla:epoch"])
        >>> round(one.rmse, 6), round(one.shift, 6), round(one.rmse_shifted, 6)
        (0.2, 0.2, 0.0)
    """
    laws = [preset(name) for name in dict.fromkeys(presets)]
    if laws and (fit.law.proportions or not fit.of_loss):
        what = "mixtures" if fit.law.proportions else repr(fit.quantity)
        do = "leave the comparison out"
        raise IsolossError(Problem("compare", f"the fit is of {what}, not of the loss by size", do))
    if largest is None and len(fit.points):
        largest = float(fit.points["n_flops_6nd"].max())
    return [_compared(fit, law, group, C, largest) for law in laws for group in fit.groups]


def _compared(
    fit: Fit, law: Preset, group: str, budgets: Sequence[float], largest: float | None
) -> Comparison:
    own = fit.rows_of("residuals", group)
    points = fit.points.set_index("run_id").loc[own["run_id"]]
    reason = _not_comparable(fit, law, points)
    errors = dict.fromkeys(("rmse", "shift", "rmse_shifted"), float("nan"))
    outside = None
    if not reason:
        data = {v: points[LETTERS[v]].to_numpy(float) for v in law.law.variables}
        left = own["loss"].to_numpy(float) - law.loss(**data)
        shift = float(left.mean())
        errors = {"rmse": _rms(left), "shift": shift, "rmse_shifted": _rms(left - shift)}
        if law.domain:
            outside = int((law.distance(points_of(law.law, data)) > 1).sum())
    divides = law.allocates and len(budgets) and largest
    return Comparison(
        name=law.name,
        keys=tuple(bibliography.of_preset(law.facts["card"], law.facts)),
        group=group,
        unit=fit.loss_unit,
        reason=reason,
        n_runs=len(own),
        **errors,
        rmse_fit=_rms(own["residual"].to_numpy(float)),
        n_outside=outside,
        allocations=tuple(allocations(law, WHOLE, budgets, largest)) if divides else (),
    )


def _not_comparable(fit: Fit, law: Preset, points: pd.DataFrame) -> str:
    """Why a preset's losses cannot be compared with those of runs; empty if they can."""
    if fit.loss_unit != law.loss_unit:
        return f"it is in {law.loss_unit}, the runs in {fit.loss_unit}"
    columns = {v: LETTERS.get(v) for v in law.law.variables}
    missing = [v for v, c in columns.items() if c not in points or points[c].isna().any()]
    return f"the runs lack {', '.join(missing)}" if missing else ""


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
