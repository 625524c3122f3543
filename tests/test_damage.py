"""Whatever happens to a file of the results: a message, no traceback, no finished run twice."""

import contextlib
import io
import json
import random
import re
import shutil
import sysconfig
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from isoloss.__main__ import main
from isoloss.core import tables
from isoloss.core.problems import TableError
from isoloss.study import check, flow, verify
from isoloss.train import shard

STUDY = {
    "study": "small",
    "seed": 3,
    "train": {
        "grid": {
            "dataset": "few",
            "model": "transformer",
            "shards": 2,
            "valid_tokens": 512,
            "settings": {"n_layers": 1, "context": 16, "n_samples": 640},
            "cells": [{"d_model": [8, 12, 16, 20]}],
        }
    },
    "fit": {
        "in_n": {
            "card": "power_law",
            "options": {"variable": "N"},
            "sweep": "grid",
            "bootstrap": 20,
        }
    },
    "plot": {"p": {"card": "predicted_observed", "sweep": "grid", "fits": ["in_n"]}},
}


class Home:
    """A folder with a study and its results, made without Snakemake."""

    def __init__(self, folder: Path):
        self.folder, self.study = folder, str(folder / "study.yaml")
        self.results = folder / "results" / "small"

    def flow(self):
        config = check.check(yaml.safe_load(Path(self.study).read_text("utf-8")))
        return flow.Flow(config, self.results)

    def call(self, *words: str) -> tuple[int, str]:
        """Run a command: its exit code, and what it said."""
        output = io.StringIO()
        with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
            code = main(list(words))
        return code, output.getvalue()

    def ask(self, command: str, *words: str) -> tuple[int, str]:
        return self.call(command, self.study, *words, "--directory", str(self.folder))

    def make(self, stage: str | None = None, **names: str) -> list[tuple[int, str]]:
        """Run the jobs of a stage, or of all."""
        whole, root = self.flow(), self.results
        output = []
        for job in whole.jobs:
            if stage not in (None, job.stage) or not names.items() <= job.names.items():
                continue
            words = [w for k, v in job.names.items() for w in (f"--{k}", v)]
            words = {
                "expand": ["--weighting", "natural", "--rows", f"{root}/load/few/rows.parquet"],
                "fit": ["--fit", "in_n", "--tables", f"{root}/aggregate/grid/runs.parquet"],
            }.get(job.stage, words)
            if job.stage == "train":
                words += ["--rows", f"{root}/load/few/rows.parquet", "--store", f"{root}/store"]
                words += ["--tokens", f"{root}/load/few/tokens.npy"]
                words += ["--index", f"{root}/expand/few/natural/index.parquet"]
            if job.stage == "aggregate":
                shards = [f"{root}/train/grid/{s}.parquet" for s in ("0", "1")]
                words += ["--plan", f"{root}/plan/grid/runs.parquet", "--shards", *shards]
                words += ["--audits", f"{root}/expand/few/natural/audit.parquet"]
            if job.stage in ("plot", "summarize"):
                words += ["--tables", *(f"{root}/{file}" for file in whole.inputs(job))]
            study = str(root / "config.yaml")
            output.append(
                self.call(job.stage, "--study", study, *words, "--out", str(root / job.out))
            )
        return output

    def restore(self) -> None:
        """Put back what a job wrote anew: its manifest has another state of the inputs."""
        for path, content in self.shards.items():
            path.write_bytes(content)

    def start(self) -> str:
        """What a dry run asks of the library; what it would refuse to go on with."""
        try:
            whole = self.flow()
            assert isinstance(whole.accepted, list)
            whole.changed()
            whole.other_versions()
            for job in whole.jobs:
                whole.specification(job.stage, **job.names)
                whole.code(job.stage, **job.names)
            return ""
        except TableError as error:
            return str(error)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Home:
    """Results trained by code that an accepted one stands for."""
    home = Home(tmp_path_factory.mktemp("home"))
    source, stdlib = home.folder / "library", Path(sysconfig.get_path("stdlib"))
    source.mkdir()
    for name in ("bisect", "heapq", "textwrap", "shlex", "queue", "sched", "fnmatch", "colorsys"):
        shutil.copy(stdlib / f"{name}.py", source)
    few = {"card": "python_stdlib", "options": {"root": str(source)}, "valid_fraction": 0.4}
    Path(home.study).write_text(yaml.safe_dump({**STUDY, "load": {"few": few}}), "utf-8")
    home.results.mkdir(parents=True)
    verify.write_study(home.flow())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flow.Flow, "run_code_here", lambda *_: "0" * 32)
        assert {code for code, _ in home.make()} == {0}
    code, output = home.ask("accept", "--reason", "a new name: naïve")
    assert code == 0, output
    verify.write_provenance(home.flow())
    code, output = home.ask("verify")
    assert code == 0, output
    home.shards = {file: file.read_bytes() for file in (home.results / "train").rglob("*.*")}
    return home


