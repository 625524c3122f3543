"""Kills, full and read-only disks, two at once, odd paths, lost records: nothing finished is lost.

After every fault the documented command gives the tables of an undisturbed run, and by the journal
no finished run was started again.
"""

import contextlib
import os
import random
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest
import warm
from project import Project
from running import hear_ctrl_c, small, snakemake, write

from isoloss.core import tables
from isoloss.records.store import FINAL

RUNS = 8  # of the small study
CORES = 2  # what `snakemake` of running.py has too
TABLES = ("runs", "losses", "curves", "mixtures")  # all that gather_sweep writes but `timing`


class Disturbed(Project):
    """A project to which something happens while it runs."""

    def __init__(self, home, folder, study):
        super().__init__(home, folder, study, "grid")
        self.undisturbed = gathered(self.results)
        self.pool = ThreadPoolExecutor()

    def without(self, *stages):
        """Remove what these stages made, and the summary."""
        for name in stages:
            shutil.rmtree(self.results / name)
        for name in ("summary.md", "summary.json", "provenance.json"):
            (self.results / name).unlink()
        return self

    def untrained(self):
        """Remove what training made, and all that is below it."""
        return self.without("store", "train", "aggregate", "fit", "plot")

    def attempt(self, *arguments, **variables):
        """Run snakemake, whatever comes of it: exit code and output.

        `variables` are those of its environment.
        """
        options = ["--configfile", write(self.folder, self.study, "edited.yaml")]
        process = snakemake(self.folder, *arguments, *options, root=self.root, **variables)
        return process.returncode, process.stdout + process.stderr

    def begin(self, where, *command, **variables):
        """Start a command as the first of its process group, as a terminal does.

        `variables` are those of its environment.
        """
        with (self.folder / "output.txt").open("ab") as output:
            return subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=where,
                env={**os.environ, "PYTHONPATH": str(self.root / "workflow"), **variables},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                process_group=0,
                preexec_fn=hear_ctrl_c,
            )

    def begin_snakemake(self, target, **variables):
        """Start snakemake on a target."""
        config = write(self.folder, self.study, "edited.yaml")
        options = ["--directory", self.folder, "--configfile", config, "--cores", str(CORES)]
        return self.begin(self.root, "snakemake", target, *options, **variables)

    def meanwhile(self, *arguments, **variables):
        """Attempt it in a thread, for a test that looks meanwhile, and kills nothing."""
        return self.pool.submit(self.attempt, *arguments, **variables)

    def output(self):
        return (self.folder / "output.txt").read_text(encoding="utf-8")

    def logs(self):
        """The logs of training jobs."""
        return [file.read_text(encoding="utf-8") for file in self.results.glob("logs/train/*/*")]

    def trainers(self):
        """Pids of `isoloss train` and of the children in which they train."""
        parents = {
            pid: ppid for pid, (ppid, words) in self.processes().items() if b"train" in words
        }
        jobs = {pid for pid, ppid in parents.items() if ppid not in parents}
        return jobs, {pid for pid, ppid in parents.items() if ppid in jobs}

    def processes(self):
        """Every process that works in this folder: parent and command line by pid."""
        processes = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(place / "cwd") == str(self.folder):
                    ppid = place.joinpath("stat").read_text().rpartition(") ")[2].split()[1]
                    words = place.joinpath("cmdline").read_bytes().split(b"\0")
                    processes[int(place.name)] = int(ppid), words
            except (OSError, IndexError):  # it has ended meanwhile
                continue
        return processes


def gathered(results):
    """The bytes of all aggregate tables that hold no seconds."""
    names = [f"{table}.parquet" for table in TABLES]
    return {name: (results / "aggregate" / "grid" / name).read_bytes() for name in names}


