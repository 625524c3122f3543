"""The stage load, as the workflow knows it."""

from __future__ import annotations

import json
from functools import cache

from isoloss.core.canonical import canonical
from isoloss.core.stages import Argument, Stage


@cache
def content_of(card: str, options: str) -> str:
    """Digest of what a dataset is read from, found once a process.

    Args:
        card: dataset card.
        options: of the card, as canonical JSON.
    """
    from isoloss.load.rows import identity

    return identity(card, json.loads(options))


class Load(Stage):
    """A dataset is cut into rows."""

    name = "load"
    about = "Cut a dataset into rows with tags and sides."
    path, main, out = "load/{dataset}", "rows.parquet", "folder for rows and audit"
    entry = "isoloss.load.job"
    arguments = (Argument("dataset", "one of the study's `load`", metavar="NAME"),)
    sections = (("dataset", "load"),)
    writes = ("rows", "audit")
    seeded = True

    def jobs(self, study):
        """One a dataset."""
        for dataset in study.config["load"]:
            yield {"dataset": dataset}

    def settings(self, study, dataset):
        """The dataset's entry."""
        return {"dataset": study.config["load"][dataset]}

    def outside(self, study, dataset):
        """The content of its sources."""
        entry = study.config["load"][dataset]
        return {"content": content_of(entry["card"], canonical(entry["options"]))}

    def cards(self, study, dataset):
        """The dataset's."""
        return [("dataset", study.config["load"][dataset]["card"])]

    def run(self, job, given):
        """Read the dataset."""
        facts = job.facts("dataset", seed=True)
        job.makes(lambda out: self.code.run(job.specification, out, facts))


STAGES = (Load(),)
