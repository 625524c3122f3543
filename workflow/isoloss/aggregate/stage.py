"""Definition of the stage aggregate."""

from __future__ import annotations

from isoloss.core import registry, tokenizer
from isoloss.core.problems import IsolossError
from isoloss.core.stages import Argument, Stage

# What a study says about how a table is read: attributes of `isoloss.aggregate.table.Rules`.
# facts of the tables, and the keys of a user's command that say them
_UNITS = {"token": "example", "loss_unit": "loss_unit"}
RULES = ("columns", "keep", "best_of", "scale", "loss_unit")


def rules(table):
    """What a study says about how one of its tables is read, without keys that are null."""
    return {key: table[key] for key in RULES if table.get(key) is not None}


class Aggregate(Stage):
    """Runs are gathered into one table."""

    name = "aggregate"
    about = "Gather runs into one table: of a sweep, or of a table made elsewhere."
    path, main = "aggregate/{sweep}", "runs.parquet"
    out = "folder for runs, losses, curves, mixtures and timing"
    entry = "isoloss.aggregate.job"
    after = ("train",)
    arguments = (
        Argument("sweep", "one of the study's `train` or `aggregate`", metavar="NAME"),
        Argument("plan", "runs.parquet of the plan (sweeps)", required=False),
        Argument("shards", "tables of all shards (sweeps)", many=True, required=False),
        Argument("audits", "audits of its weightings (sweeps)", many=True, required=False),
    )
    sections = (("sweep", "train or aggregate"),)
    writes = ("runs", "losses", "curves", "mixtures", "timing")
    target = True

    def jobs(self, study):
        """One job for each sweep and each table made elsewhere."""
        for sweep in [*study.config["train"], *study.config["aggregate"]]:
            yield {"sweep": sweep}

    def settings(self, study, sweep):
        """How the columns of a table are read; of a sweep what a token is, and its schedules."""
        if sweep in study.config["aggregate"]:
            table = study.config["aggregate"][sweep]
            return rules(table)
        entry = study.config["train"][sweep]
        if "dataset" not in entry:  # the runs are those of a user's program
            return {**{key: entry["command"][of] for key, of in _UNITS.items()}, "schedules": {}}
        dataset = study.config["load"][entry["dataset"]]
        of_card = registry.token(dataset["card"], dataset["options"])
        token = tokenizer.unit(dataset["tokenizer"], of_card)
        units = {"token": token, "loss_unit": f"nats/{token}"}
        return {**units, "schedules": study.schedules(sweep)}

    def outside(self, study, sweep):
        """The content of a table made elsewhere."""
        if sweep not in study.config["aggregate"]:
            return {}
        return {"content": study.sources.digest(sweep, study.config["aggregate"][sweep])}

    def inputs(self, study, sweep):
        """The plan, the shards and the audits of a sweep."""
        if sweep not in study.config["train"]:
            return {}
        entry = study.config["train"][sweep]
        shards = [f"train/{sweep}/{shard}.parquet" for shard in study.shards(sweep)]
        audits = [f"expand/{entry['dataset']}/{w}/audit.parquet" for w in study.used(sweep)]
        return {"plan": [f"plan/{sweep}/runs.parquet"], "shards": shards, "audits": audits}

    def run(self, job, given):
        """Gather the sweep, or read the table."""
        facts, study, sweep = job.facts("sweep"), job.flow, job.names["sweep"]
        table = study.config["aggregate"].get(sweep)
        if table is not None:
            source = study.sources.read(sweep, table)
            job.makes(lambda out: self.code.run_table(job.specification, source, out, facts))
            return
        files = given["plan"], given["shards"], given["audits"]
        needed = files if study.used(sweep) else files[:2]
        if not all(needed):
            raise IsolossError("a sweep needs --plan and --shards, and --audits of its weightings")
        job.takes(given["plan"], *given["shards"], *given["audits"])
        job.makes(lambda out: self.code.run(job.specification, *files, out, facts))


STAGES = (Aggregate(),)
