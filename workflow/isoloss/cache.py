"""Values kept between processes because they are slow to find: digests of files, mostly.

A cache is never needed: one that is lacking, damaged or not writable costs time and nothing else,
and no result depends on it. It stands in `results/.cache/`, and can be deleted at any time.
"""

from __future__ import annotations

import hashlib
import json
import time
from contextlib import suppress
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss import tables

FOLDER = ".cache"
GRANULARITY = 2 * 10**9  # nanoseconds: no file system's clock ticks more slowly


class Cache:
    """A mapping from text to JSON values that is kept in a file.

    Args:
        path: the file, which need not exist; None to keep nothing.

    >>> cache = Cache(None)
    >>> cache.put("a", [1, 2])
    >>> cache.get("a"), cache.get("b")
    ([1, 2], None)
    """

    def __init__(self, path: Path | None):
        self._path = path
        self._values: dict[str, Any] = _read(path) if path is not None else {}
        self._changed = False

    def get(self, key: str) -> Any:
        """The value of a key; None if there is none."""
        return self._values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Set the value of a key; `save` writes it."""
        if self._values.get(key) != value:
            self._values[key] = value
            self._changed = True

    def save(self) -> None:
        """Write the file if a value has changed; of several writers the last one's file stays.

        What other processes have written since is kept, but for the keys that are set here.
        """
        if not self._changed or self._path is None:
            return
        self._values = _read(self._path) | self._values
        text = json.dumps({"checksum": _checksum(self._values), "values": self._values})
        with suppress(OSError):  # no room, or no leave to write: it is found anew the next time
            tables.write_text(self._path, text)
            self._changed = False


def _read(path: Path) -> dict[str, Any]:
    """The values of a cache file; none if it is lacking or damaged."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        values = content["values"]
        whole = isinstance(values, dict) and content["checksum"] == _checksum(values)
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return {}
    return values if whole else {}


def _checksum(values: dict[str, Any]) -> str:
    text = json.dumps(values, sort_keys=True)
    return blake2b(text.encode(), digest_size=16).hexdigest()


class Fingerprints:
    """Digests of files, read again only where a file has changed.

    A file is taken for unchanged if path, inode, size, and the times of its last change in
    nanoseconds (of content, and of the inode) are those at which it was read. A file that had
    changed less than two seconds before it was read is not remembered: it could change again
    within one tick of the file system's clock and keep its times.

    Args:
        cache: where fingerprints are kept; None to read every file.
        key: under which they stand there: fingerprints of files that are not asked for any more
            are dropped with the next `save`.
    """

    def __init__(self, cache: Cache | None = None, key: str = "files"):
        self._cache, self._key = cache, key
        known = cache.get(key) if cache is not None else None
        self._known: dict[str, Any] = known if isinstance(known, dict) else {}
        self._kept: dict[str, Any] = {}

    def of(self, path: Path) -> tuple[int, str]:
        """Size and digest (BLAKE2b, 16 bytes, hex) of a file's content.

        Raises:
            OSError: it cannot be read.
        """
        name, stamp = str(path.absolute()), _stamp(path)
        known = self._known.get(name)
        if isinstance(known, dict) and known.get("stamp") == stamp:
            self._kept[name] = known
            return stamp[1], known["digest"]
        begun = time.time_ns()
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, lambda: blake2b(digest_size=16)).hexdigest()
            size = file.tell()
        at_rest = max(stamp[2:]) + GRANULARITY <= begun and stamp == _stamp(path)
        if at_rest and size == stamp[1]:
            self._kept[name] = {"stamp": stamp, "digest": digest}
        return size, digest

    def save(self) -> None:
        """Keep what was asked for since, if there is a cache."""
        if self._cache is not None:
            self._cache.put(self._key, self._kept)
            self._cache.save()


def _stamp(path: Path) -> list[int]:
    about = path.stat()
    return [about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns]
