"""Work on items in processes, with the results in the order of the items."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from isoloss.core.problems import IsolossError, Problem

Item = TypeVar("Item")
Result = TypeVar("Result")

_work: dict[str, Callable[[Any], Any]] = {}  # of a worker process: what it was started for


def in_processes(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """What a function makes of every item, in their order.

    Workers are forks of this process, so that the function can be anything (a closure, a function
    typed in a notebook); items and results are sent, and have to be picklable. An error is raised
    where its result would be.

    Args:
        function: of one item; its linear algebra has one thread in a worker.
        items: a few hundred at most: all are sent at once.
        workers: processes; 1 for all of it in this one.

    Raises:
        IsolossError: a worker was killed.

    Example:
        >>> list(in_processes(str.upper, "abc", workers=2))
        ['A', 'B', 'C']
    """
    if workers == 1:
        yield from map(function, items)
        return
    fork = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(workers, fork, initializer=_start, initargs=(function,)) as pool:
            yield from pool.map(_do, items)
    except BrokenProcessPool as error:
        reason = "a worker process was ended (killed by hand, or out of memory)"
        raise IsolossError(Problem("workers", reason, "use fewer of them")) from error


def _start(function: Callable[[Any], Any]) -> None:
    """Keep the function in a worker, and one thread for its linear algebra."""
    from threadpoolctl import threadpool_limits

    threadpool_limits(1)
    _work["function"] = function


def _do(item: Any) -> Any:
    return _work["function"](item)
