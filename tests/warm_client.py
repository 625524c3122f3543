"""Asks the server of warm.py to run a program; imports little, for it is a job's `python`."""

import json
import socket


def ask(address, module, arguments, folder, environment, fds):
    """Have a program run with these standard files; its exit code, or minus its signal.

    Args:
        address: of the server's socket.
        module: what `python -m` would run.
        arguments: of the program.
        folder: in which it works.
        environment: its variables.
        fds: descriptors of its stdin, stdout and stderr.
    """
    request = {
        "module": module,
        "arguments": list(arguments),
        "folder": folder,
        "environment": environment,
    }
    with socket.socket(socket.AF_UNIX) as server:
        server.connect(address)
        line = json.dumps(request).encode() + b"\n"
        sent = socket.send_fds(server, [line], fds)
        server.sendall(line[sent:])
        return int(server.recv(100))
