"""Fingerprints of files: read again when they changed, and only then."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isoloss.cache import GRANULARITY, Cache, Fingerprints
from isoloss.load import identity

LONG_AGO = 10 * GRANULARITY


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "results" / ".cache" / "fingerprints.json"


@pytest.fixture
def file(tmp_path) -> Path:
    path = tmp_path / "a.py"
    path.write_bytes(b"x = 1\n")
    return path


@pytest.fixture
def reads(monkeypatch) -> list[Path]:
    """The files that were opened to be read as bytes."""
    opened = []
    real = Path.open

    def spy(path, mode="r", *rest, **named):
        if mode == "rb" and path.suffix == ".py":
            opened.append(path)
        return real(path, mode, *rest, **named)

    monkeypatch.setattr(Path, "open", spy)
    return opened


@pytest.fixture
def later(monkeypatch):
    """The clock stands long after every change, so that files are at rest."""
    now = time.time_ns() + LONG_AGO
    monkeypatch.setattr(time, "time_ns", lambda: now)


def fingerprint(file: Path, kept: Path | None) -> tuple[int, str]:
    """As a process of its own would find it."""
    known = Fingerprints(Cache(kept))
    found = known.of(file)
    known.save()
    return found


def test_a_file_that_did_not_change_is_read_once(file, kept, reads, later):
    assert fingerprint(file, kept) == fingerprint(file, kept) == fingerprint(file, None)
    assert len(reads) == 2  # the last one had no cache


def test_a_touched_file_is_read_again_and_has_the_same_digest(file, kept, reads, later):
    before = fingerprint(file, kept)
    os.utime(file, ns=(1, 1))
    assert fingerprint(file, kept) == before
    assert len(reads) == 2


@pytest.mark.parametrize("content", [b"x = 2\n", b"x = 11\n"])
def test_another_content_is_seen(file, kept, later, content):
    before = fingerprint(file, kept)
    file.write_bytes(content)
    assert fingerprint(file, kept) != before


def test_another_content_of_the_same_size_and_times_is_seen_within_the_clocks_granularity(
    file, kept, monkeypatch
):
    stamp = list(os.stat(file)[:1])  # a file system whose clock stands still: all stamps are equal
    still = [stamp[0], 6, time.time_ns(), time.time_ns()]
    monkeypatch.setattr("isoloss.cache._stamp", lambda path: still)
    before = fingerprint(file, kept)
    file.write_bytes(b"x = 2\n")
    assert fingerprint(file, kept) != before


def test_a_restored_time_is_seen(file, kept, later):
    about = file.stat()
    before = fingerprint(file, kept)
    file.write_bytes(b"x = 2\n")
    os.utime(file, ns=(about.st_atime_ns, about.st_mtime_ns))
    assert fingerprint(file, kept) != before


def test_a_file_that_has_just_changed_is_not_remembered(file, kept, reads):
    fingerprint(file, kept)
    fingerprint(file, kept)
    assert len(reads) == 2


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: "",
        lambda text: text[:-5],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace('"digest": "', '"digest": "0'),
        lambda text: text.replace('"values"', '"other"'),
        None,
    ],
)
def test_a_cache_that_is_damaged_or_gone_is_made_anew(file, kept, reads, later, harm):
    before = fingerprint(file, kept)
    whole = kept.read_text()
    if harm is None:
        kept.unlink()
    else:
        kept.write_text(harm(whole))
    assert fingerprint(file, kept) == before
    assert len(reads) == 2
    assert kept.read_text() == whole


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(file, tmp_path, later):
    (tmp_path / "results").write_text("a file where the folder would be")
    kept = tmp_path / "results" / ".cache" / "fingerprints.json"
    assert fingerprint(file, kept) == fingerprint(file, None)


def test_files_that_are_not_asked_for_any_more_are_dropped(file, kept, later):
    fingerprint(file, kept)
    other = file.with_name("b.py")
    file.rename(other)
    fingerprint(other, kept)
    assert list(json.loads(kept.read_text())["values"]["files"]) == [str(other)]


WRITE = """
import sys
from pathlib import Path
from isoloss.cache import Cache
for i in range(50):
    cache = Cache(Path(sys.argv[1]))
    cache.put(sys.argv[2], i)
    cache.save()
"""


def test_several_writers_leave_a_whole_cache(kept):
    words = [sys.executable, "-c", WRITE, str(kept)]
    writers = [subprocess.Popen([*words, f"key {i}"]) for i in range(3)]
    assert [writer.wait() for writer in writers] == [0, 0, 0]
    values = json.loads(kept.read_text())["values"]
    assert 49 in values.values()
    assert {key: Cache(kept).get(key) for key in values} == values


def test_a_datasets_digest_is_the_same_with_a_cache_and_without(file, kept, reads, later):
    options = {"root": str(file.parent)}
    without = identity("python_stdlib", options)
    for _ in range(2):
        known = Fingerprints(Cache(kept), "dataset few")
        assert identity("python_stdlib", options, known) == without
        known.save()
    assert len(reads) == 2
