"""Kills, full and read-only disks, two at once, odd paths, lost records: nothing finished is lost.

After every fault the documented command gives the tables of an undisturbed run, and by the journal
no finished run was started again.
"""

import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from project import Project
from running import snakemake, tiny, write

from isoloss import tables
from isoloss.store import FINAL

RUNS = 20  # of the tiny study, in both sweeps
TABLES = ("runs", "losses", "curves", "mixtures")  # all that gather_sweep writes but `timing`


class Disturbed(Project):
    """A project to which something happens while it runs."""

    def __init__(self, home, finished):
        folder, config, _ = finished
        study = yaml.safe_load(Path(config).read_text(encoding="utf-8"))
        super().__init__(home, folder, study, "grid")
        self.wanted = gathered(self.results)

    def untrained(self):
        """Remove what training made, and all that is below it."""
        for name in ("store", "train", "aggregate", "fit", "plot"):
            shutil.rmtree(self.results / name)
        for name in ("summary.md", "summary.json", "provenance.json"):
            (self.results / name).unlink()
        return self

    def attempt(self, *arguments):
        """Run snakemake, whatever comes of it: exit code and what was said."""
        config = write(self.folder, self.study, "edited.yaml")
        done = snakemake(self.folder, *arguments, "--configfile", config, root=self.root)
        return done.returncode, done.stdout + done.stderr

    def begin(self, where, *command):
        """Start a command as the first of its process group, as a terminal does."""
        with (self.folder / "said.txt").open("ab") as said:
            return subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=where,
                env={**os.environ, "PYTHONPATH": str(self.root / "workflow")},
                stdout=said,
                stderr=said,
                process_group=0,
                # what is started in the background may have been told to ignore Ctrl-C
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            )

    def begin_runs(self):
        """Start snakemake on the runs."""
        config = write(self.folder, self.study, "edited.yaml")
        options = ["--directory", self.folder, "--configfile", config, "--cores", "2"]
        return self.begin(self.root, "snakemake", "runs", *options)

    def said(self):
        return (self.folder / "said.txt").read_text(encoding="utf-8")

    def logs(self):
        return "".join(f.read_text(encoding="utf-8") for f in (self.results / "logs").rglob("*"))

    def trainers(self):
        """Pids of `isoloss train` and of the children in which they train."""
        mine = {pid: ppid for pid, (ppid, words) in self.processes().items() if b"train" in words}
        jobs = {pid for pid, ppid in mine.items() if ppid not in mine}
        return jobs, {pid for pid, ppid in mine.items() if ppid in jobs}

    def processes(self):
        """Every process that works in this folder: parent and command line by pid."""
        found = {}
        for place in Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(place / "cwd") == str(self.folder):
                    ppid = place.joinpath("stat").read_text().rpartition(") ")[2].split()[1]
                    words = place.joinpath("cmdline").read_bytes().split(b"\0")
                    found[int(place.name)] = int(ppid), words
            except (OSError, IndexError):  # it has ended meanwhile
                continue
        return found


def gathered(results):
    """The bytes of all aggregate tables that hold no seconds."""
    names = [f"{sweep}/{table}.parquet" for sweep in ("grid", "short") for table in TABLES]
    return {name: (results / "aggregate" / name).read_bytes() for name in names}


def wait_for(happened, seconds=120):
    """What `happened()` gives once it is true."""
    deadline = time.monotonic() + seconds
    while not (found := happened()):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return found


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
    assert gathered(project.results) == project.wanted
    assert started_again(project.store.journal()) == []
    assert len(project.store.kept()) == RUNS
    assert not list(project.results.rglob("*.tmp"))


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the project and of the tiny study's results, with their times."""
    project = Disturbed(tmp_path, finished)
    yield project
    for pid in project.processes():  # only after a failed test: nobody else works in this folder
        os.kill(pid, signal.SIGKILL)


@pytest.fixture
def mount(request):
    """Mount at a folder, until the test is over."""

    def run(*command):
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"{command[0]} is not allowed here: {done.stderr.strip()}")

    def mounted(folder, *arguments):
        run("mount", *arguments, folder)
        request.addfinalizer(lambda: subprocess.run(["umount", folder], check=True))

    mounted.run = run
    return mounted


