"""One flipped byte of any table or manifest is found by `verify`."""

import json

import pytest
from finished_results import flipped, footer_offset
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.records import store
from isoloss.study import verify


@pytest.fixture(scope="module")
def flow(shared):
    """The study with the shared results."""
    return shared.flow()


def draw_flipped(data, path, begin):
    """Draw a byte of a file, from its beginning or from further on, and what becomes of it."""
    whole = path.read_bytes()
    last = len(whole) - 1
    further = st.integers(min(begin(path, whole), last), last)
    places = st.one_of(st.integers(0, last), further, further)
    return whole, flipped(whole, data.draw(places), data.draw(st.integers(1, 255)))


@settings(max_examples=50)
@given(data=st.data())
def test_any_flipped_byte_of_any_table_is_found(shared, flow, data):
    # a damaged index of the store costs time and nothing else: what reads it looks at its digest
    tables = (p for p in shared.results.rglob("*.parquet") if p.parent.name != store.INDEX)
    path = data.draw(st.sampled_from(sorted(tables)))
    whole, other = draw_flipped(data, path, footer_offset)
    path.write_bytes(other)
    try:
        named = verify.findings(flow)
    finally:
        path.write_bytes(whole)
    assert any(one.wrong and shared.results / one.file == path for one in named)


@settings(max_examples=50)
@given(data=st.data())
def test_any_flipped_byte_of_any_manifest_is_found_unless_it_says_the_same(shared, flow, data):
    job = data.draw(st.sampled_from(flow.jobs))
    path = shared.results / job.manifest
    whole, other = draw_flipped(data, path, lambda path, whole: 0)
    path.write_bytes(other)
    try:
        named = verify.findings(flow)
    finally:
        path.write_bytes(whole)
    try:
        then, now = json.loads(whole), json.loads(other)
        parts = ("job", "specification", "code", "inputs", "files")
        same = all(then[part] == now.get(part) for part in parts)
    except ValueError:
        same = False
    assert same or any(one.wrong for one in named)
