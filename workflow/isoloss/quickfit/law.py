"""Fit a law to a user's table of runs, with intervals and decisions, without a study file.

`python -m isoloss law runs.csv`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss.aggregate.guess import guess_columns, mixture_columns, run_ids
from isoloss.aggregate.table import COLUMNS, WORDS, named, parse, read_runs
from isoloss.core import escape, registry, tables, units
from isoloss.core.budgets import budget_numbers
from isoloss.core.escape import columns, visible
from isoloss.core.problems import IsolossError, Problem, nearest
from isoloss.core.sources import MAX_MIB, MAX_SECONDS, Limits, Source, open_source
from isoloss.fit.holdout import held_out
from isoloss.fit.law import fit_law
from isoloss.fit.mixture import mixtures
from isoloss.fitted import FALLBACK, Fit
from isoloss.fitted.export import export_fit
from isoloss.fitted.facts import WHOLE, OneFit, Record, allocations, record
from isoloss.laws._mixture import own_domain

MIXTURE_LAW = "mixture_power"
_BUDGETS = (1.0, 10.0, 100.0)  # times the largest run, if none are asked for
_REPLICATES, _MIXTURE_REPLICATES = 4000, 200  # if none are asked for; of every loss of a mixture
MOST_FLOPS, MOST_BUDGETS = 1e40, 100  # budgets to divide, as in config.schema.yaml
_FOLDS = {"rule": "random", "repeats": 10}  # of mixtures, which have no order to extrapolate in
_SHOWN = 12  # losses of a group
_FITS = 6  # fits whose parameters are shown
_LOOKS, _FEW = 1_000_000, 20  # numbers to look at for the best mixture; replicates at least


@dataclass(frozen=True)
class Found:
    """The result of a quick fit: a law fitted to a user's table.

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
            scores on runs held out at random.

    Returns:
        The runs, the fits, and a report as text.

    Raises:
        IsolossError: the table has no loss, or nothing that it could depend on.

    Example:
        >>> import isoloss, numpy as np, pandas as pd, pathlib, tempfile
        >>> N, D = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
        >>> loss = (1.7 + 400 / N**0.34 + 400 / D**0.28).ravel()
        >>> table = pd.DataFrame({"params": N.ravel(), "tokens": D.ravel(), "val_loss": loss})
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     path = pathlib.Path(folder, "runs.csv")
        ...     table.to_csv(path, index=False)
        ...     result = isoloss.law_of_table(path, bootstrap=20)
        >>> print(result.text.splitlines()[1])
        columns: N = params (guessed), D = tokens (guessed), loss = val_loss (guessed)
        >>> round(result.fit.values["alpha"], 3)
        0.34
    """
    opened = open_source(source, Limits(max_seconds, max_mib))
    source = opened.label
    _check_asked(source, given or {}, flops)
    raw = named(parse(opened), source)
    renamed = mixture_columns(raw.columns) if law is None or registry.of_mixtures(law) else {}
    raw = named(raw.rename(columns=renamed), source)
    told = {*renamed.values(), *(given or {}).values()}
    guessed = run_ids(raw, guess_columns(c for c in raw.columns if c not in told))
    both = {**guessed, **(given or {})}
    mapped = {letter: both[letter] for letter in (*COLUMNS, *both) if both.get(letter)}
    if renamed and law is None:
        law = MIXTURE_LAW
    need = 0 if law and registry.of_mixtures(law) else 1
    if need and "loss" not in mapped:
        found = f"no column looks like a loss among {', '.join(map(visible, raw.columns))}"
        raise IsolossError(Problem(source, found, "say which: --columns loss=NAME"))
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
    facts = record(fit)
    parts = [
        _columns(source, runs, mapped, renamed, guessed, given or {}),
        _terms(facts),
        _evidence(facts),
        *([_errors(record(held))] if held is not None else []),
        *([_decisions(fit, facts, done, flops)] if facts.allocates else []),
    ]
    return Found(runs, fit, held, escape.terminal("\n".join(parts)))


def _check_asked(source: str, given: Mapping[str, str], flops: Sequence[float]) -> None:
    """Letters that there are, and budgets above 0."""
    wrong = [
        Problem(f"{source}, columns.{letter}", "is not a known quantity", nearest(letter, COLUMNS))
        for letter in given
        if letter not in COLUMNS
    ]
    for budget in flops:
        if not 0 < budget <= MOST_FLOPS:
            do = f"needs a number above 0, at most {MOST_FLOPS:g}"
            wrong.append(Problem("flops", f"found {budget:g}", do))
    if len(flops) > MOST_BUDGETS:
        wrong.append(Problem("flops", f"{len(flops)} budgets", f"at most {MOST_BUDGETS}"))
    if wrong:
        raise IsolossError(*wrong)


def _read(raw: pd.DataFrame, source: str, mapped: Mapping[str, str], keep, need: int):
    """The table as `runs`; errors name its source."""
    try:
        return read_runs(raw, mapped, keep, need)
    except IsolossError as error:
        named = [
            replace(one, place=source + one.place.removeprefix("the table"))
            for one in error.problems
        ]
        raise IsolossError(*named) from error


def save(found: Found, out: Path) -> list[Path]:
    """The fit's tables, a figure of it, and the files of `export_fit`."""
    from isoloss.plot.draw import draw

    files = found.fit.save(out, law=out.name, sweep="table", study=out.name)
    runs = found.runs[[c for c in found.runs if not str(c).endswith("_given")]]
    facts = {"sweep": "table", "study": out.name, "token": "token"}
    tables.write("runs", runs, out / "runs.parquet", facts)
    card = "predicted_observed"
    if found.fit.law.allocates and found.fit.law.variables == ("N", "D"):
        card = "isoloss"
    options = registry.defaults("figure", card)
    drawn = draw(card, options, [*files, out / "runs.parquet"], out / "law.png")
    return [*files, *drawn, *export_fit(found.fit, out)]


