"""Unpack files: gzip, zstd, xz, bzip2, LZ4, zip and tar, in bounded pieces and within the limit."""

from __future__ import annotations

import io
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace

from isoloss.core.sources import TABLE_SUFFIXES, Source

_CHUNK = 2**14  # bytes of a gzip that are unpacked at once
_PIECE = 2**20  # bytes that the other streams give at once
_MEMORY = 2**28  # bytes that an xz file may need for its dictionary
_MOST_MEMBERS = 10_000
EXCEL = "xl/workbook.xml"  # the member of a zip that makes it an Excel workbook


def files(source: Source) -> tuple[list[Source], list[str]]:
    """The files of a source, each unpacked, and what they were packed with.

    Args:
        source: one file or several, packed or not.

    Raises:
        TableError: it unpacks to more than the limit, is packed twice, or has no table inside.
    """
    unpacked: list[Source] = []
    kinds: dict[str, None] = {}
    for file in source.files():
        for part in _files(file, kinds):
            unpacked.append(part)
            if sum(len(one.parts[0]) for one in unpacked) > source.limits.max_bytes:
                raise source.too_large("it unpacks to more")
    return unpacked, list(kinds)


def _files(file: Source, kinds: dict[str, None]) -> Iterator[Source]:
    """The files inside one file; `kinds` collects what it is packed with."""
    file = _stream(file, kinds)
    content = file.parts[0]
    members = None
    if content[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        members = _zip_members(file)
    elif content[257:262] == b"ustar":
        members = _tar_members(file)
    if members is None:
        yield file
        return
    kinds["zip" if content[:2] == b"PK" else "tar"] = None
    for member in members:
        yield _stream(member, kinds)


# --- one stream --------------------------------------------------------------------------------


def _gzip(packed: bytes) -> Iterator[bytes]:
    """The pieces of a gzip file; zeros may fill a block behind it."""
    view, engine = memoryview(packed), None
    for start in range(0, len(view), _CHUNK):
        piece = bytes(view[start : start + _CHUNK])
        if engine is None and start:
            piece = piece.lstrip(b"\0")
        while piece:
            engine = engine or zlib.decompressobj(wbits=31)
            yield engine.decompress(piece, 64 * _CHUNK)
            piece = engine.unconsumed_tail
            if engine.eof:  # another file may follow
                piece, engine = engine.unused_data.lstrip(b"\0"), None
    if engine is not None:
        raise EOFError("its gzip stream ends too early")


def _engines(make: Callable, packed: bytes) -> Iterator[bytes]:
    """The pieces of streams behind each other, each unpacked by an engine of its own."""
    while packed:
        engine = make()
        while not engine.eof:
            piece = engine.decompress(packed, _PIECE)
            packed = b""
            if not piece and not engine.eof and engine.needs_input:
                raise EOFError("its compressed stream ends too early")
            yield piece
        packed = engine.unused_data.lstrip(b"\0")


def _bzip2(packed: bytes) -> Iterator[bytes]:
    import bz2  # here and below: few tables are packed so

    return _engines(bz2.BZ2Decompressor, packed)


def _xz(packed: bytes) -> Iterator[bytes]:
    import lzma

    try:
        yield from _engines(lambda: lzma.LZMADecompressor(memlimit=_MEMORY), packed)
    except lzma.LZMAError as error:
        raise ValueError(f"xz: {error}") from error


def _by_arrow(codec: str) -> Callable[[bytes], Iterator[bytes]]:
    def pieces(packed: bytes) -> Iterator[bytes]:
        import pyarrow as pa

        with pa.CompressedInputStream(pa.BufferReader(packed), codec) as stream:
            while piece := stream.read(_PIECE):
                yield piece

    return pieces


_STREAMS: dict[bytes, tuple[str, Callable[[bytes], Iterator[bytes]]]] = {
    b"\x1f\x8b": ("gzip", _gzip),
    b"\x28\xb5\x2f\xfd": ("zstd", _by_arrow("zstd")),
    b"\xfd7zXZ\0": ("xz", _xz),
    b"BZh": ("bzip2", _bzip2),
    b"\x04\x22\x4d\x18": ("LZ4", _by_arrow("lz4")),
}


def kind_of(content: bytes) -> str:
    """What a stream is packed with, by its first bytes; empty if it is not packed."""
    return next((kind for start, (kind, _) in _STREAMS.items() if content.startswith(start)), "")


def _stream(file: Source, kinds: dict[str, None]) -> Source:
    """A file without the stream that it is packed in, unpacked no further than the limit."""
    kind = kind_of(file.parts[0])
    if not kind:
        return file
    unpack = dict(_STREAMS.values())[kind]
    content = bytearray()
    for piece in unpack(file.parts[0]):
        content += piece
        if len(content) > file.limits.max_bytes:
            raise file.too_large("it unpacks to more")
    again = kind_of(bytes(content[:8]))
    if again:
        both = f"with {kind}" if kind == again else f"with {kind} and {again}"
        raise file.error(f"is compressed twice {both}", "decompress it once")
    kinds[kind] = None
    return replace(file, parts=(bytes(content),))


# --- archives ----------------------------------------------------------------------------------


def _is_table(name: str) -> bool:
    """Whether a member of an archive may be a table, by its name."""
    parts = name.split("/")
    hidden = any(part.startswith(".") for part in parts) or "__MACOSX" in parts
    return not name.endswith("/") and not hidden


def _chosen(file: Source, names: list[str]) -> list[str]:
    """The members to read: all, or those with a table's ending where there are others too."""
    names = [name for name in names if _is_table(name)]
    tables = [name for name in names if name.lower().endswith(TABLE_SUFFIXES)]
    if len(names) > 1 and not tables:
        listed = ", ".join(names[:5])
        raise file.error(f"has no table among its {len(names)} files ({listed})", "give the table")
    if not names:
        raise file.error("is an archive without files", "give the table itself")
    return sorted(tables or names)


def _zip_members(file: Source) -> Iterator[Source] | None:
    """The tables of a zip; None if the zip itself is a workbook."""
    import zipfile

    try:
        archive = zipfile.ZipFile(io.BytesIO(file.parts[0]))
    except zipfile.BadZipFile as error:
        raise ValueError(error) from error
    names = archive.namelist()
    if EXCEL in names:
        return None
    if len(names) > _MOST_MEMBERS:
        reason = f"has more than {_MOST_MEMBERS} files"
        raise file.error(reason, "give the table itself")
    return _read_zip(file, archive, _chosen(file, names))


def _read_zip(file: Source, archive, names: list[str]) -> Iterator[Source]:
    import zipfile

    left = file.limits.max_bytes
    for name in names:
        content = bytearray()
        try:
            with archive.open(name) as member:
                while len(content) <= left and (piece := member.read(_PIECE)):
                    content += piece
        except RuntimeError as error:  # a password, or a method that Python does not have
            raise file.error(f"cannot be unpacked ({error})", "unpack it") from error
        except zipfile.BadZipFile as error:
            raise ValueError(error) from error
        left -= len(content)
        if left < 0:
            raise file.too_large("it unpacks to more")
        yield file.member(name, bytes(content), alone=len(names) == 1)


def _tar_members(file: Source) -> Iterator[Source]:
    """The tables of a tar archive."""
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(file.parts[0]), mode="r:") as archive:
            members = {one.name: one for one in archive if one.isreg()}
            names = _chosen(file, list(members))
            if sum(members[name].size for name in names) > file.limits.max_bytes:
                raise file.too_large("it unpacks to more")
            for name in names:
                content = archive.extractfile(members[name]).read()
                yield file.member(name, content, alone=len(names) == 1)
    except tarfile.TarError as error:
        raise ValueError(error) from error
