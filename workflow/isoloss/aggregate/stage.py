"""Definition of the stage aggregate."""

from __future__ import annotations

from isoloss.core import registry, rounds, tokenizer
from isoloss.core.joined import joined
from isoloss.core.problems import IsolossError
from isoloss.core.stages import Argument, Stage, observed

WRITES = ("runs", "losses", "curves", "mixtures", "timing")
# facts of the tables, and the keys of a user's command that say them
_UNITS = {"token": "example", "loss_unit": "loss_unit"}
# What a study says about how a table is read: attributes of `isoloss.aggregate.table.Rules`.
RULES = ("columns", "keep", "best_of", "scale", "loss_unit", "signed")


def rules(table):
    """What a study says about how one of its tables is read, without keys that say nothing."""
    return {key: table[key] for key in RULES if table.get(key) not in (None, False)}


class Aggregate(Stage):
    """Runs are gathered into one table."""

    name = "aggregate"
    about = "Gather runs into one table: of a sweep, or of a table made elsewhere."
    path, main = "aggregate/{sweep}", "runs.parquet"
    out = "folder for runs, losses, curves, mixtures and timing"
    entry = "isoloss.aggregate.job"
    after = ("train", "observe")
    arguments = (
        Argument("sweep", "one of the study's `train` or `aggregate`", metavar="NAME"),
        Argument("plan", "runs.parquet of the plan (sweeps)", many=True, required=False),
        Argument("shards", "tables of all shards (sweeps)", many=True, required=False),
        Argument("audits", "audits of its weightings (sweeps)", many=True, required=False),
        Argument("observed", "observations that are joined to its runs", many=True, required=False),
    )
    sections = (("sweep", "train or aggregate"),)
    writes = WRITES
    target = True

    def jobs(self, study):
        """One job for each sweep and each table made elsewhere."""
        for sweep in [*study.config["train"], *study.config["aggregate"]]:
            yield {"sweep": sweep}

    def settings(self, study, sweep):
        """How the columns of a table are read; of a sweep its units, schedules, observations."""
        if sweep in study.config["aggregate"]:
            table = study.config["aggregate"][sweep]
            return rules(table)
        entry, which = study.config["train"][sweep], self._rounds(study, sweep)
        if columns := self._joined(study, sweep):
            which = {**which, "observed": columns}
        if "dataset" not in entry:  # the runs are those of a user's program
            units = {key: entry["command"][of] for key, of in _UNITS.items()}
            return {**units, "schedules": {}, **which}
        dataset = study.config["load"][entry["dataset"]]
        of_card = registry.token(dataset["card"], dataset["options"])
        token = tokenizer.unit(dataset["tokenizer"], of_card)
        units = {"token": token, "loss_unit": f"nats/{token}"}
        each = [study.schedules(one) for one in rounds.so_far(study.config, sweep)]
        schedules = {name: phases for one in each for name, phases in one.items()}
        return {**units, "schedules": schedules, **which}

    @staticmethod
    def _joined(study, sweep):
        """The columns of runs by the observation that gives them, without words about them."""
        return {
            observation: {
                name: {key: fact for key, fact in facts.items() if key != "about"}
                for name, facts in columns.items()
            }
            for observation, columns in joined(study.config["observe"], sweep).items()
        }

    @staticmethod
    def _rounds(study, sweep):
        """The sweeps of the rounds up to this one, in order; empty for a sweep without rounds."""
        number = rounds.number(study.config, sweep)
        return {} if number is None else {"rounds": rounds.so_far(study.config, sweep)}

    def outside(self, study, sweep):
        """The content of a table made elsewhere."""
        if sweep not in study.config["aggregate"]:
            return {}
        return {"content": study.sources.digest(sweep, study.config["aggregate"][sweep])}

    def inputs(self, study, sweep):
        """The plan, the shards and the audits of a sweep; of rounds, of all up to this one.

        And the tables of the observations that are joined to its runs.
        """
        if sweep not in study.config["train"]:
            return {}
        sweeps, used = self._sweeps(study, sweep)
        dataset = study.config["train"][sweep].get("dataset")
        return {
            "plan": [f"plan/{one}/runs.parquet" for one in sweeps],
            "shards": [f"train/{s}/{shard}.parquet" for s in sweeps for shard in study.shards(s)],
            "audits": [f"expand/{dataset}/{weighting}/audit.parquet" for weighting in used],
            "observed": [
                file
                for observation, columns in joined(study.config["observe"], sweep).items()
                for table in dict.fromkeys(facts["table"] for facts in columns.values())
                for file in observed(study, observation, table)
            ],
        }

    @staticmethod
    def _sweeps(study, sweep):
        """The sweeps that are gathered, and the weightings that their runs use, sorted."""
        sweeps = rounds.so_far(study.config, sweep)
        return sweeps, sorted({weighting for one in sweeps for weighting in study.used(one)})

    def run(self, job, given):
        """Gather the sweep, or read the table."""
        facts, study, sweep = job.facts("sweep"), job.flow, job.names["sweep"]
        table = study.config["aggregate"].get(sweep)
        if table is not None:
            source = study.sources.read(sweep, table)
            job.makes(lambda out: self.code.run_table(job.specification, source, out, facts))
            return
        files = given["plan"], given["shards"], given["audits"], given["observed"]
        _, used = self._sweeps(study, sweep)
        if not all(files[:3] if used else files[:2]):
            raise IsolossError("a sweep needs --plan and --shards, and --audits of its weightings")
        if self._joined(study, sweep) and not given["observed"]:
            raise IsolossError("a sweep that is observed needs --observed, what is joined to it")
        job.takes(*(file for some in files for file in some))
        job.makes(lambda out: self.code.run(job.specification, *files, out, facts))


STAGES = (Aggregate(),)
