"""Rows from the pieces of a dataset: content hashes, no duplicates, split by hash of the group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.stamped import Stamped

if TYPE_CHECKING:
    import pyarrow as pa

    from isoloss.core.audit import TagAudit

BATCH_BYTES = 1 << 25  # text of a batch
_PIECE = 1 << 22  # bytes of a source that are read at once for its digest


def identity(card: str, options: Mapping[str, Any], kept: Path | None = None) -> str:
    """Digest of a dataset's sources: name, size and content of each, in order.

    Args:
        card: dataset card.
        options: the card's options.
        kept: file in which fingerprints of the sources are kept (`Stamped`): a source that did not
            change since is not read again. None to read every source.
    """
    known = None if kept is None else Stamped(kept, _fingerprint, "size and BLAKE2b, 16 bytes")
    digest = blake2b(digest_size=16)
    for name, path in registry.card("dataset", card).sources(**options):
        size, content = _fingerprint(path) if known is None else known.of(path)
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


def load_rows(
    card: str,
    options: Mapping[str, Any],
    valid_fraction: float,
    seed: int,
    write: Callable[[pa.Table], None],
    content: str | None = None,
) -> TagAudit:
    """Read a dataset batch by batch and pass its rows to `write`.

    A row's identity is the hash of its content. Where content repeats, its first row stays and
    the others are dropped (the audit counts them), so equal content is never on both sides. A
    group is on the validation side if its hash falls into the first `valid_fraction`. What is
    kept in memory of earlier batches is a digest of every row, about 140 bytes each in a set.

    Args:
        card: dataset card.
        options: the card's options.
        valid_fraction: expected share of groups on the validation side, 0 to 1.
        seed: of the study; decides the sides.
        write: called with every batch of the `rows` table (tables.yaml), in order.
        content: digest (`identity`) that the sources must still have when they were read.

    Returns:
        What it did to every tag.

    Raises:
        IsolossError: the dataset has no rows, or a side of it has none; a source changed while it
            was read.
    """
    import numpy as np  # imported here, because a start needs only the digest of the sources
    import pyarrow as pa

    from isoloss.core.audit import TagAudit

    seen: set[bytes] = set()
    sides: set[str] = set()
    audit = TagAudit()
    for batch in _batches(registry.card("dataset", card).pieces(**options)):
        digests = [blake2b(piece["text"], digest_size=16).digest() for piece in batch]
        first = np.array([_is_new(digest, seen) for digest in digests])
        rows = _table(batch, digests, valid_fraction, seed)
        audit.add(rows["tags"].combine_chunks(), rows["n_tokens"].to_numpy(), first.astype(int))
        rows = rows.filter(pa.array(first)).combine_chunks()
        sides.update(rows["split"].unique().to_pylist())
        write(rows)
    if content is not None and identity(card, options) != content:
        changed = "its sources changed while they were read"
        raise IsolossError(
            Problem(f"dataset {card}", changed, "run again when no process writes to them")
        )
    if not seen:
        raise IsolossError(Problem(f"dataset {card}", "no rows", "check its options"))
    for split in ("train", "valid"):
        if split not in sides:
            reason = f"none of its groups is in the split {split!r}"
            raise IsolossError(Problem(f"dataset {card}", reason, "change valid_fraction"))
    return audit


def _batches(pieces: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Pieces in groups of at most BATCH_ROWS, and of hardly more than BATCH_BYTES of text."""
    batch: list[Mapping[str, Any]] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(piece["text"])
        if len(batch) == tables.BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _is_new(digest: bytes, seen: set[bytes]) -> bool:
    """Whether a digest is not in the set yet; it is added."""
    before = len(seen)
    seen.add(digest)
    return len(seen) > before


def _table(
    batch: list[Mapping[str, Any]], digests: list[bytes], valid_fraction: float, seed: int
) -> pa.Table:
    """A batch as rows, duplicates included."""
    import pyarrow as pa

    groups = [piece["group"] for piece in batch]
    split = {group: side(group, valid_fraction, seed) for group in dict.fromkeys(groups)}
    columns = {
        "row_id": [digest.hex() for digest in digests],
        "text": [piece["text"] for piece in batch],
        "n_tokens": [len(piece["text"]) for piece in batch],
        "tags": [list(piece["tags"].items()) for piece in batch],
        "split": [split[group] for group in groups],
        "group": groups,
    }
    return pa.table(columns, schema=tables.schema("rows"))


def side(group: str, valid_fraction: float, seed: int) -> str:
    """The split of a group, train or valid, by its hash with the seed as a number in [0, 1)."""
    digest = blake2b(f"{seed}:split:{group}".encode(), digest_size=8).digest()
    return "valid" if int.from_bytes(digest, "big") < valid_fraction * 2**64 else "train"
