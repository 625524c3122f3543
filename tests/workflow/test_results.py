"""Those who look after results, on real ones: damage is found, refused and mended."""

import contextlib
import copy
import io
import json
import os
import random
import re
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from project import Project
from running import snakemake, write
from safetensors.torch import load

from isoloss import check, environment, manifest, registry, status, tables, verify
from isoloss import flow as flows
from isoloss.__main__ import main


class Results(Project):
    """A copy of the tiny study's results, and the commands that look after them."""

    def __init__(self, home, finished):
        folder, config, _ = finished
        study = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        super().__init__(home, folder, study, "grid")

    def flow(self):
        """The study with its results, as a command sees them."""
        return flows.Flow(check.check(copy.deepcopy(self.study)), self.results)

    def ask(self, command, *arguments):
        """Run a command on these results: its exit code, and what it said."""
        config, said = write(self.folder, self.study), io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            code = main([command, config, *arguments, "--directory", str(self.folder)])
        return code, said.getvalue()

    def shard_of(self, sweep, state="done"):
        """The runs of a sweep that ended so: digest to its shard's name."""
        found = {}
        for file in sorted((self.results / "train" / sweep).glob("*.parquet")):
            for row in tables.frame(file, "shard").itertuples():
                if row.status == state:
                    found[row.run_digest] = file.stem
        return found

    def end(self, digest, sweep, state, attempts=1, reason="ZeroDivisionError: division by zero"):
        """Make a finished run one that ended otherwise; its row."""
        row = self.store.find(digest) | {"status": state, "status_reason": reason}
        row |= {"attempts": attempts, "loss_nats": None, "losses": None, "curve": None}
        shard = self.shard_of(sweep)[digest]
        self.store.weights(digest).unlink()
        self.store.save(row, self.store.identity(digest), sweep=sweep, shard=shard)
        self.store.failed(digest, f"Traceback\n{reason}")
        return row

    def entries(self, event):
        """The lines of the journal about an event."""
        return [line for line in self.store.journal() if line["event"] == event]


def findings(said):
    """The table that `verify` prints: (file, reason, fix)."""
    cut = [re.split(r" {2,}", line) for line in said.splitlines()]
    return [tuple(cells) for cells in cut[1:] if len(cells) == 3 and cells[0]]


@pytest.fixture(scope="module")
def shared(finished, tmp_path_factory):
    """Results that every test leaves as they were."""
    return Results(tmp_path_factory.mktemp("shared"), finished)


@pytest.fixture
def results(finished, tmp_path):
    """Results of a test's own."""
    return Results(tmp_path, finished)


# ---- damage

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


def flipped(whole, at, mask=0xFF):
    """Bytes of which one is another."""
    at %= len(whole)
    return whole[:at] + bytes([whole[at] ^ mask]) + whole[at + 1 :]


def footer(path, whole):
    """Where the footer of a Parquet file begins; in any other file, its middle."""
    if path.suffix != ".parquet":
        return len(whole) // 2
    return len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")


def word(path, whole):
    """Where the facts that a table keeps of itself stand in its footer."""
    return whole.rindex(b'"table"') + 3 if path.suffix == ".parquet" else footer(path, whole) + 1


def another(path, whole):
    """A sound file of the same kind, of something else."""
    if path.suffix == ".parquet":
        labels = ("study", "dataset", "weighting", "sweep", "law")
        facts = {k: "other" if k in labels else v for k, v in tables.facts(path).items()}
        other = path.with_name("other")
        tables.write_free(tables.read(path).slice(1), other, facts)
        return other.read_bytes(), other.unlink()
    if path.name in ("weights.safetensors", manifest.NAME):
        near = next(p for p in path.parents[1].glob(f"*/{path.name}") if p != path)
    elif path.parent.name == "plot":
        near = path.with_stem("learning_curves")
    else:
        return whole.replace(b"16 finished", b"15 finished"), None
    return near.read_bytes(), None


