"""Streams of tokens, and the order in which their windows are seen."""

from __future__ import annotations

import itertools
from hashlib import blake2b

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_in_memory import dataset_of

from isoloss.core import tables
from isoloss.core.problems import TableError
from isoloss.core.seeds import generator
from isoloss.core.tokens import TokenArray, map_tokens, token_writer
from isoloss.tasks import language_model
from isoloss.tasks._dataset import read_dataset
from isoloss.tasks._tokens import shuffled, stream, take


def plain(rows, positions, copies=None):
    positions = np.asarray(positions, dtype=np.int64)
    dataset = dataset_of(rows)
    copies = np.ones_like(positions) if copies is None else np.asarray(copies)
    return stream(dataset.tokens, dataset.starts, positions, copies)


def places(data):
    return np.arange(len(data))


def laid_out(texts, positions, copies):
    """Tokens, rows and origins of a stream, each in an array of its whole length."""
    lengths = np.array([len(text) for text in texts], dtype=np.int64)
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    everything = np.frombuffer(b"".join(texts), dtype=np.uint8)
    order = np.repeat(positions, copies)
    ends = np.cumsum(lengths[order])
    total = int(ends[-1]) if len(ends) else 0
    within = np.arange(total) - np.repeat(ends - lengths[order], lengths[order])
    origin = np.repeat(starts[order], lengths[order]) + within
    return everything[origin], np.repeat(order, lengths[order]), origin


@given(
    st.lists(st.binary(max_size=6), min_size=1, max_size=12),
    st.data(),
    st.integers(1, 5),
)
def test_a_stream_read_by_its_index_is_the_stream_laid_out(texts, data, context):
    n = len(texts)
    kept = data.draw(st.lists(st.integers(0, n - 1), unique=True))
    positions = np.array(kept if data.draw(st.booleans()) else sorted(kept), dtype=np.int64)
    copies = data.draw(st.lists(st.integers(0, 3), min_size=len(kept), max_size=len(kept)))
    copies = np.array(copies, dtype=np.int64)
    tokens, row, origin = laid_out(texts, positions, copies)
    starts = np.cumsum([0, *map(len, texts)])
    source = TokenArray(np.frombuffer(b"".join(texts), dtype=np.uint8))
    read = stream(source, starts, positions, copies)
    at = places(read)
    assert len(read) == len(tokens)
    assert read.tokens(at).tobytes() == tokens.tobytes()
    assert read.row(at).tolist() == row.tolist()
    assert read.origin(at).tolist() == origin.tolist()
    assert read.digest == blake2b(tokens.tobytes(), digest_size=16).hexdigest()
    windows = read.windows(context)
    seen = np.array(data.draw(st.lists(st.booleans(), min_size=windows, max_size=windows)), bool)
    covered = np.flatnonzero(seen)[:, None] * context + np.arange(context)
    assert read.n_distinct(seen, context) == len(np.unique(origin[covered]))
    picked = np.flatnonzero(seen)
    windows_laid_out = tokens[picked[:, None] * context + np.arange(context + 1)]
    assert take(read, picked, context).tobytes() == windows_laid_out.tobytes()


def test_a_stream_lays_rows_out_in_order_with_copies_adjacent(rows):
    data = plain(rows, [4, 1, 7], np.array([1, 3, 2]))
    texts = rows["text"]
    assert data.tokens(places(data)).tobytes() == texts[4] + 3 * texts[1] + 2 * texts[7]
    lengths = [len(texts[i]) for i in (4, 1, 1, 1, 7, 7)]
    assert data.row(places(data)).tolist() == np.repeat([4, 1, 1, 1, 7, 7], lengths).tolist()


def test_copies_of_a_row_share_their_origin(rows):
    start = {i: int(rows["n_tokens"][:i].sum()) for i in (4, 1)}
    data = plain(rows, [4, 1], np.array([1, 2]))
    expected = [np.arange(start[i], start[i] + len(rows["text"][i])) for i in (4, 1, 1)]
    assert data.origin(places(data)).tolist() == np.concatenate(expected).tolist()


def test_digests_tell_contents_apart(rows):
    contents = [([0, 1], None), ([1, 0], None), ([0, 1], [1, 2]), ([0], None), ([], None)]
    digests = {plain(rows, np.array(p, dtype=int), c).digest for p, c in contents}
    assert len(digests) == len(contents)
    assert plain(rows, [0, 1], np.array([1, 1])).digest in digests


def test_tokens_that_were_given_back_are_read_again(rows, tmp_path):
    texts = list(rows["text"])
    with token_writer(tmp_path / "tokens.npy") as writer:
        for text in texts:
            writer.append(np.frombuffer(text, np.uint8))
    mapped = map_tokens(tmp_path / "tokens.npy")
    for _ in range(2):
        assert mapped.values.tobytes() == b"".join(texts)
        mapped.release()
    assert not mapped.values.flags.writeable


