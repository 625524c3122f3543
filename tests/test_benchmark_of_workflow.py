"""The benchmark of the workflow: its study, what it asserts of the journal, and its table."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def benchmark():
    """The module benchmarks/workflow.py, which is run as a program."""
    sys.path.insert(0, str(FOLDER))
    try:
        yield importlib.import_module("workflow")
    finally:
        sys.path.remove(str(FOLDER))


# printed by a process of its own: this one knows the cards of the checkout
CHECK = """
import json
import sys

from isoloss.study.check import checked
from isoloss.train.plan import plan_runs

sweeps = [checked(path)["train"]["sweep"] for path in sys.argv[1:]]
print(json.dumps([[run["run_id"] for run in plan_runs(sweep)] for sweep in sweeps]))
"""


def journal_of(*runs):
    """Lines of runs that were started and are done."""
    return [
        {"event": event, "run_digest": run, **({"status": "done"} if event == "end" else {})}
        for run in runs
        for event in ("start", "end")
    ]


def test_the_study_is_accepted_with_a_trainer_that_is_one_more_file(benchmark, tmp_path):
    home = benchmark.copy_of_checkout(tmp_path)
    for extra in (0, 1):
        text = benchmark.study(100, 4, extra)
        (home / f"{extra}.yaml").write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(home / "workflow")}
    words = [sys.executable, "-c", CHECK, "0.yaml", "1.yaml"]
    ended = subprocess.run(words, cwd=home, env=environment, check=True, stdout=subprocess.PIPE)
    runs, more = map(set, json.loads(ended.stdout))
    assert len(runs) == 100 and len(more) == 101 and runs < more


def test_a_journal_in_which_a_run_was_started_twice_or_never_is_told(benchmark):
    runs = [f"run{number}" for number in range(100)]
    assert benchmark.check_first(journal_of(*runs), 100).startswith("yes: 100 runs")
    with pytest.raises(AssertionError, match="99 runs were started, not 100"):
        benchmark.check_first(journal_of(*runs[1:]), 100)
    with pytest.raises(AssertionError, match="more than once"):
        benchmark.check_first(journal_of(*runs, "run7"), 100)
    with pytest.raises(AssertionError, match="ends by the journal"):
        benchmark.check_first(journal_of(*runs)[:-1], 100)


def test_one_more_run_is_one_start_and_one_shard(benchmark):
    before, shards = journal_of("a", "b"), {"0.parquet": (1, 1), "1.parquet": (1, 2)}
    assert benchmark.check_more(before, [*before, *journal_of("c")], shards).startswith("yes")
    with pytest.raises(AssertionError, match="2 runs were started"):
        benchmark.check_more(before, [*before, *journal_of("c", "d")], shards)
    with pytest.raises(AssertionError, match="started again"):
        benchmark.check_more(before, [*before, *journal_of("a")], shards)
    with pytest.raises(AssertionError, match="2 shards were made again"):
        two = shards | {"0.parquet": (1, 3)}
        benchmark.check_more(before, [*before, *journal_of("c")], two)


def test_a_part_that_is_repeated_replaces_its_rows_and_no_others(benchmark):
    def row(runs, contender, seconds):
        known = {"work": f"{runs} runs, first run", "runs": runs, "step": "first run"}
        disk = dict.fromkeys(("results_files", "results_mib", "records_files", "records_mib"), runs)
        cost = {"seconds": seconds, "cpu_seconds": 2 * seconds, "main_mib": 1.0, "peak_mib": 1.0}
        return known | disk | cost | {"contender": contender}

    ours = [row(1_000, "isoloss", 4.0), row(10_000, "isoloss", 31.0)]
    first = benchmark.merged([*ours, row(1_000, "other", 8.0)], None)
    again = benchmark.merged([row(10_000, "isoloss", 13.0)], first)
    assert list(again["seconds"]) == [4.0, 8.0, 13.0] and list(again["ratio"]) == [1, 2, 1]
    lines = benchmark.slopes(again).set_index("figure")
    assert lines.loc["first run, s", "per 1000 runs"] == pytest.approx(1)
    assert lines.loc["first run, s", "at 100000"] == pytest.approx(103)
    assert lines.loc["results_files", "at 1000000"] == pytest.approx(1_000_000)


def test_a_command_that_fails_ends_the_benchmark_with_its_output(benchmark, tmp_path):
    words = [sys.executable, "-c", "print('what went wrong'); raise SystemExit(3)"]
    with pytest.raises(SystemExit, match="ended with 3:\nwhat went wrong"):
        benchmark.command(words, tmp_path)
    measured = benchmark.command(words, tmp_path, codes=(3,))
    assert measured["seconds"] > 0 and measured["cpu_seconds"] > 0


@pytest.mark.slow
def test_100_runs_cost_what_the_table_says_and_one_more_is_one_run(benchmark, tmp_path):
    table = pd.DataFrame(benchmark.isoloss(100, 4, tmp_path)).set_index("step")
    assert list(table.index[:2]) == [benchmark.FROM_NOTHING, benchmark.FIRST]
    assert table.loc[benchmark.FIRST, "same_result"].startswith("yes: 100 runs")
    assert table.loc[benchmark.MORE, "same_result"].startswith("yes: by the journal one run")
    assert table.loc[benchmark.NO_OP, "seconds"] < table.loc[benchmark.FIRST, "seconds"]
