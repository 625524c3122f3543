"""The summary of a study, summary.md, which is printed at the end of a run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from isoloss.core import tables, units
from isoloss.core.escape import markdown
from isoloss.figures.weighting_effects import differences
from isoloss.fitted import Fit, fits_from
from isoloss.fitted.facts import (
    DO_NOT_USE,
    VERDICTS,
    Gain,
    OneFit,
    Record,
    allocations,
    gains,
    record,
)
from isoloss.fitted.growth import growth
from isoloss.fitted.markup import Markdown
from isoloss.fitted.names import RESPONSE, UNSEEN, equation
from isoloss.fitted.optima import optima, sentences_of
from isoloss.fitted.optimum import asked_question
from isoloss.report import llc, mixtures, rounds, simulations

Tables = dict[str, dict[str, pd.DataFrame]]


def run(specification: Mapping[str, Any], files: Sequence[Path], out: Path) -> list[Path]:
    """Write the summary of a study: the stage summarize.

    Args:
        specification: what matters to the job: `study` (its name), `summary` (the study's
            section), `figures` (their names), `datasets` (by sweep), `trials` (best mixtures that
            sweeps train: `sweep`, `weighting`, `fit`, `group`), `rounds` (by the last of them),
            `coefficients` (observations of learning coefficients: name to sweep).
        files: runs, losses and timing of every sweep, mixtures of those with a trial, all tables
            of every fit, choices of rounds, audits of datasets, the recovery of every simulation,
            tables `llc` of observations.
        out: the Markdown file.

    Returns:
        The file.
    """
    tables.write_text(out, summarize(specification, files))
    return [out]


def summarize(specification: Mapping[str, Any], files: Sequence[str | Path]) -> str:
    """The summary as Markdown; see `run`."""
    study, settings = specification["study"], specification["summary"]
    by_sweep: Tables = {}
    units_of: dict[str, tuple[str, str]] = {}
    notes: dict[str, list[str]] = {}
    corpora: dict[str, dict[str, Any]] = {}  # facts of datasets
    chosen: dict[str, pd.DataFrame] = {}  # choices of rounds
    recoveries: dict[str, pd.DataFrame] = {}
    coefficients: dict[str, list[pd.DataFrame]] = {}  # by observation, of every shard
    for file in files:
        facts = tables.facts(file)
        if facts["table"] == "audit":
            corpora[facts["dataset"]] = facts
        elif facts["table"] == "choices":
            chosen[facts["sweep"]] = tables.frame(file, "choices")
        elif facts["table"] == "recovery":
            recoveries[facts["simulation"]] = tables.frame(file)
        elif facts["table"] == "llc":
            coefficients.setdefault(facts["observation"], []).append(tables.frame(file, "llc"))
        elif "law" not in facts:
            by_sweep.setdefault(facts["sweep"], {})[facts["table"]] = tables.frame(file)
            units_of[facts["sweep"]] = facts["token"], facts["loss_unit"]
            notes[facts["sweep"]] = facts.get("notes", [])
    fits = fits_from(files)
    lines = [f"# {markdown(study)}", ""]
    for sweep, by_table in by_sweep.items():
        runs = by_table["runs"]
        lines += _versions(sweep, by_table["timing"])
        dataset = specification["datasets"].get(sweep, "")
        corpus = corpora.get(dataset, {})
        known = _text(corpus)
        lines.append(f"- **Runs** ({markdown(sweep)}): {_runs(runs, *units_of[sweep])}{known}")
        lines += _bad_rows(dataset, corpus.get("bad_rows", {}))
        if notes[sweep]:
            lines.append(f"- **Table** ({markdown(sweep)}): {markdown('; '.join(notes[sweep]))}")
        if names := specification["rounds"].get(sweep):
            lines += rounds.table(sweep, [chosen[name] for name in names], runs)
        of_sweep = {name: fit for name, fit in fits.items() if fit.facts["sweep"] == sweep}
        records = {name: record(fit) for name, fit in of_sweep.items()}
        for name, fit in records.items():
            lines += _law(name, fit, corpus.get("entropy_rate", {}).get("all"))
        for quantity in dict.fromkeys(fit.quantity for fit in records.values()):
            alike = {name: fit for name, fit in records.items() if fit.quantity == quantity}
            of = "" if quantity == RESPONSE else f" of {markdown(quantity)}"
            lines += _held_out(alike, of)
            lines += _folds(alike, of)
            lines += _seeds(alike, of)
        for name, fit in of_sweep.items():
            if records[name].allocates:
                lines += _allocations(name, fit, settings["budgets"], runs)
            lines += _gains(name, fit, records[name], settings["budgets"], runs)
            lines += _optima(name, fit, settings["optima"])
        for name, fit in of_sweep.items():
            lines += mixtures.best_mixtures(name, fit)
        lines += _weightings(runs[runs["status"] == "done"], by_table["losses"])
    for asked in specification["trials"]:
        lines.append(mixtures.trial(asked, fits[asked["fit"]], by_sweep[asked["sweep"]]))
    for name, sweep in specification["coefficients"].items():
        every = pd.concat(coefficients[name], ignore_index=True)
        lines += llc.lines(name, sweep, every, by_sweep[sweep]["runs"])
    for name, recovery in recoveries.items():
        lines += simulations.recovered(name, recovery)
    if figures := specification["figures"]:
        names = ", ".join(map(markdown, figures))
        kinds = ".png, .pdf, caption as .txt, and .parquet of what is drawn"
        lines.append(f"- **Figures** (folder plot): {names}; {kinds}")
    return "\n".join(lines) + "\n"


def _runs(runs: pd.DataFrame, token: str, loss_unit: str) -> str:
    finished = runs[runs["status"] == "done"]
    others = runs.loc[runs["status"] != "done", "status"].value_counts(sort=False)
    gone = "".join(f", {count} {markdown(status)}" for status, count in others.sort_index().items())
    if finished.empty:
        return f"none finished{gone}"
    spans = [
        f"{letter} {form(finished[column].min())} to {form(finished[column].max())}{unit}"
        for letter, column, form, unit in (
            ("N", "n_params", units.count, ""),
            ("D", "n_samples", units.count, f" {markdown(token)}s"),
            ("C", "n_flops", units.power, " FLOP"),
        )
        if finished[column].notna().any()
    ]
    where = f"; {', '.join(spans)}" if spans else ""
    return f"{len(finished)} finished{gone}{where}; loss in {markdown(loss_unit)}"


def _versions(sweep: str, timing: pd.DataFrame) -> list[str]:
    """One line if the runs of a sweep were trained under several versions."""
    counts = timing.groupby(["torch_version", "numpy_version"]).size()
    if len(counts) < 2:
        return []
    counts_by_version = [
        f"{n} with torch {markdown(torch)}, numpy {markdown(numpy)}"
        for (torch, numpy), n in counts.items()
    ]
    return [f"- **Runs of several versions** ({markdown(sweep)}): {'; '.join(counts_by_version)}"]


def _text(corpus: Mapping[str, Any]) -> str:
    """What is known of the text that runs are trained on, behind the unit of their loss."""
    if "bytes_per_token" in corpus:
        return f" ({corpus['bytes_per_token']:.3g} bytes a token)"
    rates = dict(corpus.get("entropy_rate", {}))
    if len(rates) < 3:  # one domain, and the whole
        return ""
    whole = rates.pop("all")
    by_domain = ", ".join(f"{markdown(name)} {rate:.4g}" for name, rate in rates.items())
    return f" (the corpus has {whole:.4g}: {by_domain})"


def _bad_rows(dataset: str, counts: Mapping[str, int]) -> list[str]:
    """One line on the rows of a dataset that could not be used and are left out, if any are."""
    if not counts:
        return []
    reasons = ", ".join(f"{markdown(reason)} ({n})" for reason, n in sorted(counts.items()))
    return [f"- **Rows left out** ({markdown(dataset)}): {sum(counts.values())}: {reasons}"]


def _law(name: str, fit: Record, entropy_rate: float | None) -> list[str]:
    """The lines of a fit, with the entropy rate of the corpus where the law has an offset E."""
    if len(fit.responses) > 1:
        return [_law_of_many(name, fit, group) for group in fit.groups]
    lines = []
    for one in fit.fits:
        terms = ", ".join(
            f"{markdown(p.symbol)} {units.count(p.estimate)} {p.interval()}".rstrip()
            for p in one.parameters
        )
        level = f"{100 * one.level:.4g} % {one.method.split(' ')[0]} intervals"
        if not one.n_replicates_converged:
            level = "no intervals"
        truth = ""
        offset = fit.quantity == RESPONSE and any(p.term == "E" for p in one.parameters)
        if offset and entropy_rate is not None:
            truth = f"; the corpus has {entropy_rate:.4g} {markdown(one.loss_unit)}"
        agree = f", {one.agreement}" if one.agreement else ""
        warning = f"; {markdown(one.warning)}" if one.warning else ""
        lines.append(
            f"- **{markdown(name)}**{_group(one.group)}, "
            f"**{markdown(one.loud_verdict)}**{_why(one)}; "
            f"{_formula(fit)}: {terms} ({level}){truth}; "
            f"{_state(one)}{agree}{warning}; "
            f"RMSE {units.loss(one.rmse, one.loss_unit)} on {one.fitted_rows}"
        )
    return lines


def _why(one: OneFit) -> str:
    return "" if one.sound else f" ({markdown(one.reasons)})"


def _formula(fit: Record) -> str:
    """The formula of a law as Markdown: as code where a * would be read as emphasis."""
    typed = equation(fit.formula, fit.quantity)
    if "*" in typed and "`" not in typed:
        return f"`{typed}`"
    return equation(fit.formula, markdown(fit.quantity))


def _law_of_many(name: str, fit: Record, group: str) -> str:
    """One line of a law that has a fit for each of many losses."""
    fits = fit.of(group)
    states = ", ".join(
        f"{markdown(one.response)} {_state(one)}" for one in fits if not one.converged
    )
    unit = fits[0].loss_unit
    scores = pd.DataFrame({"r2": [one.r2 for one in fits], "rmse": [one.rmse for one in fits]})
    return (
        f"- **{markdown(name)}**{_group(group)}, {_verdicts(fits)}; {_formula(fit)}: "
        f"{len(fits)} losses, "
        f"R2 {units.decimals(scores['r2'].min(), 3)} to {units.decimals(scores['r2'].max(), 3)}, "
        f"median RMSE {units.loss(scores['rmse'].median(), unit)} on "
        f"{max(one.n_runs for one in fits)} runs; "
        f"{states or 'converged'}"
    )


def _verdicts(fits: Sequence[OneFit]) -> str:
    """How many fits have which verdict, the best first, and why the first of the worst has it."""
    counts = {v: [one for one in fits if one.verdict == v] for v in VERDICTS}
    parts = [f"**{markdown(of[0].loud_verdict)}** {len(of)}" for of in counts.values() if of]
    worst = [of[0] for of in counts.values() if of][-1]
    return ", ".join(parts) + _why(worst)


def _group(group: str) -> str:
    return "" if group == tables.WHOLE else f", group {markdown(group)}"


def _in_brackets(group: str) -> str:
    return "" if group == tables.WHOLE else f" ({markdown(group)})"


def _state(one: OneFit) -> str:
    return one.status if one.converged else f"**{markdown(one.loud_status)}**"


def _held_out(fits: Mapping[str, Record], of: str) -> list[str]:
    """Held-out errors by fit, with the baseline by group: a line for each choice of runs.

    Args:
        fits: of one quantity.
        of: which, in words; empty of the loss.
    """
    largest = "the largest budget"
    errors: dict[str, list[str]] = {}
    baselines: dict[str, dict[str, str]] = {}
    for name, fit in fits.items():
        for one in [one for one in fit.fits if one.n_held_out > 0]:
            whose = _in_brackets(one.group)
            runs = "1 run" if one.n_held_out == 1 else f"{one.n_held_out} runs"
            fold = next((fold for fold in one.folds if fold.of_fit), None)
            own = fold is not None and fold.rule != UNSEEN[0]
            which = markdown(fold.which) if own else largest
            error = f"{markdown(name)}{whose} {units.plain(one.held_out_rmse)}"
            errors.setdefault(which, []).append(error)
            baseline = f"{units.plain(one.held_out_baseline_rmse)}{whose}"
            baselines.setdefault(which, {})[f"{runs}{whose}"] = baseline
    lines = []
    for which, parts in errors.items():
        last = "budget" if which == largest else "value"
        guesses = f"mean of the last fitted {last} " + ", ".join(baselines[which].values())
        text = ", ".join([*parts, guesses])
        lines.append(f"- **Held out** ({which}, {', '.join(baselines[which])}), RMSE{of}: {text}")
    return lines


def _folds(fits: Mapping[str, Record], of: str) -> list[str]:
    """A line for each hold-out rule with folds: mean error over folds and losses, by fit.

    Args: as of `_held_out`.
    """
    errors: dict[str, list[str]] = {}
    for name, fit in fits.items():
        folds = pd.DataFrame(
            [
                (fold.rule, one.group, one.response, fold.name, fold.rmse)
                for one in fit.fits
                for fold in one.folds
                if not fold.of_fit
            ],
            columns=["rule", "group", "response", "fold", "rmse"],
        )
        for (rule, group), rows in folds.groupby(["rule", "group"], sort=False):
            many = rows["response"].nunique()
            losses = f" of {many} losses" if many > 1 else ""
            count = rows["fold"].nunique()
            error = f"{units.plain(rows['rmse'].mean())}{losses} in {count} folds"
            errors.setdefault(rule, []).append(f"{markdown(name)}{_in_brackets(group)} {error}")
    return [
        f"- **Held out** ({markdown(rule.replace('_', ' '))}), mean RMSE{of}: {', '.join(text)}"
        for rule, text in errors.items()
    ]


def _seeds(fits: Mapping[str, Record], of: str) -> list[str]:
    """The line of standard deviations over seeds of the runs that the fits select, by group.

    Of a group with several losses it is the least and the greatest of them.

    Args: as of `_held_out`.
    """
    spreads = {}
    for fit in fits.values():
        for group in fit.groups:
            known = [one for one in fit.of(group) if not math.isnan(one.seed_sd)]
            ordered = sorted(known, key=lambda one: one.seed_sd)
            if not ordered:
                continue
            least, most = ordered[0], ordered[-1]
            low = f"{least.seed_sd:.2g} to " if least.seed_sd < most.seed_sd else ""
            high = units.loss(most.seed_sd, most.loss_unit, 2)
            spreads[f"{low}{high}{_in_brackets(group)}"] = None
    return [f"- **Seed SD**{of}: {', '.join(spreads)}"] if spreads else []


def _allocations(name: str, fit: Fit, budgets: Sequence[float], runs: pd.DataFrame) -> list[str]:
    largest = runs.loc[runs["status"] == "done", "n_flops_6nd"].max()
    lines = []
    for group in fit.groups:
        if fit.law.kind == "frontier" and (grows := growth(fit, group)) is not None:
            lines.append(f"- **Best N and D** ({markdown(name)}{_group(group)}): {grows.text}")
        for best in allocations(fit, group, budgets or [10 * largest, 100 * largest], largest):
            title = f"- **Best for C = {units.power(best.flops)} FLOP** ({markdown(name)}"
            if not best.exists:
                reason = "there is none: an exponent is not positive"
                lines.append(f"{title}{_group(group)}): {reason}")
                continue
            values = ", ".join(
                f"{label} {units.estimate(q.estimate, q.low, q.high, form)}"
                for label, q, form in (
                    ("N", best.n_params, units.count),
                    ("D", best.n_samples, units.count),
                    ("D/N", best.tokens_per_parameter, units.count),
                    ("loss", best.loss, lambda v: units.decimals(v, 3)),
                )
            )
            beyond = best.times_largest
            reach = f", {units.count(beyond, 2)} times the largest run" if beyond > 1 else ""
            if best.reach.variable in ("N", "D"):
                reach += f", outside the runs: {best.reach.text}"
            lines.append(f"{title}{_group(group)}{reach}): {values}")
    return lines


def _optima(name: str, fit: Fit, asked: Sequence[Mapping[str, Any]]) -> list[str]:
    """The answers of a fit to the questions that are asked of it."""
    questions = [asked_question(one) for one in asked if one["fit"] == name]
    answers = [one for question in questions for one in optima(fit, question)]
    told = sentences_of(answers, Markdown())
    return [f"- **Optimum** ({markdown(name)}): {sentence}" for sentence in told]


def _gains(
    name: str, fit: Fit, facts: Record, budgets: Sequence[float], runs: pd.DataFrame
) -> list[str]:
    """A line a budget with the compute-equivalent gains of the groups over the first."""
    compute = "n_flops_6nd" if fit.allocates else "n_flops"
    largest = runs.loc[runs["status"] == "done", compute].max()
    by_budget: dict[float, list[Gain]] = {}
    for gain in gains(fit, budgets or [10 * largest, 100 * largest], largest):
        by_budget.setdefault(gain.flops, []).append(gain)
    lines = []
    for flops, of_groups in by_budget.items():
        first = of_groups[0]
        beyond = first.times_largest
        reach = f", {units.count(beyond, 2)} times the largest run" if beyond > 1 else ""
        values = ", ".join(f"{markdown(one.group)} {_gain(one)}" for one in of_groups)
        doubted = [
            f"{markdown(one.group)} **{markdown(one.loud_verdict)}**"
            for group in (first.baseline, *(one.group for one in of_groups))
            for one in facts.of(group)
            if one.verdict == DO_NOT_USE
        ]
        doubts = f"; {', '.join(doubted)}" if doubted else ""
        lines.append(
            f"- **Compute-equivalent gain at C = {units.power(flops)} FLOP** ({markdown(name)}"
            f"{reach}), C of {markdown(first.baseline)} over the C needed for its loss: "
            f"{values}{doubts}"
        )
    return lines


def _gain(one: Gain) -> str:
    """A gain with its interval, and in how many replicates the loss is reached at all."""
    q = one.gain
    if math.isnan(one.loss):
        return "not known: an exponent is not positive"
    text = units.estimate(q.estimate, q.low, q.high, units.count)
    if not one.reaches:
        text = f"never reaches it {units.interval(q.low, q.high, units.count)}".rstrip()
    elif one.beyond > 1.0001 * max(1, one.times_largest):
        text += f" (extrapolated, {units.count(one.beyond, 2)} times the largest run of a group)"
    return text if one.always else f"{text} (reached in {one.often} % of replicates)"


def _weightings(finished: pd.DataFrame, losses: pd.DataFrame) -> list[str]:
    if losses.empty or "natural" not in set(finished["weighting"]):
        return []
    effects = differences(finished, losses, "natural")
    if effects.empty:
        return []
    means_by_weighting = []
    for weighting, rows in effects.groupby("weighting"):
        means = rows.groupby(["tag_key", "domain"])["difference"].mean()
        whole = means.pop(("all", "all"))
        most = means.reindex(means.abs().sort_values(ascending=False).index)[:3]
        parts = ", ".join(f"{markdown(domain)} {value:+.3f}" for (_, domain), value in most.items())
        means_by_weighting.append(f"{markdown(weighting)} {whole:+.3f} ({parts})")
    pairs = len(effects[["run_id", "run_id_reference"]].drop_duplicates())
    return [
        f"- **Weightings**, loss against natural, all else the same ({pairs} pairs): "
        + "; ".join(means_by_weighting)
    ]