def wait_for(happened, seconds=300):
    """What `happened()` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (result := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return result


def started_again(journal):
    """Runs that were started after they had ended for good."""
    ended, again = set(), []
    for line in journal:
        if line["event"] == "end" and line["status"] in FINAL:
            ended.add(line["run_digest"])
        elif line["event"] == "start" and line["run_digest"] in ended:
            again.append(line["run_id"])
    return again


def assert_undisturbed(project):
    """The tables are those of a run that nothing happened to, and no finished run began again."""
    assert gathered(project.results) == project.undisturbed
    assert started_again(project.store.journal()) == []
    assert not project.processes()
    assert len(project.store.kept()) == RUNS


@pytest.fixture(scope="session")
def small_results(made_once, source):
    """The folder in which the small study was run once, as a person does: cold."""

    def fill(folder):
        process = snakemake(folder, "--configfile", write(folder, small(source)), cold=True)
        assert process.returncode == 0, process.stdout + process.stderr

    return made_once("small study", fill)


@pytest.fixture
def project(small_results, source, tmp_path):
    """A copy of the project and of the small study's results, with their times."""
    project = Disturbed(tmp_path, small_results, small(source))
    yield project
    for pid in project.processes():  # only after a failed test: nobody else works in this folder
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    project.pool.shutdown()


@pytest.fixture
def mount(request):
    """Mount at a folder, until the test is over."""

    def run(*command):
        process = subprocess.run(command, capture_output=True, text=True, check=False)
        if process.returncode:
            pytest.skip(f"{command[0]} is not allowed here: {process.stderr.strip()}")

    def mounted(folder, *arguments):
        run("mount", *arguments, folder)
        request.addfinalizer(lambda: subprocess.run(["umount", "--lazy", folder], check=True))

    mounted.run = run
    return mounted


# each gives the most runs that it can have cut off


def kill_child(project, head):
    """Kill a process that trains one run; its job and snakemake go on to their end."""

    def one():
        assert head.poll() is None
        return project.trainers()[1]

    while True:
        victim = min(wait_for(one))
        with contextlib.suppress(ProcessLookupError):  # it has ended meanwhile: the next one
            os.kill(victim, signal.SIGKILL)
            break
    assert head.wait(300) == 0, project.output() + "".join(project.logs())
    failed = [line for line in project.store.journal() if line.get("status") == "failed"]
    assert len(failed) <= 1  # none if its run had just been saved
    return len(failed)


def kill_head(project, head):
    """Kill snakemake and nothing else; its jobs go on without it."""
    os.kill(head.pid, signal.SIGKILL)
    head.wait()
    project.call("--unlock")
    return 0


def kill_all(project, head):
    """Kill snakemake with all that it started."""
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    wait_for(lambda: not project.processes())
    project.call("--unlock")
    return CORES


# one moment of each kind always, ten more with `make test-slow`
MOMENTS = [
    pytest.param(kill, seed, marks=[pytest.mark.slow] if seed else [], id=f"{kill.__name__}-{seed}")
    for kill in (kill_child, kill_head, kill_all)
    for seed in range(11)
]


@pytest.mark.parametrize(("kill", "seed"), MOMENTS)
def test_after_a_kill_the_same_command_gives_the_same_tables(project, kill, seed):
    # lines of the journal (there will be two a run) and a bit of a run's time
    draw = random.Random(f"{kill.__name__} {seed}")
    lines, seconds = draw.randint(1, 12), draw.uniform(0, 0.25)
    head = project.untrained().begin_snakemake("runs")
    wait_for(lambda: len(project.store.journal()) >= lines)
    time.sleep(seconds)
    cut_off = kill(project, head)
    project.call("runs")
    wait_for(lambda: not project.processes())  # orphans too
    assert_undisturbed(project)
    assert len(project.starts()) <= RUNS + cut_off
    assert project.attempt("runs", "-n")[1].count("Nothing to be done") == 1


