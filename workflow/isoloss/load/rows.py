"""Rows from the pieces of a dataset: content hashes, no duplicates, split by hash of the group."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any

from isoloss.core import registry, tables
from isoloss.core.escape import say
from isoloss.core.problems import IsolossError, Problem
from isoloss.core.stamped import Stamped

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from isoloss.core.audit import TagAudit

BATCH_BYTES = 1 << 25  # text or features of a batch
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
    write: Callable[[pa.Table, np.ndarray], None],
    content: str | None = None,
) -> TagAudit:
    """Read a dataset batch by batch and pass its rows to `write`.

    A row's identity is the hash of its content. Where content repeats, its first row stays and
    the others are dropped (the audit counts them), so equal content is never on both sides. A
    group is on the validation side if its hash falls into the first `valid_fraction`, unless the
    dataset gives a piece its split; content that such a dataset has on two sides is reported. What
    is kept in memory of earlier batches is a digest of every row, about 140 bytes each.

    Args:
        card: dataset card.
        options: the card's options.
        valid_fraction: expected share of groups on the validation side, 0 to 1.
        seed: of the study; decides the sides.
        write: called with every batch of the `rows` table (tables.yaml), in order, and its
            examples: the tokens of texts, uint8 (n_tokens,), or images, integers (n, ...).
        content: digest (`identity`) that the sources must still have when they were read.

    Returns:
        What it did to every tag.

    Raises:
        IsolossError: the dataset has no rows, or a side of it has none; a source changed while it
            was read.
    """
    import pyarrow as pa

    from isoloss.core.audit import TagAudit

    seen: dict[bytes, str] = {}  # digest of a row's content to its side
    audit, on_two_sides, given = TagAudit(), 0, False
    for batch in _batches(registry.card("dataset", card).pieces(**options)):
        given = "split" in batch[0]
        digests = [_digest(piece) for piece in batch]
        rows = _table(batch, digests, valid_fraction, seed)
        first, crossing = _first(digests, rows["split"].to_pylist(), seen)
        audit.add(rows["tags"].combine_chunks(), rows["n_tokens"].to_numpy(), first.astype(int))
        rows = rows.filter(pa.array(first)).combine_chunks()
        write(rows, _examples(batch, first, rows))
        on_two_sides += crossing
    if given and on_two_sides:
        what = "rows have the content of a row on another side and are dropped"
        say(f"dataset {card}: {on_two_sides} {what}")
    if content is not None and identity(card, options) != content:
        changed = "its sources changed while they were read"
        raise IsolossError(
            Problem(f"dataset {card}", changed, "run again when no process writes to them")
        )
    if not seen:
        raise IsolossError(Problem(f"dataset {card}", "no rows", "check its options"))
    for split in ("train", "valid"):
        if split not in seen.values():
            reason = f"none of its groups is in the split {split!r}"
            raise IsolossError(Problem(f"dataset {card}", reason, "change valid_fraction"))
    return audit


def _batches(pieces: Iterable[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Pieces in groups of at most BATCH_ROWS, and of hardly more than BATCH_BYTES of content."""
    batch: list[Mapping[str, Any]] = []
    size = 0
    for piece in pieces:
        batch.append(piece)
        size += len(_content(piece))
        if len(batch) == tables.BATCH_ROWS or size >= BATCH_BYTES:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _content(piece: Mapping[str, Any]) -> bytes | memoryview:
    """The bytes of a piece: its text, or its features (an array) line by line."""
    return piece["text"] if "text" in piece else piece["features"].tobytes()


def _digest(piece: Mapping[str, Any]) -> bytes:
    """What a row is known by: the hash of its text, or of its features and label."""
    digest = blake2b(_content(piece), digest_size=16)
    if "label" in piece:
        digest.update(int(piece["label"]).to_bytes(8, "little", signed=True))
    return digest.digest()


def _first(
    digests: list[bytes], split: list[str], seen: dict[bytes, str]
) -> tuple[np.ndarray, int]:
    """Whether each row is the first of its content, bool (n,), and how many have it elsewhere.

    Args:
        digests: of the rows' content.
        split: side of each.
        seen: digest to the side of its first row; new ones are added.
    """
    import numpy as np

    first, elsewhere = np.zeros(len(digests), dtype=bool), 0
    for i, digest in enumerate(digests):
        if digest in seen:
            elsewhere += seen[digest] != split[i]
        else:
            seen[digest], first[i] = split[i], True
    return first, elsewhere


def _table(
    batch: list[Mapping[str, Any]], digests: list[bytes], valid_fraction: float, seed: int
) -> pa.Table:
    """A batch as rows, duplicates included."""
    import pyarrow as pa

    groups = [piece["group"] for piece in batch]
    drawn = {group: side(group, valid_fraction, seed) for group in dict.fromkeys(groups)}
    texts = "text" in batch[0]
    content = [_content(piece) for piece in batch]
    columns = {
        "row_id": [digest.hex() for digest in digests],
        "text": content if texts else [None] * len(batch),
        "features": [None] * len(batch) if texts else content,
        "label": [piece.get("label") for piece in batch],
        "n_tokens": [len(text) if texts else 1 for text in content],
        "tags": [list(piece["tags"].items()) for piece in batch],
        "split": [piece.get("split", drawn[piece["group"]]) for piece in batch],
        "group": groups,
    }
    types = tables.schema("rows")
    return pa.table({name: columns[name] for name in types.names}, schema=types)


def _examples(batch: list[Mapping[str, Any]], first: np.ndarray, rows: pa.Table) -> np.ndarray:
    """The examples of the rows that stay: their tokens, or their images.

    Args:
        batch: the pieces.
        first: which of them stay, bool (n,).
        rows: those, as a table.

    Raises:
        IsolossError: images differ in size.
    """
    import numpy as np

    if "text" not in batch[0]:
        shape = batch[0]["features"].shape
        for piece in batch:
            if piece["features"].shape != shape:
                reason = f"an image of {_by(piece['features'].shape)} among images of {_by(shape)}"
                remedy = "give all images one size"
                raise IsolossError(Problem(f"group {piece['group']!r}", reason, remedy))
        kept = [piece["features"] for piece, stays in zip(batch, first, strict=True) if stays]
        return np.stack(kept) if kept else np.zeros((0, *shape), np.uint8)
    parts = [np.zeros(0, np.uint8)]
    for text in rows["text"].chunks:  # joined without a copy of every value
        _, offsets, data = text.buffers()
        ends = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]
        parts.append(np.frombuffer(data or b"", np.uint8)[ends[0] : ends[-1]])
    return np.concatenate(parts)


def _by(shape: tuple[int, ...]) -> str:
    """A shape in words: `28 x 28`."""
    return " x ".join(map(str, shape))


def side(group: str, valid_fraction: float, seed: int) -> str:
    """The split of a group, train or valid, by its hash with the seed as a number in [0, 1)."""
    digest = blake2b(f"{seed}:split:{group}".encode(), digest_size=8).digest()
    return "valid" if int.from_bytes(digest, "big") < valid_fraction * 2**64 else "train"
