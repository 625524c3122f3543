"""Tag-weighted repetition: the documented decisions, bit for bit, and what follows from them."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rows_in_memory import batches_of, expand_table

from isoloss.core import compiled, tables
from isoloss.core.problems import IsolossError
from isoloss.core.tag_codes import TagCodes
from isoloss.expand import (
    Weighting,
    copies_of_rows,
    expand_batches,
    merge_weights,
    row_copies,
    row_weight,
    tag_weights,
)
from isoloss.expand.batches import CATEGORIES

VALUES = ("a", "b", "c")
row_ids = st.text(max_size=12)
seeds = st.integers(0, 2**63)
weights_maps = st.dictionaries(
    st.sampled_from(["kind", "domain"]),
    st.dictionaries(st.sampled_from(VALUES), st.floats(0, 8), max_size=3),
    max_size=2,
)


def draw(row_id: str, seed: int) -> float:
    """The number in [0, 1) that decides a row's fraction."""
    digest = hashlib.blake2b(f"{seed}:{row_id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64


def oracle(row_id: str, weight: float, seed: int) -> int:
    """Copies of a row as they are documented."""
    floor = math.floor(weight)
    return floor + (1 if draw(row_id, seed) < weight - floor else 0)


def table(row_tags) -> pd.DataFrame:
    """Rows with these tags, numbered."""
    return pd.DataFrame({"row_id": [f"id{i}" for i in range(len(row_tags))], "tags": row_tags})


def copies_of(rows: pd.DataFrame, weights, seed: int) -> dict[str, int]:
    """Identity to copies of the rows that stay."""
    copies = copies_of_rows(rows, weights, seed)
    return {row_id: n for row_id, n in zip(rows["row_id"], copies, strict=True) if n}


@given(row_ids, st.floats(0, 1e6), seeds)
def test_copies_are_the_documented_ones(row_id, weight, seed):
    assert row_copies(row_id, weight, seed) == oracle(row_id, weight, seed)


@pytest.mark.parametrize(
    ("row_id", "seed", "drawn"),
    [
        ("", 0, 0.250697583),
        ("section-1", 7, 0.116578726),
        ("section-2", 7, 0.587261281),
        ("section-1", 8, 0.377561355),
        ("größe", 123456789, 0.542399398),
    ],
)
def test_decisions_are_the_recorded_ones(row_id, seed, drawn):
    assert draw(row_id, seed) == pytest.approx(drawn, abs=1e-9)
    assert row_copies(row_id, drawn - 1e-6, seed) == 0
    assert row_copies(row_id, draw(row_id, seed), seed) == 0
    assert row_copies(row_id, drawn + 1e-6, seed) == 1
    assert row_copies(row_id, 2 + drawn - 1e-6, seed) == 2
    assert row_copies(row_id, 2 + drawn + 1e-6, seed) == 3


@given(row_ids, st.integers(0, 50), seeds)
def test_a_whole_weight_is_that_many_copies(row_id, weight, seed):
    assert row_copies(row_id, float(weight), seed) == weight


def test_a_fraction_is_its_share_of_the_rows():
    for fraction in (0.1, 0.5, 0.93):
        kept = sum(row_copies(f"row {i}", fraction, 3) for i in range(4000))
        assert abs(kept - 4000 * fraction) < 5 * math.sqrt(4000 * fraction * (1 - fraction))


@given(st.dictionaries(st.sampled_from(["kind", "domain"]), st.sampled_from(VALUES)), weights_maps)
def test_weights_multiply_and_what_is_not_named_counts_one(tags, weights):
    expected = math.prod(weights.get(k, {}).get(v, 1.0) for k, v in tags.items())
    assert row_weight(tags.items(), weights) == expected


def test_weights_that_cancel_leave_the_row_as_it_is():
    rows = table([[("docstring", "true"), ("generated", "true")]])
    weights = {"docstring": {"true": 2.0}, "generated": {"true": 0.5}}
    assert copies_of(rows, weights, seed=0) == {"id0": 1}


@given(
    st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(VALUES)), max_size=30),
    weights_maps,
    seeds,
    st.randoms(use_true_random=False),
)
def test_every_row_is_decided_by_itself_in_any_order(values, weights, seed, random):
    rows = table([[("kind", kind), ("domain", domain)] for kind, domain in values])
    expected = {
        row.row_id: oracle(row.row_id, row_weight(row.tags, weights), seed)
        for row in rows.itertuples()
    }
    copies = copies_of(rows, weights, seed)
    assert copies == {row_id: n for row_id, n in expected.items() if n}
    order = list(range(len(rows)))
    random.shuffle(order)
    assert copies_of(rows.iloc[order], weights, seed) == copies


def test_no_weights_leave_every_row_once():
    rows = table([[("kind", "a")]] * 3)
    assert copies_of(rows, {}, 0) == {"id0": 1, "id1": 1, "id2": 1}


@given(st.lists(weights_maps, max_size=4))
def test_the_later_of_two_maps_wins(maps):
    before = [{key: dict(values) for key, values in each.items()} for each in maps]
    expected = {}
    for each in maps:
        for key, values in each.items():
            expected[key] = expected.get(key, {}) | values
    assert merge_weights(maps) == expected
    assert maps == before


