"""What cards give as pieces, and what becomes of rows that cannot be used."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError
from isoloss.load import job
from isoloss.load import pieces as pieces_module
from isoloss.study import status
from isoloss.study.flow import Flow

MAP = pa.map_(pa.string(), pa.string())


@pytest.fixture
def load(monkeypatch, tmp_path):
    """Load what a card gives as pieces; returns a table of the job by name, and its folder."""
    out = tmp_path / "out"

    def load(given, on_bad_row="stop"):
        card = SimpleNamespace(pieces=lambda: iter(given), sources=lambda: [])
        monkeypatch.setattr(registry, "card", lambda kind, name: card)
        monkeypatch.setattr(registry, "facts", lambda kind, name: {})
        dataset = {"card": "given", "options": {}, "valid_fraction": 0.3, "on_bad_row": on_bad_row}
        job.run(
            {"dataset": dataset, "seed": 7, "content": None},
            out,
            {"dataset": "notes"},
            tmp_path / "fetched",
        )
        return {name: tables.frame(out / f"{name}.parquet", name) for name in ("rows", "dropped")}

    load.out = out
    return load


def rows_of(n: int, **further) -> list[dict]:
    """Rows as mappings, every third of validation."""
    return [
        {
            "text": f"text {i}".encode(),
            "tags": {"kind": f"k{i % 3}"},
            "group": f"g{i // 2}",
            "split": "valid" if i % 3 == 0 else "train",
        }
        | {key: value(i) for key, value in further.items()}
        for i in range(n)
    ]


def table_of(rows: list[dict]) -> pa.Table:
    """The same rows as an Arrow table."""
    columns = {key: [row[key] for row in rows] for key in rows[0]}
    columns["tags"] = pa.array([list(tags.items()) for tags in columns["tags"]], MAP)
    return pa.table(columns)


def test_rows_in_tables_are_the_rows_one_by_one(load, monkeypatch):
    rows = rows_of(50, row_id=lambda i: f"id {i}")
    one_by_one = load(rows)["rows"]
    files = [load.out / name for name in ("rows.parquet", "audit.parquet", "tokens.npy")]
    before = [file.read_bytes() for file in files]
    for size in (1, 7, 50):
        load([table_of(rows[i : i + size]) for i in range(0, 50, size)])
        assert [file.read_bytes() for file in files] == before
    monkeypatch.setattr(pieces_module, "BATCH_BYTES", 20)
    mixed = load([*rows[:9], table_of(rows[9:30]), *rows[30:]])["rows"]
    assert mixed.equals(one_by_one)
    assert list(one_by_one["row_id"]) == [f"id {i}" for i in range(50)]
    assert np.load(files[2]).tobytes() == b"".join(row["text"] for row in rows)


def test_images_in_a_table_are_the_images_one_by_one(load):
    images = np.arange(30 * 12, dtype=np.uint8).reshape(30, 3, 4)
    rows = [
        {"features": image, "label": i, "tags": {}, "group": "", "split": ("train", "valid")[i % 2]}
        for i, image in enumerate(images)
    ]
    one_by_one = load(rows)["rows"]
    columns = {key: [row[key] for row in rows] for key in ("label", "group", "split")}
    columns["features"] = pa.FixedShapeTensorArray.from_numpy_ndarray(images)
    assert load([pa.table(columns)])["rows"].equals(one_by_one)
    assert np.array_equal(np.load(load.out / "tokens.npy"), images)


def test_bad_rows_stop_the_job_with_their_place_and_counts_and_leave_no_file(load):
    rows = rows_of(60, file=lambda i: "a b.jsonl", line=lambda i: i + 1)
    for i in range(30):
        rows[2 * i]["text"] = None if i < 10 else b""
    rows[7] |= {"problem": "not UTF-8 (byte 17)", "text": None}
    rows[9] |= {"problem": "not UTF-8 (byte 3)", "text": None}
    with pytest.raises(IsolossError) as error:
        load(rows)
    first, *others = str(error.value).splitlines()
    assert "32 rows cannot be used: empty text (20), no text (10), not UTF-8 (2)" in first
    assert "on_bad_row: drop" in first
    assert others[:2] == ["a b.jsonl:1: no text", "a b.jsonl:3: no text"]
    assert "a b.jsonl:8: not UTF-8 (byte 17)" in others
    assert len(others) == 20
    assert not any(load.out.iterdir())


def test_bad_rows_are_dropped_and_listed_if_the_study_says_so(load, capsys):
    rows = rows_of(40, row_id=lambda i: f"id {i % 39}")
    rows[3]["text"] = ""
    rows[4]["row_id"] = None
    rows[5]["row_id"] = ""
    rows[6]["split"] = "dev"
    loaded = load(rows, on_bad_row="drop")
    assert len(loaded["rows"]) == 35
    reasons = loaded["dropped"].set_index("number")["reason"].to_dict()
    assert reasons == {
        4: "empty text",
        5: "no id",
        6: "empty id",
        7: "its split is not train, valid or test",
        40: "its id is that of an earlier row",
    }
    assert loaded["dropped"]["row_id"].tolist()[-1] == "id 0"
    assert (
        "dataset notes: 5 rows are left out: empty id (1), empty text (1)"
        in capsys.readouterr().err
    )


def test_status_tells_how_many_rows_of_a_dataset_are_left_out_and_why(load):
    rows = rows_of(12)
    rows[3]["text"], rows[5] = "", rows[5] | {"text": None, "problem": "bad\n (byte 2)"}
    rows[8]["text"] = rows[6]["text"]
    load(rows, on_bad_row="drop")
    folder = load.out.parent / "results/one"
    (folder / "load").mkdir(parents=True)
    load.out.rename(folder / "load/some")
    config = {"load": {"some": {}, "not loaded": {}}, "train": {}}
    assert status.report(Flow(config, folder)).splitlines()[-1] == (
        "dataset some: 3 rows are left out: bad\\n (1), empty text (1), "
        "repeats a row of the other side (1)"
    )
