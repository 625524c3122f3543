"""What a study found, in a few lines that stand alone: summary.md, printed at the end of a run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from isoloss import tables, units
from isoloss.escape import markdown
from isoloss.figures.weighting_effects import differences
from isoloss.fitted import OF_RUN, Fit, fits_from

Tables = dict[str, dict[str, pd.DataFrame]]


def run(specification: Mapping[str, Any], files: Sequence[Path], out: Path) -> list[Path]:
    """Write the summary of a study: the stage summarize.

    Args:
        specification: what matters to the job: `study` (its name), `summary` (the study's
            section), `figures` (their names).
        files: runs, losses and timing of every sweep, all tables of every fit.
        out: the Markdown file.

    Returns:
        The file.
    """
    study, settings = specification["study"], specification["summary"]
    tables.write_text(out, summarize(study, settings, files, specification["figures"]))
    return [out]


def summarize(
    study: str, settings: Mapping[str, Any], files: Sequence[str | Path], figures: Sequence[str]
) -> str:
    """The summary as Markdown.

    Args:
        study: its name.
        settings: the study's `summary`.
        files: runs, losses and timing of every sweep, all tables of every fit.
        figures: names of the figures.
    """
    by_sweep: Tables = {}
    token = {}
    for file in files:
        facts = tables.facts(file)
        if "law" not in facts:
            by_sweep.setdefault(facts["sweep"], {})[facts["table"]] = tables.frame(file)
            token[facts["sweep"]] = facts["token"]
    fits = fits_from(files)
    lines = [f"# {markdown(study)}", ""]
    for sweep, found in by_sweep.items():
        runs = found["runs"]
        lines += _versions(sweep, found["timing"])
        lines.append(f"- **Runs** ({markdown(sweep)}): {_runs(runs, markdown(token[sweep]))}")
        mine = {name: fit for name, fit in fits.items() if fit.facts["sweep"] == sweep}
        for name, fit in mine.items():
            lines += _law(name, fit)
        held = _held_out(mine)
        lines += [held] if held else []
        lines += _folds(mine)
        lines += _seeds(mine)
        for name, fit in mine.items():
            lines += _allocations(name, fit, settings["budgets"], runs)
        lines += _weightings(runs[runs["status"] == "done"], found["losses"])
    if figures:
        folder = markdown(f"results/{study}/plot")
        names = ", ".join(map(markdown, figures))
        lines.append(
            f"- **Figures**: {folder}/ ({names}; .png, .pdf, and .parquet of what is drawn)"
        )
    return "\n".join(lines) + "\n"


def _runs(runs: pd.DataFrame, token: str) -> str:
    done = runs[runs["status"] == "done"]
    others = runs.loc[runs["status"] != "done", "status"].value_counts(sort=False)
    gone = "".join(f", {count} {markdown(status)}" for status, count in others.sort_index().items())
    if done.empty:
        return f"none finished{gone}"
    spans = [
        f"{letter} {form(done[column].min())} to {form(done[column].max())}{unit}"
        for letter, column, form, unit in (
            ("N", "n_params", units.count, ""),
            ("D", "n_samples", units.count, f" {token}s"),
            ("C", "n_flops", units.power, " FLOP"),
        )
        if done[column].notna().any()
    ]
    where = f"; {', '.join(spans)}" if spans else ""
    return f"{len(done)} finished{gone}{where}; loss in nats/{token}"


def _versions(sweep: str, timing: pd.DataFrame) -> list[str]:
    """One line if the runs of a sweep were trained under several versions."""
    counts = timing.groupby(["torch_version", "numpy_version"]).size()
    if len(counts) < 2:
        return []
    said = [
        f"{n} with torch {markdown(torch)}, numpy {markdown(numpy)}"
        for (torch, numpy), n in counts.items()
    ]
    return [f"- **Runs of several versions** ({markdown(sweep)}): {'; '.join(said)}"]


def _with_interval(value: float, low: float, high: float, form) -> str:
    return f"{form(value)} {units.interval(low, high, form)}"


def _law(name: str, fit: Fit) -> list[str]:
    if len(fit.responses) > 1:
        return [_law_of_many(name, fit, group) for group in fit.groups]
    lines = []
    for group in fit.groups:
        row = fit.mine("summary", group).iloc[0]
        params = fit.mine("params", group)
        terms = ", ".join(
            f"{markdown(p.symbol)} {_with_interval(p.estimate, p.ci_low, p.ci_high, units.count)}"
            for p in params.itertuples()
        )
        of = "" if group == "all" else f", group {markdown(group)}"
        how = params["ci_method"].iloc[0].split(" ")[0]
        level = f"{100 * fit.level:.4g} % {how} intervals"
        if not row["n_replicates_converged"]:
            level = "no intervals"
        agree = f"{row['n_agree']} of {row['n_starts']} starts agree"
        said = "" if row["message"] in ("", agree) else f"; {markdown(row['message'])}"
        agree = f", {agree}" if row["n_starts"] else ""
        lines.append(
            f"- **{markdown(name)}**{of}, {fit.law.formula}: {terms} ({level}); "
            f"{_state(row['status'])}{agree}{said}; "
            f"RMSE {row['rmse']:.3g} nats on {_rows(fit, group, row['n_runs'])}"
        )
    return lines


def _rows(fit: Fit, group: str, count: int) -> str:
    """How many runs were fitted, or points along how many of them."""
    if OF_RUN not in fit.points:
        return f"{count} runs"
    residuals = fit.mine("residuals", group)
    fitted = fit.points["run_id"].isin(set(residuals.loc[~residuals["held_out"], "run_id"]))
    return f"{count} points of {fit.points.loc[fitted, OF_RUN].nunique()} runs"


def _law_of_many(name: str, fit: Fit, group: str) -> str:
    """One line of a law that has a fit for each of many losses."""
    rows = fit.summary[fit.summary["group"] == group]
    bad = rows[rows["status"] != "converged"]
    states = ", ".join(f"{markdown(r.response)} {_state(r.status)}" for r in bad.itertuples())
    of = "" if group == "all" else f", group {markdown(group)}"
    return (
        f"- **{markdown(name)}**{of}, {fit.law.formula}: {len(rows)} losses, "
        f"R2 {rows['r2'].min():.3f} to {rows['r2'].max():.3f}, "
        f"median RMSE {rows['rmse'].median():.3g} nats on {rows['n_runs'].max()} runs; "
        f"{states or 'converged'}"
    )


def _state(status: str) -> str:
    return status if status == "converged" else f"**{markdown(status.replace('_', ' ').upper())}**"


def _held_out(fits: Mapping[str, Fit]) -> str:
    """One line: errors by fit, and the baseline by group."""
    errors, baselines = [], {}
    for name, fit in fits.items():
        for row in fit.summary[fit.summary["n_held_out"] > 0].itertuples():
            of = "" if row.group == "all" else f" ({markdown(row.group)})"
            errors.append(f"{markdown(name)}{of} {row.held_out_rmse:.3g}")
            runs = "1 run" if row.n_held_out == 1 else f"{row.n_held_out} runs"
            baselines[f"{runs}{of}"] = f"{row.held_out_baseline_rmse:.3g}{of}"
    if not errors:
        return ""
    said = ", ".join([*errors, "mean of the last fitted budget " + ", ".join(baselines.values())])
    return f"- **Held out** (the largest budget, {', '.join(baselines)}), RMSE in nats: {said}"


def _folds(fits: Mapping[str, Fit]) -> list[str]:
    """One line a rule that has fits of its own: the mean error over folds and losses, by fit."""
    errors: dict[str, list[str]] = {}
    for name, fit in fits.items():
        folds = fit.scores[fit.scores["fold"] != "largest_compute"]
        rules = folds["fold"].str.split(" ").str[0]
        for (rule, group), mine in folds.groupby([rules, "group"]):
            of = "" if group == "all" else f" ({markdown(group)})"
            many = mine["response"].nunique()
            losses = f" of {many} losses" if many > 1 else ""
            count = mine["fold"].nunique()
            error = f"{markdown(name)}{of} {mine['rmse'].mean():.3g}{losses} in {count} folds"
            errors.setdefault(rule, []).append(error)
    return [
        f"- **Held out** ({markdown(rule.replace('_', ' '))}), mean RMSE in nats: {', '.join(said)}"
        for rule, said in errors.items()
    ]


def _seeds(fits: Mapping[str, Fit]) -> list[str]:
    """One line: the spread over seeds of the runs that the fits select, by group."""
    found = {}
    for fit in fits.values():
        for row in fit.summary.dropna(subset="seed_sd").itertuples():
            of = "" if row.group == "all" else f" ({markdown(row.group)})"
            found[f"{row.seed_sd:.2g} nats{of}"] = None
    return [f"- **Seed SD**: {', '.join(found)}"] if found else []


def _allocations(name: str, fit: Fit, budgets: Sequence[float], runs: pd.DataFrame) -> list[str]:
    if not hasattr(fit.law, "allocate"):
        return []
    largest = runs.loc[runs["status"] == "done", "n_flops_6nd"].max()
    level = fit.params["ci_level"].iloc[0]
    lines = []
    for group in fit.groups:
        of = "" if group == "all" else f", group {markdown(group)}"
        wanted = budgets or [10 * largest, 100 * largest]
        for row in fit.allocate(wanted, group, level).to_dict("records"):
            if not row["N"] > 0:
                said = "there is none: an exponent is not positive"
                lines.append(
                    f"- **Best for C = {units.power(row['C'])} FLOP** "
                    f"({markdown(name)}{of}): {said}"
                )
                continue
            values = ", ".join(
                f"{label} {_with_interval(row[key], row[f'{key}_low'], row[f'{key}_high'], form)}"
                for label, key, form in (
                    ("N", "N", units.count),
                    ("D", "D", units.count),
                    ("D/N", "tokens_per_parameter", units.count),
                    ("loss", "loss_nats", "{:.3f}".format),
                )
            )
            beyond = row["C"] / largest
            reach = f", {units.count(beyond, 2)} times the largest run" if beyond > 1 else ""
            lines.append(
                f"- **Best for C = {units.power(row['C'])} FLOP** "
                f"({markdown(name)}{of}{reach}): {values}"
            )
    return lines


def _weightings(done: pd.DataFrame, losses: pd.DataFrame) -> list[str]:
    if losses.empty or "natural" not in set(done["weighting"]):
        return []
    found = differences(done, losses, "natural")
    if found.empty:
        return []
    said = []
    for weighting, mine in found.groupby("weighting"):
        means = mine.groupby(["tag_key", "domain"])["difference"].mean()
        whole = means.pop(("all", "all"))
        most = means.reindex(means.abs().sort_values(ascending=False).index)[:3]
        parts = ", ".join(f"{markdown(domain)} {value:+.3f}" for (_, domain), value in most.items())
        said.append(f"{markdown(weighting)} {whole:+.3f} ({parts})")
    pairs = len(found[["run_id", "run_id_reference"]].drop_duplicates())
    return [
        f"- **Weightings**, loss against natural, all else the same ({pairs} pairs), nats: "
        + "; ".join(said)
    ]
