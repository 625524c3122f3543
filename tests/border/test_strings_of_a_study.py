"""Every text of a study, one after the other, is what an attacker would write."""

import re
import time
from collections import defaultdict
from contextlib import suppress
from itertools import zip_longest
from pathlib import Path

import pytest
from full_study import full_study, planted, texts, write_inputs

from isoloss.core import schema
from isoloss.core.problems import IsolossError
from isoloss.study import check

SHELL = "$(touch PWNED);`touch PWNED`|touch PWNED&&\n'\"{input}{wildcards.x}<results>%s\\"
TOKEN = "x hf_" + "a1B2" * 8


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch) -> Path:
    """The folder of the study's inputs, in which it is checked."""
    inner = tmp_path / "inner"
    inner.mkdir()
    write_inputs(inner)
    monkeypatch.chdir(inner)
    return tmp_path


def test_the_study_itself_is_sound():
    assert check.check(full_study())["study"] == "full"
    assert len(list(texts(full_study()))) > 250


def files_in(folder: Path) -> dict[Path, int]:
    """Every file with the time of its last change."""
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_a_command_of_a_shell_at_any_place_is_refused_or_stays_a_text(folder):
    before, groups = files_in(folder), defaultdict(list)
    for place in texts(full_study()):
        if not schema.complete(planted(full_study(), place, SHELL))[1]:
            groups[place[:2]].append(place)
    assert len(groups) > 10
    assert ("train", "own", "settings", "name") in groups["train", "own"]
    # one place of every entry at once: problems of one hide none of another
    for places in zip_longest(*groups.values()):
        study = full_study()
        for place in filter(None, places):
            study = planted(study, place, SHELL)
        with suppress(IsolossError):
            check.check(study)
    assert files_in(folder) == before


PATHS = {
    "load.few.options": ("load", "few", "options", "root"),
    "load.few.tokenizer": ("load", "few", "tokenizer"),
    "load.notes": ("load", "notes", "options", "files", 0),
    "load.folder": ("load", "folder", "options", "folder"),
    "train.own.command.files": ("train", "own", "command", "files", 0),
    "aggregate.mine": ("aggregate", "mine", "table", 0),
}


@pytest.mark.parametrize("path", ["../../gone", "~/gone", "$HOME/gone", "n" * 9000, "p" * 300])
def test_a_path_to_nothing_is_refused_with_its_place(folder, path):
    study = full_study()
    for place in PATHS.values():
        study = planted(study, place, path)
    before = files_in(folder)
    with pytest.raises(IsolossError) as refused:
        check.check(study)
    places = " ".join(problem.place for problem in refused.value.problems)
    assert "load.few.tokenizer" in places  # which is looked at first
    del study["load"]["few"]["tokenizer"]
    with pytest.raises(IsolossError) as refused:
        check.check(study)
    places = [problem.place for problem in refused.value.problems]
    for key in ("load.notes", "load.folder", "train.own.command.files", "aggregate.mine"):
        assert any(place.startswith(key) for place in places), key
    assert files_in(folder) == before


def test_a_text_with_nul_or_half_a_character_is_refused_at_any_place():
    for place in texts(full_study()):
        for text in ("a\0b", "a\ud800b"):
            (problem, *_) = schema.unsound(planted(full_study(), place, text))
            assert "found text with the character" in problem.found
            assert problem.place.startswith("study" if len(place) == 1 else place[0])


def test_a_token_in_any_text_is_refused_and_not_repeated():
    for place in texts(full_study()):
        if isinstance(place[-1], tuple):  # a key
            continue
        _, wrong = schema.complete(planted(full_study(), place, TOKEN))
        words = [
            problem.found for problem in wrong if "looks like a token (hf_...)" in problem.found
        ]
        assert words or wrong[0].found.startswith(("found", "no ")), place
        assert not any(TOKEN in text for text in words)


NAMES = ["../x", "/tmp/x", "~", "$HOME", ".cache", "-rf", "*", "a b", "a;b", "{a}", "n" * 300, ""]
SECTIONS = ["load", "expand", "train", "observe", "aggregate", "fit", "simulate", "plot"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_leads_elsewhere_is_refused_in_every_section(name):
    wrong = schema.complete(full_study() | {"study": name})[1]
    assert [problem.place for problem in wrong] == ["study"]
    for section in SECTIONS:
        study = full_study()
        study[section][name] = next(iter(study[section].values()))
        assert any(section in problem.place for problem in schema.complete(study)[1])


@pytest.mark.parametrize(
    "name", ["CON", "config.yaml", "nul", "x.parquet", "logs", "1e18", "n" * 100]
)
def test_a_name_that_only_looks_odd_is_a_name(name):
    study = full_study()
    study["fit"][name] = study["fit"]["law"]
    study["fit"][name.swapcase()] = study["fit"]["law"]
    assert name in check.check(study | {"study": name})["fit"]


@pytest.mark.parametrize("path", ["../m.jsonl", "/etc/passwd", "logs/../../m.jsonl"])
def test_the_results_of_a_program_are_below_its_folder(path):
    study = full_study()
    study["train"]["own"]["command"]["results"] = path
    with pytest.raises(IsolossError, match="is not below the folder of the run"):
        check.check(study)


def test_a_pattern_that_would_be_matched_for_ever_is_refused():
    study = full_study()
    Path("lib", "a" * 200 + ".py").write_text("x = 1\n")
    study["load"]["folder"]["options"]["pattern"] = "*a" * 12 + "b"
    begun = time.process_time()
    with pytest.raises(IsolossError, match="12 signs for other text in one name"):
        check.check(study)
    assert time.process_time() - begun < 5


def test_what_stands_in_a_line_of_a_shell_is_held_to_a_pattern():
    defs = schema.schema()["$defs"]
    asked_of_a_cluster = defs.get("resources", {"properties": {}})["properties"].values()
    parts = [part for part in asked_of_a_cluster if part["type"] == "string"]
    for part in (defs["name"], *parts):
        pattern = part["pattern"]
        assert not re.search(pattern, SHELL)
        for text in ("a;b", "a b", "$(a)", "`a`", "a'b", 'a"b', "a\\b", "a>b", "a\n", "a\nb", ""):
            assert not re.search(pattern, text), (pattern, text)
