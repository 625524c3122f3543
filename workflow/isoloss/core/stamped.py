"""A cache of values computed from files' contents, kept between processes.

A file is taken to be unchanged while its size and its times of change are what they were, unless it
was changed within two seconds of the look at it: a clock may not tell two such changes apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss.core import tables

_CLOCK = 2_000_000_000  # nanoseconds; file systems keep times this exactly at least


class Stamped:
    """A function of a file's content whose values are kept in a JSON file.

    Args:
        kept: the JSON file; one that is not there or cannot be read counts as empty.
        make: the function, of a path; it returns what JSON can say (lists, not tuples).
        version: what else the values depend on, such as the code of `make`. Values that were kept
            under another version are not used.
        now: the clock, in nanoseconds.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "text").write_text("twelve bytes")
        >>> sizes = Stamped(folder / "kept.json", lambda path: len(path.read_bytes()), "1")
        >>> sizes.of(folder / "text")
        12
        >>> sizes.save()
    """

    def __init__(
        self,
        kept: Path,
        make: Callable[[Path], Any],
        version: str,
        now: Callable[[], int] = time.time_ns,
    ):
        self.kept, self.make, self.version, self.now = kept, make, version, now
        self._before = self._read()
        self._now: dict[str, list] = {}

    def _read(self) -> dict[str, list]:
        try:
            content = json.loads(self.kept.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return {}  # a missing or damaged cache is empty: every value is computed again
        if not isinstance(content, dict) or content.get("version") != self.version:
            return {}
        files = content.get("files")
        return files if content.get("checksum") == _checksum(files) else {}

    def of(self, path: Path) -> Any:
        """The function's value for the present content of a file.

        Raises:
            OSError: the file cannot be read.
        """
        stamp = _stamp(path)
        entry = self._valid(path, stamp)
        if entry is None:
            looked = self.now()  # before the file is read, so that a later change is noticed
            entry = [stamp, looked, self.make(path)]
        self._now[str(path)] = entry
        return entry[2]

    def kept_of(self, path: Path) -> Any | None:
        """The value that was kept for a file; None if there is none or the file changed since."""
        entry = self._valid(path, _stamp(path))
        return None if entry is None else entry[2]

    def _valid(self, path: Path, stamp: list[int]) -> list | None:
        """The entry of a file that has been as it is for long enough."""
        entry = self._now.get(str(path)) or self._before.get(str(path))
        if entry is None or entry[0] != stamp or entry[1] - max(stamp[1:]) < _CLOCK:
            return None
        return entry

    def save(self) -> None:
        """Keep the values of the files that were asked for; nothing is written if none changed."""
        if self._now != self._before:
            about = {"version": self.version, "checksum": _checksum(self._now)}
            with suppress(OSError):  # full or read-only disk: computed again next time
                tables.write_text(self.kept, json.dumps({**about, "files": self._now}))


def _stamp(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_size, about.st_mtime_ns, about.st_ctime_ns]


def _checksum(files: Any) -> str:
    return blake2b(json.dumps(files).encode(), digest_size=16).hexdigest()
