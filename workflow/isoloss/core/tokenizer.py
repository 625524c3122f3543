"""How the text of a dataset becomes tokens: byte by byte, or by a file of the package `tokenizers`.

A study names it as `tokenizer` of a dataset: `bytes`, or the path of a `tokenizer.json`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from isoloss.core import extras
from isoloss.core.paths import kind_of
from isoloss.core.problems import IsolossError, Problem

if TYPE_CHECKING:
    import pyarrow as pa

BYTES = "bytes"  # the tokenizer of a dataset that names none
AT_ONCE = 1 << 20  # bytes of text that are encoded at once: meanwhile a token takes 400 bytes
MOST_BYTES = 1 << 28  # of a tokenizer's file
NO_TOKEN = "no token in its text"


@dataclass(frozen=True)
class Encoded:
    """The tokens of some texts.

    Attributes:
        lists: of each text its tokens, uint8, uint16 or uint32; none where it has a problem.
        problems: why a text cannot be encoded, by its position.
    """

    lists: pa.ListArray
    problems: dict[int, str]


class Tokenizer(Protocol):
    """What turns texts into tokens.

    Attributes:
        vocabulary: how many tokens there are; every token is below.
        digest: of what the tokens depend on besides the text; empty for bytes.
    """

    vocabulary: int
    digest: str

    def encode(self, texts: pa.Array) -> Encoded:
        """The tokens of texts (binary or string, none of them null)."""


def of(name: str) -> Tokenizer:
    """The tokenizer that a study names.

    Args:
        name: `bytes`, or the path of a tokenizer.json.

    Raises:
        IsolossError: there is no such file, it is not a tokenizer, or the package is missing.

    Example:
        >>> of("bytes").vocabulary
        256
    """
    return _Bytes() if name == BYTES else _of_content(name, content(name))


def content(path: str) -> bytes:
    """The bytes of a tokenizer's file.

    Raises:
        IsolossError: there is no such file, or it is too large to be one.
    """
    file, remedy = Path(path), "give the path of a tokenizer.json, or `bytes`"
    if kind := kind_of(path):
        raise IsolossError(Problem("tokenizer", f"{path!r} is {kind}, not a file", remedy))
    if not os.path.isfile(path):  # of any text, however long
        raise IsolossError(Problem("tokenizer", f"there is no file {path!r}", remedy))
    try:
        if file.stat().st_size > MOST_BYTES:
            reason = f"the file {path!r} has more than {MOST_BYTES} bytes"
            raise IsolossError(Problem("tokenizer", reason, remedy))
        return file.read_bytes()
    except OSError as error:
        reason = f"the file {path!r} cannot be read ({error.strerror})"
        raise IsolossError(Problem("tokenizer", reason, remedy)) from error


def unit(name: str, of_card: str) -> str:
    """What a token of a dataset is called, as in nats/byte.

    Args:
        name: the dataset's tokenizer.
        of_card: what its card calls one.
    """
    return of_card if name == BYTES else "token"


class _Bytes:
    """Every byte of a text is a token."""

    vocabulary, digest = 256, ""

    def encode(self, texts: pa.Array) -> Encoded:
        """The bytes of texts; nothing is copied."""
        import numpy as np
        import pyarrow as pa

        texts = texts.cast(pa.binary())
        _, offsets, data = texts.buffers()
        ends = np.frombuffer(offsets or b"", np.int32)[texts.offset :][: len(texts) + 1]
        values = np.frombuffer(data or b"", np.uint8)
        lists = pa.ListArray.from_arrays(pa.array(ends, pa.int32()), pa.array(values))
        return Encoded(lists, {})


class _OfFile:
    """The words of a tokenizer.json."""

    def __init__(self, encoder: Any, digest: str):
        import numpy as np

        self._encoder, self.digest = encoder, digest
        self.vocabulary = 1 + max(encoder.get_vocab(with_added_tokens=True).values(), default=1)
        self._type = np.dtype(np.uint16 if self.vocabulary <= 1 << 16 else np.uint32)

    def encode(self, texts: pa.Array) -> Encoded:
        """The tokens of texts, without the special tokens that mark begin and end."""
        import numpy as np
        import pyarrow as pa

        tokens, problems = [np.zeros(0, self._type)], {}
        ends = np.zeros(len(texts) + 1, np.int32)
        for first, batch in _parts(texts):
            sound: dict[int, str] = {}
            for at, text in enumerate(batch, first):
                try:
                    sound[at] = text.decode() if isinstance(text, bytes) else text
                except UnicodeDecodeError as error:
                    problems[at] = f"not UTF-8 (byte {error.start})"
            encoded = self._encoder.encode_batch_fast(
                list(sound.values()), add_special_tokens=False
            )
            for at, one in zip(sound, encoded, strict=True):
                ids = np.array(one.ids, self._type)
                ends[at + 1] = len(ids)
                tokens.append(ids)
                if not len(ids):
                    problems[at] = NO_TOKEN
        values = pa.array(np.concatenate(tokens))
        lists = pa.ListArray.from_arrays(pa.array(ends.cumsum(dtype=np.int32)), values)
        return Encoded(lists, dict(sorted(problems.items())))


def _parts(texts: pa.Array) -> Iterator[tuple[int, list[bytes | str]]]:
    """Texts in parts of about AT_ONCE bytes, each with the position of its first."""
    part: list[bytes | str] = []
    first = size = 0
    for at, text in enumerate(texts):
        part.append(text.as_py())
        size += len(part[-1])
        if size >= AT_ONCE:
            yield first, part
            part, first, size = [], at + 1, 0
    if part:
        yield first, part


@lru_cache(maxsize=8)
def _of_content(path: str, content: bytes) -> _OfFile:
    """The tokenizer that a file describes, without what would cut, fill or vary its tokens."""
    about = _parsed(path, content)
    try:
        from tokenizers import Tokenizer as Encoder
    except ImportError as error:
        reason = "the package `tokenizers` is not installed"
        remedy = f"install it with `{extras.install('tokenizers')}`, or take `bytes`"
        raise IsolossError(Problem("tokenizer", reason, remedy)) from error
    about |= {"truncation": None, "padding": None}
    if isinstance(about.get("model"), dict) and "dropout" in about["model"]:
        about["model"]["dropout"] = None
    try:
        encoder = Encoder.from_str(json.dumps(about))
    except Exception as error:  # the package raises nothing narrower
        raise IsolossError(_not_one(path, str(error))) from error
    return _OfFile(encoder, blake2b(content, digest_size=16).hexdigest())


def _parsed(path: str, content: bytes) -> dict[str, Any]:
    """A tokenizer's file as JSON."""
    try:
        about = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise IsolossError(_not_one(path, f"it is not JSON: {error}")) from error
    if not isinstance(about, dict) or "model" not in about:
        raise IsolossError(_not_one(path, "it has no key 'model'"))
    return about


def _not_one(path: str, reason: str) -> Problem:
    """A file is not a tokenizer."""
    remedy = "give a file that `Tokenizer.save` of the package `tokenizers` wrote, or `bytes`"
    return Problem("tokenizer", f"the file {path!r} is not a tokenizer ({reason})", remedy)
