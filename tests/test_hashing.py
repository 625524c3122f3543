"""Hashes of many values are those of hashlib, compiled or not."""

from __future__ import annotations

import sys
from hashlib import blake2b

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from isoloss.core import compiled
from isoloss.core.hashing import blake2b_each

numba = pytest.importorskip("numba", reason="extra `fast` is not installed")
SIZES = [0, 1, 7, 8, 63, 126, 127, 128, 129, 255, 256, 257, 4000, 4093, 4094, 4096, 70_000]


@pytest.fixture(params=["compiled", "hashlib"])
def way(request, monkeypatch):
    """Both ways of hashing."""
    patience = 0 if request.param == "compiled" else 10**18
    monkeypatch.setattr(compiled, "PATIENCE", patience)
    assert compiled.Effort().pays(1) == (request.param == "compiled")


def one_by_one(values, size: int, prefix: bytes) -> bytes:
    texts = [value.encode() if isinstance(value, str) else value for value in values]
    return b"".join(blake2b(prefix + text, digest_size=size).digest() for text in texts)


@pytest.mark.parametrize("size", [1, 8, 16, 31, 64])
@pytest.mark.parametrize("prefix", [b"", b"7:", bytes(range(200))])
def test_values_of_every_length_side_by_side(way, size, prefix):
    values = [bytes([n % 251]) * n for n in SIZES for _ in range(20)]
    digests = blake2b_each(pa.array(values), size, prefix)
    assert digests.tobytes() == one_by_one(values, size, prefix)


@settings(max_examples=50)
@given(
    st.lists(st.text() | st.text(min_size=100), max_size=40),
    st.integers(1, 64),
    st.binary(max_size=300),
    st.integers(0, 5),
)
@pytest.mark.parametrize("patience", [0, 10**18])
def test_any_text_in_any_kind_of_array(patience, values, size, prefix, first):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compiled, "PATIENCE", patience)
        expected = one_by_one(values[first:], size, prefix)
        array = pa.array(values, pa.string()).slice(first)
        kinds = [array, array.cast(pa.large_string()), array.cast(pa.binary())]
        at = np.arange(len(array))[::-2]
        backwards = one_by_one([values[first:][i] for i in at], size, prefix)
        for one in [*kinds, pa.chunked_array([array[:2], array[2:]])]:
            assert blake2b_each(one, size, prefix).tobytes() == expected
            assert blake2b_each(one, size, prefix, at).tobytes() == backwards


def test_compiled_code_is_used_when_it_pays():
    effort = compiled.Effort()
    assert not effort.pays(compiled.PATIENCE - 1)
    assert effort.pays(1)


@pytest.mark.parametrize(("n", "at_once"), [(compiled.MANY, True), (compiled.MANY - 1, False)])
def test_compiled_code_is_used_at_once_where_many_hashes_are_known_to_come(n, at_once):
    effort = compiled.Effort()
    effort.expect(n)
    assert effort.pays(1) == at_once


def test_without_numba_compiled_code_never_pays(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba", None)
    assert not compiled.Effort().pays(compiled.PATIENCE)


def test_a_null_and_a_size_that_no_digest_has_are_refused():
    with pytest.raises(ValueError, match="null"):
        blake2b_each(pa.array(["a", None]), 8)
    for size in (0, 65):
        with pytest.raises(ValueError, match="1 to 64"):
            blake2b_each(pa.array(["a"]), size)
