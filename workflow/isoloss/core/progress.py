"""Progress of a job: a bar on a terminal, otherwise a line every minute."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator

from tqdm import tqdm

DELAY = 2.0  # seconds that work takes before a bar of its steps appears


class Progress:
    """A counter that shows how many of `total` items are done.

    The clock decides only when a line is written, never a result.
    """

    def __init__(self, total: int, label: str):
        self.total, self.label, self.done = total, label, 0
        self.begun = self.last = time.monotonic()
        self.bar = tqdm(total=total, desc=label, leave=False) if sys.stderr.isatty() else None

    def reach(self, count: int) -> None:
        """Show that `count` items are done."""
        if self.bar is not None:
            self.bar.update(count - self.done)
        self.done = count
        now = time.monotonic()
        if self.bar is None and now - self.last >= 60:
            self.last = now
            left = (now - self.begun) / max(count, 1) * (self.total - count)
            message = f"{self.label}: {count} of {self.total}, {left:.0f} s left"
            print(message, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Remove the bar."""
        if self.bar is not None:
            self.bar.close()


class Steps:
    """A bar for work whose steps are counted while it goes on; nothing where there is no terminal.

    It appears when the work has taken 2 seconds, and goes when it is closed.

    Args:
        label: of the bar.
    """

    def __init__(self, label: str):
        self.bar, self.over, self.clock = None, threading.Event(), None
        if sys.stderr.isatty():
            self.bar = tqdm(total=0, desc=label, leave=False, delay=DELAY)
            self.clock = threading.Thread(target=self._tick, daemon=True)
            self.clock.start()

    def _tick(self) -> None:
        """Show the bar when it is time, and every second how long the work has taken."""
        wait = DELAY
        while not self.over.wait(wait):
            self.bar.refresh()
            wait = 1.0

    def expect(self, count: int) -> None:
        """Say that there are so many more steps."""
        if self.bar is not None:
            self.bar.total += count

    def step(self) -> None:
        """Say that a step is done."""
        if self.bar is not None:
            self.bar.update()

    def of_one(self, _: object) -> None:
        """Say that one more step began whose number was not known before."""
        self.expect(1)
        self.step()

    def close(self) -> None:
        """Remove the bar."""
        self.over.set()
        if self.bar is not None:
            self.clock.join()
            self.bar.close()


def track(total: int, label: str) -> Iterator[None]:
    """Count `total` items; advance the iterator once an item."""
    progress = Progress(total, label)
    for count in range(total):
        progress.reach(count)
        yield
    progress.close()
