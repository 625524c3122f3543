"""The stage fit, as the workflow knows it."""

from __future__ import annotations

from isoloss.core import registry
from isoloss.core.stages import Argument, Stage


class Fit(Stage):
    """A law is fitted to runs."""

    name = "fit"
    about = "Fit a law to runs."
    path, main, out = "fit/{sweep}/{law}", "params.parquet", "folder for the fit's tables"
    entry = "isoloss.fit.job"
    after = ("aggregate",)
    arguments = (
        Argument("law", "one of the study's `fit`", metavar="NAME"),
        Argument(
            "tables",
            "runs of its sweep; curves, or losses and mixtures, where it is fitted to them",
            many=True,
        ),
    )
    sections = (("law", "fit"),)
    writes = registry.FIT_TABLES
    uses_roles = ("runs",)
    packages = ("numpy", "scipy")
    seeded = True
    target = True

    def jobs(self, study):
        """One a fit."""
        for law, fit in study.config["fit"].items():
            yield {"sweep": fit["sweep"], "law": law}

    def settings(self, study, sweep, law):
        """The fit's entry."""
        return {"fit": study.config["fit"][law]}

    def cards(self, study, sweep, law):
        """The law's."""
        return [("law", study.config["fit"][law]["card"])]

    def inputs(self, study, sweep, law):
        """The runs, and what else is fitted."""
        fit = study.config["fit"][law]
        wanted = ["runs"]
        if fit["points"] != "runs":
            wanted.append("curves")
        if registry.of_mixtures(fit["card"]) and sweep in study.config["train"]:
            wanted += ["mixtures", "losses"]
        return {"tables": [f"aggregate/{sweep}/{table}.parquet" for table in wanted]}

    def run(self, job, given):
        """Fit the law."""
        job.takes(*given["tables"])
        facts = job.facts("sweep", "law")
        job.makes(lambda out: self.code.run(job.specification, given["tables"], out, facts))


STAGES = (Fit(),)
