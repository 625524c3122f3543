"""Rows that are checkpoints of a run, and not runs of their own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from isoloss.aggregate.numbers import read_numbers

# what a column of steps is called; a number of steps (`n_steps`, `total_steps`) is a setting
_STEP = re.compile(r"(?:.*[\W_])?(?:step|iter|iteration|checkpoint|ckpt|update)", re.IGNORECASE)
_TOTAL = re.compile(
    r"(?:.*[\W_])?(?:n|num|max|total|last|final|warmup|save|log|eval)[\W_].*|_step", re.IGNORECASE
)
_ROWS = 3  # of a run, on average, at least
_EVEN = 0.02  # by which tokens a step may differ along a run


def of_run(
    runs: pd.DataFrame, raw: pd.DataFrame, columns: Mapping[str, str]
) -> tuple[pd.Series | None, str]:
    """The run that every row is a checkpoint of, and what to say of it; None where rows are runs.

    Rows are checkpoints where a column of steps rises along each of a few labels, or sizes, and D
    with it in proportion, unless a column of labels tells every row apart.

    Args:
        runs: the table `runs`, with its status.
        raw: the same rows as the user gave them.
        columns: letter or word to the user's column.

    Example:
        >>> import pandas as pd
        >>> raw = pd.DataFrame({"N": [1e8] * 4 + [2e8] * 4, "step": [1, 2, 3, 4] * 2})
        >>> runs = pd.DataFrame({"n_params": raw["N"], "n_samples": raw["step"] * 1e6})
        >>> labels, note = of_run(runs.assign(status="done"), raw, {"N": "N"})
        >>> labels.nunique(), note
        (2, '8 rows are checkpoints of 2 runs (alike in N, along step): they are drawn together; \
if they are runs of their own: --columns of_run=')
    """
    stays = (runs["status"] == "done").to_numpy()
    if "run_id" in columns or stays.sum() < 2 * _ROWS:
        return None, ""
    for step in _steps(raw, columns):
        numbers = read_numbers(raw[step])
        if not numbers.readable:
            continue
        for names, labels in _labels(runs, raw, columns):
            if _is_along(labels[stays], numbers.values[stays], runs[stays]):
                count = pd.unique(labels[stays]).size
                note = (
                    f"{stays.sum()} rows are checkpoints of {count} runs (alike in {names}, along "
                    f"{step}): they are drawn together; if they are runs of their own: "
                    "--columns of_run="
                )
                return pd.Series(labels, index=runs.index).astype(str), note
    return None, ""


def _steps(raw: pd.DataFrame, columns: Mapping[str, str]) -> Iterator[str]:
    """Columns that are called after a step, and are not a quantity."""
    taken = set(columns.values())
    for name in map(str, raw.columns):
        if name not in taken and _STEP.fullmatch(name) and not _TOTAL.fullmatch(name):
            yield name


def _labels(
    runs: pd.DataFrame, raw: pd.DataFrame, columns: Mapping[str, str]
) -> Iterator[tuple[str, np.ndarray]]:
    """What may tell runs apart, in words, and a label a row (n,): texts, then sizes or mixtures."""
    taken = {c for word, c in columns.items() if word != "group"}
    texts = [c for c in raw if c not in taken and raw[c].map(type).eq(str).all()]
    for name in texts:
        yield str(name), raw[name].to_numpy(object)
    shares = [c for c in runs if str(c).startswith("p_")]
    sizes = shares or [c for c in ("n_params",) if runs[c].notna().all()]
    if not sizes:
        return
    named = "their proportions" if shares else columns.get("N", "N")
    group = [raw[columns["group"]]] if columns.get("group") in raw else []
    seeds = [raw["seed"]] if "seed" in raw and "seed" not in taken else []
    parts = [*(runs[name] for name in sizes), *group, *seeds]
    codes = pd.DataFrame({i: part.to_numpy() for i, part in enumerate(parts)})
    numbers = codes.groupby(list(codes), dropna=False, sort=False).ngroup().to_numpy()
    yield named, np.array([f"run-{number + 1}" for number in numbers], dtype=object)


def _is_along(labels: np.ndarray, step: np.ndarray, runs: pd.DataFrame) -> bool:
    """Whether steps, and D in proportion to them, tell the rows of every label apart.

    Args:
        labels: of every row, (n,).
        step: of every row, (n,).
        runs: n rows.
    """
    codes = pd.factorize(labels)[0]
    count = int(codes.max()) + 1
    if not (2 <= count <= len(codes) / _ROWS) or not np.isfinite(step).all():
        return False
    if len(np.unique(np.column_stack([codes, step]), axis=0)) < len(codes):
        return False
    shared = pd.Series(codes).groupby(step).nunique()
    if shared.median() < count / 2:  # runs are seen at the same steps; lengths of runs differ
        return False
    d = runs["n_samples"].to_numpy(float)
    if np.isnan(d).all():
        return True
    positive = step > 0
    with np.errstate(all="ignore"):
        pace = pd.Series(np.log(d / step)[positive]).groupby(codes[positive])
    spread = pace.max() - pace.min()
    n = runs["n_params"].to_numpy(float)
    sizes = pd.Series(n).groupby(codes).nunique(dropna=False).max()
    return bool((spread < _EVEN).all() and sizes == 1)
