"""The tags of many rows as small numbers, for sums and products over them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core.compiled import EFFORT

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
        codes: pair of every tag, row after row, int32 or int64 (t,).
        ends: where the tags of each row begin, and the last ones end, int32 (n + 1,).

    Example:
        >>> rows = pa.array([[("kind", "code")], []], pa.map_(pa.string(), pa.string()))
        >>> tags = TagCodes.of(rows)
        >>> tags.keys.to_pylist(), tags.values.to_pylist(), tags.codes.tolist()
        (['kind'], ['code'], [0])
    """

    keys: pa.Array
    values: pa.Array
    codes: np.ndarray
    ends: np.ndarray

    @classmethod
    def of(cls, tags: pa.MapArray) -> TagCodes:
        """The tags of rows.

        Args:
            tags: (n,) maps of strings; dictionaries of strings are faster.
        """
        keys, values, _ = flat_tags(tags)
        ends = tags.offsets.to_numpy()
        key, key_names = _encoded(keys)
        value, value_names = _encoded(values)
        n_values = len(value_names)
        n_pairs = len(key_names) * n_values
        kind = np.int32 if n_pairs < 1 << 31 else np.int64
        codes = key.astype(kind, copy=False) * kind(n_values) + value.astype(kind, copy=False)
        pairs = np.arange(n_pairs)
        if n_pairs > _DENSE * len(codes) + 1024:
            pairs, codes = np.unique(codes, return_inverse=True)
        key_of, value_of = np.divmod(pairs, max(n_values, 1))
        names = key_names.take(pa.array(key_of)), value_names.take(pa.array(value_of))
        return cls(*names, codes, ends - ends[0])

    @cached_property
    def lengths(self) -> np.ndarray:
        """How many tags every row has, int32 (n,)."""
        return np.diff(self.ends)

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
        product = np.ones(len(self.ends) - 1)
        if EFFORT.pays():
            from isoloss.core.tag_codes_compiled import products

            products(self.codes, self.ends, factors, product)
        elif self._in_columns is not None:
            for column in self._in_columns.T:
                product *= factors[column]
        else:
            for place in range(max(self.lengths, default=0)):
                rows = np.flatnonzero(self.lengths > place)
                product[rows] *= factors[self.codes[self.ends[rows] + place]]
        return product

    def sums(self, n_tokens: np.ndarray, copies: np.ndarray, counted: np.ndarray) -> np.ndarray:
        """Sums over the rows of every pair.

        Args:
            n_tokens: of every row, int64 (n,).
            copies: of every row, int64 (n,).
            counted: which rows count, bool (n,).

        Returns:
            float64 (p, 5), exact up to 2^53: all rows; of those that count the rows, their copies,
            their tokens, and the tokens of their copies.
        """
        sums = np.zeros((len(self.keys), 5))
        if EFFORT.pays():
            from isoloss.core.tag_codes_compiled import sums as add_sums

            add_sums(self.codes, self.ends, counted, n_tokens, copies, sums)
            return sums
        once = counted.astype(float)
        after = once * copies
        amounts = (np.ones(len(once)), once, after, once * n_tokens, after * n_tokens)
        for column, amount in enumerate(amounts):
            sums[:, column] = self._sum(amount)
        return sums

    def _sum(self, amount: np.ndarray) -> np.ndarray:
        """The sum of an amount over the rows of every pair, float64 (p,)."""
        if self._in_columns is not None:
            columns = self._in_columns.T
            return sum(np.bincount(c, amount, minlength=len(self.keys)) for c in columns)
        per_tag = np.repeat(amount, self.lengths)
        return np.bincount(self.codes, per_tag, minlength=len(self.keys))


def _encoded(texts: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """The place of every text in a list of the texts that there are, int (n,), and that list."""
    if not pa.types.is_dictionary(texts.type) or texts.null_count:
        plain = texts.cast(pa.string())
        texts = plain.dictionary_encode(null_encoding="encode")
    return texts.indices.to_numpy(), texts.dictionary
