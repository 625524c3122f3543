"""Work on items in threads, with the results in the order of the items."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")
_END = object()


def in_order(
    function: Callable[[Item], Result], items: Iterable[Item], threads: int
) -> Iterator[Result]:
    """What a function makes of every item, in their order.

    It pays where the function, and what the items come from, work outside of Python, as Arrow and
    NumPy do. An error is raised where its result would be.

    Args:
        function: called in several threads at once.
        items: taken in a thread of their own, one after the other, a few of them ahead.
        threads: that work on items at once; 1 for all of it in this one.

    Example:
        >>> list(in_order(str.upper, "abc", threads=2))
        ['A', 'B', 'C']
    """
    if threads == 1:
        yield from map(function, items)
        return
    source, waiting = iter(items), deque()

    def work(item: Future[Any]) -> Any:
        value = item.result()
        return _END if value is _END else function(value)

    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(threads) as workers:
        while True:
            waiting.append(workers.submit(work, reader.submit(next, source, _END)))
            if len(waiting) > threads:
                result = waiting.popleft().result()
                if result is _END:
                    return
                yield result
