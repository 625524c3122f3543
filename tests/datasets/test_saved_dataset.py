"""Datasets that the package `datasets` saved are read as rows: splits, classes, images, faults."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pyarrow as pa
import pytest

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.datasets import _splits, saved_dataset

datasets = pytest.importorskip("datasets")
datasets.disable_progress_bars()

TEXTS = datasets.Features(
    text=datasets.Value("string"),
    topic=datasets.ClassLabel(names=["web", "code"]),
    meta={"lang": datasets.Value("string")},
)


def texts(n: int, first: int = 0) -> datasets.Dataset:
    columns = {
        "text": [f"row {first + i}" for i in range(n)],
        "topic": [(i % 3) - 1 for i in range(n)],  # -1: the row has none
        "meta": [{"lang": "en"}] * n,
    }
    return datasets.Dataset.from_dict(columns, features=TEXTS)


def options(folder, **more) -> dict:
    return registry.defaults("dataset", "saved_dataset") | {"folder": str(folder)} | more


def rows_of(folder, **more) -> list[dict]:
    """All rows that the card gives, as mappings."""
    rows = []
    for piece in saved_dataset.pieces(**options(folder, **more)):
        rows += piece.to_pylist() if isinstance(piece, pa.Table) else [piece]
    return rows


@pytest.fixture
def folder(tmp_path):
    sides = {"train": texts(5), "test": texts(3, 100), "odd": texts(2, 200)}
    datasets.DatasetDict(sides).save_to_disk(str(tmp_path / "a b"))
    return tmp_path / "a b"


def test_splits_are_sides_and_classes_and_structs_are_tags(folder):
    tags = {"topic": "topic", "lang": "meta.lang"}
    rows = rows_of(folder, tags=tags)
    assert [row["text"] for row in rows] == [
        *(f"row {i}" for i in (100, 101, 102)),
        *(f"row {i}" for i in range(5)),
    ]
    assert [row["split"] for row in rows] == ["valid"] * 3 + ["train"] * 5
    named = [[], [("topic", "web")], [("topic", "code")]]
    assert [row["tags"] for row in rows[:3]] == [[*one, ("lang", "en")] for one in named]
    assert [row["line"] for row in rows] == [1, 2, 3, 1, 2, 3, 4, 5]
    assert all(row["problem"] is None for row in rows)
    assert saved_dataset.tag_keys(**options(folder, tags=tags)) == ["topic", "lang"]


def test_splits_that_a_study_chooses_are_read_and_no_others(folder):
    rows = rows_of(folder, splits={"odd": "train", "train": "valid"})
    assert {(row["split"], row["text"][:7]) for row in rows if row["split"] == "train"} == {
        ("train", "row 200"),
        ("train", "row 201"),
    }
    assert len(rows) == 7
    names = [name for name, _ in saved_dataset.sources(**options(folder, splits={"odd": "train"}))]
    assert names == ["odd/data-00000-of-00001.arrow"]
    with pytest.raises(IsolossError, match=r"splits.tran: no such split; did you mean 'train'\?"):
        rows_of(folder, splits={"tran": "train"})


def test_a_dataset_without_splits_is_read_in_order_from_several_files(tmp_path):
    texts(1200).save_to_disk(str(tmp_path / "d"), num_shards=3)
    rows = rows_of(tmp_path / "d")
    assert [row["text"] for row in rows] == [f"row {i}" for i in range(1200)]
    assert "split" not in rows[0]
    assert [row["line"] for row in rows] == [*range(1, 401)] * 3


@pytest.mark.parametrize("kind", ["files", "arrays"])
def test_images_are_read_with_labels_and_classes(tmp_path, kind):
    image = pytest.importorskip("PIL.Image")
    pixels = np.random.default_rng(0).integers(0, 256, (4, 5, 3), dtype=np.uint8)
    given = [image.fromarray(one) for one in pixels] if kind == "files" else list(pixels)
    feature = datasets.Image() if kind == "files" else datasets.Array2D((5, 3), "uint8")
    classes = datasets.ClassLabel(names=["ant", "bee"])
    features = datasets.Features(pixels=feature, kind=classes, place=datasets.Value("string"))
    columns = {"pixels": given, "kind": [0, 1, 1, -1], "place": ["x", "y", "x", None]}
    saved = datasets.Dataset.from_dict(columns, features=features)
    saved.save_to_disk(str(tmp_path / "d"))
    rows = rows_of(tmp_path / "d", image="pixels", label="kind", tags={"place": "place"})
    assert np.array_equal([row["features"] for row in rows], pixels)
    assert all(row["features"].dtype == np.uint8 for row in rows)
    assert [row["label"] for row in rows] == [0, 1, 1, -1]
    assert rows[1]["tags"] == {"class": "bee", "place": "y"}
    assert [row["problem"] for row in rows] == [None] * 3 + ["column 'kind' is -1, not a label"]
    with pytest.raises(IsolossError, match="no column 'label'"):
        rows_of(tmp_path / "d", image="pixels")
    with pytest.raises(IsolossError, match="column 'place' is string, not whole numbers"):
        rows_of(tmp_path / "d", image="pixels", label="place")


def test_what_is_not_an_image_is_a_problem_of_its_row(tmp_path):
    values = [
        {"bytes": b"not a picture", "path": None},
        {"bytes": None, "path": "gone.png"},
        {"bytes": None, "path": None},
    ]
    reasons = [_splits._pixels(value, "x")[1] for value in [*values, [[0.5, 1.0]], [1, 2], "a"]]
    assert reasons[0].startswith("column 'x' is not an image (cannot identify")
    assert reasons[1:3] == ["column 'x' is a file elsewhere (gone.png)", "column 'x' is null"]
    assert all(
        r == "column 'x' is not an image of whole numbers from 0 to 255" for r in reasons[3:5]
    )
    assert reasons[5].startswith("column 'x' is not an image (")


def only_file(folder):
    return folder / "train" / "data-00000-of-00001.arrow"


def cut(folder):
    content = only_file(folder).read_bytes()
    only_file(folder).write_bytes(content[: len(content) // 2])


def ended_early(folder):
    """Cut off between two batches: the rest is a sound stream but for its end."""
    file = only_file(folder)
    with file.open("rb") as content:
        table = pa.ipc.open_stream(content).read_all()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    file.write_bytes(sink.getvalue().to_pybytes()[:-8])


def gone(folder):
    only_file(folder).unlink()


def no_list(folder):
    (folder / "train" / "state.json").unlink()


def elsewhere(folder):
    files = [{"filename": "../../other.arrow"}]
    (folder / "train" / "state.json").write_text(json.dumps({"_data_files": files}))


def indexed(folder):
    lists = {"_data_files": [], "_indices_data_files": [{"filename": "indices.arrow"}]}
    (folder / "train" / "state.json").write_text(json.dumps(lists))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, r"train/data-00000-of-00001.arrow: cannot be read \(.*its end is missing\); save"),
        (ended_early, r"cannot be read \(it is not an Arrow stream, or its end is missing\)"),
        (gone, r"train/data-00000-of-00001.arrow: no such file; check the path"),
        (no_list, r"is not a saved dataset \(no state.json\); give a folder that `save_to_disk`"),
        (elsewhere, r"names '../../other.arrow', which is not a file below it"),
        (indexed, r"chosen by an index: load it and save it again"),
        (shutil.rmtree, r"is not a saved dataset \(no state.json\)"),
    ],
)
def test_what_is_damaged_is_told_with_its_file(folder, damage, message):
    damage(folder)
    with pytest.raises(IsolossError, match=message):
        rows_of(folder, splits={"train": "train"})


def test_a_file_that_is_gone_is_told_before_anything_is_read(folder):
    gone(folder)
    with pytest.raises(IsolossError, match=r"arrow: no such file, .*; copy the whole folder"):
        saved_dataset.sources(**options(folder))


def test_columns_that_are_not_there_or_of_another_type_are_told(folder):
    with pytest.raises(IsolossError, match=r"no column 'txt'; did you mean 'text'\?"):
        rows_of(folder, text="txt")
    with pytest.raises(IsolossError, match="column 'topic' is of type int64, not text"):
        rows_of(folder, text="topic")


def test_a_study_that_names_no_folder_is_told():
    with pytest.raises(IsolossError, match="saved_dataset, folder: names no folder; give"):
        rows_of("")


def test_splits_of_other_names_are_told_with_what_to_write(tmp_path):
    sides = {"one": texts(2), "two": texts(2, 10)}
    datasets.DatasetDict(sides).save_to_disk(str(tmp_path / "d"))
    with pytest.raises(IsolossError, match=r"its splits are 'one', 'two'; say which .*NAME: train"):
        rows_of(tmp_path / "d")
