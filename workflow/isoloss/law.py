"""The front door of a stranger's table: its law with intervals, evidence and decisions, no study.

`python -m isoloss law runs.csv`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss import escape, registry, tables, units
from isoloss.aggregate.guess import guess_columns, mixture_columns, run_ids
from isoloss.aggregate.table import COLUMNS, WORDS, named, parse, read_runs
from isoloss.budgets import budget_numbers
from isoloss.escape import columns, visible
from isoloss.export import export_fit
from isoloss.fit.holdout import held_out
from isoloss.fit.law import ALL, fit_law
from isoloss.fit.mixture import mixtures, own_domain
from isoloss.fitted import Fit
from isoloss.plot import draw
from isoloss.problems import IsolossError, nearest, problem
from isoloss.sources import MAX_MIB, MAX_SECONDS, Limits, Source, open_source

MIXTURE_LAW = "mixture_power"
_BUDGETS = (1.0, 10.0, 100.0)  # times the largest run, if none are asked for
_REPLICATES, _MIXTURE_REPLICATES = 4000, 200  # if none are asked for; of every loss of a mixture
MOST_FLOPS, MOST_BUDGETS = 1e40, 100  # budgets to divide, as in config.schema.yaml
_FOLDS = {"rule": "random", "repeats": 10}  # of mixtures, which have no order to extrapolate in
_SHOWN = 12  # losses of a group
_LOOKS, _FEW = 1_000_000, 20  # numbers to look at for the best mixture; replicates at least


@dataclass(frozen=True)
class Found:
    """What the front door found.

    Attributes:
        runs: the table as `runs`.
        fit: of all runs.
        held: the same law with the largest budget held out; None where there is no second one.
        text: what to tell the user.
    """

    runs: pd.DataFrame
    fit: Fit
    held: Fit | None
    text: str


def law_of_table(
    source: str | Path | Source,
    law: str | None = None,
    given: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
    keep: Sequence[str] = (),
    flops: Sequence[float] = (),
    *,
    max_seconds: float = MAX_SECONDS,
    max_mib: float = MAX_MIB,
    **settings,
) -> Found:
    """Read a table, guess what is not said, fit, hold out, decide.

    Args:
        source: CSV or Parquet: a path, an http or https address, or what was read of one.
        law: law card; guessed from the columns if None.
        given: letter (N, D, C, U, loss) or word (table.WORDS) to column, instead of guesses.
        options: of the law card.
        keep: filters, as in a study.
        flops: budgets to divide, FLOP; 1, 10 and 100 times the largest run if empty.
        max_seconds: for all of a download.
        max_mib: MiB of the table as it comes, unpacked, and in memory at 8 bytes a cell.
        settings: of `fit_law`; of a mixture law, fewer replicates unless they are asked for, and
            scores on runs left out at random.

    Raises:
        IsolossError: the table has no loss, or nothing that it could depend on.
    """
    opened = open_source(source, Limits(max_seconds, max_mib))
    source = opened.label
    _check_asked(source, given or {}, flops)
    raw = named(parse(opened), source)
    renamed = mixture_columns(raw.columns) if law in (None, MIXTURE_LAW) or _mixture(law) else {}
    raw = named(raw.rename(columns=renamed), source)
    told = {*renamed.values(), *(given or {}).values()}
    guessed = run_ids(raw, guess_columns(c for c in raw.columns if c not in told))
    both = {**guessed, **(given or {})}
    mapped = {letter: both[letter] for letter in (*COLUMNS, *both) if both.get(letter)}
    if renamed and law is None:
        law = MIXTURE_LAW
    need = 0 if law and _mixture(law) else 1
    if need and "loss" not in mapped:
        found = f"no column looks like a loss among {', '.join(map(visible, raw.columns))}"
        raise IsolossError(problem(source, found, "say which: --columns loss=NAME"))
    if not need:
        mapped = {k: v for k, v in mapped.items() if k in WORDS}
    runs = _read(raw, source, mapped, keep, need)
    if law is None:
        law, options = _fitting_law(mapped, options)
    if law == "power_law" and "variable" not in (options or {}):
        options = {"variable": _variable(mapped), **(options or {})}
    if not need:
        return _of_mixtures(
            runs, law, options, settings, (source, mapped, renamed, guessed, given or {})
        )
    if settings.get("bootstrap") is None:
        settings["bootstrap"] = _REPLICATES
    fit = fit_law(runs, law, options, **settings)
    done = runs[runs["status"] == "done"]
    held = None
    if done["n_flops"].notna().all() and budget_numbers(done["n_flops"].to_numpy()).max() > 0:
        held = _held_out(runs, law, options, settings)
    parts = [
        _columns(source, runs, mapped, renamed, guessed, given or {}),
        _terms(fit),
        _evidence(fit),
        *([_errors(held, fit)] if held is not None else []),
        *([_decisions(fit, done, flops)] if hasattr(fit.law, "allocate") else []),
    ]
    return Found(runs, fit, held, escape.terminal("\n".join(parts)))


def _check_asked(source: str, given: Mapping[str, str], flops: Sequence[float]) -> None:
    """Letters that there are, and budgets above 0."""
    wrong = [
        problem(f"{source}, columns.{letter}", "no such letter", nearest(letter, COLUMNS))
        for letter in given
        if letter not in COLUMNS
    ]
    for budget in flops:
        if not 0 < budget <= MOST_FLOPS:
            do = f"needs a number above 0, at most {MOST_FLOPS:g}"
            wrong.append(problem("flops", f"found {budget:g}", do))
    if len(flops) > MOST_BUDGETS:
        wrong.append(problem("flops", f"{len(flops)} budgets", f"at most {MOST_BUDGETS}"))
    if wrong:
        raise IsolossError("\n".join(wrong))


def _read(raw: pd.DataFrame, source: str, mapped: Mapping[str, str], keep, need: int):
    """The table as `runs`; errors name its source."""
    try:
        return read_runs(raw, mapped, keep, need)
    except IsolossError as error:
        lines = [source + line.removeprefix("the table") for line in str(error).splitlines()]
        raise IsolossError("\n".join(lines)) from error


def save(found: Found, out: Path) -> list[Path]:
    """The fit's tables, a figure of it, and the files of `export_fit`."""
    files = found.fit.save(out, law=out.name, sweep="table", study=out.name)
    runs = found.runs[[c for c in found.runs if not str(c).endswith("_given")]]
    facts = {"sweep": "table", "study": out.name, "token": "token"}
    tables.write("runs", runs, out / "runs.parquet", facts)
    card = "predicted_observed"
    if hasattr(found.fit.law, "allocate") and found.fit.law.variables == ("N", "D"):
        card = "isoloss"
    options = registry.defaults("figure", card)
    drawn = draw(card, options, [*files, out / "runs.parquet"], out / "law.png")
    return [*files, *drawn, *export_fit(found.fit, out)]


