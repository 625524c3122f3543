"""A web server whose every byte a test decides."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress


def answer(body: bytes | str, status: str = "200 OK", **headers: str) -> bytes:
    """A whole answer of HTTP; `Content_Length` and the like are headers."""
    body = body.encode() if isinstance(body, str) else body
    headers = {"Content_Length": str(len(body)), **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items() if value]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


class Site:
    """A server on loopback, to be used in a `with`.

    Args:
        answers: path to what is sent: bytes, or a function from the number of the request (from
            0) to bytes or to pieces of bytes.
        encryption: of an https server.

    Attributes:
        requests: the head of every request, as it came.
    """

    def __init__(
        self,
        answers: dict[str, bytes | Callable[[int], bytes | Iterable[bytes]]],
        encryption: ssl.SSLContext | None = None,
    ):
        self.answers, self.encryption = answers, encryption
        self.requests: list[str] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self._threads: list[threading.Thread] = []
        self._closed = threading.Event()

    def __enter__(self) -> Site:
        self._start(self._serve)
        return self

    def __exit__(self, *_):
        self._closed.set()
        with suppress(OSError):  # Linux wakes up `accept`
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for thread in self._threads:
            thread.join(10)

    def wait(self, seconds: float) -> None:
        """Wait, or until the site is closed: for answers that are slow."""
        self._closed.wait(seconds)

    def _start(self, work, *arguments) -> None:
        self._threads.append(threading.Thread(target=work, args=arguments, daemon=True))
        self._threads[-1].start()

    def _serve(self) -> None:
        while not self._closed.is_set():
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            self._start(self._answer, connection)

    def _answer(self, connection: socket.socket) -> None:
        with connection, suppress(OSError):  # the other side has gone
            connection.settimeout(30)
            if self.encryption is not None:
                connection = self.encryption.wrap_socket(connection, server_side=True)
            head = b""
            while b"\r\n\r\n" not in head:
                if not (more := connection.recv(4096)):
                    return
                head += more
                if head[:1] == b"\x16":  # a handshake of TLS
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
                    return
            self.requests.append(head.decode("latin-1"))
            path = self.requests[-1].split(" ")[1].partition("?")[0]
            content = self.answers.get(path, answer("nothing here", "404 Not Found"))
            if callable(content):
                content = content(len(self.requests) - 1)
            for piece in [content] if isinstance(content, bytes) else content:
                if self._closed.is_set():
                    return
                connection.sendall(piece)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
