"""The tags of many rows as small numbers, for sums and products over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_DENSE = 4  # times the tags: so many pairs of a key and a value may be listed that no row has


def flat_tags(tags: pa.MapArray) -> tuple[pa.Array, pa.Array, np.ndarray]:
    """The tags of all rows in one array.

    Args:
        tags: (n,) maps of strings.

    Returns:
        keys (t,), values (t,), and how many tags every row has, int (n,).
    """
    offsets = tags.offsets.to_numpy()
    begin, count = int(offsets[0]), int(offsets[-1] - offsets[0])
    return tags.keys.slice(begin, count), tags.items.slice(begin, count), np.diff(offsets)


@dataclass(frozen=True)
class TagCodes:
    """The tags of a batch of rows, each as the number of its pair of key and value.

    Attributes:
        keys: tag key of every pair, strings (p,).
        values: its tag value, strings (p,). Some pairs may be of no row.
        codes: pair of every tag, row after row, int (t,).
        lengths: tags of every row, int (n,).

    Example:
        >>> rows = pa.array([[("kind", "code")], []], pa.map_(pa.string(), pa.string()))
        >>> tags = TagCodes.of(rows)
        >>> tags.keys.to_pylist(), tags.values.to_pylist(), tags.codes.tolist()
        (['kind'], ['code'], [0])
    """

    keys: pa.Array
    values: pa.Array
    codes: np.ndarray
    lengths: np.ndarray

    @classmethod
    def of(cls, tags: pa.MapArray) -> TagCodes:
        """The tags of rows.

        Args:
            tags: (n,) maps of strings; dictionaries of strings are faster.
        """
        keys, values, lengths = flat_tags(tags)
        key, key_names = _encoded(keys)
        value, value_names = _encoded(values)
        n_values = len(value_names)
        codes, n_pairs = key * n_values + value, len(key_names) * n_values
        pairs = np.arange(n_pairs)
        if n_pairs > _DENSE * len(codes) + 1024:
            pairs, codes = np.unique(codes, return_inverse=True)
        key_of, value_of = np.divmod(pairs, max(n_values, 1))
        names = key_names.take(pa.array(key_of)), value_names.take(pa.array(value_of))
        return cls(*names, codes, lengths)

    @cached_property
    def _in_columns(self) -> np.ndarray | None:
        """The codes as (n, tags of a row) where all rows have as many; else None."""
        width = int(self.lengths[0]) if len(self.lengths) else 0
        return self.codes.reshape(-1, width) if width and (self.lengths == width).all() else None

    def have(self, key: str) -> np.ndarray:
        """Whether each row has a tag of this key, bool (n,)."""
        of_key = np.asarray(pc.equal(self.keys, key))
        have = np.zeros(len(self.lengths), dtype=bool)
        have[np.repeat(np.arange(len(self.lengths)), self.lengths)[of_key[self.codes]]] = True
        return have

    def product(self, factors: np.ndarray) -> np.ndarray:
        """The product of the factors of a row's tags, multiplied from the left in their order.

        Args:
            factors: of every pair, float64 (p,).

        Returns:
            float64 (n,); 1 for a row without tags.
        """
        product = np.ones(len(self.lengths))
        if self._in_columns is not None:
            for column in self._in_columns.T:
                product *= factors[column]
            return product
        begin = np.cumsum(self.lengths) - self.lengths
        for place in range(max(self.lengths, default=0)):
            rows = np.flatnonzero(self.lengths > place)
            product[rows] *= factors[self.codes[begin[rows] + place]]
        return product

    def sums(self, amounts: np.ndarray) -> np.ndarray:
        """The sum of an amount over all rows of every pair.

        Args:
            amounts: whole numbers of every row (n,).

        Returns:
            float64 (p,), exact up to 2^53.
        """
        if self._in_columns is not None:
            columns = self._in_columns.T
            return sum(np.bincount(c, amounts, minlength=len(self.keys)) for c in columns)
        per_tag = np.repeat(amounts, self.lengths)
        return np.bincount(self.codes, per_tag, minlength=len(self.keys))


def _encoded(texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The place of every text in a list of the texts that there are, int64 (n,), and that list."""
    if not pa.types.is_dictionary(texts.type) or texts.null_count:
        plain = texts.cast(pa.string())
        texts = plain.dictionary_encode(null_encoding="encode")
    return texts.indices.to_numpy().astype(np.int64), texts.dictionary
