"""How far a job is: a bar on a terminal, a line a minute anywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator

from tqdm import tqdm


def track(total: int, label: str) -> Iterator[None]:
    """Count `total` items; advance the iterator once an item.

    The clock decides only when a line is written, never a result.
    """
    if sys.stderr.isatty():
        yield from (None for _ in tqdm(range(total), desc=label, leave=False))
        return
    begun = last = time.monotonic()
    for done in range(total):
        now = time.monotonic()
        if now - last >= 60:
            last = now
            left = (now - begun) / max(done, 1) * (total - done)
            print(f"{label}: {done} of {total}, {left:.0f} s left", file=sys.stderr, flush=True)
        yield