def test_a_run_that_is_killed_goes_on_from_its_state_and_keeps_every_model(project):
    way = {"optimizer": "muon", "schedule": "wsd", "accumulate": 2, "batch_size": 4}
    cells = [{"n_flops": "1e8", "d_model": 8, **way}]
    grid = project.study["train"]["grid"] | {"checkpoint_minutes": 1e-6, "cells": cells}
    project.study["train"]["grid"] = grid | {"checkpoints": [0.25, 0.9]}
    project.study |= {"fit": {}, "plot": {}}  # of one run there are none
    folder = project.untrained().store.folder
    project.call("runs")
    whole, (digest,) = gathered(project.results), project.store.kept()
    names = ["weights.safetensors", *(path.name for path in project.store.checkpoints(digest))]
    models = {name: (folder(digest) / name).read_bytes() for name in names}
    assert len(set(models.values())) == 3

    for stage in ("store", "train", "aggregate"):
        shutil.rmtree(project.results / stage)
    head = project.begin_snakemake("runs")
    (early,) = wait_for(lambda: project.store.checkpoints(digest))
    state, written = project.store.state(digest), early.stat().st_mtime_ns
    wait_for(lambda: state.stat().st_mtime_ns > written)  # it is of a later step
    kill_all(project, head)
    assert project.store.find(digest) is None
    assert state.is_file() and list(project.store.checkpoints(digest)) == [early]

    project.call("runs")
    assert gathered(project.results) == whole
    assert {name: (folder(digest) / name).read_bytes() for name in names} == models
    assert early.stat().st_mtime_ns == written  # it was not trained again up to there
    assert not state.exists()


KILLED_AFTER_SAVING = """
_save = Store.save


def _save_and_die(store, *arguments, **names):
    _save(store, *arguments, **names)
    os.kill(os.getpid(), 9)


Store.save = _save_and_die
"""


def test_a_child_that_is_killed_after_its_run_was_saved_leaves_it_finished(project):
    project.untrained().append("records/store.py", KILLED_AFTER_SAVING)
    project.call("runs")
    assert_undisturbed(project)
    assert len(project.starts()) == RUNS


def measured_otherwise(project):
    """A setting of a sweep is edited: all its shards are other ones."""
    project.study["train"]["grid"]["valid_tokens"] = 512


def fitted_otherwise(project):
    """A setting of a fit is edited."""
    project.study["fit"]["power_law"]["objective"] = "log_mse"


def coded_otherwise(project):
    """Code of the fit is edited; it makes the same numbers."""
    project.edit("laws/power_law.py", "def make(", "UNUSED = 1\n\n\ndef make(")


MADE_BELOW = {
    "runs": ("store", "train", "aggregate", "fit", "plot"),
    "fits": ("fit", "plot"),
}
OVERTAKEN = [
    (measured_otherwise, "runs", b"grid"),
    (fitted_otherwise, "fits", b"power_law"),
    (coded_otherwise, "fits", b"power_law"),
]


# appended to work.py, which is in the digest of no stage
WAITING = """
_place = RunningJob._place


def _wait_and_place(job, *arguments):
    while os.path.exists(os.environ.get("WAIT_FOR", "")):
        __import__("time").sleep(0.05)
    _place(job, *arguments)


RunningJob._place = _wait_and_place
"""


@pytest.fixture
def waiting(project):
    """A file; while it exists, jobs that were told of it wait before they put outputs in place."""
    project.append("study/work.py", WAITING)
    (project.folder / "wait").touch()
    return project.folder / "wait"


@pytest.mark.parametrize(("change", "target", "name"), OVERTAKEN, ids=["shard", "fit", "code"])
def test_a_job_that_outlives_its_snakemake_replaces_nothing_newer(
    project, waiting, change, target, name
):
    project.without(*MADE_BELOW[target])
    head = project.begin_snakemake(target, WAIT_FOR=str(waiting))

    def at_work():
        """The log of a job and its output, once it has read the study."""
        running = project.processes()
        for pid, (ppid, words) in running.items():
            forked = words == running.get(ppid, (0, []))[1]
            if b"isoloss" in words and name in words and b"--out" in words and not forked:
                out = project.folder / words[words.index(b"--out") + 1].decode()
                owner = out.parent / f".{out.stem}.json.owner"
                if (owner if out.suffix else out / ".manifest.json.owner").exists():
                    return Path(f"/proc/{pid}/fd/2").open(encoding="utf-8"), out
        return None

    log, out = wait_for(at_work)
    with log:  # opened now: another file replaces it
        os.kill(head.pid, signal.SIGKILL)
        head.wait()
        project.call("--unlock")
        change(project)
        project.call(target)
        files = [out, out.with_suffix(".json")] if out.suffix else sorted(out.glob("[!.]*"))
        newer = {file: file.read_bytes() for file in files}
        waiting.unlink()
        wait_for(lambda: not project.processes())
        assert "another process has started the same job since" in log.read()
    assert {file: file.read_bytes() for file in files} == newer
    assert not [path for path in out.parent.rglob(".*") if path.name.endswith((".tmp", ".owner"))]
    assert "Nothing to be done" in project.call(target, "-n")


