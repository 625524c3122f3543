"""A dataset with a tokenizer in a study: its vocabulary, its unit, and what is refused."""

from __future__ import annotations

import pytest
from byte_pairs import byte_pairs

from isoloss.core import tokenizer
from isoloss.core.problems import StudyError
from isoloss.study import check


@pytest.fixture
def file(tmp_path):
    return str(byte_pairs(tmp_path / "tokenizer.json"))


def study(named, settings=(), card="markov_chain", model="transformer"):
    settings = {"n_samples": 6400, "context": 16} | dict(settings)
    sweep = {"dataset": "made", "model": model, "valid_tokens": 1024, "settings": settings}
    return {
        "study": "words",
        "load": {"made": {"card": card, "tokenizer": named}},
        "expand": {"natural": {}},
        "train": {"grid": {**sweep, "cells": [{"d_model": [4, 8]}]}},
    }


def problem(config) -> str:
    with pytest.raises(StudyError) as error:
        check.check(config)
    return str(error.value)


def test_the_vocabulary_of_runs_is_the_size_of_the_tokenizer(file):
    settings = check.check(study(file))["train"]["grid"]["settings"]
    assert settings["vocabulary"] == tokenizer.of(file).vocabulary > 256
    given = check.check(study(file, {"vocabulary": 1000}))["train"]["grid"]["settings"]
    assert given["vocabulary"] == 1000
    assert "vocabulary" not in check.check(study("bytes"))["train"]["grid"]["settings"]


@pytest.mark.parametrize("where", ["settings", "cells"])
def test_a_vocabulary_that_lacks_tokens_is_refused_with_both_numbers(file, where):
    config, size = study(file), tokenizer.of(file).vocabulary
    if where == "settings":
        config["train"]["grid"]["settings"]["vocabulary"] = size - 1
    else:
        config["train"]["grid"]["cells"][0]["vocabulary"] = [size, size - 1]
    message = f"vocabulary {size - 1}, where the tokenizer of load.made has {size} tokens"
    text = problem(config)
    assert f"train.grid.cells: {message}" in text
    assert f"leave it out, or set it to {size} or more" in text


def test_a_tokenizer_that_cannot_be_used_is_told_by_its_key(tmp_path):
    (path := tmp_path / "words.json").write_text("[]")
    assert "load.made.tokenizer: the file" in problem(study(str(path)))
    assert "cannot be read (No such file" in problem(study(str(tmp_path / "none.json")))
    assert "load.made.tokenizer: found 3" in problem(study(3))


def test_images_have_no_tokenizer(file):
    text = problem(study(file, card="fashion_mnist"))
    assert "load.made.tokenizer: the card 'fashion_mnist' has no text" in text
