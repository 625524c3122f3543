"""A fitted law: its tables, and the decisions that follow from it, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from isoloss import registry, tables
from isoloss.laws._law import Law

TABLES = ("params", "summary", "residuals", "starts", "replicates")
Interval = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Fit:
    """What `fit_law` found.

    Attributes:
        law: the law, its options chosen.
        params, summary, residuals, starts, replicates: the tables of tables.yaml.
        facts: what the files say of themselves (sweep, law, options, ...).
    """

    law: Law
    params: pd.DataFrame
    summary: pd.DataFrame
    residuals: pd.DataFrame
    starts: pd.DataFrame
    replicates: pd.DataFrame
    facts: dict = field(default_factory=dict)

    @property
    def groups(self) -> list[str]:
        """The groups, each with a fit of its own."""
        return list(self.summary["group"])

    def theta(self, group: str = "all") -> np.ndarray:
        """The optimum in the law's coordinates, (p,)."""
        rows = self.params[self.params["group"] == group].set_index("term")
        return np.array([t.coordinate(rows.loc[t.name, "estimate"]) for t in self.law.terms])

    def replicate_thetas(self, group: str = "all") -> np.ndarray:
        """The converged bootstrap replicates, (r, p)."""
        mine = self.replicates[(self.replicates["group"] == group) & self.replicates["converged"]]
        if mine.empty:
            return np.empty((0, len(self.law.terms)))
        return np.stack([np.asarray(theta, dtype=float) for theta in mine["theta"]])

    def predict(self, group: str = "all", level: float = 0.95, **variables) -> pd.DataFrame:
        """Loss with its bootstrap interval (of the law, without the noise of a run).

        Args:
            group: which fit.
            level: of the interval.
            variables: N, D, C as the law needs, each a number or array.

        Returns:
            One row a point: the variables, `loss_nats`, `low`, `high`.
        """
        data = {k: np.atleast_1d(np.asarray(v, dtype=float)) for k, v in variables.items()}
        loss = np.exp(self.law.log_loss(self.theta(group), data))
        low, high = quantiles(np.exp(self.law.log_loss(self.replicate_thetas(group), data)), level)
        return pd.DataFrame({**data, "loss_nats": loss, "low": low, "high": high})

    def allocate(self, C, group: str = "all", level: float = 0.95) -> pd.DataFrame:
        """How to divide a budget, with bootstrap intervals.

        Args:
            C: FLOP (= 6 N D), a number or array.
            group: which fit.
            level: of the intervals.

        Returns:
            One row a budget: C, and each of N, D, tokens_per_parameter, loss_nats with `_low` and
            `_high`; `replicates` counts those in which an optimum exists (both exponents positive).
        """
        rows = []
        for flops in np.atleast_1d(np.asarray(C, dtype=float)):
            best = self._allocation(self.theta(group)[None], flops)
            many = self._allocation(self.replicate_thetas(group), flops)
            sound = np.all(np.isfinite(np.stack(list(many.values()))), axis=0)
            row = {"C": flops}
            for name, value in best.items():
                low, high = quantiles(many[name][sound], level)
                row |= {name: value[0], f"{name}_low": float(low), f"{name}_high": float(high)}
            rows.append({**row, "replicates": int(sound.sum())})
        return pd.DataFrame(rows)

    def _allocation(self, theta: np.ndarray, flops: float) -> dict[str, np.ndarray]:
        with np.errstate(all="ignore"):  # an exponent that is not positive has no optimum: NaN
            n, d = self.law.allocate(theta, flops)
            log_loss = self.law.log_loss(theta, {"N": n[:, None], "D": d[:, None]})
            loss = np.exp(log_loss[:, 0])
            return {"N": n, "D": d, "tokens_per_parameter": d / n, "loss_nats": loss}

    def save(self, folder: str | Path, law: str = "law", **facts) -> list[Path]:
        """Write the tables into a folder, under the name of the fit (`law`); their files."""
        found = {name: getattr(self, name) for name in TABLES}
        return tables.write_all(found, folder, {**self.facts, "law": law, **facts})


def load_fit(folder: str | Path) -> Fit:
    """Read a fit that `save` wrote."""
    (fit,) = fits_from([Path(folder) / f"{name}.parquet" for name in TABLES]).values()
    return fit


def quantiles(values: np.ndarray, level: float) -> Interval:
    """Percentile interval over the first axis; NaN where there is nothing."""
    if len(values) == 0:
        nothing = np.full(values.shape[1:], np.nan)
        return nothing, nothing
    tail = (1 - level) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return low, high


def fits_from(files: Sequence[str | Path]) -> dict[str, Fit]:
    """The fits among some files, by name; a table that was not given stays empty."""
    found: dict[str, dict[str, pd.DataFrame]] = {}
    said: dict[str, dict] = {}
    for file in files:
        facts = tables.facts(file)
        if "law" in facts:
            found.setdefault(facts["law"], {})[facts.pop("table")] = tables.frame(file)
            said[facts["law"]] = facts
    fits = {}
    for name, parts in found.items():
        law = registry.card("law", said[name]["card"]).make(**said[name]["options"])
        whole = {table: parts.get(table, tables.empty(table)) for table in TABLES}
        fits[name] = Fit(law=law, facts=said[name], **whole)
    return fits
