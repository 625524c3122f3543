"""Addresses: shown without what is secret in them, expanded once, and only where they are read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isoloss.core.addresses import (
    Address,
    UnsetError,
    is_web,
    literal_secret,
    masked,
    shown,
    target,
)
from isoloss.core.problems import TableError

SHOWN = {
    "https://host/x.csv": "https://host/x.csv",
    "https://host:8443/a/b.csv?": "https://host:8443/a/b.csv?",
    "https://host/x.csv?token=sesame": "https://host/x.csv?token=***",
    "https://host/x.csv?token=$MY_TOKEN": "https://host/x.csv?token=***",
    "https://host/x.csv?a=1&sesame;b=2": "https://host/x.csv?a=***&***&b=***",
    "https://host/x.csv?a=1?b=sesame": "https://host/x.csv?a=***",
    "https://host/x.csv#sesame": "https://host/x.csv",
    "https://host?sesame": "https://host?***",
    "https://ann:sesame@host/x.csv": "https://host/x.csv",
    "https://sesame@host:80/x.csv": "https://host:80/x.csv",
    "https://a@b:sesame@host/x.csv": "https://host/x.csv",
    "https://$USER:$PASSWORD@$HOST:$PORT/x.csv": "https://$HOST:$PORT/x.csv",
    "https://${HOST}/x.csv": "https://${HOST}/x.csv",
    "https://[::1]:80/x.csv": "https://[::1]:80/x.csv",
    "https://user:sesame/me@host/x.csv": "https://***",
    "https://user:sesame?me@host/x.csv": "https://***",
    "https://user:sesame#me@host/x.csv": "https://***",
    "https://[sesame@x/y": "https://x/y",
    "HTTPS://user:sesame@Host/x.csv": "HTTPS://Host/x.csv",
    "https:/user:sesame@host/x.csv": "https:***",
    "data:text/csv,sesame": "data:***",
    "ftp://user:sesame@host/x.csv": "ftp://host/x.csv",
    "$RUNS_URL": "$RUNS_URL",
    "$RUNS_URL?token=sesame&x=$Y": "$RUNS_URL?token=***&x=***",
    "$SCHEME://user:sesame@host/x": "$SCHEME://host/x",
    "https://host/ghp_0123456789abcdefghij/x.csv": "https://host/***/x.csv",
    "https://host/a\nb.csv": "https://host/a\\nb.csv",
    "runs.csv": "runs.csv",
    "/a b/what?.csv#1": "/a b/what?.csv#1",
    "C:/runs.csv": "C:/runs.csv",
    "~/runs.csv": "~/runs.csv",
    "file:///a/x.csv": "file:///a/x.csv",
}


@pytest.mark.parametrize(("written", "label"), SHOWN.items(), ids=SHOWN)
def test_an_address_is_shown_without_its_secrets(written, label):
    assert shown(written) == label
    assert "sesame" not in repr(Address.given(written))
    if not label.endswith("?"):
        assert shown(label) == label


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="/?#@"), min_size=3, max_size=12)


@given(TEXT.filter(lambda text: text not in "https host x.csv token ***"), st.integers(0, 3))
def test_no_secret_is_shown_wherever_it_stands(secret, place):
    address = (
        f"https://user:{secret}@host/x.csv",
        f"https://{secret}@host/x.csv",
        f"https://host/x.csv?token={secret}",
        f"https://host/x.csv#{secret}",
    )[place]
    assert secret not in shown(address)
    assert secret not in str(masked([{"table": address}]))


def test_addresses_in_a_part_of_a_study_are_masked_and_nothing_else():
    part = {"a": ["https://u:sesame@h/x?a=sesame", "runs.csv", 1], "see": "at https://h?b ~"}
    assert masked(part) == {"a": ["https://h/x?a=***", "runs.csv", 1], "see": "at https://h?*** ~"}


SPELLED_OUT = [
    "https://ann:sesame@host/x.csv",
    "https://$USER:sesame@host/x.csv",
    "https://$USER:pre$PASSWORD@host/x.csv",
    "https://sesame@host/x.csv",
    "https://host/x.csv?token=sesame",
    "https://host/x.csv?TOKEN=sesame",
    "https://host/x.csv?a=1&access_token=sesame",
    "https://host/x.csv?a=1;accessToken=sesame",
    "https://host/x.csv?api-key=sesame",
    "https://host/x.csv?apikey=sesame",
    "https://host/x.csv?key=sesame",
    "https://host/x.csv?AWSAccessKeyId=sesame",
    "https://host/x.csv?X-Amz-Signature=sesame",
    "https://host/x.csv?X-Amz-Credential=sesame",
    "https://host/x.csv?sv=1&sig=sesame",
    "https://host/x.csv?client_secret=sesame",
    "https://host/x.csv?password=sesame",
    "https://host/x.csv?pwd=sesame",
    "https://host/x.csv?auth=sesame",
    "https://host/x.csv?%74oken=sesame",
    "https://host/x.csv?token=pre$TOKEN",
    "https://host/x.csv?token=sesame#part",
    "https://host/x.csv#access_token=sesame",
    "https://host/x.csv?url=https%3A%2F%2Fother%2F%3Ftoken%3Dsesame",
    "https://host/?a=ghp_0123456789abcdefghij",
    "https://host/hf_0123456789abcdefghij/x.csv",
    "$BASE/x.csv?token=sesame",
    "$SCHEME://ann:sesame@host/x.csv",
]


@pytest.mark.parametrize("written", SPELLED_OUT)
def test_a_secret_that_is_spelled_out_is_known_and_not_repeated(written):
    secret = literal_secret(written)
    assert secret and "sesame" not in secret and "0123" not in secret


@pytest.mark.parametrize(
    "written",
    [
        "https://host/x.csv",
        "https://host/x.csv?token=$MY_TOKEN",
        "https://host/x.csv?token=${MY_TOKEN}&format=csv",
        "https://host/x.csv?token=$A$B",
        "https://host/x.csv?token=",
        "https://ann:$PASSWORD@host/x.csv",
        "https://$USER:${PASSWORD}@host/x.csv",
        "https://$TOKEN@host/x.csv",
        "https://$TOKEN:@host/x.csv",
        "https://host/@user/x@1.0.csv",
        "https://host/x.csv?format=csv&gid=0&keyword=loss&design=3&author=me",
        "$RUNS_URL",
        "$RUNS/x.csv",
        "password=sesame.csv",
        "C:/token=sesame/x.csv",
    ],
)
def test_what_is_a_variable_or_no_secret_may_stand_in_a_study(written):
    assert literal_secret(written) is None


def test_variables_are_expanded_once_and_never_shown(monkeypatch):
    monkeypatch.setenv("A", "sesame$B")
    monkeypatch.setenv("B", "~/never")
    address = Address.of_study("https://host/$A/${A}?x=$A")
    assert address.real == "https://host/sesame$B/sesame$B?x=sesame$B"
    assert "sesame" not in repr(address) and address.label == "https://host/$A/${A}?x=***"
    assert Address.of_study("$B/x.csv").path == Path("~/never/x.csv")
    assert Address.of_study("a/$A").path == Path("a/sesame$B")


def test_home_is_expanded_where_it_is_written_and_only_there(monkeypatch):
    monkeypatch.setenv("HOME", "/home/$A/~")
    monkeypatch.setenv("A", "x")
    assert Address.of_study("~/$A.csv").path == Path("/home/$A/~/x.csv")
    assert Address.of_study("~").path == Path("/home/$A/~")
    assert Address.of_study("a/~/x").path == Path("a/~/x")
    assert Address.given("~/$A.csv").path == Path("~/$A.csv")


@pytest.mark.parametrize("written", ["$NOT_SET/x", "https://host/?token=${NOT_SET}", "${NOT SET}"])
def test_a_variable_that_is_not_set_is_named(written, monkeypatch):
    monkeypatch.delenv("NOT_SET", raising=False)
    with pytest.raises(UnsetError, match=r"environment variable NOT.SET is not set; set it"):
        Address.of_study(written)
    if "NOT_SET" in written:
        monkeypatch.setenv("NOT_SET", "")
        with pytest.raises(UnsetError, match="environment variable NOT_SET is empty"):
            Address.of_study(written)


def test_a_dollar_that_names_nothing_stays():
    assert Address.of_study("a$5 $ ${}.csv").path == Path("a$5 $ ${}.csv")


@pytest.mark.parametrize("scheme", ["file", "ftp", "data", "s3", "FILE"])
def test_a_study_reads_http_and_https_only(scheme, monkeypatch):
    written = f"{scheme}:sesame" if scheme == "data" else f"{scheme}:///sesame?token=$X"
    monkeypatch.setenv("X", "hidden")
    with pytest.raises(TableError, match=r"only http and https are.*give the path itself") as error:
        Address.of_study(written)
    assert "hidden" not in str(error.value)
    monkeypatch.setenv("WHOLE", "file:///sesame")
    with pytest.raises(TableError, match=r"^\$WHOLE: cannot be read") as error:
        Address.of_study("$WHOLE")
    assert "sesame" not in str(error.value)


def test_paths_are_paths_and_addresses_are_not():
    for path in ("runs.csv", "C:/runs.csv", "C:\\runs.csv", "a:b.csv", "$X/y", "./http/x"):
        assert not is_web(path)
        assert Address.given(path).path == Path(path)
    assert Address.given("file:///a%20b/x.csv").path == Path("/a b/x.csv")
    for web in ("http://host/x", "HTTPS://host", "https:host"):
        assert is_web(web)
        assert Address.given(web).path is None
    for other in ("ftp://host/x", "none://x", "data:,x", "file://host/x"):
        with pytest.raises(TableError, match="only http and https are"):
            _ = Address.given(other).path


STEMS = {
    "https://host/a/runs.csv?token=sesame": "runs",
    "https://host/runs.csv#x": "runs",
    "https://ann:sesame@host": "table",
    "https://host/": "table",
    "https://ann:sesame/x@host/y.csv": "table",
    "a/runs.csv": "runs",
    "what?.csv": "what?",
    "file:///a/runs.csv": "runs",
}


@pytest.mark.parametrize(("written", "stem"), STEMS.items(), ids=STEMS)
def test_results_are_named_after_the_file_without_secrets(written, stem):
    assert Address.given(written).stem == stem


def test_what_must_not_turn_up_is_known():
    address = Address.given("https://ann:p%40ssword@host/x?token=abcdefgh&page=12345678&key=1")
    assert address.secrets == ["abcdefgh", "p%40ssword", "p@ssword"]
    assert Address.given("https://tokentoken@host/x").secrets == ["tokentoken"]
    assert Address.given("https://ann:passpass@host/x").secrets == ["passpass"]
    assert Address.given("x.csv").secrets == []


def test_a_server_is_asked_without_credentials_and_fragment_in_the_address():
    assert target("HTTP://Ann:x@Host/a b".replace(" ", "%20") + "?q=1#f") == (
        "http://host/a%20b?q=1",
        "http://host:80",
        {"Authorization": "Basic QW5uOng="},
    )
    assert target("https://[::1]:8443")[:2] == ("https://[::1]:8443/", "https://[::1]:8443")
    assert target("https://bücher.example/ü")[0] == "https://xn--bcher-kva.example/%C3%BC"
    assert re.fullmatch(r"https://h/\?a=%C3%BC&b=%20", target("https://h?a=ü&b=%20")[0])
