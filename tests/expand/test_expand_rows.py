"""`isoloss.expand_rows`: each kind of rows comes back as it went in; wrong ones are refused."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import isoloss
from isoloss.core.problems import IsolossError
from isoloss.expand import row_copies, row_weight

MAPS = pa.map_(pa.string(), pa.string())
WEIGHTS = {"kind": {"code": 2.5, "prose": 0.4}, "generated": {True: 0.5}, "year": {2020: 3, 2.5: 0}}
row_tags = st.fixed_dictionaries(
    {},
    optional={
        "kind": st.sampled_from(["code", "prose", '\U0001f600, "x"\n']),
        "generated": st.sampled_from(["true", "false"]),
        "year": st.sampled_from(["2020", "2.5"]),
    },
)
rows_of_tags = st.lists(row_tags, max_size=30).map(
    lambda all_tags: [{"row_id": f"r{i}", "tags": t, "n": i} for i, t in enumerate(all_tags)]
)


def table_of(rows) -> pa.Table:
    """Rows as an Arrow table in two chunks."""
    columns = {
        "row_id": pa.array([row["row_id"] for row in rows], pa.string()),
        "tags": pa.array([list((row["tags"] or {}).items()) for row in rows], MAPS),
        "n": pa.array([row["n"] for row in rows], pa.int64()),
    }
    table = pa.table(columns)
    return pa.concat_tables([table[:3], table[3:]])


@given(rows_of_tags, st.integers(0, 2**63))
def test_rows_come_back_in_their_kind_with_copies_adjacent(rows, seed):
    texts = {"kind": WEIGHTS["kind"], "generated": {"true": 0.5}, "year": {"2020": 3, "2.5": 0}}
    copies = [
        row_copies(row["row_id"], row_weight(row["tags"].items(), texts), seed) for row in rows
    ]
    expected = [i for i, n in enumerate(copies) for _ in range(n)]
    from_list = isoloss.expand_rows(rows, WEIGHTS, seed)
    assert type(from_list) is list
    assert [id(row) for row in from_list] == [id(rows[i]) for i in expected]
    frame = pd.DataFrame(rows, columns=["row_id", "tags", "n"], index=[f"l{r['n']}" for r in rows])
    from_frame = isoloss.expand_rows(frame, WEIGHTS, seed)
    pd.testing.assert_frame_equal(from_frame, frame.iloc[expected])
    from_table = isoloss.expand_rows(table_of(rows), WEIGHTS, seed)
    assert from_table.schema == table_of(rows).schema
    assert from_table.to_pylist() == table_of(rows).take(pa.array(expected, pa.int64())).to_pylist()


def test_rows_without_tags_stay_and_pairs_are_tags_too():
    rows = [{"row_id": "a"}, {"row_id": "b", "tags": None}, {"row_id": "c", "tags": [("k", "x")]}]
    assert isoloss.expand_rows(rows, {"k": {"x": 2}}, 0) == [*rows, rows[2]]
    frame = pd.DataFrame(rows)
    assert isoloss.expand_rows(frame, {"k": {"x": 2}}, 0).index.tolist() == [0, 1, 2, 2]
    nulls = pa.table({"row_id": ["a", "b"], "tags": pa.array([None, [("k", "x")]], MAPS)})
    assert isoloss.expand_rows(nulls, {"k": {"x": 2}}, 0)["row_id"].to_pylist() == ["a", "b", "b"]
    assert isoloss.expand_rows([], {}, 0) == []


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"kind": {"code": -1}}, "weights.kind.code: the weight is -1; give a number from 0 to"),
        ({"kind": {"code": math.nan}}, "weights.kind.code: the weight is nan"),
        ({"kind": {"code": math.inf}}, "weights.kind.code: the weight is inf"),
        ({"kind": {"code": 1e6 + 1}}, "give a number from 0 to 1000000"),
        ({"kind": {"code": "2"}}, "weights.kind.code: found '2'; a weight is a number"),
        ({"kind": {"code": True}}, "weights.kind.code: found True; a weight is a number"),
        ({"kind": 2}, "weights.kind: found 2; give tag value to weight"),
        ({"kind": {None: 2}}, "weights.kind: the tag value None is not text; put it in quotes"),
        ({None: {}}, "weights: the tag key None is not text"),
        ({"kind": {True: 1, "true": 2}}, "the tag value True is not text"),
        ([("kind", {})], "weights: found"),
    ],
)
def test_weights_that_are_none_are_refused(weights, message):
    with pytest.raises(IsolossError) as error:
        isoloss.expand_rows([{"row_id": "a"}], weights, 0)
    assert message in str(error.value)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tags": {}}, "row 1: its row_id is missing; give every row an id that is text"),
        ({"row_id": None, "tags": {}}, "row 1: its row_id is missing"),
        ({"row_id": math.nan, "tags": {}}, "row 1: its row_id is missing"),
        ({"row_id": 5, "tags": {}}, "row 1: its row_id is 5, not text"),
        ({"row_id": "b", "tags": {"k": True}}, "row 1: its tag 'k': True is not text to text"),
        ({"row_id": "b", "tags": {3: "x"}}, "row 1: its tag 3: 'x' is not text to text"),
        ({"row_id": "b", "tags": "code"}, "row 1: its tags are 'code'; give tag key to tag value"),
        ({"row_id": "b", "tags": ["code"]}, "row 1: its tags are ['code']"),
        ({"row_id": "\ud800", "tags": {}}, "cannot be written as UTF-8"),
    ],
)
def test_rows_that_cannot_be_expanded_are_named(row, message):
    rows = [{"row_id": "a", "tags": {"k": "x"}}, row]
    for some in (rows, pd.DataFrame(rows, dtype=object)):
        with pytest.raises(IsolossError) as error:
            isoloss.expand_rows(some, {"k": {"x": 2}}, 0)
        assert message in str(error.value)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (
            ({"row_id": str(i)} for i in range(3)),
            "rows: found a generator; give a list of mappings",
        ),
        ("abc", "rows: found a str"),
        (None, "rows: found a NoneType"),
        ({"row_id": "a"}, "rows: found a dict"),
        ([{"row_id": "a"}, "b"], "row 1: found a str; make it a mapping"),
        (pa.record_batch({"row_id": ["a"]}), "rows: found a RecordBatch"),
    ],
)
def test_rows_of_another_kind_are_refused_and_none_is_lost(rows, message):
    with pytest.raises(IsolossError) as error:
        isoloss.expand_rows(rows, {"k": {"x": 2}}, 0)
    assert message in str(error.value)


@pytest.mark.parametrize("seed", ["7", 1.5, None, True])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(IsolossError, match=r"seed: found .*; give a whole number"):
        isoloss.expand_rows([{"row_id": "a"}], {"k": {"x": 2}}, seed)


def test_tables_with_other_columns_are_refused():
    tags = pa.array([[("k", "x")], [("k", None)]], MAPS)
    cases = {
        "no column 'tags'": pa.table({"row_id": ["a"]}),
        "column 'row_id': is of type int64; make it string": pa.table({"row_id": [1], "tags": [1]}),
        "column 'tags': is of type struct<k: string>": pa.Table.from_pylist(
            [{"row_id": "a", "tags": {"k": "x"}}]
        ),
        "row 1: its row_id is missing": pa.table({"row_id": ["a", None], "tags": tags}),
        "row 1: the value of a tag is missing": pa.table({"row_id": ["a", "b"], "tags": tags}),
    }
    for message, table in cases.items():
        with pytest.raises(IsolossError) as error:
            isoloss.expand_rows(table, {}, 0)
        assert message in str(error.value)
    with pytest.raises(IsolossError, match="no column 'row_id'"):
        isoloss.expand_rows(pd.DataFrame({"tags": [{}]}), {}, 0)


def test_more_copies_than_can_be_laid_out_are_refused():
    rows = pd.DataFrame({"row_id": ["a"], "tags": [{"k": "x"}], "n_tokens": np.array([10**7])})
    with pytest.raises(IsolossError, match="tokens of 1 rows"):
        isoloss.expand_rows(rows, {"k": {"x": 1e4}}, 0)
