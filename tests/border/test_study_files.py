"""Files of studies in which YAML says something else than people mean, and what is not a file."""

import os
import time

import pytest

from isoloss.__main__ import main, refuse_bombs
from isoloss.core import yaml_text
from isoloss.core.problems import StudyError

# line of a study -> what is said of it
MISREAD = {
    "study: no": "found no, which YAML reads as false; write false, or put it in quotes",
    "fit: {off: {card: power_law}}": "found off, which YAML reads as false",
    "aggregate: {on: {table: runs.csv}}": "found on, which YAML reads as true",
    "expand: {w: {kind: {Yes: 2}}}": "found Yes, which YAML reads as true",
    "seed: 1:30": "found 1:30, which YAML reads as 90; write 90, or put it in quotes",
    "max_device_hours: 1:30.5": "found 1:30.5, which YAML reads as 90.5",
    "seed: 010": "found 010, which YAML reads as 8",
    "expand: {w: {kind: {007: 2}}}": "found 007, which YAML reads as 7",
}
# line of a study -> the place and the words of the problem
MISTAKES = {
    "seed: 0o17": ('seed: found "0o17"', "needs an integer"),
    "seed: .inf": ("seed: found inf", "a finite number is needed"),
    "seed: .nan": ("seed: found nan", "a finite number is needed"),
    "seed: 2024-01-01": ("line 2: found the date 2024-01-01", "put it in quotes"),
    "fit: {~: {card: power_law}}": ("fit: the key null is not text", "put it in quotes"),
    "? [a]\n: 1": ("line 2: a key is not text", "put it in quotes"),
    "\tseed: 1": ("line 2: is not YAML (found", "fix it"),
    "load: {x: {card: csv, card: csv}}": ("line 2: key 'card' appears twice", "remove one"),
    "fit: {1: {}, '1': {}}": ("line 2: key '1' appears twice", "remove one"),
    "fit: &a {x: *a}": ("line 2: *a refers to a value that contains it", "write it out"),
    "seed: !!python/object/apply:os.mkdir [PWNED]": ("line 2: the tag '!!python", "plain value"),
    'load: {x: {card: csv, options: {text: "a\\0b"}}}': ("character '\\x00'", "remove it"),
    "__use_yte__: true": ("line 2: '__use_yte__'", "a study is data"),
    "seed: ?1 + 1": ('seed: found "?1 + 1"', "needs an integer"),
}


@pytest.mark.parametrize(("line", "words"), MISREAD.items())
def test_what_yaml_reads_as_something_else_is_refused(line, words):
    with pytest.raises(StudyError) as refused:
        yaml_text.load(f"study: s\n{line}" if "study" not in line else line, "s.yaml")
    assert words in str(refused.value)


def test_the_same_in_quotes_or_spelled_out_is_read():
    text = "{'no': 'off', \"1:30\": '010', true: false, x: [0, -7, 1e18, 0x1F, 1_000, 0.5]}"
    read = yaml_text.load(text, "s.yaml")
    assert read == {"no": "off", "1:30": "010", True: False, "x": [0, -7, "1e18", 31, 1000, 0.5]}


@pytest.mark.parametrize(("line", "words"), MISTAKES.items())
def test_a_mistake_in_a_study_is_told_with_its_place(tmp_path, monkeypatch, capsys, line, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "s.yaml").write_text(f"study: s\n{line}\n")
    assert main(["check", "s.yaml"]) == 2
    printed = capsys.readouterr().err
    for part in ("s.yaml", *words):
        assert part in printed
    assert [path.name for path in tmp_path.iterdir()] == ["s.yaml"]


def test_1e18_in_any_way_of_writing_is_a_number(tmp_path, capsys):
    for text in ("1e18", "1E+18", "'1e18'", "1.0e+18", "1000000000000000000"):
        (tmp_path / "s.yaml").write_text(f"study: s\nseed: {text}\n")
        assert main(["check", str(tmp_path / "s.yaml"), "--effective"]) == 0
        assert "seed: 1000000000000000000\n" in capsys.readouterr().out


def test_line_ends_and_a_mark_of_utf_8_are_those_of_any_editor(tmp_path, capsys):
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbfstudy: s\r\nseed: 3\r\n")
    assert main(["check", str(tmp_path / "s.yaml"), "--effective"]) == 0
    assert "seed: 3" in capsys.readouterr().out


def pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (pipe, "is a named pipe, not a file; give a file"),
        (lambda path: path.mkdir(), "is a folder, not a file"),
        (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
        (lambda path: path.symlink_to(path), "cannot be read"),
        (lambda path: path.touch(), "is not a mapping; write `study: NAME`"),
        (lambda path: None, "cannot be read"),
    ],
    ids=["a pipe", "a folder", "a device", "a link to itself", "nothing in it", "nothing there"],
)
def test_what_is_not_a_file_of_text_is_not_waited_for(tmp_path, capsys, make, words):
    path = tmp_path / "study.yaml"
    make(path)
    begun = time.monotonic()
    assert main(["check", str(path)]) == 2
    assert words in capsys.readouterr().err
    if "pipe" in words or "folder" in words or "device" in words:  # else Snakemake tells it
        with pytest.raises(SystemExit):
            refuse_bombs(["--configfile", str(path)])
        assert words in capsys.readouterr().err
    assert time.monotonic() - begun < 20


def test_a_study_on_snakemakes_command_line_is_looked_at_in_the_same_way(capsys):
    for entry in ("seed=1:30", "fit={off: 1}", "seed=!!python/object/apply:os.mkdir [PWNED]"):
        with pytest.raises(SystemExit):
            refuse_bombs(["--config", entry])
        assert "--config" in capsys.readouterr().err
