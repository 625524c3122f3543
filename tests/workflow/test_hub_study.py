"""A study of a hub's dataset: its branch is looked at when the study starts, not in a job."""

from __future__ import annotations

import json

import pytest
from hub_site import HubSite, only_hub
from running import snakemake, write

from isoloss.__main__ import main
from isoloss.core import tables

STUDY = {
    "study": "hub",
    "load": {
        "pages": {
            "card": "hub_dataset",
            "options": {"name": "some/pages", "tags": {"domain": "domain"}},
            "valid_fraction": 0.3,
        }
    },
}
ROWS = "results/hub/load/pages/rows.parquet"


def files(n: int) -> dict[str, bytes]:
    rows = [{"text": f"page {i} of many", "domain": "web"} for i in range(n)]
    return {"train.jsonl": "".join(json.dumps(row) + "\n" for row in rows).encode()}


def test_a_moved_branch_makes_the_rows_due_and_nothing_is_kept_elsewhere(tmp_path, monkeypatch):
    pytest.importorskip("datasets")
    config = write(tmp_path, STUDY)
    with HubSite("some/pages") as site:
        only_hub(monkeypatch, site.url, tmp_path)
        commit = site.commit(files(30))
        process = snakemake(tmp_path, ROWS, "--configfile", config)
        output = process.stdout + process.stderr
        assert process.returncode == 0, output
        assert output.count(f"its main branch is now commit {commit}") == 1
        assert len(tables.frame(tmp_path / ROWS, "rows")) == 30
        commit, asked = site.commit(files(40)), len(site.requests)
        monkeypatch.chdir(tmp_path)
        assert main(["status", config]) == 0
        assert len(site.requests) == asked  # commands look at what is kept
        dry = snakemake(tmp_path, ROWS, "-n", "--configfile", config)
        assert f"its main branch is now commit {commit}" in dry.stdout + dry.stderr
        assert "load_rows" in dry.stdout
    outside = [path.name for path in tmp_path.rglob("*") if "results" not in path.parts]
    assert not [name for name in outside if "hub" in name or "hugging" in name]
    assert not list(tmp_path.glob("results/**/.hub-*"))
