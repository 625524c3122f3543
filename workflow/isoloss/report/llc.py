"""The lines of a summary about local learning coefficients, and how far to trust them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from isoloss.checks import limits
from isoloss.core import units
from isoloss.core.escape import markdown
from isoloss.core.problems import IsolossError
from isoloss.figures import _llc
from isoloss.fitted.facts import DO_NOT_USE, SOUND, WITH_CARE

SETTINGS = 4  # pairs of n_beta and localization that are told


def lines(name: str, sweep: str, llc: pd.DataFrame, runs: pd.DataFrame) -> list[str]:
    """The line of an observation: its LLCs and how they move, or where its settings have a plateau.

    With FEWEST step sizes or more it is taken for a calibration.

    Args:
        name: of the observation.
        sweep: that it measures.
        llc: its table `llc`, of all shards.
        runs: the table `runs` of the sweep.
    """
    of = f"({markdown(name)} of {markdown(sweep)})"
    try:
        every, first = _llc.measured(llc, runs), _llc.measured(llc, runs, 0)
    except IsolossError as error:  # such as: no run has finished
        return [f"- **LLC** {of}: {markdown(str(error))}"]
    if every["lr"].nunique() >= _llc.FEWEST:
        health = ", ".join(_llc.health(every, markdown))
        return [f"- **LLC over its settings** {of}: {health}; {_plateaus(every)}"]
    of += f", setting 0 of {n}" if (n := every["setting"].nunique()) > 1 else ""
    parts = [_verdict(first, runs), _values(first), _llc.moves(_llc.trend(first))]
    return [f"- **LLC** {of}, {'; '.join(filter(None, parts))}"]


def _verdict(rows: pd.DataFrame, runs: pd.DataFrame) -> str:
    """How far to trust the LLCs, how many there are of which status, and why."""
    counts = _llc.counted(rows)
    verdict = SOUND if counts["ok"] == len(rows) else WITH_CARE
    if counts["ok"] < limits.FEWEST_OK * len(rows):
        verdict = DO_NOT_USE.upper()
    finished = int((runs["status"] == "done").sum())
    health = ", ".join(_llc.health(rows, markdown))
    return f"**{verdict}**: {len(rows)} of {finished} runs, {health}"


def _values(rows: pd.DataFrame) -> str:
    """The range of the LLCs, and their errors."""
    rows = rows[_llc.usable(rows)]
    if rows.empty:
        return "every chain of every run failed, so there is nothing to report"
    least, most = (units.count(end(rows["llc_mean"])) for end in (min, max))
    relative = (rows["llc_se"] / rows["llc_mean"].abs()).median()
    error = f" (median standard error {units.percent(relative)})" if pd.notna(relative) else ""
    negative = int((rows["llc_mean"] < 0).sum())
    below = f", {negative} negative" if negative else ""
    ends = f"LLC {least} to {most}".replace("-", "−")
    return f"{ends}{error}{below}{_settled(rows)}"


def _settled(rows: pd.DataFrame) -> str:
    """The worst split R-hat and number of independent draws; nothing where they are not known."""
    known = rows.dropna(subset=["split_rhat", "ess"])
    if known.empty:
        return ""
    worst, fewest = known["split_rhat"].max(), known["ess"].min()
    return f"; split R-hat {worst:.3g} or less, {units.count(fewest)} independent draws or more"


def _plateaus(rows: pd.DataFrame) -> str:
    """Where the LLC of runs does not depend on the step size, by n_beta and localization."""
    by_setting = []
    for (n_beta, localization), some in rows.groupby(["n_beta", "localization"]):
        flat = [_llc.plateau(of_run)["lr"] for _, of_run in some.groupby("run_id")]
        flat = [step for step in flat if len(step)]
        where = f"n_beta {units.count(n_beta)}, localization {units.count(localization)}"
        text = f"{where}: {len(flat)} of {some['run_id'].nunique()} runs have a plateau"
        by_setting.append((len(flat), text + _shared(flat)))
    ordered = [text for _, text in sorted(by_setting, key=lambda part: -part[0])]
    more = [f"and {len(ordered) - SETTINGS} more"] * (len(ordered) > SETTINGS)
    return "; ".join([*ordered[:SETTINGS], *more])


def _shared(plateaus: Sequence[pd.Series]) -> str:
    """The step sizes that some plateaus have in common."""
    if not plateaus:
        return ""
    low, high = max(one.min() for one in plateaus), min(one.max() for one in plateaus)
    if low > high:
        return ", at no step size in common"
    return f", all of them at lr {units.power(low)} to {units.power(high)}"
