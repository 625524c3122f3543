"""The index of a store saves the reading of runs; whatever is wrong with it changes nothing."""

import os
import shutil

import pytest
from test_store import DIGEST, IDENTITY, OTHER, run

from isoloss.core.problems import TableError
from isoloss.records import index
from isoloss.records.store import Store

SEGMENT = "grid.0"


@pytest.fixture
def reads(monkeypatch):
    """The runs whose files are read, in order."""
    digests, real = [], Store._checked

    def checked(store, digest):
        digests.append(digest)
        return real(store, digest)

    monkeypatch.setattr(Store, "_checked", checked)
    return digests


@pytest.fixture
def root(tmp_path, reads):
    """A store with two runs in its index."""
    store = Store(tmp_path / "store")
    for digest in (DIGEST, OTHER):
        store.save(run(digest), IDENTITY)
    store.indexed(SEGMENT).write_index(SEGMENT, [DIGEST, OTHER])
    reads.clear()
    return store.root


def index_file(root):
    (file,) = (root / "index").iterdir()
    return file


def rows(root):
    store = Store(root).indexed()
    return [store.find(digest) for digest in (DIGEST, OTHER)]


def test_a_run_whose_file_did_not_change_is_not_read(root, reads):
    unindexed = [Store(root).find(digest) for digest in (DIGEST, OTHER)]
    assert reads == [DIGEST, OTHER]
    assert rows(root) == unindexed
    assert reads == [DIGEST, OTHER]


def test_only_some_columns_are_read_on_request(root, reads):
    row = Store(root).indexed(columns=["run_digest", "status", "code"]).find(DIGEST)
    assert row == {"run_digest": DIGEST, "status": "done", "code": "c0de"}
    assert Store(root).indexed().find(DIGEST, {"code": {"other"}}) is None
    assert reads == []


def test_a_run_that_was_saved_again_is_read_again(root, reads):
    Store(root).save(run(status="diverged"), IDENTITY)
    assert [row["status"] for row in rows(root)] == ["diverged", "done"]
    assert reads == [DIGEST]


def test_a_run_that_is_lost_is_lost(root, reads):
    Store(root).path(DIGEST).unlink()
    assert rows(root)[0] is None


def test_damage_to_a_run_is_told_though_the_index_knows_it(root):
    path = Store(root).path(DIGEST)
    content, about = bytearray(path.read_bytes()), path.stat()
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(about.st_atime_ns, about.st_mtime_ns))  # not the time of the change
    with pytest.raises(TableError, match="the run is lost"):
        rows(root)


@pytest.mark.parametrize("damage", ["gone", "empty", "cut", "flipped", "of another name", "text"])
def test_an_index_that_is_missing_or_damaged_costs_time_alone(root, reads, damage):
    before, file = rows(root), index_file(root)
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[-9] ^= 1  # where Parquet has no checksum
    after = {"empty": b"", "cut": content[:-20], "flipped": content, "text": b"[]"}
    if damage == "gone":
        shutil.rmtree(file.parent)
    elif damage == "of another name":
        file.rename(file.with_name("grid.0.parquet"))
    else:
        file.write_bytes(after[damage])
    assert rows(root) == before
    assert reads == [DIGEST, OTHER]


def test_a_copy_of_a_store_is_read_and_its_index_then_renewed(root, reads, tmp_path):
    copied = shutil.copytree(root, tmp_path / "copied")
    assert rows(copied) == rows(root)
    assert reads == [DIGEST, OTHER]
    Store(copied).indexed(SEGMENT).write_index(SEGMENT, [DIGEST, OTHER])
    reads.clear()
    assert None not in rows(copied)
    assert reads == []


def test_an_index_that_says_what_is_so_stays_as_it_is(root):
    before = index_file(root).stat().st_mtime_ns
    Store(root).indexed(SEGMENT).write_index(SEGMENT, [DIGEST, OTHER])
    assert index_file(root).stat().st_mtime_ns == before
    Store(root).indexed(SEGMENT).write_index(SEGMENT, [DIGEST])
    assert list(index.read(root / "index")) == [DIGEST]  # one file a shard
    index_file(root)


def test_of_a_run_in_two_shards_the_later_look_counts(root, reads):
    Store(root).save(run(attempts=2), IDENTITY)
    Store(root).indexed("first.0").write_index("first.0", [DIGEST])
    reads.clear()
    assert rows(root)[0]["attempts"] == 2
    assert reads == []


def test_a_store_without_index_does_not_remember(root, reads):
    store = Store(root)
    assert store.find(DIGEST) == store.find(DIGEST)
    assert reads == [DIGEST, DIGEST]


def test_the_index_is_not_taken_to_be_a_run(root):
    assert Store(root).kept() == [DIGEST, OTHER]


def test_a_store_of_an_older_version_is_read(tmp_path):
    """It has files called `lock`, and no index."""
    store = Store(tmp_path)
    store.save(run(), IDENTITY)
    (store.folder(DIGEST) / "lock").touch()
    assert not store.running(DIGEST)
    with store.claim(DIGEST, wait=False) as claim:
        assert claim is not None
    assert store.indexed().find(DIGEST) == store.find(DIGEST)
    assert store.damage(DIGEST) == []


def test_a_sweep_that_is_called_like_a_shard_of_another_keeps_its_index(tmp_path):
    folder = tmp_path / "index"
    folder.mkdir()
    index.write(folder, "a.1.0", {})
    index.write(folder, "a.1", {})
    index.write(folder, "a", {})
    assert sorted(path.name.rsplit(".", 2)[0] for path in folder.iterdir()) == ["a", "a.1", "a.1.0"]
