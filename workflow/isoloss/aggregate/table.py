"""Read a user's table of runs: CSV or Parquet, from a path or an address."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from keyword import iskeyword
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from isoloss.aggregate.checkpoints import of_run
from isoloss.aggregate.loss_units import LossUnit, converted
from isoloss.aggregate.numbers import read_numbers
from isoloss.aggregate.proportions import mixture_columns
from isoloss.aggregate.quantities import Quantities, gone, read_quantities, rows_text, unfit
from isoloss.aggregate.responses import check_name, with_response
from isoloss.aggregate.scales import factor_note
from isoloss.aggregate.selection import apply_filters, keep_best
from isoloss.core import tables
from isoloss.core.arguments import checked
from isoloss.core.filters import LETTERS
from isoloss.core.problems import Problem, TableError, nearest
from isoloss.core.sources import MAX_MIB, MAX_SECONDS, Limits, Source, open_source
from isoloss.formats.read import rows
from isoloss.logs.read import table_of_runs

# What a user maps (the field's letters) to the columns of `runs`.
WORDS = ("run_id", "of_run", "group", "fit_weight")
RATIO = "tokens_per_param"
COLUMNS = {**LETTERS, "ratio": RATIO, **{word: word for word in WORDS}}
# columns that we put beside those of a user, and arguments of `Fit.predict` beside its variables
OWN = ("low", "high", "distance", "farthest", "step", "repeats", "held_out")
OWN = (*OWN, "loss_below", "level", "response")
_LIMITS = Limits(MAX_SECONDS, MAX_MIB)
SIZES = {"N", "D", "C", "ratio"}  # two of them give the others


@dataclass(frozen=True)
class Rules:
    """What a user says about a table of runs.

    Attributes:
        columns: any of N, D, C, U (distinct tokens), ratio (tokens per parameter), loss, group,
            fit_weight, run_id, of_run (rows alike in it are points along one run) to the table's
            column name. Any other name, such as experts, is a variable of a law, whose column it
            names; its numbers may be of any sign. Without of_run, checkpoints are recognised
            (`checkpoints.of_run`) unless it is there and empty.
        keep: filters over the columns; a run stays if all hold.
        best_of: columns or letters; of the runs alike in them the one of least loss stays.
        scale: letter to what its column must be multiplied by (1e9), or the logarithm (log10,
            log2, ln) that it holds; by the column's name where it is not given.
        loss_unit: nats, bits, bits_per_byte, nats_per_byte, perplexity (its logarithm is fitted),
            error or accuracy (1 minus it is fitted). If None by the column: what stands behind
            the numbers, its name, or else nats.
        need: how many of N, D and C there must be; with none of them no loss is needed either.
            If None, two; of a table of mixtures, or of variables that have no letter, none.
        response: a column of numbers that is fitted in the place of the loss, which is then not
            needed; it keeps its name, or has the one that `columns` gives it.
        signed: whether losses may be 0 or below, as those of a formula may.
        by_laws: whether what the laws need is checked elsewhere, as it is of a study's tables:
            a table of a loss and of one of N, D and C, or without a loss, is read too.
    """

    columns: Mapping[str, str]
    keep: Sequence[str] = ()
    best_of: Sequence[str] = ()
    scale: Mapping[str, Any] = field(default_factory=dict)
    loss_unit: str | None = None
    need: int | None = None
    response: str | None = None
    signed: bool = False
    by_laws: bool = False


@dataclass(frozen=True)
class Reading:
    """A user's table as it was read.

    Attributes:
        runs: the table `runs`.
        notes: what was decided about it, a sentence each, for the user to see.
        loss_unit: of `runs.loss`, such as nats/token.
    """

    runs: pd.DataFrame
    notes: tuple[str, ...]
    loss_unit: str


@checked()
def read_runs(
    source: str | Path | Sequence[str | Path] | Source | pd.DataFrame,
    columns: Mapping[str, str],
    keep: Sequence[str] = (),
    need: int | None = None,
    *,
    best_of: Sequence[str] = (),
    scale: Mapping[str, Any] | None = None,
    loss_unit: str | None = None,
    signed: bool = False,
    max_seconds: float = MAX_SECONDS,
    max_mib: float = MAX_MIB,
) -> pd.DataFrame:
    """Read a user's table of runs as a `runs` table.

    Two of N, D and C are enough: C = 6 N D gives the third. A table of other variables
    (`columns={"experts": "num_experts", "loss": "val"}`) needs none of them. Proportions of a mixture and losses
    by domain are columns p_<domain> and loss_<domain>. Columns that are not mapped are kept
    under their own names; one whose name `runs` needs gets `_given` behind it (model, weighting
    and a whole-numbered seed are taken for what they say). Numbers may be written as people do:
    `7B`, `22,500,000`, `1e21 FLOPs`. A run without a loss stays with status `diverged`, one that
    a filter drops or that is not the best of its cell with status `dropped`.

    Args:
        source: path (also of a folder, or with * for several files), http or https address, list
            of these, what was read of them, or DataFrame.
        columns: letter or word to the table's column name.
        keep: filters over the columns, under the table's own names or the letters.
        need: how many of N, D and C there must be.
        best_of: columns of a cell.
        scale: letter to factor or logarithm.
        loss_unit: of the column of losses.
        signed: whether losses may be 0 or below; only a law of any sign, such as a formula, is
            fitted to them.
        max_seconds: for all of a download.
        max_mib: MiB of the table as it comes, unpacked, and in memory at 8 bytes a cell.

    See `isoloss.aggregate.table.Rules` for what `columns` to `loss_unit` may be, and
    `read_table` for the same with notes on what was decided.

    Raises:
        TableError: all that is wrong with the table, a line each.

    Example:
        >>> import isoloss, pandas as pd
        >>> table = pd.DataFrame({"params": [1e8, 2e8], "tokens": [2e9, 4e9], "val": [3.1, 2.9]})
        >>> runs = isoloss.read_runs(table, {"N": "params", "D": "tokens", "loss": "val"})
        >>> runs[["run_id", "n_params", "n_samples", "n_flops", "loss", "status"]]
          run_id     n_params     n_samples       n_flops  loss status
        0  row-1  100000000.0  2.000000e+09  1.200000e+18   3.1   done
        1  row-2  200000000.0  4.000000e+09  4.800000e+18   2.9   done
        >>> isoloss.read_runs(table, {"N": "parms", "D": "tokens", "loss": "val"})
        Traceback (most recent call last):
        isoloss.core.problems.TableError: the table, columns.N: no column 'parms'; did you mean 'params'?
    """  # noqa: E501
    rules = Rules(columns, keep, best_of, scale or {}, loss_unit, need, signed=signed)
    return read_table(source, rules, Limits(max_seconds, max_mib)).runs


def read_table(
    source: str | Path | Sequence[str | Path] | Source | pd.DataFrame,
    rules: Rules,
    limits: Limits = _LIMITS,
    own: pd.DataFrame | None = None,
) -> Reading:
    """Read a user's table of runs, with notes on what was decided.

    Args:
        source: path (also of a folder, or with * for several files), http or https address, list
            of these, what was read of them, or DataFrame.
        rules: what its columns are, and which runs stay.
        limits: of a download and of the table's size.
        own: the table as it came, if its columns were renamed since: filters see its names too.

    Raises:
        TableError: all that is wrong with the table, a line each.

    Example:
        >>> import pandas as pd
        >>> table = pd.DataFrame(
        ...     {"params_millions": ["70", "160"], "D": ["2B", "10B"], "ppl": [18.2, 15.1]}
        ... )
        >>> reading = read_table(table, Rules({"N": "params_millions", "D": "D", "loss": "ppl"}))
        >>> reading.notes
        ('N = params_millions x 1e6', 'loss = ln(ppl): the column is a perplexity')
    """
    if isinstance(source, pd.DataFrame):
        label, raw, read_as = "the table", source.reset_index(drop=True), ()
    else:
        opened = open_source(source, limits)
        parsed = table_of_runs(opened) if opened.logs else rows(opened)
        label, raw, read_as = opened.label, parsed.rows, parsed.notes
    raw, need = named(raw, label), rules.need
    columns = {k: str(name) for k, name in rules.columns.items() if name or k != "of_run"}
    mixed: Sequence[str] = ()
    loss_unit = rules.loss_unit
    own = raw if own is None else named(own.reset_index(drop=True), label)
    if need is None:
        free = raw[[c for c in raw.columns if c not in columns.values()]]
        unmapped = not set(columns) - set(WORDS)  # so the loss of a run may be that of its mixture
        mixture = mixture_columns(free, label, strict="loss" not in columns, whole=unmapped)
        need = 0 if mixture or set(columns) - set(COLUMNS) else 2
        need = min(need, len(SIZES & set(columns))) if rules.by_laws else need
        if mixture:
            raw, mixed = named(mixture.applied(raw), label), mixture.notes
            loss_unit = loss_unit or mixture.loss_unit
    _check_mapping(raw, columns, label, need, rules)
    read = read_quantities(raw, columns, rules.scale, loss_unit, label)
    runs = _with_sizes(_mapped(raw, columns, read, need), columns)
    runs = tables.with_columns(runs, {"status": "done", "status_reason": None})
    keep = [rules.keep] if isinstance(rules.keep, str) else rules.keep
    runs = apply_filters(runs, own, keep, label)
    if rules.response is not None and rules.response not in columns:
        runs, note = with_response(runs, raw[rules.response], rules.response, label)
        mixed = (*mixed, *note)
    _check_values(runs, columns, read, label, rules)
    runs, notes = _with_diverged(runs, read, label)
    runs = keep_best(runs, own, rules.best_of, label)
    if "of_run" not in rules.columns:
        runs, notes = _with_checkpoints(runs, raw, columns, notes)
    if not need and read.unit.change and any(c.startswith("loss_") for c in runs):
        which = "the loss" if "loss_all" in runs else "each loss by domain"
        mixed = (*mixed, f"of {which} is fitted: {read.unit.change}")
    notes = (*read_as, *mixed, *read.notes, *_notes_of_compute(runs, columns), *notes)
    runs = _with_defaults(runs)
    runs.attrs["loss_unit"] = read.unit.fitted
    return Reading(runs, notes, read.unit.fitted)


def _with_checkpoints(
    runs: pd.DataFrame, raw: pd.DataFrame, columns: Mapping[str, str], notes: tuple[str, ...]
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The runs with the run of every row, where rows are checkpoints, and what to say of it."""
    labels, note = of_run(runs, raw, columns)
    if labels is None:
        return runs, notes
    return tables.with_columns(runs, {"of_run": labels}), (*notes, note)


