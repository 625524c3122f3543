"""The tiny study, run once for all tests that look at what it leaves."""

import sysconfig
from pathlib import Path

import pytest
from running import snakemake, tiny, write


@pytest.fixture(scope="session")
def source(tmp_path_factory) -> Path:
    """A small library: some modules of the standard library."""
    folder = tmp_path_factory.mktemp("library")
    stdlib = Path(sysconfig.get_path("stdlib"))
    for name in ("bisect", "heapq", "textwrap", "shlex", "queue", "sched", "fnmatch", "colorsys"):
        (folder / f"{name}.py").write_bytes((stdlib / f"{name}.py").read_bytes())
    return folder


@pytest.fixture(scope="session")
def finished(tmp_path_factory, source):
    """The tiny study, run once: folder, configfile, and what snakemake said."""
    folder = tmp_path_factory.mktemp("tiny study")  # a space in the path, as on many desktops
    config = write(folder, tiny(source))
    done = snakemake(folder, "--configfile", config)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder, config, done
