"""A dataset's digest at every start: a source is read again when it changed, and only then."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from isoloss.core import stamped
from isoloss.load import identity

CARD = "python_stdlib"
LONG = 10**10  # nanoseconds


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "library"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.py").write_bytes(b"x = 1\n")
    return folder


@pytest.fixture
def kept(tmp_path) -> Path:
    return tmp_path / "results" / ".cache" / "sources.json"


@pytest.fixture
def at_rest(monkeypatch):
    """Every file was changed long ago, by the clock."""

    def look(path, make, version):
        return REAL(path, make, version, now=lambda: time.time_ns() + LONG)

    monkeypatch.setattr("isoloss.load.content.Stamped", look)


REAL = stamped.Stamped


@pytest.fixture
def reads(monkeypatch) -> list[str]:
    """The names of the sources that were opened."""
    opened: list[str] = []
    real = Path.open

    def spy(path, *rest, **named):
        if path.suffix == ".py":
            opened.append(path.name)
        return real(path, *rest, **named)

    monkeypatch.setattr(Path, "open", spy)
    return opened


def digest(root, kept=None) -> str:
    return identity(CARD, {"root": str(root)}, kept)


def test_sources_that_did_not_change_are_read_once(root, kept, at_rest, reads):
    first = digest(root, kept)
    assert digest(root, kept) == first
    assert reads == ["a.py", "b.py"]
    assert digest(root) == first


def test_a_touched_source_is_read_again_and_the_digest_stays(root, kept, at_rest, reads):
    before = digest(root, kept)
    os.utime(root / "a.py", ns=(1, 1))
    assert digest(root, kept) == before
    assert reads == ["a.py", "b.py", "a.py"]


@pytest.mark.parametrize("content", [b"x = 2\n", b"x = 11\n"])
def test_another_content_is_seen(root, kept, at_rest, content):
    before = digest(root, kept)
    (root / "a.py").write_bytes(content)
    assert digest(root, kept) != before


def test_another_content_of_the_same_size_with_its_time_restored_is_seen(root, kept, at_rest):
    before, about = digest(root, kept), (root / "a.py").stat()
    (root / "a.py").write_bytes(b"x = 2\n")
    os.utime(root / "a.py", ns=(about.st_atime_ns, about.st_mtime_ns))
    assert digest(root, kept) != before


def test_another_content_within_one_tick_of_the_clock_is_seen(root, kept, monkeypatch):
    about = (root / "a.py").stat()  # a clock that stands still: size and times stay the same
    monkeypatch.setattr(Path, "stat", lambda path, **_: about)
    before = digest(root, kept)
    (root / "a.py").write_bytes(b"x = 2\n")
    assert digest(root, kept) != before


@pytest.mark.parametrize(
    "harm",
    [
        lambda text: "",
        lambda text: text[:-5],
        lambda text: "[]",
        lambda text: "[" * 100_000,
        lambda text: text.replace("[6, ", "[7, "),
        None,
    ],
)
def test_a_cache_that_is_damaged_or_gone_is_made_again(root, kept, at_rest, reads, harm):
    before = digest(root, kept)
    whole = kept.read_text(encoding="utf-8")
    if harm is None:
        kept.unlink()
    else:
        assert harm(whole) != whole
        kept.write_text(harm(whole), encoding="utf-8")
    assert digest(root, kept) == before
    assert len(reads) == 4
    assert digest(root, kept) == before
    assert len(reads) == 4


def test_a_cache_that_cannot_be_written_costs_time_only(root, tmp_path):
    (tmp_path / "results").write_text("a file where the folder would be")
    assert digest(root, tmp_path / "results" / ".cache" / "sources.json") == digest(root)


FIND = """
import sys
from pathlib import Path
from isoloss.load import identity
for _ in range(20):
    print(identity("python_stdlib", {"root": sys.argv[1]}, Path(sys.argv[2])))
"""


def test_several_starts_at_once_find_the_same_and_leave_a_whole_cache(root, kept, at_rest, reads):
    words = [sys.executable, "-c", FIND, str(root), str(kept)]
    starts = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    lines = [line for one in starts for line in one.communicate()[0].split()]
    assert lines == [digest(root)] * 60
    assert REAL(kept, list, "size and BLAKE2b, 16 bytes")._read()
