"""The same study gives the same bytes: any cores, folder, job order and number of shards."""

import copy
from pathlib import Path

import pytest
import yaml
from running import ROOT, snakemake, tiny, write

# How long it took and how often it was tried; which shard a run is in; how all of it came about.
UNLIKE = {"timing.parquet", "config.yaml", "provenance.json", "journal.jsonl"}


def files(results: Path) -> dict[str, bytes]:
    """What must be the same: every table and figure, and the summary."""
    stages = ("load", "expand", "aggregate", "fit", "plot", "summary.md")
    paths = [p for stage in stages for p in (results / stage, *(results / stage).rglob("*"))]
    return {
        str(path.relative_to(results)): path.read_bytes()
        for path in paths
        if path.is_file() and path.name not in UNLIKE and path.suffix != ".json"
    }


def other_way(folder: Path, study: dict, first: str, **shards: int) -> Path:
    """Run a study on one core, with other shards, what usually comes last first.

    Its programs are cold, those of the results that it is compared with were warm.
    """
    study = copy.deepcopy(study)
    for sweep, number in shards.items():
        study["train"][sweep]["shards"] = number
    config = write(folder, study)
    for targets in ([first], []):
        process = snakemake(folder, *targets, "--configfile", config, "--cores", "1", cold=True)
        assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results" / study["study"]


def same(ours: Path, theirs: Path) -> None:
    """Assert that two results have the same files with the same bytes."""
    one, other = files(ours), files(theirs)
    assert sorted(one) == sorted(other)
    assert [name for name in one if one[name] != other[name]] == []


@pytest.mark.slow
def test_the_tiny_study_gives_the_same_bytes(finished, source, tmp_path):
    first = "results/tiny/fit/short/in_n/params.parquet"
    theirs = other_way(tmp_path, tiny(source), first, grid=3, short=5)  # some without a run
    same(finished[0] / "results/tiny", theirs)
    assert len(files(theirs)) > 40


@pytest.mark.slow
def test_the_default_study_gives_the_same_bytes(tmp_path):
    study = yaml.safe_load((ROOT / "config.yaml").read_text(encoding="utf-8"))
    usual = tmp_path / "usual"
    usual.mkdir()
    process = snakemake(usual, "--configfile", write(usual, study))
    assert process.returncode == 0, process.stdout + process.stderr
    first = "results/default/expand/stdlib/comment_half/index.parquet"
    theirs = other_way(tmp_path, study, first, isoflop=5)
    same(usual / "results/default", theirs)
