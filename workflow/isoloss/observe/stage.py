"""Definition of the stage observe."""

from __future__ import annotations

from isoloss.core import registry, rounds
from isoloss.core.stages import DATA, Argument, Stage, data_of


class Observe(Stage):
    """Trained models are measured, where a study asks for it."""

    name = "observe"
    about = "Measure an observable, such as the norms of the weights, of every trained run."
    more = "Further tables of the observable's card are written beside the file."
    path, out = "observe/{observation}/{sweep}/{shard}.parquet", "the table of observations"
    entry = "isoloss.observe.job"
    after = ("train",)
    arguments = (
        Argument("observation", "one of the study's `observe`", metavar="NAME"),
        Argument("sweep", "which round, if it has rounds", required=False, metavar="NAME"),
        Argument("shard", "which shard of its sweep", metavar="NAME"),
        Argument("runs", "the shard's table"),
        *DATA,
        Argument("store", "finished runs, whose weights are read", metavar="DIR"),
    )
    sections = (("observation", "observe"),)
    writes = ("observations",)
    packages = ("torch", "numpy")
    target = True

    def jobs(self, study):
        """One job for each observation and shard, of all rounds."""
        for observation, entry in study.config["observe"].items():
            for sweep in rounds.so_far(study.config, entry["sweep"]):
                for shard in study.shards(sweep):
                    yield {"observation": observation, "sweep": sweep, "shard": shard}

    def settings(self, study, observation, sweep, shard):
        """The card, its options and the sweep; what the runs were trained on if the card reads it.

        The seed of the study is that of what the card draws.
        """
        entry = study.config["observe"][observation]
        about = {"observe": {"card": entry["card"], "options": entry["options"], "sweep": sweep}}
        if registry.reads_data(entry["card"]):
            about |= {"task": _task_of(study, sweep), "schedules": study.schedules(sweep, shard)}
            about["seed"] = study.config["seed"]
        return about

    def cards(self, study, observation, sweep, shard):
        """The observable's; those of model and task too if it reads the data."""
        card = study.config["observe"][observation]["card"]
        if not registry.reads_data(card):
            return [("observable", card)]
        model = study.config["train"][sweep]["model"]
        return [("observable", card), ("model", model), ("task", _task_of(study, sweep))]

    def tables(self, study, observation, sweep, shard):
        """Those of the observable."""
        return registry.tables_of(study.config["observe"][observation]["card"])

    def inputs(self, study, observation, sweep, shard):
        """The table of the shard, which names its runs in the store, and perhaps the data."""
        runs = {"runs": [f"train/{sweep}/{shard}.parquet"]}
        if registry.reads_data(study.config["observe"][observation]["card"]):
            return {**runs, **data_of(study, sweep, shard)}
        return {**runs, **{argument.name: [] for argument in DATA}}

    def run(self, job, given):
        """Measure the runs."""
        from isoloss.tasks._content import Files

        data = Files(given["rows"], given["tokens"], given["index"])
        job.takes(given["runs"], *data.rows, *data.tokens, *data.indices)
        files, facts = (given["runs"], data, given["store"]), job.facts("observation", "sweep")
        job.makes(lambda out: self.code.run(job.specification, *files, out, facts))


def _task_of(study, sweep):
    """The task card of a sweep's model."""
    return registry.facts("model", study.config["train"][sweep]["model"])["TASK"]


STAGES = (Observe(),)
