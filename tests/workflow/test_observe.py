"""Runs that are trained are observed by the real snakemake, and none is trained again."""

import shutil

import numpy as np
import pandas as pd
import pytest
from running import snakemake, tiny, write
from safetensors.numpy import load_file

import isoloss
from isoloss.core import tables
from isoloss.records.store import Store

STUDY = {
    "observe": {
        "norms": {"card": "weight_norms", "sweep": "short"},
        "layers": {"card": "weight_norms", "sweep": "short", "options": {"parts": "layers"}},
        "paths": {
            "card": "structural_entropy",
            "sweep": "short",
            "options": {"tensors": ["blocks.0.widen", "blocks.0.narrow"]},
        },
    },
    "plot": {"norms": {"card": "observations", "sweep": "short", "observation": "norms"}},
}


@pytest.fixture(scope="module")
def observed(finished, source, tmp_path_factory):
    """The finished tiny study, observed afterwards: what snakemake said, its folder, results."""
    folder = tmp_path_factory.mktemp("observed") / "study"
    shutil.copytree(finished[0], folder, copy_function=shutil.copy2)
    process = snakemake(folder, "--configfile", write(folder, tiny(source) | STUDY))
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stderr, folder, folder / "results" / "tiny"


def test_observing_trains_nothing_and_leaves_every_run_as_it_is(finished, observed):
    output, _, results = observed
    before = finished[0] / "results" / "tiny"
    assert Store(results / "store").journal() == Store(before / "store").journal()
    for file in (before / "train").rglob("*.*"):
        assert (results / file.relative_to(before)).read_bytes() == file.read_bytes()
    assert output.count("observe norms: short, shard") == 2
    assert "train short" not in output


def test_every_finished_run_has_the_norms_of_its_own_weights(observed):
    _, _, results = observed
    files = sorted((results / "observe/norms/short").glob("*.parquet"))
    seen = [tables.conform("observations", tables.read(f, "observations")) for f in files]
    seen = [table.to_pandas() for table in seen]
    shards = [tables.frame(results / f"train/short/{f.name}", "shard") for f in files]
    assert sum(len(shard) for shard in shards) == 4
    for table, shard in zip(seen, shards, strict=True):
        finished = shard[shard["status"] == "done"]  # one of so few steps can diverge
        assert set(table["run_id"]) == set(finished["run_id"])
        for run in finished.itertuples():
            weights = load_file(results / "store" / run.run_digest / "weights.safetensors")
            rows = table[table["run_id"] == run.run_id]
            norms = rows[rows["quantity"] == "frobenius_norm"].set_index("part")["value"]
            assert set(norms.index) == set(weights)
            for part, values in weights.items():
                np.testing.assert_allclose(norms[part], np.linalg.norm(values), rtol=1e-6)


def test_entropies_of_a_study_are_those_of_a_notebook(observed):
    _, _, results = observed
    files = sorted((results / "observe/paths/short").glob("*.parquet"))
    assert len(files) == 2
    for file in files:
        seen, shard = tables.frame(file), tables.frame(results / f"train/short/{file.name}")
        digests = shard.set_index("run_id")["run_digest"]
        assert set(seen["run_id"]) == set(shard.loc[shard["status"] == "done", "run_id"])
        for run_id, rows in seen.groupby("run_id"):
            weights = load_file(results / "store" / digests[run_id] / "weights.safetensors")
            matrices = [weights[f"blocks.0.{name}"] for name in ("widen", "narrow")]
            every = isoloss.structural_entropies(matrices)[["h_tse", "h_sie"]].mean()
            values = rows[rows["part"] == "all"].set_index("quantity")["value"]
            pd.testing.assert_series_equal(values[every.index], every, check_names=False)
            assert set(rows["part"]) == {"all", "sample"}


def test_the_figure_shows_what_was_observed(observed):
    _, _, results = observed
    drawn = tables.read(results / "plot/norms.parquet").to_pandas()
    runs = tables.frame(results / "aggregate/short/runs.parquet", "runs")
    finished = set(runs.loc[runs["status"] == "done", "run_id"])
    assert len(finished) >= 3
    assert set(drawn["run_id"]) == finished
    assert set(drawn["quantity"]) == {"root_mean_square"}
    assert (results / "plot/norms.png").stat().st_size > 10_000


def test_another_option_makes_only_that_observation_again(observed):
    _, folder, results = observed
    again = snakemake(folder, "-n", "--configfile", str(folder / "study.yaml"))
    assert "Nothing to be done" in again.stdout + again.stderr
    text = (folder / "study.yaml").read_text(encoding="utf-8")
    assert text.count("parts: layers") == 1
    (folder / "edited.yaml").write_text(text.replace("parts: layers", "parts: matrices"), "utf-8")
    due = snakemake(folder, "-n", "--configfile", str(folder / "edited.yaml"))
    assert "observe layers: short, shard" in due.stdout
    for other in ("observe norms", "train short", "aggregate short", "plot norms"):
        assert other not in due.stdout, other
    assert len(list((results / "observe/layers/short").glob("*.parquet"))) == 2
