"""Units in which a table may hold its losses, and what is fitted of each."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from isoloss.aggregate.numbers import IN_PERCENT, named_per_cent
from isoloss.core.problems import Problem, TableError, nearest
from isoloss.core.units import NATS

LARGEST_LOSS = 14.0  # nats; ln of a million tokens, more than a vocabulary has


@dataclass(frozen=True)
class LossUnit:
    """A unit that losses come in.

    Attributes:
        name: what a study or `--loss-unit` calls it.
        fitted: the unit of what is fitted, a fact of the tables.
        change: what is done to the values before; empty if they stay as they are.
    """

    name: str
    fitted: str
    change: str = ""


UNITS = {
    unit.name: unit
    for unit in (
        LossUnit("nats", NATS),
        LossUnit("bits", "bits/token"),
        LossUnit("bits_per_byte", "bits/byte"),
        LossUnit("nats_per_byte", "nats/byte"),
        LossUnit("perplexity", NATS, "its logarithm"),
        LossUnit("error", "error"),
        LossUnit("accuracy", "error", "1 minus it"),
    )
}
_OF_CELLS = {
    "nats": "nats", "nats/token": "nats", "bits": "bits", "bits/token": "bits",
    "bits/byte": "bits_per_byte", "nats/byte": "nats_per_byte",
}  # fmt: skip
_OF_NAMES = (
    ("perplexity", ("perplexity", "perplexities", "ppl", "pplx")),
    ("bits_per_byte", ("bpb", "bits per byte", "bits byte")),
    ("nats_per_byte", ("nats per byte", "nats byte")),
    ("bits", ("bpt", "bits per token", "bits token")),
    ("accuracy", ("accuracy", "acc", "acc norm", "top1", "top 1", "top5", "top 5")),
    ("error", ("error", "err", "error rate")),
)


def loss_unit_of(name: str) -> str | None:
    """The unit that the name of a column of losses says, or None.

    Example:
        >>> loss_unit_of("eval/perplexity"), loss_unit_of("c4_bpb"), loss_unit_of("top1_error")
        ('perplexity', 'bits_per_byte', 'error')
        >>> loss_unit_of("val_loss") is None
        True
    """
    words = f" {' '.join(words_of(name))} "
    units = {unit for unit, names in _OF_NAMES if any(f" {one} " in words for one in names)}
    if "error" in units:
        return "error"
    return next((unit for unit, _ in _OF_NAMES if unit in units), None)


def words_of(name: str) -> list[str]:
    """The words of a column's name, in small letters: of `evalLoss/C4 (M)` eval, loss, c4, m."""
    apart = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return re.findall(r"[^\W_]+", apart.lower())


def known_unit(name: str, place: str) -> LossUnit:
    """The unit of a name.

    Raises:
        TableError: there is no such unit.
    """
    if name not in UNITS:
        reason = f"{name!r} is not a unit of losses"
        raise TableError(Problem(f"{place}, loss_unit", reason, nearest(name, UNITS)))
    return UNITS[name]


def unit_of(values: np.ndarray, cells: str, column: str) -> LossUnit:
    """The unit of a column that nobody has named: by its cells, its name, or else nats.

    Args:
        values: (n,), NaN where there is none: a loss called `error` that is above 1 is in nats,
            one called an error rate in percent.
        cells: what stands behind its numbers.
        column: its name.
    """
    named = loss_unit_of(column)
    number = values[np.isfinite(values)]
    rate = {"rate", "top", "top1", "top5"} & set(words_of(column)) or named_per_cent(column)
    if named == "error" and cells != "%" and not rate and len(number) and number.max() > 1:
        named = None
    return UNITS[_OF_CELLS.get(cells) or named or "nats"]


def converted(
    values: np.ndarray, unit: LossUnit, cells: str, column: str
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Losses as they are fitted, and what was done to them.

    Args:
        values: (n,), NaN where there is none.
        unit: of the values.
        cells: the unit that stands behind the numbers of the table, such as `%`.
        column: its name, for the note.

    Returns:
        The losses (n,); NaN where a value is outside the unit's range.
    """
    number = values[np.isfinite(values)]
    middle = np.sort(number)[len(number) // 2] if len(number) else 0.0
    if unit.name == "perplexity":
        with np.errstate(all="ignore"):
            losses = np.where(values >= 1, np.log(values), np.nan)
        return losses, (f"loss = ln({column}): the column is a perplexity",)
    if unit.fitted != "error":
        large = unit.name == "nats" and middle > LARGEST_LOSS
        return values, ((_too_large(number, column),) if large else ())
    percent = cells == "%" or named_per_cent(column) or (middle > 1 and number.max() <= 100)
    scaled = values / 100 if percent else values
    scaled = np.where((scaled >= 0) & (scaled <= 1), scaled, np.nan)
    share = f"{column} / 100" if percent else column
    if unit.name == "accuracy":
        return 1 - scaled, (f"loss = 1 - {share}: the column is an accuracy",)
    return scaled, ((f"loss = {share}: {IN_PERCENT}",) if percent else ())


def _too_large(number: np.ndarray, column: str) -> str:
    """A note about losses that no model has."""
    return (
        f"loss = {column} is {number.min():g} to {number.max():g}, more than a uniform guess has "
        "in nats; if it is a perplexity: --loss-unit perplexity"
    )


def range_of(unit: LossUnit) -> str:
    """The values that a unit has, for a message about one outside."""
    if unit.name == "perplexity":
        return "perplexities are at least 1"
    return f"{unit.name} is between 0 and 1, or 0 and 100 %"
