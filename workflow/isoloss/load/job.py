"""The stage load: a dataset's rows, their tokens and an audit, written into a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from isoloss.core import registry, tables, tokenizer, tokens
from isoloss.core.escape import say
from isoloss.load.dropped import OTHER_SIDE, read
from isoloss.load.rows import Writers, load_rows


def run(
    specification: Mapping[str, Any], out: Path, facts: Mapping[str, Any], fetched: Path
) -> list[Path]:
    """Cut a dataset into rows with tags and a split, batch by batch.

    Args:
        specification: what matters to the job: `dataset` (an entry of `load`), `seed`, and
            `content`, the digest that the sources must have.
        out: folder for `rows`, `audit`, `dropped` and the examples of all rows in their order.
        facts: kept in the tables.
        fetched: folder where a card that reads from a network keeps what it fetched.

    Returns:
        The files.

    Raises:
        IsolossError: a source changed while it was read, a row cannot be used, or there are none.
    """
    names = ["rows.parquet", "audit.parquet", "dropped.parquet", tokens.NAME]
    rows, audit, dropped, examples_file = files = [out / name for name in names]
    dataset, seed = specification["dataset"], specification["seed"]
    name = facts.get("dataset", dataset["card"])  # that of the study
    facts, sizes = {**facts, **_known(dataset)}, np.zeros(2)
    with (
        tables.batch_writer("rows", rows, facts) as write_rows,
        tables.batch_writer("dropped", dropped, facts) as write_dropped,
        tokens.token_writer(examples_file) as token_file,
    ):

        def write(batch: pa.Table, examples: np.ndarray) -> None:
            write_rows(batch)
            token_file.append(examples)
            sizes[:] += pc.sum(pc.binary_length(batch["text"])).as_py() or 0, len(examples)

        writers, content = Writers(write, write_dropped), specification["content"]
        counted = load_rows(dataset, seed, writers, content, fetched, name)
    if "vocabulary" in facts:
        facts["bytes_per_token"] = float(sizes[0] / sizes[1])
    bad_rows = {reason: n for reason, n in read(dropped).items() if reason != OTHER_SIDE}
    if bad_rows:
        facts["bad_rows"] = bad_rows
    tables.write("audit", counted.frame(), audit, facts)
    for line in _lines(facts):
        say(f"dataset {name}: {line}", sys.stderr)
    return files


def _known(dataset: Mapping[str, Any]) -> dict[str, Any]:
    """What is known of the tokens of a dataset before it is read, as facts of its tables.

    Of bytes nothing but the entropy rate, where the card knows it (nats a byte, by domain).
    """
    name = dataset.get("tokenizer", tokenizer.BYTES)
    if name != tokenizer.BYTES:
        words = tokenizer.of(name)
        return {"tokenizer": words.digest, "vocabulary": words.vocabulary}
    if not registry.facts("dataset", dataset["card"]).get("ENTROPY_RATE"):
        return {}
    card = registry.card("dataset", dataset["card"])
    return {"entropy_rate": card.entropy_rate(**dataset["options"])}


def _lines(facts: Mapping[str, Any]) -> list[str]:
    """What is known of the tokens of a dataset, for its log."""
    lines = []
    if "bytes_per_token" in facts:
        sizes = f"{facts['bytes_per_token']:.3f} bytes a token"
        lines.append(f"{sizes}, {facts['vocabulary']} tokens to choose from")
    for domain, rate in facts.get("entropy_rate", {}).items():
        lines.append(f"entropy rate of {domain}: {rate:.6g} nats/byte")
    return lines
