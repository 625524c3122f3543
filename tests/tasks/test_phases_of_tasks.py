"""A task in phases: which items come when, and what was seen of the dataset."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from images_in_memory import labelled, task_of

from isoloss.core.seeds import generator
from isoloss.tasks._phases import Phase, Phased


def images(rows):
    """The task of some rows of 20 small images, each an item."""
    return task_of(labelled(20, 5), rows=np.asarray(rows))


def batches(task, size, count, purpose="order"):
    return list(islice(task.batches(size, generator(0, purpose, "x")), count))


def test_batches_come_from_one_phase_after_the_other_and_at_the_end_from_the_last():
    task = Phased(images(range(20)), [Phase(3, 0, 8), Phase(2, 8, 11), Phase(4, 12, 20)])
    drawn = batches(task, 4, 12)
    assert all(items.max() < 8 for items in drawn[:3])
    assert all(items.min() >= 8 and items.max() < 11 for items in drawn[3:5])
    assert all(items.min() >= 12 for items in drawn[5:])
    assert sorted(np.concatenate(drawn[5:7])) == list(range(12, 20))  # an epoch of the last phase


@given(st.integers(1, 20), st.integers(1, 7), st.integers(1, 30))
def test_a_single_phase_has_the_batches_of_its_items_alone(n, size, count):
    alone = images(range(n))
    phased = Phased(alone, [Phase(count, 0, alone.n_items)])
    assert np.array_equal(batches(phased, size, count), batches(alone, size, count))


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 9))
def test_neither_the_length_nor_the_number_of_later_phases_changes_an_order(first, more, size):
    task = images(range(20))
    short = Phased(task, [Phase(first, 0, 10), Phase(5, 10, 20)])
    long = Phased(task, [Phase(first + more, 0, 10), Phase(5, 10, 20), Phase(1, 0, 20)])
    a, b = batches(short, size, first + 5), batches(long, size, first + more + 5)
    assert np.array_equal(a[:first], b[:first])
    assert np.array_equal(a[first:], b[first + more :])


def test_phases_have_orders_of_their_own():
    task = Phased(images(range(20)), [Phase(2, 0, 10), Phase(2, 0, 10)])
    drawn = np.concatenate(batches(task, 5, 4)).reshape(2, 10)
    assert not np.array_equal(drawn[0], drawn[1])
    assert np.array_equal(np.sort(drawn[0]), np.sort(drawn[1]))


def test_a_row_that_two_phases_have_seen_is_one_example():
    rows = np.array([0, 1, 2, 3, 2, 3, 4])
    phased = Phased(images(rows), [Phase(1, 0, 4), Phase(1, 4, 7)], rows)
    assert phased.n_unique(np.array([1, 1, 1, 1, 1, 1, 1], bool)) == 5
    assert phased.n_unique(np.array([0, 0, 1, 0, 1, 0, 0], bool)) == 1


def test_a_phase_without_items_is_an_error_that_says_which():
    with pytest.raises(ValueError, match=r"phase 2 do not fill an item .* load more"):
        Phased(images(range(4)), [Phase(1, 0, 4), Phase(1, 5, 4)])
