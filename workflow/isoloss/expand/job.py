"""The stage expand: which rows a weighting repeats or drops, written into a folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from isoloss.core import tables
from isoloss.core.compiled import EFFORT
from isoloss.core.escape import say
from isoloss.core.problems import IsolossError
from isoloss.expand import mixture
from isoloss.expand.batches import CATEGORIES, Weighting, expand_batches


def run(
    specification: Mapping[str, Any],
    rows: Path,
    out: Path,
    facts: Mapping[str, Any],
    best: Sequence[Path] = (),
    threads: int = 1,
) -> list[Path]:
    """Repeat or drop training rows by the weights of their tags, batch by batch.

    Args:
        specification: what matters to the job: `seed`, and `weights` (tag key to tag value to
            weight) or `mixture` (the proportions from which they follow); beside weights `content`,
            folder to the weights in it, which count over them for the rows of files there.
        rows: rows.parquet of the dataset.
        out: folder for `index`, `audit` and `mixture`.
        facts: kept in all files.
        best: best_mixture.parquet of the fit that a mixture is taken from, if it is.
        threads: that decide about rows at once; the results are the same.

    Returns:
        The files.
    """
    files = [out / f"{name}.parquet" for name in ("index", "audit", "mixture")]
    seed, weights = specification["seed"], specification.get("weights", {})
    tag_key = target = None
    if "mixture" in specification:
        asked = specification["mixture"]
        tag_key = asked["tag_key"]
        tables_of_fit = [tables.frame(file, "best_mixture") for file in best]
        counted = tables.batches(rows, "rows", mixture.COLUMNS)
        try:
            domains = mixture.Domains.of(counted, tag_key)
            target = mixture.target_of(asked, domains.tokens, seed, *tables_of_fit)
            weights = {tag_key: mixture.mixture_weights(domains.tokens, target, asked["size"])}
        except IsolossError as error:
            place = f"expand.{facts['weighting']}"
            raise IsolossError(*[one.within(place, ".") for one in error.problems]) from error
        if domains.rows_without:
            without = f"{domains.rows_without} training rows ({domains.tokens_without} tokens)"
            say(f"{without} have no tag {tag_key!r}: their weight is 0", sys.stderr)
    weighting = Weighting(weights, tag_key, specification.get("content", {}))
    batches = tables.batches(rows, "rows", weighting.columns, categories=CATEGORIES)
    EFFORT.expect(tables.n_rows(rows))
    with tables.batch_writer("index", files[0], facts) as write:
        audit = expand_batches(batches, weighting, seed, write, threads).frame()
    tables.write("audit", audit, files[1], facts)
    by_domain = {} if weighting.folders else weights  # else they differ within a domain
    shares = mixture.mixture_table(audit, by_domain, tag_key, target)
    tables.write("mixture", shares, files[2], facts)
    say(mixture.told(shares, list(weights)), sys.stderr, end="")
    return files
