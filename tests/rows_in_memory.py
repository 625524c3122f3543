"""Rows of a test as what the stages read: batches, a dataset with its tokens, an index."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from isoloss.core import tables
from isoloss.core.tokens import TokenArray
from isoloss.expand import Weighting, expand_batches
from isoloss.tasks._dataset import Dataset, Index, layout


def batches_of(rows: pd.DataFrame, size: int = 7) -> list[pa.RecordBatch]:
    """A rows table in small batches."""
    return tables.conform("rows", rows).to_batches(max_chunksize=size)


def expand_table(rows: pd.DataFrame, weights, seed: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Index and audit of a weighting."""
    parts = [tables.schema("index").empty_table()]
    audit = expand_batches(batches_of(rows), Weighting(weights), seed, parts.append)
    return pa.concat_tables(parts).to_pandas(), audit.frame()


def dataset_of(rows: pd.DataFrame) -> Dataset:
    """Rows with their tokens."""
    tokens = np.frombuffer(b"".join(rows["text"]), dtype=np.uint8)
    return Dataset(TokenArray(tokens), *layout(batches_of(rows)))


def index_of(index: pd.DataFrame) -> Index:
    """What training reads of an index table."""
    return Index(index["row"].to_numpy(), index["copies"].to_numpy())
