"""A stage refuses a damaged table, names it with the fix, and writes nothing."""

import contextlib
import io
import re
import shlex
from pathlib import Path

import pytest
from finished_results import UNREAD, damages

from isoloss.__main__ import main
from isoloss.core import registry

READ = {
    "expand": ["load/few/rows"],
    "train": ["load/few/rows", "expand/few/docstring_x2/index"],
    "aggregate": ["plan/grid/runs", "train/grid/1", "expand/few/docstring_x2/audit"],
    "fit": ["aggregate/grid/runs"],
    "plot": [
        *(f"aggregate/grid/{t}" for t in ("runs", "losses", "curves")),
        *(f"fit/grid/chinchilla/{t.split('/')[1]}" for t in registry.OF_FITS),
        "fit/grid/chinchilla/replicates",
    ],
    "summarize": [
        *(f"aggregate/grid/{t}" for t in ("runs", "losses", "timing")),
        *(f"fit/grid/chinchilla/{t}" for t in registry.FIT_TABLES),
        "load/few/audit",
    ],
}
READERS = [(stage, f"{table}.parquet") for stage, read in READ.items() for table in read]


@pytest.fixture(scope="module")
def commands(shared):
    """The commands of all jobs that read tables, as snakemake types them."""
    rules = ("expand_rows", "plan_sweep", "train_shard", "gather_sweep", "fit_law")
    output = shared.call("-n", "-p", "--forcerun", *rules, "plot_figure", "write_summary")
    lines = re.findall(r"python -m isoloss (.*) 2> ", output)
    return [shlex.split(line) for line in lines]


def refusal(results, command, monkeypatch, out):
    """Run a command as snakemake does, but for where it writes; its error output."""
    monkeypatch.chdir(results.folder)
    at = command.index("--out") + 1
    command = [*command[:at], str(out / Path(command[at]).name), *command[at + 1 :]]
    output = io.StringIO()
    with contextlib.redirect_stderr(output):
        assert main(command) == 2
    assert list(out.iterdir()) == []
    return output.getvalue()


def test_every_table_that_a_stage_reads_is_damaged_below(commands):
    def kind(path):
        stage, *_, name = path.split("/")
        return stage, "shard" if stage == "train" else name

    read = {(c[0], kind(a[len("results/tiny/") :])) for c in commands for a in c if "parquet" in a}
    outs = {("train", ("train", "shard"))}
    assert read - outs == {(stage, kind(file)) for stage, file in READERS}


@damages
@pytest.mark.parametrize(("stage", "file"), READERS)
def test_a_stage_refuses_a_damaged_table_and_writes_nothing(
    shared, damage_shared, commands, monkeypatch, tmp_path, stage, file, damage
):
    path = f"results/tiny/{file}"
    command = next(c for c in commands if c[0] == stage and path in c)
    damage_shared(file, damage)
    output = refusal(shared, command, monkeypatch, tmp_path)
    assert path in output
    assert re.search("make it again|run the stage that makes it", output)


@pytest.mark.parametrize(
    ("stage", "table", "place"),
    [("expand", "load/few/rows", "load/few/manifest"), ("aggregate", *["train/grid/1"] * 2)],
)
def test_a_stage_refuses_a_table_whose_manifest_is_damaged(
    shared, damage_shared, commands, monkeypatch, tmp_path, stage, table, place
):
    damage_shared(f"{place}.json", "truncated")
    command = next(c for c in commands if c[0] == stage and f"results/tiny/{table}.parquet" in c)
    output = refusal(shared, command, monkeypatch, tmp_path)
    assert f"results/tiny/{place}.json" in output
    assert "make it again" in output


@pytest.mark.parametrize("damage", UNREAD)
def test_a_damaged_run_stops_its_shard_and_nothing_is_trained(
    shared, damage_shared, commands, monkeypatch, tmp_path, damage
):
    digest, shard = next(iter(shared.shard_by_digest("grid").items()))
    path = damage_shared(f"store/{digest}/run.parquet", damage)
    command = next(c for c in commands if f"results/tiny/train/grid/{shard}.parquet" in c)
    before = shared.store.journal()
    output = refusal(shared, command, monkeypatch, tmp_path)
    assert str(path.relative_to(shared.folder)) in output
    assert f"retry STUDY --run {digest}" in output
    assert shared.store.journal() == before
