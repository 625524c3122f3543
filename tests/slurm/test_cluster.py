"""The cluster of the tests itself: it works, and leaves nothing."""

import subprocess

import pytest
from cluster import Cluster, until

pytestmark = pytest.mark.slurm


def test_a_cluster_runs_jobs_with_gpus_and_ends_all_that_it_started(tmp_path):
    bystander = subprocess.Popen(["sleep", "60"])
    cluster = Cluster(tmp_path)
    cluster.start()
    try:
        assert cluster.states() == {"n1": "idle", "n2": "idle"}
        job = cluster.run(
            "srun", "--gpus=2", "sh", "-c", "echo $SLURMD_NODENAME $CUDA_VISIBLE_DEVICES"
        )
        assert job.stdout.split() == ["n1", "0,1"]
        cluster.run("sbatch", "--output=/dev/null", "--wrap", "sleep 61")
        until(lambda: [state for _, state, _ in cluster.jobs().values()] == ["RUNNING"], "it runs")
    finally:
        cluster.stop()
    assert cluster.processes() == []
    assert bystander.poll() is None
    bystander.kill()
    bystander.wait()
