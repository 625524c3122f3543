"""Python programs without the seconds of their imports: forks of a server that has those done.

A program that is started warm is a process of its own, with its own arguments, folder,
environment, files and exit code. It differs from one that is started cold in this only: packages of
other projects are imported already (isoloss is not: each start imports it from where PYTHONPATH
says), the hash seed is that of the server, and so is the parent. A test of signals and process
groups, of how Python encodes what it prints, or of the same results from every start has to start
programs cold; for each kind of command and job some test does.

`run` starts a program warm. In a workflow that was started so, jobs are too: `python` is a small
program there that asks the same server.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import selectors
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TextIO

from warm_client import ask

# What isoloss and its workflow import of other projects, and what these import when first used.
PACKAGES = (
    "jsonschema",
    "matplotlib.backends.backend_agg",
    "matplotlib.backends.backend_pdf",
    "matplotlib.figure",
    "pandas",
    "pyarrow.compute",
    "pyarrow.parquet",
    "safetensors.torch",
    "scipy.linalg",
    "scipy.optimize",
    "scipy.special",
    "scipy.stats",
    "snakemake.cli",
    "snakemake.workflow",
    "threadpoolctl",
    "torch",
    "tqdm",
    "yte",
)

# `python` for jobs, there in milliseconds
CLIENT = """#!{python} -IS
import os, sys
if sys.argv[1:3] != ["-m", "isoloss"]:
    os.execv({python!r}, [{python!r}, *sys.argv[1:]])
sys.path.insert(0, {here!r})
from warm_client import ask
code = ask({address!r}, "isoloss", sys.argv[3:], os.getcwd(), dict(os.environ), (0, 1, 2))
if code < 0:
    os.kill(os.getpid(), -code)
os._exit(code)
"""


def serve(listener: socket.socket) -> dict | None:
    """Fork a child for every request and say how it ended, until stdin is closed.

    Returns:
        In a child, what was asked of it; in the server, None.
    """
    with listener, selectors.DefaultSelector() as events:
        events.register(0, selectors.EVENT_READ)
        events.register(listener, selectors.EVENT_READ)
        while True:
            for event, _ in events.select():
                if event.fileobj == 0:
                    return None
                if event.fileobj is listener:
                    connection, _ = listener.accept()
                    request = receive(connection)
                    if (pid := os.fork()) == 0:
                        connection.close()
                        for other in events.get_map().values():
                            if other.data:  # another child's
                                os.close(other.fd)
                                other.data[1].close()
                        return request
                    for fd in request["fds"]:
                        os.close(fd)
                    ended = os.pidfd_open(pid)
                    events.register(ended, selectors.EVENT_READ, (pid, connection))
                else:
                    pid, connection = event.data
                    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                    events.unregister(event.fd)
                    os.close(event.fd)
                    connection.sendall(str(code).encode())
                    connection.close()


def receive(connection: socket.socket) -> dict:
    """A request, with the descriptors of the child's standard files as `fds`."""
    begin, fds, _, _ = socket.recv_fds(connection, 1 << 16, 3)
    with connection.makefile("rb") as file:
        line = begin if begin.endswith(b"\n") else begin + file.readline()
    return json.loads(line) | {"fds": fds}


def become(request: dict, programs: str) -> None:
    """Make this process the program that was asked for, and run it.

    Args:
        request: what was asked.
        programs: folder of `python` for jobs.
    """
    for standard, fd in enumerate(request["fds"]):
        os.dup2(fd, standard)
        os.close(fd)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        setattr(sys, name, reopened(getattr(sys, name), number))
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv[1:] = request["arguments"]
    searched = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[:0] = [request["folder"], *(path for path in searched if path)]
    if request["module"] == "snakemake":  # it puts this one's folder first on the path of jobs
        sys.executable = f"{programs}/python"
    os._exit(exit_code(request["module"]))


def reopened(stream: TextIO, fd: int) -> TextIO:
    """A text stream like this one, for what the descriptor is now: a pipe, a file or a terminal."""
    return open(
        fd,
        mode="w" if stream.writable() else "r",
        buffering=1 if stream.line_buffering else -1,
        encoding=stream.encoding,
        errors=stream.errors,
        closefd=False,
    )


def exit_code(module: str) -> int:
    """Run a module as the program, to all that is done at an exit but freeing memory."""
    code = 0
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    except SystemExit as end:
        code = end.code or 0
        if isinstance(code, str):
            print(code, file=sys.stderr)
            code = 1
    except BaseException:
        traceback.print_exc()
        code = 1
    threading._shutdown()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    return code


@cache
def server() -> Path:
    """The folder of this process's server, which is started with the first use.

    In it are `socket`, its address, and `python` for jobs.
    """
    folder = Path(tempfile.mkdtemp(prefix="warm-"))
    facts = {"here": str(Path(__file__).parent), "address": str(folder / "socket")}
    program = folder / "python"
    program.write_text(CLIENT.format(python=sys.executable, **facts), encoding="utf-8")
    program.chmod(0o755)
    # as a workflow's jobs have it
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL", "GOTO")}
    process = subprocess.Popen(
        [sys.executable, __file__, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, **threads},
    )

    def stop() -> None:
        process.stdin.close()
        process.wait()
        process.stdout.close()
        shutil.rmtree(folder)

    atexit.register(stop)
    assert process.stdout.readline() == b"ready\n"
    return folder


def run(
    module: str,
    *arguments: str,
    folder: Path,
    environment: Mapping[str, str],
) -> subprocess.CompletedProcess:
    """Run `python -m MODULE` in a folder; its output as text.

    What Python itself reads when it starts has no effect: of the environment, PYTHONPATH only.
    """
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        with open(os.devnull, "rb") as nothing:
            fds = (nothing.fileno(), output.fileno(), errors.fileno())
            address = str(server() / "socket")
            code = ask(address, module, arguments, str(folder), dict(environment), fds)
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode())
    return subprocess.CompletedProcess([module, *arguments], code, *texts)


def main(folder: str) -> None:
    """Be the server; its socket is in the folder, beside `python`."""
    sys.path.remove(str(Path(__file__).parent))  # a program finds what it would find
    for package in PACKAGES:
        importlib.import_module(package)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/socket")
    listener.listen(64)
    assert threading.active_count() == 1  # but for Arrow's, which looks after forks itself
    gc.collect()
    gc.freeze()  # what is here already no child has to look through
    os.write(1, b"ready\n")
    request = serve(listener)
    if request is not None:
        become(request, folder)


if __name__ == "__main__":
    main(sys.argv[1])
