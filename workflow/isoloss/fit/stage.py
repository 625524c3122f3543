"""The stage fit, as the workflow knows it."""

from __future__ import annotations

from isoloss.core import registry, rounds
from isoloss.core.stages import Argument, Stage


class FitLaw(Stage):
    """A law is fitted to runs."""

    name = "fit"
    about = "Fit a law to runs."
    path, main = "fit/{sweep}/{fit}", "params.parquet"
    out = "folder for the fit's tables, law.py, explain.md, params.tex and paper.md"
    entry = "isoloss.fit.job"
    after = ("aggregate",)
    arguments = (
        Argument("fit", "one of the study's `fit`", metavar="NAME"),
        Argument("sweep", "which round's, if it has rounds", required=False, metavar="NAME"),
        Argument(
            "tables",
            "runs of its sweep; curves, or losses and mixtures, where it is fitted to them",
            many=True,
        ),
    )
    sections = (("fit", "fit"),)
    writes = registry.FIT_TABLES
    uses_roles = ("runs",)
    packages = ("numpy", "scipy")
    seeded = True
    target = True

    def jobs(self, study):
        """One a fit; one for each round that is chosen by it."""
        for name, entry in study.config["fit"].items():
            for sweep in dict.fromkeys([*rounds.decided_by(study.config, name), entry["sweep"]]):
                yield {"sweep": sweep, "fit": name}

    def settings(self, study, sweep, fit):
        """The fit's entry."""
        return {"fit": {**study.config["fit"][fit], "sweep": sweep}}

    def cards(self, study, sweep, fit):
        """The law's."""
        return [("law", study.config["fit"][fit]["card"])]

    def inputs(self, study, sweep, fit):
        """The runs, and what else is fitted."""
        entry = study.config["fit"][fit]
        tables = ["runs"]
        if entry["points"] != "runs":
            tables.append("curves")
        if registry.of_mixtures(entry["card"]) and sweep in study.config["train"]:
            tables += ["mixtures", "losses"]
        return {"tables": [f"aggregate/{sweep}/{table}.parquet" for table in tables]}

    def run(self, job, given):
        """Fit the law."""
        job.takes(*given["tables"])
        facts = job.facts("sweep") | {"law": job.names["fit"]}  # files keep the word of old ones
        job.makes(lambda out: self.code.run(job.specification, given["tables"], out, facts))


STAGES = (FitLaw(),)
