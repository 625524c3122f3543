"""What a reader gives back: rows, and what was decided about how to read them."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd


@dataclass(frozen=True)
class Parsed:
    """The rows of a table, as they are in it.

    Attributes:
        rows: a column a field, named as in the table.
        took: what was decided, in short statements such as `gzip` or `fields separated by ;`;
            empty for a plain CSV with commas in UTF-8.
    """

    rows: pd.DataFrame
    took: tuple[str, ...] = ()
