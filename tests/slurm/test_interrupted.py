"""Whatever happens to jobs, nodes and head, no finished run is trained twice, and none is lost."""

import os
import signal
import time

import pytest
from cluster import until
from on_cluster import same

pytestmark = pytest.mark.slurm


def test_a_job_that_is_cancelled_is_sent_again(slow, here):
    head = slow.head()
    number, _ = slow.job_of("train_shard")
    slow.running()
    slow.cluster.run("scancel", number)
    slow.end(head)
    slow.finished_once(4)
    same(slow.results, here)


def test_a_node_is_drained_and_the_controller_restarted_in_the_middle(slow, here):
    head = slow.head()
    _, node = slow.job_of("train_shard")
    slow.running()
    slow.cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    slow.cluster.kill("slurmctld", signal.SIGTERM)
    time.sleep(8)  # so long that the head asks for states meanwhile
    slow.cluster.start_controller()
    slow.end(head)
    slow.cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    slow.finished_once(4)
    same(slow.results, here)


def test_a_slurmd_that_is_killed_takes_no_run_with_it(slow, here):
    head = slow.head()
    _, node = slow.job_of("train_shard")
    slow.running()
    slow.cluster.kill(node)
    slow.end(head)
    slow.cluster.start_node(node)
    slow.cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
    until(lambda: set(slow.cluster.states().values()) == {"idle"}, "both nodes are idle again")
    slow.finished_once(4)
    same(slow.results, here)


def test_ctrl_c_cancels_the_jobs_and_the_same_command_goes_on(slow, here):
    head = slow.head()
    slow.job_of("train_shard")
    slow.running()
    os.killpg(head.pid, signal.SIGINT)
    slow.end(head, code=1)
    until(lambda: not slow.cluster.jobs(), "no job is left")
    assert slow.isoloss("leftovers") == "no jobs of this study are in the queue\n"
    slow.run()
    slow.finished_once(4)
    same(slow.results, here)


def test_sigterm_waits_for_the_jobs_that_run(slow, here):
    head = slow.head()
    slow.job_of("train_shard")
    slow.running()
    head.send_signal(signal.SIGTERM)
    slow.end(head, code=1)
    slow.run()
    slow.finished_once(4)
    same(slow.results, here)


def test_a_head_that_is_killed_leaves_jobs_which_are_found_and_cancelled(slow, here):
    head = slow.head()
    number, _ = slow.job_of("train_shard")
    slow.running()
    os.killpg(head.pid, signal.SIGKILL)
    head.wait()
    assert number in slow.isoloss("leftovers")
    slow.isoloss("leftovers", "--cancel")
    until(lambda: not slow.cluster.jobs(), "no job is left")
    slow.run("--unlock")
    slow.run()
    slow.finished_once(4)
    same(slow.results, here)
