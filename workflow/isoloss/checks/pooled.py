"""Runs of several experiments in one table: they follow no common law."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import fdtrc

from isoloss.checks import limits
from isoloss.checks.evidence import CARE, STOP, Evidence, Finding, spread_within
from isoloss.core.escape import short, visible

CHECK = "pooled"


@dataclass(frozen=True)
class Explained:
    """What a column explains of the misfit.

    Attributes:
        column: its name.
        share: adjusted R2 of the residuals by its values.
        chance: p value of Fisher's F test on the ranks of the residuals.
        tuned: whether it differs within cells and holds numbers, as a hyper-parameter does.
    """

    column: str
    share: float
    chance: float
    tuned: bool


def check(evidence: Evidence) -> Iterator[Finding]:
    """Doubts that the runs are of one experiment."""
    if not evidence.describes or len(evidence.loss) < 2 * limits.LEVEL_ROWS:
        return
    explained = _best_column(evidence)
    if explained is not None:
        yield _of_column(evidence, explained)
        return
    ranked = _ranked(evidence)
    if ranked is not None:
        yield ranked
        return
    within = spread_within_cells(evidence)
    known = evidence.usual or evidence.seeds > 0
    if known and within > max(limits.SEEDS, limits.BEYOND_SEEDS * evidence.seeds):
        yield _of_cells(evidence, within)
    elif evidence.clusters is None and (sets := two_sets(evidence.centred)) is not None:
        low, high, apart = sets
        yield Finding(
            CHECK,
            STOP,
            f"the {evidence.values} fall into two sets {evidence.percent(apart)} apart "
            f"({low} and {high} runs), and no column says which",
            "give the table a column for it, and name it: --columns group=NAME; or fit one set "
            "with --keep",
        )


def _of_column(evidence: Evidence, explained: Explained) -> Finding:
    much = explained.share >= limits.MOSTLY and np.std(evidence.clipped) > limits.SMALL
    name = short(visible(explained.column), 40)
    remedy = f"--columns 'group={explained.column}' gives each value a law"
    if explained.tuned and evidence.best_of:
        remedy = f"{evidence.best_of} keeps the best of each; or {remedy}"
    return Finding(
        CHECK,
        STOP if much else CARE,
        f"`{name}` explains {100 * explained.share:.0f} % of the misfit",
        remedy,
    )


def _ranked(evidence: Evidence) -> Finding | None:
    """The column of many numbers with which residuals rise or fall most, beyond chance.

    By rank correlation; not of points along runs, whose residuals follow one another.
    """
    n, ranks = len(evidence.loss), pd.Series(evidence.clipped).rank()
    names = [c for c in evidence.unused if pd.api.types.is_numeric_dtype(evidence.runs[c])]
    best, columns = 0.0, []
    for name in names if evidence.clusters is None else ():
        column = evidence.runs[name].reset_index(drop=True)
        codes = pd.factorize(column)[0]
        if column.isna().any() or codes.max() < limits.LEVELS or _follows(evidence, column, codes):
            continue
        columns.append((ranks.corr(column.rank()), str(name)))
    if columns:
        best, column = max(columns, key=lambda one: abs(one[0]))
    rest = 1.0 - best**2
    chance = float(fdtrc(1, n - 2, best**2 / max(rest, 1e-12) * (n - 2)))
    if best**2 < limits.EXPLAINED or chance * len(columns) > limits.CHANCE:
        return None
    best_of = f", or the best of each: {evidence.best_of}" if evidence.best_of else ""
    way = "rise" if best > 0 else "fall"
    return Finding(
        CHECK,
        CARE,
        f"the {evidence.values} {way} with `{short(visible(column), 40)}`, which the law "
        f"does not know (rank correlation {best:.2f} of the misfit)",
        f"keep runs alike in it (--keep){best_of}",
    )


def _of_cells(evidence: Evidence, within: float) -> Finding:
    alike = " and ".join(evidence.law.variables)
    best_of = f"{evidence.best_of} keeps the best of each, or " if evidence.best_of else ""
    return Finding(
        CHECK,
        STOP if within > limits.TUNING else CARE,
        f"runs alike in {alike} differ by {evidence.percent(within)} of the "
        f"{evidence.sized}: far more than seeds do ({evidence.by_seeds})",
        f"{best_of}tell the experiments apart: --columns group=NAME",
    )


def _best_column(evidence: Evidence) -> Explained | None:
    """The column that explains most of the misfit, beyond chance."""
    candidates = list(_candidates(evidence))
    tried = [_explained(evidence, name, codes) for name, codes in candidates]
    real = [
        one
        for one in tried
        if one.chance * len(candidates) < limits.CHANCE and one.share > limits.EXPLAINED
    ]
    return max(real, key=lambda one: one.share, default=None)


def _candidates(evidence: Evidence) -> Iterator[tuple[str, np.ndarray]]:
    """Columns with few values that do not follow from a variable, with a number a value, (n,)."""
    n = len(evidence.loss)
    for name in evidence.unused:
        column = evidence.runs[name]
        if column.isna().all():
            continue
        try:
            codes, values = pd.factorize(column, use_na_sentinel=False)
        except TypeError:  # lists and other values that cannot be compared
            continue
        if not 2 <= len(values) <= min(limits.LEVELS, n // limits.LEVEL_ROWS):
            continue
        if n - np.bincount(codes).max() < limits.MANY_OUTLIERS * n:  # a mark of a few runs
            continue
        if not evidence.differs_along_runs(name):  # so few runs do not tell it from the runs
            continue
        if _follows(evidence, column, codes):
            continue
        yield str(name), codes


def _follows(evidence: Evidence, column: pd.Series, codes: np.ndarray) -> bool:
    """Whether a variable of the law gives a column: a number as N does a width, a text by name.

    Args:
        evidence: of the fit.
        column: of its runs.
        codes: number of the column's value of every run, (n,).
    """
    number = pd.api.types.is_numeric_dtype(column)
    ranks = column.reset_index(drop=True).rank() if number else None
    for name in evidence.law.variables:
        values = evidence.data[name]
        if number and abs(ranks.corr(pd.Series(values).rank())) > limits.ALONG:
            return True
        count = len(np.unique(values))
        if 2 * count > len(values):  # hardly a value comes twice: anything is given by it
            continue
        given = len(np.unique(np.column_stack([values, codes]), axis=0)) == count
        if given and (number or codes.max() + 1 == count):
            return True
    return False


def _explained(evidence: Evidence, name: str, codes: np.ndarray) -> Explained:
    levels = int(codes.max()) + 1
    residuals = evidence.clipped
    ranks = pd.Series(residuals).rank().to_numpy()
    n, between, inside = len(codes), levels - 1, len(codes) - levels
    share, _ = _shares(residuals, codes)
    _, ratio = _shares(ranks, codes)
    chance = float(fdtrc(between, inside, ratio * inside / between)) if inside > 0 else 1.0
    adjusted = 1.0 - (1.0 - share) * (n - 1) / max(inside, 1)
    number = pd.api.types.is_numeric_dtype(evidence.runs[name])
    pairs = np.unique(np.column_stack([evidence.cells, codes]), axis=0)
    differs = len(pairs) > len(np.unique(evidence.cells))
    return Explained(name, float(adjusted), chance, bool(number and differs))


def _shares(values: np.ndarray, codes: np.ndarray) -> tuple[float, float]:
    """The share of the variance between levels, and between over within."""
    counts = np.bincount(codes)
    means = np.bincount(codes, values) / counts
    total = float(((values - values.mean()) ** 2).sum())
    between = float((counts * (means - values.mean()) ** 2).sum())
    if total <= 0:
        return 0.0, 0.0
    return between / total, between / max(total - between, 1e-12 * total)


def spread_within_cells(evidence: Evidence) -> float:
    """SD of log loss between runs alike in all variables, pooled; 0 where there are none."""
    if evidence.clusters is not None:
        return 0.0
    return float(spread_within(evidence.cells, evidence.levels))


def two_sets(residuals: np.ndarray) -> tuple[int, int, float] | None:
    """Sizes of two sets of residuals and their distance, if that is what they are.

    Args:
        residuals: of log loss, (n,).
    """
    n = len(residuals)
    least = max(3, int(np.ceil(limits.HALVES * n)))
    if n < 4 * 3:
        return None
    ordered = np.sort(residuals)
    count = np.arange(1, n)
    sums = np.cumsum(ordered)[:-1]
    total = ordered.sum()
    between = (sums - count * total / n) ** 2 * n / (count * (n - count))
    between[(count < least) | (n - count < least)] = 0.0
    at = int(np.argmax(between))
    whole = float(((ordered - total / n) ** 2).sum())
    apart = float(ordered[at + 1 :].mean() - ordered[: at + 1].mean())
    if whole <= 0 or between[at] / whole < limits.APART or apart < limits.SEEDS:
        return None
    return at + 1, n - at - 1, apart
