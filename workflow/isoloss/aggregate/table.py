"""Read a user's table of runs from a file, several files, or an address."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from isoloss.aggregate.guess import mixture_columns
from isoloss.core import tables
from isoloss.core.filters import LETTERS, evaluate
from isoloss.core.problems import Problem, TableError, nearest
from isoloss.core.sources import MAX_MIB, MAX_SECONDS, Limits, Source, open_source
from isoloss.formats.read import rows

# What a user maps (the field's letters) to the columns of `runs`.
WORDS = ("run_id", "of_run", "group", "fit_weight")
COLUMNS = {**LETTERS, **{word: word for word in WORDS}}
NUMBERS = ("N", "D", "C", "U", "loss", "fit_weight")


def read_runs(
    source: str | Path | Sequence[str | Path] | Source | pd.DataFrame,
    columns: Mapping[str, str],
    keep: Sequence[str] = (),
    need: int | None = None,
    *,
    max_seconds: float = MAX_SECONDS,
    max_mib: float = MAX_MIB,
) -> pd.DataFrame:
    """Read a user's table of runs as a `runs` table.

    Two of N, D and C are enough: C = 6 N D gives the third. Proportions of a mixture and losses
    by domain are columns p_<domain> and loss_<domain>. Columns that are not mapped are kept
    under their own names, so that filters can use them; one whose name `runs` needs gets `_given`
    behind it (model, weighting and a whole-numbered seed are taken for what they say). Rows that
    a filter drops stay, with status `dropped`.

    Args:
        source: path (also of a folder, or with * for several files), http or https address, list
            of these, what was read of them, or DataFrame.
        columns: any of N, D, C, U (distinct tokens), loss, group, fit_weight, run_id, of_run
            (rows alike in it are points along one run) to the table's column name.
        keep: filters over the columns (both names can be used); a run stays if all hold.
        need: how many of N, D and C there must be; with none of them no loss is needed either.
            If None, two; of a table of mixtures none.
        max_seconds: for all of a download.
        max_mib: MiB of the table as it comes, unpacked, and in memory at 8 bytes a cell.

    Raises:
        TableError: all that is wrong with the table, a line each.

    Example:
        >>> import isoloss, pandas as pd
        >>> table = pd.DataFrame({"params": [1e8, 2e8], "tokens": [2e9, 4e9], "val": [3.1, 2.9]})
        >>> runs = isoloss.read_runs(table, {"N": "params", "D": "tokens", "loss": "val"})
        >>> runs[["run_id", "n_params", "n_samples", "n_flops", "loss", "status"]]
          run_id     n_params     n_samples       n_flops  loss status
        0  row-1  100000000.0  2.000000e+09  1.200000e+18        3.1   done
        1  row-2  200000000.0  4.000000e+09  4.800000e+18        2.9   done
        >>> isoloss.read_runs(table, {"N": "parms", "D": "tokens", "loss": "val"})
        Traceback (most recent call last):
        isoloss.core.problems.TableError: the table, columns.N: no column 'parms'; did you mean 'params'?
    """  # noqa: E501
    if isinstance(source, pd.DataFrame):
        label, raw = "the table", source.reset_index(drop=True)
    else:
        opened = open_source(source, Limits(max_seconds, max_mib))
        label, raw = opened.label, rows(opened).rows
    return _runs_of(raw, label, columns, keep, need)


def _runs_of(
    raw: pd.DataFrame,
    label: str,
    columns: Mapping[str, str],
    keep: Sequence[str],
    need: int | None = None,
) -> pd.DataFrame:
    """The rows of a table as a `runs` table, as in `read_runs`; `label` names it in errors."""
    raw = named(raw, label)
    columns = {letter: str(name) for letter, name in columns.items()}
    if need is None:
        mixed = mixture_columns(c for c in raw.columns if c not in columns.values())
        raw, need = named(raw.rename(columns=mixed), label), 0 if mixed else 2
    runs = _with_sizes(_mapped(raw, columns, label, need), columns)
    runs["status"], runs["status_reason"] = "done", None
    scope = tables.with_columns(runs, {c: raw[c] for c in raw.columns if c not in runs})
    for expression in [keep] if isinstance(keep, str) else keep:
        out = ~evaluate(scope, expression, f"{label}, keep") & (runs["status"] == "done")
        runs.loc[out, "status"] = "dropped"
        runs.loc[out, "status_reason"] = f"not: {expression}"
    _check_values(runs, columns, label)
    return _with_defaults(runs)


def _with_sizes(runs: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The runs with N, D and C: what the table does not give follows from C = 6 N D."""
    given = {"N", "D", "C"} & set(columns)
    if len(given) < 2:
        unknown = {COLUMNS[letter]: np.nan for letter in ("N", "D", "C") if letter not in given}
        runs = tables.with_columns(runs, unknown)
    if "loss" not in columns:
        runs["loss"] = np.nan
    if "n_flops" not in runs:
        runs["n_flops"] = 6.0 * runs["n_params"] * runs["n_samples"]
    if "n_samples" not in runs:
        runs["n_samples"] = runs["n_flops"] / (6.0 * runs["n_params"])
    if "n_params" not in runs:
        runs["n_params"] = runs["n_flops"] / (6.0 * runs["n_samples"])
    runs["n_flops_6nd"] = 6.0 * runs["n_params"] * runs["n_samples"]
    return runs


