"""The tiny study, run once for all tests that look at what it leaves."""

import fcntl
import shutil
import sysconfig
from pathlib import Path

import pytest
from finished_results import Results, damage_file
from running import snakemake, tiny, write

MODULES = ("bisect", "heapq", "textwrap", "shlex", "queue", "sched", "fnmatch", "colorsys")


@pytest.fixture(scope="session")
def made_once(tmp_path_factory, worker_id):
    """A maker of folders that all workers share: the first worker fills one, the others wait."""
    base = tmp_path_factory.getbasetemp()
    base = base if worker_id == "master" else base.parent

    def make(name: str, fill) -> Path:
        folder, marker = base / name, base / f"{name}.made"
        with (base / f"{name}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not marker.exists():
                folder.mkdir()
                fill(folder)
                marker.touch()
        return folder

    return make


@pytest.fixture(scope="session")
def source(made_once) -> Path:
    """A small library: some modules of the standard library."""

    def fill(folder):
        for name in MODULES:
            shutil.copyfile(
                Path(sysconfig.get_path("stdlib")) / f"{name}.py", folder / f"{name}.py"
            )

    return made_once("library", fill)


@pytest.fixture(scope="session")
def finished(made_once, source, tmp_path_factory):
    """The tiny study, run once for all workers: a copy's folder, configfile and printed output."""

    def fill(folder):
        process = snakemake(folder, "--configfile", write(folder, tiny(source)))
        output = process.stdout + process.stderr
        assert process.returncode == 0, output
        (folder / "output.txt").write_text(output, encoding="utf-8")

    made = made_once("tiny study", fill)  # a space in the path, as on many desktops
    folder = tmp_path_factory.mktemp("finished") / "tiny study"
    shutil.copytree(made, folder)
    return folder, write(folder, tiny(source)), (folder / "output.txt").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def shared(finished, tmp_path_factory):
    """Results that every test leaves as they were."""
    return Results(tmp_path_factory.mktemp("shared"), finished)


@pytest.fixture
def results(finished, tmp_path):
    """Results that belong to one test."""
    return Results(tmp_path, finished)


@pytest.fixture
def damage_shared(shared):
    """Damage a file of the shared results until the test ends."""
    before = {}

    def damage_until_the_end(pattern, damage):
        path, before[path] = damage_file(shared, pattern, damage)
        return path

    yield damage_until_the_end
    for path, whole in before.items():
        path.write_bytes(whole)
