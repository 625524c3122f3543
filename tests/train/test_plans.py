"""A sweep is spelled out once by a start, and by no job that finds its plan."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from isoloss.core import schema
from isoloss.study import check, flow, work
from isoloss.train import outline, plan, plans

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


@pytest.fixture
def started(config, results) -> Path:
    """The outline that a start left."""
    specifications(config, results)
    (kept,) = (results.parent / ".cache").glob("outline-*.json")
    return kept


def specifications(config: dict, results: Path, start: bool = True) -> list[str]:
    """Those of all shards, as a start or a job of the study asks for them."""
    shared = plans.Plans() if start else None
    whole = flow.Flow(config, results, plans=shared)
    return [whole.specification("train", sweep=NAME, shard=shard) for shard in shards(config)]


def test_a_second_start_neither_spells_out_nor_reads_the_plan(
    config, spelled_out, results, started, monkeypatch
):
    expected = specifications(config, results)
    spelled_out.clear()
    monkeypatch.setattr(plans, "rows_of", lambda *_: pytest.fail("the plan is read"))
    assert specifications(config, results) == expected
    gone(results)
    assert specifications(config, results, start=False) == expected
    assert spelled_out == []


def damaged(kept: Path) -> None:
    text = kept.read_text(encoding="utf-8")
    kept.write_text(text.replace("natural", "nature"), encoding="utf-8")


def cut(kept: Path) -> None:
    kept.write_bytes(kept.read_bytes()[:-9])


def not_text(kept: Path) -> None:
    kept.write_bytes(b"\xff")


@pytest.mark.parametrize("change", [damaged, cut, not_text, Path.unlink])
def test_an_outline_that_is_damaged_or_lost_is_made_again(config, results, started, change):
    expected, content = specifications(config, results), started.read_bytes()
    change(started)
    assert specifications(config, results) == expected
    assert started.read_bytes() == content


def test_an_outline_counts_for_the_same_entry_and_code_only(config, results, started, monkeypatch):
    before, content = specifications(config, results), started.read_bytes()
    entry = config["train"][NAME]
    entry["cells"] = [dict(reversed(cell.items())) for cell in entry["cells"]]
    other_order = specifications(config, results)
    runs = plan.shard_runs(plan.plan_runs(entry), len(shards(config)))
    digests = [json.loads(one)["runs"] for one in other_order]
    assert digests == [plan.runs_digest(runs[shard]) for shard in shards(config)]
    assert other_order != before  # the runs of a shard are in another order
    config["train"][NAME]["cells"] = [dict(reversed(cell.items())) for cell in entry["cells"]]
    assert specifications(config, results) == before
    assert started.read_bytes() == content
    monkeypatch.setattr(flow.provenance, "code_digest", lambda *_, **__: "edited")
    assert specifications(config, results) == before
    assert started.read_bytes() != content


def test_a_job_writes_no_outline(config, results):
    specifications(config, results, start=False)
    assert not (results.parent / ".cache").exists()


def test_a_job_takes_its_shard_alone_from_the_plan(config, spelled_out, results, started):
    job, whole = flow.Flow(config, results), flow.Flow(config, results)
    spelled_out.clear()
    for shard in shards(config):
        assert json.dumps(job.runs(NAME, shard)) == json.dumps(whole.planned(NAME)[shard])
    assert spelled_out == []
    assert not job.plans.known(config["train"][NAME])  # nor are the others in memory


def test_what_is_kept_is_what_was_made(tmp_path):
    one = {"0": outline.ShardOutline("d", 2, ("a", "b")), "1": outline.ShardOutline("e", 0, ())}
    outline.save(tmp_path / "kept", outline.key_of("x"), one)
    assert outline.read(tmp_path / "kept", outline.key_of("x")) == one
    assert outline.read(tmp_path / "kept", outline.key_of("y")) is None


def test_the_retries_of_a_shard_are_those_of_its_runs(config, spelled_out, results, started):
    by_shard = plan.shard_runs(plan.plan_runs(config["train"][NAME]), len(shards(config)))
    whole = flow.Flow(config, results, plans=plans.Plans())
    failed = [by_shard[shard][0]["run_id"] for shard in ("1", "1", "6")] + ["of another sweep"]
    for i, run_id in enumerate(failed):
        end = {"status": "failed", "seconds": 1.0}
        whole.store.note("end", f"{run_id}{i}", run_id, **end)
    spelled_out.clear()
    assert [whole.tries(NAME, shard) for shard in shards(config)] == [0, 2, 0, 0, 0, 0, 1, 0]
    assert spelled_out == []
    gone(results)
    again = flow.Flow(config, results)
    assert [again.tries(NAME, shard) for shard in shards(config)] == [0, 2, 0, 0, 0, 0, 1, 0]
