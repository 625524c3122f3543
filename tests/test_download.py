"""Bytes from the web: whatever a server does, it ends, and nothing of an address is told."""

from __future__ import annotations

import itertools
import shutil
import ssl
import subprocess
import threading
import time

import pytest
from serving import Site, answer

from isoloss.core import download as downloads
from isoloss.core.addresses import Address
from isoloss.core.download import DownloadError, TooLargeError, TooLongError, download

CSV = b"size,seen,val_loss\n1,2,3\n"
MIB = 2**20


def get(url: str, max_seconds: float = 10, max_bytes: int = MIB) -> bytes:
    return download(Address.given(url), max_seconds, max_bytes)


def reason(answers, path: str = "/x.csv", **limits) -> DownloadError:
    with Site(answers) as site, pytest.raises(DownloadError) as error:
        get(site.url + path, **limits)
    return error.value


def chunked(*parts: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    """An answer in chunks."""
    body = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in parts) + end
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body


WHOLE = {
    "with a length": answer(CSV),
    "without one": b"HTTP/1.0 200 OK\r\n\r\n" + CSV,
    "in chunks": chunked(CSV[:5], CSV[5:]),
    "after a note": b"HTTP/1.1 100 Continue\r\n\r\n" + answer(CSV),
}


@pytest.mark.parametrize("content", WHOLE.values(), ids=WHOLE)
def test_the_bytes_come_as_they_were_sent_by_one_request(content):
    with Site({"/x.csv": content}) as site:
        assert get(f"{site.url}/x.csv?a=1#part") == CSV
        assert len(site.requests) == 1
    assert site.requests[0].startswith("GET /x.csv?a=1 HTTP/1.1\r\n")
    assert "Accept-Encoding: identity" in site.requests[0]


ANSWERS = {
    "401 Unauthorized": "401 Unauthorized",
    "403 Forbidden": "403 Forbidden",
    "404 Not Found": "404 Not Found",
    "500 Internal Server Error": "500 Internal Server Error",
    "204 No Content": "204 No Content",
    "206 Partial Content": "206 Partial Content",
    "302 Found": "302 Found",
    "404 sesame-42": "404 Not Found",
    "799 sesame-42": "799",
}


@pytest.mark.parametrize(("status", "message"), ANSWERS.items(), ids=ANSWERS)
def test_an_answer_that_is_not_a_table_is_told_in_our_own_words(status, message):
    error = reason({"/x.csv": answer(CSV, status)})
    assert error.found == f"the server answers {message}"
    assert error.remedy


SHORT = {
    "of its length": answer(CSV, Content_Length="1000"),
    "in a chunk": chunked(CSV, end=b"50\r\nabc"),
    "between chunks": chunked(CSV, end=b""),
}


@pytest.mark.parametrize("content", SHORT.values(), ids=SHORT)
def test_a_body_cut_short_is_told(content):
    assert "stopped early" in reason({"/x.csv": content}).found


NONSENSE = {
    "nothing": b"",
    "not HTTP": b"220 sesame-42 ready\r\n",
    "a long line": b"HTTP/1.1 200 " + b"x" * 100_000 + b"\r\n\r\n",
    "too many headers": answer(CSV, **{f"X_{i}": "y" for i in range(300)}),
    "broken chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nsesame-42\r\n",
}


@pytest.mark.parametrize("content", NONSENSE.values(), ids=NONSENSE)
def test_what_is_not_http_is_told_without_repeating_it(content):
    error = reason({"/x.csv": content})
    assert error.found and "sesame" not in error.found + error.remedy + repr(error)


def every(seconds: float, pieces, site: list) -> list:
    """Pieces with a pause behind each."""
    for piece in pieces:
        yield piece
        site[0].wait(seconds)


DRIPS = {
    "in the body": (answer(b"", Content_Length="100000"), itertools.repeat(b"1")),
    "in the head": (b"HTTP/1.1 200 OK\r\nX: ", itertools.repeat(b"y")),
    "of notes": (b"", itertools.repeat(b"HTTP/1.1 100 Continue\r\n\r\n")),
    "in a chunk's size": (chunked(end=b""), itertools.repeat(b"0")),
    "of lines behind the chunks": (chunked(end=b"0\r\n"), itertools.repeat(b"a: b\r\n")),
    "of nothing": (b"", itertools.repeat(b"")),
}


