"""One contract over every dataset card, on a small dataset of each and at its defaults."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
from idx_files import write_images

from isoloss.core import registry, tables
from isoloss.core.problems import IsolossError
from isoloss.load import job
from isoloss.load.content import identity, keywords

CARDS = registry.names("dataset")
ROWS = pd.DataFrame({"text": [f"row {i}" for i in range(40)], "lang": ["en", "de"] * 20})
TAGS = {"tags": {"language": "lang"}, "maps": {"language": {"en": "english"}}}


def csv(folder: Path) -> dict:
    ROWS.to_csv(folder / "a.csv", index=False)
    return {"files": str(folder / "a.csv"), **TAGS}


def jsonl(folder: Path) -> dict:
    ROWS.to_json(folder / "a.jsonl", orient="records", lines=True)
    return {"files": str(folder / "*.jsonl"), **TAGS}


def parquet(folder: Path) -> dict:
    ROWS.to_parquet(folder / "a.parquet")
    return {"files": [str(folder / "a.parquet")], **TAGS}


def saved_dataset(folder: Path) -> dict:
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    datasets.Dataset.from_pandas(ROWS).save_to_disk(str(folder / "saved"))
    return {"folder": str(folder / "saved"), **TAGS}


def text_folder(folder: Path) -> dict:
    for row in ROWS.itertuples():
        (folder / row.lang).mkdir(exist_ok=True)
        (folder / row.lang / f"{row.Index}.txt").write_text(row.text)
    return {"folder": str(folder), "path_tags": "{language}/*.txt", "maps": TAGS["maps"]}


def idx_images(folder: Path) -> dict:
    return write_images(folder, n=60, n_test=20)


def python_stdlib(folder: Path) -> dict:
    for i in range(40):
        (folder / f"m{i}.py").write_text(f'"""Module {i}."""\n\nx = {i}\n')
    return {"root": str(folder)}


SAMPLES = (csv, jsonl, parquet, saved_dataset, text_folder, idx_images, python_stdlib)


@pytest.mark.parametrize("name", CARDS)
def test_a_card_at_its_defaults_has_sources_or_says_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = keywords(name, registry.defaults("dataset", name), tmp_path / "fetched")
    try:
        sources = registry.card("dataset", name).sources(**given)
    except IsolossError as refusal:
        assert all(problem.remedy for problem in refusal.problems)
    else:
        assert all(path.is_file() for _, path in sources)


@pytest.mark.parametrize("sample", SAMPLES, ids=lambda sample: sample.__name__)
def test_a_card_gives_rows_with_the_tags_that_it_lists(sample, tmp_path):
    card, folder = sample.__name__, tmp_path / "data"
    folder.mkdir()
    options = registry.defaults("dataset", card) | sample(folder)
    dataset = {"card": card, "options": options, "valid_fraction": 0.4, "on_bad_row": "stop"}
    content = identity(card, options, fetched=tmp_path)
    specification = {"dataset": dataset, "seed": 1, "content": content}
    for out in ("one", "two"):
        job.run(json.loads(json.dumps(specification)), tmp_path / out, {}, tmp_path)
    one, two = (tmp_path / out / "rows.parquet" for out in ("one", "two"))
    assert one.read_bytes() == two.read_bytes()
    rows = tables.frame(one, "rows")
    assert set(rows["split"]) == {"train", "valid"}
    assert {key for tags in rows["tags"] for key, _ in tags} == set(
        registry.tag_keys(card, options)
    )
    if "maps" in options:
        assert list(rows["text"].map(bytes.decode).sort_values()) == sorted(ROWS["text"])
        assert {value for tags in rows["tags"] for _, value in tags} == {"english", "de"}
    first = registry.card("dataset", card).sources(**keywords(card, options, tmp_path))[0][1]
    first.write_bytes(first.read_bytes() + b" ")
    assert identity(card, options, fetched=tmp_path) != content
