"""The four functions on rows with `_dlm_row_tags`: as they are described, to the last bit."""

from __future__ import annotations

import hashlib
from fractions import Fraction

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import isoloss
from isoloss.expand import (
    expand_rows_by_weight,
    merge_weights_maps,
    resolve_row_weight,
    weight_distribution,
)

TAGS, VALUES = ("docstring", "generated", "lang"), ("true", "false", "py")
MISSING = object()


def described(rows, weights, seed):
    """The expansion as its description says, one row after the other."""
    if weights == {}:
        return rows
    result = []
    for row in rows:
        product = 1.0
        tags = row["_dlm_row_tags"] if row.get("_dlm_row_tags") else {}
        for key in tags:
            if key in weights and tags[key] in weights[key]:
                product = product * weights[key][tags[key]]
        if product <= 0:
            continue
        whole = int(product)
        result += whole * [row]
        rest = product - whole
        if rest > 0:
            identity = str(row["_dlm_section_id"]) if "_dlm_section_id" in row else ""
            hashed = hashlib.blake2b(bytes(f"{seed}:{identity}", "utf-8"), digest_size=8)
            if int(hashed.hexdigest(), 16) / 2.0**64 < rest:
                result.append(row)
    return result


def same(one, other) -> bool:
    """Whether two lists hold the same objects."""
    return [id(row) for row in one] == [id(row) for row in other]


def row_of(tags, section):
    row = {"text": "t"}
    if tags is not MISSING:
        row["_dlm_row_tags"] = tags
    if section is not MISSING:
        row["_dlm_section_id"] = section
    return row


tags = (
    st.just(MISSING) | st.none() | st.dictionaries(st.sampled_from(TAGS), st.sampled_from(VALUES))
)
sections = st.just(MISSING) | st.none() | st.text(max_size=8) | st.integers() | st.tuples()
rows_of_any_kind = st.lists(st.builds(row_of, tags, sections), max_size=20)
weights_of_any_kind = st.dictionaries(
    st.sampled_from(TAGS),
    st.dictionaries(st.sampled_from(VALUES), st.floats(-2, 6) | st.integers(-1, 4)),
)


@given(rows_of_any_kind, weights_of_any_kind, st.integers(-5, 2**70))
def test_rows_are_expanded_as_described(rows, weights, seed):
    before = [dict(row) for row in rows]
    expanded = expand_rows_by_weight(rows, weights, seed=seed)
    assert same(expanded, described(rows, weights, seed))
    assert expanded is not rows and rows == before
    assert isoloss.expand_rows_by_weight is expand_rows_by_weight


def test_the_order_of_a_rows_tags_decides_at_whole_numbers():
    weights = {"a": {"x": 0.1}, "b": {"x": 3.0}, "c": {"x": 10.0}}
    orders = [("a", "b", "c"), ("c", "b", "a")]
    products = [resolve_row_weight(dict.fromkeys(order, "x"), weights) for order in orders]
    assert products == [0.1 * 3.0 * 10.0, 10.0 * 3.0 * 0.1] and products[0] != products[1]
    exact = float(Fraction(3))
    assert exact in products
    rows = [row_of(dict.fromkeys(order, "x"), str(i)) for i in range(50) for order in orders]
    assert same(expand_rows_by_weight(rows, weights, seed=1), described(rows, weights, 1))


def test_what_has_no_weight_counts_one_and_empty_weights_copy_the_list():
    rows = [row_of({"lang": "c"}, "1"), row_of(MISSING, "2"), row_of(None, MISSING)]
    assert same(expand_rows_by_weight(rows, {"lang": {"py": 0.0}}, seed=3), rows)
    copy = expand_rows_by_weight(rows, {}, seed=3)
    assert same(copy, rows) and copy is not rows
    assert resolve_row_weight({}, {"lang": {"py": 0.0}}) == 1.0


def test_maps_are_merged_value_by_value_and_rows_counted_by_tag():
    maps = [{"a": {"x": 1.0, "y": 2.0}}, {"b": {}}, {"a": {"y": 0.5}}]
    assert merge_weights_maps(maps) == {"a": {"x": 1.0, "y": 0.5}, "b": {}}
    assert merge_weights_maps([]) == {}
    assert maps[0] == {"a": {"x": 1.0, "y": 2.0}}
    rows = [row_of({"a": "x", "b": "1"}, 0), row_of({"a": "x"}, 0), row_of(None, 0), {}]
    assert weight_distribution(rows) == {"a": {"x": 2}, "b": {"1": 1}}


def test_a_million_rows_are_expanded_as_described():
    count = 1_000_000
    kinds, langs = np.random.default_rng(0).integers(0, 3, (2, count)).tolist()
    row_tags = [{"docstring": a, "lang": b} for a in VALUES for b in VALUES]
    rows = [
        {"_dlm_row_tags": row_tags[3 * kind + lang], "_dlm_section_id": f"section {i}"}
        for i, (kind, lang) in enumerate(zip(kinds, langs, strict=True))
    ]
    weights = {"docstring": {"true": 2.5, "py": 0.3}, "lang": {"py": 1.1, "false": 0.0}}
    expanded = expand_rows_by_weight(rows, weights, seed=11)
    assert same(expanded, described(rows, weights, 11))