def test_only_training_rows_are_expanded_and_the_audit_agrees(rows):
    weights = {"kind": {"docstring": 2.5, "comment": 0.4}, "domain": {"data": 0.0, "system": 1.5}}
    index, audit = expand_table(rows, weights, seed=5)
    assert set(rows["split"][index["row"]]) == {"train"}
    assert list(rows["row_id"][index["row"]]) == list(index["row_id"])
    copies = dict(zip(index["row"], index["copies"], strict=True))
    expected = {}
    for position, row in rows[rows["split"] == "train"].iterrows():
        times = copies.get(position, 0)
        for tag in row["tags"]:
            before = expected.get(tag, (0, 0, 0, 0))
            now = (1, times, row["n_tokens"], times * row["n_tokens"])
            expected[tag] = tuple(a + b for a, b in zip(before, now, strict=True))
    columns = ["rows_before", "rows_after", "tokens_before", "tokens_after"]
    audited = audit.set_index(["tag_key", "tag_value"])[columns]
    assert {tag: tuple(counts) for tag, counts in audited.iterrows()} == expected
    assert expected["domain", "data"][1] == 0


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"kind": {"docstrng": 2.0}}, "did you mean 'docstring'?"),
        ({"kind": {"code": 0.0, "docstring": 0.0, "comment": 0.0}}, "drop every training row"),
    ],
)
def test_weights_that_select_nothing_are_errors(rows, weights, message):
    with pytest.raises(IsolossError) as error:
        expand_table(rows, weights, seed=3)
    assert message in str(error.value)


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["kind", "domain", "year"]), st.sampled_from(VALUES)),
            max_size=5,
        ),
        max_size=30,
    ),
    st.dictionaries(
        st.sampled_from(["kind", "domain", "lang"]),
        st.dictionaries(st.sampled_from(VALUES), st.floats(0, 1e300), max_size=3),
        max_size=3,
    ),
)
def test_weights_of_many_rows_are_those_of_each_bit_for_bit(row_tags, weights):
    tags = pa.array(row_tags, pa.map_(pa.string(), pa.string()))
    one_by_one = np.array([row_weight(each, weights) for each in row_tags], dtype=float)
    assert tag_weights(tags, weights).tobytes() == one_by_one.tobytes()
    part = tags.slice(1, 4)
    assert tag_weights(part, weights).tobytes() == one_by_one[1:5].tobytes()


@given(
    st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(VALUES)), max_size=30),
    weights_maps,
    seeds,
    st.integers(1, 40),
)
def test_a_table_in_batches_has_the_index_of_its_training_rows_in_pandas(
    values, weights, seed, size
):
    rows = table([[("kind", kind), ("domain", domain)] for kind, domain in values])
    count = range(len(rows))
    split = ["valid" if i % 4 == 1 else "train" for i in count]
    rows = rows.assign(
        text=b"abc", features=None, label=None, n_tokens=3, split=split, group="", file=None
    )
    parts = [tables.schema("index").empty_table()]
    refusal = ""
    try:
        expand_batches(batches_of(rows, size), Weighting(weights), seed, parts.append)
    except IsolossError as error:
        refusal = str(error)
    train = rows[rows["split"] == "train"]
    expected = train[["row_id"]].assign(copies=copies_of_rows(train, weights, seed))
    expected = expected.query("copies > 0").reset_index(names="row")
    index = pa.concat_tables(parts).to_pandas()
    pd.testing.assert_frame_equal(index, expected, check_dtype=len(expected) > 0)
    tags = {tag for tags in rows["tags"] for tag in tags}
    lacking = any((key, v) not in tags for key, of_key in weights.items() for v in of_key)
    assert ("no row has" in refusal) == lacking
    assert ("drop every training row" in refusal) == (expected.empty and not lacking)


@given(
    st.lists(
        st.lists(
            st.tuples(st.sampled_from(["kind", "domain"]), st.sampled_from(VALUES)), max_size=3
        )
    ),
    weights_maps,
    st.integers(0, 3),
)
def test_compiled_code_counts_and_multiplies_as_numpy_does(row_tags, weights, first):
    pytest.importorskip("numba", reason="extra `fast` is not installed")
    tags = pa.array(row_tags, pa.map_(pa.string(), pa.string())).slice(first)
    numbers = np.arange(len(tags))
    results = []
    for patience in (0, 10**18):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(compiled, "PATIENCE", patience)
            codes = TagCodes.of(tags)
            sums = codes.sums(numbers % 7, numbers % 3, numbers % 4 != 1)
            results.append((tag_weights(tags, weights).tobytes(), sums.tobytes()))
    assert results[0] == results[1]


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_threads_and_categories_change_nothing(rows, tmp_path, threads):
    weighting = Weighting({"kind": {"docstring": 2.5, "comment": 0.4}}, needed="domain")
    tables.write("rows", rows, tmp_path / "rows.parquet")
    read = tables.batches(
        tmp_path / "rows.parquet", "rows", weighting.columns, size=7, categories=CATEGORIES
    )
    parts, expected = [], []
    audit = expand_batches(read, weighting, 5, parts.append, threads)
    plain = expand_batches(batches_of(rows), weighting, 5, expected.append)
    assert pa.concat_tables(parts) == pa.concat_tables(expected)
    pd.testing.assert_frame_equal(audit.frame(), plain.frame())
    assert len(pa.concat_tables(parts))


def test_tags_may_be_mappings_of_any_length_of_key():
    row_tags = [{"ab": "x"}, {"ab": "y"}]
    assert copies_of(table(row_tags), {"ab": {"x": 3.0}}, seed=0) == {
        "id0": 3,
        "id1": 1,
    }