@pytest.mark.parametrize(("start", "drops"), DRIPS.values(), ids=DRIPS)
def test_a_server_that_drips_ends_with_the_time(start, drops):
    site: list = []
    pieces = itertools.chain([start], drops)
    with Site({"/x.csv": lambda _: every(0.1, pieces, site)}) as slow:
        site.append(slow)
        begun = time.monotonic()
        with pytest.raises(TooLongError):
            get(f"{slow.url}/x.csv", max_seconds=0.5)
        assert time.monotonic() - begun < 60


def test_slow_redirects_share_the_time():
    site: list = []

    def onward(number: int):
        site[0].wait(0.2)
        return answer("", "302 Found", Location=f"/{number + 1}")

    with Site({f"/{i}": onward for i in range(20)}) as slow:
        site.append(slow)
        with pytest.raises(TooLongError):
            get(f"{slow.url}/0", max_seconds=0.5)


def test_a_host_that_takes_no_connection_and_a_lookup_that_hangs_end_with_the_time(monkeypatch):
    end = threading.Event()
    monkeypatch.setattr(downloads.socket, "getaddrinfo", lambda *_, **__: end.wait(120))
    begun = time.monotonic()
    with pytest.raises(TooLongError):
        get("http://somewhere.invalid/x.csv", max_seconds=0.3)
    assert time.monotonic() - begun < 60
    end.set()


def endless(start: bytes, piece: bytes):
    return lambda _: itertools.chain([start], itertools.repeat(piece * 999))


ENDLESS = {
    "announced": answer(CSV, Content_Length=str(10**15)),
    "without a length": endless(b"HTTP/1.0 200 OK\r\n\r\n", CSV),
    "in chunks": endless(chunked(end=b""), b"5\r\n12345\r\n"),
}


@pytest.mark.parametrize("content", ENDLESS.values(), ids=ENDLESS)
def test_an_endless_body_ends_with_the_size(content):
    assert isinstance(reason({"/x.csv": content}, max_bytes=100_000), TooLargeError)


def test_exactly_the_size_is_not_too_large():
    with Site({"/x.csv": chunked(CSV)}) as site:
        assert get(f"{site.url}/x.csv", max_bytes=len(CSV)) == CSV
        with pytest.raises(TooLargeError):
            get(f"{site.url}/x.csv", max_bytes=len(CSV) - 1)


def moved(where: str, status: str = "302 Found") -> bytes:
    return answer("", status, Location=where)


def test_redirects_are_followed_relative_ones_too():
    answers = {
        "/a/x.csv": moved("../b/y.csv?q=1", "301 Moved Permanently"),
        "/b/y.csv": moved("/c d.csv", "307 Temporary Redirect"),
        "/c%20d.csv": answer(CSV),
    }
    with Site(answers) as site:
        assert get(f"{site.url}/a/x.csv") == CSV


REDIRECTS = {
    "to itself": ("/x.csv", "redirects in a circle"),
    "to a file": ("file:///etc/passwd", "redirects to something that is not"),
    "to ftp": ("ftp://user:sesame-42@host/x.csv", "redirects to something that is not"),
    "to data": ("data:text/csv,sesame-42", "redirects to something that is not"),
    "to nonsense": ("http://[sesame-42/x", "redirects to something that is not"),
    "to a bad port": ("http://host:sesame-42/x", "redirects to something that is not"),
}


@pytest.mark.parametrize(("where", "message"), REDIRECTS.values(), ids=REDIRECTS)
def test_a_redirect_that_leads_nowhere_is_told_without_where(where, message):
    error = reason({"/x.csv": moved(where)})
    assert message in error.found
    assert "sesame" not in error.found + error.remedy + repr(error)


def test_redirects_without_end_are_told():
    answers = {f"/{i}": moved(f"/{i + 1}") for i in range(30)}
    assert "redirects more than 10 times" in reason(answers, "/0").found


def test_user_and_password_are_sent_and_not_in_the_address():
    with Site({"/x.csv": answer(CSV)}) as site:
        get(f"http://ann:p%40ss@{site.host}/x.csv")
    assert "Authorization: Basic YW5uOnBAc3M=" in site.requests[0]
    assert "ann" not in site.requests[0] and f"Host: {site.host}" in site.requests[0]