def _of_mixtures(runs: pd.DataFrame, law: str, options, settings: Mapping, said: tuple) -> Found:
    """A mixture law of every loss: what it predicts of runs held out, and the best mixture."""
    source, mapped, renamed, guessed, given = said
    runs = mixtures(runs, source)
    asked = {k: v for k, v in settings.items() if v is not None}
    chosen = {"bootstrap": _MIXTURE_REPLICATES, "holdout": _FOLDS, **asked}
    fit = fit_law(runs, law, options, **chosen)
    facts, domains, left = record(fit), fit.facts["domains"], fit.facts["not_fitted"]
    parts = [
        _columns(source, runs, mapped, renamed, guessed, given),
        f"{law}: {facts.formula}\n",
        *(_responses(facts.of(group), domains) for group in facts.groups),
        *(_best_mixture(fit, facts.of(group), domains) for group in facts.groups),
        *(["not fitted: " + "; ".join(map(visible, _shortened(left))) + "\n"] if left else []),
    ]
    return Found(runs, fit, None, escape.terminal("\n".join(parts)))


def _name(text: object) -> str:
    """A name from the table, on a line of a terminal."""
    return escape.short(visible(text), escape.CELL)


def _shortened(words: Sequence[str]) -> list[str]:
    more = [f"and {len(words) - 3} more"] if len(words) > 3 else []
    return [*words[:3], *more]


def _own_first(fits: Sequence[OneFit], domains: Sequence[str]) -> list[OneFit]:
    """The fits of a group, those of the losses of domains trained on first."""
    return sorted(fits, key=lambda one: own_domain(one.response, domains) is None)


def _responses(fits: Sequence[OneFit], domains: Sequence[str]) -> str:
    """What a group's fits are worth: one line a loss."""
    head = ("loss of", "runs", "R2", "RMSE", "held out: R2", "RMSE", "rank corr.", "state")
    shown, rows = _own_first(fits, domains), []
    for one in shown[:_SHOWN]:
        folds = pd.DataFrame(
            [(fold.r2, fold.rmse, fold.spearman) for fold in one.folds],
            columns=["r2", "rmse", "spearman"],
            dtype=float,
        )
        mean, median = folds.mean(), folds.median()
        rows.append(
            (
                "  " + _name(one.response.removeprefix("loss_")),
                str(one.n_runs),
                f"{one.r2:.4f}",
                f"{one.rmse:.3g}",
                f"{median['r2']:.4f}",
                f"{mean['rmse']:.3g}",
                f"{median['spearman']:.3f}",
                "ok" if one.converged else one.loud_status,
            )
        )
    more = len(shown) - len(rows)
    rest = [f"  ... and {more} more losses in summary.parquet and scores.parquet"] if more else []
    first, group = shown[0], shown[0].group
    rest.append(
        f"  held out: medians over {len(first.folds)} random choices of a fifth of the mixtures"
        f" (RMSE: mean); {first.n_replicates} replicates"
    )
    title = "" if group == WHOLE else f"group {_name(group)}"
    if group == FALLBACK:
        title = "all runs: it answers for groups without a fit"
    return (f"[{title}]\n" if title else "") + columns(head, rows) + "\n".join(rest) + "\n"


