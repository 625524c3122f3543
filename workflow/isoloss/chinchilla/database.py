"""The runs of a project: a table in memory, `df.csv`, and the same rows in `df.parquet`."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from rich.markup import escape as markup

from isoloss.chinchilla._logger import get_logger
from isoloss.core import escape, locks, tables
from isoloss.core.problems import TableError

NEEDED = ("C", "N", "D", "loss")
_COUNTS = ("C", "N", "D")
_AS_THEY_ARE = (
    pa.types.is_integer,
    pa.types.is_floating,
    pa.types.is_boolean,
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_null,
)


class Database:
    """The runs of a project, a row each: C in FLOP, N parameters, D samples, the loss, and more.

    Several processes may append to the files of one folder: each row is written whole, under a
    lock that is free when its process has ended.

    Args:
        project_dir: the folder of `df.csv` and `df.parquet`; None keeps the runs in memory.
        columns: of a new table.
        log_level: of messages.

    Attributes:
        df: the runs, a frame of pandas.
        filepath: of the CSV file, or None.

    Raises:
        ValueError: `df.csv` is damaged, lacks a column, or has what is not a number in one.

    Example:
        >>> database = Database()
        >>> database.append(N=1e6, D=2e7, loss=3.5)
        >>> database.df.C.tolist()
        [120000000000000]
    """

    def __init__(
        self,
        project_dir: str | os.PathLike | None = None,
        columns: Sequence[str] = NEEDED,
        log_level: int | str = 30,
    ) -> None:
        self.logger = get_logger(log_level, name="chinchilla.database")
        self.project_dir = project_dir
        self.filepath = os.path.join(project_dir, "df.csv") if project_dir else None
        self._digest: str | None = None  # of the CSV file when it was last read or written
        self.df = pd.DataFrame([], columns=list(columns))
        if self._refresh():
            self.logger.debug("Data types:\n" + markup(escape.terminal(self.df.dtypes.to_string())))
        else:
            place = markup(escape.visible(self.filepath or "memory"))
            self.logger.info(f"Starting an empty database in {place}")
        self.df["C"] = self.df["C"].astype(float)  # FLOP may be too many for an integer of pandas

    def append(self, **result: Any) -> None:
        """Add a run, after those that other processes have appended, and save all.

        Args:
            result: `N`, `D` and `loss`, None for a run without one; `C`, or 6 N D is taken; and any
                further columns. C, N and D are rounded to integers.

        Raises:
            ValueError: N, D or loss is not given, or C, N or D is not a finite number; or the file
                is damaged.
            TypeError: one of them is not a number.

        Example:
            >>> database = Database()
            >>> database.append(N=1e6, D=2e7, loss=3.5, width=64)
            >>> list(database.df)
            ['C', 'N', 'D', 'loss', 'width']
        """
        if missing := [key for key in ("N", "D", "loss") if key not in result]:
            raise ValueError(
                f"a run must contain 'N', 'D' and 'loss': {', '.join(missing)} not given"
            )
        record = _record(result)
        with self._locked():
            self._refresh()
            new = [name for name in record if name not in self.df]
            record = record.reindex(columns=[*self.df, *new])
            # an empty frame has no types of columns that a row should keep
            df = pd.concat([self.df, record], ignore_index=True) if len(self.df) else record
            self._digest = self._save(df)
            self.df = df

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else appends meanwhile; nothing to wait for in memory."""
        if self.filepath is None:
            yield
            return
        with locks.locked(Path(self.filepath).with_name(".df.claim")):
            yield

    def _refresh(self) -> bool:
        """Read the file if it is not as this process left it; whether there is one with rows."""
        if self.filepath is None or not os.path.exists(self.filepath):
            return False
        content = Path(self.filepath).read_bytes()
        if not content:
            return False
        digest = hashlib.sha256(content).hexdigest()
        if digest != self._digest:
            exact = _parquet_of(self._parquet, digest)
            self.df = _read_csv(content, self.filepath) if exact is None else exact
            self._digest = digest
        return True

    def _save(self, df: pd.DataFrame) -> str | None:
        """Write both files whole, the CSV last: then the rows count. Returns its digest."""
        if self.filepath is None:
            return None
        text = df.to_csv(index=False, float_format="%f")
        digest = hashlib.sha256(text.encode()).hexdigest()
        if _is_free(self._parquet):
            tables.write_free(_arrow(df), self._parquet, {"csv": digest})
        tables.write_text(os.path.realpath(self.filepath), text)  # a link stays one
        return digest

    @property
    def _parquet(self) -> Path:
        return Path(self.filepath).with_suffix(".parquet")


