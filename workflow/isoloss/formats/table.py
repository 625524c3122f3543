"""What a reader gives back: rows, and what was decided about how to read them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

_SHOWN = 4  # places of a name


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

    @property
    def notes(self) -> tuple[str, ...]:
        """The statements as one sentence for the user, or none."""
        return (f"read as: {', '.join(self.took)}",) if self.took else ()


def repeated(names: Sequence[str]) -> str:
    """The names that appear more than once, with their places from 1.

    >>> repeated(["loss", "N", "loss"])
    "'loss' (1 and 3)"
    """
    places: dict[str, list[str]] = {}
    for i, name in enumerate(names, 1):
        places.setdefault(name, []).append(str(i))
    twice = {name: at for name, at in places.items() if len(at) > 1}
    return ", ".join(f"{name!r} ({_listed(at)})" for name, at in twice.items())


def _listed(places: Sequence[str]) -> str:
    """The first places of a name, and how many more there are."""
    more = len(places) - _SHOWN
    return " and ".join(places[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
