"""A study with a text in every place where one can stand, and the small files that it reads."""

import copy
import json
from collections.abc import Iterator
from pathlib import Path

PROGRAM = """
import json, pathlib, sys
given = dict(word.split("=", 1) for word in sys.argv[1:] if "=" in word)
width, name = float(given["--width"]), given.get("--name", "")
if width == 8:
    raise SystemExit("this size always fails")
with open(pathlib.Path(given["--out"], given.get("--file", "m.jsonl")), "w") as file:
    for step in (1, 2):
        row = {"step": step, given.get("--loss", "loss"): 1 + 1 / width + 0.1 / step}
        file.write(json.dumps(row) + "\\n")
"""


def write_inputs(folder: Path, source: str = "src", group: str = "x") -> None:
    """Write what the study reads; a column and the group of runs are called as is said."""
    for name in ("data/web", "lib"):
        (folder / name).mkdir(parents=True)
    rows = [
        {"text": f"text number {i} " * 5, "id": f"i{i}", "doc": f"d{i % 40}", source: "ab"[i % 2]}
        for i in range(80)
    ]
    (folder / "data/web/1.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cells = "".join(f"hello world {i},{'ab'[i % 2]}\n" for i in range(60))
    (folder / "data/web/2.csv").write_text(f"text,src\n{cells}")
    for i in range(8):
        text = f"def f{i}():\n    '''Number {i}.'''\n    return {i}\n" * 5
        (folder / f"lib/m{i}.py").write_text(text)
    runs = [
        {
            "n": n,
            "d": d,
            "loss": 1.7 + 400 / n**0.34 + 400 / d**0.28,
            "g": group,
            "name": f"{n}-{d}",
        }
        for n in (1e6, 3e6, 1e7, 3e7)
        for d in (1e8, 3e8, 1e9, 3e9)
    ]
    (folder / "runs.json").write_text(json.dumps(runs))
    (folder / "train.py").write_text(PROGRAM)


def full_study() -> dict:
    """The study; `check` finds nothing wrong with it in the folder of its inputs."""
    return {
        "study": "full",
        "seed": 1,
        "load": _datasets(),
        "expand": _weightings(),
        "train": {"grid": _grid(), "own": _own()},
        "observe": {
            "norms": {"card": "weight_norms", "sweep": "grid", "options": {"parts": "layers"}},
            "llc": {"card": "llc", "sweep": "grid", "options": {"parameters": ["blocks.0.*"]}},
        },
        "aggregate": {"mine": _table()},
        "fit": _fits(),
        "simulate": {"again": _simulation()},
        "plot": {
            "plane": {
                "card": "isoloss",
                "sweep": "mine",
                "fits": ["law"],
                "options": {"group": ""},
            },
            "effects": {
                "card": "weighting_effects",
                "sweep": "grid",
                "options": {"reference": "natural"},
            },
            "norms": {
                "card": "observations",
                "sweep": "grid",
                "observation": "norms",
                "options": {"quantity": ""},
            },
        },
    }


def _datasets() -> dict:
    notes = {
        "files": ["data/web/*.jsonl"],
        "text": "text",
        "id": "id",
        "group": "doc",
        "tags": {"source": "src"},
        "maps": {"source": {"a": "alpha"}},
        "path_tags": "{domain}/*.jsonl",
        "split": "",
    }
    sheet = {"files": "data/web/*.csv", "text": "text", "tags": {"source": "src"}}
    few = {"card": "python_stdlib", "options": {"root": "lib"}, "tokenizer": "bytes"}
    return {
        "few": few | {"valid_fraction": 0.4},
        "notes": {"card": "jsonl", "options": notes},
        "sheet": {"card": "csv", "options": sheet},
        "folder": {"card": "text_folder", "options": {"folder": "lib", "pattern": "*.py"}},
    }


def _weightings() -> dict:
    kinds = ["code", "docstring"]
    return {
        "natural": {},
        "twice": {"kind": {"code": 2}},
        "folders": {"weights": {"kind": {"code": 1}}, "files": "weights.yaml"},
        "half": {"mixture": {"tag_key": "kind", "proportions": dict.fromkeys(kinds, 0.5)}},
        "corner": {"mixture": {"tag_key": "kind", "corner": {"domain": "code", "share": 0.5}}},
        "drawn": {"mixture": {"tag_key": "kind", "draw": {"label": "x"}, "domains": kinds}},
        "search": {"mixtures": {"tag_key": "kind", "points": 2, "domains": kinds}},
        "phased": {"phases": [{"weighting": "natural", "until": 0.5}, {"weighting": "twice"}]},
    }


def _grid() -> dict:
    settings = {"n_layers": 1, "context": 16, "batch_size": 4, "optimizer": "adamw"}
    return {
        "dataset": "few",
        "model": "transformer",
        "trainer": "builtin",
        "shards": 1,
        "valid_tokens": 256,
        "n_params": "nonembed",
        "size_rule": "closest",
        "settings": settings,
        "cells": [{"d_model": [4, 6], "n_samples": 640, "weighting": ["natural", "twice"]}],
    }


def _own() -> dict:
    command = {
        "run": "python train.py --width={width} --name={name} --out={run_folder} {resume}",
        "resume": "--go-on=1",
        "files": ["train.py"],
        "results": "m.jsonl",
        "loss": "loss",
        "losses": {"web": "loss"},
        "curve": "loss",
        "loss_unit": "nats/token",
        "example": "token",
        "n_params": "12 * width ** 2",
    }
    return {
        "trainer": "command",
        "shards": 1,
        "max_attempts": 1,
        "command": command,
        "settings": {"name": "plain"},
        "cells": [{"width": [4, 8, 16, 32], "n_samples": 1000}],
    }


def _table() -> dict:
    return {
        "table": ["runs.json"],
        "columns": {"N": "n", "D": "d", "loss": "loss", "group": "g", "run_id": "name"},
        "keep": ["loss < 1000", "name != 'none'"],
        "best_of": ["N", "D"],
        "scale": {"N": 1},
    }


def _fits() -> dict:
    law = {
        "card": "chinchilla",
        "sweep": "mine",
        "where": "N > 10",
        "bootstrap": 0,
        "group": "group",
        "holdout": {"rule": "roll_out", "by": "n_samples"},
        "cluster": "run_id",
        "tied": [["alpha", "beta"]],
        "bounds": {"E": [0.1, None]},
    }
    line = {"card": "power_law", "options": {"variable": "N", "offset": False}, "bootstrap": 0}
    return {
        "law": law,
        "line": line | {"sweep": "own", "where": "name != 'none'"},
    }


def _simulation() -> dict:
    return {
        "truth": {"card": "chinchilla", "preset": "hoffmann"},
        "plan": {
            "kind": "grid",
            "N": {"from": 1e6, "to": 1e8, "points": 4},
            "D": {"from": 1e8, "to": 1e10, "points": 4},
        },
        "replicates": 2,
        "estimators": {"all": {"card": "chinchilla"}},
    }


def texts(value, place: tuple = ()) -> Iterator[tuple]:
    """The place of every text of a study and of every key; of a key its last step is (key,)."""
    if isinstance(value, dict):
        for key, below in value.items():
            yield (*place, (key,))
            yield from texts(below, (*place, key))
    elif isinstance(value, list):
        for i, below in enumerate(value):
            yield from texts(below, (*place, i))
    elif isinstance(value, str):
        yield place


def planted(study: dict, place: tuple, text: str) -> dict:
    """The study with another text at a place."""
    study = copy.deepcopy(study)
    *above, last = place
    inner = study
    for step in above:
        inner = inner[step]
    if isinstance(last, tuple):
        entries = [(text if key == last[0] else key, below) for key, below in inner.items()]
        inner.clear()
        inner.update(entries)
    else:
        inner[last] = text
    return study
