"""Read a table's bytes from a path or an address, once and within limits.

Whoever needs a table of runs, the check of a study, the triggers of its jobs or a job, asks a
`Sources`, so that digest and rows are of the same bytes. What came from the web is kept beside the
results for the jobs.
"""

from __future__ import annotations

import glob
import json
import os
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.core.addresses import GIVE, Address, shown
from isoloss.core.escape import visible
from isoloss.core.folders import log_files
from isoloss.core.paths import KINDS
from isoloss.core.problems import IsolossError, Problem, TableError
from isoloss.core.saved import LISTS, saved_files

MAX_SECONDS, MAX_MIB = 120.0, 256.0
_PIECE = 1 << 24  # bytes that are read at once: a limit may be larger than the memory
_MOST_FILES = 10_000  # of a folder or a pattern
# how the files of tables are called: what is read in a folder, a zip or a tar with other files
_ENDINGS = (".csv", ".tsv", ".tab", ".txt", ".dat", ".json", ".jsonl", ".ndjson", ".parquet")
_ENDINGS += (".pq", ".arrow", ".feather", ".ipc", ".xlsx", ".md", ".tex")
_PACKED = ("", ".gz", ".zst", ".xz", ".bz2", ".lz4")
TABLE_SUFFIXES = tuple(ending + packed for ending in _ENDINGS for packed in _PACKED)
KEPT = "fetched"  # the folder of what was fetched, below results/<study>


@dataclass(frozen=True)
class Limits:
    """What reading a table may take.

    Attributes:
        max_seconds: for all of a download.
        max_mib: MiB of the table as it comes, unpacked, and in memory at 8 bytes a cell.
    """

    max_seconds: float = MAX_SECONDS
    max_mib: float = MAX_MIB

    def __post_init__(self):
        for name, most in (("max_seconds", 86400), ("max_mib", 2**20)):
            value = getattr(self, name)
            if not 0 < value <= most:
                reason = f"found {value:g}"
                raise IsolossError(Problem(name, reason, f"needs more than 0, and at most {most}"))

    @property
    def max_bytes(self) -> int:
        """The size limit in bytes."""
        return int(self.max_mib * 2**20)


