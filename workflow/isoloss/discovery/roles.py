"""What the columns of a table are to a search: sizes, counts, variables with an optimum, shares."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

FEW = 12  # levels at most of a count such as experts
SAME = 0.01  # of the range: values that differ by less are one level
LEVELS = 24  # distinct values above which levels are quantiles
DIVIDED = 12  # into so many of them
UNIQUE = re.compile(r"(^U$|unique|distinct|dedup)", re.IGNORECASE)
DATA = re.compile(r"(^D$|token|data|sample|example|char|byte|word)", re.IGNORECASE)


@dataclass(frozen=True)
class Columns:
    """The variables of a search and what each can be in a form.

    Attributes:
        names: of all columns that a parameter may not be called.
        free: variables.
        sizes: those above 0, which may stand in powers and logarithms.
        counts: sizes of few whole numbers that begin at 1, such as experts or streams.
        tuned: variables that have an optimum inside their range, such as a learning rate.
        unique, data: the column of distinct data and that of data with repetitions; or empty.
    """

    names: tuple[str, ...]
    free: tuple[str, ...]
    sizes: frozenset[str]
    counts: frozenset[str] = frozenset()
    tuned: tuple[str, ...] = ()
    unique: str = ""
    data: str = ""


def level_of(values: np.ndarray) -> np.ndarray:
    """The level of every value, whole numbers from 0: distinct values, or quantiles of many.

    Values that differ by less than 1 % of the range (in logarithms of sizes) are one level.
    """
    axis = np.log(values) if (values > 0).all() else values
    order = np.unique(axis)
    apart = max(1e-9, SAME * (order[-1] - order[0]))
    starts = [order[0]]
    for value in order:
        if value - starts[-1] > apart:
            starts.append(value)
    if len(starts) > LEVELS:
        starts = np.unique(np.quantile(axis, np.arange(DIVIDED) / DIVIDED))
    return np.searchsorted(starts, axis, side="right") - 1


def columns_of(
    variables: Mapping[str, np.ndarray], response: np.ndarray, names: tuple[str, ...]
) -> Columns:
    """The roles of variables, by their values and, for distinct data, their names.

    Args:
        variables: each (n,).
        response: (n,).
        names: of all columns.
    """
    sizes = frozenset(name for name, x in variables.items() if (x > 0).all())
    counts = frozenset(
        name
        for name in sizes
        if variables[name].min() == 1
        and (variables[name] % 1 == 0).all()
        and len(np.unique(variables[name])) <= FEW
    )
    columns = Columns(names, tuple(variables), sizes, counts)
    unique, data = _repetition(variables, sizes)
    return replace(columns, tuned=_tuned(variables, sizes, response), unique=unique, data=data)


def _repetition(variables: Mapping[str, np.ndarray], sizes: frozenset[str]) -> tuple[str, str]:
    """The columns of distinct and of all data, where a name says so and the values agree."""
    for unique in (name for name in variables if name in sizes and UNIQUE.search(name)):
        others = [name for name in variables if name in sizes and name != unique]
        others.sort(key=lambda name: not DATA.search(name))
        for data in others:
            repeats = variables[data] / variables[unique]
            if repeats.min() > 0.99 and repeats.max() > 1.5:
                return unique, data
    return "", ""


def _tuned(
    variables: Mapping[str, np.ndarray], sizes: frozenset[str], response: np.ndarray
) -> tuple[str, ...]:
    """Variables whose best value lies inside the range of most runs, by a quadratic of all."""
    names = [name for name, x in variables.items() if len(np.unique(x)) >= 4]
    axes = {name: np.log(variables[name]) if name in sizes else variables[name] for name in names}
    axes = {name: (a - a.mean()) / a.std() for name, a in axes.items()}
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i:]]
    if len(response) < 3 * (1 + len(names) + len(pairs)):
        return ()
    ones = np.ones(len(response))
    design = [ones, *axes.values(), *(axes[a] * axes[b] for a, b in pairs)]
    solved = np.linalg.lstsq(np.stack(design, axis=1), response, rcond=1e-8)[0]
    slopes = dict(zip(names, solved[1 : 1 + len(names)], strict=True))
    second = dict(zip(pairs, solved[1 + len(names) :], strict=True))
    tuned = []
    for name in names:
        along = slopes[name] + sum(
            second.get((name, other), second.get((other, name), 0.0)) * axes[other]
            for other in names
            if other != name
        )
        best = -along / (2 * second[name, name]) if second[name, name] else ones * np.inf
        low, high = np.quantile(axes[name], [0.1, 0.9])
        if np.mean((best > low) & (best < high)) > 0.5:
            tuned.append(name)
    return tuple(tuned)