def _best_mixture(fit: Fit, fits: Sequence[OneFit], domains: Sequence[str]) -> str:
    """The mixture of least mean loss over the domains trained on (all losses if there are none)."""
    ordered = _own_first(fits, domains)
    kept = [one for one in ordered if own_domain(one.response, domains)] or ordered
    weighted, group = [one.response for one in kept], kept[0].group
    work = kept[0].n_runs * len(domains) * len(weighted)  # numbers of a look at all losses
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
    title = "" if group == WHOLE else f" [{'all runs' if group == FALLBACK else _name(group)}]"
    level = units.interval(first["loss_nats_low"], first["loss_nats_high"], "{:.4g}".format)
    head = (f"best mixture{title}", "share", f"{100 * fit.level:.4g} % interval", "of the runs")
    return columns(head, rows) + f"  {what}: {first['loss_nats']:.4g} {level}\n"


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


def _terms(fit: Record) -> str:
    parts = []
    for one in fit.fits[:_FITS]:
        title = f"{one.card}: {one.formula}"
        if len(fit.fits) > 1:
            title += f"   [group {_name(one.group)}, {_name(one.response)}]"
        level = f"{100 * one.level:.4g} % interval"
        head = ("", "estimate", level, "std error", "unit")
        rows = [
            (
                f"  {_name(p.symbol)}",
                units.count(p.estimate, 4),
                units.interval(p.low, p.high, units.count),
                units.count(p.std_error) if np.isfinite(p.std_error) else "-",
                p.unit + (" (at its bound)" if p.at_bound else ""),
            )
            for p in one.parameters
        ]
        how = f"  intervals: {one.method}, {one.n_replicates} refits"
        parts.append(f"{title}\n{columns(head, rows)}{how}")
    if len(fit.fits) > _FITS:
        parts.append(f"... and {len(fit.fits) - _FITS} more fits in params.parquet")
    return "\n".join(parts) + "\n"


def _evidence(fit: Record) -> str:
    lines = []
    for one in fit.fits:
        state = one.status if one.converged else one.loud_status
        of = f" [{_name(one.group)}, {_name(one.response)}]" if len(fit.fits) > 1 else ""
        parts = [f"evidence{of}: {state}; {visible(one.message)}"]
        if one.n_starts:
            parts.append(f"objective {one.objective_value:.10g} ({one.objective})")
            parts.append(f"gradient {one.gradient_norm:.1e}")
            gap = one.second_objective_gap
            parts.append(
                f"next optimum {gap:.2g} of the objective higher"
                if np.isfinite(gap)
                else "no other optimum met"
            )
        parts.append(f"RMSE {one.rmse:.3g} on {one.n_runs} runs, R2 {one.r2:.4f}")
        if one.n_starts:
            parts.append(f"condition {one.condition:.3g}, least known: {visible(one.loosest)}")
        lines.append("\n  ".join(parts))
    return "\n".join(lines) + "\n"


def _errors(held: Record) -> str:
    lines = []
    for one in held.fits:
        of = "" if one.group == WHOLE else f" [{_name(one.group)}]"
        fold = one.folds[0]
        lines.append(
            f"held out{of}: the {one.n_held_out} runs of most compute, predicted from the other "
            f"{one.n_runs}: RMSE {one.held_out_rmse:.3g} (guessing the mean of the budget before: "
            f"{one.held_out_baseline_rmse:.3g}), error {100 * fold.mape:.2g} % of the loss, "
            f"{100 * fold.run_coverage:.0f} % inside the interval of a run"
        )
    return "\n".join(lines) + "\n"


def _decisions(fit: Fit, facts: Record, done: pd.DataFrame, flops: Sequence[float]) -> str:
    largest = float(done["n_flops_6nd"].max())
    budgets_asked = list(flops) or [largest * factor for factor in _BUDGETS]
    head = ("best for C, FLOP", "N", "D", "D/N", "loss", "beyond the runs")
    parts = []
    for group in facts.groups:
        rows = []
        for best in allocations(fit, group, budgets_asked, largest):
            cells = [
                f"{form(q.estimate)} {units.interval(q.low, q.high, form)}"
                for q, form in (
                    (best.n_params, units.count),
                    (best.n_samples, units.count),
                    (best.tokens_per_parameter, units.count),
                    (best.loss_nats, "{:.4g}".format),
                )
            ]
            if not best.exists:
                cells = ["none: an exponent is not positive", "", "", ""]
            beyond = best.times_largest
            far = f"extrapolated, {units.count(beyond, 2)} x C" if beyond > 1.0001 else "inside"
            rows.append((units.power(best.flops), *cells, far))
        title = "" if group == WHOLE else f"[{_name(group)}]\n"
        parts.append(title + columns(head, rows))
    return "\n".join(parts)
