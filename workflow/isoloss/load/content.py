"""What a dataset is made from: its sources, and a digest of their content."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss.core import registry
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.stamped import Stamped
from isoloss.core.tokenizer import BYTES

_UNREADABLE = "check the path and its permissions, and whether something moved or removed it"
_PIECE = 1 << 22  # bytes of a source that are read at once for its digest


def keywords(card: str, options: Mapping[str, Any], fetched: Path | None) -> dict[str, Any]:
    """The keywords with which a card's `sources` and `pieces` are called.

    Args:
        card: dataset card.
        options: the card's options.
        fetched: folder where a card that reads from a network keeps what it fetched.
    """
    if registry.facts("dataset", card).get("FETCHES"):
        return {**options, "fetched": fetched}
    return dict(options)


def refresh(card: str, options: Mapping[str, Any], fetched: Path) -> None:
    """Have a card ask the network what is new, if it is one that does.

    Args:
        card: dataset card.
        options: the card's options.
        fetched: folder where it keeps what it fetched.
    """
    if "refresh" in registry.defined("dataset", card):
        registry.card("dataset", card).refresh(**keywords(card, options, fetched))


def identity(
    card: str,
    options: Mapping[str, Any],
    kept: Path | None = None,
    fetched: Path | None = None,
    tokenizer: str = BYTES,
) -> str:
    """Digest of a dataset's sources: name, size and content of each, in order.

    Args:
        card: dataset card.
        options: the card's options.
        kept: file in which fingerprints of the sources are kept (`Stamped`): a source that did not
            change since is not read again. None to read every source.
        fetched: folder where a card that reads from a network keeps what it fetched.
        tokenizer: of the dataset; its file counts as a source.

    Raises:
        IsolossError: a source cannot be read.
    """
    sources = registry.card("dataset", card).sources(**keywords(card, options, fetched))
    if tokenizer != BYTES:
        sources = [*sources, ("tokenizer", Path(tokenizer))]
    known = None if kept is None else Stamped(kept, _fingerprint, "size and BLAKE2b, 16 bytes")
    digest = blake2b(digest_size=16)
    for name, path in sources:
        try:
            size, content = _fingerprint(path) if known is None else known.of(path)
        except OSError as error:
            reason = f"cannot be read ({error.strerror})"
            raise IsolossError(Problem(str(path), reason, _UNREADABLE)) from error
        digest.update(f"{name}\0{size}\0".encode())
        digest.update(bytes.fromhex(content))
    if known is not None:
        known.save()
    return digest.hexdigest()


def _fingerprint(path: Path) -> list[Any]:
    """Size and digest of a file's content, read piece by piece."""
    digest, size = blake2b(digest_size=16), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            size += len(piece)
    return [size, digest.hexdigest()]
