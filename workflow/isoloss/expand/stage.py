"""Definition of the stage expand."""

from __future__ import annotations

from isoloss.core import weightings
from isoloss.core.stages import Argument, Stage


class Expand(Stage):
    """Training rows are repeated or dropped."""

    name = "expand"
    about = "Repeat or drop training rows by the weights of their tags."
    path, main = "expand/{dataset}/{weighting}", "index.parquet"
    out = "folder for index, audit and mixture"
    entry = "isoloss.expand.job"
    after = ("load",)
    sometimes_after = ("fit",)  # whose best mixture a weighting is
    arguments = (
        Argument("weighting", "one of `expand`", metavar="NAME"),
        Argument("rows", "rows.parquet of the dataset"),
        Argument("best", "best_mixture.parquet of its fit (if any)", many=True, required=False),
    )
    sections = (("weighting", "expand"),)
    writes = ("index", "audit", "mixture")
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
        """The rows of the dataset, and the best mixture of a fit, if that is the weighting."""
        fit = weightings.fit_of(study.config, weighting)
        best = (
            [f"fit/{study.config['fit'][fit]['sweep']}/{fit}/best_mixture.parquet"] if fit else []
        )
        return {"rows": [f"load/{dataset}/rows.parquet"], "best": best}

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
        rows, best = given["rows"], given["best"]
        job.takes(rows, *best)
        facts = job.facts("dataset", "weighting", seed=True)
        job.makes(lambda out: self.code.run(job.specification, rows, out, facts, best))


STAGES = (Expand(),)
