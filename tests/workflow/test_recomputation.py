"""Only what changed is computed again, and no finished run is trained twice."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml
from running import ROOT, snakemake, write

from isoloss.store import Store

NOTHING: dict[str, int] = {}


@pytest.fixture
def project(finished, tmp_path):
    """A copy of the project and of the tiny study's results, with their times."""
    folder, config, _ = finished
    root = tmp_path / "project"
    for part in ("workflow", "profiles", "envs"):
        shutil.copytree(ROOT / part, root / part)
    for file in ("Snakefile", "config.yaml"):
        shutil.copy2(ROOT / file, root / file)
    shutil.copytree(folder, tmp_path / "study")
    return Project(root, tmp_path / "study", yaml.safe_load(Path(config).read_text()))


class Project:
    """What a person does to a project: edit the study or the code, look, run."""

    def __init__(self, root, folder, study):
        self.root, self.folder, self.study = root, folder, study
        self.library = root / "workflow" / "isoloss"
        self.store = Store(folder / "results" / "tiny" / "store")

    def edit(self, file, before, after):
        path = self.library / file
        text = path.read_text(encoding="utf-8")
        assert before in text
        path.write_text(text.replace(before, after, 1), encoding="utf-8")

    def call(self, *arguments):
        config = write(self.folder, self.study, "edited.yaml")
        done = snakemake(self.folder, *arguments, "--configfile", config, root=self.root)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def due(self):
        """Rule to number of jobs that a dry run announces, the target `all` left out."""
        said = self.call("-n")
        counts = {rule: int(n) for rule, n in re.findall(r"^(\w+) +(\d+)$", said, flags=re.M)}
        assert counts or "Nothing to be done" in said
        return {rule: n for rule, n in counts.items() if rule not in ("all", "total")}

    def starts(self):
        return [line["run_id"] for line in self.store.journal() if line["event"] == "start"]


def nothing(project):
    """As it is."""


def touched(project):
    """Every source file has a new time."""
    for path in project.root.rglob("*"):
        os.utime(path)


def reordered(project):
    """The study's keys stand in another order."""

    def turned(value):
        if isinstance(value, dict):
            return {k: turned(v) for k, v in reversed(value.items())}
        return value

    order = project.study["plot"]
    project.study = turned(project.study)
    project.study["plot"] = {name: project.study["plot"][name] for name in order}


def commented(project):
    """Comments and docstrings are edited."""
    project.edit("train/run.py", "    marks =", "    # where the curve has its points\n    marks =")
    project.edit("fit/law.py", '"""Fit a law to runs: the room', '"""Fit one law to runs: the room')
    project.edit("figures/isoloss.py", '"""The N-D plane', '"""A picture of the N-D plane')


def styled(project):
    """A figure's code is edited."""
    project.edit("figures/isoloss.py", "linewidth=2,", "linewidth=3,")


def reset(project):
    """A figure's option is edited."""
    project.study["plot"]["isoloss"]["options"] = {"reach": 3}


def refitted(project):
    """A law's setting is edited."""
    project.study["fit"]["power_law"]["delta"] = 0.01


def recarded(project):
    """A law's code is edited."""
    project.edit("laws/power_law.py", "-7.0, 5.0", "-8.0, 5.0")


def one_more_law(project):
    """A law is added."""
    project.study["fit"]["in_d"] = {
        "card": "power_law",
        "options": {"variable": "D"},
        "sweep": "grid",
    }


def drawn_again(project):
    """Code of the plot room is edited."""
    project.edit("plot/draw.py", "out = Path(out)", "out = Path(str(out))")


FIGURES = 5
CHANGES = [
    (nothing, NOTHING),
    (touched, NOTHING),
    (reordered, NOTHING),
    (commented, NOTHING),
    (styled, {"plot_figure": 1}),
    (reset, {"plot_figure": 1}),
    (refitted, {"fit_law": 1, "plot_figure": 1, "write_summary": 1}),
    (recarded, {"fit_law": 1, "plot_figure": 1, "write_summary": 1}),
    (one_more_law, {"fit_law": 1, "write_summary": 1}),
    (drawn_again, {"plot_figure": FIGURES}),
]


@pytest.mark.parametrize(("change", "jobs"), CHANGES, ids=[c.__name__ for c, _ in CHANGES])
def test_a_change_makes_exactly_these_jobs_due(project, change, jobs):
    change(project)
    assert project.due() == jobs


def test_one_more_size_trains_the_new_runs_and_only_them(project):
    before = project.starts()
    project.study["train"]["grid"]["cells"].append({"n_flops": 6e7, "d_model": 10})
    project.call("runs")
    (new,) = project.starts()[len(before) :]
    assert "-d10-" in new


def test_a_changed_weighting_trains_only_the_runs_that_use_it(project):
    before = project.starts()
    project.study["expand"]["docstring_x2"]["kind"]["docstring"] = 3.0
    project.call("runs")
    assert {run.partition("-")[0] for run in project.starts()[len(before) :]} == {"docstring_x2"}
    assert len(project.starts()) == len(before) + 2


def test_lost_tables_are_gathered_from_the_store_and_the_same(project):
    runs = project.folder / "results/tiny/aggregate/grid/runs.parquet"
    before, was = project.starts(), runs.read_bytes()
    shutil.rmtree(project.folder / "results/tiny/train")
    shutil.rmtree(project.folder / "results/tiny/aggregate")
    project.call("runs")
    assert project.starts() == before
    assert runs.read_bytes() == was


def test_an_edit_of_reading_and_writing_trains_nothing(project):
    before = project.starts()
    project.edit("tables.py", 'compression="zstd"', 'compression="snappy"')
    assert project.due()["train_shard"] == 2
    project.call("runs")
    assert project.starts() == before


def test_an_edit_of_the_optimiser_trains_everything(project):
    before = project.starts()
    project.edit("train/run.py", "betas=(", "eps=1e-7, betas=(")
    project.call("runs")
    assert sorted(project.starts()) == sorted(before * 2)


def test_after_a_kill_no_finished_run_is_started_again_and_the_tables_are_the_same(
    project, tmp_path
):
    whole = project.folder / "results/tiny/aggregate/grid/runs.parquet"
    was = whole.read_bytes()
    shutil.rmtree(project.folder / "results")
    shutil.rmtree(project.folder / ".snakemake")
    config = write(project.folder, project.study, "edited.yaml")
    command = [sys.executable, "-m", "snakemake", "-s", str(project.root / "Snakefile")]
    command += ["--directory", str(project.folder), "--cores", "2", "runs", "--configfile", config]
    environment = {**os.environ, "PYTHONPATH": str(project.root / "workflow")}
    head = subprocess.Popen(
        command,
        cwd=project.root,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 120
    while sum(line["event"] == "end" for line in project.store.journal()) < 3:
        assert time.monotonic() < deadline
        assert head.poll() is None
        time.sleep(0.05)
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    ended = {line["run_id"] for line in project.store.journal() if line["event"] == "end"}
    started = len(project.starts())
    project.call("--unlock")
    project.call("runs")
    assert not ended & set(project.starts()[started:])
    assert whole.read_bytes() == was
