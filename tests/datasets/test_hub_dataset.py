"""Datasets of a hub are fetched once at a commit; tested against a hub on loopback."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pyarrow as pa
import pytest
from hub_site import HubSite, only_hub

from isoloss.core import registry
from isoloss.core.problems import IsolossError
from isoloss.datasets import hub_dataset
from isoloss.load import content

pytest.importorskip("datasets")
NAME = "some/thing"


def lines(*texts: str) -> bytes:
    rows = [{"text": text, "domain": text.split()[0]} for text in texts]
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def files(*texts: str) -> dict[str, bytes]:
    """A dataset with two splits; the texts are those of training."""
    return {"train.jsonl": lines(*texts), "test.jsonl": lines("web last"), "README.md": b"# x\n"}


@pytest.fixture(scope="module")
def site():
    with HubSite(NAME) as site:
        yield site


@pytest.fixture(autouse=True)
def only_this_hub(site, monkeypatch, tmp_path):
    """No test reaches another host, or keeps anything outside its folder."""
    only_hub(monkeypatch, site.url, tmp_path)


@pytest.fixture
def fetched(tmp_path):
    return tmp_path / "fetched"


@pytest.fixture(scope="module")
def once(site, tmp_path_factory):
    """A folder in which one commit is kept for several tests, and the commit."""
    return tmp_path_factory.mktemp("once"), site.commit(files("web one", "code two"))


def options(**more) -> dict:
    return registry.defaults("dataset", "hub_dataset") | {"name": NAME} | more


def texts(fetched, **more) -> list[str]:
    """The texts of all rows, in order."""
    pieces = hub_dataset.pieces(fetched=fetched, **options(**more))
    return [text for table in pieces for text in table["text"].to_pylist()]


def digest(fetched, **more) -> str:
    return content.identity("hub_dataset", options(**more), fetched=fetched)


def test_a_branch_is_followed_and_a_pinned_commit_stays(site, fetched, tmp_path, capsys):
    first = site.commit(files("web one", "code two"))
    assert texts(fetched) == ["web last", "web one", "code two"]
    assert f"dataset {NAME}: its main branch is now commit {first}" in capsys.readouterr().err
    before = digest(fetched)
    second = site.commit(files("code three"))
    asked = len(site.requests)
    assert (digest(fetched), len(site.requests)) == (before, asked)  # as a job reads it
    content.refresh("hub_dataset", options(), fetched)
    assert f"is now commit {second}" in capsys.readouterr().err
    assert texts(fetched) == ["web last", "code three"]
    assert digest(fetched) != before
    assert texts(fetched, revision=first) == ["web last", "web one", "code two"]
    content.refresh("hub_dataset", options(revision=first), fetched)
    assert digest(fetched, revision=first) == before
    assert [path.name for path in tmp_path.iterdir()] == ["fetched"]
    assert not [path for path in fetched.iterdir() if path.name != "hub"]


def test_rows_have_tags_and_sides_and_a_stream_has_the_same(once):
    fetched, commit = once
    chosen = {"tags": {"domain": "domain"}, "splits": {"train": "valid"}}
    tables = {}
    for streaming in ("auto", True):
        given = options(streaming=streaming, revision=commit, **chosen)
        tables[streaming] = pa.concat_tables(hub_dataset.pieces(fetched=fetched, **given))
        ((name, file),) = hub_dataset.sources(fetched=fetched, **given)
        assert file.is_file(), name
    rows = tables["auto"].to_pylist()
    assert [(row["text"], row["split"], row["tags"], row["line"]) for row in rows] == [
        ("web one", "valid", [("domain", "web")], 1),
        ("code two", "valid", [("domain", "code")], 2),
    ]
    assert tables[True].equals(tables["auto"])
    by_streaming = {len(list(one.rglob("*.arrow"))) for one in fetched.glob("hub/*")}
    assert by_streaming >= {2, 0}


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"name": "some/other"},
            r"some/other, at http://127.*: is not there, or is private; check",
        ),
        ({"revision": "nowhere"}, r"thing, at http://127.*: has no such revision; check the name"),
        ({"config": "other"}, r"cannot be loaded \(BuilderConfig 'other' not found"),
        ({"splits": {"tran": "train"}}, r"splits.tran: no such split; did you mean 'train'\?"),
        ({"text": "txt"}, r"split test, commit .*: no column 'txt'; did you mean 'text'\?"),
    ],
)
def test_what_the_hub_does_not_have_is_told(site, once, more, message):
    fetched, commit = once
    with pytest.raises(IsolossError, match=message):
        texts(fetched, **{"revision": commit} | more)
    assert not list(fetched.rglob(".*"))


@pytest.mark.parametrize(
    "name", ["", "../x", "a/../b", "a/b/c", "/etc", "a b", "https://x/y", "a/.."]
)
def test_a_name_that_is_none_is_refused_before_any_request(site, fetched, name):
    asked = len(site.requests)
    with pytest.raises(IsolossError, match=r"hub_dataset, name: .* name"):
        texts(fetched, name=name)
    for key in ("config", "revision"):
        with pytest.raises(IsolossError, match=f"hub_dataset, {key}: '../x' is not one"):
            texts(fetched, **{key: "../x"})
    assert len(site.requests) == asked and not fetched.exists()


def test_without_a_network_what_is_kept_can_be_gone_on_with(fetched, monkeypatch):
    with HubSite(NAME) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        commit = site.commit(files("web one"))
        content.refresh("hub_dataset", options(), fetched)
    began = time.monotonic()
    with pytest.raises(IsolossError, match=rf"cannot be reached .* `revision: {commit}` goes on"):
        content.refresh("hub_dataset", options(), fetched)
    assert texts(fetched, revision=commit) == ["web last", "web one"]
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(IsolossError, match=r"cannot be reached .*HF_HUB_OFFLINE, and run again$"):
        texts(fetched)
    assert time.monotonic() - began < 60


@pytest.mark.slow
def test_images_in_files_of_their_own_are_kept_with_the_rows(fetched, monkeypatch):
    image = pytest.importorskip("PIL.Image")

    def picture(value: int) -> bytes:
        content = io.BytesIO()
        image.fromarray(np.full((4, 3), value, np.uint8)).save(content, "PNG")
        return content.getvalue()

    names = {"ant": 0, "bee": 100}
    pictures = {f"train/{k}/{i}.png": picture(v + i) for k, v in names.items() for i in range(3)}
    with HubSite(NAME) as site:
        monkeypatch.setenv("HF_ENDPOINT", site.url)
        site.commit(pictures)
        hub_dataset.refresh(fetched=fetched, **options())
    with pytest.raises(IsolossError, match="cannot be reached"):
        hub_dataset.refresh(fetched=fetched, **options())
    rows = list(hub_dataset.pieces(fetched=fetched, **options(image="image")))
    assert [(row["features"][0, 0], row["tags"]["class"]) for row in rows] == [
        (value + i, name) for name, value in names.items() for i in range(3)
    ]


def test_without_the_package_its_installation_is_told(fetched, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(IsolossError, match=r"`datasets` is not installed; .*isoloss\[hub\]"):
        texts(fetched)