def _record(result: dict[str, Any]) -> pd.DataFrame:
    """A run as a frame of one row.

    Raises:
        ValueError: C, N or D is not a finite number.
    """
    result = {"C": 6 * _exact(result["N"]) * _exact(result["D"]), **result}
    for key in _COUNTS:
        if not math.isfinite(result[key]):
            raise ValueError(f"{key} of a run must be a finite number, not {result[key]}")
        result[key] = round(result[key])  # written without an exponent
    if result["loss"] is None:
        result["loss"] = math.nan
    elif not isinstance(result["loss"], int | float | np.number):  # a tensor, say
        result["loss"] = float(result["loss"])
    order = [*NEEDED, *(name for name in result if name not in NEEDED)]
    return pd.DataFrame([result], columns=order)


def _exact(count: Any) -> Any:
    """A count whose products do not overflow: an integer of NumPy as one of Python."""
    return int(count) if isinstance(count, np.integer) else count


def _arrow(df: pd.DataFrame) -> pa.Table:
    """The runs: numbers with all digits, truths and texts; all else is text, as in the CSV file."""
    return pa.table([_array(df[name]) for name in df.columns], names=list(df.columns))


def _array(values: pd.Series) -> pa.Array:
    if values.name in _COUNTS and values.dtype == object:  # beyond 64 bits
        values = values.astype(float)
    try:
        array = pa.array(values, from_pandas=True)
    except (pa.ArrowException, OverflowError):  # several types, or one that Arrow does not have
        return _texts(values)
    kept = any(kind(array.type) for kind in _AS_THEY_ARE)
    return array if kept else _texts(values)


def _texts(values: pd.Series) -> pa.Array:
    missing = [pd.api.types.is_scalar(value) and pd.isna(value) for value in values]
    return pa.array([None if no else str(v) for v, no in zip(values, missing, strict=True)], "str")


def _parquet_of(path: Path, digest: str) -> pd.DataFrame | None:
    """The rows of a Parquet file that was written with a CSV file, if it was with this one."""
    try:
        return tables.frame(path) if tables.facts(path).get("csv") == digest else None
    except TableError:  # none, or damaged: the CSV file has the rows
        return None


def _is_free(path: Path) -> bool:
    """Whether a Parquet file may be written there: another program's stays as it is."""
    try:
        return not path.exists() or "csv" in tables.facts(path)
    except TableError:  # damaged
        return True


def _read_csv(content: bytes, path: str) -> pd.DataFrame:
    """The runs of a CSV file.

    Raises:
        ValueError: it is damaged or lacks what a run needs, with the column and the row.
    """
    place = escape.visible(path)
    try:
        text = content.decode("utf-8-sig")
        with _any_length(text):
            lines = [line for line in csv.reader(io.StringIO(text), strict=True) if line]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{place}: is not CSV in UTF-8 ({error}); restore or remove it") from error
    header = lines[0] if lines else []
    for name in NEEDED:
        if name not in header:
            have = escape.visible(", ".join(header))
            raise ValueError(
                f"{place}: column {name} is missing; name it in the first line ({have})"
            )
    for row, line in enumerate(lines[1:], start=1):
        if len(line) != len(header):
            reason = f"has {len(line)} cells, and the first line {len(header)}"
            raise ValueError(f"{place}: row {row} {reason}; complete or remove it")
    df = pd.read_csv(io.StringIO(text))
    for name in NEEDED:
        df[name] = _numbers(df[name], place)
    return df


@contextmanager
def _any_length(text: str) -> Iterator[None]:
    """The reader of CSV takes cells as long as the whole text."""
    before = csv.field_size_limit(len(text) + 1)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _numbers(column: pd.Series, place: str) -> pd.Series:
    """A column of numbers; C as floats, and only a loss may be empty (NaN)."""
    values = pd.to_numeric(column, errors="coerce")
    empty_is_wrong = column.name != "loss"
    wrong = values.isna() & (column.notna() | empty_is_wrong)
    if wrong.any():
        row = int(wrong.to_numpy().argmax())
        cell = column.iloc[row]
        what = (
            f"has {escape.visible(cell)!r}, which is not a number" if pd.notna(cell) else "is empty"
        )
        raise ValueError(
            f"{place}: column {column.name}, row {row + 1} {what}; fix or remove the row"
        )
    return values.astype(float) if column.name == "C" else values
