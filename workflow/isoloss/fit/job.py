"""The stage fit: a law is fitted to runs, to points along them, or to their mixtures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.core.problems import IsolossError
from isoloss.fit import points
from isoloss.fit.formula import fitted_to
from isoloss.fit.law import fit_law
from isoloss.fitted.export import export_fit
from isoloss.fitted.facts import count_runs
from isoloss.fitted.names import RESPONSE
from isoloss.fitted.paper import context_of

# what of a study's fit says which rows are fitted; the rest are arguments of `fit_law`
_ROWS = ("card", "options", "sweep", "points", "tag_key", "domain_weights")


def run(
    specification: Mapping[str, Any], files: Sequence[Path], out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Fit a law.

    Args:
        specification: what matters to the job: `fit` (the study's entry), `seed`.
        files: runs of its sweep; curves, or losses and mixtures, where it is fitted to them.
        out: folder for the fit's tables, and for the fit as law.py, explain.md, params.tex
            and paper.md.
        facts: kept in all files: law, sweep, study.

    Returns:
        The files.

    Raises:
        IsolossError: a table is lacking, or the law cannot be fitted.
    """
    fit, seed = specification["fit"], specification["seed"]
    given = {tables.facts(file)["table"]: tables.frame(file) for file in files}
    if "runs" not in given:
        raise IsolossError("--tables lacks runs.parquet")
    rows = points.points(given["runs"], fit["points"], given.get("curves"))
    if "mixtures" in given:
        rows = points.by_domain(rows, given["mixtures"], given["losses"], fit.get("tag_key"))
    settings = {key: value for key, value in fit.items() if key not in _ROWS}
    facts_of = [tables.facts(file) for file in files]
    unit = next(facts["loss_unit"] for facts in facts_of)
    response = fitted_to(fit["card"], fit["options"], fit.get("response"), rows)
    if response != RESPONSE:  # of a user's column none is known
        unit = next((f["units"].get(response) for f in facts_of if "units" in f), None)
    made = fit_law(rows, fit["card"], fit["options"], seed=seed, loss_unit=unit, **settings)
    if fit.get("domain_weights"):
        made = made.with_best_mixtures(fit["domain_weights"])
        facts = {**facts, "grouped_by": fit["group"], "tag_key": fit.get("tag_key")}
    saved = made.save(out, **facts)
    context = context_of(made, f"the sweep {facts['sweep']}", count_runs(given["runs"]))
    return [*saved, *export_fit(made, out, context)]
