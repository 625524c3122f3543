"""Weights in folders of the data, by the real snakemake: only what they change is made again."""

from __future__ import annotations

from running import snakemake, write

from isoloss.core import tables

STUDY = {
    "study": "folders",
    "load": {
        "texts": {
            "card": "text_folder",
            "options": {"folder": "data", "cut": "line", "path_tags": "{generated}/*.txt"},
            "valid_fraction": 0.3,
        }
    },
    "expand": {"w": {"weights": {"generated": {False: 1, True: 0}}, "files": "weights.yaml"}},
    "train": {
        "sizes": {
            "dataset": "texts",
            "model": "transformer",
            "cells": [{"n_samples": 1000, "d_model": 4, "weighting": "w"}],
        }
    },
}


def test_weights_beside_the_data_decide_about_its_rows(tmp_path):
    for name in ("false", "true"):
        for part in range(6):
            file = tmp_path / f"data/{name}/{part}.txt"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text("".join(f"{name} {part} line {i}\n" for i in range(20)))
    config = write(tmp_path, STUDY)
    index = "results/folders/expand/texts/w/index.parquet"

    def copies() -> dict[str, int]:
        """Copies of the rows by their tag; checks that the rows came out."""
        threads = ("--set-threads", "expand_rows=2")
        process = snakemake(tmp_path, index, "--configfile", config, *threads)
        assert process.returncode == 0, process.stdout + process.stderr
        rows = tables.frame(tmp_path / "results/folders/load/texts/rows.parquet", "rows")
        expanded = tables.frame(tmp_path / index, "index")
        tags = [dict(tags)["generated"] for tags in rows["tags"][expanded["row"]]]
        return dict(zip(tags, expanded["copies"], strict=True))

    assert copies() == {"false": 1}
    (tmp_path / "data/true/weights.yaml").write_text("generated: {true: 3}\n")
    assert copies() == {"false": 1, "true": 3}
    (tmp_path / "data/true/weights.yaml").write_text("generated: {true: many}\n")
    process = snakemake(tmp_path, index, "--configfile", config)
    assert process.returncode != 0
    place = "expand.w: data/true/weights.yaml.generated.true: found 'many'; a weight is a number"
    assert place in process.stdout + process.stderr
