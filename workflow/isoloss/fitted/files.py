"""Fits as files: the tables of a fit, each a Parquet file that says which fit it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.arguments import checked
from isoloss.fitted.facts import NOT_JUDGED, WITH_CARE
from isoloss.fitted.names import TABLES
from isoloss.fitted.result import Fit
from isoloss.laws._make import made_law


@checked()
def load_fit(folder: str | Path) -> Fit:
    """Read a fit that `Fit.save` wrote.

    Args:
        folder: where its Parquet files are, such as `results/STUDY/fit/SWEEP/FIT`.

    Returns:
        The fit; it equals the one that was saved. The verdict on one of before there were verdicts
        is `with care`, and says so.

    Raises:
        TableError: a file is missing or damaged.

    Example:
        >>> import isoloss, numpy as np, pandas as pd, tempfile
        >>> N = np.geomspace(1e7, 1e9, 8)
        >>> table = pd.DataFrame({"N": N, "D": 1e9, "loss": 2 + 400 / N**0.34})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> fit = isoloss.fit_law(runs, "power_law", {"variable": "N"}, bootstrap=20)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     files = fit.save(folder)
        ...     again = isoloss.load_fit(folder)
        >>> again == fit
        True
    """
    files = {name: Path(folder) / f"{name}.parquet" for name in TABLES}
    for later in ("findings", "best_mixture"):  # that fits of earlier versions do not have
        if not files[later].exists():
            del files[later]
    (fit,) = fits_from(list(files.values())).values()
    return fit


def fits_from(files: Sequence[str | Path]) -> dict[str, Fit]:
    """The fits among some files, by name; a table that was not given stays empty."""
    tables_of: dict[str, dict[str, pd.DataFrame]] = {}
    facts_of: dict[str, dict] = {}
    for file in files:
        facts = tables.facts(file)
        if "law" in facts:
            tables_of.setdefault(facts["law"], {})[facts.pop("table")] = tables.frame(file)
            facts_of[facts["law"]] = facts
    fits = {}
    for name, given in tables_of.items():
        whole = {table: given.get(table, tables.empty(table)) for table in TABLES}
        if "verdict" not in whole["summary"]:
            whole["summary"] = whole["summary"].assign(verdict=WITH_CARE, reasons=NOT_JUDGED)
        if "predicted_unseen" not in whole["residuals"]:
            whole["residuals"] = whole["residuals"].assign(predicted_unseen=np.nan)
        if "free" not in whole["params"]:
            whole["params"] = whole["params"].assign(free=False)
        responses = list(whole["summary"]["response"]) or ["loss"]
        facts = facts_of[name]
        law = made_law(facts["card"], facts["options"], facts.get("domains"))
        fits[name] = Fit(law.for_response(responses[-1]), whole, facts)
    return fits