def test_after_ctrl_c_the_same_command_goes_on(project):
    head = project.untrained().begin_snakemake("runs")
    wait_for(lambda: len(project.store.journal()) >= 5)
    wait_for(lambda: project.trainers()[1])
    os.killpg(head.pid, signal.SIGINT)
    assert head.wait(300) != 0
    wait_for(lambda: not project.processes())
    events = project.store.journal()
    assert len(events) < 2 * RUNS
    assert "failed" not in {line.get("status") for line in events}  # no attempt is used up
    project.call("runs")
    assert_undisturbed(project)
    assert len(project.starts()) <= RUNS + CORES


# where a job breaks, by code at the end of a module; how many runs the two shards have saved then
BREAKS = {
    "after_its_first_run": ("train/shard.py", "_trained", 2),
    "after_its_table": ("train/job.py", "run", RUNS),
}
BROKEN_AFTER = """
_unbroken = {function}


def {function}(*arguments, **names):
    _unbroken(*arguments, **names)
    raise SystemExit("broken here")
"""


@pytest.mark.parametrize("where", BREAKS)
def test_a_job_that_breaks_loses_its_table_and_no_run(project, where):
    file, function, saved = BREAKS[where]
    before = project.untrained().append(file, BROKEN_AFTER.format(function=function))
    code, output = project.attempt("runs")
    assert code != 0
    assert "broken here" in output
    assert not list(project.results.glob("train/*/*"))  # rolled back
    assert len(list(project.results.glob("store/*/run.parquet"))) == saved
    assert len(project.starts()) == saved
    (project.library / file).write_bytes(before)
    project.call("runs")
    assert_undisturbed(project)
    assert len(project.starts()) == RUNS


def fill(store, pages, journal_too):
    """Fill a file system but for some pages; and the page that the journal has begun."""
    ballast = store.root / "ballast"
    with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
        while True:
            file.write(bytes(4096))
    os.truncate(ballast, ballast.stat().st_size - 4096 * pages)
    if journal_too:
        with (store.root / "journal.jsonl").open("ab", buffering=0) as file:
            file.write(b"\n" * 4096)
    return ballast


@pytest.mark.parametrize(
    ("pages", "journal_too"),
    [
        pytest.param(5, False, id="nearly", marks=pytest.mark.slow),
        pytest.param(0, False, id="wholly", marks=pytest.mark.slow),
        pytest.param(0, True, id="journal_too"),
    ],
)
def test_a_full_disk_stops_the_job_and_loses_nothing(project, mount, pages, journal_too):
    store = project.untrained().store
    store.root.mkdir()
    mount(store.root, "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs")
    head = project.meanwhile("runs")
    wait_for(lambda: len(store.journal()) >= 4)
    ballast = fill(store, pages, journal_too)
    code, output = head.result(300)
    assert code != 0
    saved = {path.parent.name for path in store.root.glob("*/run.parquet")}
    assert 0 < len(saved) < RUNS
    assert all(store.find(digest)["status"] in FINAL for digest in saved)
    assert not list(store.root.rglob("*.tmp"))
    full = [log for log in project.logs() if "No space left on device" in log]
    assert full
    for log in full:
        assert re.search(r"^isoloss train: .*results/tiny/store.*run again", log, flags=re.M), log
        assert "Traceback" not in log
        assert log in output
    ballast.unlink()
    project.call("runs")
    assert_undisturbed(project)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def edited(study):
    """A figure is due that is there."""
    study["plot"]["learning_curves"]["options"] = {"from_samples": 200}


def added(study):
    """A figure is due that is not there."""
    study["plot"]["again"] = study["plot"]["learning_curves"]