@pytest.fixture
def home(finished, tmp_path) -> Home:
    """A copy of one's own."""
    shutil.copytree(finished.folder, tmp_path / "copy")
    copy = Home(tmp_path / "copy")
    text = Path(copy.study).read_text("utf-8")
    assert str(finished.folder) in text
    return copy


@pytest.fixture
def untrained(monkeypatch):
    """Training a run is an error."""

    def trained(_, row, *__):
        raise AssertionError(f"{row['run_id']} is trained again")

    monkeypatch.setattr(shard.Trainer, "train", trained)


# ---- config.yaml and provenance.json


@pytest.mark.parametrize("name", ["config.yaml", "provenance.json"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[:40] + b"\xff" + text[41:],
        lambda text: text[: len(text) // 2],
        lambda text: b"",
        lambda text: b"\0" * len(text),
        lambda text: text.replace(b"small", b"smell", 1),
        lambda text: b"[" * 5000,
    ],
    ids=["not UTF-8", "cut", "empty", "zeros", "another word", "deep"],
)
def test_a_record_that_is_damaged_is_found_by_verify_and_written_anew(home, name, damage):
    file = home.results / name
    before = file.read_bytes()
    file.write_bytes(damage(before))
    code, output = home.ask("verify")
    assert code == 1
    assert name in output
    assert "adopt" in output
    assert output.count("\n") < 8
    # what the workflow does at the start of a run and at its end
    verify.write_study(home.flow())
    verify.write_provenance(home.flow())
    assert file.read_bytes() == before
    assert home.ask("verify")[0] == 0
    file.write_bytes(damage(before))
    assert home.ask("adopt")[0] == 0
    assert file.read_bytes() == before


@pytest.mark.parametrize("name", ["config.yaml", "provenance.json"])
def test_a_record_that_is_missing_is_found_and_written(home, name):
    (home.results / name).unlink()
    code, output = home.ask("verify")
    assert (code, "missing" in output) == (1, True)
    assert home.ask("adopt")[0] == 0


def test_a_record_that_is_as_it_should_be_is_not_written(home):
    times = {}
    for name in ("config.yaml", "provenance.json"):
        times[name] = (home.results / name).stat().st_mtime_ns
    verify.write_study(home.flow())
    verify.write_provenance(home.flow())
    assert times == {name: (home.results / name).stat().st_mtime_ns for name in times}


def test_keys_in_another_order_are_the_same_study(home):
    study = yaml.safe_load(Path(home.study).read_text("utf-8"))
    Path(home.study).write_text(
        yaml.safe_dump(dict(reversed(study.items())), sort_keys=False), "utf-8"
    )
    assert home.ask("verify")[0] == 0


def test_a_damaged_manifest_does_not_keep_the_others_out_of_the_provenance(home):
    (home.results / "plot" / "p.json").write_bytes(b"\xff")
    verify.write_provenance(home.flow())
    output = json.loads((home.results / "provenance.json").read_text("utf-8"))
    assert output["damaged"] == ["plot/p"]
    assert "fit/grid/in_n" in output["code"]


# ---- accepted.jsonl


def test_every_flipped_bit_of_what_was_accepted_is_told_with_its_line(home, untrained):
    file = home.results / "accepted.jsonl"
    before = file.read_bytes()
    rng = random.Random(0)
    for number, place in enumerate(rng.sample(range(len(before) - 1), 60)):
        damaged = bytearray(before)
        damaged[place] ^= 1 << rng.randrange(8)
        file.write_bytes(damaged)
        reason = home.start()
        if not reason:  # a space that became another one
            assert [flow.acceptance(line, "") for line in bytes(damaged).splitlines()]
            continue
        assert re.search(r"accepted\.jsonl(, line \d+)?: is ", reason)
        assert "delete the line, or the file, and `python -m isoloss accept" in reason
        for command in ("status", "verify") if number % 4 == 0 else ():  # they read it alike
            code, output = home.ask(command)
            assert (code, reason in output) == (2, True)
    assert {code for code, _ in home.make("train")} == {2}


def test_a_log_that_was_cut_off_is_told(home, untrained):
    file = home.results / "accepted.jsonl"
    before = file.read_bytes()
    for length in (0, 1, 50, len(before) // 2, len(before) - 1):
        file.write_bytes(before[:length])
        assert "accepted.jsonl: is truncated" in home.start()
        assert {code for code, _ in home.make("train")} == {2}


def test_another_digest_in_what_was_accepted_trains_nothing(home, untrained):
    file = home.results / "accepted.jsonl"
    assert {code for code, _ in home.make("train")} == {0}
    text = file.read_text("utf-8").replace('"from": "0', '"from": "1')
    file.write_text(text, "utf-8")
    assert all("is damaged" in output for _, output in home.make("train"))


def test_a_line_that_was_deleted_is_accepted_again(home, untrained):
    (home.results / "accepted.jsonl").unlink()
    code, output = home.ask("accept", "--reason", "again")
    assert (code, "run/transformer" in output) == (0, True)
    assert {code for code, _ in home.make("train")} == {0}


# ---- any file, any damage

ODD = [None, [], {}, "", "text", "\ud800", 0, -1, 2.5, 10**30, True, [[]], {"a": []}, ["../x"]]


def spoiled(value, rng: random.Random):
    """JSON in which one value, or one key, is another."""
    if isinstance(value, dict) and value and rng.random() < 0.8:
        key = rng.choice(list(value))
        if rng.random() < 0.2:
            return {(rng.choice(["", "../../x", "a/b", "x"]) if k == key else k): v
                    for k, v in value.items()}  # fmt: skip
        return {k: spoiled(v, rng) if k == key else v for k, v in value.items()}
    if isinstance(value, list) and value and rng.random() < 0.8:
        at = rng.randrange(len(value))
        return [spoiled(v, rng) if i == at else v for i, v in enumerate(value)]
    return rng.choice(ODD)


def damaged(content: bytes, kind: str, rng: random.Random) -> bytes:
    """A file's content, damaged."""
    if kind == "flip" and content:
        place = rng.randrange(len(content))
        return (
            content[:place] + bytes([content[place] ^ 1 << rng.randrange(8)]) + content[place + 1 :]
        )
    if kind == "cut":
        return content[: rng.randrange(len(content) + 1)]
    if kind == "lines":
        lines = content.split(b"\n")
        one, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        lines[one] = lines[one][: rng.randrange(len(lines[one]) + 1)] + lines[other]
        return b"\n".join(lines)
    if kind == "json":
        lines = content.split(b"\n") if content.count(b'{"') > 1 else [content]
        at = rng.randrange(len(lines))
        with contextlib.suppress(ValueError):
            lines[at] = json.dumps(spoiled(json.loads(lines[at]), rng)).encode()
        return b"\n".join(lines)
    return rng.choice([b"", b"\0" * 50, b"\xff\xfe", b"[" * 3000, b"{}", b"null", b"[]"])


def meaning(content: bytes):
    """What a file says: blanks between the parts of JSON say nothing."""
    try:
        return json.dumps(json.loads(content))
    except (ValueError, RecursionError):
        return content


def files_of(home: Home) -> list[Path]:
    names = ("*.json", "*.jsonl", "*.parquet", "lock", "*.txt", "config.yaml", "summary.md")
    return sorted({file for name in names for file in home.results.rglob(name)})


@settings(max_examples=24, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    seed=st.integers(0, 2**32),
    kind=st.sampled_from(["flip", "cut", "lines", "json", "other"]),
    where=st.sampled_from(["store", "journal", "accepted", "manifest", "any"]),
)
@example(seed=1840, kind="flip", where="manifest")  # the name of a field
def test_no_damage_ends_in_a_traceback_or_trains_a_finished_run(
    finished, untrained, seed, kind, where
):
    rng = random.Random(seed)
    chosen = {
        "store": lambda file: "store" in file.parts and file.name != "journal.jsonl",
        "journal": lambda file: file.name == "journal.jsonl",
        "accepted": lambda file: file.name == "accepted.jsonl",
        "manifest": lambda file: file.suffix == ".json",
        "any": lambda file: True,
    }[where]
    file = rng.choice([file for file in files_of(finished) if chosen(file)])
    before = file.read_bytes()
    try:
        file.write_bytes(damaged(before, kind, rng))
        changed = meaning(file.read_bytes()) != meaning(before)
        code, output = finished.ask("verify")
        assert code in (0, 1, 2)
        if changed and file.name not in ("journal.jsonl", "accepted.jsonl", "lock"):
            # of a run's manifest only the digests are compared with anything
            about = file.name == "manifest.json" and "store" in file.parts
            about |= "index" in file.parts  # what it says counts only if it is whole
            assert code or about, f"{file} is damaged, and verify says that all is well"
        assert finished.ask("gc")[0] in (0, 2)
        code, output = finished.ask("status")
        assert code in (0, 2)
        if code == 0 and "store" not in file.parts:
            assert " 4        4     0 " in output
        finished.start()
        for code, output in finished.make("train"):
            assert code in (0, 2), output
    finally:
        file.write_bytes(before)
        finished.restore()


@pytest.mark.parametrize("seed", range(12))
def test_commands_that_write_survive_damage(home, seed, untrained):
    rng = random.Random(seed)
    for file in rng.sample(files_of(home), 3):
        file.write_bytes(damaged(file.read_bytes(), rng.choice(["flip", "json", "lines"]), rng))
    for words in (("adopt",), ("accept", "--reason", "no"), ("retry",), ("gc", "--remove")):
        assert home.ask(*words)[0] in (0, 1, 2)


def test_a_line_of_the_journal_whose_time_is_damaged_is_no_error(home):
    journal = home.results / "store" / "journal.jsonl"
    lines = [json.loads(line) for line in journal.read_text("utf-8").splitlines()]
    for odd in ("2026-13-45", None, 7, [], "tixe"):
        spoiled_lines = [json.dumps({**line, "time": odd}) for line in lines]
        journal.write_text("\n".join(spoiled_lines) + "\n", "utf-8")
        digest = lines[0]["run_digest"]
        with home.flow().store.claim(digest):
            code, output = home.ask("status")
        assert code == 0
        assert " 1 " in output
    whole = home.flow()
    assert len(whole.journal) == len(lines)
    assert not any("time" in line for line in whole.journal)


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.assign(attempts="two"),
        lambda t: t.assign(run_digest=[[1]] * len(t)),
        lambda t: t.drop(columns="status"),
        lambda t: t.iloc[:0],
        lambda t: pd.concat([t, t]),
    ],
    ids=["attempts", "run_digest", "no status", "no rows", "two rows"],
)
def test_a_run_whose_table_is_another_one_is_damaged_not_lost(home, untrained, change):
    store = home.flow().store
    (digest,) = store.kept()[:1]
    path, facts = store.path(digest), tables.facts(store.path(digest))
    tables.write_free(pa.Table.from_pandas(change(tables.frame(path)), preserve_index=False),
                      path, facts)  # fmt: skip
    store.folder(digest).joinpath("manifest.json").unlink()
    code, output = home.ask("status")
    assert (code, "damaged" in output) == (0, True)
    with pytest.raises(TableError, match="trains it again, and no other run"):
        store.find(digest)
    assert 2 in {code for code, _ in home.make("train")}
