"""One cluster for all tests, and the results of the same studies run here."""

import os

import pytest
from cluster import Cluster, missing
from on_cluster import PLUGIN, PROGRAM, OnCluster, programs
from running import snakemake, write

INTERRUPTED = {"study": "slow", "train": {"slow": programs()}}


@pytest.fixture(scope="session")
def cluster(tmp_path_factory):
    """A SLURM of two nodes; all that it started is gone at the end."""
    assert missing() == [], "install the packages slurm-wlm and munge"
    assert os.environ.get(PLUGIN), "run `make test-slurm`, which installs the executor plugin"
    cluster = Cluster(tmp_path_factory.mktemp("cluster"))
    cluster.start()
    yield cluster
    cluster.stop()
    assert cluster.processes() == []


@pytest.fixture(scope="session")
def here(tmp_path_factory):
    """The results of the study that is interrupted, run without a cluster."""
    folder = tmp_path_factory.mktemp("here")
    (folder / "train.py").write_text(PROGRAM)
    process = snakemake(folder, "--configfile", write(folder, INTERRUPTED), cold=True)
    assert process.returncode == 0, process.stdout + process.stderr
    return folder / "results/slow"


@pytest.fixture
def slow(tmp_path, cluster):
    """A study of four runs of four seconds, in a folder of its own."""
    yield OnCluster(tmp_path, cluster, INTERRUPTED)
    for number in cluster.jobs():
        cluster.run("scancel", number)
