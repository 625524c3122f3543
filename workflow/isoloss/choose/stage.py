"""Definition of the stage choose."""

from __future__ import annotations

from isoloss.core import registry
from isoloss.core.stages import Argument, Stage


class Choose(Stage):
    """The runs of a round are chosen."""

    name = "choose"
    about = "Choose the runs of a round by the fit to all runs before it."
    path, main, out = "choose/{sweep}", "choices.parquet", "folder for choices.parquet"
    entry = "isoloss.choose.job"
    after = ("aggregate", "fit")
    arguments = (
        Argument("sweep", "a round of the study's `train`", metavar="NAME"),
        Argument("tables", "runs of the round before, and all tables of their fit", many=True),
    )
    writes = ("choices",)
    target = True
    packages = ("numpy",)
    seeded = True

    def jobs(self, study):
        """One a round."""
        for sweep, entry in study.config["train"].items():
            if "round" in entry:
                yield {"sweep": sweep}

    def settings(self, study, sweep):
        """What the runs are chosen by, and when there are to be no more."""
        return {"round": study.config["train"][sweep]["round"]}

    def cards(self, study, sweep):
        """The planner's, and that of the fitted law."""
        about = study.config["train"][sweep]["round"]
        return [("planner", about["planner"]), ("law", study.config["fit"][about["fit"]]["card"])]

    def inputs(self, study, sweep):
        """The runs of the round before, and the fit to them."""
        about = study.config["train"][sweep]["round"]
        folder = f"fit/{about['before']}/{about['fit']}"
        fits = [f"{folder}/{table}.parquet" for table in registry.FIT_TABLES]
        return {"tables": [f"aggregate/{about['before']}/runs.parquet", *fits]}

    def run(self, job, given):
        """Choose the runs."""
        job.takes(*given["tables"])
        facts = job.facts("sweep", seed=True)
        job.makes(lambda out: self.code.run(job.specification, given["tables"], out, facts))


STAGES = (Choose(),)
