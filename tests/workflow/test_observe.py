"""Runs that are trained are observed by the real snakemake, and none is trained again."""

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from running import snakemake, tiny, write
from safetensors.numpy import load_file

import isoloss
from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.observe import job
from isoloss.records.store import Store
from isoloss.tasks._content import Files

STUDY = {
    "observe": {
        "norms": {"card": "weight_norms", "sweep": "short"},
        "layers": {"card": "weight_norms", "sweep": "short", "options": {"parts": "layers"}},
        "paths": {
            "card": "structural_entropy",
            "sweep": "short",
            "options": {"tensors": ["blocks.0.widen", "blocks.0.narrow"]},
        },
        "learned": {
            "card": "llc",
            "sweep": "short",
            "options": {"lr": ["1e-4", 1000], "n_beta": 30, "num_draws": 20, "num_chains": 2},
        },
    },
    "fit": {
        "paths": {
            "card": "growth",
            "sweep": "short",
            "options": {"variable": "N", "offset": False},
            "response": "h_tse",
            "bootstrap": 5,
        },
    },
    "plot": {
        "norms": {"card": "observations", "sweep": "short", "observation": "norms"},
        "law": {"card": "predicted_observed", "sweep": "short", "fits": ["paths"]},
    },
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


LLC = ("observations", "llc", "llc_chain", "llc_trace")


def tables_of_shard(folder: Path, shard: str) -> dict[str, Path]:
    """The tables of the coefficient in a folder of a shard."""
    return {
        name: folder / (f"{shard}.parquet" if name == "observations" else f"{shard}.{name}.parquet")
        for name in LLC
    }


def test_every_finished_run_has_its_coefficient_and_chains_that_diverge_stop_nothing(observed):
    _, _, results = observed
    for shard in "01":
        files = tables_of_shard(results / "observe/learned/short", shard)
        read = {name: tables.conform(name, tables.read(file, name)).to_pandas()
                for name, file in files.items()}  # fmt: skip
        runs = tables.frame(results / f"train/short/{shard}.parquet", "shard")
        ended = set(runs.loc[runs["status"] == "done", "run_id"])
        settled, wild = (read["llc"][read["llc"]["setting"] == i] for i in (0, 1))
        assert set(settled["run_id"]) == set(wild["run_id"]) == ended
        assert np.isfinite(settled["llc_mean"]).all() and (settled["chains_ok"] == 2).all()
        assert (wild["status"] == "failed").all() and wild["llc_mean"].isna().all()
        assert wild["status_reason"].str.contains("2 of 2 chains failed").all()
        assert set(read["observations"]["run_id"]) == ended
        assert set(read["observations"]["part"]) == {"setting 0"}
        assert len(read["llc_chain"]) == 4 * len(ended)
        assert len(read["llc_trace"]) == 4 * 20 * len(ended)
        log = (results / f"logs/observe/learned/short/{shard}.log").read_text(encoding="utf-8")
        assert log.count("failed: 2 of 2 chains failed") == len(ended)


def test_the_coefficient_depends_on_no_path_and_no_other_run(observed, tmp_path):
    _, folder, results = observed
    made = tables_of_shard(results / "observe/learned/short", "0")
    data = [results / "load/few/rows.parquet", results / "load/few/tokens.npy"]
    index = results / "expand/few/natural/index.parquet"
    by_hand = ["observe", "--study", str(folder / "study.yaml"), "--observation", "learned"]
    by_hand += ["--shard", "0", "--runs", str(results / "train/short/0.parquet")]
    by_hand += ["--rows", str(data[0]), "--tokens", str(data[1]), "--index", str(index)]
    out = tmp_path / "elsewhere" / "0.parquet"
    assert main([*by_hand, "--store", str(results / "store"), "--out", str(out)]) == 0
    for name, file in tables_of_shard(out.parent, "0").items():
        assert file.read_bytes() == made[name].read_bytes()
    runs = tables.frame(results / "train/short/0.parquet", "shard")
    last = runs[runs["status"] == "done"].iloc[-1:]
    tables.write("shard", last, tmp_path / "one.parquet")
    specification = json.loads((results / "observe/learned/short/0.json").read_text("utf-8"))
    files = Files(data[:1], data[1:], [index])
    alone = job.run(specification["specification"], tmp_path / "one.parquet", files,
                    results / "store", tmp_path / "alone.parquet", {})  # fmt: skip
    for name, file in zip(LLC, alone, strict=True):
        rows = tables.frame(made[name])
        own = rows[rows["run_id"] == last["run_id"].item()].reset_index(drop=True)
        pd.testing.assert_frame_equal(tables.frame(file), own)


def test_the_figure_shows_what_was_observed(observed):
    _, _, results = observed
    drawn = tables.read(results / "plot/norms.parquet").to_pandas()
    runs = tables.frame(results / "aggregate/short/runs.parquet", "runs")
    finished = set(runs.loc[runs["status"] == "done", "run_id"])
    assert len(finished) >= 3
    assert set(drawn["run_id"]) == finished
    assert set(drawn["quantity"]) == {"root_mean_square"}
    assert (results / "plot/norms.png").stat().st_size > 10_000


def test_what_was_observed_is_joined_to_the_runs_and_fitted(observed):
    _, _, results = observed
    runs = tables.frame(results / "aggregate/short/runs.parquet", "runs").set_index("run_id")
    ended = runs[runs["status"] == "done"]
    parts = [tables.frame(file) for file in (results / "observe/learned/short").glob("?.llc.*")]
    first = pd.concat(parts).query("setting == 0").set_index("run_id").loc[ended.index]
    for column, own in {"llc_mean": "llc_mean", "llc_se": "llc_se", "llc_status": "status"}.items():
        assert ended[column].tolist() == first[own].tolist()
    assert runs.loc[runs["status"] != "done", "llc_mean"].isna().all()
    assert (ended["h_tse"] > 0).all()
    outcomes = {"llc_mean", "llc_se", "llc_status", "h_tse", "h_sie"}
    assert outcomes < set(runs) and not outcomes & set(tables.cell_columns(runs))
    fit = isoloss.load_fit(results / "fit/short/paths")
    assert fit.quantity == "h_tse" and fit.summary["n_runs"].item() == len(ended)
    law = isoloss.fit_law(
        runs.reset_index(), "growth", {"variable": "N", "offset": False}, response="h_tse",
        bootstrap=5, seed=3, holdout="none",
    )  # fmt: skip
    assert law.values == fit.values
    summary = (results / "summary.md").read_text(encoding="utf-8")
    assert "h_tse = A N^γ" in summary and "Best for C" not in summary
    assert (results / "plot/law.png").stat().st_size > 10_000


def test_another_option_makes_only_that_observation_again(observed):
    _, folder, results = observed
    again = snakemake(folder, "-n", "--configfile", str(folder / "study.yaml"))
    assert "Nothing to be done" in again.stdout + again.stderr
    named = [str(folder / "study.yaml"), "--directory", str(folder)]
    assert main(["verify", *named]) == main(["adopt", *named]) == 0
    text = (folder / "study.yaml").read_text(encoding="utf-8")
    assert text.count("parts: layers") == text.count("num_draws: 20") == 1
    edited = text.replace("parts: layers", "parts: matrices").replace(
        "num_draws: 20", "num_draws: 9"
    )
    (folder / "edited.yaml").write_text(edited, "utf-8")
    due = snakemake(folder, "-n", "--configfile", str(folder / "edited.yaml"))
    assert "observe layers: short, shard" in due.stdout
    assert "observe learned: short, shard" in due.stdout
    assert "aggregate short" in due.stdout  # the coefficient is joined to the runs
    for other in ("observe norms", "observe paths", "train short"):
        assert other not in due.stdout, other
    assert len(list((results / "observe/layers/short").glob("*.parquet"))) == 2
