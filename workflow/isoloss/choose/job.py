"""The stage choose: the runs of a round are chosen by the fit to all runs before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoloss.choose.choices import choices_of
from isoloss.core import tables
from isoloss.fitted import fits_from


def run(
    specification: Mapping[str, Any], files: Sequence[Path], out: Path, facts: Mapping[str, Any]
) -> list[Path]:
    """Choose the runs of a round.

    Args:
        specification: what matters to the job: `round` (its number, the name of the fit, the
            planner with its options, and when the rounds end), `seed`.
        files: runs of the round before, and all tables of the fit to them.
        out: folder for `choices`.
        facts: kept in the file.

    Returns:
        The file.
    """
    about = specification["round"]
    (runs,) = [file for file in files if tables.facts(file)["table"] == "runs"]
    fit = fits_from(files)[about["fit"]]
    given = tables.frame(runs, "runs"), about, about["number"], specification["seed"]
    choices = choices_of(fit, *given).drop_duplicates()
    units = {key: tables.facts(runs)[key] for key in ("token", "loss_unit")}
    tables.write("choices", choices, out / "choices.parquet", {**facts, **units})
    return [out / "choices.parquet"]
