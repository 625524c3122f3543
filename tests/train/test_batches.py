"""Streams of tokens, and the order in which their windows are seen."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from isoloss.core.seeds import generator
from isoloss.train.batches import stream, take, training_batches


def plain(rows, positions, copies=None):
    positions = np.asarray(positions)
    return stream(rows, positions, np.ones_like(positions) if copies is None else copies)


def test_a_stream_lays_rows_out_in_order_with_copies_adjacent(rows):
    data = plain(rows, [4, 1, 7], np.array([1, 3, 2]))
    texts = rows["text"]
    assert data.tokens.tobytes() == texts[4] + 3 * texts[1] + 2 * texts[7]
    lengths = [len(texts[i]) for i in (4, 1, 1, 1, 7, 7)]
    assert data.row.tolist() == np.repeat([4, 1, 1, 1, 7, 7], lengths).tolist()


def test_copies_of_a_row_share_their_origin(rows):
    start = {i: int(rows["n_tokens"][:i].sum()) for i in (4, 1)}
    data = plain(rows, [4, 1], np.array([1, 2]))
    expected = [np.arange(start[i], start[i] + len(rows["text"][i])) for i in (4, 1, 1)]
    assert data.origin.tolist() == np.concatenate(expected).tolist()
    everything = b"".join(rows["text"])
    assert data.tokens.tobytes() == bytes(everything[o] for o in data.origin)


def test_digests_tell_contents_apart(rows):
    contents = [([0, 1], None), ([1, 0], None), ([0, 1], [1, 2]), ([0], None), ([], None)]
    digests = {plain(rows, np.array(p, dtype=int), c).digest() for p, c in contents}
    assert len(digests) == len(contents)
    assert plain(rows, [0, 1], np.array([1, 1])).digest() in digests


def test_windows_hold_their_inputs_and_the_token_behind(rows):
    data = plain(rows, [0, 1, 2])
    context = 16
    last = data.windows(context) - 1
    found = take(data, np.array([0, last]), context)
    assert found[0].tolist() == data.tokens[:17].tolist()
    assert found[1].tolist() == data.tokens[last * 16 : last * 16 + 17].tolist()
    assert (last + 1) * context + 1 <= len(data.tokens) < (last + 2) * context + 1


@pytest.mark.parametrize("batch_size", [1, 2, 5, 7, 40])
def test_every_window_is_seen_once_an_epoch_and_batches_go_on_across_epochs(rows, batch_size):
    data = plain(rows, [0, 1])
    count = data.windows(16)
    batches = training_batches(data, 16, batch_size, generator(0, "order", "x"))
    found = list(itertools.islice(batches, 3 * count))
    assert {len(batch) for batch in found} == {batch_size}
    seen = np.concatenate(found)
    epochs = seen[: len(seen) // count * count].reshape(-1, count)
    assert (np.sort(epochs, axis=1) == np.arange(count)).all()
    assert len({tuple(epoch) for epoch in epochs[:3]}) == 3


def test_the_order_depends_on_the_generator_only(rows):
    def first(seed, identity):
        batches = training_batches(plain(rows, [0, 1, 2]), 16, 3, generator(seed, "o", identity))
        return np.concatenate(list(itertools.islice(batches, 10))).tolist()

    assert first(0, "a") == first(0, "a")
    assert first(0, "a") != first(0, "b")
    assert first(0, "a") != first(1, "a")


def test_data_shorter_than_a_window_is_an_error_not_an_endless_search(rows):
    class Impatient:
        calls = 0

        def permutation(self, count):
            self.calls += 1
            if self.calls > 2:
                pytest.fail("the search does not end")
            return np.arange(count)

    data = plain(rows, np.array([], dtype=int))
    with pytest.raises(Exception, match="window"):
        next(training_batches(data, 16, 2, Impatient()))
