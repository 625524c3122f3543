"""The quantities of a user's table as numbers: N, D, C, U, the loss, weights."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from keyword import iskeyword

import numpy as np
import pandas as pd

from isoloss.aggregate import loss_units, scales
from isoloss.aggregate.loss_units import LossUnit
from isoloss.aggregate.numbers import Numbers, as_shares, read_numbers
from isoloss.core.problems import Problem, TableError

NUMBERS = ("N", "D", "C", "U", "ratio", "loss", "fit_weight")
LABELS = ("run_id", "of_run", "group")  # what is mapped and is not a number
SIZES = ("N", "D", "C")
_ROWS = 5  # that a message names


@dataclass(frozen=True)
class Quantity:
    """A column of a table that was mapped to a letter.

    Attributes:
        letter: what it is; of a variable that has none its name.
        column: its name in the table.
        cells: as they were written, (n,).
        numbers: the cells as numbers.
        values: in the unit of `runs`, (n,); NaN where there is none.
    """

    letter: str
    column: str
    cells: pd.Series
    numbers: Numbers
    values: np.ndarray

    def cell(self, row: int) -> str:
        """What a cell holds, for a message."""
        cell = self.cells.iloc[row]
        if isinstance(cell, str) and cell.strip():
            return repr(cell)
        return "empty" if self.numbers.missing[row] else f"{cell:g}"

    @property
    def further(self) -> bool:
        """Whether it is a variable without a letter, which may be of any sign."""
        return self.letter not in NUMBERS

    @property
    def in_filters(self) -> str:
        """Its name as filters write it."""
        plain = self.column.isidentifier() and not iskeyword(self.column)
        return self.column if plain else f"`{self.column.replace('`', '``')}`"

    def filter_of(self, bad: np.ndarray) -> str:
        """A filter on the column that drops the rows whose values are not fit to use."""
        if self.letter == "loss" and not self.numbers.unread[bad].any():  # keeps what is missing
            zero = self.numbers.values[bad[0]]
            changed = zero != self.values[bad[0]]
            return f"{self.in_filters} != {zero:g}" if changed else f"not {self.in_filters} <= 0"
        if self.further:
            return f"-1e300 < {self.in_filters} < 1e300"
        zero_is_fine = ((self.numbers.values == 0) & (self.values > 0)).any()  # of an accuracy
        least = ">=" if self.letter == "fit_weight" or zero_is_fine else ">"
        if np.isinf(self.numbers.values[bad]).any():
            return f"0 {least.replace('>', '<')} {self.in_filters} < 1e300"
        return f"{self.in_filters} {least} 0"


def rows_text(rows: np.ndarray) -> str:
    """Numbers of rows, counted from 1, for a message: `rows 3, 5, 8 and 12 more`."""
    shown = ", ".join(str(row + 1) for row in rows[:_ROWS])
    more = f" and {len(rows) - _ROWS} more" if len(rows) > _ROWS else ""
    return f"row{'s' if len(rows) > 1 else ''} {shown}{more}"


@dataclass(frozen=True)
class Quantities:
    """All quantities of a table.

    Attributes:
        by_letter: those that are mapped.
        unit: of the losses.
        notes: what was decided about them.
    """

    by_letter: Mapping[str, Quantity]
    unit: LossUnit
    notes: tuple[str, ...]


def read_quantities(
    raw: pd.DataFrame,
    columns: Mapping[str, str],
    scale: Mapping[str, object],
    loss_unit: str | None,
    label: str,
) -> Quantities:
    """Read the mapped columns of a table as numbers in the units of `runs`.

    Args:
        raw: the table.
        columns: letter to column.
        scale: letter to the scale that the user gives.
        loss_unit: of the losses; by the column if None.
        label: of the table, for errors.

    Raises:
        TableError: a scale or unit is not known, sizes are in percent, or C shows that N or D has
            another unit without showing which.
    """
    further = [k for k in columns if k not in (*NUMBERS, *LABELS)]
    numbers = {k: read_numbers(raw[columns[k]]) for k in (*NUMBERS, *further) if k in columns}
    wrong = [
        Problem(f"{label}, column {columns[k]!r}", "is in percent", f"{k} is not: name another")
        for k, one in numbers.items()
        if one.unit == "%" and k != "loss" and k not in further
    ]
    wrong += [
        Problem(f"{label}, scale.{k}", "is not a mapped column", f"map it: columns {k}=NAME")
        for k in scale
        if k not in numbers
    ]
    if wrong:
        raise TableError(*wrong)
    values = {k: one.values for k, one in numbers.items()}
    chosen, notes = _scales(numbers, columns, scale, label)
    values |= {k: chosen[k].of(values[k]) for k in chosen}
    for name in further:
        values[name], note = as_shares(numbers[name], columns[name], name)
        notes += note
    for letter in (k for k in SIZES if k in values and k not in chosen):
        notes += scales.small_note(letter, columns[letter], values[letter])
    known = loss_units.known_unit(loss_unit, label) if loss_unit else None
    unit = known or loss_units.UNITS["nats"]
    if "loss" in values:
        cells, name = numbers["loss"].unit, columns["loss"]
        unit = known or loss_units.unit_of(values["loss"], cells, name)
        values["loss"], changes = loss_units.converted(values["loss"], unit, cells, name)
        notes += changes
    quantities = {
        k: Quantity(k, columns[k], raw[columns[k]], numbers[k], values[k]) for k in numbers
    }
    return Quantities(quantities, unit, tuple(notes))


def _scales(
    numbers: Mapping[str, Numbers],
    columns: Mapping[str, str],
    scale: Mapping[str, object],
    label: str,
) -> tuple[dict[str, scales.Scale], list[str]]:
    """The scale of each quantity that has one, and notes.

    A scale is given, or said by the column's name, or shown by C against 6 N D. A name counts if
    no cell has a factor of its own, and the sizes are those of runs.
    """
    values = {k: one.values for k, one in numbers.items()}
    chosen = {k: scales.given_scale(k, one, label) for k, one in scale.items()}
    complete = set(SIZES) <= set(values)
    notes, evident = [], {}
    for letter in (k for k in values if k not in chosen):
        named = scales.scale_of(letter, columns[letter], values[letter])
        if named is None or numbers[letter].factors:
            continue
        fits = scales.is_plausible(letter, named.of(values[letter]))
        if fits and not (complete and scales.is_six_nd(values)):
            chosen[letter] = named
        else:
            taken = f"{letter} = {columns[letter]} is taken as it is, in spite of its name"
            notes.append(f"{taken}: --scale {letter}={named} if it is meant")
    if complete and not set(SIZES) & set(scale):
        sizes = {k: chosen[k].of(values[k]) if k in chosen else values[k] for k in SIZES}
        evident = scales.evident_scales(sizes, label)
        evident = {} if set(evident) & set(chosen) else evident
    ordered = {k: {**chosen, **evident}[k] for k in NUMBERS if k in chosen or k in evident}
    changed = [
        f"{k} = {one.described(columns[k])}"
        + (", as C against 6 N D shows" if k in evident else "")
        for k, one in ordered.items()
        if one != scales.Scale()
    ]
    return ordered, [*changed, *notes]


def unfit(
    quantities: Quantities,
    stays: np.ndarray,
    label: str,
    signed: bool = False,
    response: str | None = None,
) -> list[Problem]:
    """Problems of the runs that stay: numbers that are missing, unread, or out of their range.

    A missing or infinite loss is none: such a run has diverged. Nor is a missing response, whose
    run is not fitted.

    Args:
        quantities: of the table.
        stays: the runs that do, bool (n,).
        label: of the table, for messages.
        signed: whether losses may be 0 or below.
        response: quantity that is fitted in the place of the loss.
    """
    wrong = []
    for quantity in quantities.by_letter.values():
        value, letter = quantity.values, quantity.letter
        fine = np.isfinite(value)
        if not quantity.further and not (signed and letter == "loss"):
            fine &= (value >= 0) if letter == "fit_weight" else (value > 0)
        every = not (stays & fine).any()
        if letter in ("loss", response):
            fine |= gone(quantity)
        bad = np.flatnonzero(stays & ~fine)
        if quantity.numbers.reason and quantity.numbers.unread[bad].any():
            wrong.append(_undecided(quantity, label))
        elif len(bad):
            problem = _of_loss if letter == "loss" else _of_number
            wrong.append(problem(quantity, bad, quantities.unit, every, label))
    return wrong


def gone(loss: Quantity) -> np.ndarray:
    """Whether a run has no loss (or response), or an infinite one, bool (n,)."""
    return loss.numbers.missing | np.isinf(loss.numbers.values)


def _undecided(quantity: Quantity, label: str) -> Problem:
    """Cells that are not read because the column does not say what they mean."""
    place, reason = f"{label}, column {quantity.column!r}", quantity.numbers.reason
    return Problem(place, reason, "write all its numbers in one way")


def _place(quantity: Quantity, bad: np.ndarray, label: str) -> str:
    return f"{label}, {rows_text(bad)}, column {quantity.column!r}"


def _held(quantity: Quantity, row: int) -> str:
    """What is wrong with a cell."""
    cell = quantity.cell(row)
    if quantity.numbers.unread[row]:
        return f"{cell} is not a number"
    return "is empty" if cell == "empty" else f"found {cell}"


def _way_out(quantity: Quantity, bad: np.ndarray, every: bool) -> str:
    """How to drop the rows, unless they are all there are."""
    if every or not quantity.numbers.mostly:
        return "name another column"
    return f"fix the rows, or drop them: --keep {shlex.quote(quantity.filter_of(bad))}"


def _of_number(
    quantity: Quantity, bad: np.ndarray, unit: LossUnit, every: bool, label: str
) -> Problem:
    least = "at least" if quantity.letter == "fit_weight" else "above"
    needed = "a finite number" if quantity.further else f"a finite number {least} 0"
    remedy = f"{needed} is needed: {_way_out(quantity, bad, every)}"
    return Problem(_place(quantity, bad, label), _held(quantity, bad[0]), remedy)


def _of_loss(
    quantity: Quantity, bad: np.ndarray, unit: LossUnit, every: bool, label: str
) -> Problem:
    place, reason = _place(quantity, bad, label), _held(quantity, bad[0])
    if quantity.numbers.unread[bad[0]]:
        return Problem(place, reason, _way_out(quantity, bad, every))
    value = quantity.values[bad[0]]
    if np.isnan(value):
        remedy = f"{loss_units.range_of(unit)}: say the unit with --loss-unit"
        return Problem(place, reason, remedy)
    reason += f", which is a loss of {value:g}" if unit.change else ""
    cause = (
        "losses of 0 or below are fitted by a formula (--formula) and by cards such as vocabulary"
        " (--law; in a study with signed: true); for another law"
    )
    if every:
        return Problem(place, reason, f"{cause} add back what was subtracted")
    return Problem(place, reason, f"{cause} {_way_out(quantity, bad, every)}")
