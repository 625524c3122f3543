"""Tokenizers by file: what they encode, and files that are not one."""

from __future__ import annotations

import json
import sys

import numpy as np
import pyarrow as pa
import pytest
from byte_pairs import byte_pairs

from isoloss.core import tokenizer
from isoloss.core.problems import IsolossError

TEXTS = ["hello world", "def f():\n    return 1\n", "Größe 🙂", "a"]


@pytest.fixture
def file(tmp_path):
    return byte_pairs(tmp_path / "tokenizer.json")


def flat(encoded) -> np.ndarray:
    return encoded.lists.flatten().to_numpy()


@pytest.mark.parametrize("kind", [pa.binary(), pa.string(), pa.large_binary()])
def test_bytes_are_their_own_tokens(kind):
    texts = pa.array([b"before", b"ab\x7f", b"c", b"", b"de", b"after"]).cast(kind)[1:5]
    encoded = tokenizer.of("bytes").encode(texts)
    assert encoded.lists.type == pa.list_(pa.uint8())
    assert [bytes(tokens) for tokens in encoded.lists.to_pylist()] == [b"ab\x7f", b"c", b"", b"de"]
    assert flat(encoded).tobytes() == b"ab\x7fcde" and encoded.problems == {}
    assert len(tokenizer.of("bytes").encode(texts[:0]).lists) == 0
    assert len(tokenizer.of("bytes").encode(pa.array([], kind)).lists) == 0


@pytest.mark.parametrize("kind", [pa.binary(), pa.string(), pa.large_string()])
def test_texts_are_encoded_as_the_package_encodes_them(file, kind, monkeypatch):
    monkeypatch.setattr(tokenizer, "AT_ONCE", 12)
    made = tokenizer.of(str(file))
    texts = pa.array(["before", *TEXTS]).cast(kind)[1:]
    encoded = made.encode(texts)
    package = pytest.importorskip("tokenizers").Tokenizer.from_file(str(file))
    each = [package.encode(text, add_special_tokens=False).ids for text in TEXTS]
    assert encoded.lists.to_pylist() == each
    assert encoded.lists.type == pa.list_(pa.uint16()) and encoded.problems == {}
    assert made.vocabulary == package.get_vocab_size() > flat(encoded).max()
    assert package.decode(flat(encoded).tolist()) == "".join(TEXTS)


def test_what_cannot_be_encoded_is_told_by_position(file):
    texts = [b"sound", "caf\xe9 noir".encode("latin-1"), b"", b"too"]
    encoded = tokenizer.of(str(file)).encode(pa.array(texts))
    assert encoded.problems == {1: "not UTF-8 (byte 3)", 2: "no token in its text"}
    assert [len(tokens) > 0 for tokens in encoded.lists.to_pylist()] == [True, False, False, True]


def changed(file, change):
    about = json.loads(file.read_text())
    change(about)
    file.write_text(json.dumps(about))
    return tokenizer.of(str(file))


def test_nothing_is_cut_filled_or_left_to_chance(file):
    before = tokenizer.of(str(file)).encode(pa.array(TEXTS)).lists

    def vary(about):
        about["truncation"] = {
            "max_length": 2,
            "strategy": "LongestFirst",
            "stride": 0,
            "direction": "Right",
        }
        about["padding"] = {
            "strategy": {"Fixed": 99},
            "direction": "Right",
            "pad_to_multiple_of": None,
            "pad_id": 0,
            "pad_type_id": 0,
            "pad_token": "x",
        }
        about["model"]["dropout"] = 0.9

    assert changed(file, vary).encode(pa.array(TEXTS)).lists == before


def test_a_vocabulary_reaches_to_its_largest_number_and_decides_the_type(tmp_path):
    package = pytest.importorskip("tokenizers")
    for largest, kind in ((65_535, np.uint16), (65_536, np.uint32)):
        made = package.Tokenizer(package.models.WordLevel({"a": 0, "b": largest}, unk_token="a"))
        made.save(str(tmp_path / "words.json"))
        words = tokenizer.of(str(tmp_path / "words.json"))
        encoded = words.encode(pa.array(["b", "a"]))
        assert words.vocabulary == largest + 1
        assert flat(encoded).dtype == kind and flat(encoded).tolist() == [largest, 0]


def test_another_content_of_the_file_is_another_tokenizer(file):
    before = tokenizer.of(str(file))
    after = changed(file, lambda about: about["model"].update(merges=[]))
    assert after.digest != before.digest
    assert len(flat(after.encode(pa.array(["world"])))) == 5


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"there is no file '.*'; give the path of a tokenizer.json, or `bytes`"),
        ("{'a'", r"is not a tokenizer \(it is not JSON: .*line 1"),
        ("[" * 100_000, "is not a tokenizer"),
        ("[1]", r"is not a tokenizer \(it has no key 'model'\); give a file that `Tokenizer.save`"),
        ('{"a": 1}', "it has no key 'model'"),
        ('{"model": {"type": "BPE"}}', "is not a tokenizer"),
        ('{"model": 1}', "is not a tokenizer"),
    ],
)
def test_a_file_that_is_not_a_tokenizer_is_told_with_what_to_do(tmp_path, content, message):
    pytest.importorskip("tokenizers")
    path = tmp_path / "words.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(IsolossError, match=message) as error:
        tokenizer.of(str(path))
    assert "words.json" in str(error.value)


def test_a_package_that_is_not_installed_is_told_with_the_line_that_installs_it(file, monkeypatch):
    tokenizer._of_content.cache_clear()
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(IsolossError, match=r"pip install 'isoloss\[tokenizers\]'"):
        tokenizer.of(str(file))


def test_a_file_that_is_too_large_is_not_read(file, monkeypatch):
    monkeypatch.setattr(tokenizer, "MOST_BYTES", 100)
    with pytest.raises(IsolossError, match="has more than 100 bytes"):
        tokenizer.of(str(file))
