"""A real SLURM of two nodes on this machine, in a folder of its own; it ends what it started."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol")
NODES = ("n1", "n2")
_PATIENCE = 60.0  # seconds until a daemon answers
_CONF = """\
ClusterName=isoloss
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=sched_interval=1,bf_interval=1
MinJobAge=300
KillWait=30
SlurmdTimeout=10
ReturnToService=2
SlurmdParameters=config_overrides
MailProg=/bin/true
GresTypes=gpu
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} {node}
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} {node}
PartitionName=debug Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
_NODE = "CPUs=4 RealMemory=100000 Gres=gpu:2"
_GRES = "NodeName=n[1-2] Name=gpu File=/dev/null\nNodeName=n[1-2] Name=gpu File=/dev/zero\n"


def missing() -> list[str]:
    """The programs of SLURM that this machine lacks."""
    return [name for name in PROGRAMS if _program(name) is None]


def _program(name: str) -> str | None:
    return shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/sbin")


def until(condition: Callable[[], object], what: str, seconds: float = 120.0) -> None:
    """Wait for a condition; an error that says what did not happen."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(f"not within {seconds:g} s: {what}")
        time.sleep(0.1)


class Cluster:
    """The daemons of a cluster: munged, slurmctld, and a slurmd for each node.

    Args:
        folder: that it may fill.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.daemons: dict[str, subprocess.Popen] = {}
        self.environment = {
            **os.environ,
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
        }

    def start(self) -> None:
        """Start all daemons and wait until both nodes are idle."""
        self._write()
        try:
            self._start_munge()
            self.start_controller()
            for node in NODES:
                self.start_node(node)
            until(lambda: self.states() == dict.fromkeys(NODES, "idle"), "two nodes are idle")
        except BaseException as error:
            error.add_note(self.logs())
            self.stop()
            raise

    def _write(self) -> None:
        for name in ("state", *(f"spool.{node}" for node in NODES)):
            (self.folder / name).mkdir()
        conf = _CONF.format(
            host=socket.gethostname(), folder=self.folder, ports=_free_ports(3), node=_NODE
        )
        (self.folder / "slurm.conf").write_text(conf)
        (self.folder / "gres.conf").write_text(_GRES)
        (self.folder / "bin").mkdir()
        srun = self.folder / "bin/srun"  # the executor's jobs forget SLURM_CONF
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {_program("srun")} "$@"\n'
        )
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)

    def _start_munge(self) -> None:
        at = {name: self.folder / f"munge.{name}" for name in ("socket", "pid", "seed", "log")}
        self._start(
            "munged",
            "--foreground",
            "--force",  # folders of tests are open to their owner only
            f"--key-file={self.folder / 'munge.key'}",
            f"--socket={at['socket']}",
            f"--pid-file={at['pid']}",
            f"--seed-file={at['seed']}",
            f"--log-file={at['log']}",
        )
        until(at["socket"].exists, "munged has a socket", _PATIENCE)

    def start_controller(self) -> None:
        """Start slurmctld; it goes on from what it saved."""
        self._start("slurmctld", "-D")
        until(lambda: self.run("scontrol", "ping").returncode == 0, "slurmctld answers", _PATIENCE)

    def start_node(self, node: str) -> None:
        """Start the slurmd of a node."""
        self._start("slurmd", "-D", "-N", node, called=node)

    def _start(self, program: str, *arguments: str, called: str | None = None) -> None:
        path = _program(program)
        assert path is not None, f"{program} is not installed"
        with (self.folder / f"{called or program}.out").open("ab") as output:
            self.daemons[called or program] = subprocess.Popen(
                [path, *arguments],
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # Ctrl-C of the tests is not theirs
            )

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        """End a daemon: `slurmctld`, `munged`, or a node."""
        daemon = self.daemons.pop(name)
        daemon.send_signal(how)
        daemon.wait(_PATIENCE)

    def run(self, *command: str) -> subprocess.CompletedProcess:
        """Run a command of SLURM against this cluster."""
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=_PATIENCE
        )

    def states(self) -> dict[str, str]:
        """The state of every node."""
        lines = self.run("sinfo", "--Node", "--noheader", "--format=%N %t").stdout.splitlines()
        return dict(line.split() for line in lines)

    def jobs(self) -> dict[str, tuple[str, str, str]]:
        """The jobs in the queue: id to name, state and node."""
        lines = self.run("squeue", "--noheader", "--format=%i|%j|%T|%N").stdout.splitlines()
        return {number: tuple(rest) for number, *rest in (line.split("|") for line in lines)}

    def processes(self) -> list[int]:
        """The processes on this machine that belong to this cluster, daemons and jobs."""
        mark = f"SLURM_CONF={self.folder / 'slurm.conf'}".encode()
        return [
            pid for pid in map(int, filter(str.isdigit, os.listdir("/proc"))) if _has(pid, mark)
        ]

    def stop(self) -> None:
        """Cancel all jobs, end all daemons, and kill what is left of this cluster."""
        if "slurmctld" in self.daemons:
            self.run("scancel", "--signal=KILL", "--full", "--me")
            self.run("scancel", "--me")
        for name in (*NODES, "slurmctld", "munged"):
            if name in self.daemons:
                self.kill(name, signal.SIGTERM)
        for pid in self.processes():
            if pid != os.getpid():
                _kill(pid)
        until(lambda: not self.processes(), "all processes of the cluster are gone", _PATIENCE)

    def logs(self) -> str:
        """The end of what every daemon wrote."""
        files = sorted([*self.folder.glob("*.log"), *self.folder.glob("*.out")])
        tails = ("\n".join(file.read_text(errors="replace").splitlines()[-15:]) for file in files)
        return "\n".join(
            f"--- {file.name}\n{tail}" for file, tail in zip(files, tails, strict=True)
        )


def _free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def _has(pid: int, variable: bytes) -> bool:
    try:
        return variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or is somebody else's
        return False


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
