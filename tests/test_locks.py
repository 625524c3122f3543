"""Locks: one holder at a time, whatever happens to it, on one machine or on several."""

import multiprocessing
import os
import re
import signal
import time
from pathlib import Path

import pytest

import isoloss
from isoloss.core import locks

FORK = multiprocessing.get_context("fork")
PACKAGE = Path(isoloss.__file__).parent
# said of every fork by Python 3.12 and later: a lease has a thread that renews it
pytestmark = pytest.mark.filterwarnings("ignore:This process .* is multi-threaded")


@pytest.fixture
def file(tmp_path):
    return tmp_path / "lock"


def hold(file, lifetime, ready, go_on, answers):
    """Hold a lock in a process of its own, and renew it when told to."""
    locks.LIFETIME = lifetime
    with locks.locked(file) as claim:
        ready.set()
        go_on.wait(60)
        try:
            claim.renew(now=True)
        except locks.LockLostError as error:
            answers.put(str(error))
        else:
            answers.put("held")


class Holder:
    """A process that holds a lock until it goes on."""

    def __init__(self, file, lifetime=locks.LIFETIME):
        self.ready, self.go_on, self.answers = FORK.Event(), FORK.Event(), FORK.Queue()
        given = (file, lifetime, self.ready, self.go_on, self.answers)
        self.process = FORK.Process(target=hold, args=given, daemon=True)
        self.process.start()
        assert self.ready.wait(60)

    def end(self):
        self.go_on.set()
        answer = self.answers.get(timeout=60)
        self.process.join(60)
        return answer

    def kill(self):
        self.process.kill()
        self.process.join(60)


def count(file, counter, times):
    """Add to a number in a file, which only a lock keeps right."""
    for _ in range(times):
        with locks.locked(file, poll=0.01):
            number = int(counter.read_text())
            counter.write_text(str(number + 1))


def of_another_host(file, age=0.0):
    """A lock that a process of another machine holds, or held when that went down."""
    with locks.locked(file):
        text = file.read_text()
    file.write_text(re.sub(r"host=.*", "host=elsewhere", text))
    when = time.time() - age
    os.utime(file, (when, when))


def test_a_lock_has_one_holder_and_leaves_nothing(file):
    with locks.locked(file) as claim:
        claim.renew(now=True)
        assert locks.is_locked(file)
        with locks.locked(file, wait=False) as other:
            assert other is None
        claim.renew(now=True)
    assert not locks.is_locked(file)
    assert list(file.parent.iterdir()) == []


def test_thirty_processes_count_to_three_hundred(file):
    (counter := file.with_name("counter")).write_text("0")
    children = [FORK.Process(target=count, args=(file, counter, 10)) for _ in range(30)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert counter.read_text() == "300"


def test_the_lock_of_a_killed_process_is_free_at_once(file):
    holder = Holder(file)
    assert locks.is_locked(file)
    holder.kill()
    assert file.exists()
    with locks.locked(file, wait=False) as claim:
        assert claim is not None
    assert list(file.parent.iterdir()) == []


def test_what_a_killed_process_left_does_not_count_as_held(file):
    Holder(file).kill()
    assert not locks.is_locked(file)
    assert not file.exists()


def test_a_suspended_holder_loses_its_lock_and_is_told(file, monkeypatch):
    monkeypatch.setattr(locks, "LIFETIME", 0.3)
    holder = Holder(file, lifetime=0.3)
    os.kill(holder.process.pid, signal.SIGSTOP)
    with locks.locked(file) as claim:  # waits for the lifetime
        os.kill(holder.process.pid, signal.SIGCONT)
        assert "another process has taken this lock" in holder.end()
        claim.renew(now=True)  # that one's end removed nothing


def test_a_holder_that_runs_keeps_its_lock_beyond_its_lifetime(file, monkeypatch):
    monkeypatch.setattr(locks, "LIFETIME", 0.3)
    holder = Holder(file, lifetime=0.3)
    time.sleep(0.9)
    with locks.locked(file, wait=False) as claim:
        assert claim is None
    assert holder.end() == "held"


def test_the_lock_of_another_host_is_held_until_its_lifetime_is_over(file, monkeypatch):
    monkeypatch.setattr(locks, "LIFETIME", 0.3)
    of_another_host(file, age=-3600)  # by its clock, which is an hour ahead
    with locks.locked(file, wait=False) as claim:
        assert claim is None
    assert locks.is_locked(file)
    before = time.monotonic()
    with locks.locked(file) as claim:
        assert time.monotonic() - before >= 0.3
        claim.renew(now=True)


def test_an_old_lock_of_another_host_is_not_taken_to_be_held(file):
    of_another_host(file)
    assert locks.is_locked(file)
    os.utime(file, (time.time() - 3 * locks.LIFETIME,) * 2)
    assert not locks.is_locked(file)


def test_an_empty_file_that_a_loss_of_power_left_is_removed(file):
    file.touch()
    with locks.locked(file, wait=False) as claim:
        assert claim is None  # somebody may be about to write into it
    os.utime(file, (time.time() - 2 * locks.LIFETIME,) * 2)
    with locks.locked(file, wait=False) as claim:
        assert claim is not None


def test_a_forked_child_does_not_free_the_lock(file):
    with locks.locked(file) as claim:
        child = FORK.Process(target=time.monotonic)
        child.start()
        child.join(60)
        claim.renew(now=True)


def test_a_holder_looks_once_a_second_unless_told(file):
    with locks.locked(file) as claim:
        file.unlink()
        claim.renew()  # nothing is looked at
        with pytest.raises(locks.LockLostError, match=r"somebody removed the file"):
            claim.renew(now=True)


def test_no_module_uses_locks_of_the_kernel():
    """On some file systems they hold on one machine alone, and nobody is told."""
    modules = {path: path.read_text(encoding="utf-8") for path in PACKAGE.rglob("*.py")}
    found = {p.name for p, text in modules.items() if re.search(r"\b(fcntl|flock|lockf)\b", text)}
    assert len(modules) > 100
    assert found == set()
