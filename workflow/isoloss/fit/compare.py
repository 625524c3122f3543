"""Laws beside each other, and one law under other choices that are as good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from isoloss.core import tables
from isoloss.core.arguments import ArgumentError, checked
from isoloss.core.filters import evaluate
from isoloss.core.order import ordered
from isoloss.core.problems import IsolossError, Problem
from isoloss.fit.holdout import name_of, unseen
from isoloss.fit.law import fit_law
from isoloss.fit.scores import SCORES
from isoloss.fitted import Fit

# conventions of a runs table, each a column that can stand for N or C
CONVENTIONS = {
    "N total": {"n_params": "n_params_total"},
    "N without embeddings": {"n_params": "n_params_nonembed"},
    "C = 6 N D": {"n_flops": "n_flops_6nd"},
    "C by the model": {"n_flops": "n_flops_model"},
}
# rules of what is kept, by name: what a fit should not depend on
KEEP = {
    "without the 2 % of highest loss": "loss <= quantile(loss, 0.98)",
    "without the 5 % of highest loss": "loss <= quantile(loss, 0.95)",
    "without the 5 % of fewest tokens a parameter": "D / N >= quantile(D / N, 0.05)",
}


@checked(fit_law)
def compare_laws(
    runs: pd.DataFrame,
    laws: Sequence[str | Mapping[str, Any]] | Mapping[str, Mapping[str, Any]],
    holdout: str | Mapping[str, Any] = "largest_compute",
    **settings,
) -> pd.DataFrame:
    """All laws by their error on runs held out, each fold the same for all.

    Which of several formulas extrapolates best, by many hold-outs, says `isoloss.choose_law`.

    Args:
        runs: a `runs` table.
        laws: law cards and settings of `fit_law` (such as {"formula": "E + A / N**alpha"}), or name
            -> settings (with `law` or `formula`, and `options`, `fixed`, ...).
        holdout: see `fit.holdout.folds`.
        settings: of `fit_law`, for all laws; intervals are off unless asked for.

    Returns:
        One row a law, group and response, best first: `law`, `formula`, `n_terms`, `folds`, the
        mean of every score over the folds, `aicc` of a fit of all runs and `aicc_above_best`
        (comparable, since all laws see the same runs), `status`. A law that has too few runs has
        its reason as `status`.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N, D = np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(1e9, 1e11, 5))
        >>> loss = (1.7 + 400 / N**0.34 + 400 / D**0.28).ravel()
        >>> table = pd.DataFrame({"N": N.ravel(), "D": D.ravel(), "loss": loss})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> laws = {"chinchilla": {}, "in C": {"law": "power_law", "options": {"variable": "C"}}}
        >>> table = isoloss.compare_laws(runs, laws, holdout="largest_compute")
        >>> table[["law", "n_terms", "folds"]]
                  law  n_terms  folds
        0  chinchilla        5      1
        1        in C        3      1
    """
    rows, wholes = [], {}
    for name, own in _named(laws).items():
        chosen = {"interval": "none", **settings, **own}
        card = chosen.pop("law", None if "formula" in chosen else name)
        try:
            whole = fit_law(runs, card, holdout="none", **{**chosen, "interval": "none"})
            wholes[name] = card, chosen, whole
        except ArgumentError:  # a slip of the caller, not a law that cannot be fitted
            raise
        except IsolossError as error:
            rows.append({"law": name, "status": str(error)})
    rule = _of_all(holdout, [whole for *_, whole in wholes.values()])
    for name, (card, chosen, whole) in wholes.items():
        try:
            scored = fit_law(runs, card, holdout=rule, **chosen)
        except IsolossError as error:
            rows.append({"law": name, "status": str(error)})
        else:
            rows += _compared(name, whole, scored)
    table = pd.DataFrame(rows)
    if "aicc" in table:
        best = table.groupby(["group", "response"])["aicc"].transform("min")
        table["aicc_above_best"] = table["aicc"] - best
        place = {label: i for i, label in enumerate(ordered(set(table["group"].dropna())))}
        table = table.sort_values(
            ["group", "response", "log_error", "law"],
            ignore_index=True,
            key=lambda column: column.map(place) if column.name == "group" else column,
        )
    return table


def _named(
    laws: Sequence[str | Mapping[str, Any]] | Mapping[str, Mapping[str, Any]],
) -> Mapping[str, Mapping[str, Any]]:
    """Settings of `fit_law` by name: that of the card, or the formula itself."""
    if isinstance(laws, Mapping):
        return laws
    each = [{"law": one} if isinstance(one, str) else one for one in laws]
    names = [str(one.get("formula", one.get("law"))) for one in each]
    if twice := [name for name in names if names.count(name) > 1]:
        do = "give a mapping of names of yours to settings"
        raise IsolossError(Problem("laws", f"{twice[0]!r} appears twice", do))
    return dict(zip(names, each, strict=True))


def _of_all(
    holdout: str | Mapping[str, Any] | None, fits: Sequence[Fit]
) -> str | Mapping[str, Any] | None:
    """A rule whose folds are those of all laws: runs that differ in a variable of any are apart."""
    apart = {name for fit in fits if not fit.law.proportions for name in fit.law.variables}
    if unseen(holdout) or name_of(holdout) == "none" or not apart:
        return holdout
    rule = dict(holdout) if isinstance(holdout, Mapping) else {"rule": holdout}
    return {**rule, "apart": sorted({*apart, *rule.get("apart", ())})}


def _compared(name: str, whole: Fit, scored: Fit) -> list[dict[str, Any]]:
    """Rows of `compare_laws` for one law, a group and response each."""
    rows = []
    for row in whole.summary.itertuples():
        folds = scored.rows_of("scores", row.group, row.response)
        rows.append(
            {
                "law": name,
                "group": row.group,
                "response": row.response,
                "formula": row.formula,
                "n_terms": len(whole.law.terms),
                "folds": int(folds["rmse"].notna().sum()),
                **folds[list(SCORES)].mean().to_dict(),
                "aicc": row.aicc,
                "status": row.status,
            }
        )
    return rows


@checked(fit_law)
def sensitivity(
    runs: pd.DataFrame,
    law: str,
    keep: Mapping[str, str] | None = None,
    conventions: Mapping[str, Mapping[str, str]] | None = None,
    **settings,
) -> pd.DataFrame:
    """A law's parameters under other drop rules, and other conventions for N and FLOP.

    Args:
        runs: a `runs` table.
        law: law card.
        keep: name -> expression that runs must fulfil; by default the runs without the 2 % and
            the 5 % of highest loss, and without the 5 % of fewest tokens a parameter.
        conventions: name -> column that is replaced -> column that replaces it; by default all
            that the table has.
        settings: of `fit_law`.

    Returns:
        One row a variant, group, response and term: `variant`, `n_runs`, `estimate`, `change`
        against the runs as they are, `change_in_se` (in standard errors of that fit), `status`.

    Example:
        >>> import isoloss, numpy as np, pandas as pd
        >>> N = np.geomspace(1e7, 1e9, 12)
        >>> loss = 2 + 400 / N**0.34 + 0.001 * np.cos(np.arange(12))
        >>> table = pd.DataFrame({"N": N, "D": 1e9, "loss": loss})
        >>> runs = isoloss.read_runs(table, {"N": "N", "D": "D", "loss": "loss"})
        >>> rules = {"without the smallest": "N > 1.1e7"}
        >>> settings = {"options": {"variable": "N"}, "bootstrap": 20}
        >>> table = isoloss.sensitivity(runs, "power_law", rules, {}, **settings)
        >>> table[table["term"] == "E"][["variant", "n_runs", "status"]]
                        variant  n_runs     status
        0              as it is      12  converged
        3  without the smallest      11  converged
    """
    base = fit_law(runs, law, **settings).params.set_index(["group", "response", "term"])
    rows = []
    for name, variant in _variants(runs, keep, conventions).items():
        fit = fit_law(variant, law, **{**settings, "interval": "none"})
        rows += [{"variant": name, **row} for row in _changes(fit, base)]
    return pd.DataFrame(rows)


def _variants(
    runs: pd.DataFrame,
    keep: Mapping[str, str] | None,
    conventions: Mapping[str, Mapping[str, str]] | None,
) -> dict[str, pd.DataFrame]:
    """The runs as they are, under every rule of what is kept, and under every convention."""
    rules = KEEP if keep is None else keep
    if conventions is None:
        conventions = {
            name: swap
            for name, swap in CONVENTIONS.items()
            if all(c in runs and runs[c].notna().all() for c in swap.values())
        }
    variants = {"as it is": runs}
    for name, rule in rules.items():
        finished = runs[runs["status"] == "done"]
        variants[name] = finished[evaluate(finished, rule, f"keep {name}")]
    for name, swap in conventions.items():
        swapped = {old: runs[new] for old, new in swap.items()}
        variants[name] = tables.with_columns(runs, swapped)
    return variants


def _changes(fit: Fit, base: pd.DataFrame) -> list[dict[str, Any]]:
    """Every parameter of a fit, and its change against `params` by group, response and term."""
    summary = fit.summary.set_index(["group", "response"])
    rows = []
    for p in fit.params.itertuples():
        before = base.loc[(p.group, p.response, p.term)]
        change, error = p.estimate - before["estimate"], before["std_error"]
        rows.append(
            {
                "group": p.group,
                "response": p.response,
                "term": p.term,
                "n_runs": int(summary.loc[(p.group, p.response), "n_runs"]),
                "estimate": p.estimate,
                "change": change,
                "change_in_se": change / error if error > 0 else np.nan,
                "status": summary.loc[(p.group, p.response), "status"],
            }
        )
    return rows
