"""Rows of a dataset with a tokenizer: their tokens, what is known of them, rows without any."""

from __future__ import annotations

import numpy as np
import pytest
from byte_pairs import byte_pairs
from idx_files import write_images

from isoloss.core import registry, tables, tokenizer
from isoloss.core.problems import IsolossError
from isoloss.datasets import markov_chain
from isoloss.load import identity, job

TEXTS = {f"m{i:02d}.py": f"def f{i}():\n    return 'hello world {i}'\n" for i in range(40)}


@pytest.fixture
def root(tmp_path):
    (folder := tmp_path / "library").mkdir()
    for name, text in TEXTS.items():
        (folder / name).write_text(text)
    return folder


@pytest.fixture
def file(tmp_path):
    return str(byte_pairs(tmp_path / "tokenizer.json"))


def load(root, out, named, **settings):
    dataset = {"card": "python_stdlib", "options": {"root": str(root)}, "valid_fraction": 0.3}
    dataset |= {"on_bad_row": "stop", "tokenizer": named, **settings}
    return job.run({"dataset": dataset, "seed": 7, "content": None}, out, {"dataset": "few"}, out)


def test_a_row_has_the_tokens_of_its_text(root, file, tmp_path, capsys):
    rows_file, audit, _, tokens_file = load(root, tmp_path / "out", file)
    rows, tokens = tables.frame(rows_file, "rows"), np.load(tokens_file)
    assert tokens.dtype == np.uint16
    assert rows["n_tokens"].sum() == len(tokens) < sum(map(len, rows["text"]))
    package = pytest.importorskip("tokenizers").Tokenizer.from_file(file)
    ends = np.cumsum(rows["n_tokens"])
    for text, part in zip(rows["text"], np.split(tokens, ends[:-1]), strict=True):
        assert package.decode(part.tolist()).encode() == text
    facts = tables.facts(audit)
    known = {"tokenizer": tokenizer.of(file).digest, "vocabulary": tokenizer.of(file).vocabulary}
    assert known.items() <= tables.facts(rows_file).items() & facts.items()
    assert facts["bytes_per_token"] == sum(map(len, rows["text"])) / len(tokens)
    assert f"{facts['bytes_per_token']:.3f} bytes a token" in capsys.readouterr().err


def test_rows_that_are_not_utf8_stop_the_job_or_are_dropped(root, file, tmp_path):
    (root / "m90.py").write_bytes(b"x = '\xff'\n")
    with pytest.raises(IsolossError, match=r"1 row cannot be used: not UTF-8 \(1\)") as error:
        load(root, tmp_path / "out", file)
    assert "not UTF-8 (byte 5)" in str(error.value)
    assert list((tmp_path / "out").iterdir()) == []
    rows, _, dropped, _ = load(root, tmp_path / "out", file, on_bad_row="drop")
    assert list(tables.frame(dropped, "dropped")["reason"]) == ["not UTF-8 (byte 5)"]
    assert len(tables.frame(rows, "rows")) == len(TEXTS)
    rows, *_ = load(root, tmp_path / "bytes", "bytes")
    assert len(tables.frame(rows, "rows")) == len(TEXTS) + 1


def test_the_content_of_a_dataset_has_that_of_its_tokenizer(root, file, tmp_path):
    about = "python_stdlib", {"root": str(root)}
    other = str(byte_pairs(tmp_path / "other.json", words=280))
    digests = {identity(*about, tokenizer=name) for name in ("bytes", file, other)}
    assert len(digests) == 3
    (tmp_path / "copy.json").write_bytes((tmp_path / "tokenizer.json").read_bytes())
    assert identity(*about, tokenizer=str(tmp_path / "copy.json")) in digests


def test_a_tokenizer_that_changes_while_rows_are_read_stops_the_job(root, file, tmp_path):
    dataset = {"card": "python_stdlib", "options": {"root": str(root)}, "valid_fraction": 0.3}
    dataset |= {"on_bad_row": "stop", "tokenizer": file}
    content = identity(dataset["card"], dataset["options"], tokenizer=file)
    byte_pairs(tmp_path / "tokenizer.json", words=280)
    specification = {"dataset": dataset, "seed": 7, "content": content}
    with pytest.raises(IsolossError, match="its sources changed while they were read"):
        job.run(specification, tmp_path / "out", {}, tmp_path)


def test_images_are_not_tokenised(file, tmp_path):
    options = registry.defaults("dataset", "idx_images") | write_images(tmp_path)
    dataset = {"card": "idx_images", "options": options, "valid_fraction": 0.3}
    specification = {"dataset": {**dataset, "tokenizer": file}, "seed": 7, "content": None}
    with pytest.raises(IsolossError, match="tokenizer: its rows are images, which have no text"):
        job.run(specification, tmp_path / "out", {}, tmp_path)


def test_the_entropy_rate_of_a_corpus_is_a_fact_of_its_tables(tmp_path, capsys):
    options = registry.defaults("dataset", "markov_chain") | {"documents": 40, "mean_length": 50}
    dataset = {"card": "markov_chain", "options": options, "valid_fraction": 0.3}
    dataset |= {"on_bad_row": "stop", "tokenizer": "bytes"}
    specification = {"dataset": dataset, "seed": 7, "content": None}
    files = job.run(specification, tmp_path, {}, tmp_path)
    rate = markov_chain.entropy_rate(**options)
    assert tables.facts(files[0])["entropy_rate"] == tables.facts(files[1])["entropy_rate"] == rate
    assert f"entropy rate of all: {rate['all']:.6g} nats/byte" in capsys.readouterr().err
    rows = tables.frame(files[0], "rows")
    assert list(rows["row_id"]) == list(map(str, range(40)))
    assert rows["text"].map(len).sum() == rows["n_tokens"].sum() == len(np.load(files[3]))
