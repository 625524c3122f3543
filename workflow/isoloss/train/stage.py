"""The stages plan and train, as the workflow knows them."""

from __future__ import annotations

from isoloss.core.stages import DATA, Argument, Stage, data_of
from isoloss.train.programs import files_digest
from isoloss.train.settings import cards_of, commanded, free_settings, task_of

SWEEP = Argument("sweep", "one of the study's `train`", metavar="NAME")
_KEPT = ("max_attempts", "checkpoint_minutes", "keep_weights", "checkpoints")


class Plan(Stage):
    """A sweep is spelled out."""

    name = "plan"
    about = "Spell a sweep out, before anything is trained."
    path, main, out = "plan/{sweep}", "runs.parquet", "folder for runs.parquet"
    entry = "isoloss.train.plan"
    sometimes_after = ("choose",)  # which chooses the runs of a round
    arguments = (
        SWEEP,
        Argument("choices", "choices.parquet of a round (if it is one)", many=True, required=False),
    )
    writes = ("plan",)

    def jobs(self, study):
        """One a sweep."""
        for sweep in study.config["train"]:
            yield {"sweep": sweep}

    def settings(self, study, sweep):
        """What spells the sweep out."""
        from isoloss.train.plans import planned_by

        return {"sweep": planned_by(study.config["train"][sweep])}

    def cards(self, study, sweep):
        """Those of what is trained, at what, and by what."""
        return cards_of(study.config["train"][sweep])

    def inputs(self, study, sweep):
        """What was chosen, of a round."""
        is_round = "round" in study.config["train"][sweep]
        return {"choices": [f"choose/{sweep}/choices.parquet"] if is_round else []}

    def datasets(self, study, sweep):
        """That of a round: other rows may have led to other choices."""
        return super().datasets(study, sweep=sweep) if self.inputs(study, sweep)["choices"] else []

    def run(self, job, given):
        """Write the plan."""
        job.takes(*given["choices"])
        sweep, facts = job.flow.config["train"][job.names["sweep"]], job.facts("sweep")
        job.makes(lambda out: self.code.run(sweep, given["choices"], out, facts))


class Train(Stage):
    """The runs of a shard are trained, or found in the store."""

    name = "train"
    about = "Train the runs of one shard, on one thread."
    more = "A run that diverges or fails is a row with its reason; the others go on."
    path, out = "train/{sweep}/{shard}.parquet", "the shard's table"
    entry = "isoloss.train.job"
    after = ("plan", "expand")
    arguments = (
        SWEEP,
        Argument("shard", "which shard of the plan", metavar="NAME"),
        Argument("plan", "runs.parquet of the plan (of a round)", many=True, required=False),
        *DATA,
        Argument("store", "finished runs, never trained again", metavar="DIR"),
    )
    sections = (("sweep", "train or aggregate"), ("shard", "shards"))
    writes = ("shard",)
    uses_roles = ("plan",)
    packages = ("torch", "numpy")  # of these the versions are recorded with every run
    seeded = True

    def jobs(self, study):
        """One a shard."""
        for sweep in study.config["train"]:
            for shard in study.shards(sweep):
                yield {"sweep": sweep, "shard": shard}

    def settings(self, study, sweep, shard):
        """The runs, their task, and how much of the validation side is measured.

        The runs of a round are known when its plan is there, which is then among the inputs.
        """
        entry = study.config["train"][sweep]
        shared = {"valid_tokens": entry["valid_tokens"]}
        if "round" not in entry:
            shared["runs"] = study.runs_digest(sweep, shard)
        if commanded(entry):
            command, names = entry["command"], sorted(free_settings(entry))
            return {**shared, "command": command, "names": names, "reading": study.reading(sweep)}
        schedules = study.schedules(sweep, shard)
        return {**shared, "task": task_of(entry["model"]), "schedules": schedules}

    def outside(self, study, sweep, shard):
        """The retries owed to its failed runs, and the content of the files of a command."""
        entry, tries = study.config["train"][sweep], {"tries": study.tries(sweep, shard)}
        return {**tries, "content": files_digest(entry["command"])} if commanded(entry) else tries

    def cards(self, study, sweep, shard):
        """Those of what is trained, at what, and by what."""
        return cards_of(study.config["train"][sweep])

    def inputs(self, study, sweep, shard):
        """Rows and tokens of the dataset, and their expansions; of a round the plan too."""
        entry = study.config["train"][sweep]
        plan = {"plan": [f"plan/{sweep}/runs.parquet"] if "round" in entry else []}
        if commanded(entry):
            return {**plan, "rows": [], "tokens": [], "index": []}
        return {**plan, **data_of(study, sweep, shard)}

    def run(self, job, given):
        """Train what the store does not hold."""
        job.takes(*given["plan"], *given["rows"], *given["tokens"], *given["index"])
        study, sweep = job.flow, job.names["sweep"]
        settings = {
            "code": study.run_code(sweep),
            "code_here": study.run_code_here(sweep),
            "among": study.among(sweep),
            "where": job.names,
            **{key: study.config["train"][sweep][key] for key in _KEPT},
        }
        runs = study.runs(sweep, job.names["shard"])
        files = given["rows"], given["tokens"], given["index"], given["store"]
        facts = job.facts("sweep", seed=True)
        job.makes(
            lambda out: self.code.run(job.specification, runs, *files, settings, out, facts),
            lambda files: {"trained_with": self.code.versions(files[0])},
        )

    def subject(self, names, label):
        """The sweep, not every shard of it."""
        return f"{names['sweep']}: runs trained"

    def made_with(self, made):
        """The versions that the runs were trained with, whenever that was."""
        return made.get("trained_with", [])

    def outdated(self, study, out):
        """Runs that are in two sweeps and have been tried again for the other one."""
        from isoloss.core import tables

        ends = study.ends
        for row in tables.frame(out, "shard").itertuples():
            if ends.get(row.run_digest, row.status) != row.status:
                yield f"{row.run_id} is {ends[row.run_digest]} by now"


STAGES = (Plan(), Train())
