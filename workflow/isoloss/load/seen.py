"""The digests of all rows so far, in 12 bytes each.

A digest is kept as its first 94 bits, and two bits say which side the row is on: among 10^9 rows of
different content, two are taken for one with a probability of 3e-11. Digests are divided by their
first bits into parts, each of which is a few sorted runs. A run at least half as long as the one
before is merged with it, which takes further memory for that part only.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

PARTS = 16  # a power of 2
_SHIFT = np.uint64(64 - (PARTS - 1).bit_length())
_MARK = np.uint32(3)  # the bits of the mark

Run = tuple[np.ndarray, np.ndarray]  # the first 64 bits, sorted; 30 further ones and the mark


class Seen:
    """A set of digests, each with a mark, that is asked and added to batch by batch.

    >>> seen = Seen()
    >>> digests = np.array([[1] * 16, [2] * 16, [1] * 16], np.uint8)
    >>> [part.tolist() for part in seen.add(digests, np.array([0, 1, 1]))]
    [[True, True, False], [0, 1, 0]]
    """

    def __init__(self) -> None:
        self._parts: list[list[Run]] = [[] for _ in range(PARTS)]

    @property
    def nbytes(self) -> int:
        """Bytes of the digests that are kept."""
        return sum(high.nbytes + low.nbytes for runs in self._parts for high, low in runs)

    def add(self, digests: np.ndarray, marks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Add the digests that are not known yet.

        Args:
            digests: of rows in order, uint8 (n, 12 or more), evenly distributed.
            marks: of the rows, 0 to 3, (n,).

        Returns:
            Whether each row is the first one with its digest, bool (n,), and the mark of the first
            one, uint8 (n,).
        """
        high = digests[:, :8].copy().view(">u8")[:, 0].astype(np.uint64)
        low = digests[:, 8:12].copy().view(">u4")[:, 0].astype(np.uint32) & ~_MARK
        order = np.lexsort((low, high))  # stable: of equal digests the first row comes first
        high, low, mark = high[order], low[order], marks[order].astype(np.uint32)
        new = np.ones(len(order), dtype=bool)
        new[1:] = (high[1:] != high[:-1]) | (low[1:] != low[:-1])
        known, known_mark = self._look_up(high[new], low[new])
        mark_of = np.where(known, known_mark, mark[new])
        self._insert(high[new][~known], (low[new] | mark_of)[~known])
        first, first_mark = np.zeros(len(order), dtype=bool), np.zeros(len(order), np.uint8)
        first[order[new]] = ~known
        first_mark[order] = mark_of[np.cumsum(new) - 1]
        return first, first_mark

    def _look_up(self, high: np.ndarray, low: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Whether sorted digests are known, bool (n,), and the marks of those, uint32 (n,)."""
        known, mark = np.zeros(len(high), dtype=bool), np.zeros(len(high), np.uint32)
        for part, at in _divided(high):
            for run in self._parts[part]:
                _look_into(run, high[at], low[at], known[at], mark[at])
        return known, mark

    def _insert(self, high: np.ndarray, low: np.ndarray) -> None:
        """Add sorted digests that are not known."""
        for part, at in _divided(high):
            runs = self._parts[part]
            runs.append((high[at].copy(), low[at].copy()))
            while len(runs) > 1 and 2 * len(runs[-1][0]) >= len(runs[-2][0]):
                runs.append(_merged(runs.pop(), runs.pop()))


def _divided(high: np.ndarray) -> list[tuple[int, slice]]:
    """The parts that sorted digests are in, and where those of each are."""
    edges = np.searchsorted(high >> _SHIFT, np.arange(PARTS + 1, dtype=np.uint64)).tolist()
    ends = pairwise(edges)
    return [(part, slice(*pair)) for part, pair in enumerate(ends) if pair[0] < pair[1]]


def _look_into(
    run: Run, high: np.ndarray, low: np.ndarray, known: np.ndarray, mark: np.ndarray
) -> None:
    """Set `known` and `mark` of the digests that are in a run."""
    place = np.searchsorted(run[0], high)
    left = np.flatnonzero(place < len(run[0]))
    while len(left):  # again only where the first 64 bits of several digests are equal
        left = left[run[0][place[left]] == high[left]]
        values = run[1][place[left]]
        equal = (values & ~_MARK) == low[left]
        known[left[equal]], mark[left[equal]] = True, values[equal] & _MARK
        left = left[~equal]
        place[left] += 1
        left = left[place[left] < len(run[0])]


def _merged(one: Run, other: Run) -> Run:
    """Both runs in one."""
    high = np.concatenate([one[0], other[0]])
    order = np.argsort(high, kind="stable")
    return high[order], np.concatenate([one[1], other[1]])[order]