@pytest.mark.parametrize(
    "harm", [lambda c: c[:-1], lambda c: b"", lambda c: c[:20], lambda c: c + b"x"]
)
def test_a_token_file_that_is_not_whole_is_refused(tmp_path, harm):
    with token_writer(path := tmp_path / "tokens.npy") as writer:
        writer.append(np.frombuffer(b"some tokens", np.uint8))
    path.write_bytes(harm(path.read_bytes()))
    with pytest.raises(TableError, match=r"tokens.npy.*is damaged"):
        map_tokens(path)


def test_tokens_of_other_rows_are_refused(rows, tmp_path):
    tables.write("rows", rows, tmp_path / "rows.parquet")
    with token_writer(tmp_path / "tokens.npy") as writer:
        writer.append(np.frombuffer(b"".join(rows["text"]) + b"x", np.uint8))
    with pytest.raises(TableError, match="tokens where the rows have"):
        read_dataset(tmp_path / "rows.parquet", tmp_path / "tokens.npy")


def test_windows_hold_their_inputs_and_the_token_behind(rows):
    data = plain(rows, [0, 1, 2])
    context = 16
    last = data.windows(context) - 1
    windows = take(data, np.array([0, last]), context)
    assert windows[0].tolist() == data.tokens(places(data))[:17].tolist()
    assert windows[1].tolist() == data.tokens(places(data))[last * 16 : last * 16 + 17].tolist()
    assert (last + 1) * context + 1 <= len(data) < (last + 2) * context + 1


@pytest.mark.parametrize("batch_size", [1, 2, 5, 7, 40])
def test_every_item_is_seen_once_an_epoch_and_batches_go_on_across_epochs(batch_size):
    count = 6
    batches = shuffled(count, batch_size, generator(0, "order", "x"))
    drawn = list(itertools.islice(batches, 3 * count))
    assert {len(batch) for batch in drawn} == {batch_size}
    seen = np.concatenate(drawn)
    epochs = seen[: len(seen) // count * count].reshape(-1, count)
    assert (np.sort(epochs, axis=1) == np.arange(count)).all()
    assert len({tuple(epoch) for epoch in epochs[:3]}) == 3


def test_the_order_depends_on_the_generator_only():
    def first(seed, identity):
        batches = shuffled(100, 3, generator(seed, "o", identity))
        return np.concatenate(list(itertools.islice(batches, 10))).tolist()

    assert first(0, "a") == first(0, "a")
    assert first(0, "a") != first(0, "b")
    assert first(0, "a") != first(1, "a")


def windows_of(rows, positions, seed=0, n_unique=None):
    """The task of some training rows, in windows of 16 tokens; the last row is held out."""
    dataset = dataset_of(rows.assign(split=["train"] * (len(rows) - 1) + ["valid"]))
    training = plain(rows, positions)
    held_out = language_model.validation(dataset)
    return language_model.task(training, held_out, 1, seed, n_unique, context=16, vocabulary=256)


def test_data_shorter_than_a_window_is_an_error_with_what_to_do(rows):
    with pytest.raises(ValueError, match="0 training tokens do not fill a window of 16; lower"):
        windows_of(rows, np.array([], dtype=int))


def drawn_of(task, batches=400):
    drawn = itertools.islice(task.batches(3, generator(0, "order", "x")), batches)
    return np.concatenate(list(drawn))


def test_a_subset_is_seeded_and_part_of_every_larger_one(rows):
    positions = np.arange(len(rows) - 1)
    everything = windows_of(rows, positions)
    assert set(drawn_of(everything)) == set(range(everything.n_items))
    small, large, other = (
        windows_of(rows, positions, seed, n_unique)
        for seed, n_unique in ((0, 5 * 16), (0, 9 * 16), (1, 5 * 16))
    )
    sets = [set(drawn_of(task)) for task in (small, large, other)]
    assert [len(each) for each in sets] == [5, 9, 5]
    assert sets[0] < sets[1] and sets[0] != sets[2]
    assert small.n_items == everything.n_items  # numbers of items mean the same in all of them
    seen = np.isin(np.arange(small.n_items), drawn_of(small))
    assert small.n_unique(seen) == 5 * 16


def test_a_subset_larger_than_the_data_is_an_error_with_both_numbers(rows):
    everything = windows_of(rows, [0, 1]).n_items * 16
    reason = rf"n_unique is {everything + 16} tokens, and {everything} are there"
    with pytest.raises(ValueError, match=reason):
        windows_of(rows, [0, 1], n_unique=everything + 16)
