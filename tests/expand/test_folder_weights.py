"""Weights in the folders of a dataset's files: the nearest wins, and they make the rows due."""

from __future__ import annotations

import json

import pandas as pd
import pytest

from isoloss.core import tables
from isoloss.core.problems import IsolossError, StudyError
from isoloss.expand import job as expand_job
from isoloss.load import job as load_job
from isoloss.study import check
from isoloss.study.flow import Flow

LINES = 40  # of every file


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Texts in nested folders, with a space in a name; the working folder is above them."""
    monkeypatch.chdir(tmp_path)
    for place in ("web/news", "web/my blog", "books"):
        for kind in ("good", "bad"):
            file = tmp_path / "data" / place / kind / "a.txt"
            file.parent.mkdir(parents=True)
            file.write_text("".join(f"{place} {kind} line {i}\n" for i in range(LINES)))
    return tmp_path / "data"


def study(weighting) -> dict:
    """A study of these texts with one weighting."""
    options = {"folder": "data", "cut": "line", "path_tags": "{kind}/*.txt"}
    cells = [{"n_samples": 1000, "d_model": 8, "weighting": "w"}]
    sweep = {"dataset": "texts", "model": "transformer", "cells": cells}
    return {
        "study": "folders",
        "seed": 4,
        "load": {"texts": {"card": "text_folder", "options": options, "valid_fraction": 0.2}},
        "expand": {"w": weighting},
        "train": {"sizes": sweep},
    }


def specification(weighting) -> dict:
    """What matters to the job that expands the texts."""
    flow = Flow(check.check(study(weighting)), "results/folders")
    return json.loads(flow.specification("expand", dataset="texts", weighting="w"))


@pytest.fixture
def rows(folder):
    """Where the texts are loaded."""
    flow = Flow(check.check(study({})), "results/folders")
    loaded = json.loads(flow.specification("load", dataset="texts"))
    load_job.run(loaded, folder.parent / "load", {}, folder.parent / "fetched")
    return folder.parent / "load/rows.parquet"


def weights_by_file(rows, weighting, tmp_path) -> dict[str, set[int]]:
    """The numbers of copies that the training rows of each file have."""
    expand_job.run(specification(weighting), rows, tmp_path / "expand", {})
    index = tables.frame(tmp_path / "expand/index.parquet", "index")
    table = tables.frame(rows, "rows").query("split == 'train'")
    copies = pd.Series(0, table.index).add(index.set_index("row")["copies"], fill_value=0)
    by_file = copies.astype(int).groupby(table["file"]).unique()
    return {file.removeprefix("data/"): set(values) for file, values in by_file.items()}


def test_the_nearest_weight_of_a_tag_value_wins(folder, rows, tmp_path):
    (folder / "weights.yaml").write_text("kind: {good: 3, bad: 0}")
    (folder / "web/weights.yaml").write_text("kind: {bad: 2}")
    (folder / "web/my blog/weights.yaml").write_text("# none yet")
    (folder / "web/news/good/weights.yaml").write_text("kind:\n  good: 5\n")
    (folder / "books/weights.yml").write_text("kind: {bad: 9}")  # another name
    weighting = {"weights": {"kind": {"good": 1, "bad": 1}}, "files": "weights.yaml"}
    copies = weights_by_file(rows, weighting, tmp_path)
    expected = {
        "books/bad/a.txt": {0},
        "books/good/a.txt": {3},
        "web/my blog/bad/a.txt": {2},
        "web/my blog/good/a.txt": {3},
        "web/news/bad/a.txt": {2},
        "web/news/good/a.txt": {5},
    }
    assert len(copies) == 5  # one file is held out
    assert expected | copies == expected


def test_without_such_files_the_weights_are_those_of_the_study(folder, rows, tmp_path):
    (folder / "weights.yml").write_text("kind: {good: 7}")
    weighting = {"weights": {"kind": {"good": 2, "bad": 0}}, "files": "weights.yaml"}
    copies = weights_by_file(rows, weighting, tmp_path)
    assert {file.split("/")[-2]: values for file, values in copies.items()} == {
        "good": {2},
        "bad": {0},
    }


def test_what_such_files_hold_decides_whether_the_rows_are_due(folder):
    weighting = {"weights": {}, "files": "weights.yaml"}
    before = specification(weighting)
    assert before == specification(weighting) and before["content"] == {}
    (folder / "web/weights.yaml").write_text("kind: {good: 2}")
    after = specification(weighting)
    assert after["content"] == {"data/web": {"kind": {"good": 2.0}}}
    (folder / "web/weights.yaml").write_text("kind:\n  good: 2.0  # twice\n")
    assert specification(weighting) == after
    assert "content" not in specification({"weights": {"kind": {"good": 2}}})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("kind: {good: -1}", "weights.yaml.kind.good: the weight is -1; give a number from 0"),
        ("kind: {good: .nan}", "weights.yaml.kind.good: the weight is nan"),
        ("kind: 3", "weights.yaml.kind: found 3; give tag value to weight"),
        ("kind: [", "weights.yaml: line 2: is not YAML"),
        ("knd: {good: 1}", "weights.yaml.knd: no row has this tag; did you mean 'kind'?"),
    ],
)
def test_wrong_files_are_named_before_anything_runs(folder, text, message):
    (folder / "web/weights.yaml").write_text(text)
    with pytest.raises(StudyError) as error:
        check.check(study({"weights": {}, "files": "weights.yaml"}))
    assert f"expand.w: data/web/{message}" in str(error.value)


def test_a_value_that_no_row_has_is_an_error_with_its_folder(folder, rows, tmp_path):
    (folder / "web/weights.yaml").write_text("kind: {godo: 2}")
    with pytest.raises(IsolossError, match=r"weight of kind in data/web: no row has 'godo'.*good"):
        weights_by_file(rows, {"weights": {}, "files": "weights.yaml"}, tmp_path)


@pytest.mark.parametrize(
    ("weighting", "message"),
    [
        ({"files": "weights.yaml"}, "expand.w.files: the weights that those of folders are put"),
        ({"weights": {}, "files": "../w.yaml"}, "expand.w.files"),
        ({"weights": {}, "files": "a/w.yaml"}, "expand.w.files"),
    ],
)
def test_files_are_names_beside_weights(folder, weighting, message):
    with pytest.raises(StudyError) as error:
        check.check(study(weighting))
    assert message in str(error.value)
