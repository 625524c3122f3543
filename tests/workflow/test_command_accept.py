"""`accept` declares that an edit of code changes no number."""

import json
import os
import re

import pytest
import warm
from finished_results import status_table
from running import write


def test_where_no_code_has_changed_nothing_is_accepted(results):
    assert results.isoloss("accept", "--reason", "none") == (0, "no code has changed\n")
    assert not (results.results / "accepted.jsonl").exists()


def test_runs_of_several_codes_cannot_be_accepted(results):
    digest, shard = next(iter(results.shard_by_digest("grid").items()))
    identity = results.store.identity(digest) | {"code": "another"}
    results.store.save(results.store.find(digest), identity, sweep="grid", shard=shard)
    code, output = results.isoloss("accept", "--reason", "none")
    assert code == 2
    assert "transformer/builtin: its runs were trained by 2 codes" in output


@pytest.fixture
def edited(results):
    """Results whose project was edited, and a way to run the commands of that project."""

    def ask(command, *arguments):
        config = write(results.folder, results.study)
        environment = {**os.environ, "PYTHONPATH": str(results.root / "workflow")}
        arguments = (command, config, *arguments)
        process = warm.run("isoloss", *arguments, folder=results.folder, environment=environment)
        return process.returncode, process.stdout + process.stderr

    results.edit("trainers/_optimizers.py", "count.add_(1)", "count.add_(2 - 1)")  # the same
    results.edit("figures/isoloss.py", "linewidth=2,", "linewidth=2.0,")
    return ask


def test_an_edit_is_accepted_as_a_no_op_and_a_further_one_is_due(results, edited):
    code, output = edited("verify")
    assert code == 1
    for file in ("train/grid/0.parquet", "train/short/1.parquet", "plot/isoloss.png"):
        line = rf"{re.escape(file)} +its code has changed +make it again, or `accept` the code"
        assert re.search(line, output)
    assert "plot/learning_curves" not in output

    code, output = edited("gc", "--remove")
    assert code == 2
    assert "runs of other code than the one here" in output

    code, output = edited("accept", "--reason", "the same step, in other words")
    assert code == 0
    lines = (results.results / "accepted.jsonl").read_text(encoding="utf-8").splitlines()
    accepted = {line["job"]: line for line in map(json.loads, lines)}
    shards = {f"train/{sweep}/{shard}" for sweep in ("grid", "short") for shard in "01"}
    plans = {"plan/grid", "plan/short"}  # a trainer's card says which steps a run takes
    assert set(accepted) == shards | plans | {"run/transformer/builtin", "plot/isoloss"}
    assert {line["reason"] for line in accepted.values()} == {"the same step, in other words"}
    assert all(line["from"] != line["to"] for line in accepted.values())
    assert f"{len(accepted)} accepted" in output

    assert results.due() == {}
    code, output = edited("verify")
    assert code == 0
    assert re.search(
        r"run/transformer/builtin +code accepted on \S+: the same step, in other words", output
    )
    assert edited("accept", "--reason", "again") == (0, "no code has changed\n")
    code, output = edited("status")
    assert (code, status_table(output)["grid"]["missing"]) == (0, "0")
    assert edited("gc") == (0, "no entry is unused\n")

    results.edit("trainers/_optimizers.py", "count.add_(2 - 1)", "count.add_(2)")
    assert results.due()["train_shard"] == 4
    assert status_table(edited("status")[1])["grid"]["missing"] == "16"
