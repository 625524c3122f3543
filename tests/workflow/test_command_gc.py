"""`gc` lists and removes what no study refers to, and nothing else."""

import copy
import os
import re
import time
from pathlib import Path

import pytest
from finished_results import UNREAD, damage_file, findings
from running import write

from isoloss.study import status


def stored_files(results):
    """All files of the store by digest."""
    files = [p for p in results.store.root.glob("*/*") if p.is_file()]
    return {path.parent.name: path.read_bytes() for path in files}


def listed_digests(output):
    """The folders that `gc` names, by the digest of their run."""
    return {Path(line.split("  ")[0]).name for line in output.splitlines()[:-1]}


def drop_last_cell(results):
    """Drop the last cell of the sweep; the digests of its runs."""
    before = set(status.runs(results.flow())["run_digest"])
    results.study["train"]["grid"]["cells"].pop()
    return before - set(status.runs(results.flow())["run_digest"])


def test_every_run_of_a_finished_study_is_referred_to(shared):
    assert shared.isoloss("gc", "--remove") == (0, "no entry is unused\n")
    assert len(shared.store.kept()) == 20


def test_runs_that_were_dropped_are_listed_and_only_removed_when_asked(results):
    whole = stored_files(results)
    dropped = drop_last_cell(results)
    assert len(dropped) == 2
    code, output = results.isoloss("gc")
    assert code == 0
    assert listed_digests(output) == dropped
    assert re.search(r"\n2 entries, \d\.\d\d MB that no study refers to; --remove removes", output)
    assert stored_files(results) == whole
    code, output = results.isoloss("gc", "--remove")
    assert code == 0
    assert listed_digests(output) == dropped
    assert output.splitlines()[-1].endswith("removed")
    assert stored_files(results) == {d: files for d, files in whole.items() if d not in dropped}
    assert results.isoloss("gc") == (0, "no entry is unused\n")


def test_what_one_of_several_studies_refers_to_is_not_listed(results):
    other = copy.deepcopy(results.study)
    other["train"]["grid"]["cells"][0]["d_model"].remove(12)
    second = write(results.folder, other, "second.yaml")
    dropped = drop_last_cell(results)
    assert listed_digests(results.isoloss("gc")[1]) == dropped
    assert results.isoloss("gc", second) == (0, "no entry is unused\n")
    results.study = other
    assert len(listed_digests(results.isoloss("gc", second)[1])) == 3


def test_studies_of_several_names_are_refused(results):
    (results.folder / "results" / "other").mkdir()
    second = write(results.folder, {**results.study, "study": "other"}, "second.yaml")
    code, output = results.isoloss("gc", second)
    assert code == 2
    assert "results of their own" in output


def test_a_run_that_is_being_trained_is_never_listed(results):
    one, other = drop_last_cell(results)
    for digest in (one, other):
        results.store.reopen(digest, "a run")
    with results.store.claim(one):
        _, output = results.isoloss("gc", "--remove")
        assert listed_digests(output) == {other}
    assert set(results.store.kept()) >= {one}
    assert "never ended" in results.isoloss("gc")[1]


def test_a_dropped_run_that_is_damaged_is_listed_and_not_to_be_tried_again(results):
    digest = min(drop_last_cell(results))
    damage_file(results, f"store/{digest}/run.parquet", "truncated")
    assert re.search(rf"{digest}  \d\.\d\d MB  damaged\n", results.isoloss("gc")[1])
    fixes = [fix for file, _, fix in findings(results.isoloss("verify")[1]) if digest in file]
    assert [("gc" in fix, "retry" in fix) for fix in fixes] == [(True, False)]


@pytest.mark.parametrize("damage", UNREAD)
@pytest.mark.parametrize("table", ["load/few/rows", "expand/few/docstring_x2/index"])
def test_by_damaged_rows_nobody_says_which_runs_are_whose(results, table, damage):
    (path, _), before = damage_file(results, f"{table}.parquet", damage), stored_files(results)
    for command in (["gc"], ["status"], ["retry"], ["gc", "--remove"]):
        code, output = results.isoloss(*command)
        assert code == 2
        assert f"{path}: " in output and "make it again" in output
    assert stored_files(results) == before


def test_files_left_behind_by_killed_jobs_are_listed_when_they_are_old(results):
    place = results.results / "aggregate" / "grid"
    old, new = place / ".runs.parquet.1.tmp", place / ".runs.parquet.2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    assert listed_digests(results.isoloss("gc", "--remove")[1]) == {old.name}
    assert new.exists() and not old.exists()