def kill_child(project, head):
    """Kill a process that trains one run; its job and snakemake go on to their end."""

    def one():
        assert head.poll() is None
        return project.trainers()[1]

    victim = min(wait_for(one))
    os.kill(victim, signal.SIGKILL)
    assert head.wait(120) == 0
    ended = [line for line in project.store.journal() if line["event"] == "end"]
    failed = [line for line in ended if line["status"] == "failed"]
    # it may have been on its way out, its run saved
    assert len(failed) == (victim not in {line["pid"] for line in ended if line not in failed})


def kill_head(project, head):
    """Kill snakemake and nothing else; its jobs go on without it."""
    os.kill(head.pid, signal.SIGKILL)
    head.wait()
    assert project.processes()
    project.call("--unlock")


def kill_all(project, head):
    """Kill snakemake with all that it started."""
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    wait_for(lambda: not project.processes())
    project.call("--unlock")


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
    lines, seconds = draw.randint(1, 30), draw.uniform(0, 0.5)
    head = project.untrained().begin_runs()
    wait_for(lambda: len(project.store.journal()) >= lines)
    time.sleep(seconds)
    kill(project, head)
    project.call("runs")
    wait_for(lambda: not project.processes())  # orphans too
    assert_undisturbed(project)
    assert project.attempt("runs", "-n")[1].count("Nothing to be done") == 1


def test_a_child_that_is_killed_after_its_run_was_saved_leaves_it_finished(project):
    project.untrained()
    saved = "        job.store.save(row, identity, **job.where)\n    except"
    killed = saved.replace("\n", "\n        os.kill(os.getpid(), signal.SIGKILL)\n", 1)
    project.edit("train/shard.py", saved, killed)
    project.call("runs")
    assert_undisturbed(project)
    assert len(project.starts()) == RUNS


def test_after_ctrl_c_the_same_command_goes_on(project):
    head = project.untrained().begin_runs()
    wait_for(lambda: len(project.store.journal()) >= 9)
    wait_for(lambda: project.trainers()[1])
    os.killpg(head.pid, signal.SIGINT)
    assert head.wait(60) != 0
    wait_for(lambda: not project.processes())
    events = project.store.journal()
    assert len(events) < 2 * RUNS
    assert "failed" not in {line.get("status") for line in events}  # no attempt is used up
    project.call("runs")
    assert_undisturbed(project)


# where a job breaks, how it is broken, and how many runs are saved by then in the four shards
BREAKS = {
    "between_two_runs": ("train/shard.py", "            if row is None:", "len(found) == 2", 8),
    "after_its_table": ("__main__.py", "    versions = shard[list(VERSIONS)]", "True", RUNS),
}


@pytest.mark.parametrize("where", BREAKS)
def test_a_job_that_breaks_loses_its_table_and_no_run(project, where):
    file, line, condition, saved = BREAKS[where]
    indent = line[: -len(line.lstrip())]
    broken = f'{indent}if {condition}:\n{indent}    raise SystemExit("broken here")\n{line}'
    project.untrained().edit(file, line, broken)
    code, said = project.attempt("runs")
    assert code != 0
    assert "broken here" in said
    assert not list(project.results.glob("train/*/*"))  # rolled back
    assert len(list(project.results.glob("store/*/run.parquet"))) == saved
    assert len(project.starts()) == saved
    project.edit(file, broken, line)
    project.call("runs")
    assert_undisturbed(project)
    assert len(project.starts()) == RUNS