# what happens to a file, and what is said of one that a job left
DAMAGES = {
    "truncated": (lambda path, whole: whole[: len(whole) // 2], ""),
    "emptied": (lambda path, whole: b"", "is empty"),
    "missing": (lambda path, whole: None, "missing"),
    "replaced": (lambda path, whole: another(path, whole)[0], "is not what its job left"),
    "flipped in its body": (lambda path, whole: flipped(whole, footer(path, whole) // 2), ""),
    "flipped in its footer": (lambda path, whole: flipped(whole, word(path, whole)), ""),
    "flipped at its end": (lambda path, whole: flipped(whole, -6), ""),
}
UNREAD = [name for name in DAMAGES if name != "missing"]
damages = pytest.mark.parametrize("damage", DAMAGES)


def damaged(results, pattern, damage):
    """Damage the first file of a name; its path, and what it held."""
    path = sorted(results.results.glob(pattern))[0]
    whole = path.read_bytes()
    after = DAMAGES[damage][0](path, whole)
    assert after != whole
    if after is None:
        path.unlink()
    else:
        path.write_bytes(after)
    return path, whole


@pytest.fixture
def harm(shared):
    """Damage a shared file; it is whole again afterwards."""
    before = {}

    def do(pattern, damage):
        path, before[path] = damaged(shared, pattern, damage)
        return path

    yield do
    for path, whole in before.items():
        path.write_bytes(whole)


@damages
def test_every_damaged_file_is_named_and_the_command_makes_it_again(shared, harm, damage):
    for file in FILES:
        harm(file, damage)
    code, said = shared.ask("verify")
    found = [one for one in findings(said) if "was made from another" not in one[1]]
    assert code == 1
    assert sorted(file for file, *_ in found) == sorted(FILES)
    assert all(DAMAGES[damage][1] in reason for _, reason, _ in found)
    assert {fix for *_, fix in found} == {"make it again"}
    *_, head, command = said.splitlines()
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
    path, _ = damaged(results, pattern, damage)
    code, said = results.ask("verify")
    ((file, reason, fix),) = findings(said)
    digest = path.parent.name
    assert code == 1
    assert file == f"store/{digest}/{path.name}"
    assert DAMAGES[damage][1] in reason
    assert "retry" in fix and digest in fix
    assert "--forcerun" not in said
    assert results.ask("retry", "--run", digest)[0] == 0
    assert [line["run_digest"] for line in results.entries("retry")] == [digest]


@damages
@pytest.mark.parametrize("file", MANIFESTS)
def test_a_damaged_manifest_is_told_by_its_job(shared, harm, file, damage):
    harm(file, damage)
    code, said = shared.ask("verify")
    mine = file.removesuffix("manifest.json").removesuffix("json")
    found = [one for one in findings(said) if one[0].startswith(mine)]
    assert code == 1
    assert found
    assert {one[2] for one in found} == {"make it again"}
    assert f"results/tiny/{mine}" in said.splitlines()[-1]


RECORDED = ["trained_with", "torch"]  # not compared with anything
KEYS = ["job", "specification", "code", "inputs", "files", "versions", "machine", "commit"]


@pytest.mark.parametrize("key", [*KEYS, "1.parquet", "../../load/few/rows.parquet", *RECORDED])
def test_a_key_of_a_manifest_that_is_misspelt_is_found_or_of_no_consequence(results, key):
    place = results.results / "train/grid/1.json"
    head, found, tail = place.read_text(encoding="utf-8").rpartition(f'"{key}"')
    assert found
    place.write_text(f'{head}"{key[:-1]}?"{tail}', encoding="utf-8")
    code, said = results.ask("verify")
    assert code == (key not in RECORDED)
    assert ("train/grid/1." in said) == (key not in RECORDED)


@pytest.fixture(scope="module")
def flow(shared):
    """The study with the shared results."""
    return shared.flow()


def bytes_of(data, path, begin):
    """Draw a byte of a file, from its beginning or from further on, and what becomes of it."""
    whole = path.read_bytes()
    last = len(whole) - 1
    further = st.integers(min(begin(path, whole), last), last)
    places = st.one_of(st.integers(0, last), further, further)
    return whole, flipped(whole, data.draw(places), data.draw(st.integers(1, 255)))


@settings(max_examples=50)
@given(data=st.data())
def test_any_flipped_byte_of_any_table_is_found(shared, flow, data):
    path = data.draw(st.sampled_from(sorted(shared.results.rglob("*.parquet"))))
    whole, other = bytes_of(data, path, footer)
    path.write_bytes(other)
    try:
        found = verify.findings(flow)
    finally:
        path.write_bytes(whole)
    assert any(one.wrong and shared.results / one.file == path for one in found)


@settings(max_examples=50)
@given(data=st.data())
def test_any_flipped_byte_of_any_manifest_is_found_unless_it_says_the_same(shared, flow, data):
    job = data.draw(st.sampled_from(flow.jobs))
    path = shared.results / job.manifest
    whole, other = bytes_of(data, path, lambda path, whole: 0)
    path.write_bytes(other)
    try:
        found = verify.findings(flow)
    finally:
        path.write_bytes(whole)
    try:
        then, now = json.loads(whole), json.loads(other)
        parts = ("job", "specification", "code", "inputs", "files")
        same = all(then[part] == now.get(part) for part in parts)
    except ValueError:
        same = False
    assert same or any(one.wrong for one in found)


# ---- what is damaged is refused

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
    ],
}
READERS = [(stage, f"{table}.parquet") for stage, read in READ.items() for table in read]


@pytest.fixture(scope="module")
def commands(shared):
    """The commands of all jobs that read tables, as snakemake types them."""
    rules = ("expand_rows", "plan_sweep", "train_shard", "gather_sweep", "fit_law")
    said = shared.call("-n", "-p", "--forcerun", *rules, "plot_figure", "write_summary")
    lines = re.findall(r"python -m isoloss (.*) 2> ", said)
    return [shlex.split(line) for line in lines]


def refused(results, command, monkeypatch, out):
    """Run a command as snakemake does, but for where it writes; what it said as it refused."""
    monkeypatch.chdir(results.folder)
    at = command.index("--out") + 1
    command = [*command[:at], str(out / Path(command[at]).name), *command[at + 1 :]]
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        assert main(command) == 2
    assert list(out.iterdir()) == []
    return said.getvalue()


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
    shared, harm, commands, monkeypatch, tmp_path, stage, file, damage
):
    path = f"results/tiny/{file}"
    command = next(c for c in commands if c[0] == stage and path in c)
    harm(file, damage)
    said = refused(shared, command, monkeypatch, tmp_path)
    assert path in said
    assert re.search("make it again|run the stage that makes it", said)


@pytest.mark.parametrize(
    ("stage", "table", "place"),
    [("expand", "load/few/rows", "load/few/manifest"), ("aggregate", *["train/grid/1"] * 2)],
)
def test_a_stage_refuses_a_table_whose_manifest_is_damaged(
    shared, harm, commands, monkeypatch, tmp_path, stage, table, place
):
    harm(f"{place}.json", "truncated")
    command = next(c for c in commands if c[0] == stage and f"results/tiny/{table}.parquet" in c)
    said = refused(shared, command, monkeypatch, tmp_path)
    assert f"results/tiny/{place}.json" in said
    assert "make it again" in said


@pytest.mark.parametrize("damage", UNREAD)
def test_a_damaged_run_stops_its_shard_and_nothing_is_trained(
    shared, harm, commands, monkeypatch, tmp_path, damage
):
    digest, shard = next(iter(shared.shard_of("grid").items()))
    path = harm(f"store/{digest}/run.parquet", damage)
    command = next(c for c in commands if f"results/tiny/train/grid/{shard}.parquet" in c)
    before = shared.store.journal()
    said = refused(shared, command, monkeypatch, tmp_path)
    assert str(path.relative_to(shared.folder)) in said
    assert f"retry STUDY --run {digest}" in said
    assert shared.store.journal() == before


# ---- and made again

HARMED = {
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
def mended(finished, tmp_path_factory):
    """Results that were damaged and made again by the command that `verify` printed."""
    found = Results(tmp_path_factory.mktemp("mended"), finished)
    found.before = {file: damaged(found, file, damage)[1] for file, damage in HARMED.items()}
    found.starts_before = found.starts()
    command = shlex.split(found.ask("verify")[1].splitlines()[-1])
    assert command[0] == "snakemake"
    done = snakemake(found.folder, *command[1:], root=found.root)
    assert done.returncode == 0, done.stdout + done.stderr
    return found


@pytest.mark.parametrize("file", [file for file in HARMED if not file.endswith(".json")])
def test_what_is_made_again_is_the_same_bytes(mended, file):
    assert (mended.results / file).read_bytes() == mended.before[file]


def test_making_again_trains_no_run_and_leaves_nothing_wrong(mended):
    assert mended.starts() == mended.starts_before
    code, said = mended.ask("verify")
    assert (code, "wrong" in said) == (0, False)


@pytest.fixture(scope="module")
def tried_again(finished, tmp_path_factory):
    """Results with a damaged run and failed ones, after `retry` and one invocation."""
    found = Results(tmp_path_factory.mktemp("tried"), finished)
    found.lost, found.spent = list(found.shard_of("grid"))[1:3]
    found.hapless = next(iter(found.shard_of("short")))
    found.model = load(found.store.weights(found.lost).read_bytes())
    damaged(found, f"store/{found.lost}/run.parquet", "flipped in its body")
    found.end(found.hapless, "short", "failed")
    found.end(found.spent, "grid", "failed", attempts=2)
    found.starts_before = found.starts()
    assert found.ask("retry", "--run", found.lost, found.spent)[0] == 0
    found.call("runs")
    return found


def test_exactly_the_runs_to_be_tried_again_are_trained_once(tried_again):
    begun = tried_again.entries("start")[len(tried_again.starts_before) :]
    wanted = [tried_again.lost, tried_again.spent, tried_again.hapless]
    assert sorted(line["run_digest"] for line in begun) == sorted(wanted)
    retried = [line["run_digest"] for line in tried_again.entries("retry")]
    assert retried == [tried_again.lost, tried_again.spent]  # the third was tried again by itself
    assert tried_again.store.find(tried_again.hapless)["attempts"] == 2
    assert tried_again.store.find(tried_again.spent)["attempts"] == 1


@pytest.mark.parametrize("sweep", ["grid", "short"])
@pytest.mark.parametrize("table", ["runs", "losses", "curves", "mixtures"])
def test_runs_that_are_trained_again_come_out_the_same(tried_again, finished, sweep, table):
    path = f"results/tiny/aggregate/{sweep}/{table}.parquet"
    assert (tried_again.folder / path).read_bytes() == (finished[0] / path).read_bytes()


def test_a_model_that_is_trained_again_is_the_same_and_timing_tells_it(tried_again, finished):
    model = load(tried_again.store.weights(tried_again.lost).read_bytes())
    assert model.keys() == tried_again.model.keys()
    assert all(torch.equal(tensor, tried_again.model[name]) for name, tensor in model.items())
    path = "results/tiny/aggregate/short/timing.parquet"
    now, then = (tables.frame(home / path) for home in (tried_again.folder, finished[0]))
    unlike = now["attempts"] != then["attempts"]
    hapless = tried_again.store.find(tried_again.hapless)["run_id"]
    assert now.loc[unlike, ["run_id", "attempts"]].to_numpy().tolist() == [[hapless, 2]]
    pd.testing.assert_frame_equal(
        now.drop(columns=["seconds", "attempts"]), then.drop(columns=["seconds", "attempts"])
    )


def test_after_trying_again_only_what_hangs_below_times_is_left(tried_again):
    below = {"summary.md"}  # of `timing`; every other table came out the same
    assert {file for file, *_ in findings(tried_again.ask("verify")[1])} == below
    assert tried_again.due() == {"write_summary": 1}


# ---- verify


def test_finished_results_are_as_study_and_code_make_them(shared):
    runs = len(shared.shard_of("grid")) + 4
    assert shared.ask("verify") == (0, f"20 jobs, {runs} runs: as study and code make them\n")


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
    code, said = shared.ask("verify")
    reasons = [reason for name, reason, _ in findings(said) if name.startswith(f"{file}.")]
    assert code == 1
    assert any(reason.startswith(f"the study says otherwise: {words}") for reason in reasons)
    assert f"results/tiny/{file}." in said.splitlines()[-1]


def test_a_job_that_was_never_run_is_missing(shared, monkeypatch):
    monkeypatch.setattr(shared, "study", copy.deepcopy(shared.study))
    shared.study["fit"]["in_d"] = {**shared.study["fit"]["in_n"], "options": {"variable": "D"}}
    assert ("fit/short/in_d/manifest.json", "missing", "make it again") in findings(
        shared.ask("verify")[1]
    )


def test_a_dataset_that_reads_something_else_is_told(shared, monkeypatch):
    monkeypatch.setattr(flows, "_identity_of", lambda *_: "another")
    assert findings(shared.ask("verify")[1])[0] == (
        "load/few/rows.parquet",
        "the study says otherwise: what is read changed",
        "make it again",
    )


def test_an_input_made_again_is_told_where_it_is_read(results):
    path = results.results / "aggregate/grid/runs.parquet"
    tables.write_free(tables.read(path).slice(1), path, tables.facts(path))
    place = path.with_name(manifest.NAME)
    made = json.loads(place.read_text(encoding="utf-8"))
    made["files"][path.name] = manifest.file_digest(path)
    place.write_text(json.dumps(made), encoding="utf-8")
    found = findings(results.ask("verify")[1])
    assert {reason for _, reason, _ in found} == {
        "was made from another aggregate/grid/runs.parquet"
    }
    laws = {f"fit/grid/{law}/params.parquet" for law in ("chinchilla", "power_law")}
    figures = {f"plot/{figure}.png" for figure in results.study["plot"]}
    assert {file for file, *_ in found} == laws | figures | {"summary.md"}


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
    code, said = shared.ask(*command.split())
    assert code == 2
    assert f"{place}: no results of this study; run it, or give --directory" in said
    assert not place.exists()


def test_runs_trained_under_other_versions_are_said_and_not_wrong(results):
    place = results.results / "train/short/0.json"
    made = json.loads(place.read_text(encoding="utf-8"))
    made["trained_with"].append({**made["trained_with"][0], "torch": "9.9"})
    place.write_text(json.dumps(made), encoding="utf-8")
    words = f"short: runs trained with torch 9.9 (here {environment.versions()['torch']})"
    code, said = results.ask("verify")
    assert code == 0
    assert words in said
    assert "as study and code make them" in said
    said = results.call("-n")
    assert words in said
    assert "Nothing to be done" in said


def test_versions_that_are_others_here_are_said_for_every_sweep(shared, monkeypatch):
    here = {**environment.versions(), "numpy": "9.9"}
    monkeypatch.setattr(environment, "versions", lambda: here)
    code, said = shared.ask("verify")
    assert code == 0
    for sweep in ("grid", "short"):
        assert f"{sweep}: runs trained with numpy" in said


def test_the_command_can_be_typed_with_a_space_in_the_path(shared, harm):
    harm("summary.md", "truncated")
    config = write(shared.folder, shared.study, "my study.yaml")
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        assert main(["verify", config, "--directory", str(shared.folder)]) == 1
    command = shlex.split(said.getvalue().splitlines()[-1])
    assert command[command.index("--configfile") + 1] == config
    assert command[-2:] == ["--forcerun", "results/tiny/summary.md"]


def test_the_target_verify_fails_with_the_findings_or_says_that_all_is_well(results):
    assert "as study and code make them" in results.call("verify")
    damaged(results, "fit/grid/chinchilla/params.parquet", "emptied")
    config = write(results.folder, results.study, "edited.yaml")
    failed = snakemake(results.folder, "verify", "--configfile", config, root=results.root)
    assert failed.returncode != 0
    said = failed.stdout + failed.stderr
    assert re.search(r"fit/grid/chinchilla/params\.parquet +is empty +make it again", said)


# ---- adopt and accept


def scattered(results):
    """Copy nothing of snakemake's records, and give every file some other time."""
    (results.folder / ".snakemake").rename(results.folder / "records")
    draw = random.Random(0)
    for path in sorted(results.results.rglob("*")):
        then = time.time() - draw.uniform(0, 1e6)
        os.utime(path, (then, then))


def test_copied_results_are_adopted_and_nothing_is_due(results):
    scattered(results)
    before = {p: p.read_bytes() for p in results.results.rglob("*") if p.is_file()}
    assert results.due() != {}
    code, said = results.ask("adopt")
    assert code == 0
    assert re.match(r"\d+ files have the times of their order\n20 jobs, ", said)
    assert results.due() == {}
    assert {p: p.read_bytes() for p in results.results.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(
    ("file", "damage", "words"),
    [
        ("plot/isoloss.png", "missing", r"isoloss\.png +missing"),
        ("plot/isoloss.json", "truncated", r"isoloss\.json +is damaged .*"),
        ("train/grid/1.json", "truncated", r"train/grid/1\.json +is damaged .*"),
    ],
)
def test_what_is_adopted_is_verified(results, file, damage, words):
    damaged(results, file, damage)
    code, said = results.ask("adopt")
    assert code == 1
    assert "files have the times of their order" in said
    assert re.search(rf"{words} +make it again", said)


def test_where_no_code_has_changed_nothing_is_accepted(results):
    assert results.ask("accept", "--reason", "none") == (0, "no code has changed\n")
    assert not (results.results / "accepted.jsonl").exists()


def test_runs_of_several_codes_cannot_be_accepted(results):
    digest, shard = next(iter(results.shard_of("grid").items()))
    identity = results.store.identity(digest) | {"code": "another"}
    results.store.save(results.store.find(digest), identity, sweep="grid", shard=shard)
    code, said = results.ask("accept", "--reason", "none")
    assert code == 2
    assert "byte_transformer: its runs were trained by 2 codes" in said


@pytest.fixture
def edited(results):
    """Results whose project was edited, and a way to run the commands of that project."""

    def ask(command, *arguments):
        config = write(results.folder, results.study)
        done = subprocess.run(
            [sys.executable, "-m", "isoloss", command, config, *arguments],
            cwd=results.folder,
            env={**os.environ, "PYTHONPATH": str(results.root / "workflow")},
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    results.edit("train/run.py", "betas=(", "eps=1e-8, betas=(")  # as it is without
    results.edit("figures/isoloss.py", "linewidth=2,", "linewidth=2.0,")
    return ask


def test_an_edit_is_accepted_as_a_no_op_and_a_further_one_is_due(results, edited):
    code, said = edited("verify")
    assert code == 1
    for file in ("train/grid/0.parquet", "train/short/1.parquet", "plot/isoloss.png"):
        line = rf"{re.escape(file)} +its code has changed +make it again, or `accept` the code"
        assert re.search(line, said)
    assert "plot/learning_curves" not in said

    code, said = edited("gc", "--remove")
    assert code == 2
    assert "runs of other code than the one here" in said

    code, said = edited("accept", "--reason", "the default, spelled out")
    assert code == 0
    lines = (results.results / "accepted.jsonl").read_text(encoding="utf-8").splitlines()
    accepted = {line["job"]: line for line in map(json.loads, lines)}
    shards = {f"train/{sweep}/{shard}" for sweep in ("grid", "short") for shard in "01"}
    assert set(accepted) == shards | {"run/byte_transformer", "plot/isoloss"}
    assert {line["reason"] for line in accepted.values()} == {"the default, spelled out"}
    assert all(line["from"] != line["to"] for line in accepted.values())
    assert f"{len(accepted)} accepted" in said

    assert results.due() == {}
    code, said = edited("verify")
    assert code == 0
    assert re.search(r"run/byte_transformer +code accepted on \S+: the default, spelled out", said)
    assert edited("accept", "--reason", "again") == (0, "no code has changed\n")
    code, said = edited("status")
    assert (code, counted(said)["grid"]["missing"]) == (0, "0")
    assert edited("gc") == (0, "nothing is unused\n")

    results.edit("train/run.py", "eps=1e-8", "eps=1e-7")
    assert results.due()["train_shard"] == 4
    assert counted(edited("status")[1])["grid"]["missing"] == "16"


# ---- status and retry


def counted(said):
    """The table that `status` prints: sweep to column to cell."""
    head, *lines = (re.split(r" {2,}", line) for line in said.splitlines())
    width = len(head)
    return {cells[0]: dict(zip(head, cells, strict=True)) for cells in lines if len(cells) == width}


def totals(said, sweep):
    """What a sweep's line counts, without what is zero."""
    columns = ("planned", *status.STATES)
    return {c: int(counted(said)[sweep][c]) for c in columns if counted(said)[sweep][c] != "0"}


def test_a_finished_sweep_is_done_and_nothing_is_left(shared):
    code, said = shared.ask("status")
    assert code == 0
    assert totals(said, "grid") == {"planned": 16, "done": 16}
    ended = {state: len(shared.shard_of("short", state)) for state in ("done", "diverged")}
    assert totals(said, "short") == {"planned": 4, **{s: n for s, n in ended.items() if n}}
    line = counted(said)["grid"]
    spent = pd.concat(
        tables.frame(file, "shard") for file in (shared.results / "train/grid").glob("*.parquet")
    )["seconds"].sum()
    assert line["spent"] == status.duration(spent)
    assert line["left (one core)"] == "0 s"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0.4, "0 s"), (59.7, "1 min 0 s"), (200, "3 min 20 s"), (18600, "5 h 10")],
)
def test_seconds_are_said_as_people_say_them(seconds, words):
    assert status.duration(seconds).startswith(words)


def test_runs_that_are_lost_are_missing_with_a_guess_of_their_seconds(results):
    lost = list(results.shard_of("grid"))[:2]
    for digest in lost:
        status.remove(results.store.folder(digest))
    table = status.runs(results.flow())
    missing = table[table["state"] == "missing"]
    assert set(missing["run_digest"]) == set(lost)
    assert (missing["left"] > 0).all()
    assert (table.loc[table["state"] != "missing", "left"] == 0).all()
    assert set(table.loc[table["state"] != "diverged", "reason"]) == {""}
    _, said = results.ask("status")
    assert totals(said, "grid") == {"planned": 16, "done": 14, "missing": 2}
    assert counted(said)["grid"]["left (one core)"] == status.duration(missing["left"].sum())
    assert "2 of the missing were cut off and go on, or start anew" in said  # they had begun


def test_a_run_that_is_held_is_running(results):
    digest = next(iter(results.shard_of("grid")))
    status.remove(results.store.folder(digest))
    with results.store.claim(digest, wait=False) as mine:
        assert mine
        _, said = results.ask("status")
        code, why = results.ask("retry", "--run", digest)
    assert totals(said, "grid") == {"planned": 16, "done": 15, "running": 1}
    assert code == 2
    assert "is running: there is nothing to try again" in why
    assert totals(results.ask("status")[1], "grid")["missing"] == 1


def test_a_run_that_is_held_and_has_not_begun_is_running(results):
    digest = next(iter(results.shard_of("grid")))
    status.remove(results.store.folder(digest))
    (results.store.root / "journal.jsonl").unlink()
    with results.store.claim(digest, wait=False):
        code, said = results.ask("status")
    assert code == 0
    assert totals(said, "grid") == {"planned": 16, "done": 15, "running": 1}


def test_what_went_wrong_is_counted_and_said_with_its_log(results):
    broken, wild, lost = list(results.shard_of("grid"))[:3]
    failed = results.end(broken, "grid", "failed", attempts=2)
    diverged = results.end(wild, "grid", "diverged", reason="loss inf at step 3")
    damaged(results, f"store/{lost}/run.parquet", "truncated")
    code, said = results.ask("status")
    assert code == 0
    assert totals(said, "grid") == {
        "planned": 16,
        "done": 13,
        "failed": 1,
        "diverged": 1,
        "damaged": 1,
    }
    words = f"{failed['run_id']}: failed, attempt 2: ZeroDivisionError: division by zero\n"
    assert f"{words}  log: {results.store.failures(broken)}\n" in said
    assert f"{diverged['run_id']}: diverged, attempt 1: loss inf at step 3\n" in said
    assert re.search(rf": damaged, attempt 0: \S*{lost}/run\.parquet: ", said)
    log = results.store.failures(broken).read_text(encoding="utf-8")
    assert "ZeroDivisionError" in log


def test_before_anything_is_loaded_every_run_is_missing(results):
    for part in ("load", "expand", "train", "store"):
        (results.results / part).rename(results.root / part)
    code, said = results.ask("status")
    assert code == 0
    assert totals(said, "grid") == {"planned": 16, "missing": 16}
    assert counted(said)["short"]["left (one core)"] == "unknown"
    assert results.ask("retry")[0] == 0
    code, said = results.ask("gc")
    assert code == 2
    assert "its rows are not there" in said


@pytest.mark.parametrize(("max_attempts", "due"), [(2, 1), (1, 0)])
def test_a_failed_run_makes_its_shard_due_until_it_was_tried_often_enough(
    results, max_attempts, due
):
    results.study["train"]["grid"]["max_attempts"] = max_attempts
    results.end(next(iter(results.shard_of("grid"))), "grid", "failed")
    assert results.due().get("train_shard", 0) == due
    assert ("are to be tried again" in results.ask("verify")[1]) == bool(due)
    assert (": failed, attempt 1, to be tried again: " in results.ask("status")[1]) == bool(due)


@pytest.mark.parametrize("by", ["run_id", "run_digest"])
def test_a_failed_run_is_tried_again_by_its_id_or_digest(results, by):
    results.study["train"]["grid"]["max_attempts"] = 1
    digest, shard = next(iter(results.shard_of("grid").items()))
    row = results.end(digest, "grid", "failed")
    code, said = results.ask("retry", "--run", row[by])
    assert code == 0
    assert said.startswith(f"{row['run_id']}\n1 run to be trained at the next `snakemake ")
    (line,) = results.entries("retry")
    assert (line["run_digest"], line["sweep"], line["shard"]) == (digest, "grid", shard)
    assert results.store.find(digest) is None
    assert totals(results.ask("status")[1], "grid") == {"planned": 16, "done": 15, "missing": 1}
    if by == "run_id":
        assert results.due()["train_shard"] == 1


def test_all_that_failed_is_tried_again_and_what_diverged_when_asked(results):
    broken, wild = list(results.shard_of("grid"))[:2]
    rows = [results.end(broken, "grid", "failed"), results.end(wild, "grid", "diverged")]
    others = len(results.shard_of("short", "diverged"))
    assert results.ask("retry")[1].splitlines()[0] == rows[0]["run_id"]
    assert [line["run_digest"] for line in results.entries("retry")] == [broken]
    assert results.ask("retry") == (0, "0 runs failed\n")
    _, said = results.ask("retry", "--diverged")
    assert len(said.splitlines()) == 2 + others
    assert wild in {line["run_digest"] for line in results.entries("retry")}


def test_what_cannot_be_tried_again_is_refused(shared):
    before = shared.store.journal()
    digest = next(iter(shared.shard_of("grid")))
    run_id = shared.store.find(digest)["run_id"]
    code, said = shared.ask("retry", "--run", run_id)
    assert code == 2
    assert f"{run_id} is done: there is nothing to try again" in said
    code, said = shared.ask("retry", "--run", f"{run_id[:-1]}?")
    assert code == 2
    assert f"no run is called '{run_id[:-1]}?'; did you mean '{run_id}'?" in said
    assert shared.store.journal() == before
    assert shared.store.find(digest)["status"] == "done"


# ---- gc


def kept(results):
    """All files of the store by digest."""
    files = [p for p in results.store.root.glob("*/*") if p.is_file()]
    return {path.parent.name: path.read_bytes() for path in files}


def listed(said):
    """The folders that `gc` names, by the digest of their run."""
    return {Path(line.split("  ")[0]).name for line in said.splitlines()[:-1]}


def drop(results):
    """Drop the last cell of the sweep; the digests of its runs."""
    before = set(status.runs(results.flow())["run_digest"])
    results.study["train"]["grid"]["cells"].pop()
    return before - set(status.runs(results.flow())["run_digest"])


def test_every_run_of_a_finished_study_is_referred_to(shared):
    assert shared.ask("gc", "--remove") == (0, "nothing is unused\n")
    assert len(shared.store.kept()) == 20


def test_runs_that_were_dropped_are_listed_and_only_removed_when_asked(results):
    whole = kept(results)
    dropped = drop(results)
    assert len(dropped) == 2
    code, said = results.ask("gc")
    assert code == 0
    assert listed(said) == dropped
    assert re.search(r"\n2 entries, \d\.\d\d MB that no study refers to; --remove removes", said)
    assert kept(results) == whole
    code, said = results.ask("gc", "--remove")
    assert code == 0
    assert listed(said) == dropped
    assert said.splitlines()[-1].endswith("removed")
    assert kept(results) == {d: files for d, files in whole.items() if d not in dropped}
    assert results.ask("gc") == (0, "nothing is unused\n")


def test_what_one_of_several_studies_refers_to_is_not_listed(results):
    other = copy.deepcopy(results.study)
    other["train"]["grid"]["cells"][0]["d_model"].remove(12)
    second = write(results.folder, other, "second.yaml")
    mine = drop(results)
    assert listed(results.ask("gc")[1]) == mine
    assert results.ask("gc", second) == (0, "nothing is unused\n")
    results.study = other
    assert len(listed(results.ask("gc", second)[1])) == 3


def test_studies_of_several_names_are_refused(results):
    (results.folder / "results" / "other").mkdir()
    second = write(results.folder, {**results.study, "study": "other"}, "second.yaml")
    code, said = results.ask("gc", second)
    assert code == 2
    assert "results of their own" in said


def test_a_run_that_is_being_trained_is_never_listed(results):
    one, other = drop(results)
    for digest in (one, other):
        results.store.reopen(digest, "a run")
    with results.store.claim(one):
        _, said = results.ask("gc", "--remove")
        assert listed(said) == {other}
    assert set(results.store.kept()) >= {one}
    assert "never ended" in results.ask("gc")[1]


def test_a_dropped_run_that_is_damaged_is_listed_and_not_to_be_tried_again(results):
    digest = min(drop(results))
    damaged(results, f"store/{digest}/run.parquet", "truncated")
    assert re.search(rf"{digest}  \d\.\d\d MB  damaged\n", results.ask("gc")[1])
    fixes = [fix for file, _, fix in findings(results.ask("verify")[1]) if digest in file]
    assert [("gc" in fix, "retry" in fix) for fix in fixes] == [(True, False)]


@pytest.mark.parametrize("damage", UNREAD)
@pytest.mark.parametrize("table", ["load/few/rows", "expand/few/docstring_x2/index"])
def test_by_damaged_rows_nobody_says_which_runs_are_whose(results, table, damage):
    (path, _), before = damaged(results, f"{table}.parquet", damage), kept(results)
    for command in (["gc"], ["status"], ["retry"], ["gc", "--remove"]):
        code, said = results.ask(*command)
        assert code == 2
        assert f"{path}: " in said and "make it again" in said
    assert kept(results) == before


def test_files_left_behind_by_killed_jobs_are_listed_when_they_are_old(results):
    place = results.results / "aggregate" / "grid"
    old, new = place / ".runs.parquet.1.tmp", place / ".runs.parquet.2.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 7200,) * 2)
    assert listed(results.ask("gc", "--remove")[1]) == {old.name}
    assert new.exists() and not old.exists()
