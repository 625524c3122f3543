"""Pieces to rows: identity, duplicates, sides and the audit."""

from __future__ import annotations

import os
from hashlib import blake2b

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from isoloss.core import tables
from isoloss.core.problems import IsolossError
from isoloss.load import Writers, identity, job, load_rows
from isoloss.load import pieces as load_module

CARD = "python_stdlib"
SHARED = "# the same\n# in every file\n"


@pytest.fixture
def root(tmp_path):
    """Sixty files; a comment is shared by all, a function by pairs."""
    for i in range(60):
        text = f'"""File {i}."""\n{SHARED}def f{i // 2}():\n    return 1\nx = {i}\n'
        (tmp_path / f"m{i:02d}.py").write_text(text)
    return tmp_path


def load(root, valid_fraction=0.3, seed=7, content=None):
    """Rows and audit of a folder."""
    batches = []
    options = {"root": str(root)}
    dataset = {"card": CARD, "options": options, "valid_fraction": valid_fraction}

    def write(rows, examples):
        assert examples.tobytes() == b"".join(rows["text"].to_pylist())
        batches.append(rows)

    writers = Writers(write, lambda dropped: None)
    audit = load_rows(dataset | {"on_bad_row": "stop"}, seed, writers, content)
    rows = pa.concat_tables(batches).to_pandas()
    return tables.conform("rows", rows).to_pandas(), audit.frame()


def sides(root, **settings) -> dict[str, str]:
    rows, _ = load(root, **settings)
    return dict(zip(rows["group"], rows["split"], strict=True))


def test_row_ids_are_unique_hashes_of_the_content(root):
    rows, _ = load(root)
    assert rows["row_id"].is_unique
    assert list(rows["row_id"]) == [blake2b(t, digest_size=16).hexdigest() for t in rows["text"]]
    assert list(rows["n_tokens"]) == rows["text"].map(len).tolist()


def test_equal_content_is_on_one_side_and_appears_once(root):
    rows, _ = load(root)
    assert set(rows["split"]) == {"train", "valid"}
    assert (rows["text"] == SHARED.encode()).sum() == 1
    by_side = [set(members["text"]) for _, members in rows.groupby("split")]
    assert not by_side[0] & by_side[1]
    assert rows["text"].is_unique


def test_a_group_is_on_one_side_and_its_first_rows_stay_in_order(root):
    rows, _ = load(root)
    assert (rows.groupby("group")["split"].nunique() == 1).all()
    assert rows["group"].is_monotonic_increasing
    assert rows.loc[rows["text"] == SHARED.encode(), "group"].item() == "m00.py"


def test_a_source_that_changes_while_it_is_read_stops_the_job(root):
    content = identity(CARD, {"root": str(root)})
    load(root, content=content)
    (root / "m00.py").write_text("x = 'edited'\n")
    with pytest.raises(IsolossError, match="its sources changed while they were read"):
        load(root, content=content)


def test_sides_depend_on_seed_and_group_only(root):
    before = sides(root)
    (root / "a_new_one.py").write_text("y = 1\n")
    (root / "m03.py").write_text("z = 'other content'\n")
    after = sides(root)
    assert {group: after[group] for group in before} == before
    assert sides(root, seed=8) != after


def test_the_side_of_a_group_is_the_documented_draw(root):
    for group, side in sides(root, seed=11).items():
        digest = blake2b(f"11:split:{group}".encode(), digest_size=8).digest()
        assert side == ("valid" if int.from_bytes(digest, "big") / 2**64 < 0.3 else "train")


