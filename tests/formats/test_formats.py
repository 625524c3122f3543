"""Bytes to rows: what is small and unpacks to anything is refused before it does."""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import zlib
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.aggregate import read_runs
from isoloss.core.addresses import Address
from isoloss.core.problems import IsolossError, TableError
from isoloss.core.sources import Limits, Source, open_source
from isoloss.formats import delimited, packing, unpack
from isoloss.formats.read import rows

CSV = b"size,seen,val_loss\n1e6,2e8,3.5\n2e6,2e8,3.3\n"
MIB = 2**20


def parse(opened: Source) -> pd.DataFrame:
    """The rows of a source."""
    return rows(opened).rows


def source(content: bytes, max_mib: float = 8, address: str = "runs") -> Source:
    return Source(Address.given(address), (content,), limits=Limits(max_mib=max_mib))


def refused(content: bytes, max_mib: float = 8) -> str:
    """Why a table is refused, without much memory; the limit of size is named."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(TableError) as error:
        parse(source(content, max_mib))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300_000  # KiB
    return str(error.value)


def over(reason: str, max_mib: float = 8) -> bool:
    return f"max_mib = {max_mib:g} MiB" in reason and "raise max_mib" in reason


def packed(size: int, level: int = 9) -> bytes:
    """A gzip that unpacks to a CSV of `size` bytes."""
    engine = zlib.compressobj(level, wbits=31)
    head, line = b"size,seen,val_loss\n", b"1,1,1\n" * 4096
    parts = [engine.compress(head)]
    parts += [engine.compress(line) for _ in range(size // len(line))]
    return b"".join([*parts, engine.flush()])


def parquet(table: pa.Table, **options) -> bytes:
    file = io.BytesIO()
    pq.write_table(table, file, **options)
    return file.getvalue()


def test_gzip_is_known_by_its_bytes_and_read_as_a_whole():
    twice = gzip.compress(CSV[:20]) + gzip.compress(CSV[20:])
    for content in (CSV, gzip.compress(CSV), twice, twice + bytes(40_000)):
        assert list(parse(source(content))["val_loss"]) == [3.5, 3.3]


@given(st.lists(st.binary(max_size=40_000), min_size=1, max_size=5), st.integers(0, 9))
def test_gzip_gives_back_what_was_packed(parts, level):
    parts = [b"a,", *parts]  # what begins otherwise may be packed again
    content = b"".join(gzip.compress(part, level) for part in parts)
    assert packing.files(source(content))[0][0].parts[0] == b"".join(parts)


def test_a_gzip_that_unpacks_to_more_than_the_limit_is_refused_by_its_name():
    bomb = packed(360 * MIB)
    assert len(bomb) < 2 * MIB
    assert over(refused(bomb))
    assert "unpacks to more" in refused(bomb)


GZIPS = {
    "packed twice": (
        gzip.compress(gzip.compress(CSV)),
        "is compressed twice with gzip; decompress it once",
    ),
    "cut short": (gzip.compress(CSV)[:-12], "is not a table"),
    "with a wrong sum": (gzip.compress(CSV)[:-8] + b"12345678", "is not a table"),
    "damaged": (gzip.compress(CSV)[:12] + b"\xff" * 30, "is not a table"),
    "of nothing": (gzip.compress(b""), "is empty"),
    "with a name without end": (b"\x1f\x8b\x08\x08" + b"x" * 4 * MIB, "is not a table"),
    "with something behind it": (gzip.compress(CSV) + b"more", "is not a table"),
}


@pytest.mark.parametrize(("content", "reason"), GZIPS.values(), ids=GZIPS)
def test_a_gzip_that_is_not_whole_is_told(content, reason):
    assert f"runs: {reason}" in refused(content)


PAGES = [
    b"<!DOCTYPE html>\n<html><body>Log in, please</body></html>",
    b"\xef\xbb\xbf\r\n  <HTML><head>a,b\n1,2</head></HTML>",
    b"<table>\n<tr><td>params</td><td>loss</td></tr></table>",
    b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
]


@pytest.mark.parametrize("content", [*PAGES, gzip.compress(PAGES[0], mtime=0)])
def test_a_page_instead_of_a_table_is_told(content):
    assert "runs: is a page of HTML or XML, not a table; give the address" in refused(content)


@pytest.mark.parametrize("content", [b"", b"\n \r\n", b"\xef\xbb\xbf"])
def test_an_empty_table_is_told(content):
    assert "runs: is" in refused(content)


def test_a_page_that_repeats_the_token_does_not_get_into_the_results():
    echo = b"no,/x.csv?token=sesame-42\n1,2\n"
    with pytest.raises(TableError, match="repeats a secret of its address") as error:
        parse(source(echo, address="https://host/x.csv?token=sesame-42"))
    assert "sesame" not in str(error.value)


LINES = {
    "a first line without end": (b"x" * 7 * MIB, "line 1 is longer than 1 MiB"),
    "a first line of many columns": (b"a," * 20_000 + b"a\n", "line 1 has more than 10000 columns"),
    "another line of many": (CSV + b"1," * 20_000, "line 4 has more than 10000 columns"),
    "a late line without end": (CSV * 100 + b"7" * 2 * MIB, "line 301 is longer than 1 MiB"),
    "many columns, old lines": (CSV.replace(b"\n", b"\r") + b"1," * 20_000, "more than 10000 col"),
}


@pytest.mark.parametrize(("content", "reason"), LINES.values(), ids=LINES)
def test_lines_that_would_take_for_ever_are_told(content, reason):
    assert reason in refused(content)


def test_many_empty_cells_and_lines_are_counted_before_they_are_made():
    assert over(refused(b"a,b\n" + b",\n" * 2_000_000))
    assert over(refused(b"a,b\n" + b"\n" * 4_000_000))
    assert over(refused(b",".join(b"c%d" % i for i in range(2000)) + b"\n1" * 4000))


def test_lines_as_on_a_very_old_mac_are_still_lines():
    old = CSV.replace(b"\n", b"\r") + b"1e6,2e8,3.5\r" * 100_000
    assert len(parse(source(old))) == 100_002


LONG = pa.array(["x" * 100_000])
TEXTS = LONG.take(pa.array([0] * 100))  # 10 MB
PAIRS = pa.map_(pa.string(), pa.string())
BOMBS = {
    "one number a million times": {"a": pa.nulls(2_000_000, pa.int8())},
    "zeros": {"a": np.zeros(2_000_000)},
    "nothing": {"a": pa.nulls(2_000_000)},
    "a long text": {"a": TEXTS},
    "a long text in lists": {"a": pa.ListArray.from_arrays([0, 50, 100], TEXTS)},
    "a long text in maps": {
        "a": pa.MapArray.from_arrays([0, 50, 100], pa.array(range(100)), TEXTS)
    },
    "a long text in structs": {"a": pa.StructArray.from_arrays([TEXTS], ["b"])},
    "categories": {"a": TEXTS.dictionary_encode()},
    "long lists": {"a": [[0] * 1_000_000] * 2},
    "wide bytes": {"a": pa.array([b"x" * 100_000] * 100, pa.binary(100_000))},
    "many columns": {f"c{i}": [1] for i in range(10_001)},
    "many cells": {f"c{i}": pa.nulls(2000) for i in range(1000)},
}


@pytest.mark.parametrize("table", BOMBS.values(), ids=BOMBS)
def test_a_parquet_file_that_unpacks_to_more_than_the_limit_is_refused(table):
    content = parquet(pa.table(table), compression="zstd")
    assert len(content) < 4 * MIB
    message = refused(content)
    assert over(message) or "more than 10000 columns" in message


SOUND = pa.table(
    {
        "size": [1e6, 2e6, None],
        "text": ["a", None, "b" * 50],
        "seen": pa.array([1, 2, 3], pa.decimal128(5, 2)),
        "tags": [["a", "b"], [], None],
        "map": pa.array([[("k", "v")]] * 3, pa.map_(pa.string(), pa.string())),
        "struct": [{"a": "b", "c": 1}] * 3,
        "kind": pa.array(["u", "v", "u"]).dictionary_encode(),
        "large": pa.array(["u", "v", "u"], pa.large_string()),
        "bytes": [b"1", b"2", None],
        "when": pa.array([0, 1, 2], pa.timestamp("ms")),
        "flag": [True, None, False],
    }
)


def test_a_parquet_file_is_read_as_pandas_reads_it(tmp_path):
    for table in (SOUND, pa.Table.from_pandas(SOUND.to_pandas().iloc[1:])):
        content = parquet(table)
        usual = pd.read_parquet(io.BytesIO(content)).reset_index(drop=True)
        pd.testing.assert_frame_equal(parse(source(content)), usual)


@pytest.mark.parametrize("kind", ["string_view", "binary_view"])
def test_a_parquet_file_of_other_writers_is_read(kind):
    values = pa.array(["a", "b"]).cast(pa.type_for_alias(kind))
    assert len(parse(source(parquet(pa.table({"loss": values, "N": [1, 2]}))))) == 2


@pytest.mark.parametrize("at", [4, 40, -30, -9, -5])
def test_a_damaged_parquet_file_is_told(at):
    content = bytearray(parquet(SOUND))
    content[at] ^= 0xFF
    content[at + 1] ^= 0x55
    try:
        parse(source(bytes(content)))
    except TableError as error:
        assert "runs: " in str(error)


@settings(max_examples=15)
@given(st.data())
def test_a_parquet_file_with_any_damage_is_read_or_told(data):
    content = bytearray(PARQUET)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(4, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(IsolossError):
        parse(source(bytes(content)))


PARQUET = parquet(pa.table({"N": [1.0, 2.0], "loss": [2.0, 3.0], "name": ["a", "b"]}))


def stream(table: pa.Table, **options) -> bytes:
    file = io.BytesIO()
    with pa.ipc.new_stream(file, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table)
    return file.getvalue()


@pytest.fixture
def save(tmp_path):
    """A writer of a dataset as `datasets` saves it; its folder."""

    def write(*parts: bytes, files=None):
        names = [f"data-{i}.arrow" for i in range(len(parts))]
        for name, part in zip(names, parts, strict=True):
            (tmp_path / name).write_bytes(part)
        listed = [{"filename": name} for name in (files or names)]
        (tmp_path / "state.json").write_text(json.dumps({"_data_files": listed}))
        return tmp_path

    return write


def test_a_saved_dataset_is_read_file_by_file(save):
    table = parse(open_source(save(stream(SOUND), stream(SOUND))))
    pd.testing.assert_frame_equal(table, pd.concat([SOUND.to_pandas()] * 2, ignore_index=True))


RUNS = pa.run_end_encoded(pa.int64(), pa.float64())
ARROW_BOMBS = {
    "nothing": pa.Array.from_buffers(pa.null(), 10**9, [None]),
    "categories": TEXTS.dictionary_encode(),
    "views": TEXTS.cast(pa.string_view()),
    "runs": pa.RunEndEncodedArray.from_arrays([10**9], [1.0], RUNS),
    "empty structs": pa.StructArray.from_buffers(pa.struct([]), 10**9, [None]),
    "lists of nothing": pa.FixedSizeListArray.from_arrays(
        pa.Array.from_buffers(pa.null(), 10**9, [None]), 10**3
    ),
}


@pytest.mark.parametrize("table", ARROW_BOMBS.values(), ids=ARROW_BOMBS)
def test_an_arrow_file_that_claims_more_than_the_limit_is_refused(save, table):
    folder = save(stream(pa.table({"a": table})))
    with pytest.raises(
        TableError, match=r"raise max_mib|has a column of type .* remove the column"
    ):
        parse(open_source(folder, Limits(max_mib=8)))


TWO = {
    "values": pa.table({"a": np.arange(2e5)}),
    "a dictionary": pa.table({"a": pa.array(["x" * 10**6, "y" * 10**6]).dictionary_encode()}),
}


@pytest.mark.parametrize("compression", ["zstd", "lz4"])
@pytest.mark.parametrize("table", TWO.values(), ids=TWO)
def test_a_compressed_arrow_file_is_read_unless_it_claims_too_much(save, compression, table):
    folder = save(stream(table, compression=compression))
    pd.testing.assert_frame_equal(parse(open_source(folder)), table.to_pandas())
    with pytest.raises(TableError, match="it unpacks to more than max_mib"):
        parse(open_source(folder, Limits(max_mib=1)))


def test_an_arrow_file_whose_buffers_lie_about_their_size_is_told():
    content = bytearray(stream(pa.table({"a": np.zeros(10**5)}), compression="zstd"))
    at = content.index((8 * 10**5).to_bytes(8, "little"))
    for size in (2**40, 2**62, 80, -5):
        content[at : at + 8] = size.to_bytes(8, "little", signed=True)
        with pytest.raises(TableError, match=r"unpacks to more|is not a table"):
            parse(source(bytes(content)))


ARROW = stream(pa.table({"N": [1.0, 2.0], "loss": [2.0, 3.0], "name": ["a", "b"]}))


@settings(max_examples=15)
@given(st.data())
def test_an_arrow_file_with_any_damage_is_read_or_told(data):
    content = bytearray(ARROW)
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    with suppress(IsolossError):
        parse(Source(Address.given("runs"), (bytes(content),), True, Limits(max_mib=8)))


@settings(max_examples=15)
@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_told(content):
    for start in (b"", b"PAR1", b"\x1f\x8b\x08", CSV):
        with suppress(IsolossError):
            parse(source(start + content))


def test_a_reader_that_breaks_down_does_not_break_its_caller(save, monkeypatch, tmp_path):
    script = tmp_path / "aborts.py"
    script.write_text("import os; os.abort()")
    monkeypatch.setattr(unpack, "__file__", str(script))
    for content in (source(PARQUET), open_source(save(ARROW))):
        with pytest.raises(TableError, match=r"that read it ended early \(SIGABRT\).*max_mib"):
            parse(content)
    script.write_text("import os; os.write(2, b'pure virtual'); os.abort()")
    with pytest.raises(TableError, match=r"\(SIGABRT: pure virtual\)"):
        parse(source(PARQUET))
    script.write_text("import time; time.sleep(60)")
    slow = Source(Address.given("runs"), (PARQUET,), limits=Limits(max_seconds=0.5))
    with pytest.raises(TableError, match=r"max_seconds = 0\.5 seconds"):
        parse(slow)


def test_the_reader_imports_nothing_of_the_folder_it_runs_in(tmp_path, monkeypatch):
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    assert len(parse(source(PARQUET))) == 2


def test_too_little_memory_is_told(monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(delimited, "_layout", fail)
    assert "runs: does not fit into the memory of this machine" in refused(CSV)


def test_the_limit_can_be_raised(tmp_path):
    (tmp_path / "r.csv.gz").write_bytes(packed(2 * MIB))
    columns = {"N": "size", "D": "seen", "loss": "val_loss"}
    with pytest.raises(TableError, match="max_mib = 1 MiB"):
        read_runs(tmp_path / "r.csv.gz", columns, max_mib=1)
    assert len(read_runs(tmp_path / "r.csv.gz", columns, max_mib=16)) > 300_000
    assert os.path.getsize(tmp_path / "r.csv.gz") < 20_000
