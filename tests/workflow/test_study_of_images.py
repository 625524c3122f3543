"""A study of labelled images by the real snakemake: from IDX files to laws and figures."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from idx_files import write_images
from running import snakemake, write
from safetensors.numpy import load_file

from isoloss.core import tables

SETTINGS = {"inputs": 16, "batch_size": 16, "peak_learning_rate": 0.01, "learning_rate_exponent": 0}
CELLS = [{"width": [4, 8, 16], "n_samples": [3200, 9600]}]


def study(options: dict) -> dict:
    """Perceptrons under two mixtures of classes, and heads on a frozen encoder."""
    sweep = {"dataset": "clothes", "shards": 1, "valid_tokens": 60, "n_params": "total"}
    return {
        "study": "images",
        "seed": 3,
        "load": {"clothes": {"card": "idx_images", "options": options}},
        "expand": {"natural": {}, "few_bags": {"class": {"8": 0.5, "9": 0}}},
        "train": {
            "plain": {
                **sweep,
                "model": "mlp",
                "settings": SETTINGS,
                "cells": [*CELLS, {"width": 8, "n_samples": 9600, "weighting": "few_bags"}],
            },
            "heads": {
                **sweep,
                "n_params": "nonembed",
                "model": "vit_head",
                "settings": {**SETTINGS, "height": 4, "peak_learning_rate": 0.003},
                "cells": [{"width": [8, 16], "n_samples": 3200}],
            },
        },
        "fit": {"law": {"card": "power_law", "sweep": "plain", "options": {"variable": "N"}}},
        "plot": {
            "curves": {"card": "learning_curves", "sweep": "plain"},
            "effects": {"card": "weighting_effects", "sweep": "plain"},
            "fitted": {"card": "predicted_observed", "sweep": "plain", "fits": ["law"]},
        },
    }


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """What the study leaves, and what snakemake printed."""
    folder = tmp_path_factory.mktemp("images")
    options = write_images(folder, n=600, n_test=60, packed=True)
    process = snakemake(folder, "--configfile", write(folder, study(options)))
    output = process.stdout + process.stderr
    assert process.returncode == 0, output
    return folder / "results" / "images", output


def frame(results, name: str, sweep: str) -> pd.DataFrame:
    return tables.frame(results[0] / f"aggregate/{sweep}/{name}.parquet", name)


@pytest.mark.parametrize("sweep", ["plain", "heads"])
def test_runs_learn_to_tell_classes_apart_and_are_measured_by_class(results, sweep):
    runs, losses = frame(results, "runs", sweep), frame(results, "losses", sweep)
    assert (runs["status"] == "done").all()
    assert (runs["loss"] < np.log(10)).all()
    assert set(losses["tag_key"]) == {"class"}
    for run in runs.itertuples():
        of_run = losses[losses["run_id"] == run.run_id]
        assert of_run["n_tokens"].sum() == 60
        assert np.average(of_run["error_rate"], weights=of_run["n_tokens"]) < 0.9  # of a guess
        assert np.average(of_run["loss"], weights=of_run["n_tokens"]) == pytest.approx(run.loss)


def test_d_beyond_the_images_repeats_them_and_distinct_images_are_counted(results):
    runs = frame(results, "runs", "plain")
    natural = runs[runs["weighting"] == "natural"]
    assert (natural["n_samples"] > 600).all()
    assert (natural["n_unique"] == 600).all()


def test_a_mixture_of_classes_is_what_a_weighting_makes_of_them(results):
    mixtures, runs = frame(results, "mixtures", "plain"), frame(results, "runs", "plain")
    (run,) = runs.loc[runs["weighting"] == "few_bags", "run_id"]
    shares = mixtures[mixtures["run_id"] == run].set_index("domain")["proportion"]
    assert shares["9"] == 0
    assert shares.sum() == pytest.approx(1)
    assert shares["8"] < shares.drop(["8", "9"]).min()


def test_the_weights_of_a_head_are_kept_without_its_encoder(results):
    runs = frame(results, "runs", "heads")
    for run in runs.itertuples():
        weights = load_file(results[0] / "store" / run.run_digest / "weights.safetensors")
        assert sum(w.size for w in weights.values()) == run.n_params == run.n_params_nonembed
        assert all(name.startswith("head.") for name in weights)
        assert run.n_params_total > 60_000


def test_nothing_that_is_shown_speaks_of_tokens_or_bytes(results):
    folder, _ = results
    summary = (folder / "summary.md").read_text(encoding="utf-8")
    assert "nats/example" in summary and "examples" in summary
    assert not re.findall(r"tokens?\b|bytes?\b", summary)
    for file in folder.glob("plot/*.pdf"):
        assert file.stat().st_size > 0
    facts = tables.facts(folder / "aggregate/plain/runs.parquet")
    assert (facts["token"], facts["loss_unit"]) == ("example", "nats/example")
    params = tables.frame(next(folder.glob("fit/plain/law/params.parquet")), "params")
    assert set(params["unit"]) <= {"nats/example", "1", ""}


def test_files_that_are_gone_are_told_before_anything_runs(tmp_path):
    options = write_images(tmp_path) | {"images": "nowhere"}
    process = snakemake(tmp_path, "--configfile", write(tmp_path, study(options)))
    assert process.returncode != 0
    assert "load.clothes" in process.stderr and "no file nowhere" in process.stderr
