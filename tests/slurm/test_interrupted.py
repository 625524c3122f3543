"""Whatever happens to jobs, nodes and head, no finished run is trained twice, and none is lost."""

import os
import signal
import time
from contextlib import contextmanager

import pytest
from cluster import until
from on_cluster import same

pytestmark = pytest.mark.slurm


@pytest.fixture
def in_the_middle(slow, here):
    """A block that begins while runs are trained; after it all runs have finished once, as here."""

    @contextmanager
    def begun():
        head = slow.head()
        number, node = slow.job_of("train_shard")
        slow.running()
        yield head, number, node
        slow.finished_once(4)
        same(slow.results, here)

    return begun


def test_a_job_that_is_cancelled_is_sent_again(slow, in_the_middle):
    with in_the_middle() as (head, number, _):
        slow.cluster.run("scancel", number)
        slow.end(head)


def test_a_node_is_drained_and_the_controller_restarted_in_the_middle(slow, in_the_middle):
    with in_the_middle() as (head, _, node):
        slow.cluster.run("scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
        slow.cluster.kill("slurmctld", signal.SIGTERM)
        time.sleep(8)  # so long that the head asks for states meanwhile
        slow.cluster.start_controller()
        slow.end(head)
        slow.cluster.run("scontrol", "update", f"nodename={node}", "state=resume")


def test_a_slurmd_that_is_killed_takes_no_run_with_it(slow, in_the_middle):
    with in_the_middle() as (head, _, node):
        slow.cluster.kill(node)
        slow.end(head)
        slow.cluster.start_node(node)
        slow.cluster.run("scontrol", "update", f"nodename={node}", "state=resume")
        until(lambda: set(slow.cluster.states().values()) == {"idle"}, "both nodes are idle again")


def test_ctrl_c_cancels_the_jobs_and_the_same_command_goes_on(slow, in_the_middle):
    with in_the_middle() as (head, _, _):
        os.killpg(head.pid, signal.SIGINT)
        slow.end(head, code=1)
        until(lambda: not slow.cluster.jobs(), "no job is left")
        assert slow.isoloss("leftovers") == "no jobs of this study are in the queue\n"
        slow.run()


def test_sigterm_waits_for_the_jobs_that_run(slow, in_the_middle):
    with in_the_middle() as (head, _, _):
        head.send_signal(signal.SIGTERM)
        slow.end(head, code=1)
        slow.run()


def test_a_head_that_is_killed_leaves_jobs_which_are_found_and_cancelled(slow, in_the_middle):
    with in_the_middle() as (head, number, _):
        os.killpg(head.pid, signal.SIGKILL)
        head.wait()
        assert number in slow.isoloss("leftovers")
        slow.isoloss("leftovers", "--cancel")
        until(lambda: not slow.cluster.jobs(), "no job is left")
        slow.run("--unlock")
        slow.run()
