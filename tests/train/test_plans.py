"""A sweep is spelled out once by a start, and by no job that finds its plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from isoloss.core import schema
from isoloss.study import check, flow, work
from isoloss.train import plan, plans

ROOT = Path(__file__).parents[2]
NAME = "isoflop"


@pytest.fixture
def config() -> dict:
    """The default study, complete."""
    complete, problems = schema.complete(schema.read(ROOT / "config.yaml"))
    assert not problems
    return complete


@pytest.fixture
def spelled_out(monkeypatch) -> list[str]:
    """The model of every sweep that is spelled out from now on."""
    counted = []

    def counting(sweep):
        counted.append(sweep["model"])
        return plan.plan_runs(sweep)

    monkeypatch.setattr(plans, "plan_runs", counting)
    return counted


@pytest.fixture
def results(tmp_path, config) -> Path:
    """The folder of a study's results in which its plan was made."""
    root = tmp_path / "results" / config["study"]
    root.mkdir(parents=True)
    file = root / "config.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    facts = {"study": config["study"], "sweep": NAME}
    with work.RunningJob(file, root / "plan" / NAME, "plan", {"sweep": NAME}) as job:
        job.makes(lambda out: plan.run(config["train"][NAME], [], out, facts))
    return root


def shards(config: dict) -> list[str]:
    return plan.shard_names(config["train"][NAME]["shards"])


def test_a_start_spells_a_sweep_out_once(config, spelled_out, tmp_path):
    shared = plans.Plans()
    checked = check.check(config, plans=shared)
    whole = flow.Flow(checked, tmp_path, plans=shared)
    for shard in shards(config):
        whole.specification("train", sweep=NAME, shard=shard)
        whole.used(NAME, shard)
    assert spelled_out == ["transformer"]


def test_a_train_job_reads_its_runs_from_the_plan(config, spelled_out, results):
    names = {"sweep": NAME, "shard": "3"}
    out = results / "train" / NAME / "3.parquet"
    expected = flow.Flow(config, results, plans=plans.Plans()).expectation("train", **names)
    spelled_out.clear()
    job = work.RunningJob(results / "config.yaml", out, "train", names, expects=expected)
    job.flow.planned(NAME)
    assert spelled_out == []


def test_runs_of_the_plan_are_what_spelling_them_out_gives_to_the_type(config, results):
    read = flow.Flow(config, results).planned(NAME)
    made = plan.shard_runs(plan.plan_runs(config["train"][NAME]), len(shards(config)))
    assert json.dumps(read, sort_keys=True) == json.dumps(made, sort_keys=True)


def edited(results: Path) -> None:
    file = results / "plan" / NAME / "runs.parquet"
    content = file.read_bytes()
    file.write_bytes(content[:99] + bytes([content[99] ^ 1]) + content[100:])


def gone(results: Path) -> None:
    (results / "plan" / NAME / "runs.parquet").unlink()


def other(key: str, value: object):
    def change(results: Path) -> None:
        place = results / "plan" / NAME / "manifest.json"
        made = json.loads(place.read_text(encoding="utf-8"))
        place.write_text(json.dumps({**made, key: value}), encoding="utf-8")

    return change


@pytest.mark.parametrize(
    "change",
    [edited, gone, other("specification", {}), other("code", "0"), other("job", "plan/another")],
    ids=["edited", "gone", "other specification", "other code", "other job"],
)
def test_a_plan_that_is_not_of_this_sweep_is_not_taken(config, spelled_out, results, change):
    change(results)
    whole = flow.Flow(config, results)
    runs = whole.planned(NAME)
    assert spelled_out == ["transformer"]
    assert json.dumps(runs) == json.dumps(
        plan.shard_runs(plan.plan_runs(config["train"][NAME]), len(shards(config)))
    )
