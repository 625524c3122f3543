"""Rows of a weighting as Parquet and as a dataset of `datasets`: copies written out, in order."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from idx_files import small_images

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError
from isoloss.core.tokens import NAME, token_writer
from isoloss.datasets import saved_dataset
from isoloss.expand import expand_batches
from isoloss.expand import export as export_module
from isoloss.expand.export import Expanded, export_rows

WEIGHTS = {"kind": {"code": 2.5, "comment": 0}, "domain": {"data": 0.75}}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A maker of the tables of a dataset and of a weighting of it, as the stages leave them."""
    monkeypatch.setattr(tables, "BATCH_ROWS", 7)

    def make(rows: pd.DataFrame, examples: np.ndarray, weights=WEIGHTS) -> Expanded:
        files = [tmp_path / name for name in ("rows.parquet", "index.parquet", "audit.parquet")]
        tables.write("rows", rows, files[0])
        batches = tables.batches(files[0], "rows", ("row_id", "n_tokens", "tags", "split"), 7)
        with tables.batch_writer("index", files[1]) as write:
            audit = expand_batches(batches, weights, 7, write)
        tables.write("audit", audit.frame(), files[2])
        with token_writer(tmp_path / NAME) as tokens:
            tokens.append(examples)
        return Expanded(*files, tmp_path / NAME)

    return make


@pytest.fixture
def expanded(made, rows):
    return made(rows, np.frombuffer(b"".join(rows["text"]), np.uint8))


def expected(rows: pd.DataFrame, expanded: Expanded, split: str) -> pd.DataFrame:
    """The rows of a split, each copied as the index says."""
    if split == "train":
        index = tables.frame(expanded.index)
        rows = rows.iloc[np.repeat(index["row"], index["copies"])]
    else:
        rows = rows[rows["split"] == split]
    tags = pd.DataFrame([dict(tags) for tags in rows["tags"]])
    texts = [text.decode() for text in rows["text"]]
    columns = {"row_id": rows["row_id"].array, "text": texts, "group": rows["group"].array}
    return pd.DataFrame(columns).assign(kind=tags["kind"], domain=tags["domain"])


def test_copies_are_written_out_in_order_as_parquet(expanded, rows, tmp_path):
    counts = export_rows(expanded, tmp_path / "a b" / "out", "parquet")
    for split, name in {"train": "train", "valid": "validation"}.items():
        written = pd.read_parquet(tmp_path / "a b" / "out" / f"{name}.parquet")
        copied = expected(rows, expanded, split)
        pd.testing.assert_frame_equal(written[copied.columns], copied, check_dtype=False)
        assert counts[name] == len(written)
    train = pd.read_parquet(tmp_path / "a b" / "out" / "train.parquet")
    assert train["row_id"].duplicated().any()
    assert sorted(path.name for path in (tmp_path / "a b").iterdir()) == ["out"]


def test_a_dataset_is_read_by_its_package_and_by_our_card(expanded, rows, tmp_path):
    datasets = pytest.importorskip("datasets")
    export_rows(expanded, tmp_path / "out", "datasets")
    loaded = datasets.load_from_disk(str(tmp_path / "out"))
    assert list(loaded) == ["train", "validation"]
    train = expected(rows, expanded, "train")
    pd.testing.assert_frame_equal(
        loaded["train"].to_pandas()[train.columns], train, check_dtype=False
    )
    assert loaded["train"].features["text"] == datasets.Value("string")
    assert loaded["train"].filter(lambda row: row["kind"] == "code").num_rows > 0
    options = registry.defaults("dataset", "saved_dataset") | {"folder": str(tmp_path / "out")}
    texts = {"train": [], "valid": []}
    for table in saved_dataset.pieces(**options | {"tags": {"kind": "kind"}}):
        texts[table["split"][0].as_py()] += table["text"].to_pylist()
    assert texts["train"] == train["text"].tolist()
    assert len(texts["valid"]) == loaded["validation"].num_rows


def test_images_are_exported_with_their_labels(made, tmp_path):
    images, labels = small_images(12, 1)
    rows = pd.DataFrame(
        {
            "row_id": [f"i{i}" for i in range(12)],
            "text": None,
            "features": [image.tobytes() for image in images],
            "label": labels.astype(np.int64),
            "n_tokens": 1,
            "tags": [[("label", str(label))] for label in labels],  # a name that is taken
            "split": ["valid" if i < 4 else "train" for i in range(12)],
            "group": [f"g{i}" for i in range(12)],
        }
    )
    expanded = made(rows, images, {"label": {str(labels[5]): 2}})
    export_rows(expanded, tmp_path / "out", "datasets")
    options = registry.defaults("dataset", "saved_dataset") | {"folder": str(tmp_path / "out")}
    options |= {"image": "image", "tags": {"of": "tag_label"}}
    pieces = list(saved_dataset.pieces(**options))
    index = tables.frame(expanded.index)
    order = [0, 1, 2, 3, *np.repeat(index["row"], index["copies"])]
    assert np.array_equal([piece["features"] for piece in pieces], images[order])
    assert [piece["label"] for piece in pieces] == labels[order].tolist()
    assert [piece["tags"]["of"] for piece in pieces] == [str(label) for label in labels[order]]


def test_texts_that_are_not_utf8_are_exported_as_bytes(made, rows, tmp_path):
    odd = rows.assign(text=[b"\xff" + text for text in rows["text"]])
    expanded = made(odd, np.frombuffer(b"".join(odd["text"]), np.uint8))
    export_rows(expanded, tmp_path / "out", "parquet")
    assert pd.read_parquet(tmp_path / "out" / "train.parquet")["text"].iloc[0][:1] == b"\xff"


def test_many_copies_of_long_rows_are_written_in_parts(made, rows, tmp_path, monkeypatch):
    monkeypatch.setattr(export_module, "_BYTES", 1000)
    tokens = np.frombuffer(b"".join(rows["text"]), np.uint8)
    expanded = made(rows, tokens, {"kind": {"code": 100.0}})
    export_rows(expanded, tmp_path / "out", "parquet")
    written = pd.read_parquet(tmp_path / "out" / "train.parquet")
    assert written["row_id"].tolist() == expected(rows, expanded, "train")["row_id"].tolist()


def test_a_folder_that_is_there_is_refused_and_left_as_it_is(expanded, tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(IsolossError, match="out: is there already; name a folder that is not"):
        export_rows(expanded, tmp_path / "out", "parquet")
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize("form", ["parquet", "datasets"])
def test_an_index_of_other_rows_is_refused_and_nothing_is_left(made, rows, tmp_path, form):
    tokens = np.frombuffer(b"".join(rows["text"]), np.uint8)
    expanded = made(rows, tokens)
    before = sorted(path.name for path in tmp_path.iterdir())
    for other in (rows.assign(row_id=rows["row_id"] + "x"), rows.head(20)):
        tables.write("rows", other, expanded.rows)
        with pytest.raises(IsolossError, match="is not of the rows of this dataset"):
            export_rows(expanded, tmp_path / "out", form)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
