"""Bytes to text: UTF-8, UTF-16 and UTF-32 with or without a mark, Windows-1252 for what is none."""

from __future__ import annotations

import codecs
import re

from isoloss.core.sources import Source

_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF8: "UTF-8",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
_SAMPLE = 4096  # bytes that tell UTF-16 and UTF-32 without a mark
_NUL = re.compile("\0")
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f]")  # what no text in Windows-1252 has
_GIVE = "give a CSV, JSON or Parquet table"


def text(file: Source) -> tuple[str, list[str]]:
    """The text of a file, and its encoding where that is not UTF-8.

    Raises:
        TableError: it is not text.
    """
    content = file.parts[0]
    for mark, name in _MARKS.items():
        if content.startswith(mark):
            decoded = content.decode("utf-8-sig" if name == "UTF-8" else name)
            return _plain(file, decoded), [] if name == "UTF-8" else [name]
    wide = _wide(content[:_SAMPLE]) if b"\0" in content[:_SAMPLE] else ""
    if wide:
        return _plain(file, content.decode(wide)), [wide[:6].upper()]
    try:
        return _plain(file, content.decode("utf-8")), []
    except UnicodeDecodeError:
        pass
    try:
        return _plain(file, content.decode("cp1252"), _CONTROL), ["Windows-1252"]
    except UnicodeDecodeError:  # five bytes are not in Windows-1252
        return _plain(file, content.decode("latin-1"), _CONTROL), ["Latin-1"]


def _plain(file: Source, decoded: str, never: re.Pattern = _NUL) -> str:
    """The text; an error if it has characters that only other kinds of files have."""
    decoded = decoded.rstrip("\x1a\0")  # the end of a file of old systems
    control = never.search(decoded)
    if control is not None:
        line = decoded.count("\n", 0, control.start()) + 1
        reason = f"is not a table (line {line} has the control character {control[0]!r})"
        raise file.error(reason, _GIVE)
    return decoded


def _wide(sample: bytes) -> str:
    """UTF-16 or UTF-32 without a mark, by where the zeros of its line ends and digits are."""
    sample = sample[: len(sample) // 4 * 4]
    zeros = [sample[i::4].count(0) / max(1, len(sample) / 4) for i in range(4)]
    for name, pattern in (
        ("utf-32-le", (0, 1, 1, 1)),
        ("utf-32-be", (1, 1, 1, 0)),
        ("utf-16-le", (0, 1, 0, 1)),
        ("utf-16-be", (1, 0, 1, 0)),
    ):
        if all(abs(share - bit) < 0.3 for share, bit in zip(zeros, pattern, strict=True)):
            return name
    return ""
