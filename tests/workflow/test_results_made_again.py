"""What was damaged or failed is made again by one command, and comes out the same."""

import shlex

import pandas as pd
import pytest
import torch
from finished_results import Results, damage_file, findings
from running import snakemake
from safetensors.torch import load

from isoloss.core import tables

DAMAGED_FILES = {
    "load/few/rows.parquet": "flipped in its body",
    "expand/few/docstring_x2/index.parquet": "truncated",
    "plan/grid/runs.parquet": "emptied",
    "train/grid/1.parquet": "flipped in its body",
    "aggregate/grid/runs.parquet": "replaced",
    "aggregate/grid/curves.parquet": "missing",
    "fit/grid/chinchilla/params.parquet": "flipped at its end",
    "fit/grid/power_law/starts.parquet": "truncated",
    "plot/isoloss.png": "flipped in its body",
    "plot/isoloss.pdf": "emptied",
    "plot/learning_curves.parquet": "missing",
    "summary.md": "replaced",
    "fit/short/in_n/manifest.json": "truncated",
    "plot/weighting_effects.json": "missing",
}


@pytest.fixture(scope="module")
def remade(finished, tmp_path_factory):
    """Results that were damaged and made again by the command that `verify` printed."""
    results = Results(tmp_path_factory.mktemp("remade"), finished)
    results.before = {
        file: damage_file(results, file, damage)[1] for file, damage in DAMAGED_FILES.items()
    }
    results.starts_before = results.starts()
    command = shlex.split(results.isoloss("verify")[1].splitlines()[-1])
    assert command[0] == "snakemake"
    ended = snakemake(results.folder, *command[1:], root=results.root)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return results


@pytest.mark.parametrize("file", [file for file in DAMAGED_FILES if not file.endswith(".json")])
def test_what_is_made_again_is_the_same_bytes(remade, file):
    assert (remade.results / file).read_bytes() == remade.before[file]


def test_making_again_trains_no_run_and_leaves_nothing_wrong(remade):
    assert remade.starts() == remade.starts_before
    code, output = remade.isoloss("verify")
    assert (code, "wrong" in output) == (0, False)


@pytest.fixture(scope="module")
def retried(finished, tmp_path_factory):
    """Results with a damaged run and failed ones, after `retry` and one invocation."""
    results = Results(tmp_path_factory.mktemp("tried"), finished)
    results.damaged, results.exhausted = list(results.shard_by_digest("grid"))[1:3]
    results.failed_once = next(iter(results.shard_by_digest("short")))
    results.model = load(results.store.weights(results.damaged).read_bytes())
    damage_file(results, f"store/{results.damaged}/run.parquet", "flipped in its body")
    results.set_outcome(results.failed_once, "short", "failed")
    results.set_outcome(results.exhausted, "grid", "failed", attempts=2)
    results.starts_before = results.starts()
    assert results.isoloss("retry", "--run", results.damaged, results.exhausted)[0] == 0
    results.call("runs")
    return results


def test_exactly_the_runs_to_be_tried_again_are_trained_once(retried):
    begun = retried.journal_lines("start")[len(retried.starts_before) :]
    expected = [retried.damaged, retried.exhausted, retried.failed_once]
    assert sorted(line["run_digest"] for line in begun) == sorted(expected)
    digests = [line["run_digest"] for line in retried.journal_lines("retry")]
    assert digests == [retried.damaged, retried.exhausted]  # the third was tried again by itself
    assert retried.store.find(retried.failed_once)["attempts"] == 2
    assert retried.store.find(retried.exhausted)["attempts"] == 1


@pytest.mark.parametrize("sweep", ["grid", "short"])
@pytest.mark.parametrize("table", ["runs", "losses", "curves", "mixtures"])
def test_runs_that_are_trained_again_come_out_the_same(retried, finished, sweep, table):
    path = f"results/tiny/aggregate/{sweep}/{table}.parquet"
    assert (retried.folder / path).read_bytes() == (finished[0] / path).read_bytes()


def test_a_model_that_is_trained_again_is_the_same_and_timing_tells_it(retried, finished):
    model = load(retried.store.weights(retried.damaged).read_bytes())
    assert model.keys() == retried.model.keys()
    assert all(torch.equal(tensor, retried.model[name]) for name, tensor in model.items())
    path = "results/tiny/aggregate/short/timing.parquet"
    now, then = (tables.frame(home / path) for home in (retried.folder, finished[0]))
    unlike = now["attempts"] != then["attempts"]
    hapless = retried.store.find(retried.failed_once)["run_id"]
    assert now.loc[unlike, ["run_id", "attempts"]].to_numpy().tolist() == [[hapless, 2]]
    pd.testing.assert_frame_equal(
        now.drop(columns=["seconds", "attempts"]), then.drop(columns=["seconds", "attempts"])
    )


def test_after_trying_again_only_what_hangs_below_times_is_left(retried):
    below = {"summary.md"}  # of `timing`; every other table came out the same
    assert {file for file, *_ in findings(retried.isoloss("verify")[1])} == below
    assert retried.due() == {"write_summary": 1}