def _with_defaults(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs with every column of the contract; one that the table lacks has its default."""
    if "run_id" not in runs:
        runs["run_id"] = [f"row-{i + 1}" for i in range(len(runs))]
    runs["run_id"] = runs["run_id"].astype(str)
    runs["group"] = runs["group"].astype(str) if "group" in runs else tables.WHOLE
    if "fit_weight" not in runs:
        runs["fit_weight"] = 1.0
    absent = [c for c in tables.schema("runs").names if c not in runs]
    return tables.with_columns(runs, dict.fromkeys(absent))


def named(raw: pd.DataFrame, label: str) -> pd.DataFrame:
    """The table with column names as text; an error if two columns have one name.

    Raises:
        TableError: two columns have one name.
    """
    raw = raw.set_axis([str(name) for name in raw.columns], axis=1)
    if raw.columns.duplicated().any():
        twice = ", ".join(map(repr, dict.fromkeys(raw.columns[raw.columns.duplicated()])))
        remedy = "give each column its own name"
        raise TableError(Problem(label, f"column {twice} appears twice", remedy))
    return raw


def _unmappable(raw: pd.DataFrame, columns: Mapping[str, str], label: str) -> list[Problem]:
    """Problems of `columns`: unknown letters, missing columns, a column for two quantities."""
    wrong = [
        Problem(f"{label}, columns.{letter}", "is not a known quantity", nearest(letter, COLUMNS))
        for letter in columns
        if letter not in COLUMNS
    ]
    wrong += [
        Problem(f"{label}, columns.{letter}", f"no column {name!r}", nearest(name, raw.columns))
        for letter, name in columns.items()
        if name not in raw.columns
    ]
    owner: dict[str, str] = {}
    for letter in ("N", "D", "C", "loss"):
        name = columns.get(letter)
        if name is not None and owner.setdefault(name, letter) != letter:
            reason = f"column {name!r} is also {owner[name]}"
            wrong.append(Problem(f"{label}, columns.{letter}", reason, "name another one"))
    return wrong


def _free(name: str, taken: Sequence[str]) -> str:
    """The name with `_given` appended until no other column has it."""
    while (name := f"{name}_given") in taken:
        pass
    return name


def _mapped(raw: pd.DataFrame, columns: Mapping[str, str], label: str, need: int) -> pd.DataFrame:
    """The table with its mapped columns under the names of the contract, as numbers."""
    wrong = _unmappable(raw, columns, label)
    enough = len({"N", "D", "C"} & set(columns)) >= need
    if not enough or ("loss" not in columns and need):
        count = {2: "two", 1: "one"}.get(need)
        wrong.append(
            Problem(f"{label}, columns", f"loss and {count} of N, D, C are needed", "map them")
        )
    if wrong:
        raise TableError(*wrong)
    kept = raw[[c for c in raw.columns if c not in columns.values()]].copy()
    numbered = "seed" in kept and pd.api.types.is_integer_dtype(kept["seed"])
    welcome = {"model", "weighting", *(["seed"] if numbered else [])}
    ours = {*tables.schema("runs").names, *(COLUMNS[letter] for letter in columns)} - welcome
    for column in {"model", "weighting"} & set(kept):
        kept[column] = kept[column].map(str, na_action="ignore")
    kept = kept.rename(columns={c: _free(c, kept.columns) for c in ours if c in kept})
    runs = tables.with_columns(kept, {COLUMNS[k]: raw[v] for k, v in columns.items()})
    for letter, name in columns.items():
        if letter not in NUMBERS:
            continue
        numbers = pd.to_numeric(raw[name], errors="coerce")
        unread = np.flatnonzero(numbers.isna() & raw[name].notna())
        if len(unread):
            where = f"{label}, row {unread[0] + 1}, column {name!r}"
            reason = f"{raw[name].iloc[unread[0]]!r} is not a number"
            wrong.append(Problem(where, reason, "fix the value"))
        runs[COLUMNS[letter]] = numbers.astype(float)
    if wrong:
        raise TableError(*wrong)
    return runs


def _check_values(runs: pd.DataFrame, columns: Mapping[str, str], label: str) -> None:
    """Raise an error unless the runs kept have finite positive numbers and unique labels."""
    wrong = []
    stays = runs["status"] == "done"
    for letter in NUMBERS:
        if letter not in columns:
            continue
        value = runs[COLUMNS[letter]]
        weight = letter == "fit_weight"
        fine = np.isfinite(value) & ((value >= 0) if weight else (value > 0))
        bad = np.flatnonzero(stays & ~fine)
        if len(bad):
            more = f" (and {len(bad) - 1} more rows)" if len(bad) > 1 else ""
            where = f"{label}, row {bad[0] + 1}, column {columns[letter]!r}"
            requirement = f"a finite number {'at least' if weight else 'above'} 0 is needed"
            remedy = f"{requirement}: fix the rows, or drop them with `keep`"
            wrong.append(Problem(where, f"found {value.iloc[bad[0]]:g}{more}", remedy))
    for word, what in (("group", "group"), ("of_run", "run")):
        if word in columns and runs[word].isna().any():
            row = int(np.flatnonzero(runs[word].isna())[0])
            where = f"{label}, row {row + 1}, column {columns[word]!r}"
            wrong.append(Problem(where, "is empty", f"name the {what}"))
    if "run_id" in runs and runs["run_id"].duplicated().any():
        twice = str(runs.loc[runs["run_id"].duplicated(), "run_id"].iloc[0])
        place = f"{label}, columns.run_id"
        wrong.append(Problem(place, f"{twice!r} appears twice", "give each run one row"))
    if wrong:
        raise TableError(*wrong)


def read_runs_table(
    source: str | Source, columns: Mapping[str, str], keep: Sequence[str] = ()
) -> tuple[dict[str, pd.DataFrame], tuple[str, ...]]:
    """All `aggregate` tables of a user's table, of which only `runs` has rows; how it was read."""
    opened = open_source(source)
    parsed = rows(opened)
    runs = _runs_of(parsed.rows, opened.label, columns, keep)
    others = ("losses", "curves", "mixtures", "timing")
    return {"runs": runs, **{n: tables.empty(n) for n in others}}, parsed.took