def test_the_audit_counts_rows_and_tokens_before_and_after_duplicates(root):
    rows, audit = load(root)
    counts = audit.set_index(["tag_key", "tag_value"])
    comments = counts.loc[("kind", "comment")]
    assert comments["rows_before"] == 60
    assert comments["rows_after"] == 1
    assert comments["tokens_before"] == 60 * len(SHARED)
    assert comments["tokens_after"] == len(SHARED)
    pairs = pd.DataFrame(
        [(*tag, n) for tags, n in zip(rows["tags"], rows["n_tokens"], strict=True) for tag in tags],
        columns=["tag_key", "tag_value", "n_tokens"],
    )
    left = pairs.groupby(["tag_key", "tag_value"])["n_tokens"].agg(["size", "sum"])
    assert (left["size"] == counts["rows_after"]).all()
    assert (left["sum"] == counts["tokens_after"]).all()
    whole = sum(len(f.read_bytes()) for f in root.glob("*.py"))
    assert (counts["tokens_before"].groupby("tag_key").sum() == whole).all()


def test_a_dataset_without_rows_is_an_error(tmp_path):
    with pytest.raises(IsolossError, match=r"python_stdlib.*no rows"):
        load(tmp_path)


def edit_content(root):
    (root / "m05.py").write_text((root / "m05.py").read_text().replace("x = 5", "x = 6"))


def rename(root):
    (root / "m05.py").rename(root / "m05b.py")  # the order of the files stays


def move_content(root):
    (root / "m05.py").write_text("")
    (root / "m06.py").write_text("x = 5\n" + (root / "m06.py").read_text())


@pytest.mark.parametrize("change", [edit_content, rename, move_content])
def test_identity_changes_with_path_and_content(root, change):
    before = identity(CARD, {"root": str(root)})
    change(root)
    assert identity(CARD, {"root": str(root)}) != before


def test_identity_does_not_change_with_times(root):
    before = identity(CARD, {"root": str(root)})
    for file in root.iterdir():
        os.utime(file, (1, 1))
    assert identity(CARD, {"root": str(root)}) == before


@pytest.mark.parametrize(("fraction", "side"), [(1e-12, "valid"), (1 - 1e-12, "train")])
def test_a_side_without_rows_is_an_error(root, fraction, side):
    with pytest.raises(IsolossError, match=f"is in the split '{side}'"):
        load(root, valid_fraction=fraction)


def test_rows_do_not_depend_on_the_size_of_a_batch(root, monkeypatch):
    whole = load(root)
    for rows_of_a_batch, bytes_of_a_batch in ((7, 10**9), (10**9, 100)):
        monkeypatch.setattr(tables, "BATCH_ROWS", rows_of_a_batch)
        monkeypatch.setattr(load_module, "BATCH_BYTES", bytes_of_a_batch)
        for one, other in zip(load(root), whole, strict=True):
            pd.testing.assert_frame_equal(one, other)


def test_a_token_file_holds_the_tokens_of_the_rows_in_order(root, tmp_path_factory, monkeypatch):
    out = tmp_path_factory.mktemp("load")
    monkeypatch.setattr(load_module, "BATCH_BYTES", 100)
    dataset = {
        "card": CARD,
        "options": {"root": str(root)},
        "valid_fraction": 0.3,
        "on_bad_row": "stop",
    }
    files = job.run({"dataset": dataset, "seed": 7, "content": None}, out, {"dataset": "few"}, out)
    assert [file.name for file in files] == [
        "rows.parquet",
        "audit.parquet",
        "dropped.parquet",
        "tokens.npy",
    ]
    rows = tables.frame(files[0], "rows")
    assert np.load(files[3]).tobytes() == b"".join(rows["text"])
    pd.testing.assert_frame_equal(rows, load(root)[0])
    before = [file.read_bytes() for file in files]
    again = job.run({"dataset": dataset, "seed": 7, "content": None}, out, {"dataset": "few"}, out)
    assert [file.read_bytes() for file in again] == before


def test_a_dataset_that_cannot_be_loaded_leaves_no_file(tmp_path, tmp_path_factory):
    out = tmp_path_factory.mktemp("load")
    dataset = {
        "card": CARD,
        "options": {"root": str(tmp_path)},
        "valid_fraction": 0.3,
        "on_bad_row": "stop",
    }
    with pytest.raises(IsolossError, match="no rows"):
        job.run({"dataset": dataset, "seed": 7, "content": None}, out, {}, out)
    assert list(out.iterdir()) == []
