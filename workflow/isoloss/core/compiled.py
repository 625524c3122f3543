"""Functions compiled by numba (extra `fast`), and when they pay."""

from __future__ import annotations

import sys
from collections.abc import Callable

PATIENCE = 300_000  # hashes, after which compiled code is imported: half a second or more
MANY = 1_500_000  # hashes that are known to come, from which the first of them is compiled


class Effort:
    """The choice between plain and compiled code in a process, by the work so far.

    Both give the same bits. Compiled hashes take an eighth of the time, but half a second or more
    before they can begin, so the first ones are plain unless many are known to come.
    """

    def __init__(self) -> None:
        self._n_hashes = 0
        self._have: bool | None = None

    def expect(self, n: int) -> None:
        """Say that about n hashes will be asked for."""
        if n >= MANY:
            self._n_hashes = max(self._n_hashes, PATIENCE)

    def pays(self, n: int = 0) -> bool:
        """Whether compiled code pays for n further hashes and can be had."""
        self._n_hashes += n
        if self._n_hashes < PATIENCE or sys.byteorder != "little":
            return False
        if self._have is None:
            try:
                import numba  # noqa: F401
            except ModuleNotFoundError as error:
                if error.name != "numba":
                    raise
                self._have = False
            else:
                self._have = True
        return self._have


EFFORT = Effort()


def compiled(function: Callable, *signatures: str) -> Callable:
    """The function compiled, free of the interpreter's lock; kept on disk where it can be.

    Args:
        function: of arrays, in the part of Python that numba knows.
        signatures: types of its arguments and result, in numba's words; none where only other
            compiled functions call it.
    """
    import numba

    try:
        return numba.njit(list(signatures) or None, nogil=True, cache=True)(function)
    except RuntimeError:  # no folder can be written
        return numba.njit(list(signatures) or None, nogil=True)(function)


def given(kind: str) -> str:
    """The type of an array that is only read, in numba's words: Arrow's cannot be written to."""
    return f"Array({kind}, 1, 'C', readonly=True)"
