"""The quantities of a user's table as numbers: N, D, C, U, the loss, weights."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from isoloss.aggregate import loss_units, scales
from isoloss.aggregate.loss_units import LossUnit
from isoloss.aggregate.numbers import Numbers, read_numbers
from isoloss.core.problems import Problem, TableError

NUMBERS = ("N", "D", "C", "U", "ratio", "loss", "fit_weight")
SIZES = ("N", "D", "C")
_ROWS = 5  # that a message names


@dataclass(frozen=True)
class Quantity:
    """A column of a table that was mapped to a letter.

    Attributes:
        letter: what it is.
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
    def in_filters(self) -> str:
        """Its name as filters write it."""
        plain = self.column.isidentifier()
        return self.column if plain else f"`{self.column.replace('`', '``')}`"

    def filter_of(self, bad: np.ndarray) -> str:
        """A filter on the column that drops the rows whose values are not fit to use."""
        if (texts := self.numbers.unread & bad).any():
            cells = dict.fromkeys(str(cell) for cell in self.cells[texts])
            listed = ", ".join(
                '"{}"'.format(c.replace("\\", "\\\\").replace('"', '\\"')) for c in cells
            )
            return f"{self.in_filters} not in [{listed}]"
        if np.isinf(self.numbers.values[bad]).any():
            return f"0 < {self.in_filters} < 1e300"
        return f"{self.in_filters} > 0"


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
        TableError: a scale or unit is not known, a column's commas cannot be told apart, or C
            shows that N or D has another unit without showing which.
    """
    numbers = {k: read_numbers(raw[columns[k]]) for k in NUMBERS if k in columns}
    wrong = [
        Problem(f"{label}, column {columns[k]!r}", one.reason, "write them without separators")
        for k, one in numbers.items()
        if one.reason
    ]
    wrong += [
        Problem(f"{label}, scale.{k}", "is not a mapped column", f"map it: columns {k}=NAME")
        for k in scale
        if k not in numbers
    ]
    if wrong:
        raise TableError(*wrong)
    values = {k: one.values for k, one in numbers.items()}
    chosen = _scales(values, columns, scale, label)
    values |= {k: chosen[k].of(values[k]) for k in chosen}
    notes = [f"{k} = {one.described(columns[k])}" for k, one in chosen.items() if one != _AS_IT_IS]
    for letter in set(SIZES) & set(values) - set(chosen):
        notes += scales.small_note(letter, columns[letter], values[letter])
    unit = loss_units.UNITS["nats"]
    if "loss" in values:
        cells, name = numbers["loss"].unit, columns["loss"]
        known = loss_unit and loss_units.known_unit(loss_unit, label)
        unit = known or loss_units.unit_of(values["loss"], cells, name)
        values["loss"], changes = loss_units.converted(values["loss"], unit, cells, name)
        notes += changes
    quantities = {
        k: Quantity(k, columns[k], raw[columns[k]], numbers[k], values[k]) for k in numbers
    }
    return Quantities(quantities, unit, tuple(notes))


_AS_IT_IS = scales.Scale()


def _scales(
    values: Mapping[str, np.ndarray],
    columns: Mapping[str, str],
    scale: Mapping[str, object],
    label: str,
) -> dict[str, scales.Scale]:
    """The scale of each quantity that has one: given, by its name, or shown by C against 6 N D."""
    chosen = {k: scales.given_scale(k, one, label) for k, one in scale.items()}
    for letter in set(values) - set(chosen):
        named = scales.scale_of(letter, columns[letter], values[letter])
        chosen |= {letter: named} if named else {}
    ordered = {letter: chosen[letter] for letter in NUMBERS if letter in chosen}
    if set(SIZES) <= set(values) and not set(SIZES) & set(scale):
        sizes = {k: ordered[k].of(values[k]) if k in ordered else values[k] for k in SIZES}
        evident = scales.evident_scales(sizes, label)
        if not set(evident) & set(ordered):
            ordered |= evident
    return ordered


def unfit(quantities: Quantities, stays: np.ndarray, label: str) -> list[Problem]:
    """Problems of the runs that stay: numbers that are missing, unread, or out of their range.

    A missing or infinite loss is none: such a run has diverged.
    """
    wrong = []
    for quantity in quantities.by_letter.values():
        value, letter = quantity.values, quantity.letter
        fine = np.isfinite(value) & ((value >= 0) if letter == "fit_weight" else (value > 0))
        if letter == "loss":
            fine |= gone(quantity)
        bad = np.flatnonzero(stays & ~fine)
        if len(bad):
            problem = _of_loss if letter == "loss" else _of_number
            every = len(bad) == np.count_nonzero(stays)
            wrong.append(problem(quantity, bad, quantities.unit, every, label))
    return wrong


def gone(loss: Quantity) -> np.ndarray:
    """Whether a run has no loss, or an infinite one, bool (n,)."""
    return loss.numbers.missing | np.isinf(loss.numbers.values)


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
    if every:
        return "name another column"
    rows = np.zeros(len(quantity.values), bool)
    rows[bad] = True
    return f"fix the rows, or drop them: --keep {shlex.quote(quantity.filter_of(rows))}"


def _of_number(
    quantity: Quantity, bad: np.ndarray, unit: LossUnit, every: bool, label: str
) -> Problem:
    least = "at least" if quantity.letter == "fit_weight" else "above"
    remedy = f"a finite number {least} 0 is needed: {_way_out(quantity, bad, every)}"
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
    cause = "laws need losses above 0; there are none of any sign yet"
    if every:
        return Problem(place, reason, f"{cause}: add back what was subtracted")
    return Problem(place, reason, f"{cause}: {_way_out(quantity, bad, every)}")
