"""A study with a schedule of weightings by the real snakemake, and what a change trains again."""

from __future__ import annotations

import re

import pytest
from running import snakemake, write

from isoloss.core import tables
from isoloss.records.store import Store


def study(source, until: float) -> dict:
    sweep = {"dataset": "few", "model": "transformer", "shards": 1, "valid_tokens": 1024}
    settings = {"n_layers": 1, "context": 16, "batch_size": 8, "n_samples": 5120}
    few = {"card": "python_stdlib", "options": {"root": str(source)}, "valid_fraction": 0.4}
    late = {"phases": [{"weighting": "natural", "until": until}, {"weighting": "docs"}]}
    return {
        "study": "phases",
        "load": {"few": few},
        "expand": {"natural": {}, "docs": {"kind": {"docstring": 2, "code": 0}}, "late": late},
        "train": {
            "grid": {
                **sweep,
                "settings": settings,
                "cells": [{"d_model": [4, 8], "weighting": ["natural", "late"]}],
            }
        },
        "fit": {},
        "plot": {},
    }


def test_a_schedule_is_trained_told_and_only_its_runs_again_when_it_changes(source, tmp_path):
    def call(until):
        process = snakemake(tmp_path, "--configfile", write(tmp_path, study(source, until)))
        assert process.returncode == 0, process.stdout + process.stderr
        return process.stdout + process.stderr

    def started():
        return [line["run_id"] for line in store.journal() if line["event"] == "start"]

    call(0.75)
    results = tmp_path / "results" / "phases"
    store, gathered = Store(results / "store"), results / "aggregate" / "grid"
    runs = tables.frame(gathered / "runs.parquet", "runs").set_index("run_id")
    assert set(runs["status"]) == {"done"} and len(started()) == 4
    assert sorted(p.name for p in (results / "expand/few").iterdir()) == ["docs", "natural"]
    assert runs["loss"].is_unique
    assert re.search(r"late [+-]0", (results / "summary.md").read_text(encoding="utf-8"))

    mixtures = tables.frame(gathered / "mixtures.parquet", "mixtures")
    shares = mixtures[mixtures["tag_key"] == "kind"].set_index(["run_id", "domain"])["proportion"]
    late, natural = (runs.index[(runs["weighting"] == w)] for w in ("late", "natural"))
    for run_id in late:
        assert shares.loc[run_id].sum() == pytest.approx(1)
        assert shares.loc[run_id]["code"] == pytest.approx(0.75 * shares.loc[natural[0]]["code"])

    call(0.5)
    assert sorted(started()[4:]) == sorted(late)
    changed = tables.frame(gathered / "runs.parquet", "runs").set_index("run_id")
    same = runs["weighting"] == "natural"
    assert list(changed["loss"] == runs["loss"]) == list(same)
