"""The README's study of a user's own text, by the real snakemake."""

from __future__ import annotations

import gzip
import json
import re

import yaml
from running import ROOT, snakemake, write

from isoloss.core import tables


def readme_study() -> dict:
    """The study of the section on a user's own text."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.partition("## Bring your own text")[2]
    return yaml.safe_load(re.search(r"```yaml\n(.*?)```", section, flags=re.DOTALL)[1])


def test_the_readmes_study_of_json_lines_trains_on_weighted_rows(tmp_path):
    study = readme_study()
    sweep = study["train"]["widths"]
    sweep |= {"shards": 1, "valid_tokens": 1024}
    sweep["cells"][0] |= {"d_model": [4, 6], "n_samples": 3000}
    rows = [
        {"text": f"row {i} " * 12, "meta": {"source": "code" if i % 3 else "web"}, "doc": i // 2}
        for i in range(200)
    ]
    lines = [json.dumps(row) for row in rows]
    (tmp_path / "data").mkdir()
    for name, part in {"a": lines[:150], "b ü": lines[150:]}.items():
        content = "\n".join([*part, '{"text": 7}'])
        (tmp_path / "data" / f"{name}.jsonl.gz").write_bytes(gzip.compress(content.encode()))
    config = write(tmp_path, study)
    process = snakemake(tmp_path, "--configfile", config)
    output = process.stdout + process.stderr
    assert process.returncode != 0
    assert "column 'text' is a number, not text (2)" in output
    assert "data/a.jsonl.gz:151" in output
    assert "data/b ü.jsonl.gz:51" in output
    results = tmp_path / "results" / study["study"]
    assert not list((results / "load").rglob("*.parquet"))

    study["load"]["notes"]["on_bad_row"] = "drop"
    process = snakemake(tmp_path, "--configfile", write(tmp_path, study))
    assert process.returncode == 0, process.stdout + process.stderr
    summary = (results / "summary.md").read_text(encoding="utf-8")
    assert "- **Rows left out** (notes): 2: column 'text' is a number, not text (2)" in summary
    loaded = tables.frame(results / "load/notes/rows.parquet", "rows")
    assert [text.decode() for text in loaded["text"]] == [row["text"] for row in rows]
    assert (loaded.groupby("group")["split"].nunique() == 1).all()
    assert set(loaded["split"]) == {"train", "valid"}
    copies = tables.frame(results / "expand/notes/more_code/index.parquet", "index")
    source = [dict(tags)["domain"] for tags in loaded["tags"]]
    assert [2 if source[row] == "code" else 1 for row in copies["row"]] == list(copies["copies"])
    runs = tables.frame(results / "aggregate/widths/runs.parquet", "runs")
    assert list(runs["status"]) == ["done", "done"]
