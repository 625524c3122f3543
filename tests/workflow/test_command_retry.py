"""`retry` has failed, diverged and damaged runs trained again."""

import shutil

import pytest
from finished_results import run_counts


@pytest.mark.parametrize("by", ["run_id", "run_digest"])
def test_a_failed_run_is_tried_again_by_its_id_or_digest(results, by):
    results.study["train"]["grid"]["max_attempts"] = 1
    digest, shard = next(iter(results.shard_by_digest("grid").items()))
    row = results.set_outcome(digest, "grid", "failed")
    code, output = results.isoloss("retry", "--run", row[by])
    assert code == 0
    assert output.startswith(f"{row['run_id']}\n1 run to be trained at the next `snakemake ")
    (line,) = results.journal_lines("retry")
    assert (line["run_digest"], line["sweep"], line["shard"]) == (digest, "grid", shard)
    assert results.store.find(digest) is None
    assert run_counts(results.isoloss("status")[1], "grid") == {
        "planned": 16,
        "done": 15,
        "missing": 1,
    }
    if by == "run_id":
        assert results.due()["train_shard"] == 1


def test_all_that_failed_is_tried_again_and_what_diverged_when_asked(results):
    broken, wild = list(results.shard_by_digest("grid"))[:2]
    rows = [
        results.set_outcome(broken, "grid", "failed"),
        results.set_outcome(wild, "grid", "diverged"),
    ]
    others = len(results.shard_by_digest("short", "diverged"))
    assert results.isoloss("retry")[1].splitlines()[0] == rows[0]["run_id"]
    assert [line["run_digest"] for line in results.journal_lines("retry")] == [broken]
    assert results.isoloss("retry") == (0, "0 runs failed\n")
    _, output = results.isoloss("retry", "--diverged")
    assert len(output.splitlines()) == 2 + others
    assert wild in {line["run_digest"] for line in results.journal_lines("retry")}


def test_what_cannot_be_tried_again_is_refused(shared):
    before = shared.store.journal()
    digest = next(iter(shared.shard_by_digest("grid")))
    run_id = shared.store.find(digest)["run_id"]
    code, output = shared.isoloss("retry", "--run", run_id)
    assert code == 2
    assert (
        f"{run_id} is done: only a run that failed, diverged or is damaged can be trained again"
        in output
    )
    code, output = shared.isoloss("retry", "--run", f"{run_id[:-1]}?")
    assert code == 2
    assert f"no run is called '{run_id[:-1]}?'; did you mean '{run_id}'?" in output
    assert shared.store.journal() == before
    assert shared.store.find(digest)["status"] == "done"


def test_a_run_that_is_gone_from_the_store_is_named_and_trained_again(results):
    digest = next(iter(results.shard_by_digest("grid")))
    shutil.rmtree(results.store.folder(digest))
    code, output = results.isoloss("verify")
    assert code == 1
    assert f"store/{digest}" in output
    assert "is gone, and the table of its shard has the run" in output
    assert f"isoloss retry STUDY --run {digest}" in output
    code, output = results.isoloss("retry", "--run", digest)
    assert code == 0
    assert results.due()["train_shard"] == 1