def _of_mixtures(runs: pd.DataFrame, law: str, options, settings: Mapping, said: tuple) -> Found:
    """A mixture law of every loss: what it predicts of runs left out, and the best mixture."""
    source, mapped, renamed, guessed, given = said
    runs = mixtures(runs, source)
    asked = {k: v for k, v in settings.items() if v is not None}
    chosen = {"bootstrap": _MIXTURE_REPLICATES, "holdout": _FOLDS, **asked}
    fit = fit_law(runs, law, options, **chosen)
    left = fit.facts["not_fitted"]
    parts = [
        _columns(source, runs, mapped, renamed, guessed, given),
        f"{law}: {fit.law.formula}\n",
        *(_responses(fit, group) for group in fit.groups),
        *(_best_mixture(fit, group) for group in fit.groups),
        *(["not fitted: " + "; ".join(map(visible, _shortened(left))) + "\n"] if left else []),
    ]
    return Found(runs, fit, None, escape.terminal("\n".join(parts)))


def _name(text: object) -> str:
    """A name from the table, on a line of a terminal."""
    return escape.short(visible(text), escape.CELL)


def _shortened(words: Sequence[str]) -> list[str]:
    more = [f"and {len(words) - 3} more"] if len(words) > 3 else []
    return [*words[:3], *more]


def _own_first(fit: Fit, group: str) -> list[str]:
    """The losses of a group, those of the domains trained on first."""
    mine = fit.summary.loc[fit.summary["group"] == group, "response"]
    domains = fit.facts["domains"]
    return sorted(mine, key=lambda response: own_domain(response, domains) is None)


