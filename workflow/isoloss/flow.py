"""What the workflow asks of the library before a job runs: what matters to it, what it reads.

A facade: it may import every room. Snakemake is not imported here either.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from isoloss import provenance, registry
from isoloss.aggregate.table import table_digest as _table_digest
from isoloss.fitted import TABLES as FIT_TABLES
from isoloss.load import identity as _identity
from isoloss.study import sweeps
from isoloss.train.plan import shard_names

# Where each stage's code begins.
STAGES = {
    "load": "isoloss.load.rows",
    "expand": "isoloss.expand.weights",
    "plan": "isoloss.train.plan",
    "train": "isoloss.train.shard",
    "aggregate": "isoloss.aggregate",
    "fit": "isoloss.fit.law",
    "plot": "isoloss.plot.draw",
    "summarize": "isoloss.summary",
}
__all__ = [
    "FIT_TABLES",
    "STAGES",
    "code",
    "entries",
    "figure_inputs",
    "put_this_python_first",
    "shard_names",
    "specification",
    "summary_inputs",
]


def put_this_python_first() -> None:
    """Make `python` in a job the Python that runs the workflow, its environment active or not."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"


table_digest = cache(_table_digest)


@cache
def _identity_of(card: str, options: str) -> str:
    return _identity(card, json.loads(options))


def identity(card: str, options: Mapping[str, Any]) -> str:
    """Digest of a dataset's files, computed once a process."""
    return _identity_of(card, json.dumps(dict(options), sort_keys=True))


def specification(config: Mapping[str, Any], stage: str, **names: str) -> str:
    """What matters to a job, as canonical JSON: a change of it, and only of it, makes the job new.

    What lies outside the results (a dataset's files, a table of runs) enters by its content.

    Args:
        config: a complete study.
        stage: the job's stage.
        names: the job's wildcards.
    """
    seed = {"seed": config["seed"]}
    parts: dict[str, Any] = {"stage": stage, **names}
    if stage == "load":
        dataset = config["load"][names["dataset"]]
        content = identity(dataset["card"], dataset["options"])
        parts |= seed | {"dataset": dataset, "content": content}
    elif stage == "expand":
        parts |= seed | {"weights": config["expand"][names["weighting"]]}
    elif stage == "plan":
        parts |= {"sweep": config["train"][names["sweep"]]}
    elif stage == "train":
        sweep = config["train"][names["sweep"]]
        parts |= seed | {"valid_tokens": sweep["valid_tokens"]}
    elif stage == "aggregate" and names["sweep"] in config["aggregate"]:
        table = dict(config["aggregate"][names["sweep"]])
        parts |= {"content": table_digest(table.pop("table")), **table}
    elif stage == "fit":
        parts |= seed | {"fit": config["fit"][names["law"]]}
    elif stage == "plot":
        parts |= {"plot": config["plot"][names["figure"]]}
    elif stage == "summarize":
        figures = list(config["plot"])
        parts |= {"summary": config["summary"], "study": config["study"], "figures": figures}
    return json.dumps(parts, sort_keys=True, ensure_ascii=False, separators=(",", ":"))


def entries(stage: str, cards: Iterable[tuple[str, str]]) -> list[str]:
    """The modules at which a stage's code begins: its own, and the cards it uses (kind, name)."""
    return [STAGES[stage], *(f"isoloss.{registry.FOLDERS[kind]}.{name}" for kind, name in cards)]


def code(config: Mapping[str, Any], stage: str, **names: str) -> str:
    """Digest of the code that a job's results depend on: its stage's, and that of its cards."""
    cards: list[tuple[str, str]] = []
    if stage == "load":
        cards = [("dataset", config["load"][names["dataset"]]["card"])]
    elif stage in ("plan", "train"):
        cards = [("model", config["train"][names["sweep"]]["model"])]
    elif stage == "fit":
        cards = [("law", config["fit"][names["law"]]["card"])]
    elif stage == "plot":
        figure = config["plot"][names["figure"]]
        laws = [("law", config["fit"][law]["card"]) for law in figure["laws"]]
        cards = [("figure", figure["card"]), *laws]
    elif stage == "summarize":
        cards = [("law", fit["card"]) for fit in config["fit"].values()]
    return provenance.code_digest(provenance.closure(entries(stage, cards)))


def figure_inputs(config: Mapping[str, Any], figure: str) -> list[str]:
    """The tables that a figure reads, as paths below results/<study>."""
    section = config["plot"][figure]
    sweep, laws = section["sweep"], section["laws"]
    paths = []
    for table in registry.facts("figure", section["card"])["INPUTS"]:
        stage, name = table.split("/")
        if stage == "fit":
            paths += [f"fit/{sweep}/{law}/{name}.parquet" for law in laws]
        else:
            paths.append(f"{stage}/{sweep}/{name}.parquet")
    return paths


def summary_inputs(config: Mapping[str, Any]) -> list[str]:
    """The tables that the summary reads, as paths below results/<study>."""
    runs = [f"aggregate/{s}/{t}.parquet" for s in sweeps(config) for t in ("runs", "losses")]
    fits = [
        f"fit/{fit['sweep']}/{law}/{table}.parquet"
        for law, fit in config["fit"].items()
        for table in FIT_TABLES
    ]
    return runs + fits
