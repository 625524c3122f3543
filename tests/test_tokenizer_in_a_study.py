"""A dataset with a tokenizer in a study: its vocabulary, its unit, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from byte_pairs import byte_pairs

from isoloss.core import tables, tokenizer
from isoloss.core.problems import StudyError
from isoloss.study import check
from isoloss.train.plan import plan_runs


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
    reasons = {"none.json": "there is no file", ".": "is a folder", "/dev/zero": "is a device"}
    for other, reason in reasons.items():
        text = problem(study(str(tmp_path / other)))
        assert "load.made.tokenizer: " in text
        assert reason in text
    assert "load.made.tokenizer: found 3" in problem(study(3))


def test_images_have_no_tokenizer(file):
    text = problem(study(file, card="fashion_mnist"))
    assert "load.made.tokenizer: the card 'fashion_mnist' has no text" in text


def test_a_token_that_no_text_has_makes_other_runs(file):
    """The tokens of all texts stay the same: the vocabulary is what tells the runs apart."""
    before = plan_runs(check.check(study(file))["train"]["grid"])
    about = json.loads(Path(file).read_text())
    about["model"]["vocab"]["never used"] = tokenizer.of(file).vocabulary
    Path(file).write_text(json.dumps(about))
    after = plan_runs(check.check(study(file))["train"]["grid"])
    assert {run["vocabulary"] + 1 for run in before} == {run["vocabulary"] for run in after}
    assert not {run["run_id"] for run in before} & {run["run_id"] for run in after}
    assert tables.role("plan", "vocabulary") == "setting"
