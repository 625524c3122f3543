"""Guess what the columns of a user's table hold, from their names and their values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.aggregate.numbers import read_numbers
from isoloss.formats.names import QUANTITIES, WEAK, meanings, words_of

# Words of a table by names in use, without case, spaces and underscores; the first one is taken.
NAMES = {
    "group": "group",
    "run_id": "runid run id name label index row",
    "fit_weight": "fitweight",
}
OF_RUN = ("run", "runid")  # what a column of runs is called
# Columns of labels that tell experiments apart, by the last word of their names.
LABELS = {
    *("dataset", "datasets", "data", "corpus", "optimizer", "optimiser", "architecture", "arch"),
    *("family", "method", "schedule", "scheduler", "variant", "arm", "tokenizer", "recipe"),
}
_SIZES = ("N", "D", "C")
_LOOKED_AT = 50  # cells of a column of text, to know whether it holds numbers
_UNREAD = 0.2  # of those cells, that a column of numbers may have besides numbers
_FEW = 10  # values of a column of labels, at most
_CROSSED = 0.8  # of the sizes, that are there with every label


@dataclass(frozen=True)
class Guess:
    """What the columns of a table are by their names and values.

    Attributes:
        columns: quantity (N, D, C, U, ratio, loss) or word (group, run_id, fit_weight) to column.
        others: quantity to the columns that it could have been as well, the likeliest first.
        tied: quantity to the columns of which none is likelier; it is not in `columns`.
        texts: quantity to a column that is clearly called so and holds no numbers.
        labels: columns of text with few values that may tell experiments apart.
        crossed: whether the group is a column of labels of which every one has all sizes.
        unused: columns of numbers that are none of these.
    """

    columns: Mapping[str, str]
    others: Mapping[str, Sequence[str]]
    tied: Mapping[str, Sequence[str]]
    texts: Mapping[str, str]
    labels: Sequence[str]
    crossed: bool
    unused: Sequence[str]


def guess_columns(raw: pd.DataFrame, given: Mapping[str, str] | None = None) -> Guess:
    """Guess which columns hold N, D, C, U, tokens per parameter, loss, group, run_id, fit_weight.

    Only columns that hold numbers are guessed to be a quantity. Of two columns whose names are
    equally good and whose numbers differ neither is taken.

    Args:
        raw: the table.
        given: what the user says; nothing is guessed for its keys, nor of its columns. A key
            without a column says that the table has none.

    Example:
        >>> import pandas as pd
        >>> table = {"n_params": [1e6, 2e6], "tokens": [1e8, 1e8], "lr": [0.1, 0.2]}
        >>> guess = guess_columns(pd.DataFrame({**table, "loss": [3.0, 2.9], "val_loss": [3.1, 3]}))
        >>> guess.columns
        {'N': 'n_params', 'D': 'tokens', 'loss': 'val_loss'}
        >>> guess.others["loss"], guess.unused
        (('loss',), ('lr',))
    """
    given = given or {}
    free = [column for column in raw.columns if column not in set(given.values())]
    numeric = {column: holds_numbers(raw[column]) for column in free}
    ranked, texts = _ranked(raw, free, numeric, given)
    chosen, others, tied = _choose(raw, ranked)
    known = {key for key in _SIZES if key in chosen or given.get(key)}
    if len(known) != 1:  # it gives the second of them where one is known
        chosen.pop("ratio", None)
        others.pop("ratio", None)
    chosen |= _words(raw, [c for c in free if c not in chosen.values()], numeric, given)
    labels = tuple(c for c in free if not numeric[c] and _is_label(raw[c]))
    crossed = ""
    if "group" not in {*chosen, *given}:
        sizes = {
            k: v for k, v in {**chosen, **given}.items() if k in (*_SIZES, "ratio") and v in raw
        }
        enough = len(sizes) > 1 or "C" in sizes
        crossed = next((c for c in labels if enough and _is_crossed(raw, c, sizes.values())), "")
        chosen |= {"group": crossed} if crossed else {}
    spoken = {*chosen.values(), *(c for some in (others, tied) for of in some.values() for c in of)}
    unused = tuple(c for c in free if numeric[c] and c not in spoken)
    labels = tuple(c for c in labels if c not in chosen.values())
    return Guess(chosen, others, tied, texts, labels, bool(crossed), unused)


def holds_numbers(column: pd.Series) -> bool:
    """Whether a column holds numbers, as people write them, and is not empty.

    A few cells may hold something else. Of a long column of text some cells are looked at.
    """
    types = pd.api.types
    if types.is_bool_dtype(column.dtype):
        return False
    if types.is_numeric_dtype(column.dtype):
        return bool(column.notna().any())
    cells = column[column.notna().to_numpy()]
    if len(cells) > _LOOKED_AT:
        cells = cells.iloc[np.linspace(0, len(cells) - 1, _LOOKED_AT).astype(int)]
    numbers = read_numbers(cells)
    return bool(np.isfinite(numbers.values).any() and numbers.unread.mean() <= _UNREAD)


def _ranked(
    raw: pd.DataFrame, free: Iterable[str], numeric: Mapping[str, bool], given: Mapping[str, str]
) -> tuple[dict[str, list[tuple[float, str]]], dict[str, str]]:
    """The columns of numbers that each quantity can be with their points; and columns of text."""
    ranked: dict[str, list[tuple[float, str]]] = {key: [] for key in QUANTITIES if key not in given}
    texts: dict[str, str] = {}
    for column in free:
        for key, points in meanings(column).items():
            if key not in ranked:
                continue
            if numeric[column]:
                ranked[key].append((points, column))
            elif points > WEAK and raw[column].notna().any():
                texts.setdefault(key, column)
    return ranked, texts


def _choose(
    raw: pd.DataFrame, ranked: Mapping[str, list[tuple[float, str]]]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]], dict[str, tuple[str, ...]]]:
    """The likeliest column of each quantity, the others, and those of which none is likelier."""
    chosen, others, tied = {}, {}, {}
    for key, candidates in ranked.items():
        if not candidates:
            continue
        best = max(points for points, _ in candidates)
        ordered = [column for _, column in sorted(candidates, key=lambda one: -one[0])]
        first = [column for points, column in candidates if points == best]
        if all(_same(raw[first[0]], raw[column]) for column in first[1:]):
            chosen[key] = first[0]
            others[key] = tuple(column for column in ordered if column != first[0])
        else:
            tied[key] = tuple(first)
    return chosen, {key: names for key, names in others.items() if names}, tied


def _same(one: pd.Series, two: pd.Series) -> bool:
    """Whether two columns hold the same numbers."""
    values = (read_numbers(column).values for column in (one, two))
    return bool(np.allclose(*values, rtol=1e-6, atol=0.0, equal_nan=True))


def _compact(name: str) -> str:
    return re.sub(r"[\W_]", "", name).lower()


def _words(
    raw: pd.DataFrame, free: Sequence[str], numeric: Mapping[str, bool], given: Mapping[str, str]
) -> dict[str, str]:
    """The columns of group, run_id and fit_weight.

    A group has a name in every row, and fewer names than there are rows.
    """
    known = {_compact(column): column for column in free if raw[column].notna().any()}
    words = {}
    for word, names in NAMES.items():
        column = next((known[name] for name in names.split() if name in known), None)
        if word not in given and column is not None:
            words[word] = column
    if "group" not in {*words, *given}:
        groups = [column for column in free if column.lower().endswith("_group")]
        words |= {"group": groups[0]} if groups else {}
    group = words.get("group")
    if group is not None and (
        raw[group].isna().any() or _written(raw[group]).nunique() == len(raw) > 1
    ):
        del words["group"]
    if "fit_weight" in words and not numeric[words["fit_weight"]]:
        del words["fit_weight"]
    return words


def _written(column: pd.Series) -> pd.Series:
    """A column whose cells can be compared: a nested table has lists in some."""
    return column.map(str, na_action="ignore") if column.dtype == object else column


def _is_label(column: pd.Series) -> bool:
    """Whether a column has few labels that may tell experiments apart."""
    words = words_of(str(column.name))
    if not words or words[-1] not in LABELS or column.isna().any():
        return False
    return 2 <= _written(column).nunique() <= _FEW


def _is_crossed(raw: pd.DataFrame, label: str, sizes: Iterable[str]) -> bool:
    """Whether nearly every size of run is there with each of the labels."""
    labels = _written(raw[label])
    each = labels.groupby([_written(raw[column]) for column in sizes], sort=False).nunique()
    return len(each) > 1 and bool((each == labels.nunique()).mean() >= _CROSSED)


def run_ids(raw: pd.DataFrame, columns: Mapping[str, str]) -> dict[str, str]:
    """The columns, without a run_id whose values are not unique.

    One that is called after runs and appears in several rows names the run of its points.
    """
    name = columns.get("run_id")
    if name is None or not (_written(raw[name]).duplicated().any() or raw[name].isna().any()):
        return dict(columns)
    others = {k: v for k, v in columns.items() if k != "run_id"}
    called = _compact(str(name)) in OF_RUN
    return others | ({"of_run": name} if called and raw[name].notna().all() else {})