@pytest.mark.parametrize("left", [0, 1, 5], ids="{} pages left".format)
def test_a_full_disk_stops_the_job_and_loses_nothing(project, mount, left):
    store = project.untrained().store
    store.root.mkdir()
    mount(store.root, "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs")
    head = project.begin_runs()
    wait_for(lambda: len(store.journal()) >= 4)
    space = os.statvfs(store.root)
    ballast = store.root / "ballast"
    with ballast.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, (space.f_bavail - left) * space.f_bsize)
    assert head.wait(120) != 0
    finished_runs = {path.parent.name for path in store.root.glob("*/run.parquet")}
    assert 0 < len(finished_runs) < RUNS
    assert all(store.find(digest)["status"] in FINAL for digest in finished_runs)
    assert not list(store.root.rglob("*.tmp"))
    for text in (project.logs(), project.said()):
        assert re.search(r"No space left on device", text)
        assert re.search(r"^isoloss train: .*results/tiny/store.* make room", text, flags=re.M)
        assert "Traceback" not in text
    ballast.unlink()
    project.call("runs")
    assert_undisturbed(project)


def times(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.parquet")}


def test_read_only_results_are_said_to_be_so_and_stay_as_they_are(project, mount):
    results = project.folder / "results"
    mount(results, "--bind", results)
    before = times(results)
    mount.run("mount", "-o", "remount,bind,ro", results)
    code, said = project.attempt()
    assert code == 0
    assert "Nothing to be done" in said
    project.study["plot"]["isoloss"]["options"] = {"reach": 3}
    code, said = project.attempt()
    assert code != 0
    assert "Read-only file system" in said
    mount.run("mount", "-o", "remount,bind,rw", results)
    assert times(results) == before
    project.call()
    changed = {path.name for path, when in times(results).items() if before[path] != when}
    assert changed == {"isoloss.parquet"}
    assert_undisturbed(project)


def test_a_second_snakemake_in_a_folder_refuses_and_the_first_finishes(project):
    head = project.untrained().begin_runs()
    wait_for(project.store.journal)
    code, said = project.attempt("runs")
    assert head.poll() is None
    assert code != 0
    assert "Directory cannot be locked" in said
    assert head.wait(120) == 0
    assert_undisturbed(project)
    assert len(project.starts()) == RUNS


def test_two_jobs_of_one_shard_train_every_run_once(project, tmp_path):
    below = "results/tiny"
    given = ["--study", f"{below}/config.yaml", "--sweep", "grid", "--shard", "0"]
    given += ["--plan", f"{below}/plan/grid/runs.parquet"]
    given += ["--rows", f"{below}/load/few/rows.parquet", "--store", f"{below}/store", "--index"]
    given += [f"{below}/expand/few/{name}/index.parquet" for name in ("natural", "docstring_x2")]
    wanted = tables.read(project.results / "train/grid/0.parquet", "shard")
    project.untrained()
    outs = [tmp_path / f"{name}.parquet" for name in ("one", "other")]
    jobs = [project.begin(project.folder, "isoloss", "train", *given, "--out", out) for out in outs]
    assert [job.wait(120) for job in jobs] == [0, 0]
    one, other = (tables.read(out, "shard") for out in outs)
    assert one.equals(other)  # even seconds: they are the store's
    assert one.drop_columns("seconds").equals(wanted.drop_columns("seconds"))
    assert sorted(project.starts()) == sorted(wanted["run_id"].to_pylist())


def test_paths_may_have_spaces_and_letters_of_any_script(source, project, tmp_path):
    root = project.root.rename(tmp_path / "le projet 源 ü")
    library = shutil.copytree(source, tmp_path / "bibliothèque 図書 館")
    folder = tmp_path / "été 研究 x"
    folder.mkdir()
    config = write(folder, tiny(library), "étude 一.yaml")
    done = snakemake(folder, "--configfile", config, root=root)
    assert done.returncode == 0, done.stdout + done.stderr
    results = folder / "results" / "tiny"
    drawn = {path.stem for path in results.glob("plot/*.png")}
    assert drawn == set(tiny(library)["plot"])
    assert gathered(results)["grid/runs.parquet"] == project.wanted["grid/runs.parquet"]
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
    assert project.begin(project.root, "isoloss", *adopt).wait(60) == 0
    assert re.search(r"^\d+ files have the times of their order$", project.said(), flags=re.M)
    assert project.due() == {}
    assert before == {path: path.read_bytes() for path in paths}
