"""The set of digests of rows: the same answers as a dictionary, in few bytes."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.load import seen as seen_module
from isoloss.load.seen import Seen

# digests of which many are equal, and many others equal in their first 64 bits
HARD = st.tuples(st.sampled_from([0, 1, 255]), st.sampled_from([0, 7]), st.sampled_from([0, 4, 8]))


def in_words(batches, marks):
    """What a dictionary says: whether a row is the first, and the mark of the first."""
    known, firsts, mark_of = {}, [], []
    for digest, mark in zip(batches, marks, strict=True):
        firsts.append(digest not in known)
        mark_of.append(known.setdefault(digest, mark))
    return firsts, mark_of


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(HARD, st.integers(0, 3)), max_size=60),
    st.lists(st.integers(1, 20), min_size=1, max_size=5),
)
def test_it_answers_as_a_dictionary_does_however_rows_are_cut(rows, sizes):
    keys = [(a, b, c) for (a, b, c), _ in rows]
    marks = [mark for _, mark in rows]
    digests = np.zeros((len(rows), 16), np.uint8)
    digests[:, [0, 7, 11]] = np.array(keys, np.uint8).reshape(-1, 3)
    seen, first, mark_of, begin = Seen(), [], [], 0
    while begin < len(rows):
        size = sizes[begin % len(sizes)]
        batch = slice(begin, begin + size)
        answer = seen.add(digests[batch], np.array(marks[batch], np.uint8))
        first += answer[0].tolist()
        mark_of += answer[1].tolist()
        begin += size
    assert (first, mark_of) == in_words(keys, marks)


def test_two_digests_of_each_of_300_000_rows_take_at_most_32_bytes_while_runs_are_merged(
    monkeypatch,
):
    kept, working = [Seen(), Seen()], []
    merged = seen_module._merged

    def watched(one, other):
        """The runs that are merged are in no part now: they count, and what the merge makes."""
        both = merged(one, other)
        copies = 2 * len(both[0]) * (8 + 4) + 8 * len(both[0])  # joined, in order, the order
        given = sum(array.nbytes for array in (*one, *other))
        working.append(sum(seen.nbytes for seen in kept) + given + copies)
        return both

    monkeypatch.setattr(seen_module, "_merged", watched)
    rng, n = np.random.default_rng(0), 300_000
    marks = np.zeros(50_000, np.uint8)
    for _ in range(n // len(marks)):
        for seen in kept:
            first, _ = seen.add(rng.integers(0, 256, (len(marks), 16), np.uint8), marks)
            assert first.all()
    assert sum(seen.nbytes for seen in kept) == 2 * 12 * n
    assert max(working) <= 32 * n