@pytest.mark.parametrize(
    ("change", "words", "figure"),
    [
        (edited, "Write-protected output files for rule plot_figure", "learning_curves"),
        (added, "Read-only file system: 'results/tiny/", "again"),
    ],
    ids=["edited", "added"],
)
def test_read_only_results_are_said_to_be_so_and_stay_as_they_are(
    project, mount, change, words, figure
):
    results = project.folder / "results"
    mount(results, "--bind", results)
    mount.run("mount", "-o", "remount,bind,ro", results)
    before = times(results)
    code, output = project.attempt()
    assert code == 0
    assert "Nothing to be done" in output
    change(project.study)
    code, output = project.attempt("figures")
    assert code != 0
    assert words in output
    assert times(results) == before
    mount.run("mount", "-o", "remount,bind,rw", results)
    project.call("figures")
    made = {path.name for path, when in times(results).items() if before.get(path) != when}
    assert made == {f"{figure}.parquet"}
    assert_undisturbed(project)


def test_a_second_snakemake_in_a_folder_refuses_and_the_first_finishes(project, waiting):
    head = project.untrained().meanwhile("runs", WAIT_FOR=str(waiting))
    wait_for(project.store.journal)
    code, output = project.attempt("runs")
    assert not head.done()
    assert code != 0
    assert "Directory cannot be locked" in output
    waiting.unlink()
    assert head.result(300)[0] == 0
    assert_undisturbed(project)
    assert len(project.starts()) == RUNS


def test_two_jobs_of_one_shard_train_every_run_once(project, tmp_path):
    table = "results/tiny/train/grid/0.parquet"
    undisturbed = tables.read(project.folder / table, "shard")
    output = project.untrained().call("-n", "-p", table)
    typed = shlex.split(re.search(r"python -m isoloss (train .*) 2> ", output)[1])
    outs = [tmp_path / f"{name}.parquet" for name in ("one", "other")]
    commands = [[str(out) if word == table else word for word in typed] for out in outs]
    environment = {**os.environ, "PYTHONPATH": str(project.root / "workflow")}
    start = partial(warm.run, "isoloss", folder=project.folder, environment=environment)
    jobs = [project.pool.submit(start, *command) for command in commands]
    assert [job.result(300).returncode for job in jobs] == [0, 0]
    one, other = (tables.read(out, "shard") for out in outs)
    assert one.equals(other)  # even seconds: they are the store's
    assert one.drop_columns("seconds").equals(undisturbed.drop_columns("seconds"))
    assert sorted(project.starts()) == sorted(undisturbed["run_id"].to_pylist())


def test_paths_may_have_spaces_and_letters_of_any_script(source, project, tmp_path):
    root = project.root.rename(tmp_path / "le projet 源 ü")
    library = shutil.copytree(source, tmp_path / "bibliothèque 図書 館")
    folder = tmp_path / "été 研究 x"
    folder.mkdir()
    config = write(folder, small(library), "étude 一.yaml")
    first = snakemake(folder, "--configfile", config, root=root)
    assert first.returncode == 0, first.stdout + first.stderr
    results = folder / "results" / "tiny"
    drawn = {path.stem for path in results.glob("plot/*.png")}
    assert drawn == set(small(library)["plot"])
    assert gathered(results) == project.undisturbed
    again = snakemake(folder, "--configfile", config, root=root)
    assert again.returncode == 0
    assert "Nothing to be done" in again.stdout + again.stderr


def test_without_snakemakes_records_the_times_decide(project):
    shutil.rmtree(project.folder / ".snakemake")
    assert project.due() == {}


def test_results_that_lost_their_times_are_adopted(project):
    shutil.rmtree(project.folder / ".snakemake")
    paths = sorted(path for path in project.results.rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in paths}
    random.Random(1).shuffle(paths)
    now = time.time()
    for age, path in enumerate(paths):
        os.utime(path, (now - age, now - age))
    assert "train_shard" in project.due()
    config = write(project.folder, project.study, "edited.yaml")
    adopt = ["adopt", config, "--directory", project.folder]
    assert project.begin(project.root, "isoloss", *adopt).wait(300) == 0
    assert re.search(
        r"^the times of \d+ files are now in the order of their jobs$", project.output(), flags=re.M
    )
    assert project.due() == {}
    assert before == {path: path.read_bytes() for path in paths}
