"""Definition of the stage observe."""

from __future__ import annotations

from isoloss.core import rounds
from isoloss.core.stages import Argument, Stage


class Observe(Stage):
    """Trained models are measured, where a study asks for it."""

    name = "observe"
    about = "Measure an observable, such as the norms of the weights, of every trained run."
    path, out = "observe/{observation}/{sweep}/{shard}.parquet", "the table of observations"
    entry = "isoloss.observe.job"
    after = ("train",)
    arguments = (
        Argument("observation", "one of the study's `observe`", metavar="NAME"),
        Argument("sweep", "which round, if it has rounds", required=False, metavar="NAME"),
        Argument("shard", "which shard of its sweep", metavar="NAME"),
        Argument("runs", "the shard's table"),
        Argument("store", "finished runs, whose weights are read", metavar="DIR"),
    )
    sections = (("observation", "observe"),)
    writes = ("observations",)
    packages = ("numpy",)
    target = True

    def jobs(self, study):
        """One job for each observation and shard, of all rounds."""
        for observation, entry in study.config["observe"].items():
            for sweep in rounds.so_far(study.config, entry["sweep"]):
                for shard in study.shards(sweep):
                    yield {"observation": observation, "sweep": sweep, "shard": shard}

    def settings(self, study, observation, sweep, shard):
        """The card, its options and the sweep."""
        entry = study.config["observe"][observation]
        return {"observe": {"card": entry["card"], "options": entry["options"], "sweep": sweep}}

    def cards(self, study, observation, sweep, shard):
        """The observable's."""
        return [("observable", study.config["observe"][observation]["card"])]

    def inputs(self, study, observation, sweep, shard):
        """The table of the shard, which names its runs in the store."""
        return {"runs": [f"train/{sweep}/{shard}.parquet"]}

    def run(self, job, given):
        """Measure the runs."""
        job.takes(given["runs"])
        files, facts = (given["runs"], given["store"]), job.facts("observation", "sweep")
        job.makes(lambda out: self.code.run(job.specification, *files, out, facts))


STAGES = (Observe(),)