@dataclass(frozen=True)
class Source:
    """The bytes of a table.

    Attributes:
        address: where they are from.
        parts: the bytes; several where there are several files, or a dataset was saved in several.
        saved: whether they are the Arrow files of a dataset that `datasets` saved to disk.
        limits: for all that is made of them.
        names: of several files, what each is called.
        logs: whether the files are logs of runs, and not tables with a row a run.
        unread: what could not be read of a folder of logs.
        others: of such a folder, ending to number of the files that are not logs.
    """

    address: Address
    parts: tuple[bytes, ...] = field(repr=False)
    saved: bool = False
    limits: Limits = Limits()
    names: tuple[str, ...] = ()
    logs: bool = False
    unread: tuple[Problem, ...] = ()
    others: Mapping[str, int] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The name of the source in messages, without secrets."""
        return self.address.label

    @cached_property
    def digest(self) -> str:
        """Digest of the bytes, of the names of several files, and of their being logs."""
        digest = blake2b(b"logs" if self.logs else b"", digest_size=16)
        for part in self.parts:
            digest.update(part)
        for name, part in zip(self.names, self.parts, strict=bool(self.names)):
            digest.update(f"{len(part)} {len(name)} {name}".encode())
        return digest.hexdigest()

    def files(self) -> list[Source]:
        """Each of several files as a source of its own; itself if it is one."""
        if not self.names:
            return [self]
        return [self.member(name, part) for name, part in zip(self.names, self.parts, strict=True)]

    def member(self, name: str, content: bytes, alone: bool = False) -> Source:
        """A file of this source, such as one of a folder or a zip.

        Args:
            name: of the file.
            content: its bytes.
            alone: whether it is the only one.
        """
        label = _below_logs(self.label, name) if self.logs else f"{self.label}, {visible(name)}"
        address = replace(self.address, label=label)
        return replace(
            self,
            address=address,
            parts=(content,),
            names=() if alone else (name,),
            saved=False,
            logs=False,
            unread=(),
        )

    def error(self, reason: str, remedy: str) -> TableError:
        """A TableError about this source."""
        return self.address.error(reason, remedy)

    def too_large(self, what: str) -> TableError:
        """An error that names the limit of size."""
        return _over(self.address, "max_mib", self.limits.max_mib, "MiB", what)

    def too_slow(self, what: str) -> TableError:
        """An error that names the limit of time."""
        return _over(self.address, "max_seconds", self.limits.max_seconds, "seconds", what)


def open_source(
    source: str | Path | Sequence[str | Path] | Source, limits: Limits | None = None
) -> Source:
    """The bytes of a path or address as a person gives it, or of several; a source as it is.

    Raises:
        TableError: it cannot be read, or not within the limits.
    """
    if isinstance(source, Source):
        return source
    limits = limits or Limits()
    if isinstance(source, str | Path):
        return read_address(Address.given(str(source)), limits)
    return read_addresses([Address.given(str(one)) for one in source], limits)


def read_addresses(addresses: Sequence[Address], limits: Limits) -> Source:
    """The bytes at several addresses as the files of one source.

    Raises:
        TableError: one cannot be read, is a saved dataset, or they are not within the limits.
    """
    if len(addresses) == 1:
        return read_address(addresses[0], limits)
    if not addresses:
        raise TableError(Problem("table", "an empty list", "name at least one table"))
    parts: list[bytes] = []
    names: list[str] = []
    for address in addresses:
        left = limits.max_bytes - sum(map(len, parts))
        one = read_address(address, replace(limits, max_mib=max(left, 1) / 2**20))
        if one.saved:
            raise address.error("is a saved dataset among other tables", "give it by itself")
        parts += one.parts
        names += [_inside(address, name) for name in one.names] or [address.label]
    labels = [address.label for address in addresses]
    more = f" and {len(labels) - 3} more" if len(labels) > 3 else ""
    whole = replace(addresses[0], label=", ".join(labels[:3]) + more)
    return Source(whole, tuple(parts), limits=limits, names=_without_folder(names))


def _inside(address: Address, name: str) -> str:
    """The name of a file of a folder or pattern, with the folder."""
    folder = address.label if not _is_pattern(address.label) else str(_fixed(Path(address.label)))
    return name if folder == "." else f"{folder}/{name}"


def _without_folder(names: Sequence[str]) -> tuple[str, ...]:
    """The names without the folder that they have in common."""
    folders = {name.rpartition("/")[0] for name in names}
    if len(folders) == 1:
        return tuple(name.rpartition("/")[2] for name in names)
    return tuple(names)


def read_address(address: Address, limits: Limits) -> Source:
    """The bytes at an address: of a file, of a saved dataset's files, or of the web.

    Raises:
        TableError: it cannot be read, or not within the limits.
    """
    path = address.path
    if path is None:
        return Source(address, (_fetch(address, limits),), limits=limits)
    files = _tables_in(address, path)
    saved = not files and os.path.isdir(path)  # never raises
    if not files and not saved:
        return Source(address, (_read(address, path, limits.max_bytes, limits),), limits=limits)
    parts: list[bytes] = []
    for file in files or _saved_files(address, path):
        left = limits.max_bytes - sum(map(len, parts))
        parts.append(_read(address, file, left, limits))
    names = tuple(file.relative_to(_fixed(path)).as_posix() for file in files)
    return Source(address, tuple(parts), saved, limits, names)


def read_logs(address: Address, limits: Limits) -> Source:
    """The bytes of all files of a folder that may be logs of runs, at any depth, or of one file.

    Files that cannot be read are in `unread` of the result, and the others are read.

    Raises:
        TableError: there is no such folder, it has no logs, or they are not within the limits.
    """
    path = address.path
    if path is None:
        raise address.error("is a web address, not a folder of logs", "fetch the logs first")
    if not os.path.isdir(path):
        content = _read(address, path, limits.max_bytes, limits)
        return Source(address, (content,), limits=limits, names=(path.name,), logs=True)
    try:
        files = log_files(path)
    except (OSError, ValueError) as error:
        reason = f"cannot be read ({getattr(error, 'strerror', None) or error})"
        raise address.error(reason, "give a folder with logs of runs") from error
    unread = [
        Problem(_below_logs(address.label, name), f"cannot be listed ({reason})", "")
        for name, reason in files.closed.items()
    ]
    parts: dict[str, bytes] = {}
    left = limits.max_bytes
    for name, file in files.logs.items():
        place = Address(str(file), _below_logs(address.label, name))
        try:
            parts[name] = _read(place, file, left, limits)
            left -= len(parts[name])
        except OverLimitError:
            raise
        except TableError as error:
            unread += error.problems
    if not parts:
        remedy = "give a folder with JSON, CSV, Parquet or TensorBoard files"
        raise TableError(*unread, Problem(address.label, "has no logs of runs", remedy))
    whole = Source(address, tuple(parts.values()), limits=limits, names=tuple(parts), logs=True)
    return replace(whole, unread=tuple(unread), others=files.others)


def _below_logs(label: str, name: str) -> str:
    """The path of a file in a folder of logs, as it is shown.

    >>> _below_logs("logs/", "a/metrics.csv")
    'logs/a/metrics.csv'
    """
    return f"{label.rstrip('/')}/{visible(name)}"


def _tables_in(address: Address, path: Path) -> list[Path]:
    """The tables of a folder or of a pattern such as `runs/*.csv`; none of one file.

    Raises:
        TableError: no file has the pattern, or too many have.
    """
    files: list[Path] = []
    if os.path.isdir(path):
        if not any(os.path.lexists(path / name) for name in LISTS):
            files = [path / name for name in _listed(address, path) if name[0] != "."]
            files = [one for one in files if one.name.lower().endswith(TABLE_SUFFIXES)]
            files = [one for one in files if os.path.isfile(one)]
    elif _is_pattern(str(path)) and not os.path.lexists(path):
        matching = glob.iglob(str(path), recursive=True)
        files = [Path(file) for file in islice(matching, _MOST_FILES + 1) if os.path.isfile(file)]
        if not files:
            raise address.error("cannot be read (no file matches the pattern)", GIVE)
    if len(files) > _MOST_FILES:
        raise address.error(f"has more than {_MOST_FILES} files", "put the runs into fewer tables")
    return sorted(files)


def _listed(address: Address, folder: Path) -> list[str]:
    """The names of all that is in a folder.

    Raises:
        TableError: it cannot be listed.
    """
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries]
    except OSError as error:
        raise address.error(f"cannot be read ({error.strerror})", GIVE) from error


def _is_pattern(text: str) -> bool:
    """Whether a path has signs that stand for other characters."""
    return any(sign in text for sign in "*?[")


def _fixed(path: Path) -> Path:
    """The part of a path before the first folder or file that is a pattern."""
    for folder in (path, *path.parents):
        if not _is_pattern(str(folder)):
            return folder
    return Path(".")


def _fetch(address: Address, limits: Limits) -> bytes:
    """The bytes at a web address."""
    # here: most tables are files, and http with ssl takes long to import
    from isoloss.core.download import DownloadError, TooLargeError, TooLongError, download

    try:
        return download(address, limits.max_seconds, limits.max_bytes)
    except TooLongError:
        what = "the download takes longer"
        slow = _over(address, "max_seconds", limits.max_seconds, "seconds", what)
        raise AwayError(*slow.problems) from None
    except TooLargeError:
        raise _over(address, "max_mib", limits.max_mib, "MiB", "it has more") from None
    except DownloadError as error:
        wrong = Problem(address.label, f"cannot be read ({error.found})", error.remedy)
        raise (AwayError if error.away else TableError)(wrong) from None


class AwayError(TableError):
    """An address whose host cannot be reached, or not in time, such as without a network."""


class OverLimitError(TableError):
    """A table takes more time or memory than its limits allow."""


def _over(address: Address, name: str, value: float, unit: str, what: str) -> TableError:
    option = f"--{name.replace('_', '-')} of `law` and `import`"
    raised = f"raise {name} (beside `table` in a study, {option}, "
    reason = f"cannot be read ({what} than {name} = {value:g} {unit})"
    remedy = f"{raised}or of read_runs) if the table is what it should be"
    return OverLimitError(Problem(address.label, reason, remedy))


def _read(address: Address, path: Path, max_bytes: int, limits: Limits) -> bytes:
    """The bytes of a regular file; nothing else is waited for, or read without end."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    place = address if address.path == path else Address(str(path), f"{address.label}/{path.name}")
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind != stat.S_IFREG:  # opening some devices does something
            raise place.error(f"cannot be read (it is {KINDS.get(kind, 'not a file')})", GIVE)
        with open(os.open(path, flags), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise place.error("cannot be read (it is not a file)", GIVE)
            too_many = os.fstat(file.fileno()).st_size > max_bytes
            content = bytearray()
            while not too_many and (piece := file.read(_PIECE)):
                content += piece
                too_many = len(content) > max_bytes
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or error
        raise place.error(f"cannot be read ({words})", GIVE) from error
    if too_many:
        raise _over(address, "max_mib", limits.max_mib, "MiB", "it has more")
    return bytes(content)


def _saved_files(address: Address, folder: Path) -> list[Path]:
    """The Arrow files of a dataset that `datasets` saved to disk, split by split.

    Raises:
        TableError: a folder that is not such a dataset, or one whose files are elsewhere.
    """
    try:
        return [file for files in saved_files(folder).values() for file in files]
    except (OSError, ValueError) as error:
        reason = f"is a folder without a saved dataset ({error})"
        remedy = "give a table, what save_to_disk wrote, or what `isoloss import` makes of logs"
        raise address.error(reason, remedy) from error


class Sources:
    """The tables of a study, each read once: all who ask get the digest of the same bytes.

    Args:
        kept: folder of what an earlier process fetched (`keep`), which is used instead of the web;
            None to look at the web.
        copies: the same folder where it is not used, to be named when the web cannot be reached.
    """

    def __init__(self, kept: Path | None = None, copies: Path | None = None):
        self._kept, self._copies = kept, copies
        self._sources: dict[Any, Source] = {}
        self._digests: dict[Any, str] = {}

    @property
    def asks_anew(self) -> bool:
        """Whether the network is asked, and not what an earlier process kept."""
        return self._kept is None

    def read(self, sweep: str, table: Mapping[str, Any]) -> Source:
        """The bytes of a table of the study, or of a folder of logs.

        Args:
            sweep: its name.
            table: its section, `aggregate.<sweep>`.

        Raises:
            TableError: it cannot be read, or not within its limits.
        """
        key, limits = _key(table)
        if key not in self._sources:
            written = table["table"]
            if table.get("format") == "logs":
                source = _logs(written, limits)
            elif isinstance(written, list):
                source = self._files(sweep, written, limits)
            else:
                source = self._first(sweep, written, limits)
            self._sources[key], self._digests[key] = source, source.digest
        return self._sources[key]

    def digest(self, sweep: str, table: Mapping[str, Any]) -> str:
        """The digest of those bytes."""
        key, _ = _key(table)
        return self._digests[key] if key in self._digests else self.read(sweep, table).digest

    def _files(self, sweep: str, written: Sequence[str], limits: Limits) -> Source:
        """The bytes of a list of files; what is fetched is kept of one address only."""
        addresses = [Address.of_study(one) for one in written]
        for address in addresses:
            if address.path is None and len(addresses) > 1:
                reason = "is a web address in a list of tables"
                raise address.error(reason, "fetch its table, and name the file")
        if len(addresses) == 1:
            return self._first(sweep, written[0], limits)
        return read_addresses(addresses, limits)

    def _first(self, sweep: str, written: str, limits: Limits) -> Source:
        kept = _kept(self._kept, sweep, written, limits)
        if kept is not None:
            return kept
        address = Address.of_study(written)
        try:
            return read_address(address, limits)
        except AwayError as error:
            if _kept(self._copies, sweep, written, limits) is None:
                raise
            copy = self._copies / sweep / "table"
            go_on = f"; the bytes fetched last are {copy}: give that path to go on with them"
            (away,) = error.problems
            raise AwayError(replace(away, remedy=away.remedy + go_on)) from None

    def keep(self, folder: Path, sections: Mapping[str, Mapping[str, Any]]) -> None:
        """Write tables that came from the web to files for the jobs, and free their memory.

        Args:
            folder: `results/<study>/fetched`.
            sections: the study's `aggregate`.
        """
        for sweep, table in sections.items():
            source = self._sources.get(_key(table)[0])
            if source is None or source.address.path is not None:
                continue
            written = table["table"]
            if isinstance(written, list):
                (written,) = written
            kept = _kept(folder, sweep, written, source.limits)
            if kept is not None and kept.parts == source.parts:
                continue
            with tables.whole(folder / sweep / "table") as temporary:
                temporary.write_bytes(source.parts[0])
            facts = {"table": written, "digest": source.digest}
            text = json.dumps(facts, indent=1, ensure_ascii=False) + "\n"
            tables.write_text(folder / sweep / "source.json", text)
        self._sources.clear()


def _key(table: Mapping[str, Any]) -> tuple[Any, Limits]:
    defaults = Limits()
    limits = Limits(
        table.get("max_seconds", defaults.max_seconds), table.get("max_mib", defaults.max_mib)
    )
    written = table["table"]
    written = tuple(written) if isinstance(written, list) else written
    return (written, limits, table.get("format")), limits


def _logs(written: str | Sequence[str], limits: Limits) -> Source:
    """The bytes of the folder of logs that a study names."""
    if not isinstance(written, str):
        if len(written) > 1:
            reason = f"a list of {len(written)}, where `format: logs` needs one folder"
            raise TableError(Problem("table", reason, "put the logs into one folder"))
        (written,) = written
    return read_logs(Address.of_study(written), limits)


def _kept(folder: Path | None, sweep: str, written: str, limits: Limits) -> Source | None:
    """What was kept of an address, if it is whole and of the same address as it is written."""
    if folder is None:
        return None
    try:
        facts = json.loads((folder / sweep / "source.json").read_text(encoding="utf-8"))
        content = (folder / sweep / "table").read_bytes()
    except (OSError, ValueError, RecursionError):  # never kept, or damaged: it is fetched
        return None
    address = Address(str(folder / sweep / "table"), shown(written))
    source = Source(address, (content,), limits=limits)
    return source if facts == {"table": written, "digest": source.digest} else None
