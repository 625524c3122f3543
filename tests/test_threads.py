"""Results of threads come in the order of the items, and errors where they belong."""

import threading
import time

import pytest

from isoloss.core.threads import in_order


@pytest.mark.parametrize("threads", [1, 2, 5])
@pytest.mark.parametrize("count", [0, 1, 2, 30])
def test_results_are_in_the_order_of_the_items(threads, count):
    def slow_at_first(i):
        time.sleep(0.002 if i % 3 == 0 else 0)
        return i * i

    assert list(in_order(slow_at_first, iter(range(count)), threads)) == [
        i * i for i in range(count)
    ]


@pytest.mark.parametrize("threads", [1, 3])
def test_an_error_is_raised_where_its_result_would_be(threads):
    results = in_order(lambda i: 6 // (3 - i), range(10), threads)
    assert [next(results) for _ in range(3)] == [2, 3, 6]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_few_items_are_taken_ahead_and_none_when_the_reader_stops():
    taken = []
    results = in_order(lambda i: i, map(lambda i: taken.append(i) or i, range(1000)), 2)
    assert [next(results) for _ in range(5)] == list(range(5))
    results.close()
    assert len(taken) <= 10
    assert threading.active_count() < 10
