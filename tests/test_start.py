"""A start of the workflow is cheap: what it imports, and what it does not do twice."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import pytest
import yaml

from isoloss.core import schema, sources
from isoloss.core.problems import StudyError
from isoloss.core.stamped import Stamped
from isoloss.records import provenance
from isoloss.study import check, start
from isoloss.train.plans import Plans

ROOT = Path(__file__).parents[1]
HEAVY = {"torch", "pandas", "matplotlib", "numpy", "scipy", "pyarrow", "jsonschema", "datasets"}
# what the Snakefile does when it is read, and what it asks for every job of the DAG
START = """
import sys
from pathlib import Path
from isoloss.core import escape, sources; from isoloss.study import flow, start
from isoloss.core import yaml_text
from isoloss.train.plans import Plans

config, kept = yaml_text.read(sys.argv[1]), sources.Sources(kept=Path("fetched"))
plans = Plans()
whole = flow.Flow(start.checked(config, [sys.argv[1]], kept, plans), "results", kept, plans)
whole.accepted, whole.wildcards(), whole.other_versions()
for job in whole.jobs:
    whole.specification(job.stage, **job.names), whole.code(job.stage, **job.names)
    whole.expectation(job.stage, **job.names), whole.inputs(job), whole.changed()
print(*{name.split(".")[0] for name in sys.modules})
"""


@pytest.fixture
def source(tmp_path) -> Path:
    """A folder of Python sources."""
    folder = tmp_path / "library"
    folder.mkdir()
    (folder / "one.py").write_text("def one():\n    return 1\n", encoding="utf-8")
    return folder


@pytest.fixture
def config(source) -> dict:
    """The default study on a small dataset."""
    study = schema.read(ROOT / "config.yaml")
    study["load"]["stdlib"]["options"] = {"root": str(source)}
    return study


@pytest.fixture
def file(tmp_path, config) -> Path:
    path = tmp_path / "study.yaml"
    path.write_text(yaml.safe_dump(config, sort_keys=False), encoding="utf-8")
    return path


def test_a_start_of_a_study_that_was_found_sound_imports_nothing_heavy(file, tmp_path):
    command = [sys.executable, "-c", START, str(file)]
    run = {"cwd": tmp_path, "capture_output": True, "text": True, "check": True}
    first, second = (set(subprocess.run(command, **run).stdout.split()) for _ in range(2))
    assert "pandas" in first  # it was checked
    assert "isoloss" in second
    assert second & HEAVY == set()


@pytest.fixture
def checks(monkeypatch) -> list[str]:
    """The studies that are checked from now on."""
    counted, real = [], check.check

    def counting(config, *rest, **named):
        counted.append(config["study"])
        return real(config, *rest, **named)

    monkeypatch.setattr(check, "check", counting)
    return counted


@pytest.fixture
def begin(file, tmp_path):
    """A start with a study, as a process of its own would make it."""

    def begin(config):
        provenance.forget()
        start.content_of.cache_clear()
        tables = sources.Sources(kept=tmp_path / "fetched")
        return start.checked(config, [file], tables, Plans(), tmp_path / "cache")

    yield begin
    provenance.forget()
    start.content_of.cache_clear()


def test_a_sound_study_is_checked_once_and_is_the_same_from_the_cache(config, begin, checks):
    first = begin(copy.deepcopy(config))
    second = begin(copy.deepcopy(config))
    assert checks == ["default"]
    assert json.dumps(first) == json.dumps(second)
    assert list(first) == list(second)


def of_the_study(config, source, file):
    config["fit"]["chinchilla"]["delta"] = 0.02


def of_its_data(config, source, file):
    (source / "two.py").write_text("TWO = 2\n", encoding="utf-8")


def of_its_file(config, source, file):
    file.write_text(file.read_text(encoding="utf-8") + "# more\n", encoding="utf-8")


@pytest.mark.parametrize("change", [of_the_study, of_its_data, of_its_file])
def test_a_change_has_the_study_checked_again(config, source, file, begin, checks, change):
    begin(copy.deepcopy(config))
    change(config, source, file)
    begin(copy.deepcopy(config))
    assert checks == ["default", "default"]


def test_a_damaged_cache_costs_time_only(config, begin, checks, tmp_path):
    sound = begin(copy.deepcopy(config))
    contents = ("", "[]", "{", '{"key": 1}', '{"files": {"a": [1, 2, 3]}}')
    # what else may happen to a cache of this kind: load/test_fingerprints.py
    (tmp_path / "cache" / provenance.KEPT).write_text("{", encoding="utf-8")
    (kept,) = (tmp_path / "cache").glob("checked-*.json")
    for content in contents:
        kept.write_text(content, encoding="utf-8")
        assert begin(copy.deepcopy(config)) == sound
    assert checks == ["default"] * (1 + len(contents))
    assert begin(copy.deepcopy(config)) == sound  # from the cache, which is whole again
    assert checks == ["default"] * (1 + len(contents))


def test_a_study_whose_cache_was_edited_is_checked_again(config, begin, checks, tmp_path):
    sound = begin(copy.deepcopy(config))
    (kept,) = (tmp_path / "cache").glob("checked-*.json")
    kept.write_text(kept.read_text(encoding="utf-8").replace("0.01", "0.02"), encoding="utf-8")
    assert begin(copy.deepcopy(config)) == sound
    assert checks == ["default", "default"]


def test_a_study_that_is_wrong_is_wrong_every_time(config, begin):
    config["fit"]["chinchilla"]["sweep"] = "isoflob"
    for _ in range(2):
        with pytest.raises(StudyError, match="isoflop"):
            begin(copy.deepcopy(config))


@pytest.fixture
def reads(tmp_path):
    """A function of a file that was written long ago, its cache, and the calls of it."""
    file, calls = tmp_path / "file", []
    file.write_text("one", encoding="utf-8")
    os.utime(file, (1, 1))

    def read(path: Path) -> str:
        calls.append(path.name)
        return path.read_text(encoding="utf-8")

    def look(version: str = "1", later: int = 0) -> str:
        kept = Stamped(tmp_path / "kept.json", read, version, now=lambda: clock[0] + later)
        value = kept.of(file)
        kept.save()
        return value

    clock = [file.stat().st_ctime_ns + 3 * 10**9]
    return file, look, calls


def test_a_file_is_read_again_only_where_it_changed(reads):
    file, look, calls = reads
    assert [look(), look()] == ["one", "one"]
    assert len(calls) == 1
    file.write_text("three", encoding="utf-8")
    assert look() == "three"
    assert look(version="2") == "three"
    assert len(calls) == 3


def test_a_file_that_changed_just_before_the_look_is_read_again(reads):
    _, look, calls = reads
    look(later=-2 * 10**9)
    assert len(calls) == 1
    look()
    look()
    assert len(calls) == 2


def test_the_code_is_recalled_as_it_is_read(tmp_path):
    modules = provenance.closure(["isoloss.study.flow"])
    read = provenance.code_digest(modules)
    digests = []
    for _ in range(2):
        provenance.forget()
        digest, readings = provenance.recall(tmp_path / provenance.KEPT)
        readings.save()
        digests.append(digest)
        assert provenance.code_digest(provenance.closure(["isoloss.study.flow"])) == read
    provenance.forget()
    assert digests[0] == digests[1]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of three modules in the place of ours, written long ago by the clock of caches."""
    home = tmp_path / "isoloss"
    home.mkdir()
    for name in ("__init__", "fit", "plot"):
        (home / f"{name}.py").write_text(f"NAME = {name!r}\n", encoding="utf-8")
    later = partial(Stamped, now=lambda: time.time_ns() + 10**10)
    monkeypatch.setattr(provenance, "HOME", home)
    monkeypatch.setattr(provenance, "Stamped", later)
    provenance.forget()
    yield home
    provenance.forget()


def test_a_job_reads_code_that_changed_since_the_start_and_minds_no_fault_elsewhere(
    package, tmp_path, monkeypatch
):
    def digest():
        provenance.forget()
        provenance.recall_unchanged(tmp_path / provenance.KEPT)
        return provenance.code_digest(provenance.closure(["isoloss.fit"]))

    before = digest()  # there is nothing to recall yet
    provenance.recall(tmp_path / provenance.KEPT)[1].save()
    with monkeypatch.context() as patch:
        patch.setattr(provenance, "tree_of", lambda path: pytest.fail(f"{path} is read again"))
        assert digest() == before
    (package / "plot.py").write_text("not Python at all", encoding="utf-8")
    assert digest() == before
    (package / "fit.py").write_text("NAME = 'fib'\n", encoding="utf-8")
    assert digest() != before
