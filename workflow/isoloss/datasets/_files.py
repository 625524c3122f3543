"""The files of a dataset: paths, patterns and web addresses, unpacked while they are read."""

from __future__ import annotations

import difflib
import glob
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core import tables
from isoloss.core.addresses import Address
from isoloss.core.paths import kind_of
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.sources import Limits
from isoloss.datasets._columns import Columns

if TYPE_CHECKING:
    import pyarrow as pa

OPTIONS = {
    "files": {
        "type": ["string", "array"],
        "items": {"type": "string", "minLength": 1},
        "minLength": 1,
        "default": [],
        "description": "A path, or a list of them, each with * and ** for parts of names where "
        "they vary (sorted by path), or an http(s) address. Secrets of an address are written as "
        "$NAME, an environment variable.",
    },
    "max_mib": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 1048576,
        "default": 1024,
        "unit": "MiB",
        "description": "Most that is fetched from one address.",
    },
    "max_seconds": {
        "type": "number",
        "exclusiveMinimum": 0,
        "maximum": 86400,
        "default": 600,
        "unit": "s",
        "description": "Longest time that fetching from one address may take.",
    },
}
BLOCK = 1 << 23  # bytes of lines that are read at once
LONGEST = 1 << 30  # bytes of a line: a packed file of one endless line would fill the memory
PACKED = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_UNPACK = "unpack it, or pack it by gzip or zstd"
_OTHERS = {  # the first bytes of files that are not text: what they are, and what to do
    b"PAR1": ("is a Parquet file", "load it by the card parquet"),
    b"ARROW1": ("is an Arrow file", "write it as Parquet, and load it by the card parquet"),
    b"BZh": ("is packed by bzip2", _UNPACK),
    b"\xfd7zXZ\x00": ("is packed by xz", _UNPACK),
    b"PK\x03\x04": ("is a zip archive", _UNPACK),
    b"\xff\xfe": ("is UTF-16", "write it as UTF-8"),
    b"\xfe\xff": ("is UTF-16", "write it as UTF-8"),
}
_BOM = b"\xef\xbb\xbf"
_START = 256  # bytes by which a kind of file is told


def is_json(line: bytes) -> bool:
    """Whether a line begins as an object or a list of JSON."""
    return line.lstrip()[:1] in (b"{", b"[")


@dataclass(frozen=True)
class File:
    """A file of a dataset.

    Attributes:
        label: its path, or its address without secrets and query; shown, and matched by patterns.
        path: of the file, or of the copy of what was fetched.
    """

    label: str
    path: Path

    def error(self, reason: str, remedy: str) -> IsolossError:
        """An error about this file."""
        return IsolossError(Problem(self.label, reason, remedy))

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Errors of the system and of Arrow inside it are errors about this file."""
        import pyarrow as pa

        try:
            yield
        except (FileNotFoundError, PermissionError, IsADirectoryError) as error:
            remedy = "check the path, and whether something moved or removed it"
            raise self.error(f"cannot be read ({os.strerror(error.errno)})", remedy) from error
        except (OSError, EOFError, pa.ArrowException) as error:
            reason = f"is damaged or cut off ({str(error).rstrip('.')})"
            raise self.error(reason, "fetch or write the file again, whole") from error

    def endless(self, line: int) -> IsolossError:
        """An error about a line that is too long to be read."""
        reason = f"line {line} has more than {LONGEST} bytes"
        return self.error(reason, "check the file, and write every row into a line of its own")

    @contextmanager
    def opened(self) -> Iterator[pa.NativeFile]:
        """The file's bytes as a stream, unpacked where gzip or zstd packed them, without a BOM.

        Raises:
            IsolossError: it cannot be read, is damaged, or is a file of another kind.
        """
        with self.guarded():
            with self._unpacked() as stream:
                head = stream.read(8)
            for magic, (reason, remedy) in _OTHERS.items():
                if head.startswith(magic):
                    raise self.error(reason, remedy)
            with self._unpacked() as stream:
                if head.startswith(_BOM):
                    stream.read(len(_BOM))
                yield stream

    def start(self) -> bytes:
        """The first bytes of the file, as they are.

        Raises:
            IsolossError: it cannot be read.
        """
        with self.guarded(), open(self.path, "rb") as file:
            return file.read(_START)

    @contextmanager
    def _unpacked(self) -> Iterator[pa.NativeFile]:
        """The file's bytes from its start, unpacked where gzip or zstd packed them."""
        import pyarrow as pa

        with pa.OSFile(str(self.path)) as file:
            head = file.read(4)
            file.seek(0)
            codec = next((name for magic, name in PACKED.items() if head.startswith(magic)), None)
            if codec is None:
                yield file
            else:
                with pa.CompressedInputStream(file, codec) as stream:
                    yield stream

    def blocks(self, size: int = BLOCK) -> Iterator[tuple[int, bytes]]:
        """The file in blocks of whole lines, each with the number of its first line, from 1.

        Args:
            size: bytes of a block; a longer line makes a larger one.

        Raises:
            IsolossError: it cannot be read, is damaged, is a file of another kind, or has a line of
                more than LONGEST bytes.
        """
        line, parts = 1, []
        with self.opened() as stream:
            while piece := stream.read(size):
                end = piece.rfind(b"\n") + 1
                parts.append(piece[:end] if end else piece)
                if not end and sum(map(len, parts)) > LONGEST:
                    raise self.endless(line)
                if end:
                    block = b"".join(parts)
                    yield line, block
                    line += block.count(b"\n")
                    parts = [piece[end:]]
        if rest := b"".join(parts):
            yield line, rest


