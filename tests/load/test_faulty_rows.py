"""Hard rows: long lines, tags with every character, repeats of the other side, lost files."""

from __future__ import annotations

import shutil
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError, StudyError
from isoloss.expand import job as expand_job
from isoloss.load import Writers, job, load_rows
from isoloss.load import pieces as pieces_module
from isoloss.study import check
from isoloss.tasks._by_tag import losses_by_tag
from isoloss.tasks._dataset import read_dataset

HARD = "a,b", 'say "x"', "two\nlines", "🦄", "tab\t", "back\\slash", "$x_1$", "{a}", " "


def with_card(monkeypatch, pieces):
    """A dataset of these pieces, from a card of the test."""
    card = SimpleNamespace(pieces=lambda **_: iter(pieces), sources=lambda **_: [])
    monkeypatch.setattr(registry, "card", lambda kind, name: card)
    monkeypatch.setattr(registry, "facts", lambda kind, name: {})
    return {"card": "hard", "options": {}, "valid_fraction": 0.3, "on_bad_row": "stop"}


def load(monkeypatch, out, pieces, **further):
    """The tables of the job, by name."""
    dataset = with_card(monkeypatch, pieces) | further
    job.run({"dataset": dataset, "seed": 7, "content": None}, out, {}, out)
    names = "rows", "dropped", "audit"
    return [tables.frame(out / f"{name}.parquet", name) for name in names]


def one(text, **further):
    """A piece."""
    return {"text": text, "tags": {}, "group": "", "split": "train", **further}


def test_tags_of_any_characters_go_through_to_losses_by_domain(monkeypatch, tmp_path):
    pieces = [
        one(f"{i} {tag}", tags={f"key {tag}": tag}, split=("train", "valid")[i % 2], group=tag)
        for i, tag in enumerate([*HARD, *HARD])
    ]
    rows, _, audit = load(monkeypatch, tmp_path / "load", pieces)
    assert [dict(tags) for tags in rows["tags"]] == [piece["tags"] for piece in pieces]
    assert set(audit["tag_value"]) == set(HARD)
    weights = {f"key {tag}": {tag: 2.0} for tag in HARD}
    specification = {"weights": weights, "seed": 7}
    expand_job.run(specification, tmp_path / "load/rows.parquet", tmp_path / "expand", {})
    assert set(tables.frame(tmp_path / "expand/index.parquet", "index")["copies"]) == {2}
    dataset = read_dataset(tmp_path / "load/rows.parquet", tmp_path / "load/tokens.npy")
    measured = dataset.held_out["row"].to_numpy()
    losses = losses_by_tag(dataset.held_out, measured, measured + 1.0, np.ones(len(measured)))
    hard = rows.loc[measured, "tags"].map(lambda tags: tags[0][1])
    assert {loss["domain"]: loss["n_tokens"] for loss in losses} == hard.value_counts().to_dict()