def test_credentials_stay_with_their_host_when_a_server_redirects():
    with Site({"/y.csv": answer(CSV)}) as other:
        answers = {
            "/x.csv": moved("/again.csv"),
            "/again.csv": moved(f"http://bob:hidden@{other.host}/y.csv"),
        }
        with Site(answers) as site:
            assert get(f"http://ann:secret@{site.host}/x.csv?token=sesame-42") == CSV
    assert ["Authorization" in request for request in site.requests] == [True, True]
    assert "Authorization" not in other.requests[0]
    assert "sesame" not in other.requests[0] and "Referer" not in other.requests[0]


def test_a_body_that_is_packed_in_another_way_is_told():
    error = reason({"/x.csv": answer(CSV, Content_Encoding="br")})
    assert "Content-Encoding" in error.found


def test_a_refused_connection_and_an_unknown_host_are_told():
    with Site({}) as site:
        url = f"{site.url}/x.csv?token=sesame-42"
    for address in (url, "http://no.such.host.invalid/x.csv?token=sesame-42"):
        with pytest.raises(DownloadError) as error:
            get(address)
        assert error.value.away
        assert "sesame" not in error.value.found + error.value.remedy


def test_a_server_without_encryption_is_told_where_https_is_asked_for():
    with Site({"/x.csv": answer(CSV)}) as site, pytest.raises(DownloadError) as error:
        get(f"https://{site.host}/x.csv", max_seconds=5)
    assert "encrypted connection (TLS) failed" in error.value.found


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl to make a certificate")
def test_a_certificate_that_nobody_vouches_for_is_told(tmp_path):
    key, certificate = str(tmp_path / "key"), str(tmp_path / "certificate")
    make = "openssl req -x509 -newkey rsa:2048 -nodes -days 1 -subj /CN=localhost"
    subprocess.run(
        [*make.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with Site({"/x.csv": answer(CSV)}, context) as site:
        with pytest.raises(DownloadError, match="certificate is not valid"):
            get(f"https://{site.host}/x.csv")
        assert not site.requests


def test_from_https_nobody_is_led_to_http(monkeypatch):
    asked = []

    def ask(_, url, headers):
        asked.append((url, headers))
        return f"http://{len(asked)}.invalid/x.csv"

    monkeypatch.setattr(downloads._Download, "ask", ask)
    with pytest.raises(DownloadError, match="redirects from https to http"):
        get("https://u:p@host.invalid/x.csv")
    assert len(asked) == 1


BAD = [
    "http://",
    "http:///x.csv",
    "http:/host/x.csv",
    "http://host:sesame-42/x.csv",
    "http://host:99999/x.csv",
    "http://[::1/x.csv",
    "http://ho st/x.csv",
    "http://host/sesame-42 x.csv",
    "http://host/sesame-42\r\nX-Evil: 1",
    "http://" + "a" * 70 + ".org/x.csv",
    "http://user:sesame-42/part@host/x.csv",
    "http://..host/x.csv",
]


@pytest.mark.parametrize("url", BAD)
def test_what_is_not_an_address_is_told_without_repeating_it(url):
    with pytest.raises(DownloadError, match="it is not a valid address") as error:
        get(url)
    assert "sesame" not in repr(error.value) + error.value.remedy


def test_other_alphabets_are_spelled_as_the_web_spells_them():
    with Site({"/t%C3%A4.csv": answer(CSV)}) as site:
        assert get(f"{site.url}/tä.csv?q=ö") == CSV
    assert site.requests[0].startswith("GET /t%C3%A4.csv?q=%C3%B6 ")


def test_a_fault_of_our_own_is_not_taken_for_the_servers(monkeypatch):
    monkeypatch.setattr(downloads._Download, "ask", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        get("http://host.invalid/x.csv")


CERTIFICATES = {
    ssl.SSLCertVerificationError("sesame-42"): "certificate is not valid",
    ssl.SSLError("sesame-42"): "encrypted connection (TLS) failed",
    OSError("Tunnel connection failed: sesame-42"): "cannot be reached",
    UnicodeError("sesame-42"): "not valid HTTP",
}


@pytest.mark.parametrize(("error", "message"), CERTIFICATES.items(), ids=repr)
def test_an_error_of_the_library_is_not_repeated(error, message):
    words = downloads._in_words(error)
    assert message in words.found and "sesame" not in words.found + words.remedy
