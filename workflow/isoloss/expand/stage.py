"""Definition of the stage expand."""

from __future__ import annotations

from isoloss.core import weightings
from isoloss.core.stages import Argument, Stage


class Expand(Stage):
    """Training rows are repeated or dropped."""

    name = "expand"
    about = "Repeat or drop training rows by the weights of their tags."
    path, main = "expand/{dataset}/{weighting}", "index.parquet"
    out = "folder for index and audit"
    entry = "isoloss.expand.job"
    after = ("load",)
    arguments = (
        Argument("weighting", "one of `expand`", metavar="NAME"),
        Argument("rows", "rows.parquet of the dataset"),
    )
    sections = (("weighting", "expand"),)
    writes = ("index", "audit")
    seeded = True

    def jobs(self, study):
        """One job for each dataset and weighting that a sweep uses together."""
        train = study.config["train"]
        pairs = {(train[sweep]["dataset"], w) for sweep in train for w in study.used(sweep)}
        for dataset, weighting in sorted(pairs):
            yield {"dataset": dataset, "weighting": weighting}

    def settings(self, study, dataset, weighting):
        """The weights, or the mixture that they are to make."""
        entry = study.config["expand"][weighting]
        form = weightings.form(entry)
        return {form: entry.get(form, entry)}

    def inputs(self, study, dataset, weighting):
        """The rows of the dataset."""
        return {"rows": [f"load/{dataset}/rows.parquet"]}

    def datasets(self, study, dataset, weighting):
        """The one that it expands."""
        return [dataset]

    def named(self, given):
        """The weighting that was named, and the dataset that the rows are of."""
        from isoloss.core import tables
        from isoloss.records import manifest

        manifest.check(given["rows"])
        return super().named(given) | {"dataset": tables.facts(given["rows"]).get("dataset", "")}

    def run(self, job, given):
        """Expand the rows."""
        job.takes(given["rows"])
        facts = job.facts("dataset", "weighting", seed=True)
        job.makes(lambda out: self.code.run(job.specification, given["rows"], out, facts))


STAGES = (Expand(),)
