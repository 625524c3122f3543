"""Download from an http or https address within a limit of time and size.

No text of a library's exception and nothing that a server sends is repeated: both can contain the
address, and an address can contain a password.
"""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from urllib.error import URLError
from urllib.parse import quote, urljoin
from urllib.request import HTTPHandler, HTTPSHandler, OpenerDirector, ProxyHandler, Request

from isoloss.core.addresses import Address, target

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 10
_CHUNK = 1 << 16
_ENCODINGS = ("", "identity", "gzip", "x-gzip")
_CHECK = "check the address"
_SPELLED = "remove spaces and line ends, and write special characters as %XX (/ is %2F)"
_NETWORK = "check the address and the network, or give the path of a copy"
_ANSWERS = {
    401: "check user, password or token, and the variables they come from",
    403: "check what this user or token may read",
    404: _CHECK,
    407: "check the proxy",
    429: "wait, and try again",
}


class DownloadError(Exception):
    """A download failed; the message does not contain the address.

    Args:
        found: what is wrong.
        remedy: what to do.
        away: whether the host could not be reached at all.
    """

    def __init__(self, reason: str, remedy: str, away: bool = False):
        super().__init__(reason)
        self.found, self.remedy, self.away = reason, remedy, away


class TooLongError(DownloadError):
    """The time limit was reached."""


class TooLargeError(DownloadError):
    """The limit of size was reached."""


def download(address: Address, max_seconds: float, max_bytes: int) -> bytes:
    """The bytes at an address.

    Args:
        address: http or https.
        max_seconds: in all.
        max_bytes: most bytes of the body.

    Raises:
        DownloadError: with the reason.
    """
    parts: list[bytes] = []
    download_to(parts.append, address, max_seconds, max_bytes)
    return b"".join(parts)


def download_to(
    write: Callable[[bytes], object], address: Address, max_seconds: float, max_bytes: int
) -> None:
    """Pass the bytes at an address to `write`, piece by piece.

    The whole of it, name lookup, connection, headers, redirects and body together, ends after
    `max_seconds`, whatever a server does.

    Args:
        write: called with each piece, in order, from another thread. What was written before an
            error is not the whole.
        address: http or https.
        max_seconds: in all.
        max_bytes: most bytes of the body.

    Raises:
        DownloadError: with the reason.
    """
    work = _Download(address.real, max_seconds, max_bytes, write)
    thread = threading.Thread(target=work.run, daemon=True)
    thread.start()
    try:
        thread.join(max_seconds)
        late = thread.is_alive()
    finally:  # also after Ctrl-C
        work.stop()
    if late:
        raise TooLongError("it takes too long", "")
    if work.error is not None:
        raise work.error from None


class _Download:
    """A download in its own thread, so that a call that hangs does not block the caller."""

    def __init__(
        self, url: str, max_seconds: float, max_bytes: int, write: Callable[[bytes], object]
    ):
        self.url, self.max_bytes, self.write = url, max_bytes, write
        self.end = time.monotonic() + max_seconds
        self.error: Exception | None = None
        self.sockets: list[socket.socket] = []
        # without handlers of ftp, files and redirects, which would be followed unchecked
        self.opener = OpenerDirector()
        for handler in (ProxyHandler(), _Http(self.sockets), _Https(self.sockets)):
            self.opener.add_handler(handler)

    def run(self) -> None:
        """Write the body, or set `error`."""
        try:
            self.follow()
        except Exception as error:  # raised again in the thread that called `download_to`
            self.error = error

    def stop(self) -> None:
        """Close the connections that still wait for a server."""
        for connected in list(self.sockets):
            with suppress(OSError):  # closed already
                connected.shutdown(socket.SHUT_RDWR)

    def follow(self) -> None:
        """Write the body after following redirects; credentials go only to their own host."""
        url, plain = self.url, None
        seen: set[str] = set()
        while len(seen) <= _MOST_REDIRECTS:
            try:
                url = url if plain is None else _joined(plain, url)
                plain, origin, credentials = target(url)
            except ValueError:
                where = "it redirects to something that is not" if seen else "it is not"
                reason = f"{where} a valid address of http or https"
                raise DownloadError(reason, _CHECK if seen else _SPELLED) from None
            if not seen:
                first, headers = origin, credentials
            if first.startswith("https:") and not origin.startswith("https:"):
                raise DownloadError("it redirects from https to http", _CHECK)
            if plain in seen:
                raise DownloadError("it redirects in a circle", _CHECK)
            seen.add(plain)
            url = self.ask(plain, headers if origin == first else {})
            if url is None:
                return
        raise DownloadError(f"it redirects more than {_MOST_REDIRECTS} times", _CHECK)

    def ask(self, url: str, headers: dict[str, str]) -> str | None:
        """The target that an address redirects to; None after its body was written."""
        plain = {"Accept": "*/*", "Accept-Encoding": "identity", "User-Agent": "isoloss"}
        request = Request(url, headers=plain | headers)
        left = max(self.end - time.monotonic(), 0.01)
        try:
            response = self.opener.open(request, timeout=left)
            if response is None:  # a proxy with another scheme than http
                raise DownloadError("the proxy of this machine is not an http proxy", _NETWORK)
            with response:
                if response.status in _REDIRECTS and response.headers.get("Location"):
                    return response.headers["Location"]
                _check_answer(response)
                self.body(response)
                return None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _in_words(error) from None

    def body(self, response: http.client.HTTPResponse) -> None:
        """Write the whole body, unless it exceeds the limit of size or time."""
        length = response.length
        if length is not None and length > self.max_bytes:
            raise TooLargeError("it has too many bytes", "")
        size = 0
        while part := response.read1(_CHUNK):
            size += len(part)
            if size > self.max_bytes:
                raise TooLargeError("it has too many bytes", "")
            self.write(part)
            if time.monotonic() > self.end:
                raise TooLongError("it takes too long", "")
        if length is not None and size < length:
            reason = f"the transfer stopped early: {size} of {length} bytes arrived"
            raise DownloadError(reason, "try again")


