"""Which texts are numbers, and columns of them as numbers; all other texts stay as written."""

from __future__ import annotations

import re

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_INFINITE = r"[+-]?(?:inf|Inf|INF|infinity|Infinity)"
_IS_NUMBER = re.compile(_NUMBER)
# what stands for a missing value, as pandas reads CSV
MISSING = pa.array(
    [
        *("", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND"),
        *("1.#QNAN", "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null"),
    ],
    pa.large_string(),
)
_TRUE, _FALSE = ("True", "TRUE", "true"), ("False", "FALSE", "false")
EXACT = 2**53  # whole numbers up to this are exact as float


def is_number(text: str) -> bool:
    """Whether a text is a plain number: digits, a point, an exponent.

    >>> is_number("1.5e-3"), is_number("7B"), is_number("3,5")
    (True, False, False)
    """
    return _IS_NUMBER.fullmatch(text.strip()) is not None


def settle(table: pd.DataFrame) -> pd.DataFrame:
    """The table with numbers for text, in columns that hold nothing but plain numbers.

    Whole numbers beyond 64 bits, and those with leading zeros (labels), stay text as written, and
    all of their column with them. Empty cells, `nan`, `NA` and the like are missing.
    """
    columns = [_settled(table.iloc[:, i]) for i in range(table.shape[1])]
    settled = pd.concat(columns, axis=1) if columns else table
    return settled.set_axis(table.columns, axis=1)


def _settled(column: pd.Series) -> pd.Series:
    """One column of a table; what is not text stays as it is."""
    if not pd.api.types.is_string_dtype(column.dtype) or column.dtype == object:
        return column
    texts = pa.array(column, type=pa.large_string(), from_pandas=True)
    trimmed = pc.utf8_trim_whitespace(texts)
    absent = pc.fill_null(pc.is_in(trimmed, MISSING), True)
    values = pc.if_else(absent, None, trimmed)
    present = pc.drop_null(values)
    if not len(present):
        return pd.Series(float("nan"), column.index, dtype=float)
    if _all(present, f"{_NUMBER}|{_INFINITE}"):
        return pd.Series(_numbers(values, present), column.index)
    if not values.null_count and pc.all(pc.is_in(present, pa.array(_TRUE + _FALSE))).as_py():
        return pd.Series(pc.is_in(present, pa.array(_TRUE)).to_numpy(zero_copy_only=False))
    return pd.Series(pc.if_else(absent, None, texts).to_pandas(), column.index, dtype="str")


def _all(texts: pa.Array, pattern: str) -> bool:
    """Whether all texts have the pattern."""
    return pc.all(pc.match_substring_regex(texts, f"^(?:{pattern})$")).as_py()


def _numbers(values: pa.Array, present: pa.Array):
    """The numbers of a column, or its texts where a number would not hold them.

    Args:
        values: texts, null where missing.
        present: those that are not.
    """
    whole = _all(present, r"[+-]?\d+")
    if pc.any(pc.match_substring_regex(present, r"^[+-]?0\d+$")).as_py():
        return values.to_pandas()  # a label, such as 007
    plain = pc.replace_substring_regex(values, r"^\+", "")
    if not whole:
        return plain.cast(pa.float64()).to_pandas()
    try:
        numbers = plain.cast(pa.int64())
    except pa.ArrowInvalid:  # beyond 64 bits
        return values.to_pandas()
    if not numbers.null_count:
        return numbers.to_pandas()
    most = pc.max(pc.abs(numbers)).as_py()
    return values.to_pandas() if most > EXACT else numbers.cast(pa.float64()).to_pandas()
