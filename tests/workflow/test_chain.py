"""The whole chain by the real snakemake, from text to a fitted law and its figures."""

import json
import re

import numpy as np
import pytest
import yaml
from running import snakemake, tiny, write

from isoloss.core import registry, tables
from isoloss.records import environment, manifest


def test_every_table_is_at_its_path_and_keeps_its_contract(finished):
    folder, _, _ = finished
    results = folder / "results" / "tiny"
    names = {
        "rows": "load/few/rows",
        "audit": "expand/few/docstring_x2/audit",
        "dropped": "load/few/dropped",
        "index": "expand/few/natural/index",
        "mixture": "expand/few/natural/mixture",
        "plan": "plan/grid/runs",
        "shard": "train/grid/1",
        **{t: f"aggregate/grid/{t}" for t in ("runs", "losses", "curves", "mixtures", "timing")},
        **{t: f"fit/grid/chinchilla/{t}" for t in registry.FIT_TABLES},
        "profiles": "fit/short/in_n/profiles",
    }
    # of studies that ask for them: test_observe.py, test_rounds_of_a_sweep.py,
    # test_simulated_study.py
    others = {"observations", "choices", "trials", "recovery", *registry.tables_of("llc")}
    assert set(names) | others == set(tables.contract()["tables"])
    for name, path in names.items():
        table = tables.read(results / f"{path}.parquet", name)
        # a best mixture is looked for where a fit asks for it: test_best_mixture.py
        assert (tables.conform(name, table).num_rows > 0) == (name != "best_mixture"), name
    for figure in tiny(folder)["plot"]:
        for suffix in ("png", "pdf", "parquet"):
            assert (results / "plot" / f"{figure}.{suffix}").stat().st_size > 1000
    effective = yaml.safe_load((results / "config.yaml").read_text())
    assert effective["fit"]["power_law"]["delta"] == 0.001
    assert effective["train"]["grid"]["cells"][0]["n_flops"][0] == 20_000_000


def test_every_planned_run_is_trained_and_measured_whole_and_by_tag(finished):
    results = finished[0] / "results" / "tiny" / "aggregate" / "grid"
    runs = tables.frame(results / "runs.parquet", "runs")
    assert len(runs) == 16
    assert set(runs["status"]) == {"done"}
    assert ((runs["n_flops"] / runs["budget"] - 1).abs() < 0.1).all()
    losses = tables.frame(results / "losses.parquet", "losses")
    kinds = losses[losses["tag_key"] == "kind"]
    summed = (kinds["loss"] * kinds["n_tokens"]).groupby(kinds["run_id"]).sum()
    whole = summed / kinds.groupby("run_id")["n_tokens"].sum()
    np.testing.assert_allclose(whole[runs["run_id"]], runs["loss"], rtol=1e-12)
    mixtures = tables.frame(results / "mixtures.parquet", "mixtures")
    share = mixtures.merge(runs[["run_id", "weighting"]])
    of = share[share["domain"] == "docstring"].groupby("weighting")["proportion"].mean()
    assert of["docstring_x2"] > of["natural"]


def test_the_held_out_budget_is_the_largest_and_is_not_fitted(finished):
    results = finished[0] / "results" / "tiny"
    runs = tables.frame(results / "aggregate/grid/runs.parquet", "runs").set_index("run_id")
    residuals = tables.frame(results / "fit/grid/chinchilla/residuals.parquet", "residuals")
    budget = runs.loc[residuals["run_id"], "budget"].to_numpy()
    assert (residuals["held_out"].to_numpy() == (budget == budget.max())).all()
    summary = tables.frame(results / "fit/grid/chinchilla/summary.parquet", "summary").iloc[0]
    assert summary["n_dropped"] == 2  # the other weighting
    assert summary["n_runs"] + summary["n_held_out"] == 14


def test_the_summary_is_written_and_printed_with_what_was_found(finished):
    folder, _, output = finished
    summary = (folder / "results/tiny/summary.md").read_text()
    assert summary in output
    for word in ("16 finished", "chinchilla", "power_law", "Held out", "Seed SD", "Best for C"):
        assert word in summary
    assert len(summary.strip().splitlines()) <= 14  # of two sweeps
    assert re.search(r"α \S+ \[\S+, \S+\]", summary), summary


def test_a_second_run_has_nothing_to_do(finished):
    folder, config, _ = finished
    again = snakemake(folder, "--configfile", config, cold=True)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


@pytest.mark.parametrize(
    ("target", "last"), [("runs", "gather_sweep"), ("fits", "fit_law"), ("figures", "plot_figure")]
)
def test_targets_stop_at_their_stage(source, tmp_path, target, last):
    config = write(tmp_path, tiny(source))
    shown = snakemake(tmp_path, target, "--configfile", config, "--dag")
    assert shown.returncode == 0, shown.stderr
    assert last in shown.stdout
    assert "write_summary" not in shown.stdout


def test_a_summary_that_was_not_written_is_not_printed(finished):
    folder, config, _ = finished
    again = snakemake(folder, "runs", "--force", "--configfile", config)
    assert again.returncode == 0, again.stderr
    assert "Seed SD" not in again.stdout + again.stderr


def test_another_weighting_starts_from_the_same_weights(finished):
    figure = tables.frame(finished[0] / "results/tiny/plot/weighting_effects.parquet")
    assert len(figure[["run_id", "run_id_reference"]].drop_duplicates()) == 2


def test_shards_hold_every_run_once(finished):
    results = finished[0] / "results/tiny"
    shards = [tables.frame(file, "shard") for file in (results / "train/grid").glob("*.parquet")]
    ids = [run_id for shard in shards for run_id in shard["run_id"]]
    assert len(shards) == 2
    assert sorted(ids) == sorted(tables.frame(results / "plan/grid/runs.parquet")["run_id"])


def test_provenance_says_how_every_file_came_about(finished):
    results = finished[0] / "results/tiny"
    provenance = json.loads((results / "provenance.json").read_text())
    for name, digest in provenance["files"].items():
        assert manifest.file_digest(results / name) == digest, name
    tables_and_figures = {p for s in (".parquet", ".png", ".pdf") for p in results.rglob(f"*{s}")}
    kept = {p for p in tables_and_figures if "store" not in p.parts}
    assert {p.relative_to(results).as_posix() for p in kept} <= set(provenance["files"])
    assert provenance["seeds"] == {"study": 3, "runs": {"grid": [0, 1], "short": [0]}}
    (only,) = provenance["environments"]
    assert only["versions"]["torch"] == environment.versions()["torch"]
    assert only["machine"]["cores"] >= 1 and only["commit"]
    assert sorted(only["jobs"]) == sorted(provenance["code"])
    assert provenance["accepted"] == []
