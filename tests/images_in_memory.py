"""Labelled images of a test as a task reads them, without files."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from idx_files import small_images

from isoloss.core import registry
from isoloss.core.tokens import TokenArray
from isoloss.tasks._dataset import Dataset, Index

CARD = registry.card("task", "classification")


def labelled(n: int, n_valid: int, size: int = 4, images=None, labels=None) -> Dataset:
    """Small images, the last of them for validation, or images and labels that are given."""
    drawn_images, drawn_labels = small_images(n + n_valid, 3, size)
    images = drawn_images if images is None else images
    labels = drawn_labels.astype(np.int64) if labels is None else labels
    rows = np.arange(n, n + n_valid)
    tags = [[("class", str(labels[row]))] for row in rows]
    held_out = {"row": rows, "n_tokens": np.ones_like(rows)}
    held_out["tags"] = pa.array(tags, pa.map_(pa.string(), pa.string()))
    starts = np.arange(len(images) + 1)
    return Dataset(TokenArray(images), starts, pa.table(held_out), labels)


def task_of(dataset: Dataset, copies=None, rows=None, n_valid=None, n_unique=None, **options):
    """The task of all rows of a dataset that are not held out, or of some of them."""
    n = len(dataset.labels) - len(dataset.held_out)
    rows = np.arange(n) if rows is None else rows
    index = Index(rows, np.ones(len(rows), np.int64) if copies is None else copies)
    options = {"inputs": 16, "classes": 10} | options
    sides = CARD.training(dataset, index), CARD.validation(dataset)
    n_valid = len(dataset.held_out) if n_valid is None else n_valid
    return CARD.task(*sides, n_valid, 1, n_unique, **options)
