"""A table of a study as CSV, for programs that do not read Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from isoloss.core import filters, tables
from isoloss.core.escape import listed
from isoloss.core.problems import IsolossError, Problem, nearest


def csv_of(table: Path, where: str = "", columns: Sequence[str] = ()) -> str:
    """The rows of a Parquet table as CSV text, missing values empty.

    The first line has the names; numbers keep every digit.

    Args:
        table: a Parquet file of a study, such as plot/NAME.parquet.
        where: a filter that selects rows; all if empty.
        columns: those that are written, in this order; all if empty.

    Raises:
        IsolossError: a column is not in the table, or holds lists, maps or bytes.
        TableError: the table is damaged, or the filter is wrong.
    """
    read = tables.read(table)
    for name in columns:
        if name not in read.column_names:
            raise IsolossError(
                Problem(f"--columns {name}", f"is not in {table}", nearest(name, read.column_names))
            )
    names = list(columns) or read.column_names
    nested = [n for n in names if pa.types.is_nested(kind := read.schema.field(n).type)
              or pa.types.is_binary(kind)]  # fmt: skip
    if nested:
        plain = [name for name in names if name not in nested]
        remedy = f"name others with --columns, such as {listed(plain)}"
        raise IsolossError(Problem(str(table), f"{listed(nested)}: not a number or text", remedy))
    rows = read.replace_schema_metadata().to_pandas()  # what pandas noted there may be damaged
    if where:
        rows = rows[filters.evaluate(rows, where, "--where")]
    return rows[names].to_csv(index=False, lineterminator="\n")
