"""`verify` names what is damaged, missing or made otherwise, and the command that fixes it."""

import contextlib
import copy
import io
import json
import re
import shlex
from pathlib import Path

import pytest
from finished_results import DAMAGES, damage_file, damages, findings
from running import snakemake, write

from isoloss.__main__ import main
from isoloss.core import registry, tables
from isoloss.load import stage as load_stage
from isoloss.records import environment, manifest

TABLES = [
    "load/few/rows",
    "load/few/audit",
    "expand/few/docstring_x2/index",
    "expand/few/docstring_x2/audit",
    "plan/grid/runs",
    "train/grid/1",
    *(f"aggregate/grid/{t}" for t in ("runs", "losses", "curves", "mixtures", "timing")),
    *(f"fit/grid/chinchilla/{t}" for t in registry.FIT_TABLES),
    "plot/isoloss",
]
FILES = [f"{table}.parquet" for table in TABLES]
FILES += ["plot/isoloss.png", "plot/isoloss.pdf", "summary.md"]
KEPT = ["store/*/run.parquet", "store/*/weights.safetensors"]
MANIFESTS = {"expand/few/docstring_x2/manifest.json": "natural", "plot/isoloss.json": "curves"}


@damages
def test_every_damaged_file_is_named_and_the_command_makes_it_again(shared, damage_shared, damage):
    for file in FILES:
        damage_shared(file, damage)
    code, output = shared.isoloss("verify")
    named = [one for one in findings(output) if "was made from another" not in one[1]]
    assert code == 1
    assert sorted(file for file, *_ in named) == sorted(FILES)
    assert all(DAMAGES[damage][1] in reason for _, reason, _ in named)
    assert {fix for *_, fix in named} == {"make it again"}
    *_, head, command = output.splitlines()
    assert re.fullmatch(r"\d+ wrong; make them again with", head)
    typed = shlex.split(command)
    forced = typed[typed.index("--forcerun") + 1 :]
    assert {f"results/tiny/{file}" for file in FILES} <= set(forced)


@pytest.mark.parametrize(
    ("pattern", "damage"),
    [*((p, d) for p in KEPT for d in DAMAGES), (f"store/*/{manifest.NAME}", "truncated")],
)
def test_a_damaged_file_of_a_run_is_named_and_the_run_can_be_trained_again(
    results, pattern, damage
):
    path, _ = damage_file(results, pattern, damage)
    code, output = results.isoloss("verify")
    ((file, reason, fix),) = findings(output)
    digest = path.parent.name
    assert code == 1
    assert file == f"store/{digest}/{path.name}"
    assert DAMAGES[damage][1] in reason
    assert "retry" in fix and digest in fix
    assert "--forcerun" not in output
    assert results.isoloss("retry", "--run", digest)[0] == 0
    assert [line["run_digest"] for line in results.journal_lines("retry")] == [digest]


@damages
@pytest.mark.parametrize("file", MANIFESTS)
def test_a_damaged_manifest_is_told_by_its_job(shared, damage_shared, file, damage):
    damage_shared(file, damage)
    code, output = shared.isoloss("verify")
    job = file.removesuffix("manifest.json").removesuffix("json")
    named = [one for one in findings(output) if one[0].startswith(job)]
    assert code == 1
    assert named
    assert {one[2] for one in named} == {"make it again"}
    assert f"results/tiny/{job}" in output.splitlines()[-1]


RECORDED = ["torch"]  # not compared with anything
KEYS = [
    "trained_with",
    "job",
    "specification",
    "code",
    "inputs",
    "files",
    "versions",
    "machine",
    "commit",
]


