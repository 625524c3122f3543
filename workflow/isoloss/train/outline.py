"""What a start needs to know of the planned runs of a sweep, kept between processes.

A start of the workflow asks of every shard whether it is due, not for its runs: a digest of them is
enough, and the names of their weightings. Both are kept in a file, under a key of everything that
decides them, so that a start neither spells a sweep out nor reads its plan while these stay the
same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import astuple, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.train.plan import runs_digest

_VERSION = 1  # of the file


@dataclass(frozen=True)
class ShardOutline:
    """The planned runs of a shard, in short.

    Attributes:
        digest: of the runs, in order.
        count: how many there are.
        weightings: whose rows they are trained on, sorted; none of a user's program.
    """

    digest: str
    count: int
    weightings: tuple[str, ...]


Outline = Mapping[str, ShardOutline]  # by shard


def outline_of(by_shard: Mapping[str, Sequence[Mapping[str, Any]]]) -> Outline:
    """The outline of a sweep.

    Args:
        by_shard: its planned runs; see `plan.shard_runs`.

    Example:
        >>> outline_of({"0": [{"run_id": "a", "weighting": "natural"}], "1": []})["0"].weightings
        ('natural',)
    """
    return {
        shard: ShardOutline(
            runs_digest(runs),
            len(runs),
            tuple(sorted({run["weighting"] for run in runs if "weighting" in run})),
        )
        for shard, runs in by_shard.items()
    }


def key_of(*parts: Any) -> str:
    """A digest of what decides an outline; the order of keys counts, as it does in cells."""
    text = json.dumps([_VERSION, *parts], ensure_ascii=False)
    return blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def read(kept: Path, key: str) -> Outline | None:
    """The outline that was kept under a key; None if there is none, or if the file is damaged."""
    try:
        head, _, body = kept.read_text(encoding="utf-8").partition("\n")
        if head != f"{key} {_checksum(body)}":
            return None
        return {shard: ShardOutline(d, n, tuple(w)) for shard, (d, n, w) in json.loads(body)}
    except (OSError, ValueError, TypeError):
        return None


def save(kept: Path, key: str, outline: Outline) -> None:
    """Keep an outline under a key, in the place of what was there."""
    body = json.dumps([(shard, astuple(one)) for shard, one in outline.items()])
    with suppress(OSError):  # full or read-only disk: made again next time
        tables.write_text(kept, f"{key} {_checksum(body)}\n{body}")


def _checksum(body: str) -> str:
    return blake2b(body.encode(), digest_size=16).hexdigest()