def _responses(fit: Fit, group: str) -> str:
    """What a group's fits are worth: one line a loss."""
    head = ("loss of", "runs", "R2", "RMSE", "left out: R2", "RMSE", "rank corr.", "state")
    shown, rows = _own_first(fit, group), []
    for response in shown[:_SHOWN]:
        (row,) = fit.mine("summary", group, response).itertuples()
        out = fit.mine("scores", group, response)[["r2", "rmse", "spearman"]].astype(float)
        mean, median = out.mean(), out.median()
        state = "ok" if row.status == "converged" else row.status.replace("_", " ").upper()
        rows.append(
            (
                "  " + _name(response.removeprefix("loss_")),
                str(row.n_runs),
                f"{row.r2:.4f}",
                f"{row.rmse:.3g}",
                f"{median['r2']:.4f}",
                f"{mean['rmse']:.3g}",
                f"{median['spearman']:.3f}",
                state,
            )
        )
    more = len(shown) - len(rows)
    rest = [f"  ... and {more} more losses in summary.parquet and scores.parquet"] if more else []
    (first,) = fit.mine("summary", group, shown[0]).itertuples()
    folds = len(fit.mine("scores", group, shown[0]))
    rest.append(
        f"  left out: medians over {folds} random choices of a fifth of the mixtures (RMSE: mean);"
        f" {first.n_replicates} replicates"
    )
    title = "" if group == "all" else f"group {_name(group)}"
    if group == ALL:
        title = "all runs: it answers for groups without a fit"
    return (f"[{title}]\n" if title else "") + columns(head, rows) + "\n".join(rest) + "\n"


def _best_mixture(fit: Fit, group: str) -> str:
    """The mixture of least mean loss over the domains trained on (all losses if there are none)."""
    domains = fit.facts["domains"]
    losses = _own_first(fit, group)
    weighted = [r for r in losses if own_domain(r, domains)] or losses
    runs = int(fit.mine("summary", group, weighted[0])["n_runs"].iloc[0])
    work = runs * len(domains) * len(weighted)  # numbers of a look at all losses
    replicates = int(np.clip(_LOOKS / work, _FEW, _MIXTURE_REPLICATES))
    replicates = min(replicates, len(fit.replicate_thetas(group, weighted[0])))
    best = fit.best_mixture(dict.fromkeys(weighted, 1.0), group, replicates=replicates)
    ranges = fit.mine("ranges", group, weighted[0]).set_index("variable")
    rows = []
    for row in best.itertuples():
        low, high = ranges.loc[f"p_{row.domain}", ["low", "high"]].astype(float)
        edge = abs(row.proportion - low) < 1e-4 or abs(row.proportion - high) < 1e-4
        rows.append(
            (
                f"  {_name(row.domain)}",
                f"{row.proportion:.3f}",
                units.interval(row.proportion_low, row.proportion_high, "{:.3f}".format),
                f"{low:.3f} to {high:.3f}" + (" (at its edge)" if edge else ""),
            )
        )
    first = best.iloc[0]
    what = f"mean of {len(weighted)} losses ({replicates} replicates)"
    title = "" if group == "all" else f" [{'all runs' if group == ALL else _name(group)}]"
    level = units.interval(first["loss_nats_low"], first["loss_nats_high"], "{:.4g}".format)
    head = (f"best mixture{title}", "share", f"{100 * fit.level:.4g} % interval", "of the runs")
    return columns(head, rows) + f"  {what}: {first['loss_nats']:.4g} {level}\n"


def _mixture(law: str) -> bool:
    return registry.facts("law", law).get("NEEDS") == "mixture"


def _fitting_law(mapped: Mapping[str, str], options) -> tuple[str, Any]:
    """The law for what there is: Chinchilla's for N and D (or one and C), else a power law."""
    if len({"N", "D", "C"} & set(mapped)) >= 2:
        return "chinchilla", options
    return "power_law", options


def _variable(mapped: Mapping[str, str]) -> str:
    return next(letter for letter in "CDN" if letter in mapped)


