"""Whatever finds no room on the disk names its file, and leaves no half of it."""

from __future__ import annotations

import resource
from contextlib import contextmanager

import pandas as pd
import pytest

from isoloss.core import locks, tables
from isoloss.core.tokens import token_writer
from isoloss.records.store import Store

DOORS = {
    "text": ("out.txt", lambda folder: tables.write_text(folder / "out.txt", "text")),
    "table": (
        "index.parquet",
        lambda folder: tables.write(
            "index",
            pd.DataFrame({"row": [0], "row_id": ["a"], "copies": [1]}),
            folder / "index.parquet",
        ),
    ),
    "tokens": ("tokens.npy", lambda folder: _tokens(folder / "tokens.npy")),
    "lock": ("claim", lambda folder: _locked(folder / "claim")),
    "journal": ("journal.jsonl", lambda folder: Store(folder).note("start", "a" * 32, "one")),
    "failure": ("failures.txt", lambda folder: Store(folder).failed("run", "it failed")),
}


def _tokens(path):
    with token_writer(path):
        pass


def _locked(path):
    with locks.locked(path):
        pass


@contextmanager
def no_room():
    """No file of this process may grow."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize(("name", "write"), DOORS.values(), ids=DOORS)
def test_a_file_that_finds_no_room_is_named(tmp_path, name, write):
    (tmp_path / "run").mkdir()
    with no_room(), pytest.raises(OSError, match="File too large") as caught:
        write(tmp_path)
    assert caught.value.filename.endswith(f"/{name}")
    assert not list(tmp_path.rglob("*.tmp"))
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) == 0
    write(tmp_path)
