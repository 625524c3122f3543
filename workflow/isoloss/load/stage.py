"""Definition of the stage load."""

from __future__ import annotations

import json
from functools import cache
from hashlib import blake2b
from pathlib import Path

from isoloss.core.canonical import canonical
from isoloss.core.stages import Argument, Stage

CACHE = ".cache"  # folder in `results` of what a start finds; can be deleted at any time
FETCHED = "fetched"  # folder in it of what dataset cards fetched from a network


@cache
def content_of(
    card: str,
    options: str,
    tokenizer: str,
    cache_folder: Path | None = None,
    fetched: Path | None = None,
    anew: bool = False,
) -> str:
    """Digest of a dataset's sources and its tokenizer, computed once in a process.

    Args:
        card: dataset card.
        options: of the card, as canonical JSON.
        tokenizer: of the dataset.
        cache_folder: where fingerprints of its files are kept between processes; None for nowhere.
        fetched: where a card keeps what it fetches from a network.
        anew: whether the network is asked what is new, also where something is kept.
    """
    from isoloss.load.content import identity

    if anew:
        _refresh(card, options, fetched.resolve())
    kept = None
    if cache_folder is not None:
        name = blake2b(f"{card} {options} {tokenizer}".encode(), digest_size=8).hexdigest()
        kept = cache_folder / f"sources-{name}.json"
    return identity(card, json.loads(options), kept, fetched, tokenizer)


@cache
def _refresh(card: str, options: str, fetched: Path) -> None:
    """Have a card ask the network what is new, once in a process."""
    from isoloss.load.content import refresh

    refresh(card, json.loads(options), fetched)


def fetched_of(root: Path) -> Path:
    """Where cards keep what they fetch, for a study with its results in a folder `root`."""
    return (root.parent if _is_of_results(root.parent) else root) / CACHE / FETCHED


def _is_of_results(folder: Path) -> bool:
    """Whether a folder is that of all results, in which a start keeps its cache.

    The study of a command that is typed by hand may lie in any folder.
    """
    return folder.name == "results" or (folder / CACHE).is_dir()


class Load(Stage):
    """A dataset is cut into rows."""

    name = "load"
    about = "Cut a dataset into rows with tags and a split."
    path, main, out = (
        "load/{dataset}",
        "rows.parquet",
        "folder for rows, tokens, audit and dropped rows",
    )
    entry = "isoloss.load.job"
    arguments = (Argument("dataset", "one of the study's `load`", metavar="NAME"),)
    sections = (("dataset", "load"),)
    writes = ("rows", "audit", "dropped")
    seeded = True

    def jobs(self, study):
        """One job for each dataset."""
        for dataset in study.config["load"]:
            yield {"dataset": dataset}

    def settings(self, study, dataset):
        """The dataset's entry."""
        return {"dataset": study.config["load"][dataset]}

    def outside(self, study, dataset):
        """The content of its sources, and of its tokenizer."""
        entry, results = study.config["load"][dataset], study.root.parent
        about = entry["card"], canonical(entry["options"]), entry["tokenizer"]
        folder = results / CACHE if _is_of_results(results) else None
        where = folder, fetched_of(study.root), study.sources.asks_anew
        return {"content": content_of(*about, *where)}

    def cards(self, study, dataset):
        """The dataset's."""
        return [("dataset", study.config["load"][dataset]["card"])]

    def run(self, job, given):
        """Read the dataset."""
        facts = job.facts("dataset", seed=True)
        fetched = fetched_of(job.flow.root)
        job.makes(lambda out: self.code.run(job.specification, out, facts, fetched))


STAGES = (Load(),)