def _held_out(runs: pd.DataFrame, law: str, options, settings: Mapping) -> Fit | None:
    """The same fit without the runs of most compute; None where too few runs would be left."""
    done = runs[runs["status"] == "done"]
    rule = {"rule": "largest_compute", "least": max(1, len(done) // 10)}
    made = registry.card("law", law).make(**{**registry.defaults("law", law), **(options or {})})
    left = done[~held_out(done, rule)].groupby("group").size()
    if left.empty or left.min() < len(made.terms) or set(left.index) < set(done["group"]):
        return None
    count = min(500, settings.get("bootstrap", 500))
    return fit_law(runs, law, options, **{**settings, "holdout": rule, "bootstrap": count})


def _columns(source, runs, mapped, renamed, guessed, given) -> str:
    done = int((runs["status"] == "done").sum())
    lines = [f"{visible(source)}: {len(runs)} rows, {done} runs" + _dropped(runs)]
    said = [
        f"{letter} = {_name(name)}" + ("" if letter in given else " (guessed)")
        for letter, name in mapped.items()
    ]
    if renamed:
        shares = sum(1 for v in renamed.values() if v.startswith("p_"))
        said.append(f"{shares} proportions, {len(renamed) - shares} losses by domain (guessed)")
    lines.append("columns: " + ", ".join(said))
    if any(letter in guessed and letter not in given for letter in mapped):
        lines.append("  another column: --columns N=params loss=val_loss; none: --columns group=")
    return "\n".join(lines) + "\n"


def _dropped(runs: pd.DataFrame) -> str:
    gone = runs[runs["status"] != "done"]
    if gone.empty:
        return ""
    counts = gone["status_reason"].value_counts(sort=False)
    return ", " + ", ".join(f"{n} dropped ({visible(reason)})" for reason, n in counts.items())


def _terms(fit: Fit) -> str:
    parts = []
    for row in fit.summary.itertuples():
        mine = fit.mine("params", row.group, row.response)
        title = f"{row.card}: {row.formula}"
        if len(fit.summary) > 1:
            title += f"   [group {_name(row.group)}, {_name(row.response)}]"
        level = f"{100 * fit.level:.4g} % interval"
        head = ("", "estimate", level, "std error", "unit")
        rows = [
            (
                f"  {_name(p.symbol)}",
                units.count(p.estimate, 4),
                units.interval(p.ci_low, p.ci_high, units.count),
                units.count(p.std_error) if np.isfinite(p.std_error) else "-",
                p.unit + (" (at its bound)" if p.at_bound else ""),
            )
            for p in mine.itertuples()
        ]
        method = mine["ci_method"].iloc[0]
        how = f"  intervals: {method}, {row.n_replicates} refits"
        parts.append(f"{title}\n{columns(head, rows)}{how}")
        if len(parts) == 6 and len(fit.summary) > 6:
            parts.append(f"... and {len(fit.summary) - 6} more fits in params.parquet")
            break
    return "\n".join(parts) + "\n"


def _evidence(fit: Fit) -> str:
    lines = []
    for row in fit.summary.itertuples():
        state = "converged" if row.status == "converged" else row.status.replace("_", " ").upper()
        of = f" [{_name(row.group)}, {_name(row.response)}]" if len(fit.summary) > 1 else ""
        said = [f"evidence{of}: {state}; {visible(row.message)}"]
        if row.n_starts:
            said.append(f"objective {row.objective_value:.10g} ({row.objective})")
            said.append(f"gradient {row.gradient_norm:.1e}")
            gap = row.second_objective_gap
            said.append(
                f"next optimum {gap:.2g} of the objective higher"
                if np.isfinite(gap)
                else "no other optimum met"
            )
        said.append(f"RMSE {row.rmse:.3g} on {row.n_runs} runs, R2 {row.r2:.4f}")
        if row.n_starts:
            said.append(f"condition {row.condition:.3g}, least known: {visible(row.loosest)}")
        lines.append("\n  ".join(said))
    return "\n".join(lines) + "\n"


def _errors(held: Fit, fit: Fit) -> str:
    lines = []
    for row in held.summary.itertuples():
        of = "" if row.group == "all" else f" [{_name(row.group)}]"
        scores = held.mine("scores", row.group, row.response).iloc[0]
        lines.append(
            f"held out{of}: the {row.n_held_out} runs of most compute, predicted from the other "
            f"{row.n_runs}: RMSE {row.held_out_rmse:.3g} (guessing the mean of the budget before: "
            f"{row.held_out_baseline_rmse:.3g}), error {100 * scores['mape']:.2g} % of the loss, "
            f"{100 * scores['run_coverage']:.0f} % inside the interval of a run"
        )
    return "\n".join(lines) + "\n"


def _decisions(fit: Fit, done: pd.DataFrame, flops: Sequence[float]) -> str:
    largest = float(done["n_flops_6nd"].max())
    wanted = list(flops) or [largest * factor for factor in _BUDGETS]
    head = ("best for C, FLOP", "N", "D", "D/N", "loss", "beyond the runs")
    parts = []
    for group in fit.groups:
        rows = []
        for row in fit.allocate(wanted, group).to_dict("records"):
            cells = [
                f"{form(row[key])} {units.interval(row[f'{key}_low'], row[f'{key}_high'], form)}"
                for key, form in (
                    ("N", units.count),
                    ("D", units.count),
                    ("tokens_per_parameter", units.count),
                    ("loss_nats", "{:.4g}".format),
                )
            ]
            if not np.isfinite(row["N"]):
                cells = ["none: an exponent is not positive", "", "", ""]
            beyond = row["C"] / largest
            far = f"extrapolated, {units.count(beyond, 2)} x C" if beyond > 1.0001 else "inside"
            rows.append((units.power(row["C"]), *cells, far))
        title = "" if group == "all" else f"[{_name(group)}]\n"
        parts.append(title + columns(head, rows))
    return "\n".join(parts)
