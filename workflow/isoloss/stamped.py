"""What was made of files' contents, kept between processes and made again for files that changed.

A file is taken to be unchanged while its size and its times of change are what they were, unless it
was changed within two seconds of the look at it: a clock may not tell two such changes apart.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from isoloss import tables

_CLOCK = 2_000_000_000  # nanoseconds; file systems keep times this exactly at least


class Stamped:
    """A function of a file's content whose values are kept in a JSON file.

    Args:
        kept: the JSON file; one that is not there or cannot be read counts as empty.
        make: the function, of a path; it returns what JSON can say (lists, not tuples).
        version: what else the values depend on, such as the code of `make`. Values that were kept
            under another version are not used.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "text").write_text("twelve bytes")
        >>> sizes = Stamped(folder / "kept.json", lambda path: len(path.read_bytes()), "1")
        >>> sizes.of(folder / "text")
        12
        >>> sizes.save()
    """

    def __init__(self, kept: Path, make: Callable[[Path], Any], version: str):
        self.kept, self.make, self.version = kept, make, version
        self._before = self._read()
        self._now: dict[str, list] = {}

    def _read(self) -> dict[str, list]:
        try:
            content = json.loads(self.kept.read_text(encoding="utf-8"))
            files = content["files"] if content["version"] == self.version else {}
            whole = all(isinstance(e, list) and len(e) == 3 for e in files.values())
        except (FileNotFoundError, NotADirectoryError):
            return {}
        except (OSError, ValueError, RecursionError, TypeError, KeyError, AttributeError):
            return {}  # a cache that is damaged holds nothing: all is made again
        return files if whole else {}

    def of(self, path: Path) -> Any:
        """The function's value for a file as it is now.

        Raises:
            OSError: the file cannot be read.
        """
        about = path.stat()
        stamp = [about.st_size, about.st_mtime_ns, about.st_ctime_ns]
        name = str(path)
        entry = self._now.get(name) or self._before.get(name)
        if entry is None or entry[0] != stamp or entry[1] - max(stamp[1:]) < _CLOCK:
            looked = time.time_ns()  # before it is read: what changes from here on is seen
            entry = [stamp, looked, self.make(path)]
        self._now[name] = entry
        return entry[2]

    def save(self) -> None:
        """Keep the values of the files that were asked for; nothing is written if none changed."""
        if self._now != self._before:
            content = {"version": self.version, "files": self._now}
            tables.write_text(self.kept, json.dumps(content))