@pytest.mark.parametrize("size", [20_000_000, pytest.param(100_000_000, marks=pytest.mark.slow)])
def test_a_line_of_100_mb_is_a_row_like_another_and_takes_a_few_times_its_size(
    monkeypatch, tmp_path, size
):
    long = b"ab\xc3\xa9c" * (size // 5)
    pieces = [one("short"), one(long), one("side", split="valid")]
    pool = pa.default_memory_pool()
    before = pool.max_memory()
    tracemalloc.start()
    rows, dropped, _ = load(monkeypatch, tmp_path, pieces)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert list(rows["n_tokens"]) == [5, size, 4]
    assert not len(dropped)
    assert peak + pool.max_memory() - before < 5.5 * size


def test_a_text_beyond_the_limit_is_refused_with_its_place(monkeypatch, tmp_path):
    monkeypatch.setattr(pieces_module, "MOST_BYTES", 1000)
    pieces = [one("a" * 1000), one("a" * 1001, file="x.txt", line=2), one("b", split="valid")]
    with pytest.raises(IsolossError, match=r"x.txt:2: text of more than 1000 bytes"):
        load(monkeypatch, tmp_path, pieces)


def test_equal_ids_are_refused_with_the_place_of_the_later_row(monkeypatch, tmp_path):
    pieces = [one(f"t{i}", row_id=f"i{i % 3}", file="a b.csv", line=i + 2) for i in range(4)]
    with pytest.raises(IsolossError) as error:
        load(monkeypatch, tmp_path, pieces)
    assert "a b.csv:5 (id 'i0'): its id is that of an earlier row" in str(error.value)
    assert not any(tmp_path.iterdir())


def test_with_ids_equal_content_stays_on_its_side_and_is_dropped_on_the_other(
    monkeypatch, tmp_path
):
    sides = ["train", "train", "valid", "valid", "train"]
    texts = ["a", "a", "b", "a", "b"]
    pieces = [
        one(text, split=side, row_id=str(i))
        for i, (text, side) in enumerate(zip(texts, sides, strict=True))
    ]
    rows, dropped, _ = load(monkeypatch, tmp_path, pieces)
    assert list(rows["row_id"]) == ["0", "1", "2"]
    assert dropped[["number", "row_id"]].to_numpy().tolist() == [[4, "3"], [5, "4"]]
    assert set(dropped["reason"]) == {"repeats a row of the other side"}


def test_a_row_without_a_group_is_one_of_its_own(monkeypatch, tmp_path):
    pieces = [one(f"t{i}", group=(None, "", "g")[i % 3], split=None) for i in range(90)]
    rows, _, _ = load(monkeypatch, tmp_path, pieces)
    own = rows["group"] == rows["row_id"]
    assert own.tolist() == [True, True, False] * 30
    assert set(rows.loc[own, "split"]) == {"train", "valid"}
    assert rows.loc[~own, "split"].nunique() == 1


def test_a_split_that_is_given_wins_over_groups_and_the_rows_apart_are_told(
    monkeypatch, tmp_path, capsys
):
    monkeypatch.setattr(pieces_module.tables, "BATCH_ROWS", 4)
    pieces = [
        one(f"t{i}", group=("a", "b", "")[i % 3], split=("train", "valid")[i % 2])
        for i in range(12)
    ]
    rows, _, _ = load(monkeypatch, tmp_path / "apart", pieces)
    assert rows["split"].tolist() == ["train", "valid"] * 6
    log = capsys.readouterr().err
    assert "hard: 4 rows are on another side than the first row of their group; a split" in log
    load(monkeypatch, tmp_path / "one side", [one("a", group="g"), one("b", split="valid")])
    assert "another side" not in capsys.readouterr().err


def test_a_tag_without_a_value_is_a_bad_row(monkeypatch, tmp_path):
    kind = pa.map_(pa.string(), pa.string())
    tags = pa.array([[("a", "1"), ("b", None)], None, []], kind)
    table = pa.table({"text": ["a", "b", "c"], "tags": tags, "split": ["valid", "valid", "train"]})
    rows, dropped, _ = load(monkeypatch, tmp_path, [table], on_bad_row="drop")
    assert [list(tags) for tags in rows["tags"]] == [[], []]
    assert dropped[["number", "reason"]].to_numpy().tolist() == [[1, "a tag has no value"]]


@pytest.mark.parametrize(
    ("pieces", "message"),
    [
        ([pa.table({"txt": ["a"]})], "its rows have the column 'txt'; change the card"),
        ([pa.table({"group": ["a"]})], "its rows have neither text nor features"),
        ([pa.table({"text": [[1]]})], "column text is list"),
        ([pa.table({"text": ["a"], "group": [[1]]})], "column group: is list"),
        ([one("a"), one("b", row_id="1")], "some rows have a row_id, and the first has none"),
        ([], "hard: no rows; check its options"),
        ([one("")], "hard: 1 row cannot be used: empty text"),
    ],
)
def test_a_card_that_breaks_the_contract_is_told_so(monkeypatch, tmp_path, pieces, message):
    with pytest.raises(IsolossError) as error:
        load(monkeypatch, tmp_path / "out", pieces)
    assert message in str(error.value)
    assert not any((tmp_path / "out").iterdir())


def test_no_row_that_can_be_used_is_told_as_such(monkeypatch, tmp_path):
    with pytest.raises(IsolossError, match="no rows; give it rows that can be used"):
        load(monkeypatch, tmp_path, [one("")], on_bad_row="drop")


def test_a_folder_that_vanishes_while_it_is_read_leaves_no_file(monkeypatch, tmp_path):
    source, out = tmp_path / "a folder", tmp_path / "out"
    source.mkdir()
    for i in range(5):
        (source / f"m{i}.py").write_text(f"x = {i}\n")
    real = registry.card("dataset", "python_stdlib").pieces

    def vanishing(root):
        for i, piece in enumerate(real(root=root)):
            if i == 2:
                shutil.rmtree(source)
            yield piece

    monkeypatch.setattr("isoloss.datasets.python_stdlib.pieces", vanishing)
    dataset = {"card": "python_stdlib", "options": {"root": str(source)}, "valid_fraction": 0.5}
    specification = {"dataset": dataset | {"on_bad_row": "drop"}, "seed": 1, "content": None}
    with pytest.raises(IsolossError, match=r"m3.py: cannot be read .*; run again"):
        job.run(specification, out, {}, out)
    assert not any(out.iterdir())


def test_the_name_of_a_dataset_is_no_path():
    with pytest.raises(StudyError, match=r"'?\.\./x'?.*letters, digits"):
        check.check({"study": "s", "load": {"../x": {"card": "python_stdlib"}}})


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_rows_that_are_added_leave_the_sides_of_the_others(monkeypatch, data):
    texts = st.lists(st.text(min_size=1, max_size=3), min_size=12, max_size=30, unique=True)
    rows = [one(t.encode("utf-16"), group=t[0], split=None) for t in data.draw(texts)]
    added = data.draw(st.lists(st.integers(0, len(rows)), max_size=10))
    more = list(rows)
    for i, place in enumerate(added):
        more.insert(place, one(f"added {i}", group=f"new {i % 3}", split=None))

    def sides(pieces):
        batches = []
        dataset = with_card(monkeypatch, pieces)
        load_rows(dataset, 3, Writers(lambda rows, _: batches.append(rows), lambda _: None))
        frame = pa.concat_tables(batches).to_pandas()
        return dict(zip(frame["row_id"], frame["split"], strict=True))

    both = one("train", split="train"), one("valid", split="valid")
    before, after = sides([*rows, *both]), sides([*more, *both])
    assert {row: after[row] for row in before} == before
    assert len(after) == len(before) + len(added)
