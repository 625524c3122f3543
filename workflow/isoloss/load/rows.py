"""Pieces to rows: content hashes, duplicates dropped, sides drawn by hash of the group."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

from isoloss.core import registry
from isoloss.core.problems import IsolossError, problem

if TYPE_CHECKING:
    import pandas as pd


def identity(card: str, options: dict) -> str:
    """Digest of what a dataset is made of: name, size and content of every source, in order."""
    digest = blake2b(digest_size=16)
    for name, path in registry.card("dataset", card).sources(**options):
        content = path.read_bytes()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(blake2b(content, digest_size=16).digest())
    return digest.hexdigest()


def load_rows(
    card: str, options: dict, valid_fraction: float, seed: int, content: str | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Rows and audit of a dataset.

    A row's identity is the hash of its content. Where content repeats, its first row stays and
    the others are dropped (the audit counts them), so equal content is never on both sides. A
    group is on the validation side if its hash falls into the first `valid_fraction`.

    Args:
        card: dataset card.
        options: the card's options.
        valid_fraction: expected share of groups on the validation side, 0 to 1.
        seed: of the study; decides the sides.
        content: digest (`identity`) that the sources must still have when they were read.

    Returns:
        `rows` and `audit`, as described in tables.yaml.

    Raises:
        IsolossError: the dataset has no rows, or a side of it has none; a source changed while it
            was read.
    """
    import pandas as pd  # not where only the sources' digest is wanted, as at every start

    from isoloss.core.audit import tag_audit

    found = list(registry.card("dataset", card).pieces(**options))
    if content is not None and identity(card, options) != content:
        changed = "its sources changed while they were read"
        raise IsolossError(problem(f"dataset {card}", changed, "run again when they are at rest"))
    if not found:
        raise IsolossError(problem(f"dataset {card}", "no rows", "check its options"))
    rows = pd.DataFrame(
        {
            "row_id": [blake2b(p["text"], digest_size=16).hexdigest() for p in found],
            "text": [p["text"] for p in found],
            "n_tokens": [len(p["text"]) for p in found],
            "tags": [p["tags"] for p in found],
            "group": [p["group"] for p in found],
        }
    )
    sides = {g: side(g, valid_fraction, seed) for g in dict.fromkeys(rows["group"])}
    rows.insert(4, "split", rows["group"].map(sides))
    once = rows.drop_duplicates("row_id", ignore_index=True)
    for wanted in ("train", "valid"):
        if wanted not in set(once["split"]):
            found = f"none of {len(sides)} groups is on the {wanted} side"
            raise IsolossError(problem(f"dataset {card}", found, "change valid_fraction"))
    counts = (~rows["row_id"].duplicated()).astype("int64")
    tags = [list(t.items()) for t in rows["tags"]]
    return once.assign(tags=[list(t.items()) for t in once["tags"]]), tag_audit(
        tags, rows["n_tokens"], counts
    )


def side(group: str, valid_fraction: float, seed: int) -> str:
    """The side of a group: its hash, with the seed, as a number in [0, 1)."""
    digest = blake2b(f"{seed}:split:{group}".encode(), digest_size=8).digest()
    return "valid" if int.from_bytes(digest, "big") < valid_fraction * 2**64 else "train"
