"""Definition of the stage simulate."""

from __future__ import annotations

from isoloss.core.problems import IsolossError, Problem
from isoloss.core.stages import Argument, Stage


class Simulate(Stage):
    """Studies of a known law are simulated and fitted."""

    name = "simulate"
    about = "Simulate studies of a known law, and say how well estimators recover it."
    path, main = "simulate/{simulation}", "recovery.parquet"
    out = "folder for recovery and trials"
    entry = "isoloss.simulate.job"
    after = ("aggregate",)
    arguments = (
        Argument("simulation", "one of the study's `simulate`", metavar="NAME"),
        Argument("runs", "runs whose N and D are its plan (if any)", many=True, required=False),
        Argument("threads", "processes that fit (1)", metavar="N", required=False),
    )
    sections = (("simulation", "simulate"),)
    writes = ("recovery", "trials")
    packages = ("numpy", "scipy")
    seeded = True
    target = True

    def jobs(self, study):
        """One a simulation."""
        for name in study.config["simulate"]:
            yield {"simulation": name}

    def settings(self, study, simulation):
        """The simulation's entry."""
        return {"simulate": study.config["simulate"][simulation]}

    def cards(self, study, simulation):
        """The true law, those of the estimators, and the planner of rounds."""
        entry = study.config["simulate"][simulation]
        laws = [entry["truth"], *entry["estimators"].values()]
        cards = list(dict.fromkeys(("law", law["card"]) for law in laws))
        return [*cards, ("planner", entry["rounds"]["planner"])] if "rounds" in entry else cards

    def inputs(self, study, simulation):
        """The runs that are its plan, if it takes those of a sweep."""
        sweep = study.config["simulate"][simulation]["plan"].get("sweep")
        return {"runs": [] if sweep is None else [f"aggregate/{sweep}/runs.parquet"]}

    def datasets(self, study, simulation):
        """That of the sweep whose runs are its plan."""
        plan = study.config["simulate"][simulation]["plan"]
        return super().datasets(study, sweep=plan["sweep"]) if "sweep" in plan else []

    def run(self, job, given):
        """Simulate, fit and compare."""
        runs = given["runs"]
        job.takes(*runs)
        facts = job.facts("simulation", seed=True)
        workers = _count(given["threads"] or "1")
        job.makes(lambda out: self.code.run(job.specification, runs, out, facts, workers))


def _count(threads: str) -> int:
    if not (threads.isdecimal() and int(threads)):
        raise IsolossError(Problem("--threads", f"found {threads!r}", "give a number from 1"))
    return int(threads)


STAGES = (Simulate(),)