@pytest.mark.parametrize("key", [*KEYS, "1.parquet", "../../load/few/rows.parquet", *RECORDED])
def test_a_key_of_a_manifest_that_is_misspelt_is_found_or_of_no_consequence(results, key):
    place = results.results / "train/grid/1.json"
    head, quoted, tail = place.read_text(encoding="utf-8").rpartition(f'"{key}"')
    assert quoted
    place.write_text(f'{head}"{key[:-1]}?"{tail}', encoding="utf-8")
    code, output = results.isoloss("verify")
    assert code == (key not in RECORDED)
    assert ("train/grid/1." in output) == (key not in RECORDED)


def test_finished_results_are_as_study_and_code_make_them(shared):
    runs = len(shared.shard_by_digest("grid")) + 4
    assert shared.isoloss("verify") == (
        0,
        f"20 jobs, {runs} runs: all results match the study and the code\n",
    )


CHANGES = {
    "a law": ("fit.power_law.delta", 0.02, "fit/grid/power_law/params", "fit.delta: was 0.001, is"),
    "a weighting": (
        "expand.docstring_x2.kind.docstring",
        3.0,
        "expand/few/docstring_x2/index",
        "weights.kind.docstring: was 2.5, is 3",
    ),
    "what is measured": (
        "train.grid.valid_tokens",
        2048,
        "train/grid/0",
        "valid_tokens: was 1024, is 2048",
    ),
    "the plan": (
        "train.short.settings.n_samples",
        1280,
        "plan/short/runs",
        "sweep.settings.n_samples: was 640, is 1280",
    ),
    "runs": ("train.short.settings.n_samples", 1280, "train/short/0", "its runs changed"),
    "a figure": (
        "plot.learning_curves.options.from_samples",
        200,
        "plot/learning_curves",
        "plot.options.from_samples: was 100, is 200",
    ),
    "the seed": ("seed", 4, "load/few/rows", "seed: was 3, is 4"),
}


@pytest.mark.parametrize(("key", "value", "file", "words"), CHANGES.values(), ids=CHANGES)
def test_a_changed_setting_is_said_as_it_was_and_is(shared, monkeypatch, key, value, file, words):
    monkeypatch.setattr(shared, "study", copy.deepcopy(shared.study))
    *places, last = key.split(".")
    section = shared.study
    for place in places:
        section = section[place]
    section[last] = value
    code, output = shared.isoloss("verify")
    reasons = [reason for name, reason, _ in findings(output) if name.startswith(f"{file}.")]
    assert code == 1
    assert any(reason.startswith(f"the study has other settings: {words}") for reason in reasons)
    assert f"results/tiny/{file}." in output.splitlines()[-1]


def test_a_job_that_was_never_run_is_missing(shared, monkeypatch):
    monkeypatch.setattr(shared, "study", copy.deepcopy(shared.study))
    shared.study["fit"]["in_d"] = {**shared.study["fit"]["in_n"], "options": {"variable": "D"}}
    assert ("fit/short/in_d/manifest.json", "missing", "make it again") in findings(
        shared.isoloss("verify")[1]
    )


def test_a_dataset_that_reads_something_else_is_told(shared, monkeypatch):
    monkeypatch.setattr(load_stage, "content_of", lambda *_: "another")
    assert findings(shared.isoloss("verify")[1])[0] == (
        "load/few/rows.parquet",
        "the study has other settings: what is read changed",
        "make it again",
    )


def test_an_input_made_again_is_told_where_it_is_read(results):
    path = results.results / "aggregate/grid/runs.parquet"
    tables.write_free(tables.read(path).slice(1), path, tables.facts(path))
    place = path.with_name(manifest.NAME)
    made = json.loads(place.read_text(encoding="utf-8"))
    made["files"][path.name] = manifest.file_digest(path)
    place.write_text(json.dumps(made), encoding="utf-8")
    stale = findings(results.isoloss("verify")[1])
    assert {reason for _, reason, _ in stale} == {
        "was made from another aggregate/grid/runs.parquet"
    }
    laws = {f"fit/grid/{law}/params.parquet" for law in ("chinchilla", "power_law")}
    figures = {f"plot/{figure}.png" for figure in results.study["plot"]}
    assert {file for file, *_ in stale} == laws | figures | {"summary.md"}