def sources(
    files: str | Sequence[str], max_mib: float, max_seconds: float, fetched: Path, **options: Any
) -> list[tuple[str, Path]]:
    """The files that a card reads, as (name, path); its options and the folder of copies.

    Raises:
        IsolossError: an option cannot be used, a file is not there or its path does not have the
            pattern of `path_tags`, or an address cannot be fetched.
    """
    columns = Columns.of_options(options)
    each = files_of(files, Limits(max_seconds, max_mib), fetched)
    for file in each:
        columns.of_path(file.label)
    return [(file.label, file.path) for file in each]


def files_of(files: str | Sequence[str], limits: Limits, fetched: Path) -> list[File]:
    """The files that paths, patterns and addresses name, each once, in order.

    Args:
        files: as the option `files` gives them.
        limits: of what is fetched from an address.
        fetched: folder of what was fetched: an address is fetched if it is not there.

    Raises:
        IsolossError: nothing is named, a file is not there or cannot be read, or an address cannot
            be fetched.
    """
    written = [files] if isinstance(files, str) else list(files)
    if not written:
        raise IsolossError(Problem("files", "names no file", "give a path or a list of paths"))
    each: dict[Path, File] = {}
    for one in written:
        address = Address.of_study(one)
        path = address.path
        paths = [_fetch(one, address, limits, fetched)] if path is None else _matching(path)
        for file in paths:
            label = address.label.partition("?")[0] if path is None else file.as_posix()
            each.setdefault(file, File(label, file))
    return list(each.values())


def _matching(path: Path) -> list[Path]:
    """The files that a path or pattern names, sorted.

    Raises:
        IsolossError: there is none, it is a folder, or one may not be read.
    """
    pattern = path.as_posix()
    if path.is_dir():
        remedy = f"name the files in it, such as {pattern}/*"
        raise IsolossError(Problem(pattern, "is a folder, not a file", remedy))
    paths = [path]
    if not path.exists() and any(sign in pattern for sign in "*?["):
        paths = sorted(Path(name) for name in glob.iglob(pattern, recursive=True))
        paths = [file for file in paths if file.is_file()]
        if not paths:
            where = "check the pattern and the folder, which is relative to the working folder"
            raise IsolossError(Problem(pattern, "no file matches it", where))
    for file in paths:
        if not file.is_file():
            raise IsolossError(_not_there(file))
        if not os.access(file, os.R_OK):
            raise IsolossError(Problem(str(file), "may not be read", "change its permissions"))
    return paths


def _not_there(file: Path) -> Problem:
    """The problem of a path without a file, with the nearest name in its folder."""
    if kind := kind_of(file):
        return Problem(str(file), f"is {kind}, not a file", "name a file")
    remedy = f"check the path, which is relative to {Path.cwd()}"
    if file.is_absolute():
        remedy = "check the path"
    if file.parent.is_dir():
        near = difflib.get_close_matches(file.name, sorted(os.listdir(file.parent)), n=1)
        remedy = f"did you mean {near[0]!r}?" if near else remedy
    return Problem(str(file), "there is no such file", remedy)


def _fetch(written: str, address: Address, limits: Limits, fetched: Path) -> Path:
    """The copy of what is at an address; it is fetched once.

    Args:
        written: the address as the study has it, its variables by name; names the copy.
        address: the same with its secrets.
        limits: of time and size.
        fetched: folder of the copies.

    Raises:
        IsolossError: it cannot be fetched, or not within the limits.
    """
    copy = fetched / blake2b(written.encode(), digest_size=16).hexdigest()
    if copy.is_file():
        return copy
    from isoloss.core.download import DownloadError, TooLargeError, TooLongError, download_to

    try:
        with tables.whole(copy) as temporary, temporary.open("wb") as file:

            def write(piece: bytes) -> None:
                try:
                    file.write(piece)
                except OSError as error:
                    reason = f"its copy cannot be written: {error.strerror}"
                    raise DownloadError(reason, f"make room for {fetched}") from error

            download_to(write, address, limits.max_seconds, limits.max_bytes)
    except TooLongError:
        reason = f"takes longer than max_seconds = {limits.max_seconds:g}"
        raise address.error(reason, "raise max_seconds, or give the path of a copy") from None
    except TooLargeError:
        reason = f"has more than max_mib = {limits.max_mib:g} MiB"
        raise address.error(reason, "raise max_mib if it is what it should be") from None
    except DownloadError as error:
        raise address.error(f"cannot be fetched ({error.found})", error.remedy) from None
    return copy