def _notes_of_compute(runs: pd.DataFrame, columns: Mapping[str, str]) -> tuple[str, ...]:
    """What C is in terms of 6 N D, where the table has all three."""
    if not {"N", "D", "C"} <= set(columns):
        return ()
    fitted = runs[runs["status"] == "done"]
    names = {"N": "n_params", "D": "n_samples", "C": "n_flops"}
    return factor_note({k: fitted[name].to_numpy(float) for k, name in names.items()})


def _with_diverged(
    runs: pd.DataFrame, read: Quantities, label: str
) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The runs with the status `diverged` where they have no loss, and a note that names them."""
    loss = read.by_letter.get("loss")
    stays = (runs["status"] == "done").to_numpy()
    if loss is None or not (lost := stays & gone(loss)).any():
        return runs, ()
    place = f"{label}, column {loss.column!r}"
    if not (stays & ~lost).any():
        reason = f"none of {np.count_nonzero(stays)} runs has a loss"
        raise TableError(Problem(place, reason, "name another column"))
    rows = np.flatnonzero(lost)
    status, reasons = (runs[c].to_numpy(object).copy() for c in ("status", "status_reason"))
    status[lost] = "diverged"
    reasons[rows] = [f"loss is {loss.cell(row)}" for row in rows]
    counts = pd.Series(reasons[rows]).value_counts()
    causes = ", ".join(f"{cause} ({count})" for cause, count in counts.head(5).items())
    runs = tables.with_columns(runs, {"status": status, "status_reason": reasons})
    what = "rows have no loss" if "of_run" in runs else "runs diverged"
    return runs, (f"{len(rows)} of {len(runs)} {what}, {rows_text(rows)}: {causes}",)


def _with_sizes(runs: pd.DataFrame, columns: Mapping[str, str]) -> pd.DataFrame:
    """The runs with N, D and C: what the table does not give follows from C = 6 N D."""
    runs = _with_ratio(runs, set(columns))
    given = {letter for letter in ("N", "D", "C") if COLUMNS[letter] in runs}
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


def _with_ratio(runs: pd.DataFrame, given: set[str]) -> pd.DataFrame:
    """The runs with what tokens per parameter tell beside one of N, D and C."""
    if "ratio" not in given or len({"N", "D", "C"} & given) != 1:
        return runs
    ratio = runs[RATIO]
    if "N" in given:
        return tables.with_columns(runs, {"n_samples": ratio * runs["n_params"]})
    if "D" in given:
        return tables.with_columns(runs, {"n_params": runs["n_samples"] / ratio})
    return tables.with_columns(runs, {"n_params": np.sqrt(runs["n_flops"] / (6.0 * ratio))})


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
        twice = raw.columns[raw.columns.duplicated()][0]
        remedy = "give each column its own name"
        raise TableError(Problem(label, f"column {twice!r} appears twice", remedy))
    return raw


def _unmappable(raw: pd.DataFrame, columns: Mapping[str, str], label: str) -> list[Problem]:
    """Problems of `columns`: unknown letters, missing columns, a column for two quantities."""
    wrong = [
        Problem(f"{label}, columns.{letter}", *fault)
        for letter in columns
        if letter not in COLUMNS and (fault := _not_a_variable(str(letter))) is not None
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


def _not_a_variable(name: str) -> tuple[str, str] | None:
    """Why a name cannot be that of a variable, and what to do; None if it can."""
    if not name.isidentifier() or iskeyword(name):
        plain = re.sub(r"\W+", "_", name).strip("_")
        plain = plain if plain.isidentifier() and not iskeyword(plain) else "V"
        do = f"a variable has a name of letters, digits and _, such as {plain}: {plain}={name!r}"
        return "is not a known quantity and not a name", do
    like = next((known for known in COLUMNS if known.lower() == name.lower() != "c"), None)
    if like is not None and len(name) > 1:
        return "is not a known quantity", f"did you mean {like!r}?"
    if name in {*tables.schema("runs").names, *OWN}:
        letter = next((one for one, column in COLUMNS.items() if column == name), "V")
        return (
            "has a meaning of its own in the table of runs",
            f"write {letter} in the formula, with the columns {letter}={name}",
        )
    return None


def _column_of(letter: str) -> str:
    """The column of `runs` that a letter, word or variable is."""
    return COLUMNS.get(letter, letter)


def _free(name: str, taken: Sequence[str]) -> str:
    """The name with `_given` appended until no other column has it."""
    while (name := f"{name}{tables.SET_ASIDE}") in taken:
        pass
    return name


def _check_mapping(
    raw: pd.DataFrame, columns: Mapping[str, str], label: str, need: int, rules: Rules
) -> None:
    """Raise an error unless the mapped columns are there, and enough of them."""
    wrong, response = _unmappable(raw, columns, label), rules.response
    if response is not None and response not in columns and not wrong:
        check_name(raw, response, columns, label)
    lacks_loss = "loss" not in columns and response is None and not rules.by_laws
    if len(SIZES & set(columns)) < need or (lacks_loss and need):
        count = {2: "two", 1: "one"}.get(need)
        reason = f"{'loss and ' if response is None else ''}{count} of N, D, C are needed"
        do = f"map them, or say how many there are: need={len(SIZES & set(columns))}"
        wrong.append(Problem(f"{label}, columns", reason, do))
    if wrong:
        raise TableError(*wrong)


def _mapped(
    raw: pd.DataFrame, columns: Mapping[str, str], read: Quantities, need: int
) -> pd.DataFrame:
    """The table with its mapped columns under the names of the contract, as numbers."""
    kept = raw[[c for c in raw.columns if c not in columns.values()]].copy()
    numbered = "seed" in kept and pd.api.types.is_integer_dtype(kept["seed"])
    welcome = {"model", "weighting", *(["seed"] if numbered else [])}
    ours = {*tables.schema("runs").names, *(_column_of(letter) for letter in columns)} - welcome
    for column in {"model", "weighting"} & set(kept):
        kept[column] = kept[column].map(str, na_action="ignore")
    kept = kept.rename(columns={c: _free(c, kept.columns) for c in ours if c in kept})
    kept = _with_texts(kept if need else _with_numbers(kept, read.unit))
    values = {_column_of(k): raw[v] for k, v in columns.items() if k not in read.by_letter}
    values |= {_column_of(k): one.values for k, one in read.by_letter.items()}
    return tables.with_columns(kept, {_column_of(k): values[_column_of(k)] for k in columns})


def _with_texts(kept: pd.DataFrame) -> pd.DataFrame:
    """The table with columns as texts where whole numbers have more than 64 bits."""
    large = {
        column: kept[column].map(str, na_action="ignore")
        for column in kept
        if kept[column].dtype == object
        and "integer" in pd.api.types.infer_dtype(kept[column])
        and any(isinstance(cell, int) and cell.bit_length() > 63 for cell in kept[column])
    }
    return tables.with_columns(kept, large) if large else kept


def _with_numbers(kept: pd.DataFrame, unit: LossUnit) -> pd.DataFrame:
    """A table of mixtures with its proportions and losses as they are fitted."""
    numbers = {}
    for column in (c for c in kept if c.startswith(("p_", "loss_"))):
        read = read_numbers(kept[column])
        if read.readable and column.startswith("loss_"):
            numbers[column] = converted(read.values, unit, read.unit, column)[0]
        elif read.readable and kept[column].dtype.kind not in "iuf":
            numbers[column] = read.values / (100.0 if read.unit == "%" else 1.0)
    return tables.with_columns(kept, numbers) if numbers else kept


def _check_values(
    runs: pd.DataFrame, columns: Mapping[str, str], read: Quantities, label: str, rules: Rules
) -> None:
    """Raise an error unless the runs kept have finite positive numbers and unique labels.

    Variables without a letter may be of any sign, and losses where the rules say `signed`.
    """
    stays = (runs["status"] == "done").to_numpy()
    wrong = unfit(read, stays, label, rules.signed, rules.response)
    for word, what in (("group", "group"), ("of_run", "run")):
        if word in columns and (empty := stays & runs[word].isna().to_numpy()).any():
            where = f"{label}, {rows_text(np.flatnonzero(empty))}, column {columns[word]!r}"
            wrong.append(Problem(where, "is empty", f"name the {what}"))
    if "run_id" in runs and runs["run_id"].duplicated().any():
        twice = str(runs.loc[runs["run_id"].duplicated(), "run_id"].iloc[0])
        place = f"{label}, columns.run_id"
        wrong.append(Problem(place, f"{twice!r} appears twice", "give each run one row"))
    if wrong:
        raise TableError(*wrong)


def read_runs_table(source: str | Source, rules: Rules) -> tuple[dict[str, pd.DataFrame], Reading]:
    """All `aggregate` tables of a user's table, only `runs` having rows, and how it was read."""
    others = ("losses", "curves", "mixtures", "timing")
    reading = read_table(source, rules)
    return {"runs": reading.runs, **{n: tables.empty(n) for n in others}}, reading