class _HttpConnection(http.client.HTTPConnection):
    """A connection whose socket is noted, so that it can be ended."""

    sockets: list[socket.socket]

    def connect(self):
        super().connect()
        self.sockets.append(self.sock)


class _HttpsConnection(http.client.HTTPSConnection):
    """The same, encrypted."""

    sockets: list[socket.socket]

    def connect(self):
        super().connect()
        self.sockets.append(self.sock)


class _Http(HTTPHandler):
    """http, with connections that can be ended."""

    def __init__(self, sockets: list[socket.socket]):
        super().__init__()
        self.kind = type("Connection", (_HttpConnection,), {"sockets": sockets})

    def http_open(self, request):
        return self.do_open(self.kind, request)


class _Https(HTTPSHandler):
    """https, with connections that can be ended; certificates are checked, as by default."""

    def __init__(self, sockets: list[socket.socket]):
        super().__init__()
        self.kind = type("Connection", (_HttpsConnection,), {"sockets": sockets})

    def https_open(self, request):
        return self.do_open(self.kind, request)


def _joined(base: str, onward: str) -> str:
    """The target of a redirect; characters beyond ASCII, which are not allowed, are escaped."""
    return urljoin(base, quote(onward.strip(), safe="%/:=&?~+!$,;'@()*[]#", encoding="latin-1"))


def _check_answer(response: http.client.HTTPResponse) -> None:
    """Raise an error unless the server's response can contain a table."""
    status = response.status
    if status not in (200, 203):
        words = http.client.responses.get(status, "")
        again = "try again later" if status >= 500 else _CHECK
        reason = f"the server answers {status} {words}".rstrip()
        raise DownloadError(reason, _ANSWERS.get(status, again))
    if response.headers.get("Content-Encoding", "").strip().lower() not in _ENCODINGS:
        reason = "the server compressed it with a method that was not requested (Content-Encoding)"
        raise DownloadError(reason, "give an address of plain or gzip data")


def _in_words(error: Exception) -> DownloadError:
    """A message for a library's error, without the library's own text, which may hold secrets."""
    reason = error.reason if isinstance(error, URLError) else error
    if isinstance(reason, TimeoutError):
        return TooLongError("it takes too long", "")
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError("the server's certificate is not valid for it", _NETWORK)
    if isinstance(reason, ssl.SSLError):
        return DownloadError("the encrypted connection (TLS) failed", _NETWORK)
    if isinstance(reason, socket.gaierror):
        return DownloadError("the host is not known", _NETWORK, away=True)
    if isinstance(reason, http.client.IncompleteRead):
        return DownloadError("the transfer stopped early", "try again")
    if isinstance(reason, ConnectionRefusedError):
        return DownloadError("the host refuses the connection", _NETWORK, away=True)
    if isinstance(reason, ConnectionError):  # RemoteDisconnected among them
        return DownloadError("the connection was broken off", "try again")
    if isinstance(reason, http.client.HTTPException | ValueError):
        explanation = f"the server's response is not valid HTTP ({type(reason).__name__})"
        return DownloadError(explanation, _CHECK)
    return DownloadError(f"the host cannot be reached ({type(reason).__name__})", _NETWORK, True)