@pytest.mark.parametrize(
    "command", ["verify", "adopt", "accept --reason none", "status", "retry", "gc"]
)
@pytest.mark.parametrize("lost", ["the study's name", "the folder"])
def test_results_that_are_not_there_are_said_to_be_missing(shared, monkeypatch, command, lost):
    monkeypatch.setattr(shared, "study", copy.deepcopy(shared.study))
    if lost == "the folder":
        monkeypatch.setattr(shared, "folder", shared.root)
    else:
        shared.study["study"] = "tony"
    place = shared.folder / "results" / shared.study["study"]
    code, output = shared.isoloss(*command.split())
    assert code == 2
    assert f"{place}: no results of this study; run it, or give --directory or --results" in output
    assert not place.exists()


@pytest.mark.parametrize("command", ["verify", "adopt", "accept --reason none", "status", "retry"])
def test_paths_of_a_study_begin_in_the_folder_that_is_given(tmp_path, monkeypatch, command):
    """As for `snakemake --directory`: a table beside the results is found from any folder."""
    there, here = tmp_path / "there", tmp_path / "here"
    (there / "results" / "mine").mkdir(parents=True)
    here.mkdir()
    (there / "runs.csv").write_text("N,D,loss\n1e6,1e8,3.5\n")
    table = {"table": "runs.csv", "columns": {"N": "N", "D": "D", "loss": "loss"}}
    write(there, {"study": "mine", "aggregate": {"mine": table}})
    monkeypatch.chdir(here)
    output, words = io.StringIO(), command.split()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        main([*words, "../there/study.yaml", "--directory", "../there"])
    assert "cannot be read" not in output.getvalue()
    if command == "verify":
        assert "--directory ../there" in output.getvalue()  # of the command that makes it again
    assert Path.cwd() == here


def test_runs_trained_under_other_versions_are_said_and_not_wrong(results):
    place = results.results / "train/short/0.json"
    made = json.loads(place.read_text(encoding="utf-8"))
    made["trained_with"].append({**made["trained_with"][0], "torch": "9.9"})
    place.write_text(json.dumps(made), encoding="utf-8")
    words = f"short: runs trained with torch 9.9 (here {environment.versions()['torch']})"
    code, output = results.isoloss("verify")
    assert code == 0
    assert words in output
    assert "all results match the study and the code" in output
    output = results.call("-n")
    assert words in output
    assert "Nothing to be done" in output


def test_versions_that_are_others_here_are_said_for_every_sweep(shared, monkeypatch):
    here = {**environment.versions(), "numpy": "9.9"}
    monkeypatch.setattr(environment, "versions", lambda: here)
    code, output = shared.isoloss("verify")
    assert code == 0
    for sweep in ("grid", "short"):
        assert f"{sweep}: runs trained with numpy" in output


def test_the_command_can_be_typed_with_a_space_in_the_path(shared, damage_shared):
    damage_shared("summary.md", "truncated")
    config = write(shared.folder, shared.study, "my study.yaml")
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        assert main(["verify", config, "--directory", str(shared.folder)]) == 1
    command = shlex.split(output.getvalue().splitlines()[-1])
    assert command[command.index("--configfile") + 1] == config
    assert command[-2:] == ["--forcerun", "results/tiny/summary.md"]


def test_the_target_verify_fails_with_the_findings_or_says_that_all_is_well(results):
    assert "all results match the study and the code" in results.call("verify")
    damage_file(results, "fit/grid/chinchilla/params.parquet", "emptied")
    config = write(results.folder, results.study, "edited.yaml")
    failed = snakemake(results.folder, "verify", "--configfile", config, root=results.root)
    assert failed.returncode != 0
    output = failed.stdout + failed.stderr
    assert re.search(r"fit/grid/chinchilla/params\.parquet +is empty +make it again", output)
